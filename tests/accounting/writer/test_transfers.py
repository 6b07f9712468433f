"""Transfers between accounts, as the sender's owner sees to them: they arrive after their commit, once, or come back."""

import asyncio

import pytest

from services.accounting.core.commands import (
    Failed,
    Fault,
    GrantBucket,
    OpenAccount,
    Ordered,
    PlaceOrder,
    ReceiveTransfer,
    SendTransfer,
    TransferView,
)
from services.accounting.core.entries import BucketGranted
from services.accounting.core.terms import Payment
from services.accounting.journal.audit import Findings
from services.accounting.writer.asking import ask
from services.partitions import partition_of
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, UNIT, catalog_of, flat, offering
from tests.accounting.owners import Desk, in_virtual_time
from tests.accounting.shop import CNY, for_sale, lasting

CATALOG = catalog_of(offering({"flat": flat(EACH)}), for_sale("gift", lasting(10, transferable=True), cycle=None))
GETTER_ID = "acct-9876543210"


class Carrier:
    """The way to the receiver's owner, which answers with `fault` for as long as there is one."""

    def __init__(self, desk: Desk, fault: Fault | None = Fault.UNAVAILABLE) -> None:
        self._desk = desk
        self.fault = fault
        self.asked = 0

    async def deliver(self, command: ReceiveTransfer) -> Failed | None:
        self.asked += 1
        return Failed(self.fault, "away") if self.fault is not None else await self._desk.owner.receive(command)


async def opened(desk: Desk, carrier: Carrier | None = None, *, giver: str = ACCOUNT_ID, getter: str = GETTER_ID) -> str:
    """Two accounts; the ID of what the first one can give away."""
    await desk.start(catalog=CATALOG, deliver=carrier.deliver if carrier else None)
    await desk.open(account_id=giver)
    await desk.open(account_id=getter)
    ordered = await desk.ask(PlaceOrder(giver, "gift", Payment.FREE, "order"))
    assert isinstance(ordered, Ordered)
    return ordered.bucket_ids[0]


def gift(bucket_id: str, key: str = "gift", *, to: str = GETTER_ID) -> SendTransfer:
    return SendTransfer(ACCOUNT_ID, to, bucket_id, 4 * UNIT, key)


async def sent_gift(desk: Desk, fault: Fault = Fault.UNAVAILABLE) -> Carrier:
    """A gift of 4 on its way, to an owner that is away."""
    carrier = Carrier(desk, fault)
    await desk.ask(gift(await opened(desk, carrier)))
    await asyncio.sleep(10)
    assert carrier.asked > 2
    assert await states_and_arrived(desk) == (["in_transit"], [])
    return carrier


async def states_and_arrived(desk: Desk) -> tuple[list[str], list[int]]:
    sender, receiver = await desk.account(), await desk.account(GETTER_ID)
    return [each.state for each in sender.transfers.values()], [each.remaining for each in receiver.buckets.values()]


@in_virtual_time
async def test_an_audit_counts_what_is_in_transit_by_unit(desk: Desk) -> None:
    carrier = await sent_gift(desk)
    found = await desk.audit()
    assert found.in_transit == {"TOKEN": 4 * UNIT}
    found.add(Findings(in_transit={CNY: 7, "TOKEN": 1}))
    assert found.in_transit == {"TOKEN": 4 * UNIT + 1, CNY: 7}
    carrier.fault = None
    await asyncio.sleep(10)
    assert (await desk.audit()).in_transit == {}


# Only what is committed arrives


@in_virtual_time
async def test_nothing_arrives_before_it_is_committed_that_it_was_sent(desk: Desk) -> None:
    carrier = Carrier(desk, None)
    bucket_id = await opened(desk, carrier)
    desk.store.hold()
    sending = asyncio.ensure_future(ask(desk.owner, gift(bucket_id)))
    await desk.store.waiting.wait()
    await asyncio.sleep(5)
    assert carrier.asked == 0
    # That commit is lost, and with it the gift.
    desk.store.failures = ["lost"]
    desk.store.let_go.set()
    assert isinstance(await sending, Failed)
    await asyncio.sleep(10)
    assert carrier.asked == 0
    assert await states_and_arrived(desk) == ([], [])
    await desk.ask(gift(bucket_id))
    await asyncio.sleep(1)
    assert await states_and_arrived(desk) == (["confirmed"], [4 * UNIT])


# What is not known is asked again


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.STORE_UNAVAILABLE, Fault.NOT_OWNER, Fault.INTERNAL])
def test_a_transfer_whose_outcome_is_unknown_does_not_come_back(fault: Fault) -> None:
    async def scenario(desk: Desk) -> None:
        carrier = await sent_gift(desk, fault)
        carrier.fault = None
        await asyncio.sleep(10)
        assert await states_and_arrived(desk) == (["confirmed"], [4 * UNIT])
        await desk.audit()

    in_virtual_time(scenario)()


