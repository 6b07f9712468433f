"""Accounting serves once it has a catalog, in an order that the test sets: the registry hands it out when it is told to."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.registry.catalog_in_force import CatalogInForce
from services.registry.servicer import RegistryServicer
from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from services.runtime.server import GrpcServer
from tests.accounting.one_cell import DEADLINE_S, NOT_SERVING, SERVING, UNIT, accounting, charging_id, config_of, create, event
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc


class Registry(RegistryServicer):
    """The registry without a catalog, until the test puts one in force."""

    def __init__(self) -> None:
        self.in_force = CatalogInForce()
        super().__init__(self.in_force)
        self.is_followed = asyncio.Event()

    async def WatchCatalog(self, request: Any, context: Any) -> AsyncIterator[registry_pb2.WatchCatalogResponse]:
        self.is_followed.set()
        async for response in super().WatchCatalog(request, context):
            yield response


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[Registry]:
    """Where `config_of` looks for it."""
    servicer, server = Registry(), GrpcServer([])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(servicer, server.server)
    async with server.listen(f"unix:{folder / 'registry.sock'}"):
        yield servicer
        servicer.in_force.stop()


@contextmanager
def unavailable() -> Iterator[None]:
    with pytest.raises(ServiceError, match="accounting is starting") as raised:
        yield
    assert raised.value.reason == errors_pb2.ERROR_REASON_UNAVAILABLE


async def test_it_serves_once_there_is_a_catalog_and_by_the_last_one_from_then_on(tmp_path: Path) -> None:
    catalog = load_catalog([base_catalog_folder()])
    async with asyncio.timeout(DEADLINE_S), accounting(config_of(tmp_path)) as client:
        watching = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)

        async def said() -> int:
            status: int = (await watching.read()).status
            return status

        assert await said() == NOT_SERVING
        async with registry(tmp_path) as first:
            await first.is_followed.wait()
            with unavailable():
                await answer(client.stub.GetAccount(pb.GetAccountRequest(account_id="acct-01234567"), timeout=DEADLINE_S))
            with unavailable():
                await answer(client.stub.ListPartitions(pb.ListPartitionsRequest(), timeout=DEADLINE_S))
            with pytest.raises(grpc.aio.AioRpcError, match="accounting is starting"):
                await client.charge(event("acct-01234567", charging_id(), input=1))
            # Reading the journal and auditing need no catalog.
            assert await client.journal(0) == []
            assert list((await client.audit()).breaches) == []
            assert await client.status() == NOT_SERVING
            first.in_force.put(catalog)
            assert await said() == SERVING
            account_id = await client.open(100)
        async with registry(tmp_path) as second:
            # It has lost the first registry; the second one has no catalog, and the last one stays in force.
            await second.is_followed.wait()
            (result,) = await client.charge(create(account_id, charging_id()))
            assert result.WhichOneof("result") == "granted"
            assert await client.status() == SERVING
            second.in_force.put(catalog)
            (result,) = await client.charge(event(account_id, charging_id(), input=1))
            assert result.settled.charged_amount == UNIT
        watching.cancel()
