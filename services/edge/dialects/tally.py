"""Output of one event or answer, as a dialect with typed events counts it. Pure.

Every text that a client gets counts. A member that nobody knows counts as said.
"""

from typing import Final, NamedTuple

from services.edge.call.dialect import Step
from services.edge.dialects.disguise import NAME_CHARACTERS_MAX, told_by_names, told_by_numbers
from services.edge.dialects.metadata import Metadata
from services.edge.dialects.typed_events import Tree
from services.edge.vendors.usage import VendorCount

# The most characters of one text of metadata.
METADATA_CHARACTERS_MAX: Final = 256
_NONE: Final = frozenset[str]()


class Words(NamedTuple):
    """Words of a dialect's answers that are free, or that count otherwise than by their text."""

    # Names that any object of an answer may have.
    names: frozenset[str]
    # Members of events and answers that describe the answer: each text of them is free up to a bound.
    metadata: frozenset[str]
    # Words of every answer.
    usual: frozenset[str]
    # Members that stand for hidden thought.
    opaque: frozenset[str]


class Tally:
    """Output found in one event or answer; `metadata` is that of the whole answer."""

    __slots__ = ("_excess", "_metadata", "_words", "added", "added_opaque_bytes", "calls", "opaque_bytes", "said", "thought")

    def __init__(self, words: Words, metadata: Metadata) -> None:
        self._words = words
        self._metadata = metadata
        # Metadata beyond the free part: said, but it fills up no budget.
        self._excess: list[str] = []
        self.said: list[str] = []
        self.thought: list[str] = []
        self.added: list[str] = []
        self.added_opaque_bytes = 0
        self.opaque_bytes = 0
        self.calls = 0

    def step(self, *, out: bytes = b"", counted: VendorCount | None = None, finished: bool = False, ended: bool = False) -> Step:
        """The step of this tally."""
        if any(self.said) or any(self.thought) or self.calls or any(self.added):
            self._metadata.earn()
        return Step(
            out,
            "".join((*self.said, *self._excess)),
            "".join(self.thought),
            self.opaque_bytes,
            self.calls,
            "".join(self.added),
            counted,
            finished,
            ended,
            added_opaque_bytes=self.added_opaque_bytes,
        )

    def say(self, name: str, value: object) -> None:
        """Counts the texts of a member, and proofs of thought within it."""
        if type(value) is str:
            self.said.append(value)
            return
        hidden: list[str] = []
        texts = texts_of(value, self._words.opaque, hidden)
        self.said += texts
        self.opaque_bytes += bytes_of(hidden)
        self.tell(name, value, bytes_of(texts) + bytes_of(hidden))

    def tell(self, name: str, value: object, counted_bytes: int = 0) -> None:
        """Counts the part of a member that exceeds the free metadata; `counted_bytes` of it are counted already."""
        if value is not None and (beyond := self._metadata.beyond(name, value, counted_bytes)):
            self._excess.append(beyond)

    def opaque(self, value: object) -> None:
        """Counts a proof of thought; one that is no text says what it says."""
        if isinstance(value, str):
            self.opaque_bytes += bytes_of([value])
        else:
            self.say("opaque", value)

    def others(self, place: str, members: Tree, known: frozenset[str]) -> None:
        """Counts unknown members."""
        self.names(place, members)
        for name, value in members.items():
            if name not in known:
                texts = texts_of(value)
                self.said += texts
                self.tell(f"{place} {name}", value, bytes_of(texts))
            elif name in self._words.metadata:
                self.metadata(f"{place} {name}", value)

    def names(self, place: str, members: Tree) -> None:
        """Counts names that carry text."""
        self._excess += self._metadata.names(place, members, self._words.names)

    def metadata(self, name: str, value: object) -> None:
        """Counts metadata that is longer than any real one, or too much of which is new."""
        if type(value) is int:
            self.said += told_by_numbers(value)
        if type(value) is str and value in self._words.usual:
            return
        beyond = [text[METADATA_CHARACTERS_MAX:] for text in texts_of(value) if len(text) > METADATA_CHARACTERS_MAX]
        self.said += beyond
        self.tell(name, value, bytes_of(beyond))


def has_output(step: Step) -> bool:
    """Whether the step has output of the vendor's model."""
    return bool(step.said or step.thought or step.opaque_bytes or step.calls)


def bytes_of(texts: list[str]) -> int:
    """The bytes of texts in UTF-8."""
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)


def texts_of(value: object, opaque: frozenset[str] = _NONE, hidden: list[str] | None = None) -> list[str]:
    """All texts in a JSON value; types and names only where they are unusual.

    Texts of members that `opaque` names are added to `hidden` instead, where it is given.
    """
    if type(value) is str:
        return [value]
    texts: list[str] = []
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            texts.append(each)
        elif isinstance(each, dict):
            texts += told_by_names(each)
            for name, member in each.items():
                if hidden is not None and name in opaque:
                    hidden += texts_of(member)
                elif name != "type" or not isinstance(member, str) or len(member) > NAME_CHARACTERS_MAX:
                    waiting.append(member)
        else:
            texts += told_by_numbers(each)
            if isinstance(each, list):
                waiting += each
    return texts
