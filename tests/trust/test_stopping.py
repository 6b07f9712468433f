"""How services stop, as processes of their own."""

import asyncio
import signal
import subprocess
from pathlib import Path
from typing import Final

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.cli.processes import free_ports
from services.runtime.clients import answer, connect
from tests.trust.cell import serving
from tests.trust.processes import served, served_registry
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc

NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING


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

    with served_registry(tmp_path) as (process, address):
        assert asyncio.run(hold_and_signal(process, address)) < 2.0
        assert process.returncode == 128 + number
        assert process.stderr is not None
        assert "ending at once on a second signal" in process.stderr.read()


def test_a_service_says_that_it_does_not_serve_before_it_refuses_anything(tmp_path: Path) -> None:
    async def stop(process: "subprocess.Popen[str]", address: str, health_address: str) -> list[str]:
        async with connect(address) as channel, connect(health_address) as probes:
            await serving(channel)
            stub = accounting_pb2_grpc.AccountingServiceStub(channel)
            health = health_pb2_grpc.HealthStub(probes)
            assert (await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)).status != NOT_SERVING
            process.send_signal(signal.SIGTERM)
            while (await health.Check(health_pb2.HealthCheckRequest(), timeout=WAIT_S)).status != NOT_SERVING:
                pass
            # It takes work still.
            opened = await answer(stub.OpenAccount(pb.OpenAccountRequest(account_id="acct-latelate"), timeout=WAIT_S))
            return [opened.account.account_id]

    (port,) = free_ports(1)
    with served_registry(tmp_path) as (_, registry):
        fields = {"database": str(tmp_path / "accounting.db"), "registry_address": registry, "partitions": 2}
        with served(tmp_path, "accounting", health_port=port, **fields) as (process, address):
            assert asyncio.run(stop(process, address, f"127.0.0.1:{port}")) == ["acct-latelate"]
            assert process.wait(30) == 0
