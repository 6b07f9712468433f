"""The input of a request: its texts, its other JSON, its images. Pure.

Everything that a model may be given is counted: texts by their bytes, the rest by the bytes of the vendor's JSON. Unknown content
is counted too, and named, so that the request can be refused where the profile says so.
"""

from collections.abc import Iterable
from typing import Any, Final

from services.edge.call.dialect import InputSize
from services.edge.dialects.anthropic_messages.names import (
    BLOCK_BY_FOLD,
    CUSTOM_TOOL,
    KINDS,
    MESSAGE_BY_FOLD,
    MESSAGE_MEMBERS,
    RESULT,
    RESULT_SUFFIX,
    ROLES,
    SOURCE_BY_FOLD,
    SOURCE_MEMBERS,
    TOOL_BY_FOLD,
    VENDOR_TOOL_TOKENS,
    VERSION_TEXT,
    Kind,
)
from services.edge.dialects.json_text import encode, refuse_folds
from services.edge.dialects.unmetered import MEDIA, names_media, unbounded
from services.edge.http.problems import Problem, malformed
from services.edge.tokens.size import NO_TEXT, size_of

Tree = dict[str, Any]
Path = tuple[str | int, ...]
# A document in the result of a tool holds blocks; nothing is nested deeper.
_DEPTH_MAX: Final = 3
# Opaque proofs are base64, about as long as the thought they stand for.
_OPAQUE_LETTERS: Final = (3, 4)


