import json
from typing import Any

import aiohttp
import pytest


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "abcd" * 20}], **fields}


async def post(http: aiohttp.ClientSession, base_url: str, request: Any, path: str = "messages") -> tuple[int, bytes]:
    async with http.post(f"{base_url}/{path}", json=request) as response:
        return response.status, await response.read()


def events_of(raw: bytes) -> list[Any]:
    """The decoded events; each must be named as its type says."""
    events = []
    for event in raw.split(b"\n\n")[:-1]:
        name, data = event.split(b"\n")
        events.append(json.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + events[-1]["type"].encode()
    return events


def assemble(events: list[Any]) -> list[Any]:
    """The content blocks that the events make, as the official client assembles them."""
    blocks: list[Any] = []
    arguments: dict[int, str] = {}
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert event["index"] == len(blocks)
                blocks.append(event["content_block"])
            case "content_block_delta":
                block, delta = blocks[event["index"]], event["delta"]
                for name in ("text", "thinking", "signature"):
                    if name in delta:
                        block[name] += delta[name]
                if "partial_json" in delta:
                    arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
            case "content_block_stop" if event["index"] in arguments:
                blocks[event["index"]]["input"] = json.loads(arguments[event["index"]])
    return blocks


SIMULATE = {
    "output_tokens": 30,
    "reasoning_tokens": 5,
    "reasoning": "reasoning_content",
    "tools": {"calls": 2, "argument_tokens": 6},
    "cached_input_tokens": 8,
    "cache_write_tokens": 2,
    "cache_write_1h_tokens": 3,
    "added_input_tokens": 7,
}


async def test_an_answer_has_thinking_text_calls_and_disjoint_usage(http: aiohttp.ClientSession, base_url: str) -> None:
    async with http.post(f"{base_url}/messages?beta=true", json=body(simulate=SIMULATE)) as response:
        assert response.headers["request-id"].startswith("req_")
        answer = await response.json()
    assert (answer["type"], answer["role"], answer["stop_reason"]) == ("message", "assistant", "tool_use")
    assert [block["type"] for block in answer["content"]] == ["thinking", "text", "tool_use", "tool_use"]
    assert len(answer["content"][0]["thinking"]) == 20
    assert len(answer["content"][1]["text"]) == 4 * 13
    assert answer["content"][2]["input"] == {"texts": "the net can "}
    assert answer["usage"] == {
        "input_tokens": 14,
        "cache_creation_input_tokens": 5,
        "cache_read_input_tokens": 8,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
        "output_tokens": 30,
        "service_tier": "standard",
        "output_tokens_details": {"thinking_tokens": 5},
    }


async def test_a_stream_says_what_the_whole_answer_says(http: aiohttp.ClientSession, base_url: str) -> None:
    whole = json.loads((await post(http, base_url, body(simulate=SIMULATE)))[1])
    events = events_of((await post(http, base_url, body(stream=True, simulate=SIMULATE)))[1])
    assert assemble(events) == whole["content"]
    kinds = [event["type"] for event in events]
    assert (kinds[:2], kinds[-2:]) == (["message_start", "ping"], ["message_delta", "message_stop"])
    # The input that the vendor adds is known only at the end.
    assert events[0]["message"]["usage"]["input_tokens"] == 7
    assert events[0]["message"]["usage"]["cache_read_input_tokens"] == 8
    assert events[-2]["usage"]["input_tokens"] == 14
    assert events[-2]["usage"]["output_tokens"] == 30
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


async def test_hidden_thinking_is_an_empty_block_with_a_signature(http: aiohttp.ClientSession, base_url: str) -> None:
    request = body(stream=True, simulate={"output_tokens": 9, "reasoning_tokens": 6})
    blocks = assemble(events_of((await post(http, base_url, request))[1]))
    assert [block["type"] for block in blocks] == ["thinking", "text"]
    assert (blocks[0]["thinking"], bool(blocks[0]["signature"]), len(blocks[1]["text"])) == ("", True, 12)


async def test_a_limit_ends_the_answer(http: aiohttp.ClientSession, base_url: str) -> None:
    answer = json.loads((await post(http, base_url, body(max_tokens=3)))[1])
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 3)
    answer = json.loads((await post(http, base_url, body(max_tokens=0)))[1])
    assert (answer["content"], answer["usage"]["output_tokens"]) == ([], 0)


