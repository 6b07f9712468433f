import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from services.edge.api.admin.router import read_admin_token
from services.runtime.config import ConfigError
from tests.edge.system import ADMIN_TOKEN, Cell, cell
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
BUCKET = {"unit": "TOKEN", "amount": 5_000_000, "valid_days": 30, "idempotency_key": "top-up"}
ROUTES = [
    ("POST", "/accounts"),
    ("GET", "/accounts/acct-0123456789abcdef"),
    ("POST", "/accounts/acct-0123456789abcdef/suspend"),
    ("POST", "/accounts/acct-0123456789abcdef/resume"),
    ("POST", "/accounts/acct-0123456789abcdef/buckets"),
    ("POST", "/accounts/acct-0123456789abcdef/keys"),
    ("GET", "/accounts/acct-0123456789abcdef/keys"),
    ("DELETE", "/keys/key-0123456789abcdef"),
    ("GET", "/models"),
    ("GET", "/offerings"),
    ("POST", "/audit"),
    ("POST", "/reconcile"),
    ("GET", "/journal"),
    ("GET", "/accounts/burning"),
    ("GET", "/partitions"),
    ("POST", "/partitions/0/move"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell")) as services:
        await services.ready()
        yield services


async def open_account(running: Cell, **fields: Any) -> str:
    opened = await running.admin("POST", "/accounts", fields)
    assert opened.status == 201, opened.body
    account_id: str = opened.json["account_id"]
    return account_id


async def test_an_account_is_opened_once_under_its_idempotency_key(running: Cell) -> None:
    first = await running.admin("POST", "/accounts", {"idempotency_key": "once"})
    second = await running.admin("POST", "/accounts", {"idempotency_key": "once"})
    assert first.status == second.status == 201
    assert first.json == second.json
    assert set(first.json) == {"account_id", "offering_id", "external_id", "member_id"}
    assert re.fullmatch(r"acct-[0-9a-f]{16}", first.json["account_id"])
    assert first.json["offering_id"] == "default"
    other = await running.admin("POST", "/accounts", {"idempotency_key": "once", "offering_id": "metered"})
    assert (other.status, other.error["code"]) == (409, "idempotency_conflict")
    assert other.headers["x-should-retry"] == "false"


async def test_without_an_idempotency_key_each_account_is_new(running: Cell) -> None:
    first, second = await running.admin("POST", "/accounts"), await running.admin("POST", "/accounts", {})
    assert first.status == second.status == 201
    assert first.json["account_id"] != second.json["account_id"]
    assert first.json["member_id"] != second.json["member_id"]


async def test_an_account_on_an_offering(running: Cell) -> None:
    opened = await running.admin("POST", "/accounts", {"offering_id": "metered"})
    assert opened.json["offering_id"] == "metered"
    unknown = await running.admin("POST", "/accounts", {"offering_id": "nothing"})
    assert (unknown.status, unknown.error["code"], unknown.error["param"]) == (404, "offering_not_found", "offering_id")


async def test_buckets_are_granted_once_and_shown(running: Cell) -> None:
    account_id = await open_account(running)
    path = f"/accounts/{account_id}/buckets"
    granted = await running.admin("POST", path, {**BUCKET, "priority": 7})
    assert granted.status == 201
    bucket = granted.json
    assert (bucket.pop("repaid_amount"), bucket.pop("amounts_in")) == (0, "micro_units")
    assert bucket.keys() == {
        *("bucket_id", "unit", "currency", "granted", "remaining", "reserved", "consumed", "expired", "transferred"),
        *("valid_from", "valid_until", "priority"),
    }
    assert (bucket["unit"], bucket["currency"], bucket["granted"], bucket["priority"]) == ("TOKEN", None, 5_000_000, 7)
    assert RFC_3339.fullmatch(bucket["valid_until"])
    assert (await running.admin("POST", path, {**BUCKET, "priority": 7})).json["bucket_id"] == bucket["bucket_id"]
    conflict = await running.admin("POST", path, BUCKET)
    assert (conflict.status, conflict.error["code"], conflict.error["param"]) == (409, "idempotency_conflict", "idempotency_key")

    shown = await running.admin("GET", f"/accounts/{account_id}")
    assert shown.status == 200
    assert RFC_3339.fullmatch(shown.json.pop("created_at"))
    assert shown.json == {
        "amounts_in": "micro_units",
        "account_id": account_id,
        "offering_id": "default",
        "created_at": shown.json["created_at"],
        "suspended_at": None,
        "buckets": [bucket],
        "debt": [],
        "absorbed": [],
        "sessions": [],
        **{"subscriptions": [], "orders": [], "transfers": [], "counters": [], "limits": []},
    }


async def test_money_has_a_currency(running: Cell) -> None:
    account_id = await open_account(running, offering_id="metered")
    money = {**BUCKET, "unit": "CURRENCY", "currency": "USD"}
    granted = await running.admin("POST", f"/accounts/{account_id}/buckets", money)
    assert (granted.status, granted.json["unit"], granted.json["currency"]) == (201, "CURRENCY", "USD")


LEFT_OUT = object()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("amount", value) for value in (LEFT_OUT, None, 0, -1, 1.5, 1e6, "5", True, 2**63, 10**30, [1])),
        *(("valid_days", value) for value in (LEFT_OUT, None, 0, -3, 36_501, 1.5, "30")),
        *(("unit", value) for value in (LEFT_OUT, None, "token", "EUR", 1, "")),
        *(("currency", value) for value in ("USD", "usd", "", 5, "US", "USD\n")),
        *(("priority", value) for value in (-1, 1_001, 1.5, "1", None)),
        *(("idempotency_key", value) for value in (LEFT_OUT, None, "", "k" * 201, 7)),
        ("ammount", 5),
    ],
)
async def test_a_wrong_field_of_a_bucket_is_named(running: Cell, field: str, value: Any) -> None:
    body = {**BUCKET, field: value}
    if value is LEFT_OUT:
        del body[field]
    refused = await running.admin("POST", "/accounts/acct-0123456789abcdef/buckets", body)
    assert refused.status == 400
    assert refused.error["type"] == "invalid_request_error"
    assert refused.error["param"] == field
    assert field in refused.error["message"]


