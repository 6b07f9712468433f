"""The answer to one call, in any dialect: its counts, its passages, and the interface of a dialect's words for them."""

from collections.abc import Iterator
from typing import Final, Literal, Protocol

import msgspec

from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, Simulate
from services.vendor_simulator.text import SCRIPTS, TOKEN_BYTES, json_passage, text

Kind = Literal["reasoning", "text", "tool"]
Finish = Literal["stop", "length", "tool_calls"]

# An unpaced stream of any length has at most this many content chunks.
UNPACED_CHUNKS_MAX: Final = 64
PACED_CHUNKS_PER_SECOND_MAX: Final = 50
EVENT_STREAM: Final = b"text/event-stream; charset=utf-8"


def chunk_sizes(tokens: int, tokens_per_second: float) -> Iterator[int]:
    """How many tokens each content chunk holds; their sum is `tokens`.

    One each up to 64 chunks unpaced, or 50 chunks a second paced; beyond, several each.
    """
    if tokens_per_second:
        size = max(1, int(-(-tokens_per_second // PACED_CHUNKS_PER_SECOND_MAX)))
        for start in range(0, tokens, size):
            yield min(size, tokens - start)
        return
    chunks = min(tokens, UNPACED_CHUNKS_MAX)
    for index in range(chunks):
        yield tokens * (index + 1) // chunks - tokens * index // chunks


class Events(Protocol):
    """An answer's stream, as bytes of whole events."""

    def head(self) -> bytes:
        """The events before the first token."""
        ...

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them, of each choice."""
        ...

    def end(self) -> bytes:
        """The events after the last token."""
        ...

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed; `body` is the dialect's error object."""
        ...


class Answer(Protocol):
    """The answer to one call if nothing fails."""

    @property
    def choices(self) -> int:
        """How many answers side by side, each with the same tokens."""
        ...

    @property
    def input_tokens(self) -> int:
        """All input, cached or not."""
        ...

    @property
    def output_tokens(self) -> int:
        """The tokens of each choice, reasoning included."""
        ...

    @property
    def silent_tokens(self) -> int:
        """The reasoning tokens of each choice that nobody sees."""
        ...

    @property
    def visible_tokens(self) -> int:
        """The tokens of each choice that are sent."""
        ...

    @property
    def stream_type(self) -> bytes:
        """The content type of its stream."""
        ...

    def answer(self) -> bytes:
        """The body of an answer that is not streamed."""
        ...

    def events(self) -> Events:
        """The answer as a stream."""
        ...


class Passage(msgspec.Struct, frozen=True):
    """A piece of one segment of the answer: of the reasoning, of the text, or of one tool call's arguments."""

    kind: Kind
    # Which tool call; 0 elsewhere.
    call: int
    # The segment's place among the answer's segments.
    segment: int
    text: str
    # Whether the segment begins and ends with it.
    first: bool
    last: bool
    # The tool that is called; "" elsewhere.
    tool: str = ""


class Segment(msgspec.Struct, frozen=True):
    """One stretch of the output."""

    kind: Kind
    call: int
    # As if no limit cut it.
    planned_tokens: int
    tokens: int


class Counts(msgspec.Struct, frozen=True):
    """The content of the answer to one call, in any dialect."""

    simulate: Simulate
    choices: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    output_tokens: int
    reasoning_tokens: int
    finish: Finish
    # The segments that are sent, in order.
    segments: tuple[Segment, ...]

    @property
    def silent_tokens(self) -> int:
        """The reasoning tokens of each choice that nobody sees."""
        return self.reasoning_tokens if self.simulate.reasoning == "hidden" else 0

    @property
    def visible_tokens(self) -> int:
        """The tokens of each choice that are sent."""
        return self.output_tokens - self.silent_tokens

    def passages(self, start: int, count: int) -> Iterator[Passage]:
        """The visible tokens from `start` on, `count` of them, each in its segment."""
        begin = 0
        for number, segment in enumerate(self.segments):
            end = begin + segment.tokens
            first, last = max(start, begin), min(start + count, end)
            if first < last:
                piece = self._text(segment, first - begin, last - first)
                tool = self.simulate.tools.name_of(segment.call) if segment.kind == "tool" else ""
                yield Passage(segment.kind, segment.call, number, piece, first == begin, last == end, tool)
            begin = end

    def _text(self, segment: Segment, start: int, count: int) -> str:
        script = self.simulate.text.script
        if segment.kind == "reasoning":
            return text(start, count).decode()
        if segment.kind == "tool" and (document := self.simulate.tools.document):
            return document[start * TOKEN_BYTES : (start + count) * TOKEN_BYTES]
        if segment.kind == "tool" or script == "json":
            return json_passage(segment.planned_tokens, start, count)
        return SCRIPTS[script].passage(self.simulate.text.bytes_per_token, start, count)


class CountedAnswer(msgspec.Struct, frozen=True):
    """The answer to one call: its counts, which each dialect puts into words of its own."""

    counts: Counts

    @property
    def stream_type(self) -> bytes:
        """The content type of its stream."""
        return EVENT_STREAM

    @property
    def choices(self) -> int:
        """How many answers side by side, each with the same tokens; messages have one."""
        return self.counts.choices

    @property
    def input_tokens(self) -> int:
        """All input, cached or not."""
        return self.counts.input_tokens

    @property
    def output_tokens(self) -> int:
        """The tokens of each choice, reasoning included."""
        return self.counts.output_tokens

    @property
    def silent_tokens(self) -> int:
        """The reasoning tokens of each choice that nobody sees."""
        return self.counts.silent_tokens

    @property
    def visible_tokens(self) -> int:
        """The tokens of each choice that are sent."""
        return self.counts.visible_tokens


def cut_output(simulate: Simulate, limit: int) -> tuple[int, int]:
    """The tokens of each choice that a limit of `limit` leaves, and how many of them are reasoning."""
    planned_reasoning = min(simulate.reasoning_tokens, simulate.output_tokens)
    if simulate.limit_excludes_reasoning:
        limit = min(limit + planned_reasoning, OUTPUT_TOKENS_MAX)
    output = min(simulate.output_tokens, limit)
    return output, min(planned_reasoning, output)


def count(simulate: Simulate, input_tokens: int, limit: int, choices: int = 1) -> Counts:
    """Counts of the answer to `input_tokens` of input, under an output limit of `limit` tokens a choice, as `simulate` says."""
    output, reasoning = cut_output(simulate, limit)
    cached = min(simulate.cached_input_tokens, input_tokens)
    write = min(simulate.cache_write_tokens, input_tokens - cached)
    write_1h = min(simulate.cache_write_1h_tokens, input_tokens - cached - write)

    said = simulate.output_tokens - min(simulate.reasoning_tokens, simulate.output_tokens)
    tokens_of_call = simulate.tools.tokens
    calls = min(simulate.tools.calls, said // tokens_of_call)
    arguments = calls * tokens_of_call
    planned: list[tuple[Kind, int, int]] = [("text", 0, said - arguments)]
    planned += [("tool", call, tokens_of_call) for call in range(calls)]
    if simulate.reasoning != "hidden":
        planned.insert(0, ("reasoning", 0, reasoning))
    left = output - (reasoning if simulate.reasoning == "hidden" else 0)
    segments = []
    for kind, call, tokens in planned:
        sent = min(tokens, left)
        left -= sent
        if sent:
            segments.append(Segment(kind, call, tokens, sent))
    finish: Finish = "tool_calls" if calls else "stop"
    return Counts(
        simulate=simulate,
        choices=choices,
        input_tokens=input_tokens,
        cached_input_tokens=cached,
        cache_write_tokens=write,
        cache_write_1h_tokens=write_1h,
        output_tokens=output,
        reasoning_tokens=reasoning,
        finish=finish if output == simulate.output_tokens else "length",
        segments=tuple(segments),
    )
