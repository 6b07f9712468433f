"""Limits: rates, windows, caps, sessions at once; of accounts, members and keys, from offerings and set by hand."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.accounting.core.commands import (
    AccountView,
    Done,
    Granted,
    GrantedNow,
    LimitLeft,
    RateLeft,
    RatesLeft,
    ReadAccount,
    Refused,
    ResultCode,
    SetLimits,
)
from services.accounting.core.offerings import Schedule, TariffVersion
from services.accounting.core.terms import Limit, LimitKind, Period, Scope
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    MINUTE,
    SECOND,
    UNIT,
    catalog_of,
    flat,
    offering,
    replayed,
    state_of,
    usage,
)
from tests.accounting.shop import CNY, SHANGHAI, Shopper, allowance, for_sale, limit

RPM = limit("rpm", Scope.ACCOUNT, LimitKind.REQUEST_RATE, 6, burst=2)
TPM = limit("tpm", Scope.ACCOUNT, LimitKind.TOKEN_RATE, 600, burst=100)


def shop(*limits: Limit) -> Shopper:
    """An account with plenty, under these limits."""
    shopper = Shopper(base=offering({"flat": flat(EACH), "other": flat(EACH)}, limits=limits))
    shopper.grant(1_000_000 * UNIT, valid_for_us=5_000 * DAY)
    return shopper


def refusal(shopper: Shopper, input_bound: int, output_limit: int, *, key: str = "key-1") -> Refused:
    """A call that must be refused, and change nothing."""
    before = state_of(shopper.state)
    answer = shopper.call(input_bound, output_limit, key=key)
    assert isinstance(answer, Refused), answer
    assert state_of(shopper.state) == before
    return answer


def test_a_request_rate_lets_a_burst_through_and_then_one_an_interval() -> None:
    shopper = shop(RPM)
    shopper.open_call(1, 1)
    shopper.open_call(1, 1)
    refused = refusal(shopper, 1, 1)
    assert (refused.code, refused.limit_id, refused.held) == (ResultCode.RATE_LIMITED, "rpm@account", False)
    # No balance is in the way, in whatever unit.
    assert (refused.unit, refused.needed, refused.free, refused.reserved) == ("", 0, 0, 0)
    assert refused.retry_after_us == 10 * SECOND
    shopper.pass_time(refused.retry_after_us - 1)
    assert refusal(shopper, 1, 1).retry_after_us == 1
    shopper.pass_time(1)
    shopper.open_call(1, 1)
    # Of a long pause no more than the burst is kept.
    shopper.pass_time(HOUR)
    shopper.open_call(1, 1)
    shopper.open_call(1, 1)
    refusal(shopper, 1, 1)


def test_tokens_a_minute_are_counted_as_expected_and_corrected_to_what_was_used() -> None:
    shopper = shop(TPM)
    charging_id = shopper.open_call(100, 50)
    assert refusal(shopper, 1, 1).limit_id == "tpm@account"
    # Only 20 came: 80 tokens are free again at once.
    shopper.release(charging_id, 2, usage(input=10, output=10))
    shopper.open_call(80, 1)
    refusal(shopper, 1, 1)
    shopper.pass_time(SECOND // 10)
    shopper.open_call(1, 1)


def test_a_call_larger_than_the_burst_passes_once_it_is_full_and_counts_in_whole() -> None:
    shopper = shop(TPM)
    shopper.open_call(1_000, 1)
    # 1,000 tokens take 100 s at 600 a minute; 100 of them were the burst.
    assert refusal(shopper, 1, 1).retry_after_us == 90 * SECOND + SECOND // 10


def test_sessions_open_at_once() -> None:
    shopper = shop(limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 2))
    first = shopper.open_call(1, 1)
    shopper.open_call(1, 1)
    refused = refusal(shopper, 1, 1)
    assert (refused.code, refused.limit_id, refused.held) == (ResultCode.RATE_LIMITED, "parallel@key:key-1", True)
    shopper.open_call(1, 1, key="key-2")
    shopper.release(first, 2, usage())
    shopper.open_call(1, 1)
    refusal(shopper, 1, 1)
    # A sweep gives its place back.
    shopper.pass_time(2 * MINUTE)
    shopper.open_call(1, 1)


def test_several_windows_at_once_and_the_tightest_counts() -> None:
    five_hours = limit("five", Scope.ACCOUNT, LimitKind.USAGE, 50 * UNIT, unit="TOKEN", window_us=5 * HOUR)
    day = limit("day", Scope.ACCOUNT, LimitKind.USAGE, 80 * UNIT, unit="TOKEN", calendar=Period.DAY)
    shopper = shop(five_hours, day)
    shopper.now_us = int(datetime(2026, 11, 23, 12, 30, tzinfo=ZoneInfo(SHANGHAI)).timestamp()) * 1_000_000
    charging_id = shopper.open_call(30, 10)
    # 40 are held: ten are left of the window of five hours.
    refused = refusal(shopper, 10, 1)
    assert (refused.limit_id, refused.free, refused.needed, refused.held) == ("five@account", 10 * UNIT, 11 * UNIT, True)
    shopper.release(charging_id, 2, usage(input=30, output=10))
    refused = refusal(shopper, 10, 1)
    assert (refused.held, refused.retry_after_us) == (False, 5 * HOUR)
    # The window began with the first call, the day at midnight in the cell.
    shopper.pass_time(5 * HOUR)
    shopper.release(shopper.open_call(30, 10), 2, usage(input=30, output=10))
    assert refusal(shopper, 1, 0).limit_id == "day@account"
    assert refusal(shopper, 1, 0).retry_after_us == (24 - 17) * HOUR - 30 * MINUTE
    shopper.pass_time(6 * HOUR + 30 * MINUTE)
    shopper.open_call(30, 10)


def test_a_session_counts_in_the_window_in_which_it_began() -> None:
    shopper = shop(limit("hour", Scope.ACCOUNT, LimitKind.USAGE, 50 * UNIT, unit="TOKEN", window_us=HOUR))
    charging_id = shopper.open_call(40, 0)
    shopper.pass_time(30 * SECOND)
    for number in range(2, 130):
        shopper.update(charging_id, number, usage(), 0)
        shopper.pass_time(30 * SECOND)
    shopper.open_call(50, 0)
    # The late correction is that of the first hour: it gives nothing back to the second.
    shopper.release(charging_id, 130, usage(input=1))
    assert refusal(shopper, 1, 0).limit_id == "hour@account"


def test_a_member_s_cap_holds_across_its_keys_and_spares_the_others() -> None:
    shopper = shop(limit("cap", Scope.MEMBER, LimitKind.USAGE, 50 * UNIT, unit="TOKEN"))
    shopper.release(shopper.open_call(20, 5, key="phone"), 2, usage(input=20, output=5))
    shopper.release(shopper.open_call(20, 5, key="laptop"), 2, usage(input=20, output=5))
    refused = refusal(shopper, 1, 0, key="tablet")
    assert (refused.code, refused.limit_id) == (ResultCode.QUOTA_LIMIT_REACHED, "cap@member:mbr-1")
    shopper.open_call(40, 5, member="mbr-2", key="other")


def test_a_cap_is_named_where_several_buckets_together_would_have_paid() -> None:
    cap = limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 5 * UNIT, unit="TOKEN")
    shopper = Shopper(base=offering({"flat": flat(EACH)}, limits=(cap,)))
    # The first alone pays for the output, and not for the input with it.
    shopper.grant(3 * UNIT, valid_for_us=DAY)
    shopper.grant(100 * UNIT, valid_for_us=2 * DAY)
    assert refusal(shopper, 20, 1).limit_id == "cap@account"


def test_of_caps_in_two_units_the_one_in_the_way_is_named_with_what_it_would_need() -> None:
    both = (
        Schedule("TOKEN", (TariffVersion(0, {"flat": flat(EACH)}),)),
        Schedule(CNY, (TariffVersion(0, {"flat": flat(EACH, CNY)}),)),
    )
    caps = (
        limit("tokens", Scope.ACCOUNT, LimitKind.USAGE, 1_000 * UNIT, unit="TOKEN"),
        limit("money", Scope.ACCOUNT, LimitKind.USAGE, 3 * UNIT, unit=CNY),
    )
    shopper = Shopper(base=offering({"flat": flat(EACH)}, limits=caps)._replace(schedules=both))
    shopper.grant(8 * UNIT)
    shopper.money(100)
    # Eight of twenty tokens are there, and money may pay three of the other twelve.
    refused = refusal(shopper, 20, 0)
    assert (refused.limit_id, refused.unit, refused.needed, refused.free) == ("money@account", CNY, 12 * UNIT, 3 * UNIT)
    assert not refused.held
    shopper.open_call(11, 0)


def test_a_cap_is_not_paid_around_in_money() -> None:
    """What a cap keeps from the tokens of the pool must not be had from the family's money."""
    both = (
        Schedule("TOKEN", (TariffVersion(0, {"flat": flat(EACH)}),)),
        Schedule(CNY, (TariffVersion(0, {"flat": flat(EACH, CNY)}),)),
    )
    cap = limit("cap", Scope.MEMBER, LimitKind.USAGE, 10 * UNIT, unit="TOKEN")
    shopper = Shopper(base=offering({"flat": flat(EACH)}, limits=(cap,))._replace(schedules=both))
    shopper.grant(8 * UNIT)
    shopper.money(100)
    # Two of ten tokens are missing in the pool: they may be paid in money, since the cap leaves ten.
    charging_id = shopper.open_call(10, 0)
    assert shopper.release(charging_id, 2, usage(input=10)).others == ((CNY, 2 * UNIT, 0),)
    shopper.grant(50 * UNIT)
    # Two are left of the cap. The pool has more, and money there is too.
    refused = refusal(shopper, 5, 0)
    assert (refused.limit_id, refused.unit, refused.free) == ("cap@member:mbr-1", "TOKEN", 2 * UNIT)
    shopper.open_call(2, 0)


