"""A demand's way to its end at a carrier that behaves, refuses, or errs: money never doubles, and nothing is forgotten."""

from typing import Any, Final

import pytest

from services.billing.carrier.comparison import Comparison
from services.billing.carrier.demands import State, of_order
from services.billing.carrier.worker import ask_again
from services.billing.items import Kind, PaidBy
from services.runtime.errors import ServiceError
from tests.billing.carrier.bill import ACCOUNT, LATER_US, LINE, PRICE, Bill

_AMOUNT: Final = "amountTransaction.paymentAmount.chargingInformation.amount"
# JSON that is nested deeper than anybody reads.
_DEEP: Final = '{"a":' * 100_000


async def test_an_order_by_phone_bill_is_billed_once_and_carried_out(bill: Bill) -> None:
    await bill.place()
    await bill.rounds()
    demand = await bill.only()
    (payment,) = bill.billed()
    assert (demand.state, demand.payment_id, demand.amount) == (State.SUCCEEDED, payment.payment_id, PRICE)
    assert bill.orders.states == {"ord-1": "completed"}
    assert bill.orders.references == {"ord-1": payment.payment_id}
    assert bill.billed_amount() == PRICE


async def test_a_price_that_a_credit_line_paid_is_billed(bill: Bill) -> None:
    await bill.sell_on_credit()
    await bill.rounds()
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE


async def test_an_order_that_was_confirmed_by_its_payment_is_not_billed_again(bill: Bill) -> None:
    await bill.place()
    await bill.rounds()
    paid = bill.item(Kind.PRICE, PRICE, PaidBy.PHONE_BILL, order_id="ord-1", remark=(await bill.only()).payment_id)
    await bill.export([paid])
    await bill.rounds()
    assert len(await bill.demands()) == 1
    assert bill.billed_amount() == PRICE


@pytest.mark.parametrize(
    "behaviour",
    [
        {"cut": True},
        {"cut": True, "carried_out": True},
        {"status": 500, "code": "INTERNAL"},
        {"status": 503, "code": "UNAVAILABLE", "carried_out": True},
        {"status": 429, "code": "TOO_MANY_REQUESTS", "retry_after_s": 30},
        {"status": 401, "code": "UNAUTHENTICATED"},
        {"status": 403, "code": "PERMISSION_DENIED"},
        {"delay_ms": 2_500, "carried_out": True},
        {"body": "<html>ok</html>", "carried_out": True},
        {"body": "{}", "carried_out": True},
        {"changes": {"paymentStatus": "maybe"}, "carried_out": True},
        {"changes": {_AMOUNT: 99}, "carried_out": True},
        {"changes": {"amountTransaction.clientCorrelator": "another"}, "carried_out": True},
        {"changes": {"paymentId": ""}, "carried_out": True},
        {"changes": {"paymentId": "pay-1\n"}, "carried_out": True},
        {"changes": {"paymentId": ".."}, "carried_out": True},
        {"changes": {_AMOUNT: "1e999999"}, "carried_out": True},
        {"status": 400, "code": "INVALID_ARGUMENT", "carried_out": True},
        {"changes": {_AMOUNT: "9" * 19}, "carried_out": True},
        {"changes": {_AMOUNT: "1e-19"}, "carried_out": True},
        {"changes": {_AMOUNT: "sNaN"}, "carried_out": True},
        {"changes": {_AMOUNT: "Infinity"}, "carried_out": True},
        {"changes": {"validationInfo": {"authorizationId": "\0"}}, "carried_out": True},
        {"body": _DEEP, "carried_out": True},
        {"status": 409, "code": "ALREADY_EXISTS"},
    ],
    ids=lambda behaviour: str(behaviour)[:80],
)
async def test_an_answer_that_is_missing_or_doubtful_bills_once(bill: Bill, behaviour: dict[str, Any]) -> None:
    await bill.place()
    bill.next(bill.paying, **behaviour)
    await bill.rounds()
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE
    assert len(bill.simulator.ledger.payments) == 1


