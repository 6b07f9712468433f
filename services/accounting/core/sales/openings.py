"""Opens what a paid order bought: the buckets of a pack, or a subscription with its first cycle. Ends cycles. Pure."""

from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.buckets import bucket_entries
from services.accounting.core.entries import BucketAmounts, BucketExpired, BucketGranted, CycleStarted, Entry, SubscriptionStarted
from services.accounting.core.sales.prices import Span, granted_of
from services.accounting.core.terms import Allowance, Payment, Terms
from services.runtime.identifiers import derived_name


def restart_entries(
    account: Account,
    subscription: Subscription,
    terms: Terms,
    payment: Payment,
    order_id: str,
    span: Span,
    credited: BucketAmounts = (),
) -> list[Entry]:
    """Begins a subscription anew under `terms`: the running cycle, if there is one, ends, and cycle 1 (`span`) begins.

    `credited`: amounts that go back to credit lines with it.
    """
    now_us = span.begin_us
    subscription_id = subscription.subscription_id
    return [
        *end_cycle(account, subscription, now_us),
        SubscriptionStarted(account.account_id, now_us, subscription_id, terms, payment),
        CycleStarted(account.account_id, now_us, subscription_id, 1, span.end_us, span.price, span.days),
        *allowance_entries(account, terms, f"restart:{subscription_id}/{now_us}/{order_id}", subscription_id, span, credited),
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


def allowance_entries(
    account: Account, terms: Terms, source: str, subscription_id: str, span: Span, credited: BucketAmounts = ()
) -> list[Entry]:
    """The buckets of all allowances; a first cycle cut short grants its share, rounded up.

    A credit line grants what is not on the bill yet. `credited`: amounts that go back to credit lines beside.
    """
    entries: list[Entry] = []
    repaid: dict[str, int] = {}
    on_bill = _on_bill(account, subscription_id, span.begin_us, credited)
    for allowance in terms.allowances:
        amount = granted_of(allowance, span.part, span.whole)
        if allowance.postpaid:
            used = min(amount, on_bill.get(allowance.unit, 0))
            amount -= used
            on_bill[allowance.unit] = on_bill.get(allowance.unit, 0) - used
        granted = _allowance_bucket(account, terms, allowance, amount, source, subscription_id, span)
        made = bucket_entries(account, granted, repaid.get(allowance.unit, 0))
        first = made[0]
        assert isinstance(first, BucketGranted)
        repaid[allowance.unit] = repaid.get(allowance.unit, 0) + first.repaid
        entries += made
    return entries


def _on_bill(account: Account, subscription_id: str, now_us: int, credited: BucketAmounts) -> dict[str, int]:
    """By unit, the amount that is used of credit lines that end before their own cycle does: a new line is that much less.

    Else each change of plan, and each cancellation with a new order, would lend a whole line again. `subscription_id`: its running
    lines end now.
    """
    back = dict(credited)
    owed: dict[str, int] = {}
    for bucket in account.buckets.values():
        ends_early = bucket.ended or (subscription_id != "" and bucket.subscription_id == subscription_id)
        if bucket.postpaid and ends_early and bucket.valid_until_us > now_us:
            used = bucket.consumed + bucket.reserved - back.get(bucket.bucket_id, 0)
            owed[bucket.unit] = owed.get(bucket.unit, 0) + used
    return owed


def _allowance_bucket(
    account: Account, terms: Terms, allowance: Allowance, amount: int, source: str, subscription_id: str, span: Span
) -> BucketGranted:
    return BucketGranted(
        account_id=account.account_id,
        time_us=span.begin_us,
        bucket_id=derived_name("bkt", account.account_id, f"{source}/{allowance.allowance_id}"),
        unit=allowance.unit,
        amount=amount,
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
