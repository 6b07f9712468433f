"""The store in a SQLite file: for one process on one machine."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from services.billing.cdr_file import CdrFile, IndexRow
from services.billing.store import Cursor, PendingRange, advanced, moved
from services.runtime.sqlite import Database

_MIGRATIONS: Final = (
    """
    CREATE TABLE cursor (
        part_id INTEGER PRIMARY KEY,
        era INTEGER NOT NULL,
        exported_seq INTEGER NOT NULL,
        next_record_number INTEGER NOT NULL,
        pending_from_seq INTEGER,
        pending_to_seq INTEGER,
        pending_first_record_number INTEGER,
        pending_file_name TEXT
    );
    CREATE TABLE cdr_file (
        part_id INTEGER NOT NULL,
        from_seq INTEGER NOT NULL,
        to_seq INTEGER NOT NULL,
        name TEXT NOT NULL,
        first_record_number INTEGER NOT NULL,
        records INTEGER NOT NULL,
        size_bytes INTEGER NOT NULL,
        sha256 TEXT NOT NULL,
        PRIMARY KEY (part_id, from_seq)
    ) WITHOUT ROWID;
    CREATE TABLE cdr_index (
        part_id INTEGER NOT NULL,
        sequence_number INTEGER NOT NULL,
        entry_index INTEGER NOT NULL,
        record_number INTEGER NOT NULL,
        charging_id TEXT NOT NULL,
        account_id TEXT NOT NULL,
        record_sequence_number INTEGER NOT NULL,
        entry BLOB NOT NULL,
        PRIMARY KEY (part_id, sequence_number, entry_index)
    ) WITHOUT ROWID;
    CREATE INDEX cdr_index_session ON cdr_index (charging_id)
    """,
)

# IS and not =: the pending columns are NULL when nothing is pending.
_MOVE: Final = (
    "UPDATE cursor SET era = ?, exported_seq = ?, next_record_number = ?, pending_from_seq = ?, pending_to_seq = ?,"
    " pending_first_record_number = ?, pending_file_name = ?"
    " WHERE part_id = ? AND era = ? AND exported_seq = ? AND next_record_number = ?"
    " AND pending_from_seq IS ? AND pending_to_seq IS ? AND pending_first_record_number IS ? AND pending_file_name IS ?"
)
_INDEX: Final = (
    "SELECT part_id, sequence_number, entry_index, record_number, charging_id, account_id, record_sequence_number, entry"
    " FROM cdr_index"
)
_NOTHING_PENDING: Final = (None, None, None, None)


class SqliteStore:
    """See `services.billing.store.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Opens or creates the file. Errors: those of `Database.open`."""
        return cls(await Database.open(path, _MIGRATIONS))

    async def cursors(self) -> dict[int, Cursor]:
        def work(connection: sqlite3.Connection) -> dict[int, Cursor]:
            return {row[0]: _cursor(row) for row in connection.execute("SELECT * FROM cursor ORDER BY part_id")}

        return await self._database.read(work)

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        if cursor.pending is not None:
            raise moved(cursor)
        after = cursor._replace(pending=pending)
        await self._database.write(lambda connection: _move(connection, cursor, after))
        return after

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, index: Sequence[IndexRow]) -> Cursor:
        after = advanced(cursor, to_seq, len(index))

        def work(connection: sqlite3.Connection) -> None:
            _move(connection, cursor, after)
            if file is not None:
                connection.execute(
                    "INSERT INTO cdr_file VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        file.part_id,
                        file.from_sequence_number,
                        file.to_sequence_number,
                        file.name,
                        file.first_record_number,
                        file.records,
                        file.size_bytes,
                        file.sha256,
                    ),
                )
            connection.executemany("INSERT INTO cdr_index VALUES (?, ?, ?, ?, ?, ?, ?, ?)", index)

        await self._database.write(work)
        return after

    async def enter_era(self, cursor: Cursor, era: int) -> Cursor:
        after = cursor._replace(era=era)
        await self._database.write(lambda connection: _move(connection, cursor, after))
        return after

    async def records(self, account_id: str, charging_id: str) -> list[IndexRow]:
        where = "WHERE charging_id = ? AND account_id = ? ORDER BY record_sequence_number"
        return await self._rows(where, (charging_id, account_id))

    async def index_rows(self, part_id: int, from_seq: int, to_seq: int) -> list[IndexRow]:
        where = "WHERE part_id = ? AND sequence_number BETWEEN ? AND ? ORDER BY sequence_number, entry_index"
        return await self._rows(where, (part_id, from_seq, to_seq))

    async def files(self, part_id: int) -> list[CdrFile]:
        def work(connection: sqlite3.Connection) -> list[CdrFile]:
            rows = connection.execute(
                "SELECT name, part_id, from_seq, to_seq, first_record_number, records, size_bytes, sha256 FROM cdr_file"
                " WHERE part_id = ? ORDER BY from_seq",
                (part_id,),
            )
            return [CdrFile(*row) for row in rows]

        return await self._database.read(work)

    async def close(self) -> None:
        await self._database.close()

    async def _rows(self, where: str, parameters: tuple[Any, ...]) -> list[IndexRow]:
        def work(connection: sqlite3.Connection) -> list[IndexRow]:
            return [IndexRow(*row) for row in connection.execute(f"{_INDEX} {where}", parameters)]

        return await self._database.read(work)


def _cursor(row: tuple[Any, ...]) -> Cursor:
    part_id, era, exported_seq, next_record_number, *pending = row
    return Cursor(part_id, era, exported_seq, next_record_number, None if pending[0] is None else PendingRange(*pending))


def _pending_columns(cursor: Cursor) -> tuple[Any, ...]:
    return _NOTHING_PENDING if cursor.pending is None else cursor.pending


def _move(connection: sqlite3.Connection, before: Cursor, after: Cursor) -> None:
    """Moves the cursor if it is where the caller saw it. Errors: `CursorMovedError`."""
    connection.execute(
        "INSERT OR IGNORE INTO cursor (part_id, era, exported_seq, next_record_number) VALUES (?, ?, 0, 1)",
        (before.part_id, before.era),
    )
    place = (before.part_id, before.era, before.exported_seq, before.next_record_number, *_pending_columns(before))
    wanted = (after.era, after.exported_seq, after.next_record_number, *_pending_columns(after))
    if connection.execute(_MOVE, (*wanted, *place)).rowcount != 1:
        raise moved(before)
