import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from services.edge.api.me import receipt_json
from services.runtime.clients import connect
from services.runtime.identifiers import uuid7
from tests.edge.system import Cell, cell
from tests.waiting import WAIT_S
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
        call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge(timeout=WAIT_S)
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
    identity = {"object": "balance", "amounts_in": "micro_units", "account_id": account_id, "offering_id": "default"}
    assert empty.json == {**identity, "buckets": [], "debt": []}
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
        call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge(timeout=WAIT_S)
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
    class_charges = receipt["class_charges"]
    assert receipt == {
        "object": "receipt",
        "amounts_in": "micro_units",
        "charging_id": charging_id,
        "account_id": account_id,
        "model": "small",
        "model_id": "small",
        "vendor_model_id": "acme-small",
        "close_cause": "client_gone",
        **{"provenance": "partial", "run_label": None},
        "usage": usage,
        "charges": [{"unit": "TOKEN", "currency": None, "amount": 60_000_000, "debt_amount": 0, "absorbed_amount": 0}],
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
    # Where a refund finds it.
    assert record.pop("sequence_number") > 0
    assert record == {
        "record_sequence_number": 1,
        "offering_id": "default",
        "tariff_id": "flat",
        "tariff_version": 1,
        "unit": "TOKEN",
        "currency": None,
        "charged_amount": 60_000_000,
        "debt_amount": 0,
        "absorbed_amount": 0,
        "debits": [{"bucket_id": bucket_id, "amount": 60_000_000}],
        "class_charges": class_charges,
        "close_cause": "client_gone",
        "provenance": "partial",
        "usage": usage,
        "unpaid": {},
    }
    # Once exported, the record has its number; all else stays the same.
    async with asyncio.timeout(WAIT_S):
        while (receipt := (await running.call("GET", f"/v1/me/receipts/{charging_id}", api_key)).json)["records"][0][
            "record_number"
        ] == 0:
            pass
    assert receipt["charged_amount"] == 60_000_000


@pytest.mark.parametrize("charging_id", ["nothing", "01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057"])
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


USD = accounting_pb2.UnitOfAmount(unit=registry_pb2.UNIT_CURRENCY, currency="USD")
TOKEN = accounting_pb2.UnitOfAmount(unit=registry_pb2.UNIT_TOKEN)
ANSWERED = accounting_pb2.VendorAttempt(vendor_id="acme", vendor_model_id="acme-small", outcome="answered", http_status=200)
BROKEN = accounting_pb2.VendorAttempt(vendor_id="other", vendor_model_id="other-small", outcome="broken", http_status=200)


def record(sequence: int, charged: int, output: int, **fields: Any) -> billing_pb2.ReceiptRecord:
    """A record of some output at 1 micro-unit a token, with the number 10 x `sequence`."""
    given: dict[str, Any] = {
        "charging_id": "c",
        "record_sequence_number": sequence,
        "model_id": "small",
        "tariff_id": "usd",
        "tariff_version": 3,
        "unit": USD,
        "usage": accounting_pb2.TokenUsage(output=output),
        "class_charges": [accounting_pb2.ClassCharge(token_class="output", tokens=output, rate=1_000_000, amount=output)],
        "charged_amount": charged,
        "close_cause": accounting_pb2.CLOSE_CAUSE_NORMAL,
        "provenance": accounting_pb2.USAGE_PROVENANCE_VENDOR,
    }
    settled = accounting_pb2.SessionSettled(**{**given, **fields})
    entry = accounting_pb2.JournalEntry(account_id="acct-1", time_us=1_767_312_000_000_000 + sequence, session_settled=settled)
    return billing_pb2.ReceiptRecord(entry=entry, record_number=10 * sequence)


SWEPT: dict[str, Any] = {"close_cause": accounting_pb2.CLOSE_CAUSE_SWEPT}
IN_TOKENS: dict[str, Any] = {"unit": TOKEN, "tariff_id": "flat", "more_records": True}


async def test_a_swept_session_with_a_late_release_adds_up() -> None:
    receipt = receipt_json([record(1, 100, 100, **SWEPT), record(2, 250, 350, debt_amount=50)])
    assert (receipt["charged_amount"], receipt["debt_amount"]) == (350, 50)
    assert (receipt["close_cause"], receipt["usage"]["output"]) == ("normal", 350)
    assert (receipt["unit"], receipt["currency"]) == ("CURRENCY", "USD")
    assert receipt["charges"] == [{"unit": "CURRENCY", "currency": "USD", "amount": 350, "debt_amount": 50, "absorbed_amount": 0}]
    assert receipt["class_charges"] == [{"token_class": "output", "tokens": 350, "rate": 1_000_000, "amount": 350}]
    # An event has no beginning of its own.
    assert receipt["created_at"] == "2026-01-02T00:00:00.000002Z"
    assert [row["record_number"] for row in receipt["records"]] == [10, 20]
    assert [row["close_cause"] for row in receipt["records"]] == ["swept", "normal"]


async def test_a_receipt_never_adds_up_two_units() -> None:
    records = [record(1, 66_618_000_000, 66_618, **IN_TOKENS, attempts=[BROKEN, ANSWERED]), record(2, 47_300, 473, debt_amount=300)]
    receipt = receipt_json(records)
    assert receipt["charges"] == [
        {"unit": "TOKEN", "currency": None, "amount": 66_618_000_000, "debt_amount": 0, "absorbed_amount": 0},
        {"unit": "CURRENCY", "currency": "USD", "amount": 47_300, "debt_amount": 300, "absorbed_amount": 0},
    ]
    assert not {"unit", "currency", "charged_amount", "debt_amount", "class_charges"} & set(receipt)
    # The usage is the whole session's; each record has its own part with its own tariff.
    assert receipt["usage"]["output"] == 66_618 + 473
    told = [(each["unit"], each["currency"], each["tariff_id"], each["usage"]["output"]) for each in receipt["records"]]
    assert told == [("TOKEN", None, "flat", 66_618), ("CURRENCY", "USD", "usd", 473)]
    assert [each["class_charges"][0]["amount"] for each in receipt["records"]] == [66_618, 473]
    # The first record names the attempts of all.
    assert [attempt["outcome"] for attempt in receipt["attempts"]] == ["broken", "answered"]
    assert receipt["vendor_model_id"] == "acme-small"


async def test_a_late_release_of_several_units_goes_on_with_the_line_of_each() -> None:
    swept = [record(1, 7, 7, **IN_TOKENS, **SWEPT), record(2, 4, 4, **SWEPT)]
    late = record(3, 6, 10, attempts=[ANSWERED])
    receipt = receipt_json([*swept, late])
    assert [(charge["unit"], charge["amount"]) for charge in receipt["charges"]] == [("TOKEN", 7), ("CURRENCY", 10)]
    assert receipt["usage"]["output"] == 17
    assert len(receipt["attempts"]) == 1


async def test_two_lines_of_one_unit_have_one_sum_and_the_usage_of_both() -> None:
    """Buckets of the account's own offering and of one that it bought may have the same tariff."""
    swept = [record(1, 3, 3, more_records=True, **SWEPT), record(2, 5, 5, **SWEPT)]
    receipt = receipt_json([*swept, record(3, 4, 9)])
    assert (receipt["charged_amount"], receipt["usage"]["output"]) == (12, 12)
    assert "class_charges" not in receipt


async def test_what_was_absorbed_is_told_by_charge_and_record() -> None:
    unpaid = accounting_pb2.TokenUsage(output=300, image_output=2)
    receipt = receipt_json([record(1, 9, 13, absorbed_amount=4, unpaid=unpaid)])
    assert receipt["charges"] == [{"unit": "CURRENCY", "currency": "USD", "amount": 9, "debt_amount": 0, "absorbed_amount": 4}]
    assert (receipt["charged_amount"], receipt["usage"]["output"]) == (9, 13)
    (told,) = receipt["records"]
    assert (told["absorbed_amount"], told["unpaid"]) == (4, {"output": 300, "image_output": 2})


async def test_a_receipt_names_classes_after_the_first_five_where_there_are_any() -> None:
    usage = accounting_pb2.TokenUsage(output=3, cache_write_1h=7, spoken_characters=1)
    receipt = receipt_json([record(1, 3, 3, usage=usage)])
    first = {"input": 0, "cached_input": 0, "cache_write": 0, "output": 3, "reasoning": 0}
    assert receipt["usage"] == {**first, "cache_write_1h": 7, "spoken_characters": 1}


async def test_a_revoked_key_and_an_answer_that_never_came_have_their_words() -> None:
    receipt = receipt_json([record(1, 0, 0, close_cause=accounting_pb2.CLOSE_CAUSE_REVOKED, attempts=[BROKEN])])
    assert (receipt["close_cause"], receipt["model_id"], receipt["vendor_model_id"]) == ("revoked", "small", None)
