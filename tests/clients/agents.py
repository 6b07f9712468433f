"""How each agent is told of a Tokenline, and asked for one turn. docs/clients.md says the same to people."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from tests.clients.system import Account, Place

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
    # The dialect that it speaks: chat, messages or responses.
    dialect: str
    command: Callable[[str, Path, Place, Account, Path, str], Command]
    # Calls in a turn without tools: the turn's own, and for titles and suggestions beside it.
    calls: int
    # Calls in such a turn where each is refused as used up; 0: it goes on for longer than anybody waits.
    refusals: int
    # The tool that runs a command; "": it has none.
    shell_tool: str = ""
    # The argument that has the command, and what it must be told beside it.
    command_argument: str = "command"
    tool_arguments: dict[str, bool] = {}
    # Whether that argument is a list of commands.
    lists_commands: bool = False
    # Whether an answer that calls no tool is shown.
    shows_words: bool = True
    # Fields of its calls that vendors are not told, as the edge names them.
    dropped: str = ""
    # The status of its refusals, and its own words for them; "": it shows ours.
    refused_status: int = 402
    refused_words: str = ""
    # A part of what it shows for a revoked key.
    revoked_words: str = "Incorrect API key provided"

    def turn(self, installed: Path, system: Place, account: Account, folder: Path, prompt: str, model_id: str = "") -> Turn:
        """Runs one turn in a folder and a home of its own, of which nothing runs on."""
        home = folder / "home"
        (folder / "project").mkdir(parents=True)
        home.mkdir()
        command = self.command(model_id or self.model_id, installed, system, account, folder / "project", prompt)
        begun_s = time.monotonic()
        try:
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
        finally:
            _end_all_of(home)
        # Some break lines where a terminal would end.
        shown = " ".join((ended.stdout + ended.stderr).split())
        return Turn(ended.returncode, ended.stdout, shown, time.monotonic() - begun_s)


def _end_all_of(home: Path) -> None:
    """Kills what a client left running in the background: every process that has this home."""
    told = f"HOME={home}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if told in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            # It has ended, or is another's.
            continue


def _claude_code(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
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


def _opencode(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
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


def _qwen_code(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
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


def _aider(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
    quiet = ["--no-git", "--yes-always", "--no-pretty", "--analytics-disable", "--no-check-update", "--no-show-model-warnings"]
    program = installed / "aider" / "bin" / "aider"
    return Command(
        [str(program), "--model", f"openai/{model_id}", "--message", prompt, "--no-show-release-notes", *quiet],
        {"OPENAI_API_BASE": system.base_url, "OPENAI_API_KEY": account.api_key, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )


def _codex(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
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


def _cline(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
    (program,) = (installed / "node_modules" / "@cline").glob("cli-*/bin/cline")
    # It asks its own settings for the address, which a command of its own writes.
    steps = '"$0" auth -p openai-compatible -k "$1" -m "$2" -b "$3" && exec "$0" -P openai-compatible "$4"'
    return Command(["sh", "-c", steps, str(program), account.api_key, model_id, system.base_url, prompt], {})


def _mini(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
    program = installed / "frameworks" / "bin" / "mini"
    arguments = ["--model", f"openai/{model_id}", "--yolo", "--exit-immediately", "--cost-limit", "0", "--task", prompt]
    return Command(
        [str(program), *arguments, "--output", str(project / "steps.json")],
        {
            "OPENAI_API_BASE": system.base_url,
            "OPENAI_API_KEY": account.api_key,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MSWEA_CONFIGURED": "true",
            # It knows no price of this model.
            "MSWEA_COST_TRACKING": "ignore_errors",
        },
    )


def _mini_for_ever(model_id: str, installed: Path, system: Place, account: Account, project: Path, prompt: str) -> Command:
    """As above, without a bound on answers that have no command; a refused call is not tried again."""
    command = _mini(model_id, installed, system, account, project, prompt)
    program, *arguments = command.arguments
    unbounded = ["--config", "mini.yaml", "--config", "agent.max_consecutive_format_errors=0"]
    return Command([program, *unbounded, *arguments], {**command.environment, "MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT": "1"})


CLAUDE_CODE: Final = Agent("claude-code", "claude-sonnet-4-6", "messages", _claude_code, 1, 1, "Bash")
# A model without a tokenizer here: one that has it counts more than the simulator says where JSON comes in small pieces.
OPENCODE: Final = Agent("opencode", "qwen-flash", "chat", _opencode, 2, 2, "bash")
QWEN_CODE: Final = Agent(
    "qwen-code", "qwen3-coder-plus", "chat", _qwen_code, 2, 1, "run_shell_command", tool_arguments={"is_background": False}
)
# It heeds no x-should-retry, and for a minute waits twice as long after each refusal.
AIDER: Final = Agent("aider", "deepseek-v4-pro", "chat", _aider, 1, 9)
CODEX: Final = Agent(
    "codex",
    "gpt-4.1",
    "responses",
    _codex,
    1,
    1,
    "exec_command",
    "cmd",
    dropped="client_metadata",
    refused_status=429,
    refused_words="Quota exceeded. Check your plan and billing details.",
)
CLINE: Final = Agent("cline", "qwen-flash", "chat", _cline, 1, 1, "run_commands", "commands", lists_commands=True)
# It wants a command in each answer, asks twice more for one, and gives up.
MINI: Final = Agent("mini-swe-agent", "qwen-flash", "chat", _mini, 3, 0, "bash", shows_words=False)
# A model that only talks is asked for a command again and again, in a conversation that grows.
MINI_FOR_EVER: Final = Agent("mini-swe-agent-for-ever", "qwen-flash", "chat", _mini_for_ever, 0, 1, "bash", shows_words=False)
AGENTS: Final = (CLAUDE_CODE, OPENCODE, QWEN_CODE, AIDER, CODEX, CLINE, MINI)


def node() -> str:
    """The Node that runs SDKs."""
    found = shutil.which("node")
    assert found is not None, "node is needed, 20 or later: see https://nodejs.org"
    return found
