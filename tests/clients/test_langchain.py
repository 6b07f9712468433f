"""LangChain, which limits answers by `max_completion_tokens`, before a vendor that ignores it without a word."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.bills import assert_paid_once
from tests.clients.system import Account, System

# DeepSeek's profile says that `max_tokens` alone is heeded, and the vendor here does so.
PROMPT = 'Say much.\nsimulate: {"output_tokens": 4000, "heeds": "max_tokens"}'


def run_langchain(installed: Path, system: System, account: Account, script: str, *words: str) -> Any:
    """What LangChain makes of its two calls."""
    ended = subprocess.run(
        [
            *(str(installed / "frameworks" / "bin" / "python"), str(Path(__file__).parent / script)),
            *(system.base_url, account.api_key, *words),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


@pytest.mark.parametrize("tokens", [700, 5_000])
def test_a_limit_of_50_is_kept_by_a_vendor_that_heeds_max_tokens_alone(system: System, installed: Path, tokens: int) -> None:
    account = system.open_account(tokens)
    shown = run_langchain(installed, system, account, "langchain_calls.py", "deepseek-chat", "50", PROMPT)
    assert {exchange.status for exchange in system.peek()} == {200}
    assert [json.loads(exchange.body)["max_completion_tokens"] for exchange in system.peek()] == [50, 50]
    bill = assert_paid_once(system, account, calls=2)
    assert [receipt["usage"]["output"] for receipt in bill.receipts] == [50, 50]
    for answer in shown:
        assert answer["finish_reason"] == "length"
        assert answer["tokens"] == [bill.receipts[0]["usage"]["input"], 50]
        assert len(str(answer["text"])) == 200


def test_documents_are_embedded_and_found_again(system: System, installed: Path) -> None:
    account = system.open_account(10_000)
    documents = ("a lighthouse and its keeper", "a bridge over a river", "soup")
    shown = run_langchain(installed, system, account, "langchain_embeddings.py", "text-embedding-3-small", *documents)
    assert shown == {"lengths": [1_536] * 3, "nearest": 0}
    assert [json.loads(exchange.body)["encoding_format"] for exchange in system.peek()] == ["base64", "base64"]
    bill = assert_paid_once(system, account, calls=2)
    assert [receipt["usage"]["output"] for receipt in bill.receipts] == [0, 0]
