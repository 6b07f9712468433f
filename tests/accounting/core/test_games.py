"""Games with orders, changes, cancellations and payments: none of them makes what is sold cheaper."""

from fractions import Fraction
from typing import Any, Final

import msgspec
import pytest

from services.accounting.core.account.state import ENDED_MEMORY_US, PAYMENT_REFERENCES_KEPT, WRITE_OFFS_KEPT, Debt
from services.accounting.core.commands import (
    Answer,
    ApplyDue,
    AskOffering,
    BucketAdded,
    ChangeSubscription,
    ConfirmPayment,
    Done,
    Failed,
    OfferingHad,
    Ordered,
    PlaceOrder,
    ReduceBucket,
    RefundPurchase,
    RefundSession,
    Returned,
    SendTransfer,
    TopUpBucket,
    TransferView,
    WriteOffDebt,
)
from services.accounting.core.entries import (
    BucketGranted,
    DebtRepaid,
    OrderCompleted,
    OrderFailed,
    PriceReturned,
    SessionSettled,
    SubscriptionEnded,
)
from services.accounting.core.sales.credit import credit_of, worth
from services.accounting.core.terms import Cycle, Payment, Period
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, HOUR, UNIT, fault_of, flat, replayed, state_of, usage
from tests.accounting.shop import CALENDAR, CNY, DAILY, MONTHLY, Shopper, allowance, for_sale, go_to, lasting

# In thousandths of the operators' millions: 9.9 yuan for 10, 29.9 for 40, 49.9 for 80.
SMALL: Final = for_sale("small", allowance(10), price=9_900_000)
MIDDLE: Final = for_sale("middle", allowance(40), price=29_900_000)
LARGE: Final = for_sale("large", allowance(80), price=49_900_000)
CALENDAR_TEN: Final = for_sale("calendar", allowance(30), price=30 * UNIT, cycle=CALENDAR)


@pytest.fixture
def shopper() -> Shopper:
    shopper = Shopper(SMALL, MIDDLE, LARGE, CALENDAR_TEN)
    go_to(shopper, "2026-11-01 00:00")
    shopper.money(1_000, valid_for_us=400 * DAY)
    return shopper


def message_of(answer: Answer) -> str:
    assert isinstance(answer, Failed), answer
    return answer.message


def changed(shopper: Shopper, order: Ordered, offering_id: str, payment: Payment = Payment.PREPAID, **more: Any) -> Ordered:
    """A change that must be taken."""
    answer = shopper.change(order.subscription_id, offering_id, payment, **more)
    assert isinstance(answer, Ordered), answer
    return answer


def refusal(shopper: Shopper, order: Ordered, offering_id: str, payment: Payment = Payment.PREPAID, **more: Any) -> str:
    """Why a change is refused, which changes nothing."""
    answer = shopper.change(order.subscription_id, offering_id, payment, **more)
    assert (fault_of(answer), shopper.last_entries) == ("NOT_POSSIBLE", [])
    return message_of(answer)


# A change to where it is


def test_a_change_to_the_same_offering_is_refused(shopper: Shopper) -> None:
    order = shopper.order("small", Payment.PREPAID)
    shopper.event(usage(10))
    subscription_id = order.subscription_id
    # It gave ten anew for the price of a day.
    assert refusal(shopper, order, "small") == (
        f"subscription {subscription_id} is on small already; name another offering, or order small beside it"
    )
    assert shopper.free == {CNY: 990, "TOKEN": 0}
    assert refusal(shopper, order, "small", at_once=False) == f"subscription {subscription_id} renews on small already"


def test_a_change_to_the_same_offering_takes_back_what_was_to_come(shopper: Shopper) -> None:
    order = shopper.order("small", Payment.PREPAID)
    assert isinstance(shopper.cancel(order.subscription_id), Done)
    changed(shopper, order, "small", at_once=False)
    changed(shopper, order, "large", at_once=False)
    changed(shopper, order, "small", at_once=False)
    go_to(shopper, "2026-12-01 00:00")
    shopper.ask(ApplyDue(ACCOUNT_ID))
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 2, "small")
    assert shopper.free == {CNY: 980, "TOKEN": 10}


# The worth of what is left


def used(shopper: Shopper, order: Ordered, tokens: int) -> None:
    """Takes `tokens` out of the order's first bucket by a call that has ended."""
    assert tokens <= shopper.state.buckets[order.bucket_ids[0]].remaining // UNIT
    shopper.event(usage(tokens))


def credit(shopper: Shopper, order: Ordered) -> int:
    return credit_of(shopper.state, shopper.state.subscriptions[order.subscription_id], shopper.now_us)


def test_what_is_left_is_worth_the_lesser_part_of_days_and_tokens(shopper: Shopper) -> None:
    order = shopper.order("middle", Payment.PREPAID)
    used(shopper, order, 12)
    go_to(shopper, "2026-11-10 12:00")
    # 20 of 30 days are left, 28 of 40 tokens: 29.9 x min(0.667, 0.7).
    assert credit(shopper, order) == 19_933_333
    upgrade = changed(shopper, order, "large")
    assert (upgrade.state, upgrade.amount) == ("completed", 29_966_667)
    # A fresh cycle is worth all but today, however it was paid.
    assert credit(shopper, order) == 49_900_000 * 29 // 30


def test_what_was_used_is_not_paid_back(shopper: Shopper) -> None:
    order = shopper.order("middle", Payment.PREPAID)
    used(shopper, order, 36)
    # 29 of 30 days are left, but a tenth of the tokens.
    assert credit(shopper, order) == 2_990_000
    assert changed(shopper, order, "small").amount == 9_900_000 - 2_990_000
    # It gave 19 yuan back.
    assert shopper.free == {CNY: 1_000 - 30 - 7, "TOKEN": 10}


@pytest.mark.parametrize("how", ["held", "given away", "taken back", "repaid"])
def test_what_is_not_free_counts_as_used(shopper: Shopper, how: str) -> None:
    shopper = Shopper(for_sale("ten", allowance(10, transferable=True), price=30 * UNIT))
    go_to(shopper, "2026-11-01 00:00")
    shopper.money(30)
    if how == "repaid":
        shopper.event(usage(4))
    order = shopper.order("ten", Payment.PREPAID)
    (bucket_id,) = order.bucket_ids
    if how == "held":
        shopper.create(3, 1)
    elif how == "given away":
        sent = shopper.ask(SendTransfer(ACCOUNT_ID, "acct-9876543210", bucket_id, 4 * UNIT, "gift"))
        assert isinstance(sent, TransferView), sent
    elif how == "taken back":
        assert isinstance(shopper.ask(ReduceBucket(ACCOUNT_ID, bucket_id, 4 * UNIT, "granted by mistake", "key")), Done)
    assert credit(shopper, order) == 18 * UNIT


def test_what_was_topped_up_is_no_part_of_what_was_bought(shopper: Shopper) -> None:
    order = shopper.order("small", Payment.PREPAID)
    used(shopper, order, 8)
    assert credit(shopper, order) == 1_980_000
    shopper.ask(TopUpBucket(ACCOUNT_ID, order.bucket_ids[0], 90 * UNIT, "more"))
    assert credit(shopper, order) == 1_980_000


