"""The catalog in the shape that calls need, kept up to date in the background."""

import asyncio
import logging
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Final, NamedTuple

import grpc

from services.edge.tokens.media import ImageRule
from services.edge.vendors.profile import DIALECT_NAMES, Endpoint, endpoints_of
from services.token_classes import FIRST, IN_TOKENS, TOKEN_CLASSES, Measure, Measures
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

logger = logging.getLogger(__name__)

_RETRY_S: Final = 0.1
_SIMULATOR_API_KEY: Final = "simulator"
# Not set, as by an older registry: tokens.
_MEASURES: Final = {0: Measure.TOKEN} | {registry_pb2.Measure.Value(f"MEASURE_{each.name}"): each for each in Measure}


class Route(NamedTuple):
    """One vendor's way to a model, in one dialect."""

    vendor_id: str
    vendor_model_id: str
    endpoint: Endpoint
    # Lower ones are tried first.
    priority: int = 0
    # Its share of conversations among the routes of its priority.
    weight: int = 1
    # At most this many calls of this edge may be under way on it; 0: any number.
    concurrency_max: int = 0


class TokenizerFamily(NamedTuple):
    """The tokenization of a family of models; see registry.proto for the units."""

    template_tokens_per_message: int
    template_tokens_per_request: int
    # The name of the tokenizer that the edge carries for it; empty: none.
    tokenizer: str = ""
    # 0: an image has no bound.
    image_tokens_max: int = 0
    # None: every image counts as the largest.
    image_rule: ImageRule | None = None
    # 0: sound has no bound.
    sound_tokens_per_second: int = 0


class SellableModel(NamedTuple):
    """A model for sale."""

    model_id: str
    display_name: str
    owned_by: str
    # Seconds since 1970-01-01 UTC.
    release_time_s: int
    context_window_tokens: int
    max_output_tokens: int
    # Whether its output comes without a stream of it being made.
    hidden_reasoning: bool
    family: TokenizerFamily
    # Configured routes by dialect, by priority; empty: nobody can call the model now.
    routes: Mapping[str, tuple[Route, ...]]
    # In what its input and output are counted and charged, and so its context window and its output.
    measures: Measures = IN_TOKENS


class PriceTier(NamedTuple):
    """A model's rates above a number of input tokens, by class, in micro-units per 1,000,000 of its measure."""

    above_input_tokens: int
    # The first classes, and later ones that have a rate of their own.
    rates: Mapping[str, int]


class Abandoned(Enum):
    """The part of an answer that a client pays for if it did not wait for it."""

    NOTHING = registry_pb2.ABANDONED_ANSWER_NOTHING
    INPUT = registry_pb2.ABANDONED_ANSWER_INPUT
    MADE = registry_pb2.ABANDONED_ANSWER_MADE


class SellableOffering(NamedTuple):
    """A plan for sale, with its tariff."""

    offering_id: str
    display_name: str
    # "TOKEN", "POINT" or "CURRENCY".
    unit: str
    # ISO 4217; None unless the unit is CURRENCY.
    currency: str | None
    tariff_id: str
    tariff_version: int
    charges_input_when_client_gone_before_output: bool
    # The price of an answer that is not streamed, for a client that did not wait for it.
    abandoned_answer: Abandoned
    # Prices of its models, tiers by rising above_input_tokens; a model that is missing is not in the offering.
    prices: Mapping[str, tuple[PriceTier, ...]]
    # The offering to recommend, or the model that calls go on with, when the quota has ended; empty: neither.
    redirect_offering_id: str
    restricted_model_id: str


class Snapshot:
    """One version of the catalog; it never changes."""

    def __init__(self, catalog: registry_pb2.Catalog, environment: Mapping[str, str], simulator_base_url: str) -> None:
        """Reads the catalog. Errors: `KeyError` for a dangling reference, which the registry does not let pass."""
        self.catalog: Final = catalog
        families = {
            family.family_id: TokenizerFamily(
                family.template_tokens_per_message,
                family.template_tokens_per_request,
                family.tokenizer,
                family.image_tokens_max,
                _image_rule(family.image_rule) if family.HasField("image_rule") else None,
                family.sound_tokens_per_second,
            )
            for family in catalog.tokenizer_families
        }
        endpoints = {vendor.vendor_id: _endpoints(vendor, environment, simulator_base_url) for vendor in catalog.vendors}
        self._models = {model.model_id: _sellable(model, families, endpoints) for model in catalog.models}
        tariffs = {tariff.tariff_id: tariff for tariff in catalog.tariffs}
        self._offerings = {
            offering.offering_id: _offering(offering, tariffs[offering.tariff_id], self._models) for offering in catalog.offerings
        }

    def model(self, model_id: str) -> SellableModel | None:
        """The model of this ID, whichever offerings include it."""
        return self._models.get(model_id)

    def routes(self) -> Iterator[Route]:
        """All configured routes."""
        for model in self._models.values():
            for routes in model.routes.values():
                yield from routes

    def offering(self, offering_id: str) -> SellableOffering | None:
        """The offering of this ID."""
        return self._offerings.get(offering_id)

    def offerings(self) -> list[SellableOffering]:
        """All offerings, by ID."""
        return list(self._offerings.values())

    def abandoned(self, offering_id: str, *, streamed: bool) -> Abandoned:
        """The part that a client pays if it left before it was sent any output; nothing, for an unknown offering."""
        offering = self._offerings.get(offering_id)
        if offering is None:
            return Abandoned.NOTHING
        if streamed:
            return Abandoned.INPUT if offering.charges_input_when_client_gone_before_output else Abandoned.NOTHING
        return offering.abandoned_answer


