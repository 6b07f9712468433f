"""Charging data records and their files, by values."""

import gzip
import hashlib

import msgspec
import pytest

from services.billing.cdr import Cdr, CdrError, cdr_of, is_charged
from services.billing.cdr_file import (
    CdrFileBuilder,
    file_name,
    manifest_content,
    manifest_name,
    parse_manifest,
)
from services.token_classes import FIRST, TOKEN_CLASSES
from tests.billing.journals import ACCOUNT_ID, charging_id, class_charge, created, entry_of, opened, recorded_journal, settled
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2


def test_a_cdr_is_one_json_line_with_these_fields_in_this_order() -> None:
    line = msgspec.json.encode(cdr_of(entry_of(3, 42, 1, settled(7)), record_number=17)).decode()
    assert line == (
        '{"record_number":17,"part_id":3,"sequence_number":42,"index":1,'
        f'"charging_id":"{charging_id(7)}","record_sequence_number":1,"account_id":"{ACCOUNT_ID}","member_id":"mbr-1",'
        '"key_id":"key-1","model_id":"model-a","offering_id":"default","tariff_id":"tariff-1","tariff_version":2,'
        '"unit":"TOKEN","currency":"",'
        '"usage":{"input":10,"cached_input":0,"cache_write":0,"output":3,"reasoning":0},'
        '"class_charges":[{"token_class":"input","tokens":10,"rate":1000000000000,"amount":10000000},'
        '{"token_class":"output","tokens":3,"rate":1000000000000,"amount":3000000}],'
        '"charged_amount":13000000,"debits":[{"bucket_id":"bkt-1","amount":13000000}],"debt_amount":0,'
        '"close_cause":"normal","provenance":"vendor",'
        '"attempts":[{"vendor_id":"vendor-a","vendor_model_id":"a-1","outcome":"answered","http_status":200,"duration_ms":120}],'
        '"start_time":"2026-01-01T00:00:00.000000Z","end_time":"2026-01-01T00:00:42.000001Z"}'
    )


def test_later_classes_and_losses_follow_where_there_are_any() -> None:
    usage = pb.TokenUsage(**{name: number for number, name in enumerate(TOKEN_CLASSES, 1)})
    some = pb.TokenUsage(output=3, image_output=7)
    unpaid = pb.TokenUsage(cache_write_1h=2, reasoning=300)
    for used in (usage, some):
        fact = settled(7, usage=used, absorbed_amount=4_000_000, unpaid=unpaid)
        line = msgspec.json.encode(cdr_of(entry_of(3, 42, 1, fact), record_number=17)).decode()
        named = {name: getattr(used, name) for name in TOKEN_CLASSES if getattr(used, name) or name in TOKEN_CLASSES[:FIRST]}
        assert f'"usage":{msgspec.json.encode(named).decode()},"class_charges"' in line
        assert line.endswith(
            '"end_time":"2026-01-01T00:00:42.000001Z","absorbed_amount":4000000,"unpaid":{"reasoning":300,"cache_write_1h":2}}'
        )


def test_a_label_comes_last_where_there_is_one() -> None:
    line = msgspec.json.encode(cdr_of(entry_of(3, 42, 1, settled(7, run_label="nightly")), record_number=17)).decode()
    assert line.endswith('"end_time":"2026-01-01T00:00:42.000001Z","run_label":"nightly"}')


def test_unpaid_usage_of_nothing_is_left_out() -> None:
    bare, empty = entry_of(0, 1, 0, settled(1)), entry_of(0, 1, 0, settled(1))
    empty.session_settled.unpaid.SetInParent()
    assert empty.session_settled.HasField("unpaid")
    assert msgspec.json.encode(cdr_of(empty, 1)) == msgspec.json.encode(cdr_of(bare, 1))


def test_the_cdrs_of_a_recorded_journal_have_the_bytes_they_had() -> None:
    rows, lines = recorded_journal()
    builder = CdrFileBuilder(3, 1, 1, with_charges=True)
    for row in rows:
        builder.add(row, {})
    _, content = builder.finish()
    assert gzip.decompress(content) == lines


def test_recorded_cdrs_are_read_and_written_as_they_were() -> None:
    _, lines = recorded_journal()
    assert len(lines.splitlines()) == 7
    for line in lines.splitlines():
        cdr = msgspec.json.decode(line, type=Cdr)
        assert (cdr.absorbed_amount, cdr.unpaid) == (0, {})
        assert msgspec.json.encode(cdr) == line


