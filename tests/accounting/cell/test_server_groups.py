"""Two database servers in one process: what a cell asks or is told concerns the partitions of both, not of the first alone."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import msgspec

from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.core.commands import (
    Answer,
    Command,
    Failed,
    GrantBucket,
    OpenAccount,
    ReadAccount,
    ReceiveTransfer,
    Refused,
)
from services.accounting.core.entries import BucketGranted
from services.accounting.journal.store import Claim, Share
from services.accounting.writer.asking import ask, view_of
from services.accounting.writer.owner import Owner, OwnerSettings
from services.partitions import partition_of
from services.runtime.clock import Clock
from services.runtime.identifiers import uuid7
from tests.accounting.cell.test_membership import ProbedStore
from tests.accounting.ledger import CATALOG, DAY, START_US, UNIT, event_command, fault_of, usage
from tests.accounting.owners import Desk, in_virtual_time

PARTITIONS = 4
# Accounts of the partitions 0 to 3: those of even numbers are on the first server.
ACCOUNTS = [
    next(each for each in (f"acct-{number:08}" for number in range(100)) if partition_of(each, PARTITIONS) == part_id)
    for part_id in range(PARTITIONS)
]


class Pair:
    """The groups of two servers, with names for what to ask."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stores = (ProbedStore(), ProbedStore())
        self.owners = [
            Owner(store, clock, OwnerSettings("own-1", PARTITIONS, 0, 5_000, 1_000, 1_000_000, True, Share(number, 2)))
            for number, store in enumerate(self.stores)
        ]
        self.groups = ServerGroups([ServerGroup(*each) for each in zip(self.owners, self.stores, strict=True)])

    async def ask(self, command: Command) -> Answer:
        return await asyncio.wait_for(ask(self.groups, command), 3_600)

    async def open(self, account_ids: Iterable[str] = ACCOUNTS, units: int = 10) -> None:
        for account_id in account_ids:
            await self.ask(OpenAccount(account_id, ""))
            await self.ask(GrantBucket(account_id, "TOKEN", units * UNIT, None, DAY, 0, "first"))

    async def tails(self) -> list[int]:
        """Rows of each partition that its next owner would have to replay."""
        return [each.next_seq - each.low_water for each in await self.groups.partitions()]


@asynccontextmanager
async def pair_of(desk: Desk, *, takes: bool = True) -> AsyncIterator[Pair]:
    """A pair that runs; it has taken all partitions, unless that is left to the test."""
    pair = Pair(desk.clock)
    pair.groups.set_catalog(CATALOG)
    await pair.groups.start()
    if takes:
        await pair.groups.take_all()
    running = asyncio.create_task(pair.groups.run())
    yield pair
    running.cancel()
    await asyncio.wait([running])


@in_virtual_time
async def test_accounts_of_both_servers_are_served_and_read(desk: Desk) -> None:
    async with pair_of(desk) as pair:
        assert pair.groups.claimed == {0, 1, 2, 3}
        await pair.open()
        for part_id, account_id in enumerate(ACCOUNTS):
            assert len(view_of(await ask(pair.groups, ReadAccount(account_id))).buckets) == 1
            assert [row.part_id for row in await pair.groups.read_rows(part_id, 0, 1)] == [part_id]
        assert [each.part_id for each in await pair.groups.partitions()] == [0, 1, 2, 3]
        assert sorted(pair.groups.reached) == [0, 1, 2, 3]


@in_virtual_time
async def test_the_second_server_is_of_the_cell_of_the_first(desk: Desk) -> None:
    pair = Pair(desk.clock)
    await pair.stores[0].initialise(PARTITIONS, Share(0, 2), "cell-a")
    await pair.groups.start()
    assert [(await store.identity()).cell_id for store in pair.stores] == ["cell-a", "cell-a"]


@in_virtual_time
async def test_an_audit_adds_up_both_servers(desk: Desk) -> None:
    async with pair_of(desk) as pair:
        await pair.open([ACCOUNTS[0], ACCOUNTS[1], ACCOUNTS[3]])
        findings = await pair.groups.audit()
        assert (findings.accounts, findings.buckets, findings.entries, findings.breaches) == (3, 3, 6, [])


@in_virtual_time
async def test_a_stop_leaves_nothing_to_replay_on_either_server(desk: Desk) -> None:
    for number in range(2):
        async with pair_of(desk) as pair:
            await pair.open()
            pair.stores[number].hold()
            asked = [asyncio.ensure_future(pair.ask(event_of(pair, each))) for each in ACCOUNTS]
            await pair.stores[number].waiting.wait()
            stopping = asyncio.ensure_future(pair.groups.stop())
            await asyncio.sleep(1)
            assert not stopping.done()
            pair.stores[number].let_go.set()
            await stopping
            assert all(each.done() for each in asked)
            assert await pair.tails() == [0, 0, 0, 0]


