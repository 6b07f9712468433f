"""A listener with an application that says what it got, and clients that speak bytes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from services.runtime.http.exchange import Exchange
from services.runtime.http.limits import HttpLimits
from services.runtime.http.listener import Listener, listen_http
from tests.waiting import WAIT_S

# Each time that a test does not set: what would wait for it fails.
_NEVER: Final = dict.fromkeys(("head_s", "body_s", "idle_s", "write_s", "answer_s", "last_words_s"), 100 * WAIT_S)
PLAIN = (b"content-type", b"text/plain")


class Application:
    """Answers with the method, the path and the body's length. `/hold` waits until it is let go; `/stream` is made of parts."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        # Of those that were called: paths; of those whose client left: the same.
        self.called: list[str] = []
        self.left: list[str] = []
        self.piece = b"piece"
        self.on_called: Callable[[], None] = lambda: None

    async def __call__(self, exchange: Exchange) -> None:
        self.called.append(exchange.path)
        self.on_called()
        exchange.on_gone = lambda: self.left.append(exchange.path)
        match exchange.path:
            case "/deaf":
                exchange.on_late = lambda _: None
                await self.let_go.wait()
            case "/last-words":
                late = asyncio.get_running_loop().create_future()
                exchange.on_late = late.set_result
                exchange.start(200, [PLAIN])
                exchange.write(b"begun, ")
                exchange.end(f"ended after {await late} s".encode())
                return
            case "/unread" | "/anybody" | "/dear" | "/known" as path:
                exchange.serves_anybody = path == "/anybody"
                exchange.known = path == "/known"
                exchange.turns = 10 if path == "/dear" else 1
                exchange.whole(200 if path == "/anybody" else 401, [PLAIN], b"no")
                return
            case "/shed":
                exchange.known = True
                whole = exchange.shed()
                exchange.whole(503, [PLAIN], b"whole" if whole else b"cut")
                return
            case "/hold":
                await self.let_go.wait()
            case "/204" | "/304":
                exchange.whole(int(exchange.path[1:]), [PLAIN], b"which must not come")
                return
            case "/much":
                exchange.whole(200, [PLAIN], self.piece * 4_000_000)
                return
            case "/fault":
                raise ZeroDivisionError
            case "/half":
                exchange.start(200, [PLAIN])
                exchange.write(b"half")
                raise ZeroDivisionError
            case "/flood":
                exchange.start(200, [PLAIN])
                while not exchange.gone:
                    await exchange.drained()
                    exchange.write(self.piece * 2_000)
                    await asyncio.sleep(0)
                return
        size = 0
        while piece := await exchange.read():
            size += len(piece)
        if exchange.path == "/stream":
            exchange.start(200, [PLAIN])
            exchange.write(b"one ")
            # Nothing is no end of it.
            exchange.write(b"")
            exchange.write(b"two ")
            exchange.end(b"three")
        else:
            exchange.whole(200, [PLAIN], f"{exchange.method} {exchange.path} {size}".encode())


@asynccontextmanager
async def listening(refuse: Any = None, drain_s: float = 5.0, **limits: Any) -> AsyncIterator[tuple[Listener, Application]]:
    """A listener on a port of its own, whose times are endless but for those among the limits."""
    application = Application()
    told = {} if refuse is None else {"refuse": refuse}
    async with listen_http(
        application, "127.0.0.1", 0, drain_s=drain_s, limits=HttpLimits()._replace(**{**_NEVER, **limits}), **told
    ) as listener:
        try:
            yield listener, application
        finally:
            application.let_go.set()


class Client:
    """A connection that sends and gets bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, listener: Listener, **options: Any) -> "Client":
        return cls(*await asyncio.open_connection("127.0.0.1", listener.port, **options))

    async def send(self, data: bytes) -> None:
        """Sends what the other side will take."""
        self.writer.write(data)
        try:
            async with asyncio.timeout(WAIT_S):
                await self.writer.drain()
        except ConnectionError:
            pass

    async def rest(self) -> bytes:
        """All that still comes, to the end of the connection."""
        got = b""
        try:
            async with asyncio.timeout(WAIT_S):
                while piece := await self.reader.read(65_536):
                    got += piece
        except ConnectionError:
            pass
        return got

    async def until(self, end: bytes) -> bytes:
        """What comes up to `end`."""
        async with asyncio.timeout(WAIT_S):
            return await self.reader.readuntil(end)

    def close(self) -> None:
        self.writer.close()


async def answer_to(listener: Listener, request: bytes, *, half_close: bool = False) -> bytes:
    """All that comes back for a request until the connection ends."""
    client = await Client.to(listener)
    sending = asyncio.create_task(client.send(request))
    if half_close:
        await sending
        client.writer.write_eof()
    got = await client.rest()
    client.close()
    await sending
    return got


def status_of(answer: bytes) -> int:
    """The status of the first answer among bytes."""
    return int(answer.split(b" ", 2)[1])
