"""Orders, packs, subscriptions: what they cost, grant, and what becomes of them."""

import pytest

from services.accounting.core.commands import (
    ApplyDue,
    CancelSubscription,
    ChangeSubscription,
    ConfirmPayment,
    Done,
    Failed,
    GrantAllowances,
    OpenAccount,
    Ordered,
    Refused,
    Settled,
)
from services.accounting.core.decide import decide
from services.accounting.core.entries import CycleStarted, NoticeReached, OrderFailed, OrderPlaced, PriceCharged
from services.accounting.core.offerings import Schedule, TariffVersion
from services.accounting.core.terms import Payment
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    UNIT,
    catalog_of,
    fault_of,
    flat,
    offering,
    replayed,
    state_of,
    usage,
)
from tests.accounting.shop import (
    CALENDAR,
    CNY,
    DAILY,
    MONEY,
    MONTHLY,
    POINTS,
    SHANGHAI,
    Shopper,
    allowance,
    for_sale,
    go_to,
    lasting,
)

TEN = for_sale("ten", allowance(10), price=9_900_000)
THIRTY = for_sale("thirty", allowance(30, rollover_cap=10 * UNIT), price=26_900_000)
PACK = for_sale("pack", allowance(4, valid_for_us=30 * DAY), price=UNIT, cycle=None)
FREE = for_sale("free", allowance(5), cycle=DAILY)
CALENDAR_TEN = for_sale("calendar", allowance(30), price=30 * UNIT, cycle=CALENDAR)
PHONE = for_sale(
    "phone",
    allowance(10),
    allowance(50, CNY, allowance_id="line", postpaid=True, priority=900),
    price=9_900_000,
    payments=frozenset({Payment.PHONE_BILL}),
    tariffs={"flat": flat(EACH), "money": MONEY},
)
UNIVERSAL = for_sale("universal", allowance(9, "POINT"), tariffs={"flat": POINTS, "other": POINTS})


@pytest.fixture
def shopper() -> Shopper:
    return Shopper(TEN, THIRTY, PACK, FREE, CALENDAR_TEN, PHONE, UNIVERSAL)


def poke(shopper: Shopper) -> None:
    shopper.ask(ApplyDue(ACCOUNT_ID))


# What is no longer sold


def test_a_plan_that_is_withdrawn_stays_with_those_who_have_it_and_is_sold_to_nobody(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=100 * DAY)
    ten, free = shopper.order("ten", Payment.PREPAID), shopper.order("free")
    withdrawn = (TEN._replace(withdrawn=True), FREE._replace(withdrawn=True))
    shopper.catalog = catalog_of(offering({"flat": flat(EACH), "other": flat(EACH)}), *withdrawn, time_zone=SHANGHAI)
    refused = shopper.unchanged_by(shopper.order_command("ten", Payment.PREPAID))
    assert isinstance(refused, Failed)
    assert "offering ten is no longer sold" in refused.message
    change = ChangeSubscription(ACCOUNT_ID, free.subscription_id, "ten", Payment.PREPAID, True, "change")
    assert fault_of(shopper.unchanged_by(change)) == "NOT_POSSIBLE"
    shopper.pass_time(31 * DAY)
    shopper.event(usage(7))
    assert shopper.free["TOKEN"] == 10 + 5 - 7
    assert shopper.state.subscriptions[ten.subscription_id].cycle_number == 2


def test_no_account_is_opened_on_what_is_withdrawn() -> None:
    withdrawn = offering({"flat": flat(EACH)}, offering_id="old", withdrawn=True)
    refused = decide(None, OpenAccount("acct-2", "old"), 0, catalog_of(offering({"flat": flat(EACH)}), withdrawn)).answer
    assert fault_of(refused) == "NOT_POSSIBLE"


# What comes with another product


