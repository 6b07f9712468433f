"""Requests that are no model calls take turns as calls do."""

import asyncio
from typing import Final

import pytest

from services.edge.api.readers import Readers
from services.edge.call.priority import PriorityClasses
from services.edge.call.turns import Bounds, Turns
from services.edge.http.bodies import Bodies
from services.edge.http.problems import Problem, revoked
from services.edge.identity.principals import Principal
from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import ACCOUNT, FixedCatalog, NoWire, OnePrincipal, now_s
from tests.waiting import WAIT_S

# Requests of an account within a second that need no turns.
FREE: Final = 32


class Keys(OnePrincipal):
    """Any key passes until all are revoked."""

    is_revoked = False

    async def resolve(self, exchange: Exchange) -> Principal:
        if self.is_revoked:
            raise revoked()
        return await super().resolve(exchange)


class Edge:
    """Requests that are answered when it is said, one turn at a time, whatever calls have."""

    def __init__(self, places: int = 1_000, wait_s_max: float = 0.5) -> None:
        self.turns = Turns(places, PriorityClasses(FixedCatalog(None)), now_s, Bounds(8, 256.0, wait_s_max))
        self.principals = Keys()
        self.readers = Readers(self.principals, self.turns, Bodies(10_000, 5_000))
        self.answer = asyncio.Event()
        # Accounts whose requests came to their turn, and problems.
        self.begun: list[str] = []
        self.refused: list[Problem] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def _serve(self, exchange: Exchange) -> None:
        try:
            if exchange.method == "GET":
                principal = await self.readers.resolve(exchange)
            else:
                principal, _ = await self.readers.read(exchange)
        except Problem as problem:
            self.refused.append(problem)
            return
        self.begun.append(principal.account_id)
        await self.answer.wait()

    async def ask(self, account_id: str, count: int = 1, method: str = "GET") -> Exchange:
        """Returns the last one, once they have come as far as they can; a body is still to come."""
        for _ in range(count):
            exchange = Exchange(NoWire(), method, b"/", [(ACCOUNT.encode(), account_id.encode())])
            if method == "GET":
                exchange.came_to_end()
            self.tasks.append(asyncio.create_task(self._serve(exchange)))
        await self.settle()
        return exchange

    async def settle(self) -> None:
        for _ in range(4):
            await asyncio.sleep(0)


async def test_who_asks_without_a_pause_takes_turns_and_others_do_not() -> None:
    edge = Edge()
    await edge.ask("other")
    await edge.ask("busy", 2 * FREE)
    # One of those that need a turn has it.
    assert edge.begun == ["other"] + ["busy"] * (FREE + 1)
    await edge.ask("other")
    assert edge.begun[-1] == "other"
    edge.answer.set()
    await asyncio.gather(*edge.tasks)
    assert (len(edge.begun), edge.refused) == (2 + 2 * FREE, [])


async def test_a_question_has_its_place_until_it_is_answered_and_no_longer() -> None:
    edge = Edge(places=4)
    await edge.ask("busy", 3)
    # As many places as are free.
    assert (edge.begun, [each.status for each in edge.refused]) == (["busy"] * 2, [503])
    assert (b"connection", b"close") in edge.refused[0].headers
    edge.answer.set()
    await asyncio.gather(*edge.tasks)
    for _ in range(10):
        await edge.ask("busy")
    await asyncio.gather(*edge.tasks)
    assert (len(edge.begun), len(edge.refused)) == (12, 1)


async def test_who_leaves_while_he_waits_gives_his_place_up_at_once() -> None:
    edge = Edge(wait_s_max=WAIT_S)
    await edge.ask("other")
    last = await edge.ask("busy", FREE + 2)
    last.lose()
    await asyncio.wait(edge.tasks[-1:])
    assert (edge.turns._questions.queue.waiting, edge.turns._questions.queue.cost) == (0, 0.0)
    # Nobody reads that, and nobody is told that it was shed.
    assert [each.status for each in edge.refused] == [400]
    assert edge.turns.shed.counts == {}
    edge.answer.set()
    await asyncio.wait(edge.tasks)
    assert edge.begun.count("busy") == FREE + 1


@pytest.mark.parametrize("given_up", [False, True])
async def test_what_would_wait_for_long_is_refused_and_keeps_no_place(given_up: bool) -> None:
    edge = Edge()
    await edge.ask("other")
    await edge.ask("busy", FREE + 2)
    if given_up:
        edge.tasks[-1].cancel()
    await asyncio.wait(edge.tasks[-1:])
    assert [each.code for each in edge.refused] == ([] if given_up else ["overloaded"])
    edge.answer.set()
    await asyncio.wait(edge.tasks)
    await edge.ask("busy")
    assert edge.begun.count("busy") == FREE + 2


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_key_that_is_revoked_while_its_question_waits_is_told_nothing(method: str) -> None:
    edge = Edge()
    await edge.ask("other")
    await edge.ask("busy", FREE + 1)
    last = await edge.ask("busy", method=method)
    if method == "POST":
        last.came_to_end()
        await edge.settle()
    edge.principals.is_revoked = True
    edge.answer.set()
    await asyncio.gather(*edge.tasks)
    assert (len(edge.begun), [each.status for each in edge.refused]) == (FREE + 2, [401])


async def test_a_key_that_is_revoked_while_its_body_comes_is_told_nothing() -> None:
    edge = Edge()
    late = await edge.ask("busy", method="POST")
    edge.principals.is_revoked = True
    late.came_to_end()
    edge.answer.set()
    await asyncio.gather(*edge.tasks)
    assert (edge.begun, [each.status for each in edge.refused]) == ([], [401])


async def test_a_body_that_is_to_come_keeps_nobody_waiting_and_is_read_once() -> None:
    edge = Edge()
    await edge.ask("other")
    await edge.ask("busy", FREE)
    late = await edge.ask("busy", method="POST")
    assert edge.begun.count("busy") == FREE
    await edge.ask("busy")
    assert edge.begun.count("busy") == FREE + 1
    late.came_to_end()
    edge.answer.set()
    await asyncio.gather(*edge.tasks)
    assert (edge.begun.count("busy"), edge.refused) == (FREE + 2, [])


async def test_a_body_has_at_most_a_megabyte() -> None:
    edge = Edge()
    edge.readers = Readers(edge.principals, edge.turns, Bodies(10_000_000, 5_000_000))
    for size, refused in ((1_000_000, []), (1_000_001, [413])):
        asked = await edge.ask("busy", method="POST")
        asked.came(b"x" * size)
        asked.came_to_end()
        await edge.settle()
        assert [each.status for each in edge.refused] == refused
    edge.answer.set()
    await asyncio.gather(*edge.tasks)


async def test_bodies_are_bounded_together_with_those_of_calls() -> None:
    edge = Edge()
    first, second = [await edge.ask("busy", method="POST") for _ in range(2)]
    first.came(b"x" * 3_000)
    await edge.settle()
    second.came(b"x" * 3_000)
    await edge.settle()
    assert [each.status for each in edge.refused] == [429]
    first.lose()
    await edge.settle()
    assert [each.status for each in edge.refused] == [429, 400]
    whole = await edge.ask("busy", method="POST")
    whole.came(b"x" * 5_000)
    whole.came_to_end()
    await edge.settle()
    assert edge.begun == ["busy"]
    edge.answer.set()
    await asyncio.gather(*edge.tasks)
