"""How much a JSON text holds, told without reading it."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.http.json_bounds import values_in

TEXT = st.text(st.sampled_from('a"\\,{}[]:\n\u00e9'))
JSON = st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30)
MANY = 10_000


def values_of(value: Any) -> int:
    """Strings, commas, lists and objects, of what was read."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + sum(1 + values_of(each) for each in value.values())
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(values_of, value))
    return int(isinstance(value, str))


@given(JSON, st.booleans())
def test_strings_commas_and_brackets_are_counted_but_for_those_in_strings(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    right = values_of(value)
    assert values_in(text, 0, MANY) == right
    # What is told without a closer look is never too little.
    assert all(right <= values_in(text, few, MANY) for few in (*range(1, 60), MANY))
    # Above what is many it is told as one more.
    assert values_in(text, 0, 3) == min(right, 4)
    assert values_in(json.dumps(text.decode()).encode(), 0, MANY) == 1


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b'{"a":1,"b":[1,2,3],"c":"d"}', 10),
        (b'{"a":"{\\"b\\":[1,2]}"}', 3),
        (b"[" + b"{}," * 9 + b"{}]", 20),
    ],
)
def test_the_count(text: bytes, values: int) -> None:
    assert values_in(text, 0, MANY) == values


def test_large_texts_take_little_time() -> None:
    members = b'{"model":"m",' + b",".join(b'"k%d":1' % number for number in range(1_800_000)) + b"}"
    prose = json.dumps({"text": 'He said, "no", and [left], {really}. \\ ' * 400_000}).encode()
    for text, expected in ((members, 100_001), (prose, 3), (b"[" * 18_000_000, 100_001)):
        assert len(text) > 15_000_000
        began_s = time.process_time()
        assert values_in(text, 10_000, 100_000) == expected
        assert time.process_time() - began_s < 1.0
