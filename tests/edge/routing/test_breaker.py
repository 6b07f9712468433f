"""When a breaker opens, what passes while it is not closed, and what closes it."""

import pytest

from services.edge.routing.breaker import Breaker, State


def _entered(breaker: Breaker, now_s: float, account: str = "a") -> int:
    era = breaker.enter(account, now_s)
    assert era is not None
    return era


def _lose(breaker: Breaker, began_s: float, now_s: float | None = None, account: str = "a") -> bool:
    """A call that is lost, at once or later."""
    now_s = began_s if now_s is None else now_s
    return breaker.failed(account, _entered(breaker, began_s, account), began_s, now_s, is_lost=True)


def _refuse(breaker: Breaker, now_s: float, account: str = "a") -> bool:
    return breaker.failed(account, _entered(breaker, now_s, account), now_s, now_s, is_lost=False)


def _answer(breaker: Breaker, now_s: float, account: str = "a") -> bool:
    return breaker.answered(account, _entered(breaker, now_s, account), now_s)


def _opened(at_s: float = 0.0, accounts: str = "abc") -> Breaker:
    """A breaker that lost calls of these accounts have opened."""
    breaker = Breaker()
    assert [_lose(breaker, at_s, account=account) for account in accounts] == [False, False, True]
    return breaker


def test_three_calls_lost_in_a_row_open_it_for_five_seconds() -> None:
    breaker = _opened(100.0)
    assert breaker.state(100.0) is State.OPEN
    assert breaker.wait_s("a", 100.0) == 5.0
    assert breaker.wait_s("a", 103.5) == 1.5
    assert breaker.enter("a", 104.9) is None
    assert not breaker.is_costly


def test_an_answer_between_begins_the_row_anew() -> None:
    breaker = Breaker()
    assert not _lose(breaker, 0.0)
    assert not _lose(breaker, 0.0)
    assert not _answer(breaker, 0.0)
    assert not _lose(breaker, 0.0)
    assert not _lose(breaker, 0.0)
    assert breaker.state(0.0) is State.CLOSED
    assert _lose(breaker, 0.0)


def test_refusals_in_a_row_are_no_lost_calls() -> None:
    breaker = Breaker()
    assert not any(_refuse(breaker, 0.0) for _ in range(19))
    assert breaker.state(0.0) is State.CLOSED


def test_one_lost_call_that_took_long_opens_it_if_nobody_was_answered_meanwhile() -> None:
    breaker = Breaker()
    assert _lose(breaker, 10.0, 310.0)
    assert breaker.state(310.0) is State.OPEN_FOR_ONE
    assert breaker.is_costly

    breaker = Breaker()
    slow = _entered(breaker, 10.0)
    _answer(breaker, 11.0)
    assert not breaker.failed("a", slow, 10.0, 310.0, is_lost=True)
    assert breaker.state(310.0) is State.CLOSED


def test_a_lost_call_that_took_less_than_a_second_does_not_open_it() -> None:
    assert not _lose(Breaker(), 10.0, 10.9)
    assert _lose(Breaker(), 10.0, 11.0)


def test_half_of_twenty_outcomes_open_it() -> None:
    breaker = Breaker()
    for _ in range(10):
        assert not _answer(breaker, 0.0)
    assert [_refuse(breaker, 0.0) for _ in range(10)] == [False] * 9 + [True]

    breaker = Breaker()
    for _ in range(11):
        _answer(breaker, 0.0)
    assert not any(_refuse(breaker, 0.0) for _ in range(10))


def test_outcomes_of_before_weigh_half_for_each_window() -> None:
    breaker = Breaker()
    for _ in range(19):
        _refuse(breaker, 0.0)
    # 9 of them are left: with 10 more there are 19 again.
    assert not any(_refuse(breaker, 10.0) for _ in range(10))
    assert _refuse(breaker, 10.0)

    breaker = Breaker()
    for _ in range(19):
        _refuse(breaker, 0.0)
    assert not any(_refuse(breaker, 1e9) for _ in range(19))

    breaker = Breaker()
    for _ in range(19):
        _refuse(breaker, 0.0)
    for _ in range(11):
        _answer(breaker, 10.0)
    # 10 of 21.
    assert not _refuse(breaker, 10.0)


def test_one_call_is_the_probe_after_the_period_and_its_answer_closes_it() -> None:
    breaker = _opened()
    assert breaker.state(5.0) is State.HALF_OPEN
    probe = _entered(breaker, 5.0)
    assert breaker.enter("a", 5.0) is None
    assert breaker.enter("a", 8.9) is None
    assert breaker.wait_s("a", 8.9) == 1.0
    assert breaker.wait_s("a", 9.5) == 0.5
    assert breaker.state(9.5) is State.HALF_OPEN
    assert breaker.answered("a", probe, 9.5)
    assert breaker.state(9.5) is State.CLOSED
    assert breaker.wait_s("a", 9.5) == 0.0
    assert not _lose(breaker, 9.5)


