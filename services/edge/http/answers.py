"""Answers on their way out of the edge: each with `x-request-id` and counted, each error in OpenAI's shape."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

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
from services.runtime.identifiers import uuid7

logger = logging.getLogger(__name__)

_CLIENT_GONE: Final = 499
ExceptionHandler = Callable[[Request[Any, Any, Any], Any], Response[bytes]]


class Answers:
    """The application of a listener: names and counts every answer.

    `hot` are applications by path that are called without the framework: they answer in every case.
    """

    def __init__(
        self, application: AsgiApplication, metrics: RequestMetrics, clock: Clock, hot: Mapping[str, Application] | None = None
    ) -> None:
        self._others = Asgi(application)
        self._hot = hot or {}
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        """Serves one request; an x-request-id that the handler set stays."""
        began_s = time.perf_counter()
        exchange.serves_anybody = True
        path = exchange.path
        # Litestar ignores a superfluous slash, and so do we.
        hot = self._hot.get(path) or self._hot.get("/" + path.strip("/"))
        # A path that is not served has no template: its own text would make a label of every request.
        template = "unknown"
        try:
            if path == "/" and exchange.method == "HEAD":
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
            self._metrics.record(template, exchange.status or _CLIENT_GONE, time.perf_counter() - began_s)

    def _request_id(self) -> Header:
        return b"x-request-id", uuid7(self._clock.now_us()).encode("ascii")


def exception_handlers(clock: Clock, body_bytes_max: int) -> dict[type[Exception], ExceptionHandler]:
    """Litestar's exception handlers: every exception becomes an error in OpenAI's shape."""

    def problem(request: Request[Any, Any, Any], error: Problem) -> Response[bytes]:
        return _answer(error)

    def service_error(request: Request[Any, Any, Any], error: ServiceError) -> Response[bytes]:
        translated = from_service_error(error)
        if translated.status < 500:
            return _answer(translated)
        request_id = uuid7(clock.now_us())
        logger.warning("request %s, %s: %s: %s", request_id, request.scope["path"], error.reason_name, error.message)
        return _answer(translated, request_id)

    def http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        return _answer(_of_http_exception(request, error, body_bytes_max))

    def unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        request_id = uuid7(clock.now_us())
        logger.error("request %s, %s failed", request_id, request.scope["path"], exc_info=error)
        return _answer(internal_error(), request_id)

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
            return malformed(flaw.get("key"), f"{flaw.get('key')} is wrong: {flaw.get('message')}.", "invalid_value")
        case status if status < 500:
            return malformed(None, error.detail)
        case _:
            return internal_error()


def _answer(problem: Problem, request_id: str = "") -> Response[bytes]:
    response = Response(problem_body(problem), status_code=problem.status, media_type="application/json")
    for name, value in problem.headers:
        response.headers[name.decode("ascii")] = value.decode("ascii")
    if request_id:
        response.headers["x-request-id"] = request_id
    return response
