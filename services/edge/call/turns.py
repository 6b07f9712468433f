"""Overload of an edge: a bounded number of calls, begun in turn where an account uses more than its share.

Most calls begin at once. An account that uses more than others do takes turns, whose pace falls as soon as the event loop or
accounting do not keep up. So there is always room for the others. A call that would have to wait for long is shed: its client gets
503 with Retry-After at once. Only where very many are shed each second, the next of them wait, because refusals cost time too.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from services.edge.call.priority import PriorityClasses
from services.edge.call.shares import FairQueue, Places, Shares, TurnPace
from services.edge.catalog import PriorityClass
from services.edge.http.connection import Client
from services.edge.http.problems import Problem, overloaded
from services.runtime.http.pace import Pace

# Calls whose turn would come later than this are shed at once. Turns may become rare while calls wait: that has an end too.
_WAIT_S: Final = 0.5
_WAIT_S_MAX: Final = 2.0
# Refusals a second, each of which costs some 0.3 ms. The others wait for this long at most.
_SHED_PER_SECOND: Final = 200.0
_SHED_AT_ONCE: Final = 50
_SHED_LATE_S_MAX: Final = 30.0


class Turn:
    """A call's place among those that this edge has in hand. Leave it in any case."""

    __slots__ = ("_account_id", "_cost", "_turns")

    def __init__(self, turns: "Turns", account_id: str, cost: float) -> None:
        self._turns = turns
        self._account_id = account_id
        self._cost = cost

    def leave(self) -> None:
        """Ends the turn, once its call is no longer under way."""
        self._turns.end(self._account_id, self._cost)


class Turns:
    """Turns of model calls."""

    def __init__(
        self,
        places: int,
        classes: PriorityClasses,
        is_behind: Callable[[], bool],
        clock_s: Callable[[], float] = time.monotonic,
        ran_s: Callable[[], float] = time.process_time,
    ) -> None:
        """`places`: the calls in hand at once, those that wait or are shed among them. `is_behind`: accounting does not keep up.

        `ran_s`: for how long a processor has worked for this process.
        """
        self._places = Places(places)
        self._classes = classes
        self._is_behind = is_behind
        self._clock_s = clock_s
        self._ran_s = ran_s
        self._shares = Shares()
        self._pace = TurnPace()
        self._queue: FairQueue[asyncio.Future[None]] = FairQueue()
        self._giving: asyncio.Task[None] | None = None
        self._shedding = Pace(_SHED_PER_SECOND, _SHED_AT_ONCE)
        self._shed: dict[str, int] = {}

    async def take(self, account_id: str, client: Client) -> Turn:
        """A turn for a call of the account, which may have to wait.

        Errors: `Problem` 503 where it would wait too long; `ClientGoneError`, `RevokedError`.
        """
        priority_class = self._classes.of(account_id)
        cost = priority_class.cost
        if not self._places.take(account_id, cost):
            self._count(priority_class)
            client.shed()
            raise _last_of_connection()
        try:
            if self._must_wait(account_id):
                with client.interruptible():
                    if not await self._wait(account_id, cost):
                        self._count(priority_class)
                        raise await self._refusal(client)
        except BaseException:
            self._places.give_back(account_id, cost)
            raise
        self._shares.begin(account_id, cost)
        return Turn(self, account_id, cost)

    def end(self, account_id: str, cost: float) -> None:
        """See `Turn.leave`."""
        self._shares.end(account_id, cost, self._clock_s())
        self._places.give_back(account_id, cost)

    def _must_wait(self, account_id: str) -> bool:
        if self._queue.cost_of(account_id):
            return True
        now_s = self._clock_s()
        return self._shares.is_beyond(account_id, now_s) and (bool(self._queue.cost) or not self._pace.takes(now_s))

    async def _wait(self, account_id: str, cost: float) -> bool:
        """Waits for a turn; whether there was one in time."""
        queue = self._queue
        is_too_much = queue.cost and queue.cost_of(account_id) + cost > self._pace.per_second * _WAIT_S - queue.cost
        if is_too_much and self._shares.are_several(self._clock_s()):
            return False
        given = asyncio.get_running_loop().create_future()
        queue.add(account_id, cost, given)
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give(), name="turns")
        try:
            async with asyncio.timeout(_WAIT_S_MAX):
                await given
        except TimeoutError:
            return False
        finally:
            queue.left(account_id, cost)
        return True

    async def _give(self) -> None:
        """Gives turns at their pace as long as calls wait; without a pause once they are of an account alone."""
        at_s = self._clock_s()
        while self._queue.cost:
            at_s = await self._next_turn(at_s) if self._shares.are_several(self._clock_s()) else self._clock_s()
            given = self._queue.next()
            if given is not None:
                given.set_result(None)
                # Its call leaves the queue before the next turn.
                await asyncio.sleep(0)

    async def _next_turn(self, last_s: float) -> float:
        """Waits for the turn that is due after `last_s`, and learns from how late it is; returns when it was.

        The loop has made it late only for as long as it ran. For the rest other programs had the processor, and the turns of that
        time follow at once.
        """
        due_s = max(self._pace.next_s, last_s)
        began_s, ran_s = self._clock_s(), self._ran_s()
        await asyncio.sleep(max(due_s - began_s, 0.0))
        now_s = self._clock_s()
        ran = min((self._ran_s() - ran_s) / (now_s - began_s), 1.0) if now_s > began_s else 1.0
        late_s = (now_s - max(due_s, began_s)) * ran
        self._pace.took(due_s + late_s, late_s, is_behind=self._is_behind())
        return due_s + late_s

    async def _refusal(self, client: Client) -> Problem:
        """The problem of a call that is shed, at once or in its turn."""
        if not client.shed():
            # The rest of its body would have to be kept for as long as it waits.
            return _last_of_connection()
        now_s = self._clock_s()
        is_late = self._shedding.wait_s(now_s) >= _SHED_LATE_S_MAX
        await asyncio.sleep(_SHED_LATE_S_MAX if is_late else self._shedding.take_s(now_s))
        return overloaded()

    def _count(self, priority_class: PriorityClass) -> None:
        name = priority_class.name.lower()
        self._shed[name] = self._shed.get(name, 0) + 1

    def export(self) -> None:
        """Shows the counts to OpenTelemetry from now on."""
        meter = metrics.get_meter("tokenline.edge")
        meter.create_observable_counter(
            "edge.calls.shed", callbacks=[self.shed], description="Calls refused for overload, by priority class"
        )

    def shed(self, options: CallbackOptions) -> Iterable[Observation]:
        """Counts by priority class."""
        return [Observation(count, {"priority_class": name}) for name, count in list(self._shed.items())]


def _last_of_connection() -> Problem:
    problem = overloaded()
    problem.headers = (*problem.headers, (b"connection", b"close"))
    return problem
