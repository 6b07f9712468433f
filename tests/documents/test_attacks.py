"""docs/security/attacks.md and SECURITY.md: each row names a test, each test that is named is there, each of attacks is named."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = "tests/journeys/test_attacks.py"
ATTACKS, MODEL = "docs/security/attacks.md", "SECURITY.md"
NODE = re.compile(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`")
TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
ROW = re.compile(r"^\| .*$", re.MULTILINE)
HEAD = re.compile(r"^\| .*\| test \|$\n^\|[-|]+\|$", re.MULTILINE)


def text_of(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def names_in(file: str) -> set[str]:
    return set(TEST.findall(text_of(file)))


@pytest.mark.parametrize(("document", "tests"), [(ATTACKS, 100), (MODEL, 60)])
def test_each_test_that_is_named_is_there(document: str, tests: int) -> None:
    named = NODE.findall(text_of(document))
    assert len(named) > tests
    # What stands without a file is told to be of that one in the list of attacks alone.
    assert document == ATTACKS or all(file for file, _ in named)
    named = [(file or OWN, name) for file, name in named]
    assert [(file, name) for file, name in named if not (ROOT / file).is_file() or name not in names_in(file)] == []


def test_each_test_of_attacks_is_named() -> None:
    assert names_in(OWN) - {name for file, name in NODE.findall(text_of(ATTACKS)) if not file} == set()


@pytest.mark.parametrize("document", [ATTACKS, MODEL])
def test_each_row_names_a_test(document: str) -> None:
    rows = ROW.findall(HEAD.sub("", text_of(document)))
    assert len(rows) > 30
    for row in rows:
        assert NODE.search(row) or "| the same" in row, row
