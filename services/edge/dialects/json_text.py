"""Reads the JSON of requests once, so that every reader reads one meaning. Pure.

Readers differ: Go's folds the case of names, some take the first of two members of one name, JavaScript's rounds large integers.
One takes a number for an integer that another does not. Fields that charging reads must mean one thing to all of them. So an
object is taken apart into members, of which the last of a name holds, and is written anew from them. A name that another reader
would take for a known one is refused. A number that charging reads is a plain integer within 2^53. Unread values keep their text
to the letter.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from services.edge.http.problems import Problem, malformed, too_deep

Raw = msgspec.Raw
Fields = dict[str, Raw]
# Exceptions for bytes that are no JSON: msgspec lets a string that is not UTF-8 pass as `UnicodeDecodeError`.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NULL: Final = Raw(b"null")
# JavaScript's readers round above this.
INTEGER_MAX: Final = 2**53 - 1

_INTEGER: Final = re.compile(rb"-?(?:0|[1-9][0-9]{0,18})")
_fields_decoder: Final = msgspec.json.Decoder(Fields)
_objects_decoder: Final = msgspec.json.Decoder(list[Fields])
_elements_decoder: Final = msgspec.json.Decoder(list[Raw])
_text_decoder: Final = msgspec.json.Decoder(str)
# Numbers keep their text, because one reader's 1.0 is another's 1, and 1e400 is nobody's float.
_tree_decoder: Final = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode()))
encode: Final = msgspec.json.Encoder().encode


def read_object(body: bytes, decoded: str = "") -> Fields:
    """A body's members by name, of which the last of a name holds.

    `decoded` names the member that the caller decodes to the last byte, so that its UTF-8 is not checked twice.
    Errors: `Problem` 400.
    """
    try:
        fields = _fields_decoder.decode(body)
        if not body.isascii():
            for name, raw in fields.items():
                if name != decoded:
                    bytes(raw).decode()
    except msgspec.ValidationError:
        raise malformed(None, "The body must be a JSON object.", "invalid_type") from None
    except UnicodeDecodeError as error:
        raise not_utf8(None, error) from None
    except RecursionError:
        raise too_deep() from None
    except NOT_JSON as error:
        raise malformed(None, f"The body is not valid JSON: {error}.", "invalid_json") from None
    return fields


def read_tree(body: bytes, right: str = "a JSON object") -> dict[str, Any]:
    """A body's members by name, decoded to the last one; of each name the last holds. Errors: `Problem` 400."""
    try:
        fields = _tree_decoder.decode(body)
    except UnicodeDecodeError as error:
        raise malformed(None, f"The body is not valid UTF-8: {error.reason}. Send JSON in UTF-8.", "invalid_json") from None
    except NOT_JSON as error:
        raise malformed(None, f"The body is not valid JSON: {error}.", "invalid_json") from None
    if type(fields) is not dict:
        raise malformed(None, f"The body must be {right}.", "invalid_type")
    return fields


def not_utf8(param: str | None, error: UnicodeDecodeError) -> Problem:
    """400. A reader may take each such byte for a character of three."""
    where = param or "The body"
    message = f"{where} is not valid UTF-8: {error.reason} at byte {error.start} of it. Send JSON in UTF-8."
    return malformed(param, message, "invalid_json")


def members(raw: Raw, param: str) -> Fields:
    """An object's members by name. Errors: `Problem` 400."""
    try:
        return _fields_decoder.decode(raw)
    except UnicodeDecodeError as error:
        raise not_utf8(param, error) from None
    except NOT_JSON:
        raise malformed(param, f"{param} must be an object.", "invalid_type") from None


def objects(raw: Raw, param: str, right: str = "a list of objects") -> list[Fields]:
    """The members of each object of a list. Errors: `Problem` 400."""
    try:
        return _objects_decoder.decode(raw)
    except UnicodeDecodeError as error:
        raise not_utf8(param, error) from None
    except NOT_JSON:
        raise malformed(param, f"{param} must be {right}.", "invalid_type") from None


