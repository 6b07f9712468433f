"""Tools of a conversation as the writers of requests share them. Pure."""

from hashlib import blake2s
from typing import Final

from services.edge.dialects.translation.arguments import INPUT
from services.edge.dialects.translation.conversation import Conversation, Tool
from services.edge.dialects.translation.refusals import json_of

_NAME_CHARACTERS_MAX: Final = 64
_INPUT_SCHEMA: Final = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}


def chosen_tools(conversation: Conversation) -> list[Tool]:
    """The tools that the model may call, for a dialect that cannot list some of them."""
    choice = conversation.choice
    if choice is None or not choice.allowed:
        return conversation.tools
    return [tool for tool in conversation.tools if tool.name in choice.allowed]


def name_in_group(group: str, name: str) -> str:
    """The name of a grouped tool for a dialect without groups; one that is too long ends with its digest."""
    joined = f"{group}__{name}"
    if len(joined) <= _NAME_CHARACTERS_MAX:
        return joined
    digest = blake2s(joined.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{joined[: _NAME_CHARACTERS_MAX - len(digest) - 1]}_{digest}"


def as_function(tool: Tool) -> Tool:
    """A tool that takes any text as a function with one argument, for a dialect that has functions alone."""
    if not tool.is_custom:
        return tool
    described = tool.description or ""
    if tool.grammar is not None:
        described += f"\n\nThe input must follow this format: {json_of(tool.grammar)}"
    return Tool(tool.name, described.strip() or None, _INPUT_SCHEMA)
