"""Reconciliation: silent when all agrees, and naming whatever was tampered with."""

import asyncio
import gzip
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.billing.exporter import Exporter
from services.billing.reconcile import DIFFERENCES_MAX, Reconciler
from services.billing.sqlite_store import SqliteStore
from tests.billing.journals import (
    ACCOUNT_ID,
    CNY,
    TOKEN,
    ScriptedAccounting,
    charging_id,
    class_charge,
    created,
    granted,
    opened,
    recorded_journal,
    settled,
    settled_in_money,
)
from tokenline.accounting.v1 import accounting_pb2 as pb

FILE = "cdr-p0001-00000000000001-00000000000004.jsonl.gz"
MANIFEST = "cdr-p0001-00000000000001-00000000000004.manifest.json"
DATABASE = "billing.db"


def write_journal(accounting: ScriptedAccounting) -> None:
    """Partition 1: three CDRs in rows 2 to 4; partition 2: a swept session with a late Release, one of debt."""
    accounting.append(1, opened(), created(1))
    accounting.append(1, created(2), settled(1))
    accounting.append(1, settled(2, output_tokens=5))
    accounting.append(1, settled(3, output_tokens=0))
    accounting.append(2, settled(4, close_cause=pb.CLOSE_CAUSE_SWEPT, provenance=pb.USAGE_PROVENANCE_PARTIAL))
    late = settled(4, output_tokens=9, record_sequence_number=2, charged_amount=6_000_000, debt_amount=2_000_000)
    late.debits[0].amount = 4_000_000
    accounting.append(2, late)


@pytest.fixture
async def exported(accounting: ScriptedAccounting, exporter: Exporter, folder: Path) -> Path:
    write_journal(accounting)
    assert await exporter.export() == {}
    return folder


