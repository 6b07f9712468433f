"""Text whose length in tokens is known: every token is four ASCII bytes that JSON need not escape."""

from typing import Final

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
