"""Where members and keys are durable: the contract, and the version in memory."""

from typing import NamedTuple, Protocol

from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2


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


class Suspension(NamedTuple):
    """The last suspension of an account, over where `resumed_us` is set. `revision` numbers its begin."""

    account_id: str
    suspended_us: int
    resumed_us: int = 0
    revision: int = 0


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

    async def revoke_key(self, key_id: str, now_us: int) -> Key:
        """Revokes a key; one that is revoked already stays as it is. Errors: KEY_UNKNOWN."""
        ...

    async def list_keys(self, account_id: str) -> list[Key]:
        """The account's keys, oldest first; those of one moment in the order of their issue."""
        ...

    async def list_members(self, account_id: str) -> list[str]:
        """The IDs of the account's members, oldest first."""
        ...

    async def find_key(self, key_hash: bytes) -> Key | None:
        """The key of this hash, revoked or not."""
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


class MemoryStore:
    """The store in memory, for tests."""

    def __init__(self) -> None:
        self._members: list[Member] = []
        self._keys: dict[str, Key] = {}
        self._suspensions: dict[str, Suspension] = {}
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

    async def revoke_key(self, key_id: str, now_us: int) -> Key:
        if key_id not in self._keys:
            raise no_key(key_id)
        if not self._keys[key_id].revision:
            self._revision += 1
            self._keys[key_id] = self._keys[key_id]._replace(revoked_us=now_us, revision=self._revision)
        return self._keys[key_id]

    async def list_keys(self, account_id: str) -> list[Key]:
        keys = (key for key in self._keys.values() if key.account_id == account_id)
        return sorted(keys, key=lambda key: key.created_us)

    async def list_members(self, account_id: str) -> list[str]:
        members = (member for member in self._members if member.account_id == account_id)
        return [member.member_id for member in sorted(members, key=lambda member: member.created_us)]

    async def find_key(self, key_hash: bytes) -> Key | None:
        return next((key for key in self._keys.values() if key.key_hash == key_hash), None)

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
