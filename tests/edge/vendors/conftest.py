"""All tests here run in virtual time, with sockets."""

from tests.runtime.network import NetworkLoop


def pytest_asyncio_loop_factories() -> dict[str, type[NetworkLoop]]:
    """A loop of its own for each test."""
    return {"virtual": NetworkLoop}