@pytest.mark.parametrize("currency", [None, "usd", "DOLLARS", "US1", 5])
async def test_money_without_a_currency_is_refused(running: Cell, currency: Any) -> None:
    body = {**BUCKET, "unit": "CURRENCY", "currency": currency}
    refused = await running.admin("POST", "/accounts/acct-0123456789abcdef/buckets", body)
    assert (refused.status, refused.error["param"]) == (400, "currency")
    assert "three capital letters" in refused.error["message"]


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/accounts", {"offering_id": 5}, "offering_id"),
        ("/accounts", {"offering_id": ""}, "offering_id"),
        ("/accounts", {"idempotency_key": ""}, "idempotency_key"),
        ("/accounts", {"idempotency_key": "k" * 201}, "idempotency_key"),
        ("/accounts", {"name": "x"}, "name"),
        ("/accounts", [], None),
        ("/accounts/acct-0123456789abcdef/keys", {"idempotency_key": 1}, "idempotency_key"),
        ("/accounts/acct-0123456789abcdef/keys", {"member": "x"}, "member"),
        ("/audit", {"deep": True}, "deep"),
        ("/reconcile", {"from": 1}, "from"),
        ("/reconcile", {"write_missing": "yes"}, "write_missing"),
        ("/partitions/0/move", {"address": 7}, "address"),
        ("/partitions/0/move", {"address": ""}, "address"),
        ("/partitions/0/move", {"address": "x" * 501}, "address"),
        ("/partitions/0/move", {"to": "x"}, "to"),
        ("/partitions/-1/move", {}, "part_id"),
        ("/partitions/4096/move", {}, "part_id"),
    ],
)
async def test_a_wrong_field_elsewhere_is_named(running: Cell, path: str, body: Any, param: str | None) -> None:
    refused = await running.admin("POST", path, body)
    assert (refused.status, refused.error["param"]) == (400, param)


