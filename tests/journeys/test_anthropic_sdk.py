"""The official SDK of Anthropic's clients against the whole system: what its users see, and what they pay."""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import anthropic
import pytest
import pytest_asyncio
from anthropic.types import Message, MessageParam, TextBlock, ThinkingBlock, ToolParam, ToolUseBlock

from services.runtime.identifiers import uuid7_time_us
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Subscriber, plain
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

# 40 letters: 10 tokens of input.
HELLO: list[MessageParam] = [{"role": "user", "content": "x" * 40}]
TWENTY = {"simulate": {"output_tokens": 20}}
WEATHER: ToolParam = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
_ADDRESS = "    base_url_env: TOKENLINE_ACME_BASE_URL\n"
# A vendor that speaks both dialects and takes instructions to the simulator.
BOTH = changed(
    _ADDRESS, _ADDRESS + "    endpoints:\n      openai_chat: {}\n      anthropic_messages: {extra_fields: [simulate]}\n", CATALOG
)
Running = tuple[Cell, Subscriber]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    async with cell(tmp_path_factory.mktemp("anthropic"), catalog=BOTH) as services, aiohttp.ClientSession() as http:
        await services.ready()
        yield services, await Subscriber.open(services, http, "anthropic")
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


def sdk(services: Cell, api_key: str | None, **options: Any) -> anthropic.AsyncAnthropic:
    """A client as its documents say; the key goes into x-api-key."""
    return anthropic.AsyncAnthropic(
        base_url=services.base_url.removesuffix("/v1"),
        api_key=api_key,
        http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False, **options.pop("http", {})),
        **options,
    )


async def test_a_plain_answer_and_its_receipt(running: Running) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.messages.with_raw_response.create(model="small", max_tokens=50, messages=HELLO, extra_body=TWENTY)
    message = await raw.parse()
    assert [(block.type, getattr(block, "text", "")) for block in message.content] == [("text", plain(20))]
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (10, 20)
    charging_id = raw.headers["request-id"]
    assert uuid7_time_us(charging_id) is not None
    assert message._request_id == charging_id
    receipt = await subscriber.receipt(charging_id)
    assert (receipt["close_cause"], receipt["provenance"], receipt["charged_amount"]) == ("normal", "vendor", 30 * TOKEN)
    assert (receipt["model"], receipt["vendor_model_id"]) == ("small", "acme-small")


async def test_a_key_passes_as_a_bearer_token_too(running: Running) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    async with sdk(services, None, auth_token=subscriber.api_key) as client:
        message = await client.beta.messages.create(
            model="small", max_tokens=50, messages=[{"role": "user", "content": "x" * 40}], extra_body=TWENTY
        )
    assert message.usage.output_tokens == 20
    assert await subscriber.consumed() == before + 30


async def test_a_stream_begins_with_the_real_input_and_ends_with_the_count(running: Running) -> None:
    services, subscriber = running
    async with (
        sdk(services, subscriber.api_key) as client,
        client.messages.stream(model="small", max_tokens=50, messages=HELLO, extra_body=TWENTY) as stream,
    ):
        events = [event async for event in stream]
        message = await stream.get_final_message()
        charging_id = stream.response.headers["request-id"]
    [start] = [event for event in events if event.type == "message_start"]
    assert start.message.usage.input_tokens == 10
    assert events[-1].type == "message_stop"
    assert "".join(event.text for event in events if event.type == "text") == plain(20)
    assert (message.usage.input_tokens, message.usage.output_tokens, message.stop_reason) == (10, 20, "end_turn")
    assert (await subscriber.receipt(charging_id))["charged_amount"] == 30 * TOKEN


@pytest.mark.parametrize("streamed", [False, True])
async def test_tools_are_called_and_their_results_go_back(running: Running, streamed: bool) -> None:
    services, subscriber = running
    made = {"simulate": {"output_tokens": 30, "tools": {"calls": 1, "argument_tokens": 10}}}
    message: Message
    async with sdk(services, subscriber.api_key) as client:
        if streamed:
            async with client.messages.stream(
                model="small", max_tokens=50, messages=HELLO, tools=[WEATHER], extra_body=made
            ) as stream:
                message = await stream.get_final_message()
        else:
            message = await client.messages.create(model="small", max_tokens=50, messages=HELLO, tools=[WEATHER], extra_body=made)
        assert message.stop_reason == "tool_use"
        call = message.content[-1]
        assert isinstance(call, ToolUseBlock)
        assert call.id
        assert isinstance(call.input, dict)
        assert message.usage.output_tokens == 30
        result: MessageParam = {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": [{"type": "text", "text": "Rain."}]}],
        }
        asked: list[MessageParam] = [*HELLO, {"role": "assistant", "content": message.content}, result]
        answer = await client.messages.create(model="small", max_tokens=50, messages=asked, tools=[WEATHER], extra_body=TWENTY)
    assert answer.usage.input_tokens > message.usage.input_tokens
    assert answer.stop_reason == "end_turn"


