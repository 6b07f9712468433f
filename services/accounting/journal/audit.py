"""The auditor: adds up the journal by itself, and compares the sums with the owner's state.

Written apart from the charging rules on purpose: it shares the entries' format and the state's, but no arithmetic.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from services.accounting.core.account.evolve import evolve
from services.accounting.core.account.state import ENDED_MEMORY_US, Account, line_of
from services.accounting.core.commands import CloseCause
from services.accounting.core.entries import (
    AccountOpened,
    BucketExpired,
    BucketGranted,
    BucketReduced,
    BucketRolledOver,
    BucketToppedUp,
    DebtRepaid,
    DebtWrittenOff,
    Entry,
    PriceCharged,
    PriceReturned,
    RunOpened,
    SessionCreated,
    SessionSettled,
    SessionUpdated,
    TransferConfirmed,
    TransferReturned,
    TransferSent,
)
from services.accounting.journal.codec import JournalError, decode_checkpoint, decode_row
from services.accounting.journal.store import Checkpoint, ClaimedPartition, JournalRow, Snapshot

_BREACHES_MAX: Final = 100
_MINTED_DEPTH_MAX: Final = 4


class Findings(msgspec.Struct):
    """Findings of an audit; `breaches` are sentences."""

    accounts: int = 0
    buckets: int = 0
    entries: int = 0
    open_sessions: int = 0
    breaches: list[str] = []
    # By unit, in micro-units: absorbed amounts, and those that left one account and have not arrived at another.
    losses: dict[str, int] = {}
    in_transit: dict[str, int] = {}

    def add(self, other: "Findings") -> None:
        """Adds the findings of another part of the cell."""
        self.accounts += other.accounts
        self.buckets += other.buckets
        self.entries += other.entries
        self.open_sessions += other.open_sessions
        self.breaches = [*self.breaches, *other.breaches][:_BREACHES_MAX]
        for sums, added in ((self.losses, other.losses), (self.in_transit, other.in_transit)):
            for unit, amount in added.items():
                _count(sums, unit, amount)

    def breach(self, what: str) -> None:
        """Notes a sum that is wrong; the first hundred are kept."""
        if len(self.breaches) < _BREACHES_MAX:
            self.breaches.append(what)


class _BucketBook:
    """A bucket as the journal tells it."""

    def __init__(self, unit: str, granted: int, until_us: int) -> None:
        self.unit = unit
        self.granted = granted
        self.until_us = until_us
        self.free = granted
        self.held = 0
        self.used = 0
        self.expired = 0
        self.given = 0
        self.ended = False


class _AccountBook:
    """An account as the journal tells it."""

    def __init__(self) -> None:
        self.opened = False
        self.buckets: dict[str, _BucketBook] = {}
        # By unit: the used part of buckets that were forgotten, and whose keys then made others.
        self.used_before: defaultdict[str, int] = defaultdict(int)
        self.holds: dict[str, dict[str, int]] = {}
        self.owed: defaultdict[str, int] = defaultdict(int)
        self.incurred: defaultdict[str, int] = defaultdict(int)
        self.written_off: defaultdict[str, int] = defaultdict(int)
        self.absorbed: defaultdict[str, int] = defaultdict(int)
        # Records of each session: the numbers of the settled ones, and by tariff line their rated amounts.
        self.settled: set[tuple[str, int]] = set()
        self.rated_by_line: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.charged: defaultdict[str, int] = defaultdict(int)
        # transfer_id -> (bucket_id, amount), for transfers whose outcome is not known yet.
        self.in_transit: dict[str, tuple[str, int]] = {}
        # Minted keys and the keys that minted them; then, by key, what it and all keys below it charged by unit, and their calls.
        self.parents: dict[str, str] = {}
        self.spent: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.calls: defaultdict[str, int] = defaultdict(int)
        # Keys of open sessions, once a key of the account was minted.
        self.keys: dict[str, str] = {}

    def minted(self, key_id: str) -> Iterator[str]:
        """A key and all keys above it that were minted themselves."""
        while key_id in self.parents:
            yield key_id
            key_id = self.parents[key_id]


def audit(snapshot: Snapshot) -> Findings:
    """Reads the whole journal and all checkpoints of `snapshot`.

    Checks: rows without a gap; no amount ever negative; nothing settled twice; every charge equal to its debits and debt;
    rated = charged + absorbed; every bucket's sum; every run's use; charged = consumed - consumed for repaying + incurred; that
    checkpoint plus tail equals the journal; and that recovery, which reads from the low-water mark on, misses nothing. Unreadable
    rows and checkpoints are breaches too.
    """
    findings = Findings()
    for partition in snapshot.partitions():
        audited = _PartitionAudit(partition, findings)
        audited.read_checkpoints(snapshot.checkpoints(partition.part_id))
        audited.read_journal(snapshot.rows(partition.part_id, 0))
        audited.compare()
    return findings


class _PartitionAudit:
    """The audit of one partition: the books of its accounts, their checkpoints, and the entries after these."""

    def __init__(self, partition: ClaimedPartition, findings: Findings) -> None:
        self._partition = partition
        self._findings = findings
        self._books: defaultdict[str, _AccountBook] = defaultdict(_AccountBook)
        self._tails: defaultdict[str, list[tuple[int, int, Entry]]] = defaultdict(list)
        self._states: dict[str, Account] = {}

    def read_checkpoints(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Decodes the accounts' states."""
        for checkpoint in checkpoints:
            account_id = checkpoint.account_id
            try:
                self._states[account_id] = decode_checkpoint(checkpoint.body, f"the checkpoint of {account_id}")
            except JournalError as error:
                self._findings.breach(str(error))

    def read_journal(self, rows: Iterable[JournalRow]) -> None:
        """Posts all entries, and checks that no row is missing."""
        part_id, expected_seq = self._partition.part_id, 1
        for row in rows:
            if row.seq != expected_seq:
                self._findings.breach(f"partition {part_id}: row {expected_seq} is missing before {row.seq}")
            expected_seq = row.seq + 1
            try:
                entries = decode_row(row.body, f"journal row {part_id}/{row.seq}")
            except JournalError as error:
                self._findings.breach(str(error))
                continue
            if len(entries) != row.entry_count:
                self._findings.breach(f"partition {part_id}: row {row.seq} has {len(entries)} entries, not {row.entry_count}")
            for index, entry in enumerate(entries):
                self._take(entry, row.seq, index)
        if expected_seq != self._partition.next_seq:
            self._findings.breach(
                f"partition {part_id}: the journal ends at {expected_seq - 1}, not {self._partition.next_seq - 1}"
            )

    def _take(self, entry: Entry, seq: int, index: int) -> None:
        account_id = entry.account_id
        self._findings.entries += 1
        where = f"partition {self._partition.part_id}, row {seq}, entry {index}, account {account_id}"
        try:
            for breach in _post(self._books[account_id], entry):
                self._findings.breach(f"{where}: {breach}")
        except KeyError as unknown:
            self._findings.breach(f"{where}: {type(entry).__name__} of bucket {unknown}, which was never granted")
        state = self._states.get(account_id)
        if state is None or (state.seq, state.index) < (seq, index):
            self._tails[account_id].append((seq, index, entry))

    def compare(self) -> None:
        """Compares the books with the states that recovery would make."""
        for account_id in self._states.keys() - self._books.keys():
            self._findings.breach(f"account {account_id} has a checkpoint but no journal")
        for account_id, book in self._books.items():
            self._compare_account(account_id, book)

    def _compare_account(self, account_id: str, book: _AccountBook) -> None:
        findings = self._findings
        findings.accounts += 1
        findings.buckets += len(book.buckets)
        findings.open_sessions += len(book.holds)
        tail = self._tails[account_id]
        if tail and tail[0][0] < self._partition.low_water:
            findings.breach(f"account {account_id}: row {tail[0][0]} is in no checkpoint, but below the low-water mark")
        try:
            state = _replay(self._states.get(account_id), tail)
        except Exception as error:
            # A journal that was tampered with can raise anything.
            findings.breach(f"account {account_id}: its journal cannot be replayed: {error!r}")
            return
        for unit, absorbed in book.absorbed.items():
            _count(findings.losses, unit, absorbed)
        for bucket_id, amount in book.in_transit.values():
            _count(findings.in_transit, book.buckets[bucket_id].unit, amount)
        for breach in _compare(book, state):
            findings.breach(f"account {account_id}: {breach}")


