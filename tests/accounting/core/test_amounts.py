"""Token counts, rates and amounts, by values and over all that can come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.accounting.core.amounts import (
    INT64_MAX,
    TOKENS_MAX,
    ContextTier,
    Estimate,
    PinnedTariff,
    amount_of,
    charges_of,
    cheapest,
    rates_for,
    worst_case,
    worst_case_in,
    worst_cases,
)
from tests.accounting.ledger import EACH, TARIFFS, UNIT, flat, tariff, usage

rates = st.one_of(st.integers(0, 3), st.integers(0, 5_000_000), st.integers(0, 5).map(lambda rate: rate * 1_000_000))
class_rates = st.tuples(rates, rates, rates, rates, rates)


@st.composite
def tariffs(draw: st.DrawFn) -> PinnedTariff:
    bounds = sorted(draw(st.sets(st.integers(0, 60), max_size=3)))
    return PinnedTariff("any", 1, "TOKEN", tuple(ContextTier(above, draw(class_rates)) for above in (-1, *bounds)))


def split(data: st.DataObject, total: int, classes: int) -> list[int]:
    """At most `total` tokens over so many classes."""
    parts = []
    for _ in range(classes):
        parts.append(data.draw(st.integers(0, total)))
        total -= parts[-1]
    return parts


@pytest.mark.parametrize(
    ("tokens", "rate", "amount"),
    [
        (0, 0, 0),
        (0, EACH, 0),
        (1, EACH, UNIT),
        (7, EACH, 7 * UNIT),
        # Below a micro-unit a token: rounded up once.
        (1, 1, 1),
        (1_000_000, 1, 1),
        (1_000_001, 1, 2),
        (3, 333_333, 1),
        (4, 333_333, 2),
        # 0.28 USD per 1,000,000 tokens.
        (1_000_000, 280_000, 280_000),
        (1, 280_000, 1),
        (TOKENS_MAX, INT64_MAX, -(-TOKENS_MAX * INT64_MAX // 1_000_000)),
    ],
)
def test_an_amount_is_rounded_up_to_the_next_micro_unit(tokens: int, rate: int, amount: int) -> None:
    assert amount_of(tokens, rate) == amount


def test_each_class_is_rounded_up_by_itself() -> None:
    assert charges_of(flat(333_333), (1, 1, 1, 1, 1)) == (1, 1, 1, 1, 1)
    assert charges_of(flat(333_333), usage(input=5)) == (2, 0, 0, 0, 0)


def test_a_class_costs_its_own_rate() -> None:
    different = tariff("TOKEN", (-1, 1 * EACH, 2 * EACH, 3 * EACH, 4 * EACH, 5 * EACH))
    assert charges_of(different, (10,) * 5) == tuple(rate * 10 * UNIT for rate in (1, 2, 3, 4, 5))


def test_the_tier_is_chosen_by_all_input_and_applies_to_every_token() -> None:
    tiered = TARIFFS["tiered"]
    assert charges_of(tiered, usage(input=10, output=1)) == (10 * UNIT, 0, 0, 2 * UNIT, 0)
    # 4 + 4 + 3 are above 10: the dearer tier is that of all tokens, output too.
    assert charges_of(tiered, (4, 4, 3, 1, 1)) == (12 * UNIT, 4 * UNIT, 12 * UNIT, 5 * UNIT, 7 * UNIT)
    # Output and reasoning do not choose the tier.
    assert charges_of(tiered, usage(input=10, output=90, reasoning=90))[0] == 10 * UNIT


def test_the_highest_tier_that_applies_counts() -> None:
    three = PinnedTariff("t", 1, "TOKEN", tuple(ContextTier(above, (number,) * 5) for number, above in enumerate((-1, 10, 20))))
    assert [rates_for(three, tokens)[0] for tokens in (0, 10, 11, 20, 21, TOKENS_MAX)] == [0, 0, 1, 1, 2, 2]


def test_amounts_of_the_largest_counts_are_exact() -> None:
    assert sum(charges_of(flat(EACH + 1), (TOKENS_MAX,) * 5)) == 5 * (TOKENS_MAX * UNIT + TOKENS_MAX // 1_000_000)


@pytest.mark.parametrize(
    ("model", "input_bound", "hold_of_0", "hold_of_10"),
    [
        ("flat", 7, 7 * UNIT, 17 * UNIT),
        ("flat", 0, 0, 10 * UNIT),
        ("free", 7, 0, 0),
        ("output-only", 7, 0, 10 * UNIT),
        # Up to the tier's bound the first tier's dearest classes, above it the second's.
        ("tiered", 10, 10 * UNIT, 30 * UNIT),
        ("tiered", 11, 44 * UNIT, 114 * UNIT),
        # ceil(3 x 0.333333) and a micro-unit for each of two further classes; then ceil(10 x 0.333333) and one.
        ("thirds", 3, 3, 8),
    ],
)
def test_the_worst_case_by_values(model: str, input_bound: int, hold_of_0: int, hold_of_10: int) -> None:
    worst = worst_case(TARIFFS[model], input_bound)
    assert (worst.amount(input_bound, 0), worst.amount(input_bound, 10)) == (hold_of_0, hold_of_10)


@given(tariffs(), st.integers(0, 70))
@settings(max_examples=300, deadline=None)
def test_the_worst_case_out_of_what_was_worked_out_before_is_the_same(pinned: PinnedTariff, input_bound: int) -> None:
    assert worst_case_in(worst_cases(pinned), input_bound) == worst_case(pinned, input_bound)


def test_a_dearer_tier_below_is_held_too() -> None:
    falling = PinnedTariff("any", 1, "TOKEN", (ContextTier(-1, (2 * EACH,) * 5), ContextTier(10, (EACH,) * 5)))
    assert worst_case_in(worst_cases(falling), 11).amount(11, 0) == 22 * UNIT
    # And the least that a call can come to is that of the cheaper tier.
    assert cheapest(falling).amount(11, 5) == 16 * UNIT


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_usage_within_the_bound_costs_more_than_its_hold(data: st.DataObject) -> None:
    pinned = data.draw(tariffs())
    input_bound, output_bound = data.draw(st.integers(0, 80)), data.draw(st.integers(0, 80))
    inputs = split(data, input_bound, 3)
    outputs = split(data, output_bound, 2)
    assert sum(charges_of(pinned, (*inputs, *outputs))) <= worst_case(pinned, input_bound).amount(input_bound, output_bound)


@given(tariffs(), st.integers(0, 80), st.integers(0, 40), st.integers(0, 500_000_000))
@settings(max_examples=300, deadline=None)
def test_what_an_amount_pays_for_is_the_exact_inverse_of_what_tokens_cost(
    pinned: PinnedTariff, input_bound: int, limit: int, amount: int
) -> None:
    worst = worst_case(pinned, input_bound)
    # Amounts about the size of the costs themselves are the ones that can go wrong by one.
    for each in (amount, *(worst.amount(0, tokens) + off for tokens in (0, 1, limit) for off in (0, 1))):
        assert worst.output_payable(each, limit) == max(tokens for tokens in range(limit + 1) if worst.amount(0, tokens) <= each)
    for each in (amount, *(worst.amount(tokens, 0) + off for tokens in (0, 1, limit) for off in (0, 1))):
        assert worst.input_payable(each, limit) == max(tokens for tokens in range(limit + 1) if worst.amount(tokens, 0) <= each)


@given(tariffs(), st.integers(0, 80))
@settings(max_examples=100, deadline=None)
def test_more_output_never_costs_less(pinned: PinnedTariff, input_bound: int) -> None:
    worst = worst_case(pinned, input_bound)
    costs = [worst.amount(input_bound, tokens) for tokens in range(50)]
    assert costs == sorted(costs)
    assert min(costs) >= 0


def test_what_is_payable_is_exact_at_the_largest_amounts() -> None:
    worst = Estimate(input_rate=3, output_rate=7, input_slack=2, output_slack=1)
    tokens = worst.output_payable(INT64_MAX, 2**100)
    assert worst.amount(0, tokens) <= INT64_MAX < worst.amount(0, tokens + 1)
