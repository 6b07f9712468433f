"""The catalog in the shape that calls need, kept up to date in the background."""

import asyncio
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import Enum
from math import inf
from typing import Final, NamedTuple

import grpc

from services.edge.tariffs import FOR_GOOD_US, PriceTier, TariffInForce
from services.edge.tokens.media import ImageRule
from services.edge.vendors.profile import DIALECT_NAMES, Endpoint, endpoints_of
from services.edge.vendors.secrets import is_word
from services.runtime.clients import messages
from services.runtime.clock import Clock
from services.runtime.followed import Followed
from services.token_classes import IN_TOKENS, Measure, Measures
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

logger = logging.getLogger(__name__)

# A call is expected to make at most this many tokens: limits are far above what answers have.
OUTPUT_EXPECTED_MAX: Final = 1_000
MICRO: Final = 1_000_000
_RETRY_S: Final = 0.1
_SIMULATOR_API_KEY: Final = "simulator"
# Not set, as by an older registry: tokens.
_MEASURES: Final = {0: Measure.TOKEN} | {registry_pb2.Measure.Value(f"MEASURE_{each.name}"): each for each in Measure}


class WholesalePrice(NamedTuple):
    """A vendor's prices of a token above a number of input tokens."""

    above_input_tokens: int
    input: float
    output: float


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
    # The model whose route it is; another one than was asked for may answer in its place.
    model_id: str = ""
    # Where the vendor works on calls; empty: it is not said.
    region: str = ""
    # The only offerings whose calls may take it; empty: every offering's.
    offering_ids: frozenset[str] = frozenset()
    # Calls and tokens that the contract allows the cell in any 60 seconds; 0: any number.
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    # The vendor's wholesale prices by rising input, in one currency for the model's routes, where the cheapest goes first.
    prices: tuple[WholesalePrice, ...] = ()

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """The wholesale price of a call, in whatever its model's routes are compared; infinite where none is known."""
        price = next((each for each in reversed(self.prices) if input_tokens > each.above_input_tokens), None)
        return inf if price is None else input_tokens * price.input + min(output_tokens, OUTPUT_EXPECTED_MAX) * price.output

    def is_open_to(self, offering_id: str, regions: frozenset[str]) -> bool:
        """Whether calls of this offering may take it, which must stay in these regions; none: anywhere."""
        return (not self.offering_ids or offering_id in self.offering_ids) and (not regions or self.region in regions)


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
    # Models that may answer in its place where the subscriber allows it, in the order of trying.
    equivalent_model_ids: tuple[str, ...] = ()
    # Whether a route of it is for certain offerings alone.
    is_divided: bool = False
    # The only offerings that have a route to it; empty: every offering has one.
    only_for: frozenset[str] = frozenset()


class Abandoned(Enum):
    """The part of an answer that a client pays for if it did not wait for it."""

    NOTHING = registry_pb2.ABANDONED_ANSWER_NOTHING
    INPUT = registry_pb2.ABANDONED_ANSWER_INPUT
    MADE = registry_pb2.ABANDONED_ANSWER_MADE


class PriorityClass(Enum):
    """The class of an offering's accounts where an edge has more calls than it can begin."""

    LOW = registry_pb2.PRIORITY_CLASS_LOW
    STANDARD = registry_pb2.PRIORITY_CLASS_STANDARD
    HIGH = registry_pb2.PRIORITY_CLASS_HIGH

    @property
    def cost(self) -> float:
        """How much a call takes of its account's share."""
        return _COSTS[self]


_COSTS: Final = {PriorityClass.LOW: 4.0, PriorityClass.STANDARD: 1.0, PriorityClass.HIGH: 0.25}


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
    # The only regions that its calls may take, empty: any; and those that they take before others.
    required_regions: frozenset[str] = frozenset()
    preferred_regions: frozenset[str] = frozenset()
    # Whether an equivalent model may answer its calls, unless a call says otherwise.
    equivalent_models: bool = False
    priority_class: PriorityClass = PriorityClass.STANDARD
    # An order of it names the person or company, who can have it once.
    once_per_identity: bool = False


