"""`python -m tests.faults.drill [NAME ...]`: plants faults into a running cell; each must be found within a minute.

Found is a fault once Prometheus, which reads the cell and has the rules as they are shipped, raises the alert that is for it, and a
command shows the cause. Prints what was seen, and ends with 1 where something was not. Prometheus is the one that
`make .tools/promtool` puts in place.
"""

import asyncio
import json
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.request import urlopen

import yaml

from infra.observability.__main__ import FOLDER
from services.cli.processes import free_ports
from tests.cli.processes import ENVIRONMENT
from tests.faults.cell import FaultCell, Process, eventually
from tests.faults.load import Lengths, Load
from tests.faults.proxy import relay
from tests.observability.prometheus import tool
from tests.trust.authority import made, pems
from tests.waiting import WAIT_S

# The half hour before, as far as the rules look back for what is usual.
USUAL_S: Final = 200.0
_CALLS_PER_SECOND: Final = 10.0
_LONG: Final = (Lengths(2_000, 2_000),)


class Watch:
    """A context manager: Prometheus, which watches a cell with the shipped settings and rules."""

    def __init__(self, cell: FaultCell) -> None:
        self._cell = cell
        self.url = f"http://127.0.0.1:{free_ports(1)[0]}"

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="tokenline-prometheus-")
        folder = Path(self._temporary.name)
        shipped = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
        shipped["rule_files"] = [str(FOLDER / "rules.yaml")]
        shipped["scrape_configs"][0]["static_configs"] = [
            {"targets": [f"127.0.0.1:{each.metrics_port}"], "labels": {"app_kubernetes_io_component": each.kind}}
            for each in self._cell.processes
            if each.kind != "vendor-simulator"
        ]
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(shipped), encoding="utf-8")
        options = [f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"]
        address = f"--web.listen-address={self.url.removeprefix('http://')}"
        self._process = subprocess.Popen([tool("prometheus"), *options, address], stderr=subprocess.DEVNULL)
        eventually(lambda: self._is_there() and len(self.ask("up == 1")) > 1, "Prometheus reads the cell", 60.0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._temporary.cleanup()

    def _is_there(self) -> bool:
        try:
            return bool(self._get("/-/ready"))
        except OSError:
            return False

    def ask(self, expression: str) -> list[Any]:
        """What Prometheus answers now."""
        return list(json.loads(self._get("/api/v1/query?query=" + expression.replace(" ", "%20")))["data"]["result"])

    def is_raised(self, alert: str, labels: Mapping[str, str]) -> bool:
        """Whether an alert fires that has these labels."""
        alerts = json.loads(self._get("/api/v1/alerts"))["data"]["alerts"]
        firing = [each["labels"] for each in alerts if each["state"] == "firing"]
        return any(each.items() >= {"alertname": alert, **labels}.items() for each in firing)

    def _get(self, path: str) -> str:
        with urlopen(f"{self.url}{path}", timeout=WAIT_S) as answered:
            return str(answered.read().decode())


class TlsVendor:
    """The vendor DeepSeek at an address with TLS, behind which the cell's simulator answers; its certificate can end."""

    NAME: Final = "localhost"

    def __init__(self, folder: Path) -> None:
        self._authority = made(folder)
        self._port = free_ports(1)[0]
        self._terms = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._open = dict[asyncio.StreamWriter, asyncio.Task[None]]()

    @property
    def environment(self) -> dict[str, str]:
        """What lets a cell call it."""
        return {
            "TOKENLINE_DEEPSEEK_BASE_URL": f"https://{self.NAME}:{self._port}/v1",
            "TOKENLINE_DEEPSEEK_API_KEY": "sk-of-the-drill",
            "SSL_CERT_FILE": str(self._authority / "ca.crt"),
        }

    def take(self, *, ends_days: float) -> None:
        """Shows a certificate that ends in so many days from now on, to those who are connected, too."""
        key, certificate, _ = pems(self._authority, self.NAME, starts_days=-30, ends_days=ends_days)
        (self._authority / "vendor.pem").write_bytes(key + certificate)
        self._terms.load_cert_chain(self._authority / "vendor.pem")
        self._cut()

    def _cut(self) -> None:
        for each in self._open:
            each.transport.abort()

    @asynccontextmanager
    async def serving(self, simulator: Process) -> AsyncIterator[None]:
        """Answers meanwhile."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._open[writer] = asyncio.create_task(relay(reader, writer, f"127.0.0.1:{simulator.port}"))
            await self._open[writer]
            del self._open[writer]

        self.take(ends_days=30)
        async with await asyncio.start_server(connected, "127.0.0.1", self._port, ssl=self._terms):
            yield
            self._cut()
            await asyncio.gather(*self._open.values())


class Scene(NamedTuple):
    """A cell with somebody who watches it, and somebody who calls."""

    cell: FaultCell
    watch: Watch
    load: Load
    # Calls of one account that runs wild.
    wild: Load
    wild_account: str
    vendor: TlsVendor


class Exercise(NamedTuple):
    """A fault that holds in a context, the alert by which it is found, and the command that shows its cause."""

    name: str
    plant: Callable[[Scene], AbstractAsyncContextManager[None]]
    alert: str
    labels: Mapping[str, str]
    command: str
    # Says the cause: a pattern, in which ACCOUNT is the account that runs wild.
    says: str


class Seen(NamedTuple):
    """When the alert was raised and the cause was shown, in seconds after the fault, and what showed it."""

    exercise: Exercise
    raised_s: float
    shown_s: float
    line: str


@asynccontextmanager
async def vendor_away(scene: Scene) -> AsyncIterator[None]:
    scene.cell.simulator.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(scene.cell.simulator.start)


@asynccontextmanager
async def certificate_ends(scene: Scene) -> AsyncIterator[None]:
    scene.vendor.take(ends_days=-1)
    try:
        yield
    finally:
        scene.vendor.take(ends_days=30)


@asynccontextmanager
async def clock_jumps(scene: Scene) -> AsyncIterator[None]:
    replica = scene.cell.accounting[0]
    replica.set_clock(300.0)
    try:
        yield
    finally:
        replica.set_clock(0.0)


@asynccontextmanager
async def export_stops(scene: Scene) -> AsyncIterator[None]:
    # A file in the place of the CDR folder: nothing can be written there, whoever writes.
    folder = scene.cell.folder / "cdr"
    away = folder.rename(scene.cell.folder / "cdr-away")
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


@asynccontextmanager
async def account_runs_wild(scene: Scene) -> AsyncIterator[None]:
    async with scene.wild.running():
        yield


@asynccontextmanager
async def database_away(scene: Scene) -> AsyncIterator[None]:
    await asyncio.to_thread(scene.cell.postgresql.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(scene.cell.postgresql.start)


@asynccontextmanager
async def registry_killed(scene: Scene) -> AsyncIterator[None]:
    scene.cell.registry.kill()
    try:
        yield
    finally:
        await asyncio.to_thread(scene.cell.registry.start)


EXERCISES: Final = (
    Exercise("vendor away", vendor_away, "TokenlineVendorFails", {}, "tokenline top --once", r"deepseek .*[1-9]\d*%"),
    Exercise(
        "vendor's certificate ends",
        certificate_ends,
        "TokenlineVendorIsNotTrusted",
        {"vendor": "deepseek"},
        "tokenline doctor",
        r"vendor deepseek .*certificate has expired",
    ),
    Exercise(
        "clock jumps",
        clock_jumps,
        "TokenlineClockIsOff",
        {},
        'tail --lines 20 "$LOGS"/accounting-0.log',
        "the clock of this machine jumped 300 s ahead",
    ),
    Exercise("export stops", export_stops, "TokenlineExportStops", {}, 'tail --lines 5 "$LOGS/billing.log"', "cdr"),
    Exercise(
        "account runs wild",
        account_runs_wild,
        "TokenlineUsageJumps",
        {},
        "tokenline journal --from \"$(date --utc --date '1 minute ago' +%Y-%m-%dT%H:%M:%SZ)\" --output json"
        " | grep --only-matching 'acct-[a-z0-9]*' | sort | uniq --count | sort --numeric --reverse | head -1",
        "ACCOUNT",
    ),
    Exercise(
        "database away",
        database_away,
        "TokenlineOwnersRecover",
        {},
        'tokenline doctor --config "accounting=$ACCOUNTING_CONFIG"',
        r"fail +.*database",
    ),
    Exercise(
        "registry killed",
        registry_killed,
        "TokenlineServiceIsDown",
        {"app_kubernetes_io_component": "registry"},
        'tokenline doctor --config "accounting=$ACCOUNTING_CONFIG"',
        r"fail +.*registry",
    ),
)


async def exercised(scene: Scene, exercise: Exercise) -> Seen:
    """Plants the fault, waits until it is found, and ends it. Errors: `AssertionError` when it is not found in time."""
    async with exercise.plant(scene):
        began_s = time.monotonic()
        raised = partial(scene.watch.is_raised, exercise.alert, exercise.labels)
        await asyncio.to_thread(eventually, raised, f"{exercise.name}: {exercise.alert}", WAIT_S)
        raised_s = time.monotonic() - began_s
        says = exercise.says.replace("ACCOUNT", scene.wild_account)
        line = await asyncio.to_thread(eventually_said, scene.cell, exercise.command, says, WAIT_S)
        seen = Seen(exercise, raised_s, time.monotonic() - began_s, line)
    answered = len(scene.load.acknowledged)
    await asyncio.to_thread(eventually, lambda: len(scene.load.acknowledged) > answered + 50, "calls flow again", WAIT_S)
    return seen


def eventually_said(cell: FaultCell, command: str, says: str, seconds: float) -> str:
    """The line in which a command says it. Errors: `AssertionError` when it does not."""
    environment = {
        **ENVIRONMENT,
        "PATH": f"{Path(sys.executable).parent}:{ENVIRONMENT['PATH']}",
        "TOKENLINE_URL": cell.operators_url(),
        "TOKENLINE_TOKEN": cell.admin_token,
        "LOGS": str(cell.folder),
        "ACCOUNTING_CONFIG": str(cell.accounting[0].config_file),
    }
    until_s = time.monotonic() + seconds
    while True:
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False, timeout=WAIT_S)
        if found := re.search(f".*{says}.*", done.stdout):
            return found[0].strip()
        assert time.monotonic() < until_s, f"{command} does not say {says}:\n{done.stdout}\n{done.stderr}"


async def run(names: Sequence[str]) -> int:
    """All exercises, or those that are named; returns how many faults were not found."""
    with tempfile.TemporaryDirectory(prefix="tokenline-vendor-") as folder:
        vendor = TlsVendor(Path(folder))
        with FaultCell(environment=vendor.environment) as cell:
            async with vendor.serving(cell.simulator):
                return await _exercises(cell, vendor, names)


async def _exercises(cell: FaultCell, vendor: TlsVendor, names: Sequence[str]) -> int:
    missed = 0
    await asyncio.to_thread(cell.await_ready)
    usual = await asyncio.to_thread(cell.new_keys, 16, 1_000_000_000)
    wild_account = (await asyncio.to_thread(cell.admin, "POST", "/accounts", {}))["account_id"]
    wild = await asyncio.to_thread(cell.key_of, wild_account, 1_000_000_000)
    load = Load([cell.base_url()], usual, calls_per_second=_CALLS_PER_SECOND)
    with Watch(cell) as watch:
        wild_load = Load([cell.base_url()], [wild], workers=4, stream_every=2**30, lengths=_LONG)
        scene = Scene(cell, watch, load, wild_load, wild_account, vendor)
        async with load.running():
            print(f"Prometheus at {watch.url}; calls for {USUAL_S:g} s, so that it knows what is usual", flush=True)
            await asyncio.sleep(USUAL_S)
            for exercise in EXERCISES:
                if names and not any(name in exercise.name for name in names):
                    continue
                try:
                    seen = await exercised(scene, exercise)
                except AssertionError as error:
                    missed += 1
                    print(f"| {exercise.name} | NOT FOUND: {error} |", flush=True)
                else:
                    print(_row(seen), flush=True)
    return missed


def _row(seen: Seen) -> str:
    name, _, alert, _, command, _ = seen.exercise
    return f"| {name} | `{alert}` | {seen.raised_s:.0f} s | `{command}` | `{seen.line}` | {seen.shown_s:.0f} s |"


if __name__ == "__main__":
    sys.exit(min(1, asyncio.run(run(sys.argv[1:]))))