async def test_it_exports_first_and_finds_nothing_where_all_agrees(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    write_journal(accounting)
    result = await reconciler.reconcile()
    assert result == (8, 5, 0, 2, [])


async def test_an_empty_journal_agrees(reconciler: Reconciler) -> None:
    assert await reconciler.reconcile() == (0, 0, 0, 0, [])


async def test_a_late_release_below_what_the_sweep_charged_agrees(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    accounting.append(0, settled(1, output_tokens=9, close_cause=pb.CLOSE_CAUSE_SWEPT))
    accounting.append(0, settled(1, output_tokens=4, record_sequence_number=2, charged_amount=0, debits=[]))
    assert (await reconciler.reconcile()).differences == []


async def test_many_files_and_batches_agree(accounting: ScriptedAccounting, exporter: Exporter, reconciler: Reconciler) -> None:
    for number in range(1_200):
        accounting.append(number % 2, created(number), settled(number, output_tokens=number))
        if number % 400 == 0:
            await exporter.export()
            accounting.append(1, opened())
    result = await reconciler.reconcile()
    assert (result.cdrs, result.differences) == (1_200, [])
    assert result.files == 7


def rewrite(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    path.write_bytes(gzip.compress(b"".join(change(gzip.decompress(path.read_bytes()).splitlines(keepends=True))), mtime=0))


def replaced(old: bytes, new: bytes) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        content = gzip.decompress(path.read_bytes())
        assert old in content
        path.write_bytes(gzip.compress(content.replace(old, new), mtime=0))

    return change


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


ALTERED = f"partition 1: {FILE} was altered: its checksum is not the one it was written with"


@pytest.mark.parametrize(
    ("tamper", "differences"),
    [
        pytest.param(Path.unlink, [f"partition 1: {FILE} is missing"], id="missing"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:-20]),
            [ALTERED, f"partition 1: {FILE} is cut off"],
            id="truncated",
        ),
        pytest.param(lambda path: path.write_bytes(b""), [ALTERED, f"partition 1: {FILE} is cut off"], id="empty"),
        pytest.param(
            lambda path: path.write_bytes(b"no gzip"),
            [ALTERED, f"partition 1: {FILE} can't be unpacked: Error -3 while decompressing data: incorrect header check"],
            id="no gzip",
        ),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes() + b"x"),
            [ALTERED, f"partition 1: {FILE} has 1 bytes after its end"],
            id="appended",
        ),
        pytest.param(
            replaced(b'"charged_amount":15000000', b'"charged_amount":15000001'),
            [
                ALTERED,
                f"partition 1: CDR 2 of charging_id {charging_id(2)}: charged_amount 15000001 in the file, 15000000 in the journal",
            ],
            id="charged_amount",
        ),
        pytest.param(
            replaced(b'"output":5', b'"output":6'),
            [ALTERED, f"partition 1: CDR 2 of charging_id {charging_id(2)}: usage.output 6 in the file, 5 in the journal"],
            id="usage",
        ),
        pytest.param(
            replaced(b'"debits":[{"bucket_id":"bkt-1","amount":15000000}]', b'"debits":[{"bucket_id":"bkt-1","amount":5}]'),
            [
                ALTERED,
                f"partition 1: CDR 2 of charging_id {charging_id(2)}: "
                'debits [{"bucket_id":"bkt-1","amount":5}] in the file, [{"bucket_id":"bkt-1","amount":15000000}] in the journal',
                f"partition 1: account {ACCOUNT_ID}: bucket bkt-1: 23000005 in the records, 38000000 in the journal",
            ],
            id="debits",
        ),
        pytest.param(
            replaced(b'"model_id":"model-a"', b'"model_id":7'),
            [
                ALTERED,
                *(
                    f"partition 1: {FILE}: line {line} is no record: Expected `str`, got `int` - at `$.model_id`"
                    for line in (1, 2, 3)
                ),
                f"partition 1: {FILE} has lines that are no records of it",
            ],
            id="type",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda lines: [lines[0], lines[2]]),
            [
                ALTERED,
                f"partition 1: {FILE}: record 3 stands where 2 would be next",
                f"partition 1: {FILE} has 2 records, but 3 were written",
                f"partition 1: CDR 2 of charging_id {charging_id(2)}: in the journal, but in no file",
            ],
            id="line missing",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda lines: [*lines, lines[2]]),
            [
                ALTERED,
                f"partition 1: {FILE}: line 4 is entry (4, 0) again",
                f"partition 1: {FILE} has lines that are no records of it",
            ],
            id="line twice",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda lines: [*lines, lines[2].replace(b'"index":0', b'"index":1')]),
            [
                ALTERED,
                f"partition 1: {FILE}: record 3 stands where 4 would be next",
                f"partition 1: {FILE} has 4 records, but 3 were written",
                f"partition 1: CDR 3 of charging_id {charging_id(3)}: in {FILE}, but not in the journal",
            ],
            id="line added",
        ),
        pytest.param(
            lambda path: rewrite(path, lambda lines: [lines[0], lines[1], lines[2].rstrip(b"\n")]),
            [ALTERED, f"partition 1: {FILE} ends within a line"],
            id="within a line",
        ),
    ],
)
async def test_an_altered_file_is_named(
    exported: Path, reconciler: Reconciler, tamper: Callable[[Path], object], differences: list[str]
) -> None:
    tamper(exported / FILE)
    found = (await reconciler.reconcile()).differences
    assert [each for each in found if ": account " not in each or each in differences] == differences


async def test_a_flipped_byte_is_found(exported: Path, reconciler: Reconciler) -> None:
    flip_a_byte(exported / FILE)
    assert ALTERED in (await reconciler.reconcile()).differences


async def test_what_a_missing_file_leaves_open_is_summed_by_account_and_bucket(exported: Path, reconciler: Reconciler) -> None:
    (exported / FILE).unlink()
    result = await reconciler.reconcile()
    assert result.differences[1:] == [f"partition 1: account {ACCOUNT_ID}: bucket bkt-1: 0 in the records, 38000000 in the journal"]
    assert (result.cdrs, result.files) == (2, 1)


async def test_a_missing_or_altered_manifest_is_named(exported: Path, reconciler: Reconciler) -> None:
    path = exported / MANIFEST
    content = path.read_bytes()
    path.unlink()
    assert (await reconciler.reconcile()).differences == [f"partition 1: {MANIFEST} is missing"]
    path.write_bytes(b"{}")
    assert (await reconciler.reconcile()).differences == [
        f"partition 1: {MANIFEST} is no manifest: Object missing required field `name`"
    ]
    manifest = msgspec.json.decode(content)
    path.write_bytes(msgspec.json.encode({**manifest, "records": 4}))
    assert (await reconciler.reconcile()).differences == [f"partition 1: {MANIFEST}: records 4 in the manifest, 3 in the file row"]


async def test_a_file_that_was_not_exported_is_named(exported: Path, reconciler: Reconciler) -> None:
    stranger = "cdr-p0003-00000000000001-00000000000001.jsonl.gz"
    (exported / stranger).write_bytes((exported / FILE).read_bytes())
    (exported / "notes.txt").write_text("mine")
    (exported / ".cdr-x.tmp").write_text("a file that is being written")
    assert (await reconciler.reconcile()).differences == [
        f"{stranger} is in the CDR folder, but was not exported there",
        "notes.txt is in the CDR folder, but was not exported there",
    ]


@pytest.mark.parametrize(
    ("statement", "differences"),
    [
        pytest.param(
            "DELETE FROM cdr_index WHERE part_id = 1 AND record_number = 2",
            [f"partition 1: CDR 2 of charging_id {charging_id(2)}: in the journal, but not in the index"],
            id="index row missing",
        ),
        pytest.param(
            "UPDATE cdr_index SET record_number = 9 WHERE part_id = 1 AND record_number = 2",
            [f"partition 1: CDR 2 of charging_id {charging_id(2)}: record_number 9 in the index, 2 in the journal"],
            id="record number",
        ),
        pytest.param(
            "UPDATE cdr_index SET account_id = 'acct-other' WHERE part_id = 1 AND record_number = 2",
            [
                f"partition 1: CDR 2 of charging_id {charging_id(2)}: "
                f"account_id acct-other in the index, {ACCOUNT_ID} in the journal"
            ],
            id="account",
        ),
        pytest.param(
            "UPDATE cdr_index SET entry = x'ff' WHERE part_id = 1 AND record_number = 2",
            [f"partition 1: CDR 2 of charging_id {charging_id(2)}: the entry in the index can't be read"],
            id="unreadable entry",
        ),
        pytest.param(
            "UPDATE cdr_index SET entry = (SELECT entry FROM cdr_index WHERE part_id = 1 AND record_number = 1)"
            " WHERE part_id = 1 AND record_number = 2",
            [
                f"partition 1: CDR 2 of charging_id {charging_id(2)}: {difference} in the journal"
                for difference in (
                    "sequence_number 2 in the index, 3",
                    "index 1 in the index, 0",
                    f"charging_id {charging_id(1)} in the index, {charging_id(2)}",
                    "charged_amount 13000000 in the index, 15000000",
                )
            ],
            id="another entry",
        ),
        pytest.param(
            "INSERT INTO cdr_index SELECT 1, 1, 7, 4, 'c', 'a', 1, entry FROM cdr_index WHERE part_id = 1 AND record_number = 1",
            ["partition 1: CDR 4 of charging_id c: in the index, but not in the journal"],
            id="index row added",
        ),
        pytest.param(
            "UPDATE cursor SET next_record_number = 5 WHERE part_id = 1",
            ["partition 1: the cursor says 4 records were made, the journal has 3"],
            id="cursor",
        ),
        pytest.param(
            "DELETE FROM cdr_file WHERE part_id = 1",
            [
                *(
                    f"partition 1: CDR {number} of charging_id {charging_id(number)}: in the journal, but in no file"
                    for number in (1, 2, 3)
                ),
                f"{FILE} is in the CDR folder, but was not exported there",
                f"{MANIFEST} is in the CDR folder, but was not exported there",
            ],
            id="file row missing",
        ),
        pytest.param(
            "UPDATE cdr_file SET first_record_number = 2 WHERE part_id = 1",
            [
                f"partition 1: {FILE} begins with record 2, 1 would be next",
                f"partition 1: {MANIFEST}: first_record_number 1 in the manifest, 2 in the file row",
            ],
            id="file row altered",
        ),
    ],
)
async def test_an_altered_index_is_named(
    exported: Path, reconciler: Reconciler, tmp_path: Path, statement: str, differences: list[str]
) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        assert connection.execute(statement).rowcount > 0
    connection.close()
    found = (await reconciler.reconcile()).differences
    assert [each for each in found if each in differences] == differences
    assert found[0] == differences[0]