class Snapshot:
    """One version of the catalog, with the tariffs of a moment; it never changes."""

    def __init__(
        self, catalog: registry_pb2.Catalog, environment: Mapping[str, str], simulator_base_url: str, now_us: int = 0
    ) -> None:
        """Reads the catalog as it is at a moment; 0: before any change of a tariff.

        Errors: `KeyError` for a dangling reference, which the registry does not let pass.
        """
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
        self._endpoints = endpoints
        # The vendors in whose place the simulator answers.
        self.simulated: Final = frozenset(
            vendor_id
            for vendor_id, by_dialect in endpoints.items()
            if simulator_base_url and any(each.base_url == simulator_base_url.rstrip("/") for each in by_dialect.values())
        )
        unconfigured = frozenset(each.vendor_id for each in catalog.vendors if not any(_configured(each, environment)))
        tariffs = {tariff.tariff_id: TariffInForce(tariff, now_us) for tariff in catalog.tariffs}
        self._tariffs = tariffs
        # The moment from which a tariff has other prices.
        self.until_us: Final = min((tariff.until_us for tariff in tariffs.values()), default=FOR_GOOD_US)
        self._models = {
            model.model_id: _sellable(
                model, families, endpoints, _wholesale_prices(model, catalog, tariffs), _called(model, endpoints, unconfigured)
            )
            for model in catalog.models
        }
        self._aliases = {alias: model.model_id for model in catalog.models for alias in model.aliases}
        dedicated = {model_id: model.only_for for model_id, model in self._models.items() if model.only_for}
        self._offerings = {
            offering.offering_id: _offering(offering, tariffs[offering.tariff_id], self._models, dedicated)
            for offering in catalog.offerings
        }
        self._groups = {group.group_id: frozenset(group.model_ids) for group in catalog.model_groups}

    def model(self, model_id: str) -> SellableModel | None:
        """The model of this ID or alias, whichever offerings include it."""
        return self._models.get(self._aliases.get(model_id, model_id))

    def endpoints(self, vendor_id: str) -> Mapping[str, Endpoint]:
        """The vendor's endpoints by dialect; none where it is not configured here."""
        return self._endpoints[vendor_id]

    def routes(self) -> Iterator[Route]:
        """All configured routes."""
        for model in self._models.values():
            for routes in model.routes.values():
                yield from routes

    def public_tariffs(self) -> list[TariffInForce]:
        """The tariffs whose prices everybody may see, by ID."""
        return [tariff for tariff in self._tariffs.values() if tariff.is_public]

    def offering(self, offering_id: str) -> SellableOffering | None:
        """The offering of this ID."""
        return self._offerings.get(offering_id)

    def group(self, group_id: str) -> frozenset[str]:
        """The models of a group; none where there is no such group."""
        return self._groups.get(group_id, frozenset())

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
    """The catalog in force at this edge."""

    def __init__(self, channel: grpc.aio.Channel, environment: Mapping[str, str], simulator_base_url: str, clock: Clock) -> None:
        self._snapshot: Snapshot | None = None
        self._registry = registry_pb2_grpc.RegistryServiceStub(channel)
        self._environment = environment
        self._simulator_base_url = simulator_base_url
        self._clock = clock
        self.followed = Followed()

    @property
    def current(self) -> Snapshot | None:
        """The catalog with the tariffs of this moment; None until the registry has sent the first one."""
        snapshot = self._snapshot
        if snapshot is not None and snapshot.until_us <= self._clock.now_us():
            # Each reader looks, so that no list shows what is no longer charged.
            snapshot = self._take(snapshot.catalog)
        return snapshot

    def use(self, environment: Mapping[str, str]) -> None:
        """Takes other secrets and addresses of vendors, for calls from now on."""
        self._environment = environment
        if self._snapshot is not None:
            self._take(self._snapshot.catalog)

    def _take(self, catalog: registry_pb2.Catalog) -> Snapshot:
        self._snapshot = Snapshot(catalog, self._environment, self._simulator_base_url, self._clock.now_us())
        return self._snapshot

    async def follow(self) -> None:
        """Takes every new catalog; runs until cancelled. While the registry is away, the last one stays in force."""
        while True:
            try:
                call = self._registry.WatchCatalog(registry_pb2.WatchCatalogRequest(), wait_for_ready=True)
                consequence = "the last catalog stays in force" if self._snapshot is not None else "every call gets 503"
                async for response in messages(call, "the registry", consequence):
                    self._take(response.catalog)
                    self.followed.told(response.catalog.revision)
                    logger.info("catalog revision %d is in force, digest %.12s", response.catalog.revision, response.catalog.digest)
            except grpc.aio.AioRpcError as error:
                logger.warning("the registry's catalog stream broke (%s), connecting again", error.code().name)
            self.followed.broke()
            await asyncio.sleep(_RETRY_S)


