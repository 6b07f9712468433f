"""What a connection may do to a listener: each limit over a real socket."""

import asyncio
import logging
import resource
import socket
import time

import pytest

from services.runtime.http.arrivals import network_of
from services.runtime.http.connection import Connection
from services.runtime.http.exchange import Exchange
from services.runtime.http.limits import HttpLimits
from services.runtime.http.listener import Listener, listen_http
from tests.runtime.http.system import Client, answer_to, listening, status_of
from tests.waiting import WAIT_S, until

CLOSING = b"\r\nhost: x\r\nconnection: close\r\n\r\n"
GET = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad\x00name: 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nnumber\r\n", 400),
        (b"POST / HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # TLS on the plain port.
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"CONNECT vendor:443 HTTP/1.1\r\nhost: x\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nhost: x\r\nexpect: payment\r\ncontent-length: 1\r\n\r\n", 417),
        (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * 100 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: " + b"b" * 50_000, 431),
        (b"GET /" + b"a" * 50_000, 431),
        (b"\r\n" * 25_000, 431),
    ],
)
async def test_the_servers_own_refusals(request_bytes: bytes, status: int) -> None:
    async with listening() as (listener, application):
        answer = await answer_to(listener, request_bytes)
        assert status_of(answer) == status
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.count(b"HTTP/1.1") == 1
        assert application.called in ([], ["/"])


@pytest.mark.parametrize("bytes_max", [1_000, 32 * 1024])
async def test_a_head_has_as_many_bytes_as_it_may_and_no_more(bytes_max: int) -> None:
    begun = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\na: "
    async with listening(head_bytes_max=bytes_max) as (listener, _):
        for more, status in ((0, 200), (100, 431)):
            head = begun + b"b" * (bytes_max - len(begun) - 4 + more) + b"\r\n\r\n"
            assert status_of(await answer_to(listener, head)) == status


async def test_a_head_has_as_many_headers_as_it_may() -> None:
    async with listening() as (listener, _):
        most = b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 98
        assert status_of(await answer_to(listener, most + CLOSING.removeprefix(b"\r\n"))) == 200


async def test_a_header_of_60_mb_is_refused_at_once_and_nobody_waits_for_it() -> None:
    async with listening() as (listener, _):
        client, attacker = await Client.to(listener), await Client.to(listener)

        async def attack() -> bytes:
            answering = asyncio.create_task(attacker.rest())
            await attacker.send(b"GET / HTTP/1.1\r\nhost: x\r\na: ")
            for _ in range(1_000):
                await attacker.send(b"b" * 60_000)
            return await answering

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        attacking = asyncio.create_task(attack())
        worst_s = 0.0
        while not attacking.done():
            began_s = time.process_time()
            await client.send(GET)
            await client.until(b"GET /a 0")
            worst_s = max(worst_s, time.process_time() - began_s)
        assert status_of(await attacking) == 431
        assert worst_s < 1.0
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000
        for each in (client, attacker):
            each.close()


async def test_heads_that_come_in_pieces_are_bounded_one_by_one() -> None:
    async with listening(head_bytes_max=1_000) as (listener, _):
        client = await Client.to(listener)
        for _ in range(50):
            await client.send(GET[:-2])
            await until(lambda: bool(listener._heads))
            await client.send(GET[-2:])
            await client.until(b"GET /a 0")
        client.close()


async def test_trailers_without_end_are_refused() -> None:
    begun = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"
    async with listening() as (listener, application):
        for trailers in (b"t: " + b"1" * 1_000_000, b"t: 1\r\n" * 1_000, b"a" * 100_000):
            assert status_of(await answer_to(listener, begun + trailers)) == 400
        # An extension of a chunk is no body either.
        assert application.called == ["/"] * 3
        assert status_of(await answer_to(listener, begun.removesuffix(b"0\r\n") + b"1;" + b"e" * 100_000)) == 400
        few = await answer_to(listener, begun.replace(b"host", b"connection: close\r\nhost") + b"t: 1\r\n\r\n")
        assert few.endswith(b"POST / 0")


