"""The store of `tokenline bench charging`, filled before accounting takes it over by a process on the code that will serve it.

Reads what to make as one line of JSON, and prints the time at which its renewals are due.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from services.partitions import partition_of

if TYPE_CHECKING:
    from services.accounting.core.account.state import Account
    from services.accounting.journal.store import Store

PARTITIONS: Final = 16
_ACCOUNT_ID: Final = "acct-0000000000"
_UNIT: Final = 1_000_000
_ACCOUNT_DIGITS: Final = 10
# Subscribers have a range of ids of their own.
_SUBSCRIBERS_FROM: Final = 9_000_000_000
_SEEDED_A_COMMIT: Final = 2_000
_MICROSECONDS: Final = 1_000_000
# Limits that count every operation and never refuse one.
_PLENTY: Final = 1_000_000_000
CATALOG: Final = f"""
offerings:
  - offering_id: bench-full
    display_name: An account under two rates, two windows and a member's cap
    tariff_id: token-flat
    reservation_policy: worst_case
    limits:
      - {{limit_id: requests, per: account, requests_per_minute: {_PLENTY}}}
      - {{limit_id: tokens, per: key, tokens_per_minute: {_PLENTY}}}
      - {{limit_id: five-hours, per: key, usage: 1000000000000, unit: TOKEN, window: {{hours: 5}}}}
      - {{limit_id: day, per: account, usage: 1000000000000, unit: TOKEN, window: {{calendar: day}}}}
      - {{limit_id: cap, per: member, usage: 1000000000000, unit: TOKEN}}
  - offering_id: bench-bare
    display_name: An account with one bucket and no limit
    tariff_id: token-flat
    reservation_policy: worst_case
  - offering_id: bench-monthly
    display_name: 10 million tokens for 30 days, paid from prepaid money
    tariff_id: token-flat
    reservation_policy: worst_case
    price: {{amount: 9.9, currency: CNY}}
    payment_methods: [prepaid]
    cycle: {{period: day, count: 30}}
    allowances:
      - {{allowance_id: main, unit: TOKEN, amount: 10000000, notice_percents: [80, 100]}}
"""


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a new store."""

    # A file, or a PostgreSQL address.
    place: str
    # "sqlite" or "postgresql".
    store: str
    offering_id: str
    accounts: int
    # Buckets an account.
    buckets: int
    # Subscriptions due at once.
    renewals: int


class Seeded(msgspec.Struct, frozen=True):
    """The result of a seed."""

    due_us: int


def account_id(number: int) -> str:
    """The name of the account with this number."""
    return f"acct-{number:0{_ACCOUNT_DIGITS}}"


async def open_store(place: str, store_name: str) -> "Store":
    """Opens accounting's store, "sqlite" or "postgresql". Errors: those of the store."""
    from services.accounting.journal.postgresql import PostgresqlStore
    from services.accounting.journal.sqlite import SqliteStore
    from services.runtime.clock import SystemClock

    return await (PostgresqlStore.open(place, SystemClock()) if store_name == "postgresql" else SqliteStore.open(Path(place)))


async def _seed(what: Seed) -> int:
    """Puts the accounts into the store as checkpoints, as if they had been opened and topped up long ago.

    Returns the time at which the renewals are due.
    """
    from services.accounting.core.account.due import next_due_us
    from services.accounting.journal.codec import encode_checkpoint
    from services.accounting.journal.store import Checkpoint, Claim, PartitionWrite

    store = await open_store(what.place, what.store)
    era = (await store.initialise(PARTITIONS)).era
    await store.claim("seed", era, [Claim(part_id, 0) for part_id in range(PARTITIONS)], again=False)
    now_us = time.time_ns() // 1_000
    waiting: dict[int, list[Checkpoint]] = {part_id: [] for part_id in range(PARTITIONS)}

    async def flush(part_id: int) -> None:
        checkpoints, waiting[part_id] = waiting[part_id], []
        await store.commit([PartitionWrite(part_id, 1, 1, 0, 0, None, 1, checkpoints)])

    async def save(first: int, count: int, template: Any) -> None:
        body, due_us = encode_checkpoint(template), next_due_us(template)
        for number in range(first, first + count):
            named = account_id(number)
            part_id = partition_of(named, PARTITIONS)
            waiting[part_id].append(Checkpoint(named, 0, 0, due_us, body.replace(_ACCOUNT_ID.encode(), named.encode())))
            if len(waiting[part_id]) >= _SEEDED_A_COMMIT:
                await flush(part_id)

    await save(0, what.accounts, _charged_account(what.offering_id, now_us, what.buckets))
    subscriber = _subscriber(now_us)
    await save(_SUBSCRIBERS_FROM, what.renewals, subscriber)
    for part_id in waiting:
        await flush(part_id)
    await store.close()
    due_us = next_due_us(subscriber)
    assert due_us is not None
    return due_us


def _charged_account(offering_id: str, now_us: int, buckets: int) -> "Account":
    from services.accounting.core.account.evolve import evolve
    from services.accounting.core.entries import AccountOpened, BucketGranted

    account = evolve(None, AccountOpened(_ACCOUNT_ID, now_us, offering_id), 0, 0)
    for index in range(buckets):
        granted = BucketGranted(
            account_id=_ACCOUNT_ID,
            time_us=now_us,
            bucket_id=f"bkt-bench-{index}",
            unit="TOKEN",
            amount=1_000_000_000 * _UNIT,
            valid_from_us=now_us,
            valid_until_us=now_us + 365 * 86_400 * _MICROSECONDS,
            priority=index,
            idempotency_key=f"bench-{index}",
            digest=b"",
            repaid=0,
        )
        account = evolve(account, granted, 0, index + 1)
    return account


def _subscriber(now_us: int) -> "Account":
    """An account whose subscription's cycle ends now, with the money for many more."""
    from services.accounting.core.account.evolve import evolve
    from services.accounting.core.commands import GrantBucket, OpenAccount, PlaceOrder
    from services.accounting.core.decide import decide
    from services.accounting.core.terms import Payment
    from services.accounting.rpc.catalog import charging_catalog
    from services.registry.catalog_folder import base_catalog_folder, load_catalog

    began_us = now_us - 30 * 86_400 * _MICROSECONDS
    with tempfile.TemporaryDirectory(prefix="tokenline-bench-") as folder:
        (Path(folder) / "bench.yaml").write_text(CATALOG, encoding="utf-8")
        catalog = charging_catalog(load_catalog([base_catalog_folder(), Path(folder)]), 30 * _MICROSECONDS)
    account = None
    index = 0
    for command in (
        OpenAccount(_ACCOUNT_ID, ""),
        GrantBucket(_ACCOUNT_ID, "CURRENCY:CNY", 1_000 * _UNIT, None, 365 * 86_400 * _MICROSECONDS, 0, "money"),
        PlaceOrder(_ACCOUNT_ID, "bench-monthly", Payment.PREPAID, "subscription"),
    ):
        for entry in decide(account, command, began_us, catalog).entries:
            index += 1
            account = evolve(account, entry, 0, index)
    assert account is not None
    return account


if __name__ == "__main__":
    seeded = Seeded(asyncio.run(_seed(msgspec.json.decode(sys.stdin.readline(), type=Seed))))
    sys.stdout.write(msgspec.json.encode(seeded).decode() + "\n")
