"""Where facts come from, other names of models, measured energy, and which tariffs everybody may see."""

from pathlib import Path

import pytest

from services.registry.catalog_folder import base_catalog_folder, catalog_of, load_catalog, read_folders
from services.registry.models_page import PAGE, page
from services.runtime.config import ConfigError
from tests.registry.catalogs import CATALOG, changed, write
from tokenline.registry.v1 import registry_pb2

SOURCES = "sources:\n  - {source_id: survey, title: A survey, date: 2026-11-20}\n"
ENERGY = "    energy: [{gpu: H100, task: chat, joules_low: 0.5, batch_low: 64, joules_high: 2, batch_high: 8, sources: [survey]}]\n"
FACTS = (
    changed(
        "    release_date: 2026-01-02\n",
        "    aliases: [tiny]\n    sunset_date: 2027-06-30\n    sources: [survey]\n    conflict: a card says 400\n" + ENERGY,
        changed(
            "      - model_id: small\n", "      - model_id: small\n        sources: [survey]\n        conflict: a card says 0.3\n"
        ),
    )
    + SOURCES
)


def test_they_reach_the_readers_of_the_catalog(tmp_path: Path) -> None:
    write(tmp_path, changed("    currency: USD\n", "    currency: USD\n    public: true\n", FACTS))
    catalog = load_catalog([tmp_path])
    (source,) = catalog.sources
    assert (source.source_id, source.title, source.published_time.ToJsonString()) == ("survey", "A survey", "2026-11-20T00:00:00Z")
    large, small = catalog.models
    assert (list(small.aliases), small.sunset_time.ToJsonString()) == (["tiny"], "2027-06-30T00:00:00Z")
    assert (list(small.source_ids), small.conflict) == (["survey"], "a card says 400")
    assert list(small.energy) == [
        registry_pb2.Energy(
            gpu="H100",
            per=registry_pb2.ENERGY_UNIT_OUTPUT_TOKEN,
            task="chat",
            low_microjoules=500_000,
            low_batch=64,
            high_microjoules=2_000_000,
            high_batch=8,
            source_ids=["survey"],
        )
    ]
    assert (small.HasField("release_time"), large.HasField("release_time"), large.HasField("sunset_time")) == (False, True, False)
    flat, usd = catalog.tariffs
    assert (flat.public, usd.public) == (False, True)
    assert (list(usd.model_rates[0].source_ids), usd.model_rates[0].conflict) == (["survey"], "a card says 0.3")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "    sources: [survey]\n",
            "    sources: [gossip]\n",
            "models[0].sources[0]: no source has the ID 'gossip'; known are: survey",
        ),
        (
            "        sources: [survey]\n",
            "        sources: [gossip]\n",
            "tariffs[1].rates[0].sources[0]: no source has the ID 'gossip'",
        ),
        ("8, sources: [survey]", "8, sources: [gossip]", "models[0].energy[0].sources[0]: no source has the ID 'gossip'"),
        ("8, sources: [survey]", "8, sources: []", "models[0].energy[0].sources: must name the source that measured it"),
        ("title: A survey", 'title: " "', "sources[0].title: must not be empty"),
        ("joules_high: 2", "joules_high: 0.4", "models[0].energy[0].joules_high: must be at least joules_low, 0.5; it is 0.4"),
        ("joules_low: 0.5", "joules_low: -1", "models[0].energy[0].joules_low: must not be negative; it is -1"),
        ("joules_low: 0.5", "joules_low: .nan", "models[0].energy[0].joules_low: must be a finite number; it is NaN"),
        ("batch_low: 64", "batch_low: 0", "models[0].energy[0].batch_low: must be from 1 to 2147483647; it is 0"),
        ("gpu: H100", "gpu: H100, per: page", "models[0].energy[0].per: must be output_token or image; it is 'page'"),
        ("aliases: [tiny]", "aliases: [large]", "models[0].aliases[0]: 'large' is a name of 'large' already; keep one of them"),
        ("aliases: [tiny]", "aliases: [tiny, tiny]", "models[0].aliases[1]: 'tiny' is a name of 'small' already; keep one of them"),
        ("aliases: [tiny]", "aliases: [a name]", "models[0].aliases[0]: must be letters, digits and . _ : / @ + - only"),
    ],
)
def test_mistakes_are_told_with_the_remedy(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert FACTS.count(old) >= 1
    write(tmp_path, FACTS.replace("\n" + old, "\n" + new, 1) if old.startswith(" ") else changed(old, new, FACTS))
    with pytest.raises(ConfigError) as refused:
        load_catalog([tmp_path])
    assert told in str(refused.value)


CONTRACT = """\
price_adjustments:
  - adjustment_id: contract
    of_tariff_id: usd
    tariff_id: usd-contract
    version: 1
    factor: 0.5
"""


@pytest.mark.parametrize("shown", [False, True])
def test_a_contract_made_of_a_public_tariff_is_shown_only_where_it_says_so(tmp_path: Path, shown: bool) -> None:
    text = changed("    currency: USD\n", "    currency: USD\n    public: true\n", FACTS) + CONTRACT
    write(tmp_path, text + "    public: true\n" * shown)
    tariffs = {each.tariff_id: each for each in load_catalog([tmp_path]).tariffs}
    assert (tariffs["usd"].public, tariffs["usd-contract"].public) == (True, shown)
    # Half of a published price is nobody's publication.
    (row,) = tariffs["usd-contract"].model_rates
    assert (list(row.source_ids), row.conflict, row.tiers[0].rates.input) == ([], "", 140_000)


def test_an_adjustment_that_makes_no_tariff_cannot_be_public(tmp_path: Path) -> None:
    write(tmp_path, CATALOG + CONTRACT.replace("    tariff_id: usd-contract\n", "    public: true\n"))
    with pytest.raises(ConfigError, match=r"price_adjustments\[0\]\.public: goes with tariff_id only"):
        load_catalog([tmp_path])


def test_the_page_of_models_is_that_of_the_base_catalog() -> None:
    text = page(catalog_of(read_folders([base_catalog_folder()])))
    assert PAGE.read_text(encoding="utf-8") == text
    assert (
        "| `qwen3.7-plus`; then `alibaba-international`* | 1,000,000 | 65,536 | 2 / 0.4 / 8"
        " | 0.4 / 0.08 / 1.6; above 256,000: 1.2 / 0.24 / 4.8 |"
    ) in text
    assert "| `deepseek-flash` | 1,000,000 | 393,216 | - | 0.3 / 0.006 / 1.2; `deepseek-off-peak`: 0.15 / 0.003 / 0.6 |" in text
    assert "73 models have two routes" in text
    assert "- `deepseek-off-peak`: monday to friday 00:00 to 09:00, 12:00 to 14:00, 18:00 to 24:00; saturday" in text
    # Its sources name a tier above 199,999 and the like one above 200,000.
    assert "| `grok-4.7` | 500,000 | 500,000 | - | 2 / 0.5 / 6; above 199,999: 4 / 1 / 12 | [1]" in text
    assert "| `glm-image` | 8,000 | 1 image | 0.1 an image | - | [2] |" in text
    assert "| `whisper-1`; ends on 2027-02-26 | 7,200,000 milliseconds | - | - | 0.006 a minute | [1], [2] |" in text
