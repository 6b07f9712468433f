"""The meaning of a vendor's answer for charging: output that is said and thought, the vendor's count. Pure.

A text is told several times: in pieces, whole at its end, in its part, in its item, and in the response. The client reads it once,
so it counts once. What a later telling has beyond the earlier ones counts as well, and so does one that says something else.
Each telling is free once: repeats in an order that the vendor chooses would be a text of their own.
"""

from typing import Any, Final

from services.edge.call.dialect import Step
from services.edge.dialects.disguise import told_by_names
from services.edge.dialects.metadata import FREE_BYTES_A_PIECE, Metadata
from services.edge.dialects.responses.names import ANNOTATION, ITEM_EVENT, PART_EVENTS, SNAPSHOTS, TERMINAL, TEXT_DELTA, TEXTS
from services.edge.dialects.responses.output import DONE, Item, Output, split, text_member
from services.edge.dialects.tally import METADATA_CHARACTERS_MAX, Tally, Words, bytes_of, texts_of
from services.edge.dialects.typed_events import Tree
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import CHAT, VendorCount, as_told, at, merged, read_usage

# Members of events without output; any others count.
_EVENT: Final = frozenset(
    {
        "type",
        "sequence_number",
        "item_id",
        "output_index",
        "content_index",
        "summary_index",
        "annotation_index",
        "obfuscation",
        "usage",
    }
)
# Members of a response without output, and settings that it repeats.
_RESPONSE: Final = frozenset(
    {
        "id",
        "object",
        "created_at",
        "completed_at",
        "status",
        "model",
        "incomplete_details",
        "usage",
        "service_tier",
        "truncation",
        "tool_choice",
        "verbosity",
        "effort",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "user",
        "billing",
    }
)
_ITEM: Final = frozenset({"type", "role", "call_id", "phase"})
_METADATA: Final = _EVENT | _RESPONSE | _ITEM
_NAMES: Final = _METADATA | {
    "response",
    "item",
    "part",
    "delta",
    "text",
    "refusal",
    "arguments",
    "input",
    "code",
    "name",
    "logprobs",
    "annotations",
    "annotation",
    "content",
    "summary",
    "encrypted_content",
    "output",
    "error",
    "instructions",
    "metadata",
    "tools",
    "parallel_tool_calls",
    "temperature",
    "top_p",
    "top_logprobs",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "conversation",
    "reasoning",
    "background",
    "store",
    "format",
    "description",
    "parameters",
    "strict",
}
_USUAL: Final = frozenset(
    {
        *SNAPSHOTS,
        *(f"{begin}{word}" for begin in TEXTS for word in (".delta", ".done")),
        *(f"{begin}{word}" for begin in (*PART_EVENTS, ITEM_EVENT) for word in (".added", ".done")),
        ANNOTATION,
        *("response", "message", "assistant", "output_text", "summary_text", "reasoning_text", "refusal", "reasoning"),
        *("function_call", "custom_tool_call", "in_progress", "completed", "incomplete", "auto", "default", "disabled"),
    }
)
_WORDS: Final = Words(_NAMES, _METADATA, _USUAL, frozenset({"encrypted_content", "signature"}))
_TEXT_EVENT: Final = frozenset(
    {"type", "sequence_number", "item_id", "output_index", "content_index", "delta", "logprobs", "obfuscation"}
)
# The kind of item that thought is told in; and the end of the names of kinds that call a tool.
_REASONING: Final = "reasoning"
_CALL: Final = "_call"
_NOTHING: Final[tuple[Any, ...]] = (None, [])


class _Tally(Tally):
    """Output found in one event or answer."""

    __slots__ = ()

    def __init__(self, metadata: Metadata) -> None:
        super().__init__(_WORDS, metadata)

    def news(self, place: str, value: object, known: object, *, is_thought: bool = False) -> None:
        """Counts what a value says beyond what is known of it."""
        if value == known:
            return
        if value and not known and type(value) is str:
            # Most of them.
            (self.thought if is_thought else self.said).append(value)
            return
        texts = self.thought if is_thought else self.said
        # New values that are no text.
        rest: list[object] = []
        waiting: list[tuple[str, object, object]] = [(place, value, known)]
        while waiting:
            name, each, before = waiting.pop()
            if each == before and type(each) is type(before):
                continue
            if name in _METADATA:
                rest += self._described(each)
            elif isinstance(each, str):
                new = _beyond(each, before)
                if name in _WORDS.opaque:
                    self.opaque_bytes += bytes_of([new])
                elif new:
                    texts.append(new)
                else:
                    # A part of what is known: only its length is new.
                    rest.append(len(each))
            elif isinstance(each, dict):
                of_known = before if isinstance(before, dict) else {}
                names = [member for member in each if member not in of_known]
                self.said += told_by_names(names)
                rest += [member for member in names if member not in _NAMES]
                waiting += [(member, inner, of_known.get(member)) for member, inner in each.items()]
                if not each:
                    rest.append(each)
            elif isinstance(each, list):
                of_list = before if isinstance(before, list) else []
                waiting += [(name, inner, of_list[at] if at < len(of_list) else None) for at, inner in enumerate(each)]
                if not of_list:
                    rest.append([])
            elif each is not None:
                rest.append(each)
        if rest:
            self.tell(place, rest)

    def _described(self, value: object) -> list[object]:
        """Counts metadata that is longer than any real one; returns what is left for the budget to pay."""
        if not isinstance(value, str):
            self.said += [text[METADATA_CHARACTERS_MAX:] for text in texts_of(value)]
            return [value]
        self.said.append(value[METADATA_CHARACTERS_MAX:])
        return [] if value in _USUAL else [value[:METADATA_CHARACTERS_MAX]]


