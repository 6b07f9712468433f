"""Conditions of a session: a model, a route in the dialect, an input that fits. Works out the reservation too."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Final, NamedTuple

from services.edge.call.dialect import Dialect, InputSize, Request, Translator, VendorRequest
from services.edge.call.threads import in_thread
from services.edge.call.usage import Count, InputTokens, measure, measure_exactly, with_error, within_error
from services.edge.catalog import Route, SellableModel, Snapshot
from services.edge.http.problems import (
    context_length_exceeded,
    malformed,
    model_not_found,
    not_in_dialect,
    vendor_unavailable,
    vendors_left_out,
)
from services.edge.identity.principals import Principal
from services.edge.routing.router import Mix, Plan, Router
from services.edge.tokens.estimate import estimate
from services.edge.tokens.tokenizers import COUNT_INLINE_BYTES_MAX, is_loaded, tokenizer
from services.edge.vendors.profile import Endpoint
from services.token_classes import IN_TOKENS, Measure
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

# An input whose estimate is this much above the context window can't fit; the vendor judges nearer ones.
_CONTEXT_PERCENT_MAX: Final = 125
# A whole answer of at most this many tokens is asked for as one.
_SMALL_TOKENS: Final = 256
# Measures in the contract, where tokens are not set.
_MEASURES: Final = {
    Measure.TOKEN: registry_pb2.MEASURE_UNSPECIFIED,
    Measure.IMAGE: registry_pb2.MEASURE_IMAGE,
    Measure.MILLISECOND: registry_pb2.MEASURE_MILLISECOND,
    Measure.CHARACTER: registry_pb2.MEASURE_CHARACTER,
}

_loading: Final[dict[str, "asyncio.Future[object]"]] = {}


class Admitted(NamedTuple):
    """A request that can be served, and its reservation."""

    request: Request
    model: SellableModel
    plan: Plan
    # The request to the route that was first when it was admitted, if the account can pay for all that the client wants.
    first: tuple[Route, VendorRequest]
    size: InputSize
    tokens: InputTokens
    # Whether the edge sees output as it is made, so that a window is reserved and not the whole limit.
    metered: bool
    # The family's tokenizer, where it is carried and loaded.
    exact_count: Count | None
    # Tokens that routes are chosen for.
    mix: Mix

    @property
    def context_tokens(self) -> int:
        """The context windows of all inputs, together."""
        return self.model.context_window_tokens * self.size.inputs

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes in the order of trying."""
        return self.plan.routes

    @property
    def output_limit(self) -> int:
        """The most output tokens that the client wants, a choice."""
        return self.request.output_limit or self.model.max_output_tokens

    def create(self, principal: Principal, run_label: str) -> pb.CreateSession:
        """The Create for accounting."""
        request, limit = self.request, self.output_limit
        if not request.makes_output:
            whole = 0
        elif self.metered:
            whole = with_error(limit, request.choices, exact=self.exact_count is not None)
        else:
            whole = limit * request.choices
        create = pb.CreateSession(
            model_id=self.model.model_id,
            key_id=principal.key_id,
            member_id=principal.member_id,
            input_tokens_bound=self.tokens.bound,
            output_tokens_limit=whole,
            output_metered=self.metered,
            input_tokens_expected=self.tokens.estimate,
            input_tokens_calibrated=self.tokens.calibrated,
            key_is_minted=principal.is_minted,
            run_label=run_label,
        )
        if (measures := self.model.measures) != IN_TOKENS:
            create.input_measure, create.output_measure = _MEASURES[measures.input], _MEASURES[measures.output]
        return create

    def payable_limit(self, granted: int, payable: int) -> int | None:
        """The limit, a choice, that the vendor must be told because no more can be paid for; None: the client's own will do."""
        request = self.request
        if not request.makes_output:
            return None
        if self.metered:
            limit = within_error(max(granted, payable), request.choices, exact=self.exact_count is not None)
        else:
            limit = granted // request.choices
        return limit if limit < self.output_limit else None

    async def measured_exactly(self) -> "Admitted | None":
        """A copy whose input is counted by the family's own tokenizer; None where that makes no difference."""
        tokens = await self.counted_input()
        if tokens is None or tokens.bound >= self.tokens.bound:
            return None
        return self._replace(tokens=tokens, exact_count=loaded_count(self.model.family.tokenizer))

    async def counted_input(self) -> InputTokens | None:
        """The input as the family's own tokenizer counts it, off the event loop, loaded if need be; None: none is carried."""
        return await _counted_exactly(self.size, self.tokens, self.model)


