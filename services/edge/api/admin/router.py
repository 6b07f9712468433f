"""The operator's administration over HTTP: accounts, buckets, keys, the catalog.

Opened by the admin token alone. Every amount is an integer of micro-units. A request with an idempotency key may be repeated.
"""

import hashlib
import hmac
import secrets
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import grpc
import msgspec
from google.protobuf.duration_pb2 import Duration
from litestar import Request, Router, delete, get, post
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN, bucket_json, debt_json, losses_json, rfc3339, session_json
from services.edge.api.admin.body import AMOUNT_MAX, DAY_S, Name, parse, wrong
from services.edge.api.admin.cell import cell_routes
from services.edge.api.admin.sales import counter_json, limits_json, order_json, sales_routes, subscription_json, transfer_json
from services.edge.catalog import CatalogHolder, Snapshot
from services.edge.http.problems import invalid_admin_token, unavailable
from services.edge.identity.principals import bearer
from services.runtime.clients import answer
from services.runtime.config import ConfigError
from services.runtime.errors import from_rpc
from services.runtime.http.asgi import exchange_of
from services.runtime.identifiers import derived_name
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.billing.v1 import billing_pb2_grpc

_TIMEOUT_S: Final = 5.0
_TOKEN_CHARACTERS_MIN: Final = 16


class _AccountToOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name | None = None
    idempotency_key: Name | None = None


class _BucketToGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit: Literal["TOKEN", "POINT", "CURRENCY"]
    amount: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
    valid_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)]
    idempotency_key: Name
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")] | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0


class _KeyToIssue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    idempotency_key: Name | None = None


def read_admin_token(path: Path) -> str:
    """The token in the file. Errors: `ConfigError` when it can't be read, is too short or no token."""
    try:
        token = path.read_text(encoding="ascii").strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: the admin token must be of ASCII characters") from error
    except OSError as error:
        raise ConfigError(f"{path}: the admin token cannot be read: {error.strerror}") from error
    if len(token) < _TOKEN_CHARACTERS_MIN or not token.isprintable() or " " in token:
        raise ConfigError(f"{path}: the admin token must be one word of at least {_TOKEN_CHARACTERS_MIN} characters")
    return token


