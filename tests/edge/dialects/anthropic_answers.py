"""Answers of Anthropic's dialect as tests feed them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from services.edge.call.dialect import Answer, Body, Ending, Step
from services.edge.dialects.anthropic_messages.dialect import MESSAGES
from services.edge.vendors.events import Event, EventReader
from services.edge.vendors.profile import Endpoint
from services.edge.vendors.usage import VendorCount
from services.token_classes import Vector

ENDPOINT = Endpoint("vendor", "anthropic_messages", "http://vendor/v1")
NOTHING_USED: Vector = (0, 0, 0, 0, 0)


class Fed(NamedTuple):
    """What an answer made of all that it was fed."""

    out: bytes
    said: str
    thought: str
    added: str
    opaque_bytes: int
    calls: int
    counted: VendorCount | None
    finished: bool
    ended: bool
    faults: list[Any]


SEARCH = {"type": "web_search_20250305", "name": "web_search"}


def answer(*, streamed: bool, endpoint: Endpoint = ENDPOINT, searches: bool = True) -> Answer:
    """An answer to a small request; `searches`: with a tool that runs at the vendor."""
    body: dict[str, Any] = {"model": "m", "max_tokens": 100, "stream": streamed}
    body["messages"] = [{"role": "user", "content": "Hello"}]
    if searches:
        body["tools"] = [SEARCH]
    return MESSAGES.read(Body(msgspec.json.encode(body), "application/json"), {}).answer(endpoint)


def feed(to: Answer, pieces: Iterable[bytes]) -> Fed:
    """Feeds a stream that comes in these pieces."""
    reader = EventReader()
    steps = [to.feed(event) for piece in pieces for event in reader.feed(piece)]
    steps += [to.feed(event) for event in reader.end()]
    return joined(steps)


def feed_events(to: Answer, *events: dict[str, Any]) -> Fed:
    """Feeds events without a name."""
    return joined([to.feed(Event("", msgspec.json.encode(event))) for event in events])


def joined(steps: list[Step]) -> Fed:
    """All that steps say together."""
    counts = [step.counted for step in steps if step.counted is not None]
    return Fed(
        out=b"".join(step.out for step in steps),
        said="".join(step.said for step in steps),
        thought="".join(step.thought for step in steps),
        added="".join(step.added for step in steps),
        opaque_bytes=sum(step.opaque_bytes for step in steps),
        calls=sum(step.calls for step in steps),
        counted=counts[-1] if counts else None,
        finished=any(step.finished for step in steps),
        ended=any(step.ended for step in steps),
        faults=[step.fault for step in steps if step.fault is not None],
    )


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The data of a stream's events; each is named by its type."""
    reader = EventReader()
    events = reader.feed(stream)
    assert not reader.end()
    decoded = [msgspec.json.decode(event.data) for event in events]
    assert [event.name for event in events] == [each["type"] for each in decoded]
    return decoded


def complete(to: Answer, used: Vector = NOTHING_USED) -> bytes:
    """The end of an answer as the vendor ended it; `used` is charged."""
    return to.end(Ending.COMPLETE, used)
