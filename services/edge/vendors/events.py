"""Server-sent events as vendors send them, read by the WHATWG's rules and a little more kindly. Pure.

Bytes come in any pieces. One BOM at the start is dropped; a line ends with CR, LF or both; comments, `id:` and `retry:` are left
out; an event without data is none. The standard drops an event whose empty line never came; here it is handed out at the end,
since its count may be whole.
"""

from typing import Final, NamedTuple

from services.edge.vendors.vendor import VendorFailure

EVENT_BYTES_MAX: Final = 8 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event: its name, empty where it has none, and its data, lines joined by LF."""

    name: str
    data: bytes


class EventReader:
    """Cuts a body into events."""

    def __init__(self) -> None:
        self._rest = b""
        self._begun = False

    def feed(self, piece: bytes) -> list[Event]:
        """The events that are complete now. Errors: `VendorFailure` garbage when one is beyond `EVENT_BYTES_MAX`."""
        if self._rest:
            piece = self._rest + piece
        if not self._begun:
            if len(piece) < len(_BOM) and _BOM.startswith(piece):
                self._rest = piece
                return []
            self._begun = True
            piece = piece.removeprefix(_BOM)
        if b"\r" in piece:
            # A CR at the end may be half of a CRLF.
            held = b"\r" if piece.endswith(b"\r") else b""
            piece = piece[: len(piece) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n") + held
        *blocks, self._rest = piece.split(b"\n\n")
        if len(self._rest) > EVENT_BYTES_MAX:
            raise VendorFailure("garbage", 200)
        events = []
        for block in blocks:
            if (event := _event_of(block)) is not None:
                events.append(event)
        return events

    def end(self) -> list[Event]:
        """What stands after the last empty line when the body has ended: an event that may be half."""
        rest, self._rest = self._rest, b""
        return [event for block in rest.replace(b"\r", b"\n").split(b"\n\n") if (event := _event_of(block)) is not None]


def _event_of(block: bytes) -> Event | None:
    """The event of a block of lines; None where it has no data."""
    if block.startswith(b"data: ") and b"\n" not in block:
        return Event("", block[6:]) if len(block) > 6 else None
    name = b""
    data: list[bytes] = []
    for line in block.split(b"\n"):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    joined = b"\n".join(data)
    if not joined.strip():
        return None
    return Event(name.decode("utf-8", "replace"), joined)
