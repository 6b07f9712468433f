"""Channels to other services: bounded, reconnecting, and with typed errors."""

from collections.abc import Awaitable
from typing import Any, Final, TypeVar

import grpc

from services.runtime.errors import from_rpc

Response = TypeVar("Response")

_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", 256 * 1024 * 1024),
    ("grpc.max_send_message_length", 256 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Many services of one process share nothing by default: each channel has its own connection.
    ("grpc.use_local_subchannel_pool", 1),
]


def connect(address: str) -> grpc.aio.Channel:
    """A channel to "host:port" or "unix:/path". It connects when first used; close it at the end."""
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def answer(call: Awaitable[Response]) -> Response:
    """Awaits a unary call, made with a timeout. Errors: `ServiceError` for whatever went wrong."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
