import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.chat.answer import ChatAnswer
from services.edge.dialects.chat.deltas import METADATA_BYTES_MAX
from services.edge.dialects.metadata import FREE_BYTES, FREE_BYTES_A_PIECE
from services.edge.dialects.openai_usage import usage_object
from services.edge.http.problems import unavailable
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.vendor import VendorFailure
from tests.edge.dialects.answers import ENDPOINT, Choice, ended, feed, joined, read_stream, read_whole, request, streamed

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
COUNTS = (10, 0, 0, 5, 0)
HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(delta: Any, index: int = 0, reason: str | None = None, **fields: Any) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    return json.dumps({**HEAD, "choices": [choice], **fields}, separators=(",", ":"), ensure_ascii=False).encode()


def with_choice(**members: Any) -> bytes:
    return json.dumps({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": None, **members}]}).encode()


def stream(**fields: Any) -> ChatAnswer:
    return streamed(**fields).answer(ENDPOINT)


def say(answer: ChatAnswer, *datas: bytes) -> list[Step]:
    return [answer.feed(Event("", data)) for data in datas]


def body(*datas: bytes) -> list[bytes]:
    return [b"data: " + data + b"\n\n" for data in datas]


# What passes, and what it says


@pytest.mark.parametrize(
    "data",
    [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": 'Hello 你好 \\ " \n'}),
        chunk({"reasoning_content": "hm"}),
        chunk({"reasoning": "hm"}),
        chunk({"refusal": "no"}),
        chunk({}, reason="stop"),
        chunk({"content": "x"}, usage=USAGE),
        chunk({"content": "x"}, usage=None, service_tier="default", system_fingerprint="fp", obfuscation="abc", provider="p"),
        chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]}),
        chunk({"content": "<b>\u00e9</b>"}).replace(b"<", b"\\u003c"),
    ],
)
def test_a_clean_chunk_passes_byte_for_byte(data: bytes) -> None:
    [step] = say(stream(), data)
    assert step.out == b"data: " + data + b"\n\n"


LOST = b"lost" * 25


@pytest.mark.parametrize(
    "data",
    [
        chunk({"content": "ab"}),
        chunk({"content": ""}),
        chunk({}, reason="stop"),
        chunk({"content": "ab"}, usage=USAGE),
        chunk({"content": "ab"}, service_tier="default", obfuscation="abc"),
        chunk({"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]}),
    ],
)
def test_a_member_that_stands_twice_in_a_chunk_is_relayed_once(data: bytes) -> None:
    twice = data.replace(b'"id":"c-1"', b'"id":"%b","id":"c-1"' % LOST)
    assert LOST in twice
    before = chunk({"content": "longer than what follows \u4f60\u597d\n" * 50})
    for datas in ([twice], [before, twice], [chunk({"role": "assistant", "content": ""}, usage=USAGE), before, twice]):
        steps = say(stream(), *datas)
        assert LOST not in b"".join(step.out for step in steps)


def test_a_chunk_with_shorter_words_has_no_room_for_a_member_twice() -> None:
    answer = stream()
    words = {name: name * 10 for name in ("system_fingerprint", "service_tier", "provider")}
    say(answer, json.dumps({**json.loads(chunk({"content": "ab"})), **words}, separators=(",", ":")).encode())
    short = chunk({"content": "ab"})
    _, step = say(answer, short, short.replace(b'"id":"c-1"', b'"id":"%b","id":"c-1"' % LOST))
    assert (step.said, LOST in step.out) == ("ab", False)


SPOKEN = "spoken " * 200


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning": {"x": SPOKEN}},
        {"reasoning_details": [{"type": "x", "other": [SPOKEN]}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": SPOKEN}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": [SPOKEN]}]},
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": {"x": SPOKEN}, "arguments": ""}}]},
        {"function_call": [SPOKEN]},
    ],
)
@pytest.mark.parametrize("whole", [False, True])
def test_a_text_where_another_value_should_be_counts_once(delta: dict[str, Any], *, whole: bool) -> None:
    if whole:
        answer = request().answer(ENDPOINT)
        choice = {"index": 0, "message": {"role": "assistant", "content": "a", **delta}, "finish_reason": "stop"}
        step = answer.feed_whole(json.dumps({**HEAD, "choices": [choice], "usage": USAGE}).encode())
        out = answer.end(Ending.COMPLETE, COUNTS)
    else:
        [step] = say(stream(), chunk(delta))
        out = step.out
    assert SPOKEN.encode() in out
    assert (step.said + step.thought).count(SPOKEN) == 1


def test_a_text_in_the_index_of_a_whole_answer_s_call_counts() -> None:
    answer = request().answer(ENDPOINT)
    call = {"index": SPOKEN, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}
    step = answer.feed_whole(json.dumps({**HEAD, "choices": [choice], "usage": USAGE}).encode())
    assert len(step.said) > len(SPOKEN) - METADATA_BYTES_MAX


