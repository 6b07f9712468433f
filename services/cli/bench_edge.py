"""Measuring the edge: plain calls or streams, of one checkout or of two in turn."""

import math
import resource
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol

import msgspec

from services.cli.bench_cell import OWN_CHECKOUT, BenchCell, Bill, start_simulator
from services.cli.bench_report import CallsReport, OtherCalls, OtherStreams, Spread, StreamsReport, spread
from services.cli.certs import write_certificates
from services.cli.failures import CommandError
from services.cli.load import Load, Measured
from services.cli.processes import CPU_TICK_S, Processes
from services.cli.prose import prose
from services.cli.stream_load import StreamLoad

if TYPE_CHECKING:
    from services.cli.postgresql_server import PostgresqlServer

_WARM_UP_S: Final = 2.0
_WARM_UP_AGAIN_S: Final = 0.5
_DIRECT_SECONDS: Final = 2.0
# Two checkouts take turns this often: machines drift from minute to minute.
_ROUNDS: Final = 5
_OUTPUT_TOKENS: Final = 20
# Streams begin at most this fast, so that a beginning is no storm; then they run in before they are measured.
_STREAMS_PER_SECOND: Final = 250
_RUN_IN_S: Final = 1.0
# As the vendor simulator makes them: beyond it a chunk holds several tokens.
_CHUNKS_PER_SECOND_MAX: Final = 50
# A token of English prose has more bytes.
_PROMPT_BYTES_A_TOKEN: Final = 3
_PROMPT: Final = "Say in one sentence what a token is."
# Descriptors of a process beside those of its streams.
_DESCRIPTORS: Final = 500
# OpenTelemetry's own variable.
_TELEMETRY_OFF: Final = {"OTEL_SDK_DISABLED": "true"}
_MICROSECONDS: Final = 1_000_000


class Round(msgspec.Struct, frozen=True):
    """One checkout's turn."""

    measured: Measured
    edge_cpu_s: float
    accounting_cpu_s: float
    # The database server that both checkouts use; 0: each service has files of its own.
    database_cpu_s: float = 0.0