def test_a_probe_that_does_not_end_is_joined_by_others_ever_later() -> None:
    breaker = _opened()
    slow = _entered(breaker, 5.0)
    entered = [now_s for now_s in range(5, 300) if breaker.enter("a", now_s) is not None]
    assert entered == [10, 20, 40, 80, 140, 200, 260]
    assert breaker.state(300.0) is State.HALF_OPEN
    assert breaker.answered("a", slow, 300.0)
    assert breaker.wait_s("a", 300.0) == 0.0
    for _ in range(3):
        _lose(breaker, 300.0)
    assert breaker.wait_s("a", 300.0) == 5.0


def test_the_answer_to_a_later_probe_closes_it_and_the_slow_one_says_nothing_when_it_is_lost() -> None:
    breaker = _opened()
    slow = _entered(breaker, 5.0)
    assert _answer(breaker, 10.0)
    assert not breaker.failed("a", slow, 5.0, 300.0, is_lost=True)
    assert breaker.state(300.0) is State.CLOSED


def test_slow_faults_beside_answers_cost_other_clients_no_call() -> None:
    breaker = Breaker()
    slow = [_entered(breaker, 0.0) for _ in range(20)]
    _answer(breaker, 1.0)
    assert [breaker.failed("a", era, 0.0, 2.0, is_lost=False) for era in slow] == [False] * 18 + [True, False]
    assert not breaker.is_costly
    probe = _entered(breaker, 7.0)
    # A call as the last resort, of no era.
    assert not breaker.answered("a", -1, 8.0)
    assert breaker.failed("a", probe, 7.0, 9.0, is_lost=False)
    assert not breaker.is_costly
    assert breaker.failed("a", _entered(breaker, 19.0), 19.0, 21.0, is_lost=False)
    assert breaker.is_costly


def test_a_probe_that_is_told_to_wait_waits_as_long_as_that() -> None:
    breaker = _opened()
    _entered(breaker, 5.0)
    breaker.hold("a", 5.0, 1.0)
    assert breaker.wait_s("a", 5.0) == 1.0


def test_each_failed_probe_doubles_the_period_up_to_a_minute() -> None:
    breaker = _opened()
    now_s, periods = 0.0, []
    for _ in range(6):
        periods.append(breaker.wait_s("a", now_s))
        now_s += periods[-1]
        assert _refuse(breaker, now_s)
    assert periods == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    now_s += 60.0
    assert _answer(breaker, now_s)
    for _ in range(3):
        _lose(breaker, now_s)
    assert breaker.wait_s("a", now_s) == 5.0


def test_a_probe_that_says_nothing_makes_way_for_another() -> None:
    breaker = _opened()
    probe = _entered(breaker, 5.0)
    breaker.leave("a", probe)
    assert breaker.state(5.0) is State.HALF_OPEN
    assert breaker.enter("a", 5.0) is not None


def test_calls_that_entered_before_it_opened_say_nothing() -> None:
    breaker = Breaker()
    early = [_entered(breaker, 0.0) for _ in range(6)]
    for era in early[:3]:
        breaker.failed("a", era, 0.0, 300.0, is_lost=True)
        if not breaker.is_closed:
            break
    until_s = breaker.wait_s("a", 300.0)
    assert not breaker.failed("a", early[3], 0.0, 304.0, is_lost=True)
    assert breaker.wait_s("a", 300.0) == until_s == 5.0
    assert not breaker.answered("a", early[4], 304.0)
    assert breaker.state(304.0) is State.OPEN_FOR_ONE
    probe = _entered(breaker, 305.0)
    breaker.leave("a", early[5])
    assert breaker.enter("a", 305.0) is None
    assert breaker.answered("a", probe, 306.0)


def test_a_probe_that_answered_and_broke_off_later_counts_as_lost_once() -> None:
    breaker = _opened()
    probe = _entered(breaker, 5.0)
    breaker.answered("a", probe, 5.0)
    assert not breaker.failed("a", probe, 5.0, 60.0, is_lost=True)
    assert breaker.state(60.0) is State.CLOSED


@pytest.mark.parametrize(("asked_s", "wait_s"), [(0.02, 0.02), (37.0, 37.0), (600.0, 600.0), (86_400.0, 600.0)])
def test_a_vendors_time_to_wait_is_kept_up_to_ten_minutes(asked_s: float, wait_s: float) -> None:
    breaker = Breaker()
    assert breaker.hold("a", 0.0, asked_s)
    assert breaker.wait_s("a", 0.0) == wait_s
    assert breaker.is_costly
    assert breaker.state(0.0) is State.OPEN_FOR_ONE
    _answer(breaker, wait_s)
    assert breaker.state(wait_s) is State.CLOSED


def test_the_longer_time_to_wait_holds() -> None:
    breaker = Breaker()
    breaker.hold("a", 0.0, 30.0)
    assert not breaker.hold("a", 1.0, 10.0)
    assert breaker.wait_s("a", 0.0) == 30.0
    assert not breaker.hold("a", 2.0, 60.0)
    assert breaker.wait_s("a", 2.0) == 60.0


def test_what_opened_it_at_once_costs_a_client_no_time() -> None:
    breaker = _opened()
    assert not breaker.is_costly
    probe = _entered(breaker, 5.0)
    breaker.failed("a", probe, 5.0, 35.0, is_lost=True)
    assert breaker.is_costly


