"""WebSocket (RFC 6455): messages of text, one served at a time, on a connection whose HTTP has ended.

The library `websockets` checks the handshake, and reads and writes the frames. It bounds a message; the bytes that are held of all
messages, the time of one, and the number of frames are bounded here, where they come in. No extension is agreed on: a compressed
message can be a thousand times as large as its bytes.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from websockets.datastructures import Headers as HandshakeHeaders
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import OPEN, Protocol, Side
from websockets.server import ServerProtocol

from services.runtime.http.exchange import Channel, Exchange, Headers
from services.runtime.http.pace import Pace

VERSION: Final = b"13"
# Frames with fewer bytes cost more than they bring: pings, pongs, empty ones, a message in crumbs. A socket with more ends.
_SMALL_BYTES: Final = 1_024
_SMALL_PER_SECOND: Final = 20.0
_SMALL_AT_ONCE: Final = 200
# Messages that wait to be received. Some need no answer, so that another one may follow at once.
_WAITING_MAX: Final = 8
# A reason may repeat what a header had.
_SHOWN_CHARACTERS_MAX: Final = 200
# The reason in a frame that closes.
_REASON_BYTES_MAX: Final = 123

# The library's own lines tell of each connection.
_library_logger: Final = logging.getLogger(f"{__name__}.library")
_library_logger.setLevel(logging.WARNING)


class HandshakeError(Exception):
    """The request is no handshake of a WebSocket; the message says what is wrong."""


class _Frames(Protocol):
    """The library's reader of frames, which hands each on before it reads the next: the first fault is the one that is told."""

    def __init__(self, take: Callable[[Frame], None], message_bytes_max: int) -> None:
        super().__init__(Side.SERVER, max_size=message_bytes_max, logger=_library_logger)
        self._taken_by = take

    def recv_frame(self, frame: Frame) -> None:
        """See `Protocol`."""
        super().recv_frame(frame)
        self._taken_by(frame)


