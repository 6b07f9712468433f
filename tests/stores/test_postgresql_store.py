"""What only PostgreSQL can do wrong, on a real server."""

import asyncio
import socket
import sys

import asyncpg
import pytest

from services.accounting.journal.postgresql import _MIGRATIONS, PostgresqlStore
from services.authentication.postgresql_store import PostgresqlStore as AuthenticationStore
from services.authentication.store import Key, Member
from services.billing.cdr_file import Rows
from services.billing.postgresql_store import PostgresqlStore as BillingStore
from services.billing.store import CursorMovedError, first_cursor
from services.cli.postgresql_server import PostgresqlServer
from services.cli.processes import free_ports
from services.runtime.clock import SystemClock
from services.runtime.errors import SchemaError, ServiceError
from services.runtime.postgresql import let_read_and_write
from tests.accounting.claims import claim
from tests.stores.test_accounting_stores import check, checkpoint, row
from tests.waiting import WAIT_S, until
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


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
async def test_a_server_that_loses_commits_with_its_power_is_refused(postgresql: PostgresqlServer, setting: str) -> None:
    dsn = postgresql.new_database()

    async def set_to(value: str, command: str) -> None:
        postgresql.psql(f"ALTER SYSTEM {command}")
        postgresql.psql("SELECT pg_reload_conf()")
        await until(lambda: postgresql.psql(f"SHOW {setting}").splitlines()[2].strip() == value)

    await set_to("off", f"SET {setting} = off")
    try:
        for kind in (AuthenticationStore, BillingStore):
            with pytest.raises(SchemaError, match=f"runs with {setting} = off, so that committed data can be lost"):
                await kind.open(dsn)
        with pytest.raises(SchemaError, match=f"set {setting} = on"):
            await PostgresqlStore.open(dsn, SystemClock())
    finally:
        await set_to("on", f"RESET {setting}")
    await (await opened(dsn)).close()


async def test_a_commit_waits_for_the_disk_whatever_its_database_says_meanwhile(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    store = await opened(dsn)
    await claim(store, "one", again=False)
    database = dsn.split("/")[3].split("?")[0]
    connection = await asyncpg.connect(dsn)
    # Each commit moves its partition: what it does so with is noted.
    await connection.execute(
        """
        CREATE TABLE accounting.seen (setting text);
        CREATE FUNCTION accounting.see() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO accounting.seen VALUES (current_setting('synchronous_commit')); RETURN NEW; END $$;
        CREATE TRIGGER see AFTER UPDATE ON accounting.partition FOR EACH ROW EXECUTE FUNCTION accounting.see();
        """
    )
    postgresql.psql(f"ALTER DATABASE {database} SET synchronous_commit = off")
    # The first commit connects anew.
    assert await store.commit([row(0, 1)]) == {0}
    assert [each[0] for each in await connection.fetch("SELECT setting FROM accounting.seen")] == ["on"]
    await connection.close()
    await store.close()


async def test_all_tables_survive_a_crash_of_their_server(postgresql: PostgresqlServer) -> None:
    """What is unlogged or temporary is empty after one."""
    dsn = postgresql.new_database()
    stores = (await opened(dsn), await AuthenticationStore.open(dsn), await BillingStore.open(dsn))
    connection = await asyncpg.connect(dsn)
    tables = await connection.fetch(
        "SELECT nspname, relname, relpersistence FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE nspname IN ('accounting', 'authentication', 'billing') AND relkind IN ('r', 'S')"
    )
    await connection.close()
    for store in stores:
        await store.close()
    assert {"cell", "partition", "journal", "checkpoint", "cursor", "cdr_file", "cdr_index"} <= {each["relname"] for each in tables}
    assert [(each["nspname"], each["relname"]) for each in tables if each["relpersistence"] != b"p"] == []


async def test_an_older_schema_is_brought_up_to_date_with_what_is_in_it(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "accounting"})
    await connection.execute("CREATE SCHEMA accounting")
    await connection.execute("CREATE TABLE schema_version (version integer NOT NULL)")
    await connection.execute(_MIGRATIONS[0])
    await connection.execute("INSERT INTO schema_version VALUES (1)")
    await connection.execute("INSERT INTO partition SELECT part_id, 4, 'old', 3, 1, 77 FROM generate_series(0, 2) AS part_id")
    await connection.execute("INSERT INTO journal SELECT 1, seq, 4, 1, 'x' FROM generate_series(1, 2) AS seq")
    await connection.close()
    store = await opened(dsn)
    claimed = await claim(store, "new", again=False, part_ids=range(3))
    assert [(each.epoch, each.next_seq, each.last_time_us) for each in claimed] == [(5, 3, 77)] * 3
    assert [each.seq for each in await store.read_rows(1, 0, 10)] == [1, 2]
    await store.close()


