"""What tests of several services share."""

from collections.abc import Iterator

import pytest

from services.cli.postgresql_server import PostgresqlServer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One real PostgreSQL server for the whole run; each test makes a database of its own in it."""
    with PostgresqlServer() as server:
        yield server
