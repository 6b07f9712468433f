"""The `simulate` object of a request: how the call shall go. All dialects read the same object.

docs/vendor-simulator.md lists every field with examples.
"""

import json
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from services.vendor_simulator.text import TOKEN_BYTES

# The most output of one choice. An answer of this size is 8 MB of text.
OUTPUT_TOKENS_MAX: Final = 2_000_000
_WAIT_MS_MAX: Final = 600_000
_BODY_BYTES_MAX: Final = 4 * 1024 * 1024

Tokens = Annotated[int, msgspec.Meta(ge=0, le=OUTPUT_TOKENS_MAX)]
# Input may be as long as a body says; a count beyond any context is still a count.
InputTokens = Annotated[int, msgspec.Meta(ge=0)]

OddUsageShape = Literal[
    "without_details",
    "top_level_cached",
    "hit_and_miss",
    "reasoning_beside",
    "thoughts_in_total",
    "completion_zero",
    "prompt_zero",
    "negative",
    "absurd",
]
UsageShape = Literal["openai", OddUsageShape]
UsagePlace = Literal[
    "final",
    "none",
    "every_chunk",
    "last_chunk_with_choices",
    "before_last",
    "in_choice",
    "x_groq",
    "after_done",
    "twice",
    "preview_first",
    "zeros_until_end",
]
# Shape and place together, as a request may say them in one word.
UsageMode = Literal[UsagePlace, OddUsageShape]
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
    "error_first",
    "error_body",
    "cut_mid_event",
]
VendorErrorName = Literal[
    "arrearage_400",
    "insufficient_balance_402",
    "arrears_1113_429",
    "insufficient_balance_1008_200",
    "account_overdue_403",
    "insufficient_quota_429",
    "quota_exceeded_429",
    "retry_after_37_429",
    "bad_key_401",
    "bad_key_403",
    "billing_error_402",
    "credit_balance_400",
    "overloaded_529",
    "context_length_400",
    "html_502",
]
ScriptName = Literal["plain", "english", "chinese", "emoji", "code", "tibetan", "base64", "json"]
ReasoningDisplay = Literal["hidden", "reasoning_content", "reasoning", "both"]
Quirk = Literal[
    "choices_null",
    "content_list",
    "unknown_delta_field",
    "role_repeated",
    "tool_index_missing",
    "tool_index_zero",
    "tool_finish_stop",
    "obfuscation",
    "filter_first",
    "empty_data",
    "control_lines",
    "comment_inside",
    "comments",
    "no_space",
    "multi_line_data",
    "no_event_lines",
    "split_event_name",
    "unknown_event",
    "no_done",
    "extra_done",
    "no_blank_at_end",
    "crlf",
    "cr",
    "mixed_line_ends",
    "bom",
    "blank_lines_first",
    "gzip",
]


class Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How usage is reported: the form of the object and the place in the stream, independent of each other."""

    shape: UsageShape = "openai"
    place: UsagePlace = "final"


class Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of the visible text."""

    script: ScriptName = "plain"
    # UTF-8 bytes a token; 0: the script's own, which is near what real tokenizers make of it.
    bytes_per_token: Annotated[float, msgspec.Meta(ge=0, le=64)] = 0


