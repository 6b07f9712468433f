"""Prices of cycles, paid from the account's own money, from its credit line, or outside. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from services.accounting.core.account.state import Account, Bucket, named_by
from services.accounting.core.amounts import in_unit
from services.accounting.core.buckets import BUCKETS_MAX, no_room
from services.accounting.core.commands import ChangeSubscription, Decision, Fault, PlaceOrder, fail
from services.accounting.core.cycles import cycle_end_us, days_of
from services.accounting.core.entries import BucketExpired, BucketGranted, Entry, PriceCharged
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import Allowance, Payment, Terms


def sold(catalog: ChargingCatalog, command: PlaceOrder | ChangeSubscription, now_us: int) -> Terms | Decision:
    """The terms of an offering, if it can be ordered and paid so, and the account is entitled to it where it must be."""
    offering_id, payment = command.offering_id, command.payment
    rules = catalog.offerings.get(offering_id)
    if rules is None:
        return fail(Fault.OFFERING_UNKNOWN, f"no offering {offering_id!r} in the catalog; `tokenline offering list` shows them")
    terms = rules.terms
    if terms is None:
        return fail(Fault.NOT_POSSIBLE, f"offering {offering_id} grants nothing and can't be ordered; open an account on it")
    if rules.withdrawn:
        return fail(Fault.NOT_POSSIBLE, f"offering {offering_id} is no longer sold; `tokenline offering list` shows those that are")
    if rules.only_granted:
        return fail(
            Fault.NOT_POSSIBLE, f"offering {offering_id} comes with another product, whose system grants it; it is not ordered"
        )
    if terms.price and payment not in rules.payments:
        methods = ", ".join(sorted(each.name.lower() for each in rules.payments))
        return fail(Fault.NOT_POSSIBLE, f"offering {offering_id} can be paid by {methods}; not by {payment.name.lower()}")
    if rules.per_identity:
        if not command.entitled_until_us:
            return fail(
                Fault.NOT_POSSIBLE, f"offering {offering_id} is sold once to an identity; order it with the subscriber's identity"
            )
        if command.entitled_until_us <= now_us:
            # Another account may be entitled by now.
            return fail(Fault.UNAVAILABLE, f"the order of {offering_id} came after its entitlement was over; send it again")
    return terms


def no_room_for(account: Account, terms: Terms) -> Decision | None:
    """Refuses terms whose allowances the account has no room for; None when it has."""
    for allowance in terms.allowances:
        if (full := no_room(account, allowance.unit, allowance.amount)) is not None:
            return full
    if len(account.burn_order) + len(terms.allowances) > BUCKETS_MAX:
        return fail(Fault.NOT_POSSIBLE, f"the account would have more than {BUCKETS_MAX} buckets that have not ended")
    return None


def granted_of(allowance: Allowance, part: int, whole: int) -> int:
    """The amount that `part` of `whole` days of a cycle grant of an allowance, rounded up; of a credit line all of it."""
    return allowance.amount if allowance.postpaid else -(-allowance.amount * part // whole)


class Span(NamedTuple):
    """A cycle of a subscription, or the sale of a pack, which has no end (`end_us` 0)."""

    begin_us: int
    end_us: int
    price: int
    days: int
    # It grants `part` of `whole` days of its allowances.
    part: int = 1
    whole: int = 1


def first_cycle(terms: Terms, now_us: int) -> Span:
    """A cycle 1 that begins now, or a pack that is sold now."""
    if terms.cycle is None:
        return Span(now_us, 0, terms.price, 0)
    end_us = cycle_end_us(terms.cycle, terms.time_zone, now_us, 1)
    part, whole = first_share(terms, now_us, end_us)
    return Span(now_us, end_us, terms.price * part // whole, days_of(terms.time_zone, now_us, end_us), part, whole)


def first_share(terms: Terms, now_us: int, end_us: int) -> tuple[int, int]:
    """The part of a first cycle that the calendar leaves, as (days left, days of the whole); (1, 1) when it counts as a whole."""
    cycle = terms.cycle
    if cycle is None or not cycle.prorated:
        return 1, 1
    whole_start_us = cycle_end_us(cycle, terms.time_zone, now_us, 0)
    return days_of(terms.time_zone, now_us, end_us), days_of(terms.time_zone, whole_start_us, end_us)


def waits_for_payment(account: Account, terms: Terms, payment: Payment, price: int, now_us: int) -> bool:
    """Whether the price must be confirmed from outside: it is paid there, or on a phone bill without a credit line here."""
    if not price or payment == Payment.EXTERNAL:
        return bool(price)
    if payment != Payment.PHONE_BILL:
        return False
    has_line = any(bucket.postpaid and bucket.unit == terms.price_unit for bucket in _money(account, terms.price_unit, now_us))
    return not has_line and not any(each.postpaid and each.unit == terms.price_unit for each in terms.allowances)


def payment_entries(
    account: Account, terms: Terms, payment: Payment, price: int, order_id: str, now_us: int, granting: Sequence[Entry]
) -> list[Entry] | Decision:
    """The debit of a price, or its refusal. A credit line that this sale grants pays too."""
    if not price:
        return []
    unit = terms.price_unit
    postpaid = payment == Payment.PHONE_BILL
    money = [(bucket.bucket_id, bucket.remaining) for bucket in _money(account, unit, now_us) if bucket.postpaid == postpaid]
    ending = {entry.bucket_id for entry in granting if isinstance(entry, BucketExpired)}
    money = [each for each in money if each[0] not in ending]
    if postpaid:
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
            f"the price is {in_unit(price, unit)}, and {in_unit(missing, unit)} are missing: "
            + ("the credit line does not cover it" if postpaid else "top up, or pay another way"),
        )
    return [PriceCharged(account.account_id, now_us, order_id, terms.offering_id, unit, price, tuple(debits))]


def _money(account: Account, unit: str, now_us: int) -> list[Bucket]:
    """The buckets that can pay a price in `unit` now: money for every model, in burn order."""
    buckets = [account.buckets[bucket_id] for bucket_id in account.burn_order]
    return [
        bucket
        for bucket in buckets
        if bucket.unit == unit and not named_by(bucket.line).model_group and bucket.valid_from_us <= now_us < bucket.valid_until_us
    ]
