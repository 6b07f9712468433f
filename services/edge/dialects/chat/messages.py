"""Messages of a chat completion, read so far that each byte that may become tokens is counted. Pure.

Plain messages, a role and a text each, are the most and the longest of them. They are read at once and go to the vendor unchanged.
All others are taken apart into members and written anew.
"""

from typing import Final, NamedTuple

import msgspec

from services.edge.dialects.json_text import (
    NOT_JSON,
    Fields,
    Raw,
    by_fold,
    encode,
    is_set,
    members,
    not_utf8,
    objects,
    plain,
    refuse_folds,
    text,
)
from services.edge.dialects.unmetered import MEDIA, document_in, image_in, names_media, sound_in, unbounded
from services.edge.http.problems import malformed
from services.edge.tokens.media import Document, Image
from services.edge.tokens.sound import Sound

# Roles that the template's own tokens cover.
_ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# Texts of a message.
_TEXTS: Final = ("refusal", "reasoning_content", "reasoning")
_MEMBERS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "audio", *_TEXTS})
_PARTS: Final = frozenset({"type", "text", "refusal", "image_url", "input_audio", "file", "prompt_cache_breakpoint"})
_CALLS: Final = frozenset({"id", "type", "index", "function", "custom"})
_FUNCTIONS: Final = frozenset({"name", "arguments", "input"})
_MEMBERS_BY_FOLD: Final = by_fold(_MEMBERS)
_PARTS_BY_FOLD: Final = by_fold(_PARTS)
_CALLS_BY_FOLD: Final = by_fold(_CALLS)
_FUNCTIONS_BY_FOLD: Final = by_fold(_FUNCTIONS)
_IMAGES_BY_FOLD: Final = by_fold({"url", "detail"})
_SOUNDS_BY_FOLD: Final = by_fold({"data", "format"})
_FILES_BY_FOLD: Final = by_fold({"file_data", "file_id", "filename"})
# Kinds of parts that are read.
_KINDS: Final = frozenset({"text", "refusal", "image_url", "input_audio", "file"})


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str
    content: str


_PLAIN_BEGIN: Final = b'[{"role":"'
_plain_decoder: Final = msgspec.json.Decoder(list[_PlainMessage])


class Messages(NamedTuple):
    """Messages as they were read."""

    # The messages for the vendor.
    raw: Raw
    turns: int
    texts: list[str]
    # JSON, to the letter, that may become tokens and is no text.
    others: list[bytes]
    images: tuple[Image, ...]
    # This many texts are the stable beginning of the conversation, up to the first message of the user.
    beginning: int
    # The first unknown member or part, as a param; empty where all are known.
    unknown: str
    sounds: tuple[Sound, ...] = ()
    documents: tuple[Document, ...] = ()


def read_messages(raw: Raw) -> Messages:
    """Reads the field `messages`. Errors: `Problem` 400 that names the message."""
    raw_bytes = bytes(raw)
    if raw_bytes.startswith(_PLAIN_BEGIN) and raw_bytes.isascii():
        try:
            plain_ones = _plain_decoder.decode(raw)
        except NOT_JSON:
            plain_ones = []
        # Most clients write this form: every name stands once, and in this order.
        if plain_ones and encode(plain_ones) == raw_bytes:
            texts = [message.content for message in plain_ones]
            others = [message.role.encode() for message in plain_ones if message.role not in _ROLES]
            roles = [message.role for message in plain_ones]
            beginning = roles.index("user") + 1 if "user" in roles else 1
            return Messages(raw, len(plain_ones), texts, others, (), beginning, "")
    return _MessageReader().read(raw)


