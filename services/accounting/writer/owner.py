"""The owner: the only writer of its partitions' accounts, and group commit.

The coordinator decides which partitions those are: `take` claims some and brings them into memory, `give` lets go of them in order.
Commands are decided at once, on state that runs ahead of the database. All that arrived while the last transaction ran goes into
the next one. An answer leaves only after the commit that covers what it saw: grants, refusals, reads and repeats alike.
After a failed commit the outcome is unknown. The memory is dropped, the partitions are claimed again with a higher epoch, and
their state is read from the journal. Callers repeat what was not answered; idempotency makes that harmless.
"""

import asyncio
import logging
from collections.abc import Coroutine, Iterable, Sequence
from typing import Final, NamedTuple

from services.accounting.core import features
from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    Answer,
    Command,
    CreateSession,
    Failed,
    Fault,
    ReceiveTransfer,
    Refused,
    SendTransfer,
    TransferView,
)
from services.accounting.core.entries import Actor
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.journal.store import WHOLE, Claim, ClaimedPartition, Identity, Share, Store
from services.accounting.writer.answers import Answers, refuse
from services.accounting.writer.asking import Caller, Pending, ask
from services.accounting.writer.burning import Burnt
from services.accounting.writer.committer import Committer
from services.accounting.writer.due import DueWork
from services.accounting.writer.exposure import Weighing
from services.accounting.writer.holdings import Holdings, Lost
from services.accounting.writer.load import Loader
from services.accounting.writer.metrics import Commits, Metrics, Refusals
from services.accounting.writer.partition import Partition, PartitionSettings
from services.accounting.writer.transfers import Deliver, Transfers
from services.partitions import partition_of
from services.runtime.clock import Clock

logger = logging.getLogger(__name__)

_STOP_LOOK_S = 0.005
# Clocks of machines that are set by NTP differ by far less.
_BEHIND_US: Final = 60_000_000
_SHED: Final = Failed(Fault.OVERLOADED, "too many answers wait for their commit; nothing was done, ask later")


class OwnerSettings(NamedTuple):
    """An owner's cell, and the bounds of its resources."""

    # The claimant's name: each process that ever claims has another one.
    incarnation: str
    # The cell's number of partitions.
    partitions: int
    # A Create waits at most this long for balance that others hold.
    held_wait_ms: int
    # An account is checkpointed when its oldest change has this age.
    checkpoint_age_ms: int
    # At most this many accounts are objects in memory, and the packed ones have at most this many bytes.
    hot_accounts_max: int
    packed_bytes_max: int
    # Whether its accounts are weighed: `weighing` runs then.
    weighs: bool = False
    # The partitions that its store has.
    share: Share = WHOLE


