"""A circuit breaker: whether a route that has failed shall be called. Pure: time is an argument, in seconds of a steady clock.

Closed, it lets every call pass. Open, it lets none pass until its period is over. Half-open, it lets one call pass, the probe. The
probe's answer closes it; a failed probe opens it again, for twice as long. A probe that takes longer than the period is joined by
the next one, and the period doubles too: a probe's prompt may be slow by itself. A call that says nothing about the route, because
its client left or made a mistake, changes nothing, and the next one is the probe.

It knows accounts, because one client can have a vendor fail or ask to wait, as often as it likes. An opening that the calls of one
account made is for that account alone, and others pass, until one of them has such trouble, too: then it is for all.
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
# A vendor's own time to wait is kept up to this, because its quota may be raised meanwhile: by the account that was told, by all.
HOLD_ACCOUNT_MAX_S: Final = 600.0
HOLD_MAX_S: Final = PERIOD_MAX_S
# Callers are told at most this time while a probe is under way: nobody knows when it ends.
PROBE_S: Final = 1.0
# Faults of at most this many accounts are told apart.
ACCOUNTS_MAX: Final = 64


class State(IntEnum):
    """The state of a breaker, as metrics show it."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2
    # Open or half-open for one account, closed for all others.
    OPEN_FOR_ONE = 3


