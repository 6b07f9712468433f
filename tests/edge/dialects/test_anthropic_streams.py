"""Bodies as vendors send them with their quirks: whole, byte by byte and in every split in two, relayed and assembled."""

import csv
import re
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest

from services.edge.vendors.events import Event
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, Vector
from tests.edge.dialects.anthropic_answers import Fed, answer, complete, events_of, feed, joined
from tests.edge.dialects.anthropic_client import read_stream, read_whole
from tests.traces import STREAMS, needs_streams


def rows() -> list[dict[str, str]]:
    """The index's rows of this dialect; none where there are no files."""
    if not STREAMS.is_dir():
        return []
    with (STREAMS / "index.csv").open(encoding="utf-8", newline="") as index:
        return [row for row in csv.DictReader(index) if row["dialect"] == "messages"]


ROWS = rows()
STREAMED = [row for row in ROWS if row["file"].endswith(".sse")]
COMPLETE = [row for row in STREAMED if row["provenance"] == "vendor"]


def counts_of(fed: Fed) -> Vector:
    """What is charged where the vendor's count is believed."""
    assert fed.counted is not None
    return fed.counted.counts


def told(message: anthropic.types.Message) -> dict[str, Any]:
    """A message without the counts of 0 that one of two ways leaves out."""
    fields: dict[str, Any] = message.to_dict(exclude_none=True)
    fields["usage"] = {name: count for name, count in fields["usage"].items() if count != 0}
    return fields


def cuts(body: bytes) -> Iterator[list[bytes]]:
    """A body whole, in single bytes, and in every split in two."""
    yield [body]
    yield [body[at : at + 1] for at in range(len(body))]
    for place in range(1, len(body)):
        yield [body[:place], body[place:]]


def assert_counted(fed: Fed, row: dict[str, str]) -> None:
    assert fed.counted is not None
    counts = dict(zip(INDEX, fed.counted.counts, strict=False))
    counts["cache_write"] += counts.pop("cache_write_1h", 0)
    for name in ("input", "cached_input", "cache_write"):
        assert counts[name] == int(row[name]), name
    assert fed.counted.has_input
    assert fed.counted.has_output is bool(row["output"])
    if row["output"]:
        assert (counts["output"], counts["reasoning"]) == (int(row["output"]), int(row["reasoning"]))


@needs_streams
@pytest.mark.parametrize("row", STREAMED, ids=lambda row: row["file"])
@pytest.mark.parametrize("streamed", [True, False], ids=["relayed", "assembled"])
def test_is_the_same_however_it_is_cut(row: dict[str, str], *, streamed: bool) -> None:
    body = (STREAMS / row["file"]).read_bytes()
    seen = set()
    for pieces in cuts(body):
        reading = answer(streamed=streamed)
        fed = feed(reading, pieces)
        assert_counted(fed, row)
        assert fed.ended is fed.finished is (row["provenance"] == "vendor")
        assert bool(fed.faults) is (row["provenance"] != "vendor")
        seen.add(fed.out + complete(reading))
    assert len(seen) == 1


@needs_streams
@pytest.mark.parametrize("row", COMPLETE, ids=lambda row: row["file"])
def test_is_relayed_to_the_letter_and_its_end_is_held(row: dict[str, str]) -> None:
    body = (STREAMS / row["file"]).read_bytes()
    reading = answer(streamed=True)
    fed = feed(reading, [body])
    assert b"message_stop" not in fed.out
    relayed = fed.out + complete(reading)
    if b"event: " in body:
        assert relayed == body
    else:
        assert b"[DONE]" not in relayed
        written = [event for event in body.split(b"\n\n") if event and b"[DONE]" not in event]
        assert [event.partition(b"\n")[2] for event in relayed.split(b"\n\n") if event] == written
        assert events_of(relayed)[-1] == {"type": "message_stop"}


