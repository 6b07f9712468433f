"""The phone bill over HTTP, for the operator: what the carrier is asked for, and the lines that accounts are billed on."""

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from services.edge.api.account_json import AMOUNTS_IN, rfc3339
from services.edge.api.admin.accounts import account_of
from services.edge.api.admin.body import TIMEOUT_S, parse
from services.edge.api.admin.command import ask_updated
from services.edge.http.problems import malformed
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2 as pb
from tokenline.billing.v1 import billing_pb2_grpc

_SERVICE: Final = "billing"
# The carrier may take its time with a code.
_CODE_TIMEOUT_S: Final = 60.0
_STATES: Final = (
    *("waiting", "asking", "processing", "pending_validation", "reserved", "paid", "confirming", "cancelling"),
    *("succeeded", "denied", "cancelled", "returned", "disputed"),
)
# All that is not ended well.
_UNSETTLED: Final = tuple(state for state in _STATES if state not in ("succeeded", "cancelled", "returned"))


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    phone_number: Annotated[str, msgspec.Meta(pattern=r"^\+[1-9][0-9]{4,14}\Z")] | None


class _Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class _LineCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    line_code: Annotated[str, msgspec.Meta(pattern=r"^[ -~]{1,100}\Z")]


def phone_bill_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub", billing: "billing_pb2_grpc.BillingServiceAsyncStub"
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @get("/phone-bill")
    async def list_demands(
        account_id: FromQuery[str] = "",
        states: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
    ) -> dict[str, Any]:
        wanted = states.split(",") if states else () if account_id else _UNSETTLED
        if not set(wanted) <= set(_STATES):
            raise malformed("states", f"states must be some of {', '.join(_STATES)}, with commas between.", "invalid_value")
        listing = pb.ListDemandsRequest(account_id=account_id, states=wanted, demands_max=limit)
        listed = await ask_updated(billing.ListDemands(listing, timeout=TIMEOUT_S), _SERVICE)
        return {
            "object": "phone_bill",
            **AMOUNTS_IN,
            "carrier": listed.carrier,
            "phone_number": listed.phone_number or None,
            "data": [demand_json(demand) for demand in listed.demands],
            "not_asked_for": [{"currency": use.currency, "amount": use.amount} for use in listed.uses],
        }

    @put("/accounts/{account_id:str}/line")
    async def set_line(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        line = parse(await request.body(), _Line)
        await account_of(accounting, account_id)
        setting = pb.SetLineRequest(account_id=account_id, phone_number=line.phone_number or "")
        await ask_updated(billing.SetLine(setting, timeout=TIMEOUT_S), _SERVICE)
        return {"account_id": account_id, "phone_number": line.phone_number}

    @post("/phone-bill/{demand_id:str}/code", status_code=200)
    async def show_code(request: Request[Any, Any, Any], demand_id: FromPath[str]) -> dict[str, Any]:
        shown = parse(await request.body(), _LineCode)
        showing = pb.ShowCodeRequest(demand_id=demand_id, code=shown.line_code)
        return demand_json((await ask_updated(billing.ShowCode(showing, timeout=_CODE_TIMEOUT_S), _SERVICE)).demand)

    @post("/phone-bill/{demand_id:str}/retry", status_code=200)
    async def retry_demand(request: Request[Any, Any, Any], demand_id: FromPath[str]) -> dict[str, Any]:
        parse(await request.body(), _Retry)
        retrying = pb.RetryDemandRequest(demand_id=demand_id)
        return demand_json((await ask_updated(billing.RetryDemand(retrying, timeout=TIMEOUT_S), _SERVICE)).demand)

    return [list_demands, set_line, show_code, retry_demand]


def demand_json(demand: pb.Demand) -> dict[str, Any]:
    """A payment or refund that the carrier is asked for."""
    return {
        "demand_id": demand.demand_id,
        "kind": "refund" if demand.refunds else "payment",
        "source": demand.source,
        "account_id": demand.account_id,
        "made_at": rfc3339(demand.make_time),
        "currency": demand.currency,
        "amount": demand.amount,
        "order_id": demand.order_id or None,
        "subscription_id": demand.subscription_id or None,
        "offering_id": demand.offering_id or None,
        "state": demand.state,
        "reason": demand.reason or None,
        "payment_id": demand.payment_id or None,
        "refund_id": demand.refund_id or None,
        "next_try_at": rfc3339(demand.next_try_time) if demand.HasField("next_try_time") else None,
    }
