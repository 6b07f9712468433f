"""Loads accounts into memory that commands wait for."""

import logging
from collections.abc import Callable

from services.accounting.core.account.state import Account
from services.accounting.core.commands import Failed, Fault
from services.accounting.journal.codec import JournalError, decode_checkpoint
from services.accounting.journal.store import Store
from services.accounting.writer.answers import refuse
from services.accounting.writer.asking import Pending
from services.accounting.writer.holdings import Holdings
from services.accounting.writer.partition import Partition
from services.runtime.errors import ServiceError

logger = logging.getLogger(__name__)


class Loader:
    """Loads accounts from their checkpoints."""

    def __init__(
        self,
        store: Store,
        holdings: Holdings,
        enter: Callable[[Partition, Account], None],
        accept: Callable[[Partition, Pending], None],
    ) -> None:
        """`enter` takes an account into memory, `accept` decides the commands that waited for it."""
        self._store = store
        self._holdings = holdings
        self._enter = enter
        self._accept = accept

    async def load(self, partition: Partition) -> None:
        """Loads every account of the partition that commands wait for, in batches, until none waits."""
        while wanted := partition.wanted():
            try:
                checkpoints = await self._store.load_checkpoints(partition.part_id, wanted)
            except ServiceError as error:
                for account_id in wanted:
                    _refuse_unloadable(partition.end_load(account_id), error)
                continue
            # If the partition was recovered meanwhile, all who waited here are answered.
            for account_id in wanted if self._holdings.has(partition) else ():
                waiting = partition.end_load(account_id)
                if account_id in checkpoints:
                    try:
                        account = decode_checkpoint(checkpoints[account_id].body, f"the checkpoint of {account_id}")
                    except JournalError as error:
                        _refuse_unloadable(waiting, error)
                        continue
                    self._enter(partition, account)
                for pending in waiting:
                    self._accept(partition, pending)


def _refuse_unloadable(pending: list[Pending], error: Exception) -> None:
    logger.error("cannot load an account: %s", error)
    refuse(pending, Failed(Fault.STORE_UNAVAILABLE, f"the account cannot be loaded: {error}"))
