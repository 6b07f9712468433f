"""What an operator sells, gives back and limits over HTTP: bad input to every field, and pages of the journal."""

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest
import pytest_asyncio

from tests.accounting.rejections import ADMINISTRATIVE
from tests.edge.system import Cell, cell
from tests.openapi.documents import document
from tests.registry.catalogs import CATALOG

pytestmark = pytest.mark.asyncio(loop_scope="module")

SALES = """\
  - offering_id: pack
    display_name: A pack
    tariff_id: flat
    reservation_policy: worst_case
    price: {amount: 2, currency: USD}
    payment_methods: [prepaid, external]
    allowances:
      - {allowance_id: extra, unit: TOKEN, amount: 400, valid_days: 30}
"""
ACCOUNT, OTHER = "acct-0123456789abcdef", "acct-fedcba9876543210"
ID = "0198c0de-0000-7000-8000-000000000000"
ADMINISTRATOR = {"subject": "administrator", "proof": "admin_token", "role": "operator"}


class Route(NamedTuple):
    method: str
    path: str
    # A body in which nothing is wrong, and the fields that may be left out.
    body: dict[str, Any]
    optional: frozenset[str] = frozenset()


CORRECTION = {"amount": 5, "reason": "asked for", "idempotency_key": "k"}
ROUTES = [
    Route(
        "POST",
        "/orders",
        {"offering_id": "pack", "idempotency_key": "k", "payment_method": "prepaid", "identity": "person:4711"},
        frozenset({"payment_method", "identity"}),
    ),
    Route("POST", "/orders/ord-1/payment", {"payment_reference": "bank-7"}),
    Route("DELETE", "/orders/ord-1", {"reason": "changed their mind"}),
    Route(
        "PUT",
        "/subscriptions/sub-1",
        {"offering_id": "pack", "idempotency_key": "k", "payment_method": "prepaid", "at_once": True, "identity": "person:4711"},
        frozenset({"payment_method", "at_once", "identity"}),
    ),
    Route("DELETE", "/subscriptions/sub-1", {"at_once": True}, frozenset({"at_once"})),
    Route("POST", "/orders/ord-1/refund", {"reason": "moved away", "idempotency_key": "k"}),
    Route("POST", "/subscriptions/sub-1/refund", {"reason": "moved away", "idempotency_key": "k"}),
    Route(
        "POST", "/transfers", {"to_account_id": "acct-fedcba9876543210", "bucket_id": "bkt-1", "amount": 5, "idempotency_key": "k"}
    ),
    Route(
        "PUT",
        "/limits",
        {"subject": "account", "limits": [], "valid_until": "2050-01-01T00:00:00Z"},
        frozenset({"limits", "valid_until"}),
    ),
    Route(
        "POST",
        "/refunds",
        {**CORRECTION, "charging_id": ID, "sequence_number": 1, "record_sequence_number": 1, "valid_days": 30},
        frozenset({"record_sequence_number"}),
    ),
    Route("POST", "/reductions", {**CORRECTION, "bucket_id": "bkt-1"}),
    Route("POST", "/write-offs", {**CORRECTION, "unit": "CURRENCY", "currency": "USD"}),
]
WRONG_TEXT: Final[tuple[Any, ...]] = (None, "", 5, True, ["x"], {}, "x" * 501)
WRONG_NUMBER: Final[tuple[Any, ...]] = (None, 0, -1, 1.5, "5", True, 2**63, 10**30, [])
WRONG: Final[dict[str, tuple[Any, ...]]] = {
    "amount": WRONG_NUMBER,
    "sequence_number": (*WRONG_NUMBER[:6], []),
    "record_sequence_number": (*WRONG_NUMBER[:6], []),
    "valid_days": (*WRONG_NUMBER, 36_501),
    "at_once": (None, 1, "true"),
    "payment_method": ("cash", "", 5),
    "identity": ("", 5, True, ["x"], {}, "x" * 501, "person:4711\x00"),
    "unit": (None, "", "GALLON", "token", 5),
    "currency": (None, "", "usd", "DOLLAR", 5),
    "limits": (None, 5, "x", [5], [{"kind": 1}], [{"limit_id": 5}], [{"request_rate": {"per_minute": -1}}]),
    "valid_until": (
        "tomorrow",
        "",
        5,
        "2026-13-01T00:00:00Z",
        "2026-12-31T16:00:00+25:00",
        "1960-01-01T00:00:00Z",
        "2900-01-01T00:00:00Z",
    ),
}


