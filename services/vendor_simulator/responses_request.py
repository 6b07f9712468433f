"""A request for a response: the fields that matter here, and its refusal when one is wrong."""

from typing import Annotated, Any, Final, cast

import msgspec

from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import OUTPUT_TOKENS_MAX, PLAIN, Simulate
from services.vendor_simulator.text import count_tokens

_IGNORED: Final = msgspec.Raw()
_OUTPUT_TOKENS_MIN: Final = 16
_ENCRYPTED: Final = "reasoning.encrypted_content"


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One part of an item; its text and its refusal count."""

    type: str
    text: str = ""
    refusal: str = ""
    # Known, so that names which Go would fold to those above are told from them; not read.
    image_url: msgspec.Raw = _IGNORED
    file_id: msgspec.Raw = _IGNORED
    detail: msgspec.Raw = _IGNORED
    annotations: msgspec.Raw = _IGNORED
    logprobs: msgspec.Raw = _IGNORED
    prompt_cache_breakpoint: msgspec.Raw = _IGNORED


Content = str | list[Part] | None


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item of the input; its texts count, and what its tool was told and said."""

    type: str = "message"
    role: str = ""
    content: Content = None
    summary: list[Part] = []
    arguments: str = ""
    input: str = ""
    output: Content = None
    # Known, not read.
    id: msgspec.Raw = _IGNORED
    call_id: msgspec.Raw = _IGNORED
    name: msgspec.Raw = _IGNORED
    namespace: msgspec.Raw = _IGNORED
    status: msgspec.Raw = _IGNORED
    phase: msgspec.Raw = _IGNORED
    encrypted_content: msgspec.Raw = _IGNORED


class ResponsesRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    input: str | list[Item]
    instructions: str | None = None
    max_output_tokens: Annotated[int, msgspec.Meta(ge=_OUTPUT_TOKENS_MIN)] | None = None
    stream: bool | None = None
    store: bool | None = None
    tools: list[Any] | None = None
    include: list[str] | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def last_text(self) -> str:
        """The text of the last item that is no system prompt; "" where it brings the result of a tool."""
        if isinstance(self.input, str):
            return self.input
        last = next((item for item in reversed(self.input) if item.role not in ("system", "developer")), None)
        return "" if last is None else "\n".join(_texts(last.content))

    @property
    def texts(self) -> list[str]:
        """All texts, tools as JSON, their arguments and results."""
        texts = [self.instructions or ""]
        for item in [Item(content=self.input)] if isinstance(self.input, str) else self.input:
            texts += (*_texts(item.content), *_texts(item.summary), *_texts(item.output), item.arguments, item.input)
        if self.tools:
            texts.append(msgspec.json.encode(self.tools).decode())
        return texts

    @property
    def counted_tokens(self) -> int:
        """The tokens of all texts together."""
        return count_tokens(self.texts)

    @property
    def output_tokens_max(self) -> int:
        """The output limit where it is heeded; else the most that can be simulated."""
        return OUTPUT_TOKENS_MAX if self.simulate.ignores_limit else self.max_output_tokens or OUTPUT_TOKENS_MAX

    @property
    def wants_encrypted(self) -> bool:
        """Whether thought shall be told in encrypted form."""
        return _ENCRYPTED in (self.include or ())


def _texts(content: Content) -> list[str]:
    if isinstance(content, str):
        return [content]
    return [part.text + part.refusal for part in content or ()]


# Harmless names that clients send; with them the strict reader takes nearly every body.
_IGNORED_NAMES: Final = (
    "background", "context_management", "conversation", "max_tool_calls", "metadata", "moderation", "parallel_tool_calls",
    "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning",
    "safety_identifier", "service_tier", "stream_options", "temperature", "text", "tool_choice", "top_logprobs", "top_p",
    "truncation",
)  # fmt: skip
_strict_type: Final = msgspec.defstruct(
    "StrictResponsesRequest",
    [(name, msgspec.Raw, _IGNORED) for name in _IGNORED_NAMES],
    bases=(ResponsesRequest,),
    frozen=True,
    forbid_unknown_fields=True,
)
_strict: Final = msgspec.json.Decoder(cast(type[ResponsesRequest], _strict_type))
_PART_NAMES: Final[Names] = {"type": None, "text": None, "refusal": None}
_NAMES: Final[Names] = {
    "model": None,
    "input": {
        "type": None,
        "role": None,
        "content": _PART_NAMES,
        "summary": _PART_NAMES,
        "arguments": None,
        "input": None,
        "output": _PART_NAMES,
    },
    "instructions": None,
    "max_output_tokens": None,
    "stream": None,
    "store": None,
    "tools": None,
    "include": None,
    "user": None,
    "simulate": None,
}


def parse_responses(body: bytes) -> ResponsesRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if not request.input:
        message = "Invalid 'input': empty. Expected a text, or an array with minimum length 1."
        raise RefusedError(400, error_body(message, "invalid_request_error", "empty_array", "input"))
    return request
