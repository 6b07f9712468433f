"""Answers of Anthropic's dialect: what counts, what is mended, how they end."""

import hashlib
from typing import Any

import anthropic
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.call.dialect import Body, Ending
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS
from services.edge.dialects.metadata import FREE_BYTES, FREE_BYTES_A_PIECE
from services.edge.http.problems import vendor_failed
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Reasoning, UsageReading
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX
from tests.edge.dialects.anthropic_answers import ENDPOINT, NOTHING_USED, answer, complete, events_of, feed, feed_events
from tests.edge.dialects.anthropic_client import read_stream, read_whole

STOP = {"type": "message_stop"}
USED = (12, 3, 4, 50, 7, 5)


def start(**changed: Any) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1},
    }
    return {"type": "message_start", "message": {**message, **changed}}


def begin(index: int = 0, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block or {"type": "text", "text": ""}}


def piece(index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": delta}


def stop(index: int = 0) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ending(reason: str | None = "end_turn", usage: Any = None) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}


# What counts


# More numbers, and longer names together, than any answer has of its own.
NUMBERS = list(range(65))
NUMBERS_SAID = str(NUMBERS).replace(" ", "")
NAMES = {f"{number:052}": 1 for number in range(10)}


@pytest.mark.parametrize(
    ("event", "said", "thought", "added", "opaque_bytes", "calls"),
    [
        (piece(type="text_delta", text="Hello"), "Hello", "", "", 0, 0),
        (piece(type="text_delta", text=None), "", "", "", 0, 0),
        (piece(type="text_delta", text=["He", {"type": "text", "text": "llo"}]), "Hello", "", "", 0, 0),
        (piece(type="text_delta", text="He", hidden="llo"), "Hello", "", "", 0, 0),
        (piece(type="thinking_delta", thinking="Hm", estimated_tokens=99), "", "Hm", "", 0, 0),
        (piece(type="input_json_delta", partial_json='{"a":'), '{"a":', "", "", 0, 0),
        (piece(type="signature_delta", signature="c2ln"), "", "", "", 4, 0),
        (piece(type="citations_delta", citation={"type": "char_location", "cited_text": "So."}), "So.", "", "", 0, 0),
        (piece(type="citations_delta", citation={"cited_text": "So.", "encrypted_index": "eA=="}), "So.", "", "", 4, 0),
        (piece(type="compaction_delta", content="So far.", encrypted_content="eA=="), "So far.", "", "", 4, 0),
        (piece(type="song_delta", verse="La", notes=["do"]), "Lado", "", "", 0, 0),
        ({**piece(type="text_delta", text="He"), "more": "llo"}, "Hello", "", "", 0, 0),
        ({"type": "ping"}, "", "", "", 0, 0),
        ({"type": "ping", "text": "Hidden"}, "Hidden", "", "", 0, 0),
        ({"type": "news", "body": {"text": "Hidden"}}, "Hidden", "", "", 0, 0),
        ({**stop(), "text": "Hidden"}, "Hidden", "", "", 0, 0),
        ({**STOP, "text": "Hidden"}, "Hidden", "", "", 0, 0),
        ({**STOP, "amazon-bedrock-invocationMetrics": {"inputTokenCount": 9}}, "", "", "", 0, 0),
        (piece(type="x", **{"n" * 65: 1}), "n" * 65, "", "", 0, 0),
        (piece(type="x", y={"n" * 65: 1}), "n" * 65, "", "", 0, 0),
        (piece(type="x", y={"type": "t" * 65}), "t" * 65, "", "", 0, 0),
        (begin(type="song", **{"n" * 65: 1}), "n" * 65, "", "", 0, 0),
        ({"type": "news", "n" * 65: 1}, "n" * 65, "", "", 0, 0),
        (piece(type="x", y=NUMBERS), NUMBERS_SAID, "", "", 0, 0),
        (piece(type="x", y={"z": [NUMBERS]}), NUMBERS_SAID, "", "", 0, 0),
        (piece(type="x", y=NUMBERS[1:]), "", "", "", 0, 0),
        (piece(type="x", y=10**40), str(10**40), "", "", 0, 0),
        ({"type": "news", **NAMES}, "type" + "".join(NAMES), "", "", 0, 0),
        (piece(type="x", y=NAMES), "".join(NAMES), "", "", 0, 0),
        ({**piece(type="x"), "index": 10**40}, str(10**40), "", "", 0, 0),
        ({**piece(type="text_delta", text="He"), "index": 10**40}, f"He{10**40}", "", "", 0, 0),
        ({**piece(type="text_delta", text="He"), "index": "u" * 300}, "He" + "u" * 44, "", "", 0, 0),
        (start(diagnostics={"note": "u" * 300}), "u" * 44, "", "", 0, 0),
        (ending(usage={"output_tokens": 1, "x": "u" * 300}), "u" * 44, "", "", 0, 0),
        (start(content=[{"type": "text", "text": "Hello"}]), "Hello", "", "", 0, 0),
        (start(poem="Hello"), "Hello", "", "", 0, 0),
        (begin(type="text", text="Hello"), "Hello", "", "", 0, 0),
        (begin(type="thinking", thinking="Hm", signature="c2ln"), "", "Hm", "", 4, 0),
        (begin(type="redacted_thinking", data="ZGF0YQ=="), "", "", "", 8, 0),
        (begin(type="tool_use", id="toolu_1", name="run", input={}), "run", "", "", 0, 1),
        (begin(type="tool_use", id="toolu_1", name="run", input={"a": 1}), 'run{"a":1}', "", "", 0, 1),
        (begin(type="server_tool_use", id="s", name="web_search", input={}), "web_search", "", "", 0, 1),
        (begin(type="text", text="", song="La"), "La", "", "", 0, 0),
        (begin(type="song", song="La"), "La", "", "", 0, 0),
        (
            begin(
                type="web_search_tool_result",
                tool_use_id="s",
                content=[{"type": "web_search_result", "title": "Rain", "encrypted_content": "eA=="}],
            ),
            "",
            "",
            "Rain",
            0,
            0,
        ),
        ({**ending(), "delta": {"stop_reason": "end_turn", "poem": "Hello"}}, "Hello", "", "", 0, 0),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_every_text_that_a_client_gets_counts(
    event: dict[str, Any], said: str, thought: str, added: str, opaque_bytes: int, calls: int, *, streamed: bool
) -> None:
    fed = feed_events(answer(streamed=streamed), event)
    assert sorted(fed.said) == sorted(said)
    assert (fed.thought, fed.added, fed.opaque_bytes, fed.calls) == (thought, added, opaque_bytes, calls)


def test_what_is_encrypted_in_a_result_counts_as_added() -> None:
    result = {"type": "web_search_result", "title": "Rain", "encrypted_content": "e" * 800}
    event = begin(type="web_search_tool_result", tool_use_id="s", content=[result])
    step = answer(streamed=True).feed(Event("", msgspec.json.encode(event)))
    assert (step.added, step.added_opaque_bytes, step.opaque_bytes, step.said) == ("Rain", 800, 0, "")
    hidden = begin(type="web_search_tool_result", tool_use_id="s" * 300, content=[])
    assert feed_events(answer(streamed=True), hidden).said == "s" * 44


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"text":"He"', f'"text":"{"lost" * 50}","text":"He"'),
        ('"delta":', f'"delta":{{"type":"text_delta","text":"{"lost" * 50}"}},"delta":'),
        ('"index":0', f'"index":{" " * 200}0'),
        ('"index":0', '"index":7,"index":0'),
        ('"type":"content', '"type":"lost","type":"content'),
        ('"index":0', '"index":\t0'),
    ],
)
def test_what_was_not_counted_is_not_relayed(old: str, new: str) -> None:
    text = msgspec.json.encode(piece(type="text_delta", text="He")).decode()
    assert old in text
    step = answer(streamed=True).feed(Event("content_block_delta", text.replace(old, new).encode()))
    assert (step.said, step.out) == ("He", b"event: content_block_delta\ndata: %b\n\n" % text.encode())
    padded = text.removesuffix("}") + " " * 60 + "}"
    assert padded.encode() in answer(streamed=True).feed(Event("content_block_delta", padded.encode())).out
    # More spaces, or spaces elsewhere, could tell something.
    for odd in (text.removesuffix("}") + " " * 65 + "}", text.replace("}", " " * 60 + "}", 1), text.replace(":", ": ", 1)):
        assert answer(streamed=True).feed(Event("content_block_delta", odd.encode())).out == step.out


