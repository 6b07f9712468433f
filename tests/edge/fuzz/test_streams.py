"""Any bytes of a vendor, in any pieces: an answer, or a vendor's failure; all that a client can read was counted."""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.edge.call.dialect import Answer, Body, Ending
from services.edge.dialects.chat.deltas import METADATA, METADATA_BYTES_MAX
from services.edge.dialects.completions.dialect import Completions
from services.edge.dialects.embeddings.dialect import Embeddings
from services.edge.vendors.events import Event, EventReader
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import NOTHING
from tests.edge.dialects import answers as chat
from tests.edge.dialects import anthropic_answers as messages
from tests.edge.dialects import responses_answers as responses
from tests.edge.fuzz.inputs import (
    NUMBERS,
    SCALARS,
    WORDS,
    Pairs,
    anything,
    broken,
    json_bytes,
    mostly,
    objects,
    pieces,
    streams,
    tries,
)

MADE_UP = re.compile(rb"((chat)?cmpl-|resp_)[0-9a-f]{32}")


class Relayed(NamedTuple):
    """What became of a body."""

    out: bytes
    said: str
    thought: str
    added: str
    opaque_bytes: int
    calls: int
    counts: list[Any]
    # How it ended: a fault, garbage, a refusal, or nothing of the kind.
    failed: str
    # What each event said.
    texts: list[str]


def relay(answer: Answer, events: Iterable[Event]) -> Relayed:
    out, said, thought, added, opaque_bytes, calls, failed = b"", "", "", "", 0, 0, ""
    counts: list[Any] = []
    texts: list[str] = []
    try:
        for event in events:
            step = answer.feed(event)
            out += step.out
            said, thought, added = said + step.said, thought + step.thought, added + step.added
            opaque_bytes, calls = opaque_bytes + step.opaque_bytes + step.added_opaque_bytes, calls + step.calls
            counts.append(step.counted)
            texts += (step.said, step.thought)
            if step.fault is not None:
                failed = "fault"
                break
    except VendorFailure as failure:
        failed = failure.outcome
    if not failed:
        out += answer.end(Ending.COMPLETE, NOTHING)
    return Relayed(MADE_UP.sub(b"made-up", out), said, thought, added, opaque_bytes, calls, counts, failed, texts)


def events_of(body: Iterable[bytes]) -> list[Event]:
    reader = EventReader()
    return [event for piece in body for event in reader.feed(piece)] + reader.end()


