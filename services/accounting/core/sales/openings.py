"""Opens what a paid order bought: the buckets of a pack, or a subscription with its first cycle. Ends cycles. Pure."""

from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.buckets import bucket_entries
from services.accounting.core.entries import BucketExpired, BucketGranted, CycleStarted, Entry, SubscriptionStarted
from services.accounting.core.sales.prices import Span, granted_of
from services.accounting.core.terms import Allowance, Payment, Terms
from services.runtime.identifiers import derived_name


def restart_entries(
    account: Account, subscription: Subscription, terms: Terms, payment: Payment, order_id: str, span: Span
) -> list[Entry]:
    """Begins a subscription anew under `terms`: the running cycle, if there is one, ends, and cycle 1 (`span`) begins."""
    now_us = span.begin_us
    subscription_id = subscription.subscription_id
    return [
        *end_cycle(account, subscription, now_us),
        SubscriptionStarted(account.account_id, now_us, subscription_id, terms, payment),
        CycleStarted(account.account_id, now_us, subscription_id, 1, span.end_us, span.price, span.days),
        *allowance_entries(account, terms, f"restart:{subscription_id}/{now_us}/{order_id}", subscription_id, span),
    ]


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
        amount=granted_of(allowance, span.part, span.whole),
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
