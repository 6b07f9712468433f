"""Buckets that are not valid yet, or no longer: they pay, repay and are given away from their begin to their end."""

import msgspec

from services.accounting.core.commands import GrantBucket, Granted, Refused, SendTransfer, ToppedUp, TopUpBucket
from services.accounting.core.entries import BucketGranted, BucketRolledOver, CycleStarted, SessionCreated
from services.accounting.core.terms import Payment
from tests.accounting.ledger import ACCOUNT_ID, DAY, HOUR, SECOND, UNIT, Ledger, fault_of, usage
from tests.accounting.shop import DAILY, Shopper, allowance, for_sale, go_to, lasting

# One model each.
GROUPS = {"cheap": frozenset({"flat"}), "others": frozenset({"other"})}


def grant_for(ledger: Shopper, model_group: str, units: int, valid_from_us: int | None = None) -> str:
    """A bucket for a group of models; returns its ID."""
    ledger.ask(GrantBucket(ACCOUNT_ID, "TOKEN", units * UNIT, valid_from_us, DAY, 0, model_group, model_group=model_group))
    (granted,) = [entry for entry in ledger.last_entries if isinstance(entry, BucketGranted)]
    return granted.bucket_id


# Not yet


def test_a_bucket_that_begins_later_repays_from_its_begin_on() -> None:
    ledger = Ledger()
    ledger.event(usage(5))
    later = ledger.grant(10 * UNIT, valid_from_us=ledger.now_us + HOUR, valid_for_us=2 * HOUR)
    assert later.valid_until_us == ledger.now_us + 3 * HOUR
    assert ledger.ask(TopUpBucket(ACCOUNT_ID, later.bucket_id, 10 * UNIT, "early")) == ToppedUp(0)
    assert ledger.state.debts["TOKEN"].outstanding == 5 * UNIT
    ledger.pass_time(HOUR)
    for _ in range(2):
        assert ledger.ask(TopUpBucket(ACCOUNT_ID, later.bucket_id, 10 * UNIT, "then")) == ToppedUp(5 * UNIT)
    assert ledger.amounts(later) == (25 * UNIT, 0, 5 * UNIT, 0)


def test_a_bucket_that_would_have_ended_is_not_granted() -> None:
    ledger = Ledger()
    ended = GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, ledger.now_us - 2 * HOUR, 2 * HOUR, 0, "ended")
    assert fault_of(ledger.unchanged_by(ended)) == "INVALID_ARGUMENT"
    ledger.ask(msgspec.structs.replace(ended, valid_for_us=2 * HOUR + 1))
    assert len(ledger.state.burn_order) == 1


def test_what_begins_later_is_not_waited_for() -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    ledger.grant(1_000 * UNIT, valid_from_us=ledger.now_us + HOUR)
    ledger.create(90, 0)
    refused = ledger.ask(ledger.create_command(150, 0))
    assert isinstance(refused, Refused)
    # If nobody held anything it were too little, too.
    assert (refused.free, refused.reserved, refused.held) == (10 * UNIT, 90 * UNIT, False)


def test_a_session_burns_what_is_valid_when_it_begins() -> None:
    ledger = Shopper(model_groups=GROUPS)
    ledger.grant(100 * UNIT)
    grant_for(ledger, "cheap", 100, ledger.now_us + HOUR)

    def lines() -> list[str]:
        ledger.open_call(10, 10)
        (created,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionCreated)]
        return [created.line, *created.more_lines]

    assert lines() == ["||TOKEN"]
    ledger.pass_time(HOUR - 1)
    assert lines() == ["||TOKEN"]
    ledger.pass_time(1)
    assert lines() == ["||TOKEN", "|cheap|TOKEN"]


def test_more_of_a_session_is_not_taken_from_what_pays_for_other_models() -> None:
    ledger = Shopper(model_groups=GROUPS)
    others_id = grant_for(ledger, "others", 1_000)
    ledger.grant(100 * UNIT)
    charging_id, granted = ledger.create(10, 1_000, metered=True)
    assert granted.output_granted == 64
    ledger.pass_time(SECOND)
    more = ledger.update(charging_id, 2, usage(10, 60), 1_000)
    assert (more.output_granted, more.output_payable, more.final) == (90, 90, True)
    assert ledger.state.buckets[others_id].remaining == 1_000 * UNIT


