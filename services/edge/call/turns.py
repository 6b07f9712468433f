"""Overload of an edge: a bounded number of calls, begun in turn where an account uses more than its share.

Most calls begin at once. Those of accounts that use more than others do take turns, some at once, each until accounting has opened
its session. So all others find only these before them, however many wait. A call that would wait for long is shed: its client
gets 503 with Retry-After at once. Only where very many are shed each second, the next wait, because refusals cost time too.

Requests that are no calls are begun in turns of their own. Most of them need nothing but this process, so that side by side they
would hold it for as long as all of them take.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from services.edge.call.priority import PriorityClasses
from services.edge.call.shares import FairQueue, Places, Shares
from services.edge.http.connection import Client
from services.edge.http.problems import Problem, overloaded
from services.runtime.http.pace import Pace
from services.runtime.instruments import Counter, Gauge, export

# Refusals a second, each of which costs some 0.3 ms. The others wait for this long at most.
_SHED_PER_SECOND: Final = 200.0
_SHED_AT_ONCE: Final = 50
_SHED_LATE_S_MAX: Final = 30.0


class Bounds(NamedTuple):
    """Bounds of turns."""

    # Those that are under way at once: with one a large customer loses most of his calls, with 32 others wait.
    at_once: int = 8
    # The cost of all calls that may wait for one, and for how long each may.
    waiting_max: float = 1_024.0
    wait_s_max: float = 2.0
    # Requests under way at once that are no calls.
    questions_at_once: int = 1


_BOUNDS: Final = Bounds()


class _Line:
    """Requests of one kind that take turns: some are under way at once, the others wait in the order of their accounts' shares."""

    __slots__ = ("free", "queue")

    def __init__(self, at_once: int) -> None:
        self.free = at_once
        self.queue: FairQueue[asyncio.Future[None]] = FairQueue()

    def pass_on(self) -> None:
        """Gives the turn that is over to the request that is next."""
        given = self.queue.next()
        if given is None:
            self.free += 1
        else:
            given.set_result(None)


class Turn:
    """A call's place among those that this edge has in hand, and its turn to be worked on. Leave it in any case."""

    __slots__ = ("_account_id", "_cost", "_is_begun", "_line", "_turns")

    def __init__(self, turns: "Turns", line: _Line, account_id: str, cost: float) -> None:
        self._turns = turns
        self._line = line
        self._account_id = account_id
        self._cost = cost
        # Not before it has begun, once it is over, and where none is needed.
        self._is_begun = False

    async def begin(self, client: Client) -> None:
        """Waits for the turn, where the account uses more than its share; it is over once the call's session is open.

        Errors: `Problem` 503 where it would wait too long; `ClientGoneError`, `RevokedError`.
        """
        if self._turns.takes_turns(self._line, self._account_id):
            await self._turns.wait(self._line, self._account_id, self._cost, client)
            self._is_begun = True
            client.on_opened.append(self.over)

    def over(self) -> None:
        """Lets the next call have its turn."""
        if self._is_begun:
            self._is_begun = False
            self._line.pass_on()

    def leave(self) -> None:
        """Gives the place back, once the call is no longer under way."""
        self.over()
        self._turns.end(self._account_id, self._cost)


