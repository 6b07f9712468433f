"""Answers in another dialect: events one after the other, their ends, and what is told of thought, calls and usage."""

import gc
import json
import re
import weakref
from typing import Any

import msgspec
import pytest

from services.edge.call.dialect import Ending
from services.edge.dialects.translation.answer import TranslatedAnswer
from services.edge.dialects.translation.answers.messages import MessagesTelling
from services.edge.dialects.translation.proofs import Seal
from services.edge.dialects.translation.telling import Begun, Kind, Piece, Told
from services.edge.http.problems import vendor_failed
from services.edge.vendors.events import Event
from services.edge.vendors.vendor import VendorFailure
from tests.edge.dialects import responses_answers
from tests.edge.dialects.translation.ways import (
    WAYS,
    C,
    M,
    R,
    block,
    body,
    call_piece,
    chunk,
    endpoint,
    events_in,
    feed,
    message,
    steps,
    told,
    translated,
    whole,
)

ways = pytest.mark.parametrize(("client", "vendor"), WAYS)
# input, cached input, cache write, output, reasoning.
USED = (5, 4, 2, 4, 3)
TEXT = {"type": "text", "text": ""}
TOOL_USE = {"type": "tool_use", "id": "a", "name": "weather", "input": {}}


def bare(event: dict[str, Any]) -> dict[str, Any]:
    """An event without the settings that its response tells again: these were others."""
    if "response" not in event:
        return event
    return {**event, "response": {**event["response"], "instructions": None, "tools": []}}


# "Hm" is thought, "Hello you" said, and the weather asked for, by each vendor.
SPOKEN: dict[str, list[dict[str, Any]]] = {
    C: [
        chunk(role="assistant", content=""),
        chunk(reasoning_content="Hm, "),
        chunk(reasoning_content="rain"),
        chunk(content="Hello"),
        chunk(content=" you"),
        call_piece(0, "", "call_1"),
        call_piece(0, '{"city"'),
        call_piece(0, ":1}"),
        chunk("tool_calls"),
    ],
    M: message(
        block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm, "},
            {"type": "thinking_delta", "thinking": "rain"},
            {"type": "signature_delta", "signature": "proof"},
        ),
        block(1, TEXT, {"type": "text_delta", "text": "Hello"}, {"type": "text_delta", "text": " you"}),
        block(
            2,
            {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"city"'},
            {"type": "input_json_delta", "partial_json": ":1}"},
        ),
        reason="tool_use",
    ),
    R: [bare(each) for each in responses_answers.stream()],
}


def kinds(events: list[Any]) -> list[str]:
    return [each["type"].removeprefix("response.") if isinstance(each, dict) else each for each in events]


# Streams, event by event


