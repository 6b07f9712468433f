"""Adjustments of prices: rows over a tariff, and a factor, without a copy of it. Pure.

An adjustment changes a tariff where it is, or makes another one of it. It holds for every version of the tariff from its time on,
so that a price list which changes below it takes it along. Records name the sum of both versions, which is another one whenever
either changes.
"""

import datetime
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_UP, Decimal
from typing import Final, NamedTuple

import msgspec

from services.registry.rules import INT32_MAX, FieldFlaw, effective_time_flaws, micro_amount, unknown, whole_flaws
from services.registry.tariffs import (
    ContextTier,
    ModelRates,
    Rates,
    Tariff,
    TariffVersion,
    TariffWindow,
    missing_rates,
    priced_versions,
    rows_flaws,
)

# The largest version; its sum with a tariff's must be one too.
VERSION_MAX: Final = 1_000_000
_FACTOR_MAX: Final = Decimal(100)
# The last decimal of a rate.
_STEP: Final = Decimal("0.000001")


class PriceAdjustment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A change of a tariff's prices: where the tariff is, or as another one made of it."""

    adjustment_id: str
    # The tariff whose prices it changes.
    of_tariff_id: str
    # The tariff that it makes, whose unit and currency are the same; empty: it changes that one.
    tariff_id: str = ""
    # Must be another one whenever factor or rates change. Records name its sum with the tariff's own version.
    version: int
    # With an offset; left out: at once.
    effective_time: datetime.datetime | None = None
    # Multiplies the rates of all models without a row here, each rounded up to 6 decimals; left out: they stay.
    factor: Decimal | None = None
    # Rows that are added, or take the place of the tariff's own for the same model.
    rates: tuple[ModelRates, ...] = ()
    # Where the prices came from and when; empty: as the tariff says.
    source: str = ""
    # Whether the prices of the tariff that it makes are shown to everybody; those of a contract are not.
    public: bool = False


class _Point(NamedTuple):
    """Rates from a time on; None: from the beginning."""

    time: datetime.datetime | None
    version: int
    rates: tuple[ModelRates, ...]
    windows: tuple[TariffWindow, ...]


def adjusted(tariffs: Iterable[Tariff], adjustments: Iterable[PriceAdjustment]) -> tuple[Tariff, ...]:
    """The tariffs as they are charged by, and those that adjustments make, after them.

    Adjustments of one tariff hold one after the other, in their order. One that leads nowhere, or back to itself, makes nothing.
    """
    return tuple(_Adjusting(tariffs, adjustments).all())


class _Adjusting:
    def __init__(self, tariffs: Iterable[Tariff], adjustments: Iterable[PriceAdjustment]) -> None:
        self._own = {tariff.tariff_id: tariff for tariff in tariffs}
        self._making: dict[str, PriceAdjustment] = {}
        self._changing: dict[str, list[PriceAdjustment]] = {}
        for each in adjustments:
            if each.tariff_id:
                self._making.setdefault(each.tariff_id, each)
            else:
                self._changing.setdefault(each.of_tariff_id, []).append(each)

    def all(self) -> Iterator[Tariff]:
        done: dict[str, Tariff] = {}
        for tariff_id in (*self._own, *self._making):
            if (tariff := self._work_out(tariff_id, done)) is not None:
                yield tariff

    def _work_out(self, tariff_id: str, done: dict[str, Tariff]) -> Tariff | None:
        # From the tariff that no adjustment makes to the one that is asked for; a loop, because a chain may be long.
        chain: list[PriceAdjustment] = []
        at = tariff_id
        while at not in done and at not in self._own and at in self._making and len(chain) <= len(self._making):
            chain.append(self._making[at])
            at = chain[-1].of_tariff_id
        tariff = done.get(at)
        if tariff is None and at in self._own:
            tariff = done[at] = self._changed(self._own[at])
        if tariff is None:
            return None
        for making in reversed(chain):
            made = msgspec.structs.replace(_applied(tariff, making), tariff_id=making.tariff_id, public=making.public)
            tariff = done[making.tariff_id] = self._changed(made)
        return tariff

    def _changed(self, tariff: Tariff) -> Tariff:
        for each in self._changing.get(tariff.tariff_id, ()):
            tariff = _applied(tariff, each)
        return tariff


def _applied(tariff: Tariff, adjustment: PriceAdjustment) -> Tariff:
    begins = _begin(adjustment)
    points = _points(tariff)
    if begins is not None and begins not in {point.time for point in points}:
        before = [point for point in points if point.time is None or point.time < begins]
        points = [*before, before[-1]._replace(time=begins), *points[len(before) :]]
    first, *later = (_adjusted_point(point, adjustment) for point in points)
    return msgspec.structs.replace(
        tariff,
        version=first.version,
        rates=first.rates,
        windows=first.windows,
        upcoming=tuple(
            TariffVersion(version=point.version, effective_time=point.time, rates=point.rates, windows=point.windows)
            for point in later
            if point.time is not None
        ),
        source=adjustment.source or tariff.source,
    )


def _points(tariff: Tariff) -> list[_Point]:
    later = (_Point(_instant(each.effective_time), each.version, each.rates, each.windows) for each in tariff.upcoming)
    return [_Point(None, tariff.version, tariff.rates, tariff.windows), *later]


def _begin(adjustment: PriceAdjustment) -> datetime.datetime | None:
    return _instant(adjustment.effective_time) if adjustment.effective_time is not None else None


def _instant(time: datetime.datetime) -> datetime.datetime:
    """A time that can be compared also where its offset was forgotten, which is told elsewhere."""
    return time if time.tzinfo is not None else time.replace(tzinfo=datetime.UTC)


