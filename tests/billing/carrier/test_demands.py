"""Demands: which payment gives a refund back."""

from typing import Any

from services.billing.carrier.demands import Demand, Source, State, again, return_of, share_of


def payment(number: int, **fields: Any) -> Demand:
    paid = Demand(f"pay-{number}", Source.ITEM, "acct-1", number, "CNY", 5_000, f"ord-{number}", "sub-1", state=State.SUCCEEDED)
    return paid._replace(**fields)


def refund(**fields: Any) -> Demand:
    return Demand("ref-1", Source.REFUND, "acct-1", 9, "CNY", 4_000)._replace(**fields)


def payer_of(wanted: Demand, *known: Demand) -> str:
    """The payment that gives it back; empty: none does."""
    share = share_of(wanted, [*known, wanted])
    return "" if isinstance(share, str) else share.paid.demand_id


def test_the_latest_payment_of_a_subscription_gives_back_first() -> None:
    wanted = refund(subscription_id="sub-1")
    assert payer_of(wanted, payment(1), payment(3), payment(2)) == "pay-3"
    assert payer_of(wanted, payment(1), payment(2, subscription_id="sub-2")) == "pay-1"


def test_a_payment_of_another_purchase_or_currency_gives_nothing_back() -> None:
    assert payer_of(refund(order_id="ord-2"), payment(1, subscription_id="")) == ""
    assert payer_of(refund(subscription_id="sub-2"), payment(1, order_id=""), payment(2, order_id="")) == ""
    assert payer_of(refund(subscription_id="sub-1"), payment(1, currency="USD")) == ""
    assert payer_of(refund(order_id="ord-1"), payment(1, subscription_id="")) == "pay-1"


def test_what_went_back_is_gone_and_what_was_denied_is_not() -> None:
    wanted = refund(subscription_id="sub-1")
    before = refund(demand_id="ref-0", amount=5_000, subscription_id="sub-1", of_demand="pay-1")
    assert payer_of(wanted, payment(1), before._replace(state=State.SUCCEEDED)) == ""
    assert payer_of(wanted, payment(1), before._replace(state=State.ASKING)) == ""
    assert payer_of(wanted, payment(1), before._replace(state=State.DENIED)) == "pay-1"


def test_a_payment_whose_order_came_to_nothing_gives_back_itself_and_no_other_does() -> None:
    first, later = payment(1), payment(2, order_id="ord-1")
    returned = return_of(first)
    assert payer_of(returned, first, later) == "pay-1"
    gone = refund(demand_id="ref-0", amount=5_000, of_demand="pay-1", state=State.SUCCEEDED)
    assert payer_of(returned, first, later, gone) == ""
    # Asked again after the carrier denied it, it is still that payment's.
    assert payer_of(again(returned.to(State.DENIED)), first, later) == "pay-1"


def test_a_refund_that_is_asked_for_again_looks_for_its_payment_anew_and_a_return_does_not() -> None:
    denied = refund(state=State.DENIED, payment_id="p-1", refund_id="r-1", of_demand="pay-1")
    fresh, of_return = again(denied), again(denied._replace(source=Source.RETURN))
    assert (fresh.state, fresh.payment_id, fresh.refund_id, fresh.of_demand) == (State.WAITING, "", "", "")
    assert (of_return.payment_id, of_return.of_demand) == ("", "pay-1")
