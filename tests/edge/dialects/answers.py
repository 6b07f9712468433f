"""Feeds bodies of vendors to an answer and reads what its client gets, as the official SDK joins it."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.edge.call.dialect import Answer, Body, Ending, Step
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.chat.request import ChatRequest
from services.edge.vendors.events import EventReader
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.usage import VendorCount
from services.edge.vendors.vendor import VendorFailure, VendorFault
from services.token_classes import Vector

ENDPOINT = Endpoint("vendor", "openai_chat", "http://vendor.test/v1")
MESSAGES = [{"role": "user", "content": "x"}]


def request(**fields: Any) -> ChatRequest:
    """A request that was read from JSON."""
    body = json.dumps({"model": "m", "messages": MESSAGES, **fields}).encode()
    return ChatCompletions().read(Body(body, "application/json"), {})


def streamed(*, usage: bool = False, **fields: Any) -> ChatRequest:
    """A request for a stream."""
    return request(stream=True, **({"stream_options": {"include_usage": True}} if usage else {}), **fields)


class Fed(NamedTuple):
    """What became of a body."""

    out: bytes
    said: str
    thought: str
    opaque_bytes: int
    calls: int
    counted: VendorCount | None
    finished: bool
    ended: bool
    fault: VendorFault | None
    # The body ended within an event.
    is_half: bool


def feed(answer: Answer, pieces: Iterable[bytes]) -> Fed:
    """Feeds a body that comes in pieces; stops at a fault."""
    reader = EventReader()
    steps: list[Step] = []
    for piece in pieces:
        for event in reader.feed(piece):
            steps.append(answer.feed(event))
            if steps[-1].fault is not None:
                return joined(steps)
    for event in reader.end():
        try:
            steps.append(answer.feed(event))
        except VendorFailure as failure:
            assert failure.outcome == "garbage"
            return joined(steps, is_half=True)
    return joined(steps)


def joined(steps: Sequence[Step], *, is_half: bool = False) -> Fed:
    """All steps as one."""
    return Fed(
        b"".join(step.out for step in steps),
        "".join(step.said for step in steps),
        "".join(step.thought for step in steps),
        sum(step.opaque_bytes for step in steps),
        sum(step.calls for step in steps),
        next((step.counted for step in reversed(steps) if step.counted is not None), None),
        any(step.finished for step in steps),
        any(step.ended for step in steps),
        steps[-1].fault if steps else None,
        is_half,
    )


class Choice(NamedTuple):
    """A choice as a client has it in the end."""

    content: str | None
    reasoning: str
    # (ID, name, arguments)
    calls: tuple[tuple[str, str, str], ...]
    finish_reason: str | None


class Got(NamedTuple):
    """What a client has in the end."""

    choices: dict[int, Choice]
    # The usage of the last chunk, or of the whole.
    usage: dict[str, Any] | None
    done: bool
    error: dict[str, Any] | None
    chunks: list[dict[str, Any]]


def read_stream(out: bytes) -> Got:
    """Reads a client's stream with the types of the official SDK."""
    assert out.endswith(b"\n\n") or not out
    choices: dict[int, dict[str, Any]] = {}
    chunks: list[dict[str, Any]] = []
    usage = error = None
    done = False
    for event in out.split(b"\n\n")[:-1]:
        assert event.startswith(b"data: ")
        assert b"\n" not in event
        assert not done, "nothing comes after [DONE]"
        if event == b"data: [DONE]":
            done = True
            continue
        chunk = json.loads(event[6:])
        if "error" in chunk:
            error = chunk["error"]
            continue
        ChatCompletionChunk.model_validate(chunk)
        chunks.append(chunk)
        usage = chunk.get("usage") if not chunk["choices"] else usage
        for choice in chunk["choices"]:
            _join(choices.setdefault(choice["index"], {"calls": {}}), choice)
    return Got({index: _choice(each) for index, each in choices.items()}, usage, done, error, chunks)


def _join(joined: dict[str, Any], choice: dict[str, Any]) -> None:
    delta = choice["delta"]
    for ours, theirs in (("content", "content"), ("reasoning", "reasoning_content"), ("reasoning", "reasoning")):
        if delta.get(theirs) is not None:
            joined[ours] = joined.get(ours, "") + delta[theirs]
    for piece in delta.get("tool_calls") or ():
        call = joined["calls"].setdefault(piece["index"], ["", "", ""])
        function = piece.get("function") or {}
        for place, value in enumerate((piece.get("id"), function.get("name"), function.get("arguments"))):
            call[place] += value or ""
    if choice.get("finish_reason"):
        joined["finish_reason"] = choice["finish_reason"]


def _choice(joined: dict[str, Any]) -> Choice:
    calls = tuple(tuple(joined["calls"][index]) for index in sorted(joined["calls"]))
    return Choice(joined.get("content"), joined.get("reasoning", ""), calls, joined.get("finish_reason"))


def read_whole(body: bytes) -> Got:
    """Reads a whole answer with the types of the official SDK."""
    whole = json.loads(body)
    ChatCompletion.model_validate(whole, strict=True)
    choices = {}
    for choice in whole["choices"]:
        message = choice["message"]
        calls = tuple(
            (call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls") or ()
        )
        reasoning = (message.get("reasoning_content") or "") + (message.get("reasoning") or "")
        choices[choice["index"]] = Choice(message["content"], reasoning, calls, choice["finish_reason"])
    return Got(choices, whole["usage"], True, None, [whole])


def ended(answer: Answer, fed: Fed, used: Vector = (10, 0, 0, 5, 0), ending: Ending = Ending.COMPLETE) -> Got:
    """What the client has after the end."""
    last = answer.end(ending, used)
    return read_stream(fed.out + last) if answer.content_type.startswith("text/event-stream") else read_whole(last)
