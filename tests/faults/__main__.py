"""`python -m tests.faults [NAME ...]`: hurts a running cell in every way it must bear, under load, and counts what was lost.

Calls are as long as those of a real trace, where one stands beside the project. Prints a row a fault, then what the journal says of
each, and ends with 1 when a limit was passed, an acknowledged call was not charged, or charged twice, or something is still held
when Tcc is over. Without names all faults, one after another; connections are cut in a cell of its own, since a wire
accepts connections for a service that is dead.
"""

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, NamedTuple

from services.accounting.core.entries import SessionSettled
from services.accounting.journal.codec import decode_row
from services.accounting.journal.postgresql import PostgresqlStore
from services.accounting.journal.store import Snapshot
from services.runtime.clock import SystemClock
from tests.etcd_cluster import etcd_version
from tests.faults.cell import VALIDITY_MS, FaultCell, eventually
from tests.faults.load import SHORT, Lengths, Load, Outcome, of_trace
from tests.traces import TRACES

_TRACE: Final = TRACES / "chat_azure2023_conv.csv"
_BOOKED: Final = ("acknowledged and not charged", "charged twice", "charged otherwise than told")
_SETTLE_S: Final = 3.0
_TCC_S: Final = 2 * VALIDITY_MS / 1_000


class Scene:
    """The cell, the load on it, and what a fault does to them."""

    def __init__(self, cell: FaultCell, load: Load) -> None:
        self.cell = cell
        self.load = load

    async def do(self, work: Callable[[], Any]) -> Any:
        """What blocks, beside the load."""
        return await asyncio.to_thread(work)


class Fault(NamedTuple):
    """Something that goes wrong."""

    name: str
    act: Callable[[Scene], Awaitable[None]]
    # Between two answers, over all workers, in seconds.
    gap_s_max: float
    # Calls that may fail: each is charged for what it was told, or not at all.
    failures_allowed: bool = False
    # Calls wait for somebody else to take over, and a busy machine may be too slow for that.
    takes_over: bool = False
    # How long after the last step calls must flow as before.
    seconds_after: float = 3.0


async def rolling_restart(scene: Scene) -> None:
    for replica in scene.cell.accounting:
        await scene.do(replica.stop)
        await scene.do(replica.start)
        await asyncio.sleep(2.0)


async def scale(scene: Scene) -> None:
    added = [scene.cell.add_accounting() for _ in range(2)]
    for replica in added:
        await scene.do(replica.start)
    await asyncio.sleep(3.0)
    for replica in (*scene.cell.accounting, added[0]):
        await scene.do(replica.stop)
    await asyncio.sleep(3.0)
    for replica in scene.cell.accounting:
        await scene.do(replica.start)
    await asyncio.sleep(2.0)
    await scene.do(added[1].stop)


async def kill_owner(scene: Scene) -> None:
    replica = scene.cell.accounting[0]
    await scene.do(replica.kill)
    await asyncio.sleep(4.0)
    await scene.do(replica.start)


async def freeze_owner(scene: Scene) -> None:
    replica = scene.cell.accounting[1]
    replica.send(signal.SIGSTOP)
    await asyncio.sleep(12.0)
    replica.send(signal.SIGCONT)


async def restart_postgresql(scene: Scene) -> None:
    await scene.do(scene.cell.postgresql.stop)
    await scene.do(scene.cell.postgresql.start)


async def terminate_backends(scene: Scene) -> None:
    # Under load nearly every moment of a writing connection is one of its commit.
    command = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tokenline-accounting'"
    for _ in range(10):
        await scene.do(lambda: scene.cell.postgresql.psql(command))
        await asyncio.sleep(0.5)


async def kill_etcd_leader(scene: Scene) -> None:
    leader = await scene.do(scene.cell.etcd.leader)
    await scene.do(lambda: scene.cell.etcd.kill(leader))
    await asyncio.sleep(5.0)
    await scene.do(lambda: scene.cell.etcd.start(leader))


async def etcd_down(scene: Scene) -> None:
    await scene.do(lambda: scene.cell.etcd.kill(0, 1, 2))
    await asyncio.sleep(60.0)
    await scene.do(lambda: scene.cell.etcd.start(0, 1, 2))
    await asyncio.sleep(10.0)


async def kill_edge_with_full_outbox(scene: Scene) -> None:
    """All of accounting goes; what was acknowledged into the outbox survives the edge's death."""
    cell = scene.cell
    for replica in cell.accounting:
        await scene.do(replica.kill)
    # Until calls that were running are in the outbox.
    await asyncio.sleep(5.0)
    await scene.do(cell.edges[0].kill)
    await scene.do(cell.edges[0].start)
    for replica in cell.accounting:
        await scene.do(replica.start)
    await scene.do(cell.await_ready)


def set_clock(ahead_s: float) -> Callable[[Scene], Awaitable[None]]:
    """A machine's clock jumps while it serves, and is set right again."""

    async def act(scene: Scene) -> None:
        replica = scene.cell.accounting[0]
        replica.set_clock(ahead_s)
        await asyncio.sleep(6.0)
        replica.set_clock(0.0)

    return act


