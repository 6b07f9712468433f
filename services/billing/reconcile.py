"""Reconciliation: proof that journal, CDR files and index tell the same, and the carrier what is on the phone bill.

It reads the whole journal again and every file from disk, and compares them through code of its own (`expected`), so that a
fault of the export's shows. Damage of any kind is a named difference, never an error.
"""

import asyncio
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from google.protobuf.message import DecodeError

from services.billing.carrier.comparison import Comparison
from services.billing.cdr import Cdr
from services.billing.cdr_file import GZIP_WINDOW, CdrFile, IndexRow, manifest_name, parse_manifest
from services.billing.charge import ChargeRecord
from services.billing.expected import UNITS, ExpectedItems, Plain, expected_cdr, expected_charge
from services.billing.exporter import EraMismatchError, Exporter
from services.billing.items import BilledItem
from services.billing.journal import JournalError, JournalReader
from services.billing.store import Cursor, Store
from tokenline.accounting.v1 import accounting_pb2 as pb

DIFFERENCES_MAX: Final = 100

# Sequence numbers whose index rows are read at once after the journal's end.
_LEFTOVER_ROWS: Final = 1_000

_cdr_decoder: Final = msgspec.json.Decoder(Cdr)
_charge_decoder: Final = msgspec.json.Decoder(ChargeRecord)
# A CDR has no such field, and in a text its quotes would have a backslash before them.
_CHARGE: Final = b'"record_type":'
# (sequence number, index, item number) identify a record within its partition; a CDR has item number 0.
_Place = tuple[int, int, int]
# Offering, tariff, its version, unit and currency of a record.
_Tariff = tuple[str, str, int, str, str]


class _Line(NamedTuple):
    """The rated amount of a session under one tariff so far, in micro-units, and the last settlement that changed it."""

    tariff: _Tariff
    rated: int
    settlement: int


class _Settled(NamedTuple):
    """A session's records so far: the last one's number, how many settlements have ended, and what each line came to."""

    number: int = 0
    settlements: int = 0
    lines: tuple[_Line, ...] = ()


_NONE_SETTLED: Final = _Settled()


class Reconciliation(NamedTuple):
    """Counts of what was read, and the differences found (at most `DIFFERENCES_MAX` are listed)."""

    entries: int
    cdrs: int
    charges: int
    files: int
    differences: list[str]


class Reconciler:
    """Compares the journal of one accounting with the files and the index exported from it."""

    def __init__(
        self, journal: JournalReader, store: Store, exporter: Exporter, folder: Path, phone_bill: Comparison | None = None
    ) -> None:
        """`phone_bill` None: it is handed on to nobody."""
        self._journal = journal
        self._store = store
        self._exporter = exporter
        self._folder = folder
        self._phone_bill = phone_bill

    async def reconcile(self, *, write_missing: bool = False) -> Reconciliation:
        """Exports to the journal's end as it is now, then compares everything up to there; export goes on beside it.

        Errors: `ServiceError` when accounting or the store can't answer.
        """
        findings = _Findings()
        try:
            failures = await self._exporter.export()
        except EraMismatchError as error:
            findings.add(str(error))
            return findings.result()
        if write_missing:
            await self._exporter.replace_missing()
        for part_id, message in sorted(failures.items()):
            findings.add(f"partition {part_id}: not exported to the journal's end: {message}")
        cursors = await self._store.cursors()
        listing = await self._journal.list_partitions()
        for part_id, cursor in sorted(cursors.items()):
            await self._compare_partition(cursor, listing.ends.get(part_id, 0), findings)
        await self._find_strangers(findings)
        if self._phone_bill is not None:
            for difference in await self._phone_bill.differences():
                findings.add(difference)
        return findings.result()

    async def _compare_partition(self, cursor: Cursor, end: int, findings: "_Findings") -> None:
        part_id = cursor.part_id
        to_seq = min(cursor.exported_seq, end)
        # Files that export wrote since the cursor was read are none of this comparison's.
        files = [file for file in await self._store.files(part_id) if file.to_sequence_number <= cursor.exported_seq]
        comparison = _PartitionComparison(self._folder, cursor, files, findings)
        after_seq = 0
        try:
            async with aclosing(self._journal.read(part_id, 0, to_seq)) as batches:
                async for batch in batches:
                    last_seq = batch[-1].sequence_number
                    index = await self._store.index_rows(part_id, after_seq + 1, last_seq)
                    items = await self._store.items(part_id, after_seq + 1, last_seq)
                    await asyncio.to_thread(comparison.take, batch, index, items)
                    after_seq = last_seq
        except JournalError as error:
            findings.add(f"partition {part_id}: the journal is broken: {error}")
        # Index rows and items after the journal's end exist only where the journal ended too early.
        for from_seq in range(after_seq + 1, cursor.exported_seq + 1, _LEFTOVER_ROWS):
            to_seq = min(from_seq + _LEFTOVER_ROWS - 1, cursor.exported_seq)
            comparison.take_unjournaled(await self._store.index_rows(part_id, from_seq, to_seq))
            comparison.take_unjournaled_items(await self._store.items(part_id, from_seq, to_seq))
        await asyncio.to_thread(comparison.finish)

    async def _find_strangers(self, findings: "_Findings") -> None:
        """Names files of the folder without a file row, because nobody may take them for CDRs."""
        # Read the folder first, then the cursors, then the file rows. A range is pending before its file exists, and has its row
        # before it is no longer pending, so a file that is written meanwhile is found in one of the two.
        names = await asyncio.to_thread(_list_folder, self._folder, findings)
        known: set[str] = set()
        cursors = await self._store.cursors()
        for part_id, cursor in cursors.items():
            known.update(file.name for file in await self._store.files(part_id))
            if cursor.pending is not None:
                known.add(cursor.pending.file_name)
        known.update({manifest_name(name) for name in known})
        for name in sorted(names - known):
            findings.add(f"{name} is in the CDR folder, but was not exported there")