# Chat: chunks nearly as OpenAI writes them, with strings in all places.
CHAT_NAMES = ("content", "role", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio", "x_note")
FUNCTION = objects(("name", "arguments", "input", "note"), st.one_of(WORDS, SCALARS, anything(("a", "b"))), 3)
CALL = objects(("index", "id", "type", "function", "custom", "note"), st.one_of(NUMBERS, WORDS, FUNCTION, FUNCTION), 5)
PART = objects(("type", "text", "thinking", "refusal"), st.one_of(st.sampled_from(["text", "thinking"]), WORDS), 3)
DELTA = objects(
    CHAT_NAMES,
    st.one_of(WORDS, WORDS, SCALARS, st.lists(CALL, max_size=2), st.lists(PART, max_size=2), FUNCTION, anything(CHAT_NAMES)),
    3,
)
CHOICE = st.builds(
    lambda index, delta, more: Pairs([("index", index), ("delta", delta), *more]),
    st.integers(0, 1),
    DELTA,
    objects(("finish_reason", "logprobs", "message", "text", "usage"), st.one_of(WORDS, SCALARS, DELTA), 2),
)
USAGE = objects(("prompt_tokens", "completion_tokens", "total_tokens"), NUMBERS, 3)
CHUNK = st.builds(
    lambda choices, more: Pairs(
        [("id", "c"), ("object", "chat.completion.chunk"), ("created", 1), ("model", "m"), ("choices", choices), *more]
    ),
    st.one_of(st.lists(CHOICE, max_size=2), SCALARS),
    objects(("usage", "model", "id", "note", "system_fingerprint", "error", "provider"), st.one_of(USAGE, WORDS, SCALARS), 2),
)
CHAT = streams(
    broken(st.one_of(CHUNK.map(json_bytes), CHUNK.map(json_bytes), st.just(b"[DONE]"), anything(CHAT_NAMES).map(json_bytes))),
    ["error", "x"],
)

# Completions: the same with texts in place of deltas.
TEXT_NAMES = ("text", "finish_reason", "logprobs", "note", "delta", "usage")
TEXT_CHOICE = st.builds(
    lambda index, text, more: Pairs([("index", index), ("text", text), *more]),
    st.integers(0, 1),
    st.one_of(WORDS, WORDS, SCALARS, st.lists(PART, max_size=2)),
    objects(TEXT_NAMES, st.one_of(WORDS, SCALARS, DELTA), 2),
)
TEXT_CHUNK = st.builds(
    lambda choices, more: Pairs(
        [("id", "c"), ("object", "text_completion"), ("created", 1), ("model", "m"), ("choices", choices), *more]
    ),
    st.one_of(st.lists(TEXT_CHOICE, max_size=2), SCALARS),
    objects(("usage", "model", "id", "note", "system_fingerprint", "error"), st.one_of(USAGE, WORDS, SCALARS), 2),
)
TEXTS = streams(
    broken(
        st.one_of(TEXT_CHUNK.map(json_bytes), TEXT_CHUNK.map(json_bytes), st.just(b"[DONE]"), anything(TEXT_NAMES).map(json_bytes))
    ),
    ["error", "x"],
)

# Anthropic: events of each type, with strings in all places.
KINDS = (
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
)
BLOCK_NAMES = ("type", "text", "thinking", "partial_json", "signature", "data", "input", "citations", "note", "id", "name")
BLOCK_KINDS = ("text", "thinking", "tool_use", "text_delta", "thinking_delta", "input_json_delta", "web_search_tool_result")
BLOCK = objects(BLOCK_NAMES, st.one_of(st.sampled_from(BLOCK_KINDS), WORDS, SCALARS, anything(BLOCK_NAMES)), 4)
MESSAGE = objects(
    ("id", "content", "usage", "model", "note", "stop_reason"), st.one_of(WORDS, st.lists(BLOCK, max_size=2), USAGE), 4
)
EVENT = st.builds(
    lambda kind, more: Pairs([("type", kind), *more]),
    st.sampled_from((*KINDS, "content_block_delta", "content_block_delta", "error", "other")),
    objects(("index", "delta", "content_block", "message", "usage", "note"), st.one_of(BLOCK, BLOCK, MESSAGE, USAGE, SCALARS), 4),
)
MESSAGES = streams(broken(st.one_of(EVENT.map(json_bytes), EVENT.map(json_bytes), anything(KINDS).map(json_bytes))), KINDS)


# OpenAI's responses: events of each type, with strings in all places.
PLACES = ("response.output_text", "response.refusal", "response.reasoning_summary_text", "response.function_call_arguments")
RESPONSE_KINDS = (
    *("response.created", "response.completed", "response.incomplete", "response.failed", "error", "other"),
    *(f"{place}{word}" for place in PLACES for word in (".delta", ".delta", ".done")),
    *(
        f"response.{part}{word}"
        for part in ("output_item", "content_part", "reasoning_summary_part")
        for word in (".added", ".done")
    ),
)
LEAF_NAMES = ("type", "text", "refusal", "arguments", "name", "encrypted_content", "annotations", "id", "status", "note")
LEAF = objects(LEAF_NAMES, st.one_of(st.sampled_from(["message", "reasoning", "function_call", "output_text"]), WORDS, SCALARS), 4)
OUTPUT_ITEM = objects((*LEAF_NAMES, "content", "summary"), st.one_of(WORDS, st.lists(LEAF, max_size=2), anything(LEAF_NAMES)), 5)
WHOLE_RESPONSE = objects(
    ("id", "output", "usage", "model", "note", "status", "instructions", "tools"),
    st.one_of(WORDS, st.lists(OUTPUT_ITEM, max_size=2), USAGE),
    4,
)
RESPONSE_EVENT = st.builds(
    lambda kind, index, more: Pairs([("type", kind), ("output_index", index), *more]),
    st.sampled_from(RESPONSE_KINDS),
    mostly(st.integers(0, 1), SCALARS),
    objects(
        ("delta", "text", "arguments", "refusal", "part", "item", "response", "content_index", "summary_index", "item_id", "note"),
        st.one_of(WORDS, WORDS, LEAF, OUTPUT_ITEM, WHOLE_RESPONSE, st.integers(0, 1)),
        5,
    ),
)
RESPONSES = streams(
    broken(st.one_of(RESPONSE_EVENT.map(json_bytes), RESPONSE_EVENT.map(json_bytes), anything(RESPONSE_KINDS).map(json_bytes))),
    RESPONSE_KINDS,
)


def responses_answer(*, streamed: bool) -> Answer:
    return responses.request(stream=streamed, instructions=None, tools=None).answer(responses.ENDPOINT)


def chat_answer(*, streamed: bool) -> Answer:
    return chat.request(stream=streamed).answer(chat.ENDPOINT)


def messages_answer(*, streamed: bool) -> Answer:
    return messages.answer(streamed=streamed)


def texts_answer(*, streamed: bool) -> Answer:
    body = json_bytes(Pairs([("model", "m"), ("prompt", "x"), ("stream", streamed)]))
    return Completions().read(Body(body, "application/json"), {}).answer(chat.ENDPOINT)


Make = Callable[..., Answer]
# Dialects that tell each text once.
TOLD_ONCE = [
    pytest.param(chat_answer, CHAT, id="chat"),
    pytest.param(messages_answer, MESSAGES, id="messages"),
    pytest.param(texts_answer, TEXTS, id="completions"),
]
DIALECTS = [*TOLD_ONCE, pytest.param(responses_answer, RESPONSES, id="responses")]


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("make", "bodies"), DIALECTS)
def test_a_body_means_the_same_in_any_pieces(make: Make, bodies: st.SearchStrategy[bytes], streamed: bool) -> None:
    @tries(100)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        body = data.draw(st.one_of(bodies, bodies, bodies, st.binary(max_size=60)))
        whole = relay(make(streamed=streamed), events_of([body]))
        assert relay(make(streamed=streamed), events_of(data.draw(pieces(body)))) == whole
        assert relay(make(streamed=streamed), events_of(body[at : at + 1] for at in range(len(body)))) == whole

    check()


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("make", "bodies"), TOLD_ONCE)
def test_all_that_a_client_can_read_is_counted(make: Make, bodies: st.SearchStrategy[bytes], streamed: bool) -> None:
    @tries(200)
    @given(bodies)
    def check(body: bytes) -> None:
        relayed = relay(make(streamed=streamed), events_of([body]))
        counted = len((relayed.said + relayed.thought + relayed.added).encode("utf-8", "surrogatepass")) + relayed.opaque_bytes
        assert read_by_client(relayed.out, streamed=streamed) <= counted, relayed

    check()


