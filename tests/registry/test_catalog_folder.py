"""Catalogs on disk: what comes out of them, how layers combine, and what every mistake is answered with."""

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.edge.catalog import Snapshot
from services.edge.tokens.tokenizers import TOKENIZER_NAMES
from services.registry.catalog import TOKENIZERS
from services.registry.catalog_folder import CatalogReader, load_catalog
from services.registry.rules import micro_amount
from services.registry.tariffs import Rates
from services.runtime.config import ConfigError
from services.token_classes import FIRST, TOKEN_CLASSES
from tests.registry.catalogs import CATALOG, changed, write
from tokenline.registry.v1 import registry_pb2


def line(text: str, part: str) -> int:
    """The line on which `part` first stands."""
    return text[: text.index(part)].count("\n") + 1


def rates(tier: registry_pb2.ContextTier) -> tuple[int, ...]:
    """above_input_tokens, then the rates by class."""
    own = tier.rates
    return tier.above_input_tokens, own.input, own.cached_input, own.cache_write, own.output, own.reasoning


def test_values_sorting_and_fallbacks(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    catalog = load_catalog([tmp_path])
    assert catalog.revision == 1
    assert catalog.default_offering_id == "default"
    assert [vendor.base_url for vendor in catalog.vendors] == ["https://api.acme.test/v1"]
    assert [model.model_id for model in catalog.models] == ["large", "small"]
    large, small = catalog.models
    assert [route.vendor_model_id for route in large.routes] == ["acme-large-a", "acme-large-b"]
    assert [route.weight for route in large.routes] == [1, 3]
    assert [route.edge_concurrency_max for route in large.routes] == [0, 200]
    assert (large.hidden_reasoning, small.hidden_reasoning) == (True, False)
    assert small.release_time.ToJsonString() == "2026-01-02T00:00:00Z"
    flat, usd = catalog.tariffs
    assert (flat.unit, flat.currency) == (registry_pb2.UNIT_TOKEN, "")
    assert [rates(tier) for tier in flat.model_rates[0].tiers] == [(-1, *[10**12] * 5)]
    assert (usd.unit, usd.currency, usd.version) == (registry_pb2.UNIT_CURRENCY, "USD", 3)
    assert usd.source == "Acme's price list of 2026-01-02."
    assert [rates(tier) for tier in usd.model_rates[0].tiers] == [
        (-1, 280_000, 2_800, 280_000, 420_000, 420_000),
        (100, 500_000, 500_000, 500_000, 1_000_000, 1_000_000),
        (200, 600_000, 600_000, 600_000, 2_000_000, 3_000_000),
    ]
    default, metered = catalog.offerings
    assert (list(default.model_ids), default.output_window_tokens) == ([], 2048)
    assert not default.charge_input_when_client_gone_before_output
    assert (list(metered.model_ids), metered.output_window_tokens) == (["small"], 64)
    assert metered.charge_input_when_client_gone_before_output
    assert metered.reservation_policy == registry_pb2.RESERVATION_POLICY_WORST_CASE


def test_a_class_has_a_rate_of_its_own_only_where_the_author_gave_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        changed(
            "        cached_input: 0.0028\n",
            "        cached_input: 0.0028\n        cache_write_1h: 0\n        audio_milliseconds: 0.5\n",
        ),
    )
    _, usd = load_catalog([tmp_path]).tariffs
    first, second, _ = (tier.rates for tier in usd.model_rates[0].tiers)
    names = [field.name for field in registry_pb2.TokenRates.DESCRIPTOR.fields][FIRST:]
    assert {name: getattr(first, name) for name in names if first.HasField(name)} == {
        "cache_write_1h": 0,
        "audio_milliseconds": 500_000,
    }
    assert [name for name in names if second.HasField(name)] == []


def test_a_class_without_a_rate_costs_what_its_parent_does() -> None:
    rates = Rates(input=Decimal(1), output=Decimal(2), cache_write=Decimal(3), audio_output=Decimal(4)).by_class()
    assert tuple(rates) == TOKEN_CLASSES
    assert {name: int(rate) for name, rate in rates.items()} == {
        "input": 1, "cached_input": 1, "cache_write": 3, "output": 2, "reasoning": 2, "cache_write_1h": 3, "audio_input": 1,
        "image_input": 1, "audio_output": 4, "image_output": 2, "generated_images": 2, "audio_milliseconds": 1,
        "spoken_characters": 1,
    }  # fmt: skip


