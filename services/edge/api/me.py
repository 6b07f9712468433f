"""GET /v1/me: a subscriber's own balance and receipts, by API key."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN, bucket_json, debt_json, rfc3339_of_us, unit_json, usage_json
from services.edge.api.billing_json import order_receipt_json
from services.edge.api.readers import Readers
from services.edge.http.problems import not_found
from services.runtime.clients import answer
from services.runtime.http.asgi import exchange_of
from services.runtime.identifiers import uuid7_time_us
from services.token_classes import TOKEN_CLASSES
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2, billing_pb2_grpc

_TIMEOUT_S: Final = 5.0


def me_routes(
    readers: Readers,
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    billing: "billing_pb2_grpc.BillingServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """GET /v1/me/balance, /v1/me/receipts/{charging_id} and /v1/me/orders/{order_id}/receipt."""

    @get("/v1/me/balance")
    async def balance(request: Request[Any, Any, Any]) -> dict[str, Any]:
        principal = await readers.resolve(exchange_of(request.scope))
        call = accounting.GetAccount(accounting_pb2.GetAccountRequest(account_id=principal.account_id), timeout=_TIMEOUT_S)
        account = (await answer(call)).account
        return {
            "object": "balance",
            **AMOUNTS_IN,
            "account_id": account.account_id,
            "offering_id": account.offering_id,
            "buckets": [bucket_json(bucket) for bucket in account.buckets],
            "debt": [debt_json(debt) for debt in account.debts],
        }

    @get("/v1/me/receipts/{charging_id:str}")
    async def receipt(request: Request[Any, Any, Any], charging_id: FromPath[str]) -> dict[str, Any]:
        principal = await readers.resolve(exchange_of(request.scope))
        if uuid7_time_us(charging_id) is None:
            message = f"No receipt for {charging_id!r}: a charging_id is the x-request-id of an answered call."
            raise not_found("receipt_not_found", message, "charging_id")
        wanted = billing_pb2.GetReceiptRequest(account_id=principal.account_id, charging_id=charging_id)
        response = await answer(billing.GetReceipt(wanted, timeout=_TIMEOUT_S))
        return receipt_json(response.records)

    @get("/v1/me/orders/{order_id:str}/receipt")
    async def order_receipt(request: Request[Any, Any, Any], order_id: FromPath[str]) -> dict[str, Any]:
        principal = await readers.resolve(exchange_of(request.scope))
        wanted = billing_pb2.GetOrderReceiptRequest(account_id=principal.account_id, order_id=order_id)
        return order_receipt_json(await answer(billing.GetOrderReceipt(wanted, timeout=_TIMEOUT_S)))

    return [balance, receipt, order_receipt]


class _Line(NamedTuple):
    """A session's usage under one tariff: its last record, that record's row, and the rated amount so far in micro-units."""

    settled: accounting_pb2.SessionSettled
    row: int
    rated: int


def receipt_json(records: Sequence[billing_pb2.ReceiptRecord]) -> dict[str, Any]:
    """All records of one session; they have several tariffs and units where it went on from an allowance into overage.

    `charges` has one sum a unit. `unit`, `currency`, `charged_amount` and `debt_amount` are present where there is one unit, and
    `class_charges` where there is one tariff; each record has its own.
    """
    last = records[-1].entry
    settled = last.session_settled
    lines = _lines(records)
    charges = _charges(records)
    # One record names the attempts: the first of a row. Records that were swept before a late Release name none.
    attempts = next((each for record in reversed(records) if (each := record.entry.session_settled.attempts)), settled.attempts)
    receipt = {
        "object": "receipt",
        **AMOUNTS_IN,
        "charging_id": settled.charging_id,
        "account_id": last.account_id,
        "model": settled.model_id,
        "model_id": settled.model_id,
        "vendor_model_id": next((each.vendor_model_id for each in reversed(attempts) if each.outcome == "answered"), None),
        "close_cause": _close_cause(settled),
        "provenance": _provenance(settled),
        "run_label": settled.run_label or None,
        "usage": usage_json(_usage(lines)),
        "charges": charges,
    }
    if len(charges) == 1:
        receipt |= {
            **unit_json(settled.unit),
            "charged_amount": charges[0]["amount"],
            "debt_amount": charges[0]["debt_amount"],
        }
    if len(lines) == 1:
        receipt["class_charges"] = class_charges_json(settled.class_charges)
    return {
        **receipt,
        "attempts": [
            {
                "vendor_id": attempt.vendor_id,
                "vendor_model_id": attempt.vendor_model_id,
                "outcome": attempt.outcome,
                "http_status": attempt.http_status,
                "duration_ms": attempt.duration_ms,
            }
            for attempt in attempts
        ],
        "created_at": rfc3339_of_us(settled.create_time_us or last.time_us),
        "records": [_record_json(record) for record in records],
    }


def _charges(records: Sequence[billing_pb2.ReceiptRecord]) -> list[dict[str, Any]]:
    """Charged, owed and absorbed amounts by unit, in the order in which the session came to the units."""
    charges: dict[tuple[int, str], dict[str, Any]] = {}
    for record in records:
        settled = record.entry.session_settled
        unit = settled.unit
        nothing = {**unit_json(unit), "amount": 0, "debt_amount": 0, "absorbed_amount": 0}
        charge = charges.setdefault((unit.unit, unit.currency), nothing)
        charge["amount"] += settled.charged_amount
        charge["debt_amount"] += settled.debt_amount
        charge["absorbed_amount"] += settled.absorbed_amount
    return list(charges.values())


def _lines(records: Sequence[billing_pb2.ReceiptRecord]) -> list[_Line]:
    """A session's lines, one a tariff. The records of one row are of one line each; a late Release's records continue the lines."""
    lines: list[_Line] = []
    row = 0
    for record in records:
        settled = record.entry.session_settled
        rated = settled.charged_amount + settled.absorbed_amount
        classes = sum(each.amount for each in settled.class_charges)
        earlier = [line for line in lines if line.row < row and _tariff(line.settled) == _tariff(settled)]
        # Buckets of the account's own offering and of a bought one may have one tariff; the right line adds up.
        fitting = (line for line in earlier if line.rated + rated == max(line.rated, classes))
        continued = next(fitting, earlier[0] if earlier else None)
        if continued is None:
            lines.append(_Line(settled, row, rated))
        else:
            lines[lines.index(continued)] = _Line(settled, row, continued.rated + rated)
        row += not settled.more_records
    return lines


def _tariff(settled: accounting_pb2.SessionSettled) -> tuple[str, str, int, int, str]:
    return settled.offering_id, settled.tariff_id, settled.tariff_version, settled.unit.unit, settled.unit.currency


def _usage(lines: Sequence[_Line]) -> accounting_pb2.TokenUsage:
    """The whole session's usage: each line has a part of it."""
    return accounting_pb2.TokenUsage(**{name: sum(getattr(line.settled.usage, name) for line in lines) for name in TOKEN_CLASSES})


