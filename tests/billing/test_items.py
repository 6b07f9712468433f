"""Billed items, by values: each amount of the journal from its source, in its unit."""

from typing import Any

import msgspec
import pytest

from services.billing.cdr import CdrError
from services.billing.charge import RECORD_TYPES, ChargeRecord, charge_of
from services.billing.expected import ExpectedItems, expected_charge
from services.billing.items import BilledItem, ItemMaker, Kind
from tests.billing.journals import ACCOUNT_ID, CNY, TOKEN, Fact, charging_id, created, entry_of, granted, opened, settled
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2

EXTERNAL, PHONE_BILL = registry_pb2.PAYMENT_METHOD_EXTERNAL, registry_pb2.PAYMENT_METHOD_PHONE_BILL


def items(*rows: list[Fact]) -> list[BilledItem]:
    """The items of a partition's rows; asserts that reconciliation expects the same."""
    maker, expected = ItemMaker(), ExpectedItems()
    made: list[BilledItem] = []
    for seq, facts in enumerate(rows, 1):
        row = [entry_of(2, seq, index, fact) for index, fact in enumerate(facts)]
        of_row = [maker.items_of(entry, 0) for entry in row]
        assert [[item._asdict() for item in of_entry] for of_entry in of_row] == expected.of_row(row)
        made += [item for of_entry in of_row for item in of_entry]
    return made


def told(made: list[BilledItem], *names: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(item, name) for name in names) for item in made]


def price(order_id: str, *debits: tuple[str, int]) -> pb.PriceCharged:
    charged = pb.PriceCharged(order_id=order_id, offering_id="plan", unit=CNY, amount=sum(amount for _, amount in debits))
    for bucket_id, amount in debits:
        charged.debits.add(bucket_id=bucket_id, amount=amount)
    return charged


def placed(order_id: str, amount: int, subscription_id: str = "", method: registry_pb2.PaymentMethod = EXTERNAL) -> pb.OrderPlaced:
    return pb.OrderPlaced(
        order_id=order_id, offering_id="plan", payment_method=method, unit=CNY, amount=amount, subscription_id=subscription_id
    )


def test_a_call_has_an_item_for_each_source() -> None:
    fact = settled(7, charged_amount=13_000_000, debt_amount=2_000_000, absorbed_amount=4_000_000)
    del fact.debits[:]
    fact.debits.add(bucket_id="bkt-1", amount=6_000_000)
    fact.debits.add(bucket_id="bkt-2", amount=5_000_000)
    made = items([created(7), fact])
    assert told(made, "kind", "item_number", "amount", "paid_by", "bucket_id", "calls") == [
        ("usage", 1, 6_000_000, "bucket", "bkt-1", 1),
        ("usage", 2, 5_000_000, "bucket", "bkt-2", 0),
        ("usage", 3, 2_000_000, "debt", "", 0),
        ("usage", 4, 4_000_000, "operator", "", 0),
    ]
    assert made[0] == BilledItem(
        *(2, 1, 1, 1, 0, "usage", ACCOUNT_ID, 1_767_225_601_000_001, "TOKEN", "", 6_000_000, "bucket", "bkt-1", 1),
        charging_id=charging_id(7),
        offering_id="default",
        model_id="model-a",
        member_id="mbr-1",
        key_id="key-1",
    )


def test_a_free_call_is_counted_and_one_that_was_given_up_is_not() -> None:
    free = settled(1, charged_amount=0, debits=[])
    given_up = settled(2, charged_amount=0, debits=[], close_cause=pb.CLOSE_CAUSE_REJECTED)
    assert told(items([free], [given_up]), "kind", "amount", "paid_by", "calls") == [("usage", 0, "nothing", 1)]


def test_a_further_record_of_a_call_is_no_further_call() -> None:
    assert told(items([settled(1)], [settled(1, record_sequence_number=2)]), "calls") == [(1,), (0,)]


def test_a_vendors_claim_is_an_item_in_its_own_unit() -> None:
    owed = pb.WholesaleCharge(vendor_id="acme", vendor_model_id="acme-1", unit=CNY, amount=30)
    usage, wholesale = items([settled(1, wholesale=owed)])
    assert (usage.unit, usage.vendor_id, usage.amount) == ("TOKEN", "", 13_000_000)
    assert told([wholesale], "kind", "unit", "currency", "amount", "paid_by", "vendor_id", "vendor_model_id", "calls") == [
        ("wholesale", "CURRENCY", "CNY", 30, "operator", "acme", "acme-1", 1)
    ]


