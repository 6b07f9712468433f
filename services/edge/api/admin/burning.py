"""Accounts that burn most, for those on call."""

from typing import Annotated, Any, Final

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromQuery, QueryParameter

from services.edge.api.account_json import AMOUNTS_IN, unit_json
from services.edge.http.problems import malformed
from services.runtime.clients import answer
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc

_TIMEOUT_S: Final = 5.0
_WINDOWS_S: Final = {"1m": 60, "5m": 300, "15m": 900}


def burning_routes(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @get("/accounts/burning")
    async def list_burning(
        window: FromQuery[str] = "5m", limit: Annotated[int, QueryParameter(ge=1, le=100)] = 10
    ) -> dict[str, Any]:
        if window not in _WINDOWS_S:
            raise malformed("window", f"window must be one of {', '.join(_WINDOWS_S)}.", "invalid_value")
        asking = accounting_pb2.ListBurningRequest(window_seconds=_WINDOWS_S[window], account_limit=limit)
        burning = await answer(accounting.ListBurning(asking, timeout=_TIMEOUT_S))
        return {
            "window": window,
            **AMOUNTS_IN,
            "units": [_unit_json(each) for each in burning.units],
            "silent": list(burning.silent_addresses),
        }

    return [list_burning]


def _unit_json(burning: accounting_pb2.BurningUnit) -> dict[str, Any]:
    return {
        **unit_json(burning.unit),
        "charged": burning.charged_amount,
        "records": burning.records,
        "accounts": [{"account_id": each.account_id, "charged": each.charged_amount} for each in burning.accounts],
        "error": burning.error_amount,
    }
