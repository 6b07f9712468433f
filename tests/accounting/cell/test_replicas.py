"""Replicas of accounting that share partitions through a real etcd and a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import pytest
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.accounting.app import run_accounting
from services.accounting.cell.coordinator import WrongCellError, enter_new_era
from services.accounting.cell.server_groups import raise_era
from services.accounting.cell.view import CellRecord, Member, Reached
from services.accounting.config import AccountingConfig
from services.accounting.journal.postgresql import PostgresqlStore
from services.accounting.journal.store import EraMismatchError, Identity, Share, StoreRestoredError
from services.accounting.writer.holdings import OwnershipLostError
from services.cli.postgresql_server import PostgresqlServer
from services.runtime.clients import answer, connect
from services.runtime.clock import SystemClock
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from services.runtime.etcd import EtcdClient
from services.runtime.lifecycle import Lifecycle
from tests.accounting.one_cell import NOT_SERVING, SERVING, UNIT, Client, accounting, charging_id, create, registry, release
from tests.etcd_cluster import EtcdCluster
from tests.waiting import WAIT_S, until
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2

PARTITIONS = 16
_numbers = count()


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


class Replicas:
    """A cell's registry, database and etcd prefix, and the replicas that were started on them."""

    def __init__(self, folder: Path, etcd: EtcdCluster, database: str) -> None:
        self.folder = folder
        self.etcd = etcd
        self.database = database
        self.prefix = f"/cell-{next(_numbers)}/"

    def config(self, **changes: Any) -> AccountingConfig:
        return AccountingConfig(
            **{
                "listen_address": f"unix:{self.folder}/accounting-{next(_numbers)}",
                "postgresql": self.database,
                "etcd": self.etcd.config,
                "etcd_prefix": self.prefix,
                "registry_address": f"unix:{self.folder}/registry.sock",
                "partitions": PARTITIONS,
                **changes,
            }
        )

    @asynccontextmanager
    async def replica(self, **changes: Any) -> AsyncIterator["Replica"]:
        """A replica that takes part until the block ends."""
        config = self.config(**changes)
        lifecycle = Lifecycle()
        async with run_accounting(config, lifecycle) as address, connect(address) as channel:
            yield Replica(channel, lifecycle, address)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[EtcdClient]:
        async with EtcdClient(self.etcd.config) as client:
            yield client

    @asynccontextmanager
    async def store(self) -> AsyncIterator[PostgresqlStore]:
        store = await PostgresqlStore.open(self.database, SystemClock())
        try:
            yield store
        finally:
            await store.close()

    async def cell_record(self) -> CellRecord:
        async with self.client() as client:
            found = await client.get(f"{self.prefix}cell")
        assert found is not None
        return msgspec.json.decode(found.value, type=CellRecord)


class Replica(Client):
    """A client of one replica."""

    def __init__(self, channel: Any, lifecycle: Lifecycle, address: str) -> None:
        super().__init__(channel, lifecycle)
        self.address = address

    async def owners(self) -> dict[int, str]:
        """part_id -> address, as the replica knows it now."""
        watching = self.stub.WatchOwners(pb.WatchOwnersRequest(), timeout=WAIT_S)
        try:
            return {each.part_id: each.address for each in (await anext(aiter(watching))).owners}
        finally:
            # A connection has few streams at once.
            watching.cancel()

    async def settled(self, *addresses: str) -> dict[int, str]:
        """Who owns what, once these replicas, and no others, share all partitions."""

        async with asyncio.timeout(WAIT_S):
            while True:
                owners = await self.owners()
                if len(owners) == PARTITIONS and set(owners.values()) == set(addresses):
                    return owners
                await asyncio.sleep(0.02)

    async def move(self, part_id: int, address: str = "") -> str:
        request = pb.MovePartitionRequest(part_id=part_id, address=address)
        return (await answer(self.stub.MovePartition(request, timeout=WAIT_S))).address

    async def failure(self) -> BaseException:
        """What ended it."""
        await asyncio.wait_for(self.lifecycle.wait(), WAIT_S)
        failure: BaseException | None = self.lifecycle.failure
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        assert failure is not None
        return failure


@pytest.fixture
async def replicas(tmp_path: Path, etcd: EtcdCluster, postgresql: PostgresqlServer) -> AsyncIterator[Replicas]:
    async with registry(tmp_path):
        yield Replicas(tmp_path, etcd, postgresql.new_database())


def partition_of(account_id: str) -> int:
    return crc32(account_id.encode()) % PARTITIONS


