"""Commands of operators: grants, top-ups, refunds, reductions, write-offs, limits. Pure."""

from typing import Final

import msgspec

from services.accounting.core.account.state import Account
from services.accounting.core.amounts import in_unit
from services.accounting.core.buckets import granting, known_bucket, no_room, too_much
from services.accounting.core.commands import (
    Decision,
    Done,
    Fault,
    GrantBucket,
    ReduceBucket,
    RefundSession,
    SetLimits,
    ToppedUp,
    TopUpBucket,
    WriteOffDebt,
    digest_of,
    fail,
)
from services.accounting.core.entries import BucketGranted, BucketReduced, BucketToppedUp, DebtRepaid, DebtWrittenOff, LimitsSet
from services.accounting.core.offerings import ChargingCatalog
from services.runtime.identifiers import derived_name

# An account has limits for at most this many subjects.
_SUBJECTS_MAX: Final = 100_000


def grant(account: Account, command: GrantBucket, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Adds a bucket; it repays debt of its unit first."""
    digest = digest_of(command)
    bucket_id = derived_name("bkt", account.account_id, command.idempotency_key)
    known = account.buckets.get(bucket_id)
    if known is not None:
        return known_bucket(known, digest, command.idempotency_key)
    if (full := no_room(account, command.unit, command.amount)) is not None:
        return full
    valid_from_us = now_us if command.valid_from_us is None else command.valid_from_us
    valid_until_us = valid_from_us + command.valid_for_us
    if valid_until_us <= now_us:
        return fail(
            Fault.INVALID_ARGUMENT,
            "valid_from_time and valid_for would end in the past; give a later valid_from_time or a longer valid_for",
        )
    return granting(
        account,
        BucketGranted(
            account_id=account.account_id,
            time_us=now_us,
            bucket_id=bucket_id,
            unit=command.unit,
            amount=command.amount,
            valid_from_us=valid_from_us,
            valid_until_us=valid_until_us,
            priority=command.priority,
            idempotency_key=command.idempotency_key,
            digest=digest,
            repaid=0,
            model_group=command.model_group,
            source="adjustment" if command.reason else "",
            reason=command.reason,
        ),
    )


def top_up(account: Account, command: TopUpBucket, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Adds to a bucket; it repays debt of its unit first."""
    digest = digest_of(command)
    known = account.adjustments.get(command.idempotency_key)
    if known is not None:
        if known.digest != digest:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {command.idempotency_key} was used for something else")
        return Decision((), ToppedUp(known.repaid))
    bucket = account.buckets.get(command.bucket_id)
    if bucket is None:
        return fail(Fault.ITEM_UNKNOWN, f"no bucket {command.bucket_id} is on account {account.account_id}")
    if bucket.ended or bucket.valid_until_us <= now_us:
        return fail(Fault.NOT_POSSIBLE, f"bucket {command.bucket_id} has ended; grant a new one")
    if (full := too_much(account, bucket.unit, command.amount)) is not None:
        return full
    debt = account.debts.get(bucket.unit)
    repaid = min(command.amount, debt.outstanding) if debt and bucket.valid_from_us <= now_us else 0
    topped_up = BucketToppedUp(
        account.account_id, now_us, command.bucket_id, command.amount, repaid, command.idempotency_key, digest
    )
    if not repaid:
        return Decision((topped_up,), ToppedUp(0))
    return Decision((topped_up, DebtRepaid(account.account_id, now_us, command.bucket_id, bucket.unit, repaid)), ToppedUp(repaid))


def refund(account: Account, command: RefundSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Gives back a record's charge, or a part of it, as a new bucket.

    Never more than the record charged in all, without that part of its debt that may have been written off and so was never paid.
    """
    # The record's own words are no part of the request.
    digest = digest_of(msgspec.structs.replace(command, debt=0, settled_us=0))
    bucket_id = derived_name("bkt", account.account_id, command.idempotency_key)
    known = account.buckets.get(bucket_id)
    if known is not None:
        return known_bucket(known, digest, command.idempotency_key)
    record = f"{command.sequence_number}/{command.charging_id}/{command.record_number}"
    debt = account.debts.get(command.unit)
    unpaid = min(command.debt, debt.written_off_since(command.settled_us)) if debt else 0
    refundable = max(0, command.charged - account.refunded.get(record, 0) - unpaid)
    if command.amount > refundable:
        return fail(
            Fault.NOT_POSSIBLE,
            f"amount is {in_unit(command.amount, command.unit)}; of what record {command.record_number} of {command.charging_id} "
            f"charged, {in_unit(refundable, command.unit)} can still be refunded"
            + (f"; {in_unit(unpaid, command.unit)} were written off, not paid" if unpaid else ""),
        )
    if (full := no_room(account, command.unit, command.amount)) is not None:
        return full
    return granting(
        account,
        BucketGranted(
            account_id=account.account_id,
            time_us=now_us,
            bucket_id=bucket_id,
            unit=command.unit,
            amount=command.amount,
            valid_from_us=now_us,
            valid_until_us=now_us + command.valid_for_us,
            priority=0,
            idempotency_key=command.idempotency_key,
            digest=digest,
            repaid=0,
            source=f"refund:{record}",
            reason=command.reason,
        ),
    )


def reduce_bucket(account: Account, command: ReduceBucket, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Takes back a part of what remains in a bucket."""
    digest = digest_of(command)
    if (known := _known_adjustment(account, command.idempotency_key, digest)) is not None:
        return known
    bucket = account.buckets.get(command.bucket_id)
    if bucket is None:
        return fail(Fault.ITEM_UNKNOWN, f"no bucket {command.bucket_id} is on account {account.account_id}")
    if command.amount > bucket.remaining:
        asked, left = in_unit(command.amount, bucket.unit), in_unit(bucket.remaining, bucket.unit)
        return fail(Fault.NOT_POSSIBLE, f"amount is {asked}; only {left} remain in the bucket")
    reduced = BucketReduced(
        account.account_id, now_us, command.bucket_id, command.amount, command.reason, command.idempotency_key, digest
    )
    return Decision((reduced,), Done())


def write_off(account: Account, command: WriteOffDebt, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Gives up a debt, or a part of it."""
    digest = digest_of(command)
    if (known := _known_adjustment(account, command.idempotency_key, digest)) is not None:
        return known
    debt = account.debts.get(command.unit)
    outstanding = debt.outstanding if debt else 0
    if command.amount > outstanding:
        asked, owed = in_unit(command.amount, command.unit), in_unit(outstanding, command.unit)
        return fail(Fault.NOT_POSSIBLE, f"amount is {asked}; only {owed} are owed")
    written_off = DebtWrittenOff(
        account.account_id, now_us, command.unit, command.amount, command.reason, command.idempotency_key, digest
    )
    return Decision((written_off,), Done())


def _known_adjustment(account: Account, idempotency_key: str, digest: bytes) -> Decision | None:
    known = account.adjustments.get(idempotency_key)
    if known is None:
        return None
    if known.digest != digest:
        return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {idempotency_key} was used for something else")
    return Decision((), Done())


def set_limits(account: Account, command: SetLimits, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Puts limits on a subject. Its counters keep their counts."""
    known = account.limits.get(command.subject)
    if known is None and len(account.limits) >= _SUBJECTS_MAX:
        return fail(
            Fault.NOT_POSSIBLE, f"the account has limits for {_SUBJECTS_MAX} subjects; take those of unused ones away first"
        )
    if known is not None and (known.limits, known.valid_until_us) == (command.limits, command.valid_until_us):
        return Decision((), Done())
    if known is None and not command.limits and not command.valid_until_us:
        return Decision((), Done())
    entry = LimitsSet(account.account_id, now_us, command.subject, command.limits, command.valid_until_us)
    return Decision((entry,), Done())
