"""Faults with the shelf: what a catalog sells, at which prices, and from when."""

from typing import Final

from tests.mutations.planting import one

_ADJUSTMENTS: Final = "services/registry/adjustments.py"
_ADJUSTED: Final = "tests/registry/test_adjustments.py"
_PRICE_LIST: Final = "tests/edge/test_price_list.py"

_MOMENTS: Final = (
    one(
        "the price list stays as it was when the catalog came",
        "services/edge/catalog.py",
        "if snapshot is not None and snapshot.until_us <= self._clock.now_us():",
        "if snapshot is not None and not snapshot:",
        _PRICE_LIST,
    ),
    one(
        "the price list shows a version a moment too late",
        "services/edge/tariffs.py",
        "            if begins_us > now_us:\n",
        "            if begins_us >= now_us:\n",
        _PRICE_LIST,
    ),
)

_ADJUSTING: Final = (
    one(
        "a row of an adjustment leaves the tariff's other rows out",
        _ADJUSTMENTS,
        "for row in point.rates} | own",
        "for row in point.rates if False} | own",
        _ADJUSTED,
    ),
    one("a factor rounds down", _ADJUSTMENTS, "quantize(_STEP, ROUND_UP)", 'quantize(_STEP, "ROUND_DOWN")', _ADJUSTED),
    one(
        "an adjustment keeps the tariff's version",
        _ADJUSTMENTS,
        "point.version + adjustment.version",
        "point.version",
        _ADJUSTED,
    ),
    one(
        "an adjustment holds before its time",
        _ADJUSTMENTS,
        "    if begins is not None and (point.time is None or point.time < begins):\n",
        "    if False:\n",
        _ADJUSTED,
    ),
    one(
        "adjustments may lead in a circle",
        _ADJUSTMENTS,
        "    elif message := _circle(adjustment, tariffs, making):\n",
        "    elif message := '':\n",
        _ADJUSTED,
    ),
)

SHELF: Final = (*_MOMENTS, *_ADJUSTING)
