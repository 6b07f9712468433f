"""Tries mutants in children of a process that has all tests and what they import, where functions get the mutant's code.

To import tests and to collect them takes longer than to run most of those that a mutant has.
"""

import gc
import inspect
import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType
from typing import TextIO

import pytest

from tests.mutations.planting import ROOT
from tests.mutations.sample.children import ends
from tests.mutations.sample.mutants import Mutant
from tests.mutations.sample.runs import Timed, bound_this_process


class Functions:
    """The functions of this process's modules, by the place where they are defined."""

    def __init__(self, files: frozenset[str]) -> None:
        """`files` are those of the mutants, from the project's folder."""
        names = {str(ROOT / file) for file in files}
        self._texts = {file: (ROOT / file).read_text(encoding="utf-8") for file in files}
        self._by_place: defaultdict[tuple[str, str, int], list[FunctionType]] = defaultdict(list)
        # Frozen objects are not told.
        gc.unfreeze()
        for each in gc.get_objects():
            if type(each) is FunctionType and (code := each.__code__).co_filename in names:
                self._by_place[code.co_filename, code.co_qualname, code.co_firstlineno].append(each)
        gc.freeze()

    def change(self, mutant: Mutant) -> Callable[[], None] | None:
        """Returns what gives the functions the mutant's code; None: it takes a process that imports the mutant.

        Python cannot compile it then, or it is of a function that is not there any more, or that refers to others.
        """
        text, name = self._texts[mutant.file], str(ROOT / mutant.file)
        try:
            changed = compile(mutant.applied(text), name, "exec", dont_inherit=True)
        except SyntaxError:
            return None
        scope = mutant.name.partition(":")[0]
        given: list[tuple[FunctionType, CodeType]] = []
        for before, after in zip(_outermost(compile(text, name, "exec", dont_inherit=True)), _outermost(changed), strict=True):
            if before == after:
                continue
            functions = self._by_place.get((name, before.co_qualname, before.co_firstlineno), [])
            # Others differ by their lines alone.
            of_mutant = scope == before.co_qualname or scope.startswith(f"{before.co_qualname}.")
            if of_mutant and (not functions or before.co_freevars != after.co_freevars):
                return None
            given.extend((function, after) for function in functions)
        return partial(_give, given)


def _outermost(code: CodeType) -> Iterator[CodeType]:
    """The functions of a module and of its classes, in the order of its text."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            if each.co_flags & inspect.CO_OPTIMIZED:
                yield each
            else:
                yield from _outermost(each)


def _give(given: Sequence[tuple[FunctionType, CodeType]]) -> None:
    for function, code in given:
        function.__code__ = code


class Warm(Timed):
    """A run of pytest that collects all tests and then runs those of each mutant, in a child with the mutant's code."""

    def __init__(
        self, said: Path, cpu_s: Mapping[str, float], mutants: Sequence[tuple[Mutant, Sequence[str]]], folder: Path, told: TextIO
    ) -> None:
        """`mutants` come with their tests; `told` gets a line of JSON for each: its index, its child, the exit code or null."""
        super().__init__(said, cpu_s)
        self._mutants = mutants
        self._folder = folder
        self._told = told
        self._in_child = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Takes the place of pytest's own loop, which runs in the children."""
        if self._in_child:
            return None
        items = {item.nodeid: item for item in session.items}
        for index, child, code in ends(self._trials(session, items)):
            self._tell(index, child, code)
        return True

    def _trials(self, session: pytest.Session, items: Mapping[str, pytest.Item]) -> Iterator[tuple[int, Callable[[], int]]]:
        functions = Functions(frozenset(mutant.file for mutant, _ in self._mutants))
        for index, (mutant, tests) in enumerate(self._mutants):
            if (change := functions.change(mutant)) is None:
                self._tell(index, 0, None)
            else:
                yield index, partial(self._try, session, [items[test] for test in tests], change)

    def _tell(self, index: int, child: int, code: int | None) -> None:
        self._told.write(json.dumps([index, child, code]) + "\n")
        self._told.flush()

    def _try(self, session: pytest.Session, items: list[pytest.Item], change: Callable[[], None]) -> int:
        bound_this_process()
        self._in_child = True
        self.said = self._folder / str(os.getpid())
        change()
        session.items[:] = items
        hook = session.config.hook
        with suppress(pytest.Session.Failed):
            hook.pytest_runtestloop(session=session)
        code = pytest.ExitCode.TESTS_FAILED if session.testsfailed else pytest.ExitCode.OK
        # What fixtures of many tests hold is given back.
        hook.pytest_sessionfinish(session=session, exitstatus=code)
        return int(code)
