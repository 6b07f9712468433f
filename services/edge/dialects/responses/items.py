"""The input of a request for a response: texts, items, parts, tools. Pure."""

from typing import Any, Final

from services.edge.dialects.input import Input
from services.edge.dialects.json_text import refuse_folds
from services.edge.dialects.responses.names import (
    CLIENT_TOOLS,
    FILE_BY_FOLD,
    FILE_MEMBERS,
    IMAGE_MEMBERS,
    ITEM_BY_FOLD,
    ITEMS,
    PART_BY_FOLD,
    PART_MEMBERS,
    PARTS,
    ROLES,
    TOOL_BY_FOLD,
)
from services.edge.dialects.sizes import VENDOR_TOOL_TOKENS
from services.edge.dialects.tally import bytes_of
from services.edge.dialects.typed_events import Tree
from services.edge.dialects.unmetered import document_in, image_in
from services.edge.http.problems import Problem, malformed

_MISSING: Final = "missing_required_parameter"
# Members that count otherwise, or that the roles of a template cover.
_OF_MESSAGE: Final = frozenset({"type", "role", "content", "status"})
_OF_OUTPUT: Final = frozenset({"type", "output", "status"})
_OF_REASONING: Final = frozenset({"type", "summary", "content", "encrypted_content", "status"})
_OF_CALL: Final = frozenset({"status"})
_EMPTY: Final[tuple[Any, ...]] = (None, [])