@pytest.mark.parametrize("name", ["reasoning", "reasoning_details", "function_call"])
def test_names_where_a_text_should_be_count_beyond_the_bound(name: str) -> None:
    answer = stream()
    counted = relayed = 0
    for number in range(100):
        names = {hashlib.sha256(b"%d %d" % (number, word)).hexdigest()[:60]: True for word in range(6)}
        [step] = say(answer, chunk({name: [names]}))
        relayed += sum(map(len, names))
        counted += len(step.said) + len(step.thought)
    # But for what is free in all of an answer.
    assert counted > relayed - 100 * FREE_BYTES_A_PIECE - FREE_BYTES


def test_a_text_in_the_usage_of_a_choice_counts_where_it_is_told() -> None:
    choice = {"index": 0, "delta": {"content": "a"}, "usage": {"note": SPOKEN}}
    [step] = say(stream(), json.dumps({**HEAD, "choices": [choice]}).encode())
    assert SPOKEN.encode() in step.out
    assert len(step.said) > len(SPOKEN) - METADATA_BYTES_MAX


def test_what_is_said_thought_and_called_is_told_apart() -> None:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    more = {"index": 0, "function": {"arguments": "1}"}}
    datas = [
        chunk({"content": "ab"}),
        chunk({"reasoning_content": "cd"}),
        chunk({"refusal": "ef"}),
        chunk({"tool_calls": [call]}),
        chunk({"tool_calls": [more]}),
        chunk({"function_call": {"name": "g", "arguments": "{}"}}, 1),
    ]
    for answer in (stream(), request().answer(ENDPOINT)):
        steps = say(answer, *datas)
        assert [(step.said, step.thought, step.calls) for step in steps] == [
            ("ab", "", 0),
            ("", "cd", 0),
            ("ef", "", 0),
            ('f{"a":', "", 1),
            ("1}", "", 0),
            ("g{}", "", 1),
        ]


TEXT = "the text that nobody knew of"


@pytest.mark.parametrize(
    "data",
    [
        chunk({"odd": TEXT}),
        chunk({"odd": {"deep": [{"deeper": TEXT}]}}),
        chunk({"content": {"type": "text", "text": TEXT}}),
        chunk({"content": [{"type": "text", "text": TEXT}]}),
        chunk({"content": [TEXT]}),
        chunk({"annotations": [{"title": TEXT}]}),
        chunk({"audio": {"transcript": TEXT}}),
        chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"name": TEXT}}]}),
        chunk({"tool_calls": [{"index": 0, "id": "a", "odd": TEXT}]}),
        chunk({"tool_calls": [{"index": 0, "id": "a", "custom": {"name": "", "input": TEXT}}]}),
        chunk({"tool_calls": {"id": "a", "function": {"arguments": TEXT}}}),
        chunk({"tool_calls": [TEXT]}),
        chunk({"function_call": {"arguments": TEXT}}),
        with_choice(odd=TEXT),
        with_choice(text=TEXT),
        with_choice(message={"content": TEXT}, delta=None),
        with_choice(delta=TEXT),
        with_choice(logprobs={"content": [{"token": TEXT}]}),
        with_choice(logprobs={"content": [{"token": "", "odd": TEXT}]}),
        with_choice(logprobs={"odd": TEXT}),
        chunk({}, odd=TEXT),
        chunk({}, odd=[[TEXT]]),
        chunk({}, id="i" * 256 + TEXT),
        chunk({}, model="i" * 256 + TEXT),
        chunk({}, obfuscation="i" * 256 + TEXT),
        chunk({}, reason="i" * 256 + TEXT),
        chunk({}, usage={**USAGE, "note": "i" * 256 + TEXT}),
        chunk({"role": "i" * 256 + TEXT}),
    ],
)
def test_text_counts_whatever_field_it_stands_in(data: bytes) -> None:
    for answer in (stream(), request().answer(ENDPOINT)):
        assert "".join(step.said for step in say(answer, data)).count(TEXT) == 1


@pytest.mark.parametrize(
    "data",
    [
        chunk({"content": ""}, service_tier="default", system_fingerprint="fp", obfuscation="xyz", provider="p"),
        chunk({}, x_groq={"id": "req_1"}),
        with_choice(content_filter_results={"hate": {"filtered": False, "severity": "safe"}}),
        with_choice(native_finish_reason="stop", odd=None),
    ],
)
def test_metadata_is_no_output(data: bytes) -> None:
    [step] = say(stream(), data)
    assert (step.said, step.thought, step.opaque_bytes) == ("", "", 0)


