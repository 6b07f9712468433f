"""One request and its answer, for an application.

The answer is written without waiting; `drained` is where a writer waits for a client that reads slowly. Once the client has left,
`gone` holds, `on_gone` has been called, reading fails and writing does nothing.
"""

import asyncio
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, Protocol

import httptools

Header = tuple[bytes, bytes]
Headers = Sequence[Header]

_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# Statuses whose answers have no body.
_BODILESS: Final = (204, 304)


class GoneError(Exception):
    """The client has left, or was cut off, before its request was whole."""


class Stream(Protocol):
    """Another protocol on a connection, whose HTTP has ended."""

    @property
    def is_coming(self) -> bool:
        """Whether a part of something has come, and its rest has not."""
        ...

    def feed(self, data: bytes | memoryview) -> None:
        """Takes bytes of the client."""
        ...

    def go_away(self, reason: str) -> None:
        """Ends the stream, because nobody needs it, or its server stops."""
        ...

    def refuse(self, reason: str) -> None:
        """Ends the stream, because its client broke a rule."""
        ...


class Wire(Protocol):
    """The part of a connection that its exchange needs."""

    # Set while the client reads more slowly than it is written to.
    congested: bool

    @property
    def closes(self) -> bool:
        """Whether the answer that is begun now must be the connection's last."""
        ...

    @property
    def beside_known(self) -> bool:
        """Whether a known caller is connected from the sender's address, so that an answer in vain takes no turn."""
        ...

    def write(self, data: bytes) -> None:
        """Sends bytes; nothing happens on a connection that is lost."""
        ...

    async def drained(self) -> None:
        """Returns once the client has taken most of the sent bytes, or has left."""
        ...

    def resume(self) -> None:
        """Lets more of the body come."""
        ...

    def answered(self, exchange: "Exchange") -> None:
        """Notes that the answer is whole."""
        ...

    def distrust(self) -> None:
        """Takes the sender for a stranger again."""
        ...

    def cut(self) -> None:
        """Ends the connection; bytes sent before still arrive."""
        ...

    def switch(self, exchange: "Exchange", stream: Stream) -> "Channel":
        """Hands all further bytes to `stream`. Errors: `GoneError` when nobody is there, or somebody who did not wait for that."""
        ...


class Channel(Wire, Protocol):
    """The part of a connection that its stream needs."""

    def stream_idles(self) -> None:
        """Notes that the stream waits for its client: it may be ended if that takes long, or its place is needed."""
        ...

    def stream_begins(self, begin: Callable[[], None]) -> None:
        """Calls `begin` for something that is to be served, when it is its turn among the requests that come at once."""
        ...

    def stream_works(self) -> None:
        """Notes that the stream serves its client; that has the time of an answer."""
        ...

    def stream_comes(self, *, comes: bool) -> None:
        """Notes that a part of something has come, which has the time of a body, or that all of it has."""
        ...

    def end_stream(self) -> None:
        """Ends the connection after the stream's last bytes."""
        ...


