"""How each agent is told of a Tokenline, and asked for one turn. docs/clients.md says the same to people."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tests.clients.system import Account, System

TURN_S_MAX: Final = 120
# Clients reach this machine and nothing else: whatever they want from elsewhere fails at once.
_OFFLINE: Final = {
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


class Turn(msgspec.Struct, frozen=True):
    """What became of a turn."""

    status: int
    stdout: str
    # Both outputs, each run of white space as one blank.
    shown: str
    seconds: float


class Command(msgspec.Struct, frozen=True):
    """What is run; the prompt is its standard input where it is no argument."""

    arguments: list[str]
    environment: dict[str, str]
    stdin: str = ""


class Agent(msgspec.Struct, frozen=True):
    """An agent, and what is known of its turns."""

    name: str
    model_id: str
    command: Callable[[str, Path, System, Account, Path, str], Command]
    # Calls in a turn without tools: the turn's own, and for titles and suggestions beside it.
    calls: int
    # Calls in such a turn where each is refused as used up.
    refusals: int
    # The tool that runs a command; "": it has none.
    shell_tool: str = ""
    # The argument that has the command, and what it must be told beside it.
    command_argument: str = "command"
    tool_arguments: dict[str, bool] = {}
    # Fields of its calls that vendors are not told, as the edge names them.
    dropped: str = ""
    # The status of its refusals, and its own words for them; "": it shows ours.
    refused_status: int = 402
    refused_words: str = ""

    def turn(self, installed: Path, system: System, account: Account, folder: Path, prompt: str) -> Turn:
        """Runs one turn in a folder and a home of its own."""
        home = folder / "home"
        (folder / "project").mkdir(parents=True)
        home.mkdir()
        command = self.command(self.model_id, installed, system, account, folder / "project", prompt)
        begun_s = time.monotonic()
        ended = subprocess.run(
            command.arguments,
            input=command.stdin,
            capture_output=True,
            text=True,
            timeout=TURN_S_MAX,
            cwd=folder / "project",
            env={"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", **_OFFLINE, **command.environment},
            check=False,
        )
        # Some break lines where a terminal would end.
        shown = " ".join((ended.stdout + ended.stderr).split())
        return Turn(ended.returncode, ended.stdout, shown, time.monotonic() - begun_s)


def _claude_code(model_id: str, installed: Path, system: System, account: Account, project: Path, prompt: str) -> Command:
    # The package's own command is put there by its install script; this is what it would start.
    (program,) = (installed / "node_modules" / "@anthropic-ai").glob("claude-code-*/claude")
    return Command(
        [str(program), "-p", prompt, "--output-format", "json", "--allowedTools", "Bash"],
        {
            "ANTHROPIC_BASE_URL": system.root,
            "ANTHROPIC_AUTH_TOKEN": account.api_key,
            "ANTHROPIC_MODEL": model_id,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
        },
    )


def _opencode(model_id: str, installed: Path, system: System, account: Account, project: Path, prompt: str) -> Command:
    model = f"tokenline/{model_id}"
    options = {"baseURL": system.base_url, "apiKey": "{env:TOKENLINE_API_KEY}"}
    provider = {"npm": "@ai-sdk/openai-compatible", "name": "Tokenline", "options": options, "models": {model_id: {}}}
    config = {"provider": {"tokenline": provider}, "model": model, "small_model": model, "autoupdate": False, "share": "disabled"}
    (project / "opencode.json").write_text(json.dumps(config))
    # Of two builds for one machine the plain one comes first.
    program = sorted((installed / "node_modules").glob("opencode-*-*/bin/opencode"))[0]
    return Command(
        [str(program), "run"], {"TOKENLINE_API_KEY": account.api_key, "OPENCODE_DISABLE_MODELS_FETCH": "1"}, stdin=prompt
    )


def _qwen_code(model_id: str, installed: Path, system: System, account: Account, project: Path, prompt: str) -> Command:
    program = installed / "node_modules" / ".bin" / "qwen"
    return Command(
        [str(program), "--auth-type", "openai", "--yolo", "-p", prompt],
        {
            "OPENAI_BASE_URL": system.base_url,
            "OPENAI_API_KEY": account.api_key,
            "OPENAI_MODEL": model_id,
            # It asks a proxy for this machine too.
            "HTTP_PROXY": "",
            "HTTPS_PROXY": "",
        },
    )


def _aider(model_id: str, installed: Path, system: System, account: Account, project: Path, prompt: str) -> Command:
    quiet = ["--no-git", "--yes-always", "--no-pretty", "--analytics-disable", "--no-check-update", "--no-show-model-warnings"]
    program = installed / "aider" / "bin" / "aider"
    return Command(
        [str(program), "--model", f"openai/{model_id}", "--message", prompt, "--no-show-release-notes", *quiet],
        {"OPENAI_API_BASE": system.base_url, "OPENAI_API_KEY": account.api_key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )


def _codex(model_id: str, installed: Path, system: System, account: Account, project: Path, prompt: str) -> Command:
    home = project.parent / "home" / ".codex"
    home.mkdir()
    (home / "config.toml").write_text(
        f'''model = "{model_id}"
model_provider = "tokenline"
web_search = "disabled"

[model_providers.tokenline]
name = "Tokenline"
base_url = "{system.base_url}"
env_key = "TOKENLINE_API_KEY"
wire_api = "responses"
supports_websockets = true
'''
    )
    # The package's own command is a script that starts this.
    (program,) = (installed / "node_modules" / "@openai").glob("codex-*/vendor/*/bin/codex")
    return Command(
        [str(program), "exec", "--skip-git-repo-check", "--sandbox", "danger-full-access", prompt],
        {"TOKENLINE_API_KEY": account.api_key},
    )


CLAUDE_CODE: Final = Agent("claude-code", "claude-sonnet-4-6", _claude_code, 1, 1, "Bash")
# A model without a tokenizer here: one that has it counts more than the simulator says where JSON comes in small pieces.
OPENCODE: Final = Agent("opencode", "qwen-flash", _opencode, 2, 2, "bash")
QWEN_CODE: Final = Agent(
    "qwen-code", "qwen3-coder-plus", _qwen_code, 2, 1, "run_shell_command", tool_arguments={"is_background": False}
)
# It heeds no x-should-retry, and for a minute waits twice as long after each refusal.
AIDER: Final = Agent("aider", "deepseek-v4-pro", _aider, 1, 9)
CODEX: Final = Agent(
    "codex",
    "gpt-4.1",
    _codex,
    1,
    1,
    "exec_command",
    "cmd",
    dropped="client_metadata",
    refused_status=429,
    refused_words="Quota exceeded. Check your plan and billing details.",
)
AGENTS: Final = (CLAUDE_CODE, OPENCODE, QWEN_CODE, AIDER, CODEX)


def node() -> str:
    """The Node that runs SDKs."""
    found = shutil.which("node")
    assert found is not None, "node is needed, 20 or later: see https://nodejs.org"
    return found
