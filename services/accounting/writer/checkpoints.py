"""Tracks the accounts of a partition that changed since their last checkpoint, and those whose next one is due."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from services.accounting.core.account.due import next_due_us
from services.accounting.core.account.state import Account
from services.accounting.journal.codec import encode_checkpoint
from services.accounting.journal.store import Checkpoint

# A checkpoint above this size is made less often, in proportion.
_LARGE_BYTES: Final = 64 * 1024


class Checkpoints:
    """The changed accounts of one partition."""

    def __init__(self, age_us: int) -> None:
        """A changed account is checkpointed once its oldest change is `age_us` old."""
        self._age_us = age_us
        # account_id -> (first seq not in its checkpoint, time of that row), oldest first.
        self.dirty: dict[str, tuple[int, int]] = {}
        # Accounts whose next checkpoint has a time of its own, as above: those whose last one was large, and idle ones.
        self.timed: dict[str, tuple[int, int]] = {}
        # account_id -> size of its last checkpoint in bytes, where that was large.
        self._large: dict[str, int] = {}

    def __len__(self) -> int:
        """The number of accounts that the next owner would have to replay."""
        return len(self.dirty) + len(self.timed)

    def note(self, account_id: str, seq: int, time_us: int) -> None:
        """Notes that the row `seq` changes an account that is not in `dirty`."""
        if account_id in self.timed:
            return
        size = self._large.get(account_id)
        if size is None:
            self.dirty[account_id] = (seq, time_us)
        else:
            # Twice as large, half as often, so that the cost of a busy account's checkpoints does not grow with its memory.
            self.timed[account_id] = (seq, time_us + self._age_us * size // _LARGE_BYTES)

    def note_replayed(self, account_id: str, seq: int) -> None:
        """Notes that the row `seq` of the journal's tail changed an account; its checkpoint is overdue."""
        self.dirty.setdefault(account_id, (seq, 0))

    def hurry(self, account_id: str) -> bool:
        """Puts the account's checkpoint into the next commit; whether the account changed at all."""
        since = self.dirty.pop(account_id, None)
        if since is not None:
            self.timed[account_id] = (since[0], 0)
        return since is not None

    def low_water(self, next_seq: int) -> int:
        """The first row that is not in all checkpoints; `next_seq` when all rows are."""
        oldest = next(iter(self.dirty.values()), (next_seq, 0))
        return min([oldest[0], *(seq for seq, _ in self.timed.values())])

    def are_overdue(self, now_us: int, *, at_once: bool) -> bool:
        """Whether an account's checkpoint is due. Cheap, because every commit asks and nearly all answers are no."""
        for _, since_us in self.dirty.values():
            if at_once or now_us - since_us >= self._age_us:
                return True
            break
        return bool(self.timed) and (at_once or any(now_us >= due_us for _, due_us in self.timed.values()))

    def overdue(self, now_us: int, *, at_once: bool) -> Iterator[str]:
        """Accounts whose checkpoint is due, the longest dirty first; `at_once`: all dirty accounts."""
        for account_id, (_, since_us) in self.dirty.items():
            if now_us - since_us < self._age_us and not at_once:
                break
            yield account_id
        for account_id, (_, due_us) in self.timed.items():
            if now_us >= due_us or at_once:
                yield account_id

    def collect(
        self, accounts: Mapping[str, Account], now_us: int, limit: int, bytes_max: int, *, at_once: bool
    ) -> list[Checkpoint]:
        """Checkpoints of the accounts whose turn it is, as of the row that is being made."""
        checkpoints: list[Checkpoint] = []
        if bytes_max <= 0 or not self.are_overdue(now_us, at_once=at_once):
            return checkpoints
        for account_id in islice(self.overdue(now_us, at_once=at_once), limit):
            account = accounts[account_id]
            body = encode_checkpoint(account)
            checkpoints.append(Checkpoint(account_id, account.seq, account.index, next_due_us(account), body))
            bytes_max -= len(body)
            if bytes_max <= 0:
                break
        for checkpoint in checkpoints:
            self.dirty.pop(checkpoint.account_id, None)
            self.timed.pop(checkpoint.account_id, None)
            if len(checkpoint.body) > _LARGE_BYTES:
                self._large[checkpoint.account_id] = len(checkpoint.body)
            else:
                self._large.pop(checkpoint.account_id, None)
        return checkpoints
