"""What is read of processes from proc(5), and the ports that they are started on."""

import errno
import socket
import subprocess
import sys

import pytest

from services.cli.processes import cpu_s, free_ports

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


def test_a_port_is_free_for_a_server_each_time_it_starts_and_given_to_nobody_else() -> None:
    (port,) = free_ports(1)
    for _ in range(2):
        # As the kernel would take it for a program that connects, or asks for any.
        with socket.socket() as other, pytest.raises(OSError, match="in use") as refused:
            other.bind(("127.0.0.1", port))
        assert refused.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass
