"""All services in one process and one event loop, over a data folder; and the parts of them that checks of the data need.

Services are imported only when they are run, so that a data folder that cannot be used is refused at once.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from services.cli.data_folder import DataFolder, open_data_folder
from services.cli.failures import CommandError

if TYPE_CHECKING:
    from services.billing.carrier.config import CarrierConfig
    from services.runtime.lifecycle import Lifecycle

# A unix socket's path has at most 107 bytes, and the names in the folder take the rest.
_SOCKET_FOLDER_LENGTH_MAX: Final = 80
_RETRY_S: Final = 0.05


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the edge of a system in one process serves; port 0: any that is free."""

    host: str = "127.0.0.1"
    port: int = 0
    admin_port: int = 0
    cors_origins: tuple[str, ...] = ()
    access_log: bool = False
    # The phone bill goes to the carrier simulator.
    simulate_carrier: bool = False


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A running system."""

    folder: DataFolder
    # Where the edge serves clients, "http://host:port/v1", and operators, "http://host:port".
    base_url: str
    admin_url: str
    # The vendor simulator's, "http://host:port/v1".
    simulator_base_url: str
    # gRPC addresses.
    registry: str
    authentication: str
    accounting: str
    billing: str


_ANYWHERE: Final = Serving()


@asynccontextmanager
async def run_all(data_dir: Path, lifecycle: "Lifecycle", serving: Serving = _ANYWHERE) -> AsyncIterator[Running]:
    """Runs every service over the data folder and yields once all listen; the edge alone is reached from outside.

    At the end the edge drains first, then the services it calls. Errors: `CommandError` for the folder, `ConfigError` for the
    user's catalog, `SchemaError` and `ServiceError` for a database, `OSError` when a port cannot be bound, `StoppedError`.
    """
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(open_data_folder(data_dir))
        sockets = stack.enter_context(socket_folder())
        registry, accounting = await stack.enter_async_context(run_charging(folder, sockets, lifecycle))

        from services.authentication.app import run_authentication
        from services.authentication.config import AuthenticationConfig

        authentication_config = AuthenticationConfig(
            listen_address=f"unix:{sockets}/authentication",
            database=str(folder.authentication_database),
            hash_key_file=str(folder.hash_key_file),
        )
        authentication = await stack.enter_async_context(run_authentication(authentication_config, lifecycle))

        from services.vendor_simulator.app import run_vendor_simulator
        from services.vendor_simulator.config import VendorSimulatorConfig

        simulator_base_url = await stack.enter_async_context(run_vendor_simulator(VendorSimulatorConfig(port=0), lifecycle))

        # So that billing need not complain that accounting is not there yet.
        with lifecycle.unless_stopped():
            await until_serving(accounting)
        carrier = None
        if serving.simulate_carrier:
            carrier = await stack.enter_async_context(_simulated_carrier(folder, lifecycle))
        billing = await stack.enter_async_context(run_export(folder, sockets, accounting, lifecycle, carrier))

        from services.edge.app import run_edge
        from services.edge.config import EdgeConfig

        try:
            edge_config = EdgeConfig(
                outbox=str(folder.outbox),
                host=serving.host,
                port=serving.port,
                admin_port=serving.admin_port,
                cors_origins=serving.cors_origins,
                access_log=serving.access_log,
                registry_address=registry,
                authentication_address=authentication,
                accounting_address=accounting,
                billing_address=billing,
                admin_token_file=str(folder.admin_token_file),
                simulator_base_url=simulator_base_url,
            )
        except ValueError as error:
            # Nothing else of it is the user's own.
            raise CommandError(f"--cors-origin: {error}") from error
        addresses = await stack.enter_async_context(run_edge(edge_config, lifecycle))
        yield Running(
            folder=folder,
            base_url=addresses.clients,
            admin_url=addresses.operators,
            simulator_base_url=simulator_base_url,
            registry=registry,
            authentication=authentication,
            accounting=accounting,
            billing=billing,
        )


@asynccontextmanager
async def run_charging(folder: DataFolder, sockets: Path, lifecycle: "Lifecycle") -> AsyncIterator[tuple[str, str]]:
    """Runs registry and accounting over a data folder that this process holds; yields their addresses. Errors as in `run_all`."""
    from services.accounting.app import run_accounting
    from services.accounting.config import AccountingConfig
    from services.registry.app import run_registry
    from services.registry.catalog_folder import base_catalog_folder, files_of, load_catalog
    from services.registry.config import RegistryConfig

    layers = [base_catalog_folder()]
    if folder.catalog_folder.is_dir():
        layers.append(folder.catalog_folder)
        if files_of(folder.catalog_folder):
            # The registry would wait for a valid catalog; who starts the system is told at once what is wrong.
            await asyncio.to_thread(load_catalog, layers)
    registry_config = RegistryConfig(listen_address=f"unix:{sockets}/registry", catalog_folders=[str(layer) for layer in layers])
    async with run_registry(registry_config, lifecycle) as registry:
        accounting_config = AccountingConfig(
            listen_address=f"unix:{sockets}/accounting",
            database=str(folder.accounting_database),
            registry_address=registry,
            # Fixed when a data folder is made: another default must not lock out folders that exist.
            partitions=16,
        )
        async with run_accounting(accounting_config, lifecycle) as accounting:
            yield registry, accounting


@asynccontextmanager
async def _simulated_carrier(folder: DataFolder, lifecycle: "Lifecycle") -> AsyncIterator["CarrierConfig"]:
    """Runs the carrier simulator, which keeps its payments in the data folder, and yields the way to it."""
    from services.billing.carrier.config import CarrierConfig
    from services.carrier_simulator.app import run_carrier_simulator
    from services.carrier_simulator.config import CarrierSimulatorConfig

    private, public = folder.carrier_keys()
    clients = {"tokenline": str(public)}
    simulated = CarrierSimulatorConfig(port=0, clients=clients, state_file=str(folder.carrier_file))
    async with run_carrier_simulator(simulated, lifecycle) as address:
        # People who try it see what becomes of use soon.
        yield CarrierConfig(
            address=address,
            token_url=f"{address}/oauth2/token",
            client_id="tokenline",
            key_file=str(private),
            usage_interval_s=60,
        )


@asynccontextmanager
async def run_export(
    folder: DataFolder, sockets: Path, accounting: str, lifecycle: "Lifecycle", carrier: "CarrierConfig | None" = None
) -> AsyncIterator[str]:
    """Runs billing over a data folder that this process holds; yields its address. Errors as in `run_all`."""
    from services.billing.app import run_billing
    from services.billing.config import BillingConfig

    config = BillingConfig(
        listen_address=f"unix:{sockets}/billing",
        database=str(folder.billing_database),
        cdr_folder=str(folder.cdr_folder),
        accounting_address=accounting,
        carrier=carrier,
        # Sooner than usual, for people who try the phone bill.
        export_interval_ms=10_000 if carrier is None else 1_000,
    )
    async with run_billing(config, lifecycle) as billing:
        yield billing


async def until_serving(address: str) -> None:
    """Returns once the service at `address` says that it serves."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from services.runtime.clients import connect

    async with connect(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        while True:
            try:
                async for response in stub.Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True):
                    if response.status == health_pb2.HealthCheckResponse.SERVING:
                        return
            except grpc.aio.AioRpcError:
                await asyncio.sleep(_RETRY_S)


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A folder of mode 0700 for unix sockets, whose path is short enough for them; removed at the end."""
    short = len(tempfile.gettempdir()) <= _SOCKET_FOLDER_LENGTH_MAX - len("/tokenline-12345678")
    where = None if short else "/tmp"  # noqa: S108  # the folder in it has a random name and is private
    with tempfile.TemporaryDirectory(prefix="tokenline-", dir=where, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
