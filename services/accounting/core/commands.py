"""Commands to an account, and their answers."""

from collections.abc import Iterable, Sequence
from enum import IntEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from services.accounting.core.entries import BucketAmounts, BucketGranted, Entry, VendorAttempt
from services.accounting.core.terms import FinalAction, Limit, Payment
from services.token_classes import Measure, Measures, Vector

if TYPE_CHECKING:
    from services.accounting.core.account.state import Account

# Names that a message lists.
_NAMED_MAX: Final = 10


class ResultCode(IntEnum):
    """Why nothing was granted; the numbers of the protobuf contract."""

    QUOTA_LIMIT_REACHED = 2
    END_USER_SERVICE_DENIED = 3
    RATING_FAILED = 4
    RATE_LIMITED = 5
    END_USER_SERVICE_REJECTED = 6


class CloseCause(IntEnum):
    """Why a session ended; the numbers of the protobuf contract."""

    NORMAL = 1
    QUOTA_EXHAUSTED = 2
    CLIENT_GONE = 3
    VENDOR_ERROR = 4
    SWEPT = 5
    REJECTED = 6
    REVOKED = 7


class Provenance(IntEnum):
    """Where token counts came from; the numbers of the protobuf contract."""

    VENDOR = 1
    PARTIAL = 2
    TOKENIZER = 3
    ESTIMATED = 4


class Fault(IntEnum):
    """Why a command was not carried out; the numbers of `tokenline.errors.v1.ErrorReason`."""

    INVALID_ARGUMENT = 1
    ACCOUNT_UNKNOWN = 2
    SESSION_UNKNOWN = 3
    SESSION_CLOSED = 4
    SEQUENCE_INVALID = 5
    IDEMPOTENCY_CONFLICT = 6
    CHARGING_ID_STALE = 7
    AMOUNT_OVERFLOW = 8
    NOT_OWNER = 9
    STORE_UNAVAILABLE = 10
    OFFERING_UNKNOWN = 12
    RECORD_UNKNOWN = 16
    UNAVAILABLE = 18
    INTERNAL = 19
    ITEM_UNKNOWN = 20
    PAYMENT_REQUIRED = 21
    NOT_POSSIBLE = 22
    SUBJECT_ENDED = 24
    OVERLOADED = 100


class OpenAccount(msgspec.Struct, frozen=True, gc=False):
    """Opens an account on an offering."""

    account_id: str
    offering_id: str