async def counted(size: InputSize, model: SellableModel) -> InputTokens:
    """An input as it is counted here: by the family's own tokenizer where one is carried, else estimated."""
    tokens = measure(size, estimate(size.text), model.family, model.context_window_tokens * size.inputs, model.measures)
    return await _counted_exactly(size, tokens, model) or tokens


async def _counted_exactly(size: InputSize, tokens: InputTokens, model: SellableModel) -> InputTokens | None:
    family = model.family
    if not family.tokenizer or model.measures.input is not Measure.TOKEN:
        return None
    # Loading is nobody's own work.
    found = tokenizer(family.tokenizer) if is_loaded(family.tokenizer) else await asyncio.to_thread(tokenizer, family.tokenizer)
    if found is None:
        return None
    if size.bytes_bound <= COUNT_INLINE_BYTES_MAX:
        return measure_exactly(size, tokens, family, found.count)
    return await in_thread(measure_exactly, size, tokens, family, found.count)


def admit(router: Router, dialect: str, request: Request, model: SellableModel, account_id: str) -> Admitted:
    """Checks a request as far as possible without accounting; `dialect`: the name of its vendors'. Errors: `Problem` 400, 503."""
    limit = request.output_limit
    if limit is not None and limit > model.max_output_tokens:
        raise malformed(
            request.output_field,
            f"{request.output_field} is too large: {limit}. {model.model_id} supports at most "
            f"{model.max_output_tokens} completion tokens.",
            "invalid_value",
        )
    size = request.size()
    routes = model.routes.get(dialect, ())
    if size.unknown_characters and not model.equivalent_model_ids and not any(route.endpoint.takes_unknown for route in routes):
        size = size.known
    estimated = estimate(size.text)
    context_tokens = model.context_window_tokens * size.inputs
    if model.measures.input is Measure.TOKEN and estimated * 100 > context_tokens * _CONTEXT_PERCENT_MAX:
        raise context_length_exceeded(model.model_id, context_tokens, estimated, size.param)
    tokens = measure(size, estimated, model.family, context_tokens, model.measures)
    if model.measures.input is not Measure.TOKEN:
        _check_length(size, model)
    if not routes:
        raise vendor_unavailable(f"No vendor of {model.model_id} is configured here.")
    mix = Mix(tokens.estimate, (limit or model.max_output_tokens) * request.choices if request.makes_output else 0)
    plan = router.plan(routes, account_id, request.conversation, mix)
    if plan.is_closed and not model.equivalent_model_ids:
        # Nothing is reserved for a call that nobody would answer.
        raise vendors_left_out(plan.wait_ms)
    routes = plan.routes
    streamed = is_streamed(request, routes[0].endpoint)
    metered = streamed and not model.hidden_reasoning and all(is_streamed(request, route.endpoint) for route in routes[1:])
    first = request.vendor_request(routes[0].endpoint, routes[0].vendor_model_id, None, streamed=streamed)
    return Admitted(request, model, plan, (routes[0], first), size, tokens, metered, loaded_count(model.family.tokenizer), mix)


