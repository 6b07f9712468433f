import json
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner

from services.cli.admin import account_tables, check_tables, in_words_of_catalogs
from services.cli.client import System
from services.cli.main import command_line
from services.cli.printing import fields_of, outline
from tests.cli.processes import Up, run, up
from tests.cli.stand_in import StandIn, serving

TOKEN = 1_000_000


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


def test_an_account_is_opened_topped_up_and_shown(ask: Callable[..., Any]) -> None:
    opened = ask("account", "create", "--idempotency-key", "first")
    assert set(opened) == {"account_id", "external_id", "offering_id", "member_id"}
    assert opened["offering_id"] == "default"
    assert ask("account", "create", "--idempotency-key", "first") == opened
    account_id = opened["account_id"]

    topup = ["account", "topup", account_id, "--amount", "2.5", "--unit", "TOKEN", "--valid-days", "30", "--idempotency-key", "t-1"]
    bucket = ask(*topup, "--priority", "7")
    assert bucket["bucket_id"]
    assert bucket["granted"] == 2_500_000
    assert ask(*topup, "--priority", "7")["bucket_id"] == bucket["bucket_id"]
    money = ["--amount", "12.34", "--unit", "CURRENCY", "--currency", "USD", "--valid-days", "1", "--idempotency-key", "t-2"]
    assert ask("account", "topup", account_id, *money)["currency"] == "USD"

    shown = ask("account", "show", account_id)
    assert set(shown) == {"amounts_in", "account_id", "offering_id", "created_at", "buckets", "debt", "absorbed", "sessions"} | {
        *("suspended_at", "subscriptions", "orders", "transfers", "counters", "limits"),
    }
    assert shown["amounts_in"] == bucket["amounts_in"] == "micro_units"
    buckets = {shown_bucket["unit"]: shown_bucket for shown_bucket in shown["buckets"]}
    assert set(buckets) == {"TOKEN", "CURRENCY"}
    amounts = {"granted": 2_500_000, "remaining": 2_500_000, "reserved": 0, "consumed": 0, "expired": 0, "transferred": 0}
    assert buckets["TOKEN"].items() >= amounts.items()
    assert buckets["TOKEN"]["priority"] == 7
    assert buckets["CURRENCY"]["granted"] == 12_340_000
    assert shown["debt"] == shown["absorbed"] == shown["sessions"] == []


def test_an_account_is_opened_on_the_offering_that_is_named(ask: Callable[..., Any]) -> None:
    assert ask("account", "create", "--offering", "chat-basic")["offering_id"] == "chat-basic"


def test_keys_are_issued_listed_and_revoked(ask: Callable[..., Any]) -> None:
    account_id = ask("account", "create")["account_id"]
    issued = ask("key", "create", "--account", account_id)
    assert issued["account_id"] == account_id
    assert issued["api_key"].startswith("tl-local-")
    (listed,) = ask("key", "list", "--account", account_id)["data"]
    assert listed["key_id"] == issued["key_id"]
    assert listed["revoked_at"] is None
    revoked = ask("key", "revoke", issued["key_id"])
    assert revoked["key_id"] == issued["key_id"]
    (listed,) = ask("key", "list", "--account", account_id)["data"]
    assert listed["revoked_at"] == revoked["revoked_at"]
    assert ask("key", "create", "--account", account_id, "--scope", "keys:mint")["scopes"] == ["keys:mint"]
    assert [key["scopes"] for key in ask("key", "list", "--account", account_id)["data"]] == [[], ["keys:mint"]]


