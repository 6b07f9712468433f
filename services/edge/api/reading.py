"""Reads bodies of model calls: counts a body's values before a decoder reads them, and reads large bodies in a thread."""

import asyncio
from typing import Final

from services.edge.call.dialect import Body, Dialect, Request
from services.edge.call.threads import Threads
from services.edge.http.json_bounds import DEPTH_MAX, Counting
from services.edge.http.problems import too_deep, too_many_values
from services.runtime.http.exchange import Headers
from services.runtime.http.pace import Pace

# The largest requests of agents have a fifth of this. Reading this many takes some 0.15 s.
_VALUES_MAX: Final = 100_000
# At most this many are read on the event loop, where others wait for it.
_VALUES_ON_LOOP_MAX: Final = 10_000
# JSON of at most this many bytes, too: a MB of text takes 10 ms, and 30 where all of it is escaped.
_JSON_BYTES_ON_LOOP_MAX: Final = 512 * 1024
# Other bodies of at most this many bytes are read on the event loop.
_BYTES_ON_LOOP_MAX: Final = 64 * 1024
# Looks at pieces, of all bodies with more values than that: each takes some 3 ms of others' time.
_CLOSE_LOOKS_PER_SECOND: Final = 40.0
_CLOSE_LOOKS_AT_ONCE: Final = 16
# A piece of a body that is there already, as large as one that comes.
_PIECE_BYTES: Final = 64 * 1024


class Look:
    """Looks at a body while it comes, before it is kept, let alone read."""

    def __init__(self, close_looks: Pace, *, is_json: bool) -> None:
        """Counts the values of JSON alone."""
        self.counting = Counting(_VALUES_ON_LOOP_MAX, _VALUES_MAX) if is_json else None
        self._close_looks = close_looks

    def __call__(self, piece: bytes) -> float:
        """Takes the next piece; how long the one after it is to wait.

        Errors: `Problem` 400 when there are too many values already.
        """
        if self.counting is None:
            return 0.0
        if not self.counting.add(piece):
            raise too_many_values(_VALUES_MAX)
        return self._close_looks.take_s(asyncio.get_running_loop().time()) if self.counting.closely else 0.0


class RequestReader:
    """Reads requests in their dialect, large ones one at a time, each account's in turn: others keep most of a processor."""

    def __init__(self) -> None:
        self._close_looks = Pace(_CLOSE_LOOKS_PER_SECOND, _CLOSE_LOOKS_AT_ONCE)
        self._large = Threads("request-reader", 1)

    def look(self, *, is_json: bool = True) -> Look:
        """For a body that comes."""
        return Look(self._close_looks, is_json=is_json)

    async def look_at(self, content: bytes) -> Look:
        """Looks at all of a body that is there already, in pieces. Errors: `Problem` 400 for too many values or levels."""
        look = self.look()
        for begin in range(0, len(content), _PIECE_BYTES):
            wait_s = look(content[begin : begin + _PIECE_BYTES])
            if wait_s or len(content) > _PIECE_BYTES:
                # Others have their turn after each piece, as if it came.
                await asyncio.sleep(wait_s)
        assert look.counting is not None
        if look.counting.held.depth > DEPTH_MAX:
            raise too_deep()
        return look

    async def read(self, account_id: str, dialect: Dialect, body: Body, look: Look, headers: Headers) -> Request:
        """The request of an account, of which `look` has seen all. Errors: `Problem` 400 that says what would be right."""
        if look.counting is None:
            is_small = len(body.content) <= _BYTES_ON_LOOP_MAX
        else:
            values, depth = look.counting.held
            if depth > DEPTH_MAX:
                raise too_deep()
            is_small = values <= _VALUES_ON_LOOP_MAX and len(body.content) <= _JSON_BYTES_ON_LOOP_MAX
        named = dict(headers)
        try:
            if is_small:
                return dialect.read(body, named)
            return await self._large.run(account_id, dialect.read, body, named)
        except RecursionError:
            raise too_deep() from None

    def close(self) -> None:
        """Waits for the request that is being read."""
        self._large.close()
