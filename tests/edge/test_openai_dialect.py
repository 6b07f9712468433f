import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.dialects.estimate import NO_TEXT, TextSize
from services.edge.dialects.openai_chat import Usage, ending, parse_answer, parse_chat_request, parse_event, vendor_body
from services.edge.http.problems import Problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
MESSAGES = '[ {"role":"user",  "content":"\\u4f60"} ]'


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}).encode()


def test_a_request_is_taken_apart() -> None:
    request = parse_chat_request(body(stream=True, stream_options={"include_usage": True}, n=3, max_completion_tokens=7))
    assert request[:6] == ("m", True, True, 3, 7, "max_completion_tokens")


def test_of_two_limits_the_smaller_holds_and_null_is_none() -> None:
    assert parse_chat_request(body(max_tokens=5, max_completion_tokens=9))[4:6] == (5, "max_tokens")
    assert parse_chat_request(body(max_tokens=None, n=None, stream=None))[3:6] == (1, None, None)


def test_a_field_that_came_twice_goes_once() -> None:
    request = parse_chat_request(
        b'{"model":"m","max_tokens":1,"messages":[1],"max_tokens":2,"messages":' + MESSAGES.encode() + b"}"
    )
    assert request.output_limit == 2
    sent = vendor_body(request, "m", None, prefers_completion_field=False)
    assert sent.count(b'"max_tokens"') == sent.count(b'"messages"') == 1


def test_the_vendors_body_changes_what_it_must_and_nothing_else() -> None:
    raw = '{"model":"m","odd": [1,  2.50, {"b" : null}],"messages":' + MESSAGES + ',"stream":true,"stream_options":{"x":1}}'
    sent = vendor_body(parse_chat_request(raw.encode()), "theirs", 9, prefers_completion_field=False)
    assert MESSAGES.encode() in sent
    assert b'[1,  2.50, {"b" : null}]' in sent
    decoded = json.loads(sent)
    assert (decoded["model"], decoded["max_tokens"], decoded["stream_options"]) == ("theirs", 9, {"x": 1, "include_usage": True})


@given(st.dictionaries(st.text().map("x_".__add__), JSON, max_size=5), st.booleans(), st.sampled_from([None, 9]))
def test_whatever_else_a_request_has_goes_byte_for_byte(fields: dict[str, Any], indented: bool, limit: int | None) -> None:
    whole = {"model": "m", **fields, "messages": []}
    raw = json.dumps(whole, indent=2 if indented else None).encode()
    before = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    sent = vendor_body(parse_chat_request(raw), "theirs", limit, prefers_completion_field=False)
    after = msgspec.json.decode(sent, type=dict[str, msgspec.Raw])
    assert {field: bytes(after[field]) for field in (*fields, "messages")} == {
        field: bytes(before[field]) for field in (*fields, "messages")
    }
    assert after.keys() == before.keys() | ({"max_tokens"} if limit else set())


@pytest.mark.parametrize("limit", [None, 3])
def test_of_two_limits_the_vendor_gets_only_the_one_that_was_reserved_for(limit: int | None) -> None:
    request = parse_chat_request(body(max_tokens=5, max_completion_tokens=50_000))
    sent = json.loads(vendor_body(request, "m", limit, prefers_completion_field=True))
    assert (sent["max_tokens"], sent["max_completion_tokens"]) == (limit or 5, limit or 5)


def test_a_limit_that_is_null_stays_null() -> None:
    request = parse_chat_request(body(max_tokens=None, max_completion_tokens=50))
    sent = json.loads(vendor_body(request, "m", 9, prefers_completion_field=False))
    assert (sent["max_tokens"], sent["max_completion_tokens"]) == (None, 9)


@pytest.mark.parametrize(
    ("raw", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b"null", None),
        (b"{} {}", None),
        (b"[" * 100_000, None),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", None),
        (b'{"\xff": 1}', None),
        (b'{"model": "\xff"}', "model"),
        (b'{"model": "\\ud800"}', None),
        (b"{}", "model"),
        (b'{"model": ""}', "model"),
        (b'{"model": null}', "model"),
        (b'{"model": ["m"]}', "model"),
        (b'{"model": "m"}', "messages"),
        (b'{"model": "m", "messages": null}', "messages"),
    ],
)
def test_a_body_that_is_none_is_refused_by_the_field(raw: bytes, param: str | None) -> None:
    with pytest.raises(Problem) as raised:
        parse_chat_request(raw)
    assert (raised.value.status, raised.value.param) == (400, param)


NO_LIMITS: list[Any] = [0, -1, 1.5, 5.0, "5", True, [5], {}, 2**63, 10**4_000]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stream": 1}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"stream_options": {}}, "stream_options"),
        ({"stream": True, "stream_options": []}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": "yes"}}, "stream_options.include_usage"),
        *(({"n": n}, "n") for n in (0, -1, 129, 1_000, 1.5, 1.0, "1", True, [1], 10**40)),
        *(({field: limit}, field) for field in ("max_tokens", "max_completion_tokens") for limit in NO_LIMITS),
    ],
)
def test_a_field_that_is_wrong_is_refused_by_its_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Problem) as raised:
        parse_chat_request(body(**fields))
    assert (raised.value.status, raised.value.type, raised.value.param) == (400, "invalid_request_error", param)
    assert param in raised.value.message


