"""The owner: the only writer of its partitions' accounts, and group commit.

Which partitions those are is decided elsewhere: `take` claims some and brings them into memory, `give` lets go of them in order.

Commands are decided at once, on state that runs ahead of the database; all that arrived while the last transaction ran goes
into the next one. An answer leaves only after the commit that covers what it saw: grants, refusals, reads and repeats alike.
After a failed commit the outcome is unknown: the memory is thrown away, the partitions are claimed again with a higher epoch,
and the journal says what is so. Callers repeat what was not answered; idempotency makes that harmless.
"""

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

import msgspec

from services.accounting.core import features
from services.accounting.core.account.due import next_due_us
from services.accounting.core.account.evolve import evolve
from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    AccountView,
    Answer,
    ApplyDue,
    ChargeEvent,
    Command,
    CreateSession,
    EndTransfer,
    Failed,
    Fault,
    ReadAccount,
    ReceiveTransfer,
    Refused,
)
from services.accounting.core.decide import decide
from services.accounting.core.due import due_entries
from services.accounting.core.entries import Entry, SessionSettled, TransferSent
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.transfers import arriving_bucket
from services.accounting.journal.codec import JournalError, decode_checkpoint, decode_row, encode_checkpoint, encode_row
from services.accounting.journal.store import (
    WHOLE,
    Checkpoint,
    Claim,
    ClaimedPartition,
    DueAccount,
    Identity,
    PartitionWrite,
    Share,
    Store,
    check_reached,
    parts_of,
)
from services.accounting.writer.residents import Residents
from services.partitions import partition_of
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError

logger = logging.getLogger(__name__)

# Checkpoints of one commit at the most, so that they never make a commit long.
_CHECKPOINTS_A_COMMIT_MAX: Final = 128
# And so many bytes: nobody's answer shall wait for more than about a millisecond of them.
_CHECKPOINT_BYTES_A_COMMIT_MAX: Final = 128 * 1024
# A checkpoint above this size is made less often, in proportion.
_CHECKPOINT_LARGE_BYTES: Final = 64 * 1024
_REPLAY_ROWS_A_READ: Final = 1_000
_TICK_S: Final = 0.5
_RECOVERY_BACKOFF_S_MAX: Final = 1.0
# What is due goes in slices of accounts with a pause behind each: 3,200 accounts a second at the most. A pause that the event loop
# ended late shows that calls are waiting: then so many times as long comes on top, since calls go first.
_DUE_ACCOUNTS_A_SLICE: Final = 32
_DUE_PAUSE_S: Final = 0.01
_DUE_LATENESS_S: Final = 0.001
_DUE_LATENESS_FACTOR: Final = 16
# Slices of accounts that are not in use: so many at once, or an owner that is slow would load more and more of them.
_DUE_SLICES_AT_ONCE: Final = 16
_DUE_ACCOUNTS_A_READ: Final = 512
_PASSING_LOOK_S: Final = 0.002
_STALE_TIMERS_MAX: Final = 1_000
_REFUSALS_KEPT_MAX: Final = 10_000
_TRANSFER_BACKOFF_S: Final = 0.1
_TRANSFER_BACKOFF_S_MAX: Final = 5.0
# Why a receiver turns a transfer away for good; anything else is tried again.
_TRANSFER_REFUSALS: Final = frozenset(
    {Fault.ACCOUNT_UNKNOWN, Fault.NOT_POSSIBLE, Fault.AMOUNT_OVERFLOW, Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT}
)

# Before partitions are given away, their dirty accounts are checkpointed while they are served; for so long at the most, since
# the next owner replays what is left.
_GIVE_CHECKPOINTS_S_MAX: Final = 2.0
_GIVE_DIRTY_MAX: Final = 64
_GIVE_LOOK_S: Final = 0.002

_LOST: Final = "the partition has another owner now"


class OwnershipLostError(Exception):
    """Another process has claimed partitions that this one must have. It must end: it can write nothing any more."""


class Caller(Protocol):
    """Where answers go. `answer` is called after the commit; `flush` once after the last answer of a commit."""

    def answer(self, tag: int, answer: Answer) -> None:
        """Takes the answer to the command submitted with `tag`."""
        ...

    def flush(self) -> None:
        """Sends what was taken."""
        ...


class Metrics:
    """Counts since the start, read by telemetry."""

    def __init__(self) -> None:
        self.commands = 0
        self.refusals = 0
        self.commits = 0
        self.entries = 0
        self.recoveries = 0
        # Records of which a part was above what the account may owe.
        self.losses = 0
        # By unit, in micro-units; there from the start, or its first increase would be seen by nobody.
        self.absorbed = {"TOKEN": 0}
        # What vendors' work was worth, in micro-yuan: what was used, and what nobody paid for.
        self.paid_worth = 0
        self.unpaid_worth = 0

    def count_losses(self, entry: SessionSettled) -> None:
        """Counts what nobody pays of a record."""
        self.paid_worth += entry.paid_worth
        self.unpaid_worth += entry.unpaid_worth
        if entry.absorbed:
            unit = entry.tariff.unit
            self.absorbed[unit] = self.absorbed.get(unit, 0) + entry.absorbed
            self.losses += entry.absorbed > sum(entry.unpaid_amounts)


# What was refused, how, and when, in microseconds since 1970.
Refusal = tuple[CreateSession | ChargeEvent, Refused, int]


