"""Tells when something next falls due on an account by itself."""

from typing import Final

from services.accounting.core.account.state import Account, Subscription

# How long after an unanswered attempt a transfer is tried again.
TRANSFER_RETRY_US: Final = 5 * 1_000_000


def next_due_us(account: Account) -> int | None:
    """When something next falls due on the account: a sweep, the end of a bucket or a cycle, an order, a transfer."""
    times = [session.sweep_us for session in account.sessions.values()]
    times += [account.buckets[bucket_id].valid_until_us for bucket_id in account.burn_order]
    times += [due_us for each in account.subscriptions.values() if (due_us := due_of(each)) is not None]
    times += [order.expires_us for order in account.orders.values() if order.state == "awaiting_payment"]
    times += [transfer.sent_us + TRANSFER_RETRY_US for transfer in account.transfers.values() if transfer.state == "in_transit"]
    return min(times, default=None)


def due_of(subscription: Subscription) -> int | None:
    """When the subscription must be looked at by itself; None: it can wait until somebody uses the account.

    A free cycle that leaves nothing to the next is opened at the next use, so an idle account costs nothing.
    """
    terms = subscription.terms
    if (
        subscription.state == "active"
        and terms.price == 0
        and subscription.next_terms == terms
        and not any(allowance.rollover_cap for allowance in terms.allowances)
    ):
        return None
    return subscription.due_us


def due_no_later_than(account: Account, time_us: int) -> None:
    """Notes that something falls due on the account at `time_us`."""
    if account.next_due_us is None or time_us < account.next_due_us:
        account.next_due_us = time_us


def unused_until_us(account: Account) -> int | None:
    """The end of the first free cycle that is renewed only when somebody uses the account; None: there is none."""
    return min(
        (each.cycle_end_us for each in account.subscriptions.values() if each.state == "active" and due_of(each) is None),
        default=None,
    )