def test_what_one_account_lost_leaves_the_route_out_for_it_alone() -> None:
    breaker = _opened(accounts="aaa")
    assert (breaker.state(0.0), breaker.only) == (State.OPEN_FOR_ONE, "a")
    assert (breaker.wait_s("a", 0.0), breaker.wait_s("b", 0.0)) == (5.0, 0.0)
    assert breaker.enter("a", 4.9) is None
    assert not _answer(breaker, 4.9, "b")
    # Its own probe closes it.
    probe = _entered(breaker, 5.0)
    breaker.leave("b", _entered(breaker, 5.0, "b"))
    assert breaker.enter("a", 5.0) is None
    assert breaker.answered("a", probe, 6.0)
    assert (breaker.state(6.0), breaker.only) == (State.CLOSED, None)


def test_one_more_call_that_another_account_loses_leaves_it_out_for_all() -> None:
    breaker = _opened(accounts="aaa")
    assert _lose(breaker, 1.0, account="b")
    assert (breaker.state(1.0), breaker.only) == (State.OPEN, None)
    assert {breaker.wait_s(account, 1.0) for account in "abc"} == {5.0}

    breaker = _opened(accounts="aaa")
    _answer(breaker, 1.0, "c")
    assert not _lose(breaker, 1.0, account="b")
    assert breaker.only == "a"


def test_time_outs_of_one_account_cost_each_other_account_one_at_most() -> None:
    breaker = Breaker()
    early = _entered(breaker, 10.0, "b")
    assert _lose(breaker, 0.0, 300.0)
    assert breaker.wait_s("c", 300.0) == 0.0
    # It entered before the first one was lost, and says that others wait in vain, too.
    assert breaker.failed("b", early, 10.0, 310.0, is_lost=True)
    assert breaker.state(310.0) is State.OPEN
    assert breaker.is_costly


@pytest.mark.parametrize(("others", "state"), [(0, State.OPEN_FOR_ONE), (1, State.OPEN_FOR_ONE), (2, State.OPEN)])
def test_faults_of_one_account_do_not_open_it_for_others_whose_calls_are_answered(others: int, state: State) -> None:
    breaker = Breaker()
    # Three calls of others, of which so many fail.
    for number in range(3):
        (_refuse if number < others else _answer)(breaker, 0.0, "bcd"[number])
    opened = [_refuse(breaker, 0.0) for _ in range(17)]
    assert opened == [False] * 16 + [True]
    assert breaker.state(0.0) is state


def test_outcomes_of_others_stay_when_it_opens_for_one() -> None:
    breaker = Breaker()
    for _ in range(9):
        _answer(breaker, 0.0, "b")
    assert [_refuse(breaker, 0.0) for _ in range(11)][-1]
    assert [_refuse(breaker, 0.0, "c") for _ in range(11)] == [False] * 10 + [True]
    assert breaker.state(0.0) is State.OPEN


def test_more_accounts_with_faults_than_are_told_apart_are_others() -> None:
    breaker = Breaker()
    opened = [_refuse(breaker, 0.0, f"account-{number}") for number in range(20)]
    assert opened[-1]
    assert breaker.state(0.0) is State.OPEN
    breaker = Breaker()
    for number in range(200):
        _answer(breaker, 0.0, f"account-{number}")
    for number in range(199):
        assert not _refuse(breaker, 0.0, f"account-{number}")
    assert _refuse(breaker, 0.0, "account-199")
    assert breaker.state(0.0) is State.OPEN


def test_a_time_to_wait_is_for_the_account_that_was_told_until_another_is_told_too() -> None:
    breaker = Breaker()
    assert breaker.hold("a", 0.0, 600.0)
    assert (breaker.wait_s("a", 0.0), breaker.wait_s("b", 0.0)) == (600.0, 0.0)
    assert not _answer(breaker, 1.0, "b")
    # Told again, it waits as long as was said first.
    assert not breaker.hold("a", 2.0, 1.0)
    assert breaker.wait_s("a", 2.0) == 598.0
    assert breaker.hold("b", 3.0, 30.0)
    assert {breaker.wait_s(account, 3.0) for account in "abc"} == {30.0}
    assert breaker.state(3.0) is State.OPEN


def test_all_wait_for_a_minute_at_most() -> None:
    breaker = Breaker()
    breaker.hold("a", 0.0, 600.0)
    breaker.hold("b", 0.0, 600.0)
    assert breaker.wait_s("c", 0.0) == 60.0
    breaker.hold("c", 0.0, 600.0)
    assert breaker.wait_s("c", 0.0) == 60.0


def test_calls_of_one_account_from_before_its_opening_say_nothing_later() -> None:
    breaker = Breaker()
    early = [_entered(breaker, 0.0) for _ in range(4)]
    assert breaker.failed("a", early[0], 0.0, 300.0, is_lost=True)
    assert _answer(breaker, 305.0)
    assert not any(breaker.failed("a", era, 0.0, 306.0, is_lost=True) for era in early[1:])
    assert breaker.state(306.0) is State.CLOSED
