"""The client at the other end of one call: what is sent to it, and whether it is still there."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Client:
    """Must be `leave`d at the end of the call."""

    __slots__ = ("_receive", "_send", "_waiter", "_watch", "gone")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
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
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

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
        # ASGI has no word for a server that hangs up. The transport does it, and as the application returns
        # only once uvicorn knows, uvicorn has nothing to complain about.
        self._send.__self__.transport.close()  # type: ignore[attr-defined]
        while (await self._receive())["type"] != "http.disconnect":
            pass

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
