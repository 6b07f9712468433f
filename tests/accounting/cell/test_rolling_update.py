"""A rolling update from the release before vectors, both ways, with real processes of both on one PostgreSQL and one etcd."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import msgspec
import pytest
from google.protobuf.duration_pb2 import Duration

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.cli.postgresql_server import PostgresqlServer
from services.runtime.clients import answer, connect
from services.runtime.lifecycle import Lifecycle
from tests.accounting.one_cell import TOKEN, UNIT, Client, charging_id, create, registry, release, update
from tests.etcd_cluster import EtcdCluster
from tests.release_before import serving, unpacked
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb

# So many that both replicas own some, whatever they are called.
PARTITIONS: Final = 16
# By name.
ALL_FEATURES: Final[list[int]] = [pb.FEATURE_ACTORS, pb.FEATURE_RUNS, pb.FEATURE_SALES, pb.FEATURE_TOKEN_CLASSES]
ADMINISTRATOR: Final = pb.Actor(subject="administrator", proof="admin_token", role="operator")


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the release before."""
    return unpacked(tmp_path_factory.mktemp("release-before"))


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


class Cell:
    """A database and an etcd, on which replicas of both releases run."""

    def __init__(self, folder: Path, before: Path, etcd: EtcdCluster, database: str) -> None:
        self.folder = folder
        self.before = before
        self.etcd = etcd
        self.database = database

    def config(self, name: str) -> dict[str, Any]:
        return {
            "listen_address": f"unix:{self.folder}/{name}",
            "postgresql": self.database,
            "etcd": msgspec.to_builtins(self.etcd.config),
            "etcd_prefix": f"/{self.folder.name}/",
            "registry_address": f"unix:{self.folder}/registry.sock",
            "partitions": PARTITIONS,
            "checkpoint_age_ms": 100,
        }

    @asynccontextmanager
    async def old(self) -> AsyncIterator["OldReplica"]:
        """A replica of the release before, as a process; ended by SIGTERM."""
        async with (
            serving(self.before, self.folder, "accounting", self.config("old")) as process,
            connect(f"unix:{self.folder}/old") as channel,
        ):
            yield OldReplica(channel, process, f"unix:{self.folder}/old")

    @asynccontextmanager
    async def new(self) -> AsyncIterator["Replica"]:
        """A replica of this code."""
        config = msgspec.convert(self.config("new"), AccountingConfig)
        lifecycle = Lifecycle()
        async with run_accounting(config, lifecycle) as address, connect(address) as channel:
            yield Replica(channel, lifecycle, address)
        assert lifecycle.failure is None


class Replica(Client):
    """A client of one replica."""

    def __init__(self, channel: Any, lifecycle: Lifecycle, address: str) -> None:
        super().__init__(channel, lifecycle)
        self.address = address

    async def until(self, owners: set[str], features: list[int]) -> None:
        """Returns once these replicas share all partitions and all members understand the features."""
        async with asyncio.timeout(WAIT_S):
            async for response in self.stub.WatchOwners(pb.WatchOwnersRequest(), wait_for_ready=True):
                owning = {each.address for each in response.owners}
                if len(response.owners) == PARTITIONS and owning == owners and list(response.features) == features:
                    return
        raise AssertionError("the stream ended")

    async def take_all(self, asked: "Replica | None" = None) -> None:
        """Has every partition owned by this replica; `asked` knows of it, as it does itself once it has joined long ago."""
        for part_id in range(PARTITIONS):
            request = pb.MovePartitionRequest(part_id=part_id, address=self.address)
            await (asked or self).stub.MovePartition(request, timeout=WAIT_S)

    async def exact(self) -> pb.AuditResponse:
        audited = await self.audit()
        assert list(audited.breaches) == []
        return audited


class OldReplica(Replica):
    """A client of a replica in a process of its own."""

    def __init__(self, channel: Any, process: asyncio.subprocess.Process, address: str) -> None:
        super().__init__(channel, Lifecycle(), address)
        self.process = process


@pytest.fixture
async def cell(tmp_path: Path, release_before: Path, etcd: EtcdCluster, postgresql: PostgresqlServer) -> AsyncIterator[Cell]:
    async with registry(tmp_path):
        yield Cell(tmp_path, release_before, etcd, postgresql.new_database())


def left(operation: pb.ChargeOperation) -> pb.ChargeOperation:
    """The Release as newer callers send it: the key was revoked, and some of what was made nobody pays for."""
    operation.release.close_cause = pb.CLOSE_CAUSE_REVOKED
    operation.release.unpaid.CopyFrom(pb.TokenUsage(output=9))
    return operation


async def last_record(replica: Replica, account_id: str, session: str) -> pb.SessionSettled:
    return (await replica.records(account_id, session))[-1].session_settled


