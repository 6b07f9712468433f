"""Odd forms of a chat completion's chunks and messages, as vendors send them."""

from typing import Any, Final

from services.vendor_simulator.simulate import Quirk

Chunk = dict[str, Any]

_PADDING: Final = "aZ3kP9qLm2xT"


def shape_message(message: Chunk, quirks: tuple[Quirk, ...]) -> Chunk:
    """A whole answer's message with those of `quirks` that concern a message."""
    for quirk in quirks:
        if quirk == "content_list":
            _list_content(message)
        elif quirk == "unknown_delta_field":
            _move_content(message)
    return message


def shape_chunk(chunk: Chunk, quirks: tuple[Quirk, ...]) -> list[Chunk]:
    """The chunks that are sent in place of `chunk`, with those of `quirks` that concern a chunk."""
    chunks = [chunk]
    for quirk in quirks:
        if quirk == "choices_null":
            if not chunk["choices"]:
                chunk["choices"] = None
            elif chunk["choices"][0]["delta"].get("content"):
                bare = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
                chunks += [bare | {"choices": None, "usage": None}, bare]
        elif quirk == "obfuscation":
            chunk["obfuscation"] = _PADDING[: 1 + len(str(chunk)) % len(_PADDING)]
    for choice in chunk["choices"] or ():
        choice["delta"] = dict(choice["delta"])
        for quirk in quirks:
            _shape_delta(choice["delta"], quirk)
    return chunks


def _shape_delta(delta: Chunk, quirk: Quirk) -> None:
    if quirk == "content_list":
        _list_content(delta)
    elif quirk == "unknown_delta_field":
        _move_content(delta)
    elif quirk == "role_repeated":
        delta.setdefault("content", None)
        delta["role"] = "assistant"
    elif quirk == "tool_index_missing" and "tool_calls" in delta:
        delta["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in delta["tool_calls"]]
    elif quirk == "tool_index_zero" and "tool_calls" in delta:
        delta["tool_calls"] = [call | {"index": 0} for call in delta["tool_calls"]]


def _list_content(delta: Chunk) -> None:
    """Mistral's form: what is said and what is thought are parts of one list."""
    parts: list[Chunk] = []
    thought = delta.pop("reasoning_content", None) or delta.pop("reasoning", None)
    delta.pop("reasoning", None)
    if thought:
        parts.append({"type": "thinking", "thinking": [{"type": "text", "text": thought}]})
    if delta.get("content"):
        parts.append({"type": "text", "text": delta["content"]})
    if parts:
        delta["content"] = parts


def _move_content(delta: Chunk) -> None:
    """Text in a field that no reader knows."""
    if delta.get("content"):
        delta["answer_text"] = delta.pop("content")
