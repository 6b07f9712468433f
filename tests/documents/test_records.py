"""The page of CDRs and receipts names every field, class and word, and none that is not there."""

import re
from pathlib import Path
from typing import Final

import msgspec

from services.billing.cdr import Cdr
from services.billing.charge import RECORD_TYPES, ChargeRecord
from services.edge.api.billing_json import statement_json
from services.edge.api.me import receipt_json
from services.edge.api.me_keys import run_json
from services.token_classes import CLASSES
from tests.billing.journals import entry_of, settled, settled_in_money
from tokenline.accounting.v1 import accounting_pb2
from tokenline.billing.v1 import billing_pb2

PAGE: Final = (Path(__file__).parents[2] / "docs" / "records.md").read_text(encoding="utf-8")
_ONE_UNIT: Final = {"unit", "currency", "charged_amount", "debt_amount"}


def rows(heading: str, section: str = "") -> list[list[str]]:
    """The cells of the first table with this first heading, from a section on."""
    table = re.search(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE[PAGE.index(section) :], re.MULTILINE)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[1].splitlines()]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def fields(heading: str, section: str = "") -> list[str]:
    return [name for row in rows(heading, section) for name in names(row[0])]


def test_the_table_of_classes_is_the_one_of_the_code() -> None:
    assert rows("class") == [[f"`{each.name}`", each.measure.value, each.parent] for each in CLASSES]


def test_every_field_of_a_cdr_is_told_in_its_order() -> None:
    assert fields("field", "## CDR") == [field.name for field in msgspec.structs.fields(Cdr)]


def test_every_field_of_a_charge_and_every_type_is_told() -> None:
    assert fields("field", "## Charge") == [field.name for field in msgspec.structs.fields(ChargeRecord)]
    assert sorted(fields("`record_type`", "## Charge")) == sorted(RECORD_TYPES)


def test_every_field_of_a_receipt_is_told() -> None:
    entries = [entry_of(0, 1, 0, settled(1, more_records=True)), entry_of(0, 1, 1, settled_in_money(1))]
    several = receipt_json([billing_pb2.ReceiptRecord(entry=entry) for entry in entries])
    one = receipt_json([billing_pb2.ReceiptRecord(entry=entries[0])])
    assert set(fields("field", "## Receipt")) == set(one)
    assert set(one) - set(several) == {*_ONE_UNIT, "class_charges"}
    assert set(fields("field of a record")) == set(one["records"][0]) == set(several["records"][0])
    charges = next(meaning for name, meaning in rows("field", "## Receipt") if name == "`charges`")
    assert names(charges) == list(one["charges"][0])


def test_every_field_of_a_statements_total_is_told() -> None:
    statement = statement_json("acct-1", billing_pb2.GetStatementResponse(totals=[billing_pb2.StatementTotal()]))
    assert fields("field of a total") == list(statement["totals"][0])


def test_every_field_of_a_run_is_told() -> None:
    line = run_json(accounting_pb2.Run(budgets=[accounting_pb2.SpentBudget()]))
    assert set(fields("field of a run")) == set(line)
    (budget,) = [meaning for name, meaning in rows("field of a run") if name == "`budget`"]
    assert set(names(budget)) == set(line["budget"][0])


def test_every_word_is_told() -> None:
    for kind, prefix in ((accounting_pb2.CloseCause, "CLOSE_CAUSE_"), (accounting_pb2.UsageProvenance, "USAGE_PROVENANCE_")):
        words = ", ".join(name.removeprefix(prefix).lower() for name, number in kind.items() if number)
        assert words in PAGE
