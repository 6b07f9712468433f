"""The SQLite file under the stores of all services."""

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from services.accounting.journal.sqlite import SqliteStore as AccountingStore
from services.authentication.sqlite_store import SqliteStore as AuthenticationStore
from services.billing.sqlite_store import SqliteStore as BillingStore
from services.edge.charging.outbox import Outbox
from services.runtime.errors import ServiceError
from services.runtime.sqlite import Database

_FULL = 2


def _durability(connection: sqlite3.Connection) -> tuple[str, int]:
    (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    return journal_mode, synchronous


async def _plain(path: Path) -> list[Database]:
    return [await Database.open(path, [])]


async def _of_accounting(path: Path) -> list[Database]:
    store = await AccountingStore.open(path)
    return [store._writer, store._reader]


async def _of_authentication(path: Path) -> list[Database]:
    return [(await AuthenticationStore.open(path))._database]


async def _of_billing(path: Path) -> list[Database]:
    return [(await BillingStore.open(path))._database]


async def _of_the_outbox(path: Path) -> list[Database]:
    outbox, _ = await Outbox.open(path, 10)
    return [outbox._database]


@pytest.mark.parametrize("opened", [_plain, _of_accounting, _of_authentication, _of_billing, _of_the_outbox])
async def test_a_commit_waits_for_the_disk(tmp_path: Path, opened: Callable[[Path], Awaitable[list[Database]]]) -> None:
    """With NORMAL, SQLite's other setting beside WAL, commits of the last moments are lost with the power, in silence."""
    # As it was made, and as it is opened again.
    for _ in range(2):
        databases = await opened(tmp_path / "it")
        try:
            for database in databases:
                assert await database.read(_durability) == ("wal", _FULL)
        finally:
            for database in databases:
                await database.close()


@pytest.mark.parametrize("said", ["no space left", "an error of ours"])
async def test_of_a_transaction_that_fails_nothing_is_there(tmp_path: Path, said: str) -> None:
    database = await Database.open(tmp_path / "it", ["CREATE TABLE it (number INTEGER PRIMARY KEY)"])

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO it VALUES (1)")
        if said == "an error of ours":
            raise ZeroDivisionError
        connection.execute("INSERT INTO it VALUES (1)")

    try:
        with pytest.raises(ZeroDivisionError if said == "an error of ours" else ServiceError):
            await database.write(work)
        assert await database.read(lambda connection: connection.execute("SELECT number FROM it").fetchall()) == []
        await database.write(lambda connection: connection.execute("INSERT INTO it VALUES (2)"))
        assert await database.read(lambda connection: connection.execute("SELECT number FROM it").fetchall()) == [(2,)]
    finally:
        await database.close()
