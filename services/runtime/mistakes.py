"""Mistakes in a file that was read into structs, in words that say what would be right."""

import datetime
import difflib
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import inspect

_STEP: Final = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|(\[\.\.\.\])")
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<name>.*)`")
_MISSING: Final = re.compile(r"Object missing required field `(?P<name>.*)`")
_BOUND: Final = re.compile(r"Expected `(?:int|float|decimal)` (?P<sign>>=|<=|>|<) (?P<bound>\S+)")
_LENGTH: Final = re.compile(r"Expected `(?P<kind>array|str|object)` of length (?P<sign>>=|<=) (?P<bound>\d+)")
_SIGNS: Final = {">=": "at least", "<=": "at most", ">": "above", "<": "below"}
_THINGS: Final = {"array": "elements", "str": "characters", "object": "entries"}
_KINDS: Final[dict[type[inspect.Type], str]] = {
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.DecimalType: "a number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.DateType: "a date like 2026-01-31",
    inspect.DateTimeType: "a time like 2026-01-31T08:00:00+08:00",
    inspect.NoneType: "left out",
}
# A name that is at least this like another is taken for a slip of the pen.
_NEAR: Final = 0.6
# A value is shown up to this many characters.
_SHOWN_MAX: Final = 60


class Mistake(NamedTuple):
    """A mistake: the path of the field, such as `models[3].family_id` (empty: the whole file), and what would be right."""

    field: str
    message: str


def mistake_of(error: msgspec.ValidationError, kind: type, value: Any) -> Mistake:
    """The mistake for which a value was not taken as one of a kind."""
    told, _, where = str(error).rpartition(" - at `")
    steps = list(_steps(where.rstrip("`").removeprefix("$"))) if told else []
    at = _At(inspect.type_info(kind), value, "")
    for step in steps:
        at = at.into(step)
    return _said(told or str(error), at)


def _steps(path: str) -> Iterator[str | int | None]:
    """Names and indexes of a path; None for an entry of a map, whose name it does not have."""
    for match in _STEP.finditer(path):
        name, index = match.group(1), match.group(2)
        yield name if name is not None else int(index) if index is not None else None


class _At(NamedTuple):
    """A place in the value, and the type that it should have."""

    type: inspect.Type
    value: Any
    field: str

    def into(self, step: str | int | None) -> "_At":
        for each in _alternatives(self.type):
            if isinstance(step, str) and isinstance(each, inspect.StructType) and isinstance(self.value, dict):
                inner = next((field.type for field in each.fields if field.encode_name == step), None)
                if inner is not None:
                    return _At(inner, self.value.get(step), f"{self.field}.{step}" if self.field else step)
            elif isinstance(step, int) and isinstance(self.value, list):
                inner = _element(each, step)
                if inner is not None:
                    return _At(inner, self.value[step], f"{self.field}[{step}]")
            elif step is None and isinstance(each, inspect.DictType) and isinstance(self.value, dict):
                return self._entry(each)
        return self

    def _entry(self, map_type: inspect.DictType) -> "_At":
        """The first entry that is not right."""
        for name, value in self.value.items():
            try:
                msgspec.convert(value, _python_type(map_type.value_type), strict=True)
            except msgspec.ValidationError:
                return _At(map_type.value_type, value, f"{self.field}.{name}")
        return self


def _element(each: inspect.Type, index: int) -> inspect.Type | None:
    if isinstance(each, inspect.VarTupleType | inspect.ListType | inspect.SetType | inspect.FrozenSetType):
        return each.item_type
    return each.item_types[index] if isinstance(each, inspect.TupleType) else None


def _python_type(each: inspect.Type) -> Any:
    if isinstance(each, inspect.StructType):
        return each.cls
    if isinstance(each, inspect.VarTupleType):
        return tuple[_python_type(each.item_type), ...]  # type: ignore[misc]  # a type that is made at run time
    return {inspect.IntType: int, inspect.StrType: str, inspect.BoolType: bool, inspect.DecimalType: Decimal}.get(type(each), Any)


def _alternatives(of: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(of, inspect.UnionType):
        return of.types
    if isinstance(of, inspect.Metadata):
        return _alternatives(of.type)
    return (of,)


def _said(told: str, at: _At) -> Mistake:
    if (found := _UNKNOWN.fullmatch(told)) is not None:
        return Mistake(_inside(at.field, found["name"]), f"is no known field; {_known(at.type, found['name'])}")
    if (found := _MISSING.fullmatch(told)) is not None:
        return Mistake(_inside(at.field, found["name"]), f"is missing; {_wanted_of(at.type, found['name'])}")
    if (found := _BOUND.fullmatch(told)) is not None:
        return Mistake(at.field, f"must be {_SIGNS[found['sign']]} {found['bound']}; it is {shown(at.value)}")
    if (found := _LENGTH.fullmatch(told)) is not None:
        bound = f"{_SIGNS[found['sign']]} {found['bound']} {_THINGS[found['kind']]}"
        return Mistake(at.field, f"must have {bound}; it has {len(at.value)}")
    if told.startswith(("Expected `", "Invalid ")):
        hint = ": put it in quotes" if _takes_text(at.type) and isinstance(at.value, int | Decimal | datetime.date) else ""
        return Mistake(at.field, f"must be {wanted(at.type)}; it is {shown(at.value)}{hint}")
    return Mistake(at.field, told)


def _inside(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _takes_text(of: inspect.Type) -> bool:
    return any(isinstance(each, inspect.StrType) for each in _alternatives(of))


def _known(of: inspect.Type, name: str) -> str:
    names = [field.encode_name for each in _alternatives(of) if isinstance(each, inspect.StructType) for field in each.fields]
    likeness = {each: difflib.SequenceMatcher(None, each, name).ratio() for each in names}
    # The nearest first; others of the same likeness as they stand in the struct.
    ordered = sorted(names, key=lambda each: -likeness[each])
    known = ", ".join(ordered)
    return f"did you mean {ordered[0]}? Known are: {known}" if likeness[ordered[0]] >= _NEAR else f"known are: {known}"


def _wanted_of(of: inspect.Type, name: str) -> str:
    fields = (field for each in _alternatives(of) if isinstance(each, inspect.StructType) for field in each.fields)
    return next((f"give {wanted(field.type)}" for field in fields if field.encode_name == name), "give it")


def wanted(of: inspect.Type) -> str:
    """The words for a type, like "a whole number or left out"."""
    return " or ".join(dict.fromkeys(_words(each) for each in _alternatives(of)))


def _words(of: inspect.Type) -> str:
    match of:
        case inspect.VarTupleType() | inspect.ListType() | inspect.SetType() | inspect.FrozenSetType():
            return "a list" if isinstance(of.item_type, inspect.AnyType) else f"a list, each element {wanted(of.item_type)}"
        case inspect.TupleType():
            return f"a list of {len(of.item_types)}"
        case inspect.StructType():
            return f"a map with the fields {', '.join(field.encode_name for field in of.fields)}"
        case inspect.DictType():
            return "a map"
        case inspect.LiteralType():
            return " or ".join(repr(each) for each in of.values)
        case inspect.EnumType():
            return " or ".join(repr(each.value) for each in of.cls)
    return _KINDS.get(type(of), "another value")


def shown(value: Any) -> str:
    """A value as people wrote it, cut short."""
    match value:
        case None:
            return "empty"
        case True | False:
            text = str(value).lower()
        case Decimal() | datetime.date():
            text = str(value)
        case dict():
            text = f"a map with {', '.join(map(str, value)) or 'nothing'}"
        case list():
            text = f"a list of {len(value)}"
        case _:
            text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}..."
