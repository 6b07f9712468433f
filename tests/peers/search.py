"""The highest rate at which a system holds a bound of p99, by bisection over paced loads."""

from collections.abc import Callable
from typing import Final

# A rate is told to within this factor.
_WITHIN: Final = 1.2
# Slower than this share of the first rate nothing is tried.
_SLOWEST: Final = 1 / 64


class RateSearch:
    """Rates that were tried serve every bound; a system that holds one at some rate is taken to hold it at all that are slower."""

    def __init__(self, p99_ms_at: Callable[[float], float], highest_rate: float) -> None:
        """`p99_ms_at`: runs a load at a rate, in calls/s; infinite where a call fails. Above `highest_rate` none is tried."""
        self._p99_ms_at = p99_ms_at
        self._highest_rate = highest_rate
        # p99 in ms by rate.
        self.tried: dict[float, float] = {}

    def rate(self, p99_ms_max: float) -> float:
        """The highest rate that was seen to hold the bound, below all that were seen not to, in calls/s; 0 when none did."""
        while True:
            too_fast = min((rate for rate, p99_ms in self.tried.items() if p99_ms > p99_ms_max), default=0.0)
            held = max(
                (rate for rate, p99_ms in self.tried.items() if p99_ms <= p99_ms_max and not 0 < too_fast <= rate), default=0.0
            )
            if not too_fast:
                following = self._highest_rate
            elif held:
                following = (held * too_fast) ** 0.5 if too_fast > held * _WITHIN else 0.0
            else:
                following = too_fast / 2
            if following < self._highest_rate * _SLOWEST or following in self.tried:
                return held
            self.tried[following] = self._p99_ms_at(following)
