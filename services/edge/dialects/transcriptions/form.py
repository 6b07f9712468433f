"""A body in several parts (RFC 7578), as one reader and the next must find the same in it. Pure."""

import re
import secrets
from typing import Final, NamedTuple

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from services.edge.call.dialect import Body
from services.edge.dialects.json_text import by_fold, refuse_folds
from services.edge.http.problems import Problem, malformed

FILE: Final = "file"
_PARTS_MAX: Final = 64
# A part that is no file.
_FIELD_BYTES_MAX: Final = 256 * 1024
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\[\])?")
_ENDING: Final = re.compile(r"\.([A-Za-z0-9]{1,8})\Z")
_TYPE: Final = re.compile(r"[a-z]+/[a-z0-9.+-]+")
_BY_FOLD: Final = by_fold({FILE})


class File(NamedTuple):
    """The file of a form."""

    content: bytes
    # The end of its name, such as "mp3": vendors go by it. Empty: none.
    ending: str
    content_type: str


class Form(NamedTuple):
    """The parts of a body: fields in their order, and one file."""

    fields: tuple[tuple[str, str], ...]
    file: File

    def value(self, name: str) -> str | None:
        """The value of a field that stands there once; None: it is not there. Errors: `Problem` 400 where it stands twice."""
        values = [value for each, value in self.fields if each == name]
        if len(values) > 1:
            raise malformed(name, f"{name} stands {len(values)} times in the form, and readers differ in which holds. Send one.")
        return values[0] if values else None


def read_form(body: Body) -> Form:
    """Reads a body. Errors: `Problem` 400 that names the part."""
    kind, options = parse_options_header(body.content_type)
    boundary = options.get("boundary", "")
    if kind.lower() != "multipart/form-data" or not boundary:
        message = "Send the body as multipart/form-data with a boundary, and the sound in it as a file."
        raise malformed(None, message, "invalid_content_type")
    fields: list[tuple[str, str]] = []
    files: list[File] = []
    try:
        for segment, content in _segments(body.content, boundary):
            name = segment.name or ""
            if name == FILE:
                files.append(_file_of(segment, content))
            else:
                fields.append(_field_of(segment, name, content))
    except MultipartError as error:
        raise malformed(None, f"The body is not valid multipart/form-data: {error}.", "invalid_body") from None
    if len(files) != 1 or not files[0].content:
        message = "You must provide one file: the sound, in a part with the name file." if not files else _several(files)
        raise malformed(FILE, message, "missing_required_parameter")
    return Form(tuple(fields), files[0])


def _several(files: list[File]) -> str:
    return "file is empty. Send the sound." if len(files) == 1 else f"The form has {len(files)} files. Send one."


def _segments(content: bytes, boundary: str) -> list[tuple[MultipartSegment, bytes]]:
    """The parts of a body with their contents. Errors: `MultipartError`."""
    found: list[tuple[MultipartSegment, bytes]] = []
    pieces: list[bytes] = []
    segment: MultipartSegment | None = None
    with PushMultipartParser(boundary, content_length=len(content), max_segment_count=_PARTS_MAX, strict=True) as parser:
        for event in parser.parse(content):
            if isinstance(event, MultipartSegment):
                segment, pieces = event, []
            elif event:
                pieces.append(bytes(event))
            else:
                assert segment is not None
                found.append((segment, b"".join(pieces)))
    return found


def _field_of(segment: MultipartSegment, name: str, content: bytes) -> tuple[str, str]:
    if not _NAME.fullmatch(name):
        raise malformed(None, f"A part of the form has the name {name[:64]!r}. Give it the name of a field.", "invalid_value")
    refuse_folds((name,), _BY_FOLD)
    if segment.filename is not None:
        raise malformed(name, f"{name} is sent as a file. Send it as a plain field of the form.", "invalid_type")
    if len(content) > _FIELD_BYTES_MAX:
        raise malformed(name, f"{name} has {len(content)} bytes; send at most {_FIELD_BYTES_MAX}.", "invalid_value")
    try:
        return name, content.decode()
    except UnicodeDecodeError as error:
        raise malformed(name, f"{name} is not valid UTF-8: {error.reason} at byte {error.start} of it.", "invalid_value") from None


def _file_of(segment: MultipartSegment, content: bytes) -> File:
    ending = _ENDING.search(segment.filename or "")
    content_type = segment.content_type or ""
    is_plain = _TYPE.fullmatch(content_type) is not None
    return File(content, ending[1].lower() if ending else "", content_type if is_plain else "application/octet-stream")


def written(fields: list[tuple[str, str]], file: File) -> Body:
    """A form as a vendor gets it: the fields in this order, then the file, under a name of ours."""
    boundary = secrets.token_hex(24)
    name = f"sound.{file.ending}" if file.ending else "sound"
    begin = f"--{boundary}\r\ncontent-disposition: form-data; name="
    parts = [f'{begin}"{field}"\r\n\r\n{value}\r\n'.encode() for field, value in fields]
    head = f'{begin}"{FILE}"; filename="{name}"\r\ncontent-type: {file.content_type}\r\n\r\n'
    content = b"".join((*parts, head.encode(), file.content, f"\r\n--{boundary}--\r\n".encode()))
    return Body(content, f"multipart/form-data; boundary={boundary}")


def refused(name: str, message: str) -> Problem:
    """400. A field of a form that is not taken."""
    return malformed(name, f"{name} {message} Leave it out.", "unsupported_value")