@in_virtual_time
async def test_claims_are_taken_and_given_on_the_servers_that_they_are_of(desk: Desk) -> None:
    async with pair_of(desk, takes=False) as pair:
        claims = [Claim(part_id, 1) for part_id in range(PARTITIONS)]
        apart = pair.groups.by_group(claims)
        assert apart == [[claims[0], claims[2]], [claims[1], claims[3]]]
        assert pair.groups.by_group(claims[1:2]) == [[claims[1]]]
        assert [await pair.groups.take(each) for each in reversed(apart)] == [{1, 3}, {0, 2}]
        await pair.open()
        await pair.groups.give({1, 2})
        assert [owner.claimed for owner in pair.owners] == [{0}, {3}]
        assert pair.groups.claimed == {0, 3}
        assert sorted(pair.groups.reached) == [0, 3]
        told = [fault_of(answer) if isinstance(answer, Failed) else "" for answer in [await read(pair, each) for each in ACCOUNTS]]
        assert told == ["", "NOT_OWNER", "NOT_OWNER", ""]


@in_virtual_time
async def test_a_server_that_is_away_takes_only_its_own_partitions_with_it(desk: Desk) -> None:
    for number in range(2):
        async with pair_of(desk) as pair:
            await pair.open()
            away = pair.stores[number]
            away.failures, away.claims_failing = ["lost"], True
            # The commit that fails is told to its caller, and nothing is decided on that server from then on.
            for account_id in ACCOUNTS[number::2]:
                assert fault_of(await pair.ask(event_of(pair, account_id))) in ("STORE_UNAVAILABLE", "UNAVAILABLE")
            for account_id in ACCOUNTS[1 - number :: 2]:
                assert not isinstance(await pair.ask(event_of(pair, account_id)), Failed)
            assert pair.groups.serving
            assert pair.groups.claimed == {0, 1, 2, 3}


@in_virtual_time
async def test_what_was_refused_and_charged_is_found_on_either_server(desk: Desk) -> None:
    async with pair_of(desk) as pair:
        await pair.open(units=100)
        for units, account_id in enumerate(ACCOUNTS, start=1):
            await pair.ask(event_of(pair, account_id, units))
            create = desk.create(1_000, account_id=account_id)
            refused = await pair.ask(create)
            assert isinstance(refused, Refused)
            found = pair.groups.refusal(create.charging_id)
            assert found is not None
            assert found[1] == refused
        assert pair.groups.refusal(uuid7(desk.clock.now_us())) is None
        burnt = pair.groups.burning(60_000_000)["TOKEN"]
        assert (burnt.charged, burnt.records) == (10 * UNIT, 4)
        assert burnt.largest(4) == [(ACCOUNTS[number], (number + 1) * UNIT) for number in (3, 2, 1, 0)]


@in_virtual_time
async def test_what_every_member_understands_is_told_to_both_owners(desk: Desk) -> None:
    async with pair_of(desk) as pair:
        pair.groups.set_features(frozenset())
        assert [owner.extended for owner in pair.owners] == [False, False]


@in_virtual_time
async def test_a_transfer_arrives_on_the_server_of_its_receiver(desk: Desk) -> None:
    async with pair_of(desk) as pair:
        await pair.open()
        for account_id in ACCOUNTS:
            arriving = BucketGranted(account_id, START_US, "bkt-g", "TOKEN", UNIT, START_US, 2 * START_US, 0, "gift", b"digest", 0)
            assert await pair.groups.receive(ReceiveTransfer(account_id, arriving)) is None


@in_virtual_time
async def test_accounts_of_both_servers_are_weighed(desk: Desk) -> None:
    async with pair_of(desk) as pair:
        weighing = asyncio.create_task(pair.groups.weigh())
        await pair.open(units=20)
        for account_id in ACCOUNTS:
            await pair.ask(desk.create(10, account_id=account_id))
        await asyncio.sleep(2)
        assert [owner.weighing.sums["sessions", ""] for owner in pair.owners] == [2, 2]
        weighing.cancel()
        await asyncio.wait([weighing])


@in_virtual_time
async def test_of_a_commit_that_hangs_its_own_server_is_asked_whether_it_answers(desk: Desk) -> None:
    for number in range(2):
        async with pair_of(desk) as pair:
            await pair.open()
            pair.stores[number].hold()
            asked = asyncio.ensure_future(pair.ask(event_of(pair, ACCOUNTS[number])))
            await asyncio.sleep(4)
            pair.stores[1 - number].is_away = True
            assert await pair.groups.are_stuck(3.0, 1.0)
            pair.stores[number].is_away = True
            assert not await pair.groups.are_stuck(3.0, 1.0)
            pair.stores[number].let_go.set()
            await asked


async def read(pair: Pair, account_id: str) -> Answer:
    return await pair.ask(ReadAccount(account_id))


def event_of(pair: Pair, account_id: str, units: int = 1) -> Command:
    """A call that is charged so much at once."""
    return msgspec.structs.replace(event_command(uuid7(pair.clock.now_us()), usage(input=units)), account_id=account_id)