def wrong_bodies() -> Iterator[tuple[Route, str, dict[str, Any]]]:
    """(route, the field that is wrong, the body)."""
    for route in ROUTES:
        for field in route.body:
            if field not in route.optional:
                yield route, field, {name: value for name, value in route.body.items() if name != field}
            for value in WRONG.get(field, WRONG_TEXT):
                yield route, field, {**route.body, field: value}
        yield route, "colour", {**route.body, "colour": "red"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("sales"), catalog=CATALOG + SALES) as services:
        await services.ready()
        yield services


async def test_every_wrong_field_is_named_and_changes_nothing(running: Cell) -> None:
    account_id = (await running.admin("POST", "/accounts")).json["account_id"]
    before = (await running.admin("GET", f"/journal?account_id={account_id}")).json["data"]
    for route, field, body in wrong_bodies():
        refused = await running.admin(route.method, f"/accounts/{account_id}{route.path}", body)
        said = f"{route.method} {route.path} {field}={body.get(field)!r}: {refused.status} {refused.body!r}"
        assert refused.status == 400, said
        assert refused.error["type"] == "invalid_request_error", said
        assert refused.error["param"] == field, said
        assert field in refused.error["message"], said
    assert (await running.admin("GET", f"/journal?account_id={account_id}")).json["data"] == before


async def test_a_wrong_word_within_a_limit_is_answered_with_the_right_ones(running: Cell) -> None:
    account_id = (await running.admin("POST", "/accounts")).json["account_id"]
    body = {"subject": "account", "limits": [{"limit_id": "parallel", "per": "account", "concurrent_sessions": 1}]}
    refused = await running.admin("PUT", f"/accounts/{account_id}/limits", body)
    assert refused.status == 400
    for word in ("per", "LIMIT_SCOPE_ACCOUNT", "LIMIT_SCOPE_MEMBER", "LIMIT_SCOPE_KEY", "UNIT_TOKEN"):
        assert word in refused.error["message"]


async def test_the_limit_that_document_and_refusal_show_is_taken(running: Cell) -> None:
    opened = (await running.admin("POST", "/accounts")).json
    path, subject = f"/accounts/{opened['account_id']}/limits", f"member:{opened['member_id']}"
    spec = document("admin")["paths"]["/v1/admin/accounts/{account_id}/limits"]["put"]["requestBody"]["content"]
    (shown,) = spec["application/json"]["schema"]["properties"]["limits"]["items"]["examples"]
    whole = {"limit_id": "month", "usage": 5, "unit": "TOKEN"}
    refused = await running.admin("PUT", path, {"subject": subject, "limits": [whole]})
    assert msgspec.json.encode(shown).decode() in refused.error["message"].replace(", ", ",").replace(": ", ":")
    taken = await running.admin("PUT", path, {"subject": subject, "limits": [shown]})
    assert (taken.status, taken.json["limits"][0]["usage"]["amount"]) == (200, "5000000000")


async def test_limits_are_set_for_keys_and_members_of_the_account_alone(running: Cell) -> None:
    opened = (await running.admin("POST", "/accounts")).json
    other = (await running.admin("POST", "/accounts")).json
    account_id, member_id = opened["account_id"], opened["member_id"]
    key_id = (await running.admin("POST", f"/accounts/{account_id}/keys")).json["key_id"]
    others_key_id = (await running.admin("POST", f"/accounts/{other['account_id']}/keys")).json["key_id"]
    path = f"/accounts/{account_id}/limits"
    until = {"valid_until": "2050-01-01T00:00:00Z"}
    for subject in ("account", f"key:{key_id}", f"member:{member_id}"):
        assert (await running.admin("PUT", path, {"subject": subject, **until})).status == 200
    for kind, name in (("key", others_key_id), ("key", "none"), ("member", other["member_id"]), ("member", "")):
        refused = await running.admin("PUT", path, {"subject": f"{kind}:{name}", **until})
        assert (refused.status, refused.error["param"]) == (400, "subject")
        assert refused.error["message"].startswith(f"Account {account_id} has no {kind} {name!r}.")
    # Those of a name that nobody has can be removed.
    assert (await running.admin("PUT", path, {"subject": f"key:{others_key_id}", "limits": []})).status == 200


async def test_what_is_right_of_an_unknown_account_is_404(running: Cell) -> None:
    for route in ROUTES:
        refused = await running.admin(route.method, f"/accounts/{ACCOUNT}{route.path}", route.body)
        code = "receipt_not_found" if route.path == "/refunds" else "account_not_found"
        assert (refused.status, refused.error["code"]) == (404, code), (route, refused.body)


async def test_what_names_nothing_of_the_account_is_404(running: Cell) -> None:
    account_id = (await running.admin("POST", "/accounts")).json["account_id"]
    for route in ROUTES:
        if route.path in ("/orders", "/limits", "/write-offs"):
            continue
        refused = await running.admin(route.method, f"/accounts/{account_id}{route.path}", route.body)
        assert refused.status == 404, (route, refused.body)
        assert refused.error["message"], route
    assert (await running.admin("GET", f"/refusals/{ID}")).status == 404
    assert (await running.admin("GET", "/refusals/nothing")).status == 400


