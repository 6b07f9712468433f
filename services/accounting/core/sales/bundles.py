"""Allowances that come with another product of the operator, whose own system grants and ends them. Pure."""

from collections.abc import Iterable

import msgspec

from services.accounting.core.account.state import Account, Bucket
from services.accounting.core.buckets import added
from services.accounting.core.commands import (
    BucketsAdded,
    Decision,
    EndGrant,
    Fault,
    GrantAllowances,
    GrantEnded,
    digest_of,
    fail,
    some_of,
)
from services.accounting.core.entries import BucketExpired, BucketGranted
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sales.openings import allowance_entries
from services.accounting.core.sales.prices import first_cycle, no_room_for
from services.accounting.core.terms import Terms


def grant_allowances(account: Account, command: GrantAllowances, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Adds the buckets of a free offering's allowances; they repay debt of their unit first."""
    digest = digest_of(command)
    if known := _buckets_of(account, command.idempotency_key):
        if known[0].digest != digest:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key {command.idempotency_key} was used for another grant")
        return _granted(known)
    terms = _bundled(command, catalog)
    if isinstance(terms, Decision):
        return terms
    if 0 < command.valid_until_us <= now_us:
        return fail(Fault.INVALID_ARGUMENT, "valid_until lies in the past; give a later time, or none for the offering's own")
    if (full := no_room_for(account, terms)) is not None:
        return full
    span = first_cycle(terms, now_us)
    if command.valid_until_us:
        span = span._replace(end_us=command.valid_until_us, part=1, whole=1)
    entries = [
        msgspec.structs.replace(entry, idempotency_key=command.idempotency_key, digest=digest)
        if isinstance(entry, BucketGranted)
        else entry
        for entry in allowance_entries(account, terms, _source(command.idempotency_key), "", span)
    ]
    return Decision(entries, _granted(entry for entry in entries if isinstance(entry, BucketGranted)).answer)


def end_grant(account: Account, command: EndGrant, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Ends a grant's buckets; holds on them are settled as always."""
    known = _buckets_of(account, command.idempotency_key)
    if not known:
        return fail(
            Fault.ITEM_UNKNOWN,
            f"no grant {command.idempotency_key!r} is on account {account.account_id}; it is known for 90 days after its end",
        )
    ended = [BucketExpired(account.account_id, now_us, bucket.bucket_id, bucket.remaining) for bucket in known if not bucket.ended]
    return Decision(ended, GrantEnded(tuple((each.bucket_id, each.amount) for each in ended)))


def _bundled(command: GrantAllowances, catalog: ChargingCatalog) -> Terms | Decision:
    """The terms with the allowances that are granted."""
    offering_id, allowance_id = command.offering_id, command.allowance_id
    rules = catalog.offerings.get(offering_id)
    if rules is None or rules.terms is None or not rules.terms.allowances:
        return fail(Fault.OFFERING_UNKNOWN, f"no offering {offering_id!r} with allowances is in the catalog")
    terms = rules.terms
    allowances = tuple(each for each in terms.allowances if allowance_id in ("", each.allowance_id))
    if not allowances:
        names = some_of(each.allowance_id for each in terms.allowances)
        return fail(Fault.ITEM_UNKNOWN, f"offering {offering_id} has no allowance {allowance_id!r}; it has {names}")
    if terms.price or terms.once or any(each.postpaid for each in allowances):
        return fail(
            Fault.NOT_POSSIBLE,
            f"offering {offering_id} has a price, is sold once, or has a credit line: it is ordered, not granted",
        )
    return msgspec.structs.replace(terms, allowances=allowances)


def _source(idempotency_key: str) -> str:
    return f"grant:{idempotency_key}"


def _buckets_of(account: Account, idempotency_key: str) -> list[Bucket]:
    source = _source(idempotency_key)
    return [bucket for bucket in account.buckets.values() if bucket.source == source]


def _granted(buckets: Iterable[Bucket | BucketGranted]) -> Decision:
    return Decision((), BucketsAdded(tuple(map(added, buckets))))