def test_limits_set_for_a_key_replace_those_of_its_offering_by_name() -> None:
    shopper = shop(RPM, limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 1))
    shopper.open_call(1, 1)
    refusal(shopper, 1, 1)
    answer = shopper.limits("key:key-1", limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 3))
    assert isinstance(answer, Done)
    shopper.open_call(1, 1)
    # The account's rate is still there.
    assert refusal(shopper, 1, 1).limit_id == "rpm@account"
    # A repeat changes nothing; taking them away brings the offering's back.
    shopper.unchanged_by(SetLimits(ACCOUNT_ID, "key:key-1", (limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 3),), 0))
    shopper.limits("key:key-1")
    shopper.pass_time(10 * SECOND)
    assert refusal(shopper, 1, 1).limit_id == "parallel@key:key-1"


def test_limits_of_a_subscription_end_with_it() -> None:
    few = limit("rpm", Scope.ACCOUNT, LimitKind.REQUEST_RATE, 6, burst=1)
    shopper = Shopper(for_sale("small", allowance(100), limits=(few,)))
    shopper.grant(1_000 * UNIT)
    shopper.open_call(1, 1)
    ordered = shopper.order("small")
    shopper.open_call(1, 1)
    assert refusal(shopper, 1, 1).limit_id == "rpm@account"
    shopper.cancel(ordered.subscription_id, at_once=True)
    shopper.open_call(1, 1)
    shopper.open_call(1, 1)


