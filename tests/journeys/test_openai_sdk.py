"""The official SDK against the whole system: what its users see."""

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
import pytest_asyncio

from services.runtime.identifiers import uuid7_time_us
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "Hello, who are you?"}]
TWENTY = {"simulate": {"output_tokens": 20}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, Subscriber]]:
    async with cell(tmp_path_factory.mktemp("sdk"), catalog=CATALOG) as services, aiohttp.ClientSession() as http:
        await services.ready()
        yield services, await Subscriber.open(services, http, "sdk")
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


def sdk(services: Cell, api_key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=services.base_url, api_key=api_key, http_client=openai.DefaultAsyncHttpxClient(trust_env=False)
    )


async def test_a_plain_answer_and_its_receipt(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.chat.completions.with_raw_response.create(model="small", messages=HELLO, extra_body=TWENTY)
        completion = raw.parse()
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 20
    assert len(completion.choices[0].message.content or "") == 80
    assert completion.choices[0].finish_reason == "stop"
    charging_id = raw.headers["x-request-id"]
    assert uuid7_time_us(charging_id) is not None
    receipt = await subscriber.receipt(charging_id)
    assert receipt["charged_amount"] == completion.usage.total_tokens * TOKEN


async def test_a_stream_ends_with_usage_where_it_was_asked_for(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        stream = await client.chat.completions.create(
            model="small", messages=HELLO, stream=True, stream_options={"include_usage": True}, extra_body=TWENTY
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 20
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_a_stream_without_usage_asked_for_has_choices_in_every_chunk(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        stream = await client.chat.completions.create(model="small", messages=HELLO, stream=True, extra_body=TWENTY)
        finish_reasons = [chunk.choices[0].finish_reason async for chunk in stream]
    assert finish_reasons[-1] == "stop"


async def test_models_are_listed_and_found(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        listed = [model.id async for model in client.models.list()]
        found = await client.models.retrieve("small")
    assert "small" in listed
    assert (found.id, found.object, found.owned_by) == ("small", "model", "acme")


async def test_a_request_with_tools_passes(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        completion = await client.chat.completions.create(
            model="small",
            messages=[
                *HELLO,
                {
                    "role": "assistant",
                    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                },
                {"role": "tool", "tool_call_id": "1", "content": "42"},
            ],
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
            extra_body=TWENTY,
        )
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 20


async def test_errors_become_the_sdks_exceptions(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    async with sdk(services, "tl-local-wrong") as client:
        with pytest.raises(openai.AuthenticationError) as wrong:
            await client.chat.completions.create(model="small", messages=HELLO)
        assert wrong.value.code == "invalid_api_key"
        assert wrong.value.request_id
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="no-such-model", messages=HELLO)
        assert missing.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as bad:
            await client.chat.completions.create(model="small", messages=[])
        assert bad.value.param == "messages"
        with pytest.raises(openai.BadRequestError) as large:
            await client.chat.completions.create(model="small", messages=HELLO, max_tokens=10**9)
        assert large.value.param == "max_tokens"


async def test_quota_used_up_is_told_once_and_not_retried(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, "poor", tokens=1)
    requests: list[str] = []

    async def count(request: object) -> None:
        requests.append(str(request))

    http = openai.DefaultAsyncHttpxClient(trust_env=False, event_hooks={"request": [count]})
    async with openai.AsyncOpenAI(base_url=services.base_url, api_key=poor.api_key, http_client=http, max_retries=2) as client:
        with pytest.raises(openai.APIStatusError) as refused:
            await client.chat.completions.create(model="small", messages=HELLO)
    assert (refused.value.status_code, refused.value.code) == (402, "insufficient_quota")
    assert len(requests) == 1


async def test_a_vendor_in_trouble_is_a_server_error_that_is_retried(running: tuple[Cell, Subscriber]) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model="small", messages=HELLO, user="trouble", extra_body={"simulate": {"failure": "error_500"}}
            )
    assert (await subscriber.served("trouble"))["calls"] == 3
    assert await subscriber.consumed() == before