async def test_after_a_lost_answer_the_carrier_is_looked_at_before_it_is_asked_again(bill: Bill) -> None:
    await bill.place()
    bill.next(bill.paying, cut=True, carried_out=True)
    await bill.worker.round()
    assert (await bill.only()).state == State.ASKING
    bill.clock.time_us += 3_000_000
    await bill.worker.round()
    assert bill.simulator.served[bill.paying] == 1
    assert bill.simulator.served["retrievePayments"] == 1


async def test_a_carrier_is_asked_again_no_sooner_than_it_says(bill: Bill) -> None:
    await bill.place()
    bill.next(bill.paying, status=429, code="TOO_MANY_REQUESTS", retry_after_s=30)
    await bill.worker.round()
    for seconds, asked in ((29, 1), (1, 2)):
        bill.clock.time_us += seconds * 1_000_000
        await bill.worker.round()
        assert bill.simulator.served[bill.paying] == asked


async def test_a_correlator_that_the_carrier_knows_already_is_no_refusal(bill: Bill) -> None:
    bill.simulator.ledger.answers_repeats = False
    await bill.place()
    # Lost twice: the answer, and the list that would have told.
    bill.next(bill.paying, cut=True, carried_out=True)
    bill.next("retrievePayments", body="[]")
    await bill.rounds()
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE


async def test_a_token_that_the_carrier_forgot_is_replaced(bill: Bill) -> None:
    await bill.place()
    await bill.rounds()
    bill.simulator.tokens.forget()
    await bill.place("ord-2")
    await bill.rounds()
    assert [each.state for each in await bill.demands()] == [State.SUCCEEDED, State.SUCCEEDED]


@pytest.mark.parametrize("ending", ["403", "404", "422", "402"])
async def test_a_refused_order_ends_and_says_why(bill: Bill, ending: str) -> None:
    await bill.store.set_line(ACCOUNT, f"+8613800000{ending}")
    await bill.place()
    await bill.rounds()
    demand = await bill.only()
    assert demand.state == State.DENIED
    assert demand.reason
    assert bill.orders.states == {"ord-1": "failed"}
    assert bill.billed() == []
    assert (bill.worker.open, bill.worker.failed) == (0, 1)


async def test_what_is_reserved_still_after_its_confirmation_is_not_billed_yet(two_steps: Bill) -> None:
    bill = two_steps
    bill.next("retrievePayment", times=3, carried_out=True, changes={"paymentStatus": "reserved"})
    await bill.place()
    await bill.worker.round()
    assert bill.simulator.served["confirmPayment"] == 1
    assert (await bill.only()).state == State.CONFIRMING
    await bill.rounds()
    assert (await bill.only()).state == State.SUCCEEDED


async def test_what_the_carrier_bills_although_it_shall_be_cancelled_goes_back(two_steps: Bill) -> None:
    bill = two_steps
    await bill.place()
    bill.next(bill.paying, cut=True, carried_out=True)
    await bill.worker.round()
    bill.orders.states["ord-1"] = "failed"
    bill.next("cancelPayment", status=503, code="UNAVAILABLE")
    bill.clock.time_us += LATER_US
    await bill.worker.round()
    assert (await bill.only()).state == State.CANCELLING
    bill.simulator.ledger.payments[0].status = "succeeded"
    await bill.rounds()
    assert bill.billed_amount() == 0
    assert {each.state for each in await bill.demands()} == {State.RETURNED, State.SUCCEEDED}


