"""The store in PostgreSQL: one statement and one round trip a commit, for all its partitions.

The statement's first part is the fence: it moves the partitions that are still at the epoch and number expected. Everything else is
written only for those. Commits have a connection of their own; reads never hold them up.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

import asyncpg

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
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError
from services.runtime.identifiers import random_name
from services.runtime.postgresql import CONNECT_S_MAX, FAILURES, MIGRATION_LOCK, STATEMENT_S_MAX, Pool, translated
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

T = TypeVar("T")

_MIGRATIONS: Final = (
    """
    CREATE TABLE cell (id integer PRIMARY KEY CHECK (id = 1), era bigint NOT NULL);
    INSERT INTO cell VALUES (1, 1);
    -- Every commit updates its partitions: room on the page keeps those updates out of the index (HOT).
    CREATE TABLE partition (
        part_id integer PRIMARY KEY,
        epoch bigint NOT NULL,
        owner text NOT NULL,
        next_seq bigint NOT NULL,
        low_water bigint NOT NULL,
        last_time_us bigint NOT NULL
    ) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
    CREATE TABLE journal (
        part_id integer NOT NULL,
        seq bigint NOT NULL,
        epoch bigint NOT NULL,
        entry_count integer NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (part_id, seq)
    );
    -- A row of hundreds of entries is not compressed at commit: that is the owner's time.
    ALTER TABLE journal ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE checkpoint (
        part_id integer NOT NULL,
        account_id text COLLATE "C" NOT NULL,
        seq bigint NOT NULL,
        entry_index integer NOT NULL,
        next_due_us bigint,
        body bytea NOT NULL,
        PRIMARY KEY (part_id, account_id)
    ) WITH (fillfactor = 80);
    CREATE INDEX checkpoint_due ON checkpoint (next_due_us, part_id, account_id) WHERE next_due_us IS NOT NULL;
    """,
    """
    ALTER TABLE partition ADD COLUMN era bigint NOT NULL DEFAULT 1, ADD COLUMN claim_revision bigint NOT NULL DEFAULT 0;
    ALTER TABLE cell ADD COLUMN cell_id text NOT NULL DEFAULT '', ADD COLUMN coordinator_id text NOT NULL DEFAULT '';
    DROP INDEX checkpoint_due;
    -- An owner looks for what is due in its own partitions, and does not wade through what others leave undone.
    CREATE INDEX checkpoint_due ON checkpoint (part_id, next_due_us, account_id) WHERE next_due_us IS NOT NULL;
    """,
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)

_IDENTITY: Final = "SELECT cell_id, era FROM cell"
_COMMIT: Final = """
    WITH written AS (
        SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::bytea[], $7::bigint[])
            AS written (part_id, epoch, seq, time_us, entry_count, body, low_water)
    ), held AS (
        UPDATE partition SET
            next_seq = next_seq + CASE WHEN body IS NULL THEN 0 ELSE 1 END,
            last_time_us = CASE WHEN body IS NULL THEN last_time_us ELSE time_us END,
            low_water = written.low_water
        FROM written
        WHERE partition.part_id = written.part_id AND partition.epoch = written.epoch AND partition.next_seq = written.seq
        RETURNING partition.part_id
    ), appended AS (
        INSERT INTO journal (part_id, seq, epoch, entry_count, body)
        SELECT part_id, seq, epoch, entry_count, body FROM written
        WHERE body IS NOT NULL AND part_id IN (SELECT part_id FROM held)
    ), checkpointed AS (
        INSERT INTO checkpoint (part_id, account_id, seq, entry_index, next_due_us, body)
        SELECT * FROM unnest($8::int[], $9::text[], $10::bigint[], $11::int[], $12::bigint[], $13::bytea[])
            AS saved (part_id, account_id, seq, entry_index, next_due_us, body)
        WHERE part_id IN (SELECT part_id FROM held)
        ON CONFLICT (part_id, account_id) DO UPDATE SET
            seq = excluded.seq, entry_index = excluded.entry_index, next_due_us = excluded.next_due_us, body = excluded.body
    )
    SELECT part_id FROM held
