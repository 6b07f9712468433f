"""The store in PostgreSQL. Only one of several exporters moves a cursor; the others find that it has moved."""

import math
from collections.abc import Sequence
from typing import Any, Final

from services.billing.cdr_file import CdrFile, IndexRow
from services.billing.store import Cursor, PendingRange, advanced, moved
from services.runtime.postgresql import Pool

_MIGRATIONS: Final = (
    """
    CREATE TABLE cursor (
        part_id integer PRIMARY KEY,
        era bigint NOT NULL,
        exported_seq bigint NOT NULL,
        next_record_number bigint NOT NULL,
        pending_from_seq bigint,
        pending_to_seq bigint,
        pending_first_record_number bigint,
        pending_file_name text
    );
    CREATE TABLE cdr_file (
        part_id integer NOT NULL,
        from_seq bigint NOT NULL,
        to_seq bigint NOT NULL,
        name text NOT NULL,
        first_record_number bigint NOT NULL,
        records bigint NOT NULL,
        size_bytes bigint NOT NULL,
        sha256 text NOT NULL,
        PRIMARY KEY (part_id, from_seq)
    );
    CREATE TABLE cdr_index (
        part_id integer NOT NULL,
        sequence_number bigint NOT NULL,
        entry_index integer NOT NULL,
        record_number bigint NOT NULL,
        charging_id text NOT NULL,
        account_id text NOT NULL,
        record_sequence_number integer NOT NULL,
        entry bytea NOT NULL,
        PRIMARY KEY (part_id, sequence_number, entry_index)
    );
    CREATE INDEX cdr_index_session ON cdr_index (charging_id);
    """,
)
_CONNECTIONS_MAX: Final = 8
_CURSORS: Final = (
    "SELECT part_id, era, exported_seq, next_record_number, pending_from_seq, pending_to_seq, pending_first_record_number,"
    " pending_file_name FROM cursor ORDER BY part_id"
)
_MOVE: Final = """
    UPDATE cursor SET era = $9, exported_seq = $10, next_record_number = $11,
        pending_from_seq = $12, pending_to_seq = $13, pending_first_record_number = $14, pending_file_name = $15
    WHERE part_id = $1 AND era = $2 AND exported_seq = $3 AND next_record_number = $4
        AND pending_from_seq IS NOT DISTINCT FROM $5 AND pending_to_seq IS NOT DISTINCT FROM $6
        AND pending_first_record_number IS NOT DISTINCT FROM $7 AND pending_file_name IS NOT DISTINCT FROM $8
    RETURNING part_id
"""
_INDEX: Final = (
    "SELECT part_id, sequence_number, entry_index, record_number, charging_id, account_id, record_sequence_number, entry"
    " FROM cdr_index"
)
_NOTHING_PENDING: Final = (None, None, None, None)


class PostgresqlStore:
    """See `services.billing.store.Store`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, wait_s_max: float = math.inf) -> "PostgresqlStore":
        """Connects, and brings the schema up to date. Errors: those of `Pool.open`."""
        return cls(await Pool.open(dsn, "tokenline-billing", "billing", _MIGRATIONS, _CONNECTIONS_MAX, wait_s_max))

    async def cursors(self) -> dict[int, Cursor]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_CURSORS)
        return {row[0]: _cursor(tuple(row)) for row in rows}

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        if cursor.pending is not None:
            raise moved(cursor)
        after = cursor._replace(pending=pending)
        await self._pool.transaction(lambda connection: _move(connection, cursor, after))
        return after

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, index: Sequence[IndexRow]) -> Cursor:
        after = advanced(cursor, to_seq, len(index))

        async def work(connection: Any) -> None:
            await _move(connection, cursor, after)
            if file is not None:
                await connection.execute(
                    "INSERT INTO cdr_file (name, part_id, from_seq, to_seq, first_record_number, records, size_bytes, sha256)"
                    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                    file.name,
                    file.part_id,
                    file.from_sequence_number,
                    file.to_sequence_number,
                    file.first_record_number,
                    file.records,
                    file.size_bytes,
                    file.sha256,
                )
            if index:
                await connection.copy_records_to_table("cdr_index", records=index, schema_name="billing")

        await self._pool.transaction(work)
        return after

    async def enter_era(self, cursor: Cursor, era: int) -> Cursor:
        after = cursor._replace(era=era)
        await self._pool.transaction(lambda connection: _move(connection, cursor, after))
        return after

    async def records(self, account_id: str, charging_id: str) -> list[IndexRow]:
        return await self._rows(
            "WHERE charging_id = $1 AND account_id = $2 ORDER BY record_sequence_number", charging_id, account_id
        )

    async def index_rows(self, part_id: int, from_seq: int, to_seq: int) -> list[IndexRow]:
        where = "WHERE part_id = $1 AND sequence_number BETWEEN $2 AND $3 ORDER BY sequence_number, entry_index"
        return await self._rows(where, part_id, from_seq, to_seq)

    async def files(self, part_id: int) -> list[CdrFile]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT name, part_id, from_seq, to_seq, first_record_number, records, size_bytes, sha256 FROM cdr_file"
                " WHERE part_id = $1 ORDER BY from_seq",
                part_id,
            )
        return [CdrFile(*row) for row in rows]

    async def close(self) -> None:
        await self._pool.close()

    async def _rows(self, where: str, *arguments: Any) -> list[IndexRow]:
        async with self._pool.connection() as connection:
            return [IndexRow(*row) for row in await connection.fetch(f"{_INDEX} {where}", *arguments)]


def _cursor(row: tuple[Any, ...]) -> Cursor:
    part_id, era, exported_seq, next_record_number, *pending = row
    return Cursor(part_id, era, exported_seq, next_record_number, None if pending[0] is None else PendingRange(*pending))


def _pending_columns(cursor: Cursor) -> tuple[Any, ...]:
    return _NOTHING_PENDING if cursor.pending is None else cursor.pending


async def _move(connection: Any, before: Cursor, after: Cursor) -> None:
    """Moves the cursor if it is where the caller saw it. Errors: `CursorMovedError`."""
    await connection.execute(
        "INSERT INTO cursor (part_id, era, exported_seq, next_record_number) VALUES ($1, $2, 0, 1) ON CONFLICT DO NOTHING",
        before.part_id,
        before.era,
    )
    place = (before.part_id, before.era, before.exported_seq, before.next_record_number, *_pending_columns(before))
    wanted = (after.era, after.exported_seq, after.next_record_number, *_pending_columns(after))
    if await connection.fetchval(_MOVE, *place, *wanted) is None:
        raise moved(before)
