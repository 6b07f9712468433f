"""How much a JSON text holds, told without reading it."""

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.api.reading import RequestReader
from services.edge.call.dialect import Body, Dialect
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.chat.request import ChatRequest
from services.edge.http.json_bounds import Counting, Held
from services.edge.http.problems import Problem

TEXT = st.text(st.sampled_from('a"\\,{}[]:\n\u00e9'))
JSON = st.recursive(st.none() | st.integers() | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=30)
MANY = 10_000


def held_by(text: bytes, few: int, many: int, slice_bytes: int = 256_000) -> Held:
    """What a text holds that comes in slices; where it is too much, one more than that."""
    counting = Counting(few, many)
    for begin in range(0, len(text), slice_bytes):
        if not counting.add(text[begin : begin + slice_bytes]):
            return Held(many + 1, 0)
    return counting.held


async def read(reader: RequestReader, content: bytes, dialect: Dialect | None = None) -> None:
    """Reads a body that has come as one."""
    look = reader.look()
    look(content)
    await reader.read("account-1", dialect or ChatCompletions(), Body(content, "application/json"), look, [])


class Watched(ChatCompletions):
    """Notes the thread in which it reads."""

    thread = ""

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> ChatRequest:
        self.thread = threading.current_thread().name.partition("_")[0]
        return super().read(body, headers)


def values_of(value: Any) -> int:
    """Strings, commas, lists and objects, of what was read."""
    if isinstance(value, dict):
        return 1 + max(0, len(value) - 1) + sum(1 + values_of(each) for each in value.values())
    if isinstance(value, list):
        return 1 + max(0, len(value) - 1) + sum(map(values_of, value))
    return int(isinstance(value, str))


def depth_of(value: Any) -> int:
    """Lists and objects within one another."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@given(JSON, st.booleans(), st.integers(1, 20))
def test_a_text_in_slices_holds_what_it_holds_as_a_whole(value: Any, ascii_only: bool, slice_bytes: int) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    for few, many in ((0, MANY), (3, MANY), (0, 3)):
        assert held_by(text, few, many, slice_bytes) == held_by(text, few, many)


def test_a_body_of_millions_of_values_is_refused_while_it_comes() -> None:
    members = b'{"model":"m",' + b",".join(b'"k%d":1' % number for number in range(1_800_000)) + b"}"
    counting = Counting(10_000, 100_000)
    came = 0
    while counting.add(members[came : came + 256_000]):
        came += 256_000
    # 50,000 names with their commas.
    assert came == 512_000


async def test_bodies_of_many_values_are_looked_at_a_few_at_once_and_others_do_not_wait() -> None:
    reader = RequestReader()
    dense, plain = b'{"a":1},' * 8_000, b" " * 64_000
    waits_s = [reader.look()(dense) for _ in range(40)]
    assert waits_s[:16] == pytest.approx([0.0] * 16)
    assert 0.5 < waits_s[-1] < 0.61
    assert reader.look()(plain) == 0.0
    reader.close()


@given(JSON, st.booleans())
def test_strings_commas_and_brackets_are_counted_but_for_those_in_strings(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    right = values_of(value)
    held = held_by(text, 0, MANY)
    assert (held.values, held.depth) == (right, depth_of(value) if right else 0)
    # What is told without a closer look is never too little.
    assert all(right <= held_by(text, few, MANY).values for few in (*range(1, 60), MANY))
    # Above what is many it is told as one more.
    assert held_by(text, 0, 3).values == min(right, 4)
    assert held_by(json.dumps(text.decode()).encode(), 0, MANY) == (1, 0)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b'{"a":1,"b":[1,2,3],"c":"d"}', 10),
        (b'{"a":"{\\"b\\":[1,2]}"}', 3),
        (b"[" + b"{}," * 9 + b"{}]", 20),
    ],
)
def test_the_count(text: bytes, values: int) -> None:
    assert held_by(text, 0, MANY).values == values


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        (b"[" * 501, 501),
        (b'{"a":[{"b":' * 200 + b"1" + b"}]}" * 200, 600),
        (b"[" + b"[]," * 700 + b"[[[]]]]", 4),
        (b'["' + b"[{" * 900 + b'","' + b"]" * 900 + b'"' + b",[]" * 500 + b"]", 2),
    ],
)
def test_the_depth(text: bytes, depth: int) -> None:
    assert held_by(text, 100, MANY).depth == depth


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 40_000, b"[" * 50_000 + b"]" * 50_000])
async def test_a_body_of_nothing_but_brackets_takes_no_thread(body: bytes) -> None:
    reader = RequestReader()
    began_s = time.process_time()
    with pytest.raises(Problem) as refused:
        await read(reader, body)
    assert time.process_time() - began_s < 0.1
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")
    assert refused.value.message == "The body is nested more than 500 lists and objects deep. Send a flatter one."
    assert [each.name for each in threading.enumerate() if each.name.startswith("request-reader")] == []
    reader.close()


@pytest.mark.parametrize(
    ("text", "words", "thread"),
    [
        ("a" * 500_000, 1, "MainThread"),
        ("a" * 600_000, 1, "request-reader"),
        ("\\u4e00" * 100_000, 1, "request-reader"),
        ("a", 4_900, "MainThread"),
        ("a", 5_100, "request-reader"),
    ],
)
def test_large_bodies_are_read_in_a_thread_however_few_values_they_have(text: str, words: int, thread: str) -> None:
    reader, dialect = RequestReader(), Watched()
    stop = b",".join([b'"a"'] * words)
    body = b'{"model":"m","messages":[{"role":"user","content":"%b"}],"metadata":{"a":[%b]}}' % (text.encode(), stop)
    # Not in virtual time, in which there are no threads.
    asyncio.run(read(reader, body, dialect))
    assert dialect.thread == thread
    reader.close()


@pytest.mark.parametrize("nested", [b"[" * 5_000, b'{"a":' * 2_000 + b"1" + b"}" * 2_000])
async def test_a_small_body_that_is_nested_too_deep_is_refused_in_the_same_words(nested: bytes) -> None:
    reader = RequestReader()
    with pytest.raises(Problem, match="nested more than 500 lists and objects deep"):
        await read(reader, b'{"model":"small","messages":' + nested)
    reader.close()


def test_large_texts_take_little_time() -> None:
    members = b'{"model":"m",' + b",".join(b'"k%d":1' % number for number in range(1_800_000)) + b"}"
    prose = json.dumps({"text": 'He said, "no", and [left], {really}. \\ ' * 400_000}).encode()
    closing = b"[" + b"[]" * 49_000 + b"]" * 50_000_000
    for text, expected in ((members, 100_001), (prose, 3), (b"[" * 18_000_000, 100_001), (closing, 49_001)):
        assert len(text) > 15_000_000
        began_s = time.process_time()
        assert held_by(text, 10_000, 100_000).values == expected
        assert time.process_time() - began_s < 1.0
