"""Requests and answers on their way through a translation, as tests make them."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from services.edge.call.dialect import Answer, Body, Dialect, Ending, Request, Step
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.dialects.chat.dialect import ChatCompletions
from services.edge.dialects.responses.dialect import Responses
from services.edge.dialects.translation.translator import Translations
from services.edge.vendors.events import Event, EventReader
from services.edge.vendors.profile import Endpoint
from services.token_classes import NOTHING, Vector

C: Final = "openai_chat"
M: Final = "anthropic_messages"
R: Final = "openai_responses"
DIALECTS: Final[dict[str, Dialect]] = {C: ChatCompletions(), M: MESSAGES, R: Responses()}
# Client's dialect, vendor's dialect.
WAYS: Final = [(client, vendor) for client in DIALECTS for vendor in DIALECTS if client != vendor]
TRANSLATIONS: Final = Translations()
OUTPUT_MAX: Final = 8_000
SCHEMA: Final = {"type": "object", "properties": {"city": {"type": "string"}}}

# The shortest request of each dialect.
LEAST: Final[dict[str, dict[str, Any]]] = {
    C: {"messages": [{"role": "user", "content": "Hi"}]},
    M: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100},
    R: {"input": [{"role": "user", "content": "Hi"}]},
}


def endpoint(dialect: str, vendor_id: str = "vendor", **fields: Any) -> Endpoint:
    """A vendor's endpoint."""
    limit = "max_output_tokens" if dialect == R else "max_tokens"
    return Endpoint(vendor_id, dialect, f"http://{vendor_id}/v1", output_limit_field=limit, **fields)


def read(dialect: str, fields: dict[str, Any]) -> Request:
    """A client's request; the fields that it must have need not be given."""
    body = {"model": "m", **LEAST[dialect], **fields}
    return DIALECTS[dialect].read(Body(msgspec.json.encode(body), "application/json"), {})


def translated(client: str, vendor: str, **fields: Any) -> Request:
    """A client's request, for a vendor of another dialect."""
    spoken, request = TRANSLATIONS.translated(
        DIALECTS[client], read(client, fields), [vendor], model_id="model", output_max=OUTPUT_MAX
    )
    assert spoken == vendor
    return request


def counting(vendor: str, **fields: Any) -> Request:
    """A request for a count of a message's tokens."""
    body = msgspec.json.encode({"model": "m", "messages": LEAST[M]["messages"], **fields})
    request = COUNT_TOKENS.read(Body(body, "application/json"), {})
    return TRANSLATIONS.translated(COUNT_TOKENS, request, [vendor], model_id="model", output_max=OUTPUT_MAX)[1]


def asked(client: str, vendor: str, *, at: Endpoint | None = None, **fields: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The body that the vendor is sent, and the names of dropped fields."""
    at = at or endpoint(vendor)
    request = translated(client, vendor, **fields).vendor_request(at, "vendor-m", None, streamed=False)
    return msgspec.json.decode(request.body.content), request.dropped


def body(client: str, vendor: str, **fields: Any) -> dict[str, Any]:
    """The body that the vendor is sent; nothing is dropped."""
    sent, dropped = asked(client, vendor, **fields)
    assert dropped == ()
    return sent


def feed(answer: Answer, events: Sequence[dict[str, Any]]) -> bytes:
    """The client's bytes for a vendor's events."""
    return b"".join(step.out for step in steps(answer, events))


def steps(answer: Answer, events: Sequence[dict[str, Any]]) -> Iterator[Step]:
    """The step of each event of a vendor."""
    for each in events:
        yield answer.feed(Event(each.get("type", ""), msgspec.json.encode(each)))


def events_in(out: bytes) -> list[Any]:
    """The data of events on the wire; "[DONE]" as text."""
    return [
        event.data.decode() if event.data == b"[DONE]" else msgspec.json.decode(event.data) for event in EventReader().feed(out)
    ]


def told(
    client: str,
    vendor: str,
    events: Sequence[dict[str, Any]],
    used: Vector = NOTHING,
    ending: Ending = Ending.COMPLETE,
    **fields: Any,
) -> list[Any]:
    """All events that a client of a stream gets for a vendor's."""
    answer = translated(client, vendor, stream=True, **fields).answer(endpoint(vendor))
    return events_in(feed(answer, events) + answer.end(ending, used))


def whole(client: str, vendor: str, events: Sequence[dict[str, Any]], used: Vector = NOTHING, **fields: Any) -> Any:
    """The answer that a client gets in one piece for a vendor's events."""
    answer = translated(client, vendor, **fields).answer(endpoint(vendor))
    assert feed(answer, events) == b""
    return msgspec.json.decode(answer.end(Ending.COMPLETE, used))


# Answers of vendors.


def chunk(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk of a chat."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion.chunk", "created": 7, "model": "vendor-m", "choices": [choice]}


def call_piece(index: int, arguments: str, call_id: str | None = None, name: str = "weather", **more: Any) -> dict[str, Any]:
    """A chunk with a piece of a call."""
    if call_id is None:
        return chunk(tool_calls=[{"index": index, "function": {"arguments": arguments}}])
    function = {"name": name, "arguments": arguments}
    return chunk(tool_calls=[{"index": index, "id": call_id, "type": "function", "function": function, **more}])


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a content block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": begun},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def message(*blocks: list[dict[str, Any]], reason: str = "end_turn", sequence: str | None = None) -> list[dict[str, Any]]:
    """The events of a message."""
    usage = {"input_tokens": 5, "output_tokens": 1}
    begun: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "vendor-m",
        "content": [],
        "stop_reason": None,
    }
    delta = {"stop_reason": reason, "stop_sequence": sequence}
    return [
        {"type": "message_start", "message": {**begun, "stop_sequence": None, "usage": usage}},
        *(event for each in blocks for event in each),
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
