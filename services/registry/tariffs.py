"""Tariffs as their author writes them, and what must hold in each. Pure.

Rates are decimals in whole units per 1,000,000 tokens: with the unit CURRENCY and the currency USD, `input: 0.28` is 0.28
US dollars per million tokens.
"""

import datetime
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

import msgspec

from services.registry.offerings import UNITS
from services.registry.rules import (
    INT32_MAX,
    INT64_MAX,
    FieldFlaw,
    currency_flaws,
    effective_time_flaws,
    micro_amount,
    unknown,
    whole_flaws,
)
from services.token_classes import CLASSES, INDEX, TOKEN_CLASSES

# The model ID of a tariff row for every model without a row of its own.
EVERY_MODEL: Final = "*"


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rate of each token class, in whole units per 1,000,000 of its measure, to 6 decimals; named as in `TOKEN_CLASSES`.

    A class without a rate of its own costs what its parent does.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    cache_write_1h: Decimal | None = None
    audio_input: Decimal | None = None
    image_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_output: Decimal | None = None
    # Per 1,000,000 images, milliseconds and characters.
    generated_images: Decimal | None = None
    audio_milliseconds: Decimal | None = None
    spoken_characters: Decimal | None = None

    def given(self) -> dict[str, Decimal]:
        """The rate of every class that has one of its own."""
        own = {token_class: getattr(self, token_class) for token_class in TOKEN_CLASSES}
        return {token_class: rate for token_class, rate in own.items() if rate is not None}

    def by_class(self) -> dict[str, Decimal]:
        """The rate of every class in the order of `TOKEN_CLASSES`, those that were left out filled in."""
        rates: dict[str, Decimal] = {}
        given = self.given()
        # Input and output always have a rate, and a parent stands before its children.
        for each in CLASSES:
            rates[each.name] = given[each.name] if each.name in given else rates[each.parent]
        return rates


