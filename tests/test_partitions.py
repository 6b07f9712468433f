"""The partition of an account is what it was when its cell was installed."""

from services.partitions import partition_of


def test_the_partition_of_an_account_is_fixed_for_ever() -> None:
    assert [partition_of(f"acct-{number:016x}", 64) for number in range(4)] == [41, 63, 5, 19]
    assert [partition_of("acct-0123456789", count) for count in (1, 2, 16, 4_096)] == [0, 1, 5, 1_637]
