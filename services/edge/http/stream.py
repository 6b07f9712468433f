"""The answer to a client: begun at most once, ended at most once, kept alive while nothing else is sent."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from litestar.types import Send

from services.edge.http.problems import Header

_KEEP_ALIVE: Final = b": keep-alive\n\n"


class ClientAnswer:
    """Sends one answer. `headers` are on it whatever it says, the charging_id among them."""

    def __init__(self, send: Send, headers: Sequence[Header]) -> None:
        self._send: Any = send
        self._headers = list(headers)
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heartbeat_interval_s = 0.0
        self._stream_content_type = ""
        self._beating: asyncio.Task[None] | None = None
        self._sent_s = 0.0
        self._ended = False
        self.begun = False

    def add_header(self, name: bytes, value: bytes) -> None:
        """Adds a header, as long as nothing has been sent; one that was added under this name before is replaced."""
        self._headers = [header for header in self._headers if header[0] != name]
        self._headers.append((name, value))

    async def whole(self, status: int, content_type: str, body: bytes, headers: Sequence[Header] = ()) -> None:
        """An answer in one piece; nothing happens where one has ended."""
        if self._ended:
            return
        self.stop()
        length = (b"content-length", b"%d" % len(body))
        await self._start(status, (b"content-type", content_type.encode("ascii")), length, *headers)
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def expect_stream(self, content_type: str, heartbeat_interval_s: float) -> None:
        """A stream of events will come: after each interval without anything a comment is sent, the first one with the head."""
        self._stream_content_type = content_type
        self._heartbeat_interval_s = heartbeat_interval_s
        loop = asyncio.get_running_loop()
        self._sent_s = loop.time()
        self._heartbeat = loop.call_later(heartbeat_interval_s, self._beat)

    async def send(self, events: bytes) -> None:
        """Whole events of the expected stream."""
        self._sent_s = asyncio.get_running_loop().time()
        if not self.begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": events, "more_body": True})

    async def end_stream(self, events: bytes) -> None:
        """The last events."""
        if self._ended:
            return
        self.stop()
        if not self.begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": events, "more_body": False})

    def stop(self) -> None:
        """No more comments: the answer has ended, or nobody is there to read them."""
        self._ended = True
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    async def _begin(self) -> None:
        await self._start(
            200,
            (b"content-type", self._stream_content_type.encode("ascii")),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
        )

    async def _start(self, status: int, *headers: Header) -> None:
        self.begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers, *self._headers]})

    def _beat(self) -> None:
        if self._ended:
            return
        loop = asyncio.get_running_loop()
        idle_s = loop.time() - self._sent_s
        if idle_s < self._heartbeat_interval_s:
            self._heartbeat = loop.call_later(self._heartbeat_interval_s - idle_s, self._beat)
            return
        if self._beating is None or self._beating.done():
            self._beating = loop.create_task(self._send_comment(), name="heartbeat")
        self._heartbeat = loop.call_later(self._heartbeat_interval_s, self._beat)

    async def _send_comment(self) -> None:
        # The answer may have ended since the timer fired.
        if not self._ended:
            await self.send(_KEEP_ALIVE)
