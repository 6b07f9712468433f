"""Servers and clients of one loop, in virtual time: its clock jumps only when no socket has anything to read or to write."""

import os
import selectors
from typing import Any

from tests.simulation.virtual_time import JumpingSelector, VirtualLoop


class _PatientSelector(JumpingSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return selectors.SelectSelector.select(self, 0) or super().select(timeout)


class NetworkLoop(VirtualLoop):
    """Has a Unix socket stand for each port: what one end sends, the other end has at once, so that nothing is ever on its way.

    As with TCP, to close a connection with bytes unread, or a port with a connection that was not taken yet, resets it.
    """

    def __init__(self) -> None:
        super().__init__(_PatientSelector())

    async def create_server(self, factory: Any, host: Any = None, port: int = 0, *, sock: Any = None, **options: Any) -> Any:  # type: ignore[override]
        """Listens where clients of the port knock; a `sock` is left alone, but for keeping others away from its port."""
        # As many as TCP lets wait: one more would not be refused, but be connected to nothing.
        options = {"backlog": 4_096, **options}
        return await self.create_unix_server(factory, _path(sock.getsockname()[1] if sock else port), **options)

    async def create_connection(self, factory: Any, host: Any, port: int, **options: Any) -> Any:  # type: ignore[override]
        """Errors: `ConnectionRefusedError` where nobody listens."""
        named = {"server_hostname": host} if options.get("ssl") else {}
        return await self.create_unix_connection(factory, _path(port), **named, **options)


def _path(port: int) -> str:
    # Of Linux's abstract ones, which end with their listener.
    return f"\0port {port} of process {os.getpid()}"
