"""What `tokenline bench edge` reports, and how it is printed: the other checkout in a column of its own."""

from collections.abc import Iterator

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How a figure varied over the rounds."""

    min: float
    median: float
    max: float


class OtherCalls(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of the other checkout. Ratios are this one's over the other's, of each pair of rounds."""

    folder: str
    rounds: int
    edge_cpu_ratio: Spread
    accounting_cpu_ratio: Spread
    calls_per_second: float
    edge_cpu_us_per_call: float
    accounting_cpu_us_per_call: float
    calls: int
    failed: int
    failures: dict[str, int]
    breaches: list[str]
    differences: list[str]


class CallsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. CPU is user and system time of the processes over the measured time."""

    calls_per_second: float
    direct_calls_per_second: float
    edge_pids: list[int]
    accounting_pids: list[int]
    edge_cpu_us_per_call: float
    accounting_cpu_us_per_call: float
    # Percentiles through the edge less those of the vendor simulator alone, at the same number of connections.
    p50_ms_over_direct: float
    p99_ms_over_direct: float
    connections: int
    # The length of the prompt; 0: a short one.
    body_bytes: int
    seconds: float
    calls: int
    failed: int
    # How they failed: number of calls.
    failures: dict[str, int]
    database: str
    # What audit and reconciliation found wrong.
    breaches: list[str]
    differences: list[str]
    against: OtherCalls | None


class OtherStreams(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of the other checkout. Ratios are this one's over the other's, of each pair of rounds."""

    folder: str
    rounds: int
    edge_cpu_ratio: Spread
    accounting_cpu_ratio: Spread
    chunks: int
    chunks_per_second: float
    edge_cpu_us_per_chunk: float
    edge_cores: float
    edge_resident_mib: float
    p50_ms_late: float
    p99_ms_late: float
    failed: int
    failures: dict[str, int]
    breaches: list[str]
    differences: list[str]


class StreamsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. No stream began or ended in the measured time."""

    streams: int
    tokens_per_second: float
    # Content events that the load generator received.
    chunks: int
    chunks_per_second: float
    edge_pids: list[int]
    accounting_pids: list[int]
    edge_cpu_us_per_chunk: float
    accounting_cpu_us_per_chunk: float
    # CPU time of the edge over the time of the clock.
    edge_cores: float
    # At the peak, since the edge's start.
    edge_resident_mib: float
    # How much later chunks came than that of their stream which came soonest by the vendor's beat; one stream of 16 is timed.
    p50_ms_late: float
    p99_ms_late: float
    body_bytes: int
    seconds: float
    calls: int
    failed: int
    failures: dict[str, int]
    database: str
    breaches: list[str]
    differences: list[str]
    against: OtherStreams | None


Report = CallsReport | StreamsReport


# A name, and what stands in the columns of this checkout and of the other one.
_Row = tuple[str, str, str]


def print_report(report: Report) -> None:
    """Prints the table."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    other = report.against
    calls = isinstance(report, CallsReport)
    title = "Chat completions through the edge" if calls else "Streams through the edge"
    table = Table(show_header=other is not None, box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column()
    table.add_column("this checkout", justify="right")
    if other is not None:
        table.add_column(other.folder, justify="right")
    for name, own, others in _rows(report):
        table.add_row(name, own, *([] if other is None else [others]))
    console = Console()
    console.print(table)
    if other is not None:
        console.print(
            f"This checkout's CPU over the other's {'a call' if calls else 'a chunk'}, of {other.rounds} pairs of rounds:"
        )
        console.print(f"  edge {_ratio(other.edge_cpu_ratio)}; accounting {_ratio(other.accounting_cpu_ratio)}")


def _ratio(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.min:.2f} to {spread.max:.2f})"


def _exact(of: Report | OtherCalls | OtherStreams) -> str:
    return "NO" if of.breaches or of.differences else "yes"


def _rows(report: Report) -> Iterator[_Row]:
    yield from _rows_of_calls(report) if isinstance(report, CallsReport) else _rows_of_streams(report)
    if report.body_bytes:
        yield "length of the prompt", f"{report.body_bytes:,} bytes", ""
    yield "measured", f"{report.seconds:,.1f} s", ""
    yield "calls", f"{report.calls:,}", ""
    other = report.against
    yield "failed", f"{report.failed:,}", "" if other is None else f"{other.failed:,}"
    yield "database", report.database, ""
    yield "the bill is exact", _exact(report), "" if other is None else _exact(other)


def _rows_of_calls(report: CallsReport) -> Iterator[_Row]:
    other = report.against
    yield "calls a second", f"{report.calls_per_second:,.0f}", "" if other is None else f"{other.calls_per_second:,.0f}"
    yield "calls a second of the simulator alone", f"{report.direct_calls_per_second:,.0f}", ""
    edge, accounting = report.edge_cpu_us_per_call, report.accounting_cpu_us_per_call
    yield "edge CPU a call", f"{edge:,.0f} us", "" if other is None else f"{other.edge_cpu_us_per_call:,.0f} us"
    others = "" if other is None else f"{other.accounting_cpu_us_per_call:,.0f} us"
    yield "accounting CPU a call", f"{accounting:,.0f} us", others
    yield "p50 over the simulator's own", f"{report.p50_ms_over_direct:,.2f} ms", ""
    yield "p99 over the simulator's own", f"{report.p99_ms_over_direct:,.2f} ms", ""
    yield "connections", f"{report.connections:,}", ""


def _rows_of_streams(report: StreamsReport) -> Iterator[_Row]:
    for name, field, form in (
        ("chunks a second", "chunks_per_second", "{:,.0f}"),
        ("edge CPU a chunk", "edge_cpu_us_per_chunk", "{:,.1f} us"),
        ("edge CPU", "edge_cores", "{:.2f} cores"),
        ("edge resident at the peak", "edge_resident_mib", "{:,.0f} MiB"),
        ("p50 late by the stream's own beat", "p50_ms_late", "{:,.1f} ms"),
        ("p99 late by the stream's own beat", "p99_ms_late", "{:,.1f} ms"),
    ):
        others = "" if report.against is None else form.format(getattr(report.against, field))
        yield name, form.format(getattr(report, field)), others
    yield "streams", f"{report.streams:,} at {report.tokens_per_second:g} tokens/s", ""
