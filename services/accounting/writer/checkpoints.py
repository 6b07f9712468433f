"""Which accounts of a partition have changed since their last checkpoint, and whose next one is due."""

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
        # account_id -> (first seq not in its checkpoint, when that was), oldest first.
        self.dirty: dict[str, tuple[int, int]] = {}
        # The same for accounts whose next checkpoint has a time of its own: those whose last one was large, and idle ones.
        self.timed: dict[str, tuple[int, int]] = {}
        # account_id -> size of its last checkpoint in bytes, where that was large.
        self._large: dict[str, int] = {}

    def __len__(self) -> int:
        """How many accounts the next owner would have to replay."""
        return len(self.dirty) + len(self.timed)

    def note(self, account_id: str, seq: int, time_us: int) -> None:
        """An account that is not in `dirty` is changed by the row `seq`."""
        if account_id in self.timed:
            return
        size = self._large.get(account_id)
        if size is None:
            self.dirty[account_id] = (seq, time_us)
        else:
            # Twice as large, half as often: what a busy account's checkpoints cost does not grow with what it remembers.
            self.timed[account_id] = (seq, time_us + self._age_us * size // _LARGE_BYTES)

    def note_replayed(self, account_id: str, seq: int) -> None:
        """The row `seq` of the journal's tail changed an account; its checkpoint is overdue."""
        self.dirty.setdefault(account_id, (seq, 0))

    def hurry(self, account_id: str) -> bool:
        """Has the account's checkpoint made with the next commit; whether it changed at all."""
        since = self.dirty.pop(account_id, None)
        if since is not None:
            self.timed[account_id] = (since[0], 0)
        return since is not None

    def low_water(self, next_seq: int) -> int:
        """The first row that is not in all checkpoints; `next_seq` when all are."""
        oldest = next(iter(self.dirty.values()), (next_seq, 0))
        return min([oldest[0], *(seq for seq, _ in self.timed.values())])

    def are_overdue(self, now_us: int, *, at_once: bool) -> bool:
        """Whether an account's checkpoint is due. Asked for every commit, and nearly always answered with no."""
        for _, since_us in self.dirty.values():
            if at_once or now_us - since_us >= self._age_us:
                return True
            break
        return bool(self.timed) and (at_once or any(now_us >= due_us for _, due_us in self.timed.values()))

    def overdue(self, now_us: int, *, at_once: bool) -> Iterator[str]:
        """The accounts whose checkpoint is due, those that have been dirty for longest first; `at_once`: all of them."""
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
        """The state of accounts whose checkpoint is due, as of the row that is just being made."""
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