@needs_streams
@pytest.mark.parametrize("row", COMPLETE, ids=lambda row: row["file"])
def test_the_sdk_reads_the_same_message_either_way(row: dict[str, str]) -> None:
    body = (STREAMS / row["file"]).read_bytes()
    relaying, assembling = answer(streamed=True), answer(streamed=False)
    relayed = feed(relaying, [body]).out + complete(relaying)
    fed = feed(assembling, [body])
    assert fed.out == b""
    streamed, whole = read_stream(relayed), read_whole(complete(assembling, counts_of(fed)))
    assert told(whole) == told(streamed)
    assert whole.usage.output_tokens == int(row["output"]) + int(row["reasoning"])
    text = re.search(r"text '([^']*)'", row["client_must_get"])
    if text:
        assert "".join(block.text for block in whole.content if block.type == "text") == text[1]
    reason = re.search(r"end_turn|tool_use", row["client_must_get"])
    assert whole.stop_reason == (reason[0] if reason else "end_turn")


@needs_streams
def test_a_whole_refusal_is_relayed_as_it_came() -> None:
    body = (STREAMS / "a08-refusal.json").read_bytes()
    reading = answer(streamed=False)
    fed = joined([reading.feed_whole(body)])
    assert_counted(fed, next(row for row in ROWS if row["file"] == "a08-refusal.json"))
    assert (fed.finished, fed.ended) == (True, True)
    assert complete(reading, counts_of(fed)) == body
    assert read_whole(complete(reading, counts_of(fed))).stop_reason == "refusal"


@needs_streams
@pytest.mark.parametrize("streamed", [True, False])
def test_an_error_with_status_200_is_a_refusal(*, streamed: bool) -> None:
    with pytest.raises(VendorFailure) as caught:
        answer(streamed=streamed).feed_whole((STREAMS / "a11-error-status-200.json").read_bytes())
    fault = caught.value.fault
    assert caught.value.outcome == "refused"
    assert fault is not None
    assert (fault.http_status, fault.kind, fault.message) == (200, "api_error", "insufficient balance (1008)")


@needs_streams
def test_what_is_said_thought_called_and_added() -> None:
    found = {row["file"][:3]: feed(answer(streamed=True), [(STREAMS / row["file"]).read_bytes()]) for row in STREAMED}
    assert (found["a01"].said, found["a01"].thought, found["a01"].calls) == ("Read it.", "", 0)
    assert (found["a02"].said, found["a02"].thought, found["a02"].opaque_bytes) == ("Done.", "Split it up.", 24)
    assert found["a03"].said == 'web_search{"query":"rain"}It rains.'
    assert found["a03"].calls == 1
    assert "https://example.org/" in found["a03"].added
    assert "eA==" not in found["a03"].added
    assert found["a05"].said == "Up to he"
    assert (found["a06"].said, found["a06"].calls) == ('run{"cmd": "ls"}now', 2)
    assert (found["a07"].said, found["a07"].thought, found["a07"].opaque_bytes) == ("Fine.", "", 24)


@needs_streams
@pytest.mark.parametrize("row", COMPLETE, ids=lambda row: row["file"])
def test_a_whole_answer_makes_the_stream_that_it_would_have_been(row: dict[str, str]) -> None:
    assembling, synthesizing = answer(streamed=False), answer(streamed=True)
    fed = feed(assembling, [(STREAMS / row["file"]).read_bytes()])
    whole = complete(assembling, counts_of(fed))
    step = synthesizing.feed_whole(whole)
    streamed = read_stream(step.out + complete(synthesizing, counts_of(fed)))
    assert told(streamed) == told(read_whole(whole))
    assert step.counted == fed.counted
    assert (step.thought, step.opaque_bytes, step.calls) == (fed.thought, fed.opaque_bytes, fed.calls)
    assert step.ended


@needs_streams
@pytest.mark.parametrize("row", COMPLETE, ids=lambda row: row["file"])
def test_pieces_of_events_are_garbage_or_nothing(row: dict[str, str]) -> None:
    body = (STREAMS / row["file"]).read_bytes()
    data = next(line for line in body.splitlines() if line.startswith(b"data: "))[6:]
    reading = answer(streamed=True)
    for end in range(1, len(data)):
        with pytest.raises(VendorFailure):
            reading.feed(Event("", data[:end]))
