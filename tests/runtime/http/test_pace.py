import pytest

from services.runtime.http.pace import Pace


def test_turns_are_free_at_once_and_then_come_at_their_rate() -> None:
    pace = Pace(per_second=100.0, at_once=3)
    assert [pace.take_s(10.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.01, 0.02])
    assert pace.wait_s(10.0) == pytest.approx(0.02)
    # 15 ms later one and a half of them have passed.
    assert pace.wait_s(10.015) == pytest.approx(0.005)
    assert pace.take_s(10.015) == pytest.approx(0.015)


def test_several_turns_are_taken_at_once() -> None:
    pace = Pace(per_second=100.0, at_once=3)
    assert [pace.take_s(0.0, turns=3), pace.take_s(0.0, turns=10), pace.take_s(0.0)] == pytest.approx([0, 0.1, 0.11])


def test_turns_that_nobody_took_are_not_saved_up() -> None:
    pace = Pace(per_second=100.0, at_once=2)
    assert pace.wait_s(0.0) == 0
    assert [pace.take_s(1_000.0) for _ in range(3)] == pytest.approx([0, 0, 0.01])
