"""GET /healthz, /readyz and /metrics: for probes and Prometheus."""

from collections.abc import Callable, Mapping
from typing import Any

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from services.runtime.instruments import CONTENT_TYPE
from services.runtime.metrics import MetricsPage


def health_routes(conditions: Mapping[str, Callable[[], bool]]) -> list[HTTPRouteHandler]:
    """The routes. The process is ready while all `conditions` hold; the answer names those that do not."""
    page = MetricsPage()

    @get("/healthz")
    async def healthz() -> dict[str, Any]:
        return {"alive": True}

    @get("/readyz")
    async def readyz() -> Response[dict[str, Any]]:
        missing = [name for name, holds in conditions.items() if not holds()]
        return Response({"ready": not missing, "missing": missing}, status_code=503 if missing else 200)

    @get("/metrics")
    async def metrics() -> Response[bytes]:
        return Response(await page.read(), headers={"content-type": CONTENT_TYPE})

    return [healthz, readyz, metrics]
