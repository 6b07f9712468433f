"""A good request of every call of accounting, and what becomes of it when one field is bad."""

import copy
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from tests.accounting.one_cell import MODEL, UNIT, Client, cell, charging_id
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

SERVICE = pb.DESCRIPTOR.services_by_name["AccountingService"]
OPERATIONS = ("create", "update", "release", "event", "top_up")
USED = {"input": "10", "cached_input": "1", "cache_write": "1", "output": "5", "reasoning": "1"}
ATTEMPTS = [{"vendor_id": "vendor-1", "vendor_model_id": "model-1", "outcome": "answered", "http_status": 200, "duration_ms": "10"}]
WHO = {"model_id": MODEL, "key_id": "key-1", "member_id": "mbr-1"}
CREATE = {**WHO, "input_tokens_bound": "20", "output_tokens_limit": "40", "output_metered": True, "input_tokens_expected": "10"}
RELEASE = {
    **{"used": USED, "provenance": "USAGE_PROVENANCE_VENDOR", "close_cause": "CLOSE_CAUSE_NORMAL"},
    "attempts": ATTEMPTS,
}
UPDATE = {"used": USED, "output_tokens_wanted": "40", "attempts": ATTEMPTS}
EVENT = {**WHO, "used": USED, "provenance": "USAGE_PROVENANCE_VENDOR", "attempts": ATTEMPTS}
KEY = {"idempotency_key": "a-key-of-its-own"}
REASON = {"reason": "a complaint, ticket 17"}
MONEY = {"unit": "UNIT_CURRENCY", "currency": "CNY"}
LIMIT = {"limit_id": "rpm", "per": "LIMIT_SCOPE_KEY"}
# Values that a table can't hold as they are.
LONG = {"201 letters": "x" * 201, "501 letters": "x" * 501, "a line break": "line\nbreak"}
# The other kinds of a limit: calls of their own here, with the fields of that kind.
LIMIT_KINDS: dict[str, Any] = {
    "token_rate": {"tokens_per_minute": "60", "burst": "10"},
    "concurrent_sessions": 3,
    "usage": {"amount": "1000000", "unit": "UNIT_CURRENCY", "currency": "CNY", "window_seconds": "3600"},
    "calendar_window": {"amount": "1000000", "unit": "UNIT_TOKEN", "calendar_window": "PERIOD_DAY"},
}
# The calls that are administrative commands: they say who gives them.
ADMINISTRATIVE = tuple(each.name for each in SERVICE.methods if "actor" in each.input_type.fields_by_name)
ACTOR = {"subject": "administrator", "proof": "admin_token", "role": "operator"}
WELL_KNOWN = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})


