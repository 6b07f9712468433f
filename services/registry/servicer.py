"""RegistryService over the catalog in force."""

from collections.abc import AsyncIterator

import grpc

from services.registry.catalog_in_force import CatalogInForce
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """Answers with the catalog in force; see registry.proto for the contract."""

    def __init__(self, in_force: CatalogInForce) -> None:
        self._in_force = in_force

    async def GetCatalog(
        self,
        request: registry_pb2.GetCatalogRequest,
        context: "grpc.aio.ServicerContext[registry_pb2.GetCatalogRequest, registry_pb2.GetCatalogResponse]",
    ) -> registry_pb2.GetCatalogResponse:
        return registry_pb2.GetCatalogResponse(catalog=self._in_force.current())

    async def WatchCatalog(
        self,
        request: registry_pb2.WatchCatalogRequest,
        context: "grpc.aio.ServicerContext[registry_pb2.WatchCatalogRequest, registry_pb2.WatchCatalogResponse]",
    ) -> AsyncIterator[registry_pb2.WatchCatalogResponse]:
        async for catalog in self._in_force.follow():
            yield registry_pb2.WatchCatalogResponse(catalog=catalog)
