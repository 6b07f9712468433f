"""What a stranger, or a customer without scruples, may do at the edge's door: each over a real socket, against a whole cell."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from tests.edge.counting import counted
from tests.edge.system import Cell, cell
from tests.journeys.subscriber import CATALOG, Subscriber, chat, eventually
from tests.waiting import WAIT_S, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, aiohttp.ClientSession]]:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"write_timeout_ms": 1_000, "account_bodies_bytes_max": 25_000_000, "head_timeout_ms": 1_000}

    async with (
        cell(tmp_path_factory.mktemp("doors"), catalog=CATALOG, prepare=prepare) as services,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
    ):
        await services.ready()
        yield services, http
        audited = (await services.admin("POST", "/audit")).json
        assert (audited["breaches"], audited["open_sessions"]) == ([], 0)


async def connected(services: Cell, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    return await asyncio.open_connection(host, int(port), **options)


def post(api_key: str, body: bytes, length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b" % (
        api_key.encode(),
        length,
        body,
    )


def members() -> bytes:
    return (b'{"model":"small",' + b",".join(b'"k%d":1' % number for number in range(1_800_000)))[:19_999_999] + b"}"


def depth() -> bytes:
    return b"[" * 10_000_000


# Made by the test, because every worker reads this file.
@pytest.mark.parametrize("made", [members, depth])
async def test_a_body_of_millions_of_values_is_refused_before_it_is_read_and_others_go_on(
    running: tuple[Cell, aiohttp.ClientSession], made: Callable[[], bytes]
) -> None:
    services, http = running
    body = made()
    subscriber = await Subscriber.open(services, http, "values", tokens=0)
    refusing = asyncio.create_task(services.call("POST", "/v1/chat/completions", subscriber.api_key, body=body))
    longest_s = 0.0
    while not refusing.done():
        began_s = time.process_time()
        assert (await services.call("GET", "/v1/me/balance", subscriber.api_key)).status == 200
        longest_s = max(longest_s, time.process_time() - began_s)
    refused = await refusing
    assert (refused.status, refused.error["code"]) == (400, "too_many_values")
    assert longest_s < 2.5


async def test_bodies_that_are_held_back_are_bounded_for_an_account_and_no_other_one_feels_it(
    running: tuple[Cell, aiohttp.ClientSession],
) -> None:
    services, http = running
    stalling = await Subscriber.open(services, http, "stalling")
    other = await Subscriber.open(services, http, "beside-stalling")
    writers = []
    refused = []

    async def stall() -> None:
        reader, writer = await connected(services)
        writers.append(writer)
        writer.write(post(stalling.api_key, b" " * 10_000_000, length=19_000_000))
        refused.append(await reader.readuntil(b"\r\n\r\n"))

    tasks = [asyncio.create_task(stall()) for _ in range(5)]
    await until(lambda: len(refused) == 3)
    await asyncio.sleep(0.2)
    # Two of 10 MB are held, the others were not taken.
    assert len(refused) == 3
    assert all(answer.startswith(b"HTTP/1.1 429 ") and b"retry-after: 1\r\n" in answer for answer in refused)
    assert (await other.call(chat(max_tokens=5))).status == 200
    large = chat("x" * 8_000_000, max_tokens=5)
    assert (await other.call(large)).error["code"] == "context_length_exceeded"
    for writer in writers:
        writer.close()
    for task in tasks:
        task.cancel()

    async def taken() -> bool:
        return bool((await stalling.call(large)).error["code"] == "context_length_exceeded")

    await eventually(taken)


async def test_a_reader_who_stops_reading_is_cut_off_and_pays_for_what_it_was_sent(
    running: tuple[Cell, aiohttp.ClientSession],
) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "stops-reading", tokens=10_000_000)
    # More than all buffers on the way hold, of which the client's is small.
    made = {"output_tokens": 50_000, "tokens_per_second": 10_000}
    body = msgspec.json.encode({**chat(max_tokens=50_000, n=8, simulate=made), "stream": True})
    host, port = services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=small, limit=1_024)
    writer.write(post(subscriber.api_key, body))
    head = await reader.readuntil(b"\r\n\r\n")
    charging_id = head.split(b"x-request-id: ")[1][:36].decode()

    async def closed() -> bool:
        return bool((await services.admin("GET", f"/accounts/{subscriber.account_id}")).json["sessions"] == [])

    await eventually(closed)
    receipt = await subscriber.receipt(charging_id)
    assert receipt["close_cause"] == "client_gone"
    assert 0 < receipt["usage"]["output"] < 400_000
    writer.close()


async def test_a_stream_that_takes_the_longest_time_ends_with_an_error_and_is_charged_what_it_said(tmp_path: Path) -> None:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"answer_timeout_ms": 1_500}

    async with cell(tmp_path, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http:
        await services.ready()
        subscriber = await Subscriber.open(services, http, "takes-long")
        body = {**chat(max_tokens=2_000, simulate={"output_tokens": 2_000, "tokens_per_second": 50}), "stream": True}
        reader, writer = await connected(services)
        writer.write(post(subscriber.api_key, msgspec.json.encode(body)))
        async with asyncio.timeout(WAIT_S):
            answer = (await reader.readuntil(b"\r\n0\r\n\r\n")).decode()
        assert '"code":"answer_too_long"' in answer
        assert "not whole after 1.5 s" in answer
        assert "[DONE]" not in answer
        # The next request on the same connection is served.
        writer.write(b"HEAD / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        receipt = await subscriber.receipt(answer.split("x-request-id: ")[1][:36])
        assert receipt["close_cause"] == "client_gone"
        said = "".join(re.findall(r'"content":"([^"]*)"', answer))
        assert len(said) > 100
        assert counted(said) <= receipt["usage"]["output"] <= counted(said + "word" * 5)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_sends_no_more_gets_its_whole_answer(running: tuple[Cell, aiohttp.ClientSession], stream: bool) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, f"half-closed-{stream}")
    made = {"output_tokens": 20, "tokens_per_second": 100}
    body = msgspec.json.encode({**chat(max_tokens=20, simulate=made), "stream": stream})
    reader, writer = await connected(services)
    writer.write(post(subscriber.api_key, body))
    writer.write_eof()
    async with asyncio.timeout(WAIT_S):
        answer = await reader.read()
    writer.close()
    assert b"HTTP/1.1 200 OK\r\n" in answer
    assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") if stream else b'"finish_reason":' in answer
    assert await subscriber.consumed() > 20


@pytest.mark.parametrize("body", [b'{"idempotency_key": "\xff"}', b"\xff\xfe", b'{"\xc3\x28": 1}'])
async def test_what_is_no_utf_8_is_the_callers_fault(running: tuple[Cell, aiohttp.ClientSession], body: bytes) -> None:
    services, _ = running
    refused = await services.call("POST", "/v1/admin/accounts", "an-admin-token-for-tests", body=body)
    assert (refused.status, refused.error["code"]) == (400, "invalid_json")


@pytest.mark.parametrize("key", ["a\u0000b", "a\nb", "\u001b[31m", "\u007f"])
async def test_control_characters_do_not_pass_in_names(running: tuple[Cell, aiohttp.ClientSession], key: str) -> None:
    services, _ = running
    refused = await services.admin("POST", "/accounts", {"idempotency_key": key})
    assert (refused.status, refused.error["param"]) == (400, "idempotency_key")
    assert "control character" in refused.error["message"]


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/admin/accounts/acct-0%001234567/orders/ord-1/receipt", "account_id"),
        ("/v1/admin/accounts/acct-01234567/orders/ord-%00/receipt", "order_id"),
        ("/v1/admin/vendors/acme%0a/statement?cycle=2026-03", "vendor_id"),
        ("/v1/admin/journal?account_id=acct-%00", "account_id"),
        ("/v1/me/orders/ord-%7f/receipt", "order_id"),
    ],
)
async def test_control_characters_do_not_pass_in_urls(running: tuple[Cell, aiohttp.ClientSession], path: str, param: str) -> None:
    services, _ = running
    refused = await services.call("GET", path, "an-admin-token-for-tests")
    assert (refused.status, refused.error["param"]) == (400, param)
    assert refused.error["message"] == f"{param} has a control character; none is part of an ID."


async def test_a_request_to_upgrade_is_answered_with_its_body_read(running: tuple[Cell, aiohttp.ClientSession]) -> None:
    services, http = running
    subscriber = await Subscriber.open(services, http, "upgrades")
    request = post(subscriber.api_key, msgspec.json.encode(chat(max_tokens=5)))
    upgrading = request.replace(b"host: x\r\n", b"host: x\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\n", 1)
    reader, writer = await connected(services)
    writer.write(upgrading + b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answers = await reader.read()
    writer.close()
    assert answers.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"HTTP/1.1 401 Unauthorized\r\n" in answers
