"""Channels to other services: bounded, reconnecting, with proof of the server's name, and with typed errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Self, TypeVar, cast
from weakref import WeakSet

import grpc

from services.messages import CHARGE_REQUEST_BYTES_MAX, ROW_ANSWER_BYTES_MAX, SERVICE_CONFIG
from services.runtime.certificates import Certificates, name_of
from services.runtime.config import ConfigError
from services.runtime.errors import from_rpc
from services.runtime.handshakes import obstacle

logger = logging.getLogger(__name__)

Response = TypeVar("Response")

# Stands before the address of a server that proves its name by certificate, and demands one.
TLS: Final = "tls:"

# A server that is replaced is there again sooner.
_AWAY_S: Final = 5.0
# Interval of log lines about what only an operator can cure.
_EXPLAIN_S: Final = 60.0

_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_send_message_length", CHARGE_REQUEST_BYTES_MAX),
    # The largest message of any method; each method has its own bound in the service config, and the smaller of the two holds.
    ("grpc.max_receive_message_length", ROW_ANSWER_BYTES_MAX),
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Bounds an attempt to connect, whatever the option's name says: on a busy machine settings take more than 50 ms.
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A server that was frozen, or cut off, is noticed within 4 s.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Each channel has its own connection, which by default it would share with others of the process.
    ("grpc.use_local_subchannel_pool", 1),
]
# Unary calls of a connection that are under way at once; further ones wait here. A server refuses calls of a connection that has
# more than 32, streams and those that it has answered and not yet forgotten among them: of these there are at most as many again.
_CALLS_AT_ONCE: Final = 12
# An attempt to connect with a handshake in it takes longer.
_TLS_OPTIONS: Final[list[tuple[str, Any]]] = [("grpc.min_reconnect_backoff_ms", 2_000)]


def connect(address: str, service: str = "", certificates: Certificates | None = None, explain_s: float = 10.0) -> grpc.aio.Channel:
    """A channel to a service at "host:port", "unix:/path" or any target that gRPC resolves; with TLS at "tls:" and a target.

    It connects when first used; close it at the end. With TLS the server must be `service`, by its certificate, whatever its
    address. Of several addresses ("ipv4:HOST:PORT,HOST:PORT", or a DNS name with several) it keeps to one until that fails. A
    stream that waits for a connection with TLS logs the reason once in `explain_s`. Errors: `ConfigError` for TLS without
    certificates.
    """
    if not address.startswith(TLS):
        return grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=[_InTurn()])
    if certificates is None:
        raise ConfigError(
            f"{address} is reached with TLS; give grpc_certificate_file, grpc_key_file and grpc_ca_file in the config"
        )
    return _SecureChannel(address.removeprefix(TLS), service, certificates, explain_s)


async def answer(call: Awaitable[Response]) -> Response:
    """Awaits a unary call, made with a timeout. Errors: `ServiceError` for every failure."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error


async def await_connection(call: Any, server: str, consequence: str) -> None:
    """Waits for the connection of a stream made with `wait_for_ready`; logs after 5 s, and then once a minute, that there is none.

    A server that ended well, or was never there, breaks no stream, so nothing else would tell. `consequence`: what its absence
    means. Errors: `AioRpcError`.
    """
    connecting = asyncio.ensure_future(call.wait_for_connection())
    is_told = False
    try:
        while not (await asyncio.wait([connecting], timeout=_EXPLAIN_S if is_told else _AWAY_S))[0]:
            logger.warning(
                "%s cannot be reached, %s: look whether it runs, and whether each takes the other's certificate",
                server,
                consequence,
            )
            is_told = True
        await connecting
    finally:
        connecting.cancel()
    if is_told:
        logger.info("%s is reached again", server)


async def messages(call: Any, server: str, consequence: str) -> AsyncIterator[Any]:
    """The messages of a stream, after `await_connection`."""
    await await_connection(call, server, consequence)
    async for message in call:
        yield message


class _InTurn(grpc.aio.UnaryUnaryClientInterceptor):
    """Lets the unary calls of a channel wait for one another, in order and within their time, where they would be refused."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        """See `grpc.aio.UnaryUnaryClientInterceptor`."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            async with asyncio.timeout(client_call_details.timeout):
                await self._free.acquire()
        except TimeoutError:
            nothing = grpc.aio.Metadata()
            said = "too many calls were under way for too long; try again later"
            raise grpc.aio.AioRpcError(grpc.StatusCode.DEADLINE_EXCEEDED, nothing, nothing, said) from None
        if client_call_details.timeout is not None:
            left_s = max(0.0, client_call_details.timeout - (loop.time() - began_s))
            # It is a named tuple, which its types do not say.
            client_call_details = cast(Any, client_call_details)._replace(timeout=left_s)
        try:
            call = await continuation(client_call_details, request)
        except BaseException:
            self._free.release()
            raise
        call.add_done_callback(self._over)
        return call

    def _over(self, _: object) -> None:
        self._free.release()


