"""The command line as processes of their own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from click.testing import CliRunner, Result

from services.cli.data_folder import Demo
from services.cli.main import command_line

# No system that the developer runs shall be found by a test.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("TOKENLINE_")}
TIMEOUT_S = 60
# The command line as it stands in this folder.
IN_PLACE = (sys.executable, "-m", "services")


class Up:
    """A running `tokenline up`."""

    def __init__(self, process: "subprocess.Popen[str]", data_dir: Path, greeting: list[str]) -> None:
        self.process = process
        self.data_dir = data_dir
        # The lines it has printed.
        self.greeting = greeting
        # All that it has logged, once it is stopped.
        self.log = ""
        self.demo = msgspec.json.decode((data_dir / "demo.json").read_bytes(), type=Demo)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status."""
        self.process.send_signal(number)
        _, self.log = self.process.communicate(timeout=TIMEOUT_S)
        return self.process.returncode


def tokenline(*arguments: str, timeout_s: float = TIMEOUT_S, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command line to its end."""
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**ENVIRONMENT, **environment},
        check=False,
    )


def run(*arguments: str, **environment: str) -> Result:
    """Runs the command line in this process."""
    none = {"TOKENLINE_URL": None, "TOKENLINE_TOKEN": None}
    return CliRunner().invoke(command_line, arguments, env={**none, **environment}, catch_exceptions=False)


@contextmanager
def started(*arguments: str, program: Sequence[str] = IN_PLACE, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of the command line, which is killed at the end if it has not ended."""
    process = subprocess.Popen(
        [*program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def in_time(process: "subprocess.Popen[str]", seconds: float = TIMEOUT_S) -> Iterator[None]:
    """What is read from a process within the block ends: after a while the process is killed."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def up(data_dir: Path, *arguments: str, program: Sequence[str] = IN_PLACE, **environment: str) -> Iterator[Up]:
    """`tokenline up` on any free port, ready."""
    here = ("--data-dir", str(data_dir), "--port", "0", "--admin-port", "0")
    with started("up", *here, *arguments, program=program, **environment) as process:
        assert process.stdout is not None
        greeting = []
        # Printed once all is ready; an early end is an end of the output too.
        for line in process.stdout:
            greeting.append(line.rstrip("\n"))
            if line.startswith("Stop it"):
                break
        assert greeting, process.communicate()[1]
        try:
            yield Up(process, data_dir, greeting)
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=TIMEOUT_S)
