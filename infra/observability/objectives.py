"""Objectives of service: the part of bad events, recorded over several windows, and alerts on how fast the budget burns.

An alert is raised where a long window shows that it matters and a short one that it goes on (the Site Reliability Workbook, chapter
5). Only events that say something count: probes, people's requests and calls that were refused for a good reason dilute nothing.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final, NamedTuple

from services.edge.app import CALLS
from services.edge.call.dialect import Charged

# Stands for the labels of one cell; `matched` puts them in.
CELL: Final = "$cell"
CHARGED_ROUTES: Final = "|".join(sorted(path for path, dialect in CALLS if dialect.charged is not Charged.NOTHING))
_WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
# Below this many bad events in the long window nobody is called.
_EVENTS_MIN: Final = 10


class Burn(NamedTuple):
    """A speed at which the budget of 30 days burns: `factor` times the one that spends it in just those days."""

    long: str
    short: str
    factor: Decimal


# 2 % of the budget in an hour, or 5 % in six: somebody is called.
FAST: Final = (Burn("1h", "5m", Decimal("14.4")), Burn("6h", "30m", Decimal(6)))
# 10 % in a day, or in three: somebody looks the next morning.
SLOW: Final = (Burn("1d", "2h", Decimal(3)), Burn("3d", "6h", Decimal(1)))


class Events(NamedTuple):
    """Events that counters count: those of a selector, less those of another one."""

    selector: str
    less: str = ""

    def total(self, function: str, window: str) -> str:
        """Their number or rate in a window."""
        counted = [f"sum by (namespace) ({function}({each}[{window}]))" for each in (self.selector, self.less) if each]
        return " - ".join(counted)


class Objective(NamedTuple):
    """An objective over 30 days."""

    slo: str
    # Share of events that are good.
    target: Decimal
    bad: Events
    all: Events
    meaning: str

    @property
    def budget(self) -> Decimal:
        """Share of events that may be bad."""
        return 1 - self.target

    def ratio(self, window: str) -> str:
        """The part of bad events in a window: 0 where there was none, nothing where there were no events at all."""
        bad, every = self.bad.total("rate", window), self.all.total("rate", window)
        return f"({bad} or 0 * {every}) / ({every} > 0)"

    def burns(self, speeds: Iterable[Burn]) -> str:
        """Whether the budget burns at one of these speeds."""
        return "\nor\n".join(self._burns(*each) for each in speeds)

    def _burns(self, long: str, short: str, factor: Decimal) -> str:
        limit = f"{(factor * self.budget).normalize():f}"
        parts = [f'{recorded(window)}{{{CELL},slo="{self.slo}"}} > {limit}' for window in (long, short)]
        return f"({parts[0]} and {parts[1]} and on (namespace) ({self.bad.total('increase', long)}) >= {_EVENTS_MIN})"


def recorded(window: str) -> str:
    """The name of the recorded part of bad events."""
    return f"tokenline:slo_bad:ratio_rate{window}"


def _requests(status: str) -> Events:
    return Events(f'edge_requests_total{{{CELL},route=~"{CHARGED_ROUTES}",status=~"{status}"}}')


def _openings(rest: str, more: str = "") -> str:
    return f'edge_call_added_duration_seconds_{rest}{{{CELL},part="opening"{more}}}'


ANSWERED: Final = Objective(
    "answered",
    Decimal("0.999"),
    _requests("5.."),
    _requests("2..|5.."),
    "calls that quota and limits let pass are answered, not 5xx",
)
CARRIED: Final = Objective(
    "carried",
    Decimal("0.995"),
    Events(f'edge_calls_total{{{CELL},ended=~"broken|failed|not_extended"}}'),
    Events(f"edge_calls_total{{{CELL}}}"),
    "calls that began are carried to their end",
)
PROMPT: Final = Objective(
    "prompt",
    Decimal("0.99"),
    Events(_openings("count"), _openings("bucket", ',le="0.25"')),
    Events(_openings("count")),
    "a vendor is asked at most 250 ms after the call was read",
)
OBJECTIVES: Final = (ANSWERED, CARRIED, PROMPT)


def records(objectives: Iterable[Objective]) -> Iterator[dict[str, object]]:
    """Recording rules of all windows."""
    for each in objectives:
        for window in _WINDOWS:
            yield {"record": recorded(window), "expr": each.ratio(window), "labels": {"slo": each.slo}}
