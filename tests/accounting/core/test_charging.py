"""The charging rules by values."""

from typing import Any

import pytest

from services.accounting.core.account.due import next_due_us
from services.accounting.core.account.evolve import evolve
from services.accounting.core.account.sessions import CLOSED_MEMORY_US, SWEPT_MEMORY_US
from services.accounting.core.account.state import Session
from services.accounting.core.amounts import INT64_MAX, TOKENS_MAX, PinnedTariff
from services.accounting.core.buckets import BUCKETS_MAX
from services.accounting.core.commands import (
    AccountView,
    ApplyDue,
    BucketAdded,
    CloseCause,
    Command,
    Done,
    Failed,
    Fault,
    FindRecords,
    GrantBucket,
    Granted,
    OpenAccount,
    Provenance,
    ReadAccount,
    RecordsFound,
    Refused,
    ResultCode,
    Settled,
    UpdateSession,
)
from services.accounting.core.decide import decide
from services.accounting.core.due import due_entries
from services.accounting.core.entries import (
    AccountOpened,
    BucketExpired,
    BucketGranted,
    DebtRepaid,
    SessionCreated,
    SessionSettled,
    SessionUpdated,
)
from services.accounting.core.offerings import CatalogContent, ChargingCatalog
from services.accounting.core.sessions.repeats import CHARGING_ID_AGE_US_MAX, CLOCK_AHEAD_US_MAX
from services.accounting.journal.codec import decode_checkpoint, encode_checkpoint, encode_row
from services.runtime.identifiers import uuid7
from services.token_classes import TOKEN_CLASSES, Vector
from tests.accounting.ledger import (
    ACCOUNT_ID,
    CATALOG,
    DAY,
    EACH,
    HOUR,
    MINUTE,
    SECOND,
    START_US,
    TARIFFS,
    TCC_US,
    UNIT,
    VALIDITY_US,
    WINDOW,
    Ledger,
    catalog_of,
    event_command,
    fault_of,
    flat,
    offering,
    release_command,
    replayed,
    state_of,
    usage,
)
from tests.accounting.shop import allowance, for_sale
from tokenline.accounting.v1 import accounting_pb2
from tokenline.errors.v1 import errors_pb2

# Everything was withdrawn from sale.
EMPTY = ChargingCatalog(CatalogContent({}, frozenset(), "default", VALIDITY_US))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def settled_entry(ledger: Ledger) -> SessionSettled:
    (entry,) = (entry for entry in ledger.last_entries if isinstance(entry, SessionSettled))
    return entry


def test_the_numbers_of_the_core_are_those_of_the_contract() -> None:
    for fault in Fault:
        assert errors_pb2.ErrorReason.Name(fault) == f"ERROR_REASON_{fault.name}"
    for code in ResultCode:
        assert accounting_pb2.ResultCode.Name(code) == f"RESULT_CODE_{code.name}"
    for cause in CloseCause:
        assert accounting_pb2.CloseCause.Name(cause) == f"CLOSE_CAUSE_{cause.name}"
    for provenance in Provenance:
        assert accounting_pb2.UsageProvenance.Name(provenance) == f"USAGE_PROVENANCE_{provenance.name}"


# Accounts


def test_opening_an_account_writes_it_once(ledger: Ledger) -> None:
    assert ledger.entries == [AccountOpened(ACCOUNT_ID, START_US, "default")]
    for offering_id in ("", "default"):
        answer = ledger.unchanged_by(OpenAccount(ACCOUNT_ID, offering_id))
        assert isinstance(answer, AccountView)
        assert answer.account.offering_id == "default"


def test_an_account_cannot_be_opened_on_two_offerings(ledger: Ledger) -> None:
    assert fault_of(ledger.unchanged_by(OpenAccount(ACCOUNT_ID, "limited"))) == "IDEMPOTENCY_CONFLICT"


def test_opening_again_without_an_offering_is_a_repeat_though_the_default_has_changed(ledger: Ledger) -> None:
    ledger.catalog = catalog_of(CATALOG.offerings["limited"], CATALOG.offerings["default"])
    answer = ledger.unchanged_by(OpenAccount(ACCOUNT_ID, ""))
    assert isinstance(answer, AccountView)
    assert answer.account.offering_id == "default"


@pytest.mark.parametrize(
    "command",
    [
        ReadAccount(ACCOUNT_ID),
        FindRecords(ACCOUNT_ID, uuid7(START_US)),
        ApplyDue(ACCOUNT_ID),
        GrantBucket(ACCOUNT_ID, "TOKEN", 1, None, DAY, 0, "key"),
        release_command(uuid7(START_US), 2, usage()),
        event_command(uuid7(START_US), usage()),
    ],
    ids=lambda command: type(command).__name__,
)
def test_an_account_that_does_not_exist_is_named(command: Command) -> None:
    entries, answer = decide(None, command, START_US, CATALOG)
    assert (entries, fault_of(answer)) == ((), "ACCOUNT_UNKNOWN")


def test_a_read_is_a_copy_that_later_changes_do_not_touch(ledger: Ledger) -> None:
    bucket = ledger.grant(10 * UNIT)
    view = ledger.unchanged_by(ReadAccount(ACCOUNT_ID))
    assert isinstance(view, AccountView)
    ledger.event(usage(input=3))
    assert view.account.buckets[bucket.bucket_id].remaining == 10 * UNIT


def test_a_read_does_not_copy_the_memory_of_closed_sessions(ledger: Ledger) -> None:
    """A busy account remembers 100,000 of them: each look at the balance used to hold up the event loop for 100 ms."""
    ledger.event(usage(input=3))
    view = ledger.unchanged_by(ReadAccount(ACCOUNT_ID))
    assert isinstance(view, AccountView)
    assert (view.account.closed, len(ledger.state.closed)) == ({}, 1)


# Buckets


def test_a_grant_makes_a_bucket(ledger: Ledger) -> None:
    answer = ledger.grant(10 * UNIT, key="one", priority=3)
    assert answer == BucketAdded(answer.bucket_id, "TOKEN", 10 * UNIT, START_US, START_US + DAY, 3, 0)
    (entry,) = ledger.last_entries
    assert isinstance(entry, BucketGranted)
    assert (entry.amount, entry.idempotency_key, entry.repaid) == (10 * UNIT, "one", 0)
    assert ledger.amounts(answer) == (10 * UNIT, 0, 0, 0)


def test_a_repeated_grant_gets_its_answer_however_much_later(ledger: Ledger) -> None:
    first = ledger.grant(10 * UNIT, key="one", valid_for_us=HOUR)
    ledger.event(usage(input=4))
    command = GrantBucket(ACCOUNT_ID, "TOKEN", 10 * UNIT, None, HOUR, 0, "one")
    ledger.pass_time(30 * MINUTE)
    assert ledger.unchanged_by(command) == first
    ledger.pass_time(DAY)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    # It has expired long since, and is still not granted again.
    assert ledger.unchanged_by(command) == first
    assert ledger.amounts(first) == (0, 0, 4 * UNIT, 6 * UNIT)