# Is told of partitions that somebody else has claimed.
Lost = Callable[[set[int]], None]
# Carries a transfer to the owner of the receiver's partition; returns why it was not taken.
Deliver = Callable[[ReceiveTransfer], Awaitable[Failed | None]]


class _Pending(NamedTuple):
    command: Command
    caller: Caller
    tag: int


class _Waiting(NamedTuple):
    """A Create that only others' holds keep from being granted."""

    pending: _Pending
    timer: asyncio.TimerHandle


class _Timers:
    """When to look at which account: the earliest time of each, or an account in use would leave more of them every minute."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._kept: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, account: Account) -> None:
        """Makes sure that the account is looked at when something is due on it."""
        due_us = account.next_due_us
        if due_us is None:
            return
        kept_us = self._kept.get(account.account_id)
        if kept_us is None or due_us < kept_us:
            self._kept[account.account_id] = due_us
            heapq.heappush(self._heap, (due_us, account.account_id))

    def drop(self, account_id: str) -> None:
        """The account has left memory."""
        if self._kept.pop(account_id, None) is not None and len(self._heap) > 2 * len(self._kept) + _STALE_TIMERS_MAX:
            self._heap = [(due_us, account_id) for account_id, due_us in self._kept.items()]
            heapq.heapify(self._heap)

    def pop(self, now_us: int) -> str | None:
        """An account to look at by `now_us`; None when there is no more."""
        while self._heap and self._heap[0][0] <= now_us:
            due_us, account_id = heapq.heappop(self._heap)
            if self._kept.get(account_id) == due_us:
                del self._kept[account_id]
                return account_id
        return None


class _Partition:
    """One partition's state in memory; it may run ahead of the database by what `pending` holds."""

    def __init__(self, claimed: ClaimedPartition, serving_since_us: int, residents: Residents) -> None:
        self.part_id = claimed.part_id
        self.epoch = claimed.epoch
        # The number of the row that `pending` will become.
        self.next_seq = claimed.next_seq
        self.low_water = claimed.low_water
        self.last_time_us = claimed.last_time_us
        self.serving_since_us = serving_since_us
        self.residents = residents
        # It is being given away: first checkpointed, then closed to commands.
        self.leaving = False
        self.closed = False
        # A commit with something of it is under way.
        self.committing = False
        self.pending: list[Entry] = []
        # account_id -> (first seq not in its checkpoint, when that was), oldest first.
        self.dirty: dict[str, tuple[int, int]] = {}
        # The same for accounts whose next checkpoint has a time of its own: those whose last one was large, and idle ones.
        self.dirty_timed: dict[str, tuple[int, int]] = {}
        # Accounts that nobody used, in memory for what was due on them; they leave it once they are checkpointed.
        self.passing: set[str] = set()
        # account_id -> size of its last checkpoint in bytes, where that was large.
        self.large: dict[str, int] = {}
        self.loading: dict[str, list[_Pending]] = {}
        self.waiting: dict[str, deque[_Waiting]] = {}
        # Accounts whose transfers are being delivered.
        self.sending: set[str] = set()
        self.timers = _Timers()

    @property
    def dirty_count(self) -> int:
        """How many accounts the next owner would have to replay."""
        return len(self.dirty) + len(self.dirty_timed)


