"""Orders: placed, paid, given up. Pure.

A price is paid from the account's own money (prepaid), from its credit line (phone bill), or outside. An order that is paid outside
waits in the journal until the payment is confirmed. An order pins its terms; a later catalog does not touch them.
"""

from typing import Final

from services.accounting.core.account.sales import subscription_id_of
from services.accounting.core.account.state import Account, Order, Subscription
from services.accounting.core.amounts import in_unit
from services.accounting.core.commands import (
    CancelOrder,
    ChangeSubscription,
    ConfirmPayment,
    Decision,
    Failed,
    Fault,
    Ordered,
    PlaceOrder,
    digest_of_order,
    fail,
)
from services.accounting.core.entries import BucketGranted, Entry, OrderCompleted, OrderFailed, OrderPlaced, PriceReturned
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sales.credit import credit_of, returned_by
from services.accounting.core.sales.once import bought_already
from services.accounting.core.sales.openings import opening_entries, restart_entries
from services.accounting.core.sales.prices import Span, first_cycle, no_room_for, payment_entries, sold, waits_for_payment
from services.accounting.core.terms import Terms
from services.runtime.identifiers import derived_name

# An order waits this long for a payment from outside.
_PAYMENT_US_MAX: Final = 24 * 3_600 * 1_000_000


def place_order(account: Account, command: PlaceOrder, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Buys a pack or a subscription: at once if it is free or the account can pay, else when it is paid outside."""
    digest = digest_of_order(command)
    order_id = order_id_of(account, command)
    known = account.orders.get(order_id)
    if known is not None:
        return known_order(known, digest)
    terms = sold(catalog, command, now_us)
    if isinstance(terms, Decision):
        return terms
    if (refused := bought_already(account, terms, now_us) or no_room_for(account, terms)) is not None:
        return refused
    subscription_id = subscription_id_of(account.account_id, command.idempotency_key) if terms.cycle else ""
    if subscription_id in account.subscriptions:
        # Older code forgot orders before what they made.
        return fail(
            Fault.IDEMPOTENCY_CONFLICT,
            f"the idempotency key {command.idempotency_key} made subscription {subscription_id} before; give a new one",
        )
    span = first_cycle(terms, now_us)
    placed = order_placed(account, command, digest, subscription_id, terms, span.price, now_us)
    if waits_for_payment(account, terms, command.payment, span.price, now_us):
        return Decision((placed,), ordered(placed, "awaiting_payment", subscription_id))
    opening = opening_entries(account, order_id, subscription_id, terms, command.payment, span)
    payment = payment_entries(account, terms, command.payment, span.price, order_id, now_us, opening)
    if isinstance(payment, Decision):
        return payment
    entries = [placed, *opening, *payment, OrderCompleted(account.account_id, now_us, order_id, "")]
    return Decision(entries, ordered(placed, "completed", subscription_id, entries))


def confirm_payment(account: Account, command: ConfirmPayment, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Carries out an order that was paid outside, at the price that it has now.

    A payment that comes when the price is another one is refused, and the order ends: the payment must go back.
    """
    order = account.orders.get(command.order_id)
    if order is None:
        return fail(Fault.ITEM_UNKNOWN, f"no order {command.order_id} is on account {account.account_id}")
    if order.state == "completed":
        if order.remark != command.payment_reference:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"order {order.order_id} was confirmed with reference {order.remark!r}")
        return Decision((), _order_view(order))
    reference = command.payment_reference
    if order.state == "failed":
        return fail(
            Fault.NOT_POSSIBLE, f"order {order.order_id} has failed ({order.remark}); give payment {reference} back and order again"
        )
    changed = account.subscriptions.get(order.subscription_id)
    if changed is not None and changed.state == "ended":
        return _give_back(account, order, reference, f"subscription {order.subscription_id} has ended", now_us)
    span = _span_of(order, changed, now_us)
    price = span.price if changed is None or _is_renewal(order) else max(0, span.price - credit_of(account, changed, now_us))
    if price != order.amount:
        unit = order.terms.price_unit
        why = f"it costs {in_unit(price, unit)} now, not {in_unit(order.amount, unit)}"
        return _give_back(account, order, reference, why, now_us)
    if changed is None:
        entries = opening_entries(account, order.order_id, order.subscription_id, order.terms, order.payment, span)
    else:
        entries = restart_entries(account, changed, order.terms, order.payment, order.order_id, span)
    entries.append(OrderCompleted(account.account_id, now_us, order.order_id, reference))
    return Decision(entries, _order_view(order, entries, "completed", order.subscription_id, reference))


