"""Measuring what attacks on the edge's doors cost honest clients.

Services are on one processor, everybody else is on another: vendor simulator, honest clients, and attackers. Attackers are
as nice as a process can be (19), so that honest clients on theirs need not wait for them. In quiet times a process burns what the
attackers would take, so that both times differ in nothing but what comes to the edge: threads of one core share it.

Honest calls arrive at a fixed rate, whatever becomes of those before, and each counts from when it was due; every tenth is on a new
connection. Quiet times and attacks take turns. An attack begins with the time that is measured.
"""

import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from services.cli.attackers import IDLE, IDLE_CONNECTIONS, NOTHING, STREAM_TOKENS, WAYS, Attack, Attacked
from services.cli.bench_cell import OWN_CHECKOUT, BenchCell, start_simulator
from services.cli.bench_edge import Calls
from services.cli.bench_report import AttackFigures, AttacksReport, Spread
from services.cli.failures import CommandError
from services.cli.load import Measured
from services.cli.processes import Processes, cpu_s, forget_resident_peak, open_files, resident_mib, resident_mib_peak

# Well below what the edge can do, and enough that a percentile of some seconds says something.
CALLS_PER_SECOND: Final = 150.0
_CALLS_PER_CONNECTION: Final = 10
# At most this many calls may wait for their answer; more would fail.
_CONNECTIONS_MAX: Final = 2_000
# Accounts of the cell that attack; the others are honest.
_ATTACKING: Final = 10
_ROUNDS: Final = 2
_WARM_UP_S: Final = 1.0
_IDLE_WAIT_S: Final = 20.0
# Strangers are taken at a pace, after their files are open: a thousand a second.
_SETTLE_S: Final = 1.0 + IDLE_CONNECTIONS / 1_000
# After many answers to strangers their addresses rest for up to 5 s.
_RESTED_S: Final = 6.0
_POLL_S: Final = 0.02


@contextmanager
def _on(processor: int) -> Iterator[None]:
    """Runs processes that are started within the block on this processor."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class _Turn(msgspec.Struct, frozen=True):
    """Honest calls for a while, quiet or under attack."""

    measured: Measured
    resident_mib: float
    # CPU time of the edge over the time of the clock.
    edge_cores: float
    attacked: Attacked


class _Bench:
    """Running processes: a cell, its vendor, honest clients, attackers."""

    def __init__(self, processes: Processes, folder: Path) -> None:
        self._processes = processes
        serving, calling = _processors()
        with _on(calling):
            vendor_base_url = start_simulator(processes)
        with _on(serving):
            self.cell = BenchCell(processes, folder, vendor_base_url, "own", OWN_CHECKOUT)
        calls = Calls(_CONNECTIONS_MAX, 0)
        model_id, *_ = self.cell.models(calls.context_tokens_min, STREAM_TOKENS)
        with _on(calling):
            self._generator = processes.start("load", "-m", calls.generator, checkout=OWN_CHECKOUT)
            self._attackers = processes.start("attackers", "-m", "services.cli.attackers", checkout=OWN_CHECKOUT)
        self._load = msgspec.structs.replace(
            calls.load(self.cell, model_id, 0.0, again=False),
            api_keys=self.cell.api_keys[_ATTACKING:],
            warm_up_s=_WARM_UP_S,
            calls_per_second=CALLS_PER_SECOND,
            calls_per_connection=_CALLS_PER_CONNECTION,
        )
        self._attack = Attack(
            name=NOTHING,
            port=_port(self.cell.base_url),
            admin_port=_port(self.cell.admin_url),
            api_keys=self.cell.api_keys[:_ATTACKING],
            model_id=model_id,
        )
        # Calls that were answered with 200, honest ones and attackers'; whether any failed.
        self.succeeded = 0
        self.failed = 0

    @property
    def edge_resident_mib(self) -> float:
        """The edge's resident memory."""
        return resident_mib(self.cell.edge_pid)

    def turn(self, name: str, seconds: float) -> _Turn:
        """Honest calls for `seconds`, all the while under an attack, or beside one who does nothing."""
        processes = self._processes
        processes.tell(self._generator, msgspec.structs.replace(self._load, seconds=seconds))
        processes.read_line(self._generator)
        forget_resident_peak(self.cell.edge_pid)
        used_s, began_s = cpu_s(self.cell.edge_pid), time.monotonic()
        self._begin(name)
        processes.read_line(self._generator)
        edge_cores = (cpu_s(self.cell.edge_pid) - used_s) / (time.monotonic() - began_s)
        peak_mib = resident_mib_peak(self.cell.edge_pid)
        attacked = self._end()
        measured = msgspec.json.decode(processes.read_line(self._generator), type=Measured)
        processes.check()
        self.succeeded += measured.succeeded_in_all
        self.failed += measured.failed
        if name != NOTHING and WAYS[name].is_charged:
            self.succeeded += attacked.answers.get("200", 0)
        return _Turn(measured, peak_mib, edge_cores, attacked)

    def idle_mib(self, name: str) -> float:
        """Measures the memory that connections of kind `IDLE[name]` take of the edge."""
        edge_pid = self.cell.edge_pid
        before_mib = self.edge_resident_mib
        self._begin(name)
        until_s = time.monotonic() + _IDLE_WAIT_S
        while open_files(edge_pid) < IDLE[name].connections:
            if time.monotonic() > until_s:
                raise CommandError(f"the edge has not taken {IDLE[name].connections} connections after {_IDLE_WAIT_S:g} s")
            time.sleep(_POLL_S)
        time.sleep(_SETTLE_S)
        taken_mib = self.edge_resident_mib - before_mib
        self._end()
        return taken_mib

    def _begin(self, name: str) -> None:
        self._processes.tell(self._attackers, msgspec.structs.replace(self._attack, name=name))
        self._processes.read_line(self._attackers)

    def _end(self) -> Attacked:
        # Any line tells them to stop.
        self._processes.tell(self._attackers, self._attack)
        return msgspec.json.decode(self._processes.read_line(self._attackers), type=Attacked)


