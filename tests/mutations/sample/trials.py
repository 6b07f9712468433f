"""Tries mutants, each in a child of this process, which has the libraries from the start.

The child compiles the mutant's text in place of the file's; no file is written. Its verdict does not depend on what else the
machine does: time limits count the child's own CPU, and Hypothesis makes the same examples each time.
"""

import gc
import importlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import Enum
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import entry_points
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

import coverage
import hypothesis
import pytest

from tests.mutations.planting import ROOT
from tests.mutations.sample.mutants import Mutant

# The quick tests of the modules of money.
TESTS: Final = ("tests/accounting/core", "tests/edge/call")
# Those that take long to import, beside pytest's plugins.
_LIBRARIES: Final = (
    "aiohttp",
    "asyncpg",
    "grpc.aio",
    "litestar",
    "msgspec",
    "opentelemetry.sdk.trace",
    "prometheus_client",
    "yaml",
)
# CPU for importing and collecting, and for a test beside this many times what it takes with the code as it is.
_CPU_S: Final = 15
_TEST_CPU_S: Final = 3
_TEST_CPU_TIMES: Final = 5
# Slower tests come last, because most mutants are noticed by quick ones.
_QUICK_CPU_S_MAX: Final = 0.1
# A test that waits for ever takes no CPU; a machine with other work to do makes all of them wait.
_ALARM_TIMES: Final = 10
# A loop that gathers without an end stops here, beyond what the child has from the start.
_MEMORY_BYTES_MAX: Final = 2 << 30
# Exit codes of a child, beyond pytest's.
_STILLBORN: Final = 64
# Without a test that ran, nobody noticed anything.
_UNNOTICED: Final = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)


class Outcome(Enum):
    """The end of a mutant."""

    NOTICED = "noticed"
    # Its tests took too much time, which somebody would notice too.
    TIMED_OUT = "timed out"
    SURVIVED = "survived"
    # Its module cannot even be imported, so it says nothing about tests.
    STILLBORN = "stillborn"


class Trial(NamedTuple):
    """A mutant, its end, and the test that noticed it."""

    mutant: Mutant
    outcome: Outcome
    said: str


class FailedAsItIsError(Exception):
    """The tests fail without a mutant, so they would notice anything."""


def load_libraries(compiled: Path) -> None:
    """Imports into this process, for all children, what no mutant is in; the folder is for all else that they compile."""
    sys.pycache_prefix = str(compiled)
    sys.dont_write_bytecode = False
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    for name in _LIBRARIES:
        importlib.import_module(name)
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    loaded = [name for name in sys.modules if name.partition(".")[0] == "services"]
    assert not loaded, f"a mutant of {loaded} would not be seen"
    # Children share these objects as they are, and do not look through them.
    gc.freeze()


class _Run:
    """A run of pytest in a child: the same examples each time, none of which is kept or made smaller."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def pytest_sessionstart(self) -> None:
        """Comes after `tests/conftest.py` and before the tests are imported, which take their settings from this."""
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile("mutants", hypothesis.settings(), derandomize=True, database=None, phases=phases)
        hypothesis.settings.load_profile("mutants")

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Tells of a file of tests that cannot be imported."""
        if report.failed:
            self._output.write_text(report.nodeid, encoding="utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tells of the first test that fails."""
        if report.failed:
            self._output.write_text(report.nodeid, encoding="utf-8")


class _Measured(_Run):
    """A run of all tests with the code as it is, which measures them."""

    def __init__(self, output: Path, measured: coverage.Coverage) -> None:
        super().__init__(output)
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


class _Chosen(_Run):
    """A run of some tests alone, each of which has its time."""

    def __init__(self, output: Path, cpu_s: Mapping[str, float]) -> None:
        super().__init__(output)
        self._cpu_s = cpu_s

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the chosen tests."""
        items[:] = [item for item in items if item.nodeid in self._cpu_s]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Ends the process if the test takes too long."""
        _limit(_TEST_CPU_S + _TEST_CPU_TIMES * self._cpu_s[item.nodeid])
        try:
            return (yield)
        finally:
            _limit(_CPU_S)


def _limit(cpu_s: float) -> None:
    """Ends this process once it has used this much CPU from now on, or stood still for long."""
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    signal.setitimer(signal.ITIMER_REAL, cpu_s * _ALARM_TIMES)


class Tests:
    """The tests that may notice a mutant: those that run its lines."""

    def __init__(self, folder: Path, files: Sequence[str] = TESTS) -> None:
        """Runs the tests of these files once, in a child, with files in the folder. Errors: `FailedAsItIsError`."""
        self._folder = folder
        self._files = files
        said = folder / "said"
        child = _child(lambda: self._measure(said), folder / "pytest")
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise FailedAsItIsError(f"{said.read_text() if said.exists() else 'pytest'}\n{(folder / 'pytest').read_text()}")
        self._cpu_s: Mapping[str, float] = json.loads((folder / "cpu_s").read_bytes())
        self._data = coverage.CoverageData(str(folder / "coverage"))
        self._data.read()

    def __len__(self) -> int:
        """The number of tests."""
        return len(self._cpu_s)

    def _measure(self, said: Path) -> int:
        measured = coverage.Coverage(str(self._folder / "coverage"), config_file=False, include=[f"{ROOT}/services/*"])
        run = _Measured(said, measured)
        measured.start()
        code = _pytest(self._files, run)
        measured.stop()
        measured.save()
        (self._folder / "cpu_s").write_text(json.dumps(run.cpu_s), encoding="utf-8")
        return code

    def of(self, mutant: Mutant) -> list[dict[str, float]]:
        """The tests that run a line of the mutant, or all for one that runs at the import, with the CPU that they take, in seconds.

        They are by file: quick tests first, then slow ones, of each the file with the most of them first.
        """
        by_line = self._data.contexts_by_lineno(str(ROOT / mutant.file))
        first, last = mutant.lines
        in_lines = {test for line in range(first, last + 1) for test in by_line.get(line, ()) if test}
        groups: dict[tuple[bool, str], dict[str, float]] = {}
        for test in sorted(in_lines if mutant.in_function else self._cpu_s):
            cpu_s = self._cpu_s[test]
            groups.setdefault((cpu_s > _QUICK_CPU_S_MAX, _file_of(test)), {})[test] = cpu_s
        return [groups[key] for key in sorted(groups, key=lambda key: (key[0], -len(groups[key]), key[1]))]


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def _pytest(arguments: Sequence[str], run: _Run) -> int:
    # Nobody reads what a test says of a mutant, so its asserts are left as they are.
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "--assert=plain", "--tb=short", *arguments], plugins=[run]))


