import asyncio

import msgspec
import pytest

from services.cli.stream_load import StreamLoad, run
from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig

# What 8 streams of 40 chunks/s make within the measured half second.
MEASURED_CHUNKS = 8 * 40 // 2


def load(base_url: str, chunks: int = 40, **simulate: object) -> StreamLoad:
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "stream": True,
        "simulate": {"output_tokens": 40, "tokens_per_second": 40, **simulate},
    }
    return StreamLoad(
        url=f"{base_url}/chat/completions",
        api_keys=["k-1", "k-2"],
        body=msgspec.json.encode(body).decode(),
        streams=8,
        chunks=chunks,
        chunks_per_second=40,
        ramp_s=0.1,
        settle_s=0.1,
        seconds=0.5,
    )


async def test_chunks_of_the_measured_time_are_counted() -> None:
    heard: list[str] = []
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        measured = await run(load(base_url), heard.append)
    assert heard == ["measuring", "measured"]
    assert measured.calls == measured.succeeded_in_all == 8
    assert measured.failed == 0
    assert measured.chunks == pytest.approx(MEASURED_CHUNKS, rel=0.3)
    assert 0 <= measured.p50_ms <= measured.p99_ms


async def test_a_stream_that_lacks_chunks_has_failed() -> None:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        # One was made that is not there.
        short = await run(load(base_url, chunks=41), lambda _: None)
        broken = await run(load(base_url, failure="break_mid_stream", failure_after_tokens=4), lambda _: None)
        refused = await run(load(base_url, failure="refuse_400"), lambda _: None)
    assert short.failures == {"cut short": 8}
    assert broken.failures == {"connection lost": 8}
    assert refused.failures == {"400": 8}
    assert short.succeeded_in_all == broken.succeeded_in_all == refused.succeeded_in_all == 0
    nobody = await run(load(base_url), lambda _: None)
    assert nobody.failures == {"no connection": 8}
    assert asyncio.all_tasks() == {asyncio.current_task()}
