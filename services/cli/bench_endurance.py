"""Measuring `tokenline up` for long: whether its memory stays as it is while calls go on, and what its folder grows by.

Calls arrive at a fixed rate, whatever becomes of those before, as in the other benchmarks; they are of many accounts, and their
connections come and go. The process has everything in it, the vendor simulator too, and alone is measured.
"""

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from services.cli.bench_cell import OWN_CHECKOUT, bill_of, make_accounts, models_of
from services.cli.bench_edge import Calls
from services.cli.bench_report import EnduranceReport, Minute
from services.cli.client import System
from services.cli.data_folder import DataFolder
from services.cli.failures import CommandError
from services.cli.load import Load, Measured
from services.cli.processes import Processes, cpu_s, resident_mib

_MINUTE_S: Final = 60.0
# A run of fewer minutes has as many shorter turns, so that a slope can be told.
_TURNS_MIN: Final = 6
_WARM_UP_S: Final = 2.0
_CALLS_PER_CONNECTION: Final = 100
# At most this many calls may wait for their answer; more would fail.
_CONNECTIONS_MAX: Final = 2_000
# An hour of calls is audited and reconciled at some ten thousand entries a second.
_WHOLE_STORE_TIMEOUT_S: Final = 3_600.0
_LAST_LINE: Final = "Stop it with Ctrl-C."
_MIB: Final = 1024 * 1024
_HOUR_S: Final = 3_600.0


class _Bench:
    """A running `tokenline up` in a folder of its own, and clients."""

    def __init__(self, processes: Processes, folder: Path, calls_per_second: float) -> None:
        self._processes = processes
        self._folder = DataFolder(folder / "data")
        arguments = ("up", "--data-dir", str(self._folder.path), "--port", "0", "--admin-port", "0")
        process = processes.start("up", "-m", "services", *arguments, checkout=OWN_CHECKOUT)
        while processes.read_line(process) != _LAST_LINE:
            pass
        self._pid = process.pid
        demo = self._folder.read_demo()
        if demo is None:
            raise CommandError("`tokenline up` has ended as soon as it was ready")
        self._system = System(demo.admin_url, demo.admin_token, "`tokenline up` has ended")
        calls = Calls(_CONNECTIONS_MAX, 0)
        model_id, *_ = models_of(self._system, calls.context_tokens_min, calls.output_tokens_min)
        load = calls.to(demo.base_url, make_accounts(self._system), model_id, 0.0, 0.0)
        self._load = msgspec.structs.replace(load, calls_per_second=calls_per_second, calls_per_connection=_CALLS_PER_CONNECTION)
        self._generator = processes.start("load", "-m", calls.generator, checkout=OWN_CHECKOUT)
        self._began_s = time.monotonic()
        self.succeeded = 0
        self.failures: Counter[str] = Counter()

    def minute(self, seconds: float, warm_up_s: float) -> Minute:
        """Calls for `seconds`, and the process as it is at their end, with the last calls under way."""
        processes = self._processes
        load: Load = msgspec.structs.replace(self._load, seconds=seconds, warm_up_s=warm_up_s)
        processes.tell(self._generator, load)
        processes.read_line(self._generator)
        used_s, began_s = cpu_s(self._pid), time.monotonic()
        processes.read_line(self._generator)
        ended_s = time.monotonic()
        used_s = cpu_s(self._pid) - used_s
        after_s, resident = ended_s - self._began_s, resident_mib(self._pid)
        measured = msgspec.json.decode(processes.read_line(self._generator), type=Measured)
        processes.check()
        self.succeeded += measured.succeeded_in_all
        self.failures.update(measured.failures)
        return Minute(
            after_s=round(after_s, 1),
            resident_mib=round(resident, 1),
            cores=round(used_s / (ended_s - began_s), 2),
            calls=measured.calls,
            failed=measured.failed,
            p50_ms=round(measured.p50_ms, 1),
            p99_ms=round(measured.p99_ms, 1),
            folder_mib={name: round(mib, 1) for name, mib in self._sizes_mib().items()},
        )

    def _sizes_mib(self) -> dict[str, float]:
        """The size of each database, with its log, and of the CDR files."""
        folder = self._folder
        sizes = {"cdr": sum(_size(file) for file in folder.cdr_folder.rglob("*"))}
        for database in (folder.accounting_database, folder.billing_database, folder.outbox):
            sizes[database.stem] = sum(_size(file) for file in database.parent.glob(f"{database.name}*"))
        return {name: size / _MIB for name, size in sizes.items()}

    def bill(self) -> tuple[list[str], list[str]]:
        """Findings of audit and reconciliation."""
        bill = bill_of(self._system, None if self.failures else self.succeeded, _WHOLE_STORE_TIMEOUT_S)
        return bill.breaches, bill.differences


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        # It was renamed, or is a log that was emptied.
        return 0


def measure_endurance(seconds: float, calls_per_second: float) -> EnduranceReport:
    """Measures `tokenline up` under calls for `seconds`, then audits and reconciles. Blocking. Errors: `CommandError`."""
    turn_s = min(_MINUTE_S, seconds / _TURNS_MIN)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tokenline-bench-")))
        processes = Processes(folder)
        stack.callback(processes.stop)
        bench = _Bench(processes, folder, calls_per_second)
        minutes: list[Minute] = []
        until_s = time.monotonic() + seconds
        # The clock ends it: a system that is slower than calls arrive takes longer for each minute of them.
        while len(minutes) < _TURNS_MIN or time.monotonic() < until_s:
            minutes.append(bench.minute(turn_s, 0.0 if minutes else _WARM_UP_S))
        breaches, differences = bench.bill()
    return EnduranceReport(
        minutes=minutes,
        calls_per_second=calls_per_second,
        seconds=seconds,
        calls=sum(minute.calls for minute in minutes),
        failed=sum(minute.failed for minute in minutes),
        failures=dict(bench.failures),
        resident_mib_per_hour=mib_per_hour(minutes),
        breaches=breaches,
        differences=differences,
    )


def mib_per_hour(minutes: Sequence[Minute]) -> float:
    """How fast resident memory grows in the second half, by the line that fits best, in MiB an hour."""
    half = minutes[len(minutes) // 2 :]
    line = statistics.linear_regression([each.after_s for each in half], [each.resident_mib for each in half])
    return round(line.slope * _HOUR_S, 1)
