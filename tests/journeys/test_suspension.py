"""Streams that run while their account is suspended, or the time of their key ends: what clients see, and what is paid."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.edge.counting import counted
from tests.edge.system import Reply
from tests.journeys.subscriber import Stream, Subscriber, World, chat, eventually
from tests.journeys.world import PATIENT_MS, running_world
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

INPUT = counted("x" * 40)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("suspension"), vendor_timeout_ms=PATIENT_MS) as running:
        yield running


# Far more than is made within a test's time.
LONG = {"output_tokens": 9_000, "tokens_per_second": 100}
# Its vendor falls silent after a few words: neither an end nor an Update that is due ends it within a test's time.
SILENT = {**LONG, "failure": "hang_mid_stream", "failure_after_tokens": 20}
SUSPENDED = {
    "message": "The account was suspended while this answer was under way.",
    "type": "invalid_request_error",
    "param": None,
    "code": "account_suspended",
}


def ended(subject: str) -> dict[str, Any]:
    message = f"The time of {subject} has ended; ask the operator for a longer one."
    return {"message": message, "type": "invalid_request_error", "param": None, "code": "key_ended"}


class Running:
    """A stream that is read while it runs."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._pieces: list[bytes] = []
        self.reading = asyncio.get_running_loop().create_task(self._read())
        self.has_begun = asyncio.Event()

    async def _read(self) -> None:
        async for piece in self._response.content.iter_any():
            self._pieces.append(piece)
            self.has_begun.set()

    async def whole(self) -> Stream:
        """All of it, once it has ended, which is soon."""
        async with asyncio.timeout(WAIT_S):
            await self.reading
        headers = {name.lower(): value for name, value in self._response.headers.items()}
        return Stream(self._response.status, headers, b"".join(self._pieces))


def long(user: str, **fields: Any) -> dict[str, Any]:
    return chat(max_tokens=10_000, user=user, **{"simulate": SILENT, **fields})


async def suspend(subscriber: Subscriber, what: str = "suspend") -> Reply:
    done = await subscriber.services.admin("POST", f"/accounts/{subscriber.account_id}/{what}")
    assert done.status == 200
    return done


async def key_id(subscriber: Subscriber) -> str:
    [key] = (await subscriber.services.admin("GET", f"/accounts/{subscriber.account_id}/keys")).json["data"]
    return str(key["key_id"])


async def ends(subscriber: Subscriber, subject: str, in_s: float) -> float:
    """Ends the subject's time in so many seconds; the Unix time of that."""
    at_s = time.time() + in_s
    at = datetime.fromtimestamp(at_s, UTC).isoformat().replace("+00:00", "Z")
    limits = {"subject": subject, "limits": [], "valid_until": at}
    assert (await subscriber.services.admin("PUT", f"/accounts/{subscriber.account_id}/limits", limits)).status == 200
    return at_s


async def passes(subscriber: Subscriber) -> bool:
    return bool((await subscriber.call(chat(max_tokens=5, simulate={"output_tokens": 5}))).status == 200)


async def check_bill(subscriber: Subscriber, stream: Stream, beside: int = 0) -> None:
    """The stream is charged for its input and what it said, and its vendor has stopped; `beside` tokens were used elsewhere."""
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["provenance"]) == ("revoked", "partial")
    output = counted(stream.text)
    assert output > 0
    assert receipt["usage"] == {"input": INPUT, "cached_input": 0, "cache_write": 0, "output": output, "reasoning": 0}
    assert await subscriber.consumed() == INPUT + output + beside


async def is_aborted(subscriber: Subscriber, user: str, calls: int) -> bool:
    return (await subscriber.served(user)).get("aborted") == calls


async def test_a_suspended_account_s_streams_end_at_once_and_its_keys_do_not_pass(world: World) -> None:
    subscriber, other = await world.subscriber("suspended"), await world.subscriber("not suspended")
    async with subscriber.begin(long("suspended", stream=True)) as response, other.begin(long("", stream=True)) as going_on:
        running, beside = Running(response), Running(going_on)
        whole = asyncio.create_task(subscriber.call(long("suspended")))
        await running.has_begun.wait()
        await asyncio.sleep(0.3)
        first = await suspend(subscriber)
        stream = await running.whole()
        assert [event["error"] for event in stream.events if "error" in event] == [SUSPENDED]
        assert stream.events[-1] == {"error": SUSPENDED}
        assert not stream.done
        refused = await whole
        assert (refused.status, refused.error) == (403, SUSPENDED)
        assert not beside.reading.done()
        beside.reading.cancel()

    told = await subscriber.call(chat(max_tokens=5))
    assert (told.status, told.error["code"], told.error["type"]) == (403, "account_suspended", "invalid_request_error")
    assert "is suspended" in told.error["message"]
    in_messages = await world.services.call("POST", "/v1/messages", subscriber.api_key, {})
    assert (in_messages.status, in_messages.json["error"]["type"]) == (403, "permission_error")
    for path in ("/v1/models", "/v1/me/balance"):
        reply = await world.services.call("GET", path, subscriber.api_key)
        assert (reply.status, reply.error["code"]) == (403, "account_suspended")

    # The operator sees it and goes on with its keys; a second suspension is the first one.
    shown = await world.services.admin("GET", f"/accounts/{subscriber.account_id}")
    assert shown.json["suspended_at"] == first.json["suspended_at"]
    assert (await suspend(subscriber)).json == first.json
    made = await world.services.admin("POST", f"/accounts/{subscriber.account_id}/keys")
    assert (await world.services.call("GET", "/v1/models", made.json["api_key"])).status == 403

    await suspend(subscriber, "resume")
    await eventually(lambda: passes(subscriber))
    await check_bill(subscriber, stream, beside=15)
    await eventually(lambda: is_aborted(subscriber, "suspended", 2))


