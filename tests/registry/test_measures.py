"""Models that are charged in other measures than tokens, and the prices that they need."""

import re
from pathlib import Path

import pytest

from services.edge.catalog import Snapshot
from services.registry.catalog_folder import load_catalog
from services.runtime.config import ConfigError
from services.token_classes import IN_TOKENS, Measure, Measures
from tests.registry.catalogs import MEDIA, changed, write
from tokenline.registry.v1 import registry_pb2 as pb

PAINTER = "output: 0, generated_images: 50000000000}"
SCRIBE = "      - {model_id: scribe, input: 1000000, output: 1000000, audio_input: 3000000}\n"
LATER = """\
    upcoming:
      - version: 3
        effective_time: 2030-01-01T00:00:00Z
        rates: [{model_id: "*", input: 1, output: 1}]
"""
NIGHT = """\
    time_zone: Asia/Shanghai
    windows:
      - window_id: night
        version: 2
        hours: [{days: [monday]}]
        rates: [{model_id: painter, input: 1, output: 0}]
"""


def test_a_model_goes_out_with_its_measures(tmp_path: Path) -> None:
    write(tmp_path, MEDIA)
    catalog = load_catalog([tmp_path])
    served = {model.model_id: (model.input_measure, model.output_measure) for model in catalog.models}
    assert served["painter"] == (pb.MEASURE_TOKEN, pb.MEASURE_IMAGE)
    assert served["brush"] == served["small"] == (pb.MEASURE_TOKEN, pb.MEASURE_TOKEN)
    snapshot = Snapshot(catalog, {"TOKENLINE_ACME_API_KEY": "sk-acme"}, "")
    painter, small = snapshot.model("painter"), snapshot.model("small")
    assert painter is not None
    assert small is not None
    assert (painter.measures, set(painter.routes)) == (Measures(Measure.TOKEN, Measure.IMAGE), {"openai_images"})
    assert (small.measures, "openai_images" in small.routes) == (IN_TOKENS, False)
    assert served["listener"] == (pb.MEASURE_MILLISECOND, pb.MEASURE_TOKEN)
    assert served["scribe"] == (pb.MEASURE_TOKEN, pb.MEASURE_TOKEN)
    # Its answers come as one.
    assert not painter.routes["openai_images"][0].endpoint.streams
    assert small.routes["openai_chat"][0].endpoint.streams


def test_a_model_of_an_older_registry_is_charged_in_tokens() -> None:
    catalog = pb.Catalog(tokenizer_families=[pb.TokenizerFamily(family_id="f")], models=[pb.Model(model_id="m", family_id="f")])
    model = Snapshot(catalog, {}, "").model("m")
    assert model is not None
    assert model.measures == IN_TOKENS


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            changed(PAINTER, "output: 0}", MEDIA),
            "rates[1].generated_images: is missing, and painter is charged by the image: give the price of 1,000,000",
        ),
        # A price of the parent's would be one for tokens, also in a tier, and in a row for every model.
        (
            changed(PAINTER, "output: 0, generated_images: 5, tiers: [{above_input_tokens: 9, input: 1, output: 1}]}", MEDIA),
            "rates[1].tiers[0].generated_images: is missing",
        ),
        (
            changed("      - {model_id: painter, input: 1000000, " + PAINTER + "\n", "", MEDIA),
            "rates[0].generated_images: is missing, and painter is charged by the image",
        ),
        (changed(SCRIBE, SCRIBE + LATER, MEDIA), "upcoming[0].rates[0].generated_images: is missing, and painter is charged"),
        (changed(SCRIBE, SCRIBE + NIGHT, MEDIA), "windows[0].rates[0].generated_images: is missing, and painter is charged"),
        (
            changed("    max_output_tokens: 1\n", "    max_output_tokens: 2\n", MEDIA),
            "max_output_tokens: must be 1 for a model that is charged by the image: an answer is one; it is 2",
        ),
        (
            changed("    output_measure: image\n", "    output_measure: character\n", MEDIA),
            "output_measure: must be token or image for a model that is called in openai_images; it is 'character'",
        ),
        (
            changed("    output_measure: image\n", "    output_measure: image\n    equivalent_model_ids: [brush]\n", MEDIA),
            "equivalent_model_ids[0]: 'brush' is charged in other measures, so that its calls are reserved otherwise; leave it out",
        ),
        (
            changed("    input_measure: character\n", "", MEDIA),
            "input_measure: must be character for a model that is called in openai_speech; it is 'token'",
        ),
        (
            changed(", spoken_characters: 2000000}", "}", MEDIA),
            "spoken_characters: is missing, and speaker is charged by the character: give the price of 1,000,000",
        ),
        (
            changed(", audio_milliseconds: 2000}", "}", MEDIA),
            "audio_milliseconds: is missing, and listener is charged by the millisecond: give the price of 1,000,000",
        ),
        (
            changed(
                "    max_output_tokens: 0\n    input_measure: millisecond",
                "    max_output_tokens: 9\n    input_measure: millisecond",
                MEDIA,
            ),
            "max_output_tokens: must be 0 for a model that is charged for its input alone; it is 9",
        ),
        (
            changed("    output_measure: image\n", "    output_measure: image\n    input_measure: millisecond\n", MEDIA),
            "input_measure: must be token for a model that is called in openai_images; it is 'millisecond'",
        ),
        (
            changed("    dialects: [openai_embeddings]\n", "    dialects: [openai_embeddings]\n    output_measure: image\n", MEDIA),
            "output_measure: must be token for a model that is called in openai_embeddings; it is 'image'",
        ),
        (
            changed(
                "    max_output_tokens: 1\n    output_measure: image\n",
                "    max_output_tokens: 1\n    output_measure: image\n",
                MEDIA.replace("    dialects: [openai_images]\n", "    dialects: [openai_images, openai_chat]\n"),
            ),
            "output_measure: must be token for a model that is called in openai_chat; it is 'image'",
        ),
    ],
)
def test_a_measure_that_nothing_counts_or_prices_is_refused(tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, text)
    with pytest.raises(ConfigError, match=re.escape(told)):
        load_catalog([tmp_path])


def test_a_row_of_its_own_frees_the_row_for_every_model(tmp_path: Path) -> None:
    write(tmp_path, MEDIA)
    rates = next(tariff for tariff in load_catalog([tmp_path]).tariffs if tariff.tariff_id == "flat").model_rates
    by_model = {row.model_id: row.tiers[0].rates for row in rates}
    assert by_model["painter"].generated_images == 50_000_000_000 * 1_000_000 // 1_000_000 * 1_000_000
    assert not by_model["*"].HasField("generated_images")
