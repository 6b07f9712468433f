"""Answers for people: they fit the terminal, IDs stay whole, times have seconds; and errors for programs."""

import json
import shlex

import pytest
from rich.console import Console

from services.cli.limits import limit_words, limits_table
from services.cli.printing import fields_of, table
from tests.cli.processes import run

IDS = ["ord-a6051406e8686d48", "sub-a6051406e8686d48", "acct-5e5c3beb227ed0e2"]
REMARK = "paid at the till of the shop in the high street"


def shown(printed: object, width: int) -> str:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        console.print(printed)
    return captured.get()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_ids_stay_whole_in_every_width(width: int) -> None:
    text = shown(table("Orders", ("order_id", "subscription_id", "account_id", "remark"), [[*IDS, REMARK]]), width)
    assert all(each in text for each in IDS)
    assert all(word in text for word in REMARK.split())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    # A block of lines, where a line of a table has no room for them.
    assert ("  order id: ord-a6051406e8686d48\n" in text) == (width < 80)


def test_a_table_without_rows_says_that_there_are_none() -> None:
    assert shown(table("Charges of a month", ("at",), []), 80) == "Charges of a month: none\n"


def test_times_are_told_to_the_second_in_a_form_that_options_take() -> None:
    answer: dict[str, object] = {
        "created_at": "2026-11-30T08:03:47.160932Z",
        "left_out": None,
        "nothing": [],
        "amounts_in": "micro_units",
    }
    (line,) = fields_of(answer)
    assert str(line) == "created_at: 2026-11-30 08:03:47Z"
    assert "2026-11-30 08:03:47Z" in shown(table("T", ("at",), [["2026-11-30T08:03:47Z"]]), 80)


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ({"request_rate": {"requests_per_minute": "3", "burst": "5"}}, "3 requests a minute, 5 at once"),
        ({"token_rate": {"tokens_per_minute": "30000"}}, "30,000 tokens a minute, 30,000 at once"),
        ({"concurrent_sessions": 2}, "2 calls open at once"),
        (
            {"usage": {"amount": "5500000", "unit": "UNIT_CURRENCY", "currency": "CNY", "calendar_window": "PERIOD_DAY"}},
            "5.5 CNY a day",
        ),
        (
            {"usage": {"amount": "5000000", "unit": "UNIT_TOKEN", "window_seconds": "3600"}},
            "5 TOKEN in 3,600 s from the first call on",
        ),
        ({"usage": {"amount": "5000000", "unit": "UNIT_POINT"}}, "5 POINT in all"),
    ],
)
def test_limits_are_told_in_whole_units(limit: dict[str, object], words: str) -> None:
    assert limit_words(limit) == words
    of_subject = {"subject": "key:k", "limits": [{"limit_id": "l", **limit}], "valid_until": "2027-01-01T00:00:00Z"}
    text = " ".join(shown(limits_table([of_subject]), 120).split())
    assert f"key:k l {words} key:k no call from 2027-01-01 00:00:00Z on" in text


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("account topup acct-1 --amount x --output json", 2, "'x' is not an amount"),
        ("account show --output=json", 2, "Missing argument 'ID'"),
        ("no-such-command --output json", 2, "No such command"),
        ("account show acct-1 --data-dir /nonexistent/folder --output json", 2, "no system is ready in /nonexistent/folder"),
    ],
)
def test_errors_are_json_where_answers_are(command: str, status: int, said: str) -> None:
    done = run(*shlex.split(command))
    error = json.loads(done.stderr)["error"]
    assert (done.exit_code, done.stdout, error["exit_status"], error["code"]) == (status, "", status, None)
    assert said in error["message"]
    # Without the option it is a line for people.
    plain = run(*shlex.split(command.replace("--output json", "").replace("--output=json", "")))
    assert (plain.exit_code, f"Error: {error['message'][:10]}" in plain.stderr) == (status, True)