class _MessageReader:
    """Reads messages that have more than a role and a text."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._others: list[bytes] = []
        self._images: list[Image] = []
        self._sounds: list[Sound] = []
        self._documents: list[Document] = []
        self._beginning: int | None = None
        self._unknown = ""

    def read(self, raw: Raw) -> Messages:
        """See `read_messages`."""
        right = "a list of objects, each with a role and a content"
        messages = objects(raw, "messages", right)
        if not messages:
            raise malformed("messages", "messages must have at least one message.", "invalid_value")
        for index, fields in enumerate(messages):
            role = self._read_message(fields, f"messages[{index}]")
            if self._beginning is None and role == "user":
                self._beginning = len(self._texts)
        try:
            # Check the rest as UTF-8: texts were decoded.
            b"".join(self._others).decode()
        except UnicodeDecodeError as error:
            raise not_utf8("messages", error) from None
        beginning = 1 if self._beginning is None else self._beginning
        raw_messages = Raw(encode(messages))
        return Messages(
            raw_messages,
            len(messages),
            self._texts,
            self._others,
            tuple(self._images),
            beginning,
            self._unknown,
            tuple(self._sounds),
            tuple(self._documents),
        )

    def _read_message(self, fields: Fields, param: str) -> str:
        """Reads a message; its role."""
        refuse_folds(fields, _MEMBERS_BY_FOLD, param)
        role = text(fields, "role", f"{param}.role")
        if not role:
            message = f"{param} must have a role: system, developer, user, assistant, tool or function."
            raise malformed(f"{param}.role", message, "missing_required_parameter")
        if role not in _ROLES:
            self._others.append(role.encode())
        for name in fields:
            if name == "content":
                self._read_content(fields, param)
            elif name == "tool_calls":
                self._read_calls(fields, param)
            elif name == "function_call":
                self._read_function(fields, name, param)
            elif name in _TEXTS:
                self._add_text(text(fields, name, f"{param}.{name}"))
            elif name == "audio":
                if is_set(fields, name):
                    raise unbounded(f"{param}.audio", "audio")
            elif name in ("name", "tool_call_id"):
                self._others.append(bytes(fields[name]))
            elif name not in _MEMBERS:
                self._add_unknown(fields[name], f"{param}.{name}", name)
        return role

    def _read_content(self, fields: Fields, param: str) -> None:
        if not is_set(fields, "content"):
            return
        raw = fields["content"]
        param = f"{param}.content"
        if not bytes(raw).startswith(b"["):
            self._add_text(text(fields, "content", param, "a string, or a list of parts"))
            return
        parts = objects(raw, param, "a string, or a list of parts, each an object with a type")
        for index, part in enumerate(parts):
            self._read_part(part, f"{param}[{index}]")
        fields["content"] = Raw(encode(parts))

    def _read_part(self, part: Fields, param: str) -> None:
        refuse_folds(part, _PARTS_BY_FOLD, param)
        kind = text(part, "type", f"{param}.type")
        if not kind:
            raise malformed(f"{param}.type", f"{param} must have a type, such as text.", "missing_required_parameter")
        if kind == "image_url":
            self._read_image(part, param)
        elif kind == "input_audio":
            self._read_sound(part, param)
        elif kind == "file":
            self._read_file(part, param)
        elif kind in ("text", "refusal"):
            if not is_set(part, kind):
                raise malformed(f"{param}.{kind}", f"{param} must have a {kind}.", "missing_required_parameter")
            self._add_text(text(part, kind, f"{param}.{kind}"))
        elif MEDIA.search(kind):
            raise unbounded(param, kind)
        elif not self._unknown:
            self._unknown = f"{param}.type {kind}"
        for name, raw in part.items():
            if name == "type":
                if kind not in _KINDS:
                    self._others.append(bytes(raw))
            elif name == kind:
                if kind not in _KINDS:
                    self._add_unknown(raw, f"{param}.{name}", name)
            elif name == "prompt_cache_breakpoint":
                self._others.append(bytes(raw))
            else:
                # A known name in a part of another kind counts too, because a reader may go by the name.
                self._add_unknown(raw, f"{param}.{name}", name)

    def _read_image(self, part: Fields, param: str) -> None:
        if not is_set(part, "image_url"):
            raise malformed(f"{param}.image_url", f"{param} must have an image_url with a url.", "missing_required_parameter")
        raw = part["image_url"]
        if bytes(raw).startswith(b'"'):
            # Some clients write the URL alone.
            self._images.append(image_in(text(part, "image_url", f"{param}.image_url") or "", f"{param}.image_url"))
            return
        param = f"{param}.image_url"
        image = members(raw, param)
        refuse_folds(image, _IMAGES_BY_FOLD, param)
        url = text(image, "url", f"{param}.url")
        if not url:
            raise malformed(f"{param}.url", f"{param} must have a url.", "missing_required_parameter")
        self._images.append(image_in(url, f"{param}.url", text(image, "detail", f"{param}.detail")))
        for name, value in image.items():
            if name not in ("url", "detail"):
                self._add_unknown(value, f"{param}.{name}", name)
        part["image_url"] = Raw(encode(image))

    def _read_sound(self, part: Fields, param: str) -> None:
        sound, param = self._members_of(part, "input_audio", param, _SOUNDS_BY_FOLD)
        data = text(sound, "data", f"{param}.data")
        if not data:
            raise malformed(f"{param}.data", f"{param} must have data: a file of sound in base64.", "missing_required_parameter")
        text(sound, "format", f"{param}.format")
        self._sounds.append(sound_in(data, f"{param}.data"))

    def _read_file(self, part: Fields, param: str) -> None:
        file, param = self._members_of(part, "file", param, _FILES_BY_FOLD)
        if is_set(file, "file_id"):
            message = f"{param}.file_id names a file by an ID that one vendor gave; files are not kept here. Send its file_data."
            raise malformed(f"{param}.file_id", message, "unsupported_content")
        data = text(file, "file_data", f"{param}.file_data")
        if not data:
            raise malformed(f"{param}.file_data", f"{param} must have file_data: a file in base64.", "missing_required_parameter")
        if name := text(file, "filename", f"{param}.filename"):
            self._texts.append(name)
        self._documents.append(document_in(data))

    def _members_of(self, part: Fields, name: str, param: str, known: dict[str, str]) -> tuple[Fields, str]:
        """The members of a part's own member, written anew, and its place; the unknown ones count."""
        param = f"{param}.{name}"
        if not is_set(part, name):
            raise malformed(param, f"{param} is missing.", "missing_required_parameter")
        found = members(part[name], param)
        refuse_folds(found, known, param)
        for member, value in found.items():
            if member not in known.values():
                self._add_unknown(value, f"{param}.{member}", member)
        part[name] = Raw(encode(found))
        return found, param

    def _read_calls(self, fields: Fields, param: str) -> None:
        if not is_set(fields, "tool_calls"):
            return
        param = f"{param}.tool_calls"
        calls = objects(fields["tool_calls"], param)
        for index, call in enumerate(calls):
            refuse_folds(call, _CALLS_BY_FOLD, f"{param}[{index}]")
            for name in ("function", "custom"):
                if name in call:
                    self._read_function(call, name, f"{param}[{index}]", is_counted=False)
            for name in call:
                if name not in _CALLS:
                    self._note_unknown(call[name], f"{param}[{index}].{name}", name)
        fields["tool_calls"] = Raw(encode(calls))
        self._others.append(bytes(fields["tool_calls"]))

    def _read_function(self, fields: Fields, name: str, param: str, *, is_counted: bool = True) -> None:
        if not is_set(fields, name):
            return
        param = f"{param}.{name}"
        function = members(fields[name], param)
        refuse_folds(function, _FUNCTIONS_BY_FOLD, param)
        for member in function:
            if member not in _FUNCTIONS:
                self._note_unknown(function[member], f"{param}.{member}", member)
        fields[name] = Raw(encode(function))
        if is_counted:
            self._others.append(bytes(fields[name]))

    def _add_text(self, value: str | None) -> None:
        if value:
            self._texts.append(value)

    def _add_unknown(self, raw: Raw, param: str, name: str) -> None:
        self._note_unknown(raw, param, name)
        self._others.append(name.encode())
        self._others.append(bytes(raw))

    def _note_unknown(self, raw: Raw, param: str, name: str) -> None:
        if bytes(raw) == b"null":
            return
        if MEDIA.search(name) or _has_media(raw):
            raise unbounded(param, name)
        if not self._unknown:
            self._unknown = param


def _has_media(raw: Raw) -> bool:
    """Whether an unknown value names media anywhere."""
    if not bytes(raw).startswith((b"{", b"[")):
        return False
    return names_media(plain(raw))
