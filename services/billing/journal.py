"""Reading accounting's journal, with what every reader relies on checked: whole rows, in order, without a gap."""

from collections.abc import AsyncGenerator
from typing import Final, NamedTuple

import grpc

from services.runtime.clients import answer
from services.runtime.errors import from_rpc
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

_UNARY_S_MAX: Final = 5.0
_READ_S_MAX: Final = 100.0
# Rows are small: batches of about this many entries spare a step per row.
_BATCH_ENTRIES: Final = 512


class JournalError(Exception):
    """The journal does not read as a journal must; the message says where."""


class Listing(NamedTuple):
    """The journal's end in every partition, and the era it is of."""

    era: int
    ends: dict[int, int]


class JournalReader:
    """Accounting, as billing sees it."""

    def __init__(self, stub: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> None:
        self._stub = stub

    async def list_partitions(self) -> Listing:
        """The last committed sequence number of every partition. Errors: `ServiceError`."""
        response = await answer(self._stub.ListPartitions(pb.ListPartitionsRequest(), timeout=_UNARY_S_MAX))
        return Listing(response.era, {each.part_id: each.last_sequence_number for each in response.partitions})

    async def read(self, part_id: int, after_seq: int, to_seq: int) -> AsyncGenerator[list[pb.JournalEntry], None]:
        """The partition's entries after `after_seq` up to and including `to_seq`, in batches of whole rows.

        Close the iterator when stopping early. Errors: `JournalError` when an entry is missing, comes twice or is of another
        partition, or the journal ends before `to_seq`; `ServiceError` when accounting can't answer.
        """
        request = pb.ReadJournalRequest(part_id=part_id, after_sequence_number=after_seq, to_sequence_number=to_seq)
        call = self._stub.ReadJournal(request, timeout=_READ_S_MAX)
        place = (after_seq, 0)
        batch: list[pb.JournalEntry] = []
        try:
            async for response in call:
                entries = list(response.entries)
                if not entries:
                    continue
                place = _follow(part_id, place, entries)
                if batch and len(batch) + len(entries) > _BATCH_ENTRIES:
                    yield batch
                    batch = []
                batch += entries
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()
        if place[0] != to_seq:
            raise JournalError(f"the journal ends at sequence number {place[0]}, before {to_seq}, which it said it had")
        if batch:
            yield batch

    async def session_records(self, account_id: str, charging_id: str) -> list[pb.JournalEntry]:
        """The settled records that accounting still remembers. Errors: `ServiceError` RECORD_UNKNOWN and others."""
        request = pb.GetSessionRecordsRequest(account_id=account_id, charging_id=charging_id)
        response = await answer(self._stub.GetSessionRecords(request, timeout=_UNARY_S_MAX))
        return list(response.entries)


def _follow(part_id: int, place: tuple[int, int], entries: list[pb.JournalEntry]) -> tuple[int, int]:
    """Checks that the message's rows follow the last one; returns the place of its last entry.

    `place` is the (sequence number, index) of the entry before. A message begins with a new row.
    """
    seq, index = place[0], -1
    for position, entry in enumerate(entries):
        if entry.part_id != part_id:
            raise JournalError(f"partition {entry.part_id} was read instead of partition {part_id}")
        here = (entry.sequence_number, entry.index)
        follows_in_row = here == (seq, index + 1) and position > 0
        if not follows_in_row and here != (seq + 1, 0):
            raise JournalError(
                f"entry {here} was read after sequence number {seq}: "
                + ("an entry is missing" if here > (seq + 1, 0) else "entries came twice or out of order")
            )
        seq, index = here
    return seq, index
