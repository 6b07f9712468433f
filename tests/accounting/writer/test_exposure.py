"""Money at risk: what is held, owed and used on credit, in memory and on disk."""

import asyncio

from services.accounting.core.commands import Settled
from tests.accounting.ledger import ACCOUNT_ID, UNIT, event_command, usage
from tests.accounting.owners import Desk, in_virtual_time, released

ACCOUNTS = [f"acct-{number:08}" for number in range(40)]


async def risk(desk: Desk) -> dict[tuple[str, str], int]:
    """The sums that are not 0, once what changed was weighed."""
    await desk.owner.weighing.weigh()
    return {key: amount for key, amount in desk.owner.weighing.sums.items() if amount}


@in_virtual_time
async def test_a_hold_is_at_risk_until_it_is_released_and_debt_until_it_is_repaid(desk: Desk) -> None:
    await desk.start(weighs=True)
    await desk.open(100)
    assert await risk(desk) == {}
    create = desk.create(30)
    await desk.ask(create)
    assert await risk(desk) == {("held", "TOKEN"): 30 * UNIT, ("sessions", ""): 1}
    await desk.ask(released(create.charging_id, 2, 10))
    assert await risk(desk) == {}
    # An event is charged whatever the balance is.
    assert isinstance(await desk.ask(event_command(desk.create(0).charging_id, usage(input=120))), Settled)
    assert await risk(desk) == {("debt", "TOKEN"): 30 * UNIT, ("debtors", ""): 1}
    await desk.grant(20, key="second")
    assert await risk(desk) == {("debt", "TOKEN"): 10 * UNIT, ("debtors", ""): 1}
    await desk.grant(20, key="third")
    assert await risk(desk) == {}


@in_virtual_time
async def test_accounts_that_leave_memory_stay_in_the_sums(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=100, hot_accounts_max=1, packed_bytes_max=0, weighs=True)
    for account_id in ACCOUNTS:
        await desk.open(100, account_id=account_id)
        await desk.ask(desk.create(30, account_id=account_id))
    expected = {("held", "TOKEN"): len(ACCOUNTS) * 30 * UNIT, ("sessions", ""): len(ACCOUNTS)}
    assert await risk(desk) == expected
    await asyncio.sleep(2)
    (partition,) = desk.owner._partitions.values()
    assert len(partition.residents.hot) < len(ACCOUNTS)
    assert await risk(desk) == expected


@in_virtual_time
async def test_after_a_start_the_sums_are_complete_once_the_disk_was_read(desk: Desk) -> None:
    await desk.start(partitions=1, checkpoint_age_ms=100)
    for account_id in ACCOUNTS:
        await desk.open(100, account_id=account_id)
        await desk.ask(desk.create(30, account_id=account_id))
    await asyncio.sleep(2)
    await desk.kill()
    await desk.start(partitions=1, checkpoint_age_ms=100, weighs=True)
    assert not desk.owner.weighing.complete
    # Its checkpoint on disk is older than what is in memory by now.
    await desk.grant(1, account_id=ACCOUNTS[0], key="another")
    await desk.ask(desk.create(40, account_id=ACCOUNTS[0]))
    await desk.owner.weighing.weigh()
    await desk.owner.weighing.read()
    assert desk.owner.weighing.complete
    assert await risk(desk) == {
        ("held", "TOKEN"): (len(ACCOUNTS) * 30 + 40) * UNIT,
        ("sessions", ""): len(ACCOUNTS) + 1,
    }


@in_virtual_time
async def test_charges_are_told_by_account(desk: Desk) -> None:
    await desk.start()
    await desk.open(100)
    await desk.ask(event_command(desk.create(0).charging_id, usage(input=7)))
    await desk.ask(event_command(desk.create(0).charging_id, usage(input=5)))
    burnt = desk.owner.burning(60_000_000)["TOKEN"]
    assert (burnt.charged, burnt.records, burnt.accounts, burnt.error) == (12 * UNIT, 2, {ACCOUNT_ID: 12 * UNIT}, 0)
