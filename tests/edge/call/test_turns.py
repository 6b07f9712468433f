"""Turns of calls, in virtual time: who begins at once, who waits, and who is shed."""

import asyncio

import pytest

from services.edge.call.turns import Bounds, Turn, Turns
from services.edge.catalog import PriorityClass
from services.edge.http.connection import Client, ClientGoneError
from services.edge.http.problems import Problem
from services.runtime.http.exchange import Exchange
from tests.edge.call.doubles import NoWire, now_s

# One turn at a time shows their order.
ONE_BY_ONE = Bounds(1, 256.0, 0.5)
# Calls of an account that need no turns.
FREE = 32


class Classes:
    """Classes of accounts by their names."""

    def of(self, account_id: str) -> PriorityClass:
        return PriorityClass[account_id.partition("-")[0].upper()] if "-" in account_id else PriorityClass.STANDARD


class Edge:
    """Turns, and what became of those who wanted one."""

    def __init__(self, places: int = 1_000, bounds: Bounds = ONE_BY_ONE) -> None:
        self.turns = Turns(places, Classes(), now_s, bounds)  # type: ignore[arg-type]  # a double
        # Account and seconds since the start.
        self.begun: list[tuple[str, float]] = []
        self.shed: list[tuple[str, float, Problem]] = []
        self.exchanges: list[Exchange] = []
        self._began_s = now_s()
        self.held: list[Turn] = []

    async def ask(self, account_id: str) -> None:
        """A request that is no call and is never answered."""
        exchange = Exchange(NoWire(), "GET", b"/", [])
        exchange.came_to_end()
        self.exchanges.append(exchange)
        try:
            self.held.append(await self.turns.take(account_id, Client(exchange)))
        except Problem as problem:
            self.shed.append((account_id, self._since_s, problem))
            return
        self.begun.append((account_id, self._since_s))

    async def call(
        self, account_id: str, *, whole: bool = True, opens_s: float | None = None, lasts_s: float | None = None
    ) -> None:
        """A call whose session opens after a time, or never, and that stays under way unless it lasts for a time then."""
        exchange = Exchange(NoWire(), "POST", b"/", [])
        exchange.came(b"{}")
        if whole:
            exchange.came_to_end()
        self.exchanges.append(exchange)
        client = Client(exchange)
        client.watch()
        turn = None
        try:
            turn = await self.turns.enter(account_id, client)
            await turn.begin(client)
        except BaseException as error:
            if turn is not None:
                turn.leave()
            if not isinstance(error, Problem):
                raise
            self.shed.append((account_id, self._since_s, error))
            return
        self.begun.append((account_id, self._since_s))
        self.held.append(turn)
        if opens_s is not None:
            await asyncio.sleep(opens_s)
            client.opened(0)
        if lasts_s is not None:
            await asyncio.sleep(lasts_s)
            turn.leave()

    @property
    def _since_s(self) -> float:
        return round(now_s() - self._began_s, 4)

    def calls(self, account_id: str, count: int, opens_s: float | None = None) -> list["asyncio.Task[None]"]:
        return [asyncio.create_task(self.call(account_id, opens_s=opens_s)) for _ in range(count)]

    def count(self, account_id: str) -> int:
        return sum(each == account_id for each, _ in self.begun)

    def times(self, account_id: str) -> list[float]:
        return [at_s for each, at_s in self.begun if each == account_id]


