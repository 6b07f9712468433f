"""The store in a SQLite file: for one process on one machine.

Reads have connections of their own, so that they never hold up a commit (WAL).
"""

import logging
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from services.accounting.journal.store import (
    WHOLE,
    Checkpoint,
    Claim,
    ClaimedPartition,
    DueAccount,
    Identity,
    JournalRow,
    PartitionWrite,
    Share,
    Snapshot,
    check_era,
    check_share,
    parts_of,
)
from services.runtime.errors import ServiceError
from services.runtime.identifiers import random_name
from services.runtime.sqlite import Database
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Rows of the journal that are moved to their newer table in one transaction.
_MOVED_AT_ONCE: Final = 2_000
# Free disk that the move needs. Rows that were moved make room in the file for the next ones.
_MOVE_FREE_BYTES: Final = 64 * 1024 * 1024
_LAST_TO_MOVE: Final = "SELECT part_id, seq FROM journal ORDER BY part_id, seq LIMIT 1 OFFSET ?"
_MOVE: Final = """
    INSERT INTO journal_row SELECT part_id, seq, epoch, entry_count, body FROM journal
    WHERE (part_id, seq) <= (?, ?) ORDER BY part_id, seq
"""


def _move_rows(connection: sqlite3.Connection) -> None:
    """Moves the journal's rows to the table of the newer schema; what was moved stays moved when the process is killed.

    Errors: `ServiceError` STORE_UNAVAILABLE where the disk is too full to begin.
    """

    def are_left() -> bool:
        return connection.execute("SELECT 1 FROM journal LIMIT 1").fetchone() is not None

    path = Path(connection.execute("PRAGMA database_list").fetchone()[2])
    if are_left():
        free_bytes = shutil.disk_usage(path.parent).free
        if free_bytes < _MOVE_FREE_BYTES:
            raise ServiceError(
                errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
                f"{path}: its schema is to be brought up to date, and that takes {_MOVE_FREE_BYTES >> 20} MiB of free disk; "
                f"{free_bytes >> 20} MiB are free: make room and start again",
            )
        logger.info("%s: moving the rows of the journal to their newer table", path)
    while are_left():
        connection.execute("BEGIN IMMEDIATE")
        # The last ones are fewer.
        until = connection.execute(_LAST_TO_MOVE, (_MOVED_AT_ONCE - 1,)).fetchone() or (2**62, 0)
        connection.execute(_MOVE, until)
        connection.execute("DELETE FROM journal WHERE (part_id, seq) <= (?, ?)", until)
        connection.execute("COMMIT")


# Rows of one commit beyond this, some hundred operations, are worth the way to the thread: meanwhile the next ones are decided.
_CACHED_BYTES_MAX: Final = 16 * 1024

# Each leads from one version of the schema to the next.
MIGRATIONS: Final = (
    """
    CREATE TABLE cell (id INTEGER PRIMARY KEY CHECK (id = 1), era INTEGER NOT NULL);
    INSERT INTO cell VALUES (1, 1);
    CREATE TABLE partition (
        part_id INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        owner TEXT NOT NULL,
        next_seq INTEGER NOT NULL,
        low_water INTEGER NOT NULL,
        last_time_us INTEGER NOT NULL
    );
    CREATE TABLE journal (
        part_id INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        entry_count INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (part_id, seq)
    ) WITHOUT ROWID;
    CREATE TABLE checkpoint (
        part_id INTEGER NOT NULL,
        account_id TEXT NOT NULL,
        seq INTEGER NOT NULL,
        entry_index INTEGER NOT NULL,
        next_due_us INTEGER,
        body BLOB NOT NULL,
        PRIMARY KEY (part_id, account_id)
    ) WITHOUT ROWID;
    CREATE INDEX checkpoint_due ON checkpoint (next_due_us) WHERE next_due_us IS NOT NULL
    """,
    """
    DROP INDEX checkpoint_due;
    CREATE INDEX checkpoint_due ON checkpoint (next_due_us, part_id, account_id) WHERE next_due_us IS NOT NULL
    """,
    """
    ALTER TABLE partition ADD COLUMN era INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE partition ADD COLUMN claim_revision INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cell ADD COLUMN cell_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE cell ADD COLUMN coordinator_id TEXT NOT NULL DEFAULT ''
    """,
    # Rows in the order of their coming, with an index: in the order of partitions, each partition's last page is split again and
    # again, and a row above a quarter of a page goes to pages of its own.
    """
    CREATE TABLE journal_row (
        part_id INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        entry_count INTEGER NOT NULL,
        body BLOB NOT NULL
    );
    CREATE UNIQUE INDEX journal_place ON journal_row (part_id, seq)
    """,
    _move_rows,
    """
    DROP TABLE journal;
    ALTER TABLE journal_row RENAME TO journal
    """,
)
SCHEMA_VERSION: Final = len(MIGRATIONS)

