"""A scripted accounting behind a real gRPC server, and the parts of billing on real files."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from services.billing.exporter import Exporter
from services.billing.journal import JournalReader
from services.billing.reconcile import Reconciler
from services.billing.sink import FolderSink
from services.billing.sqlite_store import SqliteStore
from services.runtime.clients import connect
from services.runtime.server import GrpcServer
from tests.billing.journals import ScriptedAccounting
from tokenline.accounting.v1 import accounting_pb2_grpc


@pytest.fixture
def accounting() -> ScriptedAccounting:
    return ScriptedAccounting(partitions=4)  # type: ignore[abstract]  # the methods that billing does not call are missing


@pytest.fixture
async def accounting_address(accounting: ScriptedAccounting) -> AsyncIterator[str]:
    server = GrpcServer(["tokenline.accounting.v1.AccountingService"])
    accounting_pb2_grpc.add_AccountingServiceServicer_to_server(accounting, server.server)
    async with server.listen("127.0.0.1:0", drain_grace_s=0) as address:
        yield address


@pytest.fixture
async def channel(accounting_address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with connect(accounting_address) as channel:
        yield channel


@pytest.fixture
def journal(channel: grpc.aio.Channel) -> JournalReader:
    return JournalReader(accounting_pb2_grpc.AccountingServiceStub(channel))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cdrs"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(tmp_path / "billing.db")
    yield store
    await store.close()


@pytest.fixture
def exporter(journal: JournalReader, store: SqliteStore, folder: Path) -> Exporter:
    return Exporter(journal, store, FolderSink(folder), export_interval_ms=10)


@pytest.fixture
def reconciler(journal: JournalReader, store: SqliteStore, exporter: Exporter, folder: Path) -> Reconciler:
    return Reconciler(journal, store, exporter, folder)
