"""Which vendor is owed what for a session, and what is learned of its input."""

import msgspec
import pytest

from services.accounting.core.commands import Provenance
from services.accounting.core.entries import SessionSettled, SessionUpdated, VendorAttempt
from services.accounting.core.offerings import Fees, OfferingRules, Schedule, TariffVersion, TariffWindow
from services.accounting.rpc.journal import journal_entry_message
from services.tariff_windows import Hours
from tests.accounting.ledger import (
    DAY,
    EACH,
    HOUR,
    SECOND,
    START_US,
    TCC_US,
    UNIT,
    Ledger,
    catalog_of,
    flat,
    offering,
    release_command,
    tariff,
    usage,
)
from tests.accounting.shop import CNY

# What is owed for a token, by (vendor, its model).
Rates = dict[tuple[str, str], int]


def schedule_of(*versions: tuple[int, int]) -> Schedule:
    """By time, how many yuan a token."""
    return Schedule(CNY, tuple(TariffVersion(time_us, {"flat": flat(yuan * EACH, CNY)}) for time_us, yuan in versions))


def owing(rates: Rates, rules: OfferingRules | None = None) -> Ledger:
    routes = tuple((vendor, model, schedule_of((0, yuan))) for (vendor, model), yuan in rates.items())
    ledger = Ledger(catalog_of(rules or offering({"flat": flat(EACH)}), wholesale={"flat": routes}))
    ledger.grant(1_000 * UNIT)
    return ledger


def owed(ledger: Ledger) -> list[int]:
    """What the last records say is owed, in whole yuan."""
    return [sum(entry.wholesale_amounts) // UNIT for entry in ledger.last_entries if isinstance(entry, SessionSettled)]


def claimed(ledger: Ledger) -> int:
    """The claim that the last record hands on, in whole yuan."""
    (settled,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    return journal_entry_message(0, 1, 0, settled).session_settled.wholesale.amount // UNIT


def tried(*attempts: tuple[str, str, str]) -> tuple[VendorAttempt, ...]:
    """Attempts by (vendor, its model, outcome)."""
    return tuple(VendorAttempt(vendor, model, outcome, 200, 1) for vendor, model, outcome in attempts)


def end(ledger: Ledger, *attempts: tuple[str, str, str]) -> None:
    """A session of three tokens; attempts are (vendor, its model, outcome)."""
    charging_id, _ = ledger.create(10, 10)
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 2, usage(3)), attempts=tried(*attempts)))


def test_fees_are_those_of_the_time_at_which_the_call_began() -> None:
    routes = (("one", "m", schedule_of((0, 1))),)
    shares = (Fees(0, (50_000, 0, 0)), Fees(START_US + DAY, (40_000, 10_000, 0)))
    ledger = Ledger(catalog_of(offering({"flat": flat(EACH)}), wholesale={"flat": routes}, fees={"one": shares}))
    ledger.grant(1_000 * UNIT, valid_for_us=9 * DAY)
    kept = []
    for pause_us in (0, DAY - SECOND, SECOND):
        ledger.pass_time(pause_us)
        end(ledger, ("one", "m", "answered"))
        kept += [entry.wholesale.fees for entry in ledger.last_entries if isinstance(entry, SessionSettled) and entry.wholesale]
    assert kept == [(50_000, 0, 0), (50_000, 0, 0), (40_000, 10_000, 0)]
    # A vendor without shares keeps all.
    other = owing({("one", "m"): 1})
    end(other, ("one", "m", "answered"))
    assert [entry.wholesale.fees for entry in other.last_entries if isinstance(entry, SessionSettled) and entry.wholesale] == [()]


def test_a_vendor_without_a_wholesale_tariff_is_owed_nothing_and_no_other_is() -> None:
    ledger = owing({("one", "m"): 1})
    end(ledger, ("one", "m", "broken"), ("new", "m", "answered"))
    assert owed(ledger) == [0]


def test_a_vendor_is_owed_for_the_model_that_it_ran() -> None:
    ledger = owing({("one", "small"): 1, ("one", "large"): 2})
    end(ledger, ("one", "small", "refused"), ("one", "large", "answered"))
    assert owed(ledger) == [6]


def test_a_vendor_of_an_equivalent_model_is_owed_by_that_models_rates() -> None:
    own, other = schedule_of((0, 1)), Schedule(CNY, (TariffVersion(0, {"twin": flat(4 * EACH, CNY)}),))
    ledger = Ledger(
        catalog_of(
            offering({"flat": flat(EACH)}),
            wholesale={"flat": (("one", "m", own),), "twin": (("two", "m", other),)},
            equivalents={"flat": ("twin",)},
        )
    )
    ledger.grant(1_000 * UNIT)
    end(ledger, ("one", "m", "refused"), ("two", "m", "answered"))
    assert owed(ledger) == [12]


