"""The registry's catalog, as far as charging needs it."""

from services.accounting.amounts import ContextTier, PinnedTariff, TokenRates
from services.accounting.charging import ChargingCatalog, OfferingRules
from tokenline.registry.v1 import registry_pb2


def unit_name(unit: registry_pb2.Unit, currency: str) -> str:
    """ "TOKEN", "POINT" or "CURRENCY:" and the ISO 4217 code."""
    name = registry_pb2.Unit.Name(unit).removeprefix("UNIT_")
    return f"{name}:{currency}" if unit == registry_pb2.UNIT_CURRENCY else name


def charging_catalog(catalog: registry_pb2.Catalog, validity_us: int) -> ChargingCatalog:
    """The rules that sessions pin, of a catalog that the registry has validated."""
    tariffs = {tariff.tariff_id: _pinned(tariff) for tariff in catalog.tariffs}
    return ChargingCatalog(
        offerings={
            offering.offering_id: OfferingRules(
                tariffs=tariffs[offering.tariff_id],
                model_ids=frozenset(offering.model_ids) or None,
                output_window=offering.output_window_tokens,
            )
            for offering in catalog.offerings
        },
        model_ids=frozenset(model.model_id for model in catalog.models),
        default_offering_id=catalog.default_offering_id,
        validity_us=validity_us,
    )


def _pinned(tariff: registry_pb2.Tariff) -> dict[str, PinnedTariff]:
    unit = unit_name(tariff.unit, tariff.currency)
    return {
        rates.model_id: PinnedTariff(tariff.tariff_id, tariff.version, unit, tuple(_tier(tier) for tier in rates.tiers))
        for rates in tariff.model_rates
    }


def _tier(tier: registry_pb2.ContextTier) -> ContextTier:
    rates = tier.rates
    return ContextTier(
        tier.above_input_tokens, TokenRates(rates.input, rates.cached_input, rates.cache_write, rates.output, rates.reasoning)
    )
