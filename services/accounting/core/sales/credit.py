"""The worth of what is left of a purchase, and how it goes back. Pure."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final, NamedTuple

from services.accounting.core.account.state import ENDED_MEMORY_US, Account, Bucket, Order, Payer, Subscription
from services.accounting.core.buckets import bucket_entries
from services.accounting.core.commands import Returned
from services.accounting.core.cycles import days_of
from services.accounting.core.entries import BucketAmounts, BucketGranted, DebtRepaid, Entry, PriceReturned
from services.accounting.core.sales.prices import first_share, granted_of
from services.accounting.core.terms import Payment, Terms
from services.runtime.identifiers import derived_name

# A weight of 1.
_WEIGHT_BASE: Final = 1_000_000
# Money of which nobody knows any more how long it was valid comes back for this long.
_RETURNED_VALID_US: Final = 366 * 24 * 3_600 * 1_000_000
# Money comes back in at most this many buckets.
_RETURNED_BUCKETS_MAX: Final = 16


def credit_of(account: Account, subscription: Subscription, now_us: int) -> int:
    """The worth of what is left of the running cycle, in micro-units of its price's unit; 0 where none runs."""
    if subscription.state != "active" or not subscription.cycle_price:
        return 0
    terms, start_us, end_us = subscription.terms, subscription.cycle_start_us, subscription.cycle_end_us
    # Those of the running cycle are the last ones: others have ended, or rolled over and were paid with an earlier cycle.
    buckets = {
        bucket.allowance_id: bucket
        for bucket in account.buckets.values()
        if bucket.subscription_id == subscription.subscription_id and not bucket.ended
    }
    part, whole = first_share(terms, start_us, end_us)
    lefts = _lefts(terms, buckets, part, whole)
    return worth(subscription.cycle_price, _whole_days(terms, now_us, end_us), subscription.cycle_days, lefts)


def worth(paid: int, days_left: int, days: int, lefts: Sequence[tuple[int, Fraction]]) -> int:
    """floor(paid x min(days_left / days, sum of weight x left)), and no less than 0.

    `lefts`: of each allowance its weight in millionths, and the part of it that is left. Without weights the least part counts.
    """
    if not days:
        # Old journals have none.
        return 0
    by_time = Fraction(max(0, min(days_left, days)), days)
    weighted = [Fraction(weight, _WEIGHT_BASE) * left for weight, left in lefts]
    by_use = sum(weighted) if any(weight for weight, _ in lefts) else min((left for _, left in lefts), default=1)
    return int(paid * min(by_time, by_use))


def _whole_days(terms: Terms, now_us: int, end_us: int) -> int:
    """The local days that are left after today's."""
    return days_of(terms.time_zone, now_us, end_us) - 1


def _lefts(terms: Terms, buckets: dict[str, Bucket], part: int = 1, whole: int = 1) -> list[tuple[int, Fraction]]:
    """Each allowance as its weight and the part of it that is left; `buckets` by allowance."""
    return [
        (allowance.weight, _left(buckets.get(allowance.allowance_id), granted_of(allowance, part, whole)))
        for allowance in terms.allowances
        if not allowance.postpaid
    ]


def _left(bucket: Bucket | None, granted: int) -> Fraction:
    """The part of an allowance of `granted` that is left. Held or given away counts as used, a top-up as no part of it."""
    if bucket is None:
        return Fraction(0)
    used = bucket.granted - bucket.remaining
    return Fraction(max(0, granted - used), granted)


def credit_of_pack(account: Account, order: Order, now_us: int) -> int:
    """The worth of what is left of a pack, in micro-units of its price's unit."""
    buckets = {bucket.allowance_id: bucket for each in order.bucket_ids if (bucket := account.buckets.get(each)) is not None}
    running = [bucket for bucket in buckets.values() if not bucket.ended]
    if not order.amount or not running:
        return 0
    terms = order.terms
    begin_us = running[0].created_us
    end_us = begin_us + max(allowance.valid_for_us for allowance in terms.allowances)
    days = days_of(terms.time_zone, begin_us, end_us)
    return worth(order.amount, _whole_days(terms, now_us, end_us), days, _lefts(terms, buckets))


class Paid(NamedTuple):
    """A price that was paid for a purchase: a subscription's running cycle, or a pack."""

    # The subscription, or the order of the pack.
    purchase_id: str
    terms: Terms
    payment: Payment
    # Names of payments from outside.
    references: tuple[str, ...]
    # Prepaid money that paid it.
    payers: tuple[Payer, ...]

    @classmethod
    def for_subscription(cls, subscription: Subscription) -> "Paid":
        """The price of the running cycle."""
        terms, references = subscription.terms, subscription.payment_references
        return cls(subscription.subscription_id, terms, subscription.payment, references, subscription.payers)

    @classmethod
    def for_pack(cls, order: Order) -> "Paid":
        """The price of a pack."""
        return cls(order.order_id, order.terms, order.payment, (order.remark,) if order.remark else (), order.payers)


