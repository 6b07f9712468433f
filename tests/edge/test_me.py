import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.edge.api.me import receipt_json
from services.runtime.clients import connect
from services.runtime.identifiers import uuid7
from tests.edge.system import Cell, cell
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2
from tokenline.registry.v1 import registry_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUCKET = {"unit": "TOKEN", "amount": 1_000_000_000, "valid_days": 30, "idempotency_key": "top-up"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell")) as services:
        await services.ready()
        yield services


async def charge(running: Cell, account_id: str) -> str:
    """Creates and releases a session of 5 cached and 15 other input tokens and 40 of output; returns its charging_id."""
    charging_id = uuid7(time.time_ns() // 1_000)
    create = accounting_pb2.CreateSession(
        model_id="small", key_id="key-1", member_id="mem-1", input_tokens_bound=20, output_tokens_limit=100
    )
    release = accounting_pb2.ReleaseSession(
        used=accounting_pb2.TokenUsage(input=15, cached_input=5, output=40),
        provenance=accounting_pb2.USAGE_PROVENANCE_PARTIAL,
        close_cause=accounting_pb2.CLOSE_CAUSE_CLIENT_GONE,
        attempts=[
            accounting_pb2.VendorAttempt(
                vendor_id="acme", vendor_model_id="acme-small", outcome="answered", http_status=200, duration_ms=12
            )
        ],
    )
    async with connect(running.address("accounting")) as channel:
        call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge(timeout=5)
        for number, operation in enumerate(
            (accounting_pb2.ChargeOperation(create=create), accounting_pb2.ChargeOperation(release=release)), 1
        ):
            operation.operation_id = operation.invocation_sequence_number = number
            operation.account_id, operation.charging_id = account_id, charging_id
            await call.write(accounting_pb2.ChargeRequest(operations=[operation]))
            answer = await call.read()
            assert isinstance(answer, accounting_pb2.ChargeResponse)
            assert answer.results[0].WhichOneof("result") == ("granted" if number == 1 else "settled")
        await call.done_writing()
    return charging_id


async def test_a_balance_shows_the_keys_own_account(running: Cell) -> None:
    account_id, api_key = await running.subscriber("balance")
    empty = await running.call("GET", "/v1/me/balance", api_key)
    assert empty.status == 200
    assert empty.json == {"object": "balance", "account_id": account_id, "offering_id": "default", "buckets": [], "debt": []}
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
    await charge(running, account_id)
    balance = (await running.call("GET", "/v1/me/balance", api_key)).json
    assert balance["buckets"] == (await running.admin("GET", f"/accounts/{account_id}")).json["buckets"]
    (bucket,) = balance["buckets"]
    assert (bucket["granted"], bucket["remaining"], bucket["consumed"]) == (1_000_000_000, 940_000_000, 60_000_000)


async def test_a_debt_is_shown(running: Cell) -> None:
    account_id, api_key = await running.subscriber("debt")
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", {**BUCKET, "amount": 120_000_000})).status == 201
    async with connect(running.address("accounting")) as channel:
        call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge(timeout=5)
        event = accounting_pb2.ChargeEvent(
            model_id="small",
            key_id="key-1",
            member_id="mem-1",
            used=accounting_pb2.TokenUsage(input=150),
            provenance=accounting_pb2.USAGE_PROVENANCE_VENDOR,
        )
        operation = accounting_pb2.ChargeOperation(
            operation_id=1,
            account_id=account_id,
            charging_id=uuid7(time.time_ns() // 1_000),
            invocation_sequence_number=1,
            event=event,
        )
        await call.write(accounting_pb2.ChargeRequest(operations=[operation]))
        await call.read()
        await call.done_writing()
    balance = (await running.call("GET", "/v1/me/balance", api_key)).json
    assert balance["debt"] == [
        {"unit": "TOKEN", "currency": None, "incurred": 30_000_000, "repaid": 0, "written_off": 0, "outstanding": 30_000_000}
    ]
    repaid = await running.admin("POST", f"/accounts/{account_id}/buckets", {**BUCKET, "idempotency_key": "second"})
    assert repaid.json["repaid_amount"] == 30_000_000


async def test_a_receipt_tells_what_a_call_used_and_cost(running: Cell) -> None:
    account_id, api_key = await running.subscriber("receipt")
    bucket_id = (await running.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).json["bucket_id"]
    charging_id = await charge(running, account_id)
    found = await running.call("GET", f"/v1/me/receipts/{charging_id}", api_key)
    assert found.status == 200
    receipt = found.json
    created_at, (record,) = receipt.pop("created_at"), receipt.pop("records")
    usage = {"input": 15, "cached_input": 5, "cache_write": 0, "output": 40, "reasoning": 0}
    assert receipt == {
        "object": "receipt",
        "charging_id": charging_id,
        "account_id": account_id,
        "model": "small",
        "close_cause": "client_gone",
        "provenance": "partial",
        "usage": usage,
        "unit": "TOKEN",
        "currency": None,
        "charged_amount": 60_000_000,
        "debt_amount": 0,
        "class_charges": [
            {"token_class": "input", "tokens": 15, "rate": 1_000_000_000_000, "amount": 15_000_000},
            {"token_class": "cached_input", "tokens": 5, "rate": 1_000_000_000_000, "amount": 5_000_000},
            {"token_class": "output", "tokens": 40, "rate": 1_000_000_000_000, "amount": 40_000_000},
        ],
        "attempts": [
            {
                "vendor_id": "acme",
                "vendor_model_id": "acme-small",
                "outcome": "answered",
                "http_status": 200,
                "duration_ms": 12,
            }
        ],
    }
    assert created_at.endswith("Z")
    assert record.pop("settled_at") >= created_at
    record.pop("record_number")
    assert record == {
        "record_sequence_number": 1,
        "charged_amount": 60_000_000,
        "debt_amount": 0,
        "debits": [{"bucket_id": bucket_id, "amount": 60_000_000}],
        "close_cause": "client_gone",
        "provenance": "partial",
        "usage": usage,
    }
    # Once exported, the record has its number; all else stays the same.
    async with asyncio.timeout(5):
        while (receipt := (await running.call("GET", f"/v1/me/receipts/{charging_id}", api_key)).json)["records"][0][
            "record_number"
        ] == 0:
            pass
    assert receipt["charged_amount"] == 60_000_000


@pytest.mark.parametrize(
    "charging_id", ["nothing", "01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057", "%00"]
)
async def test_an_unknown_receipt_is_404(running: Cell, charging_id: str) -> None:
    _, api_key = await running.subscriber("receipt")
    missing = await running.call("GET", f"/v1/me/receipts/{charging_id}", api_key)
    assert (missing.status, missing.error["code"], missing.error["param"]) == (404, "receipt_not_found", "charging_id")


async def test_another_accounts_receipt_is_as_unknown_as_one_that_does_not_exist(running: Cell) -> None:
    account_id, own_key = await running.subscriber("owner")
    _, other_key = await running.subscriber("other")
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
    charging_id = await charge(running, account_id)
    assert (await running.call("GET", f"/v1/me/receipts/{charging_id}", own_key)).status == 200
    missing = await running.call("GET", f"/v1/me/receipts/{charging_id}", other_key)
    assert (missing.status, missing.error["code"]) == (404, "receipt_not_found")


@pytest.mark.parametrize("path", ["/v1/me/balance", "/v1/me/receipts/01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_without_a_key_nothing_is_shown(running: Cell, path: str) -> None:
    refused = await running.call("GET", path)
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


def record(number: int, sequence: int, charged: int, debt: int, output: int) -> billing_pb2.ReceiptRecord:
    settled = accounting_pb2.SessionSettled(
        charging_id="c",
        record_sequence_number=sequence,
        model_id="small",
        unit=accounting_pb2.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="USD"),
        usage=accounting_pb2.TokenUsage(output=output),
        charged_amount=charged,
        debt_amount=debt,
        close_cause=accounting_pb2.CLOSE_CAUSE_SWEPT if sequence == 1 else accounting_pb2.CLOSE_CAUSE_NORMAL,
        provenance=accounting_pb2.USAGE_PROVENANCE_VENDOR,
    )
    entry = accounting_pb2.JournalEntry(account_id="acct-1", time_us=1_767_312_000_000_000 + sequence, session_settled=settled)
    return billing_pb2.ReceiptRecord(entry=entry, record_number=number)


async def test_a_swept_session_with_a_late_release_adds_up() -> None:
    receipt = receipt_json([record(4, 1, 100, 0, 10), record(9, 2, 250, 50, 35)])
    assert (receipt["charged_amount"], receipt["debt_amount"]) == (350, 50)
    assert (receipt["close_cause"], receipt["usage"]["output"]) == ("normal", 35)
    assert (receipt["unit"], receipt["currency"]) == ("CURRENCY", "USD")
    # An event has no beginning of its own.
    assert receipt["created_at"] == "2026-01-02T00:00:00.000002Z"
    assert [row["record_number"] for row in receipt["records"]] == [4, 9]
    assert [row["close_cause"] for row in receipt["records"]] == ["swept", "normal"]
