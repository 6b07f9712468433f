"""`tokenline capacity`: how large a cell must be, from what it must bear and what a call was measured to cost.

The rule is VoltDB's for charging: calls a second = subscribers x share that is active / seconds between two calls of one.
"""

import math
from pathlib import Path
from typing import Final

import click
import msgspec

from services.cli.failures import expected_errors

_MICROSECONDS: Final = 1e6
_DAY_S: Final = 86_400
_GIB: Final = 1024**3
# A process more than needed, so that one can fail or be replaced at the peak.
_SPARE: Final = 1
# Partitions an owner should have at least, so that they spread evenly.
_PARTITIONS_AN_OWNER: Final = 8


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A time of the day: who calls, and how often."""

    active_percent: float
    seconds_per_call: float

    def __post_init__(self) -> None:
        if not 0 < self.active_percent <= 100 or self.seconds_per_call <= 0:
            raise ValueError("active_percent must be above 0 and at most 100, seconds_per_call above 0")


class Demand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The load that the cell must bear."""

    subscribers: int
    busy: Load
    surge: Load
    calls_a_day_per_subscriber: float
    operations_per_call: float

    def __post_init__(self) -> None:
        if self.subscribers < 1 or self.calls_a_day_per_subscriber <= 0 or self.operations_per_call < 2:
            raise ValueError("subscribers and calls_a_day_per_subscriber must be above 0, operations_per_call 2 or above")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How full machines may be, and how large they are."""

    utilisation_percent: float
    cores_per_database_server: int
    edge_cores_per_process: int
    days_kept: int

    def __post_init__(self) -> None:
        if not 0 < self.utilisation_percent <= 100:
            raise ValueError("utilisation_percent must be above 0 and at most 100")
        if min(self.cores_per_database_server, self.edge_cores_per_process, self.days_kept) < 1:
            raise ValueError("cores_per_database_server, edge_cores_per_process and days_kept must be 1 or above")


class Costs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured costs, in microseconds of CPU and in bytes."""

    accounting_us_per_operation: float
    accounting_database_us_per_operation: float
    accounting_us_per_operation_of_one: float
    edge_us_per_call: float
    authentication_us_per_call: float
    billing_us_per_call: float
    billing_database_us_per_call: float
    database_bytes_per_call: float
    wal_bytes_per_call: float
    cdr_bytes_per_call: float
    etcd_writes_per_second_per_replica: float
    hot_account_bytes: float
    packed_account_bytes: float

    def __post_init__(self) -> None:
        if any(value <= 0 for value in msgspec.structs.astuple(self)):
            raise ValueError("every cost must be above 0: measure it")


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    demand: Demand
    plan: Plan
    costs: Costs


class Size(msgspec.Struct, frozen=True):
    """Processes, CPU and memory for a load. Each service has a spare process; a process is single-threaded except the edge's."""

    calls_per_second: float
    operations_per_second: float
    edge_processes: int
    accounting_processes: int
    partitions: int
    billing_cores: float
    authentication_cores: float
    database_cores: float
    database_servers: int
    # Journal, checkpoints, indexes; and the log that a standby or an archive takes, at this rate.
    database_mib_per_second: float
    etcd_writes_per_second: float
    # All owners together: accounts in use, twice, because both old and new owners have them during a replacement.
    accounting_memory_gib: float


class Storage(msgspec.Struct, frozen=True):
    """Growth a day, and the whole that is kept, in GiB."""

    database_gib_a_day: float
    wal_gib_a_day: float
    cdr_gib_a_day: float
    kept_gib: float


class Capacity(msgspec.Struct, frozen=True):
    """The answer."""

    busy: Size
    surge: Size
    storage: Storage
    # Operations of two owners over those of one, as far as CPU goes.
    two_owners_over_one: float


