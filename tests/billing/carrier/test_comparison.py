"""Reconciliation of the phone bill: nothing differs after honest work, and each kind of difference is named."""

from pathlib import Path
from typing import Any

import pytest

from services.billing.carrier.comparison import Comparison
from services.billing.carrier.demands import State
from services.billing.carrier.store import Statement
from services.billing.exporter import Exporter
from services.billing.items import Kind, PaidBy
from services.billing.journal import JournalReader
from services.billing.reconcile import Reconciler
from services.billing.sqlite_store import SqliteStore
from services.carrier_simulator.ledger import Payment
from tests.billing.carrier.bill import ACCOUNT, PRICE, Bill


async def differences(bill: Bill) -> list[str]:
    return await Comparison(bill.store, bill.carrier, bill.worker.planning).differences()


async def lived(bill: Bill) -> None:
    """A payment of an order, of a price on credit and of use, and a refund."""
    await bill.place()
    await bill.sell_on_credit(5_429_032)
    await bill.rounds()
    demand = next(each for each in await bill.demands() if each.order_id == "ord-1")
    paid = bill.item(Kind.PRICE, PRICE, PaidBy.PHONE_BILL, order_id="ord-1", remark=demand.payment_id)
    back = bill.item(Kind.CREDIT, -2_000_500, subscription_id="sub-1")
    await bill.export([paid, bill.item(Kind.USAGE, 2_500), back])
    await bill.rounds()
    bill.clock.time_us += bill.config.usage_interval_s * 1_000_000
    await bill.rounds(3)


async def alter(bill: Bill, query: str, *values: Any) -> None:
    await bill.database.run([Statement(query, values)], writes=True)


async def test_honest_work_has_no_difference(bill: Bill) -> None:
    assert await differences(bill) == []
    await lived(bill)
    assert await differences(bill) == []
    assert {each.state for each in await bill.demands()} == {State.SUCCEEDED}


async def test_what_goes_back_of_an_order_in_parts_of_a_thousandth_is_no_difference(bill: Bill) -> None:
    await bill.place()
    await bill.rounds()
    paid = bill.item(Kind.PRICE, PRICE, PaidBy.PHONE_BILL, order_id="ord-1", remark=(await bill.only()).payment_id)
    await bill.export([paid, bill.item(Kind.CREDIT, -2_003_333, PaidBy.PHONE_BILL, order_id="ord-1")])
    await bill.rounds()
    (left,) = await bill.store.uses_of(ACCOUNT)
    assert bill.billed_amount() + left.amount == PRICE - 2_003_333
    assert await differences(bill) == []


async def test_demands_under_way_are_no_difference(bill: Bill) -> None:
    bill.next(bill.paying, cut=True, carried_out=True)
    await bill.sell_on_credit()
    await bill.worker.round()
    assert await differences(bill) == []


async def test_a_payment_that_the_carrier_does_not_have_is_named(bill: Bill) -> None:
    await lived(bill)
    lost = bill.simulator.ledger.payments.pop(0)
    assert any("does not have" in each and lost.payment_id in each for each in await differences(bill))


async def test_a_payment_that_nobody_asked_for_is_named(bill: Bill) -> None:
    await lived(bill)
    last = bill.simulator.ledger.payments[-1]
    twin = Payment("pay-twin", last.client_id, last.phone_number, last.amount, "CNY", last.sent, last.created_us, "succeeded")
    bill.simulator.ledger.payments.append(twin)
    (difference,) = await differences(bill)
    assert "the carrier bills pay-twin" in difference


@pytest.mark.parametrize("status", ["cancelled", "denied"])
async def test_a_payment_that_is_otherwise_at_the_carrier_is_named(bill: Bill, status: str) -> None:
    await lived(bill)
    bill.simulator.ledger.payments[0].status = status
    assert any(f"billed here, {status} at the carrier" in each for each in await differences(bill))


async def test_another_amount_at_the_carrier_is_named(bill: Bill) -> None:
    await lived(bill)
    sent = bill.simulator.ledger.payments[0].sent["amountTransaction"]
    sent["paymentAmount"]["chargingInformation"]["amount"] = 1
    (difference,) = await differences(bill)
    assert "the carrier bills something else: it is about 1 CNY" in difference


