"""The health of a server over its life, as its callers see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.clients import answer, connect
from services.runtime.errors import ServiceError
from services.runtime.server import LIVENESS, GrpcServer
from tests.trust.frames.cases import HELLO
from tests.trust.frames.http2 import request
from tests.waiting import WAIT_S
from tokenline.errors.v1 import errors_pb2
from tokenline.registry.v1 import registry_pb2, registry_pb2_grpc

SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_server_serves_once_it_says_so_and_alive_it_is_from_the_start(tmp_path: Path) -> None:
    server = GrpcServer(["a.Service"])
    async with server.listen(f"unix:{tmp_path}/s") as address, connect(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)

        async def said(name: str) -> int:
            status: int = (
                await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=WAIT_S, wait_for_ready=True)
            ).status
            return status

        assert [await said(name) for name in ("", "a.Service", LIVENESS)] == [NOT_SERVING, NOT_SERVING, SERVING]
        await server.set_serving()
        assert [await said(name) for name in ("", "a.Service", LIVENESS)] == [SERVING, SERVING, SERVING]


async def test_callers_see_not_serving_before_a_server_that_stops_refuses_them(tmp_path: Path) -> None:
    server = GrpcServer(["a.Service"])
    serving, seen = asyncio.Event(), []

    async def watch(address: str) -> None:
        async with connect(address) as channel:
            stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), wait_for_ready=True)
            async for response in stream:
                seen.append(response.status)
                if response.status == SERVING:
                    serving.set()
                elif serving.is_set():
                    # Nothing is under way any more, so that the server need not wait for it.
                    return

    async with server.listen(f"unix:{tmp_path}/s", drain_grace_s=1.0) as address:
        await server.set_serving()
        watching = asyncio.create_task(watch(address))
        async with asyncio.timeout(WAIT_S):
            await serving.wait()
    # A server that refuses first breaks the stream.
    await watching
    assert seen[-2:] == [SERVING, NOT_SERVING]


async def test_a_server_that_stops_does_not_say_again_that_it_serves(tmp_path: Path) -> None:
    """A service that has just joined its cell when it is told to end would be sent calls once more."""
    server = GrpcServer(["a.Service"])
    async with server.listen(f"unix:{tmp_path}/s") as address, connect(address) as channel:
        await server.stop_serving()
        await server.set_serving()
        for name in ("", "a.Service"):
            asked = health_pb2.HealthCheckRequest(service=name)
            said = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=WAIT_S, wait_for_ready=True)
            assert said.status == NOT_SERVING


@pytest.mark.parametrize("where", ["127.0.0.1:0", "unix:{}/s"])
async def test_a_server_that_grpc_ended_listens_again_and_calls_under_way_go_on(tmp_path: Path, where: str) -> None:
    server = GrpcServer(["a.Service"])
    asked = health_pb2.HealthCheckRequest()
    async with server.listen(where.format(tmp_path), drain_grace_s=0.5) as address, connect(address) as under_way:
        watching = health_pb2_grpc.HealthStub(under_way).Watch(asked, wait_for_ready=True, timeout=WAIT_S)
        assert (await watching.read()).status == NOT_SERVING
        for _ in range(2):
            async with connect(address) as channel:
                # gRPC's own client writes no such name, so a frame is written by hand.
                await end_server(address)
                await asyncio.sleep(0.3)
                assert (
                    await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=WAIT_S, wait_for_ready=True)
                ).status == NOT_SERVING
        await server.set_serving()
        assert (await watching.read()).status == SERVING


async def end_server(address: str) -> None:
    """Calls a method whose name is no UTF-8."""
    path = address.removeprefix("unix:")
    opening = asyncio.open_unix_connection(path) if path != address else asyncio.open_connection(*address.split(":"))
    reader, writer = await opening
    writer.write(HELLO + request(1, "/none\xff"))
    await reader.read(1)
    await asyncio.sleep(0.1)
    writer.close()


async def test_a_port_has_one_server() -> None:
    first, second = GrpcServer([]), GrpcServer([])
    async with first.listen("127.0.0.1:0") as address:
        with pytest.raises(OSError, match=f"^cannot listen on {address}: in use, or not an address of this machine$"):
            async with second.listen(address):
                pass


class Registry(registry_pb2_grpc.RegistryServiceServicer):
    """A service that does something before it answers GetCatalog."""

    def __init__(self, before: Callable[[], Awaitable[None]]) -> None:
        self._before = before

    async def GetCatalog(self, request: registry_pb2.GetCatalogRequest, context: Any) -> registry_pb2.GetCatalogResponse:
        await self._before()
        return registry_pb2.GetCatalogResponse()

    async def WatchCatalog(
        self, request: registry_pb2.WatchCatalogRequest, context: Any
    ) -> AsyncIterator[registry_pb2.WatchCatalogResponse]:
        yield registry_pb2.WatchCatalogResponse()


async def test_what_went_wrong_inside_is_told_to_the_log_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise RuntimeError("the password is swordfish")

    server = GrpcServer([])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(Registry(fail), server.server)
    async with server.listen(f"unix:{tmp_path}/s") as address, connect(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await registry_pb2_grpc.RegistryServiceStub(channel).GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S)
    method = "/tokenline.registry.v1.RegistryService/GetCatalog"
    assert failed.value.code() == grpc.StatusCode.INTERNAL
    assert failed.value.details() == f"{method} failed inside the service; its log says why"
    assert b"swordfish" not in b"".join(bytes(str(value), "utf-8") for _, value in failed.value.trailing_metadata())
    assert "swordfish" in caplog.text


@pytest.mark.parametrize("character", ["x", "%", "\u00e9", "\u7801", "\U0001f600"])
async def test_a_reason_arrives_with_a_message_that_no_header_holds(tmp_path: Path, character: str) -> None:
    async def refuse() -> None:
        raise ServiceError(errors_pb2.ERROR_REASON_ITEM_UNKNOWN, f"no order {character * 9_000}")

    server = GrpcServer([])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(Registry(refuse), server.server)
    async with server.listen(f"unix:{tmp_path}/s") as address, connect(address) as channel:
        with pytest.raises(ServiceError) as refused:
            await answer(
                registry_pb2_grpc.RegistryServiceStub(channel).GetCatalog(registry_pb2.GetCatalogRequest(), timeout=WAIT_S)
            )
    assert refused.value.reason == errors_pb2.ERROR_REASON_ITEM_UNKNOWN
    assert refused.value.message.startswith(f"no order {character * 100}")
    assert refused.value.message.endswith(f"{character}...")


@pytest.mark.parametrize("asked_s", [None, 86_400.0])
async def test_a_call_ends_in_time_however_long_its_caller_would_wait(
    asked_s: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.runtime.server._DEADLINE_S", 0.2 if asked_s is None else 120.0)
    monkeypatch.setattr("services.runtime.server._DEADLINE_S_MAX", 0.2 if asked_s else 3_600.0)
    ended: list[str] = []

    async def wait() -> None:
        try:
            await asyncio.sleep(20)
        finally:
            ended.append("GetCatalog")

    server = GrpcServer([])
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(Registry(wait), server.server)
    async with server.listen(f"unix:{tmp_path}/s") as address, connect(address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await registry_pb2_grpc.RegistryServiceStub(channel).GetCatalog(registry_pb2.GetCatalogRequest(), timeout=asked_s)
    assert (failed.value.code(), ended) == (grpc.StatusCode.DEADLINE_EXCEEDED, ["GetCatalog"])
    assert failed.value.details() == "/tokenline.registry.v1.RegistryService/GetCatalog did not finish in time; a repeat is safe"
