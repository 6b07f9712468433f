"""Calendar arithmetic of cycles and windows, in the cell's time zone. Times are microseconds since 1970-01-01 UTC.

A month's cycle that begins on the 31st ends on the last day of a shorter month. It ends on the 31st again where there is one. Each
end is computed from the first beginning, never from the end before it. A local time that a change to summer time leaves out
becomes the first one after it. A local time that comes twice counts when it comes first.
"""

import datetime
from calendar import monthrange
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.accounting.core.terms import Cycle, Period

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND = datetime.timedelta(microseconds=1)
_DAYS = {Period.DAY: 1, Period.WEEK: 7}


def cycle_end_us(cycle: Cycle, time_zone: str, first_us: int, number: int) -> int:
    """The end of the cycle of this number, where the next begins; cycle 1 began at `first_us`."""
    zone = ZoneInfo(time_zone)
    first = _local(first_us, zone)
    steps = number * cycle.count
    if cycle.calendar:
        first = _period_begin(cycle.period, first)
    if cycle.period == Period.MONTH:
        month = first.month - 1 + steps
        year, month = first.year + month // 12, month % 12 + 1
        day = min(first.day, monthrange(year, month)[1])
        end = first.replace(year=year, month=month, day=day)
    else:
        end = first + datetime.timedelta(days=_DAYS[cycle.period] * steps)
    return _us(end, zone)


def cycle_number_at(cycle: Cycle, time_zone: str, first_us: int, number: int, time_us: int) -> int:
    """The number, `number` or above, of the cycle that `time_us` lies in."""
    # Steps double while they fall short, then halve, so that a subscription that slept for years is found in a few steps.
    step = 1
    while cycle_end_us(cycle, time_zone, first_us, number + step) <= time_us:
        step *= 2
    low, high = number + step // 2, number + step
    while low < high:
        middle = (low + high) // 2
        if cycle_end_us(cycle, time_zone, first_us, middle) <= time_us:
            low = middle + 1
        else:
            high = middle
    return low


def days_of(time_zone: str, begin_us: int, end_us: int) -> int:
    """The number of local days between two times, counting the day of `begin_us` as a whole."""
    zone = ZoneInfo(time_zone)
    return (_local(end_us, zone).date() - _local(begin_us, zone).date()).days


def period_bounds_us(period: Period, time_zone: str, time_us: int) -> tuple[int, int]:
    """The begin and end of the day, the week (from Monday), the month or the year that `time_us` lies in."""
    # The last answers are kept, because windows ask this for every call and an answer changes once a period.
    hour_us = time_us - time_us % 3_600_000_000
    begin_us, end_us = _period_bounds_us(period, time_zone, hour_us)
    if time_us >= end_us:
        # A zone whose offset is no whole number of hours can end a period inside an hour.
        begin_us, end_us = _period_bounds_us(period, time_zone, end_us)
    return begin_us, end_us


@lru_cache(maxsize=64)
def _period_bounds_us(period: Period, time_zone: str, time_us: int) -> tuple[int, int]:
    zone = ZoneInfo(time_zone)
    begin = _period_begin(period, _local(time_us, zone))
    if period == Period.YEAR:
        end = begin.replace(year=begin.year + 1)
    elif period == Period.MONTH:
        end = begin.replace(day=1) + datetime.timedelta(days=monthrange(begin.year, begin.month)[1])
    else:
        end = begin + datetime.timedelta(days=_DAYS[period])
    return _us(begin, zone), _us(end, zone)


def _period_begin(period: Period, local: datetime.datetime) -> datetime.datetime:
    begin = local.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == Period.WEEK:
        return begin - datetime.timedelta(days=begin.weekday())
    if period == Period.YEAR:
        return begin.replace(month=1, day=1)
    return begin.replace(day=1) if period == Period.MONTH else begin


def _local(time_us: int, zone: ZoneInfo) -> datetime.datetime:
    """The wall clock at a time, without its zone, so that arithmetic keeps the hour of the day."""
    return (_EPOCH + datetime.timedelta(microseconds=time_us)).astimezone(zone).replace(tzinfo=None)


def _us(local: datetime.datetime, zone: ZoneInfo) -> int:
    aware = local.replace(tzinfo=zone, fold=0)
    # With fold=0 a time inside a gap takes the offset before the gap, and so lands at the same distance after it.
    return (aware - _EPOCH) // _MICROSECOND
