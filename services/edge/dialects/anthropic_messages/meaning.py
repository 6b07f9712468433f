"""The meaning of a vendor's answer for charging: output that is said and thought, added input, the vendor's count.

Every text that a client gets counts. A member that this module does not know counts as said.
"""

from typing import Any, Final

from services.edge.call.dialect import Step
from services.edge.dialects.anthropic_messages.names import RESULT_SUFFIX
from services.edge.dialects.json_text import encode
from services.edge.dialects.metadata import Metadata
from services.edge.dialects.tally import Tally, Words, bytes_of, texts_of
from services.edge.dialects.typed_events import Tree
from services.edge.vendors.profile import Reasoning, UsageReading
from services.edge.vendors.usage import MESSAGES, VendorCount, as_told, at, merged, read_usage

# Members of events without output, by the event's type; any others count.
_EVENTS: Final[dict[str, frozenset[str]]] = {
    "message_start": frozenset({"type", "message", "usage"}),
    "content_block_start": frozenset({"type", "index", "content_block", "usage"}),
    "content_block_delta": frozenset({"type", "index", "delta", "usage"}),
    "content_block_stop": frozenset({"type", "index", "usage"}),
    "message_delta": frozenset({"type", "delta", "usage", "context_management", "input_transformations"}),
    "message_stop": frozenset({"type", "usage"}),
    "ping": frozenset({"type", "usage"}),
}
_OTHER_EVENT: Final = frozenset({"type", "usage"})
_MESSAGE: Final = frozenset(
    {
        "id",
        "type",
        "role",
        "model",
        "content",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "usage",
        "container",
        "context_management",
        "input_transformations",
        "diagnostics",
        "request_id",
    }
)
_ENDING: Final = frozenset({"stop_reason", "stop_sequence", "stop_details", "container"})
# More blocks than any answer has.
_INDEX_MAX: Final = 65_535
_TEXT_DELTA: Final = frozenset({"type", "text"})
# Members of blocks that no model wrote.
_BLOCK: Final = frozenset({"type", "id", "tool_use_id", "cache_control", "caller", "server_name"})
# Members of events and answers that describe the answer: each text of them is free up to a bound.
_METADATA: Final = frozenset(
    {
        "id",
        "type",
        "index",
        "role",
        "model",
        "stop_reason",
        "stop_sequence",
        "stop_details",
        "container",
        "diagnostics",
        "request_id",
        "usage",
        "context_management",
        "input_transformations",
    }
)
# Names that any event, message, block or delta may have.
_NAMES: Final = frozenset().union(
    *_EVENTS.values(),
    _MESSAGE,
    _BLOCK,
    {"text", "thinking", "signature", "data", "name", "input", "citations", "citation", "partial_json", "estimated_tokens"},
)
_CALLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})
_OPAQUE: Final = frozenset({"signature", "encrypted_content", "encrypted_index", "encrypted_stdout"})
# The output in a message_start is no count yet.
_OUTPUT: Final = ("output_tokens", "output_tokens_details")
# Words of every answer.
_USUAL: Final = frozenset(_EVENTS) | {
    "message",
    "assistant",
    "text",
    "thinking",
    "redacted_thinking",
    "tool_use",
    "server_tool_use",
    "text_delta",
    "input_json_delta",
    "thinking_delta",
    "signature_delta",
    "citations_delta",
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "pause_turn",
    "refusal",
}


_WORDS: Final = Words(_NAMES, _METADATA, _USUAL, _OPAQUE)


class _Tally(Tally):
    """Output found in one event or answer.

    `has_results`: tools run at the vendor, which puts what they say into the model's input; without any all is the model's output.
    """

    __slots__ = ("_has_results",)

    def __init__(self, metadata: Metadata, *, has_results: bool) -> None:
        super().__init__(_WORDS, metadata)
        self._has_results = has_results

    def block(self, block: object) -> None:
        """Counts a content block: empty as at its begin in a stream, or whole."""
        if not isinstance(block, dict):
            self.say("block", block)
            return
        self.names("block", block)
        kind = block.get("type")
        if self._has_results and isinstance(kind, str) and kind.endswith(RESULT_SUFFIX):
            self.result(block)
            return
        if isinstance(kind, str) and kind in _CALLS:
            self.calls += 1
        for name, value in block.items():
            if not value:
                continue
            if name in _BLOCK:
                self.metadata(f"block {name}", value)
                continue
            if name == "thinking" and isinstance(value, str):
                self.thought.append(value)
            elif name in _OPAQUE or (name == "data" and kind == "redacted_thinking"):
                self.opaque(value)
            elif name == "input" and isinstance(kind, str) and kind in _CALLS:
                self.said.append(encode(value).decode())
            else:
                self.say(f"block {name}", value)

    def result(self, block: Tree) -> None:
        """Counts a result of the vendor's tool, which the vendor puts into the model's input."""
        for name, value in block.items():
            if name in _BLOCK:
                self.metadata(f"block {name}", value)
            else:
                hidden: list[str] = []
                texts = texts_of({name: value}, _OPAQUE, hidden)
                self.added += texts
                self.added_opaque_bytes += bytes_of(hidden)
                self.added.append(self._metadata.beyond("result", value, bytes_of(texts) + bytes_of(hidden)))

    def delta(self, delta: object) -> None:
        """Counts a piece of a content block."""
        if not isinstance(delta, dict):
            self.say("delta", delta)
            return
        self.names("delta", delta)
        for name, value in delta.items():
            if name == "thinking" and isinstance(value, str):
                self.thought.append(value)
            elif name in _OPAQUE:
                self.opaque(value)
            elif name == "type":
                self.metadata("delta type", value)
            else:
                self.say(f"delta {name}", value)


