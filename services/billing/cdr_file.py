"""CDR files: names, manifests, and how a range of journal entries becomes a file's bytes and the store's rows.

A file covers a range of a partition's sequence numbers. Its bytes depend on the range's entries and the first record number
alone: one gzip member, without a time or a name inside.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from services.billing.cdr import Cdr, cdr_of, is_charged
from services.billing.charge import ChargeRecord, charge_of
from services.billing.items import BilledItem, ItemMaker, PlacedOrder
from tokenline.accounting.v1 import accounting_pb2 as pb

# Level 1, because CDRs repeat themselves: higher levels cost far more time than they save space.
_GZIP_LEVEL: Final = 1
# zlib's number for "write a gzip header"; it has no time and no name in it.
GZIP_WINDOW: Final = 31

_SUFFIX: Final = ".jsonl.gz"
_MANIFEST_SUFFIX: Final = ".manifest.json"

_encoder: Final = msgspec.json.Encoder()


class CdrFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as manifest and file row describe it; `sha256` and `size_bytes` are of the compressed file.

    Ranges of one partition follow one another and never overlap; entries between two of them made no record. Record numbers
    go on from file to file without a gap. A record is the CDR of a call, or a charge that is none.
    """

    name: str
    part_id: int
    from_sequence_number: int
    to_sequence_number: int
    first_record_number: int
    records: int
    size_bytes: int
    sha256: str


class IndexRow(NamedTuple):
    """Where a session's record is found: `entry` is the serialized JournalEntry, so that no file is read for a receipt."""

    part_id: int
    sequence_number: int
    entry_index: int
    record_number: int
    charging_id: str
    account_id: str
    record_sequence_number: int
    entry: bytes


def file_name(part_id: int, from_seq: int, to_seq: int) -> str:
    """For example "cdr-p0003-00000000000001-00000000000042.jsonl.gz"."""
    return f"cdr-p{part_id:04d}-{from_seq:014d}-{to_seq:014d}{_SUFFIX}"


def manifest_name(name: str) -> str:
    """The manifest beside the file of that name. A file without one is not complete."""
    return name.removesuffix(_SUFFIX) + _MANIFEST_SUFFIX


def manifest_content(file: CdrFile) -> bytes:
    """The manifest's bytes: one JSON object in one line."""
    return _encoder.encode(file) + b"\n"


def parse_manifest(content: bytes) -> CdrFile:
    """Errors: `msgspec.DecodeError` for anything but a manifest."""
    return msgspec.json.decode(content, type=CdrFile)


class Rows(NamedTuple):
    """A range of entries as the store has it, beside its file: `records` lines were written."""

    records: int
    calls: list[IndexRow]
    # Those of calls and of all other charges.
    items: list[BilledItem]
    orders: list[PlacedOrder]


class CdrFileBuilder:
    """Collects a range of a partition's entries, in order, into one file. Pure and synchronous: run large work in a thread.

    Without charges, the range is one that an earlier release began: it has records of calls alone, and no items.
    """

    def __init__(self, part_id: int, from_seq: int, first_record_number: int, *, with_charges: bool) -> None:
        self.part_id = part_id
        self.from_seq = from_seq
        self.to_seq = from_seq - 1
        self.first_record_number = first_record_number
        self.entry_count = 0
        self._next_record_number = first_record_number
        self.with_charges = with_charges
        self._calls: list[IndexRow] = []
        self._items: list[BilledItem] = []
        self._maker = ItemMaker()
        self._lines = bytearray()

    @property
    def name(self) -> str:
        """The file's name, for the range so far."""
        return file_name(self.part_id, self.from_seq, self.to_seq)

    @property
    def size_bytes(self) -> int:
        """Size of the lines so far, uncompressed."""
        return len(self._lines)

    @property
    def rows(self) -> Rows:
        """The range so far."""
        return Rows(self._next_record_number - self.first_record_number, self._calls, self._items, self._maker.orders)

    def unknown_orders(self, entries: Sequence[pb.JournalEntry]) -> set[str]:
        """Orders before the range that the next entries need; give them to `add`."""
        return self._maker.unknown_orders(entries) if self.with_charges else set()

    def add(self, entries: Sequence[pb.JournalEntry], orders: Mapping[str, PlacedOrder]) -> None:
        """Takes the next whole rows. Errors: `CdrError`; then the builder is of no more use."""
        self._maker.learn(orders)
        records: list[Cdr | ChargeRecord] = []
        for entry in entries:
            number = self._next_record_number
            items = self._maker.items_of(entry, number) if self.with_charges else []
            if is_charged(entry):
                cdr = cdr_of(entry, number)
                records.append(cdr)
                self._calls.append(_index_row(entry, cdr))
                self._next_record_number += 1
            elif items:
                records += map(charge_of, items)
                self._next_record_number += len(items)
            self._items += items
        self._lines += _encoder.encode_lines(records)
        self.entry_count += len(entries)
        self.to_seq = entries[-1].sequence_number

    def finish(self) -> tuple[CdrFile, bytes]:
        """The file and its bytes."""
        # Compress in one call, because the bytes that deflate makes of pieces may depend on where they were cut.
        content = zlib.compress(self._lines, _GZIP_LEVEL, GZIP_WINDOW)
        file = CdrFile(
            name=self.name,
            part_id=self.part_id,
            from_sequence_number=self.from_seq,
            to_sequence_number=self.to_seq,
            first_record_number=self.first_record_number,
            records=self.rows.records,
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return file, content


def _index_row(entry: pb.JournalEntry, cdr: Cdr) -> IndexRow:
    return IndexRow(
        cdr.part_id,
        cdr.sequence_number,
        cdr.index,
        cdr.record_number,
        cdr.charging_id,
        cdr.account_id,
        cdr.record_sequence_number,
        entry.SerializeToString(deterministic=True),
    )
