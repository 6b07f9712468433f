"""Waiting for what has no event of its own to be awaited."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Returns once the condition holds. Errors: `TimeoutError` after so many seconds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # the things looked at are plain state, as production reads them
            await asyncio.sleep(0.002)