@pytest.mark.parametrize(
    "data",
    [
        chunk({"content": "a"}).replace(b'"content":"a"', b'"content":"lost","content":"a"'),
        chunk({"content": "a"}).replace(b'"content":"a"', b'"c\\u006fntent":"lost","content":"a"'),
        chunk({"content": "a"}).replace(b'"delta":', b'"delta":{"content":"lost"},"delta":'),
        chunk({"content": "a"}).replace(b'"choices":', b'"choices":[{"index":0,"delta":{"content":"lost"}}],"choices":'),
        chunk({"content": "a"}).replace(b'"id":', b'"id":"' + b"lost" * 500 + b'","id":'),
    ],
)
def test_text_that_came_first_of_two_is_not_relayed(data: bytes) -> None:
    [step] = say(stream(), data)
    assert step.said == "a"
    assert b"lost" not in step.out


NUMBERS = list(range(65))
NAMES: dict[str, Any] = {f"{number:0100}": 1 for number in range(9)}
SHORT_NAMES: dict[str, Any] = {f"{number:052}": 1 for number in range(10)}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (chunk({"odd": NUMBERS}), str(NUMBERS).replace(" ", "")),
        (chunk({"odd": [{"deep": NUMBERS}]}), str(NUMBERS).replace(" ", "")),
        (chunk({}, odd=10**40), str(10**40)),
        (with_choice(delta=NAMES), "".join(NAMES)),
        (chunk({"odd": NAMES}), "".join(NAMES)),
        (chunk({"odd": SHORT_NAMES}), "".join(SHORT_NAMES)),
        (chunk({}, **SHORT_NAMES), "".join(SHORT_NAMES)),
        (with_choice(**SHORT_NAMES), "".join(SHORT_NAMES)),
        (chunk({"tool_calls": [{"index": 0, "id": "a", **SHORT_NAMES}]}), "".join(SHORT_NAMES)),
        (with_choice(logprobs={"content": [{"token": "", "bytes": NUMBERS}]}), str(NUMBERS).replace(" ", "")),
    ],
)
def test_names_and_numbers_in_mass_are_said(data: bytes, told: str) -> None:
    [step] = say(stream(), data)
    assert told in step.said


def test_a_few_names_and_numbers_are_not_said() -> None:
    few = {"odd": NUMBERS[:64], "names": dict(list(SHORT_NAMES.items())[:9]), "time": 2**64 - 1}
    [step] = say(stream(), chunk(few))
    assert step.said == ""


def test_probabilities_repeat_the_text_and_count_only_beyond_it() -> None:
    entry = {"token": "Hello", "logprob": -0.5, "bytes": [72], "top_logprobs": [{"token": "Hi", "logprob": -1.0}]}
    [step] = say(stream(), with_choice(delta={"content": "Hello"}, logprobs={"content": [entry], "refusal": None}))
    assert step.said == "Hello"
    assert read_stream(step.out).chunks[0]["choices"][0]["logprobs"]["content"] == [entry]
    many = {**entry, "top_logprobs": [{"token": "x" * 5_000}] * 2}
    [step] = say(stream(), with_choice(delta={"content": "Hello"}, logprobs={"content": [many, {"token": " you"}]}))
    assert step.said.startswith("Hello")
    assert 10_000 - 4_096 - 64 <= step.said.count("x") < 10_000
    assert step.said.count(" you") == 1


@pytest.mark.parametrize(
    ("tokens", "is_free"),
    [
        ([{"token": "é", "bytes": [195, 169]}, {"token": "!", "bytes": [33]}], True),
        # Parts of a character, as two kinds of vendors tell them.
        ([{"token": "\\xc3", "bytes": [195]}, {"token": "\\xa9", "bytes": [169]}, {"token": "!", "bytes": None}], True),
        ([{"token": "\ufffd", "bytes": [195]}, {"token": "\ufffd", "bytes": [169]}, {"token": "!"}], True),
        ([{"token": "e", "bytes": [101]}, {"token": "?", "bytes": [63]}], False),
        ([{"token": "é", "bytes": [195, 170]}, {"token": "!"}], False),
        ([{"token": "é", "bytes": [195, 169, 33]}, {"token": "!"}], False),
    ],
)
def test_a_token_is_the_next_part_of_the_text(tokens: list[dict[str, Any]], *, is_free: bool) -> None:
    answer = request(stream=True, logprobs=True).answer(ENDPOINT)
    say(answer, chunk({}, x=[list(range(30))] * 200))
    logprobs = {"content": [{**each, "logprob": -0.5, "top_logprobs": []} for each in tokens]}
    [step] = say(answer, with_choice(delta={"content": "é!"}, logprobs=logprobs))
    assert (step.said == "é!") is is_free