def test_numbers_in_short_make_no_room_for_a_member_twice() -> None:
    # Each is longer as it is written here.
    event = b'{"type":"%b","type":"ping","x":[%b]}' % (b"lost" * 50, b",".join([b"1e9"] * 60))
    assert b"lost" not in answer(streamed=True).feed(Event("", event)).out


@pytest.mark.parametrize("searches", [True, False])
def test_what_a_tool_of_the_vendor_says_is_input_only_where_one_was_asked_for(searches: bool) -> None:
    event = begin(type="web_search_tool_result", tool_use_id="s", content=[{"type": "web_search_result", "title": "Rain"}])
    fed = feed_events(answer(streamed=True, searches=searches), event)
    assert (fed.added, fed.said) == (("Rain", "") if searches else ("", "Rain"))


SPOKEN = "spoken " * 200


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"type": "message_start", "message": SPOKEN}, SPOKEN),
        ({"type": "message_start", "message": [SPOKEN]}, SPOKEN),
        ({"type": "message_delta", "delta": SPOKEN, "usage": {"output_tokens": 1}}, SPOKEN),
        (piece(type="signature_delta", signature={"x": SPOKEN}), SPOKEN),
        (piece(type="signature_delta", signature=[SPOKEN]), SPOKEN),
        (begin(type="redacted_thinking", data=[SPOKEN]), SPOKEN),
        (piece(type=[SPOKEN], text=""), SPOKEN[256:]),
        (piece(type=SPOKEN, text=""), SPOKEN[256:]),
    ],
)
def test_a_text_where_an_object_or_a_proof_should_be_is_said(event: dict[str, Any], said: str) -> None:
    fed = feed_events(answer(streamed=True), event)
    assert SPOKEN.encode() in fed.out
    assert (fed.said, fed.opaque_bytes) == (said, 0)


