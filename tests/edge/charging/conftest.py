"""All tests here run in virtual time."""

from tests.edge.call.loop import CallLoop


def pytest_asyncio_loop_factories() -> dict[str, type[CallLoop]]:
    """A loop of its own for each test."""
    return {"virtual": CallLoop}
