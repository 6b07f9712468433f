"""An account as JSON, for its subscriber and for the operator: amounts in micro-units, times as RFC 3339 in UTC."""

from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from services.token_classes import FIRST, TOKEN_CLASSES
from tokenline.accounting.v1 import accounting_pb2
from tokenline.registry.v1 import registry_pb2

# Stands once in each answer that has amounts.
AMOUNTS_IN: Final = {"amounts_in": "micro_units"}


def rfc3339(timestamp: Timestamp) -> str | None:
    """The time with a "Z"; None where it is not set."""
    return timestamp.ToJsonString() if timestamp.seconds or timestamp.nanos else None


def rfc3339_of_us(time_us: int) -> str:
    """The time of `time_us`, in microseconds since 1970-01-01 UTC."""
    timestamp = Timestamp()
    timestamp.FromMicroseconds(time_us)
    return timestamp.ToJsonString()


def unit_json(unit: accounting_pb2.UnitOfAmount) -> dict[str, Any]:
    """{"unit", "currency"}; the currency is null unless the unit is CURRENCY; both are null where nothing is counted."""
    name = registry_pb2.Unit.Name(unit.unit).removeprefix("UNIT_") if unit.unit else None
    return {"unit": name, "currency": unit.currency or None}


def bucket_json(bucket: accounting_pb2.Bucket) -> dict[str, Any]:
    """One balance bucket."""
    return {
        "bucket_id": bucket.bucket_id,
        **unit_json(bucket.unit),
        "granted": bucket.granted,
        "remaining": bucket.remaining,
        "reserved": bucket.reserved,
        "consumed": bucket.consumed,
        "expired": bucket.expired,
        "transferred": bucket.transferred,
        "valid_from": rfc3339(bucket.valid_from_time),
        "valid_until": rfc3339(bucket.valid_until_time),
        "priority": bucket.priority,
    }


def debt_json(debt: accounting_pb2.Debt) -> dict[str, Any]:
    """The debt of one unit."""
    return {
        **unit_json(debt.unit),
        "incurred": debt.incurred,
        "repaid": debt.repaid,
        "written_off": debt.written_off,
        "outstanding": debt.outstanding,
    }


def session_json(session: accounting_pb2.Session) -> dict[str, Any]:
    """One open charging session."""
    return {
        "charging_id": session.charging_id,
        "model_id": session.model_id,
        "key_id": session.key_id,
        "hold": [{"bucket_id": part.bucket_id, "amount": part.amount} for part in session.hold],
        "output_tokens_granted": session.output_tokens_granted,
        "created_at": rfc3339(session.create_time),
        "sweep_at": rfc3339(session.sweep_time),
    }


def losses_json(losses: Iterable[accounting_pb2.Loss]) -> list[dict[str, Any]]:
    """Absorbed amounts, one a unit."""
    return [{**unit_json(loss.unit), "amount": loss.absorbed} for loss in losses]


def audit_json(audited: accounting_pb2.AuditResponse) -> dict[str, Any]:
    """Findings of an audit over all accounts."""
    return {
        **AMOUNTS_IN,
        "accounts": audited.accounts,
        "buckets": audited.buckets,
        "entries": audited.entries,
        "open_sessions": audited.open_sessions,
        "in_transit": [{**unit_json(each.unit), "amount": each.amount} for each in audited.transits],
        "absorbed": losses_json(audited.losses),
        "breaches": list(audited.breaches),
    }


def usage_json(usage: accounting_pb2.TokenUsage) -> dict[str, int]:
    """Counts by token class: the first five always, later ones where they are not 0."""
    return {name: count for name in TOKEN_CLASSES if (count := getattr(usage, name)) or name in TOKEN_CLASSES[:FIRST]}
