"""Refunds, reductions, write-offs, and transfers between accounts: the core's halves, and the owner that joins them."""

import msgspec
import pytest

from services.accounting.core.account.state import ENDED_MEMORY_US
from services.accounting.core.commands import (
    ApplyDue,
    BucketAdded,
    Command,
    Done,
    EndTransfer,
    Failed,
    Fault,
    ReceiveTransfer,
    ReduceBucket,
    RefundSession,
    SendTransfer,
    TransferView,
    WriteOffDebt,
)
from services.accounting.core.entries import BucketGranted
from services.accounting.core.offerings import OfferingRules
from services.accounting.core.transfers import arriving_bucket
from services.accounting.journal.audit import _AccountBook, _post
from tests.accounting.ledger import (
    ACCOUNT_ID,
    CATALOG,
    DAY,
    UNIT,
    Ledger,
    audited,
    fault_of,
    replayed,
    state_of,
    usage,
)
from tests.accounting.shop import Shopper, allowance, for_sale

OTHER_ID = "acct-9876543210"
GIFT: OfferingRules = for_sale("gift", allowance(10, valid_for_us=5 * DAY, transferable=True), cycle=None)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def refund(charging_id: str, amount: int, *, key: str = "refund", charged: int = 30 * UNIT) -> RefundSession:
    return RefundSession(ACCOUNT_ID, charging_id, 3, 1, "TOKEN", charged, amount, DAY, "the answer was cut off", key)


def test_a_refund_is_a_new_bucket_and_consumed_never_falls(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(20, 10)
    ledger.release(charging_id, 2, usage(input=20, output=10))
    answer = ledger.ask(refund(charging_id, 12 * UNIT))
    assert isinstance(answer, BucketAdded)
    assert ledger.amounts(answer) == (12 * UNIT, 0, 0, 0)
    assert ledger.bucket(bucket).consumed == 30 * UNIT
    entry = ledger.last_entries[0]
    assert isinstance(entry, BucketGranted)
    assert (entry.source, entry.reason) == (f"refund:3/{charging_id}/1", "the answer was cut off")
    # The same again is the same; in all never more than was charged.
    assert ledger.unchanged_by(refund(charging_id, 12 * UNIT)) == answer
    assert fault_of(ledger.unchanged_by(refund(charging_id, 13 * UNIT))) == "IDEMPOTENCY_CONFLICT"
    refused = ledger.unchanged_by(refund(charging_id, 19 * UNIT, key="second"))
    assert isinstance(refused, Failed)
    assert (refused.fault, refused.message) == (
        Fault.NOT_POSSIBLE,
        f"amount is 19 TOKEN; of what record 1 of {charging_id} charged, 18 TOKEN can still be refunded",
    )
    assert isinstance(ledger.ask(refund(charging_id, 18 * UNIT, key="second")), BucketAdded)
    assert fault_of(ledger.unchanged_by(refund(charging_id, 1, key="third"))) == "NOT_POSSIBLE"


def test_a_refund_repays_debt_first(ledger: Ledger) -> None:
    charging_id = ledger.charging_id()
    assert ledger.event(usage(input=30), charging_id=charging_id).debt == 30 * UNIT
    answer = ledger.ask(refund(charging_id, 30 * UNIT))
    assert isinstance(answer, BucketAdded)
    assert (answer.repaid, ledger.state.debts["TOKEN"].outstanding) == (30 * UNIT, 0)


def test_the_operator_takes_back_what_remains_and_no_more(ledger: Ledger) -> None:
    bucket = ledger.grant(100 * UNIT)
    ledger.create(20, 10)
    take = ReduceBucket(ACCOUNT_ID, bucket.bucket_id, 70 * UNIT, "granted by mistake", "take")
    assert fault_of(ledger.unchanged_by(msgspec.structs.replace(take, amount=71 * UNIT))) == "NOT_POSSIBLE"
    assert isinstance(ledger.ask(take), Done)
    assert ledger.amounts(bucket) == (0, 30 * UNIT, 0, 70 * UNIT)
    assert isinstance(ledger.unchanged_by(take), Done)
    assert fault_of(ledger.unchanged_by(msgspec.structs.replace(take, amount=1))) == "IDEMPOTENCY_CONFLICT"
    assert fault_of(ledger.unchanged_by(ReduceBucket(ACCOUNT_ID, "bkt-none", 1, "why", "key"))) == "ITEM_UNKNOWN"


def test_a_debt_is_written_off(ledger: Ledger) -> None:
    ledger.event(usage(input=30))
    give_up = WriteOffDebt(ACCOUNT_ID, "TOKEN", 10 * UNIT, "goodwill", "give up")
    assert isinstance(ledger.ask(give_up), Done)
    assert isinstance(ledger.unchanged_by(give_up), Done)
    debt = ledger.state.debts["TOKEN"]
    assert (debt.incurred, debt.written_off, debt.outstanding) == (30 * UNIT, 10 * UNIT, 20 * UNIT)
    for amount, unit in ((21 * UNIT, "TOKEN"), (1, "POINT")):
        assert fault_of(ledger.unchanged_by(WriteOffDebt(ACCOUNT_ID, unit, amount, "goodwill", "more"))) == "NOT_POSSIBLE"
    assert ledger.grant(25 * UNIT).repaid == 20 * UNIT
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)


