"""Grants and corrections: top-ups, refunds, reductions, write-offs, transfers between accounts, limits. Pure."""

from typing import Any, Final

import msgspec

from services.accounting.core.account.state import Account, Bucket
from services.accounting.core.amounts import GRANTED_MAX
from services.accounting.core.commands import (
    BucketAdded,
    Decision,
    Done,
    EndTransfer,
    Fault,
    GrantBucket,
    ReceiveTransfer,
    ReduceBucket,
    RefundSession,
    SendTransfer,
    SetLimits,
    ToppedUp,
    TopUpBucket,
    TransferView,
    WriteOffDebt,
    digest_of,
    fail,
)
from services.accounting.core.entries import (
    BucketGranted,
    BucketReduced,
    BucketToppedUp,
    DebtRepaid,
    DebtWrittenOff,
    Entry,
    LimitsSet,
    TransferConfirmed,
    TransferReturned,
    TransferSent,
)
from services.accounting.core.offerings import ChargingCatalog
from services.runtime.identifiers import derived_name

# The most buckets that an account may have which have not ended: each is looked at for every call.
BUCKETS_MAX: Final = 1_000
# The most subjects that an account can set limits for.
_SUBJECTS_MAX: Final = 100_000


def bucket_entries(account: Account, granted: BucketGranted, repaid_before: int = 0) -> list[Entry]:
    """A grant, and the repayment of debt that it makes. `repaid_before`: what other grants of the same decision repay."""
    debt = account.debts.get(granted.unit)
    # A bucket that is not valid yet pays no debt: it could not be spent either.
    repaid = 0
    if debt and granted.valid_from_us <= granted.time_us:
        repaid = max(0, min(granted.amount, debt.outstanding - repaid_before))
    if not repaid:
        return [granted]
    return [
        msgspec.structs.replace(granted, repaid=repaid),
        DebtRepaid(account.account_id, granted.time_us, granted.bucket_id, granted.unit, repaid),
    ]


def no_room(account: Account, unit: str, amount: int) -> Decision | None:
    """Why an account can't get another bucket of `amount`; None when it can."""
    if (full := _too_much(account, unit, amount)) is not None:
        return full
    if len(account.burn_order) >= BUCKETS_MAX:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the account has {BUCKETS_MAX} buckets that have not ended; wait for one to end, or grant larger ones",
        )
    return None


def _too_much(account: Account, unit: str, amount: int) -> Decision | None:
    if sum(bucket.granted for bucket in account.buckets.values() if bucket.unit == unit) + amount > GRANTED_MAX:
        return fail(Fault.AMOUNT_OVERFLOW, f"the grants of {unit} would come to more than {GRANTED_MAX} micro-units")
    return None


