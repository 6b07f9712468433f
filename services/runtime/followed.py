"""How far a process follows a stream of revisions, for whoever watches it."""

import time
from collections.abc import Callable

from services.runtime.instruments import Gauge, export


class Followed:
    """The revision that a stream told last, and for how long the stream has been broken."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self.revision = 0
        # Broken until it has told something.
        self._broken_s: float | None = monotonic_s()

    def told(self, revision: int) -> None:
        """Notes what the stream told; it stands from then on."""
        self.revision = revision
        self._broken_s = None

    def broke(self) -> None:
        """Notes that it ended."""
        if self._broken_s is None:
            self._broken_s = self._monotonic_s()

    @property
    def silence_s(self) -> float:
        """The time since it broke; 0 while it stands."""
        broken_s = self._broken_s
        return 0.0 if broken_s is None else self._monotonic_s() - broken_s

    def export(self, name: str, followed: str) -> None:
        """Shows both under a name from now on; `followed` says what is followed."""
        export(
            Gauge(f"{name}.revision", f"Revision in force of {followed}", lambda: self.revision),
            Gauge(
                f"{name}.silence_seconds", f"Time since the stream of {followed} broke; 0 while it stands", lambda: self.silence_s
            ),
        )
