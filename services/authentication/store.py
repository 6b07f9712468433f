"""Where members and keys are durable: the contract, and the version in memory."""

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple, Protocol

from services.api_keys import MINT
from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2

# A minted key is remembered this long after its end, like its run at accounting.
MINTED_MEMORY_US: Final = 7 * 24 * 3_600 * 1_000_000
# Accounting's clock may be this late.
ENTITLEMENT_MARGIN_US: Final = 60 * 1_000_000
# Agents may mint more keys in that time than an answer can have.
MINTED_LISTED: Final = 10_000


class Member(NamedTuple):
    """A member: owns keys that draw from an account."""

    member_id: str
    account_id: str
    display_name: str
    created_us: int
    idempotency_key: str


class Key(NamedTuple):
    """An issued API key, without its secret. `revision` numbers the revocation; 0 while the key is valid."""

    key_id: str
    account_id: str
    member_id: str
    masked_key: str
    key_hash: bytes
    created_us: int
    idempotency_key: str
    revoked_us: int = 0
    revision: int = 0
    # The key that minted it; empty: the operator issued it.
    parent_key_id: str = ""
    # Words for more than calls, such as "keys:mint", with spaces between.
    scopes: str = ""
    # The end of its life; 0: it has none here.
    ends_us: int = 0


class NamedAccount(NamedTuple):
    """An account that has a member, and the ID that the operator's systems know it by; empty: none."""

    account_id: str
    external_id: str
    created_us: int
    member_count: int


class Invitation(NamedTuple):
    """An invitation to an account. `accepted_key` is the idempotency key that made its member; empty: nobody has used it."""

    code_hash: bytes
    account_id: str
    created_us: int
    ends_us: int
    idempotency_key: str
    accepted_key: str = ""


class Suspension(NamedTuple):
    """The last suspension of an account, over where `resumed_us` is set. `revision` numbers its begin."""

    account_id: str
    suspended_us: int
    resumed_us: int = 0
    revision: int = 0


class Entitlement(NamedTuple):
    """The account that may buy, or bought, an offering for an identity: one for each identity, and one for each account.

    Orders may be placed under it until `until_us`; `orders` of them are not answered yet.
    """

    offering_id: str
    identity_hash: bytes
    account_id: str
    until_us: int
    orders: int = 1

    def is_under_way(self, now_us: int) -> bool:
        """Whether an order under it may still come to something."""
        return self.orders > 0 and now_us < self.until_us + ENTITLEMENT_MARGIN_US

    def may_go(self, over: tuple[str, int] | None, now_us: int) -> bool:
        """Whether who knows that the one of this (account_id, until_us) is over may have it forgotten."""
        return (self.account_id, self.until_us) == over and not self.is_under_way(now_us)


class Entitling(NamedTuple):
    """The entitlement that was made; None: those in the way do not let it be."""

    made: Entitlement | None
    in_the_way: list[Entitlement]


class Revocations(NamedTuple):
    """Revocations and suspensions since another revision, each in order, and the newest revision."""

    revision: int
    key_ids: list[str]
    # Suspensions that are over are among them.
    suspensions: list[Suspension]