def test_a_rate_of_a_later_class_is_a_change_of_rates(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    dearer = changed("input: 0.28\n", "input: 0.28\n        cache_write_1h: 0.56\n")
    write(tmp_path, dearer)
    with pytest.raises(ConfigError, match="must change when unit, currency or rates change; it is still 3: make it 4"):
        reader.read_if_changed()
    # To give what the parent has anyway changes nothing that is charged.
    write(tmp_path, changed("cache_write_1h: 0.56", "cache_write_1h: 0.28", dearer))
    assert revision_of(reader.read_if_changed()) == 2


def test_what_a_family_says_of_its_tokenizer_and_of_images(tmp_path: Path) -> None:
    write(
        tmp_path,
        changed(
            "template_tokens_per_request: 8", "template_tokens_per_request: 8\n    tokenizer: qwen3\n    image_tokens_max: 1600"
        ),
    )
    (family,) = load_catalog([tmp_path]).tokenizer_families
    assert (family.tokenizer, family.image_tokens_max) == ("qwen3", 1600)
    assert not family.HasField("image_rule")
    write(tmp_path, CATALOG)
    (family,) = load_catalog([tmp_path]).tokenizer_families
    assert (family.tokenizer, family.image_tokens_max) == ("", 0)


RULE = "{square_pixels: 28, square_tokens_milli: 1000, base_tokens: 2, short_side_pixels: 3, tokens_min: 32, low_detail_tokens: 5}"


def test_a_family_says_how_dense_sound_is(tmp_path: Path) -> None:
    write(tmp_path, changed("template_tokens_per_request: 8", "template_tokens_per_request: 8\n    sound_tokens_per_second: 32"))
    catalog = load_catalog([tmp_path])
    model = Snapshot(catalog, {"TOKENLINE_ACME_API_KEY": "sk-acme"}, "").model("small")
    assert model is not None
    assert (catalog.tokenizer_families[0].sound_tokens_per_second, model.family.sound_tokens_per_second) == (32, 32)
    write(tmp_path, changed("template_tokens_per_request: 8", "template_tokens_per_request: 8\n    sound_tokens_per_second: -1"))
    with pytest.raises(ConfigError, match="sound_tokens_per_second: must be from 0 to"):
        load_catalog([tmp_path])


def with_rule(rule: str, tokens_max: int = 1_600) -> str:
    family = "template_tokens_per_request: 8"
    return changed(family, f"{family}\n    image_tokens_max: {tokens_max}\n    image_rule: {rule}")


def test_a_rule_of_images_goes_out_as_it_was_written(tmp_path: Path) -> None:
    write(tmp_path, with_rule(RULE))
    catalog = load_catalog([tmp_path])
    (family,) = catalog.tokenizer_families
    rule = family.image_rule
    assert (rule.square_pixels, rule.square_tokens_milli, rule.base_tokens) == (28, 1_000, 2)
    assert (rule.short_side_pixels, rule.tokens_min, rule.low_detail_tokens) == (3, 32, 5)
    model = Snapshot(catalog, {"TOKENLINE_ACME_API_KEY": "sk-acme"}, "").model("small")
    assert model is not None
    assert model.family.image_rule == (28, 1_000, 2, 3, 32, 5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (with_rule(RULE, 0), "image_rule: has no bound: give image_tokens_max too"),
        (with_rule("{square_pixels: 0, square_tokens_milli: 1000}"), "image_rule.square_pixels: must be from 1 to"),
        (with_rule("{square_pixels: 28, square_tokens_milli: 0}"), "image_rule.square_tokens_milli: must be from 1 to"),
        (with_rule(RULE.replace("base_tokens: 2", "base_tokens: -2")), "image_rule.base_tokens: must be from 0 to"),
        (
            with_rule(RULE.replace("base_tokens: 2", "base_tokens: 1601")),
            "image_rule.base_tokens: must not exceed",
        ),
        (with_rule(RULE.replace("_min: 32", "_min: 1601")), "image_rule.tokens_min: must not exceed image_tokens_max, 1600; it is"),
        (with_rule(RULE.replace("pixels: 3,", "pixels: -3,")), "image_rule.short_side_pixels: must be from 0 to"),
    ],
)
def test_a_rule_of_images_that_can_not_be_is_refused(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_catalog([tmp_path])


def test_the_tokenizers_are_those_that_an_edge_carries() -> None:
    assert sorted(TOKENIZERS) == sorted(TOKENIZER_NAMES)


def test_digest_is_of_the_content_not_of_the_writing(tmp_path: Path) -> None:
    write(tmp_path / "one", CATALOG)
    models, tariffs = CATALOG.index("models:"), CATALOG.index("tariffs:")
    write(tmp_path / "two", "# Models apart.\n" + CATALOG[models:tariffs], "a.yaml")
    write(tmp_path / "two", changed("input: 0.28\n", "input: 0.280\n", CATALOG[:models] + CATALOG[tariffs:]), "b.yaml")
    write(tmp_path / "three", changed("input: 0.28\n", "input: 0.281\n"))
    one, two, three = (load_catalog([tmp_path / name]) for name in ("one", "two", "three"))
    assert one == two
    assert len(one.digest) == 64
    assert one.digest != three.digest


@pytest.mark.parametrize(
    ("rate", "micro"),
    [("0", 0), ("0.000001", 1), ("0.28", 280_000), ("9223372036854.775807", 2**63 - 1), ("1E+3", 10**9)],
)
def test_a_micro_amount_is_exact(rate: str, micro: int) -> None:
    assert micro_amount(Decimal(rate)) == micro


# What is replaced, by what, the line and the field the error names, and a part of its message.
MISTAKES = [
    ("vendor_id: acme, vendor_model_id: acme-small", "vendor_id: acne, vendor_model_id: acme-small",
     23, "models[0].routes[0].vendor_id", "no vendor has the ID 'acne'; known are: acme"),
    ("vendor_model_id: acme-large-b", "vendor_model_id: acme-large-a",
     34, "models[1].routes[1]", "a second time"),
    ("vendor_model_id: acme-small, priority: 0", "vendor_model_id: acme-small, priority: -1",
     23, "models[0].routes[0].priority", "must be from 0 to"),
    ("vendor_model_id: acme-small, priority: 0", "vendor_model_id: acme-small, weight: 0",
     23, "models[0].routes[0].weight", "must be from 1 to 1000; it is 0"),
    ("vendor_model_id: acme-small, priority: 0", "vendor_model_id: acme-small, weight: 1001",
     23, "models[0].routes[0].weight", "must be from 1 to 1000; it is 1001"),
    ("vendor_model_id: acme-small, priority: 0", "vendor_model_id: acme-small, edge_concurrency_max: -1",
     23, "models[0].routes[0].edge_concurrency_max", "must be from 0 to 1000000; it is -1"),
    ("    tariff_id: usd\n", "    tariff_id: eur\n",
     61, "offerings[1].tariff_id", "no tariff has the ID 'eur'; known are: flat, usd"),
    ("model_ids: [small]", "model_ids: [small, large]",
     62, "offerings[1].model_ids[1]", "'large' has no rates in the tariff 'usd'"),
    ("model_ids: [small]", "model_ids: [tiny]",
     62, "offerings[1].model_ids[0]", "no model has the ID 'tiny'; known are: large, small"),
    ("model_ids: [small]", "model_ids: [small, small]",
     62, "offerings[1].model_ids[1]", "stands in this offering already"),
    ("output_window_tokens: 64", "output_window_tokens: 0",
     64, "offerings[1].output_window_tokens", "must be from 1 to"),
    ("reservation_policy: worst_case\n    output", "reservation_policy: hopeful\n    output",
     63, "offerings[1].reservation_policy", "must be worst_case or expected or calibrated; it is 'hopeful'"),
    ("above_input_tokens: 200", "above_input_tokens: 100",
     53, "tariffs[1].rates[0].tiers[1].above_input_tokens", "must be greater than the tier before it, 100"),
    ("above_input_tokens: 100", "above_input_tokens: 0",
     52, "tariffs[1].rates[0].tiers[0].above_input_tokens", "must be greater than 0"),
    ("input: 0.28\n", "input: -0.28\n",
     48, "tariffs[1].rates[0].input", "must not be negative; it is -0.28"),
    ("input: 0.28\n", "input: .inf\n",
     48, "tariffs[1].rates[0].input", "must be a finite number"),
    ("input: 0.28\n", "input: .NaN\n",
     48, "tariffs[1].rates[0].input", "must be a finite number"),
    ("input: 0.28\n", "input: 9223372036854.775808\n",
     48, "tariffs[1].rates[0].input", "fits int64 micro-units"),
    ("input: 0.28\n", "input: 0.2800001\n",
     48, "tariffs[1].rates[0].input", "at most 6 decimals; it is 0.2800001"),
    ("input: 0.28\n", "input: 1.0e-999999\n",
     48, "tariffs[1].rates[0].input", "at most 6 decimals"),
    ("reasoning: 3", "reasoning: -3",
     53, "tariffs[1].rates[0].tiers[1].reasoning", "must not be negative"),
    ("input: 0.28\n", "input: cheap\n",
     48, "tariffs[1].rates[0].input", "must be a number; it is 'cheap'"),
    ("      - model_id: small\n", "      - model_id: tiny\n",
     47, "tariffs[1].rates[0].model_id", "no model has the ID 'tiny'"),
    ("currency: USD", "currency: usd",
     44, "tariffs[1].currency", "ISO 4217 code of 3 capital letters like USD; it is 'usd'"),
    ("    currency: USD\n", "",
     41, "tariffs[1].currency", "ISO 4217 code of 3 capital letters"),
    ("unit: TOKEN\n", "unit: TOKEN\n    currency: USD\n",
     39, "tariffs[0].currency", "goes with the unit CURRENCY only"),
    ("unit: TOKEN\n", "unit: GALLON\n",
     38, "tariffs[0].unit", "must be TOKEN or POINT or CURRENCY; it is 'GALLON'"),
    ("version: 3", "version: 0",
     42, "tariffs[1].version", "must be from 1 to"),
    ("context_window_tokens: 1000", "context_window_tokens: 0",
     18, "models[0].context_window_tokens", "must be from 1 to"),
    ("context_window_tokens: 1000", "context_window_tokens: -5",
     18, "models[0].context_window_tokens", "it is -5"),
    ("context_window_tokens: 1000", "context_window_tokens: 1000.5",
     18, "models[0].context_window_tokens", "must be a whole number; it is "),
    ("max_output_tokens: 500", "max_output_tokens: 1001",
     19, "models[0].max_output_tokens", "must not exceed context_window_tokens, 1000; it is 1001"),
    ("max_output_tokens: 500", "max_output_tokens: 0",
     19, "models[0].max_output_tokens", "must be from 1 to"),
    ("family_id: byte-bpe\n    release_date: 2026-01-02", "family_id: runes\n    release_date: 2026-01-02",
     20, "models[0].family_id", "no tokenizer family has the ID 'runes'; known are: byte-bpe"),
    ("display_name: Small", "display_name: \" \"",
     16, "models[0].display_name", "must not be empty"),
    ("models:\n  - model_id: small", "models:\n  - model_id: \"*\"",
     15, "models[0].model_id", "must be letters, digits"),
    ("https://api.acme.test/v1", "https://api.acme.test/v1/",
     5, "vendors[0].base_url", "must not end in a slash; write https://api.acme.test/v1"),
    ("https://api.acme.test/v1", "ftp://api.acme.test/v1",
     5, "vendors[0].base_url", "must be an http or https address"),
    ("https://api.acme.test/v1", "api.acme.test",
     5, "vendors[0].base_url", "must be an http or https address"),
    ("https://api.acme.test/v1", "https://api.acme.test:port/v1",
     5, "vendors[0].base_url", "must be an http or https address"),
    ("https://api.acme.test/v1", "https://api.acme.test/v1?key=1",
     5, "vendors[0].base_url", "no query"),
    ("TOKENLINE_ACME_API_KEY", "not a name",
     6, "vendors[0].api_key_env", "must name an environment variable"),
    ("letters_per_token_milli: 4000", "letters_per_token_milli: 0",
     10, "tokenizer_families[0].letters_per_token_milli", "must be from 1"),
    ("template_tokens_per_request: 8", "template_tokens_per_request: 8\n    tokenizer: gpt2",
     14, "tokenizer_families[0].tokenizer", "must be cl100k or o200k or llama3 or qwen3 or deepseek; it is 'gpt2'"),
    ("template_tokens_per_request: 8", "template_tokens_per_request: 8\n    image_tokens_max: -1",
     14, "tokenizer_families[0].image_tokens_max", "must be from 0 to"),
    ("input: 0.28\n", "input: 0.28\n        cache_write_1h: -1\n",
     49, "tariffs[1].rates[0].cache_write_1h", "must not be negative"),
    ("default_offering_id: default", "default_offering_id: basic",
     1, "default_offering_id", "no offering has the ID 'basic'; known are: default, metered"),
    ("input: 0.28\n", "input: 280000000000\n",
     48, "tariffs[1].rates[0].input", "is absurd: it is 280000000000 per 1,000,000, and a rate at most 1000000000"),
    ("display_name: Everything\n", "display_name: Everything\n    withdrawn: true\n",
     1, "default_offering_id", "'default' is withdrawn; name one on which accounts are opened"),
    ("default_offering_id: default\n", "",
     1, "default_offering_id", "is missing; name the offering"),
    ("owned_by: acme\n    context_window_tokens: 1000", "made_by: acme\n    context_window_tokens: 1000",
     17, "models[0].made_by", "is no known field; known are: "),
    ("    base_url_env: TOKENLINE_ACME_BASE_URL\n", "",
     3, "vendors[0].base_url_env", "is missing; only a vendor of a layer below may leave it out"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "at", "field", "message"), MISTAKES)
def test_a_mistake_is_answered_with_file_line_field_and_what_would_be_right(
    tmp_path: Path, old: str, new: str, at: int, field: str, message: str
) -> None:
    path = write(tmp_path, changed(old, new))
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    error = str(caught.value)
    assert error.startswith(f"{path}:{at}: {field}: "), error
    assert message in error


def test_one_id_twice_in_one_layer(tmp_path: Path) -> None:
    first = write(tmp_path, CATALOG, "a.yaml")
    second = write(tmp_path, "vendors:\n" + CATALOG[CATALOG.index("  - vendor_id") : CATALOG.index("tokenizer")], "b.yaml")
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    assert str(caught.value) == f"{second}:2: vendors[0].vendor_id: stands at {first}:3 too; within one folder, keep one of them"


def test_two_default_offerings_in_one_layer(tmp_path: Path) -> None:
    first = write(tmp_path, CATALOG, "a.yaml")
    second = write(tmp_path, "default_offering_id: metered\n", "b.yaml")
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    assert str(caught.value).startswith(f"{second}:1: default_offering_id: stands at {first}:1 too")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("vendors: ]", ":1: not valid YAML"),
        ("a: 1\na: 2\n", ":2: not valid YAML: the key 'a' stands here twice"),
        (
            "models:\n  - release_date: 2026-02-30\n",
            ":2: models[0].release_date: 2026-02-30 is not in the calendar: day is out of range for month; correct it",
        ),
        ("? [a]\n: 1\n", ":1: not valid YAML: a key must be a name"),
        ("- vendors\n", ":1: file: must be a map with the fields vendors, tokenizer_families, models, "),
        ("sellers: []\n", ":1: sellers: is no known field; known are: "),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    assert str(caught.value).startswith(f"{path}{message}")


def test_unreadable_places(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must name at least one folder"):
        load_catalog([])
    with pytest.raises(ConfigError, match=r"absent: cannot be read: No such file or directory; give a folder"):
        load_catalog([tmp_path / "absent"])
    with pytest.raises(ConfigError, match=r"no \*\.yaml file is there"):
        load_catalog([tmp_path])
    (tmp_path / "latin.yaml").write_bytes(b"default_offering_id: caf\xe9\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml: is not UTF-8 text"):
        load_catalog([tmp_path])


BRANCH = """\
default_offering_id: local
models:
  - model_id: small
    display_name: Small, served here
    owned_by: acme
    context_window_tokens: 800
    max_output_tokens: 400
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: branch, vendor_model_id: small}
vendors:
  - vendor_id: branch
    display_name: The branch's own cluster
    base_url: http://models.branch.test
    api_key_env: TOKENLINE_BRANCH_API_KEY
    base_url_env: TOKENLINE_BRANCH_BASE_URL
offerings:
  - offering_id: local
    display_name: Local
    tariff_id: flat
    model_ids: [small]
    reservation_policy: worst_case
"""


def test_a_later_layer_adds_and_replaces_by_id(tmp_path: Path) -> None:
    write(tmp_path / "base", CATALOG)
    write(tmp_path / "branch", BRANCH)
    catalog = load_catalog([tmp_path / "base", tmp_path / "branch"])
    assert [vendor.vendor_id for vendor in catalog.vendors] == ["acme", "branch"]
    assert [(model.model_id, model.context_window_tokens) for model in catalog.models] == [("large", 2000), ("small", 800)]
    assert [route.vendor_id for route in catalog.models[1].routes] == ["branch"]
    assert [offering.offering_id for offering in catalog.offerings] == ["default", "local", "metered"]
    assert catalog.default_offering_id == "local"


def test_a_layer_may_be_empty_and_its_mistakes_are_found_in_it(tmp_path: Path) -> None:
    write(tmp_path / "base", CATALOG)
    (tmp_path / "branch").mkdir()
    folders = [tmp_path / "base", tmp_path / "branch"]
    assert load_catalog(folders) == load_catalog(folders[:1])
    path = write(tmp_path / "branch", changed("tariff_id: flat", "tariff_id: sharp", BRANCH))
    with pytest.raises(ConfigError) as caught:
        load_catalog(folders)
    assert str(caught.value).startswith(f"{path}:21: offerings[0].tariff_id: no tariff has the ID 'sharp'")


def test_a_replaced_entry_breaks_who_relied_on_it(tmp_path: Path) -> None:
    base = write(tmp_path / "base", CATALOG)
    write(
        tmp_path / "branch",
        "tariffs:\n  - {tariff_id: usd, version: 4, unit: POINT, rates: [{model_id: large, input: 1, output: 1}]}\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path / "base", tmp_path / "branch"])
    at = line(CATALOG, "model_ids: [small]")
    assert str(caught.value).startswith(f"{base}:{at}: offerings[1].model_ids[0]: 'small' has no rates in the tariff 'usd'")


def revision_of(catalog: registry_pb2.Catalog | None) -> int | None:
    return None if catalog is None else catalog.revision


def test_the_reader_counts_changes_of_content(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    reader = CatalogReader([tmp_path])
    assert revision_of(reader.read_if_changed()) == 1
    assert reader.read_if_changed() is None
    write(tmp_path, "# A comment.\n" + CATALOG)
    assert revision_of(reader.read_if_changed()) == 1
    write(tmp_path, changed("display_name: Small", "display_name: Smaller"))
    assert revision_of(reader.read_if_changed()) == 2
    write(tmp_path, CATALOG)
    assert revision_of(reader.read_if_changed()) == 3


def test_the_reader_tells_of_an_invalid_state_once_and_goes_on_from_the_last_valid_one(tmp_path: Path) -> None:
    path = write(tmp_path, CATALOG)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    write(tmp_path, changed("currency: USD", "currency: dollars"))
    with pytest.raises(ConfigError):
        reader.read_if_changed()
    assert reader.read_if_changed() is None
    path.unlink()
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"no .* file is there"):
            reader.read_if_changed()
    write(tmp_path, CATALOG)
    assert revision_of(reader.read_if_changed()) == 1


def test_one_version_of_a_tariff_stands_for_one_set_of_rates(tmp_path: Path) -> None:
    write(tmp_path, CATALOG)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    dearer = changed("input: 0.28\n", "input: 0.29\n")
    path = write(tmp_path, dearer)
    with pytest.raises(ConfigError) as caught:
        reader.read_if_changed()
    at = line(dearer, "version: 3")
    assert str(caught.value) == (
        f"{path}:{at}: tariffs[1].version: must change when unit, currency or rates change; it is still 3: make it 4"
    )
    write(tmp_path, changed("version: 3", "version: 4", dearer))
    assert revision_of(reader.read_if_changed()) == 2
    # Taking the change back is a change too.
    write(tmp_path, CATALOG)
    assert revision_of(reader.read_if_changed()) == 3
    # What is not a rate may change as it likes.
    write(tmp_path, changed("price list of 2026-01-02", "price list of 2026-01-05"))
    assert revision_of(reader.read_if_changed()) == 4


def test_the_log_names_models_that_a_file_takes_off_the_shelf(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, CATALOG)
    reader = CatalogReader([tmp_path])
    reader.read_if_changed()
    write(tmp_path, changed("version: 1", "version: 2", changed('model_id: "*"', "model_id: small")))
    reader.read_if_changed()
    (told,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("1 models leave offerings now: large; is that meant?")


class OtherFolder:
    """A folder whose files change while they are read: it lists two files, and then one more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listed = 0

    def iterdir(self) -> Iterator[Path]:
        self.listed += 1
        if self.listed == 3:
            write(self.folder, "models: []\n", "later.yaml")
        return self.folder.iterdir()


def test_files_that_change_while_they_are_read_are_read_again(tmp_path: Path) -> None:
    """The fingerprint is taken, then the files are read, then the fingerprint is taken again."""
    write(tmp_path, CATALOG)
    folder: Any = OtherFolder(tmp_path)
    reader = CatalogReader([folder])
    assert reader.read_if_changed() is None
    assert folder.listed == 3
    assert revision_of(reader.read_if_changed()) == 1