"""
_FENCE: Final = """
    SELECT partition.part_id FROM partition
    JOIN unnest($1::int[], $2::bigint[], $3::bigint[]) AS expected (part_id, epoch, seq)
        ON (partition.part_id, partition.epoch, partition.next_seq) = (expected.part_id, expected.epoch, expected.seq)
"""
_PARTITIONS: Final = "SELECT part_id, epoch, next_seq, low_water, last_time_us FROM partition"
_CLAIM: Final = """
    UPDATE partition SET epoch = epoch + 1, owner = $1, era = $2, claim_revision = revision
    FROM unnest($3::int[], $4::bigint[]) AS claim (claimed_id, revision)
    WHERE part_id = claimed_id AND ((era, claim_revision) < ($2, revision)
        OR ((era, claim_revision) = ($2, revision) AND (owner = $1 OR NOT $5)))
    RETURNING part_id, epoch, next_seq, low_water, last_time_us
"""
_ROWS: Final = """
    SELECT part_id, seq, epoch, entry_count, body FROM journal WHERE part_id = $1 AND seq > $2 ORDER BY seq LIMIT $3
"""
_DUE: Final = """
    SELECT due.* FROM unnest($1::int[]) AS own (id) CROSS JOIN LATERAL (
        SELECT next_due_us, part_id, account_id FROM checkpoint
        WHERE part_id = id AND next_due_us BETWEEN $3 AND $2 AND (next_due_us, part_id, account_id) > ($3, $4, $5)
        ORDER BY next_due_us, account_id LIMIT $6
    ) AS due
    ORDER BY next_due_us, part_id, account_id LIMIT $6
