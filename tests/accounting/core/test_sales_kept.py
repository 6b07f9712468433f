"""What an account keeps of its orders and subscriptions from one entry to the next."""

import pytest

from services.accounting.core.account.state import ENDED_MEMORY_US
from services.accounting.core.commands import (
    Answer,
    ApplyDue,
    Granted,
    Ordered,
    RefundPurchase,
    Refused,
    ResultCode,
    Returned,
    TopUpBucket,
)
from services.accounting.core.due import due_entries
from services.accounting.core.entries import BucketRolledOver, CycleStarted, PriceCharged, SubscriptionStarted
from services.accounting.core.sales.credit import credit_of_pack
from services.accounting.core.terms import Cycle, LimitKind, Payment, Period, Scope
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, UNIT, fault_of, flat, offering, usage
from tests.accounting.shop import CALENDAR, CNY, DAILY, Shopper, allowance, for_sale, go_to, lasting, limit

LINE = for_sale("line", allowance(100, CNY, postpaid=True, allowance_id="line", valid_for_us=400 * DAY), cycle=None)
DAY_OF_TEN = for_sale("day", allowance(10), price=10 * UNIT, cycle=DAILY)
MONTH = for_sale("month", allowance(10), price=10 * UNIT)
LIKE = for_sale("like", allowance(10), price=10 * UNIT)


def refund(shopper: Shopper, purchase_id: str) -> Returned:
    """What comes back of a purchase."""
    answer = shopper.ask(RefundPurchase(ACCOUNT_ID, purchase_id, "moved away", "refund"))
    assert isinstance(answer, Returned), answer
    return answer


