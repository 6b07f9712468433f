"""Figures of accounting that Prometheus reads, by name; `writer/metrics.py` counts them."""

from collections.abc import Callable, Sequence
from typing import Final

from services.accounting.writer.metrics import Commits
from services.accounting.writer.owner import Owner
from services.accounting.writer.weights import CREDIT, DEBT, DEBTORS, HELD, SESSIONS
from services.runtime.instruments import Gauge, Total, Values, export

_AMOUNTS: Final = (HELD, DEBT, CREDIT)


def export_figures(owners: Sequence[Owner], commits: Commits) -> None:
    """Shows the figures of a process's owners, one of each database server, from now on."""
    counts = [owner.metrics for owner in owners]

    def summed(field: str) -> Callable[[], float]:
        return lambda: sum(getattr(each, field) for each in counts)

    for name, description in (
        ("commands", "Commands decided"),
        ("refusals", "Commands refused: quota, model not sold, no rate"),
        ("shed", "Creates and Updates refused, because too many answers waited for their commit"),
        ("commits", "Transactions committed"),
        ("entries", "Journal entries written"),
        ("recoveries", "Times that the partitions were recovered after a failed commit"),
        ("losses", "Settled records of which a part was above what the account may owe"),
        ("paid_worth", "Worth of vendors' work that was used, in micro-yuan"),
        ("unpaid_worth", "Worth of vendors' work that nobody paid for, in micro-yuan"),
    ):
        export(Total(f"charging.{name}", description, summed(name)))
    export(
        Total(
            "charging.absorbed",
            "Rated and paid by nobody, in micro-units",
            lambda: _summed([each.absorbed for each in counts]),
            ("unit",),
        ),
        Total(
            "charging.handovers",
            "Partitions that came to this replica, or went, by how",
            lambda: _summed([each.handovers for each in counts]),
            ("how",),
        ),
        Gauge("charging.partitions", "Partitions of this replica by state", lambda: _by_state(owners), ("state",)),
        Gauge(
            "charging.commit.pending_seconds",
            "Age of the transaction under way, by the number of its database server; 0: there is none",
            lambda: {(str(number),): owner.pending_s for number, owner in enumerate(owners)},
            ("server",),
        ),
        Gauge(
            "charging.at_risk",
            "Micro-units that open sessions hold, that is owed as debt, and that was used on credit, by unit",
            lambda: {(kind, unit): amount for (kind, unit), amount in _risk(owners).items() if kind in _AMOUNTS},
            ("kind", "unit"),
        ),
        Gauge("charging.at_risk.complete", "1 once accounts that are only on disk are in the sums", lambda: _is_complete(owners)),
        Gauge("charging.sessions.open", "Open sessions", lambda: _risk(owners).get((SESSIONS, ""), 0)),
        Gauge("charging.accounts.in_debt", "Accounts that owe", lambda: _risk(owners).get((DEBTORS, ""), 0)),
        commits.durations,
        commits.sizes,
    )


def _risk(owners: Sequence[Owner]) -> dict[tuple[str, str], int]:
    """The sums of all owners. Money and tokens are there from the start, or nobody would see their first increase."""
    sums = dict.fromkeys(((kind, unit) for kind in _AMOUNTS for unit in ("TOKEN", "CURRENCY:CNY")), 0)
    for owner in owners:
        for key, amount in owner.weighing.sums.items():
            sums[key] = sums.get(key, 0) + amount
    return sums


def _is_complete(owners: Sequence[Owner]) -> int:
    return int(all(owner.weighing.complete for owner in owners))


def _by_state(owners: Sequence[Owner]) -> dict[Values, float]:
    served = sum(len(owner.part_ids) for owner in owners)
    return {("served",): served, ("recovering",): sum(len(owner.claimed) for owner in owners) - served}


def _summed(by_word: Sequence[dict[str, int]]) -> dict[Values, float]:
    """The sums by word; copied in one step each, because another thread adds to them."""
    sums: dict[Values, float] = {}
    for each in by_word:
        for word, count in each.copy().items():
            sums[(word,)] = sums.get((word,), 0) + count
    return sums
