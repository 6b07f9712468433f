"""Sockets of the edge over an application for their calls: what is counted, what is answered, and what breaks off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import msgspec
import pytest
import websockets

from services.edge.api.reading import RequestReader
from services.edge.api.sockets import Rooms, Sockets
from services.edge.call.priority import PriorityClasses
from services.edge.call.turns import Bounds, Turns
from services.edge.dialects.responses.dialect import Responses
from services.edge.http.answers import Answers
from services.edge.http.bodies import Bodies
from services.edge.http.connection import Client
from services.edge.http.metrics import RequestMetrics
from services.edge.http.problems import Problem
from services.runtime.clock import SystemClock
from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import listen_http
from tests.edge.call.doubles import PRINCIPAL, FixedCatalog, NoWire, OnePrincipal
from tests.waiting import WAIT_S, until

pytestmark = pytest.mark.asyncio

BYTES_MAX: Final = 100_000
ASKED: Final = {"type": "response.create", "model": "m", "input": "hello"}


class Calls:
    """Answers a call as its model says; keeps its body and headers."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.headers: list[dict[bytes, bytes]] = []

    async def __call__(self, exchange: Exchange) -> None:
        body = msgspec.json.decode(await exchange.read())
        self.bodies.append(body)
        self.headers.append(dict(exchange.headers))
        assert (exchange.method, exchange.path) == ("POST", "/v1/responses")
        match body["model"]:
            case "whole":
                exchange.whole(429, [(b"retry-after", b"2"), (b"x-request-id", b"id")], b'{"error":{"code":"slow"}}')
                return
            case "nothing":
                return
            case "fault":
                raise ZeroDivisionError
        exchange.start(200, [(b"x-request-id", b"id"), (b"content-type", b"text/event-stream")])
        exchange.write(b": keep-alive\n\n")
        exchange.write(b'event: one\ndata: {"n":1}\n\nevent: two\ndata: {"n":\ndata: 2}\n\n')
        if body["model"] == "breaks":
            exchange.end(b"")
        elif body["model"] == "drops":
            exchange.cut()
        else:
            last = {"type": "response.completed", "response": {"id": f"resp_{len(self.bodies)}", "output": body.get("says", [])}}
            exchange.end(b"event: end\ndata: %b\n\n" % msgspec.json.encode(last))


class Edge:
    def __init__(self, url: str, calls: Calls, metrics: RequestMetrics, rooms: Rooms, turns: Turns) -> None:
        self.url = url
        self.turns = turns
        self.calls = calls
        self.metrics = metrics
        self.rooms = rooms

    def requests(self) -> dict[tuple[str, ...], int]:
        return dict(self.metrics.requests.counts)

    def sockets(self) -> int:
        return self.metrics.sockets_open


@asynccontextmanager
async def edge() -> AsyncIterator[Edge]:
    calls, metrics, clock, reader = Calls(), RequestMetrics(), SystemClock(), RequestReader()
    turns = Turns(100, PriorityClasses(FixedCatalog(None)))
    rooms = Rooms(Bodies(BYTES_MAX, BYTES_MAX), Bodies(BYTES_MAX, BYTES_MAX), BYTES_MAX)
    sockets = Sockets(Responses(), OnePrincipal(), reader, rooms, 60.0, metrics, clock)

    async def served(exchange: Exchange) -> None:
        await sockets(exchange, calls, turns)

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(scope["path"])

    async with listen_http(Answers(nothing, metrics, clock, {"/v1/responses": served}), "127.0.0.1", 0) as listener:
        yield Edge(f"ws://127.0.0.1:{listener.port}/v1/responses", calls, metrics, rooms, turns)
    reader.close()


def connect(running: Edge, **headers: str) -> websockets.connect:
    return websockets.connect(running.url, additional_headers={"authorization": "Bearer k", **headers}, proxy=None)


async def ask(client: websockets.ClientConnection, **fields: Any) -> None:
    await client.send(msgspec.json.encode({**ASKED, **fields}).decode())


