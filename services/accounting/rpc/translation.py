"""Proto to core and core to proto. Every field of a request is checked here; errors name it and say what would be right."""

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from google.protobuf.duration_pb2 import Duration

from services.accounting.core import commands, entries, transfers
from services.accounting.core.account.state import (
    SESSION_UNIT,
    Account,
    Bucket,
    Counter,
    Order,
    Session,
    SubjectLimits,
    Subscription,
    Transfer,
)
from services.accounting.core.terms import Limit, LimitKind, Payment, Scope
from services.accounting.rpc.catalog import CURRENCY_CODE, limit_of, unit_name
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError, invalid
from services.runtime.identifiers import is_uuid7
from services.token_classes import FIRST, TOKEN_CLASSES, Vector, trimmed
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

_ACCOUNT_ID: Final = re.compile(r"acct-[0-9a-z]{8,40}")
_NAME_LENGTH_MAX: Final = 200
_REASON_LENGTH_MAX: Final = 500
_SUBJECT: Final = re.compile(r"account|(member|key):[^\s]{1,200}")
_LIMITS_MAX: Final = 32
_ATTEMPTS_MAX: Final = 32
_PRIORITY_MAX: Final = 1_000
_DIGEST_LENGTH_MAX: Final = 64
_VALIDITY_S_MAX: Final = 100 * 366 * 24 * 3_600
_UNITS: Final = {
    "": registry_pb2.UNIT_UNSPECIFIED,
    "TOKEN": registry_pb2.UNIT_TOKEN,
    "POINT": registry_pb2.UNIT_POINT,
    "CURRENCY": registry_pb2.UNIT_CURRENCY,
}
# An enum's own look-up takes five times as long, and every Release has one of each.
_PROVENANCES: Final = {int(each): each for each in commands.Provenance}
_CLOSE_CAUSES: Final = {int(each): each for each in commands.CloseCause}
_OUTCOMES: Final = frozenset({"answered", "refused", "unreachable", "timeout", "broken", "garbage"})


# Requests


def command_of(operation: pb.ChargeOperation) -> commands.Command:
    """The command of a charging operation. Errors: `ServiceError` INVALID_ARGUMENT."""
    kind = operation.WhichOneof("operation")
    account_id = _account_id(operation.account_id)
    if kind == "top_up":
        top_up = operation.top_up
        return commands.TopUpBucket(
            account_id,
            _name("bucket_id", top_up.bucket_id),
            _amount(top_up.amount),
            _name("idempotency_key", top_up.idempotency_key),
        )
    charging_id = charging_id_of(operation)
    number = operation.invocation_sequence_number
    if number < 1:
        raise invalid("invocation_sequence_number must be 1 or above")
    if kind == "update":
        update = operation.update
        return commands.UpdateSession(
            account_id,
            charging_id,
            number,
            _usage(update.used),
            _not_negative("output_tokens_wanted", update.output_tokens_wanted),
        )
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
            input_expected=_not_negative("input_tokens_expected", create.input_tokens_expected)
            if create.HasField("input_tokens_expected")
            else -1,
            input_calibrated=_not_negative("input_tokens_calibrated", create.input_tokens_calibrated)
            if create.HasField("input_tokens_calibrated")
            else -1,
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
            unpaid=_unpaid(release.unpaid) if release.HasField("unpaid") else (),
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
    raise invalid("operation is not set; give create, update, release, event or top_up")


def open_account_of(request: pb.OpenAccountRequest) -> commands.OpenAccount:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    if len(request.offering_id) > _NAME_LENGTH_MAX:
        raise invalid(f"offering_id must have at most {_NAME_LENGTH_MAX} characters")
    return commands.OpenAccount(_account_id(request.account_id), request.offering_id)


