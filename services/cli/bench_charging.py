"""`tokenline bench charging`: what accounting reaches over its real stream, every answer durable before it leaves."""

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click
import msgspec

from services.cli.failures import CommandFailed, expected_errors
from services.cli.processes import Processes, terminated_as_interrupted
from services.partitions import partition_of

if TYPE_CHECKING:
    from services.accounting.core.account.state import Account
    from services.accounting.journal.store import Store
    from services.cli.charging_load import ChargingLoad, ChargingMeasured
    from services.cli.etcd_server import EtcdServer
    from services.cli.postgresql_server import PostgresqlServer

_MODEL_ID: Final = "deepseek-v4-flash"
_ACCOUNT_ID: Final = "acct-0000000000"
_UNIT: Final = 1_000_000
_ACCOUNT_DIGITS: Final = 10
# Subscribers have a range of ids of their own.
_SUBSCRIBERS_FROM: Final = 9_000_000_000
_PARTITIONS: Final = 16
_OWNERS_MAX: Final = 8
_WARM_UP_S: Final = 3.0
_SEEDED_A_COMMIT: Final = 2_000
_MICROSECONDS: Final = 1_000_000
# Limits that count every operation and never refuse one.
_PLENTY: Final = 1_000_000_000
_CATALOG: Final = f"""
offerings:
  - offering_id: bench-full
    display_name: An account under two rates, two windows and a member's cap
    tariff_id: token-flat
    reservation_policy: worst_case
    limits:
      - {{limit_id: requests, per: account, requests_per_minute: {_PLENTY}}}
      - {{limit_id: tokens, per: key, tokens_per_minute: {_PLENTY}}}
      - {{limit_id: five-hours, per: key, usage: 1000000000000, unit: TOKEN, window: {{hours: 5}}}}
      - {{limit_id: day, per: account, usage: 1000000000000, unit: TOKEN, window: {{calendar: day}}}}
      - {{limit_id: cap, per: member, usage: 1000000000000, unit: TOKEN}}
  - offering_id: bench-bare
    display_name: An account with one bucket and no limit
    tariff_id: token-flat
    reservation_policy: worst_case
  - offering_id: bench-monthly
    display_name: 10 million tokens for 30 days, paid from prepaid money
    tariff_id: token-flat
    reservation_policy: worst_case
    price: {{amount: 9.9, currency: CNY}}
    payment_methods: [prepaid]
    cycle: {{period: day, count: 30}}
    allowances:
      - {{allowance_id: main, unit: TOKEN, amount: 10000000, notice_percents: [80, 100]}}
"""


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
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def charging_command(owners: str, output: str, **options: Any) -> None:
    """Measure accounting alone: report-and-reserve over its gRPC stream, durable before each answer.

    Server, database and load generator are processes of their own in a temporary folder. An account has 2 rate limits, 2 usage
    windows and a member's cap. Ends with 1 when an operation failed.
    """
    counts = [int(each) for each in owners.split(",") if each.strip().isdigit()]
    if len(counts) != owners.count(",") + 1 or not all(1 <= each <= _OWNERS_MAX for each in counts):
        raise click.UsageError(f"--owners takes numbers from 1 to {_OWNERS_MAX}, like 1,2")
    workload = Workload(**options)
    if workload.store == "sqlite" and counts != [1]:
        raise click.UsageError("--owners goes with --store postgresql: an SQLite file has one owner")
    with expected_errors(), terminated_as_interrupted():
        reports = [_bench(workload, each) for each in counts]
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(reports[0] if len(reports) == 1 else reports)))
    else:
        _print_table(reports)
    failures = {how: count for report in reports for how, count in report.failures.items()}
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
        (folder / "catalog" / "bench.yaml").write_text(_CATALOG, encoding="utf-8")
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

    def measure(self, rate: float) -> "tuple[ChargingMeasured, dict[str, float]]":
        """Makes the load at `rate` operations a second, 0: as many as go. Returns seconds of CPU by name, too."""
        from services.cli.charging_load import ChargingMeasured

        load = _load(self.addresses, self.workload, rate)
        measured, used = self.processes.measure(self.generator, load, ChargingMeasured, list(self.pids.values()))
        return measured, dict(zip(self.pids, used, strict=True))


@contextmanager
def _cell(servers: _Servers, workload: Workload, offering_id: str) -> Iterator[_Cell]:
    processes = Processes(servers.folder)
    try:
        place = servers.new_store(offering_id)
        due_us = asyncio.run(_seed(place, workload, offering_id))
        addresses, ready_s = _serve(processes, servers, place, offering_id)
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


