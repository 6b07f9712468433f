"""GET /v1/prices: public, side by side, kept until it changes; a model is called by its alias."""

import gzip
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from services.edge.catalog import Snapshot
from services.edge.prices import price_list
from services.registry.catalog_folder import base_catalog_folder, load_catalog
from tests.edge.system import Cell, cell
from tests.edge.test_app import BUCKET
from tests.registry.catalogs import changed, write
from tests.registry.test_facts import CONTRACT, FACTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

PUBLIC = changed("    currency: USD\n", "    currency: USD\n    public: true\n", FACTS) + CONTRACT


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell"), catalog=PUBLIC) as services:
        await services.ready()
        yield services


async def test_the_list_needs_no_key_and_shows_public_tariffs_alone(running: Cell) -> None:
    listed = await running.call("GET", "/v1/prices")
    assert listed.status == 200
    assert listed.json["tariffs"] == [
        {"id": "usd", "version": 3, "unit": "CURRENCY", "currency": "USD", "source": "Acme's price list of 2026-01-02."}
    ]
    assert listed.json["sources"] == [{"id": "survey", "title": "A survey", "date": "2026-11-20"}]
    large, small = listed.json["data"]
    assert small == {
        "id": "small",
        "aliases": ["tiny"],
        "display_name": "Small",
        "owned_by": "acme",
        "context_window": 1_000,
        "max_output_tokens": 500,
        "measures": {"input": "token", "output": "token"},
        "released": None,
        "sunset": "2027-06-30",
        "equivalents": [],
        "sources": ["survey"],
        "conflict": "a card says 400",
        "prices": {
            "usd": {
                "tiers": [
                    rates(-1, 280_000, 2_800, 280_000, 420_000, 420_000),
                    rates(100, 500_000, 500_000, 500_000, 1_000_000, 1_000_000),
                    rates(200, 600_000, 600_000, 600_000, 2_000_000, 3_000_000),
                ],
                "sources": ["survey"],
                "conflict": "a card says 0.3",
            }
        },
        "energy": [
            {
                "gpu": "H100",
                "per": "output_token",
                "task": "chat",
                "low": {"microjoules": 500_000, "batch": 64},
                "high": {"microjoules": 2_000_000, "batch": 8},
                "sources": ["survey"],
            }
        ],
    }
    # Not sold by that tariff, and nothing was measured.
    assert (large["id"], large["released"], large["prices"], large["energy"]) == ("large", "2026-01-03", {"usd": None}, None)


def rates(above: int, *each: int) -> dict[str, int]:
    classes = ("input", "cached_input", "cache_write", "output", "reasoning")
    return {"above_input_tokens": above, **dict(zip(classes, each, strict=True))}


async def test_a_client_that_has_the_list_is_told_that_it_holds_and_gets_it_packed(running: Cell) -> None:
    async with aiohttp.ClientSession(auto_decompress=False) as http:

        async def ask(**headers: str) -> tuple[int, dict[str, str], bytes]:
            async with http.get(
                running.base_url.removesuffix("/v1") + "/v1/prices", headers={"accept-encoding": "identity", **headers}
            ) as response:
                return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()

        status, headers, body = await ask()
        assert (status, headers["content-type"], headers["cache-control"]) == (200, "application/json", "public, no-cache")
        tag = headers["etag"]
        for known in (tag, f'"other", {tag}', "*"):
            status, headers, held = await ask(**{"if-none-match": known})
            assert (status, headers["etag"], held) == (304, tag, b"")
        assert (await ask(**{"if-none-match": 'W/"other"'}))[0] == 200
        status, headers, packed = await ask(**{"accept-encoding": "br, gzip"})
        assert (status, headers["content-encoding"], headers["vary"], gzip.decompress(packed)) == (
            200,
            "gzip",
            "accept-encoding",
            body,
        )


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("br, *;q=0", False),
        ("x-gzip-like", False),
        ("", False),
        ("GZIP;q=0.001", True),
        ("br;q=1.0, *;q=0.1", True),
    ],
)
async def test_the_list_is_packed_for_those_who_take_it_so(running: Cell, accepted: str, packed: bool) -> None:
    url = running.base_url.removesuffix("/v1") + "/v1/prices"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(url, headers={"accept-encoding": accepted}) as response,
    ):
        assert ("content-encoding" in response.headers) is packed
        body = await response.read()
        assert b'"data"' in (gzip.decompress(body) if packed else body)


async def test_the_head_of_the_list_is_had_without_it(running: Cell) -> None:
    async with aiohttp.ClientSession() as http:
        url = running.base_url.removesuffix("/v1") + "/v1/prices"
        async with http.get(url) as listed, http.head(url) as head:
            assert (head.status, await head.read()) == (200, b"")
            names = ("etag", "content-type", "content-length", "content-encoding", "vary")
            assert [head.headers.get(name) for name in names] == [listed.headers.get(name) for name in names]


async def test_the_list_changes_in_the_moment_in_which_the_charge_does(tmp_path: Path) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=3)
    upcoming = (
        f"    upcoming:\n      - version: 4\n        effective_time: {moment.isoformat()}\n        rates:\n"
        "          - {model_id: small, input: 7, output: 9}\noffering"
    )
    async with cell(tmp_path, catalog=changed("offerings:\n", upcoming + "s:\n", PUBLIC)) as services:
        await services.ready()

        async def listed() -> tuple[int, int]:
            told = (await services.call("GET", "/v1/prices")).json
            return told["tariffs"][0]["version"], told["data"][1]["prices"]["usd"]["tiers"][0]["input"]

        seen = 0
        while time.time() < moment.timestamp():
            shown = await listed()
            if time.time() < moment.timestamp():
                assert shown == (3, 280_000)
                seen += 1
        assert seen
        assert await listed() == (4, 7_000_000)


async def test_a_model_is_called_by_its_alias_and_charged_as_itself(running: Cell) -> None:
    account_id, api_key = await running.subscriber("by-alias", "metered")
    bucket = {**BUCKET, "unit": "CURRENCY", "currency": "USD"}
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", bucket)).status == 201
    body: dict[str, Any] = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "12345678"}],
        "simulate": {"output_tokens": 7},
    }
    answered = await running.call("POST", "/v1/chat/completions", api_key, body)
    assert answered.status == 200, answered.body
    receipt = (await running.call("GET", f"/v1/me/receipts/{answered.headers['x-request-id']}", api_key)).json
    assert receipt["model_id"] == "small"
    found = await running.call("GET", "/v1/models/tiny", api_key)
    assert (found.status, found.json["id"], found.json["created"]) == (200, "small", 0)


async def test_without_a_vendor_that_can_be_called_no_model_is_listed(tmp_path: Path) -> None:
    write(tmp_path, PUBLIC)
    assert msgspec.json.decode(price_list(Snapshot(load_catalog([tmp_path]), {}, "")).body)["data"] == []


async def test_the_base_catalogs_list_is_some_tens_of_kilobytes_packed() -> None:
    listed = price_list(Snapshot(load_catalog([base_catalog_folder()]), {}, "http://simulator"))
    told = msgspec.json.decode(listed.body)
    assert [each["id"] for each in told["tariffs"]] == ["list-price-cny", "list-price-usd"]
    models = {each["id"]: each["prices"] for each in told["data"]}
    assert len(models) >= 300
    assert models["deepseek-v4-flash"]["list-price-cny"] is None
    assert models["glm-4.6"]["list-price-usd"]["tiers"] == [rates(-1, 600_000, 110_000, 600_000, 2_200_000, 2_200_000)]
    assert len(listed.packed) < 40_000 < len(listed.body)
