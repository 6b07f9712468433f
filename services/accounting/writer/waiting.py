"""Creates that wait a moment, because only others' holds keep them from being granted."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from services.accounting.core.commands import Answer, Command, Refused
from services.accounting.writer.asking import Pending


class _Waiter(NamedTuple):
    pending: Pending
    timer: asyncio.TimerHandle


class Waiting:
    """Waiting Creates of one partition, by account, in order of arrival."""

    def __init__(self, wait_s: float, decide: Callable[[Command], Answer], answer: Callable[[Pending, Answer], None]) -> None:
        self.queues: dict[str, deque[_Waiter]] = {}
        self._wait_s = wait_s
        self._decide = decide
        self._answer = answer

    def add(self, pending: Pending) -> None:
        """Lets a Create wait; when its time is up, it is answered by the state of that time."""
        account_id = pending.command.account_id
        timer = asyncio.get_running_loop().call_later(self._wait_s, self._stop, account_id, pending)
        self.queues.setdefault(account_id, deque()).append(_Waiter(pending, timer))

    def retry(self, account_id: str) -> None:
        """Decides waiting Creates in order of arrival, until one still has to wait."""
        queue = self.queues.get(account_id)
        while queue:
            answer = self._decide(queue[0].pending.command)
            if isinstance(answer, Refused) and answer.held:
                return
            waiter = queue.popleft()
            waiter.timer.cancel()
            self._answer(waiter.pending, answer)
        self.queues.pop(account_id, None)

    def _stop(self, account_id: str, pending: Pending) -> None:
        """Answers a waiting Create by the present state, because its time is up."""
        queue = self.queues[account_id]
        queue.remove(next(waiter for waiter in queue if waiter.pending is pending))
        if not queue:
            del self.queues[account_id]
        self._answer(pending, self._decide(pending.command))
        # The others may have waited for this one alone.
        self.retry(account_id)

    def give_up(self) -> None:
        """Answers all by the present state."""
        for account_id in list(self.queues):
            for waiter in self.queues.pop(account_id, ()):
                waiter.timer.cancel()
                self._answer(waiter.pending, self._decide(waiter.pending.command))

    def clear(self) -> list[Pending]:
        """Forgets all; returns the commands that waited."""
        waiters = [waiter for queue in self.queues.values() for waiter in queue]
        for waiter in waiters:
            waiter.timer.cancel()
        self.queues.clear()
        return [waiter.pending for waiter in waiters]
