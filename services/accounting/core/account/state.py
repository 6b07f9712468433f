"""An account's state, and `evolve`: how an entry changes it. Replay uses nothing else.

Everything here is plain data that msgspec can encode: a checkpoint is this state and nothing besides. As in the journal, fields
are only ever added at the end, with a default.
"""

from bisect import insort
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from services.accounting.core.amounts import Estimate, PinnedTariff, worst_case
from services.accounting.core.commands import CloseCause, Granted, Settled
from services.accounting.core.entries import (
    AccountOpened,
    BucketExpired,
    BucketGranted,
    BucketReduced,
    BucketRolledOver,
    BucketToppedUp,
    CycleStarted,
    DebtRepaid,
    DebtWrittenOff,
    Entry,
    LimitsSet,
    NoticeReached,
    OrderCompleted,
    OrderFailed,
    OrderPlaced,
    PriceCharged,
    RenewalChanged,
    SessionCreated,
    SessionSettled,
    SessionUpdated,
    SubscriptionEnded,
    SubscriptionStarted,
    SubscriptionSuspended,
    TransferConfirmed,
    TransferReturned,
    TransferSent,
    Wholesale,
    WindowOpened,
)
from services.accounting.core.terms import Limit, Payment, Terms
from services.token_classes import NOTHING, Vector

if TYPE_CHECKING:
    from services.accounting.core.limits import Rules
    from services.accounting.core.offerings import KeptPlan

# How long a closed session's last answer is remembered, and a swept one's, whose Release may still come.
CLOSED_MEMORY_US: Final = 15 * 60 * 1_000_000
SWEPT_MEMORY_US: Final = 7 * 24 * 3_600 * 1_000_000
# How long an order, a subscription, a bucket, a transfer or an adjustment is remembered after its end, and its key with it.
ENDED_MEMORY_US: Final = 90 * 24 * 3_600 * 1_000_000
# How long after an unanswered attempt a transfer is tried again.
TRANSFER_RETRY_US: Final = 5 * 1_000_000
HOUR_US: Final = 3_600 * 1_000_000
# How many hours of vendors' work are counted together.
WORK_HOURS: Final = 24
# What a counter of the sessions open at once counts in.
SESSION_UNIT: Final = "SESSION"
# Counters of ended windows are dropped when there are more than this, and then whenever their number has doubled.
_COUNTERS_KEPT_MIN: Final = 256


def line_of(offering_id: str, model_group: str, unit: str) -> str:
    """The name of the tariff that prices a bucket: its offering's ("" the account's own), its model group's, its unit's."""
    return f"{offering_id}|{model_group}|{unit}"


class Bucket(msgspec.Struct, array_like=True, gc=False):
    """One lot of quota or money, in micro-units of `unit`."""

    bucket_id: str
    unit: str
    priority: int
    valid_from_us: int
    valid_until_us: int
    created_us: int
    idempotency_key: str
    digest: bytes
    repaid: int
    granted: int
    remaining: int
    reserved: int = 0
    consumed: int = 0
    expired: int = 0
    transferred: int = 0
    # Its validity has ended and that was applied: what is freed from now on expires.
    ended: bool = False
    line: str = ""
    source: str = ""
    subscription_id: str = ""
    allowance_id: str = ""
    rollover_cap: int = 0
    postpaid: bool = False
    transferable: bool = False
    notice_percents: tuple[int, ...] = ()
    # The last of them that was reached.
    noticed_percent: int = 0

    def burn_key(self) -> tuple[int, int, int, str]:
        """Lower burns first: priority, earliest end of validity, age, id."""
        return (self.priority, self.valid_until_us, self.created_us, self.bucket_id)


class Debt(msgspec.Struct, array_like=True, gc=False):
    """Settled usage that no bucket covered, in micro-units."""

    incurred: int = 0
    repaid: int = 0
    written_off: int = 0

    @property
    def outstanding(self) -> int:
        """Still owed."""
        return self.incurred - self.repaid - self.written_off


class Loss(msgspec.Struct, array_like=True, gc=False):
    """The operator's loss, in micro-units: usage that was rated and that nobody pays. It never becomes debt."""

    absorbed: int = 0


