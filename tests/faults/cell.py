"""A whole cell of real processes: etcd, PostgreSQL, replicas of accounting, edges and the others, each of which can be hurt."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self
from urllib.error import URLError
from urllib.request import Request, urlopen

from services.cli.postgresql_server import PostgresqlServer
from services.cli.processes import free_ports
from services.registry.catalog_folder import base_catalog_folder
from tests.etcd_cluster import EtcdCluster
from tests.faults.clock import write_off
from tests.waiting import WAIT_S

# Tcc is twice this.
VALIDITY_MS: Final = 2_000
PARTITIONS: Final = 16


class Process:
    """A service's process: always on the same address, so that it can come back."""

    def __init__(self, folder: Path, name: str, kind: str, environment: Mapping[str, str], **config: Any) -> None:
        self._folder = folder
        self.name = name
        self.kind = kind
        self._environment = environment
        self._config = config
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        """Where it serves HTTP."""
        port: int = self._config["port"]
        return port

    @property
    def admin_port(self) -> int:
        """Where an edge serves operators."""
        port: int = self._config["admin_port"]
        return port

    @property
    def address(self) -> str:
        """Where it serves gRPC."""
        address: str = self._config["listen_address"]
        return address

    @property
    def metrics_port(self) -> int:
        """Where it shows its metrics."""
        port: int = self._config.get("admin_port") or self._config["telemetry"]["metrics_port"]
        return port

    @property
    def config_file(self) -> Path:
        return self._folder / f"{self.name}.yaml"

    @property
    def _clock_file(self) -> Path:
        return self._folder / f"{self.name}.clock"

    def set_clock(self, ahead_s: float) -> None:
        """Sets its machine's clock so many seconds ahead of what is right."""
        write_off(self._clock_file, ahead_s)

    @property
    def ended(self) -> bool:
        """Whether it has ended, by itself too."""
        return self._process is None or self._process.poll() is not None

    def start(self) -> None:
        # JSON is YAML.
        self.config_file.write_text(json.dumps(self._config), encoding="utf-8")
        self.set_clock(0.0)
        program = [sys.executable, "-m", "tests.faults.clock", str(self._clock_file)]
        with (self._folder / f"{self.name}.log").open("a", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [*program, "serve", self.kind, "--config", str(self.config_file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert " listens on " in line, f"{self.name} did not start: {self.log[-2_000:]}"

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9."""
        self.send(signal.SIGKILL)
        self._ended()

    def stop(self) -> float:
        """SIGTERM; returns how long it took to end, in seconds."""
        began_s = time.monotonic()
        self.send(signal.SIGTERM)
        self._ended()
        return time.monotonic() - began_s

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    @property
    def log(self) -> str:
        path = self._folder / f"{self.name}.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def end(self) -> None:
        """However it is."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._ended()


class Wire:
    """A connection between two services that can be cut."""

    def __init__(self, target: str) -> None:
        self.address = free_address()
        command = [sys.executable, "-m", "tests.faults.proxy", self.address.rpartition(":")[2], target]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def cut(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def mend(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


class FaultCell:
    """A context manager. `accounting` and `edges` are its replicas; further ones can be added.

    `wired`: services reach one another through wires, by name "caller-called", which can be cut. `environment`: that of all
    processes, beside this one's.
    """

    def __init__(
        self,
        *,
        accountings: int = 2,
        edges: int = 1,
        etcd_members: int = 3,
        wired: bool = False,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._counts = (accountings, edges)
        self._etcd_members = etcd_members
        self._wired = wired
        self._environment = environment
        self.wires: dict[str, Wire] = {}

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="tokenline-faults-")
        self.folder = Path(self._temporary.name)
        self.etcd = EtcdCluster(self._etcd_members)
        self.postgresql = PostgresqlServer()
        self._all: list[Process] = []
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is not None:
            for process in self._all:
                print(f"--- {process.name}: {process.log[-3_000:]}", file=sys.stderr)
        self._end()

    def _end(self) -> None:
        for process in reversed(self._all):
            process.end()
        for wire in self.wires.values():
            wire.end()
        self.postgresql.__exit__(None, None, None)
        self.etcd.__exit__()
        self._temporary.cleanup()

    def _start(self) -> None:
        self.etcd.__enter__()
        self.postgresql.__enter__()
        self.database = self.postgresql.new_database()
        self.admin_token = token_hex(16)
        (self.folder / "admin_token").write_text(self.admin_token, encoding="ascii")
        (self.folder / "hash_key").write_text(token_hex(32), encoding="ascii")
        accountings, edges = self._counts
        self._addresses = [f"127.0.0.1:{port}" for port in free_ports(accountings + 2)]
        self.registry = self._add("registry", listen_address=free_address(), catalog_folders=[str(base_catalog_folder())])
        self.accounting = [self.add_accounting() for _ in range(accountings)]
        # Any of them can be asked, also those that are added later.
        self._accounting_target = "ipv4:" + ",".join(
            self._through(f"edge-accounting-{number}", address) for number, address in enumerate(self._addresses)
        )
        self.authentication = self._add(
            "authentication",
            listen_address=free_address(),
            postgresql=self._database("authentication-postgresql"),
            hash_key_file=str(self.folder / "hash_key"),
        )
        self.billing = self._add(
            "billing",
            listen_address=free_address(),
            postgresql=self._database("billing-postgresql"),
            cdr_folder=str(self.folder / "cdr"),
            accounting_address=self._through("billing-accounting", self._addresses[0]),
            export_interval_ms=500,
        )
        self.simulator = self._add("vendor-simulator", port=free_ports(1)[0])
        self.edges = [self.add_edge() for _ in range(edges)]
        for process in (self.registry, *self.accounting, self.authentication, self.billing, self.simulator, *self.edges):
            process.start()
        self.await_ready()

    def _add(self, kind: str, name: str = "", **config: Any) -> Process:
        if kind != "edge":
            config["telemetry"] = {"metrics_port": free_ports(1)[0]}
        process = Process(self.folder, name or kind, kind, self._environment, **config)
        self._all.append(process)
        return process

    def _through(self, name: str, address: str) -> str:
        """The address by which it is reached."""
        if not self._wired:
            return address
        if name not in self.wires:
            self.wires[name] = Wire(address)
        return self.wires[name].address

    def _database(self, wire: str) -> str:
        """The URL of the database, as reached through a wire."""
        if not self._wired:
            return self.database
        location, _, host = self.database.partition("?host=")
        address = self._through(wire, f"{host}/.s.PGSQL.5432")
        return f"postgresql://postgres@{address}/{location.rpartition('/')[2]}?sslmode=disable"

    def add_accounting(self) -> Process:
        """A further replica, not started yet."""
        number = sum(each.name.startswith("accounting") for each in self._all)
        return self._add(
            "accounting",
            f"accounting-{number}",
            listen_address=self._addresses[number],
            advertised_address=self._through(f"edge-accounting-{number}", self._addresses[number]),
            postgresql=self._database(f"accounting-postgresql-{number}"),
            etcd={"endpoints": [self._through(f"accounting-etcd-{number}-{each}", each) for each in self.etcd.endpoints]},
            registry_address=self._through("accounting-registry", self.registry.address),
            partitions=PARTITIONS,
            validity_ms=VALIDITY_MS,
        )

    def add_edge(self) -> Process:
        """A further edge, not started yet."""
        number = sum(each.name.startswith("edge") for each in self._all)
        return self._add(
            "edge",
            f"edge-{number}",
            port=free_ports(1)[0],
            admin_port=free_ports(1)[0],
            registry_address=self._through("edge-registry", self.registry.address),
            authentication_address=self._through("edge-authentication", self.authentication.address),
            accounting_address=self._accounting_target,
            billing_address=self._through("edge-billing", self.billing.address),
            admin_token_file=str(self.folder / "admin_token"),
            simulator_base_url=f"http://{self._through('edge-vendor', f'127.0.0.1:{self.simulator.port}')}/v1",
            idle_timeout_ms=15_000,
            outbox=str(self.folder / f"outbox-{number}.sqlite3"),
            drain_timeout_ms=5_000,
        )

    @property
    def processes(self) -> Sequence[Process]:
        """All services' processes."""
        return self._all

    def process(self, name: str) -> Process:
        """A service by the name of its process, like accounting-0."""
        (process,) = [each for each in self._all if each.name == name]
        return process

    # Asking

    def base_url(self, edge: int = 0) -> str:
        return f"http://127.0.0.1:{self.edges[edge].port}"

    def operators_url(self, edge: int = 0) -> str:
        return f"http://127.0.0.1:{self.edges[edge].admin_port}"

    def admin(self, method: str, path: str, body: Any = None, timeout_s: float = 60.0) -> Any:
        """What the administration answers. Errors: `OSError`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.admin_token}", "Content-Type": "application/json"}
        request = Request(f"{self.operators_url()}/v1/admin{path}", data, headers, method=method)
        with urlopen(request, timeout=timeout_s) as response:
            return json.load(response)

    def await_ready(self) -> None:
        """Returns once every edge is ready."""
        for number in range(len(self.edges)):
            eventually(lambda number=number: self._is_ready(number), "the edge is ready")  # type: ignore[misc]

    def _is_ready(self, edge: int) -> bool:
        try:
            with urlopen(f"{self.operators_url(edge)}/readyz", timeout=2.0):
                return True
        except (URLError, OSError):
            return False

    def new_keys(self, count: int, tokens: int) -> list[str]:
        """API keys of so many new accounts with so many tokens each."""
        return [self.key_of(self.admin("POST", "/accounts", {})["account_id"], tokens) for _ in range(count)]

    def key_of(self, account_id: str, tokens: int) -> str:
        """An API key of an account that gets so many tokens."""
        bucket = {"unit": "TOKEN", "amount": tokens * 1_000_000, "valid_days": 30, "idempotency_key": "first"}
        self.admin("POST", f"/accounts/{account_id}/buckets", bucket)
        api_key: str = self.admin("POST", f"/accounts/{account_id}/keys", {})["api_key"]
        return api_key


def eventually(condition: Callable[[], object], what: str, seconds: float = WAIT_S) -> None:
    """Returns once the condition holds. Errors: `AssertionError` that says what did not come."""
    until_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until_s, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


def free_address() -> str:
    return f"127.0.0.1:{free_ports(1)[0]}"