async def test_a_trailer_is_no_header() -> None:
    told: list[bytes] = []

    async def application(exchange: Exchange) -> None:
        while await exchange.read():
            pass
        told.extend(name for name, _ in exchange.headers)
        assert exchange.value_of(b"authorization") == b""
        exchange.whole(200, [], b"")

    async with listen_http(application, "127.0.0.1", 0) as listener:
        begun = b"POST /b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        assert status_of(await answer_to(listener, begun + b"1\r\nx\r\n0\r\nauthorization: Bearer x\r\n\r\n")) == 200
    assert told == [b"host", b"connection", b"transfer-encoding"]


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [("1.1", 0, 400), ("1.1", 1, 200), ("1.1", 2, 400), ("1.0", 0, 200), ("1.0", 1, 200), ("1.0", 2, 400)],
)
async def test_a_request_names_its_host_once(version: str, hosts: int, status: int) -> None:
    async with listening() as (listener, application):
        request = f"GET /a HTTP/{version}\r\n".encode() + b"Host: x\r\n" * hosts + b"connection: close\r\n\r\n"
        assert status_of(await answer_to(listener, request)) == status
        assert application.called == (["/a"] if status == 200 else [])


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        # Nothing, or nothing more: there is nothing to answer.
        (b"", b""),
        (b"G", b"HTTP/1.1 408 "),
        (b"GET / HTTP/1.1\r\nhost: x\r\n", b"HTTP/1.1 408 "),
        (b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab", b"HTTP/1.1 408 "),
        (b"POST /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab", b"HTTP/1.1 408 "),
    ],
)
async def test_what_does_not_come_to_its_end_in_time_ends_the_connection(sent: bytes, answered: bytes) -> None:
    async with listening(head_s=0.4, body_s=0.4) as (listener, application):
        began_s = time.monotonic()
        answer = await answer_to(listener, sent)
        assert time.monotonic() - began_s > 0.35
        assert answer[: len(answered)] == answered
        assert bool(answer) is bool(answered)
        assert application.left == (["/b"] if b"/b" in sent else [])


