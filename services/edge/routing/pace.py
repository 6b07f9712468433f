"""Calls and tokens that a vendor's contract allows in any minute, kept by one edge. Pure: time is an argument, in seconds.

They are counted in half seconds, and a minute is every half second that it touches. So no 60 seconds, whenever they begin, have
more than the contract allows, and all of it may come at once.
"""

from typing import Final, NamedTuple

SLOT_S: Final = 0.5
# A minute touches at most this many half seconds.
SLOTS: Final = 121
MINUTE_S: Final = 60.0


class Booked(NamedTuple):
    """A call that was counted."""

    slot: int
    tokens: int
    # It must not be made before this time has passed.
    wait_s: float


class Pace:
    """The pace of one vendor's model. Times never go back."""

    __slots__ = ("_calls", "_calls_in_all", "_slot", "_tokens", "_tokens_in_all", "calls_max", "is_bounded", "tokens_max")

    def __init__(self) -> None:
        # Allowed in any minute; None: any number.
        self.calls_max: int | None = None
        self.tokens_max: int | None = None
        # Whether anything is.
        self.is_bounded = False
        # By slot, since the first that a minute touches now; the sums of all.
        self._calls: dict[int, int] = {}
        self._tokens: dict[int, int] = {}
        self._calls_in_all = 0
        self._tokens_in_all = 0
        self._slot = 0

    def unbind(self) -> None:
        """Forgets what it is bounded by; what was booked stays."""
        self.calls_max = self.tokens_max = None
        self.is_bounded = False

    def bound(self, calls: int | None, tokens: int | None) -> None:
        """Bounds it by what one more route says, too: the least counts. None: it says nothing."""
        self.calls_max = min((each for each in (self.calls_max, calls) if each is not None), default=None)
        self.tokens_max = min((each for each in (self.tokens_max, tokens) if each is not None), default=None)
        self.is_bounded = self.calls_max is not None or self.tokens_max is not None

    def book(self, now_s: float, tokens: int, wait_max_s: float) -> Booked | None:
        """Counts a call, now or a little later; None where none may be made so soon.

        A call of more tokens than a minute has counts as a whole minute's.
        """
        tokens = self._bounded(tokens)
        wait_s = self.wait_s(now_s, tokens)
        if wait_s > wait_max_s:
            return None
        slot = int((now_s + wait_s) // SLOT_S)
        self._calls[slot] = self._calls.get(slot, 0) + 1
        self._tokens[slot] = self._tokens.get(slot, 0) + tokens
        self._calls_in_all += 1
        self._tokens_in_all += tokens
        return Booked(slot, tokens, wait_s)

    def wait_s(self, now_s: float, tokens: int) -> float:
        """The time until such a call may be made; 0: now. At least a minute where the contract allows none at all."""
        self._forget(int(now_s // SLOT_S))
        tokens = self._bounded(tokens)
        calls, spent, first = self._calls_in_all, self._tokens_in_all, self._slot
        for ahead in range(SLOTS + 2):
            # The half seconds after this one touch the earliest ones no more.
            if ahead:
                left = first + ahead - SLOTS
                calls -= self._calls.get(left, 0)
                spent -= self._tokens.get(left, 0)
            if self._fits(calls + 1, spent + tokens):
                return max(0.0, (first + ahead) * SLOT_S - now_s) if ahead else 0.0
        return MINUTE_S

    def unbook(self, booked: Booked) -> None:
        """Forgets a call that was not made."""
        if self._calls.get(booked.slot):
            self._calls[booked.slot] -= 1
            self._calls_in_all -= 1
        self.correct(booked, 0)

    def correct(self, booked: Booked, tokens: int) -> None:
        """Counts the tokens that a call has used instead of those that were booked for it."""
        if booked.slot in self._tokens:
            self._tokens[booked.slot] += tokens - booked.tokens
            self._tokens_in_all += tokens - booked.tokens

    def _bounded(self, tokens: int) -> int:
        return tokens if self.tokens_max is None else min(tokens, self.tokens_max)

    def _fits(self, calls: int, tokens: int) -> bool:
        return (self.calls_max is None or calls <= self.calls_max) and (self.tokens_max is None or 0 < self.tokens_max >= tokens)

    def _forget(self, slot: int) -> None:
        """Forgets half seconds that a minute which ends in this one does not touch."""
        if slot == self._slot:
            return
        self._slot = slot
        for kept in [each for each in self._calls if each <= slot - SLOTS]:
            self._calls_in_all -= self._calls.pop(kept)
            self._tokens_in_all -= self._tokens.pop(kept)
