"""The vendor client against servers that misbehave, in virtual time."""

import asyncio
import errno
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from services.edge.config import EdgeConfig
from services.edge.vendors.http import HttpVendorClient, network_fault
from services.edge.vendors.vendor import VendorFailure
from tests.waiting import WAIT_S

URL = "http://127.0.0.1:80/v1/chat/completions"
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
Handle = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A raw server: reads whole requests and lets the test write whatever it likes."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self.connections = 0
        self.requests: list[bytes] = []
        self.closed_by_client = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                await self._handle(self.requests[-1], reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_by_client.set()
        finally:
            writer.close()


@asynccontextmanager
async def server(handle: Handle) -> AsyncIterator[Server]:
    made = Server(handle)
    async with asyncio.timeout(WAIT_S):
        async with await asyncio.start_server(made.serve, "127.0.0.1", 80):
            yield made


@asynccontextmanager
async def client(**changes: Any) -> AsyncIterator[HttpVendorClient]:
    config = EdgeConfig(
        registry_address="-",
        authentication_address="-",
        accounting_address="-",
        billing_address="-",
        admin_token_file="-",
        **dict[str, Any]({"connect_timeout_ms": 500, "first_byte_timeout_ms": 300, "idle_timeout_ms": 300, **changes}),
    )
    async with HttpVendorClient(config) as made:
        yield made


def now_s() -> float:
    return asyncio.get_running_loop().time()


def writes(content: bytes, *, close: bool = False) -> Handle:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        if close:
            await writer.drain()
            writer.close()

    return handle


async def silent(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    raise ConnectionError


def bearer(api_key: str) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + api_key.encode())] if api_key else []


KEY = bearer("k")


async def whole(vendors: HttpVendorClient, url: str, api_key: str = "secret", body: bytes = b"{}") -> bytes:
    answer = await vendors.post(url, bearer(api_key), body)
    try:
        return await answer.read()
    finally:
        answer.close()


