"""GET /healthz, /readyz and /metrics: for probes and Prometheus."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from services.runtime.telemetry import prometheus_page

# A page is made at most this often, however many readers there are.
_PAGE_S: Final = 1.0


class _Page:
    """The page of metrics. A thread makes it, because that takes milliseconds; all readers of a moment share one page."""

    def __init__(self) -> None:
        self._made: tuple[str, bytes] | None = None
        self._made_s = 0.0
        self._making: asyncio.Task[tuple[str, bytes]] | None = None

    async def read(self) -> tuple[str, bytes]:
        """Content type and body, at most a moment old."""
        if self._made is not None and time.monotonic() - self._made_s < _PAGE_S:
            return self._made
        if self._making is None or self._making.done():
            self._making = asyncio.create_task(self._make(), name="metrics")
        # Shielded, because one reader that goes away must not take the page from the others.
        return await asyncio.shield(self._making)

    async def _make(self) -> tuple[str, bytes]:
        made = await asyncio.to_thread(prometheus_page)
        self._made, self._made_s = made, time.monotonic()
        return made


def health_routes(conditions: Mapping[str, Callable[[], bool]]) -> list[HTTPRouteHandler]:
    """The routes. The process is ready while all `conditions` hold; the answer names those that do not."""
    page = _Page()

    @get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"alive": True}

    @get("/readyz")
    async def readyz() -> Response[dict[str, Any]]:
        missing = [name for name, holds in conditions.items() if not holds()]
        return Response({"ready": not missing, "missing": missing}, status_code=503 if missing else 200)

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        content_type, body = await page.read()
        return Response(body, headers={"content-type": content_type})

    return [healthz, readyz, metrics]
