"""Every body of the collection of vendors' quirks, whole and in every split, as a stream and assembled."""

import csv
import gzip
import itertools
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.edge.dialects.chat.request import ChatRequest
from services.edge.vendors.errors import fault_of
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import trimmed
from tests import traces
from tests.edge.dialects.answers import ENDPOINT, Choice, Fed, Got, ended, feed, joined, read_stream, request, streamed

pytestmark = traces.needs_streams

# Choices by index: content, reasoning, calls, finish reason. What the index says in words.
STOP = "stop"
EXPECTED: dict[str, dict[int, Choice]] = {
    "c01": {0: Choice("Two plus two is four.", "", (), STOP)},
    "c02": {0: Choice("Cached.", "", (), STOP)},
    "c03": {0: Choice("Warm tea.", "", (), STOP)},
    "c04": {0: Choice("Green.", "", (), STOP)},
    "c05": {0: Choice("Seven.", "Think of it.", (), STOP)},
    "c06": {0: Choice("Nine.", "", (), STOP)},
    "c07": {0: Choice("Blue.", "", (), STOP)},
    "c08": {0: Choice(None, "", (), "length")},
    "c09": {0: Choice("One two three.", "", (), STOP)},
    "c10": {0: Choice("Late.", "", (), STOP)},
    "c11": {0: Choice("Early end.", "", (), STOP)},
    "c12": {0: Choice("No count here.", "", (), STOP)},
    "c13": {0: Choice("Hm.", "", (), STOP)},
    "c14": {0: Choice("Real answer.", "", (), STOP)},
    "c15": {0: Choice("Fast.", "", (), STOP)},
    "c16": {0: Choice("Still here.", "", (), STOP)},
    "c17": {0: Choice("Eleven.", "Add them.", (), STOP)},
    "c18": {0: Choice("Control.", "", (), STOP)},
    "c19": {0: Choice("Marked.", "", (), STOP)},
    "c20": {0: Choice("Carriage return.", "", (), STOP)},
    "c21": {0: Choice("Old Mac.", "", (), STOP)},
    "c22": {0: Choice("Mixed.", "", (), STOP)},
    "c23": {0: Choice("Cut short.", "", (), STOP)},
    "c24": {0: Choice("No mark.", "", (), STOP)},
    "c25": {0: Choice("Split lines.", "", (), STOP)},
    "c30": {0: Choice("Safe.", "", (), STOP)},
    "c31": {0: Choice(None, "", (("call_a", "get_weather", '{"city":"Xian"}'), ("call_b", "get_time", "{}")), "tool_calls")},
    "c32": {0: Choice(None, "", (("fc-1", "read", '{"path":"a.txt"}'),), "tool_calls")},
    "c33": {0: Choice(None, "", (("fc-1", "glob", '{"pattern":"*.md"}'), ("fc-2", "glob", '{"pattern":"*.py"}')), "tool_calls")},
    "c34": {0: Choice("Left side.", "", (), "length"), 1: Choice("Right one.", "", (), STOP)},
    "c35": {0: Choice("Oak.", "Hm, a tree.", (), STOP)},
    "c36": {0: Choice("Packed.", "", (), STOP)},
    "c37": {0: Choice("天气很好，出门吧🙂", "", (), STOP)},
    "c38": {0: Choice("Once.", "", (), "length")},
    "c39": {0: Choice("Odd.", "", (), STOP)},
    "c42": {0: Choice("Waited.", "", (), STOP)},
    "c43": {0: Choice("Yes.", "", (), STOP)},
}
# Faults, an empty body, a broken one: their own tests. Completions and embeddings are other dialects.
OTHERS = {"c26", "c27", "c28", "c29", "c40", "c41", "c44", "c45"}


def rows() -> dict[str, dict[str, str]]:
    if not traces.STREAMS.is_dir():
        return {}
    with (traces.STREAMS / "index.csv").open(newline="") as file:
        return {row["file"][:3]: row for row in csv.DictReader(file) if row["file"].startswith("c")}


ROWS = rows()
STREAMS = [name for name, row in ROWS.items() if ".sse" in row["file"] and name not in OTHERS]
WHOLES = [name for name, row in ROWS.items() if row["file"].endswith(".json") and name not in OTHERS]


