"""`tokenline top`: a page that shows what a running system does at this moment, and again every few seconds.

It asks the operators' listener alone: metrics, partitions, and the accounts that burn most. Of metrics only those that it shows are
read, since a page of a large catalog has thousands.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from services.cli.amounts import format_amount, unit_name
from services.cli.client import System, find_system
from services.cli.failures import CommandError, CommandFailed, NoAnswerError
from services.cli.printing import print_tables, table, text_of
from services.cli.samples import Samples, read_samples

_TIMEOUT_S: Final = 5.0
_WINDOW: Final = "5m"
_WINDOW_MINUTES: Final = 5
_REFUSALS_SHOWN: Final = 6
_VENDORS_SHOWN: Final = 8
_ACCOUNTS_SHOWN: Final = 6
# A pipe has no width; this one fits the narrowest terminal that is in use.
_WIDTH_OF_NONE: Final = 80
_LEFT_OUT: Final = 2.0
# Tells one process from another.
_BEGAN: Final = "process_start_time_seconds"
_SHOWN: Final = (
    "edge_calls_total",
    "edge_usage_total",
    "edge_refusals_total",
    "edge_requests_total",
    "edge_calls_shed_total",
    "edge_calls_waiting",
    "edge_vendor_attempts_total",
    "edge_route_state",
    "edge_outbox_releases",
    "gen_ai_server_time_to_first_token_seconds_sum",
    "gen_ai_server_time_to_first_token_seconds_count",
    "charging_at_risk",
    "charging_sessions_open",
    "charging_accounts_in_debt",
    "charging_commands_total",
    "charging_commits_total",
    "billing_export_lag_seconds",
    _BEGAN,
)
_RISKS: Final = (("held", "held by open calls"), ("debt", "owed"), ("credit", "on credit lines, not billed yet"))


class Look(NamedTuple):
    """A system as it was found at a moment."""

    time_s: float
    samples: Samples
    partitions: Sequence[Mapping[str, Any]]
    # None where the system does not tell.
    burning: Mapping[str, Any] | None
    # Conditions of readiness that do not hold.
    missing: Sequence[str]


class _Interval(click.FloatRange):
    """Seconds between two looks; no bound holds for nan."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


@click.command("top")
@click.option("--once", is_flag=True, help="Show one page and end.")
@click.option(
    "--interval",
    "interval_s",
    default=2.0,
    type=_Interval(0.2, 3_600),
    metavar="SECONDS",
    help="Time between two looks, over which rates are taken. Default: 2.",
)
@click.option("--data-dir", type=click.Path(path_type=Path), metavar="DIR", help="The data folder of the system.")
def top_command(*, once: bool, interval_s: float, data_dir: Path | None) -> None:
    """Show what the system does at this moment: calls, tokens, refusals, vendors, accounts that burn most, debt, owners, export.

    On a terminal the page is drawn anew until Ctrl-C; into a pipe, or on a terminal that cannot, pages follow one another.
    """
    system = find_system(data_dir)
    before = look(system)
    if once or not _can_draw():
        while True:
            time.sleep(interval_s)
            now = look(system)
            print_tables(page(system.base_url, before, now), _WIDTH_OF_NONE)
            sys.stdout.flush()
            if once:
                return
            before = now
    _draw(system, before, interval_s)


def look(system: System) -> Look:
    """Asks for everything that a page shows. Errors: `CommandError`."""
    samples = read_samples(system.read("/metrics", _TIMEOUT_S).body, _SHOWN)
    try:
        burning = _asked(system, f"/accounts/burning?window={_WINDOW}&limit={_ACCOUNTS_SHOWN}")
    except CommandFailed:
        # In a rolling update: the release before does not tell.
        burning = None
    partitions = _asked(system, "/partitions")
    return Look(time.monotonic(), samples, partitions["data"] if partitions else [], burning, system.missing(_TIMEOUT_S))


def _asked(system: System, path: str) -> dict[str, Any] | None:
    """None where accounting or billing is away, which readiness names, or the page: it is then that a page is looked at."""
    try:
        return system.ask("GET", path, timeout_s=_TIMEOUT_S)
    except NoAnswerError:
        return None
    except CommandError as error:
        if not error.is_of_a_service_behind:
            raise
        return None


