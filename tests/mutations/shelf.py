"""Faults with the shelf: what a catalog sells, at which prices, and from when."""

from typing import Final

from tests.mutations.planting import one

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

SHELF: Final = _MOMENTS
