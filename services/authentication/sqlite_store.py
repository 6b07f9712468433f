"""The store in a SQLite file."""

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Final

from services.authentication.store import (
    MINTED_LISTED,
    MINTED_MEMORY_US,
    Entitlement,
    Entitling,
    Invitation,
    Key,
    Member,
    NamedAccount,
    Revocations,
    Suspension,
    entitling,
    invited,
    minted,
    no_key,
    no_member,
    refuse_external_id,
    refuse_second_invitation,
    refuse_second_key,
    refuse_second_minting,
    same_member,
    with_revocation,
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
    """
    ALTER TABLE api_key ADD COLUMN parent_key_id TEXT NOT NULL DEFAULT '';
    ALTER TABLE api_key ADD COLUMN scopes TEXT NOT NULL DEFAULT '';
    ALTER TABLE api_key ADD COLUMN ends_us INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX api_key_parent ON api_key (parent_key_id) WHERE parent_key_id <> '';
    CREATE INDEX api_key_end ON api_key (ends_us) WHERE ends_us > 0
    """,
    """
    CREATE TABLE external_id (
        account_id TEXT PRIMARY KEY,
        external_id TEXT NOT NULL UNIQUE
    );
    CREATE TABLE invitation (
        code_hash BLOB PRIMARY KEY,
        account_id TEXT NOT NULL,
        created_us INTEGER NOT NULL,
        ends_us INTEGER NOT NULL,
        idempotency_key TEXT NOT NULL UNIQUE,
        accepted_key TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE entitlement (
        offering_id TEXT NOT NULL,
        identity_hash BLOB NOT NULL,
        account_id TEXT NOT NULL,
        until_us INTEGER NOT NULL,
        orders INTEGER NOT NULL,
        PRIMARY KEY (offering_id, identity_hash),
        UNIQUE (offering_id, account_id)
    ) WITHOUT ROWID
    """,
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)
_INSERT_KEY: Final = "INSERT INTO api_key VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
# A key and those above it.
_LINEAGE: Final = """
    WITH RECURSIVE above AS (
        SELECT *, 0 AS level FROM api_key WHERE key_id = ?
        UNION ALL SELECT parent.*, level + 1 FROM api_key AS parent JOIN above ON parent.key_id = above.parent_key_id
    )
    SELECT * FROM above ORDER BY level
"""
# A key, and the living ones below it; those above come first.
_FAMILY: Final = """
    WITH RECURSIVE below AS (
        SELECT key_id, revision, 0 AS level FROM api_key WHERE key_id = ?
        UNION ALL SELECT child.key_id, child.revision, level + 1
        FROM api_key AS child JOIN below ON child.parent_key_id = below.key_id
        WHERE child.ends_us > ?
    )
    SELECT key_id FROM below WHERE revision = 0 ORDER BY level, key_id
"""
_ACCOUNTS: Final = (
    "SELECT member.account_id, coalesce(external_id.external_id, ''), min(created_us), count(*)"
    " FROM member LEFT JOIN external_id ON external_id.account_id = member.account_id"
    " WHERE member.account_id > ? AND ? IN ('', external_id.external_id)"
    " GROUP BY member.account_id, external_id.external_id ORDER BY member.account_id LIMIT ?"
)
# Minted keys forgotten with each new one, so that there are never more than are remembered.
_FORGOTTEN_AT_ONCE: Final = 2
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
        return await self._database.write(lambda connection: _add_member(connection, member))

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
            connection.execute(_INSERT_KEY, issued)
            return issued

        return await self._database.write(work)

    async def mint_key(self, key: Key) -> Key:
        def work(connection: sqlite3.Connection) -> Key:
            if lineage := _lineage(connection, key.key_id):
                raise refuse_second_minting(lineage[0], key)
            made = minted(key, with_revocation(_lineage(connection, key.parent_key_id)))
            connection.execute(_INSERT_KEY, made)
            # The newest revision stays, since watchers know it.
            newest = connection.execute(_NEWEST).fetchone()[0]
            connection.execute(
                "DELETE FROM api_key WHERE key_id IN (SELECT key_id FROM api_key WHERE ends_us > 0 AND ends_us < ? "
                "AND (revision = 0 OR revision < ?) ORDER BY ends_us LIMIT ?)",
                (key.created_us - MINTED_MEMORY_US, newest, _FORGOTTEN_AT_ONCE),
            )
            return made

        return await self._database.write(work)

    async def revoke_key(self, key_id: str, now_us: int, above_key_id: str = "") -> Key:
        def work(connection: sqlite3.Connection) -> Key:
            lineage = _lineage(connection, key_id)
            if not lineage or (above_key_id and above_key_id not in {key.key_id for key in lineage[1:]}):
                raise no_key(key_id)
            newest = connection.execute(_NEWEST).fetchone()[0]
            family = connection.execute(_FAMILY, (key_id, now_us)).fetchall()
            connection.executemany(
                "UPDATE api_key SET revoked_us = ?1, revision = ?2, ends_us = min(ends_us, ?1) WHERE key_id = ?3",
                [(now_us, revision, row[0]) for revision, row in enumerate(family, newest + 1)],
            )
            return _lineage(connection, key_id)[0]

        return await self._database.write(work)

    async def list_keys(self, account_id: str, minted_max: int = MINTED_LISTED) -> list[Key]:
        def work(connection: sqlite3.Connection) -> list[Key]:
            rows = connection.execute(
                "SELECT * FROM api_key WHERE account_id = ?1 AND (parent_key_id = '' OR key_id IN (SELECT key_id FROM api_key "
                "WHERE account_id = ?1 AND parent_key_id <> '' ORDER BY created_us DESC, rowid DESC LIMIT ?2)) "
                "ORDER BY created_us, rowid",
                (account_id, minted_max),
            )
            return [Key(*row) for row in rows]

        return await self._database.read(work)

    async def list_members(self, account_id: str) -> list[Member]:
        def work(connection: sqlite3.Connection) -> list[Member]:
            rows = connection.execute("SELECT * FROM member WHERE account_id = ? ORDER BY created_us, rowid", (account_id,))
            return [Member(*row) for row in rows]

        return await self._database.read(work)

    async def list_accounts(self, after_account_id: str, external_id: str, most: int) -> list[NamedAccount]:
        def work(connection: sqlite3.Connection) -> list[NamedAccount]:
            return [NamedAccount(*row) for row in connection.execute(_ACCOUNTS, (after_account_id, external_id, most))]

        return await self._database.read(work)

    async def name_account(self, account_id: str, external_id: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            _expect_member(connection, account_id)
            known = connection.execute("SELECT account_id FROM external_id WHERE external_id = ?", (external_id,)).fetchone()
            if known is not None and known[0] != account_id:
                raise refuse_external_id(external_id, known[0])
            connection.execute("INSERT OR REPLACE INTO external_id VALUES (?, ?)", (account_id, external_id))

        await self._database.write(work)

    async def add_invitation(self, invitation: Invitation) -> None:
        def work(connection: sqlite3.Connection) -> None:
            _expect_member(connection, invitation.account_id)
            key = invitation.idempotency_key
            if connection.execute("SELECT 1 FROM invitation WHERE idempotency_key = ?", (key,)).fetchone():
                raise refuse_second_invitation(key)
            connection.execute("INSERT INTO invitation VALUES (?, ?, ?, ?, ?, ?)", invitation)

        await self._database.write(work)

    async def accept_invitation(self, code_hash: bytes, member: Member) -> Member:
        def work(connection: sqlite3.Connection) -> Member:
            known = connection.execute("SELECT * FROM invitation WHERE code_hash = ?", (code_hash,)).fetchone()
            made = _add_member(connection, invited(Invitation(*known) if known else None, member))
            connection.execute("UPDATE invitation SET accepted_key = ? WHERE code_hash = ?", (member.idempotency_key, code_hash))
            return made

        return await self._database.write(work)

    async def entitle(self, wanted: Entitlement, now_us: int, over: Collection[tuple[str, int]]) -> Entitling:
        def work(connection: sqlite3.Connection) -> Entitling:
            _expect_member(connection, wanted.account_id)
            rows = connection.execute(
                "SELECT * FROM entitlement WHERE offering_id = ? AND (identity_hash = ? OR account_id = ?)", wanted[:3]
            )
            outcome = entitling([Entitlement(*row) for row in rows], wanted, now_us, over)
            if outcome.made is not None:
                # Takes the place of those that it meets in either of the table's keys.
                connection.execute("INSERT OR REPLACE INTO entitlement VALUES (?, ?, ?, ?, ?)", outcome.made)
            return outcome

        return await self._database.write(work)

    async def end_entitlement(self, account_id: str, offering_id: str, until_us: int, now_us: int) -> None:
        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE entitlement SET orders = orders - 1 WHERE offering_id = ? AND account_id = ? AND orders > 0 AND ? > ?",
                (offering_id, account_id, until_us, now_us),
            )

        await self._database.write(work)

    async def free(self, offering_id: str, identity_hash: bytes, over: tuple[str, int] | None, now_us: int) -> Entitlement | None:
        def work(connection: sqlite3.Connection) -> Entitlement | None:
            whose = "FROM entitlement WHERE offering_id = ? AND identity_hash = ?"
            row = connection.execute(f"SELECT * {whose}", (offering_id, identity_hash)).fetchone()
            found = Entitlement(*row) if row else None
            if found is not None and found.may_go(over, now_us):
                connection.execute(f"DELETE {whose}", (offering_id, identity_hash))
            return found

        return await self._database.write(work)

    async def find_key(self, key_hash: bytes) -> Key | None:
        def work(connection: sqlite3.Connection) -> Key | None:
            row = connection.execute("SELECT key_id FROM api_key WHERE key_hash = ?", (key_hash,)).fetchone()
            return with_revocation(_lineage(connection, row[0])) if row else None

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


def _lineage(connection: sqlite3.Connection, key_id: str) -> list[Key]:
    """A key and those above it, its own first; empty where there is no such key."""
    return [Key(*row[:-1]) for row in connection.execute(_LINEAGE, (key_id,))]


def _add_member(connection: sqlite3.Connection, member: Member) -> Member:
    known = connection.execute("SELECT * FROM member WHERE idempotency_key = ?", (member.idempotency_key,)).fetchone()
    if known is not None:
        return same_member(Member(*known), member)
    connection.execute("INSERT INTO member VALUES (?, ?, ?, ?, ?)", member)
    return member


def _expect_member(connection: sqlite3.Connection, account_id: str) -> None:
    if connection.execute("SELECT 1 FROM member WHERE account_id = ? LIMIT 1", (account_id,)).fetchone() is None:
        raise no_member(account_id)


def _suspension(connection: sqlite3.Connection, account_id: str) -> Suspension | None:
    row = connection.execute("SELECT * FROM suspension WHERE account_id = ?", (account_id,)).fetchone()
    return Suspension(*row) if row else None
