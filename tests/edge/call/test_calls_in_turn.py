"""Calls of an account that takes turns, over the whole path of a call: from when to when each has its turn. Virtual time."""

import asyncio

import pytest

from services.edge.call.dialect import Charged
from tests.edge.call.doubles import ACCOUNT, PRINCIPAL
from tests.edge.call.line_dialect import END, FINISH, say, words
from tests.edge.call.scene import Scene

BUSY = PRINCIPAL.account_id


def busy() -> Scene:
    """A scene in which the account of all calls uses more than its share."""
    scene = Scene()
    for _ in range(40):
        scene.turns._shares.begin(BUSY, 1.0)
    scene.turns._shares.begin("acct-other", 1.0)
    return scene


async def finished(*tasks: "asyncio.Task[None]") -> None:
    await asyncio.gather(*tasks)


async def test_a_call_has_its_turn_until_its_session_is_open() -> None:
    scene = busy()
    scene.charging.create_gate = asyncio.Event()
    scene.vendors.answers(say(words(3)), 10.0, FINISH, END)
    scene.vendors.answers(say(words(3)), 10.0, FINISH, END)
    clients = [scene.begin("stream=yes") for _ in range(2)]
    await asyncio.sleep(0.1)
    assert len(scene.charging.creates) == 1
    scene.charging.create_gate.set()
    await asyncio.sleep(0.1)
    # The vendor's answer to the first takes 10 s.
    assert [client.ended for client, _ in clients] == [False, False]
    assert len(scene.charging.creates) == 2
    await finished(*(task for _, task in clients))
    assert [client.text for client, _ in clients] == [words(3)] * 2


async def test_a_call_that_waits_too_long_is_told_so_and_nothing_is_asked() -> None:
    scene = busy()
    scene.charging.create_gate = asyncio.Event()
    scene.vendors.answers(say(words(3)), FINISH, END)
    _, first = scene.begin("stream=yes")
    await asyncio.sleep(0)
    second, task = scene.begin("stream=yes")
    await task
    assert (second.status, second.messages[0][0], second.header("retry-after")) == (503, 0.5, "1")
    assert b"too many calls at the moment" in second.body
    assert len(scene.charging.creates) == 1
    scene.charging.create_gate.set()
    await first


async def test_a_call_whose_body_is_to_come_keeps_nobody_waiting() -> None:
    scene = busy()
    scene.vendors.answers(say(words(3)), FINISH, END)
    scene.vendors.answers(say(words(3)), FINISH, END)
    slow, task = scene.begin("stream=yes")
    slow.body_may_come = asyncio.Event()
    await asyncio.sleep(0)
    client, second = scene.begin("stream=yes")
    await second
    assert (client.status, client.messages[0][0]) == (200, 0.0)
    slow.body_may_come.set()
    await task
    assert slow.text == words(3)


async def test_a_call_that_could_not_wait_is_refused_before_its_body_has_come() -> None:
    scene = busy()
    scene.charging.create_gate = asyncio.Event()
    # One has its turn, and as many wait as may.
    waiting = [scene.begin("stream=yes")[1] for _ in range(1 + 128)]
    await asyncio.sleep(0.01)
    client, task = scene.begin("stream=yes")
    client.body_may_come = asyncio.Event()
    await task
    assert (client.status, client.messages[0][0]) == (503, 0.01)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_call_that_is_refused_ends_its_turn() -> None:
    scene = busy()
    await scene.call("model=nobody stream=yes")
    assert scene.turns._calls.free == 1


async def test_a_free_count_keeps_nobody_waiting_while_its_vendor_counts() -> None:
    scene = busy()
    scene.vendors.answers(5.0, b'{"input_tokens": 7}')
    _, count = scene.begin("kind=count", charged=Charged.NOTHING)
    await asyncio.sleep(1.0)
    assert len(scene.vendors.asked) == 1
    assert scene.turns._calls.free == 1
    await count


async def test_counts_of_an_account_are_bounded_and_those_of_others_go_on() -> None:
    scene = Scene()
    for _ in range(258):
        scene.vendors.answers(5.0, b'say "17"', content_type="application/json")
    waiting = [scene.begin("kind=count", charged=Charged.NOTHING)[1] for _ in range(256)]
    await asyncio.sleep(0)
    refused, task = scene.begin("kind=count", charged=Charged.NOTHING)
    await task
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert b"too many calls at the moment" in refused.body
    other, task = scene.begin("kind=count", charged=Charged.NOTHING, headers={ACCOUNT: "other"})
    await task
    assert other.status == 200
    await finished(*waiting)
    again, task = scene.begin("kind=count", charged=Charged.NOTHING)
    await task
    assert again.status == 200


@pytest.mark.parametrize("charged", [Charged.NOTHING, Charged.INPUT_AND_OUTPUT])
async def test_a_body_counts_until_it_is_paid_for_or_answered(charged: Charged) -> None:
    scene = Scene()
    # Room for one of them.
    scene.bodies._account_bytes_max = 60_000
    is_free = charged is Charged.NOTHING
    head, prompt = "kind=count" if is_free else "stream=yes", "x" * 40_000
    scene.charging.create_gate = asyncio.Event()
    for _ in range(2):
        scene.vendors.answers(5.0, *((b'say "17"',) if is_free else (FINISH, END)))
    first, task = scene.begin(head, prompt, charged)
    await asyncio.sleep(1.0)
    second, refused = scene.begin(head, prompt, charged)
    await refused
    assert (first.ended, second.status, second.header("retry-after")) == (False, 429, "1")
    assert b"are on their way in" in second.body
    scene.charging.create_gate.set()
    # The vendor's answer takes 5 s.
    await asyncio.sleep(10.0 if is_free else 0.1)
    assert first.ended is is_free
    third, last = scene.begin(head, prompt, charged)
    await finished(task, last)
    assert (first.status, third.status) == (200, 200)
