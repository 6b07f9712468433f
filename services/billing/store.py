"""Where cursors, file rows and the index by charging_id are durable: the contract, and the version in memory."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.billing.cdr_file import CdrFile, IndexRow


class CursorMovedError(Exception):
    """The cursor is not where the caller saw it: somebody else exports from this store. Nothing was written."""


class PendingRange(NamedTuple):
    """A range whose file may exist, whole or in part; it must be written again, then passed."""

    from_seq: int
    to_seq: int
    first_record_number: int
    file_name: str


class Cursor(NamedTuple):
    """How far a partition is exported. `exported_seq` 0: nothing; the next CDR gets `next_record_number`."""

    part_id: int
    era: int
    exported_seq: int
    next_record_number: int
    pending: PendingRange | None


def first_cursor(part_id: int, era: int) -> Cursor:
    """The cursor of a partition before anything of it was exported."""
    return Cursor(part_id, era, 0, 1, None)


class Store(Protocol):
    """Every method is one transaction; what it wrote survives the loss of the process and of power when it returns.

    Errors of all methods: `ServiceError` STORE_UNAVAILABLE; then it is unknown whether a write took effect, and the cursor
    must be read again.
    """

    async def cursors(self) -> dict[int, Cursor]:
        """Cursors by part_id, of the partitions that were begun."""
        ...

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        """Makes the range pending. Errors: `CursorMovedError` unless the partition is at `cursor`, with nothing pending."""
        ...

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, index: Sequence[IndexRow]) -> Cursor:
        """Writes file row and index rows, moves the cursor to `to_seq` and past the index rows' record numbers, clears pending.

        Without a CDR there is no file, no index row and nothing pending. Errors: `CursorMovedError` unless the partition is
        at `cursor`.
        """
        ...

    async def enter_era(self, cursor: Cursor, era: int) -> Cursor:
        """Exports from a journal of another era from now on. Errors: `CursorMovedError` unless it is at `cursor`."""
        ...

    async def records(self, account_id: str, charging_id: str) -> list[IndexRow]:
        """The account's exported records of the session, in order of record_sequence_number."""
        ...

    async def index_rows(self, part_id: int, from_seq: int, to_seq: int) -> list[IndexRow]:
        """The index rows of a range of sequence numbers, both ends included, in the journal's order."""
        ...

    async def files(self, part_id: int) -> list[CdrFile]:
        """The partition's file rows, in order of their ranges."""
        ...

    async def close(self) -> None:
        """Ends; nothing may be under way."""
        ...


class MemoryStore:
    """See `Store`; durable as long as the object lives. For tests."""

    def __init__(self) -> None:
        self._cursors: dict[int, Cursor] = {}
        self._files: dict[int, list[CdrFile]] = {}
        self._index: dict[int, list[IndexRow]] = {}

    async def cursors(self) -> dict[int, Cursor]:
        return dict(self._cursors)

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        self._check(cursor)
        if cursor.pending is not None:
            raise moved(cursor)
        return self._move(cursor._replace(pending=pending))

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, index: Sequence[IndexRow]) -> Cursor:
        self._check(cursor)
        if file is not None:
            self._files.setdefault(cursor.part_id, []).append(file)
        self._index.setdefault(cursor.part_id, []).extend(index)
        return self._move(advanced(cursor, to_seq, len(index)))

    async def enter_era(self, cursor: Cursor, era: int) -> Cursor:
        self._check(cursor)
        return self._move(cursor._replace(era=era))

    async def records(self, account_id: str, charging_id: str) -> list[IndexRow]:
        found = [
            row for rows in self._index.values() for row in rows if (row.account_id, row.charging_id) == (account_id, charging_id)
        ]
        return sorted(found, key=lambda row: row.record_sequence_number)

    async def index_rows(self, part_id: int, from_seq: int, to_seq: int) -> list[IndexRow]:
        return [row for row in self._index.get(part_id, []) if from_seq <= row.sequence_number <= to_seq]

    async def files(self, part_id: int) -> list[CdrFile]:
        return list(self._files.get(part_id, []))

    async def close(self) -> None:
        pass

    def _check(self, cursor: Cursor) -> None:
        if self._cursors.get(cursor.part_id, first_cursor(cursor.part_id, cursor.era)) != cursor:
            raise moved(cursor)

    def _move(self, cursor: Cursor) -> Cursor:
        self._cursors[cursor.part_id] = cursor
        return cursor


def advanced(cursor: Cursor, to_seq: int, records: int) -> Cursor:
    """The cursor after a range that made `records` records."""
    return Cursor(cursor.part_id, cursor.era, to_seq, cursor.next_record_number + records, None)


def moved(cursor: Cursor) -> CursorMovedError:
    """The error that names the partition."""
    return CursorMovedError(
        f"the cursor of partition {cursor.part_id} is no more at sequence number {cursor.exported_seq} of era {cursor.era}: "
        "another process exports from this store; run one only"
    )
