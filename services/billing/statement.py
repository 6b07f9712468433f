"""A statement's sums: what was charged in one unit, and from what it was paid. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from services.billing.items import BilledItem, PaidBy
from services.billing.store import CREDIT_LINE, UsageLine


class Total(NamedTuple):
    """Sums in one unit, in micro-units: charged = usage + charges = balance + credit_line + phone_bill + outside + owed."""

    unit: str
    currency: str
    # Settled calls.
    calls: int
    usage: int
    # Amounts that are of no call.
    charges: int
    charged: int
    balance: int
    credit_line: int
    phone_bill: int
    outside: int
    # Negative where more was repaid or written off.
    owed: int
    # Rated and paid by nobody; not in `charged`.
    absorbed: int


def totals(usage: Sequence[UsageLine], charges: Sequence[BilledItem]) -> list[Total]:
    """One a unit, in the order of units. Errors: `AssertionError` where an amount has a source that no sum has."""
    units = sorted({(line.unit, line.currency) for line in usage} | {(item.unit, item.currency) for item in charges})
    return [
        _total(
            unit,
            [line for line in usage if (line.unit, line.currency) == unit],
            [item for item in charges if (item.unit, item.currency) == unit],
        )
        for unit in units
    ]


def _total(unit: tuple[str, str], usage: Sequence[UsageLine], charges: Sequence[BilledItem]) -> Total:
    sources: dict[str, int] = {}
    for paid_by, amount in [(line.paid_by, line.amount) for line in usage] + [(item.paid_by, item.amount) for item in charges]:
        sources[paid_by] = sources.get(paid_by, 0) + amount
    absorbed = sources.pop(PaidBy.OPERATOR, 0)
    used = sum(line.amount for line in usage) - absorbed
    charged = used + sum(item.amount for item in charges)
    total = Total(
        *unit,
        calls=sum(line.calls for line in usage),
        usage=used,
        charges=charged - used,
        charged=charged,
        balance=sources.pop(PaidBy.BUCKET, 0),
        credit_line=sources.pop(CREDIT_LINE, 0),
        phone_bill=sources.pop(PaidBy.PHONE_BILL, 0),
        outside=sources.pop(PaidBy.OUTSIDE, 0),
        owed=sources.pop(PaidBy.DEBT, 0),
        absorbed=absorbed,
    )
    paid = total.balance + total.credit_line + total.phone_bill + total.outside + total.owed
    assert paid == charged, f"{charged} were charged and {paid} were paid or are owed"
    return total
