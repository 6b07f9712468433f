"""docs/charging.md: every example comes out as it is written."""

import re
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict

from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import LimitKind
from services.accounting.rpc.commands import set_limits_of
from services.cli.limits import read_limits
from tests.accounting.ledger import ACCOUNT_ID
from tests.documents.examples import Example, catalog_with
from tokenline.accounting.v1 import accounting_pb2 as pb

DOCUMENT = (Path(__file__).parents[2] / "docs" / "charging.md").read_text(encoding="utf-8")
HEADED_BLOCKS = re.compile(r"^## (?P<heading>[^\n]+)$|^```charging\n(?P<lines>.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, list[str]]]:
    """(heading, lines) of each."""
    found = []
    heading = ""
    for match in HEADED_BLOCKS.finditer(DOCUMENT):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.append((heading, match["lines"].splitlines()))
    return found


@pytest.fixture(scope="module")
def catalog() -> ChargingCatalog:
    return catalog_with("\n".join(re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)))


EXAMPLES = examples()


@pytest.mark.parametrize("lines", [lines for _, lines in EXAMPLES], ids=[heading for heading, _ in EXAMPLES])
def test_an_example_comes_out_as_written(catalog: ChargingCatalog, lines: list[str]) -> None:
    example = Example(catalog)
    for line in lines:
        done, arrow, expected = line.partition(" -> ")
        said = example.run(done)
        if arrow:
            # "…" stands for an id that is new each time.
            pattern = ".+".join(re.escape(part) for part in expected.split("…"))
            assert re.fullmatch(pattern, said), f"{done} -> {said}, written is {expected}"
        else:
            # What nobody looks at must have gone well.
            assert not said.startswith("refused"), f"{done} -> {said}"
    example.check()


def test_the_limits_shown_are_taken() -> None:
    (shown,) = re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    limits = ParseDict({"subject": "key:key-1", "limits": read_limits(shown, "key:key-1")}, pb.SubjectLimits())
    taken = set_limits_of(pb.SetLimitsRequest(account_id=ACCOUNT_ID, subject_limits=limits))
    assert {limit.kind for limit in taken.limits} == set(LimitKind)


def test_every_rule_has_an_example() -> None:
    headings = re.findall(r"^## (.+)$", DOCUMENT, re.MULTILINE)
    assert set(headings) - {heading for heading, _ in EXAMPLES} == {"Overdraft bound", "Repeats"}
