"""GET /v1/models: the models that this key may use, and their prices there.

A client that sends `anthropic-version` gets Anthropic's shape, with pages, and errors in its words; any other gets OpenAI's.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import rfc3339_of_us
from services.edge.api.readers import Readers
from services.edge.catalog import CatalogHolder, SellableModel, SellableOffering, Snapshot
from services.edge.dialects.anthropic_messages.dialect import MESSAGES
from services.edge.http.answers import named
from services.edge.http.problems import key_ended, malformed, model_not_found, unavailable
from services.edge.identity.principals import Principal
from services.edge.prices import tier_json
from services.runtime.clients import answer
from services.runtime.clock import Clock
from services.runtime.http.asgi import exchange_of
from services.runtime.identifiers import uuid7
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc

_TIMEOUT_S: Final = 5.0
_ACCOUNTS_MAX: Final = 65_536
# Models on a page of Anthropic's list.
_PAGE: Final = 20
_PAGE_MAX: Final = 1_000
_DIGITS_MAX: Final = 4


# The models that a key may use, each with the offering that prices it.
Usable = Mapping[str, SellableOffering]


class Held(NamedTuple):
    """An offering whose models an account may use."""

    offering_id: str
    # Those of this group alone; empty: all.
    model_group: str = ""


class AccountOfferings:
    """Offerings of accounts, remembered for a few seconds, so that a client that polls lists costs accounting little."""

    def __init__(
        self,
        accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
        clock: Clock,
        remembered_s: float = 5.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounting = accounting
        self._clock = clock
        self._remembered_s = remembered_s
        self._monotonic_s = monotonic_s
        # In the order of their ends.
        self._known: dict[str, tuple[float, tuple[Held, ...]]] = {}
        # Models of minted keys, by key; None: all of the offering's.
        self._minted: dict[str, tuple[float, frozenset[str] | None]] = {}

    async def usable(self, snapshot: Snapshot, principal: Principal) -> Usable | None:
        """The models that a principal's key may use; None: its account's own offering is not in the catalog.

        Errors: those of `held`.
        """
        own, *bought = await self.held(principal.account_id)
        if snapshot.offering(own.offering_id) is None:
            return None
        usable: dict[str, SellableOffering] = {}
        for held in (own, *bought):
            if (offering := snapshot.offering(held.offering_id)) is not None:
                sold = offering.prices.keys() & snapshot.group(held.model_group) if held.model_group else offering.prices
                for model_id in sold:
                    usable.setdefault(model_id, offering)
        if not principal.is_minted or (models := await self._models_of(principal)) is None:
            return usable
        return {model_id: offering for model_id, offering in usable.items() if model_id in models}

    async def _models_of(self, principal: Principal) -> frozenset[str] | None:
        known = self._minted.pop(principal.key_id, None)
        if known is None or self._monotonic_s() >= known[0]:
            request = accounting_pb2.ListRunsRequest(account_id=principal.account_id, key_id=principal.key_id)
            runs = (await answer(self._accounting.ListRuns(request, timeout=_TIMEOUT_S))).runs
            own = next((run for run in runs if run.key_id == principal.key_id), None)
            if own is None:
                raise key_ended(f"the time of key:{principal.key_id} has ended")
            known = self._monotonic_s() + self._remembered_s, frozenset(own.model_ids) or None
        self._minted[principal.key_id] = known
        if len(self._minted) > _ACCOUNTS_MAX:
            del self._minted[next(iter(self._minted))]
        return known[1]

    async def held(self, account_id: str) -> tuple[Held, ...]:
        """The account's own offering, then those that it bought or was given; the first that sells a model prices it in lists.

        Errors: `ServiceError` ACCOUNT_UNKNOWN, or when accounting cannot answer.
        """
        known = self._known.get(account_id)
        if known is not None and self._monotonic_s() < known[0]:
            return known[1]
        request = accounting_pb2.GetAccountRequest(account_id=account_id)
        response = await answer(self._accounting.GetAccount(request, timeout=_TIMEOUT_S))
        self._known.pop(account_id, None)
        held = _held_by(response.account, self._clock.now_us())
        self._known[account_id] = (self._monotonic_s() + self._remembered_s, held)
        if len(self._known) > _ACCOUNTS_MAX:
            del self._known[next(iter(self._known))]
        return held


def _held_by(account: accounting_pb2.Account, now_us: int) -> tuple[Held, ...]:
    active = [each.offering_id for each in account.subscriptions if each.state == "active"]
    # Packs, gifts and grants, as long as something of them is left.
    left = [
        Held(each.offering_id, each.model_group)
        for each in account.buckets
        if each.offering_id
        and (each.remaining or each.reserved)
        and each.valid_from_time.ToMicroseconds() <= now_us < each.valid_until_time.ToMicroseconds()
    ]
    return tuple(dict.fromkeys([Held(account.offering_id), *map(Held, reversed(active)), *left]))


def models_routes(readers: Readers, catalog: CatalogHolder, offerings: AccountOfferings, clock: Clock) -> list[HTTPRouteHandler]:
    """GET /v1/models and GET /v1/models/{id}. A model without a configured route can't be used, so it is not shown."""
    listed = _Listed()

    async def usable_by(request: Request[Any, Any, Any]) -> tuple[Snapshot, Usable]:
        principal = await readers.resolve(exchange_of(request.scope))
        snapshot = catalog.current
        if snapshot is None:
            raise unavailable("the catalog is not loaded yet")
        usable = await offerings.usable(snapshot, principal)
        if usable is None:
            raise unavailable("the account's offering is not in the catalog")
        return snapshot, usable

    def answered(request: Request[Any, Any, Any], content: dict[str, Any]) -> Response[dict[str, Any]]:
        headers = named(MESSAGES, uuid7(clock.now_us())) if is_anthropic(request) else []
        return Response(content, headers={name.decode("ascii"): value.decode("ascii") for name, value in headers})

    @get("/v1/models")
    async def list_models(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        snapshot, usable = await usable_by(request)
        found = (snapshot.model(model_id) for model_id in usable)
        models = [model for model in found if model is not None and model.routes]
        if is_anthropic(request):
            return answered(request, anthropic_page(models, request.query_params))
        return answered(
            request, {"object": "list", "data": [listed.text(snapshot, model, usable[model.model_id]) for model in models]}
        )

    @get("/v1/models/{model_path:path}")
    async def get_model(request: Request[Any, Any, Any], model_path: FromPath[str]) -> Response[dict[str, Any]]:
        snapshot, usable = await usable_by(request)
        model_id = model_path.removeprefix("/")
        model = snapshot.model(model_id)
        if model is None or model.model_id not in usable or not model.routes:
            raise model_not_found(model_id)
        return answered(request, _anthropic_json(model) if is_anthropic(request) else _model_json(model, usable[model.model_id]))

    return [list_models, get_model]


def is_anthropic(request: Request[Any, Any, Any]) -> bool:
    """Whether the client speaks Anthropic's dialect."""
    return "anthropic-version" in request.headers


def anthropic_page(models: Sequence[SellableModel], query: Mapping[str, str]) -> dict[str, Any]:
    """A page of Anthropic's list, the newest first: `limit` models after `after_id`, or before `before_id`.

    Errors: `Problem` 400 that names the parameter.
    """
    ordered = sorted(models, key=lambda model: (-model.release_time_s, model.model_id))
    limit = _page_size(query.get("limit"))
    after_id, before_id = query.get("after_id"), query.get("before_id")
    if after_id and before_id:
        raise malformed("before_id", "after_id and before_id stand for two pages. Send one of them.", "invalid_value")
    begin, end = 0, len(ordered)
    if after_id:
        begin = _place(ordered, after_id, "after_id") + 1
    elif before_id:
        end = _place(ordered, before_id, "before_id")
    page = ordered[max(begin, end - limit) : end] if before_id else ordered[begin : begin + limit]
    return {
        "data": [_anthropic_json(model) for model in page],
        "has_more": len(page) < end - begin,
        "first_id": page[0].model_id if page else None,
        "last_id": page[-1].model_id if page else None,
    }


def _page_size(text: str | None) -> int:
    if text is None:
        return _PAGE
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:_DIGITS_MAX]) <= _PAGE_MAX or len(text) > _DIGITS_MAX:
        raise malformed("limit", f"limit must be a whole number from 1 to {_PAGE_MAX}; it is {text!r}.", "invalid_value")
    return int(text)


