"""GET /v1/models: the models that this key may use, and their prices there."""

import time
from collections.abc import Callable
from typing import Any, Final

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.catalog import CatalogHolder, PriceTier, SellableModel, SellableOffering, Snapshot
from services.edge.http.problems import model_not_found, unavailable
from services.edge.identity.principals import Principals
from services.runtime.clients import answer
from services.runtime.http.asgi import exchange_of
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc

_TIMEOUT_S: Final = 5.0
_ACCOUNTS_MAX: Final = 65_536


class AccountOfferings:
    """Offerings of accounts, remembered for a few seconds, so that a client that polls lists costs accounting little."""

    def __init__(
        self,
        accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
        remembered_s: float = 5.0,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounting = accounting
        self._remembered_s = remembered_s
        self._monotonic_s = monotonic_s
        # In the order of their ends.
        self._known: dict[str, tuple[float, str]] = {}

    async def offering_id(self, account_id: str) -> str:
        """The account's offering. Errors: `ServiceError` ACCOUNT_UNKNOWN, or when accounting cannot answer."""
        known = self._known.get(account_id)
        if known is not None and self._monotonic_s() < known[0]:
            return known[1]
        request = accounting_pb2.GetAccountRequest(account_id=account_id)
        response = await answer(self._accounting.GetAccount(request, timeout=_TIMEOUT_S))
        self._known.pop(account_id, None)
        self._known[account_id] = (self._monotonic_s() + self._remembered_s, response.account.offering_id)
        if len(self._known) > _ACCOUNTS_MAX:
            del self._known[next(iter(self._known))]
        return response.account.offering_id


def models_routes(principals: Principals, catalog: CatalogHolder, offerings: AccountOfferings) -> list[HTTPRouteHandler]:
    """GET /v1/models and GET /v1/models/{id}. A model without a configured route can't be used, so it is not shown."""

    async def offering_of(request: Request[Any, Any, Any]) -> tuple[Snapshot, SellableOffering]:
        principal = await principals.resolve(exchange_of(request.scope))
        snapshot = catalog.current
        if snapshot is None:
            raise unavailable("the catalog is not loaded yet")
        offering = snapshot.offering(await offerings.offering_id(principal.account_id))
        if offering is None:
            raise unavailable("the account's offering is not in the catalog")
        return snapshot, offering

    @get("/v1/models")
    async def list_models(request: Request[Any, Any, Any]) -> dict[str, Any]:
        snapshot, offering = await offering_of(request)
        models = (snapshot.model(model_id) for model_id in offering.prices)
        return {"object": "list", "data": [_model_json(model, offering) for model in models if model is not None and model.routes]}

    @get("/v1/models/{model_path:path}")
    async def get_model(request: Request[Any, Any, Any], model_path: FromPath[str]) -> dict[str, Any]:
        snapshot, offering = await offering_of(request)
        model_id = model_path.removeprefix("/")
        model = snapshot.model(model_id)
        if model is None or model_id not in offering.prices or not model.routes:
            raise model_not_found(model_id)
        return _model_json(model, offering)

    return [list_models, get_model]


def _model_json(model: SellableModel, offering: SellableOffering) -> dict[str, Any]:
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.release_time_s,
        "owned_by": model.owned_by,
        "context_window": model.context_window_tokens,
        "max_output_tokens": model.max_output_tokens,
        "pricing": {
            "unit": offering.unit,
            "currency": offering.currency,
            "tiers": [_tier_json(tier) for tier in offering.prices[model.model_id]],
        },
    }


def _tier_json(tier: PriceTier) -> dict[str, int]:
    return {"above_input_tokens": tier.above_input_tokens, **tier.rates}
