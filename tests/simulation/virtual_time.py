"""An event loop whose time is virtual: it jumps to the next timer instead of waiting. Nothing real is ever awaited on it."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any

START_US = 1_700_000_000_000_000


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting for `timeout` seconds it lets them have passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("the simulation is stuck: nothing is ready and no timer is set")
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, selector: JumpingSelector | None = None) -> None:
        self._jumping = selector or JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now_s


class LoopClock:
    """A wall clock that follows the virtual time, plus what is added to it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self.offset_us = 0

    def now_us(self) -> int:
        return START_US + round(self._loop.time() * 1_000_000) + self.offset_us


def run_virtually(main: Coroutine[Any, Any, Any], loop: VirtualLoop) -> Any:
    """Runs `main` to its end on `loop` and closes it."""
    try:
        return loop.run_until_complete(main)
    finally:
        pending = asyncio.all_tasks(loop)
        for task in pending:
            task.cancel()
        if pending:
            loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
        loop.close()
