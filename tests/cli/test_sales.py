"""Selling from the command line, against a running system: what is bought is used, and the bill is right."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from services.cli.amounts import format_amount
from tests.cli.processes import Up, run, up

UNIT = 1_000_000
FIRST_RELEASE = Path(__file__).parents[1] / "accounting" / "data" / "first_release.sqlite3"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture
def ask(system: Up) -> Callable[..., Any]:
    """What a command that succeeds prints as JSON."""

    def ask(*arguments: str) -> Any:
        done = run(*arguments, "--data-dir", str(system.data_dir), "--output", "json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    return ask


def subscriber(system: Up, ask: Callable[..., Any], account_id: str) -> openai.OpenAI:
    api_key = ask("key", "create", "--account", account_id)["api_key"]
    return openai.OpenAI(base_url=system.demo.base_url, api_key=api_key, max_retries=0)


def say(client: openai.OpenAI, model: str, max_tokens: int = 8) -> Any:
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": "Hello"}], max_tokens=max_tokens)


def test_a_package_is_bought_with_money_used_and_billed(system: Up, ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    money = ["--amount", "30", "--unit", "CURRENCY", "--currency", "CNY", "--valid-days", "365", "--idempotency-key", "money"]
    ask("account", "topup", account_id, *money)
    buy = ["offering", "order", "personal-10m", "--account", account_id, "--payment", "prepaid", "--idempotency-key", "first"]
    order = ask(*buy)
    assert (order["state"], order["amount"], order["currency"]) == ("completed", 9_900_000, "CNY")
    assert ask(*buy) == order
    assert order["amounts_in"] == "micro_units"
    assert "amount: 9.9 CNY\n" in run(*buy, "--data-dir", str(system.data_dir)).output
    answer = say(subscriber(system, ask, account_id), "deepseek-v4-flash")
    used = answer.usage.total_tokens
    shown = ask("account", "show", account_id)
    buckets = {bucket["currency"] or bucket["unit"]: bucket for bucket in shown["buckets"]}
    assert (buckets["TOKEN"]["granted"], buckets["TOKEN"]["consumed"]) == (10_000_000 * UNIT, used * UNIT)
    assert (buckets["CNY"]["consumed"], buckets["CNY"]["remaining"]) == (9_900_000, 20_100_000)
    (subscription,) = shown["subscriptions"]
    assert (subscription["offering_id"], subscription["state"], subscription["cycle_number"]) == ("personal-10m", "active", 1)

    # A part of the charge is given back, a part of the package given away, and the rest moves to a larger one.
    receipt = next(entry for entry in journal(system, "--account", account_id) if entry["fact"] == "session_settled")
    refund = ["--charging-id", receipt["charging_id"], "--sequence-number", str(receipt["sequence_number"]), "--amount", "1"]
    refund += ["--valid-days", "30", "--reason", "a test", "--idempotency-key", "refund"]
    assert ask("account", "refund", account_id, *refund)["granted"] == UNIT
    assert "granted: 1 TOKEN\n" in run("account", "refund", account_id, *refund, "--data-dir", str(system.data_dir)).output
    other_id = ask("account", "create")["account_id"]
    gift = ["--to", other_id, "--bucket", buckets["TOKEN"]["bucket_id"], "--amount", "1000", "--idempotency-key", "gift"]
    for _ in range(50):
        state = ask("account", "transfer", account_id, *gift)["state"]
        if state == "confirmed":
            break
    assert state == "confirmed"
    assert ask("account", "show", other_id)["buckets"][0]["remaining"] == 1_000 * UNIT
    change = ["--account", account_id, "--offering", "personal-30m", "--payment", "prepaid", "--idempotency-key", "larger"]
    assert ask("subscription", "change", subscription["subscription_id"], *change)["state"] == "completed"
    shown = ask("account", "show", account_id)
    assert shown["subscriptions"][0]["next_offering_id"] == "personal-30m"
    ask("subscription", "cancel", subscription["subscription_id"], "--account", account_id)
    assert ask("account", "show", account_id)["subscriptions"][0]["next_offering_id"] is None
    # The rest of it is refunded, and comes back as money.
    end = ["--account", account_id, "--reason", "moved away", "--idempotency-key", "refund"]
    returned = ask("subscription", "refund", subscription["subscription_id"], *end)
    assert (returned["currency"], returned["outside_amount"], returned["payment_references"]) == ("CNY", 0, [])
    assert 8_900_000 < returned["amount"] < 9_700_000
    (state,) = [each["state"] for each in ask("account", "show", account_id)["subscriptions"]]
    assert state == "ended"
    assert ask("audit")["breaches"] == []


def test_an_order_paid_outside_waits_until_it_is_paid(ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    buy = ["offering", "order", "pack-400k", "--account", account_id, "--payment", "external", "--idempotency-key", "pack"]
    order = ask(*buy)
    assert (order["state"], order["bucket_ids"]) == ("awaiting_payment", [])
    paid = ask("order", "pay", order["order_id"], "--account", account_id, "--reference", "till 7")
    assert (paid["state"], len(paid["bucket_ids"]), paid["remark"]) == ("completed", 1, "till 7")
    end = ["--account", account_id, "--reason", "moved away", "--idempotency-key", "refund"]
    returned = ask("order", "refund", order["order_id"], *end)
    # The day of the order is used.
    assert (returned["amount"], returned["outside_amount"], returned["payment_references"]) == (966_666, 966_666, ["till 7"])
    second = ask(*buy[:-1], "second pack")
    assert ask("order", "cancel", second["order_id"], "--account", account_id, "--reason", "changed his mind")["state"] == "failed"


def test_what_cannot_be_bought_says_why(system: Up, ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    buy = ["offering", "order", "personal-10m", "--account", account_id, "--payment", "prepaid", "--idempotency-key", "poor"]
    done = run(*buy, "--data-dir", str(system.data_dir))
    assert done.exit_code != 0
    assert "9.9 CNY are missing: top up, or pay another way" in done.output
    done = run("account", "create", "--offering", "pack-400k", "--data-dir", str(system.data_dir))
    assert "open the account without it, then order it" in done.output


def test_a_limit_refuses_and_the_refusal_can_be_asked_about(system: Up, ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create", "--offering", "chat-basic")["account_id"]
    ask("offering", "order", "free-daily", "--account", account_id, "--idempotency-key", "free")
    client = subscriber(system, ask, account_id)
    with pytest.raises(openai.RateLimitError) as raised:
        for _ in range(12):
            say(client, "qwen-flash")
    assert raised.value.code == "rate_limit_exceeded"
    assert int(raised.value.response.headers["retry-after-ms"]) > 0
    refusal = ask("refusal", raised.value.response.headers["x-request-id"])
    assert (refusal["result_code"], refusal["limit_id"], refusal["account_id"]) == (
        "RATE_LIMITED",
        "requests@account",
        account_id,
    )
    assert "lets it pass after" in refusal["help"]

    # A budget set by hand.
    def budget(units: int) -> str:
        return json.dumps([{"limit_id": "budget", "usage": units, "unit": "TOKEN"}])

    other_id = ask("account", "create")["account_id"]
    ask("account", "topup", other_id, "--amount", "1000", "--unit", "TOKEN", "--valid-days", "1", "--idempotency-key", "t")
    ask("account", "limit", other_id, "--limits", budget(5))
    client = subscriber(system, ask, other_id)
    with pytest.raises(openai.APIStatusError, match="budget@account") as spent:
        say(client, "qwen-flash")
    assert (spent.value.status_code, spent.value.code) == (402, "insufficient_quota")
    assert ask("refusal", spent.value.response.headers["x-request-id"])["help"] == "Raise the limit budget@account."
    ask("account", "limit", other_id, "--limits", budget(500))
    used = say(client, "qwen-flash").usage
    assert used is not None
    assert ask("account", "show", other_id)["counters"][0]["used"] == used.total_tokens * UNIT


def test_a_bundle_goes_on_with_a_cheaper_model_when_it_is_used_up(system: Up, ask: Callable[..., Any]) -> None:
    """The free tier sells economical models alone; it pays for the one that the bundle's offering names for its end."""
    account_id = ask("account", "create", "--external-id", "line-1")["account_id"]
    ask("grant", "add", "broadband-bundle", "--external-id", "line-1", "--idempotency-key", "bundle")
    ask("offering", "order", "free-daily", "--account", account_id, "--idempotency-key", "free")
    client = subscriber(system, ask, account_id)
    assert say(client, "deepseek-v4-pro").model == "deepseek-v4-pro"
    bundle = next(each for each in ask("account", "show", account_id)["buckets"] if each["granted"] == 5_000_000 * UNIT)
    rest = f"{bundle['remaining'] / UNIT:f}"
    take = ["--bucket", bundle["bucket_id"], "--amount", rest, "--reason", "a test", "--idempotency-key", "take"]
    assert ask("account", "reduce", account_id, *take) == {
        "amounts_in": "micro_units",
        "bucket_id": bundle["bucket_id"],
        "amount": bundle["remaining"],
    }
    assert say(client, "deepseek-v4-pro").model == "qwen-flash"


