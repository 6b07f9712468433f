import asyncio

import msgspec
import pytest

from services.cli.load import Load, run
from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def load(base_url: str, seconds: float = 0.2, **simulate: object) -> Load:
    return Load(
        url=f"{base_url}/chat/completions",
        api_keys=["k-1", "k-2"],
        body=msgspec.json.encode({**BODY, "simulate": simulate}).decode(),
        connections=4,
        warm_up_s=0.1,
        seconds=seconds,
    )


async def test_every_answer_is_counted_and_timed() -> None:
    heard: list[str] = []
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        measured = await run(load(base_url, output_tokens=2), heard.append)
    assert heard == ["measuring", "measured"]
    assert measured.failed == 0
    assert 0 < measured.calls < measured.succeeded_in_all
    assert 0 < measured.p50_ms <= measured.p99_ms
    assert measured.seconds == pytest.approx(0.2, abs=0.1)


async def test_what_fails_is_counted_by_how() -> None:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        refused = await run(load(base_url, failure="refuse_400"), lambda _: None)
        broken = await run(load(base_url, failure="disconnect_before_first_byte"), lambda _: None)
    assert refused.failures == {"400": refused.calls}
    assert broken.failures == {"connection lost": broken.calls}
    assert refused.succeeded_in_all == broken.succeeded_in_all == 0
    nobody = await run(load(base_url), lambda _: None)
    assert set(nobody.failures) == {"no connection"}
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_calls_arrive_at_their_rate_however_long_answers_take_and_connections_are_given_up() -> None:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        arriving = msgspec.structs.replace(
            load(base_url, 0.5, output_tokens=1, first_token_delay_ms=300),
            connections=100,
            calls_per_second=100.0,
            calls_per_connection=2,
        )
        measured = await run(arriving, lambda _: None)
    assert measured.failed == 0
    assert measured.calls == 50
    # Those of the warm-up too.
    assert measured.succeeded_in_all == 60
    assert measured.p50_ms >= 300


async def test_a_call_that_has_no_connection_waits_for_one_from_when_it_was_due() -> None:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        arriving = msgspec.structs.replace(
            load(base_url, 0.3, output_tokens=1, first_token_delay_ms=100), connections=1, warm_up_s=0.0, calls_per_second=20.0
        )
        measured = await run(arriving, lambda _: None)
    # One is answered each 100 ms and one comes each 50 ms.
    assert measured.failed == 0
    assert measured.calls == 6
    assert measured.p99_ms > 300


async def test_calls_that_arrive_where_nobody_is_fail() -> None:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0), Lifecycle()) as base_url:
        pass
    measured = await run(msgspec.structs.replace(load(base_url), calls_per_second=50.0), lambda _: None)
    assert measured.failures == {"no connection": 10}
