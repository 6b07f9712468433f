"""The registry's catalog, as far as charging needs it."""

import re
from collections.abc import Iterable
from datetime import date
from typing import Final

from services.accounting.core.amounts import GRANTED_MAX, NO_RATE, ContextTier, PinnedTariff, dearest_rate
from services.accounting.core.offerings import (
    CatalogContent,
    ChargingCatalog,
    Fees,
    OfferingRules,
    Schedule,
    TariffVersion,
    TariffWindow,
)
from services.accounting.core.terms import Allowance, Cycle, FinalAction, Limit, LimitKind, Payment, Period, Scope, Terms
from services.tariff_windows import Calendar, Hours
from services.token_classes import FIRST, TOKEN_CLASSES, Vector
from tokenline.registry.v1 import registry_pb2

_DAY_US: Final = 24 * 3_600 * 1_000_000


def unit_name(unit: registry_pb2.Unit, currency: str) -> str:
    """ "TOKEN", "POINT" or "CURRENCY:" and the ISO 4217 code."""
    name = registry_pb2.Unit.Name(unit).removeprefix("UNIT_")
    return f"{name}:{currency}" if unit == registry_pb2.UNIT_CURRENCY else name


def charging_catalog(catalog: registry_pb2.Catalog, validity_us: int) -> ChargingCatalog:
    """Rules that sessions and orders pin, from a catalog that the registry has validated."""
    schedules = {tariff.tariff_id: _schedule(tariff) for tariff in catalog.tariffs}
    time_zone = catalog.time_zone or "UTC"
    content = CatalogContent(
        offerings={offering.offering_id: _rules(offering, schedules, time_zone) for offering in catalog.offerings},
        model_ids=frozenset(model.model_id for model in catalog.models),
        default_offering_id=catalog.default_offering_id,
        validity_us=validity_us,
        time_zone=time_zone,
        model_groups={group.group_id: frozenset(group.model_ids) for group in catalog.model_groups},
        exchange_rates={(each.from_currency, each.to_currency): (each.rate, each.version) for each in catalog.exchange_rates},
        wholesale={
            model.model_id: tuple(
                (route.vendor_id, route.vendor_model_id, schedules[route.wholesale_tariff_id])
                for route in model.routes
                if route.wholesale_tariff_id
            )
            for model in catalog.models
        },
        priced_at_end=frozenset(vendor.vendor_id for vendor in catalog.vendors if vendor.priced_at == registry_pb2.PRICED_AT_END),
        fees={vendor.vendor_id: tuple(map(_fees, vendor.fees)) for vendor in catalog.vendors if vendor.fees},
        equivalents={model.model_id: tuple(model.equivalent_model_ids) for model in catalog.models if model.equivalent_model_ids},
    )
    return ChargingCatalog(content)


def _fees(fees: registry_pb2.FeeShares) -> Fees:
    effective_us = fees.effective_time.ToMicroseconds() if fees.HasField("effective_time") else 0
    return Fees(effective_us, (fees.platform, fees.compute, fees.channel))


