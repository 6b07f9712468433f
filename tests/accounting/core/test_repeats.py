"""A repeat is one only if all of its content is the same: every field of every command that has an idempotency key."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from services.accounting.core.commands import (
    ChangeSubscription,
    Command,
    ConfirmPayment,
    CreateSession,
    Failed,
    GrantAllowances,
    GrantBucket,
    PlaceOrder,
    ReduceBucket,
    RefundSession,
    SendTransfer,
    TopUpBucket,
    UpdateSession,
    WriteOffDebt,
    digest_of,
)
from services.accounting.core.terms import Payment
from tests.accounting.ledger import ACCOUNT_ID, DAY, UNIT, fault_of, usage
from tests.accounting.shop import Shopper, allowance, for_sale, lasting

# Made by the release of 2026-11-28, when a Create had fewer fields than now.
CREATE = CreateSession(ACCOUNT_ID, "018bcfe5-6800-7e77-ba00-d18cf531facc", 1, "m", "key-1", "mem-1", 10, 20, metered=True)
DIGEST_OF_CREATE = "200831635a67e653"
# As a release made it that did not read from the record what was owed of it, and when it was settled.
REFUND = RefundSession(ACCOUNT_ID, CREATE.charging_id, 3, 1, "TOKEN", 9 * UNIT, 4 * UNIT, DAY, "cut off", "key")
DIGEST_OF_REFUND = "f5b2d485107b625f"

GIFT = for_sale("gift", lasting(10, transferable=True), cycle=None)
OFFERINGS = (GIFT, for_sale("ten", allowance(10)), for_sale("twenty", allowance(20)))


def shopper() -> Shopper:
    """An account that owes, has a bucket to give away, and two subscriptions."""
    return Shopper(*OFFERINGS)


def grant(each: Shopper) -> Command:
    return GrantBucket(ACCOUNT_ID, "TOKEN", 5 * UNIT, each.now_us, DAY, 3, "key", model_group="cheap", reason="a gift")


def top_up(each: Shopper) -> Command:
    return TopUpBucket(ACCOUNT_ID, each.grant(UNIT).bucket_id, UNIT, "key")


def refund(each: Shopper) -> Command:
    return RefundSession(ACCOUNT_ID, each.charging_id(), 3, 1, "TOKEN", 9 * UNIT, 4 * UNIT, DAY, "it was cut off", "key")


def reduce_bucket(each: Shopper) -> Command:
    return ReduceBucket(ACCOUNT_ID, each.grant(9 * UNIT).bucket_id, UNIT, "a mistake", "key")


def write_off(each: Shopper) -> Command:
    each.event(usage(5))
    return WriteOffDebt(ACCOUNT_ID, "TOKEN", UNIT, "goodwill", "key")


def order(each: Shopper) -> Command:
    return PlaceOrder(ACCOUNT_ID, "ten", Payment.FREE, "key")


def send(each: Shopper) -> Command:
    return SendTransfer(ACCOUNT_ID, "acct-9876543210", each.order("gift").bucket_ids[0], UNIT, "key")


def other_value(value: object) -> object:
    """Another one of the kind."""
    match value:
        case str():
            return f"{value}-2"
        case Payment():
            return Payment.EXTERNAL if value is not Payment.EXTERNAL else Payment.FREE
        case bool():
            return not value
        case _:
            assert isinstance(value, int)
            return value + 1


def grant_allowances(each: Shopper) -> Command:
    return GrantAllowances(ACCOUNT_ID, "gift", "", 0, "key")


# What the ledger says of a record that is refunded is no part of the request, nor how long an account is entitled to order.
NOT_ASKED = ("debt", "settled_us", "entitled_until_us")


def assert_each_field_counts(ledger: Shopper, command: Command, **others: object) -> None:
    """That the command, done once, is told again as it is, and is another one with any field changed; `others`: to what."""
    done = ledger.ask(command)
    assert not isinstance(done, Failed), done
    for field in command.__struct_fields__:
        if field in ("account_id", "idempotency_key", *NOT_ASKED):
            continue
        value = others.get(field, other_value(getattr(command, field)))
        other: Any = msgspec.structs.replace(command, **{field: value})
        assert digest_of(other) != digest_of(command), field
        refused = ledger.unchanged_by(other)
        assert fault_of(refused) == "IDEMPOTENCY_CONFLICT", field
        assert isinstance(refused, Failed)
        # Whoever sent it is told which of their keys it is.
        assert "the idempotency key key was used for " in refused.message, field
    assert type(ledger.unchanged_by(command)) is type(done)


@pytest.mark.parametrize("make", [grant, top_up, refund, reduce_bucket, write_off, order, send, grant_allowances])
def test_every_field_makes_it_another_one(make: Callable[[Shopper], Command]) -> None:
    ledger = shopper()
    assert_each_field_counts(ledger, make(ledger))


@pytest.mark.parametrize("at_once", [False, True])
def test_every_field_of_a_change_makes_it_another_one(at_once: bool) -> None:
    ledger = shopper()
    first, second = (ledger.order("ten").subscription_id for _ in range(2))
    command = ChangeSubscription(ACCOUNT_ID, first, "twenty", Payment.FREE, at_once, "key")
    assert_each_field_counts(ledger, command, subscription_id=second)


def test_a_key_that_adjusted_something_adjusts_nothing_else() -> None:
    ledger = shopper()
    bucket_id = ledger.grant(9 * UNIT).bucket_id
    ledger.ask(TopUpBucket(ACCOUNT_ID, bucket_id, UNIT, "key"))
    for other in (
        ReduceBucket(ACCOUNT_ID, bucket_id, UNIT, "a mistake", "key"),
        WriteOffDebt(ACCOUNT_ID, "TOKEN", UNIT, "why", "key"),
    ):
        assert fault_of(ledger.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT"


def test_a_payment_is_confirmed_under_one_reference() -> None:
    ledger = Shopper(for_sale("pack", lasting(10), price=UNIT, cycle=None))
    placed = ledger.order("pack", Payment.EXTERNAL)
    ledger.confirm(placed, "first")
    assert fault_of(ledger.unchanged_by(ConfirmPayment(ACCOUNT_ID, placed.order_id, "second"))) == "IDEMPOTENCY_CONFLICT"


@pytest.mark.parametrize(("used", "wanted"), [(usage(10, 21), 40), (usage(10, 20), 41)])
def test_an_update_with_other_content_is_another_one(used: tuple[int, ...], wanted: int) -> None:
    ledger = shopper()
    ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 80, metered=True)
    first = ledger.update(charging_id, 2, usage(10, 20), 40)
    other = UpdateSession(ACCOUNT_ID, charging_id, 2, used, wanted)
    assert fault_of(ledger.unchanged_by(other)) == "IDEMPOTENCY_CONFLICT"
    assert ledger.update(charging_id, 2, usage(10, 20), 40) == first


def test_a_create_of_a_release_before_is_known_again_after_its_update() -> None:
    assert digest_of(CREATE).hex() == DIGEST_OF_CREATE


def test_a_refund_of_a_release_before_is_known_again_whatever_its_record_says_now() -> None:
    ledger = shopper()
    ledger.ask(msgspec.structs.replace(REFUND, debt=5, settled_us=6))
    (bucket,) = ledger.state.buckets.values()
    assert bucket.digest.hex() == digest_of(REFUND).hex() == DIGEST_OF_REFUND
