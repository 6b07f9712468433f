"""The catalog in force over HTTP, for the operator: models and offerings."""

from typing import Any

from google.protobuf.json_format import MessageToDict
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN
from services.edge.catalog import CatalogHolder, Snapshot
from services.edge.http.problems import not_found, unavailable
from tokenline.registry.v1 import registry_pb2


def catalog_routes(catalog: CatalogHolder) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    def in_force() -> Snapshot:
        if catalog.current is None:
            raise unavailable("the catalog is not loaded yet")
        return catalog.current

    @get("/models")
    async def list_models() -> dict[str, Any]:
        return {
            "data": [
                {
                    "model_id": model.model_id,
                    "display_name": model.display_name,
                    "owned_by": model.owned_by,
                    "context_window_tokens": model.context_window_tokens,
                    "max_output_tokens": model.max_output_tokens,
                    "routes": [
                        {
                            "vendor_id": route.vendor_id,
                            "vendor_model_id": route.vendor_model_id,
                            "priority": route.priority,
                            "weight": route.weight or 1,
                            "edge_concurrency_max": route.edge_concurrency_max,
                            "requests_per_minute": route.requests_per_minute,
                            "tokens_per_minute": route.tokens_per_minute,
                            "region": route.region,
                            "offering_ids": list(route.offering_ids),
                        }
                        for route in model.routes
                    ],
                }
                for model in in_force().catalog.models
            ]
        }

    @get("/offerings")
    async def list_offerings() -> dict[str, Any]:
        snapshot = in_force()
        sold = {offering.offering_id: offering for offering in snapshot.catalog.offerings}
        return {
            **AMOUNTS_IN,
            "data": [
                {
                    "offering_id": offering.offering_id,
                    "display_name": offering.display_name,
                    "unit": offering.unit,
                    "currency": offering.currency,
                    "tariff_id": offering.tariff_id,
                    "tariff_version": offering.tariff_version,
                    "models": len(offering.prices),
                    "priority_class": offering.priority_class.name.lower(),
                    "default": offering.offering_id == snapshot.catalog.default_offering_id,
                    **_terms_json(sold[offering.offering_id]),
                }
                for offering in snapshot.offerings()
            ],
        }

    @get("/offerings/{offering_id:str}")
    async def show_offering(offering_id: FromPath[str]) -> dict[str, Any]:
        offering = next((each for each in in_force().catalog.offerings if each.offering_id == offering_id), None)
        if offering is None:
            message = f"The catalog has no offering {offering_id!r}; GET /v1/admin/offerings lists them."
            raise not_found("offering_not_found", message, "offering_id")
        return {**AMOUNTS_IN, **MessageToDict(offering, preserving_proto_field_name=True)}

    return [list_models, list_offerings, show_offering]


def _terms_json(offering: registry_pb2.Offering) -> dict[str, Any]:
    """Whether an offering is sold, its price, cycle and allowances; nothing is paid for one without a price."""
    period = registry_pb2.Period.Name(offering.cycle.period).removeprefix("PERIOD_").lower()
    count = offering.cycle.count or 1
    return {
        "withdrawn": offering.withdrawn,
        "only_granted": offering.only_granted,
        "price": {"amount": offering.price.amount, "currency": offering.price.currency} if offering.HasField("price") else None,
        "cycle": (period if count == 1 else f"{count} {period}s") if offering.HasField("cycle") else None,
        "allowances": [
            {
                "allowance_id": each.allowance_id,
                "unit": registry_pb2.Unit.Name(each.unit).removeprefix("UNIT_"),
                "currency": each.currency or None,
                "amount": each.amount,
                "postpaid": each.postpaid,
            }
            for each in offering.allowances
        ],
    }
