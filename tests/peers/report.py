"""The figures of all systems, and their table as Markdown."""

import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

CLOSED_CONNECTIONS: Final = (10, 64)
P99_MS_BOUNDS: Final = (5.0, 10.0, 50.0)


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """Medians of the turns in a closed loop; CPU of all of a system's processes, in us an answered call."""

    calls_per_second: float
    p50_ms: float
    p99_ms: float
    gateway_cpu_us: float
    database_cpu_us: float
    # Of both together, over the turns.
    cpu_us_min: float
    cpu_us_max: float


class SmallAccount(msgspec.Struct, frozen=True, kw_only=True):
    """Calls sent at one moment on an account that can pay for 10."""

    sent: int
    served: int
    # For how many calls the account can still pay; below 0 it owes them. None: it cannot be told.
    left: float | None


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """Calls under load, in the midst of which the gateway was killed with -9; it has begun anew since."""

    # Answers that clients have in whole.
    answered: int
    # Calls that were charged, by their tokens.
    charged: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one system."""

    name: str
    # What was on.
    says: str
    # By the number of connections.
    closed: dict[int, Closed]
    # By the bound of p99 in ms: what each search found; 0: not at any rate that was tried.
    calls_per_second_at_p99: dict[float, list[float]]
    # Of all its processes after a turn, at the most.
    memory_mib: float
    # Calls of closed loops.
    failed: int
    # What it charged, and what the vendor made; None: it keeps no record.
    charged: int | None
    made: int | None
    charged_unit: str
    small: SmallAccount | None
    # None: that was not tried.
    killed: Killed | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    systems: list[Figures]
    # What cannot be had or built here, and what failed.
    missing: list[str]
    # Other work beside: of one minute, at the beginning and at the end.
    load_average: list[float]
    seconds: float


def markdown(report: Report) -> str:
    """Two tables and what is missing."""
    lines = [
        "| system, what is on | " + " | ".join(_closed_heads()) + " | MiB |",
        "|---" * (2 + len(_closed_heads())) + "|",
        *(_row(f"{each.name}: {each.says}", [*_closed_cells(each), f"{each.memory_mib:,.0f}"]) for each in report.systems),
        "",
        "| system | " + " | ".join(_other_heads()) + " |",
        "|---" * (1 + len(_other_heads())) + "|",
        *(_row(each.name, _other_cells(each)) for each in report.systems),
        "",
        f"{report.seconds:.0f} s; load average {' and '.join(f'{each:.1f}' for each in report.load_average)} before and after.",
        *(f"Not measured: {each}." for each in report.missing),
    ]
    return "\n".join(lines)


def _row(first: str, cells: Sequence[str]) -> str:
    return f"| {first} | " + " | ".join(cells) + " |"


def _closed_heads() -> list[str]:
    heads = ("calls/s", "p50 / p99 ms", "CPU us a call: gateway + database = both (least to most)")
    return [f"{head}, {connections} connections" for connections in CLOSED_CONNECTIONS for head in heads]


def _closed_cells(figures: Figures) -> list[str]:
    cells = []
    for connections in CLOSED_CONNECTIONS:
        of = figures.closed[connections]
        cpu = f"{of.gateway_cpu_us:,.0f} + {of.database_cpu_us:,.0f} = **{of.gateway_cpu_us + of.database_cpu_us:,.0f}**"
        cells += [
            f"{of.calls_per_second:,.0f}",
            f"{of.p50_ms:.1f} / {of.p99_ms:.1f}",
            f"{cpu} ({of.cpu_us_min:,.0f} to {of.cpu_us_max:,.0f})",
        ]
    return cells


def _other_heads() -> list[str]:
    return [
        *(f"calls/s at p99 of {bound:g} ms" for bound in P99_MS_BOUNDS),
        "failed",
        "charged of made",
        "small account: served, calls left",
        "killed: charged of answered",
    ]


def _other_cells(figures: Figures) -> list[str]:
    rates = (figures.calls_per_second_at_p99[bound] for bound in P99_MS_BOUNDS)
    charged = "no record" if figures.charged is None else f"{figures.charged:,} of {figures.made:,} {figures.charged_unit}"
    small, killed = figures.small, figures.killed
    left = "" if small is None or small.left is None else f", {small.left:.1f}"
    return [
        *(f"{statistics.median(each):,.0f} ({min(each):,.0f} to {max(each):,.0f})" for each in rates),
        f"{figures.failed:,}",
        charged,
        "-" if small is None else f"{small.served} of {small.sent}{left}",
        "-" if killed is None else f"{killed.charged:,.0f} of {killed.answered:,}",
    ]
