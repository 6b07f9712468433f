"""Transfers between accounts over HTTP, for the operator."""

from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.admin.body import Amount, Name, parse
from services.edge.api.admin.command import give
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc


class _Transfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to_account_id: Name
    bucket_id: Name
    amount: Amount
    idempotency_key: Name


def transfer_routes(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @post("/accounts/{account_id:str}/transfers")
    async def send_transfer(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Transfer)
        sending = pb.SendTransferRequest(
            account_id=account_id,
            to_account_id=wanted.to_account_id,
            bucket_id=wanted.bucket_id,
            amount=wanted.amount,
            idempotency_key=wanted.idempotency_key,
        )
        sent = await give(request, accounting.SendTransfer, sending)
        return {"transfer_id": sent.transfer_id, "state": sent.state, "remark": sent.remark}

    return [send_transfer]


def transfer_json(transfer: pb.Transfer) -> dict[str, Any]:
    """One transfer."""
    return {
        "transfer_id": transfer.transfer_id,
        "to_account_id": transfer.to_account_id,
        "bucket_id": transfer.bucket_id,
        "amount": transfer.amount,
        "state": transfer.state,
        "remark": transfer.remark or None,
    }