async def test_a_payment_that_is_done_later_is_waited_for(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000202")
    await bill.place()
    await bill.worker.round()
    assert (await bill.only()).state == State.PROCESSING
    await bill.rounds(12)
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE


@pytest.mark.parametrize(
    "behaviour",
    [{"status": 404, "code": "NOT_FOUND"}, {"status": 400, "code": "INVALID_ARGUMENT"}, {"body": _DEEP}],
    ids=lambda each: str(each)[:40],
)
async def test_a_payment_that_the_carrier_does_not_show_is_looked_at_again(bill: Bill, behaviour: dict[str, Any]) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000202")
    await bill.place()
    bill.next("retrievePayment", times=2, **behaviour)
    await bill.rounds()
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE


async def test_a_reservation_that_the_carrier_ended_is_not_carried_out(two_steps: Bill) -> None:
    bill = two_steps
    await bill.place()
    await bill.store.add([of_order(each) for each in await bill.store.orders(0)])
    waits = await bill.only()
    told = await bill.carrier.pay(waits._replace(phone_number=LINE), reserves=True)
    await bill.store.move(waits, waits.to(State.RESERVED, phone_number=LINE, payment_id=told.payment_id))
    bill.simulator.ledger.payments[0].status = "cancelled"
    await bill.rounds()
    assert ((await bill.only()).state, bill.orders.states) == (State.DENIED, {"ord-1": "failed"})


async def test_the_words_of_the_carrier_are_told_without_what_no_database_takes(bill: Bill) -> None:
    await bill.place()
    bill.next(bill.paying, status=422, code="OUT\0OF\nHAND")
    await bill.rounds()
    assert (await bill.only()).reason == "OUT OF HAND: As the simulator was told."


async def test_an_order_that_ended_meanwhile_costs_nothing(bill: Bill) -> None:
    await bill.place()
    bill.next(bill.paying, cut=True, carried_out=True)
    await bill.worker.round()
    bill.orders.states["ord-1"] = "failed"
    await bill.rounds(12)
    assert bill.billed_amount() == 0
    assert all(not each.is_open for each in await bill.demands())
    wanted = {State.CANCELLED} if bill.config.steps == "two" else {State.RETURNED, State.SUCCEEDED}
    assert {each.state for each in await bill.demands()} == wanted


async def test_an_order_that_ended_before_is_not_asked_for(bill: Bill) -> None:
    await bill.place()
    bill.orders.states["ord-1"] = "failed"
    await bill.rounds()
    assert (await bill.only()).state == State.CANCELLED
    assert bill.simulator.ledger.payments == []


async def test_an_account_without_a_line_waits_for_one(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "")
    await bill.place()
    await bill.worker.round()
    demand = await bill.only()
    assert (demand.state, bill.simulator.ledger.payments) == (State.WAITING, [])
    assert "carrier line" in demand.reason
    await bill.store.set_line(ACCOUNT, "+8613800000001")
    await bill.worker.round()
    assert (await bill.only()).state == State.SUCCEEDED


async def test_two_payments_of_one_demand_are_disputed(bill: Bill) -> None:
    await bill.place()
    bill.next(bill.paying, cut=True, carried_out=True, twice=True)
    await bill.rounds()
    demand = await bill.only()
    assert demand.state == State.DISPUTED
    assert "2 payments" in demand.reason
    assert bill.simulator.served[bill.paying] == 1


async def test_use_of_a_credit_line_is_added_up_and_what_is_less_than_a_thousandth_stays(bill: Bill) -> None:
    await bill.export([bill.item(Kind.CREDIT_LINE, 0), bill.item(Kind.USAGE, 880)])
    await bill.export([bill.item(Kind.USAGE, 1_320), bill.item(Kind.USAGE, 700, PaidBy.DEBT)])
    await bill.worker.round()
    assert await bill.demands() == []
    bill.clock.time_us += bill.config.usage_interval_s * 1_000_000
    await bill.rounds(2)
    assert (await bill.only()).amount == 2_000
    (left,) = await bill.store.uses_of(ACCOUNT)
    assert (left.amount, left.number) == (200, 2)
    await bill.export([bill.item(Kind.USAGE, 900)])
    await bill.rounds(2)
    assert len(await bill.demands()) == 1
    bill.clock.time_us += bill.config.usage_interval_s * 1_000_000
    await bill.rounds(2)
    assert bill.billed_amount() == 3_000


async def test_use_below_a_thousandth_waits_until_it_is_one(bill: Bill) -> None:
    await bill.export([bill.item(Kind.CREDIT_LINE, 0), bill.item(Kind.USAGE, 999)])
    for demands in (0, 1):
        await bill.worker.round()
        bill.clock.time_us += bill.config.usage_interval_s * 1_000_000
        await bill.rounds(2)
        assert [each.amount for each in await bill.demands()] == [1_000] * demands
        await bill.export([bill.item(Kind.USAGE, 1)])
    assert bill.billed_amount() == 1_000


async def test_an_account_that_accounting_has_trouble_with_stops_no_other(bill: Bill) -> None:
    await bill.store.set_line("acct-2", LINE)
    bill.orders.unreachable = ACCOUNT
    await bill.place("ord-1")
    await bill.place("ord-2", account_id="acct-2")
    await bill.rounds()
    assert bill.orders.states == {"ord-1": "awaiting_payment", "ord-2": "completed"}
    bill.orders.unreachable = ""
    await bill.rounds()
    assert bill.orders.states == {"ord-1": "completed", "ord-2": "completed"}
    assert bill.billed_amount() == 2 * PRICE


async def test_a_price_with_parts_of_a_thousandth_loses_nothing(bill: Bill) -> None:
    await bill.sell_on_credit(5_429_032)
    await bill.rounds()
    (left,) = await bill.store.uses_of(ACCOUNT)
    assert bill.billed_amount() + left.amount == 5_429_032


async def test_a_price_that_goes_back_is_refunded(bill: Bill) -> None:
    await bill.sell_on_credit()
    await bill.rounds()
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1", offering_id="phone")])
    await bill.rounds()
    assert bill.billed_amount() == PRICE - 4_000_000
    assert [each.state for each in await bill.demands()] == [State.SUCCEEDED, State.SUCCEEDED]


async def test_a_payment_outside_that_goes_back_is_refunded(bill: Bill) -> None:
    await bill.place()
    await bill.rounds()
    await bill.export([bill.item(Kind.CREDIT, -PRICE, PaidBy.PHONE_BILL, order_id="ord-1")])
    await bill.rounds()
    assert bill.billed_amount() == 0


@pytest.mark.parametrize(
    "behaviour",
    [
        {"cut": True},
        {"cut": True, "carried_out": True},
        {"status": 500, "code": "INTERNAL", "carried_out": True},
        {"body": "nothing", "carried_out": True},
        {"body": _DEEP, "carried_out": True},
        {"changes": {"amountTransaction.refundAmount.chargingInformation.amount": 0.001}, "carried_out": True},
        {"status": 400, "code": "INVALID_ARGUMENT", "carried_out": True},
        {"status": 409, "code": "ALREADY_EXISTS"},
        {"status": 422, "code": "CARRIER_BILLING_REFUND.INVALID_PAYMENT_STATUS"},
    ],
    ids=lambda behaviour: str(behaviour)[:80],
)
async def test_a_refund_goes_back_once_whatever_the_answer(bill: Bill, behaviour: dict[str, Any]) -> None:
    await bill.sell_on_credit()
    # Few, so that the carrier knows the token still.
    await bill.rounds(3)
    bill.next("createRefund", **behaviour)
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds()
    assert bill.billed_amount() == PRICE - 4_000_000
    assert {each.state for each in await bill.demands()} == {State.SUCCEEDED}
    assert len(bill.simulator.ledger.payments[0].refunds) == 1


async def test_after_a_lost_answer_to_a_refund_the_carrier_is_looked_at_before_it_is_asked_again(bill: Bill) -> None:
    await bill.sell_on_credit()
    # Few, so that the carrier knows the token still.
    await bill.rounds(3)
    bill.next("createRefund", cut=True, carried_out=True)
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds()
    assert (bill.simulator.served["createRefund"], bill.billed_amount()) == (1, PRICE - 4_000_000)


async def test_a_carrier_that_was_away_for_long_is_asked_within_ten_minutes(bill: Bill) -> None:
    bill.next(bill.paying, cut=True, times=12)
    await bill.place()
    for _ in range(13):
        await bill.worker.round()
        bill.clock.time_us += 600 * 1_000_000
    assert bill.billed_amount() == PRICE


async def test_a_refund_that_the_carrier_does_not_show_is_looked_at_again(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000407")
    await bill.sell_on_credit()
    await bill.rounds()
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    bill.next("retrieveRefund", status=404, code="NOT_FOUND")
    await bill.rounds()
    assert (await bill.demands())[-1].state == State.DENIED


async def test_a_refund_waits_for_its_payment(bill: Bill) -> None:
    bill.next(bill.paying, cut=True, times=3)
    await bill.sell_on_credit()
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds(20)
    assert bill.billed_amount() == PRICE - 4_000_000


async def test_a_refund_takes_from_several_payments_what_each_has_left(bill: Bill) -> None:
    for number in (1, 2):
        price = bill.item(Kind.RENEWAL, 3_000_000, order_id=f"ord-{number}", subscription_id="sub-1")
        await bill.export([bill.item(Kind.CREDIT_LINE, 0), price])
        await bill.rounds(2)
    await bill.export([bill.item(Kind.CREDIT, -5_000_000, subscription_id="sub-1")])
    await bill.rounds()
    assert bill.billed_amount() == 1_000_000
    assert sorted(each.amount for each in await bill.demands() if each.is_refund) == [2_000_000, 3_000_000]
    await bill.export([bill.item(Kind.CREDIT, -2_000_000, subscription_id="sub-1")])
    await bill.rounds()
    assert bill.billed_amount() == 0
    assert [each.amount for each in await bill.demands() if each.state == State.DENIED] == [1_000_000]


async def test_a_refund_of_what_was_never_billed_gives_nothing_back(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000403")
    await bill.sell_on_credit()
    await bill.export([bill.item(Kind.CREDIT, -PRICE, subscription_id="sub-1")])
    await bill.rounds()
    assert [each.state for each in await bill.demands()] == [State.DENIED, State.DENIED]
    assert bill.simulator.served.get("createRefund", 0) == 0


async def test_what_was_denied_is_asked_for_again_under_a_new_name(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000403")
    await bill.sell_on_credit()
    await bill.rounds()
    denied = await bill.only()
    await bill.store.set_line(ACCOUNT, LINE)
    anew = await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert anew.demand_id != denied.demand_id
    await bill.rounds()
    assert [each.state for each in await bill.demands() if each.demand_id == anew.demand_id] == [State.SUCCEEDED]
    assert bill.billed_amount() == PRICE
    assert await Comparison(bill.store, bill.carrier, bill.worker.planning).differences() == []
    for name, message in ((denied.demand_id, "is cancelled"), (anew.demand_id, "is succeeded"), ("pay-none", "nothing is asked")):
        with pytest.raises(ServiceError, match=message):
            await ask_again(bill.store, bill.carrier, name)
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds()
    assert bill.billed_amount() == PRICE - 4_000_000


async def test_a_refund_that_was_denied_is_asked_for_again(bill: Bill) -> None:
    await bill.sell_on_credit()
    await bill.rounds()
    bill.next("createRefund", status=403, code="CARRIER_BILLING_REFUND.REFUND_DENIED")
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds()
    (denied,) = [each for each in await bill.demands() if each.state == State.DENIED]
    await ask_again(bill.store, bill.carrier, denied.demand_id)
    await bill.rounds()
    assert bill.billed_amount() == PRICE - 4_000_000
    assert await Comparison(bill.store, bill.carrier, bill.worker.planning).differences() == []


async def test_a_payment_that_the_carrier_denied_and_has_is_billed_once(bill: Bill) -> None:
    # It says 403, and has done what was asked.
    bill.next(bill.paying, status=403, code="CARRIER_BILLING.PAYMENT_DENIED", carried_out=True)
    await bill.sell_on_credit()
    await bill.rounds()
    denied = await bill.only()
    assert denied.state == State.DENIED
    bill.next("retrievePayments", status=503, code="UNAVAILABLE")
    with pytest.raises(ServiceError, match="nobody knows whether the carrier has"):
        await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert await bill.only() == denied
    kept = await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert (kept.demand_id, kept.state) == (denied.demand_id, State.ASKING)
    await bill.rounds()
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE
    assert await Comparison(bill.store, bill.carrier, bill.worker.planning).differences() == []


async def test_a_payment_that_the_carrier_denied_and_has_twice_is_not_asked_for_a_third_time(bill: Bill) -> None:
    bill.next(bill.paying, status=403, code="CARRIER_BILLING.PAYMENT_DENIED", carried_out=True, twice=True)
    await bill.sell_on_credit()
    await bill.rounds()
    denied = await bill.only()
    with pytest.raises(ServiceError, match=r"the carrier has 2 payments .* settle it with the carrier"):
        await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert await bill.only() == denied


async def test_a_refund_that_the_carrier_denied_and_gave_is_given_once(bill: Bill) -> None:
    await bill.sell_on_credit()
    # Few, so that the carrier knows the token still.
    await bill.rounds(3)
    bill.next("createRefund", status=403, code="CARRIER_BILLING_REFUND.REFUND_DENIED", carried_out=True)
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds()
    (denied,) = [each for each in await bill.demands() if each.state == State.DENIED]
    assert bill.billed_amount() == PRICE - 4_000_000
    kept = await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert (kept.demand_id, kept.state) == (denied.demand_id, State.ASKING)
    await bill.rounds()
    assert {each.state for each in await bill.demands()} == {State.SUCCEEDED}
    assert bill.billed_amount() == PRICE - 4_000_000
    assert await Comparison(bill.store, bill.carrier, bill.worker.planning).differences() == []


async def test_what_the_carrier_keeps_as_denied_is_asked_for_under_a_new_name(bill: Bill) -> None:
    # This line's payments are billed, and refunds of them are taken and denied later.
    await bill.store.set_line(ACCOUNT, "+8613800000407")
    await bill.sell_on_credit()
    await bill.rounds()
    await bill.export([bill.item(Kind.CREDIT, -4_000_000, subscription_id="sub-1")])
    await bill.rounds()
    (denied,) = [each for each in await bill.demands() if each.state == State.DENIED]
    assert await bill.carrier.find_refund(denied)
    anew = await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert (anew.demand_id != denied.demand_id, anew.state) == (True, State.WAITING)


@pytest.mark.parametrize("status", ["cancelled", "denied"])
async def test_a_payment_that_the_carrier_has_and_bills_to_nobody_is_asked_for_under_a_new_name(bill: Bill, status: str) -> None:
    bill.next(bill.paying, status=403, code="CARRIER_BILLING.PAYMENT_DENIED", carried_out=True)
    await bill.sell_on_credit()
    await bill.rounds()
    denied = await bill.only()
    bill.simulator.ledger.payments[0].status = status
    anew = await ask_again(bill.store, bill.carrier, denied.demand_id)
    assert (anew.demand_id != denied.demand_id, anew.state) == (True, State.WAITING)
    await bill.rounds()
    assert bill.billed_amount() == PRICE


async def test_a_denied_payment_of_an_order_is_not_asked_for_again(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000403")
    await bill.place()
    await bill.rounds()
    with pytest.raises(ServiceError, match="let order ord-1 be placed again"):
        await ask_again(bill.store, bill.carrier, (await bill.only()).demand_id)


async def test_words_of_the_carrier_bring_no_control_characters_along(bill: Bill) -> None:
    bill.next(bill.paying, status=403, body='{"status": 403, "code": "NO\\u0000", "message": "a\\nb\\u001b[31m' + "x" * 900 + '"}')
    await bill.place()
    await bill.rounds()
    demand = await bill.only()
    assert (demand.state, demand.reason[:14]) == (State.DENIED, "NO : a b [31mx")
    assert len(demand.reason) <= 400
