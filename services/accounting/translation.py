"""Proto to core and core to proto. Every field of a request is checked here; errors name it and say what would be right."""

import re
from collections.abc import Sequence
from typing import Final

from services.accounting import commands, entries
from services.accounting.account import Account, Bucket, Session
from services.accounting.amounts import INT64_MAX, TOKEN_CLASSES, TokenUsage, rates_for
from services.accounting.catalog import unit_name
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError, invalid
from services.runtime.identifiers import uuid7_time_us
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

_ACCOUNT_ID: Final = re.compile(r"acct-[0-9a-z]{8,40}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_NAME_LENGTH_MAX: Final = 200
_ATTEMPTS_MAX: Final = 32
_PRIORITY_MAX: Final = 1_000
_VALIDITY_S_MAX: Final = 100 * 366 * 24 * 3_600
_UNITS: Final = {
    "": registry_pb2.UNIT_UNSPECIFIED,
    "TOKEN": registry_pb2.UNIT_TOKEN,
    "POINT": registry_pb2.UNIT_POINT,
    "CURRENCY": registry_pb2.UNIT_CURRENCY,
}
_OUTCOMES: Final = frozenset({"answered", "refused", "unreachable", "timeout", "broken", "garbage"})


# Requests


def command_of(operation: pb.ChargeOperation) -> commands.Command:
    """The command of a charging operation. Errors: `ServiceError` INVALID_ARGUMENT."""
    account_id = _account_id(operation.account_id)
    charging_id = operation.charging_id
    if uuid7_time_us(charging_id) is None:
        raise invalid("charging_id must be a UUID of version 7 in lower-case text")
    number = operation.invocation_sequence_number
    if number < 1:
        raise invalid("invocation_sequence_number must be 1 or above")
    kind = operation.WhichOneof("operation")
    if kind == "create":
        create = operation.create
        if number != 1:
            raise invalid("invocation_sequence_number of a Create must be 1")
        return commands.CreateSession(
            account_id=account_id,
            charging_id=charging_id,
            number=number,
            model_id=_name("model_id", create.model_id),
            key_id=_name("key_id", create.key_id),
            member_id=_name("member_id", create.member_id),
            input_bound=_not_negative("input_tokens_bound", create.input_tokens_bound),
            output_limit=_not_negative("output_tokens_limit", create.output_tokens_limit),
            metered=create.output_metered,
        )
    if kind == "update":
        update = operation.update
        return commands.UpdateSession(
            account_id=account_id,
            charging_id=charging_id,
            number=number,
            used=_usage(update.used),
            output_wanted=_not_negative("output_tokens_wanted", update.output_tokens_wanted),
        )
    if kind == "release":
        release = operation.release
        if release.close_cause == pb.CLOSE_CAUSE_SWEPT:
            raise invalid("close_cause SWEPT is accounting's own; say why the caller ended the session")
        return commands.ReleaseSession(
            account_id=account_id,
            charging_id=charging_id,
            number=number,
            used=_usage(release.used),
            provenance=_provenance(release.provenance),
            close_cause=_close_cause(release.close_cause),
            attempts=_attempts(release.attempts),
        )
    if kind == "event":
        event = operation.event
        return commands.ChargeEvent(
            account_id=account_id,
            charging_id=charging_id,
            number=number,
            model_id=_name("model_id", event.model_id),
            key_id=_name("key_id", event.key_id),
            member_id=_name("member_id", event.member_id),
            used=_usage(event.used),
            provenance=_provenance(event.provenance),
            attempts=_attempts(event.attempts),
        )
    raise invalid("operation is not set; give create, update, release or event")


def open_account_of(request: pb.OpenAccountRequest) -> commands.OpenAccount:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    if len(request.offering_id) > _NAME_LENGTH_MAX:
        raise invalid(f"offering_id must have at most {_NAME_LENGTH_MAX} characters")
    return commands.OpenAccount(_account_id(request.account_id), request.offering_id)


def grant_bucket_of(request: pb.GrantBucketRequest) -> commands.GrantBucket:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    if not 1 <= request.amount <= INT64_MAX:
        raise invalid("amount must be above 0, in micro-units")
    if not 0 <= request.priority <= _PRIORITY_MAX:
        raise invalid(f"priority must be 0 to {_PRIORITY_MAX}")
    if request.valid_for.nanos or not 1 <= request.valid_for.seconds <= _VALIDITY_S_MAX:
        raise invalid("valid_for must be whole seconds, above 0 and at most 100 years")
    valid_from_us: int | None = None
    if request.HasField("valid_from_time"):
        valid_from_us = request.valid_from_time.seconds * 1_000_000 + request.valid_from_time.nanos // 1_000
        if not 0 <= valid_from_us <= _VALIDITY_S_MAX * 1_000_000:
            raise invalid("valid_from_time must lie within a century of 1970")
    return commands.GrantBucket(
        account_id=_account_id(request.account_id),
        unit=_unit(request.unit),
        amount=request.amount,
        valid_from_us=valid_from_us,
        valid_for_us=request.valid_for.seconds * 1_000_000,
        priority=request.priority,
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def read_account_of(request: pb.GetAccountRequest) -> commands.ReadAccount:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ReadAccount(_account_id(request.account_id))


def find_records_of(request: pb.GetSessionRecordsRequest) -> commands.FindRecords:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    if uuid7_time_us(request.charging_id) is None:
        raise invalid("charging_id must be a UUID of version 7 in lower-case text")
    return commands.FindRecords(_account_id(request.account_id), request.charging_id)


def _account_id(value: str) -> str:
    if _ACCOUNT_ID.fullmatch(value) is None:
        raise invalid('account_id must be "acct-" and 8 to 40 lower-case letters and digits')
    return value


def _name(field: str, value: str) -> str:
    if not 1 <= len(value) <= _NAME_LENGTH_MAX:
        raise invalid(f"{field} must have 1 to {_NAME_LENGTH_MAX} characters")
    return value


def _not_negative(field: str, value: int) -> int:
    if value < 0:
        raise invalid(f"{field} must not be negative")
    return value


def _usage(used: pb.TokenUsage) -> TokenUsage:
    usage = TokenUsage(used.input, used.cached_input, used.cache_write, used.output, used.reasoning)
    if min(usage.input, usage.cached_input, usage.cache_write, usage.output, usage.reasoning) < 0:
        raise invalid("used must not be negative in any class")
    return usage


def _unit(unit: pb.UnitOfAmount) -> str:
    if unit.unit not in (registry_pb2.UNIT_TOKEN, registry_pb2.UNIT_POINT, registry_pb2.UNIT_CURRENCY):
        raise invalid("unit must be TOKEN, POINT or CURRENCY")
    if unit.unit == registry_pb2.UNIT_CURRENCY:
        if _CURRENCY.fullmatch(unit.currency) is None:
            raise invalid("currency must be an ISO 4217 code of three capital letters")
    elif unit.currency:
        raise invalid("currency is given exactly for the unit CURRENCY")
    return unit_name(unit.unit, unit.currency)


def _provenance(value: int) -> commands.Provenance:
    try:
        return commands.Provenance(value)
    except ValueError:
        raise invalid(f"provenance {value} is unknown; give vendor, partial, tokenizer or estimated") from None


def _close_cause(value: int) -> commands.CloseCause:
    try:
        return commands.CloseCause(value)
    except ValueError:
        raise invalid(
            f"close_cause {value} is unknown; give normal, quota_exhausted, client_gone, vendor_error or rejected"
        ) from None


def _attempts(attempts: Sequence[pb.VendorAttempt]) -> tuple[entries.VendorAttempt, ...]:
    if len(attempts) > _ATTEMPTS_MAX:
        raise invalid(f"attempts must be at most {_ATTEMPTS_MAX}")
    for attempt in attempts:
        if attempt.outcome not in _OUTCOMES:
            raise invalid(f"attempts.outcome must be one of {', '.join(sorted(_OUTCOMES))}")
        if len(attempt.vendor_id) > _NAME_LENGTH_MAX or len(attempt.vendor_model_id) > _NAME_LENGTH_MAX:
            raise invalid(f"attempts.vendor_id and vendor_model_id must have at most {_NAME_LENGTH_MAX} characters")
        if attempt.duration_ms < 0 or not 0 <= attempt.http_status <= 999:
            raise invalid("attempts.duration_ms must not be negative and http_status must be 0 to 999")
    return tuple(
        entries.VendorAttempt(each.vendor_id, each.vendor_model_id, each.outcome, each.http_status, each.duration_ms)
        for each in attempts
    )


# Answers


def result_of(operation_id: int, answer: commands.Answer) -> pb.ChargeResult:
    """The answer to a charging operation."""
    if isinstance(answer, commands.Granted):
        return pb.ChargeResult(
            operation_id=operation_id,
            granted=pb.Granted(
                output_tokens_granted=answer.output_granted,
                output_tokens_payable=answer.output_payable,
                output_tokens_threshold=answer.output_threshold,
                validity_ms=answer.validity_us // 1_000,
                final_unit_action=pb.FINAL_UNIT_ACTION_TERMINATE if answer.final else pb.FINAL_UNIT_ACTION_UNSPECIFIED,
                offering_id=answer.offering_id,
            ),
        )
    if isinstance(answer, commands.Settled):
        return pb.ChargeResult(
            operation_id=operation_id,
            settled=pb.Settled(unit=unit_message(answer.unit), charged_amount=answer.charged, debt_amount=answer.debt),
        )
    if isinstance(answer, commands.Refused):
        return pb.ChargeResult(
            operation_id=operation_id,
            refused=pb.Refused(
                result_code=int(answer.code),  # type: ignore[arg-type]  # the numbers are the contract's
                unit=unit_message(answer.unit),
                needed_amount=answer.needed,
                free_amount=answer.free,
                held_amount=answer.reserved,
                retry_after_ms=HELD_RETRY_AFTER_MS if answer.held else 0,
            ),
        )
    assert isinstance(answer, commands.Failed), f"{type(answer).__name__} answers no charging operation"
    return error_result(operation_id, int(answer.fault), answer.message)


# What a caller refused for held balance is told to wait; holds end with calls, which take about as long.
HELD_RETRY_AFTER_MS: Final = 1_000


def error_result(operation_id: int, reason: int, message: str) -> pb.ChargeResult:
    """An operation that was not carried out."""
    error = pb.OperationError(reason=reason, message=message)  # type: ignore[arg-type]  # an open enum
    return pb.ChargeResult(operation_id=operation_id, error=error)


def raise_if_failed(answer: commands.Answer) -> None:
    """Errors: the `ServiceError` that a `Failed` stands for."""
    if isinstance(answer, commands.Failed):
        raise ServiceError(int(answer.fault), answer.message)  # type: ignore[arg-type]  # the numbers are the contract's


def unit_message(unit: str) -> pb.UnitOfAmount:
    """The proto of a unit's name; empty for an empty name."""
    name, _, currency = unit.partition(":")
    return pb.UnitOfAmount(unit=_UNITS[name], currency=currency)


def bucket_added_message(answer: commands.BucketAdded) -> pb.GrantBucketResponse:
    """A new bucket as it was granted."""
    bucket = pb.Bucket(
        bucket_id=answer.bucket_id,
        unit=unit_message(answer.unit),
        granted=answer.amount,
        remaining=answer.amount - answer.repaid,
        consumed=answer.repaid,
        valid_from_time=timestamp(answer.valid_from_us),
        valid_until_time=timestamp(answer.valid_until_us),
        priority=answer.priority,
    )
    return pb.GrantBucketResponse(bucket=bucket, repaid_amount=answer.repaid)


def account_message(account: Account) -> pb.Account:
    """An account with buckets in burn order and open sessions, oldest first."""
    buckets = sorted(account.buckets.values(), key=Bucket.burn_key)
    return pb.Account(
        account_id=account.account_id,
        offering_id=account.offering_id,
        create_time=timestamp(account.created_us),
        buckets=[_bucket(bucket) for bucket in buckets],
        debts=[
            pb.Debt(
                unit=unit_message(unit),
                incurred=debt.incurred,
                repaid=debt.repaid,
                written_off=debt.written_off,
                outstanding=debt.outstanding,
            )
            for unit, debt in sorted(account.debts.items())
        ],
        sessions=[_session(session) for session in account.sessions.values()],
    )


def _bucket(bucket: Bucket) -> pb.Bucket:
    return pb.Bucket(
        bucket_id=bucket.bucket_id,
        unit=unit_message(bucket.unit),
        granted=bucket.granted,
        remaining=bucket.remaining,
        reserved=bucket.reserved,
        consumed=bucket.consumed,
        expired=bucket.expired,
        transferred=bucket.transferred,
        valid_from_time=timestamp(bucket.valid_from_us),
        valid_until_time=timestamp(bucket.valid_until_us),
        priority=bucket.priority,
    )


def _session(session: Session) -> pb.Session:
    return pb.Session(
        charging_id=session.charging_id,
        model_id=session.model_id,
        key_id=session.key_id,
        hold=_bucket_amounts(tuple(session.hold.items())),
        output_tokens_granted=session.answer.output_granted,
        used=_usage_message(session.used),
        create_time=timestamp(session.created_us),
        sweep_time=timestamp(session.sweep_us),
    )


def _bucket_amounts(amounts: entries.BucketAmounts) -> list[pb.BucketAmount]:
    return [pb.BucketAmount(bucket_id=bucket_id, amount=amount) for bucket_id, amount in amounts]


def _usage_message(usage: TokenUsage) -> pb.TokenUsage:
    return pb.TokenUsage(
        input=usage.input,
        cached_input=usage.cached_input,
        cache_write=usage.cache_write,
        output=usage.output,
        reasoning=usage.reasoning,
    )


# The journal


def journal_entry_message(part_id: int, seq: int, index: int, entry: entries.Entry) -> pb.JournalEntry:
    """An entry as others read it."""
    message = pb.JournalEntry(part_id=part_id, sequence_number=seq, index=index, account_id=entry.account_id, time_us=entry.time_us)
    match entry:
        case entries.AccountOpened():
            message.account_opened.offering_id = entry.offering_id
        case entries.BucketGranted():
            message.bucket_granted.CopyFrom(
                pb.BucketGranted(
                    bucket_id=entry.bucket_id,
                    unit=unit_message(entry.unit),
                    amount=entry.amount,
                    valid_from_us=entry.valid_from_us,
                    valid_until_us=entry.valid_until_us,
                    priority=entry.priority,
                    idempotency_key=entry.idempotency_key,
                )
            )
        case entries.DebtRepaid():
            message.debt_repaid.CopyFrom(
                pb.DebtRepaid(bucket_id=entry.bucket_id, unit=unit_message(entry.unit), amount=entry.amount)
            )
        case entries.BucketExpired():
            message.bucket_expired.CopyFrom(pb.BucketExpired(bucket_id=entry.bucket_id, amount=entry.amount))
        case entries.SessionCreated():
            message.session_created.CopyFrom(
                pb.SessionCreated(
                    charging_id=entry.charging_id,
                    model_id=entry.model_id,
                    key_id=entry.key_id,
                    member_id=entry.member_id,
                    hold=_bucket_amounts(entry.hold),
                    output_tokens_granted=entry.output_granted,
                )
            )
        case entries.SessionUpdated():
            message.session_updated.CopyFrom(
                pb.SessionUpdated(
                    charging_id=entry.charging_id,
                    invocation_sequence_number=entry.number,
                    used=_usage_message(entry.used),
                    hold_added=_bucket_amounts(entry.hold_added),
                    output_tokens_granted=entry.output_granted,
                )
            )
        case entries.SessionSettled():
            message.session_settled.CopyFrom(_settled_message(entry))
    return message


def _settled_message(entry: entries.SessionSettled) -> pb.SessionSettled:
    usage = entry.usage
    rates = rates_for(entry.tariff, usage.input + usage.cached_input + usage.cache_write)
    debits: dict[str, int] = {}
    for bucket_id, amount in (*entry.held_debits, *entry.free_debits):
        debits[bucket_id] = debits.get(bucket_id, 0) + amount
    return pb.SessionSettled(
        charging_id=entry.charging_id,
        record_sequence_number=entry.record_number,
        model_id=entry.model_id,
        key_id=entry.key_id,
        member_id=entry.member_id,
        offering_id=entry.offering_id,
        tariff_id=entry.tariff.tariff_id,
        tariff_version=entry.tariff.version,
        unit=unit_message(entry.tariff.unit),
        usage=_usage_message(usage),
        class_charges=[
            pb.ClassCharge(token_class=token_class, tokens=tokens, rate=getattr(rates, token_class), amount=amount)
            for token_class, amount in zip(TOKEN_CLASSES, entry.class_amounts, strict=True)
            if (tokens := getattr(usage, token_class))
        ],
        charged_amount=entry.charged,
        debits=_bucket_amounts(tuple(debits.items())),
        debt_amount=entry.debt,
        close_cause=entry.close_cause,  # type: ignore[arg-type]  # the numbers are the contract's
        provenance=entry.provenance,  # type: ignore[arg-type]
        attempts=[
            pb.VendorAttempt(
                vendor_id=each.vendor_id,
                vendor_model_id=each.vendor_model_id,
                outcome=each.outcome,
                http_status=each.http_status,
                duration_ms=each.duration_ms,
            )
            for each in entry.attempts
        ],
        create_time_us=entry.created_us,
        released=_bucket_amounts(entry.released),
    )