class Side:
    """All rounds of one checkout, and its bill."""

    def __init__(self, cell: BenchCell) -> None:
        self.cell = cell
        self.rounds: list[Round] = []
        self.bill = Bill([], [])
        self.edge_resident_mib = 0.0

    def conclude(self) -> None:
        """Once all rounds are over."""
        self.edge_resident_mib = round(self.cell.edge_resident_mib, 1)
        self.bill = self.cell.bill(None if self.failed else sum(each.measured.succeeded_in_all for each in self.rounds))

    @property
    def calls(self) -> int:
        """Calls that were answered or failed in the measured time; of streams all."""
        return sum(each.measured.calls for each in self.rounds)

    @property
    def chunks(self) -> int:
        """Content events in the measured time."""
        return sum(each.measured.chunks for each in self.rounds)

    @property
    def seconds(self) -> float:
        """The measured time."""
        return sum(each.measured.seconds for each in self.rounds)

    @property
    def failed(self) -> int:
        """Calls that failed."""
        return sum(each.measured.failed for each in self.rounds)

    @property
    def failures(self) -> dict[str, int]:
        """How they failed: number of calls."""
        failures: dict[str, int] = {}
        for each in self.rounds:
            for how, count in each.measured.failures.items():
                failures[how] = failures.get(how, 0) + count
        return failures

    @property
    def calls_per_second(self) -> float:
        """Answered calls."""
        return round((self.calls - self.failed) / self.seconds, 1)

    @property
    def chunks_per_second(self) -> float:
        """Content events."""
        return round(self.chunks / self.seconds, 1)

    @property
    def edge_cpu_s(self) -> float:
        """CPU time of the edge."""
        return sum(each.edge_cpu_s for each in self.rounds)

    def edge_cpu_us(self, count: int) -> float:
        """CPU time of the edge for each of `count`, in microseconds."""
        return round(self.edge_cpu_s * _MICROSECONDS / max(count, 1), 1)

    def accounting_cpu_us(self, count: int) -> float:
        """CPU time of accounting for each of `count`, in microseconds."""
        return round(sum(each.accounting_cpu_s for each in self.rounds) * _MICROSECONDS / max(count, 1), 1)

    def database_cpu_us(self, count: int) -> float:
        """CPU time of the database server for each of `count`, in microseconds."""
        return round(sum(each.database_cpu_s for each in self.rounds) * _MICROSECONDS / max(count, 1), 1)

    @property
    def p50_ms(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(each.measured.p50_ms for each in self.rounds)

    @property
    def p99_ms(self) -> float:
        """The median of the rounds' 99th percentiles."""
        return statistics.median(each.measured.p99_ms for each in self.rounds)


class Workload(Protocol):
    """A load for an edge."""

    # The load generator's module.
    generator: str
    context_tokens_min: int
    output_tokens_min: int

    def load(self, cell: BenchCell, model_id: str, seconds: float, *, again: bool) -> msgspec.Struct:
        """One round's load; `again`: the cell has had one."""
        ...


class Calls:
    """Plain calls, each on the connection of the one before."""

    generator = "services.cli.load"
    output_tokens_min = _OUTPUT_TOKENS

    def __init__(self, connections: int, body_bytes: int) -> None:
        self._connections = connections
        self._prompt = prose(body_bytes) if body_bytes else _PROMPT
        self.context_tokens_min = len(self._prompt) // _PROMPT_BYTES_A_TOKEN

    def load(self, cell: BenchCell, model_id: str, seconds: float, *, again: bool) -> Load:
        """See `Workload`."""
        return self.to(cell.base_url, cell.api_keys, model_id, seconds, _WARM_UP_AGAIN_S if again else _WARM_UP_S)

    def to(self, base_url: str, api_keys: list[str], model_id: str, seconds: float, warm_up_s: float) -> Load:
        """The load to an edge or to a vendor."""
        body = _body(model_id, self._prompt, _OUTPUT_TOKENS)
        # Real clients ask for more than they get.
        body |= {"max_tokens": 50}
        return Load(
            url=f"{base_url}/chat/completions",
            api_keys=api_keys,
            body=msgspec.json.encode(body).decode(),
            connections=self._connections,
            warm_up_s=warm_up_s,
            seconds=seconds,
        )


class Streams:
    """Streams that all are under way for the whole measured time."""

    generator = "services.cli.stream_load"

    def __init__(self, streams: int, tokens_per_second: float, body_bytes: int, seconds: float) -> None:
        """`seconds`: the measured time of a round."""
        self._streams = streams
        self._tokens_per_second = tokens_per_second
        self._prompt = prose(body_bytes) if body_bytes else _PROMPT
        self._ramp_s = max(1.0, streams / _STREAMS_PER_SECOND)
        self._tokens_a_chunk = max(1, math.ceil(tokens_per_second / _CHUNKS_PER_SECOND_MAX))
        self.output_tokens_min = math.ceil(tokens_per_second * (self._ramp_s + _RUN_IN_S + seconds))
        self.context_tokens_min = len(self._prompt) // _PROMPT_BYTES_A_TOKEN + self.output_tokens_min

    def load(self, cell: BenchCell, model_id: str, seconds: float, *, again: bool) -> StreamLoad:
        """See `Workload`."""
        tokens = self.output_tokens_min
        body = _body(model_id, self._prompt, tokens, tokens_per_second=self._tokens_per_second)
        body |= {"max_tokens": tokens, "stream": True}
        return StreamLoad(
            url=f"{cell.base_url}/chat/completions",
            api_keys=cell.api_keys,
            body=msgspec.json.encode(body).decode(),
            streams=self._streams,
            chunks=math.ceil(tokens / self._tokens_a_chunk),
            chunks_per_second=self._tokens_per_second / self._tokens_a_chunk,
            ramp_s=self._ramp_s,
            settle_s=_RUN_IN_S,
            seconds=seconds,
        )


def _body(model_id: str, prompt: str, output_tokens: int, **simulate: float) -> dict[str, Any]:
    messages = [{"role": "user", "content": prompt}]
    return {"model": model_id, "messages": messages, "simulate": {"output_tokens": output_tokens, **simulate}}


class How(NamedTuple):
    """How cells are measured, whatever is sent."""

    # Another checkout, in turn.
    against: Path | None
    # No metrics and traces in the services of the other.
    telemetry_off: bool
    # TLS between the services of this checkout, and none between those of the other.
    grpc_tls: bool
    # The store of authentication, accounting and billing.
    store: Literal["sqlite", "postgresql"]


class _Bench:
    """Running processes: a vendor, a load generator, and a cell of each checkout."""

    def __init__(
        self,
        processes: Processes,
        folder: Path,
        workload: Workload,
        how: How,
        certificates: Path | None,
        database: "PostgresqlServer | None",
    ) -> None:
        self._processes = processes
        self._workload = workload
        self._database = database
        self.vendor_base_url = start_simulator(processes)
        stores = None if database is None else database.new_database
        own = BenchCell(
            processes, folder, self.vendor_base_url, "own", OWN_CHECKOUT, certificates=certificates, new_database=stores
        )
        self.own = Side(own)
        self.other = None
        if how.against is not None:
            environment = _TELEMETRY_OFF if how.telemetry_off else {}
            other = BenchCell(
                processes,
                folder,
                self.vendor_base_url,
                "other",
                how.against,
                new_database=stores,
                environment=environment,
            )
            self.other = Side(other)
        self.model_id = self._model()
        self._generator = processes.start("load", "-m", workload.generator, checkout=OWN_CHECKOUT)

    def _model(self) -> str:
        """The first model of this checkout's catalog that both checkouts have and that can answer."""
        workload = self._workload
        models, *others = (
            each.cell.models(workload.context_tokens_min, workload.output_tokens_min)
            for each in (self.own, self.other)
            if each is not None
        )
        for model_id in models:
            if all(model_id in other for other in others):
                return model_id
        raise CommandError(
            f"no model takes {workload.context_tokens_min} tokens and makes {workload.output_tokens_min}; measure for less"
        )

    def measure(self, load: msgspec.Struct) -> Measured:
        """Figures of a load that goes to no cell."""
        return self._processes.measure(self._generator, load, Measured, [])[0]

    def run(self, seconds: float) -> None:
        """Measures, this checkout and the other one in turn, each for `seconds` in all; then audits and reconciles."""
        if self.other is None:
            self._round(self.own, seconds)
            self.own.conclude()
            return
        for number in range(_ROUNDS):
            # None is always the first of a pair.
            for side in (self.own, self.other) if number % 2 == 0 else (self.other, self.own):
                self._round(side, seconds / _ROUNDS)
        self.own.conclude()
        self.other.conclude()

    def _round(self, side: Side, seconds: float) -> None:
        load = self._workload.load(side.cell, self.model_id, seconds, again=bool(side.rounds))
        pids = [side.cell.edge_pid, side.cell.accounting_pid]
        if self._database is not None:
            pids.append(self._database.pid)
        measured, cpu_s = self._processes.measure(self._generator, load, Measured, pids)
        side.rounds.append(Round(measured, *cpu_s))


@contextmanager
def _bench(workload: Workload, how: How) -> Iterator[_Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        certificates = folder / "certs" if how.grpc_tls else None
        if certificates is not None:
            write_certificates(certificates, 1)
        database = None
        if how.store == "postgresql":
            from services.cli.postgresql_server import PostgresqlServer

            database = stack.enter_context(PostgresqlServer())
        processes = Processes(folder)
        stack.callback(processes.stop)
        yield _Bench(processes, folder, workload, how, certificates, database)


def measure_calls(connections: int, body_bytes: int, seconds: float, how: How) -> CallsReport:
    """Measures plain calls. Blocking. Errors: `CommandError`."""
    calls = Calls(connections, body_bytes)
    with _bench(calls, how) as bench:
        own = bench.own
        direct = bench.measure(calls.to(bench.vendor_base_url, own.cell.api_keys, bench.model_id, _DIRECT_SECONDS, _WARM_UP_S / 2))
        if direct.failed or not direct.calls:
            raise CommandError(f"the vendor simulator alone did not answer every call: {direct.failures}")
        bench.run(seconds)
    return CallsReport(
        **_figures_of_calls(own),
        **_setting(own, body_bytes, how),
        direct_calls_per_second=round((direct.calls - direct.failed) / direct.seconds, 1),
        p50_ms_over_direct=round(own.p50_ms - direct.p50_ms, 3),
        p99_ms_over_direct=round(own.p99_ms - direct.p99_ms, 3),
        connections=connections,
        against=None
        if bench.other is None
        else OtherCalls(**_figures_of_calls(bench.other), **_comparison(own, bench.other, lambda each: each.measured.calls)),
    )


def _figures_of_calls(side: Side) -> dict[str, Any]:
    return {
        **_found(side),
        "calls_per_second": side.calls_per_second,
        "edge_cpu_us_per_call": side.edge_cpu_us(side.calls),
        "accounting_cpu_us_per_call": side.accounting_cpu_us(side.calls),
        "database_cpu_us_per_call": side.database_cpu_us(side.calls),
    }


def measure_streams(streams: int, tokens_per_second: float, body_bytes: int, seconds: float, how: How) -> StreamsReport:
    """Measures streams. Blocking. Errors: `CommandError`."""
    _allow_descriptors(streams)
    workload = Streams(streams, tokens_per_second, body_bytes, seconds if how.against is None else seconds / _ROUNDS)
    with _bench(workload, how) as bench:
        bench.run(seconds)
    own = bench.own
    return StreamsReport(
        **_figures_of_streams(own),
        **_setting(own, body_bytes, how),
        streams=streams,
        tokens_per_second=tokens_per_second,
        against=None
        if bench.other is None
        else OtherStreams(**_figures_of_streams(bench.other), **_comparison(own, bench.other, lambda each: each.measured.chunks)),
    )


def _figures_of_streams(side: Side) -> dict[str, Any]:
    return {
        **_found(side),
        "chunks": side.chunks,
        "chunks_per_second": side.chunks_per_second,
        "edge_cpu_us_per_chunk": side.edge_cpu_us(side.chunks),
        "accounting_cpu_us_per_chunk": side.accounting_cpu_us(side.chunks),
        "edge_cores": round(side.edge_cpu_s / side.seconds, 3),
        "edge_resident_mib": side.edge_resident_mib,
        "p50_ms_late": round(side.p50_ms, 3),
        "p99_ms_late": round(side.p99_ms, 3),
    }


def _found(side: Side) -> dict[str, Any]:
    bill = side.bill
    return {
        "calls": side.calls,
        "failed": side.failed,
        "failures": side.failures,
        "breaches": bill.breaches,
        "differences": bill.differences,
    }


def _setting(side: Side, body_bytes: int, how: How) -> dict[str, Any]:
    """How this checkout was measured, whatever was sent."""
    return {
        "edge_pids": [side.cell.edge_pid],
        "accounting_pids": [side.cell.accounting_pid],
        "body_bytes": body_bytes,
        "seconds": round(side.seconds, 3),
        "database": how.store,
    }


def _comparison(own: Side, other: Side, count_of: Callable[[Round], int]) -> dict[str, Any]:
    """The other checkout, and this one's CPU over its CPU for each of what is counted."""
    edge, accounting = _ratios(own, other, count_of)
    return {
        "folder": f"{other.cell.checkout}{' without telemetry' if other.cell.environment else ''}",
        "rounds": len(other.rounds),
        "edge_cpu_ratio": edge,
        "accounting_cpu_ratio": accounting,
    }


def _ratios(own: Side, other: Side, count_of: Callable[[Round], int]) -> tuple[Spread, Spread]:
    """CPU for each of what is counted, this checkout's over the other's, of each pair of rounds: edge, accounting."""
    pairs = list(zip(own.rounds, other.rounds, strict=True))
    edge, accounting = [], []
    for one, another in pairs:
        scale = count_of(another) / max(count_of(one), 1)
        # A tick of the CPU clock is the least that can be told.
        edge.append(scale * one.edge_cpu_s / max(another.edge_cpu_s, CPU_TICK_S))
        accounting.append(scale * one.accounting_cpu_s / max(another.accounting_cpu_s, CPU_TICK_S))
    return spread(edge), spread(accounting)


def _allow_descriptors(streams: int) -> None:
    """Lets child processes open as many connections as they need. Errors: `CommandError` when they may not."""
    # The edge has two for each stream.
    needed = 2 * streams + _DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise CommandError(
            f"{streams} streams need {needed} open files and {hard} are allowed; raise `ulimit -Hn`, or use fewer streams"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
