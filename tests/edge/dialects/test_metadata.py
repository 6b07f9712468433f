"""What an answer tells of itself is free up to a bound for all of it, whatever it is told in; honest answers never reach it."""

import random
import string
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from services.edge.dialects.metadata import FREE_BYTES, FREE_BYTES_A_PIECE, Metadata
from services.edge.vendors.events import Event
from tests.edge.dialects.answers import ENDPOINT, request, streamed
from tests.edge.dialects.anthropic_answers import answer as messages_answer

EVENTS: Final = 400
HIDDEN: Final = 200
encode = msgspec.json.encode


def hidden(number: int) -> str:
    """A word that was never told before."""
    return "".join(random.Random(number).choices(string.ascii_lowercase, k=HIDDEN))


def names(number: int) -> dict[str, bool]:
    """Names that were never told before."""
    return {hidden(number)[start : start + 50]: True for start in range(0, HIDDEN, 50)}


def chunk(number: int, delta: Any = None, choice: Any = None, **members: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": {"content": ""} if delta is None else delta, "finish_reason": None, **(choice or {})}]
    known = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**known, "choices": choices, **members}


USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
NUMBERS = [10**18 + number for number in range(10)]
CHAT: Final[dict[str, Callable[[int], dict[str, Any]]]] = {
    "id": lambda number: chunk(number, id=hidden(number)),
    "model": lambda number: chunk(number, model=hidden(number)),
    "system_fingerprint": lambda number: chunk(number, system_fingerprint=hidden(number)),
    "service_tier": lambda number: chunk(number, service_tier=hidden(number)),
    "provider": lambda number: chunk(number, provider=hidden(number)),
    "obfuscation": lambda number: chunk(number, obfuscation=hidden(number)),
    "request_id": lambda number: chunk(number, request_id=hidden(number)),
    "x_groq": lambda number: chunk(number, x_groq={"id": hidden(number)}),
    "two in turns": lambda number: chunk(number, x_groq={"id": hidden(number % 2)}),
    "two words in turns": lambda number: chunk(number, request_id=hidden(number % 2)),
    "role": lambda number: chunk(number, {"role": hidden(number)}),
    "finish_reason": lambda number: chunk(number, choice={"finish_reason": hidden(number)}),
    "native_finish_reason": lambda number: chunk(number, choice={"native_finish_reason": hidden(number)}),
    "names": lambda number: chunk(number, **names(number)),
    "names within": lambda number: chunk(number, x=names(number)),
    "names of usage": lambda number: chunk(number, usage={**USAGE, hidden(number): 1}),
    "numbers": lambda number: chunk(number, x=[[each + number * 10 for each in NUMBERS] for _ in range(2)]),
    "numbers of usage": lambda number: chunk(number, usage={**USAGE, **{f"x{each}": 10**18 + number * 9**9 for each in range(20)}}),
    "id of a call": lambda number: chunk(number, {"tool_calls": [{"index": 0, "id": hidden(number), "function": {"name": ""}}]}),
    "type of a call": lambda number: chunk(number, {"tool_calls": [{"index": 0, "type": hidden(number), "function": {}}]}),
    "details": lambda number: chunk(number, {"reasoning_details": [{"id": hidden(number), "type": "x"}]}),
    "number of a refusal": lambda number: chunk(number, {"refusal": [[each + number * 10 for each in NUMBERS] for _ in range(2)]}),
}


@pytest.mark.parametrize("place", CHAT)
@pytest.mark.parametrize("whole", [False, True])
def test_what_a_chat_tells_of_itself_counts_beyond_a_bound_for_all_of_it(place: str, *, whole: bool) -> None:
    answer = (request() if whole else streamed()).answer(ENDPOINT)
    steps = [answer.feed(Event("", encode(CHAT[place](number)))) for number in range(EVENTS)]
    counted = sum(len(step.said) + len(step.thought) for step in steps)
    # Of numbers half the digits.
    told = EVENTS * HIDDEN // 2 if "number" in place else EVENTS * HIDDEN
    # An ID of a call is free up to 64, and pays four tokens; what counts may fill the budget again.
    free = FREE_BYTES + EVENTS * FREE_BYTES_A_PIECE
    assert told - free <= counted


def delta(kind: Any = "text_delta", **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **members}}


