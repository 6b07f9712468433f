"""Problems of requests that cannot be carried into another dialect, and the checks that readers share. Pure."""

from typing import Any, Final

from services.edge.dialects.json_text import encode
from services.edge.dialects.typed_events import Tree
from services.edge.http.problems import Problem, malformed
from services.edge.vendors.profile import Endpoint


def cannot(where: str, why: str) -> Problem:
    """400. `why` says what cannot be carried, and what would be right, in sentences."""
    message = f"{where} cannot be translated into the dialect that this model's vendor speaks. {why}"
    return malformed(where, message, "unsupported_in_translation")


# A vendor without a word of its own on prices: the dialect's own holds.
PLAIN_VENDOR: Final = Endpoint("", "", "")


def string_of(members: Tree, name: str, where: str) -> str:
    """A member that must be a text. Errors: `Problem` 400."""
    value = members.get(name)
    if type(value) is not str:
        param = f"{where}.{name}" if where else name
        raise malformed(param, f"{param} must be a string.", "invalid_type")
    return value


def object_of(value: Any, where: str) -> Tree:
    """A value that must be an object, or null: then an empty one. Errors: `Problem` 400."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise malformed(where, f"{where} must be an object.", "invalid_type")
    return value


def objects_of(value: Any, where: str) -> list[Tree]:
    """A value that must be a list of objects, or null: then an empty one. Errors: `Problem` 400."""
    if value is None:
        return []
    if type(value) is not list or any(type(each) is not dict for each in value):
        raise malformed(where, f"{where} must be a list of objects.", "invalid_type")
    return value


def truth_of(members: Tree, name: str, where: str = "") -> bool | None:
    """A member that must be true or false; None where it is missing or null. Errors: `Problem` 400."""
    value = members.get(name)
    if value is not None and type(value) is not bool:
        param = f"{where}.{name}" if where else name
        raise malformed(param, f"{param} must be true or false.", "invalid_type")
    return value


def texts_of(value: Any, where: str) -> list[str]:
    """A text, or a list of texts; none where it is missing or null. Errors: `Problem` 400."""
    if value is None:
        return []
    texts = [value] if type(value) is str else value
    if type(texts) is not list or any(type(each) is not str for each in texts):
        raise malformed(where, f"{where} must be a string, or a list of strings.", "invalid_type")
    return texts


def json_of(value: Any) -> str:
    """A value as JSON text."""
    return encode(value).decode()
