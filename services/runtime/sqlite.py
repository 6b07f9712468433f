"""One SQLite file and its thread, under the embedded stores of all services.

WAL with synchronous=FULL: a committed transaction survives the loss of the process and of the machine's power.
"""

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from services.runtime.errors import SchemaError, ServiceError
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A script, which is one transaction, or a function with transactions of its own, which goes on where it was broken off.
Migration = str | Callable[[sqlite3.Connection], None]

# How long a transaction waits for one of another process.
_WAIT_MS: Final = 10_000


class Database:
    """A SQLite file. All work runs in the order given, and what may wait on a disk on its one thread, never on the event loop."""

    def __init__(self, path: Path, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._path = path
        self._connection = connection
        self._executor = executor
        # Works given to the thread, and works that it has done; each of the two is written by one thread only.
        self._given = 0
        self._done = 0

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[Migration]) -> "Database":
        """Opens or creates the file and brings its schema up to date; `migrations[n]` leads from version n to n + 1.

        Errors: `SchemaError` for a newer schema or a file that is no database; `ServiceError` STORE_UNAVAILABLE when
        it cannot be read or written, and whatever a migration raises.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"sqlite-{path.stem}")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(executor, _open, path, migrations)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(path, connection, executor)

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one transaction and commits it, or rolls back if it raises. `work` must not return a cursor.

        Errors: whatever `work` raises; `ServiceError` STORE_UNAVAILABLE when SQLite fails, with nothing written.
        """
        return await self._on_thread(self._in_transaction, work, "BEGIN IMMEDIATE")

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` in one read transaction: it sees one state of the whole file. Errors as in `write`."""
        return await self._on_thread(self._in_transaction, work, "BEGIN")

    async def write_cached(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `write`, for work on pages that are in SQLite's cache: only the commit goes to the thread.

        A statement on the thread costs a change of the interpreter's lock, which is more than the statement.
        """
        if self._busy or not self._begin_at_once("BEGIN IMMEDIATE"):
            return await self.write(work)
        try:
            result = work(self._connection)
        except sqlite3.Error as error:
            self._roll_back()
            raise _unavailable(self._path, error) from error
        except BaseException:
            self._roll_back()
            raise
        # Nobody comes between: the thread had nothing to do, and takes this next.
        await self._on_thread(self._commit)
        return result

    async def read_cached(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `read`, for work on pages that are in SQLite's cache: without the thread, where it has nothing to do."""
        if self._busy:
            return await self.read(work)
        return self._in_transaction(work, "BEGIN")

    @property
    def _busy(self) -> bool:
        return self._given != self._done

    async def _on_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        """Runs work on the thread, to its end also when nobody waits for it any more, because a commit must follow its work."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._given += 1
        self._executor.submit(self._run, loop, answer, work, arguments)
        return await answer

    def _run(
        self, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[T], work: Callable[..., T], arguments: tuple[Any, ...]
    ) -> None:
        settle: Callable[[], None]
        try:
            settle = partial(answer.set_result, work(*arguments))
        except BaseException as error:
            settle = partial(answer.set_exception, error)
        self._done += 1
        loop.call_soon_threadsafe(_unless_cancelled, answer, settle)

    def _begin_at_once(self, begin: str) -> bool:
        """Begins, unless another process has the file just now."""
        connection = self._connection
        try:
            connection.execute("PRAGMA busy_timeout = 0")
            try:
                connection.execute(begin)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {_WAIT_MS}")
        except sqlite3.Error:
            # Tried once more on the thread, which may wait, and says what is wrong.
            return False
        return True

    def _in_transaction(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        try:
            self._connection.execute(begin)
            try:
                result = work(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                self._roll_back()
                raise
        except sqlite3.Error as error:
            raise _unavailable(self._path, error) from error
        return result

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise _unavailable(self._path, error) from error

    def _roll_back(self) -> None:
        # SQLite may have rolled back by itself already, for example when the disk is full.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Waits for the work under way and closes the file."""
        await self._on_thread(self._connection.close)
        self._executor.shutdown()


def copy_database(source: Path, target: Path) -> None:
    """Copies a file to one that is not there yet, as it is at one moment, while another process may write to it. Blocking.

    Writers are not held up. Errors: `ServiceError` STORE_UNAVAILABLE; `SchemaError` for no database, or a damaged one.
    """
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True, timeout=_WAIT_MS / 1_000)) as original,
            closing(sqlite3.connect(target)) as copy,
        ):
            # All pages in one step, because a writer between two steps would have it begin anew.
            original.backup(copy)
            (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        raise ServiceError(
            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
            f"{source} cannot be copied to {target}: {error}; check that it can be read, and that there is room",
        ) from error
    except sqlite3.DatabaseError as error:
        raise SchemaError(f"{source} is no whole database: {error}") from error
    if found != "ok":
        raise SchemaError(f"{source} is damaged: {found}")


def _unless_cancelled(answer: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not answer.cancelled():
        settle()


def _open(path: Path, migrations: Sequence[Migration]) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, isolation_level=None, timeout=_WAIT_MS / 1_000, check_same_thread=False)
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
            migration = migrations[number]
            if callable(migration):
                migration(connection)
                migration = "SELECT 1"
            connection.executescript(f"BEGIN IMMEDIATE;\n{migration};\nPRAGMA user_version = {number + 1};\nCOMMIT;")
        # A file that may only be read opens like any other, and would fail at the first write, long after the start.
        connection.executescript(f"BEGIN IMMEDIATE;\nPRAGMA user_version = {len(migrations)};\nROLLBACK;")
    except sqlite3.DatabaseError as error:
        connection.close()
        if isinstance(error, sqlite3.OperationalError):
            raise _unavailable(path, error) from error
        raise SchemaError(f"{path} is not a database of ours: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def schema_version(path: Path) -> int:
    """The file's schema version; it is only read. Errors: `SchemaError` for no database; `ServiceError` STORE_UNAVAILABLE."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)) as connection:
            version: int = connection.execute("PRAGMA user_version").fetchone()[0]
            return version
    except sqlite3.OperationalError as error:
        raise _unavailable(path, error) from error
    except sqlite3.DatabaseError as error:
        raise SchemaError(f"{path} is not a database of ours: {error}") from error


def _unavailable(path: Path, error: sqlite3.Error) -> ServiceError:
    return ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, f"{path}: {error}; check that the disk is writable and not full")
