"""Who pays a price, and what repays a debt: each bucket pays once, in its own unit, while it is valid."""

import pytest

from services.accounting.core.commands import ChangeSubscription, Done, GrantBucket, Ordered
from services.accounting.core.entries import BucketGranted, PriceCharged
from services.accounting.core.terms import Payment
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, HOUR, UNIT, fault_of, flat, offering, usage
from tests.accounting.shop import CALENDAR, CNY, Shopper, allowance, for_sale, go_to, lasting

USD = "CURRENCY:USD"
PACK = for_sale("pack", lasting(10), price=30 * UNIT, cycle=None)
# A credit line for nothing.
LINE = for_sale("line", lasting(5, CNY, postpaid=True), cycle=None)


def change_of(order: Ordered, offering_id: str, payment: Payment) -> ChangeSubscription:
    """At once."""
    return ChangeSubscription(ACCOUNT_ID, order.subscription_id, offering_id, payment, at_once=True, idempotency_key="change")


def debits(ledger: Shopper) -> list[tuple[str, int]]:
    """What the last price was paid from."""
    return list([entry for entry in ledger.entries if isinstance(entry, PriceCharged)][-1].debits)


# Money that pays no price


@pytest.mark.parametrize(("postpaid", "payment"), [(True, Payment.PHONE_BILL), (False, Payment.PREPAID)])
def test_money_that_ends_with_its_cycle_pays_no_change_of_it(postpaid: bool, payment: Payment) -> None:
    small = for_sale("small", allowance(50, CNY, postpaid=postpaid), price=3 * UNIT)
    large = for_sale("large", allowance(20, CNY, postpaid=postpaid), price=30 * UNIT)
    ledger = Shopper(small, large)
    ledger.money(3)
    order = ledger.order("small", payment)
    # 29 of 30 days are left: 2.9 of the 3 yuan count. Of a line of 20 that is just being granted 17 pay the rest, because the bill
    # has 3 already; prepaid money pays nothing.
    refused = ledger.unchanged_by(change_of(order, "large", payment))
    assert fault_of(refused) == "PAYMENT_REQUIRED"
    missing = "10.1" if postpaid else "27.1"
    assert f"the price is 27.1 CNY, and {missing} CNY are missing" in repr(refused)


def test_what_of_a_credit_line_repays_a_debt_pays_no_price() -> None:
    lines = [for_sale(f"of {price}", lasting(30, CNY, postpaid=True), price=price * UNIT, cycle=None) for price in (25, 26)]
    ledger = Shopper(*lines, base=offering({"flat": flat(EACH, CNY)}))
    ledger.event(usage(5))
    assert fault_of(ledger.unchanged_by(ledger.order_command("of 26", Payment.PHONE_BILL))) == "PAYMENT_REQUIRED"
    (bucket_id,) = ledger.order("of 25", Payment.PHONE_BILL).bucket_ids
    assert debits(ledger) == [(bucket_id, 25 * UNIT)]
    assert (ledger.state.buckets[bucket_id].remaining, ledger.state.debts[CNY].outstanding) == (0, 0)


@pytest.mark.parametrize(
    "granted",
    [lasting(40, CNY), lasting(40, CNY, postpaid=True, model_group="cheap"), lasting(40, USD, postpaid=True)],
    ids=["prepaid", "of a group", "of another currency"],
)
def test_a_phone_bill_is_paid_by_no_other_money_that_comes_with_the_offering(granted: object) -> None:
    bundle = for_sale("bundle", granted, price=30 * UNIT, cycle=None)  # type: ignore[arg-type]  # an allowance
    ledger = Shopper(LINE, bundle)
    ledger.order("line")
    refused = ledger.unchanged_by(ledger.order_command("bundle", Payment.PHONE_BILL))
    assert fault_of(refused) == "PAYMENT_REQUIRED"
    assert "the price is 30 CNY, and 25 CNY are missing" in repr(refused)


def test_money_for_a_group_of_models_pays_no_price() -> None:
    ledger = Shopper(PACK, model_groups={"cheap": frozenset({"flat"})})
    ledger.ask(GrantBucket(ACCOUNT_ID, CNY, 100 * UNIT, None, DAY, 0, "cheap", model_group="cheap"))
    assert fault_of(ledger.unchanged_by(ledger.order_command("pack", Payment.PREPAID))) == "PAYMENT_REQUIRED"


def test_money_pays_a_price_from_its_begin_on() -> None:
    ledger = Shopper(PACK)
    later = ledger.money(100, valid_from_us=ledger.now_us + HOUR)
    assert fault_of(ledger.unchanged_by(ledger.order_command("pack", Payment.PREPAID))) == "PAYMENT_REQUIRED"
    ledger.pass_time(HOUR)
    ledger.order("pack", Payment.PREPAID)
    assert debits(ledger) == [(later.bucket_id, 30 * UNIT)]


