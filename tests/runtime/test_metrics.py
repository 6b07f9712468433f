"""Metrics of services that have no HTTP of their own, told over real sockets."""

import asyncio
import socket
import threading
from contextlib import suppress

import pytest

from services.cli.processes import free_ports
from services.runtime.metrics import listen_to_prometheus
from services.runtime.telemetry import TelemetryConfig
from tests.waiting import WAIT_S, until

READ = b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"


async def asked(port: int, request: bytes = READ) -> bytes:
    # From another address than those who only connect.
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=("127.0.0.2", 0))
    writer.write(request)
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    writer.close()
    return answer


async def test_prometheus_is_told_metrics_and_nothing_else() -> None:
    (port,) = free_ports(1)
    async with listen_to_prometheus(TelemetryConfig(metrics_port=port)):
        head, _, page = (await asked(port)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=")
        assert b"# TYPE python_info gauge\n" in page
        other = await asked(port, READ.replace(b"/metrics", b"/"))
        assert other.startswith(b"HTTP/1.1 404 Not Found\r\n")
        assert other.endswith(b"\r\n\r\nMetrics are at /metrics.\n")
    with pytest.raises(ConnectionRefusedError):
        await asked(port)


async def test_a_page_is_made_once_for_all_who_read_it_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr("services.runtime.metrics._PAGE_S", WAIT_S)
    async with listen_to_prometheus(TelemetryConfig(metrics_port=port)):
        first, *others = await asyncio.gather(*(asked(port) for _ in range(20)))
        assert set(others) == {first}
        monkeypatch.setattr("services.runtime.metrics._PAGE_S", 0.0)
        # The time that this process has used is on it.
        assert await asked(port) != first


async def test_who_connects_and_reads_nothing_takes_no_thread_and_no_place_of_prometheus() -> None:
    (port,) = free_ports(1)
    async with listen_to_prometheus(TelemetryConfig(metrics_port=port)):
        await asked(port)
        before = threading.active_count()
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        assert (await asked(port)).startswith(b"HTTP/1.1 200 OK\r\n")
        assert threading.active_count() == before
        # An address has half of 64 places.
        ending = [asyncio.create_task(_end(reader)) for reader, _ in idle]
        await until(lambda: sum(each.done() for each in ending) == 300 - 32)
        for _, writer in idle:
            writer.close()
        await asyncio.wait(ending)


async def _end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        assert await reader.read() == b""


async def test_a_port_that_is_taken_is_told_with_its_field() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"^for Prometheus, telemetry\.metrics_port: cannot listen on 127\.0\.0\.1:{port}: "):
            async with listen_to_prometheus(TelemetryConfig(metrics_port=port)):
                pass


async def test_without_a_port_nobody_is_told() -> None:
    async with listen_to_prometheus(TelemetryConfig()):
        pass