def test_proofs_of_thought_count_as_bytes() -> None:
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "s" * 40},
        {"type": "reasoning.encrypted", "data": "d" * 60, "id": "r", "format": "f"},
    ]
    [step] = say(stream(), chunk({"reasoning": "hm", "reasoning_details": details}))
    assert (step.thought, step.opaque_bytes, step.said) == ("hm", 100, "")
    assert read_stream(step.out).chunks[0]["choices"][0]["delta"]["reasoning_details"] == details
    [step] = say(stream(), chunk({"reasoning_details": [{"type": "reasoning.summary", "summary": "only here"}]}))
    assert step.thought == "only here"
    [step] = say(stream(), chunk({"content": "x", "thought_signature": "s" * 50}))
    assert (step.said, step.opaque_bytes) == ("x", 50)
    call = {"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}, "extra_content": {"thought_signature": "s" * 30}}
    [step] = say(stream(), chunk({"tool_calls": [call]}))
    assert (step.said, step.opaque_bytes, step.calls) == ("f", 30, 1)


# What is put right


def calls_of(*deltas: Any) -> tuple[tuple[str, str, str], ...]:
    """The calls that a client joins from pieces, the same in a stream and assembled."""
    datas = [*(chunk({"tool_calls": delta}) for delta in deltas), chunk({}, reason="stop"), b"[DONE]"]
    answer, whole = stream(), request().answer(ENDPOINT)
    got = ended(answer, feed(answer, body(*datas))).choices[0]
    assert ended(whole, feed(whole, body(*datas))).choices[0] == got._replace(content=None)
    assert got.finish_reason == "tool_calls"
    return got.calls


def piece(name: str | None = None, arguments: Any = None, **members: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**members, "function": {key: value for key, value in function.items() if value is not None}}


def test_calls_are_joined_whatever_their_pieces_lack() -> None:
    # An ID and a name in each piece.
    assert calls_of([piece("f", '{"a"', index=0, id="x")], [piece("f", ":1}", index=0, id="x")]) == (("x", "f", '{"a":1}'),)
    # No index, two calls at once.
    assert calls_of([piece("f", "{}", id="x"), piece("g", "{}", id="y")]) == (("x", "f", "{}"), ("y", "g", "{}"))
    # The same index for each, pieces without ID go on with the last.
    assert calls_of([piece("f", "", index=0, id="x")], [piece("g", "{", index=0, id="y")], [piece(None, "}", index=0)]) == (
        ("x", "f", ""),
        ("y", "g", "{}"),
    )
    # Neither ID nor index: a name begins a call.
    [first, second] = calls_of([piece("f", "{")], [piece(None, "}")], [piece("g", "{}")])
    assert (first[1:], second[1:]) == (("f", "{}"), ("g", "{}"))
    assert first[0] != second[0]
    # Arguments as an object, as text elsewhere.
    assert calls_of([piece("f", {"a": 1}, index=0, id="x")]) == (("x", "f", '{"a":1}'),)
    # A gap.
    assert calls_of([piece("f", "{}", index=3, id="x")]) == (("x", "f", "{}"),)


def test_a_step_names_the_choice_that_says_it() -> None:
    choices = [{"index": index, "delta": {"content": "a"}} for index in (1, 0)]
    for answer in (streamed(n=2).answer(ENDPOINT), request(n=2).answer(ENDPOINT)):
        clean = [chunk({"content": "a"}, index) for index in (1, 1, 0)]
        steps = say(answer, *clean, with_choice(index=1), with_choice(index=1, odd=None), chunk({}, choices=choices))
        assert [step.choice for step in steps] == [1, 1, 0, 1, 1, 0]


def test_a_call_in_two_choices_is_a_call_in_each() -> None:
    call = piece("f", "{}", index=0, id="x", type="function")
    datas = [chunk({"tool_calls": [call]}, 0), chunk({"tool_calls": [call]}, 1), chunk({}, 0, "stop"), chunk({}, 1, "stop")]
    answer = stream(n=2)
    fed = feed(answer, body(*datas))
    assert (fed.calls, fed.finished) == (2, True)
    assert {choice.finish_reason for choice in ended(answer, fed).choices.values()} == {"tool_calls"}


@pytest.mark.parametrize(
    ("told", "expected"),
    [("", None), (None, None), ("eos", "stop"), ("max_tokens", "length"), ("content_filter", "content_filter")],
)
def test_reasons_of_an_end_are_told_in_the_dialects_words(told: str | None, expected: str | None) -> None:
    [step] = say(stream(), with_choice(finish_reason=told, odd=1))
    assert read_stream(step.out).chunks[0]["choices"][0]["finish_reason"] == expected
    assert step.finished == (expected is not None)


@pytest.mark.parametrize("data", [b'{"choices":null}', b'{"id":"c-1"}', b'{"choices":[]}', b'{"choices":[null]}'])
def test_a_chunk_that_says_nothing_is_not_relayed(data: bytes) -> None:
    assert say(stream(), data) == [Step()]


def test_what_a_chunk_lacks_of_an_identity_is_that_of_the_others() -> None:
    answer = stream(usage=True)
    lacking = json.dumps({"choices": [{"delta": {"content": "b"}}]}).encode()
    fed = feed(answer, body(chunk({"content": "a"}), lacking, b"[DONE]"))
    got = ended(answer, fed)
    assert got.choices[0].content == "ab"
    assert {(each["id"], each["model"], each["created"], each["object"]) for each in got.chunks} == {
        ("c-1", "m", 1, "chat.completion.chunk")
    }


def test_text_that_is_no_text_is_relayed_as_far_as_it_can_be() -> None:
    for content in (b"\xff", b"\\ud800", b"\xed\xa0\x80", b"a\x01"):
        [step] = say(stream(), b'{"choices":[{"delta":{"content":"' + content + b'"}}]}')
        assert step.said
        assert step.said == read_stream(step.out).choices[0].content
        step.said.encode()


@pytest.mark.parametrize("data", [b"hello", b"[]", b"5", b'"x"', b"null", b"[" * 100_000, b'{"choices":', b'{"a":1' + b"1" * 5_000])
def test_what_is_no_chunk_is_garbage(data: bytes) -> None:
    with pytest.raises(VendorFailure) as raised:
        say(stream(), data)
    assert (raised.value.outcome, raised.value.http_status) == ("garbage", 200)


@pytest.mark.parametrize(
    "event",
    [
        Event("", b'{"error":{"message":"no","code":"c"}}'),
        Event("", b'{"error":"no","code":"c"}'),
        Event("error", b'{"message":"no","code":"c"}'),
        Event("", b'{"message":"no","code":"c"}'),
        Event("", b'[{"error":{"message":"no","code":"c"}}]'),
        Event("", b'{"id":"","choices":null,"base_resp":{"status_code":"c","status_msg":"no"}}'),
    ],
)
def test_an_error_is_a_fault_and_nothing_of_it_is_relayed(event: Event) -> None:
    step = stream().feed(event)
    assert (step.out, step.said) == (b"", "")
    assert step.fault is not None
    assert (step.fault.http_status, step.fault.message, step.fault.code) == (200, "no", "c")


# Counts


def test_usage_is_shown_once_and_only_to_who_asked() -> None:
    datas = [
        chunk({"content": "x"}),
        chunk({}, reason="stop", usage=USAGE),
        json.dumps(
            {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": USAGE}
        ).encode(),
        b"[DONE]",
    ]
    answer = stream()
    got = ended(answer, feed(answer, body(*datas)))
    assert got.usage is None
    answer = stream(usage=True)
    got = ended(answer, feed(answer, body(*datas)), COUNTS)
    assert [each["choices"] for each in got.chunks].count([]) == 1
    # As the vendor sent it where that is what was charged, else what was.
    assert got.usage == USAGE
    answer = stream(usage=True)
    got = ended(answer, feed(answer, body(*datas)), (10, 0, 0, 7, 0))
    assert got.usage == usage_object((10, 0, 0, 7, 0), "prompt", "completion")


def test_counts_on_the_way_are_the_vendors_and_the_last_one_is_what_was_charged() -> None:
    running = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    on_the_way = [chunk({"content": "a"}, usage=running), chunk({"content": "a"}, x_groq={"usage": running})]
    answer = stream(usage=True)
    steps = say(answer, *on_the_way, b"[DONE]")
    got = read_stream(b"".join(step.out for step in steps) + answer.end(Ending.COMPLETE, (10, 0, 0, 5, 0)))
    assert [each.get("usage") for each in got.chunks[:2]] == [running, running]
    assert got.chunks[1]["x_groq"] == {"usage": running}
    assert got.usage is not None
    assert (got.usage["prompt_tokens"], got.usage["completion_tokens"], got.usage["total_tokens"]) == (10, 5, 15)


def test_of_two_chunks_of_usage_the_later_is_shown() -> None:
    members = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    later = {**USAGE, "prompt_tokens": 30, "total_tokens": 30 + USAGE["completion_tokens"]}
    # The second of them is written as OpenAI writes none.
    datas = [{**members, "usage": USAGE}, {"choices": None, "usage": later}]
    answer = stream(usage=True)
    steps = say(answer, chunk({"content": "x"}, reason="stop"), *(json.dumps(each).encode() for each in datas), b"[DONE]")
    counted = steps[-2].counted
    assert counted is not None
    got = ended(answer, joined(steps), counted.counts)
    assert got.usage == later


def test_usage_that_the_vendor_did_not_give_is_what_was_charged() -> None:
    answer = stream(usage=True)
    got = ended(answer, feed(answer, body(chunk({"content": "x"}), b"[DONE]")), (4, 3, 2, 5, 6, 1, 7, 8, 9, 10))
    assert got.usage == {
        "prompt_tokens": 25,
        "completion_tokens": 30,
        "total_tokens": 55,
        "prompt_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 3, "audio_tokens": 7, "image_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 6, "audio_tokens": 9, "image_tokens": 10},
    }


def test_counts_are_told_as_they_come_and_zeros_erase_none() -> None:
    answer = stream()
    steps = say(
        answer,
        chunk({"content": "a"}),
        chunk({"content": "b"}, usage={"prompt_tokens": 10, "completion_tokens": 3}),
        chunk({"content": "c"}, usage={"prompt_tokens": 0, "completion_tokens": 0}),
        chunk({"content": "d"}, usage=None),
        chunk({"content": "e"}, usage={"prompt_tokens": 0, "completion_tokens": 5}),
        chunk({"content": "f"}, usage={"prompt_tokens": -1, "completion_tokens": 6}),
    )
    counted = [step.counted.counts if step.counted is not None else None for step in steps]
    assert counted == [None, (10, 0, 0, 3, 0), (10, 0, 0, 3, 0), None, (10, 0, 0, 5, 0), (10, 0, 0, 6, 0)]
    # What came with the zeros is not in the count before them.
    assert [step.counted.has_output for step in steps if step.counted is not None] == [True, False, True, True]


def test_usage_is_read_at_a_vendors_own_place() -> None:
    endpoint = ENDPOINT._replace(usage=UsageReading(places=(("meta", "billed"),)))
    answer = streamed(usage=True).answer(endpoint)
    [step] = say(answer, chunk({"content": "x"}, meta={"billed": USAGE}))
    assert step.counted is not None
    assert step.counted.counts == COUNTS
    assert read_stream(step.out).chunks[0]["usage"] == USAGE


def test_a_choices_usage_is_the_wholes_only_where_it_is_alone() -> None:
    for choices, counted in ((1, True), (2, False)):
        [step] = say(stream(n=choices), with_choice(usage=USAGE))
        assert (step.counted is not None) == counted


@pytest.mark.parametrize("levels", [200, 900])
def test_what_is_nested_too_deep_to_be_joined_is_garbage(levels: int) -> None:
    data = chunk({"content": "x", "odd": 0}).replace(b'"odd":0', b'"odd":' + b'{"a":' * levels + b"0" + b"}" * levels)
    for answer in (stream(), request().answer(ENDPOINT)):
        with pytest.raises(VendorFailure) as raised:
            say(answer, data)
        assert raised.value.outcome == "garbage"


# The end


def test_all_choices_must_finish() -> None:
    answer = stream(n=3)
    datas = [chunk({}, 0, "stop"), chunk({}, 0, "stop"), chunk({}, 2, "length"), chunk({}, 1, "stop")]
    assert [step.finished for step in say(answer, *datas)] == [False, False, False, True]


def test_a_stream_that_is_cut_ends_as_at_its_limit() -> None:
    answer = stream(usage=True, n=3)
    fed = feed(answer, body(chunk({"content": "a"}, 1), chunk({}, 2, "stop")))
    got = ended(answer, fed, COUNTS, Ending.CUT)
    assert {index: choice.finish_reason for index, choice in got.choices.items()} == {0: "length", 1: "length", 2: "stop"}
    assert got.done
    assert got.usage == usage_object(COUNTS, "prompt", "completion")


@pytest.mark.parametrize("odd", [{}, {"odd": 1}])
@pytest.mark.parametrize("delta", [{"content": "b"}, {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f"}}]}])
def test_an_event_that_is_cut_is_no_part_of_a_whole_answer(delta: dict[str, Any], odd: dict[str, Any]) -> None:
    answer = request().answer(ENDPOINT)
    say(answer, chunk({"content": "a"}), chunk(delta, 0, "stop", **odd))
    got = read_whole(answer.end(Ending.CUT, COUNTS))
    assert got.choices == {0: Choice("a", "", (), "length")}


def test_the_reason_of_an_event_that_is_cut_is_not_the_streams() -> None:
    answer = stream()
    fed = feed(answer, body(chunk({"content": "a"})))
    say(answer, chunk({"content": "b"}, 0, "stop"))
    got = ended(answer, fed, COUNTS, Ending.CUT)
    assert got.choices == {0: Choice("a", "", (), "length")}


def test_a_stream_without_a_reason_ends_with_stop() -> None:
    answer = stream()
    got = ended(answer, feed(answer, body(chunk({"content": "a"}), b"[DONE]")))
    assert got.choices[0] == Choice("a", "", (), "stop")
    answer = stream()
    got = ended(answer, feed(answer, body(chunk({"tool_calls": [piece("f", "{}", index=0, id="x")]}), b"[DONE]")))
    assert got.choices[0].finish_reason == "tool_calls"


def test_after_done_counts_are_read_and_nothing_is_relayed() -> None:
    answer = stream()
    steps = say(answer, chunk({"content": "a"}), b"[DONE]", chunk({"content": "late"}, usage=USAGE), b" [DONE] x")
    assert [step.ended for step in steps] == [False, True, True, True]
    assert [(step.out, step.said) for step in steps[1:]] == [(b"", "")] * 3
    assert steps[2].counted is not None


def test_a_stream_that_cant_go_on_tells_the_problem_and_no_end() -> None:
    answer = stream()
    fed = feed(answer, body(chunk({"content": "a"})))
    got = read_stream(fed.out + answer.interrupted(unavailable("the vendor"), "ch-1"))
    assert got.error is not None
    assert got.error["code"] == "service_unavailable"
    assert not got.done


# Whole answers


def whole(message: Any, reason: str | None = "stop", **fields: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": None}
    return json.dumps(
        {"id": "c-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **fields}
    ).encode()


CALL = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_a_whole_answer_is_relayed_whole_or_as_a_stream() -> None:
    message = {"role": "assistant", "content": "Hi", "reasoning_content": "hm", "refusal": None, "tool_calls": [CALL]}
    sent = whole(message, "tool_calls", usage=USAGE, system_fingerprint="fp", odd={"n": 1.5})
    answer = request().answer(ENDPOINT)
    step = answer.feed_whole(sent)
    assert (step.said, step.thought, step.calls, step.finished, step.out) == ("Hif{}", "hm", 1, True, b"")
    assert json.loads(answer.end(Ending.COMPLETE, COUNTS)) == json.loads(sent)
    answer = stream(usage=True)
    got = ended(answer, joined([answer.feed_whole(sent)]), COUNTS)
    assert got.choices == {0: Choice("Hi", "hm", (("x", "f", "{}"),), "tool_calls")}
    assert (got.usage, got.done) == (USAGE, True)


PLAIN = {"role": "assistant", "content": "Hi"}


def test_a_plain_whole_answer_is_relayed_to_the_letter() -> None:
    sent = json.dumps(json.loads(whole(PLAIN, usage=USAGE)), indent=2).encode()
    answer = request().answer(ENDPOINT)
    assert answer.feed_whole(sent).said == "Hi"
    assert answer.end(Ending.COMPLETE, COUNTS) == sent


LONG = "long " * 200


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(whole(PLAIN, usage=USAGE, id=LONG), id="id"),
        pytest.param(whole(PLAIN, usage=USAGE, model=LONG), id="model"),
        pytest.param(whole(PLAIN, usage=USAGE, system_fingerprint=LONG), id="fingerprint"),
        pytest.param(whole(PLAIN, usage=USAGE, service_tier=LONG), id="tier"),
        pytest.param(whole(PLAIN, LONG, usage=USAGE), id="reason"),
        pytest.param(whole(PLAIN, usage={**USAGE, LONG * 2: 1}), id="usage"),
    ],
)
def test_long_words_of_a_whole_answer_are_counted(sent: bytes) -> None:
    assert len(request().answer(ENDPOINT).feed_whole(sent).said) >= len(LONG) - METADATA_BYTES_MAX


def test_a_name_that_comes_twice_in_a_whole_answer_is_relayed_once() -> None:
    answer = request().answer(ENDPOINT)
    answer.feed_whole(whole(PLAIN, usage=USAGE).replace(b'"id": ', b'"id": "%b", "id": ' % LONG.encode()))
    assert json.loads(last := answer.end(Ending.COMPLETE, COUNTS)) == json.loads(whole(PLAIN, usage=USAGE))
    assert LONG.encode() not in last


def test_a_reason_to_end_is_told_in_openais_words_in_a_whole_answer_too() -> None:
    answer = request().answer(ENDPOINT)
    answer.feed_whole(whole(PLAIN, "eos", usage=USAGE))
    assert json.loads(answer.end(Ending.COMPLETE, COUNTS))["choices"][0]["finish_reason"] == "stop"


def test_a_usage_has_the_counts_that_clients_expect_where_a_vendor_leaves_one_out() -> None:
    answer = request().answer(ENDPOINT)
    answer.feed_whole(whole(PLAIN, usage={"prompt_tokens": 9, "completion_tokens": 2}))
    told = json.loads(answer.end(Ending.COMPLETE, (9, 0, 0, 2, 0)))["usage"]
    assert (told["prompt_tokens"], told["completion_tokens"], told["total_tokens"]) == (9, 2, 11)


def test_a_whole_answers_usage_is_what_was_charged() -> None:
    answer = request().answer(ENDPOINT)
    answer.feed_whole(whole({"role": "assistant", "content": "Hi"}, usage={"prompt_tokens": -5, "completion_tokens": 10**9}))
    assert json.loads(answer.end(Ending.COMPLETE, COUNTS))["usage"] == usage_object(COUNTS, "prompt", "completion")


@pytest.mark.parametrize("answer", [b"", b"hello", b"[]", b"{}", b'{"choices": []}', b'{"choices": null, "id": "x"}'])
def test_what_is_no_whole_answer_is_garbage(answer: bytes) -> None:
    with pytest.raises(VendorFailure) as raised:
        request().answer(ENDPOINT).feed_whole(answer)
    assert raised.value.outcome == "garbage"


CITATION = {"type": "url_citation", "url_citation": {"start_index": 0, "end_index": 1, "title": "t", "url": "u"}}


def test_an_assembled_answer_has_all_that_the_stream_had() -> None:
    logprob = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": []}
    datas = [
        chunk({"role": "assistant", "content": "a"}, system_fingerprint="fp", service_tier="default"),
        with_choice(delta={"content": "b", "odd": {"text": "x", "list": [1]}}, logprobs={"content": [logprob]}),
        with_choice(delta={"odd": {"text": "y", "list": [2]}, "annotations": [CITATION]}, logprobs={"content": [logprob]}),
        chunk({"reasoning": "r"}),
        chunk({"refusal": "n"}),
        chunk({"refusal": "o"}),
        chunk({"function_call": {"name": "f", "arguments": "{"}}),
        chunk({"function_call": {"arguments": "}"}}),
        chunk({}, reason="stop", citations=["u"]),
        b"[DONE]",
    ]
    answer = request().answer(ENDPOINT)
    feed(answer, body(*datas))
    last = answer.end(Ending.COMPLETE, COUNTS)
    read_whole(last)
    assert json.loads(last) == {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp",
        "service_tier": "default",
        "citations": ["u"],
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "ab",
                    "refusal": "no",
                    "reasoning": "r",
                    "odd": {"text": "xy", "list": [1, 2]},
                    "annotations": [CITATION],
                    "function_call": {"name": "f", "arguments": "{}"},
                },
                "logprobs": {"content": [logprob, logprob]},
                "finish_reason": "function_call",
            }
        ],
        "usage": usage_object(COUNTS, "prompt", "completion"),
    }


def test_the_work_of_an_assembly_grows_with_its_lists_and_not_with_their_square() -> None:
    def seconds(count: int) -> float:
        answer = request().answer(ENDPOINT)
        entries = {"content": [{"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}]}
        data = with_choice(delta={"content": "a"}, logprobs=entries)
        begun = time.process_time()
        for _ in range(count):
            answer.feed(Event("", data))
        return time.process_time() - begun

    small = min(seconds(500) for _ in range(3))
    assert min(seconds(5_000) for _ in range(2)) < 20 * small


def test_an_assembled_answer_of_which_nothing_came_is_whole_all_the_same() -> None:
    answer = request(n=2).answer(ENDPOINT)
    got = read_whole(answer.end(Ending.CUT, COUNTS))
    assert got.choices == {index: Choice(None, "", (), "length") for index in range(2)}


# Any chunk

ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**60) | st.floats() | st.text(max_size=4),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["index", "id", "delta", "content", "type", "text", "function", "name", "arguments", "usage", "token", "odd"]
            ),
            children,
            max_size=4,
        )
    ),
    max_leaves=10,
)
DELTAS = st.dictionaries(
    st.sampled_from(["role", "content", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function_call", "x"]),
    ANY,
    max_size=4,
)
CHOICES = st.fixed_dictionaries(
    {}, optional={"index": ANY, "delta": DELTAS | ANY, "finish_reason": ANY, "logprobs": ANY, "usage": ANY, "y": ANY}
)
CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "id": ANY,
        "model": ANY,
        "created": ANY,
        "choices": st.lists(CHOICES | ANY, max_size=3) | ANY,
        "usage": ANY,
        "z": ANY,
    },
)


