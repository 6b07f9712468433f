"""Waiting for what has no event of its own to be awaited."""

import asyncio
from collections.abc import Callable
from typing import Final

# So long a test waits for what is sure to come: only what never comes takes that time, however busy the machine is.
WAIT_S: Final = 60.0


async def until(condition: Callable[[], object], seconds: float = WAIT_S) -> None:
    """Returns once the condition holds. Errors: `TimeoutError` after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # the things looked at are plain state, as production reads them
            await asyncio.sleep(0.002)
