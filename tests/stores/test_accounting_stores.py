"""What every accounting store must do: one suite over all of them."""

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.accounting.journal import sqlite as sqlite_journal
from services.accounting.journal.memory import MemoryStore
from services.accounting.journal.postgresql import PostgresqlStore
from services.accounting.journal.sqlite import MIGRATIONS, SqliteStore
from services.accounting.journal.store import (
    Checkpoint,
    ClaimedPartition,
    DueAccount,
    EraMismatchError,
    JournalRow,
    PartitionWrite,
    Snapshot,
    Store,
)
from services.runtime.clock import SystemClock
from services.runtime.errors import SchemaError, ServiceError
from services.runtime.sqlite import Database
from tests.accounting.claims import claim
from tests.waiting import WAIT_S
from tokenline.errors.v1 import errors_pb2

PARTITIONS = 3


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store
    if request.param == "memory":
        store = MemoryStore()
    elif request.param == "sqlite":
        store = await SqliteStore.open(tmp_path / "accounting.db")
    else:
        store = await PostgresqlStore.open(request.getfixturevalue("postgresql").new_database(), SystemClock())
    await store.initialise(PARTITIONS)
    yield store
    await store.close()


def row(part_id: int, seq: int, *checkpoints: Checkpoint, epoch: int = 1, low_water: int | None = None) -> PartitionWrite:
    """A commit of one row, whose body names it."""
    low_water = seq if low_water is None else low_water
    return PartitionWrite(part_id, epoch, seq, 1_000 + seq, 2, b"row %d/%d" % (part_id, seq), low_water, checkpoints)


def check(part_id: int, next_seq: int, *checkpoints: Checkpoint, epoch: int = 1, low_water: int | None = None) -> PartitionWrite:
    """A commit without a row."""
    low_water = next_seq if low_water is None else low_water
    return PartitionWrite(part_id, epoch, next_seq, 5_000, 0, None, low_water, checkpoints)


def checkpoint(account: int, seq: int = 1, next_due_us: int | None = None, body: bytes = b"state") -> Checkpoint:
    return Checkpoint(f"acct-{account:08}", seq, 4, next_due_us, body)


EVERY_PARTITION = tuple(range(PARTITIONS))


async def due_of(store: Store, until_us: int, after: DueAccount | None, limit: int) -> list[DueAccount]:
    return await store.due_accounts(EVERY_PARTITION, until_us, after, limit)


async def contents(store: Store) -> dict[int, tuple[ClaimedPartition, list[JournalRow], list[Checkpoint]]]:
    """All that is in the store."""

    def work(snapshot: Snapshot) -> dict[int, tuple[ClaimedPartition, list[JournalRow], list[Checkpoint]]]:
        return {
            each.part_id: (each, list(snapshot.rows(each.part_id, 0)), list(snapshot.checkpoints(each.part_id)))
            for each in snapshot.partitions()
        }

    return await store.snapshot(work)


async def test_a_new_store_has_its_partitions_and_nothing_in_them(store: Store) -> None:
    assert await store.partitions() == [ClaimedPartition(part_id, 0, 1, 1, 0) for part_id in range(PARTITIONS)]
    assert await store.read_rows(0, 0, 10) == []
    assert await store.load_checkpoints(0, ["acct-00000000"]) == {}
    assert await due_of(store, 2**62, None, 10) == []
    # Initialising again changes nothing.
    assert (await store.initialise(PARTITIONS)).era == 1
    assert len(await store.partitions()) == PARTITIONS


@pytest.mark.parametrize("partitions", [1, 2, 4, 64])
async def test_the_number_of_partitions_is_fixed(store: Store, partitions: int) -> None:
    with pytest.raises(ServiceError, match="the store has 3 partitions") as raised:
        await store.initialise(partitions)
    assert raised.value.reason == errors_pb2.ERROR_REASON_INVALID_ARGUMENT
    assert len(await store.partitions()) == PARTITIONS


async def test_a_commit_appends_a_row_to_each_partition(store: Store) -> None:
    assert [each.epoch for each in await claim(store, "own-a", again=False)] == [1, 1, 1]
    assert await store.commit([row(0, 1), row(2, 1)]) == {0, 2}
    assert await store.commit([row(2, 2, low_water=1)]) == {2}
    assert await store.read_rows(2, 0, 10) == [JournalRow(2, 1, 1, 2, b"row 2/1"), JournalRow(2, 2, 1, 2, b"row 2/2")]
    assert await store.partitions() == [
        ClaimedPartition(0, 1, 2, 1, 1_001),
        ClaimedPartition(1, 1, 1, 1, 0),
        ClaimedPartition(2, 1, 3, 1, 1_002),
    ]


