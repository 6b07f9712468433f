"""A good request of every call of accounting, and what becomes of it when one field is bad."""

import copy
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from tests.accounting.one_cell import MODEL, UNIT, Client, cell, charging_id
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.errors.v1 import errors_pb2

SERVICE = pb.DESCRIPTOR.services_by_name["AccountingService"]
OPERATIONS = ("create", "update", "release", "event", "top_up")
USED = {"input": "10", "cached_input": "1", "cache_write": "1", "output": "5", "reasoning": "1"}
ATTEMPTS = [{"vendor_id": "vendor-1", "vendor_model_id": "model-1", "outcome": "answered", "http_status": 200, "duration_ms": "10"}]
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
        """Sends a request; "taken", or "REASON: sentence" of its refusal."""
        if call in OPERATIONS:
            return await self._operate(request)
        method = SERVICE.methods_by_name[call.split("/", maxsplit=1)[0]]
        message = json_format.ParseDict(request, getattr(pb, method.input_type.name)())
        try:
            if method.server_streaming:
                async for _ in getattr(self.client.stub, method.name)(message, timeout=10):
                    if method.name == "WatchOwners":
                        # It ends only with the service.
                        break
            else:
                await answer(getattr(self.client.stub, method.name)(message, timeout=10))
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
            case "refused":
                return pb.ResultCode.Name(result.refused.result_code).removeprefix("RESULT_CODE_")
        return "taken"

    def fresh(self, call: str) -> dict[str, Any]:
        """The call's good request, as a new one and no repeat."""
        request = self.bases[call]
        if call in ("create", "event"):
            request = changed(request, "charging_id", charging_id())
        if "idempotency_key" in request:
            request = changed(request, "idempotency_key", charging_id())
        if "transfer_id" in request:
            request = changed(request, "transfer_id", charging_id())
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