def test_a_vendors_claim_for_a_late_end_is_of_no_further_call() -> None:
    owed = pb.WholesaleCharge(vendor_id="acme", vendor_model_id="acme-1", unit=CNY, amount=30)
    made = items([settled(1, wholesale=owed)], [settled(1, record_sequence_number=2, wholesale=owed)])
    assert [item.calls for item in made if item.kind == "wholesale"] == [1, 0]


def test_a_new_plan_is_a_price_from_each_bucket_that_paid_it() -> None:
    order: list[Fact] = [
        placed("ord-1", 30, "sub-1", PHONE_BILL),
        pb.SubscriptionStarted(subscription_id="sub-1", offering_id="plan"),
        pb.CycleStarted(subscription_id="sub-1", number=1),
        granted("bkt-line", 100, unit=CNY, source="order:ord-1", subscription_id="sub-1", postpaid=True),
        price("ord-1", ("bkt-old", 10), ("bkt-line", 20)),
        pb.OrderCompleted(order_id="ord-1"),
    ]
    assert told(items(order), "kind", "amount", "bucket_id", "order_id", "subscription_id", "offering_id") == [
        ("credit_line", 0, "bkt-line", "", "sub-1", ""),
        ("price", 10, "bkt-old", "ord-1", "sub-1", "plan"),
        ("price", 20, "bkt-line", "ord-1", "sub-1", "plan"),
    ]


def test_fees_of_a_claim_are_rounded_down_and_the_vendor_gets_the_rest() -> None:
    shares = registry_pb2.FeeShares(platform=333_333, compute=0, channel=666_667)
    owed = pb.WholesaleCharge(vendor_id="acme", vendor_model_id="acme-1", unit=CNY, amount=100, fees=shares)
    fields = ("kind", "item_number", "amount", "paid_by", "vendor_id", "vendor_model_id", "calls")
    _, claim, *fees = items([settled(1, wholesale=owed)])
    assert told([claim, *fees], *fields) == [
        ("wholesale", 2, 100, "operator", "acme", "acme-1", 1),
        ("fee", 3, -33, "platform_fee", "acme", "acme-1", 0),
        ("fee", 4, -66, "channel_fee", "acme", "acme-1", 0),
    ]
    # A micro-unit has no part.
    owed.amount = 1
    assert told(items([settled(1, wholesale=owed)])[1:], "amount") == [(1,)]
    # A late Release takes back what the sweep claimed too much.
    owed.amount = -100
    assert told(items([settled(1, wholesale=owed)])[1:], "amount") == [(-100,), (34,), (67,)]


def test_what_goes_back_to_a_credit_line_or_outside_is_a_credit() -> None:
    line = pb.PriceReturned(
        purchase_id="sub-1",
        order_id="ord-2",
        offering_id="plan",
        returned=pb.Returned(unit=CNY, amount=12, outside_amount=2),
        payment_method=PHONE_BILL,
        credits=[pb.BucketAmount(bucket_id="bkt-1", amount=7), pb.BucketAmount(bucket_id="bkt-2", amount=3)],
        reason="days that are left",
    )
    outside = pb.PriceReturned(
        purchase_id="ord-3",
        offering_id="pack",
        returned=pb.Returned(unit=CNY, amount=5, outside_amount=5, payment_references=["till 7", "till 8"]),
        payment_method=EXTERNAL,
        reason="moved away",
    )
    prepaid = pb.PriceReturned(
        purchase_id="ord-4", offering_id="pack", returned=pb.Returned(unit=CNY, amount=6), reason="moved away"
    )
    fields = ("kind", "amount", "paid_by", "bucket_id", "order_id", "subscription_id", "offering_id", "remark")
    assert told(
        items([line], [outside], [prepaid, granted("bkt-5", 6, unit=CNY, source="surplus:ord-4", reason="moved away")]), *fields
    ) == [
        ("credit", -7, "bucket", "bkt-1", "ord-2", "sub-1", "plan", "days that are left"),
        ("credit", -3, "bucket", "bkt-2", "ord-2", "sub-1", "plan", "days that are left"),
        ("credit", -2, "phone_bill", "", "ord-2", "sub-1", "plan", "days that are left"),
        ("credit", -5, "outside", "", "ord-3", "", "pack", "till 7, till 8"),
        # A bucket says what of prepaid money came back.
        ("credit", -6, "bucket", "bkt-5", "ord-4", "", "pack", "moved away"),
    ]


