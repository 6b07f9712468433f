"""Calls under way at a vendor's model, and calls that wait for a place among them."""

import asyncio
from collections import deque
from typing import Final

from services.edge.routing.pace import Pace

# A call waits this long for a place.
PLACE_S: Final = 0.5


class Places:
    """The places of one vendor's model, and its pace. A bound comes with each call, because a new catalog may have another one."""

    __slots__ = ("_waiting", "pace", "under_way")

    def __init__(self) -> None:
        self.under_way = 0
        self.pace = Pace()
        # Calls that wait, in their order, each with its bound.
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def is_full(self, bound: int) -> bool:
        """Whether all of this many places are taken; 0: there is no bound."""
        return 0 < bound <= self.under_way

    def is_crowded(self, bound: int) -> bool:
        """Whether all of this many places are taken, and as many calls wait for one."""
        return self.is_full(bound) and len(self._waiting) >= bound

    async def take(self, bound: int) -> None:
        """Takes one of this many places. Errors: `TimeoutError` where none became free in time."""
        if not self.is_full(bound):
            self.under_way += 1
            return
        given = asyncio.get_running_loop().create_future()
        self._waiting.append((given, bound))
        try:
            async with asyncio.timeout(PLACE_S):
                await given
        except BaseException:
            if given.cancelled():
                # It may have been passed over just now.
                if (given, bound) in self._waiting:
                    self._waiting.remove((given, bound))
            else:
                # It was given the place in the same moment.
                self.give_back()
            raise

    def give_back(self) -> None:
        """Gives a place back, and places that are free to the calls that have waited longest."""
        self.under_way -= 1
        while self._waiting:
            given, bound = self._waiting[0]
            if not given.done():
                if self.under_way >= bound:
                    return
                self.under_way += 1
                given.set_result(None)
            self._waiting.popleft()