@pytest.mark.parametrize(
    "begun", [b"GET / HTTP/1.1\r\nhost: x\r\na: ", b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"]
)
async def test_a_byte_now_and_then_makes_nobody_wait_longer(begun: bytes) -> None:
    async with listening(head_s=0.4, body_s=0.4) as (listener, _):
        client = await Client.to(listener)
        await client.send(begun)
        answering = asyncio.create_task(client.rest())
        while not answering.done():
            await client.send(b"b")
            await asyncio.sleep(0.05)
        assert status_of(await answering) == 408
        client.close()


async def test_a_connection_without_a_request_is_closed_after_its_time() -> None:
    async with listening(idle_s=0.3) as (listener, _):
        client = await Client.to(listener)
        await client.send(GET)
        assert (await client.rest()).endswith(b"GET /a 0")
        client.close()


async def test_a_connection_waits_for_one_thing_at_a_time() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await until(lambda: bool(listener._heads))
        await client.send(GET + b"GET /hold HT")
        await client.until(b"GET /a 0")
        # Half a head came during the answer, or after it.
        for rest in (b"TP/1.1\r\nhost: x\r\n\r\n", b"T /hold HTTP/1.1\r\nhost: x\r\n\r\n"):
            await until(lambda: bool(listener._heads))
            assert not listener._idle
            await client.send(rest)
            await until(lambda: bool(listener._answers))
            assert not listener._heads
            application.let_go.set()
            await client.until(b"GET /hold 0")
            assert list(map(len, (listener._idle, listener._answers))) == [1, 0]
            application.let_go.clear()
            await client.send(b"GE")
        # Its begin has come; the rest comes with a part of its body.
        await client.send(b"T /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        await until(lambda: bool(listener.bodies))
        assert not listener._heads
        await client.send(b"cde")
        await client.until(b"GET /a 5")
        assert not listener.bodies
        await client.send(b"GE")
        # An answer whose body was not awaited is the last one.
        await client.send(b"T /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab")
        await client.until(b"\r\n\r\nno")
        assert list(listener._ending.values()) == [0]
        assert not any((listener._heads, listener._idle, listener.bodies, listener._answers, listener._late))
        client.close()


async def test_connections_of_one_address_are_bounded() -> None:
    async with listening(connections_per_address_max=3) as (listener, _):
        clients = [await Client.to(listener) for _ in range(3)]
        for client in clients:
            await client.send(GET)
            await client.until(b"GET /a 0")
        assert await answer_to(listener, GET) == b""
        # Another address has its own.
        other = await Client.to(listener, local_addr=("127.0.0.2", 0))
        await other.send(GET)
        await other.until(b"GET /a 0")
        clients.pop().close()
        await until(lambda: len(listener._connections) == 3)
        clients.append(await Client.to(listener))
        await clients[-1].send(GET)
        await clients[-1].until(b"GET /a 0")
        for client in (*clients, other):
            client.close()


async def test_at_the_limit_of_all_connections_one_that_does_nothing_makes_way() -> None:
    async with listening(connections_max=3, connections_per_address_max=100) as (listener, application):
        holding, asked, silent = [await Client.to(listener) for _ in range(3)]
        await holding.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        await asked.send(GET)
        await asked.until(b"GET /a 0")
        await until(lambda: len(listener._connections) == 3)
        first = await Client.to(listener)
        # The one that never asked goes before the one that did.
        assert await silent.rest() == b""
        await first.send(GET)
        await first.until(b"GET /a 0")
        assert listener.accepts
        second = await Client.to(listener)
        assert await asked.rest() == b""
        for client in (first, second):
            await client.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: application.called.count("/hold") == 3)
        # All are at work: nobody makes way, and who found no place counts for nothing.
        assert not listener.accepts
        assert await answer_to(listener, GET) == b""
        assert listener._arrivals._of_address == {"127.0.0.1": 3}
        application.let_go.set()
        for client in (holding, first, second):
            await client.until(b"/hold 0")
            client.close()


async def test_at_the_limit_who_only_ends_makes_way_once_its_answer_is_taken() -> None:
    refused = b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
    async with listening(connections_max=3, connections_per_address_max=100) as (listener, _):
        slow, asked, ending = [await Client.to(listener) for _ in range(3)]
        # More than what lies between the two.
        await slow.send(b"GET /much HTTP/1.1" + CLOSING)
        await slow.until(b"\r\n\r\n")
        await asked.send(GET)
        await asked.until(b"GET /a 0")
        # What is left of its body is dropped for 10 s.
        await ending.send(refused)
        await ending.until(b"no")
        assert list(listener._ending.values()) == [0, 0]
        assert listener.accepts
        # Its kernel confirms the last bytes a moment later.
        await until(lambda: [bool(each.untaken_bytes) for each in listener._ending] == [True, False])
        first = await Client.to(listener)
        # The slow one ended before it, and has not got all.
        assert await ending.rest() == b""
        await first.send(GET)
        await first.until(b"GET /a 0")
        # Its place is taken by nobody while another does nothing.
        second = await Client.to(listener)
        assert await asked.rest() == b""
        assert len(await slow.rest()) == 20_000_000
        slow.close()
        await until(lambda: len(listener._connections) == 2)
        third = await Client.to(listener)
        for client in (first, second, third):
            await client.send(GET)
            await client.until(b"GET /a 0")
            client.close()


async def test_places_of_those_who_only_end_are_taken_where_nobody_does_nothing() -> None:
    async with listening(connections_max=3, connections_per_address_max=100) as (listener, _):
        attackers = [await Client.to(listener) for _ in range(3)]
        for attacker in attackers:
            await attacker.send(b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n")
            await attacker.until(b"no")
        assert (len(listener._ending), listener.accepts) == (3, True)
        assert status_of(await answer_to(listener, b"GET /a HTTP/1.1" + CLOSING)) == 200
        for attacker in attackers:
            attacker.close()


async def test_a_thousand_addresses_take_no_more_places_than_there_are_and_nobody_waits_for_them() -> None:
    async with listening(connections_max=100, connections_per_address_max=10) as (listener, _):
        honest = await Client.to(listener, local_addr=("127.0.0.1", 0))
        attackers = []
        worst_s = 0.0
        for number in range(1_000):
            attackers.append(await Client.to(listener, local_addr=(f"127.1.{number // 250}.{number % 250 + 1}", 0)))
            if number % 50 == 0:
                began_s = time.process_time()
                await honest.send(GET)
                await honest.until(b"GET /a 0")
                worst_s = max(worst_s, time.process_time() - began_s)
                assert len(listener._connections) <= 100
        assert worst_s < 0.5
        await until(lambda: not listener._arrivals.waiting)
        # Whoever comes next finds a place: the one that has been silent for the longest makes way.
        assert b"GET /a 0" in await answer_to(listener, b"GET /a HTTP/1.1" + CLOSING)
        for client in (honest, *attackers):
            client.close()


async def test_a_listener_that_was_closed_accepts_nothing() -> None:
    async with listening() as (listener, _):
        assert listener.accepts
        await listener.stop_listening()
        assert not listener.accepts


def test_open_files_are_raised_to_what_the_process_may_have() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1_024), hard))
        limits = HttpLimits().for_process()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
        assert limits.connections_max == (hard - 256) // 2
        assert limits.connections_per_address_max == limits.connections_max // 2
        assert HttpLimits(connections_max=10).for_process().connections_per_address_max == 5
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_what_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


