"""What sessions keep from one entry to the next, how their charges are spread, and which tariffs and limits hold."""

import msgspec
import pytest

from services.accounting.core.account.runs import ENDED_RUN_MEMORY_US
from services.accounting.core.amounts import GRANTED_MAX, TOKENS_MAX, PinnedTariff
from services.accounting.core.balance import Source, settle
from services.accounting.core.commands import (
    ApplyDue,
    BucketsAdded,
    EndGrant,
    EndRuns,
    GrantAllowances,
    Granted,
    GrantEnded,
    OpenRun,
    Provenance,
    Refused,
    ResultCode,
    RunsFound,
    Settled,
    ToppedUp,
    TopUpBucket,
    UpdateSession,
)
from services.accounting.core.entries import SessionSettled, VendorAttempt
from services.accounting.core.offerings import OfferingRules, Schedule, TariffVersion
from services.accounting.core.terms import LimitKind, Payment, Period, Scope
from services.token_classes import Vector
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    SECOND,
    TCC_US,
    UNIT,
    Ledger,
    catalog_of,
    event_command,
    fault_of,
    flat,
    offering,
    release_command,
    tariff,
    usage,
)
from tests.accounting.shop import CNY, Shopper, for_sale, lasting, limit


def priced_in(*tariffs: PinnedTariff, **more: object) -> OfferingRules:
    """An offering that prices the model "flat" in the unit of each tariff."""
    schedules = tuple(Schedule(each.unit, (TariffVersion(0, {"flat": each}),)) for each in tariffs)
    return offering({"flat": flat(EACH)}, **more)._replace(schedules=schedules)  # type: ignore[arg-type]


def mint(shopper: Shopper, key_id: str, parent: str = "key-1", **more: object) -> None:
    """Opens the run of a key with 100 tokens."""
    command = OpenRun(ACCOUNT_ID, key_id, parent, parent != "key-1", "mbr-1", (("TOKEN", 100 * UNIT),), 0, (), 0)
    assert isinstance(shopper.ask(msgspec.structs.replace(command, **more)), RunsFound)


# What a session keeps


def test_a_repeated_update_says_again_that_its_grant_is_the_last() -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    charging_id, granted = ledger.create(10, 1_000, metered=True)
    assert not granted.final
    command = UpdateSession(ACCOUNT_ID, charging_id, 2, usage(10, 60), 1_000)
    last = ledger.ask(command)
    assert isinstance(last, Granted)
    assert last.final
    assert ledger.unchanged_by(command) == last


def test_a_session_of_several_tariffs_takes_one_place_of_those_at_once() -> None:
    limits = (limit("at-once", Scope.ACCOUNT, LimitKind.CONCURRENT_SESSIONS, 1),)
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY), limits=limits))
    shopper.grant(10 * UNIT)
    shopper.money(100)
    charging_id = shopper.open_call(20, 0)
    assert len(shopper.release(charging_id, 2, usage(20)).others) == 1
    assert [counter.reserved for counter in shopper.state.counters.values()] == [0]
    shopper.open_call(1, 0)
    assert isinstance(shopper.call(1, 0), Refused)


def test_what_the_last_of_three_tariffs_absorbs_is_told_of_that_one() -> None:
    limits = {CNY: 5 * UNIT}
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, "POINT"), flat(EACH, CNY), debt_limits=limits))
    shopper.grant(10 * UNIT)
    shopper.grant(10 * UNIT, unit="POINT")
    shopper.money(10)
    charging_id = shopper.open_call(30, 0)
    settled = shopper.release(charging_id, 2, usage(50))
    assert settled == Settled("TOKEN", 10 * UNIT, 0, (("POINT", 10 * UNIT, 0), (CNY, 15 * UNIT, 5 * UNIT)), 0, (0, 15 * UNIT))
    assert shopper.state.closed[charging_id].answer == settled