def test_an_account_is_suspended_and_resumed(ask: Callable[..., Any], system: Up) -> None:
    account_id = ask("account", "create")["account_id"]
    suspended = ask("account", "suspend", account_id)
    assert (suspended["account_id"], suspended["resumed_at"]) == (account_id, None)
    assert ask("account", "show", account_id)["suspended_at"] == suspended["suspended_at"]
    told = run("account", "suspend", account_id, "--data-dir", str(system.data_dir)).output
    to_the_second = suspended["suspended_at"][:19].replace("T", " ")
    assert told == f"account_id: {account_id}\nsuspended_at: {to_the_second}Z\n"
    assert to_the_second in run("account", "show", account_id, "--data-dir", str(system.data_dir)).output
    resumed = ask("account", "resume", account_id)
    assert resumed["suspended_at"] == suspended["suspended_at"] < resumed["resumed_at"]
    assert ask("account", "show", account_id)["suspended_at"] is None
    assert "suspended_at" not in run("account", "show", account_id, "--data-dir", str(system.data_dir)).output


def test_the_catalog_is_listed(ask: Callable[..., Any]) -> None:
    models = {model["model_id"] for model in ask("model", "list")["data"]}
    assert "deepseek-v4-flash" in models
    offerings = {offering["offering_id"]: offering for offering in ask("offering", "list")["data"]}
    assert offerings["default"]["default"] is True
    assert offerings["default"]["models"] == len(models)


def test_audit_and_reconcile_report_of_a_running_system(ask: Callable[..., Any]) -> None:
    audited = ask("audit")
    assert audited["breaches"] == []
    assert audited["accounts"] >= 1
    assert (audited["in_transit"], audited["absorbed"], audited["amounts_in"]) == ([], [], "micro_units")
    reconciled = ask("reconcile")
    assert reconciled["differences"] == []
    assert reconciled["entries"] >= audited["accounts"]


def test_tables_show_whole_units(system: Up) -> None:
    shown = run("account", "show", system.demo.account_id, "--data-dir", str(system.data_dir))
    assert "10,000,000,000 " in shown.output
    assert system.demo.account_id in shown.output
    for command in (["model", "list"], ["offering", "list"], ["key", "list", "--account", system.demo.account_id], ["audit"]):
        done = run(*command, "--data-dir", str(system.data_dir))
        assert done.exit_code == 0
        assert done.output.strip()


def shown_by(tables: list[Any]) -> list[list[str]]:
    """The rows of all tables, their cells as text."""
    rows: list[list[str]] = []
    for each in tables:
        columns = getattr(each, "columns", ())
        rows += [[str(cell) for cell in row] for row in zip(*(column.cells for column in columns), strict=True)]
    return rows


TRANSFER: dict[str, Any] = {
    "transfer_id": "trf-1",
    "to_account_id": "acct-b",
    "state": "confirmed",
    "remark": None,
    "amount": 2_500_000,
}
SUBSCRIPTION: dict[str, Any] = {
    "subscription_id": "sub-1", "offering_id": "plus", "state": "active", "payment_method": "prepaid", "cycle_number": 3,
    "cycle_start": "2026", "cycle_end": "2027", "next_offering_id": None, "grace_end": None,
}  # fmt: skip
ORDER: dict[str, Any] = {
    "order_id": "ord-1", "offering_id": "pack", "state": "awaiting_payment", "payment_method": "external", "unit": "CURRENCY",
    "currency": "CNY", "amount": 1_500_000, "expires_at": "2028", "subscription_id": None, "bucket_ids": [], "remark": "[by hand]",
}  # fmt: skip
MOVING = [{"unit": "TOKEN", "currency": None, "amount": 2_500_000}]
LOSSES = [{"unit": "TOKEN", "currency": None, "amount": 4_000_000}, {"unit": "CURRENCY", "currency": "CNY", "amount": 47_300}]


