"""Orders, renewals, changes and corrections that come rarely: what is refused, and what begins or ends in an unusual way."""

from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.accounting.core.account.due import next_due_us
from services.accounting.core.account.state import ENDED_MEMORY_US, Order
from services.accounting.core.balance import less_hold
from services.accounting.core.buckets import BUCKETS_MAX
from services.accounting.core.commands import (
    ApplyDue,
    BucketAdded,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ConfirmPayment,
    Done,
    Failed,
    GrantBucket,
    Ordered,
    SetLimits,
    Settled,
    TopUpBucket,
)
from services.accounting.core.corrections import set_limits
from services.accounting.core.cycles import period_bounds_us
from services.accounting.core.due import due_entries
from services.accounting.core.entries import (
    BucketGranted,
    OrderFailed,
    OrderPlaced,
    PriceCharged,
    SessionSettled,
    SubscriptionEnded,
    SubscriptionSuspended,
)
from services.accounting.core.sales.credit import credit_of
from services.accounting.core.terms import LimitKind, Payment, Period, Scope
from services.runtime.identifiers import derived_name
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, TCC_US, UNIT, Ledger, catalog_of, flat, offering, usage
from tests.accounting.shop import CNY, DAILY, SHANGHAI, Shopper, allowance, for_sale, go_to, limit

TEN = for_sale("ten", allowance(10), price=9_900_000)
THIRTY = for_sale("thirty", allowance(30), price=26_900_000)
NO_GRACE = for_sale("strict", allowance(10), price=9_900_000, grace_days=0)
DOLLARS = for_sale("dollars", allowance(10), price=3_000_000)
assert DOLLARS.terms is not None
DOLLARS = DOLLARS._replace(terms=msgspec.structs.replace(DOLLARS.terms, price_unit="CURRENCY:USD"))
ONCE = for_sale("once", allowance(10), price=9_900_000, automatic=False)
FREE_DAILY = for_sale("free-daily", allowance(10), cycle=DAILY)


@pytest.fixture
def shopper() -> Shopper:
    return Shopper(TEN, THIRTY, NO_GRACE, DOLLARS, ONCE, FREE_DAILY)


def refused(answer: object) -> tuple[str, str]:
    """The fault's name and its sentence."""
    assert isinstance(answer, Failed), answer
    return answer.fault.name, answer.message


def test_a_new_session_is_told_the_age_that_its_id_may_have() -> None:
    ledger = Ledger()
    ledger.grant(UNIT)
    create = ledger.create_command(1, 0)
    ledger.pass_time(DAY)
    assert refused(ledger.ask(create)) == (
        "CHARGING_ID_STALE",
        f"the time in charging_id {create.charging_id} is more than 14 minutes old or lies in the future: it can't be taken for "
        "a new call; check the caller's clock",
    )


