"""Usage in every chunk of chat completions and completions, where `continuous_usage_stats` asks for it."""

import json
from typing import Any

import pytest

from services.edge.call.dialect import Body, Ending
from services.edge.dialects.completions.dialect import Completions
from services.edge.vendors.events import Event
from tests.edge.dialects.answers import ENDPOINT, request

OPTIONS = {"stream": True, "stream_options": {"continuous_usage_stats": True}}
USED = (7, 0, 0, 5, 0)
RUNNING = (3, 1, 0, 2, 1)


def event(**members: Any) -> Event:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return Event("", json.dumps({**head, **members}).encode())


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}


def events(out: bytes) -> list[Any]:
    """The data of each event; text where it is no JSON."""
    data = [each.removeprefix("data: ") for each in out.decode().split("\n\n") if each]
    return [each if each == "[DONE]" else json.loads(each) for each in data]


def test_a_chunk_gets_the_usage_so_far_and_keeps_all_else_to_the_letter() -> None:
    answer = request(**OPTIONS).answer(ENDPOINT)
    tells_usage = answer.tells_usage
    assert tells_usage is not None
    sent = b'data: {"id":"c", "choices":[{"index":0,"delta":{"content":"\\u00fc"},"n":1.50}]}\n\n'
    out = tells_usage(sent, RUNNING)
    assert b'"choices":[{"index":0,"delta":{"content":"\\u00fc"},"n":1.50}]' in out
    (told,) = events(out)
    assert told.pop("usage") == {
        "prompt_tokens": 4,
        "completion_tokens": 3,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    assert [told] == events(sent)


def test_the_meters_usage_stands_in_place_of_the_vendors_and_in_each_of_several_chunks() -> None:
    answer = request(**OPTIONS).answer(ENDPOINT)
    assert answer.tells_usage is not None
    # The first chunk has no ID, so it waits for one.
    answer.feed(Event("", b'{"choices":[]}'))
    vendors = {"prompt_tokens": 90, "completion_tokens": 80, "total_tokens": 170}
    step = answer.feed(event(choices=[said("one \n\n two")], usage=vendors))
    told = events(answer.tells_usage(step.out, RUNNING))
    assert [each["usage"]["total_tokens"] for each in told] == [7] * len(told)
    assert told[-1]["choices"][0]["delta"]["content"] == "one \n\n two"


def test_the_last_chunk_is_the_charge_and_those_before_it_have_it_too() -> None:
    answer = request(**OPTIONS).answer(ENDPOINT)
    answer.feed(event(choices=[said("one")]))
    finish, usage, done = events(answer.end(Ending.CUT, USED))
    assert (finish["choices"][0]["finish_reason"], finish["usage"]["completion_tokens"]) == ("length", 5)
    assert (usage["choices"], usage["usage"]["total_tokens"], done) == ([], 12, "[DONE]")


@pytest.mark.parametrize("options", [{}, {"include_usage": True}, {"continuous_usage_stats": False}])
def test_who_does_not_ask_has_chunks_as_they_come(options: dict[str, Any]) -> None:
    answer = request(stream=True, stream_options=options).answer(ENDPOINT)
    assert answer.tells_usage is None
    answer.feed(event(choices=[said("one")]))
    assert "usage" not in events(answer.end(Ending.CUT, USED))[0]


def test_completions_tell_it_too() -> None:
    body = json.dumps({"model": "m", "prompt": "Once", **OPTIONS}).encode()
    answer = Completions().read(Body(body, "application/json"), {}).answer(ENDPOINT)
    assert answer.tells_usage is not None
    text = {"index": 0, "text": " upon", "finish_reason": None}
    step = answer.feed(event(object="text_completion", choices=[text]))
    (told,) = events(answer.tells_usage(step.out, RUNNING))
    assert (told["choices"][0]["text"], told["usage"]["prompt_tokens"], told["usage"]["completion_tokens"]) == (" upon", 4, 3)
