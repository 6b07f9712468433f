"""Reads chunks of a vendor's stream: strictly where they have OpenAI's form, else as any JSON. Pure."""

import json
import re
from typing import Any, Final

import msgspec

from services.edge.dialects.chat.deltas import METADATA_BYTES_MAX, ChoiceState
from services.edge.dialects.json_text import NOT_JSON, encode
from services.edge.vendors.usage import at
from services.edge.vendors.vendor import VendorFailure

# At most this many bytes are the names and marks of a chunk that has every member, with white space.
_NAMES_BYTES_MAX: Final = 440
_USAGE_BYTES_MAX: Final = 1_024
# A name disguised by escapes of its letters; in a text the quote would be escaped.
_ESCAPED_NAME: Final = re.compile(rb'\\u00[0-9A-Fa-f]{2}[A-Za-z_]*"\s*:')
# Joining and writing take a few calls a level.
_DEPTH_MAX: Final = 100
_LONE: Final = re.compile("[\ud800-\udfff]")
NO_USAGE: Final = msgspec.Raw(b"null")


class Function(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    name: str | None = None
    arguments: str | None = None


class Call(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    id: str | None = None
    type: str | None = None
    function: Function | None = None


class Delta(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    content: str | None = None
    role: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[Call] | None = None


class Choice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    delta: Delta
    finish_reason: str | None = None
    logprobs: None = None


class Chunk(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    model: str
    created: int
    object: str
    choices: list[Choice]
    usage: msgspec.Raw = NO_USAGE
    system_fingerprint: str | None = None
    service_tier: str | None = None
    obfuscation: str | None = None
    provider: str | None = None


class Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str
    content: str | None = None
    refusal: None = None
    reasoning_content: str | None = None


class WholeChoice(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    index: int
    message: Message
    finish_reason: str
    logprobs: None = None


class Whole(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    model: str
    created: int
    object: str
    choices: list[WholeChoice]
    usage: msgspec.Raw
    system_fingerprint: str | None = None
    service_tier: str | None = None


# Numbers alone, as in nearly every usage: read in a fifth of the time that a search for texts takes.
_numbers_decoder: Final = msgspec.json.Decoder(dict[str, int | float | dict[str, int | float | None] | None])


# Counts that clients of OpenAI's find in every usage.
USAGE_COUNTS: Final = frozenset({"prompt_tokens", "completion_tokens", "total_tokens"})


def is_plain_usage(usage: msgspec.Raw) -> bool:
    """Whether a usage has the counts that clients expect, and no text."""
    try:
        return _numbers_decoder.decode(usage).keys() >= USAGE_COUNTS
    except NOT_JSON:
        return False


whole_decoder: Final = msgspec.json.Decoder(Whole)


def clean_whole(body: bytes) -> Whole | None:
    """A whole answer that can be passed on as it is; None where it needs a closer look."""
    try:
        whole = whole_decoder.decode(body)
    except NOT_JSON:
        return None
    count = len(whole.choices)
    if not (whole.id and whole.model and count) or whole.object != "chat.completion":
        return None
    if body.count(b'"content"') != count or body.count(b'"message"') != count or body.count(b'"reasoning_content"') > count:
        return None
    if b"\\u00" in body and _ESCAPED_NAME.search(body):
        return None
    if not is_plain_usage(whole.usage) or len(whole.usage) > _USAGE_BYTES_MAX:
        return None
    others = len(body) - len(whole.usage)
    for index, choice in enumerate(whole.choices):
        message = choice.message
        if choice.index != index or message.role != "assistant":
            return None
        reason = choice.finish_reason
        if len(reason) > METADATA_BYTES_MAX or ChoiceState(index).reason(reason) != reason:
            return None
        others -= len(message.content or "") + len(message.reasoning_content or "")
    if others > METADATA_BYTES_MAX:
        # Look closer: there is room for words that count as output, or for white space, text in escapes, a name twice.
        if _longest(whole.id, whole.model, whole.system_fingerprint, whole.service_tier) > METADATA_BYTES_MAX:
            return None
        if len(body) > len(encode(whole)) + _NAMES_BYTES_MAX:
            return None
    return whole


def _longest(*words: str | None) -> int:
    """The bytes of the longest of these words."""
    return max(len(word.encode()) for word in words if word)


chunk_decoder: Final = msgspec.json.Decoder(Chunk)


def is_clean(chunk: Chunk, data: bytes) -> bool:
    """Whether the chunk has all that clients expect, and each name of a text once."""
    if not (chunk.id and chunk.model) or chunk.object != "chat.completion.chunk" or data.count(b'"choices"') != 1:
        return False
    if b"\\u00" in data and _ESCAPED_NAME.search(data):
        return False
    if chunk.usage is not NO_USAGE and chunk.usage != NO_USAGE and not is_plain_usage(chunk.usage):
        return False
    if len(chunk.choices) != 1:
        return not chunk.choices and chunk.usage != NO_USAGE
    choice = chunk.choices[0]
    delta = choice.delta
    if choice.index < 0 or data.count(b'"delta"') != 1 or data.count(b'"content"') > 1:
        return False
    return data.count(b'"reasoning') <= 1 and (delta.refusal is None or data.count(b'"refusal"') <= 1)


def has_more_than(chunk: Chunk, data: bytes, usage: bytes, spare_bytes: int) -> bool:
    """Whether a chunk has more than was read of it and `spare_bytes`, as with a name twice, or words that count as output."""
    words = [chunk.id, chunk.model, chunk.system_fingerprint, chunk.service_tier, chunk.obfuscation, chunk.provider]
    for choice in chunk.choices:
        words += (choice.finish_reason, choice.delta.role)
        for call in choice.delta.tool_calls or ():
            words += (call.id, call.type)
    sizes = [len(word.encode()) for word in words if word]
    if len(usage) > _USAGE_BYTES_MAX or max(sizes) > METADATA_BYTES_MAX:
        return True
    return len(data) > len(encode(msgspec.json.decode(data))) + spare_bytes


def decoded(data: bytes) -> object:
    """A vendor's JSON, also where it has NaN, lone surrogates or bytes that are no UTF-8. Errors: `VendorFailure` garbage."""
    try:
        found = msgspec.json.decode(data)
        if data.count(b"{") + data.count(b"[") <= _DEPTH_MAX:
            return found
    except NOT_JSON:
        found = None
    try:
        return _sound(json.loads(data.decode("utf-8", "replace"), strict=False) if found is None else found, 0)
    except (ValueError, RecursionError):
        raise VendorFailure("garbage", 200) from None


def _sound(value: Any, depth: int) -> Any:
    """The value with lone surrogates replaced, because no text has them."""
    if depth > _DEPTH_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, str):
        return _LONE.sub("�", value)
    if isinstance(value, list):
        return [_sound(each, depth + 1) for each in value]
    if isinstance(value, dict):
        return {_LONE.sub("�", name): _sound(each, depth + 1) for name, each in value.items()}
    return value


def is_error(found: object, event_name: str) -> bool:
    """Whether a vendor sent an error instead of an answer."""
    if isinstance(found, list):
        return bool(found) and is_error(found[0], event_name)
    if not isinstance(found, dict):
        return event_name == "error"
    if found.get("error") or event_name == "error" or found.get("type") == "error" or found.get("object") == "error":
        return True
    status = at(found, ("base_resp", "status_code"))
    if status not in (None, 0, "0", ""):
        return True
    if found.get("choices") or isinstance(found.get("usage"), dict):
        return False
    return any(found.get(name) for name in ("message", "msg", "detail", "error_msg", "errors")) and "choices" not in found