def limit_of(limit: registry_pb2.Limit) -> Limit:
    """A limit for the core. Errors: `ValueError` that says what would be right."""
    kind = limit.WhichOneof("kind")
    if not limit.limit_id or "@" in limit.limit_id:
        raise ValueError("limit_id must not be empty and have no @")
    if limit.per not in {*Scope}:
        raise ValueError("per must be account, member or key")
    scope = Scope(limit.per)
    if kind == "request_rate":
        rate = limit.request_rate
        return _rate(limit.limit_id, scope, LimitKind.REQUEST_RATE, "requests_per_minute", rate.requests_per_minute, rate.burst)
    if kind == "token_rate":
        token_rate = limit.token_rate
        return _rate(
            limit.limit_id, scope, LimitKind.TOKEN_RATE, "tokens_per_minute", token_rate.tokens_per_minute, token_rate.burst
        )
    if kind == "concurrent_sessions":
        if limit.concurrent_sessions < 1:
            raise ValueError("concurrent_sessions must be 1 or above")
        return Limit(limit.limit_id, scope, LimitKind.CONCURRENT_SESSIONS, limit.concurrent_sessions)
    if kind != "usage":
        raise ValueError("one of request_rate, token_rate, concurrent_sessions and usage must be set")
    usage = limit.usage
    if not 1 <= usage.amount <= GRANTED_MAX:
        raise ValueError(f"usage.amount must be above 0, in micro-units, and at most {GRANTED_MAX}")
    is_money = usage.unit == registry_pb2.UNIT_CURRENCY
    if not is_money and usage.unit not in (registry_pb2.UNIT_TOKEN, registry_pb2.UNIT_POINT):
        raise ValueError("usage.unit must be TOKEN, POINT or CURRENCY")
    if CURRENCY_CODE.fullmatch(usage.currency) is None if is_money else usage.currency:
        raise ValueError("usage.currency must be an ISO 4217 code of three capital letters for CURRENCY, else absent")
    window = usage.WhichOneof("window")
    if window == "window_seconds" and not 1 <= usage.window_seconds <= _WINDOW_S_MAX:
        raise ValueError(f"usage.window_seconds must be 1 to {_WINDOW_S_MAX}")
    if window == "calendar_window" and usage.calendar_window not in {*Period} - {Period.YEAR}:
        raise ValueError("usage.calendar_window must be day, week or month")
    return Limit(
        limit.limit_id,
        scope,
        LimitKind.USAGE,
        usage.amount,
        unit=unit_name(usage.unit, usage.currency),
        window_us=usage.window_seconds * 1_000_000,
        calendar=Period(usage.calendar_window) if window == "calendar_window" else None,
    )


CURRENCY_CODE: Final = re.compile(r"[A-Z]{3}", re.ASCII)
# A century.
_WINDOW_S_MAX: Final = 3_155_760_000
# The shortest interval between two units that the arithmetic in nanoseconds keeps apart.
_RATE_MAX: Final = 1_000_000_000


def _rate(limit_id: str, scope: Scope, kind: LimitKind, field: str, amount: int, burst: int) -> Limit:
    if not 1 <= amount <= _RATE_MAX or not 0 <= burst <= _RATE_MAX:
        raise ValueError(f"{field} must be 1 to {_RATE_MAX}, burst 0 to {_RATE_MAX}")
    return Limit(limit_id, scope, kind, amount, burst or amount)


def _rules(offering: registry_pb2.Offering, schedules: dict[str, Schedule], time_zone: str) -> OfferingRules:
    tariff_ids = [offering.tariff_id, *([offering.overage_tariff_id] if offering.overage_tariff_id else [])]
    limits = tuple(limit_of(limit) for limit in offering.limits)
    final_action = FinalAction(offering.final_unit or registry_pb2.FINAL_UNIT_TERMINATE)
    return OfferingRules(
        offering_id=offering.offering_id,
        schedules=tuple(schedules[tariff_id] for tariff_id in tariff_ids),
        model_ids=frozenset(offering.model_ids) or None,
        output_window=offering.output_window_tokens,
        expected=offering.reservation_policy == registry_pb2.RESERVATION_POLICY_EXPECTED,
        calibrated=offering.reservation_policy == registry_pb2.RESERVATION_POLICY_CALIBRATED,
        debt_limits={unit_name(each.unit, each.currency): each.amount for each in offering.debt_limits},
        limits=limits,
        final_action=final_action,
        terms=_terms(offering, limits, final_action, time_zone) if offering.allowances or offering.HasField("cycle") else None,
        payments=frozenset(Payment(method) for method in offering.payment_methods),
        per_identity=offering.once.per_identity,
        withdrawn=offering.withdrawn,
        only_granted=offering.only_granted,
    )


