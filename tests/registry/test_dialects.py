"""The dialects in which a model is called: all that hold a conversation, unless it names its own."""

from pathlib import Path

import pytest

from services.edge.catalog import SellableModel, Snapshot
from services.registry.catalog_folder import load_catalog
from services.runtime.config import ConfigError
from tests.registry.catalogs import changed, write
from tokenline.registry.v1 import registry_pb2 as pb

SPEAKING = changed(
    "    base_url_env: TOKENLINE_ACME_BASE_URL\n",
    "    base_url_env: TOKENLINE_ACME_BASE_URL\n"
    "    endpoints: {openai_chat: {}, anthropic_messages: {}, openai_embeddings: {}, openai_completions: {}}\n",
)
EMBEDDING = changed("    max_output_tokens: 500\n", "    max_output_tokens: 0\n    dialects: [openai_embeddings]\n", SPEAKING)


def small(folder: Path, text: str) -> tuple[pb.Model, SellableModel]:
    """The model "small", as the registry serves it and as an edge has it."""
    write(folder, text)
    catalog = load_catalog([folder])
    served = next(model for model in catalog.models if model.model_id == "small")
    sellable = Snapshot(catalog, {"TOKENLINE_ACME_API_KEY": "sk-acme"}, "").model("small")
    assert sellable is not None
    return served, sellable


def test_a_model_that_names_none_is_called_where_a_conversation_can_be_had(tmp_path: Path) -> None:
    served, sellable = small(tmp_path, SPEAKING)
    assert {pb.DIALECT_OPENAI_CHAT, pb.DIALECT_ANTHROPIC_MESSAGES} <= set(served.dialects)
    assert not {pb.DIALECT_OPENAI_EMBEDDINGS, pb.DIALECT_OPENAI_COMPLETIONS} & set(served.dialects)
    assert set(sellable.routes) == {"openai_chat", "anthropic_messages"}


def test_a_model_is_called_in_those_that_it_names_alone(tmp_path: Path) -> None:
    text = changed("    max_output_tokens: 500\n", "    max_output_tokens: 500\n    dialects: [openai_completions]\n", SPEAKING)
    served, sellable = small(tmp_path, text)
    assert list(served.dialects) == [pb.DIALECT_OPENAI_COMPLETIONS]
    assert set(sellable.routes) == {"openai_completions"}


def test_a_model_of_embeddings_makes_no_output(tmp_path: Path) -> None:
    served, sellable = small(tmp_path, EMBEDDING)
    assert (list(served.dialects), served.max_output_tokens) == ([pb.DIALECT_OPENAI_EMBEDDINGS], 0)
    assert set(sellable.routes) == {"openai_embeddings"}


def test_a_catalog_of_an_older_registry_names_none() -> None:
    catalog = pb.Catalog(
        vendors=[pb.Vendor(vendor_id="acme", base_url="https://api.acme.test/v1", api_key_env="KEY")],
        tokenizer_families=[pb.TokenizerFamily(family_id="bytes")],
        models=[pb.Model(model_id="small", family_id="bytes", routes=[pb.Route(vendor_id="acme", vendor_model_id="m")])],
    )
    sellable = Snapshot(catalog, {"KEY": "sk-acme"}, "").model("small")
    assert sellable is not None
    assert set(sellable.routes) == {"openai_chat"}


@pytest.mark.parametrize(
    ("new", "field", "message"),
    [
        (
            "500\n    dialects: [openai_embeddings]",
            "max_output_tokens",
            "must be 0 for a model that is charged for its input alone; it is 500",
        ),
        ("0\n    dialects: [openai_embeddings, openai_chat]", "max_output_tokens", "must be from 1 to"),
        ("500\n    dialects: [openai_chats]", "dialects[0]", "it is 'openai_chats'"),
        ("500\n    dialects: [openai_chat, openai_chat]", "dialects[1]", "'openai_chat' stands here already; keep one of them"),
    ],
)
def test_a_mistake_says_what_would_be_right(tmp_path: Path, new: str, field: str, message: str) -> None:
    write(tmp_path, changed("max_output_tokens: 500", f"max_output_tokens: {new}", SPEAKING))
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    assert f"models[0].{field}: " in str(caught.value)
    assert message in str(caught.value)


def test_a_dialect_is_one_that_a_vendor_of_the_model_speaks(tmp_path: Path) -> None:
    write(tmp_path, changed("max_output_tokens: 500", "max_output_tokens: 0\n    dialects: [openai_embeddings]"))
    with pytest.raises(ConfigError) as caught:
        load_catalog([tmp_path])
    told = "models[0].dialects[0]: is spoken by no vendor of its routes; give acme endpoints.openai_embeddings, or leave it out"
    assert told in str(caught.value)
