"""Waiting for what has no event of its own to be awaited."""

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds. Errors: `TimeoutError` after 5 s."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  # the things looked at are plain state, as production reads them
            await asyncio.sleep(0.002)
