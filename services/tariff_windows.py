"""Windows of weekday and hour in which a tariff has other prices, in the tariff's own time zone; shared by all that price calls.

A day is a weekday, or a holiday where the tariff names its date. Windows of one version do not overlap, and no window is in force
at other hours. Hours are those of the wall clock, also on a day on which it is changed.
"""

import datetime
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "holiday")
_HOLIDAY: Final = DAYS.index("holiday")
MINUTES_OF_DAY: Final = 24 * 60
_US: Final = 1_000_000
_MINUTE_US: Final = 60 * _US
# While a clock is changed, look again so often: no zone changes within a quarter of an hour.
_QUARTER_US: Final = 15 * _MINUTE_US
# The next day of a kind is looked for this far ahead.
_DAYS_AHEAD: Final = 400


class Hours(NamedTuple):
    """Hours of some days: from a minute of the day up to another one, not included."""

    # Indexes into `DAYS`.
    days: frozenset[int]
    begin_minute: int
    end_minute: int


class Calendar(NamedTuple):
    """The clock and the holidays by which hours are read."""

    # IANA name.
    time_zone: str = "UTC"
    holidays: frozenset[datetime.date] = frozenset()

    def day_of(self, date: datetime.date) -> int:
        """The kind of a date, an index into `DAYS`."""
        return _HOLIDAY if date in self.holidays else date.weekday()


def window_at(windows: Sequence[Sequence[Hours]], calendar: Calendar, now_us: int) -> tuple[int, int]:
    """The index of the window that is in force (-1: none), and a time up to which that stays so, in microseconds since 1970."""
    zone = ZoneInfo(calendar.time_zone)
    local = datetime.datetime.fromtimestamp(now_us // _US, zone)
    day, minute = calendar.day_of(local.date()), local.hour * 60 + local.minute
    found, boundary = -1, MINUTES_OF_DAY
    for index, window in enumerate(windows):
        for hours in window:
            if day not in hours.days:
                continue
            if hours.begin_minute <= minute < hours.end_minute:
                found = index
            for edge in (hours.begin_minute, hours.end_minute):
                if minute < edge < boundary:
                    boundary = edge
    midnight = datetime.datetime.combine(local.date() + datetime.timedelta(days=1), datetime.time(), zone)
    if midnight.utcoffset() != datetime.datetime.combine(local.date(), datetime.time(), zone).utcoffset():
        this_minute_us = now_us // _MINUTE_US * _MINUTE_US
        return found, min(now_us // _QUARTER_US * _QUARTER_US + _QUARTER_US, this_minute_us + (boundary - minute) * _MINUTE_US)
    until = midnight - datetime.timedelta(minutes=MINUTES_OF_DAY - boundary)
    return found, int(until.timestamp()) * _US


def next_begin_us(window: Sequence[Hours], calendar: Calendar, now_us: int) -> int | None:
    """The next time at which a window begins; None: not in the year ahead."""
    zone = ZoneInfo(calendar.time_zone)
    today = datetime.datetime.fromtimestamp(now_us // _US, zone).date()
    for ahead in range(_DAYS_AHEAD):
        date = today + datetime.timedelta(days=ahead)
        begins = (
            int(datetime.datetime.combine(date, datetime.time(*divmod(hours.begin_minute, 60)), zone).timestamp()) * _US
            for hours in window
            if calendar.day_of(date) in hours.days
        )
        if (begin := min((each for each in begins if each > now_us), default=None)) is not None:
            return begin
    return None


def overlaps(windows: Sequence[Sequence[Hours]]) -> Iterator[tuple[int, int, int, int, int]]:
    """Each pair of spans that share a moment of a day: the later window and its span, the earlier window, the day, the minute."""
    for index, window in enumerate(windows):
        for number, hours in enumerate(window):
            for other_index in range(index + 1):
                others = windows[other_index] if other_index < index else window[:number]
                for other in others:
                    shared = hours.days & other.days
                    begin = max(hours.begin_minute, other.begin_minute)
                    if shared and begin < min(hours.end_minute, other.end_minute):
                        yield index, number, other_index, min(shared), begin