def grant_bucket_of(request: pb.GrantBucketRequest) -> commands.GrantBucket:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    valid_from_us: int | None = None
    if request.HasField("valid_from_time"):
        valid_from_us = request.valid_from_time.seconds * 1_000_000 + request.valid_from_time.nanos // 1_000
        if not 0 <= valid_from_us <= _VALIDITY_S_MAX * 1_000_000:
            raise invalid("valid_from_time must lie within a century of 1970")
    return commands.GrantBucket(
        account_id=_account_id(request.account_id),
        unit=_unit(request.unit),
        amount=_amount(request.amount),
        valid_from_us=valid_from_us,
        valid_for_us=_valid_for_us(request.valid_for),
        priority=_priority(request.priority),
        idempotency_key=_name("idempotency_key", request.idempotency_key),
        model_group=_at_most("model_group", request.model_group, _NAME_LENGTH_MAX),
        reason=_at_most("reason", request.reason, _REASON_LENGTH_MAX),
    )


def refund_of(request: pb.RefundSessionRequest, unit: str, charged: int) -> commands.RefundSession:
    """`unit` and `charged` are those of the record. Errors: `ServiceError` INVALID_ARGUMENT."""
    if request.sequence_number < 1 or request.record_sequence_number < 0:
        raise invalid("sequence_number must be 1 or above and record_sequence_number not negative; its receipt has both")
    return commands.RefundSession(
        account_id=_account_id(request.account_id),
        charging_id=charging_id_of(request),
        sequence_number=request.sequence_number,
        record_number=request.record_sequence_number or 1,
        unit=unit,
        charged=charged,
        amount=_amount(request.amount),
        valid_for_us=_valid_for_us(request.valid_for),
        reason=_reason(request.reason),
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def reduce_of(request: pb.ReduceBucketRequest) -> commands.ReduceBucket:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ReduceBucket(
        account_id=_account_id(request.account_id),
        bucket_id=_name("bucket_id", request.bucket_id),
        amount=_amount(request.amount),
        reason=_reason(request.reason),
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def write_off_of(request: pb.WriteOffDebtRequest) -> commands.WriteOffDebt:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.WriteOffDebt(
        account_id=_account_id(request.account_id),
        unit=_unit(request.unit),
        amount=_amount(request.amount),
        reason=_reason(request.reason),
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def place_order_of(request: pb.PlaceOrderRequest) -> commands.PlaceOrder:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.PlaceOrder(
        account_id=_account_id(request.account_id),
        offering_id=_name("offering_id", request.offering_id),
        payment=_payment(request.payment_method),
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def confirm_payment_of(request: pb.ConfirmPaymentRequest) -> commands.ConfirmPayment:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ConfirmPayment(
        account_id=_account_id(request.account_id),
        order_id=_name("order_id", request.order_id),
        payment_reference=_name("payment_reference", request.payment_reference),
    )


def cancel_order_of(request: pb.CancelOrderRequest) -> commands.CancelOrder:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.CancelOrder(_account_id(request.account_id), _name("order_id", request.order_id), _reason(request.reason))


def change_subscription_of(request: pb.ChangeSubscriptionRequest) -> commands.ChangeSubscription:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ChangeSubscription(
        account_id=_account_id(request.account_id),
        subscription_id=_name("subscription_id", request.subscription_id),
        offering_id=_name("offering_id", request.offering_id),
        payment=_payment(request.payment_method),
        at_once=request.at_once,
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def cancel_subscription_of(request: pb.CancelSubscriptionRequest) -> commands.CancelSubscription:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.CancelSubscription(
        _account_id(request.account_id), _name("subscription_id", request.subscription_id), request.at_once
    )


def send_transfer_of(request: pb.SendTransferRequest) -> commands.SendTransfer:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.SendTransfer(
        account_id=_account_id(request.account_id),
        to_account_id=_account_id(request.to_account_id, "to_account_id"),
        bucket_id=_name("bucket_id", request.bucket_id),
        amount=_amount(request.amount),
        idempotency_key=_name("idempotency_key", request.idempotency_key),
    )


def receive_transfer_message(command: commands.ReceiveTransfer) -> pb.ReceiveTransferRequest:
    """A transfer on its way to another owner."""
    granted = command.granted
    return pb.ReceiveTransferRequest(
        account_id=command.account_id,
        transfer_id=granted.idempotency_key,
        digest=granted.digest,
        unit=unit_message(granted.unit),
        amount=granted.amount,
        valid_from_us=granted.valid_from_us,
        valid_until_us=granted.valid_until_us,
        priority=granted.priority,
        offering_id=granted.offering_id,
        model_group=granted.model_group,
    )


def receive_transfer_of(request: pb.ReceiveTransferRequest) -> commands.ReceiveTransfer:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    if not 1 <= len(request.digest) <= _DIGEST_LENGTH_MAX:
        raise invalid(f"digest must have 1 to {_DIGEST_LENGTH_MAX} bytes")
    if not 0 <= request.valid_from_us < request.valid_until_us:
        raise invalid("valid_from_us must not be negative and lie before valid_until_us")
    return transfers.receive_transfer_of(
        _account_id(request.account_id),
        _name("transfer_id", request.transfer_id),
        digest=request.digest,
        unit=_unit(request.unit),
        amount=_amount(request.amount),
        valid_from_us=request.valid_from_us,
        valid_until_us=request.valid_until_us,
        priority=_priority(request.priority),
        offering_id=_at_most("offering_id", request.offering_id, _NAME_LENGTH_MAX),
        model_group=_at_most("model_group", request.model_group, _NAME_LENGTH_MAX),
    )


def set_limits_of(request: pb.SetLimitsRequest) -> commands.SetLimits:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    subject = request.subject_limits.subject
    if _SUBJECT.fullmatch(subject) is None:
        raise invalid('subject_limits.subject must be "account", "member:" or "key:" and an ID of at most 200 characters')
    scope = Scope[subject.split(":", 1)[0].upper()]
    limits: list[Limit] = []
    for index, limit in enumerate(request.subject_limits.limits):
        field = f"subject_limits.limits[{index}]"
        try:
            made = limit_of(limit)
        except ValueError as error:
            raise invalid(f"{field}: {error}") from None
        if made.scope != scope:
            raise invalid(f"{field}.per must be {scope.name.lower()}, like its subject")
        if made.limit_id in {each.limit_id for each in limits} or len(made.limit_id) > _NAME_LENGTH_MAX:
            raise invalid(f"{field}.limit_id must come once and have at most {_NAME_LENGTH_MAX} characters")
        limits.append(made)
    if len(limits) > _LIMITS_MAX:
        raise invalid(f"subject_limits.limits must be at most {_LIMITS_MAX}")
    valid_until_us = 0
    if request.subject_limits.HasField("valid_until_time"):
        valid_until_us = request.subject_limits.valid_until_time.ToMicroseconds()
        if not 0 < valid_until_us <= _VALIDITY_S_MAX * 1_000_000:
            raise invalid("subject_limits.valid_until_time must lie within a century of 1970")
    return commands.SetLimits(_account_id(request.account_id), subject, tuple(limits), valid_until_us)


def _payment(value: int) -> Payment:
    try:
        return Payment(value)
    except ValueError:
        raise invalid(
            f"payment_method {value} is unknown; give prepaid, phone_bill or external, or none for a free offering"
        ) from None


def _amount(value: int) -> int:
    if value < 1:
        raise invalid("amount must be above 0, in micro-units")
    return value


def _priority(value: int) -> int:
    if not 0 <= value <= _PRIORITY_MAX:
        raise invalid(f"priority must be 0 to {_PRIORITY_MAX}")
    return value


def _reason(value: str) -> str:
    if not 1 <= len(value) <= _REASON_LENGTH_MAX:
        raise invalid(f"reason must have 1 to {_REASON_LENGTH_MAX} characters")
    return value


def _at_most(field: str, value: str, length: int) -> str:
    if len(value) > length:
        raise invalid(f"{field} must have at most {length} characters")
    return value


def _valid_for_us(span: Duration) -> int:
    if span.nanos or not 1 <= span.seconds <= _VALIDITY_S_MAX:
        raise invalid("valid_for must be whole seconds, above 0 and at most 100 years")
    return span.seconds * 1_000_000


def read_account_of(request: pb.GetAccountRequest) -> commands.ReadAccount:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ReadAccount(_account_id(request.account_id))


def find_records_of(request: pb.GetSessionRecordsRequest) -> commands.FindRecords:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.FindRecords(_account_id(request.account_id), charging_id_of(request))


def charging_id_of(
    request: pb.ChargeOperation | pb.RefundSessionRequest | pb.ExplainRefusalRequest | pb.GetSessionRecordsRequest,
) -> str:
    """Errors: `ServiceError` INVALID_ARGUMENT."""
    charging_id = request.charging_id
    if not is_uuid7(charging_id):
        raise invalid("charging_id must be a UUID of version 7 in lower-case text")
    return charging_id


def _account_id(value: str, field: str = "account_id") -> str:
    if _ACCOUNT_ID.fullmatch(value) is None:
        raise invalid(f'{field} must be "acct-" and 8 to 40 lower-case letters and digits')
    return value


def _name(field: str, value: str) -> str:
    if not 1 <= len(value) <= _NAME_LENGTH_MAX:
        raise invalid(f"{field} must have 1 to {_NAME_LENGTH_MAX} characters")
    return value


def _not_negative(field: str, value: int) -> int:
    if value < 0:
        raise invalid(f"{field} must not be negative")
    return value


_counts: Final = attrgetter(*TOKEN_CLASSES)
_NONE_LATER: Final = (0,) * (len(TOKEN_CLASSES) - FIRST)


def _usage(used: pb.TokenUsage, field: str = "used") -> Vector:
    counts: Vector = _counts(used)
    first = counts[:FIRST]
    if counts[FIRST:] == _NONE_LATER:
        a, b, c, d, e = first
        if a >= 0 and b >= 0 and c >= 0 and d >= 0 and e >= 0:
            return first
    if min(counts) < 0:
        raise invalid(f"{field} must not be negative in any class")
    return trimmed(counts)


def _unpaid(unpaid: pb.TokenUsage) -> Vector:
    usage = _usage(unpaid, "unpaid")
    return usage if any(usage) else ()


def _unit(unit: pb.UnitOfAmount) -> str:
    if unit.unit not in (registry_pb2.UNIT_TOKEN, registry_pb2.UNIT_POINT, registry_pb2.UNIT_CURRENCY):
        raise invalid("unit must be TOKEN, POINT or CURRENCY")
    if unit.unit == registry_pb2.UNIT_CURRENCY:
        if CURRENCY_CODE.fullmatch(unit.currency) is None:
            raise invalid("currency must be an ISO 4217 code of three capital letters")
    elif unit.currency:
        raise invalid("currency is given exactly for the unit CURRENCY")
    return unit_name(unit.unit, unit.currency)


def _provenance(value: int) -> commands.Provenance:
    provenance = _PROVENANCES.get(value)
    if provenance is None:
        raise invalid(f"provenance {value} is unknown; give vendor, partial, tokenizer or estimated")
    return provenance


def _close_cause(value: int) -> commands.CloseCause:
    close_cause = _CLOSE_CAUSES.get(value)
    if close_cause is None:
        raise invalid(
            f"close_cause {value} is unknown; give normal, quota_exhausted, client_gone, vendor_error, rejected or revoked"
        )
    return close_cause


def _attempts(attempts: Sequence[pb.VendorAttempt]) -> tuple[entries.VendorAttempt, ...]:
    if len(attempts) > _ATTEMPTS_MAX:
        raise invalid(f"attempts must be at most {_ATTEMPTS_MAX}")
    made = []
    for each in attempts:
        attempt = entries.VendorAttempt(each.vendor_id, each.vendor_model_id, each.outcome, each.http_status, each.duration_ms)
        if attempt.outcome not in _OUTCOMES:
            raise invalid(f"attempts.outcome must be one of {', '.join(sorted(_OUTCOMES))}")
        if len(attempt.vendor_id) > _NAME_LENGTH_MAX or len(attempt.vendor_model_id) > _NAME_LENGTH_MAX:
            raise invalid(f"attempts.vendor_id and vendor_model_id must have at most {_NAME_LENGTH_MAX} characters")
        if attempt.duration_ms < 0 or not 0 <= attempt.http_status <= 999:
            raise invalid("attempts.duration_ms must not be negative and http_status must be 0 to 999")
        made.append(attempt)
    return tuple(made)


# Answers


def fill_result(result: pb.ChargeResult, answer: commands.Answer) -> None:
    """Puts the answer to a charging operation into `result`, in place: a message made apart would be copied."""
    if isinstance(answer, commands.Granted):
        granted = result.granted
        granted.output_tokens_granted = answer.output_granted
        granted.output_tokens_payable = answer.output_payable
        granted.output_tokens_threshold = answer.output_threshold
        granted.validity_ms = answer.validity_us // 1_000
        granted.offering_id = answer.offering_id
        if answer.final:
            granted.final_unit_action = answer.final_action  # type: ignore[assignment]  # the numbers are the contract's
        if type(answer) is commands.GrantedUntil:
            # An end is no 0, and is not before its time.
            granted.ends_in_ms = max(1, -(-answer.ends_in_us // 1_000))
            granted.ending_subject = answer.ending_subject
    elif isinstance(answer, commands.Settled):
        settled = result.settled
        settled.charged_amount = answer.charged
        settled.debt_amount = answer.debt
        settled.unit.CopyFrom(unit_message(answer.unit))
        if answer.absorbed:
            settled.absorbed_amount = answer.absorbed
        for index, (unit, charged, debt) in enumerate(answer.others):
            absorbed = answer.others_absorbed[index] if answer.others_absorbed else 0
            settled.other_charges.append(
                pb.UnitCharge(unit=unit_message(unit), charged_amount=charged, debt_amount=debt, absorbed_amount=absorbed)
            )
    elif isinstance(answer, commands.ToppedUp):
        result.topped_up.repaid_amount = answer.repaid
    elif isinstance(answer, commands.Refused):
        result.refused.CopyFrom(refused_message(answer))
    else:
        assert isinstance(answer, commands.Failed), f"{type(answer).__name__} answers no charging operation"
        fill_error(result, int(answer.fault), answer.message)


def refused_message(answer: commands.Refused) -> pb.Refused:
    """Why nothing was granted."""
    return pb.Refused(
        result_code=int(answer.code),  # type: ignore[arg-type]  # the numbers are the contract's
        unit=unit_message(answer.unit),
        needed_amount=answer.needed,
        free_amount=answer.free,
        held_amount=answer.reserved,
        retry_after_ms=HELD_RETRY_AFTER_MS if answer.held else -(-answer.retry_after_us // 1_000),
        limit_id=answer.limit_id,
        held=answer.held,
        message=answer.message,
        offering_id=answer.offering_id,
        final_unit_action=int(answer.final_action),  # type: ignore[arg-type]  # the numbers are the contract's
    )


# What a caller refused for held balance is told to wait; holds end with calls, which take about as long.
HELD_RETRY_AFTER_MS: Final = 1_000


def fill_error(result: pb.ChargeResult, reason: int, message: str) -> None:
    """Puts why an operation was not carried out into `result`."""
    result.error.reason = reason  # type: ignore[assignment]  # an open enum
    result.error.message = message


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
        subscriptions=[_subscription(each) for each in account.subscriptions.values()],
        orders=[_order(each) for each in account.orders.values()],
        transfers=[_transfer(each) for each in account.transfers.values()],
        counters=[_counter(counter_id, each) for counter_id, each in account.counters.items()],
        limits=[_subject_limits(subject, each) for subject, each in account.limits.items()],
        losses=losses_message({unit: loss.absorbed for unit, loss in account.losses.items()}),
    )


def losses_message(absorbed: dict[str, int]) -> list[pb.Loss]:
    """What was absorbed, by unit."""
    return [pb.Loss(unit=unit_message(unit), absorbed=amount) for unit, amount in sorted(absorbed.items())]


def _subscription(subscription: Subscription) -> pb.Subscription:
    message = pb.Subscription(
        subscription_id=subscription.subscription_id,
        offering_id=subscription.terms.offering_id,
        state=subscription.state,
        payment_method=int(subscription.payment),  # type: ignore[arg-type]  # the numbers are the contract's
        cycle_number=subscription.cycle_number,
        cycle_start_time=timestamp(subscription.cycle_start_us),
        cycle_end_time=timestamp(subscription.cycle_end_us),
        next_offering_id=subscription.next_terms.offering_id if subscription.next_terms else "",
    )
    if subscription.state == "suspended":
        message.grace_end_time.CopyFrom(timestamp(subscription.grace_end_us))
    return message


def _order(order: Order) -> pb.Order:
    return pb.Order(
        order_id=order.order_id,
        offering_id=order.terms.offering_id,
        state=order.state,
        payment_method=int(order.payment),  # type: ignore[arg-type]  # the numbers are the contract's
        unit=unit_message(order.terms.price_unit),
        amount=order.amount,
        expire_time=timestamp(order.expires_us),
        subscription_id=order.subscription_id,
        bucket_ids=order.bucket_ids,
        remark=order.remark,
    )


def ordered_message(answer: commands.Ordered) -> pb.Order:
    """An order as a command left it."""
    return pb.Order(
        order_id=answer.order_id,
        offering_id=answer.offering_id,
        state=answer.state,
        payment_method=int(answer.payment),  # type: ignore[arg-type]  # the numbers are the contract's
        unit=unit_message(answer.unit),
        amount=answer.amount,
        expire_time=timestamp(answer.expires_us),
        subscription_id=answer.subscription_id,
        bucket_ids=answer.bucket_ids,
        remark=answer.reason,
    )


def _transfer(transfer: Transfer) -> pb.Transfer:
    return pb.Transfer(
        transfer_id=transfer.transfer_id,
        to_account_id=transfer.to_account_id,
        bucket_id=transfer.bucket_id,
        amount=transfer.amount,
        state=transfer.state,
        remark=transfer.remark,
    )


def _counter(counter_id: str, counter: Counter) -> pb.Counter:
    message = pb.Counter(counter_id=counter_id, used=counter.used, reserved=counter.reserved)
    if counter.unit != SESSION_UNIT:
        message.unit.CopyFrom(unit_message(counter.unit))
    if counter.start_us:
        message.start_time.CopyFrom(timestamp(counter.start_us))
    if counter.end_us:
        message.end_time.CopyFrom(timestamp(counter.end_us))
    return message


def _subject_limits(subject: str, limits: SubjectLimits) -> pb.SubjectLimits:
    message = pb.SubjectLimits(subject=subject, limits=[limit_message(limit) for limit in limits.limits])
    if limits.valid_until_us:
        message.valid_until_time.CopyFrom(timestamp(limits.valid_until_us))
    return message


def limit_message(limit: Limit) -> registry_pb2.Limit:
    """A limit as the contract has it."""
    message = registry_pb2.Limit(limit_id=limit.limit_id, per=int(limit.scope))  # type: ignore[arg-type]  # the contract's numbers
    if limit.kind == LimitKind.REQUEST_RATE:
        message.request_rate.requests_per_minute, message.request_rate.burst = limit.amount, limit.burst
    elif limit.kind == LimitKind.TOKEN_RATE:
        message.token_rate.tokens_per_minute, message.token_rate.burst = limit.amount, limit.burst
    elif limit.kind == LimitKind.CONCURRENT_SESSIONS:
        message.concurrent_sessions = limit.amount
    else:
        unit = unit_message(limit.unit)
        message.usage.amount, message.usage.unit, message.usage.currency = limit.amount, unit.unit, unit.currency
        if limit.calendar is not None:
            message.usage.calendar_window = int(limit.calendar)  # type: ignore[assignment]  # the contract's numbers
        elif limit.window_us:
            message.usage.window_seconds = limit.window_us // 1_000_000
    return message


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
        offering_id=bucket.line.split("|")[0],
        model_group=bucket.line.split("|")[1],
        source=bucket.source,
        subscription_id=bucket.subscription_id,
        rollover_cap=bucket.rollover_cap,
        postpaid=bucket.postpaid,
        transferable=bucket.transferable,
    )


def _session(session: Session) -> pb.Session:
    return pb.Session(
        charging_id=session.charging_id,
        model_id=session.model_id,
        key_id=session.key_id,
        hold=bucket_amounts(tuple(session.hold.items())),
        output_tokens_granted=session.answer.output_granted,
        used=usage_message(session.used),
        create_time=timestamp(session.created_us),
        sweep_time=timestamp(session.sweep_us),
    )


def bucket_amounts(amounts: entries.BucketAmounts) -> list[pb.BucketAmount]:
    return [pb.BucketAmount(bucket_id=bucket_id, amount=amount) for bucket_id, amount in amounts]


def usage_message(usage: Vector) -> pb.TokenUsage:
    return pb.TokenUsage(**dict(zip(TOKEN_CLASSES, usage, strict=False)))
