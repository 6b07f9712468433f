"""Applies entries to transfers to other accounts."""

from typing import Final

from services.accounting.core.account.state import Account, Applies, Transfer
from services.accounting.core.entries import TransferConfirmed, TransferReturned, TransferSent


def _transfer_sent(account: Account, entry: TransferSent, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.transferred += entry.amount
    account.transfers[entry.transfer_id] = Transfer(
        transfer_id=entry.transfer_id,
        to_account_id=entry.to_account_id,
        bucket_id=entry.bucket_id,
        amount=entry.amount,
        digest=entry.digest,
        sent_us=entry.time_us,
    )


def _transfer_confirmed(account: Account, entry: TransferConfirmed, seq: int) -> None:
    transfer = account.transfers[entry.transfer_id]
    transfer.state = "confirmed"
    transfer.ended_us = entry.time_us


def _transfer_returned(account: Account, entry: TransferReturned, seq: int) -> None:
    transfer = account.transfers[entry.transfer_id]
    transfer.state = "returned"
    transfer.remark = entry.reason
    transfer.ended_us = entry.time_us
    bucket = account.buckets[transfer.bucket_id]
    bucket.transferred -= transfer.amount
    if bucket.ended:
        bucket.expired += transfer.amount
    else:
        bucket.remaining += transfer.amount


APPLY: Final[Applies] = {
    TransferSent: _transfer_sent,
    TransferConfirmed: _transfer_confirmed,
    TransferReturned: _transfer_returned,
}