def test_what_a_model_has_of_a_cache_says_nothing_of_another() -> None:
    rates = tariff("TOKEN", (-1, EACH, EACH // 10, EACH, EACH, EACH))
    ledger = Ledger(catalog_of(offering({"flat": rates, "other": rates}, expected=True)))
    ledger.grant(100_000 * UNIT)
    charging_id, _ = ledger.create(1_000, 64)
    ledger.release(charging_id, 2, usage(cached_input=1_000))
    reserved = []
    for model in ("flat", "other"):
        charging_id, _ = ledger.create(1_000, 0, model=model)
        reserved.append(sum(ledger.state.sessions[charging_id].hold.values()) // UNIT)
    assert reserved == [100, 1_000]


# How a charge is spread


def test_input_that_costs_nothing_in_the_first_line_costs_nothing_in_the_next() -> None:
    # Input is free where a token of output costs ten, and five are left; in money each costs one.
    tokens = tariff("TOKEN", (-1, 0, 0, 0, 10 * EACH, 10 * EACH))
    shopper = Shopper(base=priced_in(tokens, flat(EACH, CNY)))
    bucket = shopper.grant(5 * UNIT)
    shopper.money(100)
    charging_id = shopper.open_call(10, 10)
    assert shopper.state.sessions[charging_id].hold[bucket.bucket_id] == 0
    settled = shopper.release(charging_id, 2, usage(10, 10))
    assert (settled.unit, settled.charged, settled.others) == ("TOKEN", 0, ((CNY, 10 * UNIT, 0),))


def test_the_next_class_goes_where_the_one_before_has_gone() -> None:
    # Of 15 one token of input is paid at 10; the 5 that are left are too few for the next, and pay no output before it.
    lines = {"a": tariff("TOKEN", (-1, *(10 * EACH,) * 3, *(EACH,) * 2)), "b": flat(EACH, CNY)}
    first, second = Source("a"), Source("b")
    first.add("tokens", 15 * UNIT)
    second.add("money", 100 * UNIT)
    charges = settle(lines, usage(2, 5), [first, second])
    assert [(charge.line, charge.usage, charge.charged // UNIT) for charge in charges] == [
        ("a", usage(1), 10),
        ("b", usage(1, 5), 6),
    ]


def test_a_line_that_pays_in_two_turns_rounds_once() -> None:
    # At 0.4 a token, one micro-unit pays two tokens, and two pay five.
    lines = {"a": flat(400_000), "b": flat(EACH, CNY)}
    sources = []
    for line, amount in (("a", 1), ("b", UNIT), ("a", 1)):
        sources.append(Source(line))
        sources[-1].add(f"{line}-{len(sources)}", amount)
    spread: list[tuple[str, Vector, int, int]] = [
        (charge.line, charge.usage, charge.charged, charge.debt) for charge in settle(lines, usage(7), sources)
    ]
    assert spread == [("a", usage(5), 2, 0), ("b", usage(2), 2 * UNIT, UNIT)]


def test_a_late_end_that_tells_less_than_the_sweep_charges_nothing_more() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY)))
    shopper.grant(10 * UNIT)
    money = shopper.money(100)
    charging_id = shopper.open_call(10, 30)
    shopper.update(charging_id, 2, usage(10, 20), 30)
    shopper.pass_time(TCC_US)
    settled = shopper.release(charging_id, 3, usage(4, 21))
    # One more token of output, and none of input comes back.
    assert (settled.charged, settled.others) == (UNIT, ())
    assert shopper.bucket(money).consumed == 21 * UNIT
    # Its counts are the vendor's, which the sweep did not know.
    told = [(entry.provenance, entry.created_us) for entry in shopper.last_entries if isinstance(entry, SessionSettled)]
    assert told == [(each, shopper.now_us - TCC_US) for each in (Provenance.PARTIAL, Provenance.PARTIAL, Provenance.VENDOR)]


def test_what_was_not_held_is_paid_by_all_buckets_before_it_is_owed() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY)))
    buckets = [shopper.grant(5 * UNIT) for _ in range(2)]
    charging_id = shopper.open_call(0, 0)
    settled = shopper.release(charging_id, 2, usage(8))
    assert (settled.charged, settled.debt, settled.others) == (8 * UNIT, 0, ())
    assert sorted(shopper.bucket(bucket).consumed // UNIT for bucket in buckets) == [3, 5]


def test_each_record_names_the_offering_whose_line_has_paid() -> None:
    packs = [
        for_sale(name, lasting(10, unit), tariffs={"flat": flat(EACH, unit)}, cycle=None)
        for name, unit in (("tokens", "TOKEN"), ("points", "POINT"))
    ]
    shopper = Shopper(*packs)
    shopper.order("tokens")
    shopper.pass_time(SECOND)
    shopper.order("points")
    shopper.event(usage(15))
    told = [(entry.offering_id, entry.charged // UNIT) for entry in shopper.last_entries if isinstance(entry, SessionSettled)]
    assert told == [("tokens", 10), ("points", 5)]


def test_a_budget_in_money_is_not_larger_by_what_is_held_in_tokens() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY)))
    shopper.grant(20 * UNIT)
    money = shopper.money(100)
    mint(shopper, "minted", budgets=(("TOKEN", 100 * UNIT), (CNY, 10 * UNIT)))
    charging_id = shopper.open_call(20, 5, key="minted")
    settled = shopper.release(charging_id, 2, usage(20, 40))
    # Of 40 yuan the budget has 10; nobody pays for the rest.
    assert (settled.others, settled.others_absorbed) == (((CNY, 10 * UNIT, 0),), (30 * UNIT,))
    assert shopper.bucket(money).consumed == 10 * UNIT


