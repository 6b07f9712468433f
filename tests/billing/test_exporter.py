"""The export against an accounting over gRPC, with real files and a real database: exactly once, whatever fails."""

import asyncio
import errno
import gzip
import hashlib
import sqlite3
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from services.billing.cdr_file import CdrFile, Rows, parse_manifest
from services.billing.exporter import FILE_ENTRIES_MAX, EraMismatchError, Exporter
from services.billing.journal import JournalReader
from services.billing.reconcile import Reconciler
from services.billing.sink import FolderSink, Sink
from services.billing.sqlite_store import SqliteStore
from services.billing.store import Cursor, PendingRange
from services.runtime.errors import ServiceError
from tests.billing.journals import CNY, TOKEN, ScriptedAccounting, charging_id, created, opened, settled
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())} if folder.exists() else {}


def record_numbers(folder: Path, part_id: int) -> list[int]:
    return [
        msgspec.json.decode(line)["record_number"]
        for path in sorted(folder.glob(f"cdr-p{part_id:04d}-*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]


def write_off(amount: int) -> pb.DebtWrittenOff:
    return pb.DebtWrittenOff(unit=TOKEN, amount=amount, reason="goodwill")


async def test_everything_new_is_exported_with_a_manifest_and_an_index(
    accounting: ScriptedAccounting, exporter: Exporter, store: SqliteStore, folder: Path
) -> None:
    accounting.append(1, opened(), created(1))
    row = accounting.append(1, settled(1), created(2))
    accounting.append(1, settled(2))
    accounting.append(2, settled(3))
    assert await exporter.export() == {}
    assert sorted(files_in(folder)) == [
        "cdr-p0001-00000000000001-00000000000003.jsonl.gz",
        "cdr-p0001-00000000000001-00000000000003.manifest.json",
        "cdr-p0002-00000000000001-00000000000001.jsonl.gz",
        "cdr-p0002-00000000000001-00000000000001.manifest.json",
    ]
    assert await store.cursors() == {1: Cursor(1, 1, 3, 3, None), 2: Cursor(2, 1, 1, 2, None)}
    (record,) = await store.records(row[0].account_id, charging_id(1))
    assert (record.record_number, record.entry) == (1, row[0].SerializeToString(deterministic=True))


async def test_record_numbers_go_on_from_file_to_file_and_over_a_restart(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    for number in range(1, 5):
        store = await SqliteStore.open(tmp_path / "billing.db")
        accounting.append(0, created(number), settled(number))
        accounting.append(0, settled(number + 100))
        assert await Exporter(journal, store, FolderSink(folder), 10).export() == {}
        await store.close()
    assert record_numbers(folder, 0) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len(files_in(folder)) == 8


async def test_a_range_without_a_cdr_only_moves_the_cursor(
    accounting: ScriptedAccounting, exporter: Exporter, store: SqliteStore, folder: Path
) -> None:
    accounting.append(0, opened())
    await exporter.export()
    assert files_in(folder) == {}
    assert await store.cursors() == {0: Cursor(0, 1, 1, 1, None)}
    accounting.append(0, settled(1))
    await exporter.export()
    assert next(iter(files_in(folder))) == "cdr-p0000-00000000000002-00000000000002.jsonl.gz"


async def test_a_file_ends_at_a_row_before_it_grows_too_large(
    accounting: ScriptedAccounting, journal: JournalReader, store: SqliteStore, folder: Path
) -> None:
    for number in range(500):
        accounting.append(0, created(number), settled(number), created(number + 10_000))
    exporter = Exporter(journal, store, FolderSink(folder), 10, file_entries_max=600)
    assert await exporter.export() == {}
    files = await store.files(0)
    assert [file.records for file in files] == [170, 170, 160]
    assert [file.from_sequence_number for file in files] == [1, 171, 341]
    assert record_numbers(folder, 0) == list(range(1, 501))


async def test_two_exports_of_the_same_journal_make_the_same_bytes(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path
) -> None:
    for number in range(1, 40):
        accounting.append(number % 4, created(number), settled(number, output_tokens=number))
    made = []
    for name in ("first", "second"):
        store = await SqliteStore.open(tmp_path / f"{name}.db")
        await Exporter(journal, store, FolderSink(tmp_path / name), 10).export()
        made.append(files_in(tmp_path / name))
        await store.close()
    assert made[0] == made[1]
    assert len(made[0]) == 8


class CrashError(Exception):
    """The process ended here."""


class CrashPoint:
    """Counts the steps of an export and ends it at one of them."""

    def __init__(self, step: int) -> None:
        self._steps_left = step

    def pass_by(self) -> None:
        if self._steps_left == 0:
            raise CrashError
        self._steps_left -= 1


class CrashingSink:
    """A folder sink whose process may end before, within and after each put."""

    def __init__(self, folder: Path, crash: CrashPoint) -> None:
        self._sink = FolderSink(folder)
        self._folder = folder
        self._crash = crash

    async def prepare(self) -> None:
        await self._sink.prepare()

    async def names(self) -> set[str]:
        return await self._sink.names()

    async def put(self, name: str, content: bytes) -> None:
        self._crash.pass_by()
        try:
            self._crash.pass_by()
        except CrashError:
            (self._folder / f".{name}.00000000.tmp").write_bytes(content[: len(content) // 2])
            raise
        await self._sink.put(name, content)
        self._crash.pass_by()


class CrashingStore(SqliteStore):
    """A store whose process may end before and after each write."""

    crash: CrashPoint

    async def begin(self, cursor: Cursor, pending: PendingRange) -> Cursor:
        self.crash.pass_by()
        moved = await super().begin(cursor, pending)
        self.crash.pass_by()
        return moved

    async def advance(self, cursor: Cursor, to_seq: int, file: CdrFile | None, rows: Rows) -> Cursor:
        self.crash.pass_by()
        moved = await super().advance(cursor, to_seq, file, rows)
        self.crash.pass_by()
        return moved

    async def backfill(self, cursor: Cursor, to_seq: int, rows: Rows) -> Cursor:
        self.crash.pass_by()
        moved = await super().backfill(cursor, to_seq, rows)
        self.crash.pass_by()
        return moved


async def export_once(
    journal: JournalReader, database: Path, folder: Path, crash: CrashPoint, file_entries_max: int = FILE_ENTRIES_MAX
) -> bool:
    """One life of a process; False if it crashed."""
    store = await CrashingStore.open(database)
    store.crash = crash
    try:
        exporter = Exporter(journal, store, CrashingSink(folder, crash), 10, file_entries_max)
        await exporter.export()
    except CrashError:
        return False
    finally:
        await store.close()
    return True


def whole_files(folder: Path) -> set[str]:
    """The manifests in the folder; asserts that the file of each is there as the manifest says."""
    manifests = {name: content for name, content in files_in(folder).items() if name.endswith(".manifest.json")}
    for content in manifests.values():
        manifest = parse_manifest(content)
        assert hashlib.sha256((folder / manifest.name).read_bytes()).hexdigest() == manifest.sha256
    return set(manifests)


async def test_a_crash_at_any_step_neither_loses_nor_doubles_a_record(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path
) -> None:
    accounting.append(0, opened())
    accounting.append(0, created(1), settled(1), settled(4))
    accounting.append(0, settled(5), write_off(7))
    accounting.append(1, settled(2))
    accounting.append(2, opened())
    reference = tmp_path / "reference"
    assert await export_once(journal, tmp_path / "reference.db", reference, CrashPoint(-1))
    expected = files_in(reference)
    assert len(expected) == 4
    crashes = 0
    while True:
        database, folder = tmp_path / f"{crashes}.db", tmp_path / f"{crashes}"
        if await export_once(journal, database, folder, CrashPoint(crashes)):
            break
        # A file with a manifest is complete, whoever reads it now.
        whole_files(folder)
        assert await export_once(journal, database, folder, CrashPoint(-1))
        assert files_in(folder) == expected, f"crash at step {crashes}"
        store = await SqliteStore.open(database)
        exporter = Exporter(journal, store, FolderSink(folder), 10)
        result = await Reconciler(journal, store, exporter, folder).reconcile()
        assert (result.differences, result.cdrs, result.charges) == ([], 4, 1), f"crash at step {crashes}"
        assert (await store.cursors())[0].next_record_number == 5, f"crash at step {crashes}"
        await store.close()
        crashes += 1
    # Two files at ten steps each, and two cursor moves (partition 2 has no CDR) at two steps.
    assert crashes == 22


async def test_record_numbers_go_on_after_a_crash_behind_all_that_its_file_has(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    accounting.append(0, settled(1), settled(2), settled(3))
    # File and manifest are there, the cursor has not moved.
    assert not await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(8))
    assert len(whole_files(folder)) == 1
    accounting.append(0, settled(4))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1))
    assert record_numbers(folder, 0) == [1, 2, 3, 4]
    store = await SqliteStore.open(tmp_path / "billing.db")
    assert [row.record_number for row in await store.index_rows(0, 1, 2)] == [1, 2, 3, 4]
    await store.close()


@pytest.mark.parametrize("step", [2, 5, 8])
async def test_record_numbers_of_a_later_file_go_on_after_a_crash(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path, step: int
) -> None:
    accounting.append(0, settled(1), settled(2))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1))
    accounting.append(0, settled(3), settled(4), settled(5))
    # The range is pending; its file is there; its manifest is there, too.
    assert not await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(step))
    accounting.append(0, settled(6))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1))
    assert record_numbers(folder, 0) == [1, 2, 3, 4, 5, 6]


