"""Accounting behind its server on a real database, with the registry that it needs, and a client of its stream."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder
from services.registry.config import RegistryConfig
from services.runtime.clients import answer, connect
from services.runtime.identifiers import uuid7
from services.runtime.lifecycle import Lifecycle
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.registry.v1 import registry_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
TOKEN = pb.UnitOfAmount(unit=registry_pb2.UNIT_TOKEN)
UNIT = 1_000_000
MODEL = "deepseek-chat"
# Of each call, so that one without an answer ends the test; a machine that is busy is no reason to give up.
DEADLINE_S = 60.0


def config_of(folder: Path, **changes: Any) -> AccountingConfig:
    return AccountingConfig(
        **{
            "listen_address": "127.0.0.1:0",
            "database": str(folder / "accounting.db"),
            "registry_address": f"unix:{folder / 'registry.sock'}",
            "partitions": 3,
            **changes,
        }
    )


@asynccontextmanager
async def registry(folder: Path) -> AsyncIterator[None]:
    """The registry with the base catalog, where `config_of` looks for it."""
    config = RegistryConfig(listen_address=f"unix:{folder / 'registry.sock'}", catalog_folders=[str(base_catalog_folder())])
    async with run_registry(config, Lifecycle()):
        yield


@asynccontextmanager
async def accounting(config: AccountingConfig) -> AsyncIterator["Client"]:
    """Accounting; its lifecycle must not have failed in the end."""
    lifecycle = Lifecycle()
    async with run_accounting(config, lifecycle) as address, connect(address) as channel:
        yield Client(channel, lifecycle)
    assert lifecycle.failure is None


@asynccontextmanager
async def cell(folder: Path, **changes: Any) -> AsyncIterator["Client"]:
    """Registry and accounting, which serves."""
    async with registry(folder), accounting(config_of(folder, **changes)) as client:
        await client.health(SERVING)
        yield client


class Client:
    """Stubs of one accounting service."""

    def __init__(self, channel: grpc.aio.Channel, lifecycle: Lifecycle) -> None:
        self.channel = channel
        self.lifecycle = lifecycle
        self.stub = accounting_pb2_grpc.AccountingServiceStub(channel)

    async def health(self, wanted: int) -> None:
        """Returns once the service's health is so."""
        call = health_pb2_grpc.HealthStub(self.channel).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        async for update in call:
            if update.status == wanted:
                call.cancel()
                return
        raise AssertionError(f"health never became {wanted}")

    async def status(self) -> int:
        """The service's health now."""
        request = health_pb2.HealthCheckRequest()
        status: int = (await health_pb2_grpc.HealthStub(self.channel).Check(request, timeout=DEADLINE_S)).status
        return status

    async def open(self, units: int = 0, *, offering_id: str = "") -> str:
        """A new account with so many TOKEN; its ID."""
        account_id = f"acct-{uuid7(time.time_ns() // 1_000).replace('-', '')}"
        await answer(
            self.stub.OpenAccount(pb.OpenAccountRequest(account_id=account_id, offering_id=offering_id), timeout=DEADLINE_S)
        )
        if units:
            await self.grant(account_id, units)
        return account_id

    async def grant(self, account_id: str, units: int, key: str = "first", seconds: int = 86_400) -> pb.GrantBucketResponse:
        request = pb.GrantBucketRequest(
            account_id=account_id, unit=TOKEN, amount=units * UNIT, valid_for=Duration(seconds=seconds), idempotency_key=key
        )
        return await answer(self.stub.GrantBucket(request, timeout=DEADLINE_S))

    async def account(self, account_id: str) -> pb.Account:
        return (await answer(self.stub.GetAccount(pb.GetAccountRequest(account_id=account_id), timeout=DEADLINE_S))).account

    async def records(self, account_id: str, charging_id: str) -> list[pb.JournalEntry]:
        request = pb.GetSessionRecordsRequest(account_id=account_id, charging_id=charging_id)
        return list((await answer(self.stub.GetSessionRecords(request, timeout=DEADLINE_S))).entries)

    async def journal(self, part_id: int, after: int = 0, to: int = 0) -> list[pb.JournalEntry]:
        request = pb.ReadJournalRequest(part_id=part_id, after_sequence_number=after, to_sequence_number=to)
        return [entry async for response in self.stub.ReadJournal(request, timeout=DEADLINE_S) for entry in response.entries]

    async def audit(self) -> pb.AuditResponse:
        return await answer(self.stub.Audit(pb.AuditRequest(), timeout=DEADLINE_S))

    @asynccontextmanager
    async def stream(self) -> AsyncIterator["Stream"]:
        stream = Stream(self.stub.Charge(timeout=DEADLINE_S))
        try:
            yield stream
        finally:
            stream.call.cancel()

    async def charge(self, *operations: pb.ChargeOperation) -> list[pb.ChargeResult]:
        """The results of operations sent together on a stream of their own, in the order of their IDs."""
        async with self.stream() as stream:
            return await stream.ask(*operations)


