"""Responses over WebSocket: each message on a socket is served as the POST that it stands for, one after another."""

import asyncio
import logging
import time
from typing import Final, NamedTuple

from services.edge.api.reading import RequestReader
from services.edge.call.dialect import Body, Dialect
from services.edge.call.once import HEADER as ONCE
from services.edge.call.once import NAME
from services.edge.call.turns import Turn, Turns
from services.edge.dialects.responses.chain import Asked, Chain, prepared
from services.edge.http.answers import named
from services.edge.http.bodies import Bodies
from services.edge.http.connection import Client, ClientGoneError, RevokedError
from services.edge.http.metrics import RequestMetrics
from services.edge.http.problems import (
    Problem,
    connection_used_up,
    internal_error,
    key_ended,
    no_handshake,
    once_on_socket,
    overloaded,
    response_in_flight,
)
from services.edge.http.socket_call import CLOSES, SocketCall, problem_message
from services.edge.identity.principals import Principal, Principals
from services.runtime.clock import Clock
from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import Application
from services.runtime.http.websocket import HandshakeError, WebSocket, accept
from services.runtime.identifiers import uuid7

logger = logging.getLogger(__name__)

_JSON: Final = (b"content-type", b"application/json")
_ENDED: Final = "the time of this key, its member or its account has ended; ask the operator for a longer one"


class Rooms(NamedTuple):
    """The bounds of bytes that sockets make the edge hold."""

    # All bodies on their way in, messages among them.
    coming: Bodies
    # Conversations.
    kept: Bodies
    # One message, and one conversation.
    bytes_max: int


class Sockets:
    """Serves requests for WebSocket on one path."""

    def __init__(
        self,
        dialect: Dialect,
        principals: Principals,
        reader: RequestReader,
        rooms: Rooms,
        lasts_s: float,
        metrics: RequestMetrics,
        clock: Clock,
    ) -> None:
        """A socket takes no message that begins later than `lasts_s` after it was opened."""
        self.dialect = dialect
        self.principals = principals
        self.reader = reader
        self.rooms = rooms
        self.lasts_s = lasts_s
        self.metrics = metrics
        self.clock = clock

    async def __call__(self, exchange: Exchange, calls: Application, turns: Turns) -> None:
        """Serves one socket to its end, each message by `calls`; a refusal is answered as one of a POST would be.

        The handshake, and a message that is no call, take one of the `turns` here, as each call does for itself.
        """
        request_id = uuid7(self.clock.now_us())
        client = Client(exchange)
        try:
            account_id = (await self.principals.resolve(exchange)).account_id
            if exchange.value_of(NAME):
                raise once_on_socket(ONCE)
            turn = await turns.take(account_id, client)
            try:
                # The key may have been revoked meanwhile, and nobody told this.
                principal = await self.principals.resolve(exchange)
                socket = accept(exchange, named(self.dialect, request_id), self.rooms.bytes_max)
            finally:
                turn.leave()
        except ClientGoneError:
            pass
        except HandshakeError as error:
            self._refuse(exchange, no_handshake(str(error)), request_id)
        except Problem as problem:
            self._refuse(exchange, problem, request_id)
        else:
            await _Serving(self, exchange, calls, turns, socket, principal).serve()

    def _refuse(self, exchange: Exchange, problem: Problem, request_id: str) -> None:
        headers = (_JSON, *problem.headers, *named(self.dialect, request_id))
        exchange.whole(self.dialect.status_of(problem), headers, self.dialect.problem_body(problem, request_id))


