"""What clients do in vain, or in mass, takes turns with the others."""

import asyncio
import socket
import struct
from itertools import pairwise

import pytest
import uvloop

from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import Listener, listen_http
from tests.runtime.http.system import Client, listening
from tests.waiting import WAIT_S, until

IN_VAIN = b"GET /unread HTTP/1.1\r\nhost: x\r\n\r\n"
# Turns that are free, and how fast the others come.
FREE = 50
PER_SECOND = 200


def waits_s(listener: Listener) -> float:
    return listener._in_vain.wait_s(asyncio.get_running_loop().time())


def to(listener: Listener, address: str) -> socket.socket:
    """A client that sends at once, without a turn of the loop."""
    return socket.create_connection(("127.0.0.1", listener.port), source_address=(address, 0))


async def waste(listener: Listener, requests: int) -> None:
    """Sends requests that are malformed, each on a connection of its own."""
    for _ in range(requests):
        client = await Client.to(listener)
        await client.send(b"nonsense\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        client.close()


async def test_requests_in_vain_on_one_connection_wait_for_turns() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(FREE + 100):
            await client.send(IN_VAIN)
            assert (await client.until(b"\r\n\r\nno")).startswith(b"HTTP/1.1 401 ")
        # The last answer has come; what follows it would wait.
        assert loop.time() - began_s > 99 / PER_SECOND
        client.close()


@pytest.mark.parametrize(("path", "takes_turns"), [(b"/anybody", True), (b"/", False)])
async def test_what_anybody_is_served_takes_turns_and_what_is_served_otherwise_does_not(path: bytes, takes_turns: bool) -> None:
    async with listening() as (listener, _):
        clients = [await Client.to(listener) for _ in range(FREE + 10)]
        for client in clients:
            await client.send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert bool(listener._wasteful) is takes_turns
        for client in clients:
            client.close()


async def test_a_dear_request_in_vain_takes_as_many_turns_as_it_costs() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        began_s = asyncio.get_running_loop().time()
        for _ in range(FREE // 10 + 10):
            await client.send(b"GET /dear HTTP/1.1\r\nhost: x\r\n\r\n")
            await client.until(b"\r\n\r\nno")
        assert asyncio.get_running_loop().time() - began_s > 90 / PER_SECOND
        client.close()


async def test_requests_in_vain_in_one_packet_wait_for_turns() -> None:
    async with listening() as (listener, application):
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        clients = [await Client.to(listener) for _ in range(5)]
        for client in clients:
            await client.send(IN_VAIN * 60)
        await until(lambda: len(application.called) >= FREE + 105)
        assert loop.time() - began_s > 99 / PER_SECOND
        for client in clients:
            client.close()


async def test_after_requests_in_vain_an_address_waits_with_new_connections_and_others_do_not() -> None:
    async with listening() as (listener, application):
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await waste(listener, FREE + 50)
        assert loop.time() - began_s > 49 / PER_SECOND
        # A backlog of a second.
        while waits_s(listener) < 1.0:
            listener._in_vain.take_s(loop.time())
        same = await Client.to(listener)
        await same.send(b"GET /same HTTP/1.1\r\nhost: x\r\n\r\n")
        other = await Client.to(listener, local_addr=("127.0.0.9", 0))
        await other.send(b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"GET /other 0" in await other.until(b"/other 0")
        assert application.called == ["/other"]
        assert b"GET /same 0" in await same.until(b"/same 0")
        assert application.called == ["/other", "/same"]


async def test_nothing_is_begun_for_who_left_while_he_rested() -> None:
    async with listening() as (listener, application):
        await waste(listener, 1)
        listener._in_vain.take_s(asyncio.get_running_loop().time(), FREE + PER_SECOND // 2)
        client = await Client.to(listener)
        await client.send(b"GET /left HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: any(connection._held for connection in listener._connections))
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await until(lambda: not listener._connections)
        assert application.called == []


async def test_where_somebody_known_is_connected_nobody_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    # Who rests does so for longer than the test waits.
    monkeypatch.setattr("services.runtime.http.listener._REST_S_MAX", 10 * WAIT_S)
    # A proxy's address: behind it are those who waste requests, and honest ones, on whatever connection is free.
    async with listening() as (listener, application):
        known = await Client.to(listener)
        await known.send(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n")
        await known.until(b"\r\n\r\nno")
        wasting = await Client.to(listener)
        for _ in range(FREE + 10):
            await wasting.send(IN_VAIN)
            await wasting.until(b"\r\n\r\nno")
        assert (waits_s(listener), listener._wasteful) == (0.0, {})
        # Waste from before he came is forgiven too, and no longer than he stays.
        listener._wasteful["127.0.0.1"] = asyncio.get_running_loop().time()
        listener._in_vain.take_s(asyncio.get_running_loop().time(), int(10 * WAIT_S) * PER_SECOND)
        new = await Client.to(listener)
        await new.send(b"GET /new HTTP/1.1\r\nhost: x\r\n\r\n")
        await new.until(b"/new 0")
        known.close()
        await until(lambda: not listener.knows("127.0.0.1"))
        late = await Client.to(listener)
        await late.send(b"GET /late HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: any(connection._held for connection in listener._connections))
        assert application.called[-1] == "/new"
        for client in (wasting, new, late):
            client.close()


async def test_a_rest_has_an_end_however_many_wait() -> None:
    async with listening() as (listener, _):
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for _ in range(100_000):
            listener._take_turns(now_s)
        assert listener._in_vain.wait_s(now_s) == pytest.approx(5.0, abs=0.01)


async def test_what_is_refused_to_somebody_who_is_known_is_not_in_vain() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        for _ in range(FREE + 10):
            await client.send(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await client.until(b"\r\n\r\nno")).startswith(b"HTTP/1.1 401 ")
        # Nor is another request on his connection.
        await client.send(IN_VAIN)
        await client.until(b"\r\n\r\nno")
        assert not listener._wasteful
        client.close()


async def test_an_application_is_told_that_a_known_caller_is_connected_from_there() -> None:
    beside: list[bool] = []

    async def application(exchange: Exchange) -> None:
        beside.append(exchange.beside_known)
        exchange.known = exchange.path == "/known"
        exchange.whole(200, [], b"whole")

    async with listen_http(application, "127.0.0.1", 0) as listener:
        first, second = [await Client.to(listener) for _ in range(2)]
        for client, path in ((second, b"/"), (first, b"/known"), (second, b"/")):
            await client.send(b"GET %b HTTP/1.1\r\nhost: x\r\n\r\n" % path)
            await client.until(b"\r\n\r\nwhole")
        assert beside == [False, False, True]
        first.close()
        second.close()


async def test_who_sends_more_than_is_served_counts_as_a_stranger_and_waits_for_turns() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        await client.send(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"\r\n\r\nno")
        assert listener.knows("127.0.0.1")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        for _ in range(FREE + 100):
            await client.send(b"GET /shed HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await client.until(b"\r\n\r\nwhole")).startswith(b"HTTP/1.1 503 ")
        assert loop.time() - began_s > 99 / PER_SECOND
        assert not listener.knows("127.0.0.1")
        # Nor does his address go before others because he was known.
        assert not listener._arrivals._is_known("127.0.0.1")
        await client.send(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"\r\n\r\nno")
        assert listener.knows("127.0.0.1")
        client.close()


async def test_who_is_shed_takes_nothing_from_others_of_his_address() -> None:
    async with listening() as (listener, _):
        known, busy = await Client.to(listener), await Client.to(listener)
        for client in (known, busy):
            await client.send(b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n")
            await client.until(b"\r\n\r\nno")
        for _ in range(FREE + 10):
            await busy.send(b"GET /shed HTTP/1.1\r\nhost: x\r\n\r\n")
            await busy.until(b"\r\n\r\nwhole")
        assert listener.knows("127.0.0.1")
        assert not listener._wasteful
        known.close()
        busy.close()


async def test_the_body_of_a_request_that_is_shed_is_dropped() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        await client.send(b"POST /shed HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nbegun")
        # Its end is unknown, so the connection ends.
        assert (await client.rest()).endswith(b"\r\n\r\ncut")
        client.close()


async def test_requests_that_come_at_once_are_begun_32_a_round_of_the_loop_and_of_each_address_in_turn() -> None:
    async with listening() as (listener, application):
        clients = [to(listener, "127.0.0.2") for _ in range(80)]
        other = to(listener, "127.0.0.3")
        await until(lambda: len(listener._connections) == 81)
        begun: list[int] = []
        loop = asyncio.get_running_loop()

        def look() -> None:
            begun.append(len(application.called))
            if begun[-1] < 81:
                loop.call_soon(look)

        # Without a turn of the loop between them, they are read in one.
        for number, client in enumerate(clients):
            client.sendall(b"GET /%d HTTP/1.1\r\nhost: x\r\n\r\n" % number)
        other.sendall(b"GET /other HTTP/1.1\r\nhost: x\r\n\r\n")
        look()
        await until(lambda: begun[-1] == 81)
        assert max(after - before for before, after in pairwise(begun)) == 32
        assert application.called.index("/other") < 36
        for client in (*clients, other):
            client.close()


async def test_a_listener_that_stops_begins_all_that_has_come() -> None:
    async with listening() as (listener, application):
        # More than are begun in one round.
        clients = [to(listener, "127.0.0.1") for _ in range(300)]
        await until(lambda: len(listener._connections) == 300)
        for client in clients:
            client.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        # As soon as the first of them is begun.
        stopping: list[asyncio.Task[None]] = []

        def stop() -> None:
            if not stopping:
                stopping.append(asyncio.create_task(listener.stop(5.0)))

        application.on_called = stop
        await until(lambda: bool(stopping))
        await stopping[0]
    assert application.called == ["/a"] * 300
    for client in clients:
        assert b"GET /a 0" in client.recv(1_000)
        client.close()


async def test_bytes_that_are_dropped_wait_for_turns() -> None:
    async with listening() as (listener, _):
        clients = [await Client.to(listener) for _ in range(4)]
        sending = [
            asyncio.create_task(
                client.send(b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 60000000\r\n\r\n" + b" " * 60_000_000)
            )
            for client in clients
        ]
        await until(lambda: waits_s(listener) > 0)
        # 240 MB would have been read by now otherwise.
        assert sum(listener._ending.values()) < 100_000_000
        for task, client in zip(sending, clients, strict=True):
            client.writer.transport.abort()
            await task


def test_a_connection_that_brings_much_lets_others_be_read_between() -> None:
    # asyncio's own loop reads once before it looks at others; uvloop, which services run on, up to 32 times.
    pieces: list[int] = []

    async def application(exchange: Exchange) -> None:
        while piece := await exchange.read():
            pieces.append(len(piece))
        exchange.whole(200, [], b"read")

    async def scenario() -> None:
        async with listen_http(application, "127.0.0.1", 0) as listener:
            client = await Client.to(listener)
            sending = asyncio.create_task(
                client.send(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n" + b" " * 30_000_000)
            )
            await client.until(b"read")
            await sending
            client.close()

    uvloop.run(scenario())
    assert sum(pieces) == 30_000_000
    # Between two reads the application had its turn.
    assert max(pieces) <= 256_000


async def test_a_listener_that_stops_waits_for_nobody_whom_it_turns_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.http.arrivals._TURNED_AWAY_S", 10 * WAIT_S)
    async with (
        asyncio.timeout(WAIT_S),
        listening(drain_s=10 * WAIT_S, connections_max=10, connections_per_address_max=1) as (listener, _),
    ):
        first, turned_away = await Client.to(listener), await Client.to(listener)
        await until(lambda: len(listener._arrivals._turned_away) == 1)
    assert await turned_away.rest() == b""
    first.close()
    turned_away.close()


async def test_bytes_in_mass_come_at_a_pace() -> None:
    async with listening() as (listener, _):
        loop = asyncio.get_running_loop()
        began_s = loop.time()

        async def bring() -> None:
            client = await Client.to(listener)
            await client.send(b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 20000000\r\n\r\n" + b" " * 20_000_000)
            await client.until(b"POST /a 20000000")
            client.close()

        await asyncio.gather(*(bring() for _ in range(3)))
        # 60 MB, of which 16 were free, at 100 MB a second.
        assert loop.time() - began_s > 0.4


async def test_much_is_brought_in_pieces_of_any_size() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"POST /hold HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n")
        await until(lambda: application.called == ["/hold"])
        (connection,) = listener._connections
        for _ in range(255):
            connection.data_received(b" " * 1_000)
        assert not listener._bulky
        connection.data_received(b" " * 1_000)
        assert list(listener._bulky) == [connection]
        client.close()


async def test_who_has_no_place_for_his_address_is_turned_away_after_a_moment() -> None:
    async with listening(connections_per_address_max=1) as (listener, application):
        first, second = await Client.to(listener), await Client.to(listener)
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await second.send(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await second.rest() == b""
        assert loop.time() - began_s > 0.9
        assert application.called == []
        first.close()


async def test_those_who_are_turned_away_make_way_for_others() -> None:
    async with listening(connections_max=3, connections_per_address_max=1) as (listener, _):
        clients = [await Client.to(listener) for _ in range(4)]
        # One has a place, two wait in the others, the last was turned away at once.
        assert await clients[3].rest() == b""
        assert len(listener._arrivals._turned_away) == 2
        other = await Client.to(listener, local_addr=("127.0.0.9", 0))
        await other.send(b"GET /b HTTP/1.1\r\nhost: x\r\n\r\n")
        await other.until(b"GET /b 0")
        await clients[0].send(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await clients[0].until(b"GET /a 0")
        for client in (*clients, other):
            client.close()


async def test_connections_whose_time_is_over_end_a_few_at_once() -> None:
    async with listening() as (listener, _):
        clients = [await Client.to(listener) for _ in range(200)]
        await until(lambda: len(listener._heads) == 200)
        for connection in listener._heads:
            listener._heads[connection] = float("-inf")
        left: list[int] = []
        loop = asyncio.get_running_loop()

        def look() -> None:
            left.append(len(listener._connections))
            if left[-1]:
                loop.call_soon(look)

        look()
        listener._look()
        await until(lambda: not left[-1])
        assert left[0] == 200
        assert max(before - after for before, after in pairwise(left)) <= 16
        for client in clients:
            client.close()
