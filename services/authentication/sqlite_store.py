"""The store in a SQLite file."""

import sqlite3
from pathlib import Path
from typing import Final

from services.authentication.store import (
    Key,
    Member,
    Revocations,
    Suspension,
    no_key,
    no_member,
    refuse_second_key,
    same_member,
)
from services.runtime.sqlite import Database

_MIGRATIONS: Final = (
    """
    CREATE TABLE member (
        member_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL,
        display_name TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        idempotency_key TEXT NOT NULL UNIQUE
    );
    CREATE INDEX member_account ON member (account_id, created_us);
    CREATE TABLE api_key (
        key_id TEXT PRIMARY KEY,
        account_id TEXT NOT NULL,
        member_id TEXT NOT NULL REFERENCES member,
        masked_key TEXT NOT NULL,
        key_hash BLOB NOT NULL UNIQUE,
        created_us INTEGER NOT NULL,
        idempotency_key TEXT NOT NULL UNIQUE,
        revoked_us INTEGER NOT NULL,
        revision INTEGER NOT NULL
    );
    CREATE INDEX api_key_account ON api_key (account_id, created_us);
    CREATE UNIQUE INDEX api_key_revision ON api_key (revision) WHERE revision > 0
    """,
    """
    CREATE TABLE suspension (
        account_id TEXT PRIMARY KEY,
        suspended_us INTEGER NOT NULL,
        resumed_us INTEGER NOT NULL,
        revision INTEGER NOT NULL UNIQUE
    )
    """,
)
# Keys and accounts are numbered in one sequence.
_NEWEST: Final = "SELECT max((SELECT coalesce(max(revision), 0) FROM api_key), (SELECT coalesce(max(revision), 0) FROM suspension))"


class SqliteStore:
    """See `services.authentication.store.Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Opens or creates the file. Errors: those of `Database.open`."""
        return cls(await Database.open(path, _MIGRATIONS))

    async def add_member(self, member: Member) -> Member:
        def work(connection: sqlite3.Connection) -> Member:
            known = connection.execute("SELECT * FROM member WHERE idempotency_key = ?", (member.idempotency_key,)).fetchone()
            if known is not None:
                return same_member(Member(*known), member)
            connection.execute("INSERT INTO member VALUES (?, ?, ?, ?, ?)", member)
            return member

        return await self._database.write(work)

    async def add_key(self, key: Key) -> Key:
        def work(connection: sqlite3.Connection) -> Key:
            known = connection.execute("SELECT * FROM api_key WHERE idempotency_key = ?", (key.idempotency_key,)).fetchone()
            if known is not None:
                raise refuse_second_key(Key(*known), key)
            member = connection.execute(
                "SELECT member_id FROM member WHERE account_id = ? AND ? IN ('', member_id) ORDER BY created_us, rowid LIMIT 1",
                (key.account_id, key.member_id),
            ).fetchone()
            if member is None:
                raise no_member(key.account_id, key.member_id)
            issued = key._replace(member_id=member[0])
            connection.execute("INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", issued)
            return issued

        return await self._database.write(work)

    async def revoke_key(self, key_id: str, now_us: int) -> Key:
        def work(connection: sqlite3.Connection) -> Key:
            revision = 1 + connection.execute(_NEWEST).fetchone()[0]
            connection.execute(
                "UPDATE api_key SET revoked_us = ?, revision = ? WHERE key_id = ? AND revision = 0", (now_us, revision, key_id)
            )
            row = connection.execute("SELECT * FROM api_key WHERE key_id = ?", (key_id,)).fetchone()
            if row is None:
                raise no_key(key_id)
            return Key(*row)

        return await self._database.write(work)

    async def list_keys(self, account_id: str) -> list[Key]:
        def work(connection: sqlite3.Connection) -> list[Key]:
            rows = connection.execute("SELECT * FROM api_key WHERE account_id = ? ORDER BY created_us, rowid", (account_id,))
            return [Key(*row) for row in rows]

        return await self._database.read(work)

    async def list_members(self, account_id: str) -> list[str]:
        def work(connection: sqlite3.Connection) -> list[str]:
            rows = connection.execute("SELECT member_id FROM member WHERE account_id = ? ORDER BY created_us, rowid", (account_id,))
            return [member_id for (member_id,) in rows]

        return await self._database.read(work)

    async def find_key(self, key_hash: bytes) -> Key | None:
        def work(connection: sqlite3.Connection) -> Key | None:
            row = connection.execute("SELECT * FROM api_key WHERE key_hash = ?", (key_hash,)).fetchone()
            return Key(*row) if row else None

        return await self._database.read(work)

    async def suspend_account(self, account_id: str, now_us: int) -> Suspension:
        def work(connection: sqlite3.Connection) -> Suspension:
            _expect_member(connection, account_id)
            known = _suspension(connection, account_id)
            if known is not None and not known.resumed_us:
                return known
            suspension = Suspension(account_id, now_us, 0, 1 + connection.execute(_NEWEST).fetchone()[0])
            connection.execute("INSERT OR REPLACE INTO suspension VALUES (?, ?, ?, ?)", suspension)
            return suspension

        return await self._database.write(work)

    async def resume_account(self, account_id: str, now_us: int) -> Suspension | None:
        def work(connection: sqlite3.Connection) -> Suspension | None:
            _expect_member(connection, account_id)
            connection.execute("UPDATE suspension SET resumed_us = ? WHERE account_id = ? AND resumed_us = 0", (now_us, account_id))
            return _suspension(connection, account_id)

        return await self._database.write(work)

    async def find_suspension(self, account_id: str) -> Suspension | None:
        return await self._database.read(lambda connection: _suspension(connection, account_id))

    async def revocations(self, after_revision: int) -> Revocations:
        def work(connection: sqlite3.Connection) -> Revocations:
            newest = connection.execute(_NEWEST).fetchone()[0]
            keys = connection.execute("SELECT key_id FROM api_key WHERE revision > max(?, 0) ORDER BY revision", (after_revision,))
            accounts = connection.execute("SELECT * FROM suspension WHERE revision > ? ORDER BY revision", (after_revision,))
            return Revocations(newest, [row[0] for row in keys], [Suspension(*row) for row in accounts])

        return await self._database.read(work)

    async def close(self) -> None:
        await self._database.close()


def _expect_member(connection: sqlite3.Connection, account_id: str) -> None:
    if connection.execute("SELECT 1 FROM member WHERE account_id = ? LIMIT 1", (account_id,)).fetchone() is None:
        raise no_member(account_id)


def _suspension(connection: sqlite3.Connection, account_id: str) -> Suspension | None:
    row = connection.execute("SELECT * FROM suspension WHERE account_id = ?", (account_id,)).fetchone()
    return Suspension(*row) if row else None
