"""OpenAI's responses through the official SDK against the whole system: what its users see, and what they pay."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from openai.types.responses import ResponseFunctionToolCall, ResponseReasoningItem

from services.runtime.identifiers import uuid7_time_us
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, plain
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

# 40 letters: 10 tokens of input.
HELLO = "x" * 40
TWENTY = {"simulate": {"output_tokens": 20}}
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    "strict": False,
}
_ADDRESS = "    base_url_env: TOKENLINE_ACME_BASE_URL\n"
_ENDPOINTS = "    endpoints:\n      openai_chat: {}\n      openai_responses: {}\n"
Running = tuple[Cell, Subscriber]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    catalog = changed(_ADDRESS, _ADDRESS + _ENDPOINTS, CATALOG)
    async with cell(tmp_path_factory.mktemp("responses"), catalog=catalog) as services, aiohttp.ClientSession() as http:
        await services.ready()
        yield services, await Subscriber.open(services, http, "responses")
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


def sdk(services: Cell, api_key: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=services.base_url, api_key=api_key, http_client=openai.DefaultAsyncHttpxClient(trust_env=False)
    )


async def test_a_plain_answer_and_its_receipt(running: Running) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.responses.with_raw_response.create(model="small", input=HELLO, extra_body=TWENTY)
    response = raw.parse()
    assert (response.status, response.output_text) == ("completed", plain(20))
    # The vendor was told so.
    assert response.to_dict()["store"] is False
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (10, 20, 30)
    charging_id = raw.headers["x-request-id"]
    assert uuid7_time_us(charging_id) is not None
    receipt = await subscriber.receipt(charging_id)
    assert (receipt["close_cause"], receipt["provenance"], receipt["charged_amount"]) == ("normal", "vendor", 30 * TOKEN)
    assert (receipt["model"], receipt["vendor_model_id"]) == ("small", "acme-small")


async def test_a_stream_tells_all_events_in_order_and_ends_with_the_count(running: Running) -> None:
    services, subscriber = running
    async with (
        sdk(services, subscriber.api_key) as client,
        client.responses.stream(model="small", input=HELLO, extra_body=TWENTY) as stream,
    ):
        events = [event async for event in stream]
        response = await stream.get_final_response()
        charging_id = stream._response.headers["x-request-id"]
    kinds = list(dict.fromkeys(event.type for event in events))
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == plain(20)
    assert response.output_text == plain(20)
    assert response.usage is not None
    assert response.usage.output_tokens == 20
    assert (await subscriber.receipt(charging_id))["charged_amount"] == 30 * TOKEN


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_tool_is_called_and_its_result_goes_back(running: Running, streamed: bool) -> None:
    services, subscriber = running
    made = {"simulate": {"output_tokens": 30, "tools": {"calls": 1, "name": "weather", "arguments": {"city": "Oslo"}}}}
    async with sdk(services, subscriber.api_key) as client:
        if streamed:
            async with client.responses.stream(model="small", input=HELLO, tools=[WEATHER], extra_body=made) as stream:
                response: Any = await stream.get_final_response()
        else:
            response = await client.responses.create(model="small", input=HELLO, tools=[WEATHER], extra_body=made)
        call = response.output[-1]
        assert isinstance(call, ResponseFunctionToolCall)
        assert (call.name, call.arguments.strip(), call.status) == ("weather", '{"city": "Oslo"}', "completed")
        history: Any = [
            {"role": "user", "content": HELLO},
            *(item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output),
            {"type": "function_call_output", "call_id": call.call_id, "output": "Rain."},
        ]
        answer = await client.responses.create(model="small", input=history, tools=[WEATHER], extra_body=TWENTY)
    assert answer.output_text == plain(20)


async def test_encrypted_thought_comes_and_goes_back(running: Running) -> None:
    services, subscriber = running
    made = {"simulate": {"output_tokens": 40, "reasoning_tokens": 20}}
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.responses.with_raw_response.create(
            model="small", input=HELLO, include=["reasoning.encrypted_content"], store=False, extra_body=made
        )
        response = raw.parse()
        thought = response.output[0]
        assert isinstance(thought, ResponseReasoningItem)
        assert len(thought.encrypted_content or "") == 160
        assert response.usage is not None
        assert (response.usage.output_tokens, response.usage.output_tokens_details.reasoning_tokens) == (40, 20)
        history: Any = [
            {"role": "user", "content": HELLO},
            *(item.model_dump(exclude_none=True) for item in response.output),
            {"role": "user", "content": HELLO},
        ]
        again = await client.responses.create(model="small", input=history, extra_body=TWENTY)
    assert again.output_text == plain(20)
    receipt = await subscriber.receipt(raw.headers["x-request-id"])
    assert (receipt["usage"]["output"], receipt["usage"]["reasoning"], receipt["charged_amount"]) == (20, 20, 50 * TOKEN)


@pytest.mark.parametrize("streamed", [False, True])
async def test_an_answer_that_the_quota_cuts_is_incomplete(running: Running, streamed: bool) -> None:
    services, _ = running
    async with aiohttp.ClientSession() as http:
        poor = await Subscriber.open(services, http, f"poor-{streamed}", tokens=1_000)
        made: Any = {"simulate": {"output_tokens": 5_000, "tokens_per_second": 20_000, "ignores_limit": True}}
        async with sdk(services, poor.api_key) as client:
            if streamed:
                stream = await client.responses.create(model="small", input=HELLO, stream=True, extra_body=made)
                events = [event async for event in stream]
                assert [event.sequence_number for event in events] == list(range(len(events)))
                assert [event.type for event in events[-4:]] == [
                    "response.output_text.done",
                    "response.content_part.done",
                    "response.output_item.done",
                    "response.incomplete",
                ]
                response: Any = events[-1].response  # type: ignore[union-attr]
                told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            else:
                response = await client.responses.create(model="small", input=HELLO, extra_body=made)
                told = response.output_text
            assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
            assert response.output_text == told
            assert plain(5_000).startswith(told)
            assert 400 < response.usage.output_tokens < 1_000
            with pytest.raises(openai.RateLimitError) as refused:
                await client.responses.create(model="small", input="x" * 8_000, extra_body=TWENTY)
        assert (refused.value.status_code, refused.value.code, refused.value.type) == (
            429,
            "insufficient_quota",
            "insufficient_quota",
        )
        assert refused.value.response.headers["x-should-retry"] == "false"


async def test_a_vendor_that_fails_in_mid_stream_is_told_as_failed(running: Running) -> None:
    services, subscriber = running
    made = {"simulate": {"output_tokens": 50, "failure": "error_mid_stream", "failure_after_tokens": 10}}
    async with sdk(services, subscriber.api_key) as client:
        stream = await client.responses.create(model="small", input=HELLO, stream=True, extra_body=made)
        events = [event async for event in stream]
    last = events[-1]
    assert last.type == "response.failed"
    assert last.response.error is not None
    assert (last.response.status, last.response.error.code) == ("failed", "vendor_error")
    assert [event.sequence_number for event in events] == list(range(len(events)))


@pytest.mark.parametrize(
    ("field", "value"),
    [("previous_response_id", "resp_1"), ("conversation", "conv_1"), ("background", True), ("prompt", {"id": "pmpt_1"})],
)
async def test_what_would_be_kept_is_refused(running: Running, field: str, value: Any) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.BadRequestError, match="kept here") as refused:
            await client.responses.create(model="small", input=HELLO, extra_body={field: value})
    assert (refused.value.param, refused.value.code) == (field, "unsupported_parameter")


async def test_what_is_kept_nowhere_is_said(running: Running) -> None:
    services, subscriber = running
    headers = {"Authorization": f"Bearer {subscriber.api_key}"}
    async with aiohttp.ClientSession() as http, http.get(f"{services.base_url}/responses", headers=headers) as answer:
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(openai.NotFoundError, match="No response is kept here"):
            await client.responses.retrieve("resp_1")
