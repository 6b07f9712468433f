"""Rules of every entry of a catalog: how a flaw is told, and which amounts, numbers and names are right."""

import datetime
import re
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import cache
from typing import Final
from zoneinfo import available_timezones

INT32_MAX: Final = 2**31 - 1
INT64_MAX: Final = 2**63 - 1
# Amounts that accounting adds up are at most this many micro-units each, and it takes no larger ones.
ADDED_UP_MAX: Final = INT64_MAX // 2
_AMOUNT_MAX: Final = Decimal(INT64_MAX) / 1_000_000
# Days after the last one are looked at too.
_YEARS: Final = (1970, 8999)
_REGION: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

# A flaw of an entry: the field's path inside it, and what would be right.
FieldFlaw = tuple[str, str]


def micro_amount(amount: Decimal) -> int:
    """An amount or a rate in int64 micro-units. Errors: `ValueError` that says what would be right."""
    if not amount.is_finite():
        raise ValueError(f"must be a finite number; it is {amount}")
    if amount < 0:
        raise ValueError(f"must not be negative; it is {amount}")
    if amount > _AMOUNT_MAX:
        raise ValueError(f"must be at most {_AMOUNT_MAX}, so that it fits int64 micro-units; it is {amount}")
    if int(amount.as_tuple().exponent) < -6:
        raise ValueError(f"must have at most 6 decimals; it is {amount}")
    # At most 19 digits here, and the decimal context keeps 28: exact.
    return int(amount * 1_000_000)


def text_flaws(field: str, text: str) -> Iterator[FieldFlaw]:
    """A text must not be empty, and has no control characters: it stands in records, and databases take no NUL."""
    if not text.strip():
        yield field, "must not be empty"
    if _CONTROL.search(text):
        yield field, "must not have control characters"


def whole_flaws(field: str, number: int, least: int, most: int) -> Iterator[FieldFlaw]:
    """A whole number must lie within bounds."""
    if not least <= number <= most:
        yield field, f"must be from {least} to {most}; it is {number}"


def choice_flaws(field: str, value: str, choices: Iterable[str]) -> Iterator[FieldFlaw]:
    """A name must be one of a few."""
    if value not in choices:
        yield field, f"must be {' or '.join(choices)}; it is {value!r}"


def region_flaws(field: str, region: str) -> Iterator[FieldFlaw]:
    """A region is a short name."""
    if not _REGION.fullmatch(region):
        yield field, f"must be at most 63 lower-case letters, digits and - like cn-north; it is {region!r}"


def currency_flaws(field: str, unit: str, currency: str) -> Iterator[FieldFlaw]:
    """A currency goes with the unit CURRENCY, and only with it."""
    if unit == "CURRENCY" and not _CURRENCY.fullmatch(currency):
        yield field, f"must be an ISO 4217 code of 3 capital letters like USD; it is {currency!r}"
    elif unit != "CURRENCY" and currency:
        yield field, f"goes with the unit CURRENCY only; the unit is {unit}: leave it out"


def effective_time_flaws(field: str, time: datetime.datetime) -> Iterator[FieldFlaw]:
    """A time must say in which zone it is meant, and be one that every calendar and message here can hold."""
    if time.tzinfo is None:
        yield field, f"must carry an offset, like {time.isoformat()}+08:00"
    elif not _YEARS[0] <= time.year <= _YEARS[1]:
        yield field, f"must be in the years {_YEARS[0]} to {_YEARS[1]}; it is {time.isoformat()}"


@cache
def time_zones() -> frozenset[str]:
    """IANA names of the zones that are known here. A look walks through folders, and a catalog has many tariffs with a zone."""
    return frozenset(available_timezones())


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that nothing has."""
    names = sorted(known)
    shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "") if names else "none"
    return f"no {kind} has the ID {name!r}; known are: {shown}"