async def test_a_refund_that_the_carrier_does_not_have_or_has_twice_is_named(bill: Bill) -> None:
    await lived(bill)
    (paid,) = [each for each in bill.simulator.ledger.payments if each.refunds]
    refund = paid.refunds.pop()
    (difference,) = await differences(bill)
    assert f"does not have {refund.refund_id}" in difference
    paid.refunds += [refund, type(refund)("ref-twin", "tokenline", refund.amount, refund.sent, refund.created_us, "succeeded")]
    (difference,) = await differences(bill)
    assert "gave back ref-twin" in difference
    paid.refunds.pop()
    refund.sent["amountTransaction"]["refundAmount"]["chargingInformation"]["amount"] = 1
    (difference,) = await differences(bill)
    assert "the carrier gave back something else: it is about another amount" in difference


async def test_a_price_that_is_not_asked_for_is_named(bill: Bill) -> None:
    await lived(bill)
    await alter(bill, "DELETE FROM carrier_demand WHERE source = 'item'")
    found = await differences(bill)
    assert any("5429000 of it should be asked for" in each for each in found)
    assert any("on its bill" in each for each in found)


async def test_use_that_is_lost_is_named(bill: Bill) -> None:
    await lived(bill)
    await alter(bill, "UPDATE carrier_use SET amount = amount - 1")
    (difference,) = await differences(bill)
    assert f"account {ACCOUNT}" in difference


async def test_use_of_two_currencies_adds_up_in_each(bill: Bill) -> None:
    await lived(bill)
    await bill.export([bill.item(Kind.USAGE, 300), bill.item(Kind.USAGE, 700)._replace(currency="USD")])
    await bill.worker.round()
    assert {use.currency for use in await bill.store.uses_of(ACCOUNT) if use.amount} == {"CNY", "USD"}
    assert await differences(bill) == []


@pytest.mark.parametrize("state", [State.CANCELLED, State.RETURNED, State.DENIED])
async def test_an_order_whose_payment_came_to_another_end_is_named(bill: Bill, state: State) -> None:
    await lived(bill)
    await alter(bill, f"UPDATE carrier_demand SET state = '{state}' WHERE source = 'order'")
    assert any("carried out, and its payment " in each and f" is {state}" in each for each in await differences(bill))


async def test_an_order_whose_payment_is_of_another_amount_is_named(bill: Bill) -> None:
    await lived(bill)
    await alter(bill, "UPDATE carrier_demand SET amount = amount - 1000 WHERE source = 'order'")
    assert any(f"it is {PRICE}, its payment {PRICE - 1_000}" in each for each in await differences(bill))


async def test_a_refund_of_two_payments_is_no_difference(bill: Bill) -> None:
    for _ in range(2):
        await bill.sell_on_credit()
        await bill.rounds()
    await bill.export([bill.item(Kind.CREDIT, -(PRICE + 1_000_000), subscription_id="sub-1")])
    await bill.rounds()
    assert bill.billed_amount() == PRICE - 1_000_000
    assert await differences(bill) == []


async def test_an_order_that_somebody_confirmed_without_a_payment_is_named(bill: Bill) -> None:
    await bill.export([bill.item(Kind.PRICE, PRICE, PaidBy.PHONE_BILL, order_id="ord-9", remark="by hand")])
    await bill.rounds()
    (difference,) = await differences(bill)
    assert "by hand, which is no payment of this phone bill" in difference


async def test_goods_that_were_delivered_on_credit_and_not_billed_are_named(bill: Bill) -> None:
    await bill.store.set_line(ACCOUNT, "+8613800000403")
    await bill.sell_on_credit()
    await bill.rounds()
    (difference,) = await differences(bill)
    assert "delivered on credit, and not billed: CARRIER_BILLING.PAYMENT_DENIED" in difference


async def test_reconciliation_tells_what_differs_on_the_phone_bill(
    bill: Bill, journal: JournalReader, store: SqliteStore, exporter: Exporter, folder: Path
) -> None:
    await lived(bill)
    compared = Comparison(bill.store, bill.carrier, bill.worker.planning)
    reconciler = Reconciler(journal, store, exporter, folder, compared)

    async def of_the_bill() -> list[str]:
        # What was exported here is of no journal, which is told too.
        return [each for each in (await reconciler.reconcile()).differences if each.startswith("phone bill: ")]

    assert await of_the_bill() == []
    lost = bill.simulator.ledger.payments.pop(0)
    assert any(lost.payment_id in each for each in await of_the_bill())


async def test_a_carrier_that_can_t_be_asked_is_a_difference(bill: Bill) -> None:
    await lived(bill)
    bill.next("retrievePayments", status=503, code="UNAVAILABLE")
    (difference,) = await differences(bill)
    assert "can't be asked" in difference
