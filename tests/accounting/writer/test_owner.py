"""The owner: group commit, recovery, waiting, time and the end, in virtual time."""

import asyncio
import logging
import random
import re
from logging.handlers import MemoryHandler

import msgspec
import pytest

from services.accounting.core.amounts import PinnedTariff
from services.accounting.core.commands import (
    ApplyDue,
    BucketAdded,
    CloseCause,
    Command,
    Done,
    FindRecords,
    GrantBucket,
    Granted,
    OpenAccount,
    Ordered,
    PlaceOrder,
    ReadAccount,
    RecordsFound,
    Refused,
    SetLimits,
    Settled,
    UpdateSession,
)
from services.accounting.core.entries import BucketExpired, SessionCreated, SessionSettled
from services.accounting.core.terms import Limit, LimitKind, Payment, Scope
from services.accounting.journal.codec import JournalError
from services.accounting.journal.store import Claim
from services.accounting.writer.asking import OneAnswer, ask, view_of
from services.accounting.writer.holdings import OwnershipLostError
from services.partitions import partition_of
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import (
    ACCOUNT_ID,
    CATALOG,
    DAY,
    EACH,
    TCC_US,
    UNIT,
    catalog_of,
    event_command,
    fault_of,
    flat,
    offering,
    release_command,
    usage,
)
from tests.accounting.owners import TCC_S, Collector, Desk, in_virtual_time, released
from tests.accounting.shop import DAILY, allowance, for_sale
from tests.waiting import WAIT_S


def pairs(collector: Collector) -> list[str]:
    """The kinds of a collector's answers by tag."""
    return [type(answer).__name__ for _, answer in sorted(collector.answers, key=lambda each: each[0])]


# Group commit


