"""Usage, rates and the amounts they make: all integers, rounded once a class of a whole session.

An amount is an int64 of micro-units. A rate is micro-units per 1,000,000 of the class's measure.
amount = ceil(cumulative count x rate / 1,000,000).

A usage, a row of rates and a row of amounts are vectors in the order of `services.token_classes`. In rates -1 stands for a class
without a rate of its own. Elements missing at the end mean 0 in a usage and the parent's rate in rates.
"""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Final

import msgspec

from services.token_classes import (
    CLASSES,
    FIRST,
    IN_TOKENS,
    INDEX,
    Measure,
    Measures,
    Vector,
    indexes_of,
    rate_of,
    total_input,
)

INT64_MAX: Final = 2**63 - 1
# All buckets of a unit together are granted at most this, so that sums stay int64.
GRANTED_MAX: Final = INT64_MAX // 2
# No call has this many tokens; higher counts are refused as absurd.
TOKENS_MAX: Final = 10_000_000_000
RATE_BASE: Final = 1_000_000
# Micro-units of one unit.
_WHOLE: Final = 1_000_000
# In a row of rates: no rate of its own.
NO_RATE: Final = -1
_TOKENS: Final = tuple(index for index, each in enumerate(CLASSES) if each.measure is Measure.TOKEN)
# Classes of input and of output by their measure: quota of a side is reserved in one alone.
_INPUTS: Final = {measure: indexes_of(measure, is_input=True) for measure in Measure}
_OUTPUTS: Final = {measure: indexes_of(measure, is_input=False) for measure in Measure}
_INPUT_TOKENS: Final = _INPUTS[Measure.TOKEN]
_OUTPUT_TOKENS: Final = _OUTPUTS[Measure.TOKEN]
_INPUT: Final = INDEX["input"]
_CACHED: Final = INDEX["cached_input"]


class ContextTier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rates that apply when the total input is greater than `above_input_tokens` (-1: always)."""

    above_input_tokens: int
    rates: Vector


class PinnedTariff(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A model's rates as a session pinned them at Create; settling needs no catalog.

    `unit` is "TOKEN", "POINT" or "CURRENCY:" and an ISO 4217 code. `tiers` rise by `above_input_tokens`.
    """

    tariff_id: str
    version: int
    unit: str
    tiers: tuple[ContextTier, ...]
    # The exchange rate that turned the tariff's own currency into `unit`, for example "USD/CNY@3"; empty: none was needed.
    exchange: str = ""
    # The dearest of all rates, which shows an absurd charge without computing it; 0 in what older code wrote.
    dearest_rate: int = 0

    @property
    def rate_max(self) -> int:
        """The dearest of all rates."""
        return self.dearest_rate or dearest_rate(self.tiers)


def dearest_rate(tiers: tuple[ContextTier, ...]) -> int:
    """The dearest rate of any class and tier."""
    return max((max(tier.rates) for tier in tiers), default=0)