def test_what_was_absorbed_is_shown_unit_by_unit() -> None:
    report = {"amounts_in": "micro_units", "accounts": 1_200, "in_transit": MOVING, "absorbed": LOSSES, "breaches": ["so"]}
    rows = shown_by(check_tables("audit", "breaches", report))
    assert rows == [
        ["accounts", "1,200"], ["in transit", "2.5 TOKEN"], ["absorbed", "4 TOKEN"],
        ["absorbed", "0.0473 CNY"], ["breaches", "1"],
    ]  # fmt: skip
    assert ["absorbed", "0"] in shown_by(check_tables("audit", "breaches", {**report, "absorbed": []}))
    compared: dict[str, Any] = {"entries": 5, "cdrs": 2, "files": 1, "differences": []}
    counts = shown_by(check_tables("reconcile", "differences", compared))
    assert counts == [["entries", "5"], ["cdrs", "2"], ["files", "1"], ["differences", "0"]]


def test_an_account_shows_its_losses_and_holds_in_whole_units() -> None:
    amounts = {"granted": 5, "remaining": 2, "reserved": 3, "consumed": 0, "expired": 0, "transferred": 0}
    money = {"bucket_id": "bkt-1", "unit": "CURRENCY", "currency": "CNY", **amounts, "valid_until": "2027", "priority": 0}
    session: dict[str, Any] = {"charging_id": "c", "model_id": "m", "key_id": "k", "hold": [{"bucket_id": "bkt-1", "amount": 3}]}
    session |= {"output_tokens_granted": 7, "created_at": "t", "sweep_at": "t"}
    account: dict[str, Any] = {"account_id": "a", "offering_id": "o", "created_at": "t", "suspended_at": None}
    used = {"counter_id": "day@account", "unit": "CURRENCY", "currency": "CNY", "used": 1_500_000, "reserved": 2_000_000}
    open_calls = {"counter_id": "calls@account", "unit": None, "currency": None, "used": 0, "reserved": 3}
    window = {"window_start": None, "window_end": "2026-11-30T16:00:00Z"}
    account |= {"counters": [{**used, **window}, {**open_calls, **window}]}
    account["limits"] = [{"subject": "account", "limits": [{"limit_id": "calls", "concurrent_sessions": 5}], "valid_until": None}]
    account["transfers"] = [{**TRANSFER, "bucket_id": "bkt-1"}]
    account |= {"buckets": [money], "debt": [], "sessions": [session], "subscriptions": [SUBSCRIPTION], "orders": [ORDER]}
    rows = shown_by(account_tables({**account, "absorbed": LOSSES}))
    assert ["TOKEN", "4"] in rows
    assert ["CNY", "0.0473"] in rows
    assert ["c", "m", "k", "0.000003 CNY of bkt-1", "7", "t", "t"] in rows
    assert ["sub-1", "plus", "active", "prepaid", "3", "2027", "", ""] in rows
    assert ["ord-1", "pack", "awaiting_payment", "external", "1.5 CNY", "2028", "", "[by hand]"] in rows
    assert ["account", "calls", "5 calls open at once"] in rows
    assert ["day@account", "1.5 CNY", "2 CNY", "", "2026-11-30 16:00:00Z"] in rows
    assert ["calls@account", "", "3 calls", "", "2026-11-30 16:00:00Z"] in rows
    assert ["trf-1", "acct-b", "confirmed", "", "2.5", "CNY"] in rows
    bare = shown_by(account_tables({**account, "absorbed": [], "subscriptions": [], "orders": []}))
    assert [row[0] for row in bare if row[0].startswith(("sub-", "ord-"))] == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["account", "show", "acct-0000000000000000"], "acct-0000000000000000"),
        (["account", "create", "--offering", "no-such"], "no-such"),
        (["account", "suspend", "acct-0000000000000000"], "acct-0000000000000000 has no member"),
        (["account", "resume", "acct-0000000000000000"], "acct-0000000000000000 has no member"),
        (["key", "revoke", "key-0000000000000000"], "key-0000000000000000"),
    ],
)
def test_what_the_system_refuses_ends_with_1_and_its_own_sentence(system: Up, arguments: list[str], complaint: str) -> None:
    refused = run(*arguments, "--data-dir", str(system.data_dir))
    assert refused.exit_code == 1
    assert complaint in refused.stderr
    assert refused.stdout == ""


