"""The core as members of a cell understand it that know the first five token classes alone, and checkpoints that they wrote."""

from enum import IntEnum
from typing import Any, Final

import msgspec
import pytest

from services.accounting.core import entries, terms
from services.accounting.core.account import state
from services.accounting.core.account.evolve import evolve, upgraded
from services.accounting.core.amounts import first_classes
from services.accounting.core.commands import CloseCause
from services.accounting.core.entries import LimitsSet, SessionCreated, SessionSettled
from services.accounting.core.offerings import ChargingCatalog, Schedule, TariffVersion, TariffWindow
from services.accounting.core.terms import Payment
from services.tariff_windows import Hours
from services.token_classes import NOTHING, folded
from tests.accounting.ledger import (
    ACCOUNT_ID,
    EACH,
    START_US,
    TCC_US,
    UNIT,
    Ledger,
    catalog_of,
    event_command,
    flat,
    offering,
    release_command,
    state_of,
    tariff,
    usage,
)
from tokenline.registry.v1 import registry_pb2

# Five rates, then an hour's cache write and, after a gap, images in the output.
LATER = tariff("TOKEN", (-1, EACH, EACH // 10, 2 * EACH, 4 * EACH, 5 * EACH, 3 * EACH, -1, -1, -1, 40 * EACH))
SCHEDULES = offering({"flat": LATER}).schedules
CATALOG = catalog_of(
    offering({"flat": LATER, "first": flat(EACH)}, debt_limits={"TOKEN": 5 * UNIT}),
    wholesale={"flat": (("acme", "m", SCHEDULES[0]),)},
)


@pytest.fixture
def first() -> ChargingCatalog:
    """The catalog as the first release has it."""
    return CATALOG.for_first_release()


def test_a_tariff_of_the_first_classes_has_their_rates_and_the_dearest_of_them() -> None:
    pinned = first_classes(LATER)
    assert pinned.tiers[0].rates == (EACH, EACH // 10, 2 * EACH, 4 * EACH, 5 * EACH)
    assert pinned.dearest_rate == 5 * EACH
    assert (pinned.tariff_id, pinned.version, pinned.unit) == (LATER.tariff_id, LATER.version, LATER.unit)
    assert first_classes(pinned) is pinned


def test_the_catalog_has_the_first_classes_alone_and_no_limit_of_debts(first: ChargingCatalog) -> None:
    assert (CATALOG.extended, first.extended) == (True, False)
    assert (CATALOG.offerings["default"].debt_limits, first.offerings["default"].debt_limits) == ({"TOKEN": 5 * UNIT}, {})
    (schedule,) = first.offerings["default"].schedules
    assert (schedule.unit, [version.effective_us for version in schedule.versions]) == ("TOKEN", [0])
    assert {model: len(each.tiers[0].rates) for model, each in schedule.versions[0].rates.items()} == {"flat": 5, "first": 5}
    (owed,) = first.wholesale("flat", START_US)
    assert (owed.vendor_id, owed.vendor_model_id, owed.tariff) == ("acme", "m", first_classes(LATER))


@pytest.mark.parametrize(
    ("kind", "contract", "prefix"),
    [
        (terms.Period, registry_pb2.Period, "PERIOD_"),
        (terms.Payment, registry_pb2.PaymentMethod, "PAYMENT_METHOD_"),
        (terms.Scope, registry_pb2.LimitScope, "LIMIT_SCOPE_"),
    ],
)
def test_terms_in_journals_have_the_numbers_of_the_contract(kind: type[IntEnum], contract: Any, prefix: str) -> None:
    # What is free needs no method of payment.
    numbers = {f"{prefix}{each.name}": each.value for each in kind if each is not Payment.FREE}
    assert numbers == {name: number for name, number in contract.items() if number}


def test_windows_of_hours_stay_with_the_first_classes() -> None:
    night = (Hours(frozenset(range(7)), 60, 120),)
    version = TariffVersion(0, {"flat": LATER}, (TariffWindow(night, {"flat": LATER}),))
    windowed = catalog_of(offering({"flat": LATER})._replace(schedules=(Schedule("TOKEN", (version,)),))).for_first_release()
    ((kept,),) = (each.versions for each in windowed.offerings["default"].schedules)
    assert kept.windows == (TariffWindow(night, {"flat": first_classes(LATER)}),)


def test_later_classes_are_charged_folded_in_updates_releases_and_events(first: ChargingCatalog) -> None:
    ledger = Ledger(first)
    bucket = ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    used = usage(2, 1, cache_write_1h=3, image_output=4)
    ledger.update(charging_id, 2, used, 20)
    assert ledger.state.sessions[charging_id].used == folded(used)
    assert len(folded(used)) == 5
    # Two of input, three written to a cache at two each, one and four of output at four each.
    assert ledger.release(charging_id, 3, used).charged == (2 + 6 + 20) * UNIT
    (settled,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert settled.usage == folded(used)
    assert ledger.ask(event_command(ledger.charging_id(), used)) == ledger.ask(event_command(ledger.charging_id(), folded(used)))
    assert ledger.amounts(bucket)[2] == 3 * 28 * UNIT


def test_a_revoked_key_is_an_exhausted_quota_and_unpaid_usage_is_not_told(first: ChargingCatalog) -> None:
    for catalog, cause, unpaid in ((first, CloseCause.QUOTA_EXHAUSTED, ()), (CATALOG, CloseCause.REVOKED, usage(1))):
        ledger = Ledger(catalog)
        ledger.grant(1_000 * UNIT)
        charging_id, _ = ledger.create(20, 20)
        command = release_command(charging_id, 2, usage(2), close_cause=CloseCause.REVOKED)
        ledger.ask(msgspec.structs.replace(command, unpaid=usage(1)))
        (settled,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
        assert (settled.close_cause, settled.unpaid) == (cause, unpaid)
    ledger = Ledger(first)
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    ledger.ask(release_command(charging_id, 2, usage(2), close_cause=CloseCause.CLIENT_GONE))
    (settled,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert settled.close_cause == CloseCause.CLIENT_GONE


def test_a_checkpoint_without_lines_gets_those_of_the_plain_offering() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    swept, _ = ledger.create(3, 2)
    ledger.update(swept, 2, usage(3, 1), 2)
    ledger.pass_time(TCC_US + 1)
    ledger.create(20, 20)
    before = state_of(ledger.state)
    old = ledger.state
    assert (len(old.sessions), len(old.swept), len(old.buckets), old.account_id) == (1, 1, 1, ACCOUNT_ID)
    (bucket,), (session,), (late,) = old.buckets.values(), old.sessions.values(), old.swept.values()
    assert late.charged != 0
    bucket.line = ""
    session.lines, session.estimates, session.input_reserved = {}, {}, 0
    late.lines, late.charges = {}, {}
    assert state_of(upgraded(old)) == before


def test_a_checkpoint_in_whose_order_money_burned_first_gets_todays_order() -> None:
    ledger = Ledger()
    tokens = ledger.grant(10 * UNIT, priority=100).bucket_id
    money = ledger.grant(10 * UNIT, unit="CURRENCY:CNY", priority=0).bucket_id
    old = ledger.state
    assert old.burn_order == [tokens, money]
    old.burn_order.reverse()
    assert upgraded(old).burn_order == [tokens, money]


# The ends of the arrays that checkpoints and the journal have, as the oldest of them leave them out.
LEFT_OUT: Final[dict[type[msgspec.Struct], list[Any]]] = {
    state.Bucket: [0, 0, 0, 0, False, "", "", "", "", 0, False, False, (), 0],
    state.Debt: [0, 0, 0, []],
    state.Loss: [0],
    state.Work: [0, 0],
    state.Session: [{}, {}, 0, False, (), 0, 0, (), -1, -1, b"", "", ()],
    state.KeyedCall: [0],
    state.ClosedSession: [],
    state.SweptSession: [{}, {}, {}, (), 0, (), -1, "", None, 0],
    state.Counter: [0, 0],
    state.SubjectLimits: [],
    state.Order: ["awaiting_payment", "", (), 0, None, ()],
    state.Subscription: ["active", 0, 0, 0, 0, 0, None, Payment.FREE, 0, 0, 0, (), None, ()],
    state.Transfer: ["in_transit", "", 0],
    terms.Allowance: [0],
    terms.Terms: [True, False, None],
    state.Adjustment: [0],
    entries.BucketGranted: ["", "", "", "", "", "", 0, False, False, ()],
    entries.SessionCreated: ["", {}, {}, -1, False, (), (), (), 0, 0, 1, (), -1],
    entries.SessionUpdated: [(), 0, -1, ()],
    entries.SessionSettled: [False, "", (), -1, None, NOTHING, NOTHING, -1, (), (), 0, (), (), 0, 0, 0],
    state.Account: [
        *(0, 0, {}, [], {}, {}, {}, {}, None, {}, {}, {}, {}, {}, {}, {}, {}, {}),
        *(state.COUNTERS_KEPT_MIN, None, {}, [], 0, {}, {}, {}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", LEFT_OUT, ids=lambda kind: kind.__name__)
def test_what_an_old_checkpoint_or_journal_leaves_out_is_read_as_nothing(kind: type[msgspec.Struct]) -> None:
    read = [
        field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        for field in msgspec.structs.fields(kind)
        if not field.required
    ]
    assert [(type(each), each) for each in read] == [(type(each), each) for each in LEFT_OUT[kind]]


def test_a_session_of_a_row_without_a_line_is_on_that_of_the_plain_offering() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    (created,) = ledger.last_entries
    assert isinstance(created, SessionCreated)
    before = ledger.state.sessions.pop(charging_id)
    evolve(ledger.state, msgspec.structs.replace(created, line=""), 9, 0)
    assert ledger.state.sessions[charging_id].lines == before.lines == {"||TOKEN": created.tariff}


def test_limits_that_are_removed_twice_are_removed() -> None:
    ledger = Ledger()
    evolve(ledger.state, LimitsSet(ACCOUNT_ID, START_US, "key:key-1", (), 0), 9, 0)
    assert ledger.state.limits == {}


def test_a_session_of_a_row_without_a_reserved_input_reserves_its_bound() -> None:
    ledger = Ledger()
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 20)
    (created,) = ledger.last_entries
    assert isinstance(created, SessionCreated)
    for told, reserved in ((-1, 20), (0, 0), (7, 7)):
        del ledger.state.sessions[charging_id]
        evolve(ledger.state, msgspec.structs.replace(created, input_reserved=told), 9, 0)
        assert ledger.state.sessions[charging_id].input_reserved == reserved
