"""Libraries as their vendors publish them, in each dialect that they speak: what people at them see, and what it costs."""

import json
from pathlib import Path

import pytest

from tests.clients.bills import assert_paid_once, assert_refused
from tests.clients.library import LIBRARIES, Library
from tests.clients.system import LOST_FIRST, SAID, System

every_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.id)
PLENTY = 1_000_000
# Short words: the edge does not believe a vendor that counts less than a tokenizer does.
TASK = "shout two things\nsimulate: " + json.dumps(
    {"output_tokens": 60, "tools": {"calls": 2, "name": "shout", "arguments": {"text": "can pay for new use"}}}
)
LONG_TOKENS = 3_000
LONG = 'write a lot\nsimulate: {"output_tokens": 3000}'
# Of output, TOKEN.
LITTLE = 500
# Each dialect's library tells of a cut answer with one of these.
CUT = {"length", "max_tokens", "incomplete"}


@every_library
def test_a_task_of_two_calls_of_a_tool(library: Library, system: System, installed: Path) -> None:
    account = system.open_account(PLENTY)
    shown = library.run(installed, system, account, library.model_id, "tools", TASK)
    assert shown.error is None
    assert shown.shouted == ["can pay for new use"] * 2
    assert shown.text.strip() == SAID
    first, second = system.peek()
    assert (b"CAN PAY FOR NEW USE" in first.body, second.body.count(b"CAN PAY FOR NEW USE")) == (False, 2)
    bill = assert_paid_once(system, account, 2, library.dropped)
    assert [receipt["usage"]["output"] for receipt in bill.receipts] == [60, 16]


@every_library
def test_a_stream(library: Library, system: System, installed: Path) -> None:
    account = system.open_account(PLENTY)
    shown = library.run(installed, system, account, library.model_id, "stream", "say hi")
    assert (shown.error, shown.text.strip(), shown.shouted) == (None, SAID, [])
    (exchange,) = system.peek()
    assert json.loads(exchange.body)["stream"] is True
    assert_paid_once(system, account, 1, library.dropped)


@every_library
def test_a_quota_that_ends_in_an_answer(library: Library, system: System, installed: Path) -> None:
    """The text that was paid for is there, and the library says that it was cut."""
    probe = system.open_account(PLENTY)
    library.run(installed, system, probe, library.model_id, "stream", LONG)
    assert_paid_once(system, probe, 1, library.dropped)
    account = system.open_account(system.held_for_input(probe) + LITTLE)
    shown = library.run(installed, system, account, library.model_id, "stream", LONG)
    assert (shown.error["type"] if shown.error else "") == library.cut_error
    (receipt,) = system.bill(account, system.exchanges()).receipts
    assert receipt["close_cause"] == "quota_exhausted"
    assert 64 <= receipt["usage"]["output"] <= LITTLE
    # The simulator's tokens have four letters each.
    assert receipt["usage"]["output"] - 8 <= len(shown.text) / 4 <= receipt["usage"]["output"]
    assert not library.tells_end or shown.ended in CUT, shown.ended


@every_library
def test_a_quota_that_is_used_up(library: Library, system: System, installed: Path) -> None:
    account = system.open_account(1)
    shown = library.run(installed, system, account, library.model_id, "stream", "say hi")
    assert shown.error is not None
    assert "You exceeded your current quota" in shown.error["message"]
    assert shown.error["status"] in (library.refused_status, None)
    assert_refused(system, account, library.refusals, library.refused_status)


@every_library
def test_a_revoked_key(library: Library, system: System, installed: Path) -> None:
    account = system.open_account(PLENTY)
    system.revoke(account)
    shown = library.run(installed, system, account, library.model_id, "stream", "say hi")
    assert shown.error is not None
    assert "Incorrect API key provided" in shown.error["message"]
    assert account.api_key not in shown.error["message"]
    assert {exchange.status for exchange in system.exchanges()} == {401}


@every_library
def test_a_vendor_that_fails_and_the_next_route(library: Library, system: System, installed: Path) -> None:
    account = system.open_account(PLENTY)
    shown = library.run(installed, system, account, LOST_FIRST[library.dialect], "stream", "say hi")
    assert (shown.error, shown.text.strip()) == (None, SAID)
    (receipt,) = system.bill(account, system.exchanges()).receipts
    *lost, last = receipt["attempts"]
    assert last["outcome"] == "answered"
    # The breaker may have left out the lost route already.
    assert [(each["vendor_id"], each["outcome"]) for each in lost] in ([("lost", "unreachable")], [])
    assert receipt["charged_amount"] == 1_000_000 * sum(receipt["usage"].values())
