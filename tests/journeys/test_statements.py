"""A month of an account as its phone bill will say it: calls, prices, refunds and payments from outside add up by unit."""

import asyncio
import gzip
import json
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio

from tests.cli.processes import tokenline
from tests.edge.system import ADMIN_TOKEN, Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, chat
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

# 9.9 yuan a month for 100 tokens, then 4 yuan a million tokens of output, all of it on the phone bill up to 50 yuan; the vendor
# gets half of that.
PHONE: Final = (
    changed(
        "offerings:\n",
        """\
  - tariff_id: list
    version: 7
    unit: CURRENCY
    currency: CNY
    rates:
      - {model_id: "*", input: 1, cached_input: 0.1, output: 4}
  - tariff_id: bought
    version: 1
    unit: CURRENCY
    currency: CNY
    rates:
      - {model_id: "*", input: 0.5, cached_input: 0.05, output: 2}
offerings:
""",
        changed(
            "      - {vendor_id: acme, vendor_model_id: acme-small, priority: 0}\n",
            "      - {vendor_id: acme, vendor_model_id: acme-small, priority: 0, wholesale_tariff_id: bought}\n",
            CATALOG,
        ),
    )
    + """\
  - offering_id: phone
    display_name: 100 tokens a month, then by use, on the phone bill
    tariff_id: flat
    overage_tariff_id: list
    reservation_policy: worst_case
    price: {amount: 9.9, currency: CNY}
    payment_methods: [phone_bill]
    cycle: {period: month}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 100}
      - {allowance_id: line, unit: CURRENCY, currency: CNY, amount: 50, priority: 900, postpaid: true}
  - offering_id: pack
    display_name: A pack of 400 tokens
    tariff_id: flat
    reservation_policy: worst_case
    price: {amount: 2, currency: CNY}
    payment_methods: [external]
    allowances:
      - {allowance_id: extra, unit: TOKEN, amount: 400, valid_days: 30}
"""
)
PRICE: Final = 9_900_000
# 220 tokens of output beyond the allowance, at 4 yuan a million.
OVERAGE: Final = 880
REFUNDED: Final = 400
PACK: Final = 2_000_000


class Month:
    """An account's month: a plan on the phone bill, a call beyond its allowance, a refund, a pack paid outside."""

    def __init__(self, services: Cell, subscriber: Subscriber) -> None:
        self.services = services
        self.subscriber = subscriber
        self.path = f"/accounts/{subscriber.account_id}"
        self.plan: dict[str, Any] = {}
        self.pack: dict[str, Any] = {}
        self.charging_id = ""

    async def live(self) -> None:
        order = {"offering_id": "phone", "payment_method": "phone_bill", "idempotency_key": "plan"}
        self.plan = (await self.services.admin("POST", f"{self.path}/orders", order)).json
        assert self.plan["state"] == "completed", self.plan
        answered = await self.subscriber.call(chat(max_tokens=400, simulate={"output_tokens": 310, "cached_input_tokens": 4}))
        self.charging_id = answered.headers["x-request-id"]
        receipt = await self.subscriber.receipt(self.charging_id)
        refund = {
            "charging_id": self.charging_id,
            "sequence_number": receipt["records"][1]["sequence_number"],
            "record_sequence_number": 2,
            "amount": REFUNDED,
            "valid_days": 30,
            "reason": "a broken answer",
            "idempotency_key": "refund",
        }
        assert (await self.services.admin("POST", f"{self.path}/refunds", refund)).status == 201
        order = {"offering_id": "pack", "payment_method": "external", "idempotency_key": "pack"}
        self.pack = (await self.services.admin("POST", f"{self.path}/orders", order)).json
        paid = await self.services.admin(
            "POST", f"{self.path}/orders/{self.pack['order_id']}/payment", {"payment_reference": "wx-7"}
        )
        assert paid.json["state"] == "completed"

    async def statement(self, query: str) -> dict[str, Any]:
        reply = await self.services.admin("GET", f"{self.path}/statement?{query}")
        assert reply.status == 200, reply.body
        told: dict[str, Any] = reply.json
        return told


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def month(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Month]:
    async with cell(tmp_path_factory.mktemp("statements"), catalog=PHONE) as running, aiohttp.ClientSession() as http:
        await running.ready()
        lived = Month(running, await Subscriber.open(running, http, "month", tokens=0))
        await lived.live()
        yield lived


