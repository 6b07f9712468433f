"""The `simulate` object in the text of a message."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from services.runtime.lifecycle import Lifecycle
from services.vendor_simulator.app import run_vendor_simulator
from services.vendor_simulator.config import VendorSimulatorConfig
from tests.vendor_simulator.test_messages import assemble, events_of

ARGUMENTS = {"command": "echo 'hi'", "description": "Ж"}
TOOLS = {"calls": 1, "name": "Bash", "arguments": ARGUMENTS}
SPOKEN = "say hi\nsimulate: " + json.dumps({"output_tokens": 40, "tools": TOOLS}) + "\nplease"
# Their JSON has 49 bytes in ASCII, which are 13 tokens.
ARGUMENT_TOKENS = 13
CALLED = {"role": "assistant", "content": "", "tool_calls": []}


@pytest.fixture
async def heeding() -> AsyncIterator[str]:
    async with run_vendor_simulator(VendorSimulatorConfig(port=0, heeds_text=True), Lifecycle()) as url:
        yield url


async def messages(http: aiohttp.ClientSession, url: str, turns: list[Any], **fields: Any) -> tuple[int, Any]:
    request = {"model": "m", "max_tokens": 100, "messages": turns, **fields}
    async with http.post(f"{url}/messages", json=request) as response:
        return response.status, await response.json()


async def chat(http: aiohttp.ClientSession, url: str, turns: list[Any], **fields: Any) -> tuple[int, Any]:
    async with http.post(f"{url}/chat/completions", json={"model": "m", "messages": turns, **fields}) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("content", [SPOKEN, [{"type": "text", "text": "first"}, {"type": "text", "text": SPOKEN}]])
async def test_the_last_message_asks_for_a_call_of_a_tool(http: aiohttp.ClientSession, heeding: str, content: Any) -> None:
    turns = [{"role": "user", "content": content}, {"role": "system", "content": "be brief"}]
    _, message = await messages(http, heeding, turns)
    assert message["stop_reason"] == "tool_use"
    assert message["usage"]["output_tokens"] == 40
    said, called = message["content"]
    assert len(said["text"]) == 4 * (40 - ARGUMENT_TOKENS)
    assert (called["name"], called["input"]) == ("Bash", ARGUMENTS)

    async with http.post(
        f"{heeding}/messages", json={"model": "m", "max_tokens": 100, "stream": True, "messages": turns}
    ) as response:
        blocks = assemble(events_of(await response.read()))
    assert (blocks[1]["name"], blocks[1]["input"]) == ("Bash", ARGUMENTS)

    _, completion = await chat(http, heeding, turns)
    (choice,) = completion["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert completion["usage"]["completion_tokens"] == 40
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "Bash"
    assert len(call["function"]["arguments"]) == 4 * ARGUMENT_TOKENS
    assert json.loads(call["function"]["arguments"]) == ARGUMENTS


async def test_the_last_item_asks_for_a_call_of_a_tool(http: aiohttp.ClientSession, heeding: str) -> None:
    items = [{"role": "user", "content": SPOKEN}, {"role": "system", "content": "be brief"}]
    async with http.post(f"{heeding}/responses", json={"model": "m", "input": items}) as response:
        output = (await response.json())["output"]
    assert [(item["name"], json.loads(item["arguments"])) for item in output if item["type"] == "function_call"] == [
        ("Bash", ARGUMENTS)
    ]


async def test_what_a_tool_brought_ends_the_round(http: aiohttp.ClientSession, heeding: str) -> None:
    asked = {"role": "user", "content": SPOKEN}
    call = {"type": "tool_use", "id": "toolu_0", "name": "Bash", "input": ARGUMENTS}
    result = {"type": "tool_result", "tool_use_id": "toolu_0", "content": SPOKEN}
    brought = {"role": "user", "content": [result, {"type": "text", "text": SPOKEN}]}
    _, message = await messages(http, heeding, [asked, {"role": "assistant", "content": [call]}, brought])
    assert message["stop_reason"] == "end_turn"
    _, completion = await chat(http, heeding, [asked, CALLED, {"role": "tool", "tool_call_id": "call_0", "content": SPOKEN}])
    assert completion["choices"][0]["finish_reason"] == "stop"


async def test_text_is_text_unless_the_config_says_otherwise(http: aiohttp.ClientSession, base_url: str, heeding: str) -> None:
    turns = [{"role": "user", "content": SPOKEN}]
    assert (await messages(http, base_url, turns))[1]["usage"]["output_tokens"] == 16
    assert (await chat(http, base_url, turns))[1]["usage"]["completion_tokens"] == 16
    # The member of the body says more than the text.
    assert (await messages(http, heeding, turns, simulate={"output_tokens": 3}))[1]["usage"]["output_tokens"] == 3
    # Within a line it is no line.
    inline = [{"role": "user", "content": 'the line "simulate: {}" does nothing here, nor does simulate: {"output_tokens": 3}'}]
    assert (await chat(http, heeding, inline))[1]["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize("line", ['simulate: {"output": 3}', "simulate: {output_tokens}"])
async def test_a_line_that_cannot_be_read_is_refused(http: aiohttp.ClientSession, heeding: str, line: str) -> None:
    status, refusal = await chat(http, heeding, [{"role": "user", "content": line}])
    assert (status, refusal["error"]["param"]) == (400, "simulate")
    status, refusal = await messages(http, heeding, [{"role": "user", "content": line}])
    assert (status, refusal["error"]["type"]) == (400, "invalid_request_error")
    assert "begins with simulate:" in refusal["error"]["message"]
