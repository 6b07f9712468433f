"""What must not pass, and what happens when many want the last of a balance."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, Subscriber, chat, eventually
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, aiohttp.ClientSession]]:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"heartbeat_interval_ms": 100, "body_bytes_max": 20_000_000, "body_timeout_ms": 1_000}

    connector = aiohttp.TCPConnector(limit=0)
    async with (
        cell(tmp_path_factory.mktemp("bad"), catalog=CATALOG, prepare=prepare) as services,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        await services.ready()
        yield services, http
        assert (await services.admin("POST", "/audit")).json["breaches"] == []
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", None),
        (b"{", None),
        (b"[]", None),
        (b'"text"', None),
        (b"\xff\xfe{}", None),
        (b"[" * 100_000, None),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": 5, "messages": [{"role": "user", "content": "x"}]}', "model"),
        (b'{"model": "small"}', "messages"),
        (b'{"model": "small", "messages": null}', "messages"),
        (b'{"model": "small", "messages": []}', "messages"),
        (b'{"model": "small", "messages": "x"}', "messages"),
        (b'{"model": "small", "messages": ["x"]}', "messages"),
        (b'{"model": "small", "messages": [{"content": "x"}]}', "messages[0].role"),
        (b'{"model": "small", "messages": [{"role": "user", "content": 5}]}', "messages[0].content"),
    ],
)
async def test_a_malformed_body_is_400_and_names_the_field(
    running: tuple[Cell, aiohttp.ClientSession], body: bytes, param: str | None
) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "malformed", tokens=0)
    reply = await services.call("POST", "/v1/chat/completions", subscriber.api_key, body=body)
    assert (reply.status, reply.error["type"], reply.error["param"]) == (400, "invalid_request_error", param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 50_001}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"max_completion_tokens": -1}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 1_000}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": 5}, "stream_options"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": {"url": "data:application/pdf;base64,JVBERi0="}}],
                    }
                ]
            },
            "messages[0].content[0].image_url.url",
        ),
    ],
)
async def test_a_bad_field_is_400_and_named(
    running: tuple[Cell, aiohttp.ClientSession], fields: dict[str, Any], param: str
) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "field")
    reply = await subscriber.call(chat(**fields))
    assert (reply.status, reply.error["type"], reply.error["param"]) == (400, "invalid_request_error", param)
    assert await subscriber.consumed() == 0


async def test_a_context_that_cannot_fit_is_400(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "context", tokens=1_000_000)
    reply = await subscriber.call(chat("x" * 4 * 150_000))
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")


async def test_keys_that_must_not_pass(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "keys")
    assert (await subscriber.call(chat(max_tokens=5))).status == 200
    changed = subscriber.api_key[:-1] + ("0" if subscriber.api_key[-1] != "0" else "1")
    for token in (None, "", "nonsense", changed, subscriber.api_key + "x", "é" * 10):
        reply = await services.call("POST", "/v1/chat/completions", token, chat())
        assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
        assert subscriber.api_key not in reply.error["message"]
    key_id = (await services.admin("GET", f"/accounts/{subscriber.account_id}/keys")).json["data"][0]["key_id"]
    assert (await services.admin("DELETE", f"/keys/{key_id}")).status == 200

    async def refused() -> bool:
        return bool((await subscriber.call(chat(max_tokens=5))).status == 401)

    await eventually(refused)


async def test_models_that_must_not_be_used(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "models", offering_id="only-small")
    assert (await subscriber.call(chat(max_tokens=5))).status == 200
    for model in ("pair", "nothing", "x" * 10_000):
        reply = await subscriber.call(chat(model=model))
        assert (reply.status, reply.error["code"], reply.error["param"]) == (404, "model_not_found", "model")


async def test_a_body_of_50_mb_is_413_and_the_client_sees_it(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "large")
    reply = await services.call("POST", "/v1/chat/completions", subscriber.api_key, body=b" " * 50_000_000)
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


async def test_a_body_that_never_ends_is_408(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "slow-body")
    host, port = services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
        f"authorization: Bearer {subscriber.api_key}\r\n\r\n{{"
    )
    writer.write(head.encode())
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"code":"request_timeout"' in answer
    writer.close()


async def test_an_idle_stream_is_kept_alive_by_comments_between_events(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "alive")
    # The vendor sends its first event at once, then thinks.
    stream = await subscriber.stream(chat(max_tokens=5, simulate={"output_tokens": 2, "tokens_per_second": 3}))
    assert stream.done
    assert b"\n\n: keep-alive\n\n" in stream.body
    assert await subscriber.consumed() == 12


async def test_a_second_call_waits_for_what_the_first_holds(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    # Enough for one reservation (10 tokens at 40 bytes, 16 of template, 50 of output) at a time, also before the last call.
    subscriber = await Subscriber.open(services, http, "burst", tokens=170)
    quick = chat(max_tokens=50, simulate={"output_tokens": 5})
    replies = await asyncio.gather(*(subscriber.call(quick) for _ in range(5)))
    assert [reply.status for reply in replies] == [200] * 5
    assert await subscriber.consumed() == 75


async def test_held_is_not_spent(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "held", tokens=150)
    slow = asyncio.create_task(subscriber.call(chat(max_tokens=50, simulate={"first_token_delay_ms": 800})))

    async def reserved() -> bool:
        return bool((await services.admin("GET", f"/accounts/{subscriber.account_id}")).json["sessions"])

    await eventually(reserved)
    reply = await subscriber.call(chat(max_tokens=50))
    assert (reply.status, reply.error["code"]) == (429, "insufficient_quota")
    assert reply.headers["x-should-retry"] == "true"
    assert int(reply.headers["retry-after-ms"]) > 0
    assert (await slow).status == 200
    assert (await subscriber.call(chat(max_tokens=50))).status == 200


# A small whole answer is asked for as one, a larger one is streamed from the vendor.
@pytest.mark.parametrize(("limit", "output"), [(50, 50), (300, 50)])
@pytest.mark.parametrize(("delay_ms", "others"), [(1_500, "429 true"), (50, "402 false")])
async def test_whole_answers_at_once_on_a_balance_for_one(
    running: tuple[Cell, aiohttp.ClientSession], limit: int, output: int, delay_ms: int, others: str
) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, f"one-{limit}-{delay_ms}", tokens=150)
    body = chat(max_tokens=limit, simulate={"output_tokens": output, "first_token_delay_ms": delay_ms})
    replies = await asyncio.gather(*(subscriber.call(body) for _ in range(5)))
    # Who waited while the balance was held is told so; who waited until it was spent is told that.
    outcomes = Counter(f"{reply.status} {reply.headers.get('x-should-retry', '')}".strip() for reply in replies)
    assert outcomes == {"200": 1, others: 4}
    assert {reply.error["code"] for reply in replies if reply.status != 200} == {"insufficient_quota"}
    assert await subscriber.consumed() == 10 + output
    assert (await subscriber.call(body)).status == 402


async def test_1000_calls_at_once_on_a_balance_for_about_100(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    cost, reservation = 10 + 30, 40 + 16 + 30
    subscriber = await Subscriber.open(services, http, "race", tokens=100 * cost)
    body = chat(max_tokens=30, simulate={"output_tokens": 30})

    async def call() -> str:
        async with subscriber.begin(body) as response:
            await response.read()
            return f"{response.status} {response.headers.get('x-should-retry', '')}".strip()

    outcomes = Counter(await asyncio.gather(*(call() for _ in range(1_000))))
    # Held for a time, and, once the balance is spent, used up; a machine that is too slow for 1,000 at once sheds some.
    assert set(outcomes) <= {"200", "429 true", "402 false", "503"}
    assert outcomes["200"] >= 40
    # The last of them may have got a shorter answer, for what was left.
    assert (outcomes["200"] - 1) * cost < await subscriber.consumed() <= min(outcomes["200"], 100) * cost
    # One by one the rest of the balance is spent too, down to less than a call's reservation.
    while (reply := await subscriber.call(body)).status == 200:
        pass
    assert (reply.status, reply.headers["x-should-retry"]) == (402, "false")
    left = 100 * cost - await subscriber.consumed()
    assert 0 <= left < reservation
    assert await subscriber.debt() == 0


@pytest.mark.parametrize(("path", "is_openai"), [("/v1/chat/completions", True), ("/v1/messages", False), ("/", True)])
@pytest.mark.parametrize("header", ["no header", "x\x01: a", "content-length: abc"])
async def test_what_is_no_http_is_refused_in_the_words_of_the_path(
    running: tuple[Cell, aiohttp.ClientSession], path: str, header: str, is_openai: bool
) -> None:
    services, _ = running
    host, port = services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST {path} HTTP/1.1\r\nhost: edge\r\n{header}\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400 ")
    headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"x-request-id"]
    error = msgspec.json.decode(body)
    assert error["error"]["type"] == "invalid_request_error"
    assert error.get("request_id", "").encode() == (b"" if is_openai else headers[b"request-id"])


async def test_what_is_no_http_behind_a_request_never_stands_in_its_answer(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "no-http-behind")
    body = msgspec.json.encode({**chat(max_tokens=20, simulate={"output_tokens": 20, "tokens_per_second": 200}), "stream": True})
    host, port = services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        f"authorization: Bearer {subscriber.api_key}\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\x01\r\n\r\n")
    answer += await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    whole, _, behind = answer.partition(b"\r\n0\r\n\r\n")
    assert whole.endswith(b"data: [DONE]\n\n")
    assert behind.startswith(b"HTTP/1.1 400 ")