def test_what_is_only_granted_is_neither_ordered_nor_changed_to(shopper: Shopper) -> None:
    free = shopper.order("free")
    bundle = FREE._replace(offering_id="bundle", only_granted=True)
    shopper.catalog = catalog_of(offering({"flat": flat(EACH), "other": flat(EACH)}), FREE, bundle, time_zone=SHANGHAI)
    refused = shopper.unchanged_by(shopper.order_command("bundle"))
    assert isinstance(refused, Failed)
    assert "offering bundle comes with another product, whose system grants it" in refused.message
    change = ChangeSubscription(ACCOUNT_ID, free.subscription_id, "bundle", Payment.FREE, True, "change")
    assert fault_of(shopper.unchanged_by(change)) == "NOT_POSSIBLE"
    shopper.ask(GrantAllowances(ACCOUNT_ID, "bundle", "", 0, "line-1 2026-12"))
    assert shopper.free["TOKEN"] == 5 + 5


# Packs and how they are paid


def test_a_pack_is_paid_from_money_and_lives_for_its_days(shopper: Shopper) -> None:
    shopper.money(2)
    order = shopper.order("pack", Payment.PREPAID)
    assert (order.state, order.amount, len(order.bucket_ids)) == ("completed", UNIT, 1)
    assert shopper.free == {CNY: 1, "TOKEN": 4}
    shopper.pass_time(30 * DAY)
    poke(shopper)
    assert shopper.free.get("TOKEN", 0) == 0


def test_a_pack_can_be_bought_again_and_again_but_a_repeat_buys_nothing(shopper: Shopper) -> None:
    shopper.money(3)
    first = shopper.order("pack", Payment.PREPAID, key="one")
    repeat = shopper.unchanged_by(shopper.order_command("pack", Payment.PREPAID, key="one"))
    assert isinstance(repeat, Ordered)
    assert (repeat.order_id, repeat.bucket_ids, repeat.state) == (first.order_id, first.bucket_ids, "completed")
    assert fault_of(shopper.unchanged_by(shopper.order_command("ten", Payment.PREPAID, key="one"))) == "IDEMPOTENCY_CONFLICT"
    shopper.order("pack", Payment.PREPAID, key="two")
    assert shopper.free == {CNY: 1, "TOKEN": 8}


def test_what_cannot_be_paid_is_not_ordered(shopper: Shopper) -> None:
    shopper.grant(999_999, unit=CNY)
    answer = shopper.unchanged_by(shopper.order_command("pack", Payment.PREPAID))
    assert fault_of(answer) == "PAYMENT_REQUIRED"
    # Nothing but the missing micro-yuan kept it.
    shopper.grant(1, unit=CNY)
    assert shopper.order("pack", Payment.PREPAID).state == "completed"


@pytest.mark.parametrize(
    ("offering_id", "payment", "fault"),
    [
        ("no-such", Payment.PREPAID, "OFFERING_UNKNOWN"),
        ("default", Payment.FREE, "NOT_POSSIBLE"),
        ("phone", Payment.PREPAID, "NOT_POSSIBLE"),
        ("phone", Payment.EXTERNAL, "NOT_POSSIBLE"),
    ],
)
def test_what_is_not_sold_so_is_refused(shopper: Shopper, offering_id: str, payment: Payment, fault: str) -> None:
    assert fault_of(shopper.unchanged_by(shopper.order_command(offering_id, payment))) == fault


def test_an_order_paid_outside_waits_for_its_payment(shopper: Shopper) -> None:
    order = shopper.order("pack", Payment.EXTERNAL)
    assert (order.state, order.bucket_ids, shopper.free) == ("awaiting_payment", (), {})
    confirmed = shopper.confirm(order)
    assert (confirmed.state, confirmed.reason, len(confirmed.bucket_ids)) == ("completed", "paid", 1)
    assert shopper.free == {"TOKEN": 4}
    assert shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, order.order_id, "paid")) == confirmed
    assert fault_of(shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, order.order_id, "paid twice"))) == "IDEMPOTENCY_CONFLICT"
    assert fault_of(shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, "ord-none", "paid"))) == "ITEM_UNKNOWN"
    assert fault_of(shopper.give_up(order)) == "NOT_POSSIBLE"