def _count(sums: dict[str, int], unit: str, amount: int) -> None:
    sums[unit] = sums.get(unit, 0) + amount


def _replay(state: Account | None, tail: list[tuple[int, int, Entry]]) -> Account:
    for seq, index, entry in tail:
        state = evolve(state, entry, seq, index)
    assert state is not None, "it has no entries"
    return state


def _post(book: _AccountBook, entry: Entry) -> Iterator[str]:
    """Posts an entry; yields its errors."""
    if isinstance(entry, AccountOpened):
        if book.opened:
            yield "opened twice"
        book.opened = True
        return
    if not book.opened:
        yield f"{type(entry).__name__} before the account was opened"
    post = _POSTS.get(type(entry))
    if post is not None:
        yield from post(book, entry)
    for bucket_id, bucket in book.buckets.items():
        if min(bucket.free, bucket.held, bucket.used, bucket.expired, bucket.given) < 0:
            yield f"bucket {bucket_id} has a negative amount"


def _post_granted(book: _AccountBook, entry: BucketGranted) -> Iterator[str]:
    before = book.buckets.get(entry.bucket_id)
    if before is not None:
        if not before.ended or before.held or entry.time_us <= before.until_us + ENDED_MEMORY_US:
            yield f"bucket {entry.bucket_id} granted twice"
        # Its key was used again once it was forgotten.
        book.used_before[before.unit] += before.used
    book.buckets[entry.bucket_id] = _BucketBook(entry.unit, entry.amount, entry.valid_until_us)


