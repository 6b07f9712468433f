"""OpenTelemetry, cheap enough to leave on.

Prometheus reads metrics (`instruments`). A trace is begun for the share of calls that the config names, or where the caller's trace
is sampled; a call that is not sampled costs one random number.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final

import msgspec
from opentelemetry import context as otel_context
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind

from services.runtime.instruments import Gauge, Histogram, export
from services.runtime.logs import Format, Level


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of logs, traces and metrics."""

    # How a line of the log looks: text for people, or json, an object a line.
    log_format: Format = "text"
    # The least level of lines that are logged, and that of single loggers by the name that lines show, such as "edge.routing".
    log_level: Level = "info"
    log_levels: dict[str, Level] = {}
    # Address of an OTLP gRPC collector, "host:port", for spans; empty: none.
    otlp_endpoint: str = ""
    # The share of calls traced, in parts of a million.
    trace_sample_ppm: int = 1_000
    # Port for Prometheus, for services without HTTP of their own; 0: none.
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"


# Attributes of the process that metrics tell.
_RESOURCE: Final = ("service.name", "service.version")

_tracer = trace.get_tracer("tokenline")
_rpc_durations = Histogram(
    "rpc.server.duration",
    "Durations of unary calls by method and status",
    ("rpc.method", "rpc.grpc.status_code"),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
_sample_share = 0.0


def start_telemetry(service_name: str, config: TelemetryConfig) -> "Telemetry":
    """Sets up this process's telemetry; call once, before the service starts."""
    global _sample_share
    resource = Resource.create({"service.name": f"tokenline-{service_name}", "service.version": version("tokenline")})
    told = tuple(str(resource.attributes[attribute]) for attribute in _RESOURCE)
    export(Gauge("target.info", "The process and its release", lambda: {told: 1}, _RESOURCE), _rpc_durations)
    tracers: TracerProvider | None = None
    if config.otlp_endpoint:
        # Imported only where it is used, because it takes longer than the rest of a start.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        _sample_share = config.trace_sample_ppm / 1_000_000
        # The share is drawn before a span is made, so every span is recorded.
        tracers = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(1.0)))
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=config.otlp_endpoint, insecure=True)))
        trace.set_tracer_provider(tracers)
    return Telemetry(tracers)


class Telemetry:
    """A process's telemetry, to be flushed at its end."""

    def __init__(self, tracers: TracerProvider | None) -> None:
        self._tracers = tracers

    def shutdown(self) -> None:
        """Flushes spans that are not sent yet."""
        if self._tracers is not None:
            self._tracers.shutdown()


@contextmanager
def sampled_span(
    name: str, kind: SpanKind, carrier: Mapping[str, str], attributes: Mapping[str, Any]
) -> Iterator[trace.Span | None]:
    """A span, where the caller's trace is sampled or the draw says so; else nothing, at no cost."""
    traceparent = carrier.get("traceparent", "")
    if not _sample_share or not (traceparent.endswith("-01") or random.random() < _sample_share):  # noqa: S311  # a draw, not a secret
        yield None
        return
    parent = propagate.extract(carrier)
    with _tracer.start_as_current_span(name, context=parent, kind=kind, attributes=dict(attributes)) as span:
        yield span


def rpc_server_span(method: str, metadata: Sequence[tuple[str, str | bytes]] | None) -> Any:
    """A server span of a unary call."""
    carrier = {key: value for key, value in metadata or () if key == "traceparent" and isinstance(value, str)}
    return sampled_span(method.lstrip("/"), SpanKind.SERVER, carrier, {"rpc.system": "grpc", "rpc.method": method})


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """Call metadata that carries the current span to the next service."""
    if otel_context.get_current() == {}:
        return ()
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tuple(carrier.items())


def record_rpc(method: str, status: str, duration_s: float) -> None:
    """Counts a finished unary call."""
    _rpc_durations.record(duration_s, method, status)
