"""Statements and receipts of orders as JSON, for the subscriber and for the operator: amounts in micro-units, times in UTC."""

from typing import Any, Final

from services.edge.api.account_json import AMOUNTS_IN, rfc3339, unit_json
from tokenline.billing.v1 import billing_pb2 as pb
from tokenline.registry.v1 import registry_pb2

# Fees that the operator keeps of a vendor's claims.
_FEES: Final = ("platform_fee", "compute_fee", "channel_fee")


def order_receipt_json(receipt: pb.GetOrderReceiptResponse) -> dict[str, Any]:
    """An order and what was paid for it."""
    method = receipt.payment_method
    return {
        "object": "order_receipt",
        **AMOUNTS_IN,
        "order_id": receipt.order_id,
        "placed_at": rfc3339(receipt.place_time),
        "offering_id": receipt.offering_id,
        "subscription_id": receipt.subscription_id or None,
        "payment_method": registry_pb2.PaymentMethod.Name(method).removeprefix("PAYMENT_METHOD_").lower() if method else None,
        **unit_json(receipt.unit),
        "amount": receipt.amount,
        "charges": [_charge_json(charge) for charge in receipt.charges],
    }


def statement_json(account_id: str, statement: pb.GetStatementResponse) -> dict[str, Any]:
    """All that an account was charged in a time. Two units are never added."""
    return {
        "object": "statement",
        **AMOUNTS_IN,
        "account_id": account_id,
        "totals": [
            {
                **unit_json(total.unit),
                "calls": total.calls,
                "usage": total.usage,
                "charges": total.charges,
                "charged": total.charged,
                "balance": total.balance,
                "credit_line": total.credit_line,
                "phone_bill": total.phone_bill,
                "outside": total.outside,
                "owed": total.owed,
                "absorbed": total.absorbed,
            }
            for total in statement.totals
        ],
        "usage": [
            {
                "model_id": line.model_id or None,
                "member_id": line.member_id or None,
                "key_id": line.key_id or None,
                **unit_json(line.unit),
                "paid_by": line.paid_by,
                "calls": line.calls,
                "amount": line.amount,
            }
            for line in statement.usage
        ],
        "charges": [_charge_json(charge) for charge in statement.charges],
    }


def vendor_statement_json(vendor_id: str, statement: pb.GetVendorStatementResponse) -> dict[str, Any]:
    """All that a vendor is owed for the calls of a time, by its own models: its claims, the operator's fees, and what is left."""
    lines: dict[tuple[str, int, str], dict[str, Any]] = {}
    for line in statement.lines:
        key = (line.vendor_model_id, line.unit.unit, line.unit.currency)
        told = lines.setdefault(
            key,
            {
                "vendor_model_id": line.vendor_model_id,
                **unit_json(line.unit),
                "calls": 0,
                "amount": 0,
                **dict.fromkeys(_FEES, 0),
                "net_amount": 0,
            },
        )
        told["calls"] += line.calls
        told["net_amount"] += line.amount
        if line.paid_by in _FEES:
            told[line.paid_by] = -line.amount
        else:
            told["amount"] += line.amount
    return {
        "object": "vendor_statement",
        **AMOUNTS_IN,
        "vendor_id": vendor_id,
        "lines": list(lines.values()),
    }


def _charge_json(charge: pb.BilledCharge) -> dict[str, Any]:
    return {
        "kind": charge.kind,
        "charged_at": rfc3339(charge.charge_time),
        **unit_json(charge.unit),
        "amount": charge.amount,
        "paid_by": charge.paid_by,
        "bucket_id": charge.bucket_id or None,
        "charging_id": charge.charging_id or None,
        "order_id": charge.order_id or None,
        "subscription_id": charge.subscription_id or None,
        "offering_id": charge.offering_id or None,
        "remark": charge.remark or None,
        # 0: older than records of charges.
        "record_number": charge.record_number,
    }
