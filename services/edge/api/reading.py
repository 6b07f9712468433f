"""Reads bodies of model calls: counts a body's values before a decoder reads them, and reads large bodies in a thread."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from services.edge.call.dialect import Body, Dialect, Request
from services.edge.http.json_bounds import DEPTH_MAX, held_by
from services.edge.http.problems import too_deep, too_many_values
from services.runtime.http.exchange import Headers

# The largest requests of agents have a fifth of this. Reading this many takes some 0.15 s.
_VALUES_MAX: Final = 100_000
# At most this many are read on the event loop, where others wait for it.
_VALUES_ON_LOOP_MAX: Final = 10_000


class RequestReader:
    """Reads requests in their dialect, large ones one at a time, so that they never take all of a processor from the others."""

    def __init__(self) -> None:
        self._large = ThreadPoolExecutor(max_workers=1, thread_name_prefix="request-reader")

    async def read(self, dialect: Dialect, body: Body, headers: Headers) -> Request:
        """The request. Errors: `Problem` 400 that says what would be right."""
        values, depth = held_by(body.content, _VALUES_ON_LOOP_MAX, _VALUES_MAX)
        if values > _VALUES_MAX:
            raise too_many_values(_VALUES_MAX)
        if depth > DEPTH_MAX:
            raise too_deep()
        named = dict(headers)
        try:
            if values <= _VALUES_ON_LOOP_MAX:
                return dialect.read(body, named)
            return await asyncio.get_running_loop().run_in_executor(self._large, dialect.read, body, named)
        except RecursionError:
            raise too_deep() from None

    def close(self) -> None:
        """Waits for the request that is being read."""
        self._large.shutdown(cancel_futures=True)
