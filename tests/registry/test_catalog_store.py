"""Catalog layers in a real etcd: published as a whole, in force at every registry, refused when the whole would not be valid."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.registry.app import run_registry
from services.registry.catalog_folder import read_folder
from services.registry.catalog_store import EtcdLayers
from services.registry.changes import Change, LayerStore, apply, planned
from services.registry.config import RegistryConfig
from services.runtime.clients import answer, connect
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from services.runtime.etcd import EtcdClient
from services.runtime.lifecycle import Lifecycle
from tests.etcd_cluster import EtcdCluster
from tests.registry.catalogs import CATALOG, write
from tests.waiting import WAIT_S
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

OFFERING = """
offerings:
  - offering_id: branch
    display_name: Branch
    tariff_id: {tariff}
    reservation_policy: worst_case
    output_window_tokens: 64
"""
OFFERING_2 = OFFERING.format(tariff="flat").replace("Branch", "Local")


@pytest.fixture(scope="module")
def etcd() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


@pytest.fixture
def prefix(tmp_path: Path) -> str:
    return f"/{tmp_path.name}/"


@pytest.fixture
async def client(etcd: EtcdCluster) -> AsyncIterator[EtcdClient]:
    async with EtcdClient(etcd.config) as client:
        yield client


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write(tmp_path / "base", CATALOG)
    return tmp_path / "base"


async def publish(store: LayerStore, name: str, folder: Path | None) -> Change:
    """Applies a folder's files as a layer; without a folder, takes the layer away."""
    files = None if folder is None else read_folder(folder)
    now = datetime.now(UTC)
    plan = planned(await store.read(), name, files, folder or Path(name), now)
    return await apply(store, plan, "tester", "apply" if files is not None else "remove", now)


async def listed(store: LayerStore) -> dict[str, list[str]]:
    return {name: sorted(files) for name, files in (await store.read()).layers.items()}


def layer(folder: Path, text: str) -> Path:
    write(folder, text)
    return folder


@asynccontextmanager
async def registry(base: Path, etcd: EtcdCluster, prefix: str) -> AsyncIterator["registry_pb2_grpc.RegistryServiceAsyncStub"]:
    lifecycle = Lifecycle()
    config = RegistryConfig(listen_address="127.0.0.1:0", catalog_folders=[str(base)], etcd=etcd.config, etcd_prefix=prefix)
    async with run_registry(config, lifecycle) as address, connect(address) as channel:
        yield registry_pb2_grpc.RegistryServiceStub(channel)
    assert lifecycle.failure is None


async def offerings(stub: "registry_pb2_grpc.RegistryServiceAsyncStub", wanted: set[str]) -> registry_pb2.Catalog:
    """The catalog that a watcher gets once it has these offerings."""
    async for response in stub.WatchCatalog(registry_pb2.WatchCatalogRequest(), timeout=WAIT_S):
        if {each.offering_id for each in response.catalog.offerings} == wanted:
            return response.catalog
    raise AssertionError("the stream ended")


async def test_what_is_published_is_in_force_at_every_registry(
    base: Path, etcd: EtcdCluster, client: EtcdClient, prefix: str, tmp_path: Path
) -> None:
    store = EtcdLayers(client, prefix, [base])
    async with registry(base, etcd, prefix) as first, registry(base, etcd, prefix) as second:
        await offerings(first, {"default", "metered"})
        await publish(store, "50-branch", layer(tmp_path / "layer", OFFERING.format(tariff="usd")))
        catalogs = [await offerings(stub, {"branch", "default", "metered"}) for stub in (first, second)]
        assert catalogs[0].digest == catalogs[1].digest
        # A layer over it, by its name.
        await publish(store, "60-local", layer(tmp_path / "local", OFFERING.format(tariff="flat").replace("Branch", "Local")))
        assert await listed(store) == {"50-branch": ["catalog.yaml"], "60-local": ["catalog.yaml"]}
        async for response in second.WatchCatalog(registry_pb2.WatchCatalogRequest(), timeout=WAIT_S):
            (branch,) = [each for each in response.catalog.offerings if each.offering_id == "branch"]
            if branch.display_name == "Local":
                break
        await publish(store, "60-local", None)
        await publish(store, "50-branch", None)
        await offerings(second, {"default", "metered"})
    async with registry(base, etcd, prefix) as third:
        await offerings(third, {"default", "metered"})