def test_what_rolled_over_is_no_part_of_the_cycle() -> None:
    shopper = Shopper(for_sale("rolling", allowance(10, rollover_cap=10 * UNIT), price=30 * UNIT))
    go_to(shopper, "2026-11-01 00:00")
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("rolling", Payment.PREPAID)
    go_to(shopper, "2026-12-01 00:00")
    shopper.event(usage(15))
    # Ten of the cycle before and five of this one: of 30 yuan half is left, and 30 of 31 days.
    assert credit(shopper, order) == 15 * UNIT


@pytest.mark.parametrize(
    ("weights", "credited"),
    # 6 of 10 tokens and 8 of 10 points are left.
    [((0, 0), 18_000_000), ((1_000_000, 0), 18_000_000), ((0, 1_000_000), 24_000_000), ((750_000, 250_000), 19_500_000)],
    ids=["no weights", "all in tokens", "all in points", "three to one"],
)
def test_allowances_count_by_their_weights_without_which_the_most_used_one_counts(weights: tuple[int, int], credited: int) -> None:
    tokens, points = weights
    both = for_sale(
        "both",
        allowance(10, allowance_id="tokens", weight=tokens, model_group="a"),
        allowance(10, "POINT", allowance_id="points", weight=points, model_group="b"),
        allowance(100, CNY, allowance_id="line", postpaid=True, priority=900),
        price=30 * UNIT,
        tariffs={"flat": flat(EACH), "other": flat(EACH, "POINT"), "money": flat(EACH, CNY)},
    )
    shopper = Shopper(both, model_groups={"a": frozenset({"flat"}), "b": frozenset({"other"})})
    go_to(shopper, "2026-11-01 00:00")
    shopper.money(30)
    order = shopper.order("both", Payment.PREPAID)
    shopper.event(usage(4))
    shopper.event(usage(2), model="other")
    # A credit line is paid by use.
    shopper.event(usage(70), model="money")
    assert shopper.free == {CNY: 30, "TOKEN": 6, "POINT": 8}
    assert credit(shopper, order) == credited


def test_weights_are_pinned_once_every_member_of_the_cell_reads_them() -> None:
    catalog = Shopper(for_sale("both", allowance(10, weight=1_000_000), price=UNIT)).catalog
    pinned = []
    for each in (
        catalog.for_members(extended=True, runs=True, sales=True),
        catalog.for_members(extended=True, runs=False, sales=True),
        catalog.for_members(extended=True, runs=True, sales=False),
        catalog.for_members(extended=True, runs=False, sales=False),
        catalog.for_members(extended=False, runs=True, sales=True),
    ):
        terms = each.offerings["both"].terms
        assert terms is not None
        pinned.append((terms.allowances[0].weight, each.sales, each.runs, each.extended))
    assert pinned == [
        (1_000_000, True, True, True),
        (1_000_000, True, False, True),
        (0, False, True, True),
        (0, False, False, True),
        (0, False, False, False),
    ]


def test_a_first_share_of_a_month_is_worth_its_own_days_and_tokens(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-16 18:00")
    order = shopper.order("calendar", Payment.PREPAID)
    assert (order.amount, shopper.free["TOKEN"]) == (15 * UNIT, 15)
    go_to(shopper, "2026-11-20 12:00")
    assert credit(shopper, order) == 10 * UNIT
    used(shopper, order, 9)
    assert credit(shopper, order) == 6 * UNIT
    # The next month is a whole one.
    go_to(shopper, "2026-12-01 00:00")
    shopper.event(usage(27))
    assert credit(shopper, order) == 3 * UNIT


def test_a_first_share_of_a_month_leaves_a_credit_line_whole() -> None:
    phone = for_sale(
        "phone", allowance(30), allowance(50, CNY, allowance_id="line", postpaid=True), price=9_900_000, cycle=CALENDAR
    )
    shopper = Shopper(phone)
    go_to(shopper, "2026-11-29 18:00")
    order = shopper.order("phone", Payment.PHONE_BILL)
    # Two days of thirty: 0.66 yuan and two tokens, but up to 50 yuan of credit.
    assert (order.amount, shopper.free["TOKEN"]) == (660_000, 2)
    (line,) = [bucket for bucket in shopper.state.buckets.values() if bucket.postpaid]
    assert (line.granted, line.consumed) == (50 * UNIT, 660_000)


def test_a_cycle_of_a_day_has_no_whole_day_left_to_give_back() -> None:
    shopper = Shopper(for_sale("daily", allowance(10), price=UNIT, cycle=DAILY))
    go_to(shopper, "2026-11-20 00:00")
    shopper.money(10)
    assert credit(shopper, shopper.order("daily", Payment.PREPAID)) == 0


def test_the_worth_is_rounded_down_once() -> None:
    # 2/3 of 0.333333 and 9/10 of 0.666667 make 0.8222223.
    assert worth(1_000_000, 30, 30, [(333_333, Fraction(2, 3)), (666_667, Fraction(9, 10))]) == 822_222
    assert worth(10_000_000, 30, 30, [(333_333, Fraction(2, 3)), (666_667, Fraction(9, 10))]) == 8_222_223
    assert worth(100, 40, 30, []) == 100
    assert worth(100, -1, 30, []) == 0
    assert worth(100, 1, 0, []) == 0


# Changes and orders that wait


def test_one_change_waits_at_a_time(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("small", Payment.EXTERNAL))
    waiting = changed(shopper, order, "large", Payment.EXTERNAL)
    assert waiting.state == "awaiting_payment"
    for at_once in (True, False):
        assert refusal(shopper, order, "middle", at_once=at_once) == (
            f"order {waiting.order_id} of subscription {order.subscription_id} waits for its payment; pay it or cancel it first"
        )
    # One of another subscription waits beside it.
    beside = shopper.confirm(shopper.order("small", Payment.EXTERNAL))
    assert changed(shopper, beside, "large", Payment.EXTERNAL).state == "awaiting_payment"
    shopper.give_up(waiting)
    assert changed(shopper, order, "middle", Payment.EXTERNAL).state == "awaiting_payment"


def test_a_change_that_is_paid_when_it_costs_more_is_refused_and_the_payment_named(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("small", Payment.EXTERNAL))
    go_to(shopper, "2026-11-10 12:00")
    waiting = changed(shopper, order, "large", Payment.EXTERNAL)
    # 20 whole days of 30 are left of 9.9 yuan; a day later 19 are.
    assert waiting.amount == 49_900_000 - 6_600_000
    go_to(shopper, "2026-11-11 11:00")
    late = shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "alipay-7"))
    assert fault_of(late) == "NOT_POSSIBLE"
    why = "it costs 43.63 CNY now, not 43.3 CNY"
    assert message_of(late) == f"order {waiting.order_id} came to nothing: {why}; give payment alipay-7 back and order again"
    remark = f"payment alipay-7 came too late: {why}"
    assert shopper.last_entries == [OrderFailed(ACCOUNT_ID, shopper.now_us, waiting.order_id, remark)]
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "small")
    again = shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "alipay-7"))
    assert message_of(again) == f"order {waiting.order_id} has failed ({remark}); give payment alipay-7 back and order again"


