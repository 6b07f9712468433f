"""The catalog that is shipped: enough in it, prices as published, points as its comment says."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from services.accounting.rpc.catalog import charging_catalog
from services.edge.catalog import Snapshot
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.token_classes import FIRST, INDEX, TOKEN_CLASSES
from tokenline.registry.v1 import registry_pb2


@pytest.fixture(scope="module")
def catalog() -> registry_pb2.Catalog:
    return load_catalog([base_catalog_folder()])


def tariff(catalog: registry_pb2.Catalog, tariff_id: str) -> registry_pb2.Tariff:
    return next(tariff for tariff in catalog.tariffs if tariff.tariff_id == tariff_id)


def tiers(catalog: registry_pb2.Catalog, tariff_id: str, model_id: str) -> dict[int, tuple[int, int, int, int]]:
    """above_input_tokens: input, cached input, cache write, output."""
    row = next(row for row in tariff(catalog, tariff_id).model_rates if row.model_id == model_id)
    return {
        tier.above_input_tokens: (tier.rates.input, tier.rates.cached_input, tier.rates.cache_write, tier.rates.output)
        for tier in row.tiers
    }


def test_it_has_what_a_national_platform_starts_with(catalog: registry_pb2.Catalog) -> None:
    assert len(catalog.models) >= 300
    assert len({route.vendor_id for model in catalog.models for route in model.routes}) >= 20
    assert sum(model.context_window_tokens == 1_000_000 for model in catalog.models) >= 5
    ids = {model.model_id for model in catalog.models}
    assert ids >= {
        "deepseek-v4-flash", "qwen3-max", "glm-5", "kimi-k2.6", "doubao-seed-2-0-pro-260215", "MiniMax-M2", "gpt-4o-mini",
        "gemini-2.5-pro", "claude-opus-4-5-20251101", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001",
    }  # fmt: skip
    assert not any("/" in model_id for model_id in ids)
    assert all(vendor.base_url.startswith("https://") for vendor in catalog.vendors)
    for vendor in catalog.vendors:
        name = vendor.vendor_id.upper().replace("-", "_")
        assert (vendor.api_key_env, vendor.base_url_env) == (f"TOKENLINE_{name}_API_KEY", f"TOKENLINE_{name}_BASE_URL")


def test_a_model_that_a_vendor_sells_in_china_and_abroad_has_a_route_to_each(catalog: registry_pb2.Catalog) -> None:
    """Each route is owed by the list in its vendor's currency; a call goes abroad only where the one in China did not answer."""
    rated = {each: {row.model_id for row in tariff(catalog, each).model_rates} for each in LISTS}
    abroad = {each.vendor_id for each in catalog.vendors if each.vendor_id.endswith("-international")}
    two = [model for model in catalog.models if len(model.routes) > 1]
    assert two == [
        model
        for model in catalog.models
        if f"{model.routes[0].vendor_id}-international" in abroad and all(model.model_id in rated[each] for each in LISTS)
    ]
    assert Counter(model.routes[0].vendor_id for model in two) == {
        "alibaba": 38, "zhipu": 19, "minimax": 10, "moonshot": 3, "stepfun": 3,
    }  # fmt: skip
    for model in two:
        first, second = model.routes
        assert (first.priority, first.region, first.wholesale_tariff_id) == (0, "mainland", "list-price-cny")
        assert (second.priority, second.region, second.wholesale_tariff_id) == (1, "international", "list-price-usd")
        assert (second.vendor_id, second.vendor_model_id) == (f"{first.vendor_id}-international", first.vendor_model_id)
    charged = charging_catalog(catalog, 1)
    owed = {each.vendor_id: each.tariff for each in charged.wholesale("kimi-k2.6", 1)}
    assert {vendor_id: (each.unit, each.tiers[0].rates[0]) for vendor_id, each in owed.items()} == {
        "moonshot": ("CURRENCY:CNY", 6_500_000),
        "moonshot-international": ("CURRENCY:USD", 950_000),
    }


def test_hidden_reasoning(catalog: registry_pb2.Catalog) -> None:
    hidden = {model.model_id for model in catalog.models if model.hidden_reasoning}
    assert hidden >= {"o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.4", "gpt-5.5", "gemini-2.5-pro"}
    assert not hidden & {"gpt-4o", "gpt-4o-mini", "deepseek-reasoner", "claude-opus-4-5-20251101", "glm-5"}


