"""Keys over HTTP, for the operator: issued, listed, revoked."""

import secrets
from typing import Any

import msgspec
from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import rfc3339
from services.edge.api.admin.accounts import account_of
from services.edge.api.admin.body import TIMEOUT_S, Name, Scope, parse
from services.edge.api.admin.command import give
from services.runtime.clients import answer
from services.runtime.identifiers import derived_name
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc


class _KeyToIssue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    idempotency_key: Name | None = None
    scopes: list[Scope] = []
    member_id: Name | None = None


def key_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @post("/accounts/{account_id:str}/keys")
    async def issue_key(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _KeyToIssue)
        # Authentication knows one set of idempotency keys for all it makes; a caller's is his own for each account.
        idempotency_key = derived_name("key", account_id, wanted.idempotency_key or secrets.token_hex(16))
        issuing = authentication_pb2.CreateKeyRequest(
            account_id=account_id, member_id=wanted.member_id or "", idempotency_key=idempotency_key, scopes=wanted.scopes
        )
        issued = await answer(authentication.CreateKey(issuing, timeout=TIMEOUT_S))
        return {
            "key_id": issued.key.key_id,
            "api_key": issued.api_key,
            "account_id": issued.key.account_id,
            "member_id": issued.key.member_id,
            "scopes": list(issued.key.scopes),
        }

    @get("/accounts/{account_id:str}/keys")
    async def list_keys(account_id: FromPath[str]) -> dict[str, Any]:
        listing = authentication_pb2.ListKeysRequest(account_id=account_id)
        keys = (await answer(authentication.ListKeys(listing, timeout=TIMEOUT_S))).keys
        if not keys:
            # Authentication does not know accounts; an account without keys and no account are not the same.
            await account_of(accounting, account_id)
        return {
            "data": [
                {
                    "key_id": key.key_id,
                    "member_id": key.member_id,
                    "masked_key": key.masked_key,
                    "created_at": rfc3339(key.create_time),
                    "revoked_at": rfc3339(key.revoke_time),
                    "parent_key_id": key.parent_key_id or None,
                    "scopes": list(key.scopes),
                    "ends_at": rfc3339(key.end_time),
                }
                for key in keys
            ]
        }

    @delete("/keys/{key_id:str}", status_code=200)
    async def revoke_key(request: Request[Any, Any, Any], key_id: FromPath[str]) -> dict[str, Any]:
        revoking = authentication_pb2.RevokeKeyRequest(key_id=key_id)
        revoked = (await answer(authentication.RevokeKey(revoking, timeout=TIMEOUT_S))).key
        if revoked.parent_key_id or revoked.scopes:
            # No key of the family passes any more; accounting need not keep their runs as living ones.
            ending = accounting_pb2.EndRunsRequest(account_id=revoked.account_id, key_id=key_id)
            await give(request, accounting.EndRuns, ending)
        return {"key_id": revoked.key_id, "revoked_at": rfc3339(revoked.revoke_time)}

    return [issue_key, list_keys, revoke_key]
