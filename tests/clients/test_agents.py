"""Agents, as their vendors publish them, against `tokenline up`: a turn, a tool, used-up quota."""

import json
from pathlib import Path

import pytest

from tests.clients.agents import AGENTS, CLAUDE_CODE, CODEX, Agent
from tests.clients.bills import assert_paid_once, assert_refused
from tests.clients.system import LOST_FIRST, SAID, System

every_agent = pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
PLENTY = 1_000_000
# Less than any agent's prompt.
FEW = 10
LONG_TOKENS = 3_000
LONG = 'write a lot\nsimulate: {"output_tokens": 3000}'
# Of output, TOKEN.
LITTLE = 500
# Of an answer that calls a tool.
TOOL_TOKENS = 60


@every_agent
def test_a_turn_is_shown_and_paid_once(agent: Agent, system: System, installed: Path, tmp_path: Path) -> None:
    account = system.open_account(PLENTY)
    turn = agent.turn(installed, system, account, tmp_path, "say hi")
    assert turn.status == 0, turn.shown
    assert SAID in turn.shown or not agent.shows_words
    bill = assert_paid_once(system, account, agent.calls, agent.dropped)
    assert {receipt["usage"]["output"] for receipt in bill.receipts} == {16}


@pytest.mark.parametrize("agent", [agent for agent in AGENTS if agent.refusals], ids=lambda agent: agent.name)
def test_used_up_quota_is_told_at_once_and_costs_nothing(agent: Agent, system: System, installed: Path, tmp_path: Path) -> None:
    account = system.open_account(FEW)
    turn = agent.turn(installed, system, account, tmp_path, "say hi")
    if agent.refused_words:
        assert agent.refused_words in turn.shown, turn.shown
    else:
        assert "You exceeded your current quota" in turn.shown, turn.shown
        assert f"{FEW} TOKEN are left. Top up the account" in turn.shown
    assert_refused(system, account, agent.refusals, agent.refused_status)


@every_agent
def test_a_revoked_key_is_told(agent: Agent, system: System, installed: Path, tmp_path: Path) -> None:
    account = system.open_account(PLENTY)
    system.revoke(account)
    turn = agent.turn(installed, system, account, tmp_path, "say hi")
    assert agent.revoked_words in turn.shown, turn.shown
    assert account.api_key not in turn.shown
    assert {exchange.status for exchange in system.exchanges()} == {401}


@every_agent
def test_a_vendor_that_fails_is_not_noticed_where_the_next_route_answers(
    agent: Agent, system: System, installed: Path, tmp_path: Path
) -> None:
    account = system.open_account(PLENTY)
    turn = agent.turn(installed, system, account, tmp_path, "say hi", LOST_FIRST[agent.dialect])
    assert turn.status == 0, turn.shown
    assert SAID in turn.shown or not agent.shows_words
    for receipt in system.bill(account, system.exchanges()).receipts:
        *lost, last = receipt["attempts"]
        assert last["outcome"] == "answered"
        # The breaker may have left out the lost route already.
        assert [(each["vendor_id"], each["outcome"]) for each in lost] in ([("lost", "unreachable")], [])


def test_claude_code_shows_the_vendors_count(system: System, installed: Path, tmp_path: Path) -> None:
    account = system.open_account(PLENTY)
    turn = CLAUDE_CODE.turn(installed, system, account, tmp_path, "say hi")
    shown = json.loads(turn.stdout)["usage"]
    (receipt,) = assert_paid_once(system, account, 1).receipts
    assert (shown["input_tokens"], shown["output_tokens"]) == (receipt["usage"]["input"], receipt["usage"]["output"])


def test_claude_code_is_told_when_the_quota_ends_in_an_answer(system: System, installed: Path, tmp_path: Path) -> None:
    """The answer is cut and paid; the call that would go on with it is refused, and our text is shown."""
    probe = system.open_account(PLENTY)
    CLAUDE_CODE.turn(installed, system, probe, tmp_path / "probe", LONG)
    (receipt,) = assert_paid_once(system, probe, 1).receipts
    assert receipt["usage"]["output"] == LONG_TOKENS
    # What the input may take at most is held; beside it little is left for output.
    account = system.open_account(system.held_for_input(probe) + LITTLE)
    turn = CLAUDE_CODE.turn(installed, system, account, tmp_path / "cut", LONG)
    assert "You exceeded your current quota" in turn.shown, turn.shown
    exchanges = system.exchanges()
    assert [exchange.status for exchange in exchanges] == [200, 402]
    (receipt,) = system.bill(account, exchanges).receipts
    # Two prompts of one text differ by a few bytes, such as the ID of the session.
    assert 64 <= receipt["usage"]["output"] < 2 * LITTLE
    assert json.loads(turn.stdout)["usage"]["output_tokens"] == receipt["usage"]["output"]


