"""One SQLite file behind one thread: what the embedded stores of all services stand on.

WAL with synchronous=FULL: a committed transaction survives the loss of the process and of the machine's power.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from services.runtime.errors import SchemaError, ServiceError
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Database:
    """A SQLite file. All work runs on its one thread, in the order given, so the event loop never waits on a disk."""

    def __init__(self, path: Path, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._path = path
        self._connection = connection
        self._executor = executor

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str]) -> "Database":
        """Opens or creates the file and brings its schema up to date; `migrations[n]` leads from version n to n + 1.

        Errors: `SchemaError` for a newer schema or a file that is no database; `ServiceError` STORE_UNAVAILABLE when
        it cannot be read or written.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{path.stem}")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(executor, _open, path, migrations)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(path, connection, executor)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one transaction and commits it, or rolls back if it raises.

        Errors: whatever `work` raises; `ServiceError` STORE_UNAVAILABLE when SQLite fails, with nothing written.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._in_transaction, work, "BEGIN IMMEDIATE")

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one read transaction: it sees one state of the whole file. Errors as in `write`."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._in_transaction, work, "BEGIN")

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        connection = self._connection
        try:
            connection.execute(begin)
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself already, for example when the disk is full.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error
        return result

    async def close(self) -> None:
        """Waits for the work under way and closes the file."""
        await asyncio.get_running_loop().run_in_executor(self._executor, self._connection.close)
        self._executor.shutdown()


def _open(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=10.0)
    except sqlite3.Error as error:
        raise _unavailable(path, error) from error
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(migrations):
            raise SchemaError(
                f"{path} has schema version {version}; this code knows up to {len(migrations)}: run the newer release that wrote it"
            )
        for number in range(version, len(migrations)):
            connection.executescript(f"BEGIN IMMEDIATE;\n{migrations[number]};\nPRAGMA user_version = {number + 1};\nCOMMIT;")
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise _unavailable(path, error) from error
        raise SchemaError(f"{path} is not a database of ours: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _unavailable(path: Path, error: sqlite3.Error) -> ServiceError:
    return ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, f"{path}: {error}; check that the disk is writable and not full")