class Meaning:
    """Reads the events of one answer, in order."""

    def __init__(self, reading: UsageReading, *, has_results: bool) -> None:
        self._reading = reading
        self._has_results = has_results
        self._metadata = Metadata()
        # The vendor's usage so far, without the output of the message_start.
        self._usage: Any = {}
        self.counted: VendorCount | None = None

    def event(self, kind: str, fields: Tree, out: bytes) -> Step:
        """The step of an event; `out` is the client's bytes for it."""
        if kind == "content_block_delta" and fields.keys() == _EVENT_OF_DELTA:
            delta = fields["delta"]
            # A fast path for most events.
            is_text = (
                type(delta) is dict and delta.keys() == _TEXT_DELTA and type(delta["text"]) is str and delta["type"] == "text_delta"
            )
            index = fields["index"]
            if is_text and type(index) is int and 0 <= index <= _INDEX_MAX:
                return Step(out, delta["text"])
        tally = _Tally(self._metadata, has_results=self._has_results)
        known = _EVENTS.get(kind, _OTHER_EVENT)
        tally.others("event", fields, known)
        finished = False
        match kind:
            case "message_start":
                self._message(fields.get("message"), tally)
            case "content_block_start":
                tally.block(fields.get("content_block"))
            case "content_block_delta":
                tally.delta(fields.get("delta"))
            case "message_delta":
                delta = fields.get("delta")
                if isinstance(delta, dict):
                    finished = bool(delta.get("stop_reason"))
                    tally.others("ending", delta, _ENDING)
                else:
                    tally.say("ending", delta)
        counted = self._count(kind, fields)
        return tally.step(out=out, counted=counted, finished=finished, ended=kind == "message_stop")

    def after_end(self, kind: str, fields: Tree) -> Step:
        """The step of an event after the terminal one: at most a count, because no client gets such events."""
        return Step(counted=self._count(kind, fields), ended=True)

    def whole(self, message: Tree) -> Step:
        """The step of an answer that came in one piece."""
        tally = _Tally(self._metadata, has_results=self._has_results)
        self._message(message, tally)
        self._take(message.get("usage"))
        return tally.step(counted=self.counted, finished=True, ended=True)

    def _message(self, message: object, tally: _Tally) -> None:
        if not isinstance(message, dict):
            tally.say("message", message)
            return
        tally.others("message", message, _MESSAGE)
        content = message.get("content")
        for block in content if isinstance(content, list) else (content,):
            if block:
                tally.block(block)

    def _count(self, kind: str, fields: Tree) -> VendorCount | None:
        """The vendor's count, if this event has one."""
        before = self.counted
        usages: list[object] = []
        if kind == "message_start":
            usage = at(fields, ("message", "usage"))
            if isinstance(usage, dict):
                usages.append({name: value for name, value in usage.items() if name not in _OUTPUT})
        usages += [fields.get("usage"), *(at(fields, place) for place in self._reading.places)]
        taken = [usage for usage in usages if self._take(usage)]
        if not taken or self.counted is None:
            return None
        return as_told(self.counted, before, taken, MESSAGES, self._reading)

    def _take(self, usage: object) -> bool:
        if not isinstance(usage, dict) or not usage:
            return False
        self._usage = merged(self._usage, usage)
        self.counted = read_usage(self._within_output(), MESSAGES, self._reading)
        return self.counted is not None

    def _within_output(self) -> Any:
        """The usage with thinking at most the output, where thinking is inside: it is a recount, which may be a little off."""
        details, output = self._usage.get("output_tokens_details"), self._usage.get("output_tokens")
        if self._reading.reasoning is not Reasoning.INSIDE or not isinstance(details, dict) or type(output) is not int:
            return self._usage
        thinking = details.get("thinking_tokens")
        if type(thinking) is not int or thinking <= output:
            return self._usage
        return {**self._usage, "output_tokens_details": {**details, "thinking_tokens": output}}


_EVENT_OF_DELTA: Final = frozenset({"type", "index", "delta"})