def test_what_a_budget_does_not_cover_comes_off_the_last_record_first() -> None:
    pack = for_sale("pack", lasting(10), cycle=None)
    shopper = Shopper(pack)
    shopper.grant(10 * UNIT)
    shopper.order("pack")
    mint(shopper, "minted", budgets=(("TOKEN", 12 * UNIT),))
    charging_id = shopper.open_call(5, 0, key="minted")
    shopper.release(charging_id, 2, usage(20))
    told = [
        (entry.offering_id, entry.charged // UNIT, entry.absorbed // UNIT)
        for entry in shopper.last_entries
        if isinstance(entry, SessionSettled)
    ]
    assert told == [("default", 10, 0), ("pack", 2, 8)]


def test_what_a_budget_does_not_cover_comes_off_the_last_bucket_first() -> None:
    shopper = Shopper()
    buckets = [shopper.grant(10 * UNIT, valid_for_us=days * DAY) for days in (1, 2)]
    mint(shopper, "minted", budgets=(("TOKEN", 12 * UNIT),))
    charging_id = shopper.open_call(5, 0, key="minted")
    settled = shopper.release(charging_id, 2, usage(20))
    assert (settled.charged, settled.absorbed) == (12 * UNIT, 8 * UNIT)
    assert [shopper.bucket(bucket).consumed // UNIT for bucket in buckets] == [10, 2]


def test_what_a_budget_does_not_cover_is_owed_by_nobody_before_a_bucket_is_spared() -> None:
    shopper = Shopper()
    bucket = shopper.grant(10 * UNIT)
    mint(shopper, "minted", budgets=(("TOKEN", 12 * UNIT),))
    charging_id = shopper.open_call(5, 0, key="minted")
    settled = shopper.release(charging_id, 2, usage(20))
    assert (settled.charged, settled.debt, settled.absorbed) == (12 * UNIT, 2 * UNIT, 8 * UNIT)
    assert shopper.bucket(bucket).consumed == 10 * UNIT


def test_what_nobody_was_sent_is_absorbed_by_the_first_tariff_at_its_price() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(2 * EACH, CNY)))
    shopper.grant(10 * UNIT)
    shopper.money(100)
    charging_id = shopper.open_call(20, 0)
    shopper.ask(msgspec.structs.replace(release_command(charging_id, 2, usage(20)), unpaid=usage(3)))
    assert {unit: loss.absorbed // UNIT for unit, loss in shopper.state.losses.items()} == {"TOKEN": 3}


def test_a_minted_key_has_of_money_what_its_call_needs_though_tokens_would_cost_less() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(10 * EACH, CNY)))
    shopper.grant(5 * UNIT)
    for yuan in (30, 170):
        shopper.money(yuan)
    mint(shopper, "minted", budgets=((CNY, 500 * UNIT),))
    charging_id = shopper.open_call(20, 0, key="minted")
    session = shopper.state.sessions[charging_id]
    assert (sum(session.hold.values()), set(session.estimates)) == (200 * UNIT, set(session.lines))


def test_the_record_of_an_event_says_who_was_asked() -> None:
    ledger = Ledger()
    ledger.grant(10 * UNIT)
    attempts = (VendorAttempt("one", "m", "broken", 0, 1), VendorAttempt("two", "m", "answered", 200, 1))
    ledger.ask(msgspec.structs.replace(event_command(ledger.charging_id(), usage(1)), attempts=attempts))
    assert [entry.attempts for entry in ledger.last_entries if isinstance(entry, SessionSettled)] == [attempts]


# Which tariffs hold


def test_a_model_that_came_with_a_grant_is_not_sold_once_the_grant_has_ended() -> None:
    bundle = for_sale("bundle", lasting(50), tariffs={"other": flat(0)}, cycle=None)
    shopper = Shopper(bundle, base=offering({"flat": flat(EACH)}, model_ids=frozenset({"flat"})))
    assert isinstance(shopper.ask(GrantAllowances(ACCOUNT_ID, "bundle", "", 0, "line-1")), BucketsAdded)
    shopper.open_call(1, 1, model="other")
    assert isinstance(shopper.ask(EndGrant(ACCOUNT_ID, "line-1")), GrantEnded)
    refused = shopper.call(1, 1, model="other")
    assert isinstance(refused, Refused)
    assert refused.code == ResultCode.END_USER_SERVICE_DENIED


