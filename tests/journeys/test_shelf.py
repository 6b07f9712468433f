"""Branches sell what operators sell: each plan of infra/regions is bought, used by the official SDK, and found on its statement."""

from collections.abc import Iterator

import pytest
from openai import APIStatusError, NotFoundError

from tests.journeys.shelf import INPUT, MICRO, OUTPUT, Shop, selling


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with selling(tmp_path_factory.mktemp("shelf")) as opened:
        yield opened


@pytest.mark.parametrize(
    ("offering_id", "yuan", "tokens"),
    [
        ("cn-telecom-personal-10m", "9.9", 10_000_000),
        ("cn-telecom-personal-40m", "29.9", 40_000_000),
        ("cn-telecom-personal-80m", "49.9", 80_000_000),
        ("cn-telecom-developer-15m", "39.9", 15_000_000),
        ("cn-telecom-developer-70m", "159.9", 70_000_000),
        ("cn-telecom-developer-150m", "299.9", 150_000_000),
        ("cn-mobile-sh-400k", "1", 400_000),
        ("token-plan-50m", "59", 50_000_000),
        ("token-plan-130m", "149", 130_000_000),
        ("token-plan-380m", "399", 380_000_000),
        ("token-plan-880m", "799", 880_000_000),
        ("team-200m", "169", 200_000_000),
        ("coding-plan", "199", 300_000_000),
    ],
)
def test_a_package_is_paid_used_and_stands_on_the_statement(shop: Shop, offering_id: str, yuan: str, tokens: int) -> None:
    customer = shop.buys(offering_id, "external")
    charging_id = customer.calls("deepseek-v4-pro")
    assert customer.receipt(charging_id)["charged_amount"] == (INPUT + OUTPUT) * MICRO
    (bucket,) = customer.balance()["buckets"]
    assert (bucket["unit"], bucket["granted"], bucket["consumed"]) == ("TOKEN", tokens * MICRO, 30 * MICRO)
    used, paid = customer.total("TOKEN"), customer.total("CNY")
    assert (used["calls"], used["charged"], used["balance"]) == (1, 30 * MICRO, 30 * MICRO)
    whole, _, part = yuan.partition(".")
    assert (paid["charges"], paid["outside"]) == (int(whole) * MICRO + int(part.ljust(6, "0")), paid["charges"])


def test_points_of_a_dearer_model_cost_more_of_them(shop: Shop) -> None:
    for offering_id, points in (("cn-mobile-sh-universal", 400), ("cn-telecom-sh-points", 250)):
        customer = shop.buys(offering_id, "external")
        # 1 point for 1,000 tokens of either side of the economical model; 3 and 8 of the other.
        assert customer.receipt(customer.calls("qwen-flash"))["charged_amount"] == 30_000
        assert customer.receipt(customer.calls("deepseek-v4-pro"))["charged_amount"] == 30_000 + 160_000
        (bucket,) = customer.balance()["buckets"]
        assert (bucket["granted"], bucket["consumed"]) == (points * MICRO, 220_000)


def test_what_exceeds_the_package_goes_on_the_phone_bill_with_its_price(shop: Shop) -> None:
    customer = shop.buys("cn-telecom-sh-10m", "phone_bill")
    by_unit = {bucket["currency"] or bucket["unit"]: bucket for bucket in customer.balance()["buckets"]}
    # The line is whole in a month that has begun; its price is a part by days, and stands on the line.
    assert by_unit["CNY"]["granted"] == 59_900_000
    price = by_unit["CNY"]["consumed"]
    assert 0 < price <= 9_900_000
    customer.calls("qwen-flash")
    assert customer.total("TOKEN")["balance"] == 30 * MICRO
    assert (customer.total("CNY")["charges"], customer.total("CNY")["credit_line"]) == (price, price)


def test_one_key_calls_the_models_of_many_vendors_and_pays_each_by_its_price(shop: Shop) -> None:
    customer = shop.account("cn-mobile-moma")
    customer.pays_in(10)
    charged = [customer.receipt(customer.calls(model)) for model in ("kimi-k2.5", "qwen3-max", "gpt-5.4-mini", "claude-sonnet-4-6")]
    assert all(each["currency"] == "CNY" and each["charged_amount"] > 0 for each in charged)
    assert len({each["charged_amount"] for each in charged}) == 4
    total = customer.total("CNY")
    assert (total["calls"], total["usage"]) == (4, sum(each["charged_amount"] for each in charged))


