"""Replicas of accounting that pass on what they are asked, with TLS, through a real etcd and a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from services.accounting.app import run_accounting
from services.accounting.cell.directory import Directory
from services.accounting.config import AccountingConfig
from services.callers import CALLERS
from services.cli.postgresql_server import PostgresqlServer
from services.runtime.certificates import GrpcServerConfig
from services.runtime.clients import answer, connect
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tests.accounting.one_cell import TOKEN, UNIT, registry
from tests.etcd_cluster import EtcdCluster
from tests.trust.authority import certificates, files_of, made
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

# So many that, whatever the replicas are called, each gets some.
_PARTITIONS: Final = 32
_REQUIRED: Final = {"grpc_tls": "required"}
_numbers: Final = count()
_BOTH: Final = {"grpc_tls": "both", "grpc_tls_port": 0}


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


@asynccontextmanager
async def _replicas(
    folder: Path, authority: Path, etcd: EtcdCluster, database: str, *modes: dict[str, Any]
) -> AsyncIterator[list[str]]:
    """Replicas, each with TLS in its mode; their addresses."""
    lifecycle = Lifecycle()
    prefix = f"/trust-{next(_numbers)}/"
    async with registry(folder), AsyncExitStack() as stack:
        addresses = []
        for mode in modes:
            config = AccountingConfig(
                listen_address="127.0.0.1:0",
                **mode,
                **files_of(authority, "accounting"),
                postgresql=database,
                etcd=etcd.config,
                etcd_prefix=prefix,
                registry_address=f"unix:{folder}/registry.sock",
                partitions=_PARTITIONS,
            )
            addresses.append(await stack.enter_async_context(run_accounting(config, lifecycle)))
        yield addresses
    assert lifecycle.failure is None


async def _owners(channel: grpc.aio.Channel) -> dict[int, str]:
    stub: Any = accounting_pb2_grpc.AccountingServiceStub(channel)
    watching = stub.WatchOwners(pb.WatchOwnersRequest(), timeout=WAIT_S)
    try:
        return {each.part_id: each.address for each in (await anext(aiter(watching))).owners}
    finally:
        # A connection has few streams at once.
        watching.cancel()


async def _settled(channel: grpc.aio.Channel, addresses: set[str]) -> dict[int, str]:
    """Who owns which partition, once all of these do."""
    async with asyncio.timeout(WAIT_S):
        while len(owners := await _owners(channel)) != _PARTITIONS or set(owners.values()) != addresses:
            pass
    return owners


def _account_of(partitions: set[int]) -> str:
    names = (f"acct-{number:08}" for number in range(1_000))
    return next(name for name in names if crc32(name.encode()) % _PARTITIONS in partitions)


async def test_a_replica_asks_who_calls_before_it_passes_on_and_the_owner_trusts_the_replica(
    tmp_path: Path, etcd: EtcdCluster, postgresql: PostgresqlServer
) -> None:
    authority = made(tmp_path / "certs")
    async with (
        _replicas(tmp_path, authority, etcd, postgresql.new_database(), _REQUIRED, _REQUIRED) as (first, second),
        connect(first, "accounting", certificates(authority, "edge")) as edge,
        connect(first, "accounting", certificates(authority, "billing")) as billing,
    ):
        owners = await _settled(edge, {first, second})
        account_id = _account_of({part_id for part_id, address in owners.items() if address == second})
        actor = pb.Actor(subject="administrator", proof="admin_token", role="operator")
        granting = pb.GrantBucketRequest(
            account_id=account_id,
            unit=TOKEN,
            amount=5 * UNIT,
            valid_for=Duration(seconds=3_600),
            idempotency_key="once",
            actor=actor,
        )
        stub = accounting_pb2_grpc.AccountingServiceStub(edge)
        await answer(stub.OpenAccount(pb.OpenAccountRequest(account_id=account_id), timeout=WAIT_S))

        async def refused(method: str, request: Any, *metadata: tuple[str, str]) -> str:
            with pytest.raises(grpc.aio.AioRpcError) as found:
                await getattr(accounting_pb2_grpc.AccountingServiceStub(billing), method)(
                    request, timeout=WAIT_S, metadata=metadata
                )
            assert found.value.code() == grpc.StatusCode.PERMISSION_DENIED
            return found.value.details() or ""

        said = "billing.tokenline may not call /tokenline.accounting.v1.AccountingService/"
        assert await refused("GrantBucket", granting) == f"{said}GrantBucket"
        # Whoever says himself that he passes something on is believed no more.
        assert await refused("GrantBucket", granting, ("tokenline-forwarded", "1")) == f"{said}GrantBucket"
        assert await refused("HasOffering", pb.HasOfferingRequest(account_id=account_id)) == f"{said}HasOffering"
        account = (await answer(stub.GetAccount(pb.GetAccountRequest(account_id=account_id), timeout=WAIT_S))).account
        assert list(account.buckets) == []

        granted = await answer(stub.GrantBucket(granting, timeout=WAIT_S))
        assert granted.bucket.remaining == 5 * UNIT
        # It was passed on with its actor.
        part_id = crc32(account_id.encode()) % _PARTITIONS
        reading_journal = stub.ReadJournal(pb.ReadJournalRequest(part_id=part_id), timeout=WAIT_S)
        entries = [entry async for response in reading_journal for entry in response.entries]
        assert [(entry.WhichOneof("fact"), entry.actor) for entry in entries] == [
            ("account_opened", pb.Actor()),
            ("bucket_granted", actor),
        ]
        # What billing may read, it reads by any replica.
        reading = pb.GetSessionRecordsRequest(account_id=account_id, charging_id="01890a5d-ac96-774b-bcce-b302099a8057")
        with pytest.raises(ServiceError) as unknown:
            await answer(accounting_pb2_grpc.AccountingServiceStub(billing).GetSessionRecords(reading, timeout=WAIT_S))
        assert unknown.value.reason_name == "RECORD_UNKNOWN"


async def test_replicas_that_are_at_different_steps_pass_on_to_one_another(
    tmp_path: Path, etcd: EtcdCluster, postgresql: PostgresqlServer
) -> None:
    authority = made(tmp_path / "certs")
    edge = certificates(authority, "edge")
    async with _replicas(tmp_path, authority, etcd, postgresql.new_database(), _BOTH, _REQUIRED) as (plain, secure):
        assert (plain.startswith("127.0.0.1:"), secure.startswith("tls:127.0.0.1:")) == (True, True)
        async with connect(plain, "accounting", edge) as of_plain, connect(secure, "accounting", edge) as of_secure:
            owners = await _settled(of_plain, {plain, secure})
            for channel, owner in ((of_plain, secure), (of_secure, plain)):
                account_id = _account_of({part_id for part_id, address in owners.items() if address == owner})
                stub = accounting_pb2_grpc.AccountingServiceStub(channel)
                opened = await answer(stub.OpenAccount(pb.OpenAccountRequest(account_id=account_id), timeout=WAIT_S))
                assert opened.account.account_id == account_id


@pytest.mark.parametrize(("others_go", "least", "most"), [(False, 1, 10), (True, 50, 100)])
async def test_replicas_see_that_others_live_without_a_handshake_each_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, others_go: bool, least: int, most: int
) -> None:
    authority = made(tmp_path / "certificates")
    server = GrpcServer(["tokenline.accounting.v1.AccountingService"], CALLERS, refusals_logged_s=0.1)
    fields: dict[str, Any] = {**_REQUIRED, **files_of(authority, "accounting")}
    config = GrpcServerConfig(listen_address="127.0.0.1:0", **fields)
    directory = Directory(certificates(authority, "accounting"))
    async with server.serve(config, certificates(authority, "accounting")) as address:
        for _ in range(50):
            # The connection to one that has gone ends: whoever comes later at its address is knocked at.
            directory.keep(set() if others_go else {address})
            assert not await directory.refuses(address)
            # As replicas do, but faster.
            await asyncio.sleep(0.05)
    said = [record.getMessage() for record in caplog.records if "connections with TLS brought no call" in record.getMessage()]
    # The connection that stays, and knocks until it had come about.
    assert least <= sum(int(line.split()[0]) for line in said) <= most
    async with asyncio.timeout(WAIT_S):
        while not await directory.refuses(address):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await directory.close()


async def test_a_replica_without_certificates_says_so_of_one_that_wants_them(tmp_path: Path) -> None:
    authority = made(tmp_path / "certificates")
    server = GrpcServer(["tokenline.accounting.v1.AccountingService"], CALLERS)
    fields: dict[str, Any] = {**_REQUIRED, **files_of(authority, "accounting")}
    config = GrpcServerConfig(listen_address="127.0.0.1:0", **fields)
    directory = Directory()
    async with server.serve(config, certificates(authority, "accounting")) as address:
        # It lives, as a knock tells.
        assert not await directory.refuses(address)
        with pytest.raises(ServiceError, match="give grpc_certificate_file, grpc_key_file and grpc_ca_file") as found:
            directory.stub(address)
        assert found.value.reason_name == "UNAVAILABLE"
    await directory.close()