@pytest.mark.parametrize("streamed", [True, False])
def test_all_that_a_client_can_read_of_a_response_is_counted(streamed: bool) -> None:
    @tries(150)
    @given(RESPONSES)
    def check(body: bytes) -> None:
        relayed = relay(responses_answer(streamed=streamed), events_of([body]))
        if relayed.failed and not streamed:
            return
        for text in read_in_response(relayed.out, streamed=streamed):
            assert is_counted(text, relayed.texts) or relayed.opaque_bytes >= len(text.encode("utf-8", "surrogatepass")), (
                text,
                relayed,
            )

    check()


def is_counted(text: str, counted: list[str]) -> bool:
    """Whether a text is put together from what was counted."""
    reached = {0}
    for start in range(len(text)):
        if start in reached:
            reached |= {end for end in range(start + 1, len(text) + 1) if any(text[start:end] in each for each in counted)}
    return len(text) in reached


def read_in_response(out: bytes, *, streamed: bool) -> list[str]:
    """The texts that a client reads and that are no metadata."""
    datas = [line[6:] for line in out.split(b"\n") if line.startswith(b"data: ")] if streamed else [out]
    silent = SILENT | {"status", "incomplete_details", "tool_choice", "call_id", "error", "sequence_number"}
    silent |= {"item_id", "output_index", "content_index", "summary_index"}
    texts: list[str] = []
    waiting: list[Any] = [json.loads(data) for data in datas if data]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, dict):
            waiting += [value for name, value in each.items() if name not in silent]
        elif isinstance(each, list):
            waiting += each
    return texts


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("make", "bodies"), TOLD_ONCE)
def test_a_whole_body_is_an_answer_or_a_failure(make: Make, bodies: st.SearchStrategy[bytes], streamed: bool) -> None:
    wholes = st.one_of(
        MESSAGE.map(json_bytes),
        CHUNK.map(json_bytes),
        TEXT_CHUNK.map(json_bytes),
        CHUNK.map(json_bytes).map(lambda body: body.replace(b'"delta"', b'"message"')),
    )

    @tries(200)
    @given(broken(wholes))
    def check(body: bytes) -> None:
        answer = make(streamed=streamed)
        try:
            step = answer.feed_whole(body)
        except VendorFailure:
            return
        out = step.out + answer.end(Ending.COMPLETE, NOTHING)
        counted = len((step.said + step.thought + step.added).encode("utf-8", "surrogatepass")) + step.opaque_bytes
        assert read_by_client(out, streamed=streamed) <= counted

    check()


@pytest.mark.parametrize("streamed", [True, False])
def test_a_whole_response_is_an_answer_or_a_failure(streamed: bool) -> None:
    @tries(100)
    @given(broken(WHOLE_RESPONSE.map(json_bytes)))
    def check(body: bytes) -> None:
        answer = responses_answer(streamed=streamed)
        try:
            step = answer.feed_whole(body)
        except VendorFailure:
            return
        for text in read_in_response(step.out + answer.end(Ending.COMPLETE, NOTHING), streamed=streamed):
            assert is_counted(text, [step.said, step.thought]) or step.opaque_bytes >= len(text.encode("utf-8", "surrogatepass"))

    check()


