"""A vendor's answer to a request for a response on its way to the client: as a stream, or whole. Pure.

The terminal event repeats the whole output, and tells what was charged. So it is held back for the end.
"""

from typing import Any, Final

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.json_text import encode
from services.edge.dialects.openai_usage import usage_object
from services.edge.dialects.responses.meaning import Meaning
from services.edge.dialects.responses.names import COMPLETED, CREATED, FAILED, IN_PROGRESS, INCOMPLETE, LIMIT, TERMINAL
from services.edge.dialects.responses.output import Output
from services.edge.dialects.responses.telling import closing, new_response, opening
from services.edge.dialects.tally import has_output
from services.edge.dialects.typed_events import OF_MESSAGES, Tree, event_of, fields_of, refuse_event_of, whole_of
from services.edge.http.problems import SERVER_ERROR, Problem, problem_body
from services.edge.vendors.errors import fault_in
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import Vector, trimmed

_STREAM: Final = "text/event-stream; charset=utf-8"
_JSON: Final = "application/json"
_NOTHING: Final = Step()
_ENDED: Final = frozenset({"completed", "incomplete"})
_USAGE: Final = frozenset({"input_tokens", "output_tokens", "total_tokens"})
# Readers in JavaScript round above this.
_NUMBER_MAX: Final = 2**53 - 1


class ResponsesAnswer:
    """See `services.edge.call.dialect.Answer`. A cut event with output is no part of the answer."""

    tells_usage = None

    def __init__(self, reading: UsageReading, asked: Tree, *, streamed: bool) -> None:
        """`asked`: the request's fields, which an answer tells again."""
        self.content_type = _STREAM if streamed else _JSON
        self._streamed = streamed
        self._model_id = str(asked.get("model", ""))
        self._meaning = Meaning(reading, asked)
        # All that the client was told: the last event comes to it when the next one is fed.
        self._told = Output()
        self._last: tuple[str, Tree] | None = None
        self._last_says = False
        # Numbers of the last event that the client was told, and of the last one that was fed.
        self._told_number = -1
        self._number = -1
        # The event that ends the answer.
        self._end: tuple[str, Tree] | None = None

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        try:
            return self._read(event)
        except RecursionError:
            raise VendorFailure("garbage", 200) from None

    def _read(self, event: Event) -> Step:
        fields, data = fields_of(event)
        if not fields:
            return _NOTHING
        kind = fields["type"]
        refuse_event_of(OF_MESSAGES, kind)
        if kind == "error":
            return Step(fault=fault_in(fields))
        if kind == FAILED:
            response = fields.get("response")
            return Step(fault=fault_in({"error": response.get("error")} if isinstance(response, dict) else {}))
        self._take()
        if self._end is not None:
            return self._meaning.after_end(fields)
        is_end = kind in TERMINAL
        out = event_of(kind, self._numbered(fields, data)) if self._streamed and not is_end else b""
        step = self._meaning.event(kind, fields, self._told, out)
        if is_end:
            self._end = kind, fields
        self._last, self._last_says = (kind, fields), has_output(step)
        return step

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        response = whole_of(body)
        output, status = response.get("output"), response.get("status", "completed")
        if not isinstance(output, list) or not isinstance(status, str) or status not in _ENDED:
            raise VendorFailure("garbage", 200, body)
        step = self._meaning.whole(response)
        kind = INCOMPLETE if status == "incomplete" else COMPLETED
        self._end = kind, {"type": kind, "response": response}
        if not self._streamed:
            return step
        begun = {**response, "status": "in_progress", "output": [], "usage": None}
        heads: list[Tree] = [{"type": each, "response": begun} for each in (CREATED, IN_PROGRESS)]
        return step._replace(out=b"".join(map(self._written, [*heads, *opening(output)])))

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        is_cut = ending is Ending.CUT
        if not (is_cut and self._last_says):
            self._take()
        if is_cut or self._end is None:
            return self._ended_here(used)
        kind, fields = self._end
        response = fields.get("response")
        response = response if isinstance(response, dict) else self._response
        changed: Tree = {}
        if not response.get("output") and self._told.items:
            # Some vendors leave it out, because it was told.
            changed["output"] = self._told.trees
        if not self._is_counted_so(used, response.get("usage")):
            changed["usage"] = usage_of(used)
        response = {**response, **changed}
        return self._written({**fields, "type": kind, "response": response}) if self._streamed else encode(response)

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """The event that says that the answer failed; of an answer that is not streamed the problem alone."""
        if not self._streamed:
            return problem_body(problem)
        if not self._last_says:
            self._take()
        error = {"code": problem.code or SERVER_ERROR, "message": problem.message}
        response = {**self._response, "status": "failed", "error": error, "output": self._told.trees, "usage": None}
        return self._written({"type": FAILED, "response": response})

    @property
    def _response(self) -> Tree:
        """The response without its output, as the client knows it."""
        if not self._told.response:
            self._told.response = new_response(self._model_id)
        return self._told.response

    def _ended_here(self, used: Vector) -> bytes:
        """The rest of an answer that its vendor did not end: what is open is ended, as if the limit had been reached."""
        has_begun = bool(self._told.response)
        self._number = self._told_number
        events: list[Tree] = []
        if not has_begun:
            events.append({"type": CREATED, "response": {**self._response, "output": []}})
        events += closing(self._told)
        changed: dict[str, Any] = {
            "status": "incomplete",
            "incomplete_details": {"reason": LIMIT},
            "output": self._told.trees,
            "usage": usage_of(used),
        }
        response = {**self._response, **changed}
        if not self._streamed:
            return encode(response)
        return b"".join(map(self._written, [*events, {"type": INCOMPLETE, "response": response}]))

    def _take(self) -> None:
        """Takes the last event as told."""
        if self._last is not None:
            self._told.take(*self._last)
            self._last, self._last_says = None, False
        self._told_number = self._number

    def _is_counted_so(self, used: Vector, usage: object) -> bool:
        """Whether the vendor's usage is the charged one, and has what clients expect."""
        counted = self._meaning.counted
        if counted is None or counted.is_odd or not isinstance(usage, dict) or not usage.keys() >= _USAGE:
            return False
        return trimmed(counted.counts) == trimmed(used)

    def _numbered(self, fields: Tree, data: bytes) -> bytes:
        """An event's data, with a number above those before."""
        number = fields.get("sequence_number")
        if type(number) is int and self._number < number <= _NUMBER_MAX:
            self._number = number
            return data
        self._number += 1
        return encode({**fields, "sequence_number": self._number})

    def _written(self, fields: Tree) -> bytes:
        """An event that is written here, with a number above those before."""
        return event_of(fields["type"], self._numbered(fields, encode(fields)))


def usage_of(used: Vector) -> Tree:
    """The charged usage, with all that the official SDKs expect."""
    usage = usage_object(used, "input", "output")
    usage["input_tokens_details"].setdefault("cache_write_tokens", 0)
    return usage
