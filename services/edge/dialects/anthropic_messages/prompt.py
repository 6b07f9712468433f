"""The input of a request for a message: turns, content blocks, tools. Pure."""

from typing import Final

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
    VERSION_TEXT,
    Kind,
)
from services.edge.dialects.input import Input
from services.edge.dialects.json_text import refuse_folds
from services.edge.dialects.sizes import VENDOR_TOOL_TOKENS
from services.edge.dialects.typed_events import Tree
from services.edge.dialects.unmetered import document_in, image_in
from services.edge.http.problems import Problem, malformed
from services.edge.tokens.media import UNKNOWN, Document, Image, image_of

Path = tuple[str | int, ...]
# A document in the result of a tool holds blocks; nothing is nested deeper.
_DEPTH_MAX: Final = 3


class Prompt(Input):
    """The input of one request. Errors of all methods: `Problem` 400 that names the field."""

    def __init__(self, *, is_bounded: bool) -> None:
        """See `Input`."""
        super().__init__(is_bounded=is_bounded)
        # The texts of the system.
        self._system: tuple[int, int] = (0, 0)

    def beginning(self) -> list[str]:
        """See `Input`; without the text that names the client's version."""
        first, last = self._system
        system = [text for text in self.texts[first:last] if not text.startswith(VERSION_TEXT)]
        return system + super().beginning()

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
                self.odd(message, MESSAGE_MEMBERS, MESSAGE_BY_FOLD, f"messages[{index}]")
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
                self.rest(message, frozenset({"role", "content"}))
            if role == "user":
                self.user_has_spoken()
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
            self.hidden_bytes += VENDOR_TOOL_TOKENS
        self.trees.append(tools)

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
                self.odd(block, kind.members, BLOCK_BY_FOLD, _text((*where, index)))
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
                self.opaque_bytes += len(proof.encode())
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
        self.rest(block, skipped)

    def _image(self, block: Tree, where: str) -> None:
        """Counts an image; its data is no text."""
        source = self._source(block, where)
        match source.get("type"):
            case "base64":
                self.images.append(_image_of(source, f"{where}.source"))
            case "url":
                url = source.get("url")
                self.images.append(image_in(url, f"{where}.source.url") if type(url) is str else UNKNOWN)
            case "file":
                raise _of_one_vendor(f"{where}.source")
            case _:
                raise malformed(f"{where}.source.type", f"{where}.source.type must be base64 or url.", "invalid_value")
        self.rest(source, SOURCE_MEMBERS)

    def _document(self, block: Tree, path: Path, depth: int) -> None:
        """Counts a document: its text, or its pages, whose tokens nobody knows before the vendor has read them."""
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
                data = source.get("data" if source["type"] == "base64" else "url")
                self.documents.append(document_in(data) if type(data) is str else Document())
            case "file":
                raise _of_one_vendor(f"{where}.source")
            case _:
                raise malformed(f"{where}.source.type", f"{where}.source.type must be text or content.", "invalid_value")
        self.rest(source, SOURCE_MEMBERS)

    def _other_kind(self, block: Tree, where: str) -> Kind:
        """The kind of a block that is not in the table."""
        refuse_folds(block, BLOCK_BY_FOLD, where)
        name = block.get("type")
        if type(name) is not str:
            raise malformed(f"{where}.type", f"{where}.type must be a string, such as text.", "invalid_type")
        if name.endswith(RESULT_SUFFIX):
            if not block.keys() <= RESULT.members:
                self.odd(block, RESULT.members, BLOCK_BY_FOLD, where)
        else:
            self.note_unknown(block, where, name)
        return RESULT

    def _source(self, block: Tree, where: str) -> Tree:
        """The source of an image or a document."""
        source = block.get("source")
        if type(source) is not dict:
            raise malformed(f"{where}.source", f"{where}.source must be an object with a type.", "invalid_type")
        if not source.keys() <= SOURCE_MEMBERS:
            self.odd(source, SOURCE_MEMBERS, SOURCE_BY_FOLD, f"{where}.source")
        return source


def _image_of(source: Tree, where: str) -> Image:
    """The image of a source in base64."""
    media_type, data = source.get("media_type"), source.get("data")
    if type(media_type) is str and not media_type.lower().startswith("image/"):
        message = f"{where}.media_type is {media_type!r}, which is no image. Send an image, such as image/png."
        raise malformed(f"{where}.media_type", message, "unsupported_content")
    return image_of(data, media_type) if type(data) is type(media_type) is str else UNKNOWN


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