@pytest.mark.parametrize("vendor", [C, R])
def test_a_stream_of_messages(vendor: str) -> None:
    events = told(M, vendor, SPOKEN[vendor], USED)
    start, *rest = events
    assert start["type"] == "message_start"
    assert (start["message"]["model"], start["message"]["content"], start["message"]["stop_reason"]) == ("m", [], None)
    signature = rest[3]["delta"].pop("signature")
    assert signature.startswith("tl1.")
    assert rest == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm, "}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "rain"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_start", "index": 1, "content_block": TEXT},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hello"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": " you"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "content_block_start", "index": 2, "content_block": {**TOOL_USE, "id": "call_1"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"city"'}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
        {"type": "content_block_stop", "index": 2},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            # Disjoint: nothing is told twice.
            "usage": {"input_tokens": 5, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4, "output_tokens": 7},
        },
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize("vendor", [M, R])
def test_a_stream_of_a_chat(vendor: str) -> None:
    *events, usage, done = told(C, vendor, SPOKEN[vendor], USED, stream_options={"include_usage": True})
    assert done == "[DONE]"
    assert len({(each["id"], each["model"], each["object"]) for each in [*events, usage]}) == 1
    assert [each["choices"][0]["delta"] for each in events] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "Hm, "},
        {"reasoning_content": "rain"},
        {"content": "Hello"},
        {"content": " you"},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
        {},
    ]
    assert [each["choices"][0]["finish_reason"] for each in events] == [None] * 8 + ["tool_calls"]
    # Sums: what was cached and written is inside.
    assert (usage["choices"], usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == ([], 11, 7)
    assert usage["usage"]["prompt_tokens_details"] == {"cached_tokens": 4, "cache_write_tokens": 2}
    assert usage["usage"]["completion_tokens_details"] == {"reasoning_tokens": 3}
    assert told(C, vendor, SPOKEN[vendor], USED)[-2]["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("vendor", [C, M])
def test_a_stream_of_a_response(vendor: str) -> None:
    events = told(R, vendor, SPOKEN[vendor], USED)
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert kinds(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    response = events[-1]["response"]
    thought, words, call = response["output"]
    assert [each["item"] for each in events if each["type"].endswith("output_item.done")] == [thought, words, call]
    assert thought["summary"] == [{"type": "summary_text", "text": "Hm, rain"}]
    assert thought["encrypted_content"].startswith("tl1.")
    assert (words["content"][0]["text"], words["status"]) == ("Hello you", "completed")
    assert (call["call_id"], call["name"], call["arguments"], call["status"]) == ("call_1", "weather", '{"city":1}', "completed")
    # Each event names the item that it tells of.
    assert {each["item_id"] for each in events if "item_id" in each} == {thought["id"], words["id"], call["id"]}
    assert {each["output_index"] for each in events if each.get("item_id") == call["id"]} == {2}
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (11, 7)


@ways
def test_a_whole_answer_says_what_the_stream_says(client: str, vendor: str) -> None:
    answer = whole(client, vendor, SPOKEN[vendor], USED)
    match client:
        case "openai_chat":
            [choice] = answer["choices"]
            assert choice["message"]["content"] == "Hello you"
            assert choice["message"]["reasoning_content"] == "Hm, rain"
            [call] = choice["message"]["tool_calls"]
            assert call == {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":1}'}}
            assert (choice["finish_reason"], answer["usage"]["total_tokens"]) == ("tool_calls", 18)
        case "anthropic_messages":
            thought, words, call = answer["content"]
            assert (thought["thinking"], words) == ("Hm, rain", {"type": "text", "text": "Hello you"})
            assert call == {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": 1}}
            assert (answer["stop_reason"], answer["usage"]["input_tokens"]) == ("tool_use", 5)
        case _:
            assert [item["type"] for item in answer["output"]] == ["reasoning", "message", "function_call"]
            assert answer["output"][2]["arguments"] == '{"city":1}'
            assert (answer["status"], answer["usage"]["total_tokens"]) == ("completed", 18)


@ways
def test_an_answer_that_the_vendor_did_not_stream(client: str, vendor: str) -> None:
    wholes: dict[str, Any] = {
        C: {"id": "c", "model": "v", "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "length"}]},
        M: {"id": "m", "model": "v", "content": [{"type": "text", "text": "Hi"}], "stop_reason": "max_tokens"},
        R: responses_answers.response(
            "incomplete",
            [{**responses_answers.MESSAGE, "content": [{**responses_answers.PART, "text": "Hi"}]}],
            incomplete_details={"reason": "max_output_tokens"},
            instructions=None,
            tools=[],
        ),
    }
    answer = translated(client, vendor).answer(endpoint(vendor))
    step = answer.feed_whole(msgspec.json.encode(wholes[vendor]))
    assert (step.said, step.finished, step.out) == ("Hi", True, b"")
    got = msgspec.json.decode(answer.end(Ending.COMPLETE, USED))
    match client:
        case "openai_chat":
            assert (got["choices"][0]["message"]["content"], got["choices"][0]["finish_reason"]) == ("Hi", "length")
        case "anthropic_messages":
            assert (got["content"], got["stop_reason"]) == ([{"type": "text", "text": "Hi"}], "max_tokens")
        case _:
            assert (got["output"][0]["content"][0]["text"], got["status"]) == ("Hi", "incomplete")


# Why it stopped


def stopped(client: str, events: list[Any]) -> Any:
    """The reason that a client is told."""
    match client:
        case "openai_chat":
            return events[-2]["choices"][0]["finish_reason"]
        case "anthropic_messages":
            return events[-2]["delta"]["stop_reason"]
    response = events[-1]["response"]
    return (response["incomplete_details"] or {}).get("reason") or response["status"]


SAYS = {C: [chunk(content="x")], M: message(block(0, TEXT, {"type": "text_delta", "text": "x"}))[:-2]}


@pytest.mark.parametrize(
    ("reason", "of_messages", "of_response"),
    [
        ("stop", "end_turn", "completed"),
        ("length", "max_tokens", "max_output_tokens"),
        ("content_filter", "refusal", "content_filter"),
        ("tool_calls", "tool_use", "completed"),
        ("something", "end_turn", "completed"),
    ],
)
def test_why_a_chat_stopped(reason: str, of_messages: str, of_response: str) -> None:
    events = [*SAYS[C], chunk(reason)]
    assert stopped(M, told(M, C, events)) == of_messages
    assert stopped(R, told(R, C, events)) == of_response


@pytest.mark.parametrize(
    ("reason", "of_chat", "of_response"),
    [
        ("end_turn", "stop", "completed"),
        ("stop_sequence", "stop", "completed"),
        ("max_tokens", "length", "max_output_tokens"),
        ("model_context_window_exceeded", "length", "max_output_tokens"),
        ("refusal", "content_filter", "content_filter"),
        ("pause_turn", "length", "max_output_tokens"),
        ("tool_use", "tool_calls", "completed"),
    ],
)
def test_why_a_message_stopped(reason: str, of_chat: str, of_response: str) -> None:
    events = message(block(0, TEXT, {"type": "text_delta", "text": "x"}), reason=reason)
    assert stopped(C, told(C, M, events)) == of_chat
    assert stopped(R, told(R, M, events)) == of_response


@pytest.mark.parametrize(
    ("reason", "of_chat", "of_messages"),
    [("max_output_tokens", "length", "max_tokens"), ("content_filter", "content_filter", "refusal")],
)
def test_why_a_response_is_incomplete(reason: str, of_chat: str, of_messages: str) -> None:
    ended = {"type": "response.incomplete", "response": {"status": "incomplete", "incomplete_details": {"reason": reason}}}
    events = [*responses_answers.begun(), *responses_answers.of_message(0), ended]
    assert stopped(C, told(C, R, events)) == of_chat
    assert stopped(M, told(M, R, events)) == of_messages


def test_a_vendor_that_says_stop_after_a_call_has_called() -> None:
    events = [call_piece(0, "{}", "a"), chunk("stop")]
    assert stopped(M, told(M, C, events)) == "tool_use"


def test_a_refusal_is_words_and_a_reason_in_messages_and_its_own_kind_elsewhere() -> None:
    events = [chunk(refusal="I can't."), chunk("stop")]
    told_in_messages = told(M, C, events)
    assert [each["delta"]["text"] for each in told_in_messages if each["type"] == "content_block_delta"] == ["I can't."]
    assert stopped(M, told_in_messages) == "refusal"
    assert whole(R, C, events)["output"][0]["content"] == [{"type": "refusal", "refusal": "I can't."}]
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    of_response = [
        *responses_answers.begun(),
        {"type": "response.refusal.delta", **place, "delta": "No."},
        {**responses_answers.ended(), "response": responses_answers.response("completed")},
    ]
    assert whole(C, R, of_response)["choices"][0]["message"]["refusal"] == "No."


# Calls side by side


INTERLEAVED = [
    call_piece(0, '{"a"', "one", "first"),
    call_piece(1, '{"b"', "two", "second"),
    call_piece(0, ":1"),
    call_piece(1, ":2}"),
    chunk(content="Done?"),
    call_piece(0, "}"),
    chunk("tool_calls"),
]


@pytest.mark.parametrize("client", [M, R])
def test_calls_whose_pieces_come_in_turns_are_told_one_after_the_other(client: str) -> None:
    events = told(client, C, INTERLEAVED)
    opened = 0
    for each in events:
        opened += each["type"] in ("content_block_start", "response.output_item.added")
        opened -= each["type"] in ("content_block_stop", "response.output_item.done")
        assert opened <= 1
    answer = whole(client, C, INTERLEAVED)
    if client == M:
        assert [(each["name"], each["input"]) for each in answer["content"][:2]] == [("first", {"a": 1}), ("second", {"b": 2})]
        assert answer["content"][2] == {"type": "text", "text": "Done?"}
        pieces = [each["delta"].get("partial_json") for each in events if each["type"] == "content_block_delta"]
        assert pieces == ['{"a"', ":1", "}", '{"b"', ":2}", None]
    else:
        assert [each.get("arguments") for each in answer["output"]] == ['{"a":1}', '{"b":2}', None]


def test_a_call_that_is_whole_lets_the_next_one_pass() -> None:
    answer = translated(M, C, stream=True).answer(endpoint(C))
    first, second = steps(answer, [call_piece(0, '{"a":1}', "one"), call_piece(1, '{"b"', "two")])
    assert b"content_block_start" in first.out
    assert b'"id":"two"' in second.out
    # More of the first call: a blank says nothing, anything else is no JSON.
    assert answer.feed(Event("", msgspec.json.encode(call_piece(0, "\n")))).out == b""
    with pytest.raises(VendorFailure, match="garbage"):
        answer.feed(Event("", msgspec.json.encode(call_piece(0, "}"))))


def test_a_call_without_arguments_is_an_empty_object_where_arguments_are_text() -> None:
    events = message(block(0, TOOL_USE), reason="tool_use")
    assert whole(C, M, events)["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert (
        "".join(
            call["function"].get("arguments", "")
            for each in told(C, M, events)[:-1]
            for call in each["choices"][0]["delta"].get("tool_calls", ())
        )
        == "{}"
    )
    assert whole(R, M, events)["output"][0]["arguments"] == "{}"
    assert [each["delta"] for each in told(R, M, events) if each["type"].endswith("arguments.delta")] == ["{}"]
    assert whole(M, C, [call_piece(0, "", "a"), chunk("tool_calls")])["content"][0]["input"] == {}


@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "nothing"])
def test_arguments_that_are_no_object_are_kept_under_a_name_of_their_own(arguments: str) -> None:
    events = [call_piece(0, arguments, "a"), chunk("tool_calls")]
    assert whole(M, C, events)["content"][0]["input"] == {"_raw": arguments}


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (['{"input":"*** Begin\\n', 'a \\"b\\" \\u00e4"}'], '*** Begin\na "b" ä'),
        (['{"input": 5}'], '{"input": 5}'),
        (['{"other": "x"}'], '{"other": "x"}'),
        (["*** Begin"], "*** Begin"),
    ],
)
def test_the_input_of_a_custom_tool_is_unwrapped(pieces: list[str], text: str) -> None:
    tool = {"type": "custom", "name": "patch"}
    first, *rest = pieces
    events = [call_piece(0, first, "a", "patch"), *(call_piece(0, each) for each in rest), chunk("tool_calls")]
    for item in (whole(R, C, events, tools=[tool])["output"][0], told(R, C, events, tools=[tool])[-1]["response"]["output"][0]):
        assert (item["type"], item["call_id"], item["name"], item["input"]) == ("custom_tool_call", "a", "patch", text)
    deltas = [each for each in told(R, C, events, tools=[tool]) if each["type"] == "response.custom_tool_call_input.delta"]
    assert [each["delta"] for each in deltas] == [text]


def test_a_custom_call_of_a_response_is_one_in_a_chat() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "a", "name": "patch", "input": ""}
    events = [
        *responses_answers.begun(),
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.custom_tool_call_input.delta", "output_index": 0, "item_id": "ctc_1", "delta": "ls"},
        {"type": "response.output_item.done", "output_index": 0, "item": {**item, "input": "ls"}},
        {"type": "response.completed", "response": responses_answers.response("completed")},
    ]
    custom = {"type": "custom", "custom": {"name": "patch"}}
    [call] = whole(C, R, events, tools=[custom])["choices"][0]["message"]["tool_calls"]
    assert call == {"id": "a", "type": "custom", "custom": {"name": "patch", "input": "ls"}}


@pytest.mark.parametrize("client", [C, M])
@pytest.mark.parametrize(
    "output", [5, {"a": 1}, "x", [5], [{"type": "message", "content": 5}], [{"type": "reasoning", "summary": 5}]]
)
def test_an_odd_end_of_a_response_changes_nothing_of_what_was_told(client: str, output: Any) -> None:
    events = [each for each in SPOKEN[R] if each["type"] != "response.completed"]
    end = next(each for each in SPOKEN[R] if each["type"] == "response.completed")
    odd = {**end, "response": {**end["response"], "output": output}}
    # It comes when all is charged.
    assert _texts(told(client, R, [*events, odd], USED)) == _texts(told(client, R, SPOKEN[R], USED))


@pytest.mark.parametrize("odd", [{"type": "message", "content": 5}, {"type": "reasoning", "summary": 5}])
def test_an_odd_item_is_nothing_and_others_are_told(odd: Any) -> None:
    words = {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]}
    end = {"type": "response.completed", "response": {"id": "r", "output": [odd, words]}}
    assert '"content": "Hello"' in json.dumps(told(C, R, [end], USED))


