"""The life of a process, as its signals see it."""

import signal
import subprocess
import sys

import pytest

# A process that stops on the first signal, and would go on stopping for as long as its loop turns.
_STOPS_SLOWLY = """
import asyncio, os, sys
from services.runtime.lifecycle import Lifecycle

async def main():
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    os.kill(os.getpid(), int(sys.argv[1]))
    await lifecycle.wait()
    print("stopping", flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
    for _ in range(1_000):
        await asyncio.sleep(0)
    print("went on")

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_process_that_stops_slowly_at_once(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STOPS_SLOWLY, str(int(number))], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("stopping\n", 128 + number), done.stderr


# A process that ends two things one after the other, the first of which takes its time.
_ENDS_IN_ORDER = """
import asyncio, os, sys
from contextlib import AsyncExitStack
import uvloop
from services.runtime.lifecycle import Lifecycle

async def end_slowly():
    print("ending the first", flush=True)
    os.kill(os.getpid(), int(sys.argv[1]))
    await asyncio.sleep(30)

async def end_next():
    print("ending the next", flush=True)

async def main():
    lifecycle = Lifecycle()
    lifecycle.stop_on_signals()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(end_next)
        stack.push_async_callback(end_slowly)
        os.kill(os.getpid(), int(sys.argv[1]))
        await lifecycle.wait()

uvloop.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_after_a_second_signal_nothing_more_is_ended_in_its_order(number: signal.Signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ENDS_IN_ORDER, str(int(number))], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("ending the first\n", 128 + number), done.stderr


_SERVES = """
import resource
from services.runtime.lifecycle import started

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
started()
print(resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard))
"""


def test_a_process_that_serves_may_open_as_many_files_as_the_system_allows() -> None:
    """Services that listen for gRPC alone too: each caller is a file."""
    assert subprocess.run([sys.executable, "-c", _SERVES], capture_output=True, text=True, check=True).stdout == "True\n"
