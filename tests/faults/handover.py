"""`python -m tests.faults.handover [MOVES]`: how long calls wait while their partition goes from one replica to another.

One caller a partition calls without a pause, and partitions are moved one after another; what counts is the time of a call that ran
while its own partition was moved, over what calls take otherwise.
"""

import asyncio
import sys
import time
from typing import Final
from zlib import crc32

import aiohttp

from tests.faults.cell import PARTITIONS, FaultCell
from tests.faults.load import MODEL

_MOVES: Final = 200
_PAUSE_S: Final = 0.1


class _Caller:
    """Calls on an account of one partition."""

    def __init__(self, base_url: str, api_key: str) -> None:
        self._url = f"{base_url}/v1/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        # When each call began and ended.
        self.calls: list[tuple[float, float]] = []
        self.failures: list[str] = []

    async def run(self, http: aiohttp.ClientSession) -> None:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Count."}], "simulate": {"output_tokens": 5}}
        while True:
            began_s = time.monotonic()
            async with http.post(self._url, json=body, headers=self._headers) as response:
                said = await response.text()
                if response.status != 200:
                    self.failures.append(f"{response.status} {said[:100]}")
            self.calls.append((began_s, time.monotonic()))
            await asyncio.sleep(0.002)


def _key_of_each_partition(cell: FaultCell) -> list[str]:
    keys: dict[int, str] = {}
    while len(keys) < PARTITIONS:
        account_id = cell.admin("POST", "/accounts", {})["account_id"]
        part_id = crc32(account_id.encode()) % PARTITIONS
        if part_id not in keys:
            bucket = {"unit": "TOKEN", "amount": 10**15, "valid_days": 30, "idempotency_key": "first"}
            cell.admin("POST", f"/accounts/{account_id}/buckets", bucket)
            keys[part_id] = cell.admin("POST", f"/accounts/{account_id}/keys", {})["api_key"]
    return [keys[part_id] for part_id in range(PARTITIONS)]


def _percentile(values: list[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


async def _run(cell: FaultCell, moves: int) -> int:
    callers = [_Caller(cell.base_url(), key) for key in await asyncio.to_thread(_key_of_each_partition, cell)]
    waited: list[float] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(30)) as http:
        tasks = [asyncio.create_task(caller.run(http)) for caller in callers]
        await asyncio.sleep(2)
        for number in range(moves):
            part_id = number % PARTITIONS
            began_s = time.monotonic()
            await asyncio.to_thread(cell.admin, "POST", f"/partitions/{part_id}/move", {})
            await asyncio.sleep(_PAUSE_S)
            ended_s = time.monotonic()
            during = [end - begin for begin, end in callers[part_id].calls if end > began_s and begin < ended_s]
            waited.append(max(during))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    usual = [end - begin for caller in callers for begin, end in caller.calls]
    failures = [failure for caller in callers for failure in caller.failures]
    print(f"{moves} partitions moved under {len(usual):,} calls, {len(failures)} failed")
    print(f"a call otherwise: p50 {_percentile(usual, 0.5) * 1e3:.0f} ms, p99 {_percentile(usual, 0.99) * 1e3:.0f} ms")
    print(
        f"the longest call of a partition while it moves: p50 {_percentile(waited, 0.5) * 1e3:.0f} ms, "
        f"p99 {_percentile(waited, 0.99) * 1e3:.0f} ms, max {max(waited) * 1e3:.0f} ms"
    )
    for failure in failures[:5]:
        print(failure)
    return 1 if failures else 0


def main(arguments: list[str]) -> int:
    """Prints the figures; 1 when a call failed."""
    with FaultCell(etcd_members=1) as cell:
        return asyncio.run(_run(cell, int(arguments[0]) if arguments else _MOVES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