async def pay(replica: Replica, account_id: str) -> None:
    """A whole session of 7 tokens."""
    session = charging_id()
    granted = await charged(replica, create(account_id, session))
    assert granted.HasField("granted"), granted
    settled = await charged(replica, release(account_id, session, 2, input=3, output=4))
    assert settled.HasField("settled"), settled


# A repeat is safe, and what an edge does.
LATER = (errors_pb2.ERROR_REASON_NOT_OWNER, errors_pb2.ERROR_REASON_UNAVAILABLE, errors_pb2.ERROR_REASON_STORE_UNAVAILABLE)


async def charged(replica: Replica, operation: pb.ChargeOperation) -> pb.ChargeResult:
    """The result, once the replica serves the partition that it was chosen for."""
    async with asyncio.timeout(WAIT_S):
        while True:
            (result,) = await replica.charge(operation)
            if result.error.reason not in LATER:
                return result
            await asyncio.sleep(0.01)


async def test_replicas_share_the_partitions_and_any_of_them_can_be_asked(replicas: Replicas) -> None:
    async with replicas.replica() as first:
        assert set((await first.settled(first.address)).values()) == {first.address}
        accounts = [await first.open(100) for _ in range(16)]
        async with replicas.replica() as second:
            owners = await second.settled(first.address, second.address)
            assert owners == await first.settled(first.address, second.address)
            for account_id in accounts:
                # Whoever is asked finds the owner.
                for replica in (first, second):
                    assert (await replica.account(account_id)).account_id == account_id
                    await replica.grant(account_id, 50, key="second")
            listed = await answer(second.stub.ListPartitions(pb.ListPartitionsRequest(), timeout=WAIT_S))
            assert {each.part_id: each.owner_address for each in listed.partitions} == owners
        # The second has handed everything back.
        await first.settled(first.address)
        for account_id in accounts:
            assert [bucket.granted for bucket in (await first.account(account_id)).buckets] == [100 * UNIT, 50 * UNIT]
        assert not (await first.audit()).breaches


async def burning(replica: Replica, limit: int = 100) -> pb.ListBurningResponse:
    return await answer(replica.stub.ListBurning(pb.ListBurningRequest(window_seconds=300, account_limit=limit), timeout=WAIT_S))


async def test_any_replica_tells_which_accounts_of_the_cell_burn_most(replicas: Replicas) -> None:
    async with replicas.replica() as first:
        async with replicas.replica() as second:
            owners = await first.settled(first.address, second.address)
            by_address = {first.address: first, second.address: second}
            accounts = [await first.open(1_000) for _ in range(16)]
            assert {owners[partition_of(account_id)] for account_id in accounts} == by_address.keys()
            for number, account_id in enumerate(accounts, 1):
                for _ in range(1 + number // 8):
                    await pay(by_address[owners[partition_of(account_id)]], account_id)
            told = await burning(first)
            assert told == await burning(second)
            (unit,) = told.units
            # Seven accounts paid once, eight twice, and the last one thrice.
            assert (unit.records, unit.charged_amount, unit.error_amount) == (26, 26 * unit.accounts[-1].charged_amount, 0)
            assert [each.account_id for each in unit.accounts[:1]] == accounts[-1:]
            assert {each.account_id for each in unit.accounts} == set(accounts)
            (unit,) = (await burning(first, limit=2)).units
            assert len(unit.accounts) == 2
        # An owner's memory is gone with it, and nobody waits for it.
        await first.settled(first.address)
        left = await burning(first)
        gone = {account_id for account_id in accounts if owners[partition_of(account_id)] != first.address}
        assert {each.account_id for each in left.units[0].accounts} == set(accounts) - gone
        assert list(left.silent_addresses) == []


async def test_a_charge_at_another_than_the_owner_says_so(replicas: Replicas) -> None:
    async with replicas.replica() as first, replicas.replica() as second:
        owners = await first.settled(first.address, second.address)
        by_address = {first.address: first, second.address: second}
        account_id = await first.open(100)
        (partition,) = {part_id for part_id in owners if part_id == partition_of(account_id)}
        owner = by_address[owners[partition]]
        other = second if owner is first else first
        (refused,) = await other.charge(create(account_id, charging_id()))
        assert refused.error.message == f"partition {partition} is not owned here; ask its owner"
        await pay(owner, account_id)


async def test_a_gift_crosses_from_owner_to_owner(replicas: Replicas) -> None:
    async with replicas.replica() as first, replicas.replica() as second:
        owners = await first.settled(first.address, second.address)
        accounts = [await first.open(100) for _ in range(24)]
        sender = next(each for each in accounts if owners[partition_of(each)] == first.address)
        receiver = next(each for each in accounts if owners[partition_of(each)] == second.address)
        money = pb.GrantBucketRequest(
            account_id=sender,
            unit=pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="CNY"),
            amount=100 * UNIT,
            valid_for=Duration(seconds=86_400),
            idempotency_key="money",
        )
        await answer(first.stub.GrantBucket(money, timeout=WAIT_S))
        order = pb.PlaceOrderRequest(
            account_id=sender, offering_id="personal-10m", payment_method=registry_pb2.PAYMENT_METHOD_PREPAID, idempotency_key="o"
        )
        subscription_id = (await answer(first.stub.PlaceOrder(order, timeout=WAIT_S))).order.subscription_id
        buckets = (await first.account(sender)).buckets
        bucket_id = next(each.bucket_id for each in buckets if each.subscription_id == subscription_id)
        gift = pb.SendTransferRequest(
            account_id=sender, to_account_id=receiver, bucket_id=bucket_id, amount=30 * UNIT, idempotency_key="gift"
        )
        # Asked at the receiver's owner, of all.
        await answer(second.stub.SendTransfer(gift, timeout=WAIT_S))

        async with asyncio.timeout(WAIT_S):
            while len((await first.account(receiver)).buckets) < 2 or (await first.audit()).transits:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert [bucket.granted for bucket in (await first.account(receiver)).buckets] == [100 * UNIT, 30 * UNIT]
        assert not (await second.audit()).breaches


