"""Turns of calls, in virtual time: who begins at once, who waits, and who is shed."""

import asyncio
from collections.abc import Callable

import pytest

from services.edge.call.turns import Turn, Turns
from services.edge.catalog import PriorityClass
from services.edge.http.connection import Client, ClientGoneError
from services.edge.http.problems import Problem
from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import NoWire, now_s

# Calls of an account that need no turns.
FREE = 32


class Classes:
    """Classes of accounts by their names."""

    def of(self, account_id: str) -> PriorityClass:
        return PriorityClass[account_id.partition("-")[0].upper()] if "-" in account_id else PriorityClass.STANDARD


class Edge:
    """Turns, and what became of those who wanted one."""

    def __init__(self, places: int = 1_000, is_behind: Callable[[], bool] = lambda: False) -> None:
        # The processor works for this process unless it is taken away.
        self.away_s = 0.0
        turns = Turns(places, Classes(), is_behind, now_s, lambda: now_s() - self.away_s)  # type: ignore[arg-type]  # a double
        self.turns = turns
        # Account and seconds since the start.
        self.begun: list[tuple[str, float]] = []
        self.shed: list[tuple[str, float, Problem]] = []
        self.exchanges: list[Exchange] = []
        self._began_s = now_s()
        self.held: list[Turn] = []

    async def call(self, account_id: str, *, whole: bool = True, lasts_s: float | None = None) -> None:
        """A call that stays under way unless it lasts for a time."""
        exchange = Exchange(NoWire(), "POST", b"/", [])
        exchange.came(b"{}")
        if whole:
            exchange.came_to_end()
        self.exchanges.append(exchange)
        client = Client(exchange)
        client.watch()
        try:
            turn = await self.turns.take(account_id, client)
        except Problem as problem:
            self.shed.append((account_id, self._since_s, problem))
            return
        self.begun.append((account_id, self._since_s))
        if lasts_s is None:
            self.held.append(turn)
        else:
            await asyncio.sleep(lasts_s)
            turn.leave()

    def slow(self, per_second: float) -> None:
        """Turns have become rare; one is due."""
        self.turns._pace.per_second = per_second
        self.turns._pace._last_s = now_s() - 0.5

    @property
    def _since_s(self) -> float:
        return round(now_s() - self._began_s, 4)

    def calls(self, account_id: str, count: int) -> list["asyncio.Task[None]"]:
        return [asyncio.create_task(self.call(account_id)) for _ in range(count)]

    def count(self, account_id: str) -> int:
        return sum(each == account_id for each, _ in self.begun)


async def test_calls_begin_at_once_where_nobody_else_calls() -> None:
    edge = Edge()
    await asyncio.gather(*edge.calls("busy", 500))
    assert edge.begun == [("busy", 0.0)] * 500


async def test_an_account_beyond_its_share_takes_turns_and_others_do_not() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 4)
    await asyncio.sleep(0.0005)
    # 32 are free, and a turn was due.
    assert edge.count("busy") == FREE + 1
    await edge.call("third")
    assert edge.begun[-1] == ("third", 0.0005)
    await asyncio.gather(*tasks)
    assert [at_s for account_id, at_s in edge.begun if account_id == "busy"] == [*[0.0] * (FREE + 1), 0.001, 0.002, 0.003]


async def test_turns_become_rare_while_accounting_is_behind() -> None:
    edge = Edge(is_behind=lambda: True)
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 6))
    # 0.001, and then twice as far each time.
    assert [at_s for account_id, at_s in edge.begun if account_id == "busy"][FREE + 1 :] == [0.001, 0.003, 0.007, 0.015, 0.031]


async def test_turns_become_rare_while_the_loop_is_late() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 4)
    await asyncio.sleep(0)
    # Something holds up the loop whenever a turn is due.
    loop = asyncio.get_running_loop()
    late = loop.create_task(_hold_up(edge, 0.0005, 0.01))
    await asyncio.gather(*tasks)
    late.cancel()
    assert edge.turns._pace.per_second < 300


async def _hold_up(edge: Edge, every_s: float, for_s: float, away_s: float = 0.0) -> None:
    """Holds up the loop, in which time the processor works for other programs for `away_s`."""
    selector = asyncio.get_running_loop()._jumping  # type: ignore[attr-defined]  # the virtual loop's
    while True:
        await asyncio.sleep(every_s)
        selector.now_s += for_s
        edge.away_s += away_s


async def test_turns_are_as_many_while_other_programs_have_the_processor() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 200)
    await asyncio.sleep(0)
    # The loop waits for a processor for 20 ms whenever a turn is due, and runs for 2 ms.
    late = asyncio.get_running_loop().create_task(_hold_up(edge, 0.0005, 0.022, away_s=0.02))
    await asyncio.gather(*tasks)
    late.cancel()
    assert edge.turns._pace.per_second == 1_000.0
    assert edge.shed == []


async def test_an_account_that_is_left_alone_has_no_more_turns_to_take_and_is_not_shed() -> None:
    edge = Edge(is_behind=lambda: True)
    await edge.call("other", lasts_s=0.1)
    busy = edge.calls("busy", FREE)
    await asyncio.sleep(4.9)
    edge.slow(2.0)
    # Turns that are due at 5.4 s; from 5.1 s on nobody else is there.
    waiting = [edge.calls("busy", 1)[0], *edge.calls("busy", 1)]
    await asyncio.sleep(0.25)
    assert len(edge.shed) == 0
    more = edge.calls("busy", 300)
    await asyncio.gather(*busy, *waiting, *more)
    assert edge.shed == []
    assert edge.count("busy") == FREE + 302
    assert max(at_s for _, at_s in edge.begun) <= 5.5
    await asyncio.gather(*edge.calls("busy", 100))
    assert edge.count("busy") == FREE + 402


