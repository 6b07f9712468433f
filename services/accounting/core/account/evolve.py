"""Applies one entry to an account. Replay uses nothing else."""

from typing import Final

from services.accounting.core.account import buckets, runs, sales, sessions, transfers
from services.accounting.core.account.state import Account, Applies, line_of
from services.accounting.core.amounts import worst_case
from services.accounting.core.entries import AccountOpened, Entry


def evolve(account: Account | None, entry: Entry, seq: int, index: int) -> Account:
    """The account after `entry`, which stands at (seq, index) of its partition's journal. Changes `account` in place."""
    if type(entry) is AccountOpened:
        account = Account(entry.account_id, entry.offering_id, entry.time_us)
    else:
        assert account is not None, f"{type(entry).__name__} before AccountOpened"
        _APPLY[type(entry)](account, entry, seq)
    account.seq = seq
    account.index = index
    return account


def upgraded(account: Account) -> Account:
    """The account of a checkpoint, with the fields that older code did not write filled in, and its buckets in today's order."""
    for bucket in account.buckets.values():
        if not bucket.line:
            bucket.line = line_of("", "", bucket.unit)
    if account.buckets.keys() >= set(account.burn_order):
        # Older code let money burn by its priority alone. A damaged order stays for the audit to tell.
        account.burn_order.sort(key=lambda bucket_id: account.buckets[bucket_id].burn_key())
    for session in account.sessions.values():
        if not session.lines:
            line = line_of("", "", session.tariff.unit)
            session.lines = {line: session.tariff}
            session.estimates = {line: worst_case(session.tariff, session.input_bound)}
            session.input_reserved = session.input_bound
    for swept in account.swept.values():
        if not swept.lines:
            swept.lines = {line_of("", "", swept.tariff.unit): swept.tariff}
            swept.charges = dict.fromkeys(swept.lines, swept.charged)
    return account


_APPLY: Final[Applies] = buckets.APPLY | sessions.APPLY | sales.APPLY | transfers.APPLY | runs.APPLY
