"""Reads requests as commands. Every field of a request is checked here."""

import re
from typing import Final

from services.accounting.core import commands, runs, transfers
from services.accounting.core.amounts import GRANTED_MAX
from services.accounting.core.entries import SessionSettled
from services.accounting.core.terms import Limit, Scope
from services.accounting.rpc.catalog import limit_of
from services.accounting.rpc.fields import (
    _VALIDITY_S_MAX,
    NAME_LENGTH_MAX,
    REASON_LENGTH_MAX,
    account_id_of,
    amount_of,
    at_most,
    attempts_of,
    call_key_of,
    charging_id_of,
    close_cause_of,
    measure_of,
    name_of,
    not_negative,
    payment_of,
    priority_of,
    provenance_of,
    reason_of,
    run_label_of,
    time_us_of,
    unit_message,
    unit_of,
    unpaid_of,
    usage_of,
    valid_for_us_of,
)
from services.runtime.errors import invalid
from tokenline.accounting.v1 import accounting_pb2 as pb

_SUBJECT: Final = re.compile(r"account|(member|key):[^\s]{1,200}")
_LIMITS_MAX: Final = 32
_BUDGETS_MAX: Final = 8
_MODELS_MAX: Final = 100
_PARALLEL_MAX: Final = 1_000_000
_DIGEST_LENGTH_MAX: Final = 64


def command_of(operation: pb.ChargeOperation) -> commands.Command:
    """The command of a charging operation. Errors: `ServiceError` INVALID_ARGUMENT."""
    kind = operation.WhichOneof("operation")
    account_id = account_id_of(operation.account_id)
    if kind == "top_up":
        return _top_up_of(account_id, operation.top_up)
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
            usage_of(update.used),
            not_negative("output_tokens_wanted", update.output_tokens_wanted),
            attempts_of(update.attempts),
        )
    if kind == "create":
        return _create_of(account_id, charging_id, number, operation.create)
    if kind == "release":
        release = operation.release
        if release.close_cause == pb.CLOSE_CAUSE_SWEPT:
            raise invalid("close_cause SWEPT is accounting's own; say why the caller ended the session")
        return commands.ReleaseSession(
            account_id=account_id,
            charging_id=charging_id,
            number=number,
            used=usage_of(release.used),
            provenance=provenance_of(release.provenance),
            close_cause=close_cause_of(release.close_cause),
            attempts=attempts_of(release.attempts),
            unpaid=unpaid_of(release.unpaid) if release.HasField("unpaid") else (),
        )
    if kind == "event":
        event = operation.event
        return commands.ChargeEvent(
            account_id=account_id,
            charging_id=charging_id,
            number=number,
            model_id=name_of("model_id", event.model_id),
            key_id=name_of("key_id", event.key_id),
            member_id=name_of("member_id", event.member_id),
            used=usage_of(event.used),
            provenance=provenance_of(event.provenance),
            attempts=attempts_of(event.attempts),
        )
    raise invalid("operation is not set; give create, update, release, event or top_up")


def _create_of(account_id: str, charging_id: str, number: int, create: pb.CreateSession) -> commands.CreateSession:
    if number != 1:
        raise invalid("invocation_sequence_number of a Create must be 1")
    return commands.CreateSession(
        account_id=account_id,
        charging_id=charging_id,
        number=number,
        model_id=name_of("model_id", create.model_id),
        key_id=name_of("key_id", create.key_id),
        member_id=name_of("member_id", create.member_id),
        input_bound=not_negative("input_tokens_bound", create.input_tokens_bound),
        output_limit=not_negative("output_tokens_limit", create.output_tokens_limit),
        metered=create.output_metered,
        input_expected=not_negative("input_tokens_expected", create.input_tokens_expected)
        if create.HasField("input_tokens_expected")
        else -1,
        input_calibrated=not_negative("input_tokens_calibrated", create.input_tokens_calibrated)
        if create.HasField("input_tokens_calibrated")
        else -1,
        input_measure=measure_of("input_measure", create.input_measure, is_input=True),
        output_measure=measure_of("output_measure", create.output_measure, is_input=False),
        idempotency_key=call_key_of(create),
        content_digest=create.content_digest,
        key_is_minted=create.key_is_minted,
        run_label=run_label_of(create.run_label),
    )


def _top_up_of(account_id: str, top_up: pb.TopUpBucket) -> commands.TopUpBucket:
    return commands.TopUpBucket(
        account_id,
        name_of("bucket_id", top_up.bucket_id),
        amount_of(top_up.amount),
        name_of("idempotency_key", top_up.idempotency_key),
    )


def open_account_of(request: pb.OpenAccountRequest) -> commands.OpenAccount:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    if len(request.offering_id) > NAME_LENGTH_MAX:
        raise invalid(f"offering_id must have at most {NAME_LENGTH_MAX} characters")
    return commands.OpenAccount(account_id_of(request.account_id), request.offering_id)