def _can_draw() -> bool:
    from rich.console import Console

    console = Console()
    return console.is_terminal and not console.is_dumb_terminal


def _draw(system: System, before: Look, interval_s: float) -> None:
    from rich.console import Group
    from rich.live import Live

    with Live(text_of("looking ..."), screen=True, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval_s)
                try:
                    now = look(system)
                except CommandError as error:
                    live.update(text_of(f"{error.message}\n\nAsking again; Ctrl-C ends."), refresh=True)
                    continue
                live.update(Group(*page(system.base_url, before, now), text_of("Ctrl-C ends.")), refresh=True)
                before = now
        except KeyboardInterrupt:
            return


def page(url: str, before: Look, now: Look) -> list[Any]:
    """The page of two looks: rates between them, and the state at the second."""
    rates = _Rates(before, now)
    state = f"waiting for {', '.join(now.missing)}" if now.missing else "ready"
    lines = [f"Tokenline at {url}: {state}, {datetime.now(UTC):%H:%M:%S} UTC", *_scope(before, now)]
    lines += [*_traffic(rates), *_holds(now.samples), *_cell(now)]
    return [*map(text_of, lines), *_tables(rates, now)]


class _Rates:
    """Increases a second of counters."""

    def __init__(self, before: Look, now: Look) -> None:
        self._before = before.samples
        self._now = now.samples
        self._seconds = max(now.time_s - before.time_s, 1e-3)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        earlier = self._before.by(name, *labels)
        grown = {key: value - earlier.get(key, 0.0) for key, value in self._now.by(name, *labels).items()}
        # A counter below its former value began anew with its process.
        return {key: max(value, 0.0) / self._seconds for key, value in grown.items()}

    def total(self, name: str) -> float:
        return sum(self.by(name).values())


def _scope(before: Look, now: Look) -> list[str]:
    """Tells whose the numbers are, where they are not the whole system's."""
    if before.samples.highest(_BEGAN) != now.samples.highest(_BEGAN):
        return ["ANOTHER PROCESS ANSWERED: the edge began anew, or this address leads to several; ask each at its own"]
    if now.samples.is_of_an_edge:
        return ["calls, tokens, refusals and vendors are those of this edge alone; owners, export and accounts are the cell's"]
    return []


def _traffic(rates: _Rates) -> list[str]:
    usage = rates.by("edge_usage_total", "class")
    tokens = {name: usage.get((name,), 0.0) for name in ("input", "cached_input", "output", "reasoning")}
    other = sum(rate for (status,), rate in rates.by("edge_requests_total", "status").items() if status.startswith("5"))
    lines = [
        f"calls {_rate(rates.total('edge_calls_total'))}   refused {_rate(rates.total('edge_refusals_total'))}   "
        f"shed {_rate(rates.total('edge_calls_shed_total'))}   answers of 5xx {_rate(other)}",
        "tokens: " + "   ".join(f"{name.replace('_', ' ')} {_rate(rate)}" for name, rate in tokens.items()),
    ]
    return lines


def _holds(samples: Samples) -> list[str]:
    lines = []
    risks = samples.by("charging_at_risk", "kind", "unit")
    for kind, told in _RISKS:
        amounts = [
            f"{format_amount(round(value))} {unit.removeprefix('CURRENCY:')}"
            for (of, unit), value in risks.items()
            if of == kind and value
        ]
        if amounts:
            lines.append(f"{told}: {', '.join(amounts)}")
    counts = {
        "calls open": samples.highest("charging_sessions_open"),
        "calls waiting for their turn": samples.highest("edge_calls_waiting"),
        "releases in the outbox": samples.highest("edge_outbox_releases"),
        "accounts in debt": samples.highest("charging_accounts_in_debt"),
    }
    told_counts = [f"{name} {value:,.0f}" for name, value in counts.items() if value is not None]
    return [*lines, "   ".join(told_counts)] if told_counts else lines


