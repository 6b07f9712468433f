import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.catalog import TokenizerFamily
from services.edge.dialects.estimate import InputTokens, estimate_tokens, measure_input, size_of
from services.edge.http.problems import Problem

FAMILY = TokenizerFamily(
    letters_per_token_milli=4_000,
    tokens_per_cjk_character_milli=1_500,
    template_tokens_per_message=8,
    template_tokens_per_request=8,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def measure(fields: dict[str, Any], window: int = 1_000_000, *, ascii_only: bool = True) -> InputTokens:
    body = json.dumps(fields, ensure_ascii=ascii_only).encode()
    return measure_input(msgspec.json.decode(body, type=dict[str, msgspec.Raw]), FAMILY, window)


def utf8(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)


def test_a_plain_message_is_bounded_by_its_bytes_and_the_template() -> None:
    measured = measure({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
    assert measured == InputTokens(bound=5 + 8 + 8, estimate=2)


def test_chinese_counts_three_bytes_and_one_and_a_half_tokens_a_character() -> None:
    measured = measure({"messages": [{"role": "user", "content": "你好世界"}]})
    assert measured == InputTokens(bound=12 + 16, estimate=6)


@pytest.mark.parametrize("letters", [0, 1, 3, 4, 5, 4_000_001])
def test_the_estimate_of_ascii_is_a_quarter_rounded_up(letters: int) -> None:
    assert estimate_tokens(size_of("x" * letters), FAMILY) == -(-letters // 4)


@given(st.lists(TEXT, min_size=1, max_size=4), st.booleans())
def test_the_bound_is_never_below_the_bytes_of_plain_messages(texts: list[str], ascii_only: bool) -> None:
    messages = [{"role": "user", "content": text, "name": "n" + text[:5]} for text in texts]
    measured = measure({"messages": messages}, 10**9, ascii_only=ascii_only)
    assert measured.bound >= utf8(*texts) + 8 * len(texts)
    assert measured.estimate <= measured.bound


@given(TEXT, TEXT, TEXT, st.booleans())
def test_the_bound_is_never_below_the_bytes_of_rich_messages(text: str, arguments: str, description: str, ascii_only: bool) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}
    tool = {"type": "function", "function": {"name": "f", "description": description}}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": text}, {"type": "text", "text": text}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
    ]
    measured = measure({"messages": messages, "tools": [tool], "response_format": {"x": text}}, 10**9, ascii_only=ascii_only)
    assert measured.bound >= utf8(text, text, arguments, description, text)


def test_a_role_that_no_template_covers_counts_with_its_bytes() -> None:
    common, odd = ({"messages": [{"role": role, "content": ""}]} for role in ("assistant", "r" * 500))
    assert measure(odd).bound == measure(common).bound + 500


def test_unknown_fields_may_be_prompt_and_count_settings_do_not() -> None:
    message = {"messages": [{"role": "user", "content": "x"}]}
    base = measure(message).bound
    assert measure({**message, "temperature": 0.5, "user": "u" * 100, "metadata": {"a": "b" * 100}}).bound == base
    assert measure({**message, "prompt_prefix": "p" * 100}).bound >= base + 100


def test_the_context_window_caps_the_bound() -> None:
    measured = measure({"messages": [{"role": "user", "content": "x" * 10_000}]}, 3_000)
    assert (measured.bound, measured.estimate, measured.estimate_within) == (3_000, 2_500, 2_500)


@pytest.mark.parametrize(
    "messages",
    [
        '[{"role": "user", "content": "%s", "content": "x"}]',
        '[{"role": "user", "content": "x"}, {"role": "user", "content": "%s", "c\\u006fntent": "x"}]',
        '[{"role": "%s", "role": "user", "content": "x"}]',
        '[{"role": "user", "name": "%s", "name": "x", "content": "x"}]',
        '[{"role": "content", "content": "x"}, {"role": "user", "c\\u006fntent": "%s", "content": "x"}]',
    ],
)
def test_of_a_text_that_came_twice_the_longer_is_bound(messages: str) -> None:
    fields = {"messages": msgspec.Raw((messages % ("y" * 1_000)).encode())}
    assert measure_input(fields, FAMILY, 10**9).bound >= 1_000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": b'[{"role": "user", "content": "\xff"}]'}, "messages"),
        ({"messages": b'[{"role": "user", "content": [{"type": "text", "text": "\xed\xa0\x80"}]}]'}, "messages"),
        ({"messages": b'[{"role": "user", "content": "x", "odd": "\xff"}]'}, "messages"),
        ({"messages": b'[{"role": "user", "content": "x"}]', "tools": b'"\xff"'}, "tools"),
    ],
)
def test_what_is_no_utf8_is_refused(fields: dict[str, bytes], param: str) -> None:
    # A vendor may replace each such byte by a character of three bytes.
    with pytest.raises(Problem) as raised:
        measure_input({field: msgspec.Raw(raw) for field, raw in fields.items()}, FAMILY, 10**9)
    assert (raised.value.status, raised.value.param) == (400, param)


def test_calls_of_tools_count_in_the_estimate() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "a" * 4_000}}
    measured = measure({"messages": [{"role": "assistant", "content": None, "tool_calls": [call]}]})
    assert 1_000 <= measured.estimate <= measured.bound


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "anything"])
def test_what_has_no_bound_is_refused(kind: str) -> None:
    with pytest.raises(Problem) as raised:
        measure({"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": [{"type": kind}]}]})
    assert (raised.value.status, raised.value.param) == (400, "messages[1].content")
    assert kind in raised.value.message


@pytest.mark.parametrize(
    "messages", [[], "text", 5, ["text"], [{}], [{"role": 5, "content": "x"}], [{"role": "user", "content": 5}]]
)
def test_messages_that_are_none_are_refused(messages: Any) -> None:
    with pytest.raises(Problem) as raised:
        measure({"messages": messages})
    assert (raised.value.status, raised.value.param) == (400, "messages")
