"""Calls through the edges while something goes wrong, and what came of each."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from services.cli.replay.trace import read_trace

_CALL_S_MAX: Final = 60.0
_TOKENS_PER_SECOND: Final = 100
MODEL: Final = "deepseek-v4-flash"


class Outcome(msgspec.Struct, frozen=True):
    """One call that was answered in full."""

    charging_id: str
    tokens: int
    # What was going wrong when it was answered.
    phase: str


class Lengths(NamedTuple):
    """How long a call is."""

    input_tokens: int
    output_tokens: int


SHORT: Final = (Lengths(5, 20),)


def of_trace(path: Path) -> Sequence[Lengths]:
    """The calls of a trace, in its order."""
    return [Lengths(row.input_tokens, row.output_tokens) for row in read_trace(path)]


class Load:
    """Plain calls, and streams that take a while; they are as long as `lengths` say.

    Workers call one after another, or, with `calls_per_second`, calls come at that rate, whether those before have ended or not.
    One call in `stream_every` is a stream.
    """

    def __init__(
        self,
        base_urls: Sequence[str],
        api_keys: Sequence[str],
        *,
        workers: int = 0,
        calls_per_second: float = 0.0,
        stream_every: int = 2,
        lengths: Sequence[Lengths] = SHORT,
    ) -> None:
        self._base_urls = base_urls
        self._api_keys = api_keys
        self._workers = workers
        self._calls_per_second = calls_per_second
        self._stream_every = stream_every
        self._lengths = itertools.cycle(lengths)
        self._phase = ""
        self.acknowledged: list[Outcome] = []
        self.failures: Counter[str] = Counter()
        self.failed_at_s: list[float] = []
        # When the last answer came, and the longest time between two.
        self._last_s = 0.0
        self._gap_s = 0.0
        self.latencies_s: list[float] = []
        # Of plain calls only: a stream takes as long as its vendor.
        self.plain_latencies_s: list[float] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Calls while the block runs; then lets the last ones end."""
        stop = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(_CALL_S_MAX)) as http:
            workers = [asyncio.create_task(self._work(http, number, stop)) for number in range(self._workers)]
            if self._calls_per_second:
                workers.append(asyncio.create_task(self._arrive(http, stop)))
            try:
                yield
            finally:
                stop.set()
                await asyncio.gather(*workers)

    @property
    def gap_s(self) -> float:
        """The longest time without any answer; the one that goes on counts, too."""
        return max(self._gap_s, time.monotonic() - self._last_s) if self._last_s else 0.0

    def begin_phase(self, name: str) -> None:
        """The longest gap, failures and latencies count from now on."""
        self._phase = name
        self._last_s = time.monotonic()
        self._gap_s = 0.0
        self.failures.clear()
        self.latencies_s.clear()
        self.plain_latencies_s.clear()

    async def _work(self, http: aiohttp.ClientSession, number: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if not await self._call(http, number):
                await asyncio.sleep(0.1)

    async def _arrive(self, http: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        calls = set[asyncio.Task[bool]]()
        began_s = time.monotonic()
        for number in itertools.count():
            if stop.is_set():
                break
            calls.add(call := asyncio.create_task(self._call(http, number)))
            call.add_done_callback(calls.discard)
            await asyncio.sleep(began_s + (number + 1) / self._calls_per_second - time.monotonic())
        await asyncio.gather(*calls)

    async def _call(self, http: aiohttp.ClientSession, number: int) -> bool:
        """One call; whether it was answered in full."""
        key = self._api_keys[number % len(self._api_keys)]
        base_url = self._base_urls[number % len(self._base_urls)]
        streamed = number % self._stream_every == self._stream_every - 1
        lengths = next(self._lengths)
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "word " * lengths.input_tokens}],
            "max_tokens": max(200, lengths.output_tokens),
            "stream": streamed,
            **({"stream_options": {"include_usage": True}} if streamed else {}),
            "simulate": {
                "output_tokens": lengths.output_tokens,
                **({"tokens_per_second": _TOKENS_PER_SECOND} if streamed else {}),
            },
        }
        began_s = time.monotonic()
        try:
            async with http.post(
                f"{base_url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
            ) as response:
                charging_id = response.headers.get("x-request-id", "")
                usage = await (_streamed_usage(response) if streamed else _plain_usage(response))
        # Whatever it is: a task that ends with it would be heard of by nobody.
        except Exception as error:
            self._failed(f"{type(error).__name__} {error}")
            return False
        if isinstance(usage, str):
            self._failed(usage)
            return False
        now_s = time.monotonic()
        self._gap_s = max(self._gap_s, now_s - self._last_s) if self._last_s else 0.0
        self._last_s = now_s
        self.latencies_s.append(now_s - began_s)
        if not streamed:
            self.plain_latencies_s.append(now_s - began_s)
        self.acknowledged.append(Outcome(charging_id, usage, self._phase))
        return True

    def _failed(self, how: str) -> None:
        self.failures[how] += 1
        self.failed_at_s.append(time.monotonic())


async def _plain_usage(response: aiohttp.ClientResponse) -> int | str:
    """The tokens used; a text that says how it failed."""
    body = await response.read()
    if response.status != 200:
        return f"{response.status} {json.loads(body)['error']['message'][:80]}"
    total: int = json.loads(body)["usage"]["total_tokens"]
    return total


async def _streamed_usage(response: aiohttp.ClientResponse) -> int | str:
    if response.status != 200:
        return f"{response.status} {json.loads(await response.read())['error']['message'][:80]}"
    used: Any = None
    async for line in response.content:
        if line == b"data: [DONE]\n":
            return "a stream without usage" if used is None else int(used["total_tokens"])
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                return f"in the stream: {event['error']['message'][:80]}"
            used = event.get("usage") or used
    return "a stream without an end"
