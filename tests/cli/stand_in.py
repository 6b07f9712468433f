"""Servers that stand in for a vendor where the simulator is too well-behaved."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class StandIn(BaseHTTPRequestHandler):
    """Answers requests, and says nothing of them."""

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def serving(handler: type[StandIn], terms: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server on loopback; with `terms`, of one with TLS."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if terms is not None:
            server.socket = terms.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        Thread(target=server.serve_forever).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