def _is_renewal(order: Order) -> bool:
    """Whether a renewal asks for the payment by itself; nobody placed the order."""
    return not order.digest


def _span_of(order: Order, changed: Subscription | None, now_us: int) -> Span:
    """The cycle, or the sale of the pack, that begins with the payment; `changed` is the subscription that the order is about."""
    span = first_cycle(order.terms, now_us)
    # A whole cycle was asked for at its begin, however late it is paid.
    return span._replace(price=order.amount, part=1, whole=1) if changed is not None and _is_renewal(order) else span


def _give_back(account: Account, order: Order, reference: str, why: str, now_us: int) -> Decision:
    """Ends an order whose payment came too late, and names the payment that must go back."""
    failed = OrderFailed(account.account_id, now_us, order.order_id, f"payment {reference} came too late: {why}")
    return Decision(
        (failed,),
        Failed(Fault.NOT_POSSIBLE, f"order {order.order_id} came to nothing: {why}; give payment {reference} back and order again"),
    )


def cancel_order(account: Account, command: CancelOrder, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Gives up an order that waits for its payment."""
    order = account.orders.get(command.order_id)
    if order is None:
        return fail(Fault.ITEM_UNKNOWN, f"no order {command.order_id} is on account {account.account_id}")
    if order.state == "completed":
        return fail(Fault.NOT_POSSIBLE, f"order {order.order_id} is completed; cancel what it made")
    if order.state == "failed":
        return Decision((), _order_view(order))
    failed = OrderFailed(account.account_id, now_us, order.order_id, command.reason)
    return Decision((failed,), _order_view(order, [failed], "failed", order.subscription_id, command.reason))


def order_expiry_entry(account: Account, order: Order, due_us: int) -> Entry:
    """Ends an order that nobody has paid."""
    return OrderFailed(account.account_id, due_us, order.order_id, "it was not paid in time")


def order_id_of(account: Account, command: PlaceOrder | ChangeSubscription) -> str:
    """The ID of the order that a command places; a repeat of the command gets the same ID."""
    return derived_name("ord", account.account_id, command.idempotency_key)


def order_placed(
    account: Account,
    command: PlaceOrder | ChangeSubscription,
    digest: bytes,
    subscription_id: str,
    terms: Terms,
    amount: int,
    now_us: int,
) -> OrderPlaced:
    """The order that a command places, of `amount` micro-units of the price's unit; `digest` is the command's."""
    return OrderPlaced(
        account_id=account.account_id,
        time_us=now_us,
        order_id=order_id_of(account, command),
        terms=terms,
        payment=command.payment,
        amount=amount,
        expires_us=now_us + _PAYMENT_US_MAX,
        subscription_id=subscription_id,
        idempotency_key=command.idempotency_key,
        digest=digest,
    )


def known_order(known: Order, digest: bytes) -> Decision:
    """The answer to a command whose order is there already."""
    if known.digest != digest:
        return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {known.idempotency_key} was used for another order")
    return Decision((), _order_view(known))


def ordered(placed: OrderPlaced, state: str, subscription_id: str, entries: list[Entry] | None = None) -> Ordered:
    """The answer to a command that placed an order and wrote `entries`."""
    return Ordered(
        order_id=placed.order_id,
        offering_id=placed.terms.offering_id,
        payment=placed.payment,
        state=state,
        subscription_id=subscription_id,
        bucket_ids=tuple(entry.bucket_id for entry in entries or () if isinstance(entry, BucketGranted)),
        unit=placed.terms.price_unit,
        amount=placed.amount,
        expires_us=placed.expires_us,
        reason="",
        returned=next((returned_by(entry) for entry in entries or () if isinstance(entry, PriceReturned)), None),
    )


def _order_view(
    order: Order, entries: list[Entry] | None = None, state: str = "", subscription_id: str = "", remark: str = ""
) -> Ordered:
    """An order as it is, or as `entries` will leave it."""
    granted = tuple(entry.bucket_id for entry in entries or () if isinstance(entry, BucketGranted))
    return Ordered(
        order_id=order.order_id,
        offering_id=order.terms.offering_id,
        payment=order.payment,
        state=state or order.state,
        subscription_id=subscription_id or order.subscription_id,
        bucket_ids=(*order.bucket_ids, *granted),
        unit=order.terms.price_unit,
        amount=order.amount,
        expires_us=order.expires_us,
        reason=remark or order.remark,
        returned=order.returned,
    )