async def test_an_open_session_goes_on_at_the_next_owner(replicas: Replicas) -> None:
    async with replicas.replica() as first, replicas.replica() as second:
        owners = await first.settled(first.address, second.address)
        account_id = await first.open(100)
        part_id = partition_of(account_id)
        by_address = {first.address: first, second.address: second}
        owner = by_address[owners[part_id]]
        other = second if owner is first else first
        session = charging_id()
        granted = await charged(owner, create(account_id, session))
        assert granted.HasField("granted")
        assert await first.move(part_id) == other.address
        assert (await first.owners())[part_id] == other.address
        settled = await charged(other, release(account_id, session, 2, input=3, output=4))
        assert settled.HasField("settled")
        (late,) = await owner.charge(release(account_id, session, 2, input=3, output=4))
        assert late.error.message == f"partition {part_id} is not owned here; ask its owner"
        assert (await owner.account(account_id)).buckets[0].consumed == 7 * UNIT
        assert len(await other.records(account_id, session)) == 1
        # And back by its address; it stays there.
        assert await second.move(part_id, owner.address) == owner.address
        await asyncio.sleep(1.5)
        assert (await second.owners())[part_id] == owner.address


async def test_a_move_to_nobody_is_refused(replicas: Replicas) -> None:
    async with replicas.replica() as alone:
        await alone.settled(alone.address)
        with pytest.raises(ServiceError, match="no other replica could take partition 3; start one more") as error:
            await alone.move(3)
        assert error.value.reason_name == "NOT_POSSIBLE"
        with pytest.raises(ServiceError, match=r"no replica that could take partition 3 is at nowhere:1; there are unix:"):
            await alone.move(3, "nowhere:1")
        with pytest.raises(ServiceError, match="part_id must be 0 to 15"):
            await alone.move(PARTITIONS)
        # To where it is: nothing happens.
        assert await alone.move(3, alone.address) == alone.address


async def test_what_is_pinned_goes_on_without_its_replica(replicas: Replicas) -> None:
    async with replicas.replica() as first:
        async with replicas.replica() as second:
            owners = await first.settled(first.address, second.address)
            part_id = next(each for each in owners if owners[each] == first.address)
            assert await first.move(part_id, second.address) == second.address
        await first.settled(first.address)
        async with replicas.client() as client:
            assert not [name for name in (await client.get_prefix(replicas.prefix)).keys if name.startswith("moves/")]


