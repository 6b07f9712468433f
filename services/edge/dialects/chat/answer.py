"""A vendor's answer to a chat completion on its way to the client: as a stream, or assembled to a whole. Pure.

A chunk in OpenAI's form passes byte for byte, read by a strict decoder. Any other is read as far as possible, put right and written
anew. The client's stream has at most one chunk of usage, as the last before [DONE], and only where it asked.
"""

from typing import Any, Final
from uuid import uuid4

import msgspec

from services.edge.call.dialect import Ending, Step, TellsUsage
from services.edge.dialects.chat.assembly import Assembly
from services.edge.dialects.chat.chunks import (
    NO_USAGE,
    USAGE_COUNTS,
    Call,
    Choice,
    Chunk,
    chunk_decoder,
    clean_whole,
    decoded,
    has_more_than,
    is_clean,
    is_error,
)
from services.edge.dialects.chat.deltas import (
    CALL_ID_CHARACTERS_MAX,
    INDEX_MAX,
    ChoiceState,
    Found,
    Json,
    count_member,
    right_delta,
)
from services.edge.dialects.chat.fields import StreamOptions
from services.edge.dialects.chat.probabilities import ChatProbabilities
from services.edge.dialects.json_text import NOT_JSON, Fields, Raw, encode
from services.edge.dialects.metadata import FREE_BYTES_A_PIECE, Metadata
from services.edge.dialects.openai_usage import usage_object
from services.edge.dialects.typed_events import OF_RESPONSES, refuse_event_of
from services.edge.http.problems import Problem, problem_body
from services.edge.vendors.errors import fault_in
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import CHAT, VendorCount, at, merged, read_plain_usage, read_usage
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import Vector, total_output, trimmed

_members_decoder: Final = msgspec.json.Decoder(Fields)
_STREAM: Final = "text/event-stream; charset=utf-8"
_JSON: Final = "application/json"
_DONE: Final = b"data: [DONE]\n\n"
_NOTHING: Final = Step()
_REFUSAL_BYTES_MAX: Final = 64 * 1024
_USAGE_PLACES: Final = (("usage",), ("x_groq", "usage"))
# An event without a name is a "message".
_PLAIN_EVENTS: Final = frozenset({"", "message"})
_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})
# Members of a clean chunk that describe the answer.
_WORDS: Final = ("id", "model", "created", "system_fingerprint", "service_tier", "provider")
_DIGITS: Final = b"0123456789"
_CALL_TYPES: Final = frozenset({"function", "custom"})
# Members of a chunk without text of their own.
_CHUNK: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier", "obfuscation", "provider"}
)