def test_a_change_at_once_is_a_change_and_its_surplus_a_credit() -> None:
    begun: list[Fact] = [
        placed("ord-2", 30, "sub-1"),
        pb.SubscriptionStarted(subscription_id="sub-1", offering_id="plan"),
        granted("bkt-3", 5, source="restart:sub-1/1/ord-2", subscription_id="sub-1"),
        granted("bkt-4", 7, unit=CNY, source="surplus:sub-1", reason="days that are left"),
        price("ord-2", ("bkt-1", 30)),
        pb.OrderCompleted(order_id="ord-2"),
        # A pack in the same row is none.
        placed("ord-3", 4),
        granted("bkt-5", 5, source="order:ord-3"),
        price("ord-3", ("bkt-1", 4)),
        pb.OrderCompleted(order_id="ord-3"),
    ]
    assert told(items(begun), "kind", "amount", "bucket_id", "subscription_id", "remark") == [
        ("credit", -7, "bkt-4", "sub-1", "days that are left"),
        ("change", 30, "bkt-1", "sub-1", ""),
        ("price", 4, "bkt-1", "", ""),
    ]


def test_a_pack_that_is_paid_in_the_row_of_a_restart_is_no_change() -> None:
    row: list[Fact] = [
        pb.SubscriptionStarted(subscription_id="sub-1", offering_id="plan"),
        granted("bkt-3", 5, source="restart:sub-1/1/", subscription_id="sub-1"),
        price("", ("bkt-1", 30)),
        granted("bkt-5", 5, source="order:ord-3"),
        pb.OrderCompleted(order_id="ord-3", payment_reference="wx-7"),
    ]
    assert told(items([placed("ord-3", 4)], row), "kind", "amount", "order_id", "subscription_id") == [
        ("renewal", 30, "", "sub-1"),
        ("price", 4, "ord-3", ""),
    ]


def test_a_further_cycle_is_a_renewal_of_its_subscription() -> None:
    cycle: list[Fact] = [
        pb.CycleStarted(subscription_id="sub-1", number=2),
        granted("bkt-3", 5, source="cycle:sub-1/1/2", subscription_id="sub-1"),
        price("", ("bkt-1", 30)),
    ]
    assert told(items(cycle), "kind", "amount", "order_id", "subscription_id") == [("renewal", 30, "", "sub-1")]


def test_a_further_cycle_that_grants_nothing_is_of_its_subscription() -> None:
    cycle: list[Fact] = [pb.CycleStarted(subscription_id="sub-1", number=2), price("", ("bkt-1", 30))]
    assert told(items(cycle), "kind", "amount", "order_id", "subscription_id") == [("renewal", 30, "", "sub-1")]


@pytest.mark.parametrize(("method", "paid_by"), [(EXTERNAL, "outside"), (PHONE_BILL, "phone_bill")])
def test_a_price_paid_outside_is_that_of_its_order(method: registry_pb2.PaymentMethod, paid_by: str) -> None:
    paid: list[Fact] = [
        pb.SubscriptionStarted(subscription_id="sub-1", offering_id="plan"),
        granted("bkt-3", 5, source="order:ord-1", subscription_id="sub-1"),
        pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7"),
    ]
    made = items([placed("ord-1", 30, "sub-1", method)], [opened()], paid)
    assert told(made, "kind", "sequence_number", "currency", "amount", "paid_by", "order_id", "subscription_id", "remark") == [
        ("price", 3, "CNY", 30, paid_by, "ord-1", "sub-1", "wx-7")
    ]


def test_a_change_paid_outside_is_a_change_and_a_renewal_a_renewal() -> None:
    begun: list[Fact] = [
        pb.SubscriptionStarted(subscription_id="sub-1", offering_id="plan"),
        granted("bkt-3", 5, source="restart:sub-1/2/ord-1", subscription_id="sub-1"),
        pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7"),
    ]
    (change,) = items([placed("ord-1", 30, "sub-1")], begun)
    suspended: list[Fact] = [placed("ord-1", 30, "sub-1"), pb.SubscriptionSuspended(subscription_id="sub-1")]
    (renewal,) = items(suspended, begun)
    assert (change.kind, renewal.kind) == ("change", "renewal")