_PARTITIONS: Final = "SELECT part_id, epoch, next_seq, low_water, last_time_us FROM partition"
_ORDER: Final = "ORDER BY part_id"
_ROWS: Final = "SELECT part_id, seq, epoch, entry_count, body FROM journal WHERE part_id = ? AND seq > ? ORDER BY seq"
_APPEND: Final = (
    "UPDATE partition SET next_seq = next_seq + 1, last_time_us = ?, low_water = ? WHERE part_id = ? AND epoch = ? AND next_seq = ?"
)
_CHECK: Final = "UPDATE partition SET low_water = ? WHERE part_id = ? AND epoch = ? AND next_seq = ?"
_FENCE: Final = "SELECT 1 FROM partition WHERE part_id = ? AND epoch = ? AND next_seq = ?"

_CLAIM: Final = """
    UPDATE partition SET epoch = epoch + 1, owner = :incarnation, era = :era, claim_revision = :revision
    WHERE part_id = :part_id AND ((era, claim_revision) < (:era, :revision)
        OR ((era, claim_revision) = (:era, :revision) AND (owner = :incarnation OR NOT :again)))
"""
_DUE: Final = """
    SELECT next_due_us, part_id, account_id FROM checkpoint
    WHERE next_due_us <= ? AND part_id IN ({}) AND (next_due_us, part_id, account_id) > (?, ?, ?)
    ORDER BY next_due_us, part_id, account_id LIMIT ?
"""
# Before every account that can be due.
_FIRST: Final = DueAccount(-(2**63), -1, "")


