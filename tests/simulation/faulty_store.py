"""A store that loses commits, hides their outcome, is slow, and whose owners can be left behind as zombies."""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from services.accounting.journal.memory import MemoryStore
from services.accounting.journal.store import (
    WHOLE,
    Checkpoint,
    Claim,
    ClaimedPartition,
    DueAccount,
    Identity,
    JournalRow,
    PartitionWrite,
    Share,
    Snapshot,
)
from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2

T = TypeVar("T")


class Faults:
    """How often what goes wrong, as shares of calls."""

    def __init__(self, commit_lost: float = 0.0, outcome_unknown: float = 0.0, read_fails: float = 0.0) -> None:
        self.commit_lost = commit_lost
        self.outcome_unknown = outcome_unknown
        self.read_fails = read_fails


class FaultyStore:
    """One owner's connection to a shared `MemoryStore`. While `frozen`, its calls do not return."""

    def __init__(self, store: MemoryStore, rng: random.Random, faults: Faults, *, fenced: bool = True) -> None:
        self._store = store
        self._rng = rng
        self.faults = faults
        self._fenced = fenced
        self.thawed = asyncio.Event()
        self.thawed.set()

    async def _delay(self) -> None:
        await asyncio.sleep(self._rng.choice((0.0, 0.0001, 0.001, 0.02)))
        await self.thawed.wait()

    def _fail(self, share: float, what: str) -> None:
        if self._rng.random() < share:
            raise ServiceError(errors_pb2.ERROR_REASON_STORE_UNAVAILABLE, what)

    async def raise_era(self, above: int, coordinator_id: str = "") -> int:
        return await self._store.raise_era(above, coordinator_id)

    async def coordinated_by(self, coordinator_id: str) -> str:
        return await self._store.coordinated_by(coordinator_id)

    async def initialise(self, partitions: int, share: Share = WHOLE, cell_id: str = "") -> Identity:
        return await self._store.initialise(partitions, share, cell_id)

    async def identity(self) -> Identity:
        return await self._store.identity()

    async def claim(self, incarnation: str, era: int, claims: Sequence[Claim], *, again: bool) -> list[ClaimedPartition]:
        await self._delay()
        self._fail(self.faults.commit_lost, "injected: claim lost")
        claimed = await self._store.claim(incarnation, era, claims, again=again)
        self._fail(self.faults.outcome_unknown, "injected: claim done, answer lost")
        return claimed

    async def commit(self, writes: Sequence[PartitionWrite]) -> set[int]:
        await self._delay()
        self._fail(self.faults.commit_lost, "injected: commit lost")
        if not self._fenced:
            current = {partition.part_id: partition for partition in await self._store.partitions()}
            writes = [
                write._replace(epoch=current[write.part_id].epoch, expected_seq=current[write.part_id].next_seq) for write in writes
            ]
        held = await self._store.commit(writes)
        self._fail(self.faults.outcome_unknown, "injected: commit done, answer lost")
        await self._delay()
        return held

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        await self._delay()
        self._fail(self.faults.read_fails, "injected: read failed")
        return await self._store.read_rows(part_id, after_seq, limit)

    async def partitions(self) -> list[ClaimedPartition]:
        return await self._store.partitions()

    async def load_checkpoints(self, part_id: int, account_ids: Iterable[str]) -> dict[str, Checkpoint]:
        wanted = list(account_ids)
        await self._delay()
        self._fail(self.faults.read_fails, "injected: read failed")
        return await self._store.load_checkpoints(part_id, wanted)

    async def due_accounts(self, part_ids: Sequence[int], until_us: int, after: DueAccount | None, limit: int) -> list[DueAccount]:
        await self._delay()
        return await self._store.due_accounts(part_ids, until_us, after, limit)

    async def snapshot(self, work: Callable[[Snapshot], T]) -> T:
        return await self._store.snapshot(work)

    async def close(self) -> None:
        await self._store.close()
