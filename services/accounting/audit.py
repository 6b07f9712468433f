"""The auditor: adds up the journal by itself, and compares with what the owner's state would be.

Written apart from the charging rules on purpose: it shares the entries' format and the state's, but no arithmetic.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from services.accounting.account import Account, evolve
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
from services.accounting.journal import JournalError, decode_checkpoint, decode_row
from services.accounting.store import Snapshot

_BREACHES_MAX: Final = 100


class Findings(msgspec.Struct):
    """What an audit found. `in_transit` is in micro-units; `breaches` are sentences."""

    accounts: int = 0
    buckets: int = 0
    entries: int = 0
    open_sessions: int = 0
    in_transit: int = 0
    breaches: list[str] = []

    def breach(self, what: str) -> None:
        """Notes what does not add up; the first hundred are kept."""
        if len(self.breaches) < _BREACHES_MAX:
            self.breaches.append(what)


class _BucketBook:
    """A bucket as the journal tells it."""

    def __init__(self, unit: str, granted: int) -> None:
        self.unit = unit
        self.granted = granted
        self.free = granted
        self.held = 0
        self.used = 0
        self.expired = 0
        self.ended = False


class _AccountBook:
    """An account as the journal tells it."""

    def __init__(self) -> None:
        self.opened = False
        self.buckets: dict[str, _BucketBook] = {}
        self.holds: dict[str, dict[str, int]] = {}
        self.owed: defaultdict[str, int] = defaultdict(int)
        self.incurred: defaultdict[str, int] = defaultdict(int)
        self.settled: set[tuple[str, int]] = set()
        self.charged: defaultdict[str, int] = defaultdict(int)


def audit(snapshot: Snapshot) -> Findings:
    """Reads the whole journal and all checkpoints of `snapshot`.

    Checks: rows without a gap; no amount ever negative; nothing settled twice; every charge equal to its debits and debt;
    every bucket's sum; charged = consumed - consumed for repaying + incurred; that checkpoint plus tail equals the journal;
    and that recovery, which reads from the low-water mark on, misses nothing. What cannot be read is a breach too.
    """
    findings = Findings()
    for partition in snapshot.partitions():
        books: defaultdict[str, _AccountBook] = defaultdict(_AccountBook)
        tails: defaultdict[str, list[tuple[int, int, Entry]]] = defaultdict(list)
        states: dict[str, Account] = {}
        for checkpoint in snapshot.checkpoints(partition.part_id):
            try:
                states[checkpoint.account_id] = decode_checkpoint(checkpoint.body, f"the checkpoint of {checkpoint.account_id}")
            except JournalError as error:
                findings.breach(str(error))
        expected_seq = 1
        for row in snapshot.rows(partition.part_id, 0):
            if row.seq != expected_seq:
                findings.breach(f"partition {row.part_id}: row {expected_seq} is missing before {row.seq}")
            expected_seq = row.seq + 1
            try:
                entries = decode_row(row.body, f"journal row {row.part_id}/{row.seq}")
            except JournalError as error:
                findings.breach(str(error))
                continue
            if len(entries) != row.entry_count:
                findings.breach(f"partition {row.part_id}: row {row.seq} has {len(entries)} entries, not {row.entry_count}")
            for index, entry in enumerate(entries):
                findings.entries += 1
                where = f"partition {row.part_id}, row {row.seq}, entry {index}, account {entry.account_id}"
                try:
                    for breach in _post(books[entry.account_id], entry):
                        findings.breach(f"{where}: {breach}")
                except KeyError as unknown:
                    findings.breach(f"{where}: {type(entry).__name__} of bucket {unknown}, which was never granted")
                state = states.get(entry.account_id)
                if state is None or (state.seq, state.index) < (row.seq, index):
                    tails[entry.account_id].append((row.seq, index, entry))
        if expected_seq != partition.next_seq:
            findings.breach(f"partition {partition.part_id}: the journal ends at {expected_seq - 1}, not {partition.next_seq - 1}")
        for account_id in states.keys() - books.keys():
            findings.breach(f"account {account_id} has a checkpoint but no journal")
        for account_id, book in books.items():
            findings.accounts += 1
            findings.buckets += len(book.buckets)
            findings.open_sessions += len(book.holds)
            tail = tails[account_id]
            if tail and tail[0][0] < partition.low_water:
                findings.breach(f"account {account_id}: row {tail[0][0]} is in no checkpoint, but below the low-water mark")
            try:
                state = _replay(states.get(account_id), tail)
            except Exception as error:
                # A journal that was tampered with can do anything.
                findings.breach(f"account {account_id}: its journal cannot be replayed: {error!r}")
                continue
            findings.in_transit += sum(bucket.transferred for bucket in state.buckets.values())
            for breach in _compare(book, state):
                findings.breach(f"account {account_id}: {breach}")
    return findings


def _replay(state: Account | None, tail: list[tuple[int, int, Entry]]) -> Account:
    for seq, index, entry in tail:
        state = evolve(state, entry, seq, index)
    assert state is not None, "it has no entries"
    return state


def _post(book: _AccountBook, entry: Entry) -> Iterator[str]:
    """Posts an entry; yields what is wrong with it."""
    if isinstance(entry, AccountOpened):
        if book.opened:
            yield "opened twice"
        book.opened = True
        return
    if not book.opened:
        yield f"{type(entry).__name__} before the account was opened"
    if isinstance(entry, BucketGranted):
        if entry.bucket_id in book.buckets:
            yield f"bucket {entry.bucket_id} granted twice"
        book.buckets[entry.bucket_id] = _BucketBook(entry.unit, entry.amount)
    elif isinstance(entry, DebtRepaid):
        bucket = book.buckets[entry.bucket_id]
        bucket.free -= entry.amount
        bucket.used += entry.amount
        book.owed[entry.unit] -= entry.amount
        # What repays a debt was charged when the debt was incurred.
        book.charged[entry.unit] += entry.amount
        if book.owed[entry.unit] < 0:
            yield f"more {entry.unit} repaid than owed"
    elif isinstance(entry, BucketExpired):
        bucket = book.buckets[entry.bucket_id]
        if entry.amount != bucket.free:
            yield f"bucket {entry.bucket_id} expired {entry.amount}, but {bucket.free} remained"
        bucket.free -= entry.amount
        bucket.expired += entry.amount
        bucket.ended = True
    elif isinstance(entry, SessionCreated):
        if entry.charging_id in book.holds or (entry.charging_id, 1) in book.settled:
            yield f"session {entry.charging_id} created twice"
        book.holds[entry.charging_id] = {}
        _hold(book, entry.charging_id, entry.hold)
    elif isinstance(entry, SessionUpdated):
        if entry.charging_id not in book.holds:
            yield f"session {entry.charging_id} updated but not open"
            book.holds[entry.charging_id] = {}
        _hold(book, entry.charging_id, entry.hold_added)
    else:
        yield from _post_settled(book, entry)
    for bucket_id, bucket in book.buckets.items():
        if min(bucket.free, bucket.held, bucket.used, bucket.expired) < 0:
            yield f"bucket {bucket_id} has a negative amount"


def _hold(book: _AccountBook, charging_id: str, amounts: tuple[tuple[str, int], ...]) -> None:
    held = book.holds[charging_id]
    for bucket_id, amount in amounts:
        held[bucket_id] = held.get(bucket_id, 0) + amount
        book.buckets[bucket_id].free -= amount
        book.buckets[bucket_id].held += amount


def _post_settled(book: _AccountBook, entry: SessionSettled) -> Iterator[str]:
    record = (entry.charging_id, entry.record_number)
    if record in book.settled:
        yield f"session {entry.charging_id} record {entry.record_number} settled twice"
    book.settled.add(record)
    held = book.holds.pop(entry.charging_id, {})
    used = 0
    for bucket_id, amount in entry.held_debits:
        held[bucket_id] = held.get(bucket_id, 0) - amount
        book.buckets[bucket_id].held -= amount
        book.buckets[bucket_id].used += amount
        used += amount
    for bucket_id, amount in entry.released:
        held[bucket_id] = held.get(bucket_id, 0) - amount
        bucket = book.buckets[bucket_id]
        bucket.held -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.free += amount
    for bucket_id, amount in entry.free_debits:
        book.buckets[bucket_id].free -= amount
        book.buckets[bucket_id].used += amount
        used += amount
    if any(held.values()):
        yield f"session {entry.charging_id} settled, but its hold was not given back exactly: {held}"
    if entry.charged != used + entry.debt:
        yield f"session {entry.charging_id} charged {entry.charged}, but took {used} and owes {entry.debt}"
    if entry.record_number == 1 and entry.charged != sum(entry.class_amounts):
        yield f"session {entry.charging_id} charged {entry.charged}, but its classes come to {sum(entry.class_amounts)}"
    unit = entry.tariff.unit
    book.owed[unit] += entry.debt
    book.incurred[unit] += entry.debt
    # `charged` of a unit counts what buckets paid; debts are added when they are paid.
    book.charged[unit] += used


def _compare(book: _AccountBook, state: Account) -> Iterator[str]:
    """Yields where the owner's state differs from the books, and what in it does not add up."""
    if state.buckets.keys() != book.buckets.keys():
        yield f"buckets {sorted(state.buckets)} in the state, {sorted(book.buckets)} in the journal"
        return
    consumed: defaultdict[str, int] = defaultdict(int)
    for bucket_id, bucket in state.buckets.items():
        ledger = book.buckets[bucket_id]
        if bucket.granted != bucket.remaining + bucket.reserved + bucket.consumed + bucket.expired + bucket.transferred:
            yield f"bucket {bucket_id}: granted is not remaining + reserved + consumed + expired + transferred"
        in_state = (bucket.granted, bucket.remaining, bucket.reserved, bucket.consumed, bucket.expired)
        in_book = (ledger.granted, ledger.free, ledger.held, ledger.used, ledger.expired)
        if in_state != in_book:
            yield f"bucket {bucket_id}: (granted, remaining, reserved, consumed, expired) is {in_state}, the journal says {in_book}"
        consumed[bucket.unit] += bucket.consumed
    held_in_state = {charging_id: dict(session.hold) for charging_id, session in state.sessions.items()}
    if held_in_state != book.holds:
        yield f"holds {held_in_state} in the state, {book.holds} in the journal"
    for unit in {*state.debts, *book.incurred}:
        debt = state.debts.get(unit)
        in_debt = (debt.incurred, debt.outstanding) if debt else (0, 0)
        if in_debt != (book.incurred[unit], book.owed[unit]):
            yield f"debt in {unit}: (incurred, outstanding) is {in_debt}, the journal says {(book.incurred[unit], book.owed[unit])}"
    for unit in {*consumed, *book.charged}:
        if consumed[unit] != book.charged[unit]:
            yield f"{unit}: {consumed[unit]} consumed in all buckets, but {book.charged[unit]} charged and repaid"
