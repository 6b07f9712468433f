"""The SQLite file under the stores of all services."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from services.accounting.journal.sqlite import SqliteStore as AccountingStore
from services.authentication.sqlite_store import SqliteStore as AuthenticationStore
from services.billing.sqlite_store import SqliteStore as BillingStore
from services.edge.charging.outbox import Outbox
from services.runtime.errors import SchemaError, ServiceError
from services.runtime.sqlite import Database, copy_database, schema_version
from tokenline.errors.v1 import errors_pb2

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
        await database.write(lambda connection: connection.execute("INSERT INTO it VALUES (2)").close())
        assert await database.read(lambda connection: connection.execute("SELECT number FROM it").fetchall()) == [(2,)]
    finally:
        await database.close()


# Work on what is in the cache

_TABLE = "CREATE TABLE word (word TEXT NOT NULL, thread TEXT NOT NULL)"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "it", [_TABLE])
    yield database
    await database.close()


def _add(connection: sqlite3.Connection, word: str) -> None:
    connection.execute("INSERT INTO word VALUES (?, ?)", (word, threading.current_thread().name))


def _words(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT word FROM word ORDER BY rowid")]


def _threads(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT thread FROM word ORDER BY rowid")]


def _committed(path: Path) -> list[str]:
    """What another process sees."""
    with sqlite3.connect(path) as connection:
        words = _words(connection)
    connection.close()
    return words


async def test_cached_work_is_done_here_and_committed_when_it_returns(database: Database, tmp_path: Path) -> None:
    await database.write_cached(lambda connection: _add(connection, "one"))
    assert _committed(tmp_path / "it") == ["one"]
    assert await database.read_cached(_threads) == [threading.current_thread().name]


async def test_work_keeps_its_order_while_the_thread_is_busy(database: Database, tmp_path: Path) -> None:
    free = threading.Event()

    def slow(connection: sqlite3.Connection) -> None:
        assert free.wait(10)
        _add(connection, "first")

    first = asyncio.create_task(database.write(slow))
    await asyncio.sleep(0)
    second = asyncio.create_task(database.write_cached(lambda connection: _add(connection, "second")))
    third = asyncio.create_task(database.read_cached(_words))
    await asyncio.sleep(0)
    free.set()
    assert await third == ["first", "second"]
    await asyncio.gather(first, second)
    assert await database.read_cached(_threads) == ["sqlite-it_0", "sqlite-it_0"]
    # The thread has nothing to do any more.
    await database.write_cached(lambda connection: _add(connection, "third"))
    assert (await database.read_cached(_threads))[2] == threading.current_thread().name


async def test_cached_work_that_fails_leaves_nothing(database: Database, tmp_path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        _add(connection, "never")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write_cached(fails)
    with pytest.raises(ServiceError, match="no such table"):
        await database.write_cached(lambda connection: connection.execute("DELETE FROM phrase"))
    await database.write_cached(lambda connection: _add(connection, "one"))
    assert _committed(tmp_path / "it") == ["one"]


async def test_a_commit_that_fails_leaves_nothing_and_is_in_nobodys_way(tmp_path: Path) -> None:
    # SQLite looks for what a word stands for when it commits, and then lets the transaction be.
    refers = "CREATE TABLE meaning (word TEXT REFERENCES word (word) DEFERRABLE INITIALLY DEFERRED)"
    database = await Database.open(tmp_path / "it", [f"{_TABLE}; CREATE UNIQUE INDEX one_word ON word (word); {refers}"])

    def means_nothing(connection: sqlite3.Connection) -> None:
        _add(connection, "never")
        connection.execute("INSERT INTO meaning VALUES ('a word that is not there')")

    for write in (database.write_cached, database.write):
        with pytest.raises(ServiceError, match="FOREIGN KEY"):
            await write(means_nothing)
        await write(partial(_add, word="next"))
        assert _committed(tmp_path / "it").pop() == "next"
        await database.write(lambda connection: connection.execute("DELETE FROM word").close())
    await database.close()


async def test_the_loop_goes_on_while_another_process_has_the_file(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "it", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writing = asyncio.create_task(database.write_cached(lambda connection: _add(connection, "one")))
    await asyncio.sleep(0.05)
    # Had the loop waited with it, it would have been refused by now.
    assert not writing.done()
    other.execute("COMMIT")
    other.close()
    await writing
    assert _committed(tmp_path / "it") == ["one"]


async def test_work_that_nobody_waits_for_any_more_is_done(database: Database) -> None:
    free = threading.Event()
    first = asyncio.create_task(database.write(lambda connection: free.wait(10)))
    await asyncio.sleep(0)
    second = asyncio.create_task(database.write_cached(lambda connection: _add(connection, "one")))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    free.set()
    await first
    assert await database.read(_words) == ["one"]
    # Nobody is kept off by it.
    await database.write_cached(lambda connection: _add(connection, "two"))
    assert (await database.read_cached(_threads))[1] == threading.current_thread().name


async def test_a_caller_that_leaves_during_the_commit_breaks_nothing(database: Database) -> None:
    for number in range(20):
        left = asyncio.create_task(database.write_cached(partial(_add, word=str(number))))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.wait([left])
        await database.write_cached(lambda connection: None)
    assert await database.read(_words) == [str(number) for number in range(20)]


async def test_of_a_migration_that_fails_nothing_is_there(tmp_path: Path) -> None:
    path = tmp_path / "it"
    twice = "CREATE TABLE number (number INTEGER PRIMARY KEY); INSERT INTO number VALUES (1); INSERT INTO number VALUES (1)"
    with pytest.raises(SchemaError, match="UNIQUE"):
        await Database.open(path, [_TABLE, twice])
    assert schema_version(path) == 1
    once = twice.removesuffix("; INSERT INTO number VALUES (1)")
    database = await Database.open(path, [_TABLE, once])
    assert await database.read(lambda connection: connection.execute("SELECT number FROM number").fetchall()) == [(1,)]
    await database.close()


async def test_a_migration_of_several_transactions_goes_on_where_it_was_broken_off(tmp_path: Path) -> None:
    path = tmp_path / "it"
    broken = True

    def spell(connection: sqlite3.Connection) -> None:
        for word in ("one", "two", "three"):
            if word in _words(connection):
                continue
            if word == "three" and broken:
                raise ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, "the process was killed")
            _add(connection, word)

    with pytest.raises(ServiceError, match="was killed"):
        await Database.open(path, [_TABLE, spell, "INSERT INTO word VALUES ('end', '')"])
    assert _committed(path) == ["one", "two"]
    broken = False
    for _ in range(2):
        database = await Database.open(path, [_TABLE, spell, "INSERT INTO word VALUES ('end', '')"])
        assert await database.read(_words) == ["one", "two", "three", "end"]
        await database.close()


async def test_a_copy_of_a_damaged_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "it"
    database = await Database.open(path, [_TABLE, "CREATE INDEX words ON word (word)"])

    def add_many(connection: sqlite3.Connection) -> None:
        for number in range(2_000):
            _add(connection, f"word {number}")

    await database.write(add_many)
    await database.close()
    copy_database(path, tmp_path / "whole")
    damaged = bytearray(path.read_bytes())
    damaged[-4_096:] = b"\xff" * 4_096
    path.write_bytes(bytes(damaged))
    with pytest.raises(SchemaError, match="is damaged"):
        copy_database(path, tmp_path / "copy")
