"""Applies entries to orders and subscriptions."""

from typing import Final

from services.accounting.core.account.due import due_no_later_than, due_of, unused_until_us
from services.accounting.core.account.state import (
    ENDED_MEMORY_US,
    PAYMENT_REFERENCES_KEPT,
    Account,
    Applies,
    Order,
    Payer,
    Subscription,
)
from services.accounting.core.entries import (
    CycleStarted,
    OrderCompleted,
    OrderFailed,
    OrderPlaced,
    PriceCharged,
    RenewalChanged,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionSuspended,
)
from services.runtime.identifiers import derived_name


def subscription_id_of(account_id: str, idempotency_key: str) -> str:
    """The ID of the subscription that an order with this key begins."""
    return derived_name("sub", account_id, idempotency_key)


def is_founding(account_id: str, order: Order) -> bool:
    """Whether the order began its subscription; others change or renew one."""
    return order.subscription_id == subscription_id_of(account_id, order.idempotency_key)


def retry_suspended(account: Account, time_us: int) -> None:
    """Tries renewals that could not be paid again, because money has come."""
    for subscription in account.subscriptions.values():
        if subscription.state == "suspended":
            subscription.retry_us = time_us
            due_no_later_than(account, time_us)


def _order_placed(account: Account, entry: OrderPlaced, seq: int) -> None:
    account.orders[entry.order_id] = Order(
        order_id=entry.order_id,
        terms=entry.terms,
        payment=entry.payment,
        amount=entry.amount,
        expires_us=entry.expires_us,
        subscription_id=entry.subscription_id,
        idempotency_key=entry.idempotency_key,
        digest=entry.digest,
        placed_us=entry.time_us,
    )
    due_no_later_than(account, entry.expires_us)


def _price_charged(account: Account, entry: PriceCharged, seq: int) -> None:
    payers = []
    for bucket_id, amount in entry.debits:
        bucket = account.buckets[bucket_id]
        bucket.remaining -= amount
        bucket.consumed += amount
        if not bucket.postpaid:
            payers.append(Payer(amount, bucket.valid_until_us, entry.time_us))
    order = account.orders.get(entry.order_id)
    if order is not None and not order.subscription_id:
        order.payers = tuple(payers)
    elif (subscription := _subscription_paid(account, entry, order)) is not None:
        # A change pays what its credit does not: the money before paid for the rest.
        subscription.payers = last_payers((*subscription.payers, *payers), subscription.cycle_price)


def _subscription_paid(account: Account, entry: PriceCharged, order: Order | None) -> Subscription | None:
    """The subscription whose cycle was paid. A renewal names none: its cycle began just before, and nothing has paid for it yet."""
    if order is not None:
        return account.subscriptions.get(order.subscription_id)
    for each in account.subscriptions.values():
        begun = each.state == "active" and each.cycle_start_us == entry.time_us and each.terms.offering_id == entry.offering_id
        if begun and each.cycle_price == entry.amount and not each.payers:
            return each
    return None


def last_payers(payers: tuple[Payer, ...], amount: int) -> tuple[Payer, ...]:
    """The last of those who paid, as far as they come to `amount`."""
    last: list[Payer] = []
    for payer in reversed(payers):
        if amount <= 0:
            break
        last.append(Payer(min(payer.amount, amount), payer.valid_until_us, payer.paid_us))
        amount -= last[-1].amount
    return tuple(reversed(last))


def _order_completed(account: Account, entry: OrderCompleted, seq: int) -> None:
    order = account.orders[entry.order_id]
    order.state = "completed"
    order.remark = entry.payment_reference
    if (subscription := account.subscriptions.get(order.subscription_id)) is not None:
        # A whole price that was paid leaves nothing that earlier payments have paid.
        earlier = subscription.payment_references if order.amount != subscription.cycle_price else ()
        references = (*earlier, entry.payment_reference) if entry.payment_reference else earlier
        subscription.payment_references = references[-PAYMENT_REFERENCES_KEPT:]
    if order.terms.once and order.terms.cycle is None:
        account.bought[order.terms.offering_id] = entry.time_us
    if order.terms.cycle is not None:
        order.remembered_until_us = entry.time_us + ENDED_MEMORY_US


def _order_failed(account: Account, entry: OrderFailed, seq: int) -> None:
    order = account.orders[entry.order_id]
    order.state = "failed"
    order.remark = entry.reason
    order.remembered_until_us = entry.time_us + ENDED_MEMORY_US


def _subscription_started(account: Account, entry: SubscriptionStarted, seq: int) -> None:
    before = account.subscriptions.get(entry.subscription_id)
    goes_on = before is not None and before.state == "active" and entry.time_us < before.cycle_end_us
    account.subscriptions[entry.subscription_id] = Subscription(
        subscription_id=entry.subscription_id,
        terms=entry.terms,
        payment=entry.payment,
        first_us=entry.time_us,
        next_terms=entry.terms if entry.terms.automatic_renewal else None,
        next_payment=entry.payment,
        # The worth of the cycle before was counted towards this one, and so were its payments.
        payment_references=before.payment_references if before is not None and goes_on else (),
        payers=before.payers if before is not None and goes_on else (),
    )
    account.forget_derived()


def _cycle_started(account: Account, entry: CycleStarted, seq: int) -> None:
    subscription = account.subscriptions[entry.subscription_id]
    if subscription.next_terms is not None and entry.number > 1:
        subscription.terms = subscription.next_terms
        subscription.payment = subscription.next_payment
        if not subscription.terms.automatic_renewal:
            subscription.next_terms = None
    subscription.state = "active"
    subscription.retry_us = subscription.grace_end_us = 0
    subscription.cycle_number = entry.number
    subscription.cycle_start_us = entry.time_us
    subscription.cycle_end_us = entry.end_us
    subscription.cycle_price = entry.price
    subscription.cycle_days = entry.days
    if entry.number > 1:
        subscription.payment_references = ()
        subscription.payers = ()
    if subscription.terms.once:
        account.bought[subscription.terms.offering_id] = entry.time_us
    account.forget_derived()
    _subscription_due(account, subscription)


def _subscription_due(account: Account, subscription: Subscription) -> None:
    if (due_us := due_of(subscription)) is not None:
        due_no_later_than(account, due_us)
    account.unused_until_us = unused_until_us(account)


def _renewal_changed(account: Account, entry: RenewalChanged, seq: int) -> None:
    subscription = account.subscriptions[entry.subscription_id]
    subscription.next_terms = entry.terms
    subscription.next_payment = entry.payment
    _subscription_due(account, subscription)


def _subscription_suspended(account: Account, entry: SubscriptionSuspended, seq: int) -> None:
    subscription = account.subscriptions[entry.subscription_id]
    if subscription.state != "suspended":
        subscription.state = "suspended"
        subscription.grace_end_us = entry.grace_end_us
    subscription.retry_us = 0
    account.forget_derived()
    due_no_later_than(account, subscription.grace_end_us)


def _subscription_ended(account: Account, entry: SubscriptionEnded, seq: int) -> None:
    subscription = account.subscriptions[entry.subscription_id]
    subscription.state = "ended"
    subscription.ended_us = entry.time_us
    account.unused_until_us = unused_until_us(account)
    account.forget_derived()


APPLY: Final[Applies] = {
    OrderPlaced: _order_placed,
    PriceCharged: _price_charged,
    OrderCompleted: _order_completed,
    OrderFailed: _order_failed,
    SubscriptionStarted: _subscription_started,
    CycleStarted: _cycle_started,
    RenewalChanged: _renewal_changed,
    SubscriptionSuspended: _subscription_suspended,
    SubscriptionEnded: _subscription_ended,
}