def test_names_in_a_proof_count_beyond_the_bound() -> None:
    to = answer(streamed=True)
    said = relayed = 0
    for number in range(100):
        names = {hashlib.sha256(b"%d %d" % (number, word)).hexdigest()[:60]: True for word in range(6)}
        said += len(feed_events(to, piece(type="signature_delta", signature=names)).said)
        relayed += sum(map(len, names))
    # But for what is free in all of an answer.
    assert said > relayed - 100 * FREE_BYTES_A_PIECE - FREE_BYTES


def test_a_count_that_says_much_beside_the_count_is_told_alone() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    to = COUNT_TOKENS.read(Body(msgspec.json.encode(body), "application/json"), {}).answer(ENDPOINT)
    to.feed_whole(msgspec.json.encode({"input_tokens": 9, "note": SPOKEN}))
    assert to.end(Ending.COMPLETE, (0, 0, 0, 0, 0)) == b'{"input_tokens":9}'


@pytest.mark.parametrize("twice", ['"content":[{"type":"text","text":"LOST"}],"content":', '"content":' + " " * 200])
def test_what_was_not_counted_of_a_whole_answer_is_not_relayed(twice: str) -> None:
    usage = {"input_tokens": 9, "output_tokens": 1}
    whole = msgspec.json.encode({"id": "m", "type": "message", "content": [{"type": "text", "text": "He"}], "usage": usage})
    taken = answer(streamed=False)
    assert taken.feed_whole(whole.replace(b'"content":', twice.replace("LOST", "lost" * 50).encode())).said == "He"
    assert taken.end(Ending.COMPLETE, (9, 0, 0, 1, 0)) == whole


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize(
    ("used", "told"),
    [
        ((9, 0, 0, 1, 0), {"input_tokens": 9, "output_tokens": 1, "note": 7}),
        # Results that the vendor added are charged beside its own count of the input.
        (
            (12, 3, 4, 1, 0),
            {"input_tokens": 12, "cache_creation_input_tokens": 4, "cache_read_input_tokens": 3, "output_tokens": 1, "note": 7},
        ),
    ],
)
def test_the_usage_of_a_whole_answer_is_that_which_is_charged(used: Any, told: dict[str, Any], *, is_stream: bool) -> None:
    usage = {"input_tokens": 9, "output_tokens": 1, "note": 7}
    to = answer(streamed=False)
    if is_stream:
        feed_events(to, start(usage=usage), begin(), piece(type="text_delta", text="He"), stop(), ending(usage=usage), STOP)
    else:
        to.feed_whole(
            msgspec.json.encode({"id": "m", "type": "message", "content": [{"type": "text", "text": "He"}], "usage": usage})
        )
    found = msgspec.json.decode(to.end(Ending.COMPLETE, used))
    assert (found["usage"], found["content"]) == (told, [{"type": "text", "text": "He"}])


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_no_event_breaks_the_reading(value: Any) -> None:
    for kind in ("message_start", "content_block_start", "content_block_delta", "message_delta", "message_stop", "ping", "x"):
        for name in ("message", "content_block", "delta", "index", "usage", "content", "error"):
            event = Event("", msgspec.json.encode({"type": kind, name: value}))
            for streamed in (True, False):
                reading = answer(streamed=streamed)
                reading.feed(event)
                for end in Ending:
                    reading.end(end, NOTHING_USED)


