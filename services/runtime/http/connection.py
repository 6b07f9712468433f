"""One connection: reads requests off it in order, each within its bounds, and writes their answers in the same order."""

import asyncio
import contextlib
import fcntl
import socket
import struct
import termios
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from services.runtime.http.exchange import Exchange, GoneError, Header, Stream

if TYPE_CHECKING:
    from services.runtime.http.listener import Listener

# At most this much is parsed before its result is looked at.
_SLICE_BYTES: Final = 16 * 1024
# Another protocol gets less at once: this has some 340 of the smallest frames, which take 3 ms.
_STREAM_SLICE_BYTES: Final = 2 * 1024
# A body that nobody reads yet is taken off the connection up to this size and one read.
_UNREAD_BYTES_MAX: Final = 64 * 1024
# Requests that wait for earlier answers. No client in use sends several at once; more are not read.
_PIPELINED_MAX: Final = 64
# The rest of an unwanted body is read and dropped, up to this size, so that the client gets to see why. So are bytes after
# something that is no request.
_DROPPED_BYTES_MAX: Final = 128 * 1024 * 1024
_DROPPED_NONSENSE_BYTES_MAX: Final = 1024 * 1024
# A client that has gone resets the connection a round trip after something was sent on it. The reset is looked for after this
# time, then after twice as long each time up to the last. The listener finds slower ones.
_PROBE_S: Final = 0.001
_PROBE_S_MAX: Final = 0.25
# A connection that brings this much, which is one full read of uvloop, waits for its turn to bring more.
_MUCH_BYTES: Final = 256_000
# Reasons not to read a connection: more has come than is wanted; others are read first; it rests after a request in vain.
_UNWANTED: Final = 1
_QUEUED: Final = 2
_RESTS: Final = 4
_INT: Final = struct.Struct("i")
_AROUND_HEADER_BYTES: Final = len(b":\r\n")
_HTTP_2_PREFACE: Final = b"PRI * HTTP/2.0"


