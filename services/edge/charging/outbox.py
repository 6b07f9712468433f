"""Releases that accounting has not answered, kept on this machine's disk until it does.

A Release that stands here counts as acknowledged: it survives the process, and the next process that opens the file delivers it.
The database is SQLite with every commit synchronised; writes during a commit go into the next one.
"""

import asyncio
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from services.runtime.clock import Clock, SystemClock
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7_time_us
from services.runtime.instruments import Gauge, export
from services.runtime.sqlite import Database
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

_CLOCK: Final = SystemClock()
_MIGRATIONS: Final = (
    """
    CREATE TABLE release (
        charging_id TEXT PRIMARY KEY,
        operation BLOB NOT NULL
    ) WITHOUT ROWID
    """,
)


class Outbox:
    """Holds at most `releases_max`; one process at a time."""

    def __init__(self, database: Database, releases_max: int, left: Sequence[str], clock: Clock) -> None:
        """`left`: the charging_ids of the Releases in the file."""
        self._database = database
        self._releases_max = releases_max
        # Those in the file, and by how many more or less the write under way makes them.
        self._count = len(left)
        self._under_way = 0
        self._clock = clock
        # When each was kept, in microseconds since 1970, in that order; of those that a former process kept, when the call began.
        self._kept_us = OrderedDict((each, uuid7_time_us(each) or clock.now_us()) for each in sorted(left))
        self._oldest_us: int | None = next(iter(self._kept_us.values()), None)
        self._wanted: list[tuple[pb.ChargeOperation, asyncio.Future[None]]] = []
        self._delivered: list[str] = []
        self._writing: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, releases_max: int, clock: Clock = _CLOCK) -> tuple[Self, list[pb.ChargeOperation]]:
        """Opens or creates the file; also returns the Releases left in it. Errors: those of `Database.open`."""
        database = await Database.open(path, _MIGRATIONS)
        rows = await database.read(lambda connection: connection.execute("SELECT operation FROM release").fetchall())
        left = [pb.ChargeOperation.FromString(row[0]) for row in rows]
        return cls(database, releases_max, [each.charging_id for each in left], clock), left

    def export(self) -> None:
        """Shows from now on how many Releases it holds, and for how long."""
        export(
            Gauge("edge.outbox.releases", "Releases on disk that accounting has not answered", lambda: len(self._kept_us)),
            Gauge("edge.outbox.age_seconds", "Age of the oldest Release on disk", lambda: self.age_s),
        )

    @property
    def age_s(self) -> float:
        """The age of the oldest Release in it; 0: it has none. May be asked in any thread."""
        oldest_us = self._oldest_us
        return 0.0 if oldest_us is None else max(0.0, (self._clock.now_us() - oldest_us) / 1_000_000)

    async def keep(self, operation: pb.ChargeOperation) -> None:
        """Returns once the Release is on disk. Errors: `ServiceError` STORE_UNAVAILABLE when the disk or the outbox is full."""
        if self._count + self._under_way + len(self._wanted) - len(self._delivered) >= self._releases_max:
            raise ServiceError(
                errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
                f"the outbox has its {self._releases_max} Releases; see why accounting does not answer",
            )
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wanted.append((operation, kept))
        self._write()
        await kept
        self._kept_us[operation.charging_id] = self._clock.now_us()
        self._oldest_us = next(iter(self._kept_us.values()))

    def delivered(self, operation: pb.ChargeOperation) -> None:
        """Drops a Release that was answered. If the process ends before, it is delivered again, which is harmless."""
        self._delivered.append(operation.charging_id)
        self._kept_us.pop(operation.charging_id, None)
        self._oldest_us = next(iter(self._kept_us.values()), None)
        self._write()

    def _write(self) -> None:
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all(), name="outbox")

    async def _write_all(self) -> None:
        try:
            while self._wanted or self._delivered:
                wanted, self._wanted = self._wanted, []
                delivered, self._delivered = self._delivered, []
                self._under_way = len(wanted) - len(delivered)
                rows = [(operation.charging_id, operation.SerializeToString()) for operation, _ in wanted]

                def work(
                    connection: sqlite3.Connection,
                    rows: list[tuple[str, bytes]] = rows,
                    delivered: list[str] = delivered,
                ) -> int:
                    connection.executemany("INSERT OR REPLACE INTO release VALUES (?, ?)", rows)
                    connection.executemany("DELETE FROM release WHERE charging_id = ?", [(each,) for each in delivered])
                    count: int = connection.execute("SELECT count(*) FROM release").fetchone()[0]
                    return count

                try:
                    self._count = await self._database.write(work)
                except ServiceError as error:
                    # Answered ones leave the file with the next write.
                    self._delivered[:0] = delivered
                    for _, kept in wanted:
                        if not kept.done():
                            kept.set_exception(error)
                    if not self._wanted:
                        return
                else:
                    for _, kept in wanted:
                        if not kept.done():
                            kept.set_result(None)
                finally:
                    self._under_way = 0
        finally:
            self._writing = None

    async def close(self) -> None:
        """Waits for writes under way, tries once more what failed, and closes the file."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._delivered:
            await self._write_all()
        await self._database.close()
