"""Whenever a process dies, checkpoints and the rows from the low-water mark on are all that its successor needs, each once."""

import asyncio
from collections import Counter

import msgspec
import pytest

from services.accounting.core.commands import (
    ChargeEvent,
    GrantBucket,
    Granted,
    OpenAccount,
    Ordered,
    PlaceOrder,
    Refused,
    Settled,
    UpdateSession,
)
from services.accounting.core.entries import BucketExpired, BucketGranted, CycleStarted, SessionSettled
from services.accounting.core.terms import Payment
from services.accounting.journal.codec import decode_row
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, TCC_US, UNIT, catalog_of, event_command, flat, offering, usage
from tests.accounting.owners import TCC_S, Collector, Desk, in_virtual_time
from tests.accounting.shop import CNY, DAILY, allowance, for_sale

OTHER_ID = "acct-another00"
# More than a commit checkpoints.
MANY = [f"acct-{number:08}" for number in range(200)]


def event(desk: Desk, tokens: int, account_id: str = ACCOUNT_ID) -> ChargeEvent:
    return msgspec.structs.replace(event_command(uuid7(desk.clock.now_us()), usage(tokens)), account_id=account_id)


async def charged(desk: Desk, *events: tuple[str, int]) -> None:
    """Events of (account, tokens), in one row."""
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(event(desk, 0), collector, 0)
    await desk.store.waiting.wait()
    for account_id, tokens in events:
        desk.owner.submit(event(desk, tokens, account_id), collector, 0)
    desk.store.let_go.set()
    assert all(isinstance(answer, Settled) for answer in await collector.wait(len(events) + 1))


