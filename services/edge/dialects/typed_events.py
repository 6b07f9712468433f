"""Events that name their type in their data, and whole answers, on the wire: reads a vendor's, writes a client's. Pure."""

import re
from typing import Any, Final

import msgspec

from services.edge.dialects.json_text import NOT_JSON, encode
from services.edge.vendors.errors import fault_in
from services.edge.vendors.events import Event
from services.edge.vendors.vendor import VendorFailure

Tree = dict[str, Any]
# A name that can stand in the line of an event.
_NAME: Final = re.compile(r"[0-9A-Za-z_.-]{1,64}")
# Vendors pad their events against listeners.
_PADDING_BYTES_MAX: Final = 64
# Events that each answer in a dialect begins with, or has its text in.
OF_MESSAGES: Final = frozenset({"message_start", "content_block_start", "content_block_delta", "message_delta"})
OF_RESPONSES: Final = frozenset({"response.created", "response.in_progress", "response.output_text.delta", "response.completed"})
_decode: Final = msgspec.json.Decoder().decode


def fields_of(event: Event) -> tuple[Tree, bytes]:
    """An event's members, with its type among them, and its data; no members for an event that only keeps a connection open.

    Errors: `VendorFailure` garbage.
    """
    data = event.data
    try:
        fields = _decode(data)
    except NOT_JSON:
        if data.lstrip().startswith(b"{"):
            raise VendorFailure("garbage", 200) from None
        return {}, data
    if type(fields) is not dict:
        return {}, data
    kind = fields.get("type")
    if kind is None:
        if fields.get("error") is not None:
            return {**fields, "type": "error"}, data
        # The SDKs take the type from the data.
        kind = event.name
        fields = {**fields, "type": kind}
        data = encode(fields)
    if type(kind) is not str or not _NAME.fullmatch(kind):
        raise VendorFailure("garbage", 200)
    return fields, as_read(data, fields)


def refuse_event_of(dialect: frozenset[str], kind: object) -> None:
    """Refuses an event of another dialect than the vendor's profile says: its client would find nothing in it, and pay for it.

    Errors: `VendorFailure` garbage. `dialect`: `OF_MESSAGES` or `OF_RESPONSES`.
    """
    if kind in dialect:
        raise VendorFailure("garbage", 200)


def as_read(data: bytes, members: Tree) -> bytes:
    """JSON as it came where it is what was read, with at most a few spaces before its end; else JSON written anew.

    Spaces elsewhere, a name twice and escapes would tell what nobody counts.
    """
    written = encode(members)
    if data == written:
        return data
    is_padded = len(data) <= len(written) + _PADDING_BYTES_MAX and data[:-1].rstrip(b" ") + data[-1:] == written
    return data if is_padded else written


def whole_of(body: bytes) -> Tree:
    """An object that a vendor answered. Errors: `VendorFailure` garbage, or refused with the vendor's error."""
    try:
        found = _decode(body)
    except NOT_JSON:
        raise VendorFailure("garbage", 200, body) from None
    if type(found) is not dict:
        raise VendorFailure("garbage", 200, body)
    if found.get("type") == "error" or found.get("error") is not None:
        raise VendorFailure("refused", 200, body, fault_in(found))
    return found


def event_of(kind: str, data: bytes) -> bytes:
    """One event on the wire."""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
