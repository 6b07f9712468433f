import json
from typing import Any, Literal

import aiohttp
import openai
import pytest

SIMULATE: dict[str, Any] = {
    "output_tokens": 30,
    "reasoning_tokens": 5,
    "reasoning": "reasoning",
    "tools": {"calls": 2, "argument_tokens": 6},
    "cached_input_tokens": 8,
    "added_input_tokens": 7,
}
ENCRYPTED: Literal["reasoning.encrypted_content"] = "reasoning.encrypted_content"


def client(base_url: str) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url=base_url, api_key="key-9", max_retries=0, http_client=openai.DefaultAsyncHttpxClient(trust_env=False)
    )


async def test_the_official_sdk_reads_all_of_it(base_url: str) -> None:
    async with client(base_url) as sdk:
        whole = await sdk.responses.create(model="m", input="abcd" * 20, include=[ENCRYPTED], extra_body={"simulate": SIMULATE})
        async with sdk.responses.stream(
            model="m", input="abcd" * 20, include=[ENCRYPTED], extra_body={"simulate": SIMULATE}
        ) as stream:
            events = [event async for event in stream]
            streamed = await stream.get_final_response()
    assert [item.type for item in whole.output] == ["reasoning", "message", "function_call", "function_call"]
    assert [event.sequence_number for event in events] == list(range(len(events)))

    def told(response: Any) -> list[Any]:
        ignored = {"id", "parsed_arguments"}
        return [item.model_dump(exclude=ignored, exclude_none=True) for item in response.output]

    plain = [{name: value for name, value in item.items() if name != "content"} for item in told(whole)]
    assert [{name: value for name, value in item.items() if name != "content"} for item in told(streamed)] == plain
    assert streamed.output_text == whole.output_text
    assert whole.usage is not None
    assert whole.usage == streamed.usage
    assert (whole.usage.input_tokens, whole.usage.input_tokens_details.cached_tokens) == (27, 8)
    assert whole.usage.input_tokens_details.cache_write_tokens == 0
    assert (whole.usage.output_tokens, whole.usage.output_tokens_details.reasoning_tokens) == (30, 5)


async def test_all_texts_of_the_input_count(base_url: str) -> None:
    items: Any = [
        {"role": "user", "content": [{"type": "input_text", "text": "a" * 40}]},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "b" * 40}], "encrypted_content": "x" * 99},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "c" * 40},
        {"type": "function_call_output", "call_id": "c", "output": "d" * 40},
    ]
    async with client(base_url) as sdk:
        response = await sdk.responses.create(model="m", input=items, instructions="e" * 40)
    assert response.usage is not None
    assert response.usage.input_tokens == 50


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_limit_makes_the_response_incomplete(http: aiohttp.ClientSession, base_url: str, streamed: bool) -> None:
    request = {"model": "m", "input": "a", "max_output_tokens": 16, "stream": streamed, "simulate": {"output_tokens": 40}}
    async with http.post(f"{base_url}/responses", json=request) as answer:
        raw = await answer.read()
    if streamed:
        last = raw.split(b"\n\n")[-2]
        assert last.startswith(b"event: response.incomplete\n")
        response = json.loads(last.split(b"data: ")[1])["response"]
    else:
        response = json.loads(raw)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (response["output"][0]["status"], response["usage"]["output_tokens"]) == ("incomplete", 16)


async def test_a_failure_in_mid_stream_is_an_event(http: aiohttp.ClientSession, base_url: str) -> None:
    failing = {"failure": "error_mid_stream", "failure_after_tokens": 2}
    async with http.post(f"{base_url}/responses", json={"model": "m", "input": "a", "stream": True, "simulate": failing}) as answer:
        last = (await answer.read()).split(b"\n\n")[-2]
    event = json.loads(last.split(b"data: ")[1])
    assert (event["type"], event["response"]["status"]) == ("response.failed", "failed")
    assert event["response"]["error"]["code"] == "simulated_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"input": ""}, "input"), ({"input": []}, "input"), ({"input": "a", "max_output_tokens": 15}, "max_output_tokens")],
)
async def test_what_the_vendor_refuses(http: aiohttp.ClientSession, base_url: str, fields: dict[str, Any], param: str) -> None:
    async with http.post(f"{base_url}/responses", json={"model": "m", **fields}) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["param"] == param