def _endpoints(vendor: registry_pb2.Vendor, environment: Mapping[str, str], simulator_base_url: str) -> dict[str, Endpoint]:
    """A vendor's endpoints by dialect; none if the vendor is not configured here."""
    api_key, replaced = _configured(vendor, environment)
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
    if not is_word(api_key + replaced):
        names = " and ".join(
            name for name, value in ((vendor.api_key_env, api_key), (vendor.base_url_env, replaced)) if not is_word(value)
        )
        logger.error("vendor %s: %s must be one word of printable ASCII, its routes are left out", vendor.vendor_id, names)
        return {}
    return endpoints_of(vendor, replaced, api_key)


def _configured(vendor: registry_pb2.Vendor, environment: Mapping[str, str]) -> tuple[str, str]:
    """A vendor's secret, and the address that replaces its own; both are empty where it is not configured here.

    Variables that were filled from files often have line ends.
    """
    replaced = environment.get(vendor.base_url_env, "") if vendor.base_url_env else ""
    return environment.get(vendor.api_key_env, "").strip(), replaced.strip()


def _image_rule(rule: registry_pb2.ImageRule) -> ImageRule:
    return ImageRule(
        square_pixels=rule.square_pixels,
        square_tokens_milli=rule.square_tokens_milli,
        base_tokens=rule.base_tokens,
        short_side_pixels=rule.short_side_pixels,
        tokens_min=rule.tokens_min,
        low_detail_tokens=rule.low_detail_tokens,
    )


def _called(
    model: registry_pb2.Model, endpoints: Mapping[str, dict[str, Endpoint]], unconfigured: frozenset[str]
) -> list[registry_pb2.Route]:
    """The routes of a model. The simulator answers on none of those whose calls a vendor takes: its answer is no vendor's."""
    taken = {tuple(each.offering_ids) for each in model.routes if each.vendor_id not in unconfigured and endpoints[each.vendor_id]}
    return [each for each in model.routes if each.vendor_id not in unconfigured or tuple(each.offering_ids) not in taken]


def _sellable(
    model: registry_pb2.Model,
    families: Mapping[str, TokenizerFamily],
    endpoints: Mapping[str, dict[str, Endpoint]],
    prices: Mapping[tuple[str, str], tuple[WholesalePrice, ...]],
    called: Iterable[registry_pb2.Route],
) -> SellableModel:
    routes: dict[str, tuple[Route, ...]] = {}
    called_in = {DIALECT_NAMES.get(dialect) for dialect in model.dialects}
    for route in sorted(called, key=lambda route: route.priority):
        for dialect, endpoint in endpoints[route.vendor_id].items():
            if called_in and dialect not in called_in:
                continue
            way = Route(
                route.vendor_id,
                route.vendor_model_id,
                endpoint,
                route.priority,
                route.weight or 1,
                route.edge_concurrency_max,
                model.model_id,
                route.region,
                frozenset(route.offering_ids),
                route.requests_per_minute,
                route.tokens_per_minute,
                prices.get((route.vendor_id, route.vendor_model_id), ()),
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
        equivalent_model_ids=tuple(model.equivalent_model_ids),
        is_divided=any(route.offering_ids for route in model.routes),
        only_for=_only_for(model),
    )


