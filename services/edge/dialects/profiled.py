"""Fields of a request as its vendor's profile takes them: those that cost extra, and those that nobody knows. Pure.

A profile names top-level fields, or paths into them such as `tools[].type`, each with the values that cost nothing extra. Its word
on a path replaces the dialect's. A field that is absent or null costs nothing.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from services.edge.dialects.json_text import by_fold, encode, refuse_folds
from services.edge.dialects.typed_events import Tree
from services.edge.dialects.unmetered import refuse_unmetered
from services.edge.http.problems import Problem, malformed
from services.edge.vendors.profile import Endpoint, Unknown

_EACH: Final = "[]"
# By field or path, the JSON of the values that cost nothing extra.
Priced = tuple[tuple[str, frozenset[bytes]], ...]


class EndpointFields(NamedTuple):
    """Fields of an endpoint in addition to the dialect's, and the paths that cost extra."""

    # Fields and paths that its profile names.
    named: frozenset[str]
    own: frozenset[str]
    # All names that the endpoint may read, by their folded form.
    own_by_fold: dict[str, str]
    # (path, the JSON of the values that cost nothing extra)
    priced: tuple[tuple[tuple[str, ...], frozenset[bytes]], ...]


def fields_of(endpoint: Endpoint, priced: Priced) -> EndpointFields:
    """An endpoint's fields; `priced` are the dialect's."""
    return _fields(endpoint.extra_fields, endpoint.priced_fields, endpoint.output_limit_field, priced)


@lru_cache(maxsize=1_024)
def _fields(extra: frozenset[str], of_profile: Priced, limit_field: str, of_dialect: Priced) -> EndpointFields:
    paths = {_steps(path): free for path, free in of_profile}
    own = extra | {path[0] for path in paths}
    for name, free in of_dialect:
        path = _steps(name)
        if path not in paths and (path[0] not in own if len(path) == 1 else path[0] not in extra):
            paths[path] = free
    named = extra | {path for path, _ in of_profile}
    return EndpointFields(named, own, by_fold({*own, limit_field}), tuple(paths.items()))


def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.replace(_EACH, f".{_EACH}").split("."))


def refuse_priced(fields: Tree, known: EndpointFields) -> None:
    """Refuses fields that cost extra. Errors: `Problem` 400 that names the field."""
    for path, free in known.priced:
        if path[0] in fields:
            _refuse_at(fields[path[0]], path[1:], free, path[0])


def _refuse_at(value: Any, path: tuple[str, ...], free: frozenset[bytes], where: str) -> None:
    if value is None:
        return
    if not path:
        if encode(value) not in free:
            raise costs_extra(where, free)
        return
    step, *rest = path
    if step == _EACH:
        if type(value) is not list:
            raise malformed(where, f"{where} must be a list.", "invalid_type")
        for index, each in enumerate(value):
            _refuse_at(each, tuple(rest), free, f"{where}[{index}]")
        return
    if type(value) is not dict:
        raise malformed(where, f"{where} must be an object.", "invalid_type")
    refuse_folds(value, by_fold((step,)), where)
    _refuse_at(value.get(step), tuple(rest), free, f"{where}.{step}")


def costs_extra(where: str, free: frozenset[bytes]) -> Problem:
    """400. `free` is the JSON of the values that cost nothing extra."""
    values = ", ".join(sorted(value.decode() for value in free if value != b"null"))
    remedy = f"Leave it out, or send one of: {values}." if values else "Leave it out."
    return malformed(where, f"{where} costs extra at this model's vendor and is not sold here. {remedy}", "unsupported_value")


def taken(fields: Tree, known: frozenset[str], endpoint: Endpoint, own: EndpointFields) -> tuple[Tree, tuple[str, ...]]:
    """The fields that the endpoint takes, and the names of those that are dropped; `known` are the dialect's.

    Errors: `Problem` 400 for a field that the profile refuses, or that the meter would have to read.
    """
    if fields.keys() <= known:
        return dict(fields), ()
    kept: Tree = {}
    dropped: list[str] = []
    for name, value in fields.items():
        if name in known or name in own.own:
            kept[name] = value
        elif endpoint.unknown_fields is Unknown.REFUSED:
            message = f"{name} is not a field that this model's vendor is known to take. Leave it out."
            raise malformed(name, message, "unknown_parameter")
        elif endpoint.unknown_fields is Unknown.DROPPED:
            dropped.append(name)
        else:
            refuse_folds((name,), own.own_by_fold)
            if name != endpoint.output_limit_field:
                refuse_unmetered(name, value)
            kept[name] = value
    return kept, tuple(dropped)
