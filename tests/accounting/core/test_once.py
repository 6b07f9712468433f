"""A call that its client has named is opened once, whatever becomes of it; a name without a charge is free again."""

import msgspec
import pytest

from services.accounting.core.account.sessions import CLOSED_MEMORY_US, KEYED_MAX, KEYED_MEMORY_US
from services.accounting.core.account.state import Account
from services.accounting.core.commands import (
    AccountView,
    Answer,
    CallName,
    CloseCause,
    CreateSession,
    Granted,
    KnownCall,
    ReadAccount,
    Refused,
)
from services.accounting.core.entries import SessionCreated
from services.accounting.journal.codec import decode_checkpoint, encode_checkpoint
from tests.accounting.ledger import (
    ACCOUNT_ID,
    CATALOG,
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    TCC_US,
    UNIT,
    Ledger,
    release_command,
    replayed,
    state_of,
    usage,
)

ONE = b"one content 1234"
OTHER = b"other content 12"


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger(CATALOG)
    ledger.grant(1_000_000 * UNIT, valid_for_us=100 * DAY)
    return ledger


def named(ledger: Ledger, key: str = "mine", content: bytes = ONE, **more: object) -> CreateSession:
    """A Create of a call with this name, under a charging_id of its own."""
    command = ledger.create_command(3, 4)
    return msgspec.structs.replace(command, idempotency_key=key, content_digest=content, **more)


def opened(ledger: Ledger, command: CreateSession) -> str:
    """Opens the call, which must be granted; its charging_id."""
    answer = ledger.ask(command)
    assert isinstance(answer, Granted), answer
    return command.charging_id


def known(answer: Answer) -> tuple[str, bool, bool]:
    """The call that a Create is told of: its charging_id, whether it is open, and whether it has other content."""
    assert isinstance(answer, KnownCall), answer
    return answer.charging_id, answer.is_open, answer.has_other_content


def test_another_create_of_a_named_call_changes_nothing_and_is_told_of_the_first(ledger: Ledger) -> None:
    first = opened(ledger, named(ledger))
    assert known(ledger.unchanged_by(named(ledger))) == (first, True, False)
    assert known(ledger.unchanged_by(named(ledger, content=OTHER))) == (first, True, True)
    ledger.release(first, 2, usage(3, 2))
    assert known(ledger.unchanged_by(named(ledger))) == (first, False, False)
    assert known(ledger.unchanged_by(named(ledger, content=OTHER))) == (first, False, True)


def test_the_create_itself_sent_again_gets_its_grant(ledger: Ledger) -> None:
    command = named(ledger)
    granted = ledger.ask(command)
    assert ledger.unchanged_by(command) == granted


def test_names_are_of_one_key_of_an_account(ledger: Ledger) -> None:
    opened(ledger, named(ledger))
    opened(ledger, named(ledger, "yours"))
    opened(ledger, named(ledger, key_id="key-2"))
    # Neither of the two can be taken for the other.
    assert CallName.of(named(ledger, "bc", key_id="a")) != CallName.of(named(ledger, "c", key_id="ab"))


def test_a_refused_call_leaves_its_name_free(ledger: Ledger) -> None:
    asked = named(ledger, input_bound=2_000_000)
    assert isinstance(ledger.unchanged_by(asked), Refused)
    opened(ledger, named(ledger))


@pytest.mark.parametrize("cause", [CloseCause.VENDOR_ERROR, CloseCause.REJECTED, CloseCause.CLIENT_GONE])
def test_a_call_of_which_nothing_was_used_leaves_its_name_free(ledger: Ledger, cause: CloseCause) -> None:
    first = opened(ledger, named(ledger))
    ledger.ask(release_command(first, 2, usage(), close_cause=cause))
    assert ledger.state.keyed == {}
    second = opened(ledger, named(ledger, content=OTHER))
    # The late repeat of the first one's Release says nothing of the second.
    ledger.ask(release_command(first, 2, usage(), close_cause=cause))
    assert known(ledger.unchanged_by(named(ledger, content=OTHER))) == (second, True, False)


@pytest.mark.parametrize("model", ["flat", "free"])
def test_an_answer_keeps_its_name_also_where_it_costs_nothing(ledger: Ledger, model: str) -> None:
    first = opened(ledger, named(ledger, model_id=model))
    ledger.release(first, 2, usage(0, 1))
    assert known(ledger.unchanged_by(named(ledger, model_id=model)))[:2] == (first, False)


