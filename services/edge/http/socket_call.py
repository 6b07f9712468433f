"""A call on a WebSocket, as the POST that it stands for: the body is its message, and the answer's events are messages."""

from typing import Final

import msgspec

from services.runtime.http.exchange import Exchange, Header, Headers
from services.runtime.http.websocket import WebSocket

_encode: Final = msgspec.json.Encoder().encode
# Headers of the handshake that say nothing of a call: they belong to the connection, or to a single request.
_OF_HANDSHAKE: Final = (
    b"connection",
    b"upgrade",
    b"content-",
    b"transfer-encoding",
    b"expect",
    b"sec-websocket-",
)
# Headers of an answer that its messages say themselves.
_OF_ANSWER: Final = frozenset({b"content-type", b"content-length", b"connection", b"cache-control", b"x-accel-buffering"})
_JSON: Final[Header] = (b"content-type", b"application/json")
# A call that is shed with it ends its socket too: the account has as many calls in hand as it may.
CLOSES: Final[Header] = (b"connection", b"close")


class SocketCall(Exchange):
    """One call. The first message of its answer has the answer's headers as the member `headers`."""

    __slots__ = ("_answer_headers", "_socket", "last")

    def __init__(self, socket: WebSocket, handshake: Exchange, body: bytes) -> None:
        """A call with `body` under the headers of the handshake."""
        kept = [header for header in handshake.headers if not header[0].startswith(_OF_HANDSHAKE)]
        super().__init__(socket.wire, "POST", handshake.raw_path, [*kept, _JSON])
        self._socket = socket
        self._answer_headers: Headers = ()
        # The last message of its answer.
        self.last = b""
        self.came(body)
        self.came_to_end()

    def start(self, status: int, headers: Headers) -> None:
        """See `Exchange`."""
        assert not self.begun, "the answer was begun twice"
        self.status = status
        self.begun = True
        self._answer_headers = headers

    def write(self, data: bytes) -> None:
        """Sends whole server-sent events, a message each; a comment as a ping. See `Exchange`."""
        messages = []
        self.sent_bytes += len(data)
        for event in data.split(b"\n\n"):
            if event.startswith(b":"):
                self._socket.ping()
            elif event:
                messages.append(self._first(event.partition(b"data: ")[2].replace(b"\ndata: ", b"\n")))
        if messages:
            self.last = messages[-1]
            self._socket.send(*messages)

    def _first(self, message: bytes) -> bytes:
        if not self._answer_headers:
            return message
        headers, self._answer_headers = self._answer_headers, ()
        return b'{"headers":%b,%b' % (_told(headers), message[1:])

    def end(self, data: bytes = b"") -> None:
        """See `Exchange`. An answer without its last event can't be told from one that goes on, so the socket ends with it."""
        if data:
            self.write(data)
        self.ended = True
        self._wake()
        if data:
            self._socket.done()
        else:
            self.cut()

    def shed(self) -> bool:
        """See `Exchange`. A socket has one call at a time, each refused in its turn, so its sender stays known."""
        self.in_vain = True
        return self._drop_body()

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a problem, which is all that an answer in one piece can be. See `Exchange`."""
        self.start(status, headers)
        self.keep_alive = not (self.in_vain and CLOSES in headers)
        self.last = problem_message(status, headers, body)
        self._socket.send(self.last)
        self.ended = True
        self._wake()
        self._socket.done()

    def cut(self) -> None:
        """See `Exchange`."""
        self._socket.break_off("The answer broke off. Send the request again on a new connection.")


def problem_message(status: int, headers: Headers, body: bytes) -> bytes:
    """An error as a message: `body` is that of the answer to a POST, an object with the member error."""
    return b'{"type":"error","status":%d,"headers":%b,%b' % (status, _told(headers), body[1:])


def _told(headers: Headers) -> bytes:
    told = {name.decode("ascii"): value.decode("latin-1") for name, value in headers if name not in _OF_ANSWER}
    return _encode(told)