async def test_rows_are_read_in_order_behind_a_number(store: Store) -> None:
    await claim(store, "own-a", again=False)
    for seq in range(1, 13):
        await store.commit([row(1, seq)])
    assert [each.seq for each in await store.read_rows(1, 0, 100)] == list(range(1, 13))
    assert [each.seq for each in await store.read_rows(1, 4, 3)] == [5, 6, 7]
    assert [each.seq for each in await store.read_rows(1, 10, 3)] == [11, 12]
    assert await store.read_rows(1, 12, 3) == []
    assert await store.read_rows(1, 99, 3) == []
    assert await store.read_rows(0, 0, 3) == []


Stale = Callable[[], PartitionWrite]


@pytest.mark.parametrize(
    "stale",
    [
        row(1, 2, checkpoint(1), epoch=0),
        row(1, 2, checkpoint(1), epoch=2),
        row(1, 1, checkpoint(1)),
        row(1, 3, checkpoint(1)),
        check(1, 2, checkpoint(1), epoch=0),
        check(1, 1, checkpoint(1)),
        check(1, 3, checkpoint(1)),
    ],
    ids=[
        "row of an old epoch",
        "row of a later epoch",
        "row before",
        "row ahead",
        "check of an old epoch",
        "check before",
        "check ahead",
    ],
)
async def test_a_stale_write_has_no_effect_and_the_others_of_its_commit_have_theirs(store: Store, stale: PartitionWrite) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(1, 1, low_water=1)])
    before = await contents(store)
    assert await store.commit([row(0, 1, checkpoint(7)), stale, row(2, 1)]) == {0, 2}
    after = await contents(store)
    assert after[1] == before[1]
    for part_id in (0, 2):
        assert [each.seq for each in after[part_id][1]] == [1]
    assert after[0][2] == [checkpoint(7)]
    # Alone it has none either.
    assert await store.commit([stale]) == set()
    assert await contents(store) == after


@pytest.mark.parametrize(("next_seq", "epoch", "held"), [(2, 1, {1}), (2, 0, set()), (2, 2, set()), (1, 1, set()), (3, 1, set())])
async def test_a_commit_without_anything_to_write_checks_the_fence(store: Store, next_seq: int, epoch: int, held: set[int]) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(1, 1)])
    before = await contents(store)
    assert await store.commit([check(1, next_seq, epoch=epoch)]) == held
    assert await store.commit([check(1, next_seq, epoch=epoch), check(0, 1)]) == held | {0}
    assert [each[1:] for each in (await contents(store)).values()] == [each[1:] for each in before.values()]


async def test_checkpoints_are_replaced(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit(
        [row(0, 1, checkpoint(1, 1, 50, b"old"), checkpoint(2, 1, 60), low_water=2), row(1, 1, checkpoint(1, 1, 70))]
    )
    await store.commit([check(0, 2, checkpoint(1, 9, None, b"new"))])
    wanted = ["acct-00000001", "acct-00000002", "acct-00000003"]
    assert await store.load_checkpoints(0, wanted) == {
        "acct-00000001": checkpoint(1, 9, None, b"new"),
        "acct-00000002": checkpoint(2, 1, 60),
    }
    assert await store.load_checkpoints(0, iter(wanted[1:2])) == {"acct-00000002": checkpoint(2, 1, 60)}
    assert await store.load_checkpoints(1, wanted) == {"acct-00000001": checkpoint(1, 1, 70)}
    assert await store.load_checkpoints(2, wanted) == {}
    # What is not due any more is not found by its old time.
    assert await due_of(store, 100, None, 10) == [(60, 0, "acct-00000002"), (70, 1, "acct-00000001")]


async def test_a_commit_moves_the_low_water_mark(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(0, 1, low_water=1)])
    await store.commit([row(0, 2, low_water=1), row(1, 1, low_water=1)])
    assert [each.low_water for each in await store.partitions()] == [1, 1, 1]
    await store.commit([check(0, 3, checkpoint(1), low_water=2)])
    assert [each.low_water for each in await store.partitions()] == [2, 1, 1]
    await store.commit([row(0, 3, checkpoint(1), low_water=4)])
    assert [each.low_water for each in await store.partitions()] == [4, 1, 1]
    assert (await claim(store, "own-b", again=False))[0] == ClaimedPartition(0, 2, 4, 4, 1_003)


