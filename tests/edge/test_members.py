"""Accounts as a shop needs them, over HTTP and from the command line: members, keys, caps, invitations, external IDs."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.cli.processes import tokenline
from tests.edge.system import ADMIN_TOKEN, Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, chat

pytestmark = pytest.mark.asyncio(loop_scope="module")

OLD_FORM = '[{"limit_id": "a", "per": "LIMIT_SCOPE_ACCOUNT", "usage": {"amount": 5, "unit": "UNIT_TOKEN"}}]'
SOLD = (
    CATALOG
    + """\
  - offering_id: plan
    display_name: A plan
    tariff_id: flat
    reservation_policy: worst_case
    price: {amount: 9.9, currency: CNY}
    payment_methods: [external]
    cycle: {period: month}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000, notice_percents: [80, 100]}
    limits:
      - {limit_id: day, per: member, usage: 300, unit: TOKEN, window: {calendar: day}}
"""
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("members"), catalog=SOLD) as services:
        await services.ready()
        yield services


async def told(running: Cell, *arguments: str) -> "subprocess.CompletedProcess[str]":
    def run() -> "subprocess.CompletedProcess[str]":
        return tokenline(*arguments, TOKENLINE_URL=running.operators_url, TOKENLINE_TOKEN=ADMIN_TOKEN)

    return await asyncio.to_thread(run)


async def said(running: Cell, *arguments: str) -> Any:
    done = await told(running, *arguments, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def opened(running: Cell, name: str) -> str:
    account_id: str = (await running.admin("POST", "/accounts", {"idempotency_key": name})).json["account_id"]
    bucket = {"unit": "TOKEN", "amount": 1_000 * TOKEN, "valid_days": 30, "idempotency_key": "money"}
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", bucket)).status == 201
    return account_id


async def test_a_family_has_a_member_a_key_and_a_cap_for_each(running: Cell) -> None:
    """A mother's account: the daughter may use 120 tokens a day, whichever keys she has; the bill says who used what."""
    account_id = await opened(running, "family")
    wanted = {"display_name": "Daughter", "idempotency_key": "daughter"}
    daughter = (await running.admin("POST", f"/accounts/{account_id}/members", wanted)).json
    assert (await running.admin("POST", f"/accounts/{account_id}/members", wanted)).json == daughter
    members = (await running.admin("GET", f"/accounts/{account_id}/members")).json["data"]
    assert [each["display_name"] for each in members] == [None, "Daughter"]
    key = (await running.admin("POST", f"/accounts/{account_id}/keys", {"member_id": daughter["member_id"]})).json
    assert key["member_id"] == daughter["member_id"]
    mother = (await running.admin("POST", f"/accounts/{account_id}/keys", {})).json
    assert mother["member_id"] == members[0]["member_id"]
    cap = ("member", "cap", daughter["member_id"], "--account", account_id, "--amount", "120", "--unit", "TOKEN", "--every", "day")
    capped = await told(running, *cap)
    assert (capped.returncode, "cap: 120 TOKEN" in capped.stdout) == (0, True), capped.stderr
    async with aiohttp.ClientSession() as http:
        small = chat(max_tokens=20, simulate={"output_tokens": 20})
        of_daughter = Subscriber(running, http, account_id, key["api_key"])
        # Each uses 30 tokens and needs more than 60 to begin.
        assert [(await of_daughter.call(small)).status for _ in range(2)] == [200, 200]
        over = await of_daughter.call(small)
        assert (over.status, "The limit cap@member" in over.json["error"]["message"]) == (429, True), over.body
        assert (await Subscriber(running, http, account_id, mother["api_key"]).call(small)).status == 200
    times = ("--from", "2001-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z")
    usage = (await said(running, "account", "statement", account_id, *times, "--by", "member", "--by", "key"))["usage"]
    assert {(line["member_id"], line["key_id"], line["calls"]) for line in usage} == {
        (daughter["member_id"], key["key_id"], 2),
        (mother["member_id"], mother["key_id"], 1),
    }


