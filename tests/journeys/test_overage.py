"""A call that uses its allowance up and goes on in money: each number keeps its unit on receipt, CDR, balance and in the checks."""

import asyncio
import gzip
import json
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services.cli.replay.command import ReplayOptions, replay
from tests.cli.processes import tokenline
from tests.edge.system import ADMIN_TOKEN, Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, chat
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

# 100 tokens, then 1 yuan a million tokens of input and 4 of output, up to 50 yuan on the phone bill.
OVERAGE = (
    changed(
        "offerings:\n",
        """\
  - tariff_id: list
    version: 7
    unit: CURRENCY
    currency: CNY
    rates:
      - {model_id: "*", input: 1, cached_input: 0.1, output: 4}
offerings:
""",
        CATALOG,
    )
    + """\
  - offering_id: monthly
    display_name: 100 tokens a month, then by use
    tariff_id: flat
    overage_tariff_id: list
    reservation_policy: worst_case
    cycle: {period: month}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 100}
      - {allowance_id: phone-bill, unit: CURRENCY, currency: CNY, amount: 50, priority: 900, postpaid: true}
"""
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("overage"), catalog=OVERAGE) as running:
        await running.ready()
        yield running


async def monthly(services: Cell, http: aiohttp.ClientSession, name: str) -> Subscriber:
    subscriber = await Subscriber.open(services, http, name, tokens=0)
    ordered = await services.admin(
        "POST", f"/accounts/{subscriber.account_id}/orders", {"offering_id": "monthly", "idempotency_key": "first"}
    )
    assert ordered.json["state"] == "completed", ordered.body
    return subscriber


def cdrs(services: Cell, charging_id: str) -> Iterator[dict[str, Any]]:
    for path in sorted((services.folder / "cdrs").glob("*.jsonl.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            cdr = json.loads(line)
            if cdr.get("charging_id") == charging_id:
                yield cdr


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_from_an_allowance_into_overage_is_charged_in_two_units(services: Cell, stream: bool) -> None:
    async with aiohttp.ClientSession() as http:
        subscriber = await monthly(services, http, f"crossing {stream}")
        body = chat(max_tokens=400, simulate={"output_tokens": 310, "cached_input_tokens": 4})
        if stream:
            charging_id = (await subscriber.stream(body)).charging_id
        else:
            charging_id = (await subscriber.call(body)).headers["x-request-id"]
        receipt = await subscriber.receipt(charging_id)
        shown = (await services.admin("GET", f"/accounts/{subscriber.account_id}")).json

    assert receipt["charges"] == [
        {"unit": "TOKEN", "currency": None, "amount": 100 * TOKEN, "debt_amount": 0, "absorbed_amount": 0},
        # 220 tokens at 4 yuan a million.
        {"unit": "CURRENCY", "currency": "CNY", "amount": 880, "debt_amount": 0, "absorbed_amount": 0},
    ]
    assert not {"unit", "currency", "charged_amount", "debt_amount", "class_charges"} & set(receipt)
    assert receipt["usage"] == {"input": 6, "cached_input": 4, "cache_write": 0, "output": 310, "reasoning": 0}
    assert (receipt["model_id"], receipt["vendor_model_id"]) == ("small", "acme-small")
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["answered"]
    tokens, money = receipt["records"]
    assert [(charge["token_class"], charge["tokens"]) for charge in tokens["class_charges"]] == [
        *(("input", 6), ("cached_input", 4), ("output", 90)),
    ]
    assert [(charge["token_class"], charge["tokens"], charge["amount"]) for charge in money["class_charges"]] == [
        ("output", 220, 880)
    ]
    assert (tokens["tariff_id"], money["tariff_id"], money["tariff_version"]) == ("flat", "list", 7)

    consumed = {bucket["unit"]: bucket["consumed"] for bucket in shown["buckets"]}
    assert consumed == {"TOKEN": 100 * TOKEN, "CURRENCY": 880}
    assert (shown["debt"], shown["absorbed"]) == ([], [])

    reconciled = await services.admin("POST", "/reconcile", {})
    assert reconciled.json["differences"] == []
    assert [(cdr["unit"], cdr["currency"], cdr["charged_amount"]) for cdr in cdrs(services, charging_id)] == [
        *(("TOKEN", "", 100 * TOKEN), ("CURRENCY", "CNY", 880)),
    ]
    # Once exported, the receipt tells the same with the numbers of its CDRs.
    async with aiohttp.ClientSession() as http:
        exported = await Subscriber(services, http, subscriber.account_id, subscriber.api_key).receipt(charging_id)
    assert exported["charges"] == receipt["charges"]
    assert [record["record_number"] for record in exported["records"]] == [
        cdr["record_number"] for cdr in cdrs(services, charging_id)
    ]


async def test_the_checks_of_a_cell_with_overage_end_with_0(services: Cell) -> None:
    async with aiohttp.ClientSession() as http:
        subscriber = await monthly(services, http, "checked")
        await subscriber.call(chat(max_tokens=400, simulate={"output_tokens": 310}))
    assert (await services.admin("POST", "/audit")).json["breaches"] == []

    def told(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return tokenline(*arguments, TOKENLINE_URL=services.operators_url, TOKENLINE_TOKEN=ADMIN_TOKEN)

    for command, wrong in (("audit", "breaches"), ("reconcile", "differences")):
        done = await asyncio.to_thread(told, command, "--output", "json")
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)[wrong] == []
    shown = await asyncio.to_thread(told, "account", "show", subscriber.account_id)
    assert "0.00088 " in shown.stdout


async def test_a_replay_that_goes_on_in_overage_tells_the_other_unit_and_is_not_exact(services: Cell, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("timestamp_s,session,model,input_tokens,output_tokens\n0,,small,10,40\n0,,small,10,60\n")
    async with aiohttp.ClientSession() as http:
        subscriber = await monthly(services, http, "replayed")
        report = await replay(ReplayOptions(trace=trace, base_url=services.base_url, api_keys=[subscriber.api_key], concurrency=1))
    assert (report.succeeded, report.failures, report.refused) == (2, {}, {})
    assert (report.unit, report.charged, report.expected) == ("TOKEN", 100 * TOKEN, 120 * TOKEN)
    assert [(other.unit, other.currency, other.charged) for other in report.other_charges] == [("CURRENCY", "CNY", 80)]
    assert not report.exact
    assert report.tokens == {"input": 20, "cached_input": 0, "cache_write": 0, "output": 100, "reasoning": 0}