def test_a_change_that_waited_through_a_renewal_gives_nothing_back(shopper: Shopper) -> None:
    order = shopper.order("large", Payment.PREPAID)
    go_to(shopper, "2026-11-30 12:00")
    waiting = changed(shopper, order, "middle", Payment.EXTERNAL)
    assert waiting.amount == 29_900_000
    go_to(shopper, "2026-12-01 10:00")
    # The new cycle is worth 48.29 yuan now, so that 18.39 would come back beside what was paid.
    late = shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "late"))
    assert message_of(late) == (
        f"order {waiting.order_id} came to nothing: it costs 0 CNY now, not 29.9 CNY; give payment late back and order again"
    )
    assert shopper.free[CNY] == 1_000 - 50 - 50
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 2, "large")


def test_a_change_that_is_paid_in_time_happens_at_its_price(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("small", Payment.EXTERNAL))
    go_to(shopper, "2026-11-10 12:00")
    waiting = changed(shopper, order, "large", Payment.EXTERNAL)
    go_to(shopper, "2026-11-10 23:59")
    assert shopper.confirm(waiting, "in time").state == "completed"
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "large")


def test_a_share_of_a_month_is_not_paid_for_the_next_month(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-30 18:00")
    waiting = shopper.order("calendar", Payment.EXTERNAL)
    assert waiting.amount == UNIT
    go_to(shopper, "2026-12-01 10:00")
    late = shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "late"))
    assert message_of(late) == (
        f"order {waiting.order_id} came to nothing: it costs 30 CNY now, not 1 CNY; give payment late back and order again"
    )
    assert shopper.free == {CNY: 1_000}


def test_a_whole_month_that_is_paid_late_is_granted_whole(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("calendar", Payment.EXTERNAL))
    go_to(shopper, "2026-12-03 10:00")
    shopper.ask(ApplyDue(ACCOUNT_ID))
    (asked,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    assert asked.amount == 30 * UNIT
    paid = shopper.ask(ConfirmPayment(ACCOUNT_ID, asked.order_id, "december"))
    assert isinstance(paid, Ordered), paid
    assert shopper.free == {CNY: 1_000, "TOKEN": 30}
    assert shopper.state.subscriptions[order.subscription_id].cycle_price == 30 * UNIT


def test_a_renewal_that_waits_for_its_payment_is_cancelled_before_a_change(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("small", Payment.EXTERNAL))
    shopper.pass_time(30 * DAY + HOUR)
    shopper.ask(ApplyDue(ACCOUNT_ID))
    (asked,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    assert f"order {asked.order_id} of subscription" in refusal(shopper, order, "middle")
    shopper.give_up(asked)  # type: ignore[arg-type]  # it has an order_id, too
    assert changed(shopper, order, "middle").state == "completed"
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "middle")
    late = shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, asked.order_id, "late"))
    assert message_of(late) == (f"order {asked.order_id} has failed (the buyer has gone); give payment late back and order again")


# How it goes back


PHONE_SMALL: Final = for_sale(
    "phone-small",
    allowance(10),
    allowance(50, CNY, allowance_id="line", postpaid=True, priority=900),
    price=9_900_000,
    tariffs={"flat": flat(EACH), "money": flat(EACH, CNY)},
)
PHONE_LARGE: Final = for_sale(
    "phone-large",
    allowance(80),
    allowance(100, CNY, allowance_id="line", postpaid=True, priority=900),
    price=49_900_000,
    tariffs={"flat": flat(EACH), "money": flat(EACH, CNY)},
)
PACK: Final = for_sale("pack", lasting(10, transferable=True), price=30 * UNIT, cycle=None)
FIXED: Final = for_sale("fixed", allowance(10), price=30 * UNIT, refundable=False)


@pytest.fixture
def buyer() -> Shopper:
    buyer = Shopper(SMALL, LARGE, PHONE_SMALL, PHONE_LARGE, PACK, FIXED)
    go_to(buyer, "2026-11-01 00:00")
    return buyer


def price_returned(shopper: Shopper) -> PriceReturned:
    (entry,) = [entry for entry in shopper.last_entries if isinstance(entry, PriceReturned)]
    return entry


def lines_of(shopper: Shopper) -> list[tuple[int, int, int]]:
    """(granted, consumed, expired) of each credit line, in micro-yuan, oldest first."""
    return [(each.granted, each.consumed, each.expired) for each in shopper.state.buckets.values() if each.postpaid]


def refund(shopper: Shopper, purchase_id: str, key: str = "refund") -> Answer:
    return shopper.ask(RefundPurchase(ACCOUNT_ID, purchase_id, "moved away", key))


def returned(answer: Answer) -> Returned:
    assert isinstance(answer, Returned), answer
    return answer


def test_what_a_phone_bill_paid_goes_back_to_it(buyer: Shopper) -> None:
    order = buyer.order("phone-large", Payment.PHONE_BILL)
    buyer.event(usage(5), model="money")
    assert lines_of(buyer) == [(100 * UNIT, 54_900_000, 0)]
    answer = changed(buyer, order, "phone-small", Payment.PHONE_BILL)
    # 29 of 30 days of 49.9 yuan are 48.236666; 9.9 of them pay the new month.
    back = 48_236_666 - 9_900_000
    assert answer.returned == Returned(CNY, back, 0, ())
    assert {bucket.postpaid for bucket in buyer.state.buckets.values() if bucket.unit == CNY} == {True}
    # No prepaid money came of it: what the phone bill will say has fallen, and the five yuan of use stay on it.
    assert lines_of(buyer) == [(100 * UNIT, 54_900_000 - back, 45_100_000 + back), (50 * UNIT - 54_900_000 + back, 0, 0)]
    entry = price_returned(buyer)
    (line, _) = [each for each in buyer.state.buckets.values() if each.postpaid]
    assert (entry.payment, entry.credits, entry.outside) == (Payment.PHONE_BILL, ((line.bucket_id, back),), 0)
    assert (entry.purchase_id, entry.order_id, entry.offering_id) == (order.subscription_id, answer.order_id, "phone-large")
    assert buyer.state.orders[answer.order_id].returned == answer.returned


def test_what_was_paid_outside_must_go_back_outside(buyer: Shopper) -> None:
    order = buyer.confirm(buyer.order("small", Payment.EXTERNAL), "alipay-1")
    upgrade = changed(buyer, order, "large", Payment.EXTERNAL)
    buyer.confirm(upgrade, "alipay-2")
    answer = changed(buyer, order, "small", Payment.EXTERNAL)
    back = 48_236_666 - 9_900_000
    assert answer.returned == Returned(CNY, back, back, ("alipay-1", "alipay-2"))
    assert buyer.free == {"TOKEN": 10}
    assert (price_returned(buyer).credits, price_returned(buyer).payment) == ((), Payment.EXTERNAL)


def test_a_renewal_leaves_the_payments_of_the_cycle_before(buyer: Shopper) -> None:
    order = buyer.confirm(buyer.order("small", Payment.EXTERNAL), "november")
    go_to(buyer, "2026-12-01 10:00")
    buyer.ask(ApplyDue(ACCOUNT_ID))
    (asked,) = [each for each in buyer.state.orders.values() if each.state == "awaiting_payment"]
    buyer.ask(ConfirmPayment(ACCOUNT_ID, asked.order_id, "december"))
    assert buyer.state.subscriptions[order.subscription_id].payment_references == ("december",)
    # A renewal on the phone bill has none from outside.
    phone = buyer.order("phone-small", Payment.PHONE_BILL)
    buyer.state.subscriptions[phone.subscription_id].payment_references = ("older",)
    go_to(buyer, "2027-01-01 10:01")
    buyer.ask(ApplyDue(ACCOUNT_ID))
    assert buyer.state_of_subscription(phone.subscription_id)[1] == 2
    assert buyer.state.subscriptions[phone.subscription_id].payment_references == ()


