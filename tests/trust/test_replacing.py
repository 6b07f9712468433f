"""Certificates that are replaced while services run and streams are open."""

import asyncio
import gc
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from cryptography import x509

from services.cli.processes import free_ports
from services.runtime.certificates import Certificates, GrpcClientConfig, GrpcServerConfig, certificates_of
from services.runtime.clients import answer, connect
from services.runtime.errors import ServiceError
from services.runtime.instruments import page
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tests.trust.authority import files_of, made, pems, write_pems
from tests.waiting import WAIT_S, until
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

_SERVICE: Final = "tokenline.registry.v1.RegistryService"
_CALLERS: Final = {f"/{_SERVICE}/{method}": frozenset({"edge"}) for method in ("GetCatalog", "WatchCatalog")}
_LOOK_S: Final = 0.05


class _Registry(registry_pb2_grpc.RegistryServiceServicer):
    """Tells of each call whose certificate it came with; a stream goes on when it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def GetCatalog(self, request: registry_pb2.GetCatalogRequest, context: Any) -> registry_pb2.GetCatalogResponse:
        return registry_pb2.GetCatalogResponse(catalog=registry_pb2.Catalog(digest=_number(context)))

    async def WatchCatalog(
        self, request: registry_pb2.WatchCatalogRequest, context: Any
    ) -> AsyncIterator[registry_pb2.WatchCatalogResponse]:
        while True:
            yield registry_pb2.WatchCatalogResponse(catalog=registry_pb2.Catalog(digest=_number(context)))
            await self.go_on.wait()
            self.go_on.clear()


def _number(context: Any) -> str:
    (pem,) = context.auth_context()["x509_pem_cert"]
    return str(x509.load_pem_x509_certificate(pem).serial_number)


def _number_of(folder: Path, holder: str) -> str:
    return str(x509.load_pem_x509_certificate((folder / holder / "tls.crt").read_bytes()).serial_number)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    return free_ports(1)[0]


@asynccontextmanager
async def _followed(folder: Path, holder: str, look_s: float = _LOOK_S) -> AsyncIterator[Certificates]:
    certificates = Certificates(holder, GrpcClientConfig(**files_of(folder, holder)), look_s)
    following = asyncio.create_task(certificates.follow())
    try:
        yield certificates
    finally:
        following.cancel()


@asynccontextmanager
async def _serving(folder: Path, certificates: Certificates, port: int = 0) -> AsyncIterator[tuple[_Registry, str]]:
    registry, server = _Registry(), GrpcServer([_SERVICE], _CALLERS)
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server.server)
    config = GrpcServerConfig(listen_address=f"127.0.0.1:{port}", grpc_tls="required", **files_of(folder, "registry"))
    async with server.serve(config, certificates) as address:
        yield registry, address


def _watch(channel: grpc.aio.Channel) -> Any:
    stub: Any = registry_pb2_grpc.RegistryServiceStub(channel)
    return stub.WatchCatalog(registry_pb2.WatchCatalogRequest(), wait_for_ready=True, timeout=60)


async def _get(channel: grpc.aio.Channel) -> str:
    """The number of the certificate that the server sees."""
    stub = registry_pb2_grpc.RegistryServiceStub(channel)
    return (await answer(stub.GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))).catalog.digest


async def _shown(address: str, folder: Path) -> str:
    """The number of the certificate that the server shows."""
    host, _, port = address.removeprefix("tls:").rpartition(":")
    terms = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    terms.load_cert_chain(folder / "edge" / "tls.crt", folder / "edge" / "tls.key")
    terms.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection(host, int(port), ssl=terms, server_hostname="registry.tokenline")
    shown = x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    writer.close()
    return str(shown.serial_number)


async def test_those_on_call_see_when_the_certificate_in_use_ends(authority: Path) -> None:
    config = GrpcClientConfig(**files_of(authority, "registry"))
    async with certificates_of("registry", config, Lifecycle()) as certificates:
        assert certificates is not None
        for ends_days in (20, 30):
            end_s = float(
                page().decode().rpartition('certificate_end_timestamp_seconds{service="registry"} ')[2].partition("\n")[0]
            )
            (certificate,) = x509.load_pem_x509_certificates((authority / "registry" / "tls.crt").read_bytes())
            assert end_s == certificate.not_valid_after_utc.timestamp()
            replaced = certificates.replaced
            write_pems(authority, "registry", *pems(authority, "registry.tokenline", ends_days=ends_days)[:2])
            await asyncio.wait_for(replaced.wait(), WAIT_S)


async def test_authorities_that_are_trusted_are_read_again_by_themselves(authority: Path) -> None:
    trusted = authority / "edge" / "ca.crt"
    async with _followed(authority, "edge") as certificates:
        replaced = certificates.replaced
        trusted.write_bytes(trusted.read_bytes() + (made(authority / "other") / "ca.crt").read_bytes())
        await asyncio.wait_for(replaced.wait(), WAIT_S)
        assert certificates.current.authorities == trusted.read_bytes()


async def test_new_connections_use_new_certificates_and_old_streams_go_on(authority: Path) -> None:
    async with (
        _followed(authority, "registry") as of_server,
        _followed(authority, "edge") as of_client,
        _serving(authority, of_server) as (registry, address),
        connect(address, "registry", of_client) as channel,
    ):
        old_server, old_client = _number_of(authority, "registry"), _number_of(authority, "edge")
        stream = aiter(_watch(channel))
        assert (await anext(stream)).catalog.digest == old_client
        assert (await _get(channel), await _shown(address, authority)) == (old_client, old_server)

        replaced = [of_server.replaced, of_client.replaced]
        made(authority)
        for each in replaced:
            await asyncio.wait_for(each.wait(), WAIT_S)

        new_server, new_client = _number_of(authority, "registry"), _number_of(authority, "edge")
        assert len({old_server, old_client, new_server, new_client}) == 4
        assert (await _get(channel), await _shown(address, authority)) == (new_client, new_server)
        registry.go_on.set()
        assert (await anext(stream)).catalog.digest == old_client


async def test_a_call_that_waits_for_a_server_waits_no_longer_than_its_certificates_are_current(authority: Path, port: int) -> None:
    async with (
        _followed(authority, "edge") as certificates,
        connect(f"tls:127.0.0.1:{port}", "registry", certificates) as channel,
    ):
        waiting = [asyncio.create_task(_first(_watch(channel))), asyncio.create_task(_watch(channel).wait_for_connection())]
        made(authority)
        for each in waiting:
            with pytest.raises(grpc.aio.AioRpcError, match="the certificates were replaced before there was a connection") as found:
                await asyncio.wait_for(each, WAIT_S)
            assert found.value.code() == grpc.StatusCode.UNAVAILABLE
        # Asked again, as all do, it has the new ones.
        again = asyncio.create_task(_first(_watch(channel)))
        async with (
            _followed(authority, "registry") as of_server,
            _serving(authority, of_server, port),
        ):
            assert (await asyncio.wait_for(again, WAIT_S)).catalog.digest == _number_of(authority, "edge")


async def _first(call: Any) -> Any:
    async for response in call:
        call.cancel()
        return response


async def test_files_that_are_of_no_use_change_nothing(authority: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with (
        _followed(authority, "registry") as of_server,
        _followed(authority, "edge") as of_client,
        _serving(authority, of_server) as (_, address),
        connect(address, "registry", of_client) as channel,
    ):
        old_client, old_server = await _get(channel), await _shown(address, authority)
        for key, certificate, _ in (
            pems(authority, "billing.tokenline"),
            pems(authority, "edge.tokenline", starts_days=-2, ends_days=-1),
            pems(authority, garbled=True),
            (b"no key", b"no certificate", b""),
        ):
            before = len(_errors(caplog))
            write_pems(authority, "edge", key, certificate)
            await until(lambda: len(_errors(caplog)) > before)  # noqa: B023  # it ends within the round
            assert await _get(channel) == old_client
        assert [message.partition(": ")[2].partition(" ")[0] for message in _errors(caplog)] == ["names", "ended", "can't", "is"]
        assert all(message.endswith("; what was read before stays in force") for message in _errors(caplog))
        assert of_server.current.certificate == (authority / "registry" / "tls.crt").read_bytes()
        assert old_server == _number_of(authority, "registry")


async def test_files_that_are_still_written_are_not_read(authority: Path, caplog: pytest.LogCaptureFixture) -> None:
    key, certificate, _ = pems(authority, "edge.tokenline", ends_days=30)
    async with _followed(authority, "edge", look_s=0.3) as certificates:
        replaced = certificates.replaced
        for _ in range(60):
            # One whose key is not there yet.
            write_pems(authority, "edge", certificates.current.key, certificate)
            await asyncio.sleep(0.02)
        write_pems(authority, "edge", key, certificate)
        await asyncio.wait_for(replaced.wait(), WAIT_S)
    assert _errors(caplog) == []


async def test_a_channel_whose_calls_have_ended_goes_with_its_certificates(authority: Path) -> None:
    async with (
        _followed(authority, "registry") as of_server,
        _followed(authority, "edge") as of_client,
        _serving(authority, of_server) as (_, address),
        connect(address, "registry", of_client) as channel,
    ):
        for _ in range(4):
            await _get(channel)
            replaced = of_client.replaced
            made(authority)
            await asyncio.wait_for(replaced.wait(), WAIT_S)
        await _get(channel)
        gc.collect()
        assert len(vars(channel)["_channels"]) <= 2


def _errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]


async def test_a_certificate_that_will_end_soon_is_said(authority: Path, caplog: pytest.LogCaptureFixture) -> None:
    key, certificate, _ = pems(authority, "edge.tokenline", ends_days=2.5)
    write_pems(authority, "edge", key, certificate)
    async with _followed(authority, "edge"):
        await until(lambda: _errors(caplog))
        # Once a day, and not at each look.
        await asyncio.sleep(5 * _LOOK_S)
    (said,) = _errors(caplog)
    assert said.startswith(f"{authority}/edge/tls.crt ends at 20")
    assert said.endswith(": replace it, no restart is needed")


async def test_each_certificate_that_will_end_soon_is_said(authority: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with _followed(authority, "edge") as certificates:
        for count, ends_days in enumerate((2.5, 1.5), start=1):
            write_pems(authority, "edge", *pems(authority, "edge.tokenline", ends_days=ends_days)[:2])
            await until(lambda count=count: len(_errors(caplog)) == count)  # type: ignore[misc]
            assert certificates.ends.isoformat() in _errors(caplog)[-1]


async def test_what_cannot_be_reached_is_unavailable(authority: Path, port: int) -> None:
    async with (
        _followed(authority, "edge") as certificates,
        connect(f"tls:127.0.0.1:{port}", "registry", certificates) as channel,
    ):
        with pytest.raises(ServiceError) as found:
            await _get(channel)
        assert found.value.reason_name == "UNAVAILABLE"
