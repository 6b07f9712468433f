"""Weights of accounts: what each holds, owes and has used on credit; and their sums, for one partition."""

from collections.abc import Iterable, Mapping
from typing import Final

from services.accounting.core.account.state import Account

# Kinds of amounts at risk, by unit in micro-units; and of counts, which have no unit.
HELD: Final = "held"
DEBT: Final = "debt"
CREDIT: Final = "credit"
SESSIONS: Final = "sessions"
DEBTORS: Final = "debtors"

# By kind and unit; nothing is 0.
Weight = Mapping[tuple[str, str], int]


def weight_of(account: Account) -> Weight:
    """The weight of an account as it is."""
    weight: dict[tuple[str, str], int] = {}
    for bucket in account.buckets.values():
        if bucket.reserved:
            weight[HELD, bucket.unit] = weight.get((HELD, bucket.unit), 0) + bucket.reserved
        # It is on the bill that comes, and paid by nobody yet.
        if bucket.postpaid and bucket.consumed and not bucket.ended:
            weight[CREDIT, bucket.unit] = weight.get((CREDIT, bucket.unit), 0) + bucket.consumed
    for unit, debt in account.debts.items():
        if debt.outstanding:
            weight[DEBT, unit] = debt.outstanding
            weight[DEBTORS, ""] = 1
    if account.sessions:
        weight[SESSIONS, ""] = len(account.sessions)
    return weight


class Exposure:
    """The weights of a partition's accounts, and their sums."""

    def __init__(self) -> None:
        # Accounts in memory that changed, or came, since they were weighed.
        self.touched: set[str] = set()
        self.sums: dict[tuple[str, str], int] = {}
        self._weights: dict[str, Weight] = {}
        # Accounts weighed in memory, while those on disk are not: their checkpoints may be older. None: those are in the sums.
        self._seen: set[str] | None = set()

    @property
    def complete(self) -> bool:
        """Whether accounts that are only on disk are in the sums."""
        return self._seen is None

    def take(self, account: Account) -> None:
        """Weighs an account in memory."""
        self._put(account.account_id, weight_of(account))
        if self._seen is not None:
            self._seen.add(account.account_id)

    def take_stored(self, weights: Mapping[str, Weight]) -> None:
        """Takes the weights of accounts on disk, except those that were in memory since."""
        seen, self._seen = self._seen or set(), None
        for account_id, weight in weights.items():
            if account_id not in seen and account_id not in self.touched:
                self._put(account_id, weight)

    def _put(self, account_id: str, weight: Weight) -> None:
        before = self._weights.pop(account_id, None)
        if before is not None:
            self._add(before, -1)
        if weight:
            self._weights[account_id] = weight
            self._add(weight, 1)

    def _add(self, weight: Weight, sign: int) -> None:
        for key, amount in weight.items():
            self.sums[key] = self.sums.get(key, 0) + sign * amount


def sums_of(exposures: Iterable[Exposure]) -> dict[tuple[str, str], int]:
    """The sums of all, by kind and unit; may be asked in any thread."""
    sums: dict[tuple[str, str], int] = {}
    for exposure in exposures:
        for key, amount in exposure.sums.copy().items():
            sums[key] = sums.get(key, 0) + amount
    return sums
