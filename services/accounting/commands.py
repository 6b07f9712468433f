"""What can be asked of an account, and what it answers."""

from enum import IntEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from services.accounting.amounts import TokenUsage
from services.accounting.entries import VendorAttempt

if TYPE_CHECKING:
    from services.accounting.account import Account


class ResultCode(IntEnum):
    """Why nothing was granted; the numbers of the protobuf contract."""

    QUOTA_LIMIT_REACHED = 2
    END_USER_SERVICE_DENIED = 3
    RATING_FAILED = 4


class CloseCause(IntEnum):
    """Why a session ended; the numbers of the protobuf contract."""

    NORMAL = 1
    QUOTA_EXHAUSTED = 2
    CLIENT_GONE = 3
    VENDOR_ERROR = 4
    SWEPT = 5
    REJECTED = 6


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
    RECORD_UNKNOWN = 16
    UNAVAILABLE = 18
    INTERNAL = 19


class OpenAccount(msgspec.Struct, frozen=True, gc=False):
    """Opens an account on an offering."""

    account_id: str
    offering_id: str


class GrantBucket(msgspec.Struct, frozen=True, gc=False):
    """Adds a bucket of `amount` micro-units, valid for `valid_for_us` from `valid_from_us` (None: from now)."""

    account_id: str
    unit: str
    amount: int
    valid_from_us: int | None
    valid_for_us: int
    priority: int
    idempotency_key: str


class CreateSession(msgspec.Struct, frozen=True, gc=False):
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


class UpdateSession(msgspec.Struct, frozen=True, gc=False):
    """Reports cumulative usage, wants `output_wanted` cumulative output tokens, renews the validity."""

    account_id: str
    charging_id: str
    number: int
    used: TokenUsage
    output_wanted: int


class ReleaseSession(msgspec.Struct, frozen=True, gc=False):
    """Ends a session with its cumulative usage."""

    account_id: str
    charging_id: str
    number: int
    used: TokenUsage
    provenance: Provenance
    close_cause: CloseCause
    attempts: tuple[VendorAttempt, ...]


class ChargeEvent(msgspec.Struct, frozen=True, gc=False):
    """Charges usage that had no session."""

    account_id: str
    charging_id: str
    number: int
    model_id: str
    key_id: str
    member_id: str
    used: TokenUsage
    provenance: Provenance
    attempts: tuple[VendorAttempt, ...]


class ReadAccount(msgspec.Struct, frozen=True, gc=False):
    """Asks for the account as it is."""

    account_id: str


class FindRecords(msgspec.Struct, frozen=True, gc=False):
    """Asks where a closed session's records stand in the journal."""

    account_id: str
    charging_id: str


class ApplyDue(msgspec.Struct, frozen=True, gc=False):
    """Asks for nothing but that what is due is applied."""

    account_id: str


Command = (
    OpenAccount | GrantBucket | CreateSession | UpdateSession | ReleaseSession | ChargeEvent | ReadAccount | FindRecords | ApplyDue
)

_encode = msgspec.msgpack.Encoder().encode


def digest_of(command: Command) -> bytes:
    """Eight bytes that differ when a repeat's content does."""
    return blake2b(_encode(command), digest_size=8).digest()


class Granted(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Quota for cumulative `output_granted` output tokens is held."""

    output_granted: int
    output_payable: int
    output_threshold: int
    validity_us: int
    final: bool
    offering_id: str


class Settled(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`charged` micro-units of `unit` were charged, `debt` of them covered by no bucket."""

    unit: str
    charged: int
    debt: int


class Refused(msgspec.Struct, frozen=True, gc=False):
    """Nothing was granted and nothing changed; `held` says that others' holds are the only reason."""

    code: ResultCode
    unit: str
    needed: int
    free: int
    reserved: int
    held: bool


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


class AccountView(msgspec.Struct, frozen=True, gc=False):
    """A copy of the account, without its memory of closed sessions, that later changes do not touch."""

    account: "Account"


class RecordsFound(msgspec.Struct, frozen=True, gc=False):
    """The journal rows of a session's records."""

    sequence_numbers: tuple[int, ...]


class Done(msgspec.Struct, frozen=True, gc=False):
    """What was due is applied."""


Answer = Granted | Settled | Refused | Failed | BucketAdded | AccountView | RecordsFound | Done
