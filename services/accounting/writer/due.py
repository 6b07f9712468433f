"""Applies what falls due: on accounts in use, which have timers, and on all others, whose checkpoints name the time."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from services.accounting.core.commands import ApplyDue
from services.accounting.journal.store import DueAccount, Store
from services.accounting.writer.answers import Answers
from services.accounting.writer.asking import Submits, ask
from services.accounting.writer.holdings import Holdings
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError

logger = logging.getLogger(__name__)

_TICK_S: Final = 0.5
# Due work goes in slices of accounts with a pause after each: at most 3,200 accounts a second. A pause that the event loop ended
# late shows that calls are waiting. Then this many times as long is added, because calls go first.
_ACCOUNTS_A_SLICE: Final = 32
_PAUSE_S: Final = 0.01
_LATENESS_S: Final = 0.001
_LATENESS_FACTOR: Final = 16
# At most this many slices of stored accounts at once, or a slow owner would load more and more of them.
_SLICES_AT_ONCE: Final = 16
_ACCOUNTS_A_READ: Final = 512
_PASSING_LOOK_S: Final = 0.002


class Serves(Submits, Protocol):
    """The owner, as far as due work needs it."""

    @property
    def serving(self) -> bool:
        """See `Owner.serving`."""
        ...

    @property
    def part_ids(self) -> frozenset[int]:
        """See `Owner.part_ids`."""
        ...

    @property
    def extended(self) -> bool:
        """See `Owner.extended`."""
        ...


class DueWork:
    """Runs the due work of the module for an owner."""

    def __init__(self, owner: Serves, store: Store, clock: Clock, holdings: Holdings, answers: Answers) -> None:
        self._owner = owner
        self._store = store
        self._clock = clock
        self._holdings = holdings
        self._work = answers.work

    async def run(self) -> None:
        """Applies what is due, for ever."""
        while True:
            await asyncio.sleep(_TICK_S)
            await self._apply_in_use()
            if self._owner.serving:
                try:
                    await self._apply_stored()
                except ServiceError as error:
                    logger.error("cannot look for what is due: %s", error.message)
            self._work.set()

    async def _apply_in_use(self) -> None:
        """Applies what is due on accounts that are objects in memory."""
        applied = 0
        for partition in list(self._holdings.partitions.values()):
            while partition.apply_next_due(self._clock.now_us(), extended=self._owner.extended):
                self._work.set()
                applied += 1
                if applied % _ACCOUNTS_A_SLICE == 0:
                    await _let_calls_pass()
                    if not self._holdings.has(partition):
                        break

    async def _apply_stored(self) -> None:
        """Applies what is due on accounts that are not in use, and releases them from memory."""
        until_us = self._clock.now_us()
        after: DueAccount | None = None
        slices: set[asyncio.Task[None]] = set()
        try:
            while self._owner.serving:
                found = await self._store.due_accounts(sorted(self._owner.part_ids), until_us, after, _ACCOUNTS_A_READ)
                for first in range(0, len(found), _ACCOUNTS_A_SLICE):
                    if len(slices) >= _SLICES_AT_ONCE:
                        await asyncio.wait(slices, return_when=asyncio.FIRST_COMPLETED)
                    task = asyncio.create_task(self._apply_idle(found[first : first + _ACCOUNTS_A_SLICE]))
                    slices.add(task)
                    task.add_done_callback(slices.discard)
                    await _let_calls_pass()
                if len(found) < _ACCOUNTS_A_READ:
                    break
                # Go on after the last one: accounts in use have timers, but the store lists them until their next checkpoints.
                after = found[-1]
            if slices:
                await asyncio.wait(slices)
        finally:
            for task in slices:
                task.cancel()

    async def _apply_idle(self, due: Sequence[DueAccount]) -> None:
        """Applies what is due on a slice of accounts; returns when they are checkpointed and gone from memory again."""
        asked = []
        for _, part_id, account_id in due:
            if not self._owner.serving:
                return
            partition = self._holdings.partitions.get(part_id)
            if partition is not None and not partition.is_used(account_id):
                asked.append((partition, account_id, asyncio.ensure_future(ask(self._owner, ApplyDue(account_id)))))
        for partition, account_id, answer in asked:
            await answer
            if self._holdings.has(partition):
                partition.pass_on(account_id)
        for partition, account_id, _ in asked:
            while self._owner.serving and self._holdings.has(partition) and partition.is_passing(account_id):
                self._work.set()
                await asyncio.sleep(_PASSING_LOOK_S)


async def _let_calls_pass() -> None:
    loop = asyncio.get_running_loop()
    begin_s = loop.time()
    await asyncio.sleep(_PAUSE_S)
    late_s = loop.time() - begin_s - _PAUSE_S
    if late_s > _LATENESS_S:
        await asyncio.sleep(min(1.0, late_s * _LATENESS_FACTOR))
