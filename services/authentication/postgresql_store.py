"""The store in PostgreSQL, which several replicas may share."""

import math
from collections.abc import Collection
from typing import Any, Final

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
from services.runtime.postgresql import Pool

_MIGRATIONS: Final = (
    """
    CREATE TABLE member (
        member_id text PRIMARY KEY,
        account_id text NOT NULL,
        display_name text NOT NULL,
        created_us bigint NOT NULL,
        idempotency_key text NOT NULL UNIQUE,
        -- The order of arrival, for those of one moment.
        number bigint GENERATED ALWAYS AS IDENTITY
    );
    CREATE INDEX member_account ON member (account_id, created_us, number);
    CREATE TABLE api_key (
        key_id text PRIMARY KEY,
        account_id text NOT NULL,
        member_id text NOT NULL REFERENCES member,
        masked_key text NOT NULL,
        key_hash bytea NOT NULL UNIQUE,
        created_us bigint NOT NULL,
        idempotency_key text NOT NULL UNIQUE,
        revoked_us bigint NOT NULL,
        revision bigint NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY
    );
    CREATE INDEX api_key_account ON api_key (account_id, created_us, number);
    CREATE UNIQUE INDEX api_key_revision ON api_key (revision) WHERE revision > 0;
    -- The newest revision. Whoever revokes or suspends holds this row until its commit, so that revisions become visible in their
    -- order and a reader that has seen one has seen all before it.
    CREATE TABLE revocation (id integer PRIMARY KEY CHECK (id = 1), newest bigint NOT NULL);
    INSERT INTO revocation VALUES (1, 0);
    """,
    """
    CREATE TABLE suspension (
        account_id text PRIMARY KEY,
        suspended_us bigint NOT NULL,
        resumed_us bigint NOT NULL,
        revision bigint NOT NULL UNIQUE
    );
    """,
    """
    ALTER TABLE api_key
        ADD COLUMN parent_key_id text NOT NULL DEFAULT '',
        ADD COLUMN scopes text NOT NULL DEFAULT '',
        ADD COLUMN ends_us bigint NOT NULL DEFAULT 0;
    CREATE INDEX api_key_parent ON api_key (parent_key_id) WHERE parent_key_id <> '';
    CREATE INDEX api_key_end ON api_key (ends_us) WHERE ends_us > 0;
    """,
    """
    CREATE TABLE external_id (
        account_id text PRIMARY KEY,
        external_id text NOT NULL UNIQUE
    );
    CREATE TABLE invitation (
        code_hash bytea PRIMARY KEY,
        account_id text NOT NULL,
        created_us bigint NOT NULL,
        ends_us bigint NOT NULL,
        idempotency_key text NOT NULL UNIQUE,
        accepted_key text NOT NULL
    );
    """,
    """
    CREATE TABLE entitlement (
        offering_id text NOT NULL,
        identity_hash bytea NOT NULL,
        account_id text NOT NULL,
        until_us bigint NOT NULL,
        orders bigint NOT NULL,
        PRIMARY KEY (offering_id, identity_hash),
        UNIQUE (offering_id, account_id)
    );
    """,
)
SCHEMA_VERSION: Final = len(_MIGRATIONS)
_CONNECTIONS_MAX: Final = 8
_MEMBER: Final = "SELECT member_id, account_id, display_name, created_us, idempotency_key FROM member"
_KEY: Final = (
    "SELECT key_id, account_id, member_id, masked_key, key_hash, created_us, idempotency_key, revoked_us, revision, parent_key_id, "
    "scopes, ends_us FROM api_key"
)
_LISTED: Final = """
    SELECT key_id, account_id, member_id, masked_key, key_hash, created_us, idempotency_key, revoked_us, revision, parent_key_id,
        scopes, ends_us
    FROM api_key
    WHERE account_id = $1 AND (parent_key_id = '' OR key_id IN (
        SELECT key_id FROM api_key WHERE account_id = $1 AND parent_key_id <> '' ORDER BY created_us DESC, number DESC LIMIT $2
    ))
    ORDER BY created_us, number
"""
_INSERT_KEY: Final = (
    "INSERT INTO api_key (key_id, account_id, member_id, masked_key, key_hash, created_us, idempotency_key, revoked_us, revision, "
    "parent_key_id, scopes, ends_us) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
)
# A key and those above it.
_LINEAGE: Final = """
    WITH RECURSIVE above AS (
        SELECT key_id, parent_key_id, 0 AS level FROM api_key WHERE key_id = $1
        UNION ALL SELECT parent.key_id, parent.parent_key_id, level + 1
        FROM api_key AS parent JOIN above ON parent.key_id = above.parent_key_id
    )
    SELECT key_id, account_id, member_id, masked_key, key_hash, created_us, idempotency_key, revoked_us, revision,
        api_key.parent_key_id, scopes, ends_us
    FROM above JOIN api_key USING (key_id) ORDER BY level
"""
# Revokes a key and the living ones below it, numbered from the top after the newest revision; returns the numbers.
_REVOKE_FAMILY: Final = """
    WITH RECURSIVE below AS (
        SELECT key_id, revision, 0 AS level FROM api_key WHERE key_id = $1
        UNION ALL SELECT child.key_id, child.revision, level + 1
        FROM api_key AS child JOIN below ON child.parent_key_id = below.key_id
        WHERE child.ends_us > $2
    ), numbered AS (
        SELECT key_id, $3 + row_number() OVER (ORDER BY level, key_id) AS revision FROM below WHERE revision = 0
    )
    UPDATE api_key SET revoked_us = $2, revision = numbered.revision, ends_us = least(ends_us, $2)
    FROM numbered WHERE api_key.key_id = numbered.key_id
    RETURNING api_key.revision
"""
# Compared as bytes, because the database may have another order of texts than the one in which pages follow.
_ACCOUNTS: Final = (
    "SELECT member.account_id, coalesce(external_id.external_id, ''), min(created_us), count(*)"
    " FROM member LEFT JOIN external_id ON external_id.account_id = member.account_id"
    " WHERE member.account_id COLLATE \"C\" > $1 AND $2 IN ('', external_id.external_id)"
    ' GROUP BY member.account_id, external_id.external_id ORDER BY member.account_id COLLATE "C" LIMIT $3'
)
_INVITATION: Final = "SELECT code_hash, account_id, created_us, ends_us, idempotency_key, accepted_key FROM invitation"
# Minted keys forgotten with each new one, so that there are never more than are remembered.
_FORGOTTEN_AT_ONCE: Final = 2
_SUSPENSION: Final = "SELECT account_id, suspended_us, resumed_us, revision FROM suspension WHERE account_id = $1"


