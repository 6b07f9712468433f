"""Answers that wait for the commit which covers what they saw."""

import asyncio
from collections.abc import Collection, Iterable

from services.accounting.core.commands import Answer, Failed, Refused
from services.accounting.writer.asking import Caller, Pending
from services.accounting.writer.metrics import Metrics, Refusals
from services.accounting.writer.partition import Partition

# An answer that is not delivered yet: the partition that gave it, who asked, under which tag.
Given = tuple[Partition, Caller, int, Answer]


class Answers:
    """Decided, but not committed yet."""

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._metrics = metrics
        self._refusals = refusals
        self.waiting: list[Given] = []
        # There is something to commit, or to look at.
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
        """All that wait; they are the taker's from now on."""
        taken, self.waiting = self.waiting, []
        return taken

    def withdraw(self, partitions: Collection[Partition], failed: Failed) -> None:
        """Tells those who wait for an answer of partitions that are gone, instead of the answer."""
        withdrawn = [given for given in self.waiting if given[0] in partitions]
        self.waiting = [given for given in self.waiting if given[0] not in partitions]
        deliver_instead(withdrawn, failed)

    def are_of(self, partition: Partition) -> bool:
        """Whether an answer of the partition waits."""
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
    """Tells callers that it failed, whatever their answers were."""
    deliver((partition, caller, tag, failed) for partition, caller, tag, _ in answers)


def refuse(pending: Iterable[Pending], failed: Failed) -> None:
    """Answers commands that were not decided, at once."""
    for each in pending:
        each.caller.answer(each.tag, failed)
        each.caller.flush()