@pytest.mark.parametrize(("outcome", "amount"), [("refused", 0), ("unreachable", 0), ("answered", 3)])
def test_the_only_vendor_is_owed_if_it_has_worked(outcome: str, amount: int) -> None:
    ledger = owing({("one", "m"): 1})
    end(ledger, ("one", "m", outcome))
    assert owed(ledger) == [amount]


@pytest.mark.parametrize(("rates", "amount"), [({("one", "m"): 2}, 6), ({("one", "m"): 2, ("two", "m"): 3}, 0)])
def test_a_session_that_was_swept_owes_where_there_is_no_doubt(rates: Rates, amount: int) -> None:
    ledger = owing(rates)
    charging_id, _ = ledger.create(10, 10)
    ledger.update(charging_id, 2, usage(3), 10)
    ledger.pass_time(TCC_US)
    ledger.ask(ledger.create_command(1, 1))
    assert owed(ledger) == [amount]


def swept(rates: Rates, used: int, *attempts: tuple[str, str, str]) -> tuple[Ledger, str]:
    """A session that reported tokens and attempts, and then nothing until it was swept."""
    ledger = owing(rates)
    charging_id, _ = ledger.create(10, 10)
    ledger.update(charging_id, 2, usage(used), 10, attempts=tried(*attempts))
    # Only what is new is told again.
    ledger.update(charging_id, 3, usage(used), 10, attempts=tried(*attempts))
    (updated,) = ledger.last_entries
    assert isinstance(updated, SessionUpdated)
    assert updated.attempts == ()
    ledger.pass_time(TCC_US)
    ledger.ask(ledger.create_command(1, 1))
    return ledger, charging_id


@pytest.mark.parametrize(
    ("attempts", "amount"),
    [([("one", "m", "answered")], 6), ([("one", "m", "refused"), ("two", "m", "answered")], 9), ([("gone", "m", "answered")], 0)],
)
def test_a_session_that_was_swept_owes_the_vendor_that_its_updates_named(attempts: list[tuple[str, str, str]], amount: int) -> None:
    ledger, _ = swept({("one", "m"): 2, ("two", "m"): 3}, 3, *attempts)
    assert owed(ledger) == [amount]
    (settled,) = [entry for entry in ledger.last_entries if isinstance(entry, SessionSettled)]
    assert settled.attempts == tried(*attempts)


@pytest.mark.parametrize("rates", [{("one", "m"): 2}, {("one", "m"): 2, ("two", "m"): 3}])
@pytest.mark.parametrize(("used", "claims"), [(5, [6, 4]), (3, [6, 0]), (2, [6, -2])])
def test_a_late_release_claims_what_the_sweep_has_not(rates: Rates, used: int, claims: list[int]) -> None:
    ledger, charging_id = swept(rates, 3, ("one", "m", "answered"))
    assert claimed(ledger) == claims[0]
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 4, usage(used)), attempts=tried(("one", "m", "answered"))))
    assert claimed(ledger) == claims[1]


def test_a_late_release_of_another_vendors_work_claims_all_of_it() -> None:
    ledger, charging_id = swept({("one", "m"): 2, ("two", "m"): 3}, 3, ("one", "m", "answered"))
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 4, usage(3)), attempts=tried(("two", "m", "answered"))))
    assert claimed(ledger) == 9


@pytest.mark.parametrize(("vendor", "outcome", "amount"), [("two", "answered", 9), ("one", "broken", 6), ("one", "refused", 0)])
def test_a_late_release_says_who_is_owed(vendor: str, outcome: str, amount: int) -> None:
    ledger = owing({("one", "m"): 2, ("two", "m"): 3})
    charging_id, _ = ledger.create(10, 10)
    ledger.pass_time(TCC_US)
    attempts = (VendorAttempt(vendor, "m", outcome, 200, 1),)
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 2, usage(3)), attempts=attempts))
    assert owed(ledger) == [0, amount]


def test_what_is_owed_for_a_session_stands_in_its_first_record() -> None:
    schedules = tuple(each for unit in ("TOKEN", CNY) for each in offering({"flat": flat(EACH, unit)}).schedules)
    ledger = owing({("one", "m"): 1}, offering({"flat": flat(EACH)})._replace(schedules=schedules))
    ledger.grant(1_000 * UNIT, unit=CNY)
    ledger.event(usage(998))
    end(ledger, ("one", "m", "answered"))
    assert owed(ledger) == [3, 0]


def test_a_wholesale_tariff_changes_at_its_time() -> None:
    ledger = Ledger()
    routes = (("one", "m", schedule_of((0, 1), (ledger.now_us + HOUR, 2))),)
    ledger.catalog = catalog_of(offering({"flat": flat(EACH)}), wholesale={"flat": routes})
    ledger.grant(1_000 * UNIT)
    for passes_us, amount in ((0, 3), (HOUR - 1, 3), (1, 6)):
        ledger.pass_time(passes_us)
        end(ledger, ("one", "m", "answered"))
        assert owed(ledger) == [amount]


# What is learned


