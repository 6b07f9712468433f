"""Model calls: one ASGI application for each route, all of them over one call path."""

import logging
from typing import Final

from litestar import asgi
from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send

from services.edge.api.token_counts import TokenCounts
from services.edge.call.dialect import Body, Dialect, Request
from services.edge.call.path import CallPath
from services.edge.config import EdgeConfig
from services.edge.http.connection import Client, ClientGoneError, RevokedError
from services.edge.http.problems import Problem, from_service_error, internal_error, method_not_allowed, too_deep
from services.edge.http.stream import ClientAnswer
from services.edge.identity.principals import Principal, Principals
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7

logger = logging.getLogger(__name__)

_JSON: Final = "application/json"


class ModelCalls:
    """The ASGI application of one route."""

    def __init__(
        self,
        dialect: Dialect,
        principals: Principals,
        path: CallPath,
        free: TokenCounts,
        config: EdgeConfig,
        clock: Clock,
    ) -> None:
        self._dialect = dialect
        self._principals = principals
        self._path = path
        self._free = free
        self._config = config
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one call. Whatever ends it is answered here, with the charging_id as x-request-id."""
        charging_id = uuid7(self._clock.now_us())
        client = Client(receive)
        answer = ClientAnswer(send, named(self._dialect, charging_id))
        try:
            # Answers lets nothing but HTTP come here, so there is a method.
            if (method := str(scope.get("method"))) != "POST":
                raise method_not_allowed(method, scope["path"], "POST")
            principal = await self._principals.resolve(scope["headers"])
            revoke = client.revoke
            # A body may take a minute to come: a key that is revoked meanwhile must not begin a call.
            self._principals.watch(principal, revoke)
            try:
                await self._serve(scope, principal, charging_id, client, answer)
            finally:
                self._principals.unwatch(principal, revoke)
        except ClientGoneError:
            pass
        except RevokedError as error:
            # Before there was a session.
            await self._fail(answer, error.problem, charging_id)
        except Problem as problem:
            await self._fail(answer, problem, charging_id)
        except ServiceError as error:
            await self._fail(answer, from_service_error(error), charging_id)
        except Exception:
            logger.exception("call %s failed", charging_id)
            await self._fail(answer, internal_error(), charging_id)
        finally:
            client.stop_watching()
            answer.stop()

    async def _serve(self, scope: Scope, principal: Principal, charging_id: str, client: Client, answer: ClientAnswer) -> None:
        """Serves a call of one whose key has passed. Errors: those of `CallPath.serve`, `RevokedError`."""
        content = await client.read_body(self._config.body_bytes_max, self._config.body_timeout_ms)
        client.watch()
        headers = dict(scope["headers"])
        body = Body(content, headers.get(b"content-type", b"").decode("latin-1"))
        try:
            request: Request = self._dialect.read(body, headers)
        except RecursionError:
            raise too_deep() from None
        if request.is_free:
            await self._free.serve(self._dialect, request, principal, client, answer)
        else:
            await self._path.serve(self._dialect, request, principal, charging_id, client, answer)

    async def _fail(self, answer: ClientAnswer, problem: Problem, charging_id: str) -> None:
        body = self._dialect.problem_body(problem, charging_id)
        if answer.begun:
            # Nothing but a fault of ours can come here: the stream ends without its end mark.
            await answer.end_stream(b"")
        else:
            await answer.whole(self._dialect.status_of(problem), _JSON, body, problem.headers)


def named(dialect: Dialect, charging_id: str) -> list[tuple[bytes, bytes]]:
    """The headers that carry the charging_id."""
    value = charging_id.encode("ascii")
    headers = [(b"x-request-id", value)]
    if dialect.request_id_header != b"x-request-id":
        headers.append((dialect.request_id_header, value))
    return headers


def call_route(path: str, serve: ASGIApp) -> ASGIRouteHandler:
    """The route of a model call. All methods come to it, so that another one than POST is refused in the dialect's words."""

    @asgi(path, copy_scope=False)
    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await serve(scope, receive, send)

    return call
