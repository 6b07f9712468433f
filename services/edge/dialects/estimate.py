"""Token counts before a vendor has counted: a proven upper bound of the input, and calibrated estimates. Pure.

The bound holds for byte-level BPE: a token stands for at least one byte of the rendered text, and what the chat template adds is
known per message and per request. JSON escapes never shorten a text, so raw JSON is a bound of what it stands for.
"""

from typing import Final, NamedTuple

import msgspec

from services.edge.catalog import TokenizerFamily
from services.edge.http.problems import malformed

Raw = msgspec.Raw
# What is raised for bytes that are no JSON: msgspec lets a string that is not UTF-8 pass as `UnicodeDecodeError`.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MILLI: Final = 1_000
# Fields that are no part of the prompt. Whatever is not named here may be, and counts with its JSON.
_NOT_PROMPT: Final = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "seed",
        "stop",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "logprobs",
        "top_logprobs",
        "logit_bias",
        "metadata",
        "service_tier",
        "store",
        "parallel_tool_calls",
        "reasoning_effort",
        "verbosity",
        # Instructions to the vendor simulator.
        "simulate",
    }
)
# Roles that the template's own tokens cover.
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# In UTF-8 the first bytes 0xE3 to 0xED and 0xEF begin U+3000 to U+DFFF and U+F000 to U+FFFF: Chinese, Japanese, Korean and their
# full-width marks. What is left of a text without all other bytes is one byte for each such character.
_CJK_FIRST_BYTES: Final = frozenset([*range(0xE3, 0xEE), 0xEF])
_ALL_OTHER_BYTES: Final = bytes(byte for byte in range(256) if byte not in _CJK_FIRST_BYTES)


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True):
    role: str
    content: str


class _Part(msgspec.Struct):
    type: str
    text: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: Raw = Raw(b"")


_plain_decoder: Final = msgspec.json.Decoder(list[_PlainMessage])
_decoder: Final = msgspec.json.Decoder(list[_Message])


class TextSize(NamedTuple):
    """How long a text is: in UTF-8 bytes, and in characters, those of Chinese, Japanese and Korean apart."""

    utf8_bytes: int
    letters: int
    cjk: int

    def __add__(self, other: "TextSize") -> "TextSize":  # type: ignore[override]  # sizes add up, tuples would be joined
        return TextSize(self.utf8_bytes + other.utf8_bytes, self.letters + other.letters, self.cjk + other.cjk)


NO_TEXT: Final = TextSize(0, 0, 0)


def size_of(text: str) -> TextSize:
    """The size of a text."""
    if text.isascii():
        return TextSize(len(text), len(text), 0)
    utf8 = text.encode()
    cjk = len(utf8.translate(None, _ALL_OTHER_BYTES))
    return TextSize(len(utf8), len(text) - cjk, cjk)


class InputTokens(msgspec.Struct, frozen=True):
    """An input's size in tokens: never more than `bound`, about `estimate`."""

    bound: int
    estimate: int

    @property
    def estimate_within(self) -> int:
        """The estimate where it is charged: never above what was reserved."""
        return min(self.estimate, self.bound)


def measure_input(fields: dict[str, Raw], family: TokenizerFamily, context_window_tokens: int) -> InputTokens:
    """The input of a chat completion. Errors: `Problem` 400 for messages that are none, or that have no bound (images, audio)."""
    raw = fields["messages"]
    other_bytes = 0
    for field, value in fields.items():
        if field not in _NOT_PROMPT:
            other_bytes += len(_utf8(field, value)) + len(field.encode())
    try:
        plain = _plain_decoder.decode(raw)
    except NOT_JSON:
        plain = []
    if not plain or not _keys_are_single(bytes(raw), len(plain)):
        bound_bytes, size, count = _measure_rich(raw)
    else:
        size = sum((size_of(message.content) for message in plain), NO_TEXT)
        count = len(plain)
        bound_bytes = size.utf8_bytes
        for each in plain:
            bound_bytes += 0 if each.role in _ROLES else len(each.role.encode())
    if not count:
        raise malformed("messages", "messages must have at least one message.")
    template = count * family.template_tokens_per_message + family.template_tokens_per_request
    bound = min(bound_bytes + other_bytes + template, context_window_tokens)
    return InputTokens(bound, estimate_tokens(size, family) + other_bytes * _MILLI // family.letters_per_token_milli)


def _measure_rich(raw: Raw) -> tuple[int, TextSize, int]:
    """Bytes as JSON, size of the texts and number of messages that have more than a role and a text."""
    try:
        messages = _decoder.decode(_utf8("messages", raw))
    except NOT_JSON as error:
        message = f"messages must be a list of objects, each with a role and a content: {error}."
        raise malformed("messages", message, "invalid_type") from None
    size = NO_TEXT
    for index, each in enumerate(messages):
        if isinstance(each.content, str):
            size += size_of(each.content)
        for part in each.content if isinstance(each.content, list) else ():
            if part.type not in ("text", "refusal"):
                raise malformed(
                    f"messages[{index}].content",
                    f"Content of type {part.type!r} has no known bound in tokens, and this plan reserves the worst case before "
                    "each call; send text.",
                )
            size += size_of(part.text)
        calls = len(bytes(each.tool_calls))
        size += TextSize(calls, calls, 0)
    return len(bytes(raw)), size, len(messages)


def _keys_are_single(messages: bytes, count: int) -> bool:
    """Whether no message has a key twice: a vendor may take the one that was not counted here.

    Within a string a quote is escaped, so that only keys, and few odd values, look like a key; but a key can hide behind
    escapes of its letters.
    """
    return messages.count(b'"content"') == messages.count(b'"role"') == count and b"\\u00" not in messages


def _utf8(field: str, raw: Raw) -> bytes:
    """The JSON itself. Errors: `Problem` 400 where it is not UTF-8: a vendor may read each such byte as a character of three."""
    value = bytes(raw)
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as error:
            raise malformed(field, f"{field} is not valid UTF-8: {error.reason} at byte {error.start} of it.") from None
    return value


def estimate_tokens(size: TextSize, family: TokenizerFamily) -> int:
    """About how many tokens a text has; exactly a quarter of the letters, rounded up, at four letters a token."""
    letters = -(-size.letters * _MILLI // family.letters_per_token_milli)
    return letters + -(-size.cjk * family.tokens_per_cjk_character_milli // _MILLI)
