"""GET /v1/prices: the public price list, which needs no key."""

import asyncio
from typing import Any, Final

from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler

from services.edge.catalog import CatalogHolder, Snapshot
from services.edge.http.problems import unavailable
from services.edge.prices import PriceList, price_list

# A client that keeps the list asks each time whether it still holds.
_KEPT: Final = {"cache-control": "public, no-cache", "vary": "accept-encoding"}


class PriceLists:
    """The list of the catalog in force, made once for each version and moment of it, so that asking costs next to nothing."""

    def __init__(self, catalog: CatalogHolder) -> None:
        self._catalog = catalog
        self._made: tuple[Snapshot, PriceList] | None = None
        self._making = asyncio.Lock()

    async def current(self) -> PriceList:
        """The list as it is now. Errors: `ServiceError` UNAVAILABLE until there is a catalog."""
        async with self._making:
            snapshot = self._catalog.current
            if snapshot is None:
                raise unavailable("the catalog is not loaded yet")
            if self._made is None or self._made[0] is not snapshot:
                # A thread of its own, because calls wait for nothing.
                self._made = snapshot, await asyncio.to_thread(price_list, snapshot)
            return self._made[1]


def prices_routes(catalog: CatalogHolder) -> list[HTTPRouteHandler]:
    """GET and HEAD /v1/prices. With an entity tag in If-None-Match that still holds, the answer is 304."""
    lists = PriceLists(catalog)

    @route("/v1/prices", http_method=[HttpMethod.GET, HttpMethod.HEAD])
    async def list_prices(request: Request[Any, Any, Any]) -> Response[bytes]:
        listed = await lists.current()
        headers = {**_KEPT, "etag": listed.tag}
        known = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}
        if known & {listed.tag, listed.tag.removeprefix("W/"), "*"}:
            return Response(b"", status_code=304, headers=headers)
        headers["content-type"] = "application/json"
        if _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(listed.packed, headers={**headers, "content-encoding": "gzip"})
        return Response(listed.body, headers=headers)

    return [list_prices]


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding takes gzip: by its name, else as any; a quality of 0 refuses (RFC 9110, section 12.5.3)."""
    qualities = {}
    for each in accepted.lower().split(","):
        name, _, parameters = each.partition(";")
        quality = parameters.replace(" ", "").removeprefix("q=")
        qualities[name.strip()] = not quality or quality.strip("0.") != ""
    return qualities.get("gzip", qualities.get("*", False))
