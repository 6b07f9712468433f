"""The worth of what is left of a purchase, and how it goes back. Pure."""

from collections.abc import Sequence
from typing import Final

from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.buckets import bucket_entries
from services.accounting.core.cycles import days_of
from services.accounting.core.entries import BucketGranted, DebtRepaid, Entry
from services.runtime.identifiers import derived_name

# Money that comes back is valid for this long.
_RETURNED_VALID_US: Final = 366 * 24 * 3_600 * 1_000_000


def credit_of(subscription: Subscription, now_us: int) -> int:
    """The part of the running cycle's price for whole days that are left, in micro-units of its unit, rounded down."""
    if subscription.state != "active" or not subscription.cycle_days:
        return 0
    left = days_of(subscription.terms.time_zone, now_us, subscription.cycle_end_us) - 1
    return subscription.cycle_price * max(0, min(left, subscription.cycle_days)) // subscription.cycle_days


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
