"""The vendor's HTTP interface, a bare ASGI application: a framework's routing would cost more than the answer.

POST /v1/chat/completions, GET /v1/models, GET /v1/simulator/served.
"""

import asyncio
import itertools
import secrets
import time
from typing import Any, Final

from services.vendor_simulator.chat_request import ChatRequest, RefusedError, error_body, parse_request
from services.vendor_simulator.client import Client, Receive, Send
from services.vendor_simulator.completion import DONE, Completion, Events, chunk_sizes, plan
from services.vendor_simulator.served import CallTally, Served

_HANG_S: Final = 600.0
# So many events of an unpaced stream go out at once; between them others get their turn.
_EVENTS_AT_ONCE: Final = 16

_REFUSALS: Final = {
    "refuse_400": (400, "the request was refused, as asked for", "invalid_request_error", "simulated_refusal"),
    "unauthorized_401": (401, "the API key is not valid here, as asked for", "invalid_request_error", "invalid_api_key"),
    "rate_limit_429": (429, "too many requests, as asked for", "rate_limit_error", "rate_limit_exceeded"),
    "error_500": (500, "the server failed, as asked for", "server_error", "simulated_error"),
    "overloaded_503": (503, "the server is overloaded, as asked for", "server_error", "overloaded"),
}
_BREAKING_OFF: Final = ("break_mid_stream", "hang_mid_stream", "error_mid_stream")
_MID_STREAM_ERROR: Final = error_body("the server failed in mid-stream, as asked for", "server_error", "simulated_error")
_GARBAGE: Final = b"<html>this is { not JSON"
_GARBAGE_STREAM: Final = b'data: {"id": "chatcmpl-\n\ndata: this is not JSON\n\n' + DONE
_MODELS: Final = (
    b'{"object":"list","data":[{"id":"simulated","object":"model","created":1767225600,"owned_by":"vendor-simulator"}]}'
)