class Owner:
    """Owns partitions of a store. `start`, then `take` and `submit`; `run` must be running all the while."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        incarnation: str,
        partitions: int,
        share: Share = WHOLE,
        held_wait_ms: int,
        checkpoint_age_ms: int,
        hot_accounts_max: int,
        packed_bytes_max: int,
        lost: Lost | None = None,
        deliver: Deliver | None = None,
    ) -> None:
        """`lost` is told of partitions that somebody else has claimed; None: that ends `run` with `OwnershipLostError`.

        `deliver` carries a transfer to the owner of the receiver's partition; None: all are owned here.
        """
        self._store = store
        self._clock = clock
        self._incarnation = incarnation
        self._partition_count = partitions
        self._share = share
        self._held_wait_s = held_wait_ms / 1_000
        self._checkpoint_age_us = checkpoint_age_ms * 1_000
        # Accounts are spread evenly over partitions.
        self._hot_max = max(1, hot_accounts_max // partitions)
        self._packed_bytes_max = packed_bytes_max // partitions
        # What was claimed; while it is recovered after a failed commit, it is not among the partitions.
        self._claims: dict[int, Claim] = {}
        self._partitions: dict[int, _Partition] = {}
        # The number behind the last row that was surely committed here.
        self._committed: dict[int, int] = {}
        self._lost = lost
        # One takes, gives or recovers at a time.
        self._claiming = asyncio.Lock()
        self._catalog: ChargingCatalog | None = None
        # The same with all that this code understands.
        self._whole_catalog: ChargingCatalog | None = None
        self._extended = True
        # Decided, but not committed yet.
        self._answers: list[tuple[_Partition, Caller, int, Answer]] = []
        self._work = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._committing = False
        self._commit_began_s = 0.0
        self._closing = False
        self.identity = Identity("", 0)
        self.metrics = Metrics()
        self._carry = deliver or self.receive
        # The last refusals by charging_id, oldest first, so that somebody can ask why.
        self.refusals: dict[str, Refusal] = {}

    @property
    def serving(self) -> bool:
        """Whether commands are decided now: there is a catalog, and nothing is being recovered."""
        return self._catalog is not None and not self._closing and len(self._partitions) == len(self._claims)

    @property
    def part_ids(self) -> frozenset[int]:
        """The partitions that are served."""
        return frozenset(part_id for part_id, partition in self._partitions.items() if not partition.closed)

    @property
    def claimed(self) -> frozenset[int]:
        """The partitions that were taken and not given or lost since, also while they are recovered."""
        return frozenset(self._claims)

    @property
    def reached(self) -> dict[int, int]:
        """The partitions owned here -> the number behind the last row that was surely committed here."""
        return {part_id: self._committed[part_id] for part_id in self._partitions if part_id in self._committed}

    @property
    def pending_s(self) -> float:
        """For how long the commit under way has been."""
        return asyncio.get_running_loop().time() - self._commit_began_s if self._committing else 0.0

    @property
    def partition_count(self) -> int:
        """The cell's number of partitions."""
        return self._partition_count

    def set_catalog(self, catalog: ChargingCatalog) -> None:
        """The catalog in force for new sessions from now on; open ones keep what they pinned."""
        self._whole_catalog = catalog
        self._catalog = catalog if self._extended else catalog.for_first_release()

    def set_features(self, understood: frozenset[str]) -> None:
        """What every member of the cell understands: nothing else is written from now on. At first it is all."""
        extended = features.EXTENDED_USAGE in understood
        if extended != self._extended:
            self._extended = extended
            logger.info("%s are written now", "all token classes" if extended else "only the first token classes")
            if self._whole_catalog is not None:
                self.set_catalog(self._whole_catalog)

    async def start(self, cell_id: str = "") -> None:
        """Sees that the store is this cell's, and learns its era. Errors: those of the store."""
        self.identity = await self._store.initialise(self._partition_count, self._share, cell_id)

    async def take_all(self) -> None:
        """Takes every partition of the store, as the only process of a cell does. Errors: as of `take`; `OwnershipLostError`."""
        claims = [Claim(part_id, 0) for part_id in parts_of(self._partition_count, self._share)]
        if len(await self.take(claims)) < len(claims):
            raise OwnershipLostError(
                "the partitions were claimed through a coordinator; give this process the same one, or run `tokenline recover`"
            )

    async def take(self, claims: Sequence[Claim]) -> set[int]:
        """Claims partitions, replays their tails and serves them; returns those that it got.

        Errors: those of the store; then nothing is known of the claims, and they can be taken again. `StoreRestoredError`.
        """
        async with self._claiming:
            claimed = await self._store.claim(self._incarnation, self.identity.era, claims, again=False)
            reached = {claim.part_id: claim.reached for claim in claims}
            for each in claimed:
                check_reached(each, max(reached[each.part_id], self._committed.get(each.part_id, 0)))
            partitions = {each.part_id: await self._replayed(each) for each in claimed}
            self._claims.update((claim.part_id, claim) for claim in claims if claim.part_id in partitions)
            self._partitions.update(partitions)
            self._resume_transfers(partitions.values())
        return set(partitions)

    async def give(self, part_ids: Iterable[int]) -> None:
        """Lets go of partitions: checkpoints them while they are served, then takes no more commands, answers all, forgets them."""
        loop = asyncio.get_running_loop()
        leaving = [self._partitions[part_id] for part_id in part_ids if part_id in self._partitions]
        until_s = loop.time() + _GIVE_CHECKPOINTS_S_MAX
        for partition in leaving:
            partition.leaving = True
        for partition in leaving:
            while self._has(partition) and partition.dirty_count > _GIVE_DIRTY_MAX and loop.time() < until_s:
                self._work.set()
                await asyncio.sleep(_GIVE_LOOK_S)
        for partition in leaving:
            partition.closed = True
            for account_id in list(partition.waiting):
                self._give_up_waiting(partition, account_id)
        for partition in leaving:
            while self._has(partition) and self._undone_of(partition):
                self._work.set()
                await asyncio.sleep(_GIVE_LOOK_S)
        async with self._claiming:
            # What was recovered meanwhile is given up too: nobody was told that it is still here.
            self._drop(part_ids, Failed(Fault.NOT_OWNER, _LOST))

    def _has(self, partition: _Partition) -> bool:
        """Whether this is the partition's state in force; after a recovery it is another."""
        return self._partitions.get(partition.part_id) is partition

    def _drop(self, part_ids: Iterable[int], failed: Failed) -> None:
        """Forgets partitions; who waits for something of them is told."""
        dropped = []
        for part_id in part_ids:
            self._claims.pop(part_id, None)
            partition = self._partitions.pop(part_id, None)
            if partition is not None:
                dropped.append(partition)
        unanswered = [answer for answer in self._answers if answer[0] in dropped]
        self._answers = [answer for answer in self._answers if answer[0] not in dropped]
        self._deliver((partition, caller, tag, failed) for partition, caller, tag, _ in unanswered)
        for partition in dropped:
            self._fail_all(partition, failed)

    def _lose(self, part_ids: set[int]) -> None:
        """Somebody else has claimed partitions. Errors: `OwnershipLostError` where nobody wants to know."""
        self._drop(part_ids, Failed(Fault.NOT_OWNER, _LOST))
        logger.warning("lost partitions %s to another owner", sorted(part_ids))
        if self._lost is None:
            raise OwnershipLostError(_LOST)
        self._lost(part_ids)

    def submit(self, command: Command, caller: Caller, tag: int) -> None:
        """Decides `command` as soon as its account is in memory; the caller gets the answer after the commit."""
        pending = _Pending(command, caller, tag)
        account_id = command.account_id
        part_id = partition_of(account_id, self._partition_count)
        partition = self._partitions.get(part_id)
        if partition is None or partition.closed or self._catalog is None or self._closing:
            self._refuse((pending,), self._not_here(part_id))
            return
        if self._resident(partition, account_id) is not None:
            self._accept(partition, pending)
        elif account_id in partition.loading:
            partition.loading[account_id].append(pending)
        else:
            partition.loading[account_id] = [pending]
            if len(partition.loading) == 1:
                self._spawn(self._load(partition))

    def _not_here(self, part_id: int) -> Failed:
        if self._closing or self._catalog is None or (part_id in self._claims and part_id not in self._partitions):
            return Failed(Fault.UNAVAILABLE, "accounting is starting, recovering or stopping; a repeat is safe")
        return Failed(Fault.NOT_OWNER, f"partition {part_id} is not owned here; ask its owner")

    async def run(self) -> None:
        """Commits, for ever. Errors: an `ExceptionGroup` of `OwnershipLostError`, or of `JournalError`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick(), name="accounting-tick")
            while True:
                await self._work.wait()
                self._work.clear()
                while self._undone() or self._overdue():
                    await self._commit()

    async def stop(self) -> None:
        """Takes no more commands; returns once all that was decided is committed and answered, and all is checkpointed."""
        self._closing = True
        for partition in self._partitions.values():
            for account_id in list(partition.waiting):
                self._give_up_waiting(partition, account_id)
        while self._undone() or self._overdue() or any(partition.loading for partition in self._partitions.values()):
            self._work.set()
            await asyncio.sleep(0.005)

    def _undone(self) -> bool:
        """Whether something was decided that is not committed, or not answered."""
        return self._committing or bool(self._answers) or any(partition.pending for partition in self._partitions.values())

    def _undone_of(self, partition: _Partition) -> bool:
        return (
            partition.committing
            or bool(partition.pending or partition.loading or partition.waiting)
            or any(answer[0] is partition for answer in self._answers)
        )

    # Deciding

    def _accept(self, partition: _Partition, pending: _Pending) -> None:
        command, waiting = pending.command, partition.waiting
        # Nobody overtakes a Create of the same account that came before and still waits.
        if waiting and type(command) is CreateSession and command.account_id in waiting:
            self._wait(partition, pending)
            return
        entries_before = len(partition.pending)
        answer = self._decide(partition, command)
        if type(answer) is Refused and answer.held and self._held_wait_s > 0 and not self._closing:
            self._wait(partition, pending)
        else:
            self._answer(partition, pending, answer)
        if waiting and len(partition.pending) > entries_before and command.account_id in waiting:
            self._retry_waiting(partition, command.account_id)

    def _decide(self, partition: _Partition, command: Command) -> Answer:
        """Applies what is due, then the command; the answer must not leave before the next commit."""
        now_us = partition.last_time_us = max(self._clock.now_us(), partition.last_time_us)
        account = partition.residents.hot.get(command.account_id)
        used = type(command) is not ApplyDue
        if account is not None:
            self._apply_due(partition, account, now_us, used=used)
        assert self._catalog is not None
        try:
            entries, answer = decide(account, command, now_us, self._catalog)
        except Exception:
            # Nothing was changed, since decide only reads: the others must not suffer from one command.
            logger.exception("deciding a %s of account %s failed", type(command).__name__, command.account_id)
            return Failed(Fault.INTERNAL, "deciding failed; the log says why")
        for entry in entries:
            account = self._append(partition, account, entry)
        if entries and account is not None:
            # Money that came may pay a renewal that waits for it.
            self._apply_due(partition, account, now_us, used=used)
        return answer

    def _answer(self, partition: _Partition, pending: _Pending, answer: Answer) -> None:
        self.metrics.commands += 1
        if type(answer) is Refused:
            self.metrics.refusals += 1
            self._remember_refusal(pending.command, answer, partition.last_time_us)
        self._answers.append((partition, pending.caller, pending.tag, answer))
        self._work.set()

    def _remember_refusal(self, command: Command, refused: Refused, time_us: int) -> None:
        if isinstance(command, CreateSession | ChargeEvent):
            self.refusals[command.charging_id] = (command, refused, time_us)
            if len(self.refusals) > _REFUSALS_KEPT_MAX:
                del self.refusals[next(iter(self.refusals))]

    def _apply_due(self, partition: _Partition, account: Account, now_us: int, *, used: bool) -> bool:
        """Applies what is due on the account; whether anything was."""
        if (account.next_due_us is None or account.next_due_us > now_us) and (
            account.unused_until_us is None or account.unused_until_us > now_us
        ):
            return False
        applied = False
        for entry in due_entries(account, now_us, partition.serving_since_us, used=used, extended=self._extended):
            self._append(partition, account, entry)
            applied = True
        partition.timers.add(account)
        return applied

    def _append(self, partition: _Partition, account: Account | None, entry: Entry) -> Account:
        due_us = account.next_due_us if account is not None else None
        pending = partition.pending
        if account is None:
            account = evolve(None, entry, partition.next_seq, len(pending))
            partition.residents.add(account)
        else:
            evolve(account, entry, partition.next_seq, len(pending))
        pending.append(entry)
        account_id = account.account_id
        if account_id not in partition.dirty:
            self._note_dirty(partition, account_id)
        if account.next_due_us != due_us:
            partition.timers.add(account)
        if type(entry) is TransferSent:
            self._deliver_transfers(partition, account_id)
        elif type(entry) is SessionSettled and (entry.absorbed or entry.paid_worth or entry.unpaid_worth):
            self.metrics.count_losses(entry)
        return account

    # Transfers between accounts

    def _deliver_transfers(self, partition: _Partition, account_id: str) -> None:
        """Sees to it that what an account has sent arrives, or comes back; again and again, until it is known."""
        if account_id not in partition.sending:
            partition.sending.add(account_id)
            self._spawn(self._send_until_known(partition, account_id))

    def _resume_transfers(self, partitions: Iterable[_Partition]) -> None:
        """Goes on with what was under way, once all partitions that were taken together are served: before, nobody is asked."""
        for partition in partitions:
            for account in list(partition.residents.hot.values()):
                if _is_sending(account):
                    self._deliver_transfers(partition, account.account_id)

    async def _send_until_known(self, partition: _Partition, account_id: str) -> None:
        backoff_s = _TRANSFER_BACKOFF_S
        while self._has(partition) and not self._closing:
            # Only what is committed may arrive: an answer about the sender comes after the commit that has its half.
            view = await ask(self, ReadAccount(account_id))
            if isinstance(view, AccountView):
                sent = [each.transfer_id for each in view.account.transfers.values() if each.state == "in_transit"]
                if not sent:
                    partition.sending.discard(account_id)
                    return
                for transfer_id in sent:
                    failed = await self._carry(arriving_bucket(view.account, transfer_id))
                    if failed is None:
                        await ask(self, EndTransfer(account_id, transfer_id, ""))
                    elif failed.fault in _TRANSFER_REFUSALS:
                        await ask(self, EndTransfer(account_id, transfer_id, failed.message))
                    else:
                        break
                else:
                    backoff_s = _TRANSFER_BACKOFF_S
                    continue
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _TRANSFER_BACKOFF_S_MAX)

    # Waiting for held balance

    def _wait(self, partition: _Partition, pending: _Pending) -> None:
        account_id = pending.command.account_id
        timer = asyncio.get_running_loop().call_later(self._held_wait_s, self._stop_waiting, partition, account_id, pending)
        partition.waiting.setdefault(account_id, deque()).append(_Waiting(pending, timer))

    def _retry_waiting(self, partition: _Partition, account_id: str) -> None:
        """Decides those who wait, in order of arrival, until one still has to."""
        queue = partition.waiting.get(account_id)
        while queue:
            answer = self._decide(partition, queue[0].pending.command)
            if isinstance(answer, Refused) and answer.held:
                return
            waiting = queue.popleft()
            waiting.timer.cancel()
            self._answer(partition, waiting.pending, answer)
        partition.waiting.pop(account_id, None)

    def _stop_waiting(self, partition: _Partition, account_id: str, pending: _Pending) -> None:
        """The time of a waiting Create is up: it gets the answer as it is now."""
        queue = partition.waiting[account_id]
        queue.remove(next(waiting for waiting in queue if waiting.pending is pending))
        if not queue:
            del partition.waiting[account_id]
        self._answer(partition, pending, self._decide(partition, pending.command))
        # It may have been the only one that there was too little for.
        self._retry_waiting(partition, account_id)

    def _give_up_waiting(self, partition: _Partition, account_id: str) -> None:
        for waiting in partition.waiting.pop(account_id, ()):
            waiting.timer.cancel()
            self._answer(partition, waiting.pending, self._decide(partition, waiting.pending.command))

    # Loading accounts

    async def _load(self, partition: _Partition) -> None:
        """Loads every account that somebody waits for, in batches, until nobody does."""
        while partition.loading:
            wanted = list(partition.loading)
            try:
                checkpoints = await self._store.load_checkpoints(partition.part_id, wanted)
            except ServiceError as error:
                for account_id in wanted:
                    self._refuse_unloadable(partition.loading.pop(account_id, ()), error)
                continue
            # A partition that was recovered meanwhile has answered all who waited here.
            for account_id in wanted if self._has(partition) else ():
                waiting = partition.loading.pop(account_id)
                if account_id in checkpoints:
                    try:
                        self._enter(partition, decode_checkpoint(checkpoints[account_id].body, f"the checkpoint of {account_id}"))
                    except JournalError as error:
                        self._refuse_unloadable(waiting, error)
                        continue
                for pending in waiting:
                    self._accept(partition, pending)

    def _refuse_unloadable(self, pending: Iterable[_Pending], error: Exception) -> None:
        logger.error("cannot load an account: %s", error)
        self._refuse(pending, Failed(Fault.STORE_UNAVAILABLE, f"the account cannot be loaded: {error}"))

    @staticmethod
    def _resident(partition: _Partition, account_id: str) -> Account | None:
        """The account, if it is in memory; None: it must be loaded."""
        account = partition.residents.use(account_id)
        if account is None and (account := partition.residents.unpack(account_id)) is not None:
            # No transfer is under way on it, or it would not have been packed.
            account.next_due_us = next_due_us(account)
            partition.residents.add(account)
            partition.timers.add(account)
        return account

    def _enter(self, partition: _Partition, account: Account) -> None:
        account.next_due_us = next_due_us(account)
        partition.residents.add(account)
        partition.timers.add(account)
        if _is_sending(account):
            self._deliver_transfers(partition, account.account_id)

    # Committing

    async def _commit(self) -> None:
        answers, self._answers = self._answers, []
        touched = {id(answer[0]): answer[0] for answer in answers}
        writes, written = [], []
        now_us = self._clock.now_us()
        checkpoints_left, bytes_left = _CHECKPOINTS_A_COMMIT_MAX, _CHECKPOINT_BYTES_A_COMMIT_MAX
        for partition in self._partitions.values():
            checkpoints = self._collect_checkpoints(partition, now_us, checkpoints_left, bytes_left)
            checkpoints_left -= len(checkpoints)
            bytes_left -= sum(len(checkpoint.body) for checkpoint in checkpoints)
            if not partition.pending and not checkpoints and id(partition) not in touched:
                continue
            entries, partition.pending = partition.pending, []
            partition.committing = True
            written.append(partition)
            try:
                body = encode_row(entries) if entries else None
            except (OverflowError, msgspec.MsgspecError) as error:
                # An entry that no store can take must not end the service for everybody else.
                logger.critical("partition %d: an entry can't be written: %s", partition.part_id, error)
                await self._fail_and_recover(answers, "an entry could not be written")
                return
            expected_seq = partition.next_seq
            if body is not None:
                partition.next_seq += 1
            oldest = next(iter(partition.dirty.values()), (partition.next_seq, 0))
            partition.low_water = min([oldest[0], *(seq for seq, _ in partition.dirty_timed.values())])
            writes.append(
                PartitionWrite(
                    part_id=partition.part_id,
                    epoch=partition.epoch,
                    expected_seq=expected_seq,
                    time_us=partition.last_time_us,
                    entry_count=len(entries),
                    body=body,
                    low_water=partition.low_water,
                    checkpoints=checkpoints,
                )
            )
            self.metrics.entries += len(entries)
        if not writes:
            # Only answers of partitions that were recovered since; they were answered then.
            return
        self.metrics.commits += 1
        try:
            held = await self._write(writes)
        except ServiceError as error:
            logger.error("a commit failed, its outcome is unknown: %s", error.message)
            await self._fail_and_recover(answers, error.message)
            return
        for partition in written:
            partition.committing = False
            if partition.part_id in held:
                self._committed[partition.part_id] = partition.next_seq
        if len(held) < len(writes):
            failed = Failed(Fault.NOT_OWNER, _LOST)
            self._deliver((*answer[:3], answer[3] if answer[0].part_id in held else failed) for answer in answers)
            self._lose({write.part_id for write in writes} - held)
        else:
            self._deliver(answers)
        self._shrink()

    def _shrink(self) -> None:
        """Packs accounts beyond what memory may have. Only between two commits: then the store has what is not dirty."""
        for partition in self._partitions.values():
            dirty, timed = partition.dirty, partition.dirty_timed
            for account_id in [each for each in partition.passing if each not in dirty and each not in timed]:
                partition.passing.discard(account_id)
                if account_id not in partition.waiting and account_id not in partition.sending:
                    partition.residents.forget(account_id)
                    partition.timers.drop(account_id)
            for account_id in partition.residents.shrink(dirty, timed, partition.waiting, partition.sending):
                partition.timers.drop(account_id)

    async def _write(self, writes: list[PartitionWrite]) -> set[int]:
        self._committing = True
        self._commit_began_s = asyncio.get_running_loop().time()
        try:
            return await self._store.commit(writes)
        finally:
            self._committing = False

    def _note_dirty(self, partition: _Partition, account_id: str) -> None:
        if account_id in partition.dirty_timed:
            return
        size = partition.large.get(account_id)
        if size is None:
            partition.dirty[account_id] = (partition.next_seq, partition.last_time_us)
        else:
            # Twice as large, half as often: what a busy account's checkpoints cost does not grow with what it remembers.
            wait_us = self._checkpoint_age_us * size // _CHECKPOINT_LARGE_BYTES
            partition.dirty_timed[account_id] = (partition.next_seq, partition.last_time_us + wait_us)

    def _overdue_accounts(self, partition: _Partition, now_us: int) -> Iterator[str]:
        """The accounts whose checkpoint is due, those that have been dirty for longest first."""
        at_once = self._closing or partition.leaving
        for account_id, (_, since_us) in partition.dirty.items():
            if now_us - since_us < self._checkpoint_age_us and not at_once:
                break
            yield account_id
        for account_id, (_, due_us) in partition.dirty_timed.items():
            if now_us >= due_us or at_once:
                yield account_id

    def _collect_checkpoints(self, partition: _Partition, now_us: int, limit: int, bytes_max: int) -> list[Checkpoint]:
        """The state of accounts whose checkpoint is due, as of the row that is just being made."""
        checkpoints: list[Checkpoint] = []
        if bytes_max <= 0:
            return checkpoints
        for account_id in islice(self._overdue_accounts(partition, now_us), limit):
            account = partition.residents.hot[account_id]
            body = encode_checkpoint(account)
            checkpoints.append(Checkpoint(account_id, account.seq, account.index, next_due_us(account), body))
            bytes_max -= len(body)
            if bytes_max <= 0:
                break
        for checkpoint in checkpoints:
            partition.dirty.pop(checkpoint.account_id, None)
            partition.dirty_timed.pop(checkpoint.account_id, None)
            if len(checkpoint.body) > _CHECKPOINT_LARGE_BYTES:
                partition.large[checkpoint.account_id] = len(checkpoint.body)
            else:
                partition.large.pop(checkpoint.account_id, None)
        return checkpoints

    def _overdue(self) -> bool:
        now_us = self._clock.now_us()
        return any(True for partition in self._partitions.values() for _ in self._overdue_accounts(partition, now_us))

    @staticmethod
    def _deliver(answers: Iterable[tuple[_Partition, Caller, int, Answer]]) -> None:
        callers: dict[int, Caller] = {}
        for _, caller, tag, answer in answers:
            caller.answer(tag, answer)
            callers[id(caller)] = caller
        for caller in callers.values():
            caller.flush()

    # Recovery

    async def _fail_and_recover(self, answers: list[tuple[_Partition, Caller, int, Answer]], why: str) -> None:
        """Throws the memory away, tells everybody who waits that the outcome is unknown, and starts from the journal."""
        self.metrics.recoveries += 1
        # Who takes or gives waits; a partition that comes in the middle would be thrown away with the others.
        async with self._claiming:
            self._forget_all(answers, Fault.STORE_UNAVAILABLE, f"{why}; the outcome is unknown, a repeat is safe")
            backoff_s = 0.05
            while True:
                try:
                    lost = await self._recover()
                except ServiceError as error:
                    logger.error("cannot claim the partitions, trying again: %s", error.message)
                    await asyncio.sleep(backoff_s)
                    backoff_s = min(2 * backoff_s, _RECOVERY_BACKOFF_S_MAX)
                else:
                    break
        if lost:
            self._lose(lost)
        logger.info("claimed the partitions again")

    def _forget_all(self, answers: list[tuple[_Partition, Caller, int, Answer]], fault: Fault, why: str) -> None:
        """Drops the state in memory; `answers`, and all who wait for one, are told `why` instead."""
        answers = answers + self._answers
        self._answers = []
        partitions, self._partitions = self._partitions, {}
        failed = Failed(fault, why)
        self._deliver((partition, caller, tag, failed) for partition, caller, tag, _ in answers)
        for partition in partitions.values():
            self._fail_all(partition, failed)

    @staticmethod
    def _fail_all(partition: _Partition, failed: Failed) -> None:
        """Answers all who wait on a partition whose memory is thrown away."""
        waiting = [each for queue in partition.waiting.values() for each in queue]
        for each in waiting:
            each.timer.cancel()
        pending = [each.pending for each in waiting] + [each for queue in partition.loading.values() for each in queue]
        partition.waiting.clear()
        partition.loading.clear()
        Owner._refuse(pending, failed)

    @staticmethod
    def _refuse(pending: Iterable[_Pending], fault: Failed) -> None:
        for _, caller, tag in pending:
            caller.answer(tag, fault)
            caller.flush()

    async def _recover(self) -> set[int]:
        """Claims again what was claimed before, and replays it; returns what somebody else has claimed meanwhile."""
        claimed = await self._store.claim(self._incarnation, self.identity.era, list(self._claims.values()), again=True)
        for each in claimed:
            check_reached(each, self._committed.get(each.part_id, 0))
        self._partitions = {each.part_id: await self._replayed(each) for each in claimed}
        self._resume_transfers(self._partitions.values())
        return self._claims.keys() - self._partitions.keys()

    async def _replayed(self, claimed: ClaimedPartition) -> _Partition:
        residents = Residents(self._hot_max, self._packed_bytes_max)
        partition = _Partition(claimed, max(self._clock.now_us(), claimed.last_time_us), residents)
        await self._replay(partition)
        return partition

    async def _replay(self, partition: _Partition) -> None:
        """Brings the accounts of the journal's tail into memory: their checkpoints, and what came after."""
        accounts: dict[str, Account] = {}
        after_seq = partition.low_water - 1
        while after_seq < partition.next_seq - 1:
            rows = await self._store.read_rows(partition.part_id, after_seq, _REPLAY_ROWS_A_READ)
            if not rows:
                raise JournalError(f"journal row {partition.part_id}/{after_seq + 1} is missing")
            decoded = [(row.seq, decode_row(row.body, f"journal row {row.part_id}/{row.seq}")) for row in rows]
            unknown = {entry.account_id for _, entries in decoded for entry in entries} - accounts.keys()
            checkpoints = await self._store.load_checkpoints(partition.part_id, unknown)
            for account_id, checkpoint in checkpoints.items():
                accounts[account_id] = decode_checkpoint(checkpoint.body, f"the checkpoint of {account_id}")
            for seq, entries in decoded:
                if seq != after_seq + 1:
                    raise JournalError(f"journal row {partition.part_id}/{after_seq + 1} is missing")
                after_seq = seq
                for index, entry in enumerate(entries):
                    account = accounts.get(entry.account_id)
                    if account is None or (account.seq, account.index) < (seq, index):
                        accounts[entry.account_id] = evolve(account, entry, seq, index)
                        partition.dirty.setdefault(entry.account_id, (seq, 0))
        for account in accounts.values():
            partition.residents.add(account)
            account.next_due_us = next_due_us(account)
            partition.timers.add(account)

    # Time

    async def _tick(self) -> None:
        """Applies what is due: on accounts in use, which have timers, and on all others, whose checkpoints say when."""
        while True:
            await asyncio.sleep(_TICK_S)
            await self._apply_due_hot()
            if self.serving:
                try:
                    await self._apply_due_stored()
                except ServiceError as error:
                    logger.error("cannot look for what is due: %s", error.message)
            self._work.set()

    async def _apply_due_hot(self) -> None:
        """Applies what is due on the accounts that are objects in memory."""
        applied = 0
        for partition in list(self._partitions.values()):
            now_us = max(self._clock.now_us(), partition.last_time_us)
            while (account_id := partition.timers.pop(now_us)) is not None:
                account = partition.residents.hot[account_id]
                if account.next_due_us is None or account.next_due_us > now_us:
                    partition.timers.add(account)
                    continue
                partition.last_time_us = now_us
                if self._apply_due(partition, account, now_us, used=False):
                    self._retry_waiting(partition, account_id)
                self._work.set()
                applied += 1
                if applied % _DUE_ACCOUNTS_A_SLICE == 0:
                    await _let_calls_pass()
                    if not self._has(partition):
                        break
                    now_us = max(self._clock.now_us(), partition.last_time_us)

    async def _apply_due_stored(self) -> None:
        """Applies what is due on accounts that are not in use, and lets go of them."""
        until_us = self._clock.now_us()
        after: DueAccount | None = None
        slices: set[asyncio.Task[None]] = set()
        try:
            while self.serving:
                found = await self._store.due_accounts(sorted(self.part_ids), until_us, after, _DUE_ACCOUNTS_A_READ)
                for first in range(0, len(found), _DUE_ACCOUNTS_A_SLICE):
                    if len(slices) >= _DUE_SLICES_AT_ONCE:
                        await asyncio.wait(slices, return_when=asyncio.FIRST_COMPLETED)
                    task = asyncio.create_task(self._apply_due_idle(found[first : first + _DUE_ACCOUNTS_A_SLICE]))
                    slices.add(task)
                    task.add_done_callback(slices.discard)
                    await _let_calls_pass()
                if len(found) < _DUE_ACCOUNTS_A_READ:
                    break
                # What is in use has its own timer, though the store does not know yet that nothing is due any more: go on behind.
                after = found[-1]
            if slices:
                await asyncio.wait(slices)
        finally:
            for task in slices:
                task.cancel()

    async def _apply_due_idle(self, due: Sequence[DueAccount]) -> None:
        """The same for a few; returns when they are applied, checkpointed and gone from memory again."""
        asked = []
        for _, part_id, account_id in due:
            if not self.serving:
                return
            partition = self._partitions.get(part_id)
            if partition is not None and account_id not in partition.residents.hot and account_id not in partition.loading:
                asked.append((partition, account_id, asyncio.ensure_future(ask(self, ApplyDue(account_id)))))
        for partition, account_id, answer in asked:
            await answer
            # Without an entry it was too early, as it is for sweeps after a start: the account's timer sees to it.
            if self._has(partition) and (since := partition.dirty.pop(account_id, None)) is not None:
                partition.passing.add(account_id)
                partition.dirty_timed[account_id] = (since[0], 0)
        for partition, account_id, _ in asked:
            while self.serving and self._has(partition) and account_id in partition.passing:
                self._work.set()
                await asyncio.sleep(_PASSING_LOOK_S)

    async def receive(self, command: ReceiveTransfer) -> Failed | None:
        """Takes a transfer for an account of a partition owned here; returns why it was not taken."""
        answer = await ask(self, command)
        return answer if isinstance(answer, Failed) else None

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_sending(account: Account) -> bool:
    return any(transfer.state == "in_transit" for transfer in account.transfers.values())


async def _let_calls_pass() -> None:
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await asyncio.sleep(_DUE_PAUSE_S)
    late_s = loop.time() - begin_s - _DUE_PAUSE_S
    if late_s > _DUE_LATENESS_S:
        await asyncio.sleep(min(1.0, late_s * _DUE_LATENESS_FACTOR))


class _Nobody:
    def answer(self, tag: int, answer: Answer) -> None:
        pass

    def flush(self) -> None:
        pass


_NOBODY: Final = _Nobody()


class OneAnswer:
    """A caller that waits for a single answer."""

    def __init__(self) -> None:
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answer(self, tag: int, answer: Answer) -> None:
        if not self.future.done():
            self.future.set_result(answer)

    def flush(self) -> None:
        pass


class Submits(Protocol):
    """An owner, or several as one."""

    def submit(self, command: Command, caller: Caller, tag: int) -> None:
        """See `Owner.submit`."""
        ...


async def ask(owner: Submits, command: Command) -> Answer:
    """Submits one command and waits for its answer."""
    caller = OneAnswer()
    owner.submit(command, caller, 0)
    return await caller.future


def view_of(answer: Answer) -> Account:
    """The account of an `AccountView`."""
    assert isinstance(answer, AccountView)
    return answer.account
