"""Directory of the partitions' owners, as this replica knows them, and the way to the other replicas."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc

from services.runtime.certificates import Certificates
from services.runtime.clients import TLS, answer, connect
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

# Marks a request that another replica passed on, so that it is not passed on again.
_FORWARDED: Final = "tokenline-forwarded"
# A request looks for the owner of its account for at most this long, while partitions change hands.
_LOOKING_S_MAX: Final = 4.0
_LOOK_AGAIN_S: Final = 0.05
_KNOCK_S_MAX: Final = 0.2
_ELSEWHERE_OR_LATER: Final = frozenset({errors_pb2.ERROR_REASON_NOT_OWNER, errors_pb2.ERROR_REASON_UNAVAILABLE})


class Directory:
    """Addresses of the owners by partition."""

    def __init__(self, certificates: Certificates | None = None) -> None:
        self._certificates = certificates
        # The address that others use for this replica; "" when it is the only one.
        self.own_address = ""
        self._addresses: dict[int, str] = {}
        # Features that every member of the cell understands; see `services.accounting.core.features`.
        self.features: frozenset[str] = frozenset()
        self._changed = asyncio.Event()
        self._ended = False
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._closing = set[asyncio.Task[None]]()

    def update(self, addresses: dict[int, str], features: frozenset[str]) -> None:
        """Sets the owners from now on, and the features that all of them understand."""
        if (addresses, features) != (self._addresses, self.features):
            self._addresses = addresses
            self.features = features
            self._changed.set()
            self._changed = asyncio.Event()

    @property
    def addresses(self) -> dict[int, str]:
        """part_id -> the address of its owner."""
        return self._addresses

    async def changes(self) -> AsyncIterator[dict[int, str]]:
        """Yields the addresses now, and again after each change of them or of the features, until `end`."""
        while not self._ended:
            changed = self._changed
            yield self._addresses
            await changed.wait()

    def end(self) -> None:
        """Stops this replica's directory, so that its followers follow another replica."""
        self._ended = True
        self._changed.set()

    def stub(self, address: str) -> "accounting_pb2_grpc.AccountingServiceAsyncStub":
        """The replica at an address. Errors: `ServiceError` UNAVAILABLE where this replica lacks the certificates for it."""
        return accounting_pb2_grpc.AccountingServiceStub(self._channel(address))

    def _channel(self, address: str) -> grpc.aio.Channel:
        channel = self._channels.get(address)
        if channel is None:
            try:
                channel = self._channels[address] = connect(address, "accounting", self._certificates)
            except ConfigError as error:
                # The replica is at another step of the change to TLS.
                raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, str(error)) from error
        return channel

    def _is_connected(self, address: str) -> bool:
        try:
            return self._channel(address).get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY
        except ServiceError:
            return False

    async def refuses(self, address: str) -> bool:
        """Whether nobody listens at a replica's address: refused at once, not merely slow.

        A connected caller need not knock: at a port with TLS each knock begins a handshake that comes to nothing.
        """
        if self._is_connected(address):
            return False
        try:
            async with asyncio.timeout(_KNOCK_S_MAX):
                if address.startswith("unix:"):
                    _, writer = await asyncio.open_unix_connection(address.removeprefix("unix:"))
                else:
                    host, _, port = address.removeprefix(TLS).rpartition(":")
                    _, writer = await asyncio.open_connection(host, int(port))
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except (OSError, TimeoutError):
            return False
        writer.close()
        return False

    def keep(self, addresses: set[str]) -> None:
        """Closes the connections to replicas that have gone, once they have answered."""
        for address in self._channels.keys() - addresses:
            closing = asyncio.create_task(self._channels.pop(address).close(_LOOKING_S_MAX), name="replica-gone")
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def others(self) -> set[str]:
        """The addresses of the other replicas that own something."""
        return set(self._addresses.values()) - {self.own_address}

    async def at_owner(
        self, part_id: int, method: str, here: Callable[[Any, Any], Awaitable[Any]], request: Any, context: Any
    ) -> Any:
        """Answers a request about a partition's account: here, or by passing it on to the owner.

        Errors: `ServiceError`; NOT_OWNER and UNAVAILABLE only after the partition had no owner for a while.
        """
        forwarded = is_forwarded(context)
        loop = asyncio.get_running_loop()
        until_s = loop.time() + min(context.time_remaining() or _LOOKING_S_MAX, _LOOKING_S_MAX)
        while True:
            address = self._addresses.get(part_id, self.own_address)
            try:
                if forwarded or address == self.own_address:
                    return await here(request, context)
                return await self.forward(address, method, request, until_s - loop.time())
            except ServiceError as error:
                alone = not self.own_address
                if alone or forwarded or error.reason not in _ELSEWHERE_OR_LATER or loop.time() + _LOOK_AGAIN_S > until_s:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def forward(self, address: str, method: str, request: Any, timeout_s: float) -> Any:
        """The answer of the replica at the address. Errors: `ServiceError`."""
        return await answer(getattr(self.stub(address), method)(request, timeout=timeout_s, metadata=((_FORWARDED, "1"),)))

    async def close(self) -> None:
        """Ends the connections."""
        for channel in self._channels.values():
            await channel.close()
        for closing in self._closing:
            closing.cancel()


def is_forwarded(context: Any) -> bool:
    """Whether another replica passed the request on."""
    return any(key == _FORWARDED for key, _ in context.invocation_metadata() or ())
