"""A second auditor, written apart from the core: what the journal must look like if the rules of burning were kept.

It keeps its own books of every bucket, and asks of each hold and each debit whether an earlier bucket of the same line would have
had to pay. It rates every record again, by fractions, and asks whether that was charged or absorbed; and whether what is absorbed
was above what the account may owe. `services.accounting.journal.audit` checks that amounts add up; this checks that they were taken
from the right place.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from services.accounting.core import entries as e
from services.accounting.journal.codec import decode_row
from services.accounting.journal.store import Snapshot

# Whole tokens a source: where another tariff pays in between, less than the price of a token may stay in a bucket, once in what a
# session holds of it and once in what is free. The dearest token of the simulated tariffs costs 7 units.
_LEFT_MAX = 2 * 7_000_000


class _Lot:
    """A bucket: who burns before whom, and what is free."""

    def __init__(self, granted: e.BucketGranted) -> None:
        self.line = (granted.offering_id, granted.model_group, granted.unit)
        self.rank = (granted.priority, granted.valid_until_us, granted.time_us, granted.bucket_id)
        self.from_us = granted.valid_from_us
        self.until_us = granted.valid_until_us
        self.free = granted.amount
        self.ended = False


def journal_breaches(snapshot: Snapshot) -> list[str]:
    """Every hold and debit that passed over a bucket which should have paid first, and every bucket that went below zero."""
    return [breach for partition in snapshot.partitions() for breach in _of_partition(snapshot, partition.part_id)]


def _of_partition(snapshot: Snapshot, part_id: int) -> Iterator[str]:
    books: defaultdict[str, _Books] = defaultdict(_Books)
    for row in snapshot.rows(part_id, 0):
        for entry in decode_row(row.body, f"row {row.seq}"):
            own = books[entry.account_id]
            where = f"{type(entry).__name__} in row {row.seq} of {entry.account_id}"
            own.move(entry)
            yield from own.judge(entry, where)
            for bucket_id, lot in own.lots.items():
                if lot.free < 0:
                    yield f"{where}: bucket {bucket_id} is at {lot.free}"


class _Books:
    """The buckets, debts and transfers of one account."""

    def __init__(self) -> None:
        self.lots: dict[str, _Lot] = {}
        self.debts = _Debts()
        self.sent: dict[str, tuple[str, int]] = {}

    def move(self, entry: e.Entry) -> None:
        """Posts an entry that moves amounts as it says, without a choice of buckets."""
        lots = self.lots
        match entry:
            case e.BucketGranted():
                lots[entry.bucket_id] = _Lot(entry)
            case e.DebtRepaid():
                lots[entry.bucket_id].free -= entry.amount
                self.debts.owed[entry.unit] -= entry.amount
            case e.BucketReduced():
                lots[entry.bucket_id].free -= entry.amount
            case e.BucketToppedUp():
                lots[entry.bucket_id].free += entry.amount
            case e.PriceCharged():
                for bucket_id, amount in entry.debits:
                    lots[bucket_id].free -= amount
            case e.TransferSent():
                lots[entry.bucket_id].free -= entry.amount
                self.sent[entry.transfer_id] = (entry.bucket_id, entry.amount)
            case e.TransferReturned():
                self._give_back(*self.sent[entry.transfer_id])

    def judge(self, entry: e.Entry, where: str) -> Iterator[str]:
        """Posts an entry whose amounts follow the rules of burning; yields where they do not."""
        match entry:
            case e.BucketExpired():
                lot = self.lots[entry.bucket_id]
                if lot.free != entry.amount:
                    yield f"{where}: {entry.amount} expired, {lot.free} were left"
                lot.free = 0
                lot.ended = True
            case e.SessionCreated():
                self.debts.limits[entry.charging_id] = entry.debt_limit
                yield from _taken(self.lots, entry.hold, entry.time_us, where)
            case e.SessionUpdated():
                yield from _taken(self.lots, entry.hold_added, entry.time_us, where)
            case e.SessionSettled():
                for bucket_id, amount in entry.released:
                    self._give_back(bucket_id, amount)
                yield from _taken(self.lots, entry.free_debits, entry.time_us, where)
                yield from self.debts.settle(entry, where)

    def _give_back(self, bucket_id: str, amount: int) -> None:
        if not self.lots[bucket_id].ended:
            self.lots[bucket_id].free += amount


class _Debts:
    """What an account owes by unit, what each session may add to it, and what was rated of each session by tariff."""

    def __init__(self) -> None:
        self.owed: defaultdict[str, int] = defaultdict(int)
        self.limits: dict[str, int] = {}
        self.rated: defaultdict[tuple[str, str], int] = defaultdict(int)

    def settle(self, entry: e.SessionSettled, where: str) -> Iterator[str]:
        """Posts a record; yields what of it is neither charged nor absorbed, or is absorbed though it could be owed."""
        unit = entry.tariff.unit
        unpaid = _rated(entry.tariff.tiers[-1].rates, entry.unpaid)
        session = (entry.charging_id, entry.line)
        whole = max(self.rated[session], _rated(entry.tariff.tiers[-1].rates, entry.usage))
        if entry.charged + entry.absorbed != whole - self.rated[session] + unpaid:
            yield f"{where}: {entry.charged} charged and {entry.absorbed} absorbed of {whole - self.rated[session]} and {unpaid}"
        self.rated[session] = whole
        self.owed[unit] += entry.debt
        lost = entry.absorbed - unpaid
        limit = self.limits.get(entry.charging_id, -1)
        if limit >= 0 and ((self.owed[unit] > limit and entry.debt) or (lost and self.owed[unit] < limit)):
            yield f"{where}: owes {self.owed[unit]}, may owe {limit}, and {lost} was absorbed"


def _rated(rates: tuple[int, ...], counts: tuple[int, ...]) -> int:
    """Each class rounded up by itself; the simulated tariffs have one tier and a rate for every class that is used."""
    return sum(math.ceil(Fraction(count * rate, 1_000_000)) for count, rate in zip(counts, rates, strict=False))


def _taken(own: dict[str, _Lot], amounts: e.BucketAmounts, time_us: int, where: str) -> Iterator[str]:
    for bucket_id, amount in amounts:
        own[bucket_id].free -= amount
    for bucket_id, _ in amounts:
        burnt = own[bucket_id]
        for other_id, other in own.items():
            if (
                other.line == burnt.line
                and other.rank < burnt.rank
                and other.free >= _LEFT_MAX
                and not other.ended
                and other.from_us <= time_us < other.until_us
            ):
                yield f"{where}: took from {bucket_id} while {other_id}, which burns first, had {other.free}"
