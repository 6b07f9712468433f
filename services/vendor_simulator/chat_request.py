"""A chat completion request: what of it matters here, and how it is refused when it is wrong."""

import re
from typing import Annotated, Final, Literal

import msgspec

from services.vendor_simulator.text import count_tokens

# Of one choice. An answer of this size is 8 MB of text.
_OUTPUT_TOKENS_MAX: Final = 2_000_000
_WAIT_MS_MAX: Final = 600_000

_Tokens = Annotated[int, msgspec.Meta(ge=0, le=_OUTPUT_TOKENS_MAX)]
_OutputLimit = Annotated[int, msgspec.Meta(ge=1)]

UsageMode = Literal["final", "none", "every_chunk", "last_chunk_with_choices", "negative", "absurd"]
Failure = Literal[
    "",
    "refuse_400",
    "unauthorized_401",
    "rate_limit_429",
    "error_500",
    "overloaded_503",
    "hang_before_first_byte",
    "disconnect_before_first_byte",
    "garbage",
    "break_mid_stream",
    "hang_mid_stream",
    "error_mid_stream",
]

_MISSING_FIELD: Final = re.compile(r"Object missing required field `([^`]+)`")


class Simulate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the call shall go; a request's top-level object "simulate"."""

    # What the model would say if no limit cut it, reasoning included, in tokens of each choice.
    output_tokens: _Tokens = 16
    # The part of the input that the cache served; never more than the input.
    cached_input_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    # The part of the output that is thought, not said; never more than the output.
    reasoning_tokens: _Tokens = 0
    # Nothing is sent before.
    first_token_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=_WAIT_MS_MAX)] = 0
    # How fast each choice is made; 0: as fast as it goes.
    tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0
    # Where usage stands, and whether it is true.
    usage: UsageMode = "final"
    # What goes wrong.
    failure: Failure = ""
    # The visible tokens of each choice that a stream sends before it fails.
    failure_after_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0


class ContentPart(msgspec.Struct, frozen=True):
    """One part of a message; only text counts."""

    type: str
    text: str = ""


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation."""

    role: str
    content: str | list[ContentPart] | None = None


class StreamOptions(msgspec.Struct, frozen=True):
    """What a stream shall contain."""

    include_usage: bool | None = None


class ChatRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _OutputLimit | None = None
    max_completion_tokens: _OutputLimit | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    user: str | None = None
    simulate: Simulate = Simulate()

    @property
    def input_tokens(self) -> int:
        """Of all strings and text parts together."""
        texts: list[str] = []
        for message in self.messages:
            if isinstance(message.content, str):
                texts.append(message.content)
            elif message.content is not None:
                texts.extend(part.text for part in message.content)
        return count_tokens(texts)

    @property
    def output_tokens_max(self) -> int:
        """The smaller of the output limits; the most that can be simulated where there is none."""
        return min(self.max_tokens or _OUTPUT_TOKENS_MAX, self.max_completion_tokens or _OUTPUT_TOKENS_MAX)

    @property
    def stream_usage(self) -> bool:
        """Whether a stream shall report usage."""
        return self.stream_options is not None and self.stream_options.include_usage is True


class RefusedError(Exception):
    """A request that gets an error instead of an answer: an HTTP status and OpenAI's error object."""

    def __init__(self, status: int, message: str, kind: str, code: str | None, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = error_body(message, kind, code, param)


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """OpenAI's error object as JSON; `kind` is its "type"."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


_decoder: Final = msgspec.json.Decoder(ChatRequest)


def parse_request(body: bytes) -> ChatRequest:
    """The request in `body`. Errors: `RefusedError` with status 400, which names the field at fault."""
    try:
        request = _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _refuse_field(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(
            400, f"the body is not JSON: {error}; send a JSON object as UTF-8", "invalid_request_error", "invalid_json"
        ) from None
    if not request.messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise RefusedError(400, message, "invalid_request_error", "empty_array", "messages")
    return request


def _refuse_field(message: str) -> RefusedError:
    what, _, where = message.partition(" - at `$")
    param = where.rstrip("`").lstrip(".")
    if missing := _MISSING_FIELD.match(what):
        param = f"{param}.{missing[1]}".lstrip(".")
        text = f"Missing required parameter: '{param}'."
        return RefusedError(400, text, "invalid_request_error", "missing_required_parameter", param)
    text = f"Invalid value for '{param}': {what}." if param else f"Invalid body: {what}."
    return RefusedError(400, text, "invalid_request_error", "invalid_value", param or None)
