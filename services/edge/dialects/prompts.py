"""Inputs without messages: a text, tokens as numbers, or a list of either, which a model reads side by side. Pure."""

import re
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from services.edge.dialects.conversation import mark_of
from services.edge.dialects.json_text import NOT_JSON, Raw, encode
from services.edge.http.problems import Problem, malformed
from services.edge.tokens.size import TextSize, size_of, size_of_tokens

# No vocabulary has more.
_TOKEN_MAX: Final = 2**31 - 1
_Token = Annotated[int, msgspec.Meta(ge=0, le=_TOKEN_MAX)]
_ONE_TEXT: Final = msgspec.json.Decoder(str)
_TEXTS: Final = msgspec.json.Decoder(list[str])
_TOKENS: Final = msgspec.json.Decoder(list[_Token])
_LISTS: Final = msgspec.json.Decoder(list[list[_Token]])
# The place of an element in a decoder's complaint, such as "$[3][0]".
_PLACE: Final = re.compile(r"`\$((?:\[\d+\])+)`")
# The first byte of a list's first element.
_FIRST: Final = re.compile(rb"\[\s*(.)", re.DOTALL)


class Prompts(NamedTuple):
    """The inputs of one request, in order; all are texts, or all are tokens."""

    # As the vendor gets them: written anew, so that every reader finds the same.
    raw: Raw
    texts: tuple[str, ...]
    # Tokens of all inputs that came as tokens.
    tokens: int
    # How many there are.
    inputs: int

    @property
    def size(self) -> TextSize:
        """The size of all together; only a sample of a long text is looked at, so they are sized as one."""
        return size_of("".join(self.texts)) + size_of_tokens(self.tokens)

    @property
    def conversation(self) -> bytes:
        """The mark of the first text: prompts have no conversation, and the same text may be asked again."""
        return mark_of(self.texts[:1])


def read_prompts(raw: Raw, param: str, count_max: int) -> Prompts:
    """The inputs of a field. Errors: `Problem` 400 that names the element, as for an empty one or more than `count_max`."""
    written = bytes(raw).strip()
    if written.startswith(b'"'):
        value: Any = _decoded(_ONE_TEXT, written, param)
        inputs: list[Any] = [value]
    elif not written.startswith(b"["):
        raise malformed(
            param, f"{param} must be a text, a list of texts, a list of tokens, or a list of such lists.", "invalid_type"
        )
    else:
        first = _FIRST.match(written)
        kind = first.group(1) if first is not None else b""
        decoder: Any = _TEXTS if kind == b'"' else _LISTS if kind == b"[" else _TOKENS
        value = _decoded(decoder, written, param)
        inputs = [value] if decoder is _TOKENS else value
    if not value:
        raise _empty(param)
    if len(inputs) > count_max:
        message = f"{param} has {len(inputs)} inputs; send at most {count_max} in one request."
        raise malformed(param, message, "invalid_value")
    for index, each in enumerate(inputs):
        if not each:
            raise _empty(f"{param}[{index}]")
    if isinstance(inputs[0], str):
        return Prompts(Raw(encode(value)), tuple(inputs), 0, len(inputs))
    return Prompts(Raw(encode(value)), (), sum(map(len, inputs)), len(inputs))


def _decoded(decoder: "msgspec.json.Decoder[Any]", written: bytes, param: str) -> Any:
    try:
        return decoder.decode(written)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        where = f"{param}{place.group(1)}" if place is not None else param
        wanted = "a text, as the first is" if decoder is _TEXTS else f"a token, a whole number from 0 to {_TOKEN_MAX}"
        if decoder is _LISTS and where.count("[") == 1:
            wanted = "a list of tokens, as the first is"
        raise malformed(where, f"{where} must be {wanted}.", "invalid_type") from None
    except NOT_JSON as error:
        raise malformed(param, f"{param} is not valid JSON in UTF-8: {error}.", "invalid_json") from None


def _empty(param: str) -> Problem:
    return malformed(param, f"{param} is empty: there is nothing to read. Send at least one character or token.", "invalid_value")