class Store(Protocol):
    """Every method is one transaction, durable when it returns. Errors of all: `ServiceError` STORE_UNAVAILABLE."""

    async def add_member(self, member: Member) -> Member:
        """Adds a member, or returns the one of the same idempotency key. Errors: IDEMPOTENCY_CONFLICT for other content."""
        ...

    async def add_key(self, key: Key) -> Key:
        """Issues a key to its member; an empty member_id stands for the account's oldest member.

        Errors: ACCOUNT_UNKNOWN when the account has no such member; ALREADY_EXISTS when the idempotency key made a key before
        (names it); IDEMPOTENCY_CONFLICT when it did for another account or member.
        """
        ...

    async def mint_key(self, key: Key) -> Key:
        """Issues a key below `parent_key_id`, to the same account and member; it is in force from `created_us` on.

        Minted keys that ended more than `MINTED_MEMORY_US` ago are forgotten, some with each new one. Errors: KEY_UNKNOWN or
        KEY_REVOKED when the parent does not pass, NOT_POSSIBLE when it must not mint, or not with these scopes; ALREADY_EXISTS
        when it minted this key_id before, IDEMPOTENCY_CONFLICT when another one did.
        """
        ...

    async def revoke_key(self, key_id: str, now_us: int, above_key_id: str = "") -> Key:
        """Revokes a key and all living keys below it, whose lives end now; those that are revoked already stay as they are.

        Errors: KEY_UNKNOWN, also when it is not below `above_key_id`, where that is given.
        """
        ...

    async def list_keys(self, account_id: str, minted_max: int = MINTED_LISTED) -> list[Key]:
        """The account's keys, oldest first (of one moment, in the order of their issue); of minted ones the last `minted_max`."""
        ...

    async def list_members(self, account_id: str) -> list[Member]:
        """The account's members, oldest first."""
        ...

    async def list_accounts(self, after_account_id: str, external_id: str, most: int) -> list[NamedAccount]:
        """Accounts after an ID in the order of IDs, at most `most`; with an external ID the one that has it."""
        ...

    async def name_account(self, account_id: str, external_id: str) -> None:
        """Gives an account its external ID. Errors: ACCOUNT_UNKNOWN when it has no member; ALREADY_EXISTS when another has it."""
        ...

    async def add_invitation(self, invitation: Invitation) -> None:
        """Adds an invitation. Errors: ACCOUNT_UNKNOWN when the account has no member; ALREADY_EXISTS for a repeat."""
        ...

    async def accept_invitation(self, code_hash: bytes, member: Member) -> Member:
        """Adds the member of an invitation, whose account it gets, or returns the one of the same idempotency key.

        Of several at once one wins. Errors: ITEM_UNKNOWN for an unknown code; NOT_POSSIBLE for one that another idempotency key
        used, or that ended at `created_us` of the member; IDEMPOTENCY_CONFLICT where the key made another member.
        """
        ...

    async def entitle(self, wanted: Entitlement, now_us: int, over: Collection[tuple[str, int]]) -> Entitling:
        """Entitles an account, in place of the entitlements in the way whose (account_id, until_us) are `over`; see `entitling`.

        Of several at once one wins. Errors: ACCOUNT_UNKNOWN when the account has no member.
        """
        ...

    async def end_entitlement(self, account_id: str, offering_id: str, until_us: int, now_us: int) -> None:
        """One order fewer is under way; nothing where its time, `until_us`, is over: time ends such an order, not its answer."""
        ...

    async def free(self, offering_id: str, identity_hash: bytes, over: tuple[str, int] | None, now_us: int) -> Entitlement | None:
        """The identity's entitlement of an offering, which is forgotten if it `may_go`."""
        ...

    async def find_key(self, key_hash: bytes) -> Key | None:
        """The key of this hash, revoked or not; one below a revoked key has that one's revocation, if it has none of its own."""
        ...

    async def suspend_account(self, account_id: str, now_us: int) -> Suspension:
        """Suspends an account; one that is suspended stays as it is. Errors: ACCOUNT_UNKNOWN when it has no member."""
        ...

    async def resume_account(self, account_id: str, now_us: int) -> Suspension | None:
        """Ends an account's suspension; one that is over stays as it is, and None is where there never was any.

        Errors: ACCOUNT_UNKNOWN when it has no member.
        """
        ...

    async def find_suspension(self, account_id: str) -> Suspension | None:
        """The account's last suspension, in force or over."""
        ...

    async def revocations(self, after_revision: int) -> Revocations:
        """Revocations and suspensions after `after_revision`. Keys and accounts are numbered in one sequence, without a gap."""
        ...

    async def close(self) -> None:
        """Ends; nothing may be under way."""
        ...


def same_member(known: Member, wanted: Member) -> Member:
    """The member made before under the same idempotency key. Errors: IDEMPOTENCY_CONFLICT."""
    if (known.account_id, known.display_name) != (wanted.account_id, wanted.display_name):
        raise _conflict(f"idempotency_key {wanted.idempotency_key} made the member {known.member_id} with other content")
    return known


