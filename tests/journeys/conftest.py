"""A cell whose vendor "other" is a server that the tests script."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell
from tests.journeys.hostile_vendor import HostileVendor
from tests.journeys.subscriber import CATALOG, World


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    hostile = HostileVendor()
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def prepare(services: Cell) -> None:
        services.environment["TOKENLINE_OTHER_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
        services.edge_changes = {"first_byte_timeout_ms": 700, "idle_timeout_ms": 700, "heartbeat_interval_ms": 200}

    folder = tmp_path_factory.mktemp("world")
    async with cell(folder, catalog=CATALOG, prepare=prepare) as services, aiohttp.ClientSession() as http, server:
        await services.ready()
        yield World(services, http, hostile)
        # Whatever the tests did, the books are right.
        audited = (await services.admin("POST", "/audit")).json
        assert audited["breaches"] == []
        assert audited["open_sessions"] == 0
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []
