"""Reading the journal leaves nothing out, and goes on beside calls: it takes no long turns in the process that decides."""

import asyncio
from typing import Any, cast

import pytest

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
    """Server groups, as far as the journal is read of them: one partition with rows of so many entries each."""

    partition_count = 1

    def __init__(self, *sizes: int) -> None:
        self._rows = [
            JournalRow(0, seq, 1, size, encode_row([BucketExpired(f"acct-{number:08d}", 1, "b", 5) for number in range(size)]))
            for seq, size in enumerate(sizes, start=1)
        ]

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        return self._rows[after_seq : after_seq + limit]


def _read(rows: _Rows) -> Any:
    servicer = AccountingServicer(cast(ServerGroups, rows), cast(Directory, None))
    return servicer.ReadJournal(pb.ReadJournalRequest(part_id=0), cast(Any, None))


@pytest.mark.parametrize("sizes", [(999, 1, 1, 5), (600, 600, 600), (1_500, 1, 1_000, 1), (7,) * 450])
async def test_each_row_comes_once_and_whole(sizes: tuple[int, ...]) -> None:
    messages = [[(each.sequence_number, each.index) for each in message.entries] async for message in _read(_Rows(*sizes))]
    expected = [(seq, index) for seq, size in enumerate(sizes, start=1) for index in range(size)]
    assert [place for message in messages for place in message] == expected
    assert all(message[0][1] == 0 for message in messages)
    assert max(map(len, messages)) <= max(1_000, *sizes)


async def test_a_long_row_is_read_in_turns() -> None:
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await asyncio.sleep(0)
    began = turns
    (response,) = [response async for response in _read(_Rows(_ENTRIES))]
    done = True
    await task
    assert len(response.entries) == _ENTRIES
    assert turns - began >= _ENTRIES // _A_TURN