@pytest.mark.parametrize("begun", ["message", "unknown"])
def test_an_item_that_ends_as_a_call_is_one_whatever_it_was_begun_as(begun: str) -> None:
    """It may be known by the last event alone, when all is charged."""
    added: dict[str, Any] = {"type": "response.output_item.added", "output_index": 0, "item": {"type": begun, "id": "i"}}
    call = {"type": "function_call", "id": "i", "call_id": "a", "name": "weather", "arguments": '{"city":1}'}
    end: dict[str, Any] = {"type": "response.completed", "response": {"id": "r", "output": [call]}}
    done: dict[str, Any] = {"type": "response.output_item.done", "output_index": 0, "item": call}
    for events in ([added, end], [added, done, end]):
        [block] = whole(M, R, events, USED)["content"]
        assert (block["type"], block["name"], block["input"]) == ("tool_use", "weather", {"city": 1})
        [called] = whole(C, R, events, USED)["choices"][0]["message"]["tool_calls"]
        assert called["function"] == {"name": "weather", "arguments": '{"city":1}'}


class _Misplaced:
    """Reads of everything a piece of no block, and a block."""

    def read(self, out: bytes) -> list[Told]:
        return [Piece("none", "lost"), Begun("one", Kind.TEXT), Piece("one", "Hello")] if out else []


