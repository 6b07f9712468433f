"""Wires the registry."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.registry.catalog_folder import CatalogReader
from services.registry.catalog_in_force import CatalogInForce, keep_in_force
from services.registry.config import RegistryConfig
from services.registry.servicer import RegistryServicer
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc


@asynccontextmanager
async def run_registry(config: RegistryConfig, lifecycle: Lifecycle) -> AsyncIterator[str]:
    """Runs the registry and yields its gRPC address once it listens; it serves once a catalog is valid.

    Errors: `OSError` when the address cannot be bound.
    """
    in_force = CatalogInForce()
    reader = CatalogReader([Path(folder) for folder in config.catalog_folders])
    server = GrpcServer([registry_pb2.DESCRIPTOR.services_by_name["RegistryService"].full_name])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(RegistryServicer(in_force), server.server)
    async with server.listen(config.listen_address) as address:
        work = keep_in_force(in_force, reader, config.poll_interval_ms / 1_000, server.set_serving)
        async with lifecycle.background("catalog", work):
            try:
                yield address
            finally:
                in_force.stop()