def test_output_is_counted_only_when_the_message_ends() -> None:
    reading = answer(streamed=True)
    first = feed_events(reading, start()).counted
    assert first is not None
    assert (first.counts[0], first.has_input, first.has_output) == (9, True, False)
    last = feed_events(reading, ending(usage={"output_tokens": 4, "input_tokens": None})).counted
    assert last is not None
    assert (last.counts[0], last.counts[INDEX["output"]], last.has_input, last.has_output) == (9, 4, True, True)


def test_a_later_zero_erases_no_count() -> None:
    reading = answer(streamed=True)
    usage = {"output_tokens": 4, "input_tokens": 0, "cache_read_input_tokens": 0}
    counted = feed_events(reading, start(usage={"input_tokens": 9, "cache_read_input_tokens": 5}), ending(usage=usage)).counted
    assert counted is not None
    assert counted.counts[:4] == (9, 5, 0, 4)


@pytest.mark.parametrize(
    "usage", [{"input_tokens": 9}, {"output_tokens": 0}, {"output_tokens": None, "cache_read_input_tokens": 1}]
)
def test_a_count_of_the_input_is_none_of_the_output_that_came_since_the_last_one(usage: dict[str, Any]) -> None:
    reading = answer(streamed=True)
    feed_events(reading, start(), begin(), piece(type="text_delta", text="Hello"))
    first = feed_events(reading, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 4}}).counted
    assert first is not None
    assert first.has_output
    later = feed_events(reading, piece(type="text_delta", text=" and more"), ending(usage=usage)).counted
    assert later is not None
    assert (later.has_input, later.has_output) == (True, False)
    # The same number again is a count.
    again = feed_events(reading, ending(usage={"output_tokens": 4})).counted
    assert again is not None
    assert again.has_output


def test_usage_is_read_where_the_profile_says() -> None:
    endpoint = ENDPOINT._replace(usage=UsageReading(places=(("metrics", "usage"),)))
    event = {**STOP, "metrics": {"usage": {"input_tokens": 8, "output_tokens": 2}}}
    counted = feed_events(answer(streamed=True, endpoint=endpoint), start(), event).counted
    assert counted is not None
    assert counted.counts[:4] == (8, 0, 0, 2)


@pytest.mark.parametrize(
    ("reasoning", "output", "thinking"), [(Reasoning.INSIDE, 0, 10), (Reasoning.BY_TOTAL, 10, 12), (Reasoning.BESIDE, 10, 12)]
)
def test_a_recount_of_thinking_adds_nothing_where_it_is_inside(reasoning: Reasoning, output: int, thinking: int) -> None:
    endpoint = ENDPOINT._replace(usage=UsageReading(reasoning))
    usage = {"output_tokens": 10, "output_tokens_details": {"thinking_tokens": 12}}
    counted = feed_events(answer(streamed=True, endpoint=endpoint), start(), ending(usage=usage)).counted
    assert counted is not None
    assert counted.counts[INDEX["output"]] == output
    assert counted.counts[INDEX["reasoning"]] == thinking


def test_a_count_after_the_end_is_read_and_not_relayed() -> None:
    reading = answer(streamed=True)
    fed = feed_events(reading, start(), STOP, ending(usage={"output_tokens": 4}))
    assert fed.counted is not None
    assert fed.counted.has_output
    assert b"message_delta" not in fed.out


@pytest.mark.parametrize("streamed", [True, False])
def test_what_comes_after_the_end_is_neither_delivered_nor_counted(*, streamed: bool) -> None:
    reading = answer(streamed=streamed)
    before = feed_events(reading, start(), begin(), piece(type="text_delta", text="Hello"), stop(), ending(), STOP)
    after = feed_events(
        reading, piece(type="text_delta", text=" and"), begin(1, type="text", text="more"), ending(usage={"output_tokens": 4}), STOP
    )
    assert (after.out, after.said, after.thought, after.calls) == (b"", "", "", 0)
    assert after.counted is not None
    end = reading.end(Ending.COMPLETE, USED)
    message = read_stream(before.out + end) if streamed else read_whole(end)
    assert [block.text for block in message.content] == ["Hello"]


