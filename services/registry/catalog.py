"""The catalog as its author writes it, and what must hold in it.

A YAML file is a part of a `Catalog`; the layers of a cell, put over one another, are the whole. Rates are written as
decimals in whole units per 1,000,000 tokens: with the unit CURRENCY and the currency USD, `input: 0.28` is 0.28 US
dollars per million tokens. Pure: no protos, no files; where an entry stands is known to `catalog_folder`.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final
from urllib.parse import urlsplit

import msgspec

# The model ID of a tariff row for every model without a row of its own.
EVERY_MODEL: Final = "*"
UNITS: Final = ("TOKEN", "POINT", "CURRENCY")
RESERVATION_POLICIES: Final = ("worst_case",)

_INT32_MAX: Final = 2**31 - 1
_INT64_MAX: Final = 2**63 - 1
_RATE_MAX: Final = Decimal(_INT64_MAX) / 1_000_000
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_ENVIRONMENT_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class Vendor(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model company whose models are sold."""

    vendor_id: str
    display_name: str
    # Where its OpenAI-compatible API begins, with http or https and no slash at the end.
    base_url: str
    # The environment variable of the edge that holds the vendor's secret.
    api_key_env: str
    # The environment variable of the edge that replaces base_url where it is set.
    base_url_env: str


class TokenizerFamily(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model family turns text into tokens, as far as it is needed without its tokenizer."""

    family_id: str
    # Letters a token in Latin script, in thousandths.
    letters_per_token_milli: int
    # Tokens a character in Chinese, Japanese and Korean, in thousandths.
    tokens_per_cjk_character_milli: int
    # The most tokens that the chat template adds for each message, and for the whole request.
    template_tokens_per_message: int
    template_tokens_per_request: int


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to reach a model."""

    vendor_id: str
    # The model's ID at that vendor.
    vendor_model_id: str
    # Routes are tried by rising priority.
    priority: int = 0


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model for sale."""

    # What clients send.
    model_id: str
    display_name: str
    # The company that makes it, as shown in model lists.
    owned_by: str
    # Input and output together.
    context_window_tokens: int
    # The most output of one call.
    max_output_tokens: int
    family_id: str
    release_date: datetime.date
    routes: tuple[Route, ...]
    # Whether it makes output that is not streamed as it is made: then the whole output limit is reserved.
    hidden_reasoning: bool = False


class Rates(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a token of each class costs, in whole units per 1,000,000 tokens, to 6 decimals."""

    input: Decimal
    output: Decimal
    # Without a rate of their own, these two cost what input costs,
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    # and this one what output costs.
    reasoning: Decimal | None = None

    def by_class(self) -> dict[str, Decimal]:
        """The rate of every token class, those that were left out filled in."""
        return {
            "input": self.input,
            "cached_input": self.input if self.cached_input is None else self.cached_input,
            "cache_write": self.input if self.cache_write is None else self.cache_write,
            "output": self.output,
            "reasoning": self.output if self.reasoning is None else self.reasoning,
        }


class ContextTier(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rates of calls with more input than this."""

    above_input_tokens: int


class ModelRates(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tariff row: a model's rates, and the tiers that replace them for long input."""

    # `EVERY_MODEL` for every model without a row of its own.
    model_id: str
    # By rising above_input_tokens.
    tiers: tuple[ContextTier, ...] = ()


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is charged."""

    tariff_id: str
    # Must be another one whenever unit, currency or rates change.
    version: int
    # One of `UNITS`.
    unit: str
    # ISO 4217 code; for the unit CURRENCY, and only for it.
    currency: str = ""
    # Where the prices came from and when.
    source: str = ""
    rates: tuple[ModelRates, ...]

    def rates_model(self, model_id: str) -> bool:
        """Whether the tariff has rates for the model."""
        return any(row.model_id in (model_id, EVERY_MODEL) for row in self.rates)


class Offering(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plan for sale."""

    offering_id: str
    display_name: str
    tariff_id: str
    # Empty: every model that the tariff has rates for.
    model_ids: tuple[str, ...] = ()
    # One of `RESERVATION_POLICIES`.
    reservation_policy: str
    # The output reserved at once where the edge sees output as it is made.
    output_window_tokens: int = 2_048
    charge_input_when_client_gone_before_output: bool = False


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that is for sale, or the part of it that stands in one file."""

    vendors: tuple[Vendor, ...] = ()
    tokenizer_families: tuple[TokenizerFamily, ...] = ()
    models: tuple[Model, ...] = ()
    tariffs: tuple[Tariff, ...] = ()
    offerings: tuple[Offering, ...] = ()
    # The offering of an account opened without one.
    default_offering_id: str = ""


# The lists of a catalog, and the field that identifies an entry of each.
ID_FIELDS: Final = {
    "vendors": "vendor_id",
    "tokenizer_families": "family_id",
    "models": "model_id",
    "tariffs": "tariff_id",
    "offerings": "offering_id",
}


class Flaw(msgspec.Struct, frozen=True):
    """Something that must not be so."""

    # The list the entry stands in, for example "models"; "" for the catalog itself.
    section: str
    # The entry's ID; "" for the catalog itself.
    entry_id: str
    # The field's path inside the entry, for example "routes[0].vendor_id".
    field: str
    # What is wrong and what would be right.
    message: str


def micro_rate(rate: Decimal) -> int:
    """A rate in int64 micro-units per 1,000,000 tokens. Errors: `ValueError` that says what would be right."""
    if not rate.is_finite():
        raise ValueError(f"must be a finite number; it is {rate}")
    if rate < 0:
        raise ValueError(f"must not be negative; it is {rate}")
    if rate > _RATE_MAX:
        raise ValueError(f"must be at most {_RATE_MAX}, so that it fits int64 micro-units; it is {rate}")
    if int(rate.as_tuple().exponent) < -6:
        raise ValueError(f"must have at most 6 decimals; it is {rate}")
    # At most 19 digits here, and the decimal context keeps 28: exact.
    return int(rate * 1_000_000)


def flaws(catalog: Catalog) -> Iterator[Flaw]:
    """Everything that is wrong in a whole catalog, in the order of its sections; nothing when it is valid.

    IDs are taken to be unique within their section, as putting layers over one another makes them.
    """
    for section, id_field in ID_FIELDS.items():
        for entry in getattr(catalog, section):
            entry_id = getattr(entry, id_field)
            if not _ID.fullmatch(entry_id):
                yield Flaw(section, entry_id, id_field, f"must be letters, digits and . _ : / @ + - only; it is {entry_id!r}")
    vendor_ids = {vendor.vendor_id for vendor in catalog.vendors}
    family_ids = {family.family_id for family in catalog.tokenizer_families}
    model_ids = {model.model_id for model in catalog.models}
    tariffs = {tariff.tariff_id: tariff for tariff in catalog.tariffs}
    for vendor in catalog.vendors:
        for field, message in _vendor_flaws(vendor):
            yield Flaw("vendors", vendor.vendor_id, field, message)
    for family in catalog.tokenizer_families:
        for field, message in _family_flaws(family):
            yield Flaw("tokenizer_families", family.family_id, field, message)
    for model in catalog.models:
        for field, message in _model_flaws(model, vendor_ids, family_ids):
            yield Flaw("models", model.model_id, field, message)
    for tariff in catalog.tariffs:
        for field, message in _tariff_flaws(tariff, model_ids):
            yield Flaw("tariffs", tariff.tariff_id, field, message)
    for offering in catalog.offerings:
        for field, message in _offering_flaws(offering, model_ids, tariffs):
            yield Flaw("offerings", offering.offering_id, field, message)
    offering_ids = {offering.offering_id for offering in catalog.offerings}
    if not catalog.default_offering_id:
        yield Flaw("", "", "default_offering_id", "is missing; name the offering of an account opened without one")
    elif catalog.default_offering_id not in offering_ids:
        yield Flaw("", "", "default_offering_id", _unknown("offering", catalog.default_offering_id, offering_ids))


def flaws_of_change(before: Catalog, after: Catalog) -> Iterator[Flaw]:
    """What is wrong in going from one valid catalog to another.

    A record names the tariff and its version, so one version may stand for one set of rates only. A lower version is
    right: that is how a change is taken back.
    """
    tariffs_before = {tariff.tariff_id: tariff for tariff in before.tariffs}
    for tariff in after.tariffs:
        old = tariffs_before.get(tariff.tariff_id)
        if old is not None and old.version == tariff.version and _charge(old) != _charge(tariff):
            message = f"must change when unit, currency or rates change; it is still {tariff.version}: make it {tariff.version + 1}"
            yield Flaw("tariffs", tariff.tariff_id, "version", message)


# What is wrong in an entry: the field's path inside it, and the message.
_FieldFlaw = tuple[str, str]


def _vendor_flaws(vendor: Vendor) -> Iterator[_FieldFlaw]:
    yield from _text("display_name", vendor.display_name)
    try:
        url = urlsplit(vendor.base_url)
        addressed = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        addressed = False
    if not addressed:
        yield "base_url", f"must be an http or https address like https://api.example.com/v1; it is {vendor.base_url!r}"
    elif vendor.base_url.endswith("/"):
        yield "base_url", f"must not end in a slash; write {vendor.base_url.rstrip('/')}"
    elif url.query or url.fragment or url.username is not None or re.search(r"\s", vendor.base_url):
        yield "base_url", f"must have no query, fragment, user or space; it is {vendor.base_url!r}"
    for field, name in (("api_key_env", vendor.api_key_env), ("base_url_env", vendor.base_url_env)):
        if not _ENVIRONMENT_VARIABLE.fullmatch(name):
            yield field, f"must name an environment variable like TOKENLINE_EXAMPLE_API_KEY; it is {name!r}"


def _family_flaws(family: TokenizerFamily) -> Iterator[_FieldFlaw]:
    yield from _whole("letters_per_token_milli", family.letters_per_token_milli, 1, _INT32_MAX)
    yield from _whole("tokens_per_cjk_character_milli", family.tokens_per_cjk_character_milli, 1, _INT32_MAX)
    yield from _whole("template_tokens_per_message", family.template_tokens_per_message, 0, _INT32_MAX)
    yield from _whole("template_tokens_per_request", family.template_tokens_per_request, 0, _INT32_MAX)


def _model_flaws(model: Model, vendor_ids: set[str], family_ids: set[str]) -> Iterator[_FieldFlaw]:
    yield from _text("display_name", model.display_name)
    yield from _text("owned_by", model.owned_by)
    yield from _whole("context_window_tokens", model.context_window_tokens, 1, _INT64_MAX)
    yield from _whole("max_output_tokens", model.max_output_tokens, 1, _INT64_MAX)
    if model.max_output_tokens > model.context_window_tokens:
        message = f"must not exceed context_window_tokens, {model.context_window_tokens}; it is {model.max_output_tokens}"
        yield "max_output_tokens", message
    if model.family_id not in family_ids:
        yield "family_id", _unknown("tokenizer family", model.family_id, family_ids)
    if not model.routes:
        yield "routes", "must have at least one route to a vendor"
    ways: set[tuple[str, str]] = set()
    for index, route in enumerate(model.routes):
        field = f"routes[{index}]"
        if route.vendor_id not in vendor_ids:
            yield f"{field}.vendor_id", _unknown("vendor", route.vendor_id, vendor_ids)
        yield from _text(f"{field}.vendor_model_id", route.vendor_model_id)
        yield from _whole(f"{field}.priority", route.priority, 0, _INT32_MAX)
        if (route.vendor_id, route.vendor_model_id) in ways:
            yield field, f"leads to {route.vendor_model_id!r} of {route.vendor_id!r} a second time; keep one of them"
        ways.add((route.vendor_id, route.vendor_model_id))


def _tariff_flaws(tariff: Tariff, model_ids: set[str]) -> Iterator[_FieldFlaw]:
    yield from _whole("version", tariff.version, 1, _INT32_MAX)
    if tariff.unit not in UNITS:
        yield "unit", f"must be {' or '.join(UNITS)}; it is {tariff.unit!r}"
    elif tariff.unit == "CURRENCY" and not _CURRENCY.fullmatch(tariff.currency):
        yield "currency", f"must be an ISO 4217 code of 3 capital letters like USD; it is {tariff.currency!r}"
    elif tariff.unit != "CURRENCY" and tariff.currency:
        yield "currency", f"goes with the unit CURRENCY only; the unit is {tariff.unit}: leave it out"
    if not tariff.rates:
        yield "rates", "must have at least one row"
    seen: set[str] = set()
    for index, row in enumerate(tariff.rates):
        field = f"rates[{index}]"
        if row.model_id != EVERY_MODEL and row.model_id not in model_ids:
            yield f"{field}.model_id", _unknown("model", row.model_id, model_ids)
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
            yield from _whole(f"{tier_field}.above_input_tokens", tier.above_input_tokens, 1, _INT64_MAX)
            below = tier.above_input_tokens
            yield from _rates_flaws(tier_field, tier)


def _rates_flaws(field: str, rates: Rates) -> Iterator[_FieldFlaw]:
    for name in ("input", "output", "cached_input", "cache_write", "reasoning"):
        rate: Decimal | None = getattr(rates, name)
        if rate is not None:
            try:
                micro_rate(rate)
            except ValueError as error:
                yield f"{field}.{name}", str(error)


def _offering_flaws(offering: Offering, model_ids: set[str], tariffs: dict[str, Tariff]) -> Iterator[_FieldFlaw]:
    yield from _text("display_name", offering.display_name)
    tariff = tariffs.get(offering.tariff_id)
    if tariff is None:
        yield "tariff_id", _unknown("tariff", offering.tariff_id, tariffs)
    seen: set[str] = set()
    for index, model_id in enumerate(offering.model_ids):
        field = f"model_ids[{index}]"
        if model_id not in model_ids:
            yield field, _unknown("model", model_id, model_ids)
        elif tariff is not None and not tariff.rates_model(model_id):
            yield (
                field,
                f"{model_id!r} has no rates in the tariff {tariff.tariff_id!r}; add a row for it there, or for {EVERY_MODEL!r}",
            )
        if model_id in seen:
            yield field, f"{model_id!r} stands in this offering already; keep one of them"
        seen.add(model_id)
    if offering.reservation_policy not in RESERVATION_POLICIES:
        yield "reservation_policy", f"must be {' or '.join(RESERVATION_POLICIES)}; it is {offering.reservation_policy!r}"
    yield from _whole("output_window_tokens", offering.output_window_tokens, 1, _INT64_MAX)


def _text(field: str, text: str) -> Iterator[_FieldFlaw]:
    if not text.strip():
        yield field, "must not be empty"


def _whole(field: str, number: int, least: int, most: int) -> Iterator[_FieldFlaw]:
    if not least <= number <= most:
        yield field, f"must be from {least} to {most}; it is {number}"


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "none"
    return f"no {kind} has the ID {name!r}; known are: {shown}"


def _charge(tariff: Tariff) -> tuple[str, str, dict[str, list[tuple[int, dict[str, Decimal]]]]]:
    """What a tariff charges, whatever the order of its rows and the way its numbers are written."""
    rows = {
        row.model_id: [(-1, row.by_class()), *((tier.above_input_tokens, tier.by_class()) for tier in row.tiers)]
        for row in tariff.rates
    }
    return tariff.unit, tariff.currency, rows