def test_an_agent_s_key_has_a_budget_and_a_life_of_its_own() -> None:
    shopper = shop()
    budget = limit("budget", Scope.KEY, LimitKind.USAGE, 20 * UNIT, unit="TOKEN")
    shopper.limits("key:agent", budget, valid_until_us=shopper.now_us + HOUR)
    charging_id = shopper.open_call(10, 5, key="agent")
    refused = refusal(shopper, 5, 1, key="agent")
    assert (refused.limit_id, refused.held) == ("budget@key:agent", True)
    shopper.release(charging_id, 2, usage(input=10, output=5))
    shopper.release(shopper.open_call(5, 0, key="agent"), 2, usage(input=5))
    shopper.pass_time(HOUR)
    refused = refusal(shopper, 1, 0, key="agent")
    assert (refused.code, refused.limit_id) == (ResultCode.END_USER_SERVICE_REJECTED, "end@key:agent")
    assert "key:agent" in refused.message
    shopper.open_call(1, 0)


def test_a_raised_cap_goes_on_counting_from_where_it_was() -> None:
    shopper = shop()
    shopper.limits("member:mbr-1", limit("cap", Scope.MEMBER, LimitKind.USAGE, 20 * UNIT, unit="TOKEN"))
    shopper.release(shopper.open_call(20, 0), 2, usage(input=20))
    refusal(shopper, 1, 0)
    shopper.limits("member:mbr-1", limit("cap", Scope.MEMBER, LimitKind.USAGE, 25 * UNIT, unit="TOKEN"))
    assert refusal(shopper, 6, 0).free == 5 * UNIT
    shopper.open_call(5, 0)


