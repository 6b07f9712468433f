"""Counters, histograms and gauges as Prometheus reads them."""

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry

from services.runtime import instruments
from services.runtime.instruments import Counter, Gauge, Histogram, export


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    own = CollectorRegistry()
    monkeypatch.setattr(instruments, "REGISTRY", own)
    return own


def lines(registry: CollectorRegistry) -> list[str]:
    return [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]


def test_a_counter_has_a_line_for_each_combination_of_values(registry: CollectorRegistry) -> None:
    calls = Counter("edge.calls", "Calls", ("model", "gen_ai.provider.name"))
    export(calls)
    assert lines(registry) == []
    calls.add("m", "v")
    calls.add("m", "v", count=2)
    calls.add('a "quoted" one', "v")
    assert lines(registry) == [
        'edge_calls_total{gen_ai_provider_name="v",model="m"} 3.0',
        'edge_calls_total{gen_ai_provider_name="v",model="a \\"quoted\\" one"} 1.0',
    ]
    assert calls.counts == {("m", "v"): 3, ('a "quoted" one', "v"): 1}


def test_a_histogram_has_cumulative_buckets_with_their_ends_and_the_sum_in_seconds(registry: CollectorRegistry) -> None:
    durations = Histogram("http.server.request.duration", "Durations", ("http.route",), (0.1, 1.0))
    export(durations)
    for duration_s in (0.05, 0.1, 0.5, 7.0):
        durations.record(duration_s, "/v1/models")
    name = "http_server_request_duration_seconds"
    assert lines(registry) == [
        f'{name}_bucket{{http_route="/v1/models",le="0.1"}} 2.0',
        f'{name}_bucket{{http_route="/v1/models",le="1"}} 3.0',
        f'{name}_bucket{{http_route="/v1/models",le="+Inf"}} 4.0',
        f'{name}_count{{http_route="/v1/models"}} 4.0',
        f'{name}_sum{{http_route="/v1/models"}} 7.65',
    ]
    assert durations.buckets("/v1/models") == {"0.1": 2, "1": 3, "+Inf": 4}
    assert durations.sum_s("/v1/models") == pytest.approx(7.65)


def test_a_gauge_is_asked_when_somebody_reads(registry: CollectorRegistry) -> None:
    open_now = [3]
    export(Gauge("edge.sockets", "Open WebSockets", lambda: open_now[0]))
    assert lines(registry) == ["edge_sockets 3.0"]
    open_now[0] = 4
    assert lines(registry) == ["edge_sockets 4.0"]


def test_two_edges_of_one_process_show_the_same_names(registry: CollectorRegistry) -> None:
    for count in (1, 2):
        calls = Counter("edge.calls", "Calls", ())
        calls.add(count=count)
        export(calls)
    assert lines(registry) == ["edge_calls_total 1.0", "edge_calls_total 2.0"]
