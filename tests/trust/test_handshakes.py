"""Connections that a service refuses, or its caller: over real servers."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.callers import CALLERS
from services.registry.app import run_registry
from services.registry.catalog_folder import base_catalog_folder
from services.registry.config import RegistryConfig
from services.runtime.certificates import GrpcServerConfig
from services.runtime.clients import answer, connect
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Lifecycle
from services.runtime.server import GrpcServer
from tests.trust.authority import certificates, files_of, made, pems
from tests.waiting import WAIT_S
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

_SERVICE: Final = "tokenline.registry.v1.RegistryService"
_GET_CATALOG: Final = f"/{_SERVICE}/GetCatalog"


class _Registry(registry_pb2_grpc.RegistryServiceServicer):
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def GetCatalog(self, request: registry_pb2.GetCatalogRequest, context: Any) -> registry_pb2.GetCatalogResponse:
        self.asked += 1
        return registry_pb2.GetCatalogResponse()

    async def WatchCatalog(
        self, request: registry_pb2.WatchCatalogRequest, context: Any
    ) -> AsyncIterator[registry_pb2.WatchCatalogResponse]:
        self.asked += 1
        yield registry_pb2.WatchCatalogResponse()


class _Listening:
    def __init__(self, server: GrpcServer, registry: _Registry, address: str) -> None:
        self.server = server
        self.registry = registry
        self.address = address


@asynccontextmanager
async def _listening(folder: Path, tls: str, **fields: Any) -> AsyncIterator[_Listening]:
    registry = _Registry()
    callers = fields.pop("callers", CALLERS)
    server = GrpcServer(
        [_SERVICE],
        callers,
        reflection=fields.get("reflection", False),
        refusals_logged_s=fields.pop("logged_s", 10.0),
        greeting_s=fields.pop("greeting_s", 10.0),
    )
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server.server)
    config = GrpcServerConfig(**{"listen_address": "127.0.0.1:0", "grpc_tls": tls, **files_of(folder, "registry"), **fields})
    async with server.serve(config, certificates(folder, "registry")) as address:
        yield _Listening(server, registry, address)


async def _asked(channel: grpc.aio.Channel) -> str:
    """What comes of a call: "", or what went wrong."""
    try:
        await answer(registry_pb2_grpc.RegistryServiceStub(channel).GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S))
    except ServiceError as error:
        return f"{error.reason_name}: {error.message}"
    return ""


def _with(pems: Sequence[bytes | None], target: str, name: str = "registry.tokenline") -> grpc.aio.Channel:
    key, certificate, authority = pems
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    return grpc.aio.secure_channel(target, credentials, options=[("grpc.ssl_target_name_override", name)])


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    return made(tmp_path / "certs")


async def test_a_caller_without_a_certificate_of_the_authority_that_is_valid_reaches_nothing(
    authority: Path, tmp_path: Path
) -> None:
    other = made(tmp_path / "other")
    good = pems(authority, "operator.tokenline")
    shown: dict[str, Sequence[bytes | None]] = {
        "none": (None, None, good[2]),
        "of another authority": (*pems(other, "operator.tokenline")[:2], good[2]),
        "ended": pems(authority, "operator.tokenline", starts_days=-2, ends_days=-1),
        "not begun": pems(authority, "operator.tokenline", starts_days=1, ends_days=2),
    }
    async with _listening(authority, "required") as listening:
        target = listening.address.removeprefix("tls:")
        for what, each in shown.items():
            async with _with(each, target) as channel:
                assert (await _asked(channel)).startswith("UNAVAILABLE: "), what
        async with connect(target) as channel:
            assert (await _asked(channel)).startswith("UNAVAILABLE: ")
        assert listening.registry.asked == 0
        async with _with(good, target) as channel:
            assert await _asked(channel) == ""
        assert listening.registry.asked == 1


async def test_a_caller_reaches_nobody_who_is_not_the_service_that_it_asks_for(authority: Path, tmp_path: Path) -> None:
    other = made(tmp_path / "other")
    async with _listening(authority, "required") as listening:
        async with connect(listening.address, "accounting", certificates(authority, "operator")) as channel:
            said = await _asked(channel)
            assert said.startswith("UNAVAILABLE: ")
            assert "Hostname Verification Check failed" in said
        async with connect(listening.address, "registry", certificates(other, "operator")) as channel:
            said = await _asked(channel)
            assert said.startswith("UNAVAILABLE: ")
            assert "CERTIFICATE_VERIFY_FAILED" in said
        assert listening.registry.asked == 0


async def test_what_stands_in_no_table_nobody_may_call(authority: Path) -> None:
    only_watch = {f"/{_SERVICE}/WatchCatalog": CALLERS[f"/{_SERVICE}/WatchCatalog"]}
    async with _listening(authority, "required", callers=only_watch) as listening:
        for role in ("edge", "accounting", "operator", "registry"):
            async with connect(listening.address, "registry", certificates(authority, role)) as channel:
                assert await _asked(channel) == f"INTERNAL: {role}.tokenline may not call {_GET_CATALOG}"
        assert listening.registry.asked == 0


async def test_both_serves_without_tls_what_it_serves_with_it(authority: Path) -> None:
    async with _listening(authority, "both", grpc_tls_port=0) as listening:
        async with connect(listening.address) as channel:
            assert await _asked(channel) == ""
        secure = f"tls:{listening.server.tls_address}"
        assert secure.removeprefix("tls:") != listening.address
        async with connect(secure, "registry", certificates(authority, "operator")) as channel:
            assert await _asked(channel) == ""
        async with connect(secure, "registry", certificates(authority, "billing")) as channel:
            assert await _asked(channel) == f"INTERNAL: billing.tokenline may not call {_GET_CATALOG}"
        # TLS to the plain port.
        async with connect(f"tls:{listening.address}", "registry", certificates(authority, "operator")) as channel:
            assert "WRONG_VERSION_NUMBER" in await _asked(channel)
        assert listening.registry.asked == 2


async def test_off_and_a_unix_socket_ask_nobody_who_he_is(authority: Path, tmp_path: Path) -> None:
    async with _listening(authority, "off") as listening, connect(listening.address) as channel:
        assert await _asked(channel) == ""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    at = f"unix:{private}/s"
    async with _listening(authority, "required", listen_address=at) as listening, connect(listening.address) as channel:
        assert await _asked(channel) == ""


@pytest.mark.parametrize("mode", [0o750, 0o701, 0o777])
async def test_required_takes_no_unix_socket_in_a_folder_that_others_may_enter(authority: Path, tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(ConfigError, match=f"others may enter {folder}, which has mode {mode:04o}"):
        async with _listening(authority, "required", listen_address=f"unix:{folder}/s"):
            pass


async def test_refused_callers_are_logged_at_a_bounded_rate(authority: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        _listening(authority, "required") as listening,
        connect(listening.address, "registry", certificates(authority, "billing")) as channel,
    ):
        for _ in range(100):
            assert await _asked(channel) != ""
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    said = f"billing.tokenline may not call {_GET_CATALOG}: see the table of callers"
    assert lines == [f"{said}; 0 more were refused since the last such line"]
    assert listening.registry.asked == 0


async def test_connections_that_fail_their_handshake_are_counted_in_a_line(authority: Path) -> None:
    counted = _Counted()
    logging.getLogger("services.runtime.server").addHandler(counted)
    try:
        async with _listening(authority, "required", logged_s=0.5) as listening:
            target = listening.address.removeprefix("tls:")
            async with connect(listening.address, "registry", certificates(authority, "operator")) as channel:
                assert await _asked(channel) == ""
            for _ in range(5):
                async with _with((None, None, (authority / "ca.crt").read_bytes()), target) as channel:
                    assert await _asked(channel) != ""
            async with asyncio.timeout(WAIT_S):
                while sum(counted.counts) < 5:
                    await counted.more()
    finally:
        logging.getLogger("services.runtime.server").removeHandler(counted)
    assert len(counted.counts) <= 3


class _Counted(logging.Handler):
    """The connections that lines of the log count."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []
        self._came = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "connections with TLS brought no call" in record.getMessage():
            self.counts.append(int(record.getMessage().split()[0]))
            self._came.set()

    async def more(self) -> None:
        await self._came.wait()
        self._came.clear()


