"""`python -m tests.faults.costs`: what a call costs each service of a cell, in CPU and on disk; the inputs of the capacity model.

Calls are as long as those of a real trace, where one stands beside the project. Everything is a process of its own; accounting has
two owners that share their partitions through etcd, on PostgreSQL.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any, Final

from services.cli.processes import cpu_s
from tests.faults.cell import FaultCell, eventually
from tests.faults.load import SHORT, Load, of_trace
from tests.traces import TRACES

_TRACE: Final = TRACES / "chat_azure2023_conv.csv"
_SECONDS: Final = 60.0
_WORKERS: Final = 64
_ACCOUNTS: Final = 1_000


class _Books:
    """What stands on disk and was used, at one moment."""

    def __init__(self, cell: FaultCell) -> None:
        database = cell.database.partition("?")[0].rpartition("/")[2]
        self.database_bytes = _number(cell, f"SELECT pg_database_size('{database}')")
        self.wal_bytes = _number(cell, "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')")
        self.commits = _number(cell, f"SELECT xact_commit FROM pg_stat_database WHERE datname = '{database}'")
        self.cdr_bytes = sum(path.stat().st_size for path in Path(cell.folder, "cdr").iterdir())
        self.revision = cell.etcd.revision()
        pids = {
            "accounting": [each.pid for each in cell.accounting],
            "edge": [cell.edges[0].pid],
            "authentication": [cell.authentication.pid],
            "registry": [cell.registry.pid],
            "billing": [cell.billing.pid],
            "database": [cell.postgresql.pid],
            "etcd": cell.etcd.pids,
        }
        self.cpu_s = {name: sum(map(cpu_s, each)) for name, each in pids.items()}


def _number(cell: FaultCell, query: str) -> int:
    return int(float(cell.postgresql.psql(query).splitlines()[2]))


async def _measure(cell: FaultCell) -> dict[str, Any]:
    keys = await asyncio.to_thread(cell.new_keys, _ACCOUNTS, 1_000_000_000)
    lengths = of_trace(_TRACE) if _TRACE.exists() else SHORT
    load = Load([cell.base_url()], keys, workers=_WORKERS, lengths=lengths)
    async with load.running():
        await asyncio.sleep(5.0)
        audited = await asyncio.to_thread(cell.admin, "POST", "/audit", {})
        before = await asyncio.to_thread(_Books, cell)
        calls = len(load.acknowledged)
        await asyncio.sleep(_SECONDS)
        calls = len(load.acknowledged) - calls
        after = await asyncio.to_thread(_Books, cell)
    await asyncio.to_thread(eventually, lambda: not cell.admin("POST", "/audit", {})["open_sessions"], "all sessions end", 30.0)
    entries = (await asyncio.to_thread(cell.admin, "POST", "/audit", {}))["entries"] - audited["entries"]
    assert not load.failures, load.failures
    return {
        "calls_per_second": round(calls / _SECONDS, 1),
        "entries_per_call": round(entries / calls, 2),
        **{
            f"{name}_us_per_call": round((after.cpu_s[name] - before.cpu_s[name]) * 1e6 / calls, 1)
            for name in before.cpu_s
            if name != "etcd"
        },
        "etcd_ms_per_second": round((after.cpu_s["etcd"] - before.cpu_s["etcd"]) * 1e3 / _SECONDS, 2),
        "etcd_writes_per_second": round((after.revision - before.revision) / _SECONDS, 2),
        "database_bytes_per_call": round((after.database_bytes - before.database_bytes) / calls),
        "wal_bytes_per_call": round((after.wal_bytes - before.wal_bytes) / calls),
        "database_commits_per_second": round((after.commits - before.commits) / _SECONDS, 1),
        "cdr_bytes_per_call": round((after.cdr_bytes - before.cdr_bytes) / calls),
    }


def main() -> int:
    """Prints the figures, a line each."""
    with FaultCell(etcd_members=1) as cell:
        for name, value in asyncio.run(_measure(cell)).items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
