"""Keeps the calls of one conversation on one route, so that its vendor's prompt cache stays warm. Pure.

Rendezvous hashing: each route draws a number for the conversation, and the least draw wins. Every edge draws the same without a
shared store. Where a route is lost its conversations alone move, each to its own second choice, and they return when it is back.
"""

from hashlib import blake2b
from math import log
from typing import Final
from zlib import crc32

_MARK_BYTES_MAX: Final = 256
_MASK: Final = (1 << 64) - 1
# The upper 53 bits of a draw are a fraction that a float holds exactly.
_SHIFT: Final = 11
_FRACTION: Final = 2.0**-53

# Multiplier and addend of a route's hash.
Seed = tuple[int, int]


def tie_of(account_id: str, mark: bytes) -> int:
    """32 bits that tie a conversation of an account to its routes; equal marks of two accounts have nothing in common."""
    return crc32(mark[:_MARK_BYTES_MAX], crc32(account_id.encode()))


def seed_of(vendor_id: str, vendor_model_id: str) -> Seed:
    """A route's own multiply-add hash (Dietzfelbinger 1996), whose upper bits are uniform and independent of another route's."""
    digest = blake2b(f"{vendor_id}\0{vendor_model_id}".encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big") | 1, int.from_bytes(digest[8:], "big")


def draw(seed: Seed, weight: int, tie: int) -> float:
    """A conversation's draw of a route; the least of a priority goes first.

    It is exponential with the weight as its rate, so that a route is the least in proportion to its weight.
    """
    multiplier, addend = seed
    return -log((((tie * multiplier + addend & _MASK) >> _SHIFT) + 0.5) * _FRACTION) / weight
