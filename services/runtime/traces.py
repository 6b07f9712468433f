"""Traces of requests, in OpenTelemetry's form, decided on at their end.

What a request does is noted while it lasts, at some microseconds a part. At its end it is kept, and only then made into spans,
if it was drawn, or its caller's trace is sampled, or it failed, was refused or was slow. Only a request that was drawn is told to
other services, because they cannot wait for its end. A thread sends: what a slow collector does not take is lost, nobody waits.
"""

import logging
import random
import re
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Final, NamedTuple

from opentelemetry import trace as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from services.runtime.config import ConfigError

logger = logging.getLogger(__name__)

Value = str | int | float | bool

_TRACEPARENT: Final = re.compile(rb"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED: Final = 1
_PARTS_MAX: Final = 100
# Requests that were not drawn are kept up to this many a second, or whoever likes to be refused would fill the collector.
_KEPT_A_SECOND: Final = 20
_STATUS_OF_REFUSALS: Final = 400
_STATUS_OF_FAULTS: Final = 500
# The end of the process waits this long for the last spans, and then for the thread that sends.
_SHUTDOWN_S: Final = 2.0
# These log each span that is lost.
_LOUD: Final = ("opentelemetry.exporter", "opentelemetry.sdk._shared_internal", "opentelemetry.sdk.trace")

# OpenTelemetry's own reader takes these, and logs others with all that is in them.
_HEADER: Final = re.compile(r"[!#-'*+.0-9A-Z^-z|~-]+[ \t]*=[ -!#-+\--:<-\[\]-~\t]*")

_SHARES: Final = {"always_on": 1_000_000, "always_off": 0, "traceidratio": None}


class Sampling(NamedTuple):
    """Which requests are kept."""

    share_ppm: int
    # Whether the caller's word counts, that its own trace is sampled.
    follows_parent: bool
    slow_s: float


class Collector(NamedTuple):
    """Where spans go, "host:port", and how; empty: as the standard's environment variables say."""

    endpoint: str
    sampling: Sampling


def collector_of(endpoint: str, sampling: Sampling, environment: Mapping[str, str]) -> Collector | None:
    """The collector that a config names, else that of OpenTelemetry's environment variables; None: there is none.

    Errors: `ConfigError`.
    """
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true" or environment.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return None
    if endpoint:
        return Collector(endpoint, sampling)
    if not (environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        return None
    for name in ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"):
        for place, header in enumerate(environment.get(name, "").split(","), 1):
            # Most have a secret, so that none is quoted.
            if header.strip() and _HEADER.fullmatch(header.strip()) is None:
                raise ConfigError(f"{name}: header {place} is not NAME=VALUE in ASCII; percent-encode what else stands in it")
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if environment.get(name, "grpc") != "grpc":
            raise ConfigError(
                f"{name} is {environment[name]!r}; set it to grpc, and the endpoint to the collector's port for it, 4317"
            )
    return Collector("", _sampling_of(sampling, environment))


def _sampling_of(sampling: Sampling, environment: Mapping[str, str]) -> Sampling:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "parentbased_always_on")
    kind = sampler.removeprefix("parentbased_")
    if kind not in _SHARES:
        known = ", ".join(sorted([*_SHARES, *(f"parentbased_{each}" for each in _SHARES)]))
        raise ConfigError(f"OTEL_TRACES_SAMPLER is {sampler!r}; known are {known}")
    share = _SHARES[kind]
    if share is None:
        text = environment.get("OTEL_TRACES_SAMPLER_ARG", "1")
        if re.fullmatch(r"0(\.[0-9]{1,12})?|1(\.0{1,12})?", text) is None:
            raise ConfigError(f"OTEL_TRACES_SAMPLER_ARG is {text!r}; give the share of calls as a number from 0 to 1, such as 0.01")
        share = round(float(text) * 1_000_000)
    return sampling._replace(share_ppm=share, follows_parent=kind != sampler)


class _Ids(IdGenerator):
    """Gives spans the IDs that they were told to others by; of one thread."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_span_id(self) -> int:
        return self.span_id

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Sending(SpanExporter):
    """Sends spans, and logs once that this fails, and once that it works again."""

    def __init__(self, endpoint: str) -> None:
        # Imported only where it is used, because it takes longer than the rest of a start.
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._inner = OTLPSpanExporter(endpoint=endpoint, insecure=True) if endpoint else OTLPSpanExporter()
        # A user and a password in it are not for the log.
        self._endpoint = endpoint.rpartition("@")[2] or "the collector of OTEL_EXPORTER_OTLP_ENDPOINT"
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            logger.warning("traces cannot be sent to %s, and are lost meanwhile: look whether it runs; calls go on", self._endpoint)
        elif self._failing and not failing:
            logger.info("traces are sent to %s again", self._endpoint)
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class Tracing:
    """The traces of a process."""

    def __init__(self, resource: Resource, collector: Collector) -> None:
        """Errors: `ConfigError` for environment variables of the standard that do not fit."""
        self.sampling = collector.sampling
        self._ids = _Ids()
        self._exporter = _Sending(collector.endpoint)
        # It is decided already, when a span is made.
        self._provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, id_generator=self._ids)
        try:
            self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        except ValueError as error:
            raise ConfigError(f"the environment variables OTEL_BSP_* do not fit: {error}") from error
        self._tracer = self._provider.get_tracer("tokenline")
        self._second = 0
        self._kept = 0

    def draws(self) -> bool:
        """Whether a request is kept whatever becomes of it."""
        share = self.sampling.share_ppm
        return share > 0 and random.random() * 1_000_000 < share  # noqa: S311  # a draw, not a secret

    def has_room(self, now_ns: int) -> bool:
        """Whether a request that was not drawn is kept; it counts."""
        second = now_ns // 1_000_000_000
        if second != self._second:
            self._second, self._kept = second, 0
        self._kept += 1
        return self._kept <= _KEPT_A_SECOND

    def span(self, part: "Part", trace_id: int, parent_span_id: int, *, kind: SpanKind, links: Sequence[otel.Link] = ()) -> None:
        """Makes a span of a part that is over."""
        context = None
        if parent_span_id:
            context = otel.set_span_in_context(otel.NonRecordingSpan(span_context(trace_id, parent_span_id)))
        self._ids.trace_id, self._ids.span_id = trace_id, part.span_id
        span = self._tracer.start_span(
            part.name, context=context, kind=kind, attributes=part.attributes, links=links, start_time=part.began_ns
        )
        if part.error:
            span.set_status(otel.Status(otel.StatusCode.ERROR, part.error))
        span.end(end_time=part.ended_ns)

    def shutdown(self) -> None:
        """Sends what is left, for a moment."""
        ending = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(_SHUTDOWN_S)
        if ending.is_alive():
            self._exporter.shutdown()
            ending.join(_SHUTDOWN_S)


def span_context(trace_id: int, span_id: int) -> otel.SpanContext:
    """The context of a span that is sampled."""
    return otel.SpanContext(trace_id, span_id, is_remote=True, trace_flags=otel.TraceFlags(_SAMPLED))


_NOTHING: Final[Mapping[str, Value]] = {}
_tracing: Tracing | None = None
_current: "ContextVar[Trace | None]" = ContextVar("trace", default=None)


def trace_with(tracing: Tracing | None) -> None:
    """Traces the process's requests from now on; None: not any more."""
    global _tracing
    _tracing = tracing


class Part:
    """A part of a request, over once `end` is called."""

    __slots__ = ("_trace", "attributes", "began_ns", "ended_ns", "error", "kind", "name", "span_id")

    def __init__(self, trace: "Trace | None", name: str, kind: SpanKind, attributes: dict[str, Value]) -> None:
        self._trace = trace
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.span_id = random.getrandbits(64) or 1  # an ID, not a secret
        self.began_ns = time.time_ns()
        self.ended_ns = 0
        self.error = ""

    def end(self, error: str = "") -> None:
        """Ends it; again: nothing."""
        if not self.ended_ns:
            self.ended_ns = time.time_ns()
            self.error = error
            if self._trace is not None:
                self._trace.take(self)

    @property
    def traceparent(self) -> str:
        """The W3C name of this part, by which another service puts its own below; empty where it is told nothing."""
        trace = self._trace
        return f"00-{trace.trace_id:032x}-{self.span_id:016x}-01" if trace is not None and trace.is_drawn else ""


class Trace:
    """One request."""

    def __init__(self, tracing: Tracing, name: str, own_id: int, parent: "Parent | None") -> None:
        self._tracing = tracing
        self._parts: list[Part] = []
        self._parent = parent
        self._own_id = own_id
        self.trace_id = own_id if parent is None else parent.trace_id
        follows = parent is not None and parent.is_sampled and tracing.sampling.follows_parent
        self.is_drawn = follows or tracing.draws()
        self.root = Part(None, name, SpanKind.SERVER, {})
        # The failure that the status of its answer does not tell of; empty: none.
        self.failed = ""

    def take(self, part: Part) -> None:
        """Takes a part that is over, as long as the request is not, and has not too many."""
        if not self.root.ended_ns and len(self._parts) < _PARTS_MAX:
            self._parts.append(part)

    def end(self, status: int) -> None:
        """Ends the request, and makes spans of it if it is kept."""
        root, tracing = self.root, self._tracing
        root.attributes["http.response.status_code"] = status
        root.end(self.failed or (f"status {status}" if status >= _STATUS_OF_FAULTS else ""))
        if not self.is_drawn:
            is_slow = root.ended_ns - root.began_ns >= tracing.sampling.slow_s * 1_000_000_000
            if not ((self.failed or status >= _STATUS_OF_REFUSALS or is_slow) and tracing.has_room(root.ended_ns)):
                return
        parent_id = 0 if self._parent is None else self._parent.span_id
        tracing.span(root, self.trace_id, parent_id, kind=root.kind)
        for part in self._parts:
            tracing.span(part, self.trace_id, root.span_id, kind=part.kind)
        if self.trace_id != self._own_id:
            # The caller's trace has an ID of its own; this leads to it from the ID that the records of the request have.
            lead = Part(None, root.name, SpanKind.INTERNAL, root.attributes)
            lead.began_ns, lead.ended_ns = root.began_ns, root.ended_ns
            link = otel.Link(span_context(self.trace_id, root.span_id))
            tracing.span(lead, self._own_id, 0, kind=SpanKind.INTERNAL, links=[link])


class Parent(NamedTuple):
    """A caller's own span."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parent_of(traceparent: bytes) -> Parent | None:
    """The caller's span by the header `traceparent` (W3C); None where there is none, or it is none."""
    found = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return None if found is None else Parent(int(found[1], 16), int(found[2], 16), bool(int(found[3], 16) & _SAMPLED))


def is_tracing() -> bool:
    """Whether requests are traced."""
    return _tracing is not None


def begin_trace(name: str, own_id: int, parent: Parent | None) -> Trace:
    """Begins a request, for this task and those that it makes, where requests are traced.

    `own_id`: 128 bits by which its records are found, and its trace where the caller has none.
    """
    assert _tracing is not None
    trace = Trace(_tracing, name, own_id, parent)
    _current.set(trace)
    return trace


def current_trace() -> Trace | None:
    """The request that this task is of."""
    return _current.get()


def begin_part(name: str, attributes: Mapping[str, Value] = _NOTHING) -> Part | None:
    """Begins a part of the request that this task is of, which another service does; None where nothing is traced."""
    trace = _current.get()
    return None if trace is None else Part(trace, name, SpanKind.CLIENT, dict(attributes))


class RemotePart:
    """A part that is another service's: its caller has told that it is drawn."""

    def __init__(self, tracing: Tracing, name: str, parent: Parent) -> None:
        self._tracing = tracing
        self._parent = parent
        self.part = Part(None, name, SpanKind.SERVER, {})

    def end(self, error: str = "") -> None:
        """Ends it, and makes a span of it."""
        self.part.end(error)
        self._tracing.span(self.part, self._parent.trace_id, self._parent.span_id, kind=SpanKind.SERVER)


def remote_part(name: str, traceparent: str) -> RemotePart | None:
    """Begins this service's part of a caller's request; None where nothing is traced, or the caller tells nothing."""
    tracing = _tracing
    if tracing is None or not traceparent:
        return None
    parent = parent_of(traceparent.encode("ascii", "replace"))
    return None if parent is None or not parent.is_sampled else RemotePart(tracing, name, parent)


def trace_metadata(part: Part | None) -> tuple[tuple[str, str], ...] | None:
    """Metadata of a call to another service that is a part of a request."""
    traceparent = "" if part is None else part.traceparent
    return (("traceparent", traceparent),) if traceparent else None
