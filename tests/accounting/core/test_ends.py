"""The time of a session's key, member or account: what a grant says of its end, and what is refused after it."""

import pytest

from services.accounting.core.commands import CreateSession, Failed, Granted, GrantedNow, Refused, Settled, UpdateSession
from services.accounting.core.terms import LimitKind, Scope
from services.accounting.rpc.answers import fill_result
from tests.accounting.ledger import (
    ACCOUNT_ID,
    EACH,
    HOUR,
    MINUTE,
    SECOND,
    UNIT,
    catalog_of,
    check_conservation,
    fault_of,
    flat,
    offering,
    release_command,
    usage,
)
from tests.accounting.shop import Shopper, limit
from tokenline.accounting.v1 import accounting_pb2 as pb

# A session that is renewed as often is not swept.
HALF = 30 * SECOND
KEY, MEMBER = "key:key-1", "member:mbr-1"


@pytest.fixture
def shopper() -> Shopper:
    """An account with plenty, and no limits."""
    shopper = Shopper()
    shopper.grant(1_000_000 * UNIT)
    return shopper


def update(charging_id: str, number: int, output: int = 0) -> UpdateSession:
    return UpdateSession(ACCOUNT_ID, charging_id, number, usage(input=10, output=output), 0)


def test_a_session_without_an_end_is_told_of_none(shopper: Shopper) -> None:
    shopper.limits("key:another", valid_until_us=shopper.now_us + HOUR)
    charging_id, granted = shopper.create(10, 100, metered=True)
    assert type(granted) is Granted
    assert type(shopper.update(charging_id, 2, usage(input=10), 0)) is Granted


def test_a_grant_says_when_the_first_of_its_subjects_ends_and_which_one_that_is(shopper: Shopper) -> None:
    shopper.limits("account", valid_until_us=shopper.now_us + 3 * HOUR)
    shopper.limits(KEY, valid_until_us=shopper.now_us + 2 * HOUR)
    shopper.limits(MEMBER, valid_until_us=shopper.now_us + HOUR)
    charging_id, granted = shopper.create(10, 100, metered=True)
    assert isinstance(granted, GrantedNow)
    assert (granted.ends_in_us, granted.ending_subject) == (HOUR, MEMBER)
    # An Update tells of it anew, as time has passed and as it was set meanwhile.
    shopper.pass_time(HALF)
    renewed = shopper.update(charging_id, 2, usage(input=10), 0)
    assert isinstance(renewed, GrantedNow)
    assert (renewed.ends_in_us, renewed.ending_subject) == (HOUR - HALF, MEMBER)
    shopper.limits(MEMBER, valid_until_us=shopper.now_us + 5 * HOUR)
    renewed = shopper.update(charging_id, 3, usage(input=10), 0)
    assert isinstance(renewed, GrantedNow)
    assert (renewed.ends_in_us, renewed.ending_subject) == (2 * HOUR - HALF, KEY)


def test_a_grant_with_an_end_says_all_that_one_without_says(shopper: Shopper) -> None:
    _, without = shopper.create(10, 100, metered=True)
    shopper.limits(KEY, valid_until_us=shopper.now_us + HOUR)
    _, granted = shopper.create(10, 100, metered=True)
    told = {field: getattr(without, field) for field in without.__struct_fields__}
    assert granted == GrantedNow(**told, ends_in_us=HOUR, ending_subject=KEY)