def refuse_external_id(external_id: str, account_id: str) -> ServiceError:
    """The error for an external ID that another account has."""
    return ServiceError(
        errors_pb2.ERROR_REASON_ALREADY_EXISTS,
        f"account {account_id} has the external ID {external_id!r}; give that one another first, or this one another",
    )


def refuse_second_invitation(idempotency_key: str) -> ServiceError:
    """The error for an idempotency key that made an invitation before."""
    return ServiceError(
        errors_pb2.ERROR_REASON_ALREADY_EXISTS,
        f"idempotency_key {idempotency_key} made an invitation, and its code was shown then; make another under a new one",
    )


def invited(invitation: Invitation | None, member: Member) -> Member:
    """The member that an invitation makes. Errors: those of `Store.accept_invitation` about the invitation."""
    if invitation is None:
        raise ServiceError(errors_pb2.ERROR_REASON_ITEM_UNKNOWN, "no invitation has this code; ask for it again where it came from")
    if invitation.accepted_key not in ("", member.idempotency_key):
        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, "the invitation was used already; ask for another one")
    if not invitation.accepted_key and invitation.ends_us <= member.created_us:
        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, "the time of the invitation is over; ask for another one")
    return member._replace(account_id=invitation.account_id)


def entitling(found: Collection[Entitlement], wanted: Entitlement, now_us: int, over: Collection[tuple[str, int]]) -> Entitling:
    """Decides on a wish; `found`: the offering's entitlements of its identity and of its account.

    The account's own for this identity goes on. Any other is in the way, unless nothing is under way there and the caller knows
    that it is over.
    """
    own = next((each for each in found if each[:3] == wanted[:3]), None)
    in_the_way = [
        each for each in found if each is not own and (each.is_under_way(now_us) or (each.account_id, each.until_us) not in over)
    ]
    if in_the_way:
        return Entitling(None, in_the_way)
    if own is None:
        return Entitling(wanted, [])
    orders = own.orders if own.is_under_way(now_us) else 0
    # Each has another end, by which a caller that was told of the one before is told from others.
    return Entitling(wanted._replace(until_us=max(wanted.until_us, own.until_us + 1), orders=orders + 1), [])


def refuse_second_key(known: Key, wanted: Key) -> ServiceError:
    """The error for an idempotency key that made a key before."""
    if known.account_id != wanted.account_id or wanted.member_id not in ("", known.member_id):
        return _conflict(f"idempotency_key {wanted.idempotency_key} made the key {known.key_id} for somebody else")
    return ServiceError(
        errors_pb2.ERROR_REASON_ALREADY_EXISTS,
        f"idempotency_key {wanted.idempotency_key} made the key {known.key_id}, and its secret was shown then; "
        "if it is lost, revoke that key and create another under a new idempotency_key",
    )


def no_member(account_id: str, member_id: str = "") -> ServiceError:
    """The error for an account without a member, or without this one."""
    who = f"member {member_id}" if member_id else "member"
    return ServiceError(errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN, f"account {account_id} has no {who}; create one first")


def no_key(key_id: str) -> ServiceError:
    """The error for a key_id that was never issued."""
    return ServiceError(errors_pb2.ERROR_REASON_KEY_UNKNOWN, f"no key {key_id} in this cell")


def _conflict(message: str) -> ServiceError:
    return ServiceError(errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT, message)


def minted(key: Key, parent: Key | None) -> Key:
    """The key that a parent mints, with what it has of the parent. Errors: those of `Store.mint_key` about the parent."""
    if parent is None:
        raise no_key(key.parent_key_id)
    if parent.revision or 0 < parent.ends_us <= key.created_us:
        raise ServiceError(errors_pb2.ERROR_REASON_KEY_REVOKED, f"the key {parent.key_id} was revoked, or its life has ended")
    if MINT not in parent.scopes.split():
        message = f"the key {parent.key_id} may not mint; the operator issues keys that may, with the scope {MINT}"
        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, message)
    # A key never outlives the one that minted it, whatever accounting says.
    ends_us = min(key.ends_us, parent.ends_us) if parent.ends_us else key.ends_us
    return key._replace(account_id=parent.account_id, member_id=parent.member_id, ends_us=ends_us)