def test_the_reason_to_stop_finishes_and_message_stop_ends() -> None:
    reading = answer(streamed=True)
    assert not feed_events(reading, start(), ending(None, {"output_tokens": 1})).finished
    assert feed_events(reading, ending("end_turn", {"output_tokens": 1})).finished
    last = reading.feed(Event("message_stop", b'{"type":"message_stop"}'))
    assert (last.out, last.ended, last.finished) == (b"", True, False)


# What is mended


@pytest.mark.parametrize("data", [b"[DONE]", b"ping", b": x", b"null", b"7", b"[]", b'"text"', b"\xff"])
@pytest.mark.parametrize("streamed", [True, False])
def test_what_keeps_a_connection_open_is_removed(data: bytes, *, streamed: bool) -> None:
    step = answer(streamed=streamed).feed(Event("", data))
    assert step == type(step)()


@pytest.mark.parametrize(
    "data", [b'{"type":"content_bl', b"{}", b'{"type":7}', b'{"type":"a\\nb"}', b'{"type":""}', b'{"choices":[]}']
)
@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_not_of_the_dialect_is_garbage(data: bytes, *, streamed: bool) -> None:
    with pytest.raises(VendorFailure) as caught:
        answer(streamed=streamed).feed(Event("", data))
    assert (caught.value.outcome, caught.value.http_status) == ("garbage", 200)


@pytest.mark.parametrize(
    ("event", "kind", "message"),
    [
        (Event("error", b'{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}'), "overloaded_error", "Busy"),
        (Event("", b'{"error":{"type":"x","message":"Busy"}}'), "x", "Busy"),
        (Event("error", b'{"error":"Busy"}'), "", "Busy"),
        (Event("error", b'{"message":"Busy"}'), "", "Busy"),
    ],
)
def test_an_error_is_the_vendors_fault_and_not_relayed(event: Event, kind: str, message: str) -> None:
    step = answer(streamed=True).feed(event)
    assert step.fault is not None
    assert (step.fault.http_status, step.fault.kind, step.fault.message) == (200, kind, message)
    assert step.out == b""


def test_an_event_is_named_by_its_data_and_a_type_is_written_where_it_is_missing() -> None:
    reading = answer(streamed=True)
    named = reading.feed(Event("ping", msgspec.json.encode(piece(type="text_delta", text="Hello"))))
    assert named.out.startswith(b"event: content_block_delta\n")
    assert named.said == "Hello"
    typed = reading.feed(Event("content_block_delta", b'{"index":0,"delta":{"type":"text_delta","text":"Hello"}}'))
    assert events_of(typed.out)[0] == piece(type="text_delta", text="Hello")
    assert typed.said == "Hello"


def test_data_of_several_lines_stays_one_event() -> None:
    data = b'{"type":"content_block_delta",\n"index":0,\n"delta":{"type":"text_delta","text":"Hello"}}'
    step = answer(streamed=True).feed(Event("content_block_delta", data))
    assert events_of(step.out) == [piece(type="text_delta", text="Hello")]


def test_a_vendor_without_usage_does_not_break_the_sdk() -> None:
    reading = answer(streamed=True)
    without = {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}}
    begun = start()
    del begun["message"]["usage"]
    fed = feed_events(reading, begun, begin(), piece(type="text_delta", text="Hello"), stop(), without, STOP)
    assert fed.finished
    assert fed.ended
    assert fed.counted is None
    message = read_stream(fed.out + reading.end(Ending.COMPLETE, USED))
    assert (message.stop_reason, message.usage.output_tokens, message.usage.input_tokens) == ("end_turn", 57, 12)
    assert (message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (3, 9)


# How it ends


def test_a_stream_that_is_cut_ends_as_if_at_its_limit() -> None:
    reading = answer(streamed=True)
    call = begin(1, type="tool_use", id="t", name="run", input={})
    arguments = piece(1, type="input_json_delta", partial_json='{"cmd": "l')
    fed = feed_events(reading, start(), begin(), piece(type="text_delta", text="Hello"), stop(), call, arguments)
    end = reading.end(Ending.CUT, USED)
    assert events_of(end) == [
        stop(1),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
            "usage": {"output_tokens": 57},
        },
        STOP,
    ]
    message = read_stream(fed.out + end)
    assert (message.stop_reason, message.usage.output_tokens, message.usage.input_tokens) == ("max_tokens", 57, 9)
    assert message.content[0].text == "Hello"


