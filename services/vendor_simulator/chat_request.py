"""A chat completion request: the fields that matter here, and its refusal when one is wrong."""

from typing import Annotated, Final, cast

import msgspec

from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, PLAIN, Simulate
from services.vendor_simulator.text import count_tokens

_OutputLimit = Annotated[int, msgspec.Meta(ge=1)]
_IGNORED: Final = msgspec.Raw()


class ContentPart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One part of a message; only text counts."""

    type: str
    text: str = ""
    # Known, so that names which Go would fold to the two above are told from them; not read.
    image_url: msgspec.Raw = _IGNORED
    input_audio: msgspec.Raw = _IGNORED
    file: msgspec.Raw = _IGNORED
    refusal: msgspec.Raw = _IGNORED
    cache_control: msgspec.Raw = _IGNORED


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One message of the conversation."""

    role: str
    content: str | list[ContentPart] | None = None
    # Known, not read.
    name: msgspec.Raw = _IGNORED
    tool_calls: msgspec.Raw = _IGNORED
    tool_call_id: msgspec.Raw = _IGNORED
    refusal: msgspec.Raw = _IGNORED
    audio: msgspec.Raw = _IGNORED
    function_call: msgspec.Raw = _IGNORED
    reasoning_content: msgspec.Raw = _IGNORED


class StreamOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Options of a stream."""

    include_usage: bool | None = None
    # Known, not read.
    include_obfuscation: msgspec.Raw = _IGNORED
    continuous_usage_stats: msgspec.Raw = _IGNORED


class ChatRequest(msgspec.Struct, frozen=True, gc=False):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: _OutputLimit | None = None
    max_completion_tokens: _OutputLimit | None = None
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def last_text(self) -> str:
        """The text of the last message that is no system prompt; "" where it is the result of a tool."""
        last = next((message for message in reversed(self.messages) if message.role != "system"), None)
        if last is None or last.content is None or last.role == "tool":
            return ""
        return last.content if isinstance(last.content, str) else "\n".join(part.text for part in last.content)

    @property
    def texts(self) -> list[str]:
        """All strings and text parts, in order."""
        texts: list[str] = []
        for message in self.messages:
            if isinstance(message.content, str):
                texts.append(message.content)
            elif message.content is not None:
                texts.extend(part.text for part in message.content)
        return texts

    @property
    def counted_tokens(self) -> int:
        """The tokens of all strings and text parts together."""
        return count_tokens(self.texts)

    @property
    def input_tokens(self) -> int:
        """The tokens of the text, of images and audio, and of what the vendor adds."""
        simulate = self.simulate
        modalities = simulate.modalities
        added = simulate.added_input_tokens + modalities.image_input_tokens + modalities.audio_input_tokens
        return self.counted_tokens + added

    @property
    def output_tokens_max(self) -> int:
        """The smallest output limit that is heeded; the most that can be simulated where there is none."""
        simulate = self.simulate
        if simulate.ignores_limit:
            return OUTPUT_TOKENS_MAX
        if simulate.heeds == "max_tokens":
            return self.max_tokens or OUTPUT_TOKENS_MAX
        if simulate.heeds == "max_completion_tokens":
            return self.max_completion_tokens or OUTPUT_TOKENS_MAX
        return min(self.max_tokens or OUTPUT_TOKENS_MAX, self.max_completion_tokens or OUTPUT_TOKENS_MAX)

    @property
    def stream_usage(self) -> bool:
        """Whether a stream shall report usage."""
        return self.stream_options is not None and self.stream_options.include_usage is True


# Harmless names that clients send. With them the strict reader takes nearly every body, at no cost of its own.
_IGNORED_NAMES: Final = (
    "audio", "enable_thinking", "extra_body", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "metadata", "modalities", "moderation", "parallel_tool_calls", "prediction", "presence_penalty", "prompt_cache_key",
    "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed",
    "service_tier", "stop", "store", "temperature", "thinking", "tool_choice", "tools", "top_k", "top_logprobs", "top_p",
    "verbosity", "web_search_options",
)  # fmt: skip
_strict_type: Final = msgspec.defstruct(
    "StrictChatRequest",
    [(name, msgspec.Raw, _IGNORED) for name in _IGNORED_NAMES],
    bases=(ChatRequest,),
    frozen=True,
    gc=False,
    forbid_unknown_fields=True,
)
_strict: Final = msgspec.json.Decoder(cast(type[ChatRequest], _strict_type))
_NAMES: Final[Names] = {
    "model": None,
    "messages": {"role": None, "content": {"type": None, "text": None}},
    "stream": None,
    "stream_options": {"include_usage": None},
    "max_tokens": None,
    "max_completion_tokens": None,
    "n": None,
    "user": None,
    "simulate": None,
}


def parse_request(body: bytes) -> ChatRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if not request.messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise RefusedError(400, error_body(message, "invalid_request_error", "empty_array", "messages"))
    return request