async def test_an_answer_comes_and_the_connection_is_used_again() -> None:
    async with server(writes(OK + b"content-length: 5\r\n\r\nhello")) as vendor, client() as vendors:
        for _ in range(3):
            assert await whole(vendors, URL, body=b'{"a": 1}') == b"hello"
        assert vendor.connections == 1
        head, _, body = vendor.requests[0].partition(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:80\r\n")
        assert b"\r\nauthorization: Bearer secret\r\n" in head
        assert b"\r\ncontent-length: 8" in head
        assert body == b'{"a": 1}'


async def test_no_key_sends_no_authorization() -> None:
    async with server(writes(OK + b"content-length: 0\r\n\r\n")) as vendor, client() as vendors:
        assert await whole(vendors, URL, api_key="") == b""
        assert b"authorization" not in vendor.requests[0].lower()


async def test_a_key_cannot_add_headers() -> None:
    async with server(writes(OK + b"content-length: 0\r\n\r\n")) as vendor, client() as vendors:
        with pytest.raises(VendorFailure):
            await vendors.post(URL, bearer("secret\r\nx-evil: 1"), b"{}")
        assert vendor.requests == []


async def test_a_chunked_answer_comes_in_pieces_as_they_are_sent() -> None:
    go_on = asyncio.Event()

    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await go_on.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")

    async with server(handle) as vendor, client() as vendors:
        for _ in range(2):
            go_on.clear()
            answer = await vendors.post(URL, KEY, b"{}")
            pieces = answer.pieces()
            assert await anext(pieces) == b"first"
            go_on.set()
            assert [piece async for piece in pieces] == [b"second"]
            answer.close()
        assert vendor.connections == 1


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    async with server(writes(OK + b"\r\nall of it", close=True)) as vendor, client() as vendors:
        assert await whole(vendors, URL) == b"all of it"
        assert await whole(vendors, URL) == b"all of it"
        assert vendor.connections == 2


@pytest.mark.parametrize("hint", [b"link: x", b"content-encoding: gzip", b"content-length: 9"])
async def test_an_interim_answer_is_passed_over(hint: bytes) -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\ncontent-type: text/html\r\n" + hint + b"\r\n\r\n"
    async with server(writes(interim + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")), client() as vendors:
        answer = await vendors.post(URL, KEY, b"{}")
        assert (answer.content_type, await answer.read()) == ("", b"ok")
        answer.close()


async def test_a_time_to_wait_of_an_interim_answer_is_none() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\nretry-after-ms: 250\r\n\r\n"
    refusal = b"HTTP/1.1 429 Busy\r\nretry-after: 5\r\ncontent-length: 0\r\n\r\n"
    async with server(writes(interim + refusal)), client() as vendors:
        with pytest.raises(VendorFailure) as raised:
            await vendors.post(URL, KEY, b"{}")
    assert raised.value.retry_after_ms == 5_000


async def test_connection_close_is_obeyed() -> None:
    async with server(writes(OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok")) as vendor, client() as vendors:
        await whole(vendors, URL)
        await whole(vendors, URL)
        assert vendor.connections == 2


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 429, 500, 503])
async def test_any_other_status_is_a_refusal_and_no_redirect_is_followed(status: int) -> None:
    body = b'{"error": {"message": "no"}}'
    content = b"HTTP/1.1 %d No\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body
    async with server(writes(content)) as vendor, client() as vendors:
        for _ in range(2):
            with pytest.raises(VendorFailure) as raised:
                await vendors.post(URL, KEY, b"{}")
            assert (raised.value.outcome, raised.value.http_status, raised.value.body) == ("refused", status, body)
        assert vendor.connections == 1


async def test_a_refusal_without_end_is_cut() -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with server(handle) as vendor, client() as vendors:
        with pytest.raises(VendorFailure) as raised:
            await vendors.post(URL, KEY, b"{}")
        assert (raised.value.outcome, raised.value.http_status, raised.value.body) == ("refused", 500, b"")
        await vendor.closed_by_client.wait()


async def test_a_refusal_that_drips_is_not_waited_for() -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 No\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(handle) as vendor, client() as vendors:
        assert await failure_of(vendors, URL) == ("refused", 503)
        assert now_s() == pytest.approx(0.3)
        await vendor.closed_by_client.wait()


async def test_others_have_their_turn_while_a_packed_body_is_unpacked() -> None:
    content = gzip.compress(b": x\n\n" * 2_000_000)
    assert len(content) < 64_000
    head = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(content)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with server(writes(head + content)), client() as vendors:
        answer = await vendors.post(URL, KEY, b"{}")
        pieces = answer.pieces()
        await anext(pieces)
        task = asyncio.create_task(others())
        unpacked = [len(piece) async for piece in pieces]
        task.cancel()
        answer.close()
    assert max(unpacked) <= 64 * 1024
    assert turns >= len(unpacked) - 1 > 100


PACKED = gzip.compress(b"hello", mtime=0)
# The same head with a file's name to follow.
NAMED = PACKED[:3] + b"\x08" + PACKED[4:10]


@pytest.mark.parametrize(
    ("begin", "endless", "body"),
    [
        # After the end of what was packed, in the same piece and in others.
        (PACKED + b"y", b"y" * 60_000, b"hello"),
        (PACKED, b"y" * 60_000, b"hello"),
        # What unpacks to nothing: a file's name, and blocks without content.
        (NAMED, b"y" * 60_000, None),
        (PACKED[:10], b"\x00\x00\x00\xff\xff" * 12_000, None),
    ],
    ids=["the same piece", "other pieces", "a name", "empty blocks"],
)
async def test_a_packed_body_that_says_no_more_has_an_end(begin: bytes, endless: bytes, body: bytes | None) -> None:
    """It held its call for as long as an answer may take, and what came after the end was kept."""

    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-encoding: gzip\r\n\r\n" + begin)
        while True:
            await writer.drain()
            await asyncio.sleep(0.001)
            writer.write(endless)

    async with server(handle) as vendor, client() as vendors:
        if body is None:
            assert await failure_of(vendors, URL) == ("garbage", 200)
        else:
            assert await whole(vendors, URL) == body
        await vendor.closed_by_client.wait()


async def test_a_connection_whose_packed_answer_ended_is_used_again() -> None:
    head = OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(PACKED)
    async with server(writes(head + PACKED)) as vendor, client() as vendors:
        assert [await whole(vendors, URL) for _ in range(2)] == [b"hello"] * 2
        assert vendor.connections == 1


async def failure_of(vendors: HttpVendorClient, url: str) -> tuple[str, int]:
    with pytest.raises(VendorFailure) as raised:
        await whole(vendors, url)
    return raised.value.outcome, raised.value.http_status


async def test_nobody_listens() -> None:
    async with server(silent):
        pass
    async with client() as vendors:
        assert await failure_of(vendors, URL) == ("unreachable", 0)
        assert await failure_of(vendors, "ftp://127.0.0.1/v1") == ("unreachable", 0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 9)"), "Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "[SSL] record layer failure"), "TLS: [SSL] record layer failure"),
        (OSError("Multiple exceptions: one, another"), "Multiple exceptions: one, another"),
    ],
)
def test_why_there_is_no_connection_is_told_in_the_systems_words(error: OSError, told: str) -> None:
    assert network_fault(error) == told