def admin_router(
    token: str,
    catalog: CatalogHolder,
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    billing: "billing_pb2_grpc.BillingServiceAsyncStub",
) -> Router:
    """All routes under /v1/admin."""
    expected = _digest(token.encode("ascii"))

    def only_with_token(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        # Digests have one length, so that the comparison tells nothing of the token, not even its length.
        if not hmac.compare_digest(_digest(bearer(connection.scope["headers"]) or b""), expected):
            raise invalid_admin_token()
        exchange_of(connection.scope).known = True

    def catalog_in_force() -> Snapshot:
        if catalog.current is None:
            raise unavailable("the catalog is not loaded yet")
        return catalog.current

    async def account(account_id: str) -> accounting_pb2.Account:
        request = accounting_pb2.GetAccountRequest(account_id=account_id)
        return (await answer(accounting.GetAccount(request, timeout=_TIMEOUT_S))).account

    @post("/accounts")
    async def open_account(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _AccountToOpen)
        key = wanted.idempotency_key or secrets.token_hex(16)
        account_id = derived_name("acct", key)
        opening = accounting_pb2.OpenAccountRequest(account_id=account_id, offering_id=wanted.offering_id or "")
        opened = (await answer(accounting.OpenAccount(opening, timeout=_TIMEOUT_S))).account
        # A repeat after a failure between the two calls finds the account open and adds the member that is missing.
        joining = authentication_pb2.CreateMemberRequest(
            account_id=account_id, idempotency_key=derived_name("member", account_id, key)
        )
        member = (await answer(authentication.CreateMember(joining, timeout=_TIMEOUT_S))).member
        return {"account_id": opened.account_id, "offering_id": opened.offering_id, "member_id": member.member_id}

    async def suspension_of(account_id: str) -> authentication_pb2.Suspension:
        asking = authentication_pb2.GetSuspensionRequest(account_id=account_id)
        try:
            return (await authentication.GetSuspension(asking, timeout=_TIMEOUT_S)).suspension
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                # In a rolling update: the release before suspends nobody.
                return authentication_pb2.Suspension(account_id=account_id)
            raise from_rpc(error) from error

    @get("/accounts/{account_id:str}")
    async def show_account(account_id: FromPath[str]) -> dict[str, Any]:
        found = await account(account_id)
        suspension = await suspension_of(account_id)
        return {
            **AMOUNTS_IN,
            "account_id": found.account_id,
            "offering_id": found.offering_id,
            "created_at": rfc3339(found.create_time),
            "suspended_at": None if suspension.HasField("resume_time") else rfc3339(suspension.suspend_time),
            "buckets": [bucket_json(bucket) for bucket in found.buckets],
            "debt": [debt_json(debt) for debt in found.debts],
            "absorbed": losses_json(found.losses),
            "sessions": [session_json(session) for session in found.sessions],
            "subscriptions": [subscription_json(each) for each in found.subscriptions],
            "orders": [order_json(each) for each in found.orders],
            "transfers": [transfer_json(each) for each in found.transfers],
            "counters": [counter_json(each) for each in found.counters],
            "limits": [limits_json(each) for each in found.limits],
        }

    @post("/accounts/{account_id:str}/suspend", status_code=200)
    async def suspend_account(account_id: FromPath[str]) -> dict[str, Any]:
        suspending = authentication_pb2.SuspendAccountRequest(account_id=account_id)
        return _suspension_json((await answer(authentication.SuspendAccount(suspending, timeout=_TIMEOUT_S))).suspension)

    @post("/accounts/{account_id:str}/resume", status_code=200)
    async def resume_account(account_id: FromPath[str]) -> dict[str, Any]:
        resuming = authentication_pb2.ResumeAccountRequest(account_id=account_id)
        return _suspension_json((await answer(authentication.ResumeAccount(resuming, timeout=_TIMEOUT_S))).suspension)

    @post("/accounts/{account_id:str}/buckets")
    async def grant_bucket(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _BucketToGrant)
        if (wanted.currency is not None) != (wanted.unit == "CURRENCY"):
            raise wrong("currency")
        granting = accounting_pb2.GrantBucketRequest(
            account_id=account_id,
            unit=accounting_pb2.UnitOfAmount(unit=f"UNIT_{wanted.unit}", currency=wanted.currency or ""),
            amount=wanted.amount,
            valid_for=Duration(seconds=wanted.valid_days * DAY_S),
            priority=wanted.priority,
            idempotency_key=wanted.idempotency_key,
        )
        granted = await answer(accounting.GrantBucket(granting, timeout=_TIMEOUT_S))
        return {**bucket_json(granted.bucket), "repaid_amount": granted.repaid_amount}

    @post("/accounts/{account_id:str}/keys")
    async def issue_key(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _KeyToIssue)
        # Authentication knows one set of idempotency keys for all it makes; a caller's is his own for each account.
        idempotency_key = derived_name("key", account_id, wanted.idempotency_key or secrets.token_hex(16))
        issuing = authentication_pb2.CreateKeyRequest(account_id=account_id, idempotency_key=idempotency_key)
        issued = await answer(authentication.CreateKey(issuing, timeout=_TIMEOUT_S))
        return {
            "key_id": issued.key.key_id,
            "api_key": issued.api_key,
            "account_id": issued.key.account_id,
            "member_id": issued.key.member_id,
        }

    @get("/accounts/{account_id:str}/keys")
    async def list_keys(account_id: FromPath[str]) -> dict[str, Any]:
        listing = authentication_pb2.ListKeysRequest(account_id=account_id)
        keys = (await answer(authentication.ListKeys(listing, timeout=_TIMEOUT_S))).keys
        if not keys:
            # Authentication does not know accounts; an account without keys and no account are not the same.
            await account(account_id)
        return {
            "data": [
                {
                    "key_id": key.key_id,
                    "member_id": key.member_id,
                    "masked_key": key.masked_key,
                    "created_at": rfc3339(key.create_time),
                    "revoked_at": rfc3339(key.revoke_time),
                }
                for key in keys
            ]
        }

    @delete("/keys/{key_id:str}", status_code=200)
    async def revoke_key(key_id: FromPath[str]) -> dict[str, Any]:
        revoking = authentication_pb2.RevokeKeyRequest(key_id=key_id)
        revoked = (await answer(authentication.RevokeKey(revoking, timeout=_TIMEOUT_S))).key
        return {"key_id": revoked.key_id, "revoked_at": rfc3339(revoked.revoke_time)}

    @get("/models")
    async def list_models() -> dict[str, Any]:
        return {
            "data": [
                {
                    "model_id": model.model_id,
                    "display_name": model.display_name,
                    "owned_by": model.owned_by,
                    "context_window_tokens": model.context_window_tokens,
                    "max_output_tokens": model.max_output_tokens,
                    "routes": [
                        {"vendor_id": route.vendor_id, "vendor_model_id": route.vendor_model_id, "priority": route.priority}
                        for route in model.routes
                    ],
                }
                for model in catalog_in_force().catalog.models
            ]
        }

    @get("/offerings")
    async def list_offerings() -> dict[str, Any]:
        snapshot = catalog_in_force()
        return {
            "data": [
                {
                    "offering_id": offering.offering_id,
                    "display_name": offering.display_name,
                    "unit": offering.unit,
                    "currency": offering.currency,
                    "tariff_id": offering.tariff_id,
                    "tariff_version": offering.tariff_version,
                    "models": len(offering.prices),
                    "default": offering.offering_id == snapshot.catalog.default_offering_id,
                }
                for offering in snapshot.offerings()
            ]
        }

    return Router(
        "/v1/admin",
        route_handlers=[
            open_account,
            show_account,
            suspend_account,
            resume_account,
            grant_bucket,
            issue_key,
            list_keys,
            revoke_key,
            list_models,
            list_offerings,
            *sales_routes(accounting),
            *cell_routes(accounting, billing),
        ],
        guards=[only_with_token],
    )


def _suspension_json(suspension: authentication_pb2.Suspension) -> dict[str, Any]:
    return {
        "account_id": suspension.account_id,
        "suspended_at": rfc3339(suspension.suspend_time),
        "resumed_at": rfc3339(suspension.resume_time),
    }


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
