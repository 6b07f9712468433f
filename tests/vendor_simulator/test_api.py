import asyncio
import json
import logging
from typing import Any

import aiohttp
import openai
import pytest

from tests.waiting import WAIT_S


def body(content: str = "abcdefgh", **fields: Any) -> dict[str, Any]:
    return {"model": "m-1", "messages": [{"role": "user", "content": content}], "user": "u", **fields}


def stream(include_usage: bool = True, **fields: Any) -> dict[str, Any]:
    return body(stream=True, stream_options={"include_usage": include_usage}, **fields)


def events_of(raw: bytes) -> list[Any]:
    """The decoded events of a stream that ends as it should."""
    lines = raw.split(b"\n\n")
    assert lines[-2:] == [b"data: [DONE]", b""]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines[:-2]]


def content_of(events: list[Any]) -> str:
    return "".join(event["choices"][0]["delta"].get("content", "") for event in events if event.get("choices"))


async def post(http: aiohttp.ClientSession, base_url: str, json_body: Any) -> tuple[int, bytes]:
    async with http.post(f"{base_url}/chat/completions", json=json_body) as response:
        return response.status, await response.read()


async def served(http: aiohttp.ClientSession, base_url: str) -> Any:
    async with http.get(f"{base_url}/simulator/served") as response:
        return await response.json()


async def served_once_aborted(http: aiohttp.ClientSession, base_url: str) -> Any:
    """What user "u" was served, once the simulator knows that the client has gone."""
    async with asyncio.timeout(WAIT_S):
        while not (tally := (await served(http, base_url))["by_user"]["u"])["aborted"]:  # noqa: ASYNC110  # HTTP offers no event
            await asyncio.sleep(0.002)
    return tally


async def test_a_plain_answer_has_the_tokens_asked_for(http: aiohttp.ClientSession, base_url: str) -> None:
    async with http.post(
        f"{base_url}/chat/completions", json=body(simulate={"output_tokens": 5, "cached_input_tokens": 1, "reasoning_tokens": 2})
    ) as response:
        answer = await response.json()
        assert response.status == 200
        assert response.headers["x-request-id"].startswith("req_")
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "m-1"
    assert len(answer["choices"][0]["message"]["content"]) == 4 * 3
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 5,
        "total_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    expected = {"calls": 1, "input_tokens": 2, "output_tokens": 5, "output_tokens_sent": 3, "aborted": 0}
    assert await served(http, base_url) == {
        "by_key": {"key-1": expected},
        "by_user": {"u": expected},
        "by_model": {"m-1": expected},
    }