def _child(work: Callable[[], int], output: Path) -> int:
    """Starts a child that does the work and ends with its code; returns its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        with Path(os.devnull).open("rb") as nothing, output.open("wb") as file:
            os.dup2(nothing.fileno(), 0)
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        code = work()
        sys.stdout.flush()
    finally:
        # Nothing of the parent's is to be ended here.
        os._exit(code)


class _Finder(MetaPathFinder):
    """Gives one module the mutant's code."""

    def __init__(self, name: str, file: Path, code: CodeType) -> None:
        self._name = name
        self._file = file
        self._code = code

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """As `importlib` asks for it."""
        if fullname != self._name:
            return None
        return spec_from_file_location(fullname, self._file, loader=_Loader(fullname, str(self._file), self._code))


class _Loader(SourceFileLoader):
    def __init__(self, name: str, file: str, code: CodeType) -> None:
        super().__init__(name, file)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:
        """The mutant's, neither from the file nor from what was compiled of it."""
        return self._code


def _try(mutant: Mutant, tests: Sequence[Mapping[str, float]], said: Path) -> int:
    _limit(_CPU_S)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + _MEMORY_BYTES_MAX
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    file = ROOT / mutant.file
    name = mutant.file.removesuffix(".py").replace("/", ".")
    try:
        code = compile(mutant.applied(file.read_text(encoding="utf-8")), str(file), "exec", dont_inherit=True)
        sys.meta_path.insert(0, _Finder(name, file, code))
        importlib.import_module(name)
    except Exception:
        return _STILLBORN
    # A file at a time, since most mutants are noticed in the first: to collect tests takes longer than to run most of them.
    codes = (_pytest([_file_of(next(iter(chosen)))], _Chosen(said, chosen)) for chosen in tests)
    return next((code for code in codes if code not in _UNNOTICED), pytest.ExitCode.OK)


def try_all(mutants: Iterable[Mutant], count: int, tests: Tests, folder: Path) -> Iterator[Trial]:
    """Tries the first `count` mutants that are not stillborn, as many at once as it has processors; yields what ends first."""
    waiting = iter(mutants)
    running: dict[int, Mutant] = {}
    lived = 0
    while True:
        while (
            len(running) < len(os.sched_getaffinity(0))
            and lived + len(running) < count
            and (mutant := next(waiting, None)) is not None
        ):
            if not (chosen := tests.of(mutant)):
                lived += 1
                yield Trial(mutant, Outcome.SURVIVED, "no test runs its lines")
                continue
            running[_start(mutant, chosen, folder)] = mutant
        if not running:
            return
        child, status = os.wait()
        mutant = running.pop(child)
        trial = _ended(mutant, os.waitstatus_to_exitcode(status), folder / str(child))
        lived += trial.outcome is not Outcome.STILLBORN
        yield trial


def _start(mutant: Mutant, tests: Sequence[Mapping[str, float]], folder: Path) -> int:
    return _child(lambda: _try(mutant, tests, folder / str(os.getpid())), Path(os.devnull))


def _ended(mutant: Mutant, code: int, said: Path) -> Trial:
    test = said.read_text(encoding="utf-8") if said.exists() else f"the tests ended with {code}"
    said.unlink(missing_ok=True)
    if code == _STILLBORN:
        return Trial(mutant, Outcome.STILLBORN, "")
    if code in (-signal.SIGPROF, -signal.SIGALRM):
        return Trial(mutant, Outcome.TIMED_OUT, "")
    if code == pytest.ExitCode.OK:
        return Trial(mutant, Outcome.SURVIVED, "")
    return Trial(mutant, Outcome.NOTICED, test)
