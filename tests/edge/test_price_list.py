"""The price list shows what is charged at that moment: across the effective time of a version, and after a restart."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from services.edge.catalog import Snapshot
from services.registry.catalog_folder import load_catalog
from tests.edge.system import Cell, cell
from tests.edge.test_app import BUCKET
from tests.registry.catalogs import changed, write

SECRET = {"TOKENLINE_ACME_API_KEY": "sk-acme"}
OLD, NEW = (10**12, 1), (3 * 10**12, 2)
# Three units a token where it was one.
ROWS = '      - {model_id: "*", input: 1000000, output: 1000000}\n'


def dearer_from(moment: datetime) -> str:
    return changed(
        ROWS,
        f"{ROWS}    upcoming:\n      - version: 2\n        effective_time: {moment.isoformat()}\n        rates:\n"
        '          - {model_id: "*", input: 3000000, output: 3000000}\n',
    )


async def listed(services: Cell, api_key: str) -> tuple[int, int]:
    """The price of a token of input in /v1/models, and the tariff's version in the list of offerings."""
    models = (await services.call("GET", "/v1/models", api_key)).json["data"]
    prices = {model["pricing"]["tiers"][0]["input"] for model in models}
    assert len(prices) == 1
    offerings = (await services.admin("GET", "/offerings")).json["data"]
    return prices.pop(), next(each["tariff_version"] for each in offerings if each["offering_id"] == "default")


async def charged(services: Cell, api_key: str) -> tuple[int, int]:
    """The amount of a call of nine tokens, and the version of the tariff that priced it."""
    body = {"model": "small", "messages": [{"role": "user", "content": "12345678"}], "simulate": {"output_tokens": 7}}
    answered = await services.call("POST", "/v1/chat/completions", api_key, body)
    assert answered.status == 200, answered.body
    receipt = (await services.call("GET", f"/v1/me/receipts/{answered.headers['x-request-id']}", api_key)).json
    (record,) = receipt["records"]
    return receipt["charged_amount"], record["tariff_version"]


async def test_the_list_and_the_charge_change_in_the_same_moment(tmp_path: Path) -> None:
    async with cell(tmp_path) as services:
        await services.ready()
        account_id, api_key = await services.subscriber("reader")
        assert (await services.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
        # On a busy machine a call and a list may take longer than three seconds.
        began_s = time.monotonic()
        await charged(services, api_key)
        await listed(services, api_key)
        moment = datetime.now(UTC) + timedelta(seconds=3 + 3 * (time.monotonic() - began_s))
        write(tmp_path / "catalog", dearer_from(moment))
        assert await charged(services, api_key) == (9_000_000, 1)
        seen = 0
        while time.time() < moment.timestamp():
            shown = await listed(services, api_key)
            if time.time() < moment.timestamp():
                assert shown == OLD
                seen += 1
        assert seen
        # The first request after the moment has the new price, without a grace.
        assert await listed(services, api_key) == NEW
        assert await charged(services, api_key) == (27_000_000, 2)
        await services.stop("edge", "registry")
        await services.start("registry", "edge")
        await services.ready()
        assert await listed(services, api_key) == NEW
        assert await charged(services, api_key) == (27_000_000, 2)


def test_a_snapshot_has_the_versions_of_its_moment_and_says_how_long_they_hold(tmp_path: Path) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    moment_us = int(moment.timestamp()) * 1_000_000
    write(tmp_path, dearer_from(moment))
    catalog = load_catalog([tmp_path])
    shown = {}
    for now_us in (0, moment_us - 1, moment_us):
        snapshot = Snapshot(catalog, SECRET, "", now_us)
        offering = snapshot.offering("default")
        assert offering is not None
        shown[now_us] = (offering.prices["large"][0].rates["input"], offering.tariff_version, snapshot.until_us)
    assert shown == {
        0: (*OLD, moment_us),
        moment_us - 1: (*OLD, moment_us),
        moment_us: (*NEW, 2**63 - 1),
    }


def test_the_cheapest_route_is_found_by_the_wholesale_prices_of_the_moment(tmp_path: Path) -> None:
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    text = changed("    release_date: 2026-01-02\n", "    release_date: 2026-01-02\n    routing: cheapest\n")
    text = changed("    base_url_env: T", "    wholesale_tariff_id: usd\n    base_url_env: T", text)
    tiers = text[text.index("          - {above_input_tokens: 100") : text.index("offerings:")]
    upcoming = (
        "    upcoming:\n      - version: 4\n        effective_time: 2030-01-01T00:00:00Z\n        rates:\n"
        "          - {model_id: small, input: 7, output: 9}\n"
    )
    write(tmp_path, changed(tiers, tiers + upcoming, text))
    catalog = load_catalog([tmp_path])
    costs = []
    for now_us in (0, int(moment.timestamp()) * 1_000_000):
        model = Snapshot(catalog, SECRET, "", now_us).model("small")
        assert model is not None
        costs.append(model.routes["openai_chat"][0].cost(1, 1))
    assert costs == [280_000 + 420_000, 7_000_000 + 9_000_000]
