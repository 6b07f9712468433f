"""Prices that went back: the audit adds them up, the journal tells of them, and a restart knows them."""

from services.accounting.core.commands import (
    ChangeSubscription,
    ChargeEvent,
    Ordered,
    PlaceOrder,
    Provenance,
    RefundPurchase,
    Returned,
)
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import Payment
from services.accounting.rpc.account import account_message
from services.accounting.rpc.journal import journal_row_messages
from tests.accounting.ledger import ACCOUNT_ID, EACH, UNIT, catalog_of, flat, offering, usage
from tests.accounting.owners import Desk, in_virtual_time
from tests.accounting.shop import CNY, allowance, for_sale
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

YUAN = pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="CNY")


def catalog() -> ChargingCatalog:
    line = allowance(50, CNY, allowance_id="line", postpaid=True)
    tariffs = {"flat": flat(EACH), "money": flat(EACH, CNY)}
    return catalog_of(
        offering({"flat": flat(EACH)}),
        for_sale("small", allowance(10), line, price=9 * UNIT, tariffs=tariffs),
        for_sale("large", allowance(80), line, price=90 * UNIT // 2, tariffs=tariffs),
    )


async def bought(desk: Desk) -> Ordered:
    """A large package on the phone bill, with three yuan of use."""
    await desk.start(catalog=catalog(), partitions=1)
    await desk.open()
    order = await desk.ask(PlaceOrder(ACCOUNT_ID, "large", Payment.PHONE_BILL, "large"))
    assert isinstance(order, Ordered), order
    charging_id = desk.create(1).charging_id
    await desk.ask(ChargeEvent(ACCOUNT_ID, charging_id, 1, "money", "key-1", "mbr-1", usage(3), Provenance.VENDOR, ()))
    return order


async def told(desk: Desk) -> list[pb.PriceReturned]:
    """What the journal says went back."""
    rows = await desk.store.read_rows(0, 0, 1_000_000)
    messages = [message for row in rows for message in journal_row_messages(row)]
    return [message.price_returned for message in messages if message.HasField("price_returned")]


@in_virtual_time
async def test_what_a_change_gave_back_adds_up_and_is_told(desk: Desk) -> None:
    order = await bought(desk)
    change = ChangeSubscription(ACCOUNT_ID, order.subscription_id, "small", Payment.PHONE_BILL, True, "small")
    answer = await desk.ask(change)
    assert isinstance(answer, Ordered), answer
    assert answer.returned is not None
    amount = answer.returned.amount
    assert 33 * UNIT < amount < 36 * UNIT
    await desk.audit()
    account = await desk.account()
    (line, fresh) = [bucket for bucket in account.buckets.values() if bucket.postpaid]
    assert (line.consumed, line.expired, fresh.consumed) == (48 * UNIT - amount, 2 * UNIT + amount, 0)
    back = pb.Returned(unit=YUAN, amount=amount)
    assert await told(desk) == [
        pb.PriceReturned(
            purchase_id=order.subscription_id,
            order_id=answer.order_id,
            offering_id="large",
            returned=back,
            payment_method=registry_pb2.PAYMENT_METHOD_PHONE_BILL,
            credits=[pb.BucketAmount(bucket_id=line.bucket_id, amount=amount)],
            reason="what was paid for days that are left",
        )
    ]
    assert [each.returned for each in account_message(account).orders] == [pb.Returned(), back]
    # A repeat is told the same, by the next owner too.
    await desk.kill()
    await desk.start(catalog=catalog(), partitions=1)
    again = await desk.ask(change)
    assert isinstance(again, Ordered), again
    assert (again.order_id, again.state, again.returned) == (answer.order_id, "completed", answer.returned)
    await desk.audit()


@in_virtual_time
async def test_a_refund_adds_up_and_its_repeat_is_known_after_a_restart(desk: Desk) -> None:
    order = await bought(desk)
    refund = RefundPurchase(ACCOUNT_ID, order.subscription_id, "moved away", "refund")
    answer = await desk.ask(refund)
    assert isinstance(answer, Returned), answer
    assert (answer.unit, answer.outside) == (CNY, 0)
    (line,) = [bucket for bucket in (await desk.account()).buckets.values() if bucket.postpaid]
    assert line.consumed == 48 * UNIT - answer.amount
    assert [(each.reason, each.order_id) for each in await told(desk)] == [("moved away", "")]
    await desk.audit()
    await desk.kill()
    await desk.start(catalog=catalog(), partitions=1)
    assert await desk.ask(refund) == answer
    assert len(await told(desk)) == 1
    await desk.audit()
