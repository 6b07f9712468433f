"""What only PostgreSQL can do wrong, on a real server."""

import asyncio

import asyncpg
import pytest

from services.accounting.postgresql_store import PostgresqlStore
from services.cli.postgresql_server import PostgresqlServer
from services.runtime.clock import SystemClock
from services.runtime.errors import SchemaError, ServiceError
from tests.accounting.claims import claim
from tests.stores.test_accounting_stores import check, checkpoint, row
from tokenline.errors.v1 import errors_pb2


class SkewedClock:
    """A clock that is wrong."""

    def __init__(self, off_us: int) -> None:
        self._off_us = off_us

    def now_us(self) -> int:
        return SystemClock().now_us() + self._off_us


async def opened(dsn: str) -> PostgresqlStore:
    store = await PostgresqlStore.open(dsn, SystemClock())
    await store.initialise(3)
    return store


async def test_a_cut_connection_is_of_unknown_outcome_and_the_next_claim_connects_again(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    store = await opened(dsn)
    await claim(store, "one", again=False)
    assert await store.commit([row(0, 1)]) == {0}
    database = dsn.split("/")[3].split("?")[0]
    postgresql.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    with pytest.raises(ServiceError) as raised:
        await store.commit([row(0, 2)])
    assert raised.value.reason == errors_pb2.ERROR_REASON_STORE_UNAVAILABLE
    (claimed, *_) = await claim(store, "one", again=True, part_ids=range(3))
    assert (claimed.epoch, claimed.next_seq) == (2, 2)
    assert await store.commit([row(0, 2, epoch=2)]) == {0}
    assert [each.seq for each in await store.read_rows(0, 0, 10)] == [1, 2]
    await store.close()


async def test_a_server_that_goes_down_and_comes_back_has_all_that_was_committed(postgresql: PostgresqlServer) -> None:
    with PostgresqlServer() as server:
        store = await opened(server.new_database())
        await claim(store, "one", again=False)
        assert await store.commit([row(0, 1, checkpoint(1)), row(1, 1)]) == {0, 1}
        await asyncio.to_thread(server.stop)
        for attempt in (
            store.commit([row(0, 2)]),
            claim(store, "one", again=True),
            store.read_rows(0, 0, 1),
            store.due_accounts([0], 0, None, 1),
        ):
            with pytest.raises(ServiceError) as raised:
                await attempt
            assert raised.value.reason == errors_pb2.ERROR_REASON_STORE_UNAVAILABLE
        await asyncio.to_thread(server.start)
        assert [each.next_seq for each in await claim(store, "one", again=True)] == [2, 2, 1]
        assert [each.seq for each in await store.read_rows(0, 0, 10)] == [1]
        assert list(await store.load_checkpoints(0, ["acct-00000001"])) == ["acct-00000001"]
        await store.close()


async def test_of_two_that_claim_at_once_the_later_one_writes(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    first, second = await opened(dsn), await opened(dsn)
    claims = await asyncio.gather(claim(first, "one", again=False), claim(second, "two", again=False))
    epochs = [claimed[0].epoch for claimed in claims]
    assert sorted(epochs) == [1, 2]
    held = [
        await store.commit([row(0, 1, epoch=epoch)])
        for store, epoch in sorted(zip((first, second), epochs, strict=True), key=lambda e: e[1])
    ]
    assert held == [set(), {0}]
    await first.close()
    await second.close()


async def test_many_open_an_empty_database_at_once(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    stores = await asyncio.gather(*(opened(dsn) for _ in range(5)))
    assert len({await store.initialise(3) for store in stores}) == 1
    for store in stores:
        await store.close()


@pytest.mark.parametrize("off_us", [-3_000_000, 3_000_000])
async def test_a_clock_that_is_off_may_not_claim(postgresql: PostgresqlServer, off_us: int) -> None:
    store = await PostgresqlStore.open(postgresql.new_database(), SkewedClock(off_us))
    await store.initialise(3)
    with pytest.raises(ServiceError, match=r"[+-][23]\.[0-9] s from the database\'s; let both follow"):
        await claim(store, "one", again=False)
    assert [each.epoch for each in await store.partitions()] == [0, 0, 0]
    await store.close()


async def test_a_server_that_loses_commits_is_refused(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    database = dsn.split("/")[3].split("?")[0]
    postgresql.psql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    with pytest.raises(SchemaError, match="set synchronous_commit = on"):
        await PostgresqlStore.open(dsn, SystemClock())


async def test_a_newer_schema_is_refused(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    await (await opened(dsn)).close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO schema_version VALUES (99)")
    await connection.close()
    with pytest.raises(SchemaError, match="schema version 99"):
        await PostgresqlStore.open(dsn, SystemClock())


async def test_a_database_that_is_not_there_is_unavailable(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database().replace("tokenline_", "no_such_")
    with pytest.raises(ServiceError, match="no_such_"):
        await PostgresqlStore.open(dsn, SystemClock())


async def test_a_commit_without_a_row_leaves_its_partition_untouched(postgresql: PostgresqlServer) -> None:
    """Reads are answered after a check of the fence; that must not cost the database a write."""

    dsn = postgresql.new_database()
    store = await opened(dsn)
    await claim(store, "one", again=False)
    connection = await asyncpg.connect(dsn)
    before = await connection.fetch("SELECT part_id, xmin, ctid FROM partition ORDER BY part_id")
    assert await store.commit([check(0, 1), check(1, 7), check(2, 1)]) == {0, 2}
    assert await connection.fetch("SELECT part_id, xmin, ctid FROM partition ORDER BY part_id") == before
    await connection.close()
    await store.close()
