"""Events as a dialect's answer relays them. Pure."""

from os import urandom
from typing import Final

import msgspec

from services.edge.dialects.typed_events import Tree

_PLAIN: Final = b"data: "
_END: Final = b"\n\n"
_NEXT: Final = b"\ndata: "
_decode: Final = msgspec.json.Decoder().decode


def data_of(out: bytes) -> list[Tree]:
    """The data of each event that has some; every one is an object that the dialect has read."""
    if out.find(_END) == len(out) - len(_END):
        # One event, as nearly always.
        return [_decode(data)] if (data := _data(out[: -len(_END)])).startswith(b"{") else []
    return [_decode(data) for block in out.split(_END) if (data := _data(block)).startswith(b"{")]


def new_id() -> str:
    """An ID that no other has, in 32 digits."""
    return urandom(16).hex()


def _data(block: bytes) -> bytes:
    data = block[len(_PLAIN) :] if block.startswith(_PLAIN) else block.partition(_NEXT)[2]
    # One event may have several lines of data.
    return data.replace(_NEXT, b"\n") if _NEXT in data else data