async def test_a_client_that_takes_nothing_is_cut_off() -> None:
    async with listening(write_s=0.4) as (listener, application):
        client = await Client.to(listener, limit=1_024)
        await client.send(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        began_s = time.monotonic()
        await until(lambda: application.left == ["/flood"])
        assert time.monotonic() - began_s > 0.35
        await until(lambda: not listener._connections)
        client.close()


async def test_a_client_that_takes_a_little_is_not() -> None:
    async with listening(write_s=0.5) as (listener, application):
        with socket.socket() as slow:
            # So little that the listener has more for it at every moment.
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", listener.port))
            await loop.sock_sendall(slow, b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
            for _ in range(40):
                await loop.sock_recv(slow, 2_048)
                await asyncio.sleep(0.05)
            assert application.left == []
        await until(lambda: application.left == ["/flood"])


async def test_a_client_that_stops_reading_again_and_again_is_waited_for_each_time() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        await client.send(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        (connection,) = await connected(listener)
        for _ in range(3):
            await until(lambda: connection.congested)
            before = connection.unsent_bytes
            for _ in range(100):
                await asyncio.sleep(0)
            assert connection.unsent_bytes == before
            async with asyncio.timeout(WAIT_S):
                while connection.congested:
                    await client.reader.read(1_000_000)
        client.close()


async def test_a_client_that_was_slow_once_is_watched_no_longer() -> None:
    async with listening(head_s=0.4) as (listener, _):
        client = await Client.to(listener)
        await client.send(b"GET /much HTTP/1.1\r\nhost: x\r\n\r\n")
        (connection,) = await connected(listener)
        await until(lambda: connection.congested)
        assert list(listener._writing) == [connection]
        await client.reader.readuntil(b"\r\n\r\n")
        await client.reader.readexactly(20_000_000)
        await until(lambda: not connection.congested)
        await until(lambda: not listener._writing)
        client.close()


async def connected(listener: Listener) -> list[Connection]:
    """The connections, once there is one."""
    await until(lambda: bool(listener._connections))
    return list(listener._connections)


async def test_a_client_that_takes_a_byte_now_and_then_is_cut_off() -> None:
    # It takes less than its kernel tells ours of: nothing, as far as can be seen.
    async with listening(write_s=0.5) as (listener, application):
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, ("127.0.0.1", listener.port))
            await loop.sock_sendall(slow, b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
            began_s = time.monotonic()
            while not application.left:
                assert await loop.sock_recv(slow, 1)
                await asyncio.sleep(0.02)
            assert time.monotonic() - began_s > 0.45
            assert not listener._connections


async def test_who_answers_for_the_longest_time_has_a_moment_for_the_last_words() -> None:
    async with listening(answer_s=0.4, last_words_s=0.4) as (listener, application):
        client = await Client.to(listener)
        for _ in range(2):
            began_s = time.monotonic()
            await client.send(b"GET /last-words HTTP/1.1\r\nhost: x\r\n\r\n")
            assert b"begun, " in await client.until(b"ended after 0.4 s\r\n0\r\n\r\n")
            assert time.monotonic() - began_s > 0.35
        # It was in time, and so its connection goes on.
        await asyncio.sleep(0.6)
        await client.send(GET)
        await client.until(b"GET /a 0")
        client.close()
        began_s = time.monotonic()
        assert await answer_to(listener, b"GET /deaf HTTP/1.1\r\nhost: x\r\n\r\n") == b""
        assert time.monotonic() - began_s > 0.75
        assert application.left == ["/deaf"]


async def test_requests_sent_together_have_each_the_longest_time_from_its_turn() -> None:
    async with listening(answer_s=0.6) as (listener, application):
        first, second = await Client.to(listener), await Client.to(listener)
        # Its first answer ends at once, its second one begins later than that of the other client.
        await first.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\nGET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        await second.send(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: application.called == ["/hold", "/flood"])
        application.let_go.set()
        await until(lambda: len(application.called) == 3)
        (late, _), (later, _) = sorted((since_s, id(each)) for each, since_s in listener._answers.items())
        assert late < later
        assert list(listener._answers.values()) == [late, later]
        for client in (first, second):
            client.close()


async def test_the_longest_answer_ends() -> None:
    async with listening(answer_s=0.4) as (listener, application):
        assert await answer_to(listener, b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n") == b""
        assert application.left == ["/hold"]


async def test_malformed_requests_are_logged_once_a_look_with_their_count(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "services.runtime.http"):
        async with listening(head_s=0.4) as (listener, _):
            for _ in range(20):
                await answer_to(listener, b"nonsense\r\n\r\n")
            await until(lambda: listener._refused == 0)
            assert listener.refusals == {"400": 20}
    counts = [int(record.getMessage().split()[1]) for record in caplog.records]
    assert sum(counts) == 20
    assert len(counts) < 20
    assert "127.0.0.1 was answered 400" in caplog.records[0].getMessage()


# Requests in order


async def test_requests_sent_together_are_answered_in_their_order() -> None:
    numbers = range(50)
    requests = [f"POST /{number} HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx".encode() for number in numbers]
    requests[7] = b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n"
    async with listening() as (listener, application):
        answers = await answer_to(listener, b"".join(requests) + b"GET /last HTTP/1.1" + CLOSING)
        assert application.called == [*(f"/{number}" if number != 7 else "/stream" for number in numbers), "/last"]
        places = [answers.index(f"POST /{number} 1".encode()) for number in numbers if number != 7]
        assert places == sorted(places)
        assert answers.count(b"HTTP/1.1 200") == 51


async def test_a_body_behind_a_request_that_is_answered_first_is_read() -> None:
    large = b"POST /large HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n" + b"b" * 200_000
    async with listening() as (listener, _):
        answers = await answer_to(listener, GET + large + large + b"GET /last HTTP/1.1" + CLOSING)
        assert answers.count(b"POST /large 200000") == 2
        assert answers.endswith(b"GET /last 0")


async def test_an_answer_to_a_request_whose_body_goes_wrong_is_cut_and_nothing_more_is_written() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"POST /flood HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        await client.until(b"piecepiece")
        await client.send(b"no number\r\n")
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert application.left == ["/flood"]
        client.close()
    assert not listener._tasks


async def test_no_http_without_end_is_dropped_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.http.listener._LINGER_S", 10 * WAIT_S)
    async with listening() as (listener, _):
        client = await Client.to(listener)
        await client.send(b"nonsense\r\n\r\n")
        await client.until(b"connection: close\r\n\r\n")
        for _ in range(50):
            await client.send(b"n" * 100_000)
        await until(lambda: not listener._connections)
        client.close()


async def test_requests_without_end_sent_together_are_answered_up_to_a_bound() -> None:
    async with listening() as (listener, application):
        answers = await answer_to(listener, GET * 20_000)
        assert answers.endswith(b"connection: close\r\n\r\n")
        assert b"HTTP/1.1 400" in answers
        # One is answered, and 64 wait.
        assert len(application.called) == 65


@pytest.mark.parametrize("half_close", [False, True])
async def test_an_answer_under_way_is_whole_before_the_next_request_is_refused(half_close: bool) -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\nnonsense\r\n\r\n")
        if half_close:
            client.writer.write_eof()
        await until(lambda: application.called == ["/hold"])
        await asyncio.sleep(0.05)
        application.let_go.set()
        answers = await client.rest()
        assert answers.index(b"GET /hold 0") < answers.index(b"HTTP/1.1 400")
        client.close()


@pytest.mark.parametrize(
    "framing", [b"content-length: 3\r\n\r\nabc", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"\r\n"]
)
async def test_a_request_to_upgrade_is_served_as_http_and_so_is_what_follows(framing: bytes) -> None:
    upgrading = b"POST /up HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: h2c\r\n" + framing
    async with listening() as (listener, _):
        answers = await answer_to(listener, upgrading + b"GET /next HTTP/1.1" + CLOSING)
        assert (b"POST /up 3" if b"abc" in framing else b"POST /up 0") in answers
        assert answers.endswith(b"GET /next 0")


async def test_a_client_that_sends_no_more_gets_its_answer() -> None:
    async with listening() as (listener, application):
        for request in (
            b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n",
            b"GET /a HTTP/1.0\r\n\r\n",
        ):
            answer = await answer_to(listener, request, half_close=True)
            assert b"HTTP/1.1 200 OK\r\n" in answer
            assert answer.endswith((b"GET /a 0", b"5\r\nthree\r\n0\r\n\r\n"))
        application.let_go.clear()
        client = await Client.to(listener)
        await client.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        client.writer.write_eof()
        await asyncio.sleep(0.2)
        assert application.left == []
        application.let_go.set()
        answer = await client.rest()
        assert b"\r\nconnection: close\r\n" in answer
        assert answer.endswith(b"GET /hold 0")
        client.close()
        # What tells whether the client is there is no answer of HTTP/1.0.
        application.let_go.clear()
        client = await Client.to(listener)
        await client.send(b"GET /hold HTTP/1.0\r\n\r\n")
        client.writer.write_eof()
        await until(lambda: bool(listener.half_closed))
        application.let_go.set()
        assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()


async def test_a_client_that_sends_no_more_is_gone_where_nothing_harmless_can_ask_it() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        await client.until(b"piecepiece")
        client.writer.write_eof()
        await until(lambda: application.left == ["/flood"])
        client.close()


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_closes_is_known_to_be_gone_at_once(reset: bool) -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: application.called == ["/hold"])
        # The listener would see it too when it looks next.
        assert listener._looking is not None
        listener._looking.cancel()
        if reset:
            client.writer.transport.abort()
        else:
            client.close()
        await until(lambda: application.left == ["/hold"])


async def test_who_waits_for_a_client_to_read_is_told_that_it_is_gone() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: any(connection.congested for connection in listener._connections))
        client.writer.transport.abort()
        await until(lambda: application.left == ["/flood"])
        # It need not be cut off at the end.
        await until(lambda: not listener._tasks)


async def test_a_client_that_sends_no_more_within_its_body_is_gone() -> None:
    async with listening() as (listener, application):
        assert await answer_to(listener, b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab", half_close=True) == b""
        assert application.left == ["/b"]


# HTTP


async def test_http_1_0_is_answered_as_it_reads() -> None:
    async with listening() as (listener, _):
        streamed = await answer_to(listener, b"GET /stream HTTP/1.0\r\n\r\n")
        assert b"chunked" not in streamed
        assert streamed.endswith(b"\r\nconnection: close\r\n\r\none two three")
        kept = await answer_to(listener, b"GET /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n")
        assert b"connection: keep-alive\r\n\r\nGET /a 0HTTP/1.1 200" in kept
        assert kept.endswith(b"connection: close\r\n\r\nGET /b 0")


async def test_http_1_0_is_not_told_to_go_on() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"POST /b HTTP/1.0\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        await until(lambda: application.called == ["/b"])
        await client.send(b"abc")
        assert (await client.rest()).startswith(b"HTTP/1.1 200 OK\r\n")
        client.close()


async def test_head_has_no_body() -> None:
    async with listening() as (listener, _):
        for path in (b"/a", b"/stream"):
            answer = await answer_to(listener, b"HEAD " + path + b" HTTP/1.1" + CLOSING)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"\r\n\r\n")
            assert b"chunked" not in answer


async def test_parts_of_an_answer_are_chunks_and_nothing_is_none() -> None:
    async with listening() as (listener, _):
        answer = await answer_to(listener, b"GET /stream HTTP/1.1" + CLOSING)
        assert answer.partition(b"\r\n\r\n")[2] == b"4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n"


async def test_what_has_no_body_by_its_status_is_followed_by_the_next_answer() -> None:
    async with listening() as (listener, _):
        answers = await answer_to(
            listener, b"GET /204 HTTP/1.1\r\nhost: x\r\n\r\nGET /304 HTTP/1.1\r\nhost: x\r\n\r\nGET /a HTTP/1.1" + CLOSING
        )
        first, second, third, body = answers.split(b"\r\n\r\n")
        assert [status_of(each) for each in (first, second, third)] == [204, 304, 200]
        assert body == b"GET /a 0"


async def test_a_client_that_asks_whether_to_go_on_is_told_to_when_its_body_is_wanted() -> None:
    async with listening() as (listener, _):
        client = await Client.to(listener)
        await client.send(b"POST /b HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"abc")
        await client.until(b"POST /b 3")
        # Refused without its body.
        await client.send(b"POST /unread HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        answer = await client.rest()
        assert status_of(answer) == 401
        assert b"100 Continue" not in answer
        client.close()


@pytest.mark.parametrize("is_begun", [False, True])
async def test_who_asks_whether_to_go_on_is_told_once_and_never_within_an_answer(is_begun: bool) -> None:
    came: list[bytes] = []

    async def application(exchange: Exchange) -> None:
        exchange.more_headers = ((b"connection", b"close"),)
        if is_begun:
            exchange.start(200, [])
            exchange.write(b"begun")
        while piece := await exchange.read():
            came.append(piece)
        if not is_begun:
            exchange.start(200, [])
        exchange.end(b"ended")

    async with listen_http(application, "127.0.0.1", 0) as listener:
        client = await Client.to(listener)
        await client.send(b"POST /b HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n")
        told = await client.until(b"begun\r\n" if is_begun else b"\r\n\r\n")
        for number, piece in enumerate((b"a", b"b", b"c"), start=1):
            await client.send(piece)
            await until(lambda number=number: len(came) == number)  # type: ignore[misc]
        told += await client.rest()
        assert told.count(b"100 Continue") == (0 if is_begun else 1)
        assert told.endswith(b"5\r\nended\r\n0\r\n\r\n")
        client.close()


async def test_a_body_that_nobody_reads_is_not_taken_and_its_client_sees_the_answer() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"POST /hold HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n")
        await until(lambda: application.called == ["/hold"])
        sending = asyncio.create_task(client.send(b"b" * 30_000_000))
        await asyncio.sleep(0.3)
        (connection,) = listener._connections
        assert connection._coming is not None
        assert connection._coming.unread < 1_000_000
        assert not sending.done()
        application.let_go.set()
        await client.until(b"POST /hold 30000000")
        await sending
        client.close()
        refused = await answer_to(
            listener, b"POST /unread HTTP/1.1\r\nhost: x\r\ncontent-length: 30000000\r\n\r\n" + b"b" * 30_000_000
        )
        assert status_of(refused) == 401
        assert refused.endswith(b"no")


async def test_targets_have_several_forms() -> None:
    async with listening() as (listener, application):
        for target in (b"http://edge:80/whole?q=1", b"*", b"/path#fragment", b"/%2e%2e?a"):
            assert status_of(await answer_to(listener, b"OPTIONS " + target + b" HTTP/1.1" + CLOSING)) == 200
        assert application.called == ["/whole", "*", "/path", "/%2e%2e"]


async def test_a_fault_of_the_application_is_never_a_whole_answer(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as (listener, _):
        assert await answer_to(listener, b"GET /fault HTTP/1.1\r\nhost: x\r\n\r\n") == b""
        assert (await answer_to(listener, b"GET /half HTTP/1.1\r\nhost: x\r\n\r\n")).endswith(b"4\r\nhalf\r\n")
    assert [record.getMessage() for record in caplog.records] == ["GET /fault failed", "GET /half failed"]


async def test_nothing_is_left_of_connections(caplog: pytest.LogCaptureFixture) -> None:
    async with listening() as (listener, application):
        for request in (GET, b"GET / HT", b"nonsense\r\n\r\n", b"POST /b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nab", b""):
            client = await Client.to(listener)
            await client.send(request)
            await asyncio.sleep(0.02)
            client.close()
        # One that sends no more, and gets its answer.
        client = await Client.to(listener)
        await client.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        client.writer.write_eof()
        await until(lambda: bool(listener.half_closed))
        application.let_go.set()
        await client.rest()
        client.close()
        await until(lambda: not listener._connections)
        states = (listener._heads, listener._idle, listener.bodies, listener._answers, listener._late, listener.half_closed)
        assert not any(states)
        assert not listener._writing
        assert not listener._ending
        assert not listener._arrivals._of_address
        assert not listener._tasks


async def test_who_has_gone_before_he_is_given_a_place_keeps_none() -> None:
    async with listening() as (listener, _):
        gone = socket.socket()
        listener._arrivals._of_address["127.0.0.2"] = 1
        gone.close()
        await listener._take(gone, "127.0.0.2")
        assert not listener._connections
        assert not listener._arrivals._of_address


# The end


async def test_a_listener_that_stops_lets_answers_end_and_closes_what_does_nothing() -> None:
    async with listening() as (listener, application):
        idle, holding = await Client.to(listener), await Client.to(listener)
        await idle.send(GET)
        await idle.until(b"GET /a 0")
        await holding.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: application.called == ["/a", "/hold"])
        assert listener.accepts
        # As in the time of its notice: the port is open, and clients should go elsewhere.
        listener.closing = True
        assert not listener.accepts
        stopping = asyncio.create_task(listener.stop(5.0))
        # What does nothing does not wait for what is under way.
        assert await idle.rest() == b""
        application.let_go.set()
        assert (await holding.rest()).endswith(b"connection: close\r\n\r\nGET /hold 0")
        await stopping
        assert not listener._connections
        for client in (idle, holding):
            client.close()


async def test_who_was_connected_when_the_port_closes_is_answered_and_not_reset() -> None:
    async with listening() as (listener, _):
        port = listener.port
        # The loop does nothing meanwhile: they wait in the kernel, with their requests.
        waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
        for each in waiting[:25]:
            each.sendall(GET)
        for each in waiting[25:]:
            # Theirs are still on their way.
            asyncio.get_running_loop().call_later(0.2, each.sendall, GET)
        assert not listener._connections
    clients = [Client(*await asyncio.open_connection(sock=each)) for each in waiting]
    answers = [await client.rest() for client in clients]
    assert [answer.split(b"\r\n\r\n")[1] for answer in answers] == [b"GET /a 0"] * 50
    assert all(b"\r\nconnection: close\r\n" in answer for answer in answers)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    for client in clients:
        client.close()


async def test_an_answer_that_outlives_the_drain_is_cut_off() -> None:
    async with listening() as (listener, application):
        client = await Client.to(listener)
        await client.send(b"GET /hold HTTP/1.1\r\nhost: x\r\n\r\n")
        await until(lambda: application.called == ["/hold"])
        began_s = time.monotonic()
        await listener.stop(0.2)
        assert time.monotonic() - began_s > 0.15
        assert await client.rest() == b""
        client.close()