async def drop(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_begin_at_once_where_nobody_else_calls() -> None:
    edge = Edge()
    await asyncio.gather(*edge.calls("busy", 500))
    assert edge.begun == [("busy", 0.0)] * 500


async def test_an_account_beyond_its_share_takes_turns_and_others_do_not() -> None:
    edge = Edge()
    await edge.call("other")
    # All enter at once, so that all are beyond the share; each turn lasts 2 ms.
    tasks = edge.calls("busy", FREE, opens_s=0.002)
    await asyncio.sleep(0.001)
    assert edge.count("busy") == FREE
    tasks += edge.calls("busy", 4, opens_s=0.002)
    await asyncio.sleep(0.0005)
    await edge.call("third")
    assert edge.begun[-1] == ("third", 0.0015)
    await asyncio.gather(*tasks)
    assert edge.times("busy") == [*[0.0] * FREE, 0.001, 0.003, 0.005, 0.007]


async def test_two_accounts_beyond_their_share_have_turns_in_turn() -> None:
    edge = Edge()
    for number in range(8):
        await edge.call(f"standard-{number}")
    await asyncio.gather(*edge.calls("busy", FREE), *edge.calls("second", FREE))
    tasks = [*edge.calls("busy", 3, opens_s=0.01), *edge.calls("second", 3, opens_s=0.01)]
    await asyncio.gather(*tasks)
    assert edge.begun[-6:] == [
        ("busy", 0.0),
        ("busy", 0.01),
        ("second", 0.02),
        ("busy", 0.03),
        ("second", 0.04),
        ("second", 0.05),
    ]


async def test_an_account_with_few_calls_at_once_waits_for_nothing_beside_one_that_floods() -> None:
    edge = Edge(places=8_192)

    async def again_and_again(account_id: str) -> None:
        while now_s() < until_s:
            await edge.call(account_id, opens_s=0.005, lasts_s=0.05)
            # Time must go on even where refusals take none.
            await asyncio.sleep(0 if account_id == "honest" else 0.001)

    until_s = now_s() + 4.94
    await asyncio.gather(*(again_and_again("honest") for _ in range(4)), *(again_and_again("flood") for _ in range(256)))
    assert {account_id for account_id, _, _ in edge.shed} == {"flood"}
    # 4 at once, of 55 ms each.
    assert edge.count("honest") == 4 * 90
    # At the beginning those that are free, then a turn of 5 ms after another; the last ones have waited for half a second.
    assert edge.count("flood") == FREE + (4.94 + 0.5) * 200


async def test_a_turn_is_over_when_the_call_fails_before_its_session_is_open() -> None:
    edge = Edge()
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 1))
    waiting = edge.calls("busy", 1)
    await asyncio.sleep(0.1)
    assert edge.count("busy") == FREE + 1
    edge.held[-1].leave()
    await asyncio.gather(*waiting)
    assert edge.times("busy")[-1] == 0.1


async def test_a_turn_ends_once_only() -> None:
    edge = Edge()
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 1))
    first = edge.held[-1]
    first.over()
    await edge.call("busy")
    waiting = edge.calls("busy", 1)
    # Its turn was over before: that of the second call is still under way.
    first.leave()
    await asyncio.sleep(0.1)
    assert edge.count("busy") == FREE + 2
    await drop(waiting)


async def test_questions_take_turns_one_at_a_time_and_wait_for_no_call() -> None:
    edge = Edge(places=100_000, bounds=Bounds())
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 8 + 2)
    await asyncio.sleep(0.0005)
    assert edge.count("busy") == FREE + 8
    tasks += [asyncio.create_task(edge.ask("busy")) for _ in range(3)]
    await asyncio.sleep(0.0005)
    assert edge.count("busy") == FREE + 8 + 1
    edge.held[-1].leave()
    await asyncio.sleep(0)
    assert (edge.count("busy"), edge.turns._waiting()) == (FREE + 8 + 2, 3 + 1)
    await drop(tasks)


async def test_an_accounts_questions_and_calls_wait_in_one_room() -> None:
    edge = Edge(places=100_000, bounds=Bounds(1, 8.0, 1.0, 1))
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 2)
    await asyncio.sleep(0.0005)
    # Of 8 that may wait, 4 are one account's.
    tasks += [asyncio.create_task(edge.ask("busy")) for _ in range(1 + 2)]
    await asyncio.sleep(0.0005)
    assert ([each.cost for each in (edge.turns._calls.queue, edge.turns._questions.queue)], edge.shed) == ([2, 2], [])
    tasks.append(asyncio.create_task(edge.ask("busy")))
    tasks += edge.calls("busy", 1)
    await asyncio.sleep(0.0005)
    assert [account_id for account_id, _, _ in edge.shed] == ["busy", "busy"]
    await drop(tasks)


async def test_more_calls_of_an_account_than_may_wait_are_shed_at_once() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 129)
    await asyncio.sleep(0.0005)
    # Calls with a cost of 256 may wait, and of one account half of those.
    assert len(edge.shed) == 1
    _, at_s, problem = edge.shed[0]
    assert (at_s, problem.status, problem.code) == (0.0, 503, "overloaded")
    assert (b"retry-after", b"1") in problem.headers
    assert (b"connection", b"close") not in problem.headers
    # Others that use too much have room to wait yet.
    second = edge.calls("second", 200)
    await asyncio.sleep(0.0005)
    assert (edge.turns._calls.queue.cost_of("busy"), edge.turns._calls.queue.cost_of("second")) == (128, 64)
    await drop([*tasks, *second])


async def test_a_low_class_is_shed_before_a_standard_one_and_a_high_one_last() -> None:
    waiting = {}
    for account_id in ("low-a", "standard-a", "high-a"):
        edge = Edge(places=100_000)
        await edge.call("other")
        tasks = edge.calls(account_id, 700)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting[account_id] = len(edge.turns._calls.queue._heap)
        await drop(tasks)
    assert waiting == {"low-a": 32, "standard-a": 128, "high-a": 512}


