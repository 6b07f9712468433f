"""Reads YAML into frozen structs. Unknown keys are refused; every error names file, line, field and what would be right."""

import gc
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from services.runtime.mistakes import mistake_of

T = TypeVar("T")

# A scalar is shown up to this many characters.
_SHOWN_MAX = 60
# No field of a configuration is nested deeper.
_DEPTH_MAX = 20
_PATH_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\[\.\.\.\]")


class ConfigError(Exception):
    """A file cannot be used. The message is "FILE:LINE: FIELD: what is wrong"."""


# PyYAML's C parser is five times faster; where it was not built, its Python one reads the same.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


_STR, _INT, _FLOAT, _SEQUENCE, _MAP, _TIMESTAMP = (
    f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "seq", "map", "timestamp")
)
# A number as most are written; the group is there where it has a point. Python reads no whole number of more than 4,300 digits.
_NUMBER = re.compile(r"(?:0|[1-9][0-9]{0,99})(\.[0-9]+)?", re.ASCII)


class _ScalarError(Exception):
    """A scalar is none of its kind."""

    def __init__(self, node: yaml.Node, message: str) -> None:
        super().__init__(message)
        self.node = node


class _Loader(_SafeLoader):  # type: ignore[misc]  # chosen at run time
    """Reads numbers with a point as exact decimals, because they may become money, and refuses duplicate keys."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        # Values of collections by the identity of their nodes; `...`: it is being made.
        self._made: dict[int, Any] = {}

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        """The tag of a node. Plain numbers are told at a glance: PyYAML tries a dozen patterns for each."""
        if kind is yaml.ScalarNode and implicit[0] and (found := _NUMBER.fullmatch(value)) is not None:
            return _INT if found[1] is None else _FLOAT
        return super().resolve(kind, value, implicit)

    def value_of(self, node: yaml.Node) -> Any:
        """The value of a node as PyYAML would construct it, in a third of the time for what most files consist of."""
        tag, text = node.tag, node.value
        if tag == _STR:
            return text
        if isinstance(node, yaml.ScalarNode):
            if (found := _NUMBER.fullmatch(text)) is not None and tag in (_INT, _FLOAT):
                return int(text) if found[1] is None else Decimal(text)
            return self.construct_object(node, deep=True)
        if id(node) not in self._made:
            self._made[id(node)] = ...
            self._made[id(node)] = self._collection(node)
        made = self._made[id(node)]
        if made is ...:
            raise yaml.constructor.ConstructorError(None, None, "a list or map must not hold itself", node.start_mark)
        return made

    def _collection(self, node: yaml.Node) -> Any:
        if node.tag == _SEQUENCE:
            return [self.value_of(each) for each in node.value]
        if node.tag != _MAP:
            return self.construct_object(node, deep=True)
        made: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if key_node.tag == _STR else self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                mark = key_node.start_mark
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name, not a list or a map", mark)
            if key in made:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands here twice", key_node.start_mark)
            made[key] = self.value_of(value_node)
        return made

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, AttributeError, LookupError) as error:
            # A scalar that only looks like one of its kind, for example the date 2026-02-30, or one that is said to be of another.
            if node.tag == _TIMESTAMP and isinstance(error, ValueError):
                raise _ScalarError(node, f"{node.value} is not in the calendar: {error}; correct it") from error
            raise _ScalarError(node, f"{str(node.value)[:_SHOWN_MAX]!r} cannot be read as {node.tag.rpartition(':')[2]}") from error


def _construct_decimal(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Decimal:
    text = str(loader.construct_scalar(node))
    try:
        # YAML writes infinity and "not a number" with a point before the word.
        return Decimal(re.sub(r"\.(?=inf|nan)", "", text, flags=re.IGNORECASE))
    except ArithmeticError:
        raise _ScalarError(node, f"{text!r} is not a number") from None


_Loader.add_constructor("tag:yaml.org,2002:float", _construct_decimal)
# Only true and false are booleans, as in YAML 1.2: off, on, yes and no are words.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_yaml(path: Path, kind: type[T], settings: Mapping[str, str] | None = None) -> T:
    """Reads one file into `kind`; `settings` replace its top-level fields, or add to them.

    Errors: `ConfigError` when it cannot be read, is not YAML, has an unknown or missing key or a value of another type.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    return parse_yaml_with_lines(text, kind, str(path), settings)[0]


