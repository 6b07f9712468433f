"""The machine's clock, for whoever looks whether it is right: its time among the metrics, and a line in the log when it jumps."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from services.runtime.clock import Clock, SystemClock
from services.runtime.instruments import Gauge, export

logger = logging.getLogger(__name__)

_CLOCK: Final = SystemClock()
_LOOK_S: Final = 1.0
# Smaller steps are told once they are this large together: reading two clocks takes a moment, too.
_JUMP_US: Final = 2_000_000


def show_clock(clock: Clock = _CLOCK) -> None:
    """Shows the clock's time from now on, so that Prometheus can compare it with its own."""
    export(Gauge("clock.time_seconds", "The clock of this machine, in seconds since 1970", lambda: clock.now_us() / 1_000_000))


class ClockWatch:
    """Compares the clock with one that nobody sets."""

    def __init__(self, clock: Clock = _CLOCK, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._monotonic_s = monotonic_s
        self._ahead_us = self._look()

    def _look(self) -> int:
        return self._clock.now_us() - round(self._monotonic_s() * 1_000_000)

    def look(self) -> None:
        """Logs by how much the clock has jumped since it was last told."""
        ahead_us = self._look()
        jumped_us = ahead_us - self._ahead_us
        if abs(jumped_us) >= _JUMP_US:
            self._ahead_us = ahead_us
            logger.error(
                "the clock of this machine jumped %d s %s: let it follow a time server, because grants, limits and cycles go by it",
                round(abs(jumped_us) / 1_000_000),
                "ahead" if jumped_us > 0 else "back",
            )

    async def run(self) -> None:
        """Looks until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.look()