def test_the_end_of_an_answer_that_is_charged_by_now_never_fails() -> None:
    vendors = responses_answers.answer(streamed=True)
    telling = MessagesTelling("m", Seal(R, "vendor", "m"), streamed=False)
    answer = TranslatedAnswer(vendors, _Misplaced(), telling)
    [block] = msgspec.json.decode(answer.end(Ending.COMPLETE, USED))["content"]
    assert block == {"type": "text", "text": "Hello"}


@pytest.mark.parametrize("client", [C, R])
def test_a_count_in_an_event_of_its_own_and_a_block_without_an_index_change_nothing(client: str) -> None:
    events = message(block(0, TEXT, {"type": "text_delta", "text": "Hello"}))
    alone = {"type": "message_delta", "usage": {"output_tokens": 3}}
    bare_ones = [{name: value for name, value in each.items() if name != "index"} for each in events]
    wanted = _texts([whole(client, M, events, USED)])
    assert "Hello" in wanted
    for odd in ([*events[:-2], alone, *events[-2:]], [*events[:-2], {**alone, "delta": None}, *events[-2:]], bare_ones):
        assert _texts([whole(client, M, odd, USED)]) == wanted


def _texts(events: list[Any]) -> str:
    """Events without what is made anew for each answer."""
    return re.sub(r'"(id|signature|created)": ?("[^"]*"|[0-9]+)', "", json.dumps(events))