def _only_for(model: registry_pb2.Model) -> frozenset[str]:
    routes = [frozenset(route.offering_ids) for route in model.routes]
    return frozenset[str]().union(*routes) if all(routes) else frozenset()


def _wholesale_prices(
    model: registry_pb2.Model, catalog: registry_pb2.Catalog, tariffs: Mapping[str, TariffInForce]
) -> dict[tuple[str, str], tuple[WholesalePrice, ...]]:
    """Prices of a model's routes by vendor and its model, where the cheapest goes first, in the currency of the first of them.

    A route is left out whose vendor is owed by no tariff, or in a currency without a rate to that.
    """
    if model.routing != registry_pb2.ROUTING_POLICY_CHEAPEST:
        return {}
    worth = {(each.from_currency, each.to_currency): each.rate / MICRO for each in catalog.exchange_rates}
    worth |= {(to, of): 1 / rate for (of, to), rate in worth.items() if (to, of) not in worth}
    priced = [(route, tariffs[route.wholesale_tariff_id]) for route in model.routes if route.wholesale_tariff_id]
    prices = {}
    for route, tariff in priced:
        currency = priced[0][1].currency
        factor = 1.0 if tariff.currency == currency else worth.get((tariff.currency, currency))
        tiers = tariff.tiers(model.model_id)
        if factor is not None and tiers is not None:
            prices[route.vendor_id, route.vendor_model_id] = tuple(
                WholesalePrice(tier.above_input_tokens, tier.rates["input"] * factor, tier.rates["output"] * factor)
                for tier in tiers
            )
    return prices


def _prices_of(
    offering: registry_pb2.Offering, tariff: TariffInForce, models: Mapping[str, SellableModel], closed: Collection[str]
) -> Mapping[str, tuple[PriceTier, ...]]:
    """The prices of an offering's models, without those in `closed`."""
    if not offering.model_ids:
        prices = tariff.prices_of_all(models)
        # One map for all offerings that have all.
        return {model_id: tiers for model_id, tiers in prices.items() if model_id not in closed} if closed else prices
    return tariff.prices(model_id for model_id in offering.model_ids if model_id in models and model_id not in closed)


def _offering(
    offering: registry_pb2.Offering,
    tariff: TariffInForce,
    models: Mapping[str, SellableModel],
    dedicated: Mapping[str, frozenset[str]],
) -> SellableOffering:
    """An offering as it is sold. `dedicated`: models that only certain offerings have a route to, with those offerings."""
    closed = {model_id for model_id, only_for in dedicated.items() if offering.offering_id not in only_for}
    return SellableOffering(
        offering_id=offering.offering_id,
        display_name=offering.display_name,
        unit=tariff.unit,
        currency=tariff.currency or None,
        tariff_id=tariff.tariff_id,
        tariff_version=tariff.version,
        charges_input_when_client_gone_before_output=offering.charge_input_when_client_gone_before_output,
        abandoned_answer=_abandoned(offering),
        prices=_prices_of(offering, tariff, models, closed),
        redirect_offering_id=offering.redirect_offering_id,
        restricted_model_id=offering.restricted_model_id,
        required_regions=frozenset(offering.required_regions),
        preferred_regions=frozenset(offering.preferred_regions),
        equivalent_models=offering.equivalent_models,
        # A registry before this one names none.
        priority_class=PriorityClass(offering.priority_class or registry_pb2.PRIORITY_CLASS_STANDARD),
        once_per_identity=offering.once.per_identity,
    )


def _abandoned(offering: registry_pb2.Offering) -> Abandoned:
    if offering.abandoned_answer:
        return Abandoned(offering.abandoned_answer)
    return Abandoned.INPUT if offering.charge_input_when_client_gone_before_output else Abandoned.NOTHING
