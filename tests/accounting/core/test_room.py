"""Room of an account: nothing makes one bucket more than it can have, or more of a unit than can be counted."""

from collections.abc import Callable

import pytest

from services.accounting.core.amounts import GRANTED_MAX
from services.accounting.core.buckets import BUCKETS_MAX
from services.accounting.core.commands import ChangeSubscription, Command, GrantAllowances, GrantBucket, PlaceOrder, RefundSession
from services.accounting.core.terms import Payment
from services.accounting.core.transfers import receive_transfer_of
from tests.accounting.ledger import ACCOUNT_ID, DAY, UNIT, fault_of
from tests.accounting.shop import Shopper, allowance, for_sale, lasting

SMALL = for_sale("small", allowance(1))
PACK = for_sale("pack", lasting(1), cycle=None)
FULL = for_sale("full", *(allowance(1, allowance_id=str(number)) for number in range(BUCKETS_MAX)))


def granted(shopper: Shopper) -> Command:
    return GrantBucket(ACCOUNT_ID, "TOKEN", UNIT, None, DAY, 0, "one more")


def refunded(shopper: Shopper) -> Command:
    return RefundSession(ACCOUNT_ID, shopper.charging_id(), 3, 1, "TOKEN", 9 * UNIT, UNIT, DAY, "it was cut off", "one more")


def given(shopper: Shopper) -> Command:
    terms = {"valid_from_us": shopper.now_us, "valid_until_us": shopper.now_us + DAY, "priority": 0, "digest": b""}
    return receive_transfer_of(ACCOUNT_ID, "trf-1", unit="TOKEN", amount=UNIT, **terms)


def ordered(shopper: Shopper) -> Command:
    return PlaceOrder(ACCOUNT_ID, "pack", Payment.FREE, "one more")


def bundled(shopper: Shopper) -> Command:
    return GrantAllowances(ACCOUNT_ID, "pack", "", 0, "one more")


def changed(shopper: Shopper) -> Command:
    (subscription_id,) = shopper.state.subscriptions
    return ChangeSubscription(ACCOUNT_ID, subscription_id, "small", Payment.FREE, at_once=True, idempotency_key="one more")


MORE = pytest.mark.parametrize("more", [granted, refunded, given, ordered, bundled, changed])


@MORE
def test_nothing_makes_one_bucket_more_than_an_account_can_have(more: Callable[[Shopper], Command]) -> None:
    shopper = Shopper(SMALL, PACK, FULL)
    shopper.order("full")
    assert len(shopper.state.burn_order) == BUCKETS_MAX
    assert fault_of(shopper.unchanged_by(more(shopper))) == "NOT_POSSIBLE"


@MORE
def test_nothing_grants_more_of_a_unit_than_can_be_counted(more: Callable[[Shopper], Command]) -> None:
    shopper = Shopper(SMALL, PACK, for_sale("other", allowance(1)))
    shopper.order("other")
    shopper.grant(GRANTED_MAX - UNIT)
    assert fault_of(shopper.unchanged_by(more(shopper))) == "AMOUNT_OVERFLOW"
