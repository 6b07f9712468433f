"""Transfers between accounts: a sent amount arrives, or comes back."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

from services.accounting.core.account.state import Account
from services.accounting.core.commands import AccountView, EndTransfer, Failed, Fault, ReadAccount, ReceiveTransfer
from services.accounting.core.transfers import arriving_bucket
from services.accounting.writer.asking import Submits, ask
from services.accounting.writer.holdings import Holdings
from services.accounting.writer.partition import Partition

_BACKOFF_S: Final = 0.1
_BACKOFF_S_MAX: Final = 5.0
# Faults for which a receiver refuses a transfer for good; after any other it is tried again.
_REFUSALS: Final = frozenset(
    {Fault.ACCOUNT_UNKNOWN, Fault.NOT_POSSIBLE, Fault.AMOUNT_OVERFLOW, Fault.IDEMPOTENCY_CONFLICT, Fault.INVALID_ARGUMENT}
)

# Carries a transfer to the owner of the receiver's partition; returns its refusal, if it was not taken.
Deliver = Callable[[ReceiveTransfer], Awaitable[Failed | None]]


class Transfers:
    """Delivers transfers that accounts of the partitions here have sent."""

    def __init__(
        self, owner: Submits, holdings: Holdings, deliver: Deliver, spawn: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._owner = owner
        self._holdings = holdings
        self._deliver = deliver
        self._spawn = spawn
        self._closing = False

    def close(self) -> None:
        """Tries no transfer again, because the next owner does."""
        self._closing = True

    def begin(self, partition: Partition, account_id: str) -> None:
        """Delivers an account's transfers, again and again, until each has arrived or come back."""
        if partition.begin_sending(account_id):
            self._spawn(self._send_until_known(partition, account_id))

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Resumes transfers once all partitions that were taken together are served: before, nobody is asked."""
        for partition in partitions:
            for account in partition.accounts():
                self.resume_of(partition, account)

    def resume_of(self, partition: Partition, account: Account) -> None:
        """Resumes an account's transfers."""
        if any(transfer.state == "in_transit" for transfer in account.transfers.values()):
            self.begin(partition, account.account_id)

    async def _send_until_known(self, partition: Partition, account_id: str) -> None:
        backoff_s = _BACKOFF_S
        while self._holdings.has(partition) and not self._closing:
            # Only a committed transfer may arrive: an answer about the sender comes after the commit that has its half.
            view = await ask(self._owner, ReadAccount(account_id))
            if isinstance(view, AccountView):
                sent = [each.transfer_id for each in view.account.transfers.values() if each.state == "in_transit"]
                if not sent:
                    partition.end_sending(account_id)
                    return
                for transfer_id in sent:
                    failed = await self._deliver(arriving_bucket(view.account, transfer_id))
                    if failed is None:
                        await ask(self._owner, EndTransfer(account_id, transfer_id, ""))
                    elif failed.fault in _REFUSALS:
                        await ask(self._owner, EndTransfer(account_id, transfer_id, failed.message))
                    else:
                        break
                else:
                    backoff_s = _BACKOFF_S
                    continue
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _BACKOFF_S_MAX)
