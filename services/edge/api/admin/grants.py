"""Allowances granted over HTTP by another system of the operator, which knows accounts by its own IDs."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler

from services.edge.api.account_json import bucket_json
from services.edge.api.admin.accounts import account_named
from services.edge.api.admin.body import Name, parse, valid_until
from services.edge.api.admin.command import give
from services.edge.http.problems import not_found
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2_grpc


class _Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    external_id: Name
    offering_id: Name
    idempotency_key: Name
    allowance_id: Name | None = None
    valid_until: str | None = None


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    external_id: Name
    idempotency_key: Name


def grant_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @post("/grants")
    async def grant_allowances(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Grant)
        granting = pb.GrantAllowancesRequest(
            offering_id=wanted.offering_id,
            allowance_id=wanted.allowance_id or "",
            valid_until_time=None if wanted.valid_until is None else valid_until(wanted.valid_until),
            idempotency_key=wanted.idempotency_key,
        )
        granting.account_id = await _account_of(authentication, wanted.external_id)
        granted = await give(request, accounting.GrantAllowances, granting)
        return {
            "account_id": granting.account_id,
            "external_id": wanted.external_id,
            "offering_id": wanted.offering_id,
            "idempotency_key": wanted.idempotency_key,
            "buckets": [bucket_json(bucket) for bucket in granted.buckets],
        }

    @post("/grants/end", status_code=200)
    async def end_grant(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _End)
        account_id = await _account_of(authentication, wanted.external_id)
        ending = pb.EndGrantRequest(account_id=account_id, idempotency_key=wanted.idempotency_key)
        ended = await give(request, accounting.EndGrant, ending)
        return {
            "account_id": account_id,
            "external_id": wanted.external_id,
            "idempotency_key": wanted.idempotency_key,
            "expired": [{"bucket_id": each.bucket_id, "amount": each.amount} for each in ended.expired],
        }

    return [grant_allowances, end_grant]


async def _account_of(authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", external_id: str) -> str:
    """The account of an ID of the operator's systems. Errors: `ServiceError`; `Problem` 404 where there is none."""
    account_id = await account_named(authentication, external_id)
    if not account_id:
        message = f"No account has the external_id {external_id!r}: open one with it, or give it to the account that is meant."
        raise not_found("account_not_found", message, "external_id")
    return account_id