class GrantBucket(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Adds a bucket of `amount` micro-units, valid for `valid_for_us` from `valid_from_us` (None: from now)."""

    account_id: str
    unit: str
    amount: int
    valid_from_us: int | None
    valid_for_us: int
    priority: int
    idempotency_key: str
    model_group: str = ""
    # The operator's reason; empty for a top-up.
    reason: str = ""


class CreateSession(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Opens a session: at most `input_bound` input tokens and `output_limit` output tokens."""

    account_id: str
    charging_id: str
    number: int
    model_id: str
    key_id: str
    member_id: str
    input_bound: int
    output_limit: int
    metered: bool
    # Likely input tokens of the call; -1: as many as the bound.
    input_expected: int = -1
    # Estimated input tokens with their margin; -1: as many as the bound.
    input_calibrated: int = -1
    # In these measures input and output are counted; other than tokens, the rest of this command counts them so, too.
    input_measure: Measure = Measure.TOKEN
    output_measure: Measure = Measure.TOKEN
    # The client's own name for its call, and 16 bytes that differ when its content does; empty: none.
    idempotency_key: str = ""
    content_digest: bytes = b""
    # The key has a run; without one it is refused.
    key_is_minted: bool = False
    # The client's label of the call.
    run_label: str = ""

    @property
    def measures(self) -> Measures:
        """The measures of both sides."""
        return Measures(self.input_measure, self.output_measure)


class UpdateSession(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Reports cumulative usage, wants `output_wanted` cumulative output tokens, renews the validity."""

    account_id: str
    charging_id: str
    number: int
    used: Vector
    output_wanted: int
    attempts: tuple[VendorAttempt, ...] = ()


class ReleaseSession(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Ends a session with its cumulative usage."""

    account_id: str
    charging_id: str
    number: int
    used: Vector
    provenance: Provenance
    close_cause: CloseCause
    attempts: tuple[VendorAttempt, ...]
    # Usage that the vendor made beyond `used` and nobody pays for; empty: nothing.
    unpaid: Vector = ()


class ChargeEvent(msgspec.Struct, frozen=True, gc=False):
    """Charges usage that had no session."""

    account_id: str
    charging_id: str
    number: int
    model_id: str
    key_id: str
    member_id: str
    used: Vector
    provenance: Provenance
    attempts: tuple[VendorAttempt, ...]


class TopUpBucket(msgspec.Struct, frozen=True, gc=False):
    """Adds `amount` to a bucket that has not ended; its validity stays."""

    account_id: str
    bucket_id: str
    amount: int
    idempotency_key: str


class RefundSession(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Gives back `amount` of what the record at (`sequence_number`, `record_number`) of a session charged, as a new bucket.

    `unit`, `charged`, `debt` (the part of it that no bucket covered) and `settled_us` are what that record says; the caller has
    read it from the journal.
    """

    account_id: str
    charging_id: str
    sequence_number: int
    record_number: int
    unit: str
    charged: int
    amount: int
    valid_for_us: int
    reason: str
    idempotency_key: str
    debt: int = 0
    settled_us: int = 0


class ReduceBucket(msgspec.Struct, frozen=True, gc=False):
    """Takes back `amount` of what remains in a bucket."""

    account_id: str
    bucket_id: str
    amount: int
    reason: str
    idempotency_key: str


class WriteOffDebt(msgspec.Struct, frozen=True, gc=False):
    """Gives up `amount` of a debt."""

    account_id: str
    unit: str
    amount: int
    reason: str
    idempotency_key: str


class PlaceOrder(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Orders an offering. `payment` says how its price is paid."""

    account_id: str
    offering_id: str
    payment: Payment
    idempotency_key: str
    # Until then authentication lets the account alone buy what is sold once to an identity; 0: it was not asked.
    entitled_until_us: int = 0


class GrantAllowances(msgspec.Struct, frozen=True, gc=False):
    """Grants allowances of a free offering without an order; `allowance_id` empty: all; `valid_until_us` 0: as an order would."""

    account_id: str
    offering_id: str
    allowance_id: str
    valid_until_us: int
    idempotency_key: str


class EndGrant(msgspec.Struct, frozen=True, gc=False):
    """Ends what is left of a grant of allowances."""

    account_id: str
    idempotency_key: str


class ConfirmPayment(msgspec.Struct, frozen=True, gc=False):
    """Tells that an order was paid outside."""

    account_id: str
    order_id: str
    payment_reference: str


class CancelOrder(msgspec.Struct, frozen=True, gc=False):
    """Gives up an order that waits for its payment."""

    account_id: str
    order_id: str
    reason: str


class ChangeSubscription(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Puts a subscription on another offering: at once, or from the next cycle on."""

    account_id: str
    subscription_id: str
    offering_id: str
    payment: Payment
    at_once: bool
    idempotency_key: str
    # As in `PlaceOrder`.
    entitled_until_us: int = 0


class CancelSubscription(msgspec.Struct, frozen=True, gc=False):
    """Ends a subscription: with its cycle, or at once."""

    account_id: str
    subscription_id: str
    at_once: bool


class RefundPurchase(msgspec.Struct, frozen=True, gc=False):
    """Ends a subscription, or a pack by its order, at once, and gives back the worth of what is left of it."""

    account_id: str
    # The subscription, or the order of a pack.
    purchase_id: str
    reason: str
    idempotency_key: str


class SendTransfer(msgspec.Struct, frozen=True, gc=False):
    """Gives `amount` of a transferable bucket to another account."""

    account_id: str
    to_account_id: str
    bucket_id: str
    amount: int
    idempotency_key: str


class ReceiveTransfer(msgspec.Struct, frozen=True, gc=False):
    """The other half of a transfer: its arrival. `granted` is the bucket it becomes."""

    account_id: str
    granted: BucketGranted


class EndTransfer(msgspec.Struct, frozen=True, gc=False):
    """Tells that a transfer has arrived, or (`refusal` not empty) could not be taken and comes back."""

    account_id: str
    transfer_id: str
    refusal: str


class SetLimits(msgspec.Struct, frozen=True, gc=False):
    """Puts limits on "account", "member:ID" or "key:ID", in place of those it had; `valid_until_us` 0: no end."""

    account_id: str
    subject: str
    limits: tuple[Limit, ...]
    valid_until_us: int


class OpenRun(msgspec.Struct, frozen=True, gc=False):
    """Opens the run of a key to be minted; `valid_for_us` 0: as long as its parent lives; `parallel_calls` 0: as many as it may."""

    account_id: str
    key_id: str
    parent_key_id: str
    parent_is_minted: bool
    member_id: str
    # (unit, amount).
    budgets: tuple[tuple[str, int], ...]
    valid_for_us: int
    model_ids: tuple[str, ...]
    parallel_calls: int


class EndRuns(msgspec.Struct, frozen=True, gc=False):
    """Ends the runs of a key and of all keys below it, as the key `by_key_id` wants it (empty: the operator)."""

    account_id: str
    key_id: str
    by_key_id: str


class ListRuns(msgspec.Struct, frozen=True, gc=False):
    """Asks for the run of a key, where it has one, and for those of all keys below it."""

    account_id: str
    key_id: str


class ReadAccount(msgspec.Struct, frozen=True, gc=False):
    """Asks for the account as it is, and for what limits leave this key (empty: no key asks)."""

    account_id: str
    key_id: str = ""
    member_id: str = ""


class AskOffering(msgspec.Struct, frozen=True, gc=False):
    """Asks whether the account may buy an offering that is sold once, or has it, waits for it or has had it."""

    account_id: str
    offering_id: str


class FindRecords(msgspec.Struct, frozen=True, gc=False):
    """Asks where a closed session's records stand in the journal."""

    account_id: str
    charging_id: str


class ApplyDue(msgspec.Struct, frozen=True, gc=False):
    """Asks only to apply what is due."""

    account_id: str


Command = (
    OpenAccount
    | GrantBucket
    | CreateSession
    | UpdateSession
    | ReleaseSession
    | ChargeEvent
    | TopUpBucket
    | RefundSession
    | ReduceBucket
    | WriteOffDebt
    | GrantAllowances
    | EndGrant
    | PlaceOrder
    | ConfirmPayment
    | CancelOrder
    | ChangeSubscription
    | CancelSubscription
    | RefundPurchase
    | SendTransfer
    | ReceiveTransfer
    | EndTransfer
    | SetLimits
    | OpenRun
    | EndRuns
    | ListRuns
    | ReadAccount
    | AskOffering
    | FindRecords
    | ApplyDue
)

_encode = msgspec.msgpack.Encoder().encode
# MessagePack's heads of maps: the short one has the number of fields in its last bits, the long one in two bytes that follow.
_MAP: Final = 0x80
_MAP_16: Final = 0xDE
_FIELDS_MAX: Final = 15
_DIGEST_BYTES: Final = 8
_CALL_KEY_BYTES: Final = 16


def digest_of(command: Command) -> bytes:
    """Eight bytes that differ when the content of a repeat does; the same for each release that knows all that is set in it."""
    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()


def digest_of_order(command: PlaceOrder | ChangeSubscription) -> bytes:
    """The digest of a command that places an order. A repeat is entitled anew, and is the same command."""
    return digest_of(msgspec.structs.replace(command, entitled_until_us=0))


def _with_short_head(encoded: bytes) -> bytes:
    """A map of few fields with the short head, where the encoder made the long one because the command could have more fields."""
    if encoded[0] == _MAP_16 and int.from_bytes(encoded[1:3]) <= _FIELDS_MAX:
        return bytes((_MAP | encoded[2],)) + encoded[3:]
    return encoded


class CallName(NamedTuple):
    """A client's name for its call: a digest of its key's ID and the idempotency key, and that of the call's content.

    It follows the digest of the call's Create, so that the journal has it.
    """

    key: bytes
    content: bytes

    @classmethod
    def of(cls, command: CreateSession) -> "CallName | None":
        """The name in a Create; None where the client gave none."""
        if not command.idempotency_key:
            return None
        named = f"{command.key_id}\x00{command.idempotency_key}".encode()
        return cls(blake2b(named, digest_size=_CALL_KEY_BYTES).digest(), command.content_digest)

    @classmethod
    def within(cls, digest: bytes) -> "CallName | None":
        """The name after the digest of a Create; None where there is none."""
        name = digest[_DIGEST_BYTES:]
        return cls(name[:_CALL_KEY_BYTES], name[_CALL_KEY_BYTES:]) if name else None


class Granted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Quota for cumulative `output_granted` output tokens is held."""

    output_granted: int
    output_payable: int
    output_threshold: int
    validity_us: int
    final: bool
    offering_id: str
    # The action that `final` announces.
    final_action: int = FinalAction.TERMINATE


class RateLeft(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A limit on a rate at this moment: `limit` units may come at once after a pause, `remaining` now, all again in `reset_us`."""

    limit: int
    remaining: int
    reset_us: int


class RatesLeft(NamedTuple):
    """Limits on requests and on tokens at this moment, each by the limit that leaves least; None: there is none."""

    requests: RateLeft | None
    tokens: RateLeft | None


class GrantedNow(Granted, frozen=True, array_like=True, gc=False):
    """A grant with what limits say of it at this moment: its end, and what rates leave.

    Each answer computes it anew, since limits may change. It is not part of an account's state.
    """

    # The session must end then, with the time of this subject; empty: it need not.
    ends_in_us: int = 0
    ending_subject: str = ""
    rates: RatesLeft | None = None


class KnownCall(msgspec.Struct, frozen=True, gc=False):
    """Nothing was granted and nothing changed: the idempotency key has a call, which may be open, or of other content."""

    charging_id: str
    is_open: bool
    has_other_content: bool


class Settled(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`charged` micro-units of `unit` were charged, `debt` of them covered by no bucket."""

    unit: str
    charged: int
    debt: int
    # (unit, charged, debt) of the further tariffs, where several paid.
    others: tuple[tuple[str, int, int], ...] = ()
    # Rated beyond it and absorbed by the operator; then the same for each of `others`, empty: nothing.
    absorbed: int = 0
    others_absorbed: tuple[int, ...] = ()


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Nothing was granted and nothing changed; `held` says that others' holds are the only reason."""

    code: ResultCode
    unit: str
    needed: int
    free: int
    reserved: int
    held: bool
    # The limit that refused, as "limit_id@subject"; empty: the balance.
    limit_id: str = ""
    # The time after which the limit lets this call pass, if nothing else comes; 0: not known.
    retry_after_us: int = 0
    # Tells people why, where the code does not say it all.
    message: str = ""
    offering_id: str = ""
    final_action: int = FinalAction.TERMINATE
    # Told where a limit refused.
    rates: RatesLeft | None = None


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The command was not carried out."""

    fault: Fault
    message: str


class BucketAdded(msgspec.Struct, frozen=True, gc=False):
    """The bucket as it was granted, after `repaid` of it went to debt."""

    bucket_id: str
    unit: str
    amount: int
    valid_from_us: int
    valid_until_us: int
    priority: int
    repaid: int


class BucketsAdded(msgspec.Struct, frozen=True, gc=False):
    """The buckets as they were granted."""

    buckets: tuple[BucketAdded, ...]


class GrantEnded(msgspec.Struct, frozen=True, gc=False):
    """The amounts by bucket that ended now."""

    expired: BucketAmounts


class ToppedUp(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Answer to a top-up; `repaid` of it paid debt."""

    repaid: int


class Returned(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A part of a price that went back: `amount` micro-units of `unit`.

    `outside` of it can't be given back here: it must go back to the payments of these references.
    """

    unit: str
    amount: int
    outside: int
    payment_references: tuple[str, ...]


class Ordered(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """An order: its state, "awaiting_payment", "completed" or "failed", and what it made."""

    order_id: str
    offering_id: str
    payment: Payment
    state: str
    subscription_id: str
    bucket_ids: tuple[str, ...]
    unit: str
    amount: int
    expires_us: int
    reason: str
    # Came back by a change to what costs less.
    returned: Returned | None = None


class TransferView(msgspec.Struct, frozen=True, gc=False):
    """A transfer: its state is "in_transit", "confirmed" or "returned"."""

    transfer_id: str
    state: str
    reason: str


class LimitLeft(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A limit on `subject` at this moment: `remaining` units are left beside those that are used and held."""

    subject: str
    limit: Limit
    used: int
    reserved: int
    remaining: int
    # The begin of its window; 0: it begins with the next call, or never ends.
    start_us: int
    # When it allows all again; 0: not known, or never.
    reset_us: int


class AccountView(msgspec.Struct, frozen=True, gc=False):
    """A copy of the account, without its memory of closed sessions, that later changes do not touch.

    For a key that asks, also what limits leave it, and the time from which on it may not be used (0: there is no end).
    """

    account: "Account"
    limits: tuple[LimitLeft, ...] = ()
    valid_until_us: int = 0


class OfferingHad(msgspec.Struct, frozen=True, gc=False):
    """Why the account may not buy the offering now; empty: it may."""

    remark: str


class RecordsFound(msgspec.Struct, frozen=True, gc=False):
    """The journal rows of a session's records."""

    sequence_numbers: tuple[int, ...]


class SpentBudget(msgspec.Struct, frozen=True, gc=False):
    """A run's budget in a unit, and the parts of it that are used and held."""

    unit: str
    amount: int
    used: int
    held: int


class RunView(msgspec.Struct, frozen=True, gc=False):
    """A run as it stands."""

    key_id: str
    parent_key_id: str
    budgets: tuple[SpentBudget, ...]
    opened_us: int
    ends_us: int
    # Empty: all models of the account.
    model_ids: tuple[str, ...]
    # 0: as many as its parent may have.
    parallel_calls: int
    calls: int


class RunsFound(msgspec.Struct, frozen=True, gc=False):
    """Runs, in the order of opening."""

    runs: tuple[RunView, ...]


class Done(msgspec.Struct, frozen=True, gc=False):
    """Due entries are applied."""


Answer = (
    Granted
    | KnownCall
    | Settled
    | Refused
    | Failed
    | BucketAdded
    | BucketsAdded
    | GrantEnded
    | ToppedUp
    | Ordered
    | Returned
    | TransferView
    | AccountView
    | OfferingHad
    | RecordsFound
    | RunsFound
    | Done
)


class Decision(NamedTuple):
    """A command's entries and answer."""

    entries: Sequence[Entry]
    answer: Answer


def some_of(names: Iterable[str]) -> str:
    """The first of these names, for a message: a catalog has hundreds, and a refusal must fit the head of an answer."""
    known = sorted(names)
    return ", ".join(known[:_NAMED_MAX]) + (", ..." if len(known) > _NAMED_MAX else "")


def fail(fault: Fault, message: str) -> Decision:
    """A decision without entries: the command is not carried out, and the answer says why."""
    return Decision((), Failed(fault, message))
