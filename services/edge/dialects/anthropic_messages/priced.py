"""Fields that cost extra at a vendor are refused: by the vendor's profile, else by the dialect's own table.

A profile names top-level fields, or paths into them such as `tools[].type`, each with the values that cost nothing extra. Its word
on a path replaces the dialect's. A field that is absent or null costs nothing.
"""

from functools import lru_cache
from typing import Any, Final, NamedTuple

from services.edge.dialects.anthropic_messages.names import CLIENT_TOOLS, CUSTOM_TOOL, PRICED
from services.edge.dialects.json_text import by_fold, encode, refuse_folds
from services.edge.http.problems import Problem, malformed
from services.edge.vendors.profile import Endpoint

_EACH: Final = "[]"
_TOOLS: Final = ("tools", _EACH, "type")


class EndpointFields(NamedTuple):
    """Fields of an endpoint in addition to the dialect's, and the paths that cost extra."""

    own: frozenset[str]
    # All names that the endpoint may read, by their folded form.
    own_by_fold: dict[str, str]
    # (path, the JSON of the values that cost nothing extra)
    priced: tuple[tuple[tuple[str, ...], frozenset[bytes]], ...]
    # Whether the profile says nothing of tools.
    has_dialects_tools: bool


def fields_of(endpoint: Endpoint) -> EndpointFields:
    """An endpoint's fields."""
    return _fields(endpoint.extra_fields, endpoint.priced_fields, endpoint.output_limit_field)


@lru_cache(maxsize=1_024)
def _fields(extra: frozenset[str], priced: tuple[tuple[str, frozenset[bytes]], ...], limit_field: str) -> EndpointFields:
    paths = {tuple(path.replace(_EACH, f".{_EACH}").split(".")): free for path, free in priced}
    own = extra | {path[0] for path in paths}
    for name, free in PRICED.items():
        if name not in own:
            paths[(name,)] = free
    return EndpointFields(own, by_fold({*own, limit_field}), tuple(paths.items()), _TOOLS not in paths and "tools" not in extra)


def refuse_priced(fields: dict[str, Any], endpoint: Endpoint) -> None:
    """Refuses fields that cost extra. Errors: `Problem` 400 that names the field."""
    known = fields_of(endpoint)
    for path, free in known.priced:
        if path[0] in fields:
            _refuse_at(fields[path[0]], path[1:], free, path[0])
    if known.has_dialects_tools:
        for index, tool in enumerate(fields.get("tools") or ()):
            kind = tool.get("type")
            if runs_at_vendor(kind):
                raise _costs_extra(f"tools[{index}].type", frozenset())


def runs_at_vendor(kind: str | None) -> bool:
    """Whether a tool of this type runs at the vendor, so that its result is added to the input."""
    return kind is not None and kind != CUSTOM_TOOL and not kind.startswith(CLIENT_TOOLS)


def _refuse_at(value: Any, path: tuple[str, ...], free: frozenset[bytes], where: str) -> None:
    if value is None:
        return
    if not path:
        if encode(value) not in free:
            raise _costs_extra(where, free)
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


def _costs_extra(where: str, free: frozenset[bytes]) -> Problem:
    values = ", ".join(sorted(value.decode() for value in free if value != b"null"))
    remedy = f"Leave it out, or send one of: {values}." if values else "Leave it out."
    return malformed(where, f"{where} costs extra at this model's vendor and is not sold here. {remedy}", "unsupported_value")
