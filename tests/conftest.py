"""What tests of several services share."""

import os
from collections.abc import Iterator

import pytest

# Tests start servers beside gRPC's threads: its fork handlers would run in the child, half of them, and crash or hang it.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

from services.cli.postgresql_server import PostgresqlServer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One real PostgreSQL server for the whole run; each test makes a database of its own in it."""
    with PostgresqlServer() as server:
        yield server