def line_consumed(shopper: Shopper) -> list[int]:
    """What credit lines are to be billed for, in whole yuan."""
    return [bucket.consumed // UNIT for bucket in shopper.state.buckets.values() if bucket.postpaid]


def pass_month(shopper: Shopper) -> None:
    """Goes to the first of December, when what began on the first of November is due."""
    go_to(shopper, "2026-12-01 00:00")
    shopper.ask(ApplyDue(ACCOUNT_ID))


@pytest.fixture
def shopper() -> Shopper:
    fast = limit("at-once", Scope.ACCOUNT, LimitKind.CONCURRENT_SESSIONS, 2)
    shopper = Shopper(
        *(LINE, DAY_OF_TEN, MONTH, LIKE),
        for_sale("pack", lasting(10), lasting(20, allowance_id="more"), price=30 * UNIT, cycle=None),
        for_sale("lined", allowance(10), allowance(50, CNY, postpaid=True, allowance_id="line"), price=20 * UNIT),
        for_sale("rolling", allowance(10, rollover_cap=4 * UNIT)),
        for_sale("dear", allowance(10), price=62 * UNIT),
        for_sale("calendar", allowance(31), price=31 * UNIT, cycle=CALENDAR),
        for_sale("year", allowance(10), price=10 * UNIT, cycle=Cycle(Period.MONTH, 12, calendar=False, prorated=False)),
        for_sale("free-of-charge", allowance(10)),
        for_sale("patient", allowance(10), price=12 * UNIT, grace_days=9),
        for_sale("impatient", allowance(10), price=12 * UNIT, grace_days=0),
        for_sale("fast", limits=(fast,), automatic=False),
        for_sale("free", limits=(fast,)),
        for_sale("fast-for-ten", limits=(fast,), price=10 * UNIT),
        base=offering({"flat": flat(EACH)}, limits=(limit("at-once", Scope.ACCOUNT, LimitKind.CONCURRENT_SESSIONS, 1),)),
    )
    go_to(shopper, "2026-11-01 00:00")
    return shopper


# Packs of several allowances


def test_all_allowances_of_a_pack_are_refunded_together_and_end(shopper: Shopper) -> None:
    shopper.money(30)
    order = shopper.order("pack", Payment.PREPAID)
    # 29 of its 30 days are left.
    assert refund(shopper, order.order_id).amount == 29 * UNIT
    assert [shopper.state.buckets[each].ended for each in order.bucket_ids] == [True, True]
    assert shopper.free == {CNY: 29, "TOKEN": 0}


def test_an_order_is_known_as_long_as_the_longest_of_its_allowances_and_its_memory() -> None:
    allowances = (allowance(10, valid_for_us=60 * DAY), allowance(10, valid_for_us=10 * DAY, allowance_id="short"))
    shopper = Shopper(for_sale("pack", *allowances, price=UNIT, cycle=None))
    shopper.money(10, valid_for_us=400 * DAY)
    order = shopper.order("pack", Payment.PREPAID, key="mine")
    # It lasts as long as the longest of them: 59 of its 60 days are left.
    assert credit_of_pack(shopper.state, shopper.state.orders[order.order_id], shopper.now_us) == UNIT * 59 // 60
    shopper.pass_time(60 * DAY + ENDED_MEMORY_US)
    # A grant forgets what ended long ago.
    shopper.grant(UNIT)
    again = shopper.unchanged_by(shopper.order_command("pack", Payment.PREPAID, "mine"))
    assert isinstance(again, Ordered)
    assert again.order_id == order.order_id
    assert shopper.free[CNY] == 9


def test_the_order_of_a_subscription_is_known_as_long_as_that_and_its_memory(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=900 * DAY)
    command = shopper.order_command("month", Payment.PREPAID, "mine")
    order = shopper.ask(command)
    assert isinstance(order, Ordered)
    # Seven months later a repeat is none of a purchase.
    go_to(shopper, "2027-06-01 00:00")
    shopper.grant(UNIT)
    again = shopper.unchanged_by(command)
    assert isinstance(again, Ordered)
    assert (again.order_id, shopper.free[CNY]) == (order.order_id, 20)
    shopper.cancel(order.subscription_id, at_once=True)
    for pause_us, known in ((ENDED_MEMORY_US, True), (DAY, False)):
        shopper.pass_time(pause_us)
        shopper.grant(UNIT)
        assert (order.order_id in shopper.state.orders) == known
    assert order.subscription_id not in shopper.state.subscriptions


def test_the_order_of_a_year_that_was_cancelled_is_known_as_long_as_its_allowance(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=900 * DAY)
    command = shopper.order_command("year", Payment.PREPAID, "mine")
    order = shopper.ask(command)
    assert isinstance(order, Ordered)
    shopper.cancel(order.subscription_id, at_once=True)
    shopper.pass_time(ENDED_MEMORY_US + DAY)
    shopper.grant(UNIT)
    # Else the same name would be granted twice.
    assert order.bucket_ids[0] in shopper.state.buckets
    assert isinstance(shopper.unchanged_by(command), Ordered)


def test_a_key_whose_order_older_code_forgot_begins_no_subscription_anew(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=900 * DAY)
    command = shopper.order_command("month", Payment.PREPAID, "mine")
    order = shopper.ask(command)
    assert isinstance(order, Ordered)
    del shopper.state.orders[order.order_id]
    assert fault_of(shopper.unchanged_by(command)) == "IDEMPOTENCY_CONFLICT"
    assert shopper.free[CNY] == 90


def test_a_pack_is_worth_as_much_as_is_left_since_it_was_paid(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 12:00")
    order = shopper.order("pack", Payment.EXTERNAL)
    go_to(shopper, "2026-11-02 09:00")
    shopper.confirm(order)
    go_to(shopper, "2026-11-03 09:00")
    # Paid yesterday, ordered on the day before: 28 of its 30 days are left.
    assert refund(shopper, order.order_id).amount == 28 * UNIT


def test_what_ended_before_its_time_is_not_topped_up(shopper: Shopper) -> None:
    order = shopper.order("free-of-charge")
    (bucket_id,) = shopper.state.buckets
    shopper.cancel(order.subscription_id, at_once=True)
    assert shopper.state.buckets[bucket_id].valid_until_us > shopper.now_us
    assert fault_of(shopper.unchanged_by(TopUpBucket(ACCOUNT_ID, bucket_id, UNIT, "top-up"))) == "NOT_POSSIBLE"


# Money that comes while a renewal waits for it


def test_a_top_up_of_a_bucket_pays_a_renewal_that_waited_for_it(shopper: Shopper) -> None:
    money = shopper.money(10, valid_for_us=400 * DAY)
    order = shopper.order("day", Payment.PREPAID)
    shopper.pass_time(DAY)
    shopper.ask(ApplyDue(ACCOUNT_ID))
    assert shopper.state_of_subscription(order.subscription_id) == ("suspended", 1, "day")
    shopper.ask(TopUpBucket(ACCOUNT_ID, money.bucket_id, 15 * UNIT, "top-up"))
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "day")
    assert shopper.free == {CNY: 5, "TOKEN": 10}


def test_money_that_does_not_suffice_gives_no_more_time(shopper: Shopper) -> None:
    shopper.money(10, valid_for_us=400 * DAY)
    order = shopper.order("day", Payment.PREPAID)
    for _ in range(3):
        shopper.pass_time(DAY)
        shopper.money(1)
        assert shopper.state_of_subscription(order.subscription_id)[0] == "suspended"
    # Three days are over since the end of the cycle.
    shopper.pass_time(DAY)
    shopper.ask(ApplyDue(ACCOUNT_ID))
    assert shopper.state_of_subscription(order.subscription_id)[0] == "ended"


def test_a_renewal_that_waited_for_money_is_of_what_was_changed_to(shopper: Shopper) -> None:
    shopper.money(15, valid_for_us=400 * DAY)
    order = shopper.order("month", Payment.PREPAID)
    assert isinstance(shopper.change(order.subscription_id, "dear", Payment.PREPAID, at_once=False), Ordered)
    pass_month(shopper)
    # It is of neither until the price of the dearer one is there.
    shopper.money(30)
    assert (shopper.state_of_subscription(order.subscription_id)[0], shopper.free[CNY]) == ("suspended", 35)
    shopper.money(30)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "dear")
    assert shopper.free[CNY] == 3


