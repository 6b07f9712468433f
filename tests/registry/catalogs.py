"""A small valid catalog to start from."""

from pathlib import Path

CATALOG = """\
default_offering_id: default
vendors:
  - vendor_id: acme
    display_name: Acme
    base_url: https://api.acme.test/v1
    api_key_env: TOKENLINE_ACME_API_KEY
    base_url_env: TOKENLINE_ACME_BASE_URL
tokenizer_families:
  - family_id: byte-bpe
    letters_per_token_milli: 4000
    tokens_per_cjk_character_milli: 1500
    template_tokens_per_message: 8
    template_tokens_per_request: 8
models:
  - model_id: small
    display_name: Small
    owned_by: acme
    context_window_tokens: 1000
    max_output_tokens: 500
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: acme, vendor_model_id: acme-small, priority: 0}
  - model_id: large
    display_name: Large
    owned_by: acme
    context_window_tokens: 2000
    max_output_tokens: 2000
    family_id: byte-bpe
    release_date: 2026-01-03
    hidden_reasoning: true
    routes:
      - {vendor_id: acme, vendor_model_id: acme-large-b, priority: 7, weight: 3, edge_concurrency_max: 200}
      - {vendor_id: acme, vendor_model_id: acme-large-a, priority: 1}
tariffs:
  - tariff_id: flat
    version: 1
    unit: TOKEN
    rates:
      - {model_id: "*", input: 1000000, output: 1000000}
  - tariff_id: usd
    version: 3
    unit: CURRENCY
    currency: USD
    source: Acme's price list of 2026-01-02.
    rates:
      - model_id: small
        input: 0.28
        cached_input: 0.0028
        output: 0.42
        tiers:
          - {above_input_tokens: 100, input: 0.5, output: 1}
          - {above_input_tokens: 200, input: 0.6, output: 2, reasoning: 3}
offerings:
  - offering_id: default
    display_name: Everything
    tariff_id: flat
    reservation_policy: worst_case
  - offering_id: metered
    display_name: Metered
    tariff_id: usd
    model_ids: [small]
    reservation_policy: worst_case
    output_window_tokens: 64
    charge_input_when_client_gone_before_output: true
"""


def changed(old: str, new: str, text: str = CATALOG) -> str:
    """The text with one thing, which must stand there exactly once, replaced."""
    assert text.count(old) == 1, (old, text.count(old))
    return text.replace(old, new)


def write(folder: Path, text: str, name: str = "catalog.yaml") -> Path:
    """Puts a file in place in one step, as careful tools do."""
    folder.mkdir(exist_ok=True)
    temporary = folder / f".{name}.new"
    temporary.write_text(text, encoding="utf-8")
    path = folder / name
    temporary.replace(path)
    return path


# The same with a model of embeddings, "vectors", and one of completions, "older"; acme speaks four dialects.
OLDER = changed(
    "    base_url_env: TOKENLINE_ACME_BASE_URL\n",
    "    base_url_env: TOKENLINE_ACME_BASE_URL\n"
    "    endpoints: {openai_chat: {}, anthropic_messages: {}, openai_embeddings: {}, openai_completions: {}}\n",
    changed(
        "tariffs:\n",
        """\
  - model_id: vectors
    display_name: Vectors
    owned_by: acme
    context_window_tokens: 1000
    max_output_tokens: 0
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [openai_embeddings]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-vectors, priority: 0}
  - model_id: older
    display_name: Older
    owned_by: acme
    context_window_tokens: 4000
    max_output_tokens: 2000
    family_id: byte-bpe
    release_date: 2025-01-01
    dialects: [openai_completions]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-older, priority: 0}
tariffs:
""",
    ),
)


# The same with models that make or take other than tokens: "painter" is charged by the image, "brush" by tokens of images,
# "listener" by the time it listens, "scribe" by tokens of sound; "ranker" ranks documents, and "speaker"
# is charged by the character.
MEDIA = changed(
    "openai_embeddings: {}, openai_completions: {}}\n",
    "openai_embeddings: {}, openai_completions: {}, openai_images: {},\n"
    "      openai_transcriptions: {}, rerank: {}, openai_speech: {}}\n",
    changed(
        '      - {model_id: "*", input: 1000000, output: 1000000}\n',
        """\
      - {model_id: "*", input: 1000000, output: 1000000}
      - {model_id: painter, input: 1000000, output: 0, generated_images: 50000000000}
      - {model_id: brush, input: 1000000, output: 1000000, image_output: 2000000}
      - {model_id: speaker, input: 0, output: 0, spoken_characters: 2000000}
      - {model_id: listener, input: 0, output: 0, audio_milliseconds: 2000}
      - {model_id: scribe, input: 1000000, output: 1000000, audio_input: 3000000}
""",
        changed(
            "tariffs:\n",
            """\
  - model_id: painter
    display_name: Painter
    owned_by: acme
    context_window_tokens: 1000
    max_output_tokens: 1
    output_measure: image
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [openai_images]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-painter, priority: 0}
  - model_id: brush
    display_name: Brush
    owned_by: acme
    context_window_tokens: 1000
    max_output_tokens: 600
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [openai_images]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-brush, priority: 0}
  - model_id: listener
    display_name: Listener
    owned_by: acme
    context_window_tokens: 600000
    max_output_tokens: 0
    input_measure: millisecond
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [openai_transcriptions]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-listener, priority: 0}
  - model_id: ranker
    display_name: Ranker
    owned_by: acme
    context_window_tokens: 1000
    max_output_tokens: 0
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [rerank]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-ranker, priority: 0}
  - model_id: speaker
    display_name: Speaker
    owned_by: acme
    context_window_tokens: 4096
    max_output_tokens: 0
    input_measure: character
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [openai_speech]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-speaker, priority: 0}
  - model_id: scribe
    display_name: Scribe
    owned_by: acme
    context_window_tokens: 16000
    max_output_tokens: 2000
    family_id: byte-bpe
    release_date: 2026-01-01
    dialects: [openai_transcriptions]
    routes:
      - {vendor_id: acme, vendor_model_id: acme-scribe, priority: 0}
tariffs:
""",
            OLDER,
        ),
    ),
)

# The same with "seer", whose images have tiles of 170 tokens, and an offering that reserves what is expected.
SEEING = changed(
    "models:\n",
    """\
  - family_id: tiles
    letters_per_token_milli: 4000
    tokens_per_cjk_character_milli: 1500
    template_tokens_per_message: 8
    template_tokens_per_request: 8
    image_tokens_max: 1445
    image_rule: {square_pixels: 512, square_tokens_milli: 170000, base_tokens: 85}
    sound_tokens_per_second: 10
models:
  - model_id: seer
    display_name: Seer
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 100
    family_id: tiles
    release_date: 2026-01-01
    routes:
      - {vendor_id: acme, vendor_model_id: acme-seer, priority: 0}
  - model_id: gazer
    display_name: Gazer
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 100
    family_id: byte-bpe
    release_date: 2026-01-01
    routes:
      - {vendor_id: acme, vendor_model_id: acme-gazer, priority: 0}
""",
    changed(
        "  - offering_id: metered\n",
        """\
  - offering_id: hopeful
    display_name: Everything, as it is expected
    tariff_id: flat
    reservation_policy: expected
  - offering_id: metered
""",
        MEDIA,
    ),
)