class Exchange:
    """One request, with the answer to it."""

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_expects_continue",
        "_head",
        "_named",
        "_pieces",
        "_waiter",
        "_wire",
        "begun",
        "body_ended",
        "ended",
        "gone",
        "headers",
        "in_vain",
        "is_http_1_0",
        "keep_alive",
        "known",
        "method",
        "more_headers",
        "on_gone",
        "on_half_closed",
        "on_late",
        "path",
        "query",
        "raw_path",
        "right_ends_s",
        "sent_bytes",
        "serves_anybody",
        "status",
        "turns",
        "unread",
    )

    def __init__(self, wire: Wire, method: str, target: bytes, headers: list[Header]) -> None:
        """Takes `headers` with names in lower case. Errors: `httptools.HttpParserInvalidURLError`."""
        self._wire = wire
        self.method = method
        self.headers = headers
        # The first value of each name, because looking for one that did not come takes long in the list.
        self._named = dict(reversed(headers))
        if not target.startswith(b"/") or b"#" in target:
            target = _origin_form(target)
        self.raw_path, _, self.query = target.partition(b"?")
        self.path = self.raw_path.decode("latin-1")
        self.is_http_1_0 = False
        self.keep_alive = True
        # Set once the sender has shown who it is: a refusal then is no stranger's attempt.
        self.known = False
        # Set where any caller is served: answers to an unknown caller take turns as those in vain do. Between services, where no
        # caller shows a key, all would.
        self.serves_anybody = False
        # The time of the event loop at which the sender's right to be served ends, infinite if it does not; None: nobody knows.
        self.right_ends_s: float | None = None
        # Set for a refusal that is in vain whatever its status says; those of the sender's own fault always are.
        self.in_vain = False
        # Turns that an answer in vain takes, of those that all such answers share.
        self.turns = 1
        # The body: pieces that came and were not read, and whether all has come.
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._expects_continue = False
        self.unread = 0
        self.body_ended = False
        # The client's leaving. `on_half_closed` is called when the client will send no more, as do many that leave. An application
        # with something harmless to send finds out.
        self.gone = False
        self.on_gone: Callable[[], None] | None = None
        self.on_half_closed: Callable[[], None] | None = None
        # Called when the longest answer is over, with the seconds that are left for the last words. Without a callback the
        # connection is cut.
        self.on_late: Callable[[float], None] | None = None
        # Headers of the answer beside those that it is begun with.
        self.more_headers: Headers = ()
        # The answer; its status is 0 until there is one.
        self.status = 0
        self.begun = False
        self.ended = False
        # Bytes of its body.
        self.sent_bytes = 0
        self._head = b""
        self._chunked = False
        self._bodiless = False

    # The request

    def value_of(self, wanted: bytes) -> bytes:
        """The first value of a header by its name in lower case; empty where there is none."""
        return self._named.get(wanted, b"")

    def values_of(self, wanted: bytes) -> Sequence[bytes]:
        """All values of a header by its name in lower case."""
        return [value for name, value in self.headers if name == wanted] if wanted in self._named else ()

    def expect_continue(self) -> None:
        """Notes that the client sends its body once it is told to."""
        self._expects_continue = True

    async def read(self) -> bytes:
        """Bytes of the body since the last read, at least one; empty at its end. Errors: `GoneError`."""
        while not self._pieces:
            if self.body_ended:
                return b""
            if self.gone:
                raise GoneError
            if self._expects_continue:
                self._expects_continue = False
                if not self.begun:
                    self._wire.write(_CONTINUE)
            self._waiter = asyncio.get_running_loop().create_future()
            self._wire.resume()
            try:
                await self._waiter
            finally:
                self._waiter = None
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.unread = 0
        return body

    def came(self, piece: bytes) -> None:
        """Takes a part of the body."""
        self._pieces.append(piece)
        self.unread += len(piece)
        self._wake()

    def shed(self) -> bool:
        """Notes that the request is refused because there are too many, and drops its body; whether that was whole.

        The answer takes turns as those in vain do, and its sender does not count as known.
        """
        self.known = False
        self.in_vain = True
        self._wire.distrust()
        return self._drop_body()

    def _drop_body(self) -> bool:
        self._pieces.clear()
        self.unread = 0
        return self.body_ended

    def came_to_end(self) -> None:
        """Notes that the body is whole."""
        self.body_ended = True
        self._wake()

    async def left(self) -> None:
        """Returns once the client has left, or the answer is whole."""
        while not self.gone and not self.ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    @property
    def is_read(self) -> bool:
        """Whether somebody waits for more of the body."""
        return self._waiter is not None

    def lose(self) -> None:
        """Notes that the client has left."""
        if not self.gone:
            self.gone = True
            self._wake()
            if self.on_gone is not None:
                self.on_gone()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # The answer

    def start(self, status: int, headers: Headers) -> None:
        """Begins the answer; its head goes out with the first bytes of the body. Without content-length the body's end is marked.

        Errors: `ValueError` for a header that would begin another line.
        """
        assert not self.begun, "the answer was begun twice"
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        delimited = told = False
        for header in (*headers, *self.more_headers):
            lines.append(b"%b: %b\r\n" % header)
            name = header[0]
            if name == b"content-length":
                delimited = True
            elif name == b"connection":
                told = True
                if header[1].lower() == b"close":
                    self.keep_alive = False
        self._bodiless = self.method == "HEAD" or status in _BODILESS
        if not delimited and not self._bodiless:
            if self.is_http_1_0:
                self.keep_alive = False
            else:
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
        if self._wire.closes:
            self.keep_alive = False
        if not told:
            if not self.keep_alive:
                lines.append(b"connection: close\r\n")
            elif self.is_http_1_0:
                lines.append(b"connection: keep-alive\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise ValueError("a header of an answer must be one line")
        self.status = status
        self.begun = True
        self._head = head + b"\r\n"

    @property
    def congested(self) -> bool:
        """Whether the client reads more slowly than it is written to: then await `drained`."""
        return self._wire.congested and not self.gone

    @property
    def beside_known(self) -> bool:
        """See `Wire`."""
        return self._wire.beside_known

    async def drained(self) -> None:
        """Returns once the client has taken most of the sent bytes, or has left."""
        await self._wire.drained()

    def write(self, data: bytes) -> None:
        """Sends a part of the answer's body; `start` must have been called."""
        if self.gone:
            return
        head = self._head
        if head:
            self._head = b""
        self.sent_bytes += len(data)
        if self._bodiless:
            data = b""
        elif self._chunked and data:
            data = b"%b%x\r\n%b\r\n" % (head, len(data), data)
            head = b""
        if head or data:
            self._wire.write(head + data if head else data)

    def end(self, data: bytes = b"") -> None:
        """Sends the last part of the answer's body, if any."""
        if self.gone:
            self.ended = True
            return
        head, self._head = self._head, b""
        self.sent_bytes += len(data)
        if self._bodiless:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        self.ended = True
        self._wake()
        if head or data:
            self._wire.write(head + data if head else data)
        self._wire.answered(self)

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends an answer in one piece; `headers` are without its length."""
        self.start(status, (*headers, (b"content-length", b"%d" % len(body))))
        self.end(body)

    def cut(self) -> None:
        """Ends the connection, even in the middle of the answer; bytes sent before still arrive."""
        self._wire.cut()

    def switch(self, head: bytes, stream: Stream) -> Channel:
        """Ends HTTP on the connection with `head`, the whole answer of status 101; the connection's end ends the exchange.

        Errors: `GoneError`.
        """
        if self.gone:
            raise GoneError
        channel = self._wire.switch(self, stream)
        self.status = HTTPStatus.SWITCHING_PROTOCOLS
        self.begun = True
        channel.write(head)
        return channel


def _origin_form(target: bytes) -> bytes:
    """A target as path and query, from a whole URL, "*" or CONNECT's authority. Errors: `httptools.HttpParserInvalidURLError`."""
    if b"://" not in target and not target.startswith(b"/"):
        return target
    url = httptools.parse_url(target)
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")