class _SecureChannel(grpc.aio.Channel):
    """A channel whose new calls use the present certificates; calls under way stay where they began."""

    def __init__(self, target: str, service: str, certificates: Certificates, explain_s: float) -> None:
        self._target = target
        self.explain_s = explain_s
        self._service = service
        # gRPC compares the certificate with this name instead of the target.
        kept = [each for each in _OPTIONS if each[0] not in dict(_TLS_OPTIONS)]
        self._options = [*kept, *_TLS_OPTIONS, ("grpc.ssl_target_name_override", name_of(service))]
        self._certificates = certificates
        # Channels with calls under way, and the present one, which is last.
        self._channels: list[tuple[grpc.aio.Channel, WeakSet[Any]]] = []
        self._current: object = None

    def _of_now(self) -> tuple[grpc.aio.Channel, WeakSet[Any]]:
        certificates = self._certificates
        if self._current is not certificates.current:
            # A channel that is dropped closes by itself.
            self._channels = [each for each in self._channels if each[1]]
            credentials = certificates.channel_credentials()
            made = grpc.aio.secure_channel(self._target, credentials, options=self._options, interceptors=[_InTurn()])
            self._channels.append((made, WeakSet()))
            self._current = certificates.current
        return self._channels[-1]

    def _callable(self, kind: str, method: str, *arguments: Any, **named: Any) -> Any:
        made: Any = None
        channel: grpc.aio.Channel | None = None
        streams = kind.endswith("_stream")

        def call(*of: Any, **terms: Any) -> Any:
            nonlocal made, channel
            current, calls = self._of_now()
            if channel is not current:
                channel = current
                made = getattr(current, kind)(method, *arguments, **named)
            begun = made(*of, **terms)
            calls.add(begun)
            return _Stream(begun, self) if streams else begun

        return call

    def unary_unary(self, method: str, *arguments: Any, **named: Any) -> Any:
        """See `grpc.aio.Channel`, as for all methods below."""
        return self._callable("unary_unary", method, *arguments, **named)

    def unary_stream(self, method: str, *arguments: Any, **named: Any) -> Any:
        return self._callable("unary_stream", method, *arguments, **named)

    def stream_unary(self, method: str, *arguments: Any, **named: Any) -> Any:
        return self._callable("stream_unary", method, *arguments, **named)

    def stream_stream(self, method: str, *arguments: Any, **named: Any) -> Any:
        return self._callable("stream_stream", method, *arguments, **named)

    @property
    def replaced(self) -> asyncio.Event:
        """Set once other certificates are current."""
        return self._certificates.replaced

    async def explain(self) -> None:
        """Logs the obstacle to a connection."""
        found = await obstacle(self._target, self._service, self._certificates)
        if found:
            logger.warning("no connection to %s at %s yet: %s", self._service, self._target, found)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._of_now()[0].get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._of_now()[0].wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._of_now()[0].channel_ready()

    async def close(self, grace: float | None = None) -> None:
        for channel, _ in self._channels:
            await channel.close(grace)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


class _Stream:
    """A call that streams answers. It waits for a connection at most as long as its certificates are the present ones.

    A waiting call stays on its channel: with certificates that have ended meanwhile it would wait for ever.
    """

    def __init__(self, call: Any, channel: _SecureChannel) -> None:
        self._call = call
        self._channel = channel
        self._replaced = channel.replaced
        # Bound once, because it is called for every message.
        self.read = call.read
        self.write = getattr(call, "write", None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def wait_for_connection(self) -> None:
        """Waits. Errors: `AioRpcError` UNAVAILABLE, also when the certificates were replaced before."""
        connecting = asyncio.ensure_future(self._call.wait_for_connection())
        waiting = asyncio.ensure_future(self._replaced.wait())
        try:
            every_s, either = self._channel.explain_s, (connecting, waiting)
            while not (await asyncio.wait(either, timeout=every_s, return_when=asyncio.FIRST_COMPLETED))[0]:
                await self._channel.explain()
            if not connecting.done():
                nothing = grpc.aio.Metadata()
                said = "the certificates were replaced before there was a connection"
                raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, nothing, nothing, said)
            connecting.result()
        finally:
            waiting.cancel()
            if not connecting.done():
                connecting.cancel()
                self._call.cancel()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Any]:
        await self.wait_for_connection()
        async for message in self._call:
            yield message