class Items(Input):
    """The input of one request. Errors of all methods: `Problem` 400 that names the field."""

    def read_input(self, given: object) -> None:
        """Reads the field `input`: a text, or items."""
        if type(given) is str:
            self.texts.append(given)
            self.user_has_spoken()
            self.turns += 1
            return
        if type(given) is not list:
            raise malformed("input", "input must be a string or a list of items.", "invalid_type")
        if not given:
            raise malformed("input", "input must have at least one item.", "invalid_value")
        for index, item in enumerate(given):
            if type(item) is not dict:
                raise malformed(f"input[{index}]", f"input[{index}] must be an object, such as a message.", "invalid_type")
            self._item(item, f"input[{index}]")
            if item.get("role") == "user":
                self.user_has_spoken()
        self.turns += len(given)

    def read_tools(self, tools: object) -> None:
        """Reads the tools. Names inside their schemas are data."""
        if type(tools) is not list:
            raise malformed("tools", "tools must be a list of objects.", "invalid_type")
        for index, tool in enumerate(tools):
            where = f"tools[{index}]"
            if type(tool) is not dict:
                raise malformed(where, f"{where} must be an object with a type.", "invalid_type")
            refuse_folds(tool, TOOL_BY_FOLD, where)
            if type(tool.get("type")) is not str:
                raise malformed(f"{where}.type", f"{where} must have a type, such as function.", _MISSING)
            if tool["type"] not in CLIENT_TOOLS:
                self.hidden_bytes += VENDOR_TOOL_TOKENS

    def _item(self, item: Tree, where: str) -> None:
        kind = item.get("type")
        if kind is None and "role" in item:
            # Messages may leave it out.
            kind = "message"
        elif kind == "item_reference" or (kind is None and "id" in item):
            raise _kept(where, "an item")
        if type(kind) is not str:
            raise malformed(f"{where}.type", f"{where}.type must be a string, such as message.", "invalid_type")
        known = ITEMS.get(kind)
        if known is None:
            refuse_folds(item, ITEM_BY_FOLD, where)
            self.note_unknown(item, where, kind)
            self.trees.append(item)
            return
        if not item.keys() <= known:
            self.odd(item, known, ITEM_BY_FOLD, where)
        match kind:
            case "message":
                role = item.get("role")
                if type(role) is not str or role not in ROLES:
                    message = f"{where}.role must be user, assistant, system or developer."
                    raise malformed(f"{where}.role", message, "invalid_value")
                self._content(item.get("content"), f"{where}.content")
                self.rest(item, _OF_MESSAGE)
            case "function_call" | "custom_tool_call":
                for name in ("call_id", "name", "arguments" if kind == "function_call" else "input"):
                    _string(item.get(name), f"{where}.{name}")
                self.rest(item, _OF_CALL)
            case "function_call_output" | "custom_tool_call_output":
                _string(item.get("call_id"), f"{where}.call_id")
                self._content(item.get("output"), f"{where}.output")
                self.rest(item, _OF_OUTPUT)
            case _:
                self._thought(item, where)
                self.rest(item, _OF_REASONING)

    def _thought(self, item: Tree, where: str) -> None:
        """Counts thought of earlier answers: its texts, and what only the vendor can read."""
        for name in ("summary", "content"):
            if item.get(name) is not None:
                self._content(item[name], f"{where}.{name}")
        if item.get("encrypted_content") is not None:
            self.opaque_bytes += bytes_of([_string(item["encrypted_content"], f"{where}.encrypted_content")])

    def _content(self, content: object, where: str) -> None:
        """Counts a text, or parts."""
        if type(content) is str:
            self.texts.append(content)
            return
        if type(content) is not list:
            raise malformed(where, f"{where} must be a string or a list of parts.", "invalid_type")
        for index, part in enumerate(content):
            if type(part) is not dict:
                raise malformed(f"{where}[{index}]", f"{where}[{index}] must be an object with a type.", "invalid_type")
            self._part(part, f"{where}[{index}]")

    def _part(self, part: Tree, where: str) -> None:
        kind = part.get("type")
        if type(kind) is not str:
            raise malformed(f"{where}.type", f"{where}.type must be a string, such as input_text.", "invalid_type")
        member = PARTS.get(kind)
        if member is not None:
            if not part.keys() <= PART_MEMBERS:
                self.odd(part, PART_MEMBERS, PART_BY_FOLD, where)
            self.texts.append(_string(part.get(member), f"{where}.{member}"))
            if len(part) > 2:
                self.rest({name: value for name, value in part.items() if value not in _EMPTY}, frozenset({"type", member}))
        elif kind == "input_image":
            self._image(part, where)
        elif kind == "input_file":
            self._file(part, where)
        else:
            refuse_folds(part, PART_BY_FOLD, where)
            self.note_unknown(part, where, kind)
            self.trees.append(part)

    def _image(self, part: Tree, where: str) -> None:
        """Counts an image; its data is no text."""
        if not part.keys() <= IMAGE_MEMBERS:
            self.odd(part, IMAGE_MEMBERS, PART_BY_FOLD, where)
        _refuse_kept_file(part, where)
        url = _string(part.get("image_url"), f"{where}.image_url")
        detail = _string(part["detail"], f"{where}.detail") if part.get("detail") is not None else None
        self.images.append(image_in(url, f"{where}.image_url", detail))
        self.rest(part, IMAGE_MEMBERS)

    def _file(self, part: Tree, where: str) -> None:
        """Counts a document; its data is no text."""
        if not part.keys() <= FILE_MEMBERS:
            self.odd(part, FILE_MEMBERS, FILE_BY_FOLD, where)
        _refuse_kept_file(part, where)
        name = "file_url" if part.get("file_data") is None else "file_data"
        self.documents.append(document_in(_string(part.get(name), f"{where}.{name}")))
        self.rest(part, FILE_MEMBERS - {"filename"})


def _string(value: object, where: str) -> str:
    if value is None:
        raise malformed(where, f"{where} is missing. It must be a string.", _MISSING)
    if type(value) is not str:
        raise malformed(where, f"{where} must be a string.", "invalid_type")
    return value


def _refuse_kept_file(part: Tree, where: str) -> None:
    if part.get("file_id") is not None:
        raise _kept(where, "a file")


def _kept(where: str, kept: str) -> Problem:
    message = f"{where} names {kept} by an ID, but nothing is kept here. Send the content itself."
    return malformed(where, message, "unsupported_content")