def test_a_stream_is_cut_at_its_cap_and_not_beyond() -> None:
    shopper = shop(limit("cap", Scope.KEY, LimitKind.USAGE, 100 * UNIT, unit="TOKEN"))
    charging_id, granted = shopper.create(10, 1_000, metered=True)
    assert (granted.output_granted, granted.output_payable) == (64, 90)
    answer = shopper.update(charging_id, 2, usage(input=10, output=60), 1_000)
    assert (answer.output_granted, answer.final) == (90, True)
    shopper.release(charging_id, 3, usage(input=10, output=90))
    refusal(shopper, 1, 0)


def test_a_cap_holds_over_several_buckets() -> None:
    cap = limit("cap", Scope.KEY, LimitKind.USAGE, 100 * UNIT, unit="TOKEN")
    shopper = Shopper(base=offering({"flat": flat(EACH)}, window=500, limits=(cap,)))
    shopper.grant(60 * UNIT)
    shopper.grant(60 * UNIT)
    _, granted = shopper.create(10, 1_000, metered=True)
    assert (granted.output_granted, granted.output_payable) == (90, 90)


def test_use_beyond_a_cap_that_was_made_already_is_counted() -> None:
    shopper = shop(limit("cap", Scope.KEY, LimitKind.USAGE, 100 * UNIT, unit="TOKEN"))
    shopper.event(usage(input=250))
    assert shopper.state.counters["cap@key:key-1"].used == 250 * UNIT
    refused = refusal(shopper, 1, 0)
    assert (refused.free, refused.held) == (0, False)


def test_a_late_release_counts_in_the_window_of_its_session() -> None:
    shopper = shop(limit("cap", Scope.KEY, LimitKind.USAGE, 100 * UNIT, unit="TOKEN"))
    charging_id = shopper.open_call(50, 10)
    shopper.pass_time(2 * MINUTE)
    assert shopper.open_call(1, 1)
    counter = shopper.state.counters["cap@key:key-1"]
    assert (counter.used, counter.reserved) == (0, 2 * UNIT)
    shopper.release(charging_id, 2, usage(input=50, output=10))
    assert (counter.used, counter.reserved) == (60 * UNIT, 2 * UNIT)


def test_counters_are_looked_through_again_once_they_are_twice_as_many() -> None:
    shopper = shop(limit("cap", Scope.KEY, LimitKind.USAGE, UNIT, unit="TOKEN"))
    for number in range(257):
        shopper.open_call(1, 0, key=f"key-{number}")
    assert (len(shopper.state.counters), shopper.state.counters_swept_at) == (257, 514)


def test_counters_of_windows_that_are_over_are_dropped() -> None:
    shopper = shop(limit("hour", Scope.KEY, LimitKind.USAGE, 50 * UNIT, unit="TOKEN", window_us=HOUR))
    for number in range(1_000):
        shopper.release(shopper.open_call(1, 0, key=f"key-{number}"), 2, usage(input=1))
        if number % 100 == 99:
            shopper.pass_time(2 * HOUR)
    assert len(shopper.state.counters) <= 512


