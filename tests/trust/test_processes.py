"""Services as processes of their own: how they stop, what they say, and how much they take."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import msgspec
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.processes import free_ports, resident_mib_peak
from services.registry.catalog_folder import base_catalog_folder
from services.runtime.clients import answer, connect
from tests.cli.processes import in_time, started, tokenline
from tests.trust.authority import certificates, files_of, made
from tests.trust.cell import serving
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

_MIB: Final = 1024 * 1024
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


def _config(folder: Path, service: str, **fields: Any) -> str:
    """A config file; it has JSON, which is YAML."""
    file = folder / f"{service}.yaml"
    file.write_bytes(msgspec.json.encode({"listen_address": "127.0.0.1:0", **fields}))
    return str(file)


@contextlib.contextmanager
def _served(folder: Path, service: str, **fields: Any) -> Iterator["tuple[subprocess.Popen[str], str]"]:
    """A process of `tokenline serve`, and its address."""
    with started("serve", service, "--config", _config(folder, service, **fields)) as process:
        assert process.stdout is not None
        with in_time(process):
            line = process.stdout.readline()
        assert " listens on " in line, process.communicate()[1]
        yield process, line.rstrip("\n").rpartition(" listens on ")[2]


def _registry(folder: Path, **fields: Any) -> Any:
    return _served(folder, "registry", catalog_folders=[str(base_catalog_folder())], **fields)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


def test_the_command_makes_certificates_that_services_take(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    first = tokenline("certs", str(folder), "--days", "20")
    assert (first.returncode, len(first.stdout.splitlines())) == (0, 6), first.stderr
    ca = (folder / "ca.crt").read_bytes()
    assert {oct((folder / name).stat().st_mode & 0o777) for name in ("ca.key", "edge/tls.key", "edge/tls.crt")} == {"0o600"}
    assert (folder / "edge").stat().st_mode & 0o777 == 0o700
    before = (folder / "edge" / "tls.crt").read_bytes()
    assert tokenline("certs", str(folder)).returncode == 0
    # A new certificate under the same authority.
    assert (folder / "ca.crt").read_bytes() == ca == (folder / "billing" / "ca.crt").read_bytes()
    assert (folder / "edge" / "tls.crt").read_bytes() != before

    async def ask(address: str) -> int:
        async with connect(address, "registry", certificates(folder, "operator")) as channel:
            await serving(channel)
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            return len((await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=20))).catalog.models)

    with _registry(tmp_path, grpc_tls="required", **files_of(folder, "registry")) as (_, address):
        assert address.startswith("tls:127.0.0.1:")
        assert asyncio.run(ask(address)) > 0


def test_the_command_says_what_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert tokenline("certs", str(tmp_path / "file")).stderr == (
        f"Error: {tmp_path}/file: File exists; choose a folder that you can write\n"
    )
    folder = made(tmp_path / "certs")
    (folder / "ca.key").write_text("x")
    said = tokenline("certs", str(folder))
    assert said.returncode == 2
    assert "its ca.crt and ca.key can't be used" in said.stderr
    assert said.stderr.endswith("; remove both, or choose a new folder\n")


def test_a_service_does_not_start_with_a_certificate_of_another(tmp_path: Path, authority: Path) -> None:
    fields = {"grpc_tls": "required", "catalog_folders": [str(base_catalog_folder())], **files_of(authority, "billing")}
    said = tokenline("serve", "registry", "--config", _config(tmp_path, "registry", **fields))
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.splitlines()[-1] == (
        f"Error: {authority}/billing/tls.crt: names billing.tokenline; it must have registry.tokenline among its DNS names"
    )


def test_a_message_of_200_mb_is_refused_and_takes_no_memory(tmp_path: Path) -> None:
    options = [("grpc.max_send_message_length", -1)]
    with _registry(tmp_path) as (process, address), grpc.insecure_channel(address, options=options) as channel:
        ask: Any = channel.unary_unary("/tokenline.registry.v1.RegistryService/GetCatalog")
        watch: Any = channel.unary_stream("/tokenline.registry.v1.RegistryService/WatchCatalog")
        # By its first catalog it has taken the memory that it needs.
        next(watch(b"", timeout=20))
        ask(b"", timeout=20)
        before_mib = resident_mib_peak(process.pid)
        with pytest.raises(grpc.RpcError) as found:
            ask(bytes(200 * _MIB), timeout=60)
        assert found.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert found.value.details() == "SERVER: Received message larger than max (209715200 vs. 4194304)"
        assert resident_mib_peak(process.pid) - before_mib < 32


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

    with _registry(tmp_path) as (_, registry):
        fields = {"database": str(tmp_path / "accounting.db"), "registry_address": registry, "partitions": 2}
        with _served(tmp_path, "accounting", **fields) as (_, address):
            said = asyncio.run(charge(address))
    assert account_id in said[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_service_that_waits_for_its_streams_at_once(tmp_path: Path, number: signal.Signals) -> None:
    async def hold_and_signal(process: "subprocess.Popen[str]", address: str) -> float:
        async with connect(address) as channel:
            # Such a stream has no end of its own, so the service waits for it for seconds.
            watch = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=60))
            while (await anext(watch)).status == NOT_SERVING:
                pass
            process.send_signal(number)
            assert (await anext(watch)).status == NOT_SERVING
            process.send_signal(number)
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await asyncio.to_thread(process.wait, 30)
            return loop.time() - began_s

    with _registry(tmp_path) as (process, address):
        assert asyncio.run(hold_and_signal(process, address)) < 2.0
        assert process.returncode == 128 + number
        assert process.stderr is not None
        assert "ending at once on a second signal" in process.stderr.read()


def test_a_service_says_that_it_does_not_serve_before_it_refuses_anything(tmp_path: Path) -> None:
    async def stop(process: "subprocess.Popen[str]", address: str, health_address: str) -> list[str]:
        async with connect(address) as channel, connect(health_address) as probes:
            await serving(channel)
            stub = accounting_pb2_grpc.AccountingServiceStub(channel)
            watch = aiter(health_pb2_grpc.HealthStub(probes).Watch(health_pb2.HealthCheckRequest(), timeout=60))
            await anext(watch)
            process.send_signal(signal.SIGTERM)
            assert (await anext(watch)).status == NOT_SERVING
            # It takes work still.
            opened = await answer(stub.OpenAccount(pb.OpenAccountRequest(account_id="acct-latelate"), timeout=20))
            return [opened.account.account_id]

    (port,) = free_ports(1)
    with _registry(tmp_path) as (_, registry):
        fields = {"database": str(tmp_path / "accounting.db"), "registry_address": registry, "partitions": 2}
        with _served(tmp_path, "accounting", health_port=port, **fields) as (process, address):
            assert asyncio.run(stop(process, address, f"127.0.0.1:{port}")) == ["acct-latelate"]
            assert process.wait(30) == 0


def test_each_step_from_plain_to_tls_serves_the_callers_of_the_step_before(tmp_path: Path, authority: Path) -> None:
    """off, then both, then required once callers use TLS."""
    plain, secure = free_ports(2)
    fixed = {"listen_address": f"127.0.0.1:{plain}", **files_of(authority, "registry")}

    async def ask(address: str) -> None:
        async with connect(address, "registry", certificates(authority, "operator")) as channel:
            await serving(channel)
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            assert (await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=20))).catalog.models

    def asked(address: str) -> None:
        asyncio.run(ask(address))

    with _registry(tmp_path, grpc_tls="off", **fixed) as (process, address):
        asked(address)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    with _registry(tmp_path, grpc_tls="both", grpc_tls_port=secure, **fixed) as (process, address):
        assert address == f"127.0.0.1:{plain}"
        asked(address)
        asked(f"tls:127.0.0.1:{secure}")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    with _registry(tmp_path, grpc_tls="required", grpc_tls_port=secure, **fixed) as (process, address):
        assert address == f"tls:127.0.0.1:{secure}"
        asked(address)
        with pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(grpc.insecure_channel(f"127.0.0.1:{plain}")).result(0.5)
