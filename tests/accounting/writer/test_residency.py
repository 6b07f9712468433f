"""Which accounts are in memory: used ones, packed ones, and those that are only in the store."""

import asyncio

import msgspec

from services.accounting.core.commands import ChargeEvent, Granted
from services.accounting.core.entries import BucketExpired
from services.accounting.writer.residents import Residents
from services.runtime.identifiers import uuid7
from tests.accounting.ledger import UNIT, event_command, usage
from tests.accounting.owners import TCC_S, Desk, in_virtual_time, released

ACCOUNTS = [f"acct-{number:08}" for number in range(40)]
CHECKPOINTED_S = 2.0


def residents_of(desk: Desk) -> Residents:
    (partition,) = desk.owner._partitions.values()
    return partition.residents


async def opened(desk: Desk, *, packed_bytes_max: int) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=100, hot_accounts_max=8, packed_bytes_max=packed_bytes_max)
    for account_id in ACCOUNTS:
        await desk.open(1_000, account_id=account_id)
    await asyncio.sleep(CHECKPOINTED_S)


@in_virtual_time
async def test_accounts_beyond_the_hot_ones_are_packed_and_nobody_loads_them(desk: Desk) -> None:
    await opened(desk, packed_bytes_max=1_000_000)
    assert len(residents_of(desk).hot) == 8
    loads = desk.store.loads
    for account_id in ACCOUNTS:
        assert (await desk.account(account_id)).buckets.popitem()[1].remaining == 1_000 * UNIT
    assert desk.store.loads == loads
    # The ones used last are the ones that stay.
    await asyncio.sleep(CHECKPOINTED_S)
    assert list(residents_of(desk).hot) == ACCOUNTS[-8:]


@in_virtual_time
async def test_accounts_beyond_the_packed_ones_are_loaded_in_batches(desk: Desk) -> None:
    await opened(desk, packed_bytes_max=0)
    loads = desk.store.loads
    await asyncio.gather(*(desk.account(account_id) for account_id in ACCOUNTS[:20]))
    assert 1 <= desk.store.loads - loads <= 2


@in_virtual_time
async def test_an_account_that_the_store_does_not_have_as_it_is_stays(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=60_000, hot_accounts_max=1, packed_bytes_max=0)
    for account_id in ACCOUNTS:
        await desk.open(1_000, account_id=account_id)
    await asyncio.sleep(CHECKPOINTED_S)
    assert list(residents_of(desk).hot) != []
    assert len(residents_of(desk).hot) == len(ACCOUNTS)
    await asyncio.sleep(120)
    assert len(residents_of(desk).hot) == 1


@in_virtual_time
async def test_a_session_goes_on_after_its_account_has_left_memory(desk: Desk) -> None:
    await opened(desk, packed_bytes_max=0)
    session = desk.create(100, 100, account_id=ACCOUNTS[0])
    assert isinstance(await desk.ask(session), Granted)
    await asyncio.sleep(CHECKPOINTED_S)
    for account_id in ACCOUNTS[1:]:
        await desk.account(account_id)
    assert ACCOUNTS[0] not in residents_of(desk).hot
    await desk.ask(msgspec.structs.replace(released(session.charging_id, 2, 70), account_id=ACCOUNTS[0]))
    assert (await desk.account(ACCOUNTS[0])).buckets.popitem()[1].consumed == 70 * UNIT
    await desk.audit()


@in_virtual_time
async def test_an_abandoned_session_is_swept_though_its_account_has_left_memory(desk: Desk) -> None:
    await opened(desk, packed_bytes_max=0)
    await desk.ask(desk.create(100, 100, account_id=ACCOUNTS[0]))
    await asyncio.sleep(CHECKPOINTED_S)
    for account_id in ACCOUNTS[1:]:
        await desk.account(account_id)
    await asyncio.sleep(TCC_S + 5)
    assert (await desk.audit()).open_sessions == 0


@in_virtual_time
async def test_an_abandoned_session_is_swept_though_its_account_was_packed_and_is_used_again(desk: Desk) -> None:
    await opened(desk, packed_bytes_max=1_000_000)
    await desk.ask(desk.create(100, 100, account_id=ACCOUNTS[0]))
    await asyncio.sleep(CHECKPOINTED_S)
    for account_id in ACCOUNTS[1:]:
        await desk.account(account_id)
    assert ACCOUNTS[0] not in residents_of(desk).hot
    await desk.account(ACCOUNTS[0])
    await asyncio.sleep(TCC_S + 5)
    # As long as it is an object, nobody looks for it in the store.
    assert ACCOUNTS[0] in residents_of(desk).hot
    assert (await desk.audit()).open_sessions == 0


@in_virtual_time
async def test_what_ended_on_packed_accounts_has_ended_for_who_uses_them_next(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=100, hot_accounts_max=8, packed_bytes_max=1_000_000)
    for account_id in ACCOUNTS:
        await desk.open(account_id=account_id)
        await desk.grant(10, account_id=account_id, valid_for_us=90_000_000)
    await asyncio.sleep(100)
    for account_id in ACCOUNTS:
        assert [bucket.expired for bucket in (await desk.account(account_id)).buckets.values()] == [10 * UNIT]
    await desk.audit()


@in_virtual_time
async def test_an_account_stays_in_memory_while_it_is_being_saved(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=1_000, hot_accounts_max=1, packed_bytes_max=0)
    await desk.open(1_000)
    await desk.open(1_000, account_id=ACCOUNTS[0])
    await asyncio.sleep(CHECKPOINTED_S)
    await desk.ask(charge(desk, 1))
    await asyncio.sleep(0.8)
    # This one is saved later, and there is room for one.
    await desk.grant(1, key="second", account_id=ACCOUNTS[0])
    desk.store.hold()
    await asyncio.sleep(0.8)
    # The commit that saves it is under way, and its store still has what was before.
    assert desk.store.waiting.is_set()
    asked = asyncio.ensure_future(desk.ask(charge(desk, 2)))
    await asyncio.sleep(1)
    desk.store.let_go.set()
    await asked
    assert (await desk.account()).buckets.popitem()[1].consumed == 3 * UNIT
    await desk.audit()


def charge(desk: Desk, tokens: int) -> ChargeEvent:
    return event_command(uuid7(desk.clock.now_us()), usage(tokens))


@in_virtual_time
async def test_what_is_due_on_many_idle_accounts_at_once_is_applied_and_they_leave_again(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=100, hot_accounts_max=8, packed_bytes_max=0)
    for account_id in ACCOUNTS:
        await desk.open(account_id=account_id)
        await desk.grant(10, account_id=account_id, valid_for_us=90_000_000)
    await asyncio.sleep(CHECKPOINTED_S)
    await asyncio.sleep(100)
    expired = [entry for entry in await desk.store.journal() if isinstance(entry, BucketExpired)]
    assert sorted(entry.account_id for entry in expired) == ACCOUNTS
    assert len(residents_of(desk).hot) <= 8
    # Each at its own time, whenever its turn came.
    assert max(entry.time_us for entry in expired) - min(entry.time_us for entry in expired) < 1_000_000
    loads = desk.store.loads
    await asyncio.sleep(60)
    assert desk.store.loads == loads
    await desk.audit()


@in_virtual_time
async def test_timers_of_accounts_that_left_memory_are_dropped(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=100, hot_accounts_max=1, packed_bytes_max=0)
    for number in range(3_000):
        await desk.open(1, account_id=f"acct-{number:08}")
    await asyncio.sleep(60)
    (partition,) = desk.owner._partitions.values()
    assert len(partition.timers) <= 1_100