async def test_a_rolling_update_both_ways(cell: Cell) -> None:
    async with cell.old() as old:
        await old.until({old.address}, [])
        account_id = await old.open(2_000)
        closed, opened = charging_id(), charging_id()
        await old.charge(create(account_id, closed))
        (settled_by_old,) = await old.charge(release(account_id, closed, 2, input=20, output=40))
        await old.charge(create(account_id, opened))
        await old.charge(update(account_id, opened, 2, input=10, output=3))

        async with cell.new() as new:
            # While an old member is there, nobody announces more than it understands.
            await new.until({old.address, new.address}, [])
            await new.take_all()
            await new.until({new.address}, [])
            # What the old one wrote is read: its repeats are known, its open session goes on.
            assert await new.charge(release(account_id, closed, 2, input=20, output=40)) == [settled_by_old]
            assert (await new.account(account_id)).sessions[0].used == pb.TokenUsage(input=10, output=3)
            later = left(release(account_id, opened, 3, input=10, output=5, cache_write_1h=4, audio_output=2))
            (settled_by_new,) = await new.charge(later)
            record = await last_record(new, account_id, opened)
            assert record.usage == pb.TokenUsage(input=10, cache_write=4, output=7)
            assert (record.close_cause, record.absorbed_amount) == (pb.CLOSE_CAUSE_QUOTA_EXHAUSTED, 0)
            assert not record.HasField("unpaid")
            overused = charging_id()
            await new.charge(create(account_id, overused))
            (owing,) = await new.charge(release(account_id, overused, 2, input=20, output=1_000_000))
            # All of it is owed: an old reader knows of nothing else.
            assert owing.settled.debt_amount > 4_096 * UNIT
            assert owing.settled.absorbed_amount == 0
            going = charging_id()
            await new.grant(account_id, 2_000_000, key="second")
            await new.charge(create(account_id, going))
            await new.charge(update(account_id, going, 2, input=10, cache_write_1h=4))
            await new.exact()

            # And back: what the new one wrote is read by the old one, to the micro-unit.
            before = await new.account(account_id)
            await old.take_all()
            await old.until({old.address}, [])
            assert await old.account(account_id) == before
            assert (await old.account(account_id)).sessions[0].used == pb.TokenUsage(input=10, cache_write=4)
            assert await old.charge(release(account_id, overused, 2, input=20, output=1_000_000)) == [owing]
            assert (await old.charge(release(account_id, going, 3, input=10, cache_write=4, output=2)))[0].settled.debt_amount == 0
            await old.exact()
            await new.exact()
            # The update goes on.
            await new.take_all()
            await new.until({new.address}, [])
            assert await new.charge(later) == [settled_by_new]

            old.process.terminate()
            await new.until({new.address}, ALL_FEATURES)
            # Every member understands it now: what comes is written whole.
            last = charging_id()
            await new.charge(create(account_id, last))
            (settled,) = await new.charge(left(release(account_id, last, 2, input=10, output=5, cache_write_1h=4)))
            assert settled.settled.absorbed_amount > 0
            record = await last_record(new, account_id, last)
            assert record.usage == pb.TokenUsage(input=10, output=5, cache_write_1h=4)
            assert (record.close_cause, record.unpaid) == (pb.CLOSE_CAUSE_REVOKED, pb.TokenUsage(output=9))
            audited = await new.exact()
            assert [loss.absorbed for loss in audited.losses] == [settled.settled.absorbed_amount]


async def given(replica: Replica, account_id: str, key: str) -> pb.GrantBucketResponse:
    """A grant by the administrator."""
    granting = pb.GrantBucketRequest(
        account_id=account_id, unit=TOKEN, amount=UNIT, valid_for=Duration(seconds=3_600), idempotency_key=key, actor=ADMINISTRATOR
    )
    return await answer(replica.stub.GrantBucket(granting, timeout=WAIT_S))


async def actors(replica: Replica, account_id: str) -> list[str]:
    """Who gave the commands behind the entries of an account's partition, as a replica reads it."""
    return [entry.actor.subject for entry in await replica.journal(crc32(account_id.encode()) % PARTITIONS)]


async def test_actors_are_written_once_the_release_before_has_gone_and_it_reads_on_when_it_comes_back(cell: Cell) -> None:
    async with cell.new() as new:
        async with cell.old() as old:
            await new.until({old.address, new.address}, [])
            account_id = await new.open(10)
            # Whoever owns the account, and whoever was asked.
            for number, owner in enumerate((old, new)):
                await owner.take_all()
                await given(old, account_id, f"old {number}")
                await given(new, account_id, f"new {number}")
            assert await actors(new, account_id) == [""] * 6
            old.process.terminate()
            await new.until({new.address}, ALL_FEATURES)
        first = await given(new, account_id, "named")
        assert await actors(new, account_id) == [*[""] * 6, "administrator"]
        async with cell.old() as old:
            # What was moved here stays until it is moved again.
            await new.until({new.address}, [])
            await old.take_all(asked=new)
            # The older reader drops what it does not know, and all else is as it was.
            assert await given(old, account_id, "named") == first
            assert await old.account(account_id) == await new.account(account_id)
            assert await actors(old, account_id) == [""] * 7
            assert await actors(new, account_id) == [*[""] * 6, "administrator"]
            assert (await old.exact()).entries == (await new.exact()).entries == 7
            await new.take_all()
            await new.until({new.address}, [])
            assert await given(new, account_id, "named") == first
            assert await actors(new, account_id) == [*[""] * 6, "administrator"]
