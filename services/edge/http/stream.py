"""The answer to a client: begun at most once, ended at most once, kept alive while nothing else is sent."""

import asyncio
from collections.abc import Sequence
from typing import Final

from services.edge.http.problems import Header, Problem
from services.runtime.http.exchange import Exchange

_KEEP_ALIVE: Final = b": keep-alive\n\n"
_EVENTS: Final = "text/event-stream"
_STREAM_HEADERS: Final[tuple[Header, ...]] = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))


class ClientAnswer:
    """Sends one answer. `headers` are on every answer, the charging_id among them."""

    def __init__(self, exchange: Exchange, headers: Sequence[Header]) -> None:
        self._exchange = exchange
        self._headers = list(headers)
        self._loop = asyncio.get_running_loop()
        self._heartbeat: asyncio.TimerHandle | None = None
        self._heartbeat_interval_s = 0.0
        # The type of the expected stream; once it has begun, it changes nothing.
        self.stream_content_type = ""
        self._sent_s = 0.0
        self._ended = False
        self.begun = False

    def add_header(self, name: bytes, value: bytes) -> None:
        """Adds a header, as long as nothing has been sent, in place of one added before under this name; an empty value: none."""
        self._headers = [header for header in self._headers if header[0] != name]
        if value:
            self._headers.append((name, value))

    async def whole(self, status: int, content_type: str, body: bytes, headers: Sequence[Header] = ()) -> None:
        """Sends an answer in one piece; does nothing after an answer has ended."""
        if self._ended:
            return
        self.stop()
        self.begun = True
        self._exchange.whole(status, ((b"content-type", content_type.encode("ascii")), *headers, *self._headers), body)

    def expect_stream(self, content_type: str, heartbeat_interval_s: float) -> None:
        """Expects a stream. Into one of events a comment is sent after each silent interval, the first one with the head."""
        self.stream_content_type = content_type
        if not content_type.startswith(_EVENTS):
            return
        self._heartbeat_interval_s = heartbeat_interval_s
        self._sent_s = self._loop.time()
        self._heartbeat = self._loop.call_later(heartbeat_interval_s, self._beat)
        # A client that sends no more may have left, which a comment finds out: it fails then.
        self._exchange.on_half_closed = self._comment

    async def send(self, events: bytes) -> None:
        """Sends whole events of the expected stream."""
        self._sent_s = self._loop.time()
        exchange = self._exchange
        if exchange.congested:
            await exchange.drained()
        if not self.begun:
            self._begin()
        exchange.write(events)

    async def end_stream(self, events: bytes) -> None:
        """Sends the last events."""
        if self._ended:
            return
        self.stop()
        if self._exchange.congested:
            await self._exchange.drained()
        if not self.begun:
            self._begin()
        self._exchange.end(events)

    async def break_off(self, problem: Problem, events: bytes) -> None:
        """Ends a stream that can't go on, with these last events.

        Without any its connection is cut, so that nobody takes it for whole.

        Errors: `problem`, where there are none and nothing was sent: then it is the answer.
        """
        if events:
            await self.end_stream(events)
        elif not self.begun:
            raise problem
        elif not self._ended:
            self.stop()
            self._exchange.cut()

    def stop(self) -> None:
        """Sends no more comments: the answer has ended, or nobody is there to read them."""
        self._ended = True
        self._exchange.on_half_closed = None
        if self._heartbeat is not None:
            self._heartbeat.cancel()
            self._heartbeat = None

    def _begin(self) -> None:
        self.begun = True
        content_type = (b"content-type", self.stream_content_type.encode("ascii"))
        self._exchange.start(200, (content_type, *_STREAM_HEADERS, *self._headers))

    def _beat(self) -> None:
        if self._ended:
            return
        idle_s = self._loop.time() - self._sent_s
        if idle_s < self._heartbeat_interval_s:
            self._heartbeat = self._loop.call_later(self._heartbeat_interval_s - idle_s, self._beat)
            return
        self._comment()
        self._heartbeat = self._loop.call_later(self._heartbeat_interval_s, self._beat)

    def _comment(self) -> None:
        # Not to a client that does not read, or comments would pile up.
        if not self._ended and not self._exchange.congested:
            self._sent_s = self._loop.time()
            if not self.begun:
                self._begin()
            self._exchange.write(_KEEP_ALIVE)
