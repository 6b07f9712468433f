"""The report of `tokenline bench edge`, and its table with the other checkout in a column of its own."""

import statistics
from typing import Final

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How a figure varied over the rounds."""

    min: float
    median: float
    max: float


def spread(values: list[float]) -> Spread:
    """How values varied, to three decimals."""
    return Spread(round(min(values), 3), round(statistics.median(values), 3), round(max(values), 3))


class _Found(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of every checkout and workload."""

    calls: int
    failed: int
    # How they failed: number of calls.
    failures: dict[str, int]
    # Findings of audit and reconciliation.
    breaches: list[str]
    differences: list[str]

    @property
    def is_exact(self) -> bool:
        """Whether nothing was wrong with the bill."""
        return not self.breaches and not self.differences


class CallsFigures(_Found, frozen=True, kw_only=True):
    """Figures of plain calls. CPU is user and system time of the processes over the measured time."""

    calls_per_second: float
    edge_cpu_us_per_call: float
    accounting_cpu_us_per_call: float
    # A database server; 0: there is none.
    database_cpu_us_per_call: float


class OtherCalls(CallsFigures, frozen=True, kw_only=True):
    """Figures of the other checkout. Ratios are this one's over the other's, of each pair of rounds."""

    folder: str
    rounds: int
    edge_cpu_ratio: Spread
    accounting_cpu_ratio: Spread


class CallsReport(CallsFigures, frozen=True, kw_only=True):
    """Figures of this checkout, and how they were measured."""

    direct_calls_per_second: float
    edge_pids: list[int]
    accounting_pids: list[int]
    # Percentiles through the edge less those of the vendor simulator alone, at the same number of connections.
    p50_ms_over_direct: float
    p99_ms_over_direct: float
    connections: int
    # The length of the prompt; 0: a short one.
    body_bytes: int
    seconds: float
    database: str
    against: OtherCalls | None


class StreamsFigures(_Found, frozen=True, kw_only=True):
    """Figures of streams, none of which began or ended in the measured time. CPU as of plain calls."""

    # Content events that the load generator received.
    chunks: int
    chunks_per_second: float
    edge_cpu_us_per_chunk: float
    accounting_cpu_us_per_chunk: float
    # CPU time of the edge over the time of the clock.
    edge_cores: float
    # At the peak, since the edge's start.
    edge_resident_mib: float
    # How much later chunks came than that of their stream which came soonest by the vendor's beat; one stream of 16 is timed.
    p50_ms_late: float
    p99_ms_late: float


class OtherStreams(StreamsFigures, frozen=True, kw_only=True):
    """Figures of the other checkout. Ratios are this one's over the other's, of each pair of rounds."""

    folder: str
    rounds: int
    edge_cpu_ratio: Spread
    accounting_cpu_ratio: Spread


class StreamsReport(StreamsFigures, frozen=True, kw_only=True):
    """Figures of this checkout, and how they were measured."""

    streams: int
    tokens_per_second: float
    edge_pids: list[int]
    accounting_pids: list[int]
    body_bytes: int
    seconds: float
    database: str
    against: OtherStreams | None


Report = CallsReport | StreamsReport


class AttackFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one attack: honest calls, and the edge. Latencies are medians of the rounds; memory is the edge's, resident."""

    name: str
    # In words.
    says: str
    p50_ms_quiet: float
    p50_ms: float
    p99_ms_quiet: float
    p99_ms: float
    # Under attack over quiet, of each pair of turns.
    p99_ratio: Spread
    # At the peaks of quiet times and of attacks; the largest difference of a pair of turns.
    resident_mib_quiet: float
    resident_mib_peak: float
    resident_mib_rise: float
    # CPU time of the edge over the time of the clock.
    edge_cores_quiet: float
    edge_cores: float
    # Honest calls under attack; of them and of the quiet ones those that failed, and how.
    calls: int
    failed: int
    failures: dict[str, int]
    # The attackers' connections, opened and ended by the edge, the MiB that they sent, their answers by status.
    connections: int
    ended: int
    sent_mib: float
    answers: dict[str, int]


