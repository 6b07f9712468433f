"""`tokenline bench edge`: what the edge reaches with every service a process of its own, and that the bill is exact."""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

import click
import msgspec

from services.cli.bench_charging import charging_command
from services.cli.failures import CommandError, CommandFailed, expected_errors
from services.cli.processes import Processes, terminated_as_interrupted

if TYPE_CHECKING:
    from services.cli.client import System

_ACCOUNTS: Final = 100
# Enough for every call of the longest run.
_TOPUP_AMOUNT: Final = 1_000_000_000 * 1_000_000
_WARM_UP_S: Final = 2.0
_DIRECT_SECONDS: Final = 2.0
_START_S_MAX: Final = 30.0
_STOP_S_MAX: Final = 20.0
_WHOLE_STORE_TIMEOUT_S: Final = 600.0
_POLL_S: Final = 0.02
_MICROSECONDS: Final = 1_000_000


class EdgeReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. CPU is user and system time of the processes over the measured time."""

    calls_per_second: float
    direct_calls_per_second: float
    edge_pids: list[int]
    accounting_pids: list[int]
    edge_cpu_us_per_call: float
    accounting_cpu_us_per_call: float
    # Percentiles through the edge less those of the vendor simulator alone, at the same number of connections.
    p50_ms_over_direct: float
    p99_ms_over_direct: float
    connections: int
    seconds: float
    calls: int
    failed: int
    # How they failed: number of calls.
    failures: dict[str, int]
    database: str
    # What audit and reconciliation found wrong.
    breaches: list[str]
    differences: list[str]


@click.group("bench")
def bench_group() -> None:
    """Measure throughput and latency."""


bench_group.add_command(charging_command)


@bench_group.command("edge")
@click.option("--seconds", default=10.0, type=click.FloatRange(min=0.5), metavar="S", help="How long to measure. Default: 10.")
@click.option("--connections", default=64, type=click.IntRange(1, 10_000), metavar="N", help="Calls at once. Default: 64.")
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the report is printed.")
def edge_command(seconds: float, connections: int, output: str) -> None:
    """Measure chat completions through the edge against a vendor simulator.

    Every service and the load generator are processes of their own in a temporary folder, quota and durable usage are on.
    Ends with 1 when a call failed, or audit or reconciliation finds the bill not exact.
    """
    with expected_errors(), terminated_as_interrupted():
        report = _bench_edge(seconds, connections)
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(report)))
    else:
        _print_table(report)
    wrong = [*report.breaches, *report.differences, *(f"{count} calls failed: {how}" for how, count in report.failures.items())]
    if wrong:
        raise CommandFailed("; ".join(wrong))


def _bench_edge(seconds: float, connections: int) -> EdgeReport:
    from services.cli.client import System
    from services.cli.load import Load, Measured

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        processes = Processes(folder)
        stack.callback(processes.stop)
        token = token_hex(32)
        edge_address, simulator_address = _start_services(processes, folder, token)
        system = System(edge_address, token, "the edge has ended")
        _await_ready(edge_address, processes)
        api_keys = _make_accounts(system)
        model_id = _model(system)
        body = {
            "model": model_id,
            "messages": [{"role": "user", "content": "Say in one sentence what a token is."}],
            "max_tokens": 50,
            "simulate": {"output_tokens": 20},
        }

        def load(base_url: str, warm_up_s: float, seconds: float) -> Load:
            return Load(
                url=f"{base_url}/chat/completions",
                api_keys=api_keys,
                body=msgspec.json.encode(body).decode(),
                connections=connections,
                warm_up_s=warm_up_s,
                seconds=seconds,
            )

        generator = processes.start("load", "-m", "services.cli.load")
        edge, accounting = processes.pids["edge"], processes.pids["accounting"]
        direct, _ = processes.measure(generator, load(simulator_address, _WARM_UP_S / 2, _DIRECT_SECONDS), Measured, [])
        if direct.failed or not direct.calls:
            raise CommandError(f"the vendor simulator alone did not answer every call: {direct.failures}")
        through, cpu_s = processes.measure(generator, load(edge_address, _WARM_UP_S, seconds), Measured, [edge, accounting])
        reconciled = system.ask("POST", "/reconcile", {}, _WHOLE_STORE_TIMEOUT_S)
        audited = system.ask("POST", "/audit", {}, _WHOLE_STORE_TIMEOUT_S)
    differences = list(reconciled["differences"])
    if not through.failed and reconciled["cdrs"] != through.succeeded_in_all:
        differences.append(f"{through.succeeded_in_all} calls were answered but there are {reconciled['cdrs']} CDRs")
    per_call = _MICROSECONDS / max(through.calls, 1)
    return EdgeReport(
        calls_per_second=round((through.calls - through.failed) / through.seconds, 1),
        direct_calls_per_second=round((direct.calls - direct.failed) / direct.seconds, 1),
        edge_pids=[edge],
        accounting_pids=[accounting],
        edge_cpu_us_per_call=round(cpu_s[0] * per_call, 1),
        accounting_cpu_us_per_call=round(cpu_s[1] * per_call, 1),
        p50_ms_over_direct=round(through.p50_ms - direct.p50_ms, 3),
        p99_ms_over_direct=round(through.p99_ms - direct.p99_ms, 3),
        connections=connections,
        seconds=round(through.seconds, 3),
        calls=through.calls,
        failed=through.failed,
        failures=through.failures,
        database="sqlite",
        breaches=list(audited["breaches"]),
        differences=differences,
    )


def _start_services(processes: Processes, folder: Path, admin_token: str) -> tuple[str, str]:
    """Starts every service; the base URLs of edge and simulator."""
    from services.registry.catalog_folder import base_catalog_folder

    anywhere = "127.0.0.1:0"
    (folder / "hash_key").write_text(token_hex(32), encoding="ascii")
    (folder / "admin_token").write_text(admin_token, encoding="ascii")
    registry = processes.serve("registry", listen_address=anywhere, catalog_folders=[str(base_catalog_folder())])
    authentication = processes.serve(
        "authentication",
        listen_address=anywhere,
        database=str(folder / "authentication.sqlite3"),
        hash_key_file=str(folder / "hash_key"),
    )
    accounting = processes.serve(
        "accounting", listen_address=anywhere, database=str(folder / "accounting.sqlite3"), registry_address=registry
    )
    billing = processes.serve(
        "billing",
        listen_address=anywhere,
        database=str(folder / "billing.sqlite3"),
        cdr_folder=str(folder / "cdr"),
        accounting_address=accounting,
    )
    simulator = processes.serve("vendor-simulator", port=0)
    edge = processes.serve(
        "edge",
        port=0,
        registry_address=registry,
        authentication_address=authentication,
        accounting_address=accounting,
        billing_address=billing,
        admin_token_file=str(folder / "admin_token"),
        simulator_base_url=simulator,
    )
    return edge, simulator


def _await_ready(base_url: str, processes: Processes) -> None:
    from services.cli.client import is_ready

    deadline_s = time.monotonic() + _START_S_MAX
    while True:
        ready, missing = is_ready(base_url)
        if ready:
            return
        processes.check()
        if time.monotonic() > deadline_s:
            raise CommandError(f"the edge is not ready after {_START_S_MAX:g} s; it waits for {', '.join(missing)}")
        time.sleep(_POLL_S)


def _make_accounts(system: "System") -> list[str]:
    """An API key of each of so many accounts with TOKEN to spend."""
    api_keys = []
    for number in range(_ACCOUNTS):
        account_id = system.ask("POST", "/accounts", {"idempotency_key": f"bench-{number}"})["account_id"]
        topup = {"unit": "TOKEN", "amount": _TOPUP_AMOUNT, "valid_days": 1, "idempotency_key": "bench"}
        system.ask("POST", f"/accounts/{account_id}/buckets", topup)
        api_keys.append(system.ask("POST", f"/accounts/{account_id}/keys", {})["api_key"])
    return api_keys


def _model(system: "System") -> str:
    model_id: str = system.ask("GET", "/models")["data"][0]["model_id"]
    return model_id


# Measuring


def _print_table(report: EdgeReport) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=box.SIMPLE_HEAD, title="Chat completions through the edge", title_justify="left")
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("calls a second", f"{report.calls_per_second:,.0f}"),
        ("calls a second of the simulator alone", f"{report.direct_calls_per_second:,.0f}"),
        ("edge CPU a call", f"{report.edge_cpu_us_per_call:,.0f} us"),
        ("accounting CPU a call", f"{report.accounting_cpu_us_per_call:,.0f} us"),
        ("p50 over the simulator's own", f"{report.p50_ms_over_direct:,.2f} ms"),
        ("p99 over the simulator's own", f"{report.p99_ms_over_direct:,.2f} ms"),
        ("connections", f"{report.connections:,}"),
        ("measured", f"{report.seconds:,.1f} s"),
        ("calls", f"{report.calls:,}"),
        ("failed", f"{report.failed:,}"),
        ("database", report.database),
        ("the bill is exact", "NO" if report.breaches or report.differences else "yes"),
    ):
        table.add_row(name, value)
    Console().print(table)
