"""The document on vendors: its examples are layers that load, its tables say what the registry serves."""

import re
from pathlib import Path

import pytest

from services.registry.catalog import Model, Route
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from services.registry.offerings import Regions
from services.registry.vendors import ERROR_MEANINGS, Endpoint, UsageReading, Vendor
from tests.registry.catalogs import write
from tokenline.registry.v1 import registry_pb2

TEXT = (Path(__file__).parents[2] / "docs/vendors.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose first head is this."""
    table = TEXT[TEXT.index(f"| {first} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table]


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for index, example in enumerate(EXAMPLES):
        write(tmp_path / str(index), example)
    return [base_catalog_folder(), *(tmp_path / str(index) for index in range(len(EXAMPLES)))]


def test_the_examples_do_what_the_text_says(folders: list[Path]) -> None:
    catalog = load_catalog(folders)
    vendors = {each.vendor_id: each for each in catalog.vendors}
    acme, alibaba, openai = vendors["acme"], vendors["alibaba"], vendors["openai"]
    assert [each.base_url for each in acme.endpoints] == ["https://api.acme.example/v1", "https://api.acme.example/anthropic/v1"]
    assert len(acme.errors) == 3
    chat, _ = alibaba.endpoints
    assert chat.base_url == "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1"
    assert "enable_thinking" in chat.extra_fields
    assert '"priority"' in openai.endpoints[0].priced_fields[0].free_values
    (large,) = (model for model in catalog.models if model.model_id == "acme-large")
    assert [(each.vendor_id, each.priority, each.weight, each.edge_concurrency_max) for each in large.routes] == [
        ("deepseek", 0, 3, 0),
        ("alibaba", 0, 1, 40),
        ("moonshot", 0, 1, 0),
        ("volcengine", 1, 1, 0),
    ]
    assert [list(each.offering_ids) for each in large.routes] == [[], [], ["acme-line"], []]
    (line,) = (each for each in catalog.offerings if each.offering_id == "acme-line")
    assert (list(line.required_regions), list(line.preferred_regions)) == (["cn-east", "cn-north"], ["cn-north"])
    models = {each.model_id: each for each in catalog.models}
    assert list(models["house-code"].dialects) == [registry_pb2.DIALECT_OPENAI_COMPLETIONS]
    assert (list(models["house-search"].dialects), models["house-search"].max_output_tokens) == (
        [registry_pb2.DIALECT_OPENAI_EMBEDDINGS],
        0,
    )
    assert (list(models["house-rank"].dialects), models["house-rank"].max_output_tokens) == ([registry_pb2.DIALECT_RERANK], 0)


def test_the_tables_name_every_field() -> None:
    def names(table: list[list[str]]) -> set[str]:
        return {name for row in table for name in re.findall(r"`([a-z_.]+)`", row[0])}

    assert names(rows("of a vendor")) == set(Vendor.__struct_fields__)
    readings = {f"usage.{name}" for name in UsageReading.__struct_fields__}
    assert names(rows("of an endpoint")) == set(Endpoint.__struct_fields__) - {"usage"} | readings
    assert names(rows("of a route")) == set(Route.__struct_fields__)
    assert names(rows("of a model, beside its routes")) < set(Model.__struct_fields__)
    regions = {f"regions.{name}" for name in Regions.__struct_fields__}
    assert names(rows("of an offering")) == regions | {"equivalent_models"}
    assert names(rows("meaning of an error")) == set(ERROR_MEANINGS)


def test_the_table_of_base_vendors_is_what_is_served() -> None:
    def told(vendor: registry_pb2.Vendor) -> list[str]:
        by_dialect = {each.dialect: each for each in vendor.endpoints}
        chat, messages = by_dialect[registry_pb2.DIALECT_OPENAI_CHAT], by_dialect.get(registry_pb2.DIALECT_ANTHROPIC_MESSAGES)
        responses = by_dialect.get(registry_pb2.DIALECT_OPENAI_RESPONSES)
        bearer = messages is not None and messages.authentication == registry_pb2.VENDOR_AUTHENTICATION_BEARER
        usage = [f"{each.token_class}: {each.path}" for each in chat.usage.paths] + [f"at {each}" for each in chat.usage.places]
        if chat.usage.reasoning == registry_pb2.REASONING_COUNT_BESIDE:
            usage.append("reasoning beside")
        return [
            vendor.vendor_id,
            chat.base_url,
            chat.output_limit_field + ("" if chat.limit_counts_reasoning else " *"),
            "-" if messages is None else messages.base_url + (", bearer" if bearer else ""),
            "-" if responses is None else responses.base_url,
            "; ".join(usage) or "-",
            ", ".join(chat.extra_fields) or "-",
        ]

    assert rows("vendor") == [told(vendor) for vendor in load_catalog([base_catalog_folder()]).vendors]
