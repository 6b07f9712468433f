"""The journal's entries: facts that changed an account. They stay readable for ever.

Entries are msgpack arrays whose first element is the tag. Fields are only added at the end, with a default; a tag is never used
again for something else. Times are microseconds since 1970, amounts micro-units.
"""

import msgspec

from services.accounting.core.amounts import Estimate, PinnedTariff
from services.accounting.core.terms import Limit, Payment, Terms
from services.token_classes import NOTHING, Vector

# (bucket_id, amount) pairs in burn order.
BucketAmounts = tuple[tuple[str, int], ...]
# (limiter_id, theoretical arrival time in nanoseconds) pairs: the state of rate limiters from now on.
Arrivals = tuple[tuple[str, int], ...]


class Actor(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The giver of the administrative command that made an entry. The row keeps it beside its entries, see `journal.codec`."""

    # A name that the proof vouches for, such as "administrator".
    subject: str
    # How it was shown, such as "admin_token".
    proof: str
    # The role in which the command was given, such as "operator".
    role: str


class VendorAttempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One try to get the answer from a vendor."""

    vendor_id: str
    vendor_model_id: str
    outcome: str
    http_status: int
    duration_ms: int


class WindowOpened(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A counter of use began a new window; earlier use no longer counts."""

    counter_id: str
    # Unit of the count; "SESSION" for the sessions open at once.
    unit: str
    start_us: int
    # 0: the window never ends.
    end_us: int


class Wholesale(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A vendor's claim for a model under one of its routes."""

    vendor_id: str
    vendor_model_id: str
    tariff: PinnedTariff
    # Shares that the operator keeps of it, in millionths: for the platform, computing power and the channel; empty: nothing.
    fees: tuple[int, ...] = ()


class AccountOpened(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """An account was opened on an offering."""

    account_id: str
    time_us: int
    offering_id: str


class BucketGranted(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A bucket was granted."""

    account_id: str
    time_us: int
    bucket_id: str
    unit: str
    amount: int
    valid_from_us: int
    valid_until_us: int
    priority: int
    idempotency_key: str
    digest: bytes
    # The part that repaid debt; the next DebtRepaid entry moves it.
    repaid: int
    # The tariff that prices it: of an offering ("" for the account's own), and of a model group ("" for all).
    offering_id: str = ""
    model_group: str = ""
    # Origin: "order:ID", "transfer:ID", "refund:CHARGING_ID", "adjustment"; empty: a top-up.
    source: str = ""
    # The operator's reason, where one is required.
    reason: str = ""
    # The subscription whose cycle it belongs to, and the allowance it is.
    subscription_id: str = ""
    allowance_id: str = ""
    rollover_cap: int = 0
    postpaid: bool = False
    transferable: bool = False
    notice_percents: tuple[int, ...] = ()


class DebtRepaid(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A bucket paid a debt of its unit."""

    account_id: str
    time_us: int
    bucket_id: str
    unit: str
    amount: int


class BucketExpired(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A bucket's validity ended; `amount` is what remained. Held amounts go to expired when they are freed."""

    account_id: str
    time_us: int
    bucket_id: str
    amount: int


class SessionCreated(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """A session was opened and holds quota."""

    account_id: str
    time_us: int
    charging_id: str
    number: int
    digest: bytes
    model_id: str
    key_id: str
    member_id: str
    offering_id: str
    tariff: PinnedTariff
    input_bound: int
    output_limit: int
    output_granted: int
    output_payable: int
    output_threshold: int
    final: bool
    validity_us: int
    hold: BucketAmounts
    # The line whose buckets `tariff` prices; "" in entries older than lines.
    line: str = ""
    # Tariffs of the other lines that the session may burn; debt is owed in the last line of all.
    more_lines: dict[str, PinnedTariff] = {}
    # By line: the rates at which tokens are reserved; empty: the worst case of `input_bound` tokens.
    estimates: dict[str, Estimate] = {}
    # Input tokens for which quota is reserved; -1: `input_bound`.
    input_reserved: int = -1
    # Quota is reserved for the likely cost, not for the worst case.
    expected: bool = False
    # Counters that the session counts in, each with the begin of its window.
    counters: tuple[tuple[str, int], ...] = ()
    # Those whose window began with this session.
    windows_opened: tuple[WindowOpened, ...] = ()
    arrivals: Arrivals = ()
    # Tokens counted against token rates so far.
    tokens_counted: int = 0
    output_window: int = 0
    final_action: int = 1
    wholesale: tuple[Wholesale, ...] = ()
    # The most that this session may leave owing in the unit of the last line; -1: no bound, as in entries older than the bound.
    debt_limit: int = -1


class SessionUpdated(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """A session reported usage, renewed its validity and perhaps holds more."""

    account_id: str
    time_us: int
    charging_id: str
    number: int
    digest: bytes
    used: Vector
    output_granted: int
    output_payable: int
    output_threshold: int
    final: bool
    hold_added: BucketAmounts
    arrivals: Arrivals = ()
    tokens_counted: int = 0
    # Output tokens that the request wanted: with `used` they identify a repeat. -1 in older entries, which have a digest.
    wanted: int = -1
    # As far as they were told; empty: no others than before.
    attempts: tuple[VendorAttempt, ...] = ()


class SessionSettled(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A session, an event, or a late Release of a swept session was charged. Becomes a CDR.

    A session paid under several tariffs makes one record for each, numbered without a gap; the last record closes it.
    `charged` = sum of `held_debits` and `free_debits` plus `debt`, all of this record; `usage` and `class_amounts` are
    cumulative over what the session used under this tariff. Rated = `charged` + `absorbed`.
    """

    account_id: str
    time_us: int
    charging_id: str
    number: int
    digest: bytes
    record_number: int
    model_id: str
    key_id: str
    member_id: str
    offering_id: str
    tariff: PinnedTariff
    usage: Vector
    class_amounts: Vector
    charged: int
    held_debits: BucketAmounts
    free_debits: BucketAmounts
    released: BucketAmounts
    debt: int
    close_cause: int
    provenance: int
    attempts: tuple[VendorAttempt, ...]
    created_us: int
    # More records of the same session follow in the same row.
    more_records: bool = False
    # The line of `tariff`; "" in entries older than lines.
    line: str = ""
    arrivals: Arrivals = ()
    # The model's cached share that the account has learned, in millionths; -1: nothing new.
    cached_share: int = -1
    # The claim of the vendor that answered; once a session, in its first record.
    wholesale: Wholesale | None = None
    wholesale_amounts: Vector = NOTHING
    # Usage of the whole session as the vendor counted it.
    wholesale_usage: Vector = NOTHING
    # Input of the whole session, which chose the tier; -1: that of `usage`.
    total_input: int = -1
    # For an Event alone, because no session knows them.
    counters: tuple[tuple[str, int], ...] = ()
    windows_opened: tuple[WindowOpened, ...] = ()
    # Amount that this record rated and nobody pays: beyond the debt limit, and for `unpaid`.
    absorbed: int = 0
    # Usage that the vendor made beyond the session's, and its amount under this tariff; in the first record, empty: nothing.
    unpaid: Vector = ()
    unpaid_amounts: Vector = ()
    # Worth of the vendor's used and unpaid work, in micro-yuan; in the first record.
    paid_worth: int = 0
    unpaid_worth: int = 0
    # The part of `wholesale_amounts` that the record of the session's sweep claims already.
    wholesale_claimed: int = 0


class NoticeReached(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Notifies the subscriber: this many percent of a bucket are consumed."""

    account_id: str
    time_us: int
    bucket_id: str
    percent: int


class OrderPlaced(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """An offering was ordered. `amount` of `terms.price_unit` is to be paid; until it is, the order waits till `expires_us`."""

    account_id: str
    time_us: int
    order_id: str
    terms: Terms
    payment: Payment
    amount: int
    expires_us: int
    # The subscription that the order makes, renews or changes; empty: a pack.
    subscription_id: str
    idempotency_key: str
    digest: bytes


class PriceCharged(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """A price was paid from buckets."""

    account_id: str
    time_us: int
    order_id: str
    offering_id: str
    unit: str
    amount: int
    debits: BucketAmounts


class OrderCompleted(msgspec.Struct, frozen=True, array_like=True, tag=11, gc=False):
    """An order is paid and carried out; `payment_reference` is the payer's own, when it was paid outside."""

    account_id: str
    time_us: int
    order_id: str
    payment_reference: str


class OrderFailed(msgspec.Struct, frozen=True, array_like=True, tag=12, gc=False):
    """An order came to nothing."""

    account_id: str
    time_us: int
    order_id: str
    reason: str


class SubscriptionStarted(msgspec.Struct, frozen=True, array_like=True, tag=13, gc=False):
    """A subscription began, or got other terms; its cycles count from `time_us` on."""

    account_id: str
    time_us: int
    subscription_id: str
    terms: Terms
    payment: Payment


class CycleStarted(msgspec.Struct, frozen=True, array_like=True, tag=14, gc=False):
    """A cycle of a subscription began; its price and buckets are in the entries beside it."""

    account_id: str
    time_us: int
    subscription_id: str
    number: int
    end_us: int
    # The price paid for it, and its days: a change in its middle gives back a part computed from them.
    price: int
    days: int


class RenewalChanged(msgspec.Struct, frozen=True, array_like=True, tag=15, gc=False):
    """The end of the cycle was decided: the subscription ends (`terms` None), or goes on under `terms`."""

    account_id: str
    time_us: int
    subscription_id: str
    terms: Terms | None
    payment: Payment


class SubscriptionSuspended(msgspec.Struct, frozen=True, array_like=True, tag=16, gc=False):
    """A renewal could not be paid; it is tried again whenever money comes, until `grace_end_us`."""

    account_id: str
    time_us: int
    subscription_id: str
    grace_end_us: int


class SubscriptionEnded(msgspec.Struct, frozen=True, array_like=True, tag=17, gc=False):
    """A subscription ended."""

    account_id: str
    time_us: int
    subscription_id: str
    reason: str


class BucketRolledOver(msgspec.Struct, frozen=True, array_like=True, tag=18, gc=False):
    """A bucket lives on for another cycle; `expired` of what remained was above the cap."""

    account_id: str
    time_us: int
    bucket_id: str
    expired: int
    valid_until_us: int


class TransferSent(msgspec.Struct, frozen=True, array_like=True, tag=19, gc=False):
    """A part of a bucket left for another account; it is in transit until it is confirmed or returned."""

    account_id: str
    time_us: int
    transfer_id: str
    to_account_id: str
    bucket_id: str
    amount: int
    idempotency_key: str
    digest: bytes


class TransferConfirmed(msgspec.Struct, frozen=True, array_like=True, tag=20, gc=False):
    """A transfer has arrived."""

    account_id: str
    time_us: int
    transfer_id: str


class TransferReturned(msgspec.Struct, frozen=True, array_like=True, tag=21, gc=False):
    """A transfer could not be taken and came back."""

    account_id: str
    time_us: int
    transfer_id: str
    reason: str


class BucketReduced(msgspec.Struct, frozen=True, array_like=True, tag=22, gc=False):
    """The operator took back a part of a bucket; it counts as expired."""

    account_id: str
    time_us: int
    bucket_id: str
    amount: int
    reason: str
    idempotency_key: str
    digest: bytes


class DebtWrittenOff(msgspec.Struct, frozen=True, array_like=True, tag=23, gc=False):
    """The operator gave up a debt."""

    account_id: str
    time_us: int
    unit: str
    amount: int
    reason: str
    idempotency_key: str
    digest: bytes


class LimitsSet(msgspec.Struct, frozen=True, array_like=True, tag=24, gc=False):
    """A subject ("account", "member:ID" or "key:ID") got these limits in place of those it had."""

    account_id: str
    time_us: int
    subject: str
    limits: tuple[Limit, ...]
    # No session begins for the subject from then on; 0: there is no end.
    valid_until_us: int


class BucketToppedUp(msgspec.Struct, frozen=True, array_like=True, tag=25, gc=False):
    """A bucket was topped up. `repaid` of it paid debt; the next DebtRepaid entry moves it."""

    account_id: str
    time_us: int
    bucket_id: str
    amount: int
    repaid: int
    idempotency_key: str
    digest: bytes


class RunOpened(msgspec.Struct, frozen=True, array_like=True, tag=26, gc=False):
    """A key was minted, with a budget in `limits`; what it charges counts in the runs of all keys above it, too."""

    account_id: str
    time_us: int
    key_id: str
    # The key that minted it, and the issued key above both.
    parent_key_id: str
    root_key_id: str
    # One on use for each unit of the budget, and one on sessions open at once where that is narrower than the parent's.
    limits: tuple[Limit, ...]
    # Empty: all models that the parent may use.
    model_ids: tuple[str, ...]
    ends_us: int
    digest: bytes


class RunsEnded(msgspec.Struct, frozen=True, array_like=True, tag=27, gc=False):
    """The runs of a key and of all keys below it ended."""

    account_id: str
    time_us: int
    key_id: str
    # The key that wanted it; empty: the operator did.
    by_key_id: str


class CallLabelled(msgspec.Struct, frozen=True, array_like=True, tag=28, gc=False):
    """A call was given its client's label: when it began, and again in the row that settles it, for readers of that row alone."""

    account_id: str
    time_us: int
    charging_id: str
    run_label: str


class PriceReturned(msgspec.Struct, frozen=True, array_like=True, tag=29, gc=False):
    """A part of a price went back the way it was paid: prepaid money in the bucket granted next, the rest as it is here."""

    account_id: str
    time_us: int
    # The subscription, or the order of a pack.
    purchase_id: str
    # The order of the change that brought it back; empty: a refund, which ended the purchase.
    order_id: str
    offering_id: str
    unit: str
    amount: int
    payment: Payment
    # Amounts that count as not consumed any more, by credit line.
    credits: BucketAmounts
    # The part that must go back outside, to the payments of these references.
    outside: int
    payment_references: tuple[str, ...]
    reason: str
    idempotency_key: str
    digest: bytes


Entry = (
    AccountOpened
    | BucketGranted
    | DebtRepaid
    | BucketExpired
    | SessionCreated
    | SessionUpdated
    | SessionSettled
    | NoticeReached
    | OrderPlaced
    | PriceCharged
    | OrderCompleted
    | OrderFailed
    | SubscriptionStarted
    | CycleStarted
    | RenewalChanged
    | SubscriptionSuspended
    | SubscriptionEnded
    | BucketRolledOver
    | TransferSent
    | TransferConfirmed
    | TransferReturned
    | BucketReduced
    | DebtWrittenOff
    | LimitsSet
    | BucketToppedUp
    | RunOpened
    | RunsEnded
    | CallLabelled
    | PriceReturned
)
