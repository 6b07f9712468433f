"""The journal's entries: facts that changed an account. What is written here stays readable for ever.

Entries are msgpack arrays whose first element is the tag. Fields are only ever added at the end, with a default; a tag is
never used again for something else. Times are microseconds since 1970, amounts micro-units.
"""

import msgspec

from services.accounting.amounts import PinnedTariff, TokenUsage

# (bucket_id, amount) pairs in burn order.
BucketAmounts = tuple[tuple[str, int], ...]


class VendorAttempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One try to get the answer from a vendor."""

    vendor_id: str
    vendor_model_id: str
    outcome: str
    http_status: int
    duration_ms: int


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
    # What of it repaid debt; the DebtRepaid entry behind this one moves it.
    repaid: int


class DebtRepaid(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """A bucket paid a debt of its unit."""

    account_id: str
    time_us: int
    bucket_id: str
    unit: str
    amount: int


class BucketExpired(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """A bucket's validity ended; `amount` is what remained. What is held then goes to expired when it is freed."""

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


class SessionUpdated(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """A session reported usage, renewed its validity and perhaps holds more."""

    account_id: str
    time_us: int
    charging_id: str
    number: int
    digest: bytes
    used: TokenUsage
    output_granted: int
    output_payable: int
    output_threshold: int
    final: bool
    hold_added: BucketAmounts


class SessionSettled(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """A session, an event, or a late Release of a swept session was charged; becomes a CDR.

    `charged` = sum of `held_debits` and `free_debits` plus `debt`, all of this record; `usage` and `class_amounts` are
    cumulative over the session.
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
    usage: TokenUsage
    class_amounts: tuple[int, int, int, int, int]
    charged: int
    held_debits: BucketAmounts
    free_debits: BucketAmounts
    released: BucketAmounts
    debt: int
    close_cause: int
    provenance: int
    attempts: tuple[VendorAttempt, ...]
    created_us: int


Entry = AccountOpened | BucketGranted | DebtRepaid | BucketExpired | SessionCreated | SessionUpdated | SessionSettled