async def test_a_plain_server_where_tls_was_promised_is_unreachable() -> None:
    async with server(silent), client() as vendors:
        assert await failure_of(vendors, URL.replace("http://", "https://")) == ("unreachable", 0)
        assert now_s() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("content", "close", "expected"),
    [
        (b"", True, ("broken", 0)),
        (b"HTTP/1.1 200 O", True, ("broken", 0)),
        (OK + b"content-length: 10\r\n\r\nshort", True, ("broken", 200)),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n", True, ("broken", 200)),
        (OK + b"transfer-encoding: chunked\r\n\r\nno number\r\n", False, ("broken", 200)),
        (b"SSH-2.0-OpenSSH_9.2\r\n", False, ("garbage", 0)),
        (b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nhello", False, ("garbage", 0)),
        (b"HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", False, ("garbage", 0)),
        (b"HTTP/1.1 200 OK\r\n" + b"x-long: " + b"y" * 300_000, False, ("garbage", 0)),
        (b"", False, ("timeout", 0)),
        (b"HTTP/1.1 200 OK\r\n", False, ("timeout", 0)),
        (OK + b"content-length: 10\r\n\r\nshort", False, ("timeout", 200)),
        (OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n", False, ("timeout", 200)),
    ],
)
async def test_what_is_broken_is_told_by_its_word(content: bytes, close: bool, expected: tuple[str, int]) -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()
        if not close:
            await reader.read()
        raise ConnectionError

    async with server(handle), client() as vendors:
        assert await failure_of(vendors, URL) == expected
    assert now_s() == pytest.approx(0.3 if expected[0] == "timeout" else 0.0)


async def test_a_vendor_that_hangs_up_at_once_is_broken_or_unreachable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 80), client() as vendors:
        outcomes = await asyncio.gather(*(failure_of(vendors, URL) for _ in range(200)))
    assert set(outcomes) <= {("broken", 0), ("unreachable", 0)}


@pytest.mark.parametrize("endless", [b"0\r\nx-trailer: ", b"0\r\n" + b"x: y\r\n" * 200, b"5;extension="])
async def test_a_vendor_that_says_no_body_without_end_is_cut_off_at_once(endless: bytes) -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n" + endless)
        for _ in range(1_000):
            writer.write(b"y" * 65_536 if not endless.endswith(b"\n") else b"x: y\r\n" * 10_000)
            await writer.drain()

    async with server(handle), client(idle_timeout_ms=10_000) as vendors:
        answer = await vendors.post(URL, [], b"{}")
        began_s = now_s()
        with pytest.raises(VendorFailure) as failure:
            await answer.read()
        assert failure.value.outcome == "broken"
        assert now_s() - began_s < 1.0
        answer.close()


@pytest.mark.parametrize("drip", [b"x-trailer: y\r\n", b""])
async def test_what_is_no_body_is_no_sign_of_life(drip: bytes) -> None:
    # Trailers without end, or the digits of a chunk's size one by one.
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n" + (b"0\r\n" if drip else b""))
        while True:
            writer.write(drip or b"0")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(handle) as vendor, client() as vendors:
        assert await failure_of(vendors, URL) in (("timeout", 200), ("broken", 200))
        assert now_s() <= 0.31
        await vendor.closed_by_client.wait()


async def test_a_slow_drip_of_body_is_a_sign_of_life() -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 5\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.29)
            writer.write(b"x")

    async with server(handle), client() as vendors:
        assert await whole(vendors, URL) == b"xxxxx"


async def test_a_body_beyond_the_bound_is_garbage() -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"\r\n")
        while True:
            writer.write(b"x" * 1_000_000)
            await writer.drain()

    async with server(handle) as vendor, client() as vendors:
        assert await failure_of(vendors, URL) == ("garbage", 200)
        await vendor.closed_by_client.wait()


async def test_what_came_before_the_break_is_handed_out() -> None:
    async with server(writes(OK + b"content-length: 10\r\n\r\nhalf", close=True)), client() as vendors:
        answer = await vendors.post(URL, KEY, b"{}")
        pieces = answer.pieces()
        assert await anext(pieces) == b"half"
        with pytest.raises(VendorFailure):
            await anext(pieces)
        answer.close()


async def test_more_than_the_answer_makes_the_connection_unusable() -> None:
    two = OK + b"content-length: 2\r\n\r\nok" + OK + b"content-length: 4\r\n\r\nevil"
    async with server(writes(two)) as vendor, client() as vendors:
        for _ in range(3):
            assert await whole(vendors, URL) == b"ok"
        assert vendor.connections == 3