def test_a_blended_price_is_that_of_all_tokens_together(shop: Shop) -> None:
    customer = shop.account("cn-unicom-team")
    customer.pays_in(1)
    # Yuan a million tokens, of input and output alike, are micro-yuan a token.
    for model, micro_yuan in (("deepseek-v4-pro", 279), ("deepseek-v4-flash", 21), ("MiniMax-M2.5", 33)):
        assert customer.receipt(customer.calls(model))["charged_amount"] == micro_yuan
    assert customer.total("CNY")["usage"] == 279 + 21 + 33


def test_a_free_trial_has_no_price_and_each_company_has_it_once(shop: Shop) -> None:
    trial, company = "cn-unicom-one-person-30m", "company:91310000MA1FL0000X"
    customer = shop.account()
    assert customer.order(trial, None, "trial", company)["state"] == "completed"
    customer.calls("deepseek-v4-pro")
    (bucket,) = customer.balance()["buckets"]
    assert (bucket["granted"], bucket["consumed"]) == (30_000_000 * MICRO, 30 * MICRO)
    assert customer.total("TOKEN")["balance"] == 30 * MICRO
    second = shop.account()
    for buyer, key in ((customer, "again"), (second, "trial")):
        with pytest.raises(AssertionError, match="not_possible"):
            buyer.order(trial, None, key, company)
    with pytest.raises(AssertionError, match="missing_field"):
        second.order(trial, None, "trial")
    assert second.balance()["buckets"] == []


def test_a_person_has_a_token_plan_once_and_gets_nothing_of_it_back(shop: Shop) -> None:
    person = "phone:+86 139 0000 0001"
    customer, family = shop.account(), shop.account()
    order = customer.order("token-plan-50m", "external", "plan", person)
    # While it waits for its payment nobody else of the person's has it, and after that not either.
    with pytest.raises(AssertionError, match="waits for its payment"):
        family.order("token-plan-50m", "external", "plan", person)
    path = f"/accounts/{customer.account_id}/orders/{order['order_id']}"
    assert shop.admin("POST", f"{path}/payment", {"payment_reference": "bank-1"})["state"] == "completed"
    with pytest.raises(AssertionError, match="has it"):
        family.order("token-plan-50m", "external", "plan", person)
    with pytest.raises(AssertionError, match="without refund"):
        subscription = f"/accounts/{customer.account_id}/subscriptions/{order['subscription_id']}/refund"
        shop.admin("POST", subscription, {"reason": "no need", "idempotency_key": "back"})
    assert family.order("token-plan-50m", "external", "plan", "phone:+86 139 0000 0002")["state"] == "awaiting_payment"


def test_money_is_paid_before_or_at_the_months_end(shop: Shop) -> None:
    before = shop.account("vendor-metered-prepaid")
    before.pays_in(5)
    at_the_end = shop.buys("vendor-metered-monthly", None)
    # 0.6 and 3 dollars a million tokens, at 7.1 yuan.
    amount = 43 + 426
    charged = {customer.receipt(customer.calls("kimi-k2.5"))["charged_amount"] for customer in (before, at_the_end)}
    assert charged == {amount}
    assert (before.total("CNY")["balance"], before.total("CNY")["credit_line"]) == (amount, 0)
    assert (at_the_end.total("CNY")["balance"], at_the_end.total("CNY")["credit_line"]) == (0, amount)


def test_a_merchant_of_the_supermarket_gets_what_the_operators_fees_leave(shop: Shop) -> None:
    customer = shop.account("supermarket-metered")
    customer.pays_in(1)
    before = shop.vendor("moonshot")
    charging_id = customer.calls("kimi-k2.5", letters=40_000, output=2_001)
    # Retail: 0.6 and 3 dollars a million tokens and a tenth, at 7.1 yuan: 4.686 and 23.43 yuan, each amount rounded up.
    assert customer.receipt(charging_id)["charged_amount"] == 46_860 + 46_884
    assert customer.total("CNY")["balance"] == 93_744
    (bucket,) = customer.balance()["buckets"]
    assert bucket["consumed"] == 93_744
    # Wholesale: 6,000 and 6,003 micro-dollars. Fees of 5, 20 and 7.5 % are rounded down, and the merchant gets the rest.
    claimed = {name: amount - before.get(name, 0) for name, amount in shop.vendor("moonshot").items()}
    assert claimed == {"amount": 12_003, "platform_fee": 600, "compute_fee": 2_400, "channel_fee": 900, "net_amount": 8_103}
    assert shop.admin("POST", "/reconcile", {})["differences"] == []