class _RefusedError(Exception):
    """The rest of the request is not read."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connection(asyncio.Protocol):
    """Reads one connection; see the module. It is the `Wire` of its exchanges, and the `Channel` of a stream after them."""

    __slots__ = (
        "_brought",
        "_coming",
        "_current",
        "_eof",
        "_headers",
        "_held",
        "_in_head",
        "_listener",
        "_new",
        "_over",
        "_parser",
        "_progressed",
        "_queue",
        "_refusal",
        "_silent_bytes",
        "_stream",
        "_target",
        "_told",
        "_transport",
        "_unread_for",
        "_upgraded",
        "_writable",
        "address",
        "congested",
        "known",
    )

    def __init__(self, listener: "Listener", address: str) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpRequestParser | None = None
        self.address = address
        # The head that is being read.
        self._target = b""
        self._headers: list[Header] = []
        self._in_head = False
        # Bytes parsed since they last made a head, or a part of a body: of a head, or trailers, or nonsense.
        self._silent_bytes = 0
        self._progressed = False
        # A request with a body that asked for another protocol: the parser takes the body for that protocol.
        self._upgraded: Exchange | None = None
        # Set once another protocol has followed HTTP.
        self._stream: Stream | None = None
        # The exchange whose body is coming; the one that is answered; those that wait for their turn.
        self._coming: Exchange | None = None
        self._current: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        # Bytes that came after too many requests.
        self._held = b""
        # Bytes that came since it last waited for its turn.
        self._brought = 0
        # Sum of the reasons not to read it.
        self._unread_for = 0
        # Set until the first bytes come.
        self._new = True
        # Set once one of its requests came from a known caller.
        self.known = False
        # Set once the client sends no more.
        self._eof = False
        # Set once bytes are dropped unread; then the status to tell after earlier answers are whole.
        self._over = False
        self._refusal = 0
        self._told = False
        self.congested = False
        self._writable: asyncio.Event | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio's methods without being of its class.
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)
        self._listener.await_request(self)

    def data_received(self, data: bytes) -> None:
        if self._over:
            self._discard(len(data))
        elif self._stream is not None:
            self._feed_stream(data, self._stream)
        elif self._held:
            self._held += data
            self._pause(_UNWANTED)
        elif self._new and self._rests_at_first():
            self._held = data
        elif len(data) <= _SLICE_BYTES:
            self._feed(data)
        else:
            self._feed_in_slices(data)
        self._brought += len(data)
        if self._brought >= _MUCH_BYTES and not self._unread_for & _QUEUED:
            self._brought = 0
            self._pause(_QUEUED)
            self._listener.queue_reading(self)

    def eof_received(self) -> bool:
        self._eof = True
        current = self._current
        # Bytes refused after a request change nothing for its answer.
        ends = self._over and not self._refusal
        if current is None or self._coming is not None or ends or (current.begun and current.on_half_closed is None):
            # Nothing is to be answered, or the answer cannot be made whole, or nobody may be reading.
            self._lose_all()
            return False
        self._listener.half_closed[self] = None
        self._probe(current)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._listener.forget(self)
        self._over = True
        # The parser holds the connection, and so does a stream: break the cycle.
        self._parser = self._transport = self._stream = None
        self._held = b""
        self.congested = False
        if self._writable is not None:
            self._writable.set()
        self._lose_all()

    def pause_writing(self) -> None:
        self.congested = True
        self._writable = asyncio.Event()
        self._listener.watch_writing(self)

    def resume_writing(self) -> None:
        self.congested = False
        if self._writable is not None:
            self._writable.set()

    # Reading

    def _feed_in_slices(self, data: bytes) -> None:
        view = memoryview(data)
        for begin in range(0, len(data), _SLICE_BYTES):
            if self._over:
                self._discard(len(data) - begin)
                return
            if self._queue:
                self._held = data[begin:]
                self._pause(_UNWANTED)
                return
            self._feed(view[begin : begin + _SLICE_BYTES])

    def _feed_stream(self, data: bytes, stream: Stream) -> None:
        view = memoryview(data)
        for begin in range(0, len(data), _STREAM_SLICE_BYTES):
            if self._over:
                self._discard(len(data) - begin)
                return
            stream.feed(view[begin : begin + _STREAM_SLICE_BYTES])

    def _feed(self, piece: bytes | memoryview) -> None:
        """Parses a piece of at most a slice."""
        parser = self._parser
        if parser is None:
            return
        self._progressed = False
        try:
            parser.feed_data(piece)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_with_http(piece[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._refuse_parsed(piece, error)
            return
        if self._progressed:
            self._silent_bytes = 0
        else:
            self._silent_bytes += len(piece)
            if self._silent_bytes > self._listener.limits.head_bytes_max:
                self.refuse(400 if self._coming is not None else 431)
                return
        if self._coming is not None:
            self._listener.await_body(self)
            if self._coming.unread > _UNREAD_BYTES_MAX and not self._coming.is_read:
                self._pause(_UNWANTED)
        elif self._queue:
            self._pause(_UNWANTED)
        elif self._in_head and self._current is None:
            self._listener.await_head(self)

    def _stay_with_http(self, rest: bytes | memoryview) -> None:
        """Reads on after a request for another protocol, which is served as if it had asked for none."""
        upgraded = self._upgraded
        if upgraded is not None:
            # A new parser takes its body, after a head of which nothing else is used.
            self._parser = httptools.HttpRequestParser(self)
            framing = (header for header in upgraded.headers if header[0] in (b"content-length", b"transfer-encoding"))
            self._feed(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(b"%b: %b\r\n" % header for header in framing))
        self._feed(rest)

    def _refuse_parsed(self, piece: bytes | memoryview, error: httptools.HttpParserError) -> None:
        cause = error.__context__
        if isinstance(cause, _RefusedError):
            self.refuse(cause.status)
        elif bytes(piece[: len(_HTTP_2_PREFACE)]) == _HTTP_2_PREFACE:
            self.refuse(505)
        else:
            self.refuse(400)

    def _discard(self, count: int) -> None:
        if not self._listener.drops(self, count, _DROPPED_NONSENSE_BYTES_MAX if self._told else _DROPPED_BYTES_MAX):
            self.drop()
        elif count >= _MUCH_BYTES:
            self._rest(self._listener.wasted(self))

    def _pause(self, reason: int) -> None:
        if not self._unread_for and self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()
        self._unread_for |= reason

    def _unpause(self, reason: int) -> None:
        if self._unread_for & reason:
            self._unread_for &= ~reason
            if not self._unread_for and self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()

    def resume(self) -> None:
        """See `Wire`."""
        if not self._held:
            self._unpause(_UNWANTED)

    def take_turn(self) -> None:
        """Reads on, because the connections before it have been read."""
        self._unpause(_QUEUED)

    def _rest(self, seconds: float) -> None:
        if seconds and not self._unread_for & _RESTS:
            self._pause(_RESTS)
            asyncio.get_running_loop().call_later(seconds, self._rested)

    def _rests_at_first(self) -> bool:
        """Whether the first bytes of a new connection must wait, because requests from its address were in vain lately."""
        self._new = False
        seconds = self._listener.first_rest_s(self)
        self._rest(seconds)
        return seconds > 0

    def _rested(self) -> None:
        # While nothing is read, nothing tells that the client has gone.
        self.look_whether_gone()
        self._unpause(_RESTS)
        if self._current is not None or self._transport is None or self._transport.is_closing():
            return
        if self._queue:
            self._go_on()
        elif not self._over:
            self._read_on()

    # httptools

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers = []
        self._in_head = True

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        headers = self._headers
        headers.append((name.lower(), value))
        if len(headers) > self._listener.limits.headers_max:
            # These are trailers too: they come into this list, and nobody reads them.
            raise _RefusedError(431 if self._in_head else 400)

    def on_headers_complete(self) -> None:
        parser = self._parser
        assert parser is not None
        self._in_head = False
        self._progressed = True
        if self._upgraded is not None:
            self._upgraded = None
            return
        bytes_max = self._listener.limits.head_bytes_max
        if self._silent_bytes + _SLICE_BYTES > bytes_max and _head_bytes(self._target, self._headers) > bytes_max:
            # It ends in a slice that passes the bound.
            raise _RefusedError(431)
        method = parser.get_method().decode("ascii")
        if method == "CONNECT":
            raise _RefusedError(501)
        exchange = Exchange(self, method, self._target, self._headers)
        exchange.is_http_1_0 = _is_http_1_0(parser.get_http_version())
        exchange.keep_alive = parser.should_keep_alive()
        upgrades = has_body = False
        hosts = 0
        for name, value in exchange.headers:
            if name == b"content-length":
                has_body = has_body or value.strip() != b"0"
            elif name == b"host":
                hosts += 1
            elif name == b"upgrade":
                upgrades = parser.should_upgrade()
            elif name == b"expect" and not exchange.is_http_1_0:
                if value.lower() != b"100-continue":
                    raise _RefusedError(417)
                exchange.expect_continue()
            elif name == b"transfer-encoding":
                _check_coding(value, exchange)
                has_body = True
        if hosts != 1 and (hosts or not exchange.is_http_1_0):
            # Readers would differ on whose request it is (RFC 9112, 3.2).
            raise _RefusedError(400)
        self._coming = exchange
        if upgrades and has_body:
            self._upgraded = exchange
        if self._current is None:
            self._begin(exchange)
        elif len(self._queue) < _PIPELINED_MAX:
            self._queue.append(exchange)
        else:
            raise _RefusedError(400)
        # Trailers are not among a request's headers.
        self._headers = []

    def on_body(self, body: bytes) -> None:
        self._progressed = True
        if self._coming is not None:
            self._coming.came(body)

    def on_message_complete(self) -> None:
        self._progressed = True
        if self._coming is not None and self._upgraded is None:
            coming, self._coming = self._coming, None
            coming.came_to_end()
            self._listener.bodies.pop(self, None)

    # Answering

    def _begin(self, exchange: Exchange) -> None:
        self._current = exchange
        self._listener.begin(self, exchange)

    @property
    def closes(self) -> bool:
        """See `Wire`."""
        return self._listener.closing or ((self._over or self._eof) and not self._queue and not self._refusal)

    def write(self, data: bytes) -> None:
        """See `Wire`."""
        if self._transport is not None:
            self._transport.write(data)

    async def drained(self) -> None:
        """See `Wire`."""
        if self.congested and self._writable is not None:
            await self._writable.wait()

    def answered(self, exchange: Exchange) -> None:
        """See `Wire`."""
        if exchange is not self._current:
            return
        self._current = None
        if self._transport is None:
            return
        self._know(exchange)
        refused_from = 100 if exchange.serves_anybody else 400
        in_vain = self._told or exchange.in_vain or refused_from <= exchange.status < 500
        if in_vain and not self.beside_known:
            self._rest(self._listener.wasted(self, exchange.turns))
        if self._coming is exchange:
            # Close it: its body was not read to the end, so the begin of the next request is unknown.
            self._linger()
        elif not exchange.keep_alive:
            self.close()
        else:
            self._go_on()

    def _know(self, exchange: Exchange) -> None:
        if exchange.known and not self.known:
            self.known = True
            self._listener.know(self)

    @property
    def beside_known(self) -> bool:
        """See `Wire`."""
        return self._listener.knows(self.address)

    def distrust(self) -> None:
        """See `Wire`."""
        if self.known:
            self.known = False
            self._listener.distrust(self)

    def _go_on(self) -> None:
        """Turns to the next request, if there is one and the connection does not rest."""
        if self._queue:
            if not self._unread_for & _RESTS:
                self._begin(self._queue.popleft())
                self._read_on()
        elif self._refusal:
            self._tell(self._refusal)
        elif self._eof:
            self.close()
        else:
            self._listener.idles(self)
            if self._in_head:
                self._listener.await_head(self)
            self._read_on()

    def _read_on(self) -> None:
        """Reads bytes that waited for answers, if none waits; they may hold a body of the request that is answered now."""
        if not self._queue:
            held, self._held = self._held, b""
            self.resume()
            if held:
                self._feed_in_slices(held)

    def refuse(self, status: int) -> None:
        """Reads no more of this connection, and ends it with the server's own answer once earlier answers are whole."""
        self._listener.count_refused(self, status)
        if self._stream is not None:
            self._stream.refuse("A message was not complete in time.")
            return
        self._over = True
        current, coming = self._current, self._coming
        if current is None:
            self._tell(status)
        elif coming is not current:
            if coming is not None and self._queue and self._queue[-1] is coming:
                self._headers = self._queue.pop().headers
            self._coming = None
            self._refusal = status
        else:
            # It is being answered while its body comes, and the body went wrong.
            self._current = None
            if current.begun:
                self._linger()
            else:
                current.status = status
                self._headers = current.headers
                self._tell(status, current.raw_path)
            current.lose()

    def _tell(self, status: int, target: bytes = b"") -> None:
        """Answers in the server's own words, and closes."""
        headers, body = self._listener.refuse(status, target or self._target, self._headers)
        refused = Exchange(self, "POST", b"/", [])
        self._over = self._told = True
        self._refusal = 0
        self._current = refused
        refused.start(status, (*headers, (b"content-length", b"%d" % len(body))))
        self._coming = refused
        refused.end(body)

    def _linger(self) -> None:
        """Closes after the client's last words, because closing with a byte unread takes back what was written."""
        self._over = True
        self._coming = None
        self._held = b""
        self._queue.clear()
        self._listener.ends(self)
        if self._transport is not None:
            self.resume()
            if self._eof:
                self._transport.close()
            else:
                # The client may have reset the connection meanwhile: its loss is told soon.
                with contextlib.suppress(OSError):
                    self._transport.write_eof()

    def close(self) -> None:
        """Ends the connection once all that was written is sent."""
        self._over = True
        self._listener.ends(self)
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """See `Wire`."""
        self.close()

    def drop(self) -> None:
        """Ends the connection at once, whatever is under way."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    def _lose_all(self) -> None:
        current, self._current = self._current, None
        self._coming = None
        self._queue.clear()
        if current is not None:
            current.lose()

    # Another protocol

    def switch(self, exchange: Exchange, stream: Stream) -> "Connection":
        """See `Wire`."""
        # A client waits for the answer before it speaks the other protocol.
        has_more = self._in_head or self._queue or self._held or self._coming is not None
        if exchange is not self._current or self._over or self._eof or has_more or self._transport is None:
            raise GoneError
        self._stream = stream
        self._parser = None
        self._know(exchange)
        self._listener.idles(self)
        return self

    def stream_idles(self) -> None:
        """See `Channel`."""
        if not self._over:
            self._listener.idles(self)

    def stream_begins(self, begin: Callable[[], None]) -> None:
        """See `Channel`."""
        self._listener.in_rounds(self.address, begin)

    def stream_works(self) -> None:
        """See `Channel`."""
        if not self._over:
            self._listener.works(self)

    def stream_comes(self, *, comes: bool) -> None:
        """See `Channel`."""
        if not comes:
            self._listener.bodies.pop(self, None)
        elif not self._over:
            self._listener.await_body(self)

    def end_stream(self) -> None:
        """See `Channel`."""
        self._current = None
        if not self._over:
            self._linger()

    # For the listener's look

    def end_idle(self) -> None:
        """Ends the connection, because it has been without a request for long, or the listener stops."""
        if self._stream is None:
            self.drop()
        elif self._stream.is_coming and not self._listener.closing:
            # A message that comes has a time of its own.
            self._listener.idles(self)
        else:
            self._stream.go_away("The server stops." if self._listener.closing else "No request came for long.")

    def end_late_head(self) -> None:
        """Ends the connection, because its head has not come in time."""
        if self._in_head:
            self.refuse(408)
        else:
            self.drop()

    def end_late_answer(self, longest_s: float) -> bool:
        """Asks the application to end its answer; whether there is one to ask."""
        current = self._current
        if current is None or current.on_late is None:
            return False
        current.on_late(longest_s)
        return True

    @property
    def unsent_bytes(self) -> int:
        """Bytes that this process still has to send."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def untaken_bytes(self) -> int:
        """Unsent bytes and those that the kernel has no confirmation of: it takes more only when a third of its buffer is free."""
        if self._transport is None:
            return 0
        own: Any = self._transport.get_extra_info("socket")
        count = bytearray(_INT.size)
        fcntl.ioctl(own.fileno(), termios.TIOCOUTQ, count)
        return self.unsent_bytes + int(_INT.unpack(count)[0])

    def _probe(self, current: Exchange) -> None:
        """Sends something harmless, because only the answer to it tells whether the client still reads, or has left."""
        if current.begun:
            if current.on_half_closed is not None:
                current.on_half_closed()
        elif not current.is_http_1_0:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._look_after(_PROBE_S)

    def _look_after(self, delay_s: float) -> None:
        if self._transport is not None and not self._over:
            self.look_whether_gone()
            if delay_s <= _PROBE_S_MAX:
                asyncio.get_running_loop().call_later(delay_s, self._look_after, 2 * delay_s)

    def look_whether_gone(self) -> None:
        """Drops a half-closed connection that has been reset, because nothing else tells of that before the next write."""
        if self._transport is None:
            return
        own: Any = self._transport.get_extra_info("socket")
        if own.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.drop()


def _head_bytes(target: bytes, headers: list[Header]) -> int:
    """The least that a head with these takes."""
    return len(target) + sum(len(name) + len(value) + _AROUND_HEADER_BYTES for name, value in headers)


def _is_http_1_0(version: str) -> bool:
    """Whether a request is of HTTP/1.0, and not 1.1. Errors: `_RefusedError`."""
    if version not in ("1.1", "1.0"):
        raise _RefusedError(505)
    return version == "1.0"


def _check_coding(value: bytes, exchange: Exchange) -> None:
    """Checks a Transfer-Encoding. Errors: `_RefusedError`."""
    if exchange.is_http_1_0:
        # HTTP/1.0 has none: a proxy may have seen another end of this request (RFC 9112, 6.1).
        raise _RefusedError(400)
    if value.strip().lower() != b"chunked":
        raise _RefusedError(501)
