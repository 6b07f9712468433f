"""The simulator's pace, in virtual time, and clients that go away before the end."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig
from tests.runtime.network import NetworkLoop
from tests.simulation.virtual_time import run_virtually


class Line:
    """A connection to the simulator."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def close(self) -> None:
        self._writer.close()

    def ask(self, method: str, path: str, body: bytes = b"") -> None:
        head = f"{method} /v1{path} HTTP/1.1\r\nhost: vendor\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)

    def complete(self, *, stream: bool = True, **simulate: Any) -> None:
        """Begins a completion for user "u"."""
        fields = {"model": "m-1", "messages": [{"role": "user", "content": "abcdefgh"}], "user": "u", "stream": stream}
        self.ask("POST", "/chat/completions", json.dumps({**fields, "simulate": simulate}).encode())

    async def served(self) -> Any:
        """What user "u" was served."""
        self.ask("GET", "/simulator/served")
        return json.loads((await self.reader.read()).partition(b"\r\n\r\n")[2])["by_user"]["u"]


def simulated(test: Callable[[Callable[[], Awaitable[Line]]], Awaitable[None]]) -> float:
    """Runs a test with the means to connect to a simulator; the loop's time when the simulator had ended."""
    loop = NetworkLoop()

    async def main() -> float:
        async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as url:
            port = int(url.removesuffix("/v1").rpartition(":")[2])

            async def connected() -> Line:
                return Line(*await asyncio.open_connection("127.0.0.1", port))

            await test(connected)
        return loop.time()

    ended_s: float = run_virtually(main(), loop)
    return ended_s


def test_pace_and_first_token_delay() -> None:
    async def test(connected: Callable[[], Awaitable[Line]]) -> None:
        line = await connected()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        line.complete(output_tokens=20, tokens_per_second=200, first_token_delay_ms=500)
        arrived = []
        async for raw in line.reader:
            if raw.startswith(b"data: {") and (content := json.loads(raw[6:])["choices"][0]["delta"].get("content")):
                arrived.append((round(loop.time() - begun_s, 3), len(content)))
        # Of four tokens each, when the last of them is made.
        assert arrived == [(0.52, 16), (0.54, 16), (0.56, 16), (0.58, 16), (0.6, 16)]

    simulated(test)


def test_a_client_that_goes_away_in_mid_stream_stops_the_production(caplog: pytest.LogCaptureFixture) -> None:
    async def test(connected: Callable[[], Awaitable[Line]]) -> None:
        line = await connected()
        line.complete(output_tokens=1_000, tokens_per_second=50)
        await asyncio.sleep(0.99)
        line.close()
        await asyncio.sleep(100.0)
        tally = await (await connected()).served()
        assert (tally["aborted"], tally["output_tokens"], tally["output_tokens_sent"]) == (1, 49, 49)

    simulated(test)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_while_the_model_thinks_or_before_a_plain_answer(stream: bool) -> None:
    async def test(connected: Callable[[], Awaitable[Line]]) -> None:
        line = await connected()
        line.complete(stream=stream, output_tokens=1_000, reasoning_tokens=1_000 if stream else 0, tokens_per_second=100)
        await asyncio.sleep(0.5)
        line.close()
        await asyncio.sleep(100.0)
        tally = await (await connected()).served()
        assert (tally["aborted"], tally["output_tokens"], tally["output_tokens_sent"]) == (1, 50, 0)

    simulated(test)


def test_the_end_hangs_up_on_whoever_waits(caplog: pytest.LogCaptureFixture) -> None:
    waiting = []

    async def test(connected: Callable[[], Awaitable[Line]]) -> None:
        waiting.append(await connected())
        waiting[0].complete(failure="hang_mid_stream")
        await asyncio.sleep(60.0)

    assert simulated(test) < 61
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
