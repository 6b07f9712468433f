"""The catalog as its author wrote it, turned into the contract's message: sorted, filled in, in int64 micro-units."""

import hashlib
from datetime import UTC, date, datetime, time

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from services.registry.catalog import Catalog, ImageRule, Model
from services.registry.offerings import UNITS, Allowance, Limit, Offering, Renewal
from services.registry.rules import micro_amount
from services.registry.tariffs import ModelRates, Rates, Tariff, TariffWindow, hours_of
from services.registry.vendor_message import vendor_message
from services.registry.vendors import DIALECTS, NAMED_DIALECTS, Vendor
from services.tariff_windows import DAYS
from services.token_classes import FIRST, TOKEN_CLASSES
from tokenline.registry.v1 import registry_pb2


def catalog_message(catalog: Catalog, revision: int) -> registry_pb2.Catalog:
    """The message of a valid catalog. Its digest covers everything but the revision."""
    vendors = {vendor.vendor_id: vendor for vendor in catalog.vendors}
    tariffs = {tariff.tariff_id: tariff for tariff in catalog.priced_tariffs()}
    message = registry_pb2.Catalog(
        vendors=[vendor_message(vendor) for vendor in sorted(catalog.vendors, key=lambda vendor: vendor.vendor_id)],
        tokenizer_families=[
            registry_pb2.TokenizerFamily(
                family_id=family.family_id,
                letters_per_token_milli=family.letters_per_token_milli,
                tokens_per_cjk_character_milli=family.tokens_per_cjk_character_milli,
                template_tokens_per_message=family.template_tokens_per_message,
                template_tokens_per_request=family.template_tokens_per_request,
                tokenizer=family.tokenizer,
                image_tokens_max=family.image_tokens_max,
                image_rule=_image_rule(family.image_rule),
                sound_tokens_per_second=family.sound_tokens_per_second,
            )
            for family in sorted(catalog.tokenizer_families, key=lambda family: family.family_id)
        ],
        models=[_model(model, vendors, tariffs) for model in sorted(catalog.models, key=lambda model: model.model_id)],
        tariffs=[_tariff(tariff) for tariff in sorted(tariffs.values(), key=lambda tariff: tariff.tariff_id)],
        offerings=[
            _offering(offering, catalog.languages)
            for offering in sorted(catalog.offerings, key=lambda offering: offering.offering_id)
        ],
        default_offering_id=catalog.default_offering_id,
        model_groups=[
            registry_pb2.ModelGroup(group_id=group.group_id, model_ids=sorted(group.model_ids))
            for group in sorted(catalog.model_groups, key=lambda group: group.group_id)
        ],
        exchange_rates=[
            registry_pb2.ExchangeRate(
                from_currency=each.pair[:3], to_currency=each.pair[4:], version=each.version, rate=micro_amount(each.rate)
            )
            for each in sorted(catalog.exchange_rates, key=lambda each: each.pair)
        ],
        time_zone=catalog.time_zone or "UTC",
        sources=[
            registry_pb2.Source(source_id=source.source_id, title=source.title, published_time=_midnight(source.date))
            for source in sorted(catalog.sources, key=lambda source: source.source_id)
        ],
    )
    message.digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    message.revision = revision
    return message


def _image_rule(rule: ImageRule | None) -> registry_pb2.ImageRule | None:
    return registry_pb2.ImageRule(**msgspec.structs.asdict(rule)) if rule is not None else None