@pytest.mark.parametrize("client", [M, R])
def test_a_call_with_an_odd_name_is_a_call(client: str) -> None:
    pieces = [{"index": 0, "id": "x", "function": {"name": ["f"], "arguments": "{}"}}]
    events = [chunk(content="Hello"), chunk(tool_calls=pieces), chunk("tool_calls")]
    for answer in (told(client, C, events, USED), whole(client, C, events, USED)):
        assert "['f']" in json.dumps(answer)


def test_a_response_that_tells_its_items_at_the_end_alone() -> None:
    answer = whole(M, R, [responses_answers.ended()])
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use"]
    assert answer["content"][1]["text"] == "Hello you"
    assert answer["content"][2]["input"] == {"city": 1}


def test_parts_of_a_summary_are_paragraphs_of_one_thought() -> None:
    place = {"item_id": "rs_1", "output_index": 0}
    pieces = [
        {"type": "response.reasoning_summary_text.delta", **place, "summary_index": index, "delta": text}
        for index, text in ((0, "One"), (0, " more"), (1, "Two"))
    ]
    added = responses_answers.of_thought()[0]
    answer = whole(M, R, [*responses_answers.begun(), added, *pieces, responses_answers.of_thought()[-1]])
    assert answer["content"][0]["thinking"] == "One more\n\nTwo"


# Ends before the end


def cut(client: str, vendor: str, events: list[Any], **fields: Any) -> list[Any]:
    """A client's stream that is cut in the last of these events, which it does not get."""
    answer = translated(client, vendor, stream=True, **fields).answer(endpoint(vendor))
    sent = [step.out for step in steps(answer, events)][:-1]
    return events_in(b"".join(sent) + answer.end(Ending.CUT, USED))


