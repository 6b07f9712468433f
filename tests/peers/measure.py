"""Takes turns among running systems: closed loops for CPU a call, paced loads for the rate within a p99, small accounts."""

import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from services.cli.bench_cell import OWN_CHECKOUT
from services.cli.load import Load, Measured
from services.cli.processes import Processes
from tests.peers.calls import long_body, served, served_at_once, short_body
from tests.peers.report import CLOSED_CONNECTIONS, P99_MS_BOUNDS, Closed, Figures, Killed, SmallAccount
from tests.peers.search import RateSearch
from tests.peers.systems import Charged, Killable, System

# Machines drift: what is compared takes turns, and the median of the turns is told.
_ROUNDS: Final = 3
_SEARCHES: Final = 2
_ROUND_S: Final = 2.0
# Where calls take seconds: each connection has two answers in a turn, and one before, unless that takes longer than this.
_ROUND_S_MAX: Final = 6.0
_PACED_S: Final = 1.5
_WARM_UP_FIRST_S: Final = 2.0
_WARM_UP_S: Final = 0.4
# Paced calls open as many connections as they need, and no more than this.
_PACED_CONNECTIONS: Final = 256
# The first rate that is tried, over what the closed loop reached.
_ABOVE_CLOSED: Final = 1.25
_SMALL_CALLS: Final = 50
_MICROSECONDS: Final = 1_000_000


