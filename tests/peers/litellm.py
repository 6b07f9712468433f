"""LiteLLM's proxy, without its database.

Keys, budgets of keys and its log of spending need Prisma's query engine, a program that `prisma generate` fetches from
binaries.prisma.sh; no package registry has it. So it runs as far as packages go: a master key, and budgets of providers and
deployments, which its router keeps in the memory of each worker.
"""

from typing import Final

import msgspec

from services.cli.processes import free_ports
from tests.peers.calls import call, long_body
from tests.peers.install import python_environment
from tests.peers.systems import SMALL_PAYS_CALLS, Charged, Room, Small, await_answer

_MASTER_KEY: Final = "sk-bench"
_MODEL: Final = "simulated"
_SMALL_MODEL: Final = "small"
_USD_A_TOKEN: Final = 0.000_001
_USD_PLENTY: Final = 1_000_000.0
# As many as there are processors, as its guide for production says.
_WORKERS: Final = 2
# A worker that says nothing for longer is killed; while it imports it says nothing, and 5 s, as it comes, are too few.
_SILENT_S_MAX: Final = 60


class LiteLlm:
    """A running proxy."""

    def __init__(self, room: Room, name: str) -> None:
        """Errors: `PeerMissing`."""
        programs = python_environment("litellm") / "bin"
        self.name = name
        self.says = f"1.108.7, {_WORKERS} workers, one key, budgets in memory; no database, no log"
        self.vendor_base_url = room.vendor(name)
        self.model_id = _MODEL
        self.api_keys = [_MASTER_KEY]
        self.database_pids: list[int] = []
        folder = room.folder / name
        folder.mkdir()
        (port,) = free_ports(1)
        # JSON is YAML.
        (folder / "config.yaml").write_bytes(msgspec.json.encode(self._config()))
        environment = {
            "LITELLM_MASTER_KEY": _MASTER_KEY,
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOG": "ERROR",
            # No list of prices from elsewhere.
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "HOME": str(folder),
            "PATH": f"{programs}:/usr/bin:/bin",
        }
        serve = ("--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port))
        workers = ("--num_workers", str(_WORKERS), "--timeout_worker_healthcheck", str(_SILENT_S_MAX))
        command = (str(programs / "litellm"), *serve, *workers)
        self.gateway_pids = [room.processes.run(name, *command, folder=folder, environment=environment)]
        self.base_url = f"http://127.0.0.1:{port}/v1"
        await_answer(f"http://127.0.0.1:{port}/health/liveliness", room.processes)

    def _config(self) -> dict[str, object]:
        price = {"input_cost_per_token": _USD_A_TOKEN, "output_cost_per_token": _USD_A_TOKEN}
        vendor = {"model": "openai/simulated", "api_base": self.vendor_base_url, "api_key": "vendor", **price}
        cost = call(self.vendor_base_url, "vendor", long_body(_MODEL)).tokens * _USD_A_TOKEN
        small = {**vendor, "max_budget": SMALL_PAYS_CALLS * cost, "budget_duration": "1d"}
        return {
            "model_list": [
                {"model_name": _MODEL, "litellm_params": vendor},
                {"model_name": _SMALL_MODEL, "litellm_params": small},
            ],
            "router_settings": {"provider_budget_config": {"openai": {"budget_limit": _USD_PLENTY, "time_period": "1d"}}},
        }

    def charged(self) -> Charged | None:
        """See `System`: nothing is kept."""
        return None

    def small(self) -> Small | None:
        """See `System`: a deployment with a budget."""
        return Small(_MASTER_KEY, _SMALL_MODEL)

    def small_left(self, small: Small) -> float | None:
        """See `System`."""
        return None
