"""The store in a SQLite file: for one process on one machine."""

import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, Self

from services.billing import queries
from services.billing.carrier.store import StaleError, Statement
from services.billing.cdr_file import CdrFile, IndexRow, Rows
from services.billing.items import BilledItem, PlacedOrder
from services.billing.store import (
    Cursor,
    Grouping,
    PendingRange,
    Period,
    UsageLine,
    advanced,
    moved,
    with_charges,
)
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
    """
    CREATE TABLE billed_item (
        part_id INTEGER NOT NULL,
        sequence_number INTEGER NOT NULL,
        entry_index INTEGER NOT NULL,
        item_number INTEGER NOT NULL,
        record_number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        account_id TEXT NOT NULL,
        time_us INTEGER NOT NULL,
        unit TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount INTEGER NOT NULL,
        paid_by TEXT NOT NULL,
        bucket_id TEXT NOT NULL,
        calls INTEGER NOT NULL,
        charging_id TEXT NOT NULL,
        order_id TEXT NOT NULL,
        subscription_id TEXT NOT NULL,
        offering_id TEXT NOT NULL,
        model_id TEXT NOT NULL,
        member_id TEXT NOT NULL,
        key_id TEXT NOT NULL,
        vendor_id TEXT NOT NULL,
        vendor_model_id TEXT NOT NULL,
        remark TEXT NOT NULL,
        PRIMARY KEY (part_id, sequence_number, entry_index, item_number)
    ) WITHOUT ROWID;
    CREATE INDEX billed_item_account ON billed_item (account_id, time_us);
    CREATE INDEX billed_item_order ON billed_item (order_id) WHERE order_id <> '';
    CREATE INDEX billed_item_vendor ON billed_item (vendor_id, time_us) WHERE vendor_id <> '';
    CREATE INDEX billed_item_credit_line ON billed_item (account_id, bucket_id) WHERE kind = 'credit_line';
    CREATE TABLE placed_order (
        order_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL,
        time_us INTEGER NOT NULL,
        offering_id TEXT NOT NULL,
        subscription_id TEXT NOT NULL,
        payment_method INTEGER NOT NULL,
        unit TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount INTEGER NOT NULL,
        renews INTEGER NOT NULL
    ) WITHOUT ROWID;
    ALTER TABLE cursor ADD COLUMN charges_from_seq INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE cursor ADD COLUMN backfilled_seq INTEGER NOT NULL DEFAULT 0
    """,
    """
    CREATE TABLE carrier_demand (
        demand_id TEXT PRIMARY KEY,
        source TEXT NOT NULL,
        account_id TEXT NOT NULL,
        time_us INTEGER NOT NULL,
        currency TEXT NOT NULL,
        amount INTEGER NOT NULL,
        order_id TEXT NOT NULL,
        subscription_id TEXT NOT NULL,
        offering_id TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT NOT NULL,
        phone_number TEXT NOT NULL,
        payment_id TEXT NOT NULL,
        refund_id TEXT NOT NULL,
        authorization_id TEXT NOT NULL,
        of_demand TEXT NOT NULL,
        asked_us INTEGER NOT NULL,
        tries INTEGER NOT NULL,
        next_us INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX carrier_demand_account ON carrier_demand (account_id);
    CREATE INDEX carrier_demand_order ON carrier_demand (order_id) WHERE order_id <> '';
    CREATE INDEX carrier_demand_state ON carrier_demand (state, next_us);
    CREATE TABLE carrier_use (
        account_id TEXT NOT NULL,
        currency TEXT NOT NULL,
        amount INTEGER NOT NULL,
        since_us INTEGER NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (account_id, currency)
    ) WITHOUT ROWID;
    CREATE TABLE carrier_line (
        account_id TEXT PRIMARY KEY,
        phone_number TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE carrier_cursor (
        part_id INTEGER PRIMARY KEY,
        from_seq INTEGER NOT NULL,
        planned_seq INTEGER NOT NULL
    );
    CREATE INDEX placed_order_time ON placed_order (time_us)
    """,
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)

# IS and not =: the pending columns are NULL when nothing is pending.
_MOVE: Final = (
    "UPDATE cursor SET era = ?, exported_seq = ?, next_record_number = ?, pending_from_seq = ?, pending_to_seq = ?,"
    " pending_first_record_number = ?, pending_file_name = ?, charges_from_seq = ?, backfilled_seq = ?"
    " WHERE part_id = ? AND era = ? AND exported_seq = ? AND next_record_number = ?"
    " AND pending_from_seq IS ? AND pending_to_seq IS ? AND pending_first_record_number IS ? AND pending_file_name IS ?"
    " AND charges_from_seq = ? AND backfilled_seq = ?"
)
_INDEX: Final = (
    "SELECT part_id, sequence_number, entry_index, record_number, charging_id, account_id, record_sequence_number, entry"
    " FROM cdr_index"
)
_INSERT_ITEM: Final = "INSERT INTO billed_item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# An order whose key was used again, long after it came to its end, has the same name.
_PUT_ORDER: Final = "INSERT OR REPLACE INTO placed_order VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_NOTHING_PENDING: Final = (None, None, None, None)


