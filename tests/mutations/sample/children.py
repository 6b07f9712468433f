"""Children of a process, of which as many run at once as it has processors."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def start(work: Callable[[], int], output: Path) -> int:
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


def ends(starting: Iterable[tuple[T, Callable[[], int]]]) -> Iterator[tuple[T, int, int]]:
    """Starts a child for each, without output; yields each with its child's number and exit code, what ends first first."""
    waiting = iter(starting)
    running: dict[int, T] = {}
    while True:
        while len(running) < len(os.sched_getaffinity(0)) and (following := next(waiting, None)) is not None:
            each, work = following
            running[start(work, Path(os.devnull))] = each
        if not running:
            return
        child, status = os.wait()
        yield running.pop(child), child, os.waitstatus_to_exitcode(status)
