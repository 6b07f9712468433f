"""A load generator of streams: many streamed calls at once, each under way for the whole measured time.

`python -m services.cli.stream_load` speaks as `services.cli.load` does, with a `StreamLoad` a line. It counts events and does not
read them, so that it costs less than what it measures.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from services.cli.load import Measured, percentile_ms, requests_of, write_line

# The beginning of a content event's text; the event that opens a choice names its role first.
_CONTENT: Final = b'{"content":"'
_DONE: Final = b"[DONE]"
# The last chunk of a chunked body.
_BODY_END: Final = b"0\r\n\r\n"
_OK: Final = b"HTTP/1.1 200"
# Keep the end of each piece, because a mark may lie in two pieces. It is too short for a whole mark.
_KEPT_BYTES: Final = len(_CONTENT) - 1
# Times one stream of this many.
_TIMED_EVERY: Final = 16
# Streams that have not ended after this long count as failed.
_LAST_ENDS_S: Final = 60.0


class StreamLoad(msgspec.Struct, frozen=True, kw_only=True):
    """The load to send. Each call is answered with `chunks` content events, `chunks_per_second` of them a second."""

    # Where to POST.
    url: str
    # Bearer tokens, used in turn.
    api_keys: list[str]
    # The request's body, JSON; it asks for a stream.
    body: str
    streams: int
    chunks: int
    chunks_per_second: float
    # The calls begin within this time, evenly; measuring begins `settle_s` after it.
    ramp_s: float
    settle_s: float
    seconds: float


class _Counts:
    def __init__(self) -> None:
        self.chunks = 0
        self.failures: dict[str, int] = {}
        self.succeeded = 0
        self.measuring = False
        # Lateness of the chunks of each timed stream by its own beat, in the measured time.
        self.late_s: list[float] = []

    def fail(self, how: str) -> None:
        self.failures[how] = self.failures.get(how, 0) + 1


class _Stream(asyncio.Protocol):
    """One call on its own connection."""

    def __init__(self, counts: _Counts, request: bytes, load: StreamLoad, *, timed: bool) -> None:
        self._counts = counts
        self._request = request
        self._load = load
        self._timed = timed
        self._transport: Any = None
        self._begun = False
        self._done = False
        self._over = False
        self._kept = b""
        self._chunks = 0
        # When each piece came, less when its last chunk was due after the first: the least of them is a chunk without delay.
        self._offsets_s: list[float] = []
        self._least_s = float("inf")
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            if not data.startswith(_OK):
                self._end(data[9:12].decode("latin-1"))
                return
        joined = self._kept + data
        self._kept = joined[-_KEPT_BYTES:]
        chunks = joined.count(_CONTENT)
        if chunks:
            self._chunks += chunks
            if self._counts.measuring:
                self._counts.chunks += chunks
            if self._timed:
                self._time()
        if _DONE in joined:
            self._done = True
        if self._done and joined.endswith(_BODY_END):
            self._end("" if self._chunks == self._load.chunks else "cut short")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection lost")
        self.closed.set_result(None)

    def _time(self) -> None:
        offset_s = time.perf_counter() - self._chunks / self._load.chunks_per_second
        self._least_s = min(self._least_s, offset_s)
        if self._counts.measuring:
            self._offsets_s.append(offset_s)

    def _end(self, outcome: str) -> None:
        """`outcome` is empty for success; only the first one counts."""
        if self._over:
            return
        self._over = True
        if outcome:
            self._counts.fail(outcome)
        else:
            self._counts.succeeded += 1
        self._counts.late_s.extend(offset_s - self._least_s for offset_s in self._offsets_s)
        self._transport.close()


async def run(load: StreamLoad, report: Callable[[str], None]) -> Measured:
    """Sends the load; `report` hears when measuring begins and ends. `calls` are the streams, latencies how late chunks came."""
    url = urlsplit(load.url)
    requests = requests_of(load.url, load.api_keys, load.body)
    counts = _Counts()
    loop = asyncio.get_running_loop()

    async def stream(number: int) -> None:
        await asyncio.sleep(load.ramp_s * number / load.streams)
        request, timed = requests[number % len(requests)], number % _TIMED_EVERY == 0
        try:
            _, one = await loop.create_connection(
                lambda: _Stream(counts, request, load, timed=timed), url.hostname or "", url.port or 80
            )
        except OSError:
            counts.fail("no connection")
        else:
            await one.closed

    tasks = [asyncio.create_task(stream(number)) for number in range(load.streams)]
    await asyncio.sleep(load.ramp_s + load.settle_s)
    began_s = time.perf_counter()
    counts.measuring = True
    report("measuring")
    await asyncio.sleep(load.seconds)
    counts.measuring = False
    seconds = time.perf_counter() - began_s
    report("measured")
    _, unended = await asyncio.wait(tasks, timeout=load.ramp_s + _LAST_ENDS_S)
    for task in unended:
        task.cancel()
    if unended:
        counts.failures["no end"] = len(unended)
    late_s = sorted(counts.late_s)
    return Measured(
        calls=load.streams,
        failed=sum(counts.failures.values()),
        failures=counts.failures,
        succeeded_in_all=counts.succeeded,
        seconds=seconds,
        p50_ms=percentile_ms(late_s, 50),
        p99_ms=percentile_ms(late_s, 99),
        chunks=counts.chunks,
    )


def main() -> None:
    """Runs each load of standard input until it ends."""
    for line in sys.stdin:
        load = msgspec.json.decode(line, type=StreamLoad)
        write_line(msgspec.json.encode(uvloop.run(run(load, write_line))).decode())


if __name__ == "__main__":
    main()
