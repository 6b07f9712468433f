"""Events without output: free as long as they are few, or repeat the one before."""

import msgspec
import pytest

from services.edge.call.dialect import Answer
from services.edge.call.vendor_stream import VendorStream
from services.edge.vendors.events import Event
from tests.edge.call.doubles import Asked, Script, ScriptedAnswer
from tests.edge.dialects.answers import ENDPOINT, streamed
from tests.edge.dialects.responses_answers import answer as responses_answer

TEXT = {"index": 0, "delta": {"content": "a"}, "finish_reason": None}
# Members in two orders tell a bit.
ORDERS = ({"content": None, "role": None}, {"role": None, "content": None})


def stream_of(answer: Answer) -> VendorStream:
    return VendorStream(ScriptedAnswer(Script(), Asked("", (), b"")), answer, lambda: 0, streamed=True)


def chunk(choice: object) -> Event:
    head = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return Event("", msgspec.json.encode({**head, "choices": [choice]}))


def silent(number: int) -> Event:
    return chunk({"index": 0, "delta": ORDERS[number % 2], "finish_reason": None})


async def test_events_that_differ_are_free_up_to_a_number_and_count_then() -> None:
    stream = stream_of(streamed().answer(ENDPOINT))
    said = [stream.feed(silent(number)).said for number in range(300)]
    assert said[:256] == [""] * 256
    assert [len(each) for each in said[256:]] == [16] * 44


async def test_an_event_with_output_makes_four_free() -> None:
    stream = stream_of(streamed().answer(ENDPOINT))
    for number in range(256):
        stream.feed(silent(number))
    for _ in range(3):
        assert stream.feed(chunk(TEXT)).said == "a"
    assert [bool(stream.feed(silent(number)).said) for number in range(13)] == [False] * 12 + [True]


async def test_an_event_that_repeats_the_one_before_is_free() -> None:
    stream = stream_of(streamed().answer(ENDPOINT))
    assert {stream.feed(silent(0)).said for _ in range(1_000)} == {""}


async def test_numbered_events_that_keep_a_connection_open_are_free() -> None:
    stream = stream_of(responses_answer(streamed=True))
    events = [Event("", b'{"type":"keepalive","sequence_number":%d}' % number) for number in range(1_000)]
    assert "".join(stream.feed(event).said for event in events) == ""


async def test_choices_in_the_order_of_a_text_count() -> None:
    stream = stream_of(streamed(n=2).answer(ENDPOINT))
    said = [stream.feed(chunk({"index": number % 2, "delta": {}, "finish_reason": None})).said for number in range(300)]
    assert [len(each) for each in said] == [0] * 256 + [16] * 44


async def test_events_that_the_client_does_not_get_are_free() -> None:
    stream = stream_of(streamed().answer(ENDPOINT))
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    held = Event("", chunk(None).data.replace(b"[null]", b'[],"usage":' + msgspec.json.encode(usage)))
    assert {stream.feed(held)[:2] for _ in range(1_000)} == {(b"", "")}
    assert {stream.feed(silent(number)).said for number in range(256)} == {""}


@pytest.mark.parametrize("items", [1, 50, 250])
async def test_an_honest_answer_of_many_short_items_is_not_charged_for_its_frames(items: int) -> None:
    stream = stream_of(responses_answer(streamed=True))
    said = ""
    number = 0
    for index in range(items):
        call = {"type": "function_call", "id": f"fc_{index}", "call_id": f"call_{index}", "name": "run", "status": "in_progress"}
        place = {"item_id": f"fc_{index}", "output_index": index}
        kind = "response.function_call_arguments"
        for event in (
            {"type": "response.output_item.added", "output_index": index, "item": {**call, "arguments": ""}},
            {"type": f"{kind}.delta", **place, "delta": "{}"},
            {"type": f"{kind}.done", **place, "arguments": "{}", "name": "run"},
            {"type": "response.output_item.done", "output_index": index, "item": {**call, "arguments": "{}"}},
        ):
            said += stream.feed(Event("", msgspec.json.encode({**event, "sequence_number": number}))).said
            number += 1
    assert said == "run{}" * items
