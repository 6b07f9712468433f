"""Grants of another system of the operator, which knows accounts by its own IDs, over HTTP and from the command line."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.cli.processes import tokenline
from tests.edge.system import ADMIN_TOKEN, Cell, Reply, cell
from tests.journeys.subscriber import CATALOG, TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOLD = (
    CATALOG
    + """\
  - offering_id: bundle
    display_name: With the broadband
    tariff_id: flat
    reservation_policy: worst_case
    cycle: {period: month, alignment: calendar}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 500}
      - {allowance_id: gift, unit: TOKEN, amount: 7}
  - offering_id: priced
    display_name: A pack
    tariff_id: flat
    reservation_policy: worst_case
    price: {amount: 2, currency: CNY}
    payment_methods: [external]
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 400, valid_days: 30}
"""
)
UNTIL = "2050-01-01T00:00:00Z"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("grants"), catalog=SOLD) as services:
        await services.ready()
        yield services


async def opened(running: Cell, line: str) -> str:
    account_id: str = (await running.admin("POST", "/accounts", {"external_id": line})).json["account_id"]
    return account_id


async def grant(running: Cell, line: str, key: str = "2026-12", **body: Any) -> Reply:
    return await running.admin("POST", "/grants", {"external_id": line, "offering_id": "bundle", "idempotency_key": key, **body})


async def test_a_grant_is_made_once_renewed_and_ended_by_the_lines_number(running: Cell) -> None:
    # What a system may call a line.
    line = "宽带/021 5555-0001#a?b&c=%2F"
    account_id = await opened(running, line)
    made = await grant(running, line)
    assert (made.status, made.json["account_id"], made.json["external_id"]) == (201, account_id, line)
    assert [each["granted"] // TOKEN for each in made.json["buckets"]] == [500, 7]
    assert (await grant(running, line)).json == made.json
    renewed = await grant(running, line, "2027-01", allowance_id="gift", valid_until=UNTIL)
    assert [(each["granted"] // TOKEN, each["valid_until"]) for each in renewed.json["buckets"]] == [(7, UNTIL)]
    other = await grant(running, line, allowance_id="gift")
    assert (other.status, other.error["code"]) == (409, "idempotency_conflict")

    ended = await running.admin("POST", "/grants/end", {"external_id": line, "idempotency_key": "2026-12"})
    assert (ended.status, sum(each["amount"] for each in ended.json["expired"])) == (200, 507 * TOKEN)
    again = await running.admin("POST", "/grants/end", {"external_id": line, "idempotency_key": "2026-12"})
    assert again.json == {**ended.json, "expired": []}
    buckets = (await running.admin("GET", f"/accounts/{account_id}")).json["buckets"]
    assert sorted((each["remaining"] // TOKEN, each["expired"] // TOKEN) for each in buckets) == [(0, 7), (0, 500), (7, 0)]
    entries = (await running.admin("GET", f"/journal?account_id={account_id}")).json["data"]
    assert [each["fact"] for each in entries] == ["account_opened", *["bucket_granted"] * 3, *["bucket_expired"] * 2]
    assert {each["actor"]["subject"] for each in entries} == {"administrator"}


async def test_many_grants_of_one_key_at_once_are_one(running: Cell) -> None:
    account_id = await opened(running, "line-many")
    said = await asyncio.gather(*(grant(running, "line-many") for _ in range(20)))
    assert {each.status for each in said} == {201}
    buckets = (await running.admin("GET", f"/accounts/{account_id}")).json["buckets"]
    assert sum(each["granted"] for each in buckets) == 507 * TOKEN


async def test_what_is_wrong_is_named_and_grants_nothing(running: Cell) -> None:
    account_id = await opened(running, "line-wrong")
    unknown = await grant(running, "line-nobody")
    assert (unknown.status, unknown.error["code"], unknown.error["param"]) == (404, "account_not_found", "external_id")
    assert "open one with it" in unknown.error["message"]
    wrong_fields: tuple[tuple[str, Any], ...] = (
        *(
            (name, wrong)
            for name in ("external_id", "offering_id", "idempotency_key")
            for wrong in (None, "", 5, "x" * 201, "a\x00b")
        ),
        *(("allowance_id", wrong) for wrong in ("", 5, "x" * 201, "a\x00b")),
        *(
            ("valid_until", wrong)
            for wrong in ("tomorrow", "", 5, "2026-13-01T00:00:00Z", "2050-01-01T00:00:00+25:00", "2900-01-01T00:00:00Z")
        ),
        ("colour", "red"),
    )
    right = {"external_id": "line-wrong", "offering_id": "bundle", "idempotency_key": "2026-12"}
    for field, value in wrong_fields:
        refused = await running.admin("POST", "/grants", {**right, field: value})
        assert (refused.status, refused.error["param"]) == (400, field), (field, value, refused.body)
    past = await grant(running, "line-wrong", valid_until="2020-01-01T00:00:00Z")
    assert (past.status, "valid_until lies in the past" in past.error["message"]) == (400, True)
    assert (await grant(running, "line-wrong", allowance_id="money")).status == 404
    assert (await grant(running, "line-wrong", offering_id="nothing")).status == 404
    assert (await grant(running, "line-wrong", offering_id="priced")).status == 409
    assert (await running.admin("POST", "/grants/end", {"external_id": "line-wrong", "idempotency_key": "none"})).status == 404
    assert (await running.admin("GET", f"/accounts/{account_id}")).json["buckets"] == []


async def test_a_grant_is_made_and_ended_from_the_command_line(running: Cell) -> None:
    def said(*arguments: str) -> str:
        done = tokenline(*arguments, TOKENLINE_URL=running.operators_url, TOKENLINE_TOKEN=ADMIN_TOKEN)
        assert done.returncode == 0, done.stderr
        return done.stdout

    account_id = await opened(running, "line-command")
    line = ("--external-id", "line-command", "--idempotency-key", "2026-12")
    add = ("grant", "add", "bundle", *line, "--allowance", "tokens", "--valid-until", UNTIL)
    made = json.loads(await asyncio.to_thread(said, *add, "--output", "json"))
    assert (made["account_id"], made["buckets"][0]["granted"]) == (account_id, 500 * TOKEN)
    shown = await asyncio.to_thread(said, *add)
    assert "500 TOKEN" in shown
    assert "buckets ended: 1" in await asyncio.to_thread(said, "grant", "end", *line)
