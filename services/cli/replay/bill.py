"""The sum of a trace's rows, and what the accounts were charged."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec

from services.cli.replay.calls import Outcome, Usage, ask
from services.cli.replay.plan import Call, Pricing, SaleModel
from services.cli.replay.trace import ReplayError, Row
from services.token_classes import FIRST, TOKEN_CLASSES
from services.vendor_simulator.text import TOKEN_BYTES

_TOKENS_PER_RATE: Final = 1_000_000
# Details that an answer's usage counts inside of input and output, and their token classes.
_INPUT_DETAILS: Final = {"cached_tokens": "cached_input", "audio_tokens": "audio_input"}
_OUTPUT_DETAILS: Final = {"reasoning_tokens": "reasoning", "audio_tokens": "audio_output"}


def expected_charge(row: Row, pricing: Pricing, output_tokens: int) -> int:
    """Cost of a call of `row` with `output_tokens` of output, in micro-units. Each class is rounded up by itself."""
    tier = max(
        (tier for tier in pricing.tiers if tier.above_input_tokens < row.input_tokens), key=lambda tier: tier.above_input_tokens
    )
    charges = (
        (row.input_tokens - row.cached_input_tokens) * tier.input,
        row.cached_input_tokens * tier.cached_input,
        output_tokens * tier.output,
    )
    return sum(-(-charge // _TOKENS_PER_RATE) for charge in charges)


def output_tokens_due(row: Row, finish_reason: str, text_bytes: int) -> int:
    """The output tokens that a whole answer may be charged for: the row's, unless quota cut it short."""
    # The output limit sent is the row's own output, so "length" on less than that means that the account's quota
    # ended there; what came as text is then what may be charged.
    return min(row.output_tokens, text_bytes // TOKEN_BYTES) if finish_reason == "length" else row.output_tokens


def tokens_by_class(usage: Usage) -> dict[str, int]:
    """The tokens of an answer; what its details count apart is taken from input and output. A class without any may be missing."""
    tokens: dict[str, int] = {}
    for whole, rest, details, classes in (
        (usage.prompt_tokens, "input", usage.prompt_tokens_details, _INPUT_DETAILS),
        (usage.completion_tokens, "output", usage.completion_tokens_details, _OUTPUT_DETAILS),
    ):
        parts = {name: count for field, name in classes.items() if isinstance(count := (details or {}).get(field), int)}
        tokens |= {rest: whole - sum(parts.values()), **parts}
    return tokens


class Bill:
    """Adds up what the calls of a replay ought to cost."""

    def __init__(self) -> None:
        self.succeeded = 0
        # Succeeded calls that quota ended early.
        self.cut = 0
        # By token class, from the answers: the first five always.
        self.tokens: Counter[str] = Counter(dict.fromkeys(TOKEN_CLASSES[:FIRST], 0))
        # In micro-units.
        self.expected = 0

    def add(self, call: Call, outcome: Outcome) -> None:
        """Adds one call that succeeded."""
        self.tokens.update(tokens_by_class(outcome.usage))
        output_tokens = output_tokens_due(call.row, outcome.finish_reason, outcome.text_bytes)
        self.cut += output_tokens < call.row.output_tokens
        self.succeeded += 1
        self.expected += expected_charge(call.row, call.model.pricing, output_tokens)


class _Bucket(msgspec.Struct, frozen=True):
    unit: str
    remaining: int
    consumed: int
    currency: str | None = None


class _Debt(msgspec.Struct, frozen=True):
    unit: str
    incurred: int
    currency: str | None = None


class _Balance(msgspec.Struct, frozen=True):
    account_id: str
    buckets: list[_Bucket]
    debt: list[_Debt]


class Sums(msgspec.Struct):
    """Sums over accounts in one unit, in micro-units."""

    remaining: int = 0
    # Consumed and incurred as debt.
    charged: int = 0


async def balances(http: aiohttp.ClientSession, base_url: str, keys: Sequence[str]) -> defaultdict[tuple[str, str], Sums]:
    """Over the distinct accounts of the keys, by unit and currency."""
    answers = await asyncio.gather(*(ask(http, f"{base_url}/me/balance", key, _Balance) for key in keys))
    sums: defaultdict[tuple[str, str], Sums] = defaultdict(Sums)
    for account in {balance.account_id: balance for balance in answers}.values():
        for bucket in account.buckets:
            of_unit = sums[bucket.unit, bucket.currency or ""]
            of_unit.remaining += bucket.remaining
            of_unit.charged += bucket.consumed
        for debt in account.debt:
            sums[debt.unit, debt.currency or ""].charged += debt.incurred
    return sums


def pricing_unit(models_by_key: Sequence[dict[str, SaleModel]]) -> tuple[str, str]:
    """The one unit and currency that all keys are charged in. Errors: `ReplayError` when there is none, or more than one."""
    units = {(model.pricing.unit, model.pricing.currency or "") for models in models_by_key for model in models.values()}
    if not units:
        raise ReplayError("--api-key: no model is for sale to this key")
    if len(units) > 1:
        named = ", ".join(sorted(f"{unit} {currency}".strip() for unit, currency in units))
        raise ReplayError(f"--api-key: the keys are charged in different units ({named}); replay them one by one")
    return units.pop()