@in_virtual_time
async def test_a_transfer_that_arrived_without_an_answer_arrives_once(desk: Desk) -> None:
    # The receiver's commit is done and not told.
    bucket_id = await opened(desk)
    sending = asyncio.ensure_future(ask(desk.owner, gift(bucket_id)))
    await sending
    while not any(isinstance(each, BucketGranted) and each.source.startswith("transfer") for each in await desk.store.journal()):
        desk.store.failures = ["done but not told"]
        await asyncio.sleep(0.001)
    desk.store.failures = []
    await asyncio.sleep(30)
    assert await states_and_arrived(desk) == (["confirmed"], [4 * UNIT])
    await desk.audit()


@pytest.mark.parametrize("checkpointed", [False, True], ids=["in the tail", "in a checkpoint"])
def test_a_transfer_that_was_under_way_arrives_after_a_restart(checkpointed: bool) -> None:
    async def scenario(desk: Desk) -> None:
        await sent_gift(desk)
        # It is kept, since nothing else keeps what it was doing from being collected.
        before = desk.owner
        if checkpointed:
            await before.stop()
        await desk.kill()
        await desk.start(catalog=CATALOG)
        # Nobody asks for the sender.
        await asyncio.sleep(10)
        receiver = await desk.account(GETTER_ID)
        assert [each.remaining for each in receiver.buckets.values()] == [4 * UNIT]
        assert before is not desk.owner

    in_virtual_time(scenario)()


@in_virtual_time
async def test_a_transfer_goes_on_though_its_partition_waits_for_others_to_be_taken(desk: Desk) -> None:
    giver, getter = "acct-9876543210", ACCOUNT_ID
    assert [partition_of(each, 2) for each in (giver, getter)] == [0, 1]
    bucket_id = await opened(desk, Carrier(desk), giver=giver, getter=getter)
    await desk.ask(SendTransfer(giver, getter, bucket_id, 4 * UNIT, "gift"))
    before = desk.owner
    await desk.kill()
    # The giver's partition is in memory while the tail of the other is still read.
    await desk.start(catalog=CATALOG)
    await asyncio.sleep(10)
    assert [each.state for each in (await desk.account(giver)).transfers.values()] == ["confirmed"]
    assert [each.remaining for each in (await desk.account(getter)).buckets.values()] == [4 * UNIT]
    assert before is not desk.owner


@in_virtual_time
async def test_a_transfer_waits_for_the_catalog_of_its_owner(desk: Desk) -> None:
    await desk.ask(gift(await opened(desk, Carrier(desk))))
    before = desk.owner
    await desk.kill()
    # The sender is in the tail, and so in memory from the start.
    owner = await desk.start(catalog=None)
    await asyncio.sleep(10)
    owner.set_catalog(CATALOG)
    await asyncio.sleep(10)
    assert await states_and_arrived(desk) == (["confirmed"], [4 * UNIT])
    assert before is not desk.owner


@in_virtual_time
async def test_each_transfer_of_an_account_arrives(desk: Desk) -> None:
    bucket_id = await opened(desk)
    for number, key in enumerate(("first", "second"), start=1):
        await desk.ask(gift(bucket_id, key))
        await asyncio.sleep(1)
        assert await states_and_arrived(desk) == (["confirmed"] * number, [4 * UNIT] * number)


@in_virtual_time
async def test_who_has_given_its_partitions_delivers_nothing_any_more(desk: Desk) -> None:
    carrier = await sent_gift(desk)
    await desk.owner.give({0, 1})
    asked = carrier.asked
    await asyncio.sleep(60)
    assert (carrier.asked, desk.owner._tasks) == (asked, set())


# What is refused comes back


@pytest.mark.parametrize(
    "fault",
    [Fault.ACCOUNT_UNKNOWN, Fault.NOT_POSSIBLE, Fault.AMOUNT_OVERFLOW, Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT],
)
def test_a_transfer_that_is_refused_comes_back(fault: Fault) -> None:
    async def scenario(desk: Desk) -> None:
        carrier = Carrier(desk, fault)
        await desk.ask(gift(await opened(desk, carrier)))
        await asyncio.sleep(10)
        assert carrier.asked == 1
        assert await states_and_arrived(desk) == (["returned"], [])
        assert [each.remaining for each in (await desk.account()).buckets.values()] == [10 * UNIT]

    in_virtual_time(scenario)()


@in_virtual_time
async def test_a_transfer_to_nobody_comes_back_with_the_reason(desk: Desk) -> None:
    bucket_id = await opened(desk)
    await desk.ask(gift(bucket_id, to="acct-nobody0000"))
    await asyncio.sleep(1)
    said = await desk.ask(gift(bucket_id, to="acct-nobody0000"))
    assert isinstance(said, TransferView)
    assert said.state == "returned"
    assert said.reason.startswith("no account acct-nobody0000 in this cell")
    assert [each.remaining for each in (await desk.account()).buckets.values()] == [10 * UNIT]
    await desk.audit()


@in_virtual_time
async def test_an_account_that_sends_stays_in_memory_until_it_is_known(desk: Desk) -> None:
    carrier = await sent_gift(desk)
    for number in range(5):
        await desk.ask(OpenAccount(f"acct-{number:08}", ""))
        await desk.ask(GrantBucket(f"acct-{number:08}", "TOKEN", UNIT, None, DAY, 0, "first"))
    carrier.fault = None
    await asyncio.sleep(10)
    assert await states_and_arrived(desk) == (["confirmed"], [4 * UNIT])