async def test_a_cycle_adds_up_by_unit_to_what_paid_for_it(month: Month) -> None:
    statement = await month.statement(f"cycle={month.plan['subscription_id']}")
    nothing = {"balance": 0, "credit_line": 0, "phone_bill": 0, "outside": 0, "owed": 0, "absorbed": 0, "charges": 0}
    charges = PRICE + PACK - REFUNDED
    assert statement["totals"] == [
        {
            **nothing,
            **{"unit": "CURRENCY", "currency": "CNY", "calls": 0, "usage": OVERAGE, "charges": charges},
            "charged": OVERAGE + charges,
            "credit_line": PRICE + OVERAGE,
            "outside": PACK,
            # The refund is money of the account's own.
            "balance": -REFUNDED,
        },
        {
            **nothing,
            **{"unit": "TOKEN", "currency": None, "calls": 1, "usage": 100 * TOKEN, "charged": 100 * TOKEN, "balance": 100 * TOKEN},
        },
    ]
    assert [(each["kind"], each["amount"], each["paid_by"], each["remark"]) for each in statement["charges"]] == [
        ("credit_line", 0, "credit_line", None),
        ("price", PRICE, "credit_line", None),
        ("refund", -REFUNDED, "bucket", "a broken answer"),
        ("price", PACK, "outside", "wx-7"),
    ]
    assert [(line["model_id"], line["paid_by"], line["calls"], line["amount"]) for line in statement["usage"]] == [
        ("small", "credit_line", 0, OVERAGE),
        ("small", "bucket", 1, 100 * TOKEN),
    ]


async def test_what_the_phone_bill_says_is_what_its_buckets_say(month: Month) -> None:
    (money, _) = (await month.statement(f"cycle={month.plan['subscription_id']}"))["totals"]
    shown = (await month.services.admin("GET", month.path)).json
    (line,) = [bucket for bucket in shown["buckets"] if bucket["currency"] == "CNY" and bucket["granted"] == 50_000_000]
    assert money["credit_line"] == line["consumed"] == PRICE + OVERAGE


async def test_calls_are_told_apart_by_member_and_key(month: Month) -> None:
    keys = (await month.services.admin("GET", f"{month.path}/keys")).json["data"]
    by = (await month.statement(f"cycle={month.plan['subscription_id']}&by=member,key"))["usage"]
    assert {(line["model_id"], line["member_id"], line["key_id"]) for line in by} == {
        (None, keys[0]["member_id"], keys[0]["key_id"])
    }
    assert [line["amount"] for line in by] == [OVERAGE, 100 * TOKEN]


async def test_a_time_before_the_account_has_nothing(month: Month) -> None:
    empty = await month.statement("cycle=2001-02")
    assert (empty["totals"], empty["usage"], empty["charges"]) == ([], [], [])
    assert (empty["from"], empty["until"]) == ("2001-02-01T00:00:00Z", "2001-03-01T00:00:00Z")
    december = await month.statement("cycle=2001-12")
    assert (december["from"], december["until"]) == ("2001-12-01T00:00:00Z", "2002-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "query", ["cycle=2026-13", "cycle=march", "cycle=sub-1", "cycle=2026-03&from_us=1", "from_us=1", "until_us=5"]
)
async def test_a_cycle_that_is_none_is_refused(month: Month, query: str) -> None:
    reply = await month.services.admin("GET", f"{month.path}/statement?{query}")
    assert (reply.status, reply.error["param"]) == (400, "cycle")
    assert reply.error["message"].startswith("cycle must be a month like 2026-03, or the ID of a subscription of the account")


async def test_other_bad_questions_are_refused(month: Month) -> None:
    backwards = await month.services.admin("GET", f"{month.path}/statement?from_us=5&until_us=5")
    assert (backwards.status, backwards.error["param"]) == (400, "until_us")
    by = await month.services.admin("GET", f"{month.path}/statement?cycle=2026-03&by=colour")
    assert (by.status, by.error["message"]) == (400, "by must be some of model, member, key, with commas between; or empty.")
    assert (await month.services.admin("GET", "/accounts/acct-0000000000000000/statement?cycle=2026-03")).status == 404


