"""Time as a dependency, so that tests and the simulator can own it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC."""
        return time.time_ns() // 1_000