@pytest.mark.parametrize("vendor", [C, R])
@pytest.mark.parametrize("length", range(1, 12))
def test_messages_that_are_cut_anywhere_end_what_is_open(vendor: str, length: int) -> None:
    events = [each for each in SPOKEN[vendor] if says(each)]
    if length > len(events):
        return
    got = cut(M, vendor, [*SPOKEN[vendor][: SPOKEN[vendor].index(events[length - 1])], events[length - 1]])
    assert got[0]["type"] == "message_start"
    assert kinds(got[-2:]) == ["message_delta", "message_stop"]
    assert got[-2]["delta"]["stop_reason"] == "max_tokens"
    starts = [each["index"] for each in got if each["type"] == "content_block_start"]
    assert starts == [each["index"] for each in got if each["type"] == "content_block_stop"] == list(range(len(starts)))


def says(event: dict[str, Any]) -> bool:
    """Whether an event has output, so that a quota may end in it."""
    if "choices" in event:
        delta = event["choices"][0]["delta"]
        return bool(delta.get("content") or delta.get("reasoning_content") or delta.get("tool_calls"))
    kind: str = event["type"]
    return kind.endswith("delta") and kind != "message_delta"


@pytest.mark.parametrize("vendor", [C, M])
def test_a_response_that_is_cut_in_a_call_ends_it_as_incomplete(vendor: str) -> None:
    last = next(index for index, each in enumerate(SPOKEN[vendor]) if ":1}" in str(each))
    got = cut(R, vendor, SPOKEN[vendor][: last + 1])
    assert [each["sequence_number"] for each in got] == list(range(len(got)))
    assert kinds(got[-3:]) == ["function_call_arguments.done", "output_item.done", "incomplete"]
    call = got[-1]["response"]["output"][-1]
    # The cut piece is not told.
    assert (call["arguments"], call["status"]) == ('{"city"', "incomplete")
    assert got[-1]["response"]["incomplete_details"] == {"reason": "max_output_tokens"}
    assert got[-1]["response"]["usage"]["output_tokens"] == 7


def test_a_chat_that_is_cut_in_a_call_ends_with_length() -> None:
    last = next(index for index, each in enumerate(SPOKEN[M]) if ":1}" in str(each))
    *_, end, done = cut(C, M, SPOKEN[M][: last + 1])
    assert (end["choices"][0]["finish_reason"], done) == ("length", "[DONE]")


def test_pieces_that_waited_are_told_when_the_answer_is_cut() -> None:
    got = cut(M, C, INTERLEAVED[:4])
    pieces = [each["delta"]["partial_json"] for each in got if each["type"] == "content_block_delta"]
    assert pieces == ['{"a"', ":1", '{"b"']
    assert kinds(got[-4:]) == ["content_block_delta", "content_block_stop", "message_delta", "message_stop"]


def test_a_custom_call_that_is_cut_tells_its_text_as_far_as_it_came() -> None:
    events = [call_piece(0, '{"input":"ls -', "a", "patch"), call_piece(0, "l\\u00"), call_piece(0, 'e4"}')]
    item = cut(R, C, events, tools=[{"type": "custom", "name": "patch"}])[-1]["response"]["output"][0]
    assert (item["input"], item["status"]) == ("ls -l", "incomplete")


@ways
def test_an_answer_that_is_cut_in_its_first_words_has_a_begin_and_an_end(client: str, vendor: str) -> None:
    first = next(index for index, each in enumerate(SPOKEN[vendor]) if says(each))
    got = cut(client, vendor, SPOKEN[vendor][: first + 1])
    match client:
        case "openai_chat":
            assert (got[0]["choices"][0]["delta"], got[-2]["choices"][0]["finish_reason"]) == (
                {"role": "assistant", "content": ""},
                "length",
            )
        case "anthropic_messages":
            assert kinds(got)[0] == "message_start"
            assert kinds(got)[-2:] == ["message_delta", "message_stop"]
        case _:
            assert (kinds(got)[0], kinds(got)[-1]) == ("created", "incomplete")


@ways
@pytest.mark.parametrize("is_unsent", [True, False])
def test_a_stream_that_cannot_go_on_says_so_in_the_clients_words(client: str, vendor: str, *, is_unsent: bool) -> None:
    answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
    length = next(index for index, each in enumerate(SPOKEN[vendor]) if " you" in str(each)) + 1
    numbers = [each.get("sequence_number") for each in events_in(feed(answer, SPOKEN[vendor][: length + (not is_unsent)]))]
    [last] = events_in(answer.interrupted(vendor_failed("It broke off."), "id-1"))
    match client:
        case "openai_chat":
            assert last["error"]["message"] == "It broke off."
        case "anthropic_messages":
            assert (last["type"], last["error"]["type"], last["request_id"]) == ("error", "api_error", "id-1")
        case _:
            assert (last["type"], last["sequence_number"]) == ("response.failed", numbers[-1] + 1)
            assert last["response"]["error"] == {"code": "vendor_error", "message": "It broke off."}
            texts = [item["content"][0]["text"] for item in last["response"]["output"] if item["type"] == "message"]
            assert texts == ["Hello" if is_unsent else "Hello you"]


