"""The classes of usage that are counted, rated and recorded, named once for every service.

A usage, a row of rates and a row of amounts are vectors: tuples of integers in the order of `TOKEN_CLASSES`, which is the order of
charging and the order of the fields of `tokenline.accounting.v1.TokenUsage` (field number = index + 1). A vector has at least
`FIRST` elements; elements missing at its end mean 0 in a usage, and the parent's rate in rates. Classes are only added at the end.
Pure.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

Vector = tuple[int, ...]


class Measure(Enum):
    """The unit in which a class is measured."""

    TOKEN = "token"  # noqa: S105  # a measure, no secret
    IMAGE = "image"
    MILLISECOND = "millisecond"
    CHARACTER = "character"


class Measures(NamedTuple):
    """The measures of a call's two sides, in which quota is reserved and usage is charged."""

    input: Measure = Measure.TOKEN
    output: Measure = Measure.TOKEN


IN_TOKENS: Final = Measures()


class TokenClass(NamedTuple):
    """A class. `parent` is the class whose rate it has if it has none of its own, and into which it is folded for old readers."""

    name: str
    measure: Measure
    # Input and output are their own parents.
    parent: str
    is_input: bool


CLASSES: Final = (
    TokenClass("input", Measure.TOKEN, "input", is_input=True),
    TokenClass("cached_input", Measure.TOKEN, "input", is_input=True),
    TokenClass("cache_write", Measure.TOKEN, "input", is_input=True),
    TokenClass("output", Measure.TOKEN, "output", is_input=False),
    TokenClass("reasoning", Measure.TOKEN, "output", is_input=False),
    TokenClass("cache_write_1h", Measure.TOKEN, "cache_write", is_input=True),
    TokenClass("audio_input", Measure.TOKEN, "input", is_input=True),
    TokenClass("image_input", Measure.TOKEN, "input", is_input=True),
    TokenClass("audio_output", Measure.TOKEN, "output", is_input=False),
    TokenClass("image_output", Measure.TOKEN, "output", is_input=False),
    TokenClass("generated_images", Measure.IMAGE, "output", is_input=False),
    TokenClass("audio_milliseconds", Measure.MILLISECOND, "input", is_input=True),
    TokenClass("spoken_characters", Measure.CHARACTER, "input", is_input=True),
)
TOKEN_CLASSES: Final = tuple(each.name for each in CLASSES)
# The classes of the first release, which every reader of a journal or a request knows.
FIRST: Final = 5

INDEX: Final = {name: index for index, name in enumerate(TOKEN_CLASSES)}
PARENTS: Final = tuple(INDEX[each.parent] for each in CLASSES)
INPUT_INDEXES: Final = tuple(index for index, each in enumerate(CLASSES) if each.is_input)
OUTPUT_INDEXES: Final = tuple(index for index, each in enumerate(CLASSES) if not each.is_input)
NOTHING: Final[Vector] = (0,) * FIRST


def indexes_of(measure: Measure, *, is_input: bool) -> tuple[int, ...]:
    """The classes of one side that are counted in a measure."""
    return tuple(index for index, each in enumerate(CLASSES) if each.measure is measure and each.is_input is is_input)


def in_measures(counts: Vector, measures: Measures) -> Vector:
    """The counts of the classes that are counted in the measure of their side; the others are 0."""
    return trimmed(
        [
            count if CLASSES[index].measure is (measures.input if CLASSES[index].is_input else measures.output) else 0
            for index, count in enumerate(counts)
        ]
    )


def trimmed(counts: Sequence[int]) -> Vector:
    """The vector without the zeros at its end, at least `FIRST` long."""
    length = len(counts)
    while length > FIRST and not counts[length - 1]:
        length -= 1
    return tuple(counts[:length]) if length >= FIRST else (*counts, *(0,) * (FIRST - length))


def folded(counts: Sequence[int]) -> Vector:
    """The vector in the first classes alone: each later one is added to its parent. For readers that know no others."""
    first = list(counts)
    for index in range(len(counts) - 1, FIRST - 1, -1):
        first[PARENTS[index]] += first[index]
    return tuple(first[:FIRST])


def total_input(counts: Sequence[int]) -> int:
    """All input, of every class; it chooses the context tier."""
    total = counts[0] + counts[1] + counts[2]
    if len(counts) > FIRST:
        total += sum(counts[index] for index in INPUT_INDEXES[3:] if index < len(counts))
    return total


def total_output(counts: Sequence[int]) -> int:
    """All output, of every class."""
    total = counts[3] + counts[4]
    if len(counts) > FIRST:
        total += sum(counts[index] for index in OUTPUT_INDEXES[2:] if index < len(counts))
    return total


def rate_of(rates: Sequence[int], index: int) -> int:
    """The rate of the class at `index`, or its parent's if it has none."""
    while index >= len(rates) or rates[index] < 0:
        index = PARENTS[index]
    return rates[index]
