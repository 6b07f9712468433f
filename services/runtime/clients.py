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
    # A server that was frozen, or cut off, is noticed within 4 s.
    ("grpc.keepalive_time_ms", 2_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.http2.max_pings_without_data", 0),
    # Many services of one process share nothing by default: each channel has its own connection.
    ("grpc.use_local_subchannel_pool", 1),
]


def connect(address: str) -> grpc.aio.Channel:
    """A channel to "host:port", "unix:/path" or any target that gRPC resolves; it connects when first used, close it at the end.

    Of several addresses ("ipv4:HOST:PORT,HOST:PORT", or a DNS name with several) it keeps to one until that fails.
    """
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


async def answer(call: Awaitable[Response]) -> Response:
    """Awaits a unary call, made with a timeout. Errors: `ServiceError` for whatever went wrong."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
