"""Games with orders, changes, cancellations and payments: none of them makes what is sold cheaper."""

from typing import Any, Final

import pytest

from services.accounting.core.commands import Answer, ApplyDue, ConfirmPayment, Done, Failed, Ordered
from services.accounting.core.entries import OrderFailed
from services.accounting.core.terms import Payment
from tests.accounting.ledger import ACCOUNT_ID, DAY, HOUR, UNIT, fault_of, usage
from tests.accounting.shop import CALENDAR, CNY, Shopper, allowance, for_sale, go_to

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


# Changes and orders that wait


def test_one_change_waits_at_a_time(shopper: Shopper) -> None:
    order = shopper.order("small", Payment.PREPAID)
    waiting = changed(shopper, order, "large", Payment.EXTERNAL)
    assert waiting.state == "awaiting_payment"
    for at_once in (True, False):
        assert refusal(shopper, order, "middle", at_once=at_once) == (
            f"order {waiting.order_id} of subscription {order.subscription_id} waits for its payment; pay it or cancel it first"
        )
    # One of another subscription waits beside it.
    beside = shopper.order("small", Payment.PREPAID)
    assert changed(shopper, beside, "large", Payment.EXTERNAL).state == "awaiting_payment"
    shopper.give_up(waiting)
    assert changed(shopper, order, "middle").state == "completed"


def test_a_change_that_is_paid_when_it_costs_more_is_refused_and_the_payment_named(shopper: Shopper) -> None:
    order = shopper.order("small", Payment.PREPAID)
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
    order = shopper.order("small", Payment.PREPAID)
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
