"""OpenAI's completions: the request as it is read, and the answer whole and as a stream; texts in place of messages."""

from typing import Annotated, Any, Final, cast

import msgspec

from services.vendor_simulator.answer import CountedAnswer, Events, count
from services.vendor_simulator.chat_request import StreamOptions
from services.vendor_simulator.completion import DONE
from services.vendor_simulator.embeddings import Token
from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.quirks import ShapedEvents, shape_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, PLAIN, Simulate
from services.vendor_simulator.text import TOKEN_BYTES, count_tokens
from services.vendor_simulator.usage import chat_usage

OUTPUT_LIMIT: Final = 16
_LOGPROB: Final = -0.5
_IGNORED: Final = msgspec.Raw()


class CompletionsRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    prompt: str | list[str | Token | list[Token]]
    suffix: str | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    best_of: Annotated[int, msgspec.Meta(ge=1, le=20)] | None = None
    echo: bool | None = None
    logprobs: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def prompts(self) -> list[str | list[int]]:
        """The texts and lists of tokens, each of which is gone on with."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        tokens = [each for each in self.prompt if isinstance(each, int)]
        return [tokens] if tokens else [each for each in self.prompt if not isinstance(each, int)]

    @property
    def last_text(self) -> str:
        """The last text; "" where there are tokens."""
        last = self.prompts[-1]
        return last if isinstance(last, str) else ""

    @property
    def input_tokens(self) -> int:
        """The tokens of all prompts together, each with the suffix."""
        counted = sum(len(each) for each in self.prompts if not isinstance(each, str))
        texts = [each for each in self.prompts if isinstance(each, str)]
        return counted + count_tokens(texts + [self.suffix or ""] * len(self.prompts))

    @property
    def output_tokens_max(self) -> int:
        """The output limit where it is heeded; else the most that can be simulated."""
        if self.simulate.ignores_limit:
            return OUTPUT_TOKENS_MAX
        return OUTPUT_LIMIT if self.max_tokens is None else self.max_tokens

    @property
    def stream_usage(self) -> bool:
        """Whether a stream shall report usage."""
        return self.stream_options is not None and self.stream_options.include_usage is True

    def echoed(self, index: int) -> str:
        """The prompt that a choice begins with; "" where none is asked for."""
        prompt = self.prompts[index // (self.n or 1)]
        return prompt if self.echo and isinstance(prompt, str) else ""


# Harmless names that clients send; with them the strict reader takes nearly every body.
_IGNORED_NAMES: Final = ("frequency_penalty", "logit_bias", "presence_penalty", "seed", "stop", "temperature", "top_p")
_strict_type: Final = msgspec.defstruct(
    "StrictCompletionsRequest",
    [(name, msgspec.Raw, _IGNORED) for name in _IGNORED_NAMES],
    bases=(CompletionsRequest,),
    frozen=True,
    forbid_unknown_fields=True,
)
_strict: Final = msgspec.json.Decoder(cast(type[CompletionsRequest], _strict_type))
_NAMES: Final[Names] = {
    "model": None,
    "prompt": None,
    "suffix": None,
    "max_tokens": None,
    "n": None,
    "best_of": None,
    "echo": None,
    "logprobs": None,
    "stream": None,
    "stream_options": {"include_usage": None},
    "user": None,
    "simulate": None,
}


def parse_completions(body: bytes) -> CompletionsRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if isinstance(request.prompt, list) and not request.prompt:
        message = "Invalid 'prompt': empty array. Expected an array with minimum length 1."
        raise RefusedError(400, error_body(message, "invalid_request_error", "empty_array", "prompt"))
    return request


class CompletionsAnswer(CountedAnswer, frozen=True):
    """The answer to one call; each prompt has the same text after it."""

    request: CompletionsRequest
    completion_id: str
    # Unix time.
    created_s: int

    def body(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """The whole answer, or a chunk, which have one shape."""
        head = {"id": self.completion_id, "object": "text_completion", "created": self.created_s, "model": self.request.model}
        return {**head, "choices": choices}

    def text(self, start: int, count: int) -> str:
        """The tokens from `start` on, `count` of them, as text."""
        return "".join(passage.text for passage in self.counts.passages(start, count))

    def choice(self, index: int, text: str, offset: int, finish: str | None) -> dict[str, Any]:
        """A choice, or the piece of it that begins at a character of the whole."""
        logprobs = None if self.request.logprobs is None else _probabilities(text, offset, self.request.logprobs)
        return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": finish}

    def answer(self) -> bytes:
        """The body of an answer that is not streamed."""
        said = self.text(0, self.visible_tokens)
        finish = self.counts.finish
        choices = [self.choice(index, self.request.echoed(index) + said, 0, finish) for index in range(self.choices)]
        body = self.body(choices)
        if self.counts.simulate.usage_report.place != "none":
            body["usage"] = chat_usage(self.counts, self.output_tokens)
        return shape_body(msgspec.json.encode(body), self.counts.simulate.quirks)

    def events(self) -> Events:
        """The answer as a stream."""
        return ShapedEvents(CompletionsEvents(self), self.counts.simulate.quirks, DONE)


class CompletionsEvents:
    """The events of the stream, each as the bytes of one `data:` line with its blank line."""

    def __init__(self, answer: CompletionsAnswer) -> None:
        self._answer = answer
        self._request = answer.request
        place = answer.counts.simulate.usage_report.place
        self._reports = answer.request.stream_usage and place != "none"
        self._every_chunk = self._reports and place == "every_chunk"

    def head(self) -> bytes:
        """The echo of each prompt, where it was asked for."""
        echoed = {index: self._request.echoed(index) for index in range(self._answer.choices)}
        return b"".join(self._chunk([self._answer.choice(index, text, 0, None)], 0) for index, text in echoed.items() if text)

    def content(self, start: int, count: int) -> bytes:
        """The events with the visible tokens from `start` on, `count` of them, of each choice."""
        answer = self._answer
        text, offset = answer.text(start, count), len(answer.text(0, start)) if answer.request.logprobs is not None else 0
        made = answer.silent_tokens + start + count
        return b"".join(
            self._chunk([answer.choice(index, text, len(self._request.echoed(index)) + offset, None)], made)
            for index in range(answer.choices)
        )

    def end(self) -> bytes:
        """The events that close each choice, the usage where it is asked for, and the end mark."""
        answer = self._answer
        made = answer.output_tokens
        end = b"".join(self._chunk([self._ended(index)], made) for index in range(answer.choices))
        if self._reports and not self._every_chunk:
            end += _event({**answer.body([]), "usage": chat_usage(answer.counts, made)})
        return end + DONE

    def _ended(self, index: int) -> dict[str, Any]:
        return {"text": "", "index": index, "logprobs": None, "finish_reason": self._answer.counts.finish}

    def error(self, body: bytes) -> bytes:
        """The event that says that the stream failed."""
        return b"data: %b\n\n" % body

    def _chunk(self, choices: list[dict[str, Any]], made: int) -> bytes:
        chunk = self._answer.body(choices)
        if self._every_chunk:
            chunk["usage"] = chat_usage(self._answer.counts, made)
        elif self._request.stream_usage:
            chunk["usage"] = None
        return _event(chunk)


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(chunk)


def _probabilities(text: str, offset: int, alternatives: int) -> dict[str, Any]:
    """Probabilities of the tokens of a text: four characters each."""
    starts = range(0, len(text), TOKEN_BYTES)
    tokens = [text[start : start + TOKEN_BYTES] for start in starts]
    others = {f"alt{number}": _LOGPROB * (number + 2) for number in range(alternatives - 1)}
    return {
        "tokens": tokens,
        "token_logprobs": [_LOGPROB] * len(tokens),
        "top_logprobs": [{token: _LOGPROB, **others} for token in tokens] if alternatives else None,
        "text_offset": [offset + start for start in starts],
    }


def plan_completions(request: CompletionsRequest, completion_id: str, created_s: int) -> CompletionsAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    input_tokens = request.input_tokens + simulate.added_input_tokens
    choices = (request.n or 1) * len(request.prompts)
    return CompletionsAnswer(count(simulate, input_tokens, request.output_tokens_max, choices), request, completion_id, created_s)
