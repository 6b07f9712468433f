"""Buying: orders, packs, subscriptions with their cycles, renewal, change and end. Pure.

A price is paid from the account's own money (prepaid), from its credit line (phone bill), or outside: then the order waits in the
journal until the payment is confirmed. What an order promises is pinned in its terms; a later catalog does not touch it.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from services.accounting.core.account.state import Account, Bucket, Order, Subscription
from services.accounting.core.commands import (
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ConfirmPayment,
    Decision,
    Done,
    Fault,
    Ordered,
    PlaceOrder,
    digest_of,
    fail,
)
from services.accounting.core.cycles import cycle_end_us, cycle_number_at, days_of
from services.accounting.core.entries import (
    BucketExpired,
    BucketGranted,
    BucketRolledOver,
    CycleStarted,
    Entry,
    OrderCompleted,
    OrderFailed,
    OrderPlaced,
    PriceCharged,
    RenewalChanged,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionSuspended,
)
from services.accounting.core.grants import BUCKETS_MAX, bucket_entries, no_room
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import Allowance, Payment, Terms
from services.runtime.identifiers import derived_name

# How long an order waits for a payment from outside.
_PAYMENT_US_MAX: Final = 24 * 3_600 * 1_000_000


def place_order(account: Account, command: PlaceOrder, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Buys a pack or a subscription: at once when it is free or the account can pay, else once it is paid outside."""
    digest = digest_of(command)
    order_id = derived_name("ord", account.account_id, command.idempotency_key)
    known = account.orders.get(order_id)
    if known is not None:
        return _known_order(known, digest)
    terms = _sold(catalog, command.offering_id, command.payment)
    if isinstance(terms, Decision):
        return terms
    if (full := _no_room(account, terms)) is not None:
        return full
    subscription_id = derived_name("sub", account.account_id, command.idempotency_key) if terms.cycle else ""
    price, days, cycle_end = _first_cycle(terms, now_us)
    placed = _placed(account, order_id, terms, command.payment, price, now_us, subscription_id, command.idempotency_key, digest)
    if _waits_for_payment(account, terms, command.payment, price, now_us):
        return Decision((placed,), _ordered(placed, "awaiting_payment", subscription_id))
    opening = _opening_entries(account, order_id, terms, command.payment, price, days, cycle_end, now_us, subscription_id)
    payment = _payment_entries(account, terms, command.payment, price, order_id, now_us, opening)
    if isinstance(payment, Decision):
        return payment
    entries = [placed, *opening, *payment, OrderCompleted(account.account_id, now_us, order_id, "")]
    return Decision(entries, _ordered(placed, "completed", subscription_id, entries))


