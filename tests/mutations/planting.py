"""Plants one fault at a time into a copy of the code, and asks what shall notice it.

The code as it is must pass first, or noticing a fault would mean nothing. A fault whose place is no longer there is as bad as one
that nothing notices: its promise is not looked after any more.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
# Only a fault that makes its tests hang takes so long; all tests together may take longer, on a busy machine.
_RUN_S_MAX: Final = 600
_FILE_S_MAX: Final = 60
_IGNORED: Final = shutil.ignore_patterns("__pycache__")


class Mutation(NamedTuple):
    """A fault: in which file, and what becomes what. Each text that is changed stands in the file once."""

    name: str
    # From the project's folder.
    file: str
    changes: tuple[tuple[str, str], ...]
    # What pytest is asked to run.
    tests: tuple[str, ...] = ()


def one(name: str, file: str, before: str, after: str, test: str) -> Mutation:
    """A fault that changes one text, and the file of tests that shall see it."""
    return Mutation(name, file, ((before, after),), (test,))


class Verdict(NamedTuple):
    """Whether the code was found faulty, and the first words that were said of it."""

    noticed: bool
    said: str


class PlaceGoneError(Exception):
    """There is nothing to change any more."""


class NoRunError(Exception):
    """What should notice faults could not be run."""


def changed_text(mutation: Mutation, folder: Path = ROOT) -> str:
    """The text of the mutation's file with the fault in it. Errors: `PlaceGoneError`; `SyntaxError` for what is no Python."""
    file = folder / mutation.file
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    for old, new in mutation.changes:
        if text.count(old) != 1:
            raise PlaceGoneError(f"{mutation.file} has {text.count(old)} places that read {old!r}, not one")
        text = text.replace(old, new)
    if file.suffix == ".py":
        compile(text, mutation.file, "exec")
    return text


class Copy:
    """A copy of the code in a folder of its own. Close it, since it has a process that runs its tests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._nursery: subprocess.Popen[str] | None = None
        # Answers are compared with what the documents say.
        for name in ("charts", "docs", "infra", "services", "tests"):
            shutil.copytree(ROOT / name, folder / name, ignore=_IGNORED)
        for name in ("pyproject.toml", "Dockerfile", ".dockerignore", "skaffold.yaml"):
            shutil.copy(ROOT / name, folder)

    @contextmanager
    def planted(self, mutation: Mutation) -> Iterator[None]:
        """Has the fault in the copy within the block. Errors: those of `changed_text`."""
        if not mutation.changes:
            yield
            return
        file = self._folder / mutation.file
        text = changed_text(mutation, self._folder)
        before = file.read_text(encoding="utf-8")
        self._write(file, text)
        try:
            yield
        finally:
            self._write(file, before)

    def _write(self, file: Path, text: str) -> None:
        file.write_text(text, encoding="utf-8")
        # Compiled code is told from newer text by its second and size, which may be those of the text before.
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()

    @property
    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self._folder), str(ROOT / "protos" / "gen")])
        # gRPC is imported before the tests can say so, see `tests/conftest.py`.
        return os.environ | {"PYTHONPATH": path, "GRPC_ENABLE_FORK_SUPPORT": "false"}

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs Python in the copy. Errors: `subprocess.TimeoutExpired`."""
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_S_MAX,
        )

    def test(self, *arguments: str, seconds: int = _RUN_S_MAX) -> tuple[int, str]:
        """Runs pytest in the copy; returns its exit code and what it said. Errors: `subprocess.TimeoutExpired`; `NoRunError`."""
        if self._nursery is None:
            self._nursery = subprocess.Popen(
                # Without its folder on the path: the names of its neighbours are also those of libraries.
                [sys.executable, "-P", "tests/mutations/nursery.py"],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._nursery.stdin is not None
        assert self._nursery.stdout is not None
        output = self._folder / "output.txt"
        print(json.dumps([str(output), seconds, arguments]), file=self._nursery.stdin, flush=True)
        ended = self._nursery.stdout.readline()
        if not ended:
            raise NoRunError("tests/mutations/nursery.py has ended; standard error says why")
        if int(ended) == -signal.SIGALRM:
            raise subprocess.TimeoutExpired("pytest", seconds)
        return int(ended), output.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """Ends the process that runs tests, if there is one."""
        if self._nursery is not None:
            self._nursery.communicate()


Judge = Callable[[Copy, Mutation], Verdict]


def run_tests(copy: Copy, mutation: Mutation) -> Verdict:
    """Runs the mutation's tests up to the first that fails. Errors: `NoRunError` where it does not come to its tests."""
    seconds = max(_RUN_S_MAX, _FILE_S_MAX * len(mutation.tests))
    code, output = copy.test("-q", "-x", "-p", "no:cacheprovider", "--durations=0", *mutation.tests, seconds=seconds)
    lines = output.strip().splitlines()
    failed = [line.partition(" - ")[0] for line in lines if line.startswith(("FAILED tests", "ERROR tests"))]
    said = [*failed, *lines[-1:], "it said nothing"][0]
    if code not in (0, 1):
        raise NoRunError(f"pytest ended with {code}: {said}")
    return Verdict(code == 1, said)


def plant_all(mutations: Sequence[Mutation], judge: Judge, *, unchanged: bool = True) -> int:
    """Plants each of the mutations, and prints what became of it; 1 if one survives or has no place.

    `unchanged`: nothing is changed first, which must pass, or else the others would prove nothing.
    """
    tests = tuple(dict.fromkeys(test for mutation in mutations for test in mutation.tests))
    unlike: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tokenline-mutations-") as folder, closing(Copy(Path(folder))) as copy:
        for mutation in (*([Mutation("nothing is changed", "", (), tests)] if unchanged else []), *mutations):
            word, said = _outcome(copy, mutation, judge)
            print(f"{word:8}  {mutation.name}: {said[:200]}", flush=True)
            if not mutation.changes and word != "passes":
                return 1
            if mutation.changes and word != "noticed":
                unlike.append(mutation.name)
    print(f"{len(mutations)} mutations, {len(unlike)} of them not as they should be: {', '.join(unlike) or 'none'}")
    return 1 if unlike else 0


def _outcome(copy: Copy, mutation: Mutation, judge: Judge) -> tuple[str, str]:
    try:
        with copy.planted(mutation):
            verdict = judge(copy, mutation)
    except PlaceGoneError as error:
        return "GONE", str(error)
    except NoRunError as error:
        return "NO RUN", str(error)
    except SyntaxError as error:
        return "NO CODE", str(error)
    except subprocess.TimeoutExpired as error:
        return "HANGS", f"its tests did not end within {error.timeout:.0f} s; name one that fails"
    return ("noticed" if verdict.noticed else "SURVIVED" if mutation.changes else "passes"), verdict.said
