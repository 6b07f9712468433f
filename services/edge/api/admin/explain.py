"""One call from its request to its bill, over HTTP, for the operator: from journal, refusals, records and account.

A charging_id does not name its account, but has the time at which the request came. Rows of the journal are in the order of time:
the place where a call began is found by halving.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Final, TypeAlias

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery

from services.edge.api.account_json import AMOUNTS_IN, rfc3339, rfc3339_of_us, unit_json, usage_json
from services.edge.api.admin.limits import refusal_json
from services.edge.api.me import class_charges_json, receipt_json
from services.edge.http.problems import malformed, not_found
from services.partitions import partition_of
from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7_time_us
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2, billing_pb2_grpc
from tokenline.errors.v1 import errors_pb2

_TIMEOUT_S: Final = 60.0
_S: Final = 1_000_000
# Where a call begins, in microseconds after the time of its charging_id: first where nearly all begin, then where those do that
# had to wait, then as far off as accounting takes a Create. A busy cell has thousands of calls in each second.
_SEARCHED: Final = ((-_S // 10, _S // 2), (-2 * _S, 6 * _S), (-15 * 60 * _S, 15 * 60 * _S))
_SEARCHED_AT_ONCE: Final = 8
_UNKNOWN: Final = frozenset({errors_pb2.ERROR_REASON_RECORD_UNKNOWN, errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN})

_Accounting: TypeAlias = "accounting_pb2_grpc.AccountingServiceAsyncStub"
_Billing: TypeAlias = "billing_pb2_grpc.BillingServiceAsyncStub"


def explain_routes(accounting: _Accounting, billing: _Billing) -> list[HTTPRouteHandler]:
    """The route, without the guard that opens it."""

    @get("/calls/{charging_id:str}")
    async def explain(charging_id: FromPath[str], account_id: FromQuery[str] = "") -> dict[str, Any]:
        if uuid7_time_us(charging_id) is None:
            message = (
                f"{charging_id!r} is no charging_id: it is the x-request-id of a call, a UUID of version 7 in lower-case text."
            )
            raise malformed("charging_id", message, "invalid_value")
        explained = await explained_call(accounting, billing, charging_id, account_id)
        if explained is None:
            raise not_found("record_not_found", nothing_known(charging_id, account_id), "charging_id")
        return explained

    return [explain]


def nothing_known(charging_id: str, account_id: str) -> str:
    """A sentence for a call that left no trace."""
    where = f" of account {account_id}" if account_id else ""
    return (
        f"Nothing is known of call {charging_id}{where}: the journal has no session of it, and no refusal of it is remembered; "
        "the last refusals are kept until accounting restarts, and requests that were turned away before that leave none."
    )


async def explained_call(accounting: _Accounting, billing: _Billing, charging_id: str, account_id: str) -> dict[str, Any] | None:
    """All that is known of a call, of `account_id` where that is given; None: nothing is. Errors: `ServiceError`."""
    refusal = await _refusal(accounting, charging_id)
    if refusal is not None and account_id not in ("", refusal.account_id):
        return None
    account_id = account_id or (refusal.account_id if refusal else "")
    entries = await _entries(accounting, charging_id, account_id)
    if not entries:
        if refusal is None:
            return None
        return {**_head(charging_id, refusal.account_id, "refused"), "refusal": refusal_json(charging_id, refusal)}
    account_id = entries[0].account_id
    created = next((each.session_created for each in entries if each.HasField("session_created")), None)
    records = await _records(billing, charging_id, entries)
    try:
        account = (await answer(accounting.GetAccount(pb.GetAccountRequest(account_id=account_id), timeout=_TIMEOUT_S))).account
    except ServiceError as error:
        if error.reason not in _UNKNOWN:
            raise
        account = pb.Account()
    named = _buckets_named(entries, records)
    units = {bucket_id: unit_json(unit) for bucket_id, unit in _units(account, created, records).items()}
    wholesale = next(
        (each.entry.session_settled.wholesale for each in records if each.entry.session_settled.HasField("wholesale")), None
    )
    return {
        **_head(charging_id, account_id, "settled" if records else "open"),
        "request": _request_json(created, _label(entries)) if created else None,
        "grants": [
            {**_grant_json(each), "hold": [_held_json(part, units) for part in _held(each)]}
            for each in entries
            if each.HasField("session_created") or each.HasField("session_updated")
        ],
        "receipt": receipt_json(records) if records else None,
        "vendor_charge": _wholesale_json(wholesale) if wholesale else None,
        "buckets": [_origin_json(bucket) for bucket in account.buckets if bucket.bucket_id in named],
        "refunds": [
            {"bucket_id": bucket.bucket_id, **unit_json(bucket.unit), "amount": bucket.granted}
            for bucket in account.buckets
            if bucket.source.startswith("refund:") and bucket.source.split("/")[1:2] == [charging_id]
        ],
    }


def _head(charging_id: str, account_id: str, state: str) -> dict[str, Any]:
    return {
        "object": "explained_call",
        **AMOUNTS_IN,
        "charging_id": charging_id,
        "account_id": account_id,
        "state": state,
        "requested_at": rfc3339_of_us(uuid7_time_us(charging_id) or 0),
        "request": None,
        "refusal": None,
        "grants": [],
        "receipt": None,
        "vendor_charge": None,
        "buckets": [],
        "refunds": [],
    }


async def _refusal(accounting: _Accounting, charging_id: str) -> pb.ExplainRefusalResponse | None:
    try:
        explaining = pb.ExplainRefusalRequest(charging_id=charging_id)
        return await answer(accounting.ExplainRefusal(explaining, timeout=_TIMEOUT_S))
    except ServiceError as error:
        if error.reason not in _UNKNOWN:
            raise
        return None


async def _entries(accounting: _Accounting, charging_id: str, account_id: str) -> list[pb.JournalEntry]:
    """The call's entries, from its beginning to the row that settles it or the journal's end; none of a late Release."""
    listed = (await answer(accounting.ListPartitions(pb.ListPartitionsRequest(), timeout=_TIMEOUT_S))).partitions
    wanted = [each for each in listed if not account_id or each.part_id == partition_of(account_id, len(listed))]
    came_us = uuid7_time_us(charging_id) or 0
    at_once = asyncio.Semaphore(_SEARCHED_AT_ONCE)

    async def search(partition: pb.Partition, begin_us: int, end_us: int) -> tuple[pb.Partition, int | None]:
        async with at_once:
            return partition, await _row_of(accounting, partition, charging_id, begin_us, end_us)

    for begin_us, end_us in _SEARCHED:
        searches = [asyncio.create_task(search(each, came_us + begin_us, came_us + end_us)) for each in wanted]
        try:
            for searched in asyncio.as_completed(searches):
                partition, row = await searched
                if row is not None:
                    found = await _from_row(accounting, partition, charging_id, row)
                    return found if account_id in ("", found[0].account_id) else []
        finally:
            # One has found it, or has failed.
            for each in searches:
                each.cancel()
            await asyncio.gather(*searches, return_exceptions=True)
    return []


async def _row_of(accounting: _Accounting, partition: pb.Partition, charging_id: str, begin_us: int, end_us: int) -> int | None:
    """The row in which a call begins, where that is between two times; None: there is none in this partition."""
    after = await _last_row_before(accounting, partition, begin_us)
    async with aclosing(_read(accounting, partition, after)) as entries:
        async for entry in entries:
            if entry.time_us > end_us:
                return None
            if _charging_id(entry) == charging_id:
                return entry.sequence_number
    return None


async def _last_row_before(accounting: _Accounting, partition: pb.Partition, time_us: int) -> int:
    """The last row of an earlier time; 0: there is none."""
    low, high = 0, partition.last_sequence_number
    while low < high:
        middle = (low + high + 1) // 2
        request = pb.ReadJournalRequest(part_id=partition.part_id, after_sequence_number=middle - 1, to_sequence_number=middle)
        times = [
            each.time_us async for response in accounting.ReadJournal(request, timeout=_TIMEOUT_S) for each in response.entries
        ]
        if times and times[0] < time_us:
            low = middle
        else:
            high = middle - 1
    return low


async def _from_row(accounting: _Accounting, partition: pb.Partition, charging_id: str, row: int) -> list[pb.JournalEntry]:
    found = []
    async with aclosing(_read(accounting, partition, row - 1)) as entries:
        async for entry in entries:
            if _charging_id(entry) == charging_id:
                found.append(entry)
                if entry.HasField("session_settled") and not entry.session_settled.more_records:
                    break
    return found


async def _read(accounting: _Accounting, partition: pb.Partition, after: int) -> AsyncGenerator[pb.JournalEntry]:
    if after >= partition.last_sequence_number:
        return
    request = pb.ReadJournalRequest(
        part_id=partition.part_id, after_sequence_number=after, to_sequence_number=partition.last_sequence_number
    )
    call = accounting.ReadJournal(request, timeout=_TIMEOUT_S)
    try:
        async for response in call:
            for entry in response.entries:
                yield entry
    finally:
        call.cancel()


def _charging_id(entry: pb.JournalEntry) -> str:
    return str(getattr(getattr(entry, entry.WhichOneof("fact") or "account_opened"), "charging_id", ""))


async def _records(billing: _Billing, charging_id: str, entries: Sequence[pb.JournalEntry]) -> Sequence[billing_pb2.ReceiptRecord]:
    """The call's records, a late Release's too; without their numbers where billing cannot be asked."""
    settled = [billing_pb2.ReceiptRecord(entry=each) for each in entries if each.HasField("session_settled")]
    if not settled:
        return []
    request = billing_pb2.GetReceiptRequest(account_id=entries[0].account_id, charging_id=charging_id)
    try:
        return (await answer(billing.GetReceipt(request, timeout=_TIMEOUT_S))).records
    except ServiceError:
        return settled


def _held(entry: pb.JournalEntry) -> Sequence[pb.BucketAmount]:
    return entry.session_created.hold if entry.HasField("session_created") else entry.session_updated.hold_added


def _buckets_named(entries: Sequence[pb.JournalEntry], records: Sequence[billing_pb2.ReceiptRecord]) -> set[str]:
    held = {part.bucket_id for entry in entries for part in _held(entry)}
    return held | {part.bucket_id for record in records for part in record.entry.session_settled.debits}


def _units(
    account: pb.Account, created: pb.SessionCreated | None, records: Sequence[billing_pb2.ReceiptRecord]
) -> dict[str, pb.UnitOfAmount]:
    """Units of buckets; of those that are gone, as far as records name them, or the session's tariff."""
    units = {created.hold[0].bucket_id: created.unit} if created and created.hold else {}
    for record in records:
        settled = record.entry.session_settled
        units |= {part.bucket_id: settled.unit for part in (*settled.debits, *settled.released)}
    return units | {bucket.bucket_id: bucket.unit for bucket in account.buckets}