async def test_etcd_away_at_the_start_is_waited_for(
    replicas: Replicas, tmp_path: Path, caplog: pytest.LogCaptureFixture, postgresql: PostgresqlServer
) -> None:
    with EtcdCluster(1) as late:
        late.kill(0)
        async with replicas.replica(etcd=late.config) as replica:
            # Where one that needs no etcd has got its catalog, this one has, too.
            alone = AccountingConfig(
                listen_address="127.0.0.1:0",
                database=str(tmp_path / "alone.sqlite3"),
                registry_address=f"unix:{replicas.folder}/registry.sock",
            )
            async with accounting(alone) as other:
                await other.health(SERVING)
            caplog.clear()
            await until(lambda: "can't be reached or has no leader; check endpoints" in caplog.text)
            # Whoever rolls replicas out must not stop an old one for this one yet.
            asked = await health_pb2_grpc.HealthStub(replica.channel).Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert asked.status == NOT_SERVING
            (refused,) = await replica.charge(create("acct-12345678", charging_id()))
            assert refused.error.message == f"partition {partition_of('acct-12345678')} is not owned here; ask its owner"
            await asyncio.to_thread(late.start, 0)
            await replica.settled(replica.address)
            await replica.health(SERVING)


async def test_while_etcd_is_down_owners_go_on(replicas: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    with EtcdCluster(1) as own:
        replicas.etcd = own
        async with replicas.replica() as first, replicas.replica() as second:
            owners = await first.settled(first.address, second.address)
            account_id = await first.open(1_000)
            owner = {first.address: first, second.address: second}[owners[partition_of(account_id)]]
            own.kill(0)
            paid = 0
            # Longer than a lease, which is noticed then.
            async with asyncio.timeout(WAIT_S):
                while paid < 12 or "partitions stay where they are until it is back" not in caplog.text:
                    await pay(owner, account_id)
                    paid += 1
                    await asyncio.sleep(0.5)
            await asyncio.to_thread(own.start, 0)
            assert await first.settled(first.address, second.address) == owners
            await pay(owner, account_id)
            assert (await first.account(account_id)).buckets[0].consumed == (paid + 1) * 7 * UNIT


async def test_an_etcd_that_was_wiped_is_treated_as_down_until_recover(
    replicas: Replicas, caplog: pytest.LogCaptureFixture
) -> None:
    async with replicas.replica() as first, replicas.replica() as second:
        owners = await first.settled(first.address, second.address)
        account_id = await first.open(100)
        owner = {first.address: first, second.address: second}[owners[partition_of(account_id)]]
        async with replicas.client() as client:
            for name in (await client.get_prefix(replicas.prefix)).keys:
                await client.delete(f"{replicas.prefix}{name}")
        await until(lambda: "etcd has lost what it knew of this cell" in caplog.text)
        await asyncio.sleep(1.5)
        await pay(owner, account_id)
        assert await first.owners() == owners
        async with replicas.store() as store, replicas.client() as client:
            identity = await store.initialise(PARTITIONS)
            assert await enter_new_era(client, replicas.prefix, [store], identity.cell_id, PARTITIONS) == 2
        # Both end, so that they start again in the new era.
        for replica in (first, second):
            assert isinstance(await replica.failure(), EraMismatchError)
    async with replicas.replica() as again:
        await again.settled(again.address)
        assert (await again.account(account_id)).buckets[0].consumed == 7 * UNIT
        await pay(again, account_id)


async def test_an_etcd_that_went_back_gives_no_partition_away(replicas: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    """Restored from an old backup, its revisions are below those that the database knows."""
    async with replicas.replica() as first:
        await first.settled(first.address)
        account_id = await first.open(100)
    async with replicas.store() as store:
        await store._readers._pool.execute("UPDATE partition SET claim_revision = 1000000000")
    async with replicas.replica() as second:
        await until(lambda: "etcd was restored: run `tokenline recover`" in caplog.text)
        (refused,) = await second.charge(create(account_id, charging_id()))
        assert refused.HasField("error")
    async with replicas.store() as store, replicas.client() as client:
        identity = await store.initialise(PARTITIONS)
        await enter_new_era(client, replicas.prefix, [store], identity.cell_id, PARTITIONS)
    async with replicas.replica() as third:
        await third.settled(third.address)
        await pay(third, account_id)


async def test_a_database_that_went_back_is_noticed_at_the_claim(replicas: Replicas) -> None:
    async with replicas.replica() as first:
        await first.settled(first.address)
        account_id = await first.open(100)

        async with asyncio.timeout(WAIT_S), replicas.client() as client:
            while True:
                known = await client.get(f"{replicas.prefix}reached/{partition_of(account_id)}")
                if known is not None and msgspec.json.decode(known.value, type=Reached) == Reached(1, 3):
                    break
                await asyncio.sleep(0.1)
    # As it was before the account was opened.
    async with replicas.store() as store:
        await store._readers._pool.execute("UPDATE partition SET next_seq = 1, low_water = 1")
        await store._readers._pool.execute("DELETE FROM journal")
        await store._readers._pool.execute("DELETE FROM checkpoint")
    async with replicas.replica() as second:
        failure = await second.failure()
        assert isinstance(failure, StoreRestoredError)
        part_id = partition_of(account_id)
        assert str(failure) == (
            f"partition {part_id} ends at row 0, but row 2 was committed: the database was restored from a backup; "
            "see what is missing, then run `tokenline recover`"
        )
    async with replicas.store() as store, replicas.client() as client:
        identity = await store.initialise(PARTITIONS)
        assert await enter_new_era(client, replicas.prefix, [store], identity.cell_id, PARTITIONS) == 2
    async with replicas.replica() as third:
        await third.settled(third.address)
        with pytest.raises(ServiceError, match="no account"):
            await third.account(account_id)


async def test_two_cells_on_one_prefix_are_refused(replicas: Replicas, postgresql: PostgresqlServer) -> None:
    async with replicas.replica() as first:
        await first.settled(first.address)
        other = replicas.database
        replicas.database = postgresql.new_database()
        async with replicas.replica() as stranger:
            failure = await stranger.failure()
            assert isinstance(failure, WrongCellError)
            assert "give each cell a database and an etcd prefix of its own" in str(failure)
        async with replicas.store() as store, replicas.client() as client:
            identity = await store.initialise(PARTITIONS)
            with pytest.raises(WrongCellError):
                await enter_new_era(client, replicas.prefix, [store], identity.cell_id, PARTITIONS)
        replicas.database = other
        await pay(first, await first.open(100))


async def test_two_cells_on_one_database_are_refused(replicas: Replicas) -> None:
    """The same database under another prefix, or another etcd: its claims would be another coordinator's."""
    async with replicas.replica() as first:
        await first.settled(first.address)
        account_id = await first.open(100)
        async with replicas.replica(etcd_prefix="/another/") as second:
            failure = await second.failure()
            assert isinstance(failure, WrongCellError)
            assert "through another etcd, or another prefix than /another/: give all replicas of a cell the same" in str(failure)
        await pay(first, account_id)


async def test_one_process_without_etcd_is_refused_where_replicas_are(replicas: Replicas) -> None:
    async with replicas.replica() as first:
        await first.settled(first.address)
    with pytest.raises(OwnershipLostError, match="claimed through a coordinator; give this process the same one"):
        async with run_accounting(replicas.config(etcd=None), Lifecycle()):
            pass


async def test_another_number_of_partitions_is_refused(replicas: Replicas) -> None:
    async with replicas.replica() as first:
        await first.settled(first.address)
    with pytest.raises(ServiceError, match=r"the store has 16 partitions and the config says 8; .* set partitions to 16"):
        async with run_accounting(replicas.config(partitions=8), Lifecycle()):
            pass


async def test_a_member_that_cannot_be_reached_and_beats_keeps_its_partitions(replicas: Replicas) -> None:
    """Slow is not dead: only a port that refuses lets others take over before the lease ends."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with AsyncExitStack() as stack, replicas.client() as client:
        lease = await client.grant(60)
        member = msgspec.json.encode(Member(f"127.0.0.1:{port}"))
        await client.put(f"{replicas.prefix}members/silent", member, lease)
        for part_id in range(PARTITIONS):
            await client.put(f"{replicas.prefix}claims/{part_id}", b"silent", lease)
        replica = await stack.enter_async_context(replicas.replica())
        await asyncio.sleep(2)
        assert set((await replica.owners()).values()) == {f"127.0.0.1:{port}"}
        server.close()
        await server.wait_closed()
        # Long before the lease of 60 s ends.
        await replica.settled(replica.address)


async def test_two_replicas_on_one_address_are_told(replicas: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    async with replicas.replica(advertised_address="127.0.0.1:1") as first:
        async with asyncio.timeout(WAIT_S):
            while len(await first.owners()) < PARTITIONS:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with replicas.replica(advertised_address="127.0.0.1:1"):
            await until(lambda: "give each an advertised_address of its own" in caplog.text)


@pytest.mark.parametrize("address", ["0.0.0.0:7003", "[::]:7003"])
async def test_an_address_that_others_cannot_use_is_refused(replicas: Replicas, address: str) -> None:
    with pytest.raises(ConfigError, match="advertised_address: give it, too"):
        async with run_accounting(replicas.config(listen_address=address), Lifecycle()):
            pass
    assert not replicas.config(listen_address=address, advertised_address="accounting-0:7003").is_unreachable


# Two database servers


@pytest.fixture(scope="module")
def second_server() -> Iterator[PostgresqlServer]:
    with PostgresqlServer() as server:
        yield server


async def accounts_apart(replica: Replica, count: int) -> tuple[list[str], list[str]]:
    """So many new accounts on each of two servers."""
    apart: tuple[list[str], list[str]] = ([], [])
    while min(len(each) for each in apart) < count:
        account_id = await replica.open(1_000)
        apart[partition_of(account_id) % 2].append(account_id)
    return apart[0][:count], apart[1][:count]


async def test_partitions_on_two_database_servers(
    replicas: Replicas, postgresql: PostgresqlServer, second_server: PostgresqlServer
) -> None:
    databases = (postgresql.new_database(), second_server.new_database())
    async with (
        replicas.replica(postgresql=databases) as first,
        replicas.replica(postgresql=databases) as second,
    ):
        owners = await first.settled(first.address, second.address)
        by_address = {first.address: first, second.address: second}

        async def pay_at_owner(account_id: str) -> None:
            await pay(by_address[owners[partition_of(account_id)]], account_id)

        here, there = await accounts_apart(first, 3)
        await asyncio.gather(*(pay_at_owner(each) for each in here + there))
        listed = await answer(first.stub.ListPartitions(pb.ListPartitionsRequest(), timeout=WAIT_S))
        assert [each.part_id for each in listed.partitions] == list(range(PARTITIONS))
        audited = await first.audit()
        assert (audited.accounts >= 6, list(audited.breaches)) == (True, [])

        # One of the two goes away: only its own partitions do.
        await asyncio.to_thread(second_server.stop)
        try:
            for account_id in here:
                await pay_at_owner(account_id)
            owner = by_address[owners[partition_of(there[0])]]
            (refused,) = await owner.charge(create(there[0], charging_id()))
            assert refused.error.reason in LATER
        finally:
            await asyncio.to_thread(second_server.start)
        assert owners == await first.settled(first.address, second.address)
        for account_id in there:
            await pay_at_owner(account_id)
        assert not (await first.audit()).breaches
        assert {(await first.account(each)).buckets[0].consumed for each in here + there} == {14 * UNIT}


@pytest.mark.parametrize(
    ("order", "partitions", "said"),
    [
        ((1, 0), PARTITIONS, "the database server 0 has 8 partitions, from 1, 3, 5 on; by the config, 16 on 2 servers"),
        ((0,), PARTITIONS, "the database server 0 has 8 partitions, from 0, 2, 4 on; by the config, 16 on 1 servers"),
        ((0, 1), 8, "the database server 0 has 8 partitions, from 0, 2, 4 on; by the config, 8 on 2 servers"),
        ((0, 2), PARTITIONS, "the database server 1 is of cell cell-.*, the one before of cell cell-.*; give each cell databases"),
    ],
)
async def test_other_servers_than_at_installation_are_refused(
    replicas: Replicas, postgresql: PostgresqlServer, order: tuple[int, ...], partitions: int, said: str
) -> None:
    databases = [postgresql.new_database() for _ in range(4)]
    for pair in (databases[:2], [databases[3], databases[2]]):
        async with run_accounting(replicas.config(postgresql=tuple(pair), etcd=None), Lifecycle()):
            pass
    changed = replicas.config(postgresql=tuple(databases[each] for each in order), etcd=None, partitions=partitions)
    with pytest.raises(ServiceError, match=said):
        async with run_accounting(changed, Lifecycle()):
            pass


async def test_a_new_era_is_one_on_all_servers(postgresql: PostgresqlServer) -> None:
    stores = [await PostgresqlStore.open(postgresql.new_database(), SystemClock()) for _ in range(2)]
    try:
        cell_id = (await stores[0].initialise(PARTITIONS, Share(0, 2))).cell_id
        await stores[1].initialise(PARTITIONS, Share(1, 2), cell_id)
        await stores[1].raise_era(6)
        assert await raise_era(stores, 3, "etcd-1") == 8
        assert [await store.identity() for store in stores] == [Identity(cell_id, 8)] * 2
        assert await raise_era(stores, 20) == 21
    finally:
        for store in stores:
            await store.close()