def test_a_subscription_knows_its_last_payments(buyer: Shopper) -> None:
    order = buyer.confirm(buyer.order("small", Payment.EXTERNAL), "0")
    for number in range(1, PAYMENT_REFERENCES_KEPT + 1):
        buyer.pass_time(DAY)
        buyer.confirm(changed(buyer, order, "large", Payment.EXTERNAL), str(number))
        changed(buyer, order, "small", Payment.EXTERNAL)
    kept = buyer.state.subscriptions[order.subscription_id].payment_references
    assert kept == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")


def test_a_change_is_paid_the_way_in_which_the_rest_would_go_back(shopper: Shopper) -> None:
    order = shopper.order("small", Payment.PREPAID)
    assert refusal(shopper, order, "large", Payment.EXTERNAL) == (
        "the running cycle was paid by prepaid, and what is left of it goes back so: pay the change by prepaid, or change from the "
        "next cycle on"
    )
    # Nothing is left of it: it may be paid anyhow.
    used(shopper, order, 10)
    assert changed(shopper, order, "large", Payment.EXTERNAL).state == "awaiting_payment"


def test_prepaid_money_comes_back_as_money_and_repays_debt_first(buyer: Shopper) -> None:
    buyer.money(50)
    order = buyer.order("large", Payment.PREPAID)
    answer = changed(buyer, order, "small")
    back = 48_236_666 - 9_900_000
    assert answer.returned == Returned(CNY, back, 0, ())
    assert [type(entry) for entry in buyer.last_entries if entry.time_us == buyer.now_us][-3:] == [
        PriceReturned,
        BucketGranted,
        OrderCompleted,
    ]
    assert sum(bucket.remaining for bucket in buyer.state.buckets.values() if bucket.unit == CNY) == 100_000 + back


# Refunds of purchases


def test_a_subscription_is_refunded_for_what_is_left_and_ends(buyer: Shopper) -> None:
    buyer.money(10)
    order = buyer.order("small", Payment.PREPAID)
    used(buyer, order, 4)
    go_to(buyer, "2026-11-10 12:00")
    # 6 of 10 tokens, 20 of 30 days.
    assert returned(refund(buyer, order.subscription_id)) == Returned(CNY, 5_940_000, 0, ())
    assert [entry.reason for entry in buyer.last_entries if isinstance(entry, SubscriptionEnded)] == ["refunded"]
    assert buyer.state_of_subscription(order.subscription_id)[0] == "ended"
    assert sum(bucket.remaining for bucket in buyer.state.buckets.values()) == 5_940_000
    command = RefundPurchase(ACCOUNT_ID, order.subscription_id, "moved away", "refund")
    assert buyer.unchanged_by(command) == Returned(CNY, 5_940_000, 0, ())
    other = buyer.unchanged_by(msgspec.structs.replace(command, reason="another"))
    assert fault_of(other) == "IDEMPOTENCY_CONFLICT"
    again = buyer.unchanged_by(msgspec.structs.replace(command, idempotency_key="again"))
    assert message_of(again) == f"subscription {order.subscription_id} has ended"
    assert state_of(replayed(buyer.rows)) == state_of(buyer.state)


def test_a_pack_is_refunded_for_what_is_left_and_ends(buyer: Shopper) -> None:
    order = buyer.confirm(buyer.order("pack", Payment.EXTERNAL), "alipay-3")
    used(buyer, order, 1)
    go_to(buyer, "2026-11-16 12:00")
    # 14 whole days of 30, nine of ten tokens.
    assert returned(refund(buyer, order.order_id)) == Returned(CNY, 14 * UNIT, 14 * UNIT, ("alipay-3",))
    assert "TOKEN" not in {bucket.unit for bucket in buyer.state.buckets.values() if not bucket.ended}
    again = buyer.unchanged_by(RefundPurchase(ACCOUNT_ID, order.order_id, "moved away", "again"))
    assert message_of(again) == f"order {order.order_id} was refunded already"
    assert state_of(replayed(buyer.rows)) == state_of(buyer.state)


def test_a_phone_bill_falls_by_what_is_refunded(buyer: Shopper) -> None:
    order = buyer.order("phone-small", Payment.PHONE_BILL)
    buyer.event(usage(3), model="money")
    assert returned(refund(buyer, order.subscription_id)) == Returned(CNY, 9_570_000, 0, ())
    # The three yuan of use stay on it.
    assert lines_of(buyer) == [(50 * UNIT, 3_330_000, 46_670_000)]


def test_of_two_lines_that_of_the_purchase_falls_first_and_then_the_latest(buyer: Shopper) -> None:
    small = buyer.order("phone-small", Payment.PHONE_BILL)
    buyer.pass_time(DAY)
    # The first line pays for it as far as it goes.
    buyer.order("phone-large", Payment.PHONE_BILL)
    pack = buyer.order("pack", Payment.PHONE_BILL)
    assert lines_of(buyer) == [(50 * UNIT, 50 * UNIT, 0), (100 * UNIT, 39_800_000, 0)]
    refund(buyer, pack.order_id, "pack")
    assert lines_of(buyer) == [(50 * UNIT, 50 * UNIT, 0), (100 * UNIT, 10_800_000, 0)]
    refund(buyer, small.subscription_id, "small")
    assert lines_of(buyer) == [(50 * UNIT, 50 * UNIT - 9_240_000, 9_240_000), (100 * UNIT, 10_800_000, 0)]


def test_a_line_of_another_unit_gets_no_money_back() -> None:
    points = for_sale("points", allowance(50, "POINT", postpaid=True), tariffs={"points": flat(EACH, "POINT")})
    shopper = Shopper(PHONE_SMALL, PACK, points)
    shopper.order("phone-small", Payment.PHONE_BILL)
    pack = shopper.order("pack", Payment.PHONE_BILL)
    shopper.pass_time(1)
    shopper.order("points", Payment.FREE)
    shopper.event(usage(20), model="points")
    refund(shopper, pack.order_id)
    assert lines_of(shopper) == [(50 * UNIT, 10_900_000, 0), (50 * UNIT, 20 * UNIT, 0)]


def test_a_phone_bill_that_was_confirmed_outside_is_refunded_outside(buyer: Shopper) -> None:
    orders = [buyer.confirm(buyer.order("pack", Payment.PHONE_BILL), reference) for reference in ("bill-7", "bill-8")]
    buyer.order("phone-small", Payment.PHONE_BILL)
    assert returned(refund(buyer, orders[0].order_id)) == Returned(CNY, 29 * UNIT, 29 * UNIT, ("bill-7",))
    assert lines_of(buyer) == [(50 * UNIT, 9_900_000, 0)]
    # Where older code noted no payment, a line is credited with what it has consumed, and no more.
    buyer.state.orders[orders[1].order_id].remark = ""
    assert returned(refund(buyer, orders[1].order_id, "again")) == Returned(CNY, 29 * UNIT, 19_100_000, ())
    assert lines_of(buyer) == [(50 * UNIT, 0, 0)]


