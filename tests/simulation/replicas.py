"""Runs with several owners that share the partitions through an etcd, and lose it, each other and themselves."""

import asyncio
import random
from typing import Any, cast
from zlib import crc32

from services.accounting.cell.coordinator import Coordinator
from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.core.commands import Failed, Fault, ReceiveTransfer
from services.accounting.writer.owner import Owner, OwnerSettings
from tests.simulation.fake_etcd import FakeEtcd, FakeEtcdClient
from tests.simulation.faulty_store import Faults, FaultyStore
from tests.simulation.virtual_time import run_virtually
from tests.simulation.world import PARTITIONS, Report, SimulationError, World, catalog

_REPLICAS = 3
_PREFIX = "/cell/"
_VIRTUAL_S_MAX = 900


class Replica:
    """One process of accounting."""

    def __init__(self, world: "ReplicatedWorld", address: str) -> None:
        self.address = address
        self.alive = True
        self.connection = FaultyStore(world.store, world.rng, world.faults, fenced=world.fenced)
        incarnation = f"own-{world.rng.getrandbits(48):012x}"
        self.owner = Owner(
            self.connection,
            world.clock,
            OwnerSettings(
                incarnation=incarnation,
                partitions=PARTITIONS,
                held_wait_ms=world.rng.choice((0, 200)),
                checkpoint_age_ms=world.rng.choice((100, 1_000, 5_000)),
                hot_accounts_max=world.rng.choice((1, 2, 100)),
                packed_bytes_max=world.rng.choice((0, 2_000, 1_000_000)),
            ),
            lost=self._lost,
            deliver=world.deliver,
        )
        self.owner.set_catalog(catalog())
        self.directory = Directory()
        self.directory.own_address = address
        self.etcd = FakeEtcdClient(world.etcd, world.rng, world.etcd_fails, self.connection.thawed)
        self.coordinator = Coordinator(
            cast("Any", self.etcd),
            _PREFIX,
            ServerGroups([ServerGroup(self.owner, self.connection)]),
            self.directory,
            incarnation,
            world.refuses,
        )
        self.tasks = [asyncio.create_task(self.owner.run()), asyncio.create_task(self._coordinate())]

    def _lost(self, part_ids: set[int]) -> None:
        self.coordinator.lost(part_ids)

    async def _coordinate(self) -> None:
        while True:
            try:
                await self.owner.start()
                await self.coordinator.start()
                break
            except Exception:  # etcd and the store fail here at times
                await asyncio.sleep(0.1)
        await self.coordinator.run()

    def check(self) -> None:
        """Errors: `SimulationError` when it ended by itself."""
        for task in self.tasks:
            if task.done() and not task.cancelled():
                raise SimulationError(f"{self.address} died: {task.exception()!r}")

    def kill(self) -> None:
        """kill -9."""
        self.alive = False
        for task in self.tasks:
            task.cancel()

    async def leave(self) -> None:
        """SIGTERM."""
        await self.coordinator.leave()
        await self.owner.stop()
        self.kill()


class ReplicatedWorld(World):
    """See the module."""

    def __init__(self, seed: int, *, faults: Faults, fenced: bool, calls: int, etcd_fails: float) -> None:
        super().__init__(seed, faults=faults, fenced=fenced, calls=calls)
        self.etcd = FakeEtcd()
        self.etcd_fails = etcd_fails
        self.replicas: list[Replica] = []
        self._started = 0
        self._background: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        self._spawn(self.etcd.run())
        for _ in range(_REPLICAS):
            self.start_replica()

    def start_replica(self) -> None:
        self._started += 1
        self.replicas.append(Replica(self, f"replica-{self._started}"))

    @property
    def living(self) -> list[Replica]:
        return [replica for replica in self.replicas if replica.alive]

    async def refuses(self, address: str) -> bool:
        """A frozen process's port still takes connections."""
        return all(replica.address != address for replica in self.living)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)

    async def calm(self) -> None:
        self.etcd.down = False
        for replica in self.living:
            replica.connection.thawed.set()
            replica.connection.faults = self.faults
            replica.etcd.fails = 0.0
        while len(self.living) < _REPLICAS:
            self.start_replica()

    def owner_of(self, account_id: str) -> Owner | None:
        for replica in self.living:
            replica.check()
        part_id = crc32(account_id.encode()) % PARTITIONS
        asked = self.rng.choice(self.living)
        if self.rng.random() < 0.05:
            # An edge whose map is old.
            return asked.owner
        address = asked.directory.addresses.get(part_id)
        return next((replica.owner for replica in self.living if replica.address == address), None)

    async def deliver(self, command: ReceiveTransfer) -> Failed | None:
        owner = self.owner_of(command.account_id)
        if owner is None:
            return Failed(Fault.UNAVAILABLE, "nobody owns it")
        try:
            async with asyncio.timeout(5):
                return await owner.receive(command)
        except TimeoutError:
            return Failed(Fault.UNAVAILABLE, "no answer")

    async def chaos(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(0.1, 6.0))
            what = self.rng.choice(("crash", "freeze", "leave", "etcd", "move", "clock"))
            self.report.counts[what] += 1
            replica = self.rng.choice(self.living)
            if what == "clock":
                self.clock.offset_us += self.rng.choice((-1_500_000, 500_000, 2_000_000))
            elif what == "crash":
                replica.kill()
                await asyncio.sleep(self.rng.choice((0.0, 3.0)))
                self.start_replica()
            elif what == "freeze":
                self._spawn(self.freeze(replica))
            elif what == "leave" and replica.connection.thawed.is_set():
                self.start_replica()
                self._spawn(replica.leave())
            elif what == "etcd":
                self._spawn(self.etcd_down())
            elif what == "move":
                self._spawn(self.move(replica))

    async def freeze(self, replica: Replica) -> None:
        """SIGSTOP, some of them past the end of its lease."""
        replica.connection.thawed.clear()
        await asyncio.sleep(self.rng.choice((0.5, 4.0, 12.0)))
        replica.connection.thawed.set()

    async def etcd_down(self) -> None:
        self.etcd.down = True
        await asyncio.sleep(self.rng.choice((0.5, 4.0, 12.0)))
        self.etcd.down = False

    async def move(self, replica: Replica) -> None:
        try:
            await replica.coordinator.move(self.rng.randrange(PARTITIONS), "")
            self.report.counts["moved"] += 1
        except Exception:  # there is nobody, or etcd is away: an operator would be told
            self.report.counts["not moved"] += 1


def simulate_replicas(seed: int, *, fenced: bool = True, calls: int = 150) -> Report:
    """Runs one seed. Errors: `SimulationError` when a promise was broken."""
    rng = random.Random(seed)
    faults = Faults(
        commit_lost=rng.choice((0.0, 0.01, 0.05)),
        outcome_unknown=rng.choice((0.0, 0.01, 0.05)),
        read_fails=rng.choice((0.0, 0.02)),
    )
    world = ReplicatedWorld(seed, faults=faults, fenced=fenced, calls=calls, etcd_fails=rng.choice((0.0, 0.02, 0.1)))
    report: Report = run_virtually(asyncio.wait_for(world.main(), _VIRTUAL_S_MAX), world.loop)
    return report
