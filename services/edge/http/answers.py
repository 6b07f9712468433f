"""Answers on their way out of the edge: each with `x-request-id` and counted, each error in OpenAI's shape or the client's own."""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from litestar import Request, Response
from litestar.exceptions import HTTPException

from services.edge.http.cross_origin import CrossOrigin
from services.edge.http.metrics import RequestMetrics
from services.edge.http.problems import (
    Header,
    Problem,
    from_service_error,
    internal_error,
    malformed,
    method_not_allowed,
    problem_body,
    too_large,
    unknown_url,
)
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError
from services.runtime.http.asgi import Asgi, AsgiApplication
from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import Application
from services.runtime.http.pace import Pace
from services.runtime.identifiers import uuid7
from services.runtime.logs import begin_notes

logger = logging.getLogger(__name__)

# Reads what the framework says that a field of a query must be.
_EXPECTED: Final = re.compile(r"Expected `(?P<kind>\w+)[^`]*`(?: (?P<sign>>=|<=|>|<) (?P<bound>\S+))?")
_KINDS: Final = {"int": "a whole number", "bool": "true or false", "str": "text"}
_SIGNS: Final = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}


# Answers to callers without a key from addresses from which customers are connected: each costs some 0.3 ms, so the next ones are
# kept back.
_BESIDE_KNOWN_PER_SECOND: Final = 500.0
_BESIDE_KNOWN_AT_ONCE: Final = 100
_HELD_S_MAX: Final = 5.0
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def in_plain_characters(request: Request[Any, Any, Any]) -> None:
    """Refuses control characters in the IDs of a URL, because none has one and databases take no NUL. Errors: `Problem` 400."""
    named = {**request.path_params, **request.query_params.dict()}
    for name, value in named.items():
        if any(_CONTROL.search(str(each)) for each in (value if isinstance(value, list) else [value])):
            raise malformed(name, f"{name} has a control character; none is part of an ID.", "invalid_value")


class Words(Protocol):
    """A dialect's words for problems; see `services.edge.call.dialect.Dialect`."""

    @property
    def request_id_header(self) -> bytes: ...

    def problem_body(self, problem: Problem, charging_id: str) -> bytes: ...

    def status_of(self, problem: Problem) -> int: ...


# The words that a request's client understands; None: OpenAI's.
WordsOf = Callable[[Request[Any, Any, Any]], Words | None]
ExceptionHandler = Callable[[Request[Any, Any, Any], Any], Response[bytes]]


class Answers:
    """The application of a listener: names and counts every answer.

    `hot` are applications by path that are called without the framework: they answer in every case.
    """

    def __init__(
        self,
        application: AsgiApplication,
        metrics: RequestMetrics,
        clock: Clock,
        hot: Mapping[str, Application] | None = None,
        cross_origin: CrossOrigin | None = None,
    ) -> None:
        """`cross_origin`: None where no page of another origin may read an answer."""
        self._others = Asgi(application, self._hold)
        self._beside_known = Pace(_BESIDE_KNOWN_PER_SECOND, _BESIDE_KNOWN_AT_ONCE)
        self._hot = hot or {}
        self._cross_origin = cross_origin
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        """Serves one request; an x-request-id that the handler set stays."""
        began_s = time.perf_counter()
        begin_notes()
        exchange.serves_anybody = True
        path = exchange.path
        # Litestar ignores a superfluous slash, and so do we.
        hot = self._hot.get(path) or self._hot.get("/" + path.strip("/"))
        # A path that is not served has no template: its own text would make a label of every request.
        template = "unknown"
        try:
            if self._cross_origin is not None and self._cross_origin.serve(exchange, self._request_id):
                template = "preflight"
            elif path == "/" and exchange.method == "HEAD":
                # Clients probe this path to see whether anybody is there.
                template = path
                exchange.whole(200, [self._request_id()], b"")
            elif hot is not None:
                template = "/" + path.strip("/")
                await hot(exchange)
            else:
                scope = await self._others(exchange, self._request_id())
                template = scope.get("path_template") or template
        finally:
            self._metrics.served(exchange, template, time.perf_counter() - began_s)

    async def _hold(self, exchange: Exchange) -> None:
        """Keeps an answer to a caller without a key back where too many come from addresses from which customers are connected.

        There the listener lets nobody rest, because the next request on a proxy's connection may be a customer's.
        """
        if exchange.known or not exchange.beside_known:
            return
        now_s = asyncio.get_running_loop().time()
        wait_s = _HELD_S_MAX if self._beside_known.wait_s(now_s) >= _HELD_S_MAX else self._beside_known.take_s(now_s)
        if wait_s:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await exchange.left()

    def _request_id(self) -> Header:
        return b"x-request-id", uuid7(self._clock.now_us()).encode("ascii")


