"""Fields that cost extra at a vendor are refused: by the vendor's profile, else by the dialect's own table."""

from typing import Any, Final

from services.edge.dialects.anthropic_messages.names import CLIENT_TOOLS, CUSTOM_TOOL, PRICED
from services.edge.dialects.profiled import EndpointFields, costs_extra
from services.edge.dialects.profiled import fields_of as fields_at
from services.edge.dialects.profiled import refuse_priced as refuse_named
from services.edge.vendors.profile import Endpoint

_PRICED: Final = tuple(PRICED.items())
_TOOLS: Final = frozenset({"tools", "tools[].type"})


def fields_of(endpoint: Endpoint) -> EndpointFields:
    """An endpoint's fields."""
    return fields_at(endpoint, _PRICED)


def refuse_priced(fields: dict[str, Any], endpoint: Endpoint) -> None:
    """Refuses fields that cost extra. Errors: `Problem` 400 that names the field."""
    known = fields_of(endpoint)
    refuse_named(fields, known)
    if not _TOOLS & known.named:
        for index, tool in enumerate(fields.get("tools") or ()):
            kind = tool.get("type")
            if runs_at_vendor(kind):
                raise costs_extra(f"tools[{index}].type", frozenset())


def runs_at_vendor(kind: str | None) -> bool:
    """Whether a tool of this type runs at the vendor, so that its result is added to the input."""
    return kind is not None and kind != CUSTOM_TOOL and not kind.startswith(CLIENT_TOOLS)
