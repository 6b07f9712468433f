"""The calls that rows become: of which key, on which model."""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.cli.replay.trace import ReplayError, Row

# A row without a model of the catalog goes to a model with at least this context, so that no row is too long for it.
_LONG_CONTEXT_TOKENS: Final = 1_000_000


class Tier(msgspec.Struct, frozen=True):
    """Rates above a number of input tokens, in micro-units per 1,000,000 tokens."""

    above_input_tokens: int
    input: int
    cached_input: int
    output: int


class Pricing(msgspec.Struct, frozen=True):
    """The price of a model in a key's offering."""

    unit: str
    tiers: list[Tier]
    currency: str | None = None


class SaleModel(msgspec.Struct, frozen=True):
    """A model that a key may call."""

    id: str
    context_window: int
    max_output_tokens: int
    pricing: Pricing


class Call(msgspec.Struct, frozen=True):
    """A row that is to become a call."""

    row: Row
    key_index: int
    model: SaleModel


def plan_calls(rows: Sequence[Row], models_by_key: Sequence[dict[str, SaleModel]], model_id: str = "") -> tuple[list[Call], int]:
    """The calls in the order of their times, and how many rows are too long for their model.

    Keys are used in turn: a session keeps its key, a row without session takes the next.
    Errors: `ReplayError` when a key may not call `model_id`, or a row finds no model.
    """
    for models in models_by_key:
        if model_id and model_id not in models:
            raise ReplayError(f"--model: no model {model_id!r} for this key; it may call {', '.join(sorted(models)) or 'none'}")
    calls: list[Call] = []
    skipped = 0
    turns = 0
    key_by_session: dict[str, int] = {}
    for row in rows:
        key_index = key_by_session.get(row.session) if row.session else None
        if key_index is None:
            key_index = turns % len(models_by_key)
            turns += 1
            if row.session:
                key_by_session[row.session] = key_index
        models = models_by_key[key_index]
        model = models.get(row.model) or models.get(model_id) or _long_context_model(models)
        if row.input_tokens + row.output_tokens > model.context_window or row.output_tokens > model.max_output_tokens:
            skipped += 1
        else:
            calls.append(Call(row, key_index, model))
    calls.sort(key=lambda call: call.row.timestamp_s)
    return calls, skipped


def _long_context_model(models: dict[str, SaleModel]) -> SaleModel:
    fitting = [model for model in models.values() if model.context_window >= _LONG_CONTEXT_TOKENS]
    if not fitting:
        raise ReplayError(f"no model for sale has a context of {_LONG_CONTEXT_TOKENS} tokens or more; name one with --model")
    return min(fitting, key=lambda model: model.id)