def _cell(now: Look) -> list[str]:
    if not now.partitions:
        return ["owners: not known, accounting or billing does not answer"]
    owners = {each["owner"] for each in now.partitions}
    without = sum(each["owner"] is None for each in now.partitions) if len(owners) > 1 else 0
    rows = sum(each["lag"] for each in now.partitions)
    behind_s = now.samples.highest("billing_export_lag_seconds")
    # Where all is exported, the time tells only how often the export looks.
    late = f"{rows:,} journal rows" + ("" if behind_s is None or not rows else f", {behind_s:,.0f} s")
    replicas = f"{len(owners - {None}) or 1} for {len(now.partitions):,} partitions"
    return [f"owners: {replicas}{f', {without:,} WITHOUT ONE' if without else ''}   export: {late} late"]


def _tables(rates: _Rates, now: Look) -> list[Any]:
    tables = []
    refused = sorted(rates.by("edge_refusals_total", "reason").items(), key=lambda each: -each[1])
    since = now.samples.by("edge_refusals_total", "reason")
    rows = [[reason, _rate(rate), f"{since[reason,]:,.0f}"] for (reason,), rate in refused[:_REFUSALS_SHOWN]]
    if rows:
        tables.append(table("Refusals", ("reason", "now", "since the start"), rows, right=("now", "since the start")))
    tables.append(_vendors_table(rates, now))
    tables += _burning_tables(now.burning)
    return tables


def _vendors_table(rates: _Rates, now: Look) -> Any:
    attempts = rates.by("edge_vendor_attempts_total", "vendor", "outcome")
    ever = now.samples.by("edge_vendor_attempts_total", "vendor")
    first_s = rates.by("gen_ai_server_time_to_first_token_seconds_sum", "gen_ai_provider_name")
    firsts = rates.by("gen_ai_server_time_to_first_token_seconds_count", "gen_ai_provider_name")
    left_out: dict[str, int] = {}
    for labels, state in now.samples.of("edge_route_state"):
        if state == _LEFT_OUT:
            left_out[labels["vendor"]] = left_out.get(labels["vendor"], 0) + 1

    def asked(vendor: str) -> float:
        return sum(rate for (of, _), rate in attempts.items() if of == vendor)

    def failed(vendor: str) -> float:
        return asked(vendor) - attempts.get((vendor, "answered"), 0.0) - attempts.get((vendor, "given_up"), 0.0)

    def row(vendor: str) -> list[Any]:
        mean_s = first_s.get((vendor,), 0.0) / firsts[vendor,] if firsts.get((vendor,)) else None
        first = "-" if mean_s is None else f"{mean_s * 1_000:,.0f} ms"
        share = f"{failed(vendor) / asked(vendor):.0%}" if asked(vendor) else "-"
        return [vendor, _rate(asked(vendor)), share, first, f"{left_out.get(vendor, 0):,}"]

    # Vendors in trouble come first: one that gets no more calls would else be the last.
    vendors = sorted((vendor for (vendor,) in ever), key=lambda each: (each not in left_out, -failed(each), -asked(each), each))
    title = "Vendors" if len(vendors) <= _VENDORS_SHOWN else f"Vendors, {_VENDORS_SHOWN} of {len(vendors):,}"
    columns = ("vendor", "asked", "failed", "first token", "routes left out")
    return table(title, columns, [row(vendor) for vendor in vendors[:_VENDORS_SHOWN]], right=columns[1:])


def _burning_tables(burning: Mapping[str, Any] | None) -> list[Any]:
    if burning is None:
        return []
    tables = []
    for unit in burning["units"]:
        name = unit_name(unit)
        rows = [[each["account_id"], f"{format_amount(each['charged'] // _WINDOW_MINUTES)} {name}"] for each in unit["accounts"]]
        whole = f"{format_amount(unit['charged'] // _WINDOW_MINUTES)} {name}"
        rows.append([f"all, in {unit['records']:,} charges", whole])
        tables.append(table(f"Burning most, in {burning['window']}", ("account", "a minute"), rows, right=("a minute",)))
    if burning["silent"]:
        tables.append(text_of(f"without the part of {', '.join(burning['silent'])}, which did not answer"))
    return tables


def _rate(a_second: float) -> str:
    return f"{a_second:,.1f}/s" if a_second < 100 else f"{a_second:,.0f}/s"