@pytest.mark.parametrize("streamed", [False, True])
async def test_thinking_is_shown_and_charged_as_reasoning(running: Running, streamed: bool) -> None:
    services, subscriber = running
    made = {"simulate": {"output_tokens": 50, "reasoning_tokens": 30, "reasoning": "reasoning_content"}}
    arguments: dict[str, Any] = {
        "model": "small",
        "max_tokens": 2_000,
        "messages": HELLO,
        "thinking": {"type": "enabled", "budget_tokens": 1_024},
        "extra_body": made,
    }
    async with sdk(services, subscriber.api_key) as client:
        if streamed:
            async with client.messages.stream(**arguments) as stream:
                message = await stream.get_final_message()
                charging_id = stream.response.headers["request-id"]
        else:
            message = await client.messages.create(**arguments)
            charging_id = message._request_id
    assert [block.type for block in message.content] == ["thinking", "text"]
    [thinking, _] = message.content
    assert isinstance(thinking, ThinkingBlock)
    assert len(thinking.thinking) == 4 * 30
    receipt = await subscriber.receipt(charging_id)
    used = receipt["usage"]
    assert (used["output"], used["reasoning"], receipt["provenance"]) == (20, 30, "vendor")


@pytest.mark.parametrize("streamed", [False, True])
async def test_what_the_cache_read_and_wrote_has_classes_of_its_own(running: Running, streamed: bool) -> None:
    services, subscriber = running
    made = {"output_tokens": 20, "cached_input_tokens": 3, "cache_write_tokens": 2, "cache_write_1h_tokens": 1}
    arguments: dict[str, Any] = {"model": "small", "max_tokens": 50, "messages": HELLO, "extra_body": {"simulate": made}}
    async with sdk(services, subscriber.api_key) as client:
        if streamed:
            async with client.messages.stream(**arguments) as stream:
                message = await stream.get_final_message()
                charging_id = stream.response.headers["request-id"]
        else:
            message = await client.messages.create(**arguments)
            charging_id = message._request_id
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (4, 3, 3)
    receipt = await subscriber.receipt(charging_id)
    assert receipt["usage"] == {
        **{"input": 4, "cached_input": 3, "cache_write": 2, "cache_write_1h": 1},
        **{"output": 20, "reasoning": 0},
    }
    assert receipt["charged_amount"] == 30 * TOKEN


async def test_counting_tokens_costs_nothing(running: Running) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    async with sdk(services, subscriber.api_key) as client:
        raw = await client.messages.with_raw_response.count_tokens(model="small", messages=HELLO)
    assert (await raw.parse()).input_tokens == 10
    found = await services.call("GET", f"/v1/me/receipts/{raw.headers['request-id']}", subscriber.api_key)
    assert found.status == 404
    assert await subscriber.consumed() == before


@pytest.mark.parametrize(
    ("name", "word", "told"),
    [
        ("x-tokenline-run", "two words", "x-tokenline-run must have 1 to 64 visible ASCII characters."),
        ("x-tokenline-fallback", "yes", "x-tokenline-fallback must be equivalent, or none, or left out"),
    ],
)
@pytest.mark.parametrize("path", ["messages", "messages/count_tokens"])
async def test_a_wrong_header_of_a_call_is_told_when_its_tokens_are_counted(
    running: Running, path: str, name: str, word: str, told: str
) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(anthropic.BadRequestError, match=re.escape(told)):
            await client.post(
                f"/v1/{path}",
                body={"model": "small", "messages": HELLO, "max_tokens": 10},
                cast_to=object,
                options={"headers": {name: word}},
            )
    assert await subscriber.consumed() == before


async def test_models_are_listed_page_by_page_and_found(running: Running) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        listed = [model async for model in client.models.list(limit=2)]
        found = await client.models.retrieve("small")
        with pytest.raises(anthropic.NotFoundError) as missing:
            await client.models.retrieve("no-such-model")
    # All were released on one day.
    assert [model.id for model in listed] == ["hostile", "pair", "small", "thinker"]
    assert (found.id, found.type, found.display_name, found.created_at.isoformat()) == (
        "small",
        "model",
        "Small",
        "2026-01-02T00:00:00+00:00",
    )
    assert _kind(missing.value) == "not_found_error"
    assert missing.value.request_id


