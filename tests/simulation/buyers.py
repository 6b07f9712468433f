"""A hostile buyer: random orders, changes, cancellations, refunds, gifts, payments late or never, and jumps of the clock.

The till keeps its own books of what the journal says was paid, given back and sold. It shares no arithmetic with the rules: for
each purchase it takes the time that has passed as a part of its whole, and the use from the account's buckets. Whatever the buyer
does, after each step must hold: paid - returned >= sum of price x max(elapsed, used).
"""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from services.accounting.core.account.state import Bucket, named_by
from services.accounting.core.commands import (
    ApplyDue,
    CancelSubscription,
    ChangeSubscription,
    Command,
    ConfirmPayment,
    EndTransfer,
    Failed,
    GrantBucket,
    Granted,
    PlaceOrder,
    RefundPurchase,
    RefundSession,
    SendTransfer,
    TopUpBucket,
    WriteOffDebt,
)
from services.accounting.core.entries import (
    BucketGranted,
    CycleStarted,
    DebtWrittenOff,
    Entry,
    OrderCompleted,
    OrderPlaced,
    PriceCharged,
    PriceReturned,
    SessionSettled,
    SubscriptionEnded,
)
from services.accounting.core.offerings import OfferingRules
from services.accounting.core.terms import Payment, Period
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, HOUR, UNIT, event_command, flat, release_command, usage
from tests.accounting.shop import CALENDAR, CNY, DAILY, SHANGHAI, Shopper, allowance, for_sale, lasting
from tests.simulation.world import Report, SimulationError

_STEPS: Final = 150
_OTHER_ID: Final = "acct-9876543210"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LINE: Final = allowance(50, CNY, allowance_id="line", postpaid=True, priority=900)
_TARIFFS: Final = {"flat": flat(EACH), "other": flat(EACH), "points": flat(EACH, "POINT"), "money": flat(EACH, CNY)}
OFFERINGS: Final[tuple[OfferingRules, ...]] = (
    for_sale("small", allowance(10, transferable=True, rollover_cap=4 * UNIT), price=9_900_000),
    for_sale("large", allowance(80), price=49_900_001),
    for_sale("calendar", allowance(31), _LINE, price=31_000_003, cycle=CALENDAR, tariffs=_TARIFFS),
    for_sale(
        "both",
        allowance(12, allowance_id="tokens", weight=700_000, transferable=True),
        allowance(7, "POINT", allowance_id="points", weight=300_000),
        price=29_999_999,
        tariffs=_TARIFFS,
    ),
    for_sale("free", allowance(5), cycle=DAILY, once=True, once_a=Period.DAY),
    for_sale("pack", lasting(9, transferable=True), price=7_777_777, cycle=None),
    for_sale("fixed", allowance(10), price=5 * UNIT, refundable=False),
    for_sale("trial", lasting(3), price=UNIT, cycle=None, once=True),
)
_TERMS: Final = {rules.offering_id: rules.terms for rules in OFFERINGS if rules.terms is not None}
_PAID_WAYS: Final = (Payment.PREPAID, Payment.PHONE_BILL, Payment.EXTERNAL)


@dataclass
class _Purchase:
    """A cycle or a pack, as it was sold."""

    offering_id: str
    price: int
    begin_us: int
    end_us: int
    # By allowance: its bucket, and the amount that was granted.
    buckets: dict[str, tuple[str, int]] = field(default_factory=dict)
    # price x max(elapsed, used), once it has ended.
    kept: Fraction | None = None


