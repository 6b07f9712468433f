"""The input of a request: its texts, its other JSON, its images. Pure.

Everything that a model may be given is counted: texts by their bytes, the rest by the bytes of the vendor's JSON. Unknown content
is counted too, and named, so that the request can be refused where the profile says so.
"""

from collections.abc import Iterable
from typing import Any, Final

from services.edge.call.dialect import InputSize
from services.edge.dialects.json_text import encode, refuse_folds
from services.edge.dialects.typed_events import Tree
from services.edge.dialects.unmetered import MEDIA, names_media, unbounded
from services.edge.tokens.media import Document, Image
from services.edge.tokens.size import NO_TEXT, size_of

# Opaque proofs are base64, about as long as the thought they stand for.
_OPAQUE_LETTERS: Final = (3, 4)


class Input:
    """The input of one request, as its dialect reads it. Errors of all methods: `Problem` 400 that names the field."""

    def __init__(self, *, is_bounded: bool) -> None:
        """`is_bounded`: content whose tokens have no known bound is refused."""
        self.is_bounded = is_bounded
        # Values that count by their JSON.
        self.trees: list[Any] = []
        # Bytes of proofs of thought, and the most tokens of text that only the vendor knows.
        self.opaque_bytes = 0
        self.hidden_bytes = 0
        self.texts: list[str] = []
        self.images: list[Image] = []
        self.documents: list[Document] = []
        self.turns = 0
        # This many texts come up to the first message of the user.
        self._begun: int | None = None
        # The first member or block of the messages that is not known here.
        self.unknown = ""

    def size(self) -> InputSize:
        """The size of the input read so far."""
        text = size_of("".join(self.texts)) if self.texts else NO_TEXT
        if self.trees:
            text += size_of(encode(self.trees).decode())
        bound = text.utf8_bytes + self.opaque_bytes + self.hidden_bytes
        if self.opaque_bytes:
            letters = self.opaque_bytes * _OPAQUE_LETTERS[0] // _OPAQUE_LETTERS[1]
            text += NO_TEXT._replace(utf8_bytes=self.opaque_bytes, lowers=letters)
        return InputSize(bound, text, self.turns, tuple(self.images), self._texts, documents=tuple(self.documents))

    def user_has_spoken(self) -> None:
        """Notes that a message of the user was read."""
        if self._begun is None:
            self._begun = len(self.texts)

    def beginning(self) -> list[str]:
        """The texts that every call of the conversation repeats: all up to the first message of the user."""
        return self.texts[: self._begun]

    def _texts(self) -> Iterable[str]:
        return self.texts

    def add(self, name: str, value: object) -> None:
        """Counts a field by its JSON."""
        self.trees.append({name: value})

    def rest(self, members: Tree, skipped: frozenset[str]) -> None:
        """Counts the members that are not `skipped` by their JSON."""
        rest = {name: value for name, value in members.items() if name not in skipped}
        if rest:
            self.trees.append(rest)

    def odd(self, members: Tree, known: frozenset[str], by_fold: dict[str, str], where: str) -> None:
        """Refuses a name that folds onto a known one; keeps the first unknown name."""
        refuse_folds(members, by_fold, where)
        for name, value in members.items():
            if name not in known:
                self.note_unknown({name: value}, f"{where}.{name}", name)

    def note_unknown(self, members: Tree, where: str, name: str) -> None:
        """Keeps the first unknown name. Refuses media under every name, because they have no bound."""
        if self.is_bounded and (MEDIA.search(name) or names_media(members)):
            raise unbounded(where, name)
        self.unknown = self.unknown or where
