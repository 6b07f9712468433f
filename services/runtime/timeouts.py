"""Time-outs by the thousand, nearly all called off: those of one length share one timer of the event loop."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


class Timeouts(Generic[Item]):
    """Deadlines of items. All wait equally long, so the order of adding is the order of the deadlines."""

    def __init__(self, delay_s: float, expired: Callable[[Item], None]) -> None:
        """Calls `expired` with each item that was added `delay_s` ago and not removed since."""
        self._delay_s = delay_s
        self._expired = expired
        self._deadlines_s: OrderedDict[Item, float] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: Item) -> None:
        """Waits for an item, which must not be waited for already."""
        loop = asyncio.get_running_loop()
        self._deadlines_s[item] = loop.time() + self._delay_s
        if self._timer is None:
            self._timer = loop.call_later(self._delay_s, self._look)

    def remove(self, item: Item) -> None:
        """Waits no longer for an item; does nothing where it was not waited for."""
        self._deadlines_s.pop(item, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._deadlines_s:
            item, deadline_s = next(iter(self._deadlines_s.items()))
            if deadline_s > loop.time():
                if self._timer is None:
                    self._timer = loop.call_at(deadline_s, self._look)
                return
            del self._deadlines_s[item]
            self._expired(item)
