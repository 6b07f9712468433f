"""A relay between a client and the edge: it changes nothing and keeps what went through."""

import asyncio
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

# Of one connection alone; the length is said anew by whoever sends the body.
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "host"})
# Each side has its own.
_OF_SOCKETS: Final = frozenset(
    {"upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions", "sec-websocket-protocol"}
)
_BODY_BYTES_MAX: Final = 64 * 1024 * 1024


class Exchange(msgspec.Struct, frozen=True):
    """A request, and the head of its answer. On a WebSocket each message is one, with the method "SEND", or "PREPARE"."""

    method: str
    # With its query.
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    # The x-request-id.
    charging_id: str
    # The fields that the vendor did not get: x-dropped-fields.
    dropped: str


class Recorder:
    """What went through."""

    def __init__(self) -> None:
        # "http://host:port", to be had by clients in the place of the edge's.
        self.url = ""
        self.exchanges: list[Exchange] = []

    def take(self) -> list[Exchange]:
        """All exchanges since the last time, in the order of their answers."""
        taken, self.exchanges = self.exchanges, []
        return taken


@contextmanager
def recording(target: str) -> Iterator[Recorder]:
    """Relays to `target`, "http://host:port", on any free port."""
    recorder = Recorder()
    ready, end = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)) as http:
            application = web.Application(client_max_size=_BODY_BYTES_MAX)

            async def relay(request: web.Request) -> web.StreamResponse:
                return await _relay(request, http, target, recorder)

            application.router.add_route("*", "/{path:.*}", relay)
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            recorder.url = f"http://{host}:{port}"
            ready.set()
            await end.wait()
            await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30), "the recorder did not start"
        yield recorder
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(30)
        loop.close()


async def _relay(request: web.Request, http: aiohttp.ClientSession, target: str, recorder: Recorder) -> web.StreamResponse:
    if request.headers.get("upgrade", "").lower() == "websocket":
        return await _relay_socket(request, http, target, recorder)
    body = await request.read()
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
    url = target + request.path_qs
    async with http.request(request.method, url, headers=headers, data=body, allow_redirects=False) as answer:
        charging_id, dropped = answer.headers.get("x-request-id", ""), answer.headers.get("x-dropped-fields", "")
        recorder.exchanges.append(Exchange(request.method, request.path_qs, headers, body, answer.status, charging_id, dropped))
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP:
                response.headers.add(name, value)
        await response.prepare(request)
        async for piece in answer.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def _relay_socket(request: web.Request, http: aiohttp.ClientSession, target: str, recorder: Recorder) -> web.StreamResponse:
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP | _OF_SOCKETS}
    path = request.path_qs
    try:
        edge = await http.ws_connect(target + path, headers=headers, max_msg_size=0, autoping=False)
    except aiohttp.WSServerHandshakeError as refused:
        told = dict(refused.headers or {})
        recorder.exchanges.append(Exchange("GET", path, headers, b"", refused.status, told.get("x-request-id", ""), ""))
        return web.Response(status=refused.status, headers={n: v for n, v in told.items() if n.lower() not in _HOP})
    client = web.WebSocketResponse(autoping=False, max_msg_size=0)
    await client.prepare(request)
    recorder.exchanges.append(Exchange("GET", path, headers, b"", 101, "", ""))
    asked: deque[str] = deque()

    async def to_edge() -> None:
        async for message in client:
            if message.type is aiohttp.WSMsgType.TEXT:
                asked.append(message.data)
            await _pass(message, edge)
        await edge.close()

    async def to_client() -> None:
        async for message in edge:
            if message.type is aiohttp.WSMsgType.TEXT and asked:
                _note(recorder, path, headers, message.data, asked)
            await _pass(message, client)
        await client.close(code=edge.close_code or 1006)

    await asyncio.wait([asyncio.create_task(to_edge()), asyncio.create_task(to_client())])
    return client


def _note(recorder: Recorder, path: str, headers: dict[str, str], told: str, asked: deque[str]) -> None:
    """Keeps a message with the first event of its answer. Nothing is asked for before the last one has come."""
    event = msgspec.json.decode(told)
    ids = event.get("headers", {})
    is_prepared = event["type"] == "response.created" and not ids
    if ids or is_prepared:
        charging_id, dropped = ids.get("x-request-id", ""), ids.get("x-dropped-fields", "")
        body = asked.popleft().encode()
        method = "PREPARE" if is_prepared else "SEND"
        recorder.exchanges.append(Exchange(method, path, headers, body, event.get("status", 200), charging_id, dropped))


async def _pass(message: aiohttp.WSMessage, other: aiohttp.ClientWebSocketResponse | web.WebSocketResponse) -> None:
    if not other.closed:
        await other.send_frame(message.data.encode() if isinstance(message.data, str) else message.data, message.type)
