"""The one gRPC server bootstrap: allowed callers, health that starts as NOT_SERVING, deadlines, errors, telemetry, drain.

Without TLS, on a plain port or a Unix socket, every caller may call everything. With TLS a caller shows the certificate of a
service, and may call what the table of callers lets that service call. A certificate that is missing, has ended or is of another
authority ends the handshake. gRPC tells only its own log of that, so such connections are counted here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from stat import S_IMODE
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha.reflection import SERVICE_NAME as REFLECTION
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from services.messages import REQUEST_BYTES_MAX, ROW_ANSWER_BYTES_MAX
from services.runtime.certificates import DOMAIN, Certificates, GrpcServerConfig
from services.runtime.clients import TLS
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError, invalid
from services.runtime.lasting import Handlers, LastingServer
from services.runtime.telemetry import record_rpc, rpc_part
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# A unary call that came without a deadline is given up after this time; a caller that waits longer must say so.
_DEADLINE_S: Final = 120.0
_DEADLINE_S_MAX: Final = 3_600.0
# A probe connects, names a service, and leaves. One that stays takes nothing that others need, and is soon sent away.
_PROBES: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", 4 * 1024),
    ("grpc.so_reuseport", 0),
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_concurrent_streams", 4),
    ("grpc.max_connection_age_ms", 5_000),
    ("grpc.max_connection_age_grace_ms", 1_000),
]
# The name whose health is SERVING even while nothing else is; a process that does not answer for it hangs.
LIVENESS: Final = "liveness"
# Callers get to see NOT_SERVING for this long before the server refuses new calls.
_DRAIN_NOTICE_S: Final = 0.1


# At most this many connections are remembered to have brought a call.
_CONNECTIONS_KNOWN_MAX: Final = 4_096
# At most this many calls of a connection are under way; gRPC refuses further ones, so that our clients make fewer. Each may hold a
# message that has not come whole, and without a bound a connection that resets its calls at once has thousands of them begun.
_CALLS_A_CONNECTION_MAX: Final = 32


class GrpcServer:
    """A gRPC server with health. Register servicers on `server`, then `listen`, or `serve` as a config says."""

    def __init__(
        self,
        service_names: Sequence[str],
        callers: Mapping[str, frozenset[str]] | None = None,
        *,
        request_bytes_max: int = REQUEST_BYTES_MAX,
        reflection: bool = False,
        refusals_logged_s: float = 10.0,
        greeting_s: float = 10.0,
    ) -> None:
        """`callers`: "/package.Service/Method" -> the services that may call it with TLS; other methods are refused to all.

        Refused callers are logged once in `refusals_logged_s`, however many there are. A connection that has not begun to speak
        gRPC after `greeting_s` is closed.
        """
        self._guard = _Guard(callers or {}, refusals_logged_s)
        # Where servicers are registered.
        self.server: Any = Handlers()
        self._grpc = LastingServer(
            self.server,
            [
                ("grpc.max_receive_message_length", request_bytes_max),
                ("grpc.max_send_message_length", ROW_ANSWER_BYTES_MAX),
                ("grpc.max_concurrent_streams", _CALLS_A_CONNECTION_MAX),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
                ("grpc.server_handshake_timeout_ms", int(1_000 * greeting_s)),
            ],
            [_CallInterceptor(self._guard)],
        )
        self._names = [*service_names, ""]
        self._stopping = False
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        # Addresses of TLS and of health, once the server listens.
        self.tls_address = ""
        self.health_address = ""
        if reflection:
            told = reflection_aio.ReflectionServicer([*service_names, health.SERVICE_NAME, REFLECTION])
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(told, self.server)

    @asynccontextmanager
    async def serve(self, config: GrpcServerConfig, certificates: Certificates | None) -> AsyncIterator[str]:
        """Listens by the config, and keeps the certificates up to date; yields the address for other services.

        Errors: `OSError` when an address cannot be bound; `ConfigError` for a Unix socket in a folder that others may enter.
        """
        host = config.listen_address.rpartition(":")[0]
        tls_at = None
        plain_at: str | None = config.listen_address
        if config.grpc_tls != "off" and config.listen_address.startswith("unix:"):
            _check_folder(Path(config.listen_address.removeprefix("unix:")).parent)
        elif config.grpc_tls != "off":
            tls_at = config.listen_address if config.grpc_tls_port is None else f"{host}:{config.grpc_tls_port}"
            plain_at = plain_at if config.grpc_tls == "both" else None
        async with AsyncExitStack() as stack:
            await self._begin()
            if config.health_port is not None:
                await stack.enter_async_context(self._tell_health(f"{host}:{config.health_port}"))
            if tls_at is not None:
                assert certificates is not None
                self._guard.on()
                self.tls_address = self._grpc.bind(tls_at, partial(certificates.server_credentials, self._guard.greeted))
                logger.info("TLS at %s", self.tls_address)
                await stack.enter_async_context(_running(self._guard.watch(), "grpc-handshakes"))
            yield await stack.enter_async_context(self.listen(plain_at))

    @asynccontextmanager
    async def listen(self, address: str | None, drain_grace_s: float = 5.0) -> AsyncIterator[str]:
        """Listens on "host:port" (port 0: any) or "unix:/path", without TLS, and yields the address; drains when the block is left.

        None: TLS alone is offered, elsewhere. Health stays NOT_SERVING until `set_serving`. Errors: `OSError` when the address
        cannot be bound.
        """
        await self._begin()
        bound = TLS + self.tls_address if address is None else self._grpc.bind(address)
        async with self._grpc.running(drain_grace_s):
            try:
                yield bound
            finally:
                await self.stop_serving()

    async def _begin(self) -> None:
        # grpcio's health servicer starts as SERVING, which nobody may see.
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)

    @asynccontextmanager
    async def _tell_health(self, address: str) -> AsyncIterator[None]:
        """Tells health and nothing else, to probes, which have no certificate."""
        handlers = Handlers()
        # Watch would last for as long as its caller likes.
        check = grpc.unary_unary_rpc_method_handler(
            self._health.Check,
            request_deserializer=health_pb2.HealthCheckRequest.FromString,
            response_serializer=health_pb2.HealthCheckResponse.SerializeToString,
        )
        handlers.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(health.SERVICE_NAME, {"Check": check}),))
        server = LastingServer(handlers, _PROBES)
        self.health_address = server.bind(address)
        logger.info("health at %s", self.health_address)
        async with server.running():
            yield

    async def set_serving(self) -> None:
        """Sets health to SERVING, until `stop_serving`."""
        if not self._stopping:
            await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def stop_serving(self) -> None:
        """Sets health to NOT_SERVING; returns once callers have had the time to see it. A stop begins with this."""
        if self._stopping:
            return
        self._stopping = True
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await asyncio.sleep(_DRAIN_NOTICE_S)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in self._names:
            await self._health.set(name, status)


def _check_folder(folder: Path) -> None:
    """Checks a socket's folder. Errors: `ConfigError` for a folder that users other than its owner may enter."""
    mode = S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        raise ConfigError(f"listen_address: others may enter {folder}, which has mode {mode:04o}; grpc_tls wants 0700 of it")


