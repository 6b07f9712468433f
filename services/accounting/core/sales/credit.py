"""The worth of what is left of a purchase, and how it goes back. Pure."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from services.accounting.core.account.state import Account, Bucket, Subscription
from services.accounting.core.buckets import bucket_entries
from services.accounting.core.cycles import days_of
from services.accounting.core.entries import BucketGranted, DebtRepaid, Entry
from services.accounting.core.sales.prices import first_share, granted_of
from services.runtime.identifiers import derived_name

# A weight of 1.
_WEIGHT_BASE: Final = 1_000_000
# Money that comes back is valid for this long.
_RETURNED_VALID_US: Final = 366 * 24 * 3_600 * 1_000_000


def credit_of(account: Account, subscription: Subscription, now_us: int) -> int:
    """The worth of what is left of the running cycle, in micro-units of its price's unit; 0 where none runs."""
    if subscription.state != "active" or not subscription.cycle_price:
        return 0
    terms, start_us, end_us = subscription.terms, subscription.cycle_start_us, subscription.cycle_end_us
    # Those of the running cycle are the last ones: others have ended, or rolled over and were paid with an earlier cycle.
    buckets = {
        bucket.allowance_id: bucket
        for bucket in account.buckets.values()
        if bucket.subscription_id == subscription.subscription_id and not bucket.ended
    }
    part, whole = first_share(terms, start_us, end_us)
    lefts = [
        (allowance.weight, _left(buckets.get(allowance.allowance_id), granted_of(allowance, part, whole)))
        for allowance in terms.allowances
        if not allowance.postpaid
    ]
    days_left = days_of(terms.time_zone, now_us, end_us) - 1
    return worth(subscription.cycle_price, days_left, subscription.cycle_days, lefts)


def worth(paid: int, days_left: int, days: int, lefts: Sequence[tuple[int, Fraction]]) -> int:
    """floor(paid x min(days_left / days, sum of weight x left)), and no less than 0.

    `lefts`: of each allowance its weight in millionths, and the part of it that is left. Without weights the least part counts.
    """
    if not days:
        # Old journals have none.
        return 0
    by_time = Fraction(max(0, min(days_left, days)), days)
    weighted = [Fraction(weight, _WEIGHT_BASE) * left for weight, left in lefts]
    by_use = sum(weighted) if any(weight for weight, _ in lefts) else min((left for _, left in lefts), default=1)
    return int(paid * min(by_time, by_use))


def _left(bucket: Bucket | None, granted: int) -> Fraction:
    """The part of an allowance of `granted` that is left. Held or given away counts as used, a top-up as no part of it."""
    if bucket is None:
        return Fraction(0)
    used = bucket.granted - bucket.remaining
    return Fraction(max(0, granted - used), granted)


def returned_entries(
    account: Account, subscription: Subscription, amount: int, granting: Sequence[Entry], now_us: int
) -> list[Entry]:
    """Gives back `amount` of the price of a subscription, as money.

    `granting`: the decision's other entries, which repay debt first.
    """
    subscription_id = subscription.subscription_id
    unit = subscription.terms.price_unit
    granted = BucketGranted(
        account_id=account.account_id,
        time_us=now_us,
        bucket_id=derived_name("bkt", account.account_id, f"surplus:{subscription_id}/{now_us}"),
        unit=unit,
        amount=amount,
        valid_from_us=now_us,
        valid_until_us=now_us + _RETURNED_VALID_US,
        priority=0,
        idempotency_key="",
        digest=b"",
        repaid=0,
        source=f"surplus:{subscription_id}",
        reason="what was paid for days that are left",
    )
    repaid = sum(entry.amount for entry in granting if isinstance(entry, DebtRepaid) and entry.unit == unit)
    return bucket_entries(account, granted, repaid)