def test_an_ecosystem_partner_gets_an_invoice(shop: Shop) -> None:
    customer = shop.buys("cn-telecom-ecosystem", None)
    assert customer.receipt(customer.calls("kimi-k2.5"))["charged_amount"] == 43 + 426
    assert customer.total("CNY")["credit_line"] == 43 + 426


def test_a_family_shares_one_pool_and_each_member_keeps_to_its_cap(shop: Shop) -> None:
    family = shop.account()
    order = family.order("cn-telecom-sh-family", "phone_bill", "family")
    # The phone bill is another system's; its word that it was paid comes with a reference.
    assert (order["state"], order["amount"], order["currency"]) == ("awaiting_payment", 9_900_000, "CNY")
    paid = shop.admin("POST", f"/accounts/{family.account_id}/orders/{order['order_id']}/payment", {"payment_reference": "bill-1"})
    assert paid["state"] == "completed"
    mother, child = family.member("Mother"), family.member("Child")
    mother.calls("deepseek-v4-pro")
    child.calls("deepseek-v4-pro")
    family.caps(child, 40)
    # A cap counts from when it was set, and no call can be sure to need as little; the mother has none.
    with pytest.raises(APIStatusError, match=f"cap@member:{child.member_id} leaves 40 TOKEN"):
        child.calls("deepseek-v4-pro")
    mother.calls("deepseek-v4-pro")
    family.caps(child, 1_000)
    child.calls("deepseek-v4-pro")
    (bucket,) = family.balance()["buckets"]
    assert (bucket["granted"], bucket["consumed"]) == (10_000_000 * MICRO, 4 * (INPUT + OUTPUT) * MICRO)
    total, price = family.total("TOKEN"), family.total("CNY")
    assert (total["calls"], total["balance"]) == (4, 120 * MICRO)
    assert (price["charges"], price["phone_bill"]) == (9_900_000, 9_900_000)


def test_an_enterprise_has_a_pool_and_credit_at_its_contracts_prices(shop: Shop) -> None:
    customer = shop.buys("enterprise-pool-5b", "external")
    customer.calls("deepseek-v4-pro")
    by_unit = {bucket["currency"] or bucket["unit"]: bucket for bucket in customer.balance()["buckets"]}
    assert by_unit["TOKEN"]["consumed"] == 30 * MICRO
    assert by_unit["CNY"]["granted"] == 53_999 * MICRO


def test_a_dedicated_line_is_sold_to_nobody_else(shop: Shop) -> None:
    customer = shop.buys("government-line", None)
    customer.calls("line-deepseek-v4-pro")
    assert customer.total("TOKEN")["balance"] == 30 * MICRO
    stranger = shop.account("vendor-metered-prepaid")
    stranger.pays_in(5)
    with pytest.raises(NotFoundError):
        stranger.calls("line-deepseek-v4-pro")


def test_a_familys_broadband_brings_tokens_that_its_own_system_grants_and_ends(shop: Shop) -> None:
    line = "宽带 021-5555-0001"
    family = shop.account(external_id=line)
    monthly = {"external_id": line, "offering_id": "family-broadband-5m", "idempotency_key": f"{line} 2026-12"}
    granted = shop.admin("POST", "/grants", monthly)
    assert shop.admin("POST", "/grants", monthly) == granted
    shop.admin("POST", "/grants", {**monthly, "offering_id": "family-broadband-welcome-1m", "idempotency_key": "welcome"})
    charging_id = family.calls("deepseek-v4-pro")
    # The gift burns first.
    assert [(each["granted"] // MICRO, each["consumed"] // MICRO) for each in family.balance()["buckets"]] == [
        (1_000_000, 30),
        (5_000_000, 0),
    ]
    receipt = family.receipt(charging_id)
    (record,) = receipt["records"]
    assert (receipt["charged_amount"], record["offering_id"]) == (30 * MICRO, "family-broadband-welcome-1m")
    for key in ("welcome", f"{line} 2026-12"):
        shop.admin("POST", "/grants/end", {"external_id": line, "idempotency_key": key})
    # The line was given up: what was used stands on the statement, the rest is gone, and nothing was to be paid.
    assert {each["remaining"] for each in family.balance()["buckets"]} == {0}
    total = family.total("TOKEN")
    assert (total["calls"], total["balance"], total["charges"]) == (1, 30 * MICRO, 0)
    with pytest.raises(APIStatusError, match="0 TOKEN are left"):
        family.calls("deepseek-v4-pro")
    # The next line's month begins anew.
    shop.admin("POST", "/grants", {**monthly, "idempotency_key": f"{line} 2027-01"})
    family.calls("qwen-flash")
