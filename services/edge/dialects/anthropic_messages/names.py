"""Names of Anthropic's messages: fields, content blocks, tools, and those that cost extra. Data alone."""

from typing import Final, NamedTuple

from services.edge.dialects.json_text import by_fold

# Fields of a request that are part of the prompt; each counts with its JSON.
PROMPT_FIELDS: Final = frozenset(
    {"tool_choice", "thinking", "output_config", "output_format", "context_management", "compaction", "mcp_servers"}
)
# Fields that the dialect reads by itself.
_READ: Final = frozenset({"model", "messages", "system", "tools", "max_tokens", "stream", "betas"})
# Fields that change an answer or its readers, and no price.
_HARMLESS: Final = frozenset(
    {
        # Instructions to the vendor simulator.
        "simulate",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "metadata",
        "cache_control",
        "diagnostics",
    }
)
# Fields that may cost extra at the vendor, with the JSON of their values that never do.
PRICED: Final[dict[str, frozenset[bytes]]] = {
    "service_tier": frozenset({b'"standard_only"'}),
    "speed": frozenset({b'"standard"'}),
    "inference_geo": frozenset({b'"global"'}),
    "container": frozenset(),
    "mcp_servers": frozenset({b"[]"}),
    "fallbacks": frozenset({b"[]"}),
    "fallback_credit_token": frozenset(),
    "billing_policy": frozenset(),
    # A conversation that the vendor keeps is input that the meter does not know.
    "thread": frozenset(),
}
FIELDS: Final = _READ | _HARMLESS | PROMPT_FIELDS | PRICED.keys()
FIELDS_BY_FOLD: Final = by_fold(FIELDS)
# Fields that counting takes; all others have no meaning there.
COUNT_FIELDS: Final = PROMPT_FIELDS | {"model", "messages", "system", "tools", "cache_control", "speed", "betas", "billing_policy"}

ROLES: Final = frozenset({"user", "assistant", "system"})
MESSAGE_MEMBERS: Final = frozenset({"role", "content", "output_config", "clear_at"})
MESSAGE_BY_FOLD: Final = by_fold(MESSAGE_MEMBERS)


class Kind(NamedTuple):
    """A kind of content block: its members, and those of them that are not counted as JSON."""

    members: frozenset[str]
    # Plain texts.
    texts: tuple[str, ...] = ()
    # A proof of thought, which only the vendor reads.
    opaque: str = ""
    # A text or a list of blocks.
    nested: str = ""
    # Members that count otherwise, or that are no input.
    counted: frozenset[str] = frozenset({"cache_control"})


def _kind(*names: str, text: str = "", opaque: str = "", nested: str = "", counted: tuple[str, ...] = ()) -> Kind:
    members = frozenset({"type", "cache_control", text, opaque, nested, *names, *counted}) - {""}
    return Kind(
        members, (text,) if text else (), opaque, nested, frozenset({"cache_control", text, opaque, nested, *counted}) - {""}
    )


# Kinds that count with all their JSON.
_CALL: Final = _kind("id", "name", "input", "caller", "toolset_name")
RESULT: Final = _kind("tool_use_id", "content", "is_error", "caller")
# The end of the names of results from a vendor's own tools.
RESULT_SUFFIX: Final = "_tool_result"
_TYPE: Final = ("type",)
KINDS: Final[dict[str, Kind]] = {
    "text": _kind("citations", text="text", counted=_TYPE),
    "image": _kind("transformations", counted=("type", "source")),
    "document": _kind("title", "context", "citations", counted=("type", "source")),
    "search_result": _kind("source", "title", "citations", nested="content", counted=_TYPE),
    "thinking": _kind(text="thinking", opaque="signature", counted=_TYPE),
    "redacted_thinking": _kind(opaque="data", counted=_TYPE),
    "tool_use": _CALL,
    "server_tool_use": _CALL,
    "mcp_tool_use": _kind("id", "name", "server_name", "input"),
    "tool_result": _kind("tool_use_id", "is_error", "toolset_name", nested="content"),
    "tool_reference": _kind("tool_name"),
    "browser_state": _kind("tabs", "state_changes"),
    "compaction": _kind("content", "encrypted_content", "tool_changes", opaque="signature"),
    "tool_addition": _kind("tool"),
    "tool_removal": _kind("tool"),
    "mcp_tool_listing": _kind("mcp_server_name", "tools"),
    "fallback": _kind("from", "to", "trigger"),
    "container_upload": _kind("file_id"),
}
BLOCK_BY_FOLD: Final = by_fold(frozenset().union(*(kind.members for kind in KINDS.values()), RESULT.members))
SOURCE_MEMBERS: Final = frozenset({"type", "media_type", "data", "url", "file_id", "content"})
SOURCE_BY_FOLD: Final = by_fold(SOURCE_MEMBERS)
THINKING_BY_FOLD: Final = by_fold({"type", "budget_tokens", "display"})

TOOL_BY_FOLD: Final = by_fold(
    {
        "type",
        "name",
        "input_schema",
        "description",
        "cache_control",
        "strict",
        "defer_loading",
        "eager_input_streaming",
        "input_examples",
        "allowed_callers",
        "max_uses",
    }
)
# The type of a tool that the client defines; then the beginnings of types that Anthropic defines and the client runs.
CUSTOM_TOOL: Final = "custom"
CLIENT_TOOLS: Final = ("bash_20", "text_editor_20", "computer_20", "memory_20")
# Claude Code's first text of the system changes with its version, so it is no part of what tells a conversation.
VERSION_TEXT: Final = "x-anthropic-billing-header"