class _Findings:
    """Counts everything, keeps the first differences."""

    def __init__(self) -> None:
        self.entries = 0
        self.cdrs = 0
        self.charges = 0
        self.files = 0
        self._differences: list[str] = []
        self._count = 0

    def add(self, difference: str) -> None:
        self._count += 1
        if self._count <= DIFFERENCES_MAX:
            self._differences.append(difference)

    def result(self) -> Reconciliation:
        differences = self._differences
        if self._count > DIFFERENCES_MAX:
            listed = DIFFERENCES_MAX - 1
            differences = [*differences[:listed], f"and {self._count - listed} more differences"]
        return Reconciliation(self.entries, self.cdrs, self.charges, self.files, differences)


class _ReadFile(NamedTuple):
    """A CDR file as it is on disk. Not complete: what is missing from `lines` is named already, as damage of the file."""

    file: CdrFile
    lines: dict[_Place, bytes]
    complete: bool


class _PartitionComparison:
    """One partition's journal, taken batch by batch in order, against its files and index. Synchronous, for a thread.

    It keeps a number and a sum by tariff for each session, and the lines of one file at a time.
    """

    def __init__(self, folder: Path, cursor: Cursor, files: Sequence[CdrFile], findings: _Findings) -> None:
        self._folder = folder
        self._cursor = cursor
        self._findings = findings
        self._label = f"partition {cursor.part_id}"
        self._files = iter(files)
        self._next_file = next(self._files, None)
        self._file: _ReadFile | None = None
        self._filed_seq = 0
        self._filed_records = 0
        self._record_number = 0
        # charging_id -> last record sequence number, and what was rated under each tariff.
        self._sessions: dict[str, _Settled] = {}
        # One object for each tariff, however many sessions were charged under it.
        self._tariffs: dict[_Tariff, _Tariff] = {}
        self._expected = ExpectedItems()
        # (account_id, "bucket", its ID) and (account_id, "debt in", "absorbed in" or a kind of charge, a unit) -> what it came to
        # per the journal and per the records.
        self._sums: dict[tuple[str, str, str], list[int]] = {}

    def take(self, entries: Sequence[pb.JournalEntry], index: Sequence[IndexRow], items: Sequence[BilledItem]) -> None:
        """Compares whole rows with the index rows and items of the same sequence numbers."""
        index_by_place = {(row.sequence_number, row.entry_index): row for row in index}
        items_by_place = {(item.sequence_number, item.entry_index, item.item_number): item for item in items}
        self._findings.entries += len(entries)
        for _, row in groupby(entries, key=attrgetter("sequence_number")):
            whole = list(row)
            for entry, expected_items in zip(whole, self._expected.of_row(whole), strict=True):
                if entry.HasField("session_settled"):
                    self._take_call(entry, index_by_place.pop((entry.sequence_number, entry.index), None))
                elif entry.sequence_number >= self._cursor.charges_from_seq:
                    self._take_charges(expected_items)
                self._check_items(expected_items, items_by_place)
        self.take_unjournaled(index_by_place.values())
        self.take_unjournaled_items(items_by_place.values())

    def _take_call(self, entry: pb.JournalEntry, row: IndexRow | None) -> None:
        self._record_number += 1
        label = f"{self._label}: CDR {self._record_number} of charging_id {entry.session_settled.charging_id}"
        self._check_sums(entry, label)
        expected = {**expected_cdr(entry), "record_number": self._record_number}
        self._add_to_sums(expected, side=0)
        self._check_line(expected, (entry.sequence_number, entry.index, 0), label)
        self._check_index_row(entry, row, label)

    def _take_charges(self, items: Sequence[Plain]) -> None:
        for item in items:
            self._record_number += 1
            item["record_number"] = self._record_number
            charge = expected_charge(item)
            self._add_to_sums(charge, side=0)
            label = f"{self._label}: {item['kind']} {self._record_number} of account {item['account_id']}"
            self._check_line(charge, (item["sequence_number"], item["entry_index"], item["item_number"]), label)

    def _check_items(self, expected_items: Sequence[Plain], items_by_place: dict[_Place, BilledItem]) -> None:
        for expected in expected_items:
            place = (expected["sequence_number"], expected["entry_index"], expected["item_number"])
            if self._cursor.backfilled_seq < place[0] < self._cursor.charges_from_seq:
                continue
            label = f"{self._label}: {expected['kind']} of entry {place[:2]} of account {expected['account_id']}"
            item = items_by_place.pop(place, None)
            if item is None:
                self._findings.add(f"{label}: in the journal, but not in the billed items")
            elif (found := item._asdict()) != expected:
                for difference in _field_differences(found, expected, "in the billed items"):
                    self._findings.add(f"{label}: {difference}")

    def take_unjournaled(self, rows: Iterable[IndexRow]) -> None:
        """Names index rows without an entry."""
        for row in rows:
            self._add(f"CDR {row.record_number} of charging_id {row.charging_id}: in the index, but not in the journal")

    def take_unjournaled_items(self, items: Iterable[BilledItem]) -> None:
        """Names items without an entry."""
        for item in items:
            place = (item.sequence_number, item.entry_index)
            self._add(f"{item.kind} of entry {place} of account {item.account_id}: in the billed items, but not in the journal")

    def finish(self) -> None:
        """Ends the comparison: a line left in a file is too much, and the sums must agree."""
        while self._file is not None or self._next_file is not None:
            self._turn_file()
        if self._cursor.next_record_number != self._record_number + 1:
            self._add(
                f"the cursor says {self._cursor.next_record_number - 1} records were made, the journal has {self._record_number}"
            )
        for (account_id, what, which), (journaled, filed) in sorted(self._sums.items()):
            if journaled != filed:
                self._add(f"account {account_id}: {what} {which}: {filed} in the records, {journaled} in the journal")

    def _add(self, difference: str) -> None:
        self._findings.add(f"{self._label}: {difference}")

    def _add_to_sums(self, cdr: Mapping[str, Any], *, side: int) -> None:
        account_id = cdr["account_id"]
        if "record_type" in cdr:
            key = (account_id, f"{cdr['record_type']} by {cdr['paid_by']} in", cdr["currency"] or cdr["unit"])
            self._sums.setdefault(key, [0, 0])[side] += cdr["amount"]
            return
        for debit in cdr["debits"]:
            self._sums.setdefault((account_id, "bucket", debit["bucket_id"]), [0, 0])[side] += debit["amount"]
        for what, field in (("debt in", "debt_amount"), ("absorbed in", "absorbed_amount")):
            if amount := cdr.get(field, 0):
                unit = cdr["currency"] or cdr["unit"]
                self._sums.setdefault((account_id, what, unit), [0, 0])[side] += amount

    def _check_sums(self, entry: pb.JournalEntry, label: str) -> None:
        """Checks the journal's own sums: a charge is debits and debt; under a tariff, rated = charged + absorbed."""
        settled = entry.session_settled
        parts = sum(debit.amount for debit in settled.debits) + settled.debt_amount
        if settled.charged_amount != parts:
            self._findings.add(
                f"{label}: charged_amount {settled.charged_amount} in the journal, but debits and debt come to {parts}"
            )
        last_number, settlement, lines = self._sessions.get(settled.charging_id, _NONE_SETTLED)
        number = settled.record_sequence_number
        if number != last_number + 1:
            self._findings.add(f"{label}: record_sequence_number {number} in the journal, {last_number + 1} would be next")
        tariff = _tariff_of(settled)
        tariff = self._tariffs.setdefault(tariff, tariff)
        classes = sum(each.amount for each in settled.class_charges)
        rated = settled.charged_amount + settled.absorbed_amount
        if settled.HasField("unpaid"):
            # Take off the unpaid part of what was absorbed. It has no class charges, so it is the part that they do not explain.
            # Only a session's first record has it.
            rated -= min(settled.absorbed_amount, max(0, rated - classes))
        # The records of one settlement are of one line each, so that a record continues what an earlier settlement said. That may
        # stand in the same row: where an owner stood still, a late Release finds its session's sweep still to be done. Buckets of
        # the account's own offering and of a bought one may have the same tariff: then the line continued is the one that adds up.
        earlier = [line for line in lines if line.tariff == tariff and line.settlement != settlement]
        continued = next((line for line in earlier if _adds_up(line.rated, rated, classes)), earlier[0] if earlier else None)
        before = continued.rated if continued else 0
        if not _adds_up(before, rated, classes):
            absorbed = f" and absorb {settled.absorbed_amount}" if settled.absorbed_amount else ""
            self._findings.add(
                f"{label}: the session's records charge {before + settled.charged_amount}{absorbed} in the journal, "
                f"its class charges come to {max(before, classes)}"
            )
        others = tuple(line for line in lines if line is not continued)
        ended = settlement if settled.more_records else settlement + 1
        self._sessions[settled.charging_id] = _Settled(number, ended, (*others, _Line(tariff, before + rated, settlement)))

    def _check_line(self, expected: Mapping[str, Any], place: _Place, label: str) -> None:
        while (self._file is None or place[0] > self._file.file.to_sequence_number) and (
            self._next_file is not None and place[0] >= self._next_file.from_sequence_number
        ):
            self._turn_file()
        file = self._file
        line = None if file is None else file.lines.pop(place, None)
        if line is None:
            if file is None or file.complete or place[0] > file.file.to_sequence_number:
                self._findings.add(f"{label}: in the journal, but in no file")
            return
        found: dict[str, Any] = msgspec.json.decode(line)
        self._add_to_sums(found, side=1)
        if found != expected:
            for difference in _field_differences(found, expected, "in the file"):
                self._findings.add(f"{label}: {difference}")

    def _check_index_row(self, entry: pb.JournalEntry, row: IndexRow | None, label: str) -> None:
        if row is None:
            self._findings.add(f"{label}: in the journal, but not in the index")
            return
        settled = entry.session_settled
        found = {
            "record_number": row.record_number,
            "charging_id": row.charging_id,
            "account_id": row.account_id,
            "record_sequence_number": row.record_sequence_number,
        }
        expected = {
            "record_number": self._record_number,
            "charging_id": settled.charging_id,
            "account_id": entry.account_id,
            "record_sequence_number": settled.record_sequence_number,
        }
        if found != expected:
            for difference in _field_differences(found, expected, "in the index"):
                self._findings.add(f"{label}: {difference}")
        try:
            indexed = pb.JournalEntry.FromString(row.entry)
        except DecodeError:
            self._findings.add(f"{label}: the entry in the index can't be read")
            return
        if indexed != entry:
            differences = list(_field_differences(expected_cdr(indexed), expected_cdr(entry), "in the index"))
            for difference in differences or ["the entry in the index is another than in the journal"]:
                self._findings.add(f"{label}: {difference}")

    def _turn_file(self) -> None:
        """Ends the file at hand: names its lines without a journal entry. Then reads the next file."""
        if self._file is not None:
            for line in self._file.lines.values():
                cdr: dict[str, Any] = msgspec.json.decode(line)
                if "record_type" in cdr:
                    label = f"{cdr['record_type']} {cdr['record_number']} of account {cdr['account_id']}"
                else:
                    label = f"CDR {cdr['record_number']} of charging_id {cdr['charging_id']}"
                self._add(f"{label}: in {self._file.file.name}, but not in the journal")
                self._add_to_sums(cdr, side=1)
        self._file = None
        file = self._next_file
        if file is None:
            return
        self._next_file = next(self._files, None)
        if file.from_sequence_number <= self._filed_seq:
            self._add(f"{file.name} begins at {file.from_sequence_number}, but the file before it ends at {self._filed_seq}")
        if file.first_record_number != self._filed_records + 1:
            self._add(f"{file.name} begins with record {file.first_record_number}, {self._filed_records + 1} would be next")
        self._filed_seq = file.to_sequence_number
        self._filed_records = file.first_record_number + file.records - 1
        self._file = self._read_file(file)

    def _read_file(self, file: CdrFile) -> _ReadFile:
        self._check_manifest(file)
        try:
            content = (self._folder / file.name).read_bytes()
        except FileNotFoundError:
            self._add(f"{file.name} is missing")
            return _ReadFile(file, {}, complete=False)
        except OSError as error:
            self._add(f"{file.name} can't be read: {error.strerror}")
            return _ReadFile(file, {}, complete=False)
        self._findings.files += 1
        if len(content) != file.size_bytes or hashlib.sha256(content).hexdigest() != file.sha256:
            self._add(f"{file.name} was altered: its checksum is not the one it was written with")
        lines, damage = _unpack(content)
        found: dict[_Place, bytes] = {}
        for position, line in enumerate(lines):
            if (problem := self._take_line(file, file.first_record_number + position, line, found)) is not None:
                self._add(f"{file.name}: line {position + 1} {problem}")
                damage = damage or "has lines that are no records of it"
        if damage:
            self._add(f"{file.name} {damage}")
        elif len(lines) != file.records:
            self._add(f"{file.name} has {len(lines)} records, but {file.records} were written")
        cdrs = sum(item_number == 0 for _, _, item_number in found)
        self._findings.cdrs += cdrs
        self._findings.charges += len(found) - cdrs
        return _ReadFile(file, found, complete=not damage)

    def _take_line(self, file: CdrFile, record_number: int, line: bytes, found: dict[_Place, bytes]) -> str | None:
        """Puts the line where it belongs; returns what is wrong with it if it can't be there."""
        record: Cdr | ChargeRecord
        try:
            record = _charge_decoder.decode(line) if _CHARGE in line else _cdr_decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return f"is no record: {error}"
        entry = (record.sequence_number, record.index)
        place = (*entry, record.item_number if isinstance(record, ChargeRecord) else 0)
        if record.part_id != file.part_id or not file.from_sequence_number <= entry[0] <= file.to_sequence_number:
            return f"is entry {entry} of partition {record.part_id}, which is not of this file"
        if place in found:
            return f"is entry {entry} again"
        found[place] = line
        if record.record_number != record_number:
            self._add(f"{file.name}: record {record.record_number} stands where {record_number} would be next")
        return None

    def _check_manifest(self, file: CdrFile) -> None:
        name = manifest_name(file.name)
        try:
            manifest = parse_manifest((self._folder / name).read_bytes())
        except FileNotFoundError:
            self._add(f"{name} is missing")
            return
        except OSError as error:
            self._add(f"{name} can't be read: {error.strerror}")
            return
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._add(f"{name} is no manifest: {error}")
            return
        found, expected = msgspec.to_builtins(manifest), msgspec.to_builtins(file)
        for difference in _field_differences(found, expected, "in the manifest", "in the file row"):
            self._add(f"{name}: {difference}")