def test_a_suspension_that_does_not_follow_an_order_asks_for_no_renewal_by_it() -> None:
    order, suspended = placed("ord-1", 30, "sub-2"), pb.SubscriptionSuspended(subscription_id="sub-1")
    paid: list[Fact] = [pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7")]
    apart: list[list[Fact]] = [[order], [opened(), suspended], paid]
    between: list[list[Fact]] = [[order, granted("bkt-9", 1), suspended], paid]
    for rows in (apart, between):
        assert told(items(*rows), "kind", "order_id") == [("price", "ord-1")]


def test_an_order_that_cost_nothing_has_no_item() -> None:
    assert items([placed("ord-1", 0), pb.OrderCompleted(order_id="ord-1", payment_reference="wx-7")]) == []


def test_a_refund_gives_back_what_its_call_was_charged() -> None:
    refund = granted("bkt-9", 30, source=f"refund:4/{charging_id(7)}/1", reason="broken answer")
    assert told(items([refund]), "kind", "amount", "paid_by", "bucket_id", "charging_id", "remark") == [
        ("refund", -30, "bucket", "bkt-9", charging_id(7), "broken answer")
    ]


def test_a_repaid_debt_moves_from_the_debt_to_the_bucket() -> None:
    made = items([granted("bkt-9", 30), pb.DebtRepaid(bucket_id="bkt-9", unit=TOKEN, amount=20)])
    assert told(made, "kind", "amount", "paid_by", "bucket_id") == [
        ("debt_repaid", 20, "bucket", "bkt-9"),
        ("debt_repaid", -20, "debt", "bkt-9"),
    ]


def test_a_debt_written_off_is_owed_no_more() -> None:
    made = items([pb.DebtWrittenOff(unit=TOKEN, amount=20, reason="goodwill")])
    assert told(made, "kind", "amount", "paid_by", "remark") == [("write_off", -20, "debt", "goodwill")]


def test_grants_and_gifts_are_no_charges() -> None:
    assert items([granted("bkt-1", 5), granted("bkt-2", 5, source="transfer:tr-1"), granted("bkt-3", 5, source="adjustment")]) == []


def test_charges_are_numbered_one_by_one_and_calls_are_not() -> None:
    maker = ItemMaker()
    repaid = entry_of(2, 1, 0, pb.DebtRepaid(bucket_id="bkt-9", unit=TOKEN, amount=20))
    assert told(maker.items_of(repaid, 5), "record_number", "item_number") == [(5, 1), (6, 2)]
    assert told(maker.items_of(repaid, 0), "record_number", "item_number") == [(0, 1), (0, 2)]
    assert told(maker.items_of(entry_of(2, 1, 1, settled(1)), 7), "record_number") == [(0,)]


def test_a_charge_is_one_json_line_with_these_fields_in_this_order() -> None:
    (item,) = items([cycle_price()])
    line = msgspec.json.encode(charge_of(item._replace(record_number=17)))
    assert line.decode() == (
        '{"record_number":17,"record_type":"renewal","part_id":2,"sequence_number":1,"index":0,"item_number":1,'
        f'"account_id":"{ACCOUNT_ID}","time":"2026-01-01T00:00:01.000000Z","unit":"CURRENCY","currency":"CNY","amount":30,'
        '"paid_by":"bucket","bucket_id":"bkt-1","offering_id":"plan"}'
    )
    assert msgspec.json.decode(line) == expected_charge(item._replace(record_number=17)._asdict())
    assert msgspec.json.decode(line, type=ChargeRecord).amount == 30


def cycle_price() -> pb.PriceCharged:
    return price("", ("bkt-1", 30))


def test_every_kind_but_a_calls_has_a_record() -> None:
    assert set(RECORD_TYPES) == {kind.value for kind in Kind} - {"usage", "wholesale", "fee"}


def test_a_unit_of_a_later_release_is_refused_by_its_place() -> None:
    unknown = pb.DebtWrittenOff(unit=pb.UnitOfAmount(), amount=20)
    with pytest.raises(CdrError, match=r"entry \(5, 2\) has unit 0.* run the release that knows it"):
        ItemMaker().items_of(entry_of(2, 5, 2, unknown), 0)