def elements(raw: Raw, param: str) -> list[Raw]:
    """A list's elements. Errors: `Problem` 400."""
    try:
        return _elements_decoder.decode(raw)
    except UnicodeDecodeError as error:
        raise not_utf8(param, error) from None
    except NOT_JSON:
        raise malformed(param, f"{param} must be a list.", "invalid_type") from None


def fold(name: str) -> str:
    """A name as the most tolerant reader compares it: without case, with long s, the Kelvin sign and i of every kind as plain."""
    return name.upper().casefold().replace("\u0307", "")


def refuse_folds(names: Collection[str], known: Mapping[str, str], where: str = "") -> None:
    """Refuses names that another reader takes for a known one. `known` is by folded name.

    Errors: `Problem` 400 that says both names.
    """
    for name in names:
        meant = known.get(name)
        if meant == name:
            continue
        meant = known.get(fold(name))
        if meant is not None and meant != name:
            param = f"{where}.{name}" if where else name
            message = (
                f"{param} is not a field; write {meant}, in exactly these letters: some models' vendors would read it as {meant}."
            )
            raise malformed(param, message, "ambiguous_field")


def by_fold(names: Collection[str]) -> dict[str, str]:
    """Known names by their folded form, for `refuse_folds`."""
    return {fold(name): name for name in names}


def is_set(fields: Fields, name: str) -> bool:
    """Whether a member is there and not null."""
    raw = fields.get(name)
    return raw is not None and bytes(raw) != b"null"


def text(fields: Fields, name: str, param: str = "", right: str = "a string") -> str | None:
    """A string, or None where it is missing or null. Errors: `Problem` 400."""
    if not is_set(fields, name):
        return None
    try:
        return _text_decoder.decode(fields[name])
    except UnicodeDecodeError as error:
        raise not_utf8(param or name, error) from None
    except NOT_JSON:
        raise malformed(param or name, f"{param or name} must be {right}.", "invalid_type") from None


def truth(fields: Fields, name: str, param: str = "") -> bool | None:
    """True, false, or None where it is missing or null. Errors: `Problem` 400."""
    if not is_set(fields, name):
        return None
    match bytes(fields[name]):
        case b"true":
            return True
        case b"false":
            return False
    raise malformed(param or name, f"{param or name} must be true or false.", "invalid_type")


def integer(fields: Fields, name: str, least: int, param: str = "", most: int = INTEGER_MAX) -> int | None:
    """A whole number from `least` to `most`, or None where it is missing or null. Errors: `Problem` 400."""
    if not is_set(fields, name):
        return None
    raw = bytes(fields[name])
    param = param or name
    if not _INTEGER.fullmatch(raw):
        message = f"{param} must be a whole number, written in digits alone without fraction or exponent."
        raise malformed(param, message, "invalid_type")
    number = int(raw)
    if not least <= number <= most:
        raise malformed(param, f"{param} must be {least} to {most}; it is {number}.", "invalid_value")
    return number


def whole_number(value: Any, param: str, least: int) -> int:
    """A decoded value that must be a whole number of at least `least`. Errors: `Problem` 400."""
    if type(value) is not int:
        message = f"{param} must be a whole number, written in digits alone without fraction or exponent."
        raise malformed(param, message, "invalid_type")
    if not least <= value <= INTEGER_MAX:
        raise malformed(param, f"{param} must be {max(least, 1)} to {INTEGER_MAX}; it is {value}.", "invalid_value")
    return value


def tree(raw: Raw) -> Any:
    """Any value, decoded to the last member; numbers that are not whole keep their text. Errors: `Problem` 400."""
    try:
        return _tree_decoder.decode(raw)
    except NOT_JSON as error:
        raise malformed(None, f"The body is not valid JSON: {error}.", "invalid_json") from None


def plain(raw: Raw) -> Any:
    """Any value in Python's form. Errors: `Problem` 400."""
    try:
        return msgspec.json.decode(raw)
    except NOT_JSON as error:
        raise malformed(None, f"The body is not valid JSON: {error}.", "invalid_json") from None
