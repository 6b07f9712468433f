"""The life of a process: stop on a signal, fail when a background task fails, end in order."""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager

from services.runtime.memory import keep_freed_memory
from services.runtime.open_files import raised_open_files

logger = logging.getLogger(__name__)


# The collector looks at the young objects after this many new ones: the standard 700 made it a tenth of a call's time, and 50,000
# stopped everybody for up to 46 ms where thousands of calls are in hand. It looks at those of a million together.
_COLLECT_AFTER = 10_000
_LOOKS_BEFORE_ALL_OF_THEM = 100


def started() -> None:
    """Excludes all objects made until now from garbage collection, and allows all files. Call it once a process serves."""
    keep_freed_memory()
    raised_open_files()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, _LOOKS_BEFORE_ALL_OF_THEM, 20)


class StoppedError(Exception):
    """The process shall end before the awaited result came."""


class Lifecycle:
    """Knows when the process shall end, and whether it failed.

    One a process. Services put their background tasks under it; the entry point waits for it.
    """

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._cancelled_by_stop: asyncio.Task[object] | None = None
        self.failure: BaseException | None = None

    def stop(self) -> None:
        """Asks the process to end in order."""
        if self._cancelled_by_stop is not None and not self._stop.is_set():
            self._cancelled_by_stop.cancel()
        self._stop.set()

    def fail(self, error: BaseException) -> None:
        """Asks the process to end because it can't go on; the first failure is kept."""
        if self.failure is None:
            self.failure = error
        self.stop()

    @contextmanager
    def unless_stopped(self) -> Iterator[None]:
        """Wraps a wait that a process does not need once it shall end: then the wait is cancelled.

        Errors: `StoppedError` in that case, once all that was begun is undone.
        """
        outer, self._cancelled_by_stop = self._cancelled_by_stop, asyncio.current_task()
        try:
            if self._stop.is_set():
                raise StoppedError
            yield
        except asyncio.CancelledError:
            if not self._stop.is_set():
                raise
            assert self._cancelled_by_stop is not None
            self._cancelled_by_stop.uncancel()
            raise StoppedError from None
        finally:
            self._cancelled_by_stop = outer

    async def wait(self) -> None:
        """Returns once the process shall end."""
        await self._stop.wait()

    def stop_on_signals(self) -> None:
        """Lets SIGTERM and SIGINT end the process in order; a second one ends it at once, with 128 and the signal's number."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            logger.warning("ending at once on a second signal, %s; what was under way is cut off", number.name)
            logging.shutdown()
            # No exception, because the loop would catch it, and first let every task end in its order.
            os._exit(128 + number)
        logger.info("stopping on %s", number.name)
        self.stop()

    @asynccontextmanager
    async def background(self, name: str, work: Coroutine[None, None, None]) -> AsyncIterator[asyncio.Task[None]]:
        """Runs `work` until the block is left, then cancels it. If it fails before, the process fails."""

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                logger.error("the background task %s failed", name, exc_info=error)
                self.fail(error)

        task = asyncio.create_task(work, name=name)
        task.add_done_callback(ended)
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