class Breaker:
    """The health of one route. Times never go back."""

    __slots__ = (
        "_answered_s",
        "_era",
        "_era_of_all",
        "_faults",
        "_faulty",
        "_lost_by",
        "_lost_in_a_row",
        "_only",
        "_open_until_s",
        "_outcomes",
        "_period_s",
        "_probing",
        "_vouched",
        "_window_s",
        "asks_first",
        "is_closed",
        "is_costly",
    )

    def __init__(self, *, asks_first: bool = False) -> None:
        """`asks_first`: the vendor can be asked without a call, and no call is a probe before it has said yes."""
        self.asks_first = asks_first
        # Whether it has said yes since the last opening.
        self._vouched = False
        # Counts openings: a call that entered before the last of them says nothing about the route since.
        self._era = 0
        # The last opening that was for all.
        self._era_of_all = 0
        self.is_closed = True
        # The account for which alone the last opening is; None: it is for all.
        self._only: str | None = None
        self._open_until_s = 0.0
        self._probing = False
        self._period_s = PERIOD_S
        self._answered_s = float("-inf")
        self._lost_in_a_row = 0
        # The account of all of these calls; None: several have lost some.
        self._lost_by: str | None = None
        self._window_s = float("-inf")
        self._outcomes = 0
        self._faults = 0
        # By account with faults: its outcomes since the first of them, and its faults.
        self._faulty: dict[str, list[int]] = {}
        # Whether a call would cost its client time, or break the vendor's word, and not merely fail, while it is not closed.
        self.is_costly = False

    def state(self, now_s: float) -> State:
        """Its state at this time."""
        if self.is_closed:
            return State.CLOSED
        if self._only is not None:
            return State.OPEN_FOR_ONE
        return State.HALF_OPEN if self._probing or now_s >= self._open_until_s else State.OPEN

    @property
    def only(self) -> str | None:
        """The account for which alone it is not closed; None: it is closed, or open for all."""
        return None if self.is_closed else self._only

    @property
    def era(self) -> int:
        """The era of a call that enters while it is closed."""
        return self._era

    def is_open_to(self, account_id: str) -> bool:
        """Whether it lets not every call of this account pass."""
        return not self.is_closed and (self._only is None or self._only == account_id)

    def wait_s(self, account_id: str, now_s: float) -> float:
        """The time until a call of this account may enter; 0: one may enter now."""
        if not self.is_open_to(account_id):
            return 0.0
        wait_s = max(0.0, self._open_until_s - now_s)
        if self._is_unasked:
            return max(PROBE_S, wait_s)
        return min(PROBE_S, wait_s) if self._probing else wait_s

    def enter(self, account_id: str, now_s: float) -> int | None:
        """Lets a call pass, and gives its era for the outcome; None: it must not be made now.

        Where it is half-open the call is a probe, until it has an outcome or leaves.
        """
        if self.is_open_to(account_id):
            if now_s < self._open_until_s or self._is_unasked:
                return None
            if self._probing:
                self._lengthen()
            self._probing = True
            self._open_until_s = now_s + self._period_s
        return self._era

    def ask(self, now_s: float) -> int | None:
        """Begins to ask the vendor without a call, and gives the era for `asked`; None: not now."""
        if not self._is_unasked or now_s < self._open_until_s:
            return None
        self._probing = True
        self._open_until_s = now_s + self._period_s
        return self._era

    def asked(self, era: int, now_s: float, *, is_answered: bool) -> None:
        """Ends that: a vendor that has answered gets a call as the probe, one that has not is left out for twice as long."""
        if era != self._era or not self._is_unasked:
            return
        self._probing = False
        if is_answered:
            self._vouched = True
            self._open_until_s = float("-inf")
        else:
            self._lengthen()
            self._open_until_s = now_s + self._period_s

    @property
    def _is_unasked(self) -> bool:
        """Whether the vendor must be asked before a call is the probe. What one account alone brought about says nothing to it."""
        return self.asks_first and not self._vouched and not self.is_closed and self._only is None

    def answered(self, account_id: str, era: int, now_s: float) -> bool:
        """Notes an answer; whether it has closed the breaker."""
        self._answered_s = now_s
        # Nearly all answers are of a closed breaker and of its last era.
        if (era != self._era or not self.is_closed) and self._is_late(account_id, era):
            return False
        if not self.is_closed and self.is_open_to(account_id):
            # Only probes are of this era.
            self.is_closed = True
            self._probing = False
            self._period_s = PERIOD_S
            self._forget()
            return True
        self._lost_in_a_row = 0
        if now_s - self._window_s >= WINDOW_S:
            self._age(now_s)
        self._outcomes += 1
        if self._faulty and (own := self._faulty.get(account_id)) is not None:
            own[0] += 1
        return False

    def failed(self, account_id: str, era: int, began_s: float, now_s: float, *, is_lost: bool) -> bool:
        """Notes a fault of the route, of a call that began at `began_s`; whether it has opened the breaker."""
        if self._is_late(account_id, era):
            return False
        was_dead = self._was_dead(began_s, now_s)
        if self.is_open_to(account_id):
            self._lengthen()
            self._open(now_s + self._period_s, self._only, is_costly=was_dead)
            return True
        self._count(account_id, now_s)
        if is_lost:
            self._lost_by = account_id if not self._lost_in_a_row or self._lost_by == account_id else None
            self._lost_in_a_row += 1
        if is_lost and (was_dead or self._lost_in_a_row >= LOST_IN_A_ROW):
            only = self._lost_by
        elif self._outcomes >= OUTCOMES_MIN and self._faults * 100 >= self._outcomes * FAULTS_PERCENT:
            only = self._culprit()
        else:
            return False
        self._open(now_s + self._period_s, only if self.is_closed else None, is_costly=was_dead)
        return True

    def hold(self, account_id: str, now_s: float, wait_s: float) -> bool:
        """Lets no call pass for the time that the vendor has asked a call of this account for; whether that has opened it.

        At first the account alone waits, since its calls may have made the vendor say so. Once another is told the same, all wait.
        """
        if self.is_open_to(account_id):
            opens, only = False, self._only
            since_s = 0.0 if self._probing else self._open_until_s
        else:
            opens, only = True, account_id if self.is_closed else None
            since_s = 0.0
        wait_s = min(wait_s, HOLD_MAX_S if only is None else HOLD_ACCOUNT_MAX_S)
        self._open(max(since_s, now_s + wait_s), only, is_costly=True)
        return opens

    def leave(self, account_id: str, era: int) -> None:
        """Ends a call of which nothing was noted: if it was the probe, another call may be."""
        if self._probing and era == self._era and self.is_open_to(account_id):
            self._probing = False
            self._open_until_s = float("-inf")

    def _is_late(self, account_id: str, era: int) -> bool:
        """Whether a call entered before the last opening that was for its account."""
        return era < self._era_of_all or (era != self._era and account_id == self._only)

    def _was_dead(self, began_s: float, now_s: float) -> bool:
        """Whether a failed call took long, while the route answered nobody: calls of one client alone may fail slowly."""
        return now_s - began_s >= SLOW_S and self._answered_s < began_s

    def _count(self, account_id: str, now_s: float) -> None:
        """Counts a fault."""
        self._age(now_s)
        self._outcomes += 1
        self._faults += 1
        own = self._faulty.get(account_id)
        if own is None and len(self._faulty) < ACCOUNTS_MAX:
            own = self._faulty[account_id] = [0, 0]
        if own is not None:
            own[0] += 1
            own[1] += 1

    def _culprit(self) -> str | None:
        """The account that has most of the faults, if the calls of others would not open it; None: there is none."""
        account_id, (outcomes, faults) = max(self._faulty.items(), key=lambda each: each[1][1])
        others, their_faults = self._outcomes - outcomes, self._faults - faults
        if faults <= their_faults or (their_faults and their_faults * 100 >= others * FAULTS_PERCENT):
            return None
        return account_id

    def _lengthen(self) -> None:
        self._period_s = min(2 * self._period_s, PERIOD_MAX_S)

    def _open(self, until_s: float, only: str | None, *, is_costly: bool) -> None:
        self._era += 1
        self.is_closed = False
        self._vouched = False
        self._only = only
        self._open_until_s = until_s
        self._probing = False
        self.is_costly = is_costly
        if only is None:
            self._era_of_all = self._era
            self._forget()
            return
        # Others' outcomes stay, and one more call that another account loses opens it for all.
        outcomes, faults = self._faulty.pop(only, (0, 0))
        self._outcomes -= outcomes
        self._faults -= faults
        self._lost_in_a_row = min(self._lost_in_a_row, LOST_IN_A_ROW - 1)

    def _forget(self) -> None:
        self._lost_in_a_row = self._outcomes = self._faults = 0
        self._faulty.clear()

    def _age(self, now_s: float) -> None:
        """Halves what was counted, once for each window that has passed."""
        passed = now_s - self._window_s
        if passed >= WINDOW_S:
            halvings = int(min(passed / WINDOW_S, 64))
            self._outcomes >>= halvings
            self._faults >>= halvings
            for account_id, own in list(self._faulty.items()):
                own[0] >>= halvings
                own[1] >>= halvings
                if not own[1]:
                    del self._faulty[account_id]
            self._window_s = now_s
