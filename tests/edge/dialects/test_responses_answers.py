"""Answers of OpenAI's responses: what counts once, what is mended, how they end."""

import hashlib
from typing import Any

import msgspec
import pytest
from openai.types.responses import Response

from services.edge.call.dialect import Answer, Ending
from services.edge.dialects.metadata import FREE_BYTES
from services.edge.dialects.responses.output import Output
from services.edge.http.problems import vendor_failed
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import NOTHING
from tests.edge.dialects.anthropic_answers import events_of
from tests.edge.dialects.responses_answers import (
    CALL,
    ENDPOINT,
    INSTRUCTIONS,
    MESSAGE,
    OUTPUT,
    PART,
    THOUGHT,
    TOOL,
    USAGE,
    USED,
    answer,
    begun,
    ended,
    feed,
    numbered,
    of_call,
    of_message,
    of_thought,
    request,
    response,
    stream,
)

MORE = "and so on " * 20


def told_events(*events: dict[str, Any]) -> bytes:
    """Events on the wire, as they came."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (each["type"].encode(), msgspec.json.encode(each)) for each in events)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in events]


# What counts


@pytest.mark.parametrize("streamed", [True, False])
def test_what_is_told_five_times_counts_once(*, streamed: bool) -> None:
    to = answer(streamed=streamed)
    fed = feed(to, *stream())
    assert (fed.said, fed.thought, fed.opaque_bytes, fed.calls) == ('Hello youweather{"city":1}', "Hm, rain", 40, 1)
    assert (fed.finished, fed.ended, fed.faults) == (True, True, [])
    assert fed.counted is not None
    assert fed.counted.counts == USED


def test_events_are_relayed_as_they_came_and_the_last_one_at_the_end() -> None:
    to = answer(streamed=True)
    assert feed(to, *stream()).out == told_events(*stream()[:-1])
    assert to.end(Ending.COMPLETE, USED) == told_events(stream()[-1])


def again(kind: str, telling: str) -> dict[str, Any]:
    """A later telling of a message's text."""
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    part = {**PART, "text": telling}
    item = {**MESSAGE, "content": [part]}
    members: dict[str, dict[str, Any]] = {
        "response.output_text.done": {**place, "text": telling},
        "response.content_part.done": {**place, "part": part},
        "response.output_item.done": {"output_index": 1, "item": item},
        "response.completed": {"response": response("completed", [THOUGHT, item])},
        "response.incomplete": {"response": response("incomplete", [THOUGHT, item])},
    }
    return {"type": kind, **members[kind]}


