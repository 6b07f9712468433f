"""The processor's time that translation adds to a call and to a piece of text: `python -m tests.edge.dialects.translation.cost`."""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from services.edge.call.dialect import Answer, Body, Request
from services.edge.vendors.events import Event
from tests.edge.dialects.translation.ways import DIALECTS, OUTPUT_MAX, TRANSLATIONS, WAYS, C, M, R, block, chunk, endpoint, message

_CALLS: Final = 300
_PIECES: Final = 500
_ROUNDS: Final = 15
_WORDS: Final = "hello there " * 20
_BODIES: Final[dict[str, dict[str, Any]]] = {
    C: {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _WORDS}], "max_tokens": 100},
    M: {"system": "Be brief.", "messages": [{"role": "user", "content": _WORDS}], "max_tokens": 100},
    R: {"instructions": "Be brief.", "input": [{"role": "user", "content": _WORDS}], "max_output_tokens": 100},
}


def events(dialect: str) -> list[dict[str, Any]]:
    """The begin of an answer, and then pieces of a text."""
    match dialect:
        case "openai_chat":
            return [chunk(content="word ")] * _PIECES
        case "anthropic_messages":
            begun = message(block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "word "}))
            return [*begun[:2], *[begun[2]] * _PIECES]
    item = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    told = [{"type": "response.output_item.added", "output_index": 0, "item": item}]
    told += [{"type": "response.output_text.delta", **place, "delta": "word ", "logprobs": []} for _ in range(_PIECES)]
    return [{**each, "sequence_number": number} for number, each in enumerate(told)]


def opened(client: str, vendor: str) -> Answer:
    """Everything of a call that a dialect does before the vendor answers."""
    dialect = DIALECTS[client]
    body = Body(msgspec.json.encode({"model": "m", "stream": True, "temperature": 0.5, **_BODIES[client]}), "application/json")
    request: Request = dialect.read(body, {})
    if client != vendor:
        _, request = TRANSLATIONS.translated(dialect, request, [vendor], model_id="m", output_max=OUTPUT_MAX)
    at = endpoint(vendor)
    request.size()
    request.conversation()
    request.vendor_request(at, "vendor-m", None, streamed=True)
    return request.answer(at)


def call_us(client: str, vendor: str) -> float:
    """Microseconds of a call."""

    def calls() -> None:
        for _ in range(_CALLS):
            opened(client, vendor)

    return least(calls) / _CALLS


def piece_us(client: str, vendor: str) -> float:
    """Microseconds of a piece."""
    told = [Event(each.get("type", ""), msgspec.json.encode(each)) for each in events(vendor)]

    def feed() -> None:
        answer = opened(client, vendor)
        for each in told:
            answer.feed(each)

    return least(feed) / len(told)


def least(work: Callable[[], None]) -> float:
    """The microseconds of this thread in the quickest of some rounds."""
    taken = []
    for _ in range(_ROUNDS):
        began = time.thread_time_ns()
        work()
        taken.append(time.thread_time_ns() - began)
    return min(taken) / 1_000


if __name__ == "__main__":
    for way in WAYS:
        client, vendor = way
        call = call_us(client, vendor) - call_us(client, client)
        piece = piece_us(client, vendor) - piece_us(vendor, vendor)
        print(f"{client:20} {vendor:20} {call:6.1f} us a call {piece:6.1f} us a piece")
