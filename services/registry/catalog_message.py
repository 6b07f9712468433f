"""The catalog as its author wrote it, turned into the contract's message: sorted, filled in, in int64 micro-units."""

import hashlib
from datetime import UTC, datetime, time

from google.protobuf.timestamp_pb2 import Timestamp

from services.registry.catalog import Catalog, Model, ModelRates, Offering, Rates, Tariff, micro_rate
from tokenline.registry.v1 import registry_pb2


def catalog_message(catalog: Catalog, revision: int) -> registry_pb2.Catalog:
    """The message of a valid catalog. Its digest covers everything but the revision."""
    message = registry_pb2.Catalog(
        vendors=[
            registry_pb2.Vendor(
                vendor_id=vendor.vendor_id,
                display_name=vendor.display_name,
                base_url=vendor.base_url,
                api_key_env=vendor.api_key_env,
                base_url_env=vendor.base_url_env,
            )
            for vendor in sorted(catalog.vendors, key=lambda vendor: vendor.vendor_id)
        ],
        tokenizer_families=[
            registry_pb2.TokenizerFamily(
                family_id=family.family_id,
                letters_per_token_milli=family.letters_per_token_milli,
                tokens_per_cjk_character_milli=family.tokens_per_cjk_character_milli,
                template_tokens_per_message=family.template_tokens_per_message,
                template_tokens_per_request=family.template_tokens_per_request,
            )
            for family in sorted(catalog.tokenizer_families, key=lambda family: family.family_id)
        ],
        models=[_model(model) for model in sorted(catalog.models, key=lambda model: model.model_id)],
        tariffs=[_tariff(tariff) for tariff in sorted(catalog.tariffs, key=lambda tariff: tariff.tariff_id)],
        offerings=[_offering(offering) for offering in sorted(catalog.offerings, key=lambda offering: offering.offering_id)],
        default_offering_id=catalog.default_offering_id,
    )
    message.digest = hashlib.sha256(message.SerializeToString(deterministic=True)).hexdigest()
    message.revision = revision
    return message


def _model(model: Model) -> registry_pb2.Model:
    release_time = Timestamp()
    release_time.FromDatetime(datetime.combine(model.release_date, time(), UTC))
    return registry_pb2.Model(
        model_id=model.model_id,
        display_name=model.display_name,
        owned_by=model.owned_by,
        context_window_tokens=model.context_window_tokens,
        max_output_tokens=model.max_output_tokens,
        family_id=model.family_id,
        release_time=release_time,
        routes=[
            registry_pb2.Route(vendor_id=route.vendor_id, vendor_model_id=route.vendor_model_id, priority=route.priority)
            for route in sorted(model.routes, key=lambda route: route.priority)
        ],
        hidden_reasoning=model.hidden_reasoning,
    )


def _tariff(tariff: Tariff) -> registry_pb2.Tariff:
    return registry_pb2.Tariff(
        tariff_id=tariff.tariff_id,
        version=tariff.version,
        unit=f"UNIT_{tariff.unit}",
        currency=tariff.currency,
        model_rates=[_model_rates(row) for row in sorted(tariff.rates, key=lambda row: row.model_id)],
        source=tariff.source,
    )


def _model_rates(row: ModelRates) -> registry_pb2.ModelRates:
    return registry_pb2.ModelRates(
        model_id=row.model_id,
        tiers=[
            registry_pb2.ContextTier(above_input_tokens=-1, rates=_rates(row)),
            *(registry_pb2.ContextTier(above_input_tokens=tier.above_input_tokens, rates=_rates(tier)) for tier in row.tiers),
        ],
    )


def _rates(rates: Rates) -> registry_pb2.TokenRates:
    return registry_pb2.TokenRates(**{token_class: micro_rate(rate) for token_class, rate in rates.by_class().items()})


def _offering(offering: Offering) -> registry_pb2.Offering:
    return registry_pb2.Offering(
        offering_id=offering.offering_id,
        display_name=offering.display_name,
        tariff_id=offering.tariff_id,
        model_ids=sorted(offering.model_ids),
        reservation_policy=f"RESERVATION_POLICY_{offering.reservation_policy.upper()}",
        output_window_tokens=offering.output_window_tokens,
        charge_input_when_client_gone_before_output=offering.charge_input_when_client_gone_before_output,
    )
