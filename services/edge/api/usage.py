"""GET /v1/usage: what is left to the key that asks, when it renews, and what was used of the running cycles."""

from collections.abc import Iterable
from typing import Any, Final

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from services.edge.api.account_json import AMOUNTS_IN, rfc3339, unit_json
from services.edge.api.readers import Readers
from services.edge.http.problems import unavailable
from services.edge.identity.principals import Principal
from services.runtime.clock import Clock
from services.runtime.errors import from_rpc
from services.runtime.http.asgi import exchange_of
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.registry.v1 import registry_pb2

_TIMEOUT_S: Final = 5.0
_ACTIVE: Final = "active"
_NO_UNIT: Final = {"unit": None, "currency": None}


def usage_routes(
    readers: Readers, accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub", clock: Clock
) -> list[HTTPRouteHandler]:
    """GET /v1/usage."""

    @get("/v1/usage")
    async def usage(request: Request[Any, Any, Any]) -> dict[str, Any]:
        principal = await readers.resolve(exchange_of(request.scope))
        asking = pb.GetUsageRequest(account_id=principal.account_id, key_id=principal.key_id, member_id=principal.member_id)
        try:
            response = await accounting.GetUsage(asking, timeout=_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                # In a rolling update: the release before can't say.
                raise unavailable("accounting is being updated") from None
            raise from_rpc(error) from error
        return usage_json(response, principal, clock.now_us())

    return [usage]


def usage_json(response: pb.GetUsageResponse, principal: Principal, now_us: int) -> dict[str, Any]:
    """All that is left at `now_us`; buckets whose time is over are left out."""
    account = response.account
    buckets = [bucket for bucket in account.buckets if now_us < _us(bucket.valid_until_time)]
    renewals = {each.subscription_id: _renews_at(each) for each in account.subscriptions}
    return {
        "object": "usage",
        **AMOUNTS_IN,
        "account_id": account.account_id,
        "offering_id": account.offering_id,
        "member_id": principal.member_id,
        "key_id": principal.key_id,
        "valid_until": rfc3339(response.valid_until_time),
        "balances": _balances(buckets, account.debts, now_us),
        "buckets": [_bucket_json(bucket, renewals.get(bucket.subscription_id)) for bucket in buckets],
        "cycles": [_cycle_json(each, buckets) for each in account.subscriptions if each.state != "ended"],
        "limits": [_limit_json(each) for each in response.limits],
    }


def _us(time: Timestamp) -> int:
    return time.seconds * 1_000_000 + time.nanos // 1_000


def _balances(buckets: Iterable[pb.Bucket], debts: Iterable[pb.Debt], now_us: int) -> list[dict[str, Any]]:
    """One sum a unit: of the buckets that can be used now, and of what is owed."""
    sums: dict[tuple[int, str], dict[str, Any]] = {}

    def of(unit: pb.UnitOfAmount) -> dict[str, Any]:
        return sums.setdefault((unit.unit, unit.currency), {**unit_json(unit), "remaining": 0, "reserved": 0, "owed": 0})

    for bucket in buckets:
        if _us(bucket.valid_from_time) <= now_us:
            balance = of(bucket.unit)
            balance["remaining"] += bucket.remaining
            balance["reserved"] += bucket.reserved
    for debt in debts:
        of(debt.unit)["owed"] += debt.outstanding
    return list(sums.values())


def _bucket_json(bucket: pb.Bucket, renews_at: str | None) -> dict[str, Any]:
    return {
        "bucket_id": bucket.bucket_id,
        **unit_json(bucket.unit),
        "model_group": bucket.model_group or None,
        "granted": bucket.granted,
        "used": bucket.consumed,
        "reserved": bucket.reserved,
        "remaining": bucket.remaining,
        "valid_from": rfc3339(bucket.valid_from_time),
        "valid_until": rfc3339(bucket.valid_until_time),
        "subscription_id": bucket.subscription_id or None,
        "renews_at": renews_at,
    }


def _renews_at(subscription: pb.Subscription) -> str | None:
    """The time of the next cycle, if there is one."""
    renews = subscription.state == _ACTIVE and subscription.next_offering_id
    return rfc3339(subscription.cycle_end_time) if renews else None


def _cycle_json(subscription: pb.Subscription, buckets: Iterable[pb.Bucket]) -> dict[str, Any]:
    """A subscription's running cycle, with what was used of the allowances that it granted: not of those rolled over into it."""
    begin_us = _us(subscription.cycle_start_time)
    own = [
        bucket
        for bucket in buckets
        if bucket.subscription_id == subscription.subscription_id and _us(bucket.valid_from_time) >= begin_us
    ]
    return {
        "subscription_id": subscription.subscription_id,
        "offering_id": subscription.offering_id,
        "state": subscription.state,
        "cycle_number": subscription.cycle_number,
        "cycle_start": rfc3339(subscription.cycle_start_time),
        "cycle_end": rfc3339(subscription.cycle_end_time),
        "renews_at": _renews_at(subscription),
        "used": [{**unit_json(bucket.unit), "amount": bucket.consumed} for bucket in own],
    }


def _limit_json(left: pb.LimitLeft) -> dict[str, Any]:
    limit = left.limit
    kind = limit.WhichOneof("kind")
    told: dict[str, Any] = {
        "limit_id": limit.limit_id,
        "per": registry_pb2.LimitScope.Name(limit.per).removeprefix("LIMIT_SCOPE_").lower(),
        "kind": kind,
        **_NO_UNIT,
        "burst": None,
    }
    match kind:
        case "request_rate":
            told |= {"limit": limit.request_rate.requests_per_minute, "burst": limit.request_rate.burst}
        case "token_rate":
            told |= {"limit": limit.token_rate.tokens_per_minute, "burst": limit.token_rate.burst}
        case "concurrent_sessions":
            told["limit"] = limit.concurrent_sessions
        case _:
            unit = pb.UnitOfAmount(unit=limit.usage.unit, currency=limit.usage.currency)
            told |= {**unit_json(unit), "limit": limit.usage.amount}
    return told | {
        "used": left.used,
        "reserved": left.reserved,
        "remaining": left.remaining,
        "window_start": rfc3339(left.start_time),
        "resets_at": rfc3339(left.reset_time),
    }
