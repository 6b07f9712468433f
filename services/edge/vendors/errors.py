"""Reads a vendor's error, in whatever shape. Pure; no body raises an error.

Vendors that speak one dialect word their errors in many. There is an object under `error`, or plain text there, or the error alone.
Others send a list, MiniMax's `base_resp`, FastAPI's `detail`, or a page of a proxy.
"""

import html
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.edge.vendors.vendor import VendorFault

_MESSAGE_CHARACTERS_MAX: Final = 2_000
_WORD_CHARACTERS_MAX: Final = 128
_BODY_BYTES_MAX: Final = 64 * 1024
# Bounded, because patterns that look ahead take time with the square of it.
_PAGE_BYTES_MAX: Final = 4_096
_DEPTH_MAX: Final = 4
_WRAPPERS: Final = ("error", "Error", "base_resp", "errors", "ResponseMetadata", "fault", "err")
_CODES: Final = ("code", "status_code", "error_code", "Code", "errcode")
_KINDS: Final = ("type", "status", "Status")
_MESSAGES: Final = ("message", "status_msg", "error_msg", "msg", "Message", "errmsg", "error_description", "detail", "title")
# Types of a wrapper that only say that it is an error.
_NO_KINDS: Final = frozenset({"error", "object"})
_TITLE: Final = re.compile(r"<(title|h1)[^>]*>(.*?)</\1", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1\s*>|<[^<>]*>", re.IGNORECASE | re.DOTALL)
_BLANKS: Final = re.compile(r"\s+")


def fault_of(http_status: int, body: bytes, retry_after_ms: int) -> VendorFault:
    """The fault in an error's body. `http_status` 200: an error within an answer."""
    body = body[:_BODY_BYTES_MAX]
    try:
        found: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return VendorFault(http_status, message=_words_of_page(body), retry_after_ms=retry_after_ms)
    return fault_in(found, http_status, retry_after_ms)


def fault_in(found: object, http_status: int = 200, retry_after_ms: int = 0) -> VendorFault:
    """The fault in a decoded value."""
    code, kind, message, param = _read(found, 0)
    return VendorFault(
        http_status,
        code[:_WORD_CHARACTERS_MAX],
        kind[:_WORD_CHARACTERS_MAX],
        message[:_MESSAGE_CHARACTERS_MAX],
        param[:_WORD_CHARACTERS_MAX] if param else None,
        retry_after_ms,
    )


def _read(found: object, depth: int) -> tuple[str, str, str, str]:
    """Code, kind, message and param, each from the innermost object that has it."""
    if isinstance(found, str):
        return "", "", found, ""
    if isinstance(found, list):
        return _read(found[0], depth + 1) if found and depth < _DEPTH_MAX else ("", "", "", "")
    if not isinstance(found, Mapping):
        return "", "", "", ""
    code, message, param = _first(found, _CODES), _first(found, _MESSAGES), _first(found, ("param",))
    kind = next((word for name in _KINDS if (word := _word(found.get(name))) and word not in _NO_KINDS), "")
    if not message and isinstance(detail := found.get("detail"), list | Mapping) and depth < _DEPTH_MAX:
        _, _, message, _ = _read(detail, depth + 1)
    for name in _WRAPPERS:
        inner = found.get(name)
        if inner and depth < _DEPTH_MAX:
            inner_code, inner_kind, inner_message, inner_param = _read(inner, depth + 1)
            code, kind = inner_code or code, inner_kind or kind
            message, param = inner_message or message, inner_param or param
    return code, kind, message, param


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> str:
    for name in names:
        if word := _word(found.get(name)):
            return word
    return ""


def _word(value: object) -> str:
    """A code or a message as text; some vendors' codes are numbers."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) is int and abs(value) < 10**18 else ""


def _words_of_page(body: bytes) -> str:
    """The title of a page, else its words."""
    text = body[:_PAGE_BYTES_MAX].decode("utf-8", "replace")
    title = _TITLE.search(text)
    return _BLANKS.sub(" ", html.unescape(_TAG.sub(" ", title.group(2) if title else text))).strip()[:_MESSAGE_CHARACTERS_MAX]
