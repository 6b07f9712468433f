"""A key that is revoked over the administration API while its streams run: what their clients see, and what is paid."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from services.edge.vendors.events import EventReader
from tests.edge.counting import counted
from tests.journeys.subscriber import CATALOG, Subscriber, World, chat, eventually, plain
from tests.journeys.world import PATIENT_MS, running_world
from tests.registry.catalogs import changed
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ADDRESS = "    base_url_env: TOKENLINE_ACME_BASE_URL\n"
# A vendor that speaks both dialects and takes instructions to the simulator.
BOTH = changed(
    _ADDRESS, _ADDRESS + "    endpoints:\n      openai_chat: {}\n      anthropic_messages: {extra_fields: [simulate]}\n", CATALOG
)
REVOKED = "The API key was revoked while this answer was under way."
# Far more than is made before the key is revoked: only the revocation ends these streams within the test's time.
LONG = {"output_tokens": 5_000, "tokens_per_second": 100}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with running_world(tmp_path_factory.mktemp("revocation"), BOTH, vendor_timeout_ms=PATIENT_MS) as running:
        yield running


class Dialect(NamedTuple):
    """How a dialect's stream is asked for and read, and which input is known before its end."""

    path: str
    key_header: str
    # {}: the key.
    key: str
    input_tokens: int

    def said(self, event: dict[str, Any]) -> str:
        """The text of one event."""
        if self.path == "/v1/messages":
            return str(event.get("delta", {}).get("text", ""))
        return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))

    def error(self, charging_id: str) -> dict[str, Any]:
        """The event that tells of the revocation."""
        if self.path == "/v1/messages":
            return {"type": "error", "error": {"type": "authentication_error", "message": REVOKED}, "request_id": charging_id}
        return {"error": {"message": REVOKED, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}}


CHAT = Dialect("/v1/chat/completions", "authorization", "Bearer {}", counted("x" * 40))
# Its vendor counts the input at once.
MESSAGES = Dialect("/v1/messages", "x-api-key", "{}", 10)


class Reading:
    """A stream that is read while it runs."""

    def __init__(self, dialect: Dialect, response: aiohttp.ClientResponse) -> None:
        self.charging_id = response.headers["x-request-id"]
        self._dialect = dialect
        self._response = response
        self._reader = EventReader()
        # The data of its events in order.
        self.data: list[bytes] = []

    @property
    def text(self) -> str:
        """What has been said so far."""
        return "".join(self._dialect.said(msgspec.json.decode(data)) for data in self.data if data != b"[DONE]")

    async def read(self, characters: int) -> None:
        """Reads until at least so many characters have come, or to the end."""
        async with asyncio.timeout(WAIT_S):
            while len(self.text) < characters and (piece := await self._response.content.readany()):
                self.data += [event.data for event in self._reader.feed(piece)]

    async def read_on(self) -> None:
        """Reads to the end, which is the end of an event. Errors: `aiohttp.ClientPayloadError` where it breaks off."""
        await self.read(1_000_000)
        assert not self._reader.end()


def _begin(subscriber: Subscriber, dialect: Dialect, api_key: str, simulate: dict[str, Any], user: str) -> Any:
    body = chat(stream=True, max_tokens=10_000, simulate=simulate)
    body |= {"metadata": {"user_id": user}} if dialect is MESSAGES else {"user": user}
    url = subscriber.services.base_url.removesuffix("/v1") + dialect.path
    return subscriber.http.post(url, json=body, headers={dialect.key_header: dialect.key.format(api_key)})


@pytest.mark.parametrize("dialect", [pytest.param(CHAT, id="chat"), pytest.param(MESSAGES, id="messages")])
async def test_a_key_revoked_in_mid_stream_ends_its_streams_and_is_charged_what_they_said(world: World, dialect: Dialect) -> None:
    name = f"revoked{dialect.path}"
    subscriber = await world.subscriber(name)
    [key] = (await world.services.admin("GET", f"/accounts/{subscriber.account_id}/keys")).json["data"]
    revoked, kept = (
        subscriber.api_key,
        (await world.services.admin("POST", f"/accounts/{subscriber.account_id}/keys")).json["api_key"],
    )
    short = {"output_tokens": 60, "tokens_per_second": 60}
    async with (
        _begin(subscriber, dialect, revoked, LONG, name) as one,
        _begin(subscriber, dialect, revoked, LONG, name) as two,
        _begin(subscriber, dialect, kept, short, "") as other,
    ):
        assert [response.status for response in (one, two, other)] == [200] * 3
        streams = [Reading(dialect, response) for response in (one, two)]
        going_on = Reading(dialect, other)
        for stream in (*streams, going_on):
            await stream.read(40)
        assert (await world.services.admin("DELETE", f"/keys/{key['key_id']}")).status == 200
        for stream in (*streams, going_on):
            await stream.read_on()
    subscriber.api_key = kept
    charged = 0
    for stream in streams:
        assert msgspec.json.decode(stream.data[-1]) == dialect.error(stream.charging_id)
        assert not any(mark in data for data in stream.data for mark in (b"[DONE]", b"message_stop", b'"finish_reason":"'))
        assert 40 <= len(stream.text) < 4 * LONG["output_tokens"]
        receipt = await subscriber.receipt(stream.charging_id)
        assert (receipt["close_cause"], receipt["provenance"]) == ("revoked", "partial")
        output = counted(stream.text)
        used = {"input": dialect.input_tokens, "cached_input": 0, "cache_write": 0, "output": output, "reasoning": 0}
        assert receipt["usage"] == used
        charged += dialect.input_tokens + output
    # Calls of another key of the account go on to their end.
    assert going_on.text == plain(60)
    assert (await subscriber.receipt(going_on.charging_id))["close_cause"] == "normal"
    assert await subscriber.consumed() == charged + 10 + 60
    # The vendor's work has ended too.
    await eventually(lambda: _are_aborted(subscriber, name, calls=2))
    assert (await subscriber.served(name))["output_tokens"] < LONG["output_tokens"]
    async with _begin(subscriber, dialect, revoked, short, name) as refused:
        assert refused.status == 401


async def _are_aborted(subscriber: Subscriber, name: str, *, calls: int) -> bool:
    return (await subscriber.served(name))["aborted"] == calls
