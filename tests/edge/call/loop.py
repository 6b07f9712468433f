"""An event loop for the call path: virtual time, and work that goes to threads is done at once."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.simulation.virtual_time import VirtualLoop


class CallLoop(VirtualLoop):
    """Nothing real is awaited, so a call that would wait for ever ends the test with an error."""

    def __init__(self) -> None:
        super().__init__()
        # How often work was given to a thread.
        self.handed_over = 0

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        self.handed_over += 1
        future: asyncio.Future[Any] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future