async def test_due_accounts_come_earliest_first_over_all_partitions(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit(
        [
            check(0, 1, checkpoint(1, 1, 300), checkpoint(2, 1, 100), checkpoint(3, 1, None)),
            check(2, 1, checkpoint(4, 1, 200), checkpoint(5, 1, 301)),
        ]
    )
    due = [DueAccount(100, 0, "acct-00000002"), DueAccount(200, 2, "acct-00000004"), DueAccount(300, 0, "acct-00000001")]
    assert await due_of(store, 300, None, 10) == due
    assert await due_of(store, 300, None, 2) == due[:2]
    assert await due_of(store, 300, due[0], 10) == due[1:]
    assert await due_of(store, 300, due[2], 10) == []
    assert await due_of(store, 99, None, 10) == []
    assert await due_of(store, 100, None, 10) == due[:1]


async def test_many_accounts_that_are_due_at_once_come_page_by_page(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([check(part_id, 1, *(checkpoint(number, 1, 100) for number in range(5))) for part_id in range(2)])
    found: list[DueAccount] = []
    while page := await due_of(store, 100, found[-1] if found else None, 3):
        found += page
    assert [(each.part_id, each.account_id) for each in found] == [
        (part_id, f"acct-{number:08}") for part_id in range(2) for number in range(5)
    ]


# The claim


async def test_a_claim_fences_off_the_owner_before(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(0, 1)])
    claimed = await claim(store, "own-b", again=False)
    assert claimed == [ClaimedPartition(0, 2, 2, 1, 1_001), ClaimedPartition(1, 2, 1, 1, 0), ClaimedPartition(2, 2, 1, 1, 0)]
    assert await store.commit([row(0, 2), row(1, 1)]) == set()
    assert await store.commit([check(0, 2)]) == set()
    assert await store.commit([row(0, 2, epoch=2)]) == {0}


async def test_an_owner_can_claim_again_only_what_is_still_its_own(store: Store) -> None:
    await claim(store, "own-a", again=False)
    assert [each.epoch for each in await claim(store, "own-a", again=True)] == [2, 2, 2]
    # Its own writes of the epoch before are fenced off too: their outcome was unknown, and stays nothing.
    assert await store.commit([row(0, 1, epoch=1)]) == set()
    await claim(store, "own-b", again=False)
    assert await claim(store, "own-a", again=True) == []
    assert [each.epoch for each in await store.partitions()] == [3, 3, 3]
    assert await store.commit([row(0, 1, epoch=3)]) == {0}
    # A start is another thing: it takes them from whoever has them.
    assert [each.epoch for each in await claim(store, "own-a", again=False)] == [4, 4, 4]


async def test_a_claim_keeps_journal_and_checkpoints(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(0, 1, checkpoint(1), low_water=2)])
    before = await contents(store)
    await claim(store, "own-b", again=False)
    after = await contents(store)
    assert [each[1:] for each in after.values()] == [each[1:] for each in before.values()]


# Snapshots


async def test_a_snapshot_is_the_whole_store_in_order(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(0, 1, checkpoint(3), checkpoint(1)), row(2, 1)])
    await store.commit([row(0, 2)])
    found = await contents(store)
    assert [each[0] for each in found.values()] == await store.partitions()
    assert [each.seq for each in found[0][1]] == [1, 2]
    assert found[0][2] == [checkpoint(1), checkpoint(3)]
    assert await store.snapshot(lambda snapshot: [each.seq for each in snapshot.rows(0, 1)]) == [2]


async def test_an_error_inside_a_snapshot_comes_out_of_it(store: Store) -> None:
    def work(snapshot: Snapshot) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await store.snapshot(work)
    assert len(await store.partitions()) == PARTITIONS


