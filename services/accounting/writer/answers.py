"""Keeps answers until the commit that covers what they saw."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final

from services.accounting.core.commands import Answer, Command, CreateSession, Failed, Granted, Refused, UpdateSession
from services.accounting.writer.asking import Caller, Pending
from services.accounting.writer.metrics import Metrics, Refusals
from services.accounting.writer.partition import Partition

# Answers that may wait for their commit, some 0.3 s of work, before further Creates are shed; Updates are shed above twice as many.
_WAITING_MAX: Final = 8_192

# An answer that is not delivered yet: the partition that gave it, its caller, the caller's tag, and the account.
Given = tuple[Partition, Caller, int, Answer, str]


class Answers:
    """Answers that are decided, but not committed yet."""

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._metrics = metrics
        self._refusals = refusals
        self.waiting: list[Given] = []
        # The number of those that wait, and of those in the commit under way, by account.
        self._of_waiting: dict[str, int] = {}
        self._of_taken: dict[str, int] = {}
        self._taken = 0
        # Set when there is something to commit, or to look at.
        self.work = asyncio.Event()

    def add(self, partition: Partition, pending: Pending, answer: Answer) -> None:
        """Keeps an answer for the next commit."""
        self._metrics.commands += 1
        if type(answer) is Refused:
            self._metrics.refusals += 1
            self._refusals.remember(pending.command, answer, partition.last_time_us)
        elif isinstance(answer, Granted) and type(pending.command) is CreateSession:
            self._refusals.forget(pending.command.charging_id)
        account_id = pending.command.account_id
        self.waiting.append((partition, pending.caller, pending.tag, answer, account_id))
        self._of_waiting[account_id] = self._of_waiting.get(account_id, 0) + 1
        self.work.set()

    def sheds(self, command: Command) -> bool:
        """Whether there is too much to do for this command: Creates are shed first, then Updates, and what ends something never.

        An account's Creates are shed when as many of its answers wait as there is room left for: the busiest account comes first.
        """
        left = _WAITING_MAX - len(self.waiting) - self._taken
        if type(command) is CreateSession:
            account_id = command.account_id
            return self._of_waiting.get(account_id, 0) + self._of_taken.get(account_id, 0) >= left
        return type(command) is UpdateSession and left <= -_WAITING_MAX

    def take(self) -> list[Given]:
        """Takes all that wait; the caller delivers them, and says `told` then."""
        taken, self.waiting = self.waiting, []
        self._of_taken, self._of_waiting = self._of_waiting, {}
        self._taken = len(taken)
        return taken

    def told(self) -> None:
        """Notes that what was taken is delivered."""
        self._of_taken = {}
        self._taken = 0

    def withdraw(self, partitions: Collection[Partition], failed: Failed) -> None:
        """Tells callers of partitions that are gone of the failure, instead of their answers."""
        withdrawn = [given for given in self.waiting if given[0] in partitions]
        self.waiting = [given for given in self.waiting if given[0] not in partitions]
        self._of_waiting = dict(Counter(given[4] for given in self.waiting))
        deliver_instead(withdrawn, failed)

    def are_of(self, partition: Partition) -> bool:
        """Whether an answer from the partition waits."""
        return any(given[0] is partition for given in self.waiting)


def deliver(answers: Iterable[Given]) -> None:
    """Gives answers to their callers."""
    callers: dict[int, Caller] = {}
    for _, caller, tag, answer, _ in answers:
        caller.answer(tag, answer)
        callers[id(caller)] = caller
    for caller in callers.values():
        caller.flush()


def deliver_instead(answers: Iterable[Given], failed: Failed) -> None:
    """Tells callers of the failure, whatever their answers were."""
    deliver((partition, caller, tag, failed, account_id) for partition, caller, tag, _, account_id in answers)


def refuse(pending: Iterable[Pending], failed: Failed) -> None:
    """Answers undecided commands at once."""
    for each in pending:
        each.caller.answer(each.tag, failed)
        each.caller.flush()
