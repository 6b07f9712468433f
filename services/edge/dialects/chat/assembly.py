"""A whole answer from the chunks of a stream, joined as the official SDKs join deltas. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from services.edge.dialects.chat.deltas import Json

# Members that come whole and are replaced, never joined.
_SET: Final = frozenset({"id", "type", "index", "role", "object", "model", "created"})
# Members that only a stream has.
_STREAM_ONLY: Final = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation", "base_resp"})


class Assembly:
    """Chunks so far."""

    _OBJECT = "chat.completion"

    def __init__(self) -> None:
        self._said: dict[int, list[str]] = {}
        self._thought: dict[int, tuple[str, list[str]]] = {}
        self._messages: dict[int, Json] = {}
        self._choices: dict[int, Json] = {}
        self._top: Json = {}

    def say(self, index: int, content: str) -> None:
        """Adds text."""
        self._said.setdefault(index, []).append(content)

    def think(self, index: int, field: str, text: str) -> None:
        """Adds thought, which stands in the answer under the field of its first piece."""
        self._thought.setdefault(index, (field, []))[1].append(text)

    def join(self, index: int, delta: Mapping[str, Any]) -> None:
        """Adds other parts of a delta."""
        _join(self._messages.setdefault(index, {}), delta)

    def tell(self, name: str, value: object) -> None:
        """Notes a member of the answer itself; the last one holds."""
        self._top[name] = value

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Adds a chunk that has been put right."""
        for name, value in chunk.items():
            if name not in _STREAM_ONLY and value is not None:
                self.tell(name, value)
        for choice in chunk["choices"]:
            self._add_choice(choice)

    def _add_choice(self, choice: Mapping[str, Any]) -> None:
        index = choice["index"]
        delta = dict(choice["delta"])
        content = delta.pop("content", None)
        if isinstance(content, str):
            self.say(index, content)
        for field in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(field), str):
                self.think(index, field, thought)
                del delta[field]
        self.join(index, delta)
        rest = {name: value for name, value in choice.items() if name not in ("index", "delta", "finish_reason")}
        _join(self._choices.setdefault(index, {}), rest)

    def answer(self, identity: Json, reasons: Mapping[int, str], usage: Json) -> Json:
        """The whole answer; a choice for each of `reasons`, by index."""
        choices = [self._choice(index, reasons[index]) for index in sorted(reasons)]
        head = {"id": identity["id"], "object": self._OBJECT, "created": identity["created"], "model": identity["model"]}
        return {**head, "choices": choices, "usage": usage, **self._top}

    def _choice(self, index: int, reason: str) -> Json:
        message: Json = {"role": "assistant", "content": None}
        rest = dict(self._messages.get(index, {}))
        message["role"] = rest.pop("role", None) or "assistant"
        calls = rest.get("tool_calls")
        if index in self._said and ("".join(self._said[index]) or not calls):
            message["content"] = "".join(self._said[index])
        message["refusal"] = rest.pop("refusal", None)
        if index in self._thought:
            field, texts = self._thought[index]
            message[field] = "".join(texts)
        if isinstance(calls, list):
            rest["tool_calls"] = [{name: value for name, value in call.items() if name != "index"} for call in calls]
        message.update(rest)
        choice = {"index": index, "message": message, "logprobs": None, "finish_reason": reason}
        choice.update({name: value for name, value in self._choices.get(index, {}).items() if value is not None})
        return choice


def _join(joined: Json, delta: Mapping[str, Any]) -> None:
    """Joins a delta: appends texts, joins objects, and joins lists by their elements' index; other members are replaced."""
    for name, value in delta.items():
        before = joined.get(name)
        if value is None:
            joined.setdefault(name, None)
        elif before is None or name in _SET:
            joined[name] = _own(value)
        elif isinstance(before, str) and isinstance(value, str):
            joined[name] = before + value
        elif isinstance(before, dict) and isinstance(value, dict):
            _join(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            _join_list(before, value)
        else:
            joined[name] = value


def _join_list(joined: list[Any], pieces: list[Any]) -> None:
    by_index: dict[int, Json] | None = None
    for piece in pieces:
        index = piece.get("index") if isinstance(piece, dict) else None
        if type(index) is not int:
            # Appended without a search, because such lists grow long, as those of the probabilities of tokens do.
            joined.append(_own(piece))
            continue
        if by_index is None:
            by_index = {each["index"]: each for each in joined if isinstance(each, dict) and type(each.get("index")) is int}
        known = by_index.get(index)
        if known is None:
            by_index[index] = known = _own(piece)
            joined.append(known)
        else:
            _join(known, piece)


def _own(value: Any) -> Any:
    """A value that may be changed; a list's pieces are joined too, because several may have one index."""
    if isinstance(value, dict):
        return {name: _own(each) for name, each in value.items()}
    if isinstance(value, list):
        own: list[Any] = []
        _join_list(own, value)
        return own
    return value