async def test_a_newer_schema_is_refused(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    await (await opened(dsn)).close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO accounting.schema_version VALUES (99)")
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
    before = await connection.fetch("SELECT part_id, xmin, ctid FROM accounting.partition ORDER BY part_id")
    assert await store.commit([check(0, 1), check(1, 7), check(2, 1)]) == {0, 2}
    assert await connection.fetch("SELECT part_id, xmin, ctid FROM accounting.partition ORDER BY part_id") == before
    await connection.close()
    await store.close()


async def test_two_exporters_never_both_move_a_cursor(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    stores = [await BillingStore.open(dsn) for _ in range(2)]

    async def export(store: BillingStore) -> int:
        advanced = 0
        cursor = first_cursor(3, 1)
        while cursor.exported_seq < 60:
            try:
                cursor = await store.advance(cursor, cursor.exported_seq + 1, None, Rows(0, [], [], []))
                advanced += 1
            except CursorMovedError:
                cursor = (await store.cursors())[3]
        return advanced

    assert sum(await asyncio.gather(*map(export, stores))) == 60
    assert (await stores[0].cursors())[3].exported_seq == 60
    for store in stores:
        await store.close()


async def test_revocations_become_visible_in_their_order(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    stores = [await AuthenticationStore.open(dsn) for _ in range(3)]
    await stores[0].add_member(Member("mem-1", "acct-1", "", 1, "m"))
    for number in range(60):
        await stores[0].add_key(Key(f"key-{number}", "acct-1", "", "tl-…", b"%d" % number, 1, f"k-{number}"))
    seen: list[str] = []

    async def read() -> None:
        newest = 0
        while len(seen) < 60:
            newest, key_ids, _ = await stores[2].revocations(newest)
            seen.extend(key_ids)

    async def revoke(store: AuthenticationStore, first: int) -> None:
        for number in range(first, 60, 2):
            await store.revoke_key(f"key-{number}", 5)

    async with asyncio.timeout(WAIT_S):
        await asyncio.gather(read(), revoke(stores[0], 0), revoke(stores[1], 1))
    assert sorted(seen) == sorted(f"key-{number}" for number in range(60))
    assert await stores[0].revocations(0) == (60, seen, [])
    for store in stores:
        await store.close()


async def test_an_account_suspended_from_two_replicas_is_suspended_once(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    stores = [await AuthenticationStore.open(dsn) for _ in range(2)]
    await stores[0].add_member(Member("mem-1", "acct-1", "", 1, "m"))
    for number in range(20):
        both = await asyncio.gather(*(store.suspend_account("acct-1", 2 + number) for store in stores))
        assert both[0] == both[1]
        assert both[0].revision == number + 1
        over = await asyncio.gather(*(store.resume_account("acct-1", 100 + number + index) for index, store in enumerate(stores)))
        assert over[0] == over[1]
    assert (await stores[0].revocations(0)).revision == 20
    for store in stores:
        await store.close()


async def test_the_services_share_a_database(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    accounting, authentication, billing = await asyncio.gather(
        PostgresqlStore.open(dsn, SystemClock()), AuthenticationStore.open(dsn), BillingStore.open(dsn)
    )
    await accounting.initialise(3)
    assert await authentication.revocations(0) == (0, [], [])
    assert await billing.cursors() == {}
    await accounting.close()
    await authentication.close()
    await billing.close()


async def test_a_store_goes_on_after_its_connections_were_cut(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    store = await AuthenticationStore.open(dsn)
    await store.add_member(Member("mem-1", "acct-1", "", 1, "m"))
    database = dsn.split("/")[3].split("?")[0]
    postgresql.psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    answers = []
    for _ in range(10):
        try:
            answers.append(await store.add_member(Member("mem-1", "acct-1", "", 1, "m")))
        except ServiceError as error:
            assert error.reason == errors_pb2.ERROR_REASON_STORE_UNAVAILABLE
    assert answers
    await store.close()


async def test_a_user_without_rights_is_told_what_it_needs(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    database = dsn.split("/")[3].split("?")[0]
    postgresql.psql("DROP ROLE IF EXISTS visitor")
    postgresql.psql("CREATE ROLE visitor LOGIN")
    with pytest.raises(ServiceError, match="the user needs CREATE on the database, or a schema of the service's name that it owns"):
        await BillingStore.open(dsn.replace("postgres:@", "visitor@"))
    postgresql.psql(f"GRANT CREATE ON DATABASE {database} TO visitor")
    await (await BillingStore.open(dsn.replace("postgres:@", "visitor@"))).close()


async def test_where_all_is_made_a_user_who_may_only_read_and_write_is_enough(postgresql: PostgresqlServer) -> None:
    dsn = postgresql.new_database()
    postgresql.psql("DROP ROLE IF EXISTS clerk")
    postgresql.psql("CREATE ROLE clerk LOGIN")
    await (await opened(dsn)).close()
    await let_read_and_write(dsn, "accounting", "clerk")
    store = await opened(dsn.replace("postgres:@", "clerk@"))
    await claim(store, "one", again=False)
    assert await store.commit([row(0, 1, checkpoint(1))]) == {0}
    await store.close()
    connection = await asyncpg.connect(dsn)
    await connection.execute("DROP OWNED BY clerk")
    await connection.close()


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [("sslmode=require", "rejected SSL upgrade"), ("sslmode=verify-full&sslrootcert=/nowhere/ca.crt", "No such file")],
)
async def test_a_server_that_is_asked_in_the_wrong_way_is_not_waited_for(
    postgresql: PostgresqlServer, parameters: str, complaint: str
) -> None:
    location, _, host = postgresql.new_database().partition("?host=")
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "tests.faults.proxy", str(port), f"{host}/.s.PGSQL.5432"]
    relay = await asyncio.create_subprocess_exec(*command)
    try:
        await until(lambda: is_listening(port))
        with pytest.raises(ServiceError, match=f"{complaint}.*; check sslmode and sslrootcert in the URL"):
            await BillingStore.open(f"postgresql://postgres@127.0.0.1:{port}/{location.rpartition('/')[2]}?{parameters}", 30)
    finally:
        relay.kill()
        await relay.wait()


def is_listening(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


async def test_who_takes_connections_and_hangs_up_is_waited_for() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as balancer:
        port = balancer.sockets[0].getsockname()[1]
        with pytest.raises(ServiceError, match=r"cannot be reached: .* given up"):
            await BillingStore.open(f"postgresql://nobody@127.0.0.1:{port}/nothing?sslmode=disable", 0.1)


async def test_a_server_that_is_away_is_given_up_after_a_while() -> None:
    with pytest.raises(ServiceError, match=r"cannot be reached: .*; check its address, and that it runs; given up after 0\.1 s"):
        await BillingStore.open("postgresql://nobody@127.0.0.1:1/nothing", 0.1)
