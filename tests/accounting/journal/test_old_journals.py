"""What older releases wrote is read by this one, and goes on."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from services.accounting.core.commands import Answer, Command, ReadAccount, Settled
from services.accounting.journal.audit import audit
from services.accounting.journal.codec import decode_row
from services.accounting.journal.sqlite import SqliteStore
from services.accounting.rpc.journal import journal_entry_message
from services.accounting.writer.asking import ask, view_of
from services.accounting.writer.owner import Owner, OwnerSettings
from tests.accounting.ledger import CATALOG, UNIT, release_command, usage

# Two accounts of the release before offerings, limits and several tariffs: grants, sessions, a sweep, debt and its repayment;
# stopped with checkpoints, begun again, killed with a session open.
FIRST_RELEASE = Path(__file__).parents[1] / "data" / "first_release.sqlite3"
RICH, POOR = "acct-00000001", "acct-00000002"
SWEPT, CLOSED, OPEN = (
    "018bcfe5-680d-7cae-9f2f-323889419760",
    "018bcfe8-2730-71f9-bb98-4a358945fa0b",
    "018bcfe8-2735-77d9-804a-e04193f58639",
)
KILLED_US = 1_700_000_180_025_000


class StoppedClock:
    """Stands at the time of the kill."""

    def now_us(self) -> int:
        return KILLED_US


class Reopened:
    """The older file, served by this code."""

    def __init__(self, store: SqliteStore, owner: Owner) -> None:
        self.store = store
        self.owner = owner

    async def ask(self, account_id: str, command: Command) -> Answer:
        return await ask(self.owner, msgspec.structs.replace(command, account_id=account_id))

    async def buckets(self, account_id: str) -> list[tuple[int, ...]]:
        """(granted, remaining, reserved, consumed) of each, in whole units."""
        account = view_of(await self.ask(account_id, ReadAccount(account_id)))
        return [
            tuple(amount // UNIT for amount in (each.granted, each.remaining, each.reserved, each.consumed))
            for each in account.buckets.values()
        ]


@pytest.fixture
async def reopened(tmp_path: Path) -> AsyncIterator[Reopened]:
    shutil.copy(FIRST_RELEASE, tmp_path / "accounting.sqlite3")
    store = await SqliteStore.open(tmp_path / "accounting.sqlite3")
    owner = Owner(
        store,
        StoppedClock(),
        OwnerSettings(
            incarnation="own-now",
            partitions=2,
            held_wait_ms=0,
            checkpoint_age_ms=100,
            hot_accounts_max=1_000,
            packed_bytes_max=1_000_000,
        ),
    )
    owner.set_catalog(CATALOG)
    await owner.start()
    await owner.take_all()
    running = asyncio.create_task(owner.run())
    yield Reopened(store, owner)
    await owner.stop()
    running.cancel()
    await asyncio.wait([running])
    await store.close()


async def test_balances_are_what_the_older_release_said(reopened: Reopened) -> None:
    assert await reopened.buckets(RICH) == [(1_000, 747, 220, 33), (5, 0, 0, 5)]
    assert await reopened.buckets(POOR) == [(10, 0, 0, 10), (100, 84, 0, 16)]
    debt = view_of(await reopened.ask(POOR, ReadAccount(POOR))).debts["TOKEN"]
    assert (debt.incurred, debt.repaid, debt.outstanding) == (14 * UNIT, 14 * UNIT, 0)
    findings = await reopened.store.snapshot(audit)
    assert (findings.breaches, findings.accounts, findings.open_sessions) == ([], 2, 1)


async def test_its_sessions_go_on(reopened: Reopened) -> None:
    # A repeat of what was closed is answered, what was swept is charged the rest, what is open is settled.
    repeat = release_command(CLOSED, 2, usage(input=7, output=1))
    assert await reopened.ask(RICH, repeat) == Settled("TOKEN", 8 * UNIT, 0)
    assert await reopened.ask(RICH, release_command(SWEPT, 3, usage(input=3, output=9))) == Settled("TOKEN", 7 * UNIT, 0)
    assert await reopened.ask(RICH, release_command(OPEN, 3, usage(input=20, output=60))) == Settled("TOKEN", 80 * UNIT, 0)
    assert await reopened.buckets(RICH) == [(1_000, 880, 0, 120), (5, 0, 0, 5)]
    findings = await reopened.store.snapshot(audit)
    assert (findings.breaches, findings.open_sessions) == ([], 0)


async def test_its_entries_are_shown(reopened: Reopened) -> None:
    shown = [
        journal_entry_message(row.part_id, row.seq, index, entry).WhichOneof("fact")
        for row in await reopened.store.read_rows(0, 0, 1_000)
        for index, entry in enumerate(decode_row(row.body, "it"))
    ]
    assert shown.count("account_opened") == 2
    assert {"bucket_granted", "debt_repaid", "session_created", "session_updated", "session_settled"} <= set(shown)
