"""A load generator: keep-alive HTTP/1.1 connections that each send the next request when the last answer is whole.

`python -m services.cli.load` reads one JSON `Load` a line from standard input. For each it writes the line "measuring" when the
warm-up is over, "measured" when the time is, and then a JSON `Measured`. It is a process of its own, so that its work is not taken
for that of the services.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

# A call without an answer for this long after the end counts as failed.
_LAST_ANSWERS_S: Final = 30.0
_RECONNECT_S: Final = 0.05


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The load to send."""

    # Where to POST.
    url: str
    # Bearer tokens, used in turn.
    api_keys: list[str]
    # The request's body, JSON.
    body: str
    connections: int
    warm_up_s: float
    seconds: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the answers."""

    # Answers in the measured time, and how many of these were not 200.
    calls: int
    failed: int
    # How they failed: number of calls.
    failures: dict[str, int]
    # All 200 answers, also those of the warm-up and the last ones on the way.
    succeeded_in_all: int
    # The measured time.
    seconds: float
    p50_ms: float
    p99_ms: float
    # Content events of streams in the measured time.
    chunks: int = 0


class _Counts:
    def __init__(self) -> None:
        self.latencies_s: list[float] = []
        self.failures: dict[str, int] = {}
        self.succeeded_in_all = 0
        self.measuring = False
        self.ending = False

    def count(self, outcome: str, latency_s: float) -> None:
        """`outcome` is empty for success."""
        self.succeeded_in_all += not outcome
        if self.measuring:
            self.latencies_s.append(latency_s)
            if outcome:
                self.failures[outcome] = self.failures.get(outcome, 0) + 1


class _Connection(asyncio.Protocol):
    def __init__(self, counts: _Counts, next_request: Callable[[], bytes]) -> None:
        self._counts = counts
        self._next_request = next_request
        # uvloop's transports are transports in all but their type.
        self._transport: Any = None
        self._parser: Any = None
        self._began_s = 0.0
        self._waiting = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpResponseParser(self)
        self._send()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._answered("not HTTP")
            self._close()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._answered("" if status == 200 else str(status))
        if self._counts.ending or not self._parser.should_keep_alive():
            self._close()
        else:
            # A parser takes up the next answer by itself.
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._answered("connection lost")
        if not self.closed.done():
            self.closed.set_result(None)

    def _send(self) -> None:
        self._waiting = True
        self._began_s = time.perf_counter()
        self._transport.write(self._next_request())

    def _answered(self, outcome: str) -> None:
        self._waiting = False
        self._counts.count(outcome, time.perf_counter() - self._began_s)

    def _close(self) -> None:
        self._transport.close()


def requests_of(url: str, api_keys: Sequence[str], body: str) -> list[bytes]:
    """The POST of a JSON body to a URL, with each API key."""
    parts = urlsplit(url)
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
    rest = f"Content-Length: {len(body.encode())}\r\n\r\n{body}"
    return [f"{head}Authorization: Bearer {api_key}\r\n{rest}".encode() for api_key in api_keys]


async def run(load: Load, report: Callable[[str], None]) -> Measured:
    """Sends the load; `report` hears when measuring begins and ends."""
    url = urlsplit(load.url)
    host, port = url.hostname or "", url.port or 80
    requests = requests_of(load.url, load.api_keys, load.body)
    sent = 0

    def next_request() -> bytes:
        nonlocal sent
        sent += 1
        return requests[sent % len(requests)]

    counts = _Counts()
    loop = asyncio.get_running_loop()

    async def connect_until_end() -> None:
        while not counts.ending:
            try:
                _, connection = await loop.create_connection(lambda: _Connection(counts, next_request), host, port)
            except OSError:
                counts.count("no connection", 0.0)
                await asyncio.sleep(_RECONNECT_S)
            else:
                await connection.closed

    tasks = [asyncio.create_task(connect_until_end()) for _ in range(load.connections)]
    await asyncio.sleep(load.warm_up_s)
    counts.measuring = True
    began_s = time.perf_counter()
    report("measuring")
    await asyncio.sleep(load.seconds)
    seconds = time.perf_counter() - began_s
    report("measured")
    counts.measuring = False
    counts.ending = True
    measured = _measured(counts, seconds)
    _, unanswered = await asyncio.wait(tasks, timeout=_LAST_ANSWERS_S)
    for task in unanswered:
        task.cancel()
    if unanswered:
        measured = msgspec.structs.replace(
            measured,
            calls=measured.calls + len(unanswered),
            failed=measured.failed + len(unanswered),
            failures={**measured.failures, "no answer": len(unanswered)},
        )
    return msgspec.structs.replace(measured, succeeded_in_all=counts.succeeded_in_all)


def _measured(counts: _Counts, seconds: float) -> Measured:
    ordered = sorted(counts.latencies_s)
    return Measured(
        calls=len(ordered),
        failed=sum(counts.failures.values()),
        failures=dict(counts.failures),
        succeeded_in_all=counts.succeeded_in_all,
        seconds=seconds,
        p50_ms=percentile_ms(ordered, 50),
        p99_ms=percentile_ms(ordered, 99),
    )


def percentile_ms(ordered_s: Sequence[float], percent: int) -> float:
    """A percentile of ascending times, in ms, by nearest rank; 0 when there is nothing."""
    return ordered_s[-(-percent * len(ordered_s) // 100) - 1] * 1_000 if ordered_s else 0.0


def write_line(line: str) -> None:
    """Tells whoever started this process."""
    print(line, flush=True)


def main() -> None:
    """Runs each load of standard input until it ends."""
    for line in sys.stdin:
        load = msgspec.json.decode(line, type=Load)
        write_line(msgspec.json.encode(uvloop.run(run(load, write_line))).decode())


if __name__ == "__main__":
    main()