class Till:
    """See the module."""

    def __init__(self) -> None:
        self.paid = 0
        self.returned = 0
        self.placed: dict[str, OrderPlaced] = {}
        # The running purchase of each subscription, and each pack by its order.
        self.running: dict[str, _Purchase] = {}
        self.kept = Fraction(0)
        self.charged: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()
        self.refunded: Counter[str] = Counter()
        # (offering, day or "") of what is sold once.
        self.once: Counter[tuple[str, str]] = Counter()

    def read(self, entry: Entry, before: dict[str, Bucket]) -> None:
        """Books an entry; `before` has the buckets as they were when the command came."""
        match entry:
            case OrderPlaced():
                self.placed[entry.order_id] = entry
            case PriceCharged():
                self.paid += entry.amount
            case OrderCompleted():
                order = self.placed[entry.order_id]
                if entry.payment_reference:
                    self.paid += order.amount
                if order.terms.cycle is None:
                    self._sold(order.terms.offering_id, entry.time_us)
            case CycleStarted():
                self._end(entry.subscription_id, entry.time_us, before)
                self.running[entry.subscription_id] = _Purchase("", entry.price, entry.time_us, entry.end_us)
            case SubscriptionEnded():
                self._end(entry.subscription_id, entry.time_us, before)
            case BucketGranted():
                self._granted(entry)
            case PriceReturned():
                if entry.payment != Payment.PREPAID:
                    self.returned += entry.amount
                if not entry.order_id:
                    self._end(entry.purchase_id, entry.time_us, before)
            case SessionSettled():
                self.charged[entry.tariff.unit] += entry.charged
            case DebtWrittenOff():
                self.given_up[entry.unit] += entry.amount

    def _granted(self, entry: BucketGranted) -> None:
        kind, _, source_id = entry.source.partition(":")
        if kind == "surplus":
            self.returned += entry.amount
        elif kind == "refund":
            self.refunded[entry.unit] += entry.amount
        elif kind in ("order", "restart", "cycle"):
            purchase = self.running.get(entry.subscription_id or source_id)
            if purchase is None:
                order = self.placed[source_id]
                purchase = self.running[source_id] = _Purchase("", order.amount, entry.time_us, entry.valid_until_us)
            if not purchase.offering_id:
                purchase.offering_id = entry.offering_id
                if entry.subscription_id:
                    self._sold(entry.offering_id, entry.time_us)
            purchase.buckets[entry.allowance_id] = (entry.bucket_id, entry.amount)

    def _sold(self, offering_id: str, time_us: int) -> None:
        terms = _TERMS[offering_id]
        if terms.once:
            day = (_EPOCH + timedelta(microseconds=time_us)).astimezone(ZoneInfo(SHANGHAI)).date()
            self.once[offering_id, str(day) if terms.once_a else ""] += 1

    def _end(self, purchase_id: str, time_us: int, before: dict[str, Bucket]) -> None:
        purchase = self.running.pop(purchase_id, None)
        if purchase is not None:
            self.kept += self._kept(purchase, time_us, before)

    @staticmethod
    def _kept(purchase: _Purchase, time_us: int, buckets: dict[str, Bucket]) -> Fraction:
        """The least that the seller keeps of a purchase that ends now: price x max(elapsed, used)."""
        elapsed = min(Fraction(1), Fraction(time_us - purchase.begin_us, purchase.end_us - purchase.begin_us))
        used = Fraction(0)
        for each in _TERMS[purchase.offering_id].allowances if purchase.price else ():
            if each.postpaid:
                continue
            bucket_id, granted = purchase.buckets[each.allowance_id]
            bucket = buckets.get(bucket_id)
            # A top-up is used last.
            left = 0 if bucket is None else max(0, bucket.remaining - (bucket.granted - granted))
            weight = Fraction(each.weight, UNIT) if each.weight else Fraction(1)
            used += weight * (1 - Fraction(left, granted))
        return purchase.price * max(elapsed, used)

    def check(self, now_us: int, buckets: dict[str, Bucket]) -> None:
        """Errors: `SimulationError` for what the buyer got for nothing."""
        kept = self.kept + sum(self._kept(each, now_us, buckets) for each in self.running.values())
        if self.paid - self.returned < kept:
            raise SimulationError(f"{self.paid} paid, {self.returned} returned, but {float(kept):.6f} were used up")
        running = {bucket_id for each in self.running.values() for bucket_id, _ in each.buckets.values()}
        for bucket in buckets.values():
            sold = bucket.source.partition(":")[0] in ("order", "restart", "cycle")
            # What rolls over lives on beside the next cycle.
            if sold and bucket.remaining and bucket.bucket_id not in running and not _rolls_over(bucket):
                raise SimulationError(f"{bucket.remaining} are free in {bucket.bucket_id}, whose purchase has ended")
        for (offering_id, day), count in self.once.items():
            if count > 1:
                raise SimulationError(f"{offering_id} was sold {count} times {day}")
        for unit, refunded in self.refunded.items():
            if refunded > self.charged[unit] - self.given_up[unit]:
                raise SimulationError(
                    f"{refunded} {unit} refunded of {self.charged[unit]} charged, {self.given_up[unit]} written off"
                )


