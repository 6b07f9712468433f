"""Promises whose breach no test noticed, each found by planting a fault."""

import msgspec
import pytest

from services.accounting.core.commands import CloseCause, Granted, Provenance, Settled, TopUpBucket, digest_of
from services.accounting.core.entries import BucketRolledOver, NoticeReached, PriceCharged, SessionSettled, VendorAttempt
from services.accounting.core.offerings import Schedule, TariffVersion
from services.accounting.core.terms import LimitKind, Payment, Scope
from services.token_classes import Measure
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
from tests.accounting.shop import CNY, DAILY, Shopper, allowance, for_sale, lasting, limit

# A bucket that is not valid yet


@pytest.mark.parametrize("lines", [1, 2])
def test_more_of_a_session_is_not_taken_from_a_bucket_that_begins_later(lines: int) -> None:
    tariffs = {"flat": flat(EACH)}
    schedules = [schedule for unit in ("TOKEN", CNY)[:lines] for schedule in offering({"flat": flat(EACH, unit)}).schedules]
    ledger = Ledger(catalog_of(offering(tariffs, window=64)._replace(schedules=tuple(schedules))))
    now = ledger.grant(100 * UNIT, priority=1)
    later = ledger.grant(1_000 * UNIT, valid_from_us=ledger.now_us + HOUR, valid_for_us=HOUR)
    charging_id, granted = ledger.create(10, 1_000, metered=True)
    assert granted.output_granted == 64
    ledger.pass_time(SECOND)
    more = ledger.update(charging_id, 2, usage(10, 60), 1_000)
    assert (more.output_granted, more.output_payable, more.final) == (90, 90, True)
    assert ledger.amounts(later) == (1_000 * UNIT, 0, 0, 0)
    # Nor does it pay what was used beyond the hold; that is owed.
    settled = ledger.release(charging_id, 3, usage(10, 95))
    assert settled.debt + sum(debt for _, _, debt in settled.others) == 5 * UNIT
    assert (ledger.amounts(now)[2], ledger.amounts(later)[2]) == (100 * UNIT, 0)


def test_more_of_a_session_is_taken_from_a_bucket_from_its_first_microsecond_on() -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    later = ledger.grant(1_000 * UNIT, valid_from_us=ledger.now_us + SECOND, valid_for_us=HOUR)
    charging_id, _ = ledger.create(10, 1_000, metered=True)
    ledger.pass_time(SECOND)
    assert ledger.update(charging_id, 2, usage(10, 60), 1_000).output_granted > 90
    assert ledger.amounts(later)[1] > 0


# Rollover, to the micro-unit


@pytest.mark.parametrize(("used", "lives_on", "expired"), [(5, 4, 1), (6, 4, 0), (7, 3, 0), (10, 0, 0), (0, 4, 6)])
def test_exactly_the_cap_lives_on(used: int, lives_on: int, expired: int) -> None:
    ledger = Shopper(for_sale("daily", allowance(10, rollover_cap=4 * UNIT), cycle=DAILY))
    ledger.order("daily")
    (bucket_id,) = ledger.state.buckets
    if used:
        ledger.event(usage(used))
    ledger.pass_time(DAY)
    assert isinstance(ledger.ask(ledger.create_command(0, 0)), Granted)
    rolled = [entry for entry in ledger.entries if isinstance(entry, BucketRolledOver)]
    assert [entry.expired for entry in rolled] == ([expired * UNIT] if used < 10 else [])
    assert ledger.state.buckets[bucket_id].remaining == lives_on * UNIT
    if used < 10:
        assert ledger.state.buckets[bucket_id].rollover_cap == 0
    assert sum(ledger.free.values()) == lives_on + 10


# One debt, several buckets of one order


