"""Names of Anthropic's messages: fields, content blocks, tools, and what of them costs extra. Data alone."""

from typing import Final, NamedTuple

from services.edge.dialects.json_text import by_fold

# Fields of a request that are part of the prompt; each counts with its JSON.
PROMPT_FIELDS: Final = frozenset({"tool_choice", "thinking", "output_config", "output_format", "context_management", "mcp_servers"})
# Fields that the dialect reads by itself.
_READ: Final = frozenset({"model", "messages", "system", "tools", "max_tokens", "stream", "betas"})
# Fields that change an answer or who is told of it, and no price.
_HARMLESS: Final = frozenset(
    {
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
}
FIELDS: Final = _READ | _HARMLESS | PROMPT_FIELDS | PRICED.keys()
FIELDS_BY_FOLD: Final = by_fold(FIELDS)
# Fields that counting takes; all others mean nothing there.
COUNT_FIELDS: Final = PROMPT_FIELDS | {"model", "messages", "system", "tools", "cache_control", "speed", "betas"}

ROLES: Final = frozenset({"user", "assistant", "system"})
MESSAGE_MEMBERS: Final = frozenset({"role", "content", "output_config"})
MESSAGE_BY_FOLD: Final = by_fold(MESSAGE_MEMBERS)


class Kind(NamedTuple):
    """A kind of content block: its members, and those of them that are not counted as JSON."""

    members: frozenset[str]
    # Plain texts.
    texts: tuple[str, ...] = ()
    # Proofs of thought, which only the vendor reads.
    opaque: str = ""
    # A text or a list of blocks.
    nested: str = ""
    # Members that are there for the reader alone and are no input.
    silent: frozenset[str] = frozenset({"type", "cache_control"})


def _members(*names: str) -> frozenset[str]:
    return frozenset({"type", "cache_control", *names})


# Kinds that count with all their JSON.
_CALL: Final = Kind(_members("id", "name", "input", "caller"), silent=frozenset({"cache_control"}))
RESULT: Final = Kind(_members("tool_use_id", "content", "is_error", "caller"), silent=frozenset({"cache_control"}))
# The end of the names of what a vendor's own tools said.
RESULT_SUFFIX: Final = "_tool_result"
KINDS: Final[dict[str, Kind]] = {
    "text": Kind(_members("text", "citations"), ("text",)),
    "image": Kind(_members("source")),
    "document": Kind(_members("source", "title", "context", "citations")),
    "search_result": Kind(_members("source", "title", "content", "citations"), nested="content"),
    "thinking": Kind(_members("thinking", "signature"), ("thinking",), "signature"),
    "redacted_thinking": Kind(_members("data"), opaque="data"),
    "tool_use": _CALL,
    "server_tool_use": _CALL,
    "mcp_tool_use": Kind(_members("id", "name", "server_name", "input"), silent=_CALL.silent),
    "tool_result": Kind(_members("tool_use_id", "content", "is_error"), nested="content", silent=_CALL.silent),
    "tool_reference": Kind(_members("tool_name"), silent=_CALL.silent),
    "compaction": Kind(_members("content", "encrypted_content"), silent=_CALL.silent),
    "tool_addition": Kind(_members("tool"), silent=_CALL.silent),
    "tool_removal": Kind(_members("tool"), silent=_CALL.silent),
    "fallback": Kind(_members("from", "to"), silent=_CALL.silent),
    "container_upload": Kind(_members("file_id")),
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
# The type of a tool that the client defines, and how the types of those begin that Anthropic defines and the client runs.
CUSTOM_TOOL: Final = "custom"
CLIENT_TOOLS: Final = ("bash_", "text_editor_", "computer_", "memory_")
# Anthropic describes its own tools to its models in words that no request shows; none is known to take more tokens than this.
VENDOR_TOOL_TOKENS: Final = 2_048
