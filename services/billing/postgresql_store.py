"""The store in PostgreSQL. Only one of several exporters moves a cursor; the others find that it has moved."""

import math
from collections.abc import Collection, Sequence
from typing import Any, Final

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
    """
    CREATE TABLE billed_item (
        part_id integer NOT NULL,
        sequence_number bigint NOT NULL,
        entry_index integer NOT NULL,
        item_number integer NOT NULL,
        record_number bigint NOT NULL,
        kind text NOT NULL,
        account_id text NOT NULL,
        time_us bigint NOT NULL,
        unit text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        paid_by text NOT NULL,
        bucket_id text NOT NULL,
        calls integer NOT NULL,
        charging_id text NOT NULL,
        order_id text NOT NULL,
        subscription_id text NOT NULL,
        offering_id text NOT NULL,
        model_id text NOT NULL,
        member_id text NOT NULL,
        key_id text NOT NULL,
        vendor_id text NOT NULL,
        vendor_model_id text NOT NULL,
        remark text NOT NULL,
        PRIMARY KEY (part_id, sequence_number, entry_index, item_number)
    );
    CREATE INDEX billed_item_account ON billed_item (account_id, time_us);
    CREATE INDEX billed_item_order ON billed_item (order_id) WHERE order_id <> '';
    CREATE INDEX billed_item_vendor ON billed_item (vendor_id, time_us) WHERE vendor_id <> '';
    CREATE INDEX billed_item_credit_line ON billed_item (account_id, bucket_id) WHERE kind = 'credit_line';
    CREATE TABLE placed_order (
        order_id text PRIMARY KEY,
        account_id text NOT NULL,
        time_us bigint NOT NULL,
        offering_id text NOT NULL,
        subscription_id text NOT NULL,
        payment_method integer NOT NULL,
        unit text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        renews boolean NOT NULL
    );
    ALTER TABLE cursor ADD COLUMN charges_from_seq bigint NOT NULL DEFAULT 0;
    ALTER TABLE cursor ADD COLUMN backfilled_seq bigint NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE carrier_demand (
        demand_id text PRIMARY KEY,
        source text NOT NULL,
        account_id text NOT NULL,
        time_us bigint NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        order_id text NOT NULL,
        subscription_id text NOT NULL,
        offering_id text NOT NULL,
        state text NOT NULL,
        reason text NOT NULL,
        phone_number text NOT NULL,
        payment_id text NOT NULL,
        refund_id text NOT NULL,
        authorization_id text NOT NULL,
        of_demand text NOT NULL,
        asked_us bigint NOT NULL,
        tries integer NOT NULL,
        next_us bigint NOT NULL
    );
    CREATE INDEX carrier_demand_account ON carrier_demand (account_id);
    CREATE INDEX carrier_demand_order ON carrier_demand (order_id) WHERE order_id <> '';
    CREATE INDEX carrier_demand_state ON carrier_demand (state, next_us);
    CREATE TABLE carrier_use (
        account_id text NOT NULL,
        currency text NOT NULL,
        amount bigint NOT NULL,
        since_us bigint NOT NULL,
        number bigint NOT NULL,
        PRIMARY KEY (account_id, currency)
    );
    CREATE TABLE carrier_line (
        account_id text PRIMARY KEY,
        phone_number text NOT NULL
    );
    CREATE TABLE carrier_cursor (
        part_id integer PRIMARY KEY,
        from_seq bigint NOT NULL,
        planned_seq bigint NOT NULL
    );
    CREATE INDEX placed_order_time ON placed_order (time_us);
    """,
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)
_CONNECTIONS_MAX: Final = 8
_CURSORS: Final = (
    "SELECT part_id, era, exported_seq, next_record_number, pending_from_seq, pending_to_seq, pending_first_record_number,"
    " pending_file_name, charges_from_seq, backfilled_seq FROM cursor ORDER BY part_id"
)
_MOVE: Final = """
    UPDATE cursor SET era = $11, exported_seq = $12, next_record_number = $13,
        pending_from_seq = $14, pending_to_seq = $15, pending_first_record_number = $16, pending_file_name = $17,
        charges_from_seq = $18, backfilled_seq = $19
    WHERE part_id = $1 AND era = $2 AND exported_seq = $3 AND next_record_number = $4
        AND pending_from_seq IS NOT DISTINCT FROM $5 AND pending_to_seq IS NOT DISTINCT FROM $6
        AND pending_first_record_number IS NOT DISTINCT FROM $7 AND pending_file_name IS NOT DISTINCT FROM $8
        AND charges_from_seq = $9 AND backfilled_seq = $10
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

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, rows: Rows) -> Cursor:
        return await self._write(cursor, advanced(cursor, to_seq, rows.records), file, rows)

    async def backfill(self, cursor: Cursor, to_seq: int, rows: Rows) -> Cursor:
        return await self._write(cursor, cursor._replace(backfilled_seq=to_seq), None, rows)

    async def _write(self, cursor: Cursor, after: Cursor, file: CdrFile | None, rows: Rows) -> Cursor:
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
            if rows.orders:
                # An order whose key was used again, long after it came to its end, has the same name.
                names = [order.order_id for order in rows.orders]
                await connection.execute("DELETE FROM placed_order WHERE order_id = ANY($1)", names)
            for table, records in (("cdr_index", rows.calls), ("billed_item", rows.items), ("placed_order", rows.orders)):
                if records:
                    await connection.copy_records_to_table(table, records=records, schema_name="billing")

        await self._pool.transaction(work)
        return after

    async def begin_charges(self, cursor: Cursor) -> Cursor:
        after = with_charges(cursor)
        await self._pool.transaction(lambda connection: _move(connection, cursor, after))
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

    async def items(self, part_id: int, from_seq: int, to_seq: int) -> list[BilledItem]:
        return await self._items(queries.ITEMS, part_id, from_seq, to_seq)

    async def orders(self, order_ids: Collection[str]) -> dict[str, PlacedOrder]:
        query = f"SELECT {', '.join(PlacedOrder._fields)} FROM placed_order WHERE order_id = ANY($1)"  # noqa: S608  # names are ours
        async with self._pool.connection() as connection:
            return {row[0]: PlacedOrder(*row) for row in await connection.fetch(query, list(order_ids))}

    async def items_of_order(self, account_id: str, order_id: str) -> list[BilledItem]:
        return await self._items(queries.ITEMS_OF_ORDER, order_id, account_id)

    async def usage(self, account_id: str, period: Period, grouping: Grouping) -> list[UsageLine]:
        return await self._usage(queries.usage(grouping), account_id, *period)

    async def charges(self, account_id: str, period: Period, charges_max: int) -> list[BilledItem]:
        return await self._items(queries.CHARGES, account_id, *period, charges_max)

    async def wholesale(self, vendor_id: str, period: Period) -> list[UsageLine]:
        return await self._usage(queries.WHOLESALE, vendor_id, *period)

    async def files(self, part_id: int) -> list[CdrFile]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(
                "SELECT name, part_id, from_seq, to_seq, first_record_number, records, size_bytes, sha256 FROM cdr_file"
                " WHERE part_id = $1 ORDER BY from_seq",
                part_id,
            )
        return [CdrFile(*row) for row in rows]

    async def run(self, statements: Sequence[Statement], *, writes: bool) -> list[list[tuple[Any, ...]]]:
        """See `services.billing.carrier.store.Runner`."""

        async def work(connection: Any) -> list[list[tuple[Any, ...]]]:
            found = []
            for query, values, must in statements:
                rows = [tuple(row) for row in await connection.fetch(query, *values)]
                if must and not rows:
                    raise StaleError(query)
                found.append(rows)
            return found

        return await self._pool.transaction(work)

    async def close(self) -> None:
        await self._pool.close()

    async def _items(self, query: str, *values: Any) -> list[BilledItem]:
        async with self._pool.connection() as connection:
            return [BilledItem(*row) for row in await connection.fetch(query, *values)]

    async def _usage(self, query: str, *values: Any) -> list[UsageLine]:
        # Sorted here, because the database may have another order of texts.
        async with self._pool.connection() as connection:
            return sorted(UsageLine(*row) for row in await connection.fetch(query, *values))

    async def _rows(self, where: str, *arguments: Any) -> list[IndexRow]:
        async with self._pool.connection() as connection:
            return [IndexRow(*row) for row in await connection.fetch(f"{_INDEX} {where}", *arguments)]


def _cursor(row: tuple[Any, ...]) -> Cursor:
    part_id, era, exported_seq, next_record_number, *pending, charges_from_seq, backfilled_seq = row
    range_begun = None if pending[0] is None else PendingRange(*pending)
    return Cursor(part_id, era, exported_seq, next_record_number, range_begun, charges_from_seq, backfilled_seq)


def _later_columns(cursor: Cursor) -> tuple[Any, ...]:
    pending = _NOTHING_PENDING if cursor.pending is None else cursor.pending
    return (*pending, cursor.charges_from_seq, cursor.backfilled_seq)


async def _move(connection: Any, before: Cursor, after: Cursor) -> None:
    """Moves the cursor if it is where the caller saw it. Errors: `CursorMovedError`."""
    await connection.execute(
        "INSERT INTO cursor (part_id, era, exported_seq, next_record_number, charges_from_seq) VALUES ($1, $2, 0, 1, 1)"
        " ON CONFLICT DO NOTHING",
        before.part_id,
        before.era,
    )
    place = (before.part_id, before.era, before.exported_seq, before.next_record_number, *_later_columns(before))
    wanted = (after.era, after.exported_seq, after.next_record_number, *_later_columns(after))
    if await connection.fetchval(_MOVE, *place, *wanted) is None:
        raise moved(before)