def grant(account: Account, command: GrantBucket, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Adds a bucket; it repays debt of its unit first."""
    digest = digest_of(command)
    bucket_id = derived_name("bkt", account.account_id, command.idempotency_key)
    known = account.buckets.get(bucket_id)
    if known is not None:
        return _known_bucket(known, digest, command.idempotency_key)
    if (full := no_room(account, command.unit, command.amount)) is not None:
        return full
    valid_from_us = now_us if command.valid_from_us is None else command.valid_from_us
    valid_until_us = valid_from_us + command.valid_for_us
    if valid_until_us <= now_us:
        return fail(
            Fault.INVALID_ARGUMENT,
            "valid_from_time and valid_for would end in the past; give a later valid_from_time or a longer valid_for",
        )
    return _grant(
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


def _grant(account: Account, granted: BucketGranted) -> Decision:
    entries = bucket_entries(account, granted)
    first = entries[0]
    assert isinstance(first, BucketGranted)
    return Decision(entries, _added(first))


def _known_bucket(known: Bucket, digest: bytes, idempotency_key: str) -> Decision:
    if known.digest != digest:
        return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {idempotency_key} was used for another grant")
    return Decision((), _added(known))


def _added(source: Bucket | BucketGranted) -> BucketAdded:
    return BucketAdded(
        bucket_id=source.bucket_id,
        unit=source.unit,
        amount=source.granted if isinstance(source, Bucket) else source.amount,
        valid_from_us=source.valid_from_us,
        valid_until_us=source.valid_until_us,
        priority=source.priority,
        repaid=source.repaid,
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
    if (full := _too_much(account, bucket.unit, command.amount)) is not None:
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
    """Gives back what a record charged, or a part of it, as a new bucket; never more than the record charged in all."""
    digest = digest_of(command)
    bucket_id = derived_name("bkt", account.account_id, command.idempotency_key)
    known = account.buckets.get(bucket_id)
    if known is not None:
        return _known_bucket(known, digest, command.idempotency_key)
    record = f"{command.sequence_number}/{command.charging_id}/{command.record_number}"
    refundable = command.charged - account.refunded.get(record, 0)
    if command.amount > refundable:
        return fail(
            Fault.NOT_POSSIBLE,
            f"amount is {command.amount}; of what record {command.record_number} of {command.charging_id} charged, {refundable} "
            f"micro-units of {command.unit} can still be refunded",
        )
    if (full := no_room(account, command.unit, command.amount)) is not None:
        return full
    return _grant(
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
        return fail(Fault.NOT_POSSIBLE, f"amount is {command.amount}; only {bucket.remaining} micro-units remain in the bucket")
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
        return fail(Fault.NOT_POSSIBLE, f"amount is {command.amount}; only {outstanding} micro-units of {command.unit} are owed")
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


def send_transfer(account: Account, command: SendTransfer, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Takes what is given out of its bucket; it is in transit until the receiver's half is known."""
    digest = digest_of(command)
    transfer_id = derived_name("trf", account.account_id, command.idempotency_key)
    known = account.transfers.get(transfer_id)
    if known is not None:
        if known.digest != digest:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {command.idempotency_key} was used for another transfer")
        return Decision((), TransferView(transfer_id, known.state, known.remark))
    bucket = account.buckets.get(command.bucket_id)
    if bucket is None:
        return fail(Fault.ITEM_UNKNOWN, f"no bucket {command.bucket_id} is on account {account.account_id}")
    if command.to_account_id == account.account_id:
        return fail(Fault.INVALID_ARGUMENT, "to_account_id is the account itself; name another one")
    if not bucket.transferable:
        return fail(Fault.NOT_POSSIBLE, f"bucket {command.bucket_id} may not be given away; its offering does not allow it")
    if not bucket.valid_from_us <= now_us < bucket.valid_until_us:
        return fail(Fault.NOT_POSSIBLE, f"bucket {command.bucket_id} is not valid now; only what can be used can be given away")
    if any(debt.outstanding for debt in account.debts.values()):
        return fail(Fault.NOT_POSSIBLE, "the account owes something; it can give nothing away until that is paid")
    if command.amount > bucket.remaining:
        return fail(Fault.NOT_POSSIBLE, f"amount is {command.amount}; only {bucket.remaining} micro-units are free in the bucket")
    sent = TransferSent(
        account_id=account.account_id,
        time_us=now_us,
        transfer_id=transfer_id,
        to_account_id=command.to_account_id,
        bucket_id=command.bucket_id,
        amount=command.amount,
        idempotency_key=command.idempotency_key,
        digest=digest,
    )
    return Decision((sent,), TransferView(transfer_id, "in_transit", ""))


def arriving_bucket(sender: Account, transfer_id: str) -> ReceiveTransfer:
    """The receiver's half of a transfer that is in transit: the same terms as the bucket it came from."""
    transfer = sender.transfers[transfer_id]
    bucket = sender.buckets[transfer.bucket_id]
    offering_id, model_group, _ = bucket.line.split("|")
    return receive_transfer_of(
        transfer.to_account_id,
        transfer_id,
        digest=transfer.digest,
        unit=bucket.unit,
        amount=transfer.amount,
        valid_from_us=bucket.valid_from_us,
        valid_until_us=bucket.valid_until_us,
        priority=bucket.priority,
        # What the account's own offering prices here, the receiver's own prices there.
        offering_id=offering_id,
        model_group=model_group,
    )


def receive_transfer_of(account_id: str, transfer_id: str, **terms: Any) -> ReceiveTransfer:
    """The receiver's half, with its terms as fields of `BucketGranted`."""
    granted = BucketGranted(
        account_id=account_id,
        # When it arrives.
        time_us=0,
        bucket_id=derived_name("bkt", account_id, transfer_id),
        idempotency_key=transfer_id,
        repaid=0,
        source=f"transfer:{transfer_id}",
        **terms,
    )
    return ReceiveTransfer(account_id, granted)


def receive_transfer(account: Account, command: ReceiveTransfer, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Takes what was sent, once; a transfer that comes after its bucket's end is refused and goes back."""
    granted = command.granted
    known = account.buckets.get(granted.bucket_id)
    if known is not None:
        return _known_bucket(known, granted.digest, granted.idempotency_key)
    if granted.valid_until_us <= now_us:
        return fail(Fault.NOT_POSSIBLE, "what was sent is not valid any more")
    if (full := no_room(account, granted.unit, granted.amount)) is not None:
        return full
    return _grant(account, msgspec.structs.replace(granted, time_us=now_us))


def end_transfer(account: Account, command: EndTransfer, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Notes the outcome of a transfer at its sender."""
    transfer = account.transfers.get(command.transfer_id)
    if transfer is None:
        return fail(Fault.ITEM_UNKNOWN, f"no transfer {command.transfer_id} is on account {account.account_id}")
    if transfer.state != "in_transit":
        return Decision((), TransferView(transfer.transfer_id, transfer.state, transfer.remark))
    if command.refusal:
        returned = TransferReturned(account.account_id, now_us, command.transfer_id, command.refusal)
        return Decision((returned,), TransferView(command.transfer_id, "returned", command.refusal))
    confirmed = TransferConfirmed(account.account_id, now_us, command.transfer_id)
    return Decision((confirmed,), TransferView(command.transfer_id, "confirmed", ""))


def set_limits(account: Account, command: SetLimits, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Puts limits on a subject. What its counters have counted stays counted."""
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
