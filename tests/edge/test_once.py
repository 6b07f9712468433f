"""Calls that their clients name, over the whole system: made once, whichever edge is asked, whatever restarts."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from services.edge.app import run_edge
from tests.edge.system import Cell, Reply, cell
from tests.openapi.conformance import assert_documented
from tests.registry.catalogs import OLDER, changed
from tests.waiting import WAIT_S

GRANT = {"unit": "TOKEN", "amount": 1_000_000_000_000, "valid_days": 30, "idempotency_key": "top-up"}
CHAT = {"model": "small", "max_tokens": 40, "messages": [{"role": "user", "content": "x" * 40}]}
MESSAGES = {**CHAT, "max_tokens": 40}
ALL_DIALECTS = changed("openai_completions: {}}", "openai_completions: {}, openai_responses: {}}", OLDER)
CALLS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/messages": MESSAGES,
    "/v1/responses": {"model": "small", "input": "x" * 40, "max_output_tokens": 40},
    "/v1/completions": {"model": "older", "prompt": "x" * 40, "max_tokens": 40},
    "/v1/embeddings": {"model": "vectors", "input": "x" * 40, "dimensions": 4},
}


class Vendor:
    """Counts its calls, and answers them once it may, or fails."""

    def __init__(self) -> None:
        self.calls = 0
        self.may_answer = asyncio.Event()
        self.status = 200
        self.base_url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls += 1
        await request.read()
        await self.may_answer.wait()
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status)
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
        said = {"index": 0, "delta": {"content": "one two three"}, "finish_reason": "stop"}
        chunks = [msgspec.json.encode({**head, "choices": [said]}), msgspec.json.encode({**head, "choices": [], "usage": usage})]
        body = b"".join(b"data: %b\n\n" % chunk for chunk in (*chunks, b"[DONE]"))
        return web.Response(body=body, content_type="text/event-stream")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Vendor"]:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", self.answer)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()


class Caller:
    """A subscriber's requests, with a name."""

    def __init__(self, http: aiohttp.ClientSession, api_key: str) -> None:
        self._http = http
        self._api_key = api_key

    async def call(self, base_url: str, key: str, path: str = "/v1/chat/completions", **fields: Any) -> Reply:
        headers = {"authorization": f"Bearer {self._api_key}", "idempotency-key": key}
        url, body = base_url.removesuffix("/v1") + path, {**CALLS[path], **fields}
        async with self._http.post(url, headers=headers, json=body) as response:
            reply = Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())
        assert_documented("POST", path, reply.status, reply.headers, reply.body)
        return reply


