"""Requests become commands, and answers become messages, without loss."""

from collections.abc import Callable
from typing import Any

import pytest

from services.accounting.core import commands
from services.accounting.core.commands import BucketAdded, GrantedNow, KnownCall, RateLeft, RatesLeft, Refused, ResultCode, Settled
from services.accounting.rpc.answers import bucket_added_message, fill_result, refused_message
from services.accounting.rpc.commands import command_of, receive_transfer_message, receive_transfer_of, set_limits_of
from services.accounting.rpc.fields import at_most, name_of, reason_of, unit_message
from services.runtime.errors import ServiceError
from tests.accounting.ledger import ACCOUNT_ID, UNIT
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

ID = "018bcfe5-6800-7e77-ba00-d18cf531facc"
POINT = pb.UnitOfAmount(unit=registry_pb2.UNIT_POINT)


def command(**operation: Any) -> Any:
    return command_of(pb.ChargeOperation(account_id=ACCOUNT_ID, charging_id=ID, **operation))


def release(**fields: Any) -> commands.ReleaseSession:
    message = pb.ReleaseSession(**{"provenance": pb.USAGE_PROVENANCE_VENDOR, "close_cause": pb.CLOSE_CAUSE_NORMAL, **fields})
    made = command(invocation_sequence_number=2, release=message)
    assert isinstance(made, commands.ReleaseSession)
    return made


def create(**fields: Any) -> commands.CreateSession:
    message = pb.CreateSession(model_id="m", key_id="k", member_id="mbr", input_tokens_bound=9, **fields)
    made = command(invocation_sequence_number=1, create=message)
    assert isinstance(made, commands.CreateSession)
    return made


def test_what_a_create_does_not_say_is_not_0() -> None:
    assert (create().input_expected, create().input_calibrated) == (-1, -1)
    said = create(input_tokens_expected=0, input_tokens_calibrated=0)
    assert (said.input_expected, said.input_calibrated) == (0, 0)
    said = create(input_tokens_expected=7, input_tokens_calibrated=8)
    assert (said.input_expected, said.input_calibrated) == (7, 8)


@pytest.mark.parametrize(
    "read",
    [reason_of, lambda text: at_most("reason", text, 500), lambda text: name_of("reason", text)],
    ids=["reason", "text", "name"],
)
def test_what_billing_could_not_store_is_refused(read: Callable[[str], str]) -> None:
    with pytest.raises(ServiceError, match="reason must have no character NUL, which databases do not take; leave it out"):
        read("moved\x00away")
    assert read("moved\naway") == "moved\naway"


def test_only_accounting_sweeps() -> None:
    with pytest.raises(ServiceError, match="SWEPT is accounting's own"):
        release(close_cause=pb.CLOSE_CAUSE_SWEPT)


def test_unpaid_work_of_nothing_is_none() -> None:
    assert release().unpaid == ()
    assert release(unpaid=pb.TokenUsage()).unpaid == ()
    assert release(unpaid=pb.TokenUsage(output=3)).unpaid == (0, 0, 0, 3, 0)


def test_no_class_is_negative() -> None:
    for name in ("input", "reasoning", "audio_input"):
        with pytest.raises(ServiceError, match="used must not be negative in any class"):
            release(used=pb.TokenUsage(**{name: -1}))
    with pytest.raises(ServiceError, match="unpaid must not be negative in any class"):
        release(unpaid=pb.TokenUsage(audio_input=-1))


@pytest.mark.parametrize(("ends_in_us", "ends_in_ms"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2)])
def test_an_end_is_no_0_and_not_before_its_time(ends_in_us: int, ends_in_ms: int) -> None:
    result = pb.ChargeResult()
    fill_result(result, GrantedNow(10, 10, 5, 1_000, False, "plan", ends_in_us=ends_in_us, ending_subject="key:k"))
    assert (result.granted.ends_in_ms, result.granted.ending_subject) == (ends_in_ms, "key:k")