@pytest.mark.parametrize("body", [b"{", b"not json", b'{"offering_id": NaN}', b"\xff", b'{"offering_id": "\\ud800"}', b"null"])
async def test_what_is_no_json_object_is_refused(running: Cell, body: bytes) -> None:
    refused = await running.call("POST", "/v1/admin/accounts", ADMIN_TOKEN, body=body)
    assert (refused.status, refused.error["code"], refused.error["param"]) == (400, "invalid_json", None)


async def test_a_body_that_is_too_large_is_refused(running: Cell) -> None:
    refused = await running.call("POST", "/v1/admin/accounts", ADMIN_TOKEN, body=b" " * 1_000_001)
    assert (refused.status, refused.error["code"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("POST", "/suspend", None),
        ("POST", "/resume", None),
        ("POST", "/buckets", BUCKET),
        ("POST", "/keys", {}),
        ("GET", "/keys", None),
    ],
)
@pytest.mark.parametrize("account_id", ["acct-0123456789abcdef"])
async def test_an_unknown_account_is_404(running: Cell, method: str, path: str, body: Any, account_id: str) -> None:
    refused = await running.admin(method, f"/accounts/{account_id}{path}", body)
    assert (refused.status, refused.error["code"], refused.error["param"]) == (404, "account_not_found", "account_id")


async def test_keys_are_issued_listed_and_revoked(running: Cell) -> None:
    account_id = await open_account(running)
    assert (await running.admin("GET", f"/accounts/{account_id}/keys")).json == {"data": []}
    path = f"/accounts/{account_id}/keys"
    issued = await running.admin("POST", path, {"idempotency_key": "first"})
    assert issued.status == 201
    assert issued.json.keys() == {"key_id", "api_key", "account_id", "member_id", "scopes"}
    assert issued.json["account_id"] == account_id
    # The secret is shown once.
    again = await running.admin("POST", path, {"idempotency_key": "first"})
    assert (again.status, again.error["code"]) == (409, "already_exists")
    assert issued.json["key_id"] in again.error["message"]
    second = await running.admin("POST", path)

    listed = (await running.admin("GET", path)).json["data"]
    assert [key["key_id"] for key in listed] == [issued.json["key_id"], second.json["key_id"]]
    shown = {"key_id", "member_id", "masked_key", "created_at", "revoked_at", "parent_key_id", "scopes", "ends_at"}
    assert listed[0].keys() == shown
    assert issued.json["api_key"] not in str(listed)
    assert RFC_3339.fullmatch(listed[0]["created_at"])
    assert listed[0]["revoked_at"] is None

    revoked = await running.admin("DELETE", f"/keys/{issued.json['key_id']}")
    assert revoked.status == 200
    assert revoked.json.keys() == {"key_id", "revoked_at"}
    assert (await running.admin("DELETE", f"/keys/{issued.json['key_id']}")).json == revoked.json
    listed = (await running.admin("GET", path)).json["data"]
    assert [key["revoked_at"] for key in listed] == [revoked.json["revoked_at"], None]
    unknown = await running.admin("DELETE", "/keys/key-0123456789abcdef")
    assert (unknown.status, unknown.error["code"], unknown.error["param"]) == (404, "key_not_found", "key_id")


async def test_an_idempotency_key_is_its_callers_own_for_each_kind_of_thing_and_account(running: Cell) -> None:
    first = await open_account(running, idempotency_key="shared")
    second = await open_account(running)
    issued = [
        await running.admin("POST", f"/accounts/{account_id}/keys", {"idempotency_key": "shared"}) for account_id in (first, second)
    ]
    assert [reply.status for reply in issued] == [201, 201]


async def test_a_revoked_key_is_refused_once_the_edge_has_heard_of_it(running: Cell) -> None:
    account_id, api_key = await running.subscriber("to be revoked")
    assert (await running.call("GET", "/v1/me/balance", api_key)).status == 200
    key_id = (await running.admin("GET", f"/accounts/{account_id}/keys")).json["data"][0]["key_id"]
    assert (await running.admin("DELETE", f"/keys/{key_id}")).status == 200
    async with asyncio.timeout(WAIT_S):
        while (reply := await running.call("GET", "/v1/me/balance", api_key)).status == 200:
            pass
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
    assert api_key not in reply.error["message"]