def grant_bucket_of(request: pb.GrantBucketRequest) -> commands.GrantBucket:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    valid_from_us: int | None = None
    if request.HasField("valid_from_time"):
        valid_from_us = request.valid_from_time.seconds * 1_000_000 + request.valid_from_time.nanos // 1_000
        if not 0 <= valid_from_us <= _VALIDITY_S_MAX * 1_000_000:
            raise invalid("valid_from_time must lie within a century of 1970")
    return commands.GrantBucket(
        account_id=account_id_of(request.account_id),
        unit=unit_of(request.unit),
        amount=amount_of(request.amount),
        valid_from_us=valid_from_us,
        valid_for_us=valid_for_us_of(request.valid_for),
        priority=priority_of(request.priority),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
        model_group=at_most("model_group", request.model_group, NAME_LENGTH_MAX),
        reason=at_most("reason", request.reason, REASON_LENGTH_MAX),
    )


def refund_of(request: pb.RefundSessionRequest, record: SessionSettled | None = None) -> commands.RefundSession:
    """Reads the request; None: the record is still to be found. Errors: `ServiceError` INVALID_ARGUMENT."""
    if request.sequence_number < 1 or request.record_sequence_number < 0:
        raise invalid("sequence_number must be 1 or above and record_sequence_number not negative; its receipt has both")
    return commands.RefundSession(
        account_id=account_id_of(request.account_id),
        charging_id=charging_id_of(request),
        sequence_number=request.sequence_number,
        record_number=request.record_sequence_number or 1,
        unit=record.tariff.unit if record else "",
        charged=record.charged if record else 0,
        amount=amount_of(request.amount),
        valid_for_us=valid_for_us_of(request.valid_for),
        reason=reason_of(request.reason),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
        debt=record.debt if record else 0,
        settled_us=record.time_us if record else 0,
    )


def reduce_of(request: pb.ReduceBucketRequest) -> commands.ReduceBucket:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ReduceBucket(
        account_id=account_id_of(request.account_id),
        bucket_id=name_of("bucket_id", request.bucket_id),
        amount=amount_of(request.amount),
        reason=reason_of(request.reason),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
    )


def write_off_of(request: pb.WriteOffDebtRequest) -> commands.WriteOffDebt:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.WriteOffDebt(
        account_id=account_id_of(request.account_id),
        unit=unit_of(request.unit),
        amount=amount_of(request.amount),
        reason=reason_of(request.reason),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
    )


def grant_allowances_of(request: pb.GrantAllowancesRequest) -> commands.GrantAllowances:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.GrantAllowances(
        account_id=account_id_of(request.account_id),
        offering_id=name_of("offering_id", request.offering_id),
        allowance_id=at_most("allowance_id", request.allowance_id, NAME_LENGTH_MAX),
        valid_until_us=time_us_of("valid_until_time", request),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
    )


def end_grant_of(request: pb.EndGrantRequest) -> commands.EndGrant:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.EndGrant(account_id_of(request.account_id), name_of("idempotency_key", request.idempotency_key))


def place_order_of(request: pb.PlaceOrderRequest) -> commands.PlaceOrder:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.PlaceOrder(
        account_id=account_id_of(request.account_id),
        offering_id=name_of("offering_id", request.offering_id),
        payment=payment_of(request.payment_method),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
        entitled_until_us=time_us_of("entitled_until_time", request),
    )


def confirm_payment_of(request: pb.ConfirmPaymentRequest) -> commands.ConfirmPayment:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ConfirmPayment(
        account_id=account_id_of(request.account_id),
        order_id=name_of("order_id", request.order_id),
        payment_reference=name_of("payment_reference", request.payment_reference),
    )


def cancel_order_of(request: pb.CancelOrderRequest) -> commands.CancelOrder:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.CancelOrder(account_id_of(request.account_id), name_of("order_id", request.order_id), reason_of(request.reason))


def change_subscription_of(request: pb.ChangeSubscriptionRequest) -> commands.ChangeSubscription:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ChangeSubscription(
        account_id=account_id_of(request.account_id),
        subscription_id=name_of("subscription_id", request.subscription_id),
        offering_id=name_of("offering_id", request.offering_id),
        payment=payment_of(request.payment_method),
        at_once=request.at_once,
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
        entitled_until_us=time_us_of("entitled_until_time", request),
    )


def cancel_subscription_of(request: pb.CancelSubscriptionRequest) -> commands.CancelSubscription:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.CancelSubscription(
        account_id_of(request.account_id), name_of("subscription_id", request.subscription_id), request.at_once
    )


def refund_purchase_of(request: pb.RefundPurchaseRequest) -> commands.RefundPurchase:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.RefundPurchase(
        account_id=account_id_of(request.account_id),
        purchase_id=name_of("purchase_id", request.purchase_id),
        reason=reason_of(request.reason),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
    )


