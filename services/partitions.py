"""The partition of an account: one rule for all services that write it, ask it or show it.

The rule is fixed for ever: another one would make every account of an installed cell unknown.
"""

from zlib import crc32


def partition_of(account_id: str, partition_count: int) -> int:
    """The number, from 0, of an account's partition among the `partition_count` of its cell."""
    return crc32(account_id.encode()) % partition_count
