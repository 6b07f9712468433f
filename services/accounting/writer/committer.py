"""Group commit: all that was decided while the last transaction ran goes into the next one."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from services.accounting.core.commands import Failed, Fault
from services.accounting.journal.store import PartitionWrite, Store
from services.accounting.writer.answers import Answers, deliver
from services.accounting.writer.holdings import LOST, Holdings
from services.accounting.writer.metrics import Metrics
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError

logger = logging.getLogger(__name__)

# Checkpoints of one commit at the most, so that they never make a commit long.
_CHECKPOINTS_MAX: Final = 128
# At most this many bytes of them, because answers wait for the commit: they take about a millisecond.
_CHECKPOINT_BYTES_MAX: Final = 128 * 1024


class Committer:
    """Commits what the partitions have, and delivers the answers."""

    def __init__(self, store: Store, clock: Clock, holdings: Holdings, answers: Answers, metrics: Metrics) -> None:
        self._store = store
        self._clock = clock
        self._holdings = holdings
        self._answers = answers
        self._metrics = metrics
        self._time_s: Callable[[], float] = time.monotonic
        # The begin of the commit under way; None: there is none.
        self._began_s: float | None = None
        # The process stops: all accounts are checkpointed at once.
        self._closing = False

    @property
    def pending_s(self) -> float:
        """For how long the commit under way has been; may be asked in any thread."""
        began_s = self._began_s
        return 0.0 if began_s is None else self._time_s() - began_s

    def close(self) -> None:
        """From now on all accounts are checkpointed at once."""
        self._closing = True

    @property
    def undone(self) -> bool:
        """Whether something was decided that is not committed, or not answered, or a checkpoint is due."""
        if self._began_s is not None or self._answers.waiting:
            return True
        partitions = self._holdings.partitions.values()
        if any(partition.pending for partition in partitions):
            return True
        now_us = self._clock.now_us()
        return any(partition.has_overdue(now_us, at_once=self._closing) for partition in partitions)

    async def run(self) -> None:
        """Commits, for ever. Errors: `OwnershipLostError`, `JournalError`."""
        work = self._answers.work
        while True:
            await work.wait()
            work.clear()
            while self.undone:
                await self._commit()
                self._answers.told()

    async def _commit(self) -> None:
        answers = self._answers.take()
        touched = {given[0] for given in answers}
        writes: list[PartitionWrite] = []
        written = []
        now_us = self._clock.now_us()
        checkpoints_left, bytes_left = _CHECKPOINTS_MAX, _CHECKPOINT_BYTES_MAX
        for partition in self._holdings.partitions.values():
            checkpoints = partition.due_checkpoints(now_us, checkpoints_left, bytes_left, at_once=self._closing)
            checkpoints_left -= len(checkpoints)
            bytes_left -= sum(len(checkpoint.body) for checkpoint in checkpoints)
            if not partition.pending and not checkpoints and partition not in touched:
                continue
            written.append(partition)
            try:
                write = partition.begin_commit(checkpoints)
            except (OverflowError, msgspec.MsgspecError) as error:
                # An entry that no store can take must not end the service for everybody else.
                logger.critical("partition %d: an entry can't be written: %s", partition.part_id, error)
                self._metrics.recoveries += 1
                await self._holdings.recover(answers, "an entry could not be written")
                return
            writes.append(write)
            self._metrics.entries += write.entry_count
        if not writes:
            # Only answers of partitions that were recovered since; they were answered then.
            return
        self._metrics.commits += 1
        try:
            held = await self._write(writes)
        except ServiceError as error:
            logger.error("a commit failed, its outcome is unknown: %s", error.message)
            self._metrics.recoveries += 1
            await self._holdings.recover(answers, error.message)
            return
        committed = {partition for partition in written if partition.part_id in held}
        for partition in written:
            partition.end_commit()
            if partition in committed:
                self._holdings.note_committed(partition)
        if len(committed) < len(written) or not touched <= committed:
            failed = Failed(Fault.NOT_OWNER, LOST)
            deliver((*given[:3], given[3] if given[0] in committed else failed, given[4]) for given in answers)
            # A partition that was given away meanwhile, and may have been taken again, was not lost to anybody.
            lost = {each.part_id for each in written if each not in committed and self._holdings.has(each)}
            if lost:
                self._holdings.lose(lost)
        else:
            deliver(answers)
        # Accounts come into memory with an answer, or by a replay that makes their checkpoints overdue: both are written.
        for partition in written:
            partition.shrink()

    async def _write(self, writes: list[PartitionWrite]) -> set[int]:
        self._time_s = asyncio.get_running_loop().time
        self._began_s = self._time_s()
        # The loop's own time is whole milliseconds, which many commits do not take.
        began_s = time.perf_counter()
        try:
            return await self._store.commit(writes)
        finally:
            self._began_s = None
            self._metrics.count_commit(sum(write.entry_count for write in writes), time.perf_counter() - began_s)
