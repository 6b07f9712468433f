"""LiteLLM's proxy in the place of Tokenline, before a vendor simulator of its own: what the same libraries see there.

It runs without its database, because Prisma's query engine is in no package registry. So it has one key, the master's; budgets are
those of deployments, in dollars, which its router keeps in memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from services.cli.processes import Processes, free_ports
from tests.clients.recorder import Exchange, Recorder, recording
from tests.clients.system import LOST_FIRST, Account
from tests.peers.calls import ask
from tests.peers.install import python_environment
from tests.peers.systems import await_answer

MASTER_KEY: Final = "sk-proxy-master"
USD_A_TOKEN: Final = 0.000_001
# Models by the dialect that their vendor speaks.
_MODELS: Final = {
    "chat": ("qwen-flash", "qwen3-coder-plus", "deepseek-v4-pro"),
    "responses": ("gpt-4.1",),
    "messages": ("claude-sonnet-4-6",),
}
_DEAD: Final = "http://127.0.0.1:9"


class Proxy:
    """The running proxy."""

    def __init__(self, recorder: Recorder, vendor_url: str) -> None:
        self._recorder = recorder
        self._vendor_url = vendor_url
        self._before: dict[str, int] = {}

    @property
    def root(self) -> str:
        """The base URL of clients that add /v1 by themselves."""
        return self._recorder.url

    @property
    def base_url(self) -> str:
        """The base URL of all other clients."""
        return f"{self._recorder.url}/v1"

    def open_account(self) -> Account:
        """Whoever has the master's key; there is no other."""
        self._recorder.take()
        self._before = self._served()
        return Account("", "", MASTER_KEY, 0)

    def exchanges(self) -> list[Exchange]:
        """The calls since the last time."""
        return [exchange for exchange in self._recorder.take() if exchange.method in ("POST", "SEND")]

    def served(self) -> tuple[int, int]:
        """Calls and output tokens that the vendor made since the account was opened."""
        now, before = self._served(), self._before
        calls, output = (now.get(name, 0) - before.get(name, 0) for name in ("calls", "output_tokens"))
        return calls, output

    def _served(self) -> dict[str, int]:
        found = msgspec.json.decode(ask("GET", f"{self._vendor_url}/simulator/served").body)["by_key"]
        return dict(found.get("vendor", {}))


@contextmanager
def running_proxy(folder: Path, small: Sequence[tuple[str, str, float]]) -> Iterator[Proxy]:
    """Runs it. `small`: models in addition, by name, each with its dialect and its budget in dollars. Errors: `PeerMissing`."""
    programs = python_environment("litellm") / "bin"
    with ExitStack() as stack:
        processes = Processes(folder)
        stack.callback(processes.stop)
        vendor_url = processes.serve("vendor-simulator", "vendor", port=0, heeds_text=True)
        (port,) = free_ports(1)
        (folder / "config.yaml").write_bytes(msgspec.json.encode(_config(vendor_url, small)))
        environment = {
            "LITELLM_MASTER_KEY": MASTER_KEY,
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HOME": str(folder),
            "PATH": f"{programs}:/usr/bin:/bin",
        }
        command = (str(programs / "litellm"), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port))
        processes.run("litellm", *command, folder=folder, environment=environment)
        await_answer(f"http://127.0.0.1:{port}/health/liveliness", processes)
        yield Proxy(stack.enter_context(recording(f"http://127.0.0.1:{port}")), vendor_url)


def _config(vendor_url: str, small: Sequence[tuple[str, str, float]]) -> dict[str, Any]:
    deployments = [_deployment(model, dialect, vendor_url) for dialect, models in _MODELS.items() for model in models]
    for dialect, model in {"chat": LOST_FIRST["chat"], "messages": LOST_FIRST["messages"]}.items():
        deployments += [_deployment(model, dialect, _DEAD, order=1), _deployment(model, dialect, vendor_url, order=2)]
    deployments += [
        _deployment(model, dialect, vendor_url, max_budget=budget, budget_duration="1d") for model, dialect, budget in small
    ]
    return {"model_list": deployments, "router_settings": {"num_retries": 2, "retry_after": 0}}


def _deployment(model: str, dialect: str, vendor_url: str, **more: Any) -> dict[str, Any]:
    """A model at a vendor; the proxy adds /v1 by itself for messages."""
    vendor = "anthropic" if dialect == "messages" else "openai"
    url = vendor_url.removesuffix("/v1") if dialect == "messages" else vendor_url
    price = {"input_cost_per_token": USD_A_TOKEN, "output_cost_per_token": USD_A_TOKEN}
    return {
        "model_name": model,
        "litellm_params": {"model": f"{vendor}/{model}", "api_base": url, "api_key": "vendor", **price, **more},
    }
