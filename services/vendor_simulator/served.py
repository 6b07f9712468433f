"""The vendor's own count of served usage, to compare with charges."""

from typing import Final

import msgspec

# Names beyond these displace those seen first, so that a long run stays small.
_NAMES_MAX: Final = 10_000


class Tally(msgspec.Struct):
    """Sums over the calls of one key, one user or one model."""

    # Well-formed requests, whatever became of them.
    calls: int = 0
    # Input of the calls whose answer was begun.
    input_tokens: int = 0
    # Output made, over all choices, reasoning included.
    output_tokens: int = 0
    # Output handed to the connection as text while the client was there.
    output_tokens_sent: int = 0
    # Calls whose client went away before the end.
    aborted: int = 0


class CallTally:
    """Counts one call for its key, its user and its model at once."""

    __slots__ = ("_tallies",)

    def __init__(self, *tallies: Tally) -> None:
        self._tallies = tallies
        for tally in self._tallies:
            tally.calls += 1

    def begun(self, input_tokens: int, output_tokens: int = 0) -> None:
        """Counts the begin of an answer: the input has been read, and `output_tokens` are made at once."""
        for tally in self._tallies:
            tally.input_tokens += input_tokens
            tally.output_tokens += output_tokens

    def made(self, output_tokens: int) -> None:
        """Counts tokens that were made since."""
        for tally in self._tallies:
            tally.output_tokens += output_tokens

    def sent(self, output_tokens: int) -> None:
        """Counts tokens that were handed to the connection since."""
        for tally in self._tallies:
            tally.output_tokens_sent += output_tokens

    def aborted(self) -> None:
        """Counts a client that went away."""
        for tally in self._tallies:
            tally.aborted += 1


class Served:
    """The counts since the start. Keys and users that were not sent count under ""; the model is the one that is served."""

    def __init__(self) -> None:
        self._by_key: dict[str, Tally] = {}
        self._by_user: dict[str, Tally] = {}
        self._by_model: dict[str, Tally] = {}

    def open(self, key: str, user: str, model: str) -> CallTally:
        """Counts a call and returns where the rest of it is counted."""
        return CallTally(_tally(self._by_key, key), _tally(self._by_user, user), _tally(self._by_model, model))

    def report(self) -> bytes:
        """{"by_key": {key: sums}, "by_user": {user: sums}, "by_model": {model: sums}} as JSON."""
        return msgspec.json.encode({"by_key": self._by_key, "by_user": self._by_user, "by_model": self._by_model})


def _tally(tallies: dict[str, Tally], name: str) -> Tally:
    tally = tallies.get(name)
    if tally is None:
        if len(tallies) >= _NAMES_MAX:
            del tallies[next(iter(tallies))]
        tally = tallies[name] = Tally()
    return tally