class Side:
    """All turns of one system."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.rounds: dict[int, list[tuple[Measured, float, float]]] = {each: [] for each in CLOSED_CONNECTIONS}
        self.searches: list[dict[float, float]] = []
        self.failed = 0
        self.memory_mib = 0.0
        self.small: SmallAccount | None = None
        self.charged: Charged | None = None
        self.killed: Killed | None = None

    @property
    def calls_per_second(self) -> float:
        """In the closed loop with the most connections."""
        return statistics.median(_rate(each) for each, *_ in self.rounds[CLOSED_CONNECTIONS[-1]])


class Bench:
    """A load generator and the systems that it takes turns among."""

    def __init__(self, processes: Processes, systems: Sequence[System]) -> None:
        self._processes = processes
        self._generator = processes.start("load", "-m", "services.cli.load", checkout=OWN_CHECKOUT)
        self.sides = [Side(system) for system in systems]

    def run(self) -> list[Figures]:
        """Some eight minutes with all systems. Blocking."""
        for number in range(_ROUNDS):
            _say(f"closed loops, round {number + 1} of {_ROUNDS}")
            for connections in CLOSED_CONNECTIONS:
                self._each(number, partial(self.closed, connections))
        for number in range(_SEARCHES):
            _say(f"paced loads, round {number + 1} of {_SEARCHES}")
            self._each(number, self.search)
        _say("small accounts and charges")
        for side in self.sides:
            self.small(side)
            self.kill(side)
        return [self.figures(side) for side in self.sides]

    def _each(self, number: int, turn: Callable[[Side], None]) -> None:
        for side in self.sides if number % 2 == 0 else reversed(self.sides):
            turn(side)
            system = side.system
            side.memory_mib = max(side.memory_mib, sum(map(proportional_mib, system.gateway_pids + system.database_pids)))

    def _load(self, side: Side, connections: int, seconds: float, calls_per_second: float = 0.0) -> Load:
        system = side.system
        first = not any(side.rounds.values())
        return Load(
            url=f"{system.base_url}/chat/completions",
            api_keys=system.api_keys,
            body=short_body(system.model_id),
            connections=connections,
            warm_up_s=_WARM_UP_FIRST_S if first else _WARM_UP_S,
            seconds=seconds,
            calls_per_second=calls_per_second,
        )

    def _measure(self, load: Load, pids: list[int]) -> tuple[Measured, list[float]]:
        return self._processes.measure(self._generator, load, Measured, pids)

    def closed(self, connections: int, side: Side) -> None:
        """One turn of a closed loop."""
        system = side.system
        gateways = len(system.gateway_pids)
        load = self._load(side, connections, _ROUND_S)
        if (before := side.rounds[CLOSED_CONNECTIONS[0]]) and (rate := _rate(before[-1][0])):
            answered_s = min(connections / rate, _ROUND_S_MAX / 2)
            load = msgspec.structs.replace(
                load, seconds=max(load.seconds, 2 * answered_s), warm_up_s=max(load.warm_up_s, answered_s)
            )
        measured, cpu_s = self._measure(load, system.gateway_pids + system.database_pids)
        calls = max(measured.calls - measured.failed, 1)
        gateway_us, database_us = (sum(each) * _MICROSECONDS / calls for each in (cpu_s[:gateways], cpu_s[gateways:]))
        side.rounds[connections].append((measured, gateway_us, database_us))
        side.failed += measured.failed

    def search(self, side: Side) -> None:
        """One search of the rates within each bound, once a closed loop was measured."""

        def p99_ms_at(rate: float) -> float:
            measured, _ = self._measure(self._load(side, _PACED_CONNECTIONS, _PACED_S, rate), [])
            return math.inf if measured.failed or not measured.calls else measured.p99_ms

        search = RateSearch(p99_ms_at, side.calls_per_second * _ABOVE_CLOSED)
        side.searches.append({bound: search.rate(bound) for bound in P99_MS_BOUNDS})

    def small(self, side: Side) -> None:
        """Sends calls at one moment on an account that cannot pay for all."""
        system = side.system
        small = system.small()
        if small is not None:
            served = served_at_once(system.base_url, small.api_key, long_body(small.model_id), _SMALL_CALLS)
            side.small = SmallAccount(sent=_SMALL_CALLS, served=served, left=system.small_left(small))

    def kill(self, side: Side) -> None:
        """Counts what was charged so far; then what is charged of a load in the midst of which the gateway is killed."""
        system = side.system
        before = side.charged = system.charged()
        if not isinstance(system, Killable) or before is None:
            return
        vendor_before = served(system.vendor_base_url)
        self._processes.tell(self._generator, self._load(side, CLOSED_CONNECTIONS[-1], _ROUND_S))
        self._processes.read_line(self._generator)
        time.sleep(_ROUND_S / 2)
        system.kill()
        self._processes.read_line(self._generator)
        measured = msgspec.json.decode(self._processes.read_line(self._generator), type=Measured)
        system.begin()
        vendor, after = served(system.vendor_base_url), system.charged()
        assert after is not None
        made = vendor["tokens"] - vendor_before["tokens"]
        a_call = made / (vendor["calls"] - vendor_before["calls"]) if after.unit == "tokens" else 1
        side.killed = Killed(answered=measured.succeeded_in_all, charged=round((after.charged - before.charged) / a_call, 2))

    def figures(self, side: Side) -> Figures:
        """What was found."""
        system, charged = side.system, side.charged
        return Figures(
            name=system.name,
            says=system.says,
            closed={connections: _closed_figures(rounds) for connections, rounds in side.rounds.items()},
            calls_per_second_at_p99={bound: [each[bound] for each in side.searches] for bound in P99_MS_BOUNDS},
            memory_mib=round(side.memory_mib, 1),
            failed=side.failed,
            charged=None if charged is None else charged.charged,
            made=None if charged is None else charged.made,
            charged_unit="" if charged is None else charged.unit,
            small=side.small,
            killed=side.killed,
        )


def _closed_figures(rounds: list[tuple[Measured, float, float]]) -> Closed:
    def median(figure: Callable[[tuple[Measured, float, float]], float]) -> float:
        return round(statistics.median(map(figure, rounds)), 2)

    cpu_us = [gateway_us + database_us for _, gateway_us, database_us in rounds]
    return Closed(
        calls_per_second=median(lambda each: _rate(each[0])),
        p50_ms=median(lambda each: each[0].p50_ms),
        p99_ms=median(lambda each: each[0].p99_ms),
        gateway_cpu_us=median(lambda each: each[1]),
        database_cpu_us=median(lambda each: each[2]),
        cpu_us_min=round(min(cpu_us), 2),
        cpu_us_max=round(max(cpu_us), 2),
    )


def _rate(measured: Measured) -> float:
    return (measured.calls - measured.failed) / measured.seconds


def proportional_mib(pid: int) -> float:
    """The memory of a process and of its children, in MiB; of what several share each has its part, from proc(5)."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1])
            if pid not in (int(stat.parent.name), parent):
                continue
            rollup = (stat.parent / "smaps_rollup").read_text(encoding="ascii")
        except OSError:
            # It has ended meanwhile.
            continue
        total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1_024


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)