def _bench(workload: Workload, owners: int) -> ChargingReport:
    with _servers(workload.store, owners) as servers:
        bare_workload = msgspec.structs.replace(workload, accounts=min(workload.accounts, 1_000), buckets=1, renewals=0)
        with _cell(servers, bare_workload, "bench-bare") as cell:
            bare, _ = cell.measure(workload.rate)
        with _cell(servers, workload, "bench-full") as cell:
            loaded, used = cell.measure(workload.rate)
            resident_mib = max(map(_resident_mib, cell.server_pids))
            half_rate, _ = cell.measure(loaded.operations / loaded.seconds / 2)
            served_s = time.monotonic() - cell.served_from_s
            still_due = asyncio.run(_still_due(cell.place, workload.store, cell.due_us)) if workload.renewals else 0
            rows, entries, written = asyncio.run(_journal(cell.place, workload.store))
    per_operation = _MICROSECONDS / max(loaded.operations, 1)
    return ChargingReport(
        operations_per_second=round(loaded.operations / loaded.seconds, 1),
        p50_ms=loaded.p50_ms,
        p99_ms=loaded.p99_ms,
        p99_ms_at_half_rate=half_rate.p99_ms,
        p50_ms_at_half_rate=half_rate.p50_ms,
        bare_operations_per_second=round(bare.operations / bare.seconds, 1),
        owners=owners,
        server_pid=cell.server_pids[0],
        server_pids=cell.server_pids,
        server_cpu_us_per_operation=round(sum(s for name, s in used.items() if name.startswith("server")) * per_operation, 2),
        database_cpu_us_per_operation=round(used.get("database", 0.0) * per_operation, 2),
        generator_cpu_us_per_operation=round(used["load"] * per_operation, 2),
        etcd_cpu_ms_per_second=round(used.get("etcd", 0.0) * 1_000 / loaded.seconds, 2),
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
        failures={how: count for each in (bare, loaded, half_rate) for how, count in each.failures.items()},
    )


def _load(addresses: list[str], workload: Workload, rate: float) -> "ChargingLoad":
    from services.cli.charging_load import ChargingLoad

    used = min(workload.active or workload.accounts, workload.accounts)
    # Spread over all accounts of the store, not the first ones of it.
    step = workload.accounts // used
    return ChargingLoad(
        addresses=addresses,
        account_ids=[_account_id(number * step) for number in range(used)],
        bucket_id="bkt-bench-0",
        model_id=_MODEL_ID,
        mix=workload.mix,
        zipf=workload.active is not None,
        sessions=workload.sessions,
        streams=4,
        warm_up_s=_WARM_UP_S,
        seconds=workload.seconds,
        rate=rate,
    )


def _owner_name(number: int) -> str:
    return f"accounting-{number}" if number else "accounting"


def _serve(processes: Processes, servers: _Servers, place: str, prefix: str) -> tuple[list[str], float]:
    """The owners' addresses, and the seconds until all of them answered."""
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
            listen_address="127.0.0.1:0",
            registry_address=registry,
            partitions=_PARTITIONS,
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


# The store, before accounting takes it over


def _account_id(number: int) -> str:
    return f"acct-{number:0{_ACCOUNT_DIGITS}}"


async def _open(place: str, store_name: str) -> "Store":
    from services.accounting.journal.postgresql import PostgresqlStore
    from services.accounting.journal.sqlite import SqliteStore
    from services.runtime.clock import SystemClock

    return await (PostgresqlStore.open(place, SystemClock()) if store_name == "postgresql" else SqliteStore.open(Path(place)))


