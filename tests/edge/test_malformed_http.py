"""What is no HTTP is answered in the dialect of the path, with an ID, like every other error."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell"), "registry", "edge") as services:
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
