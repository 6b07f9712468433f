"""Tariffs at a moment: of each its version in force then, and the prices that it gives."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Final, NamedTuple

from services.tariff_windows import Calendar, Hours, window_at
from services.token_classes import FIRST, TOKEN_CLASSES
from tokenline.registry.v1 import registry_pb2

_EVERY_MODEL: Final = "*"
FOR_GOOD_US: Final = 2**63 - 1


class PriceTier(NamedTuple):
    """A model's rates above a number of input tokens, by class, in micro-units per 1,000,000 of its measure."""

    above_input_tokens: int
    # The first classes, and later ones that have a rate of their own.
    rates: Mapping[str, int]


class TariffInForce:
    """A tariff's version at a moment; accounting charges sessions that begin then by the same one."""

    def __init__(self, tariff: registry_pb2.Tariff, now_us: int) -> None:
        self.tariff_id: Final = tariff.tariff_id
        # "TOKEN", "POINT" or "CURRENCY".
        self.unit: Final = registry_pb2.Unit.Name(tariff.unit).removeprefix("UNIT_")
        # ISO 4217; empty unless the unit is CURRENCY.
        self.currency: Final = tariff.currency
        # Where the prices came from and when, in words.
        self.source: Final = tariff.source
        # Its prices are shown to everybody.
        self.is_public: Final = tariff.public
        of: registry_pb2.Tariff | registry_pb2.TariffVersion = tariff
        until_us = FOR_GOOD_US
        for later in tariff.upcoming:
            begins_us = later.effective_time.ToMicroseconds()
            if begins_us > now_us:
                until_us = begins_us
                break
            of = later
        version, rows = of.version, list(of.model_rates)
        if of.windows:
            window, window_until_us = _window_at(of.windows, tariff, now_us)
            until_us = min(until_us, window_until_us)
            if window is not None:
                # Its rows take the place of those for the same models.
                version, rows = window.version, [*rows, *window.model_rates]
        self.version: Final = version
        # The moment from which another version may hold.
        self.until_us: Final = until_us
        self._everything: dict[str, tuple[PriceTier, ...]] | None = None
        self._rows = {row.model_id: row for row in rows}
        self._tiers = {row.model_id: tuple(_price_tier(tier) for tier in row.tiers) for row in rows}

    def tiers(self, model_id: str) -> tuple[PriceTier, ...] | None:
        """A model's prices by rising input; None: the tariff has none."""
        return self._tiers.get(model_id) or self._tiers.get(_EVERY_MODEL)

    def prices_of_all(self, model_ids: Iterable[str]) -> Mapping[str, tuple[PriceTier, ...]]:
        """The prices of all models of the catalog that have some; the same map for every offering that has all."""
        if self._everything is None:
            self._everything = self.prices(model_ids)
        return self._everything

    def row(self, model_id: str) -> registry_pb2.ModelRates | None:
        """The row that has a model's prices; None: the tariff has none."""
        return self._rows.get(model_id) or self._rows.get(_EVERY_MODEL)

    def prices(self, model_ids: Iterable[str]) -> dict[str, tuple[PriceTier, ...]]:
        """The prices of those of these models that have some."""
        found = ((model_id, self.tiers(model_id)) for model_id in model_ids)
        return {model_id: tiers for model_id, tiers in found if tiers is not None}


def _window_at(
    windows: Sequence[registry_pb2.TariffWindow], tariff: registry_pb2.Tariff, now_us: int
) -> tuple[registry_pb2.TariffWindow | None, int]:
    """The window in force at a moment, and a moment until which that stays so."""
    calendar = Calendar(tariff.time_zone, frozenset(map(date.fromisoformat, tariff.holidays)))
    # The contract's days are those of `DAYS`, counted from 1.
    hours = [
        [Hours(frozenset(day - 1 for day in each.days), each.begin_minute, each.end_minute) for each in window.hours]
        for window in windows
    ]
    index, until_us = window_at(hours, calendar, now_us)
    return (windows[index] if index >= 0 else None), until_us


def _price_tier(tier: registry_pb2.ContextTier) -> PriceTier:
    rates = {
        name: getattr(tier.rates, name)
        for index, name in enumerate(TOKEN_CLASSES)
        # Later classes without a rate of their own have their parent's rate.
        if index < FIRST or tier.rates.HasField(name)
    }
    return PriceTier(tier.above_input_tokens, rates)