class _Serving:
    """One socket."""

    def __init__(
        self, sockets: Sockets, exchange: Exchange, calls: Application, turns: Turns, socket: WebSocket, principal: Principal
    ) -> None:
        self._sockets = sockets
        self._exchange = exchange
        self._calls = calls
        self._turns = turns
        self._socket = socket
        self._principal = principal
        self._coming = sockets.rooms.coming.coming(principal.account_id)
        self._kept = sockets.rooms.kept.coming(principal.account_id)
        self._chain = Chain()
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + sockets.lasts_s
        self._under_way: SocketCall | None = None
        # Why the client must not use the socket any more.
        self._ended: Problem | None = None
        self._ending: asyncio.TimerHandle | None = None
        socket.on_held = self._hold
        socket.on_second = self._refuse_second
        socket.on_closed = self._closed
        exchange.on_late = self._late

    async def serve(self) -> None:
        """Serves messages until the socket is closed."""
        sockets, socket, end = self._sockets, self._socket, self._end
        sockets.principals.watch(self._principal, end)
        sockets.metrics.sockets_open += 1
        try:
            while await self._serve_next():
                if self._ended is not None:
                    # The end of the call has told why.
                    socket.refuse(self._ended.message)
        finally:
            sockets.metrics.sockets_open -= 1
            sockets.principals.unwatch(self._principal, end)
            if self._ending is not None:
                self._ending.cancel()
            socket.break_off("Internal error.")
            # They hold this object in a circle.
            self._exchange.on_late = None
            socket.on_held, socket.on_second, socket.on_closed = _takes_any, _ignores, _ignores
            self._coming.hold(0)
            self._kept.hold(0)

    async def _serve_next(self) -> bool:
        """Serves the next message, of which every end is told; false once the socket is closed."""
        message = await self._socket.receive()
        if message is None:
            return False
        charging_id = uuid7(self._sockets.clock.now_us())
        try:
            asked = await self._read(message)
            if asked is not None and not asked.generates:
                await self._prepare(asked)
                asked = None
        except Problem as problem:
            self._tell(problem, charging_id)
        except Exception:
            logger.exception("call %s failed", charging_id)
            self._tell(internal_error(), charging_id)
        else:
            if asked is not None:
                call, items = SocketCall(self._socket, self._exchange, asked.body), asked.items
                # The call has them from here on, and lets go of them once they are read.
                del message, asked
                await self._call(call, items)
                return True
        self._socket.done()
        return True

    async def _read(self, message: bytes) -> Asked | None:
        """Errors: `Problem`."""
        if self._loop.time() > self._until_s:
            lasted = f"This connection has lasted for {self._sockets.lasts_s:g} s, the longest time allowed."
            self._ended = connection_used_up(lasted)
            raise self._ended
        with self._sockets.rooms.coming.coming(self._principal.account_id) as coming:
            coming.add(len(message))
            await self._sockets.reader.look_at(message)
            return self._chain.read(message)

    async def _call(self, call: SocketCall, items: bytes) -> None:
        sockets = self._sockets
        began_s = time.perf_counter()
        self._socket.serve()
        self._under_way = call
        try:
            await self._calls(call)
            if not call.ended:
                call.cut()
        finally:
            self._under_way = None
            sockets.metrics.served(call, "/" + call.path.strip("/"), time.perf_counter() - began_s)
        if call.right_ends_s is not None:
            self._end_at(call.right_ends_s)
        if not call.keep_alive:
            self._floods(overloaded())
        if call.status in (401, 403):
            self._socket.refuse("The key may not be used any more.")
        self._keep(items, call.last)

    async def _prepare(self, asked: Asked) -> None:
        """Answers a call that generates nothing. Errors: `Problem`, as the call itself would be refused for its body."""
        sockets = self._sockets
        if len(asked.body) > sockets.rooms.bytes_max:
            raise connection_used_up("The conversation is too large.")
        # The turn is given up where the socket is closed while this waits for it.
        self._under_way = call = SocketCall(self._socket, self._exchange, asked.body)
        try:
            turn = await self._take_turn(Client(call))
        except ClientGoneError:
            return
        except RevokedError as error:
            raise error.problem from None
        finally:
            self._under_way = None
        try:
            account_id = self._principal.account_id
            with sockets.rooms.coming.coming(account_id) as coming:
                coming.add(len(asked.body))
                look = await sockets.reader.look_at(asked.body)
                body = Body(asked.body, "application/json")
                request = await sockets.reader.read(account_id, sockets.dialect, body, look, self._exchange.headers)
        finally:
            turn.leave()
        messages = prepared(request.model_id)
        self._keep(asked.items, messages[-1])
        self._socket.send(*messages)

    async def _take_turn(self, client: Client) -> Turn:
        try:
            return await self._turns.take(self._principal.account_id, client)
        except Problem as problem:
            if CLOSES in problem.headers:
                self._floods(problem)
            raise

    def _floods(self, problem: Problem) -> None:
        """Ends the socket once the problem is told; whoever opens another one is a stranger again."""
        self._socket.wire.distrust()
        self._ended = problem

    def _keep(self, items: bytes, last: bytes) -> None:
        size = self._chain.keep(items, last)
        try:
            self._kept.hold(size)
        except Problem:
            self._chain.drop()
            self._kept.hold(0)

    # The end

    def _hold(self, count: int) -> bool:
        try:
            self._coming.hold(count)
        except Problem as problem:
            self._tell(problem, uuid7(self._sockets.clock.now_us()))
            return False
        return True

    def _refuse_second(self) -> None:
        self._tell(response_in_flight(), uuid7(self._sockets.clock.now_us()))

    def _tell(self, problem: Problem, charging_id: str) -> None:
        dialect = self._sockets.dialect
        headers = (*problem.headers, *named(dialect, charging_id))
        self._socket.send(problem_message(dialect.status_of(problem), headers, dialect.problem_body(problem, charging_id)))

    def _end_at(self, right_ends_s: float) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        if right_ends_s < self._until_s:
            self._ending = self._loop.call_at(right_ends_s, self._end, key_ended(_ENDED))

    def _end(self, problem: Problem) -> None:
        """Ends the socket: at once, or after the call under way, which ends for the same reason by itself."""
        self._ended = problem
        if not self._socket.busy:
            self._tell(problem, uuid7(self._sockets.clock.now_us()))
            self._socket.refuse(problem.message)

    def _closed(self) -> None:
        if self._under_way is not None:
            self._under_way.lose()

    def _late(self, longest_s: float) -> None:
        if self._under_way is not None and self._under_way.on_late is not None:
            self._under_way.on_late(longest_s)


def _takes_any(_: int) -> bool:
    return True


def _ignores() -> None:
    return None