class Rejections:
    """A running accounting service, and an account on which every base request would be taken."""

    def __init__(self, client: Client, bases: dict[str, dict[str, Any]], account_id: str) -> None:
        self.client = client
        self.bases = bases
        self.account_id = account_id

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator["Rejections"]:
        async with cell(folder) as client:
            bases, account_id = await _bases(client)
            for call in ADMINISTRATIVE:
                bases[call]["actor"] = ACTOR
            yield cls(client, bases, account_id)

    async def ask(self, call: str, request: dict[str, Any]) -> str:
        """Sends a request; "taken", or "REASON: sentence" of its refusal, or "known_call"."""
        if call in OPERATIONS:
            return await self._operate(request)
        method = SERVICE.methods_by_name[call.split("/", maxsplit=1)[0]]
        message = json_format.ParseDict(request, getattr(pb, method.input_type.name)())
        try:
            if method.server_streaming:
                async for _ in getattr(self.client.stub, method.name)(message, timeout=WAIT_S):
                    if method.name == "WatchOwners":
                        # It ends only with the service.
                        break
            else:
                await answer(getattr(self.client.stub, method.name)(message, timeout=WAIT_S))
        except ServiceError as error:
            return _said(error.reason, error.message)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return "taken"

    async def _operate(self, request: dict[str, Any]) -> str:
        (result,) = await self.client.charge(json_format.ParseDict(request, pb.ChargeOperation()))
        match result.WhichOneof("result"):
            case "error":
                return _said(result.error.reason, result.error.message)
            case "known_call":
                return "known_call"
            case "refused":
                return pb.ResultCode.Name(result.refused.result_code).removeprefix("RESULT_CODE_")
        return "taken"

    def fresh(self, call: str) -> dict[str, Any]:
        """The call's good request, as a new one and no repeat."""
        request = self.bases[call]
        if call in ("create", "event"):
            request = changed(request, "charging_id", charging_id())
        if "idempotency_key" in request and call != "EndGrant":
            request = changed(request, "idempotency_key", charging_id())
        if "transfer_id" in request:
            request = changed(request, "transfer_id", charging_id())
        if call == "OpenRun":
            request = changed(request, "key_id", charging_id())
        if call == "top_up":
            request = changed(request, "top_up.idempotency_key", charging_id())
        return request

    async def with_field(self, call: str, field: str, value: Any) -> str:
        """What is said to the call's good request with one field changed."""
        return await self.ask(call, changed(self.fresh(call), field, LONG.get(value, value) if isinstance(value, str) else value))

    async def entries(self) -> int:
        """How many entries the journal has."""
        return int((await self.client.audit()).entries)


def _said(reason: int, message: str) -> str:
    return f"{errors_pb2.ErrorReason.Name(reason).removeprefix('ERROR_REASON_')}: {message}"


