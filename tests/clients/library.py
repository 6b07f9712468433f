"""The libraries that are tried: which of their dialects, with which model, run by what.

Each script takes DIALECT BASE_URL API_KEY MODEL MODE PROMPT. MODE is `tools` (whole answers, and a tool `shout` that is run until
there is a text) or `stream`. It prints a line of JSON: `text`, `ended` (why, in the library's own word; "": it does not say),
`shouted` (what the tool was asked), and `error` (null, or type, status and message).
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.clients.agents import node
from tests.clients.system import Account, Place

_RUN_S_MAX: Final = 120
_ROOT: Final = Path(__file__).parents[2]


class Shown(msgspec.Struct, frozen=True):
    """What a person at the library sees."""

    text: str
    ended: str | None
    shouted: list[str]
    error: dict[str, Any] | None


class Library(msgspec.Struct, frozen=True):
    """A library in one dialect."""

    name: str
    # The environment that has it in `.clients`; "": the tests' own.
    environment: str
    script: str
    dialect: str
    # Calls that it makes before it tells of a used-up quota.
    refusals: int = 1
    # It adds /v1 by itself.
    adds_version: bool = False
    # It tells why an answer ended.
    tells_end: bool = True
    # The error by which it tells of a cut answer, of which it has given the text; "": none.
    cut_error: str = ""
    # Fields of its calls that vendors are not told, as the edge names them.
    dropped: str = ""

    @property
    def id(self) -> str:
        """For the names of tests."""
        return f"{self.name} {self.dialect}".replace(" ", "-")

    @property
    def model_id(self) -> str:
        """A model of a vendor that speaks the dialect."""
        return {"chat": "qwen-flash", "responses": "gpt-4.1", "messages": "claude-sonnet-4-6"}[self.dialect]

    @property
    def refused_status(self) -> int:
        """Of a used-up quota."""
        return 429 if self.dialect == "responses" else 402

    def run(self, installed: Path, system: Place, account: Account, model_id: str, mode: str, prompt: str) -> Shown:
        """Runs its script."""
        base_url = system.root if self.adds_version else system.base_url
        arguments = [self.dialect, base_url, account.api_key, model_id, mode, prompt]
        if self.script.endswith(".mjs"):
            command = [node(), str(Path(__file__).parent / "libraries" / self.script), str(installed), *arguments]
        else:
            python = str(installed / self.environment / "bin" / "python") if self.environment else sys.executable
            command = [python, "-m", f"tests.clients.libraries.{self.script}", *arguments]
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_RUN_S_MAX,
            cwd=_ROOT,
            env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "LANGSMITH_TRACING": "false", "PYTHONPATH": str(_ROOT)},
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return msgspec.convert(json.loads(ended.stdout.splitlines()[-1]), Shown)


LIBRARIES: Final = (
    Library("openai for Python", "", "openai_sdk", "chat"),
    Library("openai for Python", "", "openai_sdk", "responses"),
    Library("anthropic for Python", "", "anthropic_sdk", "messages", adds_version=True),
    Library("openai for Node", "", "sdks.mjs", "chat"),
    Library("openai for Node", "", "sdks.mjs", "responses"),
    Library("anthropic for Node", "", "sdks.mjs", "messages", adds_version=True),
    # It heeds no x-should-retry.
    Library("AI SDK openai", "", "ai_sdk.mjs", "responses", refusals=3),
    Library("AI SDK anthropic", "", "ai_sdk.mjs", "messages"),
    Library("AI SDK openai-compatible", "", "ai_sdk.mjs", "chat"),
    Library("openai-agents", "frameworks", "openai_agents", "responses", tells_end=False, cut_error="ModelBehaviorError"),
    Library("openai-agents", "frameworks", "openai_agents", "chat", tells_end=False),
    Library("pydantic-ai", "frameworks", "pydantic_ai_agent", "responses", tells_end=False),
    Library("pydantic-ai", "frameworks", "pydantic_ai_agent", "chat", tells_end=False),
    Library("pydantic-ai", "frameworks", "pydantic_ai_agent", "messages", adds_version=True, tells_end=False),
    Library("LangChain", "frameworks", "langchain_chat", "chat"),
    Library("LangChain", "frameworks", "langchain_chat", "responses"),
    Library("LangChain", "frameworks", "langchain_chat", "messages", adds_version=True),
    Library("litellm", "frameworks", "litellm_calls", "chat"),
    Library("litellm", "frameworks", "litellm_calls", "responses"),
    Library("litellm", "frameworks", "litellm_calls", "messages", adds_version=True),
    Library("llama-index", "llama_index", "llama_index_calls", "chat", tells_end=False),
)
