"""Identifiers made here: UUIDs of version 7 (RFC 9562) and prefixed random names."""

import hashlib
import os
import re
import secrets
from random import Random
from typing import Final

_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
# Seeded by the system, and again in a forked process; unique bits need not be secret.
_UNIQUE: Final = Random()  # noqa: S311
os.register_at_fork(after_in_child=_UNIQUE.seed)


def uuid7(now_us: int) -> str:
    """A UUID of version 7 in lower-case text: ordered by its millisecond, followed by 74 random bits."""
    bits = _UNIQUE.getrandbits(74)
    number = now_us // 1_000 << 80 | 0x7 << 76 | bits >> 62 << 64 | 0x2 << 62 | bits & (1 << 62) - 1
    text = number.to_bytes(16).hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def is_uuid7(text: str) -> bool:
    """Whether it is a UUID of version 7 in lower-case text."""
    return _UUID7.fullmatch(text) is not None


def uuid7_time_us(text: str) -> int | None:
    """The time inside a UUID of version 7 in lower-case text, in microseconds; None for anything else."""
    if _UUID7.fullmatch(text) is None:
        return None
    return int(text[:8] + text[9:13], 16) * 1_000


def random_name(prefix: str) -> str:
    """`prefix`, a hyphen and 16 random hexadecimal digits."""
    return f"{prefix}-{secrets.token_hex(8)}"


def derived_name(prefix: str, *parts: str) -> str:
    """`prefix`, a hyphen and 16 hexadecimal digits that depend on `parts` alone: a repeat names the same thing."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
    return f"{prefix}-{digest[:16]}"