async def test_calls_beyond_half_a_second_of_turns_are_shed_at_once() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 251)
    await asyncio.sleep(0.0005)
    # 500 turns in half a second; an account may have half of those that are left.
    assert len(edge.shed) == 1
    _, at_s, problem = edge.shed[0]
    assert (at_s, problem.status, problem.code) == (0.0, 503, "overloaded")
    assert (b"retry-after", b"1") in problem.headers
    assert (b"connection", b"close") not in problem.headers
    await asyncio.gather(*tasks)
    assert edge.count("busy") == FREE + 1 + 250


async def test_a_low_class_is_shed_before_a_standard_one_and_a_high_one_last() -> None:
    begun = {}
    for account_id in ("low-a", "standard-a", "high-a"):
        edge = Edge(places=100_000)
        await edge.call("other")
        await asyncio.gather(*edge.calls(account_id, 2_000))
        begun[account_id] = edge.count(account_id)
    # Those that are free, one whose turn was due, and half of the next 500 turns by cost.
    assert begun == {"low-a": 8 + 1 + 63, "standard-a": 32 + 1 + 250, "high-a": 128 + 1 + 1_000}


async def test_where_many_are_shed_the_next_wait_for_their_refusal() -> None:
    edge = Edge(is_behind=lambda: True)
    await edge.call("other")
    edge.slow(2.0)
    tasks = edge.calls("busy", FREE + 1 + 1 + 50 + 400)
    await asyncio.sleep(0.0005)
    # One call waits for a turn. 50 refusals are free.
    assert len(edge.shed) == 50
    await asyncio.sleep(1.0)
    assert len(edge.shed) == 250
    await asyncio.gather(*tasks)


async def test_nobody_waits_for_a_refusal_longer_than_30_seconds() -> None:
    edge = Edge(places=100_000, is_behind=lambda: True)
    await edge.call("other")
    edge.slow(2.0)
    await asyncio.gather(*edge.calls("busy", FREE + 1 + 1 + 50 + 7_000))
    assert len(edge.shed) == 7_050
    assert 30.0 <= max(at_s for _, at_s, _ in edge.shed) <= 30.01


async def test_a_call_whose_body_is_to_come_is_shed_at_once_and_its_connection_closed() -> None:
    edge = Edge()
    edge.slow(2.0)
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 2)
    await asyncio.sleep(0)
    await edge.call("busy", whole=False)
    assert (b"connection", b"close") in edge.shed[0][2].headers
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_of_a_call_that_is_shed_no_body_is_kept() -> None:
    edge = Edge()
    edge.slow(2.0)
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 2)
    await asyncio.sleep(0)
    await edge.call("busy")
    assert edge.exchanges[-1]._pieces == []
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_call_that_has_waited_two_seconds_is_shed() -> None:
    edge = Edge(is_behind=lambda: True)
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 22)
    await asyncio.gather(*tasks)
    # Turns at 1, 3, 7, 15, 31, 63, 127, 255, 511 ms, and then twice a second; the next would be at 2,011.
    assert edge.count("busy") == FREE + 1 + 9 + 2
    assert {at_s for _, at_s, _ in edge.shed} == {2.0}


async def test_a_call_does_not_overtake_those_of_its_account_that_wait() -> None:
    edge = Edge(is_behind=lambda: True)
    await edge.call("other")
    edge.slow(20.0)
    tasks = edge.calls("busy", FREE + 5)
    await asyncio.sleep(0.2)
    for turn in edge.held:
        turn.leave()
    # By now its use has faded below what is free.
    await asyncio.sleep(0.52)
    await asyncio.gather(*tasks, edge.call("busy"))
    assert [at_s for account_id, at_s in edge.begun if account_id == "busy"][FREE + 1 :] == [0.05, 0.15, 0.35, 0.75]


async def test_an_account_that_takes_all_places_leaves_some_for_others() -> None:
    edge = Edge(places=100)
    await asyncio.gather(*edge.calls("busy", 60))
    assert edge.count("busy") == 50
    assert all((b"connection", b"close") in problem.headers for _, _, problem in edge.shed)
    await asyncio.gather(*edge.calls("other", 25))
    assert edge.count("other") == 25
    for turn in edge.held:
        turn.leave()
    edge.held.clear()
    edge.begun.clear()
    await asyncio.gather(*edge.calls("third", 50))
    assert edge.count("third") == 50


async def test_who_leaves_while_he_waits_has_no_turn() -> None:
    edge = Edge(is_behind=lambda: True)
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 4)
    await asyncio.sleep(0)
    edge.exchanges[-1].lose()
    await asyncio.sleep(0.1)
    assert edge.count("busy") == FREE + 3
    with pytest.raises(ClientGoneError):
        await tasks[-1]
    # Nothing stays of it.
    assert edge.turns._queue.cost == 0
    assert edge.turns._places._costs["busy"] == FREE + 3


async def test_a_call_that_fails_while_it_waits_gives_its_place_back() -> None:
    edge = Edge(places=100)
    edge.slow(2.0)
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 1))
    tasks = edge.calls("busy", 1)
    await asyncio.gather(*tasks)
    for turn in edge.held:
        turn.leave()
    assert edge.turns._places._free == 100
    assert edge.turns._places._costs == {}


async def test_calls_that_are_shed_are_counted_by_class() -> None:
    edge = Edge(places=2)
    await asyncio.gather(*edge.calls("standard-a", 3), *edge.calls("low-b", 1))
    [standard, low] = edge.turns.shed(None)  # type: ignore[arg-type]  # it is not read
    assert (standard.value, standard.attributes) == (2, {"priority_class": "standard"})
    assert (low.value, low.attributes) == (1, {"priority_class": "low"})
