"""All fields of a catalog's files, read off the types: a JSON schema for editors, and a page for people.

`python -m services.registry.reference` writes both into docs. A field's meaning is the comment above it; `One of X` there gives its
choices.
"""

import ast
import inspect as source_of
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

from services.registry.catalog import ID_FIELDS, Catalog
from services.runtime.mistakes import wanted
from services.token_classes import CLASSES, INDEX, Measure

_CHOICES: Final = re.compile(r"[Oo]ne of `([A-Z_]+)`(?: each)?")
_DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = _DOCS / "catalog-fields.md"
SCHEMA: Final = _DOCS / "catalog.schema.json"

_HEAD: Final = """\
# Fields of a catalog

Generated from the types (`make generate`). A file has any of these lists; [how a catalog is kept](catalog.md) says what they do
together. Editors complete and check files that begin with `# yaml-language-server: $schema=PATH`, where PATH leads to
[catalog.schema.json](catalog.schema.json); `tokenline catalog schema` prints it.
"""


class Field(NamedTuple):
    """A field of a struct."""

    name: str
    type: inspect.Type
    # Its comment; empty: it has none.
    meaning: str
    # Values that it can have; empty: any of its type.
    choices: tuple[str, ...]
    required: bool
    default: Any


@cache
def fields_of(struct: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The fields of a struct, in the order in which they are defined, those of its bases first."""
    comments = _comments(struct)
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    fields = []
    for each in info.fields:
        comment = comments.get(each.name, "")
        found = _CHOICES.search(comment)
        choices = tuple(str(choice) for choice in getattr(_module(struct), found[1])) if found else ()
        default = each.default if each.default is not msgspec.NODEFAULT else None
        if each.default_factory is not msgspec.NODEFAULT:
            default = each.default_factory()
        meaning = _CHOICES.sub("", comment).strip(" :,;.") if found else comment
        meaning = meaning[:1].upper() + meaning[1:] + ("." if found and meaning else "")
        meaning = meaning or _derived(struct, each)
        fields.append(Field(each.encode_name, each.type, meaning, choices, each.required, default))
    return tuple(fields)


def _derived(struct: type, field: inspect.Field) -> str:
    """The meaning of a field that needs no comment: an ID, a rate, or a part that says itself what it is."""
    name = field.encode_name
    if name in INDEX:
        each = CLASSES[INDEX[name]]
        spoken = name.replace("_", " ")
        rate = f"The rate of 1,000,000 {f'tokens of {spoken}' if each.measure is Measure.TOKEN else spoken}"
        return f"{rate}; left out: that of {each.parent}." if each.parent != name else f"{rate}."
    inner = next(structs_in(field.type), None)
    if inner is not None:
        return (inner.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    for section, id_field in ID_FIELDS.items():
        if name == id_field:
            own = any(entry is struct for entry in structs_in(_section_type(section)))
            return "Identifies the entry in its list." if own else f"The ID of an entry of `{section}`."
    return ""


@cache
def _section_type(section: str) -> inspect.Type:
    info = inspect.type_info(Catalog)
    assert isinstance(info, inspect.StructType)
    return next(each.type for each in info.fields if each.encode_name == section)


def _module(struct: type) -> ModuleType:
    return sys.modules[struct.__module__]


def _comments(struct: type) -> dict[str, str]:
    """By field: the comment above it in the source."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__[:-1]):
        if not issubclass(base, msgspec.Struct) or base is msgspec.Struct:
            continue
        lines = source_of.getsource(base).splitlines()
        (node,) = ast.parse("\n".join(line[_indent(lines[0]) :] for line in lines)).body
        assert isinstance(node, ast.ClassDef)
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found[statement.target.id] = _above(lines, statement.lineno - 1)
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _above(lines: list[str], index: int) -> str:
    told: list[str] = []
    while index and lines[index - 1].strip().startswith("#"):
        index -= 1
        told.insert(0, lines[index].strip().lstrip("# "))
    return " ".join(told)


def structs_in(of: inspect.Type) -> Iterator[type[msgspec.Struct]]:
    """The structs that a type is made of, outermost first."""
    match of:
        case inspect.StructType():
            yield of.cls
        case inspect.UnionType():
            for each in of.types:
                yield from structs_in(each)
        case inspect.VarTupleType():
            yield from structs_in(of.item_type)
        case inspect.DictType():
            yield from structs_in(of.value_type)


def all_structs() -> list[type[msgspec.Struct]]:
    """Every struct of a catalog, each list of it before its parts."""
    found: list[type[msgspec.Struct]] = []
    waiting: list[type[msgspec.Struct]] = [Catalog]
    while waiting:
        struct = waiting.pop(0)
        if struct in found:
            continue
        found.append(struct)
        waiting[:0] = [inner for field in fields_of(struct) for inner in structs_in(field.type)] if struct is not Catalog else []
        if struct is Catalog:
            waiting += [inner for field in fields_of(struct) for inner in structs_in(field.type)]
    return found


def schema() -> dict[str, Any]:
    """The JSON schema of a file."""
    (root,), definitions = msgspec.json.schema_components([Catalog], ref_template="#/$defs/{name}")
    for struct in all_structs():
        definition = definitions[struct.__name__]
        for field in fields_of(struct):
            described = definition["properties"][field.name]
            _numbers(described)
            if field.choices:
                _one_of(described, field.choices)
            if field.meaning:
                described["description"] = field.meaning
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A catalog's file", **root, "$defs": definitions}


def _numbers(described: Any) -> None:
    """Amounts are numbers in a file; a default that is a decimal is one too."""
    if isinstance(described, dict):
        if described.get("format") == "decimal":
            del described["format"]
            described["type"] = "number"
        if isinstance(described.get("default"), str) and described.get("type") == "number":
            described["default"] = float(described["default"])
        for inner in described.values():
            _numbers(inner)
    elif isinstance(described, list):
        for inner in described:
            _numbers(inner)


def _one_of(described: dict[str, Any], choices: tuple[str, ...]) -> None:
    for each in (described, described.get("items", {}), *described.get("anyOf", ())):
        if each.get("type") == "string":
            each["enum"] = [*choices, *([""] if each.get("default") == "" else [])]


def page() -> str:
    """The page of all fields."""
    parts = [_HEAD]
    sections = {inner.__name__: name for name in ID_FIELDS for inner in structs_in(_section_type(name))}
    for struct in all_structs():
        title = (
            "A file" if struct is Catalog else f"`{sections[struct.__name__]}`" if struct.__name__ in sections else struct.__name__
        )
        about = " ".join((struct.__doc__ or "").split("\n\n")[0].split())
        rows = [
            f"| `{each.name}` | {_type_text(each)} | {_default_text(each)} | {_cell(each.meaning)} |" for each in fields_of(struct)
        ]
        parts.append(
            f"\n## {title}\n{about}\n\n| field | value | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
        )
    return "".join(parts)


def _type_text(field: Field) -> str:
    kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    is_list = any(isinstance(each, inspect.VarTupleType) for each in kinds)
    if field.choices:
        return ("a list of " if is_list else "") + " or ".join(f"`{choice}`" for choice in field.choices)
    structs = list(structs_in(field.type))
    if structs:
        names = " or ".join(f"[{each.__name__}](#{_anchor(each)})" for each in structs)
        if is_list:
            return f"a list of {names}"
        return f"a map to {names}" if any(isinstance(each, inspect.DictType) for each in kinds) else names
    return wanted(field.type).removesuffix(" or left out")


def _anchor(struct: type) -> str:
    sections = {inner: name for name in ID_FIELDS for inner in structs_in(_section_type(name))}
    return sections[struct] if struct in sections else struct.__name__.lower()


def _default_text(field: Field) -> str:
    if field.required:
        return "required"
    if field.default is None or field.default in ("", (), {}) or isinstance(field.default, msgspec.Struct):
        return "left out"
    text = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
    return f"`{text}`" if not isinstance(field.default, Decimal) else f"`{field.default:f}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    """Writes schema and page."""
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=1) + b"\n")


if __name__ == "__main__":
    main()
