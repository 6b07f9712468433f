"""Renews, suspends and ends subscriptions by themselves, when they fall due. Pure."""

from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.commands import Decision
from services.accounting.core.cycles import cycle_end_us, cycle_number_at, days_of
from services.accounting.core.entries import (
    BucketRolledOver,
    CycleStarted,
    Entry,
    OrderFailed,
    OrderPlaced,
    SubscriptionEnded,
    SubscriptionSuspended,
)
from services.accounting.core.sales.openings import allowance_entries, restart_entries
from services.accounting.core.sales.prices import Span, first_cycle, payment_entries, waits_for_payment
from services.accounting.core.terms import Terms
from services.runtime.identifiers import derived_name


def renewal_entries(account: Account, subscription: Subscription, due_us: int, now_us: int) -> list[Entry]:
    """Entries of a subscription at `due_us`: its next cycle, its suspension, or its end."""
    account_id, subscription_id = account.account_id, subscription.subscription_id
    if subscription.state == "suspended":
        if subscription.retry_us and subscription.retry_us <= subscription.grace_end_us:
            return _anew_entries(account, subscription, subscription.next_terms or subscription.terms, due_us)
        return [SubscriptionEnded(account_id, due_us, subscription_id, "not paid")]
    terms = subscription.next_terms
    if terms is None:
        return [SubscriptionEnded(account_id, due_us, subscription_id, "its last cycle is over")]
    number = subscription.cycle_number + 1
    first_us = subscription.first_us
    if terms != subscription.terms:
        # Another offering counts its cycles from here.
        return _anew_entries(account, subscription, terms, due_us)
    assert terms.cycle is not None
    price = terms.price
    if not price and not any(allowance.rollover_cap for allowance in terms.allowances):
        # Skip the cycles that went by unused: they leave nothing to the next.
        number = max(number, cycle_number_at(terms.cycle, terms.time_zone, first_us, number, now_us))
        if number > subscription.cycle_number + 1:
            due_us = cycle_end_us(terms.cycle, terms.time_zone, first_us, number - 1)
    if waits_for_payment(account, terms, subscription.next_payment, price, due_us):
        return _ask_for_payment(account, subscription, terms, due_us)
    end_us = cycle_end_us(terms.cycle, terms.time_zone, first_us, number)
    span = Span(due_us, end_us, price, days_of(terms.time_zone, due_us, end_us))
    granted = allowance_entries(account, terms, f"cycle:{subscription_id}/{first_us}/{number}", subscription_id, span)
    payment = payment_entries(account, terms, subscription.next_payment, price, "", due_us, granted)
    if isinstance(payment, Decision):
        return _suspend(account, subscription, due_us)
    rolled = _rollover_entries(account, subscription, due_us, end_us)
    cycle = CycleStarted(account_id, due_us, subscription_id, number, end_us, price, span.days)
    return [*rolled, cycle, *granted, *payment]


def _anew_entries(account: Account, subscription: Subscription, terms: Terms, due_us: int) -> list[Entry]:
    """A paid renewal whose cycles count from here: after a suspension, or under another offering."""
    if waits_for_payment(account, terms, subscription.next_payment, terms.price, due_us):
        return _ask_for_payment(account, subscription, terms, due_us)
    span = first_cycle(terms, due_us)
    restart = restart_entries(account, subscription, terms, subscription.next_payment, "", span)
    payment = payment_entries(account, terms, subscription.next_payment, span.price, "", due_us, restart)
    if isinstance(payment, Decision):
        return _suspend(account, subscription, due_us)
    # A credit line can come while a phone bill elsewhere is asked: it must not be asked any more.
    asked = [
        OrderFailed(account.account_id, due_us, order.order_id, "the price was paid from the account")
        for order in account.orders.values()
        if order.subscription_id == subscription.subscription_id and order.state == "awaiting_payment" and not order.digest
    ]
    return [*asked, *restart, *payment]


def _ask_for_payment(account: Account, subscription: Subscription, terms: Terms, due_us: int) -> list[Entry]:
    if subscription.state == "suspended" or not subscription.terms.grace_us:
        # A payment was asked for at the suspension; without a grace period there is no time to pay in.
        return _suspend(account, subscription, due_us)
    number = subscription.cycle_number + 1
    key = f"renewal:{subscription.subscription_id}/{subscription.first_us}/{number}"
    placed = OrderPlaced(
        account_id=account.account_id,
        time_us=due_us,
        order_id=derived_name("ord", account.account_id, key),
        terms=terms,
        payment=subscription.next_payment,
        amount=terms.price,
        expires_us=due_us + subscription.terms.grace_us,
        subscription_id=subscription.subscription_id,
        idempotency_key=key,
        digest=b"",
    )
    return [placed, *_suspend(account, subscription, due_us)]


def _suspend(account: Account, subscription: Subscription, due_us: int) -> list[Entry]:
    if subscription.state == "suspended" and due_us >= subscription.grace_end_us:
        return [SubscriptionEnded(account.account_id, due_us, subscription.subscription_id, "not paid")]
    grace_us = subscription.terms.grace_us
    if subscription.state != "suspended" and not grace_us:
        return [SubscriptionEnded(account.account_id, due_us, subscription.subscription_id, "not paid")]
    return [SubscriptionSuspended(account.account_id, due_us, subscription.subscription_id, due_us + grace_us)]


def _rollover_entries(account: Account, subscription: Subscription, due_us: int, end_us: int) -> list[Entry]:
    """Rolls unused allowances of the cycle that ends over into the next."""
    return [
        BucketRolledOver(account.account_id, due_us, bucket.bucket_id, max(0, bucket.remaining - bucket.rollover_cap), end_us)
        for bucket in account.buckets.values()
        if bucket.subscription_id == subscription.subscription_id and bucket.rollover_cap and not bucket.ended and bucket.remaining
    ]