def block(**members: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", **members}}


MESSAGES: Final[dict[str, Callable[[int], dict[str, Any]]]] = {
    "type of an event": lambda number: {"type": hidden(number)[:64], "index": 10**18 + number * 9**9},
    "index": lambda number: {**delta(text=""), "index": hidden(number)},
    "type of a delta": lambda number: delta(hidden(number)),
    "names": lambda number: delta(text="", **names(number)),
    "names within": lambda number: delta(x=names(number)),
    "numbers": lambda number: delta(x=[[each + number * 10 for each in NUMBERS] for _ in range(2)]),
    "names of usage": lambda number: {"type": "ping", "usage": {hidden(number): 1}},
    "id of a block": lambda number: block(id=hidden(number)),
    "id of a result": lambda number: block(type="x_tool_result", tool_use_id=hidden(number)),
    "names of a result": lambda number: block(type="x_tool_result", content=[names(number)]),
    "stop_reason": lambda number: {"type": "message_delta", "delta": {"stop_reason": hidden(number)}},
    "container": lambda number: {"type": "message_delta", "delta": {"container": {"id": hidden(number)}}},
}


@pytest.mark.parametrize("place", MESSAGES)
@pytest.mark.parametrize("whole", [False, True])
def test_what_a_message_tells_of_itself_counts_beyond_a_bound_for_all_of_it(place: str, *, whole: bool) -> None:
    answer = messages_answer(streamed=not whole)
    steps = [answer.feed(Event("", encode(MESSAGES[place](number)))) for number in range(EVENTS)]
    counted = sum(len(step.said) + len(step.added) for step in steps)
    told = EVENTS * (64 + 10 if place == "type of an event" else HIDDEN // 2 if place == "numbers" else HIDDEN)
    assert told - FREE_BYTES - EVENTS * FREE_BYTES_A_PIECE <= counted


def test_what_is_told_again_as_it_was_is_free() -> None:
    same = encode(
        chunk(0, {"content": "a"}, id=hidden(1), model=hidden(2), system_fingerprint=hidden(3), x_groq={"id": "7" * HIDDEN})
    )
    answer = streamed().answer(ENDPOINT)
    assert {answer.feed(Event("", same)).said for _ in range(3_000)} == {"a"}


@pytest.mark.parametrize("odd", [{}, {"x": None}])
@pytest.mark.parametrize("of_vendor", ["padding", "usage in each chunk", "time", "id of its own"])
def test_long_honest_answers_are_not_charged_for_their_frames(of_vendor: str, odd: dict[str, Any]) -> None:
    seeded = random.Random(of_vendor)
    answer = streamed(usage=True).answer(ENDPOINT)
    said = []
    for number in range(3_000):
        members: dict[str, Any] = {**odd, "system_fingerprint": "fp_44709d6fcb"}
        match of_vendor:
            case "padding":
                members["obfuscation"] = "".join(seeded.choices("abcXYZ019", k=seeded.randrange(1, 17)))
            case "usage in each chunk":
                details = {
                    "completion_tokens_details": {"reasoning_tokens": number // 2},
                    "prompt_tokens_details": {"cached_tokens": 8},
                }
                usage = {"prompt_tokens": 1_234, "completion_tokens": number, "total_tokens": 1_234 + number}
                members["usage"] = {**usage, **details, "num_sources_used": 0}
            case "time":
                members["created"] = 1_764_400_000 + number // 3
            case _:
                members["id"] = f"chatcmpl-{seeded.getrandbits(160):040x}"
        data = encode(chunk(number, {"content": "word "}, **members))
        step = answer.feed(Event("", data))
        said.append(step.said)
        if not odd and of_vendor != "id of its own":
            assert step.out == b"data: %b\n\n" % data
    assert said == ["word "] * 3_000


def test_a_message_of_many_calls_is_not_charged_for_its_frames() -> None:
    answer = messages_answer(streamed=True)
    said = []
    for number in range(500):
        call = block(type="tool_use", id=f"toolu_{number:024x}", name="run", input={}) | {"index": number}
        del call["content_block"]["text"]
        piece = delta("input_json_delta", partial_json="{}") | {"index": number}
        for event in (call, piece, {"type": "content_block_stop", "index": number}):
            said.append(answer.feed(Event("", encode(event))).said)
    assert "".join(said) == "run{}" * 500


def probability(token: str, *alternatives: str) -> dict[str, Any]:
    told = [{"token": each, "logprob": -1.25, "bytes": list(each.encode())} for each in alternatives]
    return {"token": token, "logprob": -0.123456, "bytes": list(token.encode()), "top_logprobs": told}


@pytest.mark.parametrize(
    ("asked", "free"),
    [
        ({"logprobs": True, "top_logprobs": 3}, 3),
        ({"logprobs": True, "top_logprobs": 1}, 1),
        ({"logprobs": True}, 0),
        ({}, 0),
    ],
)
@pytest.mark.parametrize("letters", [10, 60])
def test_alternatives_are_free_as_far_as_they_were_asked_for(asked: dict[str, Any], free: int, letters: int) -> None:
    answer = streamed(**asked).answer(ENDPOINT)
    said = ""
    for number in range(EVENTS):
        words = [hidden(3 * number + each)[:letters] for each in range(3)]
        logprobs = {"content": [probability("word ", *words)], "refusal": None}
        said += answer.feed(Event("", encode(chunk(number, {"content": "word "}, choice={"logprobs": logprobs})))).said
    beyond = len(said) - EVENTS * len("word ")
    if letters == 10 and free == 3:
        assert beyond == 0
    # An alternative is a token: it has 128 bytes once, and twice the text on average.
    told = 3 * letters * EVENTS - free * min(letters * EVENTS, 128 + 2 * len("word ") * EVENTS)
    assert beyond >= told - FREE_BYTES - EVENTS * FREE_BYTES_A_PIECE


@pytest.mark.parametrize(
    ("logprobs", "bytes_an_event"),
    [
        (lambda number: [probability("", *[f"{number}-{each}".ljust(60, "z") for each in range(3)])], 3 * 60),
        (lambda number: [{**probability(""), "logprob": 10**18 + 20 * number + each} for each in range(20)], 20 * 19 // 2),
    ],
)
def test_probabilities_of_no_text_count_beyond_the_bound(logprobs: Callable[[int], list[Any]], bytes_an_event: int) -> None:
    answer = streamed(logprobs=True, top_logprobs=3).answer(ENDPOINT)
    counted = 0
    for number in range(EVENTS):
        counted += len(answer.feed(Event("", encode(chunk(number, choice={"logprobs": {"content": logprobs(number)}})))).said)
    # What counts as said earns as other text does.
    assert counted >= EVENTS * (bytes_an_event - FREE_BYTES_A_PIECE) - FREE_BYTES > 0


@pytest.mark.parametrize(
    ("text", "asked", "place"),
    [
        ("w", {"logprobs": True, "top_logprobs": 1}, "alternatives"),
        ("", {"logprobs": True, "top_logprobs": 20}, "alternatives"),
        ("", {"logprobs": True, "top_logprobs": 20}, "tokens"),
        ("word " * 20, {}, "tokens"),
    ],
)
def test_numbers_are_free_as_far_as_the_text_can_have_them(text: str, asked: dict[str, Any], place: str) -> None:
    answer = streamed(**asked).answer(ENDPOINT)
    counted = 0
    for number in range(EVENTS):
        # A token of nothing, or one that repeats the text, costs nothing by itself.
        told: Any = [{"token": "", "logprob": -random.Random(20 * number + each).random()} for each in range(20)]
        if place == "alternatives":
            told = [{"token": text, "logprob": -0.5, "top_logprobs": told}]
        said = answer.feed(Event("", encode(chunk(number, {"content": text}, choice={"logprobs": {"content": told}})))).said
        counted += len(said) - len(text)
    # Of numbers half the digits, at least 14 of each.
    assert counted >= EVENTS * 20 * 7 - FREE_BYTES - EVENTS * FREE_BYTES_A_PIECE > 0


def test_parts_of_a_character_have_their_alternatives_before_it_is_told() -> None:
    answer = streamed(logprobs=True, top_logprobs=20).answer(ENDPOINT)
    said = ""
    number = 0
    for _ in range(EVENTS // 4):
        for text, token in (("", "\\xf0\\x9f"), ("", "\\x99"), ("\U0001f642", "\\x82"), (" ", " ")):
            told = [{"token": hidden(number * 20 + each)[:2], "logprob": -random.Random(each).random()} for each in range(20)]
            entry = {"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": told}
            event = chunk(number, {"content": text}, choice={"logprobs": {"content": [entry]}})
            said += answer.feed(Event("", encode(event))).said
            number += 1
    assert said == "\U0001f642 " * (EVENTS // 4)


@pytest.mark.parametrize("is_chat", [True, False])
def test_metadata_in_excess_fills_up_no_budget(*, is_chat: bool) -> None:
    to = streamed().answer(ENDPOINT) if is_chat else messages_answer(streamed=True)
    # A few bytes more than a piece of output fills up.
    told = [hidden(number)[: FREE_BYTES_A_PIECE + 2] for number in range(EVENTS)]
    events = [chunk(number, id=each) if is_chat else {"type": "ping", "usage": {"note": each}} for number, each in enumerate(told)]
    steps = [to.feed(Event("", encode(each))) for each in events]
    assert sum(len(step.said) for step in steps) >= EVENTS * FREE_BYTES_A_PIECE - FREE_BYTES


def test_a_budget_is_spent_and_earned() -> None:
    metadata = Metadata()
    assert metadata.beyond("x", "a" * (FREE_BYTES - 2)) == ""
    assert metadata.beyond("x", "b") == '"b"'
    metadata.earn()
    # With its quotes.
    word = "c" * (FREE_BYTES_A_PIECE - 2)
    assert metadata.takes([("y", word)], says=False)
    assert not metadata.takes([("z", 1)], says=False)
    # What is as it was, what output pays, and of numbers alone half of their digits.
    assert metadata.takes([("y", word)], says=False)
    assert metadata.takes([("n", [1, 22])], says=True)
    # 58 are left: three for a list of its own, then one for each digit.
    assert [metadata.takes([("n", [number % 10])], says=False) for number in range(58)] == [True] * 56 + [False] * 2
    for _ in range(1_000):
        metadata.earn()
    assert not metadata.takes([("z", "d" * (FREE_BYTES - 1))], says=False)
    assert metadata.takes([("z", "d" * (FREE_BYTES - 2))], says=False)