def _model(model: Model, vendors: dict[str, Vendor], tariffs: dict[str, Tariff]) -> registry_pb2.Model:
    return registry_pb2.Model(
        model_id=model.model_id,
        display_name=model.display_name,
        owned_by=model.owned_by,
        context_window_tokens=model.context_window_tokens,
        max_output_tokens=model.max_output_tokens,
        family_id=model.family_id,
        release_time=None if model.release_date is None else _midnight(model.release_date),
        routes=[
            registry_pb2.Route(
                vendor_id=route.vendor_id,
                vendor_model_id=route.vendor_model_id,
                priority=route.priority,
                weight=route.weight,
                edge_concurrency_max=route.edge_concurrency_max,
                wholesale_tariff_id=route.wholesale_tariff_id or _vendor_tariff(model, vendors[route.vendor_id], tariffs),
                region=route.region,
                offering_ids=sorted(route.offering_ids),
                requests_per_minute=route.requests_per_minute,
                tokens_per_minute=route.tokens_per_minute,
            )
            for route in sorted(model.routes, key=lambda route: route.priority)
        ],
        hidden_reasoning=model.hidden_reasoning,
        dialects=[f"DIALECT_{dialect.upper()}" for dialect in DIALECTS if _is_called_in(model, dialect)],
        input_measure=f"MEASURE_{model.input_measure.upper()}",
        output_measure=f"MEASURE_{model.output_measure.upper()}",
        equivalent_model_ids=model.equivalent_model_ids,
        routing=f"ROUTING_POLICY_{model.routing.upper()}",
        aliases=sorted(model.aliases),
        sunset_time=None if model.sunset_date is None else _midnight(model.sunset_date),
        source_ids=model.sources,
        conflict=model.conflict,
        energy=[
            registry_pb2.Energy(
                gpu=energy.gpu,
                per=f"ENERGY_UNIT_{energy.per.upper()}",
                task=energy.task,
                low_microjoules=micro_amount(energy.joules_low),
                low_batch=energy.batch_low,
                high_microjoules=micro_amount(energy.joules_high),
                high_batch=energy.batch_high,
                source_ids=energy.sources,
            )
            for energy in model.energy
        ],
    )


def _is_called_in(model: Model, dialect: str) -> bool:
    return dialect in model.dialects if model.dialects else dialect not in NAMED_DIALECTS


def _vendor_tariff(model: Model, vendor: Vendor, tariffs: dict[str, Tariff]) -> str:
    """The tariff by which a vendor is owed for a model, if it rates that model."""
    tariff = tariffs.get(vendor.wholesale_tariff_id or "")
    return tariff.tariff_id if tariff is not None and tariff.rates_model(model.model_id) else ""


def _tariff(tariff: Tariff) -> registry_pb2.Tariff:
    return registry_pb2.Tariff(
        tariff_id=tariff.tariff_id,
        version=tariff.version,
        unit=f"UNIT_{tariff.unit}",
        currency=tariff.currency,
        model_rates=[_model_rates(row) for row in sorted(tariff.rates, key=lambda row: row.model_id)],
        source=tariff.source,
        public=tariff.public,
        windows=[_window(window) for window in tariff.windows],
        time_zone=tariff.time_zone,
        holidays=[date.isoformat() for date in sorted(tariff.holidays)],
        upcoming=[
            registry_pb2.TariffVersion(
                version=each.version,
                effective_time=_timestamp(each.effective_time),
                model_rates=[_model_rates(row) for row in sorted(each.rates, key=lambda row: row.model_id)],
                windows=[_window(window) for window in each.windows],
            )
            for each in tariff.upcoming
        ],
    )


def _midnight(day: date) -> Timestamp:
    return _timestamp(datetime.combine(day, time(), UTC))


def _window(window: TariffWindow) -> registry_pb2.TariffWindow:
    return registry_pb2.TariffWindow(
        window_id=window.window_id,
        version=window.version,
        hours=[
            registry_pb2.WindowHours(
                days=[f"TARIFF_DAY_{DAYS[day].upper()}" for day in sorted(hours.days)],
                begin_minute=hours.begin_minute,
                end_minute=hours.end_minute,
            )
            for hours in hours_of(window)
        ],
        model_rates=[_model_rates(row) for row in sorted(window.rates, key=lambda row: row.model_id)],
    )


def _timestamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


def _model_rates(row: ModelRates) -> registry_pb2.ModelRates:
    return registry_pb2.ModelRates(
        model_id=row.model_id,
        tiers=[
            registry_pb2.ContextTier(above_input_tokens=-1, rates=_rates(row)),
            *(registry_pb2.ContextTier(above_input_tokens=tier.above_input_tokens, rates=_rates(tier)) for tier in row.tiers),
        ],
        source_ids=row.sources,
        conflict=row.conflict,
    )


def _rates(rates: Rates) -> registry_pb2.TokenRates:
    """Rates of the first classes, and of later ones that the author gave: readers take the parent's rate where none is set."""
    filled = rates.by_class()
    set_rates = {token_class: filled[token_class] for token_class in TOKEN_CLASSES[:FIRST]} | rates.given()
    return registry_pb2.TokenRates(**{token_class: micro_amount(rate) for token_class, rate in set_rates.items()})


