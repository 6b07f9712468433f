"""Servers and clients of one loop, in virtual time: its clock jumps only when no socket has anything to read or to write."""

import os
import selectors
import socket
from typing import Any

from tests.simulation.virtual_time import JumpingSelector, VirtualLoop

_BACKLOG = 4_096


class _PatientSelector(JumpingSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return selectors.SelectSelector.select(self, 0) or super().select(timeout)


class NetworkLoop(VirtualLoop):
    """Has a Unix socket stand for each port: what one end sends, the other end has at once, so that nothing is ever on its way.

    As with TCP, to close a connection with bytes unread, or a port with a connection that was not taken yet, resets it.
    """

    def __init__(self) -> None:
        super().__init__(_PatientSelector())
        self._kept: list[socket.socket] = []

    async def create_server(self, factory: Any, host: Any = None, port: int = 0, *, sock: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Listens where clients of the port knock."""
        # As many as TCP lets wait: one more would not be refused, but be connected to nothing.
        options = {"backlog": _BACKLOG, **options}
        return await self.create_unix_server(factory, _path(port), **options)

    def add_reader(self, fd: Any, callback: Any, *args: Any) -> None:  # type: ignore[override]
        """What accepts from a port does so where its clients knock, behind the same descriptor; the port is kept from others."""
        if isinstance(fd, socket.socket) and fd.family == socket.AF_INET and fd.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            path = _path(fd.getsockname()[1])
            self._kept.append(fd.dup())
            with socket.socket(socket.AF_UNIX) as knocked:
                knocked.bind(path)
                knocked.listen(_BACKLOG)
                knocked.setblocking(False)
                os.dup2(knocked.fileno(), fd.fileno())
        super().add_reader(fd, callback, *args)

    async def connect_accepted_socket(self, protocol_factory: Any, sock: socket.socket, **options: Any) -> Any:
        """Takes it for what it is, which was accepted as one of TCP."""
        return await super().connect_accepted_socket(protocol_factory, socket.socket(fileno=sock.detach()), **options)

    def close(self) -> None:
        super().close()
        for each in self._kept:
            each.close()

    async def create_connection(self, factory: Any, host: Any, port: int, **options: Any) -> Any:  # type: ignore[override]
        """Errors: `ConnectionRefusedError` where nobody listens."""
        named = {"server_hostname": host} if options.get("ssl") else {}
        return await self.create_unix_connection(factory, _path(port), **named, **options)


def _path(port: int) -> str:
    # Of Linux's abstract ones, which end with their listener.
    return f"\0port {port} of process {os.getpid()}"
