"""The vendor's HTTP interface, a bare ASGI application: a framework's routing would cost more than the answer.

POST /v1/chat/completions, POST /v1/messages, POST /v1/messages/count_tokens, POST /v1/responses, POST /v1/completions,
POST /v1/embeddings, POST /v1/images/generations, POST /v1/audio/transcriptions, POST /v1/audio/speech, POST /v1/rerank,
GET /v1/models, GET /v1/simulator/served.
"""

import itertools
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol

from msgspec.structs import replace

from services.vendor_simulator.answer import Answer
from services.vendor_simulator.call import Call
from services.vendor_simulator.chat_request import ChatRequest, parse_request
from services.vendor_simulator.client import Client, Receive, Send
from services.vendor_simulator.completion import plan
from services.vendor_simulator.completions import parse_completions, plan_completions
from services.vendor_simulator.embeddings import parse_embeddings, plan_embeddings
from services.vendor_simulator.errors import ErrorWriter, RefusedError, error_body, messages_error_body
from services.vendor_simulator.images import parse_images, plan_images
from services.vendor_simulator.messages import MessagesRequest, counted, parse_count, parse_messages, plan_message
from services.vendor_simulator.prefix_cache import PrefixCache
from services.vendor_simulator.rerank import parse_rerank, plan_rerank
from services.vendor_simulator.responses import plan_response
from services.vendor_simulator.responses_request import ResponsesRequest, parse_responses
from services.vendor_simulator.rich_completion import plan_rich
from services.vendor_simulator.served import Served
from services.vendor_simulator.simulate import PLAIN, Simulate
from services.vendor_simulator.speech import parse_speech, plan_speech
from services.vendor_simulator.spoken import simulate_in
from services.vendor_simulator.transcriptions import parse_transcription, plan_transcription

_MODELS: Final = (
    b'{"object":"list","data":[{"id":"simulated","object":"model","created":1767225600,"owned_by":"vendor-simulator"}]}'
)


class CallRequest(Protocol):
    """A parsed request of any dialect."""

    @property
    def model(self) -> str:
        """The model asked for."""
        ...

    @property
    def stream(self) -> bool | None:
        """Whether the answer shall be a stream."""
        ...

    @property
    def user(self) -> str | None:
        """The end user, where the request names one."""
        ...

    @property
    def last_text(self) -> str:
        """The text that the answer is an answer to; "" where it brings results of tools."""
        ...

    @property
    def simulate(self) -> Simulate:
        """How the call shall go."""
        ...


class Dialect(NamedTuple):
    """How one protocol is read and answered."""

    # The request in a body and the answer to it, under an identifier's number; then whether its text is heeded, and the cache that
    # knows the beginning of its prompt. Errors: `RefusedError`.
    open: Callable[[bytes, str, bool, PrefixCache | None], tuple[CallRequest, Answer]]
    write_error: ErrorWriter
    # The header that names a call.
    id_header: bytes


def _remembered(request: ChatRequest | MessagesRequest | ResponsesRequest, cache: PrefixCache | None) -> Simulate:
    """How the call shall go, with what the cache knows of its prompt, unless the request says that itself."""
    simulate = request.simulate
    if cache is None:
        return simulate
    cached = cache.read(request.model, request.texts)
    return simulate if simulate.cached_input_tokens else replace(simulate, cached_input_tokens=cached)