async def events(client: websockets.ClientConnection, count: int) -> list[Any]:
    async with asyncio.timeout(WAIT_S):
        return [msgspec.json.decode(await client.recv()) for _ in range(count)]


async def close_of(client: websockets.ClientConnection) -> tuple[int, str]:
    async with asyncio.timeout(WAIT_S):
        await client.wait_closed()
    close = client.protocol.close_rcvd
    assert close is not None
    return close.code, close.reason


async def test_events_are_messages_and_the_first_one_has_the_answer_s_headers() -> None:
    async with edge() as running, connect(running) as client:
        await ask(client)
        first, second, last = await events(client, 3)
        assert first == {"headers": {"x-request-id": "id"}, "n": 1}
        assert second == {"n": 2}
        assert last["type"] == "response.completed"
        await ask(client, model="whole")
        (refused,) = await events(client, 1)
        assert refused == {
            "type": "error",
            "status": 429,
            "headers": {"retry-after": "2", "x-request-id": "id"},
            "error": {"code": "slow"},
        }


async def test_sockets_and_their_calls_are_counted() -> None:
    async with edge() as running:
        async with connect(running) as client:
            assert running.sockets() == 1
            for model in ("m", "m", "whole"):
                await ask(client, model=model)
                await events(client, 1 if model == "whole" else 3)
            await until(lambda: running.requests() == {("/v1/responses", "200"): 2, ("/v1/responses", "429"): 1})
        await until(lambda: running.sockets() == 0)
        assert running.requests() == {("/v1/responses", "200"): 2, ("/v1/responses", "429"): 1, ("/v1/responses", "101"): 1}
        # A socket lasts as long as its client likes, which is no duration of an answer.
        durations = running.metrics.durations
        assert [durations.buckets("/v1/responses", "POST", status)["+Inf"] for status in ("200", "429")] == [2, 1]
        assert ("/v1/responses", "GET", "101") not in durations.series


async def test_headers_of_the_handshake_are_those_of_its_calls_except_what_belongs_to_one_request() -> None:
    async with (
        edge() as running,
        connect(running, **{"session-id": "s", "content-encoding": "x"}) as client,
    ):
        await ask(client)
        await events(client, 3)
        (headers,) = running.calls.headers
        assert headers[b"session-id"] == b"s"
        assert headers[b"content-type"] == b"application/json"
        assert not headers.keys() & {b"content-encoding", b"upgrade", b"connection", b"sec-websocket-key"}


async def test_a_socket_whose_client_names_a_call_is_refused() -> None:
    async with edge() as running:
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(running, **{"Idempotency-Key": "once"})
        response = refused.value.response
        error = msgspec.json.decode(response.body)["error"]
        assert (response.status_code, error["param"], error["code"]) == (400, "Idempotency-Key", "unsupported_parameter")
        assert error["message"] == (
            "Idempotency-Key names one call, and a WebSocket makes many. "
            "Leave it out, or send the call that is to be made once with POST."
        )
        assert running.sockets() == 0


async def test_a_handshake_has_a_place_as_a_call_has_and_only_until_it_is_answered() -> None:
    async with edge() as running:
        # All places that one account may have.
        client = Client(Exchange(NoWire(), "POST", b"/", []))
        calls = [await running.turns.enter(PRINCIPAL.account_id, client) for _ in range(50)]
        with pytest.raises(websockets.InvalidStatus) as refused:
            await connect(running)
        response = refused.value.response
        assert (response.status_code, msgspec.json.decode(response.body)["error"]["code"]) == (503, "overloaded")
        assert (response.headers["retry-after"], response.headers["connection"]) == ("1", "close")
        calls.pop().leave()
        async with connect(running), connect(running) as another:
            await ask(another)
            assert (await events(another, 3))[-1]["type"] == "response.completed"


@pytest.mark.parametrize("model", ["breaks", "drops", "nothing", "fault"])
async def test_an_answer_without_its_end_ends_the_socket(model: str) -> None:
    async with edge() as running, connect(running) as client:
        await ask(client, model=model)
        code, reason = await close_of(client)
        assert code == 1011
        if model != "fault":
            assert reason == "The answer broke off. Send the request again on a new connection."
        await until(lambda: running.sockets() == 0)
    # Nothing is held for it any more.
    running.rooms.coming.add("account", BYTES_MAX)
    running.rooms.kept.add("account", BYTES_MAX)


