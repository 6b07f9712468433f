"""An account's state, and `evolve`: how an entry changes it. Replay uses nothing else.

Everything here is plain data that msgspec can encode: a checkpoint is this state and nothing besides. As in the journal, fields
are only ever added at the end, with a default.
"""

from bisect import insort
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from services.accounting.amounts import PinnedTariff, TokenUsage
from services.accounting.commands import CloseCause, Granted, Settled
from services.accounting.entries import (
    AccountOpened,
    BucketExpired,
    BucketGranted,
    DebtRepaid,
    Entry,
    SessionCreated,
    SessionSettled,
    SessionUpdated,
)

# How long a closed session's last answer is remembered, and a swept one's, whose Release may still come.
CLOSED_MEMORY_US: Final = 15 * 60 * 1_000_000
SWEPT_MEMORY_US: Final = 7 * 24 * 3_600 * 1_000_000


class Bucket(msgspec.Struct, array_like=True, gc=False):
    """One lot of quota or money, in micro-units of `unit`."""

    bucket_id: str
    unit: str
    priority: int
    valid_from_us: int
    valid_until_us: int
    created_us: int
    idempotency_key: str
    digest: bytes
    repaid: int
    granted: int
    remaining: int
    reserved: int = 0
    consumed: int = 0
    expired: int = 0
    transferred: int = 0
    # Its validity has ended and that was applied: what is freed from now on expires.
    ended: bool = False

    def burn_key(self) -> tuple[int, int, int, str]:
        """Lower burns first: priority, earliest end of validity, age, id."""
        return (self.priority, self.valid_until_us, self.created_us, self.bucket_id)


class Debt(msgspec.Struct, array_like=True, gc=False):
    """Settled usage that no bucket covered, in micro-units."""

    incurred: int = 0
    repaid: int = 0
    written_off: int = 0

    @property
    def outstanding(self) -> int:
        """Still owed."""
        return self.incurred - self.repaid - self.written_off


class Session(msgspec.Struct, array_like=True, gc=False):
    """An open charging session: what it pinned, what it holds, and the answer to its last request."""

    charging_id: str
    number: int
    digest: bytes
    model_id: str
    key_id: str
    member_id: str
    tariff: PinnedTariff
    input_bound: int
    output_limit: int
    answer: Granted
    hold: dict[str, int]
    used: TokenUsage
    created_us: int
    renewed_us: int

    @property
    def sweep_us(self) -> int:
        """When it is swept if nothing more is heard of it: Tcc = 2 x validity time."""
        return self.renewed_us + 2 * self.answer.validity_us