@pytest.mark.parametrize("query", ["cursor=x", "cursor=1", "cursor=-1/2", "cursor=1/%C2%B2", "cursor=1/9999999999999999999",
                                   "limit=0", "limit=-1", "limit=10001", "limit=many", "from_us=now", "until_us=1.5"])  # fmt: skip
async def test_a_wrong_query_of_the_journal_is_named(running: Cell, query: str) -> None:
    refused = await running.admin("GET", f"/journal?{query}")
    field = query.partition("=")[0]
    assert (refused.status, refused.error["param"]) == (400, field), refused.body
    assert "Expected" not in refused.error["message"]
    told = {"limit=0": "limit must be a whole number of at least 1.", "limit=many": "limit must be a whole number."}
    assert refused.error["message"] == told.get(query, refused.error["message"])


async def test_the_journal_comes_in_pages(running: Cell) -> None:
    account_ids = [(await running.admin("POST", "/accounts")).json["account_id"] for _ in range(9)]
    whole = (await running.admin("GET", "/journal?limit=10000")).json
    assert whole["next"] is None
    assert set(account_ids) <= {entry["account_id"] for entry in whole["data"]}
    paged: list[Any] = []
    cursor = ""
    while True:
        page = (await running.admin("GET", f"/journal?limit=2&cursor={cursor}")).json
        assert len(page["data"]) >= 2 or page["next"] is None
        paged += page["data"]
        if page["next"] is None:
            break
        cursor = page["next"]
    assert paged == whole["data"]
    times = sorted(entry["time_us"] for entry in whole["data"])
    middle = times[len(times) // 2]
    earlier = (await running.admin("GET", f"/journal?until_us={middle}&limit=10000")).json["data"]
    later = (await running.admin("GET", f"/journal?from_us={middle}&limit=10000")).json["data"]
    assert earlier + later != []
    assert sorted(map(str, earlier + later)) == sorted(map(str, whole["data"]))
    own = (await running.admin("GET", f"/journal?account_id={account_ids[0]}")).json["data"]
    assert [entry["fact"] for entry in own] == ["account_opened"]


async def test_the_journal_says_who_gave_the_commands(running: Cell) -> None:
    account_id = (await running.admin("POST", "/accounts")).json["account_id"]

    async def give(method: str, path: str, **body: Any) -> Any:
        given = await running.admin(method, f"/accounts/{account_id}{path}", body)
        assert given.status in (200, 201), given.body
        return given.json

    money = {"unit": "CURRENCY", "currency": "USD", "amount": 10_000_000, "valid_days": 30}
    bucket_id = (await give("POST", "/buckets", **money, idempotency_key="money"))["bucket_id"]
    await give("POST", "/orders", offering_id="pack", idempotency_key="paid", payment_method="prepaid")
    outside = {"offering_id": "pack", "payment_method": "external"}
    paid, given_up = [(await give("POST", "/orders", **outside, idempotency_key=key))["order_id"] for key in ("one", "two")]
    await give("POST", f"/orders/{paid}/payment", payment_reference="bank-7")
    await give("DELETE", f"/orders/{given_up}", reason="changed their mind")
    await give("PUT", "/limits", subject="account", valid_until="2050-01-01T00:00:00Z")
    await give("POST", "/reductions", bucket_id=bucket_id, **CORRECTION)
    entries = (await running.admin("GET", f"/journal?account_id={account_id}")).json["data"]
    assert [entry["fact"] for entry in entries] == [
        "account_opened",
        "bucket_granted",
        *("order_placed", "bucket_granted", "price_charged", "order_completed"),
        *("order_placed", "order_placed"),
        *("bucket_granted", "order_completed"),
        "order_failed",
        "limits_set",
        "bucket_reduced",
    ]
    assert [entry["actor"] for entry in entries] == [ADMINISTRATOR] * len(entries)


async def test_every_administrative_command_is_given_in_somebodys_name() -> None:
    edge = Path(__file__).parents[2] / "services" / "edge"
    source = "".join(path.read_text(encoding="utf-8") for path in edge.rglob("*.py"))
    # A key above them ends runs as well, and is named in the request.
    calls = dict.fromkeys(ADMINISTRATIVE, 1) | {"EndRuns": 2}
    assert {name: len(re.findall(rf"\.{name}\b", source)) for name in ADMINISTRATIVE} == calls
    assert sorted(re.findall(r"give\(request, accounting\.(\w+), ", source)) == sorted(ADMINISTRATIVE)
