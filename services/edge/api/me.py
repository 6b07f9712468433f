"""GET /v1/me: a subscriber's own balance and receipts, by API key."""

from collections.abc import Sequence
from typing import Any, Final

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import bucket_json, debt_json, rfc3339_of_us, unit_json, usage_json
from services.edge.http.problems import not_found
from services.edge.identity.principals import Principals
from services.runtime.clients import answer
from services.runtime.identifiers import uuid7_time_us
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2, billing_pb2_grpc

_TIMEOUT_S: Final = 5.0


def me_routes(
    principals: Principals,
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    billing: "billing_pb2_grpc.BillingServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """GET /v1/me/balance and GET /v1/me/receipts/{charging_id}."""

    @get("/v1/me/balance")
    async def balance(request: Request[Any, Any, Any]) -> dict[str, Any]:
        principal = await principals.resolve(request.scope["headers"])
        call = accounting.GetAccount(accounting_pb2.GetAccountRequest(account_id=principal.account_id), timeout=_TIMEOUT_S)
        account = (await answer(call)).account
        return {
            "object": "balance",
            "account_id": account.account_id,
            "offering_id": account.offering_id,
            "buckets": [bucket_json(bucket) for bucket in account.buckets],
            "debt": [debt_json(debt) for debt in account.debts],
        }

    @get("/v1/me/receipts/{charging_id:str}")
    async def receipt(request: Request[Any, Any, Any], charging_id: FromPath[str]) -> dict[str, Any]:
        principal = await principals.resolve(request.scope["headers"])
        if uuid7_time_us(charging_id) is None:
            message = f"No receipt for {charging_id!r}: a charging_id is the x-request-id of an answered call."
            raise not_found("receipt_not_found", message, "charging_id")
        wanted = billing_pb2.GetReceiptRequest(account_id=principal.account_id, charging_id=charging_id)
        response = await answer(billing.GetReceipt(wanted, timeout=_TIMEOUT_S))
        return receipt_json(response.records)

    return [balance, receipt]


def receipt_json(records: Sequence[billing_pb2.ReceiptRecord]) -> dict[str, Any]:
    """All records of one session: what is cumulative comes from the last one, what was charged is the sum."""
    last = records[-1].entry
    settled = last.session_settled
    return {
        "object": "receipt",
        "charging_id": settled.charging_id,
        "account_id": last.account_id,
        "model": settled.model_id,
        "close_cause": _close_cause(settled),
        "provenance": _provenance(settled),
        "usage": usage_json(settled.usage),
        **unit_json(settled.unit),
        "charged_amount": sum(record.entry.session_settled.charged_amount for record in records),
        "debt_amount": sum(record.entry.session_settled.debt_amount for record in records),
        "class_charges": [
            {"token_class": charge.token_class, "tokens": charge.tokens, "rate": charge.rate, "amount": charge.amount}
            for charge in settled.class_charges
        ],
        # A late Release names all attempts; what was swept before it named none.
        "attempts": [
            {
                "vendor_id": attempt.vendor_id,
                "vendor_model_id": attempt.vendor_model_id,
                "outcome": attempt.outcome,
                "http_status": attempt.http_status,
                "duration_ms": attempt.duration_ms,
            }
            for attempt in settled.attempts
        ],
        "created_at": rfc3339_of_us(settled.create_time_us or last.time_us),
        "records": [_record_json(record) for record in records],
    }


def _record_json(record: billing_pb2.ReceiptRecord) -> dict[str, Any]:
    settled = record.entry.session_settled
    return {
        # 0 while the record is not exported.
        "record_number": record.record_number,
        "record_sequence_number": settled.record_sequence_number,
        "charged_amount": settled.charged_amount,
        "debt_amount": settled.debt_amount,
        "debits": [{"bucket_id": debit.bucket_id, "amount": debit.amount} for debit in settled.debits],
        "close_cause": _close_cause(settled),
        "provenance": _provenance(settled),
        "usage": usage_json(settled.usage),
        "settled_at": rfc3339_of_us(record.entry.time_us),
    }


def _close_cause(settled: accounting_pb2.SessionSettled) -> str:
    return accounting_pb2.CloseCause.Name(settled.close_cause).removeprefix("CLOSE_CAUSE_").lower()


def _provenance(settled: accounting_pb2.SessionSettled) -> str:
    return accounting_pb2.UsageProvenance.Name(settled.provenance).removeprefix("USAGE_PROVENANCE_").lower()