def test_a_suspended_subscription_prices_no_money() -> None:
    club = for_sale("club", tariffs={"other": flat(EACH, CNY)}, price=10 * UNIT)
    shopper = Shopper(club, base=offering({"flat": flat(2 * EACH, CNY)}, model_ids=frozenset({"flat"})))
    shopper.money(19, valid_for_us=400 * DAY)
    shopper.order("club", Payment.PREPAID)
    shopper.open_call(1, 1, model="other")
    shopper.pass_time(31 * DAY)
    refused = shopper.call(1, 1, model="other")
    assert isinstance(refused, Refused)
    assert refused.code == ResultCode.END_USER_SERVICE_DENIED


def test_money_that_belongs_to_no_offering_is_priced_by_the_accounts_own_first() -> None:
    club = for_sale("club", tariffs={"flat": flat(EACH, CNY), "other": flat(EACH, CNY)})
    shopper = Shopper(club, base=offering({"flat": flat(2 * EACH, CNY)}, model_ids=frozenset({"flat"})))
    money = shopper.money(100)
    shopper.order("club")
    shopper.event(usage(10))
    assert shopper.bucket(money).consumed == 20 * UNIT
    # By the subscription's where the account's own does not sell the model.
    shopper.event(usage(10), model="other")
    assert shopper.bucket(money).consumed == 30 * UNIT


@pytest.mark.parametrize(("limits", "owed"), [({"POINT": 9_000 * UNIT}, 4_096), ({"POINT": 9_000 * UNIT, "TOKEN": UNIT}, 1)])
def test_a_limit_of_debt_in_another_unit_is_none_of_this_one(limits: dict[str, int], owed: int) -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}, debt_limits=limits)))
    assert ledger.event(usage(10_000)).debt == owed * UNIT


def test_a_minted_key_may_leave_owing_what_holds_in_the_units_of_its_budget() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY), debt_limits={"TOKEN": 3 * UNIT, CNY: 900 * UNIT}))
    shopper.grant(100 * UNIT)
    shopper.money(100)
    mint(shopper, "minted")
    charging_id = shopper.open_call(10, 0, key="minted")
    session = shopper.state.sessions[charging_id]
    assert ([each.unit for each in session.lines.values()], session.debt_limit) == (["TOKEN"], 3 * UNIT)


# Which limits hold


def test_a_minted_key_ends_with_its_run_though_its_account_has_a_later_end() -> None:
    shopper = Shopper()
    shopper.grant(100 * UNIT, valid_for_us=9 * DAY)
    shopper.limits("account", valid_until_us=shopper.now_us + 9 * DAY)
    mint(shopper, "minted", valid_for_us=HOUR)
    shopper.open_call(1, 0, key="minted")
    shopper.pass_time(HOUR)
    refused = shopper.call(1, 0, key="minted")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.limit_id) == (ResultCode.END_USER_SERVICE_REJECTED, "end@key:minted")
    shopper.open_call(1, 0)


def test_a_key_below_a_minted_one_may_use_its_own_models_alone() -> None:
    shopper = Shopper()
    shopper.grant(100 * UNIT)
    mint(shopper, "parent", model_ids=("flat", "other"))
    mint(shopper, "child", "parent", model_ids=("flat",))
    shopper.open_call(1, 0, key="parent", model="other")
    shopper.open_call(1, 0, key="child", model="flat")
    refused = shopper.call(1, 0, key="child", model="other")
    assert isinstance(refused, Refused)
    assert refused.code == ResultCode.END_USER_SERVICE_DENIED


def test_budgets_are_remembered_while_a_swept_call_below_them_may_still_charge() -> None:
    shopper = Shopper()
    shopper.grant(100 * UNIT, valid_for_us=30 * DAY)
    mint(shopper, "parent", budgets=(("TOKEN", 10 * UNIT),))
    mint(shopper, "child", "parent", budgets=(("TOKEN", 9 * UNIT),))
    shopper.release(shopper.open_call(8, 0, key="parent"), 2, usage(8))
    charging_id = shopper.open_call(1, 0, key="child")
    shopper.ask(EndRuns(ACCOUNT_ID, "parent", ""))
    shopper.pass_time(TCC_US)
    shopper.ask(ApplyDue(ACCOUNT_ID))
    # The runs have ended a minute before the call: they would be forgotten now, and the call is not yet.
    shopper.pass_time(ENDED_RUN_MEMORY_US - TCC_US + SECOND)
    mint(shopper, "another")
    settled = shopper.release(charging_id, 2, usage(20))
    # Of the parent's ten it had used eight.
    assert (settled.charged, settled.absorbed) == (2 * UNIT, 18 * UNIT)


