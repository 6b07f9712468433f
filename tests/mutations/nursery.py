"""Runs pytest for the planting of faults, each time in a child of its own that has the libraries from the start.

To import libraries takes longer than most tests do. Code that a fault may be planted in is imported by the child alone.
Reads from its input, one run a line: the file for its output, the seconds that it may take, and pytest's arguments. Writes how
each run ended: pytest's exit code, or the negative number of the signal that ended it.
"""

import importlib
import json
import os
import signal
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

import pytest

# Those that take long to import, beside pytest's plugins.
_LIBRARIES: Final = (
    "aiohttp",
    "asyncpg",
    "grpc.aio",
    "grpc_health.v1.health",
    "grpc_reflection.v1alpha.reflection",
    "grpc_status.rpc_status",
    "hypothesis",
    "litestar",
    "msgspec",
    "opentelemetry.sdk.trace",
    "prometheus_client",
    "yaml",
)
_PLANTED: Final = ("services", "tests")


def _run(output: str, run_s_max: int, arguments: list[str]) -> int:
    loaded = [name for name in sys.modules if name.partition(".")[0] in _PLANTED]
    assert not loaded, f"a fault in {loaded} would not be seen"
    with Path(os.devnull).open("rb") as nothing, Path(output).open("wb") as file:
        os.dup2(nothing.fileno(), 0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.alarm(run_s_max)
    return int(pytest.main(arguments))


def main() -> int:
    """Runs what it is told to, up to the end of its input."""
    for name in _LIBRARIES:
        importlib.import_module(name)
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            return _run(*json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
