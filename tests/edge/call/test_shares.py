"""Shares of accounts in an edge, with the time as an argument."""

import asyncio

import pytest

from services.edge.call.shares import FairQueue, Places, Shares


def taken(places: Places, account_id: str, cost: float = 1.0) -> int:
    """Takes as many places as the account may have; how many those were."""
    count = 0
    while places.take(account_id, cost):
        count += 1
    return count


def test_an_account_alone_has_half_of_the_places_and_the_next_one_a_share_of_the_rest() -> None:
    places = Places(120)
    assert taken(places, "acct-a") == 60
    assert taken(places, "acct-b") == 30
    assert taken(places, "acct-c") == 15
    # Once those of the first have ended, the second may have more.
    for _ in range(60):
        places.give_back("acct-a", 1.0)
    assert taken(places, "acct-b") == 23
    assert taken(places, "acct-c") == 19


def test_accounts_that_take_in_turn_have_a_third_each() -> None:
    places = Places(120)
    for _ in range(40):
        assert places.take("acct-a", 1.0)
        assert places.take("acct-b", 1.0)
    assert not places.take("acct-a", 1.0)
    assert places.take("acct-c", 1.0)


@pytest.mark.parametrize(("cost", "share"), [(4.0, 20), (1.0, 50), (0.25, 80)])
def test_a_class_has_its_own_share_of_the_places(cost: float, share: int) -> None:
    assert taken(Places(100), "acct-a", cost) == share


def test_there_are_no_more_places_than_there_are() -> None:
    places = Places(2)
    assert taken(places, "acct-a") == 1
    assert places.take("acct-b", 0.25)
    assert not places.take("acct-c", 0.25)
    places.give_back("acct-b", 0.25)
    assert places.take("acct-c", 0.25)


def begun(shares: Shares, account_id: str, calls: int, cost: float = 1.0) -> None:
    for _ in range(calls):
        shares.begin(account_id, cost)


def test_an_account_alone_may_use_all() -> None:
    shares = Shares()
    begun(shares, "acct-a", 1_000)
    assert not shares.is_beyond("acct-a", 0.0)


def test_an_account_is_beyond_its_share_with_more_than_32_calls_where_others_use_less() -> None:
    shares = Shares()
    begun(shares, "acct-b", 1)
    begun(shares, "acct-a", 32)
    assert not shares.is_beyond("acct-a", 0.0)
    begun(shares, "acct-a", 1)
    assert shares.is_beyond("acct-a", 0.0)
    assert not shares.is_beyond("acct-b", 0.0)


def test_accounts_that_use_as_much_as_others_are_not_beyond_their_share() -> None:
    shares = Shares()
    for account_id in ("acct-a", "acct-b", "acct-c"):
        begun(shares, account_id, 50)
    assert not shares.is_beyond("acct-a", 0.0)
    # One and a half times what the others use on average is not far more.
    begun(shares, "acct-a", 25)
    assert not shares.is_beyond("acct-a", 0.0)
    begun(shares, "acct-a", 1)
    assert shares.is_beyond("acct-a", 0.0)
    assert not shares.is_beyond("acct-b", 0.0)


def test_calls_of_a_low_class_count_fourfold_and_those_of_a_high_one_a_fourth() -> None:
    shares = Shares()
    begun(shares, "acct-other", 1)
    begun(shares, "acct-low", 8, cost=4.0)
    begun(shares, "acct-high", 128, cost=0.25)
    assert not shares.is_beyond("acct-low", 0.0)
    assert not shares.is_beyond("acct-high", 0.0)
    begun(shares, "acct-low", 1, cost=4.0)
    begun(shares, "acct-high", 1, cost=0.25)
    assert shares.is_beyond("acct-low", 0.0)
    assert shares.is_beyond("acct-high", 0.0)


def test_a_call_that_has_ended_fades_from_the_use() -> None:
    shares = Shares()
    begun(shares, "acct-b", 1)
    begun(shares, "acct-a", 80)
    for _ in range(80):
        shares.end("acct-a", 1.0, 10.0)
    # 80 / e is less than 32.
    assert shares.is_beyond("acct-a", 10.9)
    assert not shares.is_beyond("acct-a", 11.0)


def test_calls_one_after_another_add_up() -> None:
    shares = Shares()
    begun(shares, "acct-b", 1)
    for number in range(33):
        shares.begin("acct-a", 1.0)
        shares.end("acct-a", 1.0, number / 1_000)
    assert shares.is_beyond("acct-a", 0.032)


def test_an_account_that_has_not_called_for_5_seconds_is_forgotten() -> None:
    shares = Shares()
    shares.begin("acct-b", 1.0)
    shares.end("acct-b", 1.0, 0.0)
    begun(shares, "acct-a", 33)
    assert shares.is_beyond("acct-a", 4.9)
    # There is nobody else to keep room for.
    assert not shares.is_beyond("acct-a", 5.0)
    assert list(shares._uses) == ["acct-a"]


def test_an_account_that_calls_again_is_not_forgotten() -> None:
    shares = Shares()
    shares.begin("acct-b", 1.0)
    shares.end("acct-b", 1.0, 0.0)
    shares.begin("acct-b", 1.0)
    begun(shares, "acct-a", 33)
    assert shares.is_beyond("acct-a", 100.0)


class Call(asyncio.Future[None]):
    """A call that waits."""

    def __init__(self, name: str) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        self.name = name


def order(queue: FairQueue[Call]) -> str:
    names = ""
    while (call := queue.next()) is not None:
        names += call.name
    return names


async def test_each_account_has_a_turn_before_one_has_its_second() -> None:
    queue = FairQueue[Call]()
    for name in ("1", "2", "3"):
        queue.add("acct-a", 1.0, Call(name))
    queue.add("acct-b", 1.0, Call("b"))
    assert order(queue) == "1b23"


async def test_a_low_class_has_one_turn_to_four_and_a_high_one_four() -> None:
    queue = FairQueue[Call]()
    for _ in range(8):
        queue.add("acct-low", 4.0, Call("l"))
        queue.add("acct-standard", 1.0, Call("s"))
        queue.add("acct-high", 0.25, Call("h"))
    assert order(queue)[:14] == "lshhhhshhhhssl"


async def test_who_comes_later_is_not_served_for_the_time_before() -> None:
    queue = FairQueue[Call]()
    for name in ("1", "2", "3", "4"):
        queue.add("acct-a", 1.0, Call(name))
    first = [queue.next(), queue.next()]
    assert [call.name for call in first if call is not None] == ["1", "2"]
    for name in ("x", "y"):
        queue.add("acct-b", 1.0, Call(name))
    assert order(queue) == "x3y4"


async def test_a_call_that_waits_no_longer_has_no_turn_and_no_cost() -> None:
    queue = FairQueue[Call]()
    gone = Call("gone")
    queue.add("acct-a", 1.0, gone)
    queue.add("acct-a", 4.0, Call("1"))
    assert (queue.cost, queue.cost_of("acct-a"), queue.cost_of("acct-b")) == (5.0, 5.0, 0.0)
    gone.cancel()
    queue.left("acct-a", 1.0)
    assert (queue.cost, queue.cost_of("acct-a")) == (4.0, 4.0)
    assert order(queue) == "1"
    queue.left("acct-a", 4.0)
    assert (queue.cost, queue._costs, queue._ends) == (0.0, {}, {})