class Work(msgspec.Struct, array_like=True, gc=False):
    """What vendors made for the account in an hour, in micro-yuan: what was used, and what nobody paid for."""

    # Hours since 1970.
    hour: int
    paid: int = 0
    unpaid: int = 0


class Session(msgspec.Struct, array_like=True, gc=False):
    """An open charging session: what it pinned, what it holds, and the answer to its last request."""

    charging_id: str
    number: int
    digest: bytes
    model_id: str
    key_id: str
    member_id: str
    tariff: PinnedTariff
    input_bound: int
    output_limit: int
    answer: Granted
    hold: dict[str, int]
    used: Vector
    created_us: int
    renewed_us: int
    # By line, in the order in which they are burnt; debt is owed in the last.
    lines: dict[str, PinnedTariff] = {}
    estimates: dict[str, Estimate] = {}
    input_reserved: int = 0
    expected: bool = False
    # (counter_id, begin of the window it counts in).
    counters: tuple[tuple[str, int], ...] = ()
    tokens_counted: int = 0
    output_window: int = 0
    wholesale: tuple[Wholesale, ...] = ()
    # What the last Update wanted.
    wanted: int = -1
    # See `SessionCreated`.
    debt_limit: int = -1

    @property
    def sweep_us(self) -> int:
        """When it is swept if nothing more is heard of it: Tcc = 2 x validity time."""
        return self.renewed_us + 2 * self.answer.validity_us


