"""One call from its request to its bill, as the command line tells it of a running system and of one that is down."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import openai
import pytest
from rich.console import Console

from services.cli.explain import explained_tables
from services.partitions import partition_of
from tests.cli.processes import Up, run, up

UNIT = 1_000_000
NEVER_MADE = "01980000-0000-7000-8000-000000000000"


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


def account_with(ask: Callable[..., Any], tokens: str) -> str:
    account_id: str = ask("account", "create")["account_id"]
    ask("account", "topup", account_id, "--amount", tokens, "--unit", "TOKEN", "--valid-days", "9", "--idempotency-key", "t")
    return account_id


def call(system: Up, ask: Callable[..., Any], account_id: str, output_tokens: int, max_tokens: int = 20_000) -> str:
    """The charging_id of a streamed call that came to its end."""
    client = openai.OpenAI(
        base_url=system.demo.base_url, api_key=ask("key", "create", "--account", account_id)["api_key"], max_retries=0
    )
    streamed = client.chat.completions.with_raw_response.create(
        model="deepseek-chat",
        messages=[{"role": "user", "content": "Hello!"}],
        max_tokens=max_tokens,
        stream=True,
        extra_headers={"x-tokenline-run": "nightly"},
        extra_body={"simulate": {"output_tokens": output_tokens, "tokens_per_second": 10_000}},
    )
    for _ in streamed.parse():
        pass
    return str(streamed.headers["x-request-id"])


def printed(call: dict[str, Any]) -> str:
    """The page of a call."""
    console = Console(width=200)
    with console.capture() as captured:
        for each in explained_tables(call):
            console.print(each)
    return captured.get()


def test_a_call_is_told_from_its_request_to_its_bill(system: Up, ask: Callable[..., Any]) -> None:
    account_id = account_with(ask, "1000000")
    charging_id = call(system, ask, account_id, 5_000)
    told = ask("explain", charging_id)
    assert (told["state"], told["account_id"], told["refusal"], told["refunds"]) == ("settled", account_id, None, [])
    assert told == {**ask("explain", charging_id, "--account", account_id), "receipt": told["receipt"]}
    request = told["request"]
    assert (request["model_id"], request["run_label"], request["offering_id"]) == ("deepseek-chat", "nightly", "default")
    assert (request["unit"], request["reserved_for"]) == ("TOKEN", "worst_case")
    # A chat may have its limit said in two ways, so that the bound is above what was asked for.
    assert request["input_tokens_bound"] >= 2
    assert request["output_tokens_limit"] >= 20_000
    reservation, *extensions = told["grants"]
    assert (reservation["kind"], {each["kind"] for each in extensions}) == ("reservation", {"extension"})
    assert [each["output_tokens_granted"] for each in told["grants"]] == sorted(
        each["output_tokens_granted"] for each in told["grants"]
    )
    assert all(part["unit"] == "TOKEN" and part["amount"] > 0 for grant in told["grants"] for part in grant["hold"])
    receipt = told["receipt"]
    assert receipt["charged_amount"] == (receipt["usage"]["input"] + 5_000) * UNIT
    assert [(each["vendor_id"], each["outcome"], each["http_status"]) for each in receipt["attempts"]] == [
        ("deepseek", "answered", 200)
    ]
    assert told["vendor_charge"]["vendor_id"] == "deepseek"
    (bucket,) = told["buckets"]
    assert (bucket["source"], bucket["unit"]) == ("top-up", "TOKEN")
    assert receipt["records"][0]["debits"] == [{"bucket_id": bucket["bucket_id"], "amount": receipt["charged_amount"]}]

    # The last grant is all that may be paid for; those before it are windows of that.
    assert reservation["output_tokens_granted"] < reservation["output_tokens_payable"] >= 20_000
    # A refund of it is a part of its story, and of no other call's.
    row = str(receipt["records"][0]["sequence_number"])
    refund = ["--charging-id", charging_id, "--sequence-number", row, "--amount", "10", "--valid-days", "9", "--reason", "slow"]
    ask("account", "refund", account_id, *refund, "--idempotency-key", "r")
    assert [(each["unit"], each["amount"]) for each in ask("explain", charging_id)["refunds"]] == [("TOKEN", 10 * UNIT)]
    assert ask("explain", call(system, ask, account_id, 5))["refunds"] == []

    page = " ".join(run("explain", charging_id, "--data-dir", str(system.data_dir)).output.split())
    for said in (
        "state: settled: the vendor finished",
        "usage_is: the vendor's own count",
        "output 5,000 1,000,000 TOKEN 5,000 TOKEN",
        f"bucket {bucket['bucket_id']} (top-up)",
        "refunded: 10 TOKEN as ",
        "owed to deepseek: 0.0021",
    ):
        assert said in page, page
    # Who paid where no bucket did.
    (record,) = receipt["records"]
    lost = {**record, "debt_amount": 3 * UNIT, "absorbed_amount": 2 * UNIT}
    later = {**reservation, "granted_at": str(datetime.fromisoformat(told["requested_at"]) + timedelta(seconds=1.5))}
    other = {
        **told,
        "grants": [later],
        "receipt": {**receipt, "records": [lost]},
    }
    page = " ".join(printed(other).split())
    for said in (
        "3 TOKEN owed: no bucket covers it",
        "1,500 ms reservation",
    ):
        assert said in page, page
    assert "2 TOKEN absorbed by the operator" in page
    # What was not used was counted by nobody.
    unused = {**receipt, "usage": dict.fromkeys(receipt["usage"], 0)}
    assert not any("usage_is" in str(each) for each in explained_tables({**told, "receipt": unused}))


def test_a_call_tells_that_its_plan_reserved_for_the_likely_cost(system: Up, ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    buy = ["--account", account_id, "--payment", "external", "--idempotency-key", "o"]
    order_id = ask("offering", "order", "enterprise-1b", *buy)["order_id"]
    ask("order", "pay", order_id, "--account", account_id, "--reference", "paid")
    charging_id = call(system, ask, account_id, 50, max_tokens=500)
    told = ask("explain", charging_id)
    request, reservation = told["request"], told["grants"][0]
    assert (request["offering_id"], request["reserved_for"]) == ("enterprise-1b", "likely_cost")
    # Each token costs one: the hold is what was reserved for input, and the output that was granted.
    reserved = request["input_tokens_reserved"]
    assert 0 < reserved < request["input_tokens_bound"]
    assert [part["amount"] for part in reservation["hold"]] == [(reserved + reservation["output_tokens_granted"]) * UNIT]
    page = " ".join(run("explain", charging_id, "--data-dir", str(system.data_dir)).output.split())
    assert f"reserved for {reserved:,} tokens" in page, page
    assert "quota for the likely cost" in page


def test_a_refused_call_says_what_it_lacked(system: Up, ask: Callable[..., Any]) -> None:
    account_id = account_with(ask, "10")
    with pytest.raises(openai.APIStatusError) as raised:
        call(system, ask, account_id, 5_000)
    charging_id = raised.value.response.headers["x-request-id"]
    told = ask("explain", charging_id)
    assert (told["state"], told["account_id"], told["request"], told["grants"]) == ("refused", account_id, None, [])
    refusal = told["refusal"]
    assert (refusal["result_code"], refusal["free"]) == ("QUOTA_LIMIT_REACHED", 10 * UNIT)
    assert refusal["short"] == refusal["needed"] - refusal["free"] > 0
    page = run("explain", charging_id, "--data-dir", str(system.data_dir)).output
    assert "state: refused\n" in page
    assert "free: 10 TOKEN\n" in page
    assert "help: Top up the account" in page


def test_a_call_that_is_not_known_is_a_no(system: Up, ask: Callable[..., Any]) -> None:
    account_id = account_with(ask, "100000")
    charging_id = call(system, ask, account_id, 5)
    partitions = len(ask("owners")["data"])
    # Another account of the same partition, where the call is found.
    others = (ask("account", "create")["account_id"] for _ in range(500))
    of_another = next(each for each in others if partition_of(each, partitions) == partition_of(account_id, partitions))
    for arguments in ([NEVER_MADE], [charging_id, "--account", of_another]):
        done = run("explain", *arguments, "--data-dir", str(system.data_dir))
        assert (done.exit_code, "Nothing is known of call" in done.output) == (1, True), done.output
    assert "is no charging_id" in run("explain", "yesterday", "--data-dir", str(system.data_dir)).output
    # Said before anything is asked: nobody is at this address.
    done = run("explain", "../../accounts", TOKENLINE_URL="http://127.0.0.1:9", TOKENLINE_TOKEN="none")
    assert (done.exit_code, "'../../accounts' is no charging_id" in done.output) == (2, True), done.output


def test_an_open_call_is_told_as_far_as_it_has_come(system: Up, ask: Callable[..., Any]) -> None:
    account_id = account_with(ask, "100000")
    client = openai.OpenAI(base_url=system.demo.base_url, api_key=ask("key", "create", "--account", account_id)["api_key"])
    body = {"simulate": {"output_tokens": 500, "tokens_per_second": 1}}
    with client.chat.completions.with_streaming_response.create(
        model="deepseek-chat", messages=[{"role": "user", "content": "Hello!"}], stream=True, max_tokens=500, extra_body=body
    ) as streamed:
        told = ask("explain", streamed.headers["x-request-id"])
    assert (told["state"], told["receipt"], len(told["grants"])) == ("open", None, 1)
    assert explained_tables(told)


def test_a_system_that_is_down_tells_the_same(tmp_path_factory: pytest.TempPathFactory) -> None:
    data_dir = tmp_path_factory.mktemp("down")

    def asked(*arguments: str) -> Any:
        return json.loads(run(*arguments, "--data-dir", str(data_dir), "--output", "json").stdout)

    with up(data_dir) as running:
        charging_id = call(running, asked, account_with(asked, "100000"), 50)
        before = asked("explain", charging_id)
    after = asked("explain", charging_id)
    # The record may have been exported meanwhile.
    (record,) = after["receipt"]["records"]
    before["receipt"]["records"][0]["record_number"] = record["record_number"]
    assert after == before
    done = run("explain", NEVER_MADE, "--data-dir", str(data_dir))
    assert (done.exit_code, "Nothing is known of call" in done.output) == (1, True), done.output