async def test_an_account_that_is_resumed_at_once_has_its_streams_ended_and_calls_again(world: World) -> None:
    subscriber = await world.subscriber("resumed")
    async with subscriber.begin(long("resumed", stream=True)) as response:
        running = Running(response)
        await running.has_begun.wait()
        await suspend(subscriber)
        await suspend(subscriber, "resume")
        stream = await running.whole()
        assert stream.events[-1] == {"error": SUSPENDED}
    await eventually(lambda: passes(subscriber))
    await check_bill(subscriber, stream, beside=15)


@pytest.mark.parametrize("of", ["key", "member", "account"])
async def test_a_stream_ends_with_the_time_of_its_key_member_or_account(world: World, of: str) -> None:
    subscriber = await world.subscriber(f"ends-{of}")
    issued = (await world.services.admin("GET", f"/accounts/{subscriber.account_id}/keys")).json["data"][0]
    subject = "account" if of == "account" else f"{of}:{issued[f'{of}_id']}"
    await ends(subscriber, subject, 1.5)
    async with subscriber.begin(long(of, stream=True)) as response:
        running = Running(response)
        whole = asyncio.create_task(subscriber.call(long(of)))
        stream = await running.whole()
    assert (stream.status, stream.events[-1]) == (200, {"error": ended(subject)})
    refused = await whole
    assert (refused.status, refused.error["code"]) == (403, "key_ended")
    # Nothing begins any more; the bill can be read.
    assert (await subscriber.call(chat(max_tokens=5))).error["code"] == "key_ended"
    await check_bill(subscriber, stream)
    await eventually(lambda: is_aborted(subscriber, of, 2))


@pytest.mark.parametrize("how", ["suspended", "key"])
async def test_a_stream_ends_within_a_second(world: World, how: str) -> None:
    took_s: list[float] = []
    # A busy machine takes longer now and then; whoever looked now and then would take longer each time.
    while not took_s or (not 0 <= took_s[-1] < 1 and len(took_s) < 5):
        subscriber = await world.subscriber(f"within-{how}-{len(took_s)}")
        at_s = await ends(subscriber, f"key:{await key_id(subscriber)}", 1.5) if how == "key" else 0.0
        async with subscriber.begin(long(f"within-{how}-{len(took_s)}", stream=True)) as response:
            running = Running(response)
            await running.has_begun.wait()
            if how == "suspended":
                at_s = time.time()
                await suspend(subscriber)
            stream = await running.whole()
            took_s.append(time.time() - at_s)
        assert stream.events[-1]["error"]["code"] == {"suspended": "account_suspended", "key": "key_ended"}[how]
    assert 0 <= took_s[-1] < 1, took_s


async def test_an_end_that_is_set_while_a_stream_runs_ends_it_with_its_next_update(world: World) -> None:
    subscriber = await world.subscriber("set earlier")
    async with subscriber.begin(long("set earlier", stream=True, simulate={**LONG, "tokens_per_second": 1_000})) as response:
        running = Running(response)
        await running.has_begun.wait()
        subject = f"key:{await key_id(subscriber)}"
        await ends(subscriber, subject, -1.0)
        stream = await running.whole()
    assert stream.events[-1] == {"error": ended(subject)}
    # Long before its grant is to be renewed: it has asked for more output.
    assert counted(stream.text) < LONG["output_tokens"]
    await check_bill(subscriber, stream)


async def test_a_key_that_is_prolonged_while_its_stream_runs_goes_on(world: World) -> None:
    subscriber = await world.subscriber("prolonged")
    subject = f"key:{await key_id(subscriber)}"
    await ends(subscriber, subject, 3.0)
    simulate = {"output_tokens": 4_000, "tokens_per_second": 1_000}
    async with subscriber.begin(long("prolonged", stream=True, simulate=simulate)) as response:
        running = Running(response)
        await running.has_begun.wait()
        await ends(subscriber, subject, 3_600.0)
        async with asyncio.timeout(WAIT_S):
            await running.reading
        stream = await running.whole()
    assert stream.done
    receipt = await subscriber.receipt(stream.charging_id)
    assert (receipt["close_cause"], receipt["usage"]["output"]) == ("normal", 4_000)
