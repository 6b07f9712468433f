"""What tests of several services share."""

import gc
import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# Tests start servers beside gRPC's threads: its fork handlers would run in the child, half of them, and crash or hang it.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
# A shell ignores Ctrl-C for what it starts in the background, and programs that tests start inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from services.cli.postgresql_server import PostgresqlServer
from services.edge.tokens import tokenizers

# A machine that has other work to do, or a folder where Hypothesis has no tables of characters yet, is no fault of ours.
settings.register_profile("tokenline", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tokenline")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """All tests and what they import are there from now on; the garbage collector would look through them in each test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The longest go first, so that no worker is left with them when the others are done.
    items.sort(key=lambda item: item.path.parent.name != "simulation")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresqlServer]:
    """One real PostgreSQL server for the whole run; each test makes a database of its own in it."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture(autouse=True, scope="module")
def _room_for_tokenizers() -> Iterator[None]:
    """Each file finds room for tokenizers, as a new process does, whichever files ran before it."""
    yield
    tokenizers._loaded.clear()
