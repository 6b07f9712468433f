"""Wires accounting."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import grpc

from services.accounting.cell.coordinator import Coordinator
from services.accounting.cell.directory import Directory
from services.accounting.cell.figures import export_figures
from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.config import AccountingConfig
from services.accounting.core import features
from services.accounting.core.commands import Failed, ReceiveTransfer
from services.accounting.journal.postgresql import PostgresqlStore
from services.accounting.journal.sqlite import SqliteStore
from services.accounting.journal.store import Share, Store
from services.accounting.rpc.catalog import charging_catalog
from services.accounting.rpc.delivery import Delivery
from services.accounting.rpc.servicer import AccountingServicer
from services.accounting.writer.holdings import Lost
from services.accounting.writer.metrics import Commits
from services.accounting.writer.owner import Owner, OwnerSettings
from services.accounting.writer.transfers import Deliver
from services.callers import CALLERS
from services.messages import CHARGE_REQUEST_BYTES_MAX
from services.runtime.certificates import certificates_of
from services.runtime.clients import connect, messages
from services.runtime.clock import SystemClock
from services.runtime.config import ConfigError
from services.runtime.disks import watch_disk
from services.runtime.errors import ServiceError
from services.runtime.etcd import EtcdClient, EtcdError
from services.runtime.followed import Followed
from services.runtime.identifiers import random_name
from services.runtime.lifecycle import Lifecycle
from services.runtime.locks import exclusive
from services.runtime.server import GrpcServer
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

logger = logging.getLogger(__name__)

_SERVICE: Final = "tokenline.accounting.v1.AccountingService"
_STOP_S_MAX: Final = 10.0
_RETRY_S: Final = 0.1
_RETRY_S_LONG: Final = 1.0


@asynccontextmanager
async def run_accounting(config: AccountingConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Runs accounting; yields its address once it listens. It serves once it has a catalog, and has joined the others in etcd.

    Errors: `ConfigError` without an address for others, or for certificates; `InUseError` when another process uses the database;
    those of the store; `OSError` for the address. At the end: NOT_SERVING, no new calls; all decisions are committed and answered,
    accounts are checkpointed, then the store is closed.
    """
    if config.is_unreachable:
        raise ConfigError(
            "advertised_address: give it, too, in the file or as --set advertised_address=HOST:PORT: others cannot reach this "
            "replica by a listen_address of all interfaces"
        )
    async with AsyncExitStack() as stack:
        clock = SystemClock()
        supplied, joined = asyncio.Event(), asyncio.Event()
        incarnation = random_name("own")
        server = GrpcServer([_SERVICE], CALLERS, request_bytes_max=CHARGE_REQUEST_BYTES_MAX, reflection=config.reflection)
        certificates = await stack.enter_async_context(certificates_of("accounting", config, lifecycle))
        # Both are made from the owners, which call them once they run.
        coordinator: Coordinator | None = None
        delivery: Delivery

        def lost(part_ids: set[int]) -> None:
            assert coordinator is not None
            coordinator.lost(part_ids)

        async def deliver(command: ReceiveTransfer) -> Failed | None:
            return await delivery.deliver(command)

        commits = Commits()
        groups = ServerGroups(await _groups(config, clock, incarnation, stack, (lost if config.etcd else None, deliver, commits)))
        await groups.start()
        directory = Directory(certificates)
        stack.push_async_callback(directory.close)
        if config.etcd is not None:
            etcd = await stack.enter_async_context(EtcdClient(config.etcd))
            coordinator = Coordinator(etcd, config.etcd_prefix, groups, directory, incarnation, joined=joined)
        delivery = Delivery(groups, directory)
        servicer = AccountingServicer(groups, directory, coordinator.move if coordinator else None)
        if coordinator is None:
            await groups.take_all()
            directory.update(dict.fromkeys(range(config.partitions), ""), features.OWN)
        export_figures(groups.owners, commits)
        await stack.enter_async_context(lifecycle.background("accounting-owner", groups.run()))
        await stack.enter_async_context(lifecycle.background("accounting-exposure", groups.weigh()))
        channel = await stack.enter_async_context(connect(config.registry_address, "registry", certificates))
        accounting_pb2_grpc.add_AccountingServiceServicer_to_server(servicer, server.server)
        address = await stack.enter_async_context(server.serve(config, certificates))
        stack.push_async_callback(_stop, groups, servicer)
        following = _follow_catalog(channel, groups, config.validity_ms * 1_000, supplied)
        await stack.enter_async_context(lifecycle.background("accounting-catalog", following))
        await stack.enter_async_context(lifecycle.background("accounting-readiness", _serve(server, supplied, joined)))
        if coordinator is None:
            joined.set()
        else:
            directory.own_address = config.advertised_address or address
            await stack.enter_async_context(lifecycle.background("accounting-coordination", _coordinate(coordinator, supplied)))
            stack.push_async_callback(_leave, coordinator)
        stack.push_async_callback(server.stop_serving)
        yield address