async def test_an_account_is_suspended_and_resumed_and_says_so(running: Cell) -> None:
    account_id, _ = await running.subscriber("to be suspended")
    path = f"/accounts/{account_id}"
    assert (await running.admin("GET", path)).json["suspended_at"] is None
    never = await running.admin("POST", f"{path}/resume")
    assert (never.status, never.json) == (200, {"account_id": account_id, "suspended_at": None, "resumed_at": None})
    suspended = await running.admin("POST", f"{path}/suspend")
    assert suspended.status == 200
    assert suspended.json.keys() == {"account_id", "suspended_at", "resumed_at"}
    assert RFC_3339.fullmatch(suspended.json["suspended_at"])
    assert suspended.json["resumed_at"] is None
    assert (await running.admin("POST", f"{path}/suspend")).json == suspended.json
    assert (await running.admin("GET", path)).json["suspended_at"] == suspended.json["suspended_at"]
    resumed = await running.admin("POST", f"{path}/resume")
    assert resumed.json["suspended_at"] == suspended.json["suspended_at"]
    assert RFC_3339.fullmatch(resumed.json["resumed_at"])
    assert (await running.admin("POST", f"{path}/resume")).json == resumed.json
    assert (await running.admin("GET", path)).json["suspended_at"] is None


async def test_the_catalog_is_shown(running: Cell) -> None:
    models = (await running.admin("GET", "/models")).json["data"]
    assert [model["model_id"] for model in models] == ["large", "small"]
    assert models[0] == {
        "model_id": "large",
        "display_name": "Large",
        "owned_by": "acme",
        "context_window_tokens": 2_000,
        "max_output_tokens": 2_000,
        "routes": [
            {
                "vendor_id": "acme",
                "vendor_model_id": "acme-large-a",
                "priority": 1,
                "weight": 1,
                "edge_concurrency_max": 0,
                "requests_per_minute": 0,
                "tokens_per_minute": 0,
                "region": "",
                "offering_ids": [],
            },
            {
                "vendor_id": "acme",
                "vendor_model_id": "acme-large-b",
                "priority": 7,
                "weight": 3,
                "edge_concurrency_max": 200,
                "requests_per_minute": 0,
                "tokens_per_minute": 0,
                "region": "",
                "offering_ids": [],
            },
        ],
    }
    without_price: dict[str, Any] = {"price": None, "cycle": None, "allowances": []}
    assert (await running.admin("GET", "/offerings")).json["data"] == [
        {
            "offering_id": "default",
            "display_name": "Everything",
            "unit": "TOKEN",
            "currency": None,
            "tariff_id": "flat",
            "tariff_version": 1,
            "models": 2,
            "priority_class": "standard",
            "default": True,
            "withdrawn": False,
            "only_granted": False,
            **without_price,
        },
        {
            "offering_id": "metered",
            "display_name": "Metered",
            "unit": "CURRENCY",
            "currency": "USD",
            "tariff_id": "usd",
            "tariff_version": 3,
            "models": 1,
            "priority_class": "standard",
            "default": False,
            "withdrawn": False,
            "only_granted": False,
            **without_price,
        },
    ]


async def test_audit_and_reconciliation_tell_what_they_read(running: Cell) -> None:
    account_id = await open_account(running)
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
    audit = await running.admin("POST", "/audit")
    assert audit.status == 200
    counted = {"accounts", "buckets", "entries", "open_sessions"}
    assert audit.json.keys() == {"amounts_in", *counted, "in_transit", "absorbed", "breaches"}
    assert (audit.json["amounts_in"], audit.json["absorbed"], audit.json["in_transit"]) == ("micro_units", [], [])
    assert audit.json["breaches"] == []
    assert audit.json["accounts"] >= 1
    assert audit.json["buckets"] >= 1
    assert audit.json["open_sessions"] == 0
    reconciled = await running.admin("POST", "/reconcile", {})
    assert reconciled.status == 200
    assert reconciled.json.keys() == {"entries", "cdrs", "charges", "files", "differences"}
    assert reconciled.json["differences"] == []
    assert reconciled.json["entries"] >= 2