@pytest.mark.parametrize("store", ["sqlite", "postgresql"], indirect=True)
async def test_commits_go_on_beside_a_snapshot_that_sees_one_state(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([row(0, 1, checkpoint(1, 1, None, b"old"))])
    loop, begun, finish = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def work(snapshot: Snapshot) -> tuple[list[int], list[int], list[bytes]]:
        first = [each.next_seq for each in snapshot.partitions()]
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(finish.wait(), loop).result(10)
        return (
            first,
            [each.seq for part_id in range(PARTITIONS) for each in snapshot.rows(part_id, 0)],
            [each.body for each in snapshot.checkpoints(0)],
        )

    reading = asyncio.create_task(store.snapshot(work))
    await asyncio.wait_for(begun.wait(), WAIT_S)
    # Neither commits nor the loading of accounts wait for it.
    for seq in range(2, 6):
        assert await store.commit([row(0, seq, checkpoint(1, seq, None, b"new")), row(1, seq - 1)]) == {0, 1}
    assert len(await store.load_checkpoints(0, ["acct-00000001"])) == 1
    finish.set()
    assert await reading == ([2, 1, 1], [1], [b"old"])
    assert await store.snapshot(lambda snapshot: len(list(snapshot.rows(0, 0)))) == 5


# The SQLite file


async def test_sqlite_keeps_everything_over_a_restart(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "accounting.db")
    await store.initialise(PARTITIONS)
    await claim(store, "own-a", again=False)
    await store.commit([row(0, 1, checkpoint(1, 1, 77), low_water=2), row(2, 1)])
    before = await contents(store)
    await store.close()
    store = await SqliteStore.open(tmp_path / "accounting.db")
    assert (await store.initialise(PARTITIONS)).era == 1
    assert await contents(store) == before
    assert await due_of(store, 100, None, 10) == [(77, 0, "acct-00000001")]
    with pytest.raises(ServiceError, match="set partitions to 3"):
        await store.initialise(PARTITIONS + 1)
    # The incarnation is kept too: another one's `again` gets nothing.
    assert await claim(store, "own-b", again=True) == []
    assert len(await claim(store, "own-a", again=True)) == PARTITIONS
    await store.close()


async def test_what_may_wait_on_the_disk_or_takes_long_is_on_the_files_thread(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "accounting.db")
    await store.initialise(PARTITIONS)
    await claim(store, "own-a", again=False)
    ran: list[tuple[str, bool]] = []

    def note(statement: str) -> None:
        ran.append((statement.split(maxsplit=1)[0], threading.current_thread() is threading.main_thread()))

    store._writer._connection.set_trace_callback(note)

    async def here(*writes: PartitionWrite) -> dict[str, bool]:
        """By the first word of each statement: whether the event loop ran it."""
        ran.clear()
        assert await store.commit(writes) == {write.part_id for write in writes}
        return dict(ran)

    assert await here(check(0, 1)) == {"BEGIN": True, "SELECT": True, "COMMIT": True}
    small = await here(row(0, 1))
    assert (small["INSERT"], small["COMMIT"]) == (True, False)
    # Rows of some hundred operations, and checkpoints, whose pages may have to be read.
    for write in (row(0, 2)._replace(body=b"x" * 20_000), row(0, 3, checkpoint(1, 3))):
        large = await here(write)
        assert (large["INSERT"], large["COMMIT"]) == (False, False)
    store._writer._connection.set_trace_callback(None)
    await store.close()


async def test_another_process_that_claims_fences_this_one_off(tmp_path: Path) -> None:
    path = tmp_path / "accounting.db"
    store = await SqliteStore.open(path)
    await store.initialise(PARTITIONS)
    await claim(store, "own-a", again=False)
    assert await store.commit([row(0, 1)]) == {0}
    program = (
        "import asyncio, pathlib, sys\n"
        "from services.accounting.journal.sqlite import SqliteStore\n"
        "from tests.accounting.claims import claim\n"
        "async def main():\n"
        "    store = await SqliteStore.open(pathlib.Path(sys.argv[1]))\n"
        "    print([each.epoch for each in await claim(store, 'own-b', again=False)])\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
    )
    run = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert (run.stdout, run.stderr) == ("[2, 2, 2]\n", "")
    assert await store.commit([row(0, 2), row(1, 1)]) == set()
    assert await store.commit([check(0, 2)]) == set()
    assert await claim(store, "own-a", again=True) == []
    await store.close()


async def test_a_claim_with_a_higher_revision_wins_whoever_comes_first(store: Store) -> None:
    assert [each.epoch for each in await claim(store, "own-a", again=False, revision=7)] == [1, 1, 1]
    # Who won the coordinator's claim before, but comes to the store later, gets nothing.
    assert await claim(store, "own-b", again=False, revision=6) == []
    assert await store.commit([row(0, 1)]) == {0}
    taken = await claim(store, "own-b", again=False, revision=8, part_ids=range(1))
    assert taken == [ClaimedPartition(0, 2, 2, 1, 1_001)]
    assert await store.commit([row(0, 2), row(1, 1)]) == {1}
    # After a commit of unknown outcome, each gets its own again and no more.
    assert [each.part_id for each in await claim(store, "own-a", again=True, revision=7)] == [1, 2]
    assert [each.epoch for each in await claim(store, "own-b", again=True, revision=8, part_ids=range(1))] == [3]
    # A process without a coordinator does not take what was claimed through one.
    assert await claim(store, "own-c", again=False) == []


async def test_a_new_era_fences_everybody_off_and_begins_with_any_revision(store: Store) -> None:
    await claim(store, "own-a", again=False, revision=1_000)
    assert await store.raise_era(0) == 2
    assert await store.commit([row(0, 1)]) == set()
    with pytest.raises(EraMismatchError, match=r"the database is of era 2, the coordinator of era 1: .*run `tokenline recover`"):
        await claim(store, "own-a", again=True, revision=1_000)
    assert (await store.initialise(PARTITIONS)).era == 2
    assert [each.epoch for each in await claim(store, "own-b", again=False, revision=3, era=2)] == [3, 3, 3]
    assert await store.raise_era(41) == 42


async def test_the_first_coordinator_of_an_era_stays(store: Store) -> None:
    assert await store.coordinated_by("one") == "one"
    assert await store.coordinated_by("two") == "one"
    await store.raise_era(0)
    assert await store.coordinated_by("two") == "two"
    await store.raise_era(0, "three")
    assert await store.coordinated_by("two") == "three"


async def test_what_is_due_is_found_in_the_partitions_asked_for(store: Store) -> None:
    await claim(store, "own-a", again=False)
    await store.commit([check(part_id, 1, checkpoint(part_id, next_due_us=10 - part_id)) for part_id in range(PARTITIONS)])
    found = [DueAccount(8, 2, "acct-00000002"), DueAccount(10, 0, "acct-00000000")]
    assert await store.due_accounts([0, 2], 100, None, 10) == found
    assert await store.due_accounts([2, 0], 100, found[0], 10) == found[1:]
    assert await store.due_accounts([0, 2], 9, None, 10) == found[:1]
    assert await store.due_accounts([], 100, None, 10) == []


async def _with_rows_of_an_older_schema(path: Path) -> list[JournalRow]:
    """A file as releases up to schema version 3 left it, with rows of three partitions; they are returned in order."""
    rows = [JournalRow(part_id, seq, 1, 2, b"row %d/%d" % (part_id, seq) * 200) for part_id in range(3) for seq in range(1, 41)]
    database = await Database.open(path, MIGRATIONS[:3])

    def work(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO partition VALUES (?, 1, 'own-a', 41, 41, 1000, 1, 0)", [(n,) for n in range(3)])
        connection.execute("UPDATE cell SET cell_id = 'cell-of-then'")
        connection.executemany("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", rows)

    await database.write(work)
    await database.close()
    return rows


async def _rows_of(store: Store) -> list[JournalRow]:
    return [each for part_id in range(3) for each in await store.read_rows(part_id, 0, 1_000)]


async def test_rows_of_an_older_schema_are_moved_and_the_journal_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_journal, "_MOVED_AT_ONCE", 7)
    path = tmp_path / "accounting.db"
    rows = await _with_rows_of_an_older_schema(path)
    store = await SqliteStore.open(path)
    assert (await store.initialise(3)).cell_id == "cell-of-then"
    assert await _rows_of(store) == rows
    await claim(store, "own-b", again=False)
    assert await store.commit([row(0, 41, epoch=2), row(2, 41, epoch=2)]) == {0, 2}
    assert [each.seq for each in await store.read_rows(2, 38, 10)] == [39, 40, 41]
    await store.close()


@pytest.mark.parametrize("killed_after", [0, 1, 5, 17])
async def test_a_move_that_was_killed_goes_on(tmp_path: Path, killed_after: int) -> None:
    path = tmp_path / "accounting.db"
    rows = await _with_rows_of_an_older_schema(path)
    program = (
        "import asyncio, os, pathlib, sys\n"
        "from services.accounting.journal import sqlite\n"
        "sqlite._MOVED_AT_ONCE = 7\n"
        "class Connection:\n"
        "    def __init__(self, real): self.real, self.left = real, int(sys.argv[2])\n"
        "    def execute(self, sql, *parameters):\n"
        "        if sql == 'COMMIT':\n"
        "            self.left -= 1\n"
        "            if self.left < 0: os.kill(os.getpid(), 9)\n"
        "        return self.real.execute(sql, *parameters)\n"
        "move = sqlite.MIGRATIONS[4]\n"
        "sqlite.MIGRATIONS = (*sqlite.MIGRATIONS[:4], lambda connection: move(Connection(connection)), *sqlite.MIGRATIONS[5:])\n"
        "asyncio.run(sqlite.SqliteStore.open(pathlib.Path(sys.argv[1])))\n"
    )
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", program, str(path), str(killed_after)],
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )
    assert run.returncode == -9, run.stderr
    with sqlite3.connect(path) as connection:
        left: int = connection.execute("SELECT count(*) FROM journal").fetchone()[0]
        moved: int = connection.execute("SELECT count(*) FROM journal_row").fetchone()[0]
    connection.close()
    assert (left, moved) == (120 - 7 * killed_after, 7 * killed_after)
    # A release that knows only the table of before must not go on with half of it.
    with pytest.raises(SchemaError, match="newer release"):
        await Database.open(path, MIGRATIONS[:3])
    store = await SqliteStore.open(path)
    assert await _rows_of(store) == rows
    await store.close()


