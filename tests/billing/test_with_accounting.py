"""Billing beside the accounting that really charges: registry, accounting and billing, each behind its server."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc
from google.protobuf.duration_pb2 import Duration

from services.accounting.app import run_accounting
from services.accounting.config import AccountingConfig
from services.billing.app import run_billing
from services.billing.config import BillingConfig
from services.registry.app import run_registry
from services.registry.config import RegistryConfig
from services.runtime.clients import answer, connect
from services.runtime.identifiers import uuid7
from services.runtime.lifecycle import Lifecycle
from tests.billing.journals import TOKEN
from tests.billing.test_billing import SERVING, reconcile, wait_for_health
from tests.registry.catalogs import CATALOG, write
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2, billing_pb2_grpc


@asynccontextmanager
async def cell(folder: Path) -> AsyncIterator[tuple[grpc.aio.Channel, grpc.aio.Channel]]:
    """Accounting's and billing's channels; billing starts first and waits for the others."""
    lifecycle = Lifecycle()
    accounting_address = f"unix:{folder / 'accounting.sock'}"
    registry_address = f"unix:{folder / 'registry.sock'}"
    async with AsyncExitStack() as stack:
        billing = BillingConfig(
            listen_address="127.0.0.1:0",
            database=str(folder / "billing.db"),
            cdr_folder=str(folder / "cdrs"),
            accounting_address=accounting_address,
            export_interval_ms=20,
        )
        billing_channel = await stack.enter_async_context(connect(await stack.enter_async_context(run_billing(billing, lifecycle))))
        registry = RegistryConfig(listen_address=registry_address, catalog_folders=[str(folder / "catalog")])
        await stack.enter_async_context(run_registry(registry, lifecycle))
        accounting = AccountingConfig(
            listen_address=accounting_address,
            database=str(folder / "accounting.db"),
            registry_address=registry_address,
            partitions=3,
        )
        address = await stack.enter_async_context(run_accounting(accounting, lifecycle))
        accounting_channel = await stack.enter_async_context(connect(address))
        await wait_for_health(accounting_channel, SERVING)
        await wait_for_health(billing_channel, SERVING)
        yield accounting_channel, billing_channel
    assert lifecycle.failure is None


async def charge(channel: grpc.aio.Channel, operations: list[accounting_pb2.ChargeOperation]) -> None:
    """Sends the operations and waits for their answers; each must be granted or settled."""
    call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge(timeout=WAIT_S)
    await call.write(accounting_pb2.ChargeRequest(operations=operations))
    waiting = {operation.operation_id for operation in operations}
    while waiting:
        response = await call.read()
        assert isinstance(response, accounting_pb2.ChargeResponse), "the stream ended early"
        for result in response.results:
            assert result.WhichOneof("result") in ("granted", "settled"), result
            waiting.remove(result.operation_id)
    await call.done_writing()


def session(account_id: str, charging_id: str, operation_id: int, output_tokens: int) -> list[accounting_pb2.ChargeOperation]:
    """Create and Release of one model call."""
    create = accounting_pb2.CreateSession(
        model_id="small", key_id="key-1", member_id="mbr-1", input_tokens_bound=20, output_tokens_limit=100
    )
    release = accounting_pb2.ReleaseSession(
        used=accounting_pb2.TokenUsage(input=15, cached_input=5, output=output_tokens),
        provenance=accounting_pb2.USAGE_PROVENANCE_VENDOR,
        close_cause=accounting_pb2.CLOSE_CAUSE_NORMAL,
        attempts=[
            accounting_pb2.VendorAttempt(vendor_id="acme", vendor_model_id="acme-small", outcome="answered", http_status=200)
        ],
    )
    return [
        accounting_pb2.ChargeOperation(
            operation_id=operation_id, account_id=account_id, charging_id=charging_id, invocation_sequence_number=1, create=create
        ),
        accounting_pb2.ChargeOperation(
            operation_id=operation_id + 1,
            account_id=account_id,
            charging_id=charging_id,
            invocation_sequence_number=2,
            release=release,
        ),
    ]


async def test_what_accounting_settled_is_exported_and_reconciles_over_a_restart(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    write(tmp_path / "catalog", CATALOG)
    account_ids = [f"acct-{number:016x}" for number in range(8)]
    charging_ids: dict[str, list[str]] = {account_id: [] for account_id in account_ids}
    for start in range(2):
        async with cell(tmp_path) as (accounting_channel, billing_channel):
            accounting = accounting_pb2_grpc.AccountingServiceStub(accounting_channel)
            for account_id in account_ids:
                await answer(accounting.OpenAccount(accounting_pb2.OpenAccountRequest(account_id=account_id), timeout=WAIT_S))
                grant = accounting_pb2.GrantBucketRequest(
                    account_id=account_id,
                    unit=TOKEN,
                    amount=1_000_000_000,
                    valid_for=Duration(seconds=86_400),
                    idempotency_key=f"top-up {start}",
                )
                await answer(accounting.GrantBucket(grant, timeout=WAIT_S))
            for round_number in range(5):
                operations: list[accounting_pb2.ChargeOperation] = []
                for account_id in account_ids:
                    charging_id = uuid7(time.time_ns() // 1_000)
                    charging_ids[account_id].append(charging_id)
                    operations += session(account_id, charging_id, len(operations), output_tokens=round_number * 10)
                await charge(accounting_channel, operations)
            found = await reconcile(billing_channel)
            assert list(found.differences) == []
            assert found.cdrs == (start + 1) * 40
            billing = billing_pb2_grpc.BillingServiceStub(billing_channel)
            for account_id in account_ids:
                request = billing_pb2.GetReceiptRequest(account_id=account_id, charging_id=charging_ids[account_id][3])
                (record,) = (await answer(billing.GetReceipt(request, timeout=WAIT_S))).records
                assert record.record_number > 0
                assert record.entry.session_settled.charged_amount == 50_000_000