class CatalogHolder:
    """The catalog in force at this edge; None until the registry has sent the first one."""

    def __init__(self, channel: grpc.aio.Channel, environment: Mapping[str, str], simulator_base_url: str) -> None:
        self.current: Snapshot | None = None
        self._registry = registry_pb2_grpc.RegistryServiceStub(channel)
        self._environment = environment
        self._simulator_base_url = simulator_base_url

    async def follow(self) -> None:
        """Takes every new catalog; runs until cancelled. While the registry is away, the last one stays in force."""
        while True:
            try:
                async for response in self._registry.WatchCatalog(registry_pb2.WatchCatalogRequest(), wait_for_ready=True):
                    self.current = Snapshot(response.catalog, self._environment, self._simulator_base_url)
                    logger.info("catalog revision %d is in force, digest %.12s", response.catalog.revision, response.catalog.digest)
            except grpc.aio.AioRpcError as error:
                logger.warning("the registry's catalog stream broke (%s), connecting again", error.code().name)
            await asyncio.sleep(_RETRY_S)


def _endpoints(vendor: registry_pb2.Vendor, environment: Mapping[str, str], simulator_base_url: str) -> dict[str, Endpoint]:
    """A vendor's endpoints by dialect; none if the vendor is not configured here."""
    api_key = environment.get(vendor.api_key_env, "")
    replaced = environment.get(vendor.base_url_env, "") if vendor.base_url_env else ""
    if not api_key and not replaced:
        if simulator_base_url:
            return endpoints_of(vendor, simulator_base_url, _SIMULATOR_API_KEY)
        logger.warning(
            "vendor %s has no secret here, its routes are left out; set %s to use them", vendor.vendor_id, vendor.api_key_env
        )
        return {}
    if replaced and not replaced.startswith(("http://", "https://")):
        logger.error("vendor %s: %s must be an http or https URL, its routes are left out", vendor.vendor_id, vendor.base_url_env)
        return {}
    return endpoints_of(vendor, replaced, api_key)


def _image_rule(rule: registry_pb2.ImageRule) -> ImageRule:
    return ImageRule(
        square_pixels=rule.square_pixels,
        square_tokens_milli=rule.square_tokens_milli,
        base_tokens=rule.base_tokens,
        short_side_pixels=rule.short_side_pixels,
        tokens_min=rule.tokens_min,
        low_detail_tokens=rule.low_detail_tokens,
    )


def _sellable(
    model: registry_pb2.Model, families: Mapping[str, TokenizerFamily], endpoints: Mapping[str, dict[str, Endpoint]]
) -> SellableModel:
    routes: dict[str, tuple[Route, ...]] = {}
    called_in = {DIALECT_NAMES.get(dialect) for dialect in model.dialects}
    for route in sorted(model.routes, key=lambda route: route.priority):
        for dialect, endpoint in endpoints[route.vendor_id].items():
            if called_in and dialect not in called_in:
                continue
            way = Route(
                route.vendor_id, route.vendor_model_id, endpoint, route.priority, route.weight or 1, route.edge_concurrency_max
            )
            routes[dialect] = (*routes.get(dialect, ()), way)
    return SellableModel(
        model_id=model.model_id,
        display_name=model.display_name,
        owned_by=model.owned_by,
        release_time_s=model.release_time.seconds,
        context_window_tokens=model.context_window_tokens,
        max_output_tokens=model.max_output_tokens,
        hidden_reasoning=model.hidden_reasoning,
        family=families[model.family_id],
        routes=routes,
        measures=Measures(_MEASURES[model.input_measure], _MEASURES[model.output_measure]),
    )


def _offering(
    offering: registry_pb2.Offering, tariff: registry_pb2.Tariff, models: Mapping[str, SellableModel]
) -> SellableOffering:
    rows = {row.model_id: row for row in tariff.model_rates}
    prices: dict[str, tuple[PriceTier, ...]] = {}
    for model_id in offering.model_ids or models:
        row = rows.get(model_id) or rows.get("*")
        if row is not None and model_id in models:
            prices[model_id] = tuple(_price_tier(tier) for tier in row.tiers)
    return SellableOffering(
        offering_id=offering.offering_id,
        display_name=offering.display_name,
        unit=registry_pb2.Unit.Name(tariff.unit).removeprefix("UNIT_"),
        currency=tariff.currency or None,
        tariff_id=tariff.tariff_id,
        tariff_version=tariff.version,
        charges_input_when_client_gone_before_output=offering.charge_input_when_client_gone_before_output,
        abandoned_answer=_abandoned(offering),
        prices=prices,
        redirect_offering_id=offering.redirect_offering_id,
        restricted_model_id=offering.restricted_model_id,
    )


def _abandoned(offering: registry_pb2.Offering) -> Abandoned:
    if offering.abandoned_answer:
        return Abandoned(offering.abandoned_answer)
    return Abandoned.INPUT if offering.charge_input_when_client_gone_before_output else Abandoned.NOTHING


def _price_tier(tier: registry_pb2.ContextTier) -> PriceTier:
    rates = {
        name: getattr(tier.rates, name)
        for index, name in enumerate(TOKEN_CLASSES)
        # Later classes without a rate of their own have their parent's rate.
        if index < FIRST or tier.rates.HasField(name)
    }
    return PriceTier(tier.above_input_tokens, rates)
