"""Events as a dialect's answer relays them. Pure."""

from typing import Final

import msgspec

from services.edge.dialects.typed_events import Tree

_PLAIN: Final = b"data: "
_NEXT: Final = b"\ndata: "
_decode: Final = msgspec.json.Decoder().decode


def data_of(out: bytes) -> list[Tree]:
    """The data of each event that has some; every one is an object that the dialect has read."""
    return [_decode(data) for block in out.split(b"\n\n") if (data := _data(block)).startswith(b"{")]


def _data(block: bytes) -> bytes:
    data = block[len(_PLAIN) :] if block.startswith(_PLAIN) else block.partition(_NEXT)[2]
    # One event may have several lines of data.
    return data.replace(_NEXT, b"\n") if _NEXT in data else data
