"""Runs at their owner: many callers race for one budget, the journal is audited, and no older reader meets what it cannot read."""

import asyncio

import msgspec

from services.accounting.core import features
from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    CreateSession,
    EndRuns,
    Failed,
    Granted,
    ListRuns,
    OpenRun,
    Refused,
    RunsFound,
    Settled,
)
from services.accounting.core.entries import CallLabelled
from services.accounting.journal.audit import audit
from services.accounting.journal.codec import decode_checkpoint, encode_checkpoint
from services.partitions import partition_of
from tests.accounting.ledger import ACCOUNT_ID, UNIT, fault_of
from tests.accounting.owners import Desk, in_virtual_time, released

ISSUED = "key-issued"


async def mint(desk: Desk, key_id: str, parent: str, tokens: int) -> None:
    command = OpenRun(ACCOUNT_ID, key_id, parent, parent != ISSUED, "mbr-1", (("TOKEN", tokens * UNIT),), 0, (), 0)
    answer = await desk.ask(command)
    assert isinstance(answer, RunsFound), answer


def call_of(desk: Desk, key_id: str, tokens: int) -> CreateSession:
    return msgspec.structs.replace(desk.create(tokens), key_id=key_id, key_is_minted=True)


@in_virtual_time
async def test_a_thousand_callers_race_for_the_last_token_of_a_budget(desk: Desk) -> None:
    await desk.start()
    await desk.open(1_000_000)
    await mint(desk, "parent", ISSUED, 10)
    keys = [f"child-{number}" for number in range(20)]
    for key in keys:
        await mint(desk, key, "parent", 10)
    spent = call_of(desk, "parent", 9)
    await desk.ask(spent)
    await desk.ask(released(spent.charging_id, 2, 9))
    creates = [call_of(desk, keys[number % len(keys)], 1) for number in range(1_000)]
    answers = await asyncio.gather(*(desk.ask(create) for create in creates))
    granted = [create for create, answer in zip(creates, answers, strict=True) if isinstance(answer, Granted)]
    assert len(granted) == 1
    refusals = [answer.limit_id for answer in answers if isinstance(answer, Refused)]
    assert (len(refusals), set(refusals)) == (999, {"budget-TOKEN@key:parent"})
    assert isinstance(await desk.ask(released(granted[0].charging_id, 2, 1)), Settled)
    found = await desk.ask(ListRuns(ACCOUNT_ID, ISSUED))
    assert isinstance(found, RunsFound)
    assert [(run.budgets[0].used, run.budgets[0].held) for run in found.runs if run.key_id == "parent"] == [(10 * UNIT, 0)]
    assert sum(run.budgets[0].used for run in found.runs if run.key_id != "parent") == UNIT
    await desk.audit()


@in_virtual_time
async def test_runs_go_over_to_the_next_owner(desk: Desk) -> None:
    await desk.start()
    await desk.open(1_000)
    await mint(desk, "parent", ISSUED, 10)
    await mint(desk, "child", "parent", 10)
    held = call_of(desk, "child", 4)
    await desk.ask(held)
    # Once with all in the journal's tail, then with all in checkpoints.
    for _ in range(2):
        await desk.kill()
        await desk.start()
        assert isinstance(await desk.ask(call_of(desk, "parent", 7)), Refused)
        await asyncio.sleep(10)
    await desk.ask(released(held.charging_id, 2, 4))
    found = await desk.ask(ListRuns(ACCOUNT_ID, ISSUED))
    assert isinstance(found, RunsFound)
    assert [(run.budgets[0].used, run.calls) for run in found.runs] == [(4 * UNIT, 1)] * 2
    await desk.audit()


@in_virtual_time
async def test_while_a_member_reads_no_runs_none_is_opened_and_no_call_is_labelled(desk: Desk) -> None:
    await desk.start()
    await desk.open(1_000)
    desk.owner.set_features(features.OWN - {features.RUNS})
    assert desk.owner.extended
    command = OpenRun(ACCOUNT_ID, "child", ISSUED, False, "mbr-1", (("TOKEN", UNIT),), 0, (), 0)
    answer = await desk.ask(command)
    assert isinstance(answer, Failed)
    assert (fault_of(answer), answer.message.startswith("a replica of accounting is of a release that knows no runs")) == (
        "UNAVAILABLE",
        True,
    )
    await desk.ask(msgspec.structs.replace(desk.create(1), run_label="nightly"))
    assert not any(isinstance(entry, CallLabelled) for entry in await desk.store.journal())
    desk.owner.set_features(features.OWN)
    assert isinstance(await desk.ask(command), RunsFound)
    await desk.ask(msgspec.structs.replace(desk.create(1), run_label="nightly"))
    assert sum(isinstance(entry, CallLabelled) for entry in await desk.store.journal()) == 1


async def _breaches(desk: Desk, change: str) -> list[str]:
    """What an audit says once a state was tampered with."""
    part_id = partition_of(ACCOUNT_ID, 2)
    checkpoint = (await desk.store.load_checkpoints(part_id, [ACCOUNT_ID]))[ACCOUNT_ID]
    account: Account = decode_checkpoint(checkpoint.body, "it")
    counter = account.counters["budget-TOKEN@key:parent"]
    if change == "calls":
        account.runs["parent"].calls += 1
    elif change == "used":
        counter.used -= 1
    else:
        counter.reserved += 1
    desk.store._checkpoints[part_id][ACCOUNT_ID] = checkpoint._replace(body=encode_checkpoint(account))
    breaches = (await desk.store.snapshot(audit)).breaches
    desk.store._checkpoints[part_id][ACCOUNT_ID] = checkpoint
    return breaches


@in_virtual_time
async def test_an_audit_finds_a_run_whose_count_is_not_the_journals(desk: Desk) -> None:
    await desk.start()
    await desk.open(1_000)
    await mint(desk, "parent", ISSUED, 10)
    await mint(desk, "child", "parent", 10)
    used = call_of(desk, "child", 4)
    await desk.ask(used)
    await desk.ask(released(used.charging_id, 2, 4))
    await desk.ask(call_of(desk, "child", 2))
    await desk.ask(EndRuns(ACCOUNT_ID, "child", "parent"))
    await desk.owner.stop()
    await desk.audit()
    said = f"account {ACCOUNT_ID}: run of parent: "
    journal = f"the journal says ({4 * UNIT}, {2 * UNIT})"
    assert await _breaches(desk, "calls") == [f"{said}2 calls in the state, 1 in the journal"]
    assert await _breaches(desk, "used") == [f"{said}(used, held) of TOKEN is ({4 * UNIT - 1}, {2 * UNIT}), {journal}"]
    assert await _breaches(desk, "held") == [f"{said}(used, held) of TOKEN is ({4 * UNIT}, {2 * UNIT + 1}), {journal}"]
