"""An edge with all its places in demand, over real sockets, against a whole cell."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.edge.system import Cell, cell
from tests.journeys.subscriber import Subscriber, chat
from tests.journeys.test_sockets import RESPONSES, Socket, socket
from tests.openapi.conformance import assert_documented
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")
# Half of the connections.
PLACES = 20
CLASSES = RESPONSES.replace("  - offering_id: charging\n", "  - offering_id: charging\n    priority_class: high\n").replace(
    "  - offering_id: only-small\n", "  - offering_id: only-small\n    priority_class: low\n"
)
# Streams that last longer than a test.
BODY = {**chat(max_tokens=1_000, simulate={"output_tokens": 1_000, "tokens_per_second": 5}), "stream": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Cell, aiohttp.ClientSession]]:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"connections_max": 2 * PLACES, "address_connections_max": 2 * PLACES}

    folder: Path = tmp_path_factory.mktemp("overload")
    connector = aiohttp.TCPConnector(limit=0)
    async with cell(folder, catalog=CLASSES, prepare=prepare) as services, aiohttp.ClientSession(connector=connector) as http:
        await services.ready()
        yield services, http
        async with asyncio.timeout(WAIT_S):
            # Calls whose clients have just left are released yet.
            while (audited := (await services.admin("POST", "/audit")).json)["open_sessions"]:  # noqa: ASYNC110  # nobody is told
                await asyncio.sleep(0.05)
        assert audited["breaches"] == []


async def begun(stack: AsyncExitStack, services: Cell, http: aiohttp.ClientSession, api_key: str, body: dict[str, Any]) -> int:
    """A call that is under way until the stack ends, or its refusal; its status."""
    url = f"{services.base_url}/chat/completions"
    response = await http.post(url, json=body, headers={"authorization": f"Bearer {api_key}"})
    stack.callback(response.close)
    if response.status != 200:
        headers = {name.lower(): value for name, value in response.headers.items()}
        refusal = await response.read()
        assert_documented("POST", "/v1/chat/completions", response.status, headers, refusal)
        assert (await response.json())["error"]["code"] == "overloaded"
        assert (headers["retry-after"], headers["connection"]) == ("1", "close")
    return response.status


@pytest.mark.parametrize(("offering_id", "share"), [("only-small", 4), ("default", 10), ("charging", 16)])
async def test_an_account_has_the_share_of_its_class_and_leaves_places_for_others(
    running: tuple[Cell, aiohttp.ClientSession], offering_id: str, share: int
) -> None:
    services, http = running
    busy = await Subscriber.open(services, http, f"busy-{offering_id}", offering_id=offering_id, tokens=1_000_000)
    other = await Subscriber.open(services, http, f"beside-{offering_id}", tokens=1_000_000)
    # The class is that of the last call.
    assert (await busy.call(chat(max_tokens=5))).status == 200
    async with AsyncExitStack() as stack:
        assert [await begun(stack, services, http, busy.api_key, BODY) for _ in range(share)] == [200] * share
        assert await begun(stack, services, http, busy.api_key, BODY) == 503
        assert (await other.call(chat(max_tokens=5))).status == 200


async def sockets_of(stack: AsyncExitStack, subscriber: Subscriber, count: int) -> list[Socket]:
    return [await stack.enter_async_context(socket(subscriber)) for _ in range(count)]


async def test_a_socket_has_a_place_while_it_has_a_call_and_no_longer(
    running: tuple[Cell, aiohttp.ClientSession],
) -> None:
    services, http = running
    busy = await Subscriber.open(services, http, "sockets", tokens=1_000_000)
    async with AsyncExitStack() as stack:
        # More than there are places for an account.
        sockets = await sockets_of(stack, busy, 15)
        for each in sockets:
            await each.response()
        for each in sockets[:10]:
            await each.ask(simulate={"output_tokens": 1_000, "tokens_per_second": 5})
            assert (await each.event())["type"] == "response.created"
        assert await begun(stack, services, http, busy.api_key, BODY) == 503


@pytest.mark.parametrize("fields", [{}, {"generate": False}])
async def test_a_socket_s_call_that_has_no_place_is_told_so_and_its_socket_ends(
    running: tuple[Cell, aiohttp.ClientSession], fields: dict[str, Any]
) -> None:
    services, http = running
    name = f"flood-{len(fields)}"
    busy = await Subscriber.open(services, http, name, tokens=1_000_000)
    other = await Subscriber.open(services, http, f"other-{name}", tokens=1_000_000)
    async with AsyncExitStack() as stack:
        [beside], [client] = await sockets_of(stack, other, 1), await sockets_of(stack, busy, 1)
        assert [await begun(stack, services, http, busy.api_key, BODY) for _ in range(10)] == [200] * 10
        await client.ask(**fields)
        error = await client.refused()
        assert (error["status"], error["error"]["code"], error["headers"]["retry-after"]) == (503, "overloaded", "1")
        code, reason = await client.closed()
        assert (code, reason[:37]) == (1008, "The service has too many calls at the")
        assert (await beside.response())[0]["status"] == "completed"
