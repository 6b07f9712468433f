"""Subscriptions: changed and cancelled by their account. Pure."""

from typing import Final

import msgspec

from services.accounting.core.account.state import Account, Subscription
from services.accounting.core.amounts import in_unit
from services.accounting.core.commands import CancelSubscription, ChangeSubscription, Decision, Done, Fault, digest_of_order, fail
from services.accounting.core.entries import Entry, OrderCompleted, PriceReturned, RenewalChanged, SubscriptionEnded
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sales.credit import Cause, Paid, credit_of, credits_of, returned_entries, without_refund
from services.accounting.core.sales.once import bought_already
from services.accounting.core.sales.openings import end_cycle, restart_entries
from services.accounting.core.sales.orders import known_order, order_id_of, order_placed, ordered
from services.accounting.core.sales.prices import first_cycle, no_room_for, payment_entries, sold, waits_for_payment
from services.accounting.core.terms import Payment, Terms

_LATER: Final = "change from the next cycle on"


def change_subscription(account: Account, command: ChangeSubscription, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Puts a subscription on another offering, at once or from its next cycle on.

    At once: the cycle ends now, and its allowances with it. The price of the days that are left counts towards the new price. An
    excess comes back as money.
    """
    digest = digest_of_order(command)
    subscription = account.subscriptions.get(command.subscription_id)
    if subscription is None or subscription.state == "ended":
        return fail(Fault.ITEM_UNKNOWN, f"no subscription {command.subscription_id} is active on account {account.account_id}")
    order_id = order_id_of(account, command)
    known = account.orders.get(order_id)
    if known is not None:
        return known_order(known, digest)
    terms = _terms_of(account, subscription, command, now_us, catalog)
    if isinstance(terms, Decision):
        return terms
    if not command.at_once:
        if subscription.state != "active":
            return fail(Fault.NOT_POSSIBLE, f"subscription {command.subscription_id} is suspended; change it at once, or pay first")
        placed = order_placed(account, command, digest, command.subscription_id, terms, 0, now_us)
        changed = RenewalChanged(account.account_id, now_us, command.subscription_id, terms, command.payment)
        done = OrderCompleted(account.account_id, now_us, order_id, "")
        return Decision((placed, changed, done), ordered(placed, "completed", command.subscription_id))
    if (full := no_room_for(account, terms)) is not None:
        return full
    if subscription.terms.price_unit not in ("", terms.price_unit) and terms.price_unit and subscription.cycle_price:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the subscription is paid in {subscription.terms.price_unit} and {command.offering_id} in {terms.price_unit}: "
            "change it from the next cycle on",
        )
    span = first_cycle(terms, now_us)
    credit = credit_of(account, subscription, now_us)
    to_pay = max(0, span.price - credit)
    outside = waits_for_payment(account, terms, command.payment, to_pay, now_us)
    if credit and span.price:
        if (refused := _not_credited(subscription, command, outside)) is not None:
            return refused
        # A payment outside gets its part back there, so a credit line here must not pay for more of the cycle.
        outside = outside or (to_pay > 0 and command.payment == Payment.PHONE_BILL and subscription.payment_references != ())
        # Else a price that never goes back would, by a change and a refund of that.
        terms = msgspec.structs.replace(terms, refundable=terms.refundable and subscription.terms.refundable)
    placed = order_placed(account, command, digest, command.subscription_id, terms, to_pay, now_us)
    if outside:
        return Decision((placed,), ordered(placed, "awaiting_payment", command.subscription_id))
    over = max(0, credit - span.price)
    credited = credits_of(account, Paid.for_subscription(subscription), over, now_us)
    restart = restart_entries(account, subscription, terms, command.payment, order_id, span, credited)
    if over:
        back = _give_back(account, subscription, over, order_id, restart, catalog)
        if isinstance(back, Decision):
            return back
        restart += back
    payment = payment_entries(account, terms, command.payment, to_pay, order_id, now_us, restart)
    if isinstance(payment, Decision):
        return payment
    entries = [placed, *restart, *payment, OrderCompleted(account.account_id, now_us, order_id, "")]
    return Decision(entries, ordered(placed, "completed", command.subscription_id, entries))


def _not_credited(subscription: Subscription, command: ChangeSubscription, outside: bool) -> Decision | None:
    """Refuses a change after which the credit would go back in another way; None where it counts towards the price.

    `outside`: the rest of the price is confirmed from outside.
    """
    way = subscription.payment.name.lower()
    if command.payment != subscription.payment:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the running cycle was paid by {way}, and what is left of it goes back so: pay the change by {way}, or {_LATER}",
        )
    if outside and subscription.payment == Payment.PHONE_BILL and not subscription.payment_references:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the running cycle was paid from a credit line, where its rest goes back, and no line can pay the change: {_LATER}",
        )
    return None


def _terms_of(
    account: Account, subscription: Subscription, command: ChangeSubscription, now_us: int, catalog: ChargingCatalog
) -> Terms | Decision:
    """The terms that a subscription is changed to, or the refusal of the change."""
    if (refused := _not_now(account, subscription, command)) is not None:
        return refused
    terms = sold(catalog, command, now_us)
    if isinstance(terms, Decision):
        return terms
    if terms.cycle is None:
        return fail(
            Fault.NOT_POSSIBLE, f"offering {command.offering_id} is a pack and has no cycles; order it beside the subscription"
        )
    if command.offering_id == subscription.terms.offering_id:
        return terms
    return bought_already(account, terms, now_us, subscription.subscription_id) or terms


def _not_now(account: Account, subscription: Subscription, command: ChangeSubscription) -> Decision | None:
    """Refuses a change that changes nothing, and a second one beside one that waits for its payment; None where it may happen."""
    subscription_id, offering_id = subscription.subscription_id, subscription.terms.offering_id
    for order in account.orders.values():
        if order.subscription_id == subscription_id and order.state == "awaiting_payment":
            return fail(
                Fault.NOT_POSSIBLE,
                f"order {order.order_id} of subscription {subscription_id} waits for its payment; pay it or cancel it first",
            )
    if command.offering_id != offering_id:
        return None
    if command.at_once:
        return fail(
            Fault.NOT_POSSIBLE,
            f"subscription {subscription_id} is on {offering_id} already; name another offering, or order {offering_id} beside it",
        )
    # Else it takes back a cancellation, or a change that waits for the cycle's end.
    if subscription.next_terms is not None and subscription.next_terms.offering_id == offering_id:
        return fail(Fault.NOT_POSSIBLE, f"subscription {subscription_id} renews on {offering_id} already")
    return None


def _give_back(
    account: Account, subscription: Subscription, amount: int, order_id: str, restart: list[Entry], catalog: ChargingCatalog
) -> list[Entry] | Decision:
    """Entries that give back what is over of a change, or its refusal. `restart`: the entries of the new cycle."""
    paid = Paid.for_subscription(subscription)
    if not subscription.terms.refundable:
        back = in_unit(amount, paid.terms.price_unit)
        return fail(Fault.NOT_POSSIBLE, f"{back} would come back, and {without_refund(paid.terms)}: {_LATER}")
    cause = Cause("what was paid for days that are left", order_id)
    entries = returned_entries(account, paid, amount, cause, restart, restart[0].time_us)
    if catalog.sales:
        return entries
    if paid.payment == Payment.PREPAID:
        # Money came back like this before there was an entry for it.
        return [entry for entry in entries if not isinstance(entry, PriceReturned)]
    return fail(Fault.UNAVAILABLE, f"a replica of accounting is of a release that gives back prepaid money alone: {_LATER}")


def cancel_subscription(account: Account, command: CancelSubscription, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Ends a subscription with its cycle, or at once with its allowances; nothing is paid back."""
    subscription = account.subscriptions.get(command.subscription_id)
    if subscription is None:
        return fail(Fault.ITEM_UNKNOWN, f"no subscription {command.subscription_id} is on account {account.account_id}")
    if subscription.state == "ended":
        return Decision((), Done())
    if command.at_once or subscription.state == "suspended":
        entries: list[Entry] = [
            *end_cycle(account, subscription, now_us),
            SubscriptionEnded(account.account_id, now_us, subscription.subscription_id, "cancelled"),
        ]
        return Decision(entries, Done())
    if subscription.next_terms is None:
        return Decision((), Done())
    return Decision((RenewalChanged(account.account_id, now_us, subscription.subscription_id, None, Payment.FREE),), Done())
