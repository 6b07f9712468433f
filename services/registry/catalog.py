"""The catalog as its author writes it, and the rules that it must keep.

A YAML file is a part of a `Catalog`; the layers of a cell, put over one another, are the whole. Pure: no protos, no files;
where an entry stands is known to `catalog_folder`.
"""

import datetime
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from services.registry.adjustments import PriceAdjustment, adjusted, adjustment_flaws, product_flaws
from services.registry.offerings import Offering, Sale, offering_flaws
from services.registry.rules import (
    INT32_MAX,
    INT64_MAX,
    FieldFlaw,
    choice_flaws,
    micro_amount,
    region_flaws,
    text_flaws,
    time_zones,
    unknown,
    whole_flaws,
)
from services.registry.tariffs import Tariff, TariffVersion, charges_by_version, priced_versions, tariff_flaws
from services.registry.vendors import DIALECTS, OUTPUTLESS_DIALECTS, Vendor, filled, missing_flaws, vendor_flaws
from services.token_classes import CLASSES, Measure

# The largest weight of a route.
WEIGHT_MAX: Final = 1_000
# The largest bound of calls under way on a route.
CONCURRENCY_MAX: Final = 1_000_000

# The most calls or tokens a minute that a contract may allow.
PER_MINUTE_MAX: Final = 1_000_000_000_000

ROUTING_POLICIES: Final = ("weighted", "cheapest")
ENERGY_UNITS: Final = ("output_token", "image")

# The measures in which a dialect's input and output may be charged; those of all others are tokens.
_IN_TOKENS: Final = (("token",), ("token",))
MEASURES: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "openai_images": (("token",), ("token", "image")),
    "openai_transcriptions": (("token", "millisecond"), ("token",)),
    "openai_speech": (("character",), ("token",)),
}

MEASURE_NAMES: Final = tuple(each.value for each in Measure)

# The tokenizers that an edge carries.
TOKENIZERS: Final = ("cl100k", "o200k", "llama3", "qwen3", "deepseek")

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_PAIR: Final = re.compile(r"[A-Z]{3}/[A-Z]{3}")


class ImageRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the tokens of an image follow from its size: those of each square that it begins, and some more."""

    # The side of a square, in pixels.
    square_pixels: int
    # The tokens of a square, in thousandths.
    square_tokens_milli: int
    # Beside those of the squares.
    base_tokens: int = 0
    # The image is scaled before so that its shorter side has this many pixels; 0: it is not enlarged.
    short_side_pixels: int = 0
    # The fewest tokens that an image counts as, since smaller ones are enlarged.
    tokens_min: int = 0
    # The tokens of an image that is asked for in low detail; 0: the vendor has none.
    low_detail_tokens: int = 0


class TokenizerFamily(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model family turns text into tokens, as far as it is needed without its tokenizer."""

    family_id: str
    # Letters a token in Latin script, in thousandths.
    letters_per_token_milli: int
    # Tokens a character in Chinese, Japanese and Korean, in thousandths.
    tokens_per_cjk_character_milli: int
    # The most tokens that the chat template adds for each message.
    template_tokens_per_message: int
    # The most tokens that the chat template adds for the whole request.
    template_tokens_per_request: int
    # One of `TOKENIZERS`: that of every model of the family, exactly; empty: none, and text is estimated.
    tokenizer: str = ""
    # The most tokens of one image in the input; 0: there is no bound but the context window.
    image_tokens_max: int = 0
    # None: every image counts as the largest.
    image_rule: ImageRule | None = None
    # The tokens of a second of sound; 0: there is no bound but the context window.
    sound_tokens_per_second: int = 0


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A publication from which facts of the catalog are taken."""

    # Facts name it so.
    source_id: str
    # Its name and version, for people.
    title: str
    # The day of which its facts are.
    date: datetime.date


class Energy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """GPU energy of a model's output, as it was measured: at the server's most and least economical batch."""

    # The kind of GPU.
    gpu: str
    # One of `ENERGY_UNITS`: the piece of output that took these joules.
    per: str = "output_token"
    # The task that was measured, in its source's words.
    task: str
    # The least energy of a piece.
    joules_low: Decimal
    # The requests that the server worked on at once for it.
    batch_low: int
    # The most energy of a piece.
    joules_high: Decimal
    # The requests that the server worked on at once for it.
    batch_high: int
    # The sources that measured it.
    sources: tuple[str, ...]


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to reach a model."""

    vendor_id: str
    # The model's ID at that vendor.
    vendor_model_id: str
    # Routes are tried by rising priority.
    priority: int = 0
    # The share of conversations, in proportion to the other weights of this priority.
    weight: int = 1
    # One edge has at most this many calls under way; 0: any number.
    edge_concurrency_max: int = 0
    # The tariff by which the vendor is owed; empty: the vendor's.
    wholesale_tariff_id: str = ""
    # Where the vendor works on calls, in the operator's words; empty: it is not said.
    region: str = ""
    # The only offerings whose calls may take it; empty: every offering's.
    offering_ids: tuple[str, ...] = ()
    # Calls that the contract allows the whole cell in any 60 seconds; 0: any number.
    requests_per_minute: int = 0
    # Tokens of input and output that the contract allows the whole cell in any 60 seconds; 0: any number.
    tokens_per_minute: int = 0


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model for sale."""

    # The name that clients send.
    model_id: str
    # The name that people know it by.
    display_name: str
    # The company that makes it, as shown in model lists.
    owned_by: str
    # Input and output together; of a model whose input is measured otherwise, the most input, in that measure.
    context_window_tokens: int
    # The most output of one answer, in its measure; 0 for a model that makes none, as one of embeddings.
    max_output_tokens: int
    family_id: str
    # The day of its release, for model lists; left out: it is not known.
    release_date: datetime.date | None = None
    routes: tuple[Route, ...]
    # Whether it makes output that is not streamed as it is made: then the whole output limit is reserved.
    hidden_reasoning: bool = False
    # The dialects in which it is called; empty: every dialect of its vendors in which a conversation can be had.
    dialects: tuple[str, ...] = ()
    # One of `MEASURE_NAMES`: in what its input is counted and charged.
    input_measure: str = "token"
    # One of `MEASURE_NAMES`: in what its output is counted and charged.
    output_measure: str = "token"
    # Models that may answer in its place where the subscriber allows it, in the order of trying.
    equivalent_model_ids: tuple[str, ...] = ()
    # One of `ROUTING_POLICIES`: routes are tried by weight, or by the vendors' prices of the call.
    routing: str = "weighted"
    # Other names under which clients may call it.
    aliases: tuple[str, ...] = ()
    # The day on which its maker ends it; left out: none is announced.
    sunset_date: datetime.date | None = None
    # The sources of its limits and dates; empty: its author's own word.
    sources: tuple[str, ...] = ()
    # Values of other sources that differ from those here; empty: none is known.
    conflict: str = ""
    # Empty: nothing was measured.
    energy: tuple[Energy, ...] = ()

    @property
    def makes_output(self) -> bool:
        """Whether it makes anything that is charged; a model of embeddings, and one charged by the time it listens, do not."""
        return self.input_measure == "token" and not (self.dialects and OUTPUTLESS_DIALECTS.issuperset(self.dialects))

    @property
    def only_for(self) -> frozenset[str]:
        """The only offerings that have a route to it; empty: every offering has one."""
        routes = [frozenset(route.offering_ids) for route in self.routes]
        return frozenset[str]().union(*routes) if all(routes) else frozenset()

    @property
    def charged_classes(self) -> tuple[str, ...]:
        """The token classes beside tokens in which its calls are charged."""
        sides = ((self.input_measure, True), (self.output_measure, False))
        return tuple(
            each.name for each in CLASSES if each.measure is not Measure.TOKEN and (each.measure.value, each.is_input) in sides
        )


class ModelGroup(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Models that a bucket can be limited to."""

    group_id: str
    # IDs of entries of `models`.
    model_ids: tuple[str, ...]


class ExchangeRate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The worth of a unit of the pair's first currency in its second."""

    # "USD/CNY".
    pair: str
    # Must be another one whenever the rate changes.
    version: int
    # Whole units of the second currency for one of the first, to 6 decimals.
    rate: Decimal