async def test_where_many_are_shed_the_next_wait_for_their_refusal() -> None:
    edge = Edge(places=100_000)
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 128 + 50 + 400)
    await asyncio.sleep(0.0005)
    # 50 refusals are free.
    assert len(edge.shed) == 50
    await asyncio.sleep(0.4)
    assert len(edge.shed) == 50 + 80
    await drop(tasks)


async def test_nobody_waits_for_a_refusal_longer_than_30_seconds() -> None:
    edge = Edge(places=100_000)
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 1 + 128 + 50 + 7_000))
    assert len(edge.shed) == 128 + 7_050
    assert 30.0 <= max(at_s for _, at_s, _ in edge.shed) <= 30.6


async def full(edge: Edge) -> "list[asyncio.Task[None]]":
    """As many calls wait as may."""
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 128)
    await asyncio.sleep(0.0001)
    return tasks


async def test_a_call_whose_body_is_to_come_is_shed_at_once_and_its_connection_closed() -> None:
    edge = Edge()
    tasks = await full(edge)
    await edge.call("busy", whole=False)
    assert (b"connection", b"close") in edge.shed[0][2].headers
    await drop(tasks)


async def test_of_a_call_that_is_shed_before_its_body_was_read_none_is_kept() -> None:
    edge = Edge()
    tasks = await full(edge)
    await edge.call("busy")
    assert edge.exchanges[-1]._pieces == []
    assert edge.turns._places._costs["busy"] == FREE + 1 + 128
    await drop(tasks)


async def test_a_call_that_has_waited_half_a_second_is_shed() -> None:
    edge = Edge()
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 3, opens_s=0.3))
    # Turns at 0 and 300 ms; the next would be at 600.
    assert edge.times("busy")[FREE:] == [0.0, 0.3]
    assert [at_s for _, at_s, _ in edge.shed] == [0.5]


async def test_a_call_does_not_overtake_those_of_its_account_that_wait() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 2)
    await asyncio.sleep(0)
    for turn in edge.held[1:FREE]:
        turn.leave()
    # Its use has faded below what is free.
    await asyncio.sleep(0.4)
    late = edge.calls("busy", 1)
    await asyncio.sleep(0.01)
    assert edge.count("busy") == FREE + 1
    edge.held[-1].over()
    await asyncio.sleep(0)
    assert [task.done() for task in (tasks[-1], late[0])] == [True, False]
    await drop(late)


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
    # The others are forgotten by then.
    await asyncio.sleep(5.0)
    await asyncio.gather(*edge.calls("third", 50))
    assert edge.count("third") == 50


async def test_who_leaves_while_he_waits_has_no_turn() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 3)
    await asyncio.sleep(0)
    edge.exchanges[-1].lose()
    with pytest.raises(ClientGoneError):
        await tasks[-1]
    # Nothing stays of it.
    assert edge.turns._calls.queue.cost == 1
    assert edge.turns._places._costs["busy"] == FREE + 2
    await drop(tasks)


async def test_a_turn_that_is_given_to_one_who_leaves_at_that_moment_goes_to_the_next() -> None:
    edge = Edge()
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 3)
    await asyncio.sleep(0)
    edge.held[-1].over()
    edge.exchanges[FREE + 2].lose()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(tasks[FREE + 1].exception(), ClientGoneError)
    assert edge.count("busy") == FREE + 2
    assert edge.shed == []


async def test_a_call_that_fails_while_it_waits_gives_its_place_back() -> None:
    edge = Edge(places=200)
    await edge.call("other")
    await asyncio.gather(*edge.calls("busy", FREE + 2))
    assert len(edge.shed) == 1
    for turn in edge.held:
        turn.leave()
    assert edge.turns._places._free == 200
    assert edge.turns._places._costs == {}
    assert edge.turns._shares._all.under_way == 0
    assert edge.turns._calls.free == 1


async def test_calls_that_are_shed_are_counted_by_class() -> None:
    edge = Edge(places=2)
    await asyncio.gather(*edge.calls("standard-a", 3), *edge.calls("low-b", 1))
    assert edge.turns.shed.counts == {("standard",): 2, ("low",): 1}


async def test_an_edge_has_8_turns_at_once_and_of_1024_that_wait_half_are_one_accounts_for_2_seconds() -> None:
    edge = Edge(places=100_000, bounds=Bounds())
    await edge.call("other")
    tasks = edge.calls("busy", FREE + 1 + 8 + 512 + 3)
    await asyncio.sleep(0.0005)
    assert edge.count("busy") == FREE + 8
    assert edge.turns._calls.queue.cost_of("busy") == 512
    shed_at_once = len(edge.shed)
    assert shed_at_once == 4
    await asyncio.sleep(1.99)
    assert len(edge.shed) == shed_at_once
    await asyncio.sleep(0.02)
    assert len(edge.shed) > shed_at_once
    await drop(tasks)
