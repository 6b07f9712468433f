"""Tokens of a text whose tokenizer is not carried: an estimate, and its distance from the truth. Pure.

Each class of characters has three rates, in thousandths of a token a character. They are the likely, the most and the fewest tokens
that the carried tokenizers make of it. They were found by linear programs over the corpus of `tests/edge/tokens` and over the
translations of a Linux distribution; docs/tokens.md has the errors, and `python -m tests.edge.tokens.calibrate` measures them.

A token hardly joins two classes, but mixtures are dearer than their parts. Such are capitals among small letters, as in base64,
digits among letters, as in hexadecimal numbers, and small letters that nothing separates. All terms depend on counts alone, so a
stream's estimate does not depend on where the stream was cut. The fewest tokens are set below those of any text of the corpus for
Chinese, kana, Hangul and emoji, and for letters that nothing separates. A repeated letter, common word or sign is one token for
several of them.
"""

from operator import mul
from typing import Final, NamedTuple

from services.edge.tokens.size import NO_TEXT, TextSize

_MILLI: Final = 1_000
# First field of the counts by script in a size, and of those of ASCII.
_SCRIPTS: Final = TextSize._fields.index("latin")
_NO_OTHERS: Final = NO_TEXT[_SCRIPTS:]
# Short texts stray farther from their rates, by about this many tokens.
_STRAY_TOKENS: Final = 2
# Words are seldom longer; further letters are no words.
_LETTERS_PER_WORD: Final = 12


class Rates(NamedTuple):
    """Thousandths of a token for a character of each class, and the surcharge for each one in a mixture."""

    lowers: int
    capitals: int
    digits: int
    spaces: int
    marks: int
    # From `latin` to `emoji`, as in `TextSize`.
    others: tuple[int, int, int, int, int, int, int, int, int, int, int, int, int, int]
    mixed_capitals: int
    mixed_digits: int
    unseparated_lowers: int
    unseparated_capitals: int


LOW: Final = Rates(180, 220, 310, 5, 5, (110, 400, 290, 270, 320, 345, 335, 335, 375, 55, 200, 250, 250, 900), 70, 280, -60, -205)
BEST: Final = Rates(
    190, 350, 515, 160, 550, (1_255, 545, 375, 515, 445, 695, 485, 1_485, 1_520, 1_005, 680, 795, 910, 2_025), 825, 505, 365, 0
)
HIGH: Final = Rates(
    445, 620, 1_205, 230, 735,
    (1_880, 1_170, 985, 2_210, 1_330, 1_685, 1_140, 3_060, 3_225, 1_130, 1_205, 1_835, 1_635, 4_000),
    825, 505, 365, 0,
)  # fmt: skip


def estimate(size: TextSize) -> int:
    """About the tokens of a text; at most one a byte."""
    return min(-(-_millitokens(BEST, size) // _MILLI), size.utf8_bytes)


def most(size: TextSize) -> int:
    """The estimate with a margin, so that it is not below the truth, within docs/tokens.md; at most one a byte."""
    return min(-(-_millitokens(HIGH, size) // _MILLI) + _STRAY_TOKENS, size.utf8_bytes)


def low(size: TextSize) -> int:
    """The fewest tokens of a text of this size, within docs/tokens.md."""
    return max(0, _millitokens(LOW, size) // _MILLI - _STRAY_TOKENS)


def _millitokens(rates: Rates, size: TextSize) -> int:
    _, lowers, capitals, digits, spaces, marks = size[:_SCRIPTS]
    others = size[_SCRIPTS:]
    total = lowers * rates[0] + capitals * rates[1] + digits * rates[2] + spaces * rates[3] + marks * rates[4]
    separators = capitals + digits + spaces + marks
    if others != _NO_OTHERS:
        separators += sum(others)
        total += sum(map(mul, others, rates[5]))
    if capitals:
        total += min(capitals, lowers) * rates[6]
    if digits:
        total += min(digits, lowers + capitals) * rates[7]
    if lowers > _LETTERS_PER_WORD * separators:
        total += (lowers - _LETTERS_PER_WORD * separators) * rates[8]
    if capitals > (separated := _LETTERS_PER_WORD * (separators - capitals + lowers)):
        total += (capitals - separated) * rates[9]
    return total
