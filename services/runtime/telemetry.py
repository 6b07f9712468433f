"""Telemetry of a process: metrics that Prometheus reads (`instruments`), and traces that go to a collector (`traces`)."""

import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

import msgspec
from opentelemetry.sdk.resources import Resource

from services.runtime.clock_watch import show_clock
from services.runtime.instruments import Gauge, Histogram, export
from services.runtime.logs import Format, Level
from services.runtime.traces import RemotePart, Sampling, Tracing, collector_of, remote_part, trace_with


class TelemetryConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Settings of logs, traces and metrics."""

    # How a line of the log looks: text for people, or json, an object a line.
    log_format: Format = "text"
    # The least level of lines that are logged, and that of single loggers by the name that lines show, such as "edge.routing".
    log_level: Level = "info"
    log_levels: dict[str, Level] = {}
    # Address of an OTLP gRPC collector, "host:port", for spans; empty: none.
    otlp_endpoint: str = ""
    # The share of calls whose traces are kept whatever becomes of them, in parts of a million. Without `otlp_endpoint` the
    # standard's environment variables count: OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME.
    trace_sample_ppm: int = 1_000
    # Calls that take longer are slow, and kept as those are that fail or are refused.
    trace_slow_ms: int = 60_000
    # Port for Prometheus, for services without HTTP of their own; 0: none.
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"


# Attributes of the process that metrics tell.
_RESOURCE: Final = ("service.name", "service.version")

_rpc_durations = Histogram(
    "rpc.server.duration",
    "Durations of unary calls by method and status",
    ("rpc.method", "rpc.grpc.status_code"),
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


def start_telemetry(service_name: str, config: TelemetryConfig, environment: Mapping[str, str] = os.environ) -> "Telemetry":
    """Sets up this process's telemetry; call once, before the service starts. Errors: `ConfigError` for the environment."""
    name = environment.get("OTEL_SERVICE_NAME") or f"tokenline-{service_name}"
    resource = Resource.create({"service.name": name, "service.version": version("tokenline")})
    told = tuple(str(resource.attributes[attribute]) for attribute in _RESOURCE)
    export(Gauge("target.info", "The process and its release", lambda: {told: 1}, _RESOURCE), _rpc_durations)
    show_clock()
    sampling = Sampling(config.trace_sample_ppm, follows_parent=True, slow_s=config.trace_slow_ms / 1_000)
    collector = collector_of(config.otlp_endpoint, sampling, environment)
    tracing = None if collector is None else Tracing(resource, collector)
    trace_with(tracing)
    return Telemetry(tracing)


class Telemetry:
    """A process's telemetry, to be flushed at its end."""

    def __init__(self, tracing: Tracing | None) -> None:
        self._tracing = tracing

    def shutdown(self) -> None:
        """Sends spans that are not sent yet, for a moment."""
        if self._tracing is not None:
            trace_with(None)
            self._tracing.shutdown()


def rpc_part(method: str, metadata: Sequence[tuple[str, str | bytes]] | None) -> RemotePart | None:
    """A unary call as a part of its caller's request, where the caller tells of one."""
    traceparent = next((value for key, value in metadata or () if key == "traceparent"), "")
    return remote_part(method.lstrip("/"), traceparent) if isinstance(traceparent, str) else None


def record_rpc(method: str, status: str, duration_s: float) -> None:
    """Counts a finished unary call."""
    _rpc_durations.record(duration_s, method, status)