@pytest.mark.parametrize(("usage", "starts", "deltas"), [
    ("zeros_until_end", [(0, 0)], [(20, 5)]),
    ("twice", [(20, 1)], [(None, 1), (20, 5)]),
    ("prompt_zero", [(0, 1)], [(0, 5)]),
    ("negative", [(20, -5)], [(20, -5)]),
    ("none", [], []),
])  # fmt: skip
async def test_ways_to_report_usage(
    http: aiohttp.ClientSession, base_url: str, usage: str, starts: list[Any], deltas: list[Any]
) -> None:
    request = body(stream=True, simulate={"output_tokens": 5, "usage": usage})
    events = events_of((await post(http, base_url, request))[1])

    def counts(reports: list[Any]) -> list[Any]:
        return [(report["usage"]["input_tokens"], report["usage"]["output_tokens"]) for report in reports if "usage" in report]

    assert counts([event["message"] for event in events if event["type"] == "message_start"]) == starts
    assert counts([event for event in events if event["type"] == "message_delta"]) == deltas


async def test_tokens_are_counted_without_an_answer(http: aiohttp.ClientSession, base_url: str) -> None:
    request = {
        "model": "m",
        "system": [{"type": "text", "text": "abcd", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": "abcdabcd"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "n", "input": {"a": 1}}]},
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "abcd"}]}],
            },
        ],
    }
    status, raw = await post(http, base_url, request, "messages/count_tokens")
    # 4 + 8 + 7 (the input as JSON) + 4 bytes.
    assert (status, json.loads(raw)) == (200, {"input_tokens": 6})
    async with http.get(f"{base_url}/simulator/served") as response:
        assert (await response.json())["by_model"] == {}


@pytest.mark.parametrize(("failure", "status", "kind"), [
    ("refuse_400", 400, "invalid_request_error"), ("unauthorized_401", 401, "authentication_error"),
    ("rate_limit_429", 429, "rate_limit_error"), ("error_500", 500, "api_error"), ("overloaded_503", 503, "overloaded_error"),
    ("error_body", 200, "api_error"),
])  # fmt: skip
async def test_errors_are_worded_as_anthropic_does(
    http: aiohttp.ClientSession, base_url: str, failure: str, status: int, kind: str
) -> None:
    got, raw = await post(http, base_url, body(simulate={"failure": failure}))
    error = json.loads(raw)
    assert (got, error["type"], error["error"]["type"]) == (status, "error", kind)


async def test_bad_requests(http: aiohttp.ClientSession, base_url: str) -> None:
    request = body()
    del request["max_tokens"]
    for bad in (request, body(messages=[]), body(max_tokens="7"), body(simulate={"x": 1})):
        status, raw = await post(http, base_url, bad)
        assert (status, json.loads(raw)["error"]["type"]) == (400, "invalid_request_error")
    assert json.loads((await post(http, base_url, body(), "messages/batches"))[1])["error"]["type"] == "not_found_error"


async def test_an_error_in_mid_stream(http: aiohttp.ClientSession, base_url: str) -> None:
    request = body(stream=True, simulate={"failure": "error_mid_stream", "failure_after_tokens": 2})
    events = events_of((await post(http, base_url, request))[1])
    assert events[-1]["error"]["type"] == "api_error"
    assert sum(len(event["delta"]["text"]) for event in events if event["type"] == "content_block_delta") == 8


async def test_the_key_may_be_in_x_api_key(base_url: str) -> None:
    async with aiohttp.ClientSession(headers={"x-api-key": "key-7"}) as session:
        await post(session, base_url, body(metadata={"user_id": "u-7"}))
        async with session.get(f"{base_url}/simulator/served") as response:
            served = await response.json()
    assert (list(served["by_key"]), list(served["by_user"])) == (["key-7"], ["u-7"])
