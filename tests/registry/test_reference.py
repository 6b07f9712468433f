"""The page of all fields and the schema: made from the types, complete, and right for the files that are there."""

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import yaml
from click.testing import CliRunner

from services.cli.main import command_line
from services.registry.catalog_folder import base_catalog_folder, files_of
from services.registry.reference import PAGE, SCHEMA, all_structs, fields_of, page, schema
from tests.registry.catalogs import CATALOG, SEEING, changed
from tests.registry.test_adjustments import CONTRACT

REGIONS = Path(__file__).parents[2] / "infra/regions"


def as_json(text: str) -> Any:
    """The values as an editor sees them: times and dates are text."""

    def plain(value: Any) -> str:
        assert isinstance(value, datetime.date)
        return value.isoformat()

    return msgspec.json.decode(msgspec.json.encode(yaml.safe_load(text), enc_hook=plain))


def mistakes(text: str) -> list[str]:
    validator = jsonschema_rs.validator_for(msgspec.json.decode(msgspec.json.encode(schema())))
    return [error.message for error in validator.iter_errors(as_json(text))]


def test_what_is_committed_is_what_the_types_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == page()
    assert msgspec.json.decode(SCHEMA.read_bytes()) == msgspec.json.decode(msgspec.json.encode(schema()))


def test_every_field_has_a_meaning() -> None:
    assert [(struct.__name__, field.name) for struct in all_structs() for field in fields_of(struct) if not field.meaning] == []
    assert sum(len(fields_of(struct)) for struct in all_structs()) > 150


@pytest.mark.parametrize(
    "path",
    [*files_of(base_catalog_folder()), *sorted(REGIONS.glob("*/catalog/*.yaml"))],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_files_that_are_there_are_right(path: Path) -> None:
    assert mistakes(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", [CATALOG, SEEING, CONTRACT])
def test_catalogs_of_tests_are_right(text: str) -> None:
    assert mistakes(text) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("unit: TOKEN\n", "unit: GALLON\n", '"GALLON" is not one of "TOKEN", "POINT" or "CURRENCY"'),
        ("    display_name: Small\n", "    display_name: 7\n", '7 is not of type "string"'),
        ("    display_name: Small\n", "    name: Small\n", "Additional properties are not allowed ('name' was unexpected)"),
        ("input: 0.28\n", "input: cheap\n", '"cheap" is not of type "number"'),
    ],
)
def test_what_a_registry_refuses_the_schema_refuses_too(old: str, new: str, said: str) -> None:
    told = mistakes(changed(old, new))
    assert any(said in each for each in told), told


def test_choices_and_defaults_are_shown() -> None:
    tables = {struct.__name__: {field.name: field for field in fields_of(struct)} for struct in all_structs()}
    assert tables["Tariff"]["unit"].choices == ("TOKEN", "POINT", "CURRENCY")
    assert (tables["Route"]["weight"].default, tables["Allowance"]["rollover_cap"].default) == (1, Decimal(0))
    assert (
        "| `upcoming` | a list of [TariffVersion](#tariffversion) | left out | Versions that replace version, rates and windows"
        in page()
    )
    assert "| `effective_time` | a time like 2026-01-31T08:00:00+08:00 | required |" in page()


def test_the_command_prints_the_schema() -> None:
    done = CliRunner().invoke(command_line, ["catalog", "schema"])
    assert (done.exit_code, msgspec.json.decode(done.output)) == (0, msgspec.json.decode(SCHEMA.read_bytes()))
