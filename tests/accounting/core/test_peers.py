"""How other gateways and meters lose or overcharge, each as a test that it can't happen here."""

from services.accounting.core.commands import CloseCause, Granted, Refused, Settled
from services.accounting.core.entries import BucketGranted
from services.accounting.core.terms import Cycle, Payment, Period
from tests.accounting.ledger import DAY, EACH, SECOND, TCC_US, UNIT, WINDOW, Ledger, flat, offering, release_command, usage
from tests.accounting.settlements import settle_thirds
from tests.accounting.shop import CNY, MONTHLY, Shopper, allowance, for_sale


def test_openmeter_a_grant_whose_recurrence_meets_the_reset_is_counted_once() -> None:
    """The old allowance ends in the very microsecond in which the next one begins: a balance never shows both."""
    cycle = Cycle(Period.DAY, 1, calendar=False, prorated=False)
    shopper = Shopper(for_sale("daily", allowance(100), cycle=cycle, price=UNIT))
    shopper.money(10, valid_for_us=100 * DAY)
    shopper.order("daily", Payment.PREPAID)
    shopper.open_call(30, 0)
    for boundary in range(1, 4):
        shopper.now_us = shopper.state.subscriptions[next(iter(shopper.state.subscriptions))].cycle_end_us - 1
        shopper.ask(shopper.order_command("nothing-of-the-kind"))
        assert shopper.free["TOKEN"] <= 100
        shopper.pass_time(1)
        shopper.ask(shopper.order_command("nothing-of-the-kind"))
        # Whether somebody looks before, at or after the boundary.
        assert shopper.free["TOKEN"] == 100
        granted = [entry for entry in shopper.entries if isinstance(entry, BucketGranted) and entry.unit == "TOKEN"]
        assert len(granted) == boundary + 1


def test_litellm_a_large_max_tokens_does_not_pin_the_budget() -> None:
    """A hundred agents, each with a max_tokens of the whole balance, all get their first window."""
    ledger = Ledger()
    ledger.grant(100 * WINDOW * UNIT)
    for _ in range(100):
        answer = ledger.ask(ledger.create_command(0, 100 * WINDOW, metered=True))
        assert isinstance(answer, Granted)
        assert answer.output_granted == WINDOW


def test_litellm_the_last_of_a_budget_is_not_admitted_twice() -> None:
    ledger = Ledger()
    ledger.grant(15 * UNIT)
    answers = [ledger.ask(ledger.create_command(5, 5)) for _ in range(3)]
    assert [isinstance(answer, Granted) for answer in answers] == [True, False, False]


def test_one_api_a_vendor_call_that_fails_gives_everything_back() -> None:
    ledger = Ledger()
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(40, 60)
    settled = ledger.ask(release_command(charging_id, 2, usage(), close_cause=CloseCause.VENDOR_ERROR))
    assert isinstance(settled, Settled)
    assert (settled.charged, settled.debt) == (0, 0)
    assert ledger.amounts(bucket) == (100 * UNIT, 0, 0, 0)


def test_one_api_an_edge_that_dies_leaves_no_quota_reserved() -> None:
    ledger = Ledger()
    bucket = ledger.grant(100 * UNIT)
    ledger.create(40, 60)
    ledger.pass_time(TCC_US)
    ledger.event(usage())
    assert ledger.amounts(bucket) == (100 * UNIT, 0, 0, 0)


def test_new_api_a_disconnect_is_charged_what_was_made_neither_nothing_nor_all() -> None:
    ledger = Ledger()
    bucket = ledger.grant(100 * UNIT)
    charging_id, granted = ledger.create(10, 60)
    assert granted.output_granted == 60
    ledger.ask(release_command(charging_id, 2, usage(input=10, output=7), close_cause=CloseCause.CLIENT_GONE))
    assert ledger.amounts(bucket) == (83 * UNIT, 0, 17 * UNIT, 0)


def test_new_api_a_rich_account_is_reserved_like_any_other() -> None:
    """No trust threshold: of 300 calls at once exactly those pass that the balance covers."""
    ledger = Ledger()
    ledger.grant(158 * 100 * UNIT)
    answers = [ledger.ask(ledger.create_command(50, 50)) for _ in range(300)]
    assert sum(isinstance(answer, Granted) for answer in answers) == 158


def test_lago_a_top_up_sent_twice_is_one() -> None:
    ledger = Ledger()
    assert ledger.grant(UNIT, key="same").bucket_id == ledger.grant(UNIT, key="same").bucket_id
    assert len(ledger.state.buckets) == 1


def test_a_sweep_and_a_late_release_charge_once_together() -> None:
    ledger = Ledger()
    bucket = ledger.grant(100 * UNIT)
    charging_id, _ = ledger.create(10, 60)
    ledger.update(charging_id, 2, usage(input=10, output=5), 60)
    ledger.pass_time(TCC_US + SECOND)
    ledger.release(charging_id, 3, usage(input=10, output=9))
    assert ledger.amounts(bucket) == (81 * UNIT, 0, 19 * UNIT, 0)
    # And the late one, repeated, is an answer and no charge.
    ledger.unchanged_by(release_command(charging_id, 3, usage(input=10, output=9)))


def test_an_agent_s_burst_that_only_meets_held_balance_is_told_so() -> None:
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    first, _ = ledger.create(50, 50)
    refused = ledger.ask(ledger.create_command(50, 50))
    assert isinstance(refused, Refused)
    assert refused.held
    ledger.release(first, 2, usage(input=10))
    assert isinstance(ledger.ask(ledger.create_command(40, 50)), Granted)
    # Without anybody's hold in the way it is the balance that is short.
    poor = Ledger()
    poor.grant(UNIT)
    refused = poor.ask(poor.create_command(50, 50))
    assert isinstance(refused, Refused)
    assert not refused.held


def test_free5gc_a_rating_that_fails_is_not_a_price_of_one() -> None:
    """A model without a rate is refused; nothing is charged at a made-up price."""
    ledger = Ledger()
    ledger.grant(100 * UNIT)
    refused = ledger.ask(ledger.create_command(5, 5, model="unrated"))
    assert isinstance(refused, Refused)
    assert ledger.last_entries == []


def test_bifrost_a_subscription_bought_on_several_replicas_is_bought_once() -> None:
    """The same order, sent to whichever owner answers, is one order by its key."""
    shopper = Shopper(for_sale("monthly", allowance(10), price=UNIT, cycle=MONTHLY), base=offering({"flat": flat(EACH)}))
    shopper.money(5, valid_for_us=100 * DAY)
    orders = {shopper.order("monthly", Payment.PREPAID, key="from-the-shop").order_id for _ in range(3)}
    assert len(orders) == 1
    assert shopper.free[CNY] == 4


def test_cgrates_settlements_at_a_third_of_a_unit_do_not_drift() -> None:
    """In binary fractions 10 million of them are off; `python -m tests.accounting.settlements 10000000` runs them all."""
    assert settle_thirds(100_000) == 0