async def test_rows_are_not_moved_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "accounting.db"
    rows = await _with_rows_of_an_older_schema(path)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite_journal, "_MOVE_FREE_BYTES", 2**62)
        with pytest.raises(ServiceError, match=r"accounting.db: its schema .* MiB are free: make room and start again"):
            await SqliteStore.open(path)
    store = await SqliteStore.open(path)
    assert await _rows_of(store) == rows
    await store.close()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "accounting.db"
    await (await SqliteStore.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(SchemaError, match=r"schema version 99.*newer release"):
        await SqliteStore.open(path)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at" * 50, b"\x00" * 5_000])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "accounting.db"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="not a database of ours"):
        await SqliteStore.open(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "path", [Path("/proc/accounting.db"), Path("/nonexistent/accounting.db"), Path("/")], ids=["read-only", "missing", "a folder"]
)
async def test_a_place_that_cannot_be_written_is_named(path: Path) -> None:
    with pytest.raises(ServiceError, match=f"{path}.*check that the disk is writable") as raised:
        await SqliteStore.open(path)
    assert raised.value.reason == errors_pb2.ERROR_REASON_STORE_UNAVAILABLE


async def test_a_file_that_cannot_be_written_any_more_is_unavailable_and_not_a_lost_fence(tmp_path: Path) -> None:
    path = tmp_path / "accounting.db"
    store = await SqliteStore.open(path)
    await store.initialise(PARTITIONS)
    await claim(store, "own-a", again=False)
    before = await contents(store)
    # As on a full disk: the second statement of the transaction fails.
    connection = sqlite3.connect(path)
    connection.execute("CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'no space left'); END")
    connection.commit()
    with pytest.raises(ServiceError, match="no space left") as raised:
        await store.commit([row(0, 1, checkpoint(1)), row(1, 1)])
    assert raised.value.reason == errors_pb2.ERROR_REASON_STORE_UNAVAILABLE
    connection.execute("DROP TRIGGER full")
    connection.commit()
    connection.close()
    assert await contents(store) == before
    assert await store.commit([row(0, 1)]) == {0}
    await store.close()


async def test_damaged_pages_are_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "accounting.db"
    store = await SqliteStore.open(path)
    await store.initialise(PARTITIONS)
    await claim(store, "own-a", again=False)
    for seq in range(1, 40):
        await store.commit([row(0, seq)._replace(body=b"x" * 1_000)])
    await store.close()
    damaged = bytearray(path.read_bytes())
    damaged[8_192:] = b"\xff" * (len(damaged) - 8_192)
    path.write_bytes(bytes(damaged))
    with pytest.raises((ServiceError, SchemaError)):
        store = await SqliteStore.open(path)
        try:
            await store.read_rows(0, 0, 100)
        finally:
            await store.close()
