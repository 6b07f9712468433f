"""Windows of weekday and hour: when they are in force, until when that is so, and in which zone."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.tariff_windows import DAYS, Calendar, Hours, next_begin_us, overlaps, window_at

SHANGHAI = ZoneInfo("Asia/Shanghai")
WORKDAYS, WEEKEND, HOLIDAY = frozenset(range(5)), frozenset({5, 6}), frozenset({7})
NIGHT = (Hours(WORKDAYS, 30, 8 * 60 + 30),)
REST = (Hours(WEEKEND | HOLIDAY, 0, 1_440),)
CALENDAR = Calendar("Asia/Shanghai", frozenset({date(2026, 10, 1)}))


def us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)


@pytest.mark.parametrize(
    ("local", "index", "until"),
    [
        # 2026-09-28 is a Monday.
        ("2026-09-28 00:00", -1, "2026-09-28 00:30"),
        ("2026-09-28 00:29:59.999999", -1, "2026-09-28 00:30"),
        ("2026-09-28 00:30", 0, "2026-09-28 08:30"),
        ("2026-09-28 08:29:59.999999", 0, "2026-09-28 08:30"),
        ("2026-09-28 08:30", -1, "2026-09-29 00:00"),
        # A Thursday that is a holiday.
        ("2026-10-01 03:00", 1, "2026-10-02 00:00"),
        ("2026-10-03 12:00", 1, "2026-10-04 00:00"),
        ("2026-10-04 23:59:59", 1, "2026-10-05 00:00"),
    ],
)
def test_a_window_holds_from_its_begin_up_to_its_end(local: str, index: int, until: str) -> None:
    found = window_at([NIGHT, REST], CALENDAR, us(datetime.fromisoformat(local).replace(tzinfo=SHANGHAI)))
    assert found == (index, us(datetime.fromisoformat(until).replace(tzinfo=SHANGHAI)))


def test_the_same_moment_is_another_hour_in_another_zone() -> None:
    moment = us(datetime(2026, 9, 28, 1, tzinfo=SHANGHAI))
    assert window_at([NIGHT], CALENDAR, moment)[0] == 0
    # It is Sunday there.
    assert window_at([NIGHT], Calendar("UTC"), moment)[0] == -1


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 10, 25)])
def test_no_change_is_missed_while_a_clock_is_changed(day: date) -> None:
    """Each minute of a day that has 23 or 25 hours: what was said to hold up to a time does."""
    calendar = Calendar("Europe/Berlin")
    windows = [(Hours(frozenset(range(7)), 60, 150),), (Hours(frozenset(range(7)), 150, 181),)]
    begin = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)
    said, until_us = window_at(windows, calendar, us(begin))
    for minute in range(26 * 60):
        moment = begin + timedelta(minutes=minute)
        local = moment.astimezone(ZoneInfo("Europe/Berlin"))
        clock = local.hour * 60 + local.minute
        right = 0 if 60 <= clock < 150 else 1 if 150 <= clock < 181 else -1
        if us(moment) >= until_us or right != said:
            assert us(moment) >= until_us, (local, right, said)
            said, until_us = window_at(windows, calendar, us(moment))
        assert said == right, local


def test_the_next_begin_may_be_a_holiday_far_away() -> None:
    now = us(datetime(2026, 2, 1, 12, tzinfo=SHANGHAI))
    assert next_begin_us((Hours(HOLIDAY, 60, 120),), CALENDAR, now) == us(datetime(2026, 10, 1, 1, tzinfo=SHANGHAI))
    assert next_begin_us((Hours(HOLIDAY, 60, 120),), Calendar("Asia/Shanghai"), now) is None
    # 2026-02-02 is a Monday.
    assert next_begin_us(NIGHT, CALENDAR, now) == us(datetime(2026, 2, 2, 0, 30, tzinfo=SHANGHAI))


def test_spans_that_share_a_moment_of_a_day_overlap() -> None:
    other = (Hours(frozenset({0}), 8 * 60, 9 * 60), Hours(frozenset({6}), 0, 60))
    assert list(overlaps([NIGHT, REST, other])) == [(2, 0, 0, 0, 8 * 60), (2, 1, 1, 6, 0)]
    assert list(overlaps([NIGHT, (Hours(WORKDAYS, 8 * 60 + 30, 600),)])) == []
    assert list(overlaps([(Hours(WORKDAYS, 0, 60), Hours(frozenset({2}), 59, 70))])) == [(0, 1, 0, 2, 59)]
    assert DAYS[7] == "holiday"
