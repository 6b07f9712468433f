"""Which tariff prices what: scopes, currencies, versions, several units; and reserving at what is expected."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.accounting.core.amounts import ContextTier, PinnedTariff
from services.accounting.core.commands import ApplyDue, CreateSession, GrantBucket, Granted, Refused, ResultCode, SetLimits, Settled
from services.accounting.core.entries import SessionSettled, VendorAttempt
from services.accounting.core.offerings import OfferingRules, Schedule, TariffVersion
from services.accounting.core.terms import FinalAction, LimitKind, Scope
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    START_US,
    TCC_US,
    UNIT,
    Ledger,
    catalog_of,
    flat,
    offering,
    release_command,
    replayed,
    state_of,
    tariff,
    usage,
)
from tests.accounting.shop import CNY, Shopper, allowance, for_sale, limit

USD = "CURRENCY:USD"


def both(*, main: PinnedTariff, overage: PinnedTariff, **more: object) -> OfferingRules:
    """An offering that prices the model "flat" in two units."""
    schedules = tuple(Schedule(each.unit, (TariffVersion(0, {"flat": each}),)) for each in (main, overage))
    return offering({"flat": main}, **more)._replace(schedules=schedules)  # type: ignore[arg-type]


def test_more_of_a_session_of_two_tariffs_holds_no_more_than_it_needs() -> None:
    shopper = Shopper(base=both(main=flat(EACH), overage=flat(EACH, CNY)))
    shopper.grant(100 * UNIT)
    shopper.money(1_000)
    charging_id, granted = shopper.create(10, 500, metered=True)
    assert granted.output_granted == 64
    more = shopper.update(charging_id, 2, usage(10, 60), 200)
    assert more.output_granted == 200
    hold = shopper.state.sessions[charging_id].hold
    assert list(hold.values()) == [100 * UNIT, 110 * UNIT]


def test_more_of_a_session_is_granted_only_as_far_as_its_longer_hold_pays_for() -> None:
    # Input is dear where output is cheap: a longer hold there pays for all of the input, and so for less of the output.
    tokens = tariff("TOKEN", (-1, *(3 * EACH,) * 3, *(EACH,) * 2))
    ledger = Ledger(catalog_of(both(main=tokens, overage=tariff(CNY, (-1, *(EACH,) * 3, *(3 * EACH,) * 2)))))
    ledger.grant(20 * UNIT)
    ledger.grant(200 * UNIT, unit=CNY)
    other, _ = ledger.create(0, 14)
    charging_id, granted = ledger.create(4, 200, metered=True)
    assert granted.output_granted == 64
    ledger.release(other, 2, usage())
    # The 6 TOKEN held before are two tokens of input; 14 more would be 14 of output, but 20 are four of input and eight of output.
    more = ledger.update(charging_id, 2, usage(), 200)
    assert (more.output_granted, more.final) == (8 + 200 // 3, True)
    assert list(ledger.state.sessions[charging_id].hold.values()) == [20 * UNIT, 200 * UNIT]
    settled = ledger.release(charging_id, 3, usage(4, more.output_granted))
    assert settled == Settled("TOKEN", 20 * UNIT, 0, ((CNY, 198 * UNIT, 0),))


# Scope


def test_a_bucket_pays_for_the_models_of_its_group_alone() -> None:
    models = {"flat": flat(EACH), "other": flat(EACH)}
    group = for_sale("group", allowance(10, model_group="cheap", valid_for_us=DAY), cycle=None, tariffs=models)
    shopper = Shopper(group, model_groups={"cheap": frozenset({"flat"})})
    shopper.order("group")
    # A top-up can be limited to a group too.
    shopper.ask(GrantBucket(ACCOUNT_ID, "TOKEN", 100 * UNIT, None, DAY, 0, "cheap", model_group="cheap"))
    assert isinstance(shopper.call(1, 0, model="other"), Refused)
    shopper.grant(5 * UNIT)
    assert isinstance(shopper.call(6, 0, model="other"), Refused)
    shopper.open_call(100, 0, model="flat")
    shopper.open_call(5, 0, model="other")
    shopper.open_call(10, 0, model="flat")


def test_a_model_that_only_a_bought_offering_sells_can_be_called_while_it_lasts() -> None:
    extra = for_sale("extra", allowance(10, valid_for_us=DAY), cycle=None, tariffs={"rare": flat(EACH)})
    shopper = Shopper(extra)
    refused = shopper.call(1, 1, model="rare")
    assert isinstance(refused, Refused)
    assert refused.code == ResultCode.RATING_FAILED
    shopper.order("extra")
    charging_id = shopper.open_call(1, 1, model="rare")
    shopper.pass_time(DAY)
    assert isinstance(shopper.call(1, 1, model="rare"), Refused)
    assert charging_id


# Money


def test_a_tariff_in_one_currency_prices_money_in_another_at_the_pinned_rate() -> None:
    dollars = offering({"flat": flat(EACH, USD)})
    ledger = Ledger(catalog_of(dollars, exchange_rates={("USD", "CNY"): (7_123_400, 3)}))
    bucket = ledger.grant(1_000 * UNIT, unit=CNY)
    charging_id, _ = ledger.create(10, 10)
    assert ledger.bucket(bucket).reserved == 20 * 7_123_400
    # The rate of the session stays, whatever the catalog says later.
    ledger.catalog = catalog_of(dollars, exchange_rates={("USD", "CNY"): (9_000_000, 4)})
    assert ledger.release(charging_id, 2, usage(input=10, output=10)) == Settled(CNY, 20 * 7_123_400, 0)
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert entry.tariff.exchange == "USD/CNY@3"
    assert ledger.event(usage(input=1)).charged == 9_000_000


def test_an_exchanged_rate_rounds_up() -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(1, USD)}), exchange_rates={("USD", "CNY"): (7_123_400, 3)}))
    ledger.grant(UNIT, unit=CNY)
    # 7.1234 micro-yuan a million tokens are 8.
    assert ledger.event(usage(input=1_000_000)).charged == 8


def test_money_of_several_currencies_burns_in_order_and_debt_is_owed_in_what_the_account_has() -> None:
    dollars = offering({"flat": flat(EACH, USD)})
    ledger = Ledger(catalog_of(dollars, exchange_rates={("USD", "CNY"): (7 * UNIT, 1)}))
    ledger.grant(5 * UNIT, unit=USD, priority=0)
    ledger.grant(70 * UNIT, unit=CNY, priority=1)
    charging_id, _ = ledger.create(10, 0)
    assert ledger.release(charging_id, 2, usage(input=10)) == Settled(USD, 5 * UNIT, 0, ((CNY, 35 * UNIT, 0),))
    settled = ledger.event(usage(input=6))
    assert settled == Settled(CNY, 42 * UNIT, 7 * UNIT)
    ledger.grant(10 * UNIT, unit=CNY)
    assert ledger.state.debts[CNY].outstanding == 0


# Versions of tariffs


def test_a_tariff_changes_at_its_time_for_sessions_that_begin_then() -> None:
    schedule = Schedule(
        "TOKEN",
        (
            TariffVersion(0, {"flat": flat(EACH)}),
            TariffVersion(START_US + HOUR, {"flat": flat(3 * EACH)}),
            TariffVersion(START_US + 2 * HOUR, {"flat": flat(2 * EACH), "late": flat(EACH)}),
        ),
    )
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)})._replace(schedules=(schedule,)), model_ids={"late"}))
    ledger.grant(1_000 * UNIT)
    ledger.pass_time(HOUR - 1)
    assert ledger.event(usage(input=1)).charged == UNIT
    before, _ = ledger.create(10, 0)
    ledger.pass_time(1)
    assert ledger.event(usage(input=1)).charged == 3 * UNIT
    assert ledger.release(before, 2, usage(input=10)).charged == 10 * UNIT
    assert isinstance(ledger.ask(ledger.create_command(1, 0, model="late")), Refused)
    ledger.pass_time(HOUR)
    assert ledger.event(usage(input=1)).charged == 2 * UNIT
    ledger.create(1, 0, model="late")


# Several units


def test_units_are_disjoint_over_tariffs_and_the_whole_adds_up() -> None:
    """Whole tokens a source, classes in their order, each class rounded once a tariff."""
    rules = both(main=tariff("TOKEN", (-1, 333_333, 100_000, 0, 500_000, 500_000)), overage=flat(777_777, CNY))
    ledger = Ledger(catalog_of(rules))
    ledger.grant(4)
    ledger.grant(1_000, unit=CNY)
    charging_id, _ = ledger.create(30, 30)
    used = usage(input=10, cached_input=5, output=9, reasoning=2)
    ledger.release(charging_id, 2, used)
    records = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert [(entry.tariff.unit, entry.offering_id) for entry in records] == [("TOKEN", "default"), (CNY, "default")]
    assert tuple(map(sum, zip(*(entry.usage for entry in records), strict=True))) == used
    # ceil(10 x 0.333333) are all four micro-units.
    assert records[0].class_amounts == (4, 0, 0, 0, 0)
    assert records[1].class_amounts == (0, 4, 0, 7, 2)


def test_a_swept_session_of_two_tariffs_is_charged_the_rest_once_it_is_released() -> None:
    ledger = Ledger(catalog_of(both(main=flat(EACH), overage=flat(2 * EACH, CNY))))
    ledger.grant(10 * UNIT)
    ledger.grant(100 * UNIT, unit=CNY)
    charging_id, _ = ledger.create(15, 20, metered=True)
    ledger.update(charging_id, 2, usage(input=12, output=1), 20)
    ledger.pass_time(2 * HOUR)
    settled = ledger.release(charging_id, 3, usage(input=15, output=5))
    # Swept: 10 TOKEN and three tokens in money. Late: seven tokens more, in money, though nothing else came.
    assert settled == Settled(CNY, 14 * UNIT, 0)
    records = [entry for entry in ledger.entries if isinstance(entry, SessionSettled)]
    assert [(e.record_number, e.charged, e.more_records) for e in records] == [
        (1, 10 * UNIT, True),
        (2, 6 * UNIT, False),
        (3, 14 * UNIT, False),
    ]
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


def test_a_late_release_of_two_tariffs_that_adds_nothing_charges_nothing() -> None:
    ledger = Ledger(catalog_of(both(main=flat(EACH), overage=flat(2 * EACH, CNY))))
    ledger.grant(10 * UNIT)
    ledger.grant(100 * UNIT, unit=CNY)
    charging_id, _ = ledger.create(15, 20, metered=True)
    ledger.update(charging_id, 2, usage(input=12, output=1), 20)
    ledger.pass_time(2 * HOUR)
    assert ledger.release(charging_id, 3, usage(input=12, output=1)) == Settled("TOKEN", 0, 0)
    records = [entry for entry in ledger.entries if isinstance(entry, SessionSettled)]
    assert [(each.record_number, each.charged) for each in records] == [(1, 10 * UNIT), (2, 6 * UNIT), (3, 0)]


def test_a_top_up_during_the_session_is_burnt_by_it() -> None:
    ledger = Ledger(catalog_of(both(main=flat(EACH), overage=flat(EACH, CNY))))
    ledger.grant(80 * UNIT)
    charging_id, answer = ledger.create(10, 100)
    assert (answer.output_granted, answer.final) == (70, True)
    ledger.grant(20 * UNIT, unit=CNY)
    answer = ledger.update(charging_id, 2, usage(input=10, output=10), 100)
    assert (answer.output_granted, answer.final) == (90, True)
    assert ledger.release(charging_id, 3, usage(input=10, output=90)) == Settled("TOKEN", 80 * UNIT, 0, ((CNY, 20 * UNIT, 0),))


@pytest.mark.parametrize("action", list(FinalAction))
def test_the_last_grant_and_a_refusal_say_what_the_offering_does_then(action: FinalAction) -> None:
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}, final_action=action)))
    ledger.grant(80 * UNIT)
    charging_id, answer = ledger.create(10, 100)
    assert (answer.final, answer.final_action) == (True, action)
    assert ledger.update(charging_id, 2, usage(), 100).final_action == action
    refused = ledger.ask(ledger.create_command(10, 10))
    assert isinstance(refused, Refused)
    assert (refused.final_action, refused.offering_id) == (action, "default")


# What the vendor is owed


def test_the_vendor_that_answered_is_owed_at_its_pinned_wholesale_tariff() -> None:
    wholesale = Schedule(USD, (TariffVersion(0, {"flat": tariff(USD, (-1, 5, 1, 5, 9, 9))}),))
    catalog = catalog_of(
        offering({"flat": flat(EACH)}), wholesale={"flat": (("cheap", "m-1", wholesale), ("dear", "m-2", wholesale))}
    )
    ledger = Ledger(catalog)
    ledger.grant(100 * UNIT)
    attempts = (VendorAttempt("cheap", "m-1", "refused", 500, 10), VendorAttempt("dear", "m-2", "answered", 200, 10))
    charging_id, _ = ledger.create(10, 10)
    ledger.catalog = catalog_of(offering({"flat": flat(EACH)}))
    command = release_command(charging_id, 2, usage(input=2, output=3))
    ledger.ask(type(command)(**{name: getattr(command, name) for name in command.__struct_fields__} | {"attempts": attempts}))
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert entry.wholesale is not None
    assert (entry.wholesale.vendor_id, entry.wholesale_amounts) == ("dear", (1, 0, 0, 1, 0))
    # A call that no vendor has worked on owes nobody anything.
    charging_id, _ = ledger.create(10, 10)
    ledger.release(charging_id, 2, usage())
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert entry.wholesale is None


# Reserved at what is expected

AGENT = PinnedTariff("agent", 1, "TOKEN", (ContextTier(-1, (EACH, EACH // 10, EACH, 5 * EACH, 5 * EACH)),))


def agents() -> Ledger:
    return Ledger(catalog_of(offering({"agent": AGENT}, expected=True)))


def expect(ledger: Ledger, tokens: int, output_limit: int = 64) -> tuple[str, Granted | Refused]:
    """A Create whose bound is four times what is expected."""
    charging_id = ledger.charging_id()
    answer = ledger.ask(
        CreateSession(
            ACCOUNT_ID, charging_id, 1, "agent", "key-1", "mbr-1", 4 * tokens, output_limit, metered=True, input_expected=tokens
        )
    )
    assert isinstance(answer, Granted | Refused)
    return charging_id, answer


def test_the_cached_share_is_learned_and_what_is_held_follows_it() -> None:
    ledger = agents()
    bucket = ledger.grant(100_000 * UNIT)
    held = []
    for _ in range(6):
        charging_id, _ = expect(ledger, 1_000)
        held.append(ledger.bucket(bucket).reserved // UNIT)
        ledger.release(charging_id, 2, usage(input=40, cached_input=960, output=10))
    # Nothing is known at first; after one session it is.
    assert held[0] == 1_000 + 5 * 64
    assert held[1:] == [136 + 5 * 64] * 5
    assert ledger.state.cached_shares == {"agent": 960_000}
    # A session without a cache moves it a quarter of the way.
    charging_id, _ = expect(ledger, 1_000)
    ledger.release(charging_id, 2, usage(input=1_000))
    assert ledger.state.cached_shares == {"agent": 720_000}
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


def test_nobody_is_refused_for_what_others_only_reserve() -> None:
    """The first call of an account holds the full price, though a tenth of it will be charged."""
    ledger = agents()
    ledger.grant(1_600 * UNIT)
    first, granted = expect(ledger, 1_000)
    assert isinstance(granted, Granted)
    second, granted = expect(ledger, 1_000)
    assert isinstance(granted, Granted)
    assert not granted.final
    for charging_id in (first, second):
        ledger.release(charging_id, 2, usage(input=40, cached_input=960, output=10))
    assert ledger.state.debts == {}


@pytest.mark.parametrize(("cap", "hopes"), [(1_320, True), (1_319, False)])
def test_a_limit_that_leaves_all_that_a_session_is_likely_to_cost_lets_it_hope(cap: int, hopes: bool) -> None:
    ledger = agents()
    ledger.grant(1_600 * UNIT)
    expect(ledger, 1_000)
    # The first one holds 1,000 for input and 5 for each of 64 tokens of output, and so would the second, of another key.
    ledger.ask(SetLimits(ACCOUNT_ID, "key:key-2", (limit("cap", Scope.KEY, LimitKind.USAGE, cap * UNIT, unit="TOKEN"),), 0))
    command = ledger.create_command(4_000, 64, model="agent", metered=True)
    second = ledger.ask(msgspec.structs.replace(command, key_id="key-2", input_expected=1_000))
    assert isinstance(second, Granted) == hopes


def test_a_session_that_held_nothing_holds_of_all_buckets_once_others_free_them() -> None:
    ledger = agents()
    # The first one has enough for the input alone.
    buckets = [ledger.grant(amount * UNIT) for amount in (110, 310)]
    first, _ = expect(ledger, 100)
    second, granted = expect(ledger, 100, output_limit=300)
    assert isinstance(granted, Granted)
    assert (granted.output_granted, ledger.state.sessions[second].hold) == (64, {})
    ledger.release(first, 2, usage())
    # A quarter of a window more.
    assert ledger.update(second, 2, usage(), 300).output_granted == 64 + 16
    assert [ledger.amounts(bucket)[:2] for bucket in buckets] == [(0, 110 * UNIT), (0, 310 * UNIT)]


def test_what_the_account_cannot_pay_even_at_the_least_is_refused() -> None:
    ledger = agents()
    ledger.grant(50 * UNIT)
    _, refused = expect(ledger, 1_000)
    assert isinstance(refused, Refused)


def test_the_overdraft_of_what_is_expected_is_bounded_by_what_was_not_held() -> None:
    ledger = agents()
    ledger.grant(400 * UNIT)
    charging_id, granted = expect(ledger, 1_000)
    assert isinstance(granted, Granted)
    settled = ledger.release(charging_id, 2, usage(input=1_000, output=granted.output_granted))
    assert settled.debt == settled.charged - 400 * UNIT
    # The input at full price and one window, less what was held.
    assert settled.debt <= 1_000 * UNIT + 64 * 5 * UNIT - 400 * UNIT


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_what_a_session_may_use_is_paid_from_its_hold_alone_over_any_tariffs(data: st.DataObject) -> None:
    """So that nothing is overdrawn, no cap is passed and no other session's balance is touched, however the tariffs round."""
    rate = st.integers(0, 3_000_000)

    def random_tariff(unit: str) -> PinnedTariff:
        return tariff(unit, (-1, data.draw(rate), data.draw(rate), data.draw(rate), data.draw(rate), data.draw(rate)))

    rules = both(main=random_tariff("TOKEN"), overage=random_tariff(CNY))
    ledger = Ledger(catalog_of(rules))
    sessions: list[tuple[str, int, int]] = []
    known: dict[str, set[str]] = {}
    for step in range(data.draw(st.integers(3, 14))):
        match data.draw(st.sampled_from(("grant", "create", "update", "update"))):
            case "grant":
                unit = data.draw(st.sampled_from(("TOKEN", CNY)))
                ledger.grant(data.draw(st.integers(1, 60)), unit=unit, key=f"{step}", priority=data.draw(st.integers(0, 2)))
            case "create":
                bound = data.draw(st.integers(0, 30))
                answer = ledger.ask(command := ledger.create_command(bound, 40, metered=data.draw(st.booleans())))
                if isinstance(answer, Granted):
                    sessions.append((command.charging_id, 1, bound))
                    known[command.charging_id] = set(ledger.state.buckets)
            case _ if sessions:
                charging_id, number, bound = sessions.pop(data.draw(st.integers(0, len(sessions) - 1)))
                ledger.update(charging_id, number + 1, usage(), 40)
                sessions.append((charging_id, number + 1, bound))
    for charging_id, number, bound in sessions:
        granted = ledger.state.sessions[charging_id].answer.output_granted
        inputs = [data.draw(st.integers(0, bound))]
        inputs.append(data.draw(st.integers(0, bound - inputs[0])))
        output = data.draw(st.integers(0, granted))
        used = usage(
            input=inputs[0],
            cached_input=inputs[1],
            cache_write=bound - sum(inputs) if data.draw(st.booleans()) else 0,
            output=output,
            reasoning=granted - output if data.draw(st.booleans()) else 0,
        )
        ledger.release(charging_id, number + 1, used)
        for entry in ledger.last_entries:
            assert isinstance(entry, SessionSettled)
            assert entry.debt == 0
            # What was free when it began, since a tariff asked nothing, may be paid from a bucket that came later.
            assert not known[charging_id] & {bucket_id for bucket_id, _ in entry.free_debits}
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


def test_a_late_release_does_not_charge_again_what_the_sweep_rated_at_the_tier_of_the_whole_session() -> None:
    # Three times as much above ten tokens of input, which no line has alone.
    tiers = ((-1, *(EACH,) * 5), (10, *(3 * EACH,) * 5))
    main, overage = tariff("TOKEN", *tiers), tariff(CNY, *tiers)
    ledger = Ledger(catalog_of(both(main=main, overage=overage, window=64)))
    ledger.grant(21 * UNIT)
    ledger.grant(1_000 * UNIT, unit=CNY)
    charging_id, _ = ledger.create(12, 40, metered=True)
    ledger.update(charging_id, 2, usage(12, 10), 40)
    ledger.pass_time(TCC_US)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    swept = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert [(entry.usage[0], entry.charged) for entry in swept] == [(7, 21 * UNIT), (5, 45 * UNIT)]
    # Two more tokens.
    assert ledger.release(charging_id, 3, usage(12, 12)) == Settled(CNY, 6 * UNIT, 0)
    (late,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert late.class_amounts == (15 * UNIT, 0, 0, 36 * UNIT, 0)
