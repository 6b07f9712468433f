"""A chat completion with everything that `simulate` can ask for: tool calls, scripts, visible reasoning, odd usage."""

from typing import Any

import msgspec

from services.vendor_simulator.answer import CountedAnswer, Events, Passage, count
from services.vendor_simulator.chat_request import ChatRequest
from services.vendor_simulator.completion import DONE
from services.vendor_simulator.quirks import ShapedEvents, shape_body
from services.vendor_simulator.rich_chunks import shape_chunk, shape_message
from services.vendor_simulator.simulate import Usage
from services.vendor_simulator.usage import chat_usage, no_usage_yet

Chunk = dict[str, Any]


class RichCompletion(CountedAnswer, frozen=True):
    """The answer to one call, with everything that `simulate` can ask for."""

    completion_id: str
    # Unix time.
    created_s: int
    model: str
    # Whether a stream carries usage at all.
    stream_usage: bool

    @property
    def finish_reason(self) -> str:
        """OpenAI's word for the end."""
        if self.counts.finish == "tool_calls" and "tool_finish_stop" in self.counts.simulate.quirks:
            return "stop"
        return self.counts.finish

    def identity(self, kind: str) -> Chunk:
        """The members that every object of the answer begins with."""
        return {"id": self.completion_id, "object": kind, "created": self.created_s, "model": self.model}

    def answer(self) -> bytes:
        """The body of an answer that is not streamed."""
        simulate = self.counts.simulate
        place = simulate.usage_report.place
        usage = chat_usage(self.counts, self.output_tokens)
        choices = []
        for index in range(self.choices):
            message = shape_message(self._message(), simulate.quirks)
            choice = {"index": index, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
            if place in ("in_choice", "twice"):
                choice["usage"] = usage
            choices.append(choice)
        body = self.identity("chat.completion") | {"choices": choices}
        if place == "x_groq":
            body["x_groq"] = {"id": "req_1", "usage": usage}
        elif place not in ("none", "in_choice"):
            body["usage"] = usage
        return shape_body(msgspec.json.encode(body), simulate.quirks)

    def events(self) -> Events:
        """The answer as a stream."""
        return ShapedEvents(RichEvents(self), self.counts.simulate.quirks, DONE)

    def _message(self) -> Chunk:
        said = {"reasoning": "", "text": ""}
        calls: list[Chunk] = []
        for passage in self.counts.passages(0, self.visible_tokens):
            if passage.kind == "tool":
                calls.append({"id": call_id(passage), "type": "function", "function": called(passage)})
            else:
                said[passage.kind] += passage.text
        message: Chunk = {"role": "assistant", "content": said["text"] or (None if calls else ""), "refusal": None}
        if said["reasoning"]:
            message |= self.reasoning(said["reasoning"])
        if calls:
            message["tool_calls"] = calls
        return message

    def reasoning(self, thought: str) -> Chunk:
        """The fields that show `thought`."""
        display = self.counts.simulate.reasoning
        names = ("reasoning", "reasoning_content") if display == "both" else (display,)
        return dict.fromkeys(names, thought)


def call_id(passage: Passage) -> str:
    """The identifier of the call that `passage` belongs to."""
    return f"call_{passage.call}"


def called(passage: Passage) -> Chunk:
    """The function that `passage` calls, with its arguments as JSON text."""
    return {"name": passage.tool, "arguments": passage.text}


class RichEvents:
    """The events of a completion's stream, each as the bytes of one `data:` line with its blank line."""

    def __init__(self, completion: RichCompletion) -> None:
        self._completion = completion
        self._counts = completion.counts
        self._quirks = completion.counts.simulate.quirks
        self._report: Usage = completion.counts.simulate.usage_report
        self._reports = completion.stream_usage and self._report.place != "none"

    def head(self) -> bytes:
        """The events that open each choice, after what some vendors send before them."""
        events = b""
        if "filter_first" in self._quirks:
            filtered = [{"prompt_index": 0, "content_filter_results": {}}]
            first = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": filtered}
            events += _event(first)
        if self._reports and self._report.place == "preview_first":
            # An estimate of the input and a placeholder for the output.
            events += self._chunks([], chat_usage(self._counts, min(4, self._counts.output_tokens)))
        return events + self._each({"role": "assistant", "content": "", "refusal": None}, None, 0)

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them, of each choice."""
        made = self._counts.silent_tokens + start + count
        return b"".join(
            self._each(delta, None, made)
            for passage in self._counts.passages(start, count)
            for delta in self._deltas(passage)
            if passage.text or passage.kind == "tool"
        )

    def end(self) -> bytes:
        """The events that close each choice, the usage where it is asked for, and the end mark."""
        made = self._counts.output_tokens
        place = self._report.place
        usage = chat_usage(self._counts, made) if self._reports else None
        if usage is None:
            return self._each({}, self._completion.finish_reason, made) + DONE
        last = self._each({}, self._completion.finish_reason, made, usage)
        own = self._chunks([], usage)
        if place in ("final", "preview_first", "twice"):
            return last + own + DONE
        if place == "after_done":
            return last + DONE + own
        if place == "before_last":
            without = self._chunks([], None)
            closing = self._chunks([{"index": 0, "delta": {}, "finish_reason": None}], None)
            return last + without + closing + DONE
        return last + DONE

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed."""
        return b"data: %b\n\n" % body

    def _deltas(self, passage: Passage) -> list[Chunk]:
        if passage.kind == "reasoning":
            return [self._completion.reasoning(passage.text)]
        if passage.kind == "text":
            return [{"content": passage.text}]
        piece: Chunk = {"index": passage.call}
        deltas: list[Chunk] = []
        if passage.first:
            opening = {"id": call_id(passage), "type": "function", "function": called(passage) | {"arguments": ""}}
            deltas.append({"tool_calls": [piece | opening]})
        deltas.append({"tool_calls": [piece | {"function": {"arguments": passage.text}}]})
        return deltas

    def _each(self, delta: Chunk, finish: str | None, made: int, final: Chunk | None = None) -> bytes:
        """The event of each choice; `final` is the usage, which only the last ones know."""
        events = b""
        for index in range(self._counts.choices):
            choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
            place = self._report.place
            usage = None
            if final is not None:
                if place in ("in_choice", "twice"):
                    choice["usage"] = final
                if place in ("twice", "every_chunk", "last_chunk_with_choices", "before_last", "zeros_until_end"):
                    usage = final
            elif self._reports and place == "every_chunk":
                usage = chat_usage(self._counts, made)
            elif self._reports and place == "zeros_until_end":
                usage = no_usage_yet()
            more = {"x_groq": {"id": "req_1", "usage": final}} if final is not None and place == "x_groq" else {}
            events += self._chunks([choice], usage, more)
        return events

    def _chunks(self, choices: list[Chunk], usage: Chunk | None, more: Chunk | None = None) -> bytes:
        chunk = self._completion.identity("chat.completion.chunk") | {"choices": choices}
        if self._completion.stream_usage:
            chunk["usage"] = usage
        return b"".join(_event(shaped) for shaped in shape_chunk(chunk | (more or {}), self._quirks))


def _event(chunk: Chunk) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(chunk)


def plan_rich(request: ChatRequest, completion_id: str, created_s: int) -> RichCompletion:
    """The answer to `request` if nothing fails."""
    counts = count(request.simulate, request.input_tokens, request.output_tokens_max, request.n or 1)
    return RichCompletion(counts, completion_id, created_s, request.model, request.stream_usage)
