"""The report of a replay, for people and for programs."""

from collections.abc import Sequence

import msgspec
from rich.table import Table

from services.cli.amounts import format_in_unit


class Latency(msgspec.Struct, frozen=True):
    """Percentiles over whole calls that succeeded, in milliseconds; None when none did."""

    p50: float | None
    p90: float | None
    p99: float | None


class Charged(msgspec.Struct, frozen=True):
    """The charge in one unit, in micro-units. `currency` is empty unless the unit is CURRENCY."""

    unit: str
    currency: str
    charged: int


class ReplayReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of a replay. Amounts are integers of micro-units, of `unit` where they do not say their own."""

    amounts_in: str = "micro_units"

    # The `user` field of all its calls.
    run_id: str
    calls: int
    succeeded: int
    # Succeeded calls that quota ended early, with finish_reason "length".
    cut: int
    # By error code.
    refused: dict[str, int]
    failed: int
    # How they failed: number of calls.
    failures: dict[str, int]
    # Rows too long for their model.
    skipped: int
    # By token class, from the answers: the first five always, later ones where they are not 0.
    tokens: dict[str, int]
    latency_ms: Latency
    # The accounts' charge, from their balances.
    charged: int
    # The right charge, from the trace.
    expected: int
    # Charges in other units, for example overage after an allowance ended. No row of the trace says how much is right.
    other_charges: list[Charged]
    # The charge is what was expected, and there is no other one.
    exact: bool
    balance_before: int
    balance_after: int
    unit: str
    # ISO 4217 code; empty unless the unit is CURRENCY.
    currency: str


def percentiles(latencies_ms: Sequence[float]) -> Latency:
    """By nearest rank, to a hundredth of a millisecond."""
    ordered = sorted(latencies_ms)

    def at(percent: int) -> float | None:
        return round(ordered[-(-percent * len(ordered) // 100) - 1], 2) if ordered else None

    return Latency(at(50), at(90), at(99))


def report_table(report: ReplayReport) -> Table:
    """The report for people."""

    def amount(value: int) -> str:
        return format_in_unit(value, {"unit": report.unit, "currency": report.currency})

    def milliseconds(value: float | None) -> str:
        return "-" if value is None else f"{value:,.2f} ms"

    table = Table(show_header=False, title=f"Replay {report.run_id}", title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    table.add_row("calls", f"{report.calls:,}")
    table.add_row("succeeded", f"{report.succeeded:,}")
    if report.cut:
        table.add_row("  of these cut short by quota", f"{report.cut:,}")
    table.add_row("refused", f"{sum(report.refused.values()):,}")
    for code, count in sorted(report.refused.items()):
        table.add_row(f"  {code}", f"{count:,}")
    table.add_row("failed", f"{report.failed:,}")
    for failure, count in sorted(report.failures.items()):
        table.add_row(f"  {failure}", f"{count:,}")
    table.add_row("rows skipped, too long for their model", f"{report.skipped:,}", end_section=True)
    for token_class, count in report.tokens.items():
        table.add_row(f"{token_class} tokens", f"{count:,}")
    table.add_section()
    table.add_row("latency p50", milliseconds(report.latency_ms.p50))
    table.add_row("latency p90", milliseconds(report.latency_ms.p90))
    table.add_row("latency p99", milliseconds(report.latency_ms.p99), end_section=True)
    table.add_row("balance before", amount(report.balance_before))
    table.add_row("balance after", amount(report.balance_after))
    table.add_row("charged", amount(report.charged))
    for other in report.other_charges:
        table.add_row("  and in another unit", format_in_unit(other.charged, msgspec.structs.asdict(other)))
    table.add_row("sum of the trace's rows", amount(report.expected))
    difference = amount(report.charged - report.expected)
    differs = f"it differs by {difference}" if report.charged != report.expected else "the rest is in another unit"
    table.add_row("the bill equals the sum", "yes" if report.exact else f"NO, {differs}")
    return table
