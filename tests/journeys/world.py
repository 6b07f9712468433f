"""A cell with a client, and a vendor whose answers the tests script."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.edge.system import Cell, cell
from tests.journeys.hostile_vendor import HostileVendor
from tests.journeys.subscriber import CATALOG, World
from tests.waiting import WAIT_S

# The scripted vendor's, as the edge knows it.
SECRET = "sk-other-0123456789abcdef"
PATIENT_MS = 2 * int(WAIT_S) * 1_000


@asynccontextmanager
async def running_world(folder: Path, catalog: str = CATALOG, vendor_timeout_ms: int = 700) -> AsyncIterator[World]:
    """A cell whose vendor "other" is scripted; all others are the simulator. At its end the books must be right.

    A vendor may be silent for `vendor_timeout_ms`, by default so short that one silence alone does not close its route;
    `PATIENT_MS`: for longer than a test lasts.
    """
    hostile = HostileVendor()
    server = await asyncio.start_server(hostile.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def prepare(services: Cell) -> None:
        services.environment["TOKENLINE_OTHER_BASE_URL"] = f"http://127.0.0.1:{port}/v1"
        services.environment["TOKENLINE_OTHER_API_KEY"] = SECRET
        # The second vendor of the model "pair".
        services.simulator_at = ("TOKENLINE_ACME_BASE_URL",)
        services.edge_changes = {
            "first_byte_timeout_ms": vendor_timeout_ms,
            "idle_timeout_ms": vendor_timeout_ms,
            "heartbeat_interval_ms": 200,
        }

    async with cell(folder, catalog=catalog, prepare=prepare) as services, aiohttp.ClientSession() as http, server:
        await services.ready()
        yield World(services, http, hostile)
        audited = (await services.admin("POST", "/audit")).json
        assert audited["breaches"] == []
        assert audited["open_sessions"] == 0
        assert (await services.admin("POST", "/reconcile")).json["differences"] == []