class Pair:
    """Somebody who gives, and somebody who gets."""

    def __init__(self) -> None:
        self.giver = Shopper(GIFT)
        self.getter = Ledger(self.giver.catalog)
        (self.bucket_id,) = self.giver.order("gift").bucket_ids

    def send(self, amount: int, *, key: str = "gift", to: str = OTHER_ID) -> Command:
        return SendTransfer(ACCOUNT_ID, to, self.bucket_id, amount, key)

    def arriving(self, transfer_id: str) -> ReceiveTransfer:
        return arriving_bucket(self.giver.state, transfer_id)


def test_a_transfer_goes_out_arrives_once_and_is_confirmed() -> None:
    pair = Pair()
    sent = pair.giver.ask(pair.send(4 * UNIT))
    assert isinstance(sent, TransferView)
    assert sent.state == "in_transit"
    bucket = pair.giver.state.buckets[pair.bucket_id]
    assert (bucket.remaining, bucket.transferred) == (6 * UNIT, 4 * UNIT)
    arriving = pair.arriving(sent.transfer_id)
    received = pair.getter.ask(arriving)
    assert isinstance(received, BucketAdded)
    assert (received.amount, received.valid_until_us) == (4 * UNIT, bucket.valid_until_us)
    # The sender asks again, since it has not heard.
    assert pair.getter.unchanged_by(arriving) == received
    assert isinstance(pair.giver.ask(EndTransfer(ACCOUNT_ID, sent.transfer_id, "")), TransferView)
    repeat = pair.giver.unchanged_by(pair.send(4 * UNIT))
    assert repeat == TransferView(sent.transfer_id, "confirmed", "")
    # What has arrived can't come back.
    assert pair.giver.unchanged_by(EndTransfer(ACCOUNT_ID, sent.transfer_id, "no")) == repeat
    assert fault_of(pair.giver.unchanged_by(pair.send(5 * UNIT))) == "IDEMPOTENCY_CONFLICT"
    assert state_of(replayed(pair.giver.rows)) == state_of(pair.giver.state)


def test_each_key_is_a_transfer_of_its_own() -> None:
    pair = Pair()
    sent = [pair.giver.ask(pair.send(4 * UNIT, key=key)) for key in ("one", "two")]
    assert [isinstance(each, TransferView) and each.state for each in sent] == ["in_transit", "in_transit"]
    assert len(pair.giver.state.transfers) == 2
    bucket = pair.giver.state.buckets[pair.bucket_id]
    assert (bucket.remaining, bucket.transferred) == (2 * UNIT, 8 * UNIT)
    for each in pair.giver.state.transfers.values():
        pair.getter.ask(pair.arriving(each.transfer_id))
    assert [each.granted for each in pair.getter.state.buckets.values()] == [4 * UNIT, 4 * UNIT]


