"""The vendor client over TCP: connections that come about, and those that do not."""

import asyncio

import pytest

from services.edge.config import EdgeConfig
from services.edge.vendors.http import HttpVendorClient
from services.edge.vendors.vendor import VendorFailure

CONFIG = EdgeConfig(
    registry_address="r", authentication_address="a", accounting_address="c", billing_address="b", admin_token_file="t"
)


async def test_a_connection_is_made_and_used_again() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener, HttpVendorClient(CONFIG) as vendors:
        for _ in range(2):
            answer = await vendors.post(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/v1", [], b"{}")
            assert await answer.read() == b"hello"
            answer.close()
    assert connections == 1


async def test_where_nobody_listens_and_what_no_name_server_knows_is_unreachable() -> None:
    async with await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
    async with HttpVendorClient(CONFIG) as vendors:
        for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
            with pytest.raises(VendorFailure) as raised:
                await vendors.post(f"http://{host}/v1", [], b"{}")
            assert (raised.value.outcome, raised.value.http_status) == ("unreachable", 0)