@pytest.mark.parametrize("close_cause", [number for number in pb.CloseCause.values() if number])
def test_every_close_cause_of_the_contract_has_its_word(close_cause: pb.CloseCause) -> None:
    word = pb.CloseCause.Name(close_cause).removeprefix("CLOSE_CAUSE_").lower()
    assert cdr_of(entry_of(0, 1, 0, settled(1, close_cause=close_cause)), 1).close_cause == word


@pytest.mark.parametrize("provenance", [number for number in pb.UsageProvenance.values() if number])
def test_every_provenance_of_the_contract_has_its_word(provenance: pb.UsageProvenance) -> None:
    word = pb.UsageProvenance.Name(provenance).removeprefix("USAGE_PROVENANCE_").lower()
    assert cdr_of(entry_of(0, 1, 0, settled(1, provenance=provenance)), 1).provenance == word


@pytest.mark.parametrize("unit", [number for number in registry_pb2.Unit.values() if number])
def test_every_unit_of_the_contract_has_its_word(unit: registry_pb2.Unit) -> None:
    cdr = cdr_of(entry_of(0, 1, 0, settled(1, unit=pb.UnitOfAmount(unit=unit, currency="CNY"))), 1)
    assert (cdr.unit, cdr.currency) == (registry_pb2.Unit.Name(unit).removeprefix("UNIT_"), "CNY")


def test_a_value_without_a_word_is_refused_by_its_place() -> None:
    unknown = settled(1)
    unknown.ClearField("close_cause")
    with pytest.raises(CdrError, match=r"entry \(5, 2\).*close_cause 0"):
        cdr_of(entry_of(0, 5, 2, unknown), 1)


def test_a_class_of_a_later_release_is_refused_and_not_lost() -> None:
    later = settled(1, class_charges=[class_charge("input", 10, 10**12), class_charge("smell_input", 3, 10**12)])
    with pytest.raises(
        CdrError, match=r"entry \(5, 2\).* charges of the classes input, smell_input.* run the release that knows it"
    ):
        cdr_of(entry_of(0, 5, 2, later), 1)


def test_only_settled_sessions_make_cdrs() -> None:
    assert is_charged(entry_of(0, 1, 0, settled(1)))
    assert not is_charged(entry_of(0, 1, 0, created(1)))
    assert not is_charged(entry_of(0, 1, 0, opened()))


def test_a_file_holds_the_ranges_cdrs_and_the_index_their_entries() -> None:
    entries = [entry_of(3, 8, 0, created(1)), entry_of(3, 8, 1, settled(1)), entry_of(3, 9, 0, settled(2))]
    builder = CdrFileBuilder(3, from_seq=8, first_record_number=5, with_charges=True)
    builder.add(entries, {})
    file, content = builder.finish()
    assert file.name == "cdr-p0003-00000000000008-00000000000009.jsonl.gz"
    assert (file.part_id, file.from_sequence_number, file.to_sequence_number) == (3, 8, 9)
    assert (file.first_record_number, file.records, file.size_bytes) == (5, 2, len(content))
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    lines = gzip.decompress(content).splitlines()
    assert lines == [msgspec.json.encode(cdr_of(entries[1], 5)), msgspec.json.encode(cdr_of(entries[2], 6))]
    assert [(row.record_number, row.charging_id) for row in builder.rows.calls] == [(5, charging_id(1)), (6, charging_id(2))]
    assert [pb.JournalEntry.FromString(row.entry) for row in builder.rows.calls] == entries[1:]


def test_a_files_bytes_do_not_depend_on_how_the_journal_came() -> None:
    entries = [entry_of(0, seq, 0, settled(seq, output_tokens=seq % 90)) for seq in range(1, 2_000)]
    at_once = CdrFileBuilder(0, 1, 1, with_charges=True)
    at_once.add(entries, {})
    one_by_one = CdrFileBuilder(0, 1, 1, with_charges=True)
    for entry in entries:
        one_by_one.add([entry], {})
    assert at_once.finish() == one_by_one.finish()
    assert at_once.rows == one_by_one.rows


def test_a_files_bytes_hold_no_time() -> None:
    builder = CdrFileBuilder(0, 1, 1, with_charges=True)
    builder.add([entry_of(0, 1, 0, settled(1))], {})
    _, content = builder.finish()
    assert content[4:8] == bytes(4)


def test_a_manifest_stands_beside_its_file_and_reads_back() -> None:
    builder = CdrFileBuilder(12, 1, 1, with_charges=True)
    builder.add([entry_of(12, 1, 0, settled(1))], {})
    file, _ = builder.finish()
    assert manifest_name(file_name(12, 1, 42)) == "cdr-p0012-00000000000001-00000000000042.manifest.json"
    assert parse_manifest(manifest_content(file)) == file
