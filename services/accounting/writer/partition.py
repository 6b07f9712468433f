"""One partition in memory: its accounts, and its decisions that are not committed yet."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from services.accounting.core.account.due import next_due_us
from services.accounting.core.account.evolve import evolve
from services.accounting.core.account.state import Account
from services.accounting.core.commands import Answer, ApplyDue, Command, Failed, Fault
from services.accounting.core.decide import decide
from services.accounting.core.due import due_entries
from services.accounting.core.entries import Actor, Entry, SessionSettled
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.journal.codec import encode_row
from services.accounting.journal.store import Checkpoint, ClaimedPartition, PartitionWrite
from services.accounting.writer.asking import Pending
from services.accounting.writer.checkpoints import Checkpoints
from services.accounting.writer.metrics import Metrics
from services.accounting.writer.residents import Residents
from services.accounting.writer.timers import Timers
from services.accounting.writer.waiting import Waiting
from services.accounting.writer.weights import Exposure

logger = logging.getLogger(__name__)


class PartitionSettings(NamedTuple):
    """Settings that all partitions of an owner share."""

    held_wait_s: float
    checkpoint_age_us: int
    hot_max: int
    packed_bytes_max: int
    # Whether accounts that changed are noted for their exposure, because somebody weighs them.
    weighs: bool = False


class Partition:
    """Runs the rules on its accounts; it may run ahead of the database by what `pending` holds."""

    def __init__(
        self,
        claimed: ClaimedPartition,
        serving_since_us: int,
        settings: PartitionSettings,
        metrics: Metrics,
        decide: "Callable[[Partition, Command], Answer]",
        answer: "Callable[[Partition, Pending, Answer], None]",
    ) -> None:
        """`decide` and `answer` serve commands that waited, see `Waiting`."""
        self.part_id = claimed.part_id
        self.low_water = claimed.low_water
        # The number of the row that `pending` will become.
        self.next_seq = claimed.next_seq
        self._epoch = claimed.epoch
        self._last_time_us = claimed.last_time_us
        self._serving_since_us = serving_since_us
        self._metrics = metrics
        self.residents = Residents(settings.hot_max, settings.packed_bytes_max)
        self.checkpoints = Checkpoints(settings.checkpoint_age_us)
        self.timers = Timers()
        # Commands whose accounts are not in memory, by account.
        self._loading: dict[str, list[Pending]] = {}
        self.waiting = Waiting(
            settings.held_wait_s, lambda command: decide(self, command), lambda pending, given: answer(self, pending, given)
        )
        # Set while it is given away: first checkpointed, then closed to commands.
        self.leaving = False
        self.closed = False
        # Set while a commit with something of it is under way.
        self.committing = False
        self.pending: list[Entry] = []
        # Actors of the commands that made entries, by index of `pending`.
        self._actors: dict[int, Actor] = {}
        # Accounts that nobody used, in memory for due work; they leave memory once they are checkpointed.
        self._passing: set[str] = set()
        self.exposure = Exposure()
        self._touched = self.exposure.touched if settings.weighs else None
        # Accounts whose transfers are being delivered.
        self._sending: set[str] = set()

    @property
    def last_time_us(self) -> int:
        """The latest time of a decision."""
        return self._last_time_us

    def time_us(self, clock_us: int) -> int:
        """The partition's time, which never goes backwards."""
        return max(clock_us, self._last_time_us)

    # Deciding

    def decide(self, command: Command, clock_us: int, catalog: ChargingCatalog, actor: Actor | None = None) -> Answer:
        """Applies what is due, then the command, given by `actor`; the answer must not leave before the next commit."""
        now_us = self._last_time_us = max(clock_us, self._last_time_us)
        account = self.residents.hot.get(command.account_id)
        used = type(command) is not ApplyDue
        if account is not None:
            self._apply_due(account, now_us, used=used, extended=catalog.extended)
        try:
            entries, answer = decide(account, command, now_us, catalog)
        except Exception:
            # Nothing was changed, because decide only reads: one command must not harm the others.
            logger.exception("deciding a %s of account %s failed", type(command).__name__, command.account_id)
            return Failed(Fault.INTERNAL, "deciding failed; the log says why")
        if actor is not None:
            self._actors.update(dict.fromkeys(range(len(self.pending), len(self.pending) + len(entries)), actor))
        for entry in entries:
            account = self._append(account, entry)
        if entries and account is not None:
            # New money may pay a renewal that waits for it.
            self._apply_due(account, now_us, used=used, extended=catalog.extended)
        return answer

    def _apply_due(self, account: Account, now_us: int, *, used: bool, extended: bool) -> bool:
        """Applies what is due on the account; whether anything was."""
        if (account.next_due_us is None or account.next_due_us > now_us) and (
            account.unused_until_us is None or account.unused_until_us > now_us
        ):
            return False
        applied = False
        for entry in due_entries(account, now_us, self._serving_since_us, used=used, extended=extended):
            self._append(account, entry)
            applied = True
        self.timers.add(account)
        return applied

    def _append(self, account: Account | None, entry: Entry) -> Account:
        due_us = account.next_due_us if account is not None else None
        pending = self.pending
        if account is None:
            account = evolve(None, entry, self.next_seq, len(pending))
            self.residents.add(account)
        else:
            evolve(account, entry, self.next_seq, len(pending))
        pending.append(entry)
        account_id = account.account_id
        if account_id not in self.checkpoints.dirty:
            self.checkpoints.note(account_id, self.next_seq, self._last_time_us)
        if account.next_due_us != due_us:
            self.timers.add(account)
        if self._touched is not None:
            self._touched.add(account_id)
        if type(entry) is SessionSettled:
            if entry.charged:
                self._metrics.burning.add(account_id, entry.tariff.unit, entry.charged, self._last_time_us)
            if entry.absorbed or entry.paid_worth or entry.unpaid_worth:
                self._metrics.count_losses(entry)
        return account

    def apply_next_due(self, clock_us: int, *, extended: bool) -> bool:
        """Applies what is due on the next account in memory that has something; False when there is none."""
        now_us = self.time_us(clock_us)
        while (account_id := self.timers.pop(now_us)) is not None:
            account = self.residents.hot[account_id]
            if account.next_due_us is None or account.next_due_us > now_us:
                self.timers.add(account)
                continue
            self._last_time_us = now_us
            if self._apply_due(account, now_us, used=False, extended=extended):
                self.waiting.retry(account_id)
            return True
        return False

    # Accounts in memory

    def resident(self, account_id: str) -> Account | None:
        """The account, if it is in memory; None: it must be loaded."""
        account = self.residents.use(account_id)
        if account is None and (account := self.residents.unpack(account_id)) is not None:
            # No transfer is under way on it, because such an account is not packed.
            self.enter(account)
        return account

    def enter(self, account: Account) -> None:
        """Takes in an account from the store."""
        account.next_due_us = next_due_us(account)
        if self._touched is not None:
            self._touched.add(account.account_id)
        self.residents.add(account)
        self.timers.add(account)

    def is_used(self, account_id: str) -> bool:
        """Whether the account is an object in memory, or becomes one."""
        return account_id in self.residents.hot or account_id in self._loading

    def accounts(self) -> list[Account]:
        """The accounts that are objects in memory."""
        return list(self.residents.hot.values())

    def await_load(self, pending: Pending) -> bool:
        """Keeps a command until its account is in memory; True when the caller must begin to load."""
        account_id = pending.command.account_id
        if account_id in self._loading:
            self._loading[account_id].append(pending)
            return False
        self._loading[account_id] = [pending]
        return len(self._loading) == 1

    def wanted(self) -> list[str]:
        """The accounts that commands wait for."""
        return list(self._loading)

    def end_load(self, account_id: str) -> list[Pending]:
        """Takes the commands that waited for an account, which is in memory now, or cannot be."""
        return self._loading.pop(account_id, [])

    def note_replayed(self, account_id: str, seq: int) -> None:
        """See `Checkpoints.note_replayed`."""
        self.checkpoints.note_replayed(account_id, seq)

    @property
    def dirty_count(self) -> int:
        """The number of accounts that the next owner would have to replay."""
        return len(self.checkpoints)

    def pass_on(self, account_id: str) -> None:
        """Lets an account that nobody used leave memory with its next checkpoint, if it was changed."""
        # Without an entry it was too early, as for sweeps after a start; the account's timer comes back to it.
        if self.checkpoints.hurry(account_id):
            self._passing.add(account_id)

    def is_passing(self, account_id: str) -> bool:
        """Whether an account is to leave memory, and is still there."""
        return account_id in self._passing

    def shrink(self) -> None:
        """Packs accounts above the bound. Call it only between two commits, when the store has all that is not dirty."""
        dirty, timed = self.checkpoints.dirty, self.checkpoints.timed
        waiting, sending = self.waiting.queues, self._sending
        for account_id in [each for each in self._passing if each not in dirty and each not in timed]:
            self._passing.discard(account_id)
            if account_id not in waiting and account_id not in sending:
                self._weigh_one(account_id)
                self.residents.forget(account_id)
                self.timers.drop(account_id)
        for account_id in self.residents.shrink(dirty, timed, waiting, sending, self.exposure.touched):
            self.timers.drop(account_id)

    def weigh(self, limit: int) -> bool:
        """Weighs at most `limit` accounts that changed; whether there are more."""
        touched = self.exposure.touched
        for _ in range(min(limit, len(touched))):
            self._weigh_one(next(iter(touched)))
        return bool(touched)

    def _weigh_one(self, account_id: str) -> None:
        if account_id in self.exposure.touched:
            self.exposure.touched.discard(account_id)
            self.exposure.take(self.residents.hot[account_id])

    def begin_sending(self, account_id: str) -> bool:
        """Keeps an account in memory while its transfers are delivered; False when they are already under way."""
        if account_id in self._sending:
            return False
        self._sending.add(account_id)
        return True

    def end_sending(self, account_id: str) -> None:
        """Notes that the outcome of all the account's transfers is known."""
        self._sending.discard(account_id)

    # Committing

    def has_overdue(self, now_us: int, *, at_once: bool) -> bool:
        """Whether an account's checkpoint is due."""
        return self.checkpoints.are_overdue(now_us, at_once=at_once or self.leaving)

    def due_checkpoints(self, now_us: int, limit: int, bytes_max: int, *, at_once: bool) -> list[Checkpoint]:
        """See `Checkpoints.collect`."""
        return self.checkpoints.collect(self.residents.hot, now_us, limit, bytes_max, at_once=at_once or self.leaving)

    def begin_commit(self, checkpoints: list[Checkpoint]) -> PartitionWrite:
        """The pending entries as the next row. Errors: `OverflowError`, `MsgspecError` for entries that no store can take."""
        entries, self.pending = self.pending, []
        actors, self._actors = self._actors, {}
        self.committing = True
        body = encode_row(entries, actors) if entries else None
        expected_seq = self.next_seq
        if body is not None:
            self.next_seq += 1
        self.low_water = self.checkpoints.low_water(self.next_seq)
        return PartitionWrite(
            part_id=self.part_id,
            epoch=self._epoch,
            expected_seq=expected_seq,
            time_us=self._last_time_us,
            entry_count=len(entries),
            body=body,
            low_water=self.low_water,
            checkpoints=checkpoints,
        )

    def end_commit(self) -> None:
        """Notes that the commit is done."""
        self.committing = False

    # Leaving

    def leave(self) -> None:
        """Begins to give it away: its accounts are checkpointed at once."""
        self.leaving = True

    def close(self) -> None:
        """Takes no more commands; Creates that wait for held balance are answered now."""
        self.closed = True
        self.waiting.give_up()

    @property
    def undone(self) -> bool:
        """Whether a command waits here, apart from answers that are not committed."""
        return self.committing or bool(self.pending or self._loading or self.waiting.queues)

    def clear(self) -> list[Pending]:
        """Drops its memory; returns the commands that wait here."""
        pending = self.waiting.clear() + [each for queue in self._loading.values() for each in queue]
        self._loading.clear()
        return pending
