"""Shares of accounts in an edge: its places, who uses more than its share, in which order calls that wait have their turns. Pure.

A call has a cost: 1 over the weight of its account's priority class. So the same number of calls is a larger part of an account's
share in a lower class.
"""

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from math import exp
from typing import Final, Generic, Protocol, TypeVar

# A call that has ended fades from its account's use within this time, to 1/e, and an account is forgotten after several of it.
_FADES_S: Final = 1.0
_FORGOTTEN_S: Final = 5.0
# Use up to this is never too much: the first calls of the standard class at once, or within a second, need no turns.
_FREE_USE: Final = 32.0
# Accounts that use as much as one another differ by less than this from moment to moment.
_FAR_MORE: Final = 1.5


class Places:
    """Places for calls, as many in all as there are. Of them an account has at most as much as is free.

    That is the rule of dynamic thresholds (Choudhury and Hahne, 1998): one account alone gets half, two get a third each, and the
    next one always finds a place.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._costs: dict[str, float] = {}

    def take(self, account_id: str, cost: float) -> bool:
        """Takes a place, if the account may have one more."""
        costs = self._costs.get(account_id, 0.0) + cost
        if not self._free or costs > self._free:
            return False
        self._free -= 1
        self._costs[account_id] = costs
        return True

    def give_back(self, account_id: str, cost: float) -> None:
        """Gives back a place that was taken at this cost."""
        self._free += 1
        self._costs[account_id] -= cost
        if not self._costs[account_id]:
            del self._costs[account_id]


@dataclass(slots=True)
class _Use:
    """Calls under way, and those that have ended, as much as they counted at a time."""

    under_way: float = 0.0
    ended: float = 0.0
    at_s: float = 0.0

    def at(self, now_s: float) -> float:
        """The use now."""
        return self.under_way + self.ended * exp((self.at_s - now_s) / _FADES_S)


class Shares:
    """The use of an edge by accounts: calls under way, and those that ended within the last seconds, which fade."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}
        # Accounts without a call under way, by the time when their last one ended, in its order.
        self._idle: dict[str, float] = {}
        self._all = _Use()

    def begin(self, account_id: str, cost: float) -> None:
        """Counts a call that begins."""
        self._idle.pop(account_id, None)
        self._uses.setdefault(account_id, _Use()).under_way += cost
        self._all.under_way += cost

    def end(self, account_id: str, cost: float, now_s: float) -> None:
        """Counts a call that ends."""
        use = self._uses[account_id]
        for each in (use, self._all):
            each.ended = each.ended * exp((each.at_s - now_s) / _FADES_S) + cost
            each.under_way -= cost
            each.at_s = now_s
        if use.under_way <= 0:
            self._idle[account_id] = now_s

    def is_beyond(self, account_id: str, now_s: float) -> bool:
        """Whether the account uses more than is free, and far more than the others do on average."""
        use = self._uses.get(account_id)
        # Most use less than that even by the sum of all that has not faded yet.
        if use is None or use.under_way + use.ended <= _FREE_USE or (used := use.at(now_s)) <= _FREE_USE:
            return False
        self._forget(now_s)
        return used * (len(self._uses) - 1) > _FAR_MORE * (self._all.at(now_s) - used)

    def _forget(self, now_s: float) -> None:
        for account_id, idle_s in list(self._idle.items()):
            if now_s - idle_s < _FORGOTTEN_S:
                return
            del self._idle[account_id], self._uses[account_id]


class Waiting(Protocol):
    """A call that waits: a future has the method."""

    def done(self) -> bool:
        """Whether it waits no longer."""
        ...


_Call = TypeVar("_Call", bound=Waiting)


class FairQueue(Generic[_Call]):
    """Calls that wait, in the order of start-time fair queueing (Goyal, Vin and Cheng, 1996): an account's next call is as far from
    its last one as that one costs.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, float, _Call]] = []
        self._numbers = count()
        # The start of the call that had the last turn.
        self._now = 0.0
        # By account with calls in the heap: the end of its last one; and the costs of those that wait.
        self._ends: dict[str, float] = {}
        self._costs: dict[str, float] = {}
        self.cost = 0.0

    def cost_of(self, account_id: str) -> float:
        """The cost of the account's calls that wait."""
        return self._costs.get(account_id, 0.0)

    def add(self, account_id: str, cost: float, call: _Call) -> None:
        """Adds a call; say `left` once it has had its turn, or waits no longer."""
        start = max(self._now, self._ends.get(account_id, 0.0))
        self._ends[account_id] = start + cost
        self._costs[account_id] = self.cost_of(account_id) + cost
        self.cost += cost
        heappush(self._heap, (start, next(self._numbers), account_id, cost, call))

    def left(self, account_id: str, cost: float) -> None:
        """Notes that one of the account's calls waits no longer."""
        self.cost -= cost
        self._costs[account_id] -= cost
        if self._costs[account_id] <= 0:
            del self._costs[account_id], self._ends[account_id]

    @property
    def waiting(self) -> int:
        """The number of calls that wait; may be asked in any thread."""
        return sum(not call.done() for _, _, _, _, call in self._heap.copy())

    def next(self) -> _Call | None:
        """Takes out the call whose turn it is; None: no call waits."""
        while self._heap:
            start, _, _, _, call = heappop(self._heap)
            if not call.done():
                self._now = start
                return call
        return None
