"""`tokenline bench charging`: what accounting reaches over its real stream, every answer durable before it leaves."""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import msgspec

from services.cli import charging_seed
from services.cli.bench_cell import OWN_CHECKOUT, checkout_of
from services.cli.bench_report import Spread, spread
from services.cli.charging_seed import CATALOG, PARTITIONS, Seed, Seeded, account_id, open_store
from services.cli.failures import CommandError, CommandFailed, expected_errors
from services.cli.processes import CPU_TICK_S, Processes, environment_of, terminated_as_interrupted

if TYPE_CHECKING:
    from services.cli.charging_load import ChargingLoad, ChargingMeasured
    from services.cli.etcd_server import EtcdServer
    from services.cli.postgresql_server import PostgresqlServer

_MODEL_ID: Final = "deepseek-v4-flash"
_OWNERS_MAX: Final = 8
# At most, and no longer than what is measured.
_WARM_UP_S_MAX: Final = 3.0
# Two checkouts take turns this often: machines drift from minute to minute.
_ROUNDS: Final = 5
_MICROSECONDS: Final = 1_000_000


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """The store and the load, as the command's options say."""

    # "sqlite" or "postgresql".
    store: str
    seconds: float
    # In the store.
    accounts: int
    # Accounts that are used, by Zipf's law; None: all, evenly.
    active: int | None
    # Open at once.
    sessions: int
    # Operations a second; 0: as many as go.
    rate: float
    # Buckets an account.
    buckets: int
    # Subscriptions due at once as the server begins.
    renewals: int
    mix: str


class OtherCharging(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the other checkout, and this one's CPU over its CPU."""

    folder: str
    rounds: int
    operations_per_second: float
    p50_ms: float
    p99_ms: float
    server_cpu_us_per_operation: float
    database_cpu_us_per_operation: float
    # The server's CPU an operation, of each pair of rounds.
    server_cpu_ratio: Spread
    failures: dict[str, int]


class ChargingReport(msgspec.Struct, frozen=True, kw_only=True):
    """Measured figures. CPU is user and system time over the measured time, divided by the operations."""

    operations_per_second: float
    p50_ms: float
    p99_ms: float
    # At half of operations_per_second, operations due at fixed times.
    p99_ms_at_half_rate: float
    p50_ms_at_half_rate: float
    # Operations a second on accounts with one bucket and no limit.
    bare_operations_per_second: float
    owners: int
    # The first owner's, and all of them.
    server_pid: int
    server_pids: list[int]
    # All owners together.
    server_cpu_us_per_operation: float
    database_cpu_us_per_operation: float
    generator_cpu_us_per_operation: float
    # Requests to etcd are none of them: this is what members and claims cost while nothing changes.
    etcd_cpu_ms_per_second: float
    journal_bytes_per_entry: float
    # A row for each partition that a commit wrote to.
    journal_rows_per_second: float
    server_resident_mib: float
    # From the start of the process until it answers.
    ready_s: float
    store: str
    accounts: int
    active: int
    mix: str
    sessions: int
    buckets: int
    # Subscriptions whose cycle had ended when the server began, and how many of them a second were renewed beside the load.
    renewals: int
    renewals_per_second: float
    failures: dict[str, int]
    # None: only this checkout was measured.
    against: OtherCharging | None


@click.command("charging")
@click.option("--store", default="postgresql", type=click.Choice(["sqlite", "postgresql"]), help="Default: postgresql.")
@click.option("--seconds", default=10.0, type=click.FloatRange(min=0.5), metavar="S", help="How long each part is. Default: 10.")
@click.option("--accounts", default=1_000, type=click.IntRange(1, 100_000_000), metavar="N", help="In the store. Default: 1,000.")
@click.option(
    "--active",
    default=None,
    type=click.IntRange(1),
    metavar="N",
    help="Accounts that are used, by Zipf's law. Default: all, evenly.",
)
@click.option("--sessions", default=1_024, type=click.IntRange(4, 100_000), metavar="N", help="Open at once. Default: 1,024.")
@click.option("--rate", default=0.0, type=click.FloatRange(min=0), metavar="R", help="Operations a second. Default: as many as go.")
@click.option("--buckets", default=3, type=click.IntRange(1, 1_000), metavar="N", help="Buckets an account. Default: 3.")
@click.option("--renewals", default=0, type=click.IntRange(0), metavar="N", help="Due at once as it begins. Default: none.")
@click.option("--mix", default="voltdb", type=click.Choice(["voltdb", "agent"]), help="Default: voltdb, with 20 % top-ups.")
@click.option(
    "--owners",
    default="1",
    metavar="N",
    help="Processes that share the partitions; several, like 1,2, are measured in turn. Default: 1.",
)
@click.option(
    "--against",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Another checkout: the full accounts of both take turns in five rounds.",
)
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def charging_command(owners: str, against: Path | None, output: str, **options: Any) -> None:
    """Measure accounting alone: report-and-reserve over its gRPC stream, durable before each answer.

    Server, database and load generator are processes of their own in a temporary folder. An account has 2 rate limits, 2 usage
    windows and a member's cap. Ends with 1 when an operation failed.
    """
    other = None if against is None else checkout_of(against)
    counts = [int(each) for each in owners.split(",") if each.strip().isdigit()]
    if len(counts) != owners.count(",") + 1 or not all(1 <= each <= _OWNERS_MAX for each in counts):
        raise click.UsageError(f"--owners takes numbers from 1 to {_OWNERS_MAX}, like 1,2")
    workload = Workload(**options)
    if workload.store == "sqlite" and counts != [1]:
        raise click.UsageError("--owners goes with --store postgresql: an SQLite file has one owner")
    with expected_errors(), terminated_as_interrupted():
        reports = [_bench(workload, each, other) for each in counts]
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(reports[0] if len(reports) == 1 else reports)))
    else:
        _print_table(reports)
    failures = _together(*(each.failures for report in reports for each in (report, report.against) if each is not None))
    if failures:
        raise CommandFailed("; ".join(f"{count} operations failed: {how}" for how, count in failures.items()))


