"""A gRPC server that listens again when gRPC has ended it.

gRPC's binding reads the name of each call's method as UTF-8, in the loop that accepts calls. One name that is no UTF-8 ends that
loop, and nothing is accepted any more, while the process and calls under way go on. Any peer that may connect can send one.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import grpc

logger = logging.getLogger(__name__)

# Makes the credentials of a server; they are good for one.
Credentials = Callable[[], grpc.ServerCredentials]

# gRPC tells nobody that a server has ended while calls are under way, so that is looked for this often.
_LOOK_S: Final = 0.1
# The old listener takes a moment to give its address up.
_BIND_AGAIN_S: Final = 0.01
# However often servers are ended, it is logged once in this time.
_LOGGED_S: Final = 10.0


class Handlers:
    """Takes what servicers register at a server, for as many servers as there will be."""

    def __init__(self) -> None:
        self._generic: list[Any] = []
        self._registered: list[tuple[str, Mapping[str, Any]]] = []

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Sequence[Any]) -> None:
        """See `grpc.aio.Server`, as for the next one."""
        self._generic += generic_rpc_handlers

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        self._registered.append((service_name, method_handlers))

    def register_at(self, server: Any) -> None:
        """Registers all of it at a server."""
        server.add_generic_rpc_handlers(self._generic)
        for service_name, method_handlers in self._registered:
            server.add_registered_method_handlers(service_name, method_handlers)


class LastingServer:
    """A server on its addresses. Calls under way when gRPC ends it go on; their callers make new calls on a new connection."""

    def __init__(self, handlers: Handlers, options: list[tuple[str, Any]], interceptors: Sequence[Any] = ()) -> None:
        """`handlers` may be added to until `running`."""
        self._handlers = handlers
        self._options = options
        self._interceptors = interceptors
        self._ports: list[tuple[str, Credentials | None]] = []
        self._server = self._made()
        # Servers that were ended and have calls under way, each with the task that waits for their end.
        self._ended: dict[grpc.aio.Server, asyncio.Task[None]] = {}
        self._logged_s = -_LOGGED_S

    def _made(self) -> grpc.aio.Server:
        return grpc.aio.server(interceptors=list(self._interceptors), options=self._options)

    def bind(self, address: str, credentials: Credentials | None = None) -> str:
        """Binds an address; returns it with its port. Errors: `OSError`."""
        bound = _bind(self._server, address, credentials)
        self._ports.append((bound, credentials))
        return bound

    @asynccontextmanager
    async def running(self, grace_s: float | None = None) -> AsyncIterator[None]:
        """Serves within the block; calls under way at its end are given `grace_s`."""
        self._handlers.register_at(self._server)
        await self._server.start()
        keeping = asyncio.create_task(self._keep(), name="grpc-server")
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await asyncio.gather(*(server.stop(grace_s) for server in (self._server, *self._ended)))
            await asyncio.gather(*self._ended.values())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            # No public method tells it.
            if not self._server._server.is_running():  # type: ignore[attr-defined]
                try:
                    await self._listen_again()
                except Exception:
                    logger.exception("the server at %s does not listen; trying again", self._ports[0][0])

    async def _listen_again(self) -> None:
        server = self._made()
        self._handlers.register_at(server)
        for address, credentials in self._ports:
            await _bind_soon(server, address, credentials)
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOGGED_S:
            self._logged_s = now_s
            logger.error("a call's method was no text, at which gRPC ended the server at %s; it listens again", self._ports[0][0])
        ended, self._server = self._server, server
        self._ended[ended] = asyncio.create_task(self._clear(ended), name="grpc-server-ended")
        await server.start()

    async def _clear(self, server: grpc.aio.Server) -> None:
        """Waits for the calls of a server that was ended, then frees what it holds."""
        # The error is what ended it.
        with suppress(Exception):
            await server.wait_for_termination()
        await server.stop(None)
        self._ended.pop(server, None)


def _bind(server: grpc.aio.Server, address: str, credentials: Credentials | None) -> str:
    try:
        port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials())
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: in use, or not an address of this machine") from error
    return address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"


async def _bind_soon(server: grpc.aio.Server, address: str, credentials: Credentials | None) -> None:
    """Binds an address once it is free. The server must be the same, for one that is dropped keeps what it has bound."""
    while True:
        try:
            _bind(server, address, credentials)
        except OSError:
            await asyncio.sleep(_BIND_AGAIN_S)
        else:
            return
