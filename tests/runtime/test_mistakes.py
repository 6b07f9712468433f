"""Mistakes in a file: each names its line and its field, and what would be right, in words that are not a parser's."""

import datetime
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
import pytest

from services.runtime.config import ConfigError, parse_yaml


class Inner(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    name: str
    count: int = 0
    amount: Decimal | None = None


class Outer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    inner: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    lists: dict[str, tuple[int, ...]] = {}
    date: datetime.date | None = None
    time: datetime.datetime | None = None
    mode: Literal["fast", "slow"] = "fast"
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 1
    folders: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("a",)
    open: bool = True


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port: 1\ninner:\n  - {name: a, cuont: 7}",
         "3: inner[0].cuont: is no known field; did you mean count? Known are: count, amount, name"),
        ("zzz: 1", "1: zzz: is no known field; known are: inner, named, lists, date, time, mode, port, folders, open"),
        ("inner:\n  - {count: 7}", "2: inner[0].name: is missing; give text"),
        ("inner: [{name: a, count: many}]", "1: inner[0].count: must be a whole number; it is 'many'"),
        ("inner: [{name: a, count: 1.5}]", "1: inner[0].count: must be a whole number; it is 1.5"),
        ("inner: [{name: 5}]", "1: inner[0].name: must be text; it is 5: put it in quotes"),
        ("inner: [{name: 2026-01-02}]", "1: inner[0].name: must be text; it is 2026-01-02: put it in quotes"),
        ("inner: [{name: true}]", "1: inner[0].name: must be text; it is true: put it in quotes"),
        ("inner: [{name: a, amount: cheap}]", "1: inner[0].amount: must be a number or left out; it is 'cheap'"),
        ("inner: {name: a}",
         "1: inner: must be a list, each element a map with the fields name, count, amount; it is a map with name"),
        ("inner: [a]", "1: inner[0]: must be a map with the fields name, count, amount; it is 'a'"),
        ("named: {one: {name: a}, two: {name: 7}}", "1: named.two.name: must be text; it is 7: put it in quotes"),
        ("lists:\n  a: [1]\n  b: [1, x]", "3: lists.b[1]: must be a whole number; it is 'x'"),
        ("date: tomorrow", "1: date: must be a date like 2026-01-31 or left out; it is 'tomorrow'"),
        ("port: 1\ndate: 2026-02-30", "2: date: 2026-02-30 is not in the calendar: day is out of range for month; correct it"),
        ("time: noon", "1: time: must be a time like 2026-01-31T08:00:00+08:00 or left out; it is 'noon'"),
        ("mode: quick", "1: mode: must be 'fast' or 'slow'; it is 'quick'"),
        ("port: 0", "1: port: must be at least 1; it is 0"),
        ("port: 70000", "1: port: must be at most 65535; it is 70000"),
        ("folders: []", "1: folders: must have at least 1 elements; it has 0"),
        ("open: perhaps", "1: open: must be true or false; it is 'perhaps'"),
        ("open:", "1: open: must be true or false; it is empty"),
        ("[]",
         "1: file: must be a map with the fields inner, named, lists, date, time, mode, port, folders, open; it is a list of 0"),
    ],
)  # fmt: skip
def test_a_mistake_says_what_would_be_right(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, Outer, "x.yaml")
    assert str(caught.value) == f"x.yaml:{told}"


def test_a_long_value_is_cut() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(f"port: {'x' * 1_000}", Outer, "x.yaml")
    assert str(caught.value) == f"x.yaml:1: port: must be a whole number; it is '{'x' * 59}..."
