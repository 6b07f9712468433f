"""Models that are called in a dialect which their vendors do not speak: official SDKs, a real cell, the vendor simulator."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anthropic
import msgspec
import openai
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell
from tests.registry.catalogs import changed

pytestmark = pytest.mark.asyncio(loop_scope="module")

_VENDOR = """\
  - vendor_id: {name}
    display_name: {name}
    base_url: https://api.{name}.test/v1
    api_key_env: TOKENLINE_{upper}_API_KEY
    base_url_env: TOKENLINE_{upper}_BASE_URL
    endpoints: {{{dialect}: {{{more}}}}}
"""
_MODEL = """\
  - model_id: {name}
    display_name: {name}
    owned_by: {name}
    context_window_tokens: 100000
    max_output_tokens: 2000
    family_id: {family}
    release_date: 2026-01-04
    routes:
      - {{vendor_id: {name}, vendor_model_id: {name}-1}}
"""
# By the name of a vendor and its only model, the dialect that it speaks.
VENDORS = {"chats": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses"}
_MORE = {"chats": "prompt_caching: automatic", "messages": "", "responses": "prompt_caching: marks"}
THREE = changed(
    "tokenizer_families:\n",
    "".join(_VENDOR.format(name=name, upper=name.upper(), dialect=dialect, more=_MORE[name]) for name, dialect in VENDORS.items())
    + "tokenizer_families:\n",
    changed(
        "tariffs:\n",
        "".join(_MODEL.format(name=name, family="byte-bpe") for name in VENDORS) + "tariffs:\n",
    ),
).replace("    reservation_policy: worst_case\n", "    reservation_policy: worst_case\n    output_window_tokens: 64\n", 1)
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}


class Clients:
    """The official SDKs, for one account."""

    def __init__(self, running: Cell, account_id: str, api_key: str) -> None:
        self.account_id = account_id
        self.api_key = api_key
        self.openai = openai.AsyncOpenAI(
            base_url=running.base_url,
            api_key=api_key,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=False),
            max_retries=0,
        )
        self.anthropic = anthropic.AsyncAnthropic(
            base_url=running.base_url.removesuffix("/v1"),
            api_key=api_key,
            http_client=anthropic.DefaultAsyncHttpxClient(trust_env=False),
            max_retries=0,
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell"), catalog=THREE) as services:
        await services.ready()
        yield services


@asynccontextmanager
async def clients(running: Cell, name: str, tokens: int = 1_000_000) -> AsyncIterator[Clients]:
    """SDKs with a key of an account of their own, which has so many TOKEN."""
    account_id, api_key = await running.subscriber(name)
    bucket = {"unit": "TOKEN", "amount": tokens * 1_000_000, "valid_days": 30, "idempotency_key": f"{name}-top-up"}
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", bucket)).status == 201
    opened = Clients(running, account_id, api_key)
    async with opened.openai, opened.anthropic:
        yield opened


class Told(NamedTuple):
    """An answer as its client reads it."""

    thought: str
    text: str
    # (name, arguments)
    calls: list[tuple[str, Any]]
    stop: str | None
    # input without cached, cached, output.
    usage: tuple[int, int, int]
    # All that the client sends back of it in the next turn.
    sent_back: list[Any]
    call_ids: list[str]
    request_id: str | None


async def ask_messages(to: Clients, model: str, *, streamed: bool, messages: list[Any], **fields: Any) -> Told:
    asked: Any = {"model": model, "max_tokens": 300, "messages": messages, **fields}
    if streamed:
        async with to.anthropic.messages.stream(**asked) as stream:
            message = await stream.get_final_message()
            request_id = stream.response.headers["request-id"]
    else:
        raw = await to.anthropic.messages.with_raw_response.create(**asked)
        message, request_id = await _parsed(raw), raw.headers["request-id"]
    blocks = message.content
    usage = message.usage
    return Told(
        "".join(block.thinking for block in blocks if block.type == "thinking"),
        "".join(block.text for block in blocks if block.type == "text"),
        [(block.name, block.input) for block in blocks if block.type == "tool_use"],
        message.stop_reason,
        (usage.input_tokens, usage.cache_read_input_tokens or 0, usage.output_tokens),
        [{"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in blocks]}],
        [block.id for block in blocks if block.type == "tool_use"],
        request_id,
    )


async def _parsed(raw: Any) -> Any:
    parsed = raw.parse()
    return await parsed if asyncio.iscoroutine(parsed) else parsed


async def ask_chat(to: Clients, model: str, *, streamed: bool, messages: list[Any], **fields: Any) -> Told:
    asked: Any = {"model": model, "max_completion_tokens": 300, "messages": messages, **fields}
    if streamed:
        options: Any = {"include_usage": True}
        async with to.openai.chat.completions.stream(**asked, stream_options=options) as stream:
            whole = await stream.get_final_completion()
            request_id = stream._response.headers["x-request-id"]  # the SDK has no other way
    else:
        raw = await to.openai.chat.completions.with_raw_response.create(**asked)
        whole, request_id = await _parsed(raw), raw.headers["x-request-id"]
    [choice] = whole.choices
    usage: Any = whole.usage
    cached = usage.prompt_tokens_details.cached_tokens
    calls = choice.message.tool_calls or []
    return Told(
        getattr(choice.message, "reasoning_content", None) or "",
        choice.message.content or "",
        [(call.function.name, msgspec.json.decode(call.function.arguments)) for call in calls],
        choice.finish_reason,
        (usage.prompt_tokens - cached, cached, usage.completion_tokens),
        [
            {
                "role": "assistant",
                "content": choice.message.content,
                "tool_calls": [
                    {
                        "id": call.id,
                        "type": "function",
                        "function": {"name": call.function.name, "arguments": call.function.arguments},
                    }
                    for call in calls
                ],
            }
        ],
        [call.id for call in calls],
        request_id,
    )


async def ask_responses(to: Clients, model: str, *, streamed: bool, messages: list[Any], **fields: Any) -> Told:
    asked: Any = {"model": model, "max_output_tokens": 300, "input": messages, "store": False, **fields}
    if streamed:
        numbers = []
        async with to.openai.responses.stream(**asked) as stream:
            async for event in stream:
                numbers.append(event.sequence_number)
            response = await stream.get_final_response()
            request_id = stream._response.headers["x-request-id"]  # the SDK has no other way
        assert numbers == list(range(len(numbers)))
    else:
        raw = await to.openai.responses.with_raw_response.create(**asked)
        response, request_id = await _parsed(raw), raw.headers["x-request-id"]
    usage: Any = response.usage
    cached = usage.input_tokens_details.cached_tokens
    calls = [item for item in response.output if item.type == "function_call"]
    thoughts = [item for item in response.output if item.type == "reasoning"]
    return Told(
        "".join(part.text for item in thoughts for part in item.summary),
        response.output_text,
        [(call.name, msgspec.json.decode(call.arguments)) for call in calls],
        response.incomplete_details.reason if response.incomplete_details else response.status,
        (usage.input_tokens - cached, cached, usage.output_tokens),
        [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output],
        [call.call_id for call in calls],
        request_id,
    )


ASK = {"chats": ask_chat, "messages": ask_messages, "responses": ask_responses}
# Tools as each dialect has them, and the result of one.
TOOLS: dict[str, Any] = {
    "chats": {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
    "messages": {"name": "weather", "input_schema": WEATHER},
    "responses": {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False},
}


def results(dialect: str, call_ids: list[str]) -> list[Any]:
    """The turn after calls: their results."""
    match dialect:
        case "chats":
            return [{"role": "tool", "tool_call_id": call_id, "content": "sunny"} for call_id in call_ids]
        case "messages":
            blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": "sunny"} for call_id in call_ids]
            return [{"role": "user", "content": blocks}]
    return [{"type": "function_call_output", "call_id": call_id, "output": "sunny"} for call_id in call_ids]


# Dialects by the name of the model whose vendor speaks it: the client's, then the vendor's.
WAYS = [(client, vendor) for client in VENDORS for vendor in VENDORS if client != vendor]
ways = pytest.mark.parametrize(("client", "vendor"), WAYS, ids=["-".join(way) for way in WAYS])
STOPS = {
    "chats": ("tool_calls", "stop", "length"),
    "messages": ("tool_use", "end_turn", "max_tokens"),
    "responses": ("completed", "completed", "max_output_tokens"),
}


async def receipt(running: Cell, api_key: str, charging_id: str | None) -> Any:
    """The receipt of a call, once billing has it."""
    while (reply := await running.call("GET", f"/v1/me/receipts/{charging_id}", api_key)).status != 200:
        pass
    return reply.json


@ways
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_task_with_two_calls_of_tools(running: Cell, client: str, vendor: str, *, streamed: bool) -> None:
    simulate: dict[str, Any] = {
        "output_tokens": 60,
        "reasoning_tokens": 10,
        "reasoning": "reasoning_content",
        "cached_input_tokens": 2,
        "tools": {"calls": 2, "name": "weather", "arguments": {"city": "Bern"}},
    }
    async with clients(running, f"task-{client}-{vendor}-{streamed}") as to:
        fields: Any = {"tools": [TOOLS[client]], "extra_body": {"simulate": simulate}}
        messages: list[Any] = [{"role": "user", "content": "The weather?"}]
        told = await ASK[client](to, vendor, streamed=streamed, messages=messages, **fields)
        assert told.calls == [("weather", {"city": "Bern"})] * 2
        assert told.stop == STOPS[client][0]
        assert told.text
        assert told.thought
        assert len(set(told.call_ids)) == 2
        billed = await receipt(running, to.api_key, told.request_id)
        of_class = billed["usage"]
        assert told.usage == (of_class["input"], of_class["cached_input"], of_class["output"] + of_class["reasoning"])
        messages += [*told.sent_back, *results(client, told.call_ids)]
        fields["extra_body"] = {"simulate": {"output_tokens": 20}}
        told = await ASK[client](to, vendor, streamed=streamed, messages=messages, **fields)
        assert (told.calls, told.stop) == ([], STOPS[client][1])
        assert told.text


@ways
async def test_a_quota_that_ends_in_a_call(running: Cell, client: str, vendor: str) -> None:
    # The vendor heeds no limit, so it is cut where the quota ends.
    simulate = {"output_tokens": 4_000, "ignores_limit": True, "tools": {"calls": 2, "argument_tokens": 1_800, "name": "weather"}}
    async with clients(running, f"cut-{client}-{vendor}", tokens=2_000) as to:
        fields: Any = {"tools": [TOOLS[client]], "extra_body": {"simulate": simulate}}
        told = await ended(to, client, vendor, [{"role": "user", "content": "The weather?"}], 1_999, fields)
        assert told == STOPS[client][2]
        [bucket] = (await running.call("GET", "/v1/me/balance", to.api_key)).json["buckets"]
        assert (bucket["reserved"], bucket["remaining"] >= 0) == (0, True)
        assert bucket["consumed"] > 1_000_000_000


async def ended(to: Clients, client: str, model: str, messages: list[Any], limit: int, fields: dict[str, Any]) -> str | None:
    """The reason at the end of a stream, of which the SDK has read every event; the arguments of its calls may be half."""
    match client:
        case "chats":
            reasons: list[str | None] = []
            chat: Any = await to.openai.chat.completions.create(
                model=model, messages=messages, max_completion_tokens=limit, stream=True, **fields
            )
            async for chunk in chat:
                reasons += [choice.finish_reason for choice in chunk.choices]
            return reasons[-1]
        case "messages":
            delta = None
            stream: Any = await to.anthropic.messages.create(
                model=model, messages=messages, max_tokens=limit, stream=True, **fields
            )
            async for event in stream:
                delta = event.delta if event.type == "message_delta" else delta
            assert delta is not None
            return str(delta.stop_reason)
    last = None
    events: Any = await to.openai.responses.create(model=model, input=messages, max_output_tokens=limit, stream=True, **fields)
    async for event in events:
        last = event
    assert last is not None
    assert last.response.output[-1].status == "incomplete"
    return str(last.response.incomplete_details.reason)


@ways
@pytest.mark.parametrize("failure", ["break_mid_stream", "error_mid_stream", "cut_mid_event"])
async def test_a_vendor_that_breaks_off(running: Cell, client: str, vendor: str, failure: str) -> None:
    simulate = {"output_tokens": 60, "failure": failure, "failure_after_tokens": 20, "tokens_per_second": 2_000}
    async with clients(running, f"{failure}-{client}-{vendor}") as to:
        fields: Any = {"extra_body": {"simulate": simulate}}
        messages: list[Any] = [{"role": "user", "content": "Hi"}]
        if client == "responses":
            stream: Any = await to.openai.responses.create(model=vendor, input=messages, stream=True, **fields)
            last = [event async for event in stream][-1]
            assert last.type == "response.failed"
            message = last.response.error.message
        else:
            with pytest.raises((openai.APIError, anthropic.APIError)) as raised:
                await ended(to, client, vendor, messages, 100, fields)
            message = str(raised.value)
        assert "broke off in the middle of the answer" in message


async def test_tokens_of_a_message_are_counted_here_and_the_answer_says_so(running: Cell) -> None:
    async with clients(running, "counting") as to:
        for model, provenance in (("chats", "estimated"), ("responses", "estimated"), ("messages", None)):
            counted = await to.anthropic.messages.with_raw_response.count_tokens(
                model=model, system="Be brief.", messages=[{"role": "user", "content": "one two three " * 100}]
            )
            assert counted.headers.get("x-count-provenance") == provenance
            assert 250 < (await _parsed(counted)).input_tokens < 500
        balance = await running.call("GET", "/v1/me/balance", to.api_key)
        assert balance.json["buckets"][0]["consumed"] == 0


async def test_what_is_left_out_is_named_and_what_cannot_be_is_refused(running: Cell) -> None:
    async with clients(running, "dropped") as to:
        system: Any = [{"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}]
        hello: Any = [{"role": "user", "content": "Hi"}]
        for model, dropped in (("chats", "cache_control, top_k"), ("responses", "top_k"), ("messages", None)):
            raw = await to.anthropic.messages.with_raw_response.create(
                model=model, max_tokens=50, system=system, messages=hello, extra_body={"top_k": 5}
            )
            assert raw.headers.get("x-dropped-fields") == dropped
        with pytest.raises(anthropic.BadRequestError, match="stop_sequences cannot be translated"):
            await to.anthropic.messages.create(model="responses", max_tokens=50, messages=hello, stop_sequences=["END"])
        with pytest.raises(openai.BadRequestError) as raised:
            await to.openai.chat.completions.create(model="messages", messages=hello, n=2)
        assert (raised.value.param, raised.value.code) == ("n", "unsupported_in_translation")
        balance = await running.call("GET", "/v1/me/balance", to.api_key)
        assert balance.json["buckets"][0]["reserved"] == 0


async def test_every_model_of_conversations_is_listed_for_every_client(running: Cell) -> None:
    async with clients(running, "listing") as to:
        of_openai = {model.id async for model in to.openai.models.list()}
        of_anthropic = {model.id async for model in to.anthropic.models.list()}
        assert of_openai == of_anthropic
        assert set(VENDORS) <= of_anthropic


async def test_a_model_names_the_places_where_it_is_called_translated_too(running: Cell) -> None:
    async with clients(running, "elsewhere") as to:
        with pytest.raises(openai.BadRequestError) as refused:
            await to.openai.embeddings.create(model="messages", input="a")
        assert refused.value.code == "unsupported_dialect"
        assert "call it at /v1/chat/completions, /v1/messages, /v1/responses." in str(refused.value)


async def test_thought_comes_back_with_the_calls_that_it_led_to(running: Cell) -> None:
    simulate = {
        "output_tokens": 60,
        "reasoning_tokens": 40,
        "reasoning": "reasoning_content",
        "tools": {"calls": 1, "name": "weather"},
    }
    # The simulator counts thought as input where the dialect has a place for it.
    for client, vendor in (("responses", "messages"), ("messages", "responses")):
        async with clients(running, f"thought-{client}-{vendor}") as to:
            messages: list[Any] = [{"role": "user", "content": "The weather?"}]
            fields: Any = {"tools": [TOOLS[client]], "extra_body": {"simulate": simulate}}
            told = await ASK[client](to, vendor, streamed=True, messages=messages, **fields)
            assert told.thought
            inputs = []
            kept = told.sent_back
            without = [item for item in kept if item.get("type") != "reasoning"]
            if client == "messages":
                without = [
                    {**turn, "content": [block for block in turn["content"] if block["type"] != "thinking"]} for turn in kept
                ]
            for turns in (kept, without):
                messages = [{"role": "user", "content": "The weather?"}, *turns, *results(client, told.call_ids)]
                again = await ASK[client](to, vendor, streamed=True, messages=messages, tools=[TOOLS[client]])
                inputs.append(again.usage[0])
            # The vendor was sent the thought again: 40 tokens of it where it can be read.
            assert inputs[0] >= inputs[1] + 35