async def _seed(place: str, workload: Workload, offering_id: str) -> int:
    """Puts the accounts into the store as checkpoints, as if they had been opened and topped up long ago.

    Returns the time at which the renewals are due.
    """
    from services.accounting.core.account.due import next_due_us
    from services.accounting.journal.codec import encode_checkpoint
    from services.accounting.journal.store import Checkpoint, Claim, PartitionWrite

    store = await _open(place, workload.store)
    era = (await store.initialise(_PARTITIONS)).era
    await store.claim("seed", era, [Claim(part_id, 0) for part_id in range(_PARTITIONS)], again=False)
    now_us = time.time_ns() // 1_000
    waiting: dict[int, list[Checkpoint]] = {part_id: [] for part_id in range(_PARTITIONS)}

    async def flush(part_id: int) -> None:
        checkpoints, waiting[part_id] = waiting[part_id], []
        await store.commit([PartitionWrite(part_id, 1, 1, 0, 0, None, 1, checkpoints)])

    async def save(first: int, count: int, template: Any) -> None:
        body, due_us = encode_checkpoint(template), next_due_us(template)
        for number in range(first, first + count):
            account_id = _account_id(number)
            part_id = partition_of(account_id, _PARTITIONS)
            named = body.replace(_ACCOUNT_ID.encode(), account_id.encode())
            waiting[part_id].append(Checkpoint(account_id, 0, 0, due_us, named))
            if len(waiting[part_id]) >= _SEEDED_A_COMMIT:
                await flush(part_id)

    await save(0, workload.accounts, _charged_account(offering_id, now_us, workload.buckets))
    subscriber = _subscriber(now_us)
    await save(_SUBSCRIBERS_FROM, workload.renewals, subscriber)
    for part_id in waiting:
        await flush(part_id)
    await store.close()
    due_us = next_due_us(subscriber)
    assert due_us is not None
    return due_us


async def _still_due(place: str, store_name: str, due_us: int) -> int:
    """How many accounts the store has on which something is due since `due_us`."""
    store = await _open(place, store_name)
    try:
        return await store.snapshot(
            lambda snapshot: sum(
                each.next_due_us is not None and each.next_due_us <= due_us
                for part_id in range(_PARTITIONS)
                for each in snapshot.checkpoints(part_id)
            )
        )
    finally:
        await store.close()


async def _journal(place: str, store_name: str) -> tuple[int, int, int]:
    """How many rows the journal has, how many entries, and how many bytes."""
    store = await _open(place, store_name)

    def count(snapshot: Any) -> tuple[int, int, int]:
        rows = entries = written = 0
        for part_id in range(_PARTITIONS):
            for row in snapshot.rows(part_id, 0):
                rows += 1
                entries += row.entry_count
                written += len(row.body)
        return rows, entries, written

    try:
        return await store.snapshot(count)
    finally:
        await store.close()


def _charged_account(offering_id: str, now_us: int, buckets: int) -> "Account":
    from services.accounting.core.account.evolve import evolve
    from services.accounting.core.entries import AccountOpened, BucketGranted

    account = evolve(None, AccountOpened(_ACCOUNT_ID, now_us, offering_id), 0, 0)
    for index in range(buckets):
        granted = BucketGranted(
            account_id=_ACCOUNT_ID,
            time_us=now_us,
            bucket_id=f"bkt-bench-{index}",
            unit="TOKEN",
            amount=1_000_000_000 * _UNIT,
            valid_from_us=now_us,
            valid_until_us=now_us + 365 * 86_400 * _MICROSECONDS,
            priority=index,
            idempotency_key=f"bench-{index}",
            digest=b"",
            repaid=0,
        )
        account = evolve(account, granted, 0, index + 1)
    return account


def _subscriber(now_us: int) -> "Account":
    """An account whose subscription's cycle ends now, with the money for many more."""
    from services.accounting.core.account.evolve import evolve
    from services.accounting.core.commands import GrantBucket, OpenAccount, PlaceOrder
    from services.accounting.core.decide import decide
    from services.accounting.core.terms import Payment
    from services.accounting.rpc.catalog import charging_catalog
    from services.registry.catalog_folder import base_catalog_folder, load_catalog

    began_us = now_us - 30 * 86_400 * _MICROSECONDS
    with tempfile.TemporaryDirectory(prefix="tokenline-bench-") as folder:
        (Path(folder) / "bench.yaml").write_text(_CATALOG, encoding="utf-8")
        catalog = charging_catalog(load_catalog([base_catalog_folder(), Path(folder)]), 30 * _MICROSECONDS)
    account = None
    index = 0
    for command in (
        OpenAccount(_ACCOUNT_ID, ""),
        GrantBucket(_ACCOUNT_ID, "CURRENCY:CNY", 1_000 * _UNIT, None, 365 * 86_400 * _MICROSECONDS, 0, "money"),
        PlaceOrder(_ACCOUNT_ID, "bench-monthly", Payment.PREPAID, "subscription"),
    ):
        for entry in decide(account, command, began_us, catalog).entries:
            index += 1
            account = evolve(account, entry, 0, index)
    assert account is not None
    return account


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


def _journal_text(report: ChargingReport) -> str:
    return f"{report.journal_bytes_per_entry:,.0f}, {report.journal_rows_per_second:,.0f}"
