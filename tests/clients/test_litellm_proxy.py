"""A peer beside Tokenline: LiteLLM's proxy, without its database, seen by the clients of this folder in the same cases.

Each test says what was seen, right or not; docs/clients.md has it as columns of the same tables.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.clients.agents import AGENTS, CODEX, MINI, Agent
from tests.clients.library import LIBRARIES, Library, Shown
from tests.clients.litellm_proxy import USD_A_TOKEN, Proxy, running_proxy
from tests.clients.system import LOST_FIRST, SAID
from tests.clients.test_agents import TOOL_TOKENS
from tests.clients.test_libraries import CUT, LITTLE, LONG, LONG_TOKENS, TASK
from tests.peers.install import PeerMissing

every_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.id)
every_agent = pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
DIALECTS = ("chat", "responses", "messages")


def used_up(dialect: str) -> str:
    """A model whose budget is used up by the first call."""
    return f"used-up-{dialect}"


def little(library: Library) -> str:
    """A model whose budget pays for `LITTLE` tokens."""
    return f"little-{LIBRARIES.index(library)}"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Iterator[Proxy]:
    small = [(used_up(dialect), dialect, USD_A_TOKEN) for dialect in DIALECTS]
    small += [(little(library), library.dialect, LITTLE * USD_A_TOKEN) for library in LIBRARIES]
    try:
        with running_proxy(tmp_path_factory.mktemp("proxy"), small) as running:
            for dialect in DIALECTS:
                first = next(library for library in LIBRARIES if library.dialect == dialect)
                run(running, first, installed, used_up(dialect), "say hi")
            yield running
    except PeerMissing as missing:
        pytest.skip(str(missing))


def run(proxy: Proxy, library: Library, installed: Path, model_id: str, prompt: str, mode: str = "stream") -> Shown:
    return library.run(installed, proxy, proxy.open_account(), model_id, mode, prompt)


@every_library
def test_a_task_of_two_calls_of_a_tool_works(library: Library, proxy: Proxy, installed: Path) -> None:
    shown = run(proxy, library, installed, library.model_id, TASK, "tools")
    assert (shown.error, shown.text.strip(), shown.shouted) == (None, SAID, ["can pay for new use"] * 2)
    assert proxy.served() == (2, 76)


@every_library
def test_a_stream_works(library: Library, proxy: Proxy, installed: Path) -> None:
    shown = run(proxy, library, installed, library.model_id, "say hi")
    assert (shown.error, shown.text.strip(), proxy.served()) == (None, SAID, (1, 16))


@every_library
def test_a_budget_that_ends_in_an_answer_does_not_end_it(library: Library, proxy: Proxy, installed: Path) -> None:
    shown = run(proxy, library, installed, little(library), LONG)
    assert (shown.error, len(shown.text)) == (None, 4 * LONG_TOKENS)
    assert shown.ended not in CUT
    # Six times as much as the budget pays for.
    assert proxy.served() == (1, LONG_TOKENS)


@every_library
def test_a_budget_that_is_used_up_is_429_and_told_with_the_names_of_the_vendors_deployments(
    library: Library, proxy: Proxy, installed: Path
) -> None:
    shown = run(proxy, library, installed, used_up(library.dialect), "say hi")
    assert shown.error is not None
    assert "No deployments available - crossed budget" in shown.error["message"]
    assert {exchange.status for exchange in proxy.exchanges()} == {429}
    assert proxy.served() == (0, 0)


@every_library
def test_a_key_that_is_none_is_a_wrong_request(library: Library, proxy: Proxy, installed: Path) -> None:
    """There is no other key to be revoked without the database."""
    account = msgspec.structs.replace(proxy.open_account(), api_key="sk-revoked")
    shown = library.run(installed, proxy, account, library.model_id, "stream", "say hi")
    assert shown.error is not None
    assert "No connected db" in shown.error["message"] or "Bad Request" in shown.error["message"]
    assert {exchange.status for exchange in proxy.exchanges()} == {400}


@every_library
def test_a_vendor_that_fails_is_not_noticed_where_the_next_route_answers(library: Library, proxy: Proxy, installed: Path) -> None:
    shown = run(proxy, library, installed, LOST_FIRST[library.dialect], "say hi")
    assert (shown.error, shown.text.strip(), proxy.served()) == (None, SAID, (1, 16))


@every_agent
def test_an_agents_turn_works(agent: Agent, proxy: Proxy, installed: Path, tmp_path: Path) -> None:
    turn = agent.turn(installed, proxy, proxy.open_account(), tmp_path, "say hi")
    assert turn.status == 0, turn.shown
    assert SAID in turn.shown or not agent.shows_words
    assert proxy.served() == (agent.calls, 16 * agent.calls)
    # It has no WebSocket that a task could keep: Codex asks for one five times, and goes on without.
    assert ("Falling back from WebSockets to HTTPS transport" in turn.shown) == (agent is CODEX)


@pytest.mark.parametrize("agent", [agent for agent in AGENTS if agent.shell_tool], ids=lambda agent: agent.name)
def test_an_agents_tools_run(agent: Agent, proxy: Proxy, installed: Path, tmp_path: Path) -> None:
    said = "echo can pay for new use | tr a-z A-Z"
    arguments = {agent.command_argument: [said] if agent.lists_commands else said, "description": "Write", **agent.tool_arguments}
    tools = {"calls": 2, "name": agent.shell_tool, "arguments": arguments}
    prompt = "write it in capitals\nsimulate: " + json.dumps({"output_tokens": TOOL_TOKENS, "tools": tools})
    turn = agent.turn(installed, proxy, proxy.open_account(), tmp_path, prompt)
    assert turn.status == 0, turn.shown
    assert max(exchange.body.count(b"CAN PAY FOR NEW USE") for exchange in proxy.exchanges()) >= 2 or agent is MINI
