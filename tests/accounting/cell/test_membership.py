"""What a replica does about members that stall, come back, leave or were forgotten, and about claims that nobody stands for."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import msgspec
import pytest

from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.cell.view import Member, Reached
from services.accounting.core import features
from services.accounting.core.commands import Answer, OpenAccount, ReadAccount
from services.accounting.journal.store import Claim, ClaimedPartition, EraMismatchError
from services.accounting.writer.asking import ask
from services.runtime.errors import ServiceError
from services.runtime.etcd import Snapshot
from tests.accounting.cell.test_coordination import LONG_S, PREFIX, Replica, Site, at_a_site
from tests.accounting.ledger import ACCOUNT_ID
from tests.accounting.owners import HeldStore, unavailable
from tests.simulation.fake_etcd import FakeEtcdClient
from tests.waiting import WAIT_S


class ProbedStore(HeldStore):
    """A store in which looking at the partitions can fail, or take its time, apart from commits."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.probed = asyncio.Event()
        self.probe_let_go = asyncio.Event()
        self.probe_let_go.set()

    async def partitions(self) -> list[ClaimedPartition]:
        self.probed.set()
        await self.probe_let_go.wait()
        if self.is_away:
            raise unavailable()
        return await super().partitions()


async def stalled(site: Site, replica: Replica) -> "asyncio.Future[Answer]":
    """A read whose commit does not come to its end."""
    site.store.hold()
    asked = asyncio.ensure_future(ask(replica.owner, ReadAccount(ACCOUNT_ID)))
    await site.store.waiting.wait()
    return asked


# The lease


@at_a_site
async def test_who_cannot_commit_because_the_database_is_away_for_all_keeps_its_lease(site: Site) -> None:
    site.store = store = ProbedStore()
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    asked = await stalled(site, replica)
    store.is_away = True
    await asyncio.sleep(30)
    assert (site.claims(), site.member("one") is not None) == ({"0": "one", "1": "one"}, True)
    store.is_away = False
    site.store.let_go.set()
    await asked


@at_a_site
async def test_a_commit_that_ends_while_the_database_is_asked_is_not_stuck(site: Site) -> None:
    site.store = store = ProbedStore()
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    groups = ServerGroups([ServerGroup(replica.owner, store)])
    asked = await stalled(site, replica)
    await asyncio.sleep(3.5)
    assert await groups.are_stuck(3.0, 1.0)
    assert not await groups.are_stuck(4.0, 1.0)
    store.probe_let_go.clear()
    store.probed.clear()
    looking = asyncio.ensure_future(groups.are_stuck(3.0, 1.0))
    await store.probed.wait()
    site.store.let_go.set()
    await asked
    store.probe_let_go.set()
    assert not await looking