@ways
def test_a_fault_of_the_vendor_and_what_is_no_event_stay_what_they_are(client: str, vendor: str) -> None:
    answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
    error = {"type": "error", "error": {"message": "Overloaded", "type": "overloaded_error"}}
    assert answer.feed(Event("error", msgspec.json.encode(error))).fault is not None
    with pytest.raises(VendorFailure):
        answer.feed(Event("", b'{"type": '))


@pytest.mark.parametrize(
    ("vendor", "event"),
    [
        (M, {"type": "content_block_delta", "index": 0, "delta": "text"}),
        (M, {"type": "content_block_start", "index": [], "content_block": {"type": "text"}}),
        (M, {"type": "message_delta", "delta": ["end"], "usage": {"output_tokens": 1}}),
        (R, {"type": "response.output_item.added", "item": {}}),
        (R, {"type": "response.output_text.delta", "delta": "x"}),
    ],
)
def test_an_event_outside_the_dialect_is_no_answer(vendor: str, event: dict[str, Any]) -> None:
    answer = translated(C, vendor, stream=True).answer(endpoint(vendor))
    if vendor == M:
        feed(answer, SPOKEN[M][:2])
    with pytest.raises(VendorFailure, match="garbage"):
        answer.feed(Event(event["type"], msgspec.json.encode(event)))


@ways
def test_what_is_told_was_counted_by_the_vendors_dialect(client: str, vendor: str) -> None:
    answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
    fed = list(steps(answer, SPOKEN[vendor]))
    said, thought = "".join(step.said for step in fed), "".join(step.thought for step in fed)
    assert (said, thought, sum(step.calls for step in fed)) == ('Hello youweather{"city":1}', "Hm, rain", 1)
    assert any(step.finished for step in fed)


# Thought that comes back


