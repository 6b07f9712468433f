"""Agents with models whose vendors do not speak their dialect: a turn, and a tool's round."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.clients.agents import CLAUDE_CODE, CODEX, Agent
from tests.clients.bills import assert_paid_once
from tests.clients.system import SAID, System

PLENTY = 1_000_000


def with_model(agent: Agent, model_id: str, dropped: str) -> Agent:
    """The agent with another model; `dropped` names the fields that the vendor is not told."""
    return msgspec.structs.replace(agent, name=f"{agent.name}-{model_id}", model_id=model_id, dropped=dropped)


# Vendors of responses, of chat completions alone, and of messages.
AGENTS = (
    with_model(CLAUDE_CODE, "gpt-4.1", "context_management, cache_control"),
    with_model(CLAUDE_CODE, "gemini-2.5-flash", "context_management, cache_control"),
    with_model(CODEX, "claude-sonnet-4-6", "prompt_cache_key, client_metadata"),
    with_model(CODEX, "gemini-2.5-flash", CODEX.dropped),
)


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_a_tool_runs_and_every_call_is_paid_once(agent: Agent, system: System, installed: Path, tmp_path: Path) -> None:
    account = system.open_account(PLENTY)
    command = {agent.command_argument: "echo can pay for new use | tr a-z A-Z"}
    arguments = {**command, "description": "Write it in capitals", **agent.tool_arguments}
    tool = {"calls": 1, "name": agent.shell_tool, "arguments": arguments}
    prompt = "write it in capitals\nsimulate: " + json.dumps({"output_tokens": 60, "tools": tool})
    turn = agent.turn(installed, system, account, tmp_path, prompt)
    assert turn.status == 0, turn.shown
    assert SAID in turn.shown, turn.shown
    calls = [b"CAN PAY FOR NEW USE" in exchange.body for exchange in system.peek()]
    assert calls[0] is False
    assert any(calls), turn.shown
    bill = assert_paid_once(system, account, len(calls), agent.dropped)
    assert {receipt["usage"]["output"] for receipt in bill.receipts} == {60, 16}
