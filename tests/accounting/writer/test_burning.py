"""Accounts that burn most: exact while there are few, bounded while there are many."""

import random

from services.accounting.writer.burning import ACCOUNTS_KEPT, SLOT_US, Burning

NOW_US = 1_790_000_000_000_000
WINDOW_US = 5 * 60 * 1_000_000


def test_amounts_are_added_by_unit_and_account_and_the_largest_come_first() -> None:
    burning = Burning()
    for account_id, unit, charged in (("a", "TOKEN", 5), ("b", "TOKEN", 7), ("a", "TOKEN", 3), ("a", "CURRENCY:CNY", 1)):
        burning.add(account_id, unit, charged, NOW_US)
    found = burning.within(WINDOW_US, NOW_US)
    assert found.keys() == {"TOKEN", "CURRENCY:CNY"}
    tokens = found["TOKEN"]
    assert (tokens.charged, tokens.records, tokens.error) == (15, 3, 0)
    assert tokens.largest(10) == [("a", 8), ("b", 7)]
    assert tokens.largest(1) == [("a", 8)]


def test_what_is_older_than_the_window_is_not_in_it_and_is_forgotten_at_last() -> None:
    burning = Burning()
    burning.add("old", "TOKEN", 5, NOW_US - WINDOW_US - SLOT_US)
    burning.add("new", "TOKEN", 7, NOW_US - WINDOW_US + SLOT_US)
    assert burning.within(WINDOW_US, NOW_US)["TOKEN"].accounts == {"new": 7}
    assert burning.within(3 * WINDOW_US, NOW_US)["TOKEN"].accounts == {"old": 5, "new": 7}
    for number in range(1, 200):
        burning.add("now", "TOKEN", 1, NOW_US + number * SLOT_US)
    assert len(burning._slots) == 90
    assert "new" not in burning.within(10 * WINDOW_US, NOW_US + 199 * SLOT_US)["TOKEN"].accounts


def test_among_very_many_accounts_the_large_ones_are_there_within_the_error() -> None:
    burning, rng = Burning(), random.Random(7)
    truth: dict[str, int] = {}
    for number in range(50_000):
        large = number % 10 == 0
        account_id = f"large-{number % 7}" if large else f"small-{rng.randrange(20_000)}"
        charged = 1_000 if large else rng.randrange(1, 5)
        truth[account_id] = truth.get(account_id, 0) + charged
        burning.add(account_id, "TOKEN", charged, NOW_US)
        assert len(burning._slots[NOW_US // SLOT_US]["TOKEN"].accounts) <= 2 * ACCOUNTS_KEPT
    found = burning.within(WINDOW_US, NOW_US)["TOKEN"]
    assert (found.charged, found.records) == (sum(truth.values()), 50_000)
    # What is taken off is taken off more than 256 accounts at once.
    assert 0 < found.error <= found.charged / ACCOUNTS_KEPT
    assert {account_id for account_id, _ in found.largest(7)} == {f"large-{number}" for number in range(7)}
    for account_id, charged in found.accounts.items():
        assert truth[account_id] - found.error <= charged <= truth[account_id]


def test_two_owners_tell_of_one_account_together() -> None:
    one, other = Burning(), Burning()
    one.add("a", "TOKEN", 5, NOW_US)
    other.add("a", "TOKEN", 7, NOW_US)
    other.add("b", "TOKEN", 1, NOW_US)
    both = one.within(WINDOW_US, NOW_US)["TOKEN"].added(other.within(WINDOW_US, NOW_US)["TOKEN"])
    assert (both.charged, both.records, both.accounts) == (13, 3, {"a": 12, "b": 1})
    assert one.within(WINDOW_US, NOW_US)["TOKEN"].accounts == {"a": 5}