def test_a_line_that_is_forgotten_soon_gets_nothing_back(buyer: Shopper) -> None:
    old = buyer.order("phone-small", Payment.PHONE_BILL)
    buyer.cancel(old.subscription_id, at_once=True)
    (line,) = [each for each in buyer.state.buckets.values() if each.postpaid]
    buyer.now_us = line.valid_until_us + ENDED_MEMORY_US
    buyer.state.orders[buyer.confirm(buyer.order("pack", Payment.PHONE_BILL)).order_id].remark = ""
    orders = [each.order_id for each in buyer.state.orders.values() if each.terms.cycle is None]
    buyer.pass_time(1)
    assert returned(refund(buyer, orders[0])) == Returned(CNY, 29 * UNIT, 29 * UNIT, ())


def test_a_purchase_gives_back_twice_at_the_same_moment(shopper: Shopper) -> None:
    order = shopper.order("large", Payment.PREPAID)
    for offering_id in ("middle", "small"):
        changed(shopper, order, offering_id)
    returned_ids = [entry.bucket_id for entry in shopper.entries if isinstance(entry, BucketGranted) and entry.unit == CNY][1:]
    assert len(set(returned_ids)) == 2


def test_what_is_held_or_given_away_is_not_refunded(buyer: Shopper) -> None:
    buyer.money(60)
    first, second = (buyer.order("pack", Payment.PREPAID, key=key) for key in "ab")
    buyer.ask(SendTransfer(ACCOUNT_ID, "acct-9876543210", first.bucket_ids[0], 9 * UNIT, "gift"))
    assert returned(refund(buyer, first.order_id, "one")).amount == 3 * UNIT
    charging_id, _ = buyer.create(6, 2)
    assert returned(refund(buyer, second.order_id, "two")).amount == 6 * UNIT
    # The call keeps what it holds; what it leaves is nobody's any more.
    buyer.release(charging_id, 2, usage(5))
    assert [each.remaining for each in buyer.state.buckets.values() if each.unit == "TOKEN"] == [0, 0]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("fixed", "offering fixed is sold without refund, or was changed to from one that is"),
        ("used up", "nothing of {} is left that could be refunded"),
        ("unpaid", "order {} is awaiting payment; only what was paid is refunded"),
        ("unknown", "no subscription or order of a pack ord-none is on account acct-0123456789"),
        ("order of a subscription", "no subscription or order of a pack {} is on account acct-0123456789"),
    ],
)
def test_what_is_not_refunded(buyer: Shopper, what: str, message: str) -> None:
    buyer.money(60)
    purchase_id = "ord-none"
    if what == "fixed":
        purchase_id = buyer.order("fixed", Payment.PREPAID).subscription_id
    elif what == "used up":
        order = buyer.order("pack", Payment.PREPAID)
        used(buyer, order, 10)
        purchase_id = order.order_id
    elif what == "unpaid":
        purchase_id = buyer.order("pack", Payment.EXTERNAL).order_id
    elif what == "order of a subscription":
        purchase_id = buyer.order("small", Payment.PREPAID).order_id
    answer = buyer.unchanged_by(RefundPurchase(ACCOUNT_ID, purchase_id, "moved away", "refund"))
    assert fault_of(answer) == ("ITEM_UNKNOWN" if message.startswith("no ") else "NOT_POSSIBLE")
    assert message_of(answer) == message.format(purchase_id)


def test_nothing_comes_back_of_what_is_sold_without_refund(buyer: Shopper) -> None:
    buyer.money(60)
    order = buyer.order("fixed", Payment.PREPAID)
    assert refusal(buyer, order, "small") == (
        "19.1 CNY would come back, and offering fixed is sold without refund, or was changed to from one that is: change from the "
        "next cycle on"
    )
    # Towards a dearer one it counts, which then is not refunded either.
    assert changed(buyer, order, "large").amount == 49_900_000 - 29 * UNIT
    message = "offering large is sold without refund, or was changed to from one that is"
    assert message_of(refund(buyer, order.subscription_id)) == message
    assert refusal(buyer, order, "small") == f"38.336666 CNY would come back, and {message}: change from the next cycle on"
    # Nor where the change is paid later.
    later = buyer.order("fixed", Payment.EXTERNAL)
    buyer.confirm(later)
    buyer.confirm(changed(buyer, later, "large", Payment.EXTERNAL), "rest")
    assert message_of(refund(buyer, later.subscription_id)) == message
    assert state_of(replayed(buyer.rows)) == state_of(buyer.state)


def test_a_change_from_what_nothing_is_left_of_is_refunded_as_any_other(buyer: Shopper) -> None:
    buyer.money(80)
    order = buyer.order("fixed", Payment.PREPAID)
    used(buyer, order, 10)
    assert changed(buyer, order, "large").amount == 49_900_000
    assert returned(refund(buyer, order.subscription_id)).amount == 48_236_666


def test_a_phone_bill_outside_is_not_washed_by_a_credit_line_here(buyer: Shopper) -> None:
    order = buyer.confirm(buyer.order("small", Payment.PHONE_BILL), "bill-1")
    buyer.order("phone-large", Payment.PHONE_BILL)
    upgrade = changed(buyer, order, "large", Payment.PHONE_BILL)
    # The line of 100 yuan could pay it; then more would come back to the payment outside than it was.
    assert (upgrade.state, upgrade.amount) == ("awaiting_payment", 49_900_000 - 9_570_000)
    assert lines_of(buyer) == [(100 * UNIT, 49_900_000, 0)]
    buyer.confirm(upgrade, "bill-2")
    back = returned(refund(buyer, order.subscription_id))
    assert back == Returned(CNY, 48_236_666, 48_236_666, ("bill-1", "bill-2"))
    assert lines_of(buyer) == [(100 * UNIT, 49_900_000, 0)]


def test_what_a_credit_line_paid_whole_goes_back_to_it_whoever_paid_before(buyer: Shopper) -> None:
    order = buyer.confirm(buyer.order("small", Payment.PHONE_BILL), "bill-1")
    used(buyer, order, 10)
    buyer.order("phone-large", Payment.PHONE_BILL)
    assert (changed(buyer, order, "large", Payment.PHONE_BILL).state, lines_of(buyer)) == (
        "completed",
        [(100 * UNIT, 99_800_000, 0)],
    )
    assert returned(refund(buyer, order.subscription_id)) == Returned(CNY, 48_236_666, 0, ())
    assert lines_of(buyer) == [(100 * UNIT, 51_563_334, 0)]


def test_a_credit_line_is_not_washed_by_a_phone_bill_outside(buyer: Shopper) -> None:
    line = buyer.order("phone-large", Payment.PHONE_BILL)
    order = buyer.order("small", Payment.PHONE_BILL)
    buyer.cancel(line.subscription_id, at_once=True)
    assert refusal(buyer, order, "large", Payment.PHONE_BILL) == (
        "the running cycle was paid from a credit line, where its rest goes back, and no line can pay the change: change from the "
        "next cycle on"
    )