class Meaning:
    """Reads the events of one answer, in order."""

    def __init__(self, reading: UsageReading, asked: Tree) -> None:
        """`asked`: the request's fields, which an answer tells again."""
        self._reading = reading
        self._asked = asked
        self._metadata = Metadata()
        # The last event's number, and the place of the last piece of text.
        self._number = -1
        self._at: tuple[object, object, object] | None = None
        # The vendor's usage so far.
        self._usage: Any = {}
        self.counted: VendorCount | None = None

    def event(self, kind: str, fields: Tree, told: Output, out: bytes) -> Step:
        """The step of an event after all that was `told`; `out` is the client's bytes for it."""
        number, before = fields.get("sequence_number"), self._number
        if type(number) is int:
            self._number = number
        if kind == TEXT_DELTA:
            delta, at_place = fields.get("delta"), (fields.get("item_id"), fields.get("output_index"), fields.get("content_index"))
            # A fast path for most events.
            if (
                at_place == self._at
                and type(delta) is str
                and delta
                and number == before + 1
                and fields.keys() <= _TEXT_EVENT
                and fields.get("logprobs") in _NOTHING
                and _is_padding(fields.get("obfuscation"))
            ):
                return Step(out, delta)
            self._at = at_place if type(at_place[1]) is type(at_place[2]) is int else None
        tally = _Tally(self._metadata)
        tally.others("event", fields, _EVENT | self._told_by(kind, fields, told, tally))
        is_end = kind in TERMINAL
        return tally.step(out=out, counted=self._count(fields), finished=is_end, ended=is_end)

    def after_end(self, fields: Tree) -> Step:
        """The step of an event after the terminal one: at most a count, because no client gets such events."""
        return Step(counted=self._count(fields), ended=True)

    def whole(self, response: Tree) -> Step:
        """The step of an answer that came in one piece."""
        tally = _Tally(self._metadata)
        self._response(response, Output(), tally, repeats=False)
        return tally.step(counted=self._count({"response": response}), finished=True, ended=True)

    def _told_by(self, kind: str, fields: Tree, told: Output, tally: _Tally) -> frozenset[str]:
        """Counts the members of an event that tell output; returns their names."""
        begin, word = split(kind)
        if kind in SNAPSHOTS:
            # Only the end repeats items.
            self._response(fields.get("response"), told, tally, repeats=kind in TERMINAL)
            return frozenset({"response"})
        if begin == ITEM_EVENT:
            item = fields.get("item")
            known = told.known(item, fields.get("output_index")) if isinstance(item, dict) and word == DONE else None
            self._item(item, None if known is None or () in known.done else known, tally)
            return frozenset({"item"})
        if begin not in PART_EVENTS and begin not in TEXTS and kind != ANNOTATION:
            return frozenset()
        item, steps = told.place(kind, fields)
        is_thought = begin.startswith("response.reasoning") or (item is not None and _is_thought(item.at(())))
        if word == ".delta":
            delta = fields.get("delta")
            if isinstance(delta, str):
                (tally.thought if is_thought else tally.said).append(delta)
            else:
                tally.say("delta", delta)
            return frozenset({"delta"})
        known = item if item is not None and word == DONE and steps not in item.done else None
        if begin in TEXTS and kind != ANNOTATION:
            member = text_member(kind)
            tally.news(member, fields.get(member), known and known.at(steps), is_thought=is_thought)
            tally.news("name", fields.get("name"), known and known.at(("name",)))
            return frozenset({member, "name"})
        member = "annotation" if kind == ANNOTATION else "part"
        tally.news(member, fields.get(member), known and known.at(steps), is_thought=is_thought)
        return frozenset({member})

    def _response(self, response: object, told: Output, tally: _Tally, *, repeats: bool) -> None:
        if not isinstance(response, dict):
            tally.say("response", response)
            return
        rest = {name: value for name, value in response.items() if name != "output"}
        tally.news("response", rest, {**self._asked, **told.response})
        output = response.get("output")
        if isinstance(output, list):
            repeated: set[int] = set()
            for index, item in enumerate(output):
                known = told.known(item, index) if repeats and isinstance(item, dict) else None
                self._item(item, None if id(known) in repeated else known, tally)
                repeated.add(id(known))
        else:
            tally.say("output", output)

    def _item(self, item: object, told: Item | None, tally: _Tally) -> None:
        if not isinstance(item, dict):
            tally.say("item", item)
            return
        known = told.tree if told is not None else None
        kind = item.get("type")
        if not known and isinstance(kind, str) and kind.endswith(_CALL):
            tally.calls += 1
        tally.news("item", item, known, is_thought=_is_thought(item))

    def _count(self, fields: Tree) -> VendorCount | None:
        """The vendor's count, if this event has one."""
        before = self.counted
        places = (("response", "usage"), ("usage",), *self._reading.places)
        taken = [usage for place in places if isinstance(usage := at(fields, place), dict) and usage]
        for usage in taken:
            self._usage = merged(self._usage, usage)
        if not taken:
            return None
        # OpenAI's counts have one meaning under the names of either dialect.
        self.counted = read_usage(self._usage, CHAT, self._reading)
        return None if self.counted is None else as_told(self.counted, before, taken, CHAT, self._reading)


def _is_thought(tree: Tree) -> bool:
    return tree.get("type") == _REASONING


def _is_padding(value: object) -> bool:
    return value is None or (type(value) is str and len(value) <= FREE_BYTES_A_PIECE)


def _beyond(text: str, known: object) -> str:
    """The part of a text that is not known."""
    if not isinstance(known, str):
        return text
    if text.startswith(known):
        return text[len(known) :]
    return "" if known.startswith(text) else text
