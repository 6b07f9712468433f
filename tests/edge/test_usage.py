"""GET /v1/usage: what is left to a key, when it renews, what was used; and rates in the headers of answers."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from services.edge.api.usage import usage_json
from services.edge.identity.principals import Principal
from tests.edge.system import Cell, Reply, cell
from tests.registry.catalogs import OLDER
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOLD = """\
  - offering_id: monthly
    display_name: A month
    tariff_id: flat
    reservation_policy: worst_case
    cycle: {period: month, count: 1}
    renewal: {grace_days: 7}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000, model_group: cheap}
    limits:
      - {limit_id: rpm, per: key, requests_per_minute: 60, burst: 5}
      - {limit_id: tpm, per: member, tokens_per_minute: 6000, burst: 600}
      - {limit_id: sessions, per: member, concurrent_sessions: 2}
      - {limit_id: hours, per: account, usage: 500, unit: TOKEN, window: {hours: 5}}
model_groups:
  - {group_id: cheap, model_ids: [small]}
"""
GRANT = {"unit": "TOKEN", "amount": 700_000_000, "valid_days": 60, "priority": 900, "idempotency_key": "top-up"}
CHAT = {"model": "small", "max_tokens": 20, "messages": [{"role": "user", "content": "x" * 40}]}
UNIT = 1_000_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell"), catalog=OLDER + SOLD) as services:
        await services.ready()
        yield services


async def subscribed(running: Cell, name: str) -> tuple[str, str]:
    """The account and a key of a subscriber with a month and a top-up."""
    account_id, api_key = await running.subscriber(name)
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
    ordered = await running.admin("POST", f"/accounts/{account_id}/orders", {"offering_id": "monthly", "idempotency_key": name})
    assert (ordered.status, ordered.json["state"]) == (201, "completed"), ordered.body
    return account_id, api_key


async def usage(running: Cell, api_key: str) -> dict[str, Any]:
    shown = await running.call("GET", "/v1/usage", api_key)
    assert shown.status == 200, shown.body
    found: dict[str, Any] = shown.json
    return found


async def chat(running: Cell, api_key: str, **fields: Any) -> Reply:
    return await running.call("POST", "/v1/chat/completions", api_key, {**CHAT, **fields})


async def test_who_has_nothing_is_told_so(running: Cell) -> None:
    account_id, api_key = await running.subscriber("nothing")
    shown = await usage(running, api_key)
    assert (shown.pop("member_id")[:4], shown.pop("key_id")[:4]) == ("mem-", "key-")
    assert shown == {
        **{"object": "usage", "amounts_in": "micro_units", "account_id": account_id, "offering_id": "default", "valid_until": None},
        **{"balances": [], "buckets": [], "cycles": [], "limits": []},
    }


async def test_what_is_left_when_it_renews_and_what_was_used(running: Cell) -> None:
    account_id, api_key = await subscribed(running, "month")
    answered = await chat(running, api_key, simulate={"output_tokens": 7})
    assert answered.status == 200, answered.body
    used = answered.json["usage"]["total_tokens"] * UNIT
    shown = await usage(running, api_key)
    assert shown["balances"] == [{"unit": "TOKEN", "currency": None, "remaining": 1_700 * UNIT - used, "reserved": 0, "owed": 0}]
    (cycle,) = shown["cycles"]
    renews_at = cycle["cycle_end"]
    assert {name: cycle[name] for name in ("offering_id", "state", "cycle_number", "renews_at", "used")} == {
        **{"offering_id": "monthly", "state": "active", "cycle_number": 1, "renews_at": renews_at},
        "used": [{"unit": "TOKEN", "currency": None, "amount": used}],
    }
    # The month burns first; the top-up does not renew.
    by_source = {bucket["subscription_id"]: bucket for bucket in shown["buckets"]}
    month, top_up = by_source[cycle["subscription_id"]], by_source[None]
    assert (month["used"], month["remaining"], month["model_group"], month["renews_at"]) == (
        *(used, 1_000 * UNIT - used, "cheap"),
        renews_at,
    )
    assert (top_up["used"], top_up["remaining"], top_up["model_group"], top_up["renews_at"]) == (0, 700 * UNIT, None, None)
    limits = {limit["limit_id"]: limit for limit in shown["limits"]}
    hours = limits["hours"]
    assert (hours["per"], hours["kind"], hours["unit"], hours["limit"], hours["burst"]) == (
        *("account", "usage", "TOKEN", 500 * UNIT),
        None,
    )
    assert (hours["used"], hours["reserved"], hours["remaining"]) == (used, 0, 500 * UNIT - used)
    begin, end = (datetime.fromisoformat(hours[name]) for name in ("window_start", "resets_at"))
    assert end - begin == timedelta(hours=5)
    rpm, tpm, sessions = limits["rpm"], limits["tpm"], limits["sessions"]
    assert (rpm["per"], rpm["kind"], rpm["limit"], rpm["burst"], rpm["unit"]) == ("key", "request_rate", 60, 5, None)
    assert rpm["remaining"] in (4, 5)
    assert (tpm["kind"], tpm["limit"], tpm["burst"]) == ("token_rate", 6_000, 600)
    assert (sessions["per"], sessions["kind"], sessions["limit"], sessions["remaining"]) == ("member", "concurrent_sessions", 2, 2)
    # One that ends with its cycle does not renew.
    subscription = f"/accounts/{account_id}/subscriptions/{cycle['subscription_id']}"
    assert (await running.admin("DELETE", subscription, {})).status == 200
    ended = await usage(running, api_key)
    assert (ended["cycles"][0]["renews_at"], ended["cycles"][0]["cycle_end"]) == (None, renews_at)
    assert [bucket["renews_at"] for bucket in ended["buckets"]] == [None, None]


async def test_a_key_s_end_is_told(running: Cell) -> None:
    account_id, api_key = await subscribed(running, "end")
    until = "2050-01-01T00:00:00Z"
    limited = await running.admin(
        "PUT", f"/accounts/{account_id}/limits", {"subject": "account", "limits": [], "valid_until": until}
    )
    assert limited.status == 200
    assert (await usage(running, api_key))["valid_until"] == until


async def test_answers_have_what_rates_leave_and_refusals_too(running: Cell) -> None:
    _, api_key = await subscribed(running, "rates")
    answered = await chat(running, api_key)
    assert answered.headers["x-ratelimit-limit-requests"] == "5"
    assert answered.headers["x-ratelimit-remaining-requests"] == "4"
    assert answered.headers["x-ratelimit-reset-requests"] == "1s"
    assert answered.headers["x-ratelimit-limit-tokens"] == "600"
    left = int(answered.headers["x-ratelimit-remaining-tokens"])
    assert 500 < left < 600
    # A hundred tokens a second come back.
    assert answered.headers["x-ratelimit-reset-tokens"] == f"{(600 - left) * 10}ms"
    streamed = await chat(running, api_key, stream=True)
    assert streamed.headers["x-ratelimit-remaining-requests"] in ("3", "4")
    message = await running.call("POST", "/v1/messages", api_key, CHAT)
    assert message.headers["anthropic-ratelimit-requests-limit"] == "5"
    assert datetime.fromisoformat(message.headers["anthropic-ratelimit-requests-reset"]).tzinfo is not None
    assert not [name for name in message.headers if name.startswith("x-ratelimit")]
    while (refused := await chat(running, api_key)).status == 200:
        pass
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert (refused.headers["x-ratelimit-remaining-requests"], refused.headers["x-should-retry"]) == ("0", "true")
    assert 0 < int(refused.headers["retry-after-ms"]) <= 1_000
    assert refused.headers["retry-after"] == "1"


async def test_without_a_limit_on_rates_there_are_no_headers_of_them(running: Cell) -> None:
    account_id, api_key = await running.subscriber("unlimited")
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
    answered = await chat(running, api_key)
    assert answered.status == 200
    assert not [name for name in answered.headers if "ratelimit" in name]


async def test_without_a_key_nothing_is_told(running: Cell) -> None:
    refused = await running.call("GET", "/v1/usage")
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


def at(us: int) -> dict[str, Any]:
    return {"seconds": us // 1_000_000, "nanos": us % 1_000_000 * 1_000}


def bucket(bucket_id: str, begin: int, end: int, **fields: Any) -> pb.Bucket:
    unit = fields.pop("unit", pb.UnitOfAmount(unit=registry_pb2.UNIT_TOKEN))
    return pb.Bucket(bucket_id=bucket_id, unit=unit, valid_from_time=at(begin), valid_until_time=at(end), **fields)


async def test_what_is_over_is_left_out_and_what_is_to_come_is_no_balance() -> None:
    yuan = pb.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="CNY")
    account = pb.Account(
        buckets=[
            bucket("over", 1, 10, remaining=1),
            bucket("now", 1, 11, remaining=2, reserved=4),
            bucket("also", 10, 99, remaining=8),
            bucket("money", 1, 99, remaining=16, unit=yuan),
            bucket("to come", 11, 99, remaining=32),
            bucket("rolled over", 1, 99, consumed=5, subscription_id="s"),
            bucket("of the cycle", 7, 99, consumed=3, subscription_id="s"),
        ],
        debts=[pb.Debt(unit=yuan, incurred=9, outstanding=7)],
        subscriptions=[
            pb.Subscription(
                subscription_id="s", state="suspended", next_offering_id="o", cycle_start_time=at(7), cycle_end_time=at(50)
            ),
            pb.Subscription(subscription_id="gone", state="ended"),
        ],
    )
    shown = usage_json(pb.GetUsageResponse(account=account), Principal("k", "m", "a"), 10)
    assert [each["bucket_id"] for each in shown["buckets"]] == ["now", "also", "money", "to come", "rolled over", "of the cycle"]
    assert shown["balances"] == [
        {"unit": "TOKEN", "currency": None, "remaining": 10, "reserved": 4, "owed": 0},
        {"unit": "CURRENCY", "currency": "CNY", "remaining": 16, "reserved": 0, "owed": 7},
    ]
    (cycle,) = shown["cycles"]
    # It waits for its payment, so nobody knows when it renews.
    assert (cycle["state"], cycle["renews_at"], cycle["used"]) == (
        *("suspended", None),
        [{"unit": "TOKEN", "currency": None, "amount": 3}],
    )