def test_a_create_with_other_content_is_a_conflict_whenever_its_key_ends(shopper: Shopper) -> None:
    shopper.limits(KEY, valid_until_us=shopper.now_us + HOUR)
    charging_id, _ = shopper.create(10, 100)
    other = shopper.create_command(11, 100, charging_id=charging_id)
    assert fault_of(shopper.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT"


def test_a_session_ends_as_it_began_when_its_offering_is_no_longer_in_the_catalog(shopper: Shopper) -> None:
    shopper.limits(KEY, limit("tpm", Scope.KEY, LimitKind.TOKEN_RATE, 600, burst=200))
    charging_id, _ = shopper.create(10, 100, metered=True)
    shopper.catalog = catalog_of(offering({"flat": flat(EACH)}, offering_id="another"))
    assert shopper.update(charging_id, 2, usage(10, 20), 100).output_granted == 100
    assert shopper.release(charging_id, 3, usage(10, 30)) == Settled("TOKEN", 40 * UNIT, 0)
    # What it used counts against the limit of its key.
    assert shopper.state.arrivals == {f"tpm@{KEY}": (shopper.now_us + 4 * SECOND) * 1_000}


@pytest.mark.parametrize("subject", [KEY, MEMBER])
def test_a_repeat_is_told_of_the_end_as_it_is_now(shopper: Shopper, subject: str) -> None:
    shopper.limits(subject, valid_until_us=shopper.now_us + HOUR)
    create = shopper.create_command(10, 100, metered=True)
    assert isinstance(create, CreateSession)
    first = shopper.ask(create)
    shopper.pass_time(HALF)
    again = shopper.unchanged_by(create)
    assert isinstance(first, GrantedNow)
    assert isinstance(again, GrantedNow)
    assert (first.ends_in_us, again.ends_in_us) == (HOUR, HOUR - HALF)
    renewal = update(create.charging_id, 2)
    shopper.ask(renewal)
    shopper.pass_time(HALF)
    again = shopper.unchanged_by(renewal)
    assert isinstance(again, GrantedNow)
    assert again.ends_in_us == HOUR - 2 * HALF


def test_from_its_end_on_an_update_is_refused_and_the_hold_stands_until_the_release(shopper: Shopper) -> None:
    shopper.limits(KEY, valid_until_us=shopper.now_us + MINUTE)
    charging_id, _ = shopper.create(10, 100, metered=True)
    held = dict(shopper.state.sessions[charging_id].hold)
    shopper.pass_time(HALF)
    shopper.ask(update(charging_id, 2, output=5))
    shopper.pass_time(HALF - 1)
    assert isinstance(shopper.ask(update(charging_id, 3, output=6)), GrantedNow)
    shopper.pass_time(1)
    refused = shopper.unchanged_by(update(charging_id, 4, output=7))
    assert fault_of(refused) == "SUBJECT_ENDED"
    assert isinstance(refused, Failed)
    assert refused.message == "the time of key:key-1 has ended; ask the operator for a longer one"
    assert shopper.state.sessions[charging_id].hold == held
    settled = shopper.ask(release_command(charging_id, 5, usage(input=10, output=8)))
    assert isinstance(settled, Settled)
    assert settled.charged == 18 * UNIT
    check_conservation(shopper.state)


def test_an_end_that_is_set_earlier_while_a_session_is_open_refuses_its_next_update(shopper: Shopper) -> None:
    charging_id, granted = shopper.create(10, 100, metered=True)
    assert type(granted) is Granted
    shopper.limits("account", valid_until_us=shopper.now_us)
    refused = shopper.unchanged_by(update(charging_id, 2))
    assert fault_of(refused) == "SUBJECT_ENDED"
    assert isinstance(refused, Failed)
    assert refused.message.startswith("the time of account has ended")
    # Nothing else begins either.
    begun = shopper.unchanged_by(shopper.create_command(10, 100, metered=True))
    assert isinstance(begun, Refused)
    assert begun.limit_id == "end@account"
    # Where the end is taken back, the session goes on.
    shopper.limits("account")
    assert type(shopper.update(charging_id, 2, usage(input=10), 0)) is Granted


@pytest.mark.parametrize(("ends_in_us", "ends_in_ms"), [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (HOUR, 3_600_000)])
def test_an_end_travels_in_whole_milliseconds_and_never_as_none(ends_in_us: int, ends_in_ms: int) -> None:
    result = pb.ChargeResult()
    fill_result(result, GrantedNow(5, 6, 1, 60 * SECOND, False, "plan", 1, ends_in_us, KEY))
    assert (result.granted.ends_in_ms, result.granted.ending_subject) == (ends_in_ms, KEY)
    assert (result.granted.output_tokens_granted, result.granted.validity_ms) == (5, 60_000)