def _processors() -> tuple[int, int]:
    """One for the services, one for everybody else. Errors: `CommandError` where there are not two."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise CommandError("attackers need a processor of their own; run it where there are two")
    return allowed[0], allowed[1]


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


def measure_attacks(names: Sequence[str], seconds: float) -> AttacksReport:
    """Measures each attack of `WAYS` by its name, for `seconds` in all and so long quiet. Blocking. Errors: `CommandError`."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        processes = Processes(folder)
        stack.callback(processes.stop)
        bench = _Bench(processes, folder)
        first = bench.turn(NOTHING, seconds / _ROUNDS)
        idle_mib = {name: round(bench.idle_mib(name), 1) for name in IDLE}
        time.sleep(_RESTED_S)
        figures = []
        for name in names:
            turns = [(bench.turn(NOTHING, seconds / _ROUNDS), bench.turn(name, seconds / _ROUNDS)) for _ in range(_ROUNDS)]
            figures.append(_figures(name, turns))
        bill = bench.cell.bill(None if bench.failed else bench.succeeded)
    return AttacksReport(
        attacks=figures,
        idle_connections=IDLE_CONNECTIONS,
        idle_mib=idle_mib,
        resident_mib_first=round(first.resident_mib, 1),
        calls_per_second=CALLS_PER_SECOND,
        rounds=_ROUNDS,
        seconds=seconds,
        breaches=bill.breaches,
        differences=bill.differences,
    )


def _figures(name: str, turns: Sequence[tuple[_Turn, _Turn]]) -> AttackFigures:
    quiet = [turn.measured for turn, _ in turns]
    under = [turn.measured for _, turn in turns]
    attacks = [turn.attacked for _, turn in turns]
    ratios = [after.p99_ms / before.p99_ms for before, after in zip(quiet, under, strict=True)]
    rises_mib = [after.resident_mib - before.resident_mib for before, after in turns]
    return AttackFigures(
        name=name,
        says=WAYS[name].says,
        p50_ms_quiet=round(statistics.median(each.p50_ms for each in quiet), 2),
        p50_ms=round(statistics.median(each.p50_ms for each in under), 2),
        p99_ms_quiet=round(statistics.median(each.p99_ms for each in quiet), 2),
        p99_ms=round(statistics.median(each.p99_ms for each in under), 2),
        p99_ratio=Spread(round(min(ratios), 2), round(statistics.median(ratios), 2), round(max(ratios), 2)),
        resident_mib_quiet=round(max(turn.resident_mib for turn, _ in turns), 1),
        resident_mib_peak=round(max(turn.resident_mib for _, turn in turns), 1),
        resident_mib_rise=round(max(rises_mib), 1),
        edge_cores_quiet=round(statistics.median(turn.edge_cores for turn, _ in turns), 3),
        edge_cores=round(statistics.median(turn.edge_cores for _, turn in turns), 3),
        calls=sum(each.calls for each in under),
        failed=sum(each.failed for each in (*quiet, *under)),
        failures=_added([each.failures for each in (*quiet, *under)]),
        connections=sum(each.connections for each in attacks),
        ended=sum(each.ended for each in attacks),
        sent_mib=round(sum(each.sent_mib for each in attacks), 1),
        answers=_added([each.answers for each in attacks]),
    )


def _added(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for each in counts:
        total.update(each)
    return dict(sorted(total.items()))