def test_what_cannot_arrive_comes_back() -> None:
    pair = Pair()
    sent = pair.giver.ask(pair.send(4 * UNIT))
    assert isinstance(sent, TransferView)
    pair.getter.pass_time(5 * DAY)
    refusal = pair.getter.unchanged_by(pair.arriving(sent.transfer_id))
    assert fault_of(refusal) == "NOT_POSSIBLE"
    pair.giver.ask(EndTransfer(ACCOUNT_ID, sent.transfer_id, "it came too late"))
    bucket = pair.giver.state.buckets[pair.bucket_id]
    assert (bucket.remaining, bucket.transferred, bucket.expired) == (10 * UNIT, 0, 0)
    # To a bucket that has ended meanwhile it comes back as expired.
    pair = Pair()
    sent = pair.giver.ask(pair.send(4 * UNIT))
    assert isinstance(sent, TransferView)
    pair.giver.pass_time(5 * DAY)
    pair.giver.ask(EndTransfer(ACCOUNT_ID, sent.transfer_id, "it came too late"))
    bucket = pair.giver.state.buckets[pair.bucket_id]
    assert (bucket.remaining, bucket.transferred, bucket.expired) == (0, 0, 10 * UNIT)


def test_a_gift_comes_back_to_its_bucket_however_late() -> None:
    pair = Pair()
    sent = pair.giver.ask(pair.send(4 * UNIT))
    assert isinstance(sent, TransferView)
    pair.giver.pass_time(5 * DAY)
    pair.giver.grant(UNIT)
    pair.giver.pass_time(ENDED_MEMORY_US + DAY)
    pair.giver.grant(UNIT)
    pair.giver.ask(EndTransfer(ACCOUNT_ID, sent.transfer_id, "it came too late"))
    assert pair.giver.state.buckets[pair.bucket_id].expired == 10 * UNIT
    pair.giver.grant(UNIT)
    assert pair.bucket_id not in pair.giver.state.buckets


def test_what_may_not_be_given_stays() -> None:
    pair = Pair()
    assert fault_of(pair.giver.unchanged_by(pair.send(11 * UNIT))) == "NOT_POSSIBLE"
    assert fault_of(pair.giver.unchanged_by(pair.send(UNIT, to=ACCOUNT_ID))) == "INVALID_ARGUMENT"
    topped_up = pair.giver.grant(UNIT)
    for bucket_id, fault in ((topped_up.bucket_id, "NOT_POSSIBLE"), ("bkt-none", "ITEM_UNKNOWN")):
        assert fault_of(pair.giver.unchanged_by(SendTransfer(ACCOUNT_ID, OTHER_ID, bucket_id, 1, "key"))) == fault
    pair.giver.event(usage(input=20))
    assert pair.giver.state.debts["TOKEN"].outstanding > 0
    assert fault_of(pair.giver.unchanged_by(pair.send(1))) == "NOT_POSSIBLE"
    assert fault_of(pair.giver.unchanged_by(EndTransfer(ACCOUNT_ID, "trf-none", ""))) == "ITEM_UNKNOWN"


def test_what_ended_long_ago_is_forgotten_and_its_sums_stay() -> None:
    ledger = Ledger(CATALOG)
    for number in range(5):
        ledger.grant(10 * UNIT, key=str(number))
        ledger.event(usage(input=4))
        ledger.pass_time(DAY)
    ledger.pass_time(ENDED_MEMORY_US + DAY)
    ledger.grant(UNIT, key="new")
    assert len(ledger.state.buckets) == 1
    # A key lives as long as what it made.
    ledger.grant(10 * UNIT, key="0")
    assert state_of(replayed(ledger.rows)) == state_of(ledger.state)
    # Of those that were forgotten the auditor knows what they paid.
    assert audited(ledger) == []


def test_the_auditor_tells_a_bucket_that_is_granted_again_before_it_is_forgotten() -> None:
    ledger = Ledger(CATALOG)
    ledger.grant(10 * UNIT)
    granted = ledger.last_entries[0]
    assert isinstance(granted, BucketGranted)
    ledger.pass_time(DAY)
    ledger.ask(ApplyDue(ACCOUNT_ID))
    for later_us, twice in ((ENDED_MEMORY_US, True), (ENDED_MEMORY_US + 1, False)):
        again = msgspec.structs.replace(granted, time_us=granted.valid_until_us + later_us)
        book = _AccountBook()
        told = [breach for entry in (*ledger.entries, again) for breach in _post(book, entry)]
        assert told == ([f"bucket {granted.bucket_id} granted twice"] if twice else [])
