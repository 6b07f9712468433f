"""What is read of processes from proc(5)."""

import subprocess
import sys

from services.cli.processes import cpu_s

BURNT_S = 0.3


def test_cpu_counts_children_that_have_ended() -> None:
    burn = f"import time\nwhile time.process_time() < {BURNT_S}: pass"
    runs = "for _ in range(2): subprocess.run([sys.executable, '-c', sys.argv[1]])"
    code = f"import subprocess, sys\n{runs}\nprint(1, flush=True)\ninput()"
    with subprocess.Popen([sys.executable, "-c", code, burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        used_s = cpu_s(process.pid)
        process.communicate("\n")
    assert 2 * BURNT_S * 0.9 <= used_s < 2 * BURNT_S + 2
