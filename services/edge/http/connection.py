"""The client of a call: its body, whether it is still there, and the interruption of work that only matters to it."""

import asyncio
import math
import re
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Final, Self

from services.edge.http.bodies import Coming
from services.edge.http.problems import Problem, answer_too_long, malformed, too_large
from services.runtime.http.exchange import Exchange, GoneError

RUN_LABEL: Final = b"x-tokenline-run"
FALLBACK: Final = b"x-tokenline-fallback"
_FALLBACKS: Final = {"": None, "equivalent": True, "none": False}
_RUN_LABEL_FORM: Final = re.compile(r"[!-~]{1,64}")


class ClientGoneError(Exception):
    """The client has closed its connection."""


class RevokedError(Exception):
    """The call must end while it is under way, because the client lost its right to it; `problem` says how."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class TooLongError(RevokedError):
    """The call must end, because its answer has taken longer than the longest allowed."""


class Client:
    """The client's connection. Awaits within `interruptible` end when the client goes away, or must go."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._task = asyncio.current_task()
        # Blocks of `interruptible` that are open now; they may be nested.
        self._depth = 0
        # Makes the error that ends an await. Kept as a function, because the error itself would keep this object in a circle.
        self._interruption: Callable[[], Exception] | None = None
        # When its request was read; at first, when its head was.
        self.read_s = time.monotonic()
        # Called once the session of the call is open.
        self.on_opened: list[Callable[[], object]] = []

    def header(self, name: bytes) -> str:
        """A header of the request; empty where it was not sent. `name`: in lower case. Errors: `Problem` 400 for several."""
        values = self._exchange.values_of(name)
        if not values:
            return ""
        if len(values) > 1:
            named = name.decode()
            raise malformed(
                named, f"{named} came {len(values)} times, and readers differ in which holds. Send it once.", "invalid_value"
            )
        return values[0].decode("latin-1")

    def run_label(self) -> str:
        """The client's own name for the run that its call is of, from `x-tokenline-run`; empty: none. Errors: `Problem` 400."""
        value = self.header(RUN_LABEL)
        if value and _RUN_LABEL_FORM.fullmatch(value) is None:
            raise malformed(RUN_LABEL.decode(), "x-tokenline-run must have 1 to 64 visible ASCII characters.", "invalid_value")
        return value

    def allows_equivalents(self) -> bool | None:
        """Whether an equivalent model may answer, from `x-tokenline-fallback`; None: it does not say. Errors: `Problem` 400."""
        word = self.header(FALLBACK)
        if word not in _FALLBACKS:
            message = f"{FALLBACK.decode()} must be equivalent, or none, or left out: then it is as the account's offering says."
            raise malformed(FALLBACK.decode(), message, "invalid_value")
        return _FALLBACKS[word]

    async def read_body(self, bytes_max: int, coming: Coming, look: Callable[[bytes], float]) -> bytes:
        """The body; each piece is shown to `look` as it comes, which says how long the next one is to wait.

        Errors: `Problem` 413 when it is too large, 429 or 503 when too much is coming, those of `look`; `ClientGoneError`.
        """
        exchange = self._exchange
        pieces: list[bytes] = []
        size = 0
        try:
            while piece := await exchange.read():
                size += len(piece)
                if size > bytes_max:
                    raise too_large(bytes_max)
                coming.add(len(piece))
                wait_s = look(piece)
                pieces.append(piece)
                if wait_s:
                    await asyncio.sleep(wait_s)
        except GoneError:
            raise ClientGoneError from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def shed(self) -> bool:
        """Gives up the request for overload; whether its body was whole, so that the connection can be used again."""
        return self._exchange.shed()

    def watch(self) -> None:
        """Begins to listen for the end of the connection."""
        self._exchange.on_gone = self._left
        self._exchange.on_late = self._late
        if self._exchange.gone:
            self._left()

    def stop_watching(self) -> None:
        """Lets go of the connection and the task, which would otherwise wait for the garbage collector with it."""
        self._exchange.on_gone = self._exchange.on_late = None
        self.on_opened.clear()
        self._task = None

    def revoke(self, problem: Problem) -> None:
        """Ends the call, because its key must not be used any more; the client is told the problem."""
        self._interrupt(partial(RevokedError, problem))

    def opened(self, ends_in_ms: int) -> None:
        """Notes that the call's session is open, and that the client's right to be served ends then; 0: it does not."""
        for call in self.on_opened:
            call()
        self._exchange.right_ends_s = asyncio.get_running_loop().time() + ends_in_ms / 1_000 if ends_in_ms else math.inf

    def _left(self) -> None:
        self._interrupt(ClientGoneError)

    def _late(self, longest_s: float) -> None:
        self._interrupt(partial(TooLongError, answer_too_long(longest_s)))

    def _interrupt(self, reason: Callable[[], Exception]) -> None:
        if self._interruption is None:
            self._interruption = reason
            if self._depth and self._task is not None:
                self._task.cancel()

    def interruptible(self) -> Self:
        """A block whose awaits end with `ClientGoneError` or `RevokedError` when that happens, or has happened."""
        return self

    # The block is the client itself, because a generator would cost more than the rest of relaying an event.

    def __enter__(self) -> None:
        if self._interruption is not None:
            raise self._interruption()
        self._depth += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._depth -= 1
        if (
            isinstance(error, asyncio.CancelledError)
            and self._interruption is not None
            and self._task is not None
            and self._task.uncancel() == 0
        ):
            raise self._interruption() from None