class ClosedSession(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a closed session: its last request's answer, and where its records stand."""

    number: int
    digest: bytes
    answer: Settled
    closed_us: int
    sequence_numbers: tuple[int, ...]


class SweptSession(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a swept session, whose late Release charges what is still missing."""

    number: int
    record_number: int
    # What its sweep rated; what of it was absorbed stays absorbed.
    charged: int
    model_id: str
    key_id: str
    member_id: str
    offering_id: str
    tariff: PinnedTariff
    created_us: int
    closed_us: int
    sequence_numbers: tuple[int, ...]
    lines: dict[str, PinnedTariff] = {}
    # By line, what was charged for, and how much.
    usages: dict[str, Vector] = {}
    charges: dict[str, int] = {}
    counters: tuple[tuple[str, int], ...] = ()
    tokens_counted: int = 0
    wholesale: tuple[Wholesale, ...] = ()
    debt_limit: int = -1


class Counter(msgspec.Struct, array_like=True, gc=False):
    """What a limit has counted in its window: amounts in micro-units of `unit`, or open sessions."""

    unit: str
    start_us: int
    # 0: it never ends.
    end_us: int
    used: int = 0
    reserved: int = 0


class SubjectLimits(msgspec.Struct, array_like=True, gc=False):
    """The limits set for one subject; no session begins for it from `valid_until_us` on (0: there is no end)."""

    limits: tuple[Limit, ...]
    valid_until_us: int


class Order(msgspec.Struct, array_like=True, gc=False):
    """The act of buying. `state` is "awaiting_payment", "completed" or "failed"."""

    order_id: str
    terms: Terms
    payment: Payment
    amount: int
    expires_us: int
    subscription_id: str
    idempotency_key: str
    digest: bytes
    placed_us: int
    state: str = "awaiting_payment"
    # Why it failed, or the payer's reference.
    remark: str = ""
    bucket_ids: tuple[str, ...] = ()
    # It is remembered, and its key with it, until then; 0: it is not known yet until when.
    remembered_until_us: int = 0


class Subscription(msgspec.Struct, array_like=True, gc=False):
    """An offering that an account has bought, with its cycles. `state` is "active", "suspended" or "ended"."""

    subscription_id: str
    terms: Terms
    payment: Payment
    # Cycle 1 began here; the ends of all cycles are reckoned from it.
    first_us: int
    state: str = "active"
    cycle_number: int = 0
    cycle_start_us: int = 0
    cycle_end_us: int = 0
    cycle_price: int = 0
    cycle_days: int = 0
    # What holds from the next cycle on; None: it ends with this one.
    next_terms: Terms | None = None
    next_payment: Payment = Payment.FREE
    # While it is suspended: when to try again, and when it ends.
    retry_us: int = 0
    grace_end_us: int = 0
    ended_us: int = 0

    @property
    def due_us(self) -> int | None:
        """When something happens to it by itself; None when it has ended."""
        if self.state == "active":
            return self.cycle_end_us
        if self.state == "suspended":
            return min(self.retry_us, self.grace_end_us) if self.retry_us else self.grace_end_us
        return None


class Transfer(msgspec.Struct, array_like=True, gc=False):
    """What was given to another account. `state` is "in_transit", "confirmed" or "returned"."""

    transfer_id: str
    to_account_id: str
    bucket_id: str
    amount: int
    digest: bytes
    sent_us: int
    state: str = "in_transit"
    remark: str = ""
    ended_us: int = 0


class Adjustment(msgspec.Struct, array_like=True, gc=False):
    """What is remembered of a top-up, a reduction or a write-off, so that its repeat is known."""

    digest: bytes
    time_us: int
    repaid: int = 0


Remembered = TypeVar("Remembered", ClosedSession, SweptSession)


class Derived:
    """What was worked out of an account and its catalog and is kept with it, in no checkpoint. Those who fill it bound it."""

    __slots__ = ("base_limits", "plans", "rules")

    def __init__(self) -> None:
        # By model; see `offerings.plan`.
        self.plans: dict[str, KeptPlan] = {}
        # By (member, key), worked out of `base_limits`; see `limits.rules_for`.
        self.rules: dict[tuple[str, str], Rules] = {}
        self.base_limits: tuple[Limit, ...] | None = None


class Account(msgspec.Struct, array_like=True, dict=True):
    """A charging account. `seq` and `index` name the last journal entry that is in it."""

    account_id: str
    offering_id: str
    created_us: int
    seq: int = 0
    index: int = 0
    buckets: dict[str, Bucket] = {}
    # Bucket ids that may still be burnt, in burn order.
    burn_order: list[str] = []
    # By unit.
    debts: dict[str, Debt] = {}
    sessions: dict[str, Session] = {}
    # In the order in which they were closed.
    closed: dict[str, ClosedSession] = {}
    swept: dict[str, SweptSession] = {}
    # Nothing is due before this time; a lower bound, so that most commands need not look.
    next_due_us: int | None = None
    # By counter id.
    counters: dict[str, Counter] = {}
    # By limiter id: the theoretical arrival time of the next request or token, in nanoseconds (GCRA).
    arrivals: dict[str, int] = {}
    # By subject.
    limits: dict[str, SubjectLimits] = {}
    subscriptions: dict[str, Subscription] = {}
    orders: dict[str, Order] = {}
    transfers: dict[str, Transfer] = {}
    # By idempotency key.
    adjustments: dict[str, Adjustment] = {}
    # By "sequence number/charging_id/record number" of a record: what of it was refunded.
    refunded: dict[str, int] = {}
    # By model: how much of its input came from a cache lately, in millionths.
    cached_shares: dict[str, int] = {}
    counters_swept_at: int = _COUNTERS_KEPT_MIN
    # The end of the first free cycle that is renewed only when somebody uses the account.
    unused_until_us: int | None = None
    # By unit.
    losses: dict[str, Loss] = {}
    # The hours of the last day in which a vendor worked, oldest first, and when it last did so for nothing; see `unpaid_work`.
    work: list[Work] = []
    last_unpaid_us: int = 0

    @cached_property
    def derived(self) -> Derived:
        """What was worked out and kept; no field, so that it is never encoded."""
        return Derived()

    def forget_derived(self) -> None:
        """Drops what was worked out of limits, buckets and subscriptions and kept; it is worked out again."""
        self.derived = Derived()


def evolve(account: Account | None, entry: Entry, seq: int, index: int) -> Account:
    """The account after `entry`, which stands at (seq, index) of its partition's journal. Changes `account` in place."""
    if type(entry) is AccountOpened:
        account = Account(entry.account_id, entry.offering_id, entry.time_us)
    else:
        assert account is not None, f"{type(entry).__name__} before AccountOpened"
        _APPLY[type(entry)](account, entry, seq)
    account.seq = seq
    account.index = index
    return account


def upgraded(account: Account) -> Account:
    """The account of a checkpoint, with what older code did not write filled in."""
    for bucket in account.buckets.values():
        if not bucket.line:
            bucket.line = line_of("", "", bucket.unit)
    for session in account.sessions.values():
        if not session.lines:
            line = line_of("", "", session.tariff.unit)
            session.lines = {line: session.tariff}
            session.estimates = {line: worst_case(session.tariff, session.input_bound)}
            session.input_reserved = session.input_bound
    for swept in account.swept.values():
        if not swept.lines:
            swept.lines = {line_of("", "", swept.tariff.unit): swept.tariff}
            swept.charges = dict.fromkeys(swept.lines, swept.charged)
    return account


def next_due_us(account: Account) -> int | None:
    """When something next falls due on the account: a sweep, the end of a bucket or a cycle, an order, a transfer."""
    times = [session.sweep_us for session in account.sessions.values()]
    times += [account.buckets[bucket_id].valid_until_us for bucket_id in account.burn_order]
    times += [due_us for each in account.subscriptions.values() if (due_us := due_of(each)) is not None]
    times += [order.expires_us for order in account.orders.values() if order.state == "awaiting_payment"]
    times += [transfer.sent_us + TRANSFER_RETRY_US for transfer in account.transfers.values() if transfer.state == "in_transit"]
    return min(times, default=None)


def due_of(subscription: Subscription) -> int | None:
    """When the subscription must be looked at by itself; None: whenever somebody uses the account is soon enough.

    A free cycle that leaves nothing to the next is opened when it is used: an idle account costs nothing.
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


def _due_no_later_than(account: Account, time_us: int) -> None:
    if account.next_due_us is None or time_us < account.next_due_us:
        account.next_due_us = time_us


def _granted(account: Account, entry: BucketGranted, seq: int) -> None:
    bucket = Bucket(
        bucket_id=entry.bucket_id,
        unit=entry.unit,
        priority=entry.priority,
        valid_from_us=entry.valid_from_us,
        valid_until_us=entry.valid_until_us,
        created_us=entry.time_us,
        idempotency_key=entry.idempotency_key,
        digest=entry.digest,
        repaid=entry.repaid,
        granted=entry.amount,
        remaining=entry.amount,
        line=line_of(entry.offering_id, entry.model_group, entry.unit),
        source=entry.source,
        subscription_id=entry.subscription_id,
        allowance_id=entry.allowance_id,
        rollover_cap=entry.rollover_cap,
        postpaid=entry.postpaid,
        transferable=entry.transferable,
        notice_percents=entry.notice_percents,
    )
    buckets = account.buckets
    _forget_ended(account, entry.time_us)
    buckets[bucket.bucket_id] = bucket
    insort(account.burn_order, bucket.bucket_id, key=lambda bucket_id: buckets[bucket_id].burn_key())
    _due_no_later_than(account, bucket.valid_until_us)
    kind, _, source_id = entry.source.partition(":")
    if kind == "refund":
        account.refunded[source_id] = account.refunded.get(source_id, 0) + entry.amount
    elif kind == "order" and (order := account.orders.get(source_id)) is not None:
        order.bucket_ids = (*order.bucket_ids, bucket.bucket_id)
        if not order.subscription_id:
            order.remembered_until_us = max(order.remembered_until_us, bucket.valid_until_us + ENDED_MEMORY_US)
    if bucket.unit.startswith("CURRENCY"):
        _retry_suspended(account, entry.time_us)
    account.forget_derived()


def _retry_suspended(account: Account, time_us: int) -> None:
    """Money has come: renewals that could not be paid are tried again."""
    for subscription in account.subscriptions.values():
        if subscription.state == "suspended":
            subscription.retry_us = time_us
            _due_no_later_than(account, time_us)


def _forget_ended(account: Account, now_us: int) -> None:
    """Drops what ended long ago, so that an account does not grow for ever."""
    horizon_us = now_us - ENDED_MEMORY_US
    ended = [each for each in account.buckets.values() if each.ended and each.valid_until_us < horizon_us and not each.reserved]
    for bucket in ended:
        del account.buckets[bucket.bucket_id]
    for order in [each for each in account.orders.values() if 0 < each.remembered_until_us < now_us]:
        del account.orders[order.order_id]
    for subscription in [each for each in account.subscriptions.values() if 0 < each.ended_us < horizon_us]:
        del account.subscriptions[subscription.subscription_id]
    for transfer in [each for each in account.transfers.values() if 0 < each.ended_us < horizon_us]:
        del account.transfers[transfer.transfer_id]


def _repaid(account: Account, entry: DebtRepaid, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.consumed += entry.amount
    account.debts[entry.unit].repaid += entry.amount


def _expired(account: Account, entry: BucketExpired, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.expired += entry.amount
    bucket.ended = True
    account.burn_order.remove(entry.bucket_id)
    account.forget_derived()


def _rolled_over(account: Account, entry: BucketRolledOver, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.expired
    bucket.expired += entry.expired
    # It lives on once.
    bucket.rollover_cap = 0
    account.burn_order.remove(entry.bucket_id)
    bucket.valid_until_us = entry.valid_until_us
    insort(account.burn_order, entry.bucket_id, key=lambda bucket_id: account.buckets[bucket_id].burn_key())
    _due_no_later_than(account, entry.valid_until_us)
    account.forget_derived()


def _reduced(account: Account, entry: BucketReduced, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.expired += entry.amount
    _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us))


def _written_off(account: Account, entry: DebtWrittenOff, seq: int) -> None:
    account.debts[entry.unit].written_off += entry.amount
    _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us))


def _topped_up(account: Account, entry: BucketToppedUp, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.granted += entry.amount
    bucket.remaining += entry.amount
    _remember_adjustment(account, entry.idempotency_key, Adjustment(entry.digest, entry.time_us, entry.repaid))
    if bucket.unit.startswith("CURRENCY"):
        _retry_suspended(account, entry.time_us)


def _remember_adjustment(account: Account, idempotency_key: str, adjustment: Adjustment) -> None:
    adjustments = account.adjustments
    adjustments[idempotency_key] = adjustment
    # They stand in the order in which they came.
    while (first := next(iter(adjustments.values()))).time_us < adjustment.time_us - ENDED_MEMORY_US:
        assert first is not adjustment
        del adjustments[next(iter(adjustments))]


def _noticed(account: Account, entry: NoticeReached, seq: int) -> None:
    account.buckets[entry.bucket_id].noticed_percent = entry.percent


def _created(account: Account, entry: SessionCreated, seq: int) -> None:
    line = entry.line or line_of("", "", entry.tariff.unit)
    session = Session(
        charging_id=entry.charging_id,
        number=entry.number,
        digest=entry.digest,
        model_id=entry.model_id,
        key_id=entry.key_id,
        member_id=entry.member_id,
        tariff=entry.tariff,
        input_bound=entry.input_bound,
        output_limit=entry.output_limit,
        answer=Granted(
            entry.output_granted,
            entry.output_payable,
            entry.output_threshold,
            entry.validity_us,
            entry.final,
            entry.offering_id,
            entry.final_action,
        ),
        hold=dict(entry.hold),
        used=NOTHING,
        created_us=entry.time_us,
        renewed_us=entry.time_us,
        lines={line: entry.tariff, **entry.more_lines} if entry.more_lines else {line: entry.tariff},
        estimates=entry.estimates or {line: worst_case(entry.tariff, entry.input_bound)},
        input_reserved=entry.input_bound if entry.input_reserved < 0 else entry.input_reserved,
        expected=entry.expected,
        counters=entry.counters,
        tokens_counted=entry.tokens_counted,
        output_window=entry.output_window,
        wholesale=entry.wholesale,
        debt_limit=entry.debt_limit,
    )
    account.sessions[entry.charging_id] = session
    if entry.windows_opened:
        _open_windows(account, entry.windows_opened, entry.time_us)
    _reserve(account, session, entry.hold)
    if session.counters:
        counters = account.counters
        for counter_id, start_us in session.counters:
            counter = counters[counter_id]
            if counter.unit == SESSION_UNIT and counter.start_us == start_us:
                counter.reserved += 1
    if entry.arrivals:
        account.arrivals.update(entry.arrivals)
    _due_no_later_than(account, session.sweep_us)


def _reserve(account: Account, session: Session, amounts: tuple[tuple[str, int], ...]) -> None:
    """Moves amounts from remaining to reserved, and counts them as reserved in the session's windows."""
    buckets = account.buckets
    for bucket_id, amount in amounts:
        bucket = buckets[bucket_id]
        bucket.remaining -= amount
        bucket.reserved += amount
        if session.counters:
            _count(account, session.counters, bucket.unit, 0, amount)


def _count(account: Account, counters: tuple[tuple[str, int], ...], unit: str, used: int, reserved: int) -> None:
    """Adds to the counters of a unit, those whose window is still the one that the session counts in."""
    for counter_id, start_us in counters:
        counter = account.counters.get(counter_id)
        if counter is not None and counter.unit == unit and counter.start_us == start_us:
            counter.used += used
            counter.reserved += reserved


def _open_windows(account: Account, windows: tuple[WindowOpened, ...], time_us: int) -> None:
    for window in windows:
        account.counters[window.counter_id] = Counter(window.unit, window.start_us, window.end_us)
    if len(account.counters) > account.counters_swept_at:
        for counter_id in [key for key, counter in account.counters.items() if 0 < counter.end_us <= time_us]:
            del account.counters[counter_id]
        account.counters_swept_at = max(_COUNTERS_KEPT_MIN, 2 * len(account.counters))


def _updated(account: Account, entry: SessionUpdated, seq: int) -> None:
    session = account.sessions[entry.charging_id]
    session.number = entry.number
    session.digest = entry.digest
    session.wanted = entry.wanted
    session.used = entry.used
    session.renewed_us = entry.time_us
    before = session.answer
    session.answer = Granted(
        entry.output_granted,
        entry.output_payable,
        entry.output_threshold,
        before.validity_us,
        entry.final,
        before.offering_id,
        before.final_action,
    )
    if entry.hold_added:
        hold = session.hold
        for bucket_id, amount in entry.hold_added:
            hold[bucket_id] = hold.get(bucket_id, 0) + amount
        _reserve(account, session, entry.hold_added)
    if entry.arrivals:
        account.arrivals.update(entry.arrivals)
        session.tokens_counted = entry.tokens_counted


def _settled(account: Account, entry: SessionSettled, seq: int) -> None:
    session = account.sessions.get(entry.charging_id)
    earlier = account.swept.get(entry.charging_id) if session is None else None
    counters = session.counters if session else earlier.counters if earlier else entry.counters
    if entry.windows_opened:
        _open_windows(account, entry.windows_opened, entry.time_us)
    buckets = account.buckets
    for bucket_id, amount in entry.held_debits:
        bucket = buckets[bucket_id]
        bucket.reserved -= amount
        bucket.consumed += amount
        if counters:
            _count(account, counters, bucket.unit, amount, -amount)
    for bucket_id, amount in entry.released:
        bucket = buckets[bucket_id]
        bucket.reserved -= amount
        if bucket.ended:
            bucket.expired += amount
        else:
            bucket.remaining += amount
        if counters:
            _count(account, counters, bucket.unit, 0, -amount)
    for bucket_id, amount in entry.free_debits:
        bucket = buckets[bucket_id]
        bucket.remaining -= amount
        bucket.consumed += amount
        if counters:
            _count(account, counters, bucket.unit, amount, 0)
    if entry.debt:
        unit = entry.tariff.unit
        account.debts.setdefault(unit, Debt()).incurred += entry.debt
        if counters:
            _count(account, counters, unit, entry.debt, 0)
    if entry.absorbed:
        account.losses.setdefault(entry.tariff.unit, Loss()).absorbed += entry.absorbed
    if entry.paid_worth or entry.unpaid_worth:
        _count_work(account, entry)
    if entry.arrivals:
        account.arrivals.update(entry.arrivals)
    if entry.cached_share >= 0:
        account.cached_shares[entry.model_id] = entry.cached_share
    line = entry.line or line_of("", "", entry.tariff.unit)
    if entry.close_cause == CloseCause.SWEPT:
        _remember_swept(account, entry, session, line, seq)
    else:
        _remember_closed(account, entry, session, seq)
    if entry.more_records:
        return
    if session is not None:
        for counter_id, start_us in session.counters:
            counter = account.counters.get(counter_id)
            if counter is not None and counter.unit == SESSION_UNIT and counter.start_us == start_us:
                counter.reserved -= 1
        del account.sessions[entry.charging_id]
    _forget(account, entry.time_us)


def _count_work(account: Account, entry: SessionSettled) -> None:
    hour = entry.time_us // HOUR_US
    work = account.work
    if not work or work[-1].hour < hour:
        while work and work[0].hour <= hour - WORK_HOURS:
            del work[0]
        work.append(Work(hour))
    work[-1].paid += entry.paid_worth
    if entry.unpaid_worth:
        work[-1].unpaid += entry.unpaid_worth
        account.last_unpaid_us = entry.time_us


def _remember_swept(account: Account, entry: SessionSettled, session: Session | None, line: str, seq: int) -> None:
    swept = account.swept.get(entry.charging_id)
    if swept is None:
        swept = account.swept[entry.charging_id] = SweptSession(
            number=entry.number,
            record_number=entry.record_number,
            charged=0,
            model_id=entry.model_id,
            key_id=entry.key_id,
            member_id=entry.member_id,
            offering_id=entry.offering_id,
            tariff=entry.tariff,
            created_us=entry.created_us,
            closed_us=entry.time_us,
            sequence_numbers=(seq,),
            lines=session.lines if session else {line: entry.tariff},
            counters=session.counters if session else (),
            tokens_counted=session.tokens_counted if session else 0,
            wholesale=session.wholesale if session else (),
            debt_limit=session.debt_limit if session else -1,
        )
    rated = entry.charged + entry.absorbed
    swept.record_number = entry.record_number
    swept.charged += rated
    swept.usages[line] = entry.usage
    swept.charges[line] = rated


def _remember_closed(account: Account, entry: SessionSettled, session: Session | None, seq: int) -> None:
    charges = (entry.tariff.unit, entry.charged, entry.debt)
    earlier = account.closed.get(entry.charging_id)
    swept = account.swept.get(entry.charging_id)
    if swept is not None and not entry.more_records:
        del account.swept[entry.charging_id]
    if earlier is None:
        # A sweep and the late Release that set it off can stand in one row.
        numbers = tuple(number for number in swept.sequence_numbers if number != seq) if swept else ()
        answer = Settled(*charges, absorbed=entry.absorbed)
        account.closed[entry.charging_id] = ClosedSession(entry.number, entry.digest, answer, entry.time_us, (*numbers, seq))
    else:
        answer = earlier.answer
        earlier.answer = msgspec.structs.replace(
            answer,
            others=(*answer.others, charges),
            others_absorbed=others_absorbed(answer, entry.absorbed),
        )


def others_absorbed(answer: Settled, absorbed: int) -> tuple[int, ...]:
    """What was absorbed of each tariff but the first, once there is one more; empty as long as it is nothing."""
    if not absorbed and not answer.others_absorbed:
        return ()
    return (*(answer.others_absorbed or (0,) * len(answer.others)), absorbed)


def _forget(account: Account, now_us: int) -> None:
    """Drops what need not be remembered any longer; both memories are in the order of closing."""
    _forget_before(account.closed, now_us - CLOSED_MEMORY_US)
    _forget_before(account.swept, now_us - SWEPT_MEMORY_US)


def _forget_before(memory: dict[str, Remembered], horizon_us: int) -> None:
    while memory:
        charging_id = next(iter(memory))
        if memory[charging_id].closed_us >= horizon_us:
            return
        del memory[charging_id]


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
    _due_no_later_than(account, entry.expires_us)


def _price_charged(account: Account, entry: PriceCharged, seq: int) -> None:
    for bucket_id, amount in entry.debits:
        bucket = account.buckets[bucket_id]
        bucket.remaining -= amount
        bucket.consumed += amount


def _order_completed(account: Account, entry: OrderCompleted, seq: int) -> None:
    order = account.orders[entry.order_id]
    order.state = "completed"
    order.remark = entry.payment_reference
    if order.terms.cycle is not None:
        order.remembered_until_us = entry.time_us + ENDED_MEMORY_US


def _order_failed(account: Account, entry: OrderFailed, seq: int) -> None:
    order = account.orders[entry.order_id]
    order.state = "failed"
    order.remark = entry.reason
    order.remembered_until_us = entry.time_us + ENDED_MEMORY_US


def _subscription_started(account: Account, entry: SubscriptionStarted, seq: int) -> None:
    account.subscriptions[entry.subscription_id] = Subscription(
        subscription_id=entry.subscription_id,
        terms=entry.terms,
        payment=entry.payment,
        first_us=entry.time_us,
        next_terms=entry.terms if entry.terms.automatic_renewal else None,
        next_payment=entry.payment,
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
    account.forget_derived()
    _subscription_due(account, subscription)


def _subscription_due(account: Account, subscription: Subscription) -> None:
    if (due_us := due_of(subscription)) is not None:
        _due_no_later_than(account, due_us)
    account.unused_until_us = unused_until_us(account)


def unused_until_us(account: Account) -> int | None:
    """When the first free cycle ends that is renewed only when somebody uses the account; None: there is none."""
    return min(
        (each.cycle_end_us for each in account.subscriptions.values() if each.state == "active" and due_of(each) is None),
        default=None,
    )


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
    _due_no_later_than(account, subscription.grace_end_us)


def _subscription_ended(account: Account, entry: SubscriptionEnded, seq: int) -> None:
    subscription = account.subscriptions[entry.subscription_id]
    subscription.state = "ended"
    subscription.ended_us = entry.time_us
    account.unused_until_us = unused_until_us(account)
    account.forget_derived()


def _transfer_sent(account: Account, entry: TransferSent, seq: int) -> None:
    bucket = account.buckets[entry.bucket_id]
    bucket.remaining -= entry.amount
    bucket.transferred += entry.amount
    account.transfers[entry.transfer_id] = Transfer(
        transfer_id=entry.transfer_id,
        to_account_id=entry.to_account_id,
        bucket_id=entry.bucket_id,
        amount=entry.amount,
        digest=entry.digest,
        sent_us=entry.time_us,
    )


def _transfer_confirmed(account: Account, entry: TransferConfirmed, seq: int) -> None:
    transfer = account.transfers[entry.transfer_id]
    transfer.state = "confirmed"
    transfer.ended_us = entry.time_us


def _transfer_returned(account: Account, entry: TransferReturned, seq: int) -> None:
    transfer = account.transfers[entry.transfer_id]
    transfer.state = "returned"
    transfer.remark = entry.reason
    transfer.ended_us = entry.time_us
    bucket = account.buckets[transfer.bucket_id]
    bucket.transferred -= transfer.amount
    if bucket.ended:
        bucket.expired += transfer.amount
    else:
        bucket.remaining += transfer.amount


def _limits_set(account: Account, entry: LimitsSet, seq: int) -> None:
    if entry.limits or entry.valid_until_us:
        account.limits[entry.subject] = SubjectLimits(entry.limits, entry.valid_until_us)
    else:
        account.limits.pop(entry.subject, None)
    account.forget_derived()


_APPLY: Final[dict[type, Callable[[Account, Any, int], None]]] = {
    BucketGranted: _granted,
    DebtRepaid: _repaid,
    BucketExpired: _expired,
    BucketRolledOver: _rolled_over,
    BucketReduced: _reduced,
    BucketToppedUp: _topped_up,
    DebtWrittenOff: _written_off,
    NoticeReached: _noticed,
    SessionCreated: _created,
    SessionUpdated: _updated,
    SessionSettled: _settled,
    OrderPlaced: _order_placed,
    PriceCharged: _price_charged,
    OrderCompleted: _order_completed,
    OrderFailed: _order_failed,
    SubscriptionStarted: _subscription_started,
    CycleStarted: _cycle_started,
    RenewalChanged: _renewal_changed,
    SubscriptionSuspended: _subscription_suspended,
    SubscriptionEnded: _subscription_ended,
    TransferSent: _transfer_sent,
    TransferConfirmed: _transfer_confirmed,
    TransferReturned: _transfer_returned,
    LimitsSet: _limits_set,
}
