"""Allowances that another system of the operator grants: once under a key, until a time or the end of a cycle, ended by it."""

from typing import Any

import msgspec
import pytest

from services.accounting.core.buckets import BUCKETS_MAX
from services.accounting.core.commands import Answer, BucketsAdded, EndGrant, Failed, GrantAllowances, GrantEnded
from services.accounting.core.terms import Cycle, Period
from tests.accounting.ledger import ACCOUNT_ID, DAY, UNIT, fault_of, replayed, state_of, usage
from tests.accounting.shop import CALENDAR, CNY, Shopper, allowance, for_sale, go_to, lasting

WHOLE_MONTHS = Cycle(Period.MONTH, 1, calendar=True, prorated=False)
BUNDLE = for_sale("bundle", allowance(50, allowance_id="tokens"), allowance(5, allowance_id="extra"), cycle=WHOLE_MONTHS)
GIFT = for_sale("gift", lasting(10), cycle=None)
PRICED = for_sale("priced", lasting(10), price=UNIT, cycle=None)
ONCE = for_sale("once", lasting(10), cycle=None, once=True)
LINE = for_sale("line", allowance(9, CNY, postpaid=True))


@pytest.fixture
def family() -> Shopper:
    family = Shopper(BUNDLE, GIFT, PRICED, ONCE, LINE)
    go_to(family, "2026-12-20 12:00")
    return family


def wish(offering_id: str = "bundle", key: str = "line-1", **more: Any) -> GrantAllowances:
    return msgspec.structs.replace(GrantAllowances(ACCOUNT_ID, offering_id, "", 0, key), **more)


def granted(family: Shopper, command: GrantAllowances) -> BucketsAdded:
    answer = family.ask(command)
    assert isinstance(answer, BucketsAdded), answer
    return answer


def message_of(answer: Answer) -> str:
    assert isinstance(answer, Failed), answer
    return answer.message


def left(family: Shopper) -> int:
    return sum(bucket.remaining for bucket in family.state.buckets.values()) // UNIT


def test_a_grant_lasts_until_the_end_of_the_cycle_and_is_used_like_what_was_bought(family: Shopper) -> None:
    answer = granted(family, wish())
    assert [each.amount for each in answer.buckets] == [50 * UNIT, 5 * UNIT]
    family.event(usage(20))
    assert left(family) == 35
    # A repeat is the same grant, whatever became of it.
    assert family.unchanged_by(wish()) == answer
    go_to(family, "2027-01-01 00:00")
    family.event(usage(1))
    assert left(family) == 0
    # Renewed under another key; one of its allowances alone.
    assert len(granted(family, wish(key="line-2", allowance_id="extra")).buckets) == 1
    assert left(family) == 4
    assert state_of(replayed(family.rows)) == state_of(family.state)


def test_a_grant_lasts_as_long_as_its_pack_or_until_the_time_that_is_given(family: Shopper) -> None:
    (pack,) = granted(family, wish("gift")).buckets
    assert pack.valid_until_us == family.now_us + 30 * DAY
    (given,) = granted(family, wish("gift", "line-2", valid_until_us=family.now_us + DAY)).buckets
    assert given.valid_until_us == family.now_us + DAY
    assert all(each.valid_until_us == family.now_us + 90 * DAY for each in granted(
        family, wish(key="line-3", valid_until_us=family.now_us + 90 * DAY)).buckets)  # fmt: skip
    assert fault_of(family.unchanged_by(wish("gift", "line-4", valid_until_us=family.now_us))) == "INVALID_ARGUMENT"


def test_a_grant_ends_when_its_system_says_so_and_what_was_used_stays_used(family: Shopper) -> None:
    granted(family, wish())
    granted(family, wish("gift", "other"))
    family.event(usage(20))
    ended = family.ask(EndGrant(ACCOUNT_ID, "line-1"))
    assert isinstance(ended, GrantEnded)
    assert sum(amount for _, amount in ended.expired) // UNIT + left(family) == 45
    assert {bucket.source for bucket in family.state.buckets.values() if not bucket.ended} == {"grant:other"}
    assert family.unchanged_by(EndGrant(ACCOUNT_ID, "line-1")) == GrantEnded(())
    # Nor does a repeat of the grant bring it back.
    assert isinstance(family.unchanged_by(wish()), BucketsAdded)
    assert fault_of(family.unchanged_by(EndGrant(ACCOUNT_ID, "line-9"))) == "ITEM_UNKNOWN"


def test_the_end_of_a_grant_ends_none_whose_key_begins_like_its_own(family: Shopper) -> None:
    granted(family, wish("gift"))
    granted(family, wish("gift", "line-10"))
    family.ask(EndGrant(ACCOUNT_ID, "line-1"))
    assert left(family) == 10


def test_a_grant_with_an_end_of_its_own_is_no_share_of_a_month() -> None:
    prorated = for_sale("prorated", allowance(31), cycle=CALENDAR)
    family = Shopper(prorated)
    go_to(family, "2026-12-30 00:00")
    assert [each.amount for each in granted(family, wish("prorated")).buckets] == [2 * UNIT]
    own = wish("prorated", "line-2", valid_until_us=family.now_us + DAY)
    assert [each.amount for each in granted(family, own).buckets] == [31 * UNIT]


def test_grants_end_where_an_account_has_no_room_for_more_buckets(family: Shopper) -> None:
    for number in range(BUCKETS_MAX):
        granted(family, wish("gift", f"line-{number}"))
    assert fault_of(family.unchanged_by(wish("gift", "one more"))) == "NOT_POSSIBLE"


def test_a_grant_repays_debt_first(family: Shopper) -> None:
    family.event(usage(8))
    granted(family, wish("gift"))
    assert left(family) == 2


def test_what_is_sold_is_not_granted(family: Shopper) -> None:
    for offering_id in ("priced", "once", "line"):
        refused = family.unchanged_by(wish(offering_id))
        assert (fault_of(refused), "it is ordered, not granted" in message_of(refused)) == ("NOT_POSSIBLE", True)
    assert fault_of(family.unchanged_by(wish("nothing"))) == "OFFERING_UNKNOWN"
    assert fault_of(family.unchanged_by(wish("default"))) == "OFFERING_UNKNOWN"
    unknown = family.unchanged_by(wish(allowance_id="nothing"))
    assert message_of(unknown) == "offering bundle has no allowance 'nothing'; it has extra, tokens"


@pytest.mark.parametrize("changes", [{"offering_id": "gift"}, {"allowance_id": "extra"}, {"valid_until_us": 2**60}])
def test_another_grant_under_the_same_key_is_refused(family: Shopper, changes: dict[str, Any]) -> None:
    granted(family, wish())
    assert fault_of(family.unchanged_by(wish(**changes))) == "IDEMPOTENCY_CONFLICT"
