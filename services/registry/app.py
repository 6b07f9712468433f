"""Wires the registry."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from services.callers import CALLERS
from services.registry.catalog_folder import CatalogReader
from services.registry.catalog_in_force import CatalogInForce, keep_in_force
from services.registry.catalog_store import PublishedLayers
from services.registry.config import RegistryConfig
from services.registry.servicer import RegistryServicer
from services.runtime.certificates import certificates_of
from services.runtime.etcd import EtcdClient
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc


@asynccontextmanager
async def run_registry(config: RegistryConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Runs the registry and yields its gRPC address once it listens; it serves once a catalog is valid.

    Errors: `OSError` when the address cannot be bound; `ConfigError` for etcd's files and certificates.
    """
    in_force = CatalogInForce()
    in_force.export()
    reader = CatalogReader([Path(folder) for folder in config.catalog_folders])
    service = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name
    server = GrpcServer([service], CALLERS, reflection=config.reflection)
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(RegistryServicer(in_force), server.server)
    async with AsyncExitStack() as stack:
        certificates = await stack.enter_async_context(certificates_of("registry", config, lifecycle))
        address = await stack.enter_async_context(server.serve(config, certificates))
        published: PublishedLayers | None = None
        if config.etcd is not None:
            published = PublishedLayers(await stack.enter_async_context(EtcdClient(config.etcd)), config.etcd_prefix)
            await stack.enter_async_context(lifecycle.background("catalog-published", published.follow()))
        work = keep_in_force(in_force, reader, published, config.poll_interval_ms / 1_000, server.set_serving)
        await stack.enter_async_context(lifecycle.background("catalog", work))
        stack.callback(in_force.stop)
        stack.push_async_callback(server.stop_serving)
        yield address
