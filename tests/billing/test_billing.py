"""The service as a whole: a real server, a real database, a scripted accounting."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.billing.app import run_billing
from services.billing.config import BillingConfig
from services.billing.exporter import EraMismatchError
from services.partitions import partition_of
from services.runtime.clients import answer, connect
from services.runtime.clock import timestamp
from services.runtime.config import ConfigError, parse_yaml
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tests.billing.journals import ACCOUNT_ID, CNY, CREATE_TIME_US, TOKEN, ScriptedAccounting, charging_id, settled
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.billing.v1 import billing_pb2 as pb
from tokenline.billing.v1 import billing_pb2_grpc
from tokenline.errors.v1 import errors_pb2

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def config_of(tmp_path: Path, accounting_address: str, export_interval_ms: int = 20) -> BillingConfig:
    return BillingConfig(
        listen_address="127.0.0.1:0",
        database=str(tmp_path / "billing.db"),
        cdr_folder=str(tmp_path / "cdrs"),
        accounting_address=accounting_address,
        export_interval_ms=export_interval_ms,
    )


@asynccontextmanager
async def running(config: BillingConfig) -> AsyncIterator[tuple[grpc.aio.Channel, Lifecycle]]:
    lifecycle = Lifecycle()
    async with run_billing(config, lifecycle) as address, connect(address) as channel:
        yield channel, lifecycle


async def wait_for_health(channel: grpc.aio.Channel, status: int) -> None:
    call = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
    try:
        async for update in call:
            if update.status == status:
                return
    finally:
        call.cancel()
    raise AssertionError(f"health never became {status}")


async def receipt(channel: grpc.aio.Channel, number: int, account_id: str = ACCOUNT_ID) -> list[pb.ReceiptRecord]:
    request = pb.GetReceiptRequest(account_id=account_id, charging_id=charging_id(number))
    response = await answer(billing_pb2_grpc.BillingServiceStub(channel).GetReceipt(request, timeout=WAIT_S))
    return list(response.records)


async def reconcile(channel: grpc.aio.Channel) -> pb.ReconcileResponse:
    stub = billing_pb2_grpc.BillingServiceStub(channel)
    return await answer(stub.Reconcile(pb.ReconcileRequest(), timeout=WAIT_S))


async def test_it_serves_only_once_accounting_has_answered(tmp_path: Path, accounting: ScriptedAccounting) -> None:
    address = f"unix:{tmp_path / 'accounting.sock'}"
    async with running(config_of(tmp_path, address)) as (channel, lifecycle):
        await wait_for_health(channel, NOT_SERVING)
        server = GrpcServer(["tokenline.accounting.v1.AccountingService"])
        accounting_pb2_grpc.add_AccountingServiceServicer_to_server(accounting, server.server)
        accounting.append(0, settled(1))
        async with server.listen(address, drain_grace_s=0):
            await wait_for_health(channel, SERVING)
            found = await reconcile(channel)
            assert (found.entries, found.cdrs, found.files, list(found.differences)) == (1, 1, 1, [])
        assert lifecycle.failure is None


async def test_a_receipt_comes_from_the_index_once_exported(
    tmp_path: Path, accounting: ScriptedAccounting, accounting_address: str
) -> None:
    accounting.append(1, settled(8))
    (entry,) = accounting.append(1, settled(9))
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await reconcile(channel)
        (record,) = await receipt(channel, 9)
        assert (record.entry, record.record_number) == (entry, 2)
        with pytest.raises(ServiceError) as error:
            await receipt(channel, 9, account_id="acct-ffffffffffffffff")
        assert error.value.reason_name == "RECORD_UNKNOWN"


async def test_a_receipt_comes_from_accounting_until_then(
    tmp_path: Path, accounting: ScriptedAccounting, accounting_address: str
) -> None:
    async with running(config_of(tmp_path, accounting_address, export_interval_ms=3_600_000)) as (channel, _):
        await reconcile(channel)
        (entry,) = accounting.append(1, settled(9))
        accounting.remember([entry])
        (record,) = await receipt(channel, 9)
        assert (record.entry, record.record_number) == (entry, 0)
        with pytest.raises(ServiceError) as error:
            await receipt(channel, 9, account_id="acct-ffffffffffffffff")
        assert error.value.reason_name == "RECORD_UNKNOWN"


async def test_a_late_record_of_a_swept_session_is_on_the_receipt_before_it_is_exported(
    tmp_path: Path, accounting: ScriptedAccounting, accounting_address: str
) -> None:
    (swept,) = accounting.append(1, settled(9, close_cause=accounting_pb2.CLOSE_CAUSE_SWEPT))
    async with running(config_of(tmp_path, accounting_address, export_interval_ms=3_600_000)) as (channel, _):
        await reconcile(channel)
        assert [record.record_number for record in await receipt(channel, 9)] == [1]
        (late,) = accounting.append(
            1, settled(9, output_tokens=4, record_sequence_number=2, charged_amount=1_000_000, debits=[], debt_amount=1_000_000)
        )
        accounting.remember([swept, late])
        records = await receipt(channel, 9)
        assert [(record.record_number, record.entry) for record in records] == [(1, swept), (0, late)]
        await reconcile(channel)
        assert [record.record_number for record in await receipt(channel, 9)] == [1, 2]


@pytest.mark.parametrize(("account_id", "session", "field"), [("", charging_id(1), "account_id"), (ACCOUNT_ID, "", "charging_id")])
async def test_a_receipt_request_must_name_account_and_session(
    tmp_path: Path, accounting_address: str, account_id: str, session: str, field: str
) -> None:
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        request = pb.GetReceiptRequest(account_id=account_id, charging_id=session)
        with pytest.raises(ServiceError, match=f"{field} is missing") as error:
            await answer(billing_pb2_grpc.BillingServiceStub(channel).GetReceipt(request, timeout=WAIT_S))
        assert error.value.reason_name == "INVALID_ARGUMENT"


async def test_receipts_outlive_accounting_and_a_restart(
    tmp_path: Path, accounting: ScriptedAccounting, accounting_address: str
) -> None:
    accounting.append(1, settled(9))
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await reconcile(channel)
    async with running(config_of(tmp_path, f"unix:{tmp_path / 'nobody.sock'}")) as (channel, _):
        assert [record.record_number for record in await receipt(channel, 9)] == [1]
        with pytest.raises(ServiceError) as error:
            await receipt(channel, 10)
        assert error.value.reason_name == "UNAVAILABLE"
        with pytest.raises(ServiceError) as error:
            await reconcile(channel)
        assert error.value.reason_name == "UNAVAILABLE"


async def test_a_journal_of_an_era_before_ends_the_process(
    tmp_path: Path, accounting: ScriptedAccounting, accounting_address: str
) -> None:
    accounting.era = 2
    accounting.append(1, settled(9))
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await reconcile(channel)
    accounting.era = 1
    async with running(config_of(tmp_path, accounting_address)) as (channel, lifecycle):
        await asyncio.wait_for(lifecycle.wait(), WAIT_S)
        assert isinstance(lifecycle.failure, EraMismatchError)
        await wait_for_health(channel, NOT_SERVING)


async def test_an_altered_file_is_told_by_reconcile(
    tmp_path: Path, accounting: ScriptedAccounting, accounting_address: str
) -> None:
    accounting.append(1, settled(9))
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        assert not (await reconcile(channel)).differences
        (path,) = (tmp_path / "cdrs").glob("*.jsonl.gz")
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b"model-a", b"model-b")))
        label = f"partition 1: CDR 1 of charging_id {charging_id(9)}"
        assert list((await reconcile(channel)).differences) == [
            f"partition 1: {path.name} was altered: its checksum is not the one it was written with",
            f"{label}: model_id model-b in the file, model-a in the journal",
        ]


def test_the_config_names_what_is_wrong() -> None:
    text = "listen_address: a\ndatabase: b\ncdr_folder: c\naccounting_address: d\nexport_interval_ms: 5\n"
    with pytest.raises(ConfigError, match="export_interval_ms must be 10 to 3600000"):
        parse_yaml(text, BillingConfig, "billing.yaml")


# Statements


def statement_request(**fields: Any) -> pb.GetStatementRequest:
    times = {"from_time": timestamp(CREATE_TIME_US), "until_time": timestamp(CREATE_TIME_US + 10_000_000)}
    return pb.GetStatementRequest(**{"account_id": ACCOUNT_ID, **times, **fields})


async def test_a_statement_waits_for_what_is_not_exported_yet(
    accounting: ScriptedAccounting, accounting_address: str, tmp_path: Path
) -> None:
    part_id = partition_of(ACCOUNT_ID, 4)
    async with running(config_of(tmp_path, accounting_address, export_interval_ms=3_600_000)) as (channel, _):
        await wait_for_health(channel, SERVING)
        accounting.append(part_id, settled(1))
        accounting.append(part_id, accounting_pb2.DebtWrittenOff(unit=TOKEN, amount=4_000_000, reason="goodwill"))
        statement = await answer(billing_pb2_grpc.BillingServiceStub(channel).GetStatement(statement_request(), timeout=WAIT_S))
    (total,) = statement.totals
    assert (total.calls, total.usage, total.charges, total.charged) == (1, 13_000_000, -4_000_000, 9_000_000)
    assert (total.balance, total.owed) == (13_000_000, -4_000_000)
    assert [(charge.kind, charge.remark) for charge in statement.charges] == [("write_off", "goodwill")]


async def test_a_statement_has_all_charges_or_is_refused(
    accounting: ScriptedAccounting, accounting_address: str, tmp_path: Path
) -> None:
    part_id = partition_of(ACCOUNT_ID, 4)
    debit = accounting_pb2.BucketAmount(bucket_id="bkt-1", amount=1)
    async with running(config_of(tmp_path, accounting_address, export_interval_ms=3_600_000)) as (channel, _):
        await wait_for_health(channel, SERVING)
        billing = billing_pb2_grpc.BillingServiceStub(channel)
        accounting.append(part_id, accounting_pb2.PriceCharged(order_id="ord-1", unit=CNY, debits=[debit] * 10_000))
        statement = await answer(billing.GetStatement(statement_request(), timeout=WAIT_S))
        assert (len(statement.charges), statement.totals[0].charged) == (10_000, 10_000)
        accounting.append(part_id, accounting_pb2.DebtWrittenOff(unit=TOKEN, amount=4_000_000, reason="goodwill"))
        with pytest.raises(ServiceError, match="more than 10,000 charges in that time; ask for a shorter one"):
            await answer(billing.GetStatement(statement_request(), timeout=WAIT_S))


async def test_a_statement_of_a_partition_that_is_not_exported_is_refused_and_of_others_is_not(
    accounting: ScriptedAccounting, accounting_address: str, tmp_path: Path
) -> None:
    part_id = partition_of(ACCOUNT_ID, 4)
    other = next(name for name in map("acct-{:016x}".format, range(99)) if partition_of(name, 4) != part_id)
    broken = accounting.append(part_id, settled(1))
    broken[0].session_settled.ClearField("close_cause")
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await wait_for_health(channel, SERVING)
        billing = billing_pb2_grpc.BillingServiceStub(channel)
        with pytest.raises(ServiceError, match=f"not exported yet .partition {part_id}: .*run the release that knows it") as caught:
            await answer(billing.GetStatement(statement_request(), timeout=WAIT_S))
        assert caught.value.reason == errors_pb2.ERROR_REASON_UNAVAILABLE
        assert (await answer(billing.GetStatement(statement_request(account_id=other), timeout=WAIT_S))).totals == []
        asked = pb.GetVendorStatementRequest(
            vendor_id="acme", from_time=timestamp(CREATE_TIME_US), until_time=timestamp(CREATE_TIME_US + 1)
        )
        with pytest.raises(ServiceError, match=f"partition {part_id}"):
            await answer(billing.GetVendorStatement(asked, timeout=WAIT_S))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"account_id": ""}, "account_id is missing"),
        ({"from_time": None}, "from_time and until_time must be given"),
        ({"until_time": timestamp(CREATE_TIME_US)}, "until_time must be after from_time"),
    ],
)
async def test_a_statement_of_no_time_is_refused(
    accounting_address: str, tmp_path: Path, fields: dict[str, Any], message: str
) -> None:
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await wait_for_health(channel, SERVING)
        with pytest.raises(ServiceError, match=message) as caught:
            await answer(billing_pb2_grpc.BillingServiceStub(channel).GetStatement(statement_request(**fields), timeout=WAIT_S))
    assert caught.value.reason == errors_pb2.ERROR_REASON_INVALID_ARGUMENT


async def test_a_receipt_of_an_order_is_its_accounts_alone(
    accounting: ScriptedAccounting, accounting_address: str, tmp_path: Path
) -> None:
    accounting.append(0, accounting_pb2.OrderPlaced(order_id="ord-1", offering_id="plan", unit=CNY, amount=5))
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await wait_for_health(channel, SERVING)
        await reconcile(channel)
        billing = billing_pb2_grpc.BillingServiceStub(channel)
        wanted = pb.GetOrderReceiptRequest(account_id=ACCOUNT_ID, order_id="ord-1")
        receipt = await answer(billing.GetOrderReceipt(wanted, timeout=WAIT_S))
        assert (receipt.offering_id, receipt.amount, receipt.unit, list(receipt.charges)) == ("plan", 5, CNY, [])
        with pytest.raises(ServiceError, match="account acct-other has no order ord-1") as caught:
            await answer(
                billing.GetOrderReceipt(pb.GetOrderReceiptRequest(account_id="acct-other", order_id="ord-1"), timeout=WAIT_S)
            )
    assert caught.value.reason == errors_pb2.ERROR_REASON_RECORD_UNKNOWN


async def test_a_line_is_the_whole_number_of_one_account(accounting_address: str, tmp_path: Path) -> None:
    async with running(config_of(tmp_path, accounting_address)) as (channel, _):
        await wait_for_health(channel, SERVING)
        billing = billing_pb2_grpc.BillingServiceStub(channel)
        for wrong in ("13800000001", "+0138000001", "+1234", "+8613800000001 or +8613800000002", "+8613800000001\n"):
            with pytest.raises(ServiceError, match=r"phone_number must be like \+8613800000001"):
                await answer(billing.SetLine(pb.SetLineRequest(account_id=ACCOUNT_ID, phone_number=wrong), timeout=WAIT_S))
        with pytest.raises(ServiceError, match="account_id is missing"):
            await answer(billing.SetLine(pb.SetLineRequest(phone_number="+8613800000001"), timeout=WAIT_S))
        await answer(billing.SetLine(pb.SetLineRequest(account_id=ACCOUNT_ID, phone_number="+8613800000001"), timeout=WAIT_S))
        for account_id, number in ((ACCOUNT_ID, "+8613800000001"), ("acct-2", "")):
            asked = pb.ListDemandsRequest(account_id=account_id, demands_max=1)
            assert (await answer(billing.ListDemands(asked, timeout=WAIT_S))).phone_number == number
