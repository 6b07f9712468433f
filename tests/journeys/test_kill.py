"""kill -9 of everything in the middle of traffic, again and again: nothing acknowledged is lost, nothing is charged twice."""

import asyncio
import random
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.journeys.killable import ADMIN_TOKEN
from tests.waiting import WAIT_S

KILLS = 4
WORKERS = 16
# 40 letters are 10 tokens.
INPUT_TOKENS, OUTPUT_TOKENS = 10, 20
TOKEN = 1_000_000
ADMIN = {"authorization": f"Bearer {ADMIN_TOKEN}"}


async def start(folder: Path, http: aiohttp.ClientSession) -> tuple[Process, str, str]:
    """A process, and its addresses for clients and for the administration."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.journeys.killable", str(folder), "0", stdout=PIPE)
    assert process.stdout is not None
    base_url, _, operators_url = (await process.stdout.readline()).decode().strip().partition(" ")
    assert operators_url, "it ended before it listened"
    async with asyncio.timeout(WAIT_S):
        while (await answer(http, "GET", operators_url + "/readyz"))[0] != 200:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.02)
    return process, base_url, f"{operators_url}/v1"


async def answer(http: aiohttp.ClientSession, method: str, url: str, **options: Any) -> tuple[int, Any]:
    async with http.request(method, url, **options) as response:
        return response.status, msgspec.json.decode(await response.read())


async def call(http: aiohttp.ClientSession, base_url: str, api_key: str, rng: random.Random) -> str:
    """One call: "acknowledged" when its end was seen, "refused" when it was not taken, else "unknown"."""
    stream = rng.random() < 0.5
    body = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "x" * 4 * INPUT_TOKENS}],
        "max_tokens": OUTPUT_TOKENS,
        "stream": stream,
        "simulate": {"output_tokens": OUTPUT_TOKENS, "tokens_per_second": rng.choice((0, 0, 200))},
    }
    try:
        async with http.post(f"{base_url}/chat/completions", json=body, headers={"authorization": f"Bearer {api_key}"}) as response:
            content = await response.read()
    except aiohttp.ClientConnectorError:
        return "refused"
    except (aiohttp.ClientError, OSError):
        return "unknown"
    if response.status != 200:
        return "refused"
    return "acknowledged" if not stream or content.endswith(b"data: [DONE]\n\n") else "unknown"


async def test_killed_again_and_again_everything_acknowledged_is_charged_exactly_once(tmp_path: Path) -> None:
    rng = random.Random(7)
    outcomes: Counter[str] = Counter()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        process, base_url, admin_url = await start(tmp_path, http)
        _, opened = await answer(http, "POST", f"{admin_url}/admin/accounts", json={}, headers=ADMIN)
        account = f"/admin/accounts/{opened['account_id']}"
        bucket = {"unit": "TOKEN", "amount": 10**9 * TOKEN, "valid_days": 1, "idempotency_key": "first"}
        assert (await answer(http, "POST", admin_url + account + "/buckets", json=bucket, headers=ADMIN))[0] == 201
        _, key = await answer(http, "POST", admin_url + account + "/keys", json={}, headers=ADMIN)

        for _ in range(KILLS):
            answered, killed = asyncio.Event(), asyncio.Event()

            async def work(base_url: str = base_url, answered: asyncio.Event = answered, killed: asyncio.Event = killed) -> None:
                while not killed.is_set():
                    outcome = await call(http, base_url, key["api_key"], rng)
                    outcomes[outcome] += 1
                    if outcome == "acknowledged":
                        answered.set()

            async with asyncio.TaskGroup() as group:
                for _ in range(WORKERS):
                    group.create_task(work())
                # A family's first call loads its tokenizer, for longer the busier the machine is.
                async with asyncio.timeout(60):
                    await answered.wait()
                await asyncio.sleep(rng.uniform(0.3, 1.2))
                process.kill()
                await process.wait()
                killed.set()
            process, base_url, admin_url = await start(tmp_path, http)

        # Whatever was open when it was killed is swept one Tcc (2 s here) after the last start.
        async with asyncio.timeout(WAIT_S):
            while (shown := (await answer(http, "GET", admin_url + account, headers=ADMIN))[1])["sessions"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        (bucket,) = shown["buckets"]
        cost = (INPUT_TOKENS + OUTPUT_TOKENS) * TOKEN
        assert outcomes["acknowledged"] > 50, outcomes
        # A worker may meet the dead process once more, on a connection that was kept open.
        assert outcomes["unknown"] <= 2 * KILLS * WORKERS
        assert outcomes["acknowledged"] * cost <= bucket["consumed"] <= (outcomes["acknowledged"] + outcomes["unknown"]) * cost
        assert bucket["reserved"] == 0
        assert shown["debt"] == []
        assert (await answer(http, "POST", f"{admin_url}/admin/audit", headers=ADMIN))[1]["breaches"] == []
        reconciled = (await answer(http, "POST", f"{admin_url}/admin/reconcile", headers=ADMIN))[1]
        assert reconciled["differences"] == []
        assert reconciled["cdrs"] >= outcomes["acknowledged"]
        process.terminate()
        assert await process.wait() == 0