class ClosedSession(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a closed session: its last request's answer, and where its records stand."""

    number: int
    digest: bytes
    answer: Settled
    closed_us: int
    sequence_numbers: tuple[int, ...]


class SweptSession(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a swept session, whose late Release charges what is still missing."""

    number: int
    record_number: int
    charged: int
    model_id: str
    key_id: str
    member_id: str
    offering_id: str
    tariff: PinnedTariff
    created_us: int
    closed_us: int
    sequence_numbers: tuple[int, ...]


Remembered = TypeVar("Remembered", ClosedSession, SweptSession)


class Account(msgspec.Struct, array_like=True):
    """A charging account. `seq` and `index` name the last journal entry that is in it."""

    account_id: str
    offering_id: str
    created_us: int
    seq: int = 0
    index: int = 0
    buckets: dict[str, Bucket] = {}
    # Bucket ids that may still be burnt, in burn order.
    burn_order: list[str] = []
    # By unit.
    debts: dict[str, Debt] = {}
    sessions: dict[str, Session] = {}
    # In the order in which they were closed.
    closed: dict[str, ClosedSession] = {}
    swept: dict[str, SweptSession] = {}
    # Nothing is due before this time; a lower bound, so that most commands need not look.
    next_due_us: int | None = None


def evolve(account: Account | None, entry: Entry, seq: int, index: int) -> Account:
    """The account after `entry`, which stands at (seq, index) of its partition's journal. Changes `account` in place."""
    if isinstance(entry, AccountOpened):
        account = Account(entry.account_id, entry.offering_id, entry.time_us)
    else:
        assert account is not None, f"{type(entry).__name__} before AccountOpened"
        _APPLY[type(entry)](account, entry, seq)
    account.seq = seq
    account.index = index
    return account


def next_due_us(account: Account) -> int | None:
    """When something next falls due on the account: a sweep or the end of a bucket."""
    times = [session.sweep_us for session in account.sessions.values()]
    times += [bucket.valid_until_us for bucket in account.buckets.values() if not bucket.ended]
    return min(times, default=None)


def _due_no_later_than(account: Account, time_us: int) -> None:
    if account.next_due_us is None or time_us < account.next_due_us:
        account.next_due_us = time_us


def _granted(account: Account, entry: BucketGranted, seq: int) -> None:
    bucket = Bucket(
        bucket_id=entry.bucket_id,
        unit=entry.unit,
        priority=entry.priority,
        valid_from_us=entry.valid_from_us,
        valid_until_us=entry.valid_until_us,
        created_us=entry.time_us,
        idempotency_key=entry.idempotency_key,
        digest=entry.digest,
        repaid=entry.repaid,
        granted=entry.amount,
        remaining=entry.amount,
    )
    buckets = account.buckets
    buckets[bucket.bucket_id] = bucket
    insort(account.burn_order, bucket.bucket_id, key=lambda bucket_id: buckets[bucket_id].burn_key())
    _due_no_later_than(account, bucket.valid_until_us)


def _repaid(account: Account, entry: DebtRepaid, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.consumed += entry.amount
    account.debts[entry.unit].repaid += entry.amount


def _expired(account: Account, entry: BucketExpired, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.expired += entry.amount
    bucket.ended = True
    account.burn_order.remove(entry.bucket_id)


def _created(account: Account, entry: SessionCreated, seq: int) -> None:
    answer = Granted(
        entry.output_granted, entry.output_payable, entry.output_threshold, entry.validity_us, entry.final, entry.offering_id
    )
    session = Session(
        charging_id=entry.charging_id,
        number=entry.number,
        digest=entry.digest,
        model_id=entry.model_id,
        key_id=entry.key_id,
        member_id=entry.member_id,
        tariff=entry.tariff,
        input_bound=entry.input_bound,
        output_limit=entry.output_limit,
        answer=answer,
        hold=dict(entry.hold),
        used=TokenUsage(),
        created_us=entry.time_us,
        renewed_us=entry.time_us,
    )
    account.sessions[entry.charging_id] = session
    for bucket_id, amount in entry.hold:
        bucket = account.buckets[bucket_id]
        bucket.remaining -= amount
        bucket.reserved += amount
    _due_no_later_than(account, session.sweep_us)


def _updated(account: Account, entry: SessionUpdated, seq: int) -> None:
    session = account.sessions[entry.charging_id]
    session.number = entry.number
    session.digest = entry.digest
    session.used = entry.used
    session.renewed_us = entry.time_us
    session.answer = Granted(
        entry.output_granted,
        entry.output_payable,
        entry.output_threshold,
        session.answer.validity_us,
        entry.final,
        session.answer.offering_id,
    )
    for bucket_id, amount in entry.hold_added:
        bucket = account.buckets[bucket_id]
        bucket.remaining -= amount
        bucket.reserved += amount
        session.hold[bucket_id] = session.hold.get(bucket_id, 0) + amount


def _settled(account: Account, entry: SessionSettled, seq: int) -> None:
    for bucket_id, amount in entry.held_debits:
        bucket = account.buckets[bucket_id]
        bucket.reserved -= amount
        bucket.consumed += amount
    for bucket_id, amount in entry.released:
        bucket = account.buckets[bucket_id]
        bucket.reserved -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.remaining += amount
    for bucket_id, amount in entry.free_debits:
        bucket = account.buckets[bucket_id]
        bucket.remaining -= amount
        bucket.consumed += amount
    if entry.debt:
        account.debts.setdefault(entry.tariff.unit, Debt()).incurred += entry.debt
    account.sessions.pop(entry.charging_id, None)
    earlier = account.swept.pop(entry.charging_id, None)
    # A sweep and the late Release that set it off can stand in one row.
    sequence_numbers = (*(number for number in earlier.sequence_numbers if number != seq), seq) if earlier else (seq,)
    if entry.close_cause == CloseCause.SWEPT:
        account.swept[entry.charging_id] = SweptSession(
            number=entry.number,
            record_number=entry.record_number,
            charged=entry.charged,
            model_id=entry.model_id,
            key_id=entry.key_id,
            member_id=entry.member_id,
            offering_id=entry.offering_id,
            tariff=entry.tariff,
            created_us=entry.created_us,
            closed_us=entry.time_us,
            sequence_numbers=sequence_numbers,
        )
    else:
        answer = Settled(entry.tariff.unit, entry.charged, entry.debt)
        account.closed[entry.charging_id] = ClosedSession(entry.number, entry.digest, answer, entry.time_us, sequence_numbers)
    _forget(account, entry.time_us)


def _forget(account: Account, now_us: int) -> None:
    """Drops what need not be remembered any longer; both memories are in the order of closing."""
    _forget_before(account.closed, now_us - CLOSED_MEMORY_US)
    _forget_before(account.swept, now_us - SWEPT_MEMORY_US)


def _forget_before(memory: dict[str, Remembered], horizon_us: int) -> None:
    while memory:
        charging_id = next(iter(memory))
        if memory[charging_id].closed_us >= horizon_us:
            return
        del memory[charging_id]


_APPLY: Final[dict[type, Callable[[Account, Any, int], None]]] = {
    BucketGranted: _granted,
    DebtRepaid: _repaid,
    BucketExpired: _expired,
    SessionCreated: _created,
    SessionUpdated: _updated,
    SessionSettled: _settled,
}