async def test_health_has_a_port_of_its_own_and_nothing_else_there(authority: Path) -> None:
    config = RegistryConfig(
        listen_address="127.0.0.1:0",
        grpc_tls="required",
        health_port=0,
        catalog_folders=[str(base_catalog_folder())],
        **files_of(authority, "registry"),
    )
    async with _listening(authority, "required", health_port=0, reflection=True) as listening:
        async with connect(listening.server.health_address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            said = await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert said.status == health_pb2.HealthCheckResponse.NOT_SERVING
            said = await health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=WAIT_S)
            assert said.status == health_pb2.HealthCheckResponse.SERVING
            await listening.server.set_serving()
            said = await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)
            assert said.status == health_pb2.HealthCheckResponse.SERVING
            assert await _asked(channel) == "UNAVAILABLE: Method not found!"
            assert await _reflected(channel) == grpc.StatusCode.UNIMPLEMENTED
        assert listening.registry.asked == 0
    # A whole service says it too.
    async with run_registry(config, Lifecycle()) as address:
        assert address.startswith("tls:127.0.0.1:")


async def _reflected(channel: grpc.aio.Channel) -> grpc.StatusCode:
    call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=WAIT_S
    )
    try:
        async for response in call:
            assert _SERVICE in [each.name for each in response.list_services_response.service]
    except grpc.aio.AioRpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.mark.parametrize(("asked_for", "code"), [(False, grpc.StatusCode.UNIMPLEMENTED), (True, grpc.StatusCode.OK)])
