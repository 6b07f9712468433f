"""Why a call was refused, and when, as the owner remembers it for whoever asks later."""

import asyncio

import msgspec

from services.accounting.core.commands import ChargeEvent, Command, CreateSession, Granted, Refused, ResultCode
from services.accounting.writer.metrics import Refusals
from tests.accounting.ledger import ACCOUNT_ID, UNIT, event_command, usage
from tests.accounting.owners import Desk, in_virtual_time

KEPT = 10_000


async def refused(desk: Desk, command: CreateSession | ChargeEvent) -> Refused:
    answer = await desk.ask(command)
    assert isinstance(answer, Refused), answer
    return answer


@in_virtual_time
async def test_a_refusal_is_remembered_with_the_time_at_which_it_was_decided(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    command = desk.create(11)
    decided_us = desk.clock.now_us()
    answer = await refused(desk, command)
    await asyncio.sleep(60)
    assert desk.owner.refusals.find(command.charging_id) == (command, answer, decided_us)


@in_virtual_time
async def test_one_that_waited_was_refused_when_its_time_was_up(desk: Desk) -> None:
    await desk.start(held_wait_ms=5_000)
    await desk.open(10)
    await desk.ask(desk.create(10))
    command = desk.create(10)
    asked_us = desk.clock.now_us()
    await refused(desk, command)
    found = desk.owner.refusals.find(command.charging_id)
    assert found is not None
    assert found[2] == asked_us + 5_000_000


@in_virtual_time
async def test_of_a_call_that_is_refused_again_the_last_time_counts(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    command = desk.create(21)
    await refused(desk, command)
    await asyncio.sleep(10)
    await desk.grant(5, key="second")
    again_us = desk.clock.now_us()
    await refused(desk, command)
    found = desk.owner.refusals.find(command.charging_id)
    assert found is not None
    assert (found[1].free, found[2]) == (15 * UNIT, again_us)


@in_virtual_time
async def test_a_call_that_passes_with_a_smaller_bound_was_not_refused(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    command = desk.create(11)
    await refused(desk, command)
    smaller = msgspec.structs.replace(command, input_bound=10)
    assert isinstance(await desk.ask(smaller), Granted)
    assert desk.owner.refusals.find(command.charging_id) is None


@in_virtual_time
async def test_an_event_can_be_refused_and_what_is_granted_is_not_remembered(desk: Desk) -> None:
    await desk.start()
    await desk.open(10)
    event = msgspec.structs.replace(event_command(desk.create(0).charging_id, usage(1)), model_id="no such model")
    answer = await refused(desk, event)
    assert answer.code == ResultCode.RATING_FAILED
    found = desk.owner.refusals.find(event.charging_id)
    assert found is not None
    assert found[0].account_id == ACCOUNT_ID
    granted = desk.create(5)
    assert isinstance(await desk.ask(granted), Granted)
    assert desk.owner.refusals.find(granted.charging_id) is None


def test_the_last_refusals_are_kept() -> None:
    kept = Refusals()
    answer = Refused(ResultCode.QUOTA_LIMIT_REACHED, "TOKEN", 1, 0, 0, held=False)

    def command(number: int) -> Command:
        return CreateSession(ACCOUNT_ID, f"call {number}", 1, "flat", "key-1", "mbr-1", 1, 1, metered=False)

    for number in range(KEPT + 2):
        kept.remember(command(number), answer, number)
    assert [kept.find(f"call {number}") is not None for number in (0, 1, 2, KEPT, KEPT + 1)] == [False, False, True, True, True]