"""
# Before every account that can be due.
_FIRST: Final = DueAccount(-(2**63), -1, "")
_CHECKPOINT: Final = "SELECT account_id, seq, entry_index, next_due_us, body FROM checkpoint"

_APPLICATION: Final = "tokenline-accounting"
_SCHEMA: Final = "accounting"
_READERS_MAX: Final = 4
_ROLLED_BACK_TRIES_MAX: Final = 5
_CLOCK_DIFFERENCE_US_MAX: Final = 2_000_000
_ROWS_A_FETCH: Final = 500


class PostgresqlStore:
    """See `services.accounting.journal.store.Store`."""

    def __init__(self, dsn: str, clock: Clock, readers: Pool) -> None:
        self._dsn = dsn
        self._clock = clock
        self._readers = readers
        self._writer: asyncpg.Connection[Any] | None = None
        self._statements: dict[str, Any] = {}

    @classmethod
    async def open(cls, dsn: str, clock: Clock, wait_s_max: float = math.inf) -> "PostgresqlStore":
        """Connects, and brings the schema up to date. Errors: those of `Pool.open`."""
        return cls(dsn, clock, await Pool.open(dsn, _APPLICATION, _SCHEMA, _MIGRATIONS, _READERS_MAX, wait_s_max))

    async def initialise(self, partitions: int, share: Share = WHOLE, cell_id: str = "") -> Identity:
        async with self._readers.connection() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
            if await connection.fetchval("SELECT count(*) FROM partition") == 0:
                await connection.execute(
                    "INSERT INTO partition SELECT part_id, 0, '', 1, 1, 0 FROM unnest($1::int[]) AS part_id",
                    list(parts_of(partitions, share)),
                )
            existing = [row[0] for row in await connection.fetch("SELECT part_id FROM partition ORDER BY part_id")]
            await connection.execute("UPDATE cell SET cell_id = $1 WHERE cell_id = ''", cell_id or random_name("cell"))
            identity = Identity(*await connection.fetchrow(_IDENTITY))
        check_share(existing, partitions, share, identity, cell_id)
        return identity

    async def identity(self) -> Identity:
        async with self._readers.connection() as connection:
            return Identity(*await connection.fetchrow(_IDENTITY))

    async def claim(self, incarnation: str, era: int, claims: Sequence[Claim], *, again: bool) -> list[ClaimedPartition]:
        # After a commit of unknown outcome, the old connection may still run it: open a new one.
        async with self._new_writer() if again else self._readers.connection() as connection, connection.transaction():
            # Shared with other claims; a new era and claims wait for one another.
            check_era(await connection.fetchval("SELECT era FROM cell FOR SHARE"), era)
            database_us: int = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
            off_us = self._clock.now_us() - database_us
            if abs(off_us) > _CLOCK_DIFFERENCE_US_MAX:
                raise ServiceError(
                    errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
                    f"this machine's clock is {off_us / 1e6:+.1f} s from the database's; let both follow the same time server: "
                    "records are dated by it",
                )
            part_ids, revisions = [each.part_id for each in claims], [each.revision for each in claims]
            rows = await connection.fetch(_CLAIM, incarnation, era, part_ids, revisions, again)
        return sorted(ClaimedPartition(*row) for row in rows)

    async def coordinated_by(self, coordinator_id: str) -> str:
        async with self._readers.connection() as connection, connection.transaction():
            await connection.execute("UPDATE cell SET coordinator_id = $1 WHERE coordinator_id = ''", coordinator_id)
            known: str = await connection.fetchval("SELECT coordinator_id FROM cell")
        return known

    async def raise_era(self, above: int, coordinator_id: str = "") -> int:
        async with self._readers.connection() as connection, connection.transaction():
            era: int = await connection.fetchval(
                "UPDATE cell SET era = greatest(era, $1) + 1, coordinator_id = $2 RETURNING era", above, coordinator_id
            )
            await connection.execute("UPDATE partition SET epoch = epoch + 1, owner = '', era = $1, claim_revision = 0", era)
        return era

    async def commit(self, writes: Sequence[PartitionWrite]) -> set[int]:
        if any(write.body is not None or write.checkpoints for write in writes):
            saved = [(write.part_id, each) for write in writes for each in write.checkpoints]
            statement = _COMMIT
            arguments: tuple[Any, ...] = (
                [write.part_id for write in writes],
                [write.epoch for write in writes],
                [write.expected_seq for write in writes],
                [write.time_us for write in writes],
                [write.entry_count for write in writes],
                [write.body for write in writes],
                [write.low_water for write in writes],
                [part_id for part_id, _ in saved],
                [each.account_id for _, each in saved],
                [each.seq for _, each in saved],
                [each.entry_index for _, each in saved],
                [each.next_due_us for _, each in saved],
                [each.body for _, each in saved],
            )
        else:
            statement = _FENCE
            arguments = (
                [write.part_id for write in writes],
                [write.epoch for write in writes],
                [write.expected_seq for write in writes],
            )
        for tries in range(1, _ROLLED_BACK_TRIES_MAX + 1):
            with translated():
                try:
                    prepared = self._statements.get(statement) or await self._prepare(statement)
                    return {row[0] for row in await prepared.fetch(*arguments, timeout=STATEMENT_S_MAX)}
                except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
                    # Certainly rolled back: the same batch may go again.
                    if tries == _ROLLED_BACK_TRIES_MAX:
                        raise
        raise AssertionError("unreachable")

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        async with self._readers.connection() as connection:
            return [JournalRow(*row) for row in await connection.fetch(_ROWS, part_id, after_seq, limit)]

    async def partitions(self) -> list[ClaimedPartition]:
        async with self._readers.connection() as connection:
            return [ClaimedPartition(*row) for row in await connection.fetch(f"{_PARTITIONS} ORDER BY part_id")]

    async def load_checkpoints(self, part_id: int, account_ids: Iterable[str]) -> dict[str, Checkpoint]:
        async with self._readers.connection() as connection:
            rows = await connection.fetch(f"{_CHECKPOINT} WHERE part_id = $1 AND account_id = ANY($2)", part_id, list(account_ids))
        return {row[0]: Checkpoint(*row) for row in rows}

    async def due_accounts(self, part_ids: Sequence[int], until_us: int, after: DueAccount | None, limit: int) -> list[DueAccount]:
        async with self._readers.connection() as connection:
            rows = await connection.fetch(_DUE, part_ids, until_us, *(after or _FIRST), limit)
        return [DueAccount(*row) for row in rows]

    async def snapshot(self, work: Callable[[Snapshot], T]) -> T:
        # `work` reads in a plain loop and may take long, so it gets a thread, an event loop and a connection of its own.
        return await asyncio.to_thread(self._snapshot, work)

    def _snapshot(self, work: Callable[[Snapshot], T]) -> T:
        with asyncio.Runner() as runner:
            with translated():
                connection: asyncpg.Connection[Any] = runner.run(
                    asyncpg.connect(self._dsn, timeout=CONNECT_S_MAX, server_settings={"search_path": _SCHEMA})
                )
            try:
                with translated():
                    transaction = connection.transaction(isolation="repeatable_read", readonly=True)
                    runner.run(transaction.start())
                return work(_PostgresqlSnapshot(runner, connection))
            finally:
                with contextlib.suppress(Exception):
                    runner.run(connection.close(timeout=CONNECT_S_MAX))

    async def close(self) -> None:
        await self._drop_writer()
        await self._readers.close()

    async def _prepare(self, statement: str) -> Any:
        connection = await self._connect_writer()
        prepared = self._statements[statement] = await connection.prepare(statement)
        return prepared

    async def _connect_writer(self) -> "asyncpg.Connection[Any]":
        if self._writer is None or self._writer.is_closed():
            self._statements.clear()
            self._writer = await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_S_MAX,
                command_timeout=STATEMENT_S_MAX,
                server_settings={
                    "application_name": _APPLICATION,
                    "search_path": _SCHEMA,
                    "jit": "off",
                    "synchronous_commit": "on",
                },
            )
        return self._writer

    @contextlib.asynccontextmanager
    async def _new_writer(self) -> "AsyncIterator[Any]":
        await self._drop_writer()
        with translated():
            yield await self._connect_writer()

    async def _drop_writer(self) -> None:
        self._statements.clear()
        writer, self._writer = self._writer, None
        if writer is not None and not writer.is_closed():
            with contextlib.suppress(TimeoutError, *FAILURES):
                await writer.close(timeout=CONNECT_S_MAX)


class _PostgresqlSnapshot:
    def __init__(self, runner: asyncio.Runner, connection: "asyncpg.Connection[Any]") -> None:
        self._runner = runner
        self._connection = connection

    def partitions(self) -> list[ClaimedPartition]:
        return [ClaimedPartition(*row) for row in self._fetch(f"{_PARTITIONS} ORDER BY part_id")]

    def rows(self, part_id: int, after_seq: int) -> Iterator[JournalRow]:
        while rows := self._fetch(_ROWS, part_id, after_seq, _ROWS_A_FETCH):
            for row in rows:
                yield JournalRow(*row)
            after_seq = rows[-1]["seq"]

    def checkpoints(self, part_id: int) -> Iterator[Checkpoint]:
        after = ""
        while rows := self._fetch(
            f"{_CHECKPOINT} WHERE part_id = $1 AND account_id > $2 ORDER BY account_id LIMIT $3",
            part_id,
            after,
            _ROWS_A_FETCH,
        ):
            for row in rows:
                yield Checkpoint(*row)
            after = rows[-1]["account_id"]

    def _fetch(self, statement: str, *arguments: Any) -> list[Any]:
        with translated():
            return list(self._runner.run(self._connection.fetch(statement, *arguments)))
