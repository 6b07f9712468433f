"""The one HTTP server bootstrap: an application on a port, inside a loop that is already running, within limits."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any, Final

from services.runtime.http.arrivals import Arrivals
from services.runtime.http.connection import Connection
from services.runtime.http.exchange import Exchange, GoneError, Header
from services.runtime.http.limits import HttpLimits
from services.runtime.http.pace import Pace

logger = logging.getLogger(__name__)

Application = Callable[[Exchange], Awaitable[Any]]
# The server's own answer: from a status, and the URL and headers as far as they were read, to headers and body.
Refuse = Callable[[int, bytes, Sequence[Header]], tuple[Sequence[Header], bytes]]

# Connections that came last may take this long to bring their requests.
_LAST_REQUESTS_S: Final = 1.0
# Interval of looks for what lasts too long; at most this part of the shortest time.
_LOOK_S: Final = 1.0
_LOOKS_A_TIME: Final = 4
# A refused client may go on sending for this long before its connection is cut.
_LINGER_S: Final = 10.0
_LAST_BYTES_POLL_S: Final = 0.01
# Requests that are begun in one round of the loop; more of them would keep others waiting who come meanwhile.
_BEGUN_AT_ONCE: Final = 32
# At most this many whose time is over are ended at once, before others have their turn.
_ENDED_AT_ONCE: Final = 4
# When all places are taken, at most this many of those that end are asked whether their clients have got all, which costs 1 us.
_ENDING_LOOKED_AT: Final = 16
# Turns for requests in vain, of all senders. A request that takes a single turn costs some 0.2 ms.
_IN_VAIN_PER_SECOND: Final = 200.0
_IN_VAIN_AT_ONCE: Final = 50
# Turns to bring much, 256 KB each, of all connections: each costs some 0.3 ms.
_MUCH_PER_SECOND: Final = 400.0
_MUCH_AT_ONCE: Final = 64
# A connection rests for at most this long.
_REST_S_MAX: Final = 5.0
# An address is remembered this long for a request in vain, and at most this many addresses are.
_KNOWN_S: Final = 10.0
_KNOWN_MAX: Final = 16_384
_KERNEL_UNSENT_BYTES_MAX: Final = 128 * 1024


def plain_refusal(status: int, url: bytes, head: Sequence[Header]) -> tuple[Sequence[Header], bytes]:
    """A `Refuse` without words."""
    return [(b"content-type", b"text/plain")], b""


class Listener:
    """Connections of one port. They report what they do; the listener finds those that do it for too long.

    Each dictionary is in the order of the times in it, because a connection that begins anew goes to its end.
    """

    def __init__(self, application: Application, limits: HttpLimits, refuse: Refuse) -> None:
        self._application = application
        self._loop = asyncio.get_running_loop()
        self.limits = limits
        self.refuse = refuse
        self.port = 0
        # Set when every answer must be its connection's last.
        self.closing = False
        self._connections: set[Connection] = set()
        self._arrivals = Arrivals(limits, self._connections.__len__, self._take, self._count)
        self._tasks: set[asyncio.Task[None]] = set()
        # Requests begun in this round of the loop, and those that wait for the next ones, by address.
        self._begun = 0
        self._to_begin: dict[str, deque[Callable[[], None]]] = {}
        # Begin of a state: no request yet, and nothing or a part of a head; idle after an answer; a body comes; an answer is made;
        # its end was asked for.
        self._heads: dict[Connection, float] = {}
        self._idle: dict[Connection, float] = {}
        self.bodies: dict[Connection, float] = {}
        self._answers: dict[Connection, float] = {}
        self._late: dict[Connection, float] = {}
        # Connections whose client sends no more.
        self.half_closed: dict[Connection, None] = {}
        # Connections that end, or whose client is slow: the time since which the client has taken nothing, and the untaken bytes.
        self._writing: dict[Connection, tuple[float, int]] = {}
        # Connections that end, with the bytes dropped since.
        self._ending: dict[Connection, int] = {}
        # Turns of callers that waste the time of others; then their addresses with the last time, in order of time.
        self._in_vain = Pace(_IN_VAIN_PER_SECOND, _IN_VAIN_AT_ONCE)
        self._wasteful: dict[str, float] = {}
        # By address: connections on which a request came from a known caller.
        self._known: dict[str, int] = {}
        # Connections that send much, of which one is read at a time, and all at a pace.
        self._much = Pace(_MUCH_PER_SECOND, _MUCH_AT_ONCE)
        self._bulky: deque[Connection] = deque()
        # Connections and requests refused since the start, by a word for the reason or by the status.
        self.refusals: dict[str, int] = {}
        # Those since the last line in the log, and an example.
        self._refused = 0
        self._refused_example = ""
        times_s = (limits.head_s, limits.body_s, limits.idle_s, limits.write_s, limits.answer_s)
        self._look_s = min(_LOOK_S, min(times_s) / _LOOKS_A_TIME)
        self._looking: asyncio.TimerHandle | None = None

    def listen(self, on: socket.socket) -> None:
        """Begins to take connections."""
        self.port = on.getsockname()[1]
        self._arrivals.listen(on)
        self._look_again()

    @property
    def accepts(self) -> bool:
        """Whether clients should come: it will not close soon, listens, and has a place free, or taken by an idle connection."""
        serving = not self.closing and self._arrivals.open
        return serving and (len(self._connections) < self.limits.connections_max or bool(self._ending or self._heads or self._idle))

    @property
    def answering(self) -> int:
        """The number of requests whose answers are being made."""
        return len(self._answers)

    @property
    def connected(self) -> int:
        """The number of connections that have a place."""
        return len(self._connections)

    @property
    def waiting(self) -> int:
        """The number of connections that wait for one."""
        return self._arrivals.waiting

    async def _take(self, came: socket.socket, address: str) -> None:
        """Gives a connection its place; one that ends, or has been without a request for the longest, makes way for it."""
        if len(self._connections) >= self.limits.connections_max:
            self._count("full", f"there are {len(self._connections)} connections")
            needless = self._first_to_go()
            if needless is None:
                came.close()
                self._arrivals.left(address)
                return
            self.forget(needless)
            needless.drop()
        connection = Connection(self, address)
        self._connections.add(connection)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, came)
        except OSError:
            # It has gone meanwhile.
            came.close()
            self.forget(connection)

    # Reports of connections

    def await_request(self, connection: Connection) -> None:
        """It was taken, and nothing has come of it."""
        self._heads[connection] = self._loop.time()

    def _first_to_go(self) -> Connection | None:
        """The connection that makes way when all places are taken."""
        # Those that have their last answer keep their places only to drop what they still send.
        for ending in islice(self._ending, _ENDING_LOOKED_AT):
            if not ending.untaken_bytes:
                return ending
        # Those that never sent a request go first: a client that did may be sending its next just now.
        return next(iter(self._heads), None) or next(iter(self._idle), None) or next(iter(self._ending), None)

    def forget(self, connection: Connection) -> None:
        """Forgets a connection that is lost."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._arrivals.left(connection.address)
        if connection.known and self._is_last_known(connection.address):
            self._arrivals.remember(connection.address)
        states: Iterable[dict[Connection, Any]] = (
            self._heads,
            self._idle,
            self.bodies,
            self._answers,
            self._late,
            self.half_closed,
            self._writing,
            self._ending,
        )
        for state in states:
            state.pop(connection, None)

    def know(self, connection: Connection) -> None:
        """Notes that a request on the connection came from a known caller."""
        before = self._known.get(connection.address, 0)
        self._known[connection.address] = before + 1
        if not before:
            self._arrivals.know(connection.address)

    def distrust(self, connection: Connection) -> None:
        """Notes that the known caller on the connection sends more than is served: his address counts for nothing any more."""
        if self._is_last_known(connection.address):
            self._arrivals.forget(connection.address)

    def _is_last_known(self, address: str) -> bool:
        """Whether the known connection of this address that ends was its last one."""
        self._known[address] -= 1
        if self._known[address]:
            return False
        del self._known[address]
        return True

    def knows(self, address: str) -> bool:
        """Whether a known caller is connected from there: a proxy passes honest requests on, which must not rest for others."""
        return address in self._known

    def first_rest_s(self, connection: Connection) -> float:
        """Time for which the first bytes of a new connection rest; 0 unless others from its address were in vain lately."""
        now_s = self._loop.time()
        since_s = self._wasteful.get(connection.address)
        if since_s is None or now_s - since_s > _KNOWN_S or self.knows(connection.address) or not self._in_vain.wait_s(now_s):
            return 0.0
        return self._take_turns(now_s)

    def wasted(self, connection: Connection, turns: int = 1) -> float:
        """Notes a request in vain, or dropped bytes; returns the time for which the connection rests before more is read."""
        now_s = self._loop.time()
        wasteful = self._wasteful
        wasteful.pop(connection.address, None)
        wasteful[connection.address] = now_s
        if len(wasteful) > _KNOWN_MAX:
            del wasteful[next(iter(wasteful))]
        return self._take_turns(now_s, turns)

    def _take_turns(self, now_s: float, turns: int = 1) -> float:
        return self._in_vain.take_s(now_s, turns) if self._in_vain.wait_s(now_s) < _REST_S_MAX else _REST_S_MAX

    def queue_reading(self, connection: Connection) -> None:
        """Queues a connection that has brought much: it is read again after those before it."""
        if not self._bulky:
            self._await_turn()
        self._bulky.append(connection)

    def _await_turn(self) -> None:
        wait_s = self._much.take_s(self._loop.time())
        if wait_s:
            self._loop.call_later(wait_s, self._read_next)
        else:
            self._loop.call_soon(self._read_next)

    def _read_next(self) -> None:
        self._bulky.popleft().take_turn()
        if self._bulky:
            self._await_turn()

    def begin(self, connection: Connection, exchange: Exchange) -> None:
        """Lets the application serve a request whose head has come, and whose turn it is on its connection."""
        self._heads.pop(connection, None)
        self.works(connection)
        self.in_rounds(connection.address, partial(self._start, exchange))

    def in_rounds(self, address: str, begin: Callable[[], None]) -> None:
        """Begins a request: now, or, where many come at once, in one of the next rounds of the loop, of each address in turn."""
        if self._begun == _BEGUN_AT_ONCE:
            self._to_begin.setdefault(address, deque()).append(begin)
        else:
            self._begin_now(begin)

    def _begin_next(self) -> None:
        """A new round of the loop."""
        self._begun = 0
        while self._to_begin and self._begun < _BEGUN_AT_ONCE:
            address, waiting = next(iter(self._to_begin.items()))
            del self._to_begin[address]
            begin = waiting.popleft()
            if waiting:
                self._to_begin[address] = waiting
            self._begin_now(begin)

    def _begin_now(self, begin: Callable[[], None]) -> None:
        if not self._begun:
            self._loop.call_soon(self._begin_next)
        self._begun += 1
        begin()

    def _start(self, exchange: Exchange) -> None:
        if exchange.gone:
            return
        task = self._loop.create_task(self._serve(exchange))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._application(exchange)
        except GoneError:
            pass
        except Exception:
            logger.exception("%s %s failed", exchange.method, exchange.path)
        finally:
            if not exchange.ended and not exchange.gone:
                # Cut an answer that is missing or half done: its client must not take that for a whole one.
                exchange.cut()

    def idles(self, connection: Connection) -> None:
        """Notes that the connection's answer is whole, and it waits for the next request."""
        self._answered(connection)
        self._idle[connection] = self._loop.time()

    def works(self, connection: Connection) -> None:
        """Notes that an answer is made from now on, or that a stream of another protocol serves its client."""
        self._idle.pop(connection, None)
        self._answered(connection)
        self._answers[connection] = self._loop.time()

    def _answered(self, connection: Connection) -> None:
        self._answers.pop(connection, None)
        self._late.pop(connection, None)

    def await_head(self, connection: Connection) -> None:
        """Notes that a part of a head has come."""
        if connection not in self._heads:
            self._idle.pop(connection, None)
            self._heads[connection] = self._loop.time()

    def await_body(self, connection: Connection) -> None:
        """Notes that a part of a body is still to come."""
        if connection not in self.bodies:
            self.bodies[connection] = self._loop.time()

    def watch_writing(self, connection: Connection) -> None:
        """Watches a connection whose client is slow."""
        self._writing[connection] = (self._loop.time(), connection.untaken_bytes)

    def ends(self, connection: Connection) -> None:
        """Notes that the connection only sends what it has written, and drops what comes."""
        for state in (self._heads, self._idle, self.bodies, self._answers, self._late):
            state.pop(connection, None)
        self._ending[connection] = 0
        self.watch_writing(connection)

    def drops(self, connection: Connection, count: int, bytes_max: int) -> bool:
        """Counts bytes on a connection that ends; whether more may come."""
        dropped = self._ending[connection] = self._ending.get(connection, 0) + count
        return dropped <= bytes_max

    def count_refused(self, connection: Connection, status: int) -> None:
        """Counts a request that the server itself refused."""
        self._count(str(status), f"{connection.address} was answered {status}")

    def _count(self, reason: str, example: str) -> None:
        self.refusals[reason] = self.refusals.get(reason, 0) + 1
        self._refused += 1
        self._refused_example = example

    # Looks for what lasts too long

    def _look_again(self) -> None:
        self._looking = self._loop.call_later(self._look_s, self._look)

    def _look(self) -> None:
        self._look_again()
        limits, now_s = self.limits, self._loop.time()
        self._end_late()
        for connection in list(self.half_closed):
            connection.look_whether_gone()
        for connection, (since_s, unsent) in list(self._writing.items()):
            left = connection.untaken_bytes
            if left < unsent:
                self._writing[connection] = (now_s, left)
            elif not connection.congested and connection not in self._ending:
                del self._writing[connection]
            elif now_s - since_s > (limits.write_s if left else _LINGER_S):
                connection.drop()
            elif left > unsent:
                self._writing[connection] = (since_s, left)
        if self._refused:
            logger.warning("refused %d connections or requests since the last such line; %s", self._refused, self._refused_example)
            self._refused = 0

    def _end_late(self) -> None:
        """Ends some connections whose time is over, and the next ones after others have had their turn."""
        limits, now_s = self.limits, self._loop.time()
        left = _ENDED_AT_ONCE
        for connection in _since(self._heads, now_s - limits.head_s, left):
            connection.end_late_head()
            left -= 1
        for connection in _since(self.bodies, now_s - limits.body_s, left):
            connection.refuse(408)
            left -= 1
        for connection in _since(self._answers, now_s - limits.answer_s, left):
            left -= 1
            if connection.end_late_answer(limits.answer_s):
                self._late[connection] = now_s
            else:
                connection.drop()
        for connection in _since(self._idle, now_s - limits.idle_s, left):
            connection.end_idle()
            left -= 1
        for connection in _since(self._late, now_s - limits.last_words_s, left):
            connection.drop()
            left -= 1
        if not left:
            self._loop.call_soon(self._end_late)

    # Stopping

    async def stop_listening(self) -> bool:
        """Closes the port; whether the kernel had connections for it, which are taken, because they would be reset."""
        return await self._arrivals.close()

    async def stop(self, drain_s: float) -> None:
        """Lets answers under way end for at most `drain_s`, then cuts them off; returns once every connection is closed."""
        self.closing = True
        await self.stop_listening()
        until_s = self._loop.time() + drain_s
        for connection in (*self._idle, *self._heads):
            connection.end_idle()
        # A few are begun in each round of the loop, of which nobody is told.
        while self._to_begin:  # noqa: ASYNC110
            await asyncio.sleep(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_s)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        # Bytes that were written still go out.
        while self._connections and self._loop.time() < until_s:
            for connection in tuple(self._connections):
                if not connection.unsent_bytes:
                    connection.close()
            await asyncio.sleep(_LAST_BYTES_POLL_S)
        for connection in tuple(self._connections):
            connection.drop()
        if self._looking is not None:
            self._looking.cancel()