def awaiting(shopper: Shopper) -> Order:
    """The one order that waits for its payment."""
    (order,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    return order


def poke(shopper: Shopper) -> None:
    shopper.ask(ApplyDue(ACCOUNT_ID))


# Orders


def test_an_order_that_is_given_up_fails_with_the_reason_and_a_repeat_tells_it_again(shopper: Shopper) -> None:
    order = shopper.order("ten", Payment.EXTERNAL, key="one")
    given_up = shopper.give_up(order)
    assert isinstance(given_up, Ordered)
    assert (given_up.state, given_up.reason) == ("failed", "the buyer has gone")
    assert isinstance(shopper.last_entries[-1], OrderFailed)
    assert shopper.unchanged_by(CancelOrder(ACCOUNT_ID, order.order_id, "again")) == given_up
    assert refused(shopper.unchanged_by(CancelOrder(ACCOUNT_ID, "ord-none", ""))) == (
        "ITEM_UNKNOWN",
        f"no order ord-none is on account {ACCOUNT_ID}",
    )


def test_an_order_is_told_again_as_it_is(shopper: Shopper) -> None:
    order = shopper.order("ten", Payment.EXTERNAL, key="k")
    assert shopper.order("ten", Payment.EXTERNAL, key="k") == order
    assert (order.amount, shopper.confirm(order).amount) == (9_900_000, 9_900_000)


def test_a_free_cycle_that_followed_a_paid_one_during_a_standstill_is_the_present_one(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    order = shopper.order("ten", Payment.PREPAID)
    shopper.change(order.subscription_id, "free-daily", Payment.FREE, at_once=False)
    shopper.pass_time(40 * DAY)
    # Once: the next command must find it so.
    shopper.rows.append((len(shopper.rows) + 1, []))
    shopper._apply_due()
    subscription = shopper.state.subscriptions[order.subscription_id]
    assert (subscription.state, subscription.terms.offering_id) == ("active", "free-daily")
    assert shopper.now_us < subscription.cycle_end_us <= shopper.now_us + 2 * DAY
    assert shopper.free == {"TOKEN": 10}


def test_a_subscription_that_is_not_renewed_by_itself_ends_with_its_cycle_and_is_paid_once(shopper: Shopper) -> None:
    shopper.money(20, valid_for_us=100 * DAY)
    subscription_id = shopper.order("once", Payment.PREPAID).subscription_id
    end_us = shopper.state.subscriptions[subscription_id].cycle_end_us
    shopper.pass_time(40 * DAY)
    shopper.ask(ApplyDue(ACCOUNT_ID))
    ended = [entry for entry in shopper.last_entries if isinstance(entry, SubscriptionEnded)]
    assert ended == [SubscriptionEnded(ACCOUNT_ID, end_us, subscription_id, "its last cycle is over")]
    assert [entry.amount for entry in shopper.entries if isinstance(entry, PriceCharged)] == [9_900_000]


def test_a_free_cycle_that_begins_after_a_pause_began_with_its_day(shopper: Shopper) -> None:
    subscription_id = shopper.order("free-daily").subscription_id
    shopper.pass_time(10 * DAY)
    shopper.open_call(1, 1)
    begin_us, end_us = period_bounds_us(Period.DAY, SHANGHAI, shopper.now_us)
    subscription = shopper.state.subscriptions[subscription_id]
    assert (subscription.cycle_number, subscription.cycle_start_us, subscription.cycle_end_us) == (11, begin_us, end_us)
    (bucket,) = [each for each in shopper.state.buckets.values() if not each.ended]
    assert (bucket.created_us, bucket.valid_until_us) == (begin_us, end_us)


def test_money_that_comes_while_a_payment_outside_is_asked_for_leaves_no_more_time_for_it(shopper: Shopper) -> None:
    shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    shopper.pass_time(31 * DAY)
    poke(shopper)
    asked = awaiting(shopper)
    expires_us = asked.expires_us
    shopper.pass_time(DAY)
    shopper.money(1)
    assert awaiting(shopper).expires_us == expires_us
    assert [entry.order_id for entry in shopper.entries if isinstance(entry, OrderPlaced)].count(asked.order_id) == 1


def test_an_order_is_due_at_its_end_for_as_long_as_it_waits(shopper: Shopper) -> None:
    order = shopper.order("ten", Payment.EXTERNAL)
    expires_us = awaiting(shopper).expires_us
    assert next_due_us(shopper.state) == expires_us
    shopper.confirm(order)
    due_us = next_due_us(shopper.state)
    assert due_us is not None
    assert due_us > expires_us


def test_a_payment_for_a_subscription_that_has_ended_is_to_be_given_back(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    shopper.pass_time(31 * DAY)
    poke(shopper)
    asked = awaiting(shopper)
    shopper.cancel(order.subscription_id, at_once=True)
    assert refused(shopper.ask(ConfirmPayment(ACCOUNT_ID, asked.order_id, "late"))) == (
        "NOT_POSSIBLE",
        f"order {asked.order_id} came to nothing: subscription {order.subscription_id} has ended; "
        "give payment late back and order again",
    )
    assert shopper.state.orders[asked.order_id].state == "failed"


def test_an_order_needs_room_for_all_its_buckets_at_once() -> None:
    full, too_many = (
        for_sale(f"of {count}", *(allowance(1, allowance_id=str(number)) for number in range(count)), price=UNIT)
        for count in (BUCKETS_MAX, BUCKETS_MAX + 1)
    )
    shopper = Shopper(full, too_many)
    assert refused(shopper.unchanged_by(shopper.order_command("of 1001", Payment.EXTERNAL))) == (
        "NOT_POSSIBLE",
        "the account would have more than 1000 buckets that have not ended",
    )
    assert shopper.order("of 1000", Payment.EXTERNAL).state == "awaiting_payment"


# Subscriptions


def test_a_suspended_subscription_is_not_changed_for_the_next_cycle(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    order = shopper.order("ten", Payment.PREPAID)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    command = ChangeSubscription(ACCOUNT_ID, order.subscription_id, "thirty", Payment.PREPAID, at_once=False, idempotency_key="up")
    assert refused(shopper.unchanged_by(command)) == (
        "NOT_POSSIBLE",
        f"subscription {order.subscription_id} is suspended; change it at once, or pay first",
    )


def test_a_paid_subscription_is_not_changed_at_once_to_another_currency(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    command = ChangeSubscription(ACCOUNT_ID, order.subscription_id, "dollars", Payment.EXTERNAL, at_once=True, idempotency_key="up")
    assert refused(shopper.unchanged_by(command)) == (
        "NOT_POSSIBLE",
        "the subscription is paid in CURRENCY:CNY and dollars in CURRENCY:USD: change it from the next cycle on",
    )
    later = shopper.change(order.subscription_id, "dollars", Payment.EXTERNAL, at_once=False)
    assert isinstance(later, Ordered)
    assert (later.state, later.amount, later.unit) == ("completed", 0, "CURRENCY:USD")


def test_a_change_at_once_that_is_paid_outside_begins_with_its_payment(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    order = shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    answer = shopper.change(order.subscription_id, "thirty", Payment.EXTERNAL)
    assert isinstance(answer, Ordered)
    # 29 whole days of 30 are left of what was paid.
    to_pay = 26_900_000 - 9_900_000 * 29 // 30
    assert (answer.state, answer.amount, answer.subscription_id) == ("awaiting_payment", to_pay, order.subscription_id)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "ten")
    shopper.confirm(answer)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "thirty")
    assert shopper.free == {"TOKEN": 30}


def test_a_change_for_the_next_cycle_that_is_paid_outside_is_asked_for_at_its_beginning(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    shopper.change(order.subscription_id, "thirty", Payment.EXTERNAL, at_once=False)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    asked = awaiting(shopper)
    assert (asked.amount, asked.subscription_id, asked.terms.offering_id) == (26_900_000, order.subscription_id, "thirty")
    assert shopper.state_of_subscription(order.subscription_id) == ("suspended", 1, "ten")
    shopper.ask(ConfirmPayment(ACCOUNT_ID, asked.order_id, "second month"))
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "thirty")
    assert shopper.free == {"TOKEN": 30}


def test_a_cycle_is_worth_its_days_that_are_left_while_it_runs(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    shopper.order("ten", Payment.PREPAID)
    (subscription,) = shopper.state.subscriptions.values()
    days = subscription.cycle_days
    assert credit_of(shopper.state, subscription, shopper.now_us) == 9_900_000 * (days - 1) // days > 0
    assert credit_of(shopper.state, msgspec.structs.replace(subscription, state="suspended"), shopper.now_us) == 0
    # Old journals have no days.
    assert credit_of(shopper.state, msgspec.structs.replace(subscription, cycle_days=0), shopper.now_us) == 0


@pytest.mark.parametrize("payment", [Payment.EXTERNAL, Payment.PREPAID])
def test_a_renewal_without_grace_that_is_not_paid_ends_at_once_and_asks_for_nothing(shopper: Shopper, payment: Payment) -> None:
    shopper.grant(9_900_000, unit=CNY)
    order = shopper.order("strict", payment)
    if payment is Payment.EXTERNAL:
        shopper.confirm(order)
    (subscription,) = shopper.state.subscriptions.values()
    end_us = subscription.cycle_end_us
    shopper.pass_time(40 * DAY)
    poke(shopper)
    ended = [entry for entry in shopper.last_entries if isinstance(entry, SubscriptionEnded)]
    assert ended == [SubscriptionEnded(ACCOUNT_ID, end_us, subscription.subscription_id, "not paid")]
    assert not any(isinstance(entry, SubscriptionSuspended) for entry in shopper.entries)
    assert all(each.state == "completed" for each in shopper.state.orders.values())
    assert "TOKEN" not in shopper.free


def test_a_renewal_that_is_tried_at_the_end_of_its_grace_and_not_paid_ends(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    shopper.order("ten", Payment.PREPAID)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    (subscription,) = shopper.state.subscriptions.values()
    end_us = subscription.grace_end_us
    # Money that comes at this very moment, too little of it, makes it tried.
    subscription.retry_us = end_us
    entries = due_entries(shopper.state, end_us, 0, used=False)
    # They are applied between one and the next, which is not done here: look at the first ones.
    ended = [each for each in islice(entries, 9) if isinstance(each, SubscriptionEnded)]
    assert ended[0] == SubscriptionEnded(ACCOUNT_ID, end_us, subscription.subscription_id, "not paid")


def test_a_renewal_that_was_asked_for_once_is_cycled_once(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("once", Payment.PREPAID)
    shopper.change(order.subscription_id, "once", Payment.PREPAID, at_once=False)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 2, "once")
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "ended"


def test_an_unknown_subscription_is_not_cancelled(shopper: Shopper) -> None:
    assert refused(shopper.unchanged_by(CancelSubscription(ACCOUNT_ID, "sub-none", at_once=True))) == (
        "ITEM_UNKNOWN",
        f"no subscription sub-none is on account {ACCOUNT_ID}",
    )


# Corrections


def test_an_unknown_bucket_and_one_that_has_ended_are_not_topped_up() -> None:
    ledger = Ledger()
    bucket = ledger.grant(10 * UNIT, valid_for_us=DAY)
    top_up = TopUpBucket(ACCOUNT_ID, bucket.bucket_id, 5 * UNIT, "more")
    assert refused(ledger.unchanged_by(msgspec.structs.replace(top_up, bucket_id="bkt-none"))) == (
        "ITEM_UNKNOWN",
        f"no bucket bkt-none is on account {ACCOUNT_ID}",
    )
    ledger.pass_time(DAY - 1)
    ledger.ask(top_up)
    assert ledger.amounts(bucket) == (15 * UNIT, 0, 0, 0)
    ledger.pass_time(1)
    assert refused(ledger.ask(msgspec.structs.replace(top_up, idempotency_key="late"))) == (
        "NOT_POSSIBLE",
        f"bucket {bucket.bucket_id} has ended; grant a new one",
    )
    assert ledger.amounts(bucket) == (0, 0, 0, 15 * UNIT)


def test_the_key_of_a_top_up_is_remembered_for_as_long_as_an_ended_bucket() -> None:
    assert ENDED_MEMORY_US == 90 * DAY
    ledger = Ledger()
    bucket = ledger.grant(10 * UNIT, valid_for_us=3 * ENDED_MEMORY_US)

    def top_up(key: str) -> None:
        ledger.ask(TopUpBucket(ACCOUNT_ID, bucket.bucket_id, UNIT, key))

    top_up("first")
    ledger.pass_time(ENDED_MEMORY_US)
    top_up("second")
    assert list(ledger.state.adjustments) == ["first", "second"]
    ledger.pass_time(1)
    top_up("third")
    assert list(ledger.state.adjustments) == ["second", "third"]
    # What is forgotten can be asked for anew.
    top_up("first")
    assert ledger.amounts(bucket) == (14 * UNIT, 0, 0, 0)


def test_an_account_has_limits_for_a_hundred_thousand_subjects() -> None:
    shopper = Shopper()
    a_limit = limit("calls", Scope.KEY, LimitKind.REQUEST_RATE, 10)
    shopper.limits("first", a_limit)
    shopper.state.limits.update({str(number): shopper.state.limits["first"] for number in range(99_999)})

    def answer(command: SetLimits) -> object:
        return set_limits(shopper.state, command, shopper.now_us, shopper.catalog).answer

    one_more = SetLimits(ACCOUNT_ID, "one more", (a_limit,), 0)
    assert refused(answer(one_more)) == (
        "NOT_POSSIBLE",
        "the account has limits for 100000 subjects; take those of unused ones away first",
    )
    assert isinstance(answer(msgspec.structs.replace(one_more, subject="first", valid_until_us=1)), Done)
    del shopper.state.limits["0"]
    assert isinstance(answer(one_more), Done)


def test_to_take_the_limits_of_an_unlimited_subject_away_changes_nothing(shopper: Shopper) -> None:
    assert isinstance(shopper.unchanged_by(SetLimits(ACCOUNT_ID, "key-1", (), 0)), Done)
    shopper.limits("key-1", valid_until_us=shopper.now_us + DAY)
    assert shopper.state.limits["key-1"].valid_until_us == shopper.now_us + DAY


# Windows and holds


@pytest.mark.parametrize(
    ("time", "begin", "end"),
    [
        ("2026-02-10 13:30", "2026-02-01 00:00", "2026-03-01 00:00"),
        ("2028-02-29 23:59", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
    ],
)
def test_a_month_s_window_is_the_calendar_s(time: str, begin: str, end: str) -> None:
    begin_us, end_us, time_us = (
        int(datetime.fromisoformat(each).replace(tzinfo=ZoneInfo(SHANGHAI)).timestamp()) * 1_000_000 for each in (begin, end, time)
    )
    assert period_bounds_us(Period.MONTH, SHANGHAI, time_us) == (begin_us, end_us)


def test_more_is_held_from_several_buckets_in_burn_order() -> None:
    ledger = Ledger()
    buckets = [ledger.grant(amount * UNIT, key=str(amount), priority=amount) for amount in (70, 20, 1_000)]
    charging_id, granted = ledger.create(6, 500, metered=True)
    assert granted.output_granted == 64
    # The first window of 64 and 6 of input take the first two whole, in the order of their priorities.
    assert [ledger.amounts(bucket)[:2] for bucket in buckets] == [(20 * UNIT, 50 * UNIT), (0, 20 * UNIT), (1_000 * UNIT, 0)]
    more = ledger.update(charging_id, 2, usage(6, 60), 200)
    assert more.output_granted == 200
    assert [ledger.amounts(bucket)[:2] for bucket in buckets] == [(0, 70 * UNIT), (0, 20 * UNIT), (884 * UNIT, 116 * UNIT)]
    assert ledger.release(charging_id, 3, usage(6, 100)).charged == 106 * UNIT
    assert [ledger.amounts(bucket)[::2] for bucket in buckets] == [(0, 70 * UNIT), (0, 20 * UNIT), (984 * UNIT, 16 * UNIT)]


def test_what_is_held_already_is_not_held_again_nor_with_nothing() -> None:
    assert less_hold((("kept", 5), ("grown", 7), ("new", 2)), {"kept": 5, "grown": 3}) == (("grown", 4), ("new", 2))


# Entries


@pytest.mark.parametrize(("reason", "source"), [("goodwill", "adjustment"), ("", "")])
def test_a_grant_that_somebody_gave_a_reason_for_is_an_adjustment(reason: str, source: str) -> None:
    ledger = Ledger()
    answer = ledger.ask(GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 7, "key", reason=reason))
    assert isinstance(answer, BucketAdded)
    (granted,) = ledger.last_entries
    assert isinstance(granted, BucketGranted)
    assert (granted.source, granted.reason, granted.priority, granted.repaid) == (source, reason, 7, 0)


def test_a_grant_has_no_reason_unless_somebody_gives_one() -> None:
    ledger = Ledger()
    bucket = ledger.bucket(ledger.grant(UNIT))
    assert bucket.source == ""


def test_money_that_a_downgrade_gives_back_says_whence_it_came_and_repays_what_is_owed(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    shopper.grant(26_900_000, unit=CNY)
    order = shopper.order("thirty", Payment.PREPAID)
    shopper.change(order.subscription_id, "ten", Payment.PREPAID)
    surplus = [entry for entry in shopper.last_entries if isinstance(entry, BucketGranted) and entry.unit == CNY]
    (granted,) = surplus
    assert (granted.source, granted.reason) == (f"surplus:{order.subscription_id}", "what was paid for days that are left")
    assert (granted.repaid, granted.priority, granted.idempotency_key, granted.digest) == (0, 0, "", b"")
    assert granted.valid_until_us - granted.valid_from_us == DAY
    assert granted.amount == 26_900_000 * 29 // 30 - 9_900_000


def test_usage_of_nothing_is_an_event_that_charges_nothing() -> None:
    ledger = Ledger()
    assert ledger.event(usage()) == Settled("TOKEN", 0, 0)
    (settled,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert (settled.charged, settled.usage, settled.record_number) == (0, usage(), 1)


def test_usage_of_nothing_is_charged_to_the_first_of_several_tariffs() -> None:
    ledger = two_units()
    assert ledger.event(usage()) == Settled("TOKEN", 0, 0)


def test_names_are_derived_from_the_key_of_the_command(shopper: Shopper) -> None:
    shopper.money(10)
    order = shopper.order("ten", Payment.PREPAID, key="mine")
    assert order.order_id == derived_name("ord", ACCOUNT_ID, "mine")
    assert order.subscription_id == derived_name("sub", ACCOUNT_ID, "mine")
    (bucket_id,) = order.bucket_ids
    assert bucket_id == derived_name("bkt", ACCOUNT_ID, f"order:{order.order_id}/main")
    # No command granted this bucket, so no key is its.
    assert shopper.state.buckets[bucket_id].idempotency_key == ""


@pytest.mark.parametrize("payment", [Payment.PREPAID, Payment.EXTERNAL])
def test_a_subscription_keeps_how_it_was_paid_for_its_renewals(shopper: Shopper, payment: Payment) -> None:
    shopper.money(10)
    order = shopper.order("ten", payment)
    if payment is Payment.EXTERNAL:
        shopper.confirm(order)
    subscription = shopper.state.subscriptions[order.subscription_id]
    assert (subscription.payment, subscription.next_payment) == (payment, payment)


def test_a_subscription_that_begins_anew_by_itself_names_no_order(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    order = shopper.order("ten", Payment.PREPAID)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    shopper.pass_time(DAY)
    shopper.money(10)
    (granted,) = [entry for entry in shopper.last_entries if isinstance(entry, BucketGranted) and entry.unit == "TOKEN"]
    assert granted.source == f"restart:{order.subscription_id}/{shopper.now_us}/"
    (charged,) = [entry for entry in shopper.last_entries if isinstance(entry, PriceCharged)]
    assert (charged.order_id, charged.amount) == ("", 9_900_000)


def test_a_late_release_counts_against_the_limits_of_its_key_and_member(shopper: Shopper) -> None:
    shopper.grant(1_000 * UNIT)
    for subject, scope in (("key:key-1", Scope.KEY), ("member:mbr-1", Scope.MEMBER)):
        shopper.limits(subject, limit("rate", scope, LimitKind.TOKEN_RATE, 1_000))
    charging_id = shopper.open_call(20, 20)
    shopper.update(charging_id, 2, usage(2), 20)
    shopper.pass_time(TCC_US + 1)
    shopper.release(charging_id, 3, usage(20, 10))
    swept, late = [entry for entry in shopper.last_entries if isinstance(entry, SessionSettled)]
    assert (swept.charged, late.charged) == (2 * UNIT, 28 * UNIT)
    # Twenty of the thirty tokens were counted at the beginning; the others are now, 60 ms each, by key and by member.
    now_ns = shopper.now_us * 1_000
    assert {limiter: arrival_ns - now_ns for limiter, arrival_ns in late.arrivals} == {
        "rate@key:key-1": 600_000_000,
        "rate@member:mbr-1": 600_000_000,
    }


def two_units() -> Ledger:
    """An account whose calls are paid in tokens, then in money."""
    schedules = tuple(each for unit in ("TOKEN", CNY) for each in offering({"flat": flat(EACH, unit)}).schedules)
    return Ledger(catalog_of(offering({"flat": flat(EACH)})._replace(schedules=schedules)))


def test_the_input_that_chose_the_tier_stands_in_the_records_of_a_session_that_has_several() -> None:
    ledger = Ledger()
    ledger.event(usage(5, 1))
    assert [entry.total_input for entry in ledger.last_entries if isinstance(entry, SessionSettled)] == [-1]
    ledger = two_units()
    ledger.grant(2 * UNIT)
    ledger.grant(10 * UNIT, unit=CNY)
    ledger.event(usage(5, 1))
    records = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert [(entry.usage, entry.total_input) for entry in records] == [(usage(2), 5), (usage(3, 1), 5)]