def _unpack(content: bytes) -> tuple[list[bytes], str]:
    """The lines of a gzip file as far as they can be read, and what is wrong with it, empty if nothing is."""
    unpacker = zlib.decompressobj(GZIP_WINDOW)
    try:
        text = unpacker.decompress(content)
    except zlib.error as error:
        return [], f"can't be unpacked: {error}"
    damage = ""
    if not unpacker.eof:
        damage = "is cut off"
    elif unpacker.unused_data:
        damage = f"has {len(unpacker.unused_data)} bytes after its end"
    lines = text.split(b"\n")
    # Each line ends with a line feed, so bytes after the last one are no whole line.
    if lines.pop() and not damage:
        damage = "ends within a line"
    return lines, damage


def _list_folder(folder: Path, findings: _Findings) -> set[str]:
    try:
        return {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    except FileNotFoundError:
        # Nothing was ever exported, or each of its files is named as missing.
        return set()
    except OSError as error:
        findings.add(f"{folder} can't be listed: {error.strerror}")
        return set()


def _tariff_of(settled: pb.SessionSettled) -> _Tariff:
    unit = settled.unit
    return settled.offering_id, settled.tariff_id, settled.tariff_version, UNITS.get(unit.unit, "?"), unit.currency


def _adds_up(before: int, rated: int, classes: int) -> bool:
    """Whether a record that rates `rated` brings a line to the amount of its classes.

    A late Release that rates less than the sweep charged charges nothing, and gives nothing back.
    """
    return before + rated == max(before, classes)


def _field_differences(
    found: Mapping[str, Any], expected: Mapping[str, Any], where: str, elsewhere: str = "in the journal"
) -> Iterator[str]:
    """For example "charged_amount 5 in the file, 6 in the journal"; classes of usage are named one by one."""
    for name in {**expected, **found}:
        value, right = found.get(name), expected.get(name)
        if value == right:
            continue
        if isinstance(right, dict) and isinstance(value, dict):
            for difference in _field_differences(value, right, where, elsewhere):
                yield f"{name}.{difference}"
        else:
            yield f"{name} {_text(value)} {where}, {_text(right)} {elsewhere}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else msgspec.json.encode(value).decode()
