"""Opens what a paid order bought: the buckets of a pack, or a subscription with its first cycle. Ends cycles. Pure."""

from typing import Final

from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.buckets import bucket_entries
from services.accounting.core.entries import BucketExpired, BucketGranted, CycleStarted, DebtRepaid, Entry, SubscriptionStarted
from services.accounting.core.sales.prices import Span, first_cycle, unused_value
from services.accounting.core.terms import Allowance, Payment, Terms
from services.runtime.identifiers import derived_name

# Money that a change of subscription gives back is valid for this long.
_SURPLUS_VALID_US: Final = 366 * 24 * 3_600 * 1_000_000


def restart_entries(
    account: Account, subscription: Subscription, terms: Terms, payment: Payment, order_id: str, now_us: int
) -> list[Entry]:
    """Begins a subscription anew under `terms`: the running cycle, if there is one, ends, and cycle 1 begins."""
    assert terms.cycle is not None
    subscription_id = subscription.subscription_id
    span = first_cycle(terms, now_us)
    granted = allowance_entries(account, terms, f"restart:{subscription_id}/{now_us}/{order_id}", subscription_id, span)
    entries = [
        *end_cycle(account, subscription, now_us),
        SubscriptionStarted(account.account_id, now_us, subscription_id, terms, payment),
        CycleStarted(account.account_id, now_us, subscription_id, 1, span.end_us, span.price, span.days),
        *granted,
    ]
    surplus = unused_value(subscription, now_us) - span.price
    if surplus > 0:
        unit = subscription.terms.price_unit
        entries += bucket_entries(
            account,
            BucketGranted(
                account_id=account.account_id,
                time_us=now_us,
                bucket_id=derived_name("bkt", account.account_id, f"surplus:{subscription_id}/{now_us}"),
                unit=unit,
                amount=surplus,
                valid_from_us=now_us,
                valid_until_us=now_us + _SURPLUS_VALID_US,
                priority=0,
                idempotency_key="",
                digest=b"",
                repaid=0,
                source=f"surplus:{subscription_id}",
                reason="what was paid for days that are left",
            ),
            sum(entry.amount for entry in granted if isinstance(entry, DebtRepaid) and entry.unit == unit),
        )
    return entries


def end_cycle(account: Account, subscription: Subscription, now_us: int) -> list[Entry]:
    """Ends the allowances of a subscription now."""
    return [
        BucketExpired(account.account_id, now_us, bucket.bucket_id, bucket.remaining)
        for bucket in account.buckets.values()
        if bucket.subscription_id == subscription.subscription_id and not bucket.ended
    ]


def opening_entries(
    account: Account, order_id: str, subscription_id: str, terms: Terms, payment: Payment, span: Span
) -> list[Entry]:
    """Entries of a paid order: the buckets of a pack, or a subscription with its first cycle."""
    source = f"order:{order_id}"
    if terms.cycle is None:
        return allowance_entries(account, terms, source, "", span)
    return [
        SubscriptionStarted(account.account_id, span.begin_us, subscription_id, terms, payment),
        CycleStarted(account.account_id, span.begin_us, subscription_id, 1, span.end_us, span.price, span.days),
        *allowance_entries(account, terms, source, subscription_id, span),
    ]


def allowance_entries(account: Account, terms: Terms, source: str, subscription_id: str, span: Span) -> list[Entry]:
    """The buckets of all allowances; a first cycle cut short grants its share, rounded up."""
    entries: list[Entry] = []
    repaid: dict[str, int] = {}
    for allowance in terms.allowances:
        granted = _allowance_bucket(account, terms, allowance, source, subscription_id, span)
        made = bucket_entries(account, granted, repaid.get(allowance.unit, 0))
        first = made[0]
        assert isinstance(first, BucketGranted)
        repaid[allowance.unit] = repaid.get(allowance.unit, 0) + first.repaid
        entries += made
    return entries


def _allowance_bucket(
    account: Account, terms: Terms, allowance: Allowance, source: str, subscription_id: str, span: Span
) -> BucketGranted:
    return BucketGranted(
        account_id=account.account_id,
        time_us=span.begin_us,
        bucket_id=derived_name("bkt", account.account_id, f"{source}/{allowance.allowance_id}"),
        unit=allowance.unit,
        amount=-(-allowance.amount * span.part // span.whole),
        valid_from_us=span.begin_us,
        valid_until_us=span.end_us or span.begin_us + allowance.valid_for_us,
        priority=allowance.priority,
        idempotency_key="",
        digest=b"",
        repaid=0,
        offering_id=terms.offering_id,
        model_group=allowance.model_group,
        source=source,
        subscription_id=subscription_id,
        allowance_id=allowance.allowance_id,
        rollover_cap=allowance.rollover_cap,
        postpaid=allowance.postpaid,
        transferable=allowance.transferable,
        notice_percents=allowance.notice_percents,
    )
