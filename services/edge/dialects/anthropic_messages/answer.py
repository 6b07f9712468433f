"""A vendor's answer on its way to a client: relayed event by event, or assembled as the official SDKs assemble it."""

from typing import Any, Final

import msgspec

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.anthropic_messages.meaning import Meaning
from services.edge.dialects.anthropic_messages.problems import problem_body
from services.edge.dialects.anthropic_messages.wire import events_of, message_of
from services.edge.dialects.json_text import NOT_JSON, encode
from services.edge.dialects.tally import has_output
from services.edge.dialects.typed_events import OF_RESPONSES, Tree, as_read, event_of, fields_of, refuse_event_of, whole_of
from services.edge.http.problems import Problem
from services.edge.vendors.errors import fault_in
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import VendorCount, merged
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INDEX, Vector, total_input, total_output, trimmed

JSON: Final = "application/json"
STREAM: Final = "text/event-stream; charset=utf-8"
_NOTHING: Final = Step()
_NONE: Final[list[Tree]] = []
# A count of tokens with all that tells of it.
_COUNT_BYTES_MAX: Final = 1_024
_STOP: Final = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
_decode: Final = msgspec.json.Decoder().decode


class StreamedAnswer:
    """A stream that is relayed. Its message_stop is held back for `end`.

    A cut comes after an event with output that the client did not get. So an event is noted as sent when the next one comes.
    """

    content_type = STREAM
    tells_usage = None

    def __init__(self, reading: UsageReading, model_id: str, *, has_results: bool) -> None:
        """`has_results`: tools were asked for that run at the vendor."""
        self._meaning = Meaning(reading, has_results=has_results)
        self._model_id = model_id
        # State of the client's stream: the message, a reason to stop, the open blocks.
        self._has_begun = False
        self._has_stopped = False
        self._open: dict[int, None] = {}
        # The last events, and whether they have output.
        self._last: list[Tree] = []
        self._has_output = False
        # The vendor's last events, which go out at the end: a message_delta without usage, the message_stop.
        self._bare: Tree | None = None
        self._stop = b""

    def feed(self, event: Event) -> Step:
        """Reads one event. Errors: `VendorFailure` garbage for an event outside the dialect."""
        fields, data = fields_of(event)
        if not fields:
            return _NOTHING
        kind = fields["type"]
        refuse_event_of(OF_RESPONSES, kind)
        if kind == "error":
            return Step(fault=fault_in(fields))
        self._sent()
        if self._stop:
            return self._meaning.after_end(kind, fields)
        out = self._out(kind, fields, data)
        step = self._meaning.event(kind, fields, out)
        if out and kind != "content_block_delta":
            self._last, self._has_output = [fields], has_output(step)
        return step

    def feed_whole(self, body: bytes) -> Step:
        """Reads an answer that was not streamed, and makes a stream of it."""
        message = message_of(body)
        step = self._meaning.whole(message)
        self._last, self._has_output = events_of(message), has_output(step)
        return step._replace(out=b"".join(self._out(each["type"], each, encode(each)) for each in self._last))

    def end(self, ending: Ending, used: Vector) -> bytes:
        """The events that are still to come."""
        if ending is not Ending.CUT or not self._has_output:
            self._sent()
        events: list[Tree] = []
        counted = self._meaning.counted
        if not self._has_begun:
            events.append({"type": "message_start", "message": _empty_message(self._model_id, used)})
        if ending is Ending.CUT:
            events += [{"type": "content_block_stop", "index": index} for index in self._open]
            if not self._has_stopped:
                delta = {"stop_reason": "max_tokens", "stop_sequence": None}
                events.append({"type": "message_delta", "delta": delta, "usage": _usage(used, counted)})
        elif self._bare is not None:
            events.append({**self._bare, "usage": _usage(used, counted)})
        return b"".join(event_of(each["type"], encode(each)) for each in events) + (self._stop or _STOP)

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """The error event."""
        return event_of("error", problem_body(problem, charging_id))

    def _out(self, kind: str, fields: Tree, data: bytes) -> bytes:
        """The client's bytes for an event: the vendor's own, if the official SDKs can read them."""
        match kind:
            case "message_start":
                message = fields.get("message")
                if isinstance(message, dict) and not isinstance(message.get("usage"), dict):
                    none = {"input_tokens": 0, "output_tokens": 0}
                    return event_of(kind, encode({**fields, "message": {**message, "usage": none}}))
            case "message_delta":
                if not isinstance(fields.get("usage"), dict):
                    self._bare = {**fields, "delta": {**_object(self._bare, "delta"), **_object(fields, "delta")}}
                    return b""
            case "message_stop":
                self._stop = event_of(kind, data)
                return b""
        return event_of(kind, data)

    def _sent(self) -> None:
        """Notes the last events as sent."""
        for fields in self._last:
            match fields["type"]:
                case "message_start":
                    self._has_begun = True
                case "content_block_start":
                    self._open[_index(fields)] = None
                case "content_block_stop":
                    self._open.pop(_index(fields), None)
                case "message_delta":
                    self._has_stopped = self._has_stopped or bool(_object(fields, "delta").get("stop_reason"))
        self._last, self._has_output = _NONE, False