class SqliteStore:
    """See `services.accounting.journal.store.Store`."""

    def __init__(self, path: Path, writer: Database, reader: Database) -> None:
        self._path = path
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Opens or creates the file. Errors: those of `Database.open`."""
        writer = await Database.open(path, MIGRATIONS)
        try:
            return cls(path, writer, await Database.open(path, MIGRATIONS))
        except BaseException:
            await writer.close()
            raise

    async def initialise(self, partitions: int, share: Share = WHOLE, cell_id: str = "") -> Identity:
        def work(connection: sqlite3.Connection) -> tuple[list[int], Identity]:
            if connection.execute("SELECT count(*) FROM partition").fetchone()[0] == 0:
                connection.executemany(
                    "INSERT INTO partition VALUES (?, 0, '', 1, 1, 0, 1, 0)",
                    [(part_id,) for part_id in parts_of(partitions, share)],
                )
            existing = [row[0] for row in connection.execute("SELECT part_id FROM partition ORDER BY part_id")]
            connection.execute("UPDATE cell SET cell_id = ? WHERE cell_id = ''", (cell_id or random_name("cell"),))
            return existing, _identity(connection)

        existing, identity = await self._writer.write(work)
        check_share(existing, partitions, share, identity, cell_id)
        return identity

    async def identity(self) -> Identity:
        return await self._writer.read(_identity)

    async def claim(self, incarnation: str, era: int, claims: Sequence[Claim], *, again: bool) -> list[ClaimedPartition]:
        def work(connection: sqlite3.Connection) -> list[ClaimedPartition]:
            check_era(connection.execute("SELECT era FROM cell").fetchone()[0], era)
            claimed = []
            for part_id, revision, _ in sorted(claims):
                named = {"part_id": part_id, "incarnation": incarnation, "era": era, "revision": revision, "again": again}
                if connection.execute(_CLAIM, named).rowcount == 1:
                    row = connection.execute(f"{_PARTITIONS} WHERE part_id = ?", (part_id,)).fetchone()
                    claimed.append(ClaimedPartition(*row))
            return claimed

        return await self._writer.write(work)

    async def coordinated_by(self, coordinator_id: str) -> str:
        def work(connection: sqlite3.Connection) -> str:
            connection.execute("UPDATE cell SET coordinator_id = ? WHERE coordinator_id = ''", (coordinator_id,))
            known: str = connection.execute("SELECT coordinator_id FROM cell").fetchone()[0]
            return known

        return await self._writer.write(work)

    async def raise_era(self, above: int, coordinator_id: str = "") -> int:
        def work(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE cell SET era = max(era, ?) + 1, coordinator_id = ?", (above, coordinator_id))
            era: int = connection.execute("SELECT era FROM cell").fetchone()[0]
            connection.execute("UPDATE partition SET epoch = epoch + 1, owner = '', era = ?, claim_revision = 0", (era,))
            return era

        return await self._writer.write(work)

    async def commit(self, writes: Sequence[PartitionWrite]) -> set[int]:
        def work(connection: sqlite3.Connection) -> set[int]:
            return {write.part_id for write in writes if _write(connection, write)}

        if any(write.checkpoints for write in writes):
            # The checkpoint before may have to be read from the disk.
            return await self._writer.write(work)
        size = sum(len(write.body) for write in writes if write.body is not None)
        if size > _CACHED_BYTES_MAX:
            return await self._writer.write(work)
        if size:
            return await self._writer.write_cached(work)
        return await self._writer.read_cached(
            lambda connection: {
                write.part_id
                for write in writes
                if connection.execute(_FENCE, (write.part_id, write.epoch, write.expected_seq)).fetchone() is not None
            }
        )

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        def work(connection: sqlite3.Connection) -> list[JournalRow]:
            return [JournalRow(*row) for row in connection.execute(f"{_ROWS} LIMIT ?", (part_id, after_seq, limit))]

        return await self._reader.read(work)

    async def partitions(self) -> list[ClaimedPartition]:
        return await self._reader.read(_partitions)

    async def load_checkpoints(self, part_id: int, account_ids: Iterable[str]) -> dict[str, Checkpoint]:
        def work(connection: sqlite3.Connection) -> dict[str, Checkpoint]:
            found = {}
            for account_id in account_ids:
                row = connection.execute(
                    "SELECT account_id, seq, entry_index, next_due_us, body FROM checkpoint WHERE part_id = ? AND account_id = ?",
                    (part_id, account_id),
                ).fetchone()
                if row is not None:
                    found[account_id] = Checkpoint(*row)
            return found

        return await self._reader.read(work)

    async def due_accounts(self, part_ids: Sequence[int], until_us: int, after: DueAccount | None, limit: int) -> list[DueAccount]:
        def work(connection: sqlite3.Connection) -> list[DueAccount]:
            marks = ", ".join("?" * len(part_ids))
            return [
                DueAccount(*row) for row in connection.execute(_DUE.format(marks), (until_us, *part_ids, *(after or _FIRST), limit))
            ]

        return await self._reader.read(work)

    async def snapshot(self, work: Callable[[Snapshot], T]) -> T:
        # It may take long, and loading an account must not wait for it.
        database = await Database.open(self._path, MIGRATIONS)
        try:
            return await database.read(lambda connection: work(_SqliteSnapshot(connection)))
        finally:
            await database.close()

    async def close(self) -> None:
        await self._reader.close()
        await self._writer.close()


def _partitions(connection: sqlite3.Connection) -> list[ClaimedPartition]:
    return [ClaimedPartition(*row) for row in connection.execute(f"{_PARTITIONS} {_ORDER}")]


def _write(connection: sqlite3.Connection, write: PartitionWrite) -> bool:
    fence = (write.part_id, write.epoch, write.expected_seq)
    if write.body is None:
        held = connection.execute(_CHECK, (write.low_water, *fence)).rowcount == 1
    else:
        held = connection.execute(_APPEND, (write.time_us, write.low_water, *fence)).rowcount == 1
        if held:
            connection.execute(
                "INSERT INTO journal VALUES (?, ?, ?, ?, ?)",
                (write.part_id, write.expected_seq, write.epoch, write.entry_count, write.body),
            )
    if held and write.checkpoints:
        connection.executemany(
            "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (part_id, account_id) DO UPDATE SET seq = excluded.seq, "
            "entry_index = excluded.entry_index, next_due_us = excluded.next_due_us, body = excluded.body",
            [(write.part_id, *checkpoint) for checkpoint in write.checkpoints],
        )
    return held


class _SqliteSnapshot:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def partitions(self) -> list[ClaimedPartition]:
        return _partitions(self._connection)

    def rows(self, part_id: int, after_seq: int) -> Iterator[JournalRow]:
        return (JournalRow(*row) for row in self._connection.execute(_ROWS, (part_id, after_seq)))

    def checkpoints(self, part_id: int) -> Iterator[Checkpoint]:
        return (
            Checkpoint(*row)
            for row in self._connection.execute(
                "SELECT account_id, seq, entry_index, next_due_us, body FROM checkpoint WHERE part_id = ? ORDER BY account_id",
                (part_id,),
            )
        )


def _identity(connection: sqlite3.Connection) -> Identity:
    return Identity(*connection.execute("SELECT cell_id, era FROM cell").fetchone())