def with_revocation(lineage: Sequence[Key]) -> Key | None:
    """A key, of it and those above it; one below a revoked key has that one's revocation, if it has none of its own."""
    if not lineage:
        return None
    revoked = next((key for key in lineage if key.revision), lineage[0])
    return lineage[0]._replace(revoked_us=revoked.revoked_us, revision=revoked.revision)


def refuse_second_minting(known: Key, wanted: Key) -> ServiceError:
    """The error for a key_id that was issued before."""
    if known.parent_key_id != wanted.parent_key_id:
        return _conflict(f"the key {wanted.key_id} is not of {wanted.parent_key_id}; give another idempotency_key")
    return ServiceError(
        errors_pb2.ERROR_REASON_ALREADY_EXISTS,
        f"the key {known.key_id} was minted before, and its secret was shown then; if it is lost, revoke that key and mint another "
        "under a new idempotency_key",
    )


class MemoryStore:
    """The store in memory, for tests."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._keys: dict[str, Key] = {}
        self._suspensions: dict[str, Suspension] = {}
        self._external_ids: dict[str, str] = {}
        self._invitations: dict[bytes, Invitation] = {}
        self._entitlements: list[Entitlement] = []
        self._revision = 0

    async def add_member(self, member: Member) -> Member:
        for known in self._members:
            if known.idempotency_key == member.idempotency_key:
                return same_member(known, member)
        self._members.append(member)
        return member

    async def add_key(self, key: Key) -> Key:
        for known in self._keys.values():
            if known.idempotency_key == key.idempotency_key:
                raise refuse_second_key(known, key)
        for member in sorted(self._members, key=lambda member: member.created_us):
            if member.account_id == key.account_id and key.member_id in ("", member.member_id):
                key = key._replace(member_id=member.member_id)
                self._keys[key.key_id] = key
                return key
        raise no_member(key.account_id, key.member_id)

    async def mint_key(self, key: Key) -> Key:
        if (known := self._keys.get(key.key_id)) is not None:
            raise refuse_second_minting(known, key)
        made = minted(key, with_revocation(self._lineage(key.parent_key_id)))
        horizon_us = key.created_us - MINTED_MEMORY_US
        for old in [each for each in self._keys.values() if each.parent_key_id and each.ends_us < horizon_us]:
            del self._keys[old.key_id]
        self._keys[key.key_id] = made
        return made

    def _lineage(self, key_id: str) -> list[Key]:
        """A key and those above it, its own first; empty where there is no such key."""
        lineage = []
        while (key := self._keys.get(key_id)) is not None:
            lineage.append(key)
            key_id = key.parent_key_id
        return lineage

    async def revoke_key(self, key_id: str, now_us: int, above_key_id: str = "") -> Key:
        lineage = self._lineage(key_id)
        if not lineage or (above_key_id and above_key_id not in {each.key_id for each in lineage[1:]}):
            raise no_key(key_id)
        for key in list(self._keys.values()):
            is_family = key.key_id == key_id or (
                (not key.ends_us or key.ends_us > now_us) and key_id in {each.key_id for each in self._lineage(key.key_id)}
            )
            if is_family and not key.revision:
                self._revision += 1
                ends_us = min(key.ends_us, now_us)
                self._keys[key.key_id] = key._replace(revoked_us=now_us, revision=self._revision, ends_us=ends_us)
        return self._keys[key_id]

    async def list_keys(self, account_id: str, minted_max: int = MINTED_LISTED) -> list[Key]:
        keys = sorted((key for key in self._keys.values() if key.account_id == account_id), key=lambda key: key.created_us)
        forgone = {key.key_id for key in [key for key in keys if key.parent_key_id][:-minted_max]}
        return [key for key in keys if key.key_id not in forgone]

    async def list_members(self, account_id: str) -> list[Member]:
        members = (member for member in self._members if member.account_id == account_id)
        return sorted(members, key=lambda member: member.created_us)

    async def list_accounts(self, after_account_id: str, external_id: str, most: int) -> list[NamedAccount]:
        accounts = [
            NamedAccount(account_id, self._external_ids.get(account_id, ""), members[0].created_us, len(members))
            for account_id in sorted({member.account_id for member in self._members})
            if account_id > after_account_id and (members := await self.list_members(account_id))
        ]
        return [account for account in accounts if external_id in ("", account.external_id)][:most]

    async def name_account(self, account_id: str, external_id: str) -> None:
        self._expect_member(account_id)
        for other, known in self._external_ids.items():
            if known == external_id and other != account_id:
                raise refuse_external_id(external_id, other)
        self._external_ids[account_id] = external_id

    async def add_invitation(self, invitation: Invitation) -> None:
        self._expect_member(invitation.account_id)
        if any(known.idempotency_key == invitation.idempotency_key for known in self._invitations.values()):
            raise refuse_second_invitation(invitation.idempotency_key)
        self._invitations[invitation.code_hash] = invitation

    async def accept_invitation(self, code_hash: bytes, member: Member) -> Member:
        invitation = self._invitations.get(code_hash)
        made = await self.add_member(invited(invitation, member))
        assert invitation is not None
        self._invitations[code_hash] = invitation._replace(accepted_key=member.idempotency_key)
        return made

    async def entitle(self, wanted: Entitlement, now_us: int, over: Collection[tuple[str, int]]) -> Entitling:
        self._expect_member(wanted.account_id)
        found = [
            each
            for each in self._entitlements
            if each.offering_id == wanted.offering_id
            and (each.identity_hash == wanted.identity_hash or each.account_id == wanted.account_id)
        ]
        outcome = entitling(found, wanted, now_us, over)
        if outcome.made is not None:
            self._entitlements = [*(each for each in self._entitlements if each not in found), outcome.made]
        return outcome

    async def end_entitlement(self, account_id: str, offering_id: str, until_us: int, now_us: int) -> None:
        for index, each in enumerate(self._entitlements):
            if (each.offering_id, each.account_id) == (offering_id, account_id) and until_us > now_us:
                self._entitlements[index] = each._replace(orders=max(0, each.orders - 1))

    async def free(self, offering_id: str, identity_hash: bytes, over: tuple[str, int] | None, now_us: int) -> Entitlement | None:
        found = next((each for each in self._entitlements if each[:2] == (offering_id, identity_hash)), None)
        if found is not None and found.may_go(over, now_us):
            self._entitlements.remove(found)
        return found

    async def find_key(self, key_hash: bytes) -> Key | None:
        key = next((key for key in self._keys.values() if key.key_hash == key_hash), None)
        return None if key is None else with_revocation(self._lineage(key.key_id))

    async def suspend_account(self, account_id: str, now_us: int) -> Suspension:
        self._expect_member(account_id)
        known = self._suspensions.get(account_id)
        if known is None or known.resumed_us:
            self._revision += 1
            known = self._suspensions[account_id] = Suspension(account_id, now_us, 0, self._revision)
        return known

    async def resume_account(self, account_id: str, now_us: int) -> Suspension | None:
        self._expect_member(account_id)
        known = self._suspensions.get(account_id)
        if known is not None and not known.resumed_us:
            known = self._suspensions[account_id] = known._replace(resumed_us=now_us)
        return known

    def _expect_member(self, account_id: str) -> None:
        if not any(member.account_id == account_id for member in self._members):
            raise no_member(account_id)

    async def find_suspension(self, account_id: str) -> Suspension | None:
        return self._suspensions.get(account_id)

    async def revocations(self, after_revision: int) -> Revocations:
        revoked = sorted((key.revision, key.key_id) for key in self._keys.values() if key.revision > after_revision)
        suspended = sorted(self._suspensions.values(), key=lambda suspension: suspension.revision)
        return Revocations(
            self._revision,
            [key_id for _, key_id in revoked],
            [suspension for suspension in suspended if suspension.revision > after_revision],
        )

    async def close(self) -> None:
        pass
