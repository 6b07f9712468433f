"""Promises whose breach no test noticed, each found by planting a fault."""

from typing import Any

import msgspec
import pytest

from services.accounting.commands import (
    CloseCause,
    Granted,
    Provenance,
    TopUpBucket,
    digest_of,
)
from services.accounting.entries import BucketRolledOver, PriceCharged, SessionSettled, VendorAttempt
from services.accounting.offerings import Schedule, TariffVersion
from services.accounting.terms import Allowance, Payment
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    SECOND,
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
from tests.accounting.shop import CNY, DAILY, Shopper, allowance, for_sale


def lasting(amount: int, unit: str = "TOKEN", **more: Any) -> Allowance:
    """An allowance of a pack that lasts."""
    return allowance(amount, unit, valid_for_us=30 * DAY, **more)


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