class Tools(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Calls of tools at the end of the answer; their arguments are JSON."""

    calls: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    # Tokens of each call's arguments, within the output tokens.
    argument_tokens: Annotated[int, msgspec.Meta(ge=1, le=OUTPUT_TOKENS_MAX)] = 4
    # The tool that every call names; "": look_up_0, look_up_1 and so on.
    name: str = ""
    # Arguments of every call, in place of ones of `argument_tokens`.
    arguments: dict[str, Any] | None = None

    @property
    def document(self) -> str:
        """`arguments` as ASCII JSON, with blanks at the end up to a whole token; "" where none are given."""
        if self.arguments is None:
            return ""
        document = json.dumps(self.arguments)
        return document + " " * (-len(document) % TOKEN_BYTES)

    @property
    def tokens(self) -> int:
        """The argument tokens of each call."""
        return self.argument_tokens if self.arguments is None else len(self.document) // TOKEN_BYTES

    def name_of(self, call: int) -> str:
        """The tool that a call names."""
        return self.name or f"look_up_{call}"


class Modalities(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens that are not text, as usage names them."""

    # Added to the input that was counted.
    image_input_tokens: InputTokens = 0
    audio_input_tokens: InputTokens = 0
    # Parts of the output tokens.
    image_output_tokens: Tokens = 0
    audio_output_tokens: Tokens = 0


class VendorError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error of one's own making; "{secret}" in body and headers becomes the secret that the caller sent."""

    status: Annotated[int, msgspec.Meta(ge=200, le=599)]
    body: Annotated[str, msgspec.Meta(max_length=_BODY_BYTES_MAX)] = ""
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class Simulate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """How the call shall go; a request's top-level object "simulate"."""

    # Tokens of each choice if no limit cut it, reasoning and tool calls included.
    output_tokens: Tokens = 16
    # The part of the input that the cache served; never more than the input.
    cached_input_tokens: InputTokens = 0
    # The part of the output that is thought; never more than the output.
    reasoning_tokens: Tokens = 0
    # Nothing is sent before this time.
    first_token_delay_ms: Annotated[int, msgspec.Meta(ge=0, le=_WAIT_MS_MAX)] = 0
    # How fast each choice is made; 0: as fast as it goes.
    tokens_per_second: Annotated[float, msgspec.Meta(ge=0)] = 0
    # Where usage stands, what it looks like, and whether it is true: a name, or shape and place.
    usage: UsageMode | Usage = "final"
    # The failure that is simulated; "": none.
    failure: Failure = ""
    # The visible tokens of each choice that a stream sends before it fails.
    failure_after_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0

    # Where the reasoning can be read. Messages have one place for it: a thinking block, empty when hidden.
    reasoning: ReasoningDisplay = "hidden"
    text: Text = Text()
    tools: Tools = Tools()
    modalities: Modalities = Modalities()
    # Parts of the input that were written to the cache for 5 minutes and for 1 hour; with the cached part never more
    # than the input.
    cache_write_tokens: InputTokens = 0
    cache_write_1h_tokens: InputTokens = 0
    # Input that the vendor adds after the request has been read, as search does.
    added_input_tokens: InputTokens = 0
    # The only limit that is heeded; "": the smallest of all that are sent.
    heeds: Literal["", "max_tokens", "max_completion_tokens"] = ""
    ignores_limit: bool = False
    # The limit counts what is said and not what is thought.
    limit_excludes_reasoning: bool = False
    quirks: tuple[Quirk, ...] = ()
    # The answer is this error.
    vendor_error: VendorErrorName | VendorError | None = None

    # The answer is this text, or these bytes in base64, whatever the rest of the request says.
    body: Annotated[str, msgspec.Meta(max_length=_BODY_BYTES_MAX)] | None = None
    body_base64: Annotated[bytes, msgspec.Meta(max_length=_BODY_BYTES_MAX)] | None = None
    content_type: str = "text/event-stream"
    # As a header; the body is sent as it is.
    content_encoding: str = ""
    # The answer's body is sent in pieces of these sizes in bytes; the last one repeats.
    pieces: Annotated[tuple[Annotated[int, msgspec.Meta(ge=1)], ...], msgspec.Meta(max_length=1_000)] = ()

    @property
    def usage_report(self) -> Usage:
        """`usage` as shape and place."""
        return self.usage if isinstance(self.usage, Usage) else _USAGE[self.usage]

    @property
    def needs_more_than_plain(self) -> bool:
        """Whether the answer has anything that the fast chat completions cannot say."""
        # In most calls this object was not sent.
        return self is not PLAIN and (
            self.usage not in _PLAIN_USAGE
            or self.reasoning != "hidden"
            or self.text is not PLAIN.text
            or self.tools is not PLAIN.tools
            or self.modalities is not PLAIN.modalities
            or bool(self.cache_write_tokens or self.cache_write_1h_tokens or self.quirks)
        )


# Taken where a request asks for nothing.
PLAIN: Final = Simulate()
_PLAIN_USAGE: Final = frozenset({"final", "none", "every_chunk", "last_chunk_with_choices", "negative", "absurd"})
_USAGE: Final[dict[UsageMode, Usage]] = {shape: Usage(shape=shape) for shape in get_args(OddUsageShape)} | {
    place: Usage(place=place) for place in get_args(UsagePlace)
}