def journal(system: Up, *arguments: str) -> list[dict[str, Any]]:
    done = run("journal", *arguments, "--data-dir", str(system.data_dir), "--output", "json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_the_journal_is_read_by_account_by_call_and_by_time(system: Up, ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    ask("account", "topup", account_id, "--amount", "500", "--unit", "TOKEN", "--valid-days", "1", "--idempotency-key", "t")
    client = subscriber(system, ask, account_id)
    answer = client.chat.completions.with_raw_response.create(
        model="qwen-flash", messages=[{"role": "user", "content": "Hello"}], max_tokens=5
    )
    facts = [entry["fact"] for entry in journal(system, "--account", account_id)]
    assert facts == ["account_opened", "bucket_granted", "session_created", "session_settled"]
    administrator = {"subject": "administrator", "proof": "admin_token", "role": "operator"}
    actors = [entry["actor"] for entry in journal(system, "--account", account_id)]
    assert actors == [administrator, administrator, None, None]
    of_call = journal(system, "--session", answer.headers["x-request-id"])
    assert [entry["fact"] for entry in of_call] == ["session_created", "session_settled"]
    assert {entry["account_id"] for entry in of_call} == {account_id}
    assert journal(system, "--account", account_id, "--until", "2020-01-01T00:00:00Z") == []
    assert len(journal(system, "--account", account_id, "--from", "2020-01-01T00:00:00+08:00")) == 4
    printed = run("journal", "--account", account_id, "--data-dir", str(system.data_dir)).output
    opened, granted, *of_the_call = printed.splitlines()
    assert "  account_opened by administrator (admin_token, operator)  offering_id=" in opened
    assert "  bucket_granted by administrator (admin_token, operator)  bucket_id=" in granted
    assert [line.count(" by ") for line in of_the_call] == [0, 0]
    assert "must say its zone" in run("journal", "--from", "2020-01-01T00:00:00", "--data-dir", str(system.data_dir)).output


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ('[{"limit_id": "day", "usage": "many", "unit": "TOKEN"}]', "usage must be a number"),
        ('[{"limit_id": 5, "usage": 5, "unit": "TOKEN"}]', "limit_id must be text; it is 5"),
        ('[{"limit_id": "day", "use": 5}]', "use is no known field"),
    ],
)
def test_a_limit_that_can_not_be_read_is_told_what_would_be_right(limits: str, said: str) -> None:
    refused = run("account", "limit", "acct-1", "--limits", limits, TOKENLINE_URL="http://127.0.0.1:9", TOKENLINE_TOKEN="none")
    assert (refused.exit_code, said in refused.output, "Expected" in refused.output) == (2, True, False), refused.output