async def test_folders_of_a_layer_are_published_with_it(base: Path, etcd: EtcdCluster, prefix: str, tmp_path: Path) -> None:
    """Files of the same name in two folders are two files."""
    folder = layer(tmp_path / "layer", OFFERING.format(tariff="usd"))
    change = "vendors:\n  - {vendor_id: acme, endpoints: {openai_chat: {drainable: false}}}\n"
    write(folder / "vendors", change)
    async with EtcdClient(etcd.config) as client, registry(base, etcd, prefix) as stub:
        store = EtcdLayers(client, prefix, [base])
        await publish(store, "branch", folder)
        assert await listed(store) == {"branch": ["catalog.yaml", "vendors/catalog.yaml"]}
        catalog = await offerings(stub, {"branch", "default", "metered"})
        assert [each.drainable for each in catalog.vendors[0].endpoints] == [False]
        write(folder / "vendors", change.replace("false", "perhaps"))
        with pytest.raises(ConfigError, match=r"vendors/catalog\.yaml:2: vendors\[0\]\.endpoints\.openai_chat\.drainable"):
            await publish(store, "branch", folder)


async def test_a_registry_serves_nothing_until_etcd_has_said(base: Path, prefix: str, tmp_path: Path) -> None:
    """Without the branch's layer it would sell what is not for sale there."""
    with EtcdCluster(1) as own:
        async with EtcdClient(own.config) as client:
            await publish(EtcdLayers(client, prefix, [base]), "branch", layer(tmp_path / "layer", OFFERING.format(tariff="usd")))
        own.kill(0)
        async with registry(base, own, prefix) as stub:
            with pytest.raises(ServiceError, match="have not been read from etcd yet"):
                await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))
            own.start(0)
            await offerings(stub, {"branch", "default", "metered"})
            # And while etcd is away later, what it said stays.
            own.kill(0)
            catalog = (await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))).catalog
            assert len(catalog.offerings) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OFFERING.format(tariff="nothing"), "catalog.yaml:5: offerings[0].tariff_id: no tariff has the ID 'nothing'"),
        ("offerings: 7\n", "catalog.yaml:1: offerings"),
        (CATALOG.replace("input: 0.28\n", "input: 0.30\n"), "tariffs[1].version: must change when unit, currency or rates change"),
    ],
)
async def test_a_layer_that_would_make_the_whole_invalid_is_refused(
    base: Path, client: EtcdClient, prefix: str, tmp_path: Path, text: str, said: str
) -> None:
    store = EtcdLayers(client, prefix, [base])
    with pytest.raises(ConfigError) as error:
        await publish(store, "branch", layer(tmp_path / "layer", text))
    assert said in str(error.value)
    assert await listed(store) == {}


async def test_a_layer_that_another_stands_on_is_not_removed(base: Path, client: EtcdClient, prefix: str, tmp_path: Path) -> None:
    store = EtcdLayers(client, prefix, [base])
    await publish(store, "a", layer(tmp_path / "a", OFFERING.format(tariff="usd")))
    redirected = OFFERING.format(tariff="usd").replace("branch", "other") + "default_offering_id: branch\n"
    await publish(store, "b", layer(tmp_path / "b", redirected))
    with pytest.raises(ConfigError, match="no offering has the ID 'branch'"):
        await publish(store, "a", None)
    with pytest.raises(ConfigError, match="no layer 'c' is published; there are: a, b"):
        await publish(store, "c", None)
    assert list(await listed(store)) == ["a", "b"]


async def test_a_key_that_is_no_layer_is_named_and_can_be_repaired(
    base: Path, etcd: EtcdCluster, client: EtcdClient, prefix: str, tmp_path: Path
) -> None:
    await client.put(f"{prefix}branch", b"not json")
    async with registry(base, etcd, prefix) as stub:
        with pytest.raises(ServiceError) as error:
            for _ in range(100):
                await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))
        assert error.value.reason_name == "CATALOG_UNAVAILABLE"
        await publish(EtcdLayers(client, prefix, [base]), "branch", layer(tmp_path / "layer", OFFERING.format(tariff="usd")))
        await offerings(stub, {"branch", "default", "metered"})
