"""A request in no dialect's form: turns, tools, settings. Data alone.

`where` is a place in the client's request, for errors, for example messages[0].content[2].
"""

from typing import Any, Final, NamedTuple

from services.edge.dialects.typed_events import Tree

SYSTEM: Final = "system"
DEVELOPER: Final = "developer"
USER: Final = "user"
ASSISTANT: Final = "assistant"
# A turn of results alone.
TOOL: Final = "tool"
INSTRUCTING: Final = frozenset({SYSTEM, DEVELOPER})


class Text(NamedTuple):
    """A text; `is_marked`: the vendor is asked to cache the prompt up to its end."""

    text: str
    is_marked: bool = False


class Image(NamedTuple):
    """An image at an address, or in a data URL."""

    url: str
    where: str
    # low, high, auto or another dialect's word; empty: none was given.
    detail: str = ""
    is_marked: bool = False


class Thought(NamedTuple):
    """Thought of an earlier answer, with its sealed proof."""

    text: str
    sealed: str


class Call(NamedTuple):
    """A call of a tool. Arguments are JSON of an object as text; those of a custom tool are any text."""

    call_id: str
    name: str
    arguments: str
    where: str
    is_custom: bool = False


class Result(NamedTuple):
    """The result of a call."""

    call_id: str
    parts: tuple[Text | Image, ...]
    where: str
    is_error: bool = False
    # Whether it is that of a custom tool, as far as its call has been seen.
    is_custom: bool = False


Part = Text | Image | Thought | Call | Result


class Turn(NamedTuple):
    """A message: results stand in turns of their own."""

    role: str
    parts: list[Part]
    where: str


class Tool(NamedTuple):
    """A tool that the client runs. A custom one takes any text, by its `grammar` where it has one."""

    name: str
    description: str | None
    # The JSON schema of its arguments; None: it takes none.
    schema: Any
    strict: bool | None = None
    is_custom: bool = False
    grammar: Any = None
    # The group that a response's client has it in, and its name there.
    group: tuple[str, str] | None = None


class ToolChoice(NamedTuple):
    """The tools that the model may call."""

    # "none", "auto", "required", or "named".
    mode: str
    name: str = ""
    # Only these, where any are listed.
    allowed: tuple[str, ...] = ()


class Format(NamedTuple):
    """The form of the answer's text; without schema any JSON object."""

    schema: Any = None
    name: str = ""
    strict: bool | None = None
    description: str | None = None


class Conversation(NamedTuple):
    """A whole request."""

    turns: list[Turn]
    tools: list[Tool]
    choice: ToolChoice | None
    # Whether several calls may be made at once; None: nothing was said.
    parallel: bool | None
    stop: list[str]
    # Numbers as they were written.
    temperature: Any
    top_p: Any
    # "none" to "max"; empty: nothing was said.
    effort: str
    # Whether the client is to be told a summary of thought.
    shows_thought: bool
    format: Format | None
    user: str
    # Settings that chat completions and responses share, under the names of chat completions.
    shared: Tree
    # Settings that one dialect alone has, and fields that none has: the vendor's profile decides.
    others: Tree
    # Names of the client's fields that are left out.
    dropped: tuple[str, ...]
    # Whether a chat's client wants the count in its stream, and the count so far in each chunk.
    include_usage: bool = False
    continuous_usage: bool = False


def is_marked(part: Part) -> bool:
    """Whether the prompt is to be cached up to the end of this part."""
    if type(part) is Result:
        return any(each.is_marked for each in part.parts)
    return (type(part) is Text or type(part) is Image) and part.is_marked
