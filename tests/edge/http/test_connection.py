"""The client's connection: bodies, leaving, revoking, and cancellations that are not the client's."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.http.connection import Client, ClientGoneError, RevokedError
from services.edge.http.problems import Problem, revoked


class Messages:
    """What comes from a client, in order; then nothing."""

    def __init__(self, *messages: Any) -> None:
        self._messages = list(messages)

    async def receive(self) -> Any:
        if self._messages and isinstance(self._messages[0], float):
            await asyncio.sleep(self._messages.pop(0))
        if not self._messages:
            await asyncio.get_running_loop().create_future()
        return self._messages.pop(0)


def part(body: bytes, more: bool = True) -> Any:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: Any = {"type": "http.disconnect"}


async def read(*messages: Any) -> bytes:
    return await Client(Messages(*messages).receive).read_body(10, 1_000)


async def test_a_body_in_parts() -> None:
    assert await read(part(b"abc"), part(b""), part(b"de", more=False)) == b"abcde"


async def test_a_body_at_its_bound() -> None:
    assert await read(part(b"0123456789", more=False)) == b"0123456789"


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        ([part(b"01234567890", more=False)], 413),
        ([part(b"0123456789"), part(b"0", more=False)], 413),
        # Without end: what is far beyond the bound is not read on.
        ([part(b"0" * 11)] * 10, 413),
        ([part(b"a"), 1.5, part(b"b", more=False)], 408),
        ([], 408),
    ],
)
async def test_bodies_that_are_not_taken(messages: list[Any], status: int) -> None:
    with pytest.raises(Problem) as problem:
        await read(*messages)
    assert problem.value.status == status
    assert (b"connection", b"close") in problem.value.headers


async def test_a_client_that_leaves_within_its_body() -> None:
    with pytest.raises(ClientGoneError):
        await read(part(b"a"), GONE)


@pytest.mark.parametrize(("messages", "is_revoked", "error"), [([1.0, GONE], False, ClientGoneError), ([], True, RevokedError)])
async def test_what_is_awaited_ends_when_the_client_goes(messages: list[Any], is_revoked: bool, error: type[Exception]) -> None:
    client = Client(Messages(*messages).receive)
    client.watch()
    if is_revoked:
        asyncio.get_running_loop().call_later(1.0, client.revoke, revoked())
    with pytest.raises(error), client.interruptible():
        await asyncio.sleep(60.0)
    assert asyncio.get_running_loop().time() == 1.0
    # The task itself goes on, and nothing more is interrupted by itself.
    await asyncio.sleep(5.0)
    with pytest.raises(error), client.interruptible():
        pass
    client.stop_watching()


async def test_what_is_not_interruptible_goes_on() -> None:
    client = Client(Messages(1.0, GONE).receive)
    client.watch()
    await asyncio.sleep(5.0)
    with pytest.raises(ClientGoneError), client.interruptible():
        raise AssertionError("it has gone before")
    client.stop_watching()


async def test_the_first_reason_stays() -> None:
    client = Client(Messages(2.0, GONE).receive)
    client.watch()
    client.revoke(revoked())
    await asyncio.sleep(5.0)
    with pytest.raises(RevokedError), client.interruptible():
        pass
    client.stop_watching()


@pytest.mark.parametrize("also", [lambda client: None, lambda client: client.revoke(revoked())])
async def test_a_shutdown_is_no_leaving(also: Callable[[Client], None]) -> None:
    async def call() -> None:
        client = Client(Messages().receive)
        holder.append(client)
        with client.interruptible():
            await asyncio.sleep(60.0)

    holder: list[Client] = []
    task = asyncio.get_running_loop().create_task(call())
    await asyncio.sleep(1.0)
    task.cancel()
    also(holder[0])
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
