"""Connections to vendors, in virtual time: which are used again, and which are not."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.config import EdgeConfig
from services.edge.vendors.http import HttpVendorClient
from services.edge.vendors.vendor import VendorFailure

URL = "http://acme/v1/lines"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CONFIG = EdgeConfig(
    registry_address="r", authentication_address="a", accounting_address="c", billing_address="b", admin_token_file="t"
)


class Line(asyncio.Transport):
    """A connection of which the test is the vendor."""

    def __init__(self, protocol: Any) -> None:
        super().__init__()
        self.protocol = protocol
        self.requests = 0
        self.asked_at_s = 0.0
        self.aborted_at_s: float | None = None

    def writelines(self, pieces: Any) -> None:
        self.requests += 1
        self.asked_at_s = asyncio.get_running_loop().time()

    def abort(self) -> None:
        if self.aborted_at_s is None:
            self.aborted_at_s = asyncio.get_running_loop().time()
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self.aborted_at_s is not None

    def pause_reading(self) -> None:
        """Nothing is read but what the test sends."""

    def resume_reading(self) -> None:
        """Nothing is read but what the test sends."""


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> "Callable[[], list[Line]]":
    """Connections that were made, from within the test's loop."""
    made: list[Line] = []

    def begin() -> list[Line]:
        async def connect(factory: Callable[[], Any], host: str, port: int, ssl: Any = None) -> tuple[Line, Any]:
            protocol = factory()
            made.append(Line(protocol))
            protocol.connection_made(made[-1])
            return made[-1], protocol

        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
        return made

    return begin


async def answered(vendors: HttpVendorClient, made: list[Line], answer: bytes = OK, url: str = URL) -> bytes:
    """One call, whose answer comes on the connection that was asked last."""
    asked = asyncio.get_running_loop().create_task(vendors.post(url, [], b"{}"))
    await asyncio.sleep(0.1)
    max(made, key=lambda line: line.asked_at_s).protocol.data_received(answer)
    got = await asked
    try:
        return await got.read()
    finally:
        got.close()


