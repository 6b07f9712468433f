"""A clock that jumps is told once, by how much and whereto."""

import logging

import pytest

from services.runtime.clock_watch import ClockWatch, show_clock
from services.runtime.instruments import page

SECOND_US = 1_000_000


class Machine:
    """A machine's two clocks; one of them can be set."""

    def __init__(self) -> None:
        self.monotonic_s = 7.0
        self.clock_us = 1_800_000_000 * SECOND_US

    def now_us(self) -> int:
        """See `Clock`."""
        return self.clock_us

    def passes(self, seconds: float, *, jumps_s: float = 0.0) -> None:
        """Time passes, and the clock is set."""
        self.monotonic_s += seconds
        self.clock_us += round((seconds + jumps_s) * SECOND_US)


def test_a_jump_is_told_once_and_so_is_the_way_back(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    watch = ClockWatch(machine, lambda: machine.monotonic_s)
    told = []
    for jumps_s in (0, 600, 0, -600, 0, 1.5, -1.5, 1.5, 1.5):
        machine.passes(1.0, jumps_s=jumps_s)
        caplog.clear()
        watch.look()
        told.append([record.getMessage().partition(":")[0] for record in caplog.records if record.levelno == logging.ERROR])
    jumped = "the clock of this machine jumped"
    # Small steps are told once they are too much together.
    assert told == [[], [f"{jumped} 600 s ahead"], [], [f"{jumped} 600 s back"], [], [], [], [], [f"{jumped} 3 s ahead"]]


def test_a_process_that_stood_still_has_a_clock_that_is_right(caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine()
    watch = ClockWatch(machine, lambda: machine.monotonic_s)
    machine.passes(3_600.0)
    watch.look()
    assert caplog.records == []


def test_the_page_of_metrics_has_the_clock() -> None:
    show_clock(Machine())
    assert b"\nclock_time_seconds 1800000000.0\n" in page()