@in_virtual_time
async def test_no_answer_leaves_before_the_commit_that_covers_it(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    commands = await desk.every_kind()
    # The first command of the test keeps the store busy, so that the others are decided ahead of it.
    desk.store.hold()
    first = Collector()
    desk.owner.submit(event_command(desk.create(1).charging_id, usage(input=1)), first, 0)
    await desk.store.waiting.wait()
    collector = Collector()
    for tag, (_, command) in enumerate(commands):
        desk.owner.submit(command, collector, tag)
    # Any number of rounds of the loop do not bring an answer out.
    await asyncio.sleep(5)
    assert (first.answers, collector.answers) == ([], [])
    desk.store.let_go.set()
    await collector.wait(len(commands))
    assert pairs(collector) == [kind for kind, _ in commands]
    assert len(first.answers) == 1


@in_virtual_time
async def test_each_kind_of_answer_alone_waits_for_its_commit(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    for kind, command in await desk.every_kind():
        desk.store.hold()
        asked = asyncio.ensure_future(ask(desk.owner, command))
        await desk.store.waiting.wait()
        await asyncio.sleep(5)
        assert not asked.done(), kind
        desk.store.let_go.set()
        assert type(await asked).__name__ == kind


@in_virtual_time
async def test_what_comes_during_a_commit_goes_together_into_the_next(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(1_000)
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 0)
    await desk.store.waiting.wait()
    commits_before = len(desk.store.commits)
    for tag in range(1, 101):
        desk.owner.submit(desk.create(1, 1), collector, tag)
    desk.store.let_go.set()
    await collector.wait(101)
    assert len(desk.store.commits) == commits_before + 2
    (write,) = desk.store.commits[-1]
    assert write.entry_count == 100
    # One response a commit, not one an answer.
    assert collector.flushed == 2


@in_virtual_time
async def test_one_commit_covers_many_partitions(desk: Desk) -> None:
    await desk.start(partitions=16)
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 0)
    await desk.store.waiting.wait()
    for tag in range(1, 65):
        desk.owner.submit(OpenAccount(f"acct-{tag:08}", ""), collector, tag)
    await asyncio.sleep(1)
    desk.store.let_go.set()
    await collector.wait(65)
    assert len(desk.store.commits) == 2
    assert sum(write.entry_count for write in desk.store.commits[-1]) == 64
    assert len(desk.store.commits[-1]) == len({partition_of(f"acct-{tag:08}", desk.owner.partition_count) for tag in range(1, 65)})


@in_virtual_time
async def test_a_refused_call_changes_nothing(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    before = await desk.account()
    commits = [write for writes in desk.store.commits for write in writes if write.body is not None]
    for _ in range(50):
        assert isinstance(await desk.ask(desk.create(11, 5)), Refused)
    assert await desk.account() == before
    assert [write for writes in desk.store.commits for write in writes if write.body is not None] == commits
    assert desk.owner.metrics.refusals == 50


@in_virtual_time
async def test_an_idle_owner_commits_nothing(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    await asyncio.sleep(20)
    commits = len(desk.store.commits)
    await asyncio.sleep(3_600)
    assert len(desk.store.commits) == commits


@in_virtual_time
async def test_1000_creates_at_once_for_the_last_tokens(desk: Desk) -> None:
    await desk.start(held_wait_ms=200)
    await desk.open(100)
    collector = Collector()
    commands = [desk.create(7, 3, metered=True) for _ in range(1_000)]
    for tag, command in enumerate(commands):
        desk.owner.submit(command, collector, tag)
    await collector.wait(1_000)
    granted = [tag for tag, answer in collector.answers if isinstance(answer, Granted)]
    assert len(granted) == 10
    assert granted == sorted(granted) == list(range(10))
    for tag in granted:
        assert await desk.ask(release_command(commands[tag].charging_id, 2, usage(7, 3))) == Settled("TOKEN", 10 * UNIT, 0)
    account = await desk.account()
    assert [bucket.consumed for bucket in account.buckets.values()] == [100 * UNIT]
    assert account.debts == {}
    await desk.audit()


# A commit that fails


@pytest.mark.parametrize("failure", ["lost", "done but not told"])
def test_a_failed_commit_is_told_to_all_and_a_repeat_charges_once(failure: str) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.start()
        await desk.open(100)
        session = desk.create(10, 10)
        await desk.ask(session)
        desk.store.hold()
        desk.store.failures = [failure]
        collector = Collector()
        commands: list[Command] = [
            released(session.charging_id, 2, 10),
            GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "more"),
            event_command(desk.create(0).charging_id, usage(input=5)),
            OpenAccount("acct-another00", ""),
            ReadAccount(ACCOUNT_ID),
            desk.create(10_000, 1),
        ]
        for tag, command in enumerate(commands):
            desk.owner.submit(command, collector, tag)
        await desk.store.waiting.wait()
        # These saw what the commit that fails was to write.
        for tag, command in enumerate([ReadAccount(ACCOUNT_ID), commands[0], desk.create(10_000, 1)], start=len(commands)):
            desk.owner.submit(command, collector, tag)
        desk.store.let_go.set()
        answers = await collector.wait(len(commands) + 3)
        assert {fault_of(answer) for answer in answers} == {"STORE_UNAVAILABLE"}
        await asyncio.sleep(1)
        assert desk.owner.serving
        for _ in range(2):
            again = [await desk.ask(command) for command in commands[:3]]
            assert again[0] == Settled("TOKEN", 10 * UNIT, 0)
            assert isinstance(again[1], BucketAdded)
            assert again[2] == Settled("TOKEN", 5 * UNIT, 0)
        account = await desk.account()
        assert sum(bucket.consumed for bucket in account.buckets.values()) == 15 * UNIT
        assert sum(bucket.granted for bucket in account.buckets.values()) == 101 * UNIT
        assert account.sessions == {}
        assert desk.owner.metrics.recoveries == 1
        # It has them still.
        assert desk.owner.metrics.handovers == {"taken": 2, "given": 0, "lost": 0}
        findings = await desk.audit()
        assert findings.open_sessions == 0

    in_virtual_time(scenario)()


@in_virtual_time
async def test_while_the_store_is_away_callers_are_told_at_once(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    desk.store.failures = ["lost"]
    desk.store.claims_failing = True
    assert fault_of(await desk.ask(event_command(desk.create(0).charging_id, usage(input=1)))) == "STORE_UNAVAILABLE"
    for _ in range(5):
        await asyncio.sleep(7)
        assert not desk.owner.serving
        assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "UNAVAILABLE"
    desk.store.claims_failing = False
    await asyncio.sleep(2)
    assert desk.owner.serving
    assert (await desk.account()).debts == {}


@in_virtual_time
async def test_recovery_goes_on_when_reading_the_journal_fails_too(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    desk.store.failures = ["done but not told"]
    desk.store.reads_failing = True
    event = event_command(desk.create(0).charging_id, usage(input=3))
    assert fault_of(await desk.ask(event)) == "STORE_UNAVAILABLE"
    await asyncio.sleep(10)
    assert not desk.owner.serving
    desk.store.reads_failing = False
    await asyncio.sleep(2)
    assert await desk.ask(event) == Settled("TOKEN", 3 * UNIT, 0)
    assert sum(isinstance(entry, SessionSettled) for entry in await desk.store.journal()) == 1


@in_virtual_time
async def test_a_create_that_waits_is_told_when_the_memory_is_thrown_away(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    await desk.open(10)
    await desk.ask(desk.create(10))
    waiting = asyncio.ensure_future(desk.ask(desk.create(10)))
    await asyncio.sleep(1)
    assert not waiting.done()
    desk.store.failures = ["lost"]
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "STORE_UNAVAILABLE"
    assert fault_of(await waiting) == "STORE_UNAVAILABLE"
    # Its timer is gone with it: nothing happens when it would have been up.
    await asyncio.sleep(20)
    assert not desk.running.done()
    await desk.audit()


@in_virtual_time
async def test_a_command_that_waits_for_its_account_is_told_when_the_memory_is_thrown_away(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=100, partitions=1)
    await desk.open(10)
    await desk.open(10, "acct-another00")
    await desk.owner.stop()
    await desk.kill()
    await desk.start(partitions=1)
    assert await desk.ask(ApplyDue(ACCOUNT_ID)) == Done()
    desk.store.loads_let_go.clear()
    collector = Collector()
    desk.owner.submit(ReadAccount("acct-another00"), collector, 0)
    desk.owner.submit(desk.create(1, account_id="acct-another00"), collector, 1)
    await asyncio.sleep(0.01)
    desk.store.failures = ["lost"]
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "STORE_UNAVAILABLE"
    assert {fault_of(answer) for answer in await collector.wait(2)} == {"STORE_UNAVAILABLE"}
    desk.store.loads_let_go.set()
    await asyncio.sleep(5)
    assert len(collector.answers) == 2
    assert (await desk.account("acct-another00")).sessions == {}


@in_virtual_time
async def test_accounts_that_cannot_be_loaded_are_unavailable_and_load_later(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=100)
    await desk.open(10)
    await desk.owner.stop()
    await desk.kill()
    await desk.start()
    desk.store.reads_failing = True
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "STORE_UNAVAILABLE"
    desk.store.reads_failing = False
    assert [bucket.remaining for bucket in (await desk.account()).buckets.values()] == [10 * UNIT]


# Giving partitions away


@in_virtual_time
async def test_what_was_decided_is_answered_before_its_partition_is_given(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    collector = Collector()
    desk.owner.submit(event_command(desk.create(0).charging_id, usage(input=1)), collector, 0)
    # Its commit has not begun yet.
    await desk.owner.give({0, 1})
    assert collector.answers == [(0, Settled("TOKEN", UNIT, 0))]
    assert desk.owner.part_ids == frozenset()


@in_virtual_time
async def test_what_waits_for_its_account_is_answered_before_its_partition_is_given(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    await desk.owner.stop()
    await desk.kill()
    await desk.start()
    desk.store.loads_let_go.clear()
    collector = Collector()
    desk.owner.submit(event_command(desk.create(0).charging_id, usage(input=1)), collector, 0)
    await asyncio.sleep(0.1)
    giving = asyncio.ensure_future(desk.owner.give({0, 1}))
    await asyncio.sleep(1)
    assert not giving.done()
    desk.store.loads_let_go.set()
    await giving
    assert collector.answers == [(0, Settled("TOKEN", UNIT, 0))]


@in_virtual_time
async def test_what_was_decided_during_the_commit_that_showed_the_loss_is_told_of_it(desk: Desk) -> None:
    lost: list[set[int]] = []
    owner = await desk.start(partitions=1, lost=lost.append)
    await desk.open(100)
    desk.store.hold()
    collector = Collector()
    owner.submit(ReadAccount(ACCOUNT_ID), collector, 0)
    await desk.store.waiting.wait()
    owner.submit(ReadAccount(ACCOUNT_ID), collector, 1)
    assert await desk.store.claim("another", owner.identity.era, [Claim(0, 1)], again=False)
    desk.store.let_go.set()
    answers = await asyncio.wait_for(collector.wait(2), WAIT_S)
    assert [fault_of(answer) for answer in answers] == ["NOT_OWNER", "NOT_OWNER"]
    assert lost == [{0}]
    assert owner.metrics.handovers == {"taken": 1, "given": 0, "lost": 1}


# Another owner


@in_virtual_time
async def test_an_owner_that_lost_its_partitions_tells_so_and_ends(desk: Desk) -> None:
    old = await desk.start(held_wait_ms=10_000)
    running = desk.running
    await desk.open(10)
    await desk.ask(desk.create(10))
    waiting = asyncio.ensure_future(ask(old, desk.create(10)))
    await asyncio.sleep(0.1)
    await desk.start()
    event = event_command(desk.create(0).charging_id, usage(input=1))
    assert fault_of(await ask(old, event)) == "NOT_OWNER"
    assert fault_of(await waiting) == "NOT_OWNER"
    await asyncio.wait([running])
    error = running.exception()
    assert isinstance(error, BaseExceptionGroup)
    assert error.split(OwnershipLostError)[1] is None
    assert fault_of(await ask(old, ReadAccount(ACCOUNT_ID))) == "NOT_OWNER"
    # What it decided for the event was never true.
    assert (await desk.account()).debts == {}
    await desk.audit()


@in_virtual_time
async def test_an_owner_left_behind_cannot_even_read(desk: Desk) -> None:
    """Its memory may be old by now: a read is an answer too."""
    old = await desk.start()
    await desk.open(10)
    assert len(view_of(await ask(old, ReadAccount(ACCOUNT_ID))).buckets) == 1
    await desk.start()
    await desk.grant(5, key="second")
    assert fault_of(await ask(old, ReadAccount(ACCOUNT_ID))) == "NOT_OWNER"


@in_virtual_time
async def test_an_owner_whose_commit_failed_does_not_take_from_its_successor(desk: Desk) -> None:
    old = await desk.start()
    running = desk.running
    await desk.open(10)
    desk.store.claims_failing = True
    desk.store.failures = ["lost"]
    assert fault_of(await ask(old, ReadAccount(ACCOUNT_ID))) == "STORE_UNAVAILABLE"
    # It could not claim again, and backs off; meanwhile another one starts.
    await asyncio.sleep(0.01)
    desk.store.claims_failing = False
    await desk.start()
    await asyncio.wait([running], timeout=WAIT_S)
    assert running.done()
    assert running.exception() is not None
    assert (await desk.account()).account_id == ACCOUNT_ID


# Restart and replay


@in_virtual_time
async def test_a_restart_replays_what_was_committed(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    session = desk.create(10, 10)
    await desk.ask(session)
    await desk.ask(UpdateSession(ACCOUNT_ID, session.charging_id, 2, usage(input=10, output=3), 10))
    before = await desk.account()
    await desk.kill()
    await desk.start()
    after = await desk.account()
    before.next_due_us = after.next_due_us = None
    assert after == before
    # The open session goes on, and the repeat of what it was told last is told again.
    again = await desk.ask(UpdateSession(ACCOUNT_ID, session.charging_id, 2, usage(input=10, output=3), 10))
    assert isinstance(again, Granted)
    assert await desk.ask(released(session.charging_id, 3, 10)) == Settled("TOKEN", 10 * UNIT, 0)


@in_virtual_time
async def test_a_second_crash_soon_after_the_first_loses_nothing(desk: Desk) -> None:
    """More accounts than a commit checkpoints: of the others, all rows must still be replayed."""
    account_ids = [f"acct-{number:08d}" for number in range(200)]
    await desk.start(partitions=1)
    for account_id in account_ids:
        await desk.ask(OpenAccount(account_id, ""))
    await desk.kill()
    await desk.start(partitions=1)
    before = len(desk.store.commits)
    while len(desk.store.commits) == before:  # noqa: ASYNC110  # a store tells nobody
        await asyncio.sleep(0.0001)
    await desk.kill()
    assert len(desk.store.commits) == before + 1
    assert 0 < len(desk.store.commits[-1][0].checkpoints) < len(account_ids)
    await desk.start(partitions=1)
    for account_id in account_ids:
        assert (await desk.account(account_id)).account_id == account_id


@in_virtual_time
async def test_a_planned_stop_leaves_nothing_to_replay(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    for number in range(300):
        await desk.open(1, f"acct-{number:08}")
    session = desk.create(10, 10)
    await desk.ask(session)
    await desk.owner.stop()
    for part in await desk.store.partitions():
        assert part.low_water == part.next_seq > 1
    await desk.kill()
    await desk.start()
    # Nothing was loaded for it either.
    assert desk.owner._partitions[0].residents.hot == desk.owner._partitions[1].residents.hot == {}
    assert list((await desk.account()).sessions) == [session.charging_id]
    await desk.audit()


@in_virtual_time
async def test_the_tail_stays_short_while_serving(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=1_000, partitions=1)
    await desk.open(10_000)
    for _ in range(200):
        await desk.ask(event_command(uuid7(desk.clock.now_us()), usage(input=1)))
        await asyncio.sleep(0.1)
        (part,) = await desk.store.partitions()
        assert part.next_seq - part.low_water <= 15
    await desk.audit()


@in_virtual_time
async def test_an_account_that_remembers_much_is_checkpointed_less_often_and_loses_nothing(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=1_000, partitions=1)
    await desk.open(100_000)
    collector = Collector()
    # About 70 bytes each: well above 256 KiB together, all within the memory of closed sessions.
    for _ in range(8_000):
        desk.owner.submit(event_command(uuid7(desk.clock.now_us()), usage(input=1)), collector, 0)
    await collector.wait(8_000)
    await asyncio.sleep(3)
    size = len(desk.store._checkpoints[0][ACCOUNT_ID].body)
    assert size > 2 * 256 * 1024
    before = sum(len(write.checkpoints) for writes in desk.store.commits for write in writes)
    for _ in range(60):
        await desk.ask(event_command(uuid7(desk.clock.now_us()), usage(input=1)))
        await asyncio.sleep(0.5)
    made = sum(len(write.checkpoints) for writes in desk.store.commits for write in writes) - before
    # Thirty seconds at one a second would be thirty; one every `size / 256 KiB` seconds is far less.
    assert 1 <= made <= 30 * 256 * 1024 // size + 1
    await desk.audit()
    await desk.kill()
    await desk.start(partitions=1)
    (bucket,) = (await desk.account()).buckets.values()
    assert bucket.consumed == 8_060 * UNIT
    await desk.audit()


@in_virtual_time
async def test_a_checkpoint_made_while_its_account_goes_on_changing_loses_nothing(desk: Desk) -> None:
    """Low water: entries that come while the commit with the checkpoint is under way stay above it."""
    rng = random.Random(7)
    await desk.start(checkpoint_age_ms=100, partitions=1)
    account_ids = [f"acct-{number:08}" for number in range(6)]
    for account_id in account_ids:
        await desk.open(10_000, account_id)
    collector = Collector()
    sent = 0
    for _ in range(150):
        for _ in range(rng.randint(1, 4)):
            account_id = rng.choice(account_ids)
            event = msgspec.structs.replace(event_command(uuid7(desk.clock.now_us()), usage(input=1)), account_id=account_id)
            desk.owner.submit(event, collector, 0)
            sent += 1
        await asyncio.sleep(rng.choice([0, 0.0005, 0.03, 0.2]))
        # In every moment the store alone must be enough: checkpoints, and the rows from the low-water mark on.
        if rng.random() < 0.3:
            await desk.audit()
    await collector.wait(sent)
    await desk.kill()
    await desk.start(partitions=1)
    consumed = 0
    for account_id in account_ids:
        consumed += sum(bucket.consumed for bucket in (await desk.account(account_id)).buckets.values())
    assert consumed == sent * UNIT
    await desk.audit()


@in_virtual_time
async def test_entries_that_are_in_a_checkpoint_already_are_not_replayed(desk: Desk) -> None:
    """The tail begins with the oldest entry that is in none, and so holds newer ones that are."""
    await desk.start(checkpoint_age_ms=1_000, partitions=1)
    await desk.open(100)
    await desk.open(100, "acct-another00")
    await asyncio.sleep(5)
    await desk.ask(event_command(desk.create(0).charging_id, usage(input=1)))
    await asyncio.sleep(0.8)
    late = msgspec.structs.replace(event_command(desk.create(0).charging_id, usage(input=5)), account_id="acct-another00")
    await desk.ask(late)
    await desk.ask(event_command(desk.create(0).charging_id, usage(input=2)))
    await asyncio.sleep(0.3)
    await desk.ask(ReadAccount(ACCOUNT_ID))
    (part,) = await desk.store.partitions()
    checkpoint = desk.store._checkpoints[0][ACCOUNT_ID]
    assert part.low_water < checkpoint.seq == part.next_seq - 1
    await desk.kill()
    await desk.start(partitions=1)
    assert [bucket.consumed for bucket in (await desk.account()).buckets.values()] == [3 * UNIT]
    assert [bucket.consumed for bucket in (await desk.account("acct-another00")).buckets.values()] == [5 * UNIT]
    await desk.audit()


@pytest.mark.parametrize("seq", [1, 2])
def test_a_missing_row_is_noticed_at_the_start(seq: int) -> None:
    async def scenario(desk: Desk) -> None:
        await desk.start(partitions=1)
        await desk.open(10)
        await desk.kill()
        del desk.store._rows[0][seq - 1]
        with pytest.raises(JournalError, match=f"journal row 0/{seq} is missing"):
            await desk.start(partitions=1)

    in_virtual_time(scenario)()


@in_virtual_time
async def test_a_checkpoint_of_newer_code_is_not_misread(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(10)
    await desk.owner.stop()
    await desk.kill()
    checkpoint = desk.store._checkpoints[0][ACCOUNT_ID]
    desk.store._checkpoints[0][ACCOUNT_ID] = checkpoint._replace(body=b"\x92\x02" + checkpoint.body[2:])
    await desk.start(partitions=1)
    failed = await desk.ask(ReadAccount(ACCOUNT_ID))
    assert fault_of(failed) == "STORE_UNAVAILABLE"
    assert "newer release" in str(failed)


@in_virtual_time
async def test_a_row_of_newer_code_is_not_skipped(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(10)
    await desk.kill()
    row = desk.store._rows[0][1]
    desk.store._rows[0][1] = row._replace(body=b"\x92\x02" + row.body[2:])
    with pytest.raises(JournalError, match=r"journal row 0/2 has schema version 2.*newer release"):
        await desk.start(partitions=1)


@in_virtual_time
async def test_a_damaged_checkpoint_hurts_its_own_account_alone(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(10)
    await desk.open(10, "acct-another00")
    await desk.owner.stop()
    await desk.kill()
    checkpoint = desk.store._checkpoints[0][ACCOUNT_ID]
    desk.store._checkpoints[0][ACCOUNT_ID] = checkpoint._replace(body=b"\xff")
    await desk.start(partitions=1)
    collector = Collector()
    desk.store.loads_let_go.clear()
    desk.owner.submit(ReadAccount("acct-third0000"), collector, 0)
    await asyncio.sleep(0.1)
    # These two are loaded in one batch.
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 1)
    desk.owner.submit(ReadAccount("acct-another00"), collector, 2)
    desk.store.loads_let_go.set()
    await collector.wait(3)
    assert pairs(collector) == ["Failed", "Failed", "AccountView"]


# Waiting for what is held


@in_virtual_time
async def test_a_create_that_only_holds_stand_against_waits_for_them(desk: Desk) -> None:
    await desk.start(held_wait_ms=200)
    await desk.open(10)
    first = desk.create(10)
    await desk.ask(first)
    collector = Collector()
    waiting = [desk.create(4), desk.create(4), desk.create(4)]
    for tag, command in enumerate(waiting):
        desk.owner.submit(command, collector, tag)
    await asyncio.sleep(0.15)
    assert collector.answers == []
    await desk.ask(released(first.charging_id, 2, 1))
    # In order of arrival: what came free is enough for the first two, the third waits on.
    await collector.wait(2)
    assert [tag for tag, _ in collector.answers] == [0, 1]
    assert pairs(collector) == ["Granted", "Granted"]
    await collector.wait(3)
    refused = collector.answers[2][1]
    assert isinstance(refused, Refused)
    assert (refused.free, refused.reserved, refused.held) == (UNIT, 8 * UNIT, True)


@in_virtual_time
async def test_one_that_waits_is_refused_when_its_time_is_up(desk: Desk) -> None:
    await desk.start(held_wait_ms=200)
    await desk.open(10)
    await desk.ask(desk.create(10))
    began = asyncio.get_running_loop().time()
    refused = await desk.ask(desk.create(1))
    assert isinstance(refused, Refused)
    assert refused.held
    assert 0.2 <= asyncio.get_running_loop().time() - began < 0.25


@in_virtual_time
async def test_what_is_spent_is_not_waited_for(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    await desk.open(10)
    began = asyncio.get_running_loop().time()
    for command in (desk.create(11), desk.create(11, 11)):
        refused = await desk.ask(command)
        assert isinstance(refused, Refused)
        assert not refused.held
    assert asyncio.get_running_loop().time() - began < 1


@in_virtual_time
async def test_nobody_overtakes_one_that_waits(desk: Desk) -> None:
    await desk.start(held_wait_ms=1_000)
    await desk.open(10)
    first = desk.create(9)
    await desk.ask(first)
    collector = Collector()
    desk.owner.submit(desk.create(5), collector, 0)
    # One unit is free, but whoever came before comes first.
    desk.owner.submit(desk.create(1), collector, 1)
    await asyncio.sleep(0.1)
    assert collector.answers == []
    await desk.ask(released(first.charging_id, 2, 5))
    await collector.wait(2)
    assert collector.answers[0][0] == 0
    assert pairs(collector) == ["Granted", "Refused"]


@in_virtual_time
async def test_those_behind_one_that_gave_up_are_served_at_once(desk: Desk) -> None:
    """They used to wait until their own time was up, though there was enough for them."""
    await desk.start(held_wait_ms=1_000)
    await desk.open(10)
    await desk.ask(desk.create(5))
    began = asyncio.get_running_loop().time()
    large = asyncio.ensure_future(desk.ask(desk.create(6)))
    await asyncio.sleep(0.9)
    small = asyncio.ensure_future(desk.ask(desk.create(1)))
    assert isinstance(await large, Refused)
    assert isinstance(await small, Granted)
    assert asyncio.get_running_loop().time() - began < 1.1


@in_virtual_time
async def test_a_top_up_serves_those_who_wait(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    await desk.open(10)
    await desk.ask(desk.create(10))
    waiting = asyncio.ensure_future(desk.ask(desk.create(7)))
    await asyncio.sleep(1)
    await desk.grant(7, key="second")
    assert isinstance(await waiting, Granted)


@in_virtual_time
async def test_a_sweep_serves_those_who_wait(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    await desk.open(10)
    await desk.ask(desk.create(10))
    await asyncio.sleep(TCC_S - 5)
    waiting = asyncio.ensure_future(desk.ask(desk.create(10)))
    await asyncio.sleep(4)
    assert not waiting.done()
    await asyncio.sleep(2)
    assert waiting.done()
    assert isinstance(await waiting, Granted)


@in_virtual_time
async def test_a_create_that_waits_twice_is_created_once(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    await desk.open(10)
    first, second = desk.create(10), desk.create(10)
    await desk.ask(first)
    collector = Collector()
    for tag in range(3):
        desk.owner.submit(second, collector, tag)
    await asyncio.sleep(0.1)
    await desk.ask(released(first.charging_id, 2, 0))
    answers = await collector.wait(3)
    assert answers[0] == answers[1] == answers[2]
    assert isinstance(answers[0], Granted)
    assert sum(isinstance(entry, SessionCreated) for entry in await desk.store.journal()) == 2


@in_virtual_time
async def test_waiting_creates_hold_up_neither_other_accounts_nor_other_commands(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000, partitions=1)
    await desk.open(10)
    await desk.open(10, "acct-another00")
    first = desk.create(10)
    await desk.ask(first)
    waiting = asyncio.ensure_future(desk.ask(desk.create(10)))
    await asyncio.sleep(0.01)
    began = asyncio.get_running_loop().time()
    assert isinstance(await desk.ask(desk.create(10, account_id="acct-another00")), Granted)
    assert isinstance(await desk.ask(UpdateSession(ACCOUNT_ID, first.charging_id, 2, usage(), 0)), Granted)
    assert len((await desk.account()).sessions) == 1
    assert asyncio.get_running_loop().time() - began < 0.1
    await desk.ask(released(first.charging_id, 3, 0))
    assert isinstance(await waiting, Granted)


@in_virtual_time
async def test_a_storm_of_creates_and_releases_never_loses_an_answer(desk: Desk) -> None:
    rng = random.Random(3)
    await desk.start(held_wait_ms=200)
    await desk.open(300)
    outcomes: list[str] = []

    async def call() -> None:
        await asyncio.sleep(rng.uniform(0, 20))
        session = desk.create(rng.randint(0, 40), rng.choice([0, 10, 100]), metered=rng.random() < 0.5)
        answer = await desk.ask(session)
        outcomes.append(type(answer).__name__)
        if isinstance(answer, Granted):
            await asyncio.sleep(rng.choice([0, 0.1, 0.5]))
            settled = await desk.ask(release_command(session.charging_id, 2, usage()))
            assert settled == Settled("TOKEN", 0, 0)

    async with asyncio.TaskGroup() as group:
        for _ in range(1_000):
            group.create_task(call())
    assert len(outcomes) == 1_000
    assert {"Granted", "Refused"} == set(outcomes)
    account = await desk.account()
    assert [bucket.remaining for bucket in account.buckets.values()] == [300 * UNIT]
    assert desk.owner._partitions[0].waiting.queues == desk.owner._partitions[1].waiting.queues == {}
    await desk.audit()


# Time


@in_virtual_time
async def test_a_session_is_swept_without_traffic(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    session = desk.create(10, 10)
    await desk.ask(session)
    await asyncio.sleep(TCC_S - 1)
    assert not any(isinstance(entry, SessionSettled) for entry in await desk.store.journal())
    await asyncio.sleep(2)
    (swept,) = [entry for entry in await desk.store.journal() if isinstance(entry, SessionSettled)]
    assert (swept.charging_id, swept.close_cause) == (session.charging_id, CloseCause.SWEPT)


@in_virtual_time
async def test_updates_keep_a_session_alive_for_as_long_as_they_come(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    session = desk.create(10, 10)
    await desk.ask(session)
    for number in range(2, 30):
        await asyncio.sleep(TCC_S - 1)
        assert isinstance(await desk.ask(UpdateSession(ACCOUNT_ID, session.charging_id, number, usage(input=1), 0)), Granted)
    await asyncio.sleep(TCC_S + 1)
    assert (await desk.account()).sessions == {}


@in_virtual_time
async def test_a_bucket_expires_without_traffic(desk: Desk) -> None:
    await desk.start()
    await desk.open()
    await desk.grant(10, valid_for_us=90_000_000)
    await asyncio.sleep(91)
    (expired,) = [entry for entry in await desk.store.journal() if isinstance(entry, BucketExpired)]
    assert expired.amount == 10 * UNIT


@in_virtual_time
async def test_a_free_cycle_is_renewed_by_the_call_that_uses_it(desk: Desk) -> None:
    # No timer renews it: an idle account costs nothing. The day ends in 47 minutes.
    daily = for_sale("daily", allowance(100), cycle=DAILY)
    assert daily.terms is not None
    daily = daily._replace(terms=msgspec.structs.replace(daily.terms, time_zone="Europe/Berlin"))
    await desk.start(catalog=catalog_of(offering({"flat": flat(EACH)}), daily, time_zone="Europe/Berlin"))
    await desk.open()
    assert isinstance(await desk.ask(PlaceOrder(ACCOUNT_ID, "daily", Payment.FREE, "order")), Ordered)
    assert isinstance(await desk.ask(event_command(uuid7(desk.clock.now_us()), usage(100))), Settled)
    assert isinstance(await desk.ask(desk.create(60, 30)), Refused)
    await asyncio.sleep(50 * 60)
    assert isinstance(await desk.ask(desk.create(60, 30)), Granted)
    await desk.audit()


@in_virtual_time
async def test_a_cold_account_is_swept_after_a_restart_and_not_before_tcc(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    await desk.ask(desk.create(10, 10))
    await desk.owner.stop()
    await desk.kill()
    await asyncio.sleep(10 * TCC_S)
    began_us = desk.clock.now_us()
    await desk.start()
    await asyncio.sleep(TCC_S - 2)
    assert not any(isinstance(entry, SessionSettled) for entry in await desk.store.journal())
    await asyncio.sleep(4)
    (swept,) = [entry for entry in await desk.store.journal() if isinstance(entry, SessionSettled)]
    assert began_us + TCC_US <= swept.time_us <= began_us + TCC_US + 1_000_000
    await asyncio.sleep(10)
    # And it is not looked at again and again.
    loads = desk.store.loads
    await asyncio.sleep(60)
    assert desk.store.loads == loads
    await desk.audit()


@in_virtual_time
async def test_a_cold_bucket_expires_after_a_restart(desk: Desk) -> None:
    await desk.start()
    await desk.open()
    await desk.grant(10, valid_for_us=90_000_000)
    await desk.owner.stop()
    await desk.kill()
    await desk.start()
    await asyncio.sleep(100)
    (expired,) = [entry for entry in await desk.store.journal() if isinstance(entry, BucketExpired)]
    assert expired.amount == 10 * UNIT


@in_virtual_time
async def test_a_clock_that_goes_backwards_takes_nothing_back(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(100)
    session = desk.create(10, 10)
    await desk.ask(session)
    times = [entry.time_us for entry in await desk.store.journal()]
    desk.clock.offset_us -= 50_000_000
    # The charging_id of a caller whose clock goes right lies not too far ahead.
    await desk.ask(UpdateSession(ACCOUNT_ID, session.charging_id, 2, usage(input=1), 10))
    assert await desk.ask(released(session.charging_id, 3, 10)) == Settled("TOKEN", 10 * UNIT, 0)
    assert isinstance(await desk.ask(desk.create(1, 1)), Granted)
    after = [entry.time_us for entry in await desk.store.journal()]
    assert after == sorted(after)
    assert after[len(times)] >= times[-1]
    # Nor does a restart.
    await desk.kill()
    desk.clock.offset_us -= 100_000_000
    said = MemoryHandler(100)
    logging.getLogger("services.accounting.writer.owner").addHandler(said)
    await desk.start(partitions=1)
    (line,) = [record.getMessage() for record in said.buffer if "clock" in record.getMessage()]
    assert re.match(
        r"the clock of this machine is 1[0-9]{2} s below the last time in the journal of partition 0: set it right", line
    )
    assert await desk.ask(event_command(uuid7(after[-1]), usage(input=1))) == Settled("TOKEN", UNIT, 0)
    last = [entry.time_us for entry in await desk.store.journal()]
    assert last == sorted(last)
    await desk.audit()


@in_virtual_time
async def test_many_sessions_of_many_accounts_are_swept_once_each(desk: Desk) -> None:
    await desk.start(partitions=4, checkpoint_age_ms=1_000)
    for number in range(50):
        account_id = f"acct-{number:08}"
        await desk.open(100, account_id)
        for _ in range(number % 5):
            await desk.ask(desk.create(1, 1, account_id=account_id))
        await asyncio.sleep(0.7)
    await asyncio.sleep(2 * TCC_S)
    settled = [entry.charging_id for entry in await desk.store.journal() if isinstance(entry, SessionSettled)]
    assert len(settled) == len(set(settled)) == 100
    assert (await desk.audit()).open_sessions == 0


@in_virtual_time
async def test_timers_and_memories_do_not_grow_with_traffic(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=1_000)
    await desk.open(1_000)
    for _ in range(3_000):
        session = desk.create(1, 1)
        await desk.ask(session)
        await desk.ask(UpdateSession(ACCOUNT_ID, session.charging_id, 2, usage(), 1))
        await desk.ask(released(session.charging_id, 3, 0))
        await asyncio.sleep(1)
    (partition,) = desk.owner._partitions.values()
    assert len(partition.timers) < 64
    # A quarter of an hour's worth of closed sessions.
    assert len(partition.residents.hot[ACCOUNT_ID].closed) <= 15 * 60 + 1
    assert partition.pending == [] and partition.wanted() == []
    assert desk.owner._tasks == set()
    assert len(partition.checkpoints.dirty) <= 1


# The end


@in_virtual_time
async def test_stop_answers_all_that_was_decided_and_takes_no_more(desk: Desk) -> None:
    await desk.start(held_wait_ms=10_000)
    await desk.open(100)
    await desk.ask(desk.create(100))
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(event_command(desk.create(0).charging_id, usage(input=1)), collector, 0)
    await desk.store.waiting.wait()
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 1)
    desk.owner.submit(desk.create(1), collector, 2)
    stopping = asyncio.ensure_future(desk.owner.stop())
    await asyncio.sleep(0.1)
    assert not stopping.done()
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "UNAVAILABLE"
    assert collector.answers == []
    desk.store.let_go.set()
    await stopping
    # The Create that waited for a hold waits no longer.
    assert pairs(collector) == ["Settled", "AccountView", "Refused"]
    for part in await desk.store.partitions():
        assert part.low_water == part.next_seq
    await desk.audit()


@in_virtual_time
async def test_stop_waits_for_the_commit_that_is_under_way(desk: Desk) -> None:
    """It used to return while the last commit was still being made, whose callers then were never answered."""
    await desk.start(checkpoint_age_ms=100)
    await desk.open(100)
    await asyncio.sleep(1)
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 0)
    await desk.store.waiting.wait()
    stopping = asyncio.ensure_future(desk.owner.stop())
    await asyncio.sleep(1)
    assert not stopping.done()
    desk.store.let_go.set()
    await stopping
    assert pairs(collector) == ["AccountView"]


@in_virtual_time
async def test_stop_answers_those_whose_account_is_being_loaded(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    await desk.owner.stop()
    await desk.kill()
    await desk.start()
    desk.store.loads_let_go.clear()
    collector = Collector()
    desk.owner.submit(event_command(desk.create(0).charging_id, usage(input=1)), collector, 0)
    await asyncio.sleep(0.1)
    stopping = asyncio.ensure_future(desk.owner.stop())
    await asyncio.sleep(1)
    assert not stopping.done()
    desk.store.loads_let_go.set()
    await stopping
    assert collector.answers == [(0, Settled("TOKEN", UNIT, 0))]


@in_virtual_time
async def test_stop_does_not_wait_for_a_store_that_is_away(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    desk.store.failures = ["lost"]
    desk.store.claims_failing = True
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "STORE_UNAVAILABLE"
    await asyncio.wait_for(desk.owner.stop(), WAIT_S)


@in_virtual_time
async def test_an_owner_without_a_catalog_serves_nothing_but_keeps_time(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    await desk.ask(desk.create(10, 10))
    await desk.kill()
    owner = await desk.start(catalog=None)
    assert not owner.serving
    assert fault_of(await desk.ask(ReadAccount(ACCOUNT_ID))) == "UNAVAILABLE"
    await asyncio.sleep(TCC_S + 2)
    owner.set_catalog(CATALOG)
    assert owner.serving
    assert (await desk.account()).sessions == {}


# Loading


@in_virtual_time
async def test_commands_of_one_account_take_effect_in_the_order_sent_while_it_loads(desk: Desk) -> None:
    await desk.start()
    collector = Collector()
    session = desk.create(4, 0)
    commands: list[Command] = [
        OpenAccount(ACCOUNT_ID, ""),
        GrantBucket(ACCOUNT_ID, "TOKEN", 10 * UNIT, None, DAY, 0, "first"),
        session,
        released(session.charging_id, 2, 4),
        FindRecords(ACCOUNT_ID, session.charging_id),
        ReadAccount(ACCOUNT_ID),
    ]
    for tag, command in enumerate(commands):
        desk.owner.submit(command, collector, tag)
    answers = await collector.wait(len(commands))
    assert [tag for tag, _ in collector.answers] == list(range(len(commands)))
    assert pairs(collector) == ["AccountView", "BucketAdded", "Granted", "Settled", "RecordsFound", "AccountView"]
    assert answers[4] == RecordsFound((1,))


@in_virtual_time
async def test_accounts_that_are_asked_for_together_are_loaded_together(desk: Desk) -> None:
    await desk.start(partitions=1)
    for number in range(200):
        await desk.open(1, f"acct-{number:08}")
    await desk.owner.stop()
    await desk.kill()
    await desk.start(partitions=1)
    loads = desk.store.loads
    collector = Collector()
    for number in range(200):
        desk.owner.submit(ReadAccount(f"acct-{number:08}"), collector, number)
    await collector.wait(200)
    assert desk.store.loads - loads <= 2


@in_virtual_time
async def test_an_unknown_account_leaves_no_trace(desk: Desk) -> None:
    await desk.start(partitions=1)
    for number in range(100):
        assert fault_of(await desk.ask(ReadAccount(f"acct-{number:08}"))) == "ACCOUNT_UNKNOWN"
    (partition,) = desk.owner._partitions.values()
    assert (partition.residents.hot, partition.wanted(), partition.checkpoints.dirty, len(partition.timers)) == ({}, [], {}, 0)
    assert await desk.store.journal() == []


@in_virtual_time
async def test_a_rule_that_fails_hurts_its_own_command_alone(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    # A tariff without tiers, which the registry would never let through.
    desk.owner.set_catalog(catalog_of(offering({"flat": PinnedTariff("broken", 1, "TOKEN", ())})))
    collector = Collector()
    desk.owner.submit(desk.create(1, 1), collector, 0)
    desk.owner.submit(ReadAccount(ACCOUNT_ID), collector, 1)
    await collector.wait(2)
    assert pairs(collector) == ["Failed", "AccountView"]
    assert fault_of(dict(collector.answers)[0]) == "INTERNAL"
    assert not desk.running.done()


@in_virtual_time
async def test_a_caller_that_has_gone_hurts_nobody(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    caller = OneAnswer()
    desk.store.hold()
    desk.owner.submit(desk.create(1, 1), caller, 0)
    caller.future.cancel()
    desk.store.let_go.set()
    assert len((await desk.account()).sessions) == 1


@in_virtual_time
async def test_a_store_of_another_number_of_partitions_is_refused(desk: Desk) -> None:
    await desk.start(partitions=2)
    with pytest.raises(ServiceError, match="set partitions to 2"):
        await desk.start(partitions=3)


# What can't be written


@in_virtual_time
async def test_an_entry_that_no_store_can_take_harms_nobody_else(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    limit = Limit("absurd", Scope.ACCOUNT, LimitKind.USAGE, UNIT, unit="TOKEN", window_us=2**70)
    assert fault_of(await desk.ask(SetLimits(ACCOUNT_ID, "account", (limit,), 0))) == "STORE_UNAVAILABLE"
    await asyncio.sleep(1)
    assert isinstance(await desk.ask(desk.create(10, 10)), Granted)
    assert (await desk.account()).limits == {}
    await desk.audit()