def test_an_order_that_nobody_pays_fails(shopper: Shopper) -> None:
    order = shopper.order("pack", Payment.EXTERNAL)
    shopper.pass_time(24 * HOUR)
    poke(shopper)
    assert isinstance(shopper.last_entries[0], OrderFailed)
    assert fault_of(shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, order.order_id, "too late"))) == "NOT_POSSIBLE"
    given_up = shopper.order("pack", Payment.EXTERNAL)
    shopper.give_up(given_up)
    assert fault_of(shopper.unchanged_by(ConfirmPayment(ACCOUNT_ID, given_up.order_id, "too late"))) == "NOT_POSSIBLE"
    assert shopper.free == {}


def test_the_phone_bill_pays_from_the_credit_line_that_comes_with_the_offering(shopper: Shopper) -> None:
    order = shopper.order("phone", Payment.PHONE_BILL)
    assert order.state == "completed"
    lines = [bucket for bucket in shopper.state.buckets.values() if bucket.postpaid]
    assert [(line.granted, line.consumed) for line in lines] == [(50 * UNIT, 9_900_000)]
    # The next month's line pays the next month.
    shopper.pass_time(31 * DAY)
    poke(shopper)
    lines = [bucket for bucket in shopper.state.buckets.values() if bucket.postpaid]
    assert [(line.consumed, line.expired, line.ended) for line in lines] == [(9_900_000, 40_100_000, True), (9_900_000, 0, False)]


def test_a_phone_bill_without_a_credit_line_is_asked_outside(shopper: Shopper) -> None:
    order = shopper.order("pack", Payment.PHONE_BILL)
    assert order.state == "awaiting_payment"
    assert shopper.confirm(order).state == "completed"


# Cycles


def test_a_subscription_renews_month_by_month_from_the_day_it_began(shopper: Shopper) -> None:
    go_to(shopper, "2026-01-31 10:00")
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("ten", Payment.PREPAID)
    ends = []
    for text in ("2026-02-28 10:00", "2026-03-31 10:00", "2026-04-30 10:00"):
        ends.append(shopper.state.subscriptions[order.subscription_id].cycle_end_us)
        go_to(shopper, text)
        assert ends[-1] == shopper.now_us
        poke(shopper)
        assert shopper.free["TOKEN"] == 10
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 4, "ten")
    assert sum(entry.amount for entry in shopper.entries if isinstance(entry, PriceCharged)) == 4 * 9_900_000


def test_three_days_of_standstill_are_caught_up_exactly(shopper: Shopper) -> None:
    """Each renewal takes effect at its own time, as if somebody had been there."""
    daily = for_sale("daily", allowance(10, rollover_cap=4 * UNIT), price=UNIT, cycle=DAILY)
    asleep, awake = Shopper(daily), Shopper(daily)
    for each in (asleep, awake):
        go_to(each, "2026-11-20 12:00")
        each.money(10, valid_for_us=400 * DAY)
        each.order("daily", Payment.PREPAID, key="the same")
    for _ in range(84):
        awake.pass_time(HOUR)
        poke(awake)
    asleep.pass_time(84 * HOUR)
    poke(asleep)
    cycles = [[(e.time_us, e.number) for e in each.entries if isinstance(e, CycleStarted)] for each in (asleep, awake)]
    assert cycles[0] == cycles[1]
    assert len(cycles[0]) == 5
    for each in (asleep, awake):
        # What rolled over yesterday has ended, today's comes on top.
        assert each.free == {"TOKEN": 14, CNY: 5}
    amounts = [
        sorted((bucket.granted, bucket.remaining, bucket.expired, bucket.valid_until_us) for bucket in each.state.buckets.values())
        for each in (asleep, awake)
    ]
    assert amounts[0] == amounts[1]


