"""An owner of several partitions that loses, takes or gives one of them while it serves, or recovers, the others."""

import asyncio

import msgspec

from services.accounting.core.commands import ChargeEvent, OpenAccount, ReadAccount, Settled
from services.accounting.journal.store import Claim
from services.accounting.writer.asking import ask
from services.partitions import partition_of
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import ACCOUNT_ID, UNIT, event_command, fault_of, usage
from tests.accounting.owners import Collector, Desk, in_virtual_time
from tests.waiting import WAIT_S

# In the other partition of two.
KEPT_ID = "acct-9876543210"
LOST, KEPT = partition_of(ACCOUNT_ID, 2), partition_of(KEPT_ID, 2)


def event(desk: Desk, account_id: str) -> ChargeEvent:
    """One token."""
    return msgspec.structs.replace(event_command(uuid7(desk.clock.now_us()), usage(1)), account_id=account_id)


async def consumed(desk: Desk, account_id: str) -> int:
    return sum(bucket.consumed for bucket in (await desk.account(account_id)).buckets.values())


async def served(desk: Desk) -> None:
    """Both partitions, each with an account of 10."""
    await desk.start(lost=lambda part_ids: None)
    await desk.open(10)
    await desk.open(10, KEPT_ID)


async def lost(desk: Desk, collector: Collector) -> None:
    """Loses a partition with a commit in which both have an event; so `collector` is answered."""
    desk.store.hold()
    for tag, account_id in enumerate((ACCOUNT_ID, KEPT_ID)):
        desk.owner.submit(event(desk, account_id), collector, tag)
    await desk.store.waiting.wait()
    assert await desk.store.claim("another", desk.owner.identity.era, [Claim(LOST, 1)], again=False)


@in_virtual_time
async def test_of_one_commit_each_partition_gets_its_own_answers(desk: Desk) -> None:
    await served(desk)
    collector = Collector()
    await lost(desk, collector)
    desk.store.let_go.set()
    await collector.wait(2)
    told = dict(collector.answers)
    assert fault_of(told[0]) == "NOT_OWNER"
    assert told[1] == Settled("TOKEN", UNIT, 0)
    assert desk.owner.part_ids == {KEPT}
    assert await consumed(desk, KEPT_ID) == UNIT


@in_virtual_time
async def test_what_was_told_as_lost_is_answered_once(desk: Desk) -> None:
    await served(desk)
    collector = Collector()
    await lost(desk, collector)
    for tag, account_id in enumerate((ACCOUNT_ID, KEPT_ID), start=2):
        desk.owner.submit(ReadAccount(account_id), collector, tag)
    desk.store.let_go.set()
    await asyncio.sleep(5)
    assert sorted(tag for tag, _ in collector.answers) == [0, 1, 2, 3]
    assert fault_of(dict(collector.answers)[2]) == "NOT_OWNER"


@in_virtual_time
async def test_what_a_lost_partition_would_have_written_does_not_count_as_written(desk: Desk) -> None:
    await served(desk)
    reached = desk.owner.reached[LOST]
    collector = Collector()
    await lost(desk, collector)
    desk.store.let_go.set()
    await collector.wait(2)
    assert await desk.owner.take([Claim(LOST, 2, reached)]) == {LOST}
    assert desk.owner.reached == {LOST: reached, KEPT: desk.owner.reached[KEPT]}
    assert await consumed(desk, ACCOUNT_ID) == 0


@in_virtual_time
async def test_only_what_was_taken_is_claimed(desk: Desk) -> None:
    await served(desk)
    await desk.owner.give({LOST, KEPT})
    assert await desk.store.claim("another", desk.owner.identity.era, [Claim(LOST, 9)], again=False)
    assert await desk.owner.take([Claim(LOST, 1), Claim(KEPT, 1)]) == {KEPT}
    assert desk.owner.claimed == {KEPT}
    assert desk.owner.serving
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "NOT_OWNER"


async def recovering(desk: Desk) -> None:
    """Begins to recover; the partition that is left can't be claimed yet."""
    await served(desk)
    await desk.owner.give({LOST})
    desk.store.failures, desk.store.claims_failing = ["lost"], True
    assert fault_of(await desk.ask(ReadAccount(KEPT_ID))) == "STORE_UNAVAILABLE"
    await asyncio.sleep(0.01)
    desk.store.claims_failing = False


@in_virtual_time
async def test_what_is_asked_of_a_partition_that_is_taken_during_a_recovery_is_written(desk: Desk) -> None:
    await recovering(desk)
    assert await desk.owner.take([Claim(LOST, 1)]) == {LOST}
    answer = await asyncio.wait_for(ask(desk.owner, event(desk, ACCOUNT_ID)), WAIT_S)
    assert answer == Settled("TOKEN", UNIT, 0)
    assert await desk.ask(event(desk, KEPT_ID)) == Settled("TOKEN", UNIT, 0)
    # What was answered is in the journal.
    for account_id in (ACCOUNT_ID, KEPT_ID):
        assert await consumed(desk, account_id) == UNIT


@in_virtual_time
async def test_a_partition_that_is_given_during_its_recovery_is_not_served_afterwards(desk: Desk) -> None:
    await served(desk)
    # Its tail is replayed in the middle of the recovery.
    desk.store.loads_let_go.clear()
    desk.store.failures = ["lost"]
    assert fault_of(await desk.ask(OpenAccount(KEPT_ID, ""))) == "STORE_UNAVAILABLE"
    await asyncio.sleep(0.1)
    giving = asyncio.ensure_future(desk.owner.give({KEPT}))
    await asyncio.sleep(0.1)
    desk.store.loads_let_go.set()
    await giving
    await asyncio.sleep(1)
    assert desk.owner.part_ids == {LOST}
    assert desk.owner.claimed == {LOST}
