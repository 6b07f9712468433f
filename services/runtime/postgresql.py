"""Shared by the PostgreSQL stores of all services: a pool, migrations under a lock, errors in one form, durable settings.

Services may share a database: each has its tables, and its schema version, in a PostgreSQL schema of its own.
"""

import asyncio
import contextlib
import logging
import math
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Self, TypeVar

import asyncpg

from services.runtime.errors import SchemaError, ServiceError
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_S_MAX: Final = 5.0
# A slower statement is given up; its outcome is unknown then.
STATEMENT_S_MAX: Final = 30.0
# One process at a time migrates a database.
MIGRATION_LOCK: Final = 0x746F6B656E6C696E
FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# These settings must be on, or a commit that was answered could be lost with the machine.
_DURABLE: Final = ("fsync", "synchronous_commit", "full_page_writes")
# Errors without a fault of the request: the database is not there.
_NOT_THERE: Final = (
    TimeoutError,
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.TargetServerAttributeNotMatched,
)
_RETRY_S: Final = 2.0
# Commands with a person waiting wait this long; services wait for ever.
COMMAND_WAIT_S_MAX: Final = 60.0
_ROLLED_BACK_TRIES_MAX: Final = 5


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turns every error of the client or the server into `ServiceError` STORE_UNAVAILABLE."""
    try:
        yield
    except asyncpg.InsufficientPrivilegeError as error:
        raise ServiceError(
            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
            f"PostgreSQL: {error}; the user needs CREATE on the database, or a schema of the service's name that it owns",
        ) from error
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise ServiceError(
            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
            f"PostgreSQL: {error}; check the user and the password: PGUSER and PGPASSWORD, where the URL has none",
        ) from error
    except asyncpg.InvalidCatalogNameError as error:
        raise ServiceError(
            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, f"PostgreSQL: {error}; create it, or correct the URL"
        ) from error
    except (TimeoutError, *FAILURES) as error:
        said = str(error) or type(error).__name__
        raise ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, f"PostgreSQL: {said}") from error


@contextlib.contextmanager
def _reading_url() -> Iterator[None]:
    """Tells of a URL that cannot be read without a word of it, which would be of a password. Errors: `ServiceError`."""
    try:
        yield
    except asyncpg.InterfaceError:
        raise
    except ValueError:
        raise ServiceError(
            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
            "PostgreSQL: the URL cannot be read: write postgresql://USER@HOST:5432/DATABASE, and percent-encode in it what else "
            "a name or a password has, such as / as %2F and # as %23",
        ) from None


class Pool:
    """Connections to one database, whose unqualified names mean one PostgreSQL schema."""

    def __init__(self, pool: "asyncpg.Pool[Any]") -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls,
        dsn: str,
        application_name: str,
        schema: str,
        migrations: Sequence[str],
        connections_max: int,
        wait_s_max: float = math.inf,
    ) -> Self:
        """Connects, and brings the schema up to date. `dsn` is a libpq URL; a password comes from PGPASSWORD or the passfile.

        `migrations[n]` leads from version n to n + 1. While a server cannot be reached, or is starting, it waits and logs; a
        service waits for ever. Errors: `SchemaError` for a newer schema, or settings that do not keep committed data;
        `ServiceError` STORE_UNAVAILABLE for faults that waiting does not cure.
        """
        until_s = time.monotonic() + wait_s_max
        with translated():
            while True:
                try:
                    with _reading_url():
                        pool = await asyncpg.create_pool(
                            dsn,
                            min_size=1,
                            max_size=connections_max,
                            timeout=CONNECT_S_MAX,
                            command_timeout=STATEMENT_S_MAX,
                            server_settings={"application_name": application_name, "search_path": schema},
                        )
                    break
                except _NOT_THERE as error:
                    if _is_about_tls(error, dsn):
                        raise ServiceError(
                            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE,
                            f"PostgreSQL: {error}; check sslmode and sslrootcert in the URL, and the server's certificate",
                        ) from error
                    said = f"cannot be reached: {str(error) or 'it does not answer'}; check its address, and that it runs"
                    if time.monotonic() > until_s:
                        raise ServiceError(
                            errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, f"PostgreSQL {said}; given up after {wait_s_max:g} s"
                        ) from error
                    logger.error("PostgreSQL %s; trying again", said)
                    await asyncio.sleep(_RETRY_S)
        made = cls(pool)
        try:
            async with made.connection() as connection:
                await _migrate(connection, schema, migrations)
                for setting in _DURABLE:
                    if await connection.fetchval("SELECT current_setting($1)", setting) == "off":
                        raise SchemaError(
                            f"PostgreSQL runs with {setting} = off, so that committed data can be lost; set {setting} = on"
                        )
        except BaseException:
            await made.close()
            raise
        return made

    @contextlib.asynccontextmanager
    async def connection(self) -> "AsyncIterator[Any]":
        """A connection. Errors in the block: `ServiceError` STORE_UNAVAILABLE for every error of the client or the server."""
        with translated():
            async with self._pool.acquire(timeout=CONNECT_S_MAX) as connection:
                yield connection

    async def transaction(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Runs `work` in a transaction, again if it was certainly rolled back.

        Errors: those of `work`, with nothing written; `ServiceError` STORE_UNAVAILABLE, and then the outcome is unknown.
        """
        for tries in range(1, _ROLLED_BACK_TRIES_MAX + 1):
            try:
                with translated():
                    async with self._pool.acquire(timeout=CONNECT_S_MAX) as connection, connection.transaction():
                        return await work(connection)
            except ServiceError as error:
                certain = isinstance(error.__cause__, asyncpg.SerializationError | asyncpg.DeadlockDetectedError)
                if not certain or tries == _ROLLED_BACK_TRIES_MAX:
                    raise
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Closes the pool; nothing may be under way."""
        with contextlib.suppress(TimeoutError, *FAILURES):
            # Not `asyncio.wait_for`: connections that do not end in time are cut off.
            await self._pool.expire_connections()
        self._pool.terminate()


class Looked(NamedTuple):
    """A database as it is found, without a change."""

    # 0: it has no such schema yet.
    schema_version: int
    # By its own clock.
    now_us: int


async def look(dsn: str, schema: str, wait_s_max: float) -> Looked:
    """Looks at a database. Errors: `ServiceError` STORE_UNAVAILABLE."""
    with translated():
        async with asyncio.timeout(wait_s_max):
            with _reading_url():
                connection = await asyncpg.connect(dsn, timeout=wait_s_max, server_settings={"search_path": schema})
            try:
                version = await _version(connection, schema)
                now_us = await connection.fetchval("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")
                return Looked(version, now_us)
            finally:
                connection.terminate()


def _is_about_tls(error: BaseException, dsn: str) -> bool:
    """Whether TLS is at fault, on our side or the server's; asyncpg says that in several ways."""
    no_file = isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError) and "sslrootcert=" in dsn
    return isinstance(error, ssl.SSLError) or "rejected SSL upgrade" in str(error) or no_file


