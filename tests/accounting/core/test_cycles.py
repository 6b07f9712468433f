"""The calendar of cycles and windows."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.accounting.core.cycles import cycle_end_us, cycle_number_at, days_of, period_bounds_us
from services.accounting.core.terms import Cycle, Period

SHANGHAI = "Asia/Shanghai"
BERLIN = "Europe/Berlin"
MONTHLY = Cycle(Period.MONTH, 1, calendar=False, prorated=False)
DAILY = Cycle(Period.DAY, 1, calendar=False, prorated=False)


def us(text: str, zone: str = SHANGHAI) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("first", "ends"),
    [
        # From the 31st: the last day of shorter months, and the 31st again where there is one.
        ("2026-01-31 10:30", ["2026-02-28 10:30", "2026-03-31 10:30", "2026-04-30 10:30", "2026-05-31 10:30"]),
        ("2027-12-31 00:00", ["2028-01-31 00:00", "2028-02-29 00:00", "2028-03-31 00:00"]),
        # From a leap day.
        ("2028-02-29 23:59", ["2028-03-29 23:59", "2028-04-29 23:59"]),
        ("2026-11-15 08:00", ["2026-12-15 08:00", "2027-01-15 08:00"]),
    ],
)
def test_a_month_ends_on_its_day_or_on_the_last_one(first: str, ends: list[str]) -> None:
    assert [cycle_end_us(MONTHLY, SHANGHAI, us(first), number + 1) for number in range(len(ends))] == [us(each) for each in ends]


def test_a_year_from_a_leap_day_ends_on_the_28th_and_four_years_on_the_29th() -> None:
    yearly = Cycle(Period.MONTH, 12, calendar=False, prorated=False)
    first = us("2028-02-29 12:00")
    assert cycle_end_us(yearly, SHANGHAI, first, 1) == us("2029-02-28 12:00")
    assert cycle_end_us(yearly, SHANGHAI, first, 4) == us("2032-02-29 12:00")


def test_calendar_cycles_end_at_the_calendar_s_periods() -> None:
    first = us("2026-11-18 15:00")
    for period, end, next_end in (
        (Period.DAY, "2026-11-19 00:00", "2026-11-20 00:00"),
        # The 18th is a Wednesday.
        (Period.WEEK, "2026-11-23 00:00", "2026-11-30 00:00"),
        (Period.MONTH, "2026-12-01 00:00", "2027-01-01 00:00"),
    ):
        cycle = Cycle(period, 1, calendar=True, prorated=False)
        assert [cycle_end_us(cycle, SHANGHAI, first, number) for number in (1, 2)] == [us(end), us(next_end)]


def test_the_day_is_that_of_the_cell() -> None:
    """16:30 UTC is after midnight in Shanghai, and the day before in New York."""
    time = us("2026-11-23 16:30", "UTC")
    assert period_bounds_us(Period.DAY, SHANGHAI, time) == (us("2026-11-24 00:00"), us("2026-11-25 00:00"))
    new_york = "America/New_York"
    assert period_bounds_us(Period.DAY, new_york, time) == (us("2026-11-23 00:00", new_york), us("2026-11-24 00:00", new_york))


@pytest.mark.parametrize("time", ["2028-01-01 00:00", "2028-02-29 12:00", "2028-12-31 23:59"])
def test_a_year_of_366_days_ends_with_its_last(time: str) -> None:
    assert period_bounds_us(Period.YEAR, SHANGHAI, us(time)) == (us("2028-01-01 00:00"), us("2029-01-01 00:00"))


def test_cycles_keep_the_hour_of_the_day_over_changes_of_the_clock() -> None:
    first = us("2026-03-28 02:30", BERLIN)
    # On the 29th the clock goes from 2:00 to 3:00: 2:30 does not exist, 3:30 is the same distance behind the gap.
    assert cycle_end_us(DAILY, BERLIN, first, 1) == us("2026-03-29 03:30", BERLIN)
    assert cycle_end_us(DAILY, BERLIN, first, 2) == us("2026-03-30 02:30", BERLIN)
    hours = [
        (end - begin) // 3_600_000_000
        for day in ("2026-03-28 12:00", "2026-03-29 12:00", "2026-10-25 12:00")
        for begin, end in [period_bounds_us(Period.DAY, BERLIN, us(day, BERLIN))]
    ]
    assert hours == [24, 23, 25]


def test_a_zone_off_the_hour_has_its_own_midnight() -> None:
    nepal = "Asia/Kathmandu"
    for time in ("2026-11-23 23:59", "2026-11-24 00:00", "2026-11-24 00:20"):
        begin, end = period_bounds_us(Period.DAY, nepal, us(time, nepal))
        assert begin <= us(time, nepal) < end
        assert begin == us(time[:10] + " 00:00", nepal)


@pytest.mark.parametrize("days", [0, 1, 2, 3, 100, 5_000])
def test_the_cycle_of_a_time_is_found_however_far_it_is(days: int) -> None:
    first = us("2026-01-31 10:30")
    time = first + days * 86_400_000_000
    assert cycle_number_at(DAILY, SHANGHAI, first, 1, time) == days + 1
    assert cycle_number_at(DAILY, SHANGHAI, first, 1, time - 1) == max(1, days)
    number = cycle_number_at(MONTHLY, SHANGHAI, first, 1, time)
    assert cycle_end_us(MONTHLY, SHANGHAI, first, number - 1) <= time < cycle_end_us(MONTHLY, SHANGHAI, first, number)


def test_days_are_counted_by_the_calendar() -> None:
    assert days_of(SHANGHAI, us("2026-11-18 23:59"), us("2026-12-01 00:00")) == 13
    assert days_of(BERLIN, us("2026-03-29 00:00", BERLIN), us("2026-03-30 00:00", BERLIN)) == 1
    # Not by their hours, of which that day in March has 23, one in October has 25, and a part of a day any number.
    assert days_of(BERLIN, us("2026-10-25 00:00", BERLIN), us("2026-10-26 00:00", BERLIN)) == 1
    assert days_of(SHANGHAI, us("2026-11-18 12:00"), us("2026-11-19 13:00")) == 1
    assert days_of(SHANGHAI, us("2026-11-18 12:00"), us("2026-11-19 11:00")) == 1