@pytest.mark.parametrize(
    ("fields", "prefers", "expected"),
    [
        ({}, False, "max_tokens"),
        ({}, True, "max_completion_tokens"),
        ({"max_completion_tokens": 50}, False, "max_completion_tokens"),
        ({"max_tokens": 50}, True, "max_tokens"),
    ],
)
def test_a_lower_limit_goes_into_the_clients_own_field(fields: dict[str, Any], prefers: bool, expected: str) -> None:
    sent = json.loads(vendor_body(parse_chat_request(body(**fields)), "m", 9, prefers_completion_field=prefers))
    assert sent[expected] == 9
    assert len({"max_tokens", "max_completion_tokens"} & sent.keys()) == 1


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 4}, Usage(10, 0, 4, 0)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 4,
                "total_tokens": 14,
                "prompt_tokens_details": {"cached_tokens": 9, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 3},
            },
            Usage(1, 9, 1, 3),
        ),
        ({"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": None}, Usage(0, 0, 0, 0)),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": None}}, Usage(10, 0, 4, 0)),
        ({"prompt_tokens": 10, "completion_tokens": -1}, None),
        ({"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 11}}, None),
        ({"prompt_tokens": 10, "completion_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 5}}, None),
        ({"prompt_tokens": 101, "completion_tokens": 4}, None),
        ({"prompt_tokens": 10, "completion_tokens": 51}, None),
        ({"prompt_tokens": 1e300, "completion_tokens": 4}, None),
        ({"prompt_tokens": "10", "completion_tokens": 4}, None),
        ({"prompt_tokens": 10}, None),
        ("much", None),
        (None, None),
    ],
)
def test_usage_is_made_of_disjoint_classes_or_is_none(usage: Any, expected: Usage | None) -> None:
    answer = json.dumps({"choices": [{"message": {"content": "abc"}}], "usage": usage}).encode()
    parsed = parse_answer(answer, 100, 50)
    assert parsed is not None
    assert (parsed.usage, parsed.size) == (expected, TextSize(3, 3, 0))
    event = parse_event(json.dumps({"choices": [], "usage": usage}).encode(), 100, 50)
    assert event is not None
    assert event.usage == expected
    assert event.usage_only == (usage is not None)


def test_all_output_of_an_event_counts() -> None:
    delta = {"content": "ab", "reasoning_content": "你", "refusal": "c", "tool_calls": [{"function": {"arguments": "{}"}}]}
    raw = json.dumps(delta["tool_calls"], separators=(",", ":"))
    data = json.dumps(
        {"choices": [{"delta": delta}, {"delta": {"content": "xyz"}, "finish_reason": "stop"}]}, separators=(",", ":")
    )
    event = parse_event(data.encode(), 100, 50)
    assert event is not None
    assert event.size == TextSize(2 + 3 + 1 + len(raw) + 3, 2 + 1 + len(raw) + 3, 1)
    assert event.finished


def test_an_event_that_failed_and_what_is_no_event() -> None:
    failed = parse_event(b'{"error": {"message": "no"}}', 100, 50)
    assert failed is not None
    assert (failed.failed, failed.size) == (True, NO_TEXT)
    for data in (b"", b"hello", b"[]", b'{"choices": 5}', b'{"choices": [{"delta": {"content": 5}}]}', b"\xff", b"[" * 100_000):
        assert parse_event(data, 100, 50) is None


@pytest.mark.parametrize("answer", [b"", b"hello", b"[]", b"{}", b'{"error": {"message": "no"}}', b'{"choices": []}'])
def test_what_is_no_answer(answer: bytes) -> None:
    assert parse_answer(answer, 100, 50) is None


def test_a_stream_that_is_cut_ends_as_at_its_limit() -> None:
    events = ending(b'{"id": "chat-1", "created": 7, "model": "m", "choices": []}', 2, Usage(10, 0, 5, 0))
    first, last = (msgspec.json.decode(event.removeprefix(b"data: ")) for event in events.split(b"\n\n")[:-1])
    assert (first["id"], first["created"], first["model"], first["object"]) == ("chat-1", 7, "m", "chat.completion.chunk")
    assert first["choices"] == [{"index": index, "delta": {}, "finish_reason": "length"} for index in range(2)]
    assert last["choices"] == []
    assert (last["usage"]["prompt_tokens"], last["usage"]["completion_tokens"], last["usage"]["total_tokens"]) == (10, 5, 15)
    assert b'"choices":[]' not in ending(b"garbage", 1, None)


@pytest.mark.parametrize("content", [b"\xff", b"\\ud800", b"\xed\xa0\x80"])
def test_text_that_is_none_is_neither_an_event_nor_an_answer_nor_an_identity(content: bytes) -> None:
    assert parse_event(b'{"choices": [{"delta": {"content": "' + content + b'"}}]}', 100, 50) is None
    assert parse_answer(b'{"choices": [{"message": {"content": "' + content + b'"}}]}', 100, 50) is None
    assert b'"id":""' in ending(b'{"id": "' + content + b'"}', 1, None)
    event = parse_event(b'{"choices": [], "usage": {"prompt_tokens": 1, "' + content + b'": 2}}', 100, 50)
    assert event is None or event.usage is None