async def caller_of(services: Cell, http: aiohttp.ClientSession) -> tuple[str, str, Caller]:
    account_id, api_key = await services.subscriber("somebody")
    assert (await services.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
    return account_id, api_key, Caller(http, api_key)


@asynccontextmanager
async def scripted(folder: Path, vendor: Vendor) -> AsyncIterator[tuple[Cell, aiohttp.ClientSession]]:
    """A cell whose vendor is this one, and a client with as many connections as it likes."""

    def prepare(services: Cell) -> None:
        services.environment |= {"TOKENLINE_ACME_BASE_URL": vendor.base_url, "TOKENLINE_ACME_API_KEY": "sk-acme-0123456789"}

    async with (
        cell(folder, prepare=prepare) as services,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        await services.ready()
        yield services, http


async def consumed(services: Cell, account_id: str) -> int:
    (bucket,) = (await services.admin("GET", f"/accounts/{account_id}")).json["buckets"]
    assert bucket["reserved"] == 0
    return int(bucket["consumed"]) // 1_000_000


async def test_of_a_thousand_clients_with_one_name_at_two_edges_one_reaches_the_vendor(tmp_path: Path) -> None:
    async with Vendor().serving() as vendor, scripted(tmp_path, vendor) as (services, http), AsyncExitStack() as stack:
        account_id, _, caller = await caller_of(services, http)
        another = await stack.enter_async_context(run_edge(services.edge_config(), services.lifecycle, services.environment))
        await caller.call(services.base_url, "warm", model="unknown")
        await caller.call(another.clients, "warm", model="unknown")
        calls = [
            asyncio.create_task(caller.call((services.base_url, another.clients)[number % 2], "one name", stream=True))
            for number in range(1_000)
        ]
        # All but the one at the vendor are told of it while it is under way.
        async with asyncio.timeout(60):
            told = [await each for each in islice(asyncio.as_completed(calls), 999)]
        assert Counter((each.status, each.error["code"]) for each in told) == {(409, "call_in_progress"): 999}
        assert {each.headers["retry-after"] for each in told} == {"1"}
        vendor.may_answer.set()
        replies = await asyncio.gather(*calls)
        assert Counter(reply.status for reply in replies) == {200: 1, 409: 999}
        assert vendor.calls == 1
        (charging_id,) = [reply.headers["x-request-id"] for reply in replies if reply.status == 200]
        for base_url in (services.base_url, another.clients):
            again = await caller.call(base_url, "one name", stream=True)
            assert (again.status, again.error["code"]) == (409, "call_made")
            assert again.headers["location"] == f"/v1/me/receipts/{charging_id}"
        assert vendor.calls == 1
        assert await consumed(services, account_id) == 15


async def test_a_name_holds_over_restarts_of_accounting_and_of_the_edge(tmp_path: Path) -> None:
    async with Vendor().serving() as vendor, scripted(tmp_path, vendor) as (services, http):
        account_id, api_key, caller = await caller_of(services, http)
        vendor.may_answer.set()
        first = await caller.call(services.base_url, "mine")
        assert first.status == 200
        for names in (("accounting",), ("edge",)):
            await services.stop(*names)
            await services.start(*names)
            await services.ready()
            again = await caller.call(services.base_url, "mine")
            assert (again.status, again.error["code"]) == (409, "call_made")
            other = await caller.call(services.base_url, "mine", max_tokens=39)
            assert (other.status, other.error["code"], other.headers["x-should-retry"]) == (422, "idempotency_key_reused", "false")
        receipt = await services.call("GET", again.headers["location"], api_key)
        assert (receipt.status, receipt.json["charging_id"]) == (200, first.headers["x-request-id"])
        assert (vendor.calls, await consumed(services, account_id)) == (1, 15)


@pytest.mark.parametrize("status", [400, 429, 503])
async def test_a_call_that_failed_at_the_vendor_may_be_tried_again_under_its_name(tmp_path: Path, status: int) -> None:
    async with Vendor().serving() as vendor, scripted(tmp_path, vendor) as (services, http):
        account_id, _, caller = await caller_of(services, http)
        vendor.may_answer.set()
        vendor.status = status
        failed = await caller.call(services.base_url, "mine")
        assert failed.status in (400, 503)
        vendor.status = 200
        async with asyncio.timeout(WAIT_S):
            # The vendor is left out for a few seconds after its failure.
            while (again := await caller.call(services.base_url, "mine")).status == 503:
                pass
        assert (again.status, vendor.calls, await consumed(services, account_id)) == (200, 2, 15)
        assert (await caller.call(services.base_url, "mine")).error["code"] == "call_made"


async def test_a_call_that_was_refused_may_be_tried_again_under_its_name(tmp_path: Path) -> None:
    async with Vendor().serving() as vendor, scripted(tmp_path, vendor) as (services, http):
        account_id, api_key = await services.subscriber("poor")
        caller = Caller(http, api_key)
        vendor.may_answer.set()
        refused = await caller.call(services.base_url, "mine")
        assert (refused.status, refused.headers["x-should-retry"]) == (402, "false")
        assert (await services.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
        assert (await caller.call(services.base_url, "mine")).status == 200
        assert (vendor.calls, await consumed(services, account_id)) == (1, 15)


@pytest.mark.parametrize("path", CALLS)
async def test_each_route_heeds_a_name(tmp_path: Path, path: str) -> None:
    async with cell(tmp_path, catalog=ALL_DIALECTS) as services, aiohttp.ClientSession() as http:
        await services.ready()
        account_id, _, caller = await caller_of(services, http)
        first = await caller.call(services.base_url, "mine", path)
        assert first.status == 200, first.body
        paid = await consumed(services, account_id)
        assert paid > 0
        again = await caller.call(services.base_url, "mine", path)
        location = f"/v1/me/receipts/{first.headers['x-request-id']}"
        assert (again.status, again.headers["location"], again.headers["x-should-retry"]) == (409, location, "false")
        assert location in again.json["error"]["message"]
        other = await caller.call(services.base_url, "mine", path, user="another")
        assert other.status == 422
        bad = await caller.call(services.base_url, "x" * 201, path)
        assert (bad.status, "1 to 200 characters" in bad.json["error"]["message"]) == (400, True)
        assert await consumed(services, account_id) == paid
