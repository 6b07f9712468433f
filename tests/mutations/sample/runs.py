"""Runs of pytest in a child, whose verdict does not depend on what else the machine does.

Time limits count the child's own CPU, and Hypothesis makes the same examples each time.
"""

import json
import resource
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import coverage
import hypothesis
import pytest

from tests.mutations.planting import ROOT

# CPU for importing and collecting, and for a test beside this many times what it takes with the code as it is.
_CPU_S: Final = 15
_TEST_CPU_S: Final = 3
_TEST_CPU_TIMES: Final = 5
# A test that waits for ever takes no CPU; a machine with other work to do makes all of them wait.
_ALARM_TIMES: Final = 10
# A loop that gathers without an end stops here, beyond what the child has from the start.
_MEMORY_BYTES_MAX: Final = 2 << 30


class Run:
    """A run of pytest: the same examples each time, none of which is kept or made smaller."""

    def __init__(self, said: Path) -> None:
        """`said` is the file for what is told of a failure."""
        self.said = said

    def pytest_sessionstart(self) -> None:
        """Comes after `tests/conftest.py` and before the tests are imported, which take their settings from this."""
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", hypothesis.settings(), derandomize=True, database=None, phases=phases)
        hypothesis.settings.load_profile("mutants")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tells of a file of tests that cannot be imported."""
        if report.failed:
            self.said.write_text(report.nodeid, encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tells of the first test that fails."""
        if report.failed:
            self.said.write_text(report.nodeid, encoding="utf-8")


class Measured(Run):
    """A run of all tests with the code as it is, which measures them."""

    def __init__(self, said: Path, measured: coverage.Coverage) -> None:
        super().__init__(said)
        self._coverage = measured
        self.cpu_s: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Names the lines that a test runs, with its fixtures, and takes its time."""
        self._coverage.switch_context(item.nodeid)
        before = time.process_time()
        try:
            return (yield)
        finally:
            self.cpu_s[item.nodeid] = time.process_time() - before
            self._coverage.switch_context("")


class Timed(Run):
    """A run of tests each of which has its time."""

    def __init__(self, said: Path, cpu_s: Mapping[str, float]) -> None:
        """`cpu_s` is what each test takes with the code as it is."""
        super().__init__(said)
        self._cpu_s = cpu_s

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Ends the process if the test takes too long."""
        _limit(_TEST_CPU_S + _TEST_CPU_TIMES * self._cpu_s[item.nodeid])
        try:
            return (yield)
        finally:
            _limit(_CPU_S)


class Chosen(Timed):
    """A run of some tests alone."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the chosen tests."""
        items[:] = [item for item in items if item.nodeid in self._cpu_s]


def pytest_code(arguments: Sequence[str], run: Run) -> int:
    """Runs pytest until the first failure; returns its exit code."""
    # Nobody reads what a test says of a mutant, so its asserts are left as they are.
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--assert=plain", "--tb=short", *arguments], plugins=[run]))


def measure(files: Sequence[str], folder: Path, said: Path) -> int:
    """Runs the tests of these files as they are, with the lines of each in `folder`/coverage, and its CPU in `folder`/cpu_s."""
    measured = coverage.Coverage(str(folder / "coverage"), config_file=False, include=[f"{ROOT}/services/*"])
    run = Measured(said, measured)
    measured.start()
    code = pytest_code(files, run)
    measured.stop()
    measured.save()
    (folder / "cpu_s").write_text(json.dumps(run.cpu_s), encoding="utf-8")
    return code


def bound_this_process() -> None:
    """Bounds the memory of a child, and its time until the first test."""
    _limit(_CPU_S)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + _MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit(cpu_s: float) -> None:
    """Ends this process once it has used this much CPU from now on, or stood still for long."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, cpu_s * _ALARM_TIMES)
