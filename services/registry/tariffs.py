"""Tariffs as their author writes them, and what must hold in each. Pure.

Rates are decimals in whole units per 1,000,000 tokens: with the unit CURRENCY and the currency USD, `input: 0.28` is 0.28
US dollars per million tokens.
"""

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from services.registry.offerings import UNITS
from services.registry.rules import (
    INT32_MAX,
    INT64_MAX,
    FieldFlaw,
    choice_flaws,
    currency_flaws,
    effective_time_flaws,
    micro_amount,
    text_flaws,
    time_zones,
    unknown,
    whole_flaws,
)
from services.tariff_windows import DAYS, MINUTES_OF_DAY, Calendar, Hours, overlaps
from services.token_classes import CLASSES, INDEX, TOKEN_CLASSES, Measure

# The model ID of a tariff row for every model without a row of its own.
EVERY_MODEL: Final = "*"


_CLOCK: Final = re.compile(r"(\d\d):([0-5]\d)", re.ASCII)

# Above these a price is taken for a mistake: a thousand units for a token, a million for an image.
_RATE_MAX: Final = {measure: Decimal(10**12 if measure is Measure.IMAGE else 10**9) for measure in Measure}


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

    # The rates are those of calls with more input than this, in tokens.
    above_input_tokens: int


class ModelRates(Rates, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tariff row: a model's rates, and the tiers that replace them for long input."""

    # "*" for every model without a row of its own.
    model_id: str
    # By rising above_input_tokens.
    tiers: tuple[ContextTier, ...] = ()
    # The sources of the rates; empty: as the tariff says.
    sources: tuple[str, ...] = ()
    # Rates of other sources that differ from these; empty: none is known.
    conflict: str = ""


class WindowHours(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Hours of some days, by the wall clock of the tariff's time zone."""

    # One of `DAYS` each. A date among the tariff's holidays is a holiday, and no weekday.
    days: tuple[str, ...]
    # The hour at which the window begins, like "08:30".
    begin: str = "00:00"
    # The hour at which it ends, later than its begin; "24:00" is midnight.
    end: str = "24:00"


class TariffWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rates of certain days and hours, such as those off peak."""

    # Identifies the window within its version.
    window_id: str
    # Above every version before it in the file: records name the window by it.
    version: int
    # Hours that overlap with those of no other window.
    hours: tuple[WindowHours, ...]
    # Rows that take the place of those for the same models in these hours; all others stay.
    rates: tuple[ModelRates, ...]


class TariffVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tariff's rates from a time on."""

    # Above that of the version before it.
    version: int
    # With an offset.
    effective_time: datetime.datetime
    rates: tuple[ModelRates, ...]
    # Hours in which some of these rates are others.
    windows: tuple[TariffWindow, ...] = ()


class Tariff(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rates of models in one unit, with a version."""

    tariff_id: str
    # Must be another one whenever unit, currency or rates change.
    version: int
    # One of `UNITS`: tokens of any model, points by model, or money.
    unit: str
    # ISO 4217 code; for the unit CURRENCY, and only for it.
    currency: str = ""
    # Where the prices came from and when.
    source: str = ""
    # Whether its prices are shown to everybody, by GET /v1/prices.
    public: bool = False
    rates: tuple[ModelRates, ...]
    # Versions that replace version, rates and windows from a time on, by rising time.
    upcoming: tuple[TariffVersion, ...] = ()
    # Hours in which some of the rates are others.
    windows: tuple[TariffWindow, ...] = ()
    # IANA name of the zone of the windows' days and hours; goes with windows only.
    time_zone: str = ""
    # Dates that are a holiday in the windows, and no weekday; go with windows only.
    holidays: tuple[datetime.date, ...] = ()

    def rated_models(self) -> set[str] | None:
        """The models that every version of the tariff has rates for; None: all."""
        versions = [{row.model_id for row in rows} for rows in (self.rates, *(each.rates for each in self.upcoming))]
        partial = [model_ids for model_ids in versions if EVERY_MODEL not in model_ids]
        return set.intersection(*partial) if partial else None

    def calendar(self) -> Calendar:
        """The calendar of its windows."""
        return Calendar(self.time_zone or "UTC", frozenset(self.holidays))

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
    yield from _windows_flaws("", tariff, model_ids, charged)
    yield from _calendar_flaws(tariff)
    version, time = _last_version(tariff), None
    for index, each in enumerate(tariff.upcoming):
        field = f"upcoming[{index}]"
        if each.version <= version:
            yield f"{field}.version", f"must be above {version}, the version before it; it is {each.version}"
        yield from effective_time_flaws(f"{field}.effective_time", each.effective_time)
        if time is not None and each.effective_time.tzinfo and time.tzinfo and each.effective_time <= time:
            yield f"{field}.effective_time", "must be later than that of the version before it"
        version, time = _last_version(each), each.effective_time
        yield from rows_flaws(f"{field}.rates", each.rates, model_ids)
        yield from missing_rates(f"{field}.rates", each.rates, charged)
        yield from _windows_flaws(f"{field}.", each, model_ids, charged)


def _last_version(of: Tariff | TariffVersion) -> int:
    return of.windows[-1].version if of.windows else of.version


def _calendar_flaws(tariff: Tariff) -> Iterator[FieldFlaw]:
    if tariff.windows or any(each.windows for each in tariff.upcoming):
        if tariff.time_zone not in time_zones():
            yield "time_zone", f"must be an IANA name like Asia/Shanghai, since windows are hours there; it is {tariff.time_zone!r}"
    else:
        for name in ("time_zone", "holidays"):
            if getattr(tariff, name):
                yield name, "goes with windows only; leave it out"
    for index, date in enumerate(tariff.holidays):
        if date in tariff.holidays[:index]:
            yield f"holidays[{index}]", f"{date} stands here already; keep one of them"


def _windows_flaws(
    prefix: str, of: Tariff | TariffVersion, model_ids: set[str], charged: Mapping[str, tuple[str, ...]]
) -> Iterator[FieldFlaw]:
    """Everything that is wrong in the windows of a version, whose fields begin with `prefix`."""
    version, seen = of.version, set[str]()
    rated = {row.model_id for row in of.rates}
    readable = True
    for index, window in enumerate(of.windows):
        field = f"{prefix}windows[{index}]"
        yield from text_flaws(f"{field}.window_id", window.window_id)
        if window.window_id in seen:
            yield f"{field}.window_id", f"{window.window_id!r} stands in this version already; give another one"
        seen.add(window.window_id)
        if not version < window.version <= INT32_MAX:
            yield f"{field}.version", f"must be above {version}, the version before it; it is {window.version}"
        version = window.version
        for name, message in _hours_flaws(window):
            readable = False
            yield f"{field}.{name}", message
        yield from rows_flaws(f"{field}.rates", window.rates, model_ids)
        yield from missing_rates(f"{field}.rates", window.rates, charged)
        for number, row in enumerate(window.rates):
            if row.model_id not in rated:
                message = (
                    f"{row.model_id!r} has no row in {prefix}rates, so that it would have no price at other hours; add one there"
                )
                yield f"{field}.rates[{number}].model_id", message
    if readable:
        for later, number, earlier, day, minute in overlaps([hours_of(window) for window in of.windows]):
            message = (
                f"overlaps the window {of.windows[earlier].window_id!r} on {DAYS[day]} at {_clock(minute)}; a moment has one price"
            )
            yield f"{prefix}windows[{later}].hours[{number}]", message


def _hours_flaws(window: TariffWindow) -> Iterator[FieldFlaw]:
    if not window.hours:
        yield "hours", "must have at least one span"
    for index, hours in enumerate(window.hours):
        field = f"hours[{index}]"
        if not hours.days:
            yield f"{field}.days", f"must have at least one of {', '.join(DAYS)}"
        for number, day in enumerate(hours.days):
            yield from choice_flaws(f"{field}.days[{number}]", day, DAYS)
        minutes = []
        for name in ("begin", "end"):
            text = getattr(hours, name)
            if (minute := _minute(text)) is None:
                yield f"{field}.{name}", f'must be an hour of the day from "00:00" to "24:00", in quotes; it is {text!r}'
            else:
                minutes.append(minute)
        if len(minutes) == 2 and minutes[0] >= minutes[1]:
            message = (
                f"must be later than begin, {hours.begin}; for a window past midnight write one up to 24:00 and one from 00:00"
            )
            yield f"{field}.end", message


def _minute(text: str) -> int | None:
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    minute = int(found[1]) * 60 + int(found[2])
    return minute if minute <= MINUTES_OF_DAY else None


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def hours_of(window: TariffWindow) -> tuple[Hours, ...]:
    """The hours of a valid window."""
    return tuple(
        Hours(frozenset(map(DAYS.index, each.days)), _minute(each.begin) or 0, _minute(each.end) or 0) for each in window.hours
    )


def hours_text(window: TariffWindow) -> str:
    """The hours of a valid window, for people."""
    by_days: dict[tuple[str, ...], list[str]] = {}
    for each in window.hours:
        by_days.setdefault(each.days, []).append(f"{each.begin} to {each.end}")
    return "; ".join(f"{_days_text(days)} {', '.join(hours)}" for days, hours in by_days.items())


def _days_text(days: Sequence[str]) -> str:
    """Days by their names, and three or more in a row by the first and the last of them."""
    runs: list[list[int]] = []
    for day in sorted(map(DAYS.index, days)):
        if runs and day == runs[-1][-1] + 1 and DAYS[day] != "holiday":
            runs[-1].append(day)
        else:
            runs.append([day])
    return ", ".join(f"{DAYS[run[0]]} to {DAYS[run[-1]]}" if len(run) > 2 else ", ".join(DAYS[day] for day in run) for run in runs)


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
        else:
            measure = CLASSES[INDEX[token_class]].measure
            if rate > (most := _RATE_MAX[measure]):
                message = f"is absurd: it is {rate:f} per 1,000,000, and a rate at most {most:f}; was it given in micro-units?"
                yield f"{field}.{token_class}", message


class PricedVersion(NamedTuple):
    """Rows that a version of a tariff stands for: of the tariff from a time on, or of one of its windows."""

    # The path of the version's field.
    field: str
    version: int
    rows: Mapping[str, ModelRates]


def priced_versions(tariff: Tariff) -> Iterator[PricedVersion]:
    """All versions of a tariff, those of windows with the rows that stay in them, in the order of their fields."""
    parts: list[tuple[str, Tariff | TariffVersion]] = [("", tariff)]
    parts += [(f"upcoming[{index}].", each) for index, each in enumerate(tariff.upcoming)]
    for prefix, of in parts:
        rows = {row.model_id: row for row in of.rates}
        yield PricedVersion(f"{prefix}version", of.version, rows)
        for index, window in enumerate(of.windows):
            own = rows | {row.model_id: row for row in window.rates}
            yield PricedVersion(f"{prefix}windows[{index}].version", window.version, own)


def charges_by_version(tariff: Tariff) -> dict[int, tuple[str, str, dict[str, list[tuple[int, dict[str, Decimal]]]]]]:
    """The rates of each version of a tariff, without regard to the order of its rows and the way its numbers are written."""
    return {
        each.version: (
            tariff.unit,
            tariff.currency,
            {
                model_id: [(-1, row.by_class()), *((tier.above_input_tokens, tier.by_class()) for tier in row.tiers)]
                for model_id, row in each.rows.items()
            },
        )
        for each in priced_versions(tariff)
    }
