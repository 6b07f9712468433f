"""Transfers between accounts: who may give what, what arrives, and what comes back once."""

import msgspec
import pytest

from services.accounting.core.account.due import next_due_us
from services.accounting.core.account.state import ENDED_MEMORY_US
from services.accounting.core.amounts import GRANTED_MAX
from services.accounting.core.commands import BucketAdded, EndTransfer, ReceiveTransfer, SendTransfer, TransferView
from services.accounting.core.transfers import arriving_bucket
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, HOUR, SECOND, UNIT, Ledger, fault_of, flat, offering, usage
from tests.accounting.shop import CNY, Shopper, allowance, for_sale

GETTER_ID = "acct-9876543210"
GIFT = for_sale("gift", allowance(10, valid_for_us=5 * DAY, transferable=True, priority=7), cycle=None)


@pytest.fixture
def giver() -> Shopper:
    giver = Shopper(GIFT, base=offering({"flat": flat(EACH), "money": flat(EACH, CNY)}))
    giver.order("gift")
    return giver


def bucket_id_of(giver: Shopper) -> str:
    """The bucket that can be given away."""
    return next(each.bucket_id for each in giver.state.buckets.values() if each.transferable)


def gift(giver: Shopper, units: int, key: str = "gift") -> SendTransfer:
    return SendTransfer(ACCOUNT_ID, GETTER_ID, bucket_id_of(giver), units * UNIT, key)


def sent(giver: Shopper, units: int, key: str = "gift") -> str:
    """The ID of a transfer that must be sent."""
    answer = giver.ask(gift(giver, units, key))
    assert isinstance(answer, TransferView), answer
    return answer.transfer_id


def arriving(giver: Shopper, units: int) -> ReceiveTransfer:
    return arriving_bucket(giver.state, sent(giver, units))


def test_a_gift_that_has_ended_is_remembered_for_as_long_as_its_bucket(giver: Shopper) -> None:
    transfer_id = sent(giver, 1)
    giver.ask(EndTransfer(ACCOUNT_ID, transfer_id, ""))
    # The bucket that it made ends when its own does, in five days.
    for pause_us, known in ((ENDED_MEMORY_US, [transfer_id]), (5 * DAY, [transfer_id]), (1, [])):
        giver.pass_time(pause_us)
        giver.grant(UNIT)
        assert list(giver.state.transfers) == known


def test_a_gift_on_its_way_is_tried_again_after_five_seconds(giver: Shopper) -> None:
    transfer_id = sent(giver, 1)
    assert next_due_us(giver.state) == giver.now_us + 5 * SECOND
    giver.ask(EndTransfer(ACCOUNT_ID, transfer_id, ""))
    due_us = next_due_us(giver.state)
    assert due_us == giver.state.buckets[bucket_id_of(giver)].valid_until_us


def test_who_owes_in_any_unit_gives_nothing_until_it_is_paid(giver: Shopper) -> None:
    giver.event(usage(2), model="money")
    assert giver.state.debts[CNY].outstanding == 2 * UNIT
    assert fault_of(giver.unchanged_by(gift(giver, 1))) == "NOT_POSSIBLE"
    giver.money(1)
    assert fault_of(giver.unchanged_by(gift(giver, 1))) == "NOT_POSSIBLE"
    giver.money(1)
    sent(giver, 1)


def test_what_a_session_holds_is_not_given_away(giver: Shopper) -> None:
    giver.open_call(8, 0)
    assert fault_of(giver.unchanged_by(gift(giver, 3))) == "NOT_POSSIBLE"
    sent(giver, 2)


def test_what_arrives_is_on_the_terms_that_it_was_given_on(giver: Shopper) -> None:
    giver.pass_time(HOUR)
    command = arriving(giver, 4)
    getter = Ledger(giver.catalog, now_us=giver.now_us + HOUR)
    received = getter.ask(command)
    assert isinstance(received, BucketAdded)
    given, got = giver.state.buckets[bucket_id_of(giver)], getter.bucket(received)
    assert (got.line, got.unit, got.priority) == (given.line, given.unit, given.priority) == ("gift||TOKEN", "TOKEN", 7)
    assert (got.valid_from_us, got.valid_until_us) == (given.valid_from_us, given.valid_until_us)
    assert (got.granted, got.created_us, got.transferable) == (4 * UNIT, getter.now_us, False)


def test_what_arrives_repays_a_debt_first(giver: Shopper) -> None:
    getter = Ledger(giver.catalog)
    getter.event(usage(3))
    received = getter.ask(arriving(giver, 4))
    assert isinstance(received, BucketAdded)
    assert (received.repaid, getter.state.debts["TOKEN"].outstanding) == (3 * UNIT, 0)


def test_what_an_account_has_no_room_for_does_not_arrive(giver: Shopper) -> None:
    getter = Ledger(giver.catalog)
    getter.grant(GRANTED_MAX - 4 * UNIT + 1)
    command = arriving(giver, 4)
    assert fault_of(getter.unchanged_by(command)) == "AMOUNT_OVERFLOW"
    smaller = msgspec.structs.replace(command.granted, amount=4 * UNIT - 1)
    assert isinstance(getter.ask(msgspec.structs.replace(command, granted=smaller)), BucketAdded)


def test_what_has_come_back_comes_back_once_and_is_not_confirmed_later(giver: Shopper) -> None:
    transfer_id = sent(giver, 4)
    came_back = giver.ask(EndTransfer(ACCOUNT_ID, transfer_id, "nobody is there"))
    assert came_back == TransferView(transfer_id, "returned", "nobody is there")
    for refusal in ("nobody is there", "another reason", ""):
        assert giver.unchanged_by(EndTransfer(ACCOUNT_ID, transfer_id, refusal)) == came_back
    assert giver.unchanged_by(gift(giver, 4)) == came_back
    bucket = giver.state.buckets[bucket_id_of(giver)]
    assert (bucket.remaining, bucket.transferred) == (10 * UNIT, 0)
