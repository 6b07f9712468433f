"""Model calls: one application for each route, all of them over one call path."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from services.edge.api.reading import RequestReader
from services.edge.api.token_counts import TokenCounts
from services.edge.call.dialect import Body, Charged, Dialect
from services.edge.call.once import NAME, once_of
from services.edge.call.path import CallPath
from services.edge.call.threads import Threads, serve
from services.edge.call.turns import Turn, Turns
from services.edge.http.answers import named
from services.edge.http.bodies import Bodies
from services.edge.http.connection import Client, ClientGoneError, RevokedError
from services.edge.http.metrics import CLIENT_GONE
from services.edge.http.problems import Problem, from_service_error, internal_error, method_not_allowed, upgrade_not_supported
from services.edge.http.stream import ClientAnswer
from services.edge.identity.principals import Principal, Principals
from services.runtime.clock import Clock
from services.runtime.errors import TRANSIENT, ServiceError
from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import Application
from services.runtime.identifiers import uuid7
from services.runtime.logs import note
from services.runtime.traces import Trace, begin_trace, is_tracing, parent_of
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# The application of requests for WebSocket, told that of the calls on it, and their turns.
SocketsOf = Callable[[Exchange, Application, Turns], Awaitable[None]]

_JSON: Final = "application/json"
# Errors of other services that metrics and those services' own logs tell.
_EXPECTED: Final = TRANSIENT | {errors_pb2.ERROR_REASON_OVERLOADED, errors_pb2.ERROR_REASON_CATALOG_UNAVAILABLE}
# Members of a dialect.
_METER: Final = ("name", "request_id_header", "charged", "is_json", "read", "problem_body", "status_of", "rate_headers")


class ModelCalls:
    """The application of one route, for every method."""

    def __init__(  # noqa: PLR0913  # the wiring calls it, once, and each part has another maker
        self,
        dialect: Dialect,
        principals: Principals,
        path: CallPath,
        free: TokenCounts,
        turns: Turns,
        reader: RequestReader,
        threads: Threads,
        bodies: Bodies,
        body_bytes_max: int,
        clock: Clock,
        sockets: SocketsOf | None = None,
    ) -> None:
        """`sockets` serves requests for WebSocket, where the path has it."""
        self._sockets = sockets
        self._dialect = dialect
        self._principals = principals
        self._path = path
        self._free = free
        self._turns = turns
        self._reader = reader
        self._threads = threads
        self._bodies = bodies
        self._body_bytes_max = body_bytes_max
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        """Serves one call. Answers every end of it, with the charging_id as x-request-id."""
        if self._sockets is not None and asks_for_websocket(exchange):
            await self._sockets(exchange, self, self._turns)
            return
        charging_id = uuid7(self._clock.now_us())
        trace = _begin(exchange, charging_id)
        try:
            await self._answer(exchange, charging_id)
        finally:
            if trace is not None:
                trace.end(exchange.status or CLIENT_GONE)

    async def _answer(self, exchange: Exchange, charging_id: str) -> None:
        client = Client(exchange)
        answer = ClientAnswer(exchange, named(self._dialect, charging_id))
        try:
            if asks_for_websocket(exchange):
                raise upgrade_not_supported(exchange.path)
            if exchange.method != "POST":
                raise method_not_allowed(exchange.method, exchange.path, "POST")
            principal = await self._principals.resolve(exchange)
            serve(self._threads, principal.account_id)
            revoke = client.revoke
            # Watch now, because a body may take a minute to come: a key that is revoked meanwhile must not begin a call.
            self._principals.watch(principal, revoke)
            client.watch()
            try:
                # Before the body is read, because most of those that must be refused can be so without it.
                turn = await self._turns.enter(principal.account_id, client)
                try:
                    await self._serve(exchange, principal, charging_id, client, answer, turn)
                finally:
                    turn.leave()
            finally:
                self._principals.unwatch(principal, revoke)
        except ClientGoneError:
            pass
        except RevokedError as error:
            # The call failed before there was a session.
            await self._fail(answer, error.problem, charging_id)
        except Problem as problem:
            await self._fail(answer, problem, charging_id)
        except ServiceError as error:
            refused = from_service_error(error)
            if refused.status >= 500 and error.reason not in _EXPECTED:
                logger.error("call %s is answered %d: %s: %s", charging_id, refused.status, error.reason_name, error.message)
            await self._fail(answer, refused, charging_id)
        except Exception:
            logger.exception("call %s failed", charging_id)
            await self._fail(answer, internal_error(), charging_id)
        finally:
            client.stop_watching()
            answer.stop()

    async def _serve(
        self, exchange: Exchange, principal: Principal, charging_id: str, client: Client, answer: ClientAnswer, turn: Turn
    ) -> None:
        """Serves a call whose key has passed. Errors: those of `CallPath.serve`, `RevokedError`."""
        with self._bodies.coming(principal.account_id) as coming:
            # Until the session is open, because nobody has paid for what is kept of the body; to the end of what costs nothing.
            client.on_opened.append(partial(coming.hold, 0))
            look = self._reader.look(is_json=self._dialect.is_json)
            content = await client.read_body(self._body_bytes_max, coming, look)
            client.read_s = time.monotonic()
            body = Body(content, exchange.value_of(b"content-type").decode("latin-1"))
            # Only now, because a body may take a minute to come; while it waits, its bytes count as coming.
            await turn.begin(client)
            with client.interruptible():
                request = await self._reader.read(principal.account_id, self._dialect, body, look, exchange.headers)
                once = None
                if given := exchange.values_of(NAME):
                    told = content if self._dialect.is_json else _without_boundary(content)
                    once = await once_of(given, self._dialect.name, told)
                    del told
            del content, body
            charged = self._dialect.charged
            assert request.makes_output is (charged is Charged.INPUT_AND_OUTPUT), "a request is charged as its route is"
            if charged is Charged.NOTHING:
                turn.over()
                await self._free.serve(self._dialect, request, principal, client, answer)
            else:
                await self._path.serve(self._dialect, request, principal, charging_id, client, answer, once)

    async def _fail(self, answer: ClientAnswer, problem: Problem, charging_id: str) -> None:
        body = self._dialect.problem_body(problem, charging_id)
        if answer.begun:
            # Only a fault of ours can come here: the stream ends without its end mark.
            await answer.end_stream(b"")
        else:
            await answer.whole(self._dialect.status_of(problem), _JSON, body, problem.headers)


def _begin(exchange: Exchange, charging_id: str) -> Trace | None:
    """Begins a call for the log and for traces, where its charging_id without hyphens is its trace, or leads to its caller's."""
    parent = parent_of(exchange.value_of(b"traceparent"))
    if parent is None:
        note(charging_id=charging_id)
    else:
        note(charging_id=charging_id, trace_id=f"{parent.trace_id:032x}")
    if not is_tracing():
        return None
    route = "/" + exchange.path.strip("/")
    trace = begin_trace(f"{exchange.method} {route}", int(charging_id.replace("-", ""), 16), parent)
    trace.root.attributes |= {"http.request.method": exchange.method, "http.route": route, "tokenline.charging_id": charging_id}
    return trace


def _without_boundary(content: bytes) -> bytes:
    """A form without the line that parts it, which is another one each time that it is sent."""
    return content.replace(content.partition(b"\r\n")[0], b"")


def asks_for_websocket(exchange: Exchange) -> bool:
    """Whether a request asks to go on with WebSocket."""
    return exchange.method == "GET" and exchange.value_of(b"upgrade").lower() == b"websocket"


def metered(*routes: tuple[str, Dialect]) -> tuple[tuple[str, Dialect], ...]:
    """The routes of model calls, each with its dialect. Nothing else leads to a vendor.

    Errors: `TypeError` for a route that says not what of its calls is charged, or reads no requests that can be metered.
    """
    paths: set[str] = set()
    for path, dialect in routes:
        if not isinstance(dialect, Dialect) or not isinstance(dialect.charged, Charged):
            lacks = ", ".join(name for name in _METER if not hasattr(dialect, name)) or "charged, a Charged"
            raise TypeError(f"{path} has no meter: {type(dialect).__name__} lacks {lacks}. See services.edge.call.dialect.Dialect.")
        if path in paths:
            raise TypeError(f"{path} is registered twice; keep one of them.")
        paths.add(path)
    return routes