def test_who_gave_a_command_what_it_changed_and_why_is_told(system: Up, ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    topup = ("--amount", "500.5", "--unit", "TOKEN", "--valid-days", "1", "--idempotency-key", "t")
    bucket_id = ask("account", "topup", account_id, *topup)["bucket_id"]
    ask("account", "limit", account_id, "--limits", '[{"limit_id": "day", "usage": 5, "unit": "TOKEN"}]')
    ask(
        "account", "reduce", account_id, "--bucket", bucket_id, "--amount", "0.5", "--reason", "a mistake", "--idempotency-key", "r"
    )
    order = ask("offering", "order", "personal-10m", "--account", account_id, "--payment", "external", "--idempotency-key", "o")
    of_account = ("acts", "--account", account_id, "--data-dir", str(system.data_dir))
    opened, granted, limited, reduced, ordered = run(*of_account).stdout.rstrip().splitlines()[-5:]
    for line, words in (
        (opened, ("administrator (admin_token, operator)", "account opened", "offering id default")),
        (granted, ("bucket granted", f"bucket id {bucket_id}", "amount 500.5 TOKEN")),
        (limited, ("limits set", "subject account", "day: 5 TOKEN in all")),
        (reduced, ("bucket reduced", f"bucket id {bucket_id}", "amount 0.5 TOKEN", "a mistake")),
        (ordered, ("order placed", "payment method EXTERNAL", "amount 9.9 CNY")),
    ):
        assert all(word in line for word in (account_id, *words)), line
    told = json.loads(run(*of_account, "--actor", "administrator", "--output", "json").stdout)
    assert [act["fact"] for act in told["data"]] == [
        "account_opened",
        "bucket_granted",
        "limits_set",
        "bucket_reduced",
        "order_placed",
    ]
    for nobody in (("--actor", "somebody"), ("--until", "2020-01-01T00:00:00Z"), ("--from", "2999-01-01T00:00:00Z")):
        assert json.loads(run(*of_account, *nobody, "--output", "json").stdout)["data"] == []
    ask("order", "pay", order["order_id"], "--account", account_id, "--reference", "bank")
    ended = (order["subscription_id"], "--account", account_id, "--reason", "moved", "--idempotency-key", "s")
    back = ask("subscription", "refund", *ended)["amount"]
    shown = run(*of_account).stdout
    # Entries that came later than their unit do not repeat it.
    for told_of in (
        "price 9.9 CNY",
        f"returned amount {format_amount(back)} CNY, returned outside amount ",
        "payment references bank",
    ):
        assert told_of in shown, shown
    assert "UNIT_" not in shown


def test_the_journal_of_a_system_that_is_down_is_read_from_its_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    with up(tmp_path_factory.mktemp("data")) as running:
        before = journal(running)
        data_dir = running.data_dir
        running.stop()
    done = run("journal", "--data-dir", str(data_dir), "--output", "json")
    assert [json.loads(line) for line in done.stdout.splitlines()] == before
    itself = {"subject": "tokenline up", "proof": "local_socket", "role": "service"}
    assert [(entry["fact"], entry["actor"]) for entry in before] == [("account_opened", itself), ("bucket_granted", itself)]


def test_who_gave_the_commands_of_the_first_release_is_unknown(tmp_path: Path) -> None:
    shutil.copy(FIRST_RELEASE, tmp_path / "accounting.sqlite3")
    lines = run("journal", "--data-dir", str(tmp_path)).output.splitlines()
    by = Counter(re.findall(r"  acct-\w+  (\w+)(?: by (\w+))?  ", "\n".join(lines)))
    assert by.total() == len(lines)
    assert by[("account_opened", "unknown")] == 2
    assert {fact for fact, who in by if who == "unknown"} == {"account_opened", "bucket_granted"}
    of_nobody = {"bucket_expired", "debt_repaid", "session_created", "session_settled", "session_updated"}
    assert {fact for fact, who in by if not who} == of_nobody
    entries = [json.loads(line) for line in run("journal", "--data-dir", str(tmp_path), "--output", "json").output.splitlines()]
    assert [entry["actor"] for entry in entries] == [None] * len(lines)
