"""Vendors over HTTP, for the operator: whether each answers and takes our secret."""

from typing import Any

from litestar import Request, post
from litestar.handlers import HTTPRouteHandler

from services.edge.api.admin.body import Empty, parse
from services.edge.call.vendor_checks import VendorChecks
from services.edge.catalog import CatalogHolder
from services.edge.http.problems import unavailable


def vendor_check_routes(catalog: CatalogHolder, checks: VendorChecks) -> list[HTTPRouteHandler]:
    """The route, without the guard that opens it."""

    @post("/vendors/check", status_code=200)
    async def check(request: Request[Any, Any, Any]) -> dict[str, Any]:
        parse(await request.body(), Empty)
        if catalog.current is None:
            raise unavailable("the catalog is not loaded yet")
        return {"data": await checks.lines(catalog.current)}

    return [check]
