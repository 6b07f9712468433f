"""When a breaker opens, what passes while it is not closed, and what closes it."""

import pytest

from services.edge.routing.breaker import Breaker, State


def _entered(breaker: Breaker, now_s: float) -> int:
    era = breaker.enter(now_s)
    assert era is not None
    return era


def _lose(breaker: Breaker, began_s: float, now_s: float | None = None) -> bool:
    """A call that is lost, at once or later."""
    now_s = began_s if now_s is None else now_s
    return breaker.failed(_entered(breaker, began_s), began_s, now_s, is_lost=True)


def _refuse(breaker: Breaker, now_s: float, began_s: float | None = None) -> bool:
    return breaker.failed(_entered(breaker, now_s), now_s if began_s is None else began_s, now_s, is_lost=False)


def _answer(breaker: Breaker, now_s: float) -> bool:
    return breaker.answered(_entered(breaker, now_s), now_s)


def _opened(at_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    assert [_lose(breaker, at_s) for _ in range(3)] == [False, False, True]
    return breaker


def test_three_calls_lost_in_a_row_open_it_for_five_seconds() -> None:
    breaker = _opened(100.0)
    assert breaker.state(100.0) is State.OPEN
    assert breaker.wait_s(100.0) == 5.0
    assert breaker.wait_s(103.5) == 1.5
    assert breaker.enter(104.9) is None
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
    assert breaker.state(310.0) is State.OPEN
    assert breaker.is_costly

    breaker = Breaker()
    slow = _entered(breaker, 10.0)
    _answer(breaker, 11.0)
    assert not breaker.failed(slow, 10.0, 310.0, is_lost=True)
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
    assert breaker.enter(5.0) is None
    assert breaker.enter(8.9) is None
    assert breaker.wait_s(8.9) == 1.0
    assert breaker.wait_s(9.5) == 0.5
    assert breaker.state(9.5) is State.HALF_OPEN
    assert breaker.answered(probe, 9.5)
    assert breaker.state(9.5) is State.CLOSED
    assert breaker.wait_s(9.5) == 0.0
    assert not _lose(breaker, 9.5)


def test_a_probe_that_does_not_end_is_joined_by_others_ever_later() -> None:
    breaker = _opened()
    slow = _entered(breaker, 5.0)
    entered = [now_s for now_s in range(5, 300) if breaker.enter(now_s) is not None]
    assert entered == [10, 20, 40, 80, 140, 200, 260]
    assert breaker.state(300.0) is State.HALF_OPEN
    assert breaker.answered(slow, 300.0)
    assert breaker.wait_s(300.0) == 0.0
    for _ in range(3):
        _lose(breaker, 300.0)
    assert breaker.wait_s(300.0) == 5.0


def test_the_answer_to_a_later_probe_closes_it_and_the_slow_one_says_nothing_when_it_is_lost() -> None:
    breaker = _opened()
    slow = _entered(breaker, 5.0)
    assert _answer(breaker, 10.0)
    assert not breaker.failed(slow, 5.0, 300.0, is_lost=True)
    assert breaker.state(300.0) is State.CLOSED


def test_slow_faults_beside_answers_cost_other_clients_no_call() -> None:
    breaker = Breaker()
    slow = [_entered(breaker, 0.0) for _ in range(20)]
    _answer(breaker, 1.0)
    assert [breaker.failed(era, 0.0, 2.0, is_lost=False) for era in slow] == [False] * 18 + [True, False]
    assert not breaker.is_costly
    probe = _entered(breaker, 7.0)
    # A call as the last resort, of no era.
    assert not breaker.answered(-1, 8.0)
    assert breaker.failed(probe, 7.0, 9.0, is_lost=False)
    assert not breaker.is_costly
    assert breaker.failed(_entered(breaker, 19.0), 19.0, 21.0, is_lost=False)
    assert breaker.is_costly


def test_a_probe_that_is_told_to_wait_waits_as_long_as_that() -> None:
    breaker = _opened()
    _entered(breaker, 5.0)
    breaker.hold(5.0, 1.0)
    assert breaker.wait_s(5.0) == 1.0


def test_each_failed_probe_doubles_the_period_up_to_a_minute() -> None:
    breaker = _opened()
    now_s, periods = 0.0, []
    for _ in range(6):
        periods.append(breaker.wait_s(now_s))
        now_s += periods[-1]
        assert _refuse(breaker, now_s)
    assert periods == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    now_s += 60.0
    assert _answer(breaker, now_s)
    for _ in range(3):
        _lose(breaker, now_s)
    assert breaker.wait_s(now_s) == 5.0


def test_a_probe_that_says_nothing_makes_way_for_another() -> None:
    breaker = _opened()
    probe = _entered(breaker, 5.0)
    breaker.leave(probe)
    assert breaker.state(5.0) is State.HALF_OPEN
    assert breaker.enter(5.0) is not None


def test_calls_that_entered_before_it_opened_say_nothing() -> None:
    breaker = Breaker()
    early = [_entered(breaker, 0.0) for _ in range(6)]
    for era in early[:3]:
        breaker.failed(era, 0.0, 300.0, is_lost=True)
        if breaker.state(300.0) is State.OPEN:
            break
    until_s = breaker.wait_s(300.0)
    assert not breaker.failed(early[3], 0.0, 304.0, is_lost=True)
    assert breaker.wait_s(300.0) == until_s == 5.0
    assert not breaker.answered(early[4], 304.0)
    assert breaker.state(304.0) is State.OPEN
    probe = _entered(breaker, 305.0)
    breaker.leave(early[5])
    assert breaker.enter(305.0) is None
    assert breaker.answered(probe, 306.0)


def test_a_probe_that_answered_and_broke_off_later_counts_as_lost_once() -> None:
    breaker = _opened()
    probe = _entered(breaker, 5.0)
    breaker.answered(probe, 5.0)
    assert not breaker.failed(probe, 5.0, 60.0, is_lost=True)
    assert breaker.state(60.0) is State.CLOSED


@pytest.mark.parametrize(("asked_s", "wait_s"), [(0.02, 0.02), (37.0, 37.0), (600.0, 600.0), (86_400.0, 600.0)])
def test_a_vendors_time_to_wait_is_kept_up_to_ten_minutes(asked_s: float, wait_s: float) -> None:
    breaker = Breaker()
    assert breaker.hold(0.0, asked_s)
    assert breaker.wait_s(0.0) == wait_s
    assert breaker.is_costly
    assert breaker.state(0.0) is State.OPEN
    _answer(breaker, wait_s)
    assert breaker.state(wait_s) is State.CLOSED


def test_the_longer_time_to_wait_holds() -> None:
    breaker = Breaker()
    breaker.hold(0.0, 30.0)
    assert not breaker.hold(1.0, 10.0)
    assert breaker.wait_s(0.0) == 30.0
    assert not breaker.hold(2.0, 60.0)
    assert breaker.wait_s(2.0) == 60.0


def test_what_opened_it_at_once_costs_a_client_no_time() -> None:
    breaker = _opened()
    assert not breaker.is_costly
    probe = _entered(breaker, 5.0)
    breaker.failed(probe, 5.0, 35.0, is_lost=True)
    assert breaker.is_costly