async def _groups(
    config: AccountingConfig,
    clock: SystemClock,
    incarnation: str,
    stack: AsyncExitStack,
    shared: tuple[Lost | None, Deliver, Commits],
) -> list[ServerGroup]:
    """The stores, opened until the stack ends, and an owner of each, to which `shared` is given."""
    groups = []
    lost, deliver, commits = shared
    servers = len(config.servers) or 1
    for number in range(servers):
        store: Store
        if config.servers:
            store = await PostgresqlStore.open(config.servers[number], clock)
        else:
            # Refuse a second owner here: the store fences it off, but only after it took everything over.
            stack.enter_context(exclusive(Path(f"{config.database}.lock"), config.database))
            store = await SqliteStore.open(Path(config.database))
            watch_disk("accounting", Path(config.database))
        stack.push_async_callback(store.close)
        owner = Owner(
            store,
            clock,
            OwnerSettings(
                incarnation=incarnation,
                partitions=config.partitions,
                share=Share(number, servers),
                held_wait_ms=config.held_wait_ms,
                checkpoint_age_ms=config.checkpoint_age_ms,
                hot_accounts_max=config.hot_accounts_max,
                weighs=True,
                packed_bytes_max=config.packed_accounts_mib_max * 1024 * 1024,
            ),
            lost=lost,
            deliver=deliver,
            commits=commits,
        )
        groups.append(ServerGroup(owner, store))
    return groups


async def _serve(server: GrpcServer, supplied: asyncio.Event, joined: asyncio.Event) -> None:
    """Reports SERVING once this replica can serve, because a rollout stops an old replica when the new one says so."""
    await supplied.wait()
    await joined.wait()
    await server.set_serving()


async def _coordinate(coordinator: Coordinator, supplied: asyncio.Event) -> None:
    """Joins the cell once etcd answers and there is a catalog to charge by."""
    while True:
        try:
            await coordinator.start()
            break
        except EtcdError as error:
            logger.error("%s; trying again", error)
        except ServiceError as error:
            logger.error("%s; trying again", error.message)
        await asyncio.sleep(_RETRY_S_LONG)
    await supplied.wait()
    await coordinator.run()


async def _leave(coordinator: Coordinator) -> None:
    try:
        async with asyncio.timeout(_STOP_S_MAX):
            await coordinator.leave()
    except TimeoutError:
        logger.error("not every partition could be handed over before the end; their next owners replay what is not in checkpoints")


async def _stop(groups: ServerGroups, servicer: AccountingServicer) -> None:
    try:
        async with asyncio.timeout(_STOP_S_MAX):
            await groups.stop()
    except TimeoutError:
        logger.error("not everything could be committed before the end; callers were told nothing and will repeat")
    servicer.end_streams()


async def _follow_catalog(channel: grpc.aio.Channel, groups: ServerGroups, validity_us: int, supplied: asyncio.Event) -> None:
    """Keeps the catalog up to date; while the registry is away, the last one stays in force."""
    stub = registry_pb2_grpc.RegistryServiceStub(channel)
    followed = Followed()
    followed.export("charging.catalog", "the catalog at accounting")
    while True:
        try:
            call = stub.WatchCatalog(registry_pb2.WatchCatalogRequest(), wait_for_ready=True)
            consequence = "the last catalog stays in force" if supplied.is_set() else "nothing is served before there is a catalog"
            async for response in messages(call, "the registry", consequence):
                followed.told(response.catalog.revision)
                groups.set_catalog(charging_catalog(response.catalog, validity_us))
                supplied.set()
        except grpc.aio.AioRpcError as error:
            logger.warning("the registry's catalog stream broke (%s), connecting again", error.code().name)
        followed.broke()
        await asyncio.sleep(_RETRY_S)