def size_of(inputs: Inputs, load: Load) -> Size:
    """Processes, CPU and memory for a load."""
    demand, plan, costs = inputs.demand, inputs.plan, inputs.costs
    share = plan.utilisation_percent / 100
    calls = demand.subscribers * load.active_percent / 100 / load.seconds_per_call
    operations = calls * demand.operations_per_call

    def cores(us_per_call: float) -> float:
        return calls * us_per_call / _MICROSECONDS / share

    accounting = math.ceil(cores(costs.accounting_us_per_operation * demand.operations_per_call)) + _SPARE
    database = cores(costs.accounting_database_us_per_operation * demand.operations_per_call + costs.billing_database_us_per_call)
    return Size(
        calls_per_second=round(calls, 1),
        operations_per_second=round(operations, 1),
        edge_processes=math.ceil(cores(costs.edge_us_per_call) / plan.edge_cores_per_process) + _SPARE,
        accounting_processes=accounting,
        # A power of two: fixed at installation, so for the surge and for growth.
        partitions=2 ** math.ceil(math.log2(accounting * _PARTITIONS_AN_OWNER)),
        billing_cores=round(cores(costs.billing_us_per_call), 1),
        authentication_cores=round(cores(costs.authentication_us_per_call), 1),
        database_cores=round(database, 1),
        database_servers=math.ceil(database / plan.cores_per_database_server),
        database_mib_per_second=round(calls * costs.wal_bytes_per_call / 1024**2, 1),
        etcd_writes_per_second=round(accounting * costs.etcd_writes_per_second_per_replica, 1),
        accounting_memory_gib=round(2 * demand.subscribers * load.active_percent / 100 * costs.hot_account_bytes / _GIB, 1),
    )


def capacity_of(inputs: Inputs) -> Capacity:
    """Sizes for the busy hour and for the surge, and storage."""
    demand, plan, costs = inputs.demand, inputs.plan, inputs.costs
    gib_a_day = demand.subscribers * demand.calls_a_day_per_subscriber / _GIB
    storage = Storage(
        database_gib_a_day=round(gib_a_day * costs.database_bytes_per_call, 1),
        wal_gib_a_day=round(gib_a_day * costs.wal_bytes_per_call, 1),
        cdr_gib_a_day=round(gib_a_day * costs.cdr_bytes_per_call, 1),
        kept_gib=round(gib_a_day * plan.days_kept * (costs.database_bytes_per_call + costs.cdr_bytes_per_call)),
    )
    return Capacity(
        busy=size_of(inputs, demand.busy),
        surge=size_of(inputs, demand.surge),
        storage=storage,
        two_owners_over_one=round(2 * costs.accounting_us_per_operation_of_one / costs.accounting_us_per_operation, 2),
    )


@click.command("capacity")
@click.option("--inputs", "inputs_file", required=True, type=click.Path(path_type=Path), metavar="FILE", help="Demand and costs.")
@click.option("--output", default="table", type=click.Choice(["table", "json"]), help="How the answer is printed.")
def capacity_command(inputs_file: Path, output: str) -> None:
    """Say how large a cell must be: processes, database cores, disk a day, etcd writes.

    docs/capacity.yaml is such a FILE, with what was measured.
    """
    from services.cli.printing import print_answer, table
    from services.runtime.config import read_yaml

    with expected_errors():
        capacity = capacity_of(read_yaml(inputs_file, Inputs))

    def text(value: float) -> str:
        return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"

    def tables() -> list[object]:
        sizes = [[name, text(getattr(capacity.busy, name)), text(getattr(capacity.surge, name))] for name in Size.__struct_fields__]
        stored = [[name, text(getattr(capacity.storage, name))] for name in Storage.__struct_fields__]
        return [
            table("A cell", ("what", "busy hour", "surge"), sizes, right=("busy hour", "surge")),
            table("Disk", ("what", "GiB"), stored, right=("GiB",)),
        ]

    print_answer(msgspec.to_builtins(capacity), output, tables)
