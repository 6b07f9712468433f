"""All services in one process and one event loop, over a data folder; and the part of them that audits need."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc
import msgspec
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.billing.app import run_billing
from services.billing.config import BillingConfig
from services.cli.data_folder import DataFolder, open_data_folder
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.registry.config import RegistryConfig
from services.runtime.clients import connect
from services.runtime.lifecycle import Lifecycle

T = TypeVar("T")

# A unix socket's path has at most 107 bytes, and the names in the folder take the rest.
_SOCKET_FOLDER_LENGTH_MAX: Final = 80


class StopRequestedError(Exception):
    """The process shall end before what it waited for came."""


class StoreAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """gRPC addresses of the services that hold the data."""

    registry: str
    accounting: str
    billing: str


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A running system."""

    folder: DataFolder
    # Where the edge serves, "http://host:port/v1".
    base_url: str
    # The vendor simulator's, "http://host:port/v1".
    simulator_base_url: str
    # gRPC addresses.
    registry: str
    authentication: str
    accounting: str
    billing: str


@asynccontextmanager
async def run_all(data_dir: Path, host: str, port: int, lifecycle: Lifecycle) -> AsyncIterator[Running]:
    """Runs every service over the data folder and yields once all listen; the edge alone is reached from outside.

    At the end the edge drains first, then the services it calls. Errors: `CommandError` for the folder, `ConfigError` for the
    user's catalog, `SchemaError` and `ServiceError` for a database, `OSError` when a port cannot be bound.
    """
    from services.authentication.app import run_authentication
    from services.authentication.config import AuthenticationConfig
    from services.edge.app import run_edge
    from services.edge.config import EdgeConfig
    from services.vendor_simulator.app import run_vendor_simulator
    from services.vendor_simulator.config import VendorSimulatorConfig

    async with AsyncExitStack() as stack:
        folder = stack.enter_context(open_data_folder(data_dir))
        sockets = stack.enter_context(_socket_folder())
        stores = await stack.enter_async_context(run_stores(folder, sockets, lifecycle))
        authentication_config = AuthenticationConfig(
            listen_address=f"unix:{sockets}/authentication",
            database=str(folder.authentication_database),
            hash_key_file=str(folder.hash_key_file),
        )
        authentication = await stack.enter_async_context(run_authentication(authentication_config, lifecycle))
        simulator_config = VendorSimulatorConfig(port=0)
        simulator_base_url = await stack.enter_async_context(run_vendor_simulator(simulator_config, lifecycle))
        edge_config = EdgeConfig(
            host=host,
            port=port,
            registry_address=stores.registry,
            authentication_address=authentication,
            accounting_address=stores.accounting,
            billing_address=stores.billing,
            admin_token_file=str(folder.admin_token_file),
            simulator_base_url=simulator_base_url,
        )
        base_url = await stack.enter_async_context(run_edge(edge_config, lifecycle))
        yield Running(
            folder=folder,
            base_url=base_url,
            simulator_base_url=simulator_base_url,
            registry=stores.registry,
            authentication=authentication,
            accounting=stores.accounting,
            billing=stores.billing,
        )


@asynccontextmanager
async def run_stores(folder: DataFolder, sockets: Path, lifecycle: Lifecycle) -> AsyncIterator[StoreAddresses]:
    """Runs registry, accounting and billing over a data folder that this process holds. Errors as in `run_all`."""
    catalog_folders = [base_catalog_folder()]
    if folder.catalog_folder.is_dir():
        catalog_folders.append(folder.catalog_folder)
        if any(folder.catalog_folder.glob("*.yaml")):
            # The registry would wait for a valid catalog; who starts the system is told at once what is wrong.
            await asyncio.to_thread(load_catalog, catalog_folders)
    registry_config = RegistryConfig(
        listen_address=f"unix:{sockets}/registry", catalog_folders=[str(catalog_folder) for catalog_folder in catalog_folders]
    )
    async with AsyncExitStack() as stack:
        registry = await stack.enter_async_context(run_registry(registry_config, lifecycle))
        accounting_config = AccountingConfig(
            listen_address=f"unix:{sockets}/accounting", database=str(folder.accounting_database), registry_address=registry
        )
        accounting = await stack.enter_async_context(run_accounting(accounting_config, lifecycle))
        billing_config = BillingConfig(
            listen_address=f"unix:{sockets}/billing",
            database=str(folder.billing_database),
            cdr_folder=str(folder.cdr_folder),
            accounting_address=accounting,
        )
        billing = await stack.enter_async_context(run_billing(billing_config, lifecycle))
        yield StoreAddresses(registry=registry, accounting=accounting, billing=billing)


@asynccontextmanager
async def run_stores_alone(folder: DataFolder, lifecycle: Lifecycle) -> AsyncIterator[StoreAddresses]:
    """Like `run_stores`, for a system that is down; yields once accounting and billing serve. Errors: also `StopRequestedError`."""
    with _socket_folder() as sockets:
        async with run_stores(folder, sockets, lifecycle) as stores:
            for address in (stores.accounting, stores.billing):
                await unless_stopped(lifecycle, _serving(address))
            yield stores


async def unless_stopped(lifecycle: Lifecycle, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`. Errors: `StopRequestedError` when the process shall end meanwhile; what `work` raises."""
    task = asyncio.create_task(work)
    stop = asyncio.create_task(lifecycle.wait())
    try:
        await asyncio.wait([task, stop], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise StopRequestedError
        return task.result()
    finally:
        for each in (task, stop):
            each.cancel()
        await asyncio.wait([task, stop])


async def _serving(address: str) -> None:
    """Returns once the service at `address` says that it serves."""
    async with connect(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                async for response in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                    if response.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.05)


@contextmanager
def _socket_folder() -> Iterator[Path]:
    """A folder of mode 0700 for unix sockets, whose path is short enough for them."""
    where = None if len(tempfile.gettempdir()) <= _SOCKET_FOLDER_LENGTH_MAX - len("/tokenline-12345678") else "/tmp"  # noqa: S108  # the random folder in it is private
    with tempfile.TemporaryDirectory(prefix="tokenline-", dir=where, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