def test_a_swept_call_keeps_its_name_because_its_release_may_still_come(ledger: Ledger) -> None:
    first = opened(ledger, named(ledger))
    ledger.pass_time(TCC_US)
    assert known(ledger.ask(named(ledger))) == (first, False, False)
    ledger.release(first, 2, usage(3, 4))
    assert known(ledger.unchanged_by(named(ledger))) == (first, False, False)


def test_a_name_is_known_after_updates_and_over_several_tariffs(ledger: Ledger) -> None:
    first = opened(ledger, named(ledger))
    ledger.update(first, 2, usage(3, 1), 4)
    ledger.release(first, 3, usage(3, 2))
    assert known(ledger.unchanged_by(named(ledger)))[:2] == (first, False)


def test_a_name_is_remembered_for_a_day_after_the_end(ledger: Ledger) -> None:
    first = opened(ledger, named(ledger))
    ledger.pass_time(30 * SECOND)
    ledger.release(first, 2, usage(3, 2))
    ledger.pass_time(KEYED_MEMORY_US)
    ledger.release(ledger.create(1, 1)[0], 2, usage(1))
    assert known(ledger.unchanged_by(named(ledger)))[:2] == (first, False)
    ledger.pass_time(1)
    ledger.release(ledger.create(1, 1)[0], 2, usage(1))
    assert ledger.state.keyed == {}
    opened(ledger, named(ledger))


def test_of_too_many_names_the_oldest_go_but_none_before_its_closed_session(ledger: Ledger) -> None:
    for number in range(KEYED_MAX + 2):
        ledger.release(opened(ledger, named(ledger, f"call {number}")), 2, usage(1))
    assert len(ledger.state.keyed) == KEYED_MAX + 2
    ledger.pass_time(CLOSED_MEMORY_US + 1)
    ledger.release(opened(ledger, named(ledger, "last")), 2, usage(1))
    assert len(ledger.state.keyed) == KEYED_MAX
    assert known(ledger.unchanged_by(named(ledger, "call 3")))[1] is False
    opened(ledger, named(ledger, "call 2"))


def test_an_open_call_keeps_its_name_however_long_it_takes(ledger: Ledger) -> None:
    first = opened(ledger, named(ledger))
    early = opened(ledger, named(ledger, "early"))
    ledger.release(early, 2, usage(1))
    for number in range(2, 2 + (KEYED_MEMORY_US + HOUR) // (MINUTE - 1)):
        ledger.pass_time(MINUTE - 1)
        ledger.update(first, number, usage(3, 1), 4)
    ledger.release(opened(ledger, named(ledger, "late")), 2, usage(1))
    assert known(ledger.unchanged_by(named(ledger)))[:2] == (first, True)
    assert known(ledger.unchanged_by(named(ledger, "early")))[:2] == (early, False)
    ledger.release(first, number + 1, usage(3, 1))
    # The one that ended long ago was waiting for it.
    assert [each.charging_id for each in ledger.state.keyed.values()][-1] == first
    opened(ledger, named(ledger, "early"))


def test_the_journal_alone_and_a_checkpoint_know_the_names(ledger: Ledger) -> None:
    ended, running = opened(ledger, named(ledger, "ended")), opened(ledger, named(ledger, "running"))
    ledger.release(ended, 2, usage(1))
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)
    ledger.account = decode_checkpoint(encode_checkpoint(ledger.state), "it")
    assert known(ledger.unchanged_by(named(ledger, "ended")))[:2] == (ended, False)
    assert known(ledger.unchanged_by(named(ledger, "running")))[:2] == (running, True)
    ledger.release(running, 2, usage())
    opened(ledger, named(ledger, "running"))


def test_a_call_without_a_name_is_written_as_before_there_were_names(ledger: Ledger) -> None:
    ledger.create(3, 4)
    (plain,) = ledger.last_entries
    opened(ledger, named(ledger))
    (with_name,) = ledger.last_entries
    assert isinstance(plain, SessionCreated)
    assert isinstance(with_name, SessionCreated)
    assert (len(plain.digest), len(with_name.digest)) == (8, 8 + 16 + 16)
    assert CallName.within(plain.digest) is None
    assert CallName.within(with_name.digest) == CallName.of(named(ledger))


def test_who_asks_for_the_account_is_not_shown_the_names(ledger: Ledger) -> None:
    opened(ledger, named(ledger))
    shown = ledger.unchanged_by(ReadAccount(ACCOUNT_ID))
    assert isinstance(shown, AccountView)
    assert isinstance(shown.account, Account)
    assert (len(shown.account.sessions), shown.account.keyed) == (1, {})
