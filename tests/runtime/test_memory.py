"""What a process does with memory that it has freed."""

import subprocess
import sys

# Prints how many pages came from the system while blocks of 500 KB were made and freed.
_FAULTS = """
import resource
from services.runtime.lifecycle import started

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {serves}:
    started()
before = faults()
for _ in range(100):
    one = b"x" * 500_000
    two = one.decode()
    del one, two
print(faults() - before)
"""


def _faults(*, serves: bool) -> int:
    program = _FAULTS.format(serves=serves)
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def test_a_process_that_serves_takes_the_memory_of_a_large_body_from_the_system_once() -> None:
    assert _faults(serves=True) < 1_000 < _faults(serves=False)
