"""Holds a partition's accounts in memory, as objects or packed.

Accounts in use are objects. Above a number of them, those unused for longest are packed: a compressed checkpoint of some hundred
bytes. Above a size of all packed ones, the oldest leave memory. An account may be packed only when the store has its state.
"""

import zlib
from collections import OrderedDict
from collections.abc import Container

from services.accounting.core.account.state import Account
from services.accounting.journal.codec import decode_checkpoint, encode_checkpoint


class Residents:
    """Accounts of one partition that are in memory."""

    def __init__(self, hot_max: int, packed_bytes_max: int) -> None:
        # By account_id, the one unused for longest first.
        self.hot: OrderedDict[str, Account] = OrderedDict()
        self._hot_max = hot_max
        # The one packed first comes first.
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._packed_bytes = 0
        self._packed_bytes_max = packed_bytes_max

    def use(self, account_id: str) -> Account | None:
        """The account, if it is an object; it becomes the one used last."""
        account = self.hot.get(account_id)
        if account is not None:
            self.hot.move_to_end(account_id)
        return account

    def unpack(self, account_id: str) -> Account | None:
        """The account, if it is packed; the caller adds it again, or it leaves memory."""
        body = self._packed.pop(account_id, None)
        if body is None:
            return None
        self._packed_bytes -= len(body)
        return decode_checkpoint(zlib.decompress(body), f"the packed account {account_id}")

    def add(self, account: Account) -> None:
        """Takes in an account, as the one used last."""
        self.hot[account.account_id] = account

    def shrink(self, *busy: Container[str]) -> list[str]:
        """Packs accounts above the bounds; returns the account_ids that are packed or gone. An account in `busy` stays."""
        too_many = len(self.hot) - self._hot_max
        packed: list[str] = []
        # Accounts that must stay go to the end of the queue. Looking at twice the excess is enough for one time.
        for _ in range(min(2 * too_many, len(self.hot))):
            if len(packed) == too_many:
                break
            account_id, account = next(iter(self.hot.items()))
            if any(account_id in each for each in busy):
                self.hot.move_to_end(account_id)
                continue
            del self.hot[account_id]
            body = self._packed[account_id] = zlib.compress(encode_checkpoint(account), 1)
            self._packed_bytes += len(body)
            packed.append(account_id)
        while self._packed_bytes > self._packed_bytes_max:
            _, body = self._packed.popitem(last=False)
            self._packed_bytes -= len(body)
        return packed

    def forget(self, account_id: str) -> None:
        """Drops an account whose state the store has."""
        self.hot.pop(account_id, None)