def _since(times: dict[Connection, float], limit_s: float, count_max: int) -> list[Connection]:
    """Takes out those whose time is at or before the limit, at most `count_max`."""
    found: list[Connection] = []
    for connection, since_s in times.items():
        if since_s > limit_s or len(found) == count_max:
            break
        found.append(connection)
    for connection in found:
        del times[connection]
    return found


@asynccontextmanager
async def listen_http(
    application: Application,
    host: str,
    port: int,
    *,
    drain_s: float = 30.0,
    notice_s: float = 0.0,
    limits: HttpLimits | None = None,
    refuse: Refuse = plain_refusal,
) -> AsyncIterator[Listener]:
    """Serves `application` on host:port (port 0: any) and yields the listener; `refuse` words the server's own answers.

    When the block is left, it goes on for `notice_s`, and every answer tells its client to close the connection. Then only
    connections that the kernel has are taken. Open connections are read for at most a second more. Requests under way get `drain_s`
    to end, then are cut. Errors: `OSError` when the address cannot be bound.
    """
    with contextlib.closing(_bind(host, port)) as on:
        listener = Listener(application, (limits or HttpLimits()).for_process(), refuse)
        listener.listen(on)
        try:
            yield listener
            listener.closing = True
            await asyncio.sleep(notice_s)
            # Closing a connection with a request unread resets it, and that call fails; the youngest still have theirs to come.
            last_came = await listener.stop_listening()
            await asyncio.sleep(_LAST_REQUESTS_S if last_came else min(notice_s, _LAST_REQUESTS_S))
        finally:
            await listener.stop(drain_s)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except socket.gaierror as error:
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose an address of this machine") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if sys.platform == "linux":
        # For each connection: else the kernel would take megabytes for a client that takes nothing, and nobody would notice.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _KERNEL_UNSENT_BYTES_MAX)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror}; choose another port") from error
    listener.setblocking(False)
    return listener
