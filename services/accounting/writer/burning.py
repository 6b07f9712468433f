"""Accounts that burn most: charges of the last quarter of an hour, by unit and account, in bounded memory.

Time is cut into slots. In a slot the smaller accounts are dropped once there are too many, as Misra and Gries do it (1982): the
smallest amount that is kept is taken off all. So an account may show less than it was charged, at most by what was taken off, and
one that burns much is always there. Pure: time is an argument.
"""

from collections import OrderedDict
from typing import Final, NamedTuple

# In microseconds and slots.
SLOT_US: Final = 10_000_000
_SLOTS_KEPT: Final = 90
# At least this many accounts of a slot and unit are kept, and at most twice as many.
ACCOUNTS_KEPT: Final = 256


class Burnt(NamedTuple):
    """Charges of one unit in a window."""

    # The sum of all accounts in micro-units, and the number of records that it was in.
    charged: int
    records: int
    # By account, and what each of these amounts may lack at most.
    accounts: dict[str, int]
    error: int

    def added(self, other: "Burnt") -> "Burnt":
        """Both together."""
        accounts = self.accounts.copy()
        for account_id, charged in other.accounts.items():
            accounts[account_id] = accounts.get(account_id, 0) + charged
        return Burnt(self.charged + other.charged, self.records + other.records, accounts, self.error + other.error)

    def largest(self, limit: int) -> list[tuple[str, int]]:
        """At most `limit` accounts with their amounts, the largest first."""
        return sorted(self.accounts.items(), key=lambda each: (-each[1], each[0]))[:limit]


class _Slot:
    """Charges of one unit in one slot."""

    def __init__(self) -> None:
        self.charged = 0
        self.records = 0
        self.accounts: dict[str, int] = {}
        self.error = 0

    def add(self, account_id: str, charged: int) -> None:
        self.charged += charged
        self.records += 1
        self.accounts[account_id] = self.accounts.get(account_id, 0) + charged
        if len(self.accounts) > 2 * ACCOUNTS_KEPT:
            self._drop_small()

    def _drop_small(self) -> None:
        taken = sorted(self.accounts.values(), reverse=True)[ACCOUNTS_KEPT]
        self.accounts = {account_id: charged - taken for account_id, charged in self.accounts.items() if charged > taken}
        self.error += taken

    def burnt(self) -> Burnt:
        return Burnt(self.charged, self.records, self.accounts, self.error)


class Burning:
    """The charges of an owner's accounts."""

    def __init__(self) -> None:
        # By number, the oldest first, then by unit.
        self._slots: OrderedDict[int, dict[str, _Slot]] = OrderedDict()

    def add(self, account_id: str, unit: str, charged: int, time_us: int) -> None:
        """Counts a record."""
        number = time_us // SLOT_US
        slots = self._slots.get(number)
        if slots is None:
            slots = self._slots[number] = {}
            while len(self._slots) > _SLOTS_KEPT:
                self._slots.popitem(last=False)
        slot = slots.get(unit)
        if slot is None:
            slot = slots[unit] = _Slot()
        slot.add(account_id, charged)

    def within(self, window_us: int, now_us: int) -> dict[str, Burnt]:
        """By unit, the charges of the slots that a window before now touches."""
        since = (now_us - window_us) // SLOT_US
        found: dict[str, Burnt] = {}
        for number, slots in self._slots.items():
            if number > since:
                for unit, slot in slots.items():
                    found[unit] = found[unit].added(slot.burnt()) if unit in found else slot.burnt()
        return found