def send_transfer_of(request: pb.SendTransferRequest) -> commands.SendTransfer:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.SendTransfer(
        account_id=account_id_of(request.account_id),
        to_account_id=account_id_of(request.to_account_id, "to_account_id"),
        bucket_id=name_of("bucket_id", request.bucket_id),
        amount=amount_of(request.amount),
        idempotency_key=name_of("idempotency_key", request.idempotency_key),
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
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    if not 1 <= len(request.digest) <= _DIGEST_LENGTH_MAX:
        raise invalid(f"digest must have 1 to {_DIGEST_LENGTH_MAX} bytes")
    if not 0 <= request.valid_from_us < request.valid_until_us:
        raise invalid("valid_from_us must not be negative and lie before valid_until_us")
    return transfers.receive_transfer_of(
        account_id_of(request.account_id),
        name_of("transfer_id", request.transfer_id),
        digest=request.digest,
        unit=unit_of(request.unit),
        amount=amount_of(request.amount),
        valid_from_us=request.valid_from_us,
        valid_until_us=request.valid_until_us,
        priority=priority_of(request.priority),
        offering_id=at_most("offering_id", request.offering_id, NAME_LENGTH_MAX),
        model_group=at_most("model_group", request.model_group, NAME_LENGTH_MAX),
    )


def set_limits_of(request: pb.SetLimitsRequest) -> commands.SetLimits:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
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
        if made.limit_id in {each.limit_id for each in limits} or len(made.limit_id) > NAME_LENGTH_MAX:
            raise invalid(f"{field}.limit_id must come once and have at most {NAME_LENGTH_MAX} characters")
        limits.append(made)
    if len(limits) > _LIMITS_MAX:
        raise invalid(f"subject_limits.limits must be at most {_LIMITS_MAX}")
    valid_until_us = 0
    if request.subject_limits.HasField("valid_until_time"):
        valid_until_us = request.subject_limits.valid_until_time.ToMicroseconds()
        if not 0 < valid_until_us <= _VALIDITY_S_MAX * 1_000_000:
            raise invalid("subject_limits.valid_until_time must lie within a century of 1970")
    return commands.SetLimits(account_id_of(request.account_id), subject, tuple(limits), valid_until_us)


def open_run_of(request: pb.OpenRunRequest) -> commands.OpenRun:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    budgets = tuple((unit_of(each.unit), amount_of(each.amount)) for each in request.budgets)
    if not 1 <= len(budgets) <= _BUDGETS_MAX or len(dict(budgets)) < len(budgets):
        raise invalid(f"budget: give 1 to {_BUDGETS_MAX} amounts, one a unit")
    if any(amount > GRANTED_MAX for _, amount in budgets):
        raise invalid(f"budget: an amount is at most {GRANTED_MAX} micro-units")
    valid_for_us = 0
    if request.HasField("valid_for"):
        if request.valid_for.nanos or not 1 <= request.valid_for.seconds * 1_000_000 <= runs.LIFE_US_MAX:
            raise invalid(f"valid_seconds: give whole seconds, 1 to {runs.LIFE_US_MAX // 1_000_000}")
        valid_for_us = request.valid_for.seconds * 1_000_000
    model_ids = tuple(name_of("models: a name", each) for each in request.model_ids)
    if len(model_ids) > _MODELS_MAX or len(set(model_ids)) < len(model_ids):
        raise invalid(f"models: give at most {_MODELS_MAX}, each once")
    if not 0 <= request.parallel_calls <= _PARALLEL_MAX:
        raise invalid(f"parallel_calls: give 1 to {_PARALLEL_MAX}, or leave it out for as many as the key that mints may have")
    return commands.OpenRun(
        account_id=account_id_of(request.account_id),
        key_id=name_of("key_id", request.key_id),
        parent_key_id=name_of("parent_key_id", request.parent_key_id),
        parent_is_minted=request.parent_is_minted,
        member_id=name_of("member_id", request.member_id),
        budgets=budgets,
        valid_for_us=valid_for_us,
        model_ids=model_ids,
        parallel_calls=request.parallel_calls,
    )


def end_runs_of(request: pb.EndRunsRequest) -> commands.EndRuns:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    by_key_id = at_most("by_key_id", request.by_key_id, NAME_LENGTH_MAX)
    return commands.EndRuns(account_id_of(request.account_id), name_of("key_id", request.key_id), by_key_id)


def list_runs_of(request: pb.ListRunsRequest) -> commands.ListRuns:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ListRuns(account_id_of(request.account_id), name_of("key_id", request.key_id))


def read_account_of(request: pb.GetAccountRequest) -> commands.ReadAccount:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ReadAccount(account_id_of(request.account_id))


def read_usage_of(request: pb.GetUsageRequest) -> commands.ReadAccount:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.ReadAccount(
        account_id_of(request.account_id), name_of("key_id", request.key_id), name_of("member_id", request.member_id)
    )


def ask_offering_of(request: pb.HasOfferingRequest) -> commands.AskOffering:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.AskOffering(account_id_of(request.account_id), name_of("offering_id", request.offering_id))


def find_records_of(request: pb.GetSessionRecordsRequest) -> commands.FindRecords:
    """Reads the request. Errors: `ServiceError` INVALID_ARGUMENT."""
    return commands.FindRecords(account_id_of(request.account_id), charging_id_of(request))