def test_while_a_member_of_the_cell_reads_no_returned_prices_none_are_written(buyer: Shopper) -> None:
    buyer.money(50)
    orders = [buyer.order("large", Payment.PREPAID), buyer.confirm(buyer.order("large", Payment.EXTERNAL))]
    buyer.catalog = buyer.catalog.for_members(extended=True, runs=True, sales=False)
    answer = buyer.unchanged_by(RefundPurchase(ACCOUNT_ID, orders[0].subscription_id, "moved away", "refund"))
    assert fault_of(answer) == "UNAVAILABLE"
    outside = buyer.change(orders[1].subscription_id, "small", Payment.EXTERNAL)
    assert (fault_of(outside), buyer.last_entries) == ("UNAVAILABLE", [])
    assert changed(buyer, orders[0], "small").returned is None
    assert not any(isinstance(entry, PriceReturned) for entry in buyer.entries)
    assert sum(bucket.remaining for bucket in buyer.state.buckets.values() if bucket.unit == CNY) == 100_000 + 38_336_666
    terms = buyer.catalog.offerings["fixed"].terms
    assert terms is not None
    assert terms.refundable


# What credit lines lend


def lent(shopper: Shopper) -> int:
    """What all lines have lent or can lend still, in whole yuan."""
    lines = [each for each in shopper.state.buckets.values() if each.postpaid]
    return sum(each.consumed + each.reserved + each.remaining for each in lines) // UNIT


@pytest.mark.parametrize("how", ["a change", "a new order"])
def test_a_line_that_ends_early_is_lent_once(how: str) -> None:
    line = allowance(100, CNY, allowance_id="line", postpaid=True, priority=900)
    money = {"flat": flat(EACH, CNY)}
    shopper = Shopper(*(for_sale(name, line, tariffs=money) for name in ("one", "other")))
    go_to(shopper, "2026-11-01 00:00")
    order = shopper.order("one", Payment.FREE)
    shopper.event(usage(60))
    shopper.call(10, 5)
    for number in range(4):
        if how == "a change":
            changed(shopper, order, ("other", "one")[number % 2], Payment.FREE)
        else:
            shopper.cancel(order.subscription_id, at_once=True)
            order = shopper.order("other", Payment.FREE)
        assert lent(shopper) == 100
        shopper.event(usage(5))
    # At the end of its own cycle the first line is billed.
    go_to(shopper, "2026-12-01 00:00")
    shopper.cancel(order.subscription_id, at_once=True)
    shopper.order("one", Payment.FREE)
    assert sum(each.remaining for each in shopper.state.buckets.values() if each.postpaid and not each.ended) == 100 * UNIT
    assert state_of(replayed(shopper.rows)) == state_of(shopper.state)


@pytest.mark.parametrize("cycle", [MONTHLY, None], ids=["subscriptions", "packs"])
def test_lines_of_two_purchases_are_lent_beside_one_another(cycle: Cycle | None) -> None:
    line = lasting(100, CNY, allowance_id="line", postpaid=True)
    shopper = Shopper(for_sale("line", line, cycle=cycle, tariffs={"flat": flat(EACH, CNY)}))
    for _ in range(2):
        shopper.order("line")
        shopper.event(usage(30))
    assert [granted for granted, *_ in lines_of(shopper)] == [100 * UNIT, 100 * UNIT]


@pytest.mark.parametrize("used_yuan", [20, 40])
def test_two_lines_of_a_plan_are_lent_once_together(used_yuan: int) -> None:
    lines = [allowance(30, CNY, allowance_id=name, postpaid=True) for name in ("first", "second")]
    shopper = Shopper(*(for_sale(name, *lines, tariffs={"flat": flat(EACH, CNY)}) for name in ("one", "other")))
    order = shopper.order("one", Payment.FREE)
    shopper.event(usage(used_yuan))
    changed(shopper, order, "other", Payment.FREE)
    assert lent(shopper) == 60


# How long money lives that comes back


