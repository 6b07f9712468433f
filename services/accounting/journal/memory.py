"""The store in memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence

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
    T,
    check_era,
    check_share,
    parts_of,
)


class MemoryStore:
    """The store in memory, for tests and the simulator: one contract for all stores, durable as long as the object lives."""

    def __init__(self) -> None:
        self._partitions: dict[int, ClaimedPartition] = {}
        self._rows: dict[int, list[JournalRow]] = {}
        self._checkpoints: dict[int, dict[str, Checkpoint]] = {}
        # part_id -> (era, revision of the claim, incarnation).
        self._owners: dict[int, tuple[int, int, str]] = {}
        self._era = 1
        self._cell_id = ""
        self._coordinator_id = ""

    async def initialise(self, partitions: int, share: Share = WHOLE, cell_id: str = "") -> Identity:
        if not self._partitions:
            self._cell_id = cell_id or "cell-memory"
            for part_id in parts_of(partitions, share):
                self._partitions[part_id] = ClaimedPartition(part_id, 0, 1, 1, 0)
                self._rows[part_id] = []
                self._checkpoints[part_id] = {}
        identity = await self.identity()
        check_share(list(self._partitions), partitions, share, identity, cell_id)
        return identity

    async def identity(self) -> Identity:
        return Identity(self._cell_id, self._era)

    async def claim(self, incarnation: str, era: int, claims: Sequence[Claim], *, again: bool) -> list[ClaimedPartition]:
        check_era(self._era, era)
        claimed = []
        for part_id, revision, _ in sorted(claims):
            *before, owner = self._owners.get(part_id, (0, 0, ""))
            if before < [era, revision] or (before == [era, revision] and (owner == incarnation or not again)):
                self._owners[part_id] = (era, revision, incarnation)
                partition = self._partitions[part_id]
                self._partitions[part_id] = partition._replace(epoch=partition.epoch + 1)
                claimed.append(self._partitions[part_id])
        return claimed

    async def coordinated_by(self, coordinator_id: str) -> str:
        self._coordinator_id = self._coordinator_id or coordinator_id
        return self._coordinator_id

    async def raise_era(self, above: int, coordinator_id: str = "") -> int:
        self._era = max(self._era, above) + 1
        self._coordinator_id = coordinator_id
        for part_id, partition in self._partitions.items():
            self._owners[part_id] = (self._era, 0, "")
            self._partitions[part_id] = partition._replace(epoch=partition.epoch + 1)
        return self._era

    async def commit(self, writes: Sequence[PartitionWrite]) -> set[int]:
        return {write.part_id for write in writes if self._write(write)}

    def _write(self, write: PartitionWrite) -> bool:
        partition = self._partitions[write.part_id]
        if (partition.epoch, partition.next_seq) != (write.epoch, write.expected_seq):
            return False
        if write.body is not None:
            self._rows[write.part_id].append(
                JournalRow(write.part_id, write.expected_seq, write.epoch, write.entry_count, write.body)
            )
            partition = partition._replace(next_seq=partition.next_seq + 1, last_time_us=write.time_us)
        self._partitions[write.part_id] = partition._replace(low_water=write.low_water)
        for checkpoint in write.checkpoints:
            self._checkpoints[write.part_id][checkpoint.account_id] = checkpoint
        return True

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        return self._rows[part_id][after_seq : after_seq + limit]

    async def partitions(self) -> list[ClaimedPartition]:
        return list(self._partitions.values())

    async def load_checkpoints(self, part_id: int, account_ids: Iterable[str]) -> dict[str, Checkpoint]:
        checkpoints = self._checkpoints[part_id]
        return {account_id: checkpoints[account_id] for account_id in account_ids if account_id in checkpoints}

    async def due_accounts(self, part_ids: Sequence[int], until_us: int, after: DueAccount | None, limit: int) -> list[DueAccount]:
        due = [
            DueAccount(checkpoint.next_due_us, part_id, checkpoint.account_id)
            for part_id in part_ids
            for checkpoint in self._checkpoints[part_id].values()
            if checkpoint.next_due_us is not None and checkpoint.next_due_us <= until_us
        ]
        return sorted(each for each in due if after is None or each > after)[:limit]

    async def snapshot(self, work: Callable[[Snapshot], T]) -> T:
        return work(_MemorySnapshot(self._partitions, self._rows, self._checkpoints))

    async def close(self) -> None:
        pass


class _MemorySnapshot:
    def __init__(
        self,
        partitions: dict[int, ClaimedPartition],
        rows: dict[int, list[JournalRow]],
        checkpoints: dict[int, dict[str, Checkpoint]],
    ) -> None:
        self._partitions = list(partitions.values())
        self._rows = {part_id: list(each) for part_id, each in rows.items()}
        self._checkpoints = {part_id: dict(each) for part_id, each in checkpoints.items()}

    def partitions(self) -> list[ClaimedPartition]:
        return self._partitions

    def rows(self, part_id: int, after_seq: int) -> Iterator[JournalRow]:
        return iter(self._rows[part_id][after_seq:])

    def checkpoints(self, part_id: int) -> Iterator[Checkpoint]:
        return iter(checkpoint for _, checkpoint in sorted(self._checkpoints[part_id].items()))