def test_a_debt_is_repaid_once_by_an_order_of_several_buckets() -> None:
    pack = for_sale("pack", lasting(10), lasting(20, allowance_id="more"), cycle=None)
    ledger = Shopper(pack)
    ledger.event(usage(14))
    order = ledger.order("pack")
    debt = ledger.state.debts["TOKEN"]
    assert (debt.incurred, debt.repaid, debt.outstanding) == (14 * UNIT, 14 * UNIT, 0)
    repaid = [ledger.state.buckets[bucket_id].repaid // UNIT for bucket_id in order.bucket_ids]
    assert repaid == [10, 4]
    assert [ledger.state.buckets[bucket_id].remaining // UNIT for bucket_id in order.bucket_ids] == [0, 16]


def test_a_debt_smaller_than_the_first_bucket_leaves_the_second_whole() -> None:
    ledger = Shopper(for_sale("pack", lasting(10), lasting(20, allowance_id="more"), cycle=None))
    ledger.event(usage(3))
    order = ledger.order("pack")
    assert [ledger.state.buckets[bucket_id].remaining // UNIT for bucket_id in order.bucket_ids] == [7, 20]


# A repeat is one only if all of its content is the same


def test_every_field_of_a_release_makes_it_another_one() -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    command = release_command(charging_id, 2, usage(1, 2))
    settled = ledger.ask(command)
    changes: dict[str, object] = {
        "used": usage(1, 3),
        "provenance": Provenance.ESTIMATED,
        "close_cause": CloseCause.CLIENT_GONE,
        "attempts": (VendorAttempt("vendor", "m", "answered", 200, 1),),
        "unpaid": usage(0, 1),
    }
    assert {"account_id", "charging_id", "number", *changes} == set(command.__struct_fields__)
    for field, value in changes.items():
        other = msgspec.structs.replace(command, **{field: value})
        assert digest_of(other) != digest_of(command), field
        assert fault_of(ledger.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT", field
    assert ledger.unchanged_by(command) == settled


def test_every_field_of_a_create_and_an_event_makes_it_another_one() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    create = ledger.create_command(10, 10)
    event = event_command(ledger.charging_id(), usage(1))
    ledger.ask(create)
    ledger.ask(event)
    others: list[tuple[object, dict[str, object]]] = [
        (
            create,
            {
                **{"model_id": "thirds", "key_id": "key-2", "member_id": "mbr-2", "input_bound": 9, "output_limit": 9},
                **{"metered": True, "input_expected": 3, "input_calibrated": 3},
                **{"input_measure": Measure.CHARACTER, "output_measure": Measure.IMAGE},
                **{"idempotency_key": "mine", "content_digest": b"of another"},
                **{"key_is_minted": True, "run_label": "another"},
            },
        ),
        (
            event,
            {
                **{"model_id": "thirds", "key_id": "key-2", "member_id": "mbr-2", "used": usage(2)},
                **{"provenance": Provenance.PARTIAL, "attempts": (VendorAttempt("v", "m", "broken", 0, 1),)},
            },
        ),
    ]
    for command, changes in others:
        assert isinstance(command, msgspec.Struct)
        assert {"account_id", "charging_id", "number", *changes} == set(command.__struct_fields__)
        for field, value in changes.items():
            other = msgspec.structs.replace(command, **{field: value})
            assert fault_of(ledger.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT", field  # type: ignore[arg-type]


# Which vendor is owed


@pytest.mark.parametrize(
    ("attempts", "owed"),
    [
        # The one that made the answer is the last that cost something.
        ([("one", "broken"), ("two", "answered")], "two"),
        ([("one", "answered"), ("two", "refused")], "one"),
        ([("one", "timeout"), ("two", "garbage"), ("one", "unreachable")], "two"),
        ([("one", "broken"), ("two", "broken"), ("one", "answered")], "one"),
        # One that fell silent or wrote nonsense has worked, too.
        ([("one", "answered"), ("two", "timeout")], "two"),
        ([("one", "answered"), ("two", "garbage")], "two"),
        ([("one", "refused"), ("two", "unreachable")], None),
    ],
)
def test_the_last_vendor_that_worked_is_owed(attempts: list[tuple[str, str]], owed: str | None) -> None:
    routes = tuple(
        (vendor, f"m-{vendor}", Schedule(CNY, (TariffVersion(0, {"flat": tariff(CNY, (-1, *(rate * UNIT,) * 5))}),)))
        for vendor, rate in (("one", 1), ("two", 2))
    )
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}), wholesale={"flat": routes}))
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    tried = tuple(VendorAttempt(vendor, f"m-{vendor}", outcome, 200, 1) for vendor, outcome in attempts)
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 2, usage(3)), attempts=tried))
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionSettled)
    assert (entry.wholesale.vendor_id if entry.wholesale else None) == owed
    assert sum(entry.wholesale_amounts) == {"one": 3, "two": 6, None: 0}[owed]