def test_what_a_cut_kept_from_the_client_is_neither_closed_nor_assembled() -> None:
    call = begin(1, type="tool_use", id="t", name="run", input={})
    before = [start(), begin(), piece(type="text_delta", text="Hello"), stop()]
    relaying = answer(streamed=True)
    sent = feed_events(relaying, *before).out
    # The call of a tool did not fit: it is not sent.
    feed_events(relaying, call)
    end = relaying.end(Ending.CUT, USED)
    assert [event["type"] for event in events_of(end)] == ["message_delta", "message_stop"]
    assert len(read_stream(sent + end).content) == 1
    assembling = answer(streamed=False)
    feed_events(assembling, *before[:3], piece(type="text_delta", text=" and more"))
    assert read_whole(assembling.end(Ending.CUT, USED)).content[0].text == "Hello"


def test_a_whole_answer_that_does_not_fit_is_kept_from_the_client() -> None:
    body = msgspec.json.encode({**start()["message"], "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn"})
    for streamed, read in ((True, read_stream), (False, read_whole)):
        reading = answer(streamed=streamed)
        reading.feed_whole(body)
        message = read(reading.end(Ending.CUT, USED))
        assert (message.content, message.stop_reason, message.usage.output_tokens) == ([], "max_tokens", 57)


def test_a_stream_is_cut_before_it_began_and_after_it_stopped() -> None:
    message = read_stream(answer(streamed=True).end(Ending.CUT, USED))
    assert (message.stop_reason, message.content, message.model, message.usage.output_tokens) == ("max_tokens", [], "m", 57)
    reading = answer(streamed=True)
    fed = feed_events(reading, start(), begin(), stop(), ending("end_turn", {"output_tokens": 9}))
    end = reading.end(Ending.CUT, USED)
    assert events_of(end) == [STOP]
    assert read_stream(fed.out + end).stop_reason == "end_turn"


def test_an_assembled_answer_that_is_cut_says_so() -> None:
    reading = answer(streamed=False)
    call = begin(1, type="tool_use", id="t", name="run", input={})
    arguments = piece(1, type="input_json_delta", partial_json='{"cmd": "l')
    feed_events(reading, start(), begin(), piece(type="text_delta", text="Hello"), stop(), call, arguments)
    message = read_whole(reading.end(Ending.CUT, USED))
    assert (message.stop_reason, message.usage.output_tokens, message.usage.input_tokens) == ("max_tokens", 57, 12)
    assert (message.content[0].text, message.content[1].name, message.content[1].input) == ("Hello", "run", {})
    assert read_whole(answer(streamed=False).end(Ending.CUT, USED)).content == []