async def test_an_idle_connection_that_the_vendor_closed_is_not_used() -> None:
    closed = asyncio.Event()

    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 2\r\n\r\nok")
        await writer.drain()
        await asyncio.sleep(0)
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with server(handle), client() as vendors:
        for _ in range(5):
            closed.clear()
            assert await whole(vendors, URL) == b"ok"
            await closed.wait()
            # The end of the connection is seen with the loop's next look at its sockets.
            await asyncio.sleep(0.01)


async def test_closing_an_unfinished_answer_stops_the_vendor_at_once() -> None:
    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await writer.drain()
        await reader.read()
        raise ConnectionError

    async with server(handle) as vendor, client(idle_timeout_ms=10_000) as vendors:
        answer = await vendors.post(URL, KEY, b"{}")
        assert await anext(answer.pieces()) == b"first"
        answer.close()
        await vendor.closed_by_client.wait()
    assert now_s() == 0.0


async def test_being_cancelled_while_waiting_stops_the_vendor_at_once() -> None:
    async with server(silent) as vendor, client(first_byte_timeout_ms=10_000) as vendors:
        call = asyncio.create_task(vendors.post(URL, KEY, b"{}"))
        await asyncio.sleep(5.0)
        assert len(vendor.requests) == 1
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await vendor.closed_by_client.wait()
    assert now_s() == 5.0


async def test_a_slow_reader_stops_the_vendors_socket() -> None:
    sent = 0

    async def handle(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(OK + b"content-length: 100000000\r\n\r\n")
        while sent < 100_000_000:
            writer.write(b"x" * 100_000)
            sent += 100_000
            await writer.drain()

    async with server(handle) as vendor, client() as vendors:
        answer = await vendors.post(URL, KEY, b"{}")
        before = -1
        while sent != before:
            before = sent
            await asyncio.sleep(0.1)
        # What fits into the buffers of both sockets, and no more.
        assert sent < 20_000_000
        size = 0
        async for piece in answer.pieces():
            size += len(piece)
        assert size == 100_000_000
        answer.close()
        assert vendor.connections == 1


@pytest.mark.parametrize(
    ("head", "body", "wait_ms"),
    [
        (b"retry-after: 5\r\nretry-after-ms: 250\r\ncontent-length: 0\r\n", b"", 250),
        (b"retry-after-ms: 250\r\nretry-after: 5\r\ncontent-length: 0\r\n", b"", 250),
        (b"retry-after: 5\r\ncontent-length: 0\r\n", b"", 5_000),
        # A trailer comes with the body, and is none of the head's.
        (b"transfer-encoding: chunked\r\n", b"2\r\nno\r\n0\r\nretry-after-ms: 250\r\n\r\n", 0),
    ],
)
async def test_the_finer_of_two_times_to_wait_is_told_and_no_trailer_s(head: bytes, body: bytes, wait_ms: int) -> None:
    async def busy(_request: bytes, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 429 Busy\r\n" + head + b"\r\n" + body)

    async with server(busy), client() as vendors:
        with pytest.raises(VendorFailure) as raised:
            await vendors.post(URL, [], b"{}")
    assert (raised.value.http_status, raised.value.retry_after_ms) == (429, wait_ms)


async def test_a_free_question_is_a_get_without_a_body() -> None:
    async with server(writes(OK + b"content-length: 2\r\n\r\n{}")) as vendor, client() as vendors:
        for _ in range(2):
            await vendors.get("http://127.0.0.1:80/v1/models", KEY)
        (first, second) = vendor.requests
        assert first.startswith(b"GET /v1/models HTTP/1.1\r\n")
        assert b"authorization: Bearer k\r\n" in first
        assert first.endswith(b"content-length: 0\r\n\r\n")
        assert second == first
        assert vendor.connections == 1


async def test_a_free_question_is_answered_by_200_alone() -> None:
    async with server(writes(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n")), client() as vendors:
        with pytest.raises(VendorFailure) as caught:
            await vendors.get("http://127.0.0.1:80/v1/models", KEY)
        assert (caught.value.outcome, caught.value.http_status) == ("refused", 503)


async def test_a_free_answer_without_end_is_none() -> None:
    async with server(writes(OK + b"\r\n" + b"x" * 5_000_000)), client() as vendors:
        with pytest.raises(VendorFailure) as caught:
            await vendors.get("http://127.0.0.1:80/v1/models", KEY)
        assert caught.value.outcome == "garbage"
