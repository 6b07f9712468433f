"""An account's state: plain data that msgspec can encode. A checkpoint is this state and nothing else.

As in the journal, fields are only added at the end, with a default. Only `evolve` changes what is here.
"""

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from services.accounting.core.amounts import Estimate, PinnedTariff
from services.accounting.core.commands import Granted, Returned, Settled
from services.accounting.core.entries import VendorAttempt, Wholesale
from services.accounting.core.terms import Limit, Payment, Terms
from services.token_classes import Vector

if TYPE_CHECKING:
    from services.accounting.core.limits import Rules
    from services.accounting.core.offerings import KeptPlan

# An order, a subscription, a bucket, a transfer or an adjustment is remembered this long after its end, and its key with it.
ENDED_MEMORY_US: Final = 90 * 24 * 3_600 * 1_000_000
# A subscription knows this many payments from outside.
PAYMENT_REFERENCES_KEPT: Final = 10
HOUR_US: Final = 3_600 * 1_000_000
# Vendors' work is counted over this many hours.
WORK_HOURS: Final = 24
# Unit of a counter of the sessions open at once.
SESSION_UNIT: Final = "SESSION"
# This many write-offs of a debt are known one by one.
WRITE_OFFS_KEPT: Final = 100
# Counters of ended windows are dropped when there are more than this, and then whenever their number has doubled.
COUNTERS_KEPT_MIN: Final = 256


class Line(NamedTuple):
    """The name of the tariff that prices a bucket, in its parts."""

    # "": the account's own offering.
    offering_id: str
    # "": every model.
    model_group: str
    unit: str


def line_of(offering_id: str, model_group: str, unit: str) -> str:
    """The name of the tariff that prices a bucket: its offering's ("" the account's own), its model group's, its unit's."""
    return f"{offering_id}|{model_group}|{unit}"


def named_by(line: str) -> Line:
    """The parts of a line, as `line_of` was given them."""
    return Line(*line.split("|"))


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
    # Set once the end of its validity was applied: what is freed from then on expires.
    ended: bool = False
    line: str = ""
    source: str = ""
    subscription_id: str = ""
    allowance_id: str = ""
    rollover_cap: int = 0
    postpaid: bool = False
    transferable: bool = False
    notice_percents: tuple[int, ...] = ()
    # The highest of them that was reached.
    noticed_percent: int = 0

    def burn_key(self) -> tuple[bool, int, int, int, str]:
        """Lower burns first: money after tokens and points, since it pays for use beyond them; priority, earliest end, age, id."""
        return (self.unit.startswith("CURRENCY:"), self.priority, self.valid_until_us, self.created_us, self.bucket_id)


class Debt(msgspec.Struct, array_like=True, gc=False):
    """Settled usage that no bucket covered, in micro-units."""

    incurred: int = 0
    repaid: int = 0
    written_off: int = 0
    # (time, amount) of what was written off; the oldest are together, and those of older code are not here.
    write_offs: list[tuple[int, int]] = []

    @property
    def outstanding(self) -> int:
        """Still owed."""
        return self.incurred - self.repaid - self.written_off

    def written_off_since(self, time_us: int) -> int:
        """The amount that was written off at `time_us` or later, as far as it is known."""
        return self.written_off - sum(amount for written_off_us, amount in self.write_offs if written_off_us < time_us)


class Loss(msgspec.Struct, array_like=True, gc=False):
    """The operator's loss, in micro-units: usage that was rated and that nobody pays. It never becomes debt."""

    absorbed: int = 0


class Work(msgspec.Struct, array_like=True, gc=False):
    """Worth of vendors' work for the account in one hour, in micro-yuan: what was used, and what nobody paid for."""

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
    # By line, in burn order; debt is owed in the last line.
    lines: dict[str, PinnedTariff] = {}
    estimates: dict[str, Estimate] = {}
    input_reserved: int = 0
    expected: bool = False
    # (counter_id, begin of the window it counts in).
    counters: tuple[tuple[str, int], ...] = ()
    tokens_counted: int = 0
    output_window: int = 0
    wholesale: tuple[Wholesale, ...] = ()
    # Output tokens that the last Update wanted.
    wanted: int = -1
    # See `SessionCreated`.
    debt_limit: int = -1
    # Its place in `Account.keyed`; empty: its client gave it no name.
    call_key: bytes = b""
    # The client's label of the call.
    run_label: str = ""
    # Every vendor call made so far, as its Updates told.
    attempts: tuple[VendorAttempt, ...] = ()

    @property
    def sweep_us(self) -> int:
        """The time at which the session is swept unless another request renews it: Tcc = 2 x validity time."""
        return self.renewed_us + 2 * self.answer.validity_us


class ClosedSession(msgspec.Struct, array_like=True, gc=False):
    """Memory of a closed session: its last request's answer, and the journal rows of its records."""

    number: int
    digest: bytes
    answer: Settled
    closed_us: int
    sequence_numbers: tuple[int, ...]


class SweptSession(msgspec.Struct, array_like=True, gc=False):
    """Memory of a swept session, whose late Release charges what is still missing."""

    number: int
    record_number: int
    # The amount that its sweep rated; the absorbed part of it stays absorbed.
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
    # By line: the usage that was charged for, and the amount.
    usages: dict[str, Vector] = {}
    charges: dict[str, int] = {}
    counters: tuple[tuple[str, int], ...] = ()
    tokens_counted: int = 0
    wholesale: tuple[Wholesale, ...] = ()
    debt_limit: int = -1
    run_label: str = ""
    # The vendor's claim that its sweep made, and the amount of it.
    claim: Wholesale | None = None
    claimed: int = 0


