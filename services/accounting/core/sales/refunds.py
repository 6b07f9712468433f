"""Refunds of purchases: a subscription or a pack ends at once, and the worth of what is left of it goes back. Pure."""

from services.accounting.core.account.state import Account, Order, Subscription
from services.accounting.core.commands import Decision, Fault, RefundPurchase, digest_of, fail
from services.accounting.core.entries import BucketExpired, Entry, PriceReturned, SubscriptionEnded
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sales.credit import (
    Cause,
    Paid,
    credit_of,
    credit_of_pack,
    returned_by,
    returned_entries,
    without_refund,
)
from services.accounting.core.sales.openings import end_cycle


def refund_purchase(account: Account, command: RefundPurchase, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Gives back the worth of what is left of a purchase, which ends; calls keep what they hold."""
    digest = digest_of(command)
    purchase = account.subscriptions.get(command.purchase_id) or account.orders.get(command.purchase_id)
    if purchase is None or (isinstance(purchase, Order) and purchase.terms.cycle is not None):
        return fail(
            Fault.ITEM_UNKNOWN, f"no subscription or order of a pack {command.purchase_id} is on account {account.account_id}"
        )
    known = account.adjustments.get(command.idempotency_key)
    if known is not None:
        if known.digest != digest or purchase.returned is None:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {command.idempotency_key} was used for something else")
        return Decision((), purchase.returned)
    if (why := _not_refunded(purchase)) is not None:
        return fail(Fault.NOT_POSSIBLE, why)
    if not catalog.sales:
        return fail(
            Fault.UNAVAILABLE,
            "a replica of accounting is of a release that knows no refunds of purchases; refund once all are updated",
        )
    if isinstance(purchase, Subscription):
        credit, paid = credit_of(account, purchase, now_us), Paid.for_subscription(purchase)
        ending: list[Entry] = [
            *end_cycle(account, purchase, now_us),
            SubscriptionEnded(account.account_id, now_us, purchase.subscription_id, "refunded"),
        ]
    else:
        credit, paid = credit_of_pack(account, purchase, now_us), Paid.for_pack(purchase)
        ending = _end_pack(account, purchase, now_us)
    if not credit:
        return fail(Fault.NOT_POSSIBLE, f"nothing of {command.purchase_id} is left that could be refunded")
    cause = Cause(command.reason, idempotency_key=command.idempotency_key, digest=digest)
    returned = returned_entries(account, paid, credit, cause, (), now_us)
    told = returned[0]
    assert isinstance(told, PriceReturned)
    return Decision([*ending, *returned], returned_by(told))


def _not_refunded(purchase: Subscription | Order) -> str | None:
    """Why a purchase is not refunded, whatever is left of it; None: it may be."""
    if isinstance(purchase, Subscription):
        if purchase.state == "ended":
            return f"subscription {purchase.subscription_id} has ended"
    elif purchase.state != "completed":
        return f"order {purchase.order_id} is {purchase.state.replace('_', ' ')}; only what was paid is refunded"
    elif purchase.returned is not None:
        return f"order {purchase.order_id} was refunded already"
    if not purchase.terms.refundable:
        return without_refund(purchase.terms)
    return None


def _end_pack(account: Account, order: Order, now_us: int) -> list[Entry]:
    buckets = [bucket for each in order.bucket_ids if (bucket := account.buckets.get(each)) is not None]
    return [BucketExpired(account.account_id, now_us, bucket.bucket_id, bucket.remaining) for bucket in buckets if not bucket.ended]
