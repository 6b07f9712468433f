"""LangChain, which limits answers by `max_completion_tokens`, before a vendor that ignores it without a word."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.bills import assert_paid_once
from tests.clients.system import Account, System

# DeepSeek's profile says that `max_tokens` alone is heeded, and the vendor here does so.
PROMPT = 'Say much.\nsimulate: {"output_tokens": 4000, "heeds": "max_tokens"}'


def run_langchain(installed: Path, system: System, account: Account, limit: int) -> list[dict[str, object]]:
    """What LangChain makes of its two calls."""
    ended = subprocess.run(
        [
            *(str(installed / "langchain" / "bin" / "python"), str(Path(__file__).parent / "langchain_calls.py")),
            *(system.base_url, account.api_key, "deepseek-chat", str(limit), PROMPT),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    shown: list[dict[str, object]] = json.loads(ended.stdout)
    return shown


@pytest.mark.parametrize("tokens", [700, 5_000])
def test_a_limit_of_50_is_kept_by_a_vendor_that_heeds_max_tokens_alone(system: System, installed: Path, tokens: int) -> None:
    account = system.open_account(tokens)
    shown = run_langchain(installed, system, account, 50)
    assert {exchange.status for exchange in system.peek()} == {200}
    assert [json.loads(exchange.body)["max_completion_tokens"] for exchange in system.peek()] == [50, 50]
    bill = assert_paid_once(system, account, calls=2)
    assert [receipt["usage"]["output"] for receipt in bill.receipts] == [50, 50]
    for answer in shown:
        assert answer["finish_reason"] == "length"
        assert answer["tokens"] == [bill.receipts[0]["usage"]["input"], 50]
        assert len(str(answer["text"])) == 200