def restart(name: str) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        process = getattr(scene.cell, name)
        await scene.do(process.kill)
        await asyncio.sleep(3.0)
        await scene.do(process.start)

    return act


def cut(*wires: str, seconds: float = 6.0) -> Callable[[Scene], Awaitable[None]]:
    async def act(scene: Scene) -> None:
        chosen = [wire for name, wire in scene.cell.wires.items() if name.startswith(wires)]
        assert chosen, wires
        for wire in chosen:
            wire.cut()
        await asyncio.sleep(seconds)
        for wire in chosen:
            wire.mend()

    return act


FAULTS: Final = (
    Fault("rolling restart of accounting", rolling_restart, 0.5),
    Fault("scale accounting 2, 4, 1, 2", scale, 0.5),
    Fault("kill -9 of an owner", kill_owner, 3.0, takes_over=True),
    Fault("SIGSTOP of an owner for 12 s", freeze_owner, 8.0, failures_allowed=True),
    Fault("PostgreSQL restart", restart_postgresql, 4.0, takes_over=True),
    Fault("backends terminated, 10 times", terminate_backends, 3.0),
    Fault("etcd leader killed", kill_etcd_leader, 0.5),
    Fault("etcd wholly down for 60 s", etcd_down, 0.5),
    Fault("accounting and the edge killed", kill_edge_with_full_outbox, 20.0, failures_allowed=True),
    Fault("an owner's clock 5 min ahead, for 6 s", set_clock(300.0), 1.0),
    Fault("an owner's clock 5 min late, for 6 s", set_clock(-300.0), 1.0),
    Fault("registry killed", restart("registry"), 0.5),
    Fault("authentication killed", restart("authentication"), 0.5),
    Fault("billing killed", restart("billing"), 0.5),
    Fault("cut: edge - one owner", cut("edge-accounting-0"), 1.0, failures_allowed=True),
    Fault("cut: edge - all of accounting", cut("edge-accounting"), 15.0, failures_allowed=True, seconds_after=6.0),
    Fault("cut: edge - authentication", cut("edge-authentication"), 0.5),
    Fault("cut: edge - registry", cut("edge-registry"), 0.5),
    Fault("cut: edge - billing", cut("edge-billing"), 0.5),
    Fault("cut: edge - vendor", cut("edge-vendor"), 10.0, failures_allowed=True),
    Fault("cut: one owner - PostgreSQL", cut("accounting-postgresql-0"), 1.0, failures_allowed=True, seconds_after=6.0),
    Fault("cut: one owner - etcd", cut("accounting-etcd-0", seconds=8.0), 1.0, failures_allowed=True),
    Fault("cut: authentication - PostgreSQL", cut("authentication-postgresql"), 0.5),
    Fault("cut: billing - PostgreSQL", cut("billing-postgresql"), 0.5),
    Fault("cut: accounting - registry", cut("accounting-registry"), 0.5),
    Fault("cut: billing - accounting", cut("billing-accounting"), 0.5),
)


class Row(NamedTuple):
    name: str
    calls: int
    failed: int
    gap_s: float
    p99_s: float
    slowest_s: float
    wrong: list[str]
    failures: Counter[str]


async def suffer(scene: Scene, fault: Fault, *, timed: bool) -> Row:
    """One fault under load; the row of what came of it. `timed`: gaps and what must flow again in time count."""
    load = scene.load
    load.begin_phase(fault.name)
    before = len(load.acknowledged)
    await fault.act(scene)
    await asyncio.sleep(fault.seconds_after)
    failed_before = sum(load.failures.values())
    answered = len(load.acknowledged)
    await asyncio.sleep(_SETTLE_S)
    wrong = []
    if timed and load.gap_s > fault.gap_s_max:
        wrong.append(f"a gap of {load.gap_s:.2f} s, {fault.gap_s_max:g} allowed")
    failed = sum(load.failures.values())
    if failed and not (fault.failures_allowed or (fault.takes_over and not timed)):
        wrong.append(f"{failed} calls failed: {dict(load.failures)}")
    if timed and failed > failed_before:
        wrong.append(f"calls still failed {fault.seconds_after:g} s later: {dict(load.failures)}")
    if len(load.acknowledged) == answered:
        wrong.append("no call flowed afterwards")
    latencies = sorted(load.latencies_s) or [0.0]
    return Row(
        fault.name,
        len(load.acknowledged) - before,
        failed,
        load.gap_s,
        latencies[int(len(latencies) * 0.99)],
        latencies[-1],
        wrong,
        Counter(load.failures),
    )


class Books(NamedTuple):
    """What the journal says of calls that were acknowledged, and what is wrong besides."""

    # By charging_id.
    lost: set[str]
    twice: set[str]
    otherwise: set[str]
    wrong: list[str]