@pytest.mark.parametrize(
    "granted", [lasting(10), lasting(40, CNY), lasting(40, USD, postpaid=True)], ids=["tokens", "prepaid", "another currency"]
)
def test_a_phone_bill_is_asked_for_outside_where_there_is_no_credit_line(granted: object) -> None:
    ledger = Shopper(for_sale("bundle", granted, price=30 * UNIT, cycle=None))  # type: ignore[arg-type]  # an allowance
    ledger.money(100)
    order = ledger.order("bundle", Payment.PHONE_BILL)
    assert (order.state, order.bucket_ids, ledger.free) == ("awaiting_payment", (), {CNY: 100})


# What a cycle costs and grants


def test_a_share_of_a_cycle_costs_no_more_and_grants_no_less_than_its_days() -> None:
    ledger = Shopper(for_sale("calendar", allowance(10), price=10 * UNIT, cycle=CALENDAR))
    go_to(ledger, "2026-12-17 18:00")
    ledger.money(100)
    # 15 of 31 days of ten: 4,838,709.68 micro-units.
    order = ledger.order("calendar", Payment.PREPAID)
    assert order.amount == 4_838_709
    assert ledger.state.buckets[order.bucket_ids[0]].granted == 4_838_710


def test_what_ended_with_an_earlier_cycle_does_not_end_again() -> None:
    ledger = Shopper(for_sale("ten", allowance(10), price=10 * UNIT))
    ledger.money(100, valid_for_us=400 * DAY)
    order = ledger.order("ten", Payment.PREPAID)
    ledger.event(usage(3))
    ledger.pass_time(31 * DAY)
    assert isinstance(ledger.cancel(order.subscription_id, at_once=True), Done)
    tokens = [bucket for bucket in ledger.state.buckets.values() if bucket.unit == "TOKEN"]
    assert [(bucket.consumed // UNIT, bucket.expired // UNIT) for bucket in tokens] == [(3, 7), (0, 10)]


# One debt, several buckets


def repaid_by(ledger: Shopper, *bucket_ids: str) -> list[int]:
    """What each of the buckets has repaid, in whole units."""
    return [ledger.state.buckets[bucket_id].repaid // UNIT for bucket_id in bucket_ids]


def test_a_debt_is_repaid_once_by_an_order_of_three_buckets() -> None:
    ledger = Shopper(for_sale("pack", lasting(10), lasting(10, allowance_id="more"), lasting(20, allowance_id="most"), cycle=None))
    ledger.event(usage(25))
    assert repaid_by(ledger, *ledger.order("pack").bucket_ids) == [10, 10, 5]
    assert ledger.state.debts["TOKEN"].outstanding == 0


def test_debts_in_two_units_are_repaid_each_by_its_own() -> None:
    pack = for_sale("pack", lasting(10), lasting(10, CNY, allowance_id="money"), cycle=None)
    ledger = Shopper(pack, base=offering({"flat": flat(EACH), "money": flat(EACH, CNY)}))
    ledger.event(usage(4))
    ledger.event(usage(3), model="money")
    assert repaid_by(ledger, *ledger.order("pack").bucket_ids) == [4, 3]
    assert {unit: debt.outstanding for unit, debt in ledger.state.debts.items()} == {"TOKEN": 0, CNY: 0}


def test_money_that_comes_back_from_a_change_does_not_repay_what_its_allowance_has_repaid() -> None:
    rich = for_sale("rich", allowance(1, model_group="cheap"), price=30 * UNIT)
    base = offering({"flat": flat(EACH, CNY)})
    ledger = Shopper(rich, for_sale("lean", allowance(2, CNY)), base=base, model_groups={"cheap": frozenset({"other"})})
    ledger.money(30)
    order = ledger.order("rich", Payment.PREPAID)
    ledger.event(usage(4))
    assert ledger.state.debts[CNY].outstanding == 4 * UNIT
    assert isinstance(ledger.ask(change_of(order, "lean", Payment.FREE)), Ordered)
    granted = [entry for entry in ledger.last_entries if isinstance(entry, BucketGranted)]
    # 29 of 30 days are left, and the new offering costs nothing.
    assert [(entry.source.partition(":")[0], entry.amount // UNIT, entry.repaid // UNIT) for entry in granted] == [
        ("restart", 2, 2),
        ("surplus", 29, 2),
    ]
    assert ledger.state.debts[CNY].outstanding == 0
    assert ledger.free[CNY] == 27
