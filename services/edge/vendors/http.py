"""Vendor calls: a small HTTP/1.1 client on httptools that POSTs a body and takes the answer as it comes, or GETs a free one.

It is the hottest part of a relayed call, and a general client costs more than the rest of the call. It lacks redirects (refused),
cookies, proxies and HTTP/2. It does not ask for compression, but unpacks an answer that a vendor compresses all the same.
Everything is bounded: connecting, the first byte, silence, the head, a whole body; a slow reader stops the vendor's socket. A
connection is used again only if its answer ended as its head promised, and it was not idle for long, because a POST is never sent
twice.
"""

import asyncio
import codecs
import os
import socket
import ssl
import zlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import lru_cache
from types import TracebackType
from typing import Final, NamedTuple, Self, cast
from urllib.parse import urlsplit

import httptools

from services.edge.config import EdgeConfig
from services.edge.vendors.vendor import BODY_BYTES_MAX, Outcome, VendorFailure

_REFUSAL_BYTES_MAX: Final = 64 * 1024
# A list of models has less.
_FREE_BYTES_MAX: Final = 4 * 1024 * 1024
# A refusal's words may drip; the caller, and the next route, wait for them at most this long.
_REFUSAL_S: Final = 5.0
_HEAD_BYTES_MAX: Final = 64 * 1024
# At most this much is parsed before its result is looked at.
_SLICE_BYTES: Final = 64 * 1024
# Above this much unread, reading the socket stops; below half of it, reading goes on.
_UNREAD_BYTES_MAX: Final = 1024 * 1024
# Less than the idle time after which servers commonly close a connection, because a POST must not meet one that is just closing.
_KEEPALIVE_S: Final = 15.0
_IDLE_CONNECTIONS_MAX: Final = 512
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS + 32
# A packed piece may be a thousand times as long unpacked, so others have their turn after each part of this size.
_UNPACKED_BYTES_MAX: Final = 64 * 1024
# At most this much of a packed body in a row may unpack to nothing, as the name of a file or empty blocks do.
_SILENT_PACKED_BYTES_MAX: Final = 1024 * 1024
_RETRY_AFTER_MS_MAX: Final = 24 * 3_600 * 1_000


class _Target(NamedTuple):
    """A URL's server, and the begin of a request to it."""

    host: str
    port: int
    tls: bool
    head: bytes

    @property
    def origin(self) -> tuple[str, int, bool]:
        return self.host, self.port, self.tls


def _are_lines(lines: bytes, count: int) -> bool:
    """Whether headers are `count` lines, so that none can begin another one."""
    return lines.count(b"\n") == count == lines.count(b"\r")


@lru_cache(maxsize=4_096)
def _target(url: str, headers: tuple[tuple[bytes, bytes], ...], method: str = "POST") -> _Target:
    """Takes a URL of the catalog apart. Errors: `ValueError`."""
    parts = urlsplit(url)
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    if parts.scheme not in ("http", "https") or not parts.hostname or not _are_lines(lines, len(headers)):
        raise ValueError("not a URL of a vendor, or not a header")
    tls = parts.scheme == "https"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    head = (
        f"{method} {path or '/'} HTTP/1.1\r\nhost: {parts.netloc.rpartition('@')[2]}\r\n"
        "accept: application/json, text/event-stream\r\naccept-encoding: identity\r\n"
    ).encode("latin-1")
    return _Target(parts.hostname, parts.port or (443 if tls else 80), tls, head + lines + b"content-length: ")


