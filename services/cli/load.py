"""A load generator: HTTP/1.1 connections that each send the next request when the last answer is whole, or when one is due.

`python -m services.cli.load` reads one JSON `Load` a line from standard input. For each it writes the line "measuring" when the
warm-up is over, "measured" when the time is, and then a JSON `Measured`. It is a process of its own, so that its work is not taken
for that of the services.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
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
    # At once; of calls that arrive, at most.
    connections: int
    warm_up_s: float
    seconds: float
    # Calls arrive at this rate, evenly, whatever becomes of those before; 0: the next is sent when the last answer is whole.
    calls_per_second: float = 0.0
    # A connection is closed after this many calls, as clients come and go; 0: never.
    calls_per_connection: int = 0


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

    def count(self, outcome: str, latency_s: float, *, measured: bool) -> None:
        """`outcome` is empty for success; `measured`: the call belongs to the measured time."""
        self.succeeded_in_all += not outcome
        if measured:
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
        self._go_on()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._answered("not HTTP")
            self._close()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        self._answered("" if status == 200 else str(status))
        if self._parser.should_keep_alive():
            # A parser takes up the next answer by itself.
            self._go_on()
        else:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._answered("connection lost")
        if not self.closed.done():
            self.closed.set_result(None)

    def _go_on(self) -> None:
        """It is free for the next call."""
        if self._counts.ending:
            self._close()
        else:
            self._send(time.perf_counter())

    def _send(self, began_s: float) -> None:
        self._waiting = True
        self._began_s = began_s
        self._transport.write(self._next_request())

    def _answered(self, outcome: str) -> None:
        self._waiting = False
        self._counts.count(outcome, time.perf_counter() - self._began_s, measured=self._is_measured)

    @property
    def _is_measured(self) -> bool:
        """Whether a call that is answered now counts."""
        return self._counts.measuring

    def _close(self) -> None:
        self._transport.close()


class _Due(NamedTuple):
    """A call that has arrived."""

    due_s: float
    measured: bool


class _Arrivals:
    """Calls that arrive at a rate, each on a connection that is free, or a new one.

    Time counts from when a call was due, and every call counts that was due in the measured time, however late its answer.
    """

    def __init__(self, load: Load, counts: _Counts, next_request: Callable[[], bytes]) -> None:
        self._load = load
        self._counts = counts
        self._next_request = next_request
        self._url = urlsplit(load.url)
        # Calls that wait for a connection, connections that wait for a call, and all connections.
        self._due: deque[_Due] = deque()
        self._free: dict[_Arrival, None] = {}
        self._open: set[_Arrival] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Connections that are being opened count too.
        self._connections = 0
        self._all_due = False

    async def run(self) -> None:
        """Runs until all have come, and until every call is answered, or will not be."""
        load = self._load
        began_s = time.perf_counter()
        for number in range(round(load.calls_per_second * (load.warm_up_s + load.seconds))):
            after_s = number / load.calls_per_second
            await asyncio.sleep(max(0.0, began_s + after_s - time.perf_counter()))
            self._due.append(_Due(began_s + after_s, after_s >= load.warm_up_s))
            self._serve()
        self._all_due = True
        for free in tuple(self._free):
            free.close()
        until_s = time.perf_counter() + _LAST_ANSWERS_S
        while self._tasks and (left_s := until_s - time.perf_counter()) > 0:
            await asyncio.wait(self._tasks, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        while self._due:
            self._fail("no connection")
        for each in tuple(self._open):
            each.abort()
        for task in tuple(self._tasks):
            task.cancel()

    def _serve(self) -> None:
        if self._free:
            self._free.popitem()[0].take(self._due.popleft())
        elif self._connections < self._load.connections:
            self._connections += 1
            task = asyncio.create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        make = partial(_Arrival, self._counts, self._next_request, self, self._load.calls_per_connection)
        try:
            _, connection = await loop.create_connection(make, self._url.hostname or "", self._url.port or 80)
        except OSError:
            self._connections -= 1
            if self._due:
                self._fail("no connection")
        else:
            await connection.closed

    def _fail(self, how: str) -> None:
        due = self._due.popleft()
        self._counts.count(how, time.perf_counter() - due.due_s, measured=due.measured)

    def opened(self, connection: "_Arrival") -> None:
        """A connection is there."""
        self._open.add(connection)

    def offer(self, connection: "_Arrival") -> None:
        """A connection can send a call: the one that has waited for the longest, or one to come."""
        if self._due:
            connection.take(self._due.popleft())
        elif self._all_due:
            connection.close()
        else:
            self._free[connection] = None

    def forget(self, connection: "_Arrival") -> None:
        """A connection is closed."""
        self._open.discard(connection)
        self._connections -= 1
        self._free.pop(connection, None)
        if self._due:
            self._serve()


class _Arrival(_Connection):
    """A connection for calls that arrive."""

    def __init__(self, counts: _Counts, next_request: Callable[[], bytes], arrivals: _Arrivals, calls_max: int) -> None:
        super().__init__(counts, next_request)
        self._arrivals = arrivals
        self._calls_left = calls_max or -1
        self._measured = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._arrivals.opened(self)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._arrivals.forget(self)

    def take(self, due: _Due) -> None:
        """Sends a call."""
        self._measured = due.measured
        self._calls_left -= 1
        self._send(due.due_s)

    def close(self) -> None:
        """Closes a connection without a call."""
        self._close()

    def abort(self) -> None:
        """Ends a connection whose call is not answered."""
        if self._waiting:
            self._answered("no answer")
        self._transport.abort()

    def _go_on(self) -> None:
        if self._calls_left:
            self._arrivals.offer(self)
        else:
            self._close()

    @property
    def _is_measured(self) -> bool:
        return self._measured


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
                counts.count("no connection", 0.0, measured=counts.measuring)
                await asyncio.sleep(_RECONNECT_S)
            else:
                await connection.closed

    if load.calls_per_second:
        tasks = [asyncio.create_task(_Arrivals(load, counts, next_request).run())]
    else:
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
    _, unanswered = await asyncio.wait(tasks, timeout=None if load.calls_per_second else _LAST_ANSWERS_S)
    for task in unanswered:
        task.cancel()
    for _ in unanswered:
        counts.count("no answer", _LAST_ANSWERS_S, measured=True)
    return _measured(counts, seconds)


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
    """Tells the parent process."""
    print(line, flush=True)


def main() -> None:
    """Runs each load of standard input until it ends."""
    for line in sys.stdin:
        load = msgspec.json.decode(line, type=Load)
        write_line(msgspec.json.encode(uvloop.run(run(load, write_line))).decode())


if __name__ == "__main__":
    main()
