"""Puts choices of chunks and of whole answers right where vendors differ, and counts every string of them. Pure.

Text and thought are told apart. Thought that stands in two fields is delivered and counted once. Pieces of calls get the index
under which the official SDKs join them. A string under an unknown name counts as said, because a client can read it. Each member of
metadata is free up to `METADATA_BYTES_MAX`, and all of an answer's together as `Metadata` says.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

from services.edge.call.dialect import Step
from services.edge.dialects.disguise import told_by_names, told_by_numbers
from services.edge.dialects.json_text import encode
from services.edge.dialects.metadata import Metadata
from services.edge.vendors.usage import VendorCount

Json = dict[str, Any]

METADATA_BYTES_MAX: Final = 256
# An ID of a call, which has some tokens of its own.
CALL_ID_CHARACTERS_MAX: Final = 64
# No answer has more choices, or calls.
INDEX_MAX: Final = 4_095
_DEPTH_MAX: Final = 64

# Members of a chunk, a choice or a delta that describe the answer.
METADATA: Final = frozenset(
    {
        "id",
        "object",
        "created",
        "model",
        "system_fingerprint",
        "service_tier",
        "obfuscation",
        "provider",
        "request_id",
        "usage",
        "x_groq",
        "base_resp",
        "prompt_filter_results",
        "content_filter_results",
        "content_filter_result",
        "content_filter_offsets",
        "index",
        "role",
        "name",
        "type",
        "finish_reason",
        "native_finish_reason",
        "stop_reason",
        "matched_stop",
    }
)
# Names that any chunk may have.
_NAMES: Final = METADATA | {
    "choices",
    "delta",
    "message",
    "logprobs",
    "content",
    "refusal",
    "tool_calls",
    "function_call",
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "annotations",
    "audio",
    "function",
    "custom",
    "arguments",
    "input",
}
_DETAIL_NAMES: Final = frozenset({"type", "format", "id", "index", "text", "summary", "signature", "data"})
_THOUGHTS: Final = ("reasoning_content", "reasoning", "thinking", "reasoning_text")
_OPAQUE: Final = re.compile("signature|encrypted|redacted", re.IGNORECASE)
_REASONS: Final = {"eos": "stop", "eos_token": "stop", "end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}


class Found:
    """Output that was found in one event of an answer, or in a whole one."""

    __slots__ = ("_excess", "_metadata", "calls", "opaque_bytes", "said", "thought")

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        # Metadata beyond the free part: said, but it fills up no budget.
        self._excess: list[str] = []
        self.said: list[str] = []
        self.thought: list[str] = []
        self.opaque_bytes = 0
        self.calls = 0

    def tell(self, name: str, value: object, counted_bytes: int = 0) -> None:
        """Counts the part of a member that exceeds the free metadata; `counted_bytes` of it are counted already."""
        if beyond := self._metadata.beyond(name, value, counted_bytes):
            self._excess.append(beyond)

    def knows(self, name: str, value: object) -> bool:
        """Whether a plain value is unchanged since it was told last."""
        return self._metadata.knows(name, value)

    def names(self, place: str, members: Json, usual: frozenset[str] = _NAMES) -> None:
        """Counts names of members."""
        self._excess.extend(self._metadata.names(place, members, usual))

    def step(self, out: bytes, counted: VendorCount | None, *, finished: bool) -> Step:
        """The step of what was found. Its output fills up the budget of metadata."""
        if any(self.said) or any(self.thought) or self.calls:
            self._metadata.earn()
        said = "".join((*self.said, *self._excess))
        return Step(out, said, "".join(self.thought), self.opaque_bytes, self.calls, counted=counted, finished=finished)


class ChoiceState:
    """The state of one choice."""

    __slots__ = ("finish_reason", "has_function", "index", "index_of", "last", "named", "routes")

    def __init__(self, index: int) -> None:
        self.index = index
        self.finish_reason: str | None = None
        self.has_function = False
        # The index of each call by its ID.
        self.index_of: dict[str, int] = {}
        # Targets of a vendor's indexes; our indexes rise without gaps where the vendor's do not help.
        self.routes: dict[int, int] = {}
        # The names of calls by our index.
        self.named: dict[int, str] = {}
        self.last = -1

    @property
    def has_calls(self) -> bool:
        """Whether it calls tools."""
        return self.last >= 0

    def open_call(self, call_id: str, index: int | None) -> int:
        """Opens a call and returns its index; `index` is the vendor's, kept where it is free."""
        ours = index if index is not None and index not in self.named else max(self.named, default=-1) + 1
        self.index_of[call_id] = ours
        self.routes[ours if index is None else index] = ours
        self.named[ours] = ""
        self.last = ours
        return ours

    def reason(self, told: object) -> str | None:
        """The client's reason for the vendor's."""
        if not isinstance(told, str) or not told:
            return None
        reason = _REASONS.get(told, told)
        if reason == "stop" and self.has_calls:
            return "tool_calls"
        return "function_call" if reason == "stop" and self.has_function else reason