def body_of(name: str) -> bytes:
    path: Path = traces.STREAMS / ROWS[name]["file"]
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def split(body: bytes, places: Iterable[int]) -> list[bytes]:
    bounds = [0, *sorted(places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(bounds)]


def asked(name: str, **fields: Any) -> dict[str, Any]:
    return {**({"n": 2} if name == "c34" else {}), **fields}


def check_counts(name: str, fed: Fed) -> None:
    """The vendor's count as the index has it in disjoint classes."""
    row = ROWS[name]
    if row["provenance"] != "vendor":
        # None, or one that says that a side of it cannot be true.
        assert fed.counted is None or (fed.counted.is_odd and not fed.counted.has_input)
        return
    assert fed.counted is not None
    assert fed.counted.has_input
    assert fed.counted.has_output
    expected = [int(row[column] or 0) for column in ("input", "cached_input", "cache_write", "output", "reasoning")]
    assert fed.counted.counts == trimmed(expected)


def check_said(name: str, fed: Fed) -> None:
    """Output is counted once and to the letter."""
    choices = EXPECTED[name].values()
    text = [choice.content or "" for choice in choices]
    calls = [part for choice in choices for _, called, arguments in choice.calls for part in (called, arguments)]
    assert sorted(fed.said) == sorted("".join(text + calls))
    assert fed.thought == "".join(choice.reasoning for choice in choices)
    assert fed.calls == sum(len(choice.calls) for choice in choices)


def check_got(name: str, got: Got) -> None:
    for index, expected in EXPECTED[name].items():
        choice = got.choices[index]
        if expected.content is None and choice.content == "":
            choice = choice._replace(content=None)
        assert choice == expected
    assert got.choices.keys() == EXPECTED[name].keys()
    assert got.done
    assert got.error is None


def check_stream(name: str, pieces: Iterable[bytes], *, usage: bool) -> bytes:
    answer = streamed(usage=usage, **asked(name)).answer(ENDPOINT)
    fed = feed(answer, pieces)
    assert not fed.is_half
    check_counts(name, fed)
    check_said(name, fed)
    got = ended(answer, fed)
    check_got(name, got)
    shown = [chunk for chunk in got.chunks if not chunk["choices"] and chunk.get("usage")]
    assert len(shown) == usage
    if usage:
        assert got.chunks[-1]["usage"] is not None
        assert got.usage is not None
    assert len({(chunk["id"], chunk["model"]) for chunk in got.chunks}) == 1
    return fed.out


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_means_what_the_index_says(name: str, usage: bool) -> None:
    check_stream(name, [body_of(name)], usage=usage)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_means_the_same_in_single_bytes_and_in_random_pieces(name: str) -> None:
    body = body_of(name)
    whole = check_stream(name, [body], usage=True)
    assert check_stream(name, split(body, range(1, len(body))), usage=True) == whole
    seeded = random.Random(name)  # the same pieces in every run
    for _ in range(20):
        assert check_stream(name, split(body, seeded.sample(range(1, len(body)), 7)), usage=True) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_means_the_same_in_every_split_in_two(name: str) -> None:
    body = body_of(name)
    whole = feed(streamed(**asked(name)).answer(ENDPOINT), [body])
    for place in range(1, len(body)):
        assert feed(streamed(**asked(name)).answer(ENDPOINT), [body[:place], body[place:]]) == whole


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_assembled_to_the_whole_answer(name: str) -> None:
    answer = request(**asked(name)).answer(ENDPOINT)
    fed = feed(answer, [body_of(name)])
    assert fed.out == b""
    check_counts(name, fed)
    check_said(name, fed)
    counts = fed.counted.counts if fed.counted is not None else (10, 0, 0, 5, 0)
    got = ended(answer, fed, counts)
    check_got(name, got)
    assert got.usage is not None
    assert got.usage["prompt_tokens"] == sum(counts[:3])


@pytest.mark.parametrize("name", WHOLES)
def test_a_whole_answer_means_what_the_index_says(name: str) -> None:
    for asked_for in (request(), streamed(usage=True)):
        answer = asked_for.answer(ENDPOINT)
        fed = joined([answer.feed_whole(body_of(name))])
        check_counts(name, fed)
        check_said(name, fed)
        check_got(name, ended(answer, fed))


def failing(asked_for: ChatRequest, body: bytes) -> VendorFailure:
    with pytest.raises(VendorFailure) as raised:
        asked_for.answer(ENDPOINT).feed_whole(body)
    return raised.value


def test_a_body_that_is_an_error_is_told_as_the_vendors() -> None:
    failure = failing(request(), body_of("c28"))
    assert (failure.outcome, failure.http_status) == ("refused", 200)
    assert failure.fault is not None
    assert (failure.fault.code, failure.fault.message) == ("insufficient_quota", "the key has no credit")
    failure = failing(request(), body_of("c29"))
    assert failure.outcome == "refused"
    assert failure.fault is not None
    assert (failure.fault.code, failure.fault.message) == ("1008", "insufficient balance")


def cuts(body: bytes) -> Iterator[list[bytes]]:
    """A body whole, in single bytes, and in every split in two."""
    yield [body]
    yield split(body, range(1, len(body)))
    for place in range(1, len(body)):
        yield [body[:place], body[place:]]


def test_an_error_as_the_first_event_is_a_fault_before_any_output() -> None:
    fault = fault_of(200, b'{"error":{"message":"model is overloaded","type":"server_error","code":"overloaded"}}', 0)
    for pieces in cuts(body_of("c26")):
        fed = feed(streamed().answer(ENDPOINT), pieces)
        assert (fed.out, fed.said) == (b"", "")
        assert fed.fault == fault


def test_an_error_after_output_leaves_what_came() -> None:
    for pieces in cuts(body_of("c27")):
        fed = feed(streamed().answer(ENDPOINT), pieces)
        assert fed.said == "Half of"
        assert read_stream(fed.out).choices[0].content == "Half of"
        assert not fed.finished
        assert fed.fault is not None
        assert (fed.fault.code, fed.fault.message) == ("502", "upstream disconnected")


def test_an_empty_body_says_nothing() -> None:
    # It has no place where it could be cut.
    assert body_of("c40") == b""
    assert feed(streamed().answer(ENDPOINT), []) == feed(streamed().answer(ENDPOINT), [b""]) == joined([])


def test_half_an_event_at_the_end_is_neither_delivered_nor_counted() -> None:
    for pieces in cuts(body_of("c41")):
        fed = feed(streamed().answer(ENDPOINT), pieces)
        assert fed.is_half
        assert fed.said == "The answer is"
        assert read_stream(fed.out).choices[0].content == "The answer is"
        assert not fed.finished


def test_characters_that_are_cut_are_joined() -> None:
    assert re.search("天气很好", check_stream("c37", split(body_of("c37"), (327, 515)), usage=False).decode())


def test_the_extra_content_of_a_call_is_kept() -> None:
    out = check_stream("c32", [body_of("c32")], usage=False)
    assert b'"extra_content":{"google":{"thought_signature":"c2lnbmF0dXJl"}}' in out


def test_every_body_of_the_collection_is_looked_at() -> None:
    assert ROWS.keys() == EXPECTED.keys() | OTHERS