def _post_topped_up(book: _AccountBook, entry: BucketToppedUp) -> Iterable[str]:
    book.buckets[entry.bucket_id].granted += entry.amount
    book.buckets[entry.bucket_id].free += entry.amount
    return ()


def _post_repaid(book: _AccountBook, entry: DebtRepaid) -> Iterator[str]:
    bucket = book.buckets[entry.bucket_id]
    bucket.free -= entry.amount
    bucket.used += entry.amount
    book.owed[entry.unit] -= entry.amount
    # A repayment was charged when its debt was incurred.
    book.charged[entry.unit] += entry.amount
    if book.owed[entry.unit] < 0:
        yield f"more {entry.unit} repaid than owed"


def _post_expired(book: _AccountBook, entry: BucketExpired) -> Iterator[str]:
    bucket = book.buckets[entry.bucket_id]
    if entry.amount != bucket.free:
        yield f"bucket {entry.bucket_id} expired {entry.amount}, but {bucket.free} remained"
    bucket.free -= entry.amount
    bucket.expired += entry.amount
    bucket.ended = True


def _post_cut(book: _AccountBook, entry: BucketRolledOver | BucketReduced) -> Iterable[str]:
    bucket = book.buckets[entry.bucket_id]
    amount = entry.expired if isinstance(entry, BucketRolledOver) else entry.amount
    if isinstance(entry, BucketRolledOver):
        bucket.until_us = entry.valid_until_us
    bucket.free -= amount
    bucket.expired += amount
    return ()


def _post_created(book: _AccountBook, entry: SessionCreated) -> Iterator[str]:
    if entry.charging_id in book.holds or (entry.charging_id, 1) in book.settled:
        yield f"session {entry.charging_id} created twice"
    book.holds[entry.charging_id] = {}
    if book.parents:
        book.keys[entry.charging_id] = entry.key_id
    _hold(book, entry.charging_id, entry.hold)


def _post_updated(book: _AccountBook, entry: SessionUpdated) -> Iterator[str]:
    if entry.charging_id not in book.holds:
        yield f"session {entry.charging_id} updated but not open"
        book.holds[entry.charging_id] = {}
    _hold(book, entry.charging_id, entry.hold_added)


def _post_price(book: _AccountBook, entry: PriceCharged) -> Iterator[str]:
    if sum(amount for _, amount in entry.debits) != entry.amount:
        yield f"a price of {entry.amount} was paid with {entry.debits}"
    for bucket_id, amount in entry.debits:
        book.buckets[bucket_id].free -= amount
        book.buckets[bucket_id].used += amount
    book.charged[entry.unit] += entry.amount


def _post_returned(book: _AccountBook, entry: PriceReturned) -> Iterator[str]:
    credited = sum(amount for _, amount in entry.credits)
    if not 0 <= entry.outside <= entry.amount - credited:
        yield f"{entry.amount} of a price went back as {credited} to credit lines and {entry.outside} outside"
    for bucket_id, amount in entry.credits:
        bucket = book.buckets[bucket_id]
        bucket.used -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.free += amount
    book.charged[entry.unit] -= credited


