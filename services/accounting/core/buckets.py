"""Grants buckets, and repays debt from them first. Pure."""

from typing import Final

import msgspec

from services.accounting.core.account.state import Account, Bucket
from services.accounting.core.amounts import GRANTED_MAX, in_unit
from services.accounting.core.commands import BucketAdded, Decision, Fault, fail
from services.accounting.core.entries import BucketGranted, DebtRepaid, Entry

# An account has at most this many buckets that have not ended, because each is looked at for every call.
BUCKETS_MAX: Final = 1_000


def bucket_entries(account: Account, granted: BucketGranted, repaid_before: int = 0) -> list[Entry]:
    """A grant, and the repayment of debt that it makes. `repaid_before`: the amount that other grants of the decision repay."""
    debt = account.debts.get(granted.unit)
    # A bucket that is not valid yet pays no debt, because it could not be spent either.
    repaid = 0
    if debt and granted.valid_from_us <= granted.time_us:
        repaid = max(0, min(granted.amount, debt.outstanding - repaid_before))
    if not repaid:
        return [granted]
    return [
        msgspec.structs.replace(granted, repaid=repaid),
        DebtRepaid(account.account_id, granted.time_us, granted.bucket_id, granted.unit, repaid),
    ]


def no_room(account: Account, unit: str, amount: int) -> Decision | None:
    """Why an account can't get another bucket of `amount`; None when it can."""
    if (full := too_much(account, unit, amount)) is not None:
        return full
    if len(account.burn_order) >= BUCKETS_MAX:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the account has {BUCKETS_MAX} buckets that have not ended; wait for one to end, or grant larger ones",
        )
    return None


def too_much(account: Account, unit: str, amount: int) -> Decision | None:
    """Why an account can't be granted `amount` more of a unit; None when it can."""
    if sum(bucket.granted for bucket in account.buckets.values() if bucket.unit == unit) + amount > GRANTED_MAX:
        return fail(Fault.AMOUNT_OVERFLOW, f"the grants of the unit would come to more than {in_unit(GRANTED_MAX, unit)}")
    return None


def granting(account: Account, granted: BucketGranted) -> Decision:
    """A grant and its answer."""
    entries = bucket_entries(account, granted)
    first = entries[0]
    assert isinstance(first, BucketGranted)
    return Decision(entries, added(first))


def known_bucket(known: Bucket, digest: bytes, idempotency_key: str) -> Decision:
    """The answer to a grant whose bucket is there already."""
    if known.digest != digest:
        return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {idempotency_key} was used for another grant")
    return Decision((), added(known))


def added(source: Bucket | BucketGranted) -> BucketAdded:
    """A bucket as it was granted."""
    return BucketAdded(
        bucket_id=source.bucket_id,
        unit=source.unit,
        amount=source.granted if isinstance(source, Bucket) else source.amount,
        valid_from_us=source.valid_from_us,
        valid_until_us=source.valid_until_us,
        priority=source.priority,
        repaid=source.repaid,
    )