def _offering(offering: Offering, languages: tuple[str, ...]) -> registry_pb2.Offering:
    message = registry_pb2.Offering(
        offering_id=offering.offering_id,
        display_name=offering.shown_name(languages),
        tariff_id=offering.tariff_id,
        model_ids=sorted(offering.model_ids),
        reservation_policy=f"RESERVATION_POLICY_{offering.reservation_policy.upper()}",
        output_window_tokens=offering.output_window_tokens,
        charge_input_when_client_gone_before_output=offering.charge_input_when_client_gone_before_output,
        overage_tariff_id=offering.overage_tariff_id,
        payment_methods=[f"PAYMENT_METHOD_{method.upper()}" for method in offering.payment_methods],
        allowances=[_allowance(allowance) for allowance in offering.allowances],
        limits=[limit_message(limit) for limit in offering.limits],
        final_unit=f"FINAL_UNIT_{offering.final_unit.action.upper()}",
        redirect_offering_id=offering.final_unit.redirect_offering_id,
        restricted_model_id=offering.final_unit.restricted_model_id,
        debt_limits=[
            registry_pb2.DebtLimit(unit=f"UNIT_{limit.unit}", currency=limit.currency, amount=micro_amount(limit.amount))
            for limit in sorted(offering.debt_limits, key=lambda limit: (UNITS.index(limit.unit), limit.currency))
        ],
        abandoned_answer=f"ABANDONED_ANSWER_{offering.abandoned_answer_costs.upper()}",
        required_regions=sorted(offering.regions.required),
        preferred_regions=sorted(offering.regions.preferred),
        equivalent_models=offering.equivalent_models,
        priority_class=f"PRIORITY_CLASS_{offering.priority_class.upper()}",
        without_refund=not offering.refundable,
        withdrawn=offering.withdrawn,
        only_granted=offering.only_granted,
    )
    if offering.price is not None:
        message.price.amount, message.price.currency = micro_amount(offering.price.amount), offering.price.currency
    if offering.once is not None:
        message.once.per_identity = offering.once.per == "identity"
        message.once.SetInParent()
        if offering.once.period:
            message.once.MergeFrom(registry_pb2.Once(period=f"PERIOD_{offering.once.period.upper()}"))
    if (cycle := offering.cycle) is not None:
        message.cycle.CopyFrom(
            registry_pb2.Cycle(
                period=f"PERIOD_{cycle.period.upper()}",
                count=cycle.count,
                calendar_aligned=cycle.alignment == "calendar",
                first_cycle_prorated=cycle.first_cycle == "prorated",
            )
        )
        renewal = offering.renewal or Renewal()
        message.automatic_renewal, message.renewal_grace_days = renewal.automatic, renewal.grace_days
    return message


def _allowance(allowance: Allowance) -> registry_pb2.Allowance:
    return registry_pb2.Allowance(
        allowance_id=allowance.allowance_id,
        unit=f"UNIT_{allowance.unit}",
        currency=allowance.currency,
        amount=micro_amount(allowance.amount),
        model_group=allowance.model_group,
        priority=allowance.priority,
        valid_days=allowance.valid_days or 0,
        rollover_cap=micro_amount(allowance.rollover_cap),
        postpaid=allowance.postpaid,
        transferable=allowance.transferable,
        notice_percents=allowance.notice_percents,
        weight=0 if allowance.weight is None else micro_amount(allowance.weight),
    )


def limit_message(limit: Limit) -> registry_pb2.Limit:
    """A limit without a flaw as a message; amounts in micro-units."""
    message = registry_pb2.Limit(limit_id=limit.limit_id, per=f"LIMIT_SCOPE_{limit.per.upper()}")
    if limit.requests_per_minute is not None:
        message.request_rate.requests_per_minute = limit.requests_per_minute
        message.request_rate.burst = limit.burst or limit.requests_per_minute
    elif limit.tokens_per_minute is not None:
        message.token_rate.tokens_per_minute = limit.tokens_per_minute
        message.token_rate.burst = limit.burst or limit.tokens_per_minute
    elif limit.concurrent_sessions is not None:
        message.concurrent_sessions = limit.concurrent_sessions
    else:
        assert limit.usage is not None
        message.usage.amount, message.usage.currency = micro_amount(limit.usage), limit.currency
        message.usage.MergeFrom(registry_pb2.UsageLimit(unit=f"UNIT_{limit.unit}"))
        if limit.window is not None and limit.window.hours is not None:
            message.usage.window_seconds = limit.window.hours * 3_600
        elif limit.window is not None and limit.window.calendar is not None:
            message.usage.MergeFrom(registry_pb2.UsageLimit(calendar_window=f"PERIOD_{limit.window.calendar.upper()}"))
    return message
