"""Writes answers as messages."""

from typing import Final

from services.accounting.core import commands
from services.accounting.rpc.fields import returned_message, unit_message
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError
from tokenline.accounting.v1 import accounting_pb2 as pb


def fill_result(result: pb.ChargeResult, answer: commands.Answer) -> None:
    """Puts the answer to a charging operation into `result`, in place, because a message made apart would be copied."""
    if isinstance(answer, commands.Granted):
        granted = result.granted
        granted.output_tokens_granted = answer.output_granted
        granted.output_tokens_payable = answer.output_payable
        granted.output_tokens_threshold = answer.output_threshold
        granted.validity_ms = answer.validity_us // 1_000
        granted.offering_id = answer.offering_id
        if answer.final:
            granted.final_unit_action = answer.final_action  # type: ignore[assignment]  # the numbers are the contract's
        if type(answer) is commands.GrantedNow:
            if answer.ending_subject:
                # An end is never 0, and is not before its time.
                granted.ends_in_ms = max(1, -(-answer.ends_in_us // 1_000))
                granted.ending_subject = answer.ending_subject
            _fill_rates(granted, answer.rates)
    elif isinstance(answer, commands.KnownCall):
        known = result.known_call
        known.charging_id = answer.charging_id
        known.is_open = answer.is_open
        known.has_other_content = answer.has_other_content
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


def _fill_rates(message: pb.Granted | pb.Refused, rates: commands.RatesLeft | None) -> None:
    """Puts what rates leave into an answer to a Create."""
    if rates is None:
        return
    for left, told in ((rates.requests, message.request_rate), (rates.tokens, message.token_rate)):
        if left is not None:
            told.limit, told.remaining, told.reset_ms = left.limit, left.remaining, -(-left.reset_us // 1_000)


def refused_message(answer: commands.Refused) -> pb.Refused:
    """A refusal as a message."""
    message = pb.Refused(
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
    _fill_rates(message, answer.rates)
    return message


# Callers refused for held balance wait this long; holds end with calls, which take about as long.
HELD_RETRY_AFTER_MS: Final = 1_000


def fill_error(result: pb.ChargeResult, reason: int, message: str) -> None:
    """Puts the error of an operation into `result`."""
    result.error.reason = reason  # type: ignore[assignment]  # an open enum
    result.error.message = message


def raise_if_failed(answer: commands.Answer) -> None:
    """Errors: the `ServiceError` that a `Failed` stands for."""
    if isinstance(answer, commands.Failed):
        raise ServiceError(int(answer.fault), answer.message)  # type: ignore[arg-type]  # the numbers are the contract's


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


def run_message(run: commands.RunView) -> pb.Run:
    """A run as it stands."""
    return pb.Run(
        key_id=run.key_id,
        parent_key_id=run.parent_key_id,
        budgets=[
            pb.SpentBudget(unit=unit_message(each.unit), amount=each.amount, used_amount=each.used, held_amount=each.held)
            for each in run.budgets
        ],
        create_time=timestamp(run.opened_us),
        end_time=timestamp(run.ends_us),
        model_ids=run.model_ids,
        parallel_calls=run.parallel_calls,
        calls=run.calls,
    )


def ordered_message(answer: commands.Ordered) -> pb.Order:
    """An order after a command."""
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
        returned=returned_message(answer.returned),
    )
