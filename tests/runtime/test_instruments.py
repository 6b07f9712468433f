"""Counters, histograms and gauges as Prometheus reads them."""

import os
import subprocess
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.instruments import Counter, Gauge, Histogram, Instrument, Total, Values, export, page


def lines(instrument: Instrument) -> list[str]:
    return [line for line in instrument.text().splitlines() if not line.startswith("#")]


def test_a_counter_has_a_line_for_each_combination_of_values() -> None:
    calls = Counter("edge.calls", "Calls", ("model", "gen_ai.provider.name"))
    assert calls.text() == "# HELP edge_calls_total Calls\n# TYPE edge_calls_total counter\n"
    calls.add("m", "v")
    calls.add("m", "v", count=2)
    calls.add('a "quoted" \\ one\nof two lines, 50% off', "v")
    assert lines(calls) == [
        'edge_calls_total{model="m",gen_ai_provider_name="v"} 3',
        'edge_calls_total{model="a \\"quoted\\" \\\\ one\\nof two lines, 50% off",gen_ai_provider_name="v"} 1',
    ]
    calls.add("m", "v")
    assert lines(calls)[0].endswith(" 4")
    assert calls.counts == {("m", "v"): 4, ('a "quoted" \\ one\nof two lines, 50% off', "v"): 1}


def test_a_histogram_has_cumulative_buckets_with_their_ends_and_the_sum_in_seconds() -> None:
    durations = Histogram("http.server.request.duration", "Durations", ("http.route",), (0.1, 1.0))
    for duration_s in (0.05, 0.1, 0.5, 7.0):
        durations.record(duration_s, "/v1/50%")
    name = "http_server_request_duration_seconds"
    assert lines(durations) == [
        f'{name}_bucket{{http_route="/v1/50%",le="0.1"}} 2',
        f'{name}_bucket{{http_route="/v1/50%",le="1"}} 3',
        f'{name}_bucket{{http_route="/v1/50%",le="+Inf"}} 4',
        f'{name}_count{{http_route="/v1/50%"}} 4',
        f'{name}_sum{{http_route="/v1/50%"}} 7.65',
    ]
    # What was told once is told anew once it has changed.
    durations.record(0.35, "/v1/50%")
    assert lines(durations)[-2:] == [f'{name}_count{{http_route="/v1/50%"}} 5', f'{name}_sum{{http_route="/v1/50%"}} 8.0']
    assert durations.buckets("/v1/50%") == {"0.1": 2, "1": 4, "+Inf": 5}
    assert durations.sum_of("/v1/50%") == pytest.approx(8.0)


def test_a_histogram_of_sizes_has_their_unit_at_the_end_of_its_name() -> None:
    sizes = Histogram("charging.commit.size", "Entries", (), (1, 4), "entries")
    sizes.record(4)
    assert lines(sizes)[0] == 'charging_commit_size_entries_bucket{le="1"} 0'
    assert lines(sizes)[-1] == "charging_commit_size_entries_sum 4"


def test_a_gauge_is_asked_when_somebody_reads() -> None:
    open_now = [3]
    gauge = Gauge("edge.sockets", "Open WebSockets", lambda: open_now[0])
    assert lines(gauge) == ["edge_sockets 3"]
    open_now[0] = 4
    assert lines(gauge) == ["edge_sockets 4"]


def test_a_count_that_something_else_keeps_is_told_by_its_attributes() -> None:
    handovers: dict[Values, float] = {("taken",): 2, ("lost",): 1}
    total = Total("charging.handovers", "Partitions", lambda: handovers, ("how",))
    assert total.text().startswith("# HELP charging_handovers_total Partitions\n# TYPE charging_handovers_total counter\n")
    assert lines(total) == ['charging_handovers_total{how="taken"} 2', 'charging_handovers_total{how="lost"} 1']


def test_the_page_has_what_was_exported_and_what_the_process_uses() -> None:
    counter = Counter("tests.page", "Read by a parser", ("word",))
    counter.add('"\\\n')
    export(counter)
    families = {family.name: family for family in text_string_to_metric_families(page().decode())}
    (sample,) = families["tests_page"].samples
    assert (sample.labels, sample.value) == ({"word": '"\\\n'}, 1)
    assert families["process_cpu_seconds"].samples[0].value > 0
    assert "python_info" in families


def test_a_page_of_thousands_of_lines_costs_a_millisecond_or_two() -> None:
    calls = Counter("tests.many", "Calls", ("model", "ended"))
    durations = Histogram("tests.many.duration", "Durations", ("model",), tuple(range(1, 15)))
    for model in range(300):
        calls.add(f"model-{model}", "whole", count=model)
        durations.record(model, f"model-{model}")

    def made_s() -> float:
        began_s = time.thread_time()
        assert (calls.text() + durations.text()).count("\n") == 300 * 18 + 4
        return time.thread_time() - began_s

    # Prometheus' own client takes 50 ms for as many.
    made_s()
    assert min(made_s() for _ in range(20)) < 0.005


def test_opentelemetrys_own_variable_switches_them_off() -> None:
    code = """
from services.runtime.instruments import Counter, Histogram, export, page
counter, histogram = Counter("a.counter", "", ()), Histogram("a.histogram", "", (), (1,))
counter.add()
histogram.record(1.0)
export(counter, histogram)
print(dict(counter.counts), histogram.series, b"a_counter" in page())
"""

    def told(**environment: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, env={**os.environ, **environment}, check=True, text=True
        )
        return ran.stdout.strip()

    assert told(OTEL_SDK_DISABLED="true") == "{} [] False"
    assert told(OTEL_SDK_DISABLED="false") == "{(): 1} [()] True"
