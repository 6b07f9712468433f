from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.edge.catalog import Abandoned, CatalogHolder, PriorityClass, Route, Snapshot, TokenizerFamily
from services.edge.tariffs import PriceTier
from services.edge.vendors.profile import Endpoint
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.registry.config import RegistryConfig
from services.runtime.clients import connect
from services.runtime.clock import Clock, SystemClock
from services.runtime.lifecycle import Lifecycle
from services.token_classes import FIRST, IN_TOKENS, TOKEN_CLASSES
from tests.registry.catalogs import CATALOG, changed, write
from tests.waiting import until
from tokenline.registry.v1 import registry_pb2

SECRET = {"TOKENLINE_ACME_API_KEY": "sk-acme"}


@asynccontextmanager
async def registry(address: str, folder: Path) -> AsyncIterator[None]:
    config = RegistryConfig(listen_address=address, catalog_folders=[str(folder)], poll_interval_ms=10)
    async with run_registry(config, Lifecycle()):
        yield


@asynccontextmanager
async def following(
    address: str, environment: Mapping[str, str], simulator_base_url: str = "", clock: Clock | None = None
) -> AsyncIterator[CatalogHolder]:
    async with connect(address) as channel:
        holder = CatalogHolder(channel, environment, simulator_base_url, clock or SystemClock())
        async with Lifecycle().background("catalog", holder.follow()):
            yield holder


async def in_force(holder: CatalogHolder, revision: int = 1) -> Snapshot:
    await until(lambda: holder.current is not None and holder.current.catalog.revision >= revision)
    assert holder.current is not None
    return holder.current


async def loaded(tmp_path: Path, environment: Mapping[str, str], simulator_base_url: str = "", text: str = CATALOG) -> Snapshot:
    address = f"unix:{tmp_path}/registry.sock"
    write(tmp_path / "catalog", text)
    async with registry(address, tmp_path / "catalog"), following(address, environment, simulator_base_url) as holder:
        return await in_force(holder)


async def test_a_model_has_what_a_call_needs(tmp_path: Path) -> None:
    snapshot = await loaded(tmp_path, SECRET)
    small, large = snapshot.model("small"), snapshot.model("large")
    assert small is not None
    assert large is not None
    endpoint = Endpoint("acme", "openai_chat", "https://api.acme.test/v1", "sk-acme", output_limit_field="max_tokens")
    assert small._asdict() == {
        "model_id": "small",
        "display_name": "Small",
        "owned_by": "acme",
        "release_time_s": 1_767_312_000,
        "context_window_tokens": 1_000,
        "max_output_tokens": 500,
        "hidden_reasoning": False,
        "family": TokenizerFamily(template_tokens_per_message=8, template_tokens_per_request=8),
        # A vendor without endpoints speaks OpenAI's chat, with all that the dialect says.
        "measures": IN_TOKENS,
        "routes": {"openai_chat": (Route("acme", "acme-small", endpoint, model_id="small"),)},
        "equivalent_model_ids": (),
        "is_divided": False,
        "only_for": frozenset(),
    }
    assert large.hidden_reasoning
    routes = large.routes["openai_chat"]
    assert [each[1:2] + each[3:6] for each in routes] == [("acme-large-a", 1, 1, 0), ("acme-large-b", 7, 3, 200)]
    assert snapshot.model("other") is None


async def test_an_offering_has_its_rates_and_choices(tmp_path: Path) -> None:
    snapshot = await loaded(tmp_path, SECRET)
    metered, everything = snapshot.offering("metered"), snapshot.offering("default")
    assert metered is not None
    assert everything is not None
    assert (metered.unit, metered.currency, metered.tariff_id, metered.tariff_version) == ("CURRENCY", "USD", "usd", 3)
    # Classes without a rate of their own have that of input or output.
    assert metered.prices == {
        "small": (
            PriceTier(-1, rates(280_000, 2_800, 280_000, 420_000, 420_000)),
            PriceTier(100, rates(500_000, 500_000, 500_000, 1_000_000, 1_000_000)),
            PriceTier(200, rates(600_000, 600_000, 600_000, 2_000_000, 3_000_000)),
        )
    }
    assert (everything.unit, everything.currency) == ("TOKEN", None)
    assert set(everything.prices) == {"small", "large"}
    assert snapshot.offering("other") is None
    assert [offering.offering_id for offering in snapshot.offerings()] == ["default", "metered"]
    for streamed in (True, False):
        assert snapshot.abandoned("metered", streamed=streamed) is Abandoned.INPUT
        assert snapshot.abandoned("default", streamed=streamed) is Abandoned.NOTHING
        assert snapshot.abandoned("other", streamed=streamed) is Abandoned.NOTHING


def rates(*amounts: int) -> dict[str, int]:
    """Rates of the first classes, in their order; later ones have none of their own."""
    return dict(zip(TOKEN_CLASSES[:FIRST], amounts, strict=True))


async def test_an_offering_says_what_an_abandoned_whole_answer_costs(tmp_path: Path) -> None:
    text = changed("charge_input_when_client_gone_before_output: true", "abandoned_answer: made")
    snapshot = await loaded(tmp_path, SECRET, text=text)
    assert snapshot.abandoned("metered", streamed=False) is Abandoned.MADE
    assert snapshot.abandoned("metered", streamed=True) is Abandoned.NOTHING


@pytest.mark.parametrize(
    ("named", "priority_class", "cost"),
    [
        ("priority_class: low", PriorityClass.LOW, 4.0),
        ("", PriorityClass.STANDARD, 1.0),
        ("priority_class: high", PriorityClass.HIGH, 0.25),
    ],
)
async def test_an_offering_names_the_class_of_its_calls(
    tmp_path: Path, named: str, priority_class: PriorityClass, cost: float
) -> None:
    text = changed("charge_input_when_client_gone_before_output: true", named)
    offering = (await loaded(tmp_path, SECRET, text=text)).offering("metered")
    assert offering is not None
    assert (offering.priority_class, offering.priority_class.cost) == (priority_class, cost)


