"""Whole messages, and the events that tell them."""

from typing import Any

from services.edge.dialects.json_text import encode
from services.edge.dialects.typed_events import Tree, whole_of
from services.edge.vendors.vendor import VendorFailure


def message_of(body: bytes) -> Tree:
    """A whole answer. Errors: `VendorFailure` garbage, or refused with the vendor's error."""
    message = whole_of(body)
    if not isinstance(message.get("content"), list):
        raise VendorFailure("garbage", 200, body)
    return message


def events_of(message: Tree) -> list[Tree]:
    """The events of a stream of this answer, up to its message_stop."""
    usage = message.get("usage")
    begun = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    events: list[Tree] = [{"type": "message_start", "message": begun}]
    for index, block in enumerate(message["content"]):
        deltas, start = _taken_apart(block)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    delta = {name: message.get(name) for name in ("stop_reason", "stop_sequence", "stop_details", "container") if name in message}
    return [*events, {"type": "message_delta", "delta": delta, "usage": usage}]


def _taken_apart(block: Any) -> tuple[list[Tree], Any]:
    """A block's pieces, and its begin in a stream."""
    match block:
        case {"type": "text", "text": str(text)} if isinstance(block.get("citations") or [], list):
            cited = [{"type": "citations_delta", "citation": each} for each in block.get("citations") or ()]
            return [{"type": "text_delta", "text": text}, *cited], {"type": "text", "text": ""}
        case {"type": "thinking", "thinking": str(text)}:
            signed = [{"type": "signature_delta", "signature": block["signature"]}] if block.get("signature") else []
            return [{"type": "thinking_delta", "thinking": text}, *signed], {**block, "thinking": "", "signature": ""}
        case {"type": "tool_use" | "server_tool_use" | "mcp_tool_use", "input": dict(arguments)}:
            return [{"type": "input_json_delta", "partial_json": encode(arguments).decode()}], {**block, "input": {}}
        case _:
            return [], block
