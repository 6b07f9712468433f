"""A transfer on its way to another replica: only a refusal comes back as one, and nothing else counts as arrived."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from services.accounting.cell.directory import Directory
from services.accounting.cell.server_groups import ServerGroup, ServerGroups
from services.accounting.core.commands import Fault, ReceiveTransfer
from services.accounting.core.entries import BucketGranted
from services.accounting.journal.memory import MemoryStore
from services.accounting.rpc.delivery import Delivery
from services.accounting.writer.owner import Owner, OwnerSettings
from services.accounting.writer.transfers import _REFUSALS
from services.runtime.clock import SystemClock
from services.runtime.errors import ServiceError
from tests.accounting.ledger import ACCOUNT_ID, DAY, START_US, UNIT
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

GIFT = ReceiveTransfer(
    ACCOUNT_ID,
    BucketGranted(ACCOUNT_ID, START_US, "bkt-1", "TOKEN", 4 * UNIT, START_US, START_US + DAY, 0, "gift", b"its digest", 0),
)


class Receiver(accounting_pb2_grpc.AccountingServiceServicer):
    """The other replica: takes what comes, or ends the call with `error`."""

    def __init__(self) -> None:
        self.error: ServiceError | grpc.StatusCode | None = None
        self.asked: list[pb.ReceiveTransferRequest] = []

    async def ReceiveTransfer(self, request: pb.ReceiveTransferRequest, context: Any) -> pb.ReceiveTransferResponse:
        self.asked.append(request)
        if isinstance(self.error, ServiceError):
            await context.abort_with_status(self.error.to_status())
        if self.error is not None:
            await context.abort(self.error, "scripted")
        return pb.ReceiveTransferResponse()


@pytest.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[Receiver]:
    made = Receiver()  # type: ignore[abstract]  # a replica is asked nothing else
    server = grpc.aio.server()
    accounting_pb2_grpc.add_AccountingServiceServicer_to_server(made, server)
    server.add_insecure_port(f"unix:{tmp_path}/there")
    await server.start()
    yield made
    await server.stop(0)


@pytest.fixture
async def delivery(tmp_path: Path) -> AsyncIterator[Delivery]:
    """To a partition that another replica owns."""
    store = MemoryStore()
    groups = ServerGroups([ServerGroup(Owner(store, SystemClock(), OwnerSettings("own", 1, 0, 1_000, 10, 1_000)), store)])
    directory = Directory()
    directory.own_address = f"unix:{tmp_path}/here"
    directory.update({0: f"unix:{tmp_path}/there"}, frozenset())
    yield Delivery(groups, directory)
    await directory.close()


async def test_what_the_other_replica_took_has_arrived(delivery: Delivery, receiver: Receiver) -> None:
    assert await delivery.deliver(GIFT) is None
    assert [(each.account_id, each.amount) for each in receiver.asked] == [(ACCOUNT_ID, 4 * UNIT)]


async def test_a_refusal_comes_back_as_it_was_said(delivery: Delivery, receiver: Receiver) -> None:
    receiver.error = ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, "there is no room for it")
    failed = await delivery.deliver(GIFT)
    assert failed is not None
    assert (failed.fault, failed.message) == (Fault.NOT_POSSIBLE, "there is no room for it")


@pytest.mark.parametrize(
    "error",
    [
        ServiceError(errors_pb2.ERROR_REASON_NOT_OWNER, "ask another"),
        ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, "the outcome is unknown"),
        # No reason of an account's owner.
        ServiceError(errors_pb2.ERROR_REASON_KEY_REVOKED, "your certificate is of yesterday"),
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.PERMISSION_DENIED,
    ],
    ids=str,
)
async def test_what_is_no_refusal_is_tried_again(
    delivery: Delivery, receiver: Receiver, error: ServiceError | grpc.StatusCode
) -> None:
    receiver.error = error
    failed = await delivery.deliver(GIFT)
    assert failed is not None
    assert failed.fault not in _REFUSALS


async def test_a_replica_that_is_away_has_refused_nothing(delivery: Delivery) -> None:
    failed = await delivery.deliver(GIFT)
    assert failed is not None
    assert failed.fault is Fault.UNAVAILABLE
