"""Tries mutants, each in a child of its own, and tells what became of them; no file is written.

Most are tried in a process that has all tests (`warm`). One that runs at the import of a module, or while tests are collected, is
compiled in place of that module in a process that has the libraries alone.
"""

import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.metadata import entry_points
from importlib.util import spec_from_file_location
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Final, NamedTuple

import coverage
import pytest

from tests.mutations.planting import ROOT
from tests.mutations.sample import children
from tests.mutations.sample.mutants import Mutant
from tests.mutations.sample.runs import Chosen, bound_this_process, measure, pytest_code
from tests.mutations.sample.warm import Warm

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
# Slower tests come last, because most mutants are noticed by quick ones.
_QUICK_CPU_S_MAX: Final = 0.1
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


class Tests:
    """The tests that may notice a mutant: those that run its lines."""

    def __init__(self, folder: Path, files: Sequence[str] = TESTS) -> None:
        """Runs the tests of these files once, in a child, with files in the folder. Errors: `FailedAsItIsError`."""
        self.files = files
        said = folder / "said"
        _wait(children.start(partial(measure, files, folder, said), folder / "pytest"), folder / "pytest", said)
        self.cpu_s: Mapping[str, float] = json.loads((folder / "cpu_s").read_bytes())
        self._data = coverage.CoverageData(str(folder / "coverage"))
        self._data.read()
        # By file and line, the tests that run it; "" stands for imports and for collecting tests.
        self._by_line: dict[str, dict[int, list[str]]] = {}

    def __len__(self) -> int:
        """The number of tests."""
        return len(self.cpu_s)

    def of(self, mutant: Mutant) -> list[dict[str, float]]:
        """The tests that run a line of the mutant, or all for one that runs at the import, with the CPU that they take, in seconds.

        They are by file: quick tests first, then slow ones, of each the file with the most of them first.
        """
        groups: dict[tuple[bool, str], dict[str, float]] = {}
        for test in sorted(self._that_run(mutant) - {""} if mutant.in_function else self.cpu_s):
            cpu_s = self.cpu_s[test]
            groups.setdefault((cpu_s > _QUICK_CPU_S_MAX, _file_of(test)), {})[test] = cpu_s
        return [groups[key] for key in sorted(groups, key=lambda key: (key[0], -len(groups[key]), key[1]))]

    def alone_run(self, mutant: Mutant) -> bool:
        """Whether nothing but tests runs the mutant: no import, and no collecting of tests."""
        return mutant.in_function and "" not in self._that_run(mutant)

    def _that_run(self, mutant: Mutant) -> set[str]:
        if (by_line := self._by_line.get(mutant.file)) is None:
            by_line = self._by_line[mutant.file] = self._data.contexts_by_lineno(str(ROOT / mutant.file))
        first, last = mutant.lines
        return {test for line in range(first, last + 1) for test in by_line.get(line, ())}


def _file_of(test: str) -> str:
    return test.partition("::")[0]


def _wait(child: int, output: Path, said: Path) -> None:
    """Waits for a child. Errors: `FailedAsItIsError`."""
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
        raise FailedAsItIsError(f"{said.read_text() if said.exists() else 'pytest'}\n{output.read_text()}")


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


def _import_and_try(mutant: Mutant, tests: Sequence[Mapping[str, float]], folder: Path) -> int:
    bound_this_process()
    file = ROOT / mutant.file
    name = mutant.file.removesuffix(".py").replace("/", ".")
    try:
        code = compile(mutant.applied(file.read_text(encoding="utf-8")), str(file), "exec", dont_inherit=True)
        sys.meta_path.insert(0, _Finder(name, file, code))
        importlib.import_module(name)
    except Exception:
        return _STILLBORN
    said = folder / str(os.getpid())
    # A file at a time, since most mutants are noticed in the first: to collect tests takes longer than to run most of them.
    codes = (pytest_code([_file_of(next(iter(chosen)))], Chosen(said, chosen)) for chosen in tests)
    return next((code for code in codes if code not in _UNNOTICED), pytest.ExitCode.OK)


def try_all(mutants: Iterable[Mutant], count: int, tests: Tests, folder: Path) -> Iterator[Trial]:
    """Tries the first `count` mutants that are not stillborn, as many at once as it has processors; yields what ends first."""
    waiting = iter(mutants)
    tried = list(islice(waiting, count))
    while tried:
        chosen = {mutant: tests.of(mutant) for mutant in tried}
        yield from (Trial(mutant, Outcome.SURVIVED, "no test runs its lines") for mutant in tried if not chosen[mutant])
        imported = [mutant for mutant in tried if chosen[mutant] and not tests.alone_run(mutant)]
        others = {mutant: chosen[mutant] for mutant in tried if chosen[mutant] and tests.alone_run(mutant)}
        yield from _try_warm(others, imported, tests, folder)
        stillborn = 0
        starting = ((mutant, partial(_import_and_try, mutant, chosen[mutant], folder)) for mutant in imported)
        for mutant, child, code in children.ends(starting):
            stillborn += code == _STILLBORN
            yield _ended(mutant, code, folder / str(child))
        tried = list(islice(waiting, stillborn))


def _try_warm(
    chosen: Mapping[Mutant, Sequence[Iterable[str]]], refused: list[Mutant], tests: Tests, folder: Path
) -> Iterator[Trial]:
    """Tries mutants, with the tests chosen for each, in a process that has all tests; adds those that it refuses to `refused`."""
    if not chosen:
        return
    mutants = list(chosen)
    told_by, told = os.pipe()

    def warm() -> int:
        each = [(mutant, [test for group in groups for test in group]) for mutant, groups in chosen.items()]
        with os.fdopen(told, "w", encoding="utf-8") as lines:
            # Children write what tests print nowhere, and not to a file that they share.
            return pytest_code(["-s", *tests.files], Warm(folder / "said", tests.cpu_s, each, folder, lines))

    child = children.start(warm, folder / "warm")
    os.close(told)
    with os.fdopen(told_by, encoding="utf-8") as lines:
        for index, tried, code in map(json.loads, lines):
            if code is None:
                refused.append(mutants[index])
            else:
                yield _ended(mutants[index], code, folder / str(tried))
    _wait(child, folder / "warm", folder / "said")


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
