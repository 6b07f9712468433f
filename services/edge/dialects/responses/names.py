"""Names of OpenAI's responses: fields of a request, items of its input, events and items of an answer. Data alone."""

from typing import Final

from services.edge.dialects.json_text import by_fold
from services.edge.dialects.profiled import Priced

LIMIT: Final = "max_output_tokens"
# A vendor takes no smaller limit.
LIMIT_MIN: Final = 16
# Fields that name what a vendor keeps: input that the meter does not know.
KEPT: Final = ("previous_response_id", "conversation", "prompt")
_READ: Final = frozenset(
    {"model", "input", "instructions", "tools", "stream", "stream_options", "store", "background", LIMIT, *KEPT}
)
# Fields that are part of the prompt; each counts with its JSON.
PROMPT_FIELDS: Final = frozenset({"tools", "tool_choice", "text"})
# Fields that change an answer or its readers, and no price.
_SETTINGS: Final = frozenset(
    {
        # Instructions to the vendor simulator.
        "simulate",
        "temperature",
        "top_p",
        "parallel_tool_calls",
        "max_tool_calls",
        "reasoning",
        "truncation",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    }
)
# Fields, and paths into them, that cost extra at most vendors or add what no limit bounds, except for these values.
PRICED: Final[Priced] = (
    ("service_tier", frozenset({b'"auto"', b'"default"'})),
    # Several answers are made, of which the best one is told.
    ("reasoning.mode", frozenset({b'"standard"'})),
    # Tools that the client runs, and groups of them. Others run at the vendor: they cost extra, and add to the input later.
    ("tools[].type", frozenset({b'"function"', b'"custom"', b'"namespace"'})),
    ("tools[].tools[].type", frozenset({b'"function"', b'"custom"'})),
    ("include[]", frozenset({b'"reasoning.encrypted_content"'})),
    # Probabilities of tokens, which are no output of the model.
    ("top_logprobs", frozenset({b"0"})),
    ("context_management", frozenset({b"[]"})),
    ("moderation", frozenset()),
)
FIELDS: Final = _READ | _SETTINGS | PROMPT_FIELDS | {"service_tier", "include", "top_logprobs", "context_management", "moderation"}
FIELDS_BY_FOLD: Final = by_fold(FIELDS)
OPTIONS: Final = frozenset({"include_obfuscation"})
OPTIONS_BY_FOLD: Final = by_fold(OPTIONS)
TOOL_BY_FOLD: Final = by_fold(
    {"type", "name", "description", "parameters", "strict", "format", "output_schema", "defer_loading", "allowed_callers", "tools"}
)
CLIENT_TOOLS: Final = frozenset({"function", "custom", "namespace"})

ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
# Kinds of items, and their members.
ITEMS: Final[dict[str, frozenset[str]]] = {
    "message": frozenset({"type", "id", "role", "content", "status", "phase"}),
    "function_call": frozenset({"type", "id", "call_id", "name", "arguments", "status", "namespace"}),
    "function_call_output": frozenset({"type", "id", "call_id", "output", "status"}),
    "custom_tool_call": frozenset({"type", "id", "call_id", "name", "input", "status", "namespace"}),
    "custom_tool_call_output": frozenset({"type", "id", "call_id", "output", "status"}),
    "reasoning": frozenset({"type", "id", "summary", "content", "encrypted_content", "status"}),
    "compaction": frozenset({"type", "id", "encrypted_content", "created_by"}),
}
ITEM_BY_FOLD: Final = by_fold(frozenset().union(*ITEMS.values()))
# Kinds of parts, and the text of each.
PARTS: Final = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "summary_text": "text",
    "reasoning_text": "text",
    "refusal": "refusal",
}
PART_MEMBERS: Final = frozenset({"type", "text", "refusal", "annotations", "logprobs", "prompt_cache_breakpoint"})
IMAGE_MEMBERS: Final = frozenset({"type", "image_url", "file_id", "detail", "prompt_cache_breakpoint"})
PART_BY_FOLD: Final = by_fold(PART_MEMBERS | IMAGE_MEMBERS)
FILE_MEMBERS: Final = frozenset({"type", "file_data", "file_id", "file_url", "filename", "detail", "prompt_cache_breakpoint"})
FILE_BY_FOLD: Final = by_fold(FILE_MEMBERS)

# Events of an answer.
CREATED: Final = "response.created"
IN_PROGRESS: Final = "response.in_progress"
COMPLETED: Final = "response.completed"
INCOMPLETE: Final = "response.incomplete"
FAILED: Final = "response.failed"
TERMINAL: Final = frozenset({COMPLETED, INCOMPLETE})
TEXT_DELTA: Final = "response.output_text.delta"
# A text's place in its item: the list of parts that it is in, the member of the event with its index there, its name in the part.
Place = tuple[str, str, str]
# Beginnings of the events that tell a text, and its place; `.delta` tells a piece and `.done` all of it. The list is empty for a
# text that is a member of the item itself.
TEXTS: Final[dict[str, Place]] = {
    "response.output_text": ("content", "content_index", "text"),
    "response.refusal": ("content", "content_index", "refusal"),
    "response.reasoning_text": ("content", "content_index", "text"),
    "response.reasoning_summary_text": ("summary", "summary_index", "text"),
    "response.function_call_arguments": ("", "", "arguments"),
    "response.mcp_call_arguments": ("", "", "arguments"),
    "response.custom_tool_call_input": ("", "", "input"),
    "response.code_interpreter_call_code": ("", "", "code"),
}
# Beginnings of the events that tell a part, empty with `.added` and whole with `.done`: its list, and the member with its index.
PART_EVENTS: Final = {
    "response.content_part": ("content", "content_index"),
    "response.reasoning_summary_part": ("summary", "summary_index"),
}
ITEM_EVENT: Final = "response.output_item"
ANNOTATION: Final = "response.output_text.annotation.added"
# Events that tell the whole response.
SNAPSHOTS: Final = frozenset({CREATED, IN_PROGRESS, "response.queued", *TERMINAL})
