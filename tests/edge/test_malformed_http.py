"""What is no HTTP is answered in the dialect of the path, with an ID, like every other error."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio

from services.api_keys import new_key
from tests.edge.system import Cell, cell
from tests.runtime.http.frames import HANDSHAKE

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"body_timeout_ms": 400}

    async with cell(tmp_path_factory.mktemp("cell"), "registry", "edge", prepare=prepare) as services:
        yield services


async def sent(services: Cell, request: bytes) -> tuple[bytes, dict[str, str], Any]:
    """The status line, the headers and the JSON that come back for bytes."""
    at = urlsplit(services.base_url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(request)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    status, *lines = head.split(b"\r\n")
    headers = dict(line.decode().split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return status, headers, msgspec.json.decode(body)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"not http at all\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nhost: x\r\nbad\x00header: 1\r\n\r\n",
    ],
)
async def test_it_has_the_shape_of_openai(running: Cell, request_bytes: bytes) -> None:
    status, headers, answer = await sent(running, request_bytes)
    assert status == b"HTTP/1.1 400 Bad Request"
    assert (headers["content-type"], headers["connection"]) == ("application/json", "close")
    assert len(headers["x-request-id"]) == 36
    assert answer["error"]["type"] == "invalid_request_error"
    assert "HTTP" in answer["error"]["message"]


async def test_on_the_path_of_messages_it_has_the_shape_of_anthropic(running: Cell) -> None:
    status, headers, answer = await sent(
        running, b"POST /v1/messages?beta=true HTTP/1.1\r\nhost: x\r\ncontent-length: many\r\n\r\n"
    )
    assert status == b"HTTP/1.1 400 Bad Request"
    assert headers["request-id"] == headers["x-request-id"] == answer["request_id"]
    assert (answer["type"], answer["error"]["type"]) == ("error", "invalid_request_error")


@pytest.mark.parametrize(
    ("rest", "status", "code"),
    [
        (b"content-length: 5\r\n\r\nab", 408, "request_timeout"),
        (b"expect: wonders\r\n\r\n", 417, "expectation_failed"),
        (b"x: y\r\n" * 101 + b"\r\n", 431, "headers_too_large"),
        (b"transfer-encoding: gzip\r\n\r\n", 501, "not_implemented"),
    ],
)
@pytest.mark.parametrize("path", ["chat/completions", "messages"])
async def test_whatever_the_server_itself_refuses_has_the_dialects_shape(
    running: Cell, path: str, rest: bytes, status: int, code: str
) -> None:
    # With a good key the body is waited for; whose key that is nobody can tell here.
    request = b"POST /v1/%b HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\n" % (
        path.encode(),
        new_key("local").api_key.encode(),
    )
    line, headers, answer = await sent(running, request + rest)
    assert line.split(b" ")[1] == b"%d" % status
    assert headers["connection"] == "close"
    assert len(headers["x-request-id"]) == 36
    if path == "messages":
        assert headers["request-id"] == answer["request_id"] == headers["x-request-id"]
    else:
        assert answer["error"]["code"] == code


@pytest.mark.parametrize(
    "request_head",
    [
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer none\r\n\r\n",
        HANDSHAKE.replace(b"/socket", b"/v1/responses") + b"\r\n",
    ],
    ids=["calls", "sockets"],
)
async def test_calls_of_strangers_take_turns(running: Cell, request_head: bytes) -> None:
    at = urlsplit(running.base_url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    began_s = time.monotonic()
    for _ in range(250):
        writer.write(request_head)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    # 50 at once, then 200 a second.
    assert time.monotonic() - began_s > 0.95
    writer.close()
