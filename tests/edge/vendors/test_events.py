import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.edge.vendors.events import EVENT_BYTES_MAX, Event, EventReader
from services.edge.vendors.vendor import VendorFailure

# Bytes of which streams are made, and of which they go wrong.
MARKS = [
    b"data: a",
    b"data:b",
    b"data",
    b"event: e",
    b"id: 7",
    b": note",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\xef\xbb\xbf",
    b" ",
    b"\xff",
]
PIECES = st.lists(st.sampled_from(MARKS), max_size=30).map(b"".join)


def read(*pieces: bytes) -> list[Event]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.end()


def simply(body: bytes) -> list[Event]:
    """The same by the WHATWG's rules, without regard to time."""
    lines = re.split(rb"\r\n|\n|\r", body.removeprefix(b"\xef\xbb\xbf"))
    events: list[Event] = []
    name, data = b"", []
    for line in [*lines, b""]:
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            continue
        joined = b"\n".join(data)
        if joined.strip():
            events.append(Event(name.decode("utf-8", "replace"), joined))
        name, data = b"", []
    return events


@given(PIECES)
@example(b"data: a\r")
@example(b"data: a\r\r")
@example(b"\xef\xbb")
@example(b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n")
@example(b"data: a\n\r\ndata: b\r\n\rdata: c")
def test_a_body_is_read_by_the_rules_in_whatever_pieces_it_comes(body: bytes) -> None:
    expected = simply(body)
    assert read(body) == expected
    assert read(*(bytes([byte]) for byte in body)) == expected
    for place in range(len(body) + 1):
        assert read(body[:place], body[place:]) == expected


@given(PIECES, st.sampled_from([b"\n", b"\r", b"\r\n"]))
def test_an_event_is_handed_out_as_soon_as_its_empty_line_is_there(before: bytes, line_end: bytes) -> None:
    reader = EventReader()
    reader.feed(before)
    reader.feed(b"\n\n\ndata: x" + line_end)
    assert [event.data for event in reader.feed(line_end)] == [b"x"]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b": only a comment\n\n", []),
        (b"data:\n\n", []),
        (b"data: \n\n", []),
        (b"data\n\n", []),
        (b"event: ping\n\n", []),
        (b"id: 1\nretry: 5\ndata: a\n\n", [Event("", b"a")]),
        (b"event: e\ndata: a\ndata: b\n\n", [Event("e", b"a\nb")]),
        (b"event: e\n\ndata: a\n\n", [Event("", b"a")]),
        (b"data:  two\n\n", [Event("", b" two")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Event("", b"a")]),
        (b"\n\xef\xbb\xbfdata: a\n\n", []),
        (b"data: a\n\ndata: half", [Event("", b"a"), Event("", b"half")]),
        (b"event: \xff\ndata: a\n\n", [Event("\ufffd", b"a")]),
    ],
)
def test_lines_of_every_kind(body: bytes, events: list[Event]) -> None:
    assert read(body) == events


def test_an_event_of_any_size_up_to_the_bound_is_read_and_none_beyond() -> None:
    largest = b"data: " + b"x" * (EVENT_BYTES_MAX - 6)
    assert len(read(largest + b"\n\ndata: y\n\n")) == 2
    for pieces in ([largest + b"xx"], [largest, b"xx"], [b"data: y\n\n" + largest + b"xx"]):
        with pytest.raises(VendorFailure) as raised:
            read(*pieces)
        assert raised.value.outcome == "garbage"


@pytest.mark.parametrize(
    "nothing", [b"\n", b": " + b"." * 96 + b"\n\n", b"id: " + b"1" * 94 + b"\n\n", b"data:\n\n" * 2 + b"\n" * 90]
)
def test_a_body_that_says_nothing_is_read_up_to_the_bound(nothing: bytes) -> None:
    reader = EventReader()
    piece = nothing * (EVENT_BYTES_MAX // 4 // len(nothing))
    for _ in range(2):
        for _ in range(3):
            assert reader.feed(piece) == []
        assert [event.data for event in reader.feed(b"\n\ndata: a\n\n")] == [b"a"]
    with pytest.raises(VendorFailure) as raised:
        for _ in range(5):
            reader.feed(piece)
    assert raised.value.outcome == "garbage"


def test_many_events_in_one_piece_are_not_taken_for_a_large_one() -> None:
    event = b"data: " + b"x" * 1_000_000 + b"\n\n"
    assert len(read(event * 10)) == 10


@pytest.mark.parametrize("blank", [b"data:  ", b"data: \t", b"data:\t ", b"data: ", b"data:", b"data"])
def test_data_of_blanks_is_no_event(blank: bytes) -> None:
    reader = EventReader()
    assert [event.data for event in reader.feed(blank + b"\n\ndata:  a\n\n")] == [b" a"]


def seconds(pieces: list[bytes]) -> float:
    begun = time.process_time()
    read(*pieces)
    return time.process_time() - begun


def test_work_grows_with_the_bytes_and_not_with_their_square() -> None:
    # At the bound, pieces of 64 bytes took minutes when all that was held was joined and searched for each.
    pieces = [b"data: ", *([b"x" * 64] * 32_000)]
    small = min(seconds(pieces[:4_000]) for _ in range(3))
    assert min(seconds(pieces) for _ in range(3)) < 40 * small