@pytest.mark.parametrize(
    ("before", "after"),
    [({"calendar": Period.DAY}, {"calendar": Period.MONTH}), ({"window_us": HOUR}, {"window_us": DAY}), ({"window_us": DAY}, {})],
)
def test_a_limit_with_another_window_counts_from_the_begin(before: dict[str, object], after: dict[str, object]) -> None:
    shopper = Shopper()
    shopper.grant(100 * UNIT)
    shopper.limits("account", limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 10 * UNIT, unit="TOKEN", **before))
    shopper.event(usage(10))
    assert isinstance(shopper.call(1, 0), Refused)
    shopper.limits("account", limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 10 * UNIT, unit="TOKEN", **after))
    charging_id = shopper.open_call(10, 0)
    shopper.release(charging_id, 2, usage(10))
    # Then it counts as any other.
    shopper.pass_time(SECOND)
    assert isinstance(shopper.call(1, 0), Refused)


def test_a_call_does_not_wait_for_others_where_a_cap_is_used_up() -> None:
    shopper = Shopper()
    shopper.grant(100 * UNIT)
    shopper.limits("account", limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 10 * UNIT, unit="TOKEN"))
    first, _second = shopper.open_call(5, 0), shopper.open_call(5, 0)
    waiting = shopper.call(1, 0)
    assert isinstance(waiting, Refused)
    assert waiting.held
    # It used more than it held, all that the cap has.
    shopper.release(first, 2, usage(10))
    refused = shopper.call(1, 0)
    assert isinstance(refused, Refused)
    assert not refused.held


def test_a_top_up_repays_what_is_owed_in_its_own_unit_alone() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY)))
    shopper.event(usage(5))
    bucket = shopper.grant(10 * UNIT)
    assert shopper.ask(TopUpBucket(ACCOUNT_ID, bucket.bucket_id, 10 * UNIT, "more")) == ToppedUp(0)
    assert (shopper.bucket(bucket).remaining, shopper.state.debts[CNY].outstanding) == (20 * UNIT, 5 * UNIT)


def test_no_call_comes_to_more_than_can_be_counted_with_what_nobody_was_sent() -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(500 * EACH)})))
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(1, 0)
    command = release_command(charging_id, 2, usage(1))
    absurd = msgspec.structs.replace(command, unpaid=usage(TOKENS_MAX))
    assert fault_of(ledger.unchanged_by(absurd)) == "AMOUNT_OVERFLOW"
    assert isinstance(ledger.ask(command), Settled)


def test_no_more_is_topped_up_than_can_be_counted() -> None:
    ledger = Ledger()
    bucket = ledger.grant(UNIT)
    assert fault_of(ledger.unchanged_by(TopUpBucket(ACCOUNT_ID, bucket.bucket_id, GRANTED_MAX, "much"))) == "AMOUNT_OVERFLOW"
    ledger.ask(TopUpBucket(ACCOUNT_ID, bucket.bucket_id, GRANTED_MAX - UNIT, "much"))
    assert ledger.bucket(bucket).remaining == GRANTED_MAX


def test_an_event_of_several_tariffs_counts_in_the_caps_of_each() -> None:
    shopper = Shopper(base=priced_in(flat(EACH), flat(EACH, CNY)))
    shopper.grant(10 * UNIT)
    shopper.money(100)
    shopper.limits(
        "account", *(limit(f"cap-{unit}", Scope.ACCOUNT, LimitKind.USAGE, 20 * UNIT, unit=unit) for unit in ("TOKEN", CNY))
    )
    shopper.event(usage(25))
    used = {counter.unit: counter.used // UNIT for counter in shopper.state.counters.values()}
    assert used == {"TOKEN": 10, CNY: 15}


def test_a_rate_of_tokens_counts_what_is_likely_and_not_what_is_possible() -> None:
    rate = limit("tpm", Scope.ACCOUNT, LimitKind.TOKEN_RATE, 600, burst=100)
    shopper = Shopper(base=offering({"flat": flat(EACH)}, limits=(rate,)))
    shopper.grant(1_000 * UNIT)
    likely = msgspec.structs.replace(shopper.create_command(80, 1), input_expected=20)
    assert isinstance(shopper.ask(likely), Granted)
    shopper.open_call(80, 1)
    assert isinstance(shopper.call(1, 1), Refused)