def _post_written_off(book: _AccountBook, entry: DebtWrittenOff) -> Iterator[str]:
    book.owed[entry.unit] -= entry.amount
    book.written_off[entry.unit] += entry.amount
    if book.owed[entry.unit] < 0:
        yield f"more {entry.unit} written off than owed"


def _post_transfer(book: _AccountBook, entry: TransferSent | TransferConfirmed | TransferReturned) -> Iterator[str]:
    if isinstance(entry, TransferSent):
        if entry.transfer_id in book.in_transit:
            yield f"transfer {entry.transfer_id} sent twice"
        book.in_transit[entry.transfer_id] = (entry.bucket_id, entry.amount)
        book.buckets[entry.bucket_id].free -= entry.amount
        book.buckets[entry.bucket_id].given += entry.amount
        return
    bucket_id, amount = book.in_transit.pop(entry.transfer_id, ("", 0))
    if not bucket_id:
        yield f"transfer {entry.transfer_id} ended, but was not in transit"
    elif isinstance(entry, TransferReturned):
        bucket = book.buckets[bucket_id]
        bucket.given -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.free += amount


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
    if entry.record_number > 1 and (entry.charging_id, entry.record_number - 1) not in book.settled:
        yield f"session {entry.charging_id} has a record {entry.record_number}, but none before it"
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
    if entry.more_records:
        book.holds[entry.charging_id] = held
    elif any(held.values()):
        yield f"session {entry.charging_id} settled, but its hold was not given back exactly: {held}"
    if entry.charged != used + entry.debt:
        yield f"session {entry.charging_id} charged {entry.charged}, but took {used} and owes {entry.debt}"
    # The first release did not write the line: each unit had one, the account's own.
    line = (entry.charging_id, entry.line or line_of("", "", entry.tariff.unit))
    before = book.rated_by_line[line]
    # Unpaid usage is absorbed whole, beside the used part.
    rated = entry.charged + entry.absorbed - sum(entry.unpaid_amounts)
    book.rated_by_line[line] += rated
    # A late Release rates what the sweep did not; the sweep's rated amount stands.
    if before + rated != max(before, sum(entry.class_amounts)):
        yield f"session {entry.charging_id} rated {before} + {rated}, but its classes come to {sum(entry.class_amounts)}"
    if min(entry.charged, entry.debt, entry.absorbed) < 0 or entry.absorbed < sum(entry.unpaid_amounts):
        yield f"session {entry.charging_id} charged {entry.charged}, owes {entry.debt} and has {entry.absorbed} absorbed"
    unit = entry.tariff.unit
    book.absorbed[unit] += entry.absorbed
    book.owed[unit] += entry.debt
    book.incurred[unit] += entry.debt
    # `charged` counts, by unit, what buckets paid; debts are added when they are paid.
    book.charged[unit] += used
    if not entry.more_records:
        book.keys.pop(entry.charging_id, None)
    for key_id in book.minted(entry.key_id):
        book.spent[key_id][unit] += entry.charged
        book.calls[key_id] += entry.record_number == 1 and entry.close_cause != CloseCause.REJECTED


def _post_run(book: _AccountBook, entry: RunOpened) -> Iterator[str]:
    if entry.key_id in book.parents:
        yield f"key {entry.key_id} was minted twice"
    book.parents[entry.key_id] = entry.parent_key_id
    if sum(1 for _ in book.minted(entry.key_id)) > _MINTED_DEPTH_MAX:
        yield f"key {entry.key_id} was minted more than {_MINTED_DEPTH_MAX} levels below an issued key"


# By kind of entry: the function that posts one. Other kinds move no amount.
_POSTS: Final[dict[type, Callable[[_AccountBook, Any], Iterable[str]]]] = {
    BucketGranted: _post_granted,
    BucketToppedUp: _post_topped_up,
    DebtRepaid: _post_repaid,
    BucketExpired: _post_expired,
    BucketRolledOver: _post_cut,
    BucketReduced: _post_cut,
    SessionCreated: _post_created,
    SessionUpdated: _post_updated,
    SessionSettled: _post_settled,
    PriceCharged: _post_price,
    PriceReturned: _post_returned,
    DebtWrittenOff: _post_written_off,
    TransferSent: _post_transfer,
    TransferConfirmed: _post_transfer,
    TransferReturned: _post_transfer,
    RunOpened: _post_run,
}