def test_a_bucket_that_begins_later_is_not_given_away_before() -> None:
    ledger = Ledger()
    added = BucketGranted(
        account_id=ACCOUNT_ID,
        time_us=ledger.now_us,
        bucket_id="bkt-later",
        unit="TOKEN",
        amount=10 * UNIT,
        valid_from_us=ledger.now_us + HOUR,
        valid_until_us=ledger.now_us + DAY,
        priority=0,
        idempotency_key="later",
        digest=b"",
        repaid=0,
        transferable=True,
    )
    # No command grants such a bucket today.
    ledger._write(added)
    send = SendTransfer(ACCOUNT_ID, "acct-9876543210", "bkt-later", UNIT, "gift")
    assert fault_of(ledger.unchanged_by(send)) == "NOT_POSSIBLE"
    ledger.pass_time(HOUR)
    ledger.ask(send)
    assert ledger.state.buckets["bkt-later"].transferred == UNIT


# What lives on


def test_a_cycle_that_ends_leaves_other_subscriptions_alone() -> None:
    ledger = Shopper(
        for_sale("daily", allowance(10, rollover_cap=4 * UNIT), cycle=DAILY),
        for_sale("monthly", allowance(30, rollover_cap=5 * UNIT)),
    )
    ledger.order("daily")
    (monthly_id,) = ledger.order("monthly").bucket_ids
    until_us = ledger.state.buckets[monthly_id].valid_until_us
    ledger.pass_time(DAY)
    assert isinstance(ledger.call(0, 0), Granted)
    assert len([entry for entry in ledger.entries if isinstance(entry, BucketRolledOver)]) == 1
    monthly = ledger.state.buckets[monthly_id]
    assert (monthly.remaining, monthly.valid_until_us, monthly.rollover_cap) == (30 * UNIT, until_us, 5 * UNIT)


def test_what_lives_on_burns_in_the_order_of_its_new_end() -> None:
    ledger = Shopper(for_sale("daily", allowance(10, rollover_cap=4 * UNIT), cycle=DAILY))
    (rolled_id,) = ledger.order("daily").bucket_ids
    # The day ends in less than 18 hours, and the next one in less than 42.
    between = ledger.grant(10 * UNIT, valid_for_us=30 * HOUR, priority=100)
    assert ledger.state.burn_order == [rolled_id, between.bucket_id]
    ledger.pass_time(DAY)
    ledger.event(usage(1))
    assert ledger.state.burn_order[:2] == [between.bucket_id, rolled_id]
    assert (ledger.bucket(between).consumed, ledger.state.buckets[rolled_id].consumed) == (UNIT, 0)


def test_what_is_held_of_a_bucket_without_a_cap_ends_with_its_cycle() -> None:
    ledger = Shopper(for_sale("daily", allowance(10), price=UNIT, cycle=DAILY))
    go_to(ledger, "2026-11-20 23:59:50")
    ledger.money(10)
    (bucket_id,) = ledger.order("daily", Payment.PREPAID).bucket_ids
    charging_id = ledger.open_call(4, 0)
    ledger.pass_time(20 * SECOND)
    ledger.release(charging_id, 2, usage(1))
    bucket = ledger.state.buckets[bucket_id]
    assert (bucket.consumed, bucket.expired, bucket.remaining, bucket.ended) == (UNIT, 9 * UNIT, 0, True)


def test_free_cycles_that_leave_something_are_gone_through_one_by_one() -> None:
    ledger = Shopper(for_sale("daily", allowance(10, rollover_cap=4 * UNIT), cycle=DAILY))
    ledger.order("daily")
    ledger.pass_time(3 * DAY)
    assert isinstance(ledger.call(0, 0), Granted)
    assert [entry.number for entry in ledger.entries if isinstance(entry, CycleStarted)] == [1, 2, 3, 4]
    assert ledger.free == {"TOKEN": 14}


def test_a_pack_ends_at_the_end_of_its_days() -> None:
    ledger = Shopper(for_sale("pack", lasting(10), cycle=None))
    ledger.order("pack")
    ledger.pass_time(30 * DAY - 1)
    assert isinstance(ledger.call(10, 0), Granted)
    ledger.pass_time(1)
    assert isinstance(ledger.call(1, 0), Refused)