class WebSocket:
    """One socket. Its messages are received one after another. After one follows `done`, or `serve` before it takes long."""

    def __init__(self, exchange: Exchange, head: bytes, message_bytes_max: int) -> None:
        """See `accept`."""
        self._protocol = _Frames(self._take, message_bytes_max)
        self._small = Pace(_SMALL_PER_SECOND, _SMALL_AT_ONCE)
        self._loop = asyncio.get_running_loop()
        # The frames of a message that is coming; messages that wait to be received, and the bytes of all of them.
        self._parts: list[bytes | bytearray] = []
        self._parts_bytes = 0
        self._messages: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._exchange = exchange
        # Set from a message's coming until it is done; and while it is served.
        self.busy = False
        self._serves = False
        self.closed = False
        # Called with the bytes that are held of messages not received yet; false: there is no room for them, and the socket ends.
        self.on_held: Callable[[int], bool] = lambda _: True
        # Called for a message that comes while another one is served, or waits. It is dropped.
        self.on_second: Callable[[], None] = lambda: None
        # Called once the socket is closed, by whomever.
        self.on_closed: Callable[[], None] = lambda: None
        exchange.on_gone = self._closes
        self.wire: Channel = exchange.switch(head, self)

    # Receiving

    async def receive(self) -> bytes | None:
        """The next message, in UTF-8; None once the socket is closed."""
        while not self._messages and not self.closed:
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self.closed:
            return None
        message = self._messages.popleft()
        self._waiting_bytes -= len(message)
        self._tell_held()
        return message

    @property
    def is_coming(self) -> bool:
        """See `Stream`."""
        return bool(self._protocol.reader.buffer) or self._protocol.current_size is not None

    def feed(self, data: bytes | memoryview) -> None:
        """See `Stream`."""
        if self.closed:
            return
        # The library's buffer takes any bytes.
        self._protocol.receive_data(cast(bytes, data))
        # Each was taken as it was read.
        self._protocol.events_received()
        if self.closed:
            return
        self._flush()
        if self._protocol.state is not OPEN:
            # The client closed it, or broke the protocol; what answers that is written.
            self._end()
        elif self._tell_held():
            self.wire.stream_comes(comes=self.is_coming)
        else:
            self._close(CloseCode.TRY_AGAIN_LATER, "Too many large requests are on their way in.")

    def _take(self, frame: Frame) -> None:
        if len(frame.data) < _SMALL_BYTES and self._small.take_s(self._loop.time()):
            self.refuse("Too many small frames came.")
        elif frame.opcode is Opcode.BINARY:
            self._close(CloseCode.UNSUPPORTED_DATA, "Messages are text: send JSON in text frames.")
        elif frame.opcode is Opcode.TEXT or frame.opcode is Opcode.CONT:
            data = cast(bytes | bytearray, frame.data)
            self._parts.append(data)
            self._parts_bytes += len(data)
            if frame.fin:
                parts, self._parts, self._parts_bytes = self._parts, [], 0
                self._take_message(bytes(parts[0]) if len(parts) == 1 else b"".join(parts))

    def _take_message(self, message: bytes) -> None:
        if self._serves or len(self._messages) == _WAITING_MAX:
            self.on_second()
            return
        try:
            if not message.isascii():
                message.decode()
        except UnicodeDecodeError as error:
            self._close(CloseCode.INVALID_DATA, f"The text is not UTF-8: {error.reason} at byte {error.start}.")
            return
        self._messages.append(message)
        self._waiting_bytes += len(message)
        if not self.busy:
            self.busy = True
            self.wire.stream_works()
        self.wire.stream_begins(self._wake)

    def _tell_held(self) -> bool:
        return self.on_held(len(self._protocol.reader.buffer) + self._parts_bytes + self._waiting_bytes)

    # Sending

    def send(self, *messages: bytes) -> None:
        """Sends messages, in UTF-8; nothing happens on a socket that is closed. Await `wire.drained` where it is congested."""
        if not self.closed:
            for message in messages:
                self._protocol.send_text(message)
            self._flush()

    def ping(self) -> None:
        """Sends something that only shows that the server is there."""
        if not self.closed:
            self._protocol.send_ping(b"")
            self._flush()

    def serve(self) -> None:
        """Notes that the message is served from now on, and that no other one may come, or have come, before `done`."""
        self._serves = True
        seconds = len(self._messages)
        self._drop_waiting()
        for _ in range(seconds):
            self.on_second()

    def done(self) -> None:
        """Notes that nothing more follows for the message: the next one may come."""
        self._serves = False
        if self.closed:
            return
        if self.wire.closes:
            self.go_away("The server stops.")
        elif self._messages:
            self.wire.stream_works()
        else:
            self.busy = False
            self.wire.stream_idles()

    def _flush(self) -> None:
        # The library marks the end by an empty piece.
        if written := b"".join(self._protocol.data_to_send()):
            self.wire.write(written)

    # The end

    def go_away(self, reason: str) -> None:
        """See `Stream`."""
        self._close(CloseCode.GOING_AWAY, reason)

    def refuse(self, reason: str) -> None:
        """See `Stream`."""
        self._close(CloseCode.POLICY_VIOLATION, reason)

    def break_off(self, reason: str) -> None:
        """Ends the socket, because its server failed."""
        self._close(CloseCode.INTERNAL_ERROR, reason)

    def _close(self, code: CloseCode, reason: str) -> None:
        """Closes the socket with a reason for people, of which the first 123 bytes are sent."""
        if self.closed:
            return
        if self._protocol.state is OPEN:
            self._protocol.send_close(code, reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore"))
        self._flush()
        self._end()

    def _end(self) -> None:
        self._exchange.ended = True
        self.wire.end_stream()
        self._closes()

    def _closes(self) -> None:
        """The socket is closed, or its connection was lost."""
        if self.closed:
            return
        self.closed = True
        self._exchange.on_gone = None
        self._parts.clear()
        self._parts_bytes = 0
        self._protocol.reader.discard()
        self._drop_waiting()
        self._wake()
        self.on_closed()

    def _drop_waiting(self) -> None:
        self._messages.clear()
        self._waiting_bytes = 0
        self._tell_held()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def accept(exchange: Exchange, headers: Headers, message_bytes_max: int) -> WebSocket:
    """Answers a handshake, with `headers` in addition, and returns its socket. A larger message ends it.

    Errors: `HandshakeError`; `GoneError` when the client has left, or spoke before it was answered.
    """
    if exchange.is_http_1_0 or not exchange.body_ended:
        raise HandshakeError("it needs HTTP/1.1, and has no body")
    given = HandshakeHeaders((name.decode("latin-1"), value.decode("latin-1")) for name, value in exchange.headers)
    handshake = ServerProtocol(logger=_library_logger)
    response = handshake.accept(Request(exchange.path, given))
    if handshake.handshake_exc is not None:
        raise HandshakeError(str(handshake.handshake_exc)[:_SHOWN_CHARACTERS_MAX])
    for name, value in headers:
        response.headers[name.decode("ascii")] = value.decode("ascii")
    return WebSocket(exchange, response.serialize(), message_bytes_max)