class WholeAnswer:
    """An answer that the client wants whole, from a stream or from a whole one. A cut event with output is left out."""

    content_type = JSON
    tells_usage = None

    def __init__(self, reading: UsageReading, model_id: str, *, has_results: bool) -> None:
        """`has_results`: tools were asked for that run at the vendor."""
        self._meaning = Meaning(reading, has_results=has_results)
        self._model_id = model_id
        self._message: Tree | None = None
        self._blocks: dict[int, _Block] = {}
        self._usage: Any = {}
        # The last event, and whether it has output.
        self._last: Tree = {}
        self._has_output = False
        # Set once the terminal event has come.
        self._has_ended = False
        # A whole answer as the vendor wrote it.
        self._body = b""

    def feed(self, event: Event) -> Step:
        """Reads one event of a stream. Errors: `VendorFailure` garbage for an event outside the dialect."""
        fields, _ = fields_of(event)
        if not fields:
            return _NOTHING
        kind = fields["type"]
        refuse_event_of(OF_RESPONSES, kind)
        if kind == "error":
            return Step(fault=fault_in(fields))
        self._take()
        if self._has_ended:
            self._last, self._has_output = {"type": "message_delta", "usage": fields.get("usage")}, False
            return self._meaning.after_end(kind, fields)
        step = self._meaning.event(kind, fields, b"")
        self._has_ended = step.ended
        self._last, self._has_output = fields, has_output(step)
        return step

    def feed_whole(self, body: bytes) -> Step:
        """Reads an answer that was not streamed. Errors: `VendorFailure` garbage, or refused with the vendor's error."""
        message = message_of(body)
        self._body = as_read(body.strip(), message)
        self._last = {"type": "message_start", "message": message}
        step = self._meaning.whole(message)
        self._has_output = has_output(step)
        return step

    def end(self, ending: Ending, used: Vector) -> bytes:
        """The message."""
        counted = self._meaning.counted
        is_counted_so = counted is not None and not counted.is_odd and trimmed(counted.counts) == trimmed(used)
        if self._body and ending is Ending.COMPLETE and is_counted_so:
            return self._body
        if ending is not Ending.CUT or not self._has_output:
            self._take()
        elif self._body:
            self._message = {**self._last["message"]}
        message = self._message if self._message is not None else _empty_message(self._model_id, used)
        changed: Tree = {"content": [self._blocks[index].whole() for index in sorted(self._blocks)]}
        if ending is Ending.CUT:
            changed |= {"stop_reason": "max_tokens", "stop_sequence": None}
        return encode({**message, **changed, "usage": {**self._usage, **({} if is_counted_so else _usage(used, None))}})

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """The problem alone, because nothing has been sent."""
        return problem_body(problem, charging_id)

    def _take(self) -> None:
        """Takes the last event into the message."""
        fields = self._last
        match fields.get("type"):
            case "message_start":
                self._message = dict(_object(fields, "message"))
                content = self._message.get("content")
                for index, block in enumerate(content if isinstance(content, list) else ()):
                    self._blocks[index] = _Block(block)
                self._usage = merged(self._usage, self._message.get("usage"))
            case "content_block_start":
                self._blocks[_index(fields)] = _Block(fields.get("content_block"))
            case "content_block_delta":
                if (block := self._blocks.get(_index(fields))) is None:
                    block = self._blocks[_index(fields)] = _Block(None)
                block.add(_object(fields, "delta"))
            case "message_delta":
                self._change(fields)
        self._last = {}

    def _change(self, fields: Tree) -> None:
        """Takes the end of the message into it; null members change nothing."""
        if self._message is None:
            self._message = {}
        for members in (_object(fields, "delta"), fields):
            for name, value in members.items():
                if value is not None and name not in ("type", "delta", "usage"):
                    self._message[name] = value
        self._usage = merged(self._usage, fields.get("usage"))