class Buyer:
    """An account whose holder tries everything, by a seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.shopper = Shopper(*OFFERINGS)
        self.till = Till()
        self.report = Report()
        self.open_calls: list[str] = []
        self.number = 0

    def run(self, steps: int = _STEPS) -> Report:
        """Does `steps` things. Errors: `SimulationError`."""
        for _ in range(steps):
            if self.rng.random() < 0.35:
                self.shopper.pass_time(self.rng.choice((1_000_000, HOUR, 9 * HOUR, DAY, 3 * DAY, 11 * DAY, 40 * DAY)))
            self._ask(ApplyDue(ACCOUNT_ID))
            command = self._command()
            failed = isinstance(self._ask(command), Failed)
            self.report.counts[f"{type(command).__name__}{' refused' if failed else ''}"] += 1
        return self.report

    def _ask(self, command: Command) -> object:
        shopper = self.shopper
        before = {bucket_id: _copy(bucket) for bucket_id, bucket in shopper.state.buckets.items()}
        answer = shopper.ask(command)
        for entry in shopper.last_entries:
            self.till.read(entry, before)
        self.till.check(shopper.now_us, shopper.state.buckets)
        return answer

    def _command(self) -> Command:
        self.number += 1
        state, rng, key = self.shopper.state, self.rng, f"key-{self.number}"
        waiting = [each.order_id for each in state.orders.values() if each.state == "awaiting_payment"]
        subscriptions = [each for each in state.subscriptions.values() if each.state != "ended"]
        what = rng.choices(("buy", "pay", "change", "end", "refund", "use", "money"), (4, 3, 5, 1, 2, 6, 3))[0]
        if what == "pay" and waiting:
            return ConfirmPayment(ACCOUNT_ID, rng.choice(waiting), key)
        if what == "change" and subscriptions:
            subscription = rng.choice(subscriptions)
            payment = subscription.payment if rng.random() < 0.8 else rng.choice(_PAID_WAYS)
            offering_id = rng.choice(OFFERINGS).offering_id
            if not _TERMS[offering_id].price or payment == Payment.FREE:
                payment = rng.choice(_PAID_WAYS) if _TERMS[offering_id].price else Payment.FREE
            at_once = rng.random() < 0.8
            return ChangeSubscription(ACCOUNT_ID, subscription.subscription_id, offering_id, payment, at_once, key)
        if what == "end" and subscriptions:
            return CancelSubscription(ACCOUNT_ID, rng.choice(subscriptions).subscription_id, rng.random() < 0.3)
        if what == "refund":
            packs = [each.order_id for each in state.orders.values() if each.terms.cycle is None]
            bought = [*(each.subscription_id for each in subscriptions), *packs]
            if bought:
                return RefundPurchase(ACCOUNT_ID, rng.choice(bought), "moved away", key)
        if what == "use":
            return self._use(key)
        if what == "money":
            return self._of_money(key)
        offering_id = rng.choice(OFFERINGS).offering_id
        payment = rng.choice(_PAID_WAYS) if _TERMS[offering_id].price else Payment.FREE
        return PlaceOrder(ACCOUNT_ID, offering_id, payment, key)

    def _use(self, key: str) -> Command:
        """Calls, held ones and gifts."""
        rng, shopper = self.rng, self.shopper
        what = rng.choice(("call", "call", "hold", "release", "give", "come back", "top up"))
        if what == "hold":
            answer = shopper.create_command(rng.randint(1, 20), 2)
            if isinstance(self._ask(answer), Granted):
                self.open_calls.append(answer.charging_id)
        elif what == "release" and self.open_calls:
            return release_command(self.open_calls.pop(), 2, usage(rng.randint(0, 20)))
        moving = [each.transfer_id for each in shopper.state.transfers.values() if each.state == "in_transit"]
        if what == "come back" and moving:
            return EndTransfer(ACCOUNT_ID, rng.choice(moving), rng.choice(("", "no such account")))
        buckets = [each for each in shopper.state.buckets.values() if each.remaining and not each.postpaid]
        if what == "give" and buckets:
            bucket = rng.choice(buckets)
            return SendTransfer(ACCOUNT_ID, _OTHER_ID, bucket.bucket_id, rng.randint(1, bucket.remaining), key)
        if what == "top up" and buckets:
            return TopUpBucket(ACCOUNT_ID, rng.choice(buckets).bucket_id, rng.randint(1, 9) * UNIT, key)
        return event_command(
            shopper.charging_id(), usage(rng.randint(0, 15)), model=rng.choice(("flat", "flat", "points", "money"))
        )

    def _of_money(self, key: str) -> Command:
        """Money, written-off debts, and refunds of calls."""
        rng, shopper = self.rng, self.shopper
        if rng.random() < 0.5:
            self._ask(GrantBucket(ACCOUNT_ID, CNY, rng.randint(1, 90) * UNIT, None, 400 * DAY, 0, f"money-{key}"))
        debts = [(unit, debt.outstanding) for unit, debt in shopper.state.debts.items() if debt.outstanding]
        if debts and rng.random() < 0.3:
            unit, owed = rng.choice(debts)
            return WriteOffDebt(ACCOUNT_ID, unit, rng.randint(1, owed), "goodwill", key)
        records = [entry for entry in shopper.entries if isinstance(entry, SessionSettled) and entry.charged]
        if not records:
            return ApplyDue(ACCOUNT_ID)
        record = rng.choice(records)
        return RefundSession(
            account_id=ACCOUNT_ID,
            charging_id=record.charging_id,
            sequence_number=1,
            record_number=record.record_number,
            unit=record.tariff.unit,
            charged=record.charged,
            amount=rng.randint(1, record.charged),
            valid_for_us=DAY,
            reason="the answer was cut off",
            idempotency_key=key,
            debt=record.debt,
            settled_us=record.time_us,
        )


def _rolls_over(bucket: Bucket) -> bool:
    terms = _TERMS[named_by(bucket.line).offering_id]
    return any(each.rollover_cap for each in terms.allowances)


def _copy(bucket: Bucket) -> Bucket:
    return Bucket(*(getattr(bucket, name) for name in Bucket.__struct_fields__))


def simulate_buyer(seed: int, *, steps: int = _STEPS) -> Report:
    """Runs one buyer. Errors: `SimulationError` when a promise was broken."""
    return Buyer(seed).run(steps)