async def books(cell: FaultCell, acknowledged: list[Outcome]) -> Books:
    """Compares what clients were told with the bill, from the journal itself."""
    settled: dict[str, int] = {}
    twice: set[str] = set()

    def read(snapshot: Snapshot) -> None:
        numbers: set[tuple[str, int]] = set()
        for partition in snapshot.partitions():
            for row in snapshot.rows(partition.part_id, 0):
                for entry in decode_row(row.body, f"row {row.part_id}/{row.seq}"):
                    if isinstance(entry, SessionSettled):
                        key = (entry.charging_id, entry.record_number)
                        if key in numbers:
                            twice.add(entry.charging_id)
                        numbers.add(key)
                        settled[entry.charging_id] = settled.get(entry.charging_id, 0) + entry.charged

    store = await PostgresqlStore.open(cell.database, SystemClock())
    try:
        await store.snapshot(read)
    finally:
        await store.close()
    lost = {each.charging_id for each in acknowledged if each.charging_id not in settled}
    otherwise = {
        each.charging_id
        for each in acknowledged
        if each.charging_id in settled and settled[each.charging_id] != each.tokens * 1_000_000
    }
    twice |= {charging_id for charging_id, count in Counter(each.charging_id for each in acknowledged).items() if count > 1}
    audited = await asyncio.to_thread(cell.admin, "POST", "/audit", {})
    wrong = list(audited["breaches"])
    if audited["open_sessions"]:
        wrong.append(f"{audited['open_sessions']} sessions are still open after Tcc")
    reconciled = await asyncio.to_thread(cell.admin, "POST", "/reconcile", {})
    wrong += reconciled["differences"]
    print(
        f"{len(acknowledged):,} calls acknowledged, {len(settled):,} sessions charged; held after Tcc: {audited['open_sessions']}; "
        f"audit: {audited['entries']:,} entries, {len(audited['breaches'])} breaches; reconcile: {reconciled['cdrs']:,} CDRs, "
        f"{len(reconciled['differences'])} differences"
    )
    return Books(lost, twice, otherwise, wrong)


async def run(
    cell: FaultCell,
    faults: tuple[Fault, ...],
    *,
    workers: int = 24,
    accounts: int = 16,
    lengths: Sequence[Lengths] = SHORT,
    timed: bool = True,
) -> list[str]:
    """All faults one after another; returns what was wrong. See `suffer` for `timed`."""
    keys = await asyncio.to_thread(cell.new_keys, accounts, 1_000_000_000)
    load = Load([cell.base_url(number) for number in range(len(cell.edges))], keys, workers=workers, lengths=lengths)
    scene = Scene(cell, load)
    wrong: list[str] = []
    rows: list[Row] = []
    async with load.running():
        await asyncio.sleep(_SETTLE_S)
        for fault in faults:
            row = await suffer(scene, fault, timed=timed)
            rows.append(row)
            print(f"{row.name}: {row.calls:,} calls, {row.failed} failed {dict(row.failures)}", flush=True)
            for each in row.wrong:
                print(f"    WRONG: {each}", flush=True)
            wrong += [f"{row.name}: {each}" for each in row.wrong]
    # Whatever was left open is swept.
    await asyncio.sleep(_TCC_S + 2.0)
    await asyncio.to_thread(eventually, lambda: cell.admin("POST", "/audit", {})["open_sessions"] == 0, "no session is open")
    found = await books(cell, load.acknowledged)
    told = "acknowledged", "failed", "gap s", "p99 s", "max s", "lost", "twice", "wrong"
    print(f"{'fault':34}" + "".join(f"{each:>13}" for each in told))
    for row in rows:
        ids = {each.charging_id for each in load.acknowledged if each.phase == row.name}
        counts = [len(ids & each) for each in (found.lost, found.twice, found.otherwise)]
        wrong += [f"{row.name}: {count} calls {what}" for count, what in zip(counts, _BOOKED, strict=True) if count]
        print(
            f"{row.name:34}{len(ids):13,}{row.failed:13}{row.gap_s:13.2f}{row.p99_s:13.2f}{row.slowest_s:13.2f}"
            + "".join(f"{count:13}" for count in counts)
        )
    return wrong + found.wrong


def main(names: list[str]) -> int:
    unknown = [name for name in names if not any(name in fault.name for fault in FAULTS)]
    if unknown:
        print(f"no fault is called {', '.join(unknown)}; there are:", *(fault.name for fault in FAULTS), sep="\n  ")
        return 2
    chosen = [fault for fault in FAULTS if not names or any(name in fault.name for name in names)]
    began_s = time.monotonic()
    lengths = of_trace(_TRACE) if _TRACE.exists() else SHORT
    print(f"calls as long as those of {_TRACE.name}" if _TRACE.exists() else "no real traces beside the project: short calls")
    wrong = []
    for wired in (False, True):
        if faults := tuple(fault for fault in chosen if fault.name.startswith("cut") is wired):
            with FaultCell(wired=wired) as cell:
                wrong += asyncio.run(run(cell, faults, lengths=lengths))
    said = "WRONG" if wrong else "nothing lost, nothing twice"
    print(f"{len(chosen)} faults in {time.monotonic() - began_s:.0f} s, etcd {'.'.join(map(str, etcd_version()))}: {said}")
    for each in wrong:
        print(f"  {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
