"""Accounts over HTTP, for the operator: opened, shown, suspended, resumed."""

import secrets
from typing import Any

import grpc
import msgspec
from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN, bucket_json, debt_json, losses_json, rfc3339, session_json
from services.edge.api.admin.body import TIMEOUT_S, Name, parse
from services.edge.api.admin.command import ask_updated, give
from services.edge.api.admin.limits import counter_json, limits_json
from services.edge.api.admin.orders import order_json, subscription_json
from services.edge.api.admin.transfers import transfer_json
from services.edge.http.problems import name_taken
from services.runtime.clients import answer
from services.runtime.errors import ServiceError, from_rpc
from services.runtime.identifiers import derived_name
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2


class _AccountToOpen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name | None = None
    idempotency_key: Name | None = None
    external_id: Name | None = None


def account_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @post("/accounts")
    async def open_account(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _AccountToOpen)
        key = wanted.idempotency_key or secrets.token_hex(16)
        account_id = derived_name("acct", key)
        if wanted.external_id is not None:
            await _expect_free(authentication, wanted.external_id, account_id)
        opening = accounting_pb2.OpenAccountRequest(account_id=account_id, offering_id=wanted.offering_id or "")
        opened = (await give(request, accounting.OpenAccount, opening)).account
        # A repeat after a failure between the two calls finds the account open and adds the member that is missing.
        joining = authentication_pb2.CreateMemberRequest(
            account_id=account_id, idempotency_key=derived_name("member", account_id, key)
        )
        member = (await answer(authentication.CreateMember(joining, timeout=TIMEOUT_S))).member
        if wanted.external_id is not None:
            await name_in(authentication, opened.account_id, wanted.external_id)
        return {
            "account_id": opened.account_id,
            "offering_id": opened.offering_id,
            "member_id": member.member_id,
            "external_id": wanted.external_id,
        }

    @get("/accounts/{account_id:str}")
    async def show_account(account_id: FromPath[str]) -> dict[str, Any]:
        found = await account_of(accounting, account_id)
        return _account_json(found, await _suspension_of(authentication, account_id))

    @post("/accounts/{account_id:str}/suspend", status_code=200)
    async def suspend_account(account_id: FromPath[str]) -> dict[str, Any]:
        suspending = authentication_pb2.SuspendAccountRequest(account_id=account_id)
        return _suspension_json((await answer(authentication.SuspendAccount(suspending, timeout=TIMEOUT_S))).suspension)

    @post("/accounts/{account_id:str}/resume", status_code=200)
    async def resume_account(account_id: FromPath[str]) -> dict[str, Any]:
        resuming = authentication_pb2.ResumeAccountRequest(account_id=account_id)
        return _suspension_json((await answer(authentication.ResumeAccount(resuming, timeout=TIMEOUT_S))).suspension)

    @get("/accounts/{account_id:str}/orders")
    async def list_orders(account_id: FromPath[str]) -> dict[str, Any]:
        return {**AMOUNTS_IN, "data": [order_json(order) for order in (await account_of(accounting, account_id)).orders]}

    return [open_account, show_account, suspend_account, resume_account, list_orders]


async def name_in(
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", account_id: str, external_id: str
) -> None:
    """Gives an account its external ID. Errors: `ServiceError` ACCOUNT_UNKNOWN; `Problem` 409 where another account has it."""
    naming = authentication_pb2.NameAccountRequest(account_id=account_id, external_id=external_id)
    try:
        await ask_updated(authentication.NameAccount(naming, timeout=TIMEOUT_S), "authentication")
    except ServiceError as error:
        if error.reason != errors_pb2.ERROR_REASON_ALREADY_EXISTS:
            raise
        raise name_taken(error.message, "external_id") from None


async def account_named(authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", external_id: str) -> str:
    """The account that has an external ID; empty: none has it."""
    listing = authentication_pb2.ListAccountsRequest(external_id=external_id, page_size=1)
    accounts = (await ask_updated(authentication.ListAccounts(listing, timeout=TIMEOUT_S), "authentication")).accounts
    return accounts[0].account_id if accounts else ""


async def _expect_free(
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", external_id: str, account_id: str
) -> None:
    """Refuses an external ID that another account has, before an account is opened that would be left without one."""
    owner = await account_named(authentication, external_id)
    if owner not in ("", account_id):
        message = f"account {owner} has the external ID {external_id!r}; give another one, or use that account. None was opened"
        raise name_taken(message, "external_id")


async def account_of(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub", account_id: str) -> accounting_pb2.Account:
    """The account as it is. Errors: `ServiceError` ACCOUNT_UNKNOWN."""
    request = accounting_pb2.GetAccountRequest(account_id=account_id)
    return (await answer(accounting.GetAccount(request, timeout=TIMEOUT_S))).account


async def _suspension_of(
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", account_id: str
) -> authentication_pb2.Suspension:
    asking = authentication_pb2.GetSuspensionRequest(account_id=account_id)
    try:
        return (await authentication.GetSuspension(asking, timeout=TIMEOUT_S)).suspension
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            # In a rolling update: the release before suspends nobody.
            return authentication_pb2.Suspension(account_id=account_id)
        raise from_rpc(error) from error


def _account_json(account: accounting_pb2.Account, suspension: authentication_pb2.Suspension) -> dict[str, Any]:
    return {
        **AMOUNTS_IN,
        "account_id": account.account_id,
        "offering_id": account.offering_id,
        "created_at": rfc3339(account.create_time),
        "suspended_at": None if suspension.HasField("resume_time") else rfc3339(suspension.suspend_time),
        "buckets": [bucket_json(bucket) for bucket in account.buckets],
        "debt": [debt_json(debt) for debt in account.debts],
        "absorbed": losses_json(account.losses),
        "sessions": [session_json(session) for session in account.sessions],
        "subscriptions": [subscription_json(each) for each in account.subscriptions],
        "orders": [order_json(each) for each in account.orders],
        "transfers": [transfer_json(each) for each in account.transfers],
        "counters": [counter_json(each) for each in account.counters],
        "limits": [limits_json(each) for each in account.limits],
    }


def _suspension_json(suspension: authentication_pb2.Suspension) -> dict[str, Any]:
    return {
        "account_id": suspension.account_id,
        "suspended_at": rfc3339(suspension.suspend_time),
        "resumed_at": rfc3339(suspension.resume_time),
    }