def test_the_vendor_of_a_swept_session_is_owed_with_its_late_release() -> None:
    routes = (("vendor", "m", Schedule(CNY, (TariffVersion(0, {"flat": flat(EACH, CNY)}),))),)
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}), wholesale={"flat": routes}))
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    ledger.pass_time(TCC_US)
    # The route may have left the catalog meanwhile.
    ledger.catalog = catalog_of(offering({"flat": flat(EACH)}))
    attempts = (VendorAttempt("vendor", "m", "answered", 200, 1),)
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 2, usage(3)), attempts=attempts))
    entry = ledger.last_entries[-1]
    assert isinstance(entry, SessionSettled)
    assert sum(entry.wholesale_amounts) == 3 * UNIT


# A session of several tariffs


def test_what_concerns_a_whole_session_stands_in_one_of_its_records() -> None:
    schedules = [each for unit in ("TOKEN", "POINT", CNY) for each in offering({"flat": flat(EACH, unit)}).schedules]
    routes = (("vendor", "m", Schedule(CNY, (TariffVersion(0, {"flat": flat(EACH, CNY)}),))),)
    rate = limit("tpm", Scope.ACCOUNT, LimitKind.TOKEN_RATE, 600)
    rules = offering({"flat": flat(EACH)}, limits=(rate,))._replace(schedules=tuple(schedules))
    ledger = Ledger(catalog_of(rules, wholesale={"flat": routes}))
    ledger.grant(100 * UNIT)
    ledger.grant(20 * UNIT, unit="POINT", priority=1)
    money = ledger.grant(100 * UNIT, unit=CNY, priority=2)
    charging_id, _ = ledger.create(50, 100)
    attempt = VendorAttempt("vendor", "m", "answered", 200, 1)
    command = msgspec.structs.replace(release_command(charging_id, 2, usage(40, 100)), attempts=(attempt,), unpaid=usage(1))
    settled = ledger.ask(command)
    first, second, last = (entry for entry in ledger.last_entries if isinstance(entry, SessionSettled))
    assert [each.charged // UNIT for each in (first, second, last)] == [100, 20, 20]
    assert [each.total_input for each in (first, second, last)] == [40, 40, 40]
    assert [each.attempts for each in (first, second, last)] == [(attempt,), (), ()]
    assert [each.unpaid for each in (first, second, last)] == [usage(1), (), ()]
    assert [each.wholesale_usage for each in (first, second, last)] == [usage(41, 100), usage(), usage()]
    worths = [(each.paid_worth // UNIT, each.unpaid_worth // UNIT) for each in (first, second, last)]
    assert worths == [(140, 1), (0, 0), (0, 0)]
    assert [len(each.arrivals) for each in (first, second, last)] == [1, 0, 0]
    assert [each.released for each in (first, second, last)] == [(), (), ((money.bucket_id, 10 * UNIT),)]
    assert isinstance(settled, Settled)
    assert settled.others == (("POINT", 20 * UNIT, 0), (CNY, 20 * UNIT, 0))
    # As it is told again to who asks again.
    assert ledger.unchanged_by(command) == settled


# Rates of tokens


def rated() -> Shopper:
    """An account that may use 600 tokens a minute, 100 of them at once."""
    rate = limit("tpm", Scope.ACCOUNT, LimitKind.TOKEN_RATE, 600, burst=100)
    shopper = Shopper(base=offering({"flat": flat(EACH)}, limits=(rate,), window=1_000))
    shopper.grant(1_000_000 * UNIT)
    return shopper


def left(ledger: Shopper) -> int:
    """How many tokens may come at once."""
    for tokens in range(100, 0, -1):
        if isinstance(ledger.call(tokens, 1), Granted):
            return tokens
    return 0


def test_tokens_that_an_update_has_counted_are_not_counted_again() -> None:
    shopper = rated()
    charging_id, _ = shopper.create(10, 100, metered=True)
    shopper.update(charging_id, 2, usage(10, 20), 100)
    shopper.update(charging_id, 3, usage(10, 40), 100)
    shopper.release(charging_id, 4, usage(10, 50))
    assert left(shopper) == 100 - 60


def test_tokens_that_were_counted_before_a_sweep_are_not_counted_again() -> None:
    shopper = rated()
    charging_id, _ = shopper.create(60, 100, metered=True)
    shopper.pass_time(TCC_US)
    shopper.release(charging_id, 2, usage(60, 30))
    assert left(shopper) == 100 - 30


def test_no_more_tokens_are_expected_than_there_can_be() -> None:
    shopper = rated()
    shopper.ask(msgspec.structs.replace(shopper.create_command(10, 100), input_expected=50))
    assert left(shopper) == 100 - 10


# Reserved at what is expected


def agents(window: int = 64) -> Ledger:
    rates = tariff("TOKEN", (-1, EACH, EACH // 10, EACH, 5 * EACH, 5 * EACH))
    return Ledger(catalog_of(offering({"flat": rates}, expected=True, window=window)))


@pytest.mark.parametrize(("provenance", "share"), [(Provenance.VENDOR, 960_000), (Provenance.ESTIMATED, None)])
def test_the_cached_share_is_learned_of_what_a_vendor_has_counted(provenance: Provenance, share: int | None) -> None:
    # Our own estimate knows of no cache: it would make every next call hold the full price.
    ledger = agents()
    ledger.grant(100_000 * UNIT)
    charging_id, _ = ledger.create(1_000, 64)
    command = release_command(charging_id, 2, usage(input=40, cached_input=960, output=10))
    ledger.ask(msgspec.structs.replace(command, provenance=provenance))
    assert ledger.state.cached_shares.get("flat") == share


def test_a_session_does_not_hope_for_its_own_hold() -> None:
    ledger = agents(window=4_000)
    ledger.grant(2_000 * UNIT)
    command = ledger.create_command(4_000, 10_000, metered=True)
    granted = ledger.ask(msgspec.structs.replace(command, input_expected=1_000))
    # Three quarters of the input, from the cache, cost 75: 1,925 are left for output at 5.
    assert isinstance(granted, Granted)
    assert granted.output_granted == 385
    assert ledger.update(command.charging_id, 2, usage(), 10_000).output_granted == 385


# Notices


@pytest.mark.parametrize(("used", "percents"), [(4_999, []), (5_000, [50]), (7_999, [50]), (8_000, [80]), (10_000, [80])])
def test_a_notice_is_given_when_its_share_is_reached_exactly(used: int, percents: list[int]) -> None:
    ledger = Shopper(for_sale("pack", lasting(10_000, notice_percents=(50, 80)), cycle=None))
    ledger.order("pack")
    ledger.event(usage(used))
    assert [entry.percent for entry in ledger.last_entries if isinstance(entry, NoticeReached)] == percents


# Which money pays


def test_a_phone_bill_is_paid_from_the_credit_line_alone() -> None:
    line = for_sale("line", lasting(50, CNY, postpaid=True, allowance_id="line", priority=500), cycle=None)
    pack = for_sale("pack", lasting(10), price=30 * UNIT, cycle=None)
    ledger = Shopper(line, pack)
    prepaid = ledger.money(100)
    (line_id,) = ledger.order("line").bucket_ids
    ledger.order("pack", Payment.PHONE_BILL)
    (charged,) = [entry for entry in ledger.entries if isinstance(entry, PriceCharged)]
    # Prepaid money burns first, and pays no phone bill.
    assert charged.debits == ((line_id, 30 * UNIT),)
    assert ledger.bucket(prepaid).remaining == 100 * UNIT
    # What the line has no more, prepaid money does not make up for.
    assert fault_of(ledger.ask(ledger.order_command("pack", Payment.PHONE_BILL))) == "PAYMENT_REQUIRED"
    ledger.order("pack", Payment.PREPAID)
    assert ledger.bucket(prepaid).remaining == 70 * UNIT
    assert ledger.state.buckets[line_id].remaining == 20 * UNIT


def test_prepaid_payment_leaves_the_credit_line_alone() -> None:
    line = for_sale("line", lasting(50, CNY, postpaid=True, allowance_id="line", priority=0), cycle=None)
    ledger = Shopper(line, for_sale("pack", lasting(10), price=30 * UNIT, cycle=None))
    ledger.money(10, priority=9)
    ledger.order("line")
    assert fault_of(ledger.ask(ledger.order_command("pack", Payment.PREPAID))) == "PAYMENT_REQUIRED"
    ledger.ask(TopUpBucket(ACCOUNT_ID, next(iter(ledger.state.buckets)), 20 * UNIT, "more"))
    ledger.order("pack", Payment.PREPAID)
