"""Load from inside the cluster: told what to do by lines of JSON, says what came of it in lines of JSON.

First line: the arguments of `Load`. Then `{"phase": NAME}` ends a phase, which is told, and begins the next; `{"stop": true}` ends
everything, after which each acknowledged call is told.
"""

import asyncio
import sys
from typing import Any

import msgspec

from tests.faults.load import Lengths, Load


async def main() -> None:
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    arguments = msgspec.json.decode(await reader.readline())
    lengths = [Lengths(*each) for each in arguments.pop("lengths")]
    load = Load(**arguments, lengths=lengths)
    async with load.running():
        load.begin_phase("")
        acknowledged = 0
        while True:
            told = msgspec.json.decode(await reader.readline())
            say(
                acknowledged=len(load.acknowledged) - acknowledged,
                failures=dict(load.failures),
                gap_s=load.gap_s,
                plain_p50_s=quantile(load.plain_latencies_s, 0.5),
                plain_p99_s=quantile(load.plain_latencies_s, 0.99),
                plain_max_s=max(load.plain_latencies_s, default=0.0),
            )
            if told.get("stop"):
                break
            acknowledged = len(load.acknowledged)
            load.begin_phase(told["phase"])
    for outcome in load.acknowledged:
        say(charging_id=outcome.charging_id, tokens=outcome.tokens, phase=outcome.phase)


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)] if values else 0.0


def say(**what: Any) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
