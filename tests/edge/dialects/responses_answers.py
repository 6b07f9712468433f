"""Answers of OpenAI's responses as tests feed them."""

from typing import Any

import msgspec

from services.edge.call.dialect import Answer, Body
from services.edge.dialects.responses.dialect import Responses
from services.edge.dialects.responses.request import ResponsesRequest
from services.edge.vendors.events import Event
from services.edge.vendors.profile import Endpoint, UsageReading
from tests.edge.dialects.anthropic_answers import Fed, joined

ENDPOINT = Endpoint("vendor", "openai_responses", "http://vendor/v1", output_limit_field="max_output_tokens")
TOOL = {"type": "function", "name": "weather", "description": "The weather of a city", "parameters": {"type": "object"}}
INSTRUCTIONS = "Be brief. " * 100
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 16,
}
# The same in classes: input, cached input, cache write, output, reasoning.
USED = (5, 4, 0, 4, 3)


def request(**fields: Any) -> ResponsesRequest:
    """A small request."""
    body = {"model": "m", "input": "Hello", "instructions": INSTRUCTIONS, "tools": [TOOL], **fields}
    return Responses().read(Body(msgspec.json.encode(body), "application/json"), {})


def answer(*, streamed: bool, reading: UsageReading | None = None) -> Answer:
    """An answer to a small request."""
    endpoint = ENDPOINT if reading is None else ENDPOINT._replace(usage=reading)
    return request(stream=streamed).answer(endpoint)


def feed(to: Answer, *events: dict[str, Any]) -> Fed:
    """Feeds events, each named by its type."""
    return joined([to.feed(Event(each.get("type", ""), msgspec.json.encode(each))) for each in events])


def response(status: str = "in_progress", output: Any = (), **changed: Any) -> dict[str, Any]:
    """A response object, with the request's settings told again."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": INSTRUCTIONS,
        "model": "vendor-m",
        "output": list(output),
        "tools": [{**TOOL, "strict": True}],
        "tool_choice": "auto",
        "usage": None,
        **changed,
    }


THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Hm, rain"}],
    "encrypted_content": "e" * 40,
}
PART = {"type": "output_text", "text": "Hello you", "annotations": [], "logprobs": []}
MESSAGE = {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [PART]}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city":1}',
    "status": "completed",
}
OUTPUT = [THOUGHT, MESSAGE, CALL]


def of_thought() -> list[dict[str, Any]]:
    """The events of an item of thought."""
    place = {"item_id": "rs_1", "output_index": 0, "summary_index": 0}
    return [
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "id": "rs_1", "summary": []}},
        {"type": "response.reasoning_summary_part.added", **place, "part": {"type": "summary_text", "text": ""}},
        {"type": "response.reasoning_summary_text.delta", **place, "delta": "Hm, "},
        {"type": "response.reasoning_summary_text.delta", **place, "delta": "rain"},
        {"type": "response.reasoning_summary_text.done", **place, "text": "Hm, rain"},
        {"type": "response.reasoning_summary_part.done", **place, "part": {"type": "summary_text", "text": "Hm, rain"}},
        {"type": "response.output_item.done", "output_index": 0, "item": THOUGHT},
    ]


def of_message(index: int = 1) -> list[dict[str, Any]]:
    """The events of a message."""
    place = {"item_id": "msg_1", "output_index": index, "content_index": 0}
    begun = {**MESSAGE, "status": "in_progress", "content": []}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        {"type": "response.content_part.added", **place, "part": {**PART, "text": ""}},
        {"type": "response.output_text.delta", **place, "delta": "Hello", "logprobs": [], "obfuscation": "aB3"},
        {"type": "response.output_text.delta", **place, "delta": " you", "logprobs": [], "obfuscation": "x"},
        {"type": "response.output_text.done", **place, "text": "Hello you", "logprobs": []},
        {"type": "response.content_part.done", **place, "part": PART},
        {"type": "response.output_item.done", "output_index": index, "item": MESSAGE},
    ]


def of_call(index: int = 2) -> list[dict[str, Any]]:
    """The events of a function's call."""
    place = {"item_id": "fc_1", "output_index": index}
    begun = {**CALL, "status": "in_progress", "arguments": ""}
    return [
        {"type": "response.output_item.added", "output_index": index, "item": begun},
        {"type": "response.function_call_arguments.delta", **place, "delta": '{"city"'},
        {"type": "response.function_call_arguments.delta", **place, "delta": ":1}"},
        {"type": "response.function_call_arguments.done", **place, "arguments": '{"city":1}', "name": "weather"},
        {"type": "response.output_item.done", "output_index": index, "item": CALL},
    ]


def begun() -> list[dict[str, Any]]:
    """The first events of every answer."""
    return [{"type": "response.created", "response": response()}, {"type": "response.in_progress", "response": response()}]


def ended(**changed: Any) -> dict[str, Any]:
    """The event that ends an answer."""
    return {"type": "response.completed", "response": response("completed", OUTPUT, usage=USAGE, **changed)}


def numbered(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events as OpenAI numbers them."""
    return [{"type": each["type"], "sequence_number": number, **each} for number, each in enumerate(events)]


def stream() -> list[dict[str, Any]]:
    """All events of an answer."""
    return numbered([*begun(), *of_thought(), *of_message(), *of_call(), ended()])