async def test_errors_become_the_sdks_exceptions(running: Running) -> None:
    services, subscriber = running
    async with sdk(services, "tl-local-wrong") as client:
        with pytest.raises(anthropic.AuthenticationError) as wrong:
            await client.messages.create(model="small", max_tokens=50, messages=HELLO)
    assert _kind(wrong.value) == "authentication_error"
    assert wrong.value.request_id
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(anthropic.NotFoundError) as missing:
            await client.messages.create(model="no-such-model", max_tokens=50, messages=HELLO)
        assert _kind(missing.value) == "not_found_error"
        with pytest.raises(anthropic.BadRequestError) as bad:
            await client.messages.create(model="small", max_tokens=50, messages=[])
        assert _kind(bad.value) == "invalid_request_error"
        assert "messages" in str(bad.value)
        with pytest.raises(anthropic.BadRequestError) as extra:
            await client.messages.create(model="small", max_tokens=50, messages=HELLO, extra_body={"service_tier": "auto"})
        assert "service_tier" in str(extra.value)


def _kind(error: anthropic.APIStatusError) -> str:
    body: Any = error.body
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["request_id"] == error.request_id
    kind: str = body["error"]["type"]
    return kind


@pytest.mark.parametrize("streamed", [False, True])
async def test_quota_used_up_is_a_billing_error_that_is_told_once(running: Running, streamed: bool) -> None:
    services, subscriber = running
    poor = await Subscriber.open(services, subscriber.http, f"poor-{streamed}", tokens=20)
    requests: list[str] = []

    async def count(request: object) -> None:
        requests.append(str(request))

    async with sdk(services, poor.api_key, max_retries=2, http={"event_hooks": {"request": [count]}}) as client:
        with pytest.raises(anthropic.APIStatusError) as refused:
            await client.messages.create(model="small", max_tokens=50, messages=HELLO, stream=streamed)
    assert refused.value.status_code == 402
    assert _kind(refused.value) == "billing_error"
    assert "Top up" in str(refused.value)
    assert len(requests) == 1
    assert await poor.consumed() == 0


async def test_a_balance_that_ends_in_the_middle_ends_the_stream_as_its_limit(running: Running) -> None:
    services, subscriber = running
    short = await Subscriber.open(services, subscriber.http, "short", tokens=400)
    made = {"simulate": {"output_tokens": 3_000}}
    async with (
        sdk(services, short.api_key) as client,
        client.messages.stream(model="small", max_tokens=3_000, messages=HELLO, extra_body=made) as stream,
    ):
        message = await stream.get_final_message()
    assert message.stop_reason == "max_tokens"
    [said] = message.content
    assert isinstance(said, TextBlock)
    assert message.usage.output_tokens == len(said.text) // 4 > 100
    assert await short.consumed() == 10 + message.usage.output_tokens
    assert await short.debt() == 0


async def test_a_vendor_with_too_much_to_do_is_retried_as_anthropic_is(running: Running) -> None:
    services, subscriber = running
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(anthropic.OverloadedError) as busy:
            await client.messages.create(
                model="small",
                max_tokens=50,
                messages=HELLO,
                metadata={"user_id": "busy"},
                extra_body={"simulate": {"failure": "overloaded_503"}},
            )
    assert busy.value.status_code == 529
    assert _kind(busy.value) == "overloaded_error"
    assert (await subscriber.served("busy"))["calls"] == 3


async def test_a_vendor_in_trouble_is_retried_and_an_error_in_the_middle_is_raised(running: Running) -> None:
    services, subscriber = running
    before = await subscriber.consumed()
    async with sdk(services, subscriber.api_key) as client:
        with pytest.raises(anthropic.InternalServerError) as trouble:
            await client.messages.create(
                model="small",
                max_tokens=50,
                messages=HELLO,
                metadata={"user_id": "trouble"},
                extra_body={"simulate": {"failure": "error_500"}},
            )
        assert _kind(trouble.value) == "api_error"
        assert (await subscriber.served("trouble"))["calls"] == 3
        assert await subscriber.consumed() == before
        broken = {"simulate": {"output_tokens": 20, "failure": "error_mid_stream", "failure_after_tokens": 8}}
        with pytest.raises(anthropic.APIStatusError):
            async with client.messages.stream(model="small", max_tokens=50, messages=HELLO, extra_body=broken) as stream:
                await stream.get_final_message()
    assert await subscriber.consumed() > before