async def test_a_cap_leaves_the_members_other_limits(running: Cell) -> None:
    account_id = await opened(running, "caps")
    member_id = (await running.admin("GET", f"/accounts/{account_id}/members")).json["data"][0]["member_id"]
    subject = f"member:{member_id}"
    rate = "[{limit_id: rate, requests_per_minute: 9}]"
    await said(running, "account", "limit", account_id, "--subject", subject, "--limits", rate)
    cap = ("member", "cap", member_id, "--account", account_id)
    await said(running, *cap, "--amount", "1.5", "--unit", "CURRENCY", "--currency", "CNY")
    await said(running, *cap, "--amount", "2.5", "--unit", "CURRENCY", "--currency", "CNY", "--every", "month")
    (limits,) = (await running.admin("GET", f"/accounts/{account_id}")).json["limits"]
    assert [each["limit_id"] for each in limits["limits"]] == ["rate", "cap"]
    usage = {"unit": "UNIT_CURRENCY", "currency": "CNY", "amount": "2500000", "calendar_window": "PERIOD_MONTH"}
    assert limits["limits"][1]["usage"] == usage
    await said(running, *cap, "--remove")
    (limits,) = (await running.admin("GET", f"/accounts/{account_id}")).json["limits"]
    assert [each["limit_id"] for each in limits["limits"]] == ["rate"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--amount", "5"), "give --amount with its --unit, or --remove"),
        (("--amount", "5", "--unit", "TOKEN", "--remove"), "give --amount with its --unit, or --remove"),
        (("--amount", "5", "--unit", "CURRENCY"), "the cap.currency must be an ISO 4217 code"),
    ],
)
async def test_a_cap_that_is_none_is_refused(running: Cell, arguments: tuple[str, ...], message: str) -> None:
    account_id = await opened(running, "no cap")
    done = await told(running, "member", "cap", "mem-1", "--account", account_id, *arguments)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (OLD_FORM, "limits[0]: usage is an amount"),
        ("[{limit_id: a, usage: 5}]", "limits[0].unit must be"),
        ("[{limit_id: a, usage: -5, unit: TOKEN}]", "limits[0].usage must not be negative"),
        ("[{limit_id: a, speed: 5}]", "limits[0].speed is no known field; known are: per, usage, tokens_per_minute"),
        ("[{limit_id: a}]", "limits[0] must give exactly one of requests_per_minute"),
        ("{limit_id: a}", "--limits must be a list of limits"),
        ("[", "--limits is no JSON or YAML"),
    ],
)
async def test_limits_in_another_form_are_refused(running: Cell, limits: str, message: str) -> None:
    account_id = await opened(running, "no limits")
    done = await told(running, "account", "limit", account_id, "--limits", limits)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


async def test_a_member_that_is_not_there_has_no_cap_and_no_key(running: Cell) -> None:
    account_id = await opened(running, "nobody")
    done = await told(running, "member", "cap", "mem-nobody", "--account", account_id, "--amount", "5", "--unit", "TOKEN")
    assert "has no member 'mem-nobody'" in done.stderr
    key = await running.admin("POST", f"/accounts/{account_id}/keys", {"member_id": "mem-nobody"})
    assert (key.status, "has no member mem-nobody" in key.error["message"]) == (404, True)
    unknown = await running.admin("POST", "/accounts/acct-0000000000000000/members", {"display_name": "A"})
    assert unknown.status == 404
    assert (await running.admin("GET", "/accounts/acct-0000000000000000/members")).status == 404
    nameless = await running.admin("POST", f"/accounts/{account_id}/members", {"display_name": ""})
    assert (nameless.status, nameless.error["param"]) == (400, "display_name")


