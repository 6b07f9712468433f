"""The official SDKs for Python and Node against `tokenline up`: a whole answer, a streamed one, used-up quota."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from tests.clients.agents import node
from tests.clients.bills import assert_paid_once, assert_refused
from tests.clients.system import SAID, Account, System

CHAT_MODEL = "gpt-4o"
MESSAGES_MODEL = "claude-opus-4-6"


def python_openai(system: System, account: Account) -> dict[str, Any]:
    shown: dict[str, Any] = {"whole": None, "streamed": None, "usage": [], "error": None}
    hello: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": "say hi"}]
    with openai.OpenAI(
        base_url=system.base_url, api_key=account.api_key, http_client=openai.DefaultHttpxClient(trust_env=False)
    ) as client:
        try:
            whole = client.chat.completions.create(model=CHAT_MODEL, messages=hello)
            assert whole.usage is not None
            shown["whole"] = whole.choices[0].message.content
            shown["usage"].append([whole.usage.prompt_tokens, whole.usage.completion_tokens])
            shown["streamed"] = ""
            for chunk in client.chat.completions.create(
                model=CHAT_MODEL, messages=hello, stream=True, stream_options={"include_usage": True}
            ):
                shown["streamed"] += (chunk.choices[0].delta.content or "") if chunk.choices else ""
                if chunk.usage is not None:
                    shown["usage"].append([chunk.usage.prompt_tokens, chunk.usage.completion_tokens])
        except openai.APIStatusError as error:
            shown["error"] = {"status": error.status_code, "message": error.message}
    return shown


def python_anthropic(system: System, account: Account) -> dict[str, Any]:
    shown: dict[str, Any] = {"whole": None, "streamed": None, "usage": [], "error": None}
    hello: list[anthropic.types.MessageParam] = [{"role": "user", "content": "say hi"}]
    with anthropic.Anthropic(
        base_url=system.root, api_key=account.api_key, http_client=anthropic.DefaultHttpxClient(trust_env=False)
    ) as client:
        try:
            whole = client.messages.create(model=MESSAGES_MODEL, messages=hello, max_tokens=100)
            with client.messages.stream(model=MESSAGES_MODEL, messages=hello, max_tokens=100) as stream:
                final = stream.get_final_message()
            for name, message in (("whole", whole), ("streamed", final)):
                shown[name] = "".join(block.text for block in message.content if block.type == "text")
                shown["usage"].append([message.usage.input_tokens, message.usage.output_tokens])
        except anthropic.APIStatusError as error:
            shown["error"] = {"status": error.status_code, "message": error.message}
    return shown


def in_node(installed: Path, vendor: str, base_url: str, account: Account, model_id: str) -> dict[str, Any]:
    ended = subprocess.run(
        [node(), str(Path(__file__).parent / "sdk.mjs"), str(installed), vendor, base_url, account.api_key, model_id],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
        check=True,
    )
    shown: dict[str, Any] = json.loads(ended.stdout)
    return shown


def ask(sdk: str, system: System, account: Account, installed: Path) -> dict[str, Any]:
    match sdk:
        case "python openai":
            return python_openai(system, account)
        case "python anthropic":
            return python_anthropic(system, account)
        case "node openai":
            return in_node(installed, "openai", system.base_url, account, CHAT_MODEL)
    return in_node(installed, "anthropic", system.root, account, MESSAGES_MODEL)


every_sdk = pytest.mark.parametrize("sdk", ["python openai", "python anthropic", "node openai", "node anthropic"])


@every_sdk
def test_both_kinds_of_answer_arrive_and_are_paid_once(sdk: str, system: System, installed: Path) -> None:
    account = system.open_account(10_000)
    shown = ask(sdk, system, account, installed)
    assert shown["error"] is None
    assert shown["whole"].strip() == shown["streamed"].strip() == SAID
    bill = assert_paid_once(system, account, 2)
    assert shown["usage"] == [[receipt["usage"]["input"], receipt["usage"]["output"]] for receipt in bill.receipts]


def test_vectors_arrive_in_node_and_their_input_is_paid(system: System, installed: Path) -> None:
    account = system.open_account(10_000)
    shown = in_node(installed, "embeddings", system.base_url, account, "text-embedding-3-small")
    assert shown["error"] is None
    assert [length for length, _ in shown["whole"]] == [1_536, 1_536]
    assert all(abs(size - 1) < 1e-5 for _, size in shown["whole"])
    assert [json.loads(exchange.body)["encoding_format"] for exchange in system.peek()] == ["base64"]
    bill = assert_paid_once(system, account, 1)
    assert shown["usage"] == [[receipt["usage"]["input"], receipt["usage"]["output"]] for receipt in bill.receipts]


@every_sdk
def test_used_up_quota_is_an_error_at_once(sdk: str, system: System, installed: Path) -> None:
    account = system.open_account(1)
    error = ask(sdk, system, account, installed)["error"]
    assert error["status"] == 402
    assert "You exceeded your current quota" in error["message"]
    assert_refused(system, account, 1)
