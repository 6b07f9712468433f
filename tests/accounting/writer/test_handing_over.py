"""What an owner owes those who ask while it gives partitions away or stops: an answer each, and a short tail to its successor."""

import asyncio

import pytest

from services.accounting.core.commands import Granted, OpenAccount, ReadAccount, Refused, Settled
from services.accounting.journal.store import Claim, StoreRestoredError
from services.accounting.writer.asking import Pending, ask
from services.accounting.writer.holdings import OwnershipLostError
from tests.accounting.ledger import ACCOUNT_ID, UNIT, event_command, fault_of, usage
from tests.accounting.owners import Collector, Desk, in_virtual_time, released
from tests.waiting import WAIT_S


async def asked(desk: Desk, collector: Collector, tag: int = 0) -> None:
    """Begins a Create of 10 that has to wait for what another session holds."""
    await desk.open(10)
    await desk.ask(desk.create(10))
    desk.owner.submit(desk.create(10), collector, tag)
    await asyncio.sleep(1)
    assert collector.answers == []


def refused_as_held(collector: Collector) -> bool:
    """Whether its one answer is that others hold what was asked for."""
    ((_, answer),) = collector.answers
    return isinstance(answer, Refused) and answer.held


# Giving


@in_virtual_time
async def test_a_create_that_waits_for_a_hold_is_answered_before_its_partition_is_given(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    collector = Collector()
    await asked(desk, collector)
    began_s = asyncio.get_running_loop().time()
    await desk.owner.give({0, 1})
    assert asyncio.get_running_loop().time() - began_s < 1
    assert refused_as_held(collector)
    # Its timer is gone with it.
    await asyncio.sleep(20)
    assert len(collector.answers) == 1


@in_virtual_time
async def test_a_create_whose_account_comes_while_its_partition_is_given_is_answered_too(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    await desk.ask(desk.create(10))
    await desk.owner.stop()
    await desk.kill()
    await desk.start(held_wait_ms=200)
    desk.store.loads_let_go.clear()
    collector = Collector()
    desk.owner.submit(desk.create(10), collector, 0)
    await asyncio.sleep(0.1)
    giving = asyncio.ensure_future(desk.owner.give({0, 1}))
    await asyncio.sleep(1)
    desk.store.loads_let_go.set()
    await giving
    assert refused_as_held(collector)


@in_virtual_time
async def test_a_read_is_answered_before_its_partition_is_given(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    collector = Collector()
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 0)
    await desk.owner.give({0, 1})
    assert [type(answer).__name__ for _, answer in collector.answers] == ["AccountView"]


@in_virtual_time
async def test_who_asks_while_a_partition_is_given_is_sent_on_at_once(desk: Desk) -> None:
    owner = await desk.start(partitions=1)
    await desk.open(100)
    desk.store.hold()
    collector = Collector()
    owner.submit(event_command(desk.create(0).charging_id, usage(input=1)), collector, 0)
    await desk.store.waiting.wait()
    giving = asyncio.ensure_future(owner.give({0}))
    await asyncio.sleep(0.1)
    assert (owner.part_ids, owner.claimed) == (frozenset(), frozenset({0}))
    assert fault_of(await asyncio.wait_for(ask(owner, ReadAccount(ACCOUNT_ID)), 1)) == "NOT_OWNER"
    desk.store.let_go.set()
    await giving
    assert collector.answers == [(0, Settled("TOKEN", UNIT, 0))]
    assert (owner.part_ids, owner.claimed, owner.reached) == (frozenset(), frozenset(), {})
    assert fault_of(await ask(owner, ReadAccount(ACCOUNT_ID))) == "NOT_OWNER"


@in_virtual_time
async def test_a_partition_that_is_taken_again_during_a_commit_of_its_former_state_is_not_lost_with_that(desk: Desk) -> None:
    lost: list[set[int]] = []
    owner = await desk.start(partitions=1, lost=lost.append)
    await desk.open(100)
    # It is given away while its state is read anew, and what was read is committed already.
    desk.store.failures, desk.store.claims_failing = ["lost"], True
    assert fault_of(await desk.ask(event_command(desk.create(0).charging_id, usage(input=1)))) == "STORE_UNAVAILABLE"
    giving = asyncio.ensure_future(owner.give({0}))
    await asyncio.sleep(0.1)
    desk.store.hold()
    desk.store.claims_failing = False
    await desk.store.waiting.wait()
    await giving
    assert await owner.take([Claim(0, 1)]) == {0}
    desk.store.let_go.set()
    assert (await desk.account()).buckets
    assert (lost, owner.part_ids, owner.claimed) == ([], frozenset({0}), frozenset({0}))


@in_virtual_time
async def test_an_answer_of_a_state_that_was_replaced_is_not_delivered_with_the_commit_of_the_next(desk: Desk) -> None:
    owner = await desk.start(partitions=1)
    await desk.open(100)
    former = owner._partitions[0]
    await owner.give({0})
    await owner.take([Claim(0, 1)])
    collector = Collector()
    pending = Pending(ReadAccount(ACCOUNT_ID), collector, 7)
    owner._answers.add(former, pending, await desk.ask(ReadAccount(ACCOUNT_ID)))
    owner.submit(ReadAccount(ACCOUNT_ID), collector, 8)
    await collector.wait(2)
    assert {tag: type(answer).__name__ for tag, answer in collector.answers} == {7: "Failed", 8: "AccountView"}


async def opened_many(desk: Desk) -> None:
    """Far more accounts than a partition may be given with unsaved."""
    await desk.start(partitions=1, checkpoint_age_ms=600_000)
    for number in range(300):
        await desk.ask(OpenAccount(f"acct-{number:08}", ""))


@in_virtual_time
async def test_a_partition_is_given_with_a_short_tail(desk: Desk) -> None:
    await opened_many(desk)
    await desk.owner.give({0})
    assert desk.owner.metrics.handovers == {"taken": 1, "given": 1, "lost": 0}
    (part,) = await desk.store.partitions()
    assert part.next_seq > 300
    assert part.next_seq - part.low_water <= 64


@in_virtual_time
async def test_a_partition_is_closed_though_its_accounts_cannot_be_saved(desk: Desk) -> None:
    await opened_many(desk)
    desk.store.hold()
    giving = asyncio.ensure_future(desk.owner.give({0}))
    await asyncio.sleep(1.5)
    # It is served as long as somebody may still save them.
    assert desk.owner.part_ids == frozenset({0})
    await asyncio.sleep(1)
    assert desk.owner.part_ids == frozenset()
    desk.store.let_go.set()
    await giving


# Stopping


@in_virtual_time
async def test_a_create_whose_account_comes_while_the_owner_stops_does_not_wait_for_a_hold(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    await desk.ask(desk.create(10))
    await desk.owner.stop()
    await desk.kill()
    await desk.start(held_wait_ms=10_000)
    desk.store.loads_let_go.clear()
    collector = Collector()
    desk.owner.submit(desk.create(10), collector, 0)
    await asyncio.sleep(0.1)
    stopping = asyncio.ensure_future(desk.owner.stop())
    await asyncio.sleep(0.1)
    desk.store.loads_let_go.set()
    await asyncio.wait_for(stopping, WAIT_S)
    assert refused_as_held(collector)


# A store that is not what it was


@in_virtual_time
async def test_an_owner_that_must_have_all_partitions_does_not_begin_with_some(desk: Desk) -> None:
    await desk.store.initialise(2)
    assert await desk.store.claim("through a coordinator", 1, [Claim(1, 7)], again=False)
    with pytest.raises(OwnershipLostError, match="claimed through a coordinator"):
        await desk.start(partitions=2)


async def wound_back(desk: Desk) -> None:
    """The store lacks the last row of its only partition, as one that was restored from a backup."""
    (part,) = await desk.store.partitions()
    desk.store._rows[0].pop()
    desk.store._partitions[0] = part._replace(next_seq=part.next_seq - 1, low_water=1)


@pytest.mark.parametrize("known_by", ["the coordinator", "itself"])
def test_an_owner_does_not_take_a_partition_that_went_back(known_by: str) -> None:
    async def scenario(desk: Desk) -> None:
        owner = await desk.start(partitions=1)
        await desk.open(10)
        assert owner.reached == {0: 3}
        await owner.give({0})
        await wound_back(desk)
        reached = 3 if known_by == "the coordinator" else 0
        if reached:
            # A process that does not know by itself.
            await desk.kill()
            owner._holdings._committed.clear()
        with pytest.raises(StoreRestoredError, match="partition 0 ends at row 1, but row 2 was committed"):
            await owner.take([Claim(0, 1, reached)])

    in_virtual_time(scenario)()


@in_virtual_time
async def test_an_owner_does_not_go_on_with_a_partition_that_went_back_under_it(desk: Desk) -> None:
    await desk.start(partitions=1)
    running = desk.running
    await desk.open(10)
    await desk.account()
    await wound_back(desk)
    desk.store.failures = ["lost"]
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "STORE_UNAVAILABLE"
    await asyncio.wait([running], timeout=WAIT_S)
    assert running.done()
    error = running.exception()
    assert isinstance(error, BaseExceptionGroup)
    assert error.split(StoreRestoredError)[1] is None


# Memory


@in_virtual_time
async def test_an_account_for_which_somebody_waits_stays_in_memory(desk: Desk) -> None:
    await desk.start(held_wait_ms=5_000, partitions=1, checkpoint_age_ms=100, hot_accounts_max=1, packed_bytes_max=0)
    collector = Collector()
    await asked(desk, collector)
    for number in range(20):
        await desk.open(1, f"acct-{number:08}")
        await asyncio.sleep(0.05)
    await collector.wait(1)
    assert refused_as_held(collector)


@in_virtual_time
async def test_a_hold_that_is_freed_serves_who_waits_though_others_were_used_meanwhile(desk: Desk) -> None:
    await desk.start(held_wait_ms=5_000, partitions=1, checkpoint_age_ms=100, hot_accounts_max=1, packed_bytes_max=0)
    await desk.open(10)
    holding = desk.create(10)
    await desk.ask(holding)
    waiting = asyncio.ensure_future(desk.ask(desk.create(10)))
    for number in range(20):
        await desk.open(1, f"acct-{number:08}")
        await asyncio.sleep(0.05)
    await desk.ask(released(holding.charging_id, 2, 0))
    assert isinstance(await waiting, Granted)
