"""Arguments of calls: text in OpenAI's dialects, an object in Anthropic's, any text of a custom tool. Pure."""

import re
from typing import Any, Final

import msgspec

from services.edge.dialects.json_text import NOT_JSON
from services.edge.dialects.translation.refusals import json_of

# The only argument of a function that stands for a tool which takes any text.
INPUT: Final = "input"
# Arguments of a model that are no object are kept under this name.
_RAW: Final = "_raw"
# The begin of such arguments up to the last whole character of the text.
_BEGUN: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"((?:[^"\\]|\\(?:u[0-9A-Fa-f]{4}|[^u]))*)')


def arguments_of(text: str) -> Any:
    """Arguments as an object, to the letter; none are an empty one. Some models write what is no object."""
    if not text.strip():
        return {}
    return msgspec.Raw(text.encode()) if is_object(text) else {_RAW: text}


def is_object(text: str) -> bool:
    """Whether a text is the JSON of an object: nothing can follow it."""
    try:
        return type(msgspec.json.decode(text.encode())) is dict
    except (*NOT_JSON, UnicodeEncodeError):
        return False


def as_arguments(text: str) -> str:
    """The text that a custom tool is called with, as the arguments of a function that stands for it."""
    return json_of({INPUT: text})


def input_of(arguments: str) -> str:
    """The text in such arguments, as far as it came; the arguments themselves where a model wrote others."""
    try:
        found = msgspec.json.decode(arguments.encode())
    except (*NOT_JSON, UnicodeEncodeError):
        found = None
        if (begun := _BEGUN.match(arguments)) is not None:
            found = {INPUT: _unescaped(begun.group(1))}
    text = found.get(INPUT) if type(found) is dict else None
    return text if type(text) is str else arguments


def _unescaped(text: str) -> str:
    try:
        return str(msgspec.json.decode(b'"%b"' % text.encode()))
    except (*NOT_JSON, UnicodeEncodeError):
        # Half of a pair of escapes.
        return text