def test_codex_has_one_web_socket_for_a_task_and_keeps_the_text_of_a_cut_answer(
    system: System, installed: Path, tmp_path: Path
) -> None:
    probe = system.open_account(PLENTY)
    CODEX.turn(installed, system, probe, tmp_path / "probe", "say hi")
    assert [(exchange.method, exchange.status) for exchange in system.peek_all()] == [
        ("GET", 101),
        ("PREPARE", 200),
        ("SEND", 200),
    ]
    assert_paid_once(system, probe, 1, CODEX.dropped)
    account = system.open_account(system.held_for_input(probe) + LITTLE)
    turn = CODEX.turn(installed, system, account, tmp_path / "cut", LONG)
    assert SAID in turn.shown, turn.shown
    exchanges = system.exchanges()
    assert exchanges[0].status == 200
    receipt = system.bill(account, exchanges).receipts[0]
    assert receipt["close_cause"] == "quota_exhausted"
    assert 64 <= receipt["usage"]["output"] < 2 * LITTLE


def test_codex_sends_what_is_new_and_pays_for_the_whole_conversation(system: System, installed: Path, tmp_path: Path) -> None:
    """A task with two calls of a tool, over one socket."""
    account = system.open_account(PLENTY)
    arguments = {"cmd": "echo can pay for new use | tr a-z A-Z"}
    tools = {"calls": 2, "name": CODEX.shell_tool, "arguments": arguments}
    prompt = "write it in capitals\nsimulate: " + json.dumps({"output_tokens": TOOL_TOKENS, "tools": tools})
    turn = CODEX.turn(installed, system, account, tmp_path, prompt)
    assert turn.status == 0, turn.shown
    assert SAID in turn.shown
    exchanges = system.peek_all()
    assert [exchange.method for exchange in exchanges] == ["GET", "PREPARE", "SEND", "SEND"]
    first, second = (json.loads(exchange.body) for exchange in exchanges[2:])
    # The prompt went ahead with the preparation, or goes alone; then go the results of both calls alone.
    assert first["previous_response_id"] and second["previous_response_id"]
    assert [each["type"] for each in second["input"]] == ["function_call_output"] * 2
    assert all("CAN PAY FOR NEW USE" in each["output"] for each in second["input"])
    bill = assert_paid_once(system, account, 2, CODEX.dropped)
    asked, answered = (receipt["usage"] for receipt in bill.receipts)
    assert (asked["output"], answered["output"]) == (TOOL_TOKENS, 16)
    # Beside the prompt of the first call the second one pays for both calls and their results.
    assert asked["input"] + TOOL_TOKENS < answered["input"] < asked["input"] + 600


@pytest.mark.parametrize("agent", [agent for agent in AGENTS if agent.shell_tool], ids=lambda agent: agent.name)
def test_two_tools_run_and_every_call_is_paid_once(agent: Agent, system: System, installed: Path, tmp_path: Path) -> None:
    account = system.open_account(PLENTY)
    # In capitals it is in no request unless the tool ran. Short words, since the edge does not believe a vendor that counts
    # less than a tokenizer does, and digits are more tokens than the simulator says.
    said = "echo can pay for new use | tr a-z A-Z"
    command = {agent.command_argument: [said] if agent.lists_commands else said}
    arguments = {**command, "description": "Write it in capitals", **agent.tool_arguments}
    tool = {"calls": 2, "name": agent.shell_tool, "arguments": arguments}
    prompt = "write it in capitals\nsimulate: " + json.dumps({"output_tokens": TOOL_TOKENS, "tools": tool})
    turn = agent.turn(installed, system, account, tmp_path, prompt)
    assert turn.status == 0, turn.shown
    assert SAID in turn.shown or not agent.shows_words
    calls = [exchange.body.count(b"CAN PAY FOR NEW USE") for exchange in system.peek()]
    # What both tools said went with a call after the first.
    assert calls[0] == 0
    assert max(calls) >= 2, turn.shown
    bill = assert_paid_once(system, account, len(calls), agent.dropped)
    assert {receipt["usage"]["output"] for receipt in bill.receipts} == {TOOL_TOKENS, 16}