class Owner:
    """Owns partitions of a store. Call `start`, then `take` and `submit`; keep `run` running."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        settings: OwnerSettings,
        *,
        lost: Lost | None = None,
        deliver: Deliver | None = None,
        commits: Commits | None = None,
    ) -> None:
        """`lost` is called with partitions that somebody else has claimed; None: that ends `run` with `OwnershipLostError`.

        `deliver` carries a transfer to the owner of the receiver's partition; None: all are owned here. `commits`: see `Metrics`.
        """
        self._clock = clock
        self._share = settings.share
        self._held_wait_s = settings.held_wait_ms / 1_000
        # Accounts are spread evenly over partitions.
        self._of_partitions = PartitionSettings(
            held_wait_s=self._held_wait_s,
            checkpoint_age_us=settings.checkpoint_age_ms * 1_000,
            hot_max=max(1, settings.hot_accounts_max // settings.partitions),
            packed_bytes_max=settings.packed_bytes_max // settings.partitions,
            weighs=settings.weighs,
        )
        self._catalog: ChargingCatalog | None = None
        # The catalog with all that this code understands.
        self._whole_catalog: ChargingCatalog | None = None
        # Whether every member of the cell reads what is newer than the first release.
        self.extended = True
        # Whether every member of the cell reads runs and labels of calls.
        self._runs = self._sales = True
        # Whether every member of the cell reads who gave a command.
        self._attributes = True
        # The cell's number of partitions.
        self.partition_count = settings.partitions
        self.metrics = Metrics(commits, settings.share.server)
        self.refusals = Refusals()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._answers = Answers(self.metrics, self.refusals)
        self._holdings = Holdings(store, settings.incarnation, self._made, self._begun, lost, self._answers, self.metrics)
        self._partitions = self._holdings.partitions
        self._committer = Committer(store, clock, self._holdings, self._answers, self.metrics)
        self._transfers = Transfers(self, self._holdings, deliver or self.receive, self._spawn)
        self._loader = Loader(store, self._holdings, self._enter, self._accept)
        self._due = DueWork(self, store, clock, self._holdings, self._answers)
        self.weighing = Weighing(store, self._partitions)

    def _made(self, claimed: ClaimedPartition) -> Partition:
        """The state of a partition before any of its journal is replayed."""
        now_us = self._clock.now_us()
        if (below_us := claimed.last_time_us - now_us) > _BEHIND_US:
            logger.error(
                "the clock of this machine is %d s below the last time in the journal of partition %d: set it right; until it has "
                "caught up no time passes for the accounts of that partition, and calls may be refused",
                below_us // 1_000_000,
                claimed.part_id,
            )
        serving_since_us = max(now_us, claimed.last_time_us)
        return Partition(claimed, serving_since_us, self._of_partitions, self.metrics, self._decide, self._answers.add)

    def _begun(self, partitions: Iterable[Partition]) -> None:
        self._transfers.resume(partitions)

    @property
    def identity(self) -> Identity:
        """The store's cell and era, known after `start`."""
        return self._holdings.identity

    @property
    def serving(self) -> bool:
        """Whether commands are decided now: there is a catalog, and nothing is being recovered."""
        return self._catalog is not None and not self._closing and self._holdings.whole

    @property
    def part_ids(self) -> frozenset[int]:
        """The partitions that are served."""
        return frozenset(part_id for part_id, partition in self._partitions.items() if not partition.closed)

    @property
    def claimed(self) -> frozenset[int]:
        """Partitions that were taken and not given or lost since, including those being recovered."""
        return frozenset(self._holdings.claims)

    @property
    def reached(self) -> dict[int, int]:
        """Partitions owned here -> next sequence number after the last row that was surely committed here."""
        return self._holdings.reached

    @property
    def pending_s(self) -> float:
        """The age of the commit under way, in seconds."""
        return self._committer.pending_s

    def set_catalog(self, catalog: ChargingCatalog) -> None:
        """Sets the catalog for new sessions; open ones keep what they pinned."""
        self._whole_catalog = catalog
        self._catalog = catalog.for_members(extended=self.extended, runs=self._runs, sales=self._sales)

    def set_features(self, understood: frozenset[str]) -> None:
        """Sets the features that every member of the cell understands: entries use no others from now on. At first all are set."""
        attributes = features.ACTORS in understood
        if attributes != self._attributes:
            self._attributes = attributes
            logger.info("actors of commands are %s", "written now" if attributes else "not written: not every member reads them")
        before = self.extended, self._runs, self._sales
        self.extended, self._runs = features.EXTENDED_USAGE in understood, features.RUNS in understood
        self._sales = features.SALES in understood
        if self.extended != before[0]:
            logger.info("%s are written now", "all token classes" if self.extended else "only the first token classes")
        if self._runs != before[1]:
            logger.info("runs are %s", "opened now" if self._runs else "not opened: not every member reads them")
        if self._sales != before[2]:
            logger.info("terms of sales are %s", "pinned whole now" if self._sales else "those of the first release")
        if (self.extended, self._runs, self._sales) != before and self._whole_catalog is not None:
            self.set_catalog(self._whole_catalog)

    # Owning

    async def start(self, cell_id: str = "") -> None:
        """Checks that the store is this cell's, and learns its era. Errors: those of the store."""
        await self._holdings.start(self.partition_count, self._share, cell_id)

    async def take_all(self) -> None:
        """Takes every partition of the store, as the only process of a cell does. Errors: those of `take`; `OwnershipLostError`."""
        await self._holdings.take_all(self.partition_count, self._share)

    async def take(self, claims: Sequence[Claim]) -> set[int]:
        """Claims partitions, replays their tails and serves them; returns those that it got.

        Errors: those of the store: the claims' outcome is unknown then, and they can be taken again. `StoreRestoredError`.
        """
        return await self._holdings.take(claims)

    async def give(self, part_ids: Iterable[int]) -> None:
        """Releases partitions: checkpoints them while they are served, then takes no more commands, answers all, forgets them."""
        await self._holdings.give(part_ids)

    async def run(self) -> None:
        """Commits, for ever. Errors: an `ExceptionGroup` of `OwnershipLostError`, or of `JournalError`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._due.run(), name="accounting-tick")
            await self._committer.run()

    async def stop(self) -> None:
        """Takes no more commands; returns once all decisions are committed and answered, and all accounts checkpointed."""
        self._closing = True
        self._committer.close()
        self._transfers.close()
        for partition in self._partitions.values():
            partition.waiting.give_up()
        while self._committer.undone or any(partition.wanted() for partition in self._partitions.values()):
            self._answers.work.set()
            await asyncio.sleep(_STOP_LOOK_S)

    # Deciding

    def submit(self, command: Command, caller: Caller, tag: int, actor: Actor | None = None) -> None:
        """Decides `command`, given by `actor`, as soon as its account is in memory; the caller gets the answer after the commit."""
        pending = Pending(command, caller, tag, actor)
        account_id = command.account_id
        part_id = partition_of(account_id, self.partition_count)
        partition = self._partitions.get(part_id)
        if partition is None or partition.closed or self._catalog is None or self._closing:
            refuse((pending,), self._not_here(part_id))
            return
        if self._answers.sheds(command):
            self.metrics.shed += 1
            refuse((pending,), _SHED)
            return
        if partition.resident(account_id) is not None:
            self._accept(partition, pending)
        elif partition.await_load(pending):
            self._spawn(self._loader.load(partition))

    def _not_here(self, part_id: int) -> Failed:
        if self._closing or self._catalog is None or (part_id in self._holdings.claims and part_id not in self._partitions):
            return Failed(Fault.UNAVAILABLE, "accounting is starting, recovering or stopping; a repeat is safe")
        return Failed(Fault.NOT_OWNER, f"partition {part_id} is not owned here; ask its owner")

    def _accept(self, partition: Partition, pending: Pending) -> None:
        command, queues = pending.command, partition.waiting.queues
        # A Create does not overtake an earlier one of its account that still waits.
        if queues and type(command) is CreateSession and command.account_id in queues:
            partition.waiting.add(pending)
            return
        catalog = self._catalog
        assert catalog is not None
        entries_before = len(partition.pending)
        answer = partition.decide(command, self._clock.now_us(), catalog, pending.actor if self._attributes else None)
        if type(command) is SendTransfer and type(answer) is TransferView and answer.state == "in_transit":
            self._transfers.begin(partition, command.account_id)
        if type(answer) is Refused and answer.held and self._held_wait_s > 0 and not self._closing:
            partition.waiting.add(pending)
        else:
            self._answers.add(partition, pending, answer)
        if queues and len(partition.pending) > entries_before and command.account_id in queues:
            partition.waiting.retry(command.account_id)

    def _decide(self, partition: Partition, command: Command) -> Answer:
        """Decides a command that waited."""
        assert self._catalog is not None
        return partition.decide(command, self._clock.now_us(), self._catalog)

    def burning(self, window_us: int) -> dict[str, Burnt]:
        """By unit, what the accounts owned here were charged in a window that ends now."""
        return self.metrics.burning.within(window_us, self._clock.now_us())

    async def receive(self, command: ReceiveTransfer) -> Failed | None:
        """Takes a transfer for an account of a partition owned here; returns its refusal, if it was not taken."""
        answer = await ask(self, command)
        return answer if isinstance(answer, Failed) else None

    def _enter(self, partition: Partition, account: Account) -> None:
        partition.enter(account)
        self._transfers.resume_of(partition, account)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