async def let_read_and_write(dsn: str, schema: str, user: str) -> None:
    """Lets a user read and write the tables of a service's schema, once they are made; it may be repeated.

    Errors: `ServiceError` STORE_UNAVAILABLE, also for a user that does not exist.
    """
    with translated():
        connection = await asyncpg.connect(dsn, timeout=CONNECT_S_MAX, command_timeout=STATEMENT_S_MAX)
        try:
            name = await connection.fetchval("SELECT quote_ident($1)", user)
            await connection.execute(f"GRANT USAGE ON SCHEMA {schema} TO {name}")
            await connection.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {name}")
        finally:
            await connection.close()


async def _migrate(connection: Any, schema: str, migrations: Sequence[str]) -> None:
    # Where all is made already, a user without rights to make anything will do.
    if await _version(connection, schema) == len(migrations):
        return
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", MIGRATION_LOCK)
        version = await _version(connection, schema)
        if version > len(migrations):
            raise SchemaError(
                f"the database has schema version {version} of {schema}; this code knows up to {len(migrations)}: "
                "run the newer release"
            )
        if not version:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema):
                await connection.execute(f"CREATE SCHEMA {schema}")
            await connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
        for number in range(version, len(migrations)):
            await connection.execute(migrations[number])
            await connection.execute("INSERT INTO schema_version VALUES ($1)", number + 1)


async def _version(connection: Any, schema: str) -> int:
    """The schema's version; 0 in a new database."""
    # Not to_regclass: out of its cache, it may miss after a lock what it missed before it.
    made = "SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = $1 AND tablename = 'schema_version')"
    if not await connection.fetchval(made, schema):
        return 0
    version: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM schema_version")
    return version
