"""The documents as tests read them."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

FOLDER: Final = Path(__file__).parents[2] / "docs" / "openapi"
NAMES: Final = ("account", "admin", "calls")
_METHODS: Final = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})

Json = dict[str, Any]


class Operation(NamedTuple):
    """One method of one path of a document."""

    document: str
    path: str
    method: str
    spec: Json


@cache
def document(name: str) -> Json:
    """A document as it is written; not to be changed."""
    read: Json = yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    return read


def operations(name: str) -> Iterator[Operation]:
    """The operations of a document."""
    for path, item in document(name)["paths"].items():
        for method, spec in item.items():
            assert method in _METHODS
            yield Operation(name, path, method.upper(), spec)


def resolved(name: str, value: Json) -> Json:
    """The value, or what it refers to within its document."""
    if "$ref" not in value:
        return value
    found: Any = document(name)
    for step in value["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return resolved(name, found)


def strict(name: str) -> Json:
    """A document that allows an answer no member but those that it names.

    To clients it promises less, so that members may be added.
    """
    read = deepcopy(document(name))
    _close(read["components"])
    _close(read["paths"])
    return read


def _close(value: Any) -> None:
    if isinstance(value, dict):
        if value.get("type") == "object" and "properties" in value:
            value.setdefault("additionalProperties", False)
        for each in value.values():
            _close(each)
    elif isinstance(value, list):
        for each in value:
            _close(each)
