"""Finds what has fallen due on an account, in order of time. Pure except for the account's own hint of when to look next.

The caller applies each entry before it takes the next one.
"""

import heapq
from collections.abc import Iterator
from itertools import count

from services.accounting.core.account.due import due_of
from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.entries import BucketExpired, Entry
from services.accounting.core.sales.orders import order_expiry_entry
from services.accounting.core.sales.renewals import renewal_entries
from services.accounting.core.sessions.settle import sweep

# Order of what is due at the same time. A renewal decides which part of a bucket lives on. A bucket's end comes before a sweep that
# frees into it.
_RENEWAL, _ORDER, _BUCKET, _SESSION = range(4)


def due_entries(account: Account, now_us: int, serving_since_us: int, *, used: bool, extended: bool = True) -> Iterator[Entry]:
    """Entries that are due by `now_us`, each at its due time, earliest first. Apply each before taking the next, and take them all.

    A session is never swept earlier than one Tcc after `serving_since_us`, when its partition began to serve, because its holder
    could not reach anybody before. `used`: somebody uses the account, so that free cycles are renewed too. `extended`: see the
    catalog.
    """
    is_due = account.next_due_us is not None and account.next_due_us <= now_us
    if not is_due and not (used and account.unused_until_us is not None and account.unused_until_us <= now_us):
        return
    # Items due at the same time and of the same kind go in the order in which they are found.
    ranks = count()
    queue = [
        (due_us, kind, next(ranks), item_id)
        for due_us, kind, item_id in _due_times(account, serving_since_us, used=used)
        if due_us <= now_us
    ]
    heapq.heapify(queue)
    while queue:
        due_us, kind, _, item_id = heapq.heappop(queue)
        if kind == _SESSION:
            yield from sweep(account, account.sessions[item_id], due_us, extended=extended)
        elif kind == _BUCKET:
            bucket = account.buckets[item_id]
            # A renewal may have extended the bucket by a cycle, or ended it.
            if not bucket.ended and bucket.valid_until_us == due_us:
                yield BucketExpired(account.account_id, due_us, item_id, bucket.remaining)
        elif kind == _ORDER:
            order = account.orders[item_id]
            if order.state == "awaiting_payment":
                yield order_expiry_entry(account, order, due_us)
        else:
            yield from renewal_entries(account, account.subscriptions[item_id], due_us, now_us)
            # Its entries can fall due in their turn, as after days of standstill.
            for due in _due_of_subscription(account, item_id, used=used):
                if due[0] <= now_us:
                    heapq.heappush(queue, (due[0], due[1], next(ranks), due[2]))
    account.next_due_us = min((each[0] for each in _due_times(account, serving_since_us, used=False)), default=None)


def _due_of_subscription(account: Account, subscription_id: str, *, used: bool) -> Iterator[tuple[int, int, str]]:
    subscription = account.subscriptions[subscription_id]
    due_us = subscription.due_us if used else due_of(subscription)
    if due_us is not None:
        yield due_us, _RENEWAL, subscription_id
    for bucket_id in account.burn_order:
        bucket = account.buckets[bucket_id]
        if bucket.subscription_id == subscription_id:
            yield bucket.valid_until_us, _BUCKET, bucket_id


def _brings_no_line(subscription: Subscription) -> bool:
    """Whether its renewal grants no credit line; those that do come first, because the others may be paid from it."""
    terms = subscription.next_terms or subscription.terms
    return not any(allowance.postpaid for allowance in terms.allowances)


def _due_times(account: Account, serving_since_us: int, *, used: bool) -> Iterator[tuple[int, int, str]]:
    """Due times of everything on the account that happens by itself, each with its kind and ID."""
    for subscription in sorted(account.subscriptions.values(), key=_brings_no_line):
        due_us = subscription.due_us if used else due_of(subscription)
        if due_us is not None:
            yield due_us, _RENEWAL, subscription.subscription_id
    for order in account.orders.values():
        if order.state == "awaiting_payment":
            yield order.expires_us, _ORDER, order.order_id
    for bucket_id in account.burn_order:
        yield account.buckets[bucket_id].valid_until_us, _BUCKET, bucket_id
    for session in account.sessions.values():
        yield max(session.sweep_us, serving_since_us + 2 * session.answer.validity_us), _SESSION, session.charging_id
