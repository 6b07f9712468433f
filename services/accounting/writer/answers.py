"""Keeps answers until the commit that covers what they saw."""

import asyncio
from collections.abc import Collection, Iterable

from services.accounting.core.commands import Answer, Failed, Refused
from services.accounting.writer.asking import Caller, Pending
from services.accounting.writer.metrics import Metrics, Refusals
from services.accounting.writer.partition import Partition

# An answer that is not delivered yet: the partition that gave it, its caller, and the caller's tag.
Given = tuple[Partition, Caller, int, Answer]


class Answers:
    """Answers that are decided, but not committed yet."""

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._metrics = metrics
        self._refusals = refusals
        self.waiting: list[Given] = []
        # Set when there is something to commit, or to look at.
        self.work = asyncio.Event()

    def add(self, partition: Partition, pending: Pending, answer: Answer) -> None:
        """Keeps an answer for the next commit."""
        self._metrics.commands += 1
        if type(answer) is Refused:
            self._metrics.refusals += 1
            self._refusals.remember(pending.command, answer, partition.last_time_us)
        self.waiting.append((partition, pending.caller, pending.tag, answer))
        self.work.set()

    def take(self) -> list[Given]:
        """Takes all that wait; the caller delivers them."""
        taken, self.waiting = self.waiting, []
        return taken

    def withdraw(self, partitions: Collection[Partition], failed: Failed) -> None:
        """Tells callers of partitions that are gone of the failure, instead of their answers."""
        withdrawn = [given for given in self.waiting if given[0] in partitions]
        self.waiting = [given for given in self.waiting if given[0] not in partitions]
        deliver_instead(withdrawn, failed)

    def are_of(self, partition: Partition) -> bool:
        """Whether an answer from the partition waits."""
        return any(given[0] is partition for given in self.waiting)


def deliver(answers: Iterable[Given]) -> None:
    """Gives answers to their callers."""
    callers: dict[int, Caller] = {}
    for _, caller, tag, answer in answers:
        caller.answer(tag, answer)
        callers[id(caller)] = caller
    for caller in callers.values():
        caller.flush()


def deliver_instead(answers: Iterable[Given], failed: Failed) -> None:
    """Tells callers of the failure, whatever their answers were."""
    deliver((partition, caller, tag, failed) for partition, caller, tag, _ in answers)


def refuse(pending: Iterable[Pending], failed: Failed) -> None:
    """Answers undecided commands at once."""
    for each in pending:
        each.caller.answer(each.tag, failed)
        each.caller.flush()