async def test_a_journal_whose_charge_does_not_add_up_is_named(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    accounting.append(0, settled(1, charged_amount=13_000_001))
    label = f"partition 0: CDR 1 of charging_id {charging_id(1)}"
    assert (await reconciler.reconcile()).differences == [
        f"{label}: charged_amount 13000001 in the journal, but debits and debt come to 13000000",
        f"{label}: the session's records charge 13000001 in the journal, its class charges come to 13000000",
    ]


async def test_a_session_charged_twice_is_named(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    accounting.append(0, settled(1))
    accounting.append(0, settled(1))
    label = f"partition 0: CDR 2 of charging_id {charging_id(1)}"
    assert (await reconciler.reconcile()).differences == [
        f"{label}: record_sequence_number 1 in the journal, 2 would be next",
        f"{label}: the session's records charge 26000000 in the journal, its class charges come to 13000000",
    ]


async def test_a_journal_changed_after_export_is_named(
    exported: Path, accounting: ScriptedAccounting, reconciler: Reconciler
) -> None:
    accounting.rows[1][2][0].session_settled.debt_amount = 1
    found = (await reconciler.reconcile()).differences
    label = f"partition 1: CDR 2 of charging_id {charging_id(2)}"
    assert found == [
        f"{label}: charged_amount 15000000 in the journal, but debits and debt come to 15000001",
        f"{label}: debt_amount 0 in the file, 1 in the journal",
        f"{label}: debt_amount 0 in the index, 1 in the journal",
        f"partition 1: usage of entry (3, 0) of account {ACCOUNT_ID}: in the journal, but not in the billed items",
        f"partition 1: account {ACCOUNT_ID}: debt in TOKEN: 0 in the records, 1 in the journal",
    ]


async def test_a_journal_that_lost_its_end_is_named(exported: Path, accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    accounting.rows[1].pop()
    found = (await reconciler.reconcile()).differences
    assert found[0].startswith("partition 1: not exported to the journal's end: exported up to sequence number 4")
    assert f"partition 1: CDR 3 of charging_id {charging_id(3)}: in the index, but not in the journal" in found
    assert f"partition 1: CDR 3 of charging_id {charging_id(3)}: in {FILE}, but not in the journal" in found


async def test_an_item_of_a_row_that_the_journal_lost_is_named(
    charged: Path, accounting: ScriptedAccounting, reconciler: Reconciler
) -> None:
    accounting.rows[1].pop()
    found = (await reconciler.reconcile()).differences
    assert f"partition 1: debt_repaid of entry (3, 1) of account {ACCOUNT_ID}: in the billed items, but not in the journal" in found


async def test_another_era_is_a_difference(exported: Path, accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    accounting.era = 0
    (difference,) = (await reconciler.reconcile()).differences
    assert difference.startswith("accounting's journal is of era 0, but partition 1 was exported from era 1")


async def test_a_folder_that_cannot_be_written_is_a_difference(
    accounting: ScriptedAccounting, folder: Path, reconciler: Reconciler
) -> None:
    await asyncio.to_thread(folder.write_text, "in the way")
    accounting.append(0, settled(1))
    found = (await reconciler.reconcile()).differences
    assert found[0].startswith("partition 0: not exported to the journal's end: the CDR folder can't be written")


async def test_at_most_100_differences_are_listed(
    accounting: ScriptedAccounting, exporter: Exporter, reconciler: Reconciler
) -> None:
    for number in range(DIFFERENCES_MAX + 20):
        accounting.append(0, settled(number, charged_amount=1))
    found = (await reconciler.reconcile()).differences
    assert len(found) == DIFFERENCES_MAX
    assert found[-1] == "and 141 more differences"


async def test_the_index_alone_answers_after_a_session_of_another_partition_was_tampered_with(
    exported: Path, store: SqliteStore, reconciler: Reconciler
) -> None:
    (exported / FILE).unlink()
    await reconciler.reconcile()
    assert [row.record_number for row in await store.records(ACCOUNT_ID, charging_id(4))] == [1, 2]


# Several tariffs


async def test_a_session_that_crosses_from_tokens_into_money_agrees(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    tokens, money = settled(1, more_records=True), settled_in_money(1, output_tokens=12_000)
    accounting.append(0, created(1))
    accounting.append(0, tokens, money)
    assert await reconciler.reconcile() == (3, 2, 0, 1, [])


async def test_each_unit_of_a_session_is_held_against_its_own_class_charges(
    accounting: ScriptedAccounting, reconciler: Reconciler
) -> None:
    money = settled_in_money(1, output_tokens=12_000)
    wrong = settled_in_money(2, output_tokens=12_000, charged_amount=money.charged_amount + 1, debt_amount=1)
    accounting.append(0, settled(1, more_records=True), money)
    accounting.append(0, settled(2, more_records=True), wrong)
    assert (await reconciler.reconcile()).differences == [
        f"partition 0: CDR 4 of charging_id {charging_id(2)}: the session's records charge {money.charged_amount + 1} in the "
        f"journal, its class charges come to {money.charged_amount}"
    ]


async def test_a_late_release_goes_on_in_each_unit_where_the_sweep_left_it(
    accounting: ScriptedAccounting, reconciler: Reconciler
) -> None:
    """The sweep took 13 tokens and 2 yuan; the end is 5 yuan."""
    swept = settled_in_money(1, output_tokens=2, rate=10**12, close_cause=pb.CLOSE_CAUSE_SWEPT)
    late = settled_in_money(1, output_tokens=5, rate=10**12, record_sequence_number=3, charged_amount=3_000_000)
    late.debits[0].amount = 3_000_000
    accounting.append(0, settled(1, more_records=True, close_cause=pb.CLOSE_CAUSE_SWEPT), swept)
    accounting.append(0, late)
    assert (await reconciler.reconcile()).differences == []


async def test_a_sweep_and_its_late_release_may_stand_in_one_row(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    late = settled(1, output_tokens=9, record_sequence_number=2, charged_amount=6_000_000)
    late.debits[0].amount = 6_000_000
    accounting.append(0, settled(1, close_cause=pb.CLOSE_CAUSE_SWEPT), late)
    assert (await reconciler.reconcile()).differences == []


async def test_two_lines_of_one_tariff_are_two_lines(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    """Buckets of the account's own offering and of one that it bought may have the same tariff."""
    swept = {"close_cause": pb.CLOSE_CAUSE_SWEPT}
    accounting.append(0, settled(1, 3, more_records=True, **swept), settled(1, 5, record_sequence_number=2, **swept))
    accounting.append(0, settled(1, 9, record_sequence_number=3, charged_amount=4_000_000, debits=[], debt_amount=4_000_000))
    assert (await reconciler.reconcile()).differences == []
    late = settled(2, 9, record_sequence_number=3, charged_amount=4_000_001, debits=[], debt_amount=4_000_001)
    accounting.append(0, settled(2, 3, more_records=True, **swept), settled(2, 5, record_sequence_number=2, **swept))
    accounting.append(0, late)
    (difference,) = (await reconciler.reconcile()).differences
    assert f"of charging_id {charging_id(2)}: the session's records charge" in difference


async def test_debts_and_losses_are_summed_unit_by_unit(
    accounting: ScriptedAccounting, exporter: Exporter, reconciler: Reconciler, folder: Path
) -> None:
    money = settled_in_money(1, absorbed_amount=9, debt_amount=2, debits=[pb.BucketAmount(bucket_id="bkt-money", amount=1)])
    accounting.append(0, settled(1, more_records=True, debits=[], debt_amount=13_000_000), money)
    await exporter.export()
    (path,) = folder.glob("*.jsonl.gz")
    path.unlink()
    found = (await reconciler.reconcile()).differences
    assert [each for each in found if "account" in each] == [
        f"partition 0: account {ACCOUNT_ID}: absorbed in CNY: 0 in the records, 9 in the journal",
        f"partition 0: account {ACCOUNT_ID}: bucket bkt-money: 0 in the records, 1 in the journal",
        f"partition 0: account {ACCOUNT_ID}: debt in CNY: 0 in the records, 2 in the journal",
        f"partition 0: account {ACCOUNT_ID}: debt in TOKEN: 0 in the records, 13000000 in the journal",
    ]


# Absorbed usage


def absorbing(number: int, **fields: Any) -> pb.SessionSettled:
    """Rated 13 tokens, of which 9 were charged and 4 absorbed; the vendor made 300 more of output, of images and of sound."""
    given: dict[str, Any] = {
        "charged_amount": 9_000_000,
        "debits": [pb.BucketAmount(bucket_id="bkt-1", amount=9_000_000)],
        "absorbed_amount": 4_000_000,
        "unpaid": pb.TokenUsage(output=300, image_output=7, spoken_characters=1),
        "run_label": "nightly",
    }
    return settled(number, **{**given, **fields})


async def test_what_was_rated_is_what_was_charged_and_absorbed(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    accounting.append(0, absorbing(1))
    assert (await reconciler.reconcile()).differences == []
    accounting.append(0, absorbing(2, absorbed_amount=3_999_999))
    assert (await reconciler.reconcile()).differences == [
        f"partition 0: CDR 2 of charging_id {charging_id(2)}: the session's records charge 9000000 and absorb 3999999 in the "
        "journal, its class charges come to 13000000"
    ]


async def test_what_the_sweep_absorbed_is_not_charged_by_a_late_release(
    accounting: ScriptedAccounting, reconciler: Reconciler
) -> None:
    accounting.append(0, absorbing(1, close_cause=pb.CLOSE_CAUSE_SWEPT))
    accounting.append(0, settled(1, 5, record_sequence_number=2, charged_amount=2_000_000, debits=[], debt_amount=2_000_000))
    assert (await reconciler.reconcile()).differences == []
    accounting.append(1, absorbing(2, close_cause=pb.CLOSE_CAUSE_SWEPT))
    accounting.append(1, settled(2, 5, record_sequence_number=2, charged_amount=6_000_000, debits=[], debt_amount=6_000_000))
    (difference,) = (await reconciler.reconcile()).differences
    assert difference.endswith("the session's records charge 19000000 in the journal, its class charges come to 15000000")


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (b',"absorbed_amount":4000000', b"", "absorbed_amount null in the file, 4000000 in the journal"),
        (b'"absorbed_amount":4000000', b'"absorbed_amount":4000001', "absorbed_amount 4000001 in the file, 4000000 in the journal"),
        (b'"unpaid":{"output":300', b'"unpaid":{"output":30', "unpaid.output 30 in the file, 300 in the journal"),
        (b',"image_output":7', b"", "unpaid.image_output null in the file, 7 in the journal"),
        (b',"spoken_characters":1', b',"voices":1', "unpaid.spoken_characters null in the file, 1 in the journal"),
        (b'"reasoning":0', b'"reasoning":0,"audio_input":5', "usage.audio_input 5 in the file, null in the journal"),
        (b'"cache_write":0,', b"", "usage.cache_write null in the file, 0 in the journal"),
        (b',"run_label":"nightly"', b"", "run_label null in the file, nightly in the journal"),
    ],
)
async def test_an_altered_class_or_loss_is_named(
    accounting: ScriptedAccounting,
    exporter: Exporter,
    reconciler: Reconciler,
    folder: Path,
    old: bytes,
    new: bytes,
    difference: str,
) -> None:
    accounting.append(0, absorbing(1))
    await exporter.export()
    (path,) = folder.glob("*.jsonl.gz")
    replaced(old, new)(path)
    found = (await reconciler.reconcile()).differences
    assert f"partition 0: CDR 1 of charging_id {charging_id(1)}: {difference}" in found


async def test_classes_of_every_kind_agree(accounting: ScriptedAccounting, reconciler: Reconciler) -> None:
    names = [field.name for field in pb.TokenUsage.DESCRIPTOR.fields]
    usage = pb.TokenUsage(**{name: number for number, name in enumerate(names, 1)})
    charges = [class_charge(name, number, rate=10**9 * number) for number, name in enumerate(names, 1)]
    amount = sum(each.amount for each in charges)
    debits = [pb.BucketAmount(bucket_id="bkt-1", amount=amount)]
    accounting.append(0, settled(1, usage=usage, class_charges=charges, unit=CNY, charged_amount=amount, debits=debits))
    assert (await reconciler.reconcile()).differences == []


# What earlier releases wrote


async def test_a_journal_recorded_with_the_first_five_classes_agrees_with_its_lines_of_then(
    accounting: ScriptedAccounting, reconciler: Reconciler
) -> None:
    rows, _ = recorded_journal()
    accounting.rows[3] = rows
    assert (await reconciler.reconcile()) == (9, 7, 0, 1, [])


# Charges that are no calls


def write_charges(accounting: ScriptedAccounting) -> None:
    """Partition 1: a plan on a credit line in row 1, a call in row 2, a debt repaid in row 3."""
    line = granted("bkt-line", 10_000_000, unit=CNY, source="order:ord-1", subscription_id="sub-1", postpaid=True)
    price = pb.PriceCharged(order_id="ord-1", offering_id="plan", unit=CNY, amount=9_900_000)
    price.debits.add(bucket_id="bkt-line", amount=9_900_000)
    accounting.append(1, pb.OrderPlaced(order_id="ord-1", subscription_id="sub-1"), line, price)
    accounting.append(1, settled(1))
    accounting.append(1, granted("bkt-2", 5_000_000), pb.DebtRepaid(bucket_id="bkt-2", unit=TOKEN, amount=2_000_000))


CHARGES = "cdr-p0001-00000000000001-00000000000003.jsonl.gz"
OF_PRICE = f"partition 1: price 2 of account {ACCOUNT_ID}"


@pytest.fixture
async def charged(accounting: ScriptedAccounting, exporter: Exporter, folder: Path) -> Path:
    write_charges(accounting)
    assert await exporter.export() == {}
    return folder / CHARGES


async def test_charges_have_records_beside_calls_and_agree(charged: Path, reconciler: Reconciler) -> None:
    records = [msgspec.json.decode(line) for line in gzip.decompress(charged.read_bytes()).splitlines()]
    told = [(each["record_number"], each.get("record_type"), each.get("amount")) for each in records]
    assert told == [
        (1, "credit_line", 0),
        (2, "price", 9_900_000),
        (3, None, None),
        (4, "debt_repaid", 2_000_000),
        (5, "debt_repaid", -2_000_000),
    ]
    assert await reconciler.reconcile() == (6, 1, 4, 1, [])


def without_line(position: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda lines: lines[:position] + lines[position + 1 :]


async def test_a_lost_charge_is_named(charged: Path, reconciler: Reconciler) -> None:
    rewrite(charged, without_line(1))
    found = (await reconciler.reconcile()).differences
    assert f"partition 1: {CHARGES} has 4 records, but 5 were written" in found
    assert f"{OF_PRICE}: in the journal, but in no file" in found
    assert f"partition 1: account {ACCOUNT_ID}: price by bucket in CNY: 0 in the records, 9900000 in the journal" in found


async def test_a_doubled_charge_is_named(charged: Path, reconciler: Reconciler) -> None:
    rewrite(charged, lambda lines: [*lines, lines[1]])
    found = (await reconciler.reconcile()).differences
    assert f"partition 1: {CHARGES}: line 6 is entry (1, 2) again" in found


async def test_a_charge_that_nobody_made_is_named(charged: Path, reconciler: Reconciler) -> None:
    rewrite(charged, lambda lines: [*lines, lines[1].replace(b'"item_number":1', b'"item_number":7')])
    found = (await reconciler.reconcile()).differences
    assert f"{OF_PRICE}: in {CHARGES}, but not in the journal" in found
    assert f"partition 1: account {ACCOUNT_ID}: price by bucket in CNY: 19800000 in the records, 9900000 in the journal" in found


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        (b'"amount":9900000', b'"amount":990000', "amount 990000 in the file, 9900000 in the journal"),
        (b'"currency":"CNY","amount":99', b'"currency":"USD","amount":99', "currency USD in the file, CNY in the journal"),
        (b'"record_type":"price"', b'"record_type":"change"', "record_type change in the file, price in the journal"),
        (b'"paid_by":"bucket","bucket_id":"bkt-line","order', b'"paid_by":"debt","bucket_id":"bkt-line","order', "paid_by debt"),
        (b'"order_id":"ord-1"', b'"order_id":"ord-2"', "order_id ord-2 in the file, ord-1 in the journal"),
    ],
)
async def test_an_altered_charge_is_named(charged: Path, reconciler: Reconciler, old: bytes, new: bytes, difference: str) -> None:
    replaced(old, new)(charged)
    found = (await reconciler.reconcile()).differences
    assert any(each.startswith(f"{OF_PRICE}: {difference}") for each in found), found


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("DELETE FROM billed_item WHERE kind = 'price'", "price of entry (1, 2) {}: in the journal, but not in the billed items"),
        (
            "UPDATE billed_item SET amount = 1 WHERE kind = 'usage'",
            "usage of entry (2, 0) {}: amount 1 in the billed items, 13000000 in the journal",
        ),
        (
            "UPDATE billed_item SET item_number = 9 WHERE amount = -2000000",
            "debt_repaid of entry (3, 1) {}: in the billed items, but not in the journal",
        ),
    ],
)
async def test_altered_items_are_named(
    charged: Path, tmp_path: Path, reconciler: Reconciler, statement: str, difference: str
) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute(statement)
    connection.close()
    found = (await reconciler.reconcile()).differences
    assert f"partition 1: {difference.format(f'of account {ACCOUNT_ID}')}" in found
