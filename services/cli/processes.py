"""Child processes of a benchmark: services and load generators, started, watched and stopped together."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from services.cli.failures import CommandError

_STOP_S_MAX: Final = 20.0

# Keep the ports of `free_ports` until this process ends.
_held: Final[list[socket.socket]] = []

T = TypeVar("T")

# Unit of CPU time in /proc.
CPU_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """User and system time of a process and of its children, ended ones too, in seconds, from proc(5)."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(encoding="ascii", errors="replace")
        except OSError:
            # It has ended meanwhile.
            continue
        # The second field is the name in brackets, which may hold anything; the parent is field 4, utime and stime are 14 and 15,
        # those of children that have ended 16 and 17.
        fields = text.rpartition(")")[2].split()
        if int(stat.parent.name) == pid or int(fields[1]) == pid:
            total += sum(map(int, fields[11:15])) * CPU_TICK_S
    return total


def resident_mib_peak(pid: int) -> float:
    """The most memory that a process has had resident since its start, or `forget_resident_peak`, in MiB, from proc(5)."""
    return _status_mib(pid, "VmHWM:")


def resident_mib(pid: int) -> float:
    """The resident memory of a process, in MiB, from proc(5)."""
    return _status_mib(pid, "VmRSS:")


def _status_mib(pid: int, field: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    (kilobytes,) = (line.split()[1] for line in status.splitlines() if line.startswith(field))
    return int(kilobytes) / 1_024


def open_files(pid: int) -> int:
    """How many files and connections a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def forget_resident_peak(pid: int) -> None:
    """Lets `resident_mib_peak` count from now on. Errors: `OSError` where the system has no such thing, or does not allow it."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on; the kernel gives them to nobody else as long as this process runs.

    A server that is started again on such a port finds it free: without that, any connection that a program opens may have been
    given it meanwhile as its own end.
    """
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
        # Set after the kernel has chosen: servers, which all set it, may listen there beside a socket that only is bound.
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    _held.extend(held)
    return [each.getsockname()[1] for each in held]


def environment_of(checkout: Path | None) -> dict[str, str] | None:
    """The environment of Python on the code of a checkout; None: as that of this process."""
    return None if checkout is None else {**os.environ, "PYTHONPATH": f"{checkout}:{checkout / 'protos' / 'gen'}"}


class Processes:
    """Child processes, whose output is kept in a folder; all are stopped at the end, the last started first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[str]] = {}
        self.pids: dict[str, int] = {}

    def start(
        self, name: str, *arguments: str, checkout: Path | None = None, environment: Mapping[str, str] = MappingProxyType({})
    ) -> "subprocess.Popen[str]":
        """Starts Python with these arguments, on the code of a checkout; None: on that of this process.

        `environment` is added to that of this process.
        """
        with (self._folder / f"{name}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(  # noqa: S603  # our own modules
                [sys.executable, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # `-m` looks in the current folder first.
                cwd=checkout,
                env={**(environment_of(checkout) or os.environ), **environment},
                # Ctrl-C is for this process, which then stops them in order.
                start_new_session=True,
            )
        self._running[name] = process
        self.pids[name] = process.pid
        return process

    def run(self, name: str, *command: str, folder: Path, environment: dict[str, str]) -> int:
        """Runs a program that is not ours in a folder, with this environment alone; its process ID."""
        with (self._folder / f"{name}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(  # noqa: S603  # as `start`
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                cwd=folder,
                env=environment,
                start_new_session=True,
            )
        self._running[name] = process
        self.pids[name] = process.pid
        return process.pid

    def end(self, name: str) -> None:
        """Lets one process end in order. Errors: `subprocess.TimeoutExpired` when it does not."""
        process = self._running[name]
        process.terminate()
        process.wait(_STOP_S_MAX)
        del self._running[name]

    def kill(self, name: str) -> None:
        """kill -9 of one process."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def serve(
        self,
        service: str,
        name: str = "",
        checkout: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
        **config: Any,
    ) -> str:
        """Starts a service, as the process `name`, as `start` does, and returns its address once it listens."""
        name = name or service
        # JSON is YAML.
        config_file = self._folder / f"{name}.yaml"
        config_file.write_bytes(msgspec.json.encode(config))
        arguments = ("-m", "services", "serve", service, "--config", str(config_file))
        process = self.start(name, *arguments, checkout=checkout, environment=environment)
        return self.read_line(process).rpartition(" listens on ")[2]

    def read_line(self, process: "subprocess.Popen[str]") -> str:
        """The next line that it prints. Errors: `CommandError` when it ends instead."""
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            process.wait()
            self.check()
            raise CommandError("a process of the benchmark ended too early")
        return line.rstrip("\n")

    def tell(self, process: "subprocess.Popen[str]", what: msgspec.Struct) -> None:
        """Writes a line of JSON to it."""
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(what).decode() + "\n")
        process.stdin.flush()

    def measure(
        self, generator: "subprocess.Popen[str]", load: msgspec.Struct, measured: type[T], pids: list[int]
    ) -> tuple[T, list[float]]:
        """Runs a load; returns its result and the CPU seconds of each process (with its children) meanwhile.

        The load generator reads its load as a line of JSON. It prints a line when measuring begins, one when it ends, then the
        result as JSON.
        """
        self.tell(generator, load)
        self.read_line(generator)
        before = [cpu_s(pid) for pid in pids]
        self.read_line(generator)
        used = [cpu_s(pid) - each for pid, each in zip(pids, before, strict=True)]
        result = msgspec.json.decode(self.read_line(generator), type=measured)
        self.check()
        return result, used

    def check(self) -> None:
        """Errors: `CommandError` with the last line of its log when a process has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                log = (self._folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise CommandError(f"{name} ended with {process.returncode}: {log[-1] if log else 'it said nothing'}")

    def stop(self) -> None:
        """Lets every process end in order; kills what does not, and all when interrupted meanwhile."""
        try:
            for process in reversed(self._running.values()):
                process.terminate()
                process.communicate(timeout=_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            pass
        finally:
            for process in self._running.values():
                process.kill()
                process.wait()


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that nothing is left running."""

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
