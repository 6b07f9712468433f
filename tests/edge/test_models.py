from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from services.edge.api.models import AccountOfferings, Held
from services.runtime.clients import connect
from services.runtime.clock import SystemClock
from services.runtime.errors import ServiceError
from tests.edge.system import Cell, Reply, cell
from tests.openapi.conformance import assert_documented
from tests.registry.catalogs import CATALOG
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A vendor's own name of a model has a slash more often than not.
WITH_SLASH = CATALOG.replace("  - model_id: large\n", "  - model_id: acme/large\n")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell"), catalog=WITH_SLASH) as services:
        await services.ready()
        yield services


async def test_a_key_sees_the_models_of_its_offering(running: Cell) -> None:
    _, api_key = await running.subscriber("metered", "metered")
    listed = await running.call("GET", "/v1/models", api_key)
    assert listed.status == 200
    assert listed.json == {
        "object": "list",
        "data": [
            {
                "id": "small",
                "object": "model",
                "created": 1_767_312_000,
                "owned_by": "acme",
                "context_window": 1_000,
                "max_output_tokens": 500,
                "measures": {"input": "token", "output": "token"},
                "pricing": {
                    "unit": "CURRENCY",
                    "currency": "USD",
                    "tiers": [
                        tier(-1, 280_000, 2_800, 280_000, 420_000, 420_000),
                        tier(100, 500_000, 500_000, 500_000, 1_000_000, 1_000_000),
                        tier(200, 600_000, 600_000, 600_000, 2_000_000, 3_000_000),
                    ],
                },
            }
        ],
    }


def tier(above: int, *rates: int) -> dict[str, int]:
    classes = ("input", "cached_input", "cache_write", "output", "reasoning")
    return {"above_input_tokens": above, **dict(zip(classes, rates, strict=True))}


async def test_the_default_offering_has_all_models_at_one_unit_a_token(running: Cell) -> None:
    _, api_key = await running.subscriber("everything")
    models = (await running.call("GET", "/v1/models", api_key)).json["data"]
    assert [model["id"] for model in models] == ["acme/large", "small"]
    for model in models:
        assert model["pricing"] == {"unit": "TOKEN", "currency": None, "tiers": [tier(-1, *[10**12] * 5)]}


@pytest.mark.parametrize("path", ["acme/large", "acme%2Flarge", "small"])
async def test_one_model_is_found_by_its_id_with_or_without_slashes(running: Cell, path: str) -> None:
    _, api_key = await running.subscriber("everything")
    found = await running.call("GET", f"/v1/models/{path}", api_key)
    assert (found.status, found.json["id"], found.json["object"]) == (200, path.replace("%2F", "/"), "model")


@pytest.mark.parametrize("model_id", ["acme/large", "nothing", "acme", "small/er"])
async def test_a_model_that_is_not_in_the_offering_is_as_unknown_as_one_that_does_not_exist(running: Cell, model_id: str) -> None:
    _, api_key = await running.subscriber("metered", "metered")
    missing = await running.call("GET", f"/v1/models/{model_id}", api_key)
    assert (missing.status, missing.error["code"], missing.error["param"]) == (404, "model_not_found", "model")
    assert f"`{model_id}`" in missing.error["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/small"])
async def test_without_a_key_nothing_is_listed(running: Cell, path: str) -> None:
    refused = await running.call("GET", path)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


async def test_a_model_that_no_configured_vendor_has_is_not_listed(tmp_path: Path) -> None:
    async with cell(tmp_path, "registry", "authentication", "accounting", "edge") as running:
        await running.ready()
        _, api_key = await running.subscriber("everything")
        assert (await running.call("GET", "/v1/models", api_key)).json == {"object": "list", "data": []}
        assert (await running.call("GET", "/v1/models/small", api_key)).status == 404


async def test_an_accounts_offering_is_asked_for_once_in_a_while(running: Cell) -> None:
    account_id, _ = await running.subscriber("metered", "metered")
    now_s = 0.0
    async with connect(running.address("accounting")) as channel:
        offerings = AccountOfferings(accounting_pb2_grpc.AccountingServiceStub(channel), SystemClock(), 5.0, lambda: now_s)
        assert await offerings.held(account_id) == (Held("metered"),)
        with pytest.raises(ServiceError) as unknown:
            await offerings.held("acct-0123456789abcdef")
        assert unknown.value.reason == errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN
    # The channel is closed: what is answered now is remembered.
    assert await offerings.held(account_id) == (Held("metered"),)
    now_s = 5.0
    with pytest.raises(Exception, match="closed"):
        await offerings.held(account_id)


# Models of what was bought, and of dedicated routes

PACK = """\
    reservation_policy: worst_case
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000, valid_days: 10}
"""
# Large is on a dedicated line, which two packs open; one of them pays for a group of models that has not got it.
DEDICATED = f"""\
{CATALOG.replace("vendor_model_id: acme-large", "offering_ids: [line, some], vendor_model_id: acme-large")}
  - offering_id: line
    display_name: Line
    tariff_id: flat
    model_ids: [large]
{PACK}
  - offering_id: some
    display_name: Some
    tariff_id: flat
{PACK.replace("valid_days", "model_group: cheap, valid_days")}
model_groups:
  - {{group_id: cheap, model_ids: [small]}}
"""


async def listed(running: Cell, api_key: str) -> dict[str, str]:
    """The models that a key is told, with the units of their prices."""
    models = (await running.call("GET", "/v1/models", api_key)).json["data"]
    for each in models:
        assert (await running.call("GET", f"/v1/models/{each['id']}", api_key)).json == each
    return {each["id"]: each["pricing"]["unit"] for each in models}


async def test_a_key_sees_what_its_account_bought_and_no_model_of_a_line_that_is_for_others(tmp_path: Path) -> None:
    async with cell(tmp_path, catalog=DEDICATED) as running:
        await running.ready()
        _, stranger = await running.subscriber("stranger")
        assert await listed(running, stranger) == {"small": "TOKEN"}
        assert (await running.call("GET", "/v1/models/large", stranger)).status == 404
        assert [each["id"] for each in (await running.call("GET", "/v1/prices")).json["data"]] == ["small"]

        for bought, known in (("line", {"small": "CURRENCY", "large": "TOKEN"}), ("some", {"small": "CURRENCY"})):
            account_id, api_key = await running.subscriber(bought, "metered")
            order = {"offering_id": bought, "idempotency_key": "order-1"}
            assert (await running.admin("POST", f"/accounts/{account_id}/orders", order)).json["state"] == "completed"
            assert await listed(running, api_key) == known


# Anthropic's shape


async def anthropic(running: Cell, path: str, api_key: str, version: str = "2023-06-01") -> Reply:
    headers = {"x-api-key": api_key, "anthropic-version": version}
    async with aiohttp.ClientSession() as http, http.get(running.base_url.removesuffix("/v1") + path, headers=headers) as response:
        reply = Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())
    assert reply.headers["request-id"] == reply.headers["x-request-id"]
    return reply


LARGE = {"type": "model", "id": "acme/large", "display_name": "Large", "created_at": "2026-01-03T00:00:00Z"}
SMALL = {"type": "model", "id": "small", "display_name": "Small", "created_at": "2026-01-02T00:00:00Z"}


async def test_clients_of_anthropics_get_the_newest_first_in_their_shape(running: Cell) -> None:
    _, api_key = await running.subscriber("everything")
    listed = await anthropic(running, "/v1/models", api_key)
    assert listed.status == 200
    assert listed.json == {"data": [LARGE, SMALL], "has_more": False, "first_id": "acme/large", "last_id": "small"}
    assert (await anthropic(running, "/v1/models/acme/large", api_key)).json == LARGE
    first = await anthropic(running, "/v1/models?limit=1", api_key)
    assert first.json == {"data": [LARGE], "has_more": True, "first_id": "acme/large", "last_id": "acme/large"}
    second = await anthropic(running, "/v1/models?limit=1&after_id=acme/large", api_key)
    assert second.json == {"data": [SMALL], "has_more": False, "first_id": "small", "last_id": "small"}


@pytest.mark.parametrize(
    ("path", "api_key", "status", "kind"),
    [
        ("/v1/models", "tl-local-wrong", 401, "authentication_error"),
        ("/v1/models/nothing", "", 404, "not_found_error"),
        ("/v1/models?limit=0", "", 400, "invalid_request_error"),
        ("/v1/nothing", "", 404, "not_found_error"),
    ],
)
async def test_clients_of_anthropics_get_errors_in_their_shape(
    running: Cell, path: str, api_key: str, status: int, kind: str
) -> None:
    _, own_key = await running.subscriber("everything")
    refused = await anthropic(running, path, api_key or own_key)
    assert refused.status == status
    assert (refused.json["type"], refused.json["error"]["type"]) == ("error", kind)
    assert refused.json["request_id"] == refused.headers["request-id"]
    assert_documented("GET", path, refused.status, refused.headers, refused.body)


async def test_a_service_that_is_away_is_an_overload_to_anthropics_clients(tmp_path: Path) -> None:
    async with cell(tmp_path) as running:
        await running.ready()
        _, api_key = await running.subscriber("everything")
        await running.stop("accounting")
        refused = await anthropic(running, "/v1/models", api_key)
    assert (refused.status, refused.json["error"]["type"]) == (529, "overloaded_error")
    assert_documented("GET", "/v1/models", refused.status, refused.headers, refused.body)