class SqliteStore:
    """See `services.billing.store.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> Self:
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

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, rows: Rows) -> Cursor:
        return await self._write(cursor, advanced(cursor, to_seq, rows.records), file, rows)

    async def backfill(self, cursor: Cursor, to_seq: int, rows: Rows) -> Cursor:
        return await self._write(cursor, cursor._replace(backfilled_seq=to_seq), None, rows)

    async def _write(self, cursor: Cursor, after: Cursor, file: CdrFile | None, rows: Rows) -> Cursor:
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
            connection.executemany("INSERT INTO cdr_index VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.calls)
            connection.executemany(_INSERT_ITEM, rows.items)
            connection.executemany(_PUT_ORDER, rows.orders)

        await self._database.write(work)
        return after

    async def begin_charges(self, cursor: Cursor) -> Cursor:
        after = with_charges(cursor)
        await self._database.write(lambda connection: _move(connection, cursor, after))
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

    async def items(self, part_id: int, from_seq: int, to_seq: int) -> list[BilledItem]:
        return await self._items(queries.ITEMS, part_id, from_seq, to_seq)

    async def orders(self, order_ids: Collection[str]) -> dict[str, PlacedOrder]:
        def work(connection: sqlite3.Connection) -> dict[str, PlacedOrder]:
            found = (connection.execute("SELECT * FROM placed_order WHERE order_id = ?", (each,)).fetchone() for each in order_ids)
            return {row[0]: PlacedOrder(*row)._replace(renews=bool(row[-1])) for row in found if row is not None}

        return await self._database.read(work)

    async def items_of_order(self, account_id: str, order_id: str) -> list[BilledItem]:
        return await self._items(queries.ITEMS_OF_ORDER, order_id, account_id)

    async def usage(self, account_id: str, period: Period, grouping: Grouping) -> list[UsageLine]:
        return await self._usage(queries.usage(grouping), account_id, *period)

    async def charges(self, account_id: str, period: Period, charges_max: int) -> list[BilledItem]:
        return await self._items(queries.CHARGES, account_id, *period, charges_max)

    async def wholesale(self, vendor_id: str, period: Period) -> list[UsageLine]:
        return await self._usage(queries.WHOLESALE, vendor_id, *period)

    async def files(self, part_id: int) -> list[CdrFile]:
        def work(connection: sqlite3.Connection) -> list[CdrFile]:
            rows = connection.execute(
                "SELECT name, part_id, from_seq, to_seq, first_record_number, records, size_bytes, sha256 FROM cdr_file"
                " WHERE part_id = ? ORDER BY from_seq",
                (part_id,),
            )
            return [CdrFile(*row) for row in rows]

        return await self._database.read(work)

    async def run(self, statements: Sequence[Statement], *, writes: bool) -> list[list[tuple[Any, ...]]]:
        """See `services.billing.carrier.store.Runner`."""

        def work(connection: sqlite3.Connection) -> list[list[tuple[Any, ...]]]:
            found = []
            for query, values, must in statements:
                rows = connection.execute(query, {str(number): value for number, value in enumerate(values, 1)}).fetchall()
                if must and not rows:
                    raise StaleError(query)
                found.append(rows)
            return found

        return await (self._database.write if writes else self._database.read)(work)

    async def close(self) -> None:
        await self._database.close()

    async def _items(self, query: str, *values: Any) -> list[BilledItem]:
        return [BilledItem(*row) for row in await self._select(query, values)]

    async def _usage(self, query: str, *values: Any) -> list[UsageLine]:
        return sorted(UsageLine(*row) for row in await self._select(query, values))

    async def _select(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        parameters = {str(number): value for number, value in enumerate(values, 1)}
        return await self._database.read(lambda connection: connection.execute(query, parameters).fetchall())

    async def _rows(self, where: str, parameters: tuple[Any, ...]) -> list[IndexRow]:
        def work(connection: sqlite3.Connection) -> list[IndexRow]:
            return [IndexRow(*row) for row in connection.execute(f"{_INDEX} {where}", parameters)]

        return await self._database.read(work)


def _cursor(row: tuple[Any, ...]) -> Cursor:
    part_id, era, exported_seq, next_record_number, *pending, charges_from_seq, backfilled_seq = row
    range_begun = None if pending[0] is None else PendingRange(*pending)
    return Cursor(part_id, era, exported_seq, next_record_number, range_begun, charges_from_seq, backfilled_seq)


def _later_columns(cursor: Cursor) -> tuple[Any, ...]:
    pending = _NOTHING_PENDING if cursor.pending is None else cursor.pending
    return (*pending, cursor.charges_from_seq, cursor.backfilled_seq)


def _move(connection: sqlite3.Connection, before: Cursor, after: Cursor) -> None:
    """Moves the cursor if it is where the caller saw it. Errors: `CursorMovedError`."""
    connection.execute(
        "INSERT OR IGNORE INTO cursor (part_id, era, exported_seq, next_record_number, charges_from_seq) VALUES (?, ?, 0, 1, 1)",
        (before.part_id, before.era),
    )
    place = (before.part_id, before.era, before.exported_seq, before.next_record_number, *_later_columns(before))
    wanted = (after.era, after.exported_seq, after.next_record_number, *_later_columns(after))
    if connection.execute(_MOVE, (*wanted, *place)).rowcount != 1:
        raise moved(before)
