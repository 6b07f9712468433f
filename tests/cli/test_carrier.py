"""`tokenline carrier`, over a system whose phone bill goes to the simulated operator."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.cli.processes import TIMEOUT_S, Up, run, up


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("up")


@pytest.fixture(scope="module")
def system(data_dir: Path) -> Iterator[Up]:
    with up(data_dir, "--simulate-carrier") as running:
        yield running


def told(data_dir: Path, *arguments: str) -> Any:
    """The JSON that a command prints."""
    result = run(*arguments, "--data-dir", str(data_dir), "--output", "json")
    assert result.exit_code == 0, result.output
    return msgspec.json.decode(result.output)


def bought(data_dir: Path, line: str) -> str:
    """An account with a line that has ordered by phone bill."""
    account_id = str(told(data_dir, "account", "create")["account_id"])
    told(data_dir, "carrier", "line", account_id, line)
    arguments = ("--account", account_id, "--payment", "phone_bill", "--idempotency-key", "order-1")
    assert told(data_dir, "offering", "order", "personal-10m", *arguments)["state"] == "awaiting_payment"
    return account_id


def bill(data_dir: Path, account_id: str, state: str) -> dict[str, Any]:
    """The account's one demand, once it is in the state."""
    until_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until_s:
        listed = told(data_dir, "carrier", "list", "--account", account_id)
        if [each["state"] for each in listed["data"]] == [state]:
            demand: dict[str, Any] = listed["data"][0]
            return demand
    raise AssertionError(listed)


def test_an_order_by_phone_bill_is_billed_and_told(system: Up, data_dir: Path) -> None:
    account_id = bought(data_dir, "+8613800000001")
    payment = bill(data_dir, account_id, "succeeded")
    (order,) = told(data_dir, "order", "list", "--account", account_id)["data"]
    assert (order["state"], order["remark"]) == ("completed", payment["payment_id"])
    assert told(data_dir, "reconcile")["differences"] == []
    listed = run("carrier", "list", "--account", account_id, "--data-dir", str(data_dir)).output
    assert payment["demand_id"] in listed
    assert "9.9 CNY" in listed
    assert "+8613800000001" in listed


def test_a_code_is_shown_and_what_failed_is_listed(system: Up, data_dir: Path) -> None:
    waits = bill(data_dir, bought(data_dir, "+8613800000123"), "pending_validation")
    refused = run("carrier", "validate", waits["demand_id"], "000000", "--data-dir", str(data_dir))
    assert refused.exit_code == 1
    assert "INVALID_CODE" in refused.output
    told(data_dir, "carrier", "validate", waits["demand_id"], "352673")
    denied = bill(data_dir, bought(data_dir, "+8613800000403"), "denied")
    listed = told(data_dir, "carrier", "list", "--state", "denied")["data"]
    assert [each["demand_id"] for each in listed] == [denied["demand_id"]]
    again = run("carrier", "retry", denied["demand_id"], "--data-dir", str(data_dir))
    assert again.exit_code == 1
    assert "be placed again" in again.output


def test_a_line_is_given_as_a_number_or_as_none(system: Up, data_dir: Path) -> None:
    account_id = str(told(data_dir, "account", "create")["account_id"])
    assert told(data_dir, "carrier", "line", account_id, "--none")["phone_number"] is None
    assert run("carrier", "line", account_id, "--data-dir", str(data_dir)).exit_code == 2
    wrong = run("carrier", "line", account_id, "13800000001", "--data-dir", str(data_dir))
    assert wrong.exit_code == 1
    assert "like +8613800000001" in wrong.output


def test_payments_are_there_after_a_restart(tmp_path: Path) -> None:
    with up(tmp_path, "--simulate-carrier"):
        account_id = bought(tmp_path, "+8613800000001")
        bill(tmp_path, account_id, "succeeded")
    with up(tmp_path, "--simulate-carrier"):
        assert told(tmp_path, "reconcile")["differences"] == []
    with up(tmp_path):
        listed = run("carrier", "list", "--data-dir", str(tmp_path)).output
        assert "billing has no carrier in its config" in listed
