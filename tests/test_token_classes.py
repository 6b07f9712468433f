"""The table of token classes: its order is the contract's, and nothing is lost where classes are folded."""

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from services.token_classes import (
    CLASSES,
    FIRST,
    INDEX,
    PARENTS,
    TOKEN_CLASSES,
    folded,
    rate_of,
    total_input,
    total_output,
    trimmed,
)
from tokenline.accounting.v1 import accounting_pb2
from tokenline.registry.v1 import registry_pb2

_COUNTS = st.lists(st.integers(0, 10**10), min_size=FIRST, max_size=len(CLASSES)).map(tuple)


@pytest.mark.parametrize("message", [accounting_pb2.TokenUsage, registry_pb2.TokenRates])
def test_the_order_is_that_of_the_contract(message: type[Message]) -> None:
    fields = {field.number: field.name for field in message.DESCRIPTOR.fields}
    assert tuple(fields[number] for number in sorted(fields)) == TOKEN_CLASSES
    assert sorted(fields) == list(range(1, len(TOKEN_CLASSES) + 1))


def test_parents_come_before_their_classes_and_are_of_the_same_side() -> None:
    for index, each in enumerate(CLASSES):
        assert PARENTS[index] <= index
        assert CLASSES[PARENTS[index]].is_input == each.is_input


@given(_COUNTS)
def test_folding_and_trimming_lose_nothing(counts: tuple[int, ...]) -> None:
    assert len(folded(counts)) == FIRST
    assert total_input(folded(counts)) == total_input(counts) == total_input(trimmed(counts))
    assert total_output(folded(counts)) == total_output(counts)
    assert sum(trimmed(counts)) == sum(counts) == total_input(counts) + total_output(counts)


def test_a_class_folds_into_its_nearest_parent_among_the_first() -> None:
    counts = [0] * len(CLASSES)
    counts[INDEX["cache_write_1h"]] = 7
    counts[INDEX["image_output"]] = 5
    assert folded(counts) == (0, 0, 7, 5, 0)


def test_a_class_without_a_rate_has_its_parents_and_never_none() -> None:
    rates = (10, 1, 12, 50, 60)
    assert rate_of(rates, INDEX["cache_write_1h"]) == 12
    assert rate_of(rates, INDEX["audio_output"]) == 50
    assert rate_of((*rates, -1, 33), INDEX["cache_write_1h"]) == 12
    assert rate_of((*rates, -1, 33), INDEX["audio_input"]) == 33