class KeyedCall(msgspec.Struct, array_like=True, gc=False):
    """Memory of a call that its client named by an idempotency key: its session, and the digest of its content."""

    charging_id: str
    content: bytes
    # 0: it is open.
    ended_us: int = 0


class Counter(msgspec.Struct, array_like=True, gc=False):
    """The count of a limit in its window: amounts in micro-units of `unit`, or open sessions."""

    unit: str
    start_us: int
    # 0: the window never ends.
    end_us: int
    used: int = 0
    reserved: int = 0


class SubjectLimits(msgspec.Struct, array_like=True, gc=False):
    """Limits set for one subject; no session begins for it from `valid_until_us` on (0: there is no end)."""

    limits: tuple[Limit, ...]
    valid_until_us: int


class Run(msgspec.Struct, array_like=True, gc=False):
    """A minted key and all that it does. The counters of its limits say what it and all keys below it used."""

    key_id: str
    parent_key_id: str
    # The issued key above it.
    root_key_id: str
    limits: tuple[Limit, ...]
    # Empty: all models that the parent may use.
    model_ids: tuple[str, ...]
    opened_us: int
    # The end of its life, earlier once it was ended.
    ends_us: int
    digest: bytes
    # Settled sessions of the key and of all keys below it.
    calls: int = 0


class Payer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of a price that a bucket of prepaid money paid, and how long that money was to live."""

    # In micro-units of the price's unit.
    amount: int
    valid_until_us: int
    paid_us: int


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
    # The reason of a failure, or the payer's reference.
    remark: str = ""
    bucket_ids: tuple[str, ...] = ()
    # The order and its key are remembered until then; 0: not known yet.
    remembered_until_us: int = 0
    # By its refund, or by the change that it is; None: nothing.
    returned: Returned | None = None
    # The money that paid for a pack; empty: it was paid another way, or by older code.
    payers: tuple[Payer, ...] = ()


class Subscription(msgspec.Struct, array_like=True, gc=False):
    """An offering that an account has bought, with its cycles. `state` is "active", "suspended" or "ended"."""

    subscription_id: str
    terms: Terms
    payment: Payment
    # Begin of cycle 1; the ends of all cycles are computed from it.
    first_us: int
    state: str = "active"
    cycle_number: int = 0
    cycle_start_us: int = 0
    cycle_end_us: int = 0
    cycle_price: int = 0
    cycle_days: int = 0
    # Terms from the next cycle on; None: the subscription ends with this cycle.
    next_terms: Terms | None = None
    next_payment: Payment = Payment.FREE
    # While suspended: the time of the next try, and the end of the grace period.
    retry_us: int = 0
    grace_end_us: int = 0
    ended_us: int = 0
    # Payments from outside that the running cycle was paid with; the last ones, if there are many.
    payment_references: tuple[str, ...] = ()
    # By its refund; None: nothing.
    returned: Returned | None = None
    # The money that paid for the running cycle, the last to pay at the end, as in `Order`.
    payers: tuple[Payer, ...] = ()

    @property
    def due_us(self) -> int | None:
        """The next time at which something happens to it by itself; None when it has ended."""
        if self.state == "active":
            return self.cycle_end_us
        if self.state == "suspended":
            return min(self.retry_us, self.grace_end_us) if self.retry_us else self.grace_end_us
        return None


class Transfer(msgspec.Struct, array_like=True, gc=False):
    """Quota given to another account. `state` is "in_transit", "confirmed" or "returned"."""

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
    """Memory of a top-up, a reduction, a write-off or the refund of a purchase, so that its repeat is known."""

    digest: bytes
    time_us: int
    repaid: int = 0


class Derived:
    """Results derived from an account and its catalog, kept beside the account and in no checkpoint. Their writers bound them."""

    __slots__ = ("base_limits", "plans", "rules")

    def __init__(self) -> None:
        # By model; see `offerings.plan`.
        self.plans: dict[str, KeptPlan] = {}
        # By (member, key), derived from `base_limits`; see `limits.rules_for`.
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
    # In the order of closing.
    closed: dict[str, ClosedSession] = {}
    swept: dict[str, SweptSession] = {}
    # Nothing is due before this time. A lower bound, so that most commands need not look.
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
    # By "sequence number/charging_id/record number" of a record: the amount that was refunded of it.
    refunded: dict[str, int] = {}
    # By model: the share of its input that came from a cache lately, in millionths.
    cached_shares: dict[str, int] = {}
    counters_swept_at: int = COUNTERS_KEPT_MIN
    # The end of the first free cycle that is renewed only when somebody uses the account.
    unused_until_us: int | None = None
    # By unit.
    losses: dict[str, Loss] = {}
    # Hours of the last day in which a vendor worked, oldest first; then the time of the last unpaid work, see `unpaid_work`.
    work: list[Work] = []
    last_unpaid_us: int = 0
    # By `CallName.key`; those that have ended are in the order of ending.
    keyed: dict[bytes, KeyedCall] = {}
    # By key, in the order of opening: those that live, and those that ended lately.
    runs: dict[str, Run] = {}
    # By offering that is sold once: when it last granted something, as a pack or a cycle.
    bought: dict[str, int] = {}

    @cached_property
    def derived(self) -> Derived:
        """The results kept with this account; no field, so that they are never encoded."""
        return Derived()

    def forget_derived(self) -> None:
        """Drops the kept results, because limits, buckets or subscriptions changed; the next use computes them again."""
        self.derived = Derived()


# By kind of entry: the function that applies one to an account, with the number of the journal row that has it.
Applies = dict[type, Callable[[Account, Any, int], None]]
