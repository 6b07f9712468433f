"""Disguised text: names of members, and numbers. Pure.

A client that reads an answer's JSON can read these as well as any string. A few are as every answer has them, and free. Names or
numbers in such mass count as said.
"""

from collections.abc import Collection
from typing import Any, Final

from services.edge.dialects.json_text import encode

# Longer names are texts; so are all names of an object that are longer together.
NAME_CHARACTERS_MAX: Final = 64
_NAMES_CHARACTERS_MAX: Final = 512
# At most this many numbers of a list are free.
_NUMBERS_MAX: Final = 64
# No measure or time needs more bits.
_NUMBER_BITS_MAX: Final = 64


def told_by_names(names: Collection[str]) -> list[str]:
    """The names of an object's members that count as output."""
    if sum(map(len, names)) > _NAMES_CHARACTERS_MAX:
        return list(names)
    return [name for name in names if len(name) > NAME_CHARACTERS_MAX]


def told_by_numbers(value: object) -> list[str]:
    """The numbers that count as output: all of a list that has many, or one that is too large for any use."""
    if isinstance(value, list):
        numbers: list[Any] = [each for each in value if type(each) in (int, float)]
        return [encode(numbers).decode()] if len(numbers) > _NUMBERS_MAX else []
    return [str(value)] if type(value) is int and value.bit_length() > _NUMBER_BITS_MAX else []
