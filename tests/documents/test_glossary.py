"""The glossary names what the code has: each name in its middle column stands in services or protos."""

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
_ROW: Final = re.compile(r"^\| (?P<term>[^|]+) \|(?P<names>[^|]*)\| (?P<meaning>[^|]+) \|$", re.MULTILINE)


def _terms() -> dict[str, list[str]]:
    """The names in the code of each term, in the order of the document."""
    text = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    return {row["term"]: re.findall(r"`([^`]+)`", row["names"]) for row in _ROW.finditer(text) if row["term"] != "term"}


TERMS: Final = _terms()


@pytest.fixture(scope="module")
def words() -> frozenset[str]:
    """Every word of services and protos."""
    files = [*(ROOT / "services").rglob("*.py"), *(ROOT / "protos" / "tokenline").rglob("*.proto")]
    return frozenset(word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("term", TERMS)
def test_a_name_of_the_glossary_stands_in_the_code(term: str, words: frozenset[str]) -> None:
    assert [name for name in TERMS[term] if name not in words] == []


def test_terms_are_many_and_each_is_explained_once() -> None:
    text = (ROOT / "GLOSSARY.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| term ")]
    assert len(rows) == len(TERMS) > 70
    # These stand for no type or field: people, and no data.
    assert [term for term, names in TERMS.items() if not names] == ["operator", "subscriber"]


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md"])
def test_readers_are_led_to_the_glossary(document: str) -> None:
    assert "](GLOSSARY.md)" in (ROOT / document).read_text(encoding="utf-8")
