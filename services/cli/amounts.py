"""Amounts as people write them, in whole units, and as programs keep them, in integers of micro-units."""

import re
from collections.abc import Mapping
from typing import Any, Final

import click

_PLACES: Final = 6
_MICRO: Final = 10**_PLACES
_AMOUNT_MAX: Final = 2**63 - 1
_FORM: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")


def parse_amount(text: str) -> int:
    """Micro-units of an amount in whole units like "1500" or "0.25", exactly.

    Errors: `ValueError` with a sentence for anything but a positive decimal number with at most six places that fits.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(
            f"{text!r} is not an amount; write whole units above 0 with at most {_PLACES} decimal places, like 1500 or 0.25"
        )
    whole, fraction = match[1].lstrip("0"), match[2] or ""
    if len(fraction) > _PLACES:
        raise ValueError(f"{text} has {len(fraction)} decimal places; an amount has at most {_PLACES}")
    largest = f"{_AMOUNT_MAX // _MICRO:,}"
    if len(whole) > len(str(_AMOUNT_MAX)):
        raise ValueError(f"{text} is too large; an amount is at most {largest}")
    amount = int(whole or "0") * _MICRO + int(fraction.ljust(_PLACES, "0"))
    if amount == 0:
        raise ValueError("an amount must be above 0")
    if amount > _AMOUNT_MAX:
        raise ValueError(f"{text} is too large; an amount is at most {largest}")
    return amount


def format_amount(amount: int) -> str:
    """Micro-units in whole units, exactly, for example "-1,234.5"."""
    whole, micro = divmod(abs(amount), _MICRO)
    fraction = f".{micro:0{_PLACES}d}".rstrip("0").rstrip(".")
    return f"{'-' if amount < 0 else ''}{whole:,}{fraction}"


def unit_name(of: Mapping[str, Any]) -> str:
    """Name of the unit of an answer's amounts, from its `unit` and `currency`, for example "TOKEN" or "CNY"; empty: none."""
    return "" if of["unit"] is None else str(of["currency"] or of["unit"])


def format_in_unit(amount: int, of: Mapping[str, Any]) -> str:
    """Micro-units in whole units of an answer's `unit` and `currency`, exactly, for example "-1,234.5 CNY"."""
    return f"{format_amount(amount)} {unit_name(of)}".rstrip()


class AmountType(click.ParamType[int]):
    """An option's value in whole units, taken as micro-units."""

    name = "amount"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_amount(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