class Catalog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that is for sale, or the part of it that stands in one file."""

    vendors: tuple[Vendor, ...] = ()
    tokenizer_families: tuple[TokenizerFamily, ...] = ()
    models: tuple[Model, ...] = ()
    tariffs: tuple[Tariff, ...] = ()
    price_adjustments: tuple[PriceAdjustment, ...] = ()
    offerings: tuple[Offering, ...] = ()
    model_groups: tuple[ModelGroup, ...] = ()
    exchange_rates: tuple[ExchangeRate, ...] = ()
    sources: tuple[Source, ...] = ()
    # The offering of an account opened without one.
    default_offering_id: str = ""
    # IANA name of the zone in which cycles and calendar windows are computed; empty: UTC.
    time_zone: str = ""
    # Languages of names that are given by language, like zh and en, in the order in which they are shown.
    languages: tuple[str, ...] = ()

    def priced_tariffs(self) -> tuple[Tariff, ...]:
        """The tariffs that calls are charged by: adjusted, and those that adjustments make."""
        return adjusted(self.tariffs, self.price_adjustments)


# The lists of a catalog, and the field that identifies an entry of each.
ID_FIELDS: Final = {
    "vendors": "vendor_id",
    "tokenizer_families": "family_id",
    "models": "model_id",
    "tariffs": "tariff_id",
    "price_adjustments": "adjustment_id",
    "offerings": "offering_id",
    "model_groups": "group_id",
    "exchange_rates": "pair",
    "sources": "source_id",
}

# Its fields that are no lists of entries: the last layer that says one counts.
SETTINGS: Final = ("default_offering_id", "time_zone", "languages")


class Flaw(msgspec.Struct, frozen=True):
    """One thing that is wrong in a catalog."""

    # The list the entry stands in, for example "models"; "" for the catalog itself.
    section: str
    # The entry's ID; "" for the catalog itself.
    entry_id: str
    # The field's path inside the entry, for example "routes[0].vendor_id".
    field: str
    # Says what is wrong and what would be right.
    message: str


def flaws(catalog: Catalog) -> Iterator[Flaw]:
    """Everything that is wrong in a whole catalog, in the order of its sections; nothing when it is valid.

    IDs are taken to be unique within their section, as putting layers over one another makes them.
    """
    for section, id_field in ID_FIELDS.items():
        for entry in getattr(catalog, section):
            entry_id = getattr(entry, id_field)
            if not _ID.fullmatch(entry_id):
                yield Flaw(section, entry_id, id_field, f"must be letters, digits and . _ : / @ + - only; it is {entry_id!r}")
    tariffs = {tariff.tariff_id: tariff for tariff in catalog.priced_tariffs()}
    for section, entry_flaws in _checks(catalog, tariffs).items():
        for entry in getattr(catalog, section):
            for field, message in entry_flaws(entry):
                yield Flaw(section, getattr(entry, ID_FIELDS[section]), field, message)
    for model_id, field, message in (
        *_dedication_flaws(catalog),
        *_equivalents_flaws({model.model_id: model for model in catalog.models}),
        *_alias_flaws(catalog.models),
    ):
        yield Flaw("models", model_id, field, message)
    for section, entry_id, field, message in (*_wholesale_flaws(catalog, tariffs), *_source_flaws(catalog)):
        yield Flaw(section, entry_id, field, message)
    if catalog.time_zone and catalog.time_zone not in time_zones():
        yield Flaw("", "", "time_zone", f"must be an IANA name like Asia/Shanghai; it is {catalog.time_zone!r}")
    for index, language in enumerate(catalog.languages):
        if not _LANGUAGE.fullmatch(language) or language in catalog.languages[:index]:
            yield Flaw("", "", "languages", f"must be language codes like zh or en, each once; one is {language!r}")
    for message in _default_offering_flaws(catalog):
        yield Flaw("", "", "default_offering_id", message)


def _checks(catalog: Catalog, tariffs: Mapping[str, Tariff]) -> dict[str, Callable[[Any], Iterable[FieldFlaw]]]:
    """By section: the flaws of one of its entries. `tariffs`: those that calls are charged by."""
    own = {tariff.tariff_id: tariff for tariff in catalog.tariffs}
    spoken = {vendor.vendor_id: filled(vendor).keys() for vendor in catalog.vendors}
    family_ids = {family.family_id for family in catalog.tokenizer_families}
    model_ids = {model.model_id for model in catalog.models}
    charged = {model.model_id: model.charged_classes for model in catalog.models if model.charged_classes}
    sale = Sale(
        model_ids,
        {group.group_id for group in catalog.model_groups},
        _ordered_ids(catalog),
        {tariff_id: (tariff.unit, tariff.currency, tariff.rated_models()) for tariff_id, tariff in tariffs.items()},
        {each.pair for each in catalog.exchange_rates},
        {route.region for model in catalog.models for route in model.routes if route.region},
        catalog.languages,
    )
    return {
        "vendors": lambda vendor: (*missing_flaws(vendor), *vendor_flaws(vendor)),
        "tokenizer_families": _family_flaws,
        "models": lambda model: _model_flaws(model, spoken, family_ids),
        "tariffs": lambda tariff: tariff_flaws(tariff, model_ids, charged),
        "price_adjustments": lambda adjustment: (
            tuple(adjustment_flaws(adjustment, own, catalog.price_adjustments, model_ids, charged))
            # Those of what it makes would say the same again.
            or product_flaws(tariffs, adjustment)
        ),
        "model_groups": lambda group: _group_flaws(group, model_ids),
        "exchange_rates": _exchange_flaws,
        "sources": lambda source: text_flaws("title", source.title),
        "offerings": lambda offering: offering_flaws(offering, sale),
    }


def _ordered_ids(catalog: Catalog) -> set[str]:
    sold = (offering for offering in catalog.offerings if not offering.withdrawn and not offering.only_granted)
    return {offering.offering_id for offering in sold if offering.is_ordered}


def _default_offering_flaws(catalog: Catalog) -> Iterator[str]:
    offering_ids = {offering.offering_id for offering in catalog.offerings}
    default = next((each for each in catalog.offerings if each.offering_id == catalog.default_offering_id), None)
    if default is not None and default.is_ordered:
        yield f"{catalog.default_offering_id!r} is to be ordered; name one without cycle and allowances"
    elif default is not None and default.withdrawn:
        yield f"{catalog.default_offering_id!r} is withdrawn; name one on which accounts are opened"
    if not catalog.default_offering_id:
        yield "is missing; name the offering of an account opened without one"
    elif catalog.default_offering_id not in offering_ids:
        yield unknown("offering", catalog.default_offering_id, offering_ids)


def flaws_of_change(before: Catalog, after: Catalog) -> Iterator[Flaw]:
    """Everything that is wrong in going from one valid catalog to another.

    One version may stand for one set of rates only, because a record names the tariff and its version. A lower version is
    right: that is how a change is taken back.
    """
    tariffs_before = {tariff.tariff_id: charges_by_version(tariff) for tariff in before.priced_tariffs()}
    adjustments = {each.tariff_id or each.of_tariff_id: each for each in after.price_adjustments}
    for tariff in after.priced_tariffs():
        old = tariffs_before.get(tariff.tariff_id, {})
        charges = charges_by_version(tariff)
        adjustment = adjustments.get(tariff.tariff_id)
        for (version, charge), priced in zip(charges.items(), priced_versions(tariff), strict=True):
            if old.get(version, charge) == charge:
                continue
            free = max(*old, *charges) + 1
            if adjustment is None:
                message = f"must change when unit, currency or rates change; it is still {version}: make it {free}"
                yield Flaw("tariffs", tariff.tariff_id, priced.field, message)
            else:
                right = adjustment.version + free - version
                message = f"must change: {tariff.tariff_id!r} would have version {version} again, with other rates; make it {right}"
                yield Flaw("price_adjustments", adjustment.adjustment_id, "version", message)
    rates_before = {each.pair: each for each in before.exchange_rates}
    for each in after.exchange_rates:
        old_rate = rates_before.get(each.pair)
        if old_rate is not None and old_rate.version == each.version and old_rate.rate != each.rate:
            message = f"must change when the rate changes; it is still {each.version}: make it {each.version + 1}"
            yield Flaw("exchange_rates", each.pair, "version", message)


def _family_flaws(family: TokenizerFamily) -> Iterator[FieldFlaw]:
    yield from whole_flaws("letters_per_token_milli", family.letters_per_token_milli, 1, INT32_MAX)
    yield from whole_flaws("tokens_per_cjk_character_milli", family.tokens_per_cjk_character_milli, 1, INT32_MAX)
    yield from whole_flaws("template_tokens_per_message", family.template_tokens_per_message, 0, INT32_MAX)
    yield from whole_flaws("template_tokens_per_request", family.template_tokens_per_request, 0, INT32_MAX)
    if family.tokenizer:
        yield from choice_flaws("tokenizer", family.tokenizer, TOKENIZERS)
    yield from whole_flaws("image_tokens_max", family.image_tokens_max, 0, INT32_MAX)
    yield from whole_flaws("sound_tokens_per_second", family.sound_tokens_per_second, 0, INT32_MAX)
    if family.image_rule is not None:
        yield from _image_rule_flaws(family.image_rule, family.image_tokens_max)


def _image_rule_flaws(rule: ImageRule, tokens_max: int) -> Iterator[FieldFlaw]:
    if not tokens_max:
        yield "image_rule", "has no bound: give image_tokens_max too, the most tokens of an image of any size"
    yield from whole_flaws("image_rule.square_pixels", rule.square_pixels, 1, INT32_MAX)
    yield from whole_flaws("image_rule.square_tokens_milli", rule.square_tokens_milli, 1, INT32_MAX)
    for name in ("base_tokens", "tokens_min", "low_detail_tokens"):
        if (tokens := getattr(rule, name)) > tokens_max > 0:
            yield f"image_rule.{name}", f"must not exceed image_tokens_max, {tokens_max}; it is {tokens}"
        yield from whole_flaws(f"image_rule.{name}", tokens, 0, INT32_MAX)
    yield from whole_flaws("image_rule.short_side_pixels", rule.short_side_pixels, 0, INT32_MAX)


def _model_flaws(model: Model, spoken: Mapping[str, Collection[str]], family_ids: set[str]) -> Iterator[FieldFlaw]:
    """`spoken`: the dialects of each vendor."""
    yield from text_flaws("display_name", model.display_name)
    yield from text_flaws("owned_by", model.owned_by)
    yield from _measure_flaws(model)
    yield from whole_flaws("context_window_tokens", model.context_window_tokens, 1, INT64_MAX)
    if model.makes_output:
        yield from whole_flaws("max_output_tokens", model.max_output_tokens, 1, INT64_MAX)
    elif model.max_output_tokens:
        yield (
            "max_output_tokens",
            f"must be 0 for a model that is charged for its input alone; it is {model.max_output_tokens}",
        )
    if model.output_measure == "image" and model.max_output_tokens != 1:
        yield (
            "max_output_tokens",
            f"must be 1 for a model that is charged by the image: an answer is one; it is {model.max_output_tokens}",
        )
    if model.max_output_tokens > model.context_window_tokens and model.input_measure == "token":
        message = f"must not exceed context_window_tokens, {model.context_window_tokens}; it is {model.max_output_tokens}"
        yield "max_output_tokens", message
    if model.family_id not in family_ids:
        yield "family_id", unknown("tokenizer family", model.family_id, family_ids)
    if not model.routes:
        yield "routes", "must have at least one route to a vendor"
    ways: set[tuple[str, str]] = set()
    for index, route in enumerate(model.routes):
        field = f"routes[{index}]"
        if route.vendor_id not in spoken:
            yield f"{field}.vendor_id", unknown("vendor", route.vendor_id, spoken)
        yield from text_flaws(f"{field}.vendor_model_id", route.vendor_model_id)
        yield from whole_flaws(f"{field}.priority", route.priority, 0, INT32_MAX)
        yield from whole_flaws(f"{field}.weight", route.weight, 1, WEIGHT_MAX)
        yield from whole_flaws(f"{field}.edge_concurrency_max", route.edge_concurrency_max, 0, CONCURRENCY_MAX)
        for name in ("requests_per_minute", "tokens_per_minute"):
            yield from whole_flaws(f"{field}.{name}", getattr(route, name), 0, PER_MINUTE_MAX)
        if route.region:
            yield from region_flaws(f"{field}.region", route.region)
        if (route.vendor_id, route.vendor_model_id) in ways:
            yield field, f"leads to {route.vendor_model_id!r} of {route.vendor_id!r} a second time; keep one of them"
        ways.add((route.vendor_id, route.vendor_model_id))
    yield from choice_flaws("routing", model.routing, ROUTING_POLICIES)
    yield from _dialects_flaws(model, spoken)
    for index, energy in enumerate(model.energy):
        yield from _energy_flaws(f"energy[{index}]", energy)


def _energy_flaws(field: str, energy: Energy) -> Iterator[FieldFlaw]:
    yield from text_flaws(f"{field}.gpu", energy.gpu)
    yield from text_flaws(f"{field}.task", energy.task)
    yield from choice_flaws(f"{field}.per", energy.per, ENERGY_UNITS)
    for name in ("batch_low", "batch_high"):
        yield from whole_flaws(f"{field}.{name}", getattr(energy, name), 1, INT32_MAX)
    # Only numbers can be compared.
    comparable = True
    for name in ("joules_low", "joules_high"):
        try:
            micro_amount(getattr(energy, name))
        except ValueError as error:
            comparable = False
            yield f"{field}.{name}", str(error)
    if comparable and energy.joules_low > energy.joules_high:
        yield f"{field}.joules_high", f"must be at least joules_low, {energy.joules_low}; it is {energy.joules_high}"
    if not energy.sources:
        yield f"{field}.sources", "must name the source that measured it"


def _measure_flaws(model: Model) -> Iterator[FieldFlaw]:
    """A model has measures that its dialects can count, each of them."""
    dialects = model.dialects or ("openai_chat",)
    for side, field in enumerate(("input_measure", "output_measure")):
        measure = getattr(model, field)
        for dialect in dialects:
            right = MEASURES.get(dialect, _IN_TOKENS)[side]
            if measure not in right:
                yield field, f"must be {' or '.join(right)} for a model that is called in {dialect}; it is {measure!r}"
                break


def _dedication_flaws(catalog: Catalog) -> Iterator[tuple[str, str, str]]:
    """Routes that name offerings which are not there."""
    offering_ids = {offering.offering_id for offering in catalog.offerings}
    for model in catalog.models:
        for index, route in enumerate(model.routes):
            for number, offering_id in enumerate(route.offering_ids):
                field = f"routes[{index}].offering_ids[{number}]"
                if offering_id not in offering_ids:
                    yield model.model_id, field, unknown("offering", offering_id, offering_ids)
                elif offering_id in route.offering_ids[:number]:
                    yield model.model_id, field, f"{offering_id!r} stands here already; keep one of them"


def _alias_flaws(models: Iterable[Model]) -> Iterator[tuple[str, str, str]]:
    """Names that would stand for two models."""
    owners = {model.model_id: model.model_id for model in models}
    for model in models:
        for index, alias in enumerate(model.aliases):
            field = f"aliases[{index}]"
            if not _ID.fullmatch(alias):
                yield model.model_id, field, f"must be letters, digits and . _ : / @ + - only; it is {alias!r}"
            elif alias in owners:
                yield model.model_id, field, f"{alias!r} is a name of {owners[alias]!r} already; keep one of them"
            owners.setdefault(alias, model.model_id)


def _source_flaws(catalog: Catalog) -> Iterator[tuple[str, str, str, str]]:
    """Facts whose source is nowhere described."""
    known = {source.source_id for source in catalog.sources}
    for section, entry_id, field, named in _named_sources(catalog):
        for index, source_id in enumerate(named):
            if source_id not in known:
                yield section, entry_id, f"{field}[{index}]", unknown("source", source_id, known)


def _named_sources(catalog: Catalog) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    for model in catalog.models:
        yield "models", model.model_id, "sources", model.sources
        for index, energy in enumerate(model.energy):
            yield "models", model.model_id, f"energy[{index}].sources", energy.sources
    for tariff in catalog.tariffs:
        versions: list[tuple[str, Tariff | TariffVersion]] = [("", tariff)]
        versions += ((f"upcoming[{number}].", each) for number, each in enumerate(tariff.upcoming))
        for prefix, of in versions:
            windows = ((f"{prefix}windows[{number}].rates", window.rates) for number, window in enumerate(of.windows))
            for field, rows in ((f"{prefix}rates", of.rates), *windows):
                for index, row in enumerate(rows):
                    yield "tariffs", tariff.tariff_id, f"{field}[{index}].sources", row.sources
    for adjustment in catalog.price_adjustments:
        for index, row in enumerate(adjustment.rates):
            yield "price_adjustments", adjustment.adjustment_id, f"rates[{index}].sources", row.sources


def _equivalents_flaws(models: Mapping[str, Model]) -> Iterator[tuple[str, str, str]]:
    """Equivalents for which the reservation and the count of a call would not hold."""
    for model in models.values():
        for index, model_id in enumerate(model.equivalent_model_ids):
            message = ""
            other = models.get(model_id)
            if other is None:
                message = unknown("model", model_id, models)
            elif model_id == model.model_id or model_id in model.equivalent_model_ids[:index]:
                message = f"{model_id!r} is the model itself, or stands here already; leave it out"
            elif other.family_id != model.family_id:
                message = (
                    f"{model_id!r} is of the family {other.family_id!r}; name models of {model.family_id!r}, which count alike"
                )
            elif (other.input_measure, other.output_measure) != (model.input_measure, model.output_measure):
                message = f"{model_id!r} is charged in other measures, so that its calls are reserved otherwise; leave it out"
            elif other.hidden_reasoning and not model.hidden_reasoning:
                message = f"{model_id!r} has hidden_reasoning, so that its calls are reserved otherwise; leave it out"
            elif circle := _circle(model.model_id, model_id, models):
                message = f"leads back to this model, by {' to '.join(circle)}; leave it out of one of them"
            else:
                for name in ("context_window_tokens", "max_output_tokens"):
                    if getattr(other, name) < (least := getattr(model, name)):
                        message = f"{model_id!r} has {name} {getattr(other, name)}, which must be at least this model's, {least}"
            if message:
                yield model.model_id, f"equivalent_model_ids[{index}]", message


def _circle(model_id: str, other_id: str, models: Mapping[str, Model]) -> list[str]:
    """A way by equivalents from a model, over another one, back to it; empty: there is none."""
    came_from = {other_id: model_id}
    waiting = [other_id]
    while waiting:
        at = waiting.pop()
        if at == model_id:
            way = [at]
            while len(way) == 1 or way[-1] != model_id:
                way.append(came_from[way[-1]])
            return way[::-1]
        for each in models[at].equivalent_model_ids if at in models else ():
            if each not in came_from:
                came_from[each] = at
                waiting.append(each)
    return []


def _dialects_flaws(model: Model, spoken: Mapping[str, Collection[str]]) -> Iterator[FieldFlaw]:
    vendors = sorted({route.vendor_id for route in model.routes})
    for index, dialect in enumerate(model.dialects):
        field = f"dialects[{index}]"
        if dialect not in DIALECTS:
            yield from choice_flaws(field, dialect, DIALECTS)
        elif dialect in model.dialects[:index]:
            yield field, f"{dialect!r} stands here already; keep one of them"
        elif vendors and not any(dialect in spoken.get(vendor_id, ()) for vendor_id in vendors):
            yield field, f"is spoken by no vendor of its routes; give {' or '.join(vendors)} endpoints.{dialect}, or leave it out"


def _wholesale_flaws(catalog: Catalog, tariffs: dict[str, Tariff]) -> Iterator[tuple[str, str, str, str]]:
    for vendor in catalog.vendors:
        if vendor.wholesale_tariff_id:
            for message in _wholesale_flaw(vendor.wholesale_tariff_id, tariffs):
                yield "vendors", vendor.vendor_id, "wholesale_tariff_id", message
    for model in catalog.models:
        for index, route in enumerate(model.routes):
            if route.wholesale_tariff_id:
                field = f"routes[{index}].wholesale_tariff_id"
                yield from (("models", model.model_id, field, each) for each in _wholesale_flaw(route.wholesale_tariff_id, tariffs))
                tariff = tariffs.get(route.wholesale_tariff_id)
                if tariff is not None and not tariff.rates_model(model.model_id):
                    yield "models", model.model_id, field, f"{route.wholesale_tariff_id!r} has no rates for {model.model_id!r}"


def _wholesale_flaw(tariff_id: str, tariffs: dict[str, Tariff]) -> Iterator[str]:
    tariff = tariffs.get(tariff_id)
    if tariff is None:
        yield unknown("tariff", tariff_id, tariffs)
    elif tariff.unit != "CURRENCY":
        yield f"must name a tariff of the unit CURRENCY; {tariff_id!r} has {tariff.unit}"


def _group_flaws(group: ModelGroup, model_ids: set[str]) -> Iterator[FieldFlaw]:
    if not group.model_ids:
        yield "model_ids", "must have at least one model"
    for index, model_id in enumerate(group.model_ids):
        if model_id not in model_ids:
            yield f"model_ids[{index}]", unknown("model", model_id, model_ids)
        elif model_id in group.model_ids[:index]:
            yield f"model_ids[{index}]", f"{model_id!r} stands in this group already; keep one of them"


def _exchange_flaws(rate: ExchangeRate) -> Iterator[FieldFlaw]:
    if not _PAIR.fullmatch(rate.pair) or rate.pair[:3] == rate.pair[4:]:
        yield "pair", f"must be two ISO 4217 codes like USD/CNY; it is {rate.pair!r}"
    yield from whole_flaws("version", rate.version, 1, INT32_MAX)
    try:
        if micro_amount(rate.rate) < 1:
            yield "rate", f"must be above 0; it is {rate.rate}"
    except ValueError as error:
        yield "rate", str(error)
