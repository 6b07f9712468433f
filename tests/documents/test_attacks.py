"""docs/security/attacks.md: each test that it names is there, and each test of attacks is named."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs/security/attacks.md").read_text(encoding="utf-8")
OWN = "tests/journeys/test_attacks.py"
NODE = re.compile(r"`(?:(tests/[\w/]+\.py)::)?(test_\w+)`")
TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def names_in(file: str) -> set[str]:
    return set(TEST.findall((ROOT / file).read_text(encoding="utf-8")))


def test_each_test_that_is_named_is_there() -> None:
    named = [(file or OWN, name) for file, name in NODE.findall(DOCUMENT)]
    assert len(named) > 20
    assert [(file, name) for file, name in named if name not in names_in(file)] == []


def test_each_test_of_attacks_is_named() -> None:
    assert names_in(OWN) - {name for file, name in NODE.findall(DOCUMENT) if not file} == set()


def test_each_row_names_a_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and not line.startswith("| attack")]
    for row in rows:
        assert NODE.search(row) or "| the same" in row, row