@pytest.mark.parametrize("scope", list(Scope))
def test_the_journal_alone_makes_limits_again(scope: Scope) -> None:
    shopper = shop(
        limit("rpm", scope, LimitKind.REQUEST_RATE, 60),
        limit("tpm", scope, LimitKind.TOKEN_RATE, 6_000),
        limit("parallel", scope, LimitKind.CONCURRENT_SESSIONS, 3),
        limit("five", scope, LimitKind.USAGE, 500 * UNIT, unit="TOKEN", window_us=5 * HOUR),
        limit("week", scope, LimitKind.USAGE, 900 * UNIT, unit="TOKEN", calendar=Period.WEEK),
        limit("cap", scope, LimitKind.USAGE, 2_000 * UNIT, unit="TOKEN"),
    )
    opened = []
    for number in range(60):
        answer = shopper.call(number, number, key=f"key-{number % 3}", member=f"mbr-{number % 2}")
        if isinstance(answer, Granted):
            opened.append(shopper.last_charging_id)
        if number % 3 == 2 and opened:
            charging_id = opened.pop(0)
            if charging_id in shopper.state.sessions:
                shopper.release(charging_id, 2, usage(input=number, output=number // 2))
        shopper.pass_time(20 * SECOND if number % 7 else 20 * HOUR)
    assert state_of(replayed(shopper.rows)) == state_of(shopper.state)
    for name, counter in shopper.state.counters.items():
        assert counter.reserved >= 0, name


# Kept, and worked out again


def test_limits_that_the_catalog_changes_hold_from_the_next_call_on() -> None:
    shopper = shop()
    shopper.open_call(1, 1)
    few = limit("rpm", Scope.ACCOUNT, LimitKind.REQUEST_RATE, 6, burst=1)
    shopper.catalog = catalog_of(offering({"flat": flat(EACH)}, limits=(few,)), time_zone=SHANGHAI)
    shopper.open_call(1, 1)
    assert refusal(shopper, 1, 1).limit_id == "rpm@account"
    shopper.catalog = catalog_of(offering({"flat": flat(EACH)}), time_zone=SHANGHAI)
    shopper.open_call(1, 1)


@pytest.mark.parametrize(("account_ends", "key_ends"), [(1, 2), (2, 1)])
def test_the_end_that_comes_first_counts(account_ends: int, key_ends: int) -> None:
    shopper = shop()
    shopper.limits("account", valid_until_us=shopper.now_us + account_ends * HOUR)
    shopper.limits("key:key-1", valid_until_us=shopper.now_us + key_ends * HOUR)
    shopper.pass_time(HOUR - 1)
    shopper.release(shopper.open_call(1, 1), 2, usage())
    shopper.pass_time(1)
    assert refusal(shopper, 1, 1).limit_id == ("end@account" if account_ends == 1 else "end@key:key-1")


def test_a_cap_in_another_unit_begins_at_nothing() -> None:
    shopper = shop()
    shopper.limits("account", limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 100 * UNIT, unit="TOKEN"))
    shopper.release(shopper.open_call(60, 1), 2, usage(60))
    shopper.limits("account", limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 50 * UNIT, unit=CNY))
    shopper.open_call(60, 1)
    assert (shopper.state.counters["cap@account"].unit, shopper.state.counters["cap@account"].used) == (CNY, 0)


# While a session runs


def test_tokens_that_come_late_count_from_when_they_come() -> None:
    shopper = shop(TPM)
    charging_id = shopper.open_call(10, 200)
    shopper.pass_time(20 * SECOND)
    shopper.release(charging_id, 2, usage(10, 100))
    assert refusal(shopper, 1, 1).retry_after_us == SECOND // 10


def test_a_single_token_that_comes_late_counts_from_when_it_comes() -> None:
    shopper = shop(TPM)
    charging_id = shopper.open_call(10, 0)
    shopper.pass_time(20 * SECOND)
    shopper.release(charging_id, 2, usage(11))
    # The tenth of a second that it takes.
    assert shopper.state.arrivals == {"tpm@account": (shopper.now_us + SECOND // 10) * 1_000}


def test_a_session_is_not_held_to_the_window_after_its_own() -> None:
    shopper = shop(limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 200 * UNIT, unit="TOKEN", window_us=40 * SECOND))
    charging_id, granted = shopper.create(10, 150, metered=True)
    shopper.pass_time(45 * SECOND)
    # All of the next window.
    shopper.open_call(150, 50)
    assert shopper.update(charging_id, 2, usage(10, 60), 150).output_granted > granted.output_granted


@pytest.mark.parametrize("amounts", [(100, 1_000), (1_000, 100)])
def test_a_stream_goes_on_within_the_tightest_of_its_caps(amounts: tuple[int, int]) -> None:
    caps = [
        limit(f"cap-{number}", Scope.ACCOUNT, LimitKind.USAGE, amount * UNIT, unit="TOKEN") for number, amount in enumerate(amounts)
    ]
    shopper = shop(*caps)
    charging_id, _ = shopper.create(10, 500, metered=True)
    shopper.pass_time(SECOND)
    more = shopper.update(charging_id, 2, usage(10, 60), 500)
    assert (more.output_granted, more.final) == (90, True)


def test_what_others_hold_of_a_cap_comes_back_before_its_window_ends() -> None:
    shopper = shop(limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 100 * UNIT, unit="TOKEN", window_us=HOUR))
    first = shopper.open_call(50, 50)
    refused = refusal(shopper, 1, 1)
    assert (refused.held, refused.retry_after_us) == (True, 0)
    shopper.release(first, 2, usage(50, 50))
    refused = refusal(shopper, 1, 1)
    assert (refused.held, refused.retry_after_us) == (False, HOUR)


