"""Ways to answer otherwise than the documents say, on command: late, wrongly, twice, or not at all."""

from copy import deepcopy
from typing import Any

from msgspec import Struct


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the next `times` requests of an operation go, by its operationId, or "token"."""

    operation: str
    times: int = 1
    # The request is carried out before the answer goes wrong, else not at all.
    carried_out: bool = False
    # It is carried out once more than was asked for.
    twice: bool = False
    # The answer comes this much later.
    delay_ms: int = 0
    # The connection ends in the place of an answer.
    cut: bool = False
    # An error in the place of the answer; 0: none.
    status: int = 0
    code: str = ""
    retry_after_s: int = 0
    # The answer's body in full.
    body: str | None = None
    # Members of the answer that get other values, by their paths: {"amountTransaction.clientCorrelator": "another"}.
    changes: dict[str, Any] = {}

    def changed(self, answer: Any) -> Any:
        """The answer with its changed members."""
        told = deepcopy(answer)
        for path, value in self.changes.items():
            *steps, last = path.split(".")
            place = told
            for step in steps:
                place = place[step]
            place[last] = value
        return told


class Behaviours:
    """Those that wait for their requests."""

    def __init__(self) -> None:
        self._waiting: list[Behaviour] = []
        self._left: list[int] = []

    def add(self, behaviour: Behaviour) -> None:
        """Lets the next requests of its operation go like that."""
        self._waiting.append(behaviour)
        self._left.append(behaviour.times)

    def of(self, operation: str) -> Behaviour | None:
        """The behaviour of a request that came; None: as the documents say."""
        for place, behaviour in enumerate(self._waiting):
            if behaviour.operation == operation:
                self._left[place] -= 1
                if not self._left[place]:
                    del self._waiting[place], self._left[place]
                return behaviour
        return None
