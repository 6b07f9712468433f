"""Streams of vendors that differ, break or lie: what the client sees, and what the subscriber pays."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from services.edge.call.usage import within_error
from tests.edge.counting import counted
from tests.edge.system import Cell, cell
from tests.journeys.hostile_vendor import DONE, STREAM, event, usage
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, World, chat, eventually, read_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

INPUT = counted("x" * 40)
ERROR = b'data: {"error": {"message": "overloaded"}}\n\n'
FAILED_BEFORE_THE_FIRST_EVENT = [
    pytest.param((ERROR,), "refused", id="error"),
    pytest.param((b": on its way\n\n", ERROR), "refused", id="comment-then-error"),
    pytest.param((event("", usage=usage(12, 0)), ERROR), "refused", id="count-then-error"),
    pytest.param((event(""),), "broken", id="role-then-nothing"),
    pytest.param((b"data: <html>\n\n",), "garbage", id="garbage"),
    pytest.param((DONE,), "garbage", id="done-at-once"),
    pytest.param((), "broken", id="nothing"),
    pytest.param((b'{"choices": []}',), "broken", id="no-event"),
]


@pytest.mark.parametrize(("events", "outcome"), FAILED_BEFORE_THE_FIRST_EVENT)
async def test_a_stream_that_fails_before_its_first_event_costs_nothing(
    world: World, events: tuple[bytes, ...], outcome: str
) -> None:
    subscriber = await world.subscriber("nothing-came")
    before = await subscriber.consumed()
    world.hostile.streams(*events)
    reply = await subscriber.call(chat(model="hostile", stream=True, max_tokens=50))
    assert (reply.status, reply.error["code"]) == (502, "vendor_error")
    receipt = await subscriber.receipt(reply.headers["x-request-id"])
    assert (receipt["close_cause"], receipt["charged_amount"]) == ("vendor_error", 0)
    assert [(each["outcome"], each["http_status"]) for each in receipt["attempts"]] == [(outcome, 200)]
    assert await subscriber.consumed() == before


@pytest.mark.parametrize(("events", "outcome"), FAILED_BEFORE_THE_FIRST_EVENT)
async def test_another_route_answers_instead(world: World, events: tuple[bytes, ...], outcome: str) -> None:
    subscriber = await world.subscriber("instead")
    before = await subscriber.consumed()
    world.hostile.streams(*events)
    stream = await subscriber.stream(chat(model="pair", max_tokens=50, simulate={"output_tokens": 5}))
    assert (stream.status, stream.finish_reasons, stream.done) == (200, ["stop"], True)
    receipt = await subscriber.receipt(stream.charging_id)
    assert [(each["vendor_id"], each["outcome"]) for each in receipt["attempts"]] == [("other", outcome), ("acme", "answered")]
    assert await subscriber.consumed() == before + 15


async def test_bytes_that_are_no_utf8_are_replaced_and_counted(world: World) -> None:
    subscriber = await world.subscriber("no-utf8")
    world.hostile.streams(event("abcd"), b'data: {"choices":[{"delta":{"content":"\xff"}}]}\n\n', event(finish_reason="stop"), DONE)
    stream = await subscriber.stream(chat(model="hostile", max_tokens=50))
    assert (stream.text, stream.done) == ("abcd\ufffd", True)
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("normal", "estimated")
    assert await subscriber.consumed() == INPUT + counted("abcd\ufffd")


async def test_what_is_no_json_breaks_a_stream_off(world: World) -> None:
    subscriber = await world.subscriber("no-json")
    world.hostile.streams(event("abcd"), b'data: {"choices":[{"delta":{"content":"more\n\n')
    stream = await subscriber.stream(chat(model="hostile", max_tokens=50))
    assert stream.text == "abcd"
    assert stream.events[-1]["error"]["code"] == "vendor_error"
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("vendor_error", "partial")
    assert receipt["attempts"][0]["outcome"] == "garbage"
    assert await subscriber.consumed() == INPUT + counted("abcd")


async def test_a_refusal_that_is_no_utf8_is_still_the_clients_fault(world: World) -> None:
    subscriber = await world.subscriber("refusal-no-utf8")
    body = b'{"error":{"message":"\xff"}}'
    world.hostile.answer = lambda writer: writer.write(b"HTTP/1.1 400 No\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    reply = await subscriber.call(chat(model="hostile", max_tokens=50))
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert await subscriber.consumed() == 0


@pytest.mark.parametrize(
    ("ends", "close_cause", "provenance"),
    [((event(finish_reason="stop"), DONE), "normal", "estimated"), ((), "vendor_error", "partial")],
)
async def test_output_that_came_after_the_vendors_count_is_charged_too(
    world: World, ends: tuple[bytes, ...], close_cause: str, provenance: str
) -> None:
    subscriber = await world.subscriber(f"early-count-{close_cause}")
    world.hostile.streams(event("yyyy", usage=usage(12, 2)), event("y" * 400), *ends)
    stream = await subscriber.stream(chat(model="hostile", max_tokens=500))
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == (close_cause, provenance)
    assert (receipt["usage"]["input"], receipt["usage"]["output"]) == (12, 2 + counted("y" * 400))
    assert await subscriber.consumed() == 12 + 2 + counted("y" * 400)


@pytest.mark.parametrize(("offering_id", "charged"), [("default", 0), ("charging", 12)])
async def test_a_count_without_output_is_no_output(world: World, offering_id: str, charged: int) -> None:
    subscriber = await world.subscriber(f"count-only-{offering_id}", offering_id=offering_id)
    world.hostile.streams_and_waits(event("", usage=usage(12, 0)))
    # Its chunk is held back until output comes; until then another vendor could answer.
    received = await _leave(subscriber, b": keep-alive")
    assert b"data:" not in received
    assert await subscriber.consumed() == charged


async def test_a_client_that_goes_away_stops_the_comments_too(world: World) -> None:
    subscriber = await world.subscriber("comments")
    world.hostile.streams_and_waits(event("abcd"))
    await _leave(subscriber, b": keep-alive")
    with _task_names() as names:
        # Twice as long as a stream may be idle before it gets a comment.
        await asyncio.sleep(0.4)
    assert "heartbeat" not in names
    assert await subscriber.consumed() == INPUT + counted("abcd")


async def test_a_count_that_stands_still_does_not_open_the_balance(world: World) -> None:
    # The vendor counts one token and then only writes, beyond its limit. No more may come, by our count, than is held; the
    # limit that the vendor was told is no bound, since another call took hold of a part of the balance after it.
    subscriber = await world.subscriber("standing-still", tokens=9_000)
    go_on = asyncio.Event()

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM + event("", usage=usage(10, 1)))
        await writer.drain()
        await go_on.wait()
        assert msgspec.json.decode(world.hostile.requests[-1])["max_tokens"] == within_error(9_000 - 40 - 16, 1, exact=False)
        for _ in range(1_000):
            writer.write(event("y" * 100))

    world.hostile.answer = answer
    streaming = asyncio.create_task(subscriber.stream(chat(model="hostile")))
    await eventually(lambda: _open_sessions(subscriber, 1))
    holding = asyncio.create_task(subscriber.call(chat(max_tokens=3_000, simulate={"first_token_delay_ms": 500})))
    await eventually(lambda: _open_sessions(subscriber, 2))
    held = await _held(subscriber, "small")
    go_on.set()
    stream = await streaming
    assert not holding.done()
    assert (stream.finish_reasons, stream.done) == (["length"], True)
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("quota_exhausted", "partial")
    assert receipt["usage"]["output"] == 1 + counted(stream.text)
    assert 3_000 < 1 + counted(stream.text) <= 9_000 - held
    assert (await holding).status == 200
    assert await subscriber.debt() == 0


@asynccontextmanager
async def _small_cell(folder: Path) -> AsyncIterator[tuple[Cell, aiohttp.ClientSession]]:
    def prepare(services: Cell) -> None:
        services.validity_ms = 1_000
        services.edge_changes = {"create_timeout_ms": 200}

    async with cell(folder, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http:
        await services.ready()
        yield services, http


async def test_a_renewal_that_found_no_accounting_is_made_again(tmp_path: Path) -> None:
    async with _small_cell(tmp_path) as (services, http):
        subscriber = await Subscriber.open(services, http, "renewal", tokens=1_000)
        # Longer than until a sweep: 2 s after accounting serves again, at about 1.2 s.
        slow = chat(max_tokens=10, simulate={"output_tokens": 2, "first_token_delay_ms": 4_000})
        calling = asyncio.create_task(subscriber.stream(slow))
        await eventually(lambda: _open_sessions(subscriber, 1))
        await services.stop("accounting")
        # The first renewal, after 0.7 s, gets no answer.
        await asyncio.sleep(1.0)
        await services.start("accounting")
        stream = await calling
        assert stream.done
        receipt = await subscriber.receipt(stream.charging_id)
        assert (receipt["close_cause"], len(receipt["records"])) == ("normal", 1), "it was swept on the way"
        assert await subscriber.consumed() == 12


async def _open_sessions(subscriber: Subscriber, count: int) -> bool:
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    return len(shown["sessions"]) == count


async def _held(subscriber: Subscriber, model_id: str) -> int:
    """Whole tokens that the open calls of a model hold."""
    shown = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}")).json
    holds = (part["amount"] for session in shown["sessions"] if session["model_id"] == model_id for part in session["hold"])
    return int(sum(holds) // TOKEN)


async def _leave(subscriber: Subscriber, until: bytes) -> bytes:
    """Calls the hostile model, leaves once `until` has come, and returns what came when the session is settled."""
    async with subscriber.begin(chat(model="hostile", stream=True, max_tokens=100)) as response:
        received = await read_until(response, lambda received: until in received)
        response.close()
    await eventually(lambda: _open_sessions(subscriber, 0))
    return received


@contextmanager
def _task_names() -> Iterator[set[str]]:
    """The names of all tasks that are begun in the block."""
    loop = asyncio.get_running_loop()
    names: set[str] = set()

    class Named(asyncio.Task[Any]):
        """Tells its name when it gets it: the loop names a task only after its factory made it."""

        def set_name(self, value: object) -> None:
            names.add(str(value))
            super().set_name(value)

    loop.set_task_factory(lambda loop, work, **options: Named(work, loop=loop, **options))
    try:
        yield names
    finally:
        loop.set_task_factory(None)