class _Servers(NamedTuple):
    """Servers that accounting needs."""

    folder: Path
    owners: int
    # None: SQLite.
    database: "PostgresqlServer | None"
    # None: one owner needs none.
    etcd: "EtcdServer | None"

    def new_store(self, name: str) -> str:
        """The place of an empty store."""
        return self.database.new_database() if self.database else str(self.folder / f"{name}.sqlite3")


@contextmanager
def _servers(store: str, owners: int) -> Iterator[_Servers]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        (folder / "catalog").mkdir()
        (folder / "catalog" / "bench.yaml").write_text(CATALOG, encoding="utf-8")
        database = etcd = None
        if store == "postgresql":
            from services.cli.postgresql_server import PostgresqlServer

            database = stack.enter_context(PostgresqlServer())
        if owners > 1:
            from services.cli.etcd_server import EtcdServer

            etcd = stack.enter_context(EtcdServer())
        yield _Servers(folder, owners, database, etcd)


class _Cell(NamedTuple):
    """Accounting on a seeded store of its own, and the load generator."""

    place: str
    workload: Workload
    processes: Processes
    generator: Any
    addresses: list[str]
    server_pids: list[int]
    # Everything whose CPU is measured, by name: "server-0" and so on, "load", "database", "etcd".
    pids: dict[str, int]
    # The time at which the renewals are due.
    due_us: int
    ready_s: float
    served_from_s: float

    def measure(self, rate: float, seconds: float) -> "tuple[ChargingMeasured, dict[str, float]]":
        """Makes the load at `rate` operations a second, 0: as many as go. Returns seconds of CPU by name, too."""
        from services.cli.charging_load import ChargingMeasured

        load = _load(self.addresses, self.workload, rate, seconds)
        measured, used = self.processes.measure(self.generator, load, ChargingMeasured, list(self.pids.values()))
        return measured, dict(zip(self.pids, used, strict=True))


@contextmanager
def _cell(servers: _Servers, workload: Workload, offering_id: str, checkout: Path = OWN_CHECKOUT) -> Iterator[_Cell]:
    folder = Path(tempfile.mkdtemp(dir=servers.folder))
    processes = Processes(folder)
    try:
        place = servers.new_store(folder.name)
        due_us = _seed(place, workload, offering_id, checkout)
        addresses, ready_s = _serve(processes, servers, place, folder.name, checkout)
        served_from_s = time.monotonic()
        generator = processes.start("load", "-m", "services.cli.charging_load")
        server_pids = [processes.pids[_owner_name(number)] for number in range(servers.owners)]
        pids = {f"server-{number}": pid for number, pid in enumerate(server_pids)}
        pids["load"] = processes.pids["load"]
        pids |= {
            name: server.pid for name, server in (("database", servers.database), ("etcd", servers.etcd)) if server is not None
        }
        yield _Cell(place, workload, processes, generator, addresses, server_pids, pids, due_us, ready_s, served_from_s)
    finally:
        processes.stop()


