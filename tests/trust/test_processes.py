"""Services as processes of their own: how they stop, what they say, and how much they take."""

import asyncio
import os
import signal
from pathlib import Path

import grpc
import pytest

from services.cli.processes import free_ports
from services.registry.catalog_folder import base_catalog_folder
from services.runtime.clients import answer, connect
from tests.cli.processes import tokenline
from tests.trust.authority import certificates, files_of, made
from tests.trust.cell import serving
from tests.trust.processes import config_file, served_registry
from tests.waiting import WAIT_S
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc


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
            return len((await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))).catalog.models)

    with served_registry(tmp_path, grpc_tls="required", **files_of(folder, "registry")) as (_, address):
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
    said = tokenline("serve", "registry", "--config", config_file(tmp_path, "registry", **fields))
    assert (said.returncode, said.stdout) == (2, "")
    assert said.stderr.splitlines()[-1] == (
        f"Error: {authority}/billing/tls.crt: names billing.tokenline; it must have registry.tokenline among its DNS names"
    )


def test_each_step_from_plain_to_tls_serves_the_callers_of_the_step_before(tmp_path: Path, authority: Path) -> None:
    """off, then both, then required once callers use TLS."""
    plain, secure = free_ports(2)
    fixed = {"listen_address": f"127.0.0.1:{plain}", **files_of(authority, "registry")}

    async def ask(address: str) -> None:
        async with connect(address, "registry", certificates(authority, "operator")) as channel:
            await serving(channel)
            stub = registry_pb2_grpc.RegistryServiceStub(channel)
            assert (await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))).catalog.models

    def asked(address: str) -> None:
        asyncio.run(ask(address))

    with served_registry(tmp_path, grpc_tls="off", **fixed) as (process, address):
        asked(address)
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    with served_registry(tmp_path, grpc_tls="both", grpc_tls_port=secure, **fixed) as (process, address):
        assert address == f"127.0.0.1:{plain}"
        asked(address)
        asked(f"tls:127.0.0.1:{secure}")
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(30) == 0
    with served_registry(tmp_path, grpc_tls="required", grpc_tls_port=secure, **fixed) as (process, address):
        assert address == f"tls:127.0.0.1:{secure}"
        asked(address)
        with pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(grpc.insecure_channel(f"127.0.0.1:{plain}")).result(0.5)