NUMBER = st.one_of(st.floats(width=32), st.integers(-9, 9), NUMBERS)
VECTOR = st.one_of(st.lists(NUMBER, max_size=3), st.sampled_from(["AACAPwAAAEA=", "AACAPw==", "AAA=", "?"]), SCALARS)
EMBEDDING = st.builds(
    lambda index, vector, more: Pairs([("object", "embedding"), ("index", index), ("embedding", vector), *more]),
    st.one_of(st.integers(0, 1), SCALARS),
    VECTOR,
    objects(("index", "embedding", "text"), st.one_of(WORDS, VECTOR, SCALARS), 1),
)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def vectors(inputs: int) -> st.SearchStrategy[Pairs]:
    """Answers, most of them with a vector for each input."""
    whole = st.integers(1, 3).flatmap(
        lambda size: st.lists(st.lists(FLOATS, min_size=size, max_size=size), min_size=inputs, max_size=inputs)
    )
    placed = whole.map(lambda each: [Pairs([("index", place), ("embedding", vector)]) for place, vector in enumerate(each)])
    return st.builds(
        lambda data, more: Pairs([("object", "list"), ("data", data), ("model", "m"), *more]),
        st.one_of(placed, placed, st.lists(EMBEDDING, max_size=3), SCALARS),
        MORE_OF_VECTORS,
    )


MORE_OF_VECTORS = objects(
    ("usage", "model", "data", "note", "error"), st.one_of(USAGE, WORDS, SCALARS, st.lists(EMBEDDING, max_size=2)), 2
)


@pytest.mark.parametrize("encoding", ["float", "base64"])
@pytest.mark.parametrize("inputs", [1, 2])
def test_a_body_is_a_vector_for_each_input_or_a_failure(inputs: int, encoding: str) -> None:
    request = json_bytes(Pairs([("model", "m"), ("input", ["x"] * inputs), ("encoding_format", encoding)]))
    read = Embeddings().read(Body(request, "application/json"), {})
    told_of = [0]

    @tries(200)
    @given(broken(vectors(inputs).map(json_bytes)))
    def check(body: bytes) -> None:
        answer = read.answer(chat.ENDPOINT)
        try:
            step = answer.feed_whole(body)
        except VendorFailure:
            return
        assert step.counted is not None
        assert step.counted.has_output
        assert all(tokens == 0 for tokens in step.counted.counts[3:])
        told = json.loads(answer.end(Ending.COMPLETE, step.counted.counts or (0,) * 5), parse_constant=_refused)
        assert [each["index"] for each in told["data"]] == list(range(inputs))
        kinds = {type(each["embedding"]) for each in told["data"]}
        assert kinds == {str if encoding == "base64" else list}
        assert len({len(each["embedding"]) for each in told["data"]}) == 1
        told_of[0] += 1

    check()
    # Or nothing was tried.
    assert told_of[0] > 20


def _refused(constant: str) -> None:
    raise AssertionError(f"{constant} is no number of JSON")


# Strings that tell of an answer and are none of it: free up to a bound.
SILENT = METADATA | {
    "tool_use_id",
    "caller",
    "server_name",
    "cache_control",
    "stop_sequence",
    "stop_details",
    "container",
}


def read_by_client(out: bytes, *, streamed: bool) -> int:
    """The bytes of all strings that a client reads and that are no metadata."""
    if not streamed:
        return _bytes_in(json.loads(out)) if out else 0
    total = 0
    for event in out.split(b"\n\n"):
        data = b"\n".join(line[6:] for line in event.split(b"\n") if line.startswith(b"data: "))
        if data and data != b"[DONE]":
            total += _bytes_in(json.loads(data))
    return total


def _bytes_in(value: Any) -> int:
    """The bytes of all strings within, but for those that are free."""
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(map(_bytes_in, value))
    if isinstance(value, dict):
        total = 0
        for name, each in value.items():
            if name not in ("logprobs", "usage"):
                size = _bytes_in(each)
                if name not in SILENT:
                    total += size
                elif isinstance(each, str):
                    # Bounded in characters, of which one may have four bytes.
                    total += max(0, size - 4 * METADATA_BYTES_MAX)
        return total
    return 0


@pytest.mark.parametrize("kind", [["x"], {"a": 1}, 5, None])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_block_whose_type_is_no_text_is_counted(kind: Any, streamed: bool) -> None:
    event = Event(
        "", json.dumps({"type": "content_block_start", "index": 0, "content_block": {"type": kind, "input": "xyz"}}).encode()
    )
    assert relay(messages_answer(streamed=streamed), [event]).said == "xyz"
