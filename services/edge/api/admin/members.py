"""Members of accounts over HTTP, for the operator: added, listed, invited; and accounts by the IDs of the operator's systems."""

import secrets
from typing import Annotated, Any

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from litestar import Request, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, QueryParameter

from services.edge.api.account_json import rfc3339
from services.edge.api.admin.accounts import account_of, name_in
from services.edge.api.admin.body import DAY_S, TIMEOUT_S, Name, parse
from services.edge.api.admin.command import ask_updated
from services.runtime.clients import answer
from services.runtime.clock import Clock
from services.runtime.identifiers import derived_name
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2 as pb
from tokenline.authentication.v1 import authentication_pb2_grpc

_SERVICE = "authentication"
_InvitationDays = Annotated[int, msgspec.Meta(ge=1, le=365)]
# A code that somebody may have made up is no name.
_Code = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]


class _MemberToAdd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    display_name: Name
    idempotency_key: Name | None = None


class _ExternalId(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    external_id: Name


class _InvitationToMake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    invitation_days: _InvitationDays = 7
    idempotency_key: Name | None = None


class _Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: _Code
    display_name: Name
    idempotency_key: Name


def account_name_routes(authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub") -> list[HTTPRouteHandler]:
    """The routes of accounts' IDs, without the guard that opens them."""

    @get("/accounts")
    async def list_accounts(
        external_id: FromQuery[str] = "",
        after: FromQuery[str] = "",
        limit: Annotated[int, QueryParameter(ge=1, le=1_000)] = 100,
    ) -> dict[str, Any]:
        listing = pb.ListAccountsRequest(after_account_id=after, external_id=external_id, page_size=limit)
        accounts = (await ask_updated(authentication.ListAccounts(listing, timeout=TIMEOUT_S), _SERVICE)).accounts
        return {
            "data": [
                {
                    "account_id": account.account_id,
                    "external_id": account.external_id or None,
                    "members": account.member_count,
                    "created_at": rfc3339(account.create_time),
                }
                for account in accounts
            ],
            "next": accounts[-1].account_id if len(accounts) == limit else None,
        }

    @put("/accounts/{account_id:str}/external-id")
    async def name_account(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _ExternalId)
        await name_in(authentication, account_id, wanted.external_id)
        return {"account_id": account_id, "external_id": wanted.external_id}

    return [list_accounts, name_account]


def member_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
    clock: Clock,
) -> list[HTTPRouteHandler]:
    """The routes of members and invitations, without the guard that opens them."""

    @post("/accounts/{account_id:str}/members")
    async def add_member(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _MemberToAdd)
        # Authentication knows no accounts, and would add a member to any ID.
        await account_of(accounting, account_id)
        adding = pb.CreateMemberRequest(
            account_id=account_id,
            display_name=wanted.display_name,
            idempotency_key=derived_name("member", account_id, wanted.idempotency_key or secrets.token_hex(16)),
        )
        return _member_json((await answer(authentication.CreateMember(adding, timeout=TIMEOUT_S))).member)

    @get("/accounts/{account_id:str}/members")
    async def list_members(account_id: FromPath[str]) -> dict[str, Any]:
        listing = pb.ListMembersRequest(account_id=account_id)
        members = (await ask_updated(authentication.ListMembers(listing, timeout=TIMEOUT_S), _SERVICE)).members
        if not members:
            await account_of(accounting, account_id)
        return {"data": [_member_json(member) for member in members]}

    @post("/accounts/{account_id:str}/invitations")
    async def invite(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _InvitationToMake)
        end = Timestamp()
        end.FromMicroseconds(clock.now_us() + wanted.invitation_days * DAY_S * 1_000_000)
        inviting = pb.CreateInvitationRequest(
            account_id=account_id,
            end_time=end,
            idempotency_key=derived_name("invitation", account_id, wanted.idempotency_key or secrets.token_hex(16)),
        )
        made = await ask_updated(authentication.CreateInvitation(inviting, timeout=TIMEOUT_S), _SERVICE)
        return {"account_id": account_id, "code": made.code, "ends_at": rfc3339(end)}

    @post("/invitations/accept")
    async def accept_invitation(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Acceptance)
        accepting = pb.AcceptInvitationRequest(
            code=wanted.code,
            display_name=wanted.display_name,
            # One of this code alone, so that a key that made another member makes none here.
            idempotency_key=derived_name("invited", wanted.code, wanted.idempotency_key),
        )
        accepted = await ask_updated(authentication.AcceptInvitation(accepting, timeout=TIMEOUT_S), _SERVICE)
        return _member_json(accepted.member)

    return [add_member, list_members, invite, accept_invitation]


def _member_json(member: pb.Member) -> dict[str, Any]:
    return {
        "account_id": member.account_id,
        "member_id": member.member_id,
        "display_name": member.display_name or None,
        "created_at": rfc3339(member.create_time),
    }