async def _bases(client: Client) -> tuple[dict[str, dict[str, Any]], str]:
    account_id = await client.open(10_000)
    other_id = await client.open(10)
    money = {"unit": "UNIT_CURRENCY", "currency": "CNY"}

    async def ask(name: str, request: dict[str, Any]) -> Any:
        message = json_format.ParseDict(request, getattr(pb, f"{name}Request")())
        return await answer(getattr(client.stub, name)(message, timeout=10))

    grant = {"account_id": account_id, "unit": money, "amount": str(100 * UNIT), "valid_for": "864000s"}
    await ask("GrantBucket", {**grant, "idempotency_key": "money"})
    pack = {"account_id": account_id, "offering_id": "pack-400k", "payment_method": "PAYMENT_METHOD_EXTERNAL"}
    orders = [(await ask("PlaceOrder", {**pack, "idempotency_key": f"pack-{number}"})).order.order_id for number in range(2)]
    monthly = {"account_id": account_id, "offering_id": "personal-10m", "payment_method": "PAYMENT_METHOD_PREPAID"}
    subscriptions = [
        (await ask("PlaceOrder", {**monthly, "idempotency_key": f"monthly-{number}"})).order.subscription_id for number in range(2)
    ]
    in_use = (await client.account(account_id)).buckets
    bucket_id = next(each.bucket_id for each in in_use if each.granted == 10_000 * UNIT)
    giving_id = next(each.bucket_id for each in in_use if each.subscription_id == subscriptions[1])
    # A settled session that can be refunded, one that is open, and debt on an account of its own.
    settled, opened, refused = charging_id(), charging_id(), charging_id()
    indebted_id = await client.open(1)

    def operation(kind: str, session: str, number: int, fields: dict[str, Any], owner: str = account_id) -> dict[str, Any]:
        return {
            **{"operation_id": "7", "account_id": owner, "charging_id": session, "invocation_sequence_number": number},
            kind: fields,
        }

    who = {"model_id": MODEL, "key_id": "key-1", "member_id": "mbr-1"}
    create = {**who, "input_tokens_bound": "20", "output_tokens_limit": "40", "output_metered": True, "input_tokens_expected": "10"}
    release = {
        **{"used": USED, "provenance": "USAGE_PROVENANCE_VENDOR", "close_cause": "CLOSE_CAUSE_NORMAL"},
        "attempts": ATTEMPTS,
    }
    event = {**who, "used": USED, "provenance": "USAGE_PROVENANCE_VENDOR", "attempts": ATTEMPTS}
    for each in (
        operation("create", settled, 1, create),
        operation("release", settled, 2, release),
        operation("create", opened, 1, create),
        operation("event", charging_id(), 1, event, indebted_id),
        operation("create", refused, 1, create, indebted_id),
    ):
        await client.charge(json_format.ParseDict(each, pb.ChargeOperation()))
    record = (await client.records(account_id, settled))[0].sequence_number
    key = {"idempotency_key": "a-key-of-its-own"}
    reason = {"reason": "a complaint, ticket 17"}
    limit = {"limit_id": "rpm", "per": "LIMIT_SCOPE_KEY"}
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86_400))
    bases: dict[str, dict[str, Any]] = {
        "create": operation("create", charging_id(), 1, create),
        "update": operation("update", opened, 2, {"used": USED, "output_tokens_wanted": "40"}),
        "release": operation("release", opened, 3, release),
        "event": operation("event", charging_id(), 1, event),
        "top_up": {
            **{"operation_id": "7", "account_id": account_id},
            "top_up": {"bucket_id": bucket_id, "amount": str(UNIT), **key},
        },
        "OpenAccount": {"account_id": "acct-tobeopened", "offering_id": "default"},
        "GetAccount": {"account_id": account_id},
        "GrantBucket": {
            **grant,
            **key,
            **reason,
            "valid_from_time": later,
            "priority": 5,
            "model_group": "",
        },
        "RefundSession": {
            **{"account_id": account_id, "charging_id": settled, "sequence_number": str(record), "record_sequence_number": 1},
            **{"amount": str(UNIT), "valid_for": "864000s", **reason, **key},
        },
        "ReduceBucket": {"account_id": account_id, "bucket_id": bucket_id, "amount": str(UNIT), **reason, **key},
        "WriteOffDebt": {"account_id": indebted_id, "unit": {"unit": "UNIT_TOKEN"}, "amount": str(UNIT), **reason, **key},
        "PlaceOrder": {**pack, **key},
        "ConfirmPayment": {"account_id": account_id, "order_id": orders[0], "payment_reference": "receipt 4711"},
        "CancelOrder": {"account_id": account_id, "order_id": orders[1], **reason},
        "ChangeSubscription": {
            **{"account_id": account_id, "subscription_id": subscriptions[0], "offering_id": "personal-30m"},
            **{"payment_method": "PAYMENT_METHOD_PREPAID", "at_once": True, **key},
        },
        "CancelSubscription": {"account_id": account_id, "subscription_id": subscriptions[1], "at_once": False},
        "SendTransfer": {"account_id": account_id, "to_account_id": other_id, "bucket_id": giving_id, "amount": str(UNIT), **key},
        "SetLimits": {
            "account_id": account_id,
            "subject_limits": {
                "subject": "key:key-1",
                "limits": [{**limit, "request_rate": {"requests_per_minute": "60", "burst": "10"}}],
                "valid_until_time": later,
            },
        },
        "ExplainRefusal": {"charging_id": refused},
        "GetSessionRecords": {"account_id": account_id, "charging_id": settled},
        "ReceiveTransfer": {
            **{"account_id": account_id, "transfer_id": "trf-1", "digest": "AAAA", "unit": money, "amount": str(UNIT)},
            **{"valid_from_us": "0", "valid_until_us": str(time.time_ns() // 1_000 + 86_400_000_000), "priority": 5},
        },
        "WatchOwners": {},
        "ListPartitions": {},
        "MovePartition": {"part_id": 0},
        "ReadJournal": {"part_id": 0, "after_sequence_number": "0", "to_sequence_number": "0"},
        "Audit": {},
    }
    for kind, value in LIMIT_KINDS.items():
        of_kind = {"usage" if kind == "calendar_window" else kind: value}
        bases[f"SetLimits/{kind}"] = changed(bases["SetLimits"], "subject_limits.limits[0]", {**limit, **of_kind})
    return bases, account_id