def right_delta(delta: Json, state: ChoiceState, found: Found, answer_id: str, *, is_whole: bool = False) -> Json:
    """A delta, or a whole message, in the form that clients expect; its output is added to `found`."""
    right = dict(delta)
    found.names("delta", delta)
    content = right.get("content")
    if isinstance(content, str):
        found.said.append(content)
    elif content is not None:
        said, thought = _parts(content)
        right["content"] = said
        found.said.append(said)
        if thought:
            before = right.get("reasoning_content")
            right["reasoning_content"] = f"{before}{thought}" if isinstance(before, str) else thought
    _read_thoughts(right, found)
    for name, value in delta.items():
        if name == "refusal" and isinstance(value, str):
            found.said.append(value)
        elif name == "tool_calls":
            right[name] = _right_calls(value, state, found, answer_id, is_whole=is_whole)
            if not right[name]:
                del right[name]
        elif name == "function_call":
            _read_function(value, state, found)
        elif name not in ("content", "reasoning_details", *_THOUGHTS):
            count_member(name, value, found)
    if is_whole:
        # Official SDKs expect it.
        right.setdefault("content", None)
    return right


def count_member(name: str, value: object, found: Found) -> None:
    """Counts the strings of a member that is no known output."""
    if value is None or isinstance(value, bool):
        return
    if name in METADATA and found.knows(name, value):
        return
    if isinstance(value, str) and _OPAQUE.search(name):
        found.opaque_bytes += len(value)
        return
    free = METADATA_BYTES_MAX if name in METADATA else 0
    counted = -found.opaque_bytes
    for text in _counted_strings(value, found, 0):
        raw = text.encode()
        if len(raw) > free or not free:
            found.said.append(raw[free:].decode("utf-8", "replace") if free else text)
            counted += len(raw) - free
        free = max(free - len(raw), 0)
    found.tell(name, value, counted + found.opaque_bytes)


def strings(value: object, depth: int = 0) -> Iterator[str]:
    """Every string of a value, names of nested members included, and numbers that may stand for a text."""
    if isinstance(value, str):
        yield value
    elif depth > _DEPTH_MAX:
        # Deeper values count with their JSON.
        yield encode(value).decode()
    elif isinstance(value, list):
        yield from told_by_numbers(value)
        for each in value:
            yield from strings(each, depth + 1)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from strings(each, depth + 1)
    else:
        yield from told_by_numbers(value)


def _counted_strings(value: object, found: Found, depth: int) -> Iterator[str]:
    """`strings`, with the values alone of objects with short names, and without opaque texts."""
    if isinstance(value, dict) and depth <= _DEPTH_MAX:
        yield from told_by_names(value)
        for name, each in value.items():
            if isinstance(each, str) and _OPAQUE.search(name):
                found.opaque_bytes += len(each)
                continue
            yield from _counted_strings(each, found, depth + 1)
    elif isinstance(value, list) and depth <= _DEPTH_MAX:
        yield from told_by_numbers(value)
        for each in value:
            yield from _counted_strings(each, found, depth + 1)
    else:
        yield from strings(value, depth)


def _parts(content: object) -> tuple[str, str]:
    """The text and the thought of a content that is a list of parts. Other parts are left out."""
    said: list[str] = []
    thought: list[str] = []
    for part in content if isinstance(content, list) else (content,):
        if isinstance(part, str):
            said.append(part)
        elif isinstance(part, dict):
            kind = part.get("type")
            if kind in ("thinking", "reasoning"):
                inner = part.get("thinking", part.get("reasoning", part.get("text")))
                thought.extend(_parts(inner)[0] if isinstance(inner, list) else inner if isinstance(inner, str) else "")
            elif isinstance(text := part.get("text", part.get("refusal")), str):
                said.append(text)
    return "".join(said), "".join(thought)


