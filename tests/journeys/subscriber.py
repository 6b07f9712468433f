"""A subscriber of a cell, as a test uses one: an account with a key, calls, the bill."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec

from services.vendor_simulator.text import text
from tests.edge.system import Cell
from tests.journeys.hostile_vendor import HostileVendor
from tests.waiting import WAIT_S

TOKEN = 1_000_000

CATALOG = """\
default_offering_id: default
vendors:
  - vendor_id: acme
    display_name: Acme
    base_url: https://api.acme.test/v1
    api_key_env: TOKENLINE_ACME_API_KEY
    base_url_env: TOKENLINE_ACME_BASE_URL
  - vendor_id: other
    display_name: Other
    base_url: https://api.other.test/v1
    api_key_env: TOKENLINE_OTHER_API_KEY
    base_url_env: TOKENLINE_OTHER_BASE_URL
tokenizer_families:
  - family_id: byte-bpe
    letters_per_token_milli: 4000
    tokens_per_cjk_character_milli: 1500
    template_tokens_per_message: 8
    template_tokens_per_request: 8
models:
  - model_id: small
    display_name: Small
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 50000
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: acme, vendor_model_id: acme-small, priority: 0}
  - model_id: pair
    display_name: Pair
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 50000
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: other, vendor_model_id: other-pair, priority: 0}
      - {vendor_id: acme, vendor_model_id: acme-pair, priority: 1}
  - model_id: hostile
    display_name: Hostile
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 50000
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: other, vendor_model_id: other-hostile, priority: 0}
  - model_id: thinker
    display_name: Thinker
    owned_by: acme
    context_window_tokens: 100000
    max_output_tokens: 50000
    family_id: byte-bpe
    release_date: 2026-01-02
    hidden_reasoning: true
    routes:
      - {vendor_id: acme, vendor_model_id: acme-thinker, priority: 0}
tariffs:
  - tariff_id: flat
    version: 1
    unit: TOKEN
    rates:
      - {model_id: "*", input: 1000000, output: 1000000}
offerings:
  - offering_id: default
    display_name: Everything
    tariff_id: flat
    reservation_policy: worst_case
  - offering_id: charging
    display_name: Charges the input of calls that nobody waited for
    tariff_id: flat
    reservation_policy: worst_case
    charge_input_when_client_gone_before_output: true
  - offering_id: only-small
    display_name: One model
    tariff_id: flat
    model_ids: [small]
    reservation_policy: worst_case
"""


def chat(content: str = "x" * 40, **fields: Any) -> dict[str, Any]:
    """A request body; 40 letters are 10 tokens of input."""
    return {"model": "small", "messages": [{"role": "user", "content": content}], **fields}


def plain(tokens: int) -> str:
    """The first tokens of what the simulator says."""
    return text(0, tokens).decode()


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = WAIT_S) -> None:
    """Returns once the condition holds. Errors: `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  # what is waited for is on the other side of HTTP
            await asyncio.sleep(0.01)


async def read_until(response: aiohttp.ClientResponse, holds: Callable[[bytes], bool]) -> bytes:
    """Reads an answer until this holds of what has come. Errors: `AssertionError` where it ends before."""
    received = b""
    while not holds(received):
        piece = await response.content.readany()
        assert piece, received
        received += piece
    return received


class Stream:
    """A whole stream as it came."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.charging_id = headers.get("x-request-id", "")
        self.body = body
        lines = [line for line in body.decode().split("\n\n") if line.startswith("data: ")]
        self.done = bool(lines) and lines[-1] == "data: [DONE]"
        self.events: list[dict[str, Any]] = [msgspec.json.decode(line[6:]) for line in lines if line != "data: [DONE]"]

    @property
    def text(self) -> str:
        choices = [choice for event in self.events for choice in event.get("choices", [])]
        return "".join(choice["delta"].get("content") or "" for choice in choices)

    @property
    def finish_reasons(self) -> list[str]:
        choices = [choice for event in self.events for choice in event.get("choices", [])]
        return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]


class Subscriber:
    """An account with one key."""

    def __init__(self, services: Cell, http: aiohttp.ClientSession, account_id: str, api_key: str) -> None:
        self.services = services
        self.http = http
        self.account_id = account_id
        self.api_key = api_key

    @classmethod
    async def open(
        cls, services: Cell, http: aiohttp.ClientSession, name: str, tokens: int = 100_000, offering_id: str | None = None
    ) -> "Subscriber":
        account_id, api_key = await services.subscriber(name, offering_id)
        subscriber = cls(services, http, account_id, api_key)
        if tokens:
            await subscriber.top_up(tokens, "first")
        return subscriber

    async def top_up(self, tokens: int, key: str) -> dict[str, Any]:
        body = {"unit": "TOKEN", "amount": tokens * TOKEN, "valid_days": 30, "idempotency_key": key}
        added = await self.services.admin("POST", f"/accounts/{self.account_id}/buckets", body)
        assert added.status == 201, added.body
        bucket: dict[str, Any] = added.json
        return bucket

    async def call(self, body: dict[str, Any]) -> Any:
        """A plain call."""
        return await self.services.call("POST", "/v1/chat/completions", self.api_key, body)

    def begin(self, body: dict[str, Any]) -> Any:
        """A call whose response the test handles itself."""
        headers = {"authorization": f"Bearer {self.api_key}"}
        return self.http.post(f"{self.services.base_url}/chat/completions", json=body, headers=headers)

    async def stream(self, body: dict[str, Any]) -> Stream:
        """A streamed call, read to its end."""
        async with self.begin({**body, "stream": True}) as response:
            return Stream(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def consumed(self) -> int:
        """Whole tokens taken from all buckets; asserts that nothing is held and that tokens are whole."""
        shown = (await self.services.admin("GET", f"/accounts/{self.account_id}")).json
        assert shown["sessions"] == []
        assert {bucket["unit"] for bucket in shown["buckets"]} <= {"TOKEN"}
        micro = sum(bucket["consumed"] for bucket in shown["buckets"])
        assert micro % TOKEN == 0
        return int(micro // TOKEN)

    async def debt(self) -> int:
        """Whole tokens still owed."""
        shown = (await self.services.admin("GET", f"/accounts/{self.account_id}")).json
        assert {debt["unit"] for debt in shown["debt"]} <= {"TOKEN"}
        return int(sum(debt["outstanding"] for debt in shown["debt"]) // TOKEN)

    async def receipt(self, charging_id: str) -> Any:
        """The receipt; it must be there."""
        reply = await self.services.call("GET", f"/v1/me/receipts/{charging_id}", self.api_key)
        assert reply.status == 200, reply.body
        return reply.json

    async def served(self, user: str) -> dict[str, int]:
        """What the simulator made for calls with this `user`."""
        async with self.http.get(f"{self.services.simulator_base_url}/simulator/served") as response:
            served = msgspec.json.decode(await response.read())
        counts: dict[str, int] = served["by_user"].get(user, {})
        return counts


class World:
    """A cell, a client, and the vendor "other" of the models "pair" and "hostile"."""

    def __init__(self, services: Cell, http: aiohttp.ClientSession, hostile: HostileVendor) -> None:
        self.services = services
        self.http = http
        self.hostile = hostile

    async def subscriber(self, name: str, tokens: int = 100_000, offering_id: str | None = None) -> Subscriber:
        """A new subscriber with a balance."""
        return await Subscriber.open(self.services, self.http, name, tokens, offering_id)