def _seed(place: str, workload: Workload, offering_id: str, checkout: Path) -> int:
    """Fills an empty store by a checkout's own code, and returns when its renewals are due. Errors: `CommandError`."""
    seed = Seed(
        place=place,
        store=workload.store,
        offering_id=offering_id,
        accounts=workload.accounts,
        buckets=workload.buckets,
        renewals=workload.renewals,
    )
    run = subprocess.run(  # noqa: S603  # our own module
        [sys.executable, "-P", charging_seed.__file__],
        input=msgspec.json.encode(seed),
        capture_output=True,
        cwd=checkout,
        env=environment_of(checkout),
        check=False,
    )
    if run.returncode:
        said = run.stderr.decode(errors="replace").strip().splitlines()
        raise CommandError(f"the code in {checkout} could not make the store: {said[-1] if said else 'it said nothing'}")
    return msgspec.json.decode(run.stdout, type=Seeded).due_us


class _Rounds:
    """The measured rounds of one cell."""

    def __init__(self, cell: _Cell, rate: float) -> None:
        self._cell = cell
        self._rate = rate
        self.rounds: list[tuple[ChargingMeasured, dict[str, float]]] = []

    def measure(self, seconds: float) -> None:
        """One more."""
        self.rounds.append(self._cell.measure(self._rate, seconds))

    @property
    def operations_per_second(self) -> float:
        """The mean over all rounds."""
        return round(self._operations / sum(measured.seconds for measured, _ in self.rounds), 1)

    @property
    def _operations(self) -> int:
        return sum(measured.operations for measured, _ in self.rounds)

    @property
    def seconds(self) -> float:
        """The measured time."""
        return sum(measured.seconds for measured, _ in self.rounds)

    @property
    def p50_ms(self) -> float:
        """The median of the rounds' medians."""
        return statistics.median(measured.p50_ms for measured, _ in self.rounds)

    @property
    def p99_ms(self) -> float:
        """The median of the rounds' 99th percentiles."""
        return statistics.median(measured.p99_ms for measured, _ in self.rounds)

    @property
    def failures(self) -> dict[str, int]:
        """How operations failed: how many."""
        return _together(*(measured.failures for measured, _ in self.rounds))

    def cpu_s(self, process: str) -> float:
        """CPU time of the processes whose names begin so."""
        return sum(used for _, each in self.rounds for name, used in each.items() if name.startswith(process))

    def cpu_us(self, process: str) -> float:
        """CPU time for each operation, in microseconds."""
        return round(self.cpu_s(process) * _MICROSECONDS / max(self._operations, 1), 2)

    def server_cpu_ratio(self, other: "_Rounds") -> Spread:
        """The servers' CPU an operation over that of another cell, in each pair of rounds."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        return spread([_server_cpu_us(*own) / max(_server_cpu_us(*of_other), CPU_TICK_S) for own, of_other in pairs])


def _server_cpu_us(measured: "ChargingMeasured", used: dict[str, float]) -> float:
    seconds = sum(each for name, each in used.items() if name.startswith("server"))
    return max(seconds, CPU_TICK_S) * _MICROSECONDS / max(measured.operations, 1)


def _together(*counts: dict[str, int]) -> dict[str, int]:
    return dict(sum(map(Counter, counts), Counter[str]()))


def _bench(workload: Workload, owners: int, other_checkout: Path | None) -> ChargingReport:
    with _servers(workload.store, owners) as servers:
        bare_workload = msgspec.structs.replace(workload, accounts=min(workload.accounts, 1_000), buckets=1, renewals=0)
        with _cell(servers, bare_workload, "bench-bare") as cell:
            bare, _ = cell.measure(workload.rate, workload.seconds)
        with ExitStack() as stack:
            cell = stack.enter_context(_cell(servers, workload, "bench-full"))
            own, other = _Rounds(cell, workload.rate), None
            if other_checkout is None:
                own.measure(workload.seconds)
            else:
                other_cell = stack.enter_context(_cell(servers, workload, "bench-full", other_checkout))
                other = _Rounds(other_cell, workload.rate)
                for number in range(_ROUNDS):
                    # None is always the first of a pair.
                    for side in (own, other) if number % 2 == 0 else (other, own):
                        side.measure(workload.seconds / _ROUNDS)
            resident_mib = max(map(_resident_mib, cell.server_pids))
            half_rate, _ = cell.measure(own.operations_per_second / 2, workload.seconds)
            served_s = time.monotonic() - cell.served_from_s
            still_due = asyncio.run(_still_due(cell.place, workload.store, cell.due_us)) if workload.renewals else 0
            rows, entries, written = asyncio.run(_journal(cell.place, workload.store))
    return ChargingReport(
        operations_per_second=own.operations_per_second,
        p50_ms=own.p50_ms,
        p99_ms=own.p99_ms,
        p99_ms_at_half_rate=half_rate.p99_ms,
        p50_ms_at_half_rate=half_rate.p50_ms,
        bare_operations_per_second=round(bare.operations / bare.seconds, 1),
        owners=owners,
        server_pid=cell.server_pids[0],
        server_pids=cell.server_pids,
        server_cpu_us_per_operation=own.cpu_us("server"),
        database_cpu_us_per_operation=own.cpu_us("database"),
        generator_cpu_us_per_operation=own.cpu_us("load"),
        etcd_cpu_ms_per_second=round(own.cpu_s("etcd") * 1_000 / own.seconds, 2),
        journal_bytes_per_entry=round(written / max(entries, 1), 1),
        journal_rows_per_second=round(rows / served_s, 1),
        server_resident_mib=resident_mib,
        ready_s=round(cell.ready_s, 2),
        store=workload.store,
        accounts=workload.accounts,
        active=workload.active or workload.accounts,
        mix=workload.mix,
        sessions=workload.sessions,
        buckets=workload.buckets,
        renewals=workload.renewals,
        renewals_per_second=round((workload.renewals - still_due) / served_s, 1),
        failures=_together(bare.failures, own.failures, half_rate.failures),
        against=None if other is None else _other_report(own, other, other_checkout),
    )


def _other_report(own: _Rounds, other: _Rounds, checkout: Path | None) -> OtherCharging:
    return OtherCharging(
        folder=str(checkout),
        rounds=len(other.rounds),
        operations_per_second=other.operations_per_second,
        p50_ms=other.p50_ms,
        p99_ms=other.p99_ms,
        server_cpu_us_per_operation=other.cpu_us("server"),
        database_cpu_us_per_operation=other.cpu_us("database"),
        server_cpu_ratio=own.server_cpu_ratio(other),
        failures=other.failures,
    )


def _load(addresses: list[str], workload: Workload, rate: float, seconds: float) -> "ChargingLoad":
    from services.cli.charging_load import ChargingLoad

    used = min(workload.active or workload.accounts, workload.accounts)
    # Spread over all accounts of the store, not the first ones of it.
    step = workload.accounts // used
    return ChargingLoad(
        addresses=addresses,
        account_ids=[account_id(number * step) for number in range(used)],
        bucket_id="bkt-bench-0",
        model_id=_MODEL_ID,
        mix=workload.mix,
        zipf=workload.active is not None,
        sessions=workload.sessions,
        streams=4,
        warm_up_s=min(_WARM_UP_S_MAX, workload.seconds),
        seconds=seconds,
        rate=rate,
    )


def _owner_name(number: int) -> str:
    return f"accounting-{number}" if number else "accounting"


def _serve(processes: Processes, servers: _Servers, place: str, prefix: str, checkout: Path) -> tuple[list[str], float]:
    """The addresses of owners on a checkout's code, and the seconds until all of them answered."""
    from services.registry.catalog_folder import base_catalog_folder

    registry = processes.serve(
        "registry", listen_address="127.0.0.1:0", catalog_folders=[str(base_catalog_folder()), str(servers.folder / "catalog")]
    )
    begin_s = time.monotonic()
    where: dict[str, Any] = {"postgresql": place} if servers.database else {"database": place}
    if servers.etcd:
        where |= {"etcd": {"endpoints": [servers.etcd.endpoint]}, "etcd_prefix": f"/{prefix}/"}
    addresses = [
        processes.serve(
            "accounting",
            _owner_name(number),
            checkout,
            listen_address="127.0.0.1:0",
            registry_address=registry,
            partitions=PARTITIONS,
            **where,
        )
        for number in range(servers.owners)
    ]
    for address in addresses:
        asyncio.run(_await_serving(address))
    return addresses, time.monotonic() - begin_s


