"""The client at the other end of a call: its body, whether it is still there, and what breaks off what only matters to it."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

from litestar.types import Receive

from services.edge.http.problems import Problem, too_large, too_slow

# A body beyond the bound is read on up to this many times the bound, so that the client gets to see why it is refused.
_DRAIN_FACTOR: Final = 5


class ClientGoneError(Exception):
    """The client has closed its connection."""


class RevokedError(Exception):
    """The client lost its right to the call while that was under way; `problem` says how."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class Client:
    """The client's connection. What is awaited within `interruptible` ends when the client goes away, or must go."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task()
        self._interruptible = False
        self._watching: asyncio.Task[None] | None = None
        # Makes the error that ends what is awaited: kept itself, it would keep this in a circle.
        self._interruption: Callable[[], Exception] | None = None

    async def read_body(self, bytes_max: int, timeout_ms: int) -> bytes:
        """The body. Errors: `Problem` 413 when it is too large, 408 when it comes too slowly; `ClientGoneError`."""
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                return await self._read(bytes_max)
        except TimeoutError as error:
            raise too_slow(timeout_ms) from error

    async def _read(self, bytes_max: int) -> bytes:
        message: Any = await self._receive()
        body: bytes = message.get("body", b"")
        pieces, size = [body], len(body)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            body = message.get("body", b"")
            size += len(body)
            if size > bytes_max:
                pieces.clear()
                if size > _DRAIN_FACTOR * bytes_max:
                    break
            else:
                pieces.append(body)
        if size > bytes_max:
            raise too_large(bytes_max)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def watch(self) -> None:
        """Begins to listen for the end of the connection; the body must have been read."""
        self._watching = asyncio.create_task(self._watch(), name="client-watch")

    def stop_watching(self) -> None:
        """Lets go of the connection, and of the tasks, which would otherwise wait for the garbage collector with it."""
        if self._watching is not None:
            self._watching.cancel()
        self._watching = self._task = None

    def revoke(self, problem: Problem) -> None:
        """Ends the call, as its key must not be used any more; the client is told the problem."""
        self._interrupt(partial(RevokedError, problem))

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._interrupt(ClientGoneError)

    def _interrupt(self, reason: Callable[[], Exception]) -> None:
        if self._interruption is None:
            self._interruption = reason
            if self._interruptible and self._task is not None:
                self._task.cancel()

    def interruptible(self) -> Self:
        """What is awaited in the block ends with `ClientGoneError` or `RevokedError` when that happens, or has happened."""
        return self

    # The block is the client itself: a generator would cost more than all else of relaying an event.

    def __enter__(self) -> None:
        if self._interruption is not None:
            raise self._interruption()
        self._interruptible = True

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._interruptible = False
        if (
            isinstance(error, asyncio.CancelledError)
            and self._interruption is not None
            and self._task is not None
            and self._task.uncancel() == 0
        ):
            raise self._interruption() from None
