"""Routes that are not for every call: regions, dedicated ones, contracts, prices, and models that answer in another's place."""

from pathlib import Path

import pytest

from services.edge.catalog import Snapshot, WholesalePrice
from services.registry.catalog_folder import load_catalog
from services.runtime.config import ConfigError
from tests.registry.catalogs import CATALOG, changed, write
from tokenline.registry.v1 import registry_pb2

SMALL = "vendor_model_id: acme-small, priority: 0"
LARGE = "vendor_model_id: acme-large-a, priority: 1"
METERED = "    charge_input_when_client_gone_before_output: true\n"
OF_SMALL = "max_output_tokens: 500\n"


def _catalog(tmp_path: Path, *changes: tuple[str, str]) -> registry_pb2.Catalog:
    text = CATALOG
    for old, new in changes:
        text = changed(old, new, text)
    write(tmp_path, text)
    return load_catalog([tmp_path])


def test_what_an_author_says_of_routes_is_served(tmp_path: Path) -> None:
    catalog = _catalog(
        tmp_path,
        (SMALL, f"{SMALL}, region: cn-north, offering_ids: [metered, default], requests_per_minute: 60, tokens_per_minute: 9000"),
        (OF_SMALL, f"{OF_SMALL}    equivalent_model_ids: [twin]\n    routing: cheapest\n"),
        ("tariffs:\n", TWIN + "tariffs:\n"),
        (METERED, METERED + "    regions: {required: [cn-north], preferred: [cn-north]}\n    equivalent_models: true\n"),
    )
    small = next(model for model in catalog.models if model.model_id == "small")
    (route,) = small.routes
    assert (route.region, list(route.offering_ids)) == ("cn-north", ["default", "metered"])
    assert (route.requests_per_minute, route.tokens_per_minute) == (60, 9_000)
    assert (list(small.equivalent_model_ids), small.routing) == (["twin"], registry_pb2.ROUTING_POLICY_CHEAPEST)
    default, metered = catalog.offerings
    assert (list(metered.required_regions), list(metered.preferred_regions)) == (["cn-north"], ["cn-north"])
    assert (default.equivalent_models, metered.equivalent_models) == (False, True)
    assert list(default.required_regions) == []


