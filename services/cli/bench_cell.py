"""A cell under a benchmark: every service of one checkout as a process of its own, its accounts, its model, its bill."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType
from typing import Final

import click
import msgspec

import services
from services.cli.client import System, is_ready
from services.cli.failures import CommandError
from services.cli.processes import Processes, resident_mib_peak

_ACCOUNTS: Final = 100
# Enough for every call of the longest run.
_TOPUP_AMOUNT: Final = 1_000_000_000 * 1_000_000
_START_S_MAX: Final = 30.0
_WHOLE_STORE_TIMEOUT_S: Final = 600.0
_POLL_S: Final = 0.02
_ANYWHERE: Final = "127.0.0.1:0"

# The checkout that this process runs.
OWN_CHECKOUT: Final = Path(services.__file__).resolve().parent.parent


def checkout_of(folder: Path) -> Path:
    """The checkout in a folder. Errors: `click.UsageError` when none is there."""
    checkout = folder.resolve()
    for needed in ("services/__main__.py", "protos/gen/tokenline"):
        if not (checkout / needed).exists():
            raise click.UsageError(f"--against {folder} is no checkout: it has no {needed}; make one with `git worktree add`")
    return checkout


class Bill(msgspec.Struct, frozen=True):
    """Findings of audit and reconciliation; empty where the bill is exact."""

    breaches: list[str]
    differences: list[str]
    # CDRs that were written.
    cdrs: int = 0


def start_simulator(processes: Processes) -> str:
    """Starts the vendor simulator of this checkout, as the vendor of every cell; its base URL."""
    return processes.serve("vendor-simulator", port=0)


class BenchCell:
    """A running cell."""

    def __init__(  # noqa: PLR0913  # each benchmark says what is its own
        self,
        processes: Processes,
        folder: Path,
        vendor_base_url: str,
        name: str,
        checkout: Path,
        *,
        certificates: Path | None = None,
        new_database: Callable[[], str] | None = None,
        layer: Path | None = None,
        edges: int = 1,
        edge_config: Mapping[str, object] = MappingProxyType({}),
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Starts the cell's services in a new folder `name` on the code of `checkout`, and waits until the first edge is ready.

        They call one another with TLS where there are `certificates`, as `tokenline certs` makes them. They store in PostgreSQL
        where `new_database` gives URLs of empty databases, else in SQLite. `layer`: a catalog folder over the base catalog.
        `environment` is added to that of this process.
        """
        self._new_database = new_database
        self._layer = layer
        self._edge_config = edge_config
        self.environment = environment
        self._processes = processes
        self._folder = folder / name
        self._name = name
        self._certificates = certificates
        self.checkout = checkout
        self._folder.mkdir()
        self._admin_token = token_hex(32)
        addresses = self._start(vendor_base_url, edges)
        # An older checkout serves clients and operators at one address.
        self.base_urls = [address.partition(", for operators on ")[0] for address in addresses]
        self.base_url = self.base_urls[0]
        self.admin_url = addresses[0].partition(", for operators on ")[2] or self.base_url
        self.edge_pid = processes.pids[f"{name}-edge"]
        self.accounting_pid = processes.pids[f"{name}-accounting"]
        self._system = System(self.admin_url, self._admin_token, "the edge has ended")
        self._await_ready()
        self.api_keys = make_accounts(self._system)

    def _serve(self, service: str, name: str = "", **config: object) -> str:
        if self._certificates is not None:
            files = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
            config |= {f"grpc_{what}_file": str(self._certificates / service / name) for what, name in files.items()}
            if "listen_address" in config:
                config["grpc_tls"] = "required"
        return self._processes.serve(service, name or f"{self._name}-{service}", self.checkout, self.environment, **config)

    def _stores_in(self, service: str) -> dict[str, str]:
        if self._new_database is not None:
            return {"postgresql": self._new_database()}
        return {"database": str(self._folder / f"{service}.sqlite3")}

    def _start(self, vendor_base_url: str, edges: int) -> list[str]:
        """The addresses of the edges, for clients and operators."""
        folder = self._folder
        (folder / "hash_key").write_text(token_hex(32), encoding="ascii")
        (folder / "admin_token").write_text(self._admin_token, encoding="ascii")
        catalog_folder = self.checkout / "services" / "registry" / "base_catalog"
        folders = [str(each) for each in (catalog_folder, self._layer) if each is not None]
        registry = self._serve("registry", listen_address=_ANYWHERE, catalog_folders=folders)
        authentication = self._serve(
            "authentication",
            listen_address=_ANYWHERE,
            **self._stores_in("authentication"),
            hash_key_file=str(folder / "hash_key"),
        )
        accounting = self._serve("accounting", listen_address=_ANYWHERE, **self._stores_in("accounting"), registry_address=registry)
        billing = self._serve(
            "billing",
            listen_address=_ANYWHERE,
            **self._stores_in("billing"),
            cdr_folder=str(folder / "cdr"),
            accounting_address=accounting,
        )
        has_admin_port = "admin_port" in (self.checkout / "services" / "edge" / "config.py").read_text(encoding="utf-8")
        return [
            self._serve(
                "edge",
                f"{self._name}-edge{number or ''}",
                port=0,
                **({"admin_port": 0} if has_admin_port else {}),
                registry_address=registry,
                authentication_address=authentication,
                accounting_address=accounting,
                billing_address=billing,
                admin_token_file=str(folder / "admin_token"),
                simulator_base_url=vendor_base_url,
                **self._edge_config,
            )
            for number in range(edges)
        ]

    def _await_ready(self) -> None:
        deadline_s = time.monotonic() + _START_S_MAX
        while True:
            ready, missing = is_ready(self.admin_url)
            if ready:
                return
            self._processes.check()
            if time.monotonic() > deadline_s:
                raise CommandError(f"the edge is not ready after {_START_S_MAX:g} s; it waits for {', '.join(missing)}")
            time.sleep(_POLL_S)

    def make_account(self, name: str, topup_amount: int) -> str:
        """See the function `make_account`."""
        return make_account(self._system, name, topup_amount)

    def models(self, context_tokens_min: int, output_tokens_min: int) -> list[str]:
        """See `models_of`."""
        return models_of(self._system, context_tokens_min, output_tokens_min)

    @property
    def edge_resident_mib(self) -> float:
        """The most memory that the edge has had resident, in MiB."""
        return resident_mib_peak(self.edge_pid)

    def bill(self, succeeded: int | None) -> Bill:
        """See `bill_of`."""
        return bill_of(self._system, succeeded, _WHOLE_STORE_TIMEOUT_S)