def test_a_calendar_cycle_that_begins_in_mid_month_costs_and_grants_its_share(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-16 18:00")
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("calendar", Payment.PREPAID)
    # 15 of 30 days.
    assert (order.amount, shopper.free) == (15 * UNIT, {CNY: 85, "TOKEN": 15})
    go_to(shopper, "2026-12-01 00:00")
    poke(shopper)
    assert shopper.free == {CNY: 55, "TOKEN": 30}


def test_what_is_left_rolls_over_once_up_to_its_cap(shopper: Shopper) -> None:
    shopper.money(200, valid_for_us=400 * DAY)
    shopper.order("thirty", Payment.PREPAID)
    shopper.event(usage(input=5))
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.free["TOKEN"] == 40
    # The older one burns first, and lives no third cycle.
    shopper.event(usage(input=1))
    assert sorted(bucket.remaining // UNIT for bucket in shopper.state.buckets.values() if bucket.unit == "TOKEN") == [9, 30]
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.free["TOKEN"] == 40


def test_an_idle_free_tier_costs_nothing_until_somebody_uses_it(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-20 12:00")
    order = shopper.order("free")
    for _ in range(3):
        shopper.pass_time(DAY)
        poke_by_timer(shopper)
    # Only the first day's bucket has ended; nothing was renewed, and nothing is due.
    assert shopper.state.next_due_us is None
    assert shopper.state_of_subscription(order.subscription_id)[1] == 1
    charging_id = shopper.open_call(2, 1)
    assert shopper.state_of_subscription(order.subscription_id)[1] == 4
    assert shopper.free == {"TOKEN": 2}
    assert shopper.release(charging_id, 2, usage(input=2, output=1)) == Settled("TOKEN", 3 * UNIT, 0)


def poke_by_timer(shopper: Shopper) -> None:
    """What the owner's clock does, of itself."""
    from services.accounting.core.due import due_entries

    shopper.rows.append((len(shopper.rows) + 1, []))
    for entry in due_entries(shopper.state, shopper.now_us, 0, used=False):
        shopper._write(entry)


def test_a_renewal_that_cannot_be_paid_waits_for_money_through_its_grace(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY, valid_for_us=400 * DAY)
    order = shopper.order("ten", Payment.PREPAID)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id) == ("suspended", 1, "ten")
    assert shopper.free.get("TOKEN", 0) == 0
    shopper.pass_time(DAY)
    # Not enough yet; then enough, and at once.
    shopper.grant(9_000_000, unit=CNY, valid_for_us=400 * DAY)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "suspended"
    shopper.grant(900_000, unit=CNY, valid_for_us=400 * DAY)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "ten")
    assert shopper.state.subscriptions[order.subscription_id].cycle_start_us == shopper.now_us
    assert shopper.free == {"TOKEN": 10, CNY: 0}


def test_a_renewal_that_is_never_paid_ends_the_subscription(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    order = shopper.order("ten", Payment.PREPAID)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    shopper.pass_time(3 * DAY)
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "ended"
    shopper.money(100)
    assert shopper.free == {CNY: 100}


def test_a_renewal_paid_outside_is_asked_for_and_begins_when_it_is_paid(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    shopper.pass_time(31 * DAY)
    poke(shopper)
    (waiting,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    assert (waiting.amount, waiting.subscription_id) == (9_900_000, order.subscription_id)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "suspended"
    shopper.pass_time(DAY)
    shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "second month"))
    assert shopper.state_of_subscription(order.subscription_id)[0] == "active"
    assert shopper.free == {"TOKEN": 10}


@pytest.mark.parametrize("grows", [False, True], ids=["same terms", "other terms"])
def test_a_renewal_on_a_phone_bill_elsewhere_is_asked_for_like_the_first_cycle(shopper: Shopper, grows: bool) -> None:
    order = shopper.confirm(shopper.order("ten", Payment.PHONE_BILL))
    if grows:
        shopper.change(order.subscription_id, "thirty", Payment.PHONE_BILL, at_once=False)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    (waiting,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    assert (waiting.payment, waiting.amount) == (Payment.PHONE_BILL, 26_900_000 if grows else 9_900_000)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "suspended"
    shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "second bill"))
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "thirty" if grows else "ten")
    assert shopper.state.subscriptions[order.subscription_id].payment_references == ("second bill",)


