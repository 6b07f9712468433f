"""Who owns which partition while members come, go and fall silent: coordinators in virtual time, on an etcd in memory."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec

from services.accounting.cell.coordinator import Coordinator
from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.cell.view import Member, Reached
from services.accounting.core import features
from services.accounting.core.commands import ReadAccount
from services.accounting.journal.memory import MemoryStore
from services.accounting.journal.store import WHOLE
from services.accounting.writer.asking import ask
from services.accounting.writer.owner import Owner, OwnerSettings
from tests.accounting.ledger import ACCOUNT_ID, CATALOG
from tests.accounting.owners import HeldStore
from tests.simulation.fake_etcd import FakeEtcd, FakeEtcdClient
from tests.simulation.virtual_time import LoopClock, VirtualLoop, run_virtually

PREFIX = "/cell/"
PARTITIONS = 2
# A lease that ends within no test.
LONG_S = 1_000.0


class Replica:
    """One process of accounting."""

    def __init__(self, site: "Site", name: str) -> None:
        self.owner = Owner(
            site.store,
            site.clock,
            OwnerSettings(
                incarnation=name,
                partitions=PARTITIONS,
                held_wait_ms=0,
                checkpoint_age_ms=5_000,
                hot_accounts_max=100,
                packed_bytes_max=1_000,
            ),
            lost=self._lost,
        )
        self.owner.set_catalog(CATALOG)
        self.directory = Directory()
        self.directory.own_address = f"address of {name}"
        answering = asyncio.Event()
        answering.set()
        self.coordinator = Coordinator(
            cast("Any", FakeEtcdClient(site.etcd, random.Random(name), 0.0, answering)),
            PREFIX,
            ServerGroups([ServerGroup(self.owner, site.store)]),
            self.directory,
            name,
            site.refuses,
        )
        self.tasks = [asyncio.create_task(self.owner.run()), asyncio.create_task(self._coordinate())]

    def _lost(self, part_ids: set[int]) -> None:
        self.coordinator.lost(part_ids)

    async def _coordinate(self) -> None:
        await self.owner.start()
        await self.coordinator.start()
        await self.coordinator.run()

    async def owns(self, *part_ids: int) -> None:
        """Returns once it serves these partitions and no others."""
        async with asyncio.timeout(60):
            while self.owner.part_ids != frozenset(part_ids):  # noqa: ASYNC110  # an owner tells nobody
                await asyncio.sleep(0.05)


class Site:
    """An etcd, a database, and the replicas that share them."""

    def __init__(self, loop: VirtualLoop) -> None:
        self.clock = LoopClock(loop)
        self.store = HeldStore()
        self.etcd = FakeEtcd()
        self.ending_leases = asyncio.ensure_future(self.etcd.run())
        # Addresses at which nobody listens.
        self.refusing: set[str] = set()

    async def refuses(self, address: str) -> bool:
        return address in self.refusing

    def claims(self) -> dict[str, str]:
        """The owner of each partition that is claimed."""
        return {
            key.removeprefix(f"{PREFIX}claims/"): each.value.decode()
            for key, each in self.etcd.keys.items()
            if key.startswith(f"{PREFIX}claims/")
        }

    def member(self, name: str) -> Member | None:
        """What a replica says of itself, as long as its lease lives."""
        found = self.etcd.keys.get(f"{PREFIX}members/{name}")
        return None if found is None else msgspec.json.decode(found.value, type=Member)


def at_a_site(test: Callable[[Site], Coroutine[None, None, None]]) -> Callable[[], None]:
    """Runs an async test on a loop whose time jumps, at a site without replicas."""

    def run() -> None:
        loop = VirtualLoop()

        async def main() -> None:
            await asyncio.wait_for(test(Site(loop)), 10_000)

        run_virtually(main(), loop)

    # No functools.wraps: pytest would look behind it and take `site` for a fixture.
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@at_a_site
async def test_who_leaves_says_so_and_keeps_its_claims_until_all_is_answered(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    site.store.hold()
    asked = asyncio.ensure_future(ask(replica.owner, ReadAccount(ACCOUNT_ID)))
    await site.store.waiting.wait()
    leaving = asyncio.ensure_future(replica.coordinator.leave())
    await asyncio.sleep(1)
    member = site.member("one")
    assert member is not None
    assert member.leaving
    # Another one that claimed now would fence off the commit that is under way.
    assert site.claims() == {"0": "one", "1": "one"}
    assert not asked.done()
    site.store.let_go.set()
    await leaving
    assert asked.done()
    assert (site.claims(), site.member("one")) == ({}, None)


@at_a_site
async def test_who_cannot_commit_though_the_database_answers_lets_its_lease_end(site: Site) -> None:
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    site.store.hold()
    asked = asyncio.ensure_future(ask(replica.owner, ReadAccount(ACCOUNT_ID)))
    await site.store.waiting.wait()
    # Three seconds until it is noticed, five of the lease, and a look a second.
    await asyncio.sleep(2)
    assert site.member("one") is not None
    await asyncio.sleep(8)
    assert (site.claims(), site.member("one")) == ({}, None)
    site.store.let_go.set()
    await asked
    await asyncio.sleep(5)
    await replica.owns(0, 1)
    assert (site.claims(), site.member("one")) == (
        {"0": "one", "1": "one"},
        Member("address of one", False, tuple(sorted(features.OWN))),
    )


@at_a_site
async def test_who_refuses_connections_for_a_moment_is_not_dead(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    # The hashes of these names share the partitions like this.
    await first.owns(0)
    await second.owns(1)
    assert site.claims() == {"0": "one", "1": "two"}
    before = site.etcd.keys[f"{PREFIX}claims/1"]
    site.refusing = {"address of two"}
    # At least one knock finds nobody there.
    await asyncio.sleep(0.3)
    site.refusing = set()
    await asyncio.sleep(3)
    # It was not even taken and given back.
    assert site.etcd.keys[f"{PREFIX}claims/1"] == before
    site.refusing = {"address of two"}
    await asyncio.sleep(1.5)
    assert site.claims() == {"0": "one", "1": "one"}


@at_a_site
async def test_a_claim_of_its_own_on_an_earlier_lease_is_made_anew(site: Site) -> None:
    site.etcd.leases[1] = (LONG_S, LONG_S)
    site.etcd.put(f"{PREFIX}claims/0", b"one", 1)
    replica = Replica(site, "one")
    await replica.owns(0, 1)
    leases = {part_id: site.etcd.keys[f"{PREFIX}claims/{part_id}"].lease for part_id in (0, 1)}
    own = site.etcd.keys[f"{PREFIX}members/one"].lease
    assert leases == {0: own, 1: own}


@at_a_site
async def test_who_leaves_is_owed_no_partition(site: Site) -> None:
    site.etcd.leases[1] = (LONG_S, LONG_S)
    leaving = Member("address of two", leaving=True, features=tuple(sorted(features.OWN)))
    site.etcd.put(f"{PREFIX}members/two", msgspec.json.encode(leaving), 1)
    # One of the two would be its own otherwise.
    await Replica(site, "one").owns(0, 1)


@at_a_site
async def test_what_an_operator_wants_goes_before_the_hashes(site: Site) -> None:
    first, second = Replica(site, "one"), Replica(site, "two")
    await first.owns(0)
    await second.owns(1)
    site.etcd.put(f"{PREFIX}moves/0", b"two", 0)
    await second.owns(0, 1)
    await first.owns()
    assert site.claims() == {"0": "two", "1": "two"}


@at_a_site
async def test_a_database_is_only_held_to_how_far_this_era_went(site: Site) -> None:
    await site.store.initialise(PARTITIONS, WHOLE, "")
    era = await site.store.raise_era(0)
    site.etcd.put(f"{PREFIX}reached/0", msgspec.json.encode(Reached(era - 1, 1_000)), 0)
    await Replica(site, "one").owns(0, 1)


@at_a_site
async def test_another_coordinator_is_told_whichever_server_knows_it(site: Site) -> None:
    replica = Replica(site, "one")
    stores = [MemoryStore(), MemoryStore()]
    for store in stores:
        await store.initialise(PARTITIONS, WHOLE, "cell")
    await stores[1].coordinated_by("another etcd")
    groups = ServerGroups([ServerGroup(replica.owner, store) for store in stores])
    assert await groups.coordinated_by("this etcd") == "another etcd"