class ChatAnswer:
    """See `services.edge.call.dialect.Answer`. A cut event with output is no part of the answer.

    A dialect whose choices have something else in place of messages says so in the members from `_OBJECT` to `_chunk_choice`.
    """

    _OBJECT = "chat.completion"
    _CHUNK_OBJECT = "chat.completion.chunk"
    _ID_PREFIX = "chatcmpl-"
    # Members of a choice that `_right_part` writes, and the part of a choice that says nothing.
    _PART_NAMES: frozenset[str] = frozenset({"message", "delta"})
    # Members that stand there where the vendor speaks another dialect with choices.
    _FOREIGN_NAMES: frozenset[str] = frozenset({"text"})
    _NO_PART: Json = {"delta": {}}  # noqa: RUF012  # never changed

    def _new_assembly(self) -> Assembly:
        return Assembly()

    def _right_part(self, choice: Json, state: ChoiceState, found: Found, *, is_whole: bool) -> Json:
        """The words of a choice, put right and counted."""
        part = "message" if is_whole else "delta"
        delta = choice.get(part)
        if not isinstance(delta, dict):
            # Some vendors write a message into a chunk.
            other = choice.get("message")
            delta = other if isinstance(other, dict) else {"content": delta} if isinstance(delta, str) else {}
        answer_id = str((self._identity or {}).get("id", ""))
        return {part: right_delta(delta, state, found, answer_id, is_whole=is_whole)}

    def _count_probabilities(self, value: object, right: Json, said: str, found: Found) -> None:
        """Counts text in the probabilities of a choice that is put right and says `said`."""
        self._probabilities.count(value, said, found)

    def _chunk_choice(self, choice: Json) -> Json:
        """A choice of a whole answer as one of a chunk."""
        rest = dict(choice)
        delta = rest.pop("message")
        if calls := delta.get("tool_calls"):
            delta = {**delta, "tool_calls": [{**call, "index": index} for index, call in enumerate(calls)]}
        return {**rest, "delta": delta}

    def __init__(
        self, reading: UsageReading, choices: int, alternatives: int | None, options: StreamOptions, *, streamed: bool
    ) -> None:
        """`alternatives` to each token were asked for; None: no probabilities of tokens at all."""
        self.content_type = _STREAM if streamed else _JSON
        self._reading = reading
        self._choices_asked = choices
        self._probabilities = ChatProbabilities(alternatives)
        self._metadata = Metadata()
        # The last clean chunk with new metadata, and the names of its usage.
        self._clean: Chunk | None = None
        self._usage_names = b""
        # At most this many bytes beside the text of a chunk with its words; one that has more is looked at closely.
        self._head_bytes = 0
        self._streamed = streamed
        self._options = options
        self._assembly = None if streamed else self._new_assembly()
        # The last event's part of the whole answer: where the event is cut, the client does not get it.
        self._last: Step = _NOTHING
        self._adds: Json | tuple[Chunk, Choice] | None = None
        self._choices: dict[int, ChoiceState] = {}
        # Choices that the last event finished.
        self._finished: list[ChoiceState] = []
        self._unfinished = choices
        self._identity: Json | None = None
        # A first chunk without identity, until one is known.
        self._held: Json | None = None
        # The vendor's usage object; as JSON where it was read without taking it apart.
        self._usage: Json = {}
        self._plain_usage = b""
        self._counted: VendorCount | None = None
        # The count of the event under way.
        self._says: VendorCount | None = None
        # The vendor's own chunk of usage, for the end.
        self._usage_chunk = b""
        self._whole: Json | None = None
        # A whole answer that needs no correction.
        self._clean_body = b""
        self._ended = False

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        if self._adds is not None:
            self._take()
        if self._finished:
            self._finished.clear()
        step = self._last = self._read(event)
        return step

    def _read(self, event: Event) -> Step:
        data = event.data
        self._says = None
        if not self._ended and event.name in _PLAIN_EVENTS:
            try:
                chunk = chunk_decoder.decode(data)
            except NOT_JSON:
                pass
            else:
                step = self._clean_step(chunk, data)
                if step is not None:
                    return step
        if data.lstrip().startswith(b"[DONE]"):
            self._ended = True
            return Step(finished=self._unfinished <= 0, ended=True)
        return self._odd_step(event)

    # Clean chunks

    def _clean_step(self, chunk: Chunk, data: bytes) -> Step | None:
        """The step of a chunk that needs no correction; None for any other, of which nothing was noted then."""
        if not is_clean(chunk, data):
            return None
        usage = bytes(chunk.usage) if chunk.usage is not NO_USAGE and chunk.usage != NO_USAGE else b""
        if not chunk.choices:
            if has_more_than(chunk, data, usage, FREE_BYTES_A_PIECE):
                return None
            self._take_raw_usage(usage)
            self._usage_chunk = data
            return Step(counted=self._says, finished=self._unfinished <= 0)
        choice = chunk.choices[0]
        delta = choice.delta
        said = delta.content or ""
        thought = delta.reasoning_content or delta.reasoning or ""
        if delta.refusal:
            said += delta.refusal
        says = bool(said or thought)
        padding = chunk.obfuscation
        has_new_words = (
            ((last := self._clean) is None or chunk.id != last.id or chunk.model != last.model)
            or (chunk.system_fingerprint != last.system_fingerprint or chunk.service_tier != last.service_tier)
            or chunk.provider != last.provider
        )
        text = said + thought if delta.tool_calls is None else said + thought + _text_of_calls(delta.tool_calls)
        head_bytes = len(data) - len(text) - len(usage) - (len(padding) if padding else 0)
        is_close = has_new_words or not text or head_bytes > self._head_bytes
        if is_close and has_more_than(chunk, data, usage, FREE_BYTES_A_PIECE if text else 0):
            return None
        if (
            has_new_words
            or (last is not None and chunk.created != last.created)
            or (usage and not (says and self._is_usual(usage)))
            or (padding and not (says and len(padding) <= FREE_BYTES_A_PIECE))
        ) and not self._takes(chunk, usage, says=says):
            return None
        if is_close:
            self._note_head(choice, head_bytes, text, is_new=has_new_words)
        if delta.role and delta.role != "assistant":
            return None
        calls = 0
        if delta.tool_calls or choice.finish_reason is not None or choice.index not in self._choices:
            taken = self._clean_calls(choice, data)
            if taken is None:
                return None
            said += taken[0]
            calls = taken[1]
        if usage:
            self._take_raw_usage(usage)
        if self._identity is None:
            self._know(chunk.id, chunk.model, chunk.created)
        if self._assembly is not None:
            self._adds = (chunk, choice)
            return Step(b"", said, thought, 0, calls, "", self._says, self._unfinished <= 0, choice=choice.index)
        # JSON may have line breaks between members, which an event's data may not.
        out = b"data: %b\n\n" % (data.replace(b"\n", b" ") if b"\n" in data else data)
        if self._held is not None:
            out = self._released() + out
        return Step(out, said, thought, 0, calls, "", self._says, self._unfinished <= 0, choice=choice.index)

    def _note_head(self, choice: Choice, head_bytes: int, text: str, *, is_new: bool) -> None:
        """Notes what chunks with these words have beside their text, from the first one that has nothing else."""
        delta = choice.delta
        if is_new:
            self._head_bytes = 0
        begins = delta.role or (delta.tool_calls and delta.tool_calls[0].id)
        if text and not (self._head_bytes or begins or choice.finish_reason):
            escapes = len(encode(text)) - len(text)
            self._head_bytes = head_bytes - escapes + FREE_BYTES_A_PIECE

    def _is_usual(self, usage: bytes) -> bool:
        """Whether a usage has its usual names, and a few numbers, which are free with output."""
        names = usage.translate(None, _DIGITS)
        return names == self._usage_names and len(usage) - len(names) <= FREE_BYTES_A_PIECE

    def _takes(self, chunk: Chunk, usage: bytes, *, says: bool) -> bool:
        """Whether the metadata of a clean chunk is free."""
        last = self._clean
        told: list[tuple[str, object]] = []
        for name in _WORDS:
            word = getattr(chunk, name)
            if word is not None and (last is None or word != getattr(last, name)):
                told.append((name, word))
        if usage:
            self._usage_names = usage.translate(None, _DIGITS)
            told.append(("usage", chunk.usage))
        if padding := chunk.obfuscation:
            told.append(("obfuscation", padding))
        if not self._metadata.takes(told, says=says):
            return False
        self._clean = chunk
        return True

    def _clean_calls(self, choice: Choice, data: bytes) -> tuple[str, int] | None:
        """The text and the number of new calls of a choice's pieces; None where one needs correction. Notes the choice's end."""
        state = self._choices.get(choice.index) or ChoiceState(choice.index)
        reason = choice.finish_reason
        pieces = choice.delta.tool_calls
        if reason is not None and (pieces or reason not in _REASONS or state.reason(reason) != reason):
            return None
        if choice.index >= self._choices_asked:
            return None
        taken = ("", 0)
        if pieces:
            if len(pieces) > 1 or data.count(b'"tool_calls"') > 1 or data.count(b'"arguments"') > 1 or data.count(b'"name"') > 1:
                return None
            opened = _clean_piece(pieces[0], state)
            if opened is None:
                return None
            taken = opened
        self._choices[choice.index] = state
        if reason is not None and state.finish_reason is None:
            self._finish(state, reason)
        return taken

    def _finish(self, state: ChoiceState, reason: str) -> None:
        state.finish_reason = reason
        self._finished.append(state)
        self._unfinished -= 1

    def _take(self) -> None:
        """Takes the last event into the whole answer."""
        adds, self._adds = self._adds, None
        if adds is None or self._assembly is None:
            return
        if isinstance(adds, tuple):
            _assemble(self._assembly, *adds)
        else:
            self._assembly.add(adds)

    # Other chunks

    def _odd_step(self, event: Event) -> Step:
        """The step of an event that is no clean chunk."""
        found = Found(self._metadata)
        chunk = decoded(event.data)
        if is_error(chunk, event.name):
            return Step(counted=self._says, fault=fault_in(chunk))
        if not isinstance(chunk, dict):
            raise VendorFailure("garbage", 200)
        kind = chunk.get("type")
        if isinstance(kind, str):
            refuse_event_of(OF_RESPONSES, kind)
        usage = self._usage_of(chunk)
        if self._ended:
            return Step(counted=self._says, finished=self._unfinished <= 0, ended=True)
        self._know(chunk.get("id"), chunk.get("model"), chunk.get("created"))
        right = self._right_chunk(chunk, usage, found, is_whole=False)
        is_empty = not right["choices"]
        says = any(name not in _CHUNK and value is not None for name, value in right.items())
        out = b""
        if is_empty and usage is not None and not says:
            # One of ours tells it at the end.
            self._usage_chunk = b""
        elif self._assembly is not None:
            self._adds = right
        elif is_empty and not says:
            # Left out: it would tell a client nothing, and many read the first choice of every chunk.
            pass
        elif is_empty and self._identity is None and self._held is None and usage is None:
            self._held = right
        else:
            out = self._released() + b"data: %b\n\n" % encode(self._identified(right))
        choices = right["choices"]
        return self._step(found, out)._replace(choice=choices[0]["index"] if len(choices) == 1 else 0)

    def _step(self, found: Found, out: bytes) -> Step:
        return found.step(out, self._says, finished=self._unfinished <= 0)

    def _right_chunk(self, chunk: Json, usage: object, found: Found, *, is_whole: bool) -> Json:
        """A chunk, or a whole answer, with each choice put right."""
        found.names("chunk", chunk)
        right = {**chunk, "object": self._OBJECT if is_whole else self._CHUNK_OBJECT, "choices": []}
        choices = chunk.get("choices")
        for position, choice in enumerate(choices if isinstance(choices, list) else (choices,)):
            if isinstance(choice, dict):
                right["choices"].append(self._right_choice(choice, position, found, is_whole=is_whole))
            elif choice is not None:
                count_member("choice", choice, found)
        for name, value in chunk.items():
            # The member `object` is written anew.
            if name not in ("choices", "object"):
                count_member(name, value, found)
        if usage is not None or "usage" in chunk:
            right["usage"] = usage
        return right

    def _right_choice(self, choice: Json, position: int, found: Found, *, is_whole: bool) -> Json:
        if not self._FOREIGN_NAMES.isdisjoint(choice) and self._PART_NAMES.isdisjoint(choice):
            # Its client would find nothing, and pay for it.
            raise VendorFailure("garbage", 200)
        index = choice.get("index")
        index = index if type(index) is int and 0 <= index <= INDEX_MAX else position
        if index >= self._choices_asked:
            found.tell("index", index)
        state = self._choices.setdefault(index, ChoiceState(index))
        found.names("choice", choice)
        said_before = len(found.said)
        right: Json = {"index": index, **self._right_part(choice, state, found, is_whole=is_whole)}
        said = "".join(found.said[said_before:])
        reason = state.reason(choice.get("finish_reason"))
        if reason is not None and state.finish_reason is None:
            self._finish(state, reason)
        for name, value in choice.items():
            if name == "index" or name in self._PART_NAMES:
                continue
            if name == "usage":
                if self._choices_asked == 1:
                    # It may be told as that of the answer.
                    count_member(name, value, found)
                continue
            if name == "finish_reason":
                count_member(name, value, found)
                continue
            right[name] = value
            if name == "logprobs":
                self._count_probabilities(value, right, said, found)
            else:
                count_member(name, value, found)
        right["finish_reason"] = reason
        return right

    # Usage

    def _usage_of(self, chunk: Json) -> object:
        """The usage object of a chunk, wherever it stands; notes it."""
        found = None
        for place in (*_USAGE_PLACES, *self._reading.places):
            value = at(chunk, place)
            if isinstance(value, dict) and value:
                found = value
                break
        choices = chunk.get("choices")
        # A choice's own usage is that of the whole only if it is the only choice.
        if found is None and self._choices_asked == 1 and isinstance(choices, list):
            for choice in choices:
                value = choice.get("usage") if isinstance(choice, dict) else None
                if isinstance(value, dict) and value:
                    found = value
        if found is not None:
            self._take_usage(found)
        return found

    def _take_raw_usage(self, raw: bytes) -> None:
        counted = read_plain_usage(raw, self._reading)
        if counted is None:
            self._take_usage(msgspec.json.decode(raw))
        else:
            self._counted = self._says = counted
            self._plain_usage = raw

    def _known_usage(self) -> Json:
        if self._plain_usage:
            self._usage = msgspec.json.decode(self._plain_usage)
            self._plain_usage = b""
        return self._usage

    def _take_usage(self, found: object) -> None:
        counted = read_usage(found, CHAT, self._reading)
        if counted is None or not isinstance(found, dict):
            return
        if counted.has_input and counted.has_output and total_output(counted.counts):
            self._plain_usage = b""
            self._usage = found
            self._counted = self._says = counted
            return
        says_output = counted.has_output and total_output(counted.counts) > 0
        self._usage = merged(self._known_usage(), found)
        self._counted = read_usage(self._usage, CHAT, self._reading) or counted
        # An earlier count of output does not cover later output.
        is_old = not says_output and total_output(self._counted.counts) > 0
        self._says = self._counted._replace(has_output=False) if is_old else self._counted

    # Identity

    def _know(self, answer_id: object, model: object, created: object) -> None:
        """Notes the answer's identity, from the first chunk that has it."""
        if self._identity is None and isinstance(answer_id, str) and answer_id:
            self._identity = {
                "id": answer_id,
                "created": created if type(created) is int else 0,
                "model": model if isinstance(model, str) else "",
            }
        elif self._identity is not None:
            if not self._identity["model"] and isinstance(model, str):
                self._identity["model"] = model
            if not self._identity["created"] and type(created) is int:
                self._identity["created"] = created

    def _sure_identity(self) -> Json:
        if self._identity is None:
            self._identity = {"id": f"{self._ID_PREFIX}{uuid4().hex}", "created": 0, "model": ""}
        return self._identity

    def _identified(self, chunk: Json) -> Json:
        """The chunk, completed with the answer's identity."""
        known = self._sure_identity()
        for name in ("id", "created", "model"):
            value = chunk.get(name)
            if not value or not isinstance(value, int if name == "created" else str):
                chunk[name] = known[name]
        return chunk

    def _released(self) -> bytes:
        """The chunk that waited for an identity."""
        held, self._held = self._held, None
        return b"data: %b\n\n" % encode(self._identified(held)) if held is not None else b""

    # Whole answers

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`."""
        if not self._streamed and (clean := clean_whole(body)) is not None and len(clean.choices) == self._choices_asked:
            self._take_raw_usage(bytes(clean.usage))
            self._clean_body = body
            self._unfinished = 0
            self._ended = True
            said = "".join([choice.message.content or "" for choice in clean.choices])
            thought = "".join([choice.message.reasoning_content or "" for choice in clean.choices])
            return Step(said=said, thought=thought, counted=self._says, finished=True, ended=True)
        return self._read_whole(body)

    def _read_whole(self, body: bytes) -> Step:
        whole = decoded(body.strip())
        if is_error(whole, ""):
            raise VendorFailure("refused", 200, body[:_REFUSAL_BYTES_MAX], fault_in(whole))
        if not isinstance(whole, dict) or not whole.get("choices"):
            raise VendorFailure("garbage", 200)
        found = Found(self._metadata)
        usage = self._usage_of(whole)
        self._know(whole.get("id"), whole.get("model"), whole.get("created"))
        self._whole = self._identified(self._right_chunk(whole, usage, found, is_whole=True))
        self._unfinished = 0
        self._ended = True
        step = self._step(found, self._whole_as_events() if self._streamed else b"")
        return step._replace(ended=True)

    def _whole_as_events(self) -> bytes:
        """A whole answer as one chunk of a stream."""
        whole = dict(self._whole or {})
        choices = [self._chunk_choice(choice) for choice in whole.pop("choices", ())]
        whole.pop("usage", None)
        return b"data: %b\n\n" % encode({**whole, "object": self._CHUNK_OBJECT, "choices": choices})

    # The end

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        cut = "length" if ending is Ending.CUT else None
        last = self._last
        if cut is not None and (last.said or last.thought or last.opaque_bytes or last.calls) and self._whole is None:
            # The client gets neither the cut event nor the end that it told.
            self._adds = None
            for finished in self._finished:
                finished.finish_reason = None
        self._take()
        if not self._streamed:
            return self._whole_answer(cut, used)
        out = self._released()
        reasons = self._reasons(cut)
        unfinished = [
            {"index": index, **self._NO_PART, "finish_reason": reasons[index]}
            for index in sorted(reasons)
            if (state := self._choices.get(index)) is None or state.finish_reason is None
        ]
        if self._whole is not None:
            unfinished = []
        if unfinished:
            out += self._chunk(choices=unfinished)
        if self._options.continuous_usage:
            out = with_usage(out, used)
        if self._options.include_usage:
            if self._usage_chunk and self._is_counted_so(used):
                out += b"data: %b\n\n" % self._usage_chunk.replace(b"\n", b" ")
            else:
                out += self._chunk(choices=[], usage=self._told_usage(used))
        return out + _DONE

    def _chunk(self, **members: Any) -> bytes:
        known = self._sure_identity()
        head = {"id": known["id"], "object": self._CHUNK_OBJECT, "created": known["created"], "model": known["model"]}
        return b"data: %b\n\n" % encode({**head, **members})

    def _reasons(self, cut: str | None) -> dict[int, str]:
        """The end of each choice, even of one of which nothing came."""
        reasons = {index: cut or ChoiceState(index).reason("stop") or "" for index in range(self._choices_asked)}
        for index, state in self._choices.items():
            reasons[index] = state.finish_reason or cut or state.reason("stop") or ""
        return reasons

    def _is_counted_so(self, used: Vector) -> bool:
        counted = self._counted
        return counted is not None and not counted.is_odd and trimmed(counted.counts) == trimmed(used)

    def _told_usage(self, used: Vector) -> Json:
        """The vendor's usage if it is the charged one and has what clients expect, else one of the charged counts."""
        if self._is_counted_so(used) and self._known_usage().keys() >= USAGE_COUNTS:
            return self._known_usage()
        return usage_object(used, "prompt", "completion")

    def _whole_answer(self, cut: str | None, used: Vector) -> bytes:
        if self._clean_body:
            if cut is None and self._is_counted_so(used):
                return self._clean_body
            self._read_whole(self._clean_body)
        usage = self._told_usage(used)
        if self._whole is not None:
            reasons = self._reasons(cut)
            for choice in self._whole["choices"]:
                choice["finish_reason"] = choice["finish_reason"] or reasons[choice["index"]]
            return encode({**self._whole, "usage": usage})
        assert self._assembly is not None
        return encode(self._assembly.answer(self._sure_identity(), self._reasons(cut), dict(usage)))

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`. No [DONE] follows: the answer is not whole."""
        return b"data: %b\n\n" % problem_body(problem)

    @property
    def tells_usage(self) -> TellsUsage | None:
        """See `services.edge.call.dialect.Answer`."""
        return with_usage if self._options.continuous_usage else None


def with_usage(events: bytes, used: Vector) -> bytes:
    """The chunks of events, each with this usage in place of its own; all else keeps its text."""
    usage = Raw(encode(usage_object(used, "prompt", "completion")))
    chunks = [_members_decoder.decode(event.removeprefix(b"data: ")) for event in events.split(b"\n\n") if event]
    return b"".join([b"data: %b\n\n" % encode({**chunk, "usage": usage}) for chunk in chunks])


def _text_of_calls(pieces: list[Call]) -> str:
    """The text of pieces of calls."""
    functions = [piece.function for piece in pieces if piece.function is not None]
    return "".join([(function.name or "") + (function.arguments or "") for function in functions])


def _clean_piece(piece: Call, state: ChoiceState) -> tuple[str, int] | None:
    """The text of a call's piece and whether a call begins with it; None where it needs correction."""
    function = piece.function
    if not 0 <= piece.index <= INDEX_MAX or function is None or function.arguments is None:
        return None
    if piece.id is None:
        if function.name or state.routes.get(piece.index) != piece.index:
            return None
        return function.arguments, 0
    if len(piece.id) > CALL_ID_CHARACTERS_MAX or piece.type not in _CALL_TYPES:
        return None
    if not piece.id or piece.index in state.named or piece.id in state.index_of or piece.type is None or not function.name:
        return None
    state.open_call(piece.id, piece.index)
    state.named[piece.index] = function.name
    return function.name + function.arguments, 1


def _assemble(assembly: Assembly, chunk: Chunk, choice: Choice) -> None:
    """Adds a clean chunk to the whole answer."""
    delta = choice.delta
    if delta.content is not None:
        assembly.say(choice.index, delta.content)
    if delta.reasoning_content:
        assembly.think(choice.index, "reasoning_content", delta.reasoning_content)
    elif delta.reasoning:
        assembly.think(choice.index, "reasoning", delta.reasoning)
    if delta.refusal:
        assembly.join(choice.index, {"refusal": delta.refusal})
    if delta.tool_calls:
        assembly.join(choice.index, {"tool_calls": msgspec.to_builtins(delta.tool_calls)})
    if chunk.system_fingerprint or chunk.service_tier or chunk.provider:
        for name in ("system_fingerprint", "service_tier", "provider"):
            if value := getattr(chunk, name):
                assembly.tell(name, value)