def test_a_renewal_that_a_credit_line_pays_after_all_is_not_asked_for_any_more(shopper: Shopper) -> None:
    order = shopper.confirm(shopper.order("ten", Payment.PHONE_BILL))
    shopper.pass_time(31 * DAY)
    poke(shopper)
    (waiting,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
    shopper.order("phone", Payment.PHONE_BILL)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "active"
    charged = [entry.amount for entry in shopper.entries if isinstance(entry, PriceCharged)]
    # Else the bill would have it twice.
    late = shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, "second bill"))
    assert fault_of(late) == "NOT_POSSIBLE"
    assert charged[-1] == 9_900_000


def test_a_change_that_waits_for_its_payment_outlives_a_renewal_that_is_paid(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    shopper.money(10)
    order = shopper.order("ten", Payment.PREPAID)
    go_to(shopper, "2026-11-30 12:00")
    change = shopper.change(order.subscription_id, "thirty", Payment.EXTERNAL)
    assert isinstance(change, Ordered)
    assert change.state == "awaiting_payment"
    go_to(shopper, "2026-12-01 01:00")
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "suspended"
    shopper.money(50)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "active"
    # Somebody may be paying for the change at this moment.
    assert shopper.state.orders[change.order_id].state == "awaiting_payment"


def test_a_line_that_renews_in_the_same_moment_pays_what_was_bought_before_it(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    line = shopper.order("phone", Payment.PHONE_BILL)
    shopper.order("ten", Payment.PHONE_BILL)
    # The line's subscription comes after the other one now.
    shopper.state.subscriptions[line.subscription_id] = shopper.state.subscriptions.pop(line.subscription_id)
    go_to(shopper, "2026-12-01 00:00")
    poke(shopper)
    assert not any(order.state == "awaiting_payment" for order in shopper.state.orders.values())
    assert [entry.amount for entry in shopper.last_entries if isinstance(entry, PriceCharged)] == [9_900_000, 9_900_000]
    assert not any(isinstance(entry, OrderFailed) for entry in shopper.last_entries)


def test_a_line_that_the_next_terms_bring_pays_what_renews_in_the_same_moment(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    plain = shopper.confirm(shopper.order("ten", Payment.PHONE_BILL), "first bill")
    later = shopper.confirm(shopper.order("ten", Payment.EXTERNAL))
    shopper.change(later.subscription_id, "phone", Payment.PHONE_BILL, at_once=False)
    go_to(shopper, "2026-12-01 00:00")
    poke(shopper)
    # A line that comes with a plan pays that plan's own price, too.
    assert {shopper.state_of_subscription(each.subscription_id)[0] for each in (plain, later)} == {"active"}
    assert not any(isinstance(entry, OrderPlaced) for entry in shopper.last_entries)
    assert [entry.amount for entry in shopper.last_entries if isinstance(entry, PriceCharged)] == [9_900_000, 9_900_000]


def test_each_renewal_that_is_paid_outside_is_an_order_of_its_own(shopper: Shopper) -> None:
    shopper.confirm(shopper.order("ten", Payment.PHONE_BILL), "first bill")
    for bill in ("second bill", "third bill"):
        shopper.pass_time(31 * DAY)
        poke(shopper)
        (waiting,) = [each for each in shopper.state.orders.values() if each.state == "awaiting_payment"]
        shopper.ask(ConfirmPayment(ACCOUNT_ID, waiting.order_id, bill))
    placed = [entry.order_id for entry in shopper.entries if isinstance(entry, OrderPlaced)]
    assert len(set(placed)) == 3


# Change and end


def test_an_upgrade_at_once_counts_what_was_paid_for_days_that_are_left(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("ten", Payment.PREPAID)
    shopper.event(usage(input=7))
    go_to(shopper, "2026-11-20 12:00")
    answer = shopper.change(order.subscription_id, "thirty", Payment.PREPAID)
    assert isinstance(answer, Ordered)
    # Of 30 days ten whole ones are left, a third; of ten tokens three are, which is less: 2.97 of 9.9.
    assert (answer.state, answer.amount) == ("completed", 26_900_000 - 2_970_000)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "thirty")
    assert shopper.free["TOKEN"] == 30
    paid = sum(entry.amount for entry in shopper.entries if isinstance(entry, PriceCharged))
    assert paid == 9_900_000 + 23_930_000


def test_a_downgrade_at_once_gives_back_what_is_over_as_money(shopper: Shopper) -> None:
    go_to(shopper, "2026-11-01 00:00")
    shopper.grant(26_900_000, unit=CNY)
    order = shopper.order("thirty", Payment.PREPAID)
    answer = shopper.change(order.subscription_id, "ten", Payment.PREPAID)
    assert isinstance(answer, Ordered)
    # 29 whole days of 30 are left.
    unused = 26_900_000 * 29 // 30
    assert answer.amount == 0
    assert sum(bucket.remaining for bucket in shopper.state.buckets.values() if bucket.unit == CNY) == unused - 9_900_000
    assert shopper.free["TOKEN"] == 10


def test_a_change_that_cannot_be_paid_changes_nothing(shopper: Shopper) -> None:
    shopper.grant(9_900_000, unit=CNY)
    order = shopper.order("ten", Payment.PREPAID)
    command = ChangeSubscription(ACCOUNT_ID, order.subscription_id, "thirty", Payment.PREPAID, at_once=True, idempotency_key="up")
    assert fault_of(shopper.unchanged_by(command)) == "PAYMENT_REQUIRED"
    command = ChangeSubscription(ACCOUNT_ID, "sub-none", "thirty", Payment.PREPAID, at_once=True, idempotency_key="up")
    assert fault_of(shopper.unchanged_by(command)) == "ITEM_UNKNOWN"
    command = ChangeSubscription(ACCOUNT_ID, order.subscription_id, "pack", Payment.PREPAID, at_once=True, idempotency_key="up")
    assert fault_of(shopper.unchanged_by(command)) == "NOT_POSSIBLE"


def test_a_change_at_the_cycle_s_end_leaves_the_running_cycle_alone(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("ten", Payment.PREPAID)
    answer = shopper.change(order.subscription_id, "thirty", Payment.PREPAID, at_once=False)
    assert isinstance(answer, Ordered)
    assert (answer.state, shopper.free["TOKEN"]) == ("completed", 10)
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id) == ("active", 1, "thirty")
    assert shopper.free["TOKEN"] == 30


def test_a_cancelled_subscription_ends_with_its_cycle(shopper: Shopper) -> None:
    shopper.money(100, valid_for_us=400 * DAY)
    order = shopper.order("ten", Payment.PREPAID)
    assert isinstance(shopper.cancel(order.subscription_id), Done)
    shopper.unchanged_by(CancelSubscription(ACCOUNT_ID, order.subscription_id, at_once=False))
    assert shopper.free["TOKEN"] == 10
    shopper.pass_time(31 * DAY)
    poke(shopper)
    assert shopper.state_of_subscription(order.subscription_id)[0] == "ended"
    assert "TOKEN" not in shopper.free
    shopper.unchanged_by(CancelSubscription(ACCOUNT_ID, order.subscription_id, at_once=True))


def test_a_session_keeps_what_it_holds_of_a_subscription_that_ends_at_once(shopper: Shopper) -> None:
    shopper.money(100)
    order = shopper.order("ten", Payment.PREPAID)
    charging_id = shopper.open_call(4, 2)
    shopper.cancel(order.subscription_id, at_once=True)
    assert shopper.release(charging_id, 2, usage(input=4, output=1)) == Settled("TOKEN", 5 * UNIT, 0)
    (bucket,) = [bucket for bucket in shopper.state.buckets.values() if bucket.unit == "TOKEN"]
    assert (bucket.consumed, bucket.expired, bucket.remaining) == (5 * UNIT, 5 * UNIT, 0)


# Two tariffs side by side


def test_quota_and_universal_mode_side_by_side_burn_in_order_whole_tokens_each(shopper: Shopper) -> None:
    """9 POINTs at 3 a token pay three tokens; the other seven are paid one TOKEN each."""
    shopper.grant(100 * UNIT, priority=200)
    shopper.order("universal")
    charging_id = shopper.open_call(5, 5)
    settled = shopper.release(charging_id, 2, usage(input=5, output=5))
    assert settled == Settled("POINT", 9 * UNIT, 0, (("TOKEN", 7 * UNIT, 0),))
    records = shopper.last_entries
    assert [(each.record_number, each.more_records, each.tariff.unit) for each in records] == [  # type: ignore[union-attr]
        (1, True, "POINT"),
        (2, False, "TOKEN"),
    ]
    assert [each.usage for each in records] == [usage(input=3), usage(input=2, output=5)]  # type: ignore[union-attr]
    # A repeat gets the same answer.
    assert shopper.release(charging_id, 2, usage(input=5, output=5)) == settled


def test_who_calls_a_model_that_the_plan_does_not_hold_is_told_so() -> None:
    shopper = Shopper(
        for_sale("small", allowance(5), model_ids=frozenset({"flat"})),
        for_sale("wide", allowance(4), model_ids=frozenset({"other"})),
    )
    shopper.order("small")
    assert message_of_refusal(shopper.ask(shopper.create_command(10, 100, model="other"))) == (
        "the account's plan does not hold model other: what is left, 5 TOKEN of small, pays for other models; call one of those, "
        "order an offering that holds other, or top up at least 74 TOKEN"
    )
    # With something for this model, too little of it is what is said; and money of one's own is no plan.
    shopper.order("wide")
    assert message_of_refusal(shopper.ask(shopper.create_command(10, 100, model="other"))) == ""
    # Nor is it said where another call holds half of what there is for it.
    shopper.open_call(2, 0, model="other")
    assert message_of_refusal(shopper.ask(shopper.create_command(10, 100, model="other"))) == ""
    poor = Shopper(TEN)
    poor.money(5)
    assert message_of_refusal(poor.ask(poor.create_command(10, 100))) == ""


def test_who_calls_another_model_is_told_all_that_is_left_now_and_nothing_that_is_over() -> None:
    packs = (
        for_sale(name, lasting(amount), cycle=None, model_ids=frozenset({"flat"})) for name, amount in (("small", 5), ("large", 7))
    )
    shopper = Shopper(*packs)
    for offering_id in ("large", "small", "small"):
        shopper.order(offering_id)
    left = "what is left, 7 TOKEN of large and 10 TOKEN of small, pays for other models"
    assert left in message_of_refusal(shopper.ask(shopper.create_command(10, 100, model="other")))
    shopper.pass_time(31 * DAY)
    assert message_of_refusal(shopper.ask(shopper.create_command(10, 100, model="other"))) == ""


def message_of_refusal(answer: object) -> str:
    assert isinstance(answer, Refused)
    return answer.message


def test_overage_goes_on_in_money_on_the_phone_bill_up_to_its_limit() -> None:
    money = {"flat": flat(EACH), "money": flat(EACH, CNY)}
    base = offering({"flat": flat(EACH)})
    phone = for_sale(
        "phone",
        allowance(10),
        allowance(50, CNY, allowance_id="line", postpaid=True, priority=900),
        price=UNIT,
        tariffs=money,
        payments=frozenset({Payment.PHONE_BILL}),
    )
    # One yuan a token, so that numbers stay small; the model is priced in both units.
    priced = phone._replace(
        schedules=tuple(
            schedule._replace(
                versions=(schedule.versions[0]._replace(rates={"flat": next(iter(schedule.versions[0].rates.values()))}),)
            )
            for schedule in phone.schedules
        )
    )
    shopper = Shopper(priced, base=base)
    shopper.order("phone", Payment.PHONE_BILL)
    charging_id = shopper.open_call(15, 5)
    assert shopper.release(charging_id, 2, usage(input=15, output=5)) == Settled("TOKEN", 10 * UNIT, 0, ((CNY, 10 * UNIT, 0),))
    # 39 yuan are left of the line; what goes beyond is owed in money.
    assert shopper.free == {"TOKEN": 0, CNY: 39}
    assert shopper.event(usage(input=40)) == Settled(CNY, 40 * UNIT, UNIT)


@pytest.mark.parametrize("money_first", [True, False])
def test_money_pays_for_use_beyond_an_allowance_however_early_it_would_burn(money_first: bool) -> None:
    tariff = flat(EACH)
    base = offering({"flat": tariff})
    schedules = tuple(Schedule(each.unit, (TariffVersion(0, {"flat": each}),)) for each in (tariff, flat(EACH, CNY)))
    shopper = Shopper(for_sale("plan", allowance(10)), base=base._replace(schedules=schedules))
    if money_first:
        shopper.grant(50 * UNIT, unit=CNY, priority=0)
    shopper.order("plan")
    if not money_first:
        shopper.grant(50 * UNIT, unit=CNY, priority=0)
    charging_id = shopper.open_call(5, 3)
    assert shopper.release(charging_id, 2, usage(input=5, output=3)) == Settled("TOKEN", 8 * UNIT, 0)
    assert shopper.free == {"TOKEN": 2, CNY: 50}
    charging_id = shopper.open_call(5, 0)
    assert shopper.release(charging_id, 2, usage(input=5)) == Settled("TOKEN", 2 * UNIT, 0, ((CNY, 3 * UNIT, 0),))
    assert shopper.free == {"TOKEN": 0, CNY: 47}


def test_a_notice_is_due_at_each_threshold_once(shopper: Shopper) -> None:
    noticed = Shopper(for_sale("ten", allowance(10, notice_percents=(50, 80, 100))))
    noticed.order("ten")
    percents = []
    for tokens in (4, 1, 2, 2, 1):
        noticed.event(usage(input=tokens))
        percents.append([entry.percent for entry in noticed.last_entries if isinstance(entry, NoticeReached)])
    assert percents == [[], [50], [], [80], [100]]


def test_the_journal_alone_makes_it_all_again(shopper: Shopper) -> None:
    shopper.money(500, valid_for_us=400 * DAY)
    order = shopper.order("thirty", Payment.PREPAID)
    shopper.order("pack", Payment.EXTERNAL)
    shopper.order("free")
    shopper.order("universal")
    charging_id = shopper.open_call(8, 4)
    shopper.pass_time(10 * DAY)
    shopper.change(order.subscription_id, "ten", Payment.PREPAID)
    shopper.release(charging_id, 2, usage(input=1))
    shopper.pass_time(40 * DAY)
    shopper.cancel(order.subscription_id)
    shopper.pass_time(40 * DAY)
    poke(shopper)
    assert state_of(replayed(shopper.rows)) == state_of(shopper.state)


def test_monthly_is_the_default_cycle_of_these_tests() -> None:
    assert TEN.terms is not None
    assert TEN.terms.cycle == MONTHLY