class PostgresqlStore:
    """See `services.authentication.store.Store`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, dsn: str, wait_s_max: float = math.inf) -> "PostgresqlStore":
        """Connects, and brings the schema up to date. Errors: those of `Pool.open`."""
        return cls(await Pool.open(dsn, "tokenline-authentication", "authentication", _MIGRATIONS, _CONNECTIONS_MAX, wait_s_max))

    async def add_member(self, member: Member) -> Member:
        return await self._pool.transaction(lambda connection: _add_member(connection, member))

    async def add_key(self, key: Key) -> Key:
        async def work(connection: Any) -> Key:
            known = await connection.fetchrow(f"{_KEY} WHERE idempotency_key = $1", key.idempotency_key)
            if known is not None:
                raise refuse_second_key(Key(*known), key)
            member_id = await connection.fetchval(
                "SELECT member_id FROM member WHERE account_id = $1 AND $2 IN ('', member_id) ORDER BY created_us, number LIMIT 1",
                key.account_id,
                key.member_id,
            )
            if member_id is None:
                raise no_member(key.account_id, key.member_id)
            issued = key._replace(member_id=member_id)
            made = await connection.fetchval(f"{_INSERT_KEY} ON CONFLICT (idempotency_key) DO NOTHING RETURNING key_id", *issued)
            if made is None:
                known = await connection.fetchrow(f"{_KEY} WHERE idempotency_key = $1", key.idempotency_key)
                raise refuse_second_key(Key(*known), key)
            return issued

        return await self._pool.transaction(work)

    async def mint_key(self, key: Key) -> Key:
        async def work(connection: Any) -> Key:
            # Wait for revocations under way: a key that is minted below a revoked one would be missed by them.
            await connection.execute("SELECT newest FROM revocation FOR UPDATE")
            if lineage := await _lineage(connection, key.key_id):
                raise refuse_second_minting(lineage[0], key)
            made = minted(key, with_revocation(await _lineage(connection, key.parent_key_id)))
            await connection.execute(_INSERT_KEY, *made)
            await connection.execute(
                "DELETE FROM api_key WHERE key_id IN "
                "(SELECT key_id FROM api_key WHERE ends_us > 0 AND ends_us < $1 ORDER BY ends_us LIMIT $2)",
                key.created_us - MINTED_MEMORY_US,
                _FORGOTTEN_AT_ONCE,
            )
            return made

        return await self._pool.transaction(work)

    async def revoke_key(self, key_id: str, now_us: int, above_key_id: str = "") -> Key:
        async def work(connection: Any) -> Key:
            newest = await connection.fetchval("SELECT newest FROM revocation FOR UPDATE")
            lineage = await _lineage(connection, key_id)
            if not lineage or (above_key_id and above_key_id not in {key.key_id for key in lineage[1:]}):
                raise no_key(key_id)
            revisions = await connection.fetch(_REVOKE_FAMILY, key_id, now_us, newest)
            if revisions:
                await connection.execute("UPDATE revocation SET newest = $1", max(row["revision"] for row in revisions))
            return (await _lineage(connection, key_id))[0]

        return await self._pool.transaction(work)

    async def list_keys(self, account_id: str, minted_max: int = MINTED_LISTED) -> list[Key]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(_LISTED, account_id, minted_max)
        return [Key(*row) for row in rows]

    async def list_members(self, account_id: str) -> list[Member]:
        async with self._pool.connection() as connection:
            rows = await connection.fetch(f"{_MEMBER} WHERE account_id = $1 ORDER BY created_us, number", account_id)
        return [Member(*row) for row in rows]

    async def list_accounts(self, after_account_id: str, external_id: str, most: int) -> list[NamedAccount]:
        async with self._pool.connection() as connection:
            return [NamedAccount(*row) for row in await connection.fetch(_ACCOUNTS, after_account_id, external_id, most)]

    async def name_account(self, account_id: str, external_id: str) -> None:
        async def work(connection: Any) -> None:
            await _expect_member(connection, account_id)
            # One at a time, or two at once could each take what the other one has not committed yet.
            await connection.execute("LOCK TABLE external_id IN EXCLUSIVE MODE")
            known = await connection.fetchval("SELECT account_id FROM external_id WHERE external_id = $1", external_id)
            if known not in (None, account_id):
                raise refuse_external_id(external_id, known)
            await connection.execute(
                "INSERT INTO external_id VALUES ($1, $2) ON CONFLICT (account_id) DO UPDATE SET external_id = $2",
                account_id,
                external_id,
            )

        await self._pool.transaction(work)

    async def add_invitation(self, invitation: Invitation) -> None:
        async def work(connection: Any) -> None:
            await _expect_member(connection, invitation.account_id)
            added = await connection.fetchval(
                "INSERT INTO invitation VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (idempotency_key) DO NOTHING RETURNING 1",
                *invitation,
            )
            if added is None:
                raise refuse_second_invitation(invitation.idempotency_key)

        await self._pool.transaction(work)

    async def accept_invitation(self, code_hash: bytes, member: Member) -> Member:
        async def work(connection: Any) -> Member:
            # The second of two at once waits here for the first one's commit, and sees that the code was used.
            row = await connection.fetchrow(f"{_INVITATION} WHERE code_hash = $1 FOR UPDATE", code_hash)
            made = await _add_member(connection, invited(Invitation(*row) if row else None, member))
            await connection.execute(
                "UPDATE invitation SET accepted_key = $2 WHERE code_hash = $1", code_hash, member.idempotency_key
            )
            return made

        return await self._pool.transaction(work)

    async def entitle(self, wanted: Entitlement, now_us: int, over: Collection[tuple[str, int]]) -> Entitling:
        async def work(connection: Any) -> Entitling:
            await _expect_member(connection, wanted.account_id)
            # One at a time: of two at once neither sees what the other one has not committed yet.
            await connection.execute("LOCK TABLE entitlement IN EXCLUSIVE MODE")
            met = "FROM entitlement WHERE offering_id = $1 AND (identity_hash = $2 OR account_id = $3)"
            rows = await connection.fetch(f"SELECT offering_id, identity_hash, account_id, until_us, orders {met}", *wanted[:3])
            outcome = entitling([Entitlement(*row) for row in rows], wanted, now_us, over)
            if outcome.made is not None:
                await connection.execute(f"DELETE {met}", *wanted[:3])
                await connection.execute("INSERT INTO entitlement VALUES ($1, $2, $3, $4, $5)", *outcome.made)
            return outcome

        return await self._pool.transaction(work)

    async def end_entitlement(self, account_id: str, offering_id: str, until_us: int, now_us: int) -> None:
        if until_us <= now_us:
            return
        async with self._pool.connection() as connection:
            await connection.execute(
                "UPDATE entitlement SET orders = orders - 1 WHERE offering_id = $1 AND account_id = $2 AND orders > 0",
                offering_id,
                account_id,
            )

    async def free(self, offering_id: str, identity_hash: bytes, over: tuple[str, int] | None, now_us: int) -> Entitlement | None:
        async def work(connection: Any) -> Entitlement | None:
            await connection.execute("LOCK TABLE entitlement IN EXCLUSIVE MODE")
            whose = "FROM entitlement WHERE offering_id = $1 AND identity_hash = $2"
            query = f"SELECT offering_id, identity_hash, account_id, until_us, orders {whose}"
            row = await connection.fetchrow(query, offering_id, identity_hash)
            found = None if row is None else Entitlement(*row)
            if found is not None and found.may_go(over, now_us):
                await connection.execute(f"DELETE {whose}", offering_id, identity_hash)
            return found

        return await self._pool.transaction(work)

    async def find_key(self, key_hash: bytes) -> Key | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(f"{_KEY} WHERE key_hash = $1", key_hash)
            if row is None or not row["parent_key_id"]:
                return None if row is None else Key(*row)
            return with_revocation(await _lineage(connection, row["key_id"]))

    async def suspend_account(self, account_id: str, now_us: int) -> Suspension:
        async def work(connection: Any) -> Suspension:
            # The second of two at once waits here for the first one's commit, and finds its row.
            newest = await connection.fetchval("SELECT newest FROM revocation FOR UPDATE")
            await _expect_member(connection, account_id)
            row = await connection.fetchrow(_SUSPENSION, account_id)
            if row is not None and not row["resumed_us"]:
                return Suspension(*row)
            suspension = Suspension(account_id, now_us, 0, newest + 1)
            await connection.execute("UPDATE revocation SET newest = $1", suspension.revision)
            await connection.execute(
                "INSERT INTO suspension (account_id, suspended_us, resumed_us, revision) VALUES ($1, $2, $3, $4) "
                "ON CONFLICT (account_id) DO UPDATE SET suspended_us = $2, resumed_us = $3, revision = $4",
                *suspension,
            )
            return suspension

        return await self._pool.transaction(work)

    async def resume_account(self, account_id: str, now_us: int) -> Suspension | None:
        async def work(connection: Any) -> Suspension | None:
            await _expect_member(connection, account_id)
            await connection.execute(
                "UPDATE suspension SET resumed_us = $2 WHERE account_id = $1 AND resumed_us = 0", account_id, now_us
            )
            row = await connection.fetchrow(_SUSPENSION, account_id)
            return None if row is None else Suspension(*row)

        return await self._pool.transaction(work)

    async def find_suspension(self, account_id: str) -> Suspension | None:
        async with self._pool.connection() as connection:
            row = await connection.fetchrow(_SUSPENSION, account_id)
        return None if row is None else Suspension(*row)

    async def revocations(self, after_revision: int) -> Revocations:
        async with self._pool.connection() as connection:
            # One statement sees one state.
            rows = await connection.fetch(
                "SELECT newest, key_id, account_id, suspended_us, resumed_us, revision FROM revocation LEFT JOIN ("
                "SELECT key_id, account_id, 0 AS suspended_us, 0 AS resumed_us, revision FROM api_key "
                "UNION ALL SELECT NULL, account_id, suspended_us, resumed_us, revision FROM suspension"
                ") AS told ON revision > greatest($1, 0) ORDER BY revision",
                after_revision,
            )
        told = [row for row in rows if row["revision"] is not None]
        return Revocations(
            rows[0]["newest"],
            [row["key_id"] for row in told if row["key_id"] is not None],
            [Suspension(*row[2:]) for row in told if row["key_id"] is None],
        )

    async def close(self) -> None:
        await self._pool.close()


async def _add_member(connection: Any, member: Member) -> Member:
    # The second of two at once waits here for the first one's commit, and finds its row.
    await connection.execute(
        "INSERT INTO member (member_id, account_id, display_name, created_us, idempotency_key) "
        "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (idempotency_key) DO NOTHING",
        *member,
    )
    row = await connection.fetchrow(f"{_MEMBER} WHERE idempotency_key = $1", member.idempotency_key)
    return same_member(Member(*row), member)


async def _lineage(connection: Any, key_id: str) -> list[Key]:
    """A key and those above it, its own first; empty where there is no such key."""
    return [Key(*row) for row in await connection.fetch(_LINEAGE, key_id)]


async def _expect_member(connection: Any, account_id: str) -> None:
    if await connection.fetchval("SELECT true FROM member WHERE account_id = $1 LIMIT 1", account_id) is None:
        raise no_member(account_id)