def _open_chat(body: bytes, number: str, heeds_text: bool, cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_request(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    request = replace(request, simulate=_remembered(request, cache))
    planner = plan_rich if request.simulate.needs_more_than_plain else plan
    return request, planner(request, f"chatcmpl-{number}", int(time.time()))


def _open_messages(body: bytes, number: str, heeds_text: bool, cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_messages(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, messages_error_body))
    request = replace(request, simulate=_remembered(request, cache))
    return request, plan_message(request, f"msg_{number}")


def _open_responses(body: bytes, number: str, heeds_text: bool, cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_responses(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    request = replace(request, simulate=_remembered(request, cache))
    return request, plan_response(request, number, int(time.time()))


def _open_embeddings(body: bytes, number: str, heeds_text: bool, _cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_embeddings(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    return request, plan_embeddings(request)


def _open_images(body: bytes, number: str, heeds_text: bool, _cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_images(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    return request, plan_images(request)


def _open_transcription(body: bytes, number: str, heeds_text: bool, _cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_transcription(body)
    return request, plan_transcription(request)


def _open_rerank(body: bytes, number: str, heeds_text: bool, _cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_rerank(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    return request, plan_rerank(request)


def _open_speech(body: bytes, number: str, heeds_text: bool, _cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_speech(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    return request, plan_speech(request)


def _open_completions(body: bytes, number: str, heeds_text: bool, _cache: PrefixCache | None) -> tuple[CallRequest, Answer]:
    request = parse_completions(body)
    if heeds_text and request.simulate is PLAIN:
        request = replace(request, simulate=simulate_in(request.last_text, error_body))
    return request, plan_completions(request, f"cmpl-{number}", int(time.time()))


_CHAT: Final = Dialect(_open_chat, error_body, b"x-request-id")
_COMPLETIONS: Final = Dialect(_open_completions, error_body, b"x-request-id")
_EMBEDDINGS: Final = Dialect(_open_embeddings, error_body, b"x-request-id")
_IMAGES: Final = Dialect(_open_images, error_body, b"x-request-id")
_TRANSCRIPTIONS: Final = Dialect(_open_transcription, error_body, b"x-request-id")
_RERANK: Final = Dialect(_open_rerank, error_body, b"x-request-id")
_SPEECH: Final = Dialect(_open_speech, error_body, b"x-request-id")
_MESSAGES: Final = Dialect(_open_messages, messages_error_body, b"request-id")
_RESPONSES: Final = Dialect(_open_responses, error_body, b"x-request-id")


class VendorSimulator:
    """The ASGI application."""

    def __init__(self, *, heeds_text: bool = False, cache: PrefixCache | None = None) -> None:
        """`heeds_text`: see `VendorSimulatorConfig`. `cache`: of prompts; None: each is new."""
        self._heeds_text = heeds_text
        self._cache = cache
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
            await self._complete(scope, client, _CHAT)
        elif route == ("POST", "/v1/messages"):
            await self._complete(scope, client, _MESSAGES)
        elif route == ("POST", "/v1/responses"):
            await self._complete(scope, client, _RESPONSES)
        elif route == ("POST", "/v1/completions"):
            await self._complete(scope, client, _COMPLETIONS)
        elif route == ("POST", "/v1/embeddings"):
            await self._complete(scope, client, _EMBEDDINGS)
        elif route == ("POST", "/v1/images/generations"):
            await self._complete(scope, client, _IMAGES)
        elif route == ("POST", "/v1/audio/transcriptions"):
            await self._complete(scope, client, _TRANSCRIPTIONS)
        elif route == ("POST", "/v1/rerank"):
            await self._complete(scope, client, _RERANK)
        elif route == ("POST", "/v1/audio/speech"):
            await self._complete(scope, client, _SPEECH)
        elif route == ("POST", "/v1/messages/count_tokens"):
            await self._count_tokens(client)
        elif route == ("GET", "/v1/simulator/served"):
            await _answer(client, 200, self._served.report())
        elif route == ("GET", "/v1/models"):
            await _answer(client, 200, _MODELS)
        else:
            message = f"Unknown request URL: {scope['method']} {scope['path']}."
            write_error = messages_error_body if scope["path"].startswith("/v1/messages") else error_body
            await _answer(client, 404, write_error(message, "invalid_request_error", "unknown_url"))

    def stop(self) -> None:
        """Hangs up on all clients that wait, so that the end of the process need not wait for them."""
        for client in self._waiting:
            client.dismiss()

    async def _complete(self, scope: dict[str, Any], client: Client, dialect: Dialect) -> None:
        try:
            body = await client.read_body()
            if body is None:
                return
            number = f"{self._prefix}{next(self._numbers):012x}"
            try:
                request, answer = dialect.open(body, number, self._heeds_text, self._cache)
            except RefusedError as refusal:
                await _answer(client, refusal.status, refusal.body)
                return
            secret = _secret(scope)
            tally = self._served.open(secret, request.user or "", request.model)
            request_id = dialect.id_header, b"req_" + number.encode()
            call = Call(request.simulate, answer, client, tally, self._waiting, request_id, dialect.write_error)
            await call.run(bool(request.stream), secret)
        finally:
            client.leave()
            self._waiting.discard(client)

    async def _count_tokens(self, client: Client) -> None:
        body = await client.read_body()
        if body is None:
            return
        try:
            await _answer(client, 200, counted(parse_count(body)))
        except RefusedError as refusal:
            await _answer(client, refusal.status, refusal.body)


async def _answer(client: Client, status: int, body: bytes) -> None:
    await client.start(status, [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))])
    await client.send(body, more=False)


def _secret(scope: dict[str, Any]) -> str:
    """The key that the caller sent, as bearer or in x-api-key."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return str(value.removeprefix(b"Bearer ").decode("latin-1"))
        if name == b"x-api-key":
            return str(value.decode("latin-1"))
    return ""