def test_an_offering_of_a_registry_that_names_no_classes_has_the_standard_one() -> None:
    catalog = registry_pb2.Catalog(
        tariffs=[registry_pb2.Tariff(tariff_id="flat", unit=registry_pb2.UNIT_TOKEN)],
        offerings=[registry_pb2.Offering(offering_id="old", tariff_id="flat")],
    )
    offering = Snapshot(catalog, {}, "").offering("old")
    assert offering is not None
    assert offering.priority_class is PriorityClass.STANDARD


SIMULATOR = "http://127.0.0.1:8090/v1"


@pytest.mark.parametrize(
    ("environment", "simulator_base_url", "expected"),
    [
        (SECRET, "", ("https://api.acme.test/v1", "sk-acme")),
        (SECRET, SIMULATOR, ("https://api.acme.test/v1", "sk-acme")),
        ({**SECRET, "TOKENLINE_ACME_BASE_URL": "https://proxy.test/acme/"}, "", ("https://proxy.test/acme", "sk-acme")),
        ({"TOKENLINE_ACME_BASE_URL": "http://10.0.0.9:8000/v1"}, SIMULATOR, ("http://10.0.0.9:8000/v1", "")),
        ({}, SIMULATOR, (SIMULATOR, "simulator")),
        ({"TOKENLINE_ACME_API_KEY": ""}, SIMULATOR + "/", (SIMULATOR, "simulator")),
        ({}, "", None),
        ({**SECRET, "TOKENLINE_ACME_BASE_URL": "proxy.test/acme"}, "", None),
        ({"TOKENLINE_ACME_API_KEY": " sk-acme\n"}, "", ("https://api.acme.test/v1", "sk-acme")),
        ({"TOKENLINE_ACME_API_KEY": "sk-acme\r\nx: y"}, "", None),
        ({**SECRET, "TOKENLINE_ACME_BASE_URL": "https://proxy.test/ a"}, "", None),
    ],
)
async def test_where_a_vendor_is_called(
    tmp_path: Path, environment: Mapping[str, str], simulator_base_url: str, expected: tuple[str, str] | None
) -> None:
    model = (await loaded(tmp_path, environment, simulator_base_url)).model("small")
    assert model is not None
    called = [(route.endpoint.base_url, route.endpoint.api_key) for route in model.routes.get("openai_chat", ())]
    assert called == ([expected] if expected else [])


async def test_a_change_is_followed_and_the_last_catalog_outlives_the_registry(tmp_path: Path) -> None:
    address, folder = f"unix:{tmp_path}/registry.sock", tmp_path / "catalog"
    write(folder, CATALOG)
    async with following(address, SECRET) as holder:
        assert holder.current is None
        async with registry(address, folder):
            await in_force(holder)
            write(folder, changed("max_output_tokens: 500", "max_output_tokens: 400"))
            model = (await in_force(holder, 2)).model("small")
            assert model is not None
            assert model.max_output_tokens == 400
        kept = holder.current
        assert kept is not None
        assert kept.catalog.revision == 2
        # A new registry counts anew; what it sends comes into force though its revision is lower.
        async with registry(address, folder):
            await until(lambda: holder.current is not kept)
        assert holder.current is not None
        assert holder.current.catalog.revision == 1


def test_a_catalog_that_does_not_hold_together_is_refused() -> None:
    catalog = registry_pb2.Catalog(models=[registry_pb2.Model(model_id="m", family_id="missing")])
    with pytest.raises(KeyError, match="missing"):
        Snapshot(catalog, {}, "")


CHINA, ABROAD = {"TOKENLINE_MOONSHOT_API_KEY": "sk-china"}, {"TOKENLINE_MOONSHOT_INTERNATIONAL_API_KEY": "sk-abroad"}


@pytest.mark.parametrize(
    ("secrets", "simulator", "vendors"),
    [
        ({}, "http://simulator", ["moonshot", "moonshot-international"]),
        ({}, "", []),
        (CHINA, "http://simulator", ["moonshot"]),
        (ABROAD, "http://simulator", ["moonshot-international"]),
        (ABROAD, "", ["moonshot-international"]),
        (CHINA | ABROAD, "http://simulator", ["moonshot", "moonshot-international"]),
        # Not a vendor that is called: its address is of no use.
        ({"TOKENLINE_MOONSHOT_BASE_URL": "ftp://x"}, "http://simulator", ["moonshot-international"]),
    ],
)
def test_the_simulator_never_answers_in_place_of_a_vendor_that_is_called(
    secrets: dict[str, str], simulator: str, vendors: list[str]
) -> None:
    """A client would pay for words of the simulator whenever the vendor fails."""
    catalog = load_catalog([base_catalog_folder()])
    model = Snapshot(catalog, secrets, simulator).model("kimi-k2.6")
    assert model is not None
    for dialect in ("openai_chat", "anthropic_messages"):
        assert [each.vendor_id for each in model.routes.get(dialect, ())] == vendors
    # A route of one offering alone leaves the others to the simulator.
    next(each for each in catalog.models if each.model_id == "kimi-k2.6").routes[1].offering_ids.append("line")
    divided = Snapshot(catalog, ABROAD, "http://simulator").model("kimi-k2.6")
    assert divided is not None
    assert [each.vendor_id for each in divided.routes["openai_chat"]] == ["moonshot", "moonshot-international"]
