"""A statement's sums, by values: each unit for itself, and what was charged is what paid for it."""

import pytest

from services.billing.items import BilledItem
from services.billing.statement import Total, totals
from services.billing.store import UsageLine


def usage(paid_by: str, amount: int, calls: int = 0, unit: str = "CURRENCY", currency: str = "CNY") -> UsageLine:
    return UsageLine(unit, currency, paid_by, "small", "", "", "", calls, amount)


def charge(kind: str, paid_by: str, amount: int, unit: str = "CURRENCY", currency: str = "CNY") -> BilledItem:
    return BilledItem(1, 1, 0, 1, 1, kind, "acct-1", 5, unit, currency, amount, paid_by)


def test_every_source_has_its_sum() -> None:
    lines = [usage("bucket", 10, 2), usage("credit_line", 7), usage("debt", 4), usage("operator", 100), usage("nothing", 0, 3)]
    charges = [
        charge("price", "credit_line", 30),
        charge("renewal", "phone_bill", 5),
        charge("change", "outside", 6),
        charge("refund", "bucket", -3),
        charge("debt_repaid", "bucket", 2),
        charge("debt_repaid", "debt", -2),
        charge("write_off", "debt", -1),
    ]
    assert totals(lines, charges) == [
        Total(
            *("CURRENCY", "CNY"), calls=5, usage=21, charges=37, charged=58,
            balance=9, credit_line=37, phone_bill=5, outside=6, owed=1, absorbed=100,
        )
    ]  # fmt: skip


def test_two_units_are_never_added() -> None:
    lines = [usage("bucket", 10, 1, "TOKEN", ""), usage("bucket", 7, 1), usage("bucket", 5, 1, "CURRENCY", "USD")]
    found = totals(lines, [charge("refund", "bucket", -2, "POINT", "")])
    assert [(total.unit, total.currency, total.calls, total.charged, total.balance) for total in found] == [
        ("CURRENCY", "CNY", 1, 7, 7),
        ("CURRENCY", "USD", 1, 5, 5),
        ("POINT", "", 0, -2, -2),
        ("TOKEN", "", 1, 10, 10),
    ]


def test_nothing_was_charged() -> None:
    assert totals([], []) == []


def test_a_source_that_no_sum_has_is_not_lost() -> None:
    with pytest.raises(AssertionError, match="10 were charged and 0 were paid or are owed"):
        totals([usage("gift card", 10)], [])