class Turns:
    """Turns of model calls."""

    def __init__(
        self, places: int, classes: PriorityClasses, clock_s: Callable[[], float] = time.monotonic, bounds: Bounds = _BOUNDS
    ) -> None:
        """`places`: the calls in hand at once, those that wait or are shed among them."""
        self._places = Places(places)
        self._classes = classes
        self._clock_s = clock_s
        self._shares = Shares()
        self._bounds = bounds
        self._calls = _Line(bounds.at_once)
        self._questions = _Line(bounds.questions_at_once)
        self._shedding = Pace(_SHED_PER_SECOND, _SHED_AT_ONCE)
        self.shed = Counter("edge.calls.shed", "Calls refused for overload, by priority class", ("priority_class",))

    async def enter(self, account_id: str, client: Client) -> Turn:
        """A place for a call of the account, before its body is read.

        Errors: `Problem` 503 where there is none, or too many of its calls wait already; `ClientGoneError`, `RevokedError`.
        """
        return await self._enter(self._calls, account_id, client)

    async def _enter(self, line: _Line, account_id: str, client: Client) -> Turn:
        cost = self._classes.of(account_id).cost
        if not self._places.take(account_id, cost):
            self._count(account_id)
            client.shed()
            raise _last_of_connection()
        self._shares.begin(account_id, cost)
        turn = Turn(self, line, account_id, cost)
        if self._is_full_for(account_id, cost):
            try:
                with client.interruptible():
                    raise await self._refusal(account_id, client)
            finally:
                turn.leave()
        return turn

    async def take(self, account_id: str, client: Client) -> Turn:
        """A place, and its turn, for a request that is no call; who leaves while he waits gives it up at once.

        Errors: those of `enter`.
        """
        client.watch()
        try:
            turn = await self._enter(self._questions, account_id, client)
            try:
                await turn.begin(client)
            except BaseException:
                turn.leave()
                raise
            return turn
        finally:
            client.stop_watching()

    def end(self, account_id: str, cost: float) -> None:
        """See `Turn.leave`."""
        self._shares.end(account_id, cost, self._clock_s())
        self._places.give_back(account_id, cost)

    def takes_turns(self, line: _Line, account_id: str) -> bool:
        """Whether the account uses more than its share, or others of its requests wait in the line."""
        return bool(line.queue.cost_of(account_id)) or self._shares.is_beyond(account_id, self._clock_s())

    async def wait(self, line: _Line, account_id: str, cost: float, client: Client) -> None:
        """Waits until few enough turns of the line are under way, and begins one. Errors: those of `Turn.begin`."""
        if line.free:
            line.free -= 1
            return
        with client.interruptible():
            if self._is_full_for(account_id, cost) or not await self._given(line, account_id, cost):
                raise await self._refusal(account_id, client)

    async def _given(self, line: _Line, account_id: str, cost: float) -> bool:
        """Waits to be given a turn; whether there was one in time."""
        given = asyncio.get_running_loop().create_future()
        line.queue.add(account_id, cost, given)
        try:
            async with asyncio.timeout(self._bounds.wait_s_max):
                await given
        except BaseException as error:
            if given.done() and not given.cancelled():
                # It was given at the moment in which nobody waited for it any more.
                line.pass_on()
            if isinstance(error, TimeoutError):
                return False
            raise
        finally:
            line.queue.left(account_id, cost)
        return True

    def _is_full_for(self, account_id: str, cost: float) -> bool:
        """Whether as many requests of the account wait as there is room left for."""
        calls, questions = self._calls.queue, self._questions.queue
        waiting = calls.cost + questions.cost
        own = calls.cost_of(account_id) + questions.cost_of(account_id) if waiting else 0.0
        return bool(waiting) and own + cost > self._bounds.waiting_max - waiting

    async def _refusal(self, account_id: str, client: Client) -> Problem:
        """The problem of a call that is shed, at once or in its turn."""
        self._count(account_id)
        if not client.shed():
            # The rest of its body would have to be kept for as long as it waits.
            return _last_of_connection()
        now_s = self._clock_s()
        is_late = self._shedding.wait_s(now_s) >= _SHED_LATE_S_MAX
        await asyncio.sleep(_SHED_LATE_S_MAX if is_late else self._shedding.take_s(now_s))
        return overloaded()

    def _count(self, account_id: str) -> None:
        self.shed.add(self._classes.of(account_id).name.lower())

    def export(self) -> None:
        """Shows the counts from now on."""
        export(self.shed, Gauge("edge.calls.waiting", "Calls that wait for their turn", self._waiting))

    def _waiting(self) -> int:
        return self._calls.queue.waiting + self._questions.queue.waiting


def _last_of_connection() -> Problem:
    problem = overloaded()
    problem.headers = (*problem.headers, (b"connection", b"close"))
    return problem