async def test_an_order_has_a_receipt_of_its_account(month: Month) -> None:
    order_id = month.plan["order_id"]
    assert (await month.statement("cycle=2001-02"))["charges"] == []
    receipt = (await month.services.admin("GET", f"{month.path}/orders/{order_id}/receipt")).json
    assert (receipt["offering_id"], receipt["payment_method"], receipt["amount"]) == ("phone", "phone_bill", PRICE)
    assert [(each["kind"], each["amount"], each["subscription_id"]) for each in receipt["charges"]] == [
        ("price", PRICE, month.plan["subscription_id"])
    ]
    assert receipt["charges"][0]["record_number"] > 0
    own = await month.services.call("GET", f"/v1/me/orders/{order_id}/receipt", month.subscriber.api_key)
    assert (own.status, own.json) == (200, receipt)
    other = await month.services.admin("GET", f"/accounts/acct-0000000000000000/orders/{order_id}/receipt")
    assert (other.status, other.error["code"]) == (404, "receipt_not_found")


async def test_a_vendor_is_owed_its_wholesale_price(month: Month) -> None:
    cycle = await month.statement(f"cycle={month.plan['subscription_id']}")
    begin, end = (_us(cycle[name]) for name in ("from", "until"))
    owed = (await month.services.admin("GET", f"/vendors/acme/statement?from_us={begin}&until_us={end}")).json
    # 6 of input at 0.5, 4 cached at 0.05 and 310 of output at 2 yuan a million, rounded up by class.
    claim = {"vendor_model_id": "acme-small", "unit": "CURRENCY", "currency": "CNY", "calls": 1, "amount": 624}
    # The operator keeps nothing of it.
    fees = {"platform_fee": 0, "compute_fee": 0, "channel_fee": 0}
    assert owed["lines"] == [{**claim, **fees, "net_amount": 624}]
    nothing = (await month.services.admin("GET", "/vendors/acme/statement?cycle=2026-03")).json
    assert nothing["lines"] == []
    nobody = await month.services.admin("GET", "/vendors/nobody/statement?cycle=2026-03")
    assert (nobody.status, nobody.error["code"], nobody.error["param"]) == (404, "vendor_not_found", "vendor_id")


async def test_prices_are_in_the_files_and_all_agrees(month: Month) -> None:
    reconciled = (await month.services.admin("POST", "/reconcile", {})).json
    assert (reconciled["differences"], reconciled["charges"]) == ([], 4)
    lines = [
        json.loads(line)
        for path in sorted((month.services.folder / "cdrs").glob("*.jsonl.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    prices = [(line["amount"], line["paid_by"]) for line in lines if line.get("record_type") == "price"]
    assert prices == [(PRICE, "bucket"), (PACK, "outside")]


async def test_without_a_time_it_is_the_cycle_that_runs_or_the_month(month: Month) -> None:
    assert await month.statement("") == await month.statement(f"cycle={month.plan['subscription_id']}")
    owed = (await month.services.admin("GET", "/vendors/acme/statement")).json
    this_month = datetime.fromisoformat(owed["from"])
    begin = this_month.astimezone(UTC)
    assert (begin.day, begin.hour, begin.minute) == (1, 0, 0)
    assert this_month <= datetime.now(UTC) < datetime.fromisoformat(owed["until"])


async def test_commands_say_the_same_in_whole_units(month: Month) -> None:
    def told(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return tokenline(*arguments, TOKENLINE_URL=month.services.operators_url, TOKENLINE_TOKEN=ADMIN_TOKEN)

    account_id = month.subscriber.account_id
    statement = await asyncio.to_thread(told, "account", "statement", account_id, "--cycle", month.plan["subscription_id"])
    assert statement.returncode == 0, statement.stderr
    assert "9.90088" in statement.stdout
    assert "-0.0004 CNY" in statement.stdout
    receipt = await asyncio.to_thread(told, "order", "receipt", month.pack["order_id"], "--account", account_id)
    assert "amount: 2 CNY" in receipt.stdout
    times = ("--from", "2001-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z")
    owed = await asyncio.to_thread(told, "vendor", "statement", "acme", *times)
    assert "0.000624 CNY" in owed.stdout
    by_default = await asyncio.to_thread(told, "account", "statement", account_id)
    assert by_default.stdout == statement.stdout
    wrong = await asyncio.to_thread(told, "account", "statement", account_id, "--until", "2100-01-01T00:00:00Z")
    assert wrong.returncode == 2
    assert "give --cycle, a month like 2026-03 or a subscription's ID" in wrong.stderr


def _us(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1_000_000)
