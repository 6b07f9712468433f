"""The shelf: the models that each offering sells at a moment, at which prices; and a change of it. Pure."""

import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from services.registry.catalog import ID_FIELDS, SETTINGS, Catalog
from services.registry.offerings import Offering
from services.registry.tariffs import EVERY_MODEL, ModelRates, Rates, Tariff, TariffWindow, hours_of
from services.tariff_windows import next_begin_us, window_at

# Told as moves of prices, and not field by field.
_PRICED: Final = {"tariffs": ("rates", "upcoming", "windows"), "price_adjustments": ("rates",)}


class PriceMove(msgspec.Struct, frozen=True, kw_only=True):
    """A rate that is another one afterwards, per 1,000,000 of its measure."""

    tariff_id: str
    model_id: str
    token_class: str
    # Only of calls with more input than this; -1: of all.
    above_input_tokens: int = -1
    # None: there was no such rate, or there is none.
    before: Decimal | None
    after: Decimal | None
    # Offerings that sell the model by this tariff, before or after.
    offering_ids: tuple[str, ...]

    @property
    def percent(self) -> Decimal | None:
        """The change in percent, to one decimal; None where one of the rates is missing, or was 0."""
        if not self.before or self.after is None:
            return None
        return ((self.after - self.before) * 100 / self.before).quantize(Decimal("0.1"))


class MomentChange(msgspec.Struct, frozen=True, kw_only=True):
    """The difference that a change makes from a moment on."""

    # None: at once.
    moment: datetime.datetime | None
    # By model: offerings that no longer sell it, or sell it from now on.
    leaves: dict[str, tuple[str, ...]]
    comes: dict[str, tuple[str, ...]]
    # Models that no offering sells any more.
    off_sale: tuple[str, ...]
    moves: tuple[PriceMove, ...]

    def models_of(self, offering_id: str) -> tuple[str, ...]:
        """The models that an offering sells from this moment on, and did not before."""
        return tuple(model_id for model_id, offering_ids in self.comes.items() if offering_id in offering_ids)

    def comes_beside(self, added: Collection[str]) -> dict[str, tuple[str, ...]]:
        """`comes` without the offerings in `added`."""
        others = {model_id: tuple(each for each in ids if each not in added) for model_id, ids in self.comes.items()}
        return {model_id: ids for model_id, ids in others.items() if ids}


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """A change of an entry that is none of prices."""

    # "added", "removed" or "changed".
    kind: str
    # The list it stands in; empty for the catalog itself.
    section: str
    entry_id: str
    # The field's path in a changed entry, and its values; None: it is left out.
    field: str = ""
    before: Any = None
    after: Any = None


class ShelfChange(msgspec.Struct, frozen=True, kw_only=True):
    """The whole difference between two catalogs."""

    # By rising moment, the first one now.
    moments: tuple[MomentChange, ...]
    fields: tuple[FieldChange, ...]
    # Parts from 0 to 1: of the models on sale, those that leave an offering; of the prices of models in tariffs, those that move.
    models_share: float
    prices_share: float

    @property
    def added_offerings(self) -> tuple[str, ...]:
        """Offerings that are new, all of whose models come with them."""
        return tuple(each.entry_id for each in self.fields if each.kind == "added" and each.section == "offerings")

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not self.fields and not any(each.leaves or each.comes or each.moves for each in self.moments)


class _Prices(NamedTuple):
    """A tariff's rows in force at a moment."""

    rows: Mapping[str, ModelRates]

    def row(self, model_id: str) -> ModelRates | None:
        return self.rows.get(model_id) or self.rows.get(EVERY_MODEL)


class Shelf:
    """A valid catalog's shelf at a moment."""

    def __init__(self, catalog: Catalog, moment: datetime.datetime) -> None:
        tariffs = {tariff.tariff_id: _Prices(rows_at(tariff, moment)[1]) for tariff in catalog.priced_tariffs()}
        self._model_ids = frozenset(model.model_id for model in catalog.models)
        rated = {
            tariff_id: self._model_ids if EVERY_MODEL in prices.rows else self._model_ids.intersection(prices.rows)
            for tariff_id, prices in tariffs.items()
        }
        self.tariffs: Final = tariffs
        # By tariff: models that it has prices for.
        self.rated: Final = rated
        dedicated = {model.model_id: only_for for model in catalog.models if (only_for := model.only_for)}
        # By offering: the models that it sells, and the tariffs by which it does.
        self.sold: Final = {
            offering.offering_id: _sold_by(offering, rated[offering.tariff_id], dedicated) for offering in catalog.offerings
        }
        self.sold_by: Final = {
            offering.offering_id: frozenset({offering.tariff_id, offering.overage_tariff_id} - {""})
            for offering in catalog.offerings
        }

    def on_sale(self) -> frozenset[str]:
        """Models that any offering sells."""
        return frozenset[str]().union(*set(self.sold.values()))