@pytest.mark.parametrize(
    "kind",
    [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
        "response.incomplete",
    ],
)
@pytest.mark.parametrize(
    ("telling", "said"),
    [("Hello you", ""), ("Hello", ""), ("Hello you" + MORE, MORE), (MORE, MORE), ("hello you", "hello you")],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_later_telling_counts_what_is_new_in_it(kind: str, telling: str, said: str, *, streamed: bool) -> None:
    to = answer(streamed=streamed)
    feed(to, *numbered([*begun(), *of_thought(), *of_message()[:4]]))
    assert feed(to, again(kind, telling)).said == said
    if not kind.startswith(("response.comp", "response.inc")):
        # The same telling is free once.
        assert feed(to, again(kind, telling)).said == telling


@pytest.mark.parametrize(
    ("events", "said", "thought", "opaque_bytes", "calls"),
    [
        ([{"type": "response.refusal.delta", "output_index": 0, "content_index": 0, "delta": "No."}], "No.", "", 0, 0),
        ([{"type": "response.reasoning_text.delta", "output_index": 0, "content_index": 0, "delta": "Hm"}], "", "Hm", 0, 0),
        ([{"type": "response.custom_tool_call_input.delta", "output_index": 0, "delta": "ls"}], "ls", "", 0, 0),
        (
            [{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": ["He", {"x": "llo"}]}],
            "lloHe",
            "",
            0,
            0,
        ),
        ([{"type": "response.output_text.delta", "delta": "He", "more": "llo"}], "Hello", "", 0, 0),
        ([{"type": "response.song.delta", "verse": "La"}], "La", "", 0, 0),
        ([{"type": "keepalive", "note": "Hidden"}], "Hidden", "", 0, 0),
        ([{"type": "response.output_item.added", "output_index": 0, "item": "Hidden"}], "Hidden", "", 0, 0),
        ([{"type": "response.created", "response": "Hidden"}], "Hidden", "", 0, 0),
        ([{"type": "response.created", "response": {"output": "Hidden"}}], "Hidden", "", 0, 0),
        ([{"type": "response.output_item.added", "output_index": 0, "item": {"type": "song", "verse": "La"}}], "La", "", 0, 0),
        ([{"type": "response.output_item.done", "output_index": 0, "item": THOUGHT}], "", "Hm, rain", 40, 0),
        ([{"type": "response.output_item.done", "output_index": 0, "item": CALL}], 'weather{"city":1}', "", 0, 1),
        ([{"type": "response.output_item.done", "output_index": 0, "item": {"type": "web_search_call", "id": "ws"}}], "", "", 0, 1),
        ([{"type": "response.output_item.done", "output_index": 5_000, "item": CALL}] * 2, 'weather{"city":1}' * 2, "", 0, 2),
        (
            [{"type": "response.output_text.annotation.added", "output_index": 0, "annotation": {"title": "Rain", "url": "u"}}],
            "uRain",
            "",
            0,
            0,
        ),
        ([{"type": "response.output_text.delta", "delta": "", "logprobs": [{"token": "Hidden"}]}], "Hidden", "", 0, 0),
        ([{"type": "response.in_progress", "n" * 65: 1}], "n" * 65, "", 0, 0),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_every_text_that_a_client_gets_counts(
    events: list[dict[str, Any]], said: str, thought: str, opaque_bytes: int, calls: int, *, streamed: bool
) -> None:
    fed = feed(answer(streamed=streamed), *events)
    assert sorted(fed.said) == sorted(said)
    assert (fed.thought, fed.opaque_bytes, fed.calls) == (thought, opaque_bytes, calls)


def test_annotations_count_once() -> None:
    to = answer(streamed=True)
    cited = {"type": "url_citation", "title": "Rain", "url": "https://rain.test"}
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    feed(to, *begun(), *of_thought(), *of_message()[:4])
    added = {"type": "response.output_text.annotation.added", **place, "annotation_index": 0, "annotation": cited}
    assert sorted(feed(to, added).said) == sorted("Rainhttps://rain.test")
    assert feed(to, {"type": "response.content_part.done", **place, "part": {**PART, "annotations": [cited]}}).said == ""


def words(*texts: str) -> list[dict[str, Any]]:
    """Items of one word each."""
    return [{"type": "message", "id": f"msg_{text}", "content": [{"type": "output_text", "text": text}]} for text in texts]


# One that has lost its place to another is not known any more.
@pytest.mark.parametrize(("index", "said"), [(0, "yesyesno"), (1, "yesno"), (7, "yesno"), (None, "yesno")])
def test_items_in_the_order_of_a_text_count_as_the_text(index: int | None, said: str) -> None:
    to = answer(streamed=True)
    yes, no = words("yes", "no")
    feed(to, *({"type": "response.output_item.added", "output_index": at, "item": item} for at, item in enumerate((yes, no))))
    spelled = [no, yes, yes, no]
    fed = feed(to, *({"type": "response.output_item.done", "output_index": index, "item": item} for item in spelled))
    # The first telling of each ends it.
    assert fed.said == said


@pytest.mark.parametrize("kind", ["response.output_item.added", "response.content_part.added", "response.in_progress"])
def test_a_begin_that_tells_what_is_known_counts(kind: str) -> None:
    to = answer(streamed=True)
    feed(to, *begun(), *of_thought(), *of_message()[:4])
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0}
    told = {"part": PART, "item": MESSAGE, "response": response(output=[MESSAGE])}
    name = {"response.output_item.added": "item", "response.content_part.added": "part", "response.in_progress": "response"}[kind]
    assert feed(to, {"type": kind, **place, name: told[name]}).said == "Hello you"


def test_the_requests_own_words_in_the_order_of_a_text_count() -> None:
    to = request(stream=True, metadata=dict.fromkeys(("y" * 65, "n" * 65), "")).answer(ENDPOINT)
    texts: list[dict[str, Any]] = [{"metadata": {"y" * 65: ""}}, {}, {"metadata": {"n" * 65: ""}}, {}, {"metadata": {"y" * 65: ""}}]
    fed = feed(to, *({"type": "response.in_progress", "response": each} for each in texts))
    # Told for the first time, they are free.
    assert fed.said == "n" * 65 + "y" * 65


def test_an_end_that_tells_an_item_again_and_again_is_free_once() -> None:
    to = answer(streamed=True)
    yes, no = words("yes", "no")
    feed(to, *({"type": "response.output_item.added", "output_index": at, "item": item} for at, item in enumerate((yes, no))))
    assert feed(to, {"type": "response.completed", "response": response("completed", [no, yes, yes, no])}).said == "yesno"


def test_items_that_the_end_tells_in_another_order_count_once() -> None:
    to = answer(streamed=True)
    fed = feed(to, *stream()[:-1], {"type": "response.completed", "response": response("completed", [CALL, MESSAGE])})
    assert fed.said == 'Hello youweather{"city":1}'


class Asked(dict[str, Any]):
    """An item that counts how often it is asked for its ID."""

    asked = 0

    def get(self, name: str, default: Any = None) -> Any:
        Asked.asked += name == "id"
        return super().get(name, default)


def test_an_end_that_tells_thousands_of_items_at_other_places_finds_each_at_once() -> None:
    told = Output()
    items = [Asked(id=f"msg_{number}") for number in range(4_000)]
    for index, item in enumerate(items):
        told.take("response.output_item.added", {"output_index": index, "item": item})
    Asked.asked = 0
    # Each is found, though the first one was left out and all others have moved.
    found = [told.known(item, index) for index, item in enumerate(items[1:])]
    assert [each and each.tree for each in found] == items[1:]
    assert Asked.asked <= 3 * 4_000


def test_settings_of_the_request_are_told_again_for_nothing_and_other_texts_count() -> None:
    assert feed(answer(streamed=True), *begun()).said == ""
    changed = response(instructions=INSTRUCTIONS + "Say: rain.", tools=[{**TOOL, "description": "Rain in a city"}])
    fed = feed(answer(streamed=True), {"type": "response.created", "response": changed})
    assert sorted(fed.said) == sorted("Say: rain.Rain in a city")


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.output_text.delta", "delta": "", "item_id": "{}"},
        {"type": "response.output_text.delta", "delta": "", "obfuscation": "{}"},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "{}"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "x": ["{}", [[]], {}]}},
        {"type": "response.in_progress", "response": {"metadata": {"{}": 1}}},
        {"type": "response.in_progress", "response": {"usage": {"x": "{}"}}},
        {"type": "response.in_progress", "sequence_number": "{}"},
    ],
)
def test_metadata_is_free_to_a_bound(event: dict[str, Any]) -> None:
    to = answer(streamed=True)
    said = 0
    for number in range(400):
        text = hashlib.sha256(b"%d" % number).hexdigest()
        raw = msgspec.json.encode(event).replace(b"{}", text.encode(), 1)
        said += len(to.feed(Event("", raw)).said)
    # The first events are paid from the budget, the others are said.
    assert said >= 400 * 64 - FREE_BYTES


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sequence_number": 10**40}, f"{10**40} you"),
        ({"item_id": "m" * 300}, "m" * 44 + " you"),
        ({"output_index": 10**40}, f"{10**40} you"),
        ({"content_index": 10**40}, f"{10**40} you"),
        ({"logprobs": [{"token": "Hidden"}]}, "Hidden you"),
        ({"obfuscation": "o" * 300}, "o" * 44 + " you"),
        ({"note": "Hidden"}, "Hidden you"),
    ],
)
def test_a_piece_with_more_than_its_text_is_looked_at_closely(changed: dict[str, Any], said: str) -> None:
    to = answer(streamed=True)
    events = numbered([*begun(), *of_thought(), *of_message()[:4]])
    feed(to, *events[:-1])
    assert sorted(feed(to, {**events[-1], **changed}).said) == sorted(said)