def parse_yaml(text: str, kind: type[T], source: str) -> T:
    """Reads a text as `read_yaml` reads a file; `source` stands for the file in errors."""
    return parse_yaml_with_lines(text, kind, source)[0]


def parse_yaml_with_lines(
    text: str, kind: type[T], source: str, settings: Mapping[str, str] | None = None
) -> tuple[T, Callable[[str], int]]:
    """Reads as `parse_yaml` does; also returns a function from a field path to its line, for errors found later."""
    node: yaml.Node | None = None
    try:
        loader = _Loader(text)
        try:
            with _uncollected():
                # The nodes keep the line numbers, which the values lose.
                node = loader.get_single_node()
                value = None if node is None else loader.value_of(node)
        finally:
            loader.dispose()
    except _ScalarError as error:
        field = _field_of(node, error.node, "") or "file"
        raise ConfigError(f"{source}:{error.node.start_mark.line + 1}: {field}: {error}") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{source}:{line}: not valid YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: lists and maps are nested deeper than any field; close the brackets") from error
    value = {} if value is None else value
    if settings and isinstance(value, dict):
        value |= settings
    try:
        # Lines are asked for where something is wrong: until then, the nodes need not be kept.
        return msgspec.convert(value, kind, strict=True), lambda field: line_of(_composed(text), field)
    except msgspec.ValidationError as error:
        field, message = mistake_of(error, kind, value)
        raise ConfigError(f"{source}:{line_of(node, field)}: {field or 'file'}: {message}") from error


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage meanwhile: among the nodes of a large file there is none, and it takes as long as all the reading."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@lru_cache(maxsize=4)
def _composed(text: str) -> yaml.Node | None:
    """The nodes of a text that was read before."""
    loader = _Loader(text)
    try:
        return loader.get_single_node()  # type: ignore[no-any-return]  # PyYAML has no types for the C parser
    finally:
        loader.dispose()


def _field_of(within: yaml.Node | None, wanted: yaml.Node, field: str, depth: int = 0) -> str:
    """The path of a node inside another one; empty: it is not in it, or deeper than any field."""
    if within is wanted:
        return field
    if depth > _DEPTH_MAX:
        return ""
    if isinstance(within, yaml.MappingNode):
        inner = [(f"{field}.{key.value}" if field else str(key.value), value) for key, value in within.value]
    elif isinstance(within, yaml.SequenceNode):
        inner = [(f"{field}[{index}]", value) for index, value in enumerate(within.value)]
    else:
        return ""
    return next((found for path, value in inner if (found := _field_of(value, wanted, path, depth + 1))), "")


def line_of(node: yaml.Node | None, field: str) -> int:
    """The line of a field path like `models[3].routes[0].vendor_id`; the line of its nearest parent if it is missing."""
    line = node.start_mark.line + 1 if node is not None else 1
    for match in _PATH_STEP.finditer("." + field if field and not field.startswith("[") else field):
        key, index = match.group(1), match.group(2)
        if key is not None and isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if key_node.value == key:
                    node, line = value_node, key_node.start_mark.line + 1
                    break
            else:
                return line
        elif index is not None and isinstance(node, yaml.SequenceNode) and int(index) < len(node.value):
            node = node.value[int(index)]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def secret_from_environment(name: str, environment: Mapping[str, str]) -> str:
    """A secret that a config names by its environment variable. Errors: `ConfigError` when it is not set."""
    value = environment.get(name, "")
    if not value:
        raise ConfigError(f"the environment variable {name} is not set; put the secret there")
    return value