def _place(ordered: Sequence[SellableModel], model_id: str, param: str) -> int:
    for place, model in enumerate(ordered):
        if model.model_id == model_id:
            return place
    raise malformed(param, f"{param} names no model of the list: {model_id!r}. Begin again without it.", "invalid_value")


def _anthropic_json(model: SellableModel) -> dict[str, Any]:
    created_at = rfc3339_of_us(model.release_time_s * 1_000_000)
    return {"type": "model", "id": model.model_id, "display_name": model.display_name, "created_at": created_at}


class _Listed:
    """Models as they stand in a list, each made once for an offering and a snapshot, because a list has hundreds of them."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._texts: dict[tuple[str, str], msgspec.Raw] = {}

    def text(self, snapshot: Snapshot, model: SellableModel, offering: SellableOffering) -> msgspec.Raw:
        """The model's JSON."""
        if snapshot is not self._snapshot:
            self._snapshot, self._texts = snapshot, {}
        key = model.model_id, offering.offering_id
        if (text := self._texts.get(key)) is None:
            text = self._texts[key] = msgspec.Raw(msgspec.json.encode(_model_json(model, offering)))
        return text


def _model_json(model: SellableModel, offering: SellableOffering) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.release_time_s,
        "owned_by": model.owned_by,
        "context_window": model.context_window_tokens,
        "max_output_tokens": model.max_output_tokens,
        "measures": {"input": model.measures.input.value, "output": model.measures.output.value},
        "pricing": {
            "unit": offering.unit,
            "currency": offering.currency,
            "tiers": [tier_json(tier) for tier in offering.prices[model.model_id]],
        },
    }