def test_what_is_owed_counts_in_a_cap_as_what_is_paid() -> None:
    cap = limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 100 * UNIT, unit="TOKEN")
    shopper = Shopper(base=offering({"flat": flat(EACH)}, limits=(cap,)))
    shopper.grant(50 * UNIT)
    assert shopper.event(usage(80)).debt == 30 * UNIT
    assert shopper.state.counters["cap@account"].used == 80 * UNIT


def rates(answer: object) -> RatesLeft | None:
    """What a Create is told of rates."""
    assert isinstance(answer, GrantedNow | Refused), answer
    return answer.rates


def test_a_create_is_told_what_rates_leave_after_it() -> None:
    shopper = shop(RPM, TPM)
    # One request takes 10 s of six a minute, a token 0.1 s of 600.
    assert rates(shopper.call(30, 1)) == RatesLeft(RateLeft(2, 1, 10 * SECOND), RateLeft(100, 70, 3 * SECOND))
    shopper.pass_time(SECOND)
    assert rates(shopper.call(5, 1)) == RatesLeft(RateLeft(2, 0, 19 * SECOND), RateLeft(100, 75, 25 * SECOND // 10))
    # A refused one counts nowhere.
    assert rates(refusal(shopper, 5, 1)) == RatesLeft(RateLeft(2, 0, 19 * SECOND), RateLeft(100, 75, 25 * SECOND // 10))
    # As many pass as was said.
    shopper.pass_time(19 * SECOND)
    assert rates(shopper.call(0, 1)) == RatesLeft(RateLeft(2, 1, 10 * SECOND), RateLeft(100, 100, 0))
    assert rates(shopper.call(0, 1)) == RatesLeft(RateLeft(2, 0, 20 * SECOND), RateLeft(100, 100, 0))
    assert refusal(shopper, 0, 1).limit_id == "rpm@account"


def test_a_rate_of_one_at_a_time_leaves_one_or_none() -> None:
    shopper = shop(limit("rpm", Scope.KEY, LimitKind.REQUEST_RATE, 6, burst=1))
    assert rates(shopper.call(1, 1)) == RatesLeft(RateLeft(1, 0, 10 * SECOND), None)
    shopper.pass_time(10 * SECOND - 1)
    assert rates(refusal(shopper, 1, 1)) == RatesLeft(RateLeft(1, 0, 1), None)


def test_of_several_rates_the_one_is_told_that_leaves_least() -> None:
    of_keys = limit("keys", Scope.KEY, LimitKind.REQUEST_RATE, 60, burst=3)
    slow = limit("slow", Scope.MEMBER, LimitKind.REQUEST_RATE, 1, burst=3)
    shopper = shop(limit("rpm", Scope.ACCOUNT, LimitKind.REQUEST_RATE, 6, burst=5), of_keys, slow)
    # As many are left of two: the one that takes longer is told.
    assert rates(shopper.call(1, 1)) == RatesLeft(RateLeft(3, 2, MINUTE), None)
    told = [rates(shopper.call(1, 1, key=f"key-{number}", member=f"mbr-{number}")) for number in range(2, 6)]
    # Each has a key and a member of its own, until the account leaves less than they do.
    assert told == [
        *(RatesLeft(RateLeft(3, 2, MINUTE), None) for _ in range(2)),
        RatesLeft(RateLeft(5, 1, 40 * SECOND), None),
        RatesLeft(RateLeft(5, 0, 50 * SECOND), None),
    ]


def test_a_call_larger_than_the_burst_leaves_nothing_for_longer() -> None:
    shopper = shop(TPM)
    assert rates(shopper.call(1_000, 1)) == RatesLeft(None, RateLeft(100, 0, 100 * SECOND))
    assert left(shopper)["tpm@account"].remaining == 0


def test_where_no_rate_is_limited_none_is_told() -> None:
    shopper = shop(limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 2))
    shopper.open_call(1, 1)
    assert not isinstance(shopper.call(1, 1), GrantedNow)
    assert refusal(shopper, 1, 1).rates is None


def left(shopper: Shopper, key: str = "key-1", member: str = "mbr-1") -> dict[str, LimitLeft]:
    """What limits leave a key, by limit and subject."""
    view = shopper.ask(ReadAccount(ACCOUNT_ID, key, member))
    assert isinstance(view, AccountView)
    return {f"{each.limit.limit_id}@{each.subject}": each for each in view.limits}


def test_who_asks_is_told_what_each_limit_leaves_the_key() -> None:
    hour = limit("hour", Scope.MEMBER, LimitKind.USAGE, 50 * UNIT, unit="TOKEN", window_us=HOUR)
    day = limit("day", Scope.ACCOUNT, LimitKind.USAGE, 80 * UNIT, unit="TOKEN", calendar=Period.DAY)
    cap = limit("cap", Scope.KEY, LimitKind.USAGE, 90 * UNIT, unit="TOKEN")
    parallel = limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 3)
    shopper = shop(RPM, TPM, hour, day, cap, parallel)
    shopper.now_us = int(datetime(2026, 11, 23, 12, 30, tzinfo=ZoneInfo(SHANGHAI)).timestamp()) * 1_000_000
    midnight_us = shopper.now_us + 11 * HOUR + 30 * MINUTE
    # Where no key asks, no limit is told.
    whole = shopper.ask(ReadAccount(ACCOUNT_ID))
    assert isinstance(whole, AccountView)
    assert whole.limits == ()
    before = left(shopper)
    assert before["rpm@account"] == LimitLeft("account", RPM, 0, 0, 2, 0, 0)
    # A window of its own begins with the next call; that of the calendar has begun.
    assert before["hour@member:mbr-1"] == LimitLeft("member:mbr-1", hour, 0, 0, 50 * UNIT, 0, 0)
    assert before["day@account"] == LimitLeft("account", day, 0, 0, 80 * UNIT, midnight_us - DAY, midnight_us)
    shopper.release(shopper.open_call(10, 5), 2, usage(input=10, output=5))
    shopper.open_call(4, 2)
    after, now_us = left(shopper), shopper.now_us
    # Of the second call its four tokens of input count until it ends.
    assert after["tpm@account"] == LimitLeft("account", TPM, 0, 0, 81, 0, now_us + 19 * SECOND // 10)
    assert after["rpm@account"] == LimitLeft("account", RPM, 0, 0, 0, 0, now_us + 20 * SECOND)
    assert after["hour@member:mbr-1"] == LimitLeft("member:mbr-1", hour, 15 * UNIT, 6 * UNIT, 29 * UNIT, now_us, now_us + HOUR)
    assert after["day@account"] == LimitLeft("account", day, 15 * UNIT, 6 * UNIT, 59 * UNIT, midnight_us - DAY, midnight_us)
    assert after["cap@key:key-1"] == LimitLeft("key:key-1", cap, 15 * UNIT, 6 * UNIT, 69 * UNIT, 0, 0)
    assert after["parallel@key:key-1"] == LimitLeft("key:key-1", parallel, 0, 1, 2, 0, 0)
    # Another key of another member has used nothing of its own, but the account's.
    other = left(shopper, "key-2", "mbr-2")
    assert (other["cap@key:key-2"].remaining, other["hour@member:mbr-2"].remaining) == (90 * UNIT, 50 * UNIT)
    assert other["day@account"] == after["day@account"]
    # A window that is over counts no more.
    shopper.pass_time(HOUR)
    assert left(shopper)["hour@member:mbr-1"] == LimitLeft("member:mbr-1", hour, 0, 0, 50 * UNIT, 0, 0)


def test_a_cap_that_was_lowered_leaves_nothing_and_not_less() -> None:
    shopper = shop()
    cap = limit("cap", Scope.KEY, LimitKind.USAGE, 90 * UNIT, unit="TOKEN")
    shopper.ask(SetLimits(ACCOUNT_ID, "key:key-1", (cap,), shopper.now_us + DAY))
    shopper.release(shopper.open_call(40, 1), 2, usage(input=40, output=1))
    lower = limit("cap", Scope.KEY, LimitKind.USAGE, 10 * UNIT, unit="TOKEN")
    shopper.ask(SetLimits(ACCOUNT_ID, "key:key-1", (lower,), shopper.now_us + DAY))
    assert left(shopper)["cap@key:key-1"] == LimitLeft("key:key-1", lower, 41 * UNIT, 0, 0, 0, 0)
    view = shopper.ask(ReadAccount(ACCOUNT_ID, "key-1", "mbr-1"))
    assert isinstance(view, AccountView)
    assert view.valid_until_us == shopper.now_us + DAY
    # Nobody's key: the account alone.
    alone = shopper.ask(ReadAccount(ACCOUNT_ID))
    assert isinstance(alone, AccountView)
    assert (alone.limits, alone.valid_until_us) == ((), 0)