def test_prices_as_published(catalog: registry_pb2.Catalog) -> None:
    # DeepSeek's, of peak hours.
    assert tiers(catalog, "list-price-usd", "deepseek-v4-flash") == {-1: (300_000, 6_000, 300_000, 1_200_000)}
    assert tiers(catalog, "list-price-usd", "deepseek-v4-pro") == {-1: (1_320_000, 44_000, 1_320_000, 3_960_000)}
    assert tiers(catalog, "list-price-usd", "gpt-4o-mini") == {-1: (150_000, 75_000, 150_000, 600_000)}
    assert tiers(catalog, "list-price-usd", "glm-5") == {-1: (1_000_000, 200_000, 1_000_000, 3_200_000)}
    assert tiers(catalog, "list-price-usd", "claude-opus-4-5-20251101") == {-1: (5_000_000, 500_000, 6_250_000, 25_000_000)}
    assert tiers(catalog, "list-price-usd", "claude-sonnet-4-5-20250929") == {-1: (3_000_000, 300_000, 3_750_000, 15_000_000)}
    assert tiers(catalog, "list-price-usd", "qwen3-max") == {
        -1: (1_200_000, 1_200_000, 1_200_000, 6_000_000),
        32_000: (2_400_000, 2_400_000, 2_400_000, 12_000_000),
        128_000: (3_000_000, 3_000_000, 3_000_000, 15_000_000),
    }
    assert tiers(catalog, "list-price-cny", "qwen3.6-plus") == {
        -1: (2_000_000, 400_000, 2_000_000, 12_000_000),
        256_000: (8_000_000, 1_600_000, 8_000_000, 48_000_000),
    }
    # Answers of more than 200 tokens.
    assert tiers(catalog, "list-price-cny", "glm-4.7") == {
        -1: (3_000_000, 600_000, 3_000_000, 14_000_000),
        32_000: (4_000_000, 800_000, 4_000_000, 16_000_000),
    }
    assert {each: tariff(catalog, each).currency for each in LISTS} == {"list-price-cny": "CNY", "list-price-usd": "USD"}


LISTS = ("list-price-cny", "list-price-usd")
# The versions of the list price: of peak hours, and of all others. Rates of input, cached input and output.
PEAK, OFF_PEAK = 4, 5
AT_PEAK = {"deepseek-v4-flash": (300_000, 6_000, 1_200_000), "deepseek-v4-pro": (1_320_000, 44_000, 3_960_000)}
OFF = {"deepseek-v4-flash": (150_000, 3_000, 600_000), "deepseek-v4-pro": (660_000, 22_000, 1_980_000)}


@pytest.mark.parametrize(
    ("moment", "version", "rates"),
    [
        # 2026-11-30 is a Monday, 2026-12-04 a Friday.
        ("2026-11-30 00:59", OFF_PEAK, OFF),
        ("2026-11-30 01:00", PEAK, AT_PEAK),
        ("2026-11-30 03:59", PEAK, AT_PEAK),
        ("2026-11-30 04:00", OFF_PEAK, OFF),
        ("2026-11-30 06:00", PEAK, AT_PEAK),
        ("2026-12-04 09:59", PEAK, AT_PEAK),
        ("2026-12-04 10:00", OFF_PEAK, OFF),
        ("2026-12-05 02:00", OFF_PEAK, OFF),
        ("2026-12-06 07:00", OFF_PEAK, OFF),
        # New Year's Day is a Friday, and no working day.
        ("2027-01-01 02:00", OFF_PEAK, OFF),
        ("2027-01-04 02:00", PEAK, AT_PEAK),
    ],
)
def test_deepseek_costs_half_off_peak_to_the_subscriber_and_to_the_operator(
    catalog: registry_pb2.Catalog, moment: str, version: int, rates: dict[str, tuple[int, int, int]]
) -> None:
    """The hours are those of the sources, in UTC."""
    now_us = int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) * 1_000_000
    shown = Snapshot(catalog, {}, "http://simulator", now_us).offering("metered-usd")
    charged = charging_catalog(catalog, 1)
    assert shown is not None
    for model_id, (of_input, cached, of_output) in rates.items():
        listed = shown.prices[model_id][0].rates
        assert (listed["input"], listed["cached_input"], listed["output"]) == (of_input, cached, of_output)
        retail = charged.price("metered-usd", "", "CURRENCY:USD", model_id, now_us)
        (owed,) = charged.wholesale(model_id, now_us)
        assert owed.vendor_id == "deepseek"
        for price in (retail, owed.tariff):
            assert price is not None
            assert (price.version, *price.tiers[0].rates[:2], price.tiers[0].rates[INDEX["output"]]) == (
                version, of_input, cached, of_output,
            )  # fmt: skip
    # Others cost the same at all hours.
    assert shown.prices["kimi-k2.5"][0].rates["input"] == 600_000