def _sold_by(offering: Offering, rated: frozenset[str], dedicated: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The models that an offering sells of those that its tariff rates. `dedicated`: models, with whom they are for."""
    sold = rated.intersection(offering.model_ids) if offering.model_ids else rated
    closed = [model_id for model_id, only_for in dedicated.items() if offering.offering_id not in only_for]
    return sold.difference(closed) if closed else sold


def rows_at(tariff: Tariff, moment: datetime.datetime) -> tuple[int, dict[str, ModelRates]]:
    """The version of a tariff that is in force at a moment, and its rows by model."""
    version, rows = tariff.version, tariff.rates
    windows = tariff.windows
    for each in tariff.upcoming:
        if each.effective_time <= moment:
            version, rows, windows = each.version, each.rates, each.windows
    found = {row.model_id: row for row in rows}
    if (index := window_in_force(tariff, windows, moment)) >= 0:
        version = windows[index].version
        found |= {row.model_id: row for row in windows[index].rates}
    return version, found


def window_in_force(tariff: Tariff, windows: Sequence[TariffWindow], moment: datetime.datetime) -> int:
    """The index of the one among a version's windows that is in force at a moment; -1: none."""
    if not windows:
        return -1
    return window_at([hours_of(window) for window in windows], tariff.calendar(), microseconds(moment))[0]


def microseconds(moment: datetime.datetime) -> int:
    """A moment in microseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000


def change_of(before: Catalog, after: Catalog, now: datetime.datetime) -> ShelfChange:
    """The difference from now on between two valid catalogs; what is told of a moment is not told again of a later one."""
    moments, told = [], _Told()
    for moment in (now, *_later_moments(before, after, now)):
        change = _at(Shelf(before, moment), Shelf(after, moment), moment if moment != now else None, told)
        if change.moment is None or change.leaves or change.comes or change.moves:
            moments.append(change)
    shelf = Shelf(before, now)
    models, prices = len(shelf.on_sale()), sum(map(len, shelf.rated.values()))
    return ShelfChange(
        moments=tuple(moments),
        fields=tuple(_field_changes(before, after)),
        models_share=len(told.leaving) / models if models else 0.0,
        prices_share=len(told.moved) / prices if prices else 0.0,
    )


class _Told:
    """Everything told of earlier moments."""

    def __init__(self) -> None:
        self.leaves: set[tuple[str, str]] = set()
        self.comes: set[tuple[str, str]] = set()
        self.moves: set[PriceMove] = set()
        # Models that leave an offering, and prices that were there and move, by tariff and model.
        self.leaving: set[str] = set()
        self.moved: set[tuple[str, str]] = set()


def _later_moments(before: Catalog, after: Catalog, now: datetime.datetime) -> list[datetime.datetime]:
    tariffs = (*before.priced_tariffs(), *after.priced_tariffs())
    later = {each.effective_time for tariff in tariffs for each in tariff.upcoming if each.effective_time > now}
    # Hours that other prices have: the next time at which each window begins, in each version that has it.
    for tariff in tariffs:
        for begin, windows in ((now, tariff.windows), *((max(now, each.effective_time), each.windows) for each in tariff.upcoming)):
            for window in windows:
                next_us = next_begin_us(hours_of(window), tariff.calendar(), microseconds(begin))
                if next_us is not None:
                    later.add(datetime.datetime.fromtimestamp(next_us // 1_000_000, datetime.UTC))
    return sorted(later)


def _at(before: Shelf, after: Shelf, moment: datetime.datetime | None, told: _Told) -> MomentChange:
    nothing: frozenset[str] = frozenset()
    leaves, comes = dict[str, list[str]](), dict[str, list[str]]()
    for offering_id in sorted({*before.sold, *after.sold}):
        old, new = before.sold.get(offering_id, nothing), after.sold.get(offering_id, nothing)
        if old is new:
            continue
        for into, model_ids, seen in ((leaves, old - new, told.leaves), (comes, new - old, told.comes)):
            for model_id in sorted(model_ids):
                if (offering_id, model_id) not in seen:
                    seen.add((offering_id, model_id))
                    into.setdefault(model_id, []).append(offering_id)
    told.leaving.update(leaves)
    gone = before.on_sale() - after.on_sale()
    return MomentChange(
        moment=moment,
        leaves={model_id: tuple(offerings) for model_id, offerings in sorted(leaves.items())},
        comes={model_id: tuple(offerings) for model_id, offerings in sorted(comes.items())},
        off_sale=tuple(sorted(gone.intersection(leaves))),
        moves=tuple(_moves(before, after, told)),
    )


def _moves(before: Shelf, after: Shelf, told: _Told) -> Iterator[PriceMove]:
    for tariff_id in sorted(before.tariffs.keys() & after.tariffs.keys()):
        old, new = before.tariffs[tariff_id], after.tariffs[tariff_id]
        if old.rows == new.rows:
            continue
        concerned = sorted({*_selling(before, tariff_id), *_selling(after, tariff_id)})
        for model_id in sorted(before.rated[tariff_id] & after.rated[tariff_id]):
            rows = old.row(model_id), new.row(model_id)
            if rows[0] == rows[1]:
                continue
            offering_ids = tuple(
                each for each in concerned if model_id in before.sold.get(each, ()) or model_id in after.sold.get(each, ())
            )
            for (above, token_class), (rate, other) in _differences(*rows):
                move = PriceMove(
                    tariff_id=tariff_id,
                    model_id=model_id,
                    token_class=token_class,
                    above_input_tokens=above,
                    before=rate,
                    after=other,
                    offering_ids=offering_ids,
                )
                if move not in told.moves:
                    told.moves.add(move)
                    told.moved.add((tariff_id, model_id))
                    yield move


def _selling(shelf: Shelf, tariff_id: str) -> Iterable[str]:
    return (offering_id for offering_id, tariff_ids in shelf.sold_by.items() if tariff_id in tariff_ids)


def _differences(
    old: ModelRates | None, new: ModelRates | None
) -> Iterator[tuple[tuple[int, str], tuple[Decimal | None, Decimal | None]]]:
    """Tier and token class of each rate that differs, and both rates; without classes that follow their parent before and after."""
    tiers = [_tiers(row) if row is not None else {} for row in (old, new)]
    for above in sorted({*tiers[0], *tiers[1]}):
        one, other = tiers[0].get(above), tiers[1].get(above)
        rates = one.by_class() if one else {}, other.by_class() if other else {}
        for name in {**(one.given() if one else {}), **(other.given() if other else {})}:
            if rates[0].get(name) != rates[1].get(name):
                yield (above, name), (rates[0].get(name), rates[1].get(name))


def _tiers(row: ModelRates) -> dict[int, Rates]:
    return {-1: row, **{tier.above_input_tokens: tier for tier in row.tiers}}


def _field_changes(before: Catalog, after: Catalog) -> Iterator[FieldChange]:
    for section, id_field in ID_FIELDS.items():
        old = {getattr(entry, id_field): entry for entry in getattr(before, section)}
        new = {getattr(entry, id_field): entry for entry in getattr(after, section)}
        for entry_id in sorted({*old, *new}):
            one, other = old.get(entry_id), new.get(entry_id)
            if one == other:
                continue
            if one is None or other is None:
                yield FieldChange(kind="added" if one is None else "removed", section=section, entry_id=entry_id)
                continue
            leaves = [dict(_leaves(msgspec.to_builtins(entry, builtin_types=(Decimal,)), "")) for entry in (one, other)]
            for field in sorted({*leaves[0], *leaves[1]}):
                if leaves[0].get(field) != leaves[1].get(field) and not field.startswith(_PRICED.get(section, ("\0",))):
                    yield FieldChange(
                        kind="changed",
                        section=section,
                        entry_id=entry_id,
                        field=field,
                        before=leaves[0].get(field),
                        after=leaves[1].get(field),
                    )
    for name in SETTINGS:
        if getattr(before, name) != getattr(after, name):
            values = {"before": getattr(before, name), "after": getattr(after, name)}
            yield FieldChange(kind="changed", section="", entry_id="", field=name, **values)


def _leaves(value: Any, field: str) -> Iterator[tuple[str, Any]]:
    """Each value inside a value, with its path; lists of texts and numbers are one value."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{field}.{name}" if field else name)
    elif isinstance(value, list | tuple) and any(isinstance(each, dict) for each in value):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{field}[{index}]")
    else:
        yield field, value