def test_what_rates_leave_is_told_in_milliseconds_rounded_up_where_a_rate_is_limited() -> None:
    rates = RatesLeft(RateLeft(9, 2, 1_001), None)
    result = pb.ChargeResult()
    fill_result(result, GrantedNow(10, 10, 5, 1_000, False, "plan", rates=rates))
    granted = result.granted
    assert granted.request_rate == pb.RateLeft(limit=9, remaining=2, reset_ms=2)
    assert (granted.HasField("request_rate"), granted.HasField("token_rate")) == (True, False)
    # There is no end, so none is told.
    assert (granted.ends_in_ms, granted.ending_subject) == (0, "")
    refused = refused_message(Refused(ResultCode.RATE_LIMITED, "", 0, 0, 0, held=False, rates=RatesLeft(None, RateLeft(7, 0, 5))))
    assert (refused.HasField("request_rate"), refused.token_rate) == (False, pb.RateLeft(limit=7, remaining=0, reset_ms=1))


def test_a_call_that_was_named_before_is_told() -> None:
    result = pb.ChargeResult()
    fill_result(result, KnownCall("a-call", is_open=True, has_other_content=False))
    assert result.known_call == pb.KnownCall(charging_id="a-call", is_open=True)
    fill_result(result, KnownCall("a-call", is_open=False, has_other_content=True))
    assert result.known_call == pb.KnownCall(charging_id="a-call", has_other_content=True)


def test_a_settlement_tells_every_unit() -> None:
    result = pb.ChargeResult()
    fill_result(
        result, Settled("TOKEN", 5, 1, others=(("POINT", 7, 2), ("CURRENCY:CNY", 8, 0)), absorbed=3, others_absorbed=(4, 0))
    )
    assert result.settled == pb.Settled(
        charged_amount=5,
        debt_amount=1,
        unit=unit_message("TOKEN"),
        absorbed_amount=3,
        other_charges=[
            pb.UnitCharge(unit=POINT, charged_amount=7, debt_amount=2, absorbed_amount=4),
            pb.UnitCharge(unit=unit_message("CURRENCY:CNY"), charged_amount=8),
        ],
    )


@pytest.mark.parametrize(
    ("held", "retry_after_us", "retry_after_ms"), [(True, 5, 1_000), (False, 0, 0), (False, 1, 1), (False, 2_000, 2)]
)
def test_a_wait_is_never_told_too_short(held: bool, retry_after_us: int, retry_after_ms: int) -> None:
    refused = Refused(ResultCode.QUOTA_LIMIT_REACHED, "TOKEN", 3, 2, 1, held, retry_after_us=retry_after_us)
    assert refused_message(refused).retry_after_ms == retry_after_ms


def test_a_new_bucket_has_what_its_debts_left() -> None:
    bucket = bucket_added_message(BucketAdded("bkt-1", "POINT", 10 * UNIT, 0, 1_000_000, 5, 4 * UNIT)).bucket
    assert (bucket.unit, bucket.granted, bucket.remaining, bucket.consumed) == (POINT, 10 * UNIT, 6 * UNIT, 4 * UNIT)


def test_a_transfer_is_the_same_at_the_other_owner() -> None:
    sent = pb.ReceiveTransferRequest(
        account_id=ACCOUNT_ID,
        transfer_id="trf-1",
        digest=b"12345678",
        unit=POINT,
        amount=4,
        valid_from_us=1,
        valid_until_us=2,
        priority=3,
        offering_id="gift",
        model_group="group",
    )
    assert receive_transfer_message(receive_transfer_of(sent)) == sent


def test_limits_are_of_their_subject() -> None:
    limit = registry_pb2.Limit(limit_id="calls", per=registry_pb2.LIMIT_SCOPE_KEY, concurrent_sessions=3)
    limits = pb.SubjectLimits(subject="key:k", limits=[limit])
    request = pb.SetLimitsRequest(account_id=ACCOUNT_ID, subject_limits=limits)
    assert [each.limit_id for each in set_limits_of(request).limits] == ["calls"]
    request.subject_limits.subject = "member:m"
    with pytest.raises(ServiceError, match=r"limits\[0\].per must be member"):
        set_limits_of(request)
