"""Applies entries to buckets and debts."""

from bisect import insort
from typing import Final

from services.accounting.core.account.due import due_no_later_than
from services.accounting.core.account.sales import is_founding, last_payers, retry_suspended
from services.accounting.core.account.state import ENDED_MEMORY_US, WRITE_OFFS_KEPT, Account, Adjustment, Applies, Bucket, line_of
from services.accounting.core.commands import Returned
from services.accounting.core.entries import (
    BucketExpired,
    BucketGranted,
    BucketReduced,
    BucketRolledOver,
    BucketToppedUp,
    DebtRepaid,
    DebtWrittenOff,
    NoticeReached,
    PriceReturned,
)


def _granted(account: Account, entry: BucketGranted, seq: int) -> None:
    bucket = Bucket(
        bucket_id=entry.bucket_id,
        unit=entry.unit,
        priority=entry.priority,
        valid_from_us=entry.valid_from_us,
        valid_until_us=entry.valid_until_us,
        created_us=entry.time_us,
        idempotency_key=entry.idempotency_key,
        digest=entry.digest,
        repaid=entry.repaid,
        granted=entry.amount,
        remaining=entry.amount,
        line=line_of(entry.offering_id, entry.model_group, entry.unit),
        source=entry.source,
        subscription_id=entry.subscription_id,
        allowance_id=entry.allowance_id,
        rollover_cap=entry.rollover_cap,
        postpaid=entry.postpaid,
        transferable=entry.transferable,
        notice_percents=entry.notice_percents,
    )
    buckets = account.buckets
    _forget_ended(account, entry.time_us)
    buckets[bucket.bucket_id] = bucket
    insort(account.burn_order, bucket.bucket_id, key=lambda bucket_id: buckets[bucket_id].burn_key())
    due_no_later_than(account, bucket.valid_until_us)
    kind, _, source_id = entry.source.partition(":")
    if kind == "refund":
        account.refunded[source_id] = account.refunded.get(source_id, 0) + entry.amount
    elif kind == "order" and (order := account.orders.get(source_id)) is not None:
        order.bucket_ids = (*order.bucket_ids, bucket.bucket_id)
        if not order.subscription_id:
            order.remembered_until_us = max(order.remembered_until_us, bucket.valid_until_us + ENDED_MEMORY_US)
    if bucket.unit.startswith("CURRENCY"):
        retry_suspended(account, entry.time_us)
    account.forget_derived()


def _forget_ended(account: Account, now_us: int) -> None:
    """Drops buckets and adjustments that ended long ago, so that an account does not grow for ever."""
    horizon_us = now_us - ENDED_MEMORY_US
    # A gift may come back to its bucket as long as it is in transit.
    giving = {each.bucket_id for each in account.transfers.values() if each.state == "in_transit"}
    ended = [each for each in account.buckets.values() if each.ended and each.valid_until_us < horizon_us and not each.reserved]
    ended = [each for each in ended if each.bucket_id not in giving]
    for bucket in ended:
        del account.buckets[bucket.bucket_id]
    for subscription in [each for each in account.subscriptions.values() if 0 < each.ended_us < horizon_us]:
        del account.subscriptions[subscription.subscription_id]
    for order in [each for each in account.orders.values() if 0 < each.remembered_until_us < now_us]:
        # Known no longer, the order of a subscription would begin it anew, and be paid again.
        goes_on = order.subscription_id in account.subscriptions and is_founding(account.account_id, order)
        if not goes_on and not any(bucket_id in account.buckets for bucket_id in order.bucket_ids):
            del account.orders[order.order_id]
    for transfer in [each for each in account.transfers.values() if 0 < each.ended_us < horizon_us]:
        # Sent again later, it would be taken for the one that has arrived, as long as the bucket is known that it made there.
        if transfer.bucket_id not in account.buckets:
            del account.transfers[transfer.transfer_id]


def _repaid(account: Account, entry: DebtRepaid, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.consumed += entry.amount
    account.debts[entry.unit].repaid += entry.amount


def _expired(account: Account, entry: BucketExpired, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.expired += entry.amount
    bucket.ended = True
    account.burn_order.remove(entry.bucket_id)
    account.forget_derived()


def _rolled_over(account: Account, entry: BucketRolledOver, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.expired
    bucket.expired += entry.expired
    # A bucket rolls over once.
    bucket.rollover_cap = 0
    account.burn_order.remove(entry.bucket_id)
    bucket.valid_until_us = entry.valid_until_us
    insort(account.burn_order, entry.bucket_id, key=lambda bucket_id: account.buckets[bucket_id].burn_key())
    due_no_later_than(account, entry.valid_until_us)
    account.forget_derived()


def _reduced(account: Account, entry: BucketReduced, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.expired += entry.amount
    _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us))


def _written_off(account: Account, entry: DebtWrittenOff, seq: int) -> None:
    debt = account.debts[entry.unit]
    debt.written_off += entry.amount
    debt.write_offs.append((entry.time_us, entry.amount))
    if len(debt.write_offs) > WRITE_OFFS_KEPT:
        (_, oldest), (time_us, amount), *others = debt.write_offs
        debt.write_offs = [(time_us, oldest + amount), *others]
    _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us))


def _price_returned(account: Account, entry: PriceReturned, seq: int) -> None:
    for bucket_id, amount in entry.credits:
        bucket = account.buckets[bucket_id]
        bucket.consumed -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.remaining += amount
    returned = Returned(entry.unit, entry.amount, entry.outside, entry.payment_references)
    if (changed := account.subscriptions.get(entry.purchase_id)) is not None and changed.payers:
        # The last to pay got their money back first; the others pay for what goes on.
        changed.payers = last_payers(changed.payers[::-1], sum(each.amount for each in changed.payers) - entry.amount)[::-1]
    if (order := account.orders.get(entry.order_id or entry.purchase_id)) is not None:
        order.returned = returned
    elif (subscription := account.subscriptions.get(entry.purchase_id)) is not None:
        subscription.returned = returned
    if entry.idempotency_key:
        _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us))


def _topped_up(account: Account, entry: BucketToppedUp, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.granted += entry.amount
    bucket.remaining += entry.amount
    _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us, entry.repaid))
    if bucket.unit.startswith("CURRENCY"):
        retry_suspended(account, entry.time_us)


def _remember_adjustment(account: Account, idempotency_key: str, adjustment: Adjustment) -> None:
    adjustments = account.adjustments
    adjustments[idempotency_key] = adjustment
    # Adjustments stand in the order in which they came.
    while (first := next(iter(adjustments.values()))).time_us < adjustment.time_us - ENDED_MEMORY_US:
        assert first is not adjustment
        del adjustments[next(iter(adjustments))]


def _noticed(account: Account, entry: NoticeReached, seq: int) -> None:
    account.buckets[entry.bucket_id].noticed_percent = entry.percent


APPLY: Final[Applies] = {
    BucketGranted: _granted,
    DebtRepaid: _repaid,
    BucketExpired: _expired,
    BucketRolledOver: _rolled_over,
    BucketReduced: _reduced,
    BucketToppedUp: _topped_up,
    DebtWrittenOff: _written_off,
    NoticeReached: _noticed,
    PriceReturned: _price_returned,
}
