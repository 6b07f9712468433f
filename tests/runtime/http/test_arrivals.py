"""Who comes to a port waits for his turn among strangers, and for none of them where somebody is known."""

import asyncio
import os
import resource
import socket
import struct
from functools import partial

import pytest

from services.runtime.http import arrivals
from services.runtime.http.listener import Listener, listen_http
from services.runtime.http.pace import Pace
from tests.runtime.http.system import Application, Client
from tests.runtime.http.system import listening as listening_at
from tests.waiting import WAIT_S, until

AT_ONCE = 64
PER_SECOND = 1_000
# Longer than any test waits for what shall not wait.
LONG_S = 10 * WAIT_S
listening = partial(listening_at, strangers_per_second=PER_SECOND)
KNOWN = b"GET /known HTTP/1.1\r\nhost: x\r\n\r\n"


def come(listener: Listener, count: int, address: str = "127.0.0.1") -> list[socket.socket]:
    """Connections that the loop has not seen yet."""
    return [socket.create_connection(("127.0.0.1", listener.port), source_address=(address, 0)) for _ in range(count)]


def taken(listener: Listener) -> list[str]:
    """The addresses that have places, in the order in which they got them."""
    return [connection.address for connection in listener._heads]


def hold_back(listener: Listener, seconds: float) -> None:
    """Gives the turns of strangers away."""
    pace = listener._arrivals._strangers._pace
    assert pace is not None
    pace.take_s(asyncio.get_running_loop().time(), AT_ONCE + int(seconds * PER_SECOND))


def close(*clients: socket.socket) -> None:
    for each in clients:
        each.close()


async def test_strangers_come_at_a_pace() -> None:
    async with listening() as (listener, _):
        began_s = asyncio.get_running_loop().time()
        clients = come(listener, AT_ONCE + 300)
        await until(lambda: len(listener._connections) == AT_ONCE + 300)
        assert asyncio.get_running_loop().time() - began_s > 299 / PER_SECOND
        close(*clients)


async def test_who_comes_from_where_somebody_is_known_waits_for_no_stranger() -> None:
    async with listening() as (listener, _):
        known = await Client.to(listener, local_addr=("127.0.0.2", 0))
        await known.send(KNOWN)
        await known.until(b"no")
        hold_back(listener, LONG_S)
        strangers, others = come(listener, 50), come(listener, 50, "127.0.0.2")
        await until(lambda: len(taken(listener)) == 50)
        assert (set(taken(listener)), listener._arrivals.waiting) == ({"127.0.0.2"}, 50)
        close(*strangers, *others)
        known.close()


async def test_who_waits_goes_on_when_somebody_there_becomes_known() -> None:
    async with listening() as (listener, _):
        first = await Client.to(listener)
        await until(lambda: len(listener._connections) == 1)
        hold_back(listener, LONG_S)
        others, strangers = come(listener, 20), come(listener, 1, "127.0.0.2")
        await until(lambda: listener._arrivals.waiting == 21)
        await first.send(KNOWN)
        await first.until(b"no")
        await until(lambda: len(listener._connections) == 21)
        assert listener._arrivals.waiting == 1
        close(*others, *strangers)
        first.close()


@pytest.mark.parametrize("remembered_s", [300.0, 0.0])
async def test_who_comes_again_to_where_somebody_was_known_waits_for_no_stranger(
    monkeypatch: pytest.MonkeyPatch, remembered_s: float
) -> None:
    monkeypatch.setattr(arrivals, "_REMEMBERED_S", remembered_s)
    async with listening() as (listener, _):
        for _ in range(2):
            known = await Client.to(listener, local_addr=("127.0.0.2", 0))
            await known.send(KNOWN)
            await known.until(b"no")
            known.close()
            await until(lambda: not listener.knows("127.0.0.2"))
        hold_back(listener, LONG_S)
        strangers = come(listener, 20)
        await until(lambda: listener._arrivals.waiting == 20)
        again = come(listener, 3, "127.0.0.2")
        # A stranger waits for its turn, as one does whose time is over.
        waiting = 20 if remembered_s else 23
        await until(lambda: len(taken(listener)) + listener._arrivals.waiting == 23)
        assert (listener._arrivals.waiting, taken(listener)) == (waiting, ["127.0.0.2"] * (23 - waiting))
        close(*strangers, *again)


async def test_no_more_addresses_are_remembered_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "_REMEMBERED_MAX", 2)
    async with listening() as (listener, _):
        for address in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
            known = await Client.to(listener, local_addr=(address, 0))
            await known.send(KNOWN)
            await known.until(b"no")
            known.close()
            await until(lambda: not listener._known)
        assert list(listener._arrivals._remembered) == ["127.0.0.3", "127.0.0.4"]


async def test_many_of_a_customer_come_at_a_pace_and_one_of_another_at_once() -> None:
    async with listening() as (listener, _):
        known = [await Client.to(listener, local_addr=(address, 0)) for address in ("127.0.0.2", "127.0.0.3")]
        for each in known:
            await each.send(KNOWN)
            await each.until(b"no")
        pace = listener._arrivals._crowds._pace
        assert pace is not None
        pace.take_s(asyncio.get_running_loop().time(), AT_ONCE + 60 * PER_SECOND)
        clients = come(listener, 50, "127.0.0.2")
        await until(lambda: len(taken(listener)) + listener._arrivals.waiting == 50)
        # Some were taken before the next ones came.
        waiting = listener._arrivals.waiting
        assert waiting > 30
        clients += come(listener, 1, "127.0.0.3")
        await until(lambda: "127.0.0.3" in taken(listener))
        assert listener._arrivals.waiting == waiting
        close(*clients)
        for each in known:
            each.close()