class CountAnswer:
    """The vendor's count of a request's tokens, relayed as it came."""

    content_type = JSON
    tells_usage = None

    def __init__(self) -> None:
        self._body = b""

    def feed(self, event: Event) -> Step:
        """A count is never streamed. Errors: `VendorFailure` garbage."""
        raise VendorFailure("garbage", 200)

    def feed_whole(self, body: bytes) -> Step:
        """Reads the count. Errors: `VendorFailure` garbage, or refused with the vendor's error."""
        count = whole_of(body).get("input_tokens")
        if type(count) is not int:
            raise VendorFailure("garbage", 200, body)
        # It is free, so it may not say much beside the count.
        self._body = body.strip() if len(body) <= _COUNT_BYTES_MAX else encode({"input_tokens": count})
        return Step(finished=True, ended=True)

    def end(self, ending: Ending, used: Vector) -> bytes:
        """The vendor's JSON."""
        return self._body

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """The problem."""
        return problem_body(problem, charging_id)


class _Block:
    """A content block that grows."""

    __slots__ = ("_arguments", "_citations", "_members", "_texts")

    def __init__(self, block: object) -> None:
        self._members: Tree = dict(block) if isinstance(block, dict) else {"type": "text", "text": ""}
        # Pieces of texts by the member that they make.
        self._texts: dict[str, list[str]] = {}
        self._arguments: list[str] = []
        self._citations: list[Any] = []

    def add(self, delta: Tree) -> None:
        """Adds a piece."""
        kind = delta.get("type")
        for name, value in delta.items():
            if name in ("type", "estimated_tokens") or value is None:
                continue
            if name == "partial_json":
                if isinstance(value, str):
                    self._arguments.append(value)
            elif name == "citation":
                self._citations.append(value)
            elif name == "signature" or kind == "compaction_delta" or not isinstance(value, str):
                self._members[name] = value
            else:
                self._texts.setdefault(name, []).append(value)

    def whole(self) -> Tree:
        """The block with all its pieces."""
        members = self._members
        for name, pieces in self._texts.items():
            begun = members.get(name)
            members = {**members, name: (begun if isinstance(begun, str) else "") + "".join(pieces)}
        if self._citations:
            begun = members.get("citations")
            members = {**members, "citations": [*(begun if isinstance(begun, list) else ()), *self._citations]}
        arguments = "".join(self._arguments).strip()
        if arguments:
            members = {**members, "input": _arguments(arguments)}
        return members


def _arguments(text: str) -> Any:
    """The arguments of a call, unchanged; none where they were cut off and are no JSON."""
    try:
        raw = text.encode()
        _decode(raw)
    except (*NOT_JSON, UnicodeEncodeError):
        return {}
    return msgspec.Raw(raw)


def _index(fields: Tree) -> int:
    index = fields.get("index")
    return index if type(index) is int else 0


def _object(fields: Tree | None, name: str) -> Tree:
    """A member that is an object, or an empty one."""
    value = fields.get(name) if fields else None
    return value if isinstance(value, dict) else {}


def usage_of(used: Vector) -> Tree:
    """The charged usage, in disjoint classes."""
    return _usage(used, None)


def _usage(used: Vector, counted: VendorCount | None) -> Tree:
    """The charged usage; the input only where the vendor has not counted it."""
    usage = {"output_tokens": total_output(used)}
    if counted is not None and counted.has_input:
        return usage
    cached = used[INDEX["cached_input"]]
    written = used[INDEX["cache_write"]] + sum(used[INDEX["cache_write_1h"] : INDEX["cache_write_1h"] + 1])
    rest = total_input(used) - written - cached
    return {"input_tokens": rest, "cache_creation_input_tokens": written, "cache_read_input_tokens": cached, **usage}


def _empty_message(model_id: str, used: Vector) -> Tree:
    """A message without any output from the vendor."""
    return {
        "id": "msg_0",
        "type": "message",
        "role": "assistant",
        "model": model_id,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(used, None) | {"output_tokens": 0},
    }