def _adjusted_point(point: _Point, adjustment: PriceAdjustment) -> _Point:
    begins = _begin(adjustment)
    if begins is not None and (point.time is None or point.time < begins):
        return point
    own = {row.model_id: row for row in adjustment.rates}
    rows = {row.model_id: _multiplied(row, adjustment.factor) for row in point.rates} | own
    # A row of an adjustment holds at all hours.
    windows = tuple(
        msgspec.structs.replace(
            window,
            version=window.version + adjustment.version,
            rates=tuple(_multiplied(row, adjustment.factor) for row in window.rates if row.model_id not in own),
        )
        for window in point.windows
    )
    return _Point(point.time, point.version + adjustment.version, tuple(rows.values()), windows)


def _multiplied(row: ModelRates, factor: Decimal | None) -> ModelRates:
    if factor is None or any(_factor_flaws(factor)):
        return row
    tiers = tuple(ContextTier(above_input_tokens=tier.above_input_tokens, **_products(tier, factor)) for tier in row.tiers)
    # The sources are of the rates that were there.
    return msgspec.structs.replace(row, tiers=tiers, sources=(), conflict="", **_products(row, factor))


def _products(rates: Rates, factor: Decimal) -> dict[str, Decimal]:
    return {name: (rate * factor).quantize(_STEP, ROUND_UP) if _in_range(rate) else rate for name, rate in rates.given().items()}


def _in_range(rate: Decimal) -> bool:
    """Whether a product of it can be rounded. A wrong rate, and one that earlier factors made too large, is refused as it is."""
    try:
        micro_amount(rate)
    except ValueError:
        return False
    return True


def adjustment_flaws(
    adjustment: PriceAdjustment,
    tariffs: Mapping[str, Tariff],
    adjustments: Iterable[PriceAdjustment],
    model_ids: set[str],
    charged: Mapping[str, tuple[str, ...]],
) -> Iterator[FieldFlaw]:
    """Everything that is wrong in an adjustment.

    `tariffs`: those that no adjustment makes. `charged`: the classes beside tokens by the models that are charged in them.
    """
    making = {each.tariff_id: each for each in adjustments if each.tariff_id}
    known = {*tariffs, *making}
    if adjustment.of_tariff_id not in known:
        yield "of_tariff_id", unknown("tariff", adjustment.of_tariff_id, known)
    elif message := _circle(adjustment, tariffs, making):
        yield "of_tariff_id", message
    if adjustment.tariff_id in tariffs:
        yield "tariff_id", f"{adjustment.tariff_id!r} is a tariff already: leave it out to change that one, or give another ID"
    elif adjustment.tariff_id and making[adjustment.tariff_id] is not adjustment:
        other = making[adjustment.tariff_id].adjustment_id
        yield "tariff_id", f"{adjustment.tariff_id!r} is made by {other!r} already; give another ID"
    if adjustment.public and not adjustment.tariff_id:
        yield "public", "goes with tariff_id only: the tariff that is changed says itself whether it is public; leave it out"
    yield from whole_flaws("version", adjustment.version, 1, VERSION_MAX)
    if adjustment.effective_time is not None:
        yield from effective_time_flaws("effective_time", adjustment.effective_time)
    if adjustment.factor is None and not adjustment.rates:
        yield "rates", "must have at least one row, or give a factor for all rates"
    if adjustment.factor is not None:
        yield from _factor_flaws(adjustment.factor)
    if adjustment.rates:
        yield from rows_flaws("rates", adjustment.rates, model_ids)
        yield from missing_rates("rates", adjustment.rates, charged)


def product_flaws(tariffs: Mapping[str, Tariff], adjustment: PriceAdjustment) -> Iterator[FieldFlaw]:
    """Everything that is wrong in the tariff that came of an adjustment, among all that calls are charged by."""
    tariff = tariffs.get(adjustment.tariff_id or adjustment.of_tariff_id)
    if tariff is None:
        return
    before = 0
    for each in priced_versions(tariff):
        if not before < each.version <= INT32_MAX:
            right = adjustment.version + before + 1 - each.version
            yield (
                "version",
                f"makes version {each.version}, which must be above {before}, the one before it in time: make it {right}",
            )
        before = max(before, each.version)
        for row in each.rows.values():
            for rates in (row, *row.tiers):
                for name, rate in rates.given().items():
                    try:
                        micro_amount(rate)
                    except ValueError as error:
                        yield "factor", f"makes a wrong rate, {name} of {row.model_id!r}: it {error}"


def _factor_flaws(factor: Decimal) -> Iterator[FieldFlaw]:
    try:
        if not 0 < micro_amount(factor) <= micro_amount(_FACTOR_MAX):
            yield "factor", f"must be above 0 and at most {_FACTOR_MAX}; it is {factor}"
    except ValueError as error:
        yield "factor", str(error)


def _circle(adjustment: PriceAdjustment, tariffs: Mapping[str, Tariff], making: Mapping[str, PriceAdjustment]) -> str:
    """Says that an adjustment leads back to itself; empty: it does not."""
    way = [adjustment.tariff_id]
    at = adjustment.of_tariff_id
    while adjustment.tariff_id and at not in tariffs and at in making and at not in way:
        way.append(at)
        at = making[at].of_tariff_id
    if at not in tariffs and at in way and adjustment.tariff_id:
        return f"leads back to itself, by {' of '.join(repr(each) for each in (*way, at))}; begin with a tariff of `tariffs`"
    return ""
