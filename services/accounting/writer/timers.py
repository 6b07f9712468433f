"""Timers of accounts in memory."""

import heapq
from typing import Final

from services.accounting.core.account.state import Account

_STALE_MAX: Final = 1_000


class Timers:
    """The earliest time of each account, because an account in use would leave more of them every minute."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._kept: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, account: Account) -> None:
        """Sets the account's timer to the next time at which something is due on it."""
        due_us = account.next_due_us
        if due_us is None:
            return
        kept_us = self._kept.get(account.account_id)
        if kept_us is None or due_us < kept_us:
            self._kept[account.account_id] = due_us
            heapq.heappush(self._heap, (due_us, account.account_id))

    def drop(self, account_id: str) -> None:
        """Drops the timer of an account that has left memory."""
        if self._kept.pop(account_id, None) is not None and len(self._heap) > 2 * len(self._kept) + _STALE_MAX:
            self._heap = [(due_us, account_id) for account_id, due_us in self._kept.items()]
            heapq.heapify(self._heap)

    def pop(self, now_us: int) -> str | None:
        """An account to look at by `now_us`; None when there is no more."""
        while self._heap and self._heap[0][0] <= now_us:
            due_us, account_id = heapq.heappop(self._heap)
            if self._kept.get(account_id) == due_us:
                del self._kept[account_id]
                return account_id
        return None