async def test_a_billing_that_was_just_replaced_is_waited_for(running: Cell) -> None:
    assert (await running.admin("POST", "/reconcile")).status == 200
    await running.stop("billing")
    asked = [asyncio.create_task(running.admin(*route)) for route in (("POST", "/reconcile"), ("GET", "/partitions"))]
    await asyncio.sleep(1.0)
    assert not any(each.done() for each in asked)
    await running.start("billing")
    assert [(await each).status for each in asked] == [200, 200]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_only_the_admin_token_opens_the_administration(running: Cell, method: str, path: str) -> None:
    _, api_key = await running.subscriber("curious")
    for token in (None, "", api_key, ADMIN_TOKEN[:-1], ADMIN_TOKEN + "x", ADMIN_TOKEN.upper(), "schlüssel"):
        refused = await running.call(method, "/v1/admin" + path, token)
        assert (refused.status, refused.error["code"]) == (401, "invalid_admin_token")
        assert ADMIN_TOKEN not in refused.error["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/me/balance", "/v1/me/receipts/01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_the_admin_token_opens_nothing_else(running: Cell, path: str) -> None:
    refused = await running.call("GET", path, ADMIN_TOKEN)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("content", ["", "short", "x" * 15, "two words of a length", "ключ-от-квартиры-где-деньги"])
async def test_a_token_file_that_will_not_do_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="the admin token must be"):
        read_admin_token(path)


async def test_a_missing_token_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_admin_token(tmp_path / "nothing")


async def test_accounts_that_burn_are_told_by_unit(running: Cell) -> None:
    account_id, api_key = await running.subscriber("burns")
    topup = {"unit": "TOKEN", "amount": 1_000_000_000, "valid_days": 1, "idempotency_key": "first"}
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", topup)).status == 201
    body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    called = await running.call("POST", "/v1/chat/completions", api_key, body)
    charged = called.json["usage"]["total_tokens"] * 1_000_000
    told = (await running.admin("GET", "/accounts/burning?window=1m&limit=100")).json
    assert (told["window"], told["amounts_in"], told["silent"]) == ("1m", "micro_units", [])
    (tokens,) = (each for each in told["units"] if each["unit"] == "TOKEN")
    assert {"account_id": account_id, "charged": charged} in tokens["accounts"]
    assert (tokens["currency"], tokens["error"]) == (None, 0)


@pytest.mark.parametrize(
    ("query", "param"), [("window=2h", "window"), ("window=", "window"), ("limit=0", "limit"), ("limit=101", "limit")]
)
async def test_a_window_or_limit_that_is_none_is_named(running: Cell, query: str, param: str) -> None:
    refused = await running.admin("GET", f"/accounts/burning?{query}")
    assert (refused.status, refused.error["param"]) == (400, param)


async def test_partitions_show_what_the_next_owner_replays_and_what_is_not_exported(running: Cell) -> None:
    await open_account(running)
    listed = (await running.admin("GET", "/partitions")).json
    assert listed["era"] == 1
    assert [each["part_id"] for each in listed["data"]] == list(range(len(listed["data"])))
    for each in listed["data"]:
        assert each.keys() == {"part_id", "owner", "epoch", "last_sequence_number", "tail", "lag"}
        assert each["owner"] is None
        assert 0 <= each["tail"] <= each["last_sequence_number"]
        assert 0 <= each["lag"] <= each["last_sequence_number"]
    assert sum(each["last_sequence_number"] for each in listed["data"]) > 0


@pytest.mark.parametrize(
    ("part_id", "status", "said"),
    [
        ("0", 409, "this cell has one accounting process and no etcd; there is nowhere to move to"),
        ("4095", 400, "part_id must be 0 to"),
        ("seven", 404, ""),
    ],
)
async def test_a_move_that_cannot_be_says_why(running: Cell, part_id: str, status: int, said: str) -> None:
    refused = await running.admin("POST", f"/partitions/{part_id}/move", {})
    assert refused.status == status, refused.body
    assert said in refused.error["message"]