def learning(*, expected: bool = True) -> Ledger:
    rates = tariff("TOKEN", (-1, EACH, EACH // 10, EACH, 5 * EACH, 5 * EACH))
    ledger = Ledger(catalog_of(offering({"flat": rates}, expected=expected)))
    ledger.grant(100_000 * UNIT)
    return ledger


def learn(ledger: Ledger, cached: int, provenance: Provenance = Provenance.VENDOR) -> dict[str, int]:
    """What is known after a session with `cached` of 1,000 tokens of input from a cache."""
    charging_id, _ = ledger.create(1_000, 64)
    command = release_command(charging_id, 2, usage(input=1_000 - cached, cached_input=cached, output=10))
    ledger.ask(msgspec.structs.replace(command, provenance=provenance))
    return ledger.state.cached_shares


@pytest.mark.parametrize("provenance", [each for each in Provenance if each is not Provenance.VENDOR])
def test_nothing_is_learned_of_what_no_vendor_has_counted(provenance: Provenance) -> None:
    ledger = learning()
    assert learn(ledger, 960) == {"flat": 960_000}
    assert learn(ledger, 0, provenance) == {"flat": 960_000}


def test_nothing_is_learned_where_nothing_is_expected() -> None:
    assert learn(learning(expected=False), 960) == {}


def test_that_nothing_came_from_a_cache_is_learned_too() -> None:
    ledger = learning()
    assert learn(ledger, 0) == {"flat": 0}
    # A quarter of the way.
    assert learn(ledger, 1_000) == {"flat": 250_000}


def test_nothing_is_learned_of_a_session_that_was_swept() -> None:
    ledger = learning()
    charging_id, _ = ledger.create(1_000, 64)
    ledger.update(charging_id, 2, usage(input=40, cached_input=960), 64)
    ledger.pass_time(TCC_US)
    ledger.ask(ledger.create_command(1, 1))
    assert ledger.state.sessions.keys().isdisjoint({charging_id})
    assert ledger.state.cached_shares == {}


# Vendors with windows of hours

NIGHT_US = (START_US // DAY + 1) * DAY


def owing_by_night(*, at_end: bool, vendors: tuple[str, ...] = ("one",)) -> Ledger:
    """One yuan a token, three from 1:00 to 2:00 of each day in UTC, which begins half a minute after the ledger's time.

    Calls of the vendor "two" have the prices of their end, and `at_end` those of "one".
    """
    every_day = Hours(frozenset(range(7)), 60, 120)
    version = TariffVersion(0, {"flat": flat(EACH, CNY)}, (TariffWindow((every_day,), {"flat": flat(3 * EACH, CNY)}),))
    ledger = Ledger(
        catalog_of(
            offering({"flat": flat(EACH)}),
            wholesale={"flat": tuple((vendor, "m", Schedule(CNY, (version,))) for vendor in vendors)},
            priced_at_end=frozenset({"one", "two"} if at_end else {"two"}),
        )
    )
    ledger.grant(1_000 * UNIT)
    ledger.pass_time(NIGHT_US + HOUR - 30 * SECOND - ledger.now_us)
    return ledger


@pytest.mark.parametrize(("at_end", "amount"), [(False, 3), (True, 9)])
def test_a_vendor_is_owed_by_the_prices_of_a_calls_start_or_of_its_end(at_end: bool, amount: int) -> None:
    ledger = owing_by_night(at_end=at_end)
    charging_id, _ = ledger.create(10, 10)
    ledger.pass_time(30 * SECOND)
    release = release_command(charging_id, 2, usage(3))
    ledger.ask(msgspec.structs.replace(release, attempts=(VendorAttempt("one", "m", "answered", 200, 1),)))
    assert owed(ledger) == [amount]


@pytest.mark.parametrize(("vendor", "amount"), [("one", 3), ("two", 9)])
def test_of_two_vendors_each_is_owed_by_the_prices_of_its_own_time(vendor: str, amount: int) -> None:
    ledger = owing_by_night(at_end=False, vendors=("one", "two"))
    charging_id, _ = ledger.create(10, 10)
    ledger.pass_time(30 * SECOND)
    ledger.ask(msgspec.structs.replace(release_command(charging_id, 2, usage(3)), attempts=tried((vendor, "m", "answered"))))
    assert owed(ledger) == [amount]


@pytest.mark.parametrize("at_end", [False, True])
def test_a_call_within_a_window_is_owed_by_its_prices(at_end: bool) -> None:
    ledger = owing_by_night(at_end=at_end)
    ledger.pass_time(30 * SECOND)
    end(ledger, ("one", "m", "answered"))
    assert owed(ledger) == [9]


def test_a_call_that_was_swept_is_owed_by_the_prices_of_its_start() -> None:
    ledger = owing_by_night(at_end=True)
    charging_id, _ = ledger.create(10, 10)
    ledger.update(charging_id, 2, usage(3), 10)
    ledger.pass_time(TCC_US + 30 * SECOND)
    ledger.ask(ledger.create_command(1, 1))
    assert owed(ledger) == [3]
