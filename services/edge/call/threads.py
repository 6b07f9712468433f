"""Threads for work that would hold the event loop up, such as counting a long text. Accounts have them in turn.

An account alone has half of them, so that the next account finds one free: a thread's work cannot be broken off, and may take
seconds.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Final, NamedTuple, TypeVar, TypeVarTuple, Unpack

from services.edge.call.shares import Places

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

# As many as the event loop's own on the machines that an edge is meant for. Counting does not hold the interpreter's lock.
_THREADS: Final = 6


class Threads:
    """A number of threads, and the work that waits for one."""

    def __init__(self, name: str, count: int = _THREADS) -> None:
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix=name)
        self._places = Places(count)
        # Work that waits, by account. The account whose turn is next comes first.
        self._waiting: dict[str, dict[asyncio.Future[None], None]] = {}

    async def run(self, account_id: str, work: Callable[[Unpack[_Args]], _Result], *args: *_Args) -> _Result:
        """The result of `work`, in a thread, when it is the account's turn. Work that is no longer awaited gives its turn up.

        Errors: those of `work`.
        """
        if account_id in self._waiting or not self._places.take(account_id, 1.0):
            await self._wait(account_id)
        under_way = asyncio.get_running_loop().run_in_executor(self._pool, work, *args)
        # The thread is busy until then, also where nobody awaits it any more.
        under_way.add_done_callback(lambda _: self._over(account_id))
        return await asyncio.shield(under_way)

    async def _wait(self, account_id: str) -> None:
        given = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(account_id, {})[given] = None
        try:
            await given
        except asyncio.CancelledError:
            if given.cancelled():
                self._leave(account_id, given)
            else:
                # It was given at the moment in which nobody waited for it any more.
                self._over(account_id)
            raise

    def _leave(self, account_id: str, given: "asyncio.Future[None]") -> None:
        waiting = self._waiting[account_id]
        del waiting[given]
        if not waiting:
            del self._waiting[account_id]

    def _over(self, account_id: str) -> None:
        """Gives the account's place back, and to those whose turn it is."""
        self._places.give_back(account_id, 1.0)
        while self._give():
            pass

    def _give(self) -> bool:
        """Gives a place to the next account that may have one; false: no place, or nobody for it."""
        account_id = next((each for each in self._waiting if self._places.take(each, 1.0)), None)
        if account_id is None:
            return False
        waiting = self._waiting.pop(account_id)
        given = next(iter(waiting))
        del waiting[given]
        if waiting:
            # Its next work comes after that of all others.
            self._waiting[account_id] = waiting
        given.set_result(None)
        return True

    def close(self) -> None:
        """Waits for the work that is under way."""
        self._pool.shutdown(cancel_futures=True)


class _Served(NamedTuple):
    threads: Threads
    account_id: str


_served: Final[ContextVar[_Served | None]] = ContextVar("served", default=None)


def serve(threads: Threads, account_id: str) -> None:
    """Says whose work `in_thread` does from here on, in this task and those that it begins."""
    _served.set(_Served(threads, account_id))


async def in_thread(work: Callable[[Unpack[_Args]], _Result], *args: *_Args) -> _Result:
    """The result of `work`, in a thread, in the turn of the account that is served. Errors: those of `work`."""
    served = _served.get()
    if served is None:
        return await asyncio.to_thread(work, *args)
    return await served.threads.run(served.account_id, work, *args)