KEPT: Final[dict[str, tuple[list[Any], list[Any]]]] = {
    "text": ([{"type": "message", "id": "msg_1"}], [{"type": "message", "id": "msg_1"}]),
    "thought with its proof": (
        [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "proof"}],
        [{"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "proof"}],
    ),
    "thought in the open": (
        [{"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "hm"}]}],
        [{"type": "reasoning", "id": "rs_1", "content": [{"type": "reasoning_text", "text": "hm"}]}],
    ),
    "thought of which a vendor that kept nothing knows nothing": (
        [{"type": "reasoning", "id": "rs_1", "summary": [{"text": "hm"}], "content": []}, {"type": "message"}],
        [{"type": "message"}],
    ),
}


@pytest.mark.parametrize(("says", "kept"), KEPT.values(), ids=KEPT)
async def test_the_last_answer_is_a_part_of_the_next_input(says: list[Any], kept: list[Any]) -> None:
    async with edge() as running, connect(running) as client:
        await ask(client, says=says)
        last = (await events(client, 3))[-1]
        await ask(client, input=[{"type": "message", "role": "user", "content": "on"}], previous_response_id=last["response"]["id"])
        await events(client, 3)
    first, second = running.calls.bodies
    asked = {"type": "message", "role": "user", "content": "hello"}
    assert first == {"model": "m", "input": [asked], "stream": True, "says": says}
    assert second == {"model": "m", "input": [asked, *kept, {"type": "message", "role": "user", "content": "on"}], "stream": True}
    await until(lambda: running.sockets() == 0)
    running.rooms.kept.add("account", BYTES_MAX)


async def test_no_more_is_kept_than_there_is_room_for() -> None:
    async with edge() as running, connect(running) as client, connect(running) as other:
        for each in (client, other):
            await ask(each, input="x" * 60_000)
            last = (await events(each, 3))[-1]["response"]["id"]
        await ask(other, previous_response_id=last)
        (refused,) = await events(other, 1)
        assert refused["error"]["code"] == "websocket_connection_limit_reached"
        # Once the first one has gone, there is room.
        await client.close()
        await until(lambda: running.sockets() == 1)
        await ask(other, input="x" * 60_000)
        last = (await events(other, 3))[-1]["response"]["id"]
        await ask(other, input=[], previous_response_id=last)
        await events(other, 3)


async def test_bytes_are_held_up_to_the_bound_and_given_back() -> None:
    bodies = Bodies(10, 10)
    with bodies.coming("account") as coming:
        coming.hold(10)
        coming.hold(4)
        bodies.add("account", 6)
        with pytest.raises(Problem):
            coming.hold(5)
        coming.hold(3)
        bodies.add("account", 1)
        coming.hold(0)
        bodies.add("account", 3)
        coming.hold(0)


@pytest.mark.parametrize("opens", [False, True])
async def test_who_leaves_while_his_handshake_or_his_warm_up_waits_gives_its_place_up(opens: bool) -> None:
    async with edge() as running, AsyncExitStack() as stack:
        turns = running.turns
        turns._bounds = Bounds(8, 1_024.0, WAIT_S)
        client = await stack.enter_async_context(connect(running)) if opens else None
        for _ in range(40):
            turns._shares.begin(PRINCIPAL.account_id, 1.0)
        turns._shares.begin("other", 1.0)
        turns._questions.free = 0
        if client is None:
            opening = asyncio.create_task(asyncio.wait_for(connect(running), WAIT_S))
            await until(lambda: turns._questions.queue.waiting)
            opening.cancel()
        else:
            await ask(client, generate=False)
            await until(lambda: turns._questions.queue.waiting)
            client.transport.abort()
        await until(lambda: not turns._questions.queue.cost)
        assert turns._places._costs == {}
        assert turns.shed.counts == {}