def is_of_completions(chunk: Any) -> bool:
    """Whether a choice has a completion's text, and no message."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    found = choices if isinstance(choices, list) else [choices]
    return any(isinstance(each, dict) and "text" in each and not each.keys() & {"delta", "message"} for each in found)


@given(st.lists(CHUNKS.filter(lambda chunk: not is_of_completions(chunk)), max_size=4), st.booleans())
def test_any_chunk_is_relayed_as_the_dialect_has_it_and_its_text_is_counted(chunks: list[Any], usage: bool) -> None:
    answer, assembled = stream(usage=usage), request().answer(ENDPOINT)
    out, said = b"", ""
    for each in chunks:
        step = answer.feed(Event("", json.dumps(each).encode()))
        other = assembled.feed(Event("", json.dumps(each).encode()))
        assert (step.said, step.thought, step.calls) == (other.said, other.thought, other.calls)
        out += step.out
        said += step.said + step.thought
        if step.fault is not None:
            return
    out += answer.end(Ending.COMPLETE, COUNTS)
    assert out.endswith(b"data: [DONE]\n\n")
    for event in out.split(b"\n\n")[:-2]:
        sent = json.loads(event.removeprefix(b"data: "))
        assert isinstance(sent["id"], str)
        assert isinstance(sent["created"], int)
        for choice in sent["choices"]:
            assert isinstance(choice["index"], int)
            content = choice["delta"].get("content")
            assert content is None or content in said
            assert choice["finish_reason"] is None or isinstance(choice["finish_reason"], str)
            for call in choice["delta"].get("tool_calls") or ():
                assert isinstance(call["index"], int)
    json.loads(assembled.end(Ending.COMPLETE, COUNTS))
