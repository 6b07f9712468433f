"""Token counts, rates and the amounts they make: all integers, rounded once a class of a whole session.

An amount is an int64 of micro-units. A rate is micro-units per 1,000,000 tokens.
amount = ceil(cumulative tokens x rate / 1,000,000).
"""

from typing import Final

import msgspec

INT64_MAX: Final = 2**63 - 1
# The most that all buckets of a unit together may have been granted, so that sums stay int64.
GRANTED_MAX: Final = INT64_MAX // 2
# More tokens than any call can have; counts above it are refused as absurd.
TOKENS_MAX: Final = 10_000_000_000
RATE_BASE: Final = 1_000_000

# The classes in the fixed order in which they are charged.
TOKEN_CLASSES: Final = ("input", "cached_input", "cache_write", "output", "reasoning")


class TokenUsage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Token counts by class; the classes are disjoint."""

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0


class TokenRates(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rates by class, in micro-units per 1,000,000 tokens."""

    input: int
    cached_input: int
    cache_write: int
    output: int
    reasoning: int


class ContextTier(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Rates that apply when the total input is greater than `above_input_tokens` (-1: always)."""

    above_input_tokens: int
    rates: TokenRates


class PinnedTariff(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A model's rates as a session pinned them at Create; settling needs no catalog any more.

    `unit` is "TOKEN", "POINT" or "CURRENCY:" and an ISO 4217 code. `tiers` rise by `above_input_tokens`.
    """

    tariff_id: str
    version: int
    unit: str
    tiers: tuple[ContextTier, ...]
    # The exchange rate that turned the tariff's own currency into `unit`, for example "USD/CNY@3"; empty: none was needed.
    exchange: str = ""
    # The dearest of all rates, so that an absurd charge is seen without reckoning it; 0 in what older code wrote.
    dearest_rate: int = 0

    @property
    def rate_max(self) -> int:
        """The dearest of all rates."""
        return self.dearest_rate or dearest_rate(self.tiers)


def dearest_rate(tiers: tuple[ContextTier, ...]) -> int:
    """The dearest rate of any class and tier."""
    return max((max(msgspec.structs.astuple(tier.rates)) for tier in tiers), default=0)


def amount_of(tokens: int, rate: int) -> int:
    """ceil(tokens x rate / 1,000,000)."""
    return -(-tokens * rate // RATE_BASE)


def rates_for(tariff: PinnedTariff, input_tokens: int) -> TokenRates:
    """The rates of the highest tier whose bound the total input exceeds."""
    rates = tariff.tiers[0].rates
    for tier in tariff.tiers[1:]:
        if input_tokens > tier.above_input_tokens:
            rates = tier.rates
    return rates


def charges_of(tariff: PinnedTariff, usage: TokenUsage) -> tuple[int, int, int, int, int]:
    """The amount of each class, in the order of `TOKEN_CLASSES`."""
    rates = rates_for(tariff, usage.input + usage.cached_input + usage.cache_write)
    return (
        amount_of(usage.input, rates.input),
        amount_of(usage.cached_input, rates.cached_input),
        amount_of(usage.cache_write, rates.cache_write),
        amount_of(usage.output, rates.output),
        amount_of(usage.reasoning, rates.reasoning),
    )


class Estimate(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a session's tokens may come to under one tariff: a rate for each token of input and of output.

    Since each class rounds up by itself, splitting tokens over classes can cost up to a micro-unit for each further class;
    the slacks cover that.
    """

    input_rate: int
    output_rate: int
    input_slack: int
    output_slack: int

    def input_amount(self, tokens: int) -> int:
        """What `tokens` of input may cost."""
        return -(-tokens * self.input_rate // RATE_BASE) + self.input_slack if tokens else 0

    def amount(self, input_tokens: int, output_tokens: int) -> int:
        """What the tokens together may cost."""
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
    return _dearest_of(tiers)


WorstCases = tuple[tuple[int, Estimate], ...]


def worst_cases(tariff: PinnedTariff) -> WorstCases:
    """By tier, above how many input tokens it may apply, and the worst case of sessions with a bound in it."""
    return tuple(
        (tier.above_input_tokens, _dearest_of([each.rates for each in tariff.tiers[: index + 1]]))
        for index, tier in enumerate(tariff.tiers)
    )


def worst_case_in(cases: WorstCases, input_tokens: int) -> Estimate:
    """What `worst_case` says, out of what was worked out before."""
    worst = cases[0][1]
    for above, estimate in cases[1:]:
        if above < input_tokens:
            worst = estimate
    return worst


def _dearest_of(tiers: list[TokenRates]) -> Estimate:
    input_classes = [rate for rates in tiers for rate in (rates.input, rates.cached_input, rates.cache_write)]
    output_classes = [rate for rates in tiers for rate in (rates.output, rates.reasoning)]
    return Estimate(
        input_rate=max(input_classes),
        output_rate=max(output_classes),
        input_slack=2 if any(rate % RATE_BASE for rate in input_classes) else 0,
        output_slack=1 if any(rate % RATE_BASE for rate in output_classes) else 0,
    )


# A share in millionths.
SHARE_BASE: Final = 1_000_000


def expected(tariff: PinnedTariff, input_tokens: int, cached_share: int) -> Estimate:
    """What a session with `input_tokens` of input is likely to cost, if `cached_share` millionths of it come from a cache."""
    rates = rates_for(tariff, input_tokens)
    return Estimate(
        input_rate=-(-(rates.cached_input * cached_share + rates.input * (SHARE_BASE - cached_share)) // SHARE_BASE),
        output_rate=max(rates.output, rates.reasoning),
        input_slack=0,
        output_slack=0,
    )


def cheapest(tariff: PinnedTariff) -> Estimate:
    """The least that a session can come to: all input cached, all output in the cheaper class, in the cheapest tier."""
    tiers = [tier.rates for tier in tariff.tiers]
    return Estimate(
        input_rate=min(min(rates.input, rates.cached_input, rates.cache_write) for rates in tiers),
        output_rate=min(min(rates.output, rates.reasoning) for rates in tiers),
        input_slack=0,
        output_slack=0,
    )


def exchanged(tariff: PinnedTariff, currency: str, rate: int, name: str) -> PinnedTariff:
    """The tariff in another currency at `rate` micro-units of it for one unit of the tariff's own; each rate rounds up."""

    def turned(rates: TokenRates) -> TokenRates:
        return TokenRates(*(amount_of(each, rate) for each in msgspec.structs.astuple(rates)))

    tiers = tuple(ContextTier(tier.above_input_tokens, turned(tier.rates)) for tier in tariff.tiers)
    return PinnedTariff(tariff.tariff_id, tariff.version, f"CURRENCY:{currency}", tiers, name, dearest_rate(tiers))