def test_padding_of_no_text_is_paid_from_the_budget() -> None:
    to = answer(streamed=True)
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0, "delta": ""}
    paddings = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(200)]
    events = numbered([{"type": "response.output_text.delta", **place, "obfuscation": each} for each in paddings])
    assert len(feed(to, *events).said) >= 200 * 64 - FREE_BYTES


def test_a_long_honest_answer_is_not_charged_for_its_frames() -> None:
    to = answer(streamed=True)
    events = begun()
    words = [f"word{number} " for number in range(1_000)]
    items = []
    for index in range(20):
        own = words[index * 50 : index * 50 + 50]
        place = {"item_id": f"msg_{hashlib.sha256(b'%d' % index).hexdigest()}", "output_index": index, "content_index": 0}
        item = {**MESSAGE, "id": place["item_id"], "content": [{**PART, "text": "".join(own)}]}
        added, part, first, *_ = of_message(index)
        events += [{**added, "item": {**item, "status": "in_progress", "content": []}}, {**part, **place}]
        paddings = [hashlib.sha256(each.encode()).hexdigest()[:16] for each in own]
        events += [{**first, **place, "delta": each, "obfuscation": padding} for each, padding in zip(own, paddings, strict=True)]
        events += [
            {"type": "response.output_text.done", **place, "text": "".join(own), "logprobs": []},
            {"type": "response.content_part.done", **place, "part": item["content"][0]},  # type: ignore[index]
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
        items.append(item)
    fed = feed(to, *numbered([*events, {"type": "response.completed", "response": response("completed", items, usage=USAGE)}]))
    assert fed.said == "".join(words)


# What is mended


def test_numbers_rise_whatever_the_vendor_writes() -> None:
    to = answer(streamed=True)
    events = [{**each, "sequence_number": number} for each, number in zip(of_message(), [5, 5, 3, 9, None, "x", -1], strict=True)]
    assert [each["sequence_number"] for each in events_of(feed(to, *events).out)] == [5, 6, 7, 9, 10, 11, 12]
    [last] = events_of((feed(to, ended()), to.end(Ending.COMPLETE, USED))[1])
    assert last["sequence_number"] == 13


def test_an_end_without_output_is_told_with_that_which_came() -> None:
    to = answer(streamed=True)
    feed(to, *stream()[:-1], {"type": "response.completed", "response": response("completed", [], usage=USAGE)})
    [last] = events_of(to.end(Ending.COMPLETE, USED))
    assert last["response"]["output"] == OUTPUT


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 9, "output_tokens": 8, "total_tokens": 17}, {"output_tokens": 7}])
@pytest.mark.parametrize("streamed", [True, False])
def test_the_usage_is_that_which_is_charged(usage: Any, *, streamed: bool) -> None:
    to = answer(streamed=streamed)
    feed(to, *stream()[:-1], {**ended(), "response": response("completed", OUTPUT, usage=usage)})
    body = to.end(Ending.COMPLETE, USED)
    told = events_of(body)[0]["response"] if streamed else msgspec.json.decode(body)
    assert told["usage"] == USAGE