async def test_an_address_s_first_goes_before_others_and_those_take_turns() -> None:
    async with listening() as (listener, _):
        clients = [*come(listener, 1, "127.0.0.2"), *come(listener, 1, "127.0.0.3")]
        await until(lambda: len(taken(listener)) == 2)
        hold_back(listener, 0.5)
        clients += [*come(listener, 3, "127.0.0.2"), *come(listener, 3, "127.0.0.3"), *come(listener, 1, "127.0.0.4")]
        await until(lambda: len(taken(listener)) == 9)
        assert [address[-1] for address in taken(listener)[2:]] == ["4", "2", "3", "2", "3", "2", "3"]
        close(*clients)


async def test_no_more_wait_than_an_eighth_of_the_places_and_as_many_that_are_their_address_s_first() -> None:
    async with listening(connections_max=80, connections_per_address_max=1_000) as (listener, _):
        hold_back(listener, LONG_S)
        arrivals = listener._arrivals
        # The first of another address tells that all before it have been looked at.
        clients = [*come(listener, 100), *come(listener, 1, "127.0.0.2")]
        await until(lambda: "127.0.0.2" in arrivals._of_address)
        assert arrivals._of_address == {"127.0.0.1": 90, "127.0.0.2": 1}
        clients += [one for number in range(3, 23) for one in come(listener, 1, f"127.0.0.{number}")]
        clients[-1].setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(clients[-1], 1) == b""
        assert arrivals.waiting == 100
        close(*clients)


async def test_customers_come_however_many_strangers_wait() -> None:
    async with listening(connections_max=8, connections_per_address_max=1_000) as (listener, _):
        known = await Client.to(listener, local_addr=("127.0.0.2", 0))
        await known.send(KNOWN)
        await known.until(b"no")
        hold_back(listener, LONG_S)
        strangers = come(listener, 20)
        await until(lambda: listener._arrivals.waiting == 8)
        for _ in range(3):
            customer = await Client.to(listener, local_addr=("127.0.0.2", 0))
            await customer.send(KNOWN)
            await customer.until(b"no")
            customer.close()
        close(*strangers)
        known.close()


class CountedPace(Pace):
    """Counts the turns that somebody had to wait for."""

    waits = 0

    def take_s(self, now_s: float, turns: int = 1) -> float:
        wait_s = super().take_s(now_s, turns)
        self.waits += wait_s > 0
        return wait_s


@pytest.mark.parametrize("reset", [True, False])
async def test_who_has_left_takes_no_turn(reset: bool) -> None:
    async with listening() as (listener, _):
        pace = listener._arrivals._strangers._pace = CountedPace(PER_SECOND, AT_ONCE)
        gone = come(listener, 500)
        if reset:
            for each in gone:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        close(*gone)
        stays = come(listener, 1)
        hold_back(listener, 0.5)
        await until(lambda: listener._arrivals._of_address == {"127.0.0.1": 1} and not listener._arrivals.waiting)
        # Each turn drops those who come next, 32 at once.
        assert 0 < pace.waits < 100
        close(*stays)


async def test_who_waits_for_his_turn_when_the_port_closes_is_answered() -> None:
    async with listening() as (listener, _):
        hold_back(listener, LONG_S)
        waiting = come(listener, 20)
        for each in waiting:
            each.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: listener._arrivals.waiting == 20)
    # Nobody is left for a turn that would come after the process has ended.
    assert listener._arrivals.waiting == 0
    clients = [Client(*await asyncio.open_connection(sock=each)) for each in waiting]
    assert [(await client.rest()).split(b"\r\n\r\n")[1] for client in clients] == [b"GET /a 0"] * 20
    for client in clients:
        client.close()


async def test_where_no_file_can_be_opened_who_comes_waits_in_the_kernel() -> None:
    async with listening() as (listener, _):
        (client,) = come(listener, 1)
        client.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(client.fileno())
        os.close(free)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            await until(lambda: listener._refused > 0)
            begun_s = asyncio.get_running_loop().time()
            await asyncio.sleep(0.25)
            # It is not tried in each round of the loop.
            tries_max = 2 + (asyncio.get_running_loop().time() - begun_s) / arrivals._NO_FILES_S
            assert (listener._refused <= tries_max, listener._refused_example) == (True, "no file can be opened")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        reader, writer = await asyncio.open_connection(sock=client)
        async with asyncio.timeout(WAIT_S):
            assert b"GET /a 0" in await reader.readuntil(b"/a 0")
        writer.close()


async def test_who_is_turned_away_waits_without_being_read() -> None:
    async with listening(connections_per_address_max=1) as (listener, _):
        clients = come(listener, 40)
        await until(lambda: len(listener._arrivals._turned_away) == 39)
        assert (len(listener._connections), listener._arrivals.waiting) == (1, 0)
        await until(lambda: not listener._arrivals._turned_away)
        clients[0].sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        close(*clients[1:])
        reader, writer = await asyncio.open_connection(sock=clients[0])
        await reader.readuntil(b"/a 0")
        writer.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
async def test_both_families_are_served(family: socket.AddressFamily) -> None:

    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    async with listen_http(Application(), host, 0) as listener:
        reader, writer = await asyncio.open_connection(host, listener.port)
        await until(lambda: bool(listener._connections))
        assert taken(listener) == ["127.0.0.1" if family == socket.AF_INET else "::/64"]
        writer.write(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
        await reader.readuntil(b"/a 0")
        writer.close()
