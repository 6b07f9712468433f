"""Reading YAML: the quick way to values gives what PyYAML's own gives, and lines are found afterwards."""

from decimal import Decimal
from typing import Any

import pytest

from services.registry.catalog_folder import base_catalog_folder, files_of
from services.runtime.config import ConfigError, _Loader, parse_yaml, parse_yaml_with_lines

ODD = """\
numbers: [0, 7, 10, -3, 0x1f, 010, 1_000, 12:30, 0.5, 1., .5, 1e3, 1.5e+3, .inf, 1.0.0, 00.5, '7', "0.5", ٣]
words: [true, false, yes, no, on, off, null, ~, "", Null, TRUE, 2026-01-02, 2026-01-02T03:04:05+08:00, 2026-13]
1: one
base: &base {a: 1, b: {c: [1, 2]}}
again: *base
text: |
  some
  lines
"""


def values(text: str) -> tuple[Any, Any]:
    """By the quick way, and by PyYAML's."""
    made = []
    for way in ("value_of", "construct_document"):
        loader = _Loader(text)
        made.append(getattr(loader, way)(loader.get_single_node()))
    return made[0], made[1]


@pytest.mark.parametrize(
    "text",
    [ODD, *(path.read_text(encoding="utf-8") for path in files_of(base_catalog_folder()))],
    ids=["odd", *(path.name for path in files_of(base_catalog_folder()))],
)
def test_values_are_those_of_pyyaml(text: str) -> None:
    quick, slow = values(text)
    assert repr(quick) == repr(slow)


def test_numbers_with_a_point_are_exact() -> None:
    assert parse_yaml("a: 0.1\nb: 3", dict[str, Any], "x") == {"a": Decimal("0.1"), "b": 3}
    assert isinstance(parse_yaml("a: 0.1", dict[str, Any], "x")["a"], Decimal)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "x:2: not valid YAML: the key 'c' stands here twice"),
        ("a: &a [*a]", "x:1: not valid YAML: a list or map must not hold itself"),
        ("? [a]\n: 1", "x:1: not valid YAML: a key must be a name, not a list or a map"),
        ("b: 1\na: 2026-02-30", "x:2: a: 2026-02-30 is not in the calendar: day is out of range for month; correct it"),
        ("a: !!timestamp soon", "x:1: a: 'soon' cannot be read as timestamp"),
        ("a: !!bool perhaps", "x:1: a: 'perhaps' cannot be read as bool"),
        (f"a: {'7' * 5_000}", f"x:1: a: '{'7' * 60}' cannot be read as int"),
        (f"a: {'[' * 500}{']' * 500}", "x: lists and maps are nested deeper than any field; close the brackets"),
        ("a: {<<: {b: 1}}", "x:1: not valid YAML: could not determine a constructor for the tag 'tag:yaml.org,2002:merge'"),
    ],
)
def test_what_is_no_value_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, dict[str, Any], "x")
    assert str(caught.value) == told


def test_lines_are_found_after_reading() -> None:
    _, line_of = parse_yaml_with_lines("a: 1\nb:\n  - c: 2\n  - c: 3\n", dict[str, Any], "x")
    assert [line_of(field) for field in ("a", "b", "b[1].c", "b[1].d", "z")] == [1, 2, 4, 4, 1]