def test_a_usage_at_a_place_of_the_vendors_own_counts() -> None:
    to = answer(streamed=True, reading=UsageReading(places=(("x_count",),)))
    fed = feed(to, *stream()[:-1], {"type": "response.completed", "response": response("completed", OUTPUT), "x_count": USAGE})
    assert fed.counted is not None
    assert fed.counted.counts == USED


def test_a_whole_answer_is_assembled_from_events() -> None:
    to = answer(streamed=False)
    assert feed(to, *stream()).out == b""
    assert (to.content_type, msgspec.json.decode(to.end(Ending.COMPLETE, USED))) == ("application/json", ended()["response"])


def test_a_count_of_the_input_is_none_of_the_output_that_came_since_the_last_one() -> None:
    to = answer(streamed=True)
    *before, last = of_message(0)
    first = feed(to, *numbered([*begun(), *before[:3], {**before[3], "usage": {"input_tokens": 9, "output_tokens": 2}}])).counted
    assert first is not None
    assert first.has_output
    later = feed(to, *before[3:], last, {"type": "response.completed", "response": response(usage={"input_tokens": 9})}).counted
    assert later is not None
    assert (later.has_input, later.has_output) == (True, False)


def test_what_comes_after_the_end_is_neither_delivered_nor_counted() -> None:
    to = answer(streamed=True)
    feed(to, *stream())
    fed = feed(to, *of_message(), {"type": "late", "usage": {**USAGE, "output_tokens": 8, "total_tokens": 17}})
    assert (fed.out, fed.said, fed.ended) == (b"", "", True)
    assert fed.counted is not None
    assert fed.counted.counts == (5, 4, 0, 5, 3)