class Prompt:
    """The input of one request. Errors of all methods: `Problem` 400 that names the field."""

    def __init__(self, *, is_bounded: bool) -> None:
        """`is_bounded`: content whose tokens have no known bound is refused."""
        self._is_bounded = is_bounded
        # Values that count by their JSON.
        self._trees: list[Any] = []
        self._opaque_bytes = 0
        self._hidden_bytes = 0
        self.texts: list[str] = []
        # The texts of the system, and of all up to the first message of the user.
        self._system: tuple[int, int] = (0, 0)
        self._begun: int | None = None
        self.images = 0
        self.turns = 0
        # The first member or block of the messages that is not known here.
        self.unknown = ""

    def size(self) -> InputSize:
        """The size of the input read so far."""
        text = size_of("".join(self.texts)) if self.texts else NO_TEXT
        if self._trees:
            text += size_of(encode(self._trees).decode())
        bound = text.utf8_bytes + self._opaque_bytes + self._hidden_bytes
        if self._opaque_bytes:
            letters = self._opaque_bytes * _OPAQUE_LETTERS[0] // _OPAQUE_LETTERS[1]
            text += NO_TEXT._replace(utf8_bytes=self._opaque_bytes, lowers=letters)
        return InputSize(bound, text, self.turns, self.images, self._texts)

    def beginning(self) -> list[str]:
        """The texts that every call of the conversation repeats, without the one that names the client's version."""
        first, last = self._system
        system = [text for text in self.texts[first:last] if not text.startswith(VERSION_TEXT)]
        return system + self.texts[: self._begun]

    def _texts(self) -> Iterable[str]:
        return self.texts

    def read_messages(self, messages: object) -> None:
        """Reads the turns."""
        if not isinstance(messages, list):
            raise malformed("messages", "messages must be a list of objects with role and content.", "invalid_type")
        if not messages:
            raise malformed("messages", "messages must have at least one message.", "invalid_value")
        for index, message in enumerate(messages):
            if type(message) is not dict:
                raise malformed(f"messages[{index}]", f"messages[{index}] must be an object with role and content.", "invalid_type")
            if not message.keys() <= MESSAGE_MEMBERS:
                self._odd(message, MESSAGE_MEMBERS, MESSAGE_BY_FOLD, f"messages[{index}]")
            role = message.get("role")
            if type(role) is not str or role not in ROLES:
                where = f"messages[{index}].role"
                raise malformed(where, f"{where} must be user, assistant or system.", "invalid_value")
            content = message.get("content")
            if type(content) is str:
                self.texts.append(content)
            elif content is not None or role != "system":
                # A turn of the system may have settings alone.
                self._blocks(content, ("messages", index, "content"), 0)
            if len(message) > 2:
                self._rest(message, frozenset({"role", "content"}))
            if self._begun is None and role == "user":
                self._begun = len(self.texts)
        self.turns += len(messages)

    def read_system(self, system: object) -> None:
        """Reads the system prompt: a text, or blocks."""
        self.turns += 1
        first = len(self.texts)
        if type(system) is str:
            self.texts.append(system)
        else:
            self._blocks(system, ("system",), 0)
        self._system = first, len(self.texts)

    def read_tools(self, tools: object) -> None:
        """Reads the tools. Names inside their schemas are data."""
        if not isinstance(tools, list):
            raise malformed("tools", "tools must be a list of objects.", "invalid_type")
        for index, tool in enumerate(tools):
            if type(tool) is not dict:
                raise malformed(f"tools[{index}]", f"tools[{index}] must be an object.", "invalid_type")
            refuse_folds(tool, TOOL_BY_FOLD, f"tools[{index}]")
            kind = tool.get("type")
            if kind is None or kind == CUSTOM_TOOL:
                continue
            if type(kind) is not str:
                raise malformed(f"tools[{index}].type", f"tools[{index}].type must be a string.", "invalid_type")
            self._hidden_bytes += VENDOR_TOOL_TOKENS
        self._trees.append(tools)

    def add(self, name: str, value: object) -> None:
        """Counts a field by its JSON."""
        self._trees.append({name: value})

    def _blocks(self, blocks: object, where: Path, depth: int) -> None:
        """Reads a list of content blocks."""
        if not isinstance(blocks, list):
            raise _wrong(where, "must be a string or a list of content blocks.", "invalid_type")
        if depth > _DEPTH_MAX:
            raise _wrong(where, f"is nested too deep: blocks stand at most {_DEPTH_MAX} levels deep.", "invalid_value")
        for index, block in enumerate(blocks):
            if type(block) is not dict:
                raise _wrong((*where, index), "must be an object with a type.", "invalid_type")
            name, text = block.get("type"), block.get("text")
            if name == "text" and len(block) == 2 and type(text) is str:
                # Most blocks by far.
                self.texts.append(text)
                continue
            kind = KINDS.get(name) if type(name) is str else None
            if kind is None:
                kind = self._other_kind(block, _text((*where, index)))
            elif not block.keys() <= kind.members:
                self._odd(block, kind.members, BLOCK_BY_FOLD, _text((*where, index)))
            for member in kind.texts:
                text = block.get(member)
                if type(text) is not str:
                    raise _wrong((*where, index, member), "must be a string.", "invalid_type")
                self.texts.append(text)
            if len(block) > 2 or not kind.texts:
                self._members(block, kind, (*where, index), depth)

    def _members(self, block: Tree, kind: Kind, where: Path, depth: int) -> None:
        """Counts the members of a block that are not its texts."""
        skipped = kind.counted
        if kind.opaque:
            proof = block.get(kind.opaque)
            if type(proof) is str:
                self._opaque_bytes += len(proof.encode())
            else:
                skipped = skipped - {kind.opaque}
        elif kind.nested:
            content = block.get(kind.nested)
            if type(content) is str:
                self.texts.append(content)
            elif content is not None:
                self._blocks(content, (*where, kind.nested), depth + 1)
        else:
            match block["type"]:
                case "image":
                    self._image(block, _text(where))
                case "document":
                    self._document(block, where, depth)
                case "container_upload":
                    raise _of_one_vendor(_text((*where, "file_id")))
        self._rest(block, skipped)

    def _rest(self, members: Tree, skipped: frozenset[str]) -> None:
        rest = {name: value for name, value in members.items() if name not in skipped}
        if rest:
            self._trees.append(rest)

    def _image(self, block: Tree, where: str) -> None:
        """Counts an image; its data is no text."""
        source = self._source(block, where)
        match source.get("type"):
            case "base64" | "url":
                self.images += 1
            case "file":
                raise _of_one_vendor(f"{where}.source")
            case _:
                raise malformed(f"{where}.source.type", f"{where}.source.type must be base64 or url.", "invalid_value")
        self._rest(source, SOURCE_MEMBERS)

    def _document(self, block: Tree, path: Path, depth: int) -> None:
        """Counts a document of text; refuses pages, because nobody knows their tokens before the vendor has read them."""
        where = _text(path)
        source = self._source(block, where)
        match source.get("type"):
            case "text":
                text = source.get("data")
                if type(text) is not str:
                    raise malformed(f"{where}.source.data", f"{where}.source.data must be a string.", "invalid_type")
                self.texts.append(text)
            case "content":
                content = source.get("content")
                if type(content) is str:
                    self.texts.append(content)
                else:
                    self._blocks(content, (*path, "source", "content"), depth + 1)
            case "base64" | "url":
                if self._is_bounded:
                    message = (
                        f"{where} is a document in pages, whose tokens have no known bound, and the worst case is reserved before "
                        'each call. Send its text: a source of type "text".'
                    )
                    raise malformed(where, message, "unsupported_content")
            case "file":
                raise _of_one_vendor(f"{where}.source")
            case _:
                raise malformed(f"{where}.source.type", f"{where}.source.type must be text or content.", "invalid_value")
        self._rest(source, SOURCE_MEMBERS)

    def _other_kind(self, block: Tree, where: str) -> Kind:
        """The kind of a block that is not in the table."""
        refuse_folds(block, BLOCK_BY_FOLD, where)
        name = block.get("type")
        if type(name) is not str:
            raise malformed(f"{where}.type", f"{where}.type must be a string, such as text.", "invalid_type")
        if name.endswith(RESULT_SUFFIX):
            if not block.keys() <= RESULT.members:
                self._odd(block, RESULT.members, BLOCK_BY_FOLD, where)
        else:
            self._note_unknown(block, where, name)
        return RESULT

    def _source(self, block: Tree, where: str) -> Tree:
        """The source of an image or a document."""
        source = block.get("source")
        if type(source) is not dict:
            raise malformed(f"{where}.source", f"{where}.source must be an object with a type.", "invalid_type")
        if not source.keys() <= SOURCE_MEMBERS:
            self._odd(source, SOURCE_MEMBERS, SOURCE_BY_FOLD, f"{where}.source")
        return source

    def _odd(self, members: Tree, known: frozenset[str], by_fold: dict[str, str], where: str) -> None:
        """Refuses a name that folds onto a known one; keeps the first unknown name."""
        refuse_folds(members, by_fold, where)
        for name, value in members.items():
            if name not in known:
                self._note_unknown({name: value}, f"{where}.{name}", name)

    def _note_unknown(self, members: Tree, where: str, name: str) -> None:
        """Keeps the first unknown name. Refuses media under every name, because they have no bound."""
        if self._is_bounded and (MEDIA.search(name) or names_media(members)):
            raise unbounded(where, name)
        self.unknown = self.unknown or where


def _text(path: Path) -> str:
    """A path in the form that clients know, for example messages[0].content[2].text."""
    first, *steps = path
    return str(first) + "".join(f"[{step}]" if type(step) is int else f".{step}" for step in steps)


def _wrong(path: Path, message: str, code: str) -> Problem:
    where = _text(path)
    return malformed(where, f"{where} {message}", code)


def _of_one_vendor(where: str) -> Problem:
    message = f"{where} names a file by an ID that one vendor gave; files are not kept here. Send the content itself."
    return malformed(where, message, "unsupported_content")
