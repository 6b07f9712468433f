"""What is in the way of a connection with TLS, as it is told to people."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.processes import free_ports
from services.runtime.certificates import GrpcServerConfig
from services.runtime.clients import connect
from services.runtime.handshakes import obstacle
from services.runtime.server import GrpcServer
from tests.trust.authority import certificates, files_of, made, pems, write_pems
from tests.waiting import until

_REFUSED: Final = "it refuses our certificate, which has ended or is of an authority that its ca.crt does not have"
_NOT_TLS: Final = "it does not speak TLS there; grpc_tls and grpc_tls_port of the server say where it does"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


@pytest.fixture
async def server(authority: Path) -> AsyncIterator[GrpcServer]:
    server = GrpcServer([])
    config = GrpcServerConfig(
        listen_address="127.0.0.1:0", grpc_tls="both", grpc_tls_port=0, health_port=0, **files_of(authority, "registry")
    )
    async with server.serve(config, certificates(authority, "registry")):
        yield server


async def test_nothing_is_in_the_way_of_a_service_that_is_known(authority: Path, server: GrpcServer) -> None:
    assert await obstacle(server.tls_address, "registry", certificates(authority, "edge")) == ""


async def test_a_server_with_another_name_is_told(authority: Path, server: GrpcServer) -> None:
    said = await obstacle(server.tls_address, "billing", certificates(authority, "edge"))
    assert said.startswith("its certificate is not that of billing.tokenline by an authority in our ca.crt: Hostname mismatch")


async def test_a_server_of_another_authority_is_told(tmp_path: Path, server: GrpcServer) -> None:
    said = await obstacle(server.tls_address, "registry", certificates(made(tmp_path / "other"), "edge"))
    assert said.startswith("its certificate is not that of registry.tokenline by an authority in our ca.crt: ")


async def test_a_certificate_of_ours_that_the_server_refuses_is_told(authority: Path, tmp_path: Path, server: GrpcServer) -> None:
    # Both know the server's authority; ours is one that the server does not know.
    other = made(tmp_path / "other")
    (other / "edge" / "ca.crt").write_bytes((authority / "ca.crt").read_bytes() + (other / "ca.crt").read_bytes())
    assert await obstacle(server.tls_address, "registry", certificates(other, "edge")) == _REFUSED
    ours = certificates(authority, "edge")
    key, ended, _ = pems(authority, "edge.tokenline", starts_days=-2, ends_days=-1)
    write_pems(authority, "edge", key, ended)
    assert await obstacle(server.tls_address, "registry", ours) == _REFUSED


async def test_a_stream_that_waits_says_why(authority: Path, server: GrpcServer, caplog: pytest.LogCaptureFixture) -> None:
    ours = certificates(authority, "edge")
    async with connect(f"tls:{server.tls_address}", "billing", ours, explain_s=0.05) as channel:
        watching: Any = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=60)
        waiting = asyncio.create_task(watching.wait_for_connection())
        await until(lambda: caplog.records)
        waiting.cancel()
    said = caplog.records[0].getMessage()
    assert said.startswith(
        f"no connection to billing at {server.tls_address} yet: its certificate is not that of billing.tokenline by"
    )


async def test_a_port_without_tls_is_told(authority: Path, server: GrpcServer) -> None:
    assert await obstacle(server.health_address, "registry", certificates(authority, "edge")) == _NOT_TLS


async def test_a_port_where_nobody_is_or_nobody_answers_is_told(authority: Path) -> None:
    ours = certificates(authority, "edge")
    (port,) = free_ports(1)
    assert "Connect call failed" in await obstacle(f"127.0.0.1:{port}", "registry", ours)
    silent = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    async with silent:
        assert await obstacle(f"127.0.0.1:{silent.sockets[0].getsockname()[1]}", "registry", ours) == "it does not answer"
