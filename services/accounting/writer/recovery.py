"""Replays a claimed partition's tail into memory."""

from typing import Final

from services.accounting.core.account.evolve import evolve
from services.accounting.core.account.state import Account
from services.accounting.journal.codec import JournalError, decode_checkpoint, decode_row
from services.accounting.journal.store import Store
from services.accounting.writer.partition import Partition

_ROWS_A_READ: Final = 1_000


async def replay(store: Store, partition: Partition) -> None:
    """Brings the accounts of the journal's tail into memory: their checkpoints, then later entries.

    Errors: those of the store; `JournalError` for a row that is missing or can't be read.
    """
    accounts: dict[str, Account] = {}
    after_seq = partition.low_water - 1
    while after_seq < partition.next_seq - 1:
        rows = await store.read_rows(partition.part_id, after_seq, _ROWS_A_READ)
        if not rows:
            raise JournalError(f"journal row {partition.part_id}/{after_seq + 1} is missing")
        decoded = [(row.seq, decode_row(row.body, f"journal row {row.part_id}/{row.seq}")) for row in rows]
        unknown = {entry.account_id for _, entries in decoded for entry in entries} - accounts.keys()
        checkpoints = await store.load_checkpoints(partition.part_id, unknown)
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
                    partition.note_replayed(entry.account_id, seq)
    for account in accounts.values():
        partition.enter(account)