class VendorSimulator:
    """The ASGI application."""

    def __init__(self) -> None:
        self._served = Served()
        self._waiting: set[Client] = set()
        self._numbers = itertools.count()
        # Identifiers are random once and counted from there, which is unique enough and costs nothing.
        self._prefix = secrets.token_hex(6)

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Answers one HTTP request."""
        client = Client(receive, send)
        route = scope["method"], scope["path"]
        if route == ("POST", "/v1/chat/completions"):
            try:
                await self._complete(scope, client)
            finally:
                client.leave()
                self._waiting.discard(client)
        elif route == ("GET", "/v1/simulator/served"):
            await _answer(client, 200, self._served.report())
        elif route == ("GET", "/v1/models"):
            await _answer(client, 200, _MODELS)
        else:
            message = f"Unknown request URL: {scope['method']} {scope['path']}."
            await _answer(client, 404, error_body(message, "invalid_request_error", "unknown_url"))

    def stop(self) -> None:
        """Hangs up on all clients that wait, so that the end of the process need not wait for them."""
        for client in self._waiting:
            client.dismiss()

    async def _complete(self, scope: dict[str, Any], client: Client) -> None:
        body = await client.read_body()
        if body is None:
            return
        try:
            request = parse_request(body)
        except RefusedError as refusal:
            await _answer(client, refusal.status, refusal.body)
            return
        tally = self._served.open(_bearer(scope), request.user or "")
        number = f"{self._prefix}{next(self._numbers):012x}"
        completion = plan(request, f"chatcmpl-{number}", int(time.time()))
        request_id = b"req_" + number.encode()
        simulate = request.simulate

        if simulate.first_token_delay_ms and not await self._wait(client, simulate.first_token_delay_ms / 1000):
            await self._abort(client, tally)
        elif simulate.failure in _REFUSALS:
            status, message, kind, code = _REFUSALS[simulate.failure]
            await _answer(client, status, error_body(message, kind, code), request_id)
        elif simulate.failure == "hang_before_first_byte":
            await self._hang(client, tally)
        elif simulate.failure == "disconnect_before_first_byte":
            await client.cut()
        elif request.stream:
            await self._stream(request, completion, client, tally, request_id)
        else:
            await self._plain(request, completion, client, tally, request_id)

    async def _plain(
        self, request: ChatRequest, completion: Completion, client: Client, tally: CallTally, request_id: bytes
    ) -> None:
        simulate = request.simulate
        if simulate.failure == "garbage":
            await _answer(client, 200, _GARBAGE, request_id)
            return
        tally.begun(completion.input_tokens)
        if simulate.tokens_per_second:
            begin_s = time.monotonic()
            if not await self._wait(client, completion.output_tokens / simulate.tokens_per_second):
                made = min(completion.output_tokens, int((time.monotonic() - begin_s) * simulate.tokens_per_second))
                tally.made(made * completion.choices)
                await self._abort(client, tally)
                return
        tally.made(completion.output_tokens * completion.choices)
        if simulate.failure == "error_mid_stream":
            await _answer(client, 200, _MID_STREAM_ERROR, request_id)
            return
        body = completion.answer()
        if simulate.failure in _BREAKING_OFF:
            await client.start(200, _headers(body, request_id))
            await client.send(body[: len(body) // 2], more=True)
            await (client.cut() if simulate.failure == "break_mid_stream" else self._hang(client, tally))
            return
        await _answer(client, 200, body, request_id)
        tally.sent(completion.visible_tokens * completion.choices)

    async def _stream(
        self, request: ChatRequest, completion: Completion, client: Client, tally: CallTally, request_id: bytes
    ) -> None:
        simulate = request.simulate
        rate = simulate.tokens_per_second
        await client.start(
            200,
            [
                (b"content-type", b"text/event-stream; charset=utf-8"),
                (b"cache-control", b"no-cache"),
                (b"x-request-id", request_id),
            ],
        )
        if simulate.failure == "garbage":
            await client.send(_GARBAGE_STREAM, more=False)
            return
        tally.begun(completion.input_tokens)
        loop = asyncio.get_running_loop()
        begin_s = loop.time()
        events = Events(completion)
        unsent = [events.head()]
        unsent_tokens = 0

        async def flush(more: bool) -> None:
            nonlocal unsent_tokens
            await client.send(b"".join(unsent), more)
            tally.sent(unsent_tokens)
            unsent.clear()
            unsent_tokens = 0

        if rate:
            await flush(more=True)
            if completion.reasoning_tokens and not await self._wait(client, completion.reasoning_tokens / rate):
                made = min(completion.reasoning_tokens, int((loop.time() - begin_s) * rate))
                tally.made(made * completion.choices)
                await self._abort(client, tally)
                return
        tally.made(completion.reasoning_tokens * completion.choices)

        breaks_off = simulate.failure in _BREAKING_OFF
        length = min(completion.visible_tokens, simulate.failure_after_tokens) if breaks_off else completion.visible_tokens
        position = 0
        for size in chunk_sizes(length, rate):
            there = True
            if rate:
                # A chunk leaves when its last token is made; the times are absolute, so that delays do not add up.
                due_s = begin_s + (completion.reasoning_tokens + position + size) / rate
                there = await self._wait(client, due_s - loop.time())
            elif len(unsent) > _EVENTS_AT_ONCE:
                await flush(more=True)
                there = await self._wait(client, 0)
            if not there:
                await self._abort(client, tally)
                return
            unsent.append(events.content(position, size))
            unsent_tokens += size * completion.choices
            tally.made(size * completion.choices)
            position += size
            if rate:
                await flush(more=True)

        if simulate.failure == "error_mid_stream":
            unsent.append(b"data: " + _MID_STREAM_ERROR + b"\n\n")
        elif not breaks_off:
            unsent.append(events.end())
        await flush(more=simulate.failure in ("break_mid_stream", "hang_mid_stream"))
        if simulate.failure == "break_mid_stream":
            await client.cut()
        elif simulate.failure == "hang_mid_stream":
            await self._hang(client, tally)

    async def _wait(self, client: Client, duration_s: float) -> bool:
        self._waiting.add(client)
        return await client.wait(duration_s)

    async def _hang(self, client: Client, tally: CallTally) -> None:
        if await self._wait(client, _HANG_S):
            await client.cut()
        else:
            await self._abort(client, tally)

    async def _abort(self, client: Client, tally: CallTally) -> None:
        tally.aborted()
        await client.cut()


async def _answer(client: Client, status: int, body: bytes, request_id: bytes = b"") -> None:
    await client.start(status, _headers(body, request_id))
    await client.send(body, more=False)


def _headers(body: bytes, request_id: bytes) -> list[tuple[bytes, bytes]]:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if request_id:
        headers.append((b"x-request-id", request_id))
    return headers


def _bearer(scope: dict[str, Any]) -> str:
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value.removeprefix(b"Bearer ").decode("latin-1"))
    return ""