TWIN = """\
  - model_id: twin
    display_name: Twin
    owned_by: acme
    context_window_tokens: 1000
    max_output_tokens: 500
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: acme, vendor_model_id: acme-twin}
"""


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        (SMALL, f"{SMALL}, region: North", "models[0].routes[0].region", "must be at most 63 lower-case letters, digits and -"),
        (SMALL, f"{SMALL}, offering_ids: [line]", "models[0].routes[0].offering_ids[0]", "no offering has the ID 'line'"),
        (
            SMALL,
            f"{SMALL}, offering_ids: [metered, metered]",
            "models[0].routes[0].offering_ids[1]",
            "'metered' stands here already; keep one of them",
        ),
        (SMALL, f"{SMALL}, requests_per_minute: -1", "models[0].routes[0].requests_per_minute", "must be from 0 to"),
        (SMALL, f"{SMALL}, tokens_per_minute: -1", "models[0].routes[0].tokens_per_minute", "must be from 0 to"),
        (OF_SMALL, f"{OF_SMALL}    routing: dearest\n", "models[0].routing", "must be weighted or cheapest; it is 'dearest'"),
        (
            OF_SMALL,
            f"{OF_SMALL}    equivalent_model_ids: [tiny]\n",
            "models[0].equivalent_model_ids[0]",
            "no model has the ID 'tiny'",
        ),
        (OF_SMALL, f"{OF_SMALL}    equivalent_model_ids: [small]\n", "models[0].equivalent_model_ids[0]", "is the model itself"),
        (
            OF_SMALL,
            f"{OF_SMALL}    equivalent_model_ids: [twin, twin]\n",
            "models[0].equivalent_model_ids[1]",
            "or stands here already",
        ),
        (
            OF_SMALL,
            f"{OF_SMALL}    equivalent_model_ids: [large]\n",
            "models[0].equivalent_model_ids[0]",
            "'large' has hidden_reasoning, so that its calls are reserved otherwise",
        ),
        (
            "max_output_tokens: 2000\n",
            "max_output_tokens: 2000\n    equivalent_model_ids: [twin]\n",
            "models[1].equivalent_model_ids[0]",
            "'twin' has max_output_tokens 500, which must be at least this model's, 2000",
        ),
        (METERED, f"{METERED}    regions: {{required: [north]}}\n", "offerings[1].regions.required[0]", "no region of a route has"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, field: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        _catalog(tmp_path, (old, new), ("tariffs:\n", TWIN + "tariffs:\n"))
    assert f": {field}: " in str(caught.value)
    assert message in str(caught.value)


def test_an_equivalent_of_another_family_is_refused(tmp_path: Path) -> None:
    family = """\
  - family_id: other
    letters_per_token_milli: 4000
    tokens_per_cjk_character_milli: 1500
    template_tokens_per_message: 8
    template_tokens_per_request: 8
models:
"""
    with pytest.raises(ConfigError, match=r"'twin' is of the family 'other'; name models of 'byte-bpe', which count alike"):
        _catalog(
            tmp_path,
            ("models:\n", family),
            (OF_SMALL, f"{OF_SMALL}    equivalent_model_ids: [twin]\n"),
            ("tariffs:\n", TWIN.replace("byte-bpe", "other") + "tariffs:\n"),
        )


def test_a_preferred_region_that_no_call_may_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'south' is not among the required ones, so that no call may take it; leave it out"):
        _catalog(
            tmp_path,
            (SMALL, f"{SMALL}, region: north"),
            (LARGE, f"{LARGE}, region: south"),
            (METERED, f"{METERED}    regions: {{required: [north], preferred: [south]}}\n"),
        )


CHEAP = """\
  - tariff_id: cny
    version: 1
    unit: CURRENCY
    currency: CNY
    rates: [{model_id: "*", input: 1.4, output: 2.8, tiers: [{above_input_tokens: 100, input: 4.2, output: 7}]}]
  - tariff_id: eur
    version: 1
    unit: CURRENCY
    currency: EUR
    rates: [{model_id: "*", input: 0.1, output: 0.1}]
exchange_rates: [{pair: USD/CNY, version: 1, rate: 7}]
"""


def _priced(tmp_path: Path, routing: str) -> Snapshot:
    """The model "small" with three routes, owed in USD, in CNY, and in EUR, which has no rate to the others."""
    line = f"      - {{vendor_id: acme, {SMALL}}}\n"
    routes = "".join(
        f"      - {{vendor_id: acme, vendor_model_id: in-{tariff}, wholesale_tariff_id: {tariff}}}\n"
        for tariff in ("usd", "cny", "eur")
    )
    catalog = _catalog(
        tmp_path, (line, routes), (OF_SMALL, f"{OF_SMALL}    routing: {routing}\n"), ("offerings:\n", CHEAP + "offerings:\n")
    )
    return Snapshot(catalog, {"TOKENLINE_ACME_API_KEY": "sk-acme"}, "")


def test_prices_of_routes_are_compared_in_one_currency(tmp_path: Path) -> None:
    model = _priced(tmp_path, "cheapest").model("small")
    assert model is not None
    usd, cny, eur = model.routes["openai_chat"]
    # 0.28 and 0.42 USD; 1.40 and 2.80 CNY, which are 0.20 and 0.40 USD.
    assert usd.cost(100, 100) == pytest.approx(100 * 280_000 + 100 * 420_000)
    assert cny.cost(100, 100) == pytest.approx(100 * 200_000 + 100 * 400_000)
    assert cny.prices[1] == pytest.approx(WholesalePrice(100, 600_000.0, 1_000_000.0))
    # Above 100 tokens of input the other one is cheaper.
    assert usd.cost(101, 10) < cny.cost(101, 10)
    # An output limit counts as 1,000 tokens at most.
    assert usd.cost(0, 1_000) == usd.cost(0, 100_000)
    assert eur.cost(1, 1) == float("inf")


def test_routes_of_other_models_have_no_price(tmp_path: Path) -> None:
    model = _priced(tmp_path, "weighted").model("small")
    assert model is not None
    assert [route.prices for route in model.routes["openai_chat"]] == [(), (), ()]


def test_a_circle_of_equivalents_is_refused(tmp_path: Path) -> None:
    twin = TWIN.replace("    family_id", "    equivalent_model_ids: [third]\n    family_id")
    third = TWIN.replace("twin", "third").replace("    family_id", "    equivalent_model_ids: [small]\n    family_id")
    with pytest.raises(ConfigError) as caught:
        _catalog(
            tmp_path,
            (OF_SMALL, f"{OF_SMALL}    equivalent_model_ids: [twin]\n"),
            ("tariffs:\n", twin + third + "tariffs:\n"),
        )
    assert str(caught.value).endswith(": leads back to this model, by small to twin to third to small; leave it out of one of them")
