"""Reading the journal goes on beside calls: it takes no long turns in the process that decides."""

import asyncio
from typing import Any, cast

from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroups
from services.accounting.core.entries import BucketExpired
from services.accounting.journal.codec import encode_row
from services.accounting.journal.store import JournalRow
from services.accounting.rpc.servicer import AccountingServicer
from tokenline.accounting.v1 import accounting_pb2 as pb

_ENTRIES = 320
# Some 20 us each: what a call may wait for.
_A_TURN = 32


class _Rows:
    """Server groups, as far as the journal is read of them: one partition with one row."""

    partition_count = 1

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        body = encode_row([BucketExpired(f"acct-{number:08d}", 1, "b", 5) for number in range(_ENTRIES)])
        return [JournalRow(part_id, 1, 1, _ENTRIES, body)] if after_seq == 0 else []


async def test_a_long_row_is_read_in_turns() -> None:
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    servicer = AccountingServicer(cast(ServerGroups, _Rows()), cast(Directory, None))
    began = turns
    reading: Any = servicer.ReadJournal(pb.ReadJournalRequest(part_id=0), cast(Any, None))
    (response,) = [response async for response in reading]
    done = True
    await task
    assert len(response.entries) == _ENTRIES
    assert turns - began >= _ENTRIES // _A_TURN