class Stream:
    """A charging stream."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.responses = 0

    async def send(self, *operations: pb.ChargeOperation) -> None:
        await self.call.write(pb.ChargeRequest(operations=operations))

    async def receive(self, count: int) -> list[pb.ChargeResult]:
        results: list[pb.ChargeResult] = []
        while len(results) < count:
            response = await self.call.read()
            assert isinstance(response, pb.ChargeResponse), "the stream ended early"
            self.responses += 1
            results += response.results
        return sorted(results, key=lambda result: result.operation_id)

    async def ask(self, *operations: pb.ChargeOperation) -> list[pb.ChargeResult]:
        await self.send(*operations)
        return await self.receive(len(operations))


def charging_id(ahead_ms: int = 0) -> str:
    """A new session's."""
    return uuid7(time.time_ns() // 1_000 + ahead_ms * 1_000)


def create(account_id: str, session: str, operation_id: int = 1, **fields: Any) -> pb.ChargeOperation:
    """A Create of 20 input and 40 output tokens."""
    values = {
        **{"model_id": MODEL, "key_id": "key-1", "member_id": "mbr-1", "input_tokens_bound": 20, "output_tokens_limit": 40},
        **fields,
    }
    return pb.ChargeOperation(
        operation_id=operation_id,
        account_id=account_id,
        charging_id=session,
        invocation_sequence_number=1,
        create=pb.CreateSession(**values),
    )


def update(account_id: str, session: str, number: int, operation_id: int = 1, wanted: int = 40, **used: int) -> pb.ChargeOperation:
    """An Update of so many tokens by class."""
    return pb.ChargeOperation(
        operation_id=operation_id,
        account_id=account_id,
        charging_id=session,
        invocation_sequence_number=number,
        update=pb.UpdateSession(used=pb.TokenUsage(**used), output_tokens_wanted=wanted),
    )


def release(account_id: str, session: str, number: int, operation_id: int = 1, **used: int) -> pb.ChargeOperation:
    """A Release of so many tokens by class, with one attempt."""
    return pb.ChargeOperation(
        operation_id=operation_id,
        account_id=account_id,
        charging_id=session,
        invocation_sequence_number=number,
        release=pb.ReleaseSession(
            used=pb.TokenUsage(**used),
            provenance=pb.USAGE_PROVENANCE_VENDOR,
            close_cause=pb.CLOSE_CAUSE_NORMAL,
            attempts=[pb.VendorAttempt(vendor_id="v", vendor_model_id="m", outcome="answered", http_status=200, duration_ms=12)],
        ),
    )


def event(account_id: str, session: str, operation_id: int = 1, number: int = 1, **used: int) -> pb.ChargeOperation:
    """An Event of so many tokens by class."""
    return pb.ChargeOperation(
        operation_id=operation_id,
        account_id=account_id,
        charging_id=session,
        invocation_sequence_number=number,
        event=pb.ChargeEvent(
            model_id=MODEL,
            key_id="key-1",
            member_id="mbr-1",
            used=pb.TokenUsage(**used),
            provenance=pb.USAGE_PROVENANCE_ESTIMATED,
            attempts=[],
        ),
    )
