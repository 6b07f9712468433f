"""Metadata of an answer beside its output, and its free part. Pure.

Names, IDs, numbers and the like are no output, but a client can read them as it reads any text. Metadata that is repeated unchanged
is free. New metadata is paid from a budget of the whole answer, which output fills up again; the excess counts as said.
"""

from collections.abc import Collection, Iterable
from typing import Final

from services.edge.dialects.disguise import told_by_names
from services.edge.dialects.json_text import encode

# More metadata than any answer has at once; then the metadata of each piece of output, as the numbers of a usage.
FREE_BYTES: Final = 4_096
FREE_BYTES_A_PIECE: Final = 64
# Longer members are not recognised again, and at most this many members are.
_KNOWN_BYTES_MAX: Final = 1_024
_KNOWN_MAX: Final = 256
_DIGITS: Final = b"0123456789"
# A digit carries less than half of a byte's information.
_DIGITS_A_BYTE: Final = 2


class Metadata:
    """One answer's metadata so far, and its free budget."""

    __slots__ = ("_known", "_left", "_plain")

    def __init__(self) -> None:
        # Plain values as they were told last, recognised at a glance.
        self._plain: dict[str, str | int | float] = {}
        # JSON of each member as it was told last: only an immediate repeat is recognised, or values would be letters.
        self._known: dict[str, bytes] = {}
        self._left = FREE_BYTES

    def earn(self) -> None:
        """Adds a piece of output to the budget."""
        self._left = min(self._left + FREE_BYTES_A_PIECE, FREE_BYTES)

    def takes(self, members: Iterable[tuple[str, object]], *, says: bool) -> bool:
        """Takes members from the budget, which earns first where their event `says` something; False: they exceed it."""
        told = [(name, encode(value)) for name, value in members]
        cost = sum([self._cost(name, raw) for name, raw in told]) - says * FREE_BYTES_A_PIECE
        if cost > self._left:
            return False
        self._left = min(self._left - cost, FREE_BYTES)
        for name, raw in told:
            self._know(name, raw)
        return True

    def knows(self, name: str, value: object) -> bool:
        """Whether a plain value is unchanged since it was told last."""
        return self._plain.get(name) == value is not None

    def beyond(self, name: str, value: object, counted_bytes: int = 0) -> str:
        """Takes a member from the budget, less `counted_bytes` that are counted already. Returns the excess."""
        if isinstance(value, str | int | float) and (isinstance(value, int | float) or len(value) <= _KNOWN_BYTES_MAX):
            if self._plain.get(name) == value:
                return ""
            if name in self._plain or len(self._plain) < _KNOWN_MAX:
                self._plain[name] = value
        raw = encode(value)
        cost = max(0, self._cost(name, raw) - counted_bytes)
        self._know(name, raw)
        over = cost - self._left
        self._left = max(0, -over)
        return raw[-over:].decode("utf-8", "ignore") if over > 0 else ""

    def names(self, place: str, members: Collection[str], usual: frozenset[str]) -> list[str]:
        """The names of an object's members that count as said; `usual` ones are those of every answer."""
        if usual.issuperset(members):
            return []
        return told_by_names(members) or [self.beyond(place, [name for name in members if name not in usual])]

    def _know(self, name: str, raw: bytes) -> None:
        if len(raw) <= _KNOWN_BYTES_MAX and (name in self._known or len(self._known) < _KNOWN_MAX):
            self._known[name] = raw

    def _cost(self, name: str, raw: bytes) -> int:
        """The new bytes of a member; if only its numbers have changed, those of the numbers."""
        known = self._known.get(name)
        if known == raw:
            return 0
        if known is not None:
            rest = raw.translate(None, _DIGITS)
            if rest == known.translate(None, _DIGITS):
                return -(-(len(raw) - len(rest)) // _DIGITS_A_BYTE)
        return len(raw)