async def _await_serving(address: str) -> None:
    from services.runtime.clients import connect
    from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc

    async with connect(address) as channel:
        stub = accounting_pb2_grpc.AccountingServiceStub(channel)
        while True:
            try:
                await stub.ListPartitions(accounting_pb2.ListPartitionsRequest(), timeout=5)
            except Exception:  # whatever it says, it is not ready yet
                await asyncio.sleep(0.05)
            else:
                return


async def _still_due(place: str, store_name: str, due_us: int) -> int:
    """How many accounts the store has on which something is due since `due_us`."""
    store = await open_store(place, store_name)
    try:
        return await store.snapshot(
            lambda snapshot: sum(
                each.next_due_us is not None and each.next_due_us <= due_us
                for part_id in range(PARTITIONS)
                for each in snapshot.checkpoints(part_id)
            )
        )
    finally:
        await store.close()


async def _journal(place: str, store_name: str) -> tuple[int, int, int]:
    """How many rows the journal has, how many entries, and how many bytes."""
    store = await open_store(place, store_name)

    def count(snapshot: Any) -> tuple[int, int, int]:
        rows = entries = written = 0
        for part_id in range(PARTITIONS):
            for row in snapshot.rows(part_id, 0):
                rows += 1
                entries += row.entry_count
                written += len(row.body)
        return rows, entries, written

    try:
        return await store.snapshot(count)
    finally:
        await store.close()


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1_024, 1)
    return 0.0