def _compare(book: _AccountBook, state: Account) -> Iterator[str]:
    """Yields differences of the owner's state from the books, and wrong sums in it."""
    # The state may have forgotten buckets that ended long ago, as long as nothing of them is held.
    forgotten = book.buckets.keys() - state.buckets.keys()
    unknown = sorted(state.buckets.keys() - book.buckets.keys())
    lost = sorted(each for each in forgotten if not book.buckets[each].ended or book.buckets[each].held)
    if unknown or lost:
        yield f"buckets {unknown} are in the state but not in the journal, {lost} in the journal but not in the state"
        return
    consumed = book.used_before.copy()
    for bucket_id in forgotten:
        consumed[book.buckets[bucket_id].unit] += book.buckets[bucket_id].used
    for bucket_id, bucket in state.buckets.items():
        ledger = book.buckets[bucket_id]
        if bucket.granted != bucket.remaining + bucket.reserved + bucket.consumed + bucket.expired + bucket.transferred:
            yield f"bucket {bucket_id}: granted is not remaining + reserved + consumed + expired + transferred"
        in_state = (bucket.granted, bucket.remaining, bucket.reserved, bucket.consumed, bucket.expired, bucket.transferred)
        in_book = (ledger.granted, ledger.free, ledger.held, ledger.used, ledger.expired, ledger.given)
        if in_state != in_book:
            fields = "(granted, remaining, reserved, consumed, expired, transferred)"
            yield f"bucket {bucket_id}: {fields} is {in_state}, the journal says {in_book}"
        consumed[bucket.unit] += bucket.consumed
    in_transit = {
        each.transfer_id: (each.bucket_id, each.amount) for each in state.transfers.values() if each.state == "in_transit"
    }
    if in_transit != book.in_transit:
        yield f"transfers {sorted(in_transit)} are in transit in the state, {sorted(book.in_transit)} in the journal"
    held_in_state = {charging_id: dict(session.hold) for charging_id, session in state.sessions.items()}
    if held_in_state != book.holds:
        yield f"holds {held_in_state} in the state, {book.holds} in the journal"
    for unit in {*state.debts, *book.incurred}:
        debt = state.debts.get(unit)
        in_debt = (debt.incurred, debt.outstanding) if debt else (0, 0)
        if in_debt != (book.incurred[unit], book.owed[unit]):
            yield f"debt in {unit}: (incurred, outstanding) is {in_debt}, the journal says {(book.incurred[unit], book.owed[unit])}"
    for unit in {*state.losses, *book.absorbed}:
        absorbed = state.losses[unit].absorbed if unit in state.losses else 0
        if absorbed != book.absorbed[unit]:
            yield f"{unit}: {absorbed} absorbed in the state, {book.absorbed[unit]} in the journal"
    for unit in {*consumed, *book.charged}:
        if consumed[unit] != book.charged[unit]:
            yield f"{unit}: {consumed[unit]} consumed in all buckets, but {book.charged[unit]} charged and repaid"
    yield from _compare_runs(book, state)


def _compare_runs(book: _AccountBook, state: Account) -> Iterator[str]:
    """Yields differences between the counts of runs and what their keys, and all keys below them, charged and hold."""
    if not state.runs:
        return
    held: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for charging_id, key_id in book.keys.items():
        for bucket_id, amount in book.holds[charging_id].items():
            for each in book.minted(key_id):
                held[each][book.buckets[bucket_id].unit] += amount
    for key_id, run in state.runs.items():
        if run.calls != book.calls[key_id]:
            yield f"run of {key_id}: {run.calls} calls in the state, {book.calls[key_id]} in the journal"
        for limit in run.limits:
            if not limit.unit:
                continue
            counter = state.counters.get(f"{limit.limit_id}@key:{key_id}")
            in_state = (counter.used, counter.reserved) if counter else (0, 0)
            in_book = (book.spent[key_id][limit.unit], held[key_id][limit.unit])
            if in_state != in_book:
                yield f"run of {key_id}: (used, held) of {limit.unit} is {in_state}, the journal says {in_book}"