def confirm_payment(account: Account, command: ConfirmPayment, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Carries out an order that was paid outside."""
    order = account.orders.get(command.order_id)
    if order is None:
        return fail(Fault.ITEM_UNKNOWN, f"no order {command.order_id} is on account {account.account_id}")
    if order.state == "completed":
        if order.remark != command.payment_reference:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"order {order.order_id} was confirmed with reference {order.remark!r}")
        return Decision((), _order_view(order))
    if order.state == "failed":
        return fail(
            Fault.NOT_POSSIBLE, f"order {order.order_id} has failed ({order.remark}); give the payment back and order again"
        )
    completed = OrderCompleted(account.account_id, now_us, order.order_id, command.payment_reference)
    renewed = account.subscriptions.get(order.subscription_id)
    if renewed is None:
        # The same as ordering now: the cycle begins when it is paid.
        subscription_id = order.subscription_id
        _, days, cycle_end = _first_cycle(order.terms, now_us)
        entries = _opening_entries(
            account, order.order_id, order.terms, order.payment, order.amount, days, cycle_end, now_us, subscription_id
        )
    else:
        subscription_id = renewed.subscription_id
        if renewed.state == "ended":
            return fail(Fault.NOT_POSSIBLE, f"subscription {subscription_id} has ended; give the payment back and order again")
        entries = _restart_entries(account, renewed, order.terms, order.payment, order.order_id, now_us)
    entries.append(completed)
    return Decision(entries, _order_view(order, entries, "completed", subscription_id))


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
    return Decision((failed,), _order_view(order, [failed], "failed", order.subscription_id))


def change_subscription(account: Account, command: ChangeSubscription, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Puts a subscription on another offering, at once or from its next cycle on.

    At once: the cycle ends now, its allowances with it; what was paid for the days that are left counts towards the new price; what
    is over comes back as money.
    """
    digest = digest_of(command)
    subscription = account.subscriptions.get(command.subscription_id)
    if subscription is None or subscription.state == "ended":
        return fail(Fault.ITEM_UNKNOWN, f"no subscription {command.subscription_id} is active on account {account.account_id}")
    order_id = derived_name("ord", account.account_id, command.idempotency_key)
    known = account.orders.get(order_id)
    if known is not None:
        return _known_order(known, digest)
    terms = _sold(catalog, command.offering_id, command.payment)
    if isinstance(terms, Decision):
        return terms
    if terms.cycle is None:
        return fail(
            Fault.NOT_POSSIBLE, f"offering {command.offering_id} is a pack and has no cycles; order it beside the subscription"
        )
    if not command.at_once:
        if subscription.state != "active":
            return fail(Fault.NOT_POSSIBLE, f"subscription {command.subscription_id} is suspended; change it at once, or pay first")
        placed = _placed(
            account,
            order_id,
            terms,
            command.payment,
            0,
            now_us,
            command.subscription_id,
            command.idempotency_key,
            digest,
        )
        changed = RenewalChanged(account.account_id, now_us, command.subscription_id, terms, command.payment)
        done = OrderCompleted(account.account_id, now_us, order_id, "")
        return Decision((placed, changed, done), _ordered(placed, "completed", command.subscription_id))
    if (full := _no_room(account, terms)) is not None:
        return full
    price, _, _ = _first_cycle(terms, now_us)
    if subscription.terms.price_unit not in ("", terms.price_unit) and terms.price_unit and subscription.cycle_price:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the subscription is paid in {subscription.terms.price_unit} and {command.offering_id} in {terms.price_unit}: "
            "change it from the next cycle on",
        )
    to_pay = max(0, price - unused_value(subscription, now_us))
    placed = _placed(
        account, order_id, terms, command.payment, to_pay, now_us, command.subscription_id, command.idempotency_key, digest
    )
    if _waits_for_payment(account, terms, command.payment, to_pay, now_us):
        return Decision((placed,), _ordered(placed, "awaiting_payment", command.subscription_id))
    restart = _restart_entries(account, subscription, terms, command.payment, order_id, now_us)
    payment = _payment_entries(account, terms, command.payment, to_pay, order_id, now_us, restart)
    if isinstance(payment, Decision):
        return payment
    entries = [placed, *restart, *payment, OrderCompleted(account.account_id, now_us, order_id, "")]
    return Decision(entries, _ordered(placed, "completed", command.subscription_id, entries))


