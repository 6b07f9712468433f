"""A chat completion of plain text: the bytes that say so, fast, for calls that ask for nothing else.

`rich_completion` says everything that this module cannot, in the same words.
"""

from typing import Final

import msgspec

from services.vendor_simulator.answer import EVENT_STREAM, cut_output
from services.vendor_simulator.chat_request import ChatRequest
from services.vendor_simulator.simulate import Simulate
from services.vendor_simulator.text import text

_NEGATIVE_TOKENS: Final = -5
_ABSURD_TOKENS: Final = 10**15

DONE: Final = b"data: [DONE]\n\n"


class Completion(msgspec.Struct, frozen=True, gc=False):
    """The answer to one call, in plain text."""

    completion_id: str
    # Unix time.
    created_s: int
    model: str
    # How many answers side by side, each with the same tokens.
    choices: int
    input_tokens: int
    # Within input_tokens.
    cached_input_tokens: int
    # Output of each choice.
    output_tokens: int
    # Within output_tokens, not visible.
    reasoning_tokens: int
    # "length" when a limit cut the output, else "stop".
    finish_reason: str
    usage_mode: str
    # Whether a stream carries usage at all.
    stream_usage: bool

    @property
    def stream_type(self) -> bytes:
        """The content type of its stream."""
        return EVENT_STREAM

    @property
    def silent_tokens(self) -> int:
        """The reasoning tokens of each choice, none of which is sent."""
        return self.reasoning_tokens

    @property
    def visible_tokens(self) -> int:
        """The tokens of each choice that are text."""
        return self.output_tokens - self.reasoning_tokens

    def usage(self, output_tokens: int) -> bytes:
        """The usage object after `output_tokens` tokens of each choice, or one that lies where the mode says so."""
        completion_tokens = output_tokens * self.choices
        if self.usage_mode == "negative":
            completion_tokens = _NEGATIVE_TOKENS
        elif self.usage_mode == "absurd":
            completion_tokens = _ABSURD_TOKENS
        return (
            b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},'
            b'"completion_tokens_details":{"reasoning_tokens":%d}}'
        ) % (
            self.input_tokens,
            completion_tokens,
            self.input_tokens + completion_tokens,
            self.cached_input_tokens,
            min(self.reasoning_tokens, output_tokens) * self.choices,
        )

    def answer(self) -> bytes:
        """The body of an answer that is not streamed."""
        choice = b'"message":{"role":"assistant","content":"%b","refusal":null},"logprobs":null,"finish_reason":"%b"}' % (
            text(0, self.visible_tokens),
            self.finish_reason.encode(),
        )
        choices = b",".join([b'{"index":%d,%b' % (index, choice) for index in range(self.choices)])
        usage = b"" if self.usage_mode == "none" else b',"usage":' + self.usage(self.output_tokens)
        return b'{%b,"choices":[%b]%b}' % (self._identity(b"chat.completion"), choices, usage)

    def events(self) -> "PlainEvents":
        """The answer as a stream."""
        return PlainEvents(self)

    def _identity(self, kind: bytes) -> bytes:
        return b'"id":"%b","object":"%b","created":%d,"model":%b' % (
            self.completion_id.encode(),
            kind,
            self.created_s,
            msgspec.json.encode(self.model),
        )


class PlainEvents:
    """The events of a completion's stream, each as the bytes of one `data:` line with its blank line."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion
        self._opening = b'data: {%b,"choices":[' % completion._identity(b"chat.completion.chunk")
        self._reports = completion.stream_usage and completion.usage_mode != "none"
        self._every_chunk = self._reports and completion.usage_mode == "every_chunk"
        # OpenAI sends a null where usage is asked for but not known yet.
        self._closing = b'],"usage":null}\n\n' if completion.stream_usage else b"]}\n\n"

    def head(self) -> bytes:
        """The events that open each choice."""
        return self._event(b'"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null', 0)

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them, of each choice."""
        choice = b'"delta":{"content":"%b"},"logprobs":null,"finish_reason":null' % text(start, count)
        return self._event(choice, self._completion.reasoning_tokens + start + count)

    def end(self) -> bytes:
        """The events that close each choice, the usage where it is asked for, and the end mark."""
        completion = self._completion
        choice = b'"delta":{},"logprobs":null,"finish_reason":"%b"' % completion.finish_reason.encode()
        if not self._reports:
            return self._event(choice, completion.output_tokens) + DONE
        usage = b'],"usage":%b}\n\n' % completion.usage(completion.output_tokens)
        if completion.usage_mode in ("every_chunk", "last_chunk_with_choices"):
            return self._event(choice, completion.output_tokens, usage) + DONE
        return self._event(choice, completion.output_tokens) + self._opening + usage + DONE

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed."""
        return b"data: %b\n\n" % body

    def _event(self, choice: bytes, output_tokens: int, closing: bytes = b"") -> bytes:
        if not closing:
            closing = b'],"usage":%b}\n\n' % self._completion.usage(output_tokens) if self._every_chunk else self._closing
        if self._completion.choices == 1:
            return b'%b{"index":0,%b}%b' % (self._opening, choice, closing)
        return b"".join(
            b'%b{"index":%d,%b}%b' % (self._opening, index, choice, closing) for index in range(self._completion.choices)
        )


def plan(request: ChatRequest, completion_id: str, created_s: int) -> Completion:
    """The answer to `request` if nothing fails and it asks for text alone."""
    simulate: Simulate = request.simulate
    input_tokens = request.input_tokens
    output_tokens, reasoning_tokens = cut_output(simulate, request.output_tokens_max)
    return Completion(
        completion_id=completion_id,
        created_s=created_s,
        model=request.model,
        choices=request.n or 1,
        input_tokens=input_tokens,
        cached_input_tokens=min(simulate.cached_input_tokens, input_tokens),
        output_tokens=output_tokens,
        reasoning_tokens=reasoning_tokens,
        finish_reason="stop" if output_tokens == simulate.output_tokens else "length",
        usage_mode=simulate.usage if isinstance(simulate.usage, str) else "final",
        stream_usage=request.stream_usage,
    )