def amount_of(tokens: int, rate: int) -> int:
    """ceil(tokens x rate / 1,000,000)."""
    return -(-tokens * rate // RATE_BASE)


def tokens_of(usage: Vector) -> int:
    """All tokens of a usage, without classes that are measured otherwise."""
    if len(usage) == FIRST:
        return sum(usage)
    return sum(usage[index] for index in _TOKENS if index < len(usage))


def added_up(one: Vector, other: Vector) -> Vector:
    """The sum of two usages."""
    return tuple(a + b for a, b in zip_longest(one, other, fillvalue=0))


def cached_of(usage: Vector) -> int:
    """The input that came from a cache, in tokens."""
    return usage[_CACHED]


def first_classes(tariff: PinnedTariff) -> PinnedTariff:
    """The tariff as a reader of the first classes alone has it: it rates later classes, folded, like their parents."""
    if all(len(tier.rates) == FIRST for tier in tariff.tiers):
        return tariff
    tiers = tuple(ContextTier(tier.above_input_tokens, tier.rates[:FIRST]) for tier in tariff.tiers)
    return msgspec.structs.replace(tariff, tiers=tiers, dearest_rate=dearest_rate(tiers))


def rates_for(tariff: PinnedTariff, input_tokens: int) -> Vector:
    """The rates of the highest tier whose bound the total input exceeds."""
    rates = tariff.tiers[0].rates
    for tier in tariff.tiers[1:]:
        if input_tokens > tier.above_input_tokens:
            rates = tier.rates
    return rates


def charges_of(tariff: PinnedTariff, usage: Vector) -> Vector:
    """The amount of each class of the usage."""
    if len(usage) == FIRST:
        # Unrolled, because every call comes here and this takes half the time of a loop.
        a, b, c, d, e = usage
        p, q, r, s, t = rates_for(tariff, a + b + c)[:FIRST]
        return (
            -(-a * p // RATE_BASE),
            -(-b * q // RATE_BASE),
            -(-c * r // RATE_BASE),
            -(-d * s // RATE_BASE),
            -(-e * t // RATE_BASE),
        )
    rates = rates_for(tariff, total_input(usage))
    return tuple(amount_of(count, rate_of(rates, index)) for index, count in enumerate(usage))


class Estimate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Bound of the amount of a session's tokens under one tariff: a rate for each token of input and of output.

    A side that is measured otherwise has the rate of each image, millisecond or character.

    Since each class rounds up by itself, splitting tokens over classes can cost up to a micro-unit for each further class;
    the slacks cover that for the first classes and for each later one that has a rate of its own.
    """

    input_rate: int
    output_rate: int
    input_slack: int
    output_slack: int

    def input_amount(self, tokens: int) -> int:
        """The highest amount that `tokens` of input cost."""
        return -(-tokens * self.input_rate // RATE_BASE) + self.input_slack if tokens else 0

    def amount(self, input_tokens: int, output_tokens: int) -> int:
        """The highest amount that the tokens together cost."""
        amount = -(-input_tokens * self.input_rate // RATE_BASE) + self.input_slack if input_tokens else 0
        if output_tokens:
            amount += -(-output_tokens * self.output_rate // RATE_BASE) + self.output_slack
        return amount

    def input_payable(self, amount: int, limit: int) -> int:
        """The most input tokens, at most `limit`, that `amount` pays for."""
        if self.input_rate == 0:
            return limit
        return min(limit, max(0, (amount - self.input_slack) * RATE_BASE // self.input_rate))

    def output_payable(self, amount: int, limit: int) -> int:
        """The most output tokens, at most `limit`, that `amount` pays for."""
        if self.output_rate == 0:
            return limit
        return min(limit, max(0, (amount - self.output_slack) * RATE_BASE // self.output_rate))


def worst_case(tariff: PinnedTariff, input_tokens: int) -> Estimate:
    """The dearest that a session with at most `input_tokens` of input can come to.

    Every tier up to the bound may turn out to be the one that applies, so the dearest of them counts.
    """
    tiers = [tier.rates for tier in tariff.tiers if tier.above_input_tokens < input_tokens] or [tariff.tiers[0].rates]
    return _dearest_of(tiers, IN_TOKENS)


WorstCases = tuple[tuple[int, Estimate], ...]


def worst_cases(tariff: PinnedTariff, measures: Measures = IN_TOKENS) -> WorstCases:
    """By tier: the input above which the tier may apply, and the worst case of sessions whose bound lies in it."""
    return tuple(
        (tier.above_input_tokens, _dearest_of([each.rates for each in tariff.tiers[: index + 1]], measures))
        for index, tier in enumerate(tariff.tiers)
    )


def worst_case_in(cases: WorstCases, input_tokens: int) -> Estimate:
    """The result of `worst_case`, found among those computed before."""
    worst = cases[0][1]
    for above, estimate in cases[1:]:
        if above < input_tokens:
            worst = estimate
    return worst


def _dearest_of(tiers: list[Vector], measures: Measures) -> Estimate:
    """The dearest rates of input and output. Classes of other measures have no part in it: no count of the session bounds them."""
    input_classes = [_own_rates(rates, _INPUTS[measures.input]) for rates in tiers]
    output_classes = [_own_rates(rates, _OUTPUTS[measures.output]) for rates in tiers]
    return Estimate(
        input_rate=max(map(max, input_classes)),
        output_rate=max(map(max, output_classes)),
        input_slack=_slack(input_classes),
        output_slack=_slack(output_classes),
    )


def _own_rates(rates: Vector, indexes: tuple[int, ...]) -> list[int]:
    """The rates of those of these classes that have one of their own; without any, that of the first one's parent."""
    own = [rates[index] for index in indexes if index < len(rates) and rates[index] != NO_RATE]
    return own or [rate_of(rates, indexes[0])]


def _slack(classes: list[list[int]]) -> int:
    """One micro-unit for each class after the first, where any rate is no whole number of micro-units a token."""
    return max(map(len, classes)) - 1 if any(rate % RATE_BASE for rates in classes for rate in rates) else 0


def dearest_output_rate(tariff: PinnedTariff) -> int:
    """The dearest rate of a token of output in any tier."""
    return max(max(_own_rates(tier.rates, _OUTPUT_TOKENS)) for tier in tariff.tiers)


def dearest_amount(tariff: PinnedTariff, counts: Mapping[Measure, int]) -> int:
    """The dearest amount of any class in any tier, each for the count of its measure."""
    rated = ((CLASSES[index].measure, rate) for tier in tariff.tiers for index, rate in enumerate(tier.rates))
    return max(amount_of(counts[measure], rate) for measure, rate in rated if rate != NO_RATE)


# A share in millionths.
SHARE_BASE: Final = 1_000_000


def expected(tariff: PinnedTariff, input_tokens: int, cached_share: int) -> Estimate:
    """The likely cost of a session with `input_tokens` of input, if `cached_share` millionths of them come from a cache."""
    rates = rates_for(tariff, input_tokens)
    return Estimate(
        input_rate=-(-(rates[_CACHED] * cached_share + rates[_INPUT] * (SHARE_BASE - cached_share)) // SHARE_BASE),
        output_rate=max(_own_rates(rates, _OUTPUT_TOKENS)),
        input_slack=0,
        output_slack=0,
    )


def cheapest(tariff: PinnedTariff) -> Estimate:
    """The least that a session can come to: all input cached, all output in the cheaper class, in the cheapest tier."""
    tiers = [tier.rates for tier in tariff.tiers]
    return Estimate(
        input_rate=min(min(_own_rates(rates, _INPUT_TOKENS)) for rates in tiers),
        output_rate=min(min(_own_rates(rates, _OUTPUT_TOKENS)) for rates in tiers),
        input_slack=0,
        output_slack=0,
    )


def exchanged(tariff: PinnedTariff, currency: str, rate: int, name: str) -> PinnedTariff:
    """The tariff in another currency at `rate` micro-units of it for one unit of the tariff's own; each rate rounds up."""

    def turned(rates: Vector) -> Vector:
        return tuple(each if each == NO_RATE else amount_of(each, rate) for each in rates)

    tiers = tuple(ContextTier(tier.above_input_tokens, turned(tier.rates)) for tier in tariff.tiers)
    return PinnedTariff(tariff.tariff_id, tariff.version, f"CURRENCY:{currency}", tiers, name, dearest_rate(tiers))


def in_unit(amount: int, unit: str) -> str:
    """Micro-units as whole units of `unit` for people: 1,234.5 CNY."""
    units, parts = divmod(amount, _WHOLE)
    number = f"{units:,}.{parts:06d}".rstrip("0").rstrip(".")
    return f"{number} {unit.removeprefix('CURRENCY:')}"
