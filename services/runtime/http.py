"""The one HTTP server bootstrap: an ASGI application on uvicorn, inside a loop that is already running."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# The answer to what is no HTTP: of the URL, as far as it was read, to the headers and the body of a 400.
Refuse = Callable[[bytes], tuple[Sequence[tuple[bytes, bytes]], bytes]]

_CLOSE: Final = (b"connection", b"close")
# How long a connection that came as the last may take to bring its request.
_LAST_REQUESTS_S: Final = 1.0


class _Protocol(HttpToolsProtocol):
    """A connection of uvicorn's that answers what is no HTTP in the application's words, and never into another answer."""

    refuse: Refuse

    def send_400_response(self, msg: str) -> None:
        """Ends the connection, with a 400 unless an answer is under way."""
        if self.cycle is None or self.cycle.response_complete:
            headers, body = self.refuse(getattr(self, "url", b""))
            lines = [b"%b: %b\r\n" % header for header in (*headers, (b"content-length", b"%d" % len(body)), _CLOSE)]
            self.transport.write(b"".join((b"HTTP/1.1 400 Bad Request\r\n", *lines, b"\r\n", body)))
        self.transport.close()


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process's `Lifecycle`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listen_http(
    application: Any, host: str, port: int, drain_s: float = 30.0, notice_s: float = 0.0, refuse: Refuse | None = None
) -> AsyncIterator[int]:
    """Serves `application` on host:port (port 0: any) and yields the port; `refuse` words the answer to what is no HTTP.

    When the block is left, it goes on for `notice_s`, and every answer tells its client to close the connection; then no new
    connection is taken, what was on its way on the open ones is read for up to a second more, and requests under way get
    `drain_s` to end, then are cut. Errors: `OSError` when the address cannot be bound.
    """
    listener = _bind(host, port)
    server = _Server(
        uvicorn.Config(
            application,
            http="httptools" if refuse is None else type("Protocol", (_Protocol,), {"refuse": staticmethod(refuse)}),
            ws="none",
            lifespan="off",
            access_log=False,
            proxy_headers=False,
            log_config=None,
            server_header=False,
            date_header=False,
            backlog=4096,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=int(drain_s),
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        while not server.started and not task.done():  # noqa: ASYNC110  # uvicorn offers no event
            await asyncio.sleep(0.005)
        if task.done():
            task.result()
        yield listener.getsockname()[1]
        # Those of the state are what answers take; it is made anew from those of the config every now and then.
        server.config.encoded_headers.append(_CLOSE)
        server.server_state.default_headers = [*server.server_state.default_headers, _CLOSE]
        await asyncio.sleep(notice_s)
        # Closed with a request unread, a connection is reset, and that call has failed; the youngest have theirs still to come.
        for accepting in server.servers:
            accepting.close()
        await asyncio.sleep(min(notice_s, _LAST_REQUESTS_S))
    finally:
        server.should_exit = True
        await asyncio.wait([task])
        listener.close()


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose an address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    listener.setblocking(False)
    return listener