@pytest.mark.parametrize(
    ("event", "code", "message"),
    [
        ({"type": "error", "code": "server_error", "message": "Broken", "param": None}, "server_error", "Broken"),
        ({"type": "error", "error": {"code": "busy", "message": "Busy"}}, "busy", "Busy"),
        (
            {"type": "response.failed", "response": response("failed", error={"code": "server_error", "message": "Oh"})},
            "server_error",
            "Oh",
        ),
        ({"type": "response.failed", "response": None}, "", ""),
    ],
)
def test_an_error_is_the_vendors_fault_and_not_relayed(event: dict[str, Any], code: str, message: str) -> None:
    fed = feed(answer(streamed=True), event)
    assert fed.out == b""
    assert [(fault.code, fault.message) for fault in fed.faults] == [(code, message)]


# How an answer ends


def end_of(to: Answer, used: Any = USED) -> list[dict[str, Any]]:
    return events_of(to.end(Ending.CUT, used))


def test_a_cut_ends_what_is_open_and_then_the_response() -> None:
    to = answer(streamed=True)
    events = numbered([*begun(), *of_thought(), *of_message()[:4]])
    sent = events_of(feed(to, *events, {"type": "keepalive", "sequence_number": len(events)}).out)
    rest = end_of(to)
    assert kinds(rest) == ["output_text.done", "content_part.done", "output_item.done", "incomplete"]
    assert [each["sequence_number"] for each in sent + rest] == list(range(len(sent) + 4))
    assert (rest[0]["text"], rest[1]["part"], rest[0]["content_index"]) == ("Hello you", PART, 0)
    cut = {**MESSAGE, "status": "incomplete"}
    assert (rest[2]["item"], rest[2]["output_index"]) == (cut, 1)
    last = rest[3]["response"]
    assert (last["status"], last["incomplete_details"], last["output"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
        [THOUGHT, cut],
    )
    assert (last["usage"], last["id"]) == (USAGE, "resp_1")
    Response.model_validate({**last, "parallel_tool_calls": True})


@pytest.mark.parametrize("streamed", [True, False])
def test_a_cut_event_with_output_is_no_part_of_the_answer(*, streamed: bool) -> None:
    to = answer(streamed=streamed)
    events = numbered([*begun(), *of_thought(), *of_message()[:4]])
    feed(to, *events)
    body = to.end(Ending.CUT, USED)
    last = events_of(body)[-1]["response"] if streamed else msgspec.json.decode(body)
    assert last["output"][1]["content"] == [{**PART, "text": "Hello"}]
    if streamed:
        # Its number is taken by the first event that the client gets instead.
        assert events_of(body)[0]["sequence_number"] == events[-1]["sequence_number"]


def test_an_end_that_says_more_is_not_told_after_a_cut() -> None:
    to = answer(streamed=True)
    feed(
        to, *stream()[:-1], {"type": "response.completed", "response": response("completed", [*OUTPUT, {**MESSAGE, "id": "msg_2"}])}
    )
    [last] = end_of(to)
    assert (last["type"], last["response"]["output"]) == ("response.incomplete", OUTPUT)


@pytest.mark.parametrize(
    ("events", "closed"),
    [
        (of_call(0)[:3], ["function_call_arguments.done", "output_item.done"]),
        (of_call(0)[:4], ["output_item.done"]),
        (of_call(0), []),
        (of_thought()[:4], ["reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"]),
        (of_thought()[:5], ["reasoning_summary_part.done", "output_item.done"]),
        (of_thought()[:6], ["output_item.done"]),
        (of_message(0)[:1], ["output_item.done"]),
    ],
)
def test_only_what_is_open_is_closed(events: list[dict[str, Any]], closed: list[str]) -> None:
    to = answer(streamed=True)
    feed(to, *begun(), *events, {"type": "keepalive"})
    assert kinds(end_of(to)) == [*closed, "incomplete"]


def test_a_cut_before_the_vendor_began_begins_the_response() -> None:
    to = answer(streamed=True)
    created, last = end_of(to, NOTHING)
    assert (created["type"], last["type"]) == ("response.created", "response.incomplete")
    assert created["response"]["id"] == last["response"]["id"]
    assert (created["sequence_number"], last["sequence_number"], last["response"]["model"]) == (0, 1, "m")


def test_an_interruption_is_told_as_failed() -> None:
    to = answer(streamed=True)
    events = numbered([*begun(), *of_thought(), *of_message()[:4]])
    feed(to, *events)
    [last] = events_of(to.interrupted(vendor_failed("It broke."), "charging-id"))
    assert (last["type"], last["response"]["status"], last["sequence_number"]) == ("response.failed", "failed", len(events))
    assert last["response"]["error"] == {"code": "vendor_error", "message": "It broke."}
    whole = msgspec.json.decode(answer(streamed=False).interrupted(vendor_failed("It broke."), "charging-id"))
    assert whole["error"]["message"] == "It broke."


# Answers that were not streamed


def test_a_whole_answer_counts_and_is_told_as_it_came() -> None:
    to = answer(streamed=False)
    step = to.feed_whole(msgspec.json.encode(ended()["response"]))
    assert sorted(step.said) == sorted('Hello youweather{"city":1}')
    assert (step.thought, step.opaque_bytes, step.calls, step.finished, step.ended) == ("Hm, rain", 40, 1, True, True)
    assert step.counted is not None
    assert step.counted.counts == USED
    assert msgspec.json.decode(to.end(Ending.COMPLETE, USED)) == ended()["response"]


@pytest.mark.parametrize(("status", "kind"), [("completed", "response.completed"), ("incomplete", "response.incomplete")])
def test_a_whole_answer_becomes_a_stream(status: str, kind: str) -> None:
    to = answer(streamed=True)
    whole = response(status, OUTPUT, usage=USAGE)
    step = to.feed_whole(msgspec.json.encode(whole))
    events = events_of(step.out + to.end(Ending.COMPLETE, USED))
    assert [each["sequence_number"] for each in events] == list(range(len(events)))
    assert (events[-1]["type"], events[-1]["response"]) == (kind, whole)
    again_told = feed(answer(streamed=True), *events)
    assert (again_told.said, again_told.thought, again_told.opaque_bytes) == ('Hello youweather{"city":1}', "Hm, rain", 40)
    assert kinds(events)[2:10] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
    ]


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (response("failed", error={"code": "server_error", "message": "Oh"}), "refused"),
        (response("queued"), "garbage"),
        (response("in_progress"), "garbage"),
        ({"object": "response", "status": "completed"}, "garbage"),
        ([], "garbage"),
        ("", "garbage"),
    ],
)
def test_what_is_no_whole_answer_is_none(body: Any, outcome: str) -> None:
    with pytest.raises(VendorFailure) as failed:
        answer(streamed=False).feed_whole(msgspec.json.encode(body))
    assert failed.value.outcome == outcome


def test_a_whole_answer_may_tell_the_settings_again() -> None:
    plain, long = request(instructions=""), request()
    assert long.whole_bytes_max(10) - plain.whole_bytes_max(10) == 6 * len(INSTRUCTIONS)
