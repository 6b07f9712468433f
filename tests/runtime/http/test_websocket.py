"""WebSockets over real connections: frames of every wrong kind, bounds, and ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any, Final

import aiohttp
import pytest
import websockets

from services.runtime.http.exchange import Exchange
from services.runtime.http.limits import HttpLimits
from services.runtime.http.listener import Listener, listen_http
from services.runtime.http.websocket import HandshakeError, WebSocket, accept
from tests.runtime.http.frames import ACCEPT, BINARY, CLOSE, CONT, HANDSHAKE, PING, PONG, TEXT, Got, Raw, closing, frame
from tests.runtime.http.system import PLAIN, Client
from tests.waiting import WAIT_S, until

pytestmark = pytest.mark.asyncio

BYTES_MAX: Final = 100_000


class Echo:
    """Sends each message back; `hold` once it is let go, `much` without an end, `late` when its longest time is over."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.sockets: list[WebSocket] = []
        self.served: list[bytes] = []
        self.refused: list[str] = []
        self.seconds = 0
        self.ended = 0
        # The room for messages that are coming, and the most that was held.
        self.room = BYTES_MAX
        self.held: list[int] = []
        self.known = True
        self.one_at_a_time = True

    async def __call__(self, exchange: Exchange) -> None:
        exchange.known = self.known
        if not exchange.value_of(b"upgrade"):
            exchange.whole(200, [PLAIN], b"plain")
            return
        try:
            socket = accept(exchange, [(b"x-request-id", b"1")], BYTES_MAX)
        except HandshakeError as error:
            self.refused.append(str(error))
            exchange.whole(400, [PLAIN], b"no")
            return
        self.sockets.append(socket)
        socket.on_second = self._count
        socket.on_held = self._hold
        while (message := await socket.receive()) is not None:
            self.served.append(message)
            if self.one_at_a_time:
                socket.serve()
            match message:
                case b"hold":
                    await self.let_go.wait()
                case b"fault":
                    raise ZeroDivisionError
                case b"late":
                    late: asyncio.Future[float] = asyncio.get_running_loop().create_future()
                    exchange.on_late = late.set_result
                    message = b"late after %g s" % await late
                case b"much":
                    while not socket.closed:
                        socket.send(b"x" * 10_000)
                        await socket.wire.drained()
                        await asyncio.sleep(0)
            socket.send(message)
            socket.done()
        self.ended += 1

    def _count(self) -> None:
        self.seconds += 1

    def _hold(self, count: int) -> bool:
        self.held.append(count)
        return count <= self.room


@asynccontextmanager
async def echoing(drain_s: float = 5.0, **limits: Any) -> AsyncIterator[tuple[Listener, Echo]]:
    echo = Echo()
    async with listen_http(echo, "127.0.0.1", 0, drain_s=drain_s, limits=HttpLimits()._replace(**limits)) as listener:
        try:
            yield listener, echo
        finally:
            echo.let_go.set()


def url(listener: Listener) -> str:
    return f"ws://127.0.0.1:{listener.port}/socket"


async def test_a_real_client_sends_and_gets_messages_and_closes() -> None:
    async with echoing() as (listener, echo):
        async with websockets.connect(url(listener), proxy=None) as client:
            assert client.response is not None
            assert client.response.headers["x-request-id"] == "1"
            # It offers compression.
            assert client.protocol.extensions == []
            for text in ("one", "zwei ü", "", "x" * BYTES_MAX):
                await client.send(text)
                assert await client.recv() == text
            await client.send(["in ", "three ", "frames"])
            assert await client.recv() == "in three frames"
            await (await client.ping(b"here?"))
        assert client.close_code == 1000
        await until(lambda: echo.ended == 1)
        assert listener.accepts


async def test_another_real_client_does_too() -> None:
    async with echoing() as (listener, echo), aiohttp.ClientSession() as http:
        async with http.ws_connect(url(listener), compress=15) as client:
            assert client.compress == 0
            await client.send_str("x" * 70_000)
            assert (await client.receive_str()) == "x" * 70_000
        assert client.close_code == 1000
        await until(lambda: echo.ended == 1)