def test_a_name_that_leads_elsewhere_ends_with_2(system: Up) -> None:
    refused = run("key", "list", "--account", "../admin", "--data-dir", str(system.data_dir))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "admin" in refused.stderr


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"--amount": "0"}, "above 0"),
        ({"--amount": "-5"}, "not an amount"),
        ({"--amount": "1.0000001"}, "7 decimal places"),
        ({"--amount": "9223372036855"}, "too large"),
        ({"--valid-days": "0"}, "0 is not in the range"),
        ({"--unit": "CURRENCY"}, "--currency goes with --unit CURRENCY"),
        ({"--currency": "USD"}, "--currency goes with --unit CURRENCY"),
    ],
)
def test_a_topup_that_cannot_be_is_wrong_usage(changes: dict[str, str], complaint: str) -> None:
    options = {"--amount": "1", "--unit": "TOKEN", "--valid-days": "1", "--idempotency-key": "k", **changes}
    refused = run("account", "topup", "acct-1", *(word for option in options.items() for word in option))
    assert refused.exit_code == 2
    assert complaint in refused.stderr


def test_the_environment_names_the_system_with_or_without_v1(system: Up, tmp_path: Path) -> None:
    token = system.demo.admin_token
    for url in (system.demo.admin_url, system.demo.admin_url + "/v1", system.demo.admin_url + "/"):
        assert run("offering", "list", TOKENLINE_URL=url, TOKENLINE_TOKEN=token).exit_code == 0
    refused = run("offering", "list", TOKENLINE_URL=system.demo.admin_url, TOKENLINE_TOKEN="wrong")
    assert refused.exit_code == 2
    assert "admin" in refused.stderr
    refused = run("offering", "list", TOKENLINE_URL=system.demo.admin_url)
    assert "TOKENLINE_TOKEN is not" in refused.stderr
    file = tmp_path / "token"
    file.write_text(f"{token}\n")
    assert run("offering", "list", TOKENLINE_URL=system.demo.admin_url, TOKENLINE_TOKEN_FILE=str(file)).exit_code == 0
    refused = run("offering", "list", TOKENLINE_URL=system.demo.admin_url, TOKENLINE_TOKEN_FILE=str(tmp_path / "none"))
    assert refused.stderr.endswith(f"TOKENLINE_TOKEN_FILE: {tmp_path}/none cannot be read: No such file or directory\n")
    refused = run("offering", "list", TOKENLINE_URL="127.0.0.1:1", TOKENLINE_TOKEN=token)
    assert "should begin with http://" in refused.stderr
    refused = run("offering", "list", TOKENLINE_URL=system.demo.base_url, TOKENLINE_TOKEN=token)
    assert refused.exit_code == 2
    assert "is not served; give the address for operators" in refused.stderr
    refused = run("account", "list", TOKENLINE_URL=system.demo.base_url, TOKENLINE_TOKEN=token)
    assert "/v1/admin/accounts is not served" in refused.stderr