def _terms(offering: registry_pb2.Offering, limits: tuple[Limit, ...], final_action: FinalAction, time_zone: str) -> Terms:
    cycle = offering.cycle
    return Terms(
        offering_id=offering.offering_id,
        price=offering.price.amount,
        price_unit=f"CURRENCY:{offering.price.currency}" if offering.HasField("price") else "",
        cycle=Cycle(Period(cycle.period), cycle.count, cycle.calendar_aligned, cycle.first_cycle_prorated)
        if offering.HasField("cycle")
        else None,
        automatic_renewal=offering.automatic_renewal,
        grace_us=offering.renewal_grace_days * _DAY_US,
        allowances=tuple(_allowance(allowance) for allowance in offering.allowances),
        limits=limits,
        final_action=final_action,
        time_zone=time_zone,
        refundable=not offering.without_refund,
        once=offering.HasField("once"),
        once_a=Period(offering.once.period) if offering.once.period else None,
    )


def _allowance(allowance: registry_pb2.Allowance) -> Allowance:
    return Allowance(
        allowance_id=allowance.allowance_id,
        unit=unit_name(allowance.unit, allowance.currency),
        amount=allowance.amount,
        model_group=allowance.model_group,
        priority=allowance.priority,
        valid_for_us=allowance.valid_days * _DAY_US,
        rollover_cap=allowance.rollover_cap,
        postpaid=allowance.postpaid,
        transferable=allowance.transferable,
        notice_percents=tuple(allowance.notice_percents),
        weight=allowance.weight,
    )


def _schedule(tariff: registry_pb2.Tariff) -> Schedule:
    unit = unit_name(tariff.unit, tariff.currency)
    versions = [_version(0, tariff, tariff, unit)]
    versions += [_version(each.effective_time.ToMicroseconds(), each, tariff, unit) for each in tariff.upcoming]
    calendar = Calendar(tariff.time_zone or "UTC", frozenset(map(date.fromisoformat, tariff.holidays)))
    return Schedule(unit, tuple(versions), calendar)


def _version(
    effective_us: int, of: registry_pb2.Tariff | registry_pb2.TariffVersion, tariff: registry_pb2.Tariff, unit: str
) -> TariffVersion:
    windows = (
        TariffWindow(
            # The contract's days are those of `DAYS`, counted from 1.
            tuple(Hours(frozenset(day - 1 for day in each.days), each.begin_minute, each.end_minute) for each in window.hours),
            # Those rows too that stay as they are: a record names the window's version whatever model it is of.
            _rates(tariff.tariff_id, window.version, unit, of.model_rates)
            | _rates(tariff.tariff_id, window.version, unit, window.model_rates),
        )
        for window in of.windows
    )
    return TariffVersion(effective_us, _rates(tariff.tariff_id, of.version, unit, of.model_rates), tuple(windows))


def _rates(tariff_id: str, version: int, unit: str, rows: Iterable[registry_pb2.ModelRates]) -> dict[str, PinnedTariff]:
    rates = {}
    for row in rows:
        tiers = tuple(_tier(tier) for tier in row.tiers)
        rates[row.model_id] = PinnedTariff(tariff_id, version, unit, tiers, dearest_rate=dearest_rate(tiers))
    return rates


def _tier(tier: registry_pb2.ContextTier) -> ContextTier:
    return ContextTier(tier.above_input_tokens, _row(tier.rates))


def _row(rates: registry_pb2.TokenRates) -> Vector:
    """The rates as a vector, as short as possible, so that a tariff of the first classes alone is written as it always was."""
    row = [getattr(rates, name) for name in TOKEN_CLASSES[:FIRST]]
    row += [getattr(rates, name) if rates.HasField(name) else NO_RATE for name in TOKEN_CLASSES[FIRST:]]
    while row[-1] == NO_RATE:
        row.pop()
    return tuple(row)
