"""Traces of a system in one process, as a collector gets them."""

import json
import signal
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.cli.processes import Up, tokenline, up
from tests.waiting import WAIT_S

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{CALLER}-01"
PROMPT = "marked-prompt"


class Collector(otlp_grpc.TraceServiceServicer):
    """Takes spans, or, once it hangs, answers nobody."""

    def __init__(self) -> None:
        self._requests: list[otlp.ExportTraceServiceRequest] = []
        self._came = threading.Condition()
        self._goes_on = threading.Event()
        self._goes_on.set()

    def Export(self, request: otlp.ExportTraceServiceRequest, context: Any) -> otlp.ExportTraceServiceResponse:
        self._goes_on.wait(60)
        with self._came:
            self._requests.append(request)
            self._came.notify_all()
        return otlp.ExportTraceServiceResponse()

    def hang(self) -> None:
        self._goes_on.clear()

    def go_on(self) -> None:
        self._goes_on.set()

    @property
    def received(self) -> str:
        return str(self._requests)

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for request in self._requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str, count: int = 1) -> list[Span]:
        """The spans of a name, once there are so many."""

        def found() -> list[Span]:
            return [span for span in self.spans if span.name == name]

        with self._came:
            assert self._came.wait_for(lambda: len(found()) >= count, timeout=WAIT_S), sorted(span.name for span in self.spans)
            return found()


@contextmanager
def collecting() -> Iterator[tuple[Collector, dict[str, str]]]:
    """A collector, and the environment that leads to it."""
    collector = Collector()
    server = grpc.server(ThreadPoolExecutor(4))
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    finally:
        collector.go_on()
        server.stop(None)


def call(system: Up, model: str = "deepseek-chat", **headers: str) -> tuple[int, str]:
    """The status and the charging_id of a call."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": PROMPT}]}).encode()
    all_headers = {"Authorization": f"Bearer {system.demo.api_key}", "Content-Type": "application/json", **headers}
    request = urllib.request.Request(f"{system.demo.base_url}/chat/completions", data=body, headers=all_headers)
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as response:
            return response.status, response.headers["x-request-id"]
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-request-id"]


def attributes(span: Span) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_trace_goes_from_the_clients_span_to_the_charge_and_its_record_leads_back(tmp_path: Path) -> None:
    with collecting() as (collector, environment):
        service = {"OTEL_SERVICE_NAME": "shop", "OTEL_TRACES_SAMPLER": "parentbased_always_off"}
        with up(tmp_path, "--log-format", "json", "--access-log", **environment, **service) as system:
            assert call(system)[0] == 200
            status, charging_id = call(system, traceparent=SAMPLED)
            assert status == 200
            root, lead = sorted(collector.named("POST /v1/chat/completions", 2), key=lambda span: span.parent_span_id, reverse=True)
            assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE, CALLER)
            assert root.kind == Span.SPAN_KIND_SERVER
            told = attributes(root)
            assert told["tokenline.charging_id"] == charging_id
            assert told["http.route"] == "/v1/chat/completions"
            assert (told["http.response.status_code"], told["tokenline.ended"]) == (200, "whole")
            # The record has the charging_id alone.
            assert lead.trace_id.hex() == charging_id.replace("-", "")
            assert [(link.trace_id, link.span_id) for link in lead.links] == [(root.trace_id, root.span_id)]
            below = {span.name: span for span in collector.spans if span.parent_span_id == root.span_id}
            assert {"vendor deepseek", "charge create", "charge release"} <= set(below)
            for name in ("charge create", "charge release"):
                (there,) = [span for span in collector.named(name, 2) if span.parent_span_id == below[name].span_id]
                assert there.trace_id == root.trace_id
                assert there.kind == Span.SPAN_KIND_SERVER
            # The first call was neither sampled nor refused.
            assert {span.trace_id for span in collector.spans} == {root.trace_id, lead.trace_id}
            assert 'string_value: "shop"' in collector.received
            for secret in (PROMPT, system.demo.api_key, system.demo.admin_token):
                assert secret not in collector.received
            system.stop()
        (line,) = [each for each in map(json.loads, system.log.splitlines()) if each.get("trace_id")]
        assert (line["trace_id"], line["charging_id"]) == (TRACE, charging_id)


def test_what_fails_or_is_refused_is_kept_although_it_was_not_drawn(tmp_path: Path) -> None:
    with collecting() as (collector, environment):
        away = {"TOKENLINE_OPENAI_API_KEY": "sk-vendor", "TOKENLINE_OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
        with up(tmp_path, **environment, **away, OTEL_TRACES_SAMPLER="always_off") as system:
            assert call(system)[0] == 200
            assert call(system, traceparent=SAMPLED)[0] == 200
            refused, refused_id = call(system, "no-such-model")
            failed, failed_id = call(system, "gpt-4.1")
            kept = collector.named("POST /v1/chat/completions", 2)
            assert {span.trace_id.hex(): attributes(span)["http.response.status_code"] for span in kept} == {
                refused_id.replace("-", ""): refused,
                failed_id.replace("-", ""): failed,
            }
            (asked,) = collector.named("vendor openai")
            assert (asked.status.message, asked.trace_id.hex()) == ("unreachable", failed_id.replace("-", ""))
            assert "sk-vendor" not in collector.received


@pytest.mark.parametrize("how", ["away", "hangs"])
def test_no_call_waits_for_a_collector_and_the_log_says_once_that_it_is_away(tmp_path: Path, how: str) -> None:
    with collecting() as (collector, environment), socket.create_server(("127.0.0.1", 0)) as closed:
        if how == "away":
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{closed.getsockname()[1]}"
            closed.close()
        collector.hang()
        bounds = {"OTEL_BSP_MAX_QUEUE_SIZE": "20", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        with up(tmp_path, **environment, **bounds) as system:
            # More than the queue holds.
            for _ in range(10):
                assert call(system)[0] == 200
            assert system.process.stderr is not None
            said = system.process.stderr.readline()
            assert "traces cannot be sent to the collector of OTEL_EXPORTER_OTLP_ENDPOINT, and are lost meanwhile" in said
            assert call(system)[0] == 200
            assert system.stop() == 0
            assert "runtime.traces" not in system.log


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes", "OTEL_TRACES_SAMPLER is 'sometimes'; known are always_off, always_on, "),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "OTEL_TRACES_SAMPLER_ARG is '2'; give the share of calls as a number from 0 to 1"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1", "the environment variables OTEL_BSP_* do not fit: max_export_batch_size must be"),
        (
            *("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=blue, authorization: Bearer s3cret"),
            "OTEL_EXPORTER_OTLP_HEADERS: header 2 is not NAME=VALUE in ASCII; percent-encode what else stands in it",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL is 'http/protobuf'; set it to grpc"),
    ],
)
def test_what_the_environment_says_wrong_is_told(tmp_path: Path, name: str, value: str, complaint: str) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_SAMPLER": "traceidratio", name: value}
    refused = tokenline("up", "--data-dir", str(tmp_path), timeout_s=60, **environment)
    assert refused.returncode == 2
    assert complaint in refused.stderr.splitlines()[-1]
    assert "s3cret" not in refused.stderr


def test_a_disabled_sdk_sends_nothing(tmp_path: Path) -> None:
    with collecting() as (collector, environment), up(tmp_path, **environment, OTEL_SDK_DISABLED="true") as system:
        assert call(system, traceparent=SAMPLED)[0] == 200
        assert system.stop(signal.SIGTERM) == 0
    assert not collector.spans