async def test_the_handshake_is_answered_as_the_standard_says() -> None:
    async with echoing() as (listener, _):
        client = await Raw.to(listener, b"sec-websocket-extensions: permessage-deflate\r\nsec-websocket-protocol: chat\r\n")
        lines = client.head.lower().split(b"\r\n")
        assert lines[0] == b"http/1.1 101 switching protocols"
        assert b"sec-websocket-accept: " + ACCEPT.lower() in lines
        assert not any(line.startswith((b"sec-websocket-extensions", b"sec-websocket-protocol")) for line in lines)
        await client.send(frame(TEXT, b"hello"))
        assert await client.get() == Got(TEXT, b"hello")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda head: head.replace(b"version: 13", b"version: 12"), "Sec-WebSocket-Version"),
        (lambda head: head.replace(b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b""), "Sec-WebSocket-Key"),
        (lambda head: head.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), "Sec-WebSocket-Key"),
        (lambda head: head.replace(b"connection: Upgrade", b"connection: close"), "Connection"),
        (lambda head: head.replace(b"upgrade: websocket", b"upgrade: h2c"), "Upgrade"),
        (lambda head: head.replace(b"HTTP/1.1", b"HTTP/1.0"), "HTTP/1.1"),
        (lambda head: head + b"content-length: 1\r\n", "no body"),
    ],
    ids=["version", "no key", "short key", "connection", "upgrade", "HTTP/1.0", "body"],
)
async def test_a_wrong_handshake_is_refused_with_its_reason(change: Callable[[bytes], bytes], reason: str) -> None:
    async with echoing() as (listener, echo):
        client = await Client.to(listener)
        await client.send(change(HANDSHAKE) + b"\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert len(echo.refused) == 1
        assert reason in echo.refused[0]
        assert echo.sockets == []
        client.writer.close()


@pytest.mark.parametrize("early", [frame(TEXT, b"too early"), b"GET", b"GET /socket HTTP/1.1\r\nhost: x\r\n\r\n"])
async def test_who_does_not_wait_for_the_handshake_gets_no_socket(early: bytes) -> None:
    async with echoing() as (listener, echo):
        client = await Client.to(listener)
        await client.send(HANDSHAKE + b"\r\n" + early)
        assert b" 101 " not in await client.rest()
        assert echo.sockets == []
        assert echo.served == []


WRONG: Final[dict[str, tuple[bytes, int]]] = {
    "unmasked": (frame(TEXT, b"hello", masked=False), 1002),
    "reserved bit 1, of compression": (frame(TEXT, b"hello", reserved=4), 1002),
    "reserved bit 2": (frame(TEXT, b"hello", reserved=2), 1002),
    "reserved bit 3": (frame(PING, b"", reserved=1), 1002),
    "opcode 3": (frame(3, b"hello"), 1002),
    "opcode 11": (frame(0xB, b""), 1002),
    "a continuation of nothing": (frame(CONT, b"hello"), 1002),
    "a text within a text": (frame(TEXT, b"hel", fin=False) + frame(TEXT, b"lo"), 1002),
    "a ping in fragments": (frame(PING, b"he", fin=False), 1002),
    "a ping that is too long": (frame(PING, b"x" * 126), 1002),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    "a close with a code that is never sent": (closing(1005), 1002),
    "a close with a code below all": (closing(999), 1002),
    "a close whose reason is no UTF-8": (closing(1000, b"\xff"), 1007),
    "no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "no UTF-8 over two fragments": (frame(TEXT, b"\xe2\x82", fin=False) + frame(CONT, b"x"), 1007),
    "half a character": (frame(TEXT, b"\xe2\x82"), 1007),
    "a surrogate": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "binary": (frame(BINARY, b"{}"), 1003),
    "too large": (frame(TEXT, b"x" * (BYTES_MAX + 1)), 1009),
    "a length of a terabyte": (frame(TEXT, b"", length=1 << 40), 1009),
    "a length below nothing": (frame(TEXT, b"", length=1 << 63), 1009),
    "fragments too large together": (frame(TEXT, b"x" * 60_000, fin=False) + frame(CONT, b"x" * 60_000), 1009),
}


@pytest.mark.parametrize(("sent", "code"), WRONG.values(), ids=WRONG)
async def test_a_wrong_frame_closes_the_socket_with_its_code_and_serves_nothing(sent: bytes, code: int) -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        await client.send(sent)
        (last,) = await client.rest()
        assert last.code == code
        assert echo.served == []
        await until(lambda: echo.ended == 1)
        # Others are served.
        other = await Raw.to(listener)
        await other.send(frame(TEXT, b"hello"))
        assert await other.get() == Got(TEXT, b"hello")


@pytest.mark.parametrize("size", [1, 3])
async def test_frames_may_come_in_any_pieces(size: int) -> None:
    async with echoing() as (listener, _):
        client = await Raw.to(listener)
        sent = frame(TEXT, "zwei ü".encode(), fin=False) + frame(PING, b"now") + frame(CONT, b" and more")
        for begin in range(0, len(sent), size):
            await client.send(sent[begin : begin + size])
            await asyncio.sleep(0.001)
        # A ping is answered in the middle of a message.
        assert await client.get() == Got(PONG, b"now")
        assert await client.get() == Got(TEXT, "zwei ü and more".encode())


async def test_a_close_is_answered_and_nothing_is_served_after_it() -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        await client.send(closing(1000, b"bye"), frame(TEXT, b"after it"))
        assert await client.rest() == [Got(CLOSE, b"\x03\xe8bye")]
        await until(lambda: echo.ended == 1)
        assert echo.served == []


@pytest.mark.parametrize("sent", [b"\x81", frame(TEXT, b"hello")[:-1], frame(TEXT, b"hel", fin=False), frame(PING, b"ab")[:-1]])
async def test_a_frame_or_message_that_does_not_come_to_its_end_closes_the_socket(sent: bytes) -> None:
    async with echoing(body_s=0.2) as (listener, echo):
        client = await Raw.to(listener)
        await client.send(sent)
        (last,) = await client.rest()
        assert (last.code, last.payload[2:]) == (1008, b"A message was not complete in time.")
        assert echo.served == []


FLOODS: Final = {
    "pings": frame(PING),
    "pongs": frame(PONG, b"unasked"),
    "empty messages": frame(TEXT),
    "empty fragments": frame(CONT, fin=False),
    "crumbs": frame(CONT, b"x", fin=False),
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_of_small_frames_closes_the_socket(flood: bytes) -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        if flood[0] & 0x0F == CONT:
            await client.send(frame(TEXT, b"begun", fin=False))
        await client.send(flood * 2_000)
        frames = await client.rest()
        assert (frames[-1].code, frames[-1].payload[2:]) == (1008, b"Too many small frames came.")
        # At most those of the piece in which the bound was passed were read too.
        assert len(frames) < 600
        assert len(echo.served) <= 200
        await until(lambda: echo.ended == 1)


async def test_a_message_that_comes_while_one_is_served_is_told_and_dropped() -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        await client.send(frame(TEXT, b"hold"))
        await until(lambda: echo.served == [b"hold"])
        await client.send(frame(TEXT, b"second"), frame(TEXT, b"x" * 50_000), frame(PING, b"here?"))
        assert await client.get() == Got(PONG, b"here?")
        assert echo.seconds == 2
        echo.let_go.set()
        assert await client.get() == Got(TEXT, b"hold")
        # After its answer the next one is served.
        await client.send(frame(TEXT, b"third"))
        assert await client.get() == Got(TEXT, b"third")
        assert echo.served == [b"hold", b"third"]
        assert echo.held[-1] == 0


async def test_few_messages_wait_where_those_before_need_no_answer() -> None:
    async with echoing() as (listener, echo):
        echo.one_at_a_time = False
        client = await Raw.to(listener)
        await client.send(frame(TEXT, b"hold"))
        await until(lambda: echo.served == [b"hold"])
        await client.send(*(frame(TEXT, b"%d" % number) for number in range(10)))
        await until(lambda: echo.seconds == 2)
        assert echo.held[-1] == 8
        echo.let_go.set()
        assert [(await client.get()).payload for _ in range(9)] == [b"hold", *(b"%d" % number for number in range(8))]


async def test_bytes_that_are_held_are_told_and_end_the_socket_where_there_is_no_room() -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        half = frame(TEXT, b"x" * 40_000)[:-1]
        await client.send(half)
        await until(lambda: echo.held[-1:] == [len(half) - 8])
        await client.send(frame(TEXT, b"x" * 40_000)[-1:])
        assert len((await client.get()).payload) == 40_000
        assert echo.held[-1] == 0
        # Of a message in parts those count that have come.
        await client.send(frame(TEXT, b"x" * 3_000, fin=False))
        await until(lambda: echo.held[-1:] == [3_000])
        await client.send(frame(CONT, b"x" * 2_000, fin=False))
        await until(lambda: echo.held[-1:] == [5_000])
        await client.send(frame(CONT, b"x" * 1_500))
        assert len((await client.get()).payload) == 6_500
        assert echo.held[-1] == 0
        echo.room = 10_000
        await client.send(frame(TEXT, b"x" * 20_000, fin=False))
        (last,) = await client.rest()
        assert (last.code, last.payload[2:]) == (1013, b"Too many large requests are on their way in.")
        assert echo.held[-1] == 0
        assert len(echo.served) == 2


async def test_an_idle_socket_is_closed_and_pings_do_not_keep_it() -> None:
    async with echoing(idle_s=0.4) as (listener, echo):
        client = await Raw.to(listener)
        await client.send(frame(TEXT, b"hello"))
        assert await client.get() == Got(TEXT, b"hello")
        coming = asyncio.create_task(client.rest())
        while not coming.done():
            await client.send(frame(PING))
            await asyncio.sleep(0.05)
        frames = await coming
        assert {got.opcode for got in frames[:-1]} == {PONG}
        assert (frames[-1].opcode, frames[-1].code) == (CLOSE, 1001)
        await until(lambda: echo.ended == 1)


async def test_a_message_that_is_served_is_not_idle_and_has_the_time_of_an_answer() -> None:
    async with echoing(idle_s=0.2, answer_s=0.8) as (listener, _):
        client = await Raw.to(listener)
        for _ in range(2):
            await asyncio.sleep(0.1)
            await client.send(frame(TEXT, b"late"))
            assert await client.get() == Got(TEXT, b"late after 0.8 s")


async def test_a_message_that_comes_is_not_idle() -> None:
    async with echoing(idle_s=0.3, body_s=5.0) as (listener, _):
        client = await Raw.to(listener)
        sent = frame(TEXT, b"slowly, slowly")
        for begin in range(0, len(sent), 4):
            await client.send(sent[begin : begin + 4])
            await asyncio.sleep(0.15)
        assert await client.get() == Got(TEXT, b"slowly, slowly")


async def test_a_client_that_stops_reading_is_cut_off() -> None:
    async with echoing(write_s=0.4) as (listener, echo):
        client = await Raw.to(listener)
        await client.send(frame(TEXT, b"much"))
        await until(lambda: echo.ended == 1)
        assert echo.sockets[0].closed
        client.client.writer.close()


@pytest.mark.parametrize("how", ["close", "abort", "half"])
async def test_a_client_that_leaves_ends_its_socket(how: str) -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        closed: list[bool] = []
        await client.send(frame(TEXT, b"hold"))
        await until(lambda: echo.served == [b"hold"])
        echo.sockets[0].on_closed = lambda: closed.append(True)
        writer = client.client.writer
        match how:
            case "close":
                writer.close()
            case "abort":
                writer.transport.abort()
            case _:
                writer.write_eof()
        await until(lambda: closed == [True])
        echo.let_go.set()
        await until(lambda: echo.ended == 1)


async def test_a_fault_of_the_application_ends_the_connection() -> None:
    async with echoing() as (listener, _):
        client = await Raw.to(listener)
        await client.send(frame(TEXT, b"fault"))
        assert await client.rest() == []


async def test_an_idle_socket_makes_way_and_one_that_serves_does_not() -> None:
    async with echoing(connections_max=1, connections_per_address_max=9) as (listener, echo):
        idle = await Raw.to(listener)
        busy = await Raw.to(listener)
        assert await idle.rest() == []
        await busy.send(frame(TEXT, b"hold"))
        await until(lambda: echo.served == [b"hold"])
        assert not listener.accepts
        third = await Client.to(listener)
        assert await third.rest() == b""
        echo.let_go.set()
        assert await busy.get() == Got(TEXT, b"hold")


async def test_sockets_count_as_connections_of_their_address() -> None:
    async with echoing(connections_per_address_max=2) as (listener, echo):
        first, second = await Raw.to(listener), await Raw.to(listener)
        third = await Client.to(listener)
        await third.send(HANDSHAKE + b"\r\n")
        assert await third.rest() == b""
        assert len(echo.sockets) == 2
        await first.send(closing(1000))
        assert len(await first.rest()) == 1
        async with asyncio.timeout(WAIT_S):
            while len(echo.sockets) == 2:
                # Its place is free once its connection is, which is soon.
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    await Raw.to(listener)
        second.client.writer.close()


async def test_a_socket_makes_its_address_known() -> None:
    async with echoing() as (listener, echo):
        client = await Raw.to(listener)
        assert listener.knows("127.0.0.1")
        await client.send(closing(1000))
        await client.rest()
        await until(lambda: not listener.knows("127.0.0.1"))
        echo.known = False
        await Raw.to(listener)
        assert not listener.knows("127.0.0.1")


async def test_messages_that_come_at_once_are_begun_32_a_round_of_the_loop() -> None:
    async with echoing() as (listener, echo):
        clients = [await Raw.to(listener) for _ in range(80)]
        served: list[int] = []
        loop = asyncio.get_running_loop()

        def look() -> None:
            served.append(len(echo.served))
            if served[-1] < 80:
                loop.call_soon(look)

        # Without a turn of the loop between them, they are read in one.
        for client in clients:
            client.client.writer.write(frame(TEXT, b"hello"))
        look()
        await until(lambda: served[-1] == 80)
        assert max(after - before for before, after in pairwise(served)) == 32
        for client in clients:
            client.client.close()


async def test_a_stop_ends_idle_sockets_at_once_and_others_after_their_answers() -> None:
    async with echoing() as (listener, echo):
        idle, busy = await Raw.to(listener), await Raw.to(listener)
        await busy.send(frame(TEXT, b"hold"))
        await until(lambda: echo.served == [b"hold"])
        stopping = asyncio.create_task(listener.stop(5.0))
        (last,) = await idle.rest()
        assert (last.code, last.payload[2:]) == (1001, b"The server stops.")
        assert not stopping.done()
        echo.let_go.set()
        answer, last = await busy.rest()
        assert answer == Got(TEXT, b"hold")
        assert last.code == 1001
        async with asyncio.timeout(1):
            await stopping
        assert echo.ended == 2
