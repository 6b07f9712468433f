"""Reads server-sent events of vendors, by the WHATWG's rules and a little more kindly. Pure.

Bytes come in any pieces. One BOM at the start is dropped; a line ends with CR, LF or both; comments, `id:` and `retry:` are left
out; an event without data is none. The standard drops an event whose empty line never came. Here it is handed out at the end,
because its count may be whole.
"""

from typing import Final, NamedTuple

from services.edge.vendors.vendor import VendorFailure

EVENT_BYTES_MAX: Final = 8 * 1024 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_BLANK: Final = 0x20


class Event(NamedTuple):
    """One event: its name, empty where it has none, and its data, lines joined by LF."""

    name: str
    data: bytes


class EventReader:
    """Cuts a body into events. Its work grows with the bytes, however small their pieces are."""

    def __init__(self) -> None:
        # Bytes of the incomplete event, without an empty line.
        self._rest = bytearray()
        # Bytes that may be the start of a BOM.
        self._half = b""
        # Bytes since the last event, including comments and empty lines.
        self._bytes_since_event = 0
        # Set if the last byte was a CR: an LF that follows belongs to it.
        self._after_cr = False
        self._begun = False

    def feed(self, piece: bytes) -> list[Event]:
        """Events that are complete now. Errors: `VendorFailure` garbage when none comes within `EVENT_BYTES_MAX`."""
        events = self._cut(piece)
        self._bytes_since_event = len(self._rest) if events else self._bytes_since_event + len(piece)
        if self._bytes_since_event > EVENT_BYTES_MAX:
            raise VendorFailure("garbage", 200)
        return events

    def _cut(self, piece: bytes) -> list[Event]:
        """Adds a piece, and takes out the complete events."""
        if not self._begun:
            piece, self._half = self._half + piece, b""
            if len(piece) < len(_BOM) and _BOM.startswith(piece):
                self._half = piece
                return []
            self._begun = True
            piece = piece.removeprefix(_BOM)
        if self._after_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._rest:
            # The empty line may begin with the last byte that was held; earlier bytes are not looked at again.
            seam = len(self._rest) - 1
            self._rest += piece
            if self._rest.find(b"\n\n", seam) < 0:
                return []
            piece = bytes(self._rest)
            self._rest.clear()
        if b"\n\n" not in piece:
            self._hold(piece)
            return []
        *blocks, rest = piece.split(b"\n\n")
        self._hold(rest)
        events = []
        for block in blocks:
            # Skip empty lines quickly, because a hostile vendor sends them by the million.
            if block and (event := _event_of(block)) is not None:
                events.append(event)
        return events

    def _hold(self, rest: bytes) -> None:
        # Empty lines alone begin no event.
        self._rest += rest.lstrip(b"\n")

    def end(self) -> list[Event]:
        """The rest after the last empty line when the body has ended: an event that may be half."""
        rest = bytes(self._rest) if self._begun else self._half
        self._rest.clear()
        return [event for block in rest.split(b"\n\n") if (event := _event_of(block)) is not None]


def _event_of(block: bytes) -> Event | None:
    """The event of a block of lines; None where it has no data."""
    if block.startswith(b"data: ") and b"\n" not in block and len(block) > 6 and block[6] > _BLANK:
        return Event("", block[6:])
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


class PieceReader:
    """Hands out a body as it comes, each piece as an event: for sound, which has no events."""

    def feed(self, piece: bytes) -> list[Event]:
        """The piece, as an event."""
        return [Event("", piece)]

    def end(self) -> list[Event]:
        """Nothing is held."""
        return []
