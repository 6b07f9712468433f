"""The one gRPC server bootstrap: health that starts as NOT_SERVING, reflection, deadlines, errors, telemetry, drain."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.errors import ServiceError
from services.runtime.telemetry import record_rpc, rpc_server_span
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# A unary call that came without a deadline is given up after this time; a caller who waits longer must say so.
_DEADLINE_S: Final = 120.0
_DEADLINE_S_MAX: Final = 3_600.0
# A journal row travels whole, and a stall on one partition can gather thousands of entries in a row.
_MESSAGE_BYTES_MAX: Final = 256 * 1024 * 1024
# The name whose health is SERVING also while nothing else is: whoever gets no answer to it talks to a process that hangs.
LIVENESS: Final = "liveness"
# How long callers get to see NOT_SERVING before the server refuses new calls.
_DRAIN_NOTICE_S: Final = 0.1


class GrpcServer:
    """A gRPC server with health and reflection. Register servicers on `server`, then `listen`."""

    def __init__(self, service_names: Sequence[str]) -> None:
        self.server = grpc.aio.server(
            interceptors=[_CallInterceptor()],
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
            ],
        )
        self._names = [*service_names, ""]
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        reflection.enable_server_reflection([*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME], self.server)

    @asynccontextmanager
    async def listen(self, address: str, drain_grace_s: float = 5.0) -> AsyncIterator[str]:
        """Listens on "host:port" (port 0: any) or "unix:/path" and yields the address; drains when the block is left.

        Health stays NOT_SERVING until `set_serving`. Errors: `OSError` when the address cannot be bound.
        """
        # The health servicer of grpcio starts as SERVING; nobody may see that.
        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
        await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        try:
            port = self.server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: in use, or not an address of this machine") from error
        await self.server.start()
        bound = address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}"
        try:
            yield bound
        finally:
            await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)
            await asyncio.sleep(_DRAIN_NOTICE_S)
            await self.server.stop(drain_grace_s)

    async def set_serving(self) -> None:
        """Health says SERVING from now on."""
        await self._set_health(health_pb2.HealthCheckResponse.SERVING)

    async def _set_health(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        for name in self._names:
            await self._health.set(name, status)


class _CallInterceptor(grpc.aio.ServerInterceptor):
    """Bounds unary calls in time, turns `ServiceError` into a status, and records every call."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        handler: Any = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith("/grpc."):
            # Unknown methods, and health and reflection, which answer for themselves.
            return handler  # type: ignore[no-any-return]  # the stubs know only synchronous handlers
        metadata = handler_call_details.invocation_metadata
        if handler.response_streaming:
            make: Any = grpc.stream_stream_rpc_method_handler if handler.request_streaming else grpc.unary_stream_rpc_method_handler
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

            async def stream(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                try:
                    async for response in inner(request, context):
                        yield response
                except BaseException as error:
                    await _abort(method, error, context)

            return make(stream, handler.request_deserializer, handler.response_serializer)  # type: ignore[no-any-return]

        unary: Any = handler.unary_unary

        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            began = time.perf_counter()
            code = grpc.StatusCode.OK
            remaining_s = context.time_remaining()
            try:
                with rpc_server_span(method, metadata):
                    async with asyncio.timeout(min(remaining_s or _DEADLINE_S, _DEADLINE_S_MAX)):
                        return await unary(request, context)
            except BaseException as error:
                code = error.status_code if isinstance(error, ServiceError) else grpc.StatusCode.INTERNAL
                await _abort(method, error, context)
            finally:
                record_rpc(method, code.name, time.perf_counter() - began)

        return grpc.unary_unary_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)


async def _abort(method: str, error: BaseException, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Ends the call with the status that `error` stands for; always raises."""
    if isinstance(error, ServiceError):
        await context.abort_with_status(error.to_status())
    if isinstance(error, TimeoutError):
        await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"{method} did not finish in time; a repeat is safe")
    if isinstance(error, asyncio.CancelledError | grpc.aio.AbortError | GeneratorExit):
        raise error
    logger.error("%s failed", method, exc_info=error)
    fault = ServiceError(errors_pb2.ERROR_REASON_INTERNAL, f"{method} failed inside the service; its log says why")
    await context.abort_with_status(fault.to_status())