class AttacksReport(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of attacks on the edge's doors."""

    attacks: list[AttackFigures]
    # Memory of the edge that this many idle connections take, by their kind.
    idle_connections: int
    idle_mib: dict[str, float]
    # At the peak of the first quiet time.
    resident_mib_first: float
    # Rate of honest clients.
    calls_per_second: float
    rounds: int
    # Time of each attack over all rounds; quiet times are as long.
    seconds: float
    # Findings of audit and reconciliation.
    breaches: list[str]
    differences: list[str]


class Minute(msgspec.Struct, frozen=True, kw_only=True):
    """A process at the end of a minute, or less, of calls."""

    # Since the first call.
    after_s: float
    resident_mib: float
    # CPU time over the time of the clock.
    cores: float
    # Due in this time, and those of them that failed.
    calls: int
    failed: int
    # From when a call was due.
    p50_ms: float
    p99_ms: float
    # By database, and of the CDR files.
    folder_mib: dict[str, float]


class EnduranceReport(msgspec.Struct, frozen=True, kw_only=True):
    """`tokenline up` under calls for long."""

    minutes: list[Minute]
    calls_per_second: float
    seconds: float
    calls: int
    failed: int
    failures: dict[str, int]
    # The second half alone counts, by the line that fits best.
    resident_mib_per_hour: float
    # Findings of audit and reconciliation.
    breaches: list[str]
    differences: list[str]


class CatalogReport(msgspec.Struct, frozen=True, kw_only=True):
    """Costs of a large catalog: the clock's time of each."""

    models: int
    offerings: int
    edges: int
    # A process that reads and checks it, its start too.
    check_s: Spread
    # From a change of one price until the last edge lists it.
    in_force_s: Spread
    # The list of all models' prices, as a client without a copy gets it.
    price_list_ms: Spread


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Percentages of the input that caches served, of one part of the calls."""

    # One route.
    single: float
    # Several routes with affinity, and the same in turn.
    four: float
    spread: float


class AffinityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one route's cached input several routes give. Percentages are of all input tokens, as answers count them."""

    # The file's name, or "generated".
    trace: str
    conversations: int
    calls: int
    routes: int
    edges: int
    single_percent: float
    cached_percent: float
    # Worked out, not measured.
    spread_percent: float
    # Cached tokens of several routes, of those of one.
    kept_percent: float
    failed: int
    failures: dict[str, int]
    # Calls that waited for the silent route until this was over, and the most of one conversation at one edge within a period.
    first_byte_timeout_ms: int
    slow_calls: int
    slow_calls_a_period_max: int
    # CPU.
    routing_us_per_call: float
    # In the order of the calls.
    shares: list[Share]
    # Shares of the calls after which a route was lost, and was back.
    lost_at: float
    back_at: float
    # Findings of audit and reconciliation.
    breaches: list[str]
    differences: list[str]


# First rows of each table: name, field, format. The other checkout lacks the fields that are measured of this one alone.
_Rows = tuple[tuple[str, str, str], ...]
_CALLS: Final[_Rows] = (
    ("calls a second", "calls_per_second", "{:,.0f}"),
    ("calls a second of the simulator alone", "direct_calls_per_second", "{:,.0f}"),
    ("edge CPU a call", "edge_cpu_us_per_call", "{:,.0f} us"),
    ("accounting CPU a call", "accounting_cpu_us_per_call", "{:,.0f} us"),
    ("database server's CPU a call", "database_cpu_us_per_call", "{:,.0f} us"),
    ("p50 over the simulator's own", "p50_ms_over_direct", "{:,.2f} ms"),
    ("p99 over the simulator's own", "p99_ms_over_direct", "{:,.2f} ms"),
    ("connections", "connections", "{:,}"),
)
_STREAMS: Final[_Rows] = (
    ("chunks a second", "chunks_per_second", "{:,.0f}"),
    ("edge CPU a chunk", "edge_cpu_us_per_chunk", "{:,.1f} us"),
    ("edge CPU", "edge_cores", "{:.2f} cores"),
    ("edge resident at the peak", "edge_resident_mib", "{:,.0f} MiB"),
    ("p50 late by the stream's own beat", "p50_ms_late", "{:,.1f} ms"),
    ("p99 late by the stream's own beat", "p99_ms_late", "{:,.1f} ms"),
    ("streams", "streams", "{:,}"),
    ("tokens a second of each", "tokens_per_second", "{:g}"),
)
_LENGTH: Final[_Rows] = (("length of the prompt", "body_bytes", "{:,} bytes"),)
_BOTH: Final[_Rows] = (
    ("measured", "seconds", "{:,.1f} s"),
    ("calls", "calls", "{:,}"),
    ("failed", "failed", "{:,}"),
    ("database", "database", "{}"),
)


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
    checkouts = (report,) if other is None else (report, other)
    for name, field, form in (*(_CALLS if calls else _STREAMS), *(_LENGTH if report.body_bytes else ()), *_BOTH):
        table.add_row(name, *(form.format(getattr(of, field)) if hasattr(of, field) else "" for of in checkouts))
    table.add_row("the bill is exact", *("yes" if of.is_exact else "NO" for of in checkouts))
    console = Console()
    console.print(table)
    if other is not None:
        console.print(
            f"This checkout's CPU over the other's {'a call' if calls else 'a chunk'}, of {other.rounds} pairs of rounds:"
        )
        console.print(f"  edge {_ratio(other.edge_cpu_ratio)}; accounting {_ratio(other.accounting_cpu_ratio)}")


def _ratio(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.min:.2f} to {spread.max:.2f})"