def keep_open_routes(
    router: Router, snapshot: Snapshot, admitted: Admitted, offering_id: str, account_id: str, *, equivalents: bool | None
) -> None:
    """Keeps the routes that are open to calls of the offering that pays, and adds those of equivalent models.

    `equivalents`: whether one may answer; None: as the offering says. The offering must include it.
    """
    plan, offering = admitted.plan, snapshot.offering(offering_id)
    # An older catalog may lack an offering; whom a route is for is known all the same.
    required = offering.required_regions if offering is not None else frozenset[str]()
    preferred = offering.preferred_regions if offering is not None else frozenset[str]()
    if admitted.model.is_divided or required or preferred:
        plan.keep(lambda route: route.is_open_to(offering_id, required), preferred)
    if offering is None or not (offering.equivalent_models if equivalents is None else equivalents):
        return
    dialect = admitted.first[0].endpoint.dialect
    for model_id in admitted.model.equivalent_model_ids:
        other = snapshot.model(model_id)
        if other is None or model_id not in offering.prices or not (routes := other.routes.get(dialect)):
            continue
        more = router.plan(routes, account_id, admitted.request.conversation, admitted.mix)
        more.keep(
            lambda route: (
                route.is_open_to(offering_id, required)
                # Where a window is reserved, output must be seen as it is made.
                and (not admitted.metered or is_streamed(admitted.request, route.endpoint))
            ),
            preferred,
        )
        plan.go_on_with(more)


def _check_length(size: InputSize, model: SellableModel) -> None:
    """Refuses text to be spoken, and sound, that can't fit; the vendor judges nearer ones. Errors: `Problem` 400."""
    most = model.context_window_tokens
    if model.measures.input is Measure.CHARACTER and size.characters > most:
        # Words about the voice, and fields that are not known here, count beside the text.
        message = f"All texts have {size.characters} characters; {model.model_id} takes at most {most}. Send several requests."
        raise malformed(size.param, message, "string_too_long")
    length = sum(sound.milliseconds for sound in size.sounds)
    if model.measures.input is Measure.MILLISECOND and length * 100 > most * _CONTEXT_PERCENT_MAX:
        message = (
            f"{size.param} lasts about {length // 1_000} s; {model.model_id} listens to at most {most // 1_000} s. Send parts."
        )
        raise malformed(size.param, message, "audio_too_long")


def is_streamed(request: Request, endpoint: Endpoint) -> bool:
    """Whether the vendor is asked for a stream, even for a whole answer to the client: then windows are reserved, not its limit.

    Not so for a small whole answer, because its limit is less than a window.
    """
    if not request.makes_output or not endpoint.streams:
        return False
    limit = request.output_limit
    is_small = limit is not None and limit * request.choices <= _SMALL_TOKENS and endpoint.limit_counts_reasoning
    return request.streamed or not is_small


class Interpreter(NamedTuple):
    """Finds the dialect in which a model's vendors are asked."""

    translator: Translator
    # The URL of each dialect's calls by its name, for callers of a model that cannot be called in their dialect.
    served_at: Mapping[str, str]

    async def interpret(self, dialect: Dialect, request: Request, model: SellableModel) -> tuple[str, Request]:
        """The name of the vendors' dialect, and the request for it: as it is where a vendor speaks the client's, else translated.

        Errors: `Problem` 400 that names the field that cannot be carried, or the places where the model is called.
        """
        spoken = model.routes.keys()
        if dialect.name in spoken or not spoken:
            return dialect.name, request
        targets = self.translator.targets(dialect.name, spoken)
        if not targets:
            others = [at for name, at in self.served_at.items() if name in spoken or self.translator.targets(name, spoken)]
            if others:
                raise not_in_dialect(model.model_id, ", ".join(sorted(others)))
            return dialect.name, request
        translate = partial(
            self.translator.translated,
            dialect,
            request,
            targets,
            model_id=model.model_id,
            output_max=model.max_output_tokens,
        )
        return await in_thread(translate) if self.translator.is_long_work(request) else translate()


def model_of(snapshot: Snapshot, model_id: str) -> SellableModel:
    """The model of this ID. Errors: `Problem` 404."""
    model = snapshot.model(model_id)
    if model is None:
        raise model_not_found(model_id)
    return model


def loaded_count(name: str) -> Count | None:
    """The tokenizer's count if it is loaded; else loads it in the background, for the next calls."""
    if not name:
        return None
    if is_loaded(name):
        found = tokenizer(name)
        return found.count if found is not None else None
    if name not in _loading:
        _loading[name] = asyncio.get_running_loop().run_in_executor(None, tokenizer, name)
        _loading[name].add_done_callback(lambda _: _loading.pop(name, None))
    return None
