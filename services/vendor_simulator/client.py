"""The client at the other end of one call: takes the answer, and shows whether it is still there."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Cutter:
    """Cuts bytes that come bit by bit into pieces of given sizes; the last size repeats."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._sizes = sizes
        self._number = 0
        # Bytes that the current piece still lacks.
        self._left = sizes[0]

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """The pieces of `body`; a piece that `body` does not fill goes on in the next one."""
        begin = 0
        while begin < len(body):
            piece = body[begin : begin + self._left]
            begin += len(piece)
            self._left -= len(piece)
            if not self._left:
                self._number = min(self._number + 1, len(self._sizes) - 1)
                self._left = self._sizes[self._number]
            yield piece


class Client:
    """Must be `leave`d at the end of the call."""

    __slots__ = ("_cut", "_receive", "_send", "_waiter", "_watch", "gone")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        # Cuts the body, where pieces are asked for.
        self._cut: Cutter | None = None
        self._watch: asyncio.Task[None] | None = None
        self._waiter: asyncio.Future[None] | None = None
        # Known only while `wait` is used: calls that never wait need not know, and save a task.
        self.gone = False

    async def read_body(self) -> bytes | None:
        """The whole request body; None when the client went away before it was whole."""
        parts = []
        while True:
            message = await self._receive()
            if message["type"] != "http.request":
                return None
            parts.append(message["body"])
            if not message["more_body"]:
                return parts[0] if len(parts) == 1 else b"".join(parts)

    async def start(self, status: int, headers: Headers) -> None:
        """Sends status and headers."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, body: bytes, more: bool) -> None:
        """Sends a part of the body; the answer is whole once `more` is false."""
        if self._cut is not None:
            for piece in self._cut.pieces(body):
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
                # The reader gets its turn, so that it sees one piece at a time where it can.
                await asyncio.sleep(0)
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def cut_into(self, sizes: tuple[int, ...]) -> None:
        """Sends the body from now on in pieces of `sizes` bytes, the last of which repeats."""
        self._cut = Cutter(sizes)

    async def wait(self, duration_s: float) -> bool:
        """Waits, but not beyond the client's going away. Returns whether it is still there."""
        loop = asyncio.get_running_loop()
        if self._watch is None:
            self._watch = loop.create_task(self._watch_departure())
        if duration_s <= 0:
            await asyncio.sleep(0)
        elif not self.gone:
            self._waiter = loop.create_future()
            timer = loop.call_later(duration_s, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
        return not self.gone

    async def cut(self) -> None:
        """Closes the connection, whatever of the answer is missing; what was sent before still arrives."""
        # ASGI has no word for a server that hangs up; the messages of our own do.
        self._send.__self__.cut()  # type: ignore[attr-defined]

    def dismiss(self) -> None:
        """Makes the client count as gone."""
        self.gone = True
        self._wake()

    def leave(self) -> None:
        """Ends the watch over it."""
        if self._watch is not None:
            self._watch.cancel()

    async def _watch_departure(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.dismiss()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