async def test_a_range_that_was_begun_is_written_whole_by_a_release_that_makes_smaller_files(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    # More than a batch of the journal.
    for number in range(1_200):
        accounting.append(0, settled(number))
    # The range is pending, nothing is written yet.
    assert not await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(2))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1), file_entries_max=1)
    assert whole_files(folder) == {"cdr-p0000-00000000000001-00000000001200.manifest.json"}
    assert record_numbers(folder, 0) == list(range(1, 1_201))


async def test_a_range_that_was_begun_under_another_name_is_not_written(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    accounting.append(0, settled(1))
    # The range is pending, nothing is written yet.
    assert not await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(2))
    with sqlite3.connect(tmp_path / "billing.db") as connection:
        assert connection.execute("UPDATE cursor SET pending_file_name = 'cdr-of-another'").rowcount == 1
    connection.close()
    store = await SqliteStore.open(tmp_path / "billing.db")
    failures = await Exporter(journal, store, FolderSink(folder), 10).export()
    await store.close()
    assert failures == {
        0: "cdr-of-another was begun, but the journal would now make cdr-p0000-00000000000001-00000000000001.jsonl.gz of it"
    }
    assert files_in(folder) == {}


async def test_a_file_is_there_before_its_manifest(
    accounting: ScriptedAccounting, journal: JournalReader, store: SqliteStore, folder: Path
) -> None:
    class ListingSink(FolderSink):
        """Notes the names in the order in which they were put, each twice: before and after."""

        def __init__(self) -> None:
            super().__init__(folder)
            self.put_names: list[str] = []

        async def put(self, name: str, content: bytes) -> None:
            self.put_names.append(name)
            await super().put(name, content)
            self.put_names.append(name)

    accounting.append(0, settled(1))
    sink = ListingSink()
    exporter = Exporter(journal, store, sink, 10)
    assert await exporter.export() == {}
    files = ["cdr-p0000-00000000000001-00000000000001.jsonl.gz", "cdr-p0000-00000000000001-00000000000001.manifest.json"]
    in_turn = [name for name in files for _ in range(2)]
    assert sink.put_names == in_turn
    # Nor is it otherwise when lost files are written again.
    for name in files:
        (folder / name).unlink()
    await exporter.replace_missing()
    assert sink.put_names == in_turn * 2