@at_a_site
async def test_a_commit_that_hangs_on_any_server_is_seen(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    groups = ServerGroups([ServerGroup(each.owner, site.store) for each in (first, second)])
    # The account is of partition 1.
    asked = await stalled(site, second)
    await asyncio.sleep(4)
    assert await groups.are_stuck(3.0, 1.0)
    site.store.let_go.set()
    await asked


@at_a_site
async def test_who_is_idle_stays_a_member_and_writes_nothing(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    assert isinstance(await ask(replica.owner, OpenAccount(ACCOUNT_ID, "")), object)
    # How far the journal went is noted every five seconds, if it went further.
    await asyncio.sleep(12)
    keys, revision = dict(site.etcd.keys), site.etcd.revision
    await asyncio.sleep(60)
    assert (site.etcd.keys, site.etcd.revision) == (keys, revision)
    # Nor was anything claimed twice.
    assert [each.epoch for each in await site.store.partitions()] == [1, 1]


class SlowWatch(FakeEtcdClient):
    """Tells late of what has changed."""

    async def follow(self, prefix: str) -> AsyncIterator[Snapshot]:
        async for snapshot in super().follow(prefix):
            await asyncio.sleep(2)
            yield snapshot


@at_a_site
async def test_what_was_just_claimed_is_not_given_up_for_an_older_view(site: Site) -> None:
    replica = Replica(site, "one")
    answering = asyncio.Event()
    answering.set()
    replica.coordinator._etcd = cast("Any", SlowWatch(site.etcd, random.Random(1), 0.0, answering))
    await replica.owns(0, 1)
    for _ in range(100):
        await asyncio.sleep(0.1)
        assert replica.owner.part_ids == frozenset({0, 1})
    assert [each.epoch for each in await site.store.partitions()] == [1, 1]


@at_a_site
async def test_who_has_not_heard_of_a_claim_does_not_take_it(site: Site) -> None:
    late = Replica(site, "two")
    answering = asyncio.Event()
    answering.set()
    late.coordinator._etcd = cast("Any", SlowWatch(site.etcd, random.Random(1), 0.0, answering))
    while late.coordinator._view is None:  # noqa: ASYNC110  # a coordinator tells nobody
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.6)
    # It is alone by what it looks at now, and acts on in two seconds.
    first = Replica(site, "one")
    await first.owns(0)
    await asyncio.sleep(20)
    assert (first.owner.part_ids, late.owner.part_ids) == (frozenset({0}), frozenset({1}))
    assert (await site.store.partitions())[0].epoch == 1


# Claims that nobody stands for


@at_a_site
async def test_a_claim_of_which_its_owner_knows_nothing_is_given_up(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    # As if the first had claimed it, and never heard that it was done.
    lease = site.etcd.keys[f"{PREFIX}members/one"].lease
    site.etcd.delete(f"{PREFIX}claims/1")
    site.etcd.put(f"{PREFIX}claims/1", b"one", lease)
    await asyncio.sleep(5)
    await second.owns(1)
    assert site.claims() == {"0": "one", "1": "two"}


@at_a_site
async def test_who_lost_its_claim_serves_no_more(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    site.etcd.leases[1] = (LONG_S, LONG_S)
    member = Member("address of two", features=tuple(features.OWN))
    site.etcd.put(f"{PREFIX}members/two", msgspec.json.encode(member), 1)
    site.etcd.put(f"{PREFIX}claims/1", b"two", 1)
    # Before the other one has come to the database.
    await replica.owns(0)


@at_a_site
async def test_a_database_that_is_away_at_the_claim_is_asked_again(site: Site) -> None:
    site.store.claims_failing = True
    replica = Replica(site, "one")
    await asyncio.sleep(10)
    assert (site.claims(), replica.owner.part_ids) == ({"0": "one", "1": "one"}, frozenset())
    site.store.claims_failing = False
    await replica.owns(0, 1)


@at_a_site
async def test_a_database_that_knows_a_later_claim_is_asked_with_later_ones(site: Site) -> None:
    identity = await site.store.initialise(2)
    assert len(await site.store.claim("before", identity.era, [Claim(0, 40), Claim(1, 40)], again=False)) == 2
    replica = Replica(site, "one")
    # Each of its claims is later than the one before.
    await replica.owns(0, 1)


@at_a_site
async def test_a_claim_that_could_not_be_given_up_is_given_up_later(site: Site) -> None:
    first = Replica(site, "one")
    await first.owns(0, 1)
    asked = await stalled(site, first)
    second = Replica(site, "two")
    # It is handed over, and its last answer is still to come.
    while 1 in first.owner.part_ids:  # noqa: ASYNC110  # an owner tells nobody
        await asyncio.sleep(0.01)
    site.etcd.down = True
    site.store.let_go.set()
    await asked
    await asyncio.sleep(4)
    assert site.claims()["1"] == "one"
    site.etcd.down = False
    await second.owns(1)
    await first.owns(0)


@at_a_site
async def test_what_was_handed_over_can_come_back(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    for owner, loser in ((second, first), (first, second), (second, first)):
        assert await loser.coordinator.move(0, owner.directory.own_address) == owner.directory.own_address
        # It is told once the other one serves.
        assert (0 in owner.owner.part_ids, 0 in loser.owner.part_ids) == (True, False)


@at_a_site
async def test_nothing_is_moved_to_who_leaves(site: Site) -> None:
    replica = Replica(site, "one")
    site.etcd.leases[1] = (LONG_S, LONG_S)
    leaving = Member("address of two", leaving=True, features=tuple(features.OWN))
    site.etcd.put(f"{PREFIX}members/two", msgspec.json.encode(leaving), 1)
    await replica.owns(0, 1)
    # It has seen what it claimed.
    await asyncio.sleep(1)
    for address in ("address of two", ""):
        with pytest.raises(ServiceError) as raised:
            await replica.coordinator.move(0, address)
        assert raised.value.reason_name == "NOT_POSSIBLE"


# Who is there


@at_a_site
async def test_who_cannot_reach_its_own_address_goes_on(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    site.refusing = {"address of one"}
    await asyncio.sleep(5)
    assert (site.claims(), replica.owner.part_ids) == ({"0": "one", "1": "one"}, frozenset({0, 1}))
    assert [each.epoch for each in await site.store.partitions()] == [1, 1]
    # Another one that does not reach it either takes over; when that leaves, it takes part as before.
    second = Replica(site, "two")
    await second.owns(0, 1)
    await second.coordinator.leave()
    await asyncio.sleep(5)
    assert (site.claims(), replica.owner.part_ids) == ({"0": "one", "1": "one"}, frozenset({0, 1}))
    assert [each.epoch for each in await site.store.partitions()] == [3, 3]


@at_a_site
async def test_who_comes_again_on_an_address_takes_over_from_who_was_there(site: Site) -> None:
    site.etcd.leases[1] = (LONG_S, LONG_S)
    before = Member("address of one", features=tuple(features.OWN))
    site.etcd.put(f"{PREFIX}members/before", msgspec.json.encode(before), 1)
    for part_id in (0, 1):
        site.etcd.put(f"{PREFIX}claims/{part_id}", b"before", 1)
    # Its lease has not ended.
    await Replica(site, "one").owns(0, 1)


@at_a_site
async def test_who_has_a_successor_at_its_address_neither_takes_nor_gives(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    site.etcd.leases[1] = (LONG_S, LONG_S)
    later = Member("address of one", features=tuple(features.OWN))
    site.etcd.put(f"{PREFIX}members/later", msgspec.json.encode(later), 1)
    before = site.claims()
    await asyncio.sleep(5)
    # The database fences it once the other one claims.
    assert (site.claims(), replica.owner.part_ids) == (before, frozenset({0, 1}))


@at_a_site
async def test_connections_to_replicas_that_have_gone_end(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    # As when a request was passed on.
    channel = first.directory._channel("address of two")
    await asyncio.sleep(2)
    assert channel.get_state() is grpc.ChannelConnectivity.IDLE
    await second.coordinator.leave()
    await first.owns(0, 1)
    await asyncio.sleep(1)
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


# An etcd that is not what it was


@at_a_site
async def test_an_etcd_that_went_back_moves_nothing(site: Site) -> None:
    first = Replica(site, "one")
    await first.owns(0, 1)
    revision, keys = site.etcd.revision, dict(site.etcd.keys)
    second = Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    # Others write there, too.
    for _ in range(1_000):
        site.etcd.put("/another/key", b"", 0)
    await asyncio.sleep(2)
    epochs = [each.epoch for each in await site.store.partitions()]
    # Restored to when the first was alone; watches are broken by that, and tell anew.
    site.etcd.revision, site.etcd.keys = revision, keys
    site.etcd.put("/another/key", b"", 0)
    for _ in range(40):
        await asyncio.sleep(0.5)
        site.etcd.changed.set()
    assert (first.coordinator._forgotten, second.coordinator._forgotten) == (True, True)
    assert (first.owner.part_ids, second.owner.part_ids) == (frozenset({0}), frozenset({1}))
    assert [each.epoch for each in await site.store.partitions()] == epochs


@at_a_site
async def test_an_etcd_that_was_wiped_moves_nothing(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    epochs = [each.epoch for each in await site.store.partitions()]
    site.etcd.leases.clear()
    site.etcd.delete(*list(site.etcd.keys))
    await asyncio.sleep(10)
    # They are members again, and claim nothing until somebody says what the cell is.
    assert (site.member("one") is not None, site.member("two") is not None, site.claims()) == (True, True, {})
    assert (first.owner.part_ids, second.owner.part_ids) == (frozenset({0}), frozenset({1}))
    assert [each.epoch for each in await site.store.partitions()] == epochs


@at_a_site
async def test_a_cell_that_begins_a_new_era_ends_who_is_of_the_one_before(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    cell = msgspec.json.decode(site.etcd.keys[f"{PREFIX}cell"].value)
    site.etcd.put(f"{PREFIX}cell", msgspec.json.encode({**cell, "era": cell["era"] + 1}), 0)
    await asyncio.wait(replica.tasks, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_S)
    error = replica.tasks[1].exception()
    assert isinstance(error, BaseExceptionGroup)
    assert error.split(EraMismatchError)[1] is None


@at_a_site
async def test_how_far_the_journal_went_is_noted_though_etcd_was_away_at_first(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    site.etcd.down = True
    assert await ask(replica.owner, OpenAccount(ACCOUNT_ID, ""))
    await asyncio.sleep(12)
    site.etcd.down = False
    await asyncio.sleep(12)
    noted = site.etcd.keys[f"{PREFIX}reached/1"]
    assert msgspec.json.decode(noted.value, type=Reached) == Reached(1, 2)