async def test_a_connection_is_used_again_while_it_is_young(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        for _ in range(3):
            assert await answered(vendors, made) == b"ok"
            await asyncio.sleep(1.0)
    assert [line.requests for line in made] == [3]


async def test_a_connection_that_was_idle_for_long_is_not_used_again(lines: Callable[[], list[Line]]) -> None:
    # Vendors and what is between close idle connections without a word; a request on one of them would be lost.
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        await answered(vendors, made)
        await asyncio.sleep(120.0)
        await answered(vendors, made)
    assert [line.requests for line in made] == [1, 1]
    assert made[0].aborted_at_s is not None


async def test_a_broken_connection_is_not_used_again(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        asked = asyncio.get_running_loop().create_task(vendors.post(URL, [], b"{}"))
        await asyncio.sleep(0.1)
        made[0].protocol.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        answer = await asked
        made[0].protocol.connection_lost(ConnectionResetError())
        with pytest.raises(VendorFailure):
            await answer.read()
        answer.close()
        await answered(vendors, made)
    assert [line.requests for line in made] == [1, 1]


async def test_an_answer_that_was_left_is_cut_off_and_its_connection_not_used_again(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        asked = asyncio.get_running_loop().create_task(vendors.post(URL, [], b"{}"))
        await asyncio.sleep(0.1)
        made[0].protocol.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        (await asked).close()
        assert made[0].aborted_at_s == 0.1
        await answered(vendors, made)
    assert [line.requests for line in made] == [1, 1]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_reader_that_is_cancelled_takes_nothing_away_from_the_next_one(
    packed: bool, lines: Callable[[], list[Line]]
) -> None:
    made = lines()
    text = b"data: %s\n\n" * 3 % (b"one" * 500, b"two" * 500, b"three" * 500)
    content = gzip.compress(text) if packed else text
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%s\r\n" % (len(content), b"content-encoding: gzip\r\n" if packed else b"")
    async with HttpVendorClient(CONFIG) as vendors:
        asked = asyncio.get_running_loop().create_task(vendors.post(URL, [], b"{}"))
        await asyncio.sleep(0.1)
        made[0].protocol.data_received(head + content[:30])
        answer = await asked
        got = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                async for piece in answer.pieces():
                    got.append(piece)
        made[0].protocol.data_received(content[30:])
        async for piece in answer.pieces():
            got.append(piece)
        answer.close()
    assert b"".join(got) == text


async def test_silence_is_measured_from_what_came_last(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    loop = asyncio.get_running_loop()
    idle_s = CONFIG.idle_timeout_ms / 1_000
    async with HttpVendorClient(CONFIG) as vendors:
        asked = loop.create_task(vendors.post(URL, [], b"{}"))
        await asyncio.sleep(0.1)
        made[0].protocol.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n")
        reading = loop.create_task((await asked).read())
        for _ in range(5):
            await asyncio.sleep(idle_s * 0.9)
            made[0].protocol.data_received(b"piece")
        last_s = loop.time()
        with pytest.raises(VendorFailure, match="timeout"):
            await reading
        assert loop.time() - last_s == pytest.approx(idle_s)
        assert made[0].aborted_at_s == loop.time()


async def test_an_earlier_call_does_not_shorten_the_time_of_the_next_one(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    loop = asyncio.get_running_loop()
    first_byte_s = CONFIG.first_byte_timeout_ms / 1_000
    async with HttpVendorClient(CONFIG) as vendors:
        await answered(vendors, made)
        await asyncio.sleep(10.0)
        asked = loop.create_task(vendors.post(URL, [], b"{}"))
        began_s = loop.time()
        with pytest.raises(VendorFailure, match="timeout"):
            await asked
        assert loop.time() - began_s == pytest.approx(first_byte_s)
    assert [line.requests for line in made] == [2]


# What a head says


async def told_to_wait(vendors: HttpVendorClient, made: list[Line], *headers: bytes) -> int:
    """How long a client is told to wait after a refusal with these headers, in milliseconds."""
    head = b"HTTP/1.1 429 Busy\r\ncontent-length: 2\r\n" + b"".join(header + b"\r\n" for header in headers)
    with pytest.raises(VendorFailure) as raised:
        await answered(vendors, made, head + b"\r\nno")
    return raised.value.retry_after_ms


@pytest.mark.parametrize(
    ("headers", "milliseconds"),
    [
        ([b"retry-after: 37"], 37_000),
        ([b"retry-after: 0.5"], 500),
        ([b"retry-after-ms: 1500"], 1_500),
        # Of the two, milliseconds are what the vendor means.
        ([b"retry-after: 2", b"retry-after-ms: 1500"], 1_500),
        ([b"retry-after-ms: 1500", b"retry-after: 2"], 1_500),
        # Nobody is sent away for longer than a day.
        ([b"retry-after: 1000000000"], 86_400_000),
        ([b"retry-after: -5"], 0),
        ([b"retry-after: inf"], 0),
        ([b"retry-after: Wed, 21 Oct 2026 07:28:00 GMT"], 0),
    ],
)
async def test_how_long_a_vendor_says_to_wait(headers: list[bytes], milliseconds: int, lines: Callable[[], list[Line]]) -> None:
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        assert await told_to_wait(vendors, made, *headers) == milliseconds


async def test_what_a_head_has_said_is_not_said_by_the_next_one(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    packed = gzip.compress(b"packed")
    async with HttpVendorClient(CONFIG) as vendors:
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
        assert await answered(vendors, made, head + packed) == b"packed"
        assert await answered(vendors, made) == b"ok"
        assert await told_to_wait(vendors, made, b"retry-after: 37") == 37_000
        assert await told_to_wait(vendors, made) == 0
    assert [line.requests for line in made] == [4]


# Which connection is taken


async def together(vendors: HttpVendorClient, made: list[Line], count: int) -> None:
    """So many calls at once, answered in the order in which they were asked."""
    loop = asyncio.get_running_loop()
    before = len(made)
    asked = [loop.create_task(vendors.post(URL, [], b"{}")) for _ in range(count)]
    await asyncio.sleep(0.1)
    for line in made[before:]:
        line.protocol.data_received(OK)
    for each in asked:
        answer = await each
        assert await answer.read() == b"ok"
        answer.close()


async def test_the_connection_that_was_used_last_is_taken_first(lines: Callable[[], list[Line]]) -> None:
    # The other one has been idle for longer, and its vendor may be closing it.
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        await together(vendors, made, 3)
        await answered(vendors, made)
    assert [line.requests for line in made] == [1, 1, 2]


async def test_no_more_connections_are_kept_than_512(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        await together(vendors, made, 514)
        assert [index for index, line in enumerate(made) if line.is_closing()] == [0, 1]


async def test_a_connection_in_plain_text_is_none_for_a_call_under_tls(lines: Callable[[], list[Line]]) -> None:
    made = lines()
    async with HttpVendorClient(CONFIG) as vendors:
        await answered(vendors, made, url="http://acme:8443/v1/lines")
        await asyncio.sleep(1.0)
        await answered(vendors, made, url="https://acme:8443/v1/lines")
        await asyncio.sleep(1.0)
        await answered(vendors, made, url="https://acme:8444/v1/lines")
    assert [line.requests for line in made] == [1, 1, 1]
