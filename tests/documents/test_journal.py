"""docs/journal.md says what entries are."""

import re
from pathlib import Path
from typing import get_args

from services.accounting.core.entries import Actor, Entry
from services.accounting.journal.codec import SCHEMA_VERSION

DOCUMENT = Path(__file__).parents[2] / "docs" / "journal.md"
ROW = re.compile(r"^\| (\d+) \| (\w+) \| ([\w, ]+) \| ([^|]+) \|$", re.MULTILINE)


def test_every_entry_and_field_is_in_the_document() -> None:
    written = [
        (int(tag), name, fields, meaning) for tag, name, fields, meaning in ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    ]
    known = [
        (each.__struct_config__.tag, each.__name__, ", ".join(each.__struct_fields__), (each.__doc__ or "").strip().split("\n")[0])
        for each in get_args(Entry)
    ]
    assert written == sorted(known)


def test_the_schema_version_is_in_the_document() -> None:
    assert f"The schema version is {SCHEMA_VERSION}." in DOCUMENT.read_text(encoding="utf-8")


def test_the_fields_of_an_actor_are_in_the_document() -> None:
    fields = ", ".join(Actor.__struct_fields__)
    assert f"`[schema version, [entry, ...], {{index: [{fields}]}}]`" in DOCUMENT.read_text(encoding="utf-8")
