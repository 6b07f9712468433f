"""The client's connection: bodies, leaving, revoking, and cancellations that are not the client's."""

import asyncio
from collections.abc import Callable
from functools import partial

import pytest

from services.edge.http.bodies import Bodies, Coming
from services.edge.http.connection import Client, ClientGoneError, RevokedError
from services.edge.http.problems import Problem, revoked, too_deep
from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import NoWire


def client(*parts: bytes, whole: bool = True, account_bytes_max: int = 100) -> tuple[Client, Exchange, Coming]:
    """A client of whose body these parts have come, with its exchange."""
    exchange = Exchange(NoWire(), "POST", b"/", [])
    for each in parts:
        exchange.came(each)
    if whole:
        exchange.came_to_end()
    return Client(exchange), exchange, Bodies(1_000, account_bytes_max).coming("account")


def unseen(piece: bytes) -> float:
    """Nobody looks at it."""
    return 0.0


async def test_a_body_in_parts() -> None:
    reader, _, coming = client(b"abc", b"", b"de")
    assert await reader.read_body(10, coming, unseen) == b"abcde"


async def test_a_body_that_comes_while_it_is_read() -> None:
    reader, exchange, coming = client(b"abc", whole=False)
    asyncio.get_running_loop().call_later(1.0, exchange.came, b"de")
    asyncio.get_running_loop().call_later(2.0, exchange.came_to_end)
    seen: list[tuple[float, bytes]] = []

    def look(piece: bytes) -> float:
        seen.append((asyncio.get_running_loop().time(), piece))
        return 5.0

    began_s = asyncio.get_running_loop().time()
    assert await reader.read_body(10, coming, look) == b"abcde"
    assert [(round(at_s - began_s, 3), piece) for at_s, piece in seen] == [(0.0, b"abc"), (5.0, b"de")]


async def test_a_body_that_is_refused_at_a_look_is_read_no_further() -> None:
    reader, exchange, coming = client(b"abc", whole=False)

    def look(piece: bytes) -> float:
        raise too_deep()

    with pytest.raises(Problem):
        await reader.read_body(10, coming, look)
    assert not exchange.body_ended


async def test_a_body_at_its_bound() -> None:
    reader, _, coming = client(b"0123456789")
    assert await reader.read_body(10, coming, unseen) == b"0123456789"


@pytest.mark.parametrize("whole", [True, False])
async def test_bodies_beyond_the_bound_are_refused_before_they_are_whole(whole: bool) -> None:
    reader, _, coming = client(b"01234567890", whole=whole)
    with pytest.raises(Problem) as problem:
        await reader.read_body(10, coming, unseen)
    assert problem.value.status == 413
    assert (b"connection", b"close") in problem.value.headers


async def test_a_client_that_leaves_within_its_body() -> None:
    reader, exchange, coming = client(b"a", whole=False)
    asyncio.get_running_loop().call_later(1.0, exchange.lose)
    with pytest.raises(ClientGoneError):
        await reader.read_body(10, coming, unseen)


async def test_bodies_of_an_account_are_counted_together_until_they_are_read() -> None:
    bodies = Bodies(bytes_max=25, account_bytes_max=10)
    with (
        bodies.coming("one") as first,
        bodies.coming("one") as second,
        bodies.coming("two") as other,
        bodies.coming("three") as third,
    ):
        first.add(6)
        with pytest.raises(Problem) as problem:
            second.add(5)
        assert (problem.value.status, problem.value.code) == (429, "rate_limit_exceeded")
        assert (b"retry-after", b"1") in problem.value.headers
        second.add(4)
        other.add(10)
        with pytest.raises(Problem) as problem:
            third.add(6)
        assert (problem.value.status, problem.value.code) == (503, "service_unavailable")
        third.add(5)
    with bodies.coming("one") as first, bodies.coming("two") as second:
        first.add(10)
        second.add(10)


@pytest.mark.parametrize("error", [ClientGoneError, RevokedError])
async def test_what_is_awaited_ends_when_the_client_goes(error: type[Exception]) -> None:
    caller, exchange, _ = client()
    caller.watch()
    asyncio.get_running_loop().call_later(1.0, exchange.lose if error is ClientGoneError else partial(caller.revoke, revoked()))
    with pytest.raises(error), caller.interruptible():
        await asyncio.sleep(60.0)
    assert asyncio.get_running_loop().time() == 1.0
    # The task itself goes on, and nothing more is interrupted by itself.
    await asyncio.sleep(5.0)
    with pytest.raises(error), caller.interruptible():
        pass
    caller.stop_watching()


async def test_what_is_not_interruptible_goes_on() -> None:
    caller, exchange, _ = client()
    caller.watch()
    asyncio.get_running_loop().call_later(1.0, exchange.lose)
    await asyncio.sleep(5.0)
    with pytest.raises(ClientGoneError), caller.interruptible():
        raise AssertionError("it has gone before")
    caller.stop_watching()


async def test_a_client_that_left_before_it_was_watched() -> None:
    caller, exchange, _ = client()
    exchange.lose()
    caller.watch()
    with pytest.raises(ClientGoneError), caller.interruptible():
        raise AssertionError("it has gone before")
    caller.stop_watching()


async def test_the_first_reason_stays() -> None:
    caller, exchange, _ = client()
    caller.watch()
    asyncio.get_running_loop().call_later(2.0, exchange.lose)
    caller.revoke(revoked())
    await asyncio.sleep(5.0)
    with pytest.raises(RevokedError), caller.interruptible():
        pass
    caller.stop_watching()


@pytest.mark.parametrize("also", [lambda client: None, lambda client: client.revoke(revoked())])
async def test_a_shutdown_is_no_leaving(also: Callable[[Client], None]) -> None:
    async def call() -> None:
        caller, _, _ = client()
        holder.append(caller)
        with caller.interruptible():
            await asyncio.sleep(60.0)

    holder: list[Client] = []
    task = asyncio.get_running_loop().create_task(call())
    await asyncio.sleep(1.0)
    task.cancel()
    also(holder[0])
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
