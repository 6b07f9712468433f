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