def test_a_whole_answer_of_a_vendor_without_usage_says_what_is_charged() -> None:
    reading = answer(streamed=False)
    message = {**start()["message"], "content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    del message["usage"]
    body = msgspec.json.encode(message)
    step = reading.feed_whole(body)
    assert (step.said, step.counted, step.finished, step.ended) == ("Hi", None, True, True)
    got = read_whole(reading.end(Ending.COMPLETE, USED))
    assert (got.usage.input_tokens, got.usage.output_tokens, got.content[0].text) == (12, 57, "Hi")


def test_an_assembled_answer_has_all_pieces() -> None:
    reading = answer(streamed=False)
    cited = {"type": "char_location", "cited_text": "So."}
    feed_events(
        reading,
        start(service_tier="x"),
        begin(0, type="thinking", thinking="", signature=""),
        piece(0, type="thinking_delta", thinking="H"),
        piece(0, type="thinking_delta", thinking="m"),
        piece(0, type="signature_delta", signature="c2ln"),
        begin(1, type="text", text="A"),
        piece(1, type="text_delta", text="B"),
        piece(1, type="citations_delta", citation=cited),
        piece(1, type="song_delta", song="La"),
        piece(1, type="song_delta", song="La"),
        begin(2, type="tool_use", id="t", name="run", input={}),
        piece(2, type="input_json_delta", partial_json='{"n": 1.50, "big": '),
        piece(2, type="input_json_delta", partial_json="123456789012345678901}"),
        {**ending("stop_sequence", {"output_tokens": 9}), "context_management": {"applied_edits": []}},
        STOP,
    )
    whole = reading.end(Ending.COMPLETE, (9, 0, 0, 9, 0))
    assert b'"input":{"n": 1.50, "big": 123456789012345678901}' in whole
    message = msgspec.json.decode(whole)
    assert message["content"][:2] == [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
        {"type": "text", "text": "AB", "citations": [cited], "song": "LaLa"},
    ]
    assert (message["stop_reason"], message["usage"]) == ("stop_sequence", {"input_tokens": 9, "output_tokens": 9})
    assert message["context_management"] == {"applied_edits": []}


@pytest.mark.parametrize("begun", [[{"cited_text": "First."}], None, 5, "First.", {"cited_text": "First."}])
def test_citations_of_pieces_follow_those_that_a_block_began_with(begun: Any) -> None:
    reading = answer(streamed=False)
    cited = {"type": "char_location", "cited_text": "So."}
    feed_events(
        reading,
        start(),
        begin(type="text", text="A", citations=begun),
        piece(type="citations_delta", citation=cited),
        ending(usage={"output_tokens": 9}),
        STOP,
    )
    [block] = msgspec.json.decode(complete(reading))["content"]
    assert block["citations"] == [*(begun if isinstance(begun, list) else []), cited]


@pytest.mark.parametrize("odd", [True, 5, "So.", {"cited_text": "So."}])
def test_odd_citations_of_a_whole_answer_are_told_with_their_block(odd: Any) -> None:
    said = {"type": "text", "text": "Hello", "citations": odd}
    body = msgspec.json.encode({**start()["message"], "content": [said], "stop_reason": "end_turn"})
    events = events_of(answer(streamed=True).feed_whole(body).out)
    assert [each["content_block"] for each in events if each["type"] == "content_block_start"] == [said]


@pytest.mark.parametrize("streamed", [True, False])
def test_whole_answers_that_are_none_are_garbage(*, streamed: bool) -> None:
    for body in (b"", b"[]", b"{", b"{}", b'{"content":"text"}', b'{"choices":[]}', b"<html>", b"\xff"):
        with pytest.raises(VendorFailure) as caught:
            answer(streamed=streamed).feed_whole(body)
        assert caught.value.outcome == "garbage"


def test_an_interruption_is_an_error_event_of_the_dialect() -> None:
    last = answer(streamed=True).interrupted(vendor_failed("The vendor broke off."), "call-1")
    assert last.startswith(b"event: error\n")
    assert events_of(last) == [
        {"type": "error", "error": {"type": "api_error", "message": "The vendor broke off."}, "request_id": "call-1"}
    ]


def test_the_sdk_raises_an_interruption() -> None:
    reading = answer(streamed=True)
    out = feed_events(reading, start(), begin(), piece(type="text_delta", text="Hello")).out
    with pytest.raises(anthropic.APIStatusError, match="The vendor broke off"):
        read_stream(out + reading.interrupted(vendor_failed("The vendor broke off."), "call-1"))


def test_a_count_of_tokens_is_relayed() -> None:
    request = COUNT_TOKENS.read(Body(b'{"model":"m","messages":[{"role":"user","content":"Hello"}]}', ""), {})
    reading = request.answer(ENDPOINT)
    step = reading.feed_whole(b'\n{"input_tokens": 9}')
    assert (step.finished, step.ended, step.counted, step.said) == (True, True, None, "")
    assert (reading.content_type, complete(reading)) == ("application/json", b'{"input_tokens": 9}')
    for body in (b"{}", b'{"input_tokens":"9"}', b"9"):
        with pytest.raises(VendorFailure):
            request.answer(ENDPOINT).feed_whole(body)
    with pytest.raises(VendorFailure):
        request.answer(ENDPOINT).feed(Event("", b'{"input_tokens":9}'))


def test_content_types() -> None:
    assert answer(streamed=True).content_type == "text/event-stream; charset=utf-8"
    assert answer(streamed=False).content_type == "application/json"


def test_a_body_without_its_end_has_not_ended() -> None:
    body = b"event: message_start\ndata: " + msgspec.json.encode(start()) + b"\n\n"
    assert not feed(answer(streamed=True), [body]).ended
