"""The system that all clients call, and where the clients are installed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.system import System, running_system


@pytest.fixture(scope="session")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """One system for the whole run; each test has an account of its own in it."""
    with running_system(tmp_path_factory.mktemp("system")) as running:
        yield running


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder that `make test-clients` installs the clients into."""
    folder = Path(__file__).parents[2] / ".clients"
    assert (folder / ".installed").exists(), "the clients are not installed: run make test-clients"
    return folder
