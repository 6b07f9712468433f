"""Transfers between accounts: the giver's half, the receiver's half, and the end. Pure."""

from typing import Any

import msgspec

from services.accounting.core.account.state import Account, named_by
from services.accounting.core.amounts import in_unit
from services.accounting.core.buckets import granting, known_bucket, no_room
from services.accounting.core.commands import (
    Decision,
    EndTransfer,
    Fault,
    ReceiveTransfer,
    SendTransfer,
    TransferView,
    digest_of,
    fail,
)
from services.accounting.core.entries import BucketGranted, TransferConfirmed, TransferReturned, TransferSent
from services.accounting.core.offerings import ChargingCatalog
from services.runtime.identifiers import derived_name


def send_transfer(account: Account, command: SendTransfer, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Takes the amount out of its bucket; it is in transit until the receiver's half is known."""
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
        asked, free = in_unit(command.amount, bucket.unit), in_unit(bucket.remaining, bucket.unit)
        return fail(Fault.NOT_POSSIBLE, f"amount is {asked}; only {free} are free in the bucket")
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
    """The receiver's half of a transfer in transit: the same terms as the bucket it came from."""
    transfer = sender.transfers[transfer_id]
    bucket = sender.buckets[transfer.bucket_id]
    offering_id, model_group, _ = named_by(bucket.line)
    return receive_transfer_of(
        transfer.to_account_id,
        transfer_id,
        digest=transfer.digest,
        unit=bucket.unit,
        amount=transfer.amount,
        valid_from_us=bucket.valid_from_us,
        valid_until_us=bucket.valid_until_us,
        priority=bucket.priority,
        # A bucket priced by the sender's own offering is priced by the receiver's own.
        offering_id=offering_id,
        model_group=model_group,
    )


def receive_transfer_of(account_id: str, transfer_id: str, **terms: Any) -> ReceiveTransfer:
    """The receiver's half, with its terms as fields of `BucketGranted`."""
    granted = BucketGranted(
        account_id=account_id,
        # Set on arrival.
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
        return known_bucket(known, granted.digest, granted.idempotency_key)
    if granted.valid_until_us <= now_us:
        return fail(Fault.NOT_POSSIBLE, "the validity of the sent bucket has ended")
    if (full := no_room(account, granted.unit, granted.amount)) is not None:
        return full
    return granting(account, msgspec.structs.replace(granted, time_us=now_us))


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