def come_back(shopper: Shopper) -> list[tuple[int, int]]:
    """The buckets of money that came back with the last command: the amount, and the days from now until its end."""
    granted = [each for each in shopper.last_entries if isinstance(each, BucketGranted) and each.source.startswith("surplus:")]
    assert state_of(replayed(shopper.rows)) == state_of(shopper.state)
    return [(each.amount, (each.valid_until_us - shopper.now_us) // DAY) for each in granted]


def test_money_comes_back_with_the_end_that_it_had(buyer: Shopper) -> None:
    buyer.money(20, valid_for_us=10 * DAY)
    buyer.money(30, valid_for_us=100 * DAY)
    order = buyer.order("large", Payment.PREPAID)
    buyer.pass_time(5 * DAY)
    # Of 49.9 yuan 24 days of 30 are left; six have used up what ends first.
    assert returned(refund(buyer, order.subscription_id)).amount == 39_920_000
    assert come_back(buyer) == [(10_020_000, 5), (29_900_000, 95)]


@pytest.mark.parametrize(("days", "back"), [(15, 14), (3, 26)])
def test_money_whose_end_has_come_comes_back_for_as_long_as_it_had_left(buyer: Shopper, days: int, back: int) -> None:
    buyer.money(30, valid_for_us=10 * DAY)
    buyer.pass_time(7 * DAY)
    pack = buyer.order("pack", Payment.PREPAID)
    buyer.pass_time(days * DAY)
    refund(buyer, pack.order_id)
    assert come_back(buyer) == [(back * UNIT, 3)]
    assert buyer.free[CNY] == back


def test_a_renewal_comes_back_as_it_was_paid_and_not_as_the_cycle_before(buyer: Shopper) -> None:
    for _ in range(2):
        buyer.grant(9_900_000, unit=CNY, valid_for_us=20 * DAY)
    buyer.money(20, valid_for_us=100 * DAY)
    first, second = (buyer.order("small", Payment.PREPAID) for _ in range(2))
    go_to(buyer, "2026-12-01 00:00")
    for order in (first, second):
        refund(buyer, order.subscription_id, order.order_id)
        assert come_back(buyer) == [(9_900_000 * 30 // 31, 70)]


def test_what_a_change_does_not_give_back_comes_back_later_as_it_was_paid(buyer: Shopper) -> None:
    buyer.money(12, valid_for_us=40 * DAY)
    buyer.grant(37_900_000, unit=CNY, valid_for_us=100 * DAY)
    order = buyer.order("large", Payment.PREPAID)
    changed(buyer, order, "small")
    # 48.236666 were left: 37.9 of the last to pay, 10.336666 of the first. 9.9 of that pay the new cycle.
    assert come_back(buyer) == [(436_666, 40), (37_900_000, 100)]
    refund(buyer, order.subscription_id)
    assert come_back(buyer) == [(9_570_000, 40)]
    # What an upgrade adds comes back first.
    again = buyer.order("small", Payment.PREPAID)
    buyer.money(60, valid_for_us=200 * DAY)
    changed(buyer, again, "large")
    refund(buyer, again.subscription_id, "again")
    assert come_back(buyer) == [(8_013_332, 40), (37_900_000, 100), (2_323_334, 200)]


def test_money_comes_back_in_two_steps_as_it_was_paid(shopper: Shopper) -> None:
    (first,) = shopper.state.buckets.values()
    shopper.ask(ReduceBucket(ACCOUNT_ID, first.bucket_id, first.remaining - 12 * UNIT, "moved away", "reduce"))
    shopper.grant(37_900_000, unit=CNY, valid_for_us=500 * DAY)
    order = shopper.order("large", Payment.PREPAID)
    changed(shopper, order, "middle")
    assert come_back(shopper) == [(18_336_666, 500)]
    refund(shopper, order.subscription_id)
    # 28.903333 are left of 29.9: all of the last to pay that is not back yet, and of the first.
    assert come_back(shopper) == [(9_340_000 - 1, 400), (19_563_334, 500)]


def test_money_of_a_renewal_comes_back_although_a_like_subscription_is_paid_outside(buyer: Shopper) -> None:
    buyer.money(30, valid_for_us=40 * DAY)
    order = buyer.order("small", Payment.PREPAID)
    buyer.pass_time(DAY)
    buyer.confirm(buyer.order("small", Payment.EXTERNAL))
    # The one that renews comes after the other one now.
    buyer.state.subscriptions[order.subscription_id] = buyer.state.subscriptions.pop(order.subscription_id)
    buyer.pass_time(29 * DAY)
    buyer.ask(ApplyDue(ACCOUNT_ID))
    assert buyer.state_of_subscription(order.subscription_id) == ("active", 2, "small")
    refund(buyer, order.subscription_id)
    (granted,) = [each for each in buyer.last_entries if isinstance(each, BucketGranted)]
    assert granted.valid_until_us == buyer.now_us + 10 * DAY


def test_money_of_very_many_buckets_comes_back_in_sixteen(buyer: Shopper) -> None:
    for days in range(1, 31):
        buyer.money(1 if days < 30 else 30, valid_for_us=days * DAY)
    order = buyer.order("large", Payment.PREPAID)
    refund(buyer, order.subscription_id)
    back = come_back(buyer)
    assert (len(back), sum(amount for amount, _ in back)) == (16, 48_236_666)
    # Nothing but the least part of all lives longer than it would have.
    assert back[-1] == (20_900_000, 30)
    for days in range(2, 31):
        assert sum(amount for amount, end in back if end >= days) <= 20_900_000 + (30 - days) * UNIT + 336_666


@pytest.mark.parametrize("how", ["a change", "a refund"])
def test_money_that_comes_back_repays_debt_once(how: str) -> None:
    models = {"flat": flat(EACH), "other": flat(EACH, CNY)}
    plans = [
        for_sale(f"{amount}", allowance(amount, CNY, model_group="flat"), price=amount * UNIT, tariffs=models)
        for amount in (10, 50)
    ]
    shopper = Shopper(*plans, model_groups={"flat": frozenset({"flat"})})
    go_to(shopper, "2026-11-01 00:00")
    for days in (40, 80):
        shopper.money(25, valid_for_us=days * DAY)
    order = shopper.order("50", Payment.PREPAID)
    shopper.event(usage(3), model="other")
    assert shopper.state.debts[CNY].outstanding == 3 * UNIT
    if how == "a change":
        # The allowance of the new plan repays it, so that nothing of it is left for the money.
        assert returned(changed(shopper, order, "10").returned).amount == 38_333_333  # type: ignore[arg-type]  # it has come back
    else:
        refund(shopper, order.subscription_id)
    repaid = [each.amount for each in shopper.last_entries if isinstance(each, DebtRepaid)]
    assert (sum(repaid), shopper.state.debts[CNY].outstanding) == (3 * UNIT, 0)


def test_a_price_that_older_code_took_comes_back_for_a_year(buyer: Shopper) -> None:
    buyer.money(30, valid_for_us=10 * DAY)
    pack = buyer.order("pack", Payment.PREPAID)
    buyer.state.orders[pack.order_id].payers = ()
    refund(buyer, pack.order_id)
    (granted,) = [each for each in buyer.last_entries if isinstance(each, BucketGranted)]
    assert granted.valid_until_us == buyer.now_us + 366 * DAY


# Once an account


DAILY_FREE: Final = for_sale("daily", allowance(5), cycle=DAILY, once=True, once_a=Period.DAY)
TRIAL: Final = for_sale("trial", lasting(3), price=UNIT, cycle=None, once=True)
MONTHLY_ONCE: Final = for_sale("monthly", allowance(9), price=UNIT, once=True)


@pytest.fixture
def taker() -> Shopper:
    taker = Shopper(DAILY_FREE, TRIAL, MONTHLY_ONCE, SMALL)
    go_to(taker, "2026-11-20 12:00")
    taker.money(100, valid_for_us=400 * DAY)
    return taker


def not_sold(shopper: Shopper, offering_id: str, payment: Payment = Payment.FREE) -> str:
    answer = shopper.unchanged_by(shopper.order_command(offering_id, payment))
    assert fault_of(answer) == "NOT_POSSIBLE"
    return message_of(answer)


def test_a_free_day_is_had_once_a_day(taker: Shopper) -> None:
    order = taker.order("daily")
    sold = "offering daily is sold once to an account in a day"
    assert not_sold(taker, "daily") == f"{sold}, and subscription {order.subscription_id} has it"
    taker.event(usage(5))
    taker.cancel(order.subscription_id, at_once=True)
    # Cancelled and ordered again it gave as much again.
    assert not_sold(taker, "daily") == f"{sold}, and this one has had it; order it in the next day"
    go_to(taker, "2026-11-21 00:00")
    again = taker.order("daily")
    # A cycle that began by itself counts like an order.
    go_to(taker, "2026-11-22 09:00")
    taker.event(usage(1))
    taker.cancel(again.subscription_id, at_once=True)
    assert not_sold(taker, "daily") == f"{sold}, and this one has had it; order it in the next day"
    assert state_of(replayed(taker.rows)) == state_of(taker.state)


def test_a_gift_of_the_year_is_had_once_between_two_new_years() -> None:
    taker = Shopper(for_sale("yearly", lasting(3), cycle=None, once=True, once_a=Period.YEAR))
    go_to(taker, "2027-12-31 23:59")
    taker.order("yearly")
    sold = "offering yearly is sold once to an account in a year"
    assert not_sold(taker, "yearly") == f"{sold}, and this one has had it; order it in the next year"
    # A minute later it is another year, of the cell's time zone; that one has 366 days.
    go_to(taker, "2028-01-01 00:00")
    taker.order("yearly")
    go_to(taker, "2028-12-31 23:59")
    taker.ask(ApplyDue(ACCOUNT_ID))
    assert not_sold(taker, "yearly") == f"{sold}, and this one has had it; order it in the next year"
    go_to(taker, "2029-01-01 00:00")
    taker.order("yearly")


def test_a_trial_is_had_once_for_good_unless_nothing_was_granted(taker: Shopper) -> None:
    waiting = taker.order("trial", Payment.EXTERNAL)
    sold = "offering trial is sold once to an account"
    assert not_sold(taker, "trial", Payment.PREPAID) == (
        f"{sold}, and order {waiting.order_id} waits for its payment; pay it or cancel it first"
    )
    taker.give_up(waiting)
    taker.order("trial", Payment.PREPAID)
    taker.pass_time(300 * DAY)
    taker.ask(ApplyDue(ACCOUNT_ID))
    assert not_sold(taker, "trial", Payment.PREPAID) == f"{sold}, and this one has had it"


def test_what_is_sold_once_is_not_had_again_by_a_change(taker: Shopper) -> None:
    small, beside = taker.order("small", Payment.PREPAID), taker.order("small", Payment.PREPAID)
    changed(taker, small, "monthly", at_once=False)
    has = f"offering monthly is sold once to an account, and subscription {small.subscription_id} has it"
    assert refusal(taker, beside, "monthly") == has
    assert not_sold(taker, "monthly", Payment.PREPAID) == has
    # It may come earlier, and its own cancellation may be taken back.
    changed(taker, small, "monthly")
    taker.cancel(small.subscription_id)
    changed(taker, small, "monthly", at_once=False)
    changed(taker, small, "small")
    assert refusal(taker, small, "monthly") == "offering monthly is sold once to an account, and this one has had it"
    renewed = taker.catalog.for_members(extended=True, runs=True, sales=False).offerings["monthly"].terms
    assert renewed is not None
    assert not renewed.once


# Once an identity


def test_what_is_sold_once_to_an_identity_is_bought_while_the_account_is_entitled_and_asked_for_by_others() -> None:
    taker = Shopper(TRIAL._replace(per_identity=True), MONTHLY_ONCE._replace(per_identity=True), SMALL)
    taker.money(100, valid_for_us=400 * DAY)
    assert not_sold(taker, "trial", Payment.PREPAID) == (
        "offering trial is sold once to an identity; order it with the subscriber's identity"
    )
    order = PlaceOrder(ACCOUNT_ID, "trial", Payment.PREPAID, "order", taker.now_us + 1)
    late = msgspec.structs.replace(order, entitled_until_us=taker.now_us)
    assert fault_of(taker.unchanged_by(late)) == "UNAVAILABLE"
    assert taker.unchanged_by(AskOffering(ACCOUNT_ID, "trial")) == OfferingHad("")
    bought = taker.ask(order)
    # A repeat is entitled anew, or too late, and is the same order.
    assert taker.unchanged_by(msgspec.structs.replace(order, entitled_until_us=taker.now_us + DAY)) == bought
    assert taker.unchanged_by(late) == bought
    assert taker.unchanged_by(AskOffering(ACCOUNT_ID, "trial")) == OfferingHad(
        "offering trial is sold once to an account, and this one has had it"
    )
    assert fault_of(taker.unchanged_by(AskOffering(ACCOUNT_ID, "default"))) == "OFFERING_UNKNOWN"
    small = taker.order("small", Payment.PREPAID)
    assert "with the subscriber's identity" in refusal(taker, small, "monthly")
    change = ChangeSubscription(ACCOUNT_ID, small.subscription_id, "monthly", Payment.PREPAID, True, "change", taker.now_us + 1)
    assert isinstance(taker.ask(change), Ordered)


# Calls whose debt was written off


def refund_of(shopper: Shopper, charging_id: str, amount: int, key: str) -> Answer:
    return shopper.ask(refund_command(shopper, charging_id, amount, key))


def refund_command(shopper: Shopper, charging_id: str, amount: int, key: str) -> RefundSession:
    """Asks for `amount` of what a call was charged."""
    settled = next(each for each in shopper.entries if isinstance(each, SessionSettled) and each.charging_id == charging_id)
    return RefundSession(
        account_id=ACCOUNT_ID,
        charging_id=charging_id,
        sequence_number=1,
        record_number=settled.record_number,
        unit=settled.tariff.unit,
        charged=settled.charged,
        amount=amount * UNIT,
        valid_for_us=DAY,
        reason="the answer was cut off",
        idempotency_key=key,
        debt=settled.debt,
        settled_us=settled.time_us,
    )


def written_off(shopper: Shopper, amount: int) -> None:
    assert isinstance(shopper.ask(WriteOffDebt(ACCOUNT_ID, "TOKEN", amount * UNIT, "goodwill", f"key-{len(shopper.rows)}")), Done)


def charged(shopper: Shopper, tokens: int) -> str:
    """A call that has ended, by its charging_id."""
    charging_id = shopper.charging_id()
    shopper.event(usage(tokens), charging_id=charging_id)
    return charging_id


def test_what_was_written_off_is_not_refunded(shopper: Shopper) -> None:
    shopper.grant(200 * UNIT)
    charging_id = charged(shopper, 4_212)
    assert shopper.state.debts["TOKEN"].outstanding == 4_012 * UNIT
    written_off(shopper, 4_012)
    refused = refund_of(shopper, charging_id, 4_012, "all")
    assert message_of(refused) == (
        f"amount is 4,012 TOKEN; of what record 1 of {charging_id} charged, 200 TOKEN can still be refunded; "
        "4,012 TOKEN were written off, not paid"
    )
    assert isinstance(refund_of(shopper, charging_id, 200, "what was paid"), BucketAdded)
    assert fault_of(refund_of(shopper, charging_id, 1, "more")) == "NOT_POSSIBLE"


def test_what_was_written_off_in_part_is_refunded_in_part(shopper: Shopper) -> None:
    charging_id = charged(shopper, 100)
    written_off(shopper, 30)
    shopper.grant(70 * UNIT)
    assert fault_of(refund_of(shopper, charging_id, 71, "more")) == "NOT_POSSIBLE"
    assert isinstance(refund_of(shopper, charging_id, 70, "what was paid"), BucketAdded)


def test_what_was_written_off_before_a_call_is_none_of_its_debt(shopper: Shopper) -> None:
    charged(shopper, 50)
    written_off(shopper, 50)
    shopper.pass_time(HOUR)
    charging_id = charged(shopper, 40)
    shopper.grant(40 * UNIT)
    assert isinstance(refund_of(shopper, charging_id, 40, "all"), BucketAdded)


def test_a_refund_that_repays_its_own_debt_leaves_nothing_to_write_off(shopper: Shopper) -> None:
    shopper.grant(200 * UNIT)
    charging_id = charged(shopper, 300)
    answer = refund_of(shopper, charging_id, 300, "all")
    assert isinstance(answer, BucketAdded)
    assert (answer.repaid, shopper.free["TOKEN"], shopper.state.debts["TOKEN"].outstanding) == (100 * UNIT, 200, 0)


def test_a_part_of_a_debt_counts_once_as_written_off(shopper: Shopper) -> None:
    shopper.grant(90 * UNIT)
    charging_id = charged(shopper, 100)
    charged(shopper, 50)
    written_off(shopper, 60)
    assert fault_of(refund_of(shopper, charging_id, 91, "more")) == "NOT_POSSIBLE"
    assert isinstance(refund_of(shopper, charging_id, 90, "what was paid"), BucketAdded)


def test_a_repeat_of_a_refund_is_known_whatever_was_written_off_since(shopper: Shopper) -> None:
    charging_id = charged(shopper, 100)
    shopper.grant(50 * UNIT)
    command = refund_command(shopper, charging_id, 20, "some")
    # A release before this one did not say what of the record was debt.
    answer = shopper.ask(msgspec.structs.replace(command, debt=0, settled_us=0))
    written_off(shopper, 30)
    assert shopper.unchanged_by(command) == answer


def test_an_account_knows_a_hundred_write_offs_one_by_one(shopper: Shopper) -> None:
    charged(shopper, 1_000)
    for _ in range(WRITE_OFFS_KEPT + 2):
        shopper.pass_time(HOUR)
        written_off(shopper, 1)
    debt = shopper.state.debts["TOKEN"]
    assert (len(debt.write_offs), debt.write_offs[0]) == (100, (shopper.now_us - 99 * HOUR, 3 * UNIT))
    assert [debt.written_off_since(shopper.now_us - hours * HOUR) // UNIT for hours in (0, 5, 99, 100, 200)] == [
        1,
        6,
        102,
        102,
        102,
    ]
    # Older code kept none of them: any may be of the call.
    assert Debt(incurred=9, written_off=5).written_off_since(shopper.now_us) == 5