async def test_an_invitation_makes_one_member_however_many_come_at_once(running: Cell) -> None:
    account_id = await opened(running, "invited")
    made = (await running.admin("POST", f"/accounts/{account_id}/invitations", {"idempotency_key": "first"})).json
    assert made["code"].startswith("inv-")
    again = await running.admin("POST", f"/accounts/{account_id}/invitations", {"idempotency_key": "first"})
    assert (again.status, "its code was shown then" in again.error["message"]) == (409, True)

    async def accept(name: str) -> Any:
        wanted = {"code": made["code"], "display_name": name, "idempotency_key": name}
        return await running.admin("POST", "/invitations/accept", wanted)

    replies = await asyncio.gather(*map(accept, ("son", "uncle", "stranger")))
    assert sorted(reply.status for reply in replies) == [201, 409, 409]
    (winner,) = [reply.json for reply in replies if reply.status == 201]
    assert winner["account_id"] == account_id
    assert (await accept(winner["display_name"])).json == winner
    names = [each["display_name"] for each in (await running.admin("GET", f"/accounts/{account_id}/members")).json["data"]]
    assert names == [None, winner["display_name"]]
    wanted = {"code": "inv-00", "display_name": "A", "idempotency_key": "k"}
    nobody = await running.admin("POST", "/invitations/accept", wanted)
    assert (nobody.status, "no invitation has this code" in nobody.error["message"]) == (404, True)


async def test_an_invitation_by_commands(running: Cell) -> None:
    account_id = await opened(running, "commands")
    code = (await said(running, "member", "invite", "--account", account_id, "--valid-days", "2"))["code"]
    joined = await said(running, "member", "join", code, "--name", "Son", "--idempotency-key", "son")
    key = await said(running, "key", "create", "--account", account_id, "--member", joined["member_id"])
    assert key["member_id"] == joined["member_id"]
    assert "Son" in (await told(running, "member", "list", "--account", account_id)).stdout
    used = await told(running, "member", "join", code, "--name", "Uncle", "--idempotency-key", "uncle")
    assert "the invitation was used already" in used.stderr


async def test_an_account_is_found_by_the_operators_own_id(running: Cell) -> None:
    account = await said(running, "account", "create", "--external-id", "138-0000", "--idempotency-key", "external")
    assert account["external_id"] == "138-0000"
    listed = await said(running, "account", "list", "--external-id", "138-0000")
    assert [each["account_id"] for each in listed["data"]] == [account["account_id"]]
    other = await opened(running, "other external")
    taken = await told(running, "account", "name", other, "--external-id", "138-0000")
    assert "has the external ID '138-0000'" in taken.stderr
    everyone = (await running.admin("GET", "/accounts")).json["data"]
    refused = await running.admin("POST", "/accounts", {"external_id": "138-0000"})
    assert (refused.status, refused.error["code"], refused.error["param"]) == (409, "already_exists", "external_id")
    assert (await running.admin("GET", "/accounts")).json["data"] == everyone, "nothing is opened for an ID that is taken"
    await said(running, "account", "name", other, "--external-id", "139-0000")
    everyone = (await running.admin("GET", "/accounts")).json["data"]
    assert [each["account_id"] for each in everyone] == sorted(each["account_id"] for each in everyone)
    first = (await running.admin("GET", "/accounts?limit=1")).json
    assert (len(first["data"]), first["next"]) == (1, everyone[0]["account_id"])
    assert (await running.admin("GET", f"/accounts?after={first['next']}")).json["data"] == everyone[1:]


async def test_orders_are_listed_and_offerings_shown_in_whole_units(running: Cell) -> None:
    account_id = await opened(running, "orders")
    buy = ("offering", "order", "plan", "--account", account_id, "--payment", "external", "--idempotency-key", "o")
    order = await said(running, *buy)
    assert (await said(running, "order", "list", "--account", account_id))["data"] == [
        {name: value for name, value in order.items() if name != "amounts_in"}
    ]
    assert "9.9 CNY" in (await told(running, "order", "list", "--account", account_id)).stdout
    shown = (await told(running, "offering", "show", "plan")).stdout
    assert "price:\n  amount: 9.9\n  currency: CNY\n" in shown, shown
    assert "reservation_policy: worst_case\n" in shown
    assert "allowance_id: tokens, unit: TOKEN, amount: 1,000" in shown
    unknown = await told(running, "offering", "show", "plain")
    assert "The catalog has no offering 'plain'" in unknown.stderr
