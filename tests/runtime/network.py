"""Servers and clients of one loop, in virtual time: its clock jumps only when no socket has anything to read or to write."""

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

    async def create_server(self, factory: Any, *, sock: Any, **options: Any) -> Any:  # type: ignore[override]
        """Listens where clients of the port of `sock` knock; `sock` itself keeps others away from the port."""
        return await self.create_unix_server(factory, _path(sock.getsockname()[1]), **options)

    async def create_connection(self, factory: Any, host: Any, port: int, **options: Any) -> Any:  # type: ignore[override]
        """Errors: `ConnectionRefusedError` where nobody listens."""
        return await self.create_unix_connection(factory, _path(port), **options)


def _path(port: int) -> str:
    # Of Linux's abstract ones, which end with their listener.
    return f"\0port {port}"
