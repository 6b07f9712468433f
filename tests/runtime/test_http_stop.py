"""The HTTP server stops: what became of each connection, in virtual time, and once over TCP."""

import asyncio
from typing import Any, Final

import pytest

from services.runtime.http.asgi import Asgi
from services.runtime.http.listener import listen_http
from tests.runtime.network import NetworkLoop
from tests.simulation.virtual_time import run_virtually

NOTICE_S: Final = 4.0
DRAIN_S: Final = 30.0
# When the server is told to stop.
STOP_S: Final = 10.0


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """Answers after as many seconds as its path says."""
    await asyncio.sleep(float(scope["path"].removeprefix("/")))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"done"})


def request(seconds: float = 0.0) -> bytes:
    return b"GET /%g HTTP/1.1\r\nhost: server\r\n\r\n" % seconds


def is_answered(answer: bytes, *, closing: bool) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.startswith(b"HTTP/1.1 200 ") and body == b"done" and (b"connection: close" in head.lower()) is closing


async def until(seconds_after_stop: float) -> None:
    await asyncio.sleep(STOP_S + seconds_after_stop - asyncio.get_running_loop().time())


async def asked(port: int, connected_s: float, *requests: tuple[float, bytes]) -> bytes:
    """All that came until the server ended the connection; times are seconds after the stop. Errors: those of the connection."""
    await until(connected_s)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for at_s, what in requests:
            await until(at_s)
            writer.write(what)
        return await reader.read()
    finally:
        writer.close()


def stopped(*calls: tuple[Any, ...]) -> tuple[list[Any], float]:
    """How each call of `asked` ended, and how many seconds the stop took."""

    async def main() -> tuple[list[Any], float]:
        async with listen_http(Asgi(slow), "127.0.0.1", 0, drain_s=DRAIN_S, notice_s=NOTICE_S) as listener:
            asking = asyncio.gather(*(asked(listener.port, *call) for call in calls), return_exceptions=True)
            await until(0.0)
        took_s = asyncio.get_running_loop().time() - STOP_S
        return await asking, took_s

    ended: tuple[list[Any], float] = run_virtually(main(), NetworkLoop())
    return ended


def test_each_connection_that_was_taken_is_answered_and_told_to_close() -> None:
    calls = [
        (connected_s, (asked_s, request()))
        for connected_s in (-1.0, 0.01, 1.0, 2.0, 3.0, 3.9, 3.99)
        for asked_s in (connected_s, 1.5, 3.95, 4.01, 4.5, 4.9)
        if asked_s >= max(0, connected_s)
    ]
    answers, _ = stopped(*calls)
    assert [call for call, answer in zip(calls, answers, strict=True) if not is_answered(answer, closing=True)] == []


def test_a_connection_that_was_kept_is_closed_with_its_next_answer() -> None:
    (answers,), _ = stopped((-2.0, (-2.0, request()), (-1.0, request()), (1.0, request())))
    first, second, last = (b"HTTP/" + answer for answer in answers.split(b"HTTP/")[1:])
    assert is_answered(first, closing=False)
    assert is_answered(second, closing=False)
    assert is_answered(last, closing=True)


def test_nobody_is_taken_after_the_notice_and_what_is_under_way_goes_on() -> None:
    under_way, *late = stopped((3.99, (3.99, request(20.0))), *((at_s, (at_s, request())) for at_s in (4.01, 4.5, 5.5, 20.0)))[0]
    assert is_answered(under_way, closing=True)
    assert [type(refused) for refused in late] == [ConnectionRefusedError] * 4


def test_a_connection_without_a_request_is_closed_and_not_reset() -> None:
    answers, took_s = stopped((-5.0,), (3.99,))
    assert answers == [b"", b""]
    assert NOTICE_S + 1 <= took_s < NOTICE_S + 1.5


def test_what_outlives_the_drain_is_cut() -> None:
    (ended, cut), took_s = stopped((3.0, (3.0, request(30.0))), (3.0, (3.0, request(60.0))))
    assert is_answered(ended, closing=True)
    assert b"200" not in cut
    assert NOTICE_S + 1 + DRAIN_S <= took_s < NOTICE_S + 1 + DRAIN_S + 0.5


async def test_over_tcp_a_request_under_way_is_answered_before_the_server_has_stopped() -> None:
    taken, answering = asyncio.Event(), asyncio.Event()

    async def held(scope: Any, receive: Any, send: Any) -> None:
        taken.set()
        await answering.wait()
        await slow(scope, receive, send)

    async with listen_http(Asgi(held), "127.0.0.1", 0) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(request())
        await taken.wait()
        # Comes first once the block is left and the server waits for what is under way.
        asyncio.get_running_loop().call_soon(answering.set)
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\ndone")
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", listener.port)
