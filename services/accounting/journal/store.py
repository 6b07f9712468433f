"""The contract of the durable store: journal, checkpoints and the fence.

A partition row is the fence: every write names the epoch and the sequence number it expects. It has no effect if another owner has
claimed the partition since.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2

T = TypeVar("T")


class JournalRow(NamedTuple):
    """One committed row. `seq` counts from 1 without a gap."""

    part_id: int
    seq: int
    epoch: int
    entry_count: int
    body: bytes


class Checkpoint(NamedTuple):
    """An account's state, which includes all entries up to (seq, entry_index)."""

    account_id: str
    seq: int
    entry_index: int
    next_due_us: int | None
    body: bytes


class DueAccount(NamedTuple):
    """An account whose checkpoint says that something is due on it."""

    next_due_us: int
    part_id: int
    account_id: str


class PartitionWrite(NamedTuple):
    """A commit's write to one partition. Without a body it only checks the fence (and writes checkpoints)."""

    part_id: int
    epoch: int
    # The sequence number of the new row, at which the partition must stand.
    expected_seq: int
    time_us: int
    entry_count: int
    body: bytes | None
    # The smallest sequence number not yet in a checkpoint, after this commit.
    low_water: int
    checkpoints: Sequence[Checkpoint]


class Identity(NamedTuple):
    """Identity of a store: its cell, and the era, which rises when the store, or the coordinator, was restored."""

    cell_id: str
    era: int


class Share(NamedTuple):
    """The partitions of a cell that a store has: those whose part_id is `server` modulo `servers`."""

    server: int
    servers: int


WHOLE: Final = Share(0, 1)


class Claim(NamedTuple):
    """Says that a process may own a partition."""

    part_id: int
    # The coordinator's revision of the claim, which rises with each new claim; 0 without a coordinator.
    revision: int
    # The sequence number that the partition is known to have reached: a lower one shows a store that was restored.
    reached: int = 0


class EraMismatchError(Exception):
    """The store is of another era than the coordinator: one of the two was restored. Nobody may serve."""


class StoreRestoredError(Exception):
    """The store lacks rows that were committed: it was restored from a backup. Nobody may serve."""


class ClaimedPartition(NamedTuple):
    """A partition as it was claimed."""

    part_id: int
    epoch: int
    next_seq: int
    low_water: int
    last_time_us: int


class Snapshot(Protocol):
    """One state of the whole store; only used inside `Store.snapshot`, in its thread."""

    def partitions(self) -> list[ClaimedPartition]:
        """All partitions in order."""
        ...

    def rows(self, part_id: int, after_seq: int) -> Iterator[JournalRow]:
        """The partition's rows after `after_seq`, in order."""
        ...

    def checkpoints(self, part_id: int) -> Iterator[Checkpoint]:
        """The partition's checkpoints, in order of account_id."""
        ...


class Store(Protocol):
    """Errors of all methods: `ServiceError` STORE_UNAVAILABLE. After a failed `commit` or `claim` the outcome is unknown."""

    async def initialise(self, partitions: int, share: Share = WHOLE, cell_id: str = "") -> Identity:
        """Makes its share of the cell's partitions in a new store.

        Errors: `ServiceError` INVALID_ARGUMENT if it has others, or is of another cell than `cell_id`, where that is given.
        """
        ...

    async def identity(self) -> Identity:
        """The cell and the era of the store."""
        ...

    async def claim(self, incarnation: str, era: int, claims: Sequence[Claim], *, again: bool) -> list[ClaimedPartition]:
        """Raises the epoch of the partitions, so that their former owners can't write any more. Returns them in order.

        A partition that was claimed with a higher revision stays as it is and is not returned. `again`: only those that
        `incarnation` claimed last, as after a commit of unknown outcome; the rest have a new owner. Errors: `EraMismatchError`.
        """
        ...

    async def coordinated_by(self, coordinator_id: str) -> str:
        """Remembers the coordinator that gives out its partitions, once in an era; returns the one that is remembered."""
        ...

    async def raise_era(self, above: int, coordinator_id: str = "") -> int:
        """Begins a new era, higher than the store's and than `above`; returns it. Former owners can't write any more.

        `coordinator_id`: the coordinator that gives out its partitions in that era; empty: the first one to come.
        """
        ...

    async def commit(self, writes: Sequence[PartitionWrite]) -> set[int]:
        """One transaction over several partitions. Returns the part_ids whose fence held; the others were left as they are.

        A commit that has returned survives the loss of the process and of power.
        """
        ...

    async def read_rows(self, part_id: int, after_seq: int, limit: int) -> list[JournalRow]:
        """At most `limit` committed rows after `after_seq`, in order."""
        ...

    async def partitions(self) -> list[ClaimedPartition]:
        """All partitions as they are, in order."""
        ...

    async def load_checkpoints(self, part_id: int, account_ids: Iterable[str]) -> dict[str, Checkpoint]:
        """The checkpoints of those accounts that have one."""
        ...

    async def due_accounts(self, part_ids: Sequence[int], until_us: int, after: DueAccount | None, limit: int) -> list[DueAccount]:
        """At most `limit` checkpoints of these partitions with next_due_us <= `until_us`, in their order, after `after`."""
        ...

    async def snapshot(self, work: Callable[[Snapshot], T]) -> T:
        """Runs `work` over one state of the whole store, beside commits."""
        ...

    async def close(self) -> None:
        """Closes the store; nothing may be under way."""
        ...


def parts_of(partitions: int, share: Share) -> range:
    """The part_ids of a share."""
    return range(share.server, partitions, share.servers)


def check_share(existing: Sequence[int], partitions: int, share: Share, identity: Identity, cell_id: str) -> None:
    """Refuses a store that was installed with other partitions, or for another cell. Errors: `ServiceError` INVALID_ARGUMENT."""
    if list(existing) == list(parts_of(partitions, share)) and cell_id in ("", identity.cell_id):
        return
    if cell_id not in ("", identity.cell_id):
        said = (
            f"the database server {share.server} is of cell {identity.cell_id}, the one before of cell {cell_id}; give each cell "
            "databases of its own"
        )
    elif share == WHOLE and list(existing) == list(range(len(existing))):
        said = (
            f"the store has {len(existing)} partitions and the config says {partitions}; the number is fixed at installation: "
            f"set partitions to {len(existing)}"
        )
    else:
        said = (
            f"the database server {share.server} has {len(existing)} partitions, from {', '.join(map(str, existing[:3]))} on; by "
            f"the config, {partitions} on {share.servers} servers, it would have others: how many partitions there are, on how "
            "many servers and in which order, is fixed at installation"
        )
    raise ServiceError(errors_pb2.ERROR_REASON_INVALID_ARGUMENT, said)


def check_reached(claimed: ClaimedPartition, reached: int) -> None:
    """Refuses a partition that has gone back. Errors: `StoreRestoredError`."""
    if claimed.next_seq < reached:
        raise StoreRestoredError(
            f"partition {claimed.part_id} ends at row {claimed.next_seq - 1}, but row {reached - 1} was committed: the database "
            "was restored from a backup; see what is missing, then run `tokenline recover`"
        )


def check_era(store_era: int, era: int) -> None:
    """Refuses a store of another era. Errors: `EraMismatchError`."""
    if store_era != era:
        raise EraMismatchError(
            f"the database is of era {store_era}, the coordinator of era {era}: one of the two was restored, or they are of two "
            "cells; see that they belong together, then run `tokenline recover`"
        )