def _record_json(record: billing_pb2.ReceiptRecord) -> dict[str, Any]:
    settled = record.entry.session_settled
    return {
        # 0 while the record is not exported.
        "record_number": record.record_number,
        "sequence_number": record.entry.sequence_number,
        "record_sequence_number": settled.record_sequence_number,
        "offering_id": settled.offering_id,
        "tariff_id": settled.tariff_id,
        "tariff_version": settled.tariff_version,
        **unit_json(settled.unit),
        "charged_amount": settled.charged_amount,
        "debt_amount": settled.debt_amount,
        "absorbed_amount": settled.absorbed_amount,
        "debits": [{"bucket_id": debit.bucket_id, "amount": debit.amount} for debit in settled.debits],
        "class_charges": class_charges_json(settled.class_charges),
        "close_cause": _close_cause(settled),
        "provenance": _provenance(settled),
        "usage": usage_json(settled.usage),
        "unpaid": {name: count for name, count in usage_json(settled.unpaid).items() if count},
        "settled_at": rfc3339_of_us(record.entry.time_us),
    }


def class_charges_json(charges: Iterable[accounting_pb2.ClassCharge]) -> list[dict[str, Any]]:
    """Each class with its count, its rate in micro-units for 1,000,000, and its amount."""
    return [
        {"token_class": charge.token_class, "tokens": charge.tokens, "rate": charge.rate, "amount": charge.amount}
        for charge in charges
    ]


def _close_cause(settled: accounting_pb2.SessionSettled) -> str:
    return accounting_pb2.CloseCause.Name(settled.close_cause).removeprefix("CLOSE_CAUSE_").lower()


def _provenance(settled: accounting_pb2.SessionSettled) -> str:
    return accounting_pb2.UsageProvenance.Name(settled.provenance).removeprefix("USAGE_PROVENANCE_").lower()
