"""A circuit breaker: whether a route that has failed shall be called. Pure: time is an argument, in seconds of a steady clock.

Closed, it lets every call pass. Open, it lets none pass until its period is over. Half-open, it lets one call pass, the probe. The
probe's answer closes it; a failed probe opens it again, for twice as long. A probe that takes longer than the period is joined by
the next one, and the period doubles too: a probe's prompt may be slow by itself. A call that says nothing about the route, because
its client left or made a mistake, changes nothing, and the next one is the probe.
"""

from enum import IntEnum
from typing import Final

# Calls in a row that were lost (unreachable, out of time, broken off), with no answer between, open it.
LOST_IN_A_ROW: Final = 3
# A single call that took this long opens it, if the route has answered nobody meanwhile: it has cost a client that time.
SLOW_S: Final = 1.0
# At least this share of at least this many outcomes opens it; older outcomes weigh half for each window since.
FAULTS_PERCENT: Final = 50
OUTCOMES_MIN: Final = 20
WINDOW_S: Final = 10.0
# It stays open for this long, twice as long after each probe that failed, and at most for the longest period.
PERIOD_S: Final = 5.0
PERIOD_MAX_S: Final = 60.0
# A vendor's own time to wait is kept up to this, because its quota may be raised meanwhile.
HOLD_MAX_S: Final = 600.0
# Callers are told at most this time while a probe is under way: nobody knows when it ends.
PROBE_S: Final = 1.0


class State(IntEnum):
    """The state of a breaker, as metrics show it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The health of one route. Times never go back."""

    __slots__ = (
        "_answered_s",
        "_era",
        "_faults",
        "_lost_in_a_row",
        "_open_until_s",
        "_outcomes",
        "_period_s",
        "_probing",
        "_window_s",
        "is_closed",
        "is_costly",
    )

    def __init__(self) -> None:
        # Counts openings: a call that entered before the last of them says nothing about the route since.
        self._era = 0
        self.is_closed = True
        self._open_until_s = 0.0
        self._probing = False
        self._period_s = PERIOD_S
        self._answered_s = float("-inf")
        self._lost_in_a_row = 0
        self._window_s = float("-inf")
        self._outcomes = 0
        self._faults = 0
        # Whether a call would cost its client time, or break the vendor's word, and not merely fail, while it is not closed.
        self.is_costly = False

    def state(self, now_s: float) -> State:
        """Its state at this time."""
        if self.is_closed:
            return State.CLOSED
        return State.HALF_OPEN if self._probing or now_s >= self._open_until_s else State.OPEN

    def wait_s(self, now_s: float) -> float:
        """The time until a call may enter; 0: one may enter now."""
        if self.is_closed:
            return 0.0
        wait_s = max(0.0, self._open_until_s - now_s)
        return min(PROBE_S, wait_s) if self._probing else wait_s

    def enter(self, now_s: float) -> int | None:
        """Lets a call pass, and gives its era for the outcome; None: it must not be made now.

        Where it is half-open the call is a probe, until it has an outcome or leaves.
        """
        if not self.is_closed:
            if now_s < self._open_until_s:
                return None
            if self._probing:
                self._lengthen()
            self._probing = True
            self._open_until_s = now_s + self._period_s
        return self._era

    def answered(self, era: int, now_s: float) -> bool:
        """Notes an answer; whether it has closed the breaker."""
        if era != self._era:
            self._answered_s = now_s
            return False
        if not self.is_closed:
            # Only probes are of this era.
            self.is_closed = True
            self._probing = False
            self._period_s = PERIOD_S
            self._forget()
            self._answered_s = now_s
            return True
        self._answered_s = now_s
        self._lost_in_a_row = 0
        self._age(now_s)
        self._outcomes += 1
        return False

    def failed(self, era: int, began_s: float, now_s: float, *, is_lost: bool) -> bool:
        """Notes a fault of the route, of a call that began at `began_s`; whether it has opened the breaker."""
        if era != self._era:
            return False
        if not self.is_closed:
            self._lengthen()
            self._open(now_s + self._period_s, is_costly=self._was_dead(began_s, now_s))
            return True
        self._age(now_s)
        self._outcomes += 1
        self._faults += 1
        was_dead = self._was_dead(began_s, now_s)
        opens = self._outcomes >= OUTCOMES_MIN and self._faults * 100 >= self._outcomes * FAULTS_PERCENT
        if is_lost:
            self._lost_in_a_row += 1
            opens = opens or self._lost_in_a_row >= LOST_IN_A_ROW or was_dead
        if opens:
            self._open(now_s + self._period_s, is_costly=was_dead)
        return opens

    def hold(self, now_s: float, wait_s: float) -> bool:
        """Lets no call pass for the time that the vendor has asked for; whether that has opened the breaker."""
        was_closed = self.is_closed
        self._open(max(0.0 if was_closed or self._probing else self._open_until_s, now_s + min(wait_s, HOLD_MAX_S)), is_costly=True)
        return was_closed

    def leave(self, era: int) -> None:
        """Ends a call of which nothing was noted: if it was the probe, another call may be."""
        if era == self._era and self._probing:
            self._probing = False
            self._open_until_s = float("-inf")

    def _was_dead(self, began_s: float, now_s: float) -> bool:
        """Whether a failed call took long, while the route answered nobody: calls of one client alone may fail slowly."""
        return now_s - began_s >= SLOW_S and self._answered_s < began_s

    def _lengthen(self) -> None:
        self._period_s = min(2 * self._period_s, PERIOD_MAX_S)

    def _open(self, until_s: float, *, is_costly: bool) -> None:
        self._era += 1
        self.is_closed = False
        self._open_until_s = until_s
        self._probing = False
        self.is_costly = is_costly
        self._forget()

    def _forget(self) -> None:
        self._lost_in_a_row = self._outcomes = self._faults = 0

    def _age(self, now_s: float) -> None:
        """Halves what was counted, once for each window that has passed."""
        passed = now_s - self._window_s
        if passed >= WINDOW_S:
            halvings = int(min(passed / WINDOW_S, 64))
            self._outcomes >>= halvings
            self._faults >>= halvings
            self._window_s = now_s
