"""Tokens of a text whose tokenizer is not carried: an estimate, and how far the truth may lie from it. Pure.

Each class of characters has three rates, in thousandths of a token a character: the fewest tokens that any carried tokenizer made
of such text, about how many they make, and the most. docs/tokens.md has their errors; `python -m tests.edge.tokens.calibrate`
measures them and proposes the rates.
"""

from operator import mul
from typing import Final

from services.edge.tokens.size import TextSize

_MILLI: Final = 1_000
# What a text's own beginning and end may add to the most.
_EDGE_TOKENS: Final = 2
LOW: Final = TextSize(0, 120, 120, 250, 0, 0, 0, 200, 200, 200, 200, 300, 100, 300, 300, 300, 500)
BEST: Final = TextSize(0, 220, 450, 700, 60, 600, 0, 500, 500, 600, 900, 2500, 900, 800, 900, 900, 2200)
HIGH: Final = TextSize(0, 500, 900, 1000, 500, 1000, 0, 1500, 1200, 1500, 2500, 3000, 3000, 2000, 2000, 2500, 4000)


def estimate(size: TextSize) -> int:
    """About how many tokens a text has; at most one a byte."""
    return min(_tokens(BEST, size), size.utf8_bytes)


def margin(size: TextSize) -> int:
    """Tokens to add to the estimate so that it is not below the truth, as far as docs/tokens.md says."""
    if not size.utf8_bytes:
        return 0
    return min(_tokens(HIGH, size) + _EDGE_TOKENS, size.utf8_bytes) - estimate(size)


def low(size: TextSize) -> int:
    """The fewest tokens that a text of this size has, as far as docs/tokens.md says."""
    tokens: int = sum(map(mul, LOW, size)) // _MILLI
    return tokens


def _tokens(rates: TextSize, size: TextSize) -> int:
    """Tokens at these rates, rounded up."""
    tokens: int = -(-sum(map(mul, rates, size)) // _MILLI)
    return tokens