def test_a_cancelled_renewal_that_waits_for_money_takes_none(shopper: Shopper) -> None:
    shopper.money(10, valid_for_us=400 * DAY)
    order = shopper.order("month", Payment.PREPAID)
    pass_month(shopper)
    shopper.cancel(order.subscription_id)
    shopper.money(50)
    assert (shopper.state_of_subscription(order.subscription_id)[0], shopper.free[CNY]) == ("ended", 50)


@pytest.mark.parametrize(("offering_id", "asked"), [("patient", 3 * DAY), ("impatient", 3 * DAY), ("month", 0)])
def test_a_renewal_is_asked_for_as_long_as_the_terms_say_that_end(shopper: Shopper, offering_id: str, asked: int) -> None:
    order = shopper.confirm(shopper.order("month" if asked else "impatient", Payment.EXTERNAL))
    assert isinstance(shopper.change(order.subscription_id, offering_id, Payment.EXTERNAL, at_once=False), Ordered)
    pass_month(shopper)
    waiting = [each.expires_us - shopper.now_us for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    subscription = shopper.state.subscriptions[order.subscription_id]
    assert (waiting, subscription.state) == (([asked], "suspended") if asked else ([], "ended"))
    if asked:
        assert subscription.grace_end_us == shopper.now_us + asked


# How a cycle was paid


def test_a_cycle_that_is_paid_another_way_than_those_before_goes_back_that_way(shopper: Shopper) -> None:
    shopper.money(10, valid_for_us=400 * DAY)
    shopper.order("line")
    order = shopper.order("month", Payment.PREPAID)
    shopper.cancel(order.subscription_id)
    # The cancellation is taken back, and the phone bill pays from the next cycle on.
    assert isinstance(shopper.change(order.subscription_id, "month", Payment.PHONE_BILL, at_once=False), Ordered)
    pass_month(shopper)
    assert (shopper.state_of_subscription(order.subscription_id), line_consumed(shopper)) == (("active", 2, "month"), [10])
    # 30 of the 31 days of December are left.
    assert refund(shopper, order.subscription_id) == Returned(CNY, 9_677_419, 0, ())
    assert (line_consumed(shopper), shopper.free[CNY]) == ([0], 99)


def test_a_renewal_that_is_to_be_paid_outside_takes_no_money(shopper: Shopper) -> None:
    shopper.money(50, valid_for_us=400 * DAY)
    order = shopper.order("month", Payment.PREPAID)
    shopper.cancel(order.subscription_id)
    assert isinstance(shopper.change(order.subscription_id, "month", Payment.EXTERNAL, at_once=False), Ordered)
    pass_month(shopper)
    assert (shopper.state_of_subscription(order.subscription_id)[0], shopper.free[CNY]) == ("suspended", 40)
    assert [each.amount for each in shopper.state.orders.values() if each.state == "awaiting_payment"] == [10 * UNIT]


@pytest.mark.parametrize("payment", [Payment.PHONE_BILL, Payment.PREPAID])
def test_a_renewal_under_another_offering_leaves_how_the_cycle_before_was_paid(shopper: Shopper, payment: Payment) -> None:
    shopper.money(10, valid_for_us=400 * DAY)
    order = shopper.order("month", payment)
    if payment == Payment.PHONE_BILL:
        shopper.confirm(order, "bill-1")
    assert isinstance(shopper.change(order.subscription_id, "lined", Payment.PHONE_BILL, at_once=False), Ordered)
    pass_month(shopper)
    assert (shopper.state_of_subscription(order.subscription_id), line_consumed(shopper)) == (("active", 1, "lined"), [20])
    # The line has paid, and nothing is asked of the payment outside.
    assert refund(shopper, order.subscription_id) == Returned(CNY, 19_354_838, 0, ())
    assert line_consumed(shopper) == [0]


# What costs a share of a month


@pytest.mark.parametrize(("offering_id", "to_pay", "back"), [("month", 5_833_334, 0), ("dear", 0, 44_433_333)])
def test_a_change_to_a_share_of_a_month_costs_and_gives_back_the_share(
    shopper: Shopper, offering_id: str, to_pay: int, back: int
) -> None:
    shopper.money(100, valid_for_us=400 * DAY)
    go_to(shopper, "2026-11-16 00:00")
    order = shopper.order(offering_id, Payment.PREPAID)
    # 29 of 30 days are left of what was bought; half of November is left, which costs 15.5.
    changed = shopper.change(order.subscription_id, "calendar", Payment.PREPAID)
    assert isinstance(changed, Ordered)
    assert (changed.amount, changed.returned.amount if changed.returned else 0) == (to_pay, back)
    # Of that share 14 of 15 days are left.
    assert refund(shopper, order.subscription_id).amount == 15_500_000 * 14 // 15


def test_a_renewal_that_begins_within_a_month_costs_the_share_that_is_left(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=400 * DAY)
    go_to(shopper, "2026-11-16 00:00")
    order = shopper.order("month", Payment.PREPAID)
    assert isinstance(shopper.change(order.subscription_id, "calendar", Payment.PREPAID, at_once=False), Ordered)
    go_to(shopper, "2026-12-16 00:00")
    shopper.ask(ApplyDue(ACCOUNT_ID))
    # 16 of the 31 days of December.
    assert [entry.amount // UNIT for entry in shopper.entries if isinstance(entry, PriceCharged)] == [10, 16]
    assert shopper.free == {CNY: 74, "TOKEN": 16}


# How what is left of a cycle goes back


def test_a_change_to_what_costs_less_is_paid_as_the_cycle_was(shopper: Shopper) -> None:
    shopper.money(62)
    shopper.order("line")
    order = shopper.order("dear", Payment.PREPAID)
    # Else a phone bill would be asked to give back what money has paid.
    refused = shopper.change(order.subscription_id, "month", Payment.PHONE_BILL)
    assert (fault_of(refused), shopper.last_entries) == ("NOT_POSSIBLE", [])


def test_a_change_to_what_costs_less_waits_for_no_payment(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("dear", Payment.PHONE_BILL), "bill-1")
    changed = shopper.change(order.subscription_id, "month", Payment.PHONE_BILL)
    assert isinstance(changed, Ordered)
    assert (changed.state, changed.amount) == ("completed", 0)
    assert changed.returned == Returned(CNY, 49_933_333, 49_933_333, ("bill-1",))


@pytest.mark.parametrize("other", ["of another offering", "at another price"])
def test_a_renewal_is_paid_by_the_money_of_its_own_account_and_no_like_one(shopper: Shopper, other: str) -> None:
    shopper.money(20, valid_for_us=400 * DAY)
    shopper.order("line")
    if other == "at another price":
        catalog, shopper.catalog = shopper.catalog, Shopper(for_sale("month", allowance(10), price=12 * UNIT)).catalog
        billed = shopper.order("month", Payment.PHONE_BILL)
        shopper.catalog = catalog
    else:
        billed = shopper.order("like", Payment.PHONE_BILL)
    prepaid = shopper.order("month", Payment.PREPAID)
    pass_month(shopper)
    payers = [shopper.state.subscriptions[each.subscription_id].payers for each in (billed, prepaid)]
    # A credit line is no money that could come back.
    assert [[payer.amount // UNIT for payer in each] for each in payers] == [[], [10]]
    assert [payer.paid_us for payer in payers[1]] == [shopper.now_us]


# Limits that come with a subscription


def at_once(shopper: Shopper) -> int:
    """How many calls the account may have at once; they end by themselves."""
    answers: list[Answer] = [shopper.call(1, 0) for _ in range(3)]
    refused = [answer for answer in answers if isinstance(answer, Refused)]
    assert all(each.code == ResultCode.RATE_LIMITED for each in refused)
    return sum(isinstance(answer, Granted) for answer in answers)


@pytest.mark.parametrize(("offering_id", "state"), [("fast", "ended"), ("fast-for-ten", "suspended")])
def test_limits_of_a_subscription_end_with_it_though_it_grants_nothing(shopper: Shopper, offering_id: str, state: str) -> None:
    shopper.grant(100 * UNIT, valid_for_us=400 * DAY)
    shopper.money(10, valid_for_us=400 * DAY)
    assert at_once(shopper) == 1
    go_to(shopper, "2026-11-01 01:00")
    order = shopper.order(offering_id, Payment.PREPAID if offering_id == "fast-for-ten" else Payment.FREE)
    assert at_once(shopper) == 2
    go_to(shopper, "2026-12-02 00:00")
    assert at_once(shopper) == 1
    assert shopper.state_of_subscription(order.subscription_id)[0] == state


def test_a_free_subscription_that_is_to_cost_something_is_renewed_though_nobody_calls(shopper: Shopper) -> None:
    shopper.money(10, valid_for_us=400 * DAY)
    order = shopper.order("free")
    # Idle, it could wait for the next call.
    assert isinstance(shopper.change(order.subscription_id, "fast-for-ten", Payment.PREPAID, at_once=False), Ordered)
    go_to(shopper, "2026-12-01 00:00")
    due = due_entries(shopper.state, shopper.now_us, 0, used=False)
    assert isinstance(next(due), SubscriptionStarted)
    assert isinstance(started := next(due), CycleStarted)
    assert started.price == 10 * UNIT


def test_what_may_live_on_does_so_though_nobody_calls(shopper: Shopper) -> None:
    shopper.order("rolling")
    go_to(shopper, "2026-12-01 00:00")
    # Its end would come next, and take all of it.
    rolled = next(due_entries(shopper.state, shopper.now_us, 0, used=False))
    assert isinstance(rolled, BucketRolledOver)
    assert rolled.expired == 6 * UNIT


def test_what_a_call_holds_is_beside_what_may_live_on(shopper: Shopper) -> None:
    shopper.order("rolling")
    go_to(shopper, "2026-11-30 23:59:30")
    charging_id, _ = shopper.create(3, 0)
    go_to(shopper, "2026-12-01 00:00")
    shopper.release(charging_id, 2, usage(1))
    # Of the 7 that nobody held 4 live on, and the call gives 2 back; 10 are new.
    assert shopper.free["TOKEN"] == 4 + 2 + 10


def test_what_is_held_of_an_ended_bucket_is_not_forgotten(shopper: Shopper) -> None:
    bucket = shopper.grant(10 * UNIT, valid_for_us=DAY)
    charging_id, _ = shopper.create(4, 0)
    # Accounting was away for a hundred days; then the holder may say how its call went.
    shopper.pass_time(DAY + ENDED_MEMORY_US + DAY)
    shopper.serving_since_us = shopper.now_us
    shopper.grant(UNIT)
    shopper.release(charging_id, 2, usage(3))
    assert shopper.amounts(bucket) == (0, 0, 3 * UNIT, 7 * UNIT)