def cancel_subscription(account: Account, command: CancelSubscription, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Ends a subscription with its cycle, or at once, its allowances with it; nothing is paid back."""
    subscription = account.subscriptions.get(command.subscription_id)
    if subscription is None:
        return fail(Fault.ITEM_UNKNOWN, f"no subscription {command.subscription_id} is on account {account.account_id}")
    if subscription.state == "ended":
        return Decision((), Done())
    if command.at_once or subscription.state == "suspended":
        entries: list[Entry] = [
            *_end_cycle(account, subscription, now_us),
            SubscriptionEnded(account.account_id, now_us, subscription.subscription_id, "cancelled"),
        ]
        return Decision(entries, Done())
    if subscription.next_terms is None:
        return Decision((), Done())
    return Decision((RenewalChanged(account.account_id, now_us, subscription.subscription_id, None, Payment.FREE),), Done())


def unused_value(subscription: Subscription, now_us: int) -> int:
    """What of the price of the running cycle was for whole days that are left, rounded down."""
    if subscription.state != "active" or not subscription.cycle_days:
        return 0
    left = days_of(subscription.terms.time_zone, now_us, subscription.cycle_end_us) - 1
    return subscription.cycle_price * max(0, min(left, subscription.cycle_days)) // subscription.cycle_days


def renewal_entries(account: Account, subscription: Subscription, due_us: int, now_us: int) -> list[Entry]:
    """What happens to a subscription at `due_us`: the next cycle, its suspension, or its end."""
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
        # Nobody has used the cycles that went by, and they leave nothing behind.
        number = max(number, cycle_number_at(terms.cycle, terms.time_zone, first_us, number, now_us))
        if number > subscription.cycle_number + 1:
            due_us = cycle_end_us(terms.cycle, terms.time_zone, first_us, number - 1)
    if price and subscription.next_payment == Payment.EXTERNAL:
        return _ask_for_payment(account, subscription, terms, due_us)
    end_us = cycle_end_us(terms.cycle, terms.time_zone, first_us, number)
    source = f"cycle:{subscription_id}/{first_us}/{number}"
    granted = _allowance_entries(account, terms, source, subscription_id, due_us, end_us, 1, 1)
    payment = _payment_entries(account, terms, subscription.next_payment, price, "", due_us, granted)
    if isinstance(payment, Decision):
        return _suspend(account, subscription, due_us)
    rolled = _rollover_entries(account, subscription, due_us, end_us)
    days = days_of(terms.time_zone, due_us, end_us)
    cycle = CycleStarted(account_id, due_us, subscription_id, number, end_us, price, days)
    return [*rolled, cycle, *granted, *payment]


def _anew_entries(account: Account, subscription: Subscription, terms: Terms, due_us: int) -> list[Entry]:
    """A paid renewal whose cycles count from here: after a suspension, or under another offering."""
    if terms.price and subscription.next_payment == Payment.EXTERNAL:
        return _ask_for_payment(account, subscription, terms, due_us)
    restart = _restart_entries(account, subscription, terms, subscription.next_payment, "", due_us)
    price, _, _ = _first_cycle(terms, due_us)
    payment = _payment_entries(account, terms, subscription.next_payment, price, "", due_us, restart)
    return _suspend(account, subscription, due_us) if isinstance(payment, Decision) else [*restart, *payment]


def _ask_for_payment(account: Account, subscription: Subscription, terms: Terms, due_us: int) -> list[Entry]:
    if subscription.state == "suspended" or not subscription.terms.grace_us:
        # It was asked for when it was suspended; without a grace period there is no time to pay in.
        return _suspend(account, subscription, due_us)
    number = subscription.cycle_number + 1
    key = f"renewal:{subscription.subscription_id}/{subscription.first_us}/{number}"
    order_id = derived_name("ord", account.account_id, key)
    placed = _placed(
        account,
        order_id,
        terms,
        Payment.EXTERNAL,
        terms.price,
        due_us,
        subscription.subscription_id,
        key,
        b"",
        subscription.terms.grace_us,
    )
    return [placed, *_suspend(account, subscription, due_us)]


def _suspend(account: Account, subscription: Subscription, due_us: int) -> list[Entry]:
    if subscription.state == "suspended" and due_us >= subscription.grace_end_us:
        return [SubscriptionEnded(account.account_id, due_us, subscription.subscription_id, "not paid")]
    grace_us = subscription.terms.grace_us
    if subscription.state != "suspended" and not grace_us:
        return [SubscriptionEnded(account.account_id, due_us, subscription.subscription_id, "not paid")]
    return [SubscriptionSuspended(account.account_id, due_us, subscription.subscription_id, due_us + grace_us)]


def expiry_entry(account: Account, bucket: Bucket, due_us: int) -> Entry:
    """The end of a bucket: what remains expires."""
    return BucketExpired(account.account_id, due_us, bucket.bucket_id, bucket.remaining)


def order_expiry_entry(account: Account, order: Order, due_us: int) -> Entry:
    """The end of an order that nobody has paid."""
    return OrderFailed(account.account_id, due_us, order.order_id, "it was not paid in time")


def _rollover_entries(account: Account, subscription: Subscription, due_us: int, end_us: int) -> list[Entry]:
    """What lives on of the cycle that ends."""
    return [
        BucketRolledOver(account.account_id, due_us, bucket.bucket_id, max(0, bucket.remaining - bucket.rollover_cap), end_us)
        for bucket in account.buckets.values()
        if bucket.subscription_id == subscription.subscription_id and bucket.rollover_cap and not bucket.ended and bucket.remaining
    ]


def _restart_entries(
    account: Account, subscription: Subscription, terms: Terms, payment: Payment, order_id: str, now_us: int
) -> list[Entry]:
    """A subscription begins anew under `terms`: the running cycle, if there is one, ends, and cycle 1 begins."""
    price, days, end_us = _first_cycle(terms, now_us)
    assert terms.cycle is not None
    subscription_id = subscription.subscription_id
    entries = [
        *_end_cycle(account, subscription, now_us),
        SubscriptionStarted(account.account_id, now_us, subscription_id, terms, payment),
        CycleStarted(account.account_id, now_us, subscription_id, 1, end_us, price, days),
        *_allowance_entries(
            account,
            terms,
            f"restart:{subscription_id}/{now_us}/{order_id}",
            subscription_id,
            now_us,
            end_us,
            *_share(terms, now_us, end_us),
        ),
    ]
    surplus = unused_value(subscription, now_us) - price
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
        )
    return entries


# Money that comes back from a change of subscription can be used for this long.
_SURPLUS_VALID_US: Final = 366 * 24 * 3_600 * 1_000_000


def _end_cycle(account: Account, subscription: Subscription, now_us: int) -> list[Entry]:
    """The allowances of a subscription end now."""
    return [
        BucketExpired(account.account_id, now_us, bucket.bucket_id, bucket.remaining)
        for bucket in account.buckets.values()
        if bucket.subscription_id == subscription.subscription_id and not bucket.ended
    ]


def _sold(catalog: ChargingCatalog, offering_id: str, payment: Payment) -> Terms | Decision:
    """The terms of an offering that can be ordered and paid so."""
    rules = catalog.offerings.get(offering_id)
    if rules is None:
        return fail(Fault.OFFERING_UNKNOWN, f"no offering {offering_id!r} in the catalog; `tokenline offering list` shows them")
    terms = rules.terms
    if terms is None:
        return fail(Fault.NOT_POSSIBLE, f"offering {offering_id} grants nothing and can't be ordered; open an account on it")
    if terms.price and payment not in rules.payments:
        methods = ", ".join(sorted(each.name.lower() for each in rules.payments))
        return fail(Fault.NOT_POSSIBLE, f"offering {offering_id} can be paid by {methods}; not by {payment.name.lower()}")
    return terms


def _no_room(account: Account, terms: Terms) -> Decision | None:
    for allowance in terms.allowances:
        if (full := no_room(account, allowance.unit, allowance.amount)) is not None:
            return full
    if len(account.burn_order) + len(terms.allowances) > BUCKETS_MAX:
        return fail(Fault.NOT_POSSIBLE, f"the account would have more than {BUCKETS_MAX} buckets that have not ended")
    return None


def _first_cycle(terms: Terms, now_us: int) -> tuple[int, int, int]:
    """(price, days, end) of a cycle 1 that begins now; of a pack, its price."""
    if terms.cycle is None:
        return terms.price, 0, 0
    end_us = cycle_end_us(terms.cycle, terms.time_zone, now_us, 1)
    part, whole = _share(terms, now_us, end_us)
    return terms.price * part // whole, days_of(terms.time_zone, now_us, end_us), end_us


def _share(terms: Terms, now_us: int, end_us: int) -> tuple[int, int]:
    """The part of a first cycle that the calendar leaves, in days of days; (1, 1) when it counts as a whole."""
    cycle = terms.cycle
    if cycle is None or not cycle.prorated:
        return 1, 1
    whole_start_us = cycle_end_us(cycle, terms.time_zone, now_us, 0)
    return days_of(terms.time_zone, now_us, end_us), days_of(terms.time_zone, whole_start_us, end_us)


def _placed(
    account: Account,
    order_id: str,
    terms: Terms,
    payment: Payment,
    amount: int,
    now_us: int,
    subscription_id: str,
    idempotency_key: str,
    digest: bytes,
    wait_us: int = _PAYMENT_US_MAX,
) -> OrderPlaced:
    return OrderPlaced(
        account_id=account.account_id,
        time_us=now_us,
        order_id=order_id,
        terms=terms,
        payment=payment,
        amount=amount,
        expires_us=now_us + wait_us,
        subscription_id=subscription_id,
        idempotency_key=idempotency_key,
        digest=digest,
    )


def _opening_entries(
    account: Account,
    order_id: str,
    terms: Terms,
    payment: Payment,
    price: int,
    days: int,
    end_us: int,
    now_us: int,
    subscription_id: str,
) -> list[Entry]:
    """What a paid order makes: the buckets of a pack, or a subscription with its first cycle."""
    source = f"order:{order_id}"
    if terms.cycle is None:
        return _allowance_entries(account, terms, source, "", now_us, 0, 1, 1)
    return [
        SubscriptionStarted(account.account_id, now_us, subscription_id, terms, payment),
        CycleStarted(account.account_id, now_us, subscription_id, 1, end_us, price, days),
        *_allowance_entries(account, terms, source, subscription_id, now_us, end_us, *_share(terms, now_us, end_us)),
    ]


def _allowance_entries(
    account: Account, terms: Terms, source: str, subscription_id: str, now_us: int, end_us: int, part: int, whole: int
) -> list[Entry]:
    """The buckets of all allowances; a first cycle cut short grants its share, rounded up."""
    entries: list[Entry] = []
    repaid: dict[str, int] = {}
    for allowance in terms.allowances:
        granted = _allowance_bucket(account, terms, allowance, source, subscription_id, now_us, end_us)
        granted = msgspec.structs.replace(granted, amount=-(-allowance.amount * part // whole))
        made = bucket_entries(account, granted, repaid.get(allowance.unit, 0))
        first = made[0]
        assert isinstance(first, BucketGranted)
        repaid[allowance.unit] = repaid.get(allowance.unit, 0) + first.repaid
        entries += made
    return entries


def _allowance_bucket(
    account: Account, terms: Terms, allowance: Allowance, source: str, subscription_id: str, now_us: int, end_us: int
) -> BucketGranted:
    return BucketGranted(
        account_id=account.account_id,
        time_us=now_us,
        bucket_id=derived_name("bkt", account.account_id, f"{source}/{allowance.allowance_id}"),
        unit=allowance.unit,
        amount=allowance.amount,
        valid_from_us=now_us,
        valid_until_us=end_us or now_us + allowance.valid_for_us,
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


def _waits_for_payment(account: Account, terms: Terms, payment: Payment, price: int, now_us: int) -> bool:
    """Whether the price must be confirmed from outside: it is paid there, or on a phone bill without a credit line here."""
    if not price or payment == Payment.EXTERNAL:
        return bool(price)
    if payment != Payment.PHONE_BILL:
        return False
    has_line = any(bucket.postpaid and bucket.unit == terms.price_unit for bucket in _money(account, terms.price_unit, now_us))
    return not has_line and not any(each.postpaid and each.unit == terms.price_unit for each in terms.allowances)


def _payment_entries(
    account: Account, terms: Terms, payment: Payment, price: int, order_id: str, now_us: int, granting: Sequence[Entry]
) -> list[Entry] | Decision:
    """The debit of a price, or why it can't be paid. A credit line that is just being granted pays too."""
    if not price:
        return []
    unit = terms.price_unit
    postpaid = payment == Payment.PHONE_BILL
    money = [(bucket.bucket_id, bucket.remaining) for bucket in _money(account, unit, now_us) if bucket.postpaid == postpaid]
    if postpaid:
        ending = {entry.bucket_id for entry in granting if isinstance(entry, BucketExpired)}
        money = [each for each in money if each[0] not in ending]
        money += [
            (entry.bucket_id, entry.amount - entry.repaid)
            for entry in granting
            if isinstance(entry, BucketGranted) and entry.postpaid and entry.unit == unit and not entry.model_group
        ]
    debits: list[tuple[str, int]] = []
    missing = price
    for bucket_id, remaining in money:
        part = min(remaining, missing)
        if part:
            debits.append((bucket_id, part))
            missing -= part
    if missing:
        return fail(
            Fault.PAYMENT_REQUIRED,
            f"the price is {price} micro-units of {unit}, and {missing} of them are missing: "
            + ("the credit line does not cover it" if postpaid else "top up, or pay another way"),
        )
    return [PriceCharged(account.account_id, now_us, order_id, terms.offering_id, unit, price, tuple(debits))]


def _money(account: Account, unit: str, now_us: int) -> list[Bucket]:
    """The buckets that can pay a price in `unit` now: money for every model, in burn order."""
    buckets = [account.buckets[bucket_id] for bucket_id in account.burn_order]
    return [
        bucket
        for bucket in buckets
        if bucket.unit == unit and bucket.line.split("|")[1] == "" and bucket.valid_from_us <= now_us < bucket.valid_until_us
    ]


def _known_order(known: Order, digest: bytes) -> Decision:
    if known.digest != digest:
        return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {known.idempotency_key} was used for another order")
    return Decision((), _order_view(known))


def _ordered(placed: OrderPlaced, state: str, subscription_id: str, entries: list[Entry] | None = None) -> Ordered:
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
    )


def _order_view(order: Order, entries: list[Entry] | None = None, state: str = "", subscription_id: str = "") -> Ordered:
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
        reason=order.remark,
    )
