"""Money at risk: what accounts hold, owe and have used on credit, summed by unit off the way of calls.

A partition notes which accounts changed, and `Weighing` looks at those once a second. An account that is only on disk is weighed
once, from its checkpoint, after its partition was taken; until then the sums are not complete.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Final

from services.accounting.journal.codec import decode_checkpoint
from services.accounting.journal.store import Snapshot, Store
from services.accounting.writer.partition import Partition
from services.accounting.writer.weights import Weight, sums_of, weight_of
from services.runtime.errors import ServiceError

logger = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
# Accounts that are weighed before calls have their turn, some 2 us each; of those on disk, some 30 us each, and for how long then.
_AT_ONCE: Final = 128
_READ_AT_ONCE: Final = 32
_PAUSE_S: Final = 0.001


class Weighing:
    """Keeps the exposure of an owner's partitions up to date."""

    def __init__(self, store: Store, partitions: Mapping[int, Partition]) -> None:
        self._store = store
        self._partitions = partitions

    async def run(self) -> None:
        """Weighs, for ever."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self.weigh()
            try:
                await self.read()
            except ServiceError as error:
                logger.warning("accounts on disk are not weighed yet, trying again: %s", error.message)

    async def weigh(self) -> None:
        """Weighs the accounts in memory that changed."""
        for partition in list(self._partitions.values()):
            while self._partitions.get(partition.part_id) is partition:
                if not partition.weigh(_AT_ONCE):
                    break
                await asyncio.sleep(0)

    async def read(self) -> None:
        """Weighs all accounts on disk of partitions that were taken since. Errors: those of the store."""
        taken = {part_id: each for part_id, each in self._partitions.items() if not each.exposure.complete}
        if not taken:
            return
        found = await self._store.snapshot(lambda snapshot: {part_id: _stored(snapshot, part_id) for part_id in taken})
        for part_id, partition in taken.items():
            partition.exposure.take_stored(found[part_id])

    @property
    def sums(self) -> dict[tuple[str, str], int]:
        """The sums by kind and unit; may be asked in any thread."""
        return sums_of(partition.exposure for partition in list(self._partitions.values()))

    @property
    def complete(self) -> bool:
        """Whether accounts that are only on disk are in the sums."""
        return all(partition.exposure.complete for partition in list(self._partitions.values()))


def _stored(snapshot: Snapshot, part_id: int) -> dict[str, Weight]:
    """The weights of a partition's checkpoints that have any. It runs in a thread of its own, and lets the loop have its turn."""
    found = {}
    for number, checkpoint in enumerate(snapshot.checkpoints(part_id)):
        if number % _READ_AT_ONCE == 0:
            time.sleep(_PAUSE_S)
        weight = weight_of(decode_checkpoint(checkpoint.body, f"the checkpoint of account {checkpoint.account_id}"))
        if weight:
            found[checkpoint.account_id] = weight
    return found
