"""`python -m tests.faults.clock FILE ARGUMENT ...`: the command line on a machine whose clock is off by what FILE says.

FILE holds nanoseconds, as 8 bytes. Who writes there sets the clock of the process, which stands for the machine's.
"""

import mmap
import sys
import time
from pathlib import Path

from services.cli.main import main

_SIZE = 8


def write_off(file: Path, seconds: float) -> None:
    """Sets a clock so many seconds ahead of what is right; less than 0: late."""
    written = round(seconds * 1_000_000_000).to_bytes(_SIZE, "little", signed=True)
    if not file.exists():
        file.write_bytes(written)
        return
    # In its place, since the process looks at these very bytes.
    with file.open("r+b", buffering=0) as opened:
        opened.write(written)


def _read_off(file: Path) -> None:
    """Lets the clock of this process be off from now on."""
    with file.open("rb") as opened:
        off = mmap.mmap(opened.fileno(), _SIZE, access=mmap.ACCESS_READ)
    right_ns = time.time_ns

    def now_ns() -> int:
        return right_ns() + int.from_bytes(off[:_SIZE], "little", signed=True)

    time.time_ns = now_ns
    time.time = lambda: now_ns() / 1_000_000_000


if __name__ == "__main__":
    _read_off(Path(sys.argv.pop(1)))
    main()