@asynccontextmanager
async def _running(work: Any, name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _Guard:
    """Checks callers by the table of callers, and logs refused ones at a bounded rate."""

    def __init__(self, callers: Mapping[str, frozenset[str]], logged_s: float) -> None:
        self._callers = callers
        self._log_s = logged_s
        self._on = False
        self._greeted = 0
        # Addresses of the other ends of connections that brought a call.
        self._known: OrderedDict[str, None] = OrderedDict()
        self._called = 0
        self._refused = 0
        self._logged_at_s = -logged_s

    def on(self) -> None:
        """Notes that there is a port with TLS."""
        self._on = True

    def greeted(self) -> None:
        """Counts a connection that has begun its handshake."""
        self._greeted += 1

    async def check(self, method: str, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Ends a call that is not permitted with PERMISSION_DENIED, before anything is done for it."""
        if not self._on:
            return
        facts = context.auth_context()
        if facts.get("transport_security_type") != [b"ssl"]:
            # The call came by the plain port.
            return
        self._note(context.peer())
        names = [name.decode("ascii", "replace") for name in facts.get("peer_dns", ())]
        allowed = self._callers.get(method, frozenset())
        if not any(name.removesuffix(f".{DOMAIN}") in allowed for name in names if name.endswith(f".{DOMAIN}")):
            who = ", ".join(names) or "a caller without a name"
            self.log("%s may not call %s: see the table of callers", who, method)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{who} may not call {method}")

    def _note(self, peer: str) -> None:
        if peer not in self._known:
            self._known[peer] = None
            self._called += 1
            if len(self._known) > _CONNECTIONS_KNOWN_MAX:
                self._known.popitem(last=False)

    def log(self, message: str, *arguments: Any) -> None:
        """Logs what was refused, at a bounded rate."""
        self._refused += 1
        now_s = time.monotonic()
        if now_s - self._logged_at_s >= self._log_s:
            others, self._refused, self._logged_at_s = self._refused - 1, 0, now_s
            logger.warning(f"{message}; %d more were refused since the last such line", *arguments, others)

    async def watch(self) -> None:
        """Logs the number of connections that brought no call, until it is cancelled."""
        logged = 0
        while True:
            greeted = self._greeted
            # The call may come a little later than its handshake.
            await asyncio.sleep(self._log_s)
            silent = greeted - self._called - logged
            if silent > 0:
                logged += silent
                logger.warning(
                    "%d connections with TLS brought no call: a caller gets no further without a certificate, or with one that "
                    "ended or is of another authority; a replica that only checks whether this one lives brings no call; with "
                    "GRPC_VERBOSITY=INFO gRPC logs the reason each time",
                    silent,
                )


class _CallInterceptor(grpc.aio.ServerInterceptor):
    """Refuses callers that may not call, bounds unary calls in time, turns `ServiceError` into a status, and records every call."""

    def __init__(self, guard: _Guard) -> None:
        self._guard = guard
        # A server that gRPC has ended refers to its calls no more, and asyncio alone would let them be collected.
        self._under_way: set[asyncio.Task[Any]] = set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            # These are unknown methods, and health and reflection, which answer for themselves.
            return handler  # type: ignore[no-any-return]  # the stubs know only synchronous handlers
        metadata = handler_call_details.invocation_metadata
        check = self._guard.check
        read = self._reading(method, handler.request_deserializer)
        if handler.response_streaming:
            streamed = handler.request_streaming
            make: Any = grpc.stream_stream_rpc_method_handler if streamed else grpc.unary_stream_rpc_method_handler
            inner = handler.stream_stream if streamed else handler.unary_stream

            async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                try:
                    await check(method, context)
                    async for response in inner(request if streamed else read(request), context):
                        yield response
                except BaseException as error:
                    await _abort(method, error, context)

            return make(stream, read if streamed else None, handler.response_serializer)  # type: ignore[no-any-return]

        unary: Any = handler.unary_unary

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = time.perf_counter()
            code = grpc.StatusCode.OK
            remaining_s = context.time_remaining()
            part = rpc_part(method, metadata)
            try:
                await check(method, context)
                async with asyncio.timeout(min(remaining_s or _DEADLINE_S, _DEADLINE_S_MAX)):
                    return await unary(read(request), context)
            except BaseException as error:
                code = error.status_code if isinstance(error, ServiceError) else grpc.StatusCode.INTERNAL
                await _abort(method, error, context)
            finally:
                if part is not None:
                    part.end("" if code is grpc.StatusCode.OK else code.name)
                record_rpc(method, code.name, time.perf_counter() - began)

        # gRPC would log a request that cannot be read with a traceback, however many there are.
        return grpc.unary_unary_rpc_method_handler(call, None, handler.response_serializer)

    def _reading(self, method: str, deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """Reads a method's messages. Errors: `ServiceError` INVALID_ARGUMENT for one that is no such message."""

        def read(content: bytes) -> Any:
            try:
                return deserialize(content)
            except DecodeError as error:
                self._guard.log("a caller of %s sent a message that cannot be read", method)
                raise invalid(f"the message is none of {method}; send what its contract says") from error

        return read


async def _abort(method: str, error: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Ends the call with the status of `error`; always raises."""
    if isinstance(error, ServiceError):
        await context.abort_with_status(error.to_status())
    if isinstance(error, TimeoutError):
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"{method} did not finish in time; a repeat is safe")
    if isinstance(error, asyncio.CancelledError | grpc.aio.AbortError | GeneratorExit):
        raise error
    logger.error("%s failed", method, exc_info=error)
    fault = ServiceError(errors_pb2.ERROR_REASON_INTERNAL, f"{method} failed inside the service; its log says why")
    await context.abort_with_status(fault.to_status())
