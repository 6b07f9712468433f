"""The registry as a service: a real server on port 0, real files, a real stub."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.registry.app import run_registry
from services.registry.config import RegistryConfig
from services.runtime.clients import answer, connect
from services.runtime.errors import ServiceError, from_rpc
from services.runtime.instruments import page
from services.runtime.lifecycle import Lifecycle
from tests.registry.catalogs import CATALOG, changed, write
from tests.waiting import WAIT_S
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Client:
    """A registry's caller."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.registry = registry_pb2_grpc.RegistryServiceStub(channel)
        self.health = health_pb2_grpc.HealthStub(channel)

    async def get(self) -> registry_pb2.Catalog:
        return (await answer(self.registry.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))).catalog

    def watch(self) -> AsyncIterator[registry_pb2.WatchCatalogResponse]:
        return aiter(self.registry.WatchCatalog(registry_pb2.WatchCatalogRequest(), timeout=WAIT_S))

    async def serving(self, service: str) -> bool:
        status = (await self.health.Check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT_S)).status
        assert status in (SERVING, NOT_SERVING)
        return bool(status == SERVING)


def told(metric: str) -> float:
    """What those on call see of the registry that was made last."""
    return float(page().decode().rpartition(f"{metric} ")[2].partition("\n")[0])


@asynccontextmanager
async def registry(*folders: Path) -> AsyncIterator[Client]:
    """A registry that looks at its folders every 10 ms, and a caller of it."""
    lifecycle = Lifecycle()
    config = RegistryConfig(listen_address="127.0.0.1:0", catalog_folders=[str(folder) for folder in folders], poll_interval_ms=10)
    async with run_registry(config, lifecycle) as address, connect(address) as channel:
        yield Client(channel)
    assert lifecycle.failure is None


@contextmanager
def logged(text: str) -> Iterator[asyncio.Event]:
    """An event that is set when the registry logs a line with this text."""
    event = asyncio.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if text in record.getMessage():
                event.set()

    logger = logging.getLogger("services.registry.catalog_in_force")
    listener = Listener()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(listener)
    try:
        yield event
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)


async def test_a_watcher_gets_the_catalog_and_each_change(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    async with registry(tmp_path) as client:
        watch = client.watch()
        first = (await anext(watch)).catalog
        assert first.revision == 1
        assert first == await client.get()
        assert await client.serving("tokenline.registry.v1.RegistryService")
        assert await client.serving("")
        write(tmp_path, changed("display_name: Small", "display_name: Smaller"))
        second = (await anext(watch)).catalog
        assert second.revision == 2
        assert second.digest != first.digest
        assert [model.display_name for model in second.models] == ["Large", "Smaller"]
        assert second == await client.get()
        # A file that is added is a change too, and a new watcher starts with what is in force.
        write(
            tmp_path,
            "offerings:\n  - {offering_id: x, display_name: X, tariff_id: usd, reservation_policy: worst_case}\n",
            "x.yaml",
        )
        third = (await anext(watch)).catalog
        assert (third.revision, len(third.offerings)) == (3, 3)
        assert (await anext(client.watch())).catalog == third


async def test_an_invalid_change_keeps_the_last_valid_catalog(tmp_path: Path) -> None:
    path = write(tmp_path, CATALOG)
    async with registry(tmp_path) as client:
        watch = client.watch()
        first = (await anext(watch)).catalog
        with logged(f"the catalog's change is refused, revision 1 stays in force: {path}:") as refused:
            write(tmp_path, changed("unit: TOKEN", "unit: GALLON"))
            await asyncio.wait_for(refused.wait(), WAIT_S)
        assert told("registry_catalog_refused") == 1
        assert await client.get() == first
        assert await client.serving("")
        with logged("the catalog's files are valid again: revision 1 stays in force") as valid_again:
            write(tmp_path, CATALOG)
            await asyncio.wait_for(valid_again.wait(), WAIT_S)
        assert (told("registry_catalog_refused"), told("registry_catalog_revision")) == (0, 1)
        path.unlink()
        write(tmp_path, changed("display_name: Large", "display_name: Larger"))
        assert (await anext(watch)).catalog.revision == 2


async def test_invalid_at_the_start_then_mended(tmp_path: Path) -> None:
    with logged("there is no valid catalog") as refused:
        path = write(tmp_path, changed("currency: USD", "currency: dollars"))
        async with registry(tmp_path) as client:
            await asyncio.wait_for(refused.wait(), WAIT_S)
            assert not await client.serving("")
            # It is not ready, and it lives.
            assert await client.serving("liveness")
            with pytest.raises(ServiceError) as caught:
                await client.get()
            assert caught.value.reason == errors_pb2.ERROR_REASON_CATALOG_UNAVAILABLE
            assert f"{path}:44: tariffs[1].currency: must be an ISO 4217 code" in caught.value.message
            watch = client.watch()
            health = aiter(client.health.Watch(health_pb2.HealthCheckRequest(service=""), timeout=WAIT_S))
            assert (await anext(health)).status == NOT_SERVING
            write(tmp_path, CATALOG)
            assert (await anext(watch)).catalog.revision == 1
            assert (await anext(health)).status == SERVING
            assert (await client.get()).revision == 1


async def test_a_folder_that_comes_later_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with logged("cannot be read: No such file or directory") as refused:
        async with registry(folder) as client:
            await asyncio.wait_for(refused.wait(), WAIT_S)
            assert not await client.serving("")
            write(folder, CATALOG)
            assert (await anext(client.watch())).catalog.revision == 1


async def test_stopping_ends_the_watchers_and_does_not_wait_for_them(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    config = RegistryConfig(listen_address=f"unix:{tmp_path}/registry.sock", catalog_folders=[str(tmp_path)])
    async with connect(config.listen_address) as channel:
        async with run_registry(config, Lifecycle()) as address:
            assert address == config.listen_address
            watch = Client(channel).watch()
            await anext(watch)
        # Its server would have cut it off without a word.
        with pytest.raises(grpc.aio.AioRpcError, match="the registry is stopping; watch again") as caught:
            await anext(watch)
        assert from_rpc(caught.value).reason == errors_pb2.ERROR_REASON_UNAVAILABLE


async def test_an_address_in_use_is_refused(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    config = RegistryConfig(listen_address="127.0.0.1:0", catalog_folders=[str(tmp_path)])
    async with run_registry(config, Lifecycle()) as address:
        taken = RegistryConfig(listen_address=address, catalog_folders=[str(tmp_path)])
        with pytest.raises(OSError, match="cannot listen on"):
            async with run_registry(taken, Lifecycle()):
                pass
