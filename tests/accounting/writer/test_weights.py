"""Weights of accounts: several buckets come to one sum, and credit counts until its line has ended."""

from services.accounting.core.terms import Payment
from services.accounting.writer.weights import weight_of
from tests.accounting.ledger import EACH, UNIT, flat, usage
from tests.accounting.shop import CNY, Shopper, allowance, for_sale

LINE = for_sale("line", allowance(50, CNY, postpaid=True), tariffs={"money": flat(EACH, CNY)})


def test_use_of_a_credit_line_is_at_risk_until_the_line_has_ended() -> None:
    shopper = Shopper(LINE)
    order = shopper.order("line", Payment.FREE)
    shopper.event(usage(20), model="money")
    assert weight_of(shopper.state) == {("credit", CNY): 20 * UNIT}
    shopper.cancel(order.subscription_id, at_once=True)
    assert weight_of(shopper.state) == {}


def test_prepaid_money_that_was_used_is_no_credit_and_holds_on_two_buckets_are_one_sum() -> None:
    shopper = Shopper()
    for _ in range(2):
        shopper.grant(10 * UNIT)
    shopper.event(usage(5))
    assert weight_of(shopper.state) == {}
    shopper.create(10, 2)
    assert weight_of(shopper.state) == {("held", "TOKEN"): 12 * UNIT, ("sessions", ""): 1}