def make_accounts(system: System) -> list[str]:
    """An API key of each of `_ACCOUNTS` new accounts with TOKEN to spend."""
    return [make_account(system, f"bench-{number}", _TOPUP_AMOUNT) for number in range(_ACCOUNTS)]


def make_account(system: System, name: str, topup_amount: int) -> str:
    """An API key of a new account; `topup_amount` is in micro-TOKEN."""
    account_id = system.ask("POST", "/accounts", {"idempotency_key": name})["account_id"]
    topup = {"unit": "TOKEN", "amount": topup_amount, "valid_days": 1, "idempotency_key": "bench"}
    system.ask("POST", f"/accounts/{account_id}/buckets", topup)
    api_key = system.ask("POST", f"/accounts/{account_id}/keys", {})["api_key"]
    assert isinstance(api_key, str)
    return api_key


def models_of(system: System, context_tokens_min: int, output_tokens_min: int) -> list[str]:
    """The models that take at least this input and make at least this output, in the catalog's order."""
    return [
        model["model_id"]
        for model in system.ask("GET", "/models")["data"]
        if model["context_window_tokens"] >= context_tokens_min and model["max_output_tokens"] >= output_tokens_min
    ]


def bill_of(system: System, succeeded: int | None, timeout_s: float) -> Bill:
    """Audits and reconciles the whole store. As many CDRs must be there as calls succeeded; None: some failed."""
    reconciled = system.ask("POST", "/reconcile", {}, timeout_s)
    audited = system.ask("POST", "/audit", {}, timeout_s)
    differences = list(reconciled["differences"])
    if succeeded is not None and reconciled["cdrs"] != succeeded:
        differences.append(f"{succeeded} calls were answered but there are {reconciled['cdrs']} CDRs")
    return Bill(list(audited["breaches"]), differences, reconciled["cdrs"])
