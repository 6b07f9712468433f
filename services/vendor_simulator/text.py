"""Text whose length in tokens is known: every token is four ASCII bytes that JSON need not escape, or a script's share.

Scripts look like what people read. Their tokens are the simulator's own count: token k ends at byte k times the
script's bytes a token, rounded to a whole character. So every split of a text into tokens joins to that text.
"""

import base64
import hashlib
from typing import Final

import msgspec

TOKEN_BYTES: Final = 4

# Three letters and a space a token, so that the text also looks like words to an estimator.
_CYCLE: Final = b"the net can now pay for any one new use and get out ask you all "
_CYCLE_TOKENS: Final = len(_CYCLE) // TOKEN_BYTES
_BLOCK: Final = _CYCLE * 256


def text(start: int, count: int) -> bytes:
    """The tokens from `start` on, `count` of them: 4 * count ASCII bytes, the same for the same arguments."""
    begin = start % _CYCLE_TOKENS * TOKEN_BYTES
    end = begin + count * TOKEN_BYTES
    source = _BLOCK if end <= len(_BLOCK) else _CYCLE * (end // len(_CYCLE) + 1)
    return source[begin:end]


def count_tokens(texts: list[str]) -> int:
    """The tokens of all `texts` together: their UTF-8 bytes divided by four, rounded up."""
    size = 0
    for part in texts:
        # A string of ASCII alone knows its size; encoding half a megabyte to count it would not be free.
        size += len(part) if part.isascii() else len(part.encode())
    return -(-size // TOKEN_BYTES)


class Script(msgspec.Struct, frozen=True):
    """A text without end: `cycle` again and again."""

    cycle: str
    # UTF-8 bytes of each of its characters.
    width: int
    bytes_per_token: float

    def passage(self, bytes_per_token: float, start: int, count: int) -> str:
        """The tokens from `start` on, `count` of them; `bytes_per_token` 0 is the script's own."""
        rate = bytes_per_token or self.bytes_per_token
        begin, end = self._border(start, rate), self._border(start + count, rate)
        offset = begin % len(self.cycle)
        length = end - begin
        return (self.cycle * ((offset + length) // len(self.cycle) + 1))[offset : offset + length]

    def _border(self, tokens: int, rate: float) -> int:
        """The first character that is not within the first `tokens` tokens."""
        return -(-round(tokens * rate) // self.width)


# Bytes a token are near what vendors' tokenizers make of such text.
SCRIPTS: Final[dict[str, Script]] = {
    "plain": Script(_CYCLE.decode(), 1, TOKEN_BYTES),
    "english": Script(
        "The morning train was late again, so the engineers met in the small cafe beside the station. They spoke about "
        "budgets, about a bridge that should have been finished in spring, and about who would pay for the delay. ",
        1,
        4.4,
    ),
    "chinese": Script("春天的早晨，工程师们在车站旁边的小店里见面，讨论预算、桥梁的进度，以及谁来承担延误的费用。", 3, 4.5),
    "emoji": Script("😀🎉🚀🍜🐼🌈🔥🎸👍🏽🥟🦊📈🧩🛰🪁🦉", 4, 1.5),
    "code": Script(
        "def total(items: list[int], rate: float) -> float:\n    if not items:\n        return 0.0\n    # Sum first.\n"
        '    amount = sum(x * rate for x in items if x > 0)\n    return round(amount, 2) or float("nan")\n\n\n',
        1,
        3.2,
    ),
    "tibetan": Script("བོད་ཡིག་ནི་སྐད་ཡིག་གལ་ཆེན་ཞིག་ཡིན།དེ་རིང་གནམ་གཤིས་ཡག་པོ་འདུག།", 3, 1.5),
    "base64": Script(base64.b64encode(hashlib.shake_128(b"base64").digest(768)).decode(), 1, 1.4),
}

_JSON_HEAD: Final = '{"texts":"'
_JSON_TAIL: Final = '"}'
_JSON_FRAME_TOKENS: Final = (len(_JSON_HEAD) + len(_JSON_TAIL)) // TOKEN_BYTES


def json_passage(tokens: int, start: int, count: int) -> str:
    """The tokens from `start` on, `count` of them, of a JSON object that is `tokens` tokens of four bytes long."""
    if tokens < _JSON_FRAME_TOKENS:
        document = "{" + " " * (tokens * TOKEN_BYTES - 2) + "}" if tokens else ""
    else:
        document = _JSON_HEAD + text(0, tokens - _JSON_FRAME_TOKENS).decode() + _JSON_TAIL
    return document[start * TOKEN_BYTES : (start + count) * TOKEN_BYTES]
