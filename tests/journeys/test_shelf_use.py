"""Plans whose sellers say how they may be used: windows, seats, teams, agents and free tiers, as operators sell them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from openai import APIStatusError

from tests.journeys.shelf import INPUT, MICRO, OUTPUT, Customer, Shop, selling

CHINA = ZoneInfo("Asia/Shanghai")
# The coding plan's tokens in five hours, a week and a month. A copy of it for each has a thousand there, and all else as shipped.
SIZES = {"hours": "usage: 12000000", "week": "usage: 90000000", "month": "amount: 300000000"}


def _smaller(branch: str, text: str) -> str:
    """The branch's catalog, with smaller copies of the plans that no test uses up."""
    _, offering, rest = text.partition("  - offering_id: ")
    if branch == "coding-plan":
        plan = offering + rest.partition("\n\n")[0] + "\n"
        for name, size in SIZES.items():
            text += plan.replace(": coding-plan\n", f": coding-plan-{name}\n").replace(size, f"{size.partition(' ')[0]} 1000")
        seats = offering + rest.partition(offering)[2]
        text += seats.replace(": coding-plan-5-seats\n", ": small-seats\n").replace("usage: 1200,", "usage: 2,")
    if branch == "enterprise-pool":
        pool = (offering + rest).replace(": enterprise-pool-5b\n", ": small-pool\n").replace("amount: 5000000000", "amount: 20")
        # On the month's last day a prorated pool of 20 tokens would have none.
        text += pool.replace(", first_cycle: prorated", "")
    return text


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with selling(tmp_path_factory.mktemp("use"), _smaller) as opened:
        yield opened


def _uses_960_of_a_thousand(customer: Customer) -> APIStatusError:
    """The refusal of a fifth call, each of 10 tokens of input and 230 of output."""
    for _ in range(4):
        customer.calls("deepseek-v4-pro", output=230)
    with pytest.raises(APIStatusError) as refused:
        customer.calls("deepseek-v4-pro", output=230)
    (bucket,) = customer.balance()["buckets"]
    assert bucket["consumed"] == 4 * (10 + 230) * MICRO
    total, price = customer.total("TOKEN"), customer.total("CNY")
    assert (total["calls"], total["balance"]) == (4, 960 * MICRO)
    assert (price["charges"], price["outside"]) == (199 * MICRO, 199 * MICRO)
    return refused.value


@pytest.mark.parametrize(("plan", "limit_id"), [("hours", "five-hours"), ("week", "week")])
def test_the_first_window_to_be_full_refuses_and_says_until_when(shop: Shop, plan: str, limit_id: str) -> None:
    customer = shop.buys(f"coding-plan-{plan}", "external")
    refused = _uses_960_of_a_thousand(customer)
    assert (refused.status_code, refused.code) == (429, "usage_limit_reached")
    assert f"The limit {limit_id}@account leaves 40 TOKEN, less than this request needs; its window ends in" in refused.message
    windows = {each["limit_id"]: each for each in customer.usage()["limits"] if each["kind"] == "usage"}
    # One use counts in both windows, and the month's tokens beside them.
    assert {name: each["used"] for name, each in windows.items()} == {"five-hours": 960 * MICRO, "week": 960 * MICRO}
    assert windows[limit_id]["remaining"] == 40 * MICRO
    begin, end = (datetime.fromisoformat(windows[limit_id][name]) for name in ("window_start", "resets_at"))
    # Five hours begin with the first call, a week with its Monday.
    assert end - begin == (timedelta(hours=5) if plan == "hours" else timedelta(days=7))
    monday = end.astimezone(CHINA)
    assert plan == "hours" or (monday.weekday(), monday.hour, monday.minute) == (0, 0, 0)
    assert isinstance(refused.body, dict)
    assert 0 <= refused.body["resets_at"] - end.timestamp() <= 1


def test_a_month_of_a_coding_plan_ends_with_its_tokens_until_it_renews(shop: Shop) -> None:
    customer = shop.buys("coding-plan-month", "external")
    refused = _uses_960_of_a_thousand(customer)
    assert (refused.status_code, refused.code) == (402, "insufficient_quota")
    assert "40 TOKEN are left" in refused.message
    (cycle,) = customer.usage()["cycles"]
    begin, end = (datetime.fromisoformat(cycle[name]).astimezone(CHINA) for name in ("cycle_start", "renews_at"))
    assert (end.year * 12 + end.month) - (begin.year * 12 + begin.month) == 1
    # What is bought beside it goes on, and windows hold for it too.
    assert customer.order("pack-400k", "phone_bill", "more")["state"] == "awaiting_payment"


def test_each_seat_has_credits_and_windows_of_its_own(shop: Shop) -> None:
    team = shop.buys("coding-plan-5-seats", "external")
    ana, ben = team.member("Ana"), team.member("Ben")
    # 3 credits for 1,000 tokens of input and 8 of output: 0.03 and 0.16.
    charging_id = ana.calls("deepseek-v4-pro")
    assert ana.receipt(charging_id)["charged_amount"] == 10 * 3_000 + 20 * 8_000
    (bucket,) = ben.balance()["buckets"]
    assert (bucket["unit"], bucket["granted"], bucket["consumed"]) == ("POINT", 5 * 25_000 * MICRO, 190_000)
    left = {
        who: {each["limit_id"]: each["used"] for each in who.usage()["limits"] if each["kind"] == "usage"} for who in (ana, ben)
    }
    assert left[ana] == dict.fromkeys(("seat-five-hours", "seat-week", "seat-month"), 190_000)
    assert left[ben] == dict.fromkeys(("seat-five-hours", "seat-week", "seat-month"), 0)
    total, price = team.total("POINT"), team.total("CNY")
    assert (total["balance"], price["outside"]) == (190_000, 990 * MICRO)


