"""Measures a JSON text before anything reads it, because reading a value costs some 1.5 us and 80 bytes.

All work is done by the methods of `bytes`, as the text comes, so that 20 MB of prose take some 30 ms in all. A text that is no JSON
gets some number, and its reader refuses it.
"""

from array import array
from itertools import accumulate
from typing import Final, NamedTuple

# Lists and objects within one another. Clients reach some 30; a reader of small texts gives up at twice this.
DEPTH_MAX: Final = 500

# A slice of nothing but values takes some 1 ms.
_SLICE_BYTES: Final = 64 * 1024
# All bytes except those that stand before a value, or around a string.
_OTHERS: Final = bytes(set(range(256)) - set(b',{["'))
# Brackets as steps down and up, which are signed bytes.
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[{]}"))


class Held(NamedTuple):
    """The contents of a text."""

    # Values, including the names of members.
    values: int
    # Lists and objects within one another, if there are more than few and at most many values; else 0.
    depth: int


class Counting:
    """Counts the values of a text while it comes, as far as its reader needs to know.

    Up to `few` the number may be too high, but never too low. A value alone between brackets, and one that is no string after a
    colon, count with the byte before them. The reader itself bounds the depth of few values, at a thousandth of the cost.
    """

    def __init__(self, few: int, many: int) -> None:
        self._few = few
        self._many = many
        self._bytes = 0
        # All pieces, until a closer look is worth while, and the number of those whose signs were counted.
        self._pieces: list[bytes] = []
        self._looked_at = 0
        self._signs = 0
        self._quotes = 0
        self._exact: _Exact | None = None

    def add(self, piece: bytes) -> bool:
        """Counts the next piece; whether there are at most `many` values. Above that, no further piece needs a look."""
        self._bytes += len(piece)
        if self._exact is not None:
            return self._exact.add(piece, self._many)
        self._pieces.append(piece)
        if self._bytes <= self._few:
            return True
        for each in self._pieces[self._looked_at :]:
            told = each.translate(None, _OTHERS)
            self._signs += len(told)
            self._quotes += told.count(b'"')
        self._looked_at = len(self._pieces)
        if self._told <= self._few:
            return True
        self._exact = _Exact()
        pieces, self._pieces = self._pieces, []
        return all(self._exact.add(each, self._many) for each in pieces)

    @property
    def _told(self) -> int:
        return self._signs - self._quotes + self._quotes // 2

    @property
    def closely(self) -> bool:
        """Each value is looked at, as there may be more than few."""
        return self._exact is not None

    @property
    def held(self) -> Held:
        """The count; its depth is 0 where there are few values."""
        if self._exact is not None:
            return Held(self._exact.values, self._exact.deepest if self._exact.values > self._few else 0)
        return Held(self._told if self._looked_at else self._bytes, 0)


class _Exact:
    """The exact number of values of a text, and their depth."""

    def __init__(self) -> None:
        self._signs = 0
        self._quotes = 0
        # Set when the last byte was a backslash that follows no other one: it takes the next byte along.
        self._escapes = False
        self._level = 0
        self._brackets = 0
        self.deepest = 0

    @property
    def values(self) -> int:
        """Strings, commas and opening brackets."""
        return self._signs + self._quotes // 2

    def add(self, piece: bytes, many: int) -> bool:
        """Counts the next piece in slices; whether there are no more than `many` values."""
        return all(self._add_slice(piece[begin : begin + _SLICE_BYTES], many) for begin in range(0, len(piece), _SLICE_BYTES))

    def _add_slice(self, text: bytes, many: int) -> bool:
        if self._escapes:
            text = text[1:]
            self._escapes = False
        if b"\\" in text:
            self._escapes = (len(text) - len(text.rstrip(b"\\"))) % 2 == 1
            # A quote within a string follows a backslash that follows no other backslash.
            text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
        quotes = text.count(b'"')
        if (self._quotes + quotes) // 2 > many:
            return False
        # Within a string when there is one quote more than pairs of them.
        bare = b"".join(text.split(b'"')[self._quotes % 2 :: 2])
        self._quotes += quotes
        self._signs += bare.count(b",") + bare.count(b"{") + bare.count(b"[")
        if self.values > many:
            return False
        steps = array("b", bare.translate(_STEPS, _NO_BRACKETS))
        self._brackets += len(steps)
        # Each value has at most two brackets. More are no JSON, and taking each of millions as a step takes seconds.
        if self._brackets <= 2 * self.values:
            deepest = max(accumulate(steps, initial=self._level))
            self.deepest = max(self.deepest, deepest)
            self._level += sum(steps)
        return True