def print_attacks(report: AttacksReport) -> None:
    """Prints the table of attacks."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"Honest calls, {report.calls_per_second:g} a second: quiet, and under attack"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column("attack")
    for column in (
        "p50 ms",
        "p99 ms",
        "p99 ratio",
        "edge cores",
        "resident MiB",
        "rise",
        "calls",
        "failed",
        "attackers: sent, answers",
    ):
        table.add_column(column, justify="right")
    for each in report.attacks:
        answers = ", ".join(f"{count:,} x {status}" for status, count in each.answers.items())
        table.add_row(
            each.name,
            f"{each.p50_ms_quiet:.1f}, {each.p50_ms:.1f}",
            f"{each.p99_ms_quiet:.1f}, {each.p99_ms:.1f}",
            _ratio(each.p99_ratio),
            f"{each.edge_cores_quiet:.2f}, {each.edge_cores:.2f}",
            f"{each.resident_mib_quiet:.0f}, {each.resident_mib_peak:.0f}",
            f"{each.resident_mib_rise:+.0f}",
            f"{each.calls:,}",
            f"{each.failed:,}",
            f"{each.sent_mib:,.0f} MiB on {each.connections:,} connections, {each.ended:,} ended; {answers or 'none'}",
        )
    console = Console()
    console.print(table)
    idle = "; ".join(f"{kind} {mib:.0f} MiB" for kind, mib in report.idle_mib.items())
    console.print(f"Memory of {report.idle_connections:,} idle connections: {idle}")
    console.print(f"The edge in its first quiet time: {report.resident_mib_first:.0f} MiB")
    console.print(f"The bill is exact: {'NO' if report.breaches or report.differences else 'yes'}")


def print_endurance(report: EnduranceReport) -> None:
    """Prints the table of minutes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"`tokenline up` under {report.calls_per_second:g} calls a second"
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    stores = list(report.minutes[0].folder_mib)
    columns = ("after s", "resident MiB", "cores", "calls", "failed", "p50 ms", "p99 ms", *(f"{store} MiB" for store in stores))
    for column in columns:
        table.add_column(column, justify="right")
    for each in report.minutes:
        table.add_row(
            f"{each.after_s:,.0f}",
            f"{each.resident_mib:,.0f}",
            f"{each.cores:.2f}",
            f"{each.calls:,}",
            f"{each.failed:,}",
            f"{each.p50_ms:,.1f}",
            f"{each.p99_ms:,.1f}",
            *(f"{each.folder_mib[store]:,.1f}" for store in stores),
        )
    console = Console()
    console.print(table)
    console.print(f"Resident memory over the second half: {report.resident_mib_per_hour:+.1f} MiB an hour")
    console.print(f"The bill is exact: {'NO' if report.breaches or report.differences else 'yes'}")


def print_catalog(report: CatalogReport) -> None:
    """Prints the figures of a catalog."""
    print(f"{report.models:,} models and {report.offerings:,} offerings over the base catalog, {report.edges} edges")
    for name, unit, figure in (
        ("read and checked by a new process", "s", report.check_s),
        ("a price changed, until the last edge lists it", "s", report.in_force_s),
        ("the price list of all models", "ms", report.price_list_ms),
    ):
        print(f"  {name}: {figure.median:.3g} {unit} ({figure.min:.3g} to {figure.max:.3g})")


def print_affinity(report: AffinityReport) -> None:
    """Prints the figures of affinity."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"{report.calls:,} calls of {report.conversations:,} conversations ({report.trace}), {report.edges} edges"
    table = Table(show_header=False, box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("input that one route's cache served", f"{report.single_percent:.2f} %"),
        (f"that {report.routes} routes' caches served, one route lost meanwhile", f"{report.cached_percent:.2f} %"),
        ("of what one route would give", f"{report.kept_percent:.2f} %"),
        (f"that {report.routes} routes would serve in turn", f"{report.spread_percent:.2f} %"),
        ("failed calls", f"{report.failed:,}"),
        (f"calls that waited {report.first_byte_timeout_ms:,} ms for the silent route", f"{report.slow_calls:,}"),
        ("the most of one conversation at one edge in a breaker's period", f"{report.slow_calls_a_period_max}"),
        ("routing and affinity, CPU a call", f"{report.routing_us_per_call:.1f} us"),
    ):
        table.add_row(name, value)
    console = Console()
    console.print(table)
    console.print(f"The bill is exact: {'NO' if report.breaches or report.differences else 'yes'}")
