"""Balances put right over HTTP, by the operator: grants, refunds, reductions, write-offs."""

from typing import Annotated, Any, Literal

import msgspec
from google.protobuf.duration_pb2 import Duration
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN, bucket_json
from services.edge.api.admin.body import AMOUNT_MAX, DAY_S, Amount, Name, Reason, ValidDays, parse, wrong
from services.edge.api.admin.command import give
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

_Unit = Literal["TOKEN", "POINT", "CURRENCY"]
_Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")]


class _BucketToGrant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit: _Unit
    amount: Amount
    valid_days: ValidDays
    idempotency_key: Name
    currency: _Currency | None = None
    priority: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0


class _Refund(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    charging_id: Name
    sequence_number: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
    amount: Amount
    valid_days: ValidDays
    reason: Reason
    idempotency_key: Name
    record_sequence_number: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1


class _Reduction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bucket_id: Name
    amount: Amount
    reason: Reason
    idempotency_key: Name


class _WriteOff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit: _Unit
    amount: Amount
    reason: Reason
    idempotency_key: Name
    currency: _Currency | None = None


def correction_routes(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @post("/accounts/{account_id:str}/buckets")
    async def grant_bucket(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _BucketToGrant)
        granting = pb.GrantBucketRequest(
            account_id=account_id,
            unit=_unit_of(wanted.unit, wanted.currency),
            amount=wanted.amount,
            valid_for=Duration(seconds=wanted.valid_days * DAY_S),
            priority=wanted.priority,
            idempotency_key=wanted.idempotency_key,
        )
        granted = await give(request, accounting.GrantBucket, granting)
        return {**AMOUNTS_IN, **bucket_json(granted.bucket), "repaid_amount": granted.repaid_amount}

    @post("/accounts/{account_id:str}/refunds")
    async def refund(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Refund)
        refunding = pb.RefundSessionRequest(
            account_id=account_id,
            charging_id=wanted.charging_id,
            sequence_number=wanted.sequence_number,
            record_sequence_number=wanted.record_sequence_number,
            amount=wanted.amount,
            valid_for=Duration(seconds=wanted.valid_days * DAY_S),
            reason=wanted.reason,
            idempotency_key=wanted.idempotency_key,
        )
        refunded = await give(request, accounting.RefundSession, refunding)
        return {**AMOUNTS_IN, **bucket_json(refunded.bucket), "repaid_amount": refunded.repaid_amount}

    @post("/accounts/{account_id:str}/reductions")
    async def reduce_bucket(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Reduction)
        reducing = pb.ReduceBucketRequest(
            account_id=account_id,
            bucket_id=wanted.bucket_id,
            amount=wanted.amount,
            reason=wanted.reason,
            idempotency_key=wanted.idempotency_key,
        )
        await give(request, accounting.ReduceBucket, reducing)
        return {**AMOUNTS_IN, "bucket_id": wanted.bucket_id, "amount": wanted.amount}

    @post("/accounts/{account_id:str}/write-offs")
    async def write_off(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _WriteOff)
        writing_off = pb.WriteOffDebtRequest(
            account_id=account_id,
            unit=_unit_of(wanted.unit, wanted.currency),
            amount=wanted.amount,
            reason=wanted.reason,
            idempotency_key=wanted.idempotency_key,
        )
        await give(request, accounting.WriteOffDebt, writing_off)
        return {**AMOUNTS_IN, "unit": wanted.unit, "currency": wanted.currency, "amount": wanted.amount}

    return [grant_bucket, refund, reduce_bucket, write_off]


def _unit_of(unit: str, currency: str | None) -> pb.UnitOfAmount:
    """Errors: `Problem` 400 for a currency without CURRENCY, or none with it."""
    if (currency is not None) != (unit == "CURRENCY"):
        raise wrong("currency")
    return pb.UnitOfAmount(unit=f"UNIT_{unit}", currency=currency or "")