def changed(request: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy of the request with the value at a path like "used.input" or "limits[0].per"; "missing" takes it away."""
    request = copy.deepcopy(request)
    place: Any = request
    *path, last = field.replace("[0]", ".0").split(".")
    for step in path:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    key: Any = int(last) if last.isdigit() else last
    if value == "missing":
        del place[key]
    else:
        place[key] = value
    return request


def fields(descriptor: Any, before: str = "") -> Iterator[tuple[str, FieldDescriptor]]:
    """The paths of all fields that carry a value."""
    for field in descriptor.fields:
        path = f"{before}{field.name}"
        if field.message_type is None or field.message_type.full_name in WELL_KNOWN:
            yield path, field
        else:
            yield from fields(field.message_type, f"{path}[0]." if field.is_repeated else f"{path}.")


def call_fields(call: str) -> Iterator[tuple[str, FieldDescriptor]]:
    """The fields of a call, of an operation of the charging stream, or of a kind of limit."""
    if call in OPERATIONS:
        for path, field in fields(pb.ChargeOperation.DESCRIPTOR):
            kind = path.split(".")[0]
            if kind == call or kind not in OPERATIONS:
                yield path, field
        return
    method, _, kind = call.partition("/")
    for path, field in fields(SERVICE.methods_by_name[method].input_type):
        of_a_kind = [each for each in LIMIT_KINDS if (method == "SetLimits" and f"[0].{each}" in path) or path.endswith(f".{each}")]
        if of_a_kind[-1:] == ([kind] if kind else []):
            yield path, field


def calls() -> list[str]:
    """All calls, the operations of the charging stream in the place of the stream."""
    kinds = [f"SetLimits/{kind}" for kind in LIMIT_KINDS]
    return [*OPERATIONS, *(method.name for method in SERVICE.methods if method.name != "Charge"), *kinds]


class _Made(NamedTuple):
    """An account, and all that its good requests name: a bucket, orders, subscriptions, and a session in each state."""

    account_id: str
    other_id: str
    indebted_id: str
    bucket_id: str
    giving_id: str
    orders: Sequence[str]
    subscriptions: Sequence[str]
    settled: str
    opened: str
    refused: str
    # The journal row of the settled session's record.
    record: int


def _grant_to(account_id: str) -> dict[str, Any]:
    return {"account_id": account_id, "unit": MONEY, "amount": str(100 * UNIT), "valid_for": "864000s"}


def _pack_for(account_id: str) -> dict[str, Any]:
    return {"account_id": account_id, "offering_id": "pack-400k", "payment_method": "PAYMENT_METHOD_EXTERNAL"}


def _run_of(account_id: str) -> dict[str, Any]:
    return {
        **{"account_id": account_id, "key_id": "key-minted", "parent_key_id": "key-issued", "member_id": "mbr-1"},
        **{"budgets": [{"unit": MONEY, "amount": str(UNIT)}], "valid_for": "3600s", "model_ids": [MODEL], "parallel_calls": 3},
    }


def _operation(kind: str, account_id: str, session: str, number: int, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        **{"operation_id": "7", "account_id": account_id, "charging_id": session, "invocation_sequence_number": number},
        kind: fields,
    }


async def _make(client: Client) -> _Made:
    account_id = await client.open(10_000)
    other_id = await client.open(10)

    async def ask(name: str, request: dict[str, Any]) -> Any:
        message = json_format.ParseDict(request, getattr(pb, f"{name}Request")())
        return await answer(getattr(client.stub, name)(message, timeout=WAIT_S))

    await ask("GrantBucket", {**_grant_to(account_id), "idempotency_key": "money"})
    bundle = {"account_id": account_id, "offering_id": "broadband-bundle", "idempotency_key": "bundle"}
    await ask("GrantAllowances", bundle)
    pack = _pack_for(account_id)
    orders = [(await ask("PlaceOrder", {**pack, "idempotency_key": f"pack-{number}"})).order.order_id for number in range(2)]
    monthly = {"account_id": account_id, "offering_id": "personal-10m", "payment_method": "PAYMENT_METHOD_PREPAID"}
    subscriptions = [
        (await ask("PlaceOrder", {**monthly, "idempotency_key": f"monthly-{number}"})).order.subscription_id for number in range(3)
    ]
    in_use = (await client.account(account_id)).buckets
    bucket_id = next(each.bucket_id for each in in_use if each.granted == 10_000 * UNIT)
    giving_id = next(each.bucket_id for each in in_use if each.subscription_id == subscriptions[1])
    await ask("OpenRun", {**_run_of(account_id), "key_id": "key-agent"})
    # A settled session that can be refunded, one that is open, and debt on an account of its own.
    settled, opened, refused = charging_id(), charging_id(), charging_id()
    indebted_id = await client.open(1)
    for each in (
        _operation("create", account_id, settled, 1, CREATE),
        _operation("release", account_id, settled, 2, RELEASE),
        _operation("create", account_id, opened, 1, CREATE),
        _operation("event", indebted_id, charging_id(), 1, EVENT),
        _operation("create", indebted_id, refused, 1, CREATE),
    ):
        await client.charge(json_format.ParseDict(each, pb.ChargeOperation()))
    record = (await client.records(account_id, settled))[0].sequence_number
    return _Made(account_id, other_id, indebted_id, bucket_id, giving_id, orders, subscriptions, settled, opened, refused, record)


def _operations(made: _Made) -> dict[str, dict[str, Any]]:
    return {
        "create": _operation("create", made.account_id, charging_id(), 1, CREATE),
        "update": _operation("update", made.account_id, made.opened, 2, UPDATE),
        "release": _operation("release", made.account_id, made.opened, 3, RELEASE),
        "event": _operation("event", made.account_id, charging_id(), 1, EVENT),
        "top_up": {
            **{"operation_id": "7", "account_id": made.account_id},
            "top_up": {"bucket_id": made.bucket_id, "amount": str(UNIT), **KEY},
        },
    }


def _corrections(made: _Made, later: str) -> dict[str, dict[str, Any]]:
    account = {"account_id": made.account_id}
    return {
        "GrantBucket": {
            **_grant_to(made.account_id),
            **KEY,
            **REASON,
            "valid_from_time": later,
            "priority": 5,
            "model_group": "",
        },
        "RefundSession": {
            **{**account, "charging_id": made.settled, "sequence_number": str(made.record), "record_sequence_number": 1},
            **{"amount": str(UNIT), "valid_for": "864000s", **REASON, **KEY},
        },
        "ReduceBucket": {**account, "bucket_id": made.bucket_id, "amount": str(UNIT), **REASON, **KEY},
        "WriteOffDebt": {"account_id": made.indebted_id, "unit": {"unit": "UNIT_TOKEN"}, "amount": str(UNIT), **REASON, **KEY},
        "SetLimits": {
            **account,
            "subject_limits": {
                "subject": "key:key-1",
                "limits": [{**LIMIT, "request_rate": {"requests_per_minute": "60", "burst": "10"}}],
                "valid_until_time": later,
            },
        },
    }


def _sales(made: _Made) -> dict[str, dict[str, Any]]:
    account = {"account_id": made.account_id}
    return {
        "GrantAllowances": {
            **{**account, "offering_id": "broadband-bundle", "allowance_id": "bundle", **KEY},
            "valid_until_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400)),
        },
        "EndGrant": {**account, "idempotency_key": "bundle"},
        "PlaceOrder": {**_pack_for(made.account_id), **KEY},
        "ConfirmPayment": {**account, "order_id": made.orders[0], "payment_reference": "receipt 4711"},
        "CancelOrder": {**account, "order_id": made.orders[1], **REASON},
        "ChangeSubscription": {
            **{**account, "subscription_id": made.subscriptions[0], "offering_id": "personal-30m"},
            **{"payment_method": "PAYMENT_METHOD_PREPAID", "at_once": True, **KEY},
        },
        "HasOffering": {**account, "offering_id": "pack-400k"},
        "CancelSubscription": {**account, "subscription_id": made.subscriptions[1], "at_once": False},
        "RefundPurchase": {**account, "purchase_id": made.subscriptions[2], **REASON, **KEY},
        "SendTransfer": {**account, "to_account_id": made.other_id, "bucket_id": made.giving_id, "amount": str(UNIT), **KEY},
    }


async def _bases(client: Client) -> tuple[dict[str, dict[str, Any]], str]:
    made = await _make(client)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    bases: dict[str, dict[str, Any]] = {
        **_operations(made),
        "OpenAccount": {"account_id": "acct-tobeopened", "offering_id": "default"},
        "GetAccount": {"account_id": made.account_id},
        "GetUsage": {"account_id": made.account_id, "key_id": "key-1", "member_id": "mbr-1"},
        **_corrections(made, later),
        **_sales(made),
        "OpenRun": _run_of(made.account_id),
        "EndRuns": {"account_id": made.account_id, "key_id": "key-agent"},
        "ListRuns": {"account_id": made.account_id, "key_id": "key-issued"},
        "ExplainRefusal": {"charging_id": made.refused},
        "GetSessionRecords": {"account_id": made.account_id, "charging_id": made.settled},
        "ReceiveTransfer": {
            **{"account_id": made.account_id, "transfer_id": "trf-1", "digest": "AAAA", "unit": MONEY, "amount": str(UNIT)},
            **{"valid_from_us": "0", "valid_until_us": str(time.time_ns() // 1_000 + 86_400_000_000), "priority": 5},
        },
        "WatchOwners": {},
        "ListPartitions": {},
        "MovePartition": {"part_id": 0},
        "ReadJournal": {"part_id": 0, "after_sequence_number": "0", "to_sequence_number": "0"},
        "Audit": {},
        "ListBurning": {"window_seconds": 60, "account_limit": 1},
    }
    for kind, value in LIMIT_KINDS.items():
        of_kind = {"usage" if kind == "calendar_window" else kind: value}
        bases[f"SetLimits/{kind}"] = changed(bases["SetLimits"], "subject_limits.limits[0]", {**LIMIT, **of_kind})
    return bases, made.account_id