@pytest.mark.parametrize(
    "other",
    [
        GrantBucket(ACCOUNT_ID, "TOKEN", 11 * UNIT, None, HOUR, 0, "one"),
        GrantBucket(ACCOUNT_ID, "POINT", 10 * UNIT, None, HOUR, 0, "one"),
        GrantBucket(ACCOUNT_ID, "TOKEN", 10 * UNIT, None, HOUR + 1, 0, "one"),
        GrantBucket(ACCOUNT_ID, "TOKEN", 10 * UNIT, START_US, HOUR, 0, "one"),
        GrantBucket(ACCOUNT_ID, "TOKEN", 10 * UNIT, None, HOUR, 1, "one"),
    ],
)
def test_a_grant_under_a_used_key_with_other_content_conflicts(ledger: Ledger, other: GrantBucket) -> None:
    ledger.grant(10 * UNIT, key="one", valid_for_us=HOUR)
    assert fault_of(ledger.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT"


def test_a_bucket_whose_validity_is_over_is_not_granted(ledger: Ledger) -> None:
    past = GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, START_US - HOUR, HOUR, 0, "past")
    assert fault_of(ledger.unchanged_by(past)) == "INVALID_ARGUMENT"


def test_grants_that_would_leave_int64_are_refused(ledger: Ledger) -> None:
    ledger.grant(INT64_MAX // 2)
    for amount in (1, INT64_MAX):
        assert fault_of(ledger.unchanged_by(GrantBucket(ACCOUNT_ID, "TOKEN", amount, None, DAY, 0, "more"))) == "AMOUNT_OVERFLOW"
    # Another unit has a sum of its own.
    ledger.grant(INT64_MAX // 2, unit="POINT")


def test_the_burn_order_is_priority_then_end_then_age_then_id(ledger: Ledger) -> None:
    late = ledger.grant(UNIT, priority=1, valid_for_us=2 * DAY)
    early = ledger.grant(UNIT, priority=1, valid_for_us=DAY)
    last = ledger.grant(UNIT, priority=2, valid_for_us=HOUR)
    first = ledger.grant(UNIT, priority=0, valid_for_us=9 * DAY)
    ledger.pass_time(SECOND)
    younger = ledger.grant(UNIT, priority=1, valid_for_us=2 * DAY - SECOND)
    twins = sorted((ledger.grant(UNIT, priority=3), ledger.grant(UNIT, priority=3)), key=lambda bucket: bucket.bucket_id)
    order = [bucket.bucket_id for bucket in (first, early, late, younger, last, *twins)]
    assert ledger.state.burn_order == order
    for count in range(1, 8):
        ledger.event(usage(input=1))
        assert [ledger.state.buckets[bucket_id].consumed for bucket_id in order] == [UNIT] * count + [0] * (7 - count)


def test_a_hold_goes_over_buckets_in_burn_order_and_is_burnt_in_that_order(ledger: Ledger) -> None:
    second = ledger.grant(10 * UNIT, priority=1)
    first = ledger.grant(4 * UNIT, priority=0)
    charging_id, _ = ledger.create(2, 10)
    (created,) = ledger.last_entries
    assert isinstance(created, SessionCreated)
    assert created.hold == ((first.bucket_id, 4 * UNIT), (second.bucket_id, 8 * UNIT))
    # A better bucket that comes later does not change what is held.
    ledger.grant(50 * UNIT, priority=0, valid_for_us=HOUR)
    ledger.release(charging_id, 2, usage(input=2, output=5))
    entry = settled_entry(ledger)
    assert entry.held_debits == ((first.bucket_id, 4 * UNIT), (second.bucket_id, 3 * UNIT))
    assert entry.released == ((second.bucket_id, 5 * UNIT),)
    assert entry.free_debits == ()


def test_only_buckets_of_the_tariffs_unit_pay(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    dollars = ledger.grant(139 * UNIT, unit="CURRENCY:USD")
    ledger.grant(100 * UNIT, unit="CURRENCY:EUR")
    _, answer = ledger.create(1, 100, model="usd")
    assert answer.output_granted == 68
    assert ledger.amounts(dollars) == (UNIT, 138 * UNIT, 0, 0)


def test_a_bucket_is_usable_from_its_beginning_to_just_before_its_end(ledger: Ledger) -> None:
    bucket = ledger.grant(10 * UNIT, valid_from_us=START_US + HOUR, valid_for_us=HOUR)
    refused = ledger.unchanged_by(ledger.create_command(1, 0))
    assert isinstance(refused, Refused)
    assert (refused.free, refused.held) == (0, False)
    ledger.pass_time(HOUR - 1)
    assert isinstance(ledger.unchanged_by(ledger.create_command(1, 0)), Refused)
    ledger.pass_time(1)
    ledger.event(usage(input=1))
    ledger.pass_time(HOUR - 1)
    ledger.event(usage(input=1))
    assert ledger.amounts(bucket) == (8 * UNIT, 0, 2 * UNIT, 0)
    ledger.pass_time(1)
    assert isinstance(ledger.ask(ledger.create_command(1, 0)), Refused)
    (expired,) = ledger.last_entries
    assert expired == BucketExpired(ACCOUNT_ID, START_US + 2 * HOUR, bucket.bucket_id, 8 * UNIT)
    assert ledger.amounts(bucket) == (0, 0, 2 * UNIT, 8 * UNIT)


def test_expiry_is_applied_at_its_due_time_however_late_it_is_noticed(ledger: Ledger) -> None:
    ledger.grant(UNIT, valid_for_us=HOUR)
    ledger.grant(UNIT, valid_for_us=2 * HOUR)
    ledger.pass_time(DAY)
    assert ledger.ask(ApplyDue(ACCOUNT_ID)) == Done()
    assert [entry.time_us for entry in ledger.last_entries] == [START_US + HOUR, START_US + 2 * HOUR]
    assert ledger.unchanged_by(ApplyDue(ACCOUNT_ID)) == Done()


def test_what_is_held_when_a_bucket_expires_stays_usable_and_what_that_frees_expires(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT, valid_for_us=45 * SECOND)
    charging_id, _ = ledger.create(10, 10)
    ledger.pass_time(44 * SECOND)
    ledger.update(charging_id, 2, usage(input=10, output=3), 10)
    ledger.pass_time(SECOND)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    assert ledger.amounts(bucket) == (0, 20 * UNIT, 0, 80 * UNIT)
    # What is held there is no balance for others, not even one to wait for.
    refused = ledger.unchanged_by(ledger.create_command(1, 1))
    assert isinstance(refused, Refused)
    assert (refused.free, refused.reserved, refused.held) == (0, 0, False)
    settled = ledger.release(charging_id, 3, usage(input=10, output=5))
    assert settled == Settled("TOKEN", 15 * UNIT, 0)
    assert ledger.amounts(bucket) == (0, 0, 15 * UNIT, 85 * UNIT)


# Create


def test_create_holds_the_worst_case_and_answers_what_is_granted(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id, answer = ledger.create(20, 40)
    assert answer == Granted(40, 40, 10, VALIDITY_US, final=False, offering_id="default")
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionCreated)
    assert (entry.charging_id, entry.number, entry.output_granted, entry.hold) == (
        charging_id,
        1,
        40,
        ((bucket.bucket_id, 60 * UNIT),),
    )
    assert ledger.amounts(bucket) == (40 * UNIT, 60 * UNIT, 0, 0)


def test_a_metered_session_begins_with_a_window(ledger: Ledger) -> None:
    ledger.grant(10_000 * UNIT)
    _, answer = ledger.create(20, 1_000, metered=True)
    assert (answer.output_granted, answer.output_payable, answer.final) == (WINDOW, 1_000, False)


def test_a_metered_session_shorter_than_a_window_holds_no_more_than_its_limit(ledger: Ledger) -> None:
    ledger.grant(10_000 * UNIT)
    _, answer = ledger.create(20, 5, metered=True)
    assert (answer.output_granted, answer.final) == (5, False)


def test_a_large_max_tokens_does_not_pin_a_budget_under_a_metered_stream(ledger: Ledger) -> None:
    """LiteLLM and others reserve max_tokens, so that one stream with a large one blocks its whole account."""
    bucket = ledger.grant(10 * WINDOW * UNIT)
    for _ in range(10):
        _, answer = ledger.create(0, TOKENS_MAX, metered=True)
        assert answer.output_granted == WINDOW
    assert ledger.amounts(bucket) == (0, 10 * WINDOW * UNIT, 0, 0)


@pytest.mark.parametrize("metered", [False, True])
def test_the_last_grant_is_all_there_is(ledger: Ledger, metered: bool) -> None:
    ledger.grant(84 * UNIT)
    _, answer = ledger.create(20, 400, metered=metered)
    # Of a metered session's first window all is there: that it is the last, the next answer says.
    assert (answer.output_granted, answer.output_payable, answer.final) == (64, 64, not metered)


@pytest.mark.parametrize("metered", [False, True])
@pytest.mark.parametrize(("balance", "free"), [(0, 0), (19, 19), (20, 20), (59, 59)])
def test_a_spent_balance_refuses(ledger: Ledger, metered: bool, balance: int, free: int) -> None:
    if balance:
        ledger.grant(balance * UNIT)
    answer = ledger.unchanged_by(ledger.create_command(20, 40, metered=metered))
    assert answer == Refused(ResultCode.QUOTA_LIMIT_REACHED, "TOKEN", 60 * UNIT, free * UNIT, 0, held=False, offering_id="default")


@pytest.mark.parametrize("metered", [False, True])
@pytest.mark.parametrize(("limit", "useful"), [(0, 0), (1, 1), (63, 63), (64, 64), (65, 64), (100_000, 64)])
def test_less_than_a_useful_answer_is_used_up(metered: bool, limit: int, useful: int) -> None:
    """Agents go on by themselves after an answer that was cut, so that crumbs would be served one by one."""
    ledger = Ledger()
    ledger.grant((10 + useful) * UNIT)
    charging_id, answer = ledger.create(10, limit, metered=metered)
    assert answer.output_granted == useful
    ledger.release(charging_id, 2, usage(1))
    refused = ledger.unchanged_by(ledger.create_command(10, limit, metered=metered))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.held) == (ResultCode.QUOTA_LIMIT_REACHED, False)
    assert (refused.needed, refused.free) == ((10 + useful) * UNIT, (9 + useful) * UNIT)


@pytest.mark.parametrize("metered", [False, True])
def test_less_than_a_useful_answer_is_held_while_others_hold_the_rest(ledger: Ledger, metered: bool) -> None:
    ledger.grant(130 * UNIT)
    charging_id, _ = ledger.create(0, 67)
    refused = ledger.unchanged_by(ledger.create_command(0, 1_000, metered=metered))
    assert isinstance(refused, Refused)
    assert (refused.held, refused.free, refused.reserved) == (True, 63 * UNIT, 67 * UNIT)
    ledger.release(charging_id, 2, usage())
    assert isinstance(ledger.ask(ledger.create_command(0, 1_000, metered=metered)), Granted)


def test_held_is_not_spent(ledger: Ledger) -> None:
    ledger.grant(60 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    answer = ledger.unchanged_by(ledger.create_command(20, 40))
    assert answer == Refused(ResultCode.QUOTA_LIMIT_REACHED, "TOKEN", 60 * UNIT, 0, 60 * UNIT, held=True, offering_id="default")
    # One that could not be paid even when nobody held anything is told so.
    answer = ledger.unchanged_by(ledger.create_command(60, 40))
    assert isinstance(answer, Refused)
    assert (answer.needed, answer.held) == (100 * UNIT, False)
    ledger.release(charging_id, 2, usage())
    assert ledger.create(20, 40)[1].output_granted == 40


def test_a_session_that_is_not_metered_does_not_begin_on_less_while_others_hold_the_rest(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    answer = ledger.unchanged_by(ledger.create_command(20, 40))
    assert isinstance(answer, Refused)
    assert (answer.free, answer.reserved, answer.held) == (40 * UNIT, 60 * UNIT, True)
    ledger.release(charging_id, 2, usage(input=20, output=10))
    _, granted = ledger.create(0, 100)
    assert (granted.output_granted, granted.final) == (70, True)


@pytest.mark.parametrize(("free", "granted"), [(127, None), (128, 128), (129, 129)])
def test_a_metered_session_begins_on_a_small_window_while_others_hold_the_rest(free: int, granted: int | None) -> None:
    ledger = Ledger(catalog_of(offering(TARIFFS, window=1_024)))
    ledger.grant((200 + free) * UNIT)
    ledger.create(20, 180)
    answer = ledger.ask(ledger.create_command(0, 400, metered=True))
    if granted is None:
        assert isinstance(answer, Refused)
        assert answer.held
    else:
        assert isinstance(answer, Granted)
        # Not final: others will free more.
        assert (answer.output_granted, answer.final) == (granted, False)


def test_an_output_limit_of_zero_holds_the_input_alone(ledger: Ledger) -> None:
    bucket = ledger.grant(20 * UNIT)
    for metered in (False, True):
        charging_id, answer = ledger.create(20, 0, metered=metered)
        assert (answer.output_granted, answer.output_payable, answer.final) == (0, 0, False)
        assert ledger.amounts(bucket) == (0, 20 * UNIT, 0, 0)
        ledger.release(charging_id, 2, usage())
    refused = ledger.ask(ledger.create_command(21, 0))
    assert isinstance(refused, Refused)
    assert refused.needed == 21 * UNIT


@pytest.mark.parametrize("metered", [False, True])
def test_a_model_that_costs_nothing_needs_no_balance(ledger: Ledger, metered: bool) -> None:
    charging_id, answer = ledger.create(1_000, 1_000, model="free", metered=metered)
    assert (answer.output_granted, answer.final) == (WINDOW if metered else 1_000, False)
    answer = ledger.update(charging_id, 2, usage(input=1, output=60), 1_000)
    assert (answer.output_granted, answer.final) == (WINDOW + 4 * WINDOW if metered else 1_000, False)
    assert ledger.release(charging_id, 3, usage(input=1_000, output=1_000)) == Settled("TOKEN", 0, 0)
    assert settled_entry(ledger).held_debits == ()


def test_free_input_alone_does_not_open_a_session_that_could_say_nothing(ledger: Ledger) -> None:
    answer = ledger.ask(ledger.create_command(1_000, 10, model="output-only"))
    assert isinstance(answer, Refused)
    assert (answer.needed, answer.held) == (10 * UNIT, False)


@pytest.mark.parametrize(
    ("offering_id", "model", "code"),
    [
        ("default", "no-such-model", ResultCode.RATING_FAILED),
        ("default", "unrated", ResultCode.RATING_FAILED),
        ("limited", "free", ResultCode.END_USER_SERVICE_DENIED),
    ],
)
def test_what_is_not_sold_is_refused_with_the_reason(offering_id: str, model: str, code: ResultCode) -> None:
    ledger = Ledger(offering_id=offering_id)
    ledger.grant(100 * UNIT)
    refused = Refused(code, "", 0, 0, 0, held=False)
    assert ledger.unchanged_by(ledger.create_command(1, 1, model=model)) == refused
    assert ledger.unchanged_by(event_command(ledger.charging_id(), usage(input=1), model=model)) == refused


def test_what_was_withdrawn_is_sold_no_more_and_its_account_is_opened_again_as_before() -> None:
    ledger = Ledger(offering_id="everything")
    ledger.grant(100 * UNIT)
    ledger.catalog = catalog_of(offering(TARIFFS))
    refused = Refused(ResultCode.RATING_FAILED, "", 0, 0, 0, held=False)
    assert ledger.unchanged_by(ledger.create_command(1, 1)) == refused
    opened = ledger.unchanged_by(OpenAccount(ACCOUNT_ID, "everything"))
    assert isinstance(opened, AccountView)
    assert opened.account.offering_id == "everything"
    assert fault_of(ledger.unchanged_by(OpenAccount(ACCOUNT_ID, "default"))) == "IDEMPOTENCY_CONFLICT"


def test_an_account_is_opened_on_what_is_in_the_catalog_and_not_ordered() -> None:
    pack = for_sale("pack", allowance(1), cycle=None)
    catalog = catalog_of(offering(TARIFFS), pack)
    unknown = decide(None, OpenAccount(ACCOUNT_ID, "gold"), 0, catalog)
    assert (unknown.entries, fault_of(unknown.answer)) == ((), "OFFERING_UNKNOWN")
    assert isinstance(unknown.answer, Failed)
    assert "there are default, pack" in unknown.answer.message
    ordered = decide(None, OpenAccount(ACCOUNT_ID, "pack"), 0, catalog)
    assert (ordered.entries, fault_of(ordered.answer)) == ((), "NOT_POSSIBLE")
    assert isinstance(ordered.answer, Failed)
    assert "without it, then order it" in ordered.answer.message


@pytest.mark.parametrize("offering_id", ["everything", "limited"])
def test_a_tariff_for_every_model_rates_those_without_a_row(offering_id: str) -> None:
    ledger = Ledger(offering_id=offering_id)
    ledger.grant(100 * UNIT)
    assert ledger.create(1, 1, model="flat")[1].offering_id == offering_id


@pytest.mark.parametrize(("input_bound", "output_limit"), [(TOKENS_MAX + 1, 1), (1, TOKENS_MAX + 1), (-1, 1), (1, -1)])
def test_absurd_bounds_are_refused(ledger: Ledger, input_bound: int, output_limit: int) -> None:
    ledger.grant(100 * UNIT)
    assert fault_of(ledger.unchanged_by(ledger.create_command(input_bound, output_limit))) == "AMOUNT_OVERFLOW"


# The rates and the tier a session pins


def test_a_session_keeps_the_rates_it_pinned(ledger: Ledger) -> None:
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    dearer = {"flat": flat(9 * EACH)}
    ledger.catalog = catalog_of(offering(dearer))
    assert ledger.update(charging_id, 2, usage(input=10), 10).output_granted == 10
    assert ledger.release(charging_id, 3, usage(input=10, output=10)).charged == 20 * UNIT
    assert ledger.event(usage(input=10)).charged == 90 * UNIT


def test_a_session_is_settled_though_its_offering_is_gone(ledger: Ledger) -> None:
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    ledger.catalog = EMPTY
    assert ledger.release(charging_id, 2, usage(input=10, output=1)).charged == 11 * UNIT


# Update


def test_update_renews_the_validity_and_adds_to_the_hold(ledger: Ledger) -> None:
    bucket = ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 500, metered=True)
    ledger.pass_time(10 * SECOND)
    answer = ledger.update(charging_id, 2, usage(input=20, output=60), 2 * WINDOW)
    assert answer == Granted(2 * WINDOW, 500, WINDOW // 4, VALIDITY_US, final=False, offering_id="default")
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionUpdated)
    assert (entry.used, entry.hold_added) == (usage(input=20, output=60), ((bucket.bucket_id, WINDOW * UNIT),))
    session = ledger.state.sessions[charging_id]
    assert session.sweep_us == START_US + 10 * SECOND + TCC_US
    assert session.hold == {bucket.bucket_id: (20 + 2 * WINDOW) * UNIT}


@pytest.mark.parametrize("wanted", [0, 1, WINDOW])
def test_an_update_that_wants_no_more_only_renews(ledger: Ledger, wanted: int) -> None:
    ledger.grant(1_000 * UNIT)
    charging_id, created = ledger.create(20, 500, metered=True)
    ledger.pass_time(SECOND)
    assert ledger.update(charging_id, 2, usage(input=20, output=1), wanted).output_granted == created.output_granted
    (entry,) = ledger.last_entries
    assert isinstance(entry, SessionUpdated)
    assert entry.hold_added == ()
    assert ledger.state.sessions[charging_id].renewed_us == ledger.now_us


def test_an_update_gets_at_most_the_limit_of_its_session(ledger: Ledger) -> None:
    ledger.grant(1_000 * UNIT)
    charging_id, _ = ledger.create(20, 100, metered=True)
    answer = ledger.update(charging_id, 2, usage(output=60), TOKENS_MAX)
    assert (answer.output_granted, answer.final) == (100, False)


def test_a_window_grows_and_shrinks_with_the_speed_of_the_stream(ledger: Ledger) -> None:
    """So that a request for more comes about every eight seconds, after three quarters of a window."""
    ledger.grant(100_000 * UNIT)
    charging_id, _ = ledger.create(0, 10_000, metered=True)
    ledger.pass_time(2 * SECOND)
    # 24 tokens a second: 192 tokens in eight seconds are three quarters of 256, four times the offering's window at the most.
    assert ledger.update(charging_id, 2, usage(output=48), 10_000).output_granted == WINDOW + 256
    ledger.pass_time(20 * SECOND)
    assert ledger.update(charging_id, 3, usage(output=248), 10_000).output_granted == WINDOW + 256 + 106
    ledger.pass_time(20 * SECOND)
    # Hardly any output: a quarter of the offering's window.
    assert ledger.update(charging_id, 4, usage(output=250), 10_000).output_granted == WINDOW + 256 + 106 + WINDOW // 4
    # In no time at all.
    assert ledger.update(charging_id, 5, usage(output=350), 10_000).output_granted == WINDOW + 256 + 106 + WINDOW // 4 + 256


def test_an_update_at_the_end_of_the_balance_is_the_final_unit(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 500, metered=True)
    answer = ledger.update(charging_id, 2, usage(input=20, output=60), 128)
    assert (answer.output_granted, answer.output_payable, answer.final) == (80, 80, True)
    # A top-up in mid-stream makes it go on.
    ledger.grant(1_000 * UNIT)
    answer = ledger.update(charging_id, 3, usage(input=20, output=80), 128)
    assert (answer.output_granted, answer.output_payable, answer.final) == (128, 500, False)


def test_a_grant_is_never_taken_back(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT, valid_for_us=30 * SECOND)
    charging_id, created = ledger.create(20, 500, metered=True)
    ledger.pass_time(31 * SECOND)
    answer = ledger.update(charging_id, 2, usage(input=20, output=10), 500)
    assert (answer.output_granted, answer.final) == (created.output_granted, True)


def test_two_sessions_never_count_the_same_remainder(ledger: Ledger) -> None:
    ledger.grant(200 * UNIT)
    first, _ = ledger.create(0, 500, metered=True)
    second, _ = ledger.create(0, 500, metered=True)
    assert ledger.update(first, 2, usage(output=60), 500).output_granted == 200 - WINDOW
    assert ledger.update(second, 2, usage(output=60), 500).output_granted == WINDOW
    charged = ledger.release(first, 3, usage(output=200 - WINDOW)).charged + ledger.release(second, 3, usage(output=WINDOW)).charged
    assert charged == 200 * UNIT
    assert ledger.state.debts == {}


# Release


def test_release_debits_the_hold_and_frees_the_rest(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    settled = ledger.release(charging_id, 2, (10, 5, 5, 7, 3))
    assert settled == Settled("TOKEN", 30 * UNIT, 0)
    entry = settled_entry(ledger)
    assert entry.record_number == 1
    assert entry.class_amounts == (10 * UNIT, 5 * UNIT, 5 * UNIT, 7 * UNIT, 3 * UNIT)
    assert (entry.charged, entry.debt) == (30 * UNIT, 0)
    assert (entry.held_debits, entry.free_debits, entry.released) == (
        ((bucket.bucket_id, 30 * UNIT),),
        (),
        ((bucket.bucket_id, 30 * UNIT),),
    )
    assert (entry.close_cause, entry.provenance, entry.created_us) == (CloseCause.NORMAL, Provenance.VENDOR, START_US)
    assert ledger.amounts(bucket) == (70 * UNIT, 0, 30 * UNIT, 0)
    assert ledger.state.sessions == {}


def test_a_session_is_rounded_once_a_class_and_not_once_an_update(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 30, model="thirds", metered=True)
    for number in range(2, 12):
        ledger.update(charging_id, number, usage(input=1, output=number), 30)
    # ceil(1 x 0.333333) + ceil(12 x 0.333333)
    assert ledger.release(charging_id, 12, usage(input=1, output=12)).charged == 1 + 4


def test_a_release_without_usage_frees_all(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    assert ledger.release(charging_id, 2, usage()) == Settled("TOKEN", 0, 0)
    assert ledger.amounts(bucket) == (100 * UNIT, 0, 0, 0)


def test_usage_above_the_hold_takes_what_is_free_and_then_makes_debt(ledger: Ledger) -> None:
    first = ledger.grant(30 * UNIT, priority=0)
    second = ledger.grant(50 * UNIT, priority=1)
    charging_id, _ = ledger.create(10, 30)
    other, _ = ledger.create(10, 10)
    settled = ledger.release(charging_id, 2, usage(input=10, output=75))
    # 40 held, 20 free, and the 20 that the other session holds are not touched.
    assert settled == Settled("TOKEN", 85 * UNIT, 25 * UNIT)
    entry = settled_entry(ledger)
    assert entry.held_debits == ((first.bucket_id, 30 * UNIT), (second.bucket_id, 10 * UNIT))
    assert entry.free_debits == ((second.bucket_id, 20 * UNIT),)
    assert (entry.released, entry.debt) == ((), 25 * UNIT)
    assert ledger.amounts(second) == (0, 20 * UNIT, 30 * UNIT, 0)
    assert ledger.state.debts["TOKEN"].outstanding == 25 * UNIT
    assert ledger.release(other, 2, usage(input=10, output=10)).debt == 0


def test_a_top_up_repays_debt_first(ledger: Ledger) -> None:
    ledger.event(usage(input=25))
    small = ledger.grant(10 * UNIT, key="small")
    assert small.repaid == 10 * UNIT
    granted, repaid = ledger.last_entries
    assert isinstance(granted, BucketGranted)
    assert repaid == DebtRepaid(ACCOUNT_ID, START_US, small.bucket_id, "TOKEN", 10 * UNIT)
    assert ledger.amounts(small) == (0, 0, 10 * UNIT, 0)
    large = ledger.grant(40 * UNIT, key="large")
    assert large.repaid == 15 * UNIT
    assert ledger.amounts(large) == (25 * UNIT, 0, 15 * UNIT, 0)
    assert ledger.grant(40 * UNIT, key="later").repaid == 0
    debt = ledger.state.debts["TOKEN"]
    assert (debt.incurred, debt.repaid, debt.outstanding) == (25 * UNIT, 25 * UNIT, 0)
    # A repeat tells again what its bucket repaid, and repays nothing.
    assert ledger.unchanged_by(GrantBucket(ACCOUNT_ID, "TOKEN", 10 * UNIT, None, DAY, 0, "small")) == small


def test_debt_is_repaid_in_its_own_unit_by_a_bucket_that_is_valid(ledger: Ledger) -> None:
    ledger.event(usage(input=5))
    ledger.event(usage(input=5), model="usd")
    assert ledger.grant(50 * UNIT, unit="POINT").repaid == 0
    assert ledger.grant(50 * UNIT, valid_from_us=START_US + 1).repaid == 0
    assert ledger.grant(50 * UNIT, unit="CURRENCY:USD").repaid == 10 * UNIT
    assert {unit: debt.outstanding for unit, debt in ledger.state.debts.items()} == {"TOKEN": 5 * UNIT, "CURRENCY:USD": 0}


# Event


def test_an_event_charges_what_had_no_session(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id = ledger.charging_id()
    assert ledger.event(usage(input=20, output=5), charging_id=charging_id) == Settled("TOKEN", 25 * UNIT, 0)
    entry = settled_entry(ledger)
    assert (entry.record_number, entry.free_debits, entry.held_debits) == (1, ((bucket.bucket_id, 25 * UNIT),), ())
    assert ledger.unchanged_by(event_command(charging_id, usage(input=20, output=5))) == Settled("TOKEN", 25 * UNIT, 0)
    assert fault_of(ledger.unchanged_by(event_command(charging_id, usage(input=21)))) == "IDEMPOTENCY_CONFLICT"


def test_an_event_beyond_the_balance_is_debt_and_leaves_holds_alone(ledger: Ledger) -> None:
    ledger.grant(30 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    assert ledger.event(usage(input=25)) == Settled("TOKEN", 25 * UNIT, 15 * UNIT)
    assert ledger.release(charging_id, 2, usage(input=10, output=10)).debt == 0


def test_an_event_without_usage_charges_nothing(ledger: Ledger) -> None:
    assert ledger.event(usage()) == Settled("TOKEN", 0, 0)
    assert ledger.state.debts == {}


@pytest.mark.parametrize("number", [1, 2, 9])
def test_an_event_on_an_open_session_is_a_conflict_and_frees_no_hold_by_the_way(ledger: Ledger, number: int) -> None:
    """It used to charge beside the session under a new number, and to forget the session with what it held."""
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    answer = ledger.unchanged_by(event_command(charging_id, usage(input=10), number=number))
    assert fault_of(answer) == "IDEMPOTENCY_CONFLICT"
    ledger.release(charging_id, number + 1, usage(input=10))
    assert ledger.amounts(bucket) == (90 * UNIT, 0, 10 * UNIT, 0)


# Idempotency


def test_every_repeat_gets_its_answer_and_changes_nothing(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    create = ledger.create_command(20, 40, metered=True)
    update = UpdateSession(ACCOUNT_ID, create.charging_id, 2, usage(input=20, output=3), 10)
    release = release_command(create.charging_id, 3, usage(input=20, output=9))
    event = event_command(ledger.charging_id(), usage(input=1))
    for command in (create, update, release, event):
        answer = ledger.ask(command)
        ledger.pass_time(SECOND)
        # Whatever has become of the balance since.
        ledger.grant(UNIT)
        for _ in range(3):
            assert ledger.unchanged_by(command) == answer


def test_a_repeat_does_not_depend_on_the_catalog(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    create, event = ledger.create_command(20, 40), event_command(ledger.charging_id(), usage(input=1))
    answers = [ledger.ask(create), ledger.ask(event)]
    ledger.catalog = EMPTY
    assert [ledger.unchanged_by(create), ledger.unchanged_by(event)] == answers


@pytest.mark.parametrize("number", [2, 3])
def test_a_number_below_the_last_is_out_of_sequence(ledger: Ledger, number: int) -> None:
    ledger.grant(100 * UNIT)
    create = ledger.create_command(20, 40)
    ledger.ask(create)
    ledger.update(create.charging_id, 4, usage(input=20), 40)
    assert fault_of(ledger.unchanged_by(create)) == "SEQUENCE_INVALID"
    update = UpdateSession(ACCOUNT_ID, create.charging_id, number, usage(input=20), 40)
    assert fault_of(ledger.unchanged_by(update)) == "SEQUENCE_INVALID"
    assert fault_of(ledger.unchanged_by(release_command(create.charging_id, number, usage()))) == "SEQUENCE_INVALID"


def test_the_last_number_with_other_content_conflicts(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    create = ledger.create_command(20, 40)
    ledger.ask(create)
    assert fault_of(ledger.unchanged_by(ledger.create_command(20, 41, charging_id=create.charging_id))) == "IDEMPOTENCY_CONFLICT"
    ledger.update(create.charging_id, 2, usage(input=20), 40)
    for command in (
        UpdateSession(ACCOUNT_ID, create.charging_id, 2, usage(input=19), 40),
        UpdateSession(ACCOUNT_ID, create.charging_id, 2, usage(input=20), 39),
        release_command(create.charging_id, 2, usage(input=20)),
    ):
        assert fault_of(ledger.unchanged_by(command)) == "IDEMPOTENCY_CONFLICT"


def test_numbers_may_have_gaps(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    ledger.update(charging_id, 7, usage(), 40)
    assert ledger.release(charging_id, 2**31 - 1, usage(input=1)).charged == UNIT


def test_a_closed_session_takes_nothing_but_repeats(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    create = ledger.create_command(20, 40)
    ledger.ask(create)
    ledger.release(create.charging_id, 2, usage(input=20))
    for command in (
        create,
        UpdateSession(ACCOUNT_ID, create.charging_id, 3, usage(input=20), 40),
        release_command(create.charging_id, 3, usage(input=20)),
        event_command(create.charging_id, usage(input=20)),
    ):
        assert fault_of(ledger.unchanged_by(command)) == "SESSION_CLOSED"
    # The same number with other content is told apart from that.
    assert fault_of(ledger.unchanged_by(release_command(create.charging_id, 2, usage(input=21)))) == "IDEMPOTENCY_CONFLICT"


def test_a_session_that_never_was_is_unknown(ledger: Ledger) -> None:
    charging_id = ledger.charging_id()
    for command in (UpdateSession(ACCOUNT_ID, charging_id, 2, usage(), 1), release_command(charging_id, 2, usage())):
        assert fault_of(ledger.unchanged_by(command)) == "SESSION_UNKNOWN"


@pytest.mark.parametrize(
    ("age_us", "known"),
    [
        (CHARGING_ID_AGE_US_MAX, True),
        (CHARGING_ID_AGE_US_MAX + 1_000, False),
        (-CLOCK_AHEAD_US_MAX, True),
        (-CLOCK_AHEAD_US_MAX - 1_000, False),
        (DAY, False),
        (-DAY, False),
        (START_US, False),
    ],
)
def test_a_charging_id_of_another_time_is_not_taken_for_new(ledger: Ledger, age_us: int, known: bool) -> None:
    ledger.grant(100 * UNIT)
    charging_id = uuid7(START_US - age_us)
    create, event = ledger.create_command(1, 1, charging_id=charging_id), event_command(charging_id, usage(input=1))
    if known:
        assert isinstance(ledger.ask(create), Granted)
    else:
        assert fault_of(ledger.unchanged_by(create)) == fault_of(ledger.unchanged_by(event)) == "CHARGING_ID_STALE"


def test_a_session_is_not_forgotten_before_its_charging_id_is_stale(ledger: Ledger) -> None:
    """Else a repeated Create or Event could be taken for a new one, and charge twice."""
    ledger.grant(1_000 * UNIT)
    for ahead_us in (0, CLOCK_AHEAD_US_MAX):
        event = event_command(uuid7(ledger.now_us + ahead_us), usage(input=7))
        answer = ledger.ask(event)
        for step in range(32):
            ledger.pass_time(30 * SECOND + step)
            # Every settlement is when memory is dropped.
            ledger.event(usage())
            again = ledger.unchanged_by(event)
            assert again == answer or fault_of(again) == "CHARGING_ID_STALE"
    assert sum(bucket.consumed for bucket in ledger.state.buckets.values()) == 14 * UNIT


def test_closed_sessions_are_forgotten_in_the_end(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(1, 1)
    ledger.release(charging_id, 2, usage(input=1))
    ledger.pass_time(CLOSED_MEMORY_US + 1)
    ledger.event(usage(input=1))
    assert charging_id not in ledger.state.closed
    assert fault_of(ledger.unchanged_by(release_command(charging_id, 2, usage(input=1)))) == "SESSION_UNKNOWN"


# The sweep and the late Release


def swept(ledger: Ledger, used: Vector) -> str:
    """A session that reported `used`, and was swept."""
    charging_id, _ = ledger.create(20, 40)
    ledger.update(charging_id, 2, used, 40)
    ledger.pass_time(TCC_US)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    return charging_id


def test_a_silent_session_is_swept_at_tcc_and_charged_what_it_last_reported(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    ledger.pass_time(20 * SECOND)
    ledger.update(charging_id, 2, usage(input=20, output=4), 40)
    ledger.pass_time(TCC_US - 1)
    assert ledger.unchanged_by(ApplyDue(ACCOUNT_ID)) == Done()
    ledger.pass_time(1)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    entry = settled_entry(ledger)
    assert (entry.close_cause, entry.provenance, entry.charged) == (CloseCause.SWEPT, Provenance.PARTIAL, 24 * UNIT)
    assert (entry.number, entry.record_number, entry.time_us) == (2, 1, START_US + 20 * SECOND + TCC_US)
    assert ledger.amounts(bucket) == (76 * UNIT, 0, 24 * UNIT, 0)


def test_a_session_that_reported_nothing_is_swept_for_nothing(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    ledger.create(20, 40)
    ledger.pass_time(DAY - 1)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    assert settled_entry(ledger).time_us == START_US + TCC_US
    assert ledger.amounts(bucket) == (100 * UNIT, 0, 0, 0)


def test_no_session_is_swept_earlier_than_tcc_after_its_partition_began_to_serve(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    ledger.pass_time(HOUR)
    ledger.serving_since_us = ledger.now_us
    ledger.pass_time(TCC_US - 1)
    assert ledger.unchanged_by(ApplyDue(ACCOUNT_ID)) == Done()
    # Until then nobody need look at the account again.
    assert ledger.state.next_due_us == ledger.now_us + 1
    ledger.pass_time(1)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    assert settled_entry(ledger).time_us == START_US + HOUR + TCC_US
    assert charging_id in ledger.state.swept


def test_a_bucket_ends_in_time_though_a_sweep_before_it_is_put_off(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT, valid_for_us=HOUR + SECOND)
    ledger.create(20, 40)
    ledger.pass_time(HOUR)
    ledger.serving_since_us = ledger.now_us
    assert ledger.unchanged_by(ApplyDue(ACCOUNT_ID)) == Done()
    ledger.pass_time(SECOND)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    assert ledger.amounts(bucket) == (0, 60 * UNIT, 0, 40 * UNIT)


def test_a_late_release_charges_what_is_missing_exactly_once(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id = swept(ledger, usage(input=20, output=4))
    ledger.pass_time(6 * DAY)
    ledger.grant(200 * UNIT, valid_for_us=9 * DAY)
    release = release_command(charging_id, 3, usage(input=20, output=11))
    assert ledger.ask(release) == Settled("TOKEN", 7 * UNIT, 0)
    entry = settled_entry(ledger)
    assert (entry.record_number, entry.charged, entry.class_amounts[3]) == (2, 7 * UNIT, 11 * UNIT)
    assert (entry.held_debits, entry.released) == ((), ())
    for _ in range(3):
        assert ledger.unchanged_by(release) == Settled("TOKEN", 7 * UNIT, 0)
    assert fault_of(ledger.unchanged_by(release_command(charging_id, 4, usage(input=99)))) == "SESSION_CLOSED"
    assert ledger.bucket(bucket).consumed == 24 * UNIT


@pytest.mark.parametrize("used", [usage(), usage(input=20), usage(input=20, output=4)])
def test_a_late_release_is_never_negative(ledger: Ledger, used: Vector) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id = swept(ledger, usage(input=20, output=4))
    assert ledger.release(charging_id, 3, used) == Settled("TOKEN", 0, 0)
    assert ledger.amounts(bucket) == (76 * UNIT, 0, 24 * UNIT, 0)


def test_a_late_release_beyond_the_balance_is_debt(ledger: Ledger) -> None:
    ledger.grant(60 * UNIT)
    charging_id = swept(ledger, usage(input=20))
    ledger.create(20, 15)
    assert ledger.release(charging_id, 3, usage(input=20, output=40)) == Settled("TOKEN", 40 * UNIT, 35 * UNIT)


def test_who_asks_for_the_account_is_not_shown_its_swept_sessions(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id = swept(ledger, usage(input=20))
    shown = ledger.unchanged_by(ReadAccount(ACCOUNT_ID))
    assert isinstance(shown, AccountView)
    assert (charging_id in ledger.state.swept, shown.account.swept) == (True, {})


def test_a_swept_session_takes_nothing_but_its_release(ledger: Ledger) -> None:
    ledger.grant(1_000 * UNIT)
    charging_id = swept(ledger, usage(input=20))
    update = UpdateSession(ACCOUNT_ID, charging_id, 3, usage(input=20, output=1), 40)
    assert fault_of(ledger.unchanged_by(update)) == "SESSION_CLOSED"
    assert fault_of(ledger.unchanged_by(ledger.create_command(20, 40, charging_id=charging_id))) == "SESSION_CLOSED"
    assert fault_of(ledger.unchanged_by(event_command(charging_id, usage(input=20)))) == "SESSION_CLOSED"
    for number in (1, 2):
        assert fault_of(ledger.unchanged_by(release_command(charging_id, number, usage(input=20)))) == "SEQUENCE_INVALID"


def test_a_swept_session_is_remembered_for_as_long_as_an_outbox_lives(ledger: Ledger) -> None:
    ledger.grant(1_000 * UNIT, valid_for_us=30 * DAY)
    charging_id = swept(ledger, usage(input=20))
    ledger.pass_time(SWEPT_MEMORY_US)
    ledger.event(usage())
    assert charging_id in ledger.state.swept
    ledger.pass_time(1)
    ledger.event(usage())
    assert fault_of(ledger.unchanged_by(release_command(charging_id, 3, usage(input=20)))) == "SESSION_UNKNOWN"


def test_records_are_found_once_a_session_is_closed(ledger: Ledger) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    find = FindRecords(ACCOUNT_ID, charging_id)
    assert fault_of(ledger.unchanged_by(find)) == "RECORD_UNKNOWN"
    ledger.pass_time(TCC_US)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    seq_swept = ledger.rows[-1][0]
    assert ledger.unchanged_by(find) == RecordsFound((seq_swept,))
    ledger.release(charging_id, 3, usage(input=1))
    assert ledger.unchanged_by(find) == RecordsFound((seq_swept, ledger.rows[-2][0]))


def test_a_release_that_sets_off_the_sweep_leaves_two_records_in_one_row(ledger: Ledger) -> None:
    """The row used to be named twice, so that each record was found twice."""
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 40)
    ledger.pass_time(TCC_US)
    assert ledger.release(charging_id, 2, usage(input=20)) == Settled("TOKEN", 20 * UNIT, 0)
    assert [entry.record_number for entry in ledger.last_entries if isinstance(entry, SessionSettled)] == [1, 2]
    assert ledger.unchanged_by(FindRecords(ACCOUNT_ID, charging_id)) == RecordsFound((ledger.rows[-2][0],))


def test_what_is_due_is_applied_in_due_order(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT, valid_for_us=90 * SECOND)
    ledger.create(10, 10)
    ledger.pass_time(40 * SECOND)
    ledger.create(10, 10)
    ledger.pass_time(HOUR)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    # The first sweep freed into the bucket, the second one into what is expired.
    assert [(type(entry), entry.time_us - START_US) for entry in ledger.last_entries] == [
        (SessionSettled, 60 * SECOND),
        (BucketExpired, 90 * SECOND),
        (SessionSettled, 100 * SECOND),
    ]
    assert ledger.amounts(bucket) == (0, 0, 0, 100 * UNIT)


def test_a_bucket_that_ends_when_a_session_is_swept_pays_no_excess_of_it(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT, valid_for_us=TCC_US)
    charging_id, _ = ledger.create(10, 10)
    ledger.state.sessions[charging_id].used = usage(input=10, output=15)
    ledger.pass_time(TCC_US)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    assert settled_entry(ledger).debt == 5 * UNIT
    assert ledger.amounts(bucket) == (0, 0, 20 * UNIT, 80 * UNIT)


# Absurd numbers


@pytest.mark.parametrize("token_class", TOKEN_CLASSES)
@pytest.mark.parametrize("tokens", [-1, TOKENS_MAX + 1, INT64_MAX])
def test_absurd_usage_is_refused_by_name(ledger: Ledger, token_class: str, tokens: int) -> None:
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 10)
    used = usage(**{token_class: tokens})
    for command in (
        UpdateSession(ACCOUNT_ID, charging_id, 2, used, 10),
        release_command(charging_id, 2, used),
        event_command(ledger.charging_id(), used),
    ):
        answer = ledger.unchanged_by(command)
        assert fault_of(answer) == "AMOUNT_OVERFLOW"
        assert f"used.{token_class}" in str(answer)
    # The right numbers still come through.
    assert ledger.release(charging_id, 2, usage(input=1)).charged == UNIT


def costly(model: PinnedTariff) -> Ledger:
    ledger = Ledger(catalog_of(offering({"flat": model})))
    ledger.grant(INT64_MAX // 2)
    return ledger


def test_usage_that_costs_more_than_int64_is_refused_wherever_it_comes(ledger: Ledger) -> None:
    """An Update used to take it, and the sweep's entry could then not be written: the owner ended at every start."""
    ledger = costly(flat(INT64_MAX))
    charging_id, _ = ledger.create(1, 1)
    used = usage(output=TOKENS_MAX)
    for command in (
        UpdateSession(ACCOUNT_ID, charging_id, 2, used, 1),
        release_command(charging_id, 2, used),
        event_command(ledger.charging_id(), used),
        ledger.create_command(1, TOKENS_MAX),
        ledger.create_command(TOKENS_MAX, 1),
    ):
        assert fault_of(ledger.unchanged_by(command)) == "AMOUNT_OVERFLOW"
    ledger.pass_time(TCC_US)
    assert fault_of(ledger.ask(release_command(charging_id, 2, used))) == "AMOUNT_OVERFLOW"
    assert charging_id in ledger.state.swept


def test_debt_does_not_grow_beyond_what_can_be_written(ledger: Ledger) -> None:
    rate = INT64_MAX // 8
    ledger = costly(flat(rate))
    taken = 0
    for _ in range(20):
        answer = ledger.ask(event_command(ledger.charging_id(), usage(input=1_000_000)))
        taken += isinstance(answer, Settled)
        if not isinstance(answer, Settled):
            assert fault_of(answer) == "AMOUNT_OVERFLOW"
    assert 4 <= taken <= 8
    assert ledger.state.debts["TOKEN"].incurred <= INT64_MAX // 2
    encode_row(ledger.entries)
    assert state_of(decode_checkpoint(encode_checkpoint(ledger.state), "it")) == state_of(ledger.state)


# Many of everything


def test_an_account_with_as_many_buckets_as_it_may_have(ledger: Ledger) -> None:
    buckets = [ledger.grant(UNIT, valid_for_us=(4_000 - number) * HOUR) for number in range(BUCKETS_MAX)]
    refused = ledger.unchanged_by(GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, HOUR, 0, "one too many"))
    assert fault_of(refused) == "NOT_POSSIBLE"
    charging_id, _ = ledger.create(500, 500)
    assert len(ledger.state.sessions[charging_id].hold) == BUCKETS_MAX
    assert isinstance(ledger.unchanged_by(ledger.create_command(1, 0)), Refused)
    assert ledger.release(charging_id, 2, usage(input=500, output=99)).charged == 599 * UNIT
    # The earliest end burnt first: the last ones granted.
    assert [ledger.bucket(bucket).consumed for bucket in buckets] == [0] * 401 + [UNIT] * 599
    ledger.pass_time(4_000 * HOUR)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    assert len(ledger.last_entries) == BUCKETS_MAX
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


def test_1000_creates_race_for_the_last_token_and_none_overdraws(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    granted: list[str] = []
    for _ in range(1_000):
        command = ledger.create_command(7, 3)
        answer = ledger.ask(command)
        if isinstance(answer, Granted):
            granted.append(command.charging_id)
        else:
            assert isinstance(answer, Refused)
            assert answer.held
    assert len(granted) == 10
    for charging_id in granted:
        assert ledger.release(charging_id, 2, usage(input=7, output=3)).debt == 0
    assert ledger.amounts(bucket) == (0, 0, 100 * UNIT, 0)


def test_thousands_of_sessions_that_fall_due_together_are_swept_in_order() -> None:
    """Each sweep used to look at all sessions again: 10,000 of them held up the event loop for ten seconds."""
    ledger = Ledger()
    ledger.grant(10_000 * UNIT)
    charging_ids = []
    for _ in range(5_000):
        command = ledger.create_command(1, 1)
        (entry,), _ = decide(ledger.state, command, ledger.now_us, CATALOG)
        evolve(ledger.state, entry, 1, 0)
        charging_ids.append(command.charging_id)
        ledger.now_us += 1
    ledger.pass_time(TCC_US)
    looked = 0

    class CountedSessions(dict[str, Session]):
        def values(self) -> Any:
            nonlocal looked
            looked += 1
            return super().values()

    ledger.state.sessions = CountedSessions(ledger.state.sessions)
    swept = []
    for entry in due_entries(ledger.state, ledger.now_us, 0, used=True):
        assert isinstance(entry, SessionSettled)
        swept.append(entry.charging_id)
        evolve(ledger.state, entry, 2, 0)
    assert swept == charging_ids
    assert looked <= 2
    assert next_due_us(ledger.state) == ledger.state.next_due_us
