"""The partitions that this process owns: taken, given away, lost, and recovered after a failed commit."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from services.accounting.core.commands import Failed, Fault
from services.accounting.journal.store import Claim, ClaimedPartition, Identity, Share, Store, check_reached, parts_of
from services.accounting.writer.answers import Answers, Given, deliver_instead, refuse
from services.accounting.writer.metrics import Metrics
from services.accounting.writer.partition import Partition
from services.accounting.writer.recovery import replay
from services.runtime.errors import ServiceError

logger = logging.getLogger(__name__)

_RECOVERY_BACKOFF_S_MAX: Final = 1.0
# Before partitions are given away, their dirty accounts are checkpointed while they are served. This takes at most this long,
# because the next owner replays the rest.
_GIVE_CHECKPOINTS_S_MAX: Final = 2.0
_GIVE_DIRTY_MAX: Final = 64
_GIVE_LOOK_S: Final = 0.002

LOST: Final = "the partition has another owner now"

# Called with partitions that somebody else has claimed.
Lost = Callable[[set[int]], None]


class OwnershipLostError(Exception):
    """Another process has claimed partitions that this one must have. This one must end, because it can write nothing any more."""


class Holdings:
    """Holds the partitions; see the module."""

    def __init__(
        self,
        store: Store,
        incarnation: str,
        make: Callable[[ClaimedPartition], Partition],
        begun: Callable[[Iterable[Partition]], None],
        lost: Lost | None,
        answers: Answers,
        metrics: Metrics,
    ) -> None:
        """`make` makes the state of a claimed partition; `begun` is called with partitions that are served from now on.

        `lost`: see `Owner`.
        """
        self._store = store
        self._incarnation = incarnation
        self._make = make
        self._begun = begun
        self._lost = lost
        self._answers = answers
        self._handovers = metrics.handovers
        self.identity = Identity("", 0)
        # All claims; a claimed partition that is being recovered is not among the partitions.
        self.claims: dict[int, Claim] = {}
        self.partitions: dict[int, Partition] = {}
        # Next sequence number after the last row this process knows is committed.
        self._committed: dict[int, int] = {}
        # Taking, giving and recovering exclude one another.
        self._claiming = asyncio.Lock()

    @property
    def whole(self) -> bool:
        """Whether every claimed partition is served."""
        return len(self.partitions) == len(self.claims)

    @property
    def reached(self) -> dict[int, int]:
        """See `Owner.reached`."""
        return {part_id: self._committed[part_id] for part_id in self.partitions if part_id in self._committed}

    def note_committed(self, partition: Partition) -> None:
        """Notes that all rows of the partition before its next one are surely committed."""
        self._committed[partition.part_id] = partition.next_seq

    def has(self, partition: Partition) -> bool:
        """Whether this is the partition's present state; after a recovery it is another."""
        return self.partitions.get(partition.part_id) is partition

    async def start(self, partition_count: int, share: Share, cell_id: str) -> None:
        """See `Owner.start`."""
        self.identity = await self._store.initialise(partition_count, share, cell_id)

    async def take_all(self, partition_count: int, share: Share) -> None:
        """See `Owner.take_all`."""
        claims = [Claim(part_id, 0) for part_id in parts_of(partition_count, share)]
        if len(await self.take(claims)) < len(claims):
            raise OwnershipLostError(
                "the partitions were claimed through a coordinator; give this process the same one, or run `tokenline recover`"
            )

    async def take(self, claims: Sequence[Claim]) -> set[int]:
        """See `Owner.take`."""
        async with self._claiming:
            claimed = await self._store.claim(self._incarnation, self.identity.era, claims, again=False)
            reached = {claim.part_id: claim.reached for claim in claims}
            for each in claimed:
                check_reached(each, max(reached[each.part_id], self._committed.get(each.part_id, 0)))
            partitions = {each.part_id: await self._replayed(each) for each in claimed}
            self.claims.update((claim.part_id, claim) for claim in claims if claim.part_id in partitions)
            self.partitions.update(partitions)
            self._begun(partitions.values())
        self._handovers["taken"] += len(partitions)
        return set(partitions)

    async def _replayed(self, claimed: ClaimedPartition) -> Partition:
        partition = self._make(claimed)
        await replay(self._store, partition)
        return partition

    async def give(self, part_ids: Iterable[int]) -> None:
        """See `Owner.give`."""
        loop = asyncio.get_running_loop()
        leaving = [self.partitions[part_id] for part_id in part_ids if part_id in self.partitions]
        until_s = loop.time() + _GIVE_CHECKPOINTS_S_MAX
        for partition in leaving:
            partition.leave()
        for partition in leaving:
            while self.has(partition) and partition.dirty_count > _GIVE_DIRTY_MAX and loop.time() < until_s:
                self._answers.work.set()
                await asyncio.sleep(_GIVE_LOOK_S)
        for partition in leaving:
            partition.close()
        for partition in leaving:
            while self.has(partition) and (partition.undone or self._answers.are_of(partition)):
                self._answers.work.set()
                await asyncio.sleep(_GIVE_LOOK_S)
        async with self._claiming:
            # Partitions that were recovered meanwhile are given up too: nobody was told that they are still here.
            self._drop(part_ids)
        self._handovers["given"] += len(leaving)

    def _drop(self, part_ids: Iterable[int]) -> None:
        """Forgets partitions; tells callers who wait for something of them."""
        failed = Failed(Fault.NOT_OWNER, LOST)
        dropped = []
        for part_id in part_ids:
            self.claims.pop(part_id, None)
            partition = self.partitions.pop(part_id, None)
            if partition is not None:
                dropped.append(partition)
        self._answers.withdraw(dropped, failed)
        for partition in dropped:
            refuse(partition.clear(), failed)

    def lose(self, part_ids: set[int]) -> None:
        """Drops partitions that somebody else has claimed. Errors: `OwnershipLostError` where nobody is to be told."""
        self._drop(part_ids)
        self._handovers["lost"] += len(part_ids)
        logger.warning("lost partitions %s to another owner", sorted(part_ids))
        if self._lost is None:
            raise OwnershipLostError(LOST)
        self._lost(part_ids)

    async def recover(self, answers: list[Given], why: str) -> None:
        """Drops the state in memory, tells all waiting callers that the outcome is unknown, and starts from the journal.

        `answers` are those of the commit that failed. Errors: as of `lose`; `JournalError`.
        """
        # Taking and giving wait, because a partition that came in the middle would be dropped with the others.
        async with self._claiming:
            self._forget_all(answers, Failed(Fault.STORE_UNAVAILABLE, f"{why}; the outcome is unknown, a repeat is safe"))
            backoff_s = 0.05
            while True:
                try:
                    lost = await self._claim_again()
                except ServiceError as error:
                    logger.error("cannot claim the partitions, trying again: %s", error.message)
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, _RECOVERY_BACKOFF_S_MAX)
                else:
                    break
        if lost:
            self.lose(lost)
        logger.info("claimed the partitions again")

    def _forget_all(self, answers: list[Given], failed: Failed) -> None:
        """Drops the state in memory; callers of `answers`, and all who wait for one, are told of the failure."""
        forgotten = list(self.partitions.values())
        self.partitions.clear()
        deliver_instead(answers + self._answers.take(), failed)
        for partition in forgotten:
            refuse(partition.clear(), failed)

    async def _claim_again(self) -> set[int]:
        """Claims the partitions again and replays them; returns those that somebody else has claimed meanwhile."""
        claimed = await self._store.claim(self._incarnation, self.identity.era, list(self.claims.values()), again=True)
        for each in claimed:
            check_reached(each, self._committed.get(each.part_id, 0))
        self.partitions.update({each.part_id: await self._replayed(each) for each in claimed})
        self._begun(self.partitions.values())
        return self.claims.keys() - self.partitions.keys()
