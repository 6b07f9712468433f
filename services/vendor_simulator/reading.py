"""A request body as Go's encoding/json reads it: names match under case folding, and the last of several wins.

Most vendors' gateways are written in Go, so that `"Model"` after `"model"` is another model there. The simulator reads
so too, and thereby shows whether such a body reaches a vendor. Names that fold are rare: the fast reader is strict about
names, and only a body that it refuses is read name by name.
"""

import json
import re
from typing import Any, Final, Optional, TypeAlias, TypeVar

import msgspec

from services.vendor_simulator.errors import ErrorWriter, RefusedError

# The members that are read, by name: None for a value that is taken as it is. A list is read element by element.
Names: TypeAlias = dict[str, Optional["Names"]]

T = TypeVar("T")

_MISSING_FIELD: Final = re.compile(r"Object missing required field `([^`]+)`")
# Go folds by Unicode's simple folding: outside of ASCII, only these two become ASCII letters.
_FOLDS: Final = str.maketrans({"\u017f": "s", "\u212a": "k"})


class _Members(list[tuple[str, Any]]):
    """An object's members in the order of the body, duplicates included."""


def read_body(body: bytes, strict: msgspec.json.Decoder[T], names: Names, write_error: ErrorWriter) -> T:
    """`body` as the strict decoder's type, read as Go reads it.

    Errors: `RefusedError` with status 400, worded by `write_error`, which names the field at fault.
    """
    try:
        return strict.decode(body)
    except msgspec.ValidationError:
        # A name that the strict decoder does not know may fold to one that it knows.
        pass
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(error, write_error) from None
    try:
        tree = json.loads(body, object_pairs_hook=_Members, parse_constant=_refuse_constant)
        return msgspec.convert(fold(tree, names), strict.type)
    except msgspec.ValidationError as error:
        raise _refuse_field(str(error), write_error) from None
    except (ValueError, RecursionError) as error:
        raise _not_json(error, write_error) from None


def fold(value: Any, names: Names | None) -> Any:
    """`value` with the members in `names` alone, under those names; objects of one name are merged, as Go does."""
    if isinstance(value, _Members):
        if names is None:
            return {name: fold(member, None) for name, member in value}
        return _fold_members(value, names)
    if isinstance(value, list):
        return [fold(element, names) for element in value]
    return value


def _fold_members(members: _Members, names: Names) -> dict[str, Any]:
    folded: dict[str, Any] = {}
    for written, member in members:
        name = written if written in names else written.translate(_FOLDS).lower()
        if name not in names:
            continue
        value = fold(member, names[name])
        before = folded.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            value = before | value
        folded[name] = value
    return folded


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _not_json(error: Exception, write_error: ErrorWriter) -> RefusedError:
    message = f"the body is not JSON: {error}; send a JSON object as UTF-8"
    return RefusedError(400, write_error(message, "invalid_request_error", "invalid_json"))


def _refuse_field(message: str, write_error: ErrorWriter) -> RefusedError:
    what, _, where = message.partition(" - at `$")
    param = where.rstrip("`").lstrip(".")
    if missing := _MISSING_FIELD.match(what):
        param = f"{param}.{missing[1]}".lstrip(".")
        text = f"Missing required parameter: '{param}'."
        return RefusedError(400, write_error(text, "invalid_request_error", "missing_required_parameter", param))
    text = f"Invalid value for '{param}': {what}." if param else f"Invalid body: {what}."
    return RefusedError(400, write_error(text, "invalid_request_error", "invalid_value", param or None))