async def consumed(desk: Desk, account_id: str) -> list[int]:
    return [bucket.consumed // UNIT for bucket in (await desk.account(account_id)).buckets.values()]


# What is in a checkpoint, to the entry


@in_virtual_time
async def test_of_a_row_that_is_in_a_checkpoint_no_entry_is_applied_again(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=1_000, partitions=1)
    await desk.open(100)
    await desk.open(100, OTHER_ID)
    await asyncio.sleep(5)
    # The first account is to be saved at 1 s, the other a little later: its row keeps the low-water mark.
    await charged(desk, (ACCOUNT_ID, 1))
    await asyncio.sleep(0.8)
    await charged(desk, (OTHER_ID, 5), (ACCOUNT_ID, 2), (ACCOUNT_ID, 3), (ACCOUNT_ID, 4))
    await asyncio.sleep(0.21)
    await desk.account()
    (part,) = await desk.store.partitions()
    saved = desk.store._checkpoints[0][ACCOUNT_ID]
    assert (saved.seq, saved.entry_index) == (part.next_seq - 1, 3)
    assert part.low_water == saved.seq
    await desk.kill()
    await desk.start(partitions=1)
    assert await consumed(desk, ACCOUNT_ID) == [10]
    assert await consumed(desk, OTHER_ID) == [5]
    await desk.audit()


@in_virtual_time
async def test_a_tail_of_more_rows_than_are_read_at_once_is_replayed_over_one_checkpoint(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(10_000)
    await desk.owner.stop()
    await desk.kill()
    assert ACCOUNT_ID in desk.store._checkpoints[0]
    await desk.start(partitions=1, checkpoint_age_ms=3_600_000)
    (before,) = await desk.store.partitions()
    for _ in range(1_010):
        await desk.ask(event(desk, 1))
    await desk.kill()
    (after,) = await desk.store.partitions()
    assert after.next_seq - after.low_water == 1_010
    assert after.low_water == before.next_seq
    await desk.start(partitions=1)
    assert await consumed(desk, ACCOUNT_ID) == [1_010]
    await desk.audit()


@in_virtual_time
async def test_a_second_crash_finds_all_rows_of_an_account_that_was_replayed(desk: Desk) -> None:
    await desk.start(partitions=1)
    for account_id in MANY:
        await desk.open(10, account_id)
    await desk.kill()
    await desk.start(partitions=1)
    # One commit of checkpoints; of the others both rows must be replayed again.
    await commits(desk, 1)
    await desk.kill()
    saved = desk.store._checkpoints[0]
    assert 0 < len(saved) < len(MANY)
    (part,) = await desk.store.partitions()
    unsaved = [account_id for account_id in MANY if account_id not in saved]
    assert part.low_water == await first_seq_of(desk, unsaved)
    await desk.start(partitions=1)
    for account_id in MANY:
        (bucket,) = (await desk.account(account_id)).buckets.values()
        assert bucket.remaining == 10 * UNIT


async def first_seq_of(desk: Desk, account_ids: list[str]) -> int:
    """The first row with something of one of the accounts."""
    wanted = set(account_ids)
    rows = await desk.store.read_rows(0, 0, 1_000_000)
    return next(row.seq for row in rows if wanted & {entry.account_id for entry in decode_row(row.body, "it")})


# What is due on accounts that nobody uses


@pytest.mark.parametrize("commits_made", [None, 1, 2, 3, 4])
def test_what_ends_on_very_many_idle_accounts_ends_once(commits_made: int | None) -> None:
    async def scenario(desk: Desk) -> None:
        options = {"partitions": 1, "checkpoint_age_ms": 60_000, "hot_accounts_max": 8, "packed_bytes_max": 0}
        await desk.start(**options)  # type: ignore[arg-type]  # as in `Desk.start`
        for account_id in MANY:
            await desk.ask(OpenAccount(account_id, ""))
            await desk.grant(10, account_id=account_id, valid_for_us=90_000_000)
        # They are saved, and leave memory, after a minute.
        await asyncio.sleep(85)
        # All of it is decided while one commit lasts; it takes several to save so many accounts.
        desk.store.hold()
        await asyncio.sleep(10)
        desk.store.let_go.set()
        if commits_made is not None:
            await commits(desk, commits_made)
            await desk.kill()
            await desk.start(**options)  # type: ignore[arg-type]
        await asyncio.sleep(30)
        expired = await ended(desk)
        assert sorted(expired) == MANY
        assert set(expired.values()) == {1}
        for account_id in MANY:
            assert [bucket.expired for bucket in (await desk.account(account_id)).buckets.values()] == [10 * UNIT]
        await desk.audit()

    in_virtual_time(scenario)()


async def commits(desk: Desk, count: int) -> None:
    """Returns after so many more."""
    wanted = len(desk.store.commits) + count
    while len(desk.store.commits) < wanted:  # noqa: ASYNC110  # a store tells nobody
        await asyncio.sleep(0.001)


async def ended(desk: Desk) -> Counter[str]:
    """How often a bucket of each account has ended."""
    return Counter(entry.account_id for entry in await desk.store.journal() if isinstance(entry, BucketExpired))


@in_virtual_time
async def test_an_account_that_was_saved_with_much_and_changed_since_stays_in_memory(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=1_000, partitions=1, hot_accounts_max=1, packed_bytes_max=0)
    await desk.open(100_000)
    collector = Collector()
    # Above 64 KiB: its next checkpoint has a time of its own.
    for _ in range(2_500):
        desk.owner.submit(event(desk, 1), collector, 0)
    await collector.wait(2_500)
    await asyncio.sleep(3)
    assert len(desk.store._checkpoints[0][ACCOUNT_ID].body) > 64 * 1024
    await desk.ask(event(desk, 1))
    for account_id in MANY[:5]:
        await desk.open(1, account_id)
    assert await consumed(desk, ACCOUNT_ID) == [2_501]
    await asyncio.sleep(10)
    assert await consumed(desk, ACCOUNT_ID) == [2_501]
    await desk.audit()


@in_virtual_time
async def test_an_account_that_somebody_uses_while_it_is_saved_stays_in_memory(desk: Desk) -> None:
    await desk.start(held_wait_ms=5_000, partitions=1, checkpoint_age_ms=100, hot_accounts_max=1, packed_bytes_max=0)
    await desk.open(10)
    await desk.grant(5, key="ends", valid_for_us=40_000_000)
    await asyncio.sleep(20)
    assert isinstance(await desk.ask(desk.create(15)), Granted)
    await asyncio.sleep(2)
    # It leaves memory, and comes back for the bucket that ends.
    await desk.open(1, OTHER_ID)
    await asyncio.sleep(17)
    wanted = len(desk.store.commits) + 1
    while len(desk.store.commits) < wanted:  # noqa: ASYNC110  # a store tells nobody
        await asyncio.sleep(0.0001)
    assert isinstance((await desk.store.journal())[-1], BucketExpired)
    # The commit that saves it takes its time, and somebody begins to wait.
    desk.store.hold()
    collector = Collector()
    desk.owner.submit(desk.create(10), collector, 0)
    await asyncio.sleep(0.1)
    desk.store.let_go.set()
    (answer,) = await collector.wait(1)
    assert isinstance(answer, Refused)
    assert answer.held


# Who nobody uses


@in_virtual_time
async def test_free_cycles_of_an_account_that_nobody_uses_are_not_opened(desk: Desk) -> None:
    daily = for_sale("daily", allowance(100), cycle=DAILY)
    await desk.start(catalog=catalog_of(offering({"flat": flat(EACH)}), daily, time_zone="Asia/Shanghai"), checkpoint_age_ms=100)
    await desk.open()
    assert isinstance(await desk.ask(PlaceOrder(ACCOUNT_ID, "daily", Payment.FREE, "order")), Ordered)
    # The account leaves memory with this process: what is due on it is found in the store.
    await desk.owner.stop()
    await desk.kill()
    await desk.start(catalog=catalog_of(offering({"flat": flat(EACH)}), daily, time_zone="Asia/Shanghai"), checkpoint_age_ms=100)
    desk.clock.offset_us += 2 * DAY
    await asyncio.sleep(5)
    journal = await desk.store.journal()
    assert len([entry for entry in journal if isinstance(entry, BucketExpired)]) == 1
    assert [entry.number for entry in journal if isinstance(entry, CycleStarted)] == [1]


async def money(desk: Desk, key: str) -> None:
    """Ten yuan."""
    await desk.ask(GrantBucket(ACCOUNT_ID, CNY, 10 * UNIT, None, 10 * DAY, 0, key))


@in_virtual_time
async def test_money_pays_what_waited_for_it_in_the_row_that_brings_it(desk: Desk) -> None:
    ten = for_sale("ten", allowance(10), price=10 * UNIT, cycle=DAILY)
    await desk.start(catalog=catalog_of(offering({"flat": flat(EACH)}), ten, time_zone="Asia/Shanghai"), partitions=1)
    await desk.open()
    await money(desk, "first")
    assert isinstance(await desk.ask(PlaceOrder(ACCOUNT_ID, "ten", Payment.PREPAID, "order")), Ordered)
    desk.clock.offset_us += DAY
    await asyncio.sleep(1)
    subscription_id = next(iter((await desk.account()).subscriptions))
    assert (await desk.account()).subscriptions[subscription_id].state == "suspended"
    await money(desk, "second")
    rows = await desk.store.read_rows(0, 0, 1_000_000)
    kinds = [type(entry) for entry in decode_row(rows[-1].body, "it")]
    assert kinds[0] is BucketGranted
    assert CycleStarted in kinds


@in_virtual_time
async def test_an_account_of_the_tail_is_swept_though_nobody_uses_it(desk: Desk) -> None:
    await desk.start(checkpoint_age_ms=3_600_000)
    await desk.open(100)
    await desk.ask(desk.create(10, 10))
    await desk.kill()
    await desk.start(checkpoint_age_ms=3_600_000)
    await asyncio.sleep(TCC_S + 2)
    assert sum(isinstance(entry, SessionSettled) for entry in await desk.store.journal()) == 1


@in_virtual_time
async def test_a_clock_that_goes_backwards_after_a_sweep_takes_nothing_back(desk: Desk) -> None:
    await desk.start(partitions=1)
    await desk.open(100)
    await desk.ask(desk.create(10, 10))
    await asyncio.sleep(TCC_S + 1)
    swept_us = (await desk.store.journal())[-1].time_us
    desk.clock.offset_us -= 50_000_000
    await desk.ask(event_command(uuid7(swept_us), usage(1)))
    times = [entry.time_us for entry in await desk.store.journal()]
    assert times == sorted(times)
    assert times[-1] > swept_us


@in_virtual_time
async def test_what_is_due_on_an_idle_account_is_found_after_many_that_are_in_use(desk: Desk) -> None:
    # More than are read at once, and what is saved of them says that they are due.
    used = [f"acct-{number:08}" for number in range(600)]
    await desk.start(partitions=1)
    for account_id in used:
        await desk.open(10, account_id)
    collector = Collector()
    sessions = [desk.create(1, 1, account_id=account_id) for account_id in used]
    for session in sessions:
        desk.owner.submit(session, collector, 0)
    await collector.wait(len(used))
    await desk.open()
    await desk.grant(10, valid_for_us=TCC_US + 5_000_000)
    await desk.owner.stop()
    await desk.kill()
    await desk.start(partitions=1, checkpoint_age_ms=3_600_000)
    for session in sessions:
        desk.owner.submit(UpdateSession(session.account_id, session.charging_id, 2, usage(), 1), collector, 0)
    await collector.wait(2 * len(used))
    await asyncio.sleep(TCC_S + 8)
    journal = await desk.store.journal()
    assert [entry.account_id for entry in journal if isinstance(entry, BucketExpired)] == [ACCOUNT_ID]