async def test_what_came_after_a_crash_goes_into_a_range_of_its_own(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    accounting.append(0, settled(1))
    assert not await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(2))
    accounting.append(0, settled(2))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1))
    assert [name for name in files_in(folder) if name.endswith(".gz")] == [
        "cdr-p0000-00000000000001-00000000000001.jsonl.gz",
        "cdr-p0000-00000000000002-00000000000002.jsonl.gz",
    ]
    assert record_numbers(folder, 0) == [1, 2]


class FullDiskSink:
    """A sink on a disk that is full until somebody makes room."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.full = True

    async def prepare(self) -> None:
        await self._sink.prepare()

    async def names(self) -> set[str]:
        return await self._sink.names()

    async def put(self, name: str, content: bytes) -> None:
        if self.full and name.endswith(".manifest.json"):
            raise OSError(errno.ENOSPC, "No space left on device", name)
        await self._sink.put(name, content)


async def test_a_full_disk_stops_export_until_there_is_room(
    accounting: ScriptedAccounting, journal: JournalReader, store: SqliteStore, folder: Path
) -> None:
    accounting.append(0, settled(1))
    sink = FullDiskSink(FolderSink(folder))
    exporter = Exporter(journal, store, sink, 10)
    failures = await exporter.export()
    assert "No space left on device" in failures[0]
    assert (await store.cursors())[0].exported_seq == 0
    accounting.append(0, settled(2))
    sink.full = False
    assert await exporter.export() == {}
    assert record_numbers(folder, 0) == [1, 2]


async def test_a_folder_that_cannot_be_written_stops_export_until_it_can(
    accounting: ScriptedAccounting, journal: JournalReader, store: SqliteStore, folder: Path
) -> None:
    accounting.append(0, settled(1))
    await asyncio.to_thread(folder.write_text, "in the way")
    exporter = Exporter(journal, store, FolderSink(folder), 10)
    await exporter.start()
    assert "the CDR folder can't be written" in (await exporter.export())[0]
    await asyncio.to_thread(folder.unlink)
    assert await exporter.export() == {}
    assert record_numbers(folder, 0) == [1]


async def test_a_gap_in_the_journal_stops_its_partition_and_no_other(
    accounting: ScriptedAccounting, exporter: Exporter, store: SqliteStore, folder: Path
) -> None:
    for number in range(1, 4):
        accounting.append(0, settled(number))
        accounting.append(1, settled(number + 10))
    accounting.rows[0][1][0].sequence_number = 3
    failures = await exporter.export()
    assert failures == {0: "entry (3, 0) was read after sequence number 1: an entry is missing"}
    assert 0 not in await store.cursors()
    assert record_numbers(folder, 1) == [1, 2, 3]


@pytest.mark.parametrize(
    ("sequence_number", "index", "message"),
    [(2, 1, "an entry is missing"), (1, 0, "twice"), (2, 0, ""), (3, 0, "an entry is missing")],
)
async def test_entries_must_follow_one_another(
    accounting: ScriptedAccounting, exporter: Exporter, sequence_number: int, index: int, message: str
) -> None:
    accounting.append(0, settled(1))
    (entry,) = accounting.append(0, settled(2))
    entry.sequence_number, entry.index = sequence_number, index
    failures = await exporter.export()
    assert message in failures[0] if message else failures == {}


async def test_a_row_that_lacks_an_entry_is_refused(accounting: ScriptedAccounting, exporter: Exporter) -> None:
    row = accounting.append(0, created(1), settled(1), settled(2))
    del row[1]
    accounting.rows[0][0] = row
    assert "entry (1, 2)" in (await exporter.export())[0]


async def test_a_journal_of_another_partition_is_refused(accounting: ScriptedAccounting, exporter: Exporter) -> None:
    (entry,) = accounting.append(0, settled(1))
    entry.part_id = 3
    assert await exporter.export() == {0: "partition 3 was read instead of partition 0"}


async def test_a_journal_that_ends_before_the_cursor_stops_its_partition(
    accounting: ScriptedAccounting, exporter: Exporter, store: SqliteStore
) -> None:
    accounting.append(0, settled(1))
    accounting.append(0, settled(2))
    await exporter.export()
    accounting.rows[0].pop()
    accounting.append(1, settled(3))
    failures = await exporter.export()
    assert list(failures) == [0]
    assert failures[0].startswith("exported up to sequence number 2, but accounting's journal ends at 1")
    assert (await store.cursors())[1].exported_seq == 1


async def test_a_journal_that_ends_before_what_it_said_it_had_is_not_exported(
    accounting: ScriptedAccounting, exporter: Exporter, store: SqliteStore, folder: Path
) -> None:
    accounting.append(0, settled(1))
    for part_id in (1, 2, 3):
        del accounting.rows[part_id]
    accounting.rows_lost = 1
    async with asyncio.timeout(WAIT_S):
        failures = await exporter.export()
    assert failures == {0: "the journal ends at sequence number 1, before 2, which it said it had"}
    assert (await store.cursors(), files_in(folder)) == ({}, {})


async def test_a_partition_that_accounting_has_no_more_is_named(accounting: ScriptedAccounting, exporter: Exporter) -> None:
    accounting.append(3, settled(1))
    await exporter.export()
    del accounting.rows[3]
    assert await exporter.export() == {3: "exported up to sequence number 1, but accounting has no such partition"}


async def test_a_new_era_whose_journal_has_all_that_was_exported_goes_on(
    accounting: ScriptedAccounting, exporter: Exporter, store: SqliteStore, folder: Path
) -> None:
    accounting.append(0, settled(1))
    accounting.append(1, opened())
    await exporter.export()
    accounting.append(0, opened())
    await exporter.export()
    accounting.era = 2
    accounting.append(0, settled(2))
    assert await exporter.export() == {}
    assert await store.cursors() == {0: Cursor(0, 2, 3, 3, None), 1: Cursor(1, 2, 1, 1, None)}
    assert record_numbers(folder, 0) == [1, 2]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["gone"], "up to sequence number 2, and the journal now ends at 1"),
        (["another"], r"other records than those of cdr-p0000-00000000000002-00000000000002\.jsonl\.gz"),
        (["another", "more"], "other records than those of"),
    ],
)
async def test_a_new_era_whose_journal_lacks_what_was_exported_is_refused(
    accounting: ScriptedAccounting,
    exporter: Exporter,
    store: SqliteStore,
    journal: JournalReader,
    folder: Path,
    rows: list[str],
    said: str,
) -> None:
    accounting.append(0, settled(1))
    await exporter.export()
    accounting.append(0, settled(2))
    await exporter.export()
    before = files_in(folder)
    accounting.era = 2
    del accounting.rows[0][1]
    for number, _ in enumerate(each for each in rows if each != "gone"):
        accounting.append(0, settled(number + 3))
    with pytest.raises(EraMismatchError, match=said):
        await exporter.export()
    with pytest.raises(EraMismatchError, match="restore billing's database and the CDR folder to the same time"):
        await Exporter(journal, store, FolderSink(folder), 10).start()
    assert await store.cursors() == {0: Cursor(0, 1, 2, 3, None)}
    assert files_in(folder) == before


async def test_a_new_era_whose_journal_has_another_charge_that_is_no_call_is_refused(
    accounting: ScriptedAccounting, exporter: Exporter
) -> None:
    accounting.append(0, settled(1), write_off(5))
    await exporter.export()
    accounting.era = 2
    accounting.rows[0].pop()
    accounting.append(0, settled(1), write_off(6))
    with pytest.raises(EraMismatchError, match="other records than those of"):
        await exporter.export()


async def test_a_journal_of_an_era_before_is_refused(accounting: ScriptedAccounting, exporter: Exporter) -> None:
    accounting.era = 2
    accounting.append(0, settled(1))
    await exporter.export()
    accounting.era = 1
    with pytest.raises(EraMismatchError, match="accounting's database is older than billing's"):
        await exporter.export()


async def test_a_second_exporter_on_the_same_store_cannot_export_a_range_again(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    accounting.append(0, settled(1))
    first, second = await SqliteStore.open(tmp_path / "billing.db"), await SqliteStore.open(tmp_path / "billing.db")
    exporters = [Exporter(journal, store, FolderSink(folder), 10) for store in (first, second)]
    results = await asyncio.gather(*(exporter.export() for exporter in exporters))
    assert {} in results
    assert record_numbers(folder, 0) == [1]
    assert len(await first.index_rows(0, 1, 10)) == 1
    await first.close()
    await second.close()


async def test_the_loop_exports_what_comes_and_outlives_an_accounting_that_is_away(
    accounting: ScriptedAccounting, journal: JournalReader, store: SqliteStore, folder: Path
) -> None:
    class FlakyReader(JournalReader):
        """Accounting is away on every other look."""

        def __init__(self) -> None:
            self.looks = 0

        async def list_partitions(self):  # type: ignore[no-untyped-def]  # as in JournalReader
            self.looks += 1
            if self.looks % 2:
                raise ServiceError(18, "accounting is starting")  # type: ignore[arg-type]  # UNAVAILABLE
            return await journal.list_partitions()

        def read(self, part_id, after_seq, to_seq):  # type: ignore[no-untyped-def]  # as in JournalReader
            return journal.read(part_id, after_seq, to_seq)

    class WatchedSink(FolderSink):
        """Says when a manifest was put."""

        def __init__(self) -> None:
            super().__init__(folder)
            self.manifests: asyncio.Queue[str] = asyncio.Queue()

        async def put(self, name: str, content: bytes) -> None:
            await super().put(name, content)
            if name.endswith(".manifest.json"):
                self.manifests.put_nowait(name)

    sink = WatchedSink()
    exporter = Exporter(FlakyReader(), store, sink, 10)
    await exporter.start()
    running = asyncio.create_task(exporter.run())
    accounting.append(0, settled(1))
    assert await asyncio.wait_for(sink.manifests.get(), WAIT_S) == "cdr-p0000-00000000000001-00000000000001.manifest.json"
    accounting.append(0, settled(2))
    assert await asyncio.wait_for(sink.manifests.get(), WAIT_S) == "cdr-p0000-00000000000002-00000000000002.manifest.json"
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_files_that_are_missing_are_written_again_from_the_journal(
    accounting: ScriptedAccounting, exporter: Exporter, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1, 6):
        accounting.append(number % 2, settled(number))
        await exporter.export()
    before = files_in(folder)
    for name in list(before)[1:4]:
        (folder / name).unlink()
    await exporter.replace_missing()
    assert files_in(folder) == before
    assert caplog.text.count("it was written again from the journal") == 2
    # What is damaged is not missing; reconciliation names it.
    name = next(iter(before))
    (folder / name).write_bytes(b"damaged")
    await exporter.replace_missing()
    assert files_in(folder)[name] == b"damaged"


async def test_a_missing_file_that_the_journal_would_make_otherwise_is_named(
    accounting: ScriptedAccounting, exporter: Exporter, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    accounting.append(0, settled(1))
    await exporter.export()
    for path in folder.iterdir():
        path.unlink()
    accounting.rows[0].clear()
    accounting.append(0, settled(2))
    await exporter.replace_missing()
    assert files_in(folder) == {}
    assert "would now make another cdr-p0000-00000000000001-00000000000001.jsonl.gz; bring it back from a backup" in caplog.text


# Charges that are no calls


def order(order_id: str, amount: int) -> pb.OrderPlaced:
    return pb.OrderPlaced(
        order_id=order_id,
        offering_id="plan",
        payment_method=registry_pb2.PAYMENT_METHOD_EXTERNAL,
        unit=CNY,
        amount=amount,
    )


def as_the_release_before_left_it(database: Path) -> None:
    """Takes from the store what a release without records of charges did not write."""
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE cursor SET charges_from_seq = 0")
        connection.execute("DELETE FROM billed_item")
        connection.execute("DELETE FROM placed_order")
    connection.close()


async def test_a_payment_finds_the_order_that_was_exported_before(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    accounting.append(0, order("ord-1", 9_900_000))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1))
    assert files_in(folder) == {}
    accounting.append(0, pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7"))
    assert await export_once(journal, tmp_path / "billing.db", folder, CrashPoint(-1))
    store = await SqliteStore.open(tmp_path / "billing.db")
    (item,) = await store.items(0, 1, 9)
    assert (item.kind, item.amount, item.currency, item.paid_by, item.remark) == ("price", 9_900_000, "CNY", "outside", "wx-7")
    exporter = Exporter(journal, store, FolderSink(folder), 10)
    assert await Reconciler(journal, store, exporter, folder).reconcile() == (2, 0, 1, 1, [])
    await store.close()


async def test_a_payment_of_an_order_that_nobody_placed_stops_its_partition(
    accounting: ScriptedAccounting, exporter: Exporter
) -> None:
    accounting.append(0, pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7"))
    (message,) = (await exporter.export()).values()
    assert message.startswith("entry (1, 0) pays order ord-1, and no earlier entry places it")


async def test_charges_have_records_from_the_update_on_and_items_from_the_beginning(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    database = tmp_path / "billing.db"
    accounting.append(0, order("ord-1", 5))
    accounting.append(0, settled(1))
    accounting.append(0, opened())
    assert await export_once(journal, database, folder, CrashPoint(-1))
    as_the_release_before_left_it(database)
    # Its row 3 wrote a debt off, which made no record then.
    accounting.rows[0][2][0].debt_written_off.CopyFrom(write_off(7))
    accounting.append(0, pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7"), settled(2))
    # The process ends after the first of the three rows was made up for.
    assert not await export_once(journal, database, folder, CrashPoint(1), file_entries_max=1)
    assert await export_once(journal, database, folder, CrashPoint(-1), file_entries_max=1)
    assert record_numbers(folder, 0) == [1, 2, 3]
    store = await SqliteStore.open(database)
    assert await store.cursors() == {0: Cursor(0, 1, 4, 4, None, charges_from_seq=4, backfilled_seq=3)}
    items = await store.items(0, 1, 9)
    assert [(item.kind, item.sequence_number, item.amount, item.record_number) for item in items] == [
        ("usage", 2, 13_000_000, 0),
        ("write_off", 3, -7, 0),
        ("price", 4, 5, 2),
        ("usage", 4, 13_000_000, 0),
    ]
    exporter = Exporter(journal, store, FolderSink(folder), 10)
    assert await Reconciler(journal, store, exporter, folder).reconcile() == (5, 2, 1, 2, [])
    await store.close()


async def test_items_of_a_long_time_before_the_update_are_all_made_before_anything_more_is_exported(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    database = tmp_path / "billing.db"
    # More than is read of the journal at once.
    for number in range(3):
        accounting.append(0, settled(number), *[opened()] * 400)
    assert await export_once(journal, database, folder, CrashPoint(-1))
    as_the_release_before_left_it(database)
    assert await export_once(journal, database, folder, CrashPoint(-1), file_entries_max=1)
    store = await SqliteStore.open(database)
    assert await store.cursors() == {0: Cursor(0, 1, 3, 4, None, charges_from_seq=4, backfilled_seq=3)}
    assert [item.sequence_number for item in await store.items(0, 1, 9)] == [1, 2, 3]
    await store.close()


async def test_a_range_that_the_release_before_began_is_written_as_it_would_have_been(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    database = tmp_path / "billing.db"
    accounting.append(0, settled(1), opened())
    # The range is pending, and its file is not there.
    assert not await export_once(journal, database, folder, CrashPoint(2))
    as_the_release_before_left_it(database)
    accounting.rows[0][0][1].debt_written_off.CopyFrom(write_off(7))
    accounting.append(0, write_off(8))
    assert await export_once(journal, database, folder, CrashPoint(-1))
    assert record_numbers(folder, 0) == [1, 2]
    store = await SqliteStore.open(database)
    assert [item.amount for item in await store.items(0, 1, 9)] == [13_000_000, -7, -8]
    exporter = Exporter(journal, store, FolderSink(folder), 10)
    assert await Reconciler(journal, store, exporter, folder).reconcile() == (3, 1, 1, 2, [])
    await store.close()


async def test_a_file_from_before_the_update_is_written_again_without_charges(
    accounting: ScriptedAccounting, journal: JournalReader, tmp_path: Path, folder: Path
) -> None:
    database = tmp_path / "billing.db"
    accounting.append(0, settled(1), opened())
    assert await export_once(journal, database, folder, CrashPoint(-1))
    before = files_in(folder)
    as_the_release_before_left_it(database)
    accounting.rows[0][0][1].debt_written_off.CopyFrom(write_off(7))
    assert await export_once(journal, database, folder, CrashPoint(-1))
    for path in list(folder.iterdir()):
        path.unlink()
    store = await SqliteStore.open(database)
    exporter = Exporter(journal, store, FolderSink(folder), 10)
    result = await Reconciler(journal, store, exporter, folder).reconcile(write_missing=True)
    assert (result.differences, files_in(folder)) == ([], before)
    await store.close()