class Cause(NamedTuple):
    """The reason for which a part of a price goes back: a change by this order, or a refund with this key."""

    reason: str
    order_id: str = ""
    idempotency_key: str = ""
    digest: bytes = b""


def returned_entries(
    account: Account, paid: Paid, amount: int, cause: Cause, granting: Sequence[Entry], now_us: int
) -> list[Entry]:
    """Gives `amount` of a price back the way it was paid. `granting`: the other entries of the decision, which repay debt first.

    Prepaid money is a new bucket. A phone bill with a credit line here falls, as far as lines have consumed that much. The rest
    must go back outside.
    """
    unit, purchase_id = paid.terms.price_unit, paid.purchase_id
    prepaid = paid.payment == Payment.PREPAID
    credited = credits_of(account, paid, amount, now_us)
    outside = 0 if prepaid else amount - sum(part for _, part in credited)
    returned = PriceReturned(
        account_id=account.account_id,
        time_us=now_us,
        purchase_id=purchase_id,
        order_id=cause.order_id,
        offering_id=paid.terms.offering_id,
        unit=unit,
        amount=amount,
        payment=paid.payment,
        credits=credited,
        outside=outside,
        payment_references=paid.references if outside else (),
        reason=cause.reason,
        idempotency_key=cause.idempotency_key,
        digest=cause.digest,
    )
    if not prepaid:
        return [returned]
    repaid = sum(entry.amount for entry in granting if isinstance(entry, DebtRepaid) and entry.unit == unit)
    entries: list[Entry] = [returned]
    for number, (part, valid_until_us) in enumerate(_money_back(paid.payers, amount, now_us)):
        name = f"surplus:{purchase_id}/{now_us}/{cause.order_id or cause.idempotency_key}" + (f"/{number}" if number else "")
        granted = BucketGranted(
            account_id=account.account_id,
            time_us=now_us,
            bucket_id=derived_name("bkt", account.account_id, name),
            unit=unit,
            amount=part,
            valid_from_us=now_us,
            valid_until_us=valid_until_us,
            priority=0,
            idempotency_key="",
            digest=b"",
            repaid=0,
            source=f"surplus:{purchase_id}",
            reason=cause.reason,
        )
        made = bucket_entries(account, granted, repaid)
        repaid += sum(entry.amount for entry in made if isinstance(entry, DebtRepaid))
        entries += made
    return entries


def _money_back(payers: Sequence[Payer], amount: int, now_us: int) -> list[tuple[int, int]]:
    """The parts in which prepaid money comes back, each with the end of its validity, the earliest first.

    The last to pay get theirs back first. Money keeps the end that it had; where that has passed, it lives as long as it had left
    when it paid. So no purchase makes money live for ever, and none takes it away.
    """
    parts: dict[int, int] = {}
    for payer in (*reversed(payers), Payer(amount, now_us + _RETURNED_VALID_US, now_us)):
        until_us = payer.valid_until_us if payer.valid_until_us > now_us else now_us + payer.valid_until_us - payer.paid_us
        part = min(payer.amount, amount)
        if part:
            parts[until_us] = parts.get(until_us, 0) + part
            amount -= part
    back = [(part, until_us) for until_us, part in sorted(parts.items())]
    while len(back) > _RETURNED_BUCKETS_MAX:
        # The least goes with its neighbour, because each bucket is looked at for every call.
        least = back.index(min(back))
        part, _ = back.pop(least)
        beside = max(0, least - 1)
        back[beside] = (back[beside][0] + part, back[beside][1])
    return back


def without_refund(terms: Terms) -> str:
    """Says of terms that are not refundable why nothing comes back."""
    return f"offering {terms.offering_id} is sold without refund, or was changed to from one that is"


def returned_by(entry: PriceReturned) -> Returned:
    """The part of a price that went back, as people are told."""
    return Returned(entry.unit, entry.amount, entry.outside, entry.payment_references)


def credits_of(account: Account, paid: Paid, amount: int, now_us: int) -> BucketAmounts:
    """The credit lines whose consumption falls by `amount` in all: the purchase's own first, then the latest.

    Empty for a price that was paid another way.
    """
    if paid.payment != Payment.PHONE_BILL or paid.references:
        return ()
    lines = [bucket for bucket in account.buckets.values() if bucket.postpaid and bucket.unit == paid.terms.price_unit]
    # Those that ended long ago are forgotten with the next grant.
    lines = [line for line in lines if line.valid_until_us >= now_us - ENDED_MEMORY_US]
    lines.sort(key=lambda line: (line.subscription_id != paid.purchase_id, -line.created_us, line.bucket_id))
    credited = []
    for line in lines:
        part = min(line.consumed, amount)
        if part:
            credited.append((line.bucket_id, part))
            amount -= part
    return tuple(credited)