async def test_a_stream_has_one_token_a_chunk_then_usage_then_done(http: aiohttp.ClientSession, base_url: str) -> None:
    status, raw = await post(http, base_url, stream(simulate={"output_tokens": 40}))
    events = events_of(raw)
    assert status == 200
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [len(event["choices"][0]["delta"]["content"]) for event in events[1:41]] == [4] * 40
    assert events[41]["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert events[42]["choices"] == []
    assert events[42]["usage"]["completion_tokens"] == 40
    assert {event["usage"] for event in events[:42]} == {None}
    assert len({event["id"] for event in events}) == 1
    plain = json.loads((await post(http, base_url, body(simulate={"output_tokens": 40})))[1])
    assert content_of(events) == plain["choices"][0]["message"]["content"]
    tally = (await served(http, base_url))["by_user"]["u"]
    assert tally == {"calls": 2, "input_tokens": 4, "output_tokens": 80, "output_tokens_sent": 80, "aborted": 0}


async def test_a_long_stream_has_64_content_chunks(http: aiohttp.ClientSession, base_url: str) -> None:
    events = events_of((await post(http, base_url, stream(simulate={"output_tokens": 10_000})))[1])
    assert len(content_of(events)) == 40_000
    assert len(events) == 1 + 64 + 1 + 1


async def test_an_empty_answer(http: aiohttp.ClientSession, base_url: str) -> None:
    request = stream(content="", max_tokens=1, simulate={"output_tokens": 0})
    events = events_of((await post(http, base_url, request))[1])
    assert [event["choices"][0]["delta"].get("content") for event in events[:-1]] == ["", None]
    assert (events[-1]["usage"]["prompt_tokens"], events[-1]["usage"]["completion_tokens"]) == (0, 0)


async def test_no_usage_in_a_stream_that_did_not_ask(http: aiohttp.ClientSession, base_url: str) -> None:
    for mode in ("final", "every_chunk", "last_chunk_with_choices", "absurd"):
        events = events_of((await post(http, base_url, stream(include_usage=False, simulate={"usage": mode})))[1])
        assert all("usage" not in event and event["choices"] for event in events)


async def test_ways_to_report_usage(http: aiohttp.ClientSession, base_url: str) -> None:
    async def usages(mode: str) -> list[Any]:
        request = stream(simulate={"output_tokens": 2, "usage": mode})
        return [
            (len(event["choices"]), (event["usage"] or {}).get("completion_tokens"))
            for event in events_of((await post(http, base_url, request))[1])
        ]

    assert await usages("final") == [(1, None), (1, None), (1, None), (1, None), (0, 2)]
    assert await usages("none") == [(1, None), (1, None), (1, None), (1, None)]
    assert await usages("every_chunk") == [(1, 0), (1, 1), (1, 2), (1, 2)]
    assert await usages("last_chunk_with_choices") == [(1, None), (1, None), (1, None), (1, 2)]
    assert (await usages("negative"))[-1] == (0, -5)
    assert (await usages("absurd"))[-1] == (0, 10**15)
    assert "usage" not in json.loads((await post(http, base_url, body(simulate={"usage": "none"})))[1])
    assert json.loads((await post(http, base_url, body(simulate={"usage": "negative"})))[1])["usage"]["completion_tokens"] == -5


async def test_the_official_sdk(base_url: str) -> None:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="key-2", max_retries=0) as client:
        answer = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "abcd"}], n=2, extra_body={"simulate": {"output_tokens": 3}}
        )
        assert [len(choice.message.content or "") for choice in answer.choices] == [12, 12]
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 6

        chunks = [
            chunk
            async for chunk in await client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "abcd"}],
                max_tokens=2,
                stream=True,
                stream_options={"include_usage": True},
                extra_body={"simulate": {"output_tokens": 3}},
            )
        ]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "the net "
        assert chunks[-2].choices[0].finish_reason == "length"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 3

        assert [model.id async for model in client.models.list()] == ["simulated"]
        with pytest.raises(openai.BadRequestError, match="Missing required parameter: 'messages'"):
            await client.post("/chat/completions", body={"model": "m"}, cast_to=object)
        with pytest.raises(openai.NotFoundError, match="Unknown request URL: POST /v1/moderations"):
            await client.moderations.create(model="m", input="x")
        with pytest.raises(openai.APIError, match="failed in mid-stream"):
            async for _ in await client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "abcd"}],
                stream=True,
                extra_body={"simulate": {"failure": "error_mid_stream", "failure_after_tokens": 1}},
            ):
                pass


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        ("refuse_400", 400, "simulated_refusal"),
        ("unauthorized_401", 401, "invalid_api_key"),
        ("rate_limit_429", 429, "rate_limit_exceeded"),
        ("error_500", 500, "simulated_error"),
        ("overloaded_503", 503, "overloaded"),
    ],
)
async def test_refusals(http: aiohttp.ClientSession, base_url: str, failure: str, status: int, code: str) -> None:
    got, raw = await post(http, base_url, stream(simulate={"failure": failure}))
    assert got == status
    assert json.loads(raw)["error"]["code"] == code
    tally = (await served(http, base_url))["by_user"]["u"]
    assert tally == {"calls": 1, "input_tokens": 0, "output_tokens": 0, "output_tokens_sent": 0, "aborted": 0}


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_disconnect_before_the_first_byte(
    http: aiohttp.ClientSession, base_url: str, streamed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await post(http, base_url, body(stream=streamed, simulate={"failure": "disconnect_before_first_byte"}))
    assert (await served(http, base_url))["by_user"]["u"]["output_tokens"] == 0
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_break_in_mid_stream(http: aiohttp.ClientSession, base_url: str, caplog: pytest.LogCaptureFixture) -> None:
    request = stream(simulate={"output_tokens": 90, "failure": "break_mid_stream", "failure_after_tokens": 50})
    raw = b""
    async with http.post(f"{base_url}/chat/completions", json=request) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            async for part in response.content.iter_any():
                raw += part
    events = [json.loads(line.removeprefix(b"data: ")) for line in raw.split(b"\n\n") if line]
    assert len(content_of(events)) == 4 * 50
    tally = (await served(http, base_url))["by_user"]["u"]
    assert tally == {"calls": 1, "input_tokens": 2, "output_tokens": 50, "output_tokens_sent": 50, "aborted": 0}
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_plain_answer_broken_off(http: aiohttp.ClientSession, base_url: str) -> None:
    async with http.post(f"{base_url}/chat/completions", json=body(simulate={"failure": "break_mid_stream"})) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()


async def test_an_error_in_mid_stream(http: aiohttp.ClientSession, base_url: str) -> None:
    _, raw = await post(http, base_url, stream(simulate={"failure": "error_mid_stream", "failure_after_tokens": 3}))
    lines = [json.loads(line.removeprefix(b"data: ")) for line in raw.split(b"\n\n") if line]
    assert len(content_of(lines)) == 12
    assert lines[-1]["error"]["type"] == "server_error"
    status, raw = await post(http, base_url, body(simulate={"failure": "error_mid_stream"}))
    assert (status, list(json.loads(raw))) == (200, ["error"])


@pytest.mark.parametrize("streamed", [False, True])
async def test_garbage(http: aiohttp.ClientSession, base_url: str, streamed: bool) -> None:
    status, raw = await post(http, base_url, body(stream=streamed, simulate={"failure": "garbage"}))
    assert status == 200
    first = raw.split(b"\n\n")[0].removeprefix(b"data: ") if streamed else raw
    with pytest.raises(json.JSONDecodeError):
        json.loads(first)


@pytest.mark.parametrize("streamed", [False, True])
async def test_hanging_before_the_first_byte_ends_when_the_client_goes(
    http: aiohttp.ClientSession, base_url: str, streamed: bool
) -> None:
    request = body(stream=streamed, simulate={"failure": "hang_before_first_byte"})
    with pytest.raises(asyncio.TimeoutError):
        async with http.post(f"{base_url}/chat/completions", json=request, timeout=aiohttp.ClientTimeout(total=0.05)):
            pass
    tally = await served_once_aborted(http, base_url)
    assert tally == {"calls": 1, "input_tokens": 0, "output_tokens": 0, "output_tokens_sent": 0, "aborted": 1}


async def test_hanging_in_mid_stream_ends_when_the_client_goes(http: aiohttp.ClientSession, base_url: str) -> None:
    request = stream(simulate={"failure": "hang_mid_stream", "failure_after_tokens": 7})
    async with http.post(f"{base_url}/chat/completions", json=request) as response:
        raw = b""
        while raw.count(b"\n\n") < 8:
            raw += await response.content.readany()
        response.close()
    tally = await served_once_aborted(http, base_url)
    assert tally == {"calls": 1, "input_tokens": 2, "output_tokens": 7, "output_tokens_sent": 7, "aborted": 1}


async def test_a_client_that_goes_away_from_an_unpaced_stream_stops_the_production(
    http: aiohttp.ClientSession, base_url: str
) -> None:
    request = stream(simulate={"output_tokens": 2_000_000})
    async with http.post(f"{base_url}/chat/completions", json=request) as response:
        await response.content.readany()
        response.close()
    tally = await served_once_aborted(http, base_url)
    assert tally["output_tokens"] < 2_000_000


async def test_a_big_body_is_counted_to_the_byte(http: aiohttp.ClientSession, base_url: str) -> None:
    _, raw = await post(http, base_url, body(content="x" * 1_999_998 + "é"))
    assert json.loads(raw)["usage"]["prompt_tokens"] == 500_000