def exception_handlers(
    clock: Clock, body_bytes_max: int, words_of: WordsOf = lambda _: None
) -> dict[type[Exception], ExceptionHandler]:
    """Litestar's exception handlers: every exception becomes an error in the words of its client."""

    def answer(request: Request[Any, Any, Any], error: Problem, request_id: str = "") -> Response[bytes]:
        words = words_of(request)
        if words is None:
            own = [(b"x-request-id", request_id.encode("ascii"))] if request_id else []
            return _response(error.status, problem_body(error), (*error.headers, *own))
        request_id = request_id or uuid7(clock.now_us())
        headers = (*error.headers, *named(words, request_id))
        return _response(words.status_of(error), words.problem_body(error, request_id), headers)

    def problem(request: Request[Any, Any, Any], error: Problem) -> Response[bytes]:
        return answer(request, error)

    def service_error(request: Request[Any, Any, Any], error: ServiceError) -> Response[bytes]:
        translated = from_service_error(error)
        if translated.status < 500:
            return answer(request, translated)
        request_id = uuid7(clock.now_us())
        logger.warning("request %s, %s: %s: %s", request_id, request.scope["path"], error.reason_name, error.message)
        return answer(request, translated, request_id)

    def http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        return answer(request, _of_http_exception(request, error, body_bytes_max))

    def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        request_id = uuid7(clock.now_us())
        logger.error("request %s, %s failed", request_id, request.scope.get("path_template"), exc_info=error)
        return answer(request, internal_error(), request_id)

    return {Problem: problem, ServiceError: service_error, HTTPException: http_exception, Exception: unexpected}


def _of_http_exception(request: Request[Any, Any, Any], error: HTTPException, body_bytes_max: int) -> Problem:
    path = request.scope["path"]
    match error.status_code:
        case 404:
            return unknown_url(request.method, path)
        case 405:
            allowed = next((value for name, value in (error.headers or {}).items() if name.lower() == "allow"), "")
            return method_not_allowed(request.method, path, allowed)
        case 413:
            return too_large(body_bytes_max)
        case 400 if isinstance(error.extra, list) and error.extra:
            # Flaws of a query, as the framework finds them, field by field.
            flaw = error.extra[0]
            return malformed(flaw.get("key"), f"{flaw.get('key')} {_wanted(flaw.get('message', ''))}.", "invalid_value")
        case status if status < 500:
            return malformed(None, error.detail)
        case _:
            return internal_error()


def _wanted(told: str) -> str:
    """The framework's word on a field of a query, in words that say what would be right."""
    if (found := _EXPECTED.match(told)) is None:
        return f"is wrong: {told}"
    bound = f" of {_SIGNS[found['sign']]} {found['bound']}" if found["sign"] else ""
    return f"must be {_KINDS.get(found['kind'], found['kind'])}{bound}"


def named(words: Words, request_id: str) -> list[Header]:
    """The headers that carry a request's ID: the charging_id of a model call."""
    value = request_id.encode("ascii")
    headers = [(b"x-request-id", value)]
    if words.request_id_header != b"x-request-id":
        headers.append((words.request_id_header, value))
    return headers


def _response(status: int, body: bytes, headers: Iterable[Header]) -> Response[bytes]:
    response = Response(body, status_code=status, media_type="application/json")
    for name, value in headers:
        response.headers[name.decode("ascii")] = value.decode("ascii")
    return response
