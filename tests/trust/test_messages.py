"""How large a message is that a service, or its caller, reads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from services.cli.processes import resident_mib_peak
from services.runtime.clients import connect
from tests.trust.authority import certificates, made
from tests.trust.cell import serving
from tests.trust.processes import served, served_registry
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

_MIB: Final = 1024 * 1024


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


def test_a_message_of_200_mb_is_refused_and_takes_no_memory(tmp_path: Path) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with served_registry(tmp_path) as (process, address), grpc.insecure_channel(address, options=options) as channel:
        ask: Any = channel.unary_unary("/tokenline.registry.v1.RegistryService/GetCatalog")
        watch: Any = channel.unary_stream("/tokenline.registry.v1.RegistryService/WatchCatalog")
        # By its first catalog it has taken the memory that it needs.
        next(watch(b"", timeout=WAIT_S))
        ask(b"", timeout=WAIT_S)
        before_mib = resident_mib_peak(process.pid)
        with pytest.raises(grpc.RpcError) as found:
            ask(bytes(200 * _MIB), timeout=60)
        assert found.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert found.value.details() == "SERVER: Received message larger than max (209715200 vs. 4194304)"
        assert resident_mib_peak(process.pid) - before_mib < 32


_READ_JOURNAL: Final = "/tokenline.accounting.v1.AccountingService/ReadJournal"


class _Obese(grpc.GenericRpcHandler):
    """Answers every method with a stream of one message, as large as it was told."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        async def answered(request: bytes, _: Any) -> AsyncIterator[bytes]:
            yield bytes(int(request))

        return grpc.unary_stream_rpc_method_handler(answered)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(
    ("method", "bytes_max"),
    [
        ("/tokenline.accounting.v1.AccountingService/Charge", 16 * _MIB),
        ("/tokenline.registry.v1.RegistryService/WatchCatalog", 16 * _MIB),
        ("/tokenline.authentication.v1.AuthenticationService/WatchRevocations", 16 * _MIB),
        (_READ_JOURNAL, 256 * _MIB),
    ],
)
async def test_an_answer_is_bounded_by_its_method(authority: Path, method: str, bytes_max: int, tls: bool) -> None:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers([_Obese()])
    files = certificates(authority, "accounting") if tls else None
    credentials = files.server_credentials(lambda: None) if files else None
    port = server.add_secure_port("localhost:0", credentials) if credentials else server.add_insecure_port("localhost:0")
    await server.start()
    at = f"tls:localhost:{port}" if tls else f"localhost:{port}"
    try:
        async with connect(at, "accounting", certificates(authority, "edge")) as channel:
            ask: Any = channel.unary_stream(method)
            assert len(await ask(b"%d" % bytes_max, timeout=60).read()) == bytes_max
            with pytest.raises(grpc.aio.AioRpcError) as found:
                await ask(b"%d" % (bytes_max + 1), timeout=60).read()
    finally:
        await server.stop(None)
    assert found.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert f"Received message larger than max ({bytes_max + 1} vs. {bytes_max})" in str(found.value.details())


def test_the_largest_request_of_charging_is_read(tmp_path: Path) -> None:
    """1,024 Releases, each with the most attempts and the longest names that one may have."""
    name, account_id = "n" * 200, "acct-" + 40 * "u"
    attempt = pb.VendorAttempt(vendor_id=name, vendor_model_id=name, outcome="answered", http_status=200, duration_ms=1 << 20)
    operations = [
        pb.ChargeOperation(
            operation_id=number,
            account_id=account_id,
            charging_id="01890a5d-ac96-774b-bcce-b302099a8057",
            invocation_sequence_number=9,
            release=pb.ReleaseSession(
                attempts=[attempt] * 32,
                provenance=pb.USAGE_PROVENANCE_VENDOR,
                close_cause=pb.CLOSE_CAUSE_NORMAL,
            ),
        )
        for number in range(1_024)
    ]

    async def charge(address: str) -> list[str]:
        async with connect(address) as channel:
            await serving(channel)
            call = accounting_pb2_grpc.AccountingServiceStub(channel).Charge(timeout=60)
            await call.write(pb.ChargeRequest(operations=operations))
            response = await call.read()
            assert isinstance(response, pb.ChargeResponse)
            call.cancel()
            return [result.error.message for result in response.results]

    with served_registry(tmp_path) as (_, registry):
        fields = {"database": str(tmp_path / "accounting.db"), "registry_address": registry, "partitions": 2}
        with served(tmp_path, "accounting", **fields) as (_, address):
            said = asyncio.run(charge(address))
    assert account_id in said[0]