class _Moved(StandIn):
    """Sends everybody on, with all that they brought."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302)
        self.send_header("location", f"{self.path}&again")
        self.send_header("content-length", "0")
        self.end_headers()


def test_the_admin_token_is_not_sent_on_to_another_address() -> None:
    with serving(_Moved) as port:
        refused = run("account", "list", TOKENLINE_URL=f"http://127.0.0.1:{port}", TOKENLINE_TOKEN="token")
    assert (refused.exit_code, "answered 302; is this Tokenline's address?" in refused.output) == (2, True), refused.output
    assert len(_Moved.asked) == 1


class _Empty(StandIn):
    """Has nothing to tell."""

    def do_GET(self) -> None:
        self.answer(200, b"{}")


def test_a_command_that_finds_nobody_asks_again_for_as_long_as_it_may() -> None:
    told: list[dict[str, Any]] = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty, bind_and_activate=False) as server:
        # Its port refuses connections until it listens.
        server.server_bind()
        system = System(f"http://127.0.0.1:{server.server_port}", "token", "start it", 60.0)
        asking = Thread(target=lambda: told.append(system.ask("GET", "/accounts")))
        asking.start()
        asking.join(0.3)
        assert asking.is_alive()
        server.server_activate()
        server.handle_request()
        asking.join()
    assert told == [{}]


@pytest.mark.parametrize(
    ("wait_s", "said"),
    [
        ("0.3", "http://127.0.0.1:9 cannot be reached: Connection refused"),
        *((text, f"TOKENLINE_WAIT_S is {text!r}; it should be a number of seconds, 0 to") for text in ("soon", "-1", "601", "nan")),
    ],
)
def test_the_time_in_which_a_command_asks_again_has_an_end(wait_s: str, said: str) -> None:
    refused = run("account", "list", TOKENLINE_URL="http://127.0.0.1:9", TOKENLINE_TOKEN="token", TOKENLINE_WAIT_S=wait_s)
    assert (refused.exit_code, said in " ".join(refused.output.split())) == (2, True), refused.output


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    refused = run("account", "list", TOKENLINE_URL="http://me:s3cret@127.0.0.1:9", TOKENLINE_TOKEN="token")
    assert (refused.exit_code, "the token goes into TOKENLINE_TOKEN" in refused.output) == (2, True)
    assert "s3cret" not in refused.output


def test_a_proxy_of_the_environment_is_not_asked(system: Up) -> None:
    nowhere = "http://127.0.0.1:9"
    assert run("offering", "list", "--data-dir", str(system.data_dir), http_proxy=nowhere, HTTP_PROXY=nowhere).exit_code == 0


def test_a_system_out_of_reach_is_said_in_one_line_with_how_to_start_it(tmp_path: Path) -> None:
    for command in (["audit"], ["model", "list"]):
        refused = run(*command, "--data-dir", str(tmp_path))
        assert refused.exit_code == 2
        assert f"start it with `tokenline up --data-dir {tmp_path}`" in refused.stderr
        assert refused.stderr.count("\n") == 1
    refused = run("model", "list", TOKENLINE_URL="http://127.0.0.1:9/v1", TOKENLINE_TOKEN="t")
    assert refused.exit_code == 2
    assert refused.stderr.startswith("Error: http://127.0.0.1:9 cannot be reached: Connection refused; start it")


def test_people_are_answered_in_words_of_catalogs_and_not_of_a_programming_language() -> None:
    limit = {"limit_id": "five", "per": "LIMIT_SCOPE_ACCOUNT", "unit": "UNIT_TOKEN"}
    offering = {"policy": "RESERVATION_POLICY_WORST_CASE", "methods": ["PAYMENT_METHOD_PHONE_BILL"], "once": {}, "limits": [limit]}
    assert outline(in_words_of_catalogs({**offering, "without_refund": True})) == [
        "policy: worst_case",
        "methods: phone_bill",
        "once: yes",
        "limits:",
        "  - limit_id: five, per: account, unit: TOKEN",
        "without_refund: yes",
    ]
    lines = fields_of({"valid": False, "bucket_ids": ["one", "two"], "remark": None, "returned": [], "models": 0})
    assert [str(line) for line in lines] == ["valid: no", "bucket_ids: one, two", "models: 0"]


@pytest.mark.parametrize(
    "given",
    [("--until", "2026-11-01T00:00:00Z"), ("--cycle", "2026-03", "--from", "2026-11-01T00:00:00Z")],
)
def test_a_statement_of_half_a_period_says_which_options_give_one(given: tuple[str, ...]) -> None:
    done = CliRunner().invoke(command_line, ["account", "statement", "acct-1", *given])
    assert done.exit_code == 2
    assert "give --cycle, a month like 2026-03 or a subscription's ID; or both --from and --until" in done.output