def test_list_prices_alone_are_public_and_each_names_its_sources(catalog: registry_pb2.Catalog) -> None:
    assert {each.tariff_id for each in catalog.tariffs if each.public} == set(LISTS)
    sources = {each.source_id: each for each in catalog.sources}
    assert (sources["litellm-2026-11"].title, sources["litellm-2026-11"].published_time.ToJsonString()) == (
        "litellm 1.110.2, price map and provider code",
        "2026-11-01T00:00:00Z",
    )
    for tariff_id in LISTS:
        listed = tariff(catalog, tariff_id)
        for row in (*listed.model_rates, *(row for window in listed.windows for row in window.model_rates)):
            assert row.source_ids, (tariff_id, row.model_id)
            assert sources.keys() >= set(row.source_ids)
    rows = {row.model_id: row for row in tariff(catalog, "list-price-usd").model_rates}
    assert rows["qwen3.8-max"].conflict == "cached input 0.17 (metergraph-2026-10)"
    models = {model.model_id: model for model in catalog.models}
    assert all(model.source_ids for model in models.values())
    assert models["MiniMax-M2"].max_output_tokens == 128_000
    assert models["MiniMax-M2"].conflict == "max output differs: litellm 8192"
    assert models["deepseek-chat"].sunset_time.ToJsonString() == "2026-07-24T00:00:00Z"
    assert list(models["claude-haiku-4-5-20251001"].aliases) == ["claude-haiku-4-5"]
    assert not models["qwen-coder"].HasField("release_time")


def test_energy_is_a_range_where_it_was_measured(catalog: registry_pb2.Catalog) -> None:
    measured = {model.model_id: model.energy for model in catalog.models if model.energy}
    assert [
        (each.gpu, each.low_microjoules, each.low_batch, each.high_microjoules, each.high_batch) for each in measured["qwen3-14b"]
    ] == [
        ("B200", 54_770, 2_048, 699_300, 8),
        ("H100", 111_900, 256, 706_100, 8),
    ]
    assert all(model_id.startswith("qwen3-") for model_id in measured)


def test_models_charged_otherwise_than_by_the_token(catalog: registry_pb2.Catalog) -> None:
    prices = {row.model_id: row.tiers[0].rates for name in LISTS for row in tariff(catalog, name).model_rates}
    models = {model.model_id: model for model in catalog.models}
    # Per million: 0.2 yuan an image, 0.006 dollars a minute, 15 dollars a million characters.
    assert prices["doubao-seedream-4-0-250828"].generated_images == 200_000 * 1_000_000
    assert prices["whisper-1"].audio_milliseconds * 60_000 == 6_000 * 1_000_000
    assert prices["tts-1"].spoken_characters == 15_000_000
    flat = {row.model_id: row.tiers[0].rates for row in tariff(catalog, "token-flat").model_rates}
    assert (flat["*"].generated_images, flat["*"].audio_milliseconds, flat["*"].spoken_characters) == (
        1_000 * 10**12,
        10 * 10**9,
        2 * 10**12,
    )
    assert {model_id for model_id, each in models.items() if each.output_measure == registry_pb2.MEASURE_IMAGE} == {
        *("cogview-4", "glm-image", "grok-imagine-image"),
        *("doubao-seedream-4-0-250828", "doubao-seedream-4-5-251128", "doubao-seedream-5-0-260128"),
    }


EMBEDDINGS = {"text-embedding-3-small", "text-embedding-3-large"}


def test_embeddings_cost_their_input_alone(catalog: registry_pb2.Catalog) -> None:
    assert tiers(catalog, "list-price-usd", "text-embedding-3-small") == {-1: (20_000, 20_000, 20_000, 0)}
    assert tiers(catalog, "list-price-usd", "text-embedding-3-large") == {-1: (130_000, 130_000, 130_000, 0)}
    without_output = {model.model_id for model in catalog.models if not model.max_output_tokens}
    called = {model.model_id for model in catalog.models if registry_pb2.DIALECT_OPENAI_EMBEDDINGS in model.dialects}
    assert called > EMBEDDINGS
    assert without_output - called == {"rerank-v5.0-fast", "rerank-v5.0-pro", "tts-1", "tts-1-hd", "whisper-1"}
    assert called <= without_output


