"""CDR files: names, manifests, and how a range of journal entries becomes a file's bytes and its index rows.

A file covers a range of a partition's sequence numbers. Its bytes depend on the range's entries and the first record number
alone: one gzip member, without a time or a name inside.
"""

import hashlib
import zlib
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from services.billing.cdr import Cdr, cdr_of, is_charged
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

    Ranges of one partition follow one another and never overlap; entries between two of them made no CDR. Record numbers
    go on from file to file without a gap.
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


class CdrFileBuilder:
    """Collects a range of a partition's entries, in order, into one file. Pure and synchronous: run large work in a thread."""

    def __init__(self, part_id: int, from_seq: int, first_record_number: int) -> None:
        self.part_id = part_id
        self.from_seq = from_seq
        self.to_seq = from_seq - 1
        self.first_record_number = first_record_number
        self.entry_count = 0
        self.index: list[IndexRow] = []
        self._lines = bytearray()

    @property
    def name(self) -> str:
        """The file's name, for the range so far."""
        return file_name(self.part_id, self.from_seq, self.to_seq)

    @property
    def size_bytes(self) -> int:
        """Size of the lines so far, uncompressed."""
        return len(self._lines)

    def add(self, entries: Sequence[pb.JournalEntry]) -> None:
        """Takes the next whole rows. Errors: `CdrError`; then the builder is of no more use."""
        cdrs: list[Cdr] = []
        number = self.first_record_number + len(self.index)
        for entry in entries:
            if not is_charged(entry):
                continue
            cdr = cdr_of(entry, number)
            cdrs.append(cdr)
            self.index.append(
                IndexRow(
                    cdr.part_id,
                    cdr.sequence_number,
                    cdr.index,
                    number,
                    cdr.charging_id,
                    cdr.account_id,
                    cdr.record_sequence_number,
                    entry.SerializeToString(deterministic=True),
                )
            )
            number += 1
        self._lines += _encoder.encode_lines(cdrs)
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
            records=len(self.index),
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        return file, content
