"""Turns for requests in vain."""


class Pace:
    """Gives turns in order: `at_once` of them without a wait, and then `per_second`.

    It is the generic cell rate algorithm: one time stands for all given turns.
    """

    __slots__ = ("_between_s", "_free_s", "_next_s")

    def __init__(self, per_second: float, at_once: int) -> None:
        self._between_s = 1 / per_second
        self._free_s = at_once * self._between_s
        # The time of the next turn if none were free.
        self._next_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """Seconds to the next turn; 0 while turns are free."""
        return max(0.0, self._next_s - self._free_s - now_s)

    def take_s(self, now_s: float, turns: int = 1) -> float:
        """Takes the next turns; returns the seconds to the last of them."""
        self._next_s = max(self._next_s, now_s) + turns * self._between_s
        return self.wait_s(now_s)