def sent_back(client: str, answer: Any) -> list[Any]:
    """A client's next turns after an answer with a call."""
    if client == M:
        result = {"type": "tool_result", "tool_use_id": "call_1", "content": "snow"}
        return [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": [result]}]
    return [*answer["output"], {"type": "function_call_output", "call_id": "call_1", "output": "snow"}]


HELLO: dict[str, list[Any]] = {M: [{"role": "user", "content": "Hi"}], R: [{"role": "user", "content": "Hi"}]}
RETURNING = [(client, vendor) for client, vendor in WAYS if client != C]


def next_request(client: str, vendor: str, turns: list[Any], vendor_id: str = "vendor", model_id: str = "model") -> Any:
    """The turns that a vendor is sent."""
    fields = {"input" if client == R else "messages": [*HELLO[client], *turns]}
    request = translated(client, vendor, **fields).vendor_request(endpoint(vendor, vendor_id), "vendor-m", None, streamed=False)
    sent = msgspec.json.decode(request.body.content)
    return sent["input" if vendor == R else "messages"]


def proofs(vendor: str, turns: list[Any]) -> list[Any]:
    """The proofs of thought in a vendor's turns."""
    match vendor:
        case "openai_chat":
            return [turn["reasoning_content"] for turn in turns if "reasoning_content" in turn]
        case "openai_responses":
            return [(item["summary"], item["encrypted_content"]) for item in turns if item["type"] == "reasoning"]
    blocks = [block for turn in turns if turn["role"] == "assistant" for block in turn["content"]]
    return [(block["thinking"], block["signature"]) for block in blocks if block["type"] == "thinking"]


THOUGHT = {
    C: "Hm, rain",
    M: ("Hm, rain", "proof"),
    R: ([{"type": "summary_text", "text": "Hm, rain"}], "e" * 40),
}


@pytest.mark.parametrize(("client", "vendor"), RETURNING)
def test_thought_comes_back_to_the_vendor_that_made_it_and_to_no_other(client: str, vendor: str) -> None:
    answer = whole(client, vendor, SPOKEN[vendor])
    turns = sent_back(client, answer)
    assert proofs(vendor, next_request(client, vendor, turns)) == [THOUGHT[vendor]]
    assert proofs(vendor, next_request(client, vendor, turns, vendor_id="another")) == []
    [other] = {C, M, R} - {client, vendor}
    assert proofs(other, next_request(client, other, turns)) == []


@pytest.mark.parametrize(("client", "vendor"), RETURNING)
@pytest.mark.parametrize("broken", ["cut", "changed", "foreign"])
def test_thought_whose_proof_is_broken_or_foreign_is_left_out(client: str, vendor: str, broken: str) -> None:
    answer = whole(client, vendor, SPOKEN[vendor])
    thought, name = (answer["content"][0], "signature") if client == M else (answer["output"][0], "encrypted_content")
    sealed = thought[name]
    thought[name] = {"cut": sealed[:-1], "changed": sealed + "x", "foreign": "EqQBCkYIBxgC"}[broken]
    turns = next_request(client, vendor, sent_back(client, answer))
    assert proofs(vendor, turns) == []
    # The call itself is still there.
    assert "weather" in str(turns)


def test_thought_that_led_to_no_call_does_not_go_back_to_a_chat() -> None:
    answer = whole(M, C, [chunk(reasoning_content="Hm"), chunk(content="Hi"), chunk("stop")])
    turns = [{"role": "assistant", "content": answer["content"]}, {"role": "user", "content": "And?"}]
    assert proofs(C, next_request(M, C, turns)) == []


@pytest.mark.parametrize("client", [M, R])
def test_the_signature_of_a_call_comes_back_with_it(client: str) -> None:
    signed: Any = {"extra_content": {"google": {"thought_signature": "c2lnbmVk"}}}
    events = [call_piece(0, '{"city":1}', "call_1", **signed), chunk("tool_calls")]
    answer = whole(client, C, events)
    [called] = [turn for turn in next_request(client, C, sent_back(client, answer)) if turn.get("tool_calls")]
    assert called["tool_calls"][0]["extra_content"] == signed["extra_content"]
    # The same in a stream.
    streamed = told(client, C, events)
    assert any("tl1.c." in str(each) for each in streamed)


def test_hidden_thinking_comes_back_as_it_was() -> None:
    events = message(block(0, {"type": "redacted_thinking", "data": "hidden"}), reason="end_turn")
    answer = whole(R, M, events)
    [thought] = answer["output"]
    assert (thought["type"], thought["summary"]) == ("reasoning", [])
    turns = [thought, {"role": "assistant", "content": "x"}, {"role": "user", "content": "And?"}]
    sent = next_request(R, M, turns)
    assert sent[1]["content"][0] == {"type": "redacted_thinking", "data": "hidden"}


def test_a_vendor_of_responses_is_asked_for_proofs_where_the_client_can_keep_them() -> None:
    assert body(M, R)["include"] == ["reasoning.encrypted_content"]
    assert "include" not in body(C, R)


def test_a_call_of_a_grouped_tool_is_told_in_its_group() -> None:
    tool = {"type": "function", "name": "spawn", "parameters": None}
    group = {"type": "namespace", "name": "agents", "tools": [tool]}
    events = [call_piece(0, "{}", "a", "agents__spawn"), chunk("tool_calls")]
    for item in (whole(R, C, events, tools=[group])["output"][0], told(R, C, events, tools=[group])[-1]["response"]["output"][0]):
        assert (item["type"], item["namespace"], item["name"]) == ("function_call", "agents", "spawn")


@ways
def test_an_answer_that_is_given_up_leaves_no_circle(client: str, vendor: str) -> None:
    gc.collect()
    gc.disable()
    try:
        answer = translated(client, vendor, stream=True).answer(endpoint(vendor))
        feed(answer, SPOKEN[vendor][:6])
        left = weakref.ref(answer)
        telling = weakref.ref(answer._telling)  # type: ignore[attr-defined]  # the part that keeps what is told
        del answer
        assert (left(), telling()) == (None, None)
    finally:
        gc.enable()


@pytest.mark.parametrize("vendor", [M, R])
def test_running_usage_is_told_to_a_chat_that_asks_for_it(vendor: str) -> None:
    options = {"continuous_usage_stats": True}
    answer = translated(C, vendor, stream=True, stream_options=options).answer(endpoint(vendor))
    assert answer.tells_usage is not None
    out = b"".join(answer.tells_usage(step.out, USED) for step in steps(answer, SPOKEN[vendor]))
    *events, done = events_in(out + answer.end(Ending.COMPLETE, USED))
    assert ({each["usage"]["completion_tokens"] for each in events}, done) == ({7}, "[DONE]")
    assert translated(M, C).answer(endpoint(C)).tells_usage is None