def _held_json(part: pb.BucketAmount, units: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"bucket_id": part.bucket_id, **units.get(part.bucket_id, {"unit": None, "currency": None}), "amount": part.amount}


def _label(entries: Sequence[pb.JournalEntry]) -> str:
    return next((each.call_labelled.run_label for each in entries if each.HasField("call_labelled")), "")


def _request_json(created: pb.SessionCreated, run_label: str) -> dict[str, Any]:
    return {
        "model_id": created.model_id,
        "key_id": created.key_id,
        "member_id": created.member_id,
        "run_label": run_label or None,
        "offering_id": created.offering_id or None,
        "tariff_id": created.tariff_id or None,
        "tariff_version": created.tariff_version or None,
        **unit_json(created.unit),
        "input_tokens_bound": created.input_tokens_bound,
        "input_tokens_reserved": created.input_tokens_reserved,
        "output_tokens_limit": created.output_tokens_limit,
        "reserved_for": "likely_cost" if created.likely else "worst_case",
        "limits": list(created.counter_ids),
    }


def _grant_json(entry: pb.JournalEntry) -> dict[str, Any]:
    first = entry.HasField("session_created")
    grant = entry.session_created if first else entry.session_updated
    return {
        "granted_at": rfc3339_of_us(entry.time_us),
        "sequence_number": entry.sequence_number,
        "kind": "reservation" if first else "extension",
        "used": None if first else {name: count for name, count in usage_json(entry.session_updated.used).items() if count},
        "output_tokens_granted": grant.output_tokens_granted,
        "output_tokens_payable": grant.output_tokens_payable,
        "final": grant.final,
    }


def _wholesale_json(wholesale: pb.WholesaleCharge) -> dict[str, Any]:
    return {
        "vendor_id": wholesale.vendor_id,
        "vendor_model_id": wholesale.vendor_model_id,
        "tariff_id": wholesale.tariff_id,
        "tariff_version": wholesale.tariff_version,
        **unit_json(wholesale.unit),
        "amount": wholesale.amount,
        "class_charges": class_charges_json(wholesale.class_charges),
    }


def _origin_json(bucket: pb.Bucket) -> dict[str, Any]:
    return {
        "bucket_id": bucket.bucket_id,
        **unit_json(bucket.unit),
        "offering_id": bucket.offering_id or None,
        "source": bucket.source or "top-up",
        "valid_until": rfc3339(bucket.valid_until_time),
        "postpaid": bucket.postpaid,
    }