def _read_thoughts(right: Json, found: Found) -> None:
    """Counts the thought of a delta, and leaves each of its texts once."""
    first = ""
    for name in _THOUGHTS:
        value = right.get(name)
        if value is None or value == "":
            continue
        if first and value == first:
            del right[name]
            continue
        if isinstance(value, str):
            first = first or value
            found.thought.append(value)
        else:
            _count_all(name, value, found.thought, found)
    details = right.get("reasoning_details")
    if details is None:
        return
    texts: list[str] = []
    others = 0
    for detail in details if isinstance(details, list) else (details,):
        if isinstance(detail, dict):
            found.names("detail", detail, _DETAIL_NAMES)
        for name, value in detail.items() if isinstance(detail, dict) else (("text", detail),):
            if name in ("text", "summary") and isinstance(value, str):
                texts.append(value)
            elif name in ("signature", "data") and isinstance(value, str):
                found.opaque_bytes += len(value)
                others += 1
            elif name not in ("type", "format", "id", "index"):
                _count_all(f"detail {name}", value, found.thought, found)
                others += value is not None
            else:
                found.tell(f"detail {name}", value)
    repeated = "".join(texts)
    if not first or repeated != first:
        found.thought.extend(texts)
    elif not others:
        # Dropped, because it repeats what was said.
        del right["reasoning_details"]


def _count_all(name: str, value: object, texts: list[str], found: Found) -> None:
    """Counts a value that should be a text and is none: its strings among `texts`, and all else that it tells."""
    opaque_before = found.opaque_bytes
    strings_of = list(_counted_strings(value, found, 0))
    texts += strings_of
    found.tell(name, value, sum(len(text.encode()) for text in strings_of) + found.opaque_bytes - opaque_before)


def _right_calls(value: object, state: ChoiceState, found: Found, answer_id: str, *, is_whole: bool) -> list[Any]:
    """Pieces of calls, each with the index of its call."""
    right = []
    for piece in value if isinstance(value, list) else (value,):
        if isinstance(piece, dict):
            right.append(_right_call(piece, state, found, answer_id, is_whole=is_whole))
        else:
            found.said.extend(strings(piece))
    return right


def _right_call(piece: Json, state: ChoiceState, found: Found, answer_id: str, *, is_whole: bool) -> Json:
    call_id = piece.get("id")
    call_id = call_id if isinstance(call_id, str) else ""
    index = piece.get("index")
    index = index if type(index) is int and 0 <= index <= INDEX_MAX else None
    kind = "custom" if isinstance(piece.get("custom"), dict) else "function"
    function = piece.get(kind)
    function = dict(function) if isinstance(function, dict) else {}
    name = function.get("name")
    name = name if isinstance(name, str) else ""
    if call_id:
        ours = state.index_of.get(call_id)
    elif is_whole:
        ours = None
    elif index is not None:
        ours = state.routes.get(index)
    else:
        # A piece without ID and index continues the last call, unless it names a function anew.
        ours = state.last if state.has_calls and not (name and state.named[state.last]) else None
    is_new = ours is None
    if ours is None:
        call_id = call_id or f"call_{answer_id}_{state.index}_{state.last + 1}"
        ours = state.open_call(call_id, index)
        found.calls += 1
        found.said.append(call_id[CALL_ID_CHARACTERS_MAX:])
    found.names("call", piece)
    found.names("function", function)
    right = {**piece, "index": ours} if not is_whole else dict(piece)
    if is_new:
        right["id"] = call_id
        right.setdefault("type", kind)
    else:
        # Sent once, because the official SDKs join repeated strings: an ID or a name would stand there twice.
        right.pop("id", None)
        if name and name == state.named[ours]:
            del function["name"]
            name = ""
    state.named[ours] += name
    found.said.append(name)
    _read_arguments(function, found, is_new=is_new)
    if function:
        right[kind] = function
    for member, value in piece.items():
        if member == "type":
            found.tell("type of a call", value)
        elif member == "id" or (member == "index" and not is_whole):
            # Written by us.
            continue
        elif member != kind or not isinstance(value, dict):
            count_member(member, value, found)
    return right


def _read_arguments(function: Json, found: Found, *, is_new: bool) -> None:
    """Counts a call's arguments, and writes them as text, as other vendors do."""
    for member, value in list(function.items()):
        if member in ("arguments", "input"):
            if isinstance(value, dict | list):
                function[member] = encode(value).decode()
            elif not isinstance(value, str):
                function[member] = "" if value is None else str(value)
            found.said.append(function[member])
        elif member != "name" or not isinstance(value, str):
            count_member(f"function {member}", value, found)
    if is_new and function and "arguments" not in function and "input" not in function:
        function["arguments"] = ""


def _read_function(value: object, state: ChoiceState, found: Found) -> None:
    """Counts a function call of the older kind."""
    if isinstance(value, dict):
        if not state.has_function:
            found.calls += 1
        state.has_function = True
        found.names("function", value)
        for name, each in value.items():
            if isinstance(each, str):
                found.said.append(each)
            else:
                count_member(f"function {name}", each, found)
    else:
        _count_all("function", value, found.said, found)
