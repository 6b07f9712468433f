"""The gRPC face of authentication: proto to core, core to proto."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import grpc

from services.api_keys import SCOPES, new_key, parse_key
from services.authentication.identities import hash_identity
from services.authentication.keys import hash_key
from services.authentication.store import Entitlement, Invitation, Key, Member, Revocations, Store, Suspension
from services.runtime.clock import Clock, timestamp
from services.runtime.errors import ServiceError, invalid
from services.runtime.identifiers import derived_name, random_name
from tokenline.authentication.v1 import authentication_pb2 as pb
from tokenline.authentication.v1 import authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2

_NAME_LENGTH_MAX: Final = 200
_PAGE_MAX: Final = 1_000
# Told from API keys and from IDs at a glance.
_CODE_PREFIX: Final = "inv-"
# Longer than an order takes; the account that was entitled alone may then be replaced by another one.
_ENTITLED_US: Final = 60 * 1_000_000
_HEARTBEAT_S: Final = 0.2
# 1.2 MB. Who begins to watch is told of all that were ever revoked.
_NAMES_A_MESSAGE_MAX: Final = 50_000

_Context = grpc.aio.ServicerContext


class AuthenticationServicer(authentication_pb2_grpc.AuthenticationServiceServicer):
    """See tokenline/authentication/v1/authentication.proto."""

    def __init__(self, store: Store, clock: Clock, region: str, secret: bytes) -> None:
        self._store = store
        self._clock = clock
        self._region = region
        self._secret = secret
        self._revoked = asyncio.Condition()
        self._stopping = False

    async def stop(self) -> None:
        """Ends the revocation streams, so that the server can end."""
        self._stopping = True
        async with self._revoked:
            self._revoked.notify_all()

    async def CreateMember(self, request: pb.CreateMemberRequest, context: "_Context[Any, Any]") -> pb.CreateMemberResponse:
        idempotency_key = _name("idempotency_key", request.idempotency_key)
        member = await self._store.add_member(
            Member(
                member_id=derived_name("mem", idempotency_key),
                account_id=_name("account_id", request.account_id),
                display_name=_name_or_empty("display_name", request.display_name),
                created_us=self._clock.now_us(),
                idempotency_key=idempotency_key,
            )
        )
        return pb.CreateMemberResponse(member=_member_message(member))

    async def ListMembers(self, request: pb.ListMembersRequest, context: "_Context[Any, Any]") -> pb.ListMembersResponse:
        members = await self._store.list_members(_name("account_id", request.account_id))
        return pb.ListMembersResponse(members=map(_member_message, members))

    async def ListAccounts(self, request: pb.ListAccountsRequest, context: "_Context[Any, Any]") -> pb.ListAccountsResponse:
        if not 1 <= request.page_size <= _PAGE_MAX:
            raise invalid(f"page_size must be 1 to {_PAGE_MAX}")
        after = _name_or_empty("after_account_id", request.after_account_id)
        external_id = _name_or_empty("external_id", request.external_id)
        accounts = await self._store.list_accounts(after, external_id, request.page_size)
        return pb.ListAccountsResponse(
            accounts=[
                pb.NamedAccount(
                    account_id=account.account_id,
                    external_id=account.external_id,
                    create_time=timestamp(account.created_us),
                    member_count=account.member_count,
                )
                for account in accounts
            ]
        )

    async def NameAccount(self, request: pb.NameAccountRequest, context: "_Context[Any, Any]") -> pb.NameAccountResponse:
        await self._store.name_account(_name("account_id", request.account_id), _name("external_id", request.external_id))
        return pb.NameAccountResponse()

    async def CreateInvitation(
        self, request: pb.CreateInvitationRequest, context: "_Context[Any, Any]"
    ) -> pb.CreateInvitationResponse:
        code = f"{_CODE_PREFIX}{secrets.token_hex(16)}"
        now_us = self._clock.now_us()
        ends_us = request.end_time.ToMicroseconds()
        if ends_us <= now_us:
            raise invalid("end_time must be in the future")
        account_id, key = _name("account_id", request.account_id), _name("idempotency_key", request.idempotency_key)
        await self._store.add_invitation(Invitation(hash_key(code, self._secret), account_id, now_us, ends_us, key))
        return pb.CreateInvitationResponse(code=code)

    async def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, context: "_Context[Any, Any]"
    ) -> pb.AcceptInvitationResponse:
        idempotency_key = _name("idempotency_key", request.idempotency_key)
        member = Member(
            member_id=derived_name("mem", idempotency_key),
            account_id="",
            display_name=_name_or_empty("display_name", request.display_name),
            created_us=self._clock.now_us(),
            idempotency_key=idempotency_key,
        )
        code_hash = hash_key(_name("code", request.code), self._secret)
        return pb.AcceptInvitationResponse(member=_member_message(await self._store.accept_invitation(code_hash, member)))

    async def EntitleAccount(self, request: pb.EntitleAccountRequest, context: "_Context[Any, Any]") -> pb.EntitleAccountResponse:
        now_us = self._clock.now_us()
        wanted = Entitlement(
            offering_id=_name("offering_id", request.offering_id),
            identity_hash=hash_identity(request.identity, self._secret),
            account_id=_name("account_id", request.account_id),
            until_us=now_us + _ENTITLED_US,
        )
        over = {(each.account_id, each.until_time.ToMicroseconds()) for each in request.over}
        outcome = await self._store.entitle(wanted, now_us, over)
        return pb.EntitleAccountResponse(
            until_time=timestamp(outcome.made.until_us) if outcome.made else None,
            in_the_way=[_entitlement_message(each, now_us) for each in outcome.in_the_way],
        )

    async def EndEntitlement(self, request: pb.EndEntitlementRequest, context: "_Context[Any, Any]") -> pb.EndEntitlementResponse:
        account_id, offering_id = _name("account_id", request.account_id), _name("offering_id", request.offering_id)
        until_us = request.until_time.ToMicroseconds()
        await self._store.end_entitlement(account_id, offering_id, until_us, self._clock.now_us())
        return pb.EndEntitlementResponse()

    async def FreeIdentity(self, request: pb.FreeIdentityRequest, context: "_Context[Any, Any]") -> pb.FreeIdentityResponse:
        now_us = self._clock.now_us()
        offering_id = _name("offering_id", request.offering_id)
        over = (request.over.account_id, request.over.until_time.ToMicroseconds()) if request.HasField("over") else None
        found = await self._store.free(offering_id, hash_identity(request.identity, self._secret), over, now_us)
        if found is None:
            message = f"nobody has ordered offering {offering_id} for this identity; anybody may order it"
            raise ServiceError(errors_pb2.ERROR_REASON_ITEM_UNKNOWN, message)
        return pb.FreeIdentityResponse(found=_entitlement_message(found, now_us), freed=found.may_go(over, now_us))

    async def CreateKey(self, request: pb.CreateKeyRequest, context: "_Context[Any, Any]") -> pb.CreateKeyResponse:
        issued = new_key(self._region)
        key = await self._store.add_key(
            Key(
                key_id=random_name("key"),
                account_id=_name("account_id", request.account_id),
                member_id=_name_or_empty("member_id", request.member_id),
                masked_key=issued.masked,
                key_hash=hash_key(issued.api_key, self._secret),
                created_us=self._clock.now_us(),
                idempotency_key=_name("idempotency_key", request.idempotency_key),
                scopes=_scopes(request.scopes),
            )
        )
        return pb.CreateKeyResponse(key=_key_message(key), api_key=issued.api_key)

    async def MintKey(self, request: pb.MintKeyRequest, context: "_Context[Any, Any]") -> pb.MintKeyResponse:
        issued = new_key(self._region)
        key_id = _name("key_id", request.key_id)
        now_us = self._clock.now_us()
        if not request.HasField("end_time"):
            raise invalid("end_time must be given, because a minted key lives for a time")
        key = await self._store.mint_key(
            Key(
                key_id=key_id,
                account_id="",
                member_id="",
                masked_key=issued.masked,
                key_hash=hash_key(issued.api_key, self._secret),
                created_us=now_us,
                # Apart from the keys that callers choose.
                idempotency_key=f"minted {key_id}",
                parent_key_id=_name("parent_key_id", request.parent_key_id),
                scopes=_scopes(request.scopes),
                ends_us=max(1, request.end_time.ToMicroseconds()),
            )
        )
        return pb.MintKeyResponse(key=_key_message(key), api_key=issued.api_key)

    async def RevokeKey(self, request: pb.RevokeKeyRequest, context: "_Context[Any, Any]") -> pb.RevokeKeyResponse:
        key = await self._store.revoke_key(_name("key_id", request.key_id), self._clock.now_us())
        async with self._revoked:
            self._revoked.notify_all()
        return pb.RevokeKeyResponse(key=_key_message(key))

    async def RevokeMintedKey(
        self, request: pb.RevokeMintedKeyRequest, context: "_Context[Any, Any]"
    ) -> pb.RevokeMintedKeyResponse:
        parent_key_id = _name("parent_key_id", request.parent_key_id)
        key = await self._store.revoke_key(_name("key_id", request.key_id), self._clock.now_us(), parent_key_id)
        async with self._revoked:
            self._revoked.notify_all()
        return pb.RevokeMintedKeyResponse(key=_key_message(key))

    async def SuspendAccount(self, request: pb.SuspendAccountRequest, context: "_Context[Any, Any]") -> pb.SuspendAccountResponse:
        suspension = await self._store.suspend_account(_name("account_id", request.account_id), self._clock.now_us())
        async with self._revoked:
            self._revoked.notify_all()
        return pb.SuspendAccountResponse(suspension=_suspension_message(suspension))

    async def ResumeAccount(self, request: pb.ResumeAccountRequest, context: "_Context[Any, Any]") -> pb.ResumeAccountResponse:
        account_id = _name("account_id", request.account_id)
        suspension = await self._store.resume_account(account_id, self._clock.now_us())
        return pb.ResumeAccountResponse(suspension=_suspension_message(suspension or Suspension(account_id, 0)))

    async def GetSuspension(self, request: pb.GetSuspensionRequest, context: "_Context[Any, Any]") -> pb.GetSuspensionResponse:
        account_id = _name("account_id", request.account_id)
        suspension = await self._store.find_suspension(account_id)
        return pb.GetSuspensionResponse(suspension=_suspension_message(suspension or Suspension(account_id, 0)))

    async def ListKeys(self, request: pb.ListKeysRequest, context: "_Context[Any, Any]") -> pb.ListKeysResponse:
        account_id = _name("account_id", request.account_id)
        keys = await self._store.list_keys(account_id)
        members = await self._store.list_members(account_id)
        return pb.ListKeysResponse(keys=map(_key_message, keys), member_ids=[member.member_id for member in members])

    async def ResolveKey(self, request: pb.ResolveKeyRequest, context: "_Context[Any, Any]") -> pb.ResolveKeyResponse:
        parsed = parse_key(request.api_key)
        if parsed is None:
            raise ServiceError(errors_pb2.ERROR_REASON_KEY_UNKNOWN, "the API key is malformed or its checksum is wrong")
        if parsed.region != self._region:
            raise ServiceError(
                errors_pb2.ERROR_REASON_KEY_UNKNOWN,
                f"the API key belongs to region {parsed.region}; this is {self._region}: use that region's base URL",
            )
        key = await self._store.find_key(hash_key(parsed.api_key, self._secret))
        if key is None:
            raise ServiceError(errors_pb2.ERROR_REASON_KEY_UNKNOWN, "the API key was never issued here")
        if key.revision:
            raise ServiceError(errors_pb2.ERROR_REASON_KEY_REVOKED, "the API key was revoked")
        suspension = await self._store.find_suspension(key.account_id)
        if suspension is not None and not suspension.resumed_us:
            raise ServiceError(errors_pb2.ERROR_REASON_ACCOUNT_SUSPENDED, f"account {key.account_id} is suspended")
        return pb.ResolveKeyResponse(
            key_id=key.key_id,
            member_id=key.member_id,
            account_id=key.account_id,
            parent_key_id=key.parent_key_id,
            scopes=key.scopes.split(),
            end_time=timestamp(key.ends_us) if key.ends_us else None,
        )

    async def WatchRevocations(
        self, request: pb.WatchRevocationsRequest, context: "_Context[Any, Any]"
    ) -> AsyncIterator[pb.WatchRevocationsResponse]:
        """Sends all revocations after `after_revision`, then new ones as they happen, and heartbeats.

        A watcher ahead of the newest revision knows a database that was since restored to an earlier state. It gets every
        revocation again, under a revision lower than its own, by which it can tell; refused, it would hear of none.

        A suspension that is over is sent too, since it may have lasted too short for anybody to ask while it did. Not so where the
        watcher begins, or begins again: its calls under way may be younger than the account's resumption.
        """
        if request.after_revision < 0:
            raise invalid("after_revision must not be negative")
        revision = request.after_revision
        goes_on = revision > 0
        while not self._stopping:
            news = await self._store.revocations(revision)
            if news.revision < revision:
                revision = 0
                news = await self._store.revocations(revision)
                goes_on = False
            account_ids = [each.account_id for each in news.suspensions if goes_on or not each.resumed_us]
            goes_on = True
            # Without news this is the heartbeat; it has asked the store, so it also says that the store answers.
            for message in _told(revision, news, account_ids):
                yield message
            revision = news.revision
            async with self._revoked:
                try:
                    async with asyncio.timeout(_HEARTBEAT_S):
                        await self._revoked.wait()
                except TimeoutError:
                    pass
        raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "authentication is stopping; watch again")


def _told(before: int, news: Revocations, account_ids: list[str]) -> Iterator[pb.WatchRevocationsResponse]:
    """News in messages of bounded size. Only the last one brings the watcher to the new revision: it may hear no further."""
    key_ids = news.key_ids
    while len(key_ids) + len(account_ids) > _NAMES_A_MESSAGE_MAX:
        keys, key_ids = key_ids[:_NAMES_A_MESSAGE_MAX], key_ids[_NAMES_A_MESSAGE_MAX:]
        few = _NAMES_A_MESSAGE_MAX - len(keys)
        yield pb.WatchRevocationsResponse(revision=before, key_ids=keys, account_ids=account_ids[:few])
        account_ids = account_ids[few:]
    yield pb.WatchRevocationsResponse(revision=news.revision, key_ids=key_ids, account_ids=account_ids)


def _name(field: str, value: str) -> str:
    # Characters that are not printable could forge lines of a log or a terminal that shows the name.
    if not 1 <= len(value) <= _NAME_LENGTH_MAX or not value.isprintable():
        raise invalid(f"{field} must have 1 to {_NAME_LENGTH_MAX} printable characters")
    return value


def _scopes(scopes: Sequence[str]) -> str:
    """Scopes as they are stored."""
    unknown = sorted(set(scopes) - SCOPES)
    if unknown:
        raise invalid(f"scopes: {', '.join(map(repr, unknown))} is no scope; there is {', '.join(sorted(SCOPES))}")
    return " ".join(sorted(set(scopes)))


def _name_or_empty(field: str, value: str) -> str:
    if len(value) > _NAME_LENGTH_MAX or not value.isprintable():
        raise invalid(f"{field} must be empty or have at most {_NAME_LENGTH_MAX} printable characters")
    return value


def _entitlement_message(entitlement: Entitlement, now_us: int) -> pb.Entitlement:
    until_time = timestamp(entitlement.until_us)
    return pb.Entitlement(account_id=entitlement.account_id, until_time=until_time, under_way=entitlement.is_under_way(now_us))


def _member_message(member: Member) -> pb.Member:
    return pb.Member(
        member_id=member.member_id,
        account_id=member.account_id,
        display_name=member.display_name,
        create_time=timestamp(member.created_us),
    )


def _key_message(key: Key) -> pb.Key:
    return pb.Key(
        key_id=key.key_id,
        account_id=key.account_id,
        member_id=key.member_id,
        masked_key=key.masked_key,
        create_time=timestamp(key.created_us),
        revoke_time=timestamp(key.revoked_us) if key.revision else None,
        parent_key_id=key.parent_key_id,
        scopes=key.scopes.split(),
        end_time=timestamp(key.ends_us) if key.ends_us else None,
    )


def _suspension_message(suspension: Suspension) -> pb.Suspension:
    return pb.Suspension(
        account_id=suspension.account_id,
        suspend_time=timestamp(suspension.suspended_us) if suspension.suspended_us else None,
        resume_time=timestamp(suspension.resumed_us) if suspension.resumed_us else None,
    )
