"""Vendors that count in other places, not yet, or not at all: text that was delivered is charged, and once."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.edge.counting import counted
from tests.edge.system import Cell, cell
from tests.journeys.hostile_vendor import DONE, STREAM, HostileVendor, event, usage
from tests.journeys.subscriber import CATALOG, Subscriber, World, chat, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = "y" * 400
INPUT = counted("x" * 40)
ZEROS = usage(0, 0)
STOP = event(finish_reason="stop")


def _in_choice(*indices: int, **fields: Any) -> bytes:
    """An event whose usage stands in its choices, as Moonshot sends it."""
    choices = [{"index": index, "delta": {}, "finish_reason": "stop", "usage": usage(33, 77)} for index in indices]
    return event(**{"choices": choices, **fields})


@pytest.mark.parametrize(
    ("events", "close_cause", "provenance", "charged"),
    [
        pytest.param(
            (event(TEXT), event(finish_reason="stop", usage=ZEROS), DONE), "normal", "estimated", (INPUT, counted(TEXT)), id="last"
        ),
        pytest.param((event(TEXT, usage=ZEROS), STOP, DONE), "normal", "estimated", (INPUT, counted(TEXT)), id="every"),
        pytest.param((event(TEXT, usage=ZEROS),), "vendor_error", "partial", (INPUT, counted(TEXT)), id="every-then-broken"),
        pytest.param(
            (event(TEXT, usage=ZEROS), event(finish_reason="stop", usage=usage(12, 90)), DONE),
            "normal",
            "vendor",
            (12, 90),
            id="real",
        ),
        pytest.param(
            (event(TEXT, usage=usage(12, 0)), STOP, DONE),
            "normal",
            "estimated",
            (12, counted(TEXT)),
            id="the-vendors-input-still-counts",
        ),
        pytest.param(
            (event(TEXT, usage=usage(12, 90)), event(TEXT, usage=ZEROS), STOP, DONE),
            "normal",
            "estimated",
            (12, 90 + counted(TEXT)),
            id="zeros-take-nothing-back",
        ),
    ],
)
async def test_zeros_are_no_count_of_text_that_came(
    world: World, events: tuple[bytes, ...], close_cause: str, provenance: str, charged: tuple[int, int]
) -> None:
    subscriber = await world.subscriber(f"zeros-{close_cause}-{provenance}-{charged}")
    before = await subscriber.consumed()
    world.hostile.streams(*events)
    stream = await subscriber.stream(chat(model="hostile", max_tokens=500))
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == (close_cause, provenance)
    assert (receipt["usage"]["input"], receipt["usage"]["output"]) == charged
    assert await subscriber.consumed() == before + sum(charged)


async def test_zeros_of_a_plain_answer_are_no_count_either(world: World) -> None:
    subscriber = await world.subscriber("zeros-plain")
    message = {"role": "assistant", "content": TEXT}
    world.hostile.says({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": ZEROS})
    reply = await subscriber.call(chat(model="hostile", max_tokens=500))
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["close_cause"], receipt["provenance"]) == ("normal", "estimated")
    assert await subscriber.consumed() == INPUT + counted(TEXT)


async def test_usage_within_the_only_choice_is_the_vendors_count(world: World) -> None:
    subscriber = await world.subscriber("in-choice")
    world.hostile.streams(event(TEXT), _in_choice(0), DONE)
    stream = await subscriber.stream(chat(model="hostile", max_tokens=500))
    receipt = await subscriber.receipt(stream.charging_id)
    assert receipt["provenance"] == "vendor"
    assert await subscriber.consumed() == 33 + 77


async def test_usage_within_one_of_several_choices_is_no_count_of_all(world: World) -> None:
    subscriber = await world.subscriber("in-choices")
    world.hostile.streams(event(TEXT), _in_choice(0), _in_choice(1), DONE)
    stream = await subscriber.stream(chat(model="hostile", n=2, max_tokens=500))
    assert (await subscriber.receipt(stream.charging_id))["provenance"] == "estimated"
    assert await subscriber.consumed() == INPUT + counted(TEXT)


@pytest.mark.parametrize(("choices", "last"), [(1, event("yyyy", finish_reason="")), (2, event("yyyy", finish_reason="stop"))])
async def test_an_end_before_all_choices_have_ended_is_broken(world: World, choices: int, last: bytes) -> None:
    subscriber = await world.subscriber(f"unfinished-{choices}")
    world.hostile.streams(event("yyyy"), last)
    stream = await subscriber.stream(chat(model="hostile", n=choices, max_tokens=500))
    assert not stream.done
    assert stream.events[-1]["error"]["code"] == "vendor_error"
    assert (await subscriber.receipt(stream.charging_id))["close_cause"] == "vendor_error"


async def test_reasoning_in_a_structure_counts_as_reasoning(world: World) -> None:
    subscriber = await world.subscriber("reasoning-details")
    delta = {"reasoning_details": [{"type": "reasoning.text", "text": "z" * 4_000}]}
    world.hostile.streams(event(choices=[{"index": 0, "delta": delta}]), event(TEXT), STOP, DONE)
    stream = await subscriber.stream(chat(model="hostile", max_tokens=5_000))
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["usage"]["output"], receipt["usage"]["reasoning"]) == (counted(TEXT), counted("z" * 4_000))


async def test_a_vendor_is_stopped_before_the_charge_is_confirmed(tmp_path: Path) -> None:
    hostile = HostileVendor()
    go_on, stopped = asyncio.Event(), asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(STREAM + event("y"))
            await go_on.wait()
            writer.write(event("y" * 9_000))
            await asyncio.Event().wait()
        finally:
            stopped.set()

    hostile.answer = answer
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)

    def prepare(services: Cell) -> None:
        services.environment["TOKENLINE_OTHER_BASE_URL"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        services.edge_changes = {"create_timeout_ms": 100, "release_timeout_ms": 1_500}

    async with server, cell(tmp_path, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http:
        await services.ready()
        subscriber = await Subscriber.open(services, http, "stopped", tokens=90_000)
        streaming = asyncio.create_task(subscriber.stream(chat(model="hostile")))
        await eventually(lambda: _one_session(subscriber))
        await services.stop("accounting")
        go_on.set()
        await stopped.wait()
        assert not streaming.done(), "the client is told only once the Release has had its time"
        assert (await streaming).events[-1]["error"]["type"] == "server_error"
        await services.start("accounting")
        await services.ready()


async def _one_session(subscriber: Subscriber) -> bool:
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    return len(shown["sessions"]) == 1