def test_one_seats_use_takes_nothing_from_anothers(shop: Shop) -> None:
    team = shop.buys("small-seats", "external")
    ana, ben = team.member("Ana"), team.member("Ben")
    # 0.03 + 200 x 0.008 = 1.63 credits; another such call would be more than the 2 that a seat has.
    ana.calls("deepseek-v4-pro", output=200)
    with pytest.raises(APIStatusError, match=f"seat-five-hours@member:{ana.member_id} leaves 0.37 POINT"):
        ana.calls("deepseek-v4-pro", output=200)
    ben.calls("deepseek-v4-pro", output=200)
    assert team.total("POINT")["balance"] == 2 * 1_630_000


def test_a_teams_statement_tells_its_members_and_programs_apart(shop: Shop) -> None:
    team = shop.buys("team-200m", "external")
    ana, ben = team.member("Ana"), team.member("Ben")
    erp = ben.with_key("ERP", ben.member_id)
    for customer, letters in ((ana, 40), (ben, 80), (erp, 120)):
        customer.calls("deepseek-v4-pro", letters=letters)
    told = {(each["member_id"], each["key_id"]): (each["calls"], each["amount"]) for each in team.statement("member,key")["usage"]}
    assert told == {
        (ana.member_id, ana.key_id): (1, 30 * MICRO),
        (ben.member_id, ben.key_id): (1, 40 * MICRO),
        (ben.member_id, erp.key_id): (1, 50 * MICRO),
    }
    (of_ben,) = (each["used"] for each in ben.usage()["limits"] if each["limit_id"] == "member-month")
    assert of_ben == 90 * MICRO
    total, price = team.total("TOKEN"), team.total("CNY")
    assert (total["calls"], total["balance"], price["outside"]) == (3, 120 * MICRO, 169 * MICRO)


def test_beyond_its_pool_an_enterprise_pays_the_contracts_price_by_invoice(shop: Shop) -> None:
    customer = shop.buys("small-pool", "external")
    receipt = customer.receipt(customer.calls("deepseek-v4-pro"))
    # Of 30 tokens 20 are in the pool. 10 of output at 0.7 dollars a million, a dollar 7.1 yuan: 49.7 micro-yuan, rounded up.
    charged = {each["currency"] or each["unit"]: each["amount"] for each in receipt["charges"]}
    assert charged == {"TOKEN": 20 * MICRO, "CNY": 50}
    assert {each["tariff_id"] for each in receipt["records"]} == {"token-flat", "enterprise-contract"}
    total = customer.total("CNY")
    assert (total["usage"], total["credit_line"]) == (50, 50)


def test_an_agent_on_a_dedicated_line_has_a_budget_and_a_life_of_its_own(shop: Shop) -> None:
    office = shop.buys("government-line", None).with_key("office", scopes=["keys:mint"])
    agent = office.mint(tokens=100, valid_seconds=3_600)
    agent.calls("line-deepseek-v4-pro")
    # 70 are left of the agent's: less than 10 of input and the 64 of output below which an answer is of no use.
    with pytest.raises(APIStatusError, match=f"budget-TOKEN@key:{agent.key_id} leaves 70 TOKEN"):
        agent.calls("line-deepseek-v4-pro", output=1_000)
    office.calls("line-deepseek-v4-pro")
    run = office.runs()[agent.key_id]
    assert (run["calls"], run["budget"][0]["used"]) == (1, 30 * MICRO)
    assert datetime.fromisoformat(run["ends_at"]) - datetime.fromisoformat(run["created_at"]) == timedelta(hours=1)
    told = {each["key_id"]: each["amount"] for each in office.statement("key")["usage"]}
    assert told == {office.key_id: 30 * MICRO, agent.key_id: 30 * MICRO}
    assert office.total("TOKEN")["balance"] == 60 * MICRO


def test_a_free_tier_has_its_day_and_then_names_what_can_be_bought(shop: Shop) -> None:
    customer = shop.buys("free-daily", None)
    with pytest.raises(AssertionError, match="not_possible"):
        customer.order("free-daily", None, "again")
    with pytest.raises(APIStatusError, match="plan does not hold model deepseek-v4-pro: what is left, 50,000 TOKEN of free-daily,"):
        customer.calls("deepseek-v4-pro")
    customer.calls("qwen-flash", output=32_758)
    # 17,232 are left of the day. Answers that would need more end where they do, and too little for one is refused.
    used = 10 + 32_758
    with pytest.raises(APIStatusError) as refused:
        while True:
            cut = customer.sdk.chat.completions.create(
                model="qwen-flash",
                messages=[{"role": "user", "content": "x" * 40}],
                max_tokens=20_000,
                extra_body={"simulate": {"output_tokens": 20_000}},
            )
            assert (cut.choices[0].finish_reason, cut.usage is not None) == ("length", True)
            used += cut.usage.total_tokens if cut.usage else 0
    assert f"and {50_000 - used:,} TOKEN are left" in refused.value.message
    assert refused.value.status_code == 402
    assert refused.value.response.headers["x-should-retry"] == "false"
    order = customer.order("pack-400k", "external", "pack")
    path = f"/accounts/{customer.account_id}/orders/{order['order_id']}/payment"
    assert shop.admin("POST", path, {"payment_reference": "bank-1"})["state"] == "completed"
    # A tier is bought beside it, and sells the models that the free one does not.
    charging_id = customer.calls("deepseek-v4-pro")
    assert customer.receipt(charging_id)["records"][0]["offering_id"] == "pack-400k"
    total, price = customer.total("TOKEN"), customer.total("CNY")
    assert (total["balance"], price["outside"]) == ((used + INPUT + OUTPUT) * MICRO, 1 * MICRO)