async def test_contracts_are_told_only_where_that_is_asked_for(authority: Path, asked_for: bool, code: grpc.StatusCode) -> None:
    async with _listening(authority, "off", reflection=asked_for) as listening, connect(listening.address) as channel:
        assert await _reflected(channel) == code


async def test_who_stays_at_the_port_of_health_keeps_no_probe_from_it(authority: Path) -> None:
    async with _listening(authority, "off", health_port=0) as listening, AsyncExitStack() as stack:
        apart = [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.aio.insecure_channel(listening.server.health_address, options=apart) for _ in range(40)]
        for channel in channels:
            stack.push_async_callback(channel.close)
        # A probe is sent whole; these are begun and go on for ever.
        begun: list[Any] = [channel.stream_unary("/grpc.health.v1.Health/Check")() for channel in channels for _ in range(4)]
        watching = aiter(health_pb2_grpc.HealthStub(channels[0]).Watch(health_pb2.HealthCheckRequest(), timeout=WAIT_S))
        probe = health_pb2_grpc.HealthStub(await stack.enter_async_context(connect(listening.server.health_address)))
        for _ in range(20):
            said = await probe.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=WAIT_S)
            assert said.status == health_pb2.HealthCheckResponse.SERVING
        async with asyncio.timeout(WAIT_S):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await anext(watching)
            ended = await asyncio.gather(*begun, return_exceptions=True)
        assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
        assert {error.code() for error in ended if isinstance(error, grpc.aio.AioRpcError)} == {grpc.StatusCode.UNAVAILABLE}
        assert len(ended) == 160


@pytest.mark.parametrize("tls", ["off", "required"])
async def test_a_connection_that_says_nothing_is_closed(authority: Path, tls: str) -> None:
    async with _listening(authority, tls, greeting_s=0.3) as listening:
        host, port = listening.address.removeprefix("tls:").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(WAIT_S):
            # Without TLS a server says its settings first, and then why.
            assert (b"handshake timeout" in await reader.read()) == (tls == "off")
        writer.close()
