"""One field of a message: read and checked, or written.

Errors of the readers: `ServiceError` INVALID_ARGUMENT, which names the field and says what would be right.
"""

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from services.accounting.core import commands, entries
from services.accounting.core.terms import Payment
from services.accounting.rpc.catalog import CURRENCY_CODE, unit_name
from services.runtime.errors import invalid
from services.runtime.identifiers import is_uuid7
from services.token_classes import FIRST, TOKEN_CLASSES, Measure, Vector, indexes_of, trimmed
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

_ACCOUNT_ID: Final = re.compile(r"acct-[0-9a-z]{8,40}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
NAME_LENGTH_MAX: Final = 200
CONTENT_DIGEST_BYTES: Final = 16
REASON_LENGTH_MAX: Final = 500
# As many as a subject of OpenID Connect has at most.
_SUBJECT_LENGTH_MAX: Final = 255
_PROOF_LENGTH_MAX: Final = 64
_ATTEMPTS_MAX: Final = 32
_RUN_LABEL: Final = re.compile(r"[!-~]{0,64}")
_PRIORITY_MAX: Final = 1_000
_VALIDITY_S_MAX: Final = 100 * 366 * 24 * 3_600
_UNITS: Final = {
    "": registry_pb2.UNIT_UNSPECIFIED,
    "TOKEN": registry_pb2.UNIT_TOKEN,
    "POINT": registry_pb2.UNIT_POINT,
    "CURRENCY": registry_pb2.UNIT_CURRENCY,
}
_MEASURES: Final[dict[int, Measure]] = {
    registry_pb2.MEASURE_UNSPECIFIED: Measure.TOKEN,
    registry_pb2.MEASURE_TOKEN: Measure.TOKEN,
    registry_pb2.MEASURE_IMAGE: Measure.IMAGE,
    registry_pb2.MEASURE_MILLISECOND: Measure.MILLISECOND,
    registry_pb2.MEASURE_CHARACTER: Measure.CHARACTER,
}
# An enum's own look-up takes five times as long, and every Release has one of each.
_PROVENANCES: Final = {int(each): each for each in commands.Provenance}
_CLOSE_CAUSES: Final = {int(each): each for each in commands.CloseCause}
_OUTCOMES: Final = frozenset({"answered", "refused", "unreachable", "timeout", "broken", "garbage"})
# Requests that are administrative commands: they say who gives them.
Administrative = (
    pb.OpenAccountRequest
    | pb.GrantBucketRequest
    | pb.RefundSessionRequest
    | pb.ReduceBucketRequest
    | pb.WriteOffDebtRequest
    | pb.GrantAllowancesRequest
    | pb.EndGrantRequest
    | pb.PlaceOrderRequest
    | pb.ConfirmPaymentRequest
    | pb.CancelOrderRequest
    | pb.ChangeSubscriptionRequest
    | pb.CancelSubscriptionRequest
    | pb.RefundPurchaseRequest
    | pb.SendTransferRequest
    | pb.SetLimitsRequest
    | pb.EndRunsRequest
)


def payment_of(value: int) -> Payment:
    """The way a price is paid."""
    try:
        return Payment(value)
    except ValueError:
        raise invalid(
            f"payment_method {value} is unknown; give prepaid, phone_bill or external, or none for a free offering"
        ) from None


def actor_of(request: Administrative) -> entries.Actor | None:
    """The giver of a command; None: the caller names none, as those of a release before do."""
    if not request.HasField("actor"):
        return None
    actor = request.actor
    return entries.Actor(
        _word_of("actor.subject", actor.subject, _SUBJECT_LENGTH_MAX),
        _word_of("actor.proof", actor.proof, _PROOF_LENGTH_MAX),
        _word_of("actor.role", actor.role, _PROOF_LENGTH_MAX),
    )


def _word_of(field: str, value: str, length: int) -> str:
    # They stand in tables and logs: neither control characters nor what turns the direction of writing.
    if not 1 <= len(value) <= length or not value.isprintable():
        raise invalid(f"{field} must have 1 to {length} characters, all of them printable")
    return value


def measure_of(field: str, value: int, *, is_input: bool) -> Measure:
    """The measure of one side of a session; not set: tokens."""
    measure = _MEASURES.get(value)
    if measure is None or not indexes_of(measure, is_input=is_input):
        right = ", ".join(each.value for each in Measure if indexes_of(each, is_input=is_input))
        raise invalid(f"{field} {value} counts nothing of that side; give one of: {right}")
    return measure


def amount_of(value: int) -> int:
    """An amount in micro-units, above 0."""
    if value < 1:
        raise invalid("amount must be above 0, in micro-units")
    return value


def priority_of(value: int) -> int:
    """A bucket's priority."""
    if not 0 <= value <= _PRIORITY_MAX:
        raise invalid(f"priority must be 0 to {_PRIORITY_MAX}")
    return value


def reason_of(value: str) -> str:
    """A reason, for people."""
    if not 1 <= len(value) <= REASON_LENGTH_MAX:
        raise invalid(f"reason must have 1 to {REASON_LENGTH_MAX} characters")
    return _storable("reason", value)


def at_most(field: str, value: str, length: int) -> str:
    """A text that may be empty."""
    if len(value) > length:
        raise invalid(f"{field} must have at most {length} characters")
    return _storable(field, value)


def valid_for_us_of(span: Duration) -> int:
    """The validity of a bucket, in microseconds."""
    if span.nanos or not 1 <= span.seconds <= _VALIDITY_S_MAX:
        raise invalid("valid_for must be whole seconds, above 0 and at most 100 years")
    return span.seconds * 1_000_000


def charging_id_of(
    request: pb.ChargeOperation | pb.RefundSessionRequest | pb.ExplainRefusalRequest | pb.GetSessionRecordsRequest,
) -> str:
    """A call's ID. Errors: `ServiceError` INVALID_ARGUMENT."""
    charging_id = request.charging_id
    if not is_uuid7(charging_id):
        raise invalid("charging_id must be a UUID of version 7 in lower-case text")
    return charging_id


def account_id_of(value: str, field: str = "account_id") -> str:
    """An account's ID."""
    if _ACCOUNT_ID.fullmatch(value) is None:
        raise invalid(f'{field} must be "acct-" and 8 to 40 lower-case letters and digits')
    return value


def call_key_of(create: pb.CreateSession) -> str:
    """The client's own name for a call; empty where it gave none."""
    key = create.idempotency_key
    if not key and not create.content_digest:
        return key
    if not 1 <= len(key) <= NAME_LENGTH_MAX or _CONTROL.search(key) is not None:
        raise invalid(f"idempotency_key must have 1 to {NAME_LENGTH_MAX} characters, none a control character")
    if len(create.content_digest) != CONTENT_DIGEST_BYTES:
        raise invalid(f"content_digest must have {CONTENT_DIGEST_BYTES} bytes, exactly where there is an idempotency_key")
    return key


def run_label_of(value: str) -> str:
    """A call's label; empty: none."""
    if _RUN_LABEL.fullmatch(value) is None:
        raise invalid("run_label must have at most 64 characters, all of them visible ASCII")
    return value


def name_of(field: str, value: str) -> str:
    """A name that is not empty."""
    if not 1 <= len(value) <= NAME_LENGTH_MAX:
        raise invalid(f"{field} must have 1 to {NAME_LENGTH_MAX} characters")
    return _storable(field, value)


def _storable(field: str, value: str) -> str:
    """A text as it is. PostgreSQL takes no NUL: billing would fail at its journal entry again and again, and export no other."""
    if "\x00" in value:
        raise invalid(f"{field} must have no character NUL, which databases do not take; leave it out")
    return value


def time_us_of(field: str, request: Administrative) -> int:
    """A time of a request; 0: it is not set."""
    if not request.HasField(field):
        return 0
    time: Timestamp = getattr(request, field)
    time_us = time.seconds * 1_000_000 + time.nanos // 1_000
    if not 0 < time_us <= _VALIDITY_S_MAX * 1_000_000:
        raise invalid(f"{field} must lie within a century of 1970")
    return time_us


def not_negative(field: str, value: int) -> int:
    """A number from 0 on."""
    if value < 0:
        raise invalid(f"{field} must not be negative")
    return value


_counts: Final = attrgetter(*TOKEN_CLASSES)
_NONE_LATER: Final = (0,) * (len(TOKEN_CLASSES) - FIRST)


def usage_of(used: pb.TokenUsage, field: str = "used") -> Vector:
    """Counts by class, trimmed."""
    counts: Vector = _counts(used)
    first = counts[:FIRST]
    if counts[FIRST:] == _NONE_LATER:
        a, b, c, d, e = first
        if a >= 0 and b >= 0 and c >= 0 and d >= 0 and e >= 0:
            return first
    if min(counts) < 0:
        raise invalid(f"{field} must not be negative in any class")
    return trimmed(counts)


def unpaid_of(unpaid: pb.TokenUsage) -> Vector:
    """Counts of unpaid usage; empty for nothing."""
    usage = usage_of(unpaid, "unpaid")
    return usage if any(usage) else ()


def unit_of(unit: pb.UnitOfAmount) -> str:
    """A unit's name."""
    if unit.unit not in (registry_pb2.UNIT_TOKEN, registry_pb2.UNIT_POINT, registry_pb2.UNIT_CURRENCY):
        raise invalid("unit must be TOKEN, POINT or CURRENCY")
    if unit.unit == registry_pb2.UNIT_CURRENCY:
        if CURRENCY_CODE.fullmatch(unit.currency) is None:
            raise invalid("currency must be an ISO 4217 code of three capital letters")
    elif unit.currency:
        raise invalid("currency is given exactly for the unit CURRENCY")
    return unit_name(unit.unit, unit.currency)


def provenance_of(value: int) -> commands.Provenance:
    """The provenance of counts."""
    provenance = _PROVENANCES.get(value)
    if provenance is None:
        raise invalid(f"provenance {value} is unknown; give vendor, partial, tokenizer or estimated")
    return provenance


def close_cause_of(value: int) -> commands.CloseCause:
    """The cause of a session's end."""
    close_cause = _CLOSE_CAUSES.get(value)
    if close_cause is None:
        raise invalid(
            f"close_cause {value} is unknown; give normal, quota_exhausted, client_gone, vendor_error, rejected or revoked"
        )
    return close_cause


def attempts_of(attempts: Sequence[pb.VendorAttempt]) -> tuple[entries.VendorAttempt, ...]:
    """The attempts at vendors."""
    if len(attempts) > _ATTEMPTS_MAX:
        raise invalid(f"attempts must be at most {_ATTEMPTS_MAX}")
    made = []
    for each in attempts:
        attempt = entries.VendorAttempt(each.vendor_id, each.vendor_model_id, each.outcome, each.http_status, each.duration_ms)
        if attempt.outcome not in _OUTCOMES:
            raise invalid(f"attempts.outcome must be one of {', '.join(sorted(_OUTCOMES))}")
        if len(attempt.vendor_id) > NAME_LENGTH_MAX or len(attempt.vendor_model_id) > NAME_LENGTH_MAX:
            raise invalid(f"attempts.vendor_id and vendor_model_id must have at most {NAME_LENGTH_MAX} characters")
        if attempt.duration_ms < 0 or not 0 <= attempt.http_status <= 999:
            raise invalid("attempts.duration_ms must not be negative and http_status must be 0 to 999")
        made.append(attempt)
    return tuple(made)


def unit_message(unit: str) -> pb.UnitOfAmount:
    """A unit's message from its name; empty for an empty name."""
    name, _, currency = unit.partition(":")
    return pb.UnitOfAmount(unit=_UNITS[name], currency=currency)


def returned_message(returned: commands.Returned | None) -> pb.Returned | None:
    """A part of a price that went back; None: nothing did."""
    if returned is None:
        return None
    return pb.Returned(
        unit=unit_message(returned.unit),
        amount=returned.amount,
        outside_amount=returned.outside,
        payment_references=returned.payment_references,
    )


def bucket_amounts(amounts: entries.BucketAmounts) -> list[pb.BucketAmount]:
    """Amounts by bucket."""
    return [pb.BucketAmount(bucket_id=bucket_id, amount=amount) for bucket_id, amount in amounts]


def usage_message(usage: Vector) -> pb.TokenUsage:
    """Counts by class."""
    return pb.TokenUsage(**dict(zip(TOKEN_CLASSES, usage, strict=False)))
