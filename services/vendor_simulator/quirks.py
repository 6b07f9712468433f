"""Odd forms of an event stream's bytes, the same for every dialect.

They change whole events, each of which ends in a blank line: lines before or inside an event, line ends, a mark at the
start, compression. Odd forms of what the events say are in `rich_chunks`.
"""

import zlib
from collections.abc import Callable
from typing import Final

from services.vendor_simulator.answer import Events
from services.vendor_simulator.simulate import Quirk

_BOM: Final = b"\xef\xbb\xbf"
_BLANK_LINES: Final = b"\n\n\n\n"
_DONE: Final = b"data: [DONE]\n\n"
_UNKNOWN_EVENT: Final = b'event: weather_report\ndata: {"type":"weather_report","text":"fine"}\n\n'
# zlib's window bits for the gzip format.
_GZIP: Final = 31


class ShapedEvents:
    """The events of another stream, in the form that `quirks` ask for; `terminal` is the bytes of its last event."""

    def __init__(self, events: Events, quirks: tuple[Quirk, ...], terminal: bytes) -> None:
        self._events = events
        self._terminal = terminal
        self._quirks = quirks
        self._edits = [(quirk, _EVENT_EDITS[quirk]) for quirk in quirks if quirk in _EVENT_EDITS]
        self._lines = _LINE_ENDS[next((quirk for quirk in quirks if quirk in _LINE_ENDS), "")]
        self._gzip = zlib.compressobj(wbits=_GZIP) if "gzip" in quirks else None
        self._number = 0

    def head(self) -> bytes:
        """The events before the first token."""
        before = b""
        if "blank_lines_first" in self._quirks:
            before += _BLANK_LINES
        if "control_lines" in self._quirks:
            before += b": PROCESSING\n\nretry: 3000\n\nid: 7\n\n"
        if "comments" in self._quirks:
            before += b": keep-alive\n\n: keep-alive\n\n"
        head = self._lines(before + self._shape(self._events.head()))
        return self._pack(_BOM + head if "bom" in self._quirks else head)

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them, of each choice."""
        return self._pack(self._lines(self._shape(self._events.content(start, count))))

    def end(self) -> bytes:
        """The events after the last token."""
        end = self._events.end()
        if "no_done" in self._quirks:
            end = end.replace(self._terminal, b"")
        if "extra_done" in self._quirks:
            end += _DONE
        end = self._shape(end)
        if "no_blank_at_end" in self._quirks:
            end = end.removesuffix(b"\n\n")
        return self._pack(self._lines(end), last=True)

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed."""
        return self._pack(self._lines(self._shape(self._events.error(body))), last=True)

    def _shape(self, events: bytes) -> bytes:
        shaped = []
        for event in events.split(b"\n\n"):
            if not event:
                continue
            whole = event + b"\n\n"
            for _, edit in self._edits:
                self._number += 1
                whole = edit(whole, self._number)
            shaped.append(whole)
        return b"".join(shaped)

    def _pack(self, events: bytes, last: bool = False) -> bytes:
        if self._gzip is None:
            return events
        # Each part can be read as soon as it comes.
        return self._gzip.compress(events) + self._gzip.flush(zlib.Z_FINISH if last else zlib.Z_SYNC_FLUSH)


def shape_body(body: bytes, quirks: tuple[Quirk, ...]) -> bytes:
    """A whole answer's body with those of `quirks` that concern one."""
    if "blank_lines_first" in quirks:
        body = _BLANK_LINES + body
    if "bom" in quirks:
        body = _BOM + body
    if "gzip" in quirks:
        packer = zlib.compressobj(wbits=_GZIP)
        body = packer.compress(body) + packer.flush()
    return body


def _empty_data(event: bytes, number: int) -> bytes:
    return event + (b"data:\n\n" if number % 2 else b"data: \n\n")


def _control_lines(event: bytes, number: int) -> bytes:
    name = b"" if event.startswith(b"event:") else b"event: message\n"
    return b"%bid: %d\n%bevent: ping\n\n" % (name, number, event)


def _comment_inside(event: bytes, number: int) -> bytes:
    return b"id: %d\n: keep-alive\n%b" % (number, event)


def _comments(event: bytes, number: int) -> bytes:
    return event + b": keep-alive\n\n"


def _no_space(event: bytes, number: int) -> bytes:
    return event.replace(b"data: ", b"data:", 1)


def _multi_line_data(event: bytes, number: int) -> bytes:
    return event.replace(b',"', b',\ndata: "', 1)


def _no_event_lines(event: bytes, number: int) -> bytes:
    return event.split(b"\n", 1)[1] if event.startswith(b"event:") else event


def _split_event_name(event: bytes, number: int) -> bytes:
    return event.replace(b"\ndata:", b"\n\ndata:", 1) if event.startswith(b"event:") else event


def _unknown_event(event: bytes, number: int) -> bytes:
    return event + _UNKNOWN_EVENT


_EVENT_EDITS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "multi_line_data": _multi_line_data,
    "no_space": _no_space,
    "no_event_lines": _no_event_lines,
    "split_event_name": _split_event_name,
    "comment_inside": _comment_inside,
    "control_lines": _control_lines,
    "empty_data": _empty_data,
    "comments": _comments,
    "unknown_event": _unknown_event,
}


def _mix_line_ends(events: bytes) -> bytes:
    lines = events.split(b"\n")
    return b"".join(line + (b"\n", b"\r\n", b"\r\n")[index % 3] for index, line in enumerate(lines[:-1])) + lines[-1]


_LINE_ENDS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": lambda events: events,
    "crlf": lambda events: events.replace(b"\n", b"\r\n"),
    "cr": lambda events: events.replace(b"\n", b"\r"),
    "mixed_line_ends": _mix_line_ends,
}