def test_an_hour_in_anthropics_cache_costs_twice_the_input(catalog: registry_pb2.Catalog) -> None:
    anthropic = {model.model_id for model in catalog.models if model.owned_by == "anthropic"}
    assert len(anthropic) >= 7
    for model_id, above, rates in rated(tariff(catalog, "list-price-usd")):
        assert rates.HasField("cache_write_1h") == (model_id in anthropic), (model_id, above)
        if model_id in anthropic:
            assert rates.cache_write_1h == 2 * rates.input, (model_id, above)
    assert [tariff(catalog, each).version for each in ("token-flat", "list-price-usd", "points-by-model")] == [2, 4, 4]


def test_tokenizers_and_bounds_of_images(catalog: registry_pb2.Catalog) -> None:
    """Only what a public source makes certain: a bound that is wrong would let a prepaid account go into debt."""
    families = {family.family_id: family for family in catalog.tokenizer_families}
    found = {model.model_id: families[model.family_id] for model in catalog.models}
    tokenizers = {model_id: family.tokenizer for model_id, family in found.items() if family.tokenizer}
    assert {model_id for model_id, each in tokenizers.items() if each == "o200k"} == {
        "gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano", "o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5-nano",
    }  # fmt: skip
    assert {model_id for model_id, each in tokenizers.items() if each == "deepseek"} == {
        "deepseek-chat", "deepseek-reasoner", "deepseek-v4-flash", "deepseek-v4-pro",
    }  # fmt: skip
    assert {model_id for model_id, each in tokenizers.items() if each == "qwen3"} == {"qwen3-next-80b-a3b-instruct"}
    assert {model_id for model_id, each in tokenizers.items() if each == "cl100k"} == EMBEDDINGS
    assert set(tokenizers.values()) == {"o200k", "deepseek", "qwen3", "cl100k"}
    images = {model_id: family.image_tokens_max for model_id, family in found.items() if family.image_tokens_max}
    assert images["gpt-4o"] == 85 + 8 * 170
    assert images["gpt-4o-mini"] == 2_833 + 8 * 5_667
    assert images["gpt-5-nano"] == -(-1_536 * 246 // 100)
    assert (images["claude-sonnet-4-6"], images["claude-opus-4-7"]) == (1_600, 4_784)
    assert all(model_id.startswith(("gpt-4", "gpt-5", "o3", "o4", "claude")) for model_id in images)
    rules = {model_id: found[model_id].image_rule for model_id in images}
    tiles = registry_pb2.ImageRule(
        square_pixels=512, square_tokens_milli=170_000, base_tokens=85, short_side_pixels=768, low_detail_tokens=85
    )
    assert rules["gpt-4o"] == tiles
    assert rules["gpt-5-nano"] == registry_pb2.ImageRule(square_pixels=32, square_tokens_milli=2_460)
    assert (
        rules["claude-sonnet-4-6"]
        == rules["claude-opus-4-7"]
        == registry_pb2.ImageRule(square_pixels=27, square_tokens_milli=1_000)
    )


def test_what_is_reserved_by_whom(catalog: registry_pb2.Catalog) -> None:
    policies = {each.offering_id: each.reservation_policy for each in catalog.offerings}
    calibrated = {each for each, policy in policies.items() if policy == registry_pb2.RESERVATION_POLICY_CALIBRATED}
    assert calibrated == {"personal-10m", "personal-30m", "personal-10m-overage", "pack-400k", "pack-400-points"}
    assert policies["default"] == registry_pb2.RESERVATION_POLICY_WORST_CASE


def test_flat_charges_one_token_a_token(catalog: registry_pb2.Catalog) -> None:
    assert tiers(catalog, "token-flat", "*") == {-1: (10**12,) * 4}
    assert tariff(catalog, "token-flat").unit == registry_pb2.UNIT_TOKEN


def rated(tariff: registry_pb2.Tariff) -> Iterator[tuple[str, int, registry_pb2.TokenRates]]:
    for row in tariff.model_rates:
        for tier in row.tiers:
            yield row.model_id, tier.above_input_tokens, tier.rates


def test_points_follow_list_prices(catalog: registry_pb2.Catalog) -> None:
    """1 point for 0.0005 USD, or 0.00355 CNY: whole points per 1,000 tokens, tenths for a cached rate of its own."""
    whole_point, tenth = 1_000 * 10**6, 100 * 10**6
    # Micro-units of money per 1,000,000 tokens that make one point per 1,000 tokens.
    worth = {"list-price-usd": 500_000, "list-price-cny": 3_550_000}
    points = {(model_id, above): rates for model_id, above, rates in rated(tariff(catalog, "points-by-model"))}
    assert tariff(catalog, "points-by-model").unit == registry_pb2.UNIT_POINT
    in_usd = {row.model_id for row in tariff(catalog, "list-price-usd").model_rates}
    listed = [
        (name, *each)
        for name in worth
        for each in rated(tariff(catalog, name))
        if name == "list-price-usd" or each[0] not in in_usd
    ]
    assert len(listed) == len(points)
    without_output = {model.model_id for model in catalog.models if not model.max_output_tokens}
    otherwise = {"whisper-1", "tts-1", "tts-1-hd"}
    for name, model_id, above, price in listed:
        weight, money = points[model_id, above], worth[name]
        for token_class in TOKEN_CLASSES:
            later = TOKEN_CLASSES.index(token_class) >= FIRST
            assert not later or weight.HasField(token_class) == price.HasField(token_class), (model_id, above)
            if token_class == "cached_input" or (later and not price.HasField(token_class)):
                continue
            rate = getattr(price, token_class)
            expected = max(1, -(-rate // money)) * whole_point
            if not rate and (
                price.generated_images or model_id in otherwise or (token_class != "input" and model_id in without_output)
            ):
                expected = 0
            assert getattr(weight, token_class) == expected, (model_id, above, token_class)
        if price.cached_input == price.input:
            assert weight.cached_input == weight.input
        else:
            assert weight.cached_input == max(1, -(-price.cached_input * 10 // money)) * tenth, (model_id, above)
    assert tiers(catalog, "points-by-model", "deepseek-v4-flash") == {-1: (10**9, 10**8, 10**9, 3 * 10**9)}


def test_offerings(catalog: registry_pb2.Catalog) -> None:
    offerings = {offering.offering_id: offering for offering in catalog.offerings}
    assert catalog.default_offering_id == "default"
    bases = [each for each in offerings.values() if not each.HasField("cycle") and not each.allowances]
    assert {each.offering_id: each.tariff_id for each in bases} == {
        "default": "token-flat",
        "chat-basic": "token-flat",
        "universal-points": "points-by-model",
        "metered-usd": "list-price-usd",
        "metered-cny": "list-price-cny",
        "metered-agents": "list-price-usd",
    }
    ten = offerings["personal-10m"]
    assert (ten.price.amount, ten.price.currency, ten.allowances[0].amount) == (9_900_000, "CNY", 10_000_000 * 1_000_000)
    pack = offerings["pack-400k"]
    assert (pack.price.amount, pack.allowances[0].amount, pack.allowances[0].valid_days) == (1_000_000, 400_000 * 1_000_000, 30)
    # What a phone bill pays for a month must fit on the credit line that comes with it.
    for each in offerings.values():
        if list(each.payment_methods) == [registry_pb2.PAYMENT_METHOD_PHONE_BILL]:
            assert any(allowance.postpaid and allowance.amount > each.price.amount for allowance in each.allowances)
    # Every vendor is owed something for every model.
    assert all(route.wholesale_tariff_id for model in catalog.models for route in model.routes)
    assert list(offerings["chat-basic"].model_ids) == ["deepseek-v4-flash", "glm-4.5-air", "qwen-flash"]
    assert {offering.output_window_tokens for offering in offerings.values()} == {2048}
    # Every model is sold in points; by a list price those alone that have it, and each model has one.
    model_ids = {model.model_id for model in catalog.models}
    rated_ids = {each: {row.model_id for row in tariff(catalog, each).model_rates} for each in ("points-by-model", *LISTS)}
    assert rated_ids["points-by-model"] == model_ids == rated_ids["list-price-cny"] | rated_ids["list-price-usd"]
    assert "deepseek-v4-flash" not in rated_ids["list-price-cny"]
    assert "ernie-x1.1" not in rated_ids["list-price-usd"]
