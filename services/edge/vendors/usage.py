"""Reads what a vendor says it has counted, in disjoint classes. Pure.

One reader for all vendors: what differs is data, of the dialect and of the vendor's profile.
"""

from typing import NamedTuple

from services.token_classes import Vector


class VendorCount(NamedTuple):
    """What a vendor has counted so far, in disjoint classes; a side that it said nothing usable of is not to be read."""

    counts: Vector
    has_input: bool
    has_output: bool
