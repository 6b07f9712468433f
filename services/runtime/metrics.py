"""The page of metrics, and a listener that tells it to Prometheus where a service has no HTTP of its own."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from services.runtime.http.exchange import Exchange
from services.runtime.http.limits import HttpLimits
from services.runtime.http.listener import listen_http
from services.runtime.instruments import CONTENT_TYPE, page
from services.runtime.telemetry import TelemetryConfig

# A page is made at most this often, however many read it.
_PAGE_S: Final = 1.0
# Prometheus, and whoever else is let in, of whom none can keep it out.
_LIMITS: Final = HttpLimits(connections_max=64)
_DRAIN_S: Final = 1.0


class MetricsPage:
    """The page of metrics: made in a thread, since that takes milliseconds, for all who ask meanwhile, and kept for a moment."""

    def __init__(self) -> None:
        self._made: bytes | None = None
        self._made_s = 0.0
        self._making: asyncio.Task[bytes] | None = None

    async def read(self) -> bytes:
        """The page, as it is now or was a moment ago; its type is `CONTENT_TYPE`."""
        if self._made is not None and time.monotonic() - self._made_s < _PAGE_S:
            return self._made
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="metrics")
        # One reader that goes away must not take the page from the others.
        return await asyncio.shield(self._making)

    async def _make(self) -> bytes:
        made = await asyncio.to_thread(page)
        self._made, self._made_s = made, time.monotonic()
        return made


@asynccontextmanager
async def listen_to_prometheus(config: TelemetryConfig) -> AsyncIterator[None]:
    """Tells metrics at /metrics of `metrics_port`, if there is one. Errors: `OSError` when the address cannot be bound."""
    metrics = MetricsPage()

    async def tell(exchange: Exchange) -> None:
        if exchange.path != "/metrics":
            exchange.whole(404, [(b"content-type", b"text/plain")], b"Metrics are at /metrics.\n")
            return
        exchange.whole(200, [(b"content-type", CONTENT_TYPE.encode("ascii"))], await metrics.read())

    async with AsyncExitStack() as stack:
        if config.metrics_port:
            listening = listen_http(tell, config.metrics_host, config.metrics_port, drain_s=_DRAIN_S, limits=_LIMITS)
            try:
                await stack.enter_async_context(listening)
            except OSError as error:
                raise OSError(f"for Prometheus, telemetry.metrics_port: {error}") from error
        yield