class HttpVendorClient:
    """See `services.edge.vendors.vendor.VendorClient`. An asynchronous context manager."""

    def __init__(self, config: EdgeConfig) -> None:
        self._connect_timeout_s = config.connect_timeout_ms / 1_000
        self._first_byte_timeout_s = config.first_byte_timeout_ms / 1_000
        self._idle_timeout_s = config.idle_timeout_ms / 1_000
        self._tls = ssl.create_default_context()
        self._idle: dict[tuple[str, int, bool], deque[_Connection]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for connections in self._idle.values():
            for connection in connections:
                connection.abort()
        self._idle.clear()

    async def get(self, url: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
        answer = await self.post(url, headers, b"", method="GET")
        try:
            await answer.read(_FREE_BYTES_MAX)
        finally:
            answer.close()

    async def post(self, url: str, headers: Sequence[tuple[bytes, bytes]], body: bytes, *, method: str = "POST") -> "_HttpAnswer":
        try:
            target = _target(url, tuple(headers), method)
        except ValueError as error:
            raise VendorFailure("unreachable", network_fault="its address is no URL") from error
        connection = self._take_idle(target) or await self._connect(target)
        try:
            status = await connection.ask(target.head, body, self._first_byte_timeout_s)
            answer = _HttpAnswer(self, target, connection, self._idle_timeout_s)
            if status == 200:
                return answer
            refusal = await _refusal(answer, min(_REFUSAL_S, self._idle_timeout_s))
        except BaseException:
            connection.abort()
            raise
        answer.close()
        raise VendorFailure("refused", status, refusal, retry_after_ms=connection.retry_after_ms)

    async def _connect(self, target: _Target) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                _, connection = await loop.create_connection(
                    _Connection, target.host, target.port, ssl=self._tls if target.tls else None
                )
        except ssl.SSLCertVerificationError as error:
            raise VendorFailure("unreachable", certificate_fault=error.verify_message) from error
        except TimeoutError as error:
            told = f"no connection within {self._connect_timeout_s:g} s"
            raise VendorFailure("unreachable", network_fault=told) from error
        except OSError as error:
            raise VendorFailure("unreachable", network_fault=network_fault(error)) from error
        return connection

    def _take_idle(self, target: _Target) -> "_Connection | None":
        connections = self._idle.get(target.origin)
        while connections:
            # The connection used last is the least likely to be closed just now.
            connection = connections.pop()
            if connection.usable and connection.idle_s < _KEEPALIVE_S:
                return connection
            connection.abort()
        return None

    def give_back(self, target: _Target, connection: "_Connection") -> None:
        """Keeps a connection whose answer has ended for the next call."""
        connections = self._idle.setdefault(target.origin, deque())
        connection.idles()
        connections.append(connection)
        if len(connections) > _IDLE_CONNECTIONS_MAX:
            connections.popleft().abort()


def network_fault(error: OSError) -> str:
    """Why there is no connection, in the system's words. TLS, and names that do not resolve, have numbers of their own."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.strerror or error}"
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)


async def _refusal(answer: "_HttpAnswer", seconds: float) -> bytes:
    """A refusing vendor's words; nothing if they break off or take longer."""
    try:
        async with asyncio.timeout(seconds):
            return await answer.read(_REFUSAL_BYTES_MAX)
    except (VendorFailure, TimeoutError):
        return b""


def _unpacked(unpacker: "zlib._Decompress", piece: bytes) -> Iterator[bytes]:
    """Unpacks a piece of a packed body, in bounded parts. Errors: `VendorFailure` garbage."""
    while piece:
        try:
            part = unpacker.decompress(piece, _UNPACKED_BYTES_MAX)
        except zlib.error as error:
            raise VendorFailure("garbage", 200) from error
        if part:
            yield part
        piece = unpacker.unconsumed_tail


def _milliseconds(value: bytes, factor: int) -> int:
    """The time to wait in a header of numbers; 0 for anything else, such as a date."""
    try:
        return min(_RETRY_AFTER_MS_MAX, max(0, round(float(value) * factor)))
    except (ValueError, OverflowError):
        return 0


class _Connection(asyncio.Protocol):
    """One connection, with at most one call on it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        # The end of the present wait. One timer serves all waits, because making one costs as much as a wait.
        self._deadline_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = 0.0
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._paused = False
        # Bytes since a head was whole, or a part of a body came.
        self._silent_bytes = 0
        self._progressed = False
        self._status = 0
        # Whether the head tells where the body ends; if not, the end of the connection is its end.
        self._delimited = False
        self._keep_alive = False
        self._surplus = False
        self._failure: Outcome | None = None
        # From the answer's head.
        self.content_type = b""
        self.packed = False
        self.retry_after_ms = 0
        self.complete = True
        self._idle_since_s = 0.0

    @property
    def usable(self) -> bool:
        """Whether another call can be made on it."""
        transport = self._transport
        return self.complete and self._keep_alive and not self._surplus and transport is not None and not transport.is_closing()

    def idles(self) -> None:
        """Notes that nothing is asked from now on."""
        self._idle_since_s = self._loop.time()

    @property
    def idle_s(self) -> float:
        """The time since `idles`."""
        return self._loop.time() - self._idle_since_s

    async def ask(self, head: bytes, body: bytes, first_byte_timeout_s: float) -> int:
        """Sends a request; returns the status once the head of the answer has come. Errors: `VendorFailure`."""
        if self._transport is None:
            # The vendor hung up as soon as it had taken the connection.
            raise VendorFailure("broken")
        self._parser = httptools.HttpResponseParser(self)
        self._pieces.clear()
        self._unread = self._silent_bytes = self._status = 0
        self._keep_alive = self.complete = False
        self._failure = None
        self._forget_head()
        self._transport.writelines((head, b"%d\r\n\r\n" % len(body), body))
        deadline_s = self._loop.time() + first_byte_timeout_s
        while not self._status:
            await self._wait(deadline_s)
        return self._status

    async def piece(self, timeout_s: float) -> bytes:
        """Bytes of the body since the last piece; empty at its end. Errors: `VendorFailure`."""
        # Only bytes of the body are a sign of life; trailers without end are none.
        deadline_s = self._loop.time() + timeout_s
        while not self._pieces:
            if self.complete:
                return b""
            await self._wait(deadline_s)
        piece = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._unread = 0
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    def abort(self) -> None:
        """Ends the connection at once."""
        self._keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    async def _wait(self, deadline_s: float) -> None:
        """Waits until bytes have come, at most until the loop's time is `deadline_s`. Errors: `VendorFailure`."""
        if self._failure is not None:
            raise VendorFailure(self._failure, self._status)
        self._waiter = self._loop.create_future()
        self._deadline_s = deadline_s
        if self._timer is None or self._timer_s > deadline_s:
            self._look_at(deadline_s)
        try:
            await self._waiter
        finally:
            self._waiter = None
        # Pieces before a failure are still handed out.
        if self._failure is not None and not self._pieces:
            raise VendorFailure(self._failure, self._status)

    def _forget_head(self) -> None:
        """Forgets the head of an answer before: the last one's, or an interim one's."""
        self._delimited = False
        self.content_type, self.packed, self.retry_after_ms = b"", False, 0

    def _look_at(self, time_s: float) -> None:
        """Looks at the loop's time `time_s` whether the deadline has passed."""
        self._stop_timer()
        self._timer_s = time_s
        self._timer = self._loop.call_at(time_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._timer_s >= self._deadline_s:
            self._fail("timeout")
        else:
            # Bytes have come since.
            self._look_at(self._deadline_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, outcome: Outcome) -> None:
        if not self.complete and self._failure is None:
            self._failure = outcome
        self.abort()
        self._wake()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods without being of its class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self.complete:
            # Nothing was asked, so these bytes answer nothing.
            self.abort()
            return
        view = memoryview(data)
        for begin in range(0, len(data), _SLICE_BYTES):
            piece = view[begin : begin + _SLICE_BYTES]
            self._progressed = False
            try:
                self._parser.feed_data(piece)
            except (httptools.HttpParserError, httptools.HttpParserUpgrade):
                self._fail("broken" if self._status else "garbage")
                return
            # Counts bytes of a head, of trailers, of anything that is no body: the parser gathers a line in steps that get longer.
            self._silent_bytes = 0 if self._progressed else self._silent_bytes + len(piece)
            if self._silent_bytes > _HEAD_BYTES_MAX:
                self._fail("broken" if self._status else "garbage")
                return
        if self._pieces or self._status:
            self._wake()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.complete:
            if error is None and self._status and not self._delimited and self._failure is None:
                self.complete = True
            elif self._failure is None:
                self._failure = "broken"
        self._keep_alive = False
        self._transport = None
        self._stop_timer()
        self._wake()

    # httptools; bytes after a complete answer make the connection unusable.

    def on_message_begin(self) -> None:
        if self.complete:
            self._surplus = True

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:
            # Trailers are ignored.
            return
        match name.lower():
            case b"content-length" | b"transfer-encoding":
                self._delimited = True
            case b"content-type":
                self.content_type = value.lower()
            case b"content-encoding":
                self.packed = value.strip().lower() not in (b"", b"identity")
            case b"retry-after":
                self.retry_after_ms = self.retry_after_ms or _milliseconds(value, 1_000)
            case b"retry-after-ms":
                self.retry_after_ms = _milliseconds(value, 1)

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        self._progressed = True
        status = self._parser.get_status_code()
        if status >= 200 and not self.complete:
            self._status = status
            self._keep_alive = self._delimited and self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        if self.complete:
            return
        self._pieces.append(body)
        self._unread += len(body)
        if self._unread > _UNREAD_BYTES_MAX and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        # An interim answer (1xx) is followed by the real one.
        if self._status:
            self.complete = True
        else:
            self._forget_head()


class _HttpAnswer:
    """See `services.edge.vendors.vendor.VendorAnswer`."""

    def __init__(self, client: HttpVendorClient, target: _Target, connection: _Connection, idle_timeout_s: float) -> None:
        self._client = client
        self._target = target
        self._connection: _Connection | None = connection
        self._idle_timeout_s = idle_timeout_s
        # For a packed body; it outlives a reader that is cancelled.
        self._unpacker: zlib._Decompress | None = None

    @property
    def content_type(self) -> str:
        return "" if self._connection is None else self._connection.content_type.decode("latin-1")

    async def read(self, bytes_max: int = BODY_BYTES_MAX) -> bytes:
        pieces = []
        size = 0
        async for piece in self.pieces():
            pieces.append(piece)
            size += len(piece)
            if size > bytes_max:
                raise VendorFailure("garbage", 200)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return body.removeprefix(codecs.BOM_UTF8)

    async def pieces(self) -> AsyncIterator[bytes]:
        connection = self._connection
        assert connection is not None
        if not connection.packed:
            while piece := await connection.piece(self._idle_timeout_s):
                yield piece
            return
        if self._unpacker is None:
            self._unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        unpacker, silent_bytes = self._unpacker, 0
        while piece := await connection.piece(self._idle_timeout_s):
            if unpacker.eof:
                # Bytes after the end are no part of the body, and would be kept.
                return
            silent_bytes += len(piece)
            for unpacked in _unpacked(unpacker, piece):
                silent_bytes = 0
                yield unpacked
                if len(unpacked) == _UNPACKED_BYTES_MAX:
                    await asyncio.sleep(0)
            if unpacker.unused_data:
                return
            if silent_bytes > _SILENT_PACKED_BYTES_MAX:
                raise VendorFailure("garbage", 200)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.usable:
            self._client.give_back(self._target, connection)
        else:
            connection.abort()