class ContextTier(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rates of calls with more input than this."""

    above_input_tokens: int


class ModelRates(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tariff row: a model's rates, and the tiers that replace them for long input."""

    # `EVERY_MODEL` for every model without a row of its own.
    model_id: str
    # By rising above_input_tokens.
    tiers: tuple[ContextTier, ...] = ()
    # The sources of the rates; empty: as the tariff says.
    sources: tuple[str, ...] = ()
    # Rates of other sources that differ from these; empty: none is known.
    conflict: str = ""


class TariffVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tariff's rates from a time on."""

    version: int
    # With an offset.
    effective_time: datetime.datetime
    rates: tuple[ModelRates, ...]


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rates of models in one unit, with a version."""

    tariff_id: str
    # Must be another one whenever unit, currency or rates change.
    version: int
    # One of `UNITS`.
    unit: str
    # ISO 4217 code; for the unit CURRENCY, and only for it.
    currency: str = ""
    # Where the prices came from and when.
    source: str = ""
    # Whether its prices are shown to everybody, by GET /v1/prices.
    public: bool = False
    rates: tuple[ModelRates, ...]
    # Versions that replace version and rates from a time on, by rising time.
    upcoming: tuple[TariffVersion, ...] = ()

    def rated_models(self) -> set[str] | None:
        """The models that every version of the tariff has rates for; None: all."""
        versions = [{row.model_id for row in rows} for rows in (self.rates, *(each.rates for each in self.upcoming))]
        partial = [model_ids for model_ids in versions if EVERY_MODEL not in model_ids]
        return set.intersection(*partial) if partial else None

    def rates_model(self, model_id: str) -> bool:
        """Whether every version of the tariff has rates for the model."""
        rated = self.rated_models()
        return rated is None or model_id in rated


def tariff_flaws(tariff: Tariff, model_ids: set[str], charged: Mapping[str, tuple[str, ...]]) -> Iterator[FieldFlaw]:
    """Everything that is wrong in a tariff. `charged`: the classes beside tokens by the models that are charged in them."""
    yield from whole_flaws("version", tariff.version, 1, INT32_MAX)
    if tariff.unit not in UNITS:
        yield "unit", f"must be {' or '.join(UNITS)}; it is {tariff.unit!r}"
    else:
        yield from currency_flaws("currency", tariff.unit, tariff.currency)
    yield from rows_flaws("rates", tariff.rates, model_ids)
    yield from missing_rates("rates", tariff.rates, charged)
    version, time = tariff.version, None
    for index, each in enumerate(tariff.upcoming):
        field = f"upcoming[{index}]"
        if each.version <= version:
            yield f"{field}.version", f"must be above {version}, the version before it; it is {each.version}"
        yield from effective_time_flaws(f"{field}.effective_time", each.effective_time)
        if time is not None and each.effective_time.tzinfo and time.tzinfo and each.effective_time <= time:
            yield f"{field}.effective_time", "must be later than that of the version before it"
        version, time = each.version, each.effective_time
        yield from rows_flaws(f"{field}.rates", each.rates, model_ids)
        yield from missing_rates(f"{field}.rates", each.rates, charged)


def rows_flaws(rows_field: str, rows: tuple[ModelRates, ...], model_ids: set[str]) -> Iterator[FieldFlaw]:
    """Everything that is wrong in a version's rows."""
    if not rows:
        yield rows_field, "must have at least one row"
    seen: set[str] = set()
    for index, row in enumerate(rows):
        field = f"{rows_field}[{index}]"
        if row.model_id != EVERY_MODEL and row.model_id not in model_ids:
            yield f"{field}.model_id", unknown("model", row.model_id, model_ids)
        if row.model_id in seen:
            yield f"{field}.model_id", f"{row.model_id!r} has a row in this tariff already; keep one of them"
        seen.add(row.model_id)
        yield from _rates_flaws(field, row)
        below = 0
        for number, tier in enumerate(row.tiers):
            tier_field = f"{field}.tiers[{number}]"
            if tier.above_input_tokens <= below:
                limit = f"the tier before it, {below}" if number else "0"
                message = f"must be greater than {limit}: tiers rise; it is {tier.above_input_tokens}"
                yield f"{tier_field}.above_input_tokens", message
            yield from whole_flaws(f"{tier_field}.above_input_tokens", tier.above_input_tokens, 1, INT64_MAX)
            below = tier.above_input_tokens
            yield from _rates_flaws(tier_field, tier)


def missing_rates(field: str, rows: tuple[ModelRates, ...], charged: Mapping[str, tuple[str, ...]]) -> Iterator[FieldFlaw]:
    """Rates without which an image, a millisecond or a character would cost what a token does, as its parent's rate says."""
    with_own_row = {row.model_id for row in rows}
    for index, row in enumerate(rows):
        for model_id, classes in charged.items():
            if row.model_id != model_id and (row.model_id != EVERY_MODEL or model_id in with_own_row):
                continue
            for token_class in classes:
                for place, rates in (
                    (f"{field}[{index}]", row),
                    *((f"{field}[{index}].tiers[{n}]", tier) for n, tier in enumerate(row.tiers)),
                ):
                    if token_class not in rates.given():
                        unit = CLASSES[INDEX[token_class]].measure.value
                        yield (
                            f"{place}.{token_class}",
                            f"is missing, and {model_id} is charged by the {unit}: give the price of 1,000,000",
                        )


def _rates_flaws(field: str, rates: Rates) -> Iterator[FieldFlaw]:
    for token_class, rate in rates.given().items():
        try:
            micro_amount(rate)
        except ValueError as error:
            yield f"{field}.{token_class}", str(error)


def charges_by_version(tariff: Tariff) -> dict[int, tuple[str, str, dict[str, list[tuple[int, dict[str, Decimal]]]]]]:
    """The rates of each version of a tariff, without regard to the order of its rows and the way its numbers are written."""
    return {
        version: (
            tariff.unit,
            tariff.currency,
            {
                row.model_id: [(-1, row.by_class()), *((tier.above_input_tokens, tier.by_class()) for tier in row.tiers)]
                for row in rows
            },
        )
        for version, rows in ((tariff.version, tariff.rates), *((each.version, each.rates) for each in tariff.upcoming))
    }
