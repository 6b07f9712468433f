"""A vendor that keeps its limit is never cut, whichever tokenizer its tokens are of: real texts with real counts, to the token."""

from collections.abc import Iterator
from functools import cache
from random import Random

import pytest

from services.edge.catalog import Snapshot
from services.edge.tokens.tokenizers import TOKENIZER_NAMES, Tokenizer, load, tokenizer
from tests.edge.call.doubles import FakeCharging
from tests.edge.call.line_dialect import END, FINISH, counted, event, say, think
from tests.edge.call.scene import SECRETS, Scene, catalog
from tests.edge.tokens.corpus import corpus
from tokenline.registry.v1 import registry_pb2

KINDS = ("english", "chinese", "emoji", "python", "javascript", "tool_calls", "mixed")
# Of a tool's call, which no text shows; vendors' templates have at least as many.
FRAME = 4
STREAM = pytest.mark.parametrize("stream", ["yes", "no"])
# The vendor's own tokenizer, and the model that it serves: the catalog names the tokenizer of "exact", and of no other.
TRUTH = pytest.mark.parametrize(
    ("name", "model"),
    [*((name, model) for name in TOKENIZER_NAMES for model in ("solo", "hidden")), ("qwen3", "exact"), ("o200k", "exact")],
)


@cache
def truth(name: str) -> Tokenizer:
    """The vendor's own."""
    return load(name)


@cache
def text_of(kind: str) -> str:
    """A page of one kind."""
    return "".join(text for each, text in corpus(2) if each == kind)[-1_800:]


def pieces(text: str) -> Iterator[str]:
    """A text as a stream brings it, a few characters at once."""
    random = Random("pieces of a stream")
    start = 0
    while start < len(text):
        length = random.randrange(1, 40)
        yield text[start : start + length]
        start += length


def snapshot(name: str) -> Snapshot:
    """The catalog, with this tokenizer named for the model "exact"."""
    assert tokenizer(name) is not None
    message = registry_pb2.Catalog()
    message.CopyFrom(catalog().catalog)
    [family] = [each for each in message.tokenizer_families if each.family_id == "exact"]
    family.tokenizer = name
    return Snapshot(message, SECRETS, "")


async def is_whole(items: list[bytes], limit: int, *, stream: str, name: str, model: str, counts: bool) -> None:
    """Has a vendor say all of it within its limit; nothing may be cut, and what it counted is charged."""
    scene = Scene(FakeCharging(window=64), snapshot(name) if model == "exact" else None)
    usage = [counted(input=3, output=limit)] if counts else []
    scene.vendors.answers(*items, FINISH, *usage, END)
    client = await scene.call(f"stream={stream} model={model} limit={limit}")
    assert b"[complete]" in client.body
    assert scene.cause == "normal"
    assert scene.vendors.asked[0].options["limit"] == str(limit)
    if counts:
        assert sum(scene.used[3:]) == limit


@TRUTH
@STREAM
@pytest.mark.parametrize("kind", KINDS)
async def test_a_text_at_exactly_its_limit_is_not_cut(name: str, model: str, kind: str, stream: str) -> None:
    text = text_of(kind)
    limit = truth(name).count(text)
    assert 257 <= limit <= 8_000
    for speak, counts in ((say, True), (think, False)):
        await is_whole([speak(piece) for piece in pieces(text)], limit, stream=stream, name=name, model=model, counts=counts)


@TRUTH
@STREAM
async def test_thought_words_and_calls_at_exactly_their_limit_are_not_cut(name: str, model: str, stream: str) -> None:
    count = truth(name).count
    items: list[bytes] = []
    limit = 0
    for kind in KINDS:
        text = text_of(kind)[:600]
        limit += count(text) + count(text[::-1])
        items += [think(piece) for piece in pieces(text[::-1])] + [say(piece) for piece in pieces(text)]
    arguments = '{\\"city\\": \\"Berlin\\", \\"days\\": 3}'
    for _ in range(20):
        items.append(event("call get_weather", f'say "{arguments}"'))
        limit += count('get_weather{"city": "Berlin", "days": 3}') + FRAME
    await is_whole(items, limit, stream=stream, name=name, model=model, counts=True)