def _print_table(reports: Sequence[ChargingReport]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    title = f"Charging operations on {reports[0].store}"
    table = Table(show_header=len(reports) > 1, box=box.SIMPLE_HEAD, title=title, title_justify="left")
    table.add_column()
    for report in reports:
        table.add_column(f"{report.owners} owner{'s' if report.owners > 1 else ''}", justify="right")

    def row(name: str, value: Callable[[ChargingReport], str]) -> None:
        table.add_row(name, *(value(report) for report in reports))

    row("operations a second", lambda report: f"{report.operations_per_second:,.0f}")
    row("on an account with one bucket and no limit", lambda report: f"{report.bare_operations_per_second:,.0f}")
    row("p50 / p99", lambda report: f"{report.p50_ms:,.1f} / {report.p99_ms:,.1f} ms")
    row("p50 / p99 at half that rate", lambda report: f"{report.p50_ms_at_half_rate:,.1f} / {report.p99_ms_at_half_rate:,.1f} ms")
    row("server CPU an operation", lambda report: f"{report.server_cpu_us_per_operation:,.1f} us")
    row("database CPU an operation", lambda report: f"{report.database_cpu_us_per_operation:,.1f} us")
    row("load generator CPU an operation", lambda report: f"{report.generator_cpu_us_per_operation:,.1f} us")
    row("etcd CPU", lambda report: f"{report.etcd_cpu_ms_per_second:,.1f} ms/s")
    row("journal: bytes an entry, rows a second", _journal_text)
    row("server resident", lambda report: f"{report.server_resident_mib:,.0f} MiB")
    row("server ready after", lambda report: f"{report.ready_s:,.2f} s")
    row("accounts / active", lambda report: f"{report.accounts:,} / {report.active:,}")
    row("sessions open at once", lambda report: f"{report.sessions:,}")
    row("buckets of an account", lambda report: f"{report.buckets:,}")
    row("renewals due / renewed a second", lambda report: f"{report.renewals:,} / {report.renewals_per_second:,.0f}")
    row("mix", lambda report: report.mix)
    Console().print(table)
    for report in reports:
        if report.against is not None:
            _print_against(report, report.against)


def _print_against(report: ChargingReport, other: OtherCharging) -> None:
    from rich.console import Console

    ratio = other.server_cpu_ratio
    Console().print(
        f"against {other.folder}, {report.owners} owner{'s' if report.owners > 1 else ''}, {other.rounds} rounds: "
        f"{other.operations_per_second:,.0f} operations a second, server CPU {other.server_cpu_us_per_operation:,.1f} us, "
        f"database CPU {other.database_cpu_us_per_operation:,.1f} us; "
        f"server CPU of this checkout over it: {ratio.median} ({ratio.min} to {ratio.max})",
        soft_wrap=True,
    )


def _journal_text(report: ChargingReport) -> str:
    return f"{report.journal_bytes_per_entry:,.0f}, {report.journal_rows_per_second:,.0f}"
